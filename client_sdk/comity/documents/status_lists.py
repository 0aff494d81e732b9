"""Token Status Lists: two bits for each grant (spec/status.md; draft-ietf-oauth-status-list-21).

0 valid; 1 withdrawn, replaced, ended, expired or never given out; 2 to be asked for, since a mute, a contest or a topic
may stand in the way: offline that means no.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field, TypeAdapter

from comity.crypto.jws import FindKey, open_jws, seal, split
from comity.crypto.keys import PublicKey, Signer, did_of_kid
from comity.documents.types import Did, Model, Seconds, Url, Whole, read_model
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Malformed, Refused

STATUS_LIST_TYP = "statuslist+jwt"
STATUS_LIST_TYPE = "application/statuslist+jwt"
ENTRIES = 2**17
"""Entries in a list that a Comity server makes, so that an index alone hides among as many (STATUS-2)."""
MOST_ENTRIES = 2**24
"""Entries in a list that is read at all (STATUS-6)."""
TTL = 60
SKEW = 30
"""Seconds: a list is good for `ttl`, and caches keep it no longer (STATUS-7); both clocks may be this far apart
(STATUS-5)."""
MOST_LIST_BYTES = 8 * 1024 * 1024
"""Bytes of a list token that is read at all; a large list of random entries does not compress."""

Bits = Literal[1, 2, 4, 8]


class GrantStatus(IntEnum):
    """What an entry says of a grant (STATUS-4, GRANT-7)."""

    VALID = 0
    INVALID = 1
    ASK = 2


class StatusList(Model):
    """The `status_list` claim (section 4.2 of the draft)."""

    bits: Annotated[Bits, Whole]
    lst: str


class StatusListClaims(Model):
    """The claims of a Status List Token (section 5.1): `sub` is where it is served, `iat` when it was true."""

    iss: Did
    sub: Url
    iat: Seconds
    ttl: Annotated[int, Field(ge=1, le=86_400)]
    status_list: StatusList
    exp: Seconds | None = None


class ListKeys(Protocol):
    """The keys of a home server that may have signed a status list."""

    def find_list_key(self, kid: str, iat: int) -> PublicKey | None:
        """The key of that name, if it may have signed at `iat` (s)."""
        ...


_CLAIMS: TypeAdapter[StatusListClaims] = TypeAdapter(StatusListClaims)


@dataclass(frozen=True, slots=True)
class SignedStatusList:
    """A status list whose signature held, unpacked. Only `open_status_list` makes one."""

    raw: str
    claims: StatusListClaims
    packed: bytes

    def at(self, idx: int) -> int:
        """The value of an entry. Raises Malformed outside the list."""
        return value_at(self.packed, self.claims.status_list.bits, idx)

    def is_current(self, now: int) -> bool:
        """Whether the list may still be relied on at `now` (s): one out of date means no (STATUS-5)."""
        fresh = self.claims.iat - SKEW <= now <= self.claims.iat + self.claims.ttl + SKEW
        return fresh and (self.claims.exp is None or now < self.claims.exp)


def pack(values: bytes | bytearray, bits: Bits) -> bytes:
    """Entries (one to a byte) packed from the least significant bit up (STATUS-8; section 4.1). Raises Malformed for a
    value that `bits` cannot hold."""
    if values and max(values) >= 1 << bits:
        raise Malformed("a status does not fit into its bits")
    per_byte = 8 // bits
    padded = bytes(values) + bytes(-len(values) % per_byte)
    packed = int.from_bytes(padded[0::per_byte], "little")
    # Each lane holds less than `bits` bits, so shifting all of a lane at once cannot spill into a neighbour.
    for lane in range(1, per_byte):
        packed |= int.from_bytes(padded[lane::per_byte], "little") << (lane * bits)
    return packed.to_bytes(len(padded) // per_byte, "little")


def value_at(packed: bytes, bits: int, idx: int) -> int:
    """The entry `idx` of a packed list. Raises Malformed outside it."""
    position = idx * bits
    if idx < 0 or position // 8 >= len(packed):
        raise Malformed("the index is outside the list")
    return (packed[position // 8] >> (position % 8)) & ((1 << bits) - 1)


def encode_list(packed: bytes, bits: Bits) -> StatusList:
    """The packed list as its claim: zlib (RFC 1950) at the highest level, base64url (section 4.2)."""
    return StatusList(bits=bits, lst=b64u_encode(zlib.compress(packed, 9)))


def decode_list(status_list: StatusList) -> bytes:
    """The packed list of a claim. Raises Malformed, also for one that would unpack to more than is read (STATUS-6)."""
    limit = MOST_ENTRIES * status_list.bits // 8
    unpacker = zlib.decompressobj()
    try:
        packed = unpacker.decompress(b64u_decode(status_list.lst), limit)
    except zlib.error:
        raise Malformed("the list does not unpack") from None
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed("the list does not unpack, or is too long")
    return packed


def seal_status_list(uri: str, packed: bytes, iat: int, signer: Signer) -> str:
    """The token of a list of two bits an entry, true at `iat` (s), signed by the home server."""
    claims = StatusListClaims(iss=signer.did, sub=uri, iat=iat, ttl=TTL, status_list=encode_list(packed, 2))
    return seal(claims.to_json(), STATUS_LIST_TYP, signer)


def _claims(payload: bytes) -> StatusListClaims:
    return read_model(_CLAIMS, payload, limit=MOST_LIST_BYTES)


def open_home_list(raw: str | bytes, uri: str, keys: ListKeys) -> SignedStatusList:
    """The same for a list of a home server whose keys the reader follows: by a key that may have signed at its `iat`
    (HOME-4). Raises as `open_status_list` does."""
    parts = split(raw, {STATUS_LIST_TYP}, MOST_LIST_BYTES)
    iat = _claims(parts.payload).iat
    return open_status_list(raw, uri, lambda kid: keys.find_list_key(kid, iat))


def open_status_list(raw: str | bytes, uri: str, find_key: FindKey) -> SignedStatusList:
    """The list served at `uri`, if form, signature and members hold.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature"). Whether it is current is for
    `is_current` to say.
    """
    opened = open_jws(raw, {STATUS_LIST_TYP}, find_key, limit=MOST_LIST_BYTES)
    claims = _claims(opened.payload)
    if did_of_kid(opened.header.kid) != claims.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    if claims.sub != uri:
        raise Malformed("the list belongs elsewhere")
    return SignedStatusList(opened.raw, claims, decode_list(claims.status_list))
