"""`comity witness`."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import click

from comity.errors import Malformed
from comity.transparency.notes import ED25519, VerifierKey, parse_vkey
from comity_server import logging
from comity_server.clock import StoryClock, clock_of
from comity_server.data_dir import FolderInUse
from comity_server.limits.descriptors import TooFewDescriptors
from comity_server.witness.app import run_witness
from comity_server.witness.data_dir import CannotWitness
from comity_tools.cli.groups import system_fault


class _LogKey(click.ParamType[VerifierKey]):
    name = "vkey"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> VerifierKey:
        try:
            key = parse_vkey(str(value).strip())
        except Malformed:
            self.fail("not a verifier key: NAME+ID+KEY, as the log's server announces it", param, ctx)
        if key.kind != ED25519:
            self.fail("this is the key of a witness; the key of a log is needed", param, ctx)
        return key


def _name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    # No comma: COMITY_WITNESSES is a list with commas between the witnesses.
    if value is not None and (not re.fullmatch(r"[!-*\--~]{1,255}", value) or "://" in value):
        raise click.BadParameter("must be a URL without https://, such as witness.example/w1")
    return value


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default="comity-witness",
    show_default=True,
    help="Folder of the witness's key and of its record of cosigned checkpoints.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8480,
    show_default=True,
    help="Port to listen on; 0 for any free port.",
)
@click.option(
    "--name",
    callback=_name,
    help="The witness's name, which can never change: a URL without https://. Default: witness.localhost:PORT.",
)
@click.option(
    "--log",
    "logs",
    type=_LogKey(),
    multiple=True,
    metavar="VKEY",
    help="Key of a log whose checkpoints are accepted. It is remembered. May be repeated.",
)
@click.option("--clock-offset-file", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
def witness(
    data: Path, host: str, port: int, name: str | None, logs: tuple[VerifierKey, ...], clock_offset_file: Path | None
) -> None:
    """Run a witness, which cosigns the checkpoints of logs so that no log can show two histories.

    A witness remembers the largest tree of each log, and signs a new checkpoint only with a proof that it continues
    that tree (C2SP tlog-witness). It prints its verifier key, then the address it listens on, and runs until it is
    stopped (SIGINT, SIGTERM). Give both to the log's server as COMITY_WITNESSES="VKEY URL".

    The witness speaks plain HTTP. To make it reachable from other machines, put a proxy with HTTPS in front of it.

    Never restore its folder from a backup, and never run two copies of it: a witness that has forgotten can be made to
    cosign two histories. For a new witness, use a new folder.
    """
    logging.configure()
    try:
        asyncio.run(_run(data, host, port, name, logs, clock_offset_file))
    except FolderInUse:
        raise click.ClickException(f"another witness is using {data}") from None
    except (CannotWitness, TooFewDescriptors) as fault:
        raise click.ClickException(str(fault)) from None
    except OSError as fault:
        raise click.ClickException(f"the witness cannot run: {system_fault(fault, data)}") from None


async def _run(
    data: Path, host: str, port: int, name: str | None, logs: tuple[VerifierKey, ...], offset: Path | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    clock = clock_of(offset)
    if isinstance(clock, StoryClock):
        logging.logger().warning("THE CLOCK IS NOT THE WALL CLOCK: times in what this witness signs are a story's")
    async with run_witness(data, host=host, port=port, name=name, logs=logs, clock=clock) as witness_:
        click.echo(witness_.key.text)
        click.echo(witness_.url)
        await stop.wait()
