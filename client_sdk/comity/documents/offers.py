"""Offers, which begin a connection (spec/offer.md).

An offer is a signed text. Its link carries its hash in the fragment, so no server in between can replace it.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from comity.crypto.jws import FindKey, no_other_keys, open_jws, sign_jws
from comity.crypto.keys import PublicKey, Signer, did_of_kid, did_web_base, is_pairwise, key_of_kid, split_origin
from comity.documents.types import (
    AGREEMENT_PURPOSES,
    DAY,
    TEXT,
    Budget,
    Channels,
    Did,
    Flag,
    Hash,
    Kid,
    Label,
    Language,
    Model,
    ReachPurposes,
    Seconds,
    Whole,
    check_name,
    check_visible,
    parse_model,
)
from comity.encoding import hash_id
from comity.errors import Malformed, Refused

OFFER_TYP = "comity-offer+jwt"
SHORT = 12
"""Characters of the hash in an offer's URL: 72 bits, which nobody can guess."""
LONGEST_OFFER = 366 * DAY
"""Seconds from `iat` to `exp` at most (OFFER-6)."""

_LINK = re.compile(r"/i/([A-Za-z0-9_-]{12})(?:\?[!\"$-~]*)?#([A-Za-z0-9_-]{43})\Z")
_ENCODED_UNRESERVED = re.compile(r"%(2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
"""Unreserved characters in percent-encoding (RFC 3986, section 6.2.2.2)."""
MOST_LINK = 2000
"""Characters of a link, with the additions of a mail program."""

Id = Annotated[str, Field(max_length=200, pattern=r"^[!-~]+$")]
Nonce = Annotated[str, Field(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
FormatVersion = Annotated[Literal[2], Whole]
"""The version of offers and agreements; no other version is read."""
Operator = Annotated[str, Field(max_length=200, pattern=r"^[ -~]+$"), AfterValidator(check_name)]


class PartyKey(Model):
    """A party and its signing key. The document names the key, so both sides can verify everything later without a
    lookup. Whoever makes the connection checks that a did:web publishes the key (AGR-3, KEY-7)."""

    did: Did
    kid: Kid
    key: Annotated[str, Field(pattern=r"^z6Mk[1-9A-HJ-NP-Za-km-z]{44}$")]

    @model_validator(mode="after")
    def _check_key_names(self) -> "PartyKey":
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
    def _check_is_public(self) -> "HomeParty":
        if not self.did.startswith("did:web:"):
            raise ValueError("a home server is a did:web")
        return self

    @staticmethod
    def of(signer: Signer) -> "HomeParty":
        """The home server that `signer` signs for."""
        return HomeParty(did=signer.did, kid=signer.kid, key=signer.key.public.multibase)


class Terms(Model):
    """A reference to an agreement's text that fixes it: id, version, language and SHA-256 of its UTF-8."""

    id: Id
    version: Annotated[str, Field(max_length=32, pattern=r"^[!-~]+$")]
    lang: Language
    sha256: Hash


TermsText = Annotated[str, Field(min_length=1, max_length=16_384, pattern=TEXT), AfterValidator(check_visible)]
"""An agreement's text: several lines, at least one visible character."""


class OfferedTerms(Terms):
    """Terms, with their text if the offer includes it."""

    text: TermsText | None = None

    @model_validator(mode="after")
    def _check_text_hash(self) -> "OfferedTerms":
        if self.text is not None and text_hash(self.text) != self.sha256:
            raise ValueError("the text does not have the given hash")
        return self

    def terms(self) -> Terms:
        """The terms without the text, as an agreement names them."""
        return Terms(id=self.id, version=self.version, lang=self.lang, sha256=self.sha256)


def _check_need_grants(purposes: tuple[str, ...]) -> tuple[str, ...]:
    if AGREEMENT_PURPOSES.intersection(purposes):
        raise ValueError("this purpose needs no grant")
    return purposes


class Allow(Model):
    """A promise of the offerer: the grant for the other side from the opening on (ALLOW-1)."""

    purposes: Annotated[ReachPurposes, AfterValidator(_check_need_grants)]
    channels: Channels
    days: Annotated[int, Field(ge=1, le=366)]
    budget: Budget | None = None

    @model_validator(mode="after")
    def _check_budget(self) -> "Allow":
        if self.budget is not None and self.budget.max < 1:
            raise ValueError("the budget must allow at least one")
        return self


class Offer(Model):
    """An offer of a connection: the offerer, the terms, the purposes, and the end of the offer."""

    v: FormatVersion
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
    test: Flag | None = None

    @model_validator(mode="after")
    def _check_members(self) -> "Offer":
        if is_pairwise(self.iss) and self.use != "one":
            raise ValueError("the offer of a pairwise side must be for one use")
        if not self.iat < self.exp <= self.iat + LONGEST_OFFER:
            raise ValueError("the offer's end is not after its start, or is too late")
        return self


_OFFER: TypeAdapter[Offer] = TypeAdapter(Offer)


@dataclass(frozen=True, slots=True)
class SignedOffer:
    """An offer with a valid signature. Only `open_offer` makes one."""

    raw: str
    hash: str
    kid: str
    key: PublicKey
    offer: Offer

    @property
    def short(self) -> str:
        """The id of the offer in its server's URLs."""
        return self.hash[:SHORT]

    def link(self) -> str:
        """The link in a QR code: the offer's URL, and after `#` its hash (OFFER-8)."""
        return f"{did_web_base(self.offer.home.did)}/i/{self.short}#{self.hash}"


def text_hash(text: str) -> str:
    """The hash of an agreement's text: base64url SHA-256 of its UTF-8 bytes. Raises Malformed for lone surrogates."""
    try:
        return hash_id(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise Malformed("a text holds a lone surrogate") from None


def sign_offer(offer: Offer, signer: Signer) -> SignedOffer:
    """Signs an offer."""
    return open_offer(sign_jws(offer.to_json(), OFFER_TYP, signer), {signer.kid: signer.key.public}.get)


def open_offer(raw: str | bytes, find_key: FindKey = no_other_keys) -> SignedOffer:
    """Parses and verifies an offer.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    jws = open_jws(raw, {OFFER_TYP}, find_key)
    offer = parse_model(_OFFER, jws.payload)
    if did_of_kid(jws.header.kid) != offer.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedOffer(jws.raw, jws.id, jws.header.kid, jws.key, offer)


def parse_link(link: str) -> tuple[str, str, str]:
    """(origin, short id, hash) of a link to an offer. The link may be in angle brackets, have a query, or use another
    spelling of the same URL (RFC 3986, sections 6.2.2 and 6.2.3, appendix C).

    Raises Malformed, also if the short id does not belong to the hash, or no home server can have that origin
    (OFFER-8).
    """
    if len(link) > MOST_LINK:
        raise Malformed("not a link to an offer")
    text = link.strip()
    if text.startswith("<") and text.endswith(">"):
        text = "".join(text[1:-1].split())
        text = text[4:] if text[:4].upper() == "URL:" else text
    try:
        origin, rest = split_origin(_ENCODED_UNRESERVED.sub(lambda match: chr(int(match[1], 16)), text))
    except Malformed as fault:
        raise Malformed(f"not a link to an offer: {fault.detail}") from None
    parts = _LINK.match(rest)
    if not parts or not parts[2].startswith(parts[1]):
        raise Malformed("not a link to an offer")
    return origin, parts[1], parts[2]
