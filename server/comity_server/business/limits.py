"""How many requests an API key may make, and what the answers say of it (BIZ-14)."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from comity.errors import Refused

_NAME = "api-key"


class Limits:
    """Counts requests in windows of a minute, in memory."""

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self.policy = f'"{_NAME}";q={per_minute};w=60'
        """The RateLimit-Policy header."""

    def take(self, key_id: str, headers: dict[str, str], *, narrows: bool = False) -> None:
        """Count a request, and put what is left into `headers` (RateLimit, RateLimit-Policy). A "no" is counted, and
        let through all the same. Raises Refused("rate_limited")."""
        has_room = self._limiter.hit(self._item, key_id)
        stats = self._limiter.get_window_stats(self._item, key_id)
        # In whole seconds, rounded up: whoever waits so long finds room.
        reset = max(1, int(stats.reset_time - time.time()) + 1)
        headers["RateLimit-Policy"] = self.policy
        headers["RateLimit"] = f'"{_NAME}";r={stats.remaining};t={reset}'
        if not has_room and not narrows:
            raise Refused("rate_limited", "too many requests with this API key", retry_after=reset)
