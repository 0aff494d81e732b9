"""Contests: "that was not care". What they close, what they never touch, and when they end (spec/gate.md, GATE-21;
spec/connection.md, CONN-14, CONN-15, CONN-23)."""

from typing import Any

import pytest

from comity.documents.acts import Feedback, SignedAct
from comity.documents.types import AGREEMENT_PURPOSES, EXEMPT_PURPOSES, Side
from comity.encoding import hash_id
from comity.errors import Malformed, Refused
from comity.rules import gate
from comity.rules.feedback import check_feedback_message, delivered_messages
from comity.rules.gate import Verdict
from comity.rules.guards import MOST_CONTESTS, MOST_FEEDBACK
from support.parties import DAY, HOUR, MINUTE, SECOND, START, ZONES, Pair, connected, granted, pairwise

NOON = START + HOUR
YEAR = 365 * DAY


def says(pair: Pair, message: SignedAct, word: str, at: int, side: Side = "second", **fields: Any) -> SignedAct:
    """Feedback on a message, as the SDK writes it: with the message's own purpose and topic."""
    about: Any = message.payload
    return pair.go(
        "feedback", side, at, message=message.id, purpose=about.purpose, had=about.topic, says=word, **fields
    )


def contested(purpose: str = "care", *grants: str, as_: str = "sales", **fields: Any) -> Pair:
    """The shop, which was granted these purposes, wrote for `purpose` at noon, and Mia contested it a minute later."""
    pair = granted(*(grants or ("care", "sales")))
    had = fields.pop("had", None)
    message = pair.go("message", "first", NOON, purpose=purpose, topic=had)
    says(pair, message, "mislabelled", NOON + MINUTE, as_=as_, **fields)
    return pair


def told(verdict: Verdict) -> tuple[str, str, int | None]:
    """What the sender is told."""
    out = verdict.outward()
    return out.decision, out.reason, out.ends_at


AFTER = NOON + HOUR


# --- the strictest of both


def test_a_contested_purpose_is_judged_as_what_it_was_as_well() -> None:
    pair = contested()
    assert told(pair.may("first", "care", AFTER)) == ("allow", "granted", None)
    pair.go("mute", "second", AFTER, purposes=("sales",), until=(AFTER + DAY) // 1000)
    assert told(pair.may("first", "care", AFTER + 1)) == ("hold", "not_now", AFTER + DAY)
    assert told(pair.may("first", "care.checkin", AFTER + 1)) == ("hold", "not_now", AFTER + DAY)
    assert pair.may("first", "careful", AFTER + 1).reason == "no_grant"


def test_a_narrower_word_is_not_contested_with_a_word_beside_it() -> None:
    pair = contested("care.offer", "care")
    assert pair.may("first", "care.offer", AFTER).reason == "no_grant"
    assert pair.may("first", "care.checkin", AFTER).decision == "allow"
    assert pair.may("first", "care", AFTER).decision == "allow"


def test_two_new_names_for_one_thing_cover_the_root() -> None:
    pair = contested("care.offer", "care", "news")
    tips = pair.go("message", "first", AFTER, purpose="care.tips")
    assert pair.may("first", "care.july", AFTER + 1).decision == "allow"
    says(pair, tips, "mislabelled", AFTER + 1, as_="news")
    assert pair.may("first", "care.july", AFTER + 2).decision == "allow", "another `as` is another contest"
    says(pair, tips, "mislabelled", AFTER + 3, as_="sales")
    assert pair.may("first", "care.july", AFTER + 4).reason == "no_grant"
    assert pair.may("first", "care", AFTER + 4).reason == "no_grant"
    assert {it.purpose for it in pair.may("first", "care.july", AFTER + 4).contest} == {"care.offer", "care.tips"}


def test_under_the_root_each_contest_asks_with_its_own_topic() -> None:
    """Windows she has and doors she does not want: both are asked about, under any name of care."""
    pair = granted("care", "sales")
    pair.go("milestone", "second", START + 5, kind="bought", topic="windows")
    for number, (purpose, topic) in enumerate((("care.offer", "doors"), ("care.tips", "windows"))):
        message = pair.go("message", "first", NOON + number * MINUTE, purpose=purpose)
        says(pair, message, "mislabelled", NOON + number * MINUTE + 1, as_="sales", topic=topic)
    assert pair.may("first", "care.july", AFTER).reason == "already_has"


def test_a_contest_is_about_the_topic_that_the_message_had_and_about_none() -> None:
    pair = contested("care", "care", had="windows")
    assert pair.may("first", "care", AFTER, topic="windows").reason == "no_grant"
    assert pair.may("first", "care", AFTER, topic="windows.kitchen").reason == "no_grant"
    assert pair.may("first", "care", AFTER).reason == "no_grant"
    other_topic = pair.may("first", "care", AFTER, topic="doors")
    assert other_topic.decision == "allow" and len(other_topic.contest) == 1, "named, whether or not it decided"


def test_the_contest_of_a_message_without_a_topic_is_about_every_topic() -> None:
    pair = contested("care", "care")
    assert pair.may("first", "care", AFTER, topic="doors").reason == "no_grant"


def test_with_care_contested_as_sales_a_check_in_needs_a_topic_where_something_is_on_record() -> None:
    pair = contested()
    pair.go("milestone", "first", AFTER, kind="installed", topic="windows.kitchen")
    assert pair.may("first", "care.checkin", AFTER + 1).reason == "topic_needed"
    assert pair.may("first", "care.checkin", AFTER + 1, topic="doors").decision == "allow"
    apart = contested("care.offer")
    apart.go("milestone", "first", AFTER, kind="installed", topic="windows.kitchen")
    assert apart.may("first", "care.checkin", AFTER + 1).decision == "allow"


# --- holds of two kinds


def test_a_hidden_end_is_not_read_out_of_the_shown_end_of_a_budget() -> None:
    """What was asked is over the grant's budget, its `as` is muted without a shown end: no end is told."""
    pair = granted("news")
    pair.go("grant", "second", START + 2, purposes=("care",), budget={"max": 1, "per": "day"})
    message = pair.go("message", "first", NOON, purpose="care")
    says(pair, message, "mislabelled", NOON + 1, as_="news")
    assert told(pair.may("first", "care", AFTER)) == ("hold", "over_budget", NOON + DAY)
    mute = pair.go("mute", "second", AFTER, purposes=("news",))
    assert told(pair.may("first", "care", AFTER + 1)) == ("hold", "not_now", None)
    pair.go("mute_end", "second", AFTER + 2, mute=mute.id, until=(AFTER + 2 * DAY) // 1000)
    verdict = pair.may("first", "care", AFTER + 3)
    assert told(verdict) == ("hold", "not_now", None)
    assert verdict.ends_at == AFTER + 2 * DAY, "the latest of all, for the server's own timer"
    assert verdict.valid_until == AFTER + 3 + gate.FRESH_FOR


def test_an_end_is_told_only_if_all_private_reasons_show_theirs_and_then_the_latest() -> None:
    pair = contested("care", "care", "news", as_="news")
    soon, late = (AFTER + DAY) // 1000, (AFTER + 2 * DAY) // 1000
    pair.go("mute", "second", AFTER, purposes=("care",), until=late)
    pair.go("mute", "second", AFTER + 1, purposes=("news",), until=soon)
    assert told(pair.may("first", "care", AFTER + 2)) == ("hold", "not_now", late * 1000)
    pair.go("mute", "second", AFTER + 3, purposes=("news",))
    assert told(pair.may("first", "care", AFTER + 4)) == ("hold", "not_now", None)


def test_refuse_comes_before_hold_and_hold_before_allow() -> None:
    pair = contested("care", "care")
    pair.go("mute", "second", AFTER)
    assert told(pair.may("first", "care", AFTER + 1)) == ("refuse", "no_grant", None)


# --- budgets


def test_the_contested_message_was_her_sales_message_of_this_month() -> None:
    pair = granted("care")
    pair.go("grant", "second", START + 2, purposes=("sales",), budget={"max": 1, "per": "month"})
    message = pair.go("message", "first", NOON, purpose="care")
    assert pair.may("first", "sales", NOON + 1).decision == "allow"
    says(pair, message, "mislabelled", NOON + 1, as_="sales")
    assert told(pair.may("first", "sales", NOON + 2)) == ("hold", "over_budget", NOON + 30 * DAY)
    assert pair.may("first", "care", NOON + 2).reason == "over_budget"


def test_a_delivery_counts_once_in_a_budget_however_many_words_it_counts_under() -> None:
    pair = connected()
    pair.go("grant", "second", START + 2, purposes=("care", "sales"), budget={"max": 2, "per": "month"})
    message = pair.go("message", "first", NOON, purpose="care")
    says(pair, message, "mislabelled", NOON + 1, as_="sales")
    says(pair, message, "mislabelled", NOON + 2, as_="sales", topic="windows")
    assert pair.may("first", "care", NOON + 3).decision == "allow"
    pair.go("message", "first", NOON + 4, purpose="care")
    assert pair.may("first", "care", NOON + 5).reason == "over_budget"


def test_her_own_limit_does_not_count_twice_either() -> None:
    pair = contested()
    pair.go("budget", "second", AFTER, messages={"max": 2, "per": "month"})
    assert pair.may("first", "care", AFTER + 1).decision == "allow"


# --- what a contest never touches


@pytest.mark.parametrize("purpose", sorted(EXEMPT_PURPOSES))
def test_a_contest_silences_no_recall(purpose: str) -> None:
    pair = contested(purpose)
    verdict = pair.may("first", purpose, AFTER)
    assert (verdict.decision, verdict.reason, len(verdict.contest)) == ("allow", "exempt", 1)
    pair.go("grant", "second", AFTER, purposes=("news",), budget={"max": 1, "per": "month"})
    assert pair.may("first", "news", AFTER + 1).decision == "allow"


@pytest.mark.parametrize("purpose", ["complaint", "renewal"])
def test_a_business_cannot_contest_its_customers_complaints_into_silence(purpose: str) -> None:
    pair = connected()
    message = pair.go("message", "second", NOON, purpose=purpose)
    says(pair, message, "mislabelled", NOON + 1, side="first", as_="sales")
    verdict = pair.may("second", purpose, NOON + 2)
    assert (verdict.decision, verdict.reason, len(verdict.contest)) == ("allow", "by_agreement", 1)


@pytest.mark.parametrize("purpose", ["complaint", "renewal"])
def test_a_customer_can_contest_what_a_shop_calls_a_complaint_or_a_renewal(purpose: str) -> None:
    assert contested(purpose, "care").may("first", purpose, AFTER).reason == "no_grant"


def test_between_two_people_a_contest_of_a_complaint_changes_nothing() -> None:
    pair = connected(offerer=pairwise("leo"))
    message = pair.go("message", "first", NOON, purpose="complaint")
    says(pair, message, "mislabelled", NOON + 1, as_="sales")
    assert pair.may("first", "complaint", NOON + 2).reason == "by_agreement"


def test_nobody_contests_as_what_needs_no_grant() -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care")
    for as_ in (*sorted(AGREEMENT_PURPOSES), "care"):
        with pytest.raises(Malformed):
            says(pair, message, "mislabelled", NOON + 1, as_=as_)
    says(pair, message, "mislabelled", NOON + 1, as_="care", topic="windows")


def test_only_the_one_who_contests_closes_a_door_and_only_the_own_one() -> None:
    pair = contested("care", "care")
    pair.go("grant", "first", AFTER, purposes=("care",))
    assert pair.may("second", "care", AFTER + 1).decision == "allow"


# --- how it ends


@pytest.mark.parametrize("word", ["useful", "not_useful", "too_often", "not_interested", "thanks"])
def test_another_word_takes_a_contest_back_and_no_other_word_changes_a_verdict(word: str) -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care")
    before = told(pair.may("first", "care", AFTER))
    says(pair, message, word, NOON + 1)
    assert told(pair.may("first", "care", AFTER)) == before
    says(pair, message, "mislabelled", NOON + 2, as_="sales")
    assert pair.may("first", "care", AFTER).reason == "no_grant"
    says(pair, message, word, NOON + 3)
    assert told(pair.may("first", "care", AFTER)) == before and pair.state.second.contests == ()


def test_another_word_on_another_message_takes_nothing_back() -> None:
    pair = granted("care")
    messages = [pair.go("message", "first", NOON + number, purpose="care") for number in range(2)]
    says(pair, messages[0], "mislabelled", NOON + 2, as_="sales")
    says(pair, messages[1], "thanks", NOON + 3)
    assert pair.may("first", "care", AFTER).reason == "no_grant"


def test_a_contest_of_the_same_scope_takes_the_place_of_the_earlier_one() -> None:
    pair = granted("care")
    messages = [pair.go("message", "first", NOON + number * DAY, purpose="care") for number in range(2)]
    for number, message in enumerate(messages):
        says(pair, message, "mislabelled", NOON + 2 * DAY + number, as_="sales")
    (kept,) = pair.state.second.contests
    assert kept.message == messages[1].id
    says(pair, messages[0], "thanks", NOON + 3 * DAY)
    assert len(pair.state.second.contests) == 1


def test_a_contest_ends_after_a_year_to_the_second() -> None:
    pair = contested("care", "care")
    pair.go("grant", "second", AFTER, purposes=("care",), exp=(NOON + 2 * YEAR) // 1000)
    until = pair.state.second.contests[0].until * 1000
    assert until == (NOON + MINUTE) // 1000 * 1000 + YEAR
    assert pair.may("first", "care", until - 1).reason == "no_grant"
    assert pair.may("first", "care", until - 1).valid_until == until
    assert pair.may("first", "care", until).decision == "allow"
    assert pair.may("first", "care", until).contest == ()
    assert gate.unchanged_until(pair.state, "first", until - 1, ZONES) == until


def test_the_end_of_the_connection_ends_the_contests_with_all_else() -> None:
    pair = contested()
    pair.go("revoke", "second", AFTER)
    assert pair.state.second.contests == () and pair.state.second.feedback == ()


def test_thirty_two_contests_are_in_force_at_most_and_an_expired_one_makes_room() -> None:
    pair = granted("care")
    for number in range(MOST_CONTESTS):
        message = pair.go("message", "first", NOON + number * DAY, purpose=f"care.a{number}")
        says(pair, message, "mislabelled", NOON + number * DAY + 1, as_=f"sales.b{number}")
    end = NOON + MOST_CONTESTS * DAY
    refused = pair.refused(
        "feedback", "second", end, message=hash_id(b"x"), purpose="care", says="mislabelled", as_="sales"
    )
    assert refused.code == "too_many_contests"
    says(pair, message, "mislabelled", end + 1, as_=f"sales.b{MOST_CONTESTS - 1}")
    pair.go("feedback", "second", NOON + YEAR + MINUTE, message=hash_id(b"x"), purpose="care", says="mislabelled",
            as_="sales")  # fmt: skip
    assert len(pair.state.second.contests) == MOST_CONTESTS


def test_the_201st_word_within_a_month_is_refused_and_a_contest_still_passes() -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care")
    for number in range(MOST_FEEDBACK):
        says(pair, message, "useful", NOON + 1 + number * SECOND)
    end = NOON + HOUR
    with pytest.raises(Refused) as refused:
        says(pair, message, "thanks", end)
    assert refused.value.code == "too_much_feedback"
    says(pair, message, "mislabelled", end + 1, as_="sales")
    assert pair.may("first", "care", end + 2).reason == "no_grant"
    says(pair, message, "thanks", NOON + 1 + 30 * DAY)


def test_a_muted_side_may_still_say_that_it_helped() -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care")
    pair.go("mute", "first", NOON + 1)
    says(pair, message, "thanks", NOON + 2)


def test_a_contest_is_accepted_whatever_her_clock_says_and_thanks_are_not() -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care")
    with pytest.raises(Refused):
        says(pair, message, "thanks", NOON + 1, iat=(NOON + DAY) // 1000)
    says(pair, message, "mislabelled", NOON + 1, as_="sales", iat=(NOON + DAY) // 1000)


# --- what waits


def test_a_sale_that_waits_as_care_expires_once_it_is_contested() -> None:
    """`due` says so at once: nobody waits for a message that may not be sent."""
    pair = granted("care")
    advert = pair.go("message", "first", NOON, purpose="care")
    pair.go("mute", "second", NOON + 1, until=(NOON + DAY) // 1000)
    waiting = pair.go("message", "first", NOON + 2, purpose="care.offer")
    assert pair.due(NOON + 3) == NOON + DAY
    says(pair, advert, "mislabelled", NOON + 3, as_="sales")
    assert pair.due(NOON + 4) == NOON + 4
    (event,) = pair.release(NOON + 4)
    assert (event.event, getattr(event, "act", None)) == ("expired", waiting.id)


def test_a_message_held_for_its_real_purpose_is_released_when_both_are_open() -> None:
    pair = granted("care", "sales")
    advert = pair.go("message", "first", NOON, purpose="care")
    says(pair, advert, "mislabelled", NOON + 1, as_="sales")
    pair.go("mute", "second", NOON + 2, purposes=("care",), until=(NOON + HOUR) // 1000)
    pair.go("mute", "second", NOON + 3, purposes=("sales",), until=(NOON + DAY) // 1000)
    pair.go("message", "first", NOON + 4, purpose="care")
    assert pair.due(NOON + 5) == NOON + DAY
    assert pair.release(NOON + HOUR) == ()
    assert [event.event for event in pair.release(NOON + DAY)] == ["delivered"]


def test_held_messages_are_decided_again_when_the_contest_ends() -> None:
    pair = contested("care", "care", "sales")
    until = pair.state.second.contests[0].until * 1000
    pair.go("grant", "second", until - 40 * DAY, purposes=("care", "sales"), exp=until // 1000 + 86_400)
    pair.go("mute", "second", until - 2 * DAY, purposes=("sales",))
    pair.go("message", "first", until - DAY, purpose="care", exp=until // 1000 + 3600)
    assert pair.due(until - DAY + 1) == until
    assert [event.event for event in pair.release(until)] == ["delivered"]


# --- which message (CONN-23)


def feedback_on(message: SignedAct, /, id_: str | None = None, **changes: Any) -> Feedback:
    about: Any = message.payload
    members = {"act": "feedback", "iss": about.aud, "aud": about.iss, "iat": about.iat, "cid": about.cid, "seq": 0,
               "prev": about.cid, "message": id_ or message.id, "purpose": about.purpose, "had": about.topic,
               "says": "thanks", **changes}  # fmt: skip
    return Feedback.model_validate(members)


def looked_up(pair: Pair, payload: Feedback, at: int, side: Side = "second") -> str:
    """What somebody who has the records finds: the code, or "" where the message is one."""
    try:
        check_feedback_message(pair.state, side, payload, delivered_messages(pair.records).get(payload.message), at)
    except Refused as refused:
        assert str(refused) == str(Refused("no_such_message")), "all refusals are alike"
        assert (refused.until, refused.retry_after) == (None, None)
        return refused.code
    return ""


def test_feedback_is_about_a_message_of_the_other_side_that_came_and_says_what_it_was() -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care", topic="windows")
    own = pair.go("message", "second", NOON + 1, purpose="complaint")
    assert looked_up(pair, feedback_on(message), NOON + 2) == ""
    assert looked_up(pair, feedback_on(message), NOON + 2, "first") == "no_such_message"
    assert looked_up(pair, feedback_on(own), NOON + 2) == "no_such_message"
    for wrong in ({"purpose": "sales"}, {"had": "doors"}, {"had": None}, {"id_": hash_id(b"another")}):
        assert looked_up(pair, feedback_on(message, **wrong), NOON + 2) == "no_such_message"
    call = pair.go("contacted", "first", NOON + 3, purpose="care")
    assert looked_up(pair, feedback_on(call), NOON + 4) == ""


def test_feedback_on_what_waits_is_taken_from_its_delivery_on_and_for_ninety_days() -> None:
    pair = granted("care")
    pair.go("mute", "second", NOON, until=(NOON + 2 * DAY) // 1000)
    message = pair.go("message", "first", NOON + 1, purpose="care", exp=(NOON + 3 * DAY) // 1000)
    assert looked_up(pair, feedback_on(message), NOON + DAY) == "no_such_message"
    pair.release(NOON + 2 * DAY)
    # That the mute was over takes the millisecond before the message's.
    assert looked_up(pair, feedback_on(message), NOON + 92 * DAY) == ""
    assert looked_up(pair, feedback_on(message), NOON + 92 * DAY + 1) == "no_such_message"


def test_a_contest_in_force_can_be_taken_back_however_old_its_message_is() -> None:
    pair = granted("care")
    message = pair.go("message", "first", NOON, purpose="care")
    says(pair, message, "mislabelled", NOON + 1, as_="sales")
    assert looked_up(pair, feedback_on(message), NOON + 200 * DAY) == ""
    assert looked_up(pair, feedback_on(message), NOON + 366 * DAY) == "no_such_message"
