"""Weekly windows in a time zone: when the other side may come (spec/gate.md, HOURS-1 to HOURS-5).

Windows are wall-clock times. A window whose end is not after its start runs over midnight into the next day. On a
day when the clock springs forward, the wall times that do not exist are simply never reached; on a day when it
falls back, a wall time that comes twice counts both times. The zone rules are an argument, and their version is
part of every verdict that rests on them.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Weekday = Literal["mo", "tu", "we", "th", "fr", "sa", "su"]
WEEKDAYS: tuple[Weekday, ...] = ("mo", "tu", "we", "th", "fr", "sa", "su")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")
_AHEAD_DAYS = 16
"""A weekly rule repeats after seven days; the week after covers a window that a transition swallows whole."""


class ZoneRules(Protocol):
    """A version of the time zone database."""

    @property
    def version(self) -> str:
        """Its release, as in `2026a`."""

    def zone(self, name: str) -> tzinfo | None:
        """The rules of a zone, or None where this version does not know it."""


def _wall_time(text: str) -> str:
    if text != "24:00" and not _TIME.match(text):
        raise ValueError("a wall time is HH:MM")
    return text


WallTime = Annotated[str, AfterValidator(_wall_time)]


class Window(BaseModel):
    """From `start` to `end` (not included) on the named days; over midnight when `end` is not after `start`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    start: WallTime
    end: WallTime


def check_windows(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Raises ValueError for a window that names a day twice or starts at 24:00."""
    for window in windows:
        if len(set(window.days)) != len(window.days):
            raise ValueError("a day appears twice")
        if window.start == "24:00":
            raise ValueError("a window starts before 24:00")
    return windows


Span = tuple[int, int, int]
"""(weekday 0-6, start minute, end minute); an end of more than 1440 reaches into the next day."""


def spans(windows: tuple[Window, ...]) -> tuple[Span, ...]:
    """The windows as minutes of a weekday, the form that a connection keeps."""
    found: list[Span] = []
    for window in windows:
        start, end = _minutes(window.start), _minutes(window.end)
        if end <= start:
            end += 1440
        found.extend((WEEKDAYS.index(day), start, end) for day in window.days)
    return tuple(sorted(found))


def windows_of(found: tuple[Span, ...]) -> tuple[Window, ...]:
    """The windows that have these minutes of weekdays: days with equal times in one, and nothing twice."""
    days: dict[tuple[int, int], list[Weekday]] = {}
    for weekday, start, end in dict.fromkeys(found):
        days.setdefault((start, end), []).append(WEEKDAYS[weekday])
    return tuple(
        Window(days=tuple(named), start=_wall(start), end=_wall(end if end <= 1440 else end - 1440))
        for (start, end), named in days.items()
    )


def _wall(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def is_open(windows: tuple[Span, ...], zone: tzinfo, at: int) -> bool:
    """Whether the instant `at` (ms) lies in a window by the wall clock of the zone (HOURS-2)."""
    wall = datetime.fromtimestamp(at // 1000, zone)
    minute, day = wall.hour * 60 + wall.minute, wall.weekday()
    yesterday = (day - 1) % 7
    return any(
        (weekday == day and start <= minute < end) or (weekday == yesterday and minute + 1440 < end)
        for weekday, start, end in windows
    )


def next_change(windows: tuple[Span, ...], zone: tzinfo, at: int) -> int | None:
    """The first instant (ms) after `at` at which `is_open` is otherwise, or None within sixteen days (HOURS-4)."""
    now_open = is_open(windows, zone, at)
    edges = _edges_from(windows, zone, datetime.fromtimestamp(at // 1000, zone).date())
    later = edges[bisect_right(edges, at) :]
    return next((instant for instant in later if is_open(windows, zone, instant) != now_open), None)


@lru_cache(maxsize=256)
def _edges_from(windows: tuple[Span, ...], zone: tzinfo, day: date) -> tuple[int, ...]:
    """`_edges` in order. The same for a whole day, and for all who have these hours: they are dear to find."""
    return tuple(sorted(_edges(windows, zone, datetime.combine(day, time()))))


def _edges(windows: tuple[Span, ...], zone: tzinfo, today: datetime) -> Iterator[int]:
    """Every instant about the day `today` and those ahead at which a window may begin or end: its wall times, and the
    zone's transitions."""
    for ahead in range(-1, _AHEAD_DAYS + 1):
        day = today + timedelta(days=ahead)
        for weekday, start, end in windows:
            if day.weekday() == weekday:
                for minutes in (start, end):
                    wall = day + timedelta(minutes=minutes)
                    for fold in (0, 1):
                        yield int(wall.replace(tzinfo=zone, fold=fold).timestamp()) * 1000
    yield from _transitions(zone, int(today.replace(tzinfo=zone).timestamp()))


def _transitions(zone: tzinfo, second: int) -> Iterator[int]:
    """The instants (ms) within the days ahead at which the zone's offset changes, to the second."""

    def offset(instant: int) -> timedelta | None:
        return datetime.fromtimestamp(instant, UTC).astimezone(zone).utcoffset()

    step, after = 6 * 3600, offset(second)
    # A day more, since `second` may lie a day before the moment that is asked about.
    for low in range(second, second + (_AHEAD_DAYS + 1) * 86_400, step):
        before, high = after, low + step
        after = offset(high)
        if after == before:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == before else (low, middle)
        yield high * 1000
