"""`comity serve`."""

import asyncio
import errno
import signal
from pathlib import Path

import click

from comity_server import logging
from comity_server.app import serve as run
from comity_server.assembly import CANNOT_OPEN
from comity_server.config import Config, ConfigError, load
from comity_server.data_dir import FolderInUse
from comity_server.limits.descriptors import TooFewDescriptors
from comity_server.services import Server
from comity_server.store.errors import StoreFailed, StoreFull
from comity_tools.cli.groups import system_fault


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The server's data folder.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 for any free port.")
def serve(**options: object) -> None:
    """Run the server until it is stopped (SIGINT, SIGTERM). Settings are COMITY_* environment variables."""
    config = read_config(options)
    logging.configure(config.log_format, config.log_level)
    try:
        asyncio.run(_serve(config))
    except (FolderInUse, TooFewDescriptors, *CANNOT_OPEN) as fault:
        raise click.ClickException(failure_text(fault)) from None
    except OSError as fault:
        more = ": free space on the disk of the data folder. Nothing is lost" if fault.errno == errno.ENOSPC else ""
        raise click.ClickException(f"cannot serve: {system_fault(fault, config.data)}{more}") from None


def failure_text(fault: Exception) -> str:
    """Why a server cannot start, in words."""
    if isinstance(fault, StoreFull):
        return f"the disk is full ({fault}): free space on the disk of the data folder and start again. Nothing is lost"
    if type(fault) is StoreFailed:
        return f"the store cannot be read or written ({fault}): run `comity fsck` to see where"
    return str(fault)


def read_config(options: dict[str, object]) -> Config:
    """The configuration from the environment, with the command line's options on top. Raises ClickException."""
    try:
        return load({name: value for name, value in options.items() if value is not None})
    except ConfigError as fault:
        raise click.ClickException(str(fault)) from None


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)

    def announce(server: Server) -> None:
        click.echo(f"Comity serves {server.home.origin} (data in {config.data})")
        if config.webhooks_to_loopback:
            click.echo("WEBHOOKS TO THIS MACHINE ARE ALLOWED (COMITY_WEBHOOKS_TO_LOOPBACK): for tests only")

    await run(config, announce, stop)
