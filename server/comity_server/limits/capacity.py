"""The rooms of a server, each a pool with shares, and where in them the request in hand is counted (HTTP-15, HTTP-22).

A request takes of the first one, `requests`, while it is worked for. While its body arrives, while it waits for news or
for the sender of webhooks, and while it is one of the large ones, it is counted in a room of its own kind in the place
of that: so nobody who is slow, or waits, keeps out those who are neither.
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
"""The server, for what it does without being asked."""


class Rooms:
    """See the module. `requests` is how many may be in hand; an eighth more are kept for a "no", and for looks at how
    the server is."""

    def __init__(self, requests: int) -> None:
        self.requests = Pool(requests)
        self.kept = Pool(requests // 8)
        self.arriving = Pool(ARRIVING)
        self.batches = Pool(BATCHES)
        self.checks = Pool(CHECKS, for_long=True)
        self.asked = Pool(ASKED)


class Place:
    """Where one request is counted, and for whom; `is_kept_for` tells whether the kept room is for it."""

    __slots__ = ("_is_kept_for", "_rooms", "_taken", "ticket", "user")

    def __init__(self, rooms: Rooms, user: User, is_kept_for: Callable[[], bool], ticket: Ticket | None) -> None:
        self.user = user
        self.ticket = ticket
        """The place that was taken for it before it was parsed; whoever takes it over sets None."""
        self._rooms = rooms
        self._is_kept_for = is_kept_for
        self._taken: Pool | None = None

    def enter(self) -> None:
        """Count it as in hand. Raises Refused("overloaded")."""
        rooms = self._rooms
        if rooms.requests.take(self.user):
            self._taken = rooms.requests
        elif self._is_kept_for() and rooms.kept.take(self.user):
            self._taken = rooms.kept
        else:
            raise Refused("overloaded", retry_after=1)

    def leave(self) -> None:
        """Count it as in hand no more; it may be counted elsewhere, or be done."""
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
"""That of the request that is worked for."""


def user() -> User:
    """For whom there is work: who asked, or the server itself."""
    place = PLACE.get()
    return ITSELF if place is None else place.user


@contextmanager
def counted_in(
    pool: Pool | SplitPool, detail: str, retry_after: int = 1, *, party: str | None = None
) -> Iterator[None]:
    """Count the request in hand in that pool, for `party` where who asks is known to be one, from now on and to the end
    of the block, and among those in hand no more. Raises Refused("overloaded")."""
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
