"""What a "no" closes, and what it only says again (spec/connection.md, CONN-24)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comity.rules.fold import MOST_RENOUNCED
from comity.rules.narrowing import is_new_restriction
from support.parties import DAY, HOUR, SECOND, START, Pair, connected, granted

NOON = START + HOUR


def closes(pair: Pair, kind: str, at: int = NOON, side: Any = "second", **fields: Any) -> bool:
    """Whether the next act of a side would close something; it is not done."""
    return is_new_restriction(pair.state, side, pair.compose(kind, side, at, **fields).payload, at)


def test_mia_s_first_mute_closes_something_and_the_same_once_more_does_not() -> None:
    pair = granted("care", "sales")
    assert closes(pair, "mute")
    pair.go("mute", "second", NOON, purposes=("sales",), channels=("app", "email"))
    assert not closes(pair, "mute", NOON + 1, purposes=("sales",), channels=("app",))
    assert not closes(pair, "mute", NOON + 1, purposes=("sales.windows",), channels=("email",))
    assert closes(pair, "mute", NOON + 1, purposes=("sales",)), "all channels"
    assert closes(pair, "mute", NOON + 1, channels=("app",)), "all purposes"
    assert closes(pair, "mute", NOON + 1, purposes=("sales", "care"), channels=("app",))
    assert closes(pair, "mute", NOON + 1, purposes=("sale",), channels=("app",)), "another word"
    assert closes(pair, "mute", NOON + 1, "first", purposes=("sales",), channels=("app",)), "the other side's own door"
    pair.go("mute", "second", NOON + 2)
    assert not closes(pair, "mute", NOON + 3)
    assert not closes(pair, "mute", NOON + 3, purposes=("care",))


def test_a_mute_that_is_over_keeps_nothing_closed() -> None:
    pair = connected()
    pair.go("mute", "second", NOON, until=(NOON + DAY) // 1000)
    assert not closes(pair, "mute", NOON + DAY - 1, until=(NOON + 9 * DAY) // 1000)
    assert closes(pair, "mute", NOON + DAY)
    pair.go("mute", "second", NOON + DAY)
    mute = pair.state.second.mutes[-1].id
    pair.go("mute_end", "second", NOON + DAY + 1, mute=mute, until=(NOON + 2 * DAY) // 1000)
    assert not closes(pair, "mute", NOON + 2 * DAY - SECOND)
    assert closes(pair, "mute", NOON + 2 * DAY), "her hidden end has passed"


def test_a_revoke_closes_an_open_connection_and_a_withdraw_a_grant_in_force() -> None:
    pair = granted("care")
    (grant,) = pair.state.second.grants
    assert closes(pair, "revoke") and closes(pair, "revoke", side="first")
    assert closes(pair, "withdraw", grant=grant.id)
    assert not closes(pair, "withdraw", side="first", grant=grant.id), "hers, not the shop's"
    assert not closes(pair, "withdraw", grant.exp * 1000, grant=grant.id)
    pair.go("withdraw", "second", NOON, grant=grant.id)
    assert not closes(pair, "withdraw", NOON + 1, grant=grant.id)
    pair.go("revoke", "second", NOON + 2)
    assert not closes(pair, "revoke", NOON + 3)


def test_a_note_can_be_forgotten_once() -> None:
    pair = connected()
    pair.go("remember", "second", NOON, key="paper_receipt")
    assert closes(pair, "forget", NOON + 1, key="paper_receipt")
    assert not closes(pair, "forget", NOON + 1, key="paper_receipt", topic="tea")
    pair.go("forget", "second", NOON + 1, key="paper_receipt")
    assert not closes(pair, "forget", NOON + 2, key="paper_receipt")


def test_a_shop_gives_up_a_part_of_a_consent_once_and_no_more_parts_than_there_are() -> None:
    pair = granted("care", "sales")
    grant = next(it for it in pair.state.second.grants if "sales" in it.purposes)
    named: dict[str, Any] = {"side": "first", "grants": (grant.id,), "because": "told_us"}
    assert closes(pair, "renounce", **named)
    assert closes(pair, "renounce", **named, purposes=("sales.windows",))
    assert not closes(pair, "renounce", **named, purposes=("complaint",)), "never had"
    pair.go("renounce", "first", NOON, grants=(grant.id,), because="told_us", purposes=("sales.windows",))
    assert not closes(pair, "renounce", NOON + 1, **named, purposes=("sales.windows.roof",))
    assert closes(pair, "renounce", NOON + 1, **named, purposes=("sales.doors",))
    for number in range(MOST_RENOUNCED + 1):
        pair.go(
            "renounce",
            "first",
            NOON + 1 + number,
            grants=(grant.id,),
            because="told_us",
            purposes=(f"sales.a{number}",),
        )
    assert not closes(pair, "renounce", NOON + DAY, **named, purposes=("sales.doors",)), "all of it by now"


def test_to_say_more_is_no_closing() -> None:
    pair = granted("care")
    assert not closes(pair, "unmute") and not closes(pair, "remember", key="a")
    mute = pair.go("mute", "second", NOON)
    assert not closes(pair, "mute_end", NOON + 1, mute=mute.id, until=(NOON + DAY) // 1000)


# --- held against the gate

SAYS = ("care", "care.checkin", "sales", "sales.windows", "sale")
WAYS = ("app", "email", "phone")
some_purposes = st.one_of(st.none(), st.lists(st.sampled_from(SAYS), min_size=1, max_size=2, unique=True).map(tuple))
some_channels = st.one_of(st.none(), st.lists(st.sampled_from(WAYS), min_size=1, max_size=2, unique=True).map(tuple))
parts = st.tuples(some_purposes, some_channels)


def reached(pair: Pair, at: int) -> set[tuple[str, str]]:
    """For what, and by which way, the shop reaches Mia."""
    asked = [(purpose, way) for purpose in SAYS for way in WAYS]
    return {(purpose, way) for purpose, way in asked if pair.may("first", purpose, at, way).decision == "allow"}


def fields_of(part: tuple[Any, Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(("purposes", "channels"), part, strict=True) if value is not None}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(parts, st.sampled_from((None, 1, 30)), st.sampled_from((None, 2))), max_size=4), parts)
def test_a_mute_that_stops_what_came_through_before_is_narrowing(earlier: list[Any], last: Any) -> None:
    pair = granted(*SAYS, channels=WAYS)
    at = NOON
    for part, days, hidden in earlier:
        at += SECOND
        pair.go(
            "mute", "second", at, **fields_of(part), **({} if days is None else {"until": (at + days * DAY) // 1000})
        )
        if days is None and hidden is not None:
            mute = pair.state.second.mutes[-1].id
            pair.go("mute_end", "second", at + 1, mute=mute, until=(at + hidden * DAY) // 1000)
    at += 5 * DAY
    before, closing = reached(pair, at), closes(pair, "mute", at, **fields_of(last))
    pair.go("mute", "second", at, **fields_of(last))
    assert closing or before <= reached(pair, at + 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(parts, max_size=4), parts)
def test_giving_up_what_was_allowed_before_is_narrowing(earlier: list[Any], last: Any) -> None:
    pair = granted(*SAYS, channels=WAYS)
    named = {"grants": tuple(it.id for it in pair.state.second.grants), "because": "told_us"}
    for place, part in enumerate(earlier):
        pair.go("renounce", "first", NOON + place, **named, **fields_of(part))
    at = NOON + HOUR
    before, closing = reached(pair, at), closes(pair, "renounce", at, "first", **named, **fields_of(last))
    pair.go("renounce", "first", at, **named, **fields_of(last))
    assert closing or before <= reached(pair, at + 1)
