"""Messages that wait: until when, what becomes of them, and what they cost."""

from typing import Any

import pytest

from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, Delivered, Event, Expired, Place
from comity.documents.types import SIDES
from comity.errors import Contradiction, Refused
from comity.rules import decide
from comity.rules.fold import Record, fold
from comity.rules.guards import MOST_HELD
from support.parties import DAY, HOUR, LOG, MINUTE, START, ZONES, Pair, connected, granted, instant, pairwise

NOON = START + HOUR


def muted(*purposes: str, **mute: Any) -> Pair:
    pair = granted(*(purposes or ("care", "sales")))
    pair.go("mute", "second", START + 9, **mute)
    return pair


def write(pair: Pair, at: int = NOON, **fields: Any) -> SignedAct:
    return pair.go("message", "first", at, **{"purpose": "care", **fields})


def outcome(pair: Pair) -> str | None:
    event = pair.records[-1].event
    assert isinstance(event, Accepted)
    return event.outcome


def kinds(events: tuple[Event, ...]) -> list[str]:
    return [event.event for event in events]


def test_a_message_that_may_come_arrives_at_once() -> None:
    pair = granted("care")
    write(pair)
    assert outcome(pair) == "delivered"
    assert [delivery.at for delivery in pair.state.first.sent] == [NOON]
    assert pair.due(NOON + 1) is None


@pytest.mark.parametrize(("if_muted", "what"), [("hold", "held"), ("drop", "dropped")])
def test_to_a_muted_side_a_message_waits_or_is_dropped_as_its_sender_chose(if_muted: str, what: str) -> None:
    pair = muted()
    write(pair, if_muted=if_muted)
    assert outcome(pair) == what
    assert pair.state.first.sent == ()
    assert len(pair.state.first.held) == (if_muted == "hold")


def test_a_message_that_must_not_wait_is_refused_and_says_when_only_if_that_is_shown() -> None:
    assert muted().refused("message", "first", NOON, purpose="care", if_muted="fail").until is None
    end = (NOON + DAY) // 1000
    shown = muted(until=end).refused("message", "first", NOON, purpose="care", if_muted="fail")
    assert (shown.code, shown.until) == ("not_now", end)


def test_a_dropped_message_never_arrives() -> None:
    pair = muted(until=(NOON + DAY) // 1000)
    write(pair, if_muted="drop")
    assert pair.due(NOON + 1) is None
    assert pair.release(NOON + 2 * DAY) == ()


def test_when_a_mute_ends_what_waited_arrives_in_the_order_in_which_it_came() -> None:
    end = NOON + DAY
    pair = muted(until=end // 1000)
    waiting = [write(pair, NOON + minute * MINUTE).id for minute in range(3)]
    assert pair.due(NOON + HOUR) == end
    assert pair.release(end - 1) == ()
    events = pair.release(end)
    # That the mute is over is stated once, in the very millisecond, and before what relies on it (AUD-1).
    assert kinds(events) == ["mute_over"] + ["delivered"] * 3
    assert [event.act for event in events if isinstance(event, Delivered)] == waiting
    assert [event.at for event in events] == [end, end + 1, end + 2, end + 3]
    assert [delivery.at for delivery in pair.state.first.sent] == [end + 1, end + 2, end + 3]
    assert pair.due(end + 9) is None


def test_a_hidden_end_lets_go_just_as_well() -> None:
    pair = muted()
    write(pair)
    assert pair.due(NOON + 1) == NOON + 3 * DAY
    pair.go("mute_end", "second", NOON + 2, mute=pair.state.second.mutes[0].id, until=(NOON + DAY) // 1000)
    assert pair.due(NOON + 3) == NOON + DAY
    assert kinds(pair.release(NOON + DAY)) == ["mute_over", "delivered"]


def test_taking_a_mute_back_makes_what_waits_due_at_once() -> None:
    pair = muted()
    write(pair)
    pair.go("unmute", "second", NOON + HOUR)
    assert pair.due(NOON + HOUR + 1) == NOON + HOUR + 1
    assert kinds(pair.release(NOON + HOUR + 1)) == ["delivered"]


def test_after_the_mute_come_the_hours_and_only_then_the_message() -> None:
    evening = instant("Europe/Berlin", 2024, 6, 18, 20, 0)
    pair = muted(until=evening // 1000)
    pair.go("hours", "second", START + 10, windows=({"days": ("we",), "start": "09:00", "end": "17:00"},))
    write(pair)
    assert pair.due(NOON + 1) == evening
    assert pair.release(evening) == ()
    morning = instant("Europe/Berlin", 2024, 6, 19, 9, 0)
    assert pair.due(evening) == morning
    assert kinds(pair.release(morning)) == ["mute_over", "delivered"]


def test_a_message_that_waits_for_a_window_two_weeks_away_arrives_in_it() -> None:
    """The only window of the week falls into the hour that the spring takes away; the week after, it opens."""
    begin = instant("Europe/Berlin", 2024, 3, 24, 3, 0)
    pair = granted("care", at=begin)
    pair.go("hours", "second", begin + 9, windows=({"days": ("su",), "start": "02:10", "end": "02:50"},))
    write(pair, begin + HOUR, exp=(begin + 20 * DAY) // 1000)
    opens = instant("Europe/Berlin", 2024, 4, 7, 2, 10)
    assert pair.due(begin + 2 * HOUR) == opens
    assert kinds(pair.release(opens)) == ["delivered"]


def test_waiting_costs_no_budget_and_arriving_does_in_its_own_period() -> None:
    pair = granted("care", budget={"max": 1, "per": "day"})
    pair.go("mute", "second", START + 9, until=(NOON + 2 * DAY) // 1000)
    for minute in range(3):
        write(pair, NOON + minute, exp=(NOON + 30 * DAY) // 1000)
    assert pair.may("first", "care", NOON + HOUR).reason == "muted"
    end = NOON + 2 * DAY
    assert kinds(pair.release(end)) == ["mute_over", "delivered"]
    assert pair.due(end + 2) == end + 1 + DAY
    assert kinds(pair.release(end + 1 + DAY)) == ["delivered"]
    assert kinds(pair.release(end + 1 + 2 * DAY)) == ["delivered"]
    assert pair.due(end + 2 * DAY + 1) is None


def test_over_the_grant_s_budget_it_waits_is_dropped_or_told_so() -> None:
    def spent() -> Pair:
        pair = granted("care", budget={"max": 1, "per": "day"})
        write(pair)
        return pair

    held = spent()
    write(held, NOON + 1)
    assert outcome(held) == "held"
    assert held.due(NOON + 2) == NOON + DAY
    dropped = spent()
    write(dropped, NOON + 1, if_muted="drop")
    assert outcome(dropped) == "dropped"
    assert spent().refused("message", "first", NOON + 1, purpose="care", if_muted="fail").code == "over_budget"


def test_a_message_expires_rather_than_arrive_late() -> None:
    pair = muted(until=(NOON + 2 * DAY) // 1000)
    early, late = write(pair, exp=(NOON + DAY) // 1000), write(pair, NOON + 1, exp=(NOON + 3 * DAY) // 1000)
    assert pair.due(NOON + 2) == NOON + DAY
    events = pair.release(NOON + DAY)
    assert [(event.event, event.act) for event in events if isinstance(event, Expired)] == [("expired", early.id)]
    assert [held.id for held in pair.state.first.held] == [late.id]


def test_a_hold_that_ends_when_the_message_expires_does_not_deliver_it() -> None:
    end = NOON + DAY
    pair = muted(until=end // 1000)
    write(pair, exp=end // 1000)
    assert kinds(pair.release(end)) == ["expired"]


def test_release_decides_again() -> None:
    """A mute in between, a grant taken back, something bought: what may not come any more does not."""
    end = NOON + DAY
    again = muted(until=end // 1000)
    write(again)
    again.go("mute", "second", NOON + 1, purposes=("care",))
    assert again.release(end) == ()
    assert len(again.state.first.held) == 1

    taken = muted("care", until=end // 1000)
    write(taken)
    taken.go("withdraw", "second", NOON + 1, grant=taken.state.second.grants[0].id)
    assert taken.due(NOON + 2) == NOON + 2
    assert kinds(taken.release(NOON + 2)) == ["expired"]

    bought = muted(until=end // 1000)
    write(bought, purpose="sales", topic="windows")
    bought.go("milestone", "second", NOON + 1, topic="windows")
    assert kinds(bought.release(NOON + 2)) == ["expired"]


def test_a_grant_that_ends_before_the_mute_ends_the_waiting_too_and_that_moment_is_due() -> None:
    pair = granted("care", exp=(NOON + DAY) // 1000)
    pair.go("mute", "second", START + 9)
    write(pair, exp=(NOON + 9 * DAY) // 1000)
    assert pair.due(NOON + 1) == NOON + DAY
    assert pair.release(NOON + DAY - 1) == ()
    assert kinds(pair.release(NOON + DAY)) == ["expired"]


def test_with_two_grants_it_waits_until_the_later_one_ends() -> None:
    pair = granted("care", exp=(NOON + DAY) // 1000)
    pair.go("grant", "second", START + 5, purposes=("care.checkin", "care"), exp=(NOON + 2 * DAY) // 1000)
    pair.go("mute", "second", START + 9)
    write(pair, exp=(NOON + 9 * DAY) // 1000)
    assert pair.due(NOON + 1) == NOON + 2 * DAY


def test_a_new_name_of_the_muted_side_ends_what_waits_on_its_grants() -> None:
    pair = muted()
    write(pair)
    pair.rotate("second", pairwise("mia 2"), NOON + 1)
    assert kinds(pair.release(NOON + 2)) == ["expired"]


def test_a_revoke_takes_what_waits_with_it() -> None:
    for side in SIDES:
        pair = muted()
        write(pair)
        pair.go("revoke", side, NOON + 1)
        assert pair.state.first.held == ()
        assert pair.due(NOON + 2) is None
        assert pair.release(NOON + 9 * DAY) == ()


def test_a_newer_message_on_a_topic_takes_the_older_one_s_place() -> None:
    pair = muted()
    older = write(pair, topic="windows")
    write(pair, NOON + 1, topic="doors")
    newer = write(pair, NOON + 2, topic="windows")
    event = pair.records[-1].event
    assert isinstance(event, Accepted)
    assert event.replaces == older.id
    assert newer.id in [held.id for held in pair.state.first.held]
    assert older.id not in [held.id for held in pair.state.first.held]
    # Another purpose, or no topic at all, takes nobody's place.
    write(pair, NOON + 3, purpose="sales", topic="windows")
    write(pair, NOON + 4)
    write(pair, NOON + 5)
    assert len(pair.state.first.held) == 5


def test_twenty_messages_wait_and_the_next_is_refused_unless_it_takes_a_place() -> None:
    pair = muted()
    write(pair, topic="windows")
    for number in range(1, MOST_HELD):
        write(pair, NOON + number)
    assert pair.refused("message", "first", NOON + HOUR, purpose="care").code == "hold_full"
    write(pair, NOON + HOUR, topic="windows")
    assert len(pair.state.first.held) == MOST_HELD
    write(pair, NOON + HOUR + 1, if_muted="drop")
    assert outcome(pair) == "dropped"


def test_both_sides_messages_wait_side_by_side() -> None:
    pair = muted()
    pair.go("grant", "first", START + 20, purposes=("care",))
    pair.go("mute", "first", START + 21, until=(NOON + DAY) // 1000)
    pair.go("message", "second", NOON, purpose="care")
    write(pair, NOON + 1)
    assert kinds(pair.release(NOON + DAY)) == ["mute_over", "delivered"]
    assert (len(pair.state.first.held), len(pair.state.second.held)) == (1, 0)


def test_a_held_message_arrives_before_a_later_act_is_decided() -> None:
    """One a day: the one that waited takes the day's place, and the new one waits in turn."""
    pair = granted("care", budget={"max": 1, "per": "day"})
    pair.go("mute", "second", START + 9, until=(NOON + DAY) // 1000)
    first = write(pair)
    second = write(pair, NOON + DAY + HOUR)
    assert outcome(pair) == "held"
    delivered = [it.event.act for it in pair.records if isinstance(it.event, Delivered)]
    assert delivered == [first.id]
    assert [held.id for held in pair.state.first.held] == [second.id]


def test_a_safety_notice_does_not_wait() -> None:
    pair = muted()
    write(pair, purpose="safety", if_muted="fail")
    assert outcome(pair) == "delivered"


def test_a_contact_by_phone_is_always_recorded_with_the_verdict_that_it_would_have_had() -> None:
    def verdict(pair: Pair, **fields: Any) -> str | None:
        pair.go("contacted", "first", NOON, **{"purpose": "care", **fields})
        event = pair.records[-1].event
        assert isinstance(event, Accepted)
        return event.verdict

    assert verdict(granted("care", channels=("phone",))) == "granted"
    assert verdict(granted("care")) == "no_grant"
    assert verdict(connected()) == "no_grant"
    # The receiving side's mutes and hours are told no more than to any sender.
    closed = granted("care", channels=("phone",))
    closed.go("mute", "second", START + 9)
    assert verdict(closed) == "not_now"
    assert verdict(muted(), purpose="safety") == "exempt"


def test_a_held_message_and_an_outside_contact_use_one_budget() -> None:
    pair = granted("care", channels=("app", "phone"), budget={"max": 1, "per": "day"})
    pair.go("mute", "second", START + 9, until=(NOON + HOUR) // 1000)
    write(pair)
    pair.go("contacted", "first", NOON + HOUR - 1, purpose="care")
    assert pair.release(NOON + HOUR) == ()
    assert pair.due(NOON + HOUR) == NOON + HOUR - 1 + DAY


def test_nothing_can_be_let_go_that_does_not_wait() -> None:
    pair = muted()
    act = write(pair)
    state = pair.state
    pair.go("unmute", "second", NOON + 1)
    (event,) = pair.release(NOON + 2)
    assert isinstance(event, Delivered)
    with pytest.raises(Contradiction):
        fold(pair.state, Record(event.model_copy(update={"at": NOON + 9})))
    assert act.id in [held.id for held in state.first.held]


def test_a_message_that_has_expired_already_is_refused() -> None:
    assert granted("care").refused("message", "first", NOON, purpose="care", exp=NOON // 1000).code == "message_expired"


def test_events_of_a_release_are_later_than_everything_before() -> None:
    """Even when the clock of the server stands still, or goes back."""
    pair = muted(until=(NOON + DAY) // 1000)
    write(pair)
    write(pair, NOON + 1)
    pair.go("unmute", "second", NOON + HOUR)
    events, after = decide.release_held(pair.state, NOON, Place(LOG, pair.index), ZONES)
    assert [event.at for event in events] == [NOON + HOUR + 1, NOON + HOUR + 2]
    assert [(event.log, event.index) for event in events if isinstance(event, Delivered)] == [
        (LOG, pair.index),
        (LOG, pair.index + 1),
    ]
    assert after.at == NOON + HOUR + 2


def test_a_held_message_s_event_that_tells_no_expiry_is_a_contradiction() -> None:
    pair = muted()
    before = pair.state
    act = write(pair)
    event = pair.records[-1].event
    assert isinstance(event, Accepted)
    assert event.contents is not None
    for changes in ({"contents": None}, {"outcome": None}, {"replaces": before.cid}):
        changed = event.model_copy(update=changes)
        with pytest.raises(Contradiction):
            fold(before, Record(changed, act))
    with pytest.raises(Contradiction):
        fold(
            before, Record(event.model_copy(update={"contents": event.contents.model_copy(update={"exp": None})}), act)
        )


def test_an_event_that_tells_other_contents_than_the_message_is_a_contradiction() -> None:
    """A sale that is recorded as a safety notice would count against nothing."""
    pair = granted("care", channels=("app", "phone"))
    before = pair.state
    for act in (write(pair, topic="windows"), pair.go("contacted", "first", NOON + 1, purpose="care")):
        event = pair.records[-1].event if act.kind == "contacted" else pair.records[-2].event
        assert isinstance(event, Accepted)
        assert event.contents is not None
        for changes in ({"purpose": "safety"}, {"topic": "doors"}, {"channel": "post"}, {"exp": 1}):
            changed = event.model_copy(update={"contents": event.contents.model_copy(update=changes)})
            with pytest.raises(Contradiction):
                fold(before, Record(changed, act))
        before = fold(before, Record(event, act))
    with pytest.raises(Refused):
        pair.go("message", "first", NOON + 5, purpose="sales")
