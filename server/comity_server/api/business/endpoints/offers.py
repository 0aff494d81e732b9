"""Offers of a business: published, listed, and ended early (spec/business-offers.md)."""

import secrets
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from comity.documents.offers import (
    LONGEST_OFFER,
    Allow,
    Id,
    Offer,
    OfferedTerms,
    SignedOffer,
    open_offer,
    sign_offer,
    text_hash,
)
from comity.documents.types import Channels, Did, Language, ReachPurposes, check_visible
from comity.encoding import b64u_encode
from comity.errors import Malformed, Refused
from comity.rules.allowances import IN_FORCE_FOR
from comity_server.api.business.acts import newest_signer
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.pagination import (
    AFTER_ALL,
    MAX_ROWS_READ,
    NextCursor,
    Page,
    filter_rows,
    page_start,
    seal_cursor,
)
from comity_server.api.business.route import BUSINESS, Call, Reply, Route
from comity_server.schema import HARMLESS, Due, Hash, Instant, Label, Model, instant, seconds, with_line_feeds
from comity_server.store.business import BusinessOffer
from comity_server.writer.unit_of_work import UnitOfWork

MOST_COUNTED = 10_000
"""The largest number of connections that is counted for one offer (INV-4)."""
Status = Literal["open", "used", "expired"]
Use = Literal["one", "many"]
Countersign = Literal["auto", "by_hand"]
OfferId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{12}$", examples=["7JxQ2mP4ZkVw"])]
"""The id of an offer, in every member `offer`: the first characters of its hash."""
TermsText = Annotated[
    str,
    Field(min_length=1, max_length=16_384, pattern=HARMLESS, examples=["We keep what you tell us to ourselves."]),
    AfterValidator(with_line_feeds),
    AfterValidator(check_visible),
]


class NewTerms(Model):
    """An agreement that you would sign: its text, id, version and language."""

    id: Id = Field(examples=["https://w3id.org/dpv/standards/ieee/7012#SD-BASE"])
    version: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[!-~]+$", examples=["1"])]
    lang: Language = Field(examples=["en"])
    text: TermsText


class NewOffer(Model):
    """A new offer. The customer's wallet shows every member except `label` and `countersign`."""

    purposes: ReachPurposes = Field(
        description="The purposes that you ask permission for.", examples=[["care", "sales"]]
    )
    channels: Channels | None = Field(
        default=None, description="The channels that you ask permission for.", examples=[["app", "email"]]
    )
    agreements: Annotated[tuple[NewTerms, ...], Field(min_length=1, max_length=8)] = Field(
        description="The agreements that you would sign, in order of preference."
    )
    use: Use = Field(description="`one`: an invitation for one person. `many`: for a poster, a receipt or a counter.")
    expires_at: Due = Field(
        description="The end of the offer, at most 366 days ahead.", examples=["2027-05-01T00:00:00Z"]
    )
    name: Label | None = Field(default=None, description="The name of your business.", examples=["Clear View Windows"])
    to: Did | None = Field(
        default=None, description="The DID of the only party that may accept. Absent: everybody with the link may."
    )
    allow: Allow | None = Field(
        default=None,
        description=(
            "The permission that you promise your customer in the signed offer, from the opening of the connection, for"
            " so many days. The server grants it when the connection opens, with `auto` or when you accept it here."
        ),
        examples=[{"purposes": ["care"], "channels": ["app"], "days": 365, "budget": {"max": 10, "per": "week"}}],
    )
    label: Label | None = Field(
        default=None, description="Your own label. Nobody else sees it.", examples=["spring fair, stand 12"]
    )
    countersign: Countersign = Field(
        default="auto",
        description=(
            "`auto`: a customer who accepts one of these agreements is connected at once. `by_hand`: the proposal waits"
            " under `/proposals`."
        ),
    )


class CreatedOffer(Model):
    """A published offer. Put the link into a message, a page or a QR code."""

    id: OfferId
    object: Literal["offer"] = "offer"
    status: Annotated[Status, Field(description="`expired`: its time has passed, or you ended it.")]
    offer_hash: Hash = Field(description="The hash of the signed offer, which is the fragment of the link.")
    link: str = Field(examples=["https://home.example/i/adRdcBR-A1qp#adRdcBR-A1qpmEseMjoNbsJ1RPk7ANPpIInyQYky05M"])
    expires_at: Instant
    use: Use
    countersign: Countersign


class OfferSummary(CreatedOffer):
    """An offer in a list."""

    label: str | None = None
    created_at: Instant
    used_at: Instant | None = Field(default=None, description="The time at which an offer for one person was used.")


class OfferList(Model):
    """A page of offers, the newest first. `GET /offers/{id}` has more members."""

    object: Literal["list"] = "list"
    items: tuple[OfferSummary, ...]
    next_cursor: NextCursor | None = None


class AgreementTerms(Model):
    """An agreement of an offer, with its `text` where the offer contains it."""

    id: str
    version: str
    lang: str
    sha256: Hash
    text: str | None = None


class OfferDetails(OfferSummary):
    """An offer with its connections and proposals counted."""

    name: str | None = None
    to: str | None = None
    purposes: tuple[str, ...]
    channels: tuple[str, ...] | None = None
    agreements: tuple[AgreementTerms, ...]
    allow: Allow | None = None
    connections_opened: int = Field(
        description=f"The number of connections that it opened, counted up to {MOST_COUNTED}."
    )
    connections_ended: int = Field(description="The number of these connections that have ended.")
    promises_kept: int | None = Field(
        default=None,
        description="The number of these connections in which you gave the grant of `allow`. A grant withdrawn within 7"
        " days of the opening does not count.",
    )
    proposals_waiting: int = Field(description="The number of proposals that wait for your signature.")
    proposals_alternative: int = Field(
        description="The number of these proposals whose agreement is none of the offer's."
    )
    proposals_replaced: int = Field(
        description="The number of proposals that newer ones replaced within a day, because too many waited."
    )


class OfferQuery(Page):
    """The page and the filter of the list of offers."""

    status: Status | None = Field(default=None, description="Only offers with this status.")


async def create_offer(call: Call) -> Reply:
    """Publishes an offer that the server composes and signs, or one that the business signed (INV-1)."""
    sent = None if call.jws is None else _open_sent(call, call.jws)
    if sent is None:
        newest_signer(call)

    async def decide(unit: UnitOfWork) -> Reply:
        signed = sent or _compose_offer(call, unit.now)
        auto = sent is None and call.body.countersign == "auto"
        label = "" if sent is not None else call.body.label or ""
        await call.server.onboarding.publish(signed, unit, label, auto=auto)
        created = CreatedOffer(
            id=signed.short,
            status="open",
            offer_hash=signed.hash,
            link=signed.link(),
            expires_at=instant(signed.offer.exp * 1000),
            use=signed.offer.use,
            countersign="auto" if auto else "by_hand",
        )
        return Reply.of(created, 201, f"{BUSINESS}/offers/{signed.short}")

    return await run_idempotent(call, decide)


def _open_sent(call: Call, jws: bytes) -> SignedOffer:
    """The offer that the business signed. Raises Refused("not_found") for one of another business, and what
    `open_offer` raises."""
    signed = open_offer(jws, call.server.directory.find_key)
    if signed.offer.iss != call.business.did:
        raise Refused("not_found", "The offer is not one of this business.")
    return signed


def _compose_offer(call: Call, now: int) -> SignedOffer:
    """Composes the offer of the body, and signs it with the newest kept key. Raises Malformed,
    Refused("signing_key_not_kept" | "offer_expired" | "too_large")."""
    wanted: NewOffer = call.body
    signer = newest_signer(call)
    iat, exp = now // 1000, seconds(wanted.expires_at)
    if exp <= iat:
        raise Refused("offer_expired")
    if exp > iat + LONGEST_OFFER:
        raise Malformed("the offer ends too late", errors=(("/expires_at", "must be at most 366 days ahead"),))
    agreements = tuple(OfferedTerms(**terms.model_dump(), sha256=text_hash(terms.text)) for terms in wanted.agreements)
    offer = Offer(
        v=2,
        iss=signer.did,
        iat=iat,
        exp=exp,
        nonce=b64u_encode(secrets.token_bytes(16)),
        home=call.server.home.party,
        operator=call.server.home.operator,
        agreements=agreements,
        purposes=wanted.purposes,
        use=wanted.use,
        channels=wanted.channels,
        name=wanted.name,
        to=wanted.to,
        allow=wanted.allow,
    )
    return sign_offer(offer, signer)


async def list_offers(call: Call) -> Reply:
    """Lists the offers of the business."""
    query: OfferQuery = call.query
    place = page_start(call, "offers", AFTER_ALL)
    most = query.limit if query.status is None else MAX_ROWS_READ
    rows = await call.server.store.business.offers(call.business.name, place, most + 1)
    now = call.server.clock.now()

    def show(row: BusinessOffer) -> OfferSummary | None:
        shown = OfferSummary(**_members(call, row, now))
        return shown if query.status in (None, shown.status) else None

    items, looked_at = filter_rows(rows, query.limit, most, show)
    last = rows[looked_at - 1] if looked_at else None
    cursor = None if last is None else seal_cursor(call, "offers", last.created_at, last.short)
    return Reply.of(OfferList(items=items, next_cursor=cursor))


def _members(call: Call, row: BusinessOffer, now: int) -> dict[str, Any]:
    return {
        "id": row.short,
        "status": _status(row, now),
        "offer_hash": row.hash,
        "link": f"{call.server.home.origin}/i/{row.short}#{row.hash}",
        "label": row.label or None,
        "use": row.uses,
        "countersign": "auto" if row.countersign else "by_hand",
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at),
        "used_at": None if row.used_at is None else instant(row.used_at),
    }


def _status(row: BusinessOffer, now: int) -> Status:
    return "used" if row.used_at is not None else "open" if now < row.expires_at else "expired"


async def own_offer(call: Call) -> tuple[BusinessOffer, SignedOffer]:
    """The offer in the path, as the business knows it and as it was signed. Raises Refused("not_found")."""
    store = call.server.store
    row = await store.business.offer(call.business.name, call.path["id"])
    stored = None if row is None else await store.offer(row.short)
    if row is None or stored is None:
        raise Refused("not_found")
    return row, open_offer(stored.raw, call.server.directory.find_key)


async def get_offer(call: Call) -> Reply:
    """One offer with its connections and proposals counted."""
    row, signed = await own_offer(call)
    store, now, offer = call.server.store.business, call.server.clock.now(), signed.offer
    opened, ended = await store.count_opened_by(call.business.name, row.short, MOST_COUNTED)
    halves = await store.halves_of(row.short, call.business.did, now)
    shown = OfferDetails(
        **_members(call, row, now),
        name=offer.name,
        to=offer.to,
        purposes=offer.purposes,
        channels=offer.channels,
        agreements=tuple(AgreementTerms(**terms.model_dump()) for terms in offer.agreements),
        allow=offer.allow,
        connections_opened=opened,
        connections_ended=ended,
        promises_kept=None if offer.allow is None else await _promises_kept(call, row.short),
        proposals_waiting=0 if row.used_at is not None else halves.waiting,
        proposals_alternative=0 if row.used_at is not None else halves.alternatives,
        proposals_replaced=halves.replaced,
    )
    return Reply.of(shown)


async def _promises_kept(call: Call, short: str) -> int:
    return await call.server.store.business.promises_kept(call.business.name, short, IN_FORCE_FOR, MOST_COUNTED)


async def delete_offer(call: Call) -> Reply:
    """Ends an offer early (INV-6)."""

    async def decide(unit: UnitOfWork) -> Reply:
        await call.server.onboarding.end_offer(call.business, call.path["id"], unit)
        return Reply(204)

    return await run_idempotent(call, decide)


_TAG = "offers"
ROUTES = (
    Route(
        "POST",
        "/offers",
        "offers:write",
        create_offer,
        "createOffer",
        "Publish an offer to connect",
        _TAG,
        description=(
            "A customer opens the `link` of the answer in a wallet: print it, or show it as a QR code. A business that"
            " keeps its own signing key sends the signed offer (`application/jwt`), and countersigns by itself."
        ),
        body=NewOffer,
        answer=CreatedOffer,
        statuses=(201,),
        signed_text=True,
        codes=(
            "not_found",
            "wrong_home",
            "offer_expired",
            "agreement_conflict",
            "too_many_offers",
            "invite_quota",
            "signing_key_not_kept",
        ),
    ),
    Route(
        "GET",
        "/offers",
        "offers:read",
        list_offers,
        "listOffers",
        "List your offers",
        _TAG,
        query=OfferQuery,
        answer=OfferList,
    ),
    Route(
        "GET",
        "/offers/{id}",
        "offers:read",
        get_offer,
        "getOffer",
        "Get an offer with its results",
        _TAG,
        description="With the number of connections that it opened, of those that ended, and of proposals that wait.",
        answer=OfferDetails,
    ),
    Route(
        "DELETE",
        "/offers/{id}",
        "offers:write",
        delete_offer,
        "deleteOffer",
        "Delete an offer before its end",
        _TAG,
        description=(
            "From this answer on nobody can accept the offer; to others it looks expired. You can still accept"
            " proposals that wait."
        ),
        statuses=(204,),
    ),
)
