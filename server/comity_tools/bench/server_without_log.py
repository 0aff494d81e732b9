"""`python -m comity_tools.bench.server_without_log`: `comity serve` without its log, to measure the cost of the log.

Acts are verified, decided, folded and stored in the same way; nothing is entered anywhere, and no receipt is given.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from comity.crypto.keys import SigningKey
from comity.documents.acts import SignedAct
from comity.documents.events import Place
from comity.documents.types import Side
from comity.rules.state import Mute
from comity.transparency.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from comity.transparency.merkle import EMPTY_ROOT, Edge
from comity.transparency.notes import ED25519, NoteSigner
from comity_server import logging
from comity_server.app import serve
from comity_server.config import load
from comity_server.log.appender import Tail
from comity_server.log.registry import Logs
from comity_server.store.rows import Batch

ORIGIN = "bench.example/none"


class _CountedPlaces:
    """Numbers places, and writes nothing."""

    def __init__(self, index: int) -> None:
        self.index = index

    def place(self) -> Place:
        """The place of the next entry."""
        return Place(ORIGIN, self.index)

    def act(self, act: SignedAct, side: Side, at: int, secret: bytes, muted: Mute | None) -> None:
        """Counts an act."""
        self.index += 1

    def delivery(self, cid: str, act: str, purpose: str, side: Side, at: int, secret: bytes) -> None:
        """Counts a delivery."""
        self.index += 1

    def mute_over(self, cid: str, by: str, side: Side, at: int, secret: bytes) -> None:
        """Counts an expired mute."""
        self.index += 1

    def key(self, kid: str, statement: bytes, at: int, tag_key: bytes) -> None:
        """Counts a statement about a key."""
        self.index += 1

    def notice(self, id_: str, raw: str, at: int, tag_key: bytes) -> None:
        """Counts a notice."""
        self.index += 1

    def missing_acts(self) -> list[tuple[str, str]]:
        """No act is needed."""
        return []

    def write(self, batch: Batch, now: int, raws: Mapping[str, str]) -> None:
        """Writes nothing."""


class NoLog:
    """Replaces the log."""

    origin = ORIGIN
    halted = None
    failing = None

    def __init__(self) -> None:
        signer = NoteSigner(ORIGIN, ED25519, SigningKey(bytes(32)))
        self.key = signer.verifier
        self.published: SignedCheckpoint = sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), signer)
        self.tail = Tail(ORIGIN, 0, 0, Edge(), {})
        self._index = 0

    def additions(self) -> _CountedPlaces:
        """The additions of a unit of work: numbers."""
        return _CountedPlaces(self._index)

    def apply_commit(self, added: _CountedPlaces) -> None:
        """Continues after the added numbers."""
        self._index = added.index

    async def in_doubt(self) -> None:
        """Nothing is ever in doubt."""

    def when_covered(self, size: int, go_on: Callable[[], None]) -> None:
        """Calls `go_on` at once."""
        go_on()

    async def wait_until_signed(self) -> None:
        """Returns at once."""

    def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""


async def _no_logs(_store: object, _data: Path, _host: str, _name: str | None) -> Logs:
    return Logs(cast(Any, NoLog()))


async def _main() -> None:
    config = load({})
    logging.configure(config.log_format, config.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(config, lambda _server: None, stop, open_logs=_no_logs)


if __name__ == "__main__":
    asyncio.run(_main())
