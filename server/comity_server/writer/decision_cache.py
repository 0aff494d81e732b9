"""A cache of verdicts, each valid as long as it stays the same (CHECK-8).

A verdict changes by an act or by time. This process alone writes acts: every commit drops the verdicts of its
connections before anybody is answered, and a commit whose outcome is unknown drops all. For time, the gate says how
long a verdict is settled. So a cached verdict is the one that the gate would give now.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from comity.rules.gate import FRESH_FOR

Question = tuple[str, str, str | None]
"""(purpose, channel, topic)."""

MOST_OF_ONE = 64
"""The number of verdicts about one connection; a caller with more asks for something new each time."""


class About:
    """The verdicts of one business about one connection, valid from `since` up to `until` (ms). `as_of` is the JSON of
    their basis and of the absences, `verdicts` the JSON of each verdict but for the members that change with every
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
        """True if the state that was read of the connection is still the stored one."""
        return not self._all and cid not in self._written


class VerdictCache:
    """At most so many; those that were kept first go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._kept: OrderedDict[str, About] = OrderedDict()
        self._readings: set[Reading] = set()

    def __len__(self) -> int:
        return self._count

    def about(self, cid: str, business: str, now: int) -> About | None:
        """The cached verdicts that are valid at `now`, None if there are none."""
        about = self._kept.get(cid)
        # The clock may go back: nothing is known of the time before.
        if about is None or about.business != business or not about.since <= now < about.until:
            return None
        return about

    @contextmanager
    def watch_writes(self) -> Iterator[Reading]:
        """Marks the time in which states are read for the cache: a verdict on a state that changes meanwhile is not
        cached."""
        reading = Reading()
        self._readings.add(reading)
        try:
            yield reading
        finally:
            self._readings.remove(reading)

    def keep(self, reading: Reading, cid: str, told: About, question: Question, verdict: str) -> None:
        """Caches a verdict on a state that was read in `reading`, if that is current. `told.until` is when time may
        change it."""
        # So no cached verdict ends within FRESH_FOR, and `valid_until` is always as late as it can be (GATE-14).
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

    def drop_written(self, cids: Iterable[str]) -> None:
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
