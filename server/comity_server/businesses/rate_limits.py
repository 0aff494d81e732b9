"""How many requests an API key may make, and what the answers say of it (BIZ-14)."""

import time
from collections.abc import Callable

from multidict import istr

from comity.errors import Refused
from comity_server.limits.rate_limits import Over, Windows

WINDOW = 60
"""Seconds."""
_NAME = "api-key"
_POLICY, _LEFT = istr("RateLimit-Policy"), istr("RateLimit")


class Limits:
    """Counts requests in windows of a minute, in memory; a key's window begins with its first request."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = Windows(per_minute, WINDOW, clock)
        self.policy = f'"{_NAME}";q={per_minute};w={WINDOW}'
        """The RateLimit-Policy header."""

    def take(self, key_id: str, headers: dict[str, str], *, narrows: bool = False) -> Over | None:
        """Count a request, and put what is left into `headers` (RateLimit, RateLimit-Policy). What is beyond the rate
        and may be a "no" is for its act to decide. Raises Refused("rate_limited") for everything else."""
        window, reset = self._windows.count(key_id)
        left = self._windows.most - window.count
        headers[_POLICY] = self.policy
        headers[_LEFT] = f'"{_NAME}";r={left if left > 0 else 0};t={reset}'
        if left >= 0:
            return None
        if not narrows:
            raise Refused("rate_limited", "too many requests with this API key", retry_after=reset)
        return Over(window, reset)
