"""Guards: for each kind of act the one property of the state that it depends on, as a word (spec/connection.md, section
"The table of acts", CONN-9).

Guards decide nothing. `decide.RULES` says which value accepts an act and which code refuses it.
"""

from typing import Generic, Protocol, TypeVar

import msgspec

from comity.documents.acts import (
    Answer,
    Done,
    Erasure,
    Feedback,
    Forget,
    Grant,
    Hours,
    Message,
    Milestone,
    Mute,
    Remember,
    Renounce,
    Thank,
    Unmute,
    Withdraw,
)
from comity.documents.hours import ZoneRules
from comity.documents.types import NOTE, Side, other
from comity.rules import favours, gate
from comity.rules.budgets import COUNTED_FOR
from comity.rules.fold import mute_scope, remaining_contests
from comity.rules.gate import Verdict
from comity.rules.state import Connection, Door, HeldMessage, Note
from comity.rules.state import Mute as MuteInForce

MOST_GRANTS = 32
MOST_MUTES = 32
MOST_HELD = 20
MOST_NOTES = 64
MOST_MILESTONES = 200
MOST_STATEMENTS = 12
MOST_CONTESTS = 32
"""The most grants, mutes, held messages, notes, milestones, statements and contests of one side (CONN-14)."""
MOST_FEEDBACK = 200
"""The most feedback of one side within 30 days, contests aside (CONN-14)."""


Payload = TypeVar("Payload", covariant=True)


class Case(msgspec.Struct, Generic[Payload], frozen=True):
    """The argument of a guard: an act of `side`, in a state, at a time (ms)."""

    connection: Connection
    side: Side
    payload: Payload
    at: int
    zones: ZoneRules


class AskPayload(Protocol):
    """The one member of an ask that decides whether it is allowed."""

    @property
    def kind(self) -> str:
        """The kind of the favour."""
        ...


def any_state(case: Case[object]) -> str:
    """`any`: the act is accepted in every state."""
    return "any"


# --- the door ------------------------------------------------------------------------------------------------------


def own_grants(case: Case[Grant]) -> str:
    """`room` or `full`; with `replaces`, `room` or `replaces_none`."""
    live = [grant.id for grant in case.connection.door(case.side).grants if grant.exp * 1000 > case.at]
    if case.payload.replaces is not None:
        return "room" if case.payload.replaces in live else "replaces_none"
    return "room" if len(live) < MOST_GRANTS else "full"


def named_grant(case: Case[Withdraw]) -> str:
    """`in_force` if the grant is this side's own, else `none`."""
    grants = case.connection.door(case.side).grants
    return "in_force" if any(grant.id == case.payload.grant for grant in grants) else "none"


def own_mutes(case: Case[Mute]) -> str:
    """`room` or `full`."""
    mutes = _mutes_in_force(case.connection.door(case.side), case.at)
    scope = mute_scope(case.payload.purposes, case.payload.channels)
    # A mute of everything always has room: no limit may block it (CONN-3).
    is_replacement = scope == mute_scope(None, None) or any(
        mute_scope(mute.purposes, mute.channels) == scope for mute in mutes
    )
    return "room" if is_replacement or len(mutes) < MOST_MUTES else "full"


def named_mute(case: Case[Unmute]) -> str:
    """`in_force` if the named mute is, or any mute if none is named; else `none`."""
    mutes = _mutes_in_force(case.connection.door(case.side), case.at)
    mute_id = case.payload.mute
    return "in_force" if any(mute_id in (None, mute.id) for mute in mutes) else "none"


def _mutes_in_force(door: Door, at: int) -> list[MuteInForce]:
    """The mutes without a shown end, and those whose end lies after `at` (ms)."""
    return [mute for mute in door.mutes if mute.until is None or mute.until * 1000 > at]


# --- messages and favours ------------------------------------------------------------------------------------------


def door(case: Case[Message]) -> str:
    """The gate's answer to a message: `allow`, a `hold…` or `spent…` value, or the reason of a refusal."""
    payload = case.payload
    verdict = verdict_on(case, payload.purpose, "app", payload.topic)
    if verdict.decision != "hold":
        return "allow" if verdict.decision == "allow" else verdict.reason
    if payload.if_muted != "hold":
        return f"hold_{payload.if_muted}" if verdict.reason != "over_budget" else f"spent_{payload.if_muted}"
    messages = case.connection.door(case.side).held
    return "hold" if len(messages) < MOST_HELD or replaced_message(messages, payload) else "hold_full"


def own_ask(case: Case[AskPayload]) -> str:
    """The first obstacle to an ask, else `free`: earlier asks of this side, then the gate."""
    if (obstacle := favours.ask_obstacle(case.connection, case.side, case.at)) != "free":
        return obstacle
    verdict = verdict_on(case, "renewal" if case.payload.kind == "renewal" else "favour", "app", None)
    if verdict.decision == "allow" and not favours.has_asks_left(case.connection, case.side, case.at):
        return "not_now"
    return "free" if verdict.decision == "allow" else verdict.outward().reason


def their_ask(case: Case[Answer | Done]) -> str:
    """The status of the other side's ask, `none` unless it is its last."""
    return _ask_state(case, other(case.side))


def thanked_ask(case: Case[Thank]) -> str:
    """The status of this side's own ask, `none` unless it is its last."""
    return _ask_state(case, case.side)


def _ask_state(case: Case[Answer | Done | Thank], asker: Side) -> str:
    ask = case.connection.door(asker).ask
    return favours.ask_status(ask, case.at) if ask is not None and ask.id == case.payload.ask else "none"


# --- notes, milestones ---------------------------------------------------------------------------------


def _text_guard(case: Case[Remember | Milestone]) -> str | None:
    """`words_wait` or `words_spent` if the act has a text that is not allowed now, else None. A text beside a note must
    not evade a mute, and has as much room as other deliveries that rest on the agreement (CONN-22)."""
    if case.payload.body is None:
        return None
    verdict = verdict_on(case, NOTE, "app", None)
    if verdict.decision == "allow":
        return None
    return "words_spent" if verdict.reason == "over_budget" else "words_wait"


def own_little(case: Case[Remember]) -> str:
    """`words_wait`, `words_spent`, `room` or `full`."""
    if (words := _text_guard(case)) is not None:
        return words
    little = case.connection.door(case.side).little
    is_replacement = _has_note(little, case.payload)
    return "room" if is_replacement or len(little) < MOST_NOTES else "full"


def named_little(case: Case[Forget]) -> str:
    """`kept` if there is a note with this key and topic, else `none`."""
    return "kept" if _has_note(case.connection.door(case.side).little, case.payload) else "none"


def _has_note(notes: tuple[Note, ...], payload: Remember | Forget) -> bool:
    return any((note.key, note.topic) == (payload.key, payload.topic) for note in notes)


def own_milestones(case: Case[Milestone]) -> str:
    """`words_wait`, `words_spent`, `room` or `full`."""
    if (words := _text_guard(case)) is not None:
        return words
    return "room" if len(case.connection.door(case.side).milestones) < MOST_MILESTONES else "full"


# --- feedback, consents given up -------------------------------------------------------------------------------------


def own_feedback(case: Case[Feedback]) -> str:
    """`full` for one contest too many, `spent` for too much other feedback in a month, else `room`."""
    door, payload = case.connection.door(case.side), case.payload
    if payload.says == "mislabelled":
        remaining = remaining_contests(door, payload, case.at)
        return "room" if len(remaining) < MOST_CONTESTS else "full"
    recent = sum(1 for at in door.feedback if at > case.at - COUNTED_FOR)
    return "room" if recent < MOST_FEEDBACK else "spent"


def their_grants(case: Case[Renounce]) -> str:
    """`in_force` if at least one of the named grants is the other side's and has not expired, else `none`."""
    grants = case.connection.door(other(case.side)).grants
    is_in_force = any(grant.id in case.payload.grants and grant.exp * 1000 > case.at for grant in grants)
    return "in_force" if is_in_force else "none"


# --- after the end -------------------------------------------------------------------------------------------------


def own_statements(case: Case[Erasure]) -> str:
    """`open` while the connection is, `past` if something is retained until a time in the past, else `room` or `full`
    (ERA-1, ERA-3, ERA-4)."""
    if case.connection.phase != "ended":
        return "open"
    if any(kept.until is not None and kept.until * 1000 <= case.at for kept in case.payload.kept or ()):
        return "past"
    statement = case.connection.door(case.side).erasure
    return "room" if statement is None or statement.count < MOST_STATEMENTS else "full"


# --- settings ------------------------------------------------------------------------------------------------------


def zone(case: Case[Hours]) -> str:
    """`known` if the zone rules have the zone, else `unknown`."""
    return "known" if case.zones.zone(case.payload.zone) is not None else "unknown"


# --- for guards and outcomes -------------------------------------------------------------------------


def verdict_on(case: Case[object], purpose: str, channel: str, topic: str | None) -> Verdict:
    """The gate's verdict for the acting side."""
    return gate.may(case.connection, case.side, purpose, channel, topic, case.at, case.zones)


def replaced_message(messages: tuple[HeldMessage, ...], payload: Message) -> str | None:
    """The held message with the same purpose and topic, which a newer one replaces (CONN-13)."""
    if payload.topic is None:
        return None
    return next(
        (message.id for message in messages if (message.purpose, message.topic) == (payload.purpose, payload.topic)),
        None,
    )
