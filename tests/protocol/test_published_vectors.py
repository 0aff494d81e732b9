"""Others' vectors, held against our code.

They lie beside the checkout, in `../shared/vectors`; a plain clone does not have them, and then this file is skipped.
"""

import base64
import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import base58
import pytest
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature
from joserfc import jws as joserfc_jws
from joserfc.jwk import KeySet

from comity.crypto.http_signatures import Ed25519ByLibsodium
from comity.crypto.jws import open_jws
from comity.crypto.keys import PublicKey, SigningKey, key_of_did, key_of_jwk
from comity.documents.agreements import open_agreement, open_half
from comity.documents.status_lists import StatusList, decode_list, encode_list, open_status_list, pack_entries, value_at
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import parse_checkpoint
from comity.transparency.notes import open_note, parse_vkey, split_note
from comity.transparency.tiles import Tile, parse_path, tiles_of

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[2] / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/vectors is not here")


@cache
def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


# --- Ed25519: what other implementations disagree about

FROZEN = json.loads((HERE / "ed25519_verdicts.json").read_text())


def test_every_edge_case_of_ed25519_gets_the_verdict_that_was_frozen() -> None:
    accepted, admitted = [], []
    for case in read("ed25519-cctv/ed25519vectors.json"):
        raw, message, signature = bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"])
        if PublicKey(raw, "").verify(message, signature):
            accepted.append(case["number"])
        try:
            key = PublicKey.admit(raw)
        except Malformed:
            continue
        if key.verify(message, signature):
            admitted.append(case["number"])
    assert len(read("ed25519-cctv/ed25519vectors.json")) == FROZEN["cases"] == 914
    assert accepted == FROZEN["libsodium_accepts"]
    assert len(accepted) == 43
    assert admitted == FROZEN["of_these_under_an_admitted_key"]


def test_no_key_with_a_low_order_part_is_admitted() -> None:
    """Under such a key one signature fits more than one message, or one message has verdicts that differ."""
    refused = set()
    for case in read("ed25519-cctv/ed25519vectors.json"):
        flags = set(case["flags"] or ())
        if flags & {"low_order_A", "low_order_component_A", "non_canonical_A"}:
            refused.add(case["key"])
            with pytest.raises(Malformed):
                PublicKey.admit(bytes.fromhex(case["key"]))
    assert len(refused) >= 20


# --- JOSE


def test_rfc_8037_key_thumbprint_and_signature_are_ours_too() -> None:
    vector = read("jose/rfc8037.json")
    private = SigningKey(b64u_decode(vector["jwk"]["d"]))
    assert key_of_jwk(vector["jwk"]) == private.public
    named = private.public.jwk("kid")
    thumbprint = json.dumps({name: named[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
    assert b64u_encode(hashlib.sha256(thumbprint.encode()).digest()) == vector["thumbprint"]
    signing_input, _, signature = vector["jws_EdDSA"].rpartition(".")
    assert b64u_encode(private.sign(signing_input.encode())) == signature
    assert private.public.verify(signing_input.encode(), b64u_decode(signature))


def test_the_signature_of_rfc_8037_holds_but_its_header_is_not_of_our_form() -> None:
    vector = read("jose/curve25519_jws.json")
    key = key_of_jwk(vector["input"]["key"])
    signing_input, _, signature = vector["output"]["compact"].rpartition(".")
    assert signing_input == vector["signing"]["sig-input"]
    assert key.verify(signing_input.encode(), b64u_decode(signature))
    with pytest.raises(Malformed):
        open_jws(vector["output"]["compact"], {"comity-act+jwt"}, lambda kid: key)


def test_three_signatures_that_all_hold_make_no_agreement() -> None:
    vector = read("jose/rfc7520_4_8.json")
    general = vector["output"]["json"]
    # All three are good, so it is the form that must refuse them.
    keys = KeySet.import_key_set({"keys": vector["input"]["key"]})
    families = {"RS256": "RSA", "ES512": "EC", "HS256": "oct"}

    def wanted(entry: Any) -> Any:
        return next(key for key in keys.keys if key.key_type == families[entry.headers()["alg"]])

    opened = joserfc_jws.deserialize_json(general, wanted, algorithms=["RS256", "ES512", "HS256"])
    assert opened.payload == vector["input"]["payload"].encode()
    for opener in (open_half, open_agreement):
        with pytest.raises(Malformed):
            opener(json.dumps(general).encode())


# --- HTTP message signatures


class _Request:
    def __init__(self, vector: dict[str, Any]) -> None:
        self.method, self.url = vector["request"]["method"], vector["request"]["url"]
        self.headers: dict[str, str] = dict(vector["request"]["headers"])
        self.headers |= {"Signature-Input": vector["signature-input"], "Signature": vector["signature"]}


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """The vector is from 2021."""


def _verify_b26(request: _Request) -> None:
    vector = read("rfc9421/b26.json")

    class Resolver(HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Any:
            assert key_id == vector["key"]["kid"]
            return key_of_jwk(vector["key"])

    verifier = _Verifier(signature_algorithm=Ed25519ByLibsodium, key_resolver=Resolver())
    verifier.allow_label_only_selection = True
    verifier.verify(request, max_age=None, expect_label="sig-b26")


def test_the_signed_request_of_rfc_9421_holds_under_our_algorithm() -> None:
    vector = read("rfc9421/b26.json")
    with pytest.warns(UserWarning, match="label"):
        _verify_b26(_Request(vector))
    # Ed25519 signatures are a function of key and message: ours is the very same.
    signature = SigningKey(b64u_decode(vector["key"]["d"])).sign(vector["signature_base"].encode())
    assert f"sig-b26=:{_standard(signature)}:" == vector["signature"]


def test_the_signed_request_of_rfc_9421_does_not_hold_for_another_path() -> None:
    request = _Request(read("rfc9421/b26.json"))
    request.url = request.url.replace("/foo", "/bar")
    with pytest.warns(UserWarning, match="label"), pytest.raises(InvalidSignature):
        _verify_b26(request)


def _standard(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- did:key


def test_the_published_seeds_give_the_published_names_and_encryption_keys() -> None:
    for vector in read("did-key/ed25519-x25519.min.json")["vectors"]:
        private = SigningKey(bytes.fromhex(vector["seed"]))
        assert private.public.did == vector["did"]
        assert key_of_did(vector["did"]) == private.public
        x25519 = b"\xec\x01" + private.public.x25519()
        assert "z" + base58.b58encode(x25519).decode() == vector["x25519"]


# --- transparency logs (C2SP)


@pytest.mark.parametrize("size", [256, 70_000])
def test_a_log_has_as_many_tiles_as_the_document_says(size: int) -> None:
    tiles = list(tiles_of(size))
    full = Counter(f"level{tile.level}_full" for tile in tiles if tile.is_full)
    partial = {f"level{tile.level}_partial": tile.width for tile in tiles if not tile.is_full}
    assert full | partial == read("c2sp/examples.json")["tile_counts"][str(size)]


def test_a_tile_lies_where_the_document_says() -> None:
    for number, path in read("c2sp/examples.json")["tile_path"].items():
        assert Tile(0, int(number)).path == f"tile/0/{path}"
        assert parse_path(f"tile/0/{path}") == Tile(0, int(number))


def test_the_published_note_holds_under_the_published_key() -> None:
    vector = read("c2sp/examples.json")["signed_note"]
    key = parse_vkey(vector["vkey"])
    assert (key.name, key.kind, key.text) == ("example.com/foo", 1, vector["vkey"])
    note = open_note(vector["note"], [key])
    assert note.text == vector["note"].partition("\n\n")[0] + "\n"
    assert [signature.key for signature in note.signatures] == [key]
    with pytest.raises(Refused, match="bad_signature"):
        open_note(vector["note"].replace("an example", "another example"), [key])


def test_the_published_checkpoint_is_of_our_form() -> None:
    """Nobody published its keys, so whether it holds cannot be told here."""
    text, lines = split_note(read("c2sp/examples.json")["checkpoint_without_vkey"])
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.text == text
    # A signature, and a cosignature with its time before it.
    assert [(name, len(blob)) for name, blob in lines] == [
        ("example.com/behind-the-sofa", 4 + 64),
        ("witness.example.com/w1", 4 + 8 + 64),
    ]
    assert int.from_bytes(lines[1][1][4:12], "big") == 1_679_315_147


# --- Token Status Lists


@pytest.mark.parametrize("number", range(4))
def test_the_published_status_lists_read_as_they_say(number: int) -> None:
    vector = read("tsl/tsl_vectors.json")["vectors"][number]
    bits = vector["bits"]
    packed = decode_list(StatusList(bits=bits, lst=vector["json"]["lst"]))
    assert len(packed) == vector["size"] * bits // 8
    values = bytearray(vector["size"])
    for index, value in vector["nonzero_or_named"].items():
        values[int(index)] = value
        assert value_at(packed, bits, int(index)) == value
    assert pack_entries(values, bits) == packed
    assert decode_list(encode_list(packed, bits)) == packed


@pytest.mark.parametrize(
    ("name", "bits", "values"),
    [
        ("status_list_encoding_json.txt", 1, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        ("status_list_encoding2_json.txt", 2, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
    ],
)
def test_the_short_examples_of_the_draft_are_packed_as_it_says(name: str, bits: Any, values: list[int]) -> None:
    text = (VECTORS / "tsl" / name).read_text()
    said = [int(byte, 16) for byte in text[text.index("[") + 1 : text.index("]")].split(",")]
    claim = json.loads(text[text.index("{") :])
    packed = pack_entries(bytes(values), bits)
    assert list(packed) == said
    assert encode_list(packed, bits).lst == claim["lst"]
    assert decode_list(StatusList(bits=bits, lst=claim["lst"])) == packed


def test_the_token_of_the_draft_carries_the_list_but_is_signed_with_a_key_that_we_do_not_take() -> None:
    raw = "".join((VECTORS / "tsl" / "status_list_jwt_raw.txt").read_text().split())
    claims = json.loads(b64u_decode(raw.split(".")[1]))
    packed = decode_list(StatusList(**claims["status_list"]))
    assert [value_at(packed, 1, index) for index in range(4)] == [1, 0, 0, 1]
    with pytest.raises(Malformed):
        open_status_list(raw, claims["sub"], lambda kid: SigningKey(bytes(32)).public)
