"""Who reads: signed requests, each good once (HTTP-5 to HTTP-8)."""

import time
from collections import deque
from collections.abc import Mapping

from comity.errors import Refused
from comity.jws import FindKey
from comity.signed_request import SIGNATURE_HEADERS, WINDOW, SignedRequest, open_request
from comity_server.clock import Clock
from comity_server.rooms import user
from comity_server.shares import Pool, User

MOST_SEEN = 200_000
"""Signed requests that are remembered."""


class Seen:
    """The signed requests of the last two minutes. Kept in memory: what was signed in or before the second in which
    the process started is refused instead, since another process may have seen it."""

    def __init__(self, started: int) -> None:
        self._started = started
        self._began = time.monotonic()
        self._room = Pool(MOST_SEEN)
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[int, tuple[str, str], User]] = deque()

    def admit(self, kid: str, nonce: str, created: int, now: int) -> None:
        """Let a request (times in s) pass once. Raises Refused."""
        if not self._started_long_ago(now):
            if created < self._started:
                raise Refused("signature_stale", "signed before the server started")
            if created == self._started:
                # Nobody can say whether it was seen; signed anew a second later it is good.
                raise Refused("overloaded", "just started", retry_after=1)
        # Kept for as long as `created` can still be within the window, counted from when it came.
        while self._order and self._order[0][0] < now - 2 * WINDOW:
            _, old, whose = self._order.popleft()
            self._seen.discard(old)
            self._room.give(whose)
        key, asks = (kid, nonce), user()
        if key in self._seen:
            raise Refused("signature_replayed")
        if not self._room.take(asks):
            raise Refused("overloaded", retry_after=5)
        self._seen.add(key)
        self._order.append((now, key, asks))

    def _started_long_ago(self, now: int) -> bool:
        """True where the clock went back behind the start, and what was seen before that start is not fresh any more:
        else nobody could read until it has caught up (CLOCK-2)."""
        return now + WINDOW < self._started and time.monotonic() - self._began > 2 * WINDOW


class Readers:
    """Opens signed requests to this server."""

    def __init__(self, origin: str, clock: Clock, find_key: FindKey, started: int) -> None:
        self._origin = origin
        self._clock = clock
        self._find_key = find_key
        self._seen = Seen(started)

    def open(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> SignedRequest:
        """Who signed the request for `target` (path and query as sent). Raises Refused."""
        now = self._clock.now() // 1000
        found = {name: headers[name] for name in SIGNATURE_HEADERS if name in headers}
        signed = open_request(method, self._origin + target, found, body, now, self._find_key)
        self._seen.admit(signed.kid, signed.nonce, signed.created, now)
        return signed
