"""Feedback on messages, renounced grants, and the contests of customers (SAY-18 to SAY-21).

Feedback of customers filters no list: otherwise feedback, or its absence, would have consequences that nobody signed.
"""

from typing import Annotated, Literal

from pydantic import Field

from comity.documents.acts import Feedback
from comity.documents.types import Channels, GrantedPurpose, Hashes, ReachPurposes, Topic
from comity.encoding import b64u_decode
from comity.errors import Refused
from comity.rules.state import Contest, decode_state
from comity_server.api.business import acts
from comity_server.api.business.act_response import AcceptedAct, act_response, load_connection, submit_act
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.pagination import AFTER_ALL, NextCursor, Page, page_start, seal_cursor
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Cid, Hash, Instant, Model, instant
from comity_server.store.business import StoredContest
from comity_server.writer.unit_of_work import UnitOfWork

Says = Literal["useful", "not_useful", "too_often", "not_interested", "thanks", "mislabelled"]
Because = Literal["one_click", "reply_stop", "told_us", "not_needed"]


class NewFeedback(Model):
    """Feedback on a customer's message. The last feedback on each message counts."""

    message: Annotated[Hash, Field(description="A message that you received, or a contact that the customer recorded.")]
    says: Says
    actual_purpose: (
        Annotated[GrantedPurpose, Field(description="With `mislabelled`: the purpose that it really had.")] | None
    ) = None
    actual_topic: Annotated[Topic, Field(description="With `mislabelled`: the topic that it really had.")] | None = None


class NewRenouncement(Model):
    """Grants of a customer that you renounce. Without purposes and channels, you renounce all that they allow."""

    grants: Annotated[Hashes, Field(description="The ids of the customer's grants.")]
    reason: Annotated[
        Because,
        Field(
            description="The customer used the link in an e-mail (`one_click`), answered STOP (`reply_stop`), or told "
            "you (`told_us`); or you do not need the grants (`not_needed`)."
        ),
    ]
    purposes: Annotated[ReachPurposes, Field(description="Only these purposes.", examples=[["sales"]])] | None = None
    channels: Annotated[Channels, Field(description="Only these channels.", examples=[["email"]])] | None = None


class ReceivedContest(Model):
    """A contest: a customer states that a message of yours had another purpose than it named."""

    id: Annotated[Hash, Field(description="The id of the act `feedback`.")]
    object: Literal["contest"] = "contest"
    status: Annotated[
        Literal["active", "ended"],
        Field(description="An active contest of a notice of safety, security or law changes no verdict."),
    ]
    message: Hash
    connection: Cid
    purpose: Annotated[str, Field(description="The purpose that the message named.", examples=["care"])]
    topic: Annotated[str, Field(description="The topic that the message named.")] | None = None
    actual_purpose: Annotated[str, Field(description="The purpose that it really had.", examples=["sales"])]
    actual_topic: Annotated[str, Field(description="The topic that it really had.")] | None = None
    accepted_at: Instant
    ends_at: Annotated[Instant, Field(description="Its end, if it is not taken back before.")] | None = None


class ReceivedContestList(Model):
    """A page of contests, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[ReceivedContest, ...]
    next_cursor: NextCursor | None = None


async def give_feedback(call: Call) -> Reply:
    """Gives feedback on a customer's message. The server looks up the purpose and the topic of the message."""
    if call.signed is not None:
        return await submit_act(call, "feedback")
    cid, wanted = call.path["connection"], call.body

    async def decide(unit: UnitOfWork) -> Reply:
        state, side = load_connection(call, unit, cid)
        acts.connection_signer(call, state, side)
        if state.phase == "ended":
            raise Refused("connection_ended")
        named = await acts.find_message(call, unit, wanted.message)
        if named is None or named.cid != cid:
            raise Refused("no_such_message")
        fields = {"message": wanted.message, "says": wanted.says, "purpose": named.purpose, "had": named.topic}
        fields |= {"as_": wanted.actual_purpose, "topic": wanted.actual_topic}
        present = {name: value for name, value in fields.items() if value is not None}
        return act_response(acts.acceptance_of(await acts.apply_act(call, unit, cid, "feedback", **present)))

    return await run_idempotent(call, decide, (cid,))


async def renounce(call: Call) -> Reply:
    """Renounces grants of the customer."""
    wanted: NewRenouncement | None = call.body
    if wanted is None:
        return await submit_act(call, "renounce")
    fields = {"grants": wanted.grants, "because": wanted.reason}
    return await submit_act(call, "renounce", {**fields, "purposes": wanted.purposes, "channels": wanted.channels})


async def get_contests(call: Call) -> Reply:
    """Lists the contests of the business's messages."""
    what, limit = "contests", call.query.limit
    place = page_start(call, what, AFTER_ALL)
    rows = await call.server.store.business.contests(call.business.name, place, limit + 1)
    page, now = rows[:limit], call.server.clock.now()
    cursor = seal_cursor(call, what, page[-1].at, page[-1].act) if len(rows) > len(page) else None
    return Reply.of(ReceivedContestList(items=tuple(_contest_item(row, now) for row in page), next_cursor=cursor))


def _contest_item(row: StoredContest, now: int) -> ReceivedContest:
    said = Feedback.model_validate_json(b64u_decode(row.raw.split(".")[1]))
    found = _in_force(row, said, now)
    return ReceivedContest(
        id=row.act,
        status="ended" if found is None else "active",
        message=said.message,
        connection=row.cid,
        purpose=said.purpose,
        topic=said.had,
        actual_purpose=said.as_ or "",
        actual_topic=said.topic,
        accepted_at=instant(row.at),
        ends_at=None if found is None else instant(found.until * 1000),
    )


def _in_force(row: StoredContest, said: Feedback, now: int) -> Contest | None:
    """The contest in the connection's state, if it is in force."""
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
        "Give feedback on a customer's message",
        _TAG,
        description="The customer sees it. `mislabelled` contests the message: further messages of its purpose must be "
        "allowed as `actual_purpose` as well. Other feedback on the same message takes the contest back.",
        body=NewFeedback,
        answer=AcceptedAct,
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
        description="For a customer who told you to stop, or answered STOP, and does not use the wallet. You cannot "
        "use these grants any more, for some purposes and channels or for all. Only a new grant of the customer "
        "changes that.",
        body=NewRenouncement,
        answer=AcceptedAct,
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
        "List the contests of your messages",
        _TAG,
        description="The newest first: the contested messages, with the purpose that they really had.",
        query=Page,
        answer=ReceivedContestList,
    ),
)
