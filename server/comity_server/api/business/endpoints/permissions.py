"""What may reach the business, and the end of a connection (SAY-10, SAY-11): the same acts as everybody's."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from comity.documents.types import Budget, Channels, Purposes, ReachPurposes, Side, Token, needs, other
from comity.errors import Malformed, Refused
from comity.rules.renunciations import Part, parts_left
from comity.rules.state import Connection
from comity_server.api.business import acts
from comity_server.api.business.act_response import ActTaken, at_hand, place_of, take
from comity_server.api.business.idempotency import change
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Due, Hash, Instant, Model, instant, seconds
from comity_server.writer import status_indexes
from comity_server.writer.unit_of_work import UnitOfWork


class NewMute(Model):
    """What is not to reach you for a while; without purposes and channels, nothing at all."""

    purposes: Annotated[Purposes, Field(description="Only these.", examples=[["complaint"]])] | None = None
    channels: Annotated[Channels, Field(description="Only these.", examples=[["phone"]])] | None = None
    until: (
        Annotated[
            Due,
            Field(
                description="Until then; your customer is shown it. Without it, until you unmute.",
                examples=["2027-01-07T08:00:00+01:00"],
            ),
        ]
        | None
    ) = None
    why: (
        Annotated[
            Literal["away"],
            AfterValidator(needs("until")),
            Field(description="Only with `until`: your customer reads that you are away, not that you muted her."),
        ]
        | None
    ) = None


class Unmute(Model):
    """Which mute ends; without one, all of yours."""

    mute: Annotated[Hash, Field(description="The id of a mute: that of its act.")] | None = None


class NewGrant(Model):
    """What a customer may come to you for."""

    purposes: Annotated[ReachPurposes, Field(examples=[["care", "favour"]])]
    channels: Annotated[Channels, Field(examples=[["app"]])]
    expires_at: Annotated[Due, Field(examples=["2027-11-21T00:00:00Z"])]
    budget: Annotated[Budget, Field(description="How often.", examples=[{"max": 5, "per": "week"}])] | None = None
    data: Annotated[tuple[Token, ...], Field(max_length=16, description="Which data it is about.")] | None = None
    replaces: Annotated[Hash, Field(description="The grant of yours in whose place it comes.")] | None = None
    again: Annotated[
        bool,
        Field(description="With `replaces`: give once more what your customer gave up of that one, too."),
    ] = False
    value: Annotated[Token, Field(description="What is given for it, and stops with it.")] | None = None


class GivenGrant(Model):
    """A grant of yours is in force."""

    grant: Annotated[Hash, Field(description="Its id: that of its act.")]
    purposes: Annotated[Purposes, Field(description="What it gives: without what your customer gave up.")]
    channels: Channels
    expires_at: Instant


class Withdrawal(Model):
    """Which grant of yours you take back."""

    grant: Hash


async def mute(call: Call) -> Reply:
    """Stop the other side for a while."""
    wanted: NewMute | None = call.body
    if wanted is None:
        return await take(call, "mute")
    until = None if wanted.until is None else seconds(wanted.until)
    fields = {"purposes": wanted.purposes, "channels": wanted.channels, "until": until, "why": wanted.why}
    return await take(call, "mute", fields)


async def unmute(call: Call) -> Reply:
    """End one mute, or all."""
    wanted: Unmute | None = call.body
    return await take(call, "unmute", {} if wanted is None else {"mute": wanted.mute})


async def revoke(call: Call) -> Reply:
    """End the connection, both ways, for good."""
    return await take(call, "revoke")


async def withdraw(call: Call) -> Reply:
    """Take a grant back."""
    wanted: Withdrawal | None = call.body
    return await take(call, "withdraw", {} if wanted is None else {"grant": wanted.grant})


async def give(call: Call) -> Reply:
    """Let the other side come for something."""
    cid = call.path["connection"]
    if call.signed is not None:
        return await take(call, "grant")
    return await change(call, partial(_give, call, cid, call.body), (cid,))


async def _give(call: Call, cid: str, wanted: NewGrant, group: UnitOfWork) -> Reply:
    """The grant, on a status index that is reserved with it (SAY-11)."""
    state, side = at_hand(call, group, cid)
    acts.signer_of(call, state, side)
    part = _what_is_left(state, side, wanted)
    place = await call.server.connecting.reserve(cid, state.door(side).did, group)
    expires = seconds(wanted.expires_at)
    fields = wanted.model_dump(exclude_none=True, exclude={"expires_at", "budget", "again"}) | part._asdict()
    if wanted.budget is not None:
        fields["budget"] = wanted.budget
    status = {"status_list": group.grounds.lists.reference(place)}
    try:
        answer = await acts.act(call, group, cid, "grant", exp=expires, status=status, **fields)
    except Refused:
        # What is refused leaves nothing behind.
        status_indexes.give_back(group, place)
        raise
    event = acts.accepted(answer)
    given = GivenGrant(grant=event.act, **part._asdict(), expires_at=instant(expires * 1000))
    return Reply.of(given, 201, place_of(event))


def _what_is_left(state: Connection, side: Side, wanted: NewGrant) -> Part:
    """What is wanted without what the other side gave up of the grant that it replaces (GRANT-12): of two parts the
    larger, since the answer is one grant. Raises Malformed where nothing is left."""
    part = Part(wanted.purposes, wanted.channels)
    before = next((it for it in state.door(side).grants if it.id == wanted.replaces), None)
    if before is None or wanted.again:
        return part
    given_up = state.door(other(side)).renounced
    parts = parts_left(before.id, Part(before.purposes, before.channels), part, given_up, is_one=True)
    if not parts:
        fault = "your customer gave all of this up; `again` gives it once more"
        raise Malformed("nothing is left to be given", errors=(("/replaces", fault),))
    return parts[0]


_TAG = "door"
ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/mute",
        "door:write",
        mute,
        "muteCustomer",
        "Have a customer wait for a while",
        _TAG,
        description="Messages and asks of hers wait, or are refused as she chose; notices of safety, security and law "
        "come through.",
        body=NewMute,
        answer=ActTaken,
        statuses=(201,),
        codes=("too_many_mutes", "until_passed"),
        act="mute",
        narrows=True,
    ),
    Route(
        "POST",
        "/connections/{connection}/unmute",
        "door:write",
        unmute,
        "unmuteCustomer",
        "End a mute of yours",
        _TAG,
        description="What waited, is delivered.",
        body=Unmute,
        answer=ActTaken,
        statuses=(201,),
        codes=("no_such_mute",),
        act="unmute",
    ),
    Route(
        "POST",
        "/connections/{connection}/revoke",
        "door:write",
        revoke,
        "endConnection",
        "End a connection for good",
        _TAG,
        description="Both ways, at once, and for good: only a new agreement begins anew.",
        answer=ActTaken,
        statuses=(201,),
        act="revoke",
        narrows=True,
    ),
    Route(
        "POST",
        "/connections/{connection}/grants",
        "door:write",
        give,
        "giveGrant",
        "Let a customer come to you for something",
        _TAG,
        description="What a customer may write to you about, beside complaints and renewals. With `replaces`, what she "
        "gave up of the earlier grant is left out, unless `again`; where that takes two grants, the larger is given, "
        "and where nothing is left, it is `malformed`.",
        body=NewGrant,
        answer=GivenGrant,
        statuses=(201,),
        codes=("too_many_grants", "no_such_grant", "grant_expired", "index_not_reserved"),
        act="grant",
    ),
    Route(
        "POST",
        "/connections/{connection}/withdraw",
        "door:write",
        withdraw,
        "withdrawGrant",
        "Take a grant of yours back",
        _TAG,
        body=Withdrawal,
        answer=ActTaken,
        statuses=(201,),
        codes=("no_such_grant",),
        act="withdraw",
        narrows=True,
    ),
)
