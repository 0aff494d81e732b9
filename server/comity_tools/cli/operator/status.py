"""`comity status`."""

import asyncio
from pathlib import Path

import click

from comity_server.operator import admin_socket
from comity_server.operator.commands import CONDITIONS, Nothing
from comity_tools.cli.json_output import json_option, say_json
from comity_tools.cli.operator.client import asked, data_option, port_option
from comity_tools.cli.serve import configured


@click.command()
@json_option
@data_option
@port_option
def status(as_json: bool, **given: object) -> None:
    """Show the state of the running server: each problem with its cause, and what to do about it.

    Exit code: 0 if the server does all of its work, 1 if it does not or if no server is running.
    """
    data: Path = configured(given).data
    if not asyncio.run(admin_socket.is_there(data)):
        raise click.ClickException(f"no server is running in {data} (COMITY_DATA, --data)")
    standing = asked(given, CONDITIONS, Nothing())
    if as_json:
        say_json(standing)
    for it in [] if as_json else standing:
        click.echo(f"{it.condition}\t{it.cause}\n\t{it.cure}")
    if not standing and not as_json:
        click.echo("The server has no problems.")
    if any(it.stops for it in standing):
        raise click.exceptions.Exit(1)
