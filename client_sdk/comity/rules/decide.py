"""What an act may do (spec/connection.md). The one file that decides.

    decide     may this act be accepted now, and what becomes of it?
    accept     decide, state it as an event, and fold it
    accept_next  the same, with the end of a mute that the delivery relies on before it
    release    which held messages are let go, or have expired, by now?
    due        when is `release` to be called next?

RULES is the table: for each kind of act the one facet of the state that it depends on (`facets`), and for each value of
that facet whether the act is accepted or the code with which it is refused. It does not know who is the business.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

from comity.documents.acts import Message, SignedAct, is_narrowing
from comity.documents.agreements import CLOCK_SKEW
from comity.documents.events import Accepted, Contents, Delivered, Expired, MuteOver, Place
from comity.documents.hours import ZoneRules
from comity.documents.types import DAY, EXEMPT_PURPOSES, SIDES, Side, other
from comity.errors import Malformed, Refused
from comity.rules import favours, gate, guards
from comity.rules.fold import Record, contents_of, fold
from comity.rules.guards import Case, replaced, verdict_on
from comity.rules.mute_over import over_by
from comity.rules.recovery import LET_IN
from comity.rules.state import Connection, Held, earlier_names


class Outcome(NamedTuple):
    """What becomes of an act that is accepted: set for messages and outside contacts only."""

    outcome: str | None = None
    contents: Contents | None = None
    replaces: str | None = None
    verdict: str | None = None

    @property
    def members(self) -> dict[str, Any]:
        """As it stands in an event; where nothing of it is set, there is nothing to check."""
        return self._asdict() if any(self) else {}


# --- the table -----------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """The facet that an act depends on, and for each of its values the refusal code, or None: accepted."""

    of: Callable[[Case], str]
    verdicts: Mapping[str, str | None]

    @property
    def facet(self) -> str:
        """Its name in the table of the page."""
        return self.of.__name__


_NO_ASK: Mapping[str, str | None] = dict.fromkeys(get_args(favours.AskStatus), "no_such_ask")
_ANY = Rule(guards.any_state, {"any": None})

RULES: Mapping[str, Rule] = {
    "grant": Rule(
        guards.own_grants,
        {"room": None, "full": "too_many_grants", "replaces_none": "no_such_grant"},
    ),
    "withdraw": Rule(guards.named_grant, {"in_force": None, "none": "no_such_grant"}),
    "mute": Rule(guards.own_mutes, {"room": None, "full": "too_many_mutes"}),
    "unmute": Rule(guards.named_mute, {"in_force": None, "none": "no_such_mute"}),
    "revoke": _ANY,
    "message": Rule(
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
    "contacted": _ANY,
    "ask": Rule(
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
    "answer": Rule(guards.their_ask, {**_NO_ASK, "asked": None}),
    # A favour done late is still a favour.
    "done": Rule(guards.their_ask, {**_NO_ASK, "promised": None, "broken": None}),
    "thank": Rule(guards.thanked_ask, {**_NO_ASK, "done": None}),
    "remember": Rule(
        guards.own_little,
        {"room": None, "full": "too_much_remembered", "words_wait": "not_now", "words_spent": "over_budget"},
    ),
    "forget": Rule(guards.named_little, {"kept": None, "none": "nothing_remembered"}),
    "milestone": Rule(
        guards.own_milestones,
        {"room": None, "full": "too_many_milestones", "words_wait": "not_now", "words_spent": "over_budget"},
    ),
    "feedback": Rule(
        guards.own_feedback,
        {"room": None, "full": "too_many_contests", "spent": "too_much_feedback"},
    ),
    "renounce": Rule(guards.their_grants, {"in_force": None, "none": "no_such_grant"}),
    "rotate": _ANY,
    "erasure": Rule(
        guards.own_statements,
        {"room": None, "open": "connection_open", "past": "until_passed", "full": "too_many_statements"},
    ),
    "hours": Rule(guards.zone, {"known": None, "unknown": "unknown_zone"}),
    "budget": _ANY,
    "mailbox": _ANY,
    "mute_end": _ANY,
}


# --- deciding ------------------------------------------------------------------------------------------------------


def decide(connection: Connection, act: SignedAct, at: int, zones: ZoneRules) -> Outcome:
    """What becomes of `act` if it is accepted at `at` (ms); raises Refused if it is not, and leaves no trace
    (CONN-6).

    Checked in this order (CONN-2): party, audience, key, phase, recovery, place in the chain, clock, the act's own
    times, the facet of RULES. Whether the very same act was accepted before is for the caller to look up first
    (ACT-12).
    """
    payload = act.payload
    side = connection.side_of(payload.iss)
    if side is None or payload.cid != connection.cid:
        raise Refused("not_found")
    _check_party(connection, side, act)
    # For good, and both ways (CONN-4); what became of the data can still be said, and nothing else (ERA-1).
    if connection.phase == "ended" and act.kind != "erasure":
        raise Refused("connection_ended")
    if connection.recovering and act.kind not in LET_IN:
        raise Refused("recovering")
    # A "no" is not refused over its place: a restored wallet may not know where its chain stands (CONN-5).
    if act.kind != "revoke":
        _check_place(connection, side, act)
    if not is_narrowing(payload) and abs(payload.iat * 1000 - at) > CLOCK_SKEW * 1000:
        raise Refused("iat_out_of_range")
    _check_times(payload, at)
    case = Case(connection, side, payload, at, zones)
    rule = RULES[act.kind]
    if (code := rule.verdicts[value := rule.of(case)]) is not None:
        raise _refusal(case, code)
    return _outcome(case, value)


def accept(
    connection: Connection, act: SignedAct, at: int, place: Place, zones: ZoneRules
) -> tuple[Accepted, Connection]:
    """The event that states the acceptance of `act` as the entry at `place`, and the state after. Raises Refused."""
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
    """The events by which `act` is accepted at `at` (ms), or a millisecond later where the delivery relies on a mute
    being over, which is stated first (AUD-1); the acceptance is the last of them. And the state after. Raises
    Refused."""
    over = None
    if isinstance(act.payload, Message):
        over = relied_on(connection, connection.side_of(act.payload.iss), act.payload.purpose, at, place)
    if over is None:
        event, after = accept(connection, act, at, place, zones)
        return (event,), after
    event, after = accept(fold(connection, Record(over)), act, at + 1, place.next(), zones)
    if event.outcome == "delivered":
        return (over, event), after
    event, after = accept(connection, act, at + 1, place, zones)
    return (event,), after


def relied_on(connection: Connection, sender: Side | None, purpose: str, at: int, place: Place) -> MuteOver | None:
    """The event at `at` (ms) that a delivery of `sender` for `purpose` needs before it: the other side's mute of
    everything is over, and the log does not say so yet (AUD-1). None where it needs none."""
    if sender is None or purpose in EXEMPT_PURPOSES:
        return None
    door = connection.door(other(sender))
    by = over_by(door, at)
    if by is None:
        return None
    assert door.settings.standing is not None
    about = {"iss": connection.home, "cid": connection.cid, "act": door.settings.standing.id, "by": by, "at": at}
    return MuteOver.model_validate({"event": "mute_over", **about, **place.members})


def _as_of(connection: Connection, zones: ZoneRules) -> dict[str, str]:
    """What an event says of the state before it (EVENT-7)."""
    return {"first": connection.first.head, "second": connection.second.head, "zones": zones.version}


def _check_party(connection: Connection, side: Side, act: SignedAct) -> None:
    door, across = connection.door(side), connection.door(other(side))
    if act.chain == "settings":
        addressed = act.payload.aud == connection.home
    else:
        # A "no" composed before the other side took a new name still reaches it (CONN-17).
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


def _check_times(payload: Any, at: int) -> None:
    """The act's own times: an end in the past would make it say nothing, one far ahead is a slip, and what happened has
    happened (CONN-8)."""
    member, code = _ENDS.get(payload.act, ("", ""))
    end = getattr(payload, member) if member else None
    if end is not None and end * 1000 <= at:
        raise Refused(code)
    if payload.act == "grant" and payload.exp * 1000 > at + LONGEST_GRANT * 1000:
        raise Refused("grant_expired", "a grant ends within ten years")
    if payload.act != "milestone":
        return
    if payload.when * 1000 > at + MOST_AHEAD * 1000:
        raise Malformed("what is to come is no milestone yet", errors=(("/when", "must not be in the future"),))
    if payload.lasts is not None and payload.lasts < payload.when:
        raise Malformed("it ends before it happened", errors=(("/lasts", "must not be before `when`"),))


LONGEST_GRANT = 3653 * DAY
"""Seconds from now within which a grant ends: ten years (CONN-8)."""
MOST_AHEAD = DAY
"""Seconds by which a milestone may lie ahead: a day is named without a zone, and begins in the east first (CONN-8)."""
_ENDS: Mapping[str, tuple[str, str]] = {
    "grant": ("exp", "grant_expired"),
    "mute": ("until", "until_passed"),
    "mute_end": ("until", "until_passed"),
    "message": ("exp", "message_expired"),
    "ask": ("by", "by_passed"),
}


def _refusal(case: Case, code: str) -> Refused:
    """The refusal, with the end of "not now" where the other side shows it, and those of a budget and of the limit of
    exempt deliveries."""
    if case.payload.act != "message" or code not in ("not_now", "over_budget", "exempt_limit"):
        return Refused(code)
    told = verdict_on(case, case.payload.purpose, "app", case.payload.topic).outward()
    if told.ends_at is None:
        return Refused(code)
    retry_after = -(-(told.ends_at - case.at) // 1000) if code == "exempt_limit" else None
    return Refused(code, until=-(-told.ends_at // 1000), retry_after=retry_after)


def _outcome(case: Case, value: str) -> Outcome:
    payload = case.payload
    if payload.act == "contacted":
        told = verdict_on(case, payload.purpose, payload.channel, payload.topic).outward()
        return Outcome(contents=contents_of(payload), verdict=told.reason)
    if payload.act != "message":
        return Outcome()
    contents = contents_of(payload)
    if value != "hold":
        return Outcome("delivered" if value == "allow" else "dropped", contents)
    return Outcome("held", contents, replaced(case.connection.door(case.side).held, payload))


# --- time ----------------------------------------------------------------------------------------------------------


def release(
    connection: Connection, at: int, place: Place, zones: ZoneRules
) -> tuple[tuple[MuteOver | Delivered | Expired, ...], Connection]:
    """The events that let held messages go at `at` (ms) or state that they expired, and the state after them.

    Each message is decided again, in the order in which they came, a millisecond after the one before it (CONN-12);
    those delivered take the entries from `place` on. Before one that relies on a mute being over, that is stated
    (AUD-1).
    """
    events, state = list[MuteOver | Delivered | Expired](), connection
    for side in SIDES:
        for held in connection.door(side).held:
            for event in _let_go_next(state, side, held, max(at, state.at + 1), place, zones):
                events.append(event)
                place = Place(place.log, place.index + event.places)
                state = fold(state, Record(event))
    return tuple(events), state


def _let_go_next(
    state: Connection, side: Side, held: Held, at: int, place: Place, zones: ZoneRules
) -> tuple[MuteOver | Delivered | Expired, ...]:
    """What becomes of a waiting message at `at` (ms), or a millisecond later where a mute has to be over first."""
    over = relied_on(state, side, held.purpose, at, place)
    if over is not None:
        event = _let_go(fold(state, Record(over)), side, held, at + 1, place.next(), zones)
        if isinstance(event, Delivered):
            return over, event
        at += 1
    event = _let_go(state, side, held, at, place, zones)
    return () if event is None else (event,)


def _let_go(
    state: Connection, side: Side, held: Held, at: int, place: Place, zones: ZoneRules
) -> Delivered | Expired | None:
    about = {"iss": state.home, "cid": state.cid, "act": held.id, "side": side, "at": at, "as_of": _as_of(state, zones)}
    verdict = gate.may(state, side, held.purpose, "app", held.topic, at, zones)
    # What may no longer be said at all does not wait for its own end.
    if held.exp * 1000 <= at or verdict.decision == "refuse":
        return Expired.model_validate({"event": "expired", **about, **place.members})
    if verdict.decision == "hold":
        return None
    return Delivered.model_validate({"event": "delivered", **about, **place.members})


def expire(
    connection: Connection, side: Side, act: str, at: int, place: Place, zones: ZoneRules
) -> tuple[Expired, Connection]:
    """The event that states at `at` (ms) that a waiting message of `side` will not come, and the state after it;
    `place` is the log's next."""
    about = {"iss": connection.home, "cid": connection.cid, "act": act, "side": side, "at": at}
    event = Expired.model_validate({"event": "expired", **about, **place.members, "as_of": _as_of(connection, zones)})
    return event, fold(connection, Record(event))


def due(connection: Connection, now: int, zones: ZoneRules) -> int | None:
    """When (ms, perhaps already past) `release` has something to do next; None while nothing waits (CONN-12)."""
    moments = []
    for side in SIDES:
        for held in connection.door(side).held:
            verdict = gate.may(connection, side, held.purpose, "app", held.topic, now, zones)
            moments.append(held.exp * 1000)
            if verdict.decision != "hold":
                moments.append(now)
            ends = [verdict.ends_at, gate.granted_until(connection, side, held.purpose, "app", now)]
            ends += [gate.granted_until(connection, side, contest.as_, "app", now) for contest in verdict.contest]
            # Contests of other purposes too, since deliveries count as what they were contested as.
            contests = connection.door(other(side)).contests
            ends += [contest.until * 1000 for contest in contests if contest.until * 1000 > now]
            moments.extend(end for end in ends if end is not None)
    return min(moments, default=None)
