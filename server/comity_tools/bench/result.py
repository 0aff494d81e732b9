"""The result of a measurement, and the figures that are made from rounds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal


class BenchFailed(Exception):
    """Something that is measured did not do what it must; a figure of it would mean nothing."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a measurement: rounds of each kind, and what one round holds at most."""

    rounds: int
    seconds: float
    """Of one round over HTTP, at most."""
    acts: int
    """By each client in one round."""
    lines: int
    """In one batch."""
    connects: int
    """In one round."""
    slice: float
    """Seconds of one round in memory."""
    starts: int
    entries: int
    """In the log that is followed."""
    customers: int
    """Of the business that asks."""
    checks: int
    """In one stream, about."""


FULL = Size(
    rounds=5,
    seconds=2.0,
    acts=60,
    lines=960,
    connects=64,
    slice=0.12,
    starts=5,
    entries=1_000_000,
    customers=100_000,
    checks=200_000,
)
QUICK = Size(
    rounds=3,
    seconds=0.8,
    acts=12,
    lines=256,
    connects=16,
    slice=0.03,
    starts=2,
    entries=50_000,
    customers=4_000,
    checks=20_000,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and its baseline: medians over the rounds, which alternate; `ratio` is the one by the other.

    `client_cpu_share` is the CPU time that the measuring process itself took for each second of the figure: near 1
    over HTTP it was the client that was measured; below 1 in memory the machine was busy with something else.
    `details` are further figures of the same rounds.
    """

    name: str
    what: str
    figure: float
    unit: str
    baseline: float
    baseline_what: str
    better: Literal["more", "less"]
    client_cpu_share: float
    details: dict[str, float]

    @property
    def ratio(self) -> float:
        """Figure by baseline."""
        return self.figure / self.baseline

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values: the details beside the rest, everything to four significant digits."""
        members: dict[str, Any] = asdict(self)
        details = members.pop("details")
        members = {**members, "ratio": self.ratio, **details}
        return {name: _round_figures(value) for name, value in members.items()}


def _round_figures(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


class Share:
    """The CPU time of this process for each second, from the making to `taken`."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def value(self) -> float:
        """CPU seconds by wall seconds so far."""
        wall = time.perf_counter() - self._wall
        return (time.process_time() - self._cpu) / wall if wall > 0 else 0.0


class Rate:
    """The rate of a piece of work, in times per second of CPU time, over rounds.

    CPU time, since other processes must not count; both sides of a ratio are taken alike.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        """`work` does a little and says how often it did it."""
        self._work = work
        self.rates: list[float] = []

    def go(self, seconds: float) -> None:
        """One round."""
        done, began = 0, time.thread_time()
        while (taken := time.thread_time() - began) < seconds:
            done += self._work()
        self.rates.append(done / taken)

    @property
    def median(self) -> float:
        """Over the rounds so far."""
        return statistics.median(self.rates)


def alternate(rates: list[Rate], size: Size, pieces: int = 5) -> float:
    """Rounds of several kinds of work, in turn; this process's CPU share meanwhile.

    Each round is cut into pieces, so that a machine that changes its speed changes it for all of them.
    """
    for rate in rates:
        rate.go(size.slice / pieces)
        rate.rates.clear()
    share = Share()
    for _ in range(size.rounds * pieces):
        for rate in rates:
            rate.go(size.slice / pieces)
    return share.value()
