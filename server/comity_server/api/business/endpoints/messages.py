"""Messages to customers (SAY-1 to SAY-5). The gate decides, and the text is encrypted and signed, in one unit of work.
The text of a refused message is kept as a draft."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from comity.documents.acts import Message
from comity.documents.events import Accepted
from comity.documents.types import Side
from comity.errors import Refused
from comity.rules.gate import Verdict
from comity.rules.message_lifetime import ExpiryWarning, expiry_warning
from comity_server.api.business import acts
from comity_server.api.business.act_response import (
    ExplainedVerdict,
    act_location,
    away_until,
    check_gate,
    check_public_state,
    load_connection,
)
from comity_server.api.business.endpoints import drafts
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.outgoing import EncryptedBody, NewMessage
from comity_server.api.business.refusals import refusal
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.held_texts import draft_of
from comity_server.schema import Cid, Hash, Instant, Model, instant
from comity_server.writer.unit_of_work import UnitOfWork

Status = Literal["delivered", "held", "dropped"]
NoDraft = Literal["too_many_drafts"]


class SentMessage(Model):
    """A message that was accepted."""

    id: Annotated[Hash, Field(description="The id of its act.")]
    object: Literal["message"] = "message"
    connection: Cid
    status: Annotated[
        Status,
        Field(description="`delivered`: in the customer's inbox. `held`: delivered later. `dropped`: never delivered."),
    ]
    accepted_at: Instant
    expires_at: Annotated[Instant, Field(description="A held message is not delivered after this time.")] | None = None
    warning: (
        Annotated[
            ExpiryWarning,
            Field(description="It expires before the end that the customer shows, so it will not be delivered."),
        ]
        | None
    ) = None
    away_until: (
        Annotated[Instant, Field(description="The customer is away until then. Messages are delivered all the same.")]
        | None
    ) = None
    replaces: Annotated[Hash, Field(description="The held message that it replaced.")] | None = None
    draft: (
        Annotated[
            str,
            Field(
                description="Of a held message: the draft that its text becomes if it is never delivered.",
                examples=["draft_3v5b1GmKJq8y2Zt0"],
            ),
        ]
        | None
    ) = None
    no_draft: (
        Annotated[
            NoDraft,
            Field(description="Of a held message: why its text is not kept as a draft. The message is held anyway."),
        ]
        | None
    ) = None
    verdict: (
        Annotated[
            ExplainedVerdict,
            Field(description="The decision about it, with the reason. Absent if the same act was sent before."),
        ]
        | None
    ) = None


async def send_message(call: Call) -> Reply:
    """Sends a message in the connection of the path."""
    cid = call.path["connection"]
    if call.signed is not None:
        return await run_idempotent(call, partial(_send_signed, call, cid), (cid,))
    letter: NewMessage = call.body
    letter.check_expiry(call.server.clock.now())
    encrypted = await EncryptedBody.prepare(call, cid, letter.content())
    return await run_idempotent(call, partial(send, call, cid, letter, encrypted), (cid,))


async def send_draft(call: Call) -> Reply:
    """Sends the message of a draft and deletes the draft. A refused draft stays (SAY-7)."""
    name, id_ = call.business.name, call.path["id"]
    known = await call.server.store.business.draft(name, id_)
    first = None if known is None else drafts.open_draft(call.server.context.kept.master, known)
    encrypted = None if first is None else await EncryptedBody.prepare(call, first.cid, first.message.content())

    async def decide(unit: UnitOfWork) -> Reply:
        draft = await drafts.find(call, unit, id_)
        if draft is None or first is None:
            raise Refused("not_found")
        # Another request may have changed the draft since.
        same = encrypted if draft.message == first.message else None
        fresh = same or EncryptedBody(draft.cid, draft.message.content())
        return await send(call, draft.cid, draft.message, fresh, unit, draft=id_)

    return await run_idempotent(call, decide, () if first is None else (first.cid,))


async def send(
    call: Call, cid: str, letter: NewMessage, encrypted: EncryptedBody, unit: UnitOfWork, draft: str | None = None
) -> Reply:
    """Sends a message, or that of `draft`. The answer to a refusal names the draft that keeps the text. Raises Refused
    only for a message that cannot be a draft."""
    letter.check_expiry(unit.now)
    state, side = load_connection(call, unit, cid)
    acts.connection_signer(call, state, side)
    verdict = check_gate(unit, state, side, letter.purpose, "app", letter.topic)
    shown = check_public_state(unit, state, side, letter.purpose, letter.topic)
    fields = {"topic": letter.topic, "reply_to": letter.reply_to}
    # Before the act is in the unit of work: nothing may fail after it.
    has_room = verdict.decision == "hold" and letter.if_muted == "hold" and await drafts.room_to_wait(call, unit)
    try:
        answer = await acts.apply_act(
            call,
            unit,
            cid,
            "message",
            purpose=letter.purpose,
            if_muted=letter.if_muted,
            exp=letter.expiry(shown, unit.now),
            body=encrypted.jwe(state, side),
            **{name: value for name, value in fields.items() if value is not None},
        )
    except Refused as refused:
        kept = draft or await drafts.keep(call, unit, cid, letter)
        also = {"no_draft": "too_many_drafts"} if kept is None else {"draft": kept}
        return _refused_answer(call, refused, verdict, side, also)
    if draft is not None:
        drafts.drop(unit, call.business.name, draft)
    event = acts.acceptance_of(answer)
    told, away = ExplainedVerdict.of(verdict, side), away_until(unit, state, side)
    if event.outcome != "held":
        return _sent_answer(event, told, shown, away)
    if not has_room:
        return _sent_answer(event, told, shown, away, no_draft="too_many_drafts")
    waits = draft_of(event.act)
    drafts.put(unit, call.business.name, waits, cid, letter, waits=True)
    return _sent_answer(event, told, shown, away, draft=waits)


async def _send_signed(call: Call, cid: str, unit: UnitOfWork) -> Reply:
    assert call.signed is not None and isinstance(call.signed.payload, Message)
    payload = call.signed.payload
    state, side = load_connection(call, unit, cid)
    verdict = check_gate(unit, state, side, payload.purpose, "app", payload.topic)
    shown = check_public_state(unit, state, side, payload.purpose, payload.topic)
    is_known = unit.knows(call.signed.id)
    try:
        answer = await acts.apply_act(call, unit, cid, "message")
    except Refused as refused:
        if refused.code == "not_found":
            raise
        return _refused_answer(call, refused, verdict, side, {})
    is_new = answer.accepted is not None and not is_known
    away = away_until(unit, state, side)
    return _sent_answer(acts.acceptance_of(answer), ExplainedVerdict.of(verdict, side) if is_new else None, shown, away)


def _sent_answer(
    event: Accepted,
    verdict: ExplainedVerdict | None,
    shown: Verdict,
    away: int | None,
    draft: str | None = None,
    no_draft: NoDraft | None = None,
) -> Reply:
    assert event.outcome is not None and event.contents is not None
    expires = event.contents.exp if event.outcome == "held" else None
    sent = SentMessage(
        id=event.act,
        connection=event.cid,
        status=event.outcome,
        accepted_at=instant(event.at),
        expires_at=None if expires is None else instant(expires * 1000),
        warning=None if expires is None or verdict is None else expiry_warning(shown, expires),
        away_until=None if away is None else instant(away * 1000),
        replaces=event.replaces,
        draft=draft,
        no_draft=no_draft,
        verdict=verdict,
    )
    return Reply.of(sent, 201 if event.outcome == "delivered" else 202, act_location(event))


def _refused_answer(call: Call, refused: Refused, verdict: Verdict, side: Side, also: dict[str, str]) -> Reply:
    """The refusal, with the verdict if the gate refused, and the members `also` about the draft."""
    if verdict.decision == "allow":
        return refusal(call, refused, also)
    return refusal(call, refused, {"verdict": ExplainedVerdict.of(verdict, side).model_dump(exclude_none=True), **also})


REFUSALS = (
    "connection_ended",
    "no_grant",
    "already_has",
    "no_interest",
    "topic_needed",
    "not_now",
    "over_budget",
    "hold_full",
    "message_expired",
    "exempt_limit",
)

ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/messages",
        "messages:write",
        send_message,
        "sendMessage",
        "Send a message to a customer",
        "messages",
        description="The server checks the permission as `POST /check` does. `201`: the message is delivered. `202`: "
        "it is `held` until the customer can be reached, or `dropped`, as `if_muted` says. A refusal has the reason in "
        "`verdict`, and keeps the text as a draft: `draft` is its id. Where there are too many drafts, it has "
        "`no_draft` instead. A held message that is never delivered becomes a draft as well. The text is encrypted for "
        "the customer before it is stored.",
        body=NewMessage,
        answer=SentMessage,
        statuses=(201, 202),
        codes=REFUSALS,
        act="message",
    ),
    Route(
        "POST",
        "/drafts/{id}/send",
        "messages:write",
        send_draft,
        "sendDraft",
        "Send a draft",
        "drafts",
        description="The checks and answers of `sendMessage`. An accepted draft is deleted; a refused one stays.",
        answer=SentMessage,
        statuses=(201, 202),
        codes=(*REFUSALS, "signing_key_not_kept"),
    ),
)
