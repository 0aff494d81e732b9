"""Deletes expired rows, in small steps (GROW-2).

Each step finds old rows on a read-only connection, and deletes a few of them in a transaction of its own, between two
units of work. Then it waits many times as long as that took, so that no write, and no "no", waits for more than one
step.
"""

import asyncio
import time

from comity_server.businesses.api_keys import Keyring
from comity_server.clock import Clock
from comity_server.logging import logger
from comity_server.metrics import Metrics
from comity_server.store.errors import StoreFailed
from comity_server.store.prunes import DAY, PRUNES, Prune, Prunes

MOST = 50
"""Rows in one step."""
STREAMS = 200
"""Streams that one step looks at."""
WAITS_FOR = 20
"""How many times as long as a step took the next one waits."""
EVERY = 3600.0
"""Seconds from the end of one round to the next."""
KEYS_KEPT = 90 * DAY
"""ms for which an API key is stored after its end."""
MOST_ENDED_KEYS = 500
"""The number of ended API keys that are stored for one business, the newest."""


class Pruner:
    """The task that prunes. It decides nothing visible but the retention times."""

    def __init__(self, store: Prunes, keyring: Keyring, clock: Clock, metrics: Metrics, inbox_days: int) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._metrics = metrics
        self._news_kept = inbox_days * DAY
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what had its time while the server was down."""
        self._task = asyncio.create_task(self._run(), name="pruner")

    async def stop(self) -> None:
        """End between two steps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except StoreFailed:  # A condition reports it (OPS-2), and the next round continues.
                pass
            except Exception as error:
                logger().warning("prune_failed", exc_info=error)
            await asyncio.sleep(EVERY)

    async def round(self) -> None:
        """Prune everything that is old by now. Raises StoreFailed."""
        for kind in PRUNES:
            while await self._step(kind) == MOST:
                pass
        await self._prune_keys()
        await self._prune_news()

    async def _step(self, kind: Prune) -> int:
        began = time.monotonic()
        count = await self._store.prune(kind.find, kind.drop, self._clock.now() - kind.kept, MOST)
        await self._note(kind.table, count, began)
        return count

    async def _prune_keys(self) -> None:
        """Ended API keys: from the store first, and then from memory."""
        old = self._keyring.long_ended(self._clock.now(), KEYS_KEPT, MOST_ENDED_KEYS)
        for first in range(0, len(old), MOST):
            began, some = time.monotonic(), old[first : first + MOST]
            await self._store.drop_api_keys((key.name, key.id) for key in some)
            self._keyring.drop(some)
            await self._note("api_keys", len(some), began)

    async def _prune_news(self) -> None:
        behind: str | None = ""
        while behind is not None:
            began = time.monotonic()
            found = await self._store.old_news(behind, self._clock.now() - self._news_kept, STREAMS, MOST)
            if found.ends:
                await self._store.prune_news(found.ends)
            behind = found.behind
            await self._note("inbox", found.rows, began)

    async def _note(self, table: str, count: int, began: float) -> None:
        """Count a step, and leave the store to others for a while."""
        self._metrics.pruned.labels(table).inc(count)
        await asyncio.sleep(WAITS_FOR * (time.monotonic() - began) if count else 0)
