"""Spaces out refusals (HTTP-25): a client that repeats a refused request at once repeats it no faster than it is
answered, and a server with much to refuse keeps time for the requests that it accepts."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

IN_A_SECOND = 500
"""Turns in a second; and one more for each command that is decided, so that refusing takes a small part of the time on
whatever machine."""
LATEST = 1.0
"""Seconds for which a refusal waits at most."""
OF_A_PARSED_ONE = 4
"""Turns that a request takes which was parsed and routed: it costs several times as much as one that was not."""
SAVED = 0.5
"""Seconds for which unused turns are saved up."""
_TICK = 0.005


class Turns:
    """The waiting refusals in the order of their arrival. While there are few, none waits."""

    def __init__(self, decided: Callable[[], int]) -> None:
        self._decided = decided
        """How many commands were decided so far."""
        self._counted = 0
        self._waiting: deque[tuple[float, int, Callable[[], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._turns = 0.0
        """Turns that are due and unused."""
        self._counted_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def call(self, go_on: Callable[[], None], turns: int = 1) -> None:
        """Call `go_on` when so many turns have come, which may be now."""
        if self._timer is not None:
            self._waiting.append((time.monotonic() + LATEST, turns, go_on))
            return
        self._waiting.append((self._count() + LATEST, turns, go_on))
        self._take()

    async def come(self) -> None:
        """Returns when it is the current request's turn."""
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call(lambda: None if come.done() else come.set_result(None), OF_A_PARSED_ONE)
        await come

    def _count(self) -> float:
        """Count the turns that have come by now; now (s)."""
        now, decided = time.monotonic(), self._decided()
        come = IN_A_SECOND * (now - self._counted_at) + decided - self._counted
        self._turns = min(self._turns + come, IN_A_SECOND * SAVED)
        self._counted_at, self._counted = now, decided
        return now

    def _turn(self) -> None:
        self._timer = None
        self._count()
        self._take()

    def _take(self) -> None:
        now = self._counted_at
        while self._waiting and (self._turns > 0 or self._waiting[0][0] <= now):
            _, takes, go_on = self._waiting.popleft()
            self._turns = max(self._turns - takes, -OF_A_PARSED_ONE)
            go_on()
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._turn)
