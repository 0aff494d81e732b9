"""What a server takes for an encrypted body, though it opens none; and who shows what nobody can open."""

from typing import Any

import pytest

from comity.crypto.encryption import decrypt_body
from comity.crypto.keys import SigningKey
from comity.errors import Malformed
from comity.rules.fold import Record, fold
from support.parties import DAY, Pair, granted
from support.parties import START as THEN
from support.world import World, body_of

WRITTEN: dict[str, dict[str, Any]] = {
    "message": {},
    "remember": {"key": "language"},
    "milestone": {"kind": "bought", "topic": "windows", "when": 1_700_000_000},
    "ask": {"kind": "hold", "effort": "minute"},
}


@pytest.mark.parametrize("kind", WRITTEN)
async def test_a_body_of_another_form_is_refused_and_its_place_stays_free(world: World, kind: str) -> None:
    """BODY-5, ACT-10."""
    pair = await world.shop_and_customer("care", "favour")
    for body in ("A.A.A.A.A", body_of("A" * 43), body_of(pair.cid)[:-1], body_of(pair.cid) + "A"):
        act = pair.compose("first", kind, **WRITTEN[kind], body=body)
        assert (await world.act(act)).code == "malformed", body[:20]
    await pair.go("first", kind, **WRITTEN[kind], body=body_of(pair.cid))


async def test_an_accepted_act_gets_its_first_answer_before_anybody_looks_at_its_body(world: World) -> None:
    """ACT-12."""
    pair = await world.shop_and_customer("care")
    act = await pair.go("first", "message")
    assert (await world.act(act)).status == 200


def test_a_body_of_another_form_never_stops_a_reader() -> None:
    """BODY-5: a record that some server accepted is folded, and its body is one that cannot be read."""
    pair: Pair = granted("care")
    before = pair.state
    pair.go("message", "first", THEN + DAY, purpose="care", body="A.A.A.A.A")
    folded = fold(before, Record(pair.records[-1].event, pair.records[-1].act))
    assert folded == pair.state and len(folded.first.sent) == 1
    with pytest.raises(Malformed):
        decrypt_body("A.A.A.A.A", pair.state.cid, SigningKey(b"m" * 32))
