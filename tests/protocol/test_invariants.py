"""What holds whatever the two do: sequences of acts that hypothesis makes up, signed and folded for real."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from comity.documents.acts import SETTINGS, SignedAct, open_act
from comity.documents.events import Accepted, Delivered, Expired, Place
from comity.documents.types import EXEMPT_PURPOSES, PERIODS, SIDES, Side, other
from comity.errors import Contradiction, Refused
from comity.rules import decide, favours, gate, guards
from comity.rules.fold import Record, fold
from comity.rules.gate import Verdict
from comity.rules.next_act import blind_revoke
from comity.rules.state import Connection, Door, decode_state, encode_state, public_state
from support.parties import (
    DAY,
    HOUR,
    LOG,
    MINUTE,
    SECOND,
    START,
    ZONES,
    Pair,
    connected,
    keys_of,
    pairwise,
)
from support.parties import public as public_signer

# --- sequences of acts

PURPOSES = ("care", "care.checkin", "sales", "favour", "safety", "renewal", "complaint")
TOPICS = (None, "windows", "doors")
CHANNELS = ("app", "phone")

sides = st.sampled_from(SIDES)
steps_in_time = st.sampled_from([1, SECOND, 7 * MINUTE, HOUR, 5 * HOUR, DAY, 3 * DAY, 8 * DAY])
periods = st.fixed_dictionaries({"max": st.integers(0, 2), "per": st.sampled_from(["day", "week"])})
purposes = st.lists(st.sampled_from(PURPOSES), min_size=1, max_size=3, unique=True).map(tuple)
channels = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=2, unique=True).map(tuple)
lasting = st.sampled_from([30 * DAY, 4 * DAY, DAY, HOUR, 2 * SECOND])
window = st.fixed_dictionaries(
    {
        "days": st.lists(st.sampled_from(["mo", "tu", "we", "sa"]), min_size=1, max_size=3, unique=True).map(tuple),
        "start": st.sampled_from(["00:00", "09:00", "21:00"]),
        "end": st.sampled_from(["02:00", "17:00", "24:00"]),
    }
)

# `which` and `lasts` stand for an id of the state and a time from now, known only when the step is taken.
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "grant": {"purposes": purposes, "channels": channels, "budget": st.none() | periods, "exp": lasting},
    "withdraw": {"grant": st.integers(0, 3)},
    "mute": {"purposes": st.none() | purposes, "channels": st.none() | channels, "until": st.none() | lasting},
    "unmute": {"mute": st.none() | st.integers(0, 3)},
    "message": {
        "purpose": st.sampled_from(PURPOSES),
        "topic": st.sampled_from(TOPICS),
        "if_muted": st.sampled_from(["hold", "hold", "drop", "fail"]),
        "exp": lasting,
    },
    "contacted": {"purpose": st.sampled_from(PURPOSES), "channel": st.sampled_from(["phone", "post"])},
    "ask": {"kind": st.sampled_from(["hold", "renewal"]), "by": st.none() | lasting},
    "answer": {"ask": st.none(), "answer": st.sampled_from(["yes", "no", "not_now"])},
    "done": {"ask": st.none()},
    "thank": {"ask": st.none()},
    "remember": {
        "key": st.sampled_from(["language", "no_interest"]),
        "topic": st.sampled_from([topic for topic in TOPICS if topic is not None]),
    },
    "forget": {"key": st.sampled_from(["language", "no_interest"]), "topic": st.sampled_from(TOPICS)},
    "milestone": {
        "kind": st.sampled_from(["bought", "installed", "serviced"]),
        "topic": st.sampled_from(["windows", "doors"]),
        "lasts": st.none() | lasting,
    },
    "rotate": {},
    "hours": {
        "zone": st.sampled_from(["Europe/Berlin", "Pacific/Apia"]),
        "windows": st.lists(window, max_size=2).map(tuple),
        "shown": st.sampled_from(["not_now", "end"]),
    },
    "budget": {"messages": st.none() | periods, "asks": st.none() | periods},
    "mailbox": {"box": st.sampled_from([None, pairwise("box")])},
    "mute_end": {"mute": st.integers(0, 3), "until": lasting},
}
TIMES = {"exp", "until", "by", "lasts"}


@dataclass
class Step:
    """One thing that a side tries, `after` ms later than what came before."""

    kind: str
    side: Side
    after: int
    fields: dict[str, Any] = field(default_factory=dict)


def steps(*kinds: str, by: st.SearchStrategy[Side] = sides) -> st.SearchStrategy[Step]:
    def one(kind: str) -> st.SearchStrategy[Step]:
        return st.builds(Step, st.just(kind), by, steps_in_time, st.fixed_dictionaries(FIELDS[kind]))

    return st.sampled_from(kinds).flatmap(one)


anything = steps(*FIELDS)
soon = st.sampled_from([1, SECOND, 7 * MINUTE, HOUR])


@st.composite
def scenes(draw: st.DrawFn) -> list[Step]:
    """A few steps that make sense together, or a single one that need not: what hypothesis alone finds too rarely."""
    kind = draw(st.sampled_from(["any", "any", "any", "grant", "wait", "wait", "sleep", "limit", "favour", "back"]))
    side = draw(sides)

    def step(what: str, who: Side, /, **fixed: Any) -> Step:
        given = {name: draw(strategy) for name, strategy in FIELDS[what].items() if name not in fixed}
        return Step(what, who, draw(soon), {**given, **fixed})

    def message() -> Step:
        return step("message", other(side), purpose=draw(st.sampled_from(["care", "sales"])), if_muted="hold")

    if kind == "grant":
        return [step("grant", side)]
    if kind == "back":
        return [step("mute", side), step("unmute", side, mute=None)]
    if kind == "wait":
        ends = [step("mute_end", side, mute=0)] if draw(st.booleans()) else []
        return [step("mute", side), *ends, *(message() for _ in range(draw(st.integers(1, 3))))]
    if kind == "sleep":
        return [step("hours", side), message(), message()]
    if kind == "limit":
        return [step("budget", side), message(), message(), message()]
    if kind == "favour":
        asked = [step("ask", other(side), by=draw(st.none() | st.just(4 * DAY))), step("answer", side)]
        return [*asked, step("done", side), step("thank", other(side))][: draw(st.integers(1, 4))]
    return [draw(anything)]


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """What the two let each other do to begin with, then scenes."""
    begin = [
        Step("grant", side, 1, {"purposes": ("care", "sales", "favour"), "channels": CHANNELS, "exp": draw(lasting)})
        for side in draw(st.sampled_from([(), ("second",), SIDES, SIDES]))
    ]
    return [*begin, *(step for scene in draw(st.lists(scenes(), min_size=1, max_size=7)) for step in scene)]


story = stories()
several = st.lists(scenes(), min_size=1, max_size=5).map(lambda parts: [step for scene in parts for step in scene])


def resolved(pair: Pair, step: Step, at: int) -> dict[str, Any]:
    """The fields with ids and times filled in from the state."""
    fields = dict(step.fields)
    for name in TIMES & fields.keys():
        if fields[name] is not None:
            fields[name] = -(-(at + fields[name]) // 1000)
    door, across = pair.state.door(step.side), pair.state.door(other(step.side))

    def pick(ids: list[str], number: int) -> str:
        return ids[number % len(ids)] if ids else pair.state.cid

    if step.kind == "withdraw":
        fields["grant"] = pick([grant.id for grant in door.grants], fields["grant"])
    elif step.kind in ("unmute", "mute_end") and fields["mute"] is not None:
        fields["mute"] = pick([mute.id for mute in door.mutes], fields["mute"])
    elif step.kind in ("answer", "done", "thank"):
        ask = (door if step.kind == "thank" else across).ask
        fields["ask"] = ask.id if ask is not None else pair.state.cid
    elif step.kind == "grant":
        # In the order of the model, so that no budget means no member.
        fields = {name: value for name, value in fields.items() if value is not None}
    return fields


def attempt(pair: Pair, step: Step) -> str | None:
    """Try the step as a party would; the code of the refusal, or None."""
    at = pair.state.at + step.after
    before = pair.state
    try:
        if step.kind == "rotate":
            held = pair.signers[step.side]
            name = f"{step.side} {pair.state.door(step.side).seq}"
            new = pairwise(name) if held.kid.startswith("did:key:") else public_signer(held.did, f"k{len(name)}-{at}")
            pair.rotate(step.side, new, at)
        else:
            pair.go(step.kind, step.side, at, **resolved(pair, step, at))
    except Refused as refusal:
        assert pair.state.first.seq == before.first.seq
        assert pair.state.second.seq == before.second.seq
        return refusal.code
    return None


def told(parts: list[Step], pair: Pair | None = None) -> Pair:
    """A connection with this history."""
    pair = pair or connected()
    for part in parts:
        attempt(pair, part)
    return pair


def verdicts(state: Connection, sender: Side, at: int) -> dict[tuple[str, str, str | None], Verdict]:
    return {
        (purpose, channel, topic): gate.may(state, sender, purpose, channel, topic, at, ZONES)
        for purpose in PURPOSES
        for channel in CHANNELS
        for topic in TOPICS
    }


# --- revoke


@given(story, sides, steps_in_time, st.lists(anything, max_size=10))
@settings(max_examples=60)
def test_after_a_revoke_nothing_is_accepted_said_or_delivered_ever_again(
    before: list[Step], revoker: Side, pause: int, after: list[Step]
) -> None:
    pair = told(before)
    pair.go("revoke", revoker, pair.state.at + pause)
    ended = pair.state
    assert ended.phase == "ended"
    assert decide.next_release_at(ended, ended.at + 1, ZONES) is None
    assert decide.release_held(ended, ended.at + 99 * DAY, Place(LOG, 0), ZONES) == ((), ended)
    for step in after:
        assert attempt(pair, step) == "connection_ended"
    for side in SIDES:
        pair.refused("revoke", side, ended.at + 1)
        for verdict in verdicts(ended, side, ended.at + pause).values():
            assert (verdict.decision, verdict.reason) == ("refuse", "ended")
    assert pair.state == ended


# --- widening


@given(story, several, sides)
@settings(max_examples=100)
def test_nobody_widens_what_the_other_let_in(before: list[Step], then: list[Step], sender: Side) -> None:
    """Whatever one side does alone, it is not let in where time alone would not have let it in."""
    pair = told(before)
    assume(pair.state.phase == "open")
    still = pair.state
    for step in then:
        attempt(pair, Step(step.kind, sender, step.after, step.fields))
        now = pair.state.at + 1
        alone, acted = verdicts(still, sender, now), verdicts(pair.state, sender, now)
        for question, verdict in alone.items():
            if verdict.decision != "allow":
                assert acted[question].decision != "allow", (question, verdict, acted[question])


@given(story, several, sides)
@settings(max_examples=60)
def test_nobody_shortens_the_wait_between_asks_by_himself(before: list[Step], then: list[Step], asker: Side) -> None:
    pair = told(before)
    still = pair.state
    for step in then:
        attempt(pair, Step(step.kind, asker, step.after, step.fields))
        now = pair.state.at + 1
        if favours.ask_obstacle(still, asker, now) != "free":
            assert favours.ask_obstacle(pair.state, asker, now) != "free"
        assert favours.has_asks_left(still, asker, now) or not favours.has_asks_left(pair.state, asker, now)


# --- narrowing


@given(story, sides, st.sampled_from([0, DAY, -DAY, 400 * DAY, -400 * DAY]))
@settings(max_examples=60)
def test_either_side_can_always_say_no_whatever_its_clock_says(before: list[Step], side: Side, off: int) -> None:
    pair = told(before)
    at = pair.state.at + 1
    for grant in pair.state.door(side).grants:
        at += 1
        pair.go("withdraw", side, at, grant=grant.id, iat=max(0, at + off) // 1000)
    assert pair.state.door(side).grants == ()
    pair.go("mute", side, at + 1, iat=max(0, at + off) // 1000)
    for purpose in set(PURPOSES) - EXEMPT_PURPOSES:
        assert pair.may(other(side), purpose, at + 2).decision != "allow"
    pair.go("revoke", side, at + 2, iat=max(0, at + off) // 1000)
    assert pair.state.phase == "ended"


@given(story, sides)
@settings(max_examples=30)
def test_a_wallet_that_knows_nothing_but_the_agreement_can_revoke(before: list[Step], side: Side) -> None:
    pair = told([step for step in before if not (step.kind == "rotate" and step.side == side)])
    began = pair.agreement.agreement.party(other(side)).did
    act = blind_revoke(pair.state.cid, began, START // 1000, pair.signers[side])
    pair.send(open_act(act.raw, keys_of(pair.signers[side])), pair.state.at + 1)
    assert pair.state.phase == "ended"


def test_even_with_all_places_for_mutes_taken_a_mute_of_everything_has_room() -> None:
    pair = connected()
    for number in range(guards.MOST_MUTES):
        pair.go("mute", "second", START + 1 + number, purposes=(f"p{number}",))
    assert pair.refused("mute", "second", START + HOUR, purposes=("one_more",)).code == "too_many_mutes"
    pair.go("mute", "second", START + HOUR, purposes=("p3",), until=(START + DAY) // 1000)
    pair.go("mute", "second", START + HOUR + 1)
    assert pair.may("first", "renewal", START + 2 * HOUR).reason == "muted"


# --- what the other side can see


@given(story, st.lists(steps(*SETTINGS), min_size=1, max_size=6))
@settings(max_examples=60)
def test_settings_change_nothing_that_the_other_side_sees(before: list[Step], then: list[Step]) -> None:
    pair = told(before)
    for step in then:
        seen, views = public_state(pair.state), {side: public_state(pair.seen_by(side)) for side in SIDES}
        records = len(pair.records)
        # As the server does, what is due is let go first; that is no work of the setting.
        pair.release(pair.state.at + step.after)
        if len(pair.records) > records:
            continue
        attempt(pair, step)
        assert public_state(pair.state) == seen
        assert {side: public_state(pair.seen_by(side)) for side in SIDES} == views
        assert pair.seen_by(other(step.side)).door(step.side).settings.head == ""


@given(story)
@settings(max_examples=100)
def test_both_sides_work_out_the_public_state_that_the_server_has(before: list[Step]) -> None:
    """Without the other's settings, and without the messages that wait or were dropped."""
    pair = told(before)
    for side in SIDES:
        view = pair.seen_by(side)
        assert public_state(view) == public_state(pair.state)
        assert view.door(side).settings == pair.state.door(side).settings


@given(story)
@settings(max_examples=60)
def test_a_state_is_stored_and_read_back_as_it_was(before: list[Step]) -> None:
    state = told(before).state
    assert decode_state(encode_state(state)) == state
    assert "settings" not in str(public_state(state))


@given(story)
@settings(max_examples=60)
def test_time_runs_strictly_forward_and_every_number_is_given_once(before: list[Step]) -> None:
    pair = told(before)
    times = [record.event.at for record in pair.records]
    assert times == sorted(set(times))
    accepted = [record.event for record in pair.records if isinstance(record.event, Accepted)]
    entries: list[tuple[str, int]] = []
    for record in pair.records:
        event = record.event
        if isinstance(event, Accepted | Delivered):
            # A message that is delivered at once has its delivery as the next entry.
            taken = event.places if isinstance(event, Accepted) else 1
            entries.extend((event.log, event.index + further) for further in range(taken))
    assert entries == [(LOG, index) for index in range(pair.index)]
    delivered = sum(isinstance(it.event, Delivered) for it in pair.records)
    assert pair.index == len(accepted) + delivered + sum(event.outcome == "delivered" for event in accepted)
    for side in SIDES:
        for chain in ("acts", "settings"):
            places = [event.seq for event in accepted if event.side == side and event.chain == chain]
            assert places == list(range(len(places)))


@given(story)
@settings(max_examples=40)
def test_a_record_that_cannot_follow_is_noticed(before: list[Step]) -> None:
    """Left out, told twice, or told in another order: the reader raises."""
    pair = told(before)
    records = pair.records[1:]
    assume(len(records) > 1)
    opened = pair.records[0].event
    for place in range(min(len(records) - 1, 8)):
        for changed in (
            records[: place + 1] + records[place:],
            [*records[:place], records[place + 1], records[place], *records[place + 2 :]],
        ):
            state = connection_of(pair)
            assert opened.at == state.at
            with pytest.raises(Contradiction):
                for record in changed:
                    state = fold(state, record)


def connection_of(pair: Pair) -> Connection:
    fresh = connected().state
    assert fresh.cid == pair.state.cid
    return fresh


# --- the order between the chains

DOOR_KINDS = ("grant", "withdraw", "mute", "unmute", "remember", "forget", "milestone", "budget", "hours", "mute_end")


@given(
    st.lists(steps(*DOOR_KINDS, by=st.just("first")), max_size=6),
    st.lists(steps(*DOOR_KINDS, by=st.just("second")), max_size=6),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_the_rules_do_not_depend_on_the_order_between_the_chains(
    firsts: list[Step], seconds: list[Step], shuffled: Any
) -> None:
    """Each side's acts, signed once, accepted in two different orders within a second: the same doors."""

    def acts_of(parts: list[Step]) -> list[SignedAct]:
        alone = connected()
        for part in parts:
            attempt(alone, Step(part.kind, part.side, 1, part.fields))
        return [record.act for record in alone.records if record.act is not None]

    chains = [acts_of(firsts), acts_of(seconds)]

    def merged(order: list[int]) -> Connection:
        pair, left = connected(), [list(chain) for chain in chains]
        for chain in order:
            pair.send(left[chain].pop(0), pair.state.at + 1)
        return pair.state

    order = [0] * len(chains[0]) + [1] * len(chains[1])
    one = merged(order)
    shuffled.shuffle(order)
    two = merged(order)
    for side in SIDES:
        assert one.door(side) == two.door(side)
        # Two seconds on, what was about to end within the first has ended in both.
        assert_same_verdicts(verdicts(one, side, START + 3 * SECOND), verdicts(two, side, START + 3 * SECOND))


def assert_same_verdicts(one: dict[Any, Verdict], two: dict[Any, Verdict]) -> None:
    assert one == two


# --- time


@given(story, st.lists(st.integers(0, 15), min_size=3, max_size=3))
@settings(max_examples=120)
def test_nothing_is_let_go_before_it_is_due_and_something_is_when_it_is(before: list[Step], looks: list[int]) -> None:
    pair = told(before)
    now = pair.state.at + 1
    for _ in range(60):
        due = decide.next_release_at(pair.state, now, ZONES)
        if due is None:
            assert not pair.state.first.held and not pair.state.second.held
            return
        for moment in (due - 1, *(now + (due - now) * look // 16 for look in looks)):
            if now <= moment < due:
                assert decide.release_held(pair.state, moment, Place(LOG, pair.index), ZONES) == ((), pair.state), (
                    moment,
                    due,
                )
        now = max(due, now)
        waiting, was = len(pair.state.first.held) + len(pair.state.second.held), pair.state
        events = pair.release(now)
        check_released(was, events, now)
        left = len(pair.state.first.held) + len(pair.state.second.held)
        assert left == waiting - len(events)
        for side in SIDES:
            assert all(held.exp * 1000 > now for held in pair.state.door(side).held)
        again = decide.next_release_at(pair.state, now, ZONES)
        # What stays waits for a later moment: a timer that is set to it does not spin.
        assert again is None or again > now
    raise AssertionError("something waits for ever")


def check_released(state: Connection, events: tuple[Any, ...], now: int) -> None:
    """Each delivery was allowed at its moment, and found room in every limit, counted here by hand."""
    for event in events:
        assert event.at >= now
        held = next(held for held in state.door(event.side).held if held.id == event.act)
        verdict = gate.may(state, event.side, held.purpose, "app", held.topic, event.at, ZONES)
        if isinstance(event, Delivered):
            assert verdict.decision == "allow"
            assert held.exp * 1000 > event.at
            own = state.door(other(event.side)).settings.messages
            if own is not None:
                assert delivered_within(state.door(event.side), own.seconds, event.at) < own.max
        else:
            assert isinstance(event, Expired)
            assert held.exp * 1000 <= event.at or verdict.decision == "refuse"
        state = fold(state, Record(event))


def delivered_within(door: Door, seconds: int, now: int) -> int:
    return sum(1 for it in door.sent if it.at > now - seconds * 1000 and it.purpose not in EXEMPT_PURPOSES)


@given(story)
@settings(max_examples=60)
def test_no_limit_is_ever_passed_by_messages(before: list[Step]) -> None:
    """Played again from its records: at every delivery of a message there was room in the receiver's own limit."""
    pair = told(before)
    state = connection_of(pair)
    for event, act in pair.records[1:]:
        arrives = isinstance(event, Delivered) or (isinstance(event, Accepted) and event.outcome == "delivered")
        if arrives and not isinstance(event, Expired):
            assert isinstance(event, Accepted | Delivered)
            own = state.door(other(event.side)).settings.messages
            purpose = (
                next(it.purpose for it in state.door(event.side).held if it.id == event.act)
                if isinstance(event, Delivered)
                else event.contents.purpose
                if event.contents
                else ""
            )
            if own is not None and purpose not in EXEMPT_PURPOSES:
                assert own.seconds in PERIODS.values()
                assert delivered_within(state.door(event.side), own.seconds, event.at) < own.max
        state = fold(state, Record(event, act))
    assert state == pair.state


@given(story, sides)
@settings(max_examples=60)
def test_the_senders_verdict_fits_the_state_and_says_no_more(before: list[Step], sender: Side) -> None:
    pair = told(before)
    now = pair.state.at + 1
    for verdict in verdicts(pair.state, sender, now).values():
        outward = verdict.outward()
        assert outward.decision == verdict.decision == gate.REASONS[outward.reason]
        assert outward.reason not in gate.PRIVATE_REASONS
        assert now < verdict.valid_until <= now + gate.FRESH_FOR
        assert outward.ends_at is None or verdict.end_shown
        if verdict.decision == "hold" and verdict.ends_at is not None:
            assert verdict.ends_at > now
