"""The connections of a business, with their public state (spec/business-offers.md).

An answer has the public state (CONN-20) and the business's own settings. It has no setting of the customer, and nothing
that follows from one. It leaves out the time of the state, which a setting changes as well (INV-12).
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from comity.documents.agreements import SignedAgreement, open_agreement
from comity.documents.types import AGREEMENT_PURPOSES, Channel, ReachPurpose, Side, other
from comity.errors import Refused
from comity.rules.gate import granted_until
from comity.rules.state import Connection, decode_state
from comity_server.api.business.acts import read_connection
from comity_server.api.business.endpoints.favours import FavourBalance
from comity_server.api.business.endpoints.offers import AgreementTerms, OfferId
from comity_server.api.business.pagination import (
    AFTER_ALL,
    BEFORE_ALL,
    MAX_ROWS_READ,
    NextCursor,
    Order,
    Page,
    filter_rows,
    page_start,
    seal_cursor,
)
from comity_server.api.business.received import decrypt_bodies_by_id
from comity_server.api.business.representations import (
    ActiveGrant,
    ActiveMute,
    ConnectionSide,
    OwnSettings,
    active_grants,
    active_mutes,
    customer_side,
    own_settings,
    own_side,
)
from comity_server.api.business.route import Call, Reply, Route, no_such
from comity_server.reads.connections import accepted_in
from comity_server.schema import Cid, Due, Hash, Instant, Model, Who, instant, milliseconds, who
from comity_server.store.business import ListedConnection

Status = Literal["open", "recovering", "ended"]


_STATUS = Field(
    description="`recovering`: the server was restored from a backup, and delivers nothing until both sides have"
    " confirmed their acts. `ended`: for good."
)


class ConnectionSummary(Model):
    """A connection in a list. Its grants do not say whether you may write now: `POST /check` does."""

    id: Cid
    object: Literal["connection"] = "connection"
    status: Annotated[Status, _STATUS]
    customer: str = Field(description="The customer's DID, which is used in this connection alone.")
    offered_by: Who = Field(description="The side that made the offer.")
    offer: OfferId
    opened_at: Instant
    grants: tuple[ActiveGrant, ...] = Field(description="The customer's grants that are in force.")
    muted: bool = Field(description="Whether the customer has a mute in force, for some purposes or for all.")
    mutes: tuple[ActiveMute, ...] = Field(description="The customer's mutes that are in force.")
    last_reached_at: Instant | None = Field(default=None, description="The last delivery to the customer.")


class ConnectionList(Model):
    """A page of connections. It can be short, or empty, although more follow."""

    object: Literal["list"] = "list"
    items: tuple[ConnectionSummary, ...]
    next_cursor: NextCursor | None = None


class AgreementDetails(Model):
    """The agreement that both sides signed."""

    terms: AgreementTerms
    operator: str
    home: str
    offer_hash: Hash
    signed_at: Instant = Field(description="The time by the clock of the side that accepted.")
    jws: dict[str, Any] = Field(description="The agreement with both signatures (RFC 7515, General JSON).")


class ConnectionDetails(Model):
    """A connection as both sides see it."""

    id: Cid
    object: Literal["connection"] = "connection"
    status: Annotated[Status, _STATUS]
    customer: str = Field(description="The customer's DID, which is used in this connection alone.")
    offered_by: Who = Field(description="The side that made the offer.")
    offer: OfferId
    opened_at: Instant
    ended_at: Instant | None = None
    ended_by: Who | None = None
    unconfirmed_by: tuple[Who, ...] | None = Field(
        default=None, description="While it is `recovering`: the sides that have not confirmed."
    )
    agreement: AgreementDetails
    them: ConnectionSide = Field(description="The customer's side.")
    us: ConnectionSide
    settings: OwnSettings
    balance: FavourBalance
    last_reached_at: Instant | None = Field(default=None, description="The last delivery to the customer.")


class ConnectionQuery(Page):
    """Filters of the list of connections. A connection must match all of them."""

    status: Status | None = Field(default=None, description="Only connections with this status.")
    offer: OfferId | None = Field(default=None, description="Only connections that this offer opened.")
    muted: bool | None = Field(default=None, description="Only connections with, or without, a mute of the customer.")
    purpose: ReachPurpose | None = Field(
        default=None,
        description="With `channel`: only connections in which a grant, or the agreement, covers this purpose now.",
    )
    channel: Channel | None = Field(default=None, description="Together with `purpose`.")
    opened_after: Due | None = Field(default=None, description="Only connections opened at this time or later.")
    opened_before: Due | None = Field(default=None, description="Only connections opened before this time.")
    order: Order = "newest"

    @model_validator(mode="after")
    def _both_or_none(self) -> "ConnectionQuery":
        if (self.purpose is None) != (self.channel is None):
            raise ValueError("purpose and channel must be given together")
        return self


# --- the list ---------------------------------------------------------------------------------------------------------


async def get_connections(call: Call) -> Reply:
    """Lists the business's connections."""
    query: ConnectionQuery = call.query
    newest = query.order == "newest"
    after = BEFORE_ALL[0] if query.opened_after is None else milliseconds(query.opened_after)
    before = AFTER_ALL[0] if query.opened_before is None else milliseconds(query.opened_before)
    what = f"connections, {query.order} first"
    # Nothing sorts before "": the place is right before all that opened at `before`, or at `after`.
    place = page_start(call, what, (before, "") if newest else (after, ""))
    sifted = (query.status, query.muted, query.purpose) != (None, None, None)
    most = MAX_ROWS_READ if sifted else query.limit
    store, name = call.server.store.business, call.business.name
    bound = after if newest else before
    rows = await store.connections(name, query.offer, place, bound, most + 1, newest=newest)
    items, looked_at = filter_rows(rows, query.limit, most, _summary_filter(query, call.server.clock.now()))
    last = rows[looked_at - 1] if looked_at else None
    cursor = None if last is None else seal_cursor(call, what, last.opened_at, last.cid)
    return Reply.of(ConnectionList(items=items, next_cursor=cursor))


def _summary_filter(query: ConnectionQuery, now: int) -> Callable[[ListedConnection], ConnectionSummary | None]:
    """A function that makes an item of a row, or None of a row that does not match the query."""

    def show(row: ListedConnection) -> ConnectionSummary | None:
        state = decode_state(row.state)
        side: Side = "first" if row.side == "first" else "second"
        muted = bool(active_mutes(state.door(other(side)), now))
        if query.status not in (None, _status(state)) or query.muted not in (None, muted):
            return None
        if query.purpose is not None and not _is_covered(state, side, query.purpose, query.channel or "app", now):
            return None
        return _connection_summary(row, state, side, now)

    return show


def _is_covered(state: Connection, side: Side, purpose: str, channel: str, now: int) -> bool:
    """Whether a grant, or the agreement, covers the purpose (GATE-5, GATE-6)."""
    if state.phase == "ended":
        return False
    return purpose in AGREEMENT_PURPOSES or granted_until(state, side, purpose, channel, now) is not None


def _connection_summary(row: ListedConnection, state: Connection, side: Side, now: int) -> ConnectionSummary:
    door = state.door(other(side))
    mutes = active_mutes(door, now)
    return ConnectionSummary(
        id=row.cid,
        status=_status(state),
        customer=door.did,
        offered_by=who("first", side),
        offer=row.offer,
        opened_at=instant(row.opened_at),
        grants=active_grants(door, now),
        muted=bool(mutes),
        mutes=mutes,
        last_reached_at=_last_reached_at(state, side),
    )


def _status(state: Connection) -> Status:
    return "ended" if state.phase == "ended" else "recovering" if state.recovering else "open"


def _last_reached_at(state: Connection, side: Side) -> str | None:
    sent = state.door(side).sent
    return instant(sent[-1].at) if sent else None


# --- one connection ---------------------------------------------------------------------------------------------------


async def get_connection(call: Call) -> Reply:
    """Reads a connection."""
    state, side = await read_connection(call)
    store, now = call.server.store, call.server.clock.now()
    relation = await store.business.relation(state.cid, call.business.name)
    agreed = await store.agreement(state.cid)
    if relation is None or agreed is None:
        raise Refused("not_found", no_such("connection"))
    ended_at, ended_by = await _find_end(call, state, side)
    theirs = state.door(other(side))
    with_body = [*(note.id for note in theirs.little), *(milestone.id for milestone in theirs.milestones)]
    words = await decrypt_bodies_by_id(call, with_body)
    return Reply.of(
        ConnectionDetails(
            id=state.cid,
            status=_status(state),
            customer=theirs.did,
            offered_by=who("first", side),
            offer=relation.offer,
            opened_at=instant(relation.opened_at),
            ended_at=ended_at,
            ended_by=ended_by,
            unconfirmed_by=tuple(who(it, side) for it in state.recovering) or None,
            agreement=_agreement(open_agreement(agreed[0])),
            them=customer_side(theirs, now, words),
            us=own_side(state.door(side), now),
            settings=own_settings(state.door(side)),
            balance=FavourBalance.of(state, side, now),
            last_reached_at=_last_reached_at(state, side),
        )
    )


async def _find_end(call: Call, state: Connection, side: Side) -> tuple[str | None, Who | None]:
    """(the time of the end, the side that ended the connection). A revoke is the last act of its side's chain, except
    for statements about erasure."""
    for own in (side, other(side)) if state.phase == "ended" else ():
        stored = await call.server.store.act(state.door(own).head)
        event = None if stored is None else accepted_in(stored.event)
        if event is not None and event.kind == "revoke":
            return instant(event.at), who(own, side)
    return None, None


def _agreement(signed: SignedAgreement) -> AgreementDetails:
    agreement = signed.agreement
    return AgreementDetails(
        terms=AgreementTerms(**agreement.terms.model_dump()),
        operator=agreement.operator,
        home=agreement.home.did,
        offer_hash=agreement.offer,
        signed_at=instant(agreement.iat * 1000),
        jws=msgspec.json.decode(signed.raw),
    )


_TAG = "connections"
ROUTES = (
    Route(
        "GET",
        "/connections",
        "connections:read",
        get_connections,
        "listConnections",
        "List your connections",
        _TAG,
        description=(
            "The newest first, or the oldest. With `purpose` and `channel`, the list has the connections in which the"
            " customer allows them. `POST /check` says whether you may write now."
        ),
        query=ConnectionQuery,
        answer=ConnectionList,
    ),
    Route(
        "GET",
        "/connections/{connection}",
        "connections:read",
        get_connection,
        "getConnection",
        "Get a connection",
        _TAG,
        description="The agreement, and the state of both sides: grants, mutes, notes, milestones, contests, asks.",
        answer=ConnectionDetails,
    ),
)
