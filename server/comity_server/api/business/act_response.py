"""What the routes that sign an act share: the connection at hand, the verdict in words, and the ordinary answer."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from comity.documents.events import Accepted
from comity.documents.types import Side, other
from comity.errors import Malformed
from comity.rules import gate
from comity.rules.gate import Decision, Verdict
from comity.rules.message_lifetime import public_verdict
from comity.rules.state import Connection
from comity_server.api.business import acts, reasons
from comity_server.api.business.idempotency import change
from comity_server.api.business.outgoing import Sealing
from comity_server.api.business.representations import ContestInForce, contests_of
from comity_server.api.business.route import BUSINESS, Call, Reply
from comity_server.schema import Basis, Hash, Instant, Model, instant
from comity_server.writer.unit_of_work import UnitOfWork


class ToldVerdict(Model):
    """May we? As you may be told it, and in words."""

    decision: Annotated[Decision, Field(description="`allow`, `hold` (not now), or `refuse` (not at all).")]
    reason: Annotated[reasons.Reason, Field(description="From a closed list.")]
    why: Annotated[str, Field(description="The reason in words for people, with what can be done.")]
    until: Annotated[Instant, Field(description="When a hold ends, where they show it.")] | None = None
    valid_until: Annotated[Instant, Field(description="Ask again from then on: it is not good any longer.")]
    contest: (
        Annotated[
            tuple[ContestInForce, ...],
            Field(description="Contests of theirs about this purpose, whether or not they decided."),
        ]
        | None
    ) = None
    as_of: Basis

    @staticmethod
    def of(verdict: Verdict) -> "ToldVerdict":
        """An outward verdict, told."""
        until = reasons.until(verdict)
        return ToldVerdict(
            decision=verdict.decision,
            reason=verdict.reason,  # type: ignore[arg-type]
            why=reasons.why(verdict),
            until=None if until is None else instant(until),
            valid_until=instant(verdict.valid_until),
            contest=contests_of(verdict.contest) or None,
            as_of=Basis(first=verdict.as_of.first, second=verdict.as_of.second, zones=verdict.as_of.zones),
        )


class ActTaken(Model):
    """An act of yours was accepted."""

    act: Annotated[Hash, Field(description="The id of the act: the SHA-256 of its signed text.")]
    at: Annotated[Instant, Field(description="When it took effect.")]


def at_hand(call: Call, group: UnitOfWork, cid: str) -> tuple[Connection, Side]:
    """The connection as an act would find it now, and the business's side of it. Raises Refused("not_found")."""
    side = acts.side_in(group.states.get(cid), call.business)
    return group.current(cid), side


def judged(group: UnitOfWork, state: Connection, side: Side, purpose: str, channel: str, topic: str | None) -> Verdict:
    """What the gate says to an act of `side` now, as the side may be told it (SAY-1)."""
    at = max(group.now, state.at + 1)
    return gate.may(state, side, purpose, channel, topic, at, group.grounds.zones).outward()


def judged_by_shown(group: UnitOfWork, state: Connection, side: Side, purpose: str, topic: str | None) -> Verdict:
    """The verdict on a message of `side` now that rests on public state alone: how long it waits follows from it
    (HOLD-2)."""
    return public_verdict(state, side, purpose, topic, max(group.now, state.at + 1), group.grounds.zones)


def away_until(group: UnitOfWork, state: Connection, side: Side) -> int | None:
    """Until when (s) the other side of `side` says that it is away: it says nothing of whether it can be reached."""
    return group.grounds.notices.away_until(state.door(other(side)), group.now)


def place_of(event: Accepted) -> str:
    """Where an act can be read."""
    return f"{BUSINESS}/connections/{event.cid}/acts/{event.act}"


def taken(event: Accepted) -> Reply:
    """The ordinary answer to an act."""
    return Reply.of(ActTaken(act=event.act, at=instant(event.at)), 201, place_of(event))


async def take(
    call: Call, kind: str, fields: Mapping[str, Any] | None = None, said: Mapping[str, Any] | None = None
) -> Reply:
    """Do the act `kind` in the connection of the path, with these fields and, where something is said, with that as
    its sealed body; or the one that the business signed. Raises Refused."""
    cid = call.path["connection"]
    present = {name: value for name, value in (fields or {}).items() if value is not None}
    words_ = {name: value for name, value in (said or {}).items() if value is not None}
    sealing = await Sealing.ahead(call, cid, words_) if words_ and call.signed is None else None

    async def decide(group: UnitOfWork) -> Reply:
        state, side = at_hand(call, group, cid)
        body = {} if sealing is None else {"body": sealing.text(state, side)}
        return taken(acts.accepted(await acts.act(call, group, cid, kind, **present, **body)))

    return await change(call, decide, (cid,))


def the_one_named(call: Call, member: str) -> str:
    """The id in the path, which a signed act must name as well. Raises Malformed."""
    named = call.path[member]
    if call.signed is not None and getattr(call.signed.payload, member, None) != named:
        raise Malformed(f"the act names another {member} than the path", errors=((f"/{member}", "not the path's"),))
    return named
