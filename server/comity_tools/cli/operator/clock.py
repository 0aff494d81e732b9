"""`comity clock`."""

import click

from comity_server.operator.commands import BELIEVE, Nothing
from comity_tools.cli.operator.client import asked, data_option, port_option


@click.group()
def clock() -> None:
    """The clock of the server, when it is in doubt."""


@clock.command()
@data_option
@port_option
def accept(**given: object) -> None:
    """Say that the clock is right: the server believes it from now on.

    Look at it first. What is signed under a wrong time cannot be taken back.
    """
    click.echo(f"The clock is believed: {asked(given, BELIEVE, Nothing()).at}.")
