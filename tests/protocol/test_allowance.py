"""What an offer allows, and whether it was given (spec/offer.md, ALLOW-1 to ALLOW-4)."""

from typing import Any

import pytest
from pydantic import ValidationError

from comity.documents.offers import Allow
from comity.rules.allowances import GIVE_WITHIN, IN_FORCE_FOR, promise_status, promised_grant
from support.parties import DAY, START, Pair, connected

ALLOW = Allow.model_validate(
    {"purposes": ("care", "favour"), "channels": ("app",), "days": 365, "budget": {"max": 10, "per": "week"}}
)


def stands(pair: Pair, now: int) -> str:
    return promise_status(ALLOW, "first", START, pair.records, now)


def promised(pair: Pair, at: int, **changes: Any) -> Any:
    return pair.go("grant", "first", at, **{**promised_grant(ALLOW, START), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"purposes": ("complaint",)},
        {"purposes": ("care", "safety")},
        {"purposes": ()},
        {"days": 0},
        {"days": 367},
        {"budget": {"max": 0, "per": "week"}},
        {"channels": ()},
    ],
)
def test_an_offer_allows_nothing_that_no_grant_could(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Allow.model_validate({**ALLOW.model_dump(), **changes})


def test_the_grant_of_a_promise_ends_so_many_days_after_the_opening() -> None:
    assert promised_grant(ALLOW, START + 999) == {
        "purposes": ("care", "favour"),
        "channels": ("app",),
        "exp": (START + 365 * DAY) // 1000,
        "budget": ALLOW.budget,
    }
    assert "budget" not in promised_grant(Allow(purposes=("care",), channels=("app",), days=1), START)


def test_a_promise_waits_for_a_day_and_is_broken_then() -> None:
    pair = connected()
    assert [stands(pair, START + at) for at in (0, GIVE_WITHIN - 1, GIVE_WITHIN)] == ["waiting", "waiting", "broken"]
    promised(pair, START + 2 * DAY)
    assert stands(pair, START + 2 * DAY) == "kept"


@pytest.mark.parametrize(
    "lesser",
    [
        {"purposes": ("care",)},
        {"purposes": ("care", "favour.hold")},
        {"channels": ("email",)},
        {"exp": (START + 365 * DAY) // 1000 - 1},
        {"budget": {"max": 9, "per": "week"}},
        {"budget": {"max": 10, "per": "month"}},
    ],
)
def test_a_lesser_grant_keeps_no_promise(lesser: dict[str, Any]) -> None:
    pair = connected()
    promised(pair, START + 1, **lesser)
    assert stands(pair, START + 2) == "waiting"


def test_a_wider_grant_keeps_it() -> None:
    pair = connected()
    promised(
        pair, START + 1, channels=("email", "app"), budget={"max": 20, "per": "day"}, exp=(START + 400 * DAY) // 1000
    )
    assert stands(pair, START + 2) == "kept"


@pytest.mark.parametrize(("at", "then"), [(START + IN_FORCE_FOR - 1, "broken"), (START + IN_FORCE_FOR, "kept")])
def test_bait_that_is_taken_back_within_a_week_is_a_broken_promise(at: int, then: str) -> None:
    pair = connected()
    grant = promised(pair, START + 1)
    pair.go("withdraw", "first", at, grant=grant.id)
    assert stands(pair, at) == stands(pair, at + 90 * DAY) == then


def test_a_lesser_grant_in_its_place_takes_it_back() -> None:
    pair = connected()
    grant = promised(pair, START + 1)
    lesser = promised(pair, START + DAY, purposes=("care",), replaces=grant.id)
    assert stands(pair, START + DAY) == "broken"
    promised(pair, START + 2 * DAY - 1, replaces=lesser.id)
    assert stands(pair, START + 2 * DAY) == "kept"


@pytest.mark.parametrize("again", [1 + GIVE_WITHIN, 28 * DAY])
def test_bait_is_not_made_good_by_a_grant_on_a_later_day(again: int) -> None:
    pair = connected()
    grant = promised(pair, START + 1)
    pair.go("withdraw", "first", START + 1001, grant=grant.id)
    promised(pair, START + 1000 + again)
    assert stands(pair, START + 29 * DAY) == "broken"
    promised(pair, START + 30 * DAY)
    assert stands(pair, START + 30 * DAY) == "broken"


def test_a_grant_that_was_taken_back_by_mistake_is_given_again_within_a_day() -> None:
    pair = connected()
    grant = promised(pair, START + 1)
    pair.go("withdraw", "first", START + 3 * DAY, grant=grant.id)
    assert stands(pair, START + 3 * DAY) == "broken"
    second = promised(pair, START + 3 * DAY + GIVE_WITHIN - 1)
    assert stands(pair, START + 5 * DAY) == "kept"
    pair.go("withdraw", "first", START + 5 * DAY, grant=second.id)
    assert stands(pair, START + 30 * DAY) == "broken"


def test_a_grant_of_the_other_side_keeps_no_promise_of_ones_own() -> None:
    pair = connected()
    pair.go("grant", "second", START + 1, **promised_grant(ALLOW, START))
    assert stands(pair, START + 2) == "waiting"
