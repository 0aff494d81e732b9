"""Agreements: one payload with exactly two signatures (spec/agreement.md).

Common JOSE libraries accept a General JSON JWS with any one valid signature. An agreement needs two, one under each
party's key, over the same payload bytes (AGR-7).
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, model_validator

from comity.crypto.jws import decode_header, encode_header
from comity.crypto.keys import PublicKey, Signer
from comity.documents.offers import FormatVersion, HomeParty, Nonce, Operator, PartyKey, SignedOffer, Terms
from comity.documents.types import DAY, Flag, Hash, Model, Seconds, Side, parse_model
from comity.encoding import b64u_decode, b64u_encode, dump_json, hash_id
from comity.errors import Malformed, Refused

AGREEMENT_TYP = "comity-agreement+jws"
COUNTERSIGN_WITHIN = 7 * DAY
"""The most seconds from `iat` to `countersign_by` (AGR-4)."""
CLOCK_SKEW = 600
"""The most seconds by which a signer's clock may be off (CONN-7)."""


class Agreement(Model):
    """The payload that both sides sign."""

    v: FormatVersion
    offer: Hash
    offerer: PartyKey
    accepter: PartyKey
    terms: Terms
    operator: Operator
    home: HomeParty
    nonce: Nonce
    iat: Seconds
    countersign_by: Seconds
    test: Flag | None = None

    @model_validator(mode="after")
    def _check_members(self) -> "Agreement":
        if self.offerer.did == self.accepter.did or self.offerer.key == self.accepter.key:
            raise ValueError("the two parties must be different")
        if self.home.key in (self.offerer.key, self.accepter.key):
            raise ValueError("the home server must not use the key of a party")
        if not self.iat < self.countersign_by <= self.iat + COUNTERSIGN_WITHIN:
            raise ValueError("countersign_by is at most seven days after iat")
        return self

    def party(self, side: Side) -> PartyKey:
        """The party on a side: the offerer is first, the accepter second."""
        return self.offerer if side == "first" else self.accepter


class _Signature(Model):
    protected: str
    signature: Annotated[str, Field(max_length=86)]


class _GeneralJws(Model):
    payload: Annotated[str, Field(max_length=16_384)]
    signatures: Annotated[tuple[_Signature, ...], Field(max_length=2)]


_AGREEMENT: TypeAdapter[Agreement] = TypeAdapter(Agreement)
_GENERAL: TypeAdapter[_GeneralJws] = TypeAdapter(_GeneralJws)


@dataclass(frozen=True, slots=True)
class HalfSigned:
    """An agreement with the accepter's signature. Only `half_sign` and `open_half` make one."""

    raw: bytes
    cid: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class SignedAgreement:
    """An agreement with both signatures. Only `countersign` and `open_agreement` make one."""

    raw: bytes
    cid: str
    agreement: Agreement


def half_sign(agreement: Agreement, accepter: Signer) -> HalfSigned:
    """Signs an agreement as its accepter. Raises Refused("bad_signature") if the signer is not a party, Malformed if it
    is the offerer, who signs second."""
    payload = b64u_encode(agreement.to_json())
    return open_half(_general_jws(payload, [_sign(payload, accepter)]))


def countersign(half: HalfSigned, offerer: Signer) -> SignedAgreement:
    """Adds the offerer's signature over the same bytes (AGR-9). Raises Refused("bad_signature") if the signer is not
    the offerer."""
    general = parse_model(_GENERAL, half.raw)
    first = general.signatures[0].model_dump()
    return open_agreement(_general_jws(general.payload, [first, _sign(general.payload, offerer)]))


def open_half(raw: bytes) -> HalfSigned:
    """Verifies an agreement with the accepter's signature alone.

    Raises Malformed, Refused("too_large" | "bad_signature"). The caller checks that a did:web party publishes its key
    (AGR-3).
    """
    cid, agreement, signers = _open(raw)
    if signers != ["second"]:
        raise Malformed("a half-signed agreement has the accepter's signature and no other")
    return HalfSigned(raw, cid, agreement)


def open_agreement(raw: bytes) -> SignedAgreement:
    """Verifies an agreement with exactly two signatures, one under each party's key (AGR-7).

    Raises Malformed, Refused("too_large" | "bad_signature").
    """
    cid, agreement, signers = _open(raw)
    if sorted(signers) != ["first", "second"]:
        raise Malformed("an agreement has exactly one signature of each party")
    return SignedAgreement(raw, cid, agreement)


def fits_offer(agreement: Agreement, signed: SignedOffer) -> bool:
    """True if the agreement belongs to this offer: same hash, offerer's key, home server, operator and sandbox flag
    (AGR-5).

    Only the `did` of the home server is compared: it may have rotated its key since the offer was signed (HOME-6). The
    terms need not be among those offered: an accepter may propose one alternative (AGR-6).
    """
    offer = signed.offer
    return (
        agreement.offer == signed.hash
        and agreement.offerer == PartyKey(did=offer.iss, kid=signed.kid, key=signed.key.multibase)
        and agreement.home.did == offer.home.did
        and agreement.operator == offer.operator
        and agreement.test == offer.test
        and (offer.to is None or offer.to == agreement.accepter.did)
    )


def is_alternative(agreement: Agreement, signed: SignedOffer) -> bool:
    """True if the accepter proposed other terms than the offer (AGR-6)."""
    return agreement.terms not in [offered.terms() for offered in signed.offer.agreements]


def _general_jws(payload: str, signatures: list[dict[str, str]]) -> bytes:
    return dump_json({"payload": payload, "signatures": signatures})


def _sign(payload: str, signer: Signer) -> dict[str, str]:
    head = encode_header(AGREEMENT_TYP, signer.kid)
    return {"protected": head, "signature": b64u_encode(signer.key.sign(f"{head}.{payload}".encode("ascii")))}


def _open(raw: bytes) -> tuple[str, Agreement, list[Side]]:
    """(cid, agreement, the sides that signed, in order). Raises Refused unless every signature is valid."""
    general = parse_model(_GENERAL, raw)
    payload = b64u_decode(general.payload)
    agreement = parse_model(_AGREEMENT, payload)
    sides: list[Side] = []
    for entry in general.signatures:
        header = decode_header(entry.protected)
        side = _side_of(agreement, header.kid)
        if header.typ != AGREEMENT_TYP or side is None:
            raise Refused("bad_signature", "a signature belongs to neither party")
        key = PublicKey.of_multibase(agreement.party(side).key)
        signing_input = f"{entry.protected}.{general.payload}".encode("ascii")
        if not key.verify(signing_input, b64u_decode(entry.signature)):
            raise Refused("bad_signature")
        sides.append(side)
    return hash_id(payload), agreement, sides


def _side_of(agreement: Agreement, kid: str) -> Side | None:
    if kid == agreement.offerer.kid:
        return "first"
    return "second" if kid == agreement.accepter.kid else None
