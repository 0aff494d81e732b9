"""The one signed form: a compact JWS whose header is exactly `alg`, `typ` and `kid` (RFC 7515; spec/act.md, ACT-5 to
ACT-8).

`sign_jws` makes one and `open_jws` verifies one. No other code verifies the signature of an act, event, offer, grant or
status list.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import NamedTuple

from comity.crypto.keys import PublicKey, Signer, is_kid, key_of_kid
from comity.encoding import MAX_BODY, b64u_decode, b64u_encode, dump_json, hash_id, parse_object
from comity.errors import Malformed, Refused

FindKey = Callable[[str], PublicKey | None]
"""Maps a `kid` to its key, or to None for a key that the finder does not know."""


MAX_HEADER = 1366
"""Characters of an encoded header: 1024 bytes."""


class Header(NamedTuple):
    """The protected header. `alg` is always EdDSA, since the key decides the algorithm."""

    typ: str
    kid: str


class OpenedJws(NamedTuple):
    """A compact JWS with a valid signature: the unchanged text and its contents. Only `open_jws` makes one."""

    raw: str
    header: Header
    payload: bytes
    key: PublicKey

    @property
    def id(self) -> str:
        """The hash of the unchanged text."""
        return hash_id(self.raw.encode("ascii"))


@lru_cache(maxsize=16384)
def encode_header(typ: str, kid: str) -> str:
    """The encoded protected header for a type and a key."""
    return b64u_encode(dump_json({"alg": "EdDSA", "typ": typ, "kid": kid}))


def decode_header(encoded: str) -> Header:
    """Decodes a protected header. Raises Malformed for any member but `alg: EdDSA`, `typ` and `kid`, and for a `kid`
    that names no key; Refused("too_large") (ACT-6)."""
    if len(encoded) > MAX_HEADER:
        raise Refused("too_large", "a header has at most 1024 bytes")
    return _decode_header(encoded)


@lru_cache(maxsize=16384)
def _decode_header(encoded: str) -> Header:
    members = parse_object(b64u_decode(encoded))
    typ, kid = members.get("typ"), members.get("kid")
    if set(members) != {"alg", "typ", "kid"} or members["alg"] != "EdDSA":
        raise Malformed("the header must have exactly alg EdDSA, typ and kid")
    if not isinstance(typ, str) or not isinstance(kid, str) or not is_kid(kid):
        raise Malformed("typ must be a text and kid the name of a key")
    return Header(typ, kid)


def sign_jws(payload: bytes, typ: str, signer: Signer) -> str:
    """Signs `payload` as a compact JWS."""
    signing_input = f"{encode_header(typ, signer.kid)}.{b64u_encode(payload)}"
    return f"{signing_input}.{b64u_encode(signer.key.sign(signing_input.encode('ascii')))}"


class JwsParts(NamedTuple):
    """The parts of a compact JWS. Nothing is verified."""

    raw: str
    header: Header
    payload: bytes
    signing_input: bytes
    signature: bytes


def split_jws(raw: str | bytes, typs: Collection[str], limit: int = MAX_BODY) -> JwsParts:
    """Splits a compact JWS into its parts and verifies nothing. Raises Malformed, or Refused("too_large")."""
    if len(raw) > limit:
        raise Refused("too_large", f"at most {limit} bytes")
    try:
        text = raw if isinstance(raw, str) else raw.decode("ascii")
        signing_input, _, signature = text.rpartition(".")
        head, dot, body = signing_input.partition(".")
        ascii_input = signing_input.encode("ascii")
    except UnicodeError:
        raise Malformed("not a compact JWS") from None
    if not dot:
        raise Malformed("not a compact JWS")
    header = decode_header(head)
    if header.typ not in typs:
        raise Malformed("the JWS has another type than expected")
    parts = JwsParts(text, header, b64u_decode(body), ascii_input, b64u_decode(signature))
    if len(parts.signature) != 64:
        raise Malformed("an Ed25519 signature has 64 bytes")
    return parts


def open_jws(raw: str | bytes, typs: Collection[str], find_key: FindKey, limit: int = MAX_BODY) -> OpenedJws:
    """The contents of a text of at most `limit` bytes whose form, type and signature are valid.

    A did:key `kid` is its own key and is never looked up; `find_key` finds every other one. Raises Malformed,
    Refused("too_large"), Refused("unknown_key") or Refused("bad_signature"), in this order.
    """
    parts = split_jws(raw, typs, limit)
    key = key_of_kid(parts.header.kid) or find_key(parts.header.kid)
    if key is None:
        raise Refused("unknown_key")
    if not key.verify(parts.signing_input, parts.signature):
        raise Refused("bad_signature")
    return OpenedJws(parts.raw, parts.header, parts.payload, key)


def no_other_keys(kid: str) -> PublicKey | None:
    """The key finder of a caller who knows no keys but those of did:key."""
    return None
