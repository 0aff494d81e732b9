"""How a connection begins: offers made and looked at, halves signed, countersigned, declined and taken back.

Keys and texts are on disk before they are sent, so a kill in between leaves nothing signed by a lost key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from pydantic import ValidationError

from comity.client.connection.default_grants import FIRST_DEFAULTS, Default
from comity.client.connection.proposals import ShownOffer
from comity.client.connection.published_keys import published_key, signing_key
from comity.client.session import Blocked, Core, NotOpen
from comity.client.storage.records import Link, Offered, Proposed
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


def own_terms(id: str, version: str, lang: str, text: str) -> OfferedTerms:
    """An agreement by its text, as a business writes it itself; each line ends in LF. Raises Malformed."""
    text = text.replace("\r\n", "\n")
    members = {"id": id, "version": version, "lang": lang, "sha256": text_hash(text), "text": text}
    return cast(OfferedTerms, _valid(OfferedTerms, members))


# --- offers ---


async def read_offer(core: Core, raw: str, home: str) -> SignedOffer:
    """The offer in a text that the server `home` shows. Raises Contradiction."""
    try:
        key = await signing_key(core, raw, home)
        return open_offer(raw, lambda kid: key)
    except Refused as fault:
        raise Contradiction(f"an offer that is none: {fault}", (raw,)) from None


async def look(core: Core, link: str) -> ShownOffer:
    """Fetches the offer behind a link and holds it against the link's hash. Raises Refused("not_found")."""
    origin, short, offer_hash = parse_link(link)
    home = core.home(did_of_host(origin.partition("://")[2]))
    raw = await home.offer(short)
    signed = await read_offer(core, raw, home.did)
    if signed.hash != offer_hash:
        raise Contradiction("the server shows another offer than the link names", (raw, link))
    if signed.offer.home.did != home.did:
        raise Contradiction("the offer belongs to another server", (raw, link))
    await core.homes.must_state(signed.offer.home, raw)
    if signed.offer.test:  # OFFER-10
        raise Refused("test_only")
    if core.seconds() >= signed.offer.exp:
        raise Refused("not_found", "the offer has expired")
    return shown(core, signed)


def shown(core: Core, signed: SignedOffer) -> ShownOffer:
    """The offer with what a person should know about it."""
    offer = signed.offer
    operator = operator_is(offer.operator, offer.iss, offer.name)
    return ShownOffer(signed, operator, core.is_blocked(offer.iss), grant_defaults(core))


def grant_defaults(core: Core) -> dict[str, Default]:
    """What this wallet grants to offers, by class of purposes."""
    # In a list, since a record that is null would be none.
    kept = core.kept.all("defaults", list[dict[str, Any] | None])
    return {**FIRST_DEFAULTS, **{root: default for root, (default,) in kept.items()}}


def operator_is(operator: str, did: str, name: str | None) -> bool:
    """Whether an operator, named by its DID or by its name, is this party."""
    return operator == did or (name is not None and comparison_form(operator) == comparison_form(name))


async def make_offer(
    core: Core,
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
    """Signs and publishes an offer. Raises Refused, Malformed."""
    signer, entries = core.own_signer()
    about = await core.logs.ask(home_did)
    home = await core.homes.party(home_did)
    now = core.seconds()
    members: dict[str, Any] = {
        "v": 2,
        "iss": signer.did,
        "iat": now,
        "exp": now + span(days),
        "nonce": core.nonce(),
        "home": home,
        "operator": about.operator,
        "agreements": tuple(_offered(terms) for terms in agreements),
        "purposes": tuple(purposes),
        "use": use or ("one" if is_pairwise(signer.did) else "many"),
        "channels": None if channels is None else tuple(channels),
        "name": core.me.name if name is None else normalize_name(name),
        "to": to,
        "allow": None if allow is None else _allowed(allow),
    }
    signed = sign_offer(_valid(Offer, members), signer)
    await core.kept.keep_first(*entries, ("offers", signed.hash, Offered(signed.raw, signer.kid)))
    answer = await core.home(home_did).publish(signed.raw)
    if (answer.offer, answer.id, answer.link) != (signed.hash, signed.short, signed.link()):
        raise Contradiction("the server names another offer", (signed.raw, answer.model_dump_json()))
    return signed


def _allowed(allow: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `allow` from arguments as those of `Party.grant`."""
    budget = allow.get("budget")
    members = {"channels": ("app",), "days": 365, **allow}
    members |= {name: tuple(members[name]) for name in ("purposes", "channels") if name in members}
    return members if budget is None else {**members, "budget": {"max": budget[0], "per": budget[1]}}


def _offered(terms: AnyTerms) -> OfferedTerms:
    return terms if isinstance(terms, OfferedTerms) else OfferedTerms(**terms.model_dump())


def _valid(model: Any, members: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate({name: value for name, value in members.items() if value is not None})
    except ValidationError as fault:
        told = describe_faults(fault)
        raise Malformed(told[0][1], errors=told) from None


# --- the accepter ---


def chosen_terms(offer: Offer, terms: str | int | AnyTerms | None) -> Terms:
    """One of the offered agreements, by place or id, or another one in their place."""
    if isinstance(terms, Terms):
        return terms.terms() if isinstance(terms, OfferedTerms) else terms
    if isinstance(terms, str):
        found = [it for it in offer.agreements if it.id == terms]
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
    core: Core, shown_offer: ShownOffer, terms: Terms, days: float, wishes: Sequence[Mapping[str, Any]]
) -> Link:
    """Signs the accepter's half and hands it in; `wishes` are kept with it. Raises Blocked, Refused."""
    signed = shown_offer.signed
    if core.is_blocked(shown_offer.did):
        raise Blocked(f"{shown_offer.did} is blocked in this wallet")
    home = await core.homes.party(signed.offer.home.did)
    signer, entries = core.own_signer()
    half = half_sign(_agreed(core, signed, home, terms, signer, days), signer)
    link = Link(
        cid=half.cid,
        side="second",
        home=signed.offer.home.did,
        kid=signer.kid,
        other=signed.offer.iss,
        proposed_at=core.clock(),
        agreement=half.raw.decode(),
        offer=signed.raw,
        name=signed.offer.name,
    )
    await core.kept.keep_first(*entries, ("links", link.cid, link), ("wishes", link.cid, list(wishes) or None))
    try:
        return await hand_in_half(core, link)
    except Refused:
        await core.kept.keep(("links", link.cid, None), ("wishes", link.cid, None))
        raise


def _agreed(core: Core, signed: SignedOffer, home: HomeParty, terms: Terms, signer: Signer, days: float) -> Agreement:
    """What the accepter signs. Raises Malformed."""
    now = core.seconds()
    members = {
        "v": 2,
        "offer": signed.hash,
        "offerer": PartyKey(did=signed.offer.iss, kid=signed.kid, key=signed.key.multibase),
        "accepter": PartyKey.of(signer),
        "terms": terms,
        "operator": signed.offer.operator,
        "home": home,
        "nonce": core.nonce(),
        "iat": now,
        "countersign_by": now + min(span(days), COUNTERSIGN_WITHIN),
    }
    agreement: Agreement = _valid(Agreement, members)
    return agreement


async def hand_in_half(core: Core, link: Link) -> Link:
    """Sends the accepter's half; after a kill or a lost answer, once more. The link as it is kept then."""
    assert link.offer is not None
    answer = await core.home(link.home).propose(hash_id(link.offer.encode())[:SHORT], link.agreement.encode())
    if answer.cid != link.cid:
        raise Contradiction("the server names another agreement", (link.agreement, answer.cid))
    handed = msgspec.structs.replace(link, handed=True)
    core.taken.append("agreement")
    with core.keeping_after():
        await core.kept.keep(("links", link.cid, handed))
    return handed


# --- the offerer ---


async def check_proposal(core: Core, raw: bytes, cid: str | None) -> tuple[Proposed, str] | None:
    """Somebody's half, if it is one on an own offer; None where another copy of this wallet made the offer, which
    alone can answer. Raises Contradiction: the server ought to have refused it."""
    try:
        half = open_half(raw)
    except Refused as fault:
        raise Contradiction(f"a proposal that is none: {fault}", (raw.decode("utf-8", "replace"),)) from None
    offered = core.kept.get("offers", half.agreement.offer, Offered)
    by_another = offered is None and half.agreement.offerer.kid in core.kept.file.table("keys")
    if half.cid != cid or (offered is None and not by_another):
        raise Contradiction("a proposal on no offer of this wallet", (raw.decode(),))
    if offered is None:
        return None
    signed = own_offer(core, offered)
    if not fits_offer(half.agreement, signed):
        raise Contradiction("a proposal that does not fit the offer", (raw.decode(), signed.raw))
    await core.homes.must_state(half.agreement.home, raw.decode())
    accepter = half.agreement.accepter
    key = await published_key(core, accepter.kid, signed.offer.home.did)
    if key is None or key.multibase != accepter.key:
        raise Contradiction("a proposal under a key that its party does not publish", (raw.decode(),))
    return Proposed(half.raw.decode(), half.agreement.offer, core.clock()), half.cid


def own_offer(core: Core, offered: Offered) -> SignedOffer:
    """An offer of this wallet, opened."""
    key = core.signer(offered.kid).key.public
    return open_offer(offered.raw, {offered.kid: key}.get)


async def sign_whole(core: Core, proposed: Proposed) -> tuple[Link, str]:
    """Countersigns and hands in; the link and the `opened` event. Raises Refused."""
    half = open_half(proposed.half.encode())
    if core.is_blocked(half.agreement.accepter.did):
        raise Blocked(f"{half.agreement.accepter.did} is blocked in this wallet")
    offered = core.kept.get("offers", proposed.offer, Offered)
    if offered is None:
        raise NotOpen("the offer is not this wallet's")
    signed = own_offer(core, offered)
    signer: Signer = core.signer(offered.kid)
    whole = countersign(half, signer)
    link = Link(
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
    # What the offer allows is given once the connection is open; kept first, so that a kill in between keeps it.
    promised = [] if signed.offer.allow is None else [{"promised": True}]
    await core.kept.keep_first(("links", link.cid, link), ("wishes", link.cid, promised or None))
    return link, await hand_in(core, link)


async def hand_in(core: Core, link: Link) -> str:
    """Sends the whole agreement; after a kill, once more. The text of the `opened` event."""
    try:
        answer = await core.home(link.home).countersign(link.cid, link.agreement.encode())
    except Refused as refused:
        if refused.code == "not_found":
            await core.kept.keep(("links", link.cid, None), ("proposals", link.cid, None))
        raise
    if answer.cid != link.cid:
        raise Contradiction("the server names another agreement", (link.agreement, answer.event))
    core.taken.append("agreement")
    return answer.event
