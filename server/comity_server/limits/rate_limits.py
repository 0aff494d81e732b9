"""How often somebody may ask: windows that begin with a first request, counted in memory (HTTP-20, BIZ-14)."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_WINDOWS = 65_536
"""The number of windows in memory; the oldest are dropped. Counting does not stop a client with that many addresses."""
OVER_FOR = 1.0
"""Seconds for which somebody counts as over the rate after a question too many."""
SPARE = 60
"""Acts in a window that say no and close nothing new, beyond what the window holds."""


class Window:
    """The count of one asker since the window began; `ends` in s of the clock."""

    __slots__ = ("count", "ends", "spared")

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.count = 0
        self.spared = 0


class Over:
    """A window that is used up: from now on only what closes something is accepted (CONN-24), and a little more of
    what says no. `retry_after` (s) is when it ends."""

    __slots__ = ("_window", "retry_after")

    def __init__(self, window: Window, retry_after: int) -> None:
        self._window = window
        self.retry_after = retry_after

    def spares(self) -> bool:
        """True for the first SPARE questions of a window."""
        self._window.spared += 1
        return self._window.spared <= SPARE


@dataclass(frozen=True, slots=True)
class AddressLimits:
    """The rate limits of one address (HTTP-20)."""

    requests: "Windows"
    """Requests in a minute that need neither a key nor a signature."""
    openings: "Windows"
    """Offers and half-signed agreements in an hour."""

    @staticmethod
    def of(requests: int, openings: int) -> "AddressLimits":
        """Limits of so many."""
        return AddressLimits(Windows(requests, 60), Windows(openings, 3600))


class Windows:
    """The windows of all askers, of `seconds` each, in the order of their ends."""

    def __init__(self, most: int, seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.seconds = seconds
        self._clock = clock
        self.over_until = 0.0
        """Until when it counts as if somebody is over the rate."""
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def count(self, asker: str, more: int = 1) -> tuple[Window, int]:
        """(the asker's window with `more` counted in it, whole seconds until it ends)."""
        window = self._window(asker)
        window.count += more
        return window, self._seconds_left(window)

    def count_and_check(self, asker: str, more: int = 1) -> Over | None:
        """Count, and tell if that is too much."""
        window = self._window(asker)
        window.count += more
        if window.count <= self.most:
            return None
        self.over_until = time.monotonic() + OVER_FOR
        return Over(window, self._seconds_left(window))

    def seconds_if_over(self, asker: str) -> int | None:
        """Count a question of one whose window is used up, and tell in how many seconds it ends. None, and nothing is
        counted, for anybody else."""
        window = self._windows.get(asker)
        if window is None or window.count < self.most or self._clock() >= window.ends:
            return None
        window.count += 1
        self.over_until = time.monotonic() + OVER_FOR
        return self._seconds_left(window)

    def _window(self, asker: str) -> Window:
        now = self._clock()
        window = self._windows.get(asker)
        return self._begin(asker, now) if window is None or now >= window.ends else window

    def _seconds_left(self, window: Window) -> int:
        # Rounded up: a client that waits so long finds room.
        return min(max(math.ceil(window.ends - self._clock()), 1), self.seconds)

    def _begin(self, asker: str, now: float) -> Window:
        windows = self._windows
        windows.pop(asker, None)
        while windows and (len(windows) >= MOST_WINDOWS or next(iter(windows.values())).ends <= now):
            windows.popitem(last=False)
        window = windows[asker] = Window(now + self.seconds)
        return window
