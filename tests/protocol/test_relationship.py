"""What two sides did, told from the acts and the same for both; no score of anybody."""

from comity.documents.events import Accepted
from comity.documents.types import SIDES, Side
from comity.rules.fold import Record
from comity.rules.timeline import Promises, promises, timeline
from support.parties import DAY, HOUR, START, Pair, granted

NOW = START + HOUR


def seen(pair: Pair, side: Side) -> list[Record]:
    """What reaches this side."""
    records = []
    for event, act in pair.records:
        if isinstance(event, Accepted) and event.side != side:
            if event.chain == "settings":
                continue
            if event.outcome in ("held", "dropped"):
                act = None
        records.append(Record(event, act))
    return records


def a_story() -> Pair:
    pair = granted("care", "sales", "favour")
    pair.go("hours", "second", NOW)
    pair.go("message", "first", NOW + 1, purpose="sales", topic="windows")
    pair.go("milestone", "first", NOW + 2, topic="windows")
    pair.go("mute", "second", NOW + 3, until=(NOW + DAY) // 1000)
    pair.go("message", "first", NOW + 4, purpose="care")
    pair.go("contacted", "first", NOW + 5, purpose="care", channel="phone")
    pair.release(NOW + DAY)
    ask = pair.go("ask", "first", NOW + DAY + HOUR)
    pair.go("answer", "second", NOW + DAY + HOUR + 1, ask=ask.id, answer="no")
    return pair


def test_a_story_is_told_in_its_order_with_what_became_of_each_thing() -> None:
    told = [(moment.side, moment.kind, moment.about, moment.outcome) for moment in timeline(a_story().records)]
    assert told == [
        (None, "opened", None, None),
        ("second", "grant", "care, sales, favour by app until 2025-06-18", None),
        ("first", "message", "sales (windows)", "delivered"),
        ("first", "milestone", "bought windows on 2024-06-18", None),
        ("second", "mute", "until 2024-06-19", None),
        ("first", "message", "care", "held"),
        ("first", "contacted", "care by phone", "no_grant"),
        ("first", "delivered", None, None),
        ("first", "ask", "hold (minute)", None),
        ("second", "answer", None, "no"),
    ]


def test_it_is_the_same_for_both_and_settings_are_no_part_of_it() -> None:
    pair = a_story()
    one, two = (timeline(seen(pair, side)) for side in SIDES)
    assert one == two == timeline(pair.records)
    assert "hours" not in [moment.kind for moment in one]


def test_records_in_another_order_tell_the_same_story() -> None:
    pair = a_story()
    assert timeline(reversed(pair.records)) == timeline(pair.records)


def test_a_record_of_a_message_that_did_not_arrive_tells_no_more_than_its_purpose() -> None:
    pair = granted("care")
    pair.go("mute", "second", NOW)
    pair.go("message", "first", NOW + 1, purpose="care", topic="windows", if_muted="drop")
    last = timeline(seen(pair, "second"))[-1]
    assert (last.kind, last.about, last.outcome) == ("message", "care (windows)", "dropped")


def favour(pair: Pair, at: int, asker: Side, answer: str | None, done: bool) -> None:
    doer: Side = "second" if asker == "first" else "first"
    ask = pair.go("ask", asker, at)
    if answer:
        pair.go("answer", doer, at + 1, ask=ask.id, answer=answer)
    if done:
        pair.go("done", doer, at + 2, ask=ask.id)


def test_promises_are_kept_open_or_broken() -> None:
    pair = granted("favour", exp=(START + 900 * DAY) // 1000)
    pair.go("grant", "first", START + 2, purposes=("favour",), exp=(START + 900 * DAY) // 1000)
    favour(pair, NOW, "first", "yes", done=True)
    favour(pair, NOW, "second", "yes", done=False)
    assert promises(pair.state, pair.records, NOW + DAY) == {
        "first": Promises(kept=0, open=1, broken=0),
        "second": Promises(kept=1, open=0, broken=0),
    }
    assert promises(pair.state, pair.records, NOW + 40 * DAY)["first"] == Promises(kept=0, open=0, broken=1)


def test_a_no_is_no_promise_and_counts_for_nothing() -> None:
    pair = granted("favour")
    for answer in ("no", "not_now", None):
        fresh = granted("favour")
        favour(fresh, NOW, "first", answer, done=False)
        assert promises(fresh.state, fresh.records, NOW + 99 * DAY) == dict.fromkeys(SIDES, Promises(0, 0, 0))
    assert pair.state.phase == "open"


def test_a_favour_done_late_was_done() -> None:
    pair = granted("favour")
    ask = pair.go("ask", "first", NOW, by=(NOW + DAY) // 1000)
    pair.go("answer", "second", NOW + 1, ask=ask.id, answer="yes")
    assert promises(pair.state, pair.records, NOW + 2 * DAY)["second"] == Promises(0, 0, 1)
    pair.go("done", "second", NOW + 3 * DAY, ask=ask.id)
    assert promises(pair.state, pair.records, NOW + 4 * DAY)["second"] == Promises(1, 0, 0)


def test_a_promise_that_a_newer_ask_has_taken_the_place_of_is_broken() -> None:
    pair = granted("favour")
    favour(pair, NOW, "first", "yes", done=False)
    pair.go("ask", "first", NOW + 40 * DAY)
    assert promises(pair.state, pair.records, NOW + 40 * DAY)["second"] == Promises(0, 0, 1)


def test_both_see_the_same_promises() -> None:
    pair = granted("favour")
    favour(pair, NOW, "first", "yes", done=True)
    one, two = (promises(pair.seen_by(side), seen(pair, side), NOW + DAY) for side in SIDES)
    assert one == two == promises(pair.state, pair.records, NOW + DAY)
