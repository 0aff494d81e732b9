"""Everything in force in one connection, as plain values: all that this side signed, and all that it may read of the
other side, with words, limits and ends (WHO-8). `dataclasses.asdict` makes JSON of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from comity.client.connection import queries
from comity.client.connection.favours import Favour, text_in
from comity.client.connection.feedback import ActiveContest, contests_of
from comity.client.connection.view import ConnectionView
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
"""A number and its period: `(3, "week")`."""
_WHOSE: tuple[Who, Who] = ("me", "them")


@dataclass(frozen=True, slots=True)
class GrantOverview:
    """A grant in force until `until` (s). Its token's status comes from the server (`tokens`)."""

    id: str
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    until: int
    rate: Rate | None = None
    data: tuple[str, ...] = ()
    value: str | None = None


@dataclass(frozen=True, slots=True)
class MuteOverview:
    """A mute in force; without purposes and channels, of everything. `until` (s) as far as this side knows; `shown`
    says whether the other side can read it."""

    id: str
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    until: int | None
    shown: bool
    why: Literal["away"] | None = None


@dataclass(frozen=True, slots=True)
class HoursOverview:
    """The times at which the other side may reach this one, as in `Connection.set_hours`; `shown` says whether it can
    read when it may try again."""

    zone: str
    windows: tuple[tuple[tuple[str, ...], str, str], ...]
    shown: bool


@dataclass(frozen=True, slots=True)
class NoteOverview:
    """A note; `known` as in `Note`."""

    key: str
    topic: str | None
    value: Any
    text: str | None
    known: bool


@dataclass(frozen=True, slots=True)
class MilestoneOverview:
    """A milestone with its words: when (s) it happened and until when (s) it lasts."""

    id: str
    kind: str
    topic: str
    when: int
    lasts: int | None
    text: str | None


@dataclass(frozen=True, slots=True)
class RenouncedGrants:
    """Grants of the other side that this one renounced, for these purposes and channels or for all."""

    grants: tuple[str, ...]
    purposes: tuple[str, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SideOverview:
    """One side: its grants, mutes, notes, milestones and renounced grants. `waiting` counts its held messages."""

    did: str
    away_until: int | None
    allowed: tuple[GrantOverview, ...]
    muted: tuple[MuteOverview, ...]
    remembered: tuple[NoteOverview, ...]
    happened: tuple[MilestoneOverview, ...]
    given_up: tuple[RenouncedGrants, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class FavourOverview:
    """An ask of either side with all its words; `answer_by` and `ends_at` in s."""

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
class ContactOverview:
    """A contact outside the app that a side recorded at `at` (ms), with the verdict of the gate."""

    id: str
    by: Who
    at: int
    channel: str
    purpose: str
    topic: str | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class FavourBalance:
    """The number of favours that each side did within 365 days (FAV-9)."""

    by_me: int
    by_them: int


@dataclass(frozen=True, slots=True)
class Overview:
    """An open or ended connection. `hours`, `messages`, `asks` and `mailbox` are this side's settings; `snoozed_until`
    (s) and `blocked_since` (ms) are rules of this wallet alone."""

    cid: str
    phase: Literal["open", "ended"]
    me: SideOverview
    them: SideOverview
    hours: HoursOverview | None
    messages: Rate | None
    asks: Rate | None
    mailbox: str | None
    snoozed_until: int | None
    blocked_since: int | None
    contests: tuple[ActiveContest, ...]
    favours: tuple[FavourOverview, ...]
    balance: FavourBalance
    contacts: tuple[ContactOverview, ...]
    statements: tuple[Statement, ...]


def overview_of(connection: ConnectionView, asked: Iterable[Favour], blocked_since: int | None) -> Overview:
    """The overview at the wallet's time; `asked` are the favours of both sides. Raises NotOpen."""
    state, settings = connection.state, connection.state.door(connection.side).settings
    first, second = favours.balance(state, connection.now())
    mine, theirs = (first, second) if connection.side == "first" else (second, first)
    return Overview(
        cid=connection.cid,
        phase=state.phase,
        me=_side(connection, "me"),
        them=_side(connection, "them"),
        hours=_hours(connection),
        messages=rate_of(settings.messages),
        asks=rate_of(settings.asks),
        mailbox=settings.mailbox,
        snoozed_until=connection.snoozed_until(),
        blocked_since=blocked_since,
        contests=tuple(contests_of(connection)),
        favours=tuple(map(_favour, asked)),
        balance=FavourBalance(mine, theirs),
        contacts=tuple(_contacts(connection)),
        statements=tuple(it for who in _WHOSE if (it := queries.find_statement(connection, who)) is not None),
    )


def rate_of(budget: Budget | None) -> Rate | None:
    """A limit in the form that `Connection.set_budget` takes."""
    if budget is None:
        return None
    return budget.max, next(name for name, seconds in PERIODS.items() if seconds == budget.seconds)


def _side(connection: ConnectionView, who: Who) -> SideOverview:
    door, now = connection.state.door(connection.side if who == "me" else other(connection.side)), connection.now()
    acts = {record.act.id: record.act for record in connection.records if record.act is not None}
    return SideOverview(
        did=door.did,
        away_until=muted_away_until(door, now) if who == "me" else connection.away_until(),
        allowed=tuple(_grants(door, acts, now)),
        muted=tuple(active_mutes(door, now)),
        remembered=tuple(_note(note) for note in connection.notes(who)),
        happened=tuple(
            MilestoneOverview(
                milestone.id,
                milestone.kind,
                milestone.topic,
                milestone.when,
                milestone.lasts,
                _text(connection, acts.get(milestone.id)),
            )
            for milestone in door.milestones
        ),
        given_up=tuple(RenouncedGrants(it.grants, it.purposes, it.channels) for it in door.renounced),
        waiting=len(door.held),
    )


def _grants(door: Door, acts: dict[str, SignedAct], now: int) -> Iterable[GrantOverview]:
    for grant in door.grants:
        if now < grant.exp * 1000:
            act = acts.get(grant.id)
            signed = act.payload if act is not None and isinstance(act.payload, Grant) else None
            data, value = (None, None) if signed is None else (signed.data, signed.value)
            yield GrantOverview(
                grant.id, grant.purposes, grant.channels, grant.exp, rate_of(grant.budget), data or (), value
            )


def active_mutes(door: Door, now: int) -> Iterable[MuteOverview]:
    """The mutes in force. Hidden ends of the other side's mutes are not known here."""
    for mute in door.mutes:
        end = mute_end(door, mute)
        if end is None or now < end:
            until = None if end is None else end // 1000
            yield MuteOverview(mute.id, mute.purposes, mute.channels, until, mute.until is not None, mute.why)


def _note(note: Note) -> NoteOverview:
    return NoteOverview(note.key, note.topic, note.value, note.text, note.known)


def _text(connection: ConnectionView, act: SignedAct | None) -> str | None:
    return None if act is None else text_in(connection.body_of(act), "text")


def _hours(connection: ConnectionView) -> HoursOverview | None:
    settings = connection.state.door(connection.side).settings
    if settings.zone is None or not settings.windows:
        return None
    windows = tuple((it.days, it.start, it.end) for it in windows_of(settings.windows))
    return HoursOverview(settings.zone, windows, settings.hours_end_shown)


def _favour(favour: Favour) -> FavourOverview:
    reply = favour.reply
    return FavourOverview(
        id=favour.id,
        by="me" if favour.is_mine else "them",
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


def _contacts(connection: ConnectionView) -> Iterable[ContactOverview]:
    for record in connection.records:
        event, payload = record.event, None if record.act is None else record.act.payload
        if isinstance(event, Accepted) and isinstance(payload, Contacted):
            by: Who = "me" if event.side == connection.side else "them"
            yield ContactOverview(
                event.act, by, record.at, payload.channel, payload.purpose, payload.topic, event.verdict
            )
