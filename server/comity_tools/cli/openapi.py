"""`comity openapi`."""

import click

from comity_server.api.business.docs.openapi import document, text


@click.command()
@click.option("--server", default="/", help="The URL of the server that the document is for.")
def openapi(server: str) -> None:
    """Print the OpenAPI document of the business side: every route, with its models and refusals."""
    click.echo(text(document(server=server)), nl=False)
