"""The server's clock: the wall, or a story's past that catches up with it.

Every other module gets its time from here, in integer milliseconds since the epoch.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Protocol

STORY_STEP = 0.02
"""Seconds between two looks at a story's clock, so that a jump is noticed at once by those who sleep."""
LONGEST_SLEEP = 1.0
"""Seconds that a sleeper on the wall clock sleeps at most, so that a corrected wall clock is noticed too."""


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        ...

    @property
    def step(self) -> float:
        """Seconds that a sleeper may sleep without looking at the clock again."""
        ...


class ServerClock(Clock, Protocol):
    """The clock of a server, which can be in doubt (CLOCK-1)."""

    def ahead(self) -> int:
        """ms by which the wall is ahead of what `now` says, 0 as long as it is believed."""
        ...

    def believe(self) -> None:
        """The wall is right."""
        ...

    def confirm(self, at: int) -> bool:
        """A witness says that it is `at` (ms): whether the wall is borne out by that, and believed from now on."""
        ...

    def remember(self) -> None:
        """Stores the time up to which the clock was trusted, for the next start."""
        ...


class WallClock:
    """The time of the operating system."""

    step = LONGEST_SLEEP

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class Undoubted:
    """The doubts of a clock that is set by hand: it has none."""

    def ahead(self) -> int:
        """It never jumps."""
        return 0

    def believe(self) -> None:
        """It always is."""

    def confirm(self, at: int) -> bool:
        """No witness knows what time it is in a story."""
        return False

    def remember(self) -> None:
        """There is nothing to remember."""


class StoryClock(Undoubted):
    """The wall clock minus the offset in a file (integer milliseconds, never negative).

    The file is read at each call, so a writer of the file moves the time of the running server. The time can only move
    towards the wall clock: a server must not sign times that lie in the future.
    """

    step = STORY_STEP

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._offset = 0
        self._read()

    def _read(self) -> int:
        try:
            file = os.open(self._path, os.O_RDONLY)
            try:
                text = os.read(file, 32)
            finally:
                os.close(file)
            self._offset = min(0, int(text))
        except (OSError, ValueError):
            # Being rewritten right now: the last value holds until the new one is whole.
            pass
        return self._offset

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self._read()


def clock_of(offset_file: Path | None) -> Clock:
    """The wall clock, or a story's where a file names its offset."""
    return WallClock() if offset_file is None else StoryClock(offset_file)


async def sleep_until(clock: Clock, at: int | None, woken: asyncio.Event) -> None:
    """Sleep until the clock reaches `at` (None: for ever) or until `woken` is set, whichever is first."""
    while not woken.is_set() and (at is None or clock.now() < at):
        left = clock.step if at is None else min(clock.step, max(0.001, (at - clock.now()) / 1000))
        try:
            await asyncio.wait_for(woken.wait(), left)
        except TimeoutError:
            continue
