"""The one signed form: compact JWS with a header of exactly `alg`, `typ`, `kid` (RFC 7515; spec/act.md ACT-5 to ACT-8).

`seal` makes one, `open_jws` takes one apart; nothing else in Comity reads a signature of an act, event, offer,
grant or status list.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import NamedTuple

from comity.crypto.keys import PublicKey, Signer, is_kid, key_of_kid
from comity.encoding import MAX_BODY, b64u_decode, b64u_encode, dump_json, hash_id, parse_object
from comity.errors import Malformed, Refused

FindKey = Callable[[str], PublicKey | None]
"""From a `kid` to its key, or None where the finder does not know it."""


MAX_HEADER = 1366
"""Characters of an encoded header: 1024 bytes."""


class Header(NamedTuple):
    """The protected header; `alg` is always EdDSA, since the key decides it."""

    typ: str
    kid: str


class OpenedJws(NamedTuple):
    """A compact JWS whose signature held: the text as it came, and what it says. Only `open_jws` makes one."""

    raw: str
    header: Header
    payload: bytes
    key: PublicKey

    @property
    def id(self) -> str:
        """The hash of the text as it came."""
        return hash_id(self.raw.encode("ascii"))


@lru_cache(maxsize=16384)
def protected(typ: str, kid: str) -> str:
    """The encoded protected header for a type and key."""
    return b64u_encode(dump_json({"alg": "EdDSA", "typ": typ, "kid": kid}))


def read_protected(encoded: str) -> Header:
    """The header behind its encoding. Raises Malformed for any member but `alg: EdDSA`, `typ`, `kid`, and for a
    `kid` that names no key, Refused("too_large") (ACT-6)."""
    if len(encoded) > MAX_HEADER:
        raise Refused("too_large", "a header has at most 1024 bytes")
    return _read_protected(encoded)


@lru_cache(maxsize=16384)
def _read_protected(encoded: str) -> Header:
    members = parse_object(b64u_decode(encoded))
    typ, kid = members.get("typ"), members.get("kid")
    if set(members) != {"alg", "typ", "kid"} or members["alg"] != "EdDSA":
        raise Malformed("the header is exactly alg EdDSA, typ and kid")
    if not isinstance(typ, str) or not isinstance(kid, str) or not is_kid(kid):
        raise Malformed("typ is a text and kid the name of a key")
    return Header(typ, kid)


def seal(payload: bytes, typ: str, signer: Signer) -> str:
    """The compact JWS of `payload`, signed."""
    signing_input = f"{protected(typ, signer.kid)}.{b64u_encode(payload)}"
    return f"{signing_input}.{b64u_encode(signer.key.sign(signing_input.encode('ascii')))}"


class Parts(NamedTuple):
    """A compact JWS taken apart and not yet believed."""

    raw: str
    header: Header
    payload: bytes
    signing_input: bytes
    signature: bytes


def split(raw: str | bytes, typs: Collection[str], limit: int = MAX_BODY) -> Parts:
    """Take a compact JWS apart without believing it. Raises Malformed, or Refused("too_large")."""
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
    header = read_protected(head)
    if header.typ not in typs:
        raise Malformed("another type of text is expected here")
    parts = Parts(text, header, b64u_decode(body), ascii_input, b64u_decode(signature))
    if len(parts.signature) != 64:
        raise Malformed("an Ed25519 signature has 64 bytes")
    return parts


def open_jws(raw: str | bytes, typs: Collection[str], find_key: FindKey, limit: int = MAX_BODY) -> OpenedJws:
    """The text, if it has at most `limit` bytes and its form, type and signature hold.

    A did:key `kid` is its own key and never looked up; others go through `find_key`. Raises Malformed,
    Refused("too_large"), Refused("unknown_key") or Refused("bad_signature"), in this order.
    """
    parts = split(raw, typs, limit)
    key = key_of_kid(parts.header.kid) or find_key(parts.header.kid)
    if key is None:
        raise Refused("unknown_key")
    if not key.verify(parts.signing_input, parts.signature):
        raise Refused("bad_signature")
    return OpenedJws(parts.raw, parts.header, parts.payload, key)


def no_other_keys(kid: str) -> PublicKey | None:
    """The finder of those who know no key but did:key's own."""
    return None
