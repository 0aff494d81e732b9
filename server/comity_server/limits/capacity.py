"""The capacity of a server: several pools with shares, and the pool in which the current request counts (HTTP-15,
HTTP-22).

A request counts in the first pool, `requests`, while the server works on it. While its body arrives, while it waits for
news or for the sender of webhooks, and if it is a large one, it counts in a pool of its kind instead. So slow and
waiting clients keep nobody else out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from comity.errors import Refused
from comity_server.limits.admission import Ticket
from comity_server.limits.shares import Pool, Share, SplitPool, User

ARRIVING = 128 * 1024 * 1024
"""Bytes of bodies that are not there as a whole."""
BATCHES = 16
"""Batches, each of which is in memory as a whole."""
CHECKS = 64
"""Streams of checks."""
ASKED = 64
"""Requests that wait for the sender of webhooks."""
ITSELF = User("")
"""The user of the work that the server does unasked."""


class Rooms:
    """`requests` is the number of open requests; an eighth more is reserved for a "no" and for health checks."""

    def __init__(self, requests: int) -> None:
        self.requests = Pool(requests)
        self.kept = Pool(requests // 8)
        self.arriving = Pool(ARRIVING)
        self.batches = Pool(BATCHES)
        self.checks = Pool(CHECKS, for_long=True)
        self.asked = Pool(ASKED)


class Place:
    """The pool in which one request counts, and its user; `is_kept_for` tells whether the reserve is for it."""

    __slots__ = ("_is_kept_for", "_rooms", "_taken", "ticket", "user")

    def __init__(self, rooms: Rooms, user: User, is_kept_for: Callable[[], bool], ticket: Ticket | None) -> None:
        self.user = user
        self.ticket = ticket
        """The place that the request got before it was parsed; its new holder sets None."""
        self._rooms = rooms
        self._is_kept_for = is_kept_for
        self._taken: Pool | None = None

    def enter(self) -> None:
        """Counts the request as open. Raises Refused("overloaded")."""
        rooms = self._rooms
        if rooms.requests.take(self.user):
            self._taken = rooms.requests
        elif self._is_kept_for() and rooms.kept.take(self.user):
            self._taken = rooms.kept
        else:
            raise Refused("overloaded", retry_after=1)

    def leave(self) -> None:
        """Stops counting the request as open; it may count in another pool, or be done."""
        if self._taken is not None:
            self._taken.give(self.user)
            self._taken = None

    def end(self) -> None:
        """The request is done."""
        if self._taken is not None:
            self._taken.give(self.user)
            self._taken = None
        if self.ticket is not None:
            self.ticket.room.give(self.ticket.user)
            self.ticket = None


PLACE: ContextVar[Place | None] = ContextVar("place", default=None)
"""The place of the current request."""


def user() -> User:
    """For whom there is work: who asked, or the server itself."""
    place = PLACE.get()
    return ITSELF if place is None else place.user


@contextmanager
def count_in(pool: Pool | SplitPool, detail: str, retry_after: int = 1, *, party: str | None = None) -> Iterator[None]:
    """Counts the current request in that pool until the end of the block, as one of `party` if its sender is known to
    be one, and no longer as an open request. Raises Refused("overloaded")."""
    place, asks = PLACE.get(), user()
    if isinstance(pool, SplitPool):
        share = pool.take(asks, party)
    else:
        share = Share(pool, asks) if pool.take(asks) else None
    if share is None:
        raise Refused("overloaded", detail, retry_after=retry_after)
    try:
        if place is not None:
            place.leave()
        yield
    finally:
        share.give()
