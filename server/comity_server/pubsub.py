"""Wakes the readers that wait for news when a commit adds some."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from comity_server.limits.capacity import count_in, user
from comity_server.limits.shares import SplitPool


class Broker:
    """Wakes those who wait for a stream. Holds nothing that is not in the store: a missed ring costs one look."""

    def __init__(self, most: int) -> None:
        self._room = SplitPool(most // 4, most - most // 4)
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._watched: frozenset[str] = frozenset()
        self._also: Callable[[], None] = _nobody
        self.closed = False

    def __len__(self) -> int:
        return self._room.total

    def ring(self, streams: Iterable[str]) -> None:
        """Wake those who wait for any of the streams."""
        for stream in streams:
            for event in self._waiting.get(stream, ()):
                event.set()
        if not self._watched.isdisjoint(streams):
            self._also()

    def ring_all(self) -> None:
        """Wake everybody."""
        self.ring([*self._waiting, *self._watched])

    def watch(self, streams: Iterable[str], ring: Callable[[], None]) -> None:
        """Call `ring` as well, from now on, when there is news in any of these streams: for the one that has other
        processes to wake."""
        self._watched, self._also = frozenset(streams), ring

    def close(self) -> None:
        """Wake everybody for the last time: the server stops."""
        self.closed = True
        self.ring_all()

    def is_full(self) -> bool:
        """True if the current request finds room only as a party of a connection here."""
        return self._room.is_full(user())

    @contextmanager
    def listen(self, stream: str, party: str | None) -> Iterator["Listening"]:
        """Subscribes to a stream; the current request counts among the waiting ones from then on, as one of `party` if
        its reader is known to be a party here. Subscribe first and read the store after, so that nothing is missed in
        between. Raises Refused("overloaded") if too many wait."""
        with count_in(self._room, "too many wait for news", retry_after=5, party=party):
            event = asyncio.Event()
            self._waiting.setdefault(stream, set()).add(event)
            try:
                yield Listening(self, event)
            finally:
                others = self._waiting[stream]
                others.discard(event)
                if not others:
                    del self._waiting[stream]


class Listening:
    """One listener."""

    def __init__(self, broker: Broker, event: asyncio.Event) -> None:
        self._broker = broker
        self._event = event

    async def rung(self, seconds: float) -> bool:
        """Whether the bell rang within `seconds`. At a stop it has rung."""
        if self._broker.closed:
            return True
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        self._event.clear()
        return True


def _nobody() -> None:
    """Wakes nobody any more."""
