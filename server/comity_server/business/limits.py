"""How many requests an API key may make, and what the answers say of it (BIZ-14)."""

import math
import time
from collections.abc import Callable

from comity.errors import Refused

WINDOW = 60
"""Seconds."""
_NAME = "api-key"
_MOST_WINDOWS = 4096
"""Windows at hand before those that have ended are looked for."""


class _Window:
    """What one key has asked since `ends` - WINDOW (s)."""

    __slots__ = ("count", "ends")

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.count = 0


class Limits:
    """Counts requests in windows of a minute, in memory; a key's window begins with its first request."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = per_minute
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self.policy = f'"{_NAME}";q={per_minute};w={WINDOW}'
        """The RateLimit-Policy header."""

    def take(self, key_id: str, headers: dict[str, str], *, narrows: bool = False) -> None:
        """Count a request, and put what is left into `headers` (RateLimit, RateLimit-Policy). A "no" is counted, and
        let through all the same. Raises Refused("rate_limited")."""
        now = self._clock()
        window = self._windows.get(key_id)
        if window is None or now >= window.ends:
            window = self._begin(key_id, now)
        window.count += 1
        left = self._most - window.count
        # In whole seconds, rounded up: whoever waits so long finds room.
        reset = min(math.ceil(window.ends - now), WINDOW)
        headers["RateLimit-Policy"] = self.policy
        headers["RateLimit"] = f'"{_NAME}";r={left if left > 0 else 0};t={reset}'
        if left < 0 and not narrows:
            raise Refused("rate_limited", "too many requests with this API key", retry_after=reset)

    def _begin(self, key_id: str, now: float) -> _Window:
        if len(self._windows) >= _MOST_WINDOWS:
            # Keys are few and real; those that were ended must not stay for ever.
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends}
        window = self._windows[key_id] = _Window(now + WINDOW)
        return window
