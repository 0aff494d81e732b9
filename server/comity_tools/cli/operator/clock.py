"""`comity clock`."""

import click

from comity_server.operator.commands import BELIEVE, Nothing
from comity_tools.cli.operator.client import asked, data_option, port_option


@click.group()
def clock() -> None:
    """Confirm that the server's clock is right."""


@clock.command()
@data_option
@port_option
def accept(**given: object) -> None:
    """Confirm that the clock is right. The server uses its time from now on.

    Check the time first: a signature with a wrong time cannot be undone.
    """
    click.echo(f"The clock is accepted: {asked(given, BELIEVE, Nothing()).at}.")
