"""Runs an operator's command in the running server or, if none runs, in its data folder."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import click

from comity.errors import Refused
from comity_server import logging
from comity_server.assembly import CANNOT_OPEN, open_server
from comity_server.config import Config
from comity_server.data_dir import STORE, FolderInUse, lock
from comity_server.errors import NotPossible
from comity_server.operator import admin_socket
from comity_server.operator.commands import Duty
from comity_tools.cli.groups import system_fault
from comity_tools.cli.serve import failure_text, read_config

R = TypeVar("R")
Q = TypeVar("Q")
A = TypeVar("A")

data_option = click.option("--data", type=click.Path(path_type=Path), help="The server's data folder.")
port_option = click.option(
    "--port", type=click.IntRange(1, 65535), help="The server's port, if COMITY_BASE_URL is not set."
)


class SendCommand(Protocol):
    """Sends one command to the server. Raises NotPossible, Refused."""

    async def __call__(self, duty: Duty[Q, A], question: Q, /) -> A: ...


def run_with_server(
    options: dict[str, object], work: Callable[[SendCommand], Awaitable[R]], *, needs_key: bool = True
) -> R:
    """Runs `work` and returns its result. Without `needs_key` the data folder may lack the home server's key. Raises
    ClickException with the reason in one line."""
    config = read_config(options)
    logging.configure(config.log_format, "error")
    if not (config.data / STORE).exists():
        # A store made here would belong to a new server: its API keys look valid and open nothing.
        raise click.ClickException(
            f"{config.data} is not the data folder of a server (COMITY_DATA, --data), so nothing was done: "
            "`comity serve` makes a new one"
        )

    async def run() -> R:
        async with _connect(config, needs_key) as send:
            return await work(send)

    try:
        return asyncio.run(run())
    except (NotPossible, Refused, FolderInUse, *CANNOT_OPEN) as fault:
        raise click.ClickException(failure_text(fault)) from None
    except OSError as fault:
        raise click.ClickException(f"the command failed: {system_fault(fault, config.data)}") from None


def send_command(options: dict[str, object], duty: Duty[Q, A], question: Q) -> A:
    """Sends one command and returns its answer. Raises ClickException."""
    return run_with_server(options, lambda send: send(duty, question))


@asynccontextmanager
async def _connect(config: Config, needs_key: bool) -> AsyncIterator[SendCommand]:
    if await admin_socket.is_there(config.data):

        async def send_over_socket(duty: Duty[Q, A], question: Q) -> A:
            return await admin_socket.ask(config.data, duty, question)

        yield send_over_socket
        return
    with lock(config.data):
        async with open_server(config, config.port, needs_key=needs_key) as server:

            async def run_here(duty: Duty[Q, A], question: Q) -> A:
                return await duty.do(server, question)

            yield run_here
