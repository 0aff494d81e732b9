"""`comity openapi`."""

import click

from comity_server.api.business.docs.openapi import document, text


@click.command()
@click.option("--server", default="/", help="The server's URL in the document.")
def openapi(server: str) -> None:
    """Print the OpenAPI document of the business API: every route, with its models and errors."""
    click.echo(text(document(server=server)), nl=False)
