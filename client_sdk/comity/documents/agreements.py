"""Agreements: one payload, exactly two signatures (spec/agreement.md).

Common JOSE libraries are content with any one valid signature of a General JSON JWS. Here an agreement is one only
with two, one under each party's key, over the very same payload bytes (AGR-7).
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, model_validator

from comity.crypto.jws import protected, read_protected
from comity.crypto.keys import PublicKey, Signer
from comity.documents.offers import Form, HomeParty, Nonce, Operator, PartyKey, SignedOffer, Terms
from comity.documents.types import DAY, Hash, Mark, Model, Seconds, Side, read_model
from comity.encoding import b64u_decode, b64u_encode, dump_json, hash_id
from comity.errors import Malformed, Refused

AGREEMENT_TYP = "comity-agreement+jws"
COUNTERSIGN_WITHIN = 7 * DAY
"""Seconds from `iat` to `countersign_by` at most (AGR-4)."""
CLOCK_SKEW = 600
"""Seconds by which a signer's clock may be off (CONN-7)."""


class Agreement(Model):
    """What both sides sign."""

    v: Form
    offer: Hash
    offerer: PartyKey
    accepter: PartyKey
    terms: Terms
    operator: Operator
    home: HomeParty
    nonce: Nonce
    iat: Seconds
    countersign_by: Seconds
    test: Mark | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Agreement":
        if self.offerer.did == self.accepter.did or self.offerer.key == self.accepter.key:
            raise ValueError("nobody agrees with himself")
        if self.home.key in (self.offerer.key, self.accepter.key):
            raise ValueError("the home server's key is neither party's")
        if not self.iat < self.countersign_by <= self.iat + COUNTERSIGN_WITHIN:
            raise ValueError("countersign_by is at most seven days after iat")
        return self

    def party(self, side: Side) -> PartyKey:
        """The offerer is the first side, the accepter the second."""
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
    """An agreement that its accepter signed. Only `half_sign` and `open_half` make one."""

    raw: bytes
    cid: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class SignedAgreement:
    """An agreement that both signed. Only `countersign` and `open_agreement` make one."""

    raw: bytes
    cid: str
    agreement: Agreement


def half_sign(agreement: Agreement, accepter: Signer) -> HalfSigned:
    """The accepter's half. Raises Refused("bad_signature") when the signer is no party to it, Malformed when it is the
    offerer, whose half comes second."""
    payload = b64u_encode(agreement.to_json())
    return open_half(_general(payload, [_sign(payload, accepter)]))


def countersign(half: HalfSigned, offerer: Signer) -> SignedAgreement:
    """The whole: the offerer's signature over the very same bytes (AGR-9). Raises Refused("bad_signature") when the
    signer is not the offerer named."""
    general = read_model(_GENERAL, half.raw)
    first = general.signatures[0].model_dump()
    return open_agreement(_general(general.payload, [first, _sign(general.payload, offerer)]))


def open_half(raw: bytes) -> HalfSigned:
    """An agreement with the accepter's signature and no other.

    Raises Malformed, Refused("too_large" | "bad_signature"). Whether a did:web party's key is really its own is for
    the caller to check (AGR-3).
    """
    cid, agreement, signers = _open(raw)
    if signers != ["second"]:
        raise Malformed("a half-signed agreement bears the accepter's signature alone")
    return HalfSigned(raw, cid, agreement)


def open_agreement(raw: bytes) -> SignedAgreement:
    """An agreement with exactly two signatures, one under each party's key (AGR-7).

    Raises Malformed, Refused("too_large" | "bad_signature").
    """
    cid, agreement, signers = _open(raw)
    if sorted(signers) != ["first", "second"]:
        raise Malformed("an agreement bears one signature of each party")
    return SignedAgreement(raw, cid, agreement)


def fits_offer(agreement: Agreement, signed: SignedOffer) -> bool:
    """Whether the agreement is made on this offer: its hash, its offerer's key, its home, its operator, and whether
    both are of a sandbox (AGR-5).

    Of the home only the `did` is compared: the server may have taken another key since the offer was signed (HOME-6).
    The terms need not be among those offered: an accepter may put one alternative in their place (AGR-6).
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
    """Whether the accepter put other terms in place of those offered (AGR-6)."""
    return agreement.terms not in [offered.terms() for offered in signed.offer.agreements]


def _general(payload: str, signatures: list[dict[str, str]]) -> bytes:
    return dump_json({"payload": payload, "signatures": signatures})


def _sign(payload: str, signer: Signer) -> dict[str, str]:
    head = protected(AGREEMENT_TYP, signer.kid)
    return {"protected": head, "signature": b64u_encode(signer.key.sign(f"{head}.{payload}".encode("ascii")))}


def _open(raw: bytes) -> tuple[str, Agreement, list[Side]]:
    """(cid, agreement, the sides whose signatures held, in order). Every signature there must hold."""
    general = read_model(_GENERAL, raw)
    payload = b64u_decode(general.payload)
    agreement = read_model(_AGREEMENT, payload)
    sides: list[Side] = []
    for entry in general.signatures:
        header = read_protected(entry.protected)
        side = _side_of(agreement, header.kid)
        if header.typ != AGREEMENT_TYP or side is None:
            raise Refused("bad_signature", "a signature is neither party's")
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
