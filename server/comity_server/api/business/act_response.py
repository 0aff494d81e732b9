"""Shared by the routes that submit acts: loading the connection, the verdict in words, and the usual answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from comity.documents.events import Accepted
from comity.documents.types import Side, other
from comity.errors import Malformed
from comity.rules import gate
from comity.rules.gate import Decision, Verdict
from comity.rules.message_lifetime import public_verdict
from comity.rules.state import Connection
from comity_server.api.business import acts, reasons
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.outgoing import EncryptedBody
from comity_server.api.business.representations import ActiveContest, contest_list
from comity_server.api.business.route import BUSINESS, Call, Reply
from comity_server.schema import Basis, Cid, Hash, Instant, Model, instant
from comity_server.writer.unit_of_work import UnitOfWork


class ExplainedVerdict(Model):
    """The verdict on a message, contact or ask, with the reason in words."""

    decision: Annotated[Decision, Field(description="`allow`, `hold` (not now), or `refuse` (not at all).")]
    reason: Annotated[reasons.Reason, Field(description="A code of a closed list.")]
    why: Annotated[str, Field(description="The reason in words, with advice.")]
    ends_at: (
        Annotated[Instant, Field(description="Of `hold`: the end of its cause, where the customer shows it.")] | None
    ) = None
    valid_until: Annotated[Instant, Field(description="Check again at this time.")]
    contest: (
        Annotated[
            tuple[ActiveContest, ...],
            Field(description="The customer's contests that cover this purpose, even if they changed nothing."),
        ]
        | None
    ) = None
    as_of: Basis

    @staticmethod
    def of(verdict: Verdict, own: Side) -> "ExplainedVerdict":
        """The outward verdict for the business on the side `own`."""
        ends_at = reasons.hold_end(verdict)
        return ExplainedVerdict(
            decision=verdict.decision,
            reason=verdict.reason,  # type: ignore[arg-type]
            why=reasons.reason_text(verdict),
            ends_at=None if ends_at is None else instant(ends_at),
            valid_until=instant(verdict.valid_until),
            contest=contest_list(verdict.contest) or None,
            as_of=Basis.of(verdict.as_of, own),
        )


class AcceptedAct(Model):
    """An act of yours that was accepted."""

    id: Annotated[Hash, Field(description="The SHA-256 of the signed text.")]
    object: Literal["act"] = "act"
    connection: Cid
    kind: Annotated[str, Field(examples=["mute"])]
    accepted_at: Annotated[Instant, Field(description="The time at which it took effect.")]


def load_connection(call: Call, unit: UnitOfWork, cid: str) -> tuple[Connection, Side]:
    """(the connection with the changes of this unit of work, the business's side of it). Raises
    Refused("not_found")."""
    side = acts.own_side(unit.states.get(cid), call.business)
    return unit.current(cid), side


def check_gate(
    unit: UnitOfWork, state: Connection, side: Side, purpose: str, channel: str, topic: str | None
) -> Verdict:
    """The outward verdict of the gate on an act of `side` now (SAY-1)."""
    at = max(unit.now, state.at + 1)
    return gate.may(state, side, purpose, channel, topic, at, unit.context.zones).outward()


def check_public_state(unit: UnitOfWork, state: Connection, side: Side, purpose: str, topic: str | None) -> Verdict:
    """The verdict on a message of `side` now from public state alone, which decides how long it is held (HOLD-2)."""
    return public_verdict(state, side, purpose, topic, max(unit.now, state.at + 1), unit.context.zones)


def away_until(unit: UnitOfWork, state: Connection, side: Side) -> int | None:
    """The end (s) of the absence that the other side announces. It does not say whether the side can be reached."""
    return unit.context.notices.away_until(state.door(other(side)), unit.now)


def act_location(event: Accepted) -> str:
    """The path of an act."""
    return f"{BUSINESS}/connections/{event.cid}/acts/{event.act}"


def act_response(event: Accepted) -> Reply:
    """The usual answer to an act."""
    act = AcceptedAct(id=event.act, connection=event.cid, kind=event.kind, accepted_at=instant(event.at))
    return Reply.of(act, 201, act_location(event))


async def submit_act(
    call: Call, kind: str, fields: Mapping[str, Any] | None = None, content: Mapping[str, Any] | None = None
) -> Reply:
    """Submits the act `kind` in the connection of the path, with these fields and the encrypted body `content`; or the
    act that the business signed. Members that are None are left out. Raises Refused."""
    cid = call.path["connection"]
    present = {name: value for name, value in (fields or {}).items() if value is not None}
    body_content = {name: value for name, value in (content or {}).items() if value is not None}
    is_composed = call.signed is None
    encrypted = await EncryptedBody.prepare(call, cid, body_content) if body_content and is_composed else None

    async def decide(unit: UnitOfWork) -> Reply:
        state, side = load_connection(call, unit, cid)
        body = {} if encrypted is None else {"body": encrypted.jwe(state, side)}
        return act_response(acts.acceptance_of(await acts.apply_act(call, unit, cid, kind, **present, **body)))

    return await run_idempotent(call, decide, (cid,))


def id_in_path(call: Call, member: str) -> str:
    """The id in the path. Raises Malformed if a signed act names another."""
    named = call.path[member]
    if call.signed is not None and getattr(call.signed.payload, member, None) != named:
        raise Malformed(f"the act names another {member} than the path", errors=((f"/{member}", "not the path's"),))
    return named
