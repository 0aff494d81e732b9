"""The stage of the demo: a real server as a child process, its clock, the wallets, and the narrator.

Nothing here is make-believe: the server listens on a loopback port and keeps its file, the wallets are age files, and
everything between them goes over HTTP. Only the time is a story's: it starts in the past and is moved forward, never
beyond the wall clock.
"""

import asyncio
import io
import os
import signal
import socket
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

from comity.client import Party, Wallet, new_identity
from comity.encoding import parse_object
from comity.errors import Refused
from comity.keys import PublicKey, SigningKey, did_of_host, did_web_url, keys_of_document
from comity_server.clock import StoryClock

READY_WITHIN = 30.0
"""Seconds that the server may take to answer after it was started."""
HOUR = 3_600_000
DAY = 24 * HOUR


class DidNotHold(Exception):
    """A step of the story ended otherwise than it should."""


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

    async def refused(self, claim: str, code: str, doing: Awaitable[object]) -> None:
        """Check that what is awaited is refused with `code`."""
        try:
            await doing
        except Refused as refused:
            self.check(f"{claim} ({refused.code})", refused.code == code)
        else:
            self.check(f"{claim} (it was accepted)", False)


class Stage:
    """A server, its clock and the wallets of one telling. Use as an async context."""

    def __init__(self, folder: Path, narrator: Narrator, started_ago: int) -> None:
        self.folder = folder
        self.narrator = narrator
        self._started_ago = started_ago
        self._clock_file = folder / "story-clock"
        self._server: subprocess.Popen[bytes] | None = None
        self._wallets: list[Wallet] = []
        # Taken once and kept: the server is killed and comes back on the same port, or no link would hold.
        self.port = _free_port()
        self.origin = f"http://localhost:{self.port}"

    async def __aenter__(self) -> "Stage":
        self._set_clock(-self._started_ago)
        await self.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for wallet in self._wallets:
            await wallet.close()
        await self.stop_server(signal.SIGTERM)

    # --- time -------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The story's time (ms)."""
        return StoryClock(self._clock_file).now()

    def _set_clock(self, offset: int) -> None:
        whole = self._clock_file.with_suffix(".new")
        whole.write_text(str(offset))
        whole.replace(self._clock_file)

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

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("COMITY_")}
        return {
            **kept,
            "COMITY_DATA": str(self.folder / "server"),
            "COMITY_PORT": str(self.port),
            "COMITY_OPERATOR": "Harbour Street Traders (example)",
            "COMITY_CLOCK_OFFSET_FILE": str(self._clock_file),
            "COMITY_LOG_FORMAT": "json",
        }

    async def start_server(self) -> None:
        """Start the server and wait until it is ready. Raises DidNotHold."""
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                [sys.executable, "-m", "comity_server", "serve"],
                env=self._environment(),
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

    async def stop_server(self, how: signal.Signals) -> None:
        """End the server: SIGTERM lets it finish, SIGKILL does not."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(how)
            await asyncio.to_thread(self._server.wait, 20)

    async def home_keys(self) -> dict[str, PublicKey]:
        """The server's own keys, as its DID document publishes them."""
        did = did_of_host(f"localhost:{self.port}")
        async with aiohttp.ClientSession() as session, session.get(did_web_url(did)) as answer:
            return keys_of_document(did, parse_object(await answer.read()))

    async def kill_and_restart(self) -> None:
        """End the server in the middle of whatever it does, and start it again on the same port and file."""
        await self.stop_server(signal.SIGKILL)
        await self.start_server()

    def log(self) -> str:
        """What the server wrote to its log."""
        return (self.folder / "server.log").read_text(encoding="utf-8")

    # --- wallets ----------------------------------------------------------------------------------------------------

    async def person(self, name: str) -> Wallet:
        """A person's new wallet."""
        return await self._wallet(name)

    async def business(self, name: str, shown: str) -> Wallet:
        """A business: its key is made in its own wallet, and only the public half is registered with the server."""
        did = did_of_host(f"localhost:{self.port}", "b", name)
        key = SigningKey(os.urandom(32))
        registered = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "comity_server", "business", "create", name, "--did-key", key.public.did],
            env=self._environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        told, kid = registered.stdout.split()
        self.narrator.check(f"{shown} is {told}", told == did)
        return await self._wallet(name, business=did, key=key, kid=kid, name=shown)

    async def _wallet(self, file: str, **who: Any) -> Wallet:
        # An identity in place of a passphrase: deriving a key from one takes two seconds for each wallet, on purpose.
        identity = new_identity()
        wallet = await Wallet.create(self.folder / f"{file}.wallet", identity=identity, clock=self.now, **who)
        self._wallets.append(wallet)
        return wallet

    async def until(self, party: Party, holds: Callable[[], bool], within: float = 20.0) -> bool:
        """Read a party's news until `holds`, for so many seconds of real time."""
        until = time.monotonic() + within
        while not holds() and time.monotonic() < until:
            await party.sync(wait=1)
        return holds()


def qr(link: str) -> str:
    """A link as a QR code for a terminal, in half blocks."""
    out = io.StringIO()
    segno.make(link, error="m").terminal(out=out, compact=True)
    return out.getvalue()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
