"""Being away: a mute that says why (spec/away.md, AWAY-1, AWAY-2)."""

import pytest

from comity.documents.types import SIDES
from comity.errors import Malformed
from comity.rules.away import muted_away_until
from comity.rules.state import public_state
from comity.rules.timeline import timeline
from support.parties import DAY, HOUR, START, granted

END = START + 14 * DAY


def test_an_absence_has_an_end() -> None:
    pair = granted("care")
    with pytest.raises(Malformed):
        pair.compose("mute", "second", START + 2, why="away")
    with pytest.raises(Malformed):
        pair.compose("mute", "second", START + 2, until=END // 1000, why="tired")


@pytest.mark.parametrize("side", SIDES)
def test_both_sides_read_away_until_and_the_state_keeps_it(side: str) -> None:
    pair = granted("care")
    away = pair.go("mute", side, START + 2, until=END // 1000, why="away")  # type: ignore[arg-type]
    for reader in SIDES:
        seen = pair.seen_by(reader)
        assert public_state(seen)[side]["mutes"] == [{"id": away.id, "until": END // 1000, "why": "away"}]
        assert muted_away_until(seen.door(side), END - 1) == END // 1000  # type: ignore[arg-type]
    assert [(it.kind, it.about, it.outcome) for it in timeline(pair.records)][-1] == (
        "mute", "until 2024-07-02", "away",
    )  # fmt: skip
    assert muted_away_until(pair.state.door(side), END) is None  # type: ignore[arg-type]


def test_a_plain_mute_says_nothing_of_being_away() -> None:
    pair = granted("care")
    pair.go("mute", "second", START + 2, until=END // 1000)
    assert muted_away_until(pair.state.second, START + 3) is None
    assert "why" not in public_state(pair.state)["second"]["mutes"][0]
    assert timeline(pair.records)[-1].outcome is None


@pytest.mark.parametrize("purpose", ["care", "sales", "complaint", "safety", "renewal"])
@pytest.mark.parametrize("scope", [{}, {"purposes": ("care",)}, {"channels": ("app",)}])
def test_the_gate_does_not_ask_why(purpose: str, scope: dict[str, tuple[str, ...]]) -> None:
    """The same verdict, but for the heads that it rests on, with and without the word."""
    plain, away = granted("care"), granted("care")
    plain.go("mute", "second", START + 2, until=END // 1000, **scope)
    away.go("mute", "second", START + 2, until=END // 1000, why="away", **scope)
    for at in (START + HOUR, END - 1, END):
        one, two = plain.may("first", purpose, at), away.may("first", purpose, at)
        assert one.outward().__struct_fields__ == two.outward().__struct_fields__
        for member in set(one.__struct_fields__) - {"as_of", "grant"}:
            assert getattr(one, member) == getattr(two, member)
