"""Messages to customers (SAY-1 to SAY-5): asked of the gate, sealed, signed and decided in one group; what is refused
is not lost."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from comity.documents.acts import Message
from comity.documents.events import Accepted
from comity.errors import Refused
from comity.rules.gate import Verdict
from comity.rules.message_lifetime import ExpiryWarning, expiry_warning
from comity_server.api.business import acts
from comity_server.api.business.act_response import ToldVerdict, at_hand, away_until, judged, judged_by_shown, place_of
from comity_server.api.business.endpoints import drafts
from comity_server.api.business.idempotency import change
from comity_server.api.business.outgoing import NewMessage, Sealing
from comity_server.api.business.refusals import refusal
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.held_texts import draft_of
from comity_server.schema import Cid, Hash, Instant, Model, instant
from comity_server.writer.unit_of_work import UnitOfWork

Outcome = Literal["delivered", "held", "dropped"]
NoDraft = Literal["too_many_drafts"]


class SentMessage(Model):
    """What became of a message."""

    connection: Cid
    message: Annotated[Hash, Field(description="Its id: that of its act.")]
    outcome: Annotated[
        Outcome,
        Field(description="`delivered`: it is in their inbox. `held`: it waits. `dropped`: it never arrives."),
    ]
    at: Annotated[Instant, Field(description="When it was accepted.")]
    expires_at: Annotated[Instant, Field(description="When it expires, if it waits until then.")] | None = None
    warning: (
        Annotated[
            ExpiryWarning,
            Field(description="It expires before the end of the hold that they show, so it will not be delivered."),
        ]
        | None
    ) = None
    away_until: (
        Annotated[Instant, Field(description="They say that they are away until then. What is delivered is there.")]
        | None
    ) = None
    replaces: Annotated[Hash, Field(description="The waiting message whose place it took.")] | None = None
    draft: (
        Annotated[
            str,
            Field(
                description="Of one that waits: should it never arrive, your text is this draft from then on.",
                examples=["draft_3v5b1GmKJq8y2Zt0"],
            ),
        ]
        | None
    ) = None
    no_draft: (
        Annotated[
            NoDraft,
            Field(description="Of one that waits: why your text is not kept. The message waits all the same."),
        ]
        | None
    ) = None
    verdict: (
        Annotated[
            ToldVerdict,
            Field(description="What was decided about it, and why. Absent where it had been sent before."),
        ]
        | None
    ) = None


async def send_message(call: Call) -> Reply:
    """A message in the connection of the path."""
    cid = call.path["connection"]
    if call.signed is not None:
        return await change(call, partial(_send_signed, call, cid), (cid,))
    letter: NewMessage = call.body
    letter.check_expiry(call.server.clock.now())
    sealing = await Sealing.ahead(call, cid, letter.content())
    return await change(call, partial(send, call, cid, letter, sealing), (cid,))


async def send_draft(call: Call) -> Reply:
    """The message of a draft, and the draft is gone; refused, it stays (SAY-7)."""
    name, id_ = call.business.name, call.path["id"]
    known = await call.server.store.business.draft(name, id_)
    first = None if known is None else drafts.opened(call.server.grounds.kept.master, known)
    sealing = None if first is None else await Sealing.ahead(call, first.cid, first.message.content())

    async def decide(group: UnitOfWork) -> Reply:
        draft = await drafts.find(call, group, id_)
        if draft is None or first is None:
            raise Refused("not_found")
        # Somebody may have written it anew meanwhile.
        same = sealing if draft.message == first.message else None
        fresh = same or Sealing(draft.cid, draft.message.content())
        return await send(call, draft.cid, draft.message, fresh, group, draft=id_)

    return await change(call, decide, () if first is None else (first.cid,))


async def send(
    call: Call, cid: str, letter: NewMessage, sealing: Sealing, group: UnitOfWork, draft: str | None = None
) -> Reply:
    """Decide a message, which may have waited as a draft. Raises Refused for what cannot be kept as one."""
    letter.check_expiry(group.now)
    state, side = at_hand(call, group, cid)
    acts.signer_of(call, state, side)
    verdict = judged(group, state, side, letter.purpose, "app", letter.topic)
    shown = judged_by_shown(group, state, side, letter.purpose, letter.topic)
    fields = {"topic": letter.topic, "reply_to": letter.reply_to}
    # Asked before the act is in the group: nothing may fail behind it.
    has_room = verdict.decision == "hold" and letter.if_muted == "hold" and await drafts.room_to_wait(call, group)
    try:
        answer = await acts.act(
            call,
            group,
            cid,
            "message",
            purpose=letter.purpose,
            if_muted=letter.if_muted,
            exp=letter.expiry(shown, group.now),
            body=sealing.text(state, side),
            **{name: value for name, value in fields.items() if value is not None},
        )
    except Refused as refused:
        kept = draft or await drafts.keep(call, group, cid, letter)
        return _refused(call, refused, verdict, {"no_draft": "too_many_drafts"} if kept is None else {"draft": kept})
    if draft is not None:
        drafts.drop(group, call.business.name, draft)
    event = acts.accepted(answer)
    away = away_until(group, state, side)
    if event.outcome != "held":
        return _sent(event, verdict, shown, away)
    if not has_room:
        return _sent(event, verdict, shown, away, no_draft="too_many_drafts")
    waits = draft_of(event.act)
    drafts.put(group, call.business.name, waits, cid, letter, waits=True)
    return _sent(event, verdict, shown, away, draft=waits)


async def _send_signed(call: Call, cid: str, group: UnitOfWork) -> Reply:
    assert call.signed is not None and isinstance(call.signed.payload, Message)
    payload = call.signed.payload
    state, side = at_hand(call, group, cid)
    verdict = judged(group, state, side, payload.purpose, "app", payload.topic)
    shown = judged_by_shown(group, state, side, payload.purpose, payload.topic)
    is_known = group.knows(call.signed.id)
    try:
        answer = await acts.act(call, group, cid, "message")
    except Refused as refused:
        if refused.code == "not_found":
            raise
        return _refused(call, refused, verdict, {})
    is_new = answer.accepted is not None and not is_known
    away = away_until(group, state, side)
    return _sent(acts.accepted(answer), verdict if is_new else None, shown, away)


def _sent(
    event: Accepted,
    verdict: Verdict | None,
    shown: Verdict,
    away: int | None,
    draft: str | None = None,
    no_draft: NoDraft | None = None,
) -> Reply:
    assert event.outcome is not None and event.contents is not None
    expires = event.contents.exp if event.outcome == "held" else None
    sent = SentMessage(
        connection=event.cid,
        message=event.act,
        outcome=event.outcome,
        at=instant(event.at),
        expires_at=None if expires is None else instant(expires * 1000),
        warning=None if expires is None or verdict is None else expiry_warning(shown, expires),
        away_until=None if away is None else instant(away * 1000),
        replaces=event.replaces,
        draft=draft,
        no_draft=no_draft,
        verdict=None if verdict is None else ToldVerdict.of(verdict),
    )
    return Reply.of(sent, 201 if event.outcome == "delivered" else 202, place_of(event))


def _refused(call: Call, refused: Refused, verdict: Verdict, also: dict[str, object]) -> Reply:
    """The refusal with the verdict in words, where it was the gate that said no, and what became of the text."""
    if verdict.decision != "allow":
        also = {"verdict": ToldVerdict.of(verdict).model_dump(exclude_none=True), **also}
    return refusal(call, refused, also)


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
        "Write to a customer",
        "messages",
        description="Whether you may is decided in the same moment; you need not ask before. `201`: it is in their "
        "inbox. `202`: it waits (`held`), or you wanted it dropped rather than wait (`dropped`). A refusal says why in "
        "`verdict`, and keeps your message: `draft` is its id (`no_draft` where there are too many already). One that "
        "waits and never arrives becomes a draft as well. The text is encrypted for your customer before anything is "
        "kept.",
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
        description="Decided as any message is. When it is accepted, the draft is gone; when it is refused, it stays.",
        answer=SentMessage,
        statuses=(201, 202),
        codes=(*REFUSALS, "signing_key_not_kept"),
    ),
)
