"""What is between the two (SAY-14): the little things, what happened, and contacts outside."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from comity.documents.acts import Contacted
from comity.documents.note_values import note_body
from comity.documents.types import ReachPurpose, Token, Topic
from comity_server.api.business import acts
from comity_server.api.business.act_response import ActTaken, ToldVerdict, at_hand, judged, place_of, take
from comity_server.api.business.idempotency import change
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Due, Hash, Instant, Model, Text, instant, seconds, with_line_feeds
from comity_server.writer.unit_of_work import UnitOfWork

Key = Annotated[Token, Field(description="Which thing, in your words.", examples=["paper_receipt"])]
About = Annotated[Topic, Field(description="What about.", examples=["windows.kitchen"])]


class LittleThing(Model):
    """Something to remember; your customer sees that you do."""

    key: Key
    topic: About | None = None
    value: (
        Annotated[
            Any,
            AfterValidator(with_line_feeds),
            Field(
                description="What is to be remembered, in the form of its key; of a key of your own, a text. It is "
                "encrypted for your customer.",
                examples=[["de", "en"]],
            ),
        ]
        | None
    ) = None
    text: Annotated[Text, Field(description="More of it, for people. It is encrypted for your customer.")] | None = None


class Forgetting(Model):
    """What you forget."""

    key: Key
    topic: About | None = None


class NewMilestone(Model):
    """Something that happened between the two of you."""

    kind: Literal["bought", "installed", "serviced", "complained", "put_right"]
    topic: About
    when: Annotated[Due, Field(description="When it happened.", examples=["2026-11-20T09:00:00+01:00"])]
    lasts: (
        Annotated[
            Due,
            Field(
                description="Until when: nobody is sold what she has `bought` or `installed` before that, or at all "
                "where you name no end.",
                examples=["2036-11-20T00:00:00Z"],
            ),
        ]
        | None
    ) = None
    text: Annotated[Text, Field(description="More of it, for people. It is encrypted for your customer.")] | None = None


class NewContact(Model):
    """You have reached your customer outside of the app."""

    channel: Literal["email", "phone", "post", "sms", "visit"]
    purpose: Annotated[ReachPurpose, Field(examples=["care.checkin"])]
    topic: About | None = None


class StatedContact(Model):
    """The contact is on record, for both of you."""

    contact: Annotated[Hash, Field(description="Its id: that of its act.")]
    at: Instant
    verdict: (
        Annotated[
            ToldVerdict,
            Field(description="What the answer would have been, had you asked. Absent where it was stated before."),
        ]
        | None
    ) = None


async def remember(call: Call) -> Reply:
    """Keep a little thing."""
    wanted: LittleThing | None = call.body
    if wanted is None:
        return await take(call, "remember")
    content = note_body(wanted.key, wanted.topic, wanted.value, wanted.text)
    return await take(call, "remember", {"key": wanted.key, "topic": wanted.topic}, content)


async def forget(call: Call) -> Reply:
    """Take a little thing back."""
    wanted: Forgetting | None = call.body
    return await take(call, "forget", {} if wanted is None else {"key": wanted.key, "topic": wanted.topic})


async def milestone(call: Call) -> Reply:
    """Note what happened."""
    wanted: NewMilestone | None = call.body
    if wanted is None:
        return await take(call, "milestone")
    lasts = None if wanted.lasts is None else seconds(wanted.lasts)
    fields = {"kind": wanted.kind, "topic": wanted.topic, "when": seconds(wanted.when), "lasts": lasts}
    return await take(call, "milestone", fields, {"text": wanted.text})


async def contacted(call: Call) -> Reply:
    """State that the customer was reached outside: never refused (SAY-14)."""
    cid = call.path["connection"]

    async def decide(group: UnitOfWork) -> Reply:
        state, side = at_hand(call, group, cid)
        about: NewContact | Contacted = call.body
        if call.signed is not None:
            assert isinstance(call.signed.payload, Contacted)
            about = call.signed.payload
        verdict = judged(group, state, side, about.purpose, about.channel, about.topic)
        is_known = call.signed is not None and group.knows(call.signed.id)
        fields = {"channel": about.channel, "purpose": about.purpose}
        if about.topic is not None:
            fields["topic"] = about.topic
        answer = await acts.act(call, group, cid, "contacted", **fields)
        event = acts.accepted(answer)
        is_new = answer.accepted is not None and not is_known
        told = ToldVerdict.of(verdict) if is_new else None
        stated = StatedContact(contact=event.act, at=instant(event.at), verdict=told)
        return Reply.of(stated, 201, place_of(event))

    return await change(call, decide, (cid,))


_TAG = "connections"
ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/remember",
        "messages:write",
        remember,
        "rememberThing",
        "Remember a little thing",
        _TAG,
        description="A language, a receipt on paper, how she likes her hair. Known keys have values of one form: "
        "`language` `name` `receipt` `contact_by` `contact_time` `pronouns` `accessibility` `no_interest_payments` "
        "`diet` `birthday`; `no_interest` has a topic. Your customer sees it; it dies with the connection.",
        body=LittleThing,
        answer=ActTaken,
        statuses=(201,),
        codes=("too_much_remembered", "not_now", "over_budget"),
        act="remember",
    ),
    Route(
        "POST",
        "/connections/{connection}/forget",
        "messages:write",
        forget,
        "forgetThing",
        "Forget a little thing",
        _TAG,
        body=Forgetting,
        answer=ActTaken,
        statuses=(201,),
        codes=("nothing_remembered",),
        act="forget",
        narrows=True,
    ),
    Route(
        "POST",
        "/connections/{connection}/milestones",
        "messages:write",
        milestone,
        "noteMilestone",
        "Note what happened between you",
        _TAG,
        description="What was bought, installed, serviced, complained about, put right: so that nobody is sold the "
        "window she already has.",
        body=NewMilestone,
        answer=ActTaken,
        statuses=(201,),
        codes=("too_many_milestones", "not_now", "over_budget"),
        act="milestone",
    ),
    Route(
        "POST",
        "/connections/{connection}/contacted",
        "messages:write",
        contacted,
        "stateContact",
        "State that you reached a customer outside",
        _TAG,
        description="By e-mail, phone, post, text message or visit. It is on record for both of you, with the answer "
        "that you would have had, and counts as a message does. It is never refused: ask before (`POST /check`).",
        body=NewContact,
        answer=StatedContact,
        statuses=(201,),
        act="contacted",
    ),
)
