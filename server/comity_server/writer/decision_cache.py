"""Verdicts that are kept, for as long as they stay the same (CHECK-8).

A verdict changes by an act or by time. An act is written by one process alone, this one: with every commit, what is
kept about its connections is dropped, before anybody is answered; where nobody knows what a commit did, all of it is.
Of time, the gate says how long it changes nothing. So what is found here is what the gate would say now.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from comity.rules.gate import FRESH_FOR

Question = tuple[str, str, str | None]
"""(purpose, channel, topic)."""

MOST_OF_ONE = 64
"""Verdicts about one connection; whoever asks for more asks for something new each time."""


class About:
    """What one business is told about one connection, good from `since` up to `until` (ms). `as_of` is the JSON of what
    it rests on and of until when they are away, `verdicts` that of each verdict, but for what changes with every
    question."""

    __slots__ = ("as_of", "business", "since", "until", "verdicts")

    def __init__(self, business: str, since: int, until: int, as_of: str) -> None:
        self.business = business
        self.since = since
        self.until = until
        self.as_of = as_of
        self.verdicts: dict[Question, str] = {}


class Reading:
    """A read of the store on its way, and the connections that were written meanwhile."""

    def __init__(self) -> None:
        self._written: set[str] = set()
        self._all = False

    def write(self, cids: Iterable[str]) -> None:
        """These were written."""
        self._written.update(cids)

    def write_all(self) -> None:
        """Any of them may have been written."""
        self._all = True

    def is_current(self, cid: str) -> bool:
        """Whether what was read of the connection is still what is stored."""
        return not self._all and cid not in self._written


class Verdicts:
    """At most so many; those that were kept first go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._kept: OrderedDict[str, About] = OrderedDict()
        self._readings: set[Reading] = set()

    def __len__(self) -> int:
        return self._count

    def about(self, cid: str, business: str, now: int) -> About | None:
        """What may be told at `now`, if something is kept."""
        about = self._kept.get(cid)
        # The clock may go back: nothing is known of the time before.
        if about is None or about.business != business or not about.since <= now < about.until:
            return None
        return about

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """While states are read that are to be kept: what is written meanwhile must not be kept as it was before."""
        reading = Reading()
        self._readings.add(reading)
        try:
            yield reading
        finally:
            self._readings.remove(reading)

    def keep(self, reading: Reading, cid: str, told: About, question: Question, verdict: str) -> None:
        """Keep a verdict on a state that was read in `reading`, if that is current. `told.until` is when time may
        change it."""
        # So nothing that is kept has an end within FRESH_FOR: `valid_until` is always as late as it can be (GATE-14).
        told.until -= FRESH_FOR
        if told.since >= told.until or not reading.is_current(cid):
            return
        about = self.about(cid, told.business, told.since)
        if about is None or len(about.verdicts) >= MOST_OF_ONE:
            self._drop(cid)
            about = self._kept[cid] = told
        self._count += question not in about.verdicts
        about.verdicts[question] = verdict
        while self._count > self._most:
            self._drop(next(iter(self._kept)))

    def written(self, cids: Iterable[str]) -> None:
        """These connections were committed."""
        for cid in cids:
            self._drop(cid)
        for reading in self._readings:
            reading.write(cids)

    def in_doubt(self) -> None:
        """A commit may have changed anything."""
        self._kept.clear()
        self._count = 0
        for reading in self._readings:
            reading.write_all()

    def _drop(self, cid: str) -> None:
        about = self._kept.pop(cid, None)
        if about is not None:
            self._count -= len(about.verdicts)
