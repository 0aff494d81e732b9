"""`comity clock`."""

import click

from comity_server.operator.commands import BELIEVE, Nothing
from comity_tools.cli.operator.client import data_option, port_option, send_command


@click.group()
def clock() -> None:
    """Confirm that the server's clock is right."""


@clock.command()
@data_option
@port_option
def accept(**options: object) -> None:
    """Confirm that the clock is right. The server uses its time from now on.

    Check the time first: a signature with a wrong time cannot be undone.
    """
    click.echo(f"The clock is accepted: {send_command(options, BELIEVE, Nothing()).at}.")
