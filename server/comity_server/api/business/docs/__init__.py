"""The pages and the OpenAPI document of the REST API."""
