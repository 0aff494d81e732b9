"""A world whose server is another process. Tests read its log and its store from outside."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp

from comity.crypto.keys import keys_of_document
from comity.documents.offers import HomeParty
from comity.documents.types import SIDES
from comity_server.data_dir import STORE
from comity_server.operator import admin_socket
from comity_server.operator.commands import CREATE, KeyToPublish
from support.world import Pair, World

MISTAKES = ("Traceback", '"level":"error"', '"level": "error"', "_failed")
"""Texts that a server's log contains only after a fault of the server."""


class ChildWorld(World):
    """`World` with `comity serve` as a child process, reached over HTTP and the operator's socket alone."""

    child: subprocess.Popen[bytes]
    command: Sequence[str] = (sys.executable, "-m", "comity_tools", "serve")

    async def start(self) -> None:
        """Start the process, and wait until it is ready."""
        is_restarted = (self.folder / "data" / STORE).exists()
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("COMITY_")}
        settings = {"log_format": "json", **self.settings()}
        environment = {**kept, **{f"COMITY_{name.upper()}": str(value) for name, value in settings.items()}}
        with self.log_file.open("ab") as log:
            self.child = subprocess.Popen(
                self.command,
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        until = time.monotonic() + 30
        while not await self._is_ready():
            assert time.monotonic() < until and self.child.poll() is None, self.log()
            await asyncio.sleep(0.05)
        if is_restarted:
            self.pass_the_second()
        document = (await self.send("GET", "/.well-known/did.json")).json
        keys = keys_of_document(self.home, document)
        self._hosted: dict[str, Any] = dict(keys)
        # The parts of a server that the people of a world look at.
        self.server = SimpleNamespace(  # type: ignore[assignment]
            directory=SimpleNamespace(find_key=self._hosted.get), add_business_key=self._add
        )

    @property
    def home_party(self) -> HomeParty:
        """The server under the key that it publishes."""
        found = ((kid, key) for kid, key in self._hosted.items() if kid.startswith(f"{self.home}#"))
        ((kid, key),) = found
        return HomeParty(did=self.home, kid=kid, key=key.multibase)

    async def _is_ready(self) -> bool:
        try:
            return (await self.send("GET", "/readyz")).status == 200
        except aiohttp.ClientError:
            return False

    async def _add(self, name: str, did_key: str) -> Any:
        told = await admin_socket.ask(self.folder / "data", CREATE, KeyToPublish(name, did_key))
        return SimpleNamespace(keys=dict.fromkeys(told.kids))

    async def stop(self) -> None:
        """End the process as an operator would."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self.child.wait, 20)

    @property
    def log_file(self) -> Path:
        """Where the server's output goes."""
        return self.folder / "server.log"

    def log(self) -> str:
        """The server's output."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def rows(self) -> dict[str, int]:
        """How many rows each table has, but for the counts of what businesses were refused."""
        with closing(sqlite3.connect(f"file:{self.folder / 'data' / STORE}?mode=ro", uri=True)) as store:
            names = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            names.remove("counts")
            return {name: store.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}

    async def everything(self, *pairs: Pair) -> list[Any]:
        """What both sides of some connections are shown, and how much is stored."""
        shown = [(await pair.seen(side)).json for pair in pairs for side in SIDES]
        return [shown, self.rows()]


@asynccontextmanager
async def child_world(folder: Path, **settings: Any) -> AsyncIterator[ChildWorld]:
    """A world with a server process. Fails if the server's log shows a fault of its own."""
    world = ChildWorld(folder, settings)
    try:
        await world.start()
        yield world
    finally:
        await world.close()
    found = [line for line in world.log().splitlines() if any(mark in line for mark in MISTAKES)]
    assert not found, found
    assert world.child.returncode == 0
