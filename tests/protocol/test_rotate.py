"""A new key: both keys sign, the rights stay with the side, and the old name stops."""

import json
from typing import Any

import base58
import pytest

from comity.crypto.keys import Signer
from comity.documents.acts import ACT_TYP, SignedAct, open_act
from comity.documents.proofs import sign_rotation_proof
from comity.documents.types import SIDES
from comity.encoding import b64u_decode
from comity.errors import Malformed, Refused
from comity.rules.next_act import blind_revoke, compose_act
from support.parties import DAY, HOUR, MIA, SHOP, START, Pair, connected, forge, granted, keys_of, pairwise, public

NOW = START + HOUR
NEW = pairwise("mia 2")
SHOP_2 = public(SHOP.did, "key-2")


def rotation(pair: Pair, new: Signer = NEW, signer: Signer = MIA, **changes: Any) -> SignedAct:
    door = pair.state.door(pair.state.side_of(signer.did) or "second")
    across = SHOP if door is pair.state.second else MIA
    given: dict[str, Any] = {
        "iss": signer.did, "aud": across.did, "iat": NOW // 1000, "cid": pair.state.cid,
        "seq": door.seq, "prev": door.head,
        "kid": new.kid, "key": new.key.public.multibase,
        "proof": sign_rotation_proof(pair.state.cid, door.seq, door.head, new),
    }  # fmt: skip
    return compose_act("rotate", signer, **{**given, **changes})


def refusal(pair: Pair, new: Signer = NEW, signer: Signer = MIA, **changes: Any) -> str:
    with pytest.raises(Refused) as caught:
        rotation(pair, new, signer, **changes)
    return caught.value.code


def test_a_person_goes_on_under_a_new_name_with_mutes_and_settings_kept() -> None:
    pair = granted("care")
    pair.go("mute", "second", START + 9, purposes=("sales",))
    pair.go("budget", "second", START + 10, messages={"max": 3, "per": "day"})
    before = pair.state.second
    pair.rotate("second", NEW, NOW)
    after = pair.state.second
    assert (after.did, after.kid, after.key, after.origin) == (NEW.did, NEW.kid, NEW.key.public.multibase, MIA.did)
    assert (after.mutes, after.settings) == (before.mutes, before.settings)
    pair.go("mute", "second", NOW + 1)
    assert pair.state.second.seq == before.seq + 2


def test_a_person_s_grants_end_with_the_old_name_and_are_signed_anew() -> None:
    pair = granted("care")
    pair.go("grant", "first", START + 9, purposes=("care",))
    pair.rotate("second", NEW, NOW)
    assert pair.state.second.grants == ()
    assert pair.may("first", "care", NOW + 1).reason == "no_grant"
    # What the shop gave stays: its name is the same.
    assert pair.may("second", "care", NOW + 1).decision == "allow"
    pair.go("grant", "second", NOW + 2, purposes=("care",))
    assert pair.may("first", "care", NOW + 3).decision == "allow"


def test_a_business_keeps_its_name_and_its_grants() -> None:
    pair = granted("care")
    pair.go("grant", "first", START + 9, purposes=("care",))
    pair.rotate("first", SHOP_2, NOW)
    door = pair.state.first
    assert (door.did, door.kid, len(door.grants)) == (SHOP.did, SHOP_2.kid, 1)
    assert pair.may("first", "care", NOW + 1).decision == "allow"


def test_from_then_on_the_old_key_speaks_for_nobody() -> None:
    pair = connected()
    pair.rotate("second", NEW, NOW)
    for kind in ("mute", "revoke"):
        door = pair.state.second
        old = compose_act(
            kind, MIA, iss=MIA.did, aud=SHOP.did, iat=NOW // 1000, cid=pair.state.cid, seq=door.seq, prev=door.head
        )
        with pytest.raises(Refused) as caught:
            pair.send(old, NOW + 1)
        assert caught.value.code == "key_replaced"


def test_a_no_that_was_written_before_the_other_took_a_new_name_still_reaches_it() -> None:
    pair = granted("care")
    fields = {"grant": pair.state.second.grants[0].id}
    pair.rotate("first", SHOP_2, NOW - 9)
    # A business keeps its name; a person does not.
    pair.rotate("second", NEW, NOW - 8)
    pair.go("remember", "first", NOW - 7, key="name")
    for kind, given in (("mute", {}), ("forget", {"key": "name"}), ("revoke", {})):
        door = pair.state.first
        members: Any = {"iat": NOW // 1000, "cid": pair.state.cid, "seq": door.seq, "prev": door.head, **given}
        pair.send(compose_act(kind, SHOP_2, iss=SHOP.did, aud=MIA.did, **members), NOW)
    assert pair.state.phase == "ended"
    assert fields


def test_anything_else_is_addressed_to_the_new_name() -> None:
    pair = connected()
    pair.rotate("second", NEW, NOW - 9)
    members: Any = {"iat": NOW // 1000, "cid": pair.state.cid, "seq": 0, "prev": pair.state.cid, "purpose": "care"}
    with pytest.raises(Refused) as caught:
        pair.send(compose_act("contacted", SHOP, iss=SHOP.did, aud=MIA.did, channel="phone", **members), NOW)
    assert caught.value.code == "wrong_audience"
    pair.send(compose_act("contacted", SHOP, iss=SHOP.did, aud=NEW.did, channel="phone", **members), NOW)


def test_a_restored_wallet_revokes_though_the_other_has_a_new_name() -> None:
    pair = connected()
    pair.rotate("second", NEW, NOW - 9)
    pair.send(blind_revoke(pair.state.cid, MIA.did, 0, SHOP), NOW)
    assert pair.state.phase == "ended"


def test_the_new_key_must_have_signed_exactly_this() -> None:
    pair = connected()
    door, cid = pair.state.second, pair.state.cid
    thief = pairwise("thief")
    assert refusal(pair, proof=sign_rotation_proof(cid, door.seq + 1, door.head, NEW)) == "wrong_proof"
    assert refusal(pair, proof=sign_rotation_proof(cid, door.seq, "A" * 43, NEW)) == "wrong_proof"
    assert refusal(pair, proof=sign_rotation_proof("A" * 43, door.seq, door.head, NEW)) == "wrong_proof"
    assert refusal(pair, proof=sign_rotation_proof(cid, door.seq, door.head, thief)) == "wrong_proof"
    in_its_name = Signer(NEW.kid, thief.key)
    assert refusal(pair, proof=sign_rotation_proof(cid, door.seq, door.head, in_its_name)) == "wrong_proof"
    assert refusal(pair, proof="a.b.c") == "wrong_proof"
    assert refusal(pair, proof=rotation(pair).raw[:2000]) == "wrong_proof"
    assert rotation(pair).kind == "rotate"


def test_nobody_makes_himself_the_other_or_somebody_else() -> None:
    """A side can only take a key that signs along; and a did:web only another key of its own name."""
    pair = connected()
    assert refusal(pair, key=SHOP.key.public.multibase) == "malformed"
    assert refusal(pair, kid=SHOP_2.kid) == "malformed"
    for new in (public("did:web:evil.example", "key-1"), NEW):
        assert refusal(pair, new, SHOP) == "malformed"
    assert rotation(pair, SHOP_2, SHOP).kind == "rotate"


def test_a_low_order_key_is_no_new_key() -> None:
    pair = connected()
    low = "z" + base58.b58encode(b"\xed\x01" + bytes(32)).decode()
    assert low.startswith("z6Mk")
    payload = {**_payload(rotation(pair, SHOP_2, SHOP)), "key": low}
    with pytest.raises(Malformed):
        open_act(forge(payload, ACT_TYP, SHOP), keys_of(SHOP))


def _payload(act: SignedAct) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(b64u_decode(act.raw.split(".")[1]))
    return loaded


def test_a_side_may_change_its_key_again_and_again() -> None:
    pair = connected()
    for number in range(2, 6):
        pair.rotate("second", pairwise(f"mia {number}"), NOW + number * DAY)
    assert pair.state.second.did == pairwise("mia 5").did
    assert pair.state.side_of(MIA.did) == "second"
    with pytest.raises(Refused) as caught:
        pair.send(open_act(mute_by(pair, pairwise("mia 3")).raw), NOW + 9 * DAY)
    assert caught.value.code == "key_replaced"


def test_a_no_addressed_to_any_earlier_name_still_arrives() -> None:
    for earlier in (MIA, pairwise("mia 2"), pairwise("mia 3")):
        pair = connected()
        for number in range(2, 5):
            pair.rotate("second", pairwise(f"mia {number}"), NOW + number * DAY)
        door = pair.state.first
        members: Any = {"iat": (NOW + 9 * DAY) // 1000, "cid": pair.state.cid, "seq": door.seq, "prev": door.head}
        mute = compose_act("mute", SHOP, iss=SHOP.did, aud=earlier.did, **members)
        pair.send(open_act(mute.raw, keys_of(SHOP)), NOW + 9 * DAY)
        assert [it.id for it in pair.state.first.mutes] == [mute.id]


def mute_by(pair: Pair, signer: Signer) -> SignedAct:
    door = pair.state.second
    members: Any = {"iat": (NOW + 9 * DAY) // 1000, "cid": pair.state.cid, "seq": door.seq, "prev": door.head}
    return compose_act("mute", signer, iss=signer.did, aud=SHOP.did, **members)


def test_both_see_the_new_name() -> None:
    pair = connected()
    pair.rotate("second", NEW, NOW)
    for side in SIDES:
        assert pair.seen_by(side).second.did == NEW.did
    assert keys_of(NEW)(NEW.kid) == NEW.key.public
