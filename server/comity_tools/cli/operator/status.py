"""`comity status`."""

import asyncio
from pathlib import Path

import click

from comity_server.operator import admin_socket
from comity_server.operator.commands import CONDITIONS, Nothing
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.operator.client import data_option, port_option, send_command
from comity_tools.cli.serve import read_config


@click.command()
@json_option
@data_option
@port_option
def status(as_json: bool, **options: object) -> None:
    """Show the state of the running server: each problem with its cause, and what to do about it.

    Exit code: 0 if the server does all of its work, 1 if it does not or if no server is running.
    """
    data: Path = read_config(options).data
    if not asyncio.run(admin_socket.is_there(data)):
        raise click.ClickException(f"no server is running in {data} (COMITY_DATA, --data)")
    problems = send_command(options, CONDITIONS, Nothing())
    if as_json:
        print_json(problems)
    for problem in [] if as_json else problems:
        click.echo(f"{problem.condition}\t{problem.cause}\n\t{problem.cure}")
    if not problems and not as_json:
        click.echo("The server has no problems.")
    if any(problem.stops for problem in problems):
        raise click.exceptions.Exit(1)
