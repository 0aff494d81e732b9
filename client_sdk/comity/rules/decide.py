"""Decides what an act may do (spec/connection.md). The one module that decides.

    decide           may this act be accepted now, and what is its outcome?
    accept           decides, states the acceptance as an event, and folds it
    accept_next      the same, preceded by the event for the end of a mute that the delivery relies on
    release_held     which held messages are delivered, or have expired, by now?
    next_release_at  when must `release_held` be called next?

RULES is the table: for each kind of act its guard (`guards`), and for each value of the guard either acceptance or the
code of the refusal. Nothing here knows which side is the business.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, get_args

from comity.documents import acts
from comity.documents.acts import Act, Setting, SignedAct, is_narrowing
from comity.documents.agreements import CLOCK_SKEW
from comity.documents.events import Accepted, Contents, Delivered, Expired, MuteOver, Place
from comity.documents.hours import ZoneRules
from comity.documents.types import DAY, EXEMPT_PURPOSES, SIDES, Side, other
from comity.errors import Malformed, Refused
from comity.rules import favours, gate, guards
from comity.rules.fold import Record, contents_of, fold
from comity.rules.guards import Case, replaced_message, verdict_on
from comity.rules.mute_over import ended_by
from comity.rules.recovery import ACCEPTED_WHILE_RECOVERING
from comity.rules.state import Connection, HeldMessage, earlier_names


class Outcome(NamedTuple):
    """The outcome of an accepted act, set for messages and outside contacts only."""

    outcome: str | None = None
    contents: Contents | None = None
    replaces: str | None = None
    verdict: str | None = None

    @property
    def members(self) -> dict[str, Any]:
        """The members of the event that are set; empty if there are none, so that nothing needs validation."""
        return self._asdict() if any(self) else {}


# --- the table -----------------------------------------------------------------------------------------------------


_Payload = TypeVar("_Payload", bound=Act | Setting)
_Verdicts = Mapping[str, str | None]
"""For each value of a guard the code of the refusal, None for acceptance."""


class Rule(NamedTuple):
    """The guard of a kind of act, and the verdict for each of its values."""

    guard: Callable[[Case[Any]], str]
    verdicts: _Verdicts

    @property
    def name(self) -> str:
        """The guard's name in the table of the spec."""
        return self.guard.__name__


def _row(model: type[_Payload], guard: Callable[[Case[_Payload]], str], verdicts: _Verdicts) -> tuple[str, Rule]:
    """A row of RULES. The type checker compares the guard's payload with the model."""
    return acts.kind_of_model(model), Rule(guard, verdicts)


_NO_ASK: _Verdicts = dict.fromkeys(get_args(favours.AskStatus), "no_such_ask")
_ANY: _Verdicts = {"any": None}

RULES: Mapping[str, Rule] = dict(
    (
        _row(
            acts.Grant,
            guards.own_grants,
            {"room": None, "full": "too_many_grants", "replaces_none": "no_such_grant"},
        ),
        _row(acts.Withdraw, guards.named_grant, {"in_force": None, "none": "no_such_grant"}),
        _row(acts.Mute, guards.own_mutes, {"room": None, "full": "too_many_mutes"}),
        _row(acts.Unmute, guards.named_mute, {"in_force": None, "none": "no_such_mute"}),
        _row(acts.Revoke, guards.any_state, _ANY),
        _row(
            acts.Message,
            guards.door,
            {
                "allow": None,
                "hold": None,
                "hold_drop": None,
                "spent_drop": None,
                "hold_fail": "not_now",
                "spent_fail": "over_budget",
                "hold_full": "hold_full",
                "no_grant": "no_grant",
                "already_has": "already_has",
                "no_interest": "no_interest",
                "topic_needed": "topic_needed",
                "exempt_limit": "exempt_limit",
            },
        ),
        _row(acts.Contacted, guards.any_state, _ANY),
        _row(
            acts.Ask,
            guards.own_ask,
            {
                "free": None,
                "open": "ask_open",
                "cooling": "cooling_down",
                "after_notice": "after_exempt_notice",
                "spent": "ask_budget",
                "no_grant": "no_grant",
                "already_has": "already_has",
                "no_interest": "no_interest",
                "topic_needed": "topic_needed",
                "not_now": "not_now",
                "over_budget": "over_budget",
            },
        ),
        _row(acts.Answer, guards.their_ask, {**_NO_ASK, "asked": None}),
        # A favour done late is still a favour.
        _row(acts.Done, guards.their_ask, {**_NO_ASK, "promised": None, "broken": None}),
        _row(acts.Thank, guards.thanked_ask, {**_NO_ASK, "done": None}),
        _row(
            acts.Remember,
            guards.own_little,
            {"room": None, "full": "too_much_remembered", "words_wait": "not_now", "words_spent": "over_budget"},
        ),
        _row(acts.Forget, guards.named_little, {"kept": None, "none": "nothing_remembered"}),
        _row(
            acts.Milestone,
            guards.own_milestones,
            {"room": None, "full": "too_many_milestones", "words_wait": "not_now", "words_spent": "over_budget"},
        ),
        _row(
            acts.Feedback,
            guards.own_feedback,
            {"room": None, "full": "too_many_contests", "spent": "too_much_feedback"},
        ),
        _row(acts.Renounce, guards.their_grants, {"in_force": None, "none": "no_such_grant"}),
        _row(acts.Rotate, guards.any_state, _ANY),
        _row(
            acts.Erasure,
            guards.own_statements,
            {"room": None, "open": "connection_open", "past": "until_passed", "full": "too_many_statements"},
        ),
        _row(acts.Hours, guards.zone, {"known": None, "unknown": "unknown_zone"}),
        _row(acts.BudgetSetting, guards.any_state, _ANY),
        _row(acts.Mailbox, guards.any_state, _ANY),
        _row(acts.MuteEnd, guards.any_state, _ANY),
    )
)


# --- deciding ------------------------------------------------------------------------------------------------------


def decide(connection: Connection, act: SignedAct, at: int, zones: ZoneRules) -> Outcome:
    """The outcome of `act` if it is accepted at `at` (ms). Raises Refused if it is not, and leaves no trace (CONN-6).

    Checks in this order (CONN-2): party, audience, key, phase, recovery, position in the chain, clock, the act's own
    times, the guard of RULES. The caller first looks up whether the same act was accepted before (ACT-12).
    """
    payload = act.payload
    side = connection.side_of(payload.iss)
    if side is None or payload.cid != connection.cid:
        raise Refused("not_found")
    _check_party(connection, side, act)
    # The end is final for both sides (CONN-4); only an erasure statement is accepted after it (ERA-1).
    if connection.phase == "ended" and act.kind != "erasure":
        raise Refused("connection_ended")
    if connection.recovering and act.kind not in ACCEPTED_WHILE_RECOVERING:
        raise Refused("recovering")
    # A revoke is accepted at any position: a restored wallet may not know the head of its chain (CONN-5).
    if act.kind != "revoke":
        _check_place(connection, side, act)
    if not is_narrowing(payload) and abs(payload.iat * 1000 - at) > CLOCK_SKEW * 1000:
        raise Refused("iat_out_of_range")
    _check_times(payload, at)
    case = Case(connection, side, payload, at, zones)
    rule = RULES[act.kind]
    if (code := rule.verdicts[value := rule.guard(case)]) is not None:
        raise _refusal(case, code)
    return _outcome(case, value)


def accept(
    connection: Connection, act: SignedAct, at: int, place: Place, zones: ZoneRules
) -> tuple[Accepted, Connection]:
    """The event that accepts `act` as the entry at `place`, and the state after it. Raises Refused."""
    outcome = decide(connection, act, at, zones)
    side = connection.side_of(act.payload.iss)
    event = Accepted.model_validate(
        {
            "iss": connection.home,
            "cid": connection.cid,
            "event": "accepted",
            "act": act.id,
            "side": side,
            "chain": act.chain,
            "seq": act.payload.seq,
            "kind": act.kind,
            "accepted_at": at,
            "as_of": _as_of(connection, zones),
            **place.members,
            **outcome.members,
        }
    )
    return event, fold(connection, Record(event, act))


def accept_next(
    connection: Connection, act: SignedAct, at: int, place: Place, zones: ZoneRules
) -> tuple[tuple[MuteOver | Accepted, ...], Connection]:
    """The events that accept `act` at `at` (ms), and the state after them. The last one is the acceptance.

    If the delivery relies on a mute that is over, the event for its end comes first and the acceptance a millisecond
    later (AUD-1). Raises Refused.
    """
    mute_over = None
    if act.payload.act == "message":
        mute_over = mute_over_before(connection, connection.side_of(act.payload.iss), act.payload.purpose, at, place)
    if mute_over is None:
        event, after = accept(connection, act, at, place, zones)
        return (event,), after
    event, after = accept(fold(connection, Record(mute_over)), act, at + 1, place.next(), zones)
    if event.outcome == "delivered":
        return (mute_over, event), after
    event, after = accept(connection, act, at + 1, place, zones)
    return (event,), after


def mute_over_before(
    connection: Connection, sender: Side | None, purpose: str, at: int, place: Place
) -> MuteOver | None:
    """The event at `at` (ms) that must precede a delivery of `sender` for `purpose`: the other side's mute of
    everything is over, and the log does not show it yet (AUD-1). None if no event is needed."""
    if sender is None or purpose in EXEMPT_PURPOSES:
        return None
    door = connection.door(other(sender))
    ended_by_id = ended_by(door, at)
    if ended_by_id is None:
        return None
    assert door.settings.standing is not None
    members = {
        "iss": connection.home,
        "cid": connection.cid,
        "act": door.settings.standing.id,
        "by": ended_by_id,
        "at": at,
    }
    return MuteOver.model_validate({"event": "mute_over", **members, **place.members})


def _as_of(connection: Connection, zones: ZoneRules) -> dict[str, str]:
    """The `as_of` of an event after this state (EVENT-7)."""
    return {"first": connection.first.head, "second": connection.second.head, "zones": zones.version}


def _check_party(connection: Connection, side: Side, act: SignedAct) -> None:
    door, across = connection.door(side), connection.door(other(side))
    if act.chain == "settings":
        addressed = act.payload.aud == connection.home
    else:
        # A narrowing act for an earlier name of the other side still reaches it (CONN-17).
        earlier = is_narrowing(act.payload) and act.payload.aud in earlier_names(across)
        addressed = act.payload.aud == across.did or earlier
    if not addressed:
        raise Refused("wrong_audience")
    if act.kid != door.kid or act.key.multibase != door.key:
        raise Refused("key_replaced")


def _check_place(connection: Connection, side: Side, act: SignedAct) -> None:
    door = connection.door(side)
    seq, head = door.seq, door.head
    if act.chain == "settings":
        seq, head = door.settings.seq, door.settings.head or connection.cid
    if act.payload.seq != seq:
        raise Refused("seq_taken" if act.payload.seq < seq else "seq_gap")
    if act.payload.prev != head:
        raise Refused("prev_mismatch")


def _check_times(payload: Act | Setting, at: int) -> None:
    """Raises Refused for an end in the past, and for a grant that ends too late. Raises Malformed for a milestone in
    the future or with an end before its begin (CONN-8)."""
    member, code = _ENDS.get(payload.act, ("", ""))
    end = getattr(payload, member) if member else None
    if end is not None and end * 1000 <= at:
        raise Refused(code)
    if payload.act == "grant" and payload.exp * 1000 > at + LONGEST_GRANT * 1000:
        raise Refused("grant_expired", "a grant ends within ten years")
    if payload.act != "milestone":
        return
    if payload.when * 1000 > at + MOST_AHEAD * 1000:
        raise Malformed("a milestone must not be in the future", errors=(("/when", "must not be in the future"),))
    if payload.lasts is not None and payload.lasts < payload.when:
        raise Malformed("it must not end before it happened", errors=(("/lasts", "must not be before `when`"),))


LONGEST_GRANT = 3653 * DAY
"""The most seconds from now until a grant ends: ten years (CONN-8)."""
MOST_AHEAD = DAY
"""The most seconds by which a milestone may lie ahead: a day has no time zone and begins first in the east (CONN-8)."""
_ENDS: Mapping[str, tuple[str, str]] = {
    "grant": ("exp", "grant_expired"),
    "mute": ("until", "until_passed"),
    "mute_end": ("until", "until_passed"),
    "message": ("exp", "message_expired"),
    "ask": ("by", "by_passed"),
}


def _refusal(case: Case[Act | Setting], code: str) -> Refused:
    """The refusal of a case. It includes the end of "not now" where the other side shows it, of a budget, and of the
    limit of exempt deliveries."""
    if case.payload.act != "message" or code not in ("not_now", "over_budget", "exempt_limit"):
        return Refused(code)
    verdict = verdict_on(case, case.payload.purpose, "app", case.payload.topic).outward()
    if verdict.ends_at is None:
        return Refused(code)
    retry_after = -(-(verdict.ends_at - case.at) // 1000) if code == "exempt_limit" else None
    return Refused(code, until=-(-verdict.ends_at // 1000), retry_after=retry_after)


def _outcome(case: Case[Act | Setting], value: str) -> Outcome:
    payload = case.payload
    if payload.act == "contacted":
        verdict = verdict_on(case, payload.purpose, payload.channel, payload.topic).outward()
        return Outcome(contents=contents_of(payload), verdict=verdict.reason)
    if payload.act != "message":
        return Outcome()
    contents = contents_of(payload)
    if value != "hold":
        return Outcome("delivered" if value == "allow" else "dropped", contents)
    return Outcome("held", contents, replaced_message(case.connection.door(case.side).held, payload))


# --- time ----------------------------------------------------------------------------------------------------------


def release_held(
    connection: Connection, at: int, place: Place, zones: ZoneRules
) -> tuple[tuple[MuteOver | Delivered | Expired, ...], Connection]:
    """The events that deliver held messages at `at` (ms) or state that they expired, and the state after them.

    Each message is decided again, in the order of acceptance and a millisecond after the one before it (CONN-12).
    Deliveries take the log entries from `place` on. If one relies on a mute that is over, the event for its end
    precedes it (AUD-1).
    """
    events, state = list[MuteOver | Delivered | Expired](), connection
    for side in SIDES:
        for message in connection.door(side).held:
            for event in _release_next(state, side, message, max(at, state.at + 1), place, zones):
                events.append(event)
                place = Place(place.log, place.index + event.places)
                state = fold(state, Record(event))
    return tuple(events), state


def _release_next(
    state: Connection, side: Side, message: HeldMessage, at: int, place: Place, zones: ZoneRules
) -> tuple[MuteOver | Delivered | Expired, ...]:
    """The events for a held message at `at` (ms), or a millisecond later if the end of a mute must be stated first."""
    mute_over = mute_over_before(state, side, message.purpose, at, place)
    if mute_over is not None:
        event = _release_held(fold(state, Record(mute_over)), side, message, at + 1, place.next(), zones)
        if isinstance(event, Delivered):
            return mute_over, event
        at += 1
    event = _release_held(state, side, message, at, place, zones)
    return () if event is None else (event,)


def _release_held(
    state: Connection, side: Side, message: HeldMessage, at: int, place: Place, zones: ZoneRules
) -> Delivered | Expired | None:
    members = {
        "iss": state.home,
        "cid": state.cid,
        "act": message.id,
        "side": side,
        "at": at,
        "as_of": _as_of(state, zones),
    }
    verdict = gate.may(state, side, message.purpose, "app", message.topic, at, zones)
    # A message that is now refused expires at once.
    if message.exp * 1000 <= at or verdict.decision == "refuse":
        return Expired.model_validate({"event": "expired", **members, **place.members})
    if verdict.decision == "hold":
        return None
    return Delivered.model_validate({"event": "delivered", **members, **place.members})


def expire_held(
    connection: Connection, side: Side, act: str, at: int, place: Place, zones: ZoneRules
) -> tuple[Expired, Connection]:
    """The event at `at` (ms) that a held message of `side` expired, and the state after it. `place` is the next
    position in the log."""
    members = {"iss": connection.home, "cid": connection.cid, "act": act, "side": side, "at": at}
    event = Expired.model_validate({"event": "expired", **members, **place.members, "as_of": _as_of(connection, zones)})
    return event, fold(connection, Record(event))


def next_release_at(connection: Connection, now: int, zones: ZoneRules) -> int | None:
    """When (ms, may be past) `release_held` must be called next; None while no message is held (CONN-12)."""
    times = []
    for side in SIDES:
        for message in connection.door(side).held:
            verdict = gate.may(connection, side, message.purpose, "app", message.topic, now, zones)
            times.append(message.exp * 1000)
            if verdict.decision != "hold":
                times.append(now)
            ends = [verdict.ends_at, gate.granted_until(connection, side, message.purpose, "app", now)]
            ends += [gate.granted_until(connection, side, contest.as_, "app", now) for contest in verdict.contest]
            # Contests of other purposes too, since a contested delivery counts against other budgets as well.
            contests = connection.door(other(side)).contests
            ends += [contest.until * 1000 for contest in contests if contest.until * 1000 > now]
            times.extend(end for end in ends if end is not None)
    return min(times, default=None)
