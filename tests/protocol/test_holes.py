"""Ten ways past a no that a seller would try on Mia, each of them closed (spec/gate.md, GATE-6 to GATE-8, GATE-21 to
GATE-23; GRANT-7; CONN-22).

She has kitchen windows from the shop, and granted it care, sales and news.
"""

from typing import Any

import pytest

from comity.documents.acts import SignedAct
from comity.documents.status_lists import GrantStatus
from comity.documents.types import SIDES, Side
from comity.errors import Malformed
from comity.rules import gate
from comity.rules.gate import Verdict
from comity.rules.state import Connection, public_state
from support.parties import BODY, DAY, HOUR, MINUTE, START, Pair, connected, granted
from support.parties import public as business

NOON = START + HOUR


def with_kitchen_windows() -> Pair:
    """Mia has kitchen windows, and the shop may write about care, sales and news."""
    pair = granted("care", "sales", "news")
    pair.go("milestone", "first", START + 5, kind="installed", topic="windows.kitchen")
    return pair


def said(verdict: Verdict) -> tuple[str, str]:
    return verdict.decision, verdict.reason


def sale(pair: Pair, topic: str | None, at: int = NOON) -> str:
    return pair.may("first", "sales", at, topic=topic).reason


def contest(pair: Pair, message: SignedAct, at: int, *, as_: str = "sales", topic: str | None = None) -> SignedAct:
    """Mia says that the message was really one of purpose `as_`."""
    about: Any = message.payload
    return pair.go(
        "feedback", "second", at, message=message.id, purpose=about.purpose, says="mislabelled", had=about.topic,
        as_=as_, topic=topic,
    )  # fmt: skip


# --- H1, H2, H6, H7, H8: topics


def test_a_sale_without_a_topic_does_not_sell_what_she_has() -> None:
    pair = with_kitchen_windows()
    assert said(pair.may("first", "sales", NOON)) == ("refuse", "topic_needed")
    assert pair.refused("message", "first", NOON, purpose="sales").code == "topic_needed"


def test_a_broader_word_does_not_sell_what_she_has() -> None:
    pair = with_kitchen_windows()
    assert sale(pair, "windows") == "topic_needed"
    assert sale(pair, "windows.kitchen") == sale(pair, "windows.kitchen.blue") == "already_has"
    assert sale(pair, "windows.roof") == sale(pair, "doors") == "granted"


def test_a_refused_topic_is_not_sold_by_a_broader_word_either() -> None:
    pair = granted("sales")
    pair.go("remember", "second", START + 5, key="no_interest", topic="windows.roof")
    assert sale(pair, "windows") == sale(pair, None) == "topic_needed"
    assert sale(pair, "windows.roof") == "no_interest"
    assert sale(pair, "windows.kitchen") == "granted"


def test_with_nothing_on_record_a_sale_needs_no_topic() -> None:
    assert sale(granted("sales"), None) == sale(granted("sales"), "windows") == "granted"


def test_no_interest_in_nothing_is_no_wish_that_anybody_could_keep() -> None:
    with pytest.raises(Malformed):
        connected().compose("remember", "second", NOON, key="no_interest")


def test_her_own_note_outlasts_a_purchase_that_the_shop_says_is_over_in_a_second() -> None:
    pair = granted("sales")
    pair.go("milestone", "first", START + 5, kind="installed", topic="windows", lasts=START // 1000 + 1)
    assert sale(pair, "windows") == "granted"
    pair.go("milestone", "second", NOON, kind="bought", topic="windows")
    assert sale(pair, "windows", NOON + 1) == "already_has"


def test_a_customer_who_wants_another_one_may_be_sold_it() -> None:
    pair = with_kitchen_windows()
    pair.go("remember", "second", NOON, key="interested", topic="windows.kitchen")
    assert sale(pair, "windows.kitchen", NOON + 1) == "granted"
    assert sale(pair, "windows", NOON + 1) == "topic_needed"
    pair.go("milestone", "first", NOON + DAY, kind="installed", topic="windows.kitchen")
    assert sale(pair, "windows.kitchen", NOON + DAY + 1) == "already_has"


# --- H3, H4: other words


def test_another_word_for_the_same_thing_helps_once() -> None:
    """She has windows; the shop sells her glazing. What is called glazing again is asked about as windows."""
    pair = with_kitchen_windows()
    glazing = pair.go("message", "first", NOON, purpose="sales", topic="glazing")
    contest(pair, glazing, NOON + 1, topic="windows.kitchen")
    assert sale(pair, "glazing", NOON + 2) == sale(pair, "glazing.blue", NOON + 2) == "already_has"
    assert sale(pair, "doors", NOON + 2) == "granted"


@pytest.mark.parametrize("purpose", ["news", "care.offer", "care"])
def test_an_advertisement_that_calls_itself_care_or_news_helps_once(purpose: str) -> None:
    pair = granted("care", "news")
    advert = pair.go("message", "first", NOON, purpose=purpose)
    assert pair.may("first", purpose, NOON + 1).decision == "allow"
    contest(pair, advert, NOON + 1)
    assert said(pair.may("first", purpose, NOON + 2)) == ("refuse", "no_grant")
    assert pair.refused("message", "first", NOON + 2, purpose=purpose).code == "no_grant"


def test_the_seller_sees_the_contest_and_what_to_call_it() -> None:
    pair = granted("care", "sales")
    advert = pair.go("message", "first", NOON, purpose="care", topic="windows")
    contest(pair, advert, NOON + 1)
    (shown,) = pair.may("first", "care.checkin", NOON + 2, topic="doors").outward().contest
    assert (shown.message, shown.purpose, shown.as_, shown.had) == (advert.id, "care", "sales", "windows")
    assert shown.until == (NOON + 1) // 1000 + 365 * 86_400
    assert pair.may("first", "news", NOON + 2).contest == ()


# --- H5, H10: what rests on the agreement


@pytest.mark.parametrize("purpose", ["complaint", "renewal"])
def test_a_shop_that_was_granted_nothing_does_not_complain_forty_times(purpose: str) -> None:
    pair = connected()
    for number in range(40):
        pair.go("message", "first", NOON + number * MINUTE, purpose=purpose, if_muted="drop")
    assert len(pair.state.first.sent) == 5
    assert said(pair.may("first", purpose, NOON + 41 * MINUTE)) == ("hold", "over_budget")


def test_a_customer_may_complain_forty_times_and_more_once_she_is_answered() -> None:
    pair = connected()
    for number in range(41):
        pair.go("message", "second", NOON + number * MINUTE, purpose="complaint", if_muted="drop")
    assert len(pair.state.second.sent) == 40
    pair.go("message", "first", NOON + HOUR, purpose="complaint")
    assert pair.may("second", "complaint", NOON + HOUR + 1).decision == "allow"


def test_words_in_a_remember_are_no_side_door() -> None:
    pair = connected()
    codes = []
    for number in range(40):
        try:
            pair.go("remember", "first", NOON + number * MINUTE, key="name", body=BODY)
            codes.append("ok")
        except Exception as refused:
            codes.append(getattr(refused, "code", "?"))
    assert codes == ["ok"] * 5 + ["over_budget"] * 35
    pair.go("remember", "first", NOON + DAY, key="receipt")


def test_her_own_budget_counts_words_in_a_remember_too() -> None:
    pair = connected()
    pair.go("budget", "second", START + 5, messages={"max": 1, "per": "month"})
    pair.go("remember", "first", NOON, key="name", body=BODY)
    assert pair.refused("milestone", "first", NOON + 1, topic="windows", body=BODY).code == "not_now"
    pair.go("milestone", "first", NOON + 2, topic="windows")


# --- exempt notices


def test_three_thousand_safety_messages_do_not_pass_a_mute_whoever_signs_them() -> None:
    """Six do, and it matters to nobody whether the seller is a business or a key alone."""
    for seller, side in ((business("did:web:other.example", "key-1"), SIDES[0]), (None, SIDES[1])):
        pair = connected() if seller is None else connected(offerer=seller)
        pair.go("mute", SIDES[1 - SIDES.index(side)], START + 5)
        for number in range(6):
            pair.go("message", side, NOON + number, purpose="safety")
        refused = pair.refused("message", side, NOON + 9, purpose="safety")
        assert (refused.code, refused.until) == ("exempt_limit", (NOON + 30 * DAY) // 1000)


def test_security_and_legal_notices_leave_room_for_two_about_safety() -> None:
    pair = connected()
    for number, purpose in enumerate(("security", "legal_notice", "security", "security")):
        pair.go("message", "first", NOON + number, purpose=purpose)
    assert pair.refused("message", "first", NOON + 5, purpose="legal_notice").code == "exempt_limit"
    pair.go("message", "first", NOON + 6, purpose="safety")
    pair.go("message", "first", NOON + 7, purpose="safety")
    assert pair.refused("message", "first", NOON + 8, purpose="safety").code == "exempt_limit"


# --- H9: offline


def status_of(state: Connection, side: Side, number: int, at: int) -> GrantStatus:
    """What the status list says of a grant: `ask` while anything may stand in the way."""
    return (
        GrantStatus.ASK
        if gate.undecidable_until(state, side, state.door(side).grants[number]) > at
        else GrantStatus.VALID
    )


def test_a_mail_house_that_knows_no_topic_is_told_to_ask() -> None:
    pair = granted("care")
    pair.go("grant", "second", START + 2, purposes=("sales.offer", "news"))
    assert [status_of(pair.state, "second", it, NOON) for it in (0, 1)] == [GrantStatus.VALID, GrantStatus.VALID]
    pair.go("milestone", "first", START + 5, kind="installed", topic="windows.kitchen", lasts=(NOON + DAY) // 1000)
    assert [status_of(pair.state, "second", it, NOON) for it in (0, 1)] == [GrantStatus.VALID, GrantStatus.ASK]
    assert status_of(pair.state, "second", 1, NOON + DAY) == GrantStatus.VALID


def test_a_mail_house_is_told_to_ask_about_what_was_contested_and_all_above_it() -> None:
    pair = granted("care")
    for purposes in (("care.offer.july",), ("care.checkin",), ("news",)):
        pair.go("grant", "second", START + 10, purposes=purposes)
    advert = pair.go("message", "first", NOON, purpose="care.offer")
    contest(pair, advert, NOON + 1, as_="news")
    found = [status_of(pair.state, "second", number, NOON + 2) for number in range(4)]
    assert found == [GrantStatus.ASK, GrantStatus.ASK, GrantStatus.VALID, GrantStatus.VALID]
    tips = pair.go("message", "first", NOON + 3, purpose="care.tips")
    contest(pair, tips, NOON + 4, as_="news")
    assert status_of(pair.state, "second", 2, NOON + 5) == GrantStatus.ASK
    year = NOON + 365 * DAY
    assert [gate.undecidable_until(pair.state, "second", grant) for grant in pair.state.second.grants][:3] == [
        (year + 4) // 1000 * 1000, (year + 1) // 1000 * 1000, (year + 1) // 1000 * 1000,
    ]  # fmt: skip


# --- consents that a business gives up


def test_only_the_customer_gives_again_what_a_business_gave_up() -> None:
    pair = granted("sales", channels=("app", "email"))
    (given,) = pair.state.second.grants
    pair.go("renounce", "first", NOON, grants=(given.id,), because="one_click", channels=("email",))
    assert said(pair.may("first", "sales", NOON + 1, channel="email")) == ("refuse", "no_grant")
    assert pair.may("first", "sales", NOON + 1).decision == "allow"
    assert status_of(pair.state, "second", 0, NOON + 1) == GrantStatus.ASK
    pair.go("grant", "second", NOON + 2, purposes=("sales",), channels=("email",))
    assert pair.may("first", "sales", NOON + 3, channel="email").decision == "allow"


def test_a_customer_who_gave_nothing_has_nothing_given_up() -> None:
    pair = granted("sales")
    given = pair.state.second.grants[0].id
    assert pair.refused("renounce", "second", NOON, grants=(given,), because="not_needed").code == "no_such_grant"


def test_both_sides_work_out_the_same_contests() -> None:
    pair = with_kitchen_windows()
    contest(pair, pair.go("message", "first", NOON, purpose="care"), NOON + 1)
    views = [public_state(pair.seen_by(side)) for side in SIDES]
    assert views[0] == views[1] == public_state(pair.state)
    assert views[0]["second"]["contests"][0]["as"] == "sales"
