"""What the gate says, in words; and the numbers of spec/business-messages.md."""

import pytest
from msgspec.structs import replace

from comity.rules import message_lifetime
from comity.rules.gate import PRIVATE_REASONS, REASONS, AsOf, Verdict
from comity_server.api.business.endpoints import drafts
from comity_server.api.business.reasons import WHY, hold_end, reason_text
from support.spec_pages import page

_HELD = Verdict("hold", "muted", AsOf("", "", "zones"), 5000, ends_at=9000)


def test_a_marketer_is_told_every_reason_in_a_sentence() -> None:
    assert set(WHY) == set(REASONS)
    assert all(text[0].isupper() and text.endswith(".") and "_" not in text for text in WHY.values())


def test_mutes_hours_and_limits_of_ones_own_read_alike() -> None:
    assert {reason_text(replace(_HELD, reason=reason)) for reason in (*PRIVATE_REASONS, "not_now")} == {WHY["not_now"]}


def test_the_end_of_a_hold_is_told_only_where_it_is_shown() -> None:
    assert (hold_end(_HELD), hold_end(replace(_HELD, end_shown=True))) == (None, 9000)


@pytest.mark.parametrize(
    ("number", "told", "in_code"),
    [
        ("SAY-4", f"more than {message_lifetime.LONGEST_LIFE // 86_400} days ahead", "more than 90 days ahead"),
        ("SAY-6", f"{drafts.KEPT_FOR // 86_400_000} days after", "90 days after"),
        ("SAY-6", f"at most {drafts.MOST_DRAFTS};", "at most 1000;"),
    ],
)
def test_the_times_and_limits_of_the_page_are_those_of_the_code(number: str, told: str, in_code: str) -> None:
    rule = page("business-messages").partition(f"**{number}**")[2].partition("\n- **")[0]
    assert told == in_code and told in " ".join(rule.split())
