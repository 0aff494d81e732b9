"""The clock of a server that checks it: a wall clock that jumps ahead is not followed (CLOCK-1 to CLOCK-3).

Nobody sets the time since the machine was started. So the expected wall time is the last trusted wall time plus the
time since then. If the wall clock jumps beyond that, the server uses its own count until the wall clock returns, or a
witness or the operator confirms it.
"""

import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from comity_server.clock import LONGEST_SLEEP
from comity_server.logging import logger

MOST_JUMP = 60_000
"""ms by which the clock may jump ahead and is followed: more than anything that keeps clocks right does at once."""
MOST_AWAY = 7 * 86_400_000
"""ms behind the last sign of life after which a start believes its clock, where nothing else bears it out."""
FOLLOWED_EVERY = 3_600_000
"""ms after which small steps are forgotten: more than MOST_JUMP within an hour is a jump as well."""
VOUCHES = 10_000
"""ms by which the time of a witness may differ from the clock that it bears out (LOG-15)."""
SEEN = "clock.seen"
"""The file in the data folder that remembers what the server counts."""

_SINCE_START = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, so that sleep is no jump."""


def wall() -> int:
    """The time of the operating system (ms since the epoch)."""
    return time.time_ns() // 1_000_000


def since_start() -> int:
    """ms since the machine was started."""
    return time.clock_gettime_ns(_SINCE_START) // 1_000_000


def boot() -> str:
    """A name for this start of the machine, empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class Seen(NamedTuple):
    """The server's own count: the start of the machine, the time since then, and the current time by that (ms)."""

    boot: str
    since_start: int
    wall: int


class WatchedClock:
    """See the module. `last_commit` (ms) is the last sign of life in the store."""

    step = LONGEST_SLEEP

    def __init__(self, data: Path, last_commit: int) -> None:
        self._path = data / SEEN
        self._boot = boot()
        self._followed_at = since_start()
        self._line = self._first_line(last_commit)
        """The wall time (ms) at the start of the machine, by the last trusted time."""
        self.ahead()

    def _first_line(self, last_commit: int) -> int:
        now, seen = wall() - self._followed_at, _read(self._path)
        if seen is not None and seen.boot and seen.boot == self._boot:
            return seen.wall - seen.since_start
        last = max([last_commit, *([] if seen is None or seen.wall > wall() else [seen.wall])])
        # The machine was started since, so the length of its absence is unknown.
        return last - self._followed_at if last and wall() - last > MOST_AWAY else now

    def now(self) -> int:
        """Milliseconds since the epoch: the wall's, or where it jumped ahead, the server's own count."""
        says, since = wall(), since_start()
        counted = self._line + since
        if says - counted > MOST_JUMP:
            return counted
        if since - self._followed_at > FOLLOWED_EVERY:
            self._line, self._followed_at = says - since, since
        return says

    def ahead(self) -> int:
        """ms by which the wall is ahead of what the server counts, 0 as long as it is believed."""
        jump = wall() - since_start() - self._line
        return jump if jump > MOST_JUMP else 0

    def believe(self) -> None:
        """The wall is right."""
        self._followed_at = since_start()
        self._line = wall() - self._followed_at
        self.remember()

    def confirm(self, at: int) -> bool:
        """A witness says that it is `at` (ms): whether the wall is borne out by that."""
        if abs(wall() - at) > VOUCHES:
            return False
        if self.ahead():
            logger().info("clock_believed", reason="a witness says the same")
            self.believe()
        return True

    def remember(self) -> None:
        """Stores the server's count for its next start and for its sender of webhooks."""
        draft = self._path.with_name(f"{SEEN}.new")
        try:
            # Not what the wall says: it may be behind for a while.
            since = since_start()
            draft.write_bytes(msgspec.json.encode(Seen(self._boot, since, self._line + since)))
            os.replace(draft, self._path)
        except OSError:
            # On a full disk. The next start has less to go by, and the one before stays good.
            return


class SharedClock:
    """The clock of another process of a server, which follows the server's count."""

    step = LONGEST_SLEEP

    def __init__(self, data: Path) -> None:
        self._path = data / SEEN
        self._boot = boot()
        self._line = wall() - since_start()
        self._look()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        says, since = wall(), since_start()
        if says - (self._line + since) > MOST_JUMP:
            self._look()
        counted = self._line + since
        return counted if says - counted > MOST_JUMP else says

    def _look(self) -> None:
        seen = _read(self._path)
        if seen is not None and seen.boot and seen.boot == self._boot:
            self._line = seen.wall - seen.since_start


def _read(path: Path) -> Seen | None:
    """The count in the file; None if there is no file, or it is torn."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Seen)
    except (OSError, msgspec.DecodeError):
        return None
