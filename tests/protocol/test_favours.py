"""Asking for a favour, and the etiquette that nobody can skip (spec/connection.md, section "Favours")."""

from typing import Any

import pytest

from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, AsOf
from comity.documents.types import EXEMPT_PURPOSES
from comity.errors import Contradiction
from comity.rules import favours
from comity.rules.fold import Record, fold
from support.parties import BODY, DAY, HOUR, LOG, START, Pair, granted, public

FIRST_TIME = START + HOUR
MONTH = 30 * DAY


def friends() -> Pair:
    """Either may ask the other."""
    pair = granted("favour", exp=(START + 1000 * DAY) // 1000)
    pair.go("grant", "first", START + 2, purposes=("favour",), exp=(START + 1000 * DAY) // 1000)
    return pair


def asked(pair: Pair, at: int = FIRST_TIME, **fields: Any) -> SignedAct:
    return pair.go("ask", "first", at, **fields)


def status(pair: Pair, now: int) -> str:
    """Where the first side's last ask stands."""
    assert pair.state.first.ask is not None
    return favours.ask_status(pair.state.first.ask, now)


def test_a_favour_is_asked_promised_done_and_thanked_for() -> None:
    pair = friends()
    ask = asked(pair)
    now = FIRST_TIME
    for kind, side, fields in (
        ("answer", "second", {"answer": "yes"}),
        ("done", "second", {}),
        ("thank", "first", {"body": BODY}),
    ):
        now += HOUR
        pair.go(kind, side, now, ask=ask.id, **fields)  # type: ignore[arg-type]
    assert status(pair, now) == "thanked"
    assert favours.balance(pair.state, now) == (0, 1)


def test_without_a_grant_nobody_is_asked_but_a_renewal_may_be() -> None:
    pair = granted("care")
    assert pair.refused("ask", "first", FIRST_TIME).code == "no_grant"
    pair.go("ask", "first", FIRST_TIME, kind="renewal")


def test_a_second_ask_waits_for_the_answer_to_the_first() -> None:
    pair = friends()
    ask = asked(pair)
    assert pair.refused("ask", "first", FIRST_TIME + DAY).code == "ask_open"
    pair.go("ask", "second", FIRST_TIME + DAY)
    pair.go("answer", "second", FIRST_TIME + DAY + 1, ask=ask.id, answer="yes")
    assert pair.refused("ask", "first", FIRST_TIME + DAY + 2).code == "ask_open"
    pair.go("done", "second", FIRST_TIME + DAY + 3, ask=ask.id)
    asked(pair, FIRST_TIME + DAY + 4)


@pytest.mark.parametrize(("answer", "days"), [("no", 30), ("not_now", 7)])
def test_after_a_no_one_waits_longer_than_after_not_now(answer: str, days: int) -> None:
    pair = friends()
    ask = asked(pair)
    answered = FIRST_TIME + HOUR
    pair.go("answer", "second", answered, ask=ask.id, answer=answer)
    assert pair.refused("ask", "first", answered + 1).code == "cooling_down"
    assert pair.refused("ask", "first", answered + days * DAY - 1).code == "cooling_down"
    asked(pair, answered + days * DAY)
    # The one who said no may ask all the while.
    assert favours.ask_obstacle(pair.state, "second", answered + 1) == "free"


def test_an_ask_that_nobody_answers_ends_as_not_now_after_thirty_days() -> None:
    pair = friends()
    ask = asked(pair)
    assert pair.refused("ask", "first", FIRST_TIME + MONTH - 1).code == "ask_open"
    assert status(pair, FIRST_TIME + MONTH - 1) == "asked"
    assert status(pair, FIRST_TIME + MONTH) == "lapsed"
    assert pair.refused("answer", "second", FIRST_TIME + MONTH, ask=ask.id, answer="yes").code == "no_such_ask"
    assert pair.refused("ask", "first", FIRST_TIME + MONTH + 7 * DAY - 1).code == "cooling_down"
    asked(pair, FIRST_TIME + MONTH + 7 * DAY)


def test_an_ask_for_friday_ends_on_friday() -> None:
    pair = friends()
    friday = FIRST_TIME + 3 * DAY
    ask = asked(pair, by=friday // 1000)
    assert status(pair, friday - 1) == "asked"
    assert status(pair, friday) == "lapsed"
    assert pair.refused("answer", "second", friday, ask=ask.id, answer="yes").code == "no_such_ask"


def test_an_ask_for_next_year_still_ends_after_thirty_days() -> None:
    pair = friends()
    asked(pair, by=(FIRST_TIME + 300 * DAY) // 1000)
    assert status(pair, FIRST_TIME + MONTH) == "lapsed"


def test_a_promise_for_friday_is_broken_on_saturday_and_may_be_done_on_sunday() -> None:
    pair = friends()
    friday = FIRST_TIME + 3 * DAY
    ask = asked(pair, by=friday // 1000)
    pair.go("answer", "second", FIRST_TIME + HOUR, ask=ask.id, answer="yes")
    assert status(pair, friday - 1) == "promised"
    assert status(pair, friday) == "broken"
    pair.go("done", "second", friday + 2 * DAY, ask=ask.id)
    assert status(pair, friday + 2 * DAY) == "done"


def test_a_promise_without_a_date_lasts_thirty_days_from_the_yes() -> None:
    pair = friends()
    ask = asked(pair)
    yes = FIRST_TIME + 29 * DAY
    pair.go("answer", "second", yes, ask=ask.id, answer="yes")
    assert status(pair, yes + MONTH - 1) == "promised"
    assert status(pair, yes + MONTH) == "broken"
    # Whoever was let down may ask again at once.
    asked(pair, yes + MONTH)


def test_six_asks_in_thirty_days_are_enough() -> None:
    pair = friends()
    now = FIRST_TIME
    for _ in range(6):
        ask = asked(pair, now)
        pair.go("answer", "second", now + 1, ask=ask.id, answer="yes")
        pair.go("done", "second", now + 2, ask=ask.id)
        now += DAY
    assert pair.refused("ask", "first", now).code == "ask_budget"
    assert pair.refused("ask", "first", now, kind="renewal").code == "ask_budget"
    assert pair.refused("ask", "first", FIRST_TIME + MONTH - 1).code == "ask_budget"
    asked(pair, FIRST_TIME + MONTH)


def test_fewer_asks_than_that_are_a_private_matter_and_told_as_not_now() -> None:
    pair = friends()
    pair.go("budget", "second", START + 9, asks={"max": 1, "per": "week"})
    ask = asked(pair)
    pair.go("answer", "second", FIRST_TIME + 1, ask=ask.id, answer="yes")
    pair.go("done", "second", FIRST_TIME + 2, ask=ask.id)
    limited = pair.refused("ask", "first", FIRST_TIME + DAY)
    pair.go("budget", "second", FIRST_TIME + DAY)
    pair.go("mute", "second", FIRST_TIME + DAY + 1)
    muted = pair.refused("ask", "first", FIRST_TIME + DAY + 2)
    assert (
        (limited.code, limited.detail, limited.until)
        == (muted.code, muted.detail, muted.until)
        == ("not_now", None, None)
    )


def test_nobody_is_asked_while_muted_asleep_or_over_her_limit() -> None:
    never = {"windows": ({"days": ("su",), "start": "01:00", "end": "02:00"},)}
    doors: list[tuple[str, dict[str, Any]]] = [
        ("mute", {}),
        ("mute", {"until": (FIRST_TIME + DAY) // 1000}),
        ("hours", never),
        ("budget", {"messages": {"max": 0, "per": "day"}}),
    ]
    for kind, fields in doors:
        pair = friends()
        pair.go(kind, "second", START + 9, **fields)
        assert pair.refused("ask", "first", FIRST_TIME).code == "not_now"
        assert pair.refused("ask", "first", FIRST_TIME, kind="renewal").code == "not_now"


@pytest.mark.parametrize("purpose", sorted(EXEMPT_PURPOSES))
def test_no_ask_rides_on_a_safety_notice(purpose: str) -> None:
    pair = friends()
    pair.go("message", "first", FIRST_TIME, purpose=purpose)
    assert pair.refused("ask", "first", FIRST_TIME + HOUR).code == "after_exempt_notice"
    assert pair.refused("ask", "first", FIRST_TIME + DAY - 1).code == "after_exempt_notice"
    pair.go("ask", "second", FIRST_TIME + HOUR)
    asked(pair, FIRST_TIME + DAY)


def test_one_s_own_earlier_asks_are_told_before_anything_about_the_other_side() -> None:
    """So the refusal of an impatient asker says nothing about whether he is muted."""
    pair = friends()
    asked(pair)
    pair.go("mute", "second", FIRST_TIME + 1)
    assert pair.refused("ask", "first", FIRST_TIME + 2).code == "ask_open"


def test_only_the_one_who_was_asked_answers_and_only_once() -> None:
    pair = friends()
    ask = asked(pair)
    assert pair.refused("answer", "first", FIRST_TIME + 1, ask=ask.id, answer="yes").code == "no_such_ask"
    assert pair.refused("done", "second", FIRST_TIME + 1, ask=ask.id).code == "no_such_ask"
    assert pair.refused("thank", "first", FIRST_TIME + 1, ask=ask.id).code == "no_such_ask"
    assert pair.refused("answer", "second", FIRST_TIME + 1, ask=pair.state.cid, answer="no").code == "no_such_ask"
    pair.go("answer", "second", FIRST_TIME + 1, ask=ask.id, answer="no")
    for again in ("yes", "no", "not_now"):
        assert pair.refused("answer", "second", FIRST_TIME + 2, ask=ask.id, answer=again).code == "no_such_ask"
    assert pair.refused("done", "second", FIRST_TIME + 2, ask=ask.id).code == "no_such_ask"


def test_thanks_are_given_once_and_by_the_one_who_asked() -> None:
    pair = friends()
    ask = asked(pair)
    pair.go("answer", "second", FIRST_TIME + 1, ask=ask.id, answer="yes")
    pair.go("done", "second", FIRST_TIME + 2, ask=ask.id)
    assert pair.refused("thank", "second", FIRST_TIME + 3, ask=ask.id).code == "no_such_ask"
    pair.go("thank", "first", FIRST_TIME + 3, ask=ask.id)
    assert pair.refused("thank", "first", FIRST_TIME + 4, ask=ask.id).code == "no_such_ask"
    assert pair.refused("done", "second", FIRST_TIME + 4, ask=ask.id).code == "no_such_ask"


def test_favours_go_both_ways_and_fade_after_a_year() -> None:
    pair = friends()
    now = FIRST_TIME
    for asker, doer in (("first", "second"), ("second", "first"), ("first", "second")):
        ask = pair.go("ask", asker, now)  # type: ignore[arg-type]
        pair.go("answer", doer, now + 1, ask=ask.id, answer="yes")  # type: ignore[arg-type]
        pair.go("done", doer, now + 2, ask=ask.id)  # type: ignore[arg-type]
        now += 100 * DAY
    assert favours.balance(pair.state, now) == (1, 2)
    assert favours.balance(pair.state, FIRST_TIME + 365 * DAY + 2) == (1, 1)
    assert favours.balance(pair.state, FIRST_TIME + 365 * DAY + 1) == (1, 2)
    assert favours.balance(pair.state, FIRST_TIME + 600 * DAY) == (0, 0)


def test_an_ask_for_yesterday_is_refused() -> None:
    pair = friends()
    assert pair.refused("ask", "first", FIRST_TIME, by=FIRST_TIME // 1000).code == "by_passed"


def test_a_new_key_does_not_shorten_the_wait() -> None:
    pair = friends()
    ask = asked(pair)
    pair.go("answer", "second", FIRST_TIME + 1, ask=ask.id, answer="no")
    pair.rotate("first", public("did:web:shop.example", "key-2"), FIRST_TIME + 2)
    assert pair.refused("ask", "first", FIRST_TIME + DAY).code == "cooling_down"


def test_an_event_about_an_ask_that_was_never_made_is_a_contradiction() -> None:
    """Its server would have to have refused it."""
    pair = friends()
    ask = asked(pair)
    for kind, side, fields in (
        ("answer", "second", {"answer": "yes"}),
        ("done", "second", {}),
        ("thank", "first", {}),
    ):
        act = pair.compose(kind, side, FIRST_TIME + 1, ask=pair.state.cid, **fields)  # type: ignore[arg-type]
        event = Accepted(
            iss=pair.state.home,
            cid=pair.state.cid,
            event="accepted",
            act=act.id,
            side=side,  # type: ignore[arg-type]
            chain="acts",
            seq=act.payload.seq,
            kind=kind,
            log=LOG,
            index=99,
            accepted_at=FIRST_TIME + 1,
            as_of=AsOf(first=pair.state.first.head, second=pair.state.second.head, zones="2026a"),
        )
        with pytest.raises(Contradiction):
            fold(pair.state, Record(event, act))
    assert pair.state.first.ask is not None
    assert pair.state.first.ask.id == ask.id
