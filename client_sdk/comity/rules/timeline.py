"""What two sides did, told from the acts and from nothing else (spec/connection.md, section "Relationship", CONN-21).

The same for both sides. Facts only: no score of anybody is made here, and none can be made from what is returned.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from comity.documents.acts import Answer, Ask, Contacted, Done, Erasure, Feedback, Grant, Milestone, Mute, Renounce
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


class Moment(NamedTuple):
    """One line of the history: when (ms), by which side, what kind of thing, about what, and what became of it."""

    at: int
    side: Side | None
    kind: str
    about: str | None
    outcome: str | None
    act: str | None


def timeline(records: Iterable[Record]) -> tuple[Moment, ...]:
    """The history in the order of its times. Settings are not part of it: the other side never sees them."""
    moments = []
    for event, act in records:
        if isinstance(event, Opened):
            moments.append(Moment(event.at, None, "opened", None, None, None))
        elif isinstance(event, Accepted):
            if event.chain == "acts":
                about, outcome = _about(event, act.payload if act else None)
                moments.append(Moment(event.at, event.side, event.kind, about, outcome, event.act))
        elif isinstance(event, Delivered | Expired):
            moments.append(Moment(event.at, event.side, event.event, None, None, event.act))
        elif isinstance(event, Restored):
            moments.append(Moment(event.at, None, "restored", None, None, None))
        elif isinstance(event, Confirmed):
            moments.append(Moment(event.at, event.side, "confirmed", None, None, None))
        elif not isinstance(event, MuteOver):
            # The end of a mute is its owner's alone (CONN-19).
            moments.append(_notice(event))
    return tuple(sorted(moments))


def _notice(event: Disclosed | Erasing | ErasureHeld | Erased) -> Moment:
    """What the server states of a copy that it made, or of the connection's erasure."""
    by = getattr(event, "by", None)
    side: Side | None = by if by in SIDES else None
    if isinstance(event, Disclosed):
        return Moment(event.at, None, event.event, event.to, event.ground, None)
    if isinstance(event, Erasing) and event.due_at is not None:
        return Moment(event.at, side, event.event, _day(event.due_at // 1000), event.ground, None)
    if isinstance(event, Erasing):
        return Moment(event.at, side, event.event, None, "taken_back", None)
    if isinstance(event, ErasureHeld):
        return Moment(event.at, None, event.event, _day(event.until), event.ground, None)
    return Moment(event.at, side, event.event, None, event.ground, None)


def _about(event: Accepted, payload: object) -> tuple[str | None, str | None]:
    """What a thing was about (purpose, topic, kind of favour …), and what became of it."""
    if event.contents is not None:
        topic = f" ({event.contents.topic})" if event.contents.topic else ""
        way = f" by {payload.channel}" if isinstance(payload, Contacted) else ""
        return f"{event.contents.purpose}{topic}{way}", event.outcome or event.verdict
    if isinstance(payload, Erasure):
        return _account(payload), None
    if isinstance(payload, Mute):
        return _of_mute(payload), payload.why
    if isinstance(payload, Feedback):
        return _of_feedback(payload), payload.says
    if isinstance(payload, Renounce):
        return ", ".join((*(payload.purposes or ()), *(payload.channels or ()))) or "everything", payload.because
    if isinstance(payload, Grant):
        return _of_grant(payload), None
    words = [getattr(payload, name, None) for name in ("kind", "key", "topic")]
    told = " ".join(str(word) for word in words if word and word != event.kind) + _of_time(payload)
    return told or None, getattr(payload, "answer", None)


def _of_grant(payload: Grant) -> str:
    """What is allowed, by which channels, until when, and how often."""
    often = "" if payload.budget is None else f", at most {payload.budget.max} a {payload.budget.per}"
    return f"{', '.join(payload.purposes)} by {', '.join(payload.channels)} until {_day(payload.exp)}{often}"


def _of_time(payload: object) -> str:
    """When something happened and until when it lasts; what a favour takes, and by when it is wanted."""
    if isinstance(payload, Milestone):
        return f" on {_day(payload.when)}" + ("" if payload.lasts is None else f", lasts until {_day(payload.lasts)}")
    if isinstance(payload, Ask):
        return f" ({payload.effort})" + ("" if payload.by is None else f" by {_day(payload.by)}")
    return ""


def _of_mute(payload: Mute) -> str | None:
    """What is muted, if not everything, and until when, if that is shown."""
    parts = [", ".join(payload.purposes or ()), f"by {', '.join(payload.channels)}" if payload.channels else ""]
    parts.append("" if payload.until is None else f"until {_day(payload.until)}")
    return " ".join(part for part in parts if part) or None


def _of_feedback(payload: Feedback) -> str:
    """The purpose and topic of the message, and what a contest says that it was."""
    about = payload.purpose + (f" ({payload.had})" if payload.had else "")
    if payload.as_ is None:
        return about
    return f"{about} as {payload.as_}" + (f" ({payload.topic})" if payload.topic else "")


def _account(payload: Erasure) -> str:
    """What was deleted, what is kept and why, and how many others were told: who they are is for those who ask
    (ERA-5)."""
    kept = [
        f"{it.what} ({it.ground.replace('_', ' ')}" + ("" if it.until is None else f", until {_day(it.until)}") + ")"
        for it in payload.kept or ()
    ]
    parts = [f"deleted {', '.join(payload.deleted)}" if payload.deleted else ""]
    parts.append(f"kept {', '.join(kept)}" if kept else "nothing is kept")
    others = len(payload.passed_on or ())
    parts.append("" if not others else "1 other was told" if others == 1 else f"{others} others were told")
    return "; ".join(part for part in parts if part)


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


class Promises(NamedTuple):
    """Favours of one side for the other: done, still to be done, and not done in time."""

    kept: int
    open: int
    broken: int


def promises(connection: Connection, records: Iterable[Record], now: int) -> dict[Side, Promises]:
    """How each side's promises stand at `now` (ms). A favour done late counts as kept: it was done."""
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
        if door.ask is not None and favours.status(door.ask, now) == "promised"
    }

    def count(side: Side) -> Promises:
        mine = {ask for ask, by in promised.items() if by == side}
        kept, waiting = len(mine & done), len((mine - done) & still_open)
        return Promises(kept, waiting, len(mine) - kept - waiting)

    return {side: count(side) for side in SIDES}
