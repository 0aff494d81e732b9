"""May I? What the gate tells a sender, and what it keeps to itself (spec/gate.md)."""

from datetime import UTC, datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from comity.documents.types import EXEMPT_PURPOSES, SIDES
from comity.encoding import hash_id
from comity.rules import budgets, gate
from comity.rules.gate import FRESH_FOR, PRIVATE_REASONS, REASONS, Decision, Verdict
from support.parties import DAY, HOUR, MINUTE, SECOND, START, ZONES, Pair, connected, granted, instant

LATER = START + HOUR
EVERY_DAY = ("mo", "tu", "we", "th", "fr", "sa", "su")


def window(start: str, end: str, *days: str) -> dict[str, Any]:
    return {"days": days or EVERY_DAY, "start": start, "end": end}


def said(verdict: Verdict) -> tuple[str, str]:
    assert REASONS[verdict.reason] == verdict.decision
    assert verdict.valid_until <= LATER + 40 * DAY + FRESH_FOR
    return verdict.decision, verdict.reason


# --- every reason, in the order of looking


def test_strangers_may_not_write() -> None:
    verdict = gate.may(None, "first", "safety", "app", None, LATER, ZONES)
    assert said(verdict) == ("refuse", "no_agreement")
    assert (verdict.as_of.first, verdict.as_of.second) == ("", "")


def test_after_a_revoke_nobody_may_write_not_even_about_safety() -> None:
    for revoker in SIDES:
        pair = granted("care")
        pair.go("revoke", revoker, LATER)
        for purpose in ("care", "safety", "complaint"):
            assert said(pair.may("first", purpose, LATER + 1)) == ("refuse", "ended")
            assert said(pair.may("second", purpose, LATER + 1)) == ("refuse", "ended")


def test_a_shop_without_a_grant_may_not_write() -> None:
    pair = connected()
    assert said(pair.may("first", "care", LATER)) == ("refuse", "no_grant")


def test_a_shop_may_write_for_what_was_granted_and_says_by_which_grant() -> None:
    pair = connected()
    grant = pair.go("grant", "second", START + 1, purposes=("care",))
    verdict = pair.may("first", "care", LATER)
    assert said(verdict) == ("allow", "granted")
    assert verdict.grant == grant.id
    assert (verdict.as_of.second, verdict.as_of.first) == (grant.id, pair.state.cid)
    assert verdict.as_of.zones == ZONES.version


def test_a_grant_for_care_is_for_all_kinds_of_care_but_not_the_other_way_round() -> None:
    pair = granted("care")
    assert pair.may("first", "care.checkin", LATER).decision == "allow"
    assert pair.may("first", "care.checkin.winter", LATER).decision == "allow"
    assert said(pair.may("first", "careful", LATER)) == ("refuse", "no_grant")
    narrow = granted("care.checkin")
    assert said(narrow.may("first", "care", LATER)) == ("refuse", "no_grant")
    assert said(narrow.may("first", "care.greeting", LATER)) == ("refuse", "no_grant")


def test_a_grant_is_for_its_channels_only() -> None:
    pair = granted("care", channels=("email", "post"))
    assert pair.may("first", "care", LATER, channel="email").decision == "allow"
    assert said(pair.may("first", "care", LATER, channel="app")) == ("refuse", "no_grant")
    assert said(pair.may("first", "care", LATER, channel="phone")) == ("refuse", "no_grant")


def test_a_grant_lets_the_other_side_come_and_not_its_giver() -> None:
    pair = granted("care")
    assert said(pair.may("second", "care", LATER)) == ("refuse", "no_grant")


def test_a_grant_ends_on_its_second_and_the_verdict_before_does_not_reach_past_it() -> None:
    end = LATER + 10 * SECOND
    pair = granted("care", exp=end // 1000)
    verdict = pair.may("first", "care", end - 1)
    assert (verdict.decision, verdict.valid_until) == ("allow", end)
    assert said(pair.may("first", "care", end)) == ("refuse", "no_grant")


def test_any_of_several_grants_will_do() -> None:
    pair = granted("care")
    pair.go("grant", "second", START + 2, purposes=("sales",), channels=("post",))
    assert pair.may("first", "care", LATER).decision == "allow"
    assert pair.may("first", "sales", LATER, channel="post").decision == "allow"
    assert said(pair.may("first", "sales", LATER)) == ("refuse", "no_grant")


def test_nobody_is_sold_the_windows_she_already_has() -> None:
    """Whoever of the two stated it."""
    for side in SIDES:
        pair = granted("sales", "care")
        pair.go("milestone", side, LATER, kind="installed", topic="windows")
        assert said(pair.may("first", "sales", LATER + 1, topic="windows")) == ("refuse", "already_has")
        assert said(pair.may("first", "sales.offer", LATER + 1, topic="windows.roof")) == ("refuse", "already_has")
        assert pair.may("first", "sales", LATER + 1, topic="doors").decision == "allow"
        assert said(pair.may("first", "sales", LATER + 1)) == ("refuse", "topic_needed")
        assert pair.may("first", "care", LATER + 1, topic="windows").decision == "allow"


def test_a_purchase_for_a_year_may_be_sold_again_after_it() -> None:
    pair = granted("sales")
    end = LATER + 10 * DAY
    pair.go("milestone", "first", LATER, kind="bought", topic="filter", lasts=end // 1000)
    assert said(pair.may("first", "sales", end - 1, topic="filter")) == ("refuse", "already_has")
    assert pair.may("first", "sales", end, topic="filter").decision == "allow"


def test_a_serviced_product_may_still_be_sold() -> None:
    pair = granted("sales")
    for kind in ("serviced", "complained", "put_right"):
        pair.go("milestone", "first", LATER, kind=kind, topic="windows")
    assert pair.may("first", "sales", LATER + 9, topic="windows").decision == "allow"


def test_no_interest_is_heard_and_can_be_taken_back() -> None:
    pair = granted("sales")
    pair.go("remember", "second", LATER, key="no_interest", topic="awnings")
    assert said(pair.may("first", "sales", LATER + 1, topic="awnings.red")) == ("refuse", "no_interest")
    assert pair.may("first", "sales", LATER + 1, topic="windows").decision == "allow"
    pair.go("forget", "second", LATER + 2, key="no_interest", topic="awnings")
    assert pair.may("first", "sales", LATER + 3, topic="awnings.red").decision == "allow"


def test_the_senders_own_lack_of_interest_does_not_bind_the_other() -> None:
    pair = granted("sales")
    pair.go("remember", "first", LATER, key="no_interest", topic="awnings")
    assert pair.may("first", "sales", LATER + 1, topic="awnings").decision == "allow"


def test_a_muted_shop_may_not_write() -> None:
    pair = granted("care", "sales")
    pair.go("mute", "second", LATER)
    for purpose in ("care", "sales", "renewal", "complaint"):
        assert said(pair.may("first", purpose, LATER + 1)) == ("hold", "muted")
    pair.go("unmute", "second", LATER + 2)
    assert pair.may("first", "care", LATER + 3).decision == "allow"


def test_muting_a_shop_does_not_mute_oneself() -> None:
    pair = granted("care")
    pair.go("grant", "first", START + 2, purposes=("care",))
    pair.go("mute", "second", LATER)
    assert pair.may("second", "care", LATER + 1).decision == "allow"


def test_a_mute_of_sales_lets_care_through_and_one_of_the_app_lets_post_through() -> None:
    pair = granted("care", "sales", channels=("app", "post"))
    pair.go("mute", "second", LATER, purposes=("sales",))
    assert said(pair.may("first", "sales.offer", LATER + 1)) == ("hold", "muted")
    assert pair.may("first", "care", LATER + 1).decision == "allow"
    pair.go("mute", "second", LATER + 2, channels=("app",))
    assert said(pair.may("first", "care", LATER + 3)) == ("hold", "muted")
    assert pair.may("first", "care", LATER + 3, channel="post").decision == "allow"
    assert said(pair.may("first", "sales", LATER + 3, channel="post")) == ("hold", "muted")


def test_a_mute_of_some_purposes_by_some_channels_needs_both() -> None:
    pair = granted("care", "sales", channels=("app", "post"))
    pair.go("mute", "second", LATER, purposes=("sales",), channels=("post",))
    assert pair.may("first", "sales", LATER + 1).decision == "allow"
    assert pair.may("first", "care", LATER + 1, channel="post").decision == "allow"
    assert said(pair.may("first", "sales", LATER + 1, channel="post")) == ("hold", "muted")


def test_consent_goes_on_expiring_while_muted() -> None:
    pair = granted("care", exp=(LATER + DAY) // 1000)
    pair.go("mute", "second", LATER, until=(LATER + 2 * DAY) // 1000)
    assert said(pair.may("first", "care", LATER + DAY - 1)) == ("hold", "muted")
    assert said(pair.may("first", "care", LATER + DAY)) == ("refuse", "no_grant")


def test_of_several_mutes_the_one_that_lasts_longest_is_told() -> None:
    pair = granted("care")
    pair.go("mute", "second", LATER, until=(LATER + 2 * HOUR) // 1000)
    pair.go("mute", "second", LATER + 1, purposes=("care",), until=(LATER + HOUR) // 1000)
    assert pair.may("first", "care", LATER + 2).ends_at == LATER + 2 * HOUR
    pair.go("mute", "second", LATER + 3, channels=("app",))
    verdict = pair.may("first", "care", LATER + 4)
    assert (verdict.ends_at, verdict.end_shown) == (None, False)


def test_outside_her_hours_a_shop_waits() -> None:
    pair = granted("care")
    pair.go("hours", "second", START + 2, windows=(window("09:00", "17:00"),))
    noon, evening = START, instant("Europe/Berlin", 2024, 6, 18, 17, 0)
    assert pair.may("first", "care", noon + 3).decision == "allow"
    assert said(pair.may("first", "care", evening)) == ("hold", "outside_hours")
    assert said(pair.may("first", "renewal", evening)) == ("hold", "outside_hours")
    assert pair.may("first", "care", evening + 16 * HOUR).decision == "allow"


def test_quiet_hours_over_midnight_are_kept_in_her_own_zone() -> None:
    """She is reached from 22:00 to 02:00 on Fridays, in New York."""
    pair = granted("care")
    pair.go("hours", "second", START + 2, zone="America/New_York", windows=(window("22:00", "02:00", "fr"),))

    def decision(day: int, hour: int, minute: int) -> str:
        return pair.may("first", "care", instant("America/New_York", 2024, 6, day, hour, minute)).decision

    assert decision(21, 21, 59) == "hold"
    assert decision(21, 22, 0) == "allow"
    assert decision(22, 1, 59) == "allow"
    assert decision(22, 2, 0) == "hold"
    assert decision(22, 22, 30) == "hold"
    assert pair.may("first", "care", instant("Europe/Berlin", 2024, 6, 21, 22, 30)).decision == "hold"


def test_a_window_in_the_hour_that_the_spring_takes_away_does_not_open_that_day() -> None:
    """Berlin, 31 March 2024: 02:00 becomes 03:00."""
    pair = granted("care", at=instant("Europe/Berlin", 2024, 3, 1, 12, 0))
    pair.go("hours", "second", pair.state.at + 1, windows=(window("02:10", "02:50"),))
    night = instant("Europe/Berlin", 2024, 3, 31, 1, 0)
    reached = [
        minute for minute in range(180) if pair.may("first", "care", night + minute * MINUTE).decision == "allow"
    ]
    assert reached == []
    before = instant("Europe/Berlin", 2024, 3, 30, 3, 0)
    assert pair.may("first", "care", before).ends_at == instant("Europe/Berlin", 2024, 4, 1, 2, 10)


def test_a_window_in_the_hour_that_the_autumn_gives_twice_opens_twice() -> None:
    """Berlin, 27 October 2024: 03:00 becomes 02:00."""
    pair = granted("care", at=instant("Europe/Berlin", 2024, 10, 1, 12, 0), exp=2_000_000_000)
    pair.go("hours", "second", pair.state.at + 1, windows=(window("02:10", "02:50"),), shown="end")
    night = instant("Europe/Berlin", 2024, 10, 27, 1, 0)
    reached = [
        minute for minute in range(240) if pair.may("first", "care", night + minute * MINUTE).decision == "allow"
    ]
    assert reached == [*range(70, 110), *range(130, 170)]
    between = pair.may("first", "care", night + 120 * MINUTE)
    assert between.outward().ends_at == night + 130 * MINUTE


def test_where_the_zone_is_not_known_here_nobody_is_let_in() -> None:
    """Her server's rules are newer than ours: then we cannot say that she may be reached."""

    class NoZones:
        version = "1970a"

        def zone(self, name: str) -> None:
            return None

    pair = granted("care")
    pair.go("hours", "second", START + 2, windows=(window("00:00", "24:00"),))
    assert pair.may("first", "care", LATER).decision == "allow"
    verdict = gate.may(pair.state, "first", "care", "app", None, LATER, NoZones())
    assert said(verdict) == ("hold", "outside_hours")
    assert (verdict.as_of.zones, verdict.end_shown) == ("1970a", False)


def test_without_windows_she_is_reached_at_any_time_again() -> None:
    pair = granted("care")
    pair.go("hours", "second", START + 2, windows=(window("03:00", "04:00"),))
    assert said(pair.may("first", "care", START + 3)) == ("hold", "outside_hours")
    pair.go("hours", "second", START + 4)
    assert pair.may("first", "care", START + 5).decision == "allow"


def test_her_own_limit_counts_all_that_reached_her_by_any_channel() -> None:
    pair = granted("care", "sales", channels=("app", "phone"))
    pair.go("budget", "second", START + 2, messages={"max": 2, "per": "day"})
    pair.go("message", "first", LATER, purpose="care")
    assert pair.may("first", "sales", LATER + 1).decision == "allow"
    pair.go("contacted", "first", LATER + HOUR, purpose="sales")
    verdict = pair.may("first", "care", LATER + 2 * HOUR)
    assert said(verdict) == ("hold", "over_limit")
    assert verdict.ends_at == LATER + DAY
    assert pair.may("first", "care", LATER + DAY - 1).decision == "hold"
    assert pair.may("first", "care", LATER + DAY).decision == "allow"


def test_a_limit_of_none_at_all_has_no_end() -> None:
    pair = granted("care")
    pair.go("budget", "second", START + 2, messages={"max": 0, "per": "day"})
    verdict = pair.may("first", "care", LATER)
    assert (said(verdict), verdict.ends_at) == (("hold", "over_limit"), None)
    pair.go("budget", "second", LATER + 1)
    assert pair.may("first", "care", LATER + 2).decision == "allow"


def test_the_budget_of_a_grant_rolls() -> None:
    """Two in any week: the third may come a week after the first."""
    pair = granted("care", budget={"max": 2, "per": "week"})
    pair.go("message", "first", LATER, purpose="care")
    pair.go("message", "first", LATER + 3 * DAY, purpose="care.checkin")
    verdict = pair.may("first", "care", LATER + 4 * DAY)
    assert said(verdict) == ("hold", "over_budget")
    assert (verdict.ends_at, verdict.end_shown) == (LATER + 7 * DAY, True)
    assert pair.may("first", "care", LATER + 7 * DAY - 1).decision == "hold"
    pair.go("message", "first", LATER + 7 * DAY, purpose="care")
    assert pair.may("first", "care", LATER + 7 * DAY + 1).ends_at == LATER + 10 * DAY


def test_a_spent_grant_leaves_another_one_to_use() -> None:
    pair = granted("care", budget={"max": 1, "per": "day"})
    pair.go("grant", "second", START + 2, purposes=("care.checkin",), budget={"max": 2, "per": "month"})
    pair.go("message", "first", LATER, purpose="care.checkin")
    assert said(pair.may("first", "care", LATER + 1)) == ("hold", "over_budget")
    assert pair.may("first", "care.checkin", LATER + 1).decision == "allow"
    pair.go("message", "first", LATER + 2, purpose="care.checkin")
    verdict = pair.may("first", "care.checkin", LATER + 3)
    assert said(verdict) == ("hold", "over_budget")
    # One message of the day has to leave the window of a day, or one of the month that of a month.
    assert verdict.ends_at == LATER + 2 + DAY


def test_the_budget_of_one_grant_is_not_spent_by_what_another_lets_in() -> None:
    pair = granted("care", budget={"max": 1, "per": "day"})
    pair.go("grant", "second", START + 2, purposes=("sales",))
    for minute in range(3):
        pair.go("message", "first", LATER + minute * MINUTE, purpose="sales")
    assert pair.may("first", "care", LATER + HOUR).decision == "allow"


@pytest.mark.parametrize("purpose", sorted(EXEMPT_PURPOSES))
def test_a_safety_notice_passes_mute_hours_and_budget_and_counts_against_none(purpose: str) -> None:
    pair = granted("care", budget={"max": 1, "per": "day"})
    pair.go("budget", "second", START + 2, messages={"max": 1, "per": "day"})
    for minute in range(3):
        pair.go("message", "first", LATER + minute * MINUTE, purpose=purpose)
    assert pair.may("first", "care", LATER + HOUR).decision == "allow"
    pair.go("mute", "second", LATER + HOUR)
    pair.go("hours", "second", LATER + HOUR + 1, windows=(window("03:00", "04:00"),))
    assert said(pair.may("first", purpose, LATER + 2 * HOUR)) == ("allow", "exempt")
    assert said(pair.may("first", f"{purpose}.sale", LATER + 2 * HOUR)) == ("refuse", "no_grant")


@pytest.mark.parametrize("purpose", ["renewal", "complaint"])
def test_complaints_and_renewals_need_no_grant_but_wait_like_the_rest(purpose: str) -> None:
    pair = connected()
    assert said(pair.may("first", purpose, LATER)) == ("allow", "by_agreement")
    assert said(pair.may("second", purpose, LATER)) == ("allow", "by_agreement")
    pair.go("mute", "second", LATER)
    assert said(pair.may("first", purpose, LATER + 1)) == ("hold", "muted")


def test_a_thousand_notices_in_a_row_do_not_wash_away_what_counts() -> None:
    """Exempt notices are not limited: they must not push her budget's memory out of the state."""
    pair = granted("care", budget={"max": 1, "per": "month"})
    pair.go("message", "first", LATER, purpose="care")
    for number in range(2001):
        pair.go("contacted", "first", LATER + 1 + number, purpose="safety")
    assert said(pair.may("first", "care", LATER + HOUR)) == ("hold", "over_budget")


def test_nobody_is_reached_more_than_a_thousand_times_in_a_month() -> None:
    pair = granted("care", exp=2_000_000_000)
    for number in range(budgets.MOST_SENT):
        pair.go("contacted", "first", LATER + number, purpose="care")
    verdict = pair.may("first", "care", LATER + HOUR)
    assert said(verdict) == ("hold", "over_budget")
    assert verdict.ends_at == LATER + budgets.COUNTED_FOR
    assert len(pair.state.first.sent) <= 2 * budgets.MOST_SENT
    assert pair.may("first", "care", LATER + budgets.COUNTED_FOR).decision == "allow"


def test_each_cause_is_looked_for_before_the_next() -> None:
    """One after the other is taken away, and the next comes to light: the order is part of what is promised."""
    pair = connected()
    everything: list[tuple[str, str]] = []

    def look(at: int) -> None:
        everything.append(said(pair.may("first", "sales", at, topic="windows")))

    pair.go("mute", "second", START + 1)
    pair.go("hours", "second", START + 2, windows=(window("03:00", "04:00"),))
    pair.go("budget", "second", START + 3, messages={"max": 0, "per": "day"})
    pair.go("milestone", "first", START + 4, topic="windows", lasts=(START + HOUR) // 1000)
    pair.go("remember", "second", START + 5, key="no_interest", topic="windows")
    look(START + 6)
    pair.go("grant", "second", START + 7, purposes=("sales",), budget={"max": 0, "per": "day"})
    look(START + 8)
    look(START + HOUR)
    pair.go("forget", "second", START + HOUR + 1, key="no_interest", topic="windows")
    look(START + HOUR + 2)
    pair.go("unmute", "second", START + HOUR + 3)
    look(START + HOUR + 4)
    pair.go("hours", "second", START + HOUR + 5)
    look(START + HOUR + 6)
    pair.go("budget", "second", START + HOUR + 7)
    look(START + HOUR + 8)
    pair.go("grant", "second", START + HOUR + 9, purposes=("sales",))
    look(START + HOUR + 10)
    pair.go("revoke", "second", START + HOUR + 11)
    look(START + HOUR + 12)
    assert everything == [
        ("refuse", "no_grant"),
        ("refuse", "already_has"),
        ("refuse", "no_interest"),
        ("hold", "muted"),
        ("hold", "outside_hours"),
        ("hold", "over_limit"),
        ("hold", "over_budget"),
        ("allow", "granted"),
        ("refuse", "ended"),
    ]


def test_the_reasons_are_a_closed_list() -> None:
    assert set(REASONS.values()) == set(get_args(Decision))
    assert {reason for reason, decision in REASONS.items() if decision == "hold"} == PRIVATE_REASONS | {
        "over_budget",
        "not_now",
        "recovering",
    }


# --- what the sender is told


def _muted(pair: Pair, at: int) -> None:
    pair.go("mute", "second", at)


def _muted_with_a_hidden_end(pair: Pair, at: int) -> None:
    mute = pair.go("mute", "second", at)
    pair.go("mute_end", "second", at + 1, mute=mute.id, until=(at + 2 * DAY) // 1000)


def _muted_until_in_a_moment(pair: Pair, at: int) -> None:
    mute = pair.go("mute", "second", at)
    pair.go("mute_end", "second", at + 1, mute=mute.id, until=at // 1000 + 2)


def _muted_in_part(pair: Pair, at: int) -> None:
    pair.go("mute", "second", at, purposes=("care",))


def _asleep(pair: Pair, at: int) -> None:
    pair.go("hours", "second", at, windows=(window("03:00", "04:00"),))


def _about_to_wake(pair: Pair, at: int) -> None:
    """Her window opens within the five seconds for which a verdict is good."""
    pair.go("hours", "second", at, zone="UTC", windows=(window("11:01", "12:00"),))


def _had_enough(pair: Pair, at: int) -> None:
    pair.go("budget", "second", at, messages={"max": 0, "per": "week"})


def _had_enough_for_today(pair: Pair, at: int) -> None:
    pair.go("budget", "second", at, messages={"max": 1, "per": "day"})


HIDDEN = [
    _muted,
    _muted_with_a_hidden_end,
    _muted_until_in_a_moment,
    _muted_in_part,
    _asleep,
    _about_to_wake,
    _had_enough,
    _had_enough_for_today,
]


def test_not_now_looks_alike_whether_she_muted_sleeps_or_has_had_enough() -> None:
    """Only the heads tell that she did something, and those of a setting not even that."""
    answers = set()
    now = instant("UTC", 2024, 6, 18, 11, 0) + 58 * SECOND
    for arrange in HIDDEN:
        pair = granted("care")
        pair.go("contacted", "first", START + 2, purpose="care")
        arrange(pair, now - 2)
        verdict = pair.may("first", "care", now)
        assert verdict.decision == "hold", arrange
        assert verdict.reason in PRIVATE_REASONS
        told = verdict.outward()
        answers.add((told.decision, told.reason, told.valid_until, told.ends_at, told.end_shown, told.grant))
    assert answers == {("hold", "not_now", now + FRESH_FOR, None, False, None)}


def test_a_verdict_that_allows_does_not_give_hidden_hours_away() -> None:
    closing = instant("Europe/Berlin", 2024, 6, 18, 17, 0)
    for shown, valid_until in (("not_now", closing - 1 + FRESH_FOR), ("end", closing)):
        pair = granted("care")
        pair.go("hours", "second", START + 2, windows=(window("09:00", "17:00"),), shown=shown)
        assert pair.may("first", "care", closing - 1).valid_until == valid_until
        assert pair.may("first", "renewal", closing - 1).valid_until == valid_until


def test_a_mute_that_shows_its_end_says_when() -> None:
    pair = granted("care")
    end = LATER + 14 * DAY
    pair.go("mute", "second", LATER, until=end // 1000)
    told = pair.may("first", "care", LATER + 1).outward()
    assert (told.decision, told.reason, told.ends_at) == ("hold", "not_now", end)
    assert pair.may("first", "care", end - 1).valid_until == end
    assert pair.may("first", "care", end).decision == "allow"


def test_a_hidden_mute_that_outlasts_a_shown_one_hides_its_end() -> None:
    pair = granted("care")
    pair.go("mute", "second", LATER, until=(LATER + DAY) // 1000)
    longer = pair.go("mute", "second", LATER + 1, purposes=("care",))
    pair.go("mute_end", "second", LATER + 2, mute=longer.id, until=(LATER + 2 * DAY) // 1000)
    verdict = pair.may("first", "care", LATER + 3)
    assert verdict.ends_at == LATER + 2 * DAY
    assert verdict.outward().ends_at is None
    assert pair.may("first", "care", LATER + 2 * DAY).decision == "allow"


def test_a_shown_end_does_not_tell_whether_a_hidden_one_comes_before_it() -> None:
    pair = granted("care")
    end = LATER + 3 * DAY
    pair.go("mute", "second", LATER, until=end // 1000)
    hidden = pair.go("mute", "second", LATER + 1, purposes=("care",))
    for longer in (DAY, 4 * DAY):
        pair.go("mute_end", "second", pair.state.at + 1, mute=hidden.id, until=(LATER + longer) // 1000)
        for moment in (LATER + HOUR, LATER + 2 * DAY):
            told = pair.may("first", "care", moment).outward()
            assert (told.reason, told.ends_at, told.end_shown) == ("not_now", None, False)
    assert pair.may("first", "renewal", LATER + HOUR).outward().ends_at == end


def test_hours_that_are_shown_say_when_the_next_window_opens() -> None:
    pair = granted("care")
    pair.go("hours", "second", START + 2, windows=(window("09:00", "17:00"),), shown="end")
    evening = instant("Europe/Berlin", 2024, 6, 18, 20, 0)
    told = pair.may("first", "care", evening).outward()
    assert (told.reason, told.ends_at) == ("not_now", instant("Europe/Berlin", 2024, 6, 19, 9, 0))


def test_reasons_that_are_no_secret_are_shown() -> None:
    pair = granted("sales", budget={"max": 1, "per": "day"})
    pair.go("message", "first", LATER, purpose="sales")
    assert pair.may("first", "sales", LATER + 1).outward() == pair.may("first", "sales", LATER + 1)
    assert pair.may("first", "care", LATER + 1).outward().reason == "no_grant"


def test_no_verdict_is_good_for_more_than_five_seconds() -> None:
    pair = granted("care")
    pair.go("hours", "second", START + 2, windows=(window("09:00", "17:00"),), shown="end")
    pair.go("mute", "second", LATER, purposes=("care",), until=(LATER + 3 * SECOND) // 1000)
    for purpose in ("care", "sales", "safety", "renewal"):
        for moment in range(LATER + 1, LATER + 10 * SECOND, 700):
            verdict = pair.may("first", purpose, moment)
            assert moment < verdict.valid_until <= moment + FRESH_FOR


def test_the_wall_clock_of_the_machine_plays_no_part() -> None:
    """A verdict about the next decade is made like any other."""
    future = int(datetime(2034, 4, 20, 12, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC).timestamp()) * 1000
    pair = granted("care", exp=future // 1000 + 1)
    assert pair.may("first", "care", future).decision == "allow"


def test_a_hidden_end_stays_as_long_as_its_mute_however_many_others_are_set() -> None:
    pair = granted("care")
    mute = pair.go("mute", "second", LATER)
    pair.go("mute_end", "second", LATER + 1, mute=mute.id, until=(LATER + HOUR) // 1000)
    for number in range(40):
        to_come = hash_id(f"a mute to come {number}".encode())
        pair.go("mute_end", "second", LATER + 2 + number, mute=to_come, until=(LATER + HOUR) // 1000)
    assert pair.may("first", "care", LATER + MINUTE).decision == "hold"
    assert pair.may("first", "care", LATER + HOUR).decision == "allow"
