"""Proposals: agreements that a customer has signed and that wait for the business, and the acceptance of a customer's
offer (INV-9, INV-10)."""

import secrets
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

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
from comity.documents.offers import (
    MOST_LINK,
    HomeParty,
    Id,
    OfferedTerms,
    PartyKey,
    SignedOffer,
    open_offer,
    parse_link,
)
from comity.documents.types import Language, Token
from comity.encoding import b64u_encode
from comity.errors import Malformed, Refused
from comity_server.api.business.acts import kept_signer, newest_signer
from comity_server.api.business.endpoints.offers import OfferId
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.pagination import AFTER_ALL, NextCursor, Page, filter_rows, page_start, seal_cursor
from comity_server.api.business.route import BUSINESS, Call, Reply, Route
from comity_server.schema import Cid, Hash, Instant, Model, instant
from comity_server.store.business import Waiting
from comity_server.writer.unit_of_work import UnitOfWork


class ProposedTerms(Model):
    """The agreement that the customer signed."""

    id: str
    version: str
    lang: str
    sha256: Hash


class Proposal(Model):
    """An agreement that a customer has signed. The connection opens when you accept it."""

    id: Cid = Field(description="The id that the connection will have.")
    object: Literal["proposal"] = "proposal"
    status: Annotated[Literal["waiting"], Field(description="It waits for your signature.")] = "waiting"
    offer: OfferId
    customer: str = Field(description="The DID of the customer, which is used in this connection only.")
    terms: ProposedTerms
    alternative: bool = Field(description="True if the agreement is none of those in the offer.")
    proposed_at: Instant
    countersign_by: Instant = Field(description="The end of the proposal.")


class ProposalList(Model):
    """A page of proposals that wait for you, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[Proposal, ...]
    next_cursor: NextCursor | None = None


class OpenedConnection(Model):
    """The connection that opened."""

    id: Cid
    object: Literal["connection"] = "connection"
    status: Literal["open"] = "open"
    opened_at: Instant


class ProposalDecline(Model):
    """Why a proposal is declined. `{}` is enough: you need no reason."""

    reason: Token | None = Field(default=None, description="A code that the customer sees.", examples=["full"])
    silent: bool = Field(default=False, description="Tell the customer nothing: to her the proposal stays unanswered.")


class NewProposal(Model):
    """The customer's offer that you accept: its id or its link."""

    offer: OfferId | None = Field(default=None, description="The id of the offer.")
    link: Annotated[str, Field(max_length=MOST_LINK, pattern=r"^[!-~]+$")] | None = Field(
        default=None,
        description="The link of the offer.",
        examples=["https://home.example/i/adRdcBR-A1qp#adRdcBR-A1qpmEseMjoNbsJ1RPk7ANPpIInyQYky05M"],
    )
    agreement: Id | None = Field(
        default=None, description="The id of the agreement that you choose. Absent: the first."
    )
    lang: Language | None = Field(default=None, description="The language of the text that you choose.")

    @model_validator(mode="after")
    def _one_offer(self) -> "NewProposal":
        if (self.offer is None) == (self.link is None):
            raise ValueError("either offer or link is needed")
        return self


class CreatedProposal(Model):
    """Your signed agreement. The connection opens when the customer signs it, too."""

    id: Cid = Field(description="The id that the connection will have.")
    object: Literal["proposal"] = "proposal"
    status: Annotated[Literal["waiting"], Field(description="It waits for the customer's signature.")] = "waiting"
    countersign_by: Instant


async def list_proposals(call: Call) -> Reply:
    """Lists the proposals that wait for the business."""
    limit = call.query.limit
    place = page_start(call, "proposals", AFTER_ALL)
    did, now = call.business.did, call.server.clock.now()
    rows = await call.server.store.business.waiting_halves(did, now, place, limit + 1)
    offers: dict[str, SignedOffer] = {}
    for short in {row.offer for row in rows}:
        stored = await call.server.store.offer(short)
        if stored is not None:
            offers[short] = open_offer(stored.raw, call.server.directory.find_key)
    items, looked_at = filter_rows(rows, limit, limit, lambda row: _proposal_item(row, offers[row.offer]))
    last = rows[looked_at - 1] if looked_at else None
    cursor = None if last is None else seal_cursor(call, "proposals", last.created_at, last.cid)
    return Reply.of(ProposalList(items=items, next_cursor=cursor))


def _proposal_item(row: Waiting, offer: SignedOffer) -> Proposal:
    agreement = open_half(row.raw).agreement
    return Proposal(
        id=row.cid,
        offer=row.offer,
        customer=row.second_did,
        terms=ProposedTerms(**agreement.terms.model_dump()),
        alternative=is_alternative(agreement, offer),
        proposed_at=instant(agreement.iat * 1000),
        countersign_by=instant(row.countersign_by),
    )


async def accept_proposal(call: Call) -> Reply:
    """Countersigns a proposal, which opens the connection."""
    server = call.server

    async def decide(unit: UnitOfWork) -> Reply:
        half = open_half(await server.onboarding.waiting_half(call.path["connection"], call.business, unit))
        signer = kept_signer(call, half.agreement.offerer.kid)
        whole = countersign(half, signer)
        await server.onboarding.countersign(whole, unit, signer)
        opened = OpenedConnection(id=whole.cid, opened_at=instant(unit.states[whole.cid].at))
        return Reply.of(opened, 201, f"{BUSINESS}/connections/{whole.cid}")

    return await run_idempotent(call, decide)


async def decline_proposal(call: Call) -> Reply:
    """Declines a customer's proposal, or withdraws the business's own."""
    how: ProposalDecline = call.body

    async def decide(unit: UnitOfWork) -> Reply:
        did = call.business.did
        await call.server.onboarding.decline(call.path["connection"], did, how.reason, how.silent, unit)
        return Reply(204)

    return await run_idempotent(call, decide)


async def create_proposal(call: Call) -> Reply:
    """Accepts a customer's offer: signs its agreement with the newest kept key of the business."""
    wanted: NewProposal = call.body
    signer = newest_signer(call)
    short, hash_ = _offer_of(call, wanted)

    async def decide(unit: UnitOfWork) -> Reply:
        offer = await call.server.onboarding.offer_to_accept(unit, short)
        if hash_ is not None and offer.hash != hash_:
            raise Refused("not_found")
        half = _half(offer, _choose_terms(offer, wanted), signer, call.server.home.party, unit.now // 1000)
        await call.server.onboarding.propose(short, half, unit)
        created = CreatedProposal(id=half.cid, countersign_by=instant(half.agreement.countersign_by * 1000))
        return Reply.of(created, 202)

    return await run_idempotent(call, decide)


def _offer_of(call: Call, wanted: NewProposal) -> tuple[str, str | None]:
    """(id, hash where the link has it) of the offer. Raises Malformed, Refused("wrong_home")."""
    if wanted.link is None:
        assert wanted.offer is not None, "one of them is there"
        return wanted.offer, None
    try:
        origin, short, hash_ = parse_link(wanted.link)
    except Malformed as fault:
        raise Malformed("the link is none of an offer", errors=(("/link", fault.detail or ""),)) from None
    if origin != call.server.home.origin:
        raise Refused("wrong_home", "The offer is one of another server.")
    return short, hash_


def _choose_terms(offer: SignedOffer, wanted: NewProposal) -> OfferedTerms:
    """The first terms of the offer that match the request. Raises Refused("agreement_conflict")."""
    for terms in offer.offer.agreements:
        if wanted.agreement in (None, terms.id) and wanted.lang in (None, terms.lang):
            return terms
    raise Refused("agreement_conflict", "The offer does not have this agreement.")


def _half(offer: SignedOffer, terms: OfferedTerms, signer: Signer, home: HomeParty, now: int) -> HalfSigned:
    """The agreement with the signature of the business. Raises Refused("agreement_conflict") for its own offer."""
    if offer.offer.iss == signer.did:
        raise Refused("agreement_conflict", "The offer is your own.")
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
        list_proposals,
        "listProposals",
        "List the proposals that wait for you",
        _TAG,
        description=(
            "Proposals on offers with `countersign: by_hand`, and proposals with an agreement that you did not offer."
            " Those that were answered, withdrawn or expired are not in the list."
        ),
        query=Page,
        answer=ProposalList,
    ),
    Route(
        "POST",
        "/proposals",
        "offers:write",
        create_proposal,
        "createProposal",
        "Accept an offer of a customer",
        _TAG,
        description=(
            "For a customer who made an offer to you. The server signs the agreement with your kept key. The connection"
            " opens when the customer countersigns, and you get a notification. A business that keeps its own key sends"
            " the signed agreement to `/v1/offers/{id}/agreements`."
        ),
        body=NewProposal,
        answer=CreatedProposal,
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
        "Accept a proposal, which opens the connection",
        _TAG,
        description=(
            "The server signs with your kept key. A business that keeps its own key sends the agreement with both"
            " signatures to `/v1/agreements/{cid}`."
        ),
        answer=OpenedConnection,
        statuses=(201,),
        codes=("signing_key_not_kept",),
    ),
    Route(
        "POST",
        "/proposals/{connection}/decline",
        "offers:write",
        decline_proposal,
        "declineProposal",
        "Decline a proposal, or withdraw your own",
        _TAG,
        description="With a reason, without one, or silently: then the proposal looks unanswered to the customer.",
        body=ProposalDecline,
        statuses=(204,),
    ),
)
