"""Logs made of the pure modules, and clients and impostors of witnesses."""

import asyncio
import hashlib
import inspect
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from comity.crypto.keys import SigningKey
from comity.transparency.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from comity.transparency.merkle import leaf_hash, prove_consistency, root_of, root_of_hashes
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, VerifierKey, signature_line, split_note
from comity_server.log.witness_protocol import PATH, open_submission, origin_hash, seal_submission


class Log:
    """A log of numbered entries, under a key of its own. `history`: another one shows other entries."""

    def __init__(self, origin: str = "log.example/log", history: str = "") -> None:
        self.signer = NoteSigner(origin, ED25519, SigningKey(hashlib.sha256(origin.encode()).digest()))
        self.history = history

    @property
    def key(self) -> VerifierKey:
        return self.signer.verifier

    def node(self, height: int, index: int) -> bytes:
        numbers = range(index << height, (index + 1) << height)
        return root_of_hashes([leaf_hash(f"{self.history}{number}".encode()) for number in numbers])

    def checkpoint(self, size: int) -> SignedCheckpoint:
        return sign_checkpoint(Checkpoint(self.signer.name, size, root_of(size, self.node)), self.signer)

    def proof(self, old: int, new: int) -> list[bytes]:
        return prove_consistency(old, new, self.node)

    async def prove(self, old: int, new: int) -> list[bytes]:
        return self.proof(old, new)

    def submission(self, old: int, new: int, proof: Sequence[bytes] | None = None) -> bytes:
        return seal_submission(old, self.proof(old, new) if proof is None else proof, self.checkpoint(new).raw)


class Said(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    kind: str


class Talk:
    """A client of one witness."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def submit(self, body: bytes) -> Said:
        async with self.http.post(f"{self.url}{PATH}", data=body) as answer:
            return Said(answer.status, await answer.read(), answer.headers["Content-Type"])

    async def kept(self, log: Log) -> Said:
        async with self.http.get(f"{self.url}/{origin_hash(log.signer.name)}/checkpoint") as answer:
            return Said(answer.status, await answer.read(), answer.headers["Content-Type"])


class Puppet:
    """A witness that signs whatever it is given, until a test tells it otherwise."""

    def __init__(self, name: str) -> None:
        self.signer = NoteSigner(name, COSIGNATURE, SigningKey(hashlib.sha256(name.encode()).digest()))
        self.asked: list[int] = []
        """The sizes that it was asked about."""
        self.answers: Callable[[str], Awaitable[tuple[int, str]]] = self.signs
        """From the text of a checkpoint to status and body."""
        self.kept: str | None = None
        """The checkpoint that it shows as its last one."""
        self.shown = asyncio.Event()
        """Set when somebody has looked at that."""

    async def signs(self, text: str) -> tuple[int, str]:
        return 200, signature_line(text, self.signer, int(time.time()))

    async def fails(self, _text: str) -> tuple[int, str]:
        return 503, ""

    async def hangs(self, _text: str) -> tuple[int, str]:
        await asyncio.Event().wait()
        raise AssertionError

    def has_cosigned(self, size: int) -> None:
        """From now on it says that it cosigned a tree of that size."""

        async def says(_text: str) -> tuple[int, str]:
            return 409, f"{size}\n"

        self.answers = says

    def dawdles(self, seconds: float) -> None:
        """From now on it takes so long."""

        async def signs_slowly(text: str) -> tuple[int, str]:
            await asyncio.sleep(seconds)
            return await self.signs(text)

        self.answers = signs_slowly

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            self.shown.set()
            return web.Response(status=404) if self.kept is None else web.Response(text=self.kept)
        text, _ = split_note(open_submission(await request.read()).note)
        self.asked.append(int(text.split("\n")[1]))
        status, body = await self.answers(text)
        return web.Response(status=status, text=body)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve; yields the setting that names this witness to a server."""
        runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"{self.signer.verifier.text} http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def plant(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *edits: tuple[str, str]) -> None:
    """Replace parts of a function's source, for one test."""
    real: Callable[..., Any] = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(real))
    for old, new in edits:
        if source.count(old) != 1:
            raise LookupError(f"{name} has this text {source.count(old)} times, so no defect was planted: {old}")
        source = source.replace(old, new)
    made: dict[str, Any] = {}
    exec(compile(source, f"<planted {name}>", "exec"), real.__globals__, made)
    monkeypatch.setattr(owner, name, made[name])
