"""Feedback on messages, consents that a business gives up, and the contests of its customers (SAY-18 to SAY-20).

What customers say of messages can be read one by one, and filters no list: else saying something, or nothing, would
have consequences elsewhere.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from comity.documents.acts import Feedback
from comity.documents.types import Channels, GrantedPurpose, Hashes, ReachPurposes, Topic
from comity.encoding import b64u_decode
from comity.errors import Refused
from comity.rules.state import Contest, decode_state
from comity_server.api.business import acts
from comity_server.api.business.act_response import ActTaken, at_hand, take, taken
from comity_server.api.business.idempotency import change
from comity_server.api.business.pagination import LAST, NextCursor, Page, behind, cursor_of
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Cid, Hash, Instant, Model, instant
from comity_server.store.business import StoredContest
from comity_server.writer.unit_of_work import UnitOfWork

Says = Literal["useful", "not_useful", "too_often", "not_interested", "thanks", "mislabelled"]
Because = Literal["one_click", "reply_stop", "told_us", "not_needed"]


class NewFeedback(Model):
    """What you say of a message of your customer's; the last word on each counts."""

    model_config = ConfigDict(validate_by_alias=True, serialize_by_alias=True)

    message: Annotated[Hash, Field(description="A message that reached you, or a contact that she stated.")]
    says: Says
    as_: Annotated[
        GrantedPurpose | None, Field(alias="as", description="With `mislabelled`: what it was really for.")
    ] = None
    topic: Annotated[Topic, Field(description="With `mislabelled`: what it was really about.")] | None = None


class NewRenouncement(Model):
    """Consents of your customer's that you give up; without purposes and channels, all that they allow."""

    grants: Annotated[Hashes, Field(description="The ids of her grants.")]
    because: Annotated[
        Because,
        Field(description="Why: she used a link in a mail, answered STOP, told you, or you have no need of it."),
    ]
    purposes: Annotated[ReachPurposes, Field(description="Only for these.", examples=[["sales"]])] | None = None
    channels: Annotated[Channels, Field(description="Only these.", examples=[["email"]])] | None = None


class ReceivedContest(Model):
    """A customer's word that a message of yours was something else than it said."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    message: Hash
    connection: Cid
    purpose: Annotated[str, Field(description="What it said that it was for.", examples=["care"])]
    had: Annotated[str, Field(description="Its topic.")] | None = None
    as_: Annotated[str, Field(alias="as", description="What it was really for.", examples=["sales"])]
    topic: Annotated[str, Field(description="What it was really about.")] | None = None
    act: Annotated[Hash, Field(description="The feedback itself.")]
    at: Instant
    until: Annotated[Instant, Field(description="Until when it is in force, if she does not take it back.")] | None = (
        None
    )
    in_force: Annotated[
        bool,
        Field(description="Whether it is, now. One about safety, security or law is, and changes no answer."),
    ]


class ReceivedContests(Model):
    """A page of contests, the newest first."""

    items: tuple[ReceivedContest, ...]
    next_cursor: NextCursor | None = None


async def give_feedback(call: Call) -> Reply:
    """Say something of a message; its purpose and topic are looked up."""
    if call.signed is not None:
        return await take(call, "feedback")
    cid, wanted = call.path["connection"], call.body

    async def decide(group: UnitOfWork) -> Reply:
        state, side = at_hand(call, group, cid)
        acts.signer_of(call, state, side)
        if state.phase == "ended":
            raise Refused("connection_ended")
        named = await acts.look_up(call, group, wanted.message)
        if named is None or named.cid != cid:
            raise Refused("no_such_message")
        fields = {"message": wanted.message, "says": wanted.says, "purpose": named.purpose, "had": named.topic}
        fields |= {"as_": wanted.as_, "topic": wanted.topic}
        present = {name: value for name, value in fields.items() if value is not None}
        return taken(acts.accepted(await acts.act(call, group, cid, "feedback", **present)))

    return await change(call, decide, (cid,))


async def renounce(call: Call) -> Reply:
    """Give consents of the customer's up."""
    wanted: NewRenouncement | None = call.body
    return await take(call, "renounce", {} if wanted is None else wanted.model_dump(exclude_none=True))


async def get_contests(call: Call) -> Reply:
    """The contests against the business's messages."""
    what, limit = "contests", call.query.limit
    place = behind(call, what, LAST)
    rows = await call.server.store.business.contests(call.business.name, place, limit + 1)
    page, now = rows[:limit], call.server.clock.now()
    cursor = cursor_of(call, what, page[-1].at, page[-1].act) if len(rows) > len(page) else None
    return Reply.of(ReceivedContests(items=tuple(_received(row, now) for row in page), next_cursor=cursor))


def _received(row: StoredContest, now: int) -> ReceivedContest:
    said = Feedback.model_validate_json(b64u_decode(row.raw.split(".")[1]))
    found = _in_force(row, said, now)
    return ReceivedContest(
        message=said.message,
        connection=row.cid,
        purpose=said.purpose,
        had=said.had,
        as_=said.as_ or "",
        topic=said.topic,
        act=row.act,
        at=instant(row.at),
        until=None if found is None else instant(found.until * 1000),
        in_force=found is not None,
    )


def _in_force(row: StoredContest, said: Feedback, now: int) -> Contest | None:
    """The contest as the state has it, while it is in force."""
    state = decode_state(row.state)
    side = state.side_of(said.iss)
    scope = (said.purpose, said.had, said.as_, said.topic)
    for contest in state.door(side).contests if side is not None else ():
        if contest.message == said.message and contest.scope == scope and contest.until * 1000 > now:
            return contest
    return None


_TAG = "feedback"
ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/feedback",
        "messages:write",
        give_feedback,
        "createFeedback",
        "Say how a message of a customer was",
        _TAG,
        description="Your customer sees it. `mislabelled` contests the message: what she sends for its purpose is from "
        "then on judged as what it was (`as`), too. Another word on the same message takes that back.",
        body=NewFeedback,
        answer=ActTaken,
        statuses=(201,),
        codes=("no_such_message", "too_many_contests", "too_much_feedback"),
        act="feedback",
    ),
    Route(
        "POST",
        "/connections/{connection}/renounce",
        "permissions:write",
        renounce,
        "renounceGrants",
        "Give up grants of a customer",
        "permissions",
        description="She told you, or answered STOP, and does not use her wallet: you will not use these grants of "
        "hers, for some purposes and channels or at all. Only a new grant of hers opens that again.",
        body=NewRenouncement,
        answer=ActTaken,
        statuses=(201,),
        codes=("no_such_grant",),
        act="renounce",
        narrows=True,
    ),
    Route(
        "GET",
        "/contests",
        "connections:read",
        get_contests,
        "listContests",
        "Messages of yours that were contested",
        _TAG,
        description="The newest first: which message was something else than it said, and as what it is judged now.",
        query=Page,
        answer=ReceivedContests,
    ),
)
