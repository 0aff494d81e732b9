"""What stands in one connection, as plain values: all that this side signed and what it may read of the other side,
with words, limits and ends (WHO-8). Whoever shows a connection shows this; `dataclasses.asdict` makes JSON of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from comity.client.connection import queries
from comity.client.connection.favours import Favour, text_in
from comity.client.connection.feedback import ShownContest, contests_of
from comity.client.connection.view import View
from comity.client.models import Statement, Who
from comity.documents.acts import Contacted, Grant, SignedAct
from comity.documents.events import Accepted
from comity.documents.hours import windows_of
from comity.documents.note_values import Note
from comity.documents.types import PERIODS, other
from comity.rules import favours
from comity.rules.away import muted_away_until
from comity.rules.gate import mute_end
from comity.rules.state import Budget, Door

Rate = tuple[int, str]
"""How often at most, and in what time: `(3, "week")`."""
_WHOSE: tuple[Who, Who] = ("me", "them")


@dataclass(frozen=True, slots=True)
class Allowed:
    """A grant in force, until `until` (s). `status` of its token is for whoever asks the server (`tokens`)."""

    id: str
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    until: int
    rate: Rate | None = None
    data: tuple[str, ...] = ()
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Muted:
    """A mute in force, of everything where it names nothing. `until` (s) as far as this side knows; `shown` says
    whether the other side reads it, too."""

    id: str
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    until: int | None
    shown: bool
    why: Literal["away"] | None = None


@dataclass(frozen=True, slots=True)
class Hours:
    """When the other side may come, as `Party.hours` takes it; `shown` says whether it reads when that is next."""

    zone: str
    windows: tuple[tuple[tuple[str, ...], str, str], ...]
    shown: bool


@dataclass(frozen=True, slots=True)
class Remembered:
    """A little thing; `known` as in `Note`."""

    key: str
    topic: str | None
    value: Any
    text: str | None
    known: bool


@dataclass(frozen=True, slots=True)
class Happened:
    """A milestone, with its words: when (s) it happened and until when it lasts."""

    id: str
    kind: str
    topic: str
    when: int
    lasts: int | None
    text: str | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Grants of the other side that this one gave up, for these purposes and channels or for all."""

    grants: tuple[str, ...]
    purposes: tuple[str, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SideShown:
    """One side: what it allows, stops, wants remembered and has noted. `waiting` counts its messages that wait."""

    did: str
    away_until: int | None
    allowed: tuple[Allowed, ...]
    muted: tuple[Muted, ...]
    remembered: tuple[Remembered, ...]
    happened: tuple[Happened, ...]
    given_up: tuple[GivenUp, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class FavourShown:
    """An ask of either side, with all words that belong to it; `answer_by` and `ends_at` in s."""

    id: str
    by: Who
    kind: str
    effort: str
    status: favours.AskStatus
    text: str | None
    in_return: str | None
    answer_by: int | None
    ends_at: int
    answer: str | None
    answer_text: str | None
    thanks: str | None


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact outside that a side stated at `at` (ms), with the verdict that it would have had."""

    id: str
    by: Who
    at: int
    channel: str
    purpose: str
    topic: str | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Balance:
    """How many favours each side did within 365 days (FAV-9)."""

    by_me: int
    by_them: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A connection that is open or has ended. `hours`, `messages`, `asks` and `mailbox` are this side's settings;
    `snoozed_until` (s) and `blocked_since` (ms) are rules of the wallet, which nobody else knows."""

    cid: str
    phase: Literal["open", "ended"]
    me: SideShown
    them: SideShown
    hours: Hours | None
    messages: Rate | None
    asks: Rate | None
    mailbox: str | None
    snoozed_until: int | None
    blocked_since: int | None
    contests: tuple[ShownContest, ...]
    favours: tuple[FavourShown, ...]
    balance: Balance
    contacts: tuple[Contact, ...]
    statements: tuple[Statement, ...]


def overview_of(party: View, asked: Iterable[Favour], blocked_since: int | None) -> Overview:
    """All of it at the wallet's time. Raises NotOpen."""
    state, settings = party.state, party.state.door(party.side).settings
    first, second = favours.balance(state, party.now())
    mine, theirs = (first, second) if party.side == "first" else (second, first)
    return Overview(
        cid=party.cid,
        phase=state.phase,
        me=_side(party, "me"),
        them=_side(party, "them"),
        hours=_hours(party),
        messages=rate_of(settings.messages),
        asks=rate_of(settings.asks),
        mailbox=settings.mailbox,
        snoozed_until=party.snoozed_until(),
        blocked_since=blocked_since,
        contests=tuple(contests_of(party)),
        favours=tuple(map(_favour, asked)),
        balance=Balance(mine, theirs),
        contacts=tuple(_contacts(party)),
        statements=tuple(it for who in _WHOSE if (it := queries.statement(party, who)) is not None),
    )


def rate_of(budget: Budget | None) -> Rate | None:
    """A limit in the form in which `Party.budget` takes it."""
    if budget is None:
        return None
    return budget.max, next(name for name, seconds in PERIODS.items() if seconds == budget.seconds)


def _side(party: View, who: Who) -> SideShown:
    door, now = party.state.door(party.side if who == "me" else other(party.side)), party.now()
    acts = {line.act.id: line.act for line in party.lines if line.act is not None}
    return SideShown(
        did=door.did,
        away_until=muted_away_until(door, now) if who == "me" else party.away_until(),
        allowed=tuple(_allowed(door, acts, now)),
        muted=tuple(muted_by(door, now)),
        remembered=tuple(_remembered(it) for it in party.notes(who)),
        happened=tuple(
            Happened(it.id, it.kind, it.topic, it.when, it.lasts, _text(party, acts.get(it.id)))
            for it in door.milestones
        ),
        given_up=tuple(GivenUp(it.grants, it.purposes, it.channels) for it in door.renounced),
        waiting=len(door.held),
    )


def _allowed(door: Door, acts: dict[str, SignedAct], now: int) -> Iterable[Allowed]:
    for it in door.grants:
        if now < it.exp * 1000:
            act = acts.get(it.id)
            signed = act.payload if act is not None and isinstance(act.payload, Grant) else None
            data, value = (None, None) if signed is None else (signed.data, signed.value)
            yield Allowed(it.id, it.purposes, it.channels, it.exp, rate_of(it.budget), data or (), value)


def muted_by(door: Door, now: int) -> Iterable[Muted]:
    """The mutes in force; of the other side's, whose settings this side does not have, hidden ends are not known."""
    for it in door.mutes:
        end = mute_end(door, it)
        if end is None or now < end:
            until = None if end is None else end // 1000
            yield Muted(it.id, it.purposes, it.channels, until, it.until is not None, it.why)


def _remembered(note: Note) -> Remembered:
    return Remembered(note.key, note.topic, note.value, note.text, note.known)


def _text(party: View, act: SignedAct | None) -> str | None:
    return None if act is None else text_in(party.body_of(act), "text")


def _hours(party: View) -> Hours | None:
    settings = party.state.door(party.side).settings
    if settings.zone is None or not settings.windows:
        return None
    windows = tuple((it.days, it.start, it.end) for it in windows_of(settings.windows))
    return Hours(settings.zone, windows, settings.hours_end_shown)


def _favour(favour: Favour) -> FavourShown:
    reply = favour.reply
    return FavourShown(
        id=favour.id,
        by="me" if favour.mine else "them",
        kind=favour.kind,
        effort=favour.effort,
        status=favour.status,
        text=favour.text,
        in_return=favour.in_return,
        answer_by=favour.by,
        ends_at=favour.ends_at,
        answer=None if reply is None else reply.answer,
        answer_text=None if reply is None else reply.text,
        thanks=favour.thanks,
    )


def _contacts(party: View) -> Iterable[Contact]:
    for line in party.lines:
        event, payload = line.event, None if line.act is None else line.act.payload
        if isinstance(event, Accepted) and isinstance(payload, Contacted):
            by: Who = "me" if event.side == party.side else "them"
            yield Contact(event.act, by, line.at, payload.channel, payload.purpose, payload.topic, event.verdict)
