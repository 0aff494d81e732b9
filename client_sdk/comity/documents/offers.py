"""Offers: how a connection begins (spec/offer.md).

An offer is a signed text; it travels as a link whose fragment holds its hash, so no server between can swap it.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from comity.crypto.jws import FindKey, no_other_keys, open_jws, seal
from comity.crypto.keys import PublicKey, Signer, did_of_kid, did_web_base, is_pairwise, key_of_kid, split_origin
from comity.documents.types import (
    AGREEMENT_PURPOSES,
    DAY,
    TEXT,
    Budget,
    Channels,
    Did,
    Hash,
    Kid,
    Label,
    Language,
    Mark,
    Model,
    ReachPurposes,
    Seconds,
    Whole,
    can_be_seen,
    is_name,
    read_model,
)
from comity.encoding import hash_id
from comity.errors import Malformed, Refused

OFFER_TYP = "comity-offer+jwt"
SHORT = 12
"""Characters of the hash by which a server serves an offer: 72 bits, not to be guessed."""
LONGEST_OFFER = 366 * DAY
"""Seconds from `iat` to `exp` at most (OFFER-6)."""

_LINK = re.compile(r"/i/([A-Za-z0-9_-]{12})(?:\?[!\"$-~]*)?#([A-Za-z0-9_-]{43})\Z")
_PLAIN = re.compile(r"%(2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
"""Unreserved characters that are written with a percent sign (RFC 3986, section 6.2.2.2)."""
MOST_LINK = 2000
"""Characters of a link, with what a mail sender added to it."""

Id = Annotated[str, Field(max_length=200, pattern=r"^[!-~]+$")]
Nonce = Annotated[str, Field(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Form = Annotated[Literal[2], Whole]
"""The version of the form of offers and agreements: no other is read."""
Operator = Annotated[str, Field(max_length=200, pattern=r"^[ -~]+$"), AfterValidator(is_name)]


class PartyKey(Model):
    """A party and the key it signs with. The key is named too, so both can check everything later without asking
    anyone; whether a did:web really publishes it is checked when the connection is made (AGR-3, KEY-7)."""

    did: Did
    kid: Kid
    key: Annotated[str, Field(pattern=r"^z6Mk[1-9A-HJ-NP-Za-km-z]{44}$")]

    @model_validator(mode="after")
    def _names_fit(self) -> "PartyKey":
        try:
            key = PublicKey.of_multibase(self.key)
            fits = did_of_kid(self.kid) == self.did and (key_of_kid(self.kid) or key) == key
        except Malformed as fault:
            raise ValueError(fault.detail) from None
        if not fits:
            raise ValueError("the did, the kid and the key do not belong together")
        return self

    @staticmethod
    def of(signer: Signer) -> "PartyKey":
        """The party that `signer` signs for."""
        return PartyKey(did=signer.did, kid=signer.kid, key=signer.key.public.multibase)


class HomeParty(PartyKey):
    """A home server and its key, as an offer or agreement pins it (HOME-1)."""

    @model_validator(mode="after")
    def _is_public(self) -> "HomeParty":
        if not self.did.startswith("did:web:"):
            raise ValueError("a home server is a did:web")
        return self

    @staticmethod
    def of(signer: Signer) -> "HomeParty":
        """The home server that `signer` signs for."""
        return HomeParty(did=signer.did, kid=signer.kid, key=signer.key.public.multibase)


class Terms(Model):
    """An agreement's text, named so that it cannot be exchanged: id, version, language and SHA-256 of its UTF-8."""

    id: Id
    version: Annotated[str, Field(max_length=32, pattern=r"^[!-~]+$")]
    lang: Language
    sha256: Hash


TermsText = Annotated[str, Field(min_length=1, max_length=16_384, pattern=TEXT), AfterValidator(can_be_seen)]
"""An agreement's text: several lines, with something to be read."""


class OfferedTerms(Terms):
    """Terms with their text, where the offer brings it along."""

    text: TermsText | None = None

    @model_validator(mode="after")
    def _text_is_the_one_named(self) -> "OfferedTerms":
        if self.text is not None and text_hash(self.text) != self.sha256:
            raise ValueError("the text is not the one whose hash is named")
        return self

    def terms(self) -> Terms:
        """The terms alone, as an agreement names them."""
        return Terms(id=self.id, version=self.version, lang=self.lang, sha256=self.sha256)


def _rest_on_a_grant(purposes: tuple[str, ...]) -> tuple[str, ...]:
    if AGREEMENT_PURPOSES.intersection(purposes):
        raise ValueError("a purpose that rests on the agreement needs no grant")
    return purposes


class Allow(Model):
    """What the offerer lets the other side come for from the opening on: a promise (ALLOW-1)."""

    purposes: Annotated[ReachPurposes, AfterValidator(_rest_on_a_grant)]
    channels: Channels
    days: Annotated[int, Field(ge=1, le=366)]
    budget: Budget | None = None

    @model_validator(mode="after")
    def _allows_something(self) -> "Allow":
        if self.budget is not None and self.budget.max < 1:
            raise ValueError("a budget of nothing allows nothing")
        return self


class Offer(Model):
    """Who offers a connection, on which terms, for what, and until when."""

    v: Form
    iss: Did
    iat: Seconds
    exp: Seconds
    nonce: Nonce
    home: HomeParty
    operator: Operator
    agreements: Annotated[tuple[OfferedTerms, ...], Field(min_length=1, max_length=8)]
    purposes: ReachPurposes
    use: Literal["one", "many"]
    channels: Channels | None = None
    name: Label | None = None
    to: Did | None = None
    allow: Allow | None = None
    test: Mark | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Offer":
        if is_pairwise(self.iss) and self.use != "one":
            raise ValueError("a pairwise side's offer is for one use")
        if not self.iat < self.exp <= self.iat + LONGEST_OFFER:
            raise ValueError("the offer ends before it begins, or too late")
        return self


_OFFER: TypeAdapter[Offer] = TypeAdapter(Offer)


@dataclass(frozen=True, slots=True)
class SignedOffer:
    """An offer whose signature held. Only `open_offer` makes one."""

    raw: str
    hash: str
    kid: str
    key: PublicKey
    offer: Offer

    @property
    def short(self) -> str:
        """The name by which a server serves it."""
        return self.hash[:SHORT]

    def link(self) -> str:
        """What goes into a QR code: where the offer is, and after `#` what it must hash to (OFFER-8)."""
        return f"{did_web_base(self.offer.home.did)}/i/{self.short}#{self.hash}"


def text_hash(text: str) -> str:
    """The name of an agreement's text: base64url SHA-256 of its UTF-8 bytes. Raises Malformed for lone surrogates."""
    try:
        return hash_id(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise Malformed("a text holds a lone surrogate") from None


def seal_offer(offer: Offer, signer: Signer) -> SignedOffer:
    """Sign an offer."""
    return open_offer(seal(offer.to_json(), OFFER_TYP, signer), {signer.kid: signer.key.public}.get)


def open_offer(raw: str | bytes, find_key: FindKey = no_other_keys) -> SignedOffer:
    """The offer, if form, signature and members hold.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    opened = open_jws(raw, {OFFER_TYP}, find_key)
    offer = read_model(_OFFER, opened.payload)
    if did_of_kid(opened.header.kid) != offer.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedOffer(opened.raw, opened.id, opened.header.kid, opened.key, offer)


def read_link(link: str) -> tuple[str, str, str]:
    """(origin, short id, hash) of a link, as it may look when it arrives: in angle brackets, with a query, in another
    of the spellings that are one URL (RFC 3986, sections 6.2.2 and 6.2.3, appendix C).

    Raises Malformed, also when the short id is not the hash's own, or the origin is none that a home server can have
    (OFFER-8).
    """
    if len(link) > MOST_LINK:
        raise Malformed("not a link to an offer")
    text = link.strip()
    if text.startswith("<") and text.endswith(">"):
        text = "".join(text[1:-1].split())
        text = text[4:] if text[:4].upper() == "URL:" else text
    try:
        origin, rest = split_origin(_PLAIN.sub(lambda it: chr(int(it[1], 16)), text))
    except Malformed as fault:
        raise Malformed(f"not a link to an offer: {fault.detail}") from None
    found = _LINK.match(rest)
    if not found or not found[2].startswith(found[1]):
        raise Malformed("not a link to an offer")
    return origin, found[1], found[2]
