"""The history of a connection and its promises, computed from the acts alone (spec/connection.md, section
"Relationship", CONN-21).

The result is the same for both sides. It holds facts only: no score of a person, and nothing that a score could be made
of.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from comity.documents.acts import (
    Act,
    Answer,
    Ask,
    Contacted,
    Done,
    Erasure,
    Feedback,
    Grant,
    Milestone,
    Mute,
    Renounce,
    Setting,
)
from comity.documents.events import (
    Accepted,
    Confirmed,
    Delivered,
    Disclosed,
    Erased,
    Erasing,
    ErasureHeld,
    Expired,
    MuteOver,
    Opened,
    Restored,
)
from comity.documents.types import SIDES, Side
from comity.rules import favours
from comity.rules.fold import Record
from comity.rules.state import Connection


class TimelineEntry(NamedTuple):
    """One line of the history: the time (ms), the side, the kind, the subject, and the outcome."""

    at: int
    side: Side | None
    kind: str
    about: str | None
    outcome: str | None
    act: str | None


def timeline(records: Iterable[Record]) -> tuple[TimelineEntry, ...]:
    """The history in order of time. Settings are not in it, since the other side never sees them."""
    entries = []
    for event, act in records:
        if isinstance(event, Opened):
            entries.append(TimelineEntry(event.at, None, "opened", None, None, None))
        elif isinstance(event, Accepted):
            if event.chain == "acts":
                subject, outcome = _subject_and_outcome(event, act.payload if act else None)
                entries.append(TimelineEntry(event.at, event.side, event.kind, subject, outcome, event.act))
        elif isinstance(event, Delivered | Expired):
            entries.append(TimelineEntry(event.at, event.side, event.event, None, None, event.act))
        elif isinstance(event, Restored):
            entries.append(TimelineEntry(event.at, None, "restored", None, None, None))
        elif isinstance(event, Confirmed):
            entries.append(TimelineEntry(event.at, event.side, "confirmed", None, None, None))
        elif not isinstance(event, MuteOver):
            # The end of a mute is its owner's alone (CONN-19).
            entries.append(_notice_entry(event))
    return tuple(sorted(entries))


def _notice_entry(event: Disclosed | Erasing | ErasureHeld | Erased) -> TimelineEntry:
    """The line for a disclosure, or for an erasure of the connection."""
    by = getattr(event, "by", None)
    side: Side | None = by if by in SIDES else None
    if isinstance(event, Disclosed):
        return TimelineEntry(event.at, None, event.event, event.to, event.ground, None)
    if isinstance(event, Erasing) and event.due_at is not None:
        return TimelineEntry(event.at, side, event.event, _day(event.due_at // 1000), event.ground, None)
    if isinstance(event, Erasing):
        return TimelineEntry(event.at, side, event.event, None, "taken_back", None)
    if isinstance(event, ErasureHeld):
        return TimelineEntry(event.at, None, event.event, _day(event.until), event.ground, None)
    return TimelineEntry(event.at, side, event.event, None, event.ground, None)


def _subject_and_outcome(event: Accepted, payload: Act | Setting | None) -> tuple[str | None, str | None]:
    """(the subject: purpose, topic, kind of favour …; the outcome)."""
    if event.contents is not None:
        topic = f" ({event.contents.topic})" if event.contents.topic else ""
        channel = f" by {payload.channel}" if isinstance(payload, Contacted) else ""
        return f"{event.contents.purpose}{topic}{channel}", event.outcome or event.verdict
    if isinstance(payload, Erasure):
        return _erasure_text(payload), None
    if isinstance(payload, Mute):
        return _mute_text(payload), payload.why
    if isinstance(payload, Feedback):
        return _feedback_text(payload), payload.says
    if isinstance(payload, Renounce):
        return ", ".join((*(payload.purposes or ()), *(payload.channels or ()))) or "everything", payload.because
    if isinstance(payload, Grant):
        return _grant_text(payload), None
    words = [getattr(payload, name, None) for name in ("kind", "key", "topic")]
    subject = " ".join(str(word) for word in words if word and word != event.kind) + _time_text(payload)
    return subject or None, getattr(payload, "answer", None)


def _grant_text(payload: Grant) -> str:
    """Purposes, channels, end and budget of a grant."""
    often = "" if payload.budget is None else f", at most {payload.budget.max} a {payload.budget.per}"
    return f"{', '.join(payload.purposes)} by {', '.join(payload.channels)} until {_day(payload.exp)}{often}"


def _time_text(payload: Act | Setting | None) -> str:
    """The date and end of a milestone; the effort and date of an ask."""
    if isinstance(payload, Milestone):
        return f" on {_day(payload.when)}" + ("" if payload.lasts is None else f", lasts until {_day(payload.lasts)}")
    if isinstance(payload, Ask):
        return f" ({payload.effort})" + ("" if payload.by is None else f" by {_day(payload.by)}")
    return ""


def _mute_text(payload: Mute) -> str | None:
    """The scope of a mute, None for everything, and its end if it is shown."""
    parts = [", ".join(payload.purposes or ()), f"by {', '.join(payload.channels)}" if payload.channels else ""]
    parts.append("" if payload.until is None else f"until {_day(payload.until)}")
    return " ".join(part for part in parts if part) or None


def _feedback_text(payload: Feedback) -> str:
    """The message's purpose and topic, and those that a contest claims."""
    text = payload.purpose + (f" ({payload.had})" if payload.had else "")
    if payload.as_ is None:
        return text
    return f"{text} as {payload.as_}" + (f" ({payload.topic})" if payload.topic else "")


def _erasure_text(payload: Erasure) -> str:
    """A statement of erasure: the data that was deleted, the data that is retained and why, and the number of
    recipients that were informed; their names are given on request only (ERA-5)."""
    retained = [
        f"{data.what} ({data.ground.replace('_', ' ')}"
        + ("" if data.until is None else f", until {_day(data.until)}")
        + ")"
        for data in payload.kept or ()
    ]
    parts = [f"deleted {', '.join(payload.deleted)}" if payload.deleted else ""]
    parts.append(f"kept {', '.join(retained)}" if retained else "nothing is kept")
    recipients = len(payload.passed_on or ())
    parts.append("" if not recipients else "1 other was told" if recipients == 1 else f"{recipients} others were told")
    return "; ".join(part for part in parts if part)


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


class Promises(NamedTuple):
    """Favours of one side for the other: done, still open, and not done in time."""

    kept: int
    open: int
    broken: int


def promises(connection: Connection, records: Iterable[Record], now: int) -> dict[Side, Promises]:
    """The promises of each side at `now` (ms). A favour that was done late counts as kept."""
    promised: dict[str, Side] = {}
    done: set[str] = set()
    for event, act in records:
        if not isinstance(event, Accepted) or act is None:
            continue
        payload = act.payload
        if isinstance(payload, Answer) and payload.answer == "yes":
            promised[payload.ask] = event.side
        elif isinstance(payload, Done):
            done.add(payload.ask)
    still_open = {
        door.ask.id
        for door in (connection.first, connection.second)
        if door.ask is not None and favours.ask_status(door.ask, now) == "promised"
    }

    def count(side: Side) -> Promises:
        mine = {ask for ask, by in promised.items() if by == side}
        kept, waiting = len(mine & done), len((mine - done) & still_open)
        return Promises(kept, waiting, len(mine) - kept - waiting)

    return {side: count(side) for side in SIDES}
