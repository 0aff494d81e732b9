"""The stage of the demo: a real server and its witness as child processes, their clock, the wallets, and the narrator.

Nothing here is make-believe: server and witness listen on loopback ports and keep their files, the wallets are age
files, and everything between them goes over HTTP. Only the time is a story's: it starts in the past and is moved
forward, never beyond the wall clock.
"""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import segno
from rich.console import Console
from rich.markup import escape

from comity.client import Connection, Wallet, new_identity
from comity.crypto.keys import PublicKey, SigningKey, did_of_host, did_web_url, keys_of_document
from comity.encoding import parse_object
from comity.errors import Refused
from comity.http_api import HOME_KEYS
from comity.transparency.notes import VerifierKey, parse_vkey
from comity_server.clock import StoryClock
from comity_tools.demo.processes import (
    ENDED_WITHIN,
    READY_WITHIN,
    DidNotHold,
    WitnessProcess,
    comity,
    free_port,
    without_settings,
)

HOUR = 3_600_000
DAY = 24 * HOUR


class Narrator:
    """Tells the story for a reader and keeps count of what was checked. Plain text where it is not a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True, emoji=False)
        self.held = 0
        self.failed: list[str] = []

    def chapter(self, title: str) -> None:
        """A heading."""
        self._console.print()
        self._console.print(f"[bold]{escape(title)}[/bold]")

    def tell(self, text: str) -> None:
        """A sentence of the story."""
        self._console.print(f"  {escape(text)}")

    def show(self, text: str) -> None:
        """Something to look at, as it is."""
        self._console.print(text, markup=False)

    def check(self, claim: str, holds: object) -> None:
        """Say what should be so, and whether it is."""
        if holds:
            self.held += 1
            self._console.print(f"    [green]✓[/green] {escape(claim)}")
        else:
            self.failed.append(claim)
            self._console.print(f"    [bold red]✗ {escape(claim)}[/bold red]")

    async def check_refused(self, claim: str, code: str, action: Awaitable[object]) -> None:
        """Checks that the action is refused with `code`."""
        try:
            await action
        except Refused as refused:
            self.check(f"{claim} ({refused.code})", refused.code == code)
        else:
            self.check(f"{claim} (it was accepted)", False)


class Stage:
    """A server, its witness, their clock and the wallets of one telling. Use as an async context. `log_key` is the key
    of the server's log."""

    def __init__(self, folder: Path, narrator: Narrator, started_ago: int) -> None:
        self.folder = folder
        self.data = folder / "server"
        self.narrator = narrator
        self._started_ago = started_ago
        self._clock_file = folder / "story-clock"
        self._server: subprocess.Popen[bytes] | None = None
        self._wallets: list[Wallet] = []
        # Taken once and kept: the server is killed and comes back on the same port, or no link would hold.
        self.port = free_port()
        self.origin = f"http://localhost:{self.port}"
        self.log_url = f"{self.origin}/log"
        self.log_key: VerifierKey
        self.witness = WitnessProcess(folder / "witness", self._clock_file)

    async def __aenter__(self) -> "Stage":
        self._set_clock(-self._started_ago)
        try:
            # Each must know the other's key, and makes its own at its first start: one of them is started twice.
            await self.witness.start()
            await self.start_server()
            self.log_key = await self._fetch_log_key()
            await self.witness.stop()
            await self.witness.start(self.log_key)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End everything that is still there."""
        for wallet in self._wallets:
            await wallet.close()
        self._wallets.clear()
        await self.stop_server(signal.SIGTERM)
        await self.witness.stop()

    # --- time -------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The story's time (ms)."""
        return StoryClock(self._clock_file).now()

    def _set_clock(self, offset: int) -> None:
        draft = self._clock_file.with_suffix(".new")
        draft.write_text(str(offset))
        draft.replace(self._clock_file)

    def move_clock(self, to: int) -> None:
        """Move the story to `to` (ms). Raises DidNotHold for a move back, or beyond the wall clock."""
        offset = to - time.time_ns() // 1_000_000
        if to < self.now() or offset > 0:
            raise DidNotHold("the story's clock moves forward, and never beyond the wall clock")
        self._set_clock(offset)

    def pass_time(self, milliseconds: int) -> None:
        """Let that much time pass."""
        self.move_clock(self.now() + milliseconds)

    # --- the server -------------------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """The environment of the server, and of commands in its folder."""
        return {
            **without_settings(),
            "COMITY_DATA": str(self.data),
            "COMITY_PORT": str(self.port),
            "COMITY_OPERATOR": "Harbour Street Traders (example)",
            "COMITY_CLOCK_OFFSET_FILE": str(self._clock_file),
            "COMITY_WITNESSES": f"{self.witness.key.text} {self.witness.url}",
            "COMITY_COSIGNATURES": "1",
            "COMITY_LOG_FORMAT": "json",
            # The endpoint of the story is on this machine; nowhere else would that be right.
            "COMITY_WEBHOOKS_TO_LOOPBACK": "true",
        }

    async def start_server(self) -> None:
        """Start the server and wait until it is ready. Raises DidNotHold."""
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                [sys.executable, "-m", "comity_tools", "serve"],
                env=self.environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until = time.monotonic() + READY_WITHIN
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until and self._server.poll() is None:
                with suppress(aiohttp.ClientError, OSError):
                    async with session.get(f"{self.origin}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)
        raise DidNotHold(f"the server did not start; its log is {self.folder / 'server.log'}")

    async def stop_server(self, signal_number: signal.Signals) -> None:
        """End the server: SIGTERM lets it finish, SIGKILL does not."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal_number)
            await asyncio.to_thread(self._server.wait, ENDED_WITHIN)

    async def home_keys(self) -> dict[str, PublicKey]:
        """The server's own keys, as its DID document publishes them."""
        did = did_of_host(f"localhost:{self.port}")
        async with aiohttp.ClientSession() as session, session.get(did_web_url(did)) as answer:
            return keys_of_document(did, parse_object(await answer.read()))

    async def fetch_key_statements(self) -> bytes:
        """The server's statements about its own keys (HOME-2)."""
        async with aiohttp.ClientSession() as session, session.get(self.origin + HOME_KEYS) as answer:
            return await answer.read()

    async def _fetch_log_key(self) -> VerifierKey:
        async with aiohttp.ClientSession() as session, session.get(f"{self.origin}/.well-known/comity") as answer:
            (log,) = parse_object(await answer.read())["logs"]
        return parse_vkey(log["vkey"])

    async def kill_and_restart(self) -> None:
        """End the server in the middle of whatever it does, and start it again on the same port and file."""
        await self.stop_server(signal.SIGKILL)
        await self.start_server()

    def log(self) -> str:
        """The text of the server's log file."""
        return (self.folder / "server.log").read_text(encoding="utf-8")

    # --- wallets ----------------------------------------------------------------------------------------------------

    async def person(self, name: str) -> Wallet:
        """A person's new wallet."""
        return await self._wallet(name)

    async def business(self, name: str, shown: str) -> Wallet:
        """A business: its key is made in its own wallet, and only the public half is registered with the server."""
        did = did_of_host(f"localhost:{self.port}", "b", name)
        key = SigningKey(os.urandom(32))
        arguments = ("business", "create", name, "--did-key", key.public.did)
        registered = await comity(*arguments, environment=self.environment())
        registered.check_returncode()
        told, kid, *_ = registered.stdout.split()
        self.narrator.check(f"{shown} is {told}", told == did)
        return await self._wallet(name, business=did, key=key, kid=kid, name=shown)

    async def _wallet(self, file: str, **who: Any) -> Wallet:
        # An identity in place of a passphrase: deriving a key from one takes two seconds for each wallet, on purpose.
        identity = new_identity()
        wallet = await Wallet.create(self.folder / f"{file}.wallet", identity=identity, clock=self.now, **who)
        self._wallets.append(wallet)
        return wallet

    async def sync_until(self, party: Connection, holds: Callable[[], bool], within: float = 20.0) -> bool:
        """Read a party's news until `holds`, for so many seconds of real time."""
        until = time.monotonic() + within
        while not holds() and time.monotonic() < until:
            await party.sync(wait=1)
        return holds()


async def wait_until(holds: Callable[[], bool], within: float) -> bool:
    """Whether it holds before so many seconds of real time are over."""
    until = time.monotonic() + within
    while not holds() and time.monotonic() < until:  # noqa: ASYNC110 - it comes about in other processes
        await asyncio.sleep(0.05)
    return holds()


def qr(link: str) -> str:
    """A link as a QR code for a terminal, in half blocks."""
    out = io.StringIO()
    segno.make(link, error="m").terminal(out=out, compact=True)
    return out.getvalue()
