"""Proposals: what customers signed and the business has not yet, and the business's own answer to a customer's offer
(INV-9, INV-10)."""

import secrets
from typing import Annotated, Any

from pydantic import Field

from comity.crypto.keys import Signer
from comity.documents.agreements import (
    COUNTERSIGN_WITHIN,
    Agreement,
    HalfSigned,
    countersign,
    half_sign,
    is_alternative,
    open_half,
)
from comity.documents.offers import MOST_LINK, HomeParty, Id, OfferedTerms, PartyKey, SignedOffer, open_offer, read_link
from comity.documents.types import Language, Token
from comity.encoding import b64u_encode
from comity.errors import Refused
from comity_server.api.business.acts import kept_signer, newest_signer
from comity_server.api.business.endpoints.offers import OfferId
from comity_server.api.business.idempotency import change
from comity_server.api.business.pagination import FIRST, Page, behind, cursor_of, sift
from comity_server.api.business.route import BUSINESS, Call, Reply, Route
from comity_server.schema import Cid, Cursor, Hash, Instant, Model, instant
from comity_server.store.business import Waiting
from comity_server.writer.unit_of_work import UnitOfWork


class ProposedTerms(Model):
    """The agreement that the customer signed."""

    id: str
    version: str
    lang: str
    sha256: Hash


class Proposal(Model):
    """A customer's half of an agreement. It opens the connection when you accept it."""

    connection: Cid = Field(description="What the connection will be called.")
    offer: OfferId
    customer: str = Field(description="The customer's name (DID), made for this connection alone.")
    terms: ProposedTerms
    alternative: bool = Field(description="Whether these terms are none of those that you offered.")
    proposed_at: Instant
    countersign_by: Instant = Field(description="From then on it is gone.")


class Proposals(Model):
    """A page of proposals that wait for you, those first whose time ends first."""

    items: tuple[Proposal, ...]
    cursor: Cursor | None = Field(default=None, description="Where the list goes on; absent at its end.")


class Accepted(Model):
    """The connection that is open now."""

    connection: Cid
    opened_at: Instant


class Declining(Model):
    """How a proposal is declined. `{}` is enough: no reason is owed."""

    reason: Token | None = Field(default=None, description="A code that the customer is told.", examples=["full"])
    silent: bool = Field(default=False, description="Tell the customer nothing: it looks as if nobody had looked.")


class NewProposal(Model):
    """A customer's offer that you would like to accept."""

    offer: Annotated[str, Field(min_length=12, max_length=MOST_LINK, pattern=r"^[!-~]+$")] = Field(
        description="The link of the offer, or its short id.",
        examples=["https://home.example/i/adRdcBR-A1qp#adRdcBR-A1qpmEseMjoNbsJ1RPk7ANPpIInyQYky05M"],
    )
    agreement: Id | None = Field(default=None, description="The id of the agreement you choose; absent: the first.")
    lang: Language | None = Field(default=None, description="The language of the text that you choose.")


class Proposed(Model):
    """Your half is there; the connection opens when the customer signs."""

    connection: Cid = Field(description="What the connection will be called.")
    countersign_by: Instant


async def get_proposals(call: Call) -> Reply:
    """The halves that wait for the business."""
    limit = call.query.limit
    place = behind(call, "proposals", FIRST)
    did, now = call.business.did, call.server.clock.now()
    rows = await call.server.store.business.waiting(did, now, place, limit + 1)
    offers: dict[str, SignedOffer] = {}
    for short in {row.offer for row in rows}:
        stored = await call.server.store.offer(short)
        if stored is not None:
            offers[short] = open_offer(stored.raw, call.server.directory.find_key)
    items, looked_at = sift(rows, limit, limit, lambda row: _shown(row, offers[row.offer]))
    last = rows[looked_at - 1] if looked_at else None
    cursor = None if last is None else cursor_of(call, "proposals", last.countersign_by, last.cid)
    return Reply.of(Proposals(items=items, cursor=cursor))


def _shown(row: Waiting, offer: SignedOffer) -> Proposal:
    agreement = open_half(row.raw).agreement
    return Proposal(
        connection=row.cid,
        offer=row.offer,
        customer=row.second_did,
        terms=ProposedTerms(**agreement.terms.model_dump()),
        alternative=is_alternative(agreement, offer),
        proposed_at=instant(agreement.iat * 1000),
        countersign_by=instant(row.countersign_by),
    )


async def accept_proposal(call: Call) -> Reply:
    """Countersign: the connection opens."""
    server = call.server

    async def decide(group: UnitOfWork) -> Reply:
        half = open_half(await server.connecting.waiting_half(call.path["connection"], call.business, group))
        signer = kept_signer(call, half.agreement.offerer.kid)
        whole = countersign(half, signer)
        await server.connecting.countersign(whole, group, signer)
        told = Accepted(connection=whole.cid, opened_at=instant(group.states[whole.cid].at))
        return Reply.of(told, 201, f"{BUSINESS}/connections/{whole.cid}")

    return await change(call, decide)


async def decline_proposal(call: Call) -> Reply:
    """Decline a customer's half, or take the business's own back."""
    how: Declining = call.body

    async def decide(group: UnitOfWork) -> Reply:
        did = call.business.did
        await call.server.connecting.decline(call.path["connection"], did, how.reason, how.silent, group)
        return Reply(204)

    return await change(call, decide)


async def post_proposals(call: Call) -> Reply:
    """Accept a customer's offer: the business's half, signed with its newest kept key."""
    wanted: NewProposal = call.body
    signer = newest_signer(call)
    short, hash_ = _named(call, wanted.offer)

    async def decide(group: UnitOfWork) -> Reply:
        offer = await call.server.connecting.offer_to_accept(group, short)
        if hash_ is not None and offer.hash != hash_:
            raise Refused("not_found")
        half = _half(offer, _chosen(offer, wanted), signer, call.server.home.party, group.now // 1000)
        await call.server.connecting.propose(short, half, group)
        told = Proposed(connection=half.cid, countersign_by=instant(half.agreement.countersign_by * 1000))
        return Reply.of(told, 202)

    return await change(call, decide)


def _named(call: Call, text: str) -> tuple[str, str | None]:
    """(short id, hash or None) of a link or a short id. Raises Malformed, Refused("wrong_home")."""
    if "#" not in text:
        return text, None
    origin, short, hash_ = read_link(text)
    if origin != call.server.home.origin:
        raise Refused("wrong_home", "that offer is another server's")
    return short, hash_


def _chosen(offer: SignedOffer, wanted: NewProposal) -> OfferedTerms:
    """The terms that are wanted, the offerer's favourites before others. Raises Refused("agreement_conflict")."""
    for terms in offer.offer.agreements:
        if wanted.agreement in (None, terms.id) and wanted.lang in (None, terms.lang):
            return terms
    raise Refused("agreement_conflict", "none of the agreements offered is that one")


def _half(offer: SignedOffer, terms: OfferedTerms, signer: Signer, home: HomeParty, now: int) -> HalfSigned:
    """The business's half. Raises Refused("agreement_conflict") for its own offer: nobody agrees with himself."""
    if offer.offer.iss == signer.did:
        raise Refused("agreement_conflict", "that is your own offer")
    members: dict[str, Any] = {
        "v": 2,
        "offer": offer.hash,
        "offerer": PartyKey(did=offer.offer.iss, kid=offer.kid, key=offer.key.multibase),
        "accepter": PartyKey.of(signer),
        "terms": terms.terms(),
        "operator": offer.offer.operator,
        "home": home,
        "nonce": b64u_encode(secrets.token_bytes(16)),
        "iat": now,
        "countersign_by": now + COUNTERSIGN_WITHIN,
    }
    return half_sign(Agreement(**members), signer)


_TAG = "proposals"
ROUTES = (
    Route(
        "GET",
        "/proposals",
        "offers:read",
        get_proposals,
        "listProposals",
        "List the proposals that wait for you",
        _TAG,
        description=(
            "Those on offers with `countersign: by_hand`, and those with terms that you did not offer. Whatever is"
            " answered, taken back, or too late is not there."
        ),
        query=Page,
        answer=Proposals,
    ),
    Route(
        "POST",
        "/proposals",
        "offers:write",
        post_proposals,
        "propose",
        "Accept an offer that a customer made",
        _TAG,
        description=(
            "A customer may offer first, at your door. Your half is signed with the key that you left here; the"
            " connection opens when the customer signs, and you are notified. A business that keeps its key sends its"
            " half to `/v1/offers/{id}/agreements`."
        ),
        body=NewProposal,
        answer=Proposed,
        statuses=(202,),
        codes=(
            "not_found",
            "wrong_home",
            "agreement_conflict",
            "rate_limited",
            "signing_key_not_kept",
        ),
    ),
    Route(
        "POST",
        "/proposals/{connection}/accept",
        "offers:write",
        accept_proposal,
        "acceptProposal",
        "Accept a proposal: the connection opens",
        _TAG,
        description=(
            "Needs the signing key to be kept here; a business that keeps it sends the agreement with both signatures"
            " to `/v1/agreements/{cid}`."
        ),
        answer=Accepted,
        statuses=(201,),
        codes=("signing_key_not_kept",),
    ),
    Route(
        "POST",
        "/proposals/{connection}/decline",
        "offers:write",
        decline_proposal,
        "declineProposal",
        "Decline a proposal, or take your own back",
        _TAG,
        description="With a reason, without one, or in silence: then it looks to the customer as if nobody had looked.",
        body=Declining,
        statuses=(204,),
    ),
)
