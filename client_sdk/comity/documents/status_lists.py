"""Token Status Lists with two bits for each grant (spec/status.md; draft-ietf-oauth-status-list-21).

0: valid. 1: withdrawn, replaced, ended, expired, or never assigned. 2: ask the home server, since a mute, a contest or
a topic may forbid the use; offline this means no.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field, TypeAdapter

from comity.crypto.jws import FindKey, open_jws, sign_jws, split_jws
from comity.crypto.keys import PublicKey, Signer, did_of_kid
from comity.documents.types import Did, Model, Seconds, Url, Whole, parse_model
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Malformed, Refused

STATUS_LIST_TYP = "statuslist+jwt"
STATUS_LIST_TYPE = "application/statuslist+jwt"
ENTRIES = 2**17
"""Entries in a list of a Comity server: enough to hide one index among many (STATUS-2)."""
MOST_ENTRIES = 2**24
"""The most entries of a list that is read (STATUS-6)."""
TTL = 60
SKEW = 30
"""Seconds: a list is valid for `ttl`, and caches keep it no longer (STATUS-7); two clocks may differ by this much
(STATUS-5)."""
MOST_LIST_BYTES = 8 * 1024 * 1024
"""The most bytes of a list token that is read; a large list of random entries does not compress."""

Bits = Literal[1, 2, 4, 8]


class GrantStatus(IntEnum):
    """The value of a grant's entry (STATUS-4, GRANT-7)."""

    VALID = 0
    INVALID = 1
    ASK = 2


class StatusList(Model):
    """The `status_list` claim (section 4.2 of the draft)."""

    bits: Annotated[Bits, Whole]
    lst: str


class StatusListClaims(Model):
    """The claims of a Status List Token (section 5.1): `sub` is its URL, `iat` the time of its contents."""

    iss: Did
    sub: Url
    iat: Seconds
    ttl: Annotated[int, Field(ge=1, le=86_400)]
    status_list: StatusList
    exp: Seconds | None = None


class ListKeys(Protocol):
    """The keys with which a home server may have signed a status list."""

    def find_list_key(self, kid: str, iat: int) -> PublicKey | None:
        """The key with this name, if it may have signed at `iat` (s)."""
        ...


_CLAIMS: TypeAdapter[StatusListClaims] = TypeAdapter(StatusListClaims)


@dataclass(frozen=True, slots=True)
class SignedStatusList:
    """An unpacked status list with a valid signature. Only `open_status_list` makes one."""

    raw: str
    claims: StatusListClaims
    packed: bytes

    def at(self, idx: int) -> int:
        """The value of an entry. Raises Malformed for an index outside the list."""
        return value_at(self.packed, self.claims.status_list.bits, idx)

    def is_current(self, now: int) -> bool:
        """True if the list may be used at `now` (s); an outdated list means no (STATUS-5)."""
        fresh = self.claims.iat - SKEW <= now <= self.claims.iat + self.claims.ttl + SKEW
        return fresh and (self.claims.exp is None or now < self.claims.exp)


def pack_entries(values: bytes | bytearray, bits: Bits) -> bytes:
    """Packs entries (one a byte) from the least significant bit up (STATUS-8; section 4.1). Raises Malformed for a
    value that `bits` cannot hold."""
    if values and max(values) >= 1 << bits:
        raise Malformed("a status does not fit its number of bits")
    per_byte = 8 // bits
    padded = bytes(values) + bytes(-len(values) % per_byte)
    packed = int.from_bytes(padded[0::per_byte], "little")
    # Each lane holds less than `bits` bits, so shifting all of a lane at once cannot spill into a neighbour.
    for lane in range(1, per_byte):
        packed |= int.from_bytes(padded[lane::per_byte], "little") << (lane * bits)
    return packed.to_bytes(len(padded) // per_byte, "little")


def value_at(packed: bytes, bits: int, idx: int) -> int:
    """The entry `idx` of a packed list. Raises Malformed for an index outside it."""
    position = idx * bits
    if idx < 0 or position // 8 >= len(packed):
        raise Malformed("the index is outside the list")
    return (packed[position // 8] >> (position % 8)) & ((1 << bits) - 1)


def encode_list(packed: bytes, bits: Bits) -> StatusList:
    """The packed list as its claim: zlib (RFC 1950) at the highest level, base64url (section 4.2)."""
    return StatusList(bits=bits, lst=b64u_encode(zlib.compress(packed, 9)))


def decode_list(status_list: StatusList) -> bytes:
    """The packed list in a claim. Raises Malformed, also for one with more entries than are read (STATUS-6)."""
    limit = MOST_ENTRIES * status_list.bits // 8
    unpacker = zlib.decompressobj()
    try:
        packed = unpacker.decompress(b64u_decode(status_list.lst), limit)
    except zlib.error:
        raise Malformed("the list cannot be unpacked") from None
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed("the list cannot be unpacked, or is too long")
    return packed


def sign_status_list(uri: str, packed: bytes, iat: int, signer: Signer) -> str:
    """Signs a list of two bits an entry as the home server, with its contents at `iat` (s)."""
    claims = StatusListClaims(iss=signer.did, sub=uri, iat=iat, ttl=TTL, status_list=encode_list(packed, 2))
    return sign_jws(claims.to_json(), STATUS_LIST_TYP, signer)


def _claims(payload: bytes) -> StatusListClaims:
    return parse_model(_CLAIMS, payload, limit=MOST_LIST_BYTES)


def open_home_list(raw: str | bytes, uri: str, keys: ListKeys) -> SignedStatusList:
    """Verifies a list of a home server whose key changes the caller follows: the key must have been in use at the
    list's `iat` (HOME-4). Raises what `open_status_list` raises."""
    parts = split_jws(raw, {STATUS_LIST_TYP}, MOST_LIST_BYTES)
    iat = _claims(parts.payload).iat
    return open_status_list(raw, uri, lambda kid: keys.find_list_key(kid, iat))


def open_status_list(raw: str | bytes, uri: str, find_key: FindKey) -> SignedStatusList:
    """Parses and verifies the list served at `uri`.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature"). `is_current` says whether it is up to
    date.
    """
    jws = open_jws(raw, {STATUS_LIST_TYP}, find_key, limit=MOST_LIST_BYTES)
    claims = _claims(jws.payload)
    if did_of_kid(jws.header.kid) != claims.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    if claims.sub != uri:
        raise Malformed("the list belongs to another URL")
    return SignedStatusList(jws.raw, claims, decode_list(claims.status_list))
