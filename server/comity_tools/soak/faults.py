"""The faults of a soak, at random moments."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from comity_tools.soak.server_process import Serving, Witnessing, kill_process

LONGEST_STOP = 5.0
"""Seconds for which a process is stopped at most."""


@dataclass(slots=True)
class Faults:
    """See the module. `another_process` is called whenever the server was started anew."""

    serving: Serving
    witness: Witnessing
    rng: random.Random
    another_process: Callable[[], None]
    counts: Counter[str] = field(default_factory=Counter)
    """Name of a fault → how often it happened."""
    _next: list[str] = field(default_factory=list)

    async def strike(self) -> str:
        """Causes a fault and brings the server back; returns its name. Each happens once before any repeats."""
        if not self._next:
            self._next = self.rng.sample(list(_FAULTS), len(_FAULTS))
        name = self._next.pop()
        await _FAULTS[name](self)
        self.counts[name] += 1
        return name

    async def _kill(self) -> None:
        self.serving.kill()
        await self._start()

    async def _end(self) -> None:
        await asyncio.to_thread(self.serving.end)
        await self._start()

    async def _start(self) -> None:
        await asyncio.sleep(self.rng.uniform(0, 0.5))
        await asyncio.to_thread(self.serving.start)
        self.another_process()

    async def _stop(self) -> None:
        self.serving.send(signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(0.2, LONGEST_STOP))
        self.serving.send(signal.SIGCONT)

    async def _kill_sender(self) -> None:
        for pid in self.serving.children():
            await asyncio.to_thread(kill_process, pid)

    async def _kill_witness(self) -> None:
        self.witness.kill()
        await asyncio.sleep(self.rng.uniform(0, 2.0))
        await asyncio.to_thread(self.witness.start)


_FAULTS: dict[str, Callable[[Faults], Awaitable[None]]] = {
    "kill -9 of the server": Faults._kill,
    "SIGTERM to the server": Faults._end,
    "SIGSTOP of the server": Faults._stop,
    "kill -9 of the webhook process": Faults._kill_sender,
    "kill -9 of the witness": Faults._kill_witness,
}
