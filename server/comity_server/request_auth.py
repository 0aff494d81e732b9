"""Authenticates readers: signed requests, each good once (HTTP-5 to HTTP-8)."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from comity.crypto.http_signatures import SIGNATURE_HEADERS, WINDOW, SignedRequest, open_request
from comity.crypto.jws import FindKey
from comity.errors import Refused
from comity_server.clock import Clock
from comity_server.limits.capacity import user
from comity_server.limits.shares import Share, SplitPool

MOST_SEEN = 200_000
"""Signed requests that are remembered."""
OF_ANYBODY = MOST_SEEN // 4
"""The part of them that keys of strangers may hold."""


class NonceCache:
    """The signed requests of the last two minutes, in memory. A request signed in or before the second in which the
    process started is refused instead, since another process may have seen it."""

    def __init__(self, started: int) -> None:
        self._started = started
        self._began = time.monotonic()
        self.room = SplitPool(OF_ANYBODY, MOST_SEEN - OF_ANYBODY)
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[int, tuple[str, str], Share]] = deque()

    def admit(self, kid: str, nonce: str, created: int, now: int, party: str | None) -> None:
        """Accepts a request (times in s) once, as one of `party` if its signer is known to be a party here. Raises
        Refused."""
        if not self._is_start_outdated(now):
            if created < self._started:
                raise Refused("signature_stale", "signed before the server started")
            if created == self._started:
                # Whether it was seen is unknown; signed again a second later it is good.
                raise Refused("overloaded", "just started", retry_after=1)
        # Remembered as long as `created` can be within the window, counted from its arrival.
        while self._order and self._order[0][0] < now - 2 * WINDOW:
            _, old, taken = self._order.popleft()
            self._seen.discard(old)
            taken.give()
        key = (kid, nonce)
        if key in self._seen:
            raise Refused("signature_replayed")
        if (share := self.room.take(user(), party)) is None:
            raise Refused("overloaded", retry_after=5)
        self._seen.add(key)
        self._order.append((now, key, share))

    def _is_start_outdated(self, now: int) -> bool:
        """True if the clock went back behind the start, and requests from before that start are no longer fresh: else
        nobody could read until the clock has caught up (CLOCK-2)."""
        return now + WINDOW < self._started and time.monotonic() - self._began > 2 * WINDOW


class RequestAuth:
    """Opens signed requests to this server."""

    def __init__(
        self, origin: str, clock: Clock, find_key: FindKey, started: int, is_party: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._find_key = find_key
        self._is_party = is_party
        self.seen = NonceCache(started)

    async def open(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> SignedRequest:
        """The signer of the request for `target` (path and query as sent). Raises Refused."""
        now = self._clock.now() // 1000
        found = {name: headers[name] for name in SIGNATURE_HEADERS if name in headers}
        signed = open_request(method, self._origin + target, found, body, now, self._find_key)
        party = signed.did if self.seen.room.is_full(user()) and await self._is_party(signed.did) else None
        self.seen.admit(signed.kid, signed.nonce, signed.created, now, party)
        return signed
