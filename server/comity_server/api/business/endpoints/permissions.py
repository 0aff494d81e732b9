"""Permissions of the business: mutes, grants, and the end of a connection (SAY-10, SAY-11)."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from comity.documents.types import Budget, Channels, Purposes, ReachPurposes, Side, Token, other, requires
from comity.errors import Malformed, Refused
from comity.rules.renunciations import GrantPart, remaining_parts
from comity.rules.state import Connection
from comity_server.api.business import acts
from comity_server.api.business.act_response import AcceptedAct, act_location, load_connection, submit_act
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Cid, Due, Hash, Instant, Model, instant, seconds
from comity_server.writer import status_indexes
from comity_server.writer.unit_of_work import UnitOfWork


class NewMute(Model):
    """The messages that are held for a while. Without purposes and channels: all messages."""

    purposes: Annotated[Purposes, Field(description="Only these.", examples=[["complaint"]])] | None = None
    channels: Annotated[Channels, Field(description="Only these.", examples=[["phone"]])] | None = None
    ends_at: (
        Annotated[
            Due,
            Field(
                description="The end of the mute, which your customer sees. Absent: until you unmute.",
                examples=["2027-01-07T08:00:00+01:00"],
            ),
        ]
        | None
    ) = None
    reason: (
        Annotated[
            Literal["away"],
            AfterValidator(requires("ends_at")),
            Field(description="Only with `ends_at`: your customer sees that you are away, not that you muted her."),
        ]
        | None
    ) = None


class Unmute(Model):
    """The mute that ends. Without `mute`: all of your mutes."""

    mute: Annotated[Hash, Field(description="The id of a mute, which is the id of its act.")] | None = None


class NewGrant(Model):
    """The permission that you give a customer to write to you."""

    purposes: Annotated[ReachPurposes, Field(examples=[["care", "favour"]])]
    channels: Annotated[Channels, Field(examples=[["app"]])]
    expires_at: Annotated[Due, Field(examples=["2027-11-21T00:00:00Z"])]
    budget: (
        Annotated[
            Budget,
            Field(description="The largest number of messages in a period.", examples=[{"max": 5, "per": "week"}]),
        ]
        | None
    ) = None
    data: (
        Annotated[
            tuple[Token, ...], Field(max_length=16, description="The categories of data that the grant is about.")
        ]
        | None
    ) = None
    replaces: Annotated[Hash, Field(description="The grant of yours that the new one replaces.")] | None = None
    again: Annotated[
        bool,
        Field(description="With `replaces`: grant again what your customer gave up of that grant."),
    ] = False
    value: Annotated[Token, Field(description="A benefit that depends on the grant and ends with it.")] | None = None


class CreatedGrant(Model):
    """Your new grant."""

    id: Annotated[Hash, Field(description="The id of its act.")]
    object: Literal["grant"] = "grant"
    connection: Cid
    purposes: Annotated[Purposes, Field(description="The purposes granted, without those that your customer gave up.")]
    channels: Channels
    expires_at: Instant


class Withdrawal(Model):
    """The grant of yours that you withdraw."""

    grant: Hash


async def mute(call: Call) -> Reply:
    """Mutes the other side."""
    wanted: NewMute | None = call.body
    if wanted is None:
        return await submit_act(call, "mute")
    until = None if wanted.ends_at is None else seconds(wanted.ends_at)
    fields = {"purposes": wanted.purposes, "channels": wanted.channels, "until": until, "why": wanted.reason}
    return await submit_act(call, "mute", fields)


async def unmute(call: Call) -> Reply:
    """Ends one mute, or all."""
    wanted: Unmute | None = call.body
    return await submit_act(call, "unmute", {} if wanted is None else {"mute": wanted.mute})


async def revoke(call: Call) -> Reply:
    """Ends the connection for both sides."""
    return await submit_act(call, "revoke")


async def withdraw(call: Call) -> Reply:
    """Withdraws a grant."""
    wanted: Withdrawal | None = call.body
    return await submit_act(call, "withdraw", {} if wanted is None else {"grant": wanted.grant})


async def create_grant(call: Call) -> Reply:
    """Gives the other side a grant."""
    cid = call.path["connection"]
    if call.signed is not None:
        return await submit_act(call, "grant")
    return await run_idempotent(call, partial(_create_grant, call, cid, call.body), (cid,))


async def _create_grant(call: Call, cid: str, wanted: NewGrant, unit: UnitOfWork) -> Reply:
    """Makes the grant with a status index that is reserved in the same transaction (SAY-11)."""
    state, side = load_connection(call, unit, cid)
    acts.connection_signer(call, state, side)
    part = _ungiven_part(state, side, wanted)
    place = await call.server.onboarding.reserve(cid, state.door(side).did, unit)
    expires = seconds(wanted.expires_at)
    fields = wanted.model_dump(exclude_none=True, exclude={"expires_at", "budget", "again"}) | part._asdict()
    if wanted.budget is not None:
        fields["budget"] = wanted.budget
    status = {"status_list": unit.context.lists.reference(place)}
    try:
        answer = await acts.apply_act(call, unit, cid, "grant", exp=expires, status=status, **fields)
    except Refused:
        # A refused grant leaves no reserved index behind.
        status_indexes.give_back(unit, place)
        raise
    event = acts.acceptance_of(answer)
    given = CreatedGrant(id=event.act, connection=cid, **part._asdict(), expires_at=instant(expires * 1000))
    return Reply.of(given, 201, act_location(event))


def _ungiven_part(state: Connection, side: Side, wanted: NewGrant) -> GrantPart:
    """The wanted grant without what the other side gave up of the replaced one (GRANT-12). Of two remaining parts the
    larger, because the answer is one grant. Raises Malformed if nothing remains."""
    part = GrantPart(wanted.purposes, wanted.channels)
    before = next((grant for grant in state.door(side).grants if grant.id == wanted.replaces), None)
    if before is None or wanted.again:
        return part
    given_up = state.door(other(side)).renounced
    parts = remaining_parts(before.id, GrantPart(before.purposes, before.channels), part, given_up, is_one=True)
    if not parts:
        fault = "your customer gave all of this up; set `again` to grant it again"
        raise Malformed("nothing remains to be granted", errors=(("/replaces", fault),))
    return parts[0]


_TAG = "permissions"
ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/mute",
        "permissions:write",
        mute,
        "muteConnection",
        "Mute a customer",
        _TAG,
        description="Holds her messages and asks, or refuses them if she chose that. Safety, security and legal "
        "notices are still delivered.",
        body=NewMute,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("too_many_mutes", "until_passed"),
        act="mute",
        narrows=True,
    ),
    Route(
        "POST",
        "/connections/{connection}/unmute",
        "permissions:write",
        unmute,
        "unmuteConnection",
        "Unmute a customer",
        _TAG,
        description="Delivers the held messages.",
        body=Unmute,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("no_such_mute",),
        act="unmute",
    ),
    Route(
        "POST",
        "/connections/{connection}/revoke",
        "permissions:write",
        revoke,
        "revokeConnection",
        "End a connection",
        _TAG,
        description="Ends the connection for both sides at once. This is final: a new one needs a new agreement.",
        answer=AcceptedAct,
        statuses=(201,),
        act="revoke",
        narrows=True,
    ),
    Route(
        "POST",
        "/connections/{connection}/grants",
        "permissions:write",
        create_grant,
        "createGrant",
        "Grant a customer a permission",
        _TAG,
        description="The purposes for which a customer may write to you, beside complaints and renewals. With "
        "`replaces`, the new grant leaves out what she gave up of the earlier one, unless `again` is set. If two parts "
        "remain, the larger is granted; if nothing remains, the answer is `invalid_request`.",
        body=NewGrant,
        answer=CreatedGrant,
        statuses=(201,),
        codes=("too_many_grants", "no_such_grant", "grant_expired", "index_not_reserved"),
        act="grant",
    ),
    Route(
        "POST",
        "/connections/{connection}/withdraw",
        "permissions:write",
        withdraw,
        "withdrawGrant",
        "Withdraw a grant of yours",
        _TAG,
        body=Withdrawal,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("no_such_grant",),
        act="withdraw",
        narrows=True,
    ),
)
