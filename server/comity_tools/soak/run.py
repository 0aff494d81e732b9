"""The soak: a server, a witness, people, wallets and a business for some minutes, with faults at random moments, and a
while without any at the end, in which growth is measured."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comity.client.http.aiohttp_transport import over_aiohttp
from comity_server.data_dir import STORE
from comity_tools.soak.clients import Crowd, people_of
from comity_tools.soak.customers import Customers
from comity_tools.soak.faults import Faults
from comity_tools.soak.growth import STORE_A_THOUSAND_ACTS, Change, Growth, MiB
from comity_tools.soak.ledger import MOST_NAMED, Ledger
from comity_tools.soak.server_process import Serving, Witnessing
from comity_tools.soak.verification import Check

PEOPLE = 6
"""People who act as fast as they are answered."""
WALLETS = 3
EVERY = (2.0, 8.0)
"""Seconds between two faults."""
QUIET = 0.4
"""The part of the time, at its end, in which nothing fails."""
MEASURED_EVERY = 1.0
"""Seconds between two samples."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a soak."""

    seconds: float
    faults: dict[str, int]
    ledger: Ledger
    growth: list[Change]
    store: float
    """MiB by which the store grew for a thousand acknowledged acts."""
    awaited: int
    missing: int
    """Expected webhooks that never arrived."""

    @property
    def is_bounded(self) -> bool:
        """Whether everything that grew did so within its bounds."""
        return self.store <= STORE_A_THOUSAND_ACTS and all(change.is_bounded for change in self.growth)

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost or wrong, and nothing grew without end."""
        return self.ledger.holds and self.is_bounded and not self.missing

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "seconds": round(self.seconds, 1),
            "faults": self.faults,
            "acknowledged": self.ledger.acknowledged,
            "lost": len(self.ledger.lost),
            "wrong": len(self.ledger.wrong),
            "named": [*self.ledger.lost.items(), *self.ledger.wrong][:MOST_NAMED],
            "webhooks": {"awaited": self.awaited, "missing": self.missing},
            "growth": [_change_as_json(it) for it in self.growth],
            "store_a_thousand_acts": {"MiB": round(self.store, 3), "most": STORE_A_THOUSAND_ACTS},
            "good": self.is_good,
        }


def _change_as_json(change: Change) -> dict[str, Any]:
    of = change.resource
    minute = None if change.a_minute is None else round(change.a_minute, 3)
    figures = {"first": round(change.first, 2), "last": round(change.last, 2), "largest": round(change.largest, 2)}
    bounds = {"most": of.most, "most_grown": of.most_grown}
    return {"name": of.name, "unit": of.unit, **figures, "a_minute": minute, **bounds, "bounded": change.is_bounded}


async def soak(folder: Path, minutes: float, rng: random.Random, tell: Tell = lambda _: None) -> Report:
    """Runs the soak in `folder`; `tell` is called with a line for each event. Raises BenchFailed, Unreachable."""
    async with AsyncExitStack() as stack:
        serving = Serving(folder / "data", {"COMITY_WEBHOOKS_TO_LOOPBACK": "true"})
        stack.callback(serving.kill_if_running)
        await asyncio.to_thread(serving.start)
        wire = over_aiohttp()
        assert wire.close is not None
        stack.push_async_callback(wire.close)
        check = await Check.begin(serving.origin, wire)
        witness = Witnessing(folder / "witness", check.ledger.key)
        stack.callback(witness.kill)
        await asyncio.to_thread(witness.start)
        await asyncio.to_thread(serving.end)
        serving.settings["COMITY_WITNESSES"] = witness.as_setting
        await asyncio.to_thread(serving.start)
        people = await asyncio.to_thread(people_of, serving.folder, serving.child, PEOPLE)
        crowd = await stack.enter_async_context(Crowd(check, people))
        customers = await stack.enter_async_context(Customers(serving, check.ledger, folder, rng))
        await customers.begin(WALLETS)
        tell("everybody is connected")
        return await _Soak(serving, witness, check, crowd, customers, rng, tell).live(minutes * 60)


@dataclass(slots=True)
class _Soak:
    serving: Serving
    witness: Witnessing
    check: Check
    crowd: Crowd
    customers: Customers
    rng: random.Random
    tell: Tell

    async def live(self, seconds: float) -> Report:
        growth, began, store = Growth(), time.monotonic(), self._store()
        before = self.check.ledger.acknowledged
        faults = Faults(self.serving, self.witness, self.rng, growth.another_process)
        measuring = asyncio.create_task(self._measure(growth))
        try:
            self._act()
            while time.monotonic() - began < seconds * (1 - QUIET) and self.check.ledger.holds:
                await asyncio.sleep(self.rng.uniform(*EVERY))
                self.tell(f"{await faults.strike()}; {self.check.ledger.acknowledged} acknowledged")
                if sum(faults.counts.values()) % 4 == 0:
                    await self._look(goes_on=True)
                    self._act()
            if self.check.ledger.holds:
                await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            await self._look()
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)
        missing = await self.customers.count_missing_webhooks() if self.check.ledger.holds else 0
        acts = max(1, self.check.ledger.acknowledged - before)
        return Report(
            time.monotonic() - began, dict(faults.counts), self.check.ledger, growth.changes(),
            (self._store() - store) / acts * 1000, len(self.customers.awaited), missing,
        )  # fmt: skip

    def _act(self) -> None:
        self.crowd.act()
        self.customers.act()

    async def _look(self, *, goes_on: bool = False) -> None:
        """Pauses everybody, settles acts in doubt, and compares all records, or the new ones, with the ledger."""
        await asyncio.gather(self.crowd.pause(), self.customers.pause())
        await self.crowd.settle()
        await self.customers.look()
        await self.check.look(self.crowd.sides, goes_on=goes_on)
        ledger = self.check.ledger
        self.tell(f"looked: {ledger.acknowledged} acknowledged, {len(ledger.lost)} lost, {len(ledger.wrong)} wrong")

    async def _measure(self, growth: Growth) -> None:
        while True:
            if self.serving.is_running:
                growth.measure(self.serving.folder, self.serving.process.pid)
            await asyncio.sleep(MEASURED_EVERY)

    def _store(self) -> float:
        return (self.serving.folder / STORE).stat().st_size / MiB
