"""Weekly windows in a time zone, within which the other side may reach this one (spec/gate.md, HOURS-1 to HOURS-5).

Windows are wall-clock times. A window whose end is not after its start runs past midnight into the next day. When the
clock springs forward, the skipped wall times do not occur; when it falls back, a repeated wall time counts both times.
The zone rules are an argument, and every verdict that depends on them names their version.
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
"""A weekly rule repeats after seven days; the second week covers a window that a transition swallows whole."""


class ZoneRules(Protocol):
    """One release of the time zone database."""

    @property
    def version(self) -> str:
        """Its release, such as `2026a`."""

    def zone(self, name: str) -> tzinfo | None:
        """The rules of a zone, None if this release does not have it."""


def _wall_time(text: str) -> str:
    if text != "24:00" and not _TIME.match(text):
        raise ValueError("a time must have the form HH:MM")
    return text


WallTime = Annotated[str, AfterValidator(_wall_time)]


class Window(BaseModel):
    """From `start` to `end` (exclusive) on the named days; past midnight if `end` is not after `start`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    start: WallTime
    end: WallTime


def check_windows(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Returns the windows. Raises ValueError for a window that names a day twice or starts at 24:00."""
    for window in windows:
        if len(set(window.days)) != len(window.days):
            raise ValueError("a day appears twice")
        if window.start == "24:00":
            raise ValueError("a window starts before 24:00")
    return windows


Span = tuple[int, int, int]
"""(weekday 0-6, start minute, end minute); an end above 1440 lies in the next day."""


def spans_of(windows: tuple[Window, ...]) -> tuple[Span, ...]:
    """The windows as minutes of a weekday, the form in a connection's state."""
    result: list[Span] = []
    for window in windows:
        start, end = _minutes(window.start), _minutes(window.end)
        if end <= start:
            end += 1440
        result.extend((WEEKDAYS.index(day), start, end) for day in window.days)
    return tuple(sorted(result))


def windows_of(spans: tuple[Span, ...]) -> tuple[Window, ...]:
    """The windows for these minutes of weekdays. Days with equal times share a window, and none appears twice."""
    days: dict[tuple[int, int], list[Weekday]] = {}
    for weekday, start, end in dict.fromkeys(spans):
        days.setdefault((start, end), []).append(WEEKDAYS[weekday])
    return tuple(
        Window(days=tuple(weekdays), start=_wall(start), end=_wall(end if end <= 1440 else end - 1440))
        for (start, end), weekdays in days.items()
    )


def _wall(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def is_open(windows: tuple[Span, ...], zone: tzinfo, at: int) -> bool:
    """True if the instant `at` (ms) lies in a window by the zone's wall clock (HOURS-2)."""
    wall = datetime.fromtimestamp(at // 1000, zone)
    minute, day = wall.hour * 60 + wall.minute, wall.weekday()
    yesterday = (day - 1) % 7
    return any(
        (weekday == day and start <= minute < end) or (weekday == yesterday and minute + 1440 < end)
        for weekday, start, end in windows
    )


def next_change(windows: tuple[Span, ...], zone: tzinfo, at: int) -> int | None:
    """The first instant (ms) after `at` at which `is_open` changes, None if there is none within sixteen days
    (HOURS-4)."""
    now_open = is_open(windows, zone, at)
    edges = _edges_from(windows, zone, datetime.fromtimestamp(at // 1000, zone).date())
    later = edges[bisect_right(edges, at) :]
    return next((instant for instant in later if is_open(windows, zone, instant) != now_open), None)


@lru_cache(maxsize=256)
def _edges_from(windows: tuple[Span, ...], zone: tzinfo, day: date) -> tuple[int, ...]:
    """The sorted `_edges`. Cached, since they are expensive and the same for a whole day and for everybody with these
    hours."""
    return tuple(sorted(_edges(windows, zone, datetime.combine(day, time()))))


def _edges(windows: tuple[Span, ...], zone: tzinfo, today: datetime) -> Iterator[int]:
    """Every instant around the day `today` and the days ahead at which a window may begin or end: its wall times, and
    the zone's transitions."""
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
    # One day more, since `second` may be a day before the instant in question.
    for low in range(second, second + (_AHEAD_DAYS + 1) * 86_400, step):
        before, high = after, low + step
        after = offset(high)
        if after == before:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == before else (low, middle)
        yield high * 1000
