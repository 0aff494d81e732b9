"""What of the state an act depends on: for each kind of act one facet, and the value that it has (spec/connection.md,
section "The table of acts", CONN-9).

Nothing is decided here: which value lets an act in, and with which code another refuses it, is in `connection.RULES`.
"""

from typing import Any, NamedTuple

from comity.documents.hours import ZoneRules
from comity.documents.types import NOTE, Side, other
from comity.rules import favours, gate
from comity.rules.budgets import KEPT_FOR
from comity.rules.fold import remaining_contests, scope
from comity.rules.gate import Verdict
from comity.rules.state import Connection, Held

MOST_GRANTS = 32
MOST_MUTES = 32
MOST_HELD = 20
MOST_LITTLE = 64
MOST_MILESTONES = 200
MOST_STATEMENTS = 12
MOST_CONTESTS = 32
"""What one side can have in force, waiting, kept or stated (CONN-14)."""
MOST_FEEDBACK = 200
"""Feedback of one side within 30 days, contests aside (CONN-14)."""


class Case(NamedTuple):
    """What a facet looks at: the act of `side`, in a state, at a time (ms)."""

    connection: Connection
    side: Side
    payload: Any
    at: int
    zones: ZoneRules


def any_state(case: Case) -> str:
    """`any`: the act is accepted in every state."""
    return "any"


# --- the door ------------------------------------------------------------------------------------------------------


def own_grants(case: Case) -> str:
    """`room` or `full`; with `replaces`, `room` or `replaces_none`."""
    live = [grant.id for grant in case.connection.door(case.side).grants if grant.exp * 1000 > case.at]
    if case.payload.replaces is not None:
        return "room" if case.payload.replaces in live else "replaces_none"
    return "room" if len(live) < MOST_GRANTS else "full"


def named_grant(case: Case) -> str:
    """Whether the grant named is one's own and `in_force`, or `none`."""
    return "in_force" if any(it.id == case.payload.grant for it in case.connection.door(case.side).grants) else "none"


def own_mutes(case: Case) -> str:
    """`room` or `full`."""
    kept = [it for it in case.connection.door(case.side).mutes if it.until is None or it.until * 1000 > case.at]
    mine = scope(case.payload.purposes, case.payload.channels)
    # A mute of everything always has room: nothing may stand between a side and its "no" (CONN-3).
    takes_place = mine == scope(None, None) or any(scope(it.purposes, it.channels) == mine for it in kept)
    return "room" if takes_place or len(kept) < MOST_MUTES else "full"


def named_mute(case: Case) -> str:
    """Whether the mute named, or any where none is, is `in_force`, or `none`."""
    kept = [it.id for it in case.connection.door(case.side).mutes if it.until is None or it.until * 1000 > case.at]
    named = kept if case.payload.mute is None else [it for it in kept if it == case.payload.mute]
    return "in_force" if named else "none"


# --- messages and favours ------------------------------------------------------------------------------------------


def door(case: Case) -> str:
    """What the other side's door says to a message."""
    payload = case.payload
    verdict = verdict_on(case, payload.purpose, "app", payload.topic)
    if verdict.decision != "hold":
        return "allow" if verdict.decision == "allow" else verdict.reason
    if payload.if_muted != "hold":
        return f"hold_{payload.if_muted}" if verdict.reason != "over_budget" else f"spent_{payload.if_muted}"
    held = case.connection.door(case.side).held
    return "hold" if len(held) < MOST_HELD or replaced(held, payload) else "hold_full"


def own_ask(case: Case) -> str:
    """What stands in the way of asking: one's own earlier asks, then the other side's door."""
    if (standing := favours.own_ask(case.connection, case.side, case.at)) != "free":
        return standing
    verdict = verdict_on(case, "renewal" if case.payload.kind == "renewal" else "favour", "app", None)
    if verdict.decision == "allow" and not favours.asks_left(case.connection, case.side, case.at):
        return "not_now"
    return "free" if verdict.decision == "allow" else verdict.outward().reason


def their_ask(case: Case) -> str:
    """Where the other side's ask stands, if it is its last; else `none`."""
    return _ask_state(case, other(case.side))


def thanked_ask(case: Case) -> str:
    """Where one's own ask stands, if it is one's last; else `none`."""
    return _ask_state(case, case.side)


def _ask_state(case: Case, asker: Side) -> str:
    ask = case.connection.door(asker).ask
    return favours.status(ask, case.at) if ask is not None and ask.id == case.payload.ask else "none"


# --- the little things, milestones ---------------------------------------------------------------------------------


def _words(case: Case) -> str | None:
    """`words_wait` or `words_spent` where the act brings words that are not let in now, else None: beside a mute there
    is no side door, and words have as much room as other things that rest on the agreement (CONN-22)."""
    if case.payload.body is None:
        return None
    verdict = verdict_on(case, NOTE, "app", None)
    if verdict.decision == "allow":
        return None
    return "words_spent" if verdict.reason == "over_budget" else "words_wait"


def own_little(case: Case) -> str:
    """`words_wait`, `words_spent`, `room` or `full`."""
    if (words := _words(case)) is not None:
        return words
    little = case.connection.door(case.side).little
    known = any((it.key, it.topic) == (case.payload.key, case.payload.topic) for it in little)
    return "room" if known or len(little) < MOST_LITTLE else "full"


def named_little(case: Case) -> str:
    """Whether this key and topic is `kept`, or `none`."""
    little = case.connection.door(case.side).little
    return "kept" if any((it.key, it.topic) == (case.payload.key, case.payload.topic) for it in little) else "none"


def own_milestones(case: Case) -> str:
    """`words_wait`, `words_spent`, `room` or `full`."""
    if (words := _words(case)) is not None:
        return words
    return "room" if len(case.connection.door(case.side).milestones) < MOST_MILESTONES else "full"


# --- feedback, consents given up -------------------------------------------------------------------------------------


def own_feedback(case: Case) -> str:
    """`full` for one contest too many, `spent` for other feedback beyond the month's, else `room`."""
    door, payload = case.connection.door(case.side), case.payload
    if payload.says == "mislabelled":
        left = remaining_contests(door, payload, case.at)
        return "room" if len(left) < MOST_CONTESTS else "full"
    recent = sum(1 for at in door.feedback if at > case.at - KEPT_FOR)
    return "room" if recent < MOST_FEEDBACK else "spent"


def their_grants(case: Case) -> str:
    """Whether at least one of the grants named is the other side's and `in_force`, or `none`."""
    grants = case.connection.door(other(case.side)).grants
    named = any(it.id in case.payload.grants and it.exp * 1000 > case.at for it in grants)
    return "in_force" if named else "none"


# --- after the end -------------------------------------------------------------------------------------------------


def own_statements(case: Case) -> str:
    """`open` while the connection is, `past` where something is kept until a time that is over, `room` or `full`
    (ERA-1, ERA-3, ERA-4)."""
    if case.connection.phase != "ended":
        return "open"
    if any(it.until is not None and it.until * 1000 <= case.at for it in case.payload.kept or ()):
        return "past"
    said = case.connection.door(case.side).erasure
    return "room" if said is None or said.count < MOST_STATEMENTS else "full"


# --- settings ------------------------------------------------------------------------------------------------------


def zone(case: Case) -> str:
    """Whether the zone rules know the zone: `known` or `unknown`."""
    return "known" if case.zones.zone(case.payload.zone) is not None else "unknown"


# --- what facets and outcomes both look at -------------------------------------------------------------------------


def verdict_on(case: Case, purpose: str, channel: str, topic: str | None) -> Verdict:
    """What the gate says to the side that acts."""
    return gate.may(case.connection, case.side, purpose, channel, topic, case.at, case.zones)


def replaced(held: tuple[Held, ...], payload: Any) -> str | None:
    """The waiting message on the same purpose and topic, whose place a newer one takes (CONN-13)."""
    if payload.topic is None:
        return None
    return next((it.id for it in held if (it.purpose, it.topic) == (payload.purpose, payload.topic)), None)
