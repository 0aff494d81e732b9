"""Connections of a business: which there are, and what each allows now (spec/business-offers.md).

What is shown is the public state (CONN-20) and the business's own settings: no setting of the customer's, and nothing
that follows from one.
The state's own time is not shown, since settings move it too (INV-12).
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from pydantic import Field, model_validator

from comity.documents.agreements import SignedAgreement, open_agreement
from comity.documents.types import AGREEMENT_PURPOSES, Channel, ReachPurpose, Side, other
from comity.errors import Refused
from comity.rules.gate import granted_until
from comity.rules.state import Connection, decode_state
from comity_server.api.business.acts import own_connection
from comity_server.api.business.endpoints.favours import FavourBalance
from comity_server.api.business.endpoints.offers import OfferId, ShownTerms
from comity_server.api.business.pagination import (
    FIRST,
    LAST,
    MOST_LOOKED_AT,
    NextCursor,
    Order,
    Page,
    behind,
    cursor_of,
    sift,
)
from comity_server.api.business.received import words_by_id
from comity_server.api.business.representations import (
    GrantInForce,
    MuteInForce,
    OwnSettings,
    ShownDoor,
    door_of,
    grants_of,
    mutes_of,
    own_door_of,
    settings_of,
)
from comity_server.api.business.route import Call, Reply, Route, no_such
from comity_server.reads.connections import accepted_in
from comity_server.schema import Cid, Due, Hash, Instant, Model, Who, instant, milliseconds
from comity_server.store.business import ListedConnection

Phase = Literal["open", "ended"]


class ListedCustomer(Model):
    """A connection. Consent, and no verdict: ask `POST /check` before you write."""

    connection: Cid
    customer: str = Field(description="The other side's name (DID): made for this connection alone.")
    phase: Phase
    side: Side = Field(description="Whether you made the offer (first) or accepted it (second).")
    offer: OfferId
    opened_at: Instant
    grants: tuple[GrantInForce, ...] = Field(description="What the customer allows you now.")
    muted: bool = Field(description="Whether a mute of the customer's is in force, for some purposes or for all.")
    mutes: tuple[MuteInForce, ...]
    reached_at: Instant | None = Field(default=None, description="When something of yours last reached the customer.")


class Connections(Model):
    """A page of connections. It can be short while there are more: go on while there is a cursor."""

    items: tuple[ListedCustomer, ...]
    next_cursor: NextCursor | None = None


class SignedTerms(Model):
    """What both sides signed."""

    terms: ShownTerms
    operator: str
    home: str
    offer_hash: Hash
    signed_at: Instant = Field(description="As the accepting side's clock said.")
    jws: dict[str, Any] = Field(description="The agreement itself, with both signatures (RFC 7515, General JSON).")


class ConnectionInFull(Model):
    """A connection as both sides see it."""

    connection: Cid
    phase: Phase
    side: Side
    offer: OfferId
    opened_at: Instant
    ended_at: Instant | None = None
    ended_by: Who | None = None
    recovering: tuple[Who, ...] | None = Field(
        default=None,
        description="After the server was put back from a backup: who has not confirmed yet; nobody is reached before.",
    )
    agreement: SignedTerms
    them: ShownDoor = Field(description="The customer's side.")
    us: ShownDoor
    settings: OwnSettings
    balance: FavourBalance
    reached_at: Instant | None = None


class ConnectionsPage(Page):
    """Which connections are wanted; all that is said must hold."""

    phase: Phase | None = Field(default=None, description="Only those that are open, or that have ended.")
    offer: OfferId | None = Field(default=None, description="Only those that came from this offer.")
    muted: bool | None = Field(default=None, description="Whether the customer has a mute in force.")
    purpose: ReachPurpose | None = Field(
        default=None, description="With `channel`: only those in which a grant covers it now. Consent, no verdict."
    )
    channel: Channel | None = Field(default=None, description="With `purpose`.")
    opened_after: Due | None = Field(default=None, description="Opened at this time, or later.")
    opened_before: Due | None = Field(default=None, description="Opened earlier than this.")
    order: Order = "newest"

    @model_validator(mode="after")
    def _both_or_none(self) -> "ConnectionsPage":
        if (self.purpose is None) != (self.channel is None):
            raise ValueError("purpose and channel come together")
        return self


# --- the list ---------------------------------------------------------------------------------------------------------


async def get_connections(call: Call) -> Reply:
    """The business's connections."""
    query: ConnectionsPage = call.query
    newest = query.order == "newest"
    after = FIRST[0] if query.opened_after is None else milliseconds(query.opened_after)
    before = LAST[0] if query.opened_before is None else milliseconds(query.opened_before)
    what = f"connections, {query.order} first"
    # Nothing sorts before "": the place is right before all that opened at `before`, or at `after`.
    place = behind(call, what, (before, "") if newest else (after, ""))
    sifted = (query.phase, query.muted, query.purpose) != (None, None, None)
    most = MOST_LOOKED_AT if sifted else query.limit
    store, name = call.server.store.business, call.business.name
    bound = after if newest else before
    rows = await store.connections(name, query.offer, place, bound, most + 1, newest=newest)
    items, looked_at = sift(rows, query.limit, most, _wanted(query, call.server.clock.now()))
    last = rows[looked_at - 1] if looked_at else None
    cursor = None if last is None else cursor_of(call, what, last.opened_at, last.cid)
    return Reply.of(Connections(items=items, next_cursor=cursor))


def _wanted(query: ConnectionsPage, now: int) -> Callable[[ListedConnection], ListedCustomer | None]:
    """What makes an item of a row that has all that the query says."""

    def show(row: ListedConnection) -> ListedCustomer | None:
        state = decode_state(row.state)
        side: Side = "first" if row.side == "first" else "second"
        muted = bool(mutes_of(state.door(other(side)), now))
        if query.phase not in (None, state.phase) or query.muted not in (None, muted):
            return None
        if query.purpose is not None and not _covered(state, side, query.purpose, query.channel or "app", now):
            return None
        return _listed(row, state, side, now)

    return show


def _covered(state: Connection, side: Side, purpose: str, channel: str, now: int) -> bool:
    """Whether consent for this is there: a grant, or the agreement where that is enough (GATE-5, GATE-6)."""
    if state.phase == "ended":
        return False
    return purpose in AGREEMENT_PURPOSES or granted_until(state, side, purpose, channel, now) is not None


def _listed(row: ListedConnection, state: Connection, side: Side, now: int) -> ListedCustomer:
    door = state.door(other(side))
    mutes = mutes_of(door, now)
    return ListedCustomer(
        connection=row.cid,
        customer=door.did,
        phase=state.phase,
        side=side,
        offer=row.offer,
        opened_at=instant(row.opened_at),
        grants=grants_of(door, now),
        muted=bool(mutes),
        mutes=mutes,
        reached_at=_reached(state, side),
    )


def _reached(state: Connection, side: Side) -> str | None:
    sent = state.door(side).sent
    return instant(sent[-1].at) if sent else None


# --- one connection ---------------------------------------------------------------------------------------------------


async def get_connection(call: Call) -> Reply:
    """One connection in full."""
    state, side = await own_connection(call)
    store, now = call.server.store, call.server.clock.now()
    relation = await store.business.relation(state.cid, call.business.name)
    agreed = await store.agreement(state.cid)
    if relation is None or agreed is None:
        raise Refused("not_found", no_such("connection"))
    ended_at, ended_by = await _ended(call, state, side)
    theirs = state.door(other(side))
    words = await words_by_id(call, [*(it.id for it in theirs.little), *(it.id for it in theirs.milestones)])
    return Reply.of(
        ConnectionInFull(
            connection=state.cid,
            phase=state.phase,
            side=side,
            offer=relation.offer,
            opened_at=instant(relation.opened_at),
            ended_at=ended_at,
            ended_by=ended_by,
            recovering=tuple("us" if it == side else "them" for it in state.recovering) or None,
            agreement=_agreement(open_agreement(agreed[0])),
            them=door_of(theirs, now, words),
            us=own_door_of(state.door(side), now),
            settings=settings_of(state.door(side)),
            balance=FavourBalance.of(state, side, now),
            reached_at=_reached(state, side),
        )
    )


async def _ended(call: Call, state: Connection, side: Side) -> tuple[str | None, Who | None]:
    """When and by whom the connection was ended: a revoke is the last act of its side's chain, but for the statement of
    what was erased."""
    for own in (side, other(side)) if state.phase == "ended" else ():
        stored = await call.server.store.act(state.door(own).head)
        event = None if stored is None else accepted_in(stored.event)
        if event is not None and event.kind == "revoke":
            return instant(event.at), "us" if own == side else "them"
    return None, None


def _agreement(signed: SignedAgreement) -> SignedTerms:
    agreement = signed.agreement
    return SignedTerms(
        terms=ShownTerms(**agreement.terms.model_dump()),
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
            "The newest first, or the oldest. With `purpose` and `channel` it lists where there is consent; whether you"
            " may write at this moment is a question for `POST /check`."
        ),
        query=ConnectionsPage,
        answer=Connections,
    ),
    Route(
        "GET",
        "/connections/{connection}",
        "connections:read",
        get_connection,
        "getConnection",
        "One connection in full",
        _TAG,
        description="What both sides signed, what each allows the other, and what is remembered: the same for both.",
        answer=ConnectionInFull,
    ),
)
