"""What we sign, others verify; what others sign in our form, we open."""

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc import jwt as joserfc_jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet, OKPKey

from comity.crypto.keys import Signer, key_of_jwk
from comity.documents.acts import SignedAct, open_act
from comity.documents.agreements import AGREEMENT_TYP, countersign, half_sign, open_agreement
from comity.documents.events import open_event
from comity.documents.status_lists import (
    ENTRIES,
    StatusList,
    decode_list,
    encode_list,
    open_status_list,
    pack_entries,
    sign_status_list,
    value_at,
)
from comity.encoding import b64u_decode, hash_id
from comity.errors import Refused
from support.parties import (
    BODY,
    DAY,
    HOME,
    MIA,
    SHOP,
    START,
    STATUS_URI,
    agreement_on,
    connected,
    granted,
    keys_of,
    offer,
    pairwise,
)

# RFC 9864 would have it called Ed25519, which PyJWT does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
ALGORITHMS = ["EdDSA"]
ANY_TIME: Any = {"verify_exp": False}
"""The story is in 2024, and these libraries ask the machine for the time."""


def private_jwk(signer: Signer) -> OKPKey:
    """The signer's key as another library has it."""
    seed = base64.urlsafe_b64encode(signer.key.seed).rstrip(b"=").decode()
    return OKPKey.import_key({**signer.key.public.jwk(signer.kid), "d": seed})


def an_accepted_act(kind: str) -> SignedAct:
    pair = granted("care", "favour", "sales")
    at = START + 9
    if kind == "rotate":
        return pair.rotate("second", pairwise("mia 2"), at)
    fields: dict[str, dict[str, Any]] = {
        "grant": {"purposes": ("post",), "channels": ("post", "phone"), "data": ("name",), "value": "discount"},
        "withdraw": {"grant": pair.state.second.grants[0].id},
        "mute": {"until": (at + DAY) // 1000},
        "message": {"purpose": "care", "topic": "windows"},
        "contacted": {"purpose": "care"},
        "remember": {"key": "language", "body": BODY},
        "milestone": {"topic": "windows"},
        "budget": {"messages": {"max": 3, "per": "week"}},
        "mailbox": {"box": pairwise("box")},
        "mute_end": {"mute": pair.state.cid, "until": (at + DAY) // 1000},
    }
    return pair.go(kind, "first" if kind in ("message", "contacted", "ask") else "second", at, **fields.get(kind, {}))


KINDS = [
    "grant", "withdraw", "mute", "revoke", "message", "contacted", "ask", "remember", "milestone", "rotate",
    "hours", "budget", "mailbox", "mute_end",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_joserfc_and_pyjwt_verify_our_acts(kind: str) -> None:
    act = an_accepted_act(kind)
    keys = {"keys": [signer.key.public.jwk(signer.kid) for signer in (MIA, SHOP, HOME)]}

    token = joserfc_jwt.decode(act.raw, KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
    assert token.claims == json.loads(act.payload.to_json())
    assert set(token.header) == {"alg", "typ", "kid"}

    header = pyjwt.get_unverified_header(act.raw)
    key = pyjwt.PyJWKSet.from_dict(keys)[header["kid"]]
    parties: Any = {"audience": act.payload.aud, "issuer": act.payload.iss}
    claims = pyjwt.decode(act.raw, key, algorithms=ALGORITHMS, options=ANY_TIME, **parties)
    assert claims == token.claims
    assert (header["kid"], claims["act"]) == (act.kid, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_they_refuse_what_was_changed(kind: str) -> None:
    act = an_accepted_act(kind)
    head, body, signature = act.raw.split(".")
    changed = f"{head}.{body[:-4]}AAAA.{signature}"
    keys = {"keys": [signer.key.public.jwk(signer.kid) for signer in (MIA, SHOP, HOME)]}
    with pytest.raises(BadSignatureError):
        joserfc_jws.deserialize_compact(changed, KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.api_jws.decode(changed, pyjwt.PyJWKSet.from_dict(keys)[act.kid], algorithms=ALGORITHMS)
    with pytest.raises(Refused):
        open_act(changed, keys_of(MIA, SHOP))


def test_a_grant_is_a_jwt_whose_audience_and_expiry_any_library_checks() -> None:
    key = pyjwt.PyJWK(MIA.key.public.jwk(MIA.kid))
    good = connected().go("grant", "second", START + 1, purposes=("care",), exp=START // 1000 + 3652 * 86_400)
    claims = pyjwt.decode(good.raw, key, algorithms=ALGORITHMS, audience=SHOP.did)
    assert claims["status"] == {"status_list": {"idx": 1, "uri": STATUS_URI}}
    with pytest.raises(pyjwt.InvalidAudienceError):
        pyjwt.decode(good.raw, key, algorithms=ALGORITHMS, audience="did:web:evil.example")
    expired = connected().go("grant", "second", START + 1, purposes=("care",), exp=(START + DAY) // 1000)
    with pytest.raises(pyjwt.ExpiredSignatureError):
        pyjwt.decode(expired.raw, key, algorithms=ALGORITHMS, audience=SHOP.did)


def test_events_and_offers_are_verified_by_both() -> None:
    pair = granted("care")
    act = pair.go("message", "first", START + 9, purpose="care")
    for raw, signer in ((pair.events[act.id], HOME), (offer().raw, SHOP)):
        public = signer.key.public.jwk(signer.kid)
        token = joserfc_jws.deserialize_compact(raw, OKPKey.import_key(public), algorithms=ALGORITHMS)  # type: ignore[arg-type]
        assert json.loads(token.payload)["iss"] == signer.did
        assert pyjwt.decode(raw, pyjwt.PyJWK(public), algorithms=ALGORITHMS, options=ANY_TIME)["iss"] == signer.did


def test_an_agreement_is_a_general_json_jws_with_two_signatures_that_hold() -> None:
    signed = countersign(half_sign(agreement_on(offer(), SHOP, MIA), MIA), SHOP)
    general: Any = json.loads(signed.raw)
    keys = {signer.kid: OKPKey.import_key(signer.key.public.jwk(signer.kid)) for signer in (MIA, SHOP)}  # type: ignore[arg-type]
    seen = []

    def find(entry: Any) -> Any:
        header = entry.headers()
        seen.append(header["kid"])
        assert (header["alg"], header["typ"]) == ("EdDSA", AGREEMENT_TYP)
        return keys[header["kid"]]

    opened = joserfc_jws.deserialize_json(general, find, algorithms=ALGORITHMS)
    assert sorted(seen) == sorted([MIA.kid, SHOP.kid])
    assert hash_id(opened.payload) == signed.cid
    # And each signature by itself, since that library is content with any one.
    for entry in general["signatures"]:
        alone: Any = {"payload": general["payload"], "signatures": [entry]}
        assert joserfc_jws.deserialize_json(alone, find, algorithms=ALGORITHMS).payload == opened.payload


def test_an_agreement_that_another_library_countersigned_is_one() -> None:
    half = half_sign(agreement_on(offer(), SHOP, MIA), MIA)
    general = json.loads(half.raw)
    member: Any = {"protected": {"alg": "EdDSA", "typ": AGREEMENT_TYP, "kid": SHOP.kid}}
    payload = b64u_decode(general["payload"])
    theirs: Any = joserfc_jws.serialize_json([member], payload, private_jwk(SHOP), algorithms=ALGORITHMS)
    whole = {"payload": theirs["payload"], "signatures": [*general["signatures"], *theirs["signatures"]]}
    assert open_agreement(json.dumps(whole).encode()).cid == half.cid


def _by_joserfc(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return joserfc_jwt.encode(header, claims, private_jwk(MIA), algorithms=ALGORITHMS)


def _by_pyjwt(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return pyjwt.encode(claims, private_jwk(MIA).private_key, algorithm="EdDSA", headers=header)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [_by_joserfc, _by_pyjwt])
def test_an_act_that_another_library_signed_is_opened_by_us(
    sign: Callable[[dict[str, Any], dict[str, Any]], str],
) -> None:
    """In whatever order their JSON has its members."""
    pair = connected()
    ours = pair.compose("mute", "second", START + 5, until=(START + DAY) // 1000)
    claims = dict(reversed(json.loads(ours.payload.to_json()).items()))
    raw = sign({"typ": "comity-act+jwt", "kid": MIA.kid, "alg": "EdDSA"}, claims)
    theirs = open_act(raw)
    assert theirs.payload == ours.payload
    assert theirs.id != ours.id
    pair.send(theirs, START + 5)
    assert pair.may("first", "renewal", START + 6).reason == "muted"


def test_without_our_header_their_token_is_not_opened() -> None:
    with pytest.raises(Refused):
        open_act(_by_pyjwt({"kid": MIA.kid}, {"act": "revoke"}))


def test_keys_go_out_and_come_back_as_jwk() -> None:
    for signer in (MIA, SHOP, HOME):
        public = signer.key.public.jwk(signer.kid)
        theirs = OKPKey.import_key(public)  # type: ignore[arg-type]
        assert key_of_jwk(theirs.as_dict(private=False)) == signer.key.public
        assert theirs.kid == signer.kid


# --- status lists, by a decoder that shares nothing with ours


def independent_entry(claim: dict[str, Any], index: int) -> int:
    """Section 4 of the draft, word for word: the byte, then the bits from the least significant one up."""
    text = claim["lst"]
    unpacked = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    bits, value = claim["bits"], 0
    for offset in range(bits):
        position = index * bits + offset
        value |= ((unpacked[position // 8] >> (position % 8)) & 1) << offset
    return value


@st.composite
def lists(draw: st.DrawFn) -> tuple[Any, bytes]:
    bits = draw(st.sampled_from([1, 2, 4, 8]))
    return bits, bytes(draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=70)))


@given(lists())
@settings(max_examples=200)
def test_a_status_list_says_to_others_what_it_says_to_us(drawn: tuple[Any, bytes]) -> None:
    bits, values = drawn
    packed = pack_entries(values, bits)
    claim = json.loads(encode_list(packed, bits).to_json())
    for index, value in enumerate(values):
        assert value_at(packed, bits, index) == independent_entry(claim, index) == value
    assert decode_list(StatusList(bits=bits, lst=claim["lst"])) == packed
    assert len(packed) == -(-len(values) * bits // 8)
    with pytest.raises(Refused):
        value_at(packed, bits, len(packed) * 8 // bits)
    with pytest.raises(Refused):
        value_at(packed, bits, -1)


@given(lists())
def test_a_value_too_large_for_its_bits_is_not_packed(drawn: tuple[Any, bytes]) -> None:
    bits, values = drawn
    if bits < 8:
        with pytest.raises(Refused):
            pack_entries(values + bytes([1 << bits]), bits)


def test_a_sealed_status_list_is_verified_and_read_by_others() -> None:
    values = bytearray(b"\x01" * ENTRIES)
    values[7], values[99_999], values[ENTRIES - 1] = 0, 2, 2
    raw = sign_status_list(STATUS_URI, pack_entries(values, 2), START // 1000, HOME)
    public = HOME.key.public.jwk(HOME.kid)
    claims = pyjwt.decode(raw, pyjwt.PyJWK(public), algorithms=ALGORITHMS)
    token = joserfc_jwt.decode(raw, OKPKey.import_key(public), algorithms=ALGORITHMS)  # type: ignore[arg-type]
    assert claims == token.claims
    assert (token.header["typ"], claims["sub"], claims["ttl"], claims["status_list"]["bits"]) == (
        "statuslist+jwt", STATUS_URI, 60, 2,
    )  # fmt: skip
    ours = open_status_list(raw, STATUS_URI, keys_of(HOME))
    for index in (0, 6, 7, 8, 99_998, 99_999, 100_000, ENTRIES - 2, ENTRIES - 1):
        assert independent_entry(claims["status_list"], index) == ours.at(index) == values[index]


def test_an_event_by_another_library_is_opened_by_us() -> None:
    pair = granted("care")
    act = pair.go("message", "first", START + 9, purpose="care")
    event = open_event(pair.events[act.id], keys_of(HOME)).event
    header = {"alg": "EdDSA", "typ": "comity-event+jwt", "kid": HOME.kid}
    raw = joserfc_jwt.encode(header, json.loads(event.to_json()), private_jwk(HOME), algorithms=ALGORITHMS)
    assert open_event(raw, keys_of(HOME)).event == event
