"""The beginning of a connection: offers published and fetched, halves signed, countersigned, and submitted.

Keys and texts are stored before they are sent, so a kill in between leaves nothing signed by a lost key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from pydantic import ValidationError

from comity.client.connection.default_grants import FIRST_DEFAULTS, Default
from comity.client.connection.proposals import OfferPreview
from comity.client.connection.published_keys import published_key, signing_key
from comity.client.session import Blocked, NotOpen, Session
from comity.client.storage.records import ConnectionInfo, OwnOffer, ReceivedProposal
from comity.client.times import span
from comity.crypto.keys import Signer, did_of_host, is_pairwise
from comity.documents.agreements import COUNTERSIGN_WITHIN, Agreement, countersign, fits_offer, half_sign, open_half
from comity.documents.names import comparison_form, normalize_name
from comity.documents.offers import (
    SHORT,
    HomeParty,
    Offer,
    OfferedTerms,
    PartyKey,
    SignedOffer,
    Terms,
    open_offer,
    parse_link,
    sign_offer,
    text_hash,
)
from comity.documents.types import describe_faults
from comity.encoding import hash_id
from comity.errors import Contradiction, Malformed, Refused

AnyTerms = OfferedTerms | Terms


def make_terms(id: str, version: str, lang: str, text: str) -> OfferedTerms:
    """Terms by their text, as a business writes them itself; each line ends in LF. Raises Malformed."""
    text = text.replace("\r\n", "\n")
    members = {"id": id, "version": version, "lang": lang, "sha256": text_hash(text), "text": text}
    return cast(OfferedTerms, _validate(OfferedTerms, members))


# --- offers ---


async def read_offer(session: Session, raw: str, home: str) -> SignedOffer:
    """The checked offer in a text that the server `home` shows. Raises Contradiction, Unreachable."""
    try:
        key = await signing_key(session, raw, home)
        return open_offer(raw, lambda kid: key)
    except Refused as fault:
        raise Contradiction(f"an invalid offer: {fault}", (raw,)) from None


async def fetch_offer(session: Session, link: str) -> OfferPreview:
    """Fetches the offer behind a link and compares it with the link's hash. Raises Refused("not_found" | "test_only"),
    Contradiction, Unreachable."""
    origin, short, offer_hash = parse_link(link)
    home = session.server(did_of_host(origin.partition("://")[2]))
    raw = await home.get_offer(short)
    signed = await read_offer(session, raw, home.did)
    if signed.hash != offer_hash:
        raise Contradiction("the server shows another offer than the link names", (raw, link))
    if signed.offer.home.did != home.did:
        raise Contradiction("the offer belongs to another server", (raw, link))
    await session.known_servers.check_stated(signed.offer.home, raw)
    if signed.offer.test:  # OFFER-10
        raise Refused("test_only")
    if session.seconds() >= signed.offer.exp:
        raise Refused("not_found", "the offer has expired")
    return preview_offer(session, signed)


def preview_offer(session: Session, signed: SignedOffer) -> OfferPreview:
    """The offer with the warnings that a person should see."""
    offer = signed.offer
    operator = is_operator(offer.operator, offer.iss, offer.name)
    return OfferPreview(signed, operator, session.is_blocked(offer.iss), grant_defaults(session))


def grant_defaults(session: Session) -> dict[str, Default]:
    """The grants that this wallet suggests for offers, by class of purposes."""
    # In a list, because a null record would be a missing one.
    kept = session.records.all("defaults", list[dict[str, Any] | None])
    return {**FIRST_DEFAULTS, **{root: default for root, (default,) in kept.items()}}


def is_operator(operator: str, did: str, name: str | None) -> bool:
    """Whether an operator, given as a DID or a name, is this party."""
    return operator == did or (name is not None and comparison_form(operator) == comparison_form(name))


async def make_offer(
    session: Session,
    home_did: str,
    agreements: Sequence[AnyTerms],
    purposes: Iterable[str],
    *,
    use: Literal["one", "many"] | None,
    days: float,
    channels: Iterable[str] | None,
    name: str | None,
    to: str | None,
    allow: Mapping[str, Any] | None,
) -> SignedOffer:
    """Signs, stores and publishes an offer. Raises Refused, Malformed, Unreachable, Contradiction."""
    signer, entries = session.own_signer()
    about = await session.logs.refresh(home_did)
    home = await session.known_servers.current_party(home_did)
    now = session.seconds()
    members: dict[str, Any] = {
        "v": 2,
        "iss": signer.did,
        "iat": now,
        "exp": now + span(days),
        "nonce": session.nonce(),
        "home": home,
        "operator": about.operator,
        "agreements": tuple(_as_offered_terms(terms) for terms in agreements),
        "purposes": tuple(purposes),
        "use": use or ("one" if is_pairwise(signer.did) else "many"),
        "channels": None if channels is None else tuple(channels),
        "name": session.owner.name if name is None else normalize_name(name),
        "to": to,
        "allow": None if allow is None else _promise_members(allow),
    }
    signed = sign_offer(_validate(Offer, members), signer)
    await session.records.store_durably(*entries, ("offers", signed.hash, OwnOffer(signed.raw, signer.kid)))
    answer = await session.server(home_did).publish_offer(signed.raw)
    if (answer.offer, answer.id, answer.link) != (signed.hash, signed.short, signed.link()):
        raise Contradiction("the server names another offer", (signed.raw, answer.model_dump_json()))
    return signed


def _promise_members(allow: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `allow`, from arguments like those of `Connection.grant`."""
    budget = allow.get("budget")
    members = {"channels": ("app",), "days": 365, **allow}
    members |= {name: tuple(members[name]) for name in ("purposes", "channels") if name in members}
    return members if budget is None else {**members, "budget": {"max": budget[0], "per": budget[1]}}


def _as_offered_terms(terms: AnyTerms) -> OfferedTerms:
    return terms if isinstance(terms, OfferedTerms) else OfferedTerms(**terms.model_dump())


def _validate(model: Any, members: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate({name: value for name, value in members.items() if value is not None})
    except ValidationError as fault:
        errors = describe_faults(fault)
        raise Malformed(errors[0][1], errors=errors) from None


# --- the accepter ---


def choose_terms(offer: Offer, terms: str | int | AnyTerms | None) -> Terms:
    """One of the offered agreements, by position or id, or the caller's own terms. Raises Malformed."""
    if isinstance(terms, Terms):
        return terms.terms() if isinstance(terms, OfferedTerms) else terms
    if isinstance(terms, str):
        found = [agreement for agreement in offer.agreements if agreement.id == terms]
        if len(found) != 1:
            raise Malformed(
                "several of the offered terms have that id: name them by their place"
                if found
                else "the offer does not name those terms"
            )
        return found[0].terms()
    if not 0 <= (place := terms or 0) < len(offer.agreements):
        raise Malformed("the offer has no terms in that place")
    return offer.agreements[place].terms()


async def sign_half(
    session: Session, shown_offer: OfferPreview, terms: Terms, days: float, grants: Sequence[Mapping[str, Any]]
) -> ConnectionInfo:
    """Signs, stores and submits the accepter's half; the `grants` to give once it is open are stored with it.
    Raises Blocked, Refused."""
    signed = shown_offer.signed
    if session.is_blocked(shown_offer.did):
        raise Blocked(f"{shown_offer.did} is blocked in this wallet")
    home = await session.known_servers.current_party(signed.offer.home.did)
    signer, entries = session.own_signer()
    half = half_sign(_make_agreement(session, signed, home, terms, signer, days), signer)
    info = ConnectionInfo(
        cid=half.cid,
        side="second",
        home=signed.offer.home.did,
        kid=signer.kid,
        other=signed.offer.iss,
        proposed_at=session.clock(),
        agreement=half.raw.decode(),
        offer=signed.raw,
        name=signed.offer.name,
    )
    await session.records.store_durably(*entries, ("links", info.cid, info), ("wishes", info.cid, list(grants) or None))
    try:
        return await submit_half(session, info)
    except Refused:
        await session.records.store(("links", info.cid, None), ("wishes", info.cid, None))
        raise


def _make_agreement(
    session: Session, signed: SignedOffer, home: HomeParty, terms: Terms, signer: Signer, days: float
) -> Agreement:
    """The agreement for the accepter to sign. Raises Malformed."""
    now = session.seconds()
    members = {
        "v": 2,
        "offer": signed.hash,
        "offerer": PartyKey(did=signed.offer.iss, kid=signed.kid, key=signed.key.multibase),
        "accepter": PartyKey.of(signer),
        "terms": terms,
        "operator": signed.offer.operator,
        "home": home,
        "nonce": session.nonce(),
        "iat": now,
        "countersign_by": now + min(span(days), COUNTERSIGN_WITHIN),
    }
    agreement: Agreement = _validate(Agreement, members)
    return agreement


async def submit_half(session: Session, info: ConnectionInfo) -> ConnectionInfo:
    """Submits the accepter's half, or submits it again after a kill or a lost answer. Returns the updated record of the
    connection."""
    assert info.offer is not None
    answer = await session.server(info.home).submit_half(hash_id(info.offer.encode())[:SHORT], info.agreement.encode())
    if answer.cid != info.cid:
        raise Contradiction("the server names another agreement", (info.agreement, answer.cid))
    handed = msgspec.structs.replace(info, handed=True)
    session.accepted_kinds.append("agreement")
    with session.tolerate_write_errors():
        await session.records.store(("links", info.cid, handed))
    return handed


# --- the offerer ---


async def check_proposal(session: Session, raw: bytes, cid: str | None) -> tuple[ReceivedProposal, str] | None:
    """The checked half on an own offer, with its cid. None where another copy of this wallet made the offer and alone
    can answer. Raises Contradiction: the server should have refused it."""
    try:
        half = open_half(raw)
    except Refused as fault:
        raise Contradiction(f"an invalid proposal: {fault}", (raw.decode("utf-8", "replace"),)) from None
    offered = session.records.get("offers", half.agreement.offer, OwnOffer)
    by_another = offered is None and half.agreement.offerer.kid in session.records.file.table("keys")
    if half.cid != cid or (offered is None and not by_another):
        raise Contradiction("a proposal on no offer of this wallet", (raw.decode(),))
    if offered is None:
        return None
    signed = open_own_offer(session, offered)
    if not fits_offer(half.agreement, signed):
        raise Contradiction("a proposal that does not fit the offer", (raw.decode(), signed.raw))
    await session.known_servers.check_stated(half.agreement.home, raw.decode())
    accepter = half.agreement.accepter
    key = await published_key(session, accepter.kid, signed.offer.home.did)
    if key is None or key.multibase != accepter.key:
        raise Contradiction("a proposal under a key that its party does not publish", (raw.decode(),))
    return ReceivedProposal(half.raw.decode(), half.agreement.offer, session.clock()), half.cid


def open_own_offer(session: Session, offered: OwnOffer) -> SignedOffer:
    """The opened text of an own offer."""
    key = session.signer(offered.kid).key.public
    return open_offer(offered.raw, {offered.kid: key}.get)


async def countersign_proposal(session: Session, proposed: ReceivedProposal) -> tuple[ConnectionInfo, str]:
    """Countersigns a proposal, stores and submits the agreement. Returns the connection's record and the `opened`
    event. Raises Refused, Blocked, NotOpen."""
    half = open_half(proposed.half.encode())
    if session.is_blocked(half.agreement.accepter.did):
        raise Blocked(f"{half.agreement.accepter.did} is blocked in this wallet")
    offered = session.records.get("offers", proposed.offer, OwnOffer)
    if offered is None:
        raise NotOpen("the offer is not this wallet's")
    signed = open_own_offer(session, offered)
    signer: Signer = session.signer(offered.kid)
    whole = countersign(half, signer)
    info = ConnectionInfo(
        cid=whole.cid,
        side="first",
        home=signed.offer.home.did,
        kid=signer.kid,
        other=half.agreement.accepter.did,
        proposed_at=proposed.at,
        agreement=whole.raw.decode(),
        whole=True,
        offer=signed.raw,
    )
    # The promised grant is given once the connection is open; stored first, so that it survives a kill.
    pending_grants = [] if signed.offer.allow is None else [{"promised": True}]
    await session.records.store_durably(("links", info.cid, info), ("wishes", info.cid, pending_grants or None))
    return info, await submit_agreement(session, info)


async def submit_agreement(session: Session, info: ConnectionInfo) -> str:
    """Submits the countersigned agreement, or submits it again after a kill. Returns the text of the `opened` event."""
    try:
        answer = await session.server(info.home).submit_agreement(info.cid, info.agreement.encode())
    except Refused as refused:
        if refused.code == "not_found":
            await session.records.store(("links", info.cid, None), ("proposals", info.cid, None))
        raise
    if answer.cid != info.cid:
        raise Contradiction("the server names another agreement", (info.agreement, answer.event))
    session.accepted_kinds.append("agreement")
    return answer.event
