"""The rate limit of API keys, and its headers (BIZ-14)."""

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
    """Counts requests in windows of a minute, in memory. The window of a key begins with its first request."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = Windows(per_minute, WINDOW, clock)
        self.policy = f'"{_NAME}";q={per_minute};w={WINDOW}'
        """The RateLimit-Policy header."""

    def take(self, key_id: str, headers: dict[str, str], *, narrows: bool = False) -> Over | None:
        """Counts a request and sets the headers RateLimit and RateLimit-Policy. Returns the window for a request over
        the limit whose route `narrows`, so that its act decides. Raises Refused("rate_limited") for other requests over
        the limit."""
        window, reset = self._windows.count(key_id)
        left = self._windows.most - window.count
        headers[_POLICY] = self.policy
        headers[_LEFT] = f'"{_NAME}";r={left if left > 0 else 0};t={reset}'
        if left >= 0:
            return None
        if not narrows:
            raise Refused("rate_limited", "too many requests with this API key", retry_after=reset)
        return Over(window, reset)
