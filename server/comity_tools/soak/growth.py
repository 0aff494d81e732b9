"""The resources that a server uses over time: memory, descriptors, store, write-ahead log."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from comity_server.data_dir import STORE
from comity_tools.bench.processes import memory_of

MiB = 1 << 20
_TOLD_FROM = 10.0
"""Seconds that a process must run before its growth is reported."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that is measured. `most` it may ever be, and by `most_grown` it may grow in the later half of the
    longest life of a process, in which caches may still be filled; of None there is no bound."""

    name: str
    unit: str
    measure: Callable[[Path, int], float]
    most: float | None
    most_grown: float | None
    is_the_process_own: bool
    """Whether it begins anew with each process."""


def _descriptors(_folder: Path, pid: int) -> float:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _size(name: str) -> Callable[[Path, int], float]:
    def size(folder: Path, _pid: int) -> float:
        file = folder / name
        return file.stat().st_size / MiB if file.exists() else 0.0

    return size


RESOURCES = (
    # A server with many connections has at most 400 MiB. Four caches of the store of 8 MiB each, and what the log keeps
    # of its tiles, fill with the first ten thousand acts, however long those take.
    Resource("memory", "MiB", lambda _folder, pid: memory_of(pid), 400, 48, True),
    Resource("descriptors", "", _descriptors, 512, 20, True),
    # A store grows with every accepted act; STORE_A_THOUSAND_ACTS bounds it.
    Resource("store", "MiB", _size(STORE), None, None, False),
    # It is written back every few thousand pages, and is used again from its beginning.
    Resource("wal", "MiB", _size(f"{STORE}-wal"), 64, None, False),
)
STORE_A_THOUSAND_ACTS = 12.0
"""MiB: four times what spec/growth.md says of an act."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one resource. `grown` is by how much it grew in the later half of the longest life, in `minutes`,
    by the line that fits best."""

    resource: Resource
    first: float
    last: float
    largest: float
    grown: float
    minutes: float

    @property
    def a_minute(self) -> float | None:
        """The growth in a minute; None if no process ran long enough."""
        return self.grown / self.minutes if self.minutes > 0 else None

    @property
    def is_bounded(self) -> bool:
        """True if it stayed within its bounds."""
        of = self.resource
        grows = of.most_grown is not None and self.grown > of.most_grown
        return not grows and (of.most is None or self.largest <= of.most)


@dataclass(slots=True)
class Growth:
    """Samples of all resources."""

    _lives: list[list[tuple[float, dict[str, float]]]] = field(default_factory=lambda: [[]])

    def another_process(self) -> None:
        """From now on another process is measured."""
        if self._lives[-1]:
            self._lives.append([])

    def measure(self, folder: Path, pid: int) -> None:
        """Take a sample, unless the process has just gone."""
        with suppress(OSError, StopIteration):
            found = {it.name: it.measure(folder, pid) for it in RESOURCES}
            self._lives[-1].append((time.monotonic(), found))

    def changes(self) -> list[Change]:
        """The change of each resource."""
        return [self._change(it) for it in RESOURCES]

    def _change(self, resource: Resource) -> Change:
        lives = [[(at, found[resource.name]) for at, found in life] for life in self._lives]
        every = [sample for life in lives for sample in life]
        if not every:
            return Change(resource, 0, 0, 0, 0, 0)
        # The later half of the longest life: caches were filled in the first.
        longest = max(lives, key=_span) if resource.is_the_process_own else every
        steady = longest[len(longest) // 2 :] if resource.is_the_process_own else longest
        seconds = _span(steady) if _span(longest) >= _TOLD_FROM else 0.0
        values = [value for _, value in every]
        return Change(resource, values[0], values[-1], max(values), _slope(steady) * seconds, seconds / 60)


def _span(life: list[tuple[float, float]]) -> float:
    return life[-1][0] - life[0][0] if life else 0.0


def _slope(samples: list[tuple[float, float]]) -> float:
    """The slope of the line that fits best."""
    n = len(samples)
    middle, mean = sum(at for at, _ in samples) / n, sum(value for _, value in samples) / n
    spread = sum((at - middle) ** 2 for at, _ in samples)
    return sum((at - middle) * (value - mean) for at, value in samples) / spread if spread else 0.0
