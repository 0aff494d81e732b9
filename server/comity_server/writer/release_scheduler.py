"""Releases held messages, or lets them expire, when their time comes."""

import asyncio
from functools import partial
from typing import Protocol

from comity.errors import Refused
from comity_server.clock import Clock, sleep_until
from comity_server.logging import logger
from comity_server.store.errors import StoreFailed
from comity_server.writer.unit_of_work import UnitOfWork
from comity_server.writer.writer import Writer

MOST = 100
"""Connections in one group."""
PAUSE = 1.0
"""Seconds to wait after a failure."""


class ReleaseStore(Protocol):
    """The queries of the timer."""

    async def due_connections(self, now: int, most: int) -> list[str]: ...
    async def next_wake(self) -> int | None: ...


class Releases:
    """The timer. It decides nothing: it wakes the writer, and the writer asks the rules again."""

    def __init__(self, store: ReleaseStore, accept: Writer, clock: Clock) -> None:
        self._store = store
        self._accept = accept
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; what became due while the server was down is released first."""
        self._task = asyncio.create_task(self._run(), name="releases")

    async def stop(self) -> None:
        """End between two groups."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        woken = self._accept.wake_releases
        while True:
            try:
                woken.clear()
                due = await self._store.due_connections(self._clock.now(), MOST)
                if due:
                    await self._accept.command(partial(_release, due), cids=due)
                else:
                    await sleep_until(self._clock, await self._store.next_wake(), woken)
            except Exception as error:  # A full queue or a failing store: the timer continues.
                if not isinstance(error, (Refused, StoreFailed)):
                    logger().warning("release_failed", exc_info=error)
                await asyncio.sleep(PAUSE)


async def _release(cids: list[str], unit: UnitOfWork) -> None:
    for cid in cids:
        unit.release(cid)
