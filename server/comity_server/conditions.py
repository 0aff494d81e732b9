"""How the server is: each condition that an operator should know of, what it stops, its cause, and its cure (OPS-1).

This module alone decides it, from the states of the parts. `/readyz`, `/metrics`, the log and `comity status` read it
here.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from comity_server.clock import ServerClock
from comity_server.limits.connections import Sockets
from comity_server.log.cosigning import Cosigning
from comity_server.log.sequencer import Sequencer
from comity_server.logging import logger
from comity_server.store.contract import Store
from comity_server.store.errors import StoreFailed, StoreFull
from comity_server.webhooks.supervisor import Webhooks

LOOK_EVERY = 1.0
"""Seconds between two looks, and between two attempts to write where the store failed."""
REMEMBER_EVERY = 60.0
"""Seconds after which the time is kept for the next start."""


class Condition(NamedTuple):
    """The description of a condition. `stops`: the server does not do all of its work while it lasts."""

    stops: bool
    cure: str


CONDITIONS = {
    "disk_full": Condition(True, "free space on the disk of the data folder. The server then continues by itself"),
    "store_failing": Condition(
        True,
        "check the disk of the data folder, its quota and its permissions; `comity fsck` checks the store. The server "
        "tries again every second, and continues by itself",
    ),
    "clock_ahead": Condition(
        True,
        "only acts that say no are accepted. Set the clock or, if it is right, run `comity clock accept`. A witness "
        "that reports the same time also ends this",
    ),
    "clock_behind": Condition(
        True,
        "only acts that say no are accepted until the clock has caught up. Set the clock. If it is right, it was ahead "
        "when the store was written: start a log that says so, COMITY_CONSENT_LOG=NAME COMITY_CLOCK_SET=true",
    ),
    "signing_stopped": Condition(
        True,
        "acts are accepted without receipts. Remove the cause, then restart the server: it continues, or says what to "
        "do",
    ),
    "signing_failing": Condition(
        True,
        "acts are accepted without receipts until the head file can be written: check the disk of the data folder. "
        "The server continues by itself",
    ),
    "witness_away": Condition(
        False,
        "nothing waits for the witness. Tell its operator, or remove it from COMITY_WITNESSES if it does not come back",
    ),
    "webhooks_stopped": Condition(
        False, "webhooks wait until the process runs again; the server restarts it by itself. The log has the reason"
    ),
    "connections_full": Condition(
        False,
        "raise COMITY_MAX_CONNECTIONS, or name the proxy in front of the server in COMITY_TRUSTED_PROXIES",
    ),
}
"""By name, the worst first."""


class Standing(NamedTuple):
    """A condition that is there, and since when (s, monotonic)."""

    name: str
    cause: str
    since: float

    @property
    def stops(self) -> bool:
        """Whether the server does not do all of its work in it."""
        return CONDITIONS[self.name].stops

    @property
    def cure(self) -> str:
        """The action that ends it."""
        return CONDITIONS[self.name].cure


class Conditions:
    """The conditions of one server. `start` begins to look."""

    def __init__(
        self,
        store: Store,
        clock: ServerClock,
        behind: Callable[[], int],
        log: Sequencer,
        cosigning: Cosigning,
        sockets: Sockets,
        webhooks: Webhooks,
    ) -> None:
        """`behind`: ms by which the clock is behind the last commit."""
        self._clock = clock
        self._behind = behind
        self._store = store
        self._log = log
        self._cosigning = cosigning
        self._sockets = sockets
        self._webhooks = webhooks
        self._standing: dict[str, Standing] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.create_task(self._run(), name="conditions")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._clock.remember()

    def look(self) -> tuple[Standing, ...]:
        """Those that are there now, the worst first. What began or ended since the last look is logged (OPS-2)."""
        causes = dict(self._causes())
        for name in [name for name in self._standing if name not in causes]:
            began = self._standing.pop(name).since
            logger().info("condition_ended", condition=name, seconds=round(time.monotonic() - began))
        for name, cause in causes.items():
            if name not in self._standing:
                self._standing[name] = Standing(name, cause, time.monotonic())
                log = logger().error if CONDITIONS[name].stops else logger().warning
                log("condition_began", condition=name, reason=cause, cure=CONDITIONS[name].cure)
        return tuple(self._standing[name] for name in CONDITIONS if name in self._standing)

    def _causes(self) -> Iterator[tuple[str, str]]:
        """(name, cause) of each that is there, of the cause no more than anybody may read (OPS-1)."""
        if (failed := self._store.last_fault) is not None:
            yield ("disk_full" if isinstance(failed, StoreFull) else "store_failing"), f"the store reports {failed}"
        if (jump := self._clock.ahead()) > 0:
            yield "clock_ahead", f"the clock is {_long(jump)} ahead of the time that the server has counted"
        elif (behind := self._behind()) > 0:
            yield "clock_behind", f"the clock is {_long(behind)} behind the last write to the store"
        if self._log.halted is not None:
            yield "signing_stopped", self._log.halted
        elif self._log.failing is not None:
            yield "signing_failing", self._log.failing
        if away := self._cosigning.witnesses.away():
            yield "witness_away", away
        if (status := self._webhooks.ended) is not None:
            yield "webhooks_stopped", f"the process that sends webhooks ended with status {status}"
        if self._sockets.is_full:
            yield "connections_full", "connections were refused within the last minute"

    async def _run(self) -> None:
        remember_at = 0.0
        while True:
            if time.monotonic() >= remember_at:
                self._clock.remember()
                remember_at = time.monotonic() + REMEMBER_EVERY
            if self._store.last_fault is not None:
                await self._try_again()
            self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def _try_again(self) -> None:
        """Where nobody writes since nothing can be written, nobody would ever find that it can be again."""
        self.look()
        try:
            await self._store.probe()
        except StoreFailed:
            return


def _long(milliseconds: int) -> str:
    """How long that is, in the largest unit of which there are two."""
    for name, unit in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if milliseconds >= 2 * unit:
            return f"{milliseconds // unit} {name}"
    return f"{milliseconds // 1000} seconds"
