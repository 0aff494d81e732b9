"""How long a held message waits (spec/connection.md, HOLD-1 to HOLD-3)."""

import pytest

from comity.rules.gate import Verdict
from comity.rules.message_lifetime import default_expiry, expiry_warning, public_verdict
from comity.rules.state import Settings
from support.parties import DAY, HOUR, START, ZONES, Pair, granted

NOW = START + HOUR
SENT = NOW // 1000
DAYS = DAY // 1000


def life(pair: Pair) -> int:
    """Seconds that a message of the shop's about care would wait."""
    return default_expiry(pair.may("first", "care", NOW), NOW) - SENT


def test_a_message_that_names_no_end_waits_thirty_five_days() -> None:
    assert life(granted("care")) == 35 * DAYS


@pytest.mark.parametrize(("shown", "waits"), [(3, 35), (34, 35), (35, 36), (60, 61), (89, 90), (300, 90)])
def test_it_waits_until_a_day_after_the_end_that_is_shown_and_ninety_days_at_most(shown: int, waits: int) -> None:
    pair = granted("care")
    pair.go("mute", "second", START + 2, until=SENT + shown * DAYS)
    assert life(pair) == waits * DAYS


def test_an_end_that_is_not_shown_does_not_move_it() -> None:
    """Mia mutes without an end; whether she set one of sixty days for herself, the shop cannot find out (HOLD-2)."""
    pair = granted("care")
    mute = pair.go("mute", "second", START + 2)
    before = default_expiry(pair.may("first", "care", NOW), NOW)
    pair.go("mute_end", "second", START + 3, mute=mute.id, until=SENT + 60 * DAYS)
    verdict = pair.may("first", "care", NOW)
    assert verdict.ends_at is not None and default_expiry(verdict, NOW) == before == SENT + 35 * DAYS
    assert expiry_warning(verdict, SENT + 1) is None


def test_an_end_before_the_shown_one_brings_a_warning() -> None:
    pair = granted("care")
    end = SENT + 30 * DAYS
    pair.go("mute", "second", START + 2, until=end)
    verdict = pair.may("first", "care", NOW)
    assert [expiry_warning(verdict, expires) for expires in (end - 1, end, end + 1)] == [
        "expires_before_end",
        "expires_before_end",
        None,
    ]
    assert expiry_warning(granted("care").may("first", "care", NOW), SENT + 1) is None


def test_the_verdict_on_what_is_shown_is_the_same_with_settings_and_without() -> None:
    """Hours that are closed, a budget of none and a hidden end: the shop's own copy has none of them (HOLD-2)."""
    pair = granted("care")
    mute = pair.go("mute", "second", START + 2)

    def shown() -> Verdict:
        return public_verdict(pair.state, "first", "care", None, NOW, ZONES)

    before, named = shown(), pair.may("first", "care", NOW)
    assert before == named
    pair.go("mute_end", "second", START + 3, mute=mute.id, until=SENT + 60 * DAYS)
    pair.go("budget", "second", START + 4, messages={"max": 0, "per": "day"})
    windows = ({"days": ("su",), "start": "03:00", "end": "03:15"},)
    pair.go("hours", "second", START + 5, zone="Europe/Berlin", windows=windows, shown="end")
    assert pair.state.second.settings != Settings() and pair.may("first", "care", NOW).ends_at
    assert shown() == before
