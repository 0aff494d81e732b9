"""What the gate says, in words."""

from dataclasses import replace

from comity.gate import PRIVATE_REASONS, REASONS, AsOf, Verdict
from comity_server.business.words import WHY, until, why

_HELD = Verdict("hold", "muted", AsOf("", "", "zones"), 5000, ends_at=9000)


def test_a_marketer_is_told_every_reason_in_a_sentence() -> None:
    assert set(WHY) == set(REASONS)
    assert all(text[0].isupper() and text.endswith(".") and "_" not in text for text in WHY.values())


def test_mutes_hours_and_limits_of_ones_own_read_alike() -> None:
    assert {why(replace(_HELD, reason=reason)) for reason in (*PRIVATE_REASONS, "not_now")} == {WHY["not_now"]}


def test_the_end_of_a_hold_is_told_only_where_it_is_shown() -> None:
    assert (until(_HELD), until(replace(_HELD, end_shown=True))) == (None, 9000)
