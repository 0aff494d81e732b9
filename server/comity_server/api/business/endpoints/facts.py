"""Notes, milestones and contacts outside the app (SAY-14)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from comity.documents.acts import Contacted
from comity.documents.note_values import note_body
from comity.documents.types import ReachPurpose, Token, Topic
from comity_server.api.business import acts
from comity_server.api.business.act_response import (
    AcceptedAct,
    ExplainedVerdict,
    act_location,
    check_gate,
    load_connection,
    submit_act,
)
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.roles import Scope
from comity_server.schema import Cid, Due, Hash, Instant, Model, Text, instant, seconds, with_line_feeds
from comity_server.writer.unit_of_work import UnitOfWork

Key = Annotated[Token, Field(description="The key of the note.", examples=["paper_receipt"])]
About = Annotated[Topic, Field(description="The topic.", examples=["windows.kitchen"])]


class NewNote(Model):
    """A note about a customer. Your customer can read it."""

    key: Key
    topic: About | None = None
    value: (
        Annotated[
            Any,
            AfterValidator(with_line_feeds),
            Field(
                description="The value. A known key has values of one form; a key of your own has a text. It is "
                "encrypted for your customer.",
                examples=[["de", "en"]],
            ),
        ]
        | None
    ) = None
    text: Annotated[Text, Field(description="More of it, for people. It is encrypted for your customer.")] | None = None


class ForgottenNote(Model):
    """The note to delete."""

    key: Key
    topic: About | None = None


class NewMilestone(Model):
    """An event between you and a customer."""

    kind: Literal["bought", "installed", "serviced", "complained", "put_right"]
    topic: About
    happened_at: Annotated[Due, Field(examples=["2026-11-20T09:00:00+01:00"])]
    lasts_until: (
        Annotated[
            Due,
            Field(
                description="The end of life of what was `bought` or `installed`. Messages that sell the customer the "
                "same are refused until then, or always where there is no end.",
                examples=["2036-11-20T00:00:00Z"],
            ),
        ]
        | None
    ) = None
    text: Annotated[Text, Field(description="More of it, for people. It is encrypted for your customer.")] | None = None


class NewContact(Model):
    """A contact with a customer outside the app."""

    channel: Literal["email", "phone", "post", "sms", "visit"]
    purpose: Annotated[ReachPurpose, Field(examples=["care.checkin"])]
    topic: About | None = None


class Contact(Model):
    """A recorded contact. Both sides can read it."""

    id: Annotated[Hash, Field(description="The id of its act.")]
    object: Literal["contact"] = "contact"
    connection: Cid
    accepted_at: Instant
    verdict: (
        Annotated[
            ExplainedVerdict,
            Field(description="The answer of `POST /check` at that time. Absent when the contact was recorded before."),
        ]
        | None
    ) = None


async def create_note(call: Call) -> Reply:
    """Creates a note, or replaces the one of the same key and topic."""
    wanted: NewNote | None = call.body
    if wanted is None:
        return await submit_act(call, "remember")
    content = note_body(wanted.key, wanted.topic, wanted.value, wanted.text)
    return await submit_act(call, "remember", {"key": wanted.key, "topic": wanted.topic}, content)


async def forget_note(call: Call) -> Reply:
    """Deletes a note."""
    wanted: ForgottenNote | None = call.body
    return await submit_act(call, "forget", {} if wanted is None else {"key": wanted.key, "topic": wanted.topic})


async def create_milestone(call: Call) -> Reply:
    """Records a milestone."""
    wanted: NewMilestone | None = call.body
    if wanted is None:
        return await submit_act(call, "milestone")
    when = seconds(wanted.happened_at)
    lasts = None if wanted.lasts_until is None else seconds(wanted.lasts_until)
    fields = {"kind": wanted.kind, "topic": wanted.topic, "when": when, "lasts": lasts}
    return await submit_act(call, "milestone", fields, {"text": wanted.text})


async def create_contact(call: Call) -> Reply:
    """Records a contact outside the app. What it states is never refused (SAY-14)."""
    cid = call.path["connection"]

    async def decide(unit: UnitOfWork) -> Reply:
        state, side = load_connection(call, unit, cid)
        about: NewContact | Contacted = call.body
        if call.signed is not None:
            assert isinstance(call.signed.payload, Contacted)
            about = call.signed.payload
        verdict = check_gate(unit, state, side, about.purpose, about.channel, about.topic)
        is_known = call.signed is not None and unit.knows(call.signed.id)
        fields = {"channel": about.channel, "purpose": about.purpose}
        if about.topic is not None:
            fields["topic"] = about.topic
        answer = await acts.apply_act(call, unit, cid, "contacted", **fields)
        event = acts.acceptance_of(answer)
        is_new = answer.accepted is not None and not is_known
        told = ExplainedVerdict.of(verdict, side) if is_new else None
        stated = Contact(id=event.act, connection=cid, accepted_at=instant(event.at), verdict=told)
        return Reply.of(stated, 201, act_location(event))

    return await run_idempotent(call, decide, (cid,))


_TAG = "notes"
_SCOPE: Scope = "notes:write"
ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/notes",
        _SCOPE,
        create_note,
        "createNote",
        "Create or replace a note about a customer",
        _TAG,
        description="For example a language, paper receipts, a diet. These known keys have values of one form: "
        "`language` `name` `receipt` `contact_by` `contact_time` `pronouns` `accessibility` `no_interest_payments` "
        "`diet` `birthday`. `no_interest` has a topic. Your customer can read the note. It ends with the connection.",
        body=NewNote,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("too_much_remembered", "not_now", "over_budget"),
        act="remember",
    ),
    Route(
        "POST",
        "/connections/{connection}/notes/forget",
        _SCOPE,
        forget_note,
        "forgetNote",
        "Delete a note about a customer",
        _TAG,
        body=ForgottenNote,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("nothing_remembered",),
        act="forget",
        narrows=True,
    ),
    Route(
        "POST",
        "/connections/{connection}/milestones",
        _SCOPE,
        create_milestone,
        "createMilestone",
        "Record a milestone with a customer",
        _TAG,
        description="A purchase, an installation, a service, a complaint or its solution. Messages that would sell a "
        "customer what she already has are refused.",
        body=NewMilestone,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("too_many_milestones", "not_now", "over_budget"),
        act="milestone",
    ),
    Route(
        "POST",
        "/connections/{connection}/contacts",
        "messages:write",
        create_contact,
        "createContact",
        "Record a contact outside the app",
        "messages",
        description="A contact by e-mail, phone, post, text message or visit. Both sides can read it. It counts as a "
        "message does, and the answer has the verdict that `POST /check` would have given. It is never refused, so "
        "check before you contact a customer.",
        body=NewContact,
        answer=Contact,
        statuses=(201,),
        act="contacted",
    ),
)
