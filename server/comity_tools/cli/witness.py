"""`comity witness`."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import click

from comity.errors import Malformed
from comity.transparency.notes import ED25519, VerifierKey, read_vkey
from comity_server import logging
from comity_server.clock import StoryClock, clock_of
from comity_server.data_dir import FolderInUse
from comity_server.limits.descriptors import TooFewDescriptors
from comity_server.witness.app import witnessing
from comity_server.witness.data_dir import CannotWitness
from comity_tools.cli.groups import system_fault


class _LogKey(click.ParamType[VerifierKey]):
    name = "vkey"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> VerifierKey:
        try:
            key = read_vkey(str(value).strip())
        except Malformed:
            self.fail("not a verifier key: NAME+ID+KEY, as the log's server announces it", param, ctx)
        if key.kind != ED25519:
            self.fail("a verifier key of the other kind: this one is a witness's", param, ctx)
        return key


def _name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    # No comma either: servers are told of their witnesses in a list with commas between them.
    if value is not None and (not re.fullmatch(r"[!-*\--~]{1,255}", value) or "://" in value):
        raise click.BadParameter("a URL without https://, such as witness.example/w1")
    return value


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default="comity-witness",
    show_default=True,
    help="Folder of the key and of what was cosigned.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8480,
    show_default=True,
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "--name",
    callback=_name,
    help="What it calls itself, for good: a URL without https://. At first witness.localhost:PORT.",
)
@click.option(
    "--log",
    "taken",
    type=_LogKey(),
    multiple=True,
    metavar="VKEY",
    help="Key of a log whose checkpoints it takes. Once named it is remembered; may be given many times.",
)
@click.option("--clock-offset-file", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
def witness(
    data: Path, host: str, port: int, name: str | None, taken: tuple[VerifierKey, ...], clock_offset_file: Path | None
) -> None:
    """Cosign the checkpoints of logs, so that none of them can show two histories.

    A witness remembers of each log the largest tree that it saw, and signs another checkpoint only if it is shown to
    continue that one (C2SP tlog-witness). It prints its verifier key, then the address it listens on, and runs until
    told to stop (SIGINT, SIGTERM). A log's server is given both as COMITY_WITNESSES="VKEY URL".

    It speaks plain HTTP; to be reached from other machines it needs something that speaks HTTPS before it.

    Never put its folder back from a backup, and never run two copies of it: a witness that forgets can be made to
    cosign two histories. A new folder makes a new witness.
    """
    logging.configure()
    try:
        asyncio.run(_run(data, host, port, name, taken, clock_offset_file))
    except FolderInUse:
        raise click.ClickException(f"another witness uses {data}") from None
    except (CannotWitness, TooFewDescriptors) as fault:
        raise click.ClickException(str(fault)) from None
    except OSError as fault:
        raise click.ClickException(f"cannot witness: {system_fault(fault, data)}") from None


async def _run(
    data: Path, host: str, port: int, name: str | None, taken: tuple[VerifierKey, ...], offset: Path | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    clock = clock_of(offset)
    if isinstance(clock, StoryClock):
        logging.logger().warning("THE CLOCK IS NOT THE WALL CLOCK: times in what this witness signs are a story's")
    async with witnessing(data, host=host, port=port, name=name, logs=taken, clock=clock) as listening:
        click.echo(listening.key.text)
        click.echo(listening.url)
        await stop.wait()
