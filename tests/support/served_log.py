"""A true log in memory, made by the rules alone, and a host on loopback that serves it over HTTP, or lies about it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from click.testing import CliRunner

from comity.crypto.keys import SigningKey
from comity.errors import Malformed
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.entries import VERSION, Kind
from comity.transparency.merkle import Edge, leaf_hash
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, signature_line
from comity.transparency.tiles import HEIGHT, WIDTH, encode_bundle, parse_path
from comity_tools.cli import main

MINUTE = 29_000_000
"""When the logs of the tests begin, in minutes since the epoch."""
_KINDS: tuple[tuple[Kind, int], ...] = ((Kind.ACT, 1), (Kind.DELIVERED, 2), (Kind.PRIVATE, 0), (Kind.MUTE_ALL, 2))


def signer(name: str, kind: int = ED25519, seed: str = "") -> NoteSigner:
    """A key for the tests, the same each time."""
    return NoteSigner(name, kind, SigningKey(hashlib.sha256(f"{name} {kind} {seed}".encode()).digest()))


def entry(number: int, *, kind: int = 1, side: int = 1, minute: int = MINUTE, until: int = 0) -> bytes:
    """One entry, byte for byte, also such as there may not be."""
    numbers = minute.to_bytes(4, "big") + until.to_bytes(4, "big")
    return bytes([VERSION, kind, side]) + numbers + hashlib.sha384(str(number).encode()).digest()


def entries(count: int, first: int = 0, salt: int = 0) -> list[bytes]:
    """So many entries that follow each other; `salt` makes other ones."""
    found = []
    for number in range(first, first + count):
        kind, side = _KINDS[number % len(_KINDS)]
        until = 480_000 if kind is Kind.MUTE_ALL and number % 8 == 3 else 0
        found.append(entry(number + salt, kind=kind, side=side, minute=MINUTE + number // 10, until=until))
    return found


class TrueLog:
    """A log: its entries, its tree, its key. It can be asked for what it served at any size."""

    def __init__(self, origin: str, leaves: Iterable[bytes] = ()) -> None:
        self.signer = signer(origin)
        self.witnesses: list[tuple[NoteSigner, int]] = []
        self.entries: list[bytes] = []
        self._rows: list[list[bytes]] = [[]]
        self._edge = Edge()
        self.grow(leaves)

    def grow(self, leaves: Iterable[bytes]) -> None:
        """Add entries."""
        for leaf in leaves:
            self.entries.append(leaf)
            for height, done in enumerate(self._edge.append(leaf_hash(leaf))):
                if height % HEIGHT == 0:
                    if height // HEIGHT == len(self._rows):
                        self._rows.append([])
                    self._rows[height // HEIGHT].append(done)

    def named(self, origin: str) -> "TrueLog":
        """The same entries in a log of another name. Neither must grow from then on."""
        other = copy(self)
        other.signer, other.witnesses = signer(origin), []
        return other

    @property
    def size(self) -> int:
        """How many entries."""
        return len(self.entries)

    @property
    def origin(self) -> str:
        """Its name."""
        return self.signer.name

    def checkpoint(self) -> str:
        """Its head now, signed, and cosigned by its witnesses."""
        signed = sign_checkpoint(Checkpoint(self.origin, self.size, self._edge.root()), self.signer)
        return signed.raw + "".join(signature_line(signed.text, it, time) for it, time in self.witnesses)

    def file(self, path: str) -> bytes | None:
        """What it serves under a path; partial tiles of all its sizes."""
        if path == "checkpoint":
            return self.checkpoint().encode()
        try:
            tile = parse_path(path)
        except Malformed:
            return None
        first, end = tile.number * WIDTH, tile.number * WIDTH + tile.width
        if tile.level < 0:
            return encode_bundle(self.entries[first:end]) if end <= self.size else None
        row = self._rows[tile.level] if tile.level < len(self._rows) else []
        return b"".join(row[first:end]) if end <= len(row) else None


Lie = Callable[[str, bytes | None], bytes | None]
"""From a path and the true answer (None: nothing is there) to the answer that is given."""
Stall = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Host:
    """A host on a port of loopback with one log below /log, and what is wrong with it."""

    def __init__(self) -> None:
        self.port = 0
        self.log: TrueLog
        self.lie: Lie | None = None
        self.status: dict[str, int] = {}
        """Paths that are answered with another status than 200."""
        self.stalls: dict[str, Stall] = {}
        """Paths that are answered in a way of their own."""
        self.asked: list[str] = []
        self.logs: Any = None
        """What it says of its logs in /.well-known/comity; else the truth."""

    @property
    def url(self) -> str:
        """The prefix of its log."""
        return f"http://{self.origin}"

    @property
    def origin(self) -> str:
        """The name of its log."""
        return f"localhost:{self.port}/log"

    def honest(self) -> None:
        """Answer truthfully from now on, and forget the requests so far."""
        self.lie, self.status, self.stalls, self.asked = None, {}, {}, []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        path = request.path.removeprefix("/log/")
        self.asked.append(path)
        if path in self.stalls:
            return await self.stalls[path](request)
        if path in self.status:
            return web.Response(status=self.status[path])
        if path == "/.well-known/comity":
            log = {"origin": self.log.origin, "vkey": self.log.signer.verifier.text, "url": f"{self.url}/"}
            return web.json_response({"version": 1, "logs": [log] if self.logs is None else self.logs})
        data = self.log.file(path)
        if self.lie is not None:
            data = self.lie(path, data)
        return web.Response(status=404) if data is None else web.Response(body=data)


@asynccontextmanager
async def hosting(size: int = 0) -> AsyncIterator[Host]:
    """A host with a log of so many entries."""
    host = Host()
    runner = web.ServerRunner(web.Server(host.answer, access_log=None), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host.port = runner.addresses[0][1]
        host.log = TrueLog(host.origin, entries(size))
        yield host
    finally:
        await runner.cleanup()


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON object."""
        return json.loads(self.out)


async def command(*words: str | Path, data: Path | None = None) -> Said:
    """`comity log follow` with these words. In a thread with a loop of its own, so that a host here can answer."""

    def run() -> Said:
        environment = {} if data is None else {"XDG_DATA_HOME": str(data)}
        result = CliRunner().invoke(main, ["log", "follow", *map(str, words)], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return await asyncio.to_thread(run)


async def follow_host(host: Host, state: Path, *more: str | Path) -> Said:
    """The same of a host, by its log's key."""
    key = host.log.signer.verifier.text
    return await command(host.url, "--vkey", key, "--state", state, "--timeout", "0.4", *more)


def witness(number: int) -> NoteSigner:
    """A witness."""
    return signer(f"witness-{number}.example/w", COSIGNATURE)
