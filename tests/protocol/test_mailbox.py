"""A mailbox takes the news of a side only if its own key says so (ACT-15)."""

from typing import Any

import pytest

from comity.crypto.jws import sign_jws
from comity.crypto.keys import Signer
from comity.documents.acts import SETTING_TYP, SignedAct, open_act
from comity.documents.proofs import sign_mailbox_proof, sign_rotation_proof
from comity.encoding import dump_json
from comity.errors import Malformed, Refused
from support.parties import MIA, SHOP, START, Pair, connected, keys_of, pairwise

NOW = START + 1
BOX = pairwise("box")


def setting(pair: Pair, side: Any = "second", **members: Any) -> SignedAct:
    """A mailbox setting as whoever signs for that side may send it."""
    signer = pair.signers[side]
    plain = pair.compose("mailbox", side, NOW).payload.model_dump(exclude_none=True)
    return open_act(sign_jws(dump_json({**plain, **members}), SETTING_TYP, signer), keys_of(SHOP))


def code(pair: Pair, side: Any = "second", **members: Any) -> str:
    with pytest.raises(Refused) as caught:
        setting(pair, side, **members)
    return caught.value.code


def test_a_mailbox_brings_news_until_another_or_none_is_named() -> None:
    pair = connected()
    for box in (BOX, pairwise("another box"), None):
        pair.go("mailbox", "second", pair.state.at + 1, box=box)
        assert pair.state.second.settings.mailbox == (box.did if box else None)


def test_the_mailbox_must_have_signed_exactly_this() -> None:
    pair = connected()
    pair.go("budget", "second", NOW)
    settings, cid = pair.state.second.settings, pair.state.cid
    assert settings.head is not None
    place = (cid, settings.seq, settings.head)

    def refused(proof: str) -> str:
        return code(pair, did=BOX.did, proof=proof)

    assert setting(pair, did=BOX.did, proof=sign_mailbox_proof(MIA.did, *place, BOX)).kind == "mailbox"
    assert refused(sign_mailbox_proof(SHOP.did, *place, BOX)) == "wrong_proof"
    assert refused(sign_mailbox_proof(BOX.did, *place, BOX)) == "wrong_proof"
    assert refused(sign_mailbox_proof(MIA.did, "A" * 43, *place[1:], BOX)) == "wrong_proof"
    assert refused(sign_mailbox_proof(MIA.did, cid, settings.seq + 1, settings.head, BOX)) == "wrong_proof"
    assert refused(sign_mailbox_proof(MIA.did, cid, settings.seq, cid, BOX)) == "wrong_proof"
    assert refused(sign_mailbox_proof(MIA.did, *place, MIA)) == "wrong_proof"
    assert refused(sign_mailbox_proof(MIA.did, *place, Signer(BOX.kid, MIA.key))) == "wrong_proof"
    assert refused(sign_rotation_proof(*place, BOX)) == "wrong_proof"
    assert refused("a.b.c") == "wrong_proof"


def test_a_mailbox_is_a_key_and_comes_with_its_proof() -> None:
    pair = connected()
    proof = sign_mailbox_proof(MIA.did, pair.state.cid, 0, pair.state.cid, BOX)
    assert code(pair, did=SHOP.did, proof=proof) == "malformed"
    assert code(pair, did=BOX.did) == "malformed"
    assert code(pair, proof=proof) == "malformed"
    with pytest.raises(Malformed):
        pair.compose("mailbox", "second", NOW, did=BOX.did)


def test_the_first_setting_of_one_side_is_no_proof_for_the_first_of_the_other() -> None:
    """Both have the same cid, seq 0 and prev; the side's name tells them apart."""
    pair = connected()
    proof = sign_mailbox_proof(MIA.did, pair.state.cid, 0, pair.state.cid, BOX)
    assert setting(pair, did=BOX.did, proof=proof).payload.iss == MIA.did
    assert code(pair, "first", did=BOX.did, proof=proof) == "wrong_proof"
