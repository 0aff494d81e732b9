"""Favours (SAY-8, SAY-9): asks, answers, done favours and thanks. The rules are those of FAV-1 to FAV-10."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from comity.documents.acts import Ask, open_act
from comity.documents.hours import ZoneRules
from comity.documents.types import Side, Token, other
from comity.errors import Refused
from comity.rules import favours, gate
from comity.rules.decide import RULES
from comity.rules.guards import Case
from comity.rules.state import Connection
from comity_server.api.business import acts, reasons
from comity_server.api.business.act_response import AcceptedAct, act_location, id_in_path, load_connection, submit_act
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.outgoing import EncryptedBody, decrypt_for_business
from comity_server.api.business.refusals import refusal
from comity_server.api.business.representations import AskSummary, ask_summary
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Due, Hash, Instant, Model, Text, instant, seconds
from comity_server.writer.unit_of_work import UnitOfWork

AskStatus = Literal[
    "free", "open", "cooling", "after_notice", "spent", "no_grant", "already_has", "no_interest", "topic_needed",
    "not_now", "over_budget", "recovering", "ended",
]  # fmt: skip

WHY: dict[AskStatus, str] = {
    "free": "You may ask.",
    "open": "Your last ask is still open. You may ask again when it is answered or has lapsed.",
    "cooling": "They answered no or not now, or did not answer, a short while ago. Wait before you ask again.",
    "after_notice": "You sent a notice of safety, security or law within the last day. Wait for a day after a notice.",
    "spent": "You have asked six times within 30 days. Wait until the oldest ask is 30 days old.",
    "no_grant": "They have no grant for favours in force.",
    "already_has": "They contest your favours as sales, and already have what this would be about.",
    "no_interest": "They contest your favours as sales, and are not interested in the topic.",
    "topic_needed": "They contest your favours as sales, and have, or do not want, something of this kind.",
    "not_now": reasons.WHY["not_now"].partition(" A message")[0] + " An ask is never held: try again later.",
    "over_budget": "The number of messages that they allow within this time is used up. Ask when there is room again.",
    "recovering": reasons.WHY["recovering"],
    "ended": reasons.WHY["ended"],
}
"""Status → the reason in words. The values are those of the rule for an ask (FAV-8), and `recovering` and `ended`."""
_HASH = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")

EncryptedText = Annotated[Text, Field(description="It is encrypted for the customer.")]


class NewAsk(Model):
    """A favour that you ask of a customer."""

    kind: Annotated[Token, Field(description="The kind of favour, in your own words.", examples=["review"])]
    effort: Annotated[Literal["minute", "hour", "money"], Field(description="What the favour costs the customer.")]
    text: Annotated[Text, Field(examples=["Would you tell your neighbours how you like the windows?"])]
    in_return: Annotated[Text, Field(examples=["We clean them once, for nothing."])] | None = None
    answer_by: Annotated[Due, Field(description="The ask lapses then, and after 30 days at the latest.")] | None = None


class CreatedAsk(Model):
    """An ask that the customer received."""

    id: Annotated[Hash, Field(description="The id of its act.")]
    object: Literal["ask"] = "ask"
    status: Literal["asked"] = "asked"
    asked_at: Instant
    ends_at: Annotated[Instant, Field(description="The time at which it lapses without an answer.")] | None = None


class AskAnswer(Model):
    """An answer to an ask. No reason is needed."""

    answer: Literal["yes", "no", "not_now"]
    text: EncryptedText | None = None


class Thanks(Model):
    """Thanks for a favour that was done."""

    text: EncryptedText | None = None


class AskDetails(AskSummary):
    """The last ask of one side, with its text."""

    effort: Literal["minute", "hour", "money"]
    answer_by: Instant | None = None
    text: Annotated[
        str | None, Field(description="The text of a customer's ask, where the server keeps your signing key.")
    ] = None
    in_return: Annotated[str, Field(description="The customer's offer in return.")] | None = None


class FavourBalance(Model):
    """The number of favours that each side did within 365 days."""

    by_us: int
    by_them: int

    @staticmethod
    def of(state: Connection, side: Side, now: int) -> "FavourBalance":
        """The balance at `now` (ms), as `side` sees it."""
        first, second = favours.balance(state, now)
        by_us, by_them = (first, second) if side == "first" else (second, first)
        return FavourBalance(by_us=by_us, by_them=by_them)


class AskPermission(Model):
    """Whether you may ask for a favour now."""

    status: Annotated[AskStatus, Field(description="`free`: you may ask. Every other status is an obstacle.")]
    why: str
    ends_at: Annotated[Instant, Field(description="The end of the obstacle, where you may know it.")] | None = None


class Favours(Model):
    """The favours between you and a customer. Nobody else sees them."""

    object: Literal["favours"] = "favours"
    asked_by_us: AskDetails | None = None
    asked_by_them: AskDetails | None = None
    balance: FavourBalance
    may_ask: AskPermission


class _Kind(NamedTuple):
    """The only member of an ask that the rule for asks reads."""

    kind: str


def ask_status(state: Connection, side: Side, kind: str, at: int, zones: ZoneRules) -> tuple[AskStatus, int | None]:
    """(the obstacle to an ask of `side` at `at` (ms), its end (ms) if the side may know it)."""
    if state.phase == "ended":
        return "ended", None
    if state.recovering:
        return "recovering", None
    found: AskStatus = RULES["ask"].guard(Case(state, side, _Kind(kind), at, zones))  # type: ignore[assignment]
    door = state.door(side)
    if found == "cooling":
        return found, favours.cooldown_until(door, at)
    if found == "after_notice":
        return found, door.noticed + favours.COOL_AFTER_NOTICE
    if found == "spent":
        recent = [it for it in door.asked if it > at - favours.ASK_BUDGET.seconds * 1000]
        return found, recent[-favours.ASK_BUDGET.max] + favours.ASK_BUDGET.seconds * 1000
    if found in ("not_now", "over_budget"):
        purpose = "renewal" if kind == "renewal" else "favour"
        return found, reasons.hold_end(gate.may(state, side, purpose, "app", None, at, zones))
    return found, None


def _may_ask(state: Connection, side: Side, kind: str, at: int, zones: ZoneRules) -> AskPermission:
    status, ends_at = ask_status(state, side, kind, at, zones)
    return AskPermission(status=status, why=WHY[status], ends_at=None if ends_at is None else instant(ends_at))


async def ask(call: Call) -> Reply:
    """Asks a customer for a favour. A refusal has `may_ask` with the obstacle and its end."""
    cid = call.path["connection"]
    wanted: NewAsk | None = call.body
    if wanted is None:
        return await run_idempotent(call, lambda unit: _ask(call, cid, None, None, unit), (cid,))
    said = {"text": wanted.text} if wanted.in_return is None else {"text": wanted.text, "in_return": wanted.in_return}
    encrypted = await EncryptedBody.prepare(call, cid, said)
    return await run_idempotent(call, lambda unit: _ask(call, cid, wanted, encrypted, unit), (cid,))


async def _ask(call: Call, cid: str, wanted: NewAsk | None, encrypted: EncryptedBody | None, unit: UnitOfWork) -> Reply:
    state, side = load_connection(call, unit, cid)
    fields: dict[str, Any] = {}
    if wanted is not None and encrypted is not None:
        fields = {"kind": wanted.kind, "effort": wanted.effort, "body": encrypted.jwe(state, side)}
        if wanted.answer_by is not None:
            fields["by"] = seconds(wanted.answer_by)
    kind = str(fields.get("kind") or getattr(call.signed and call.signed.payload, "kind", ""))
    at = max(unit.now, state.at + 1)
    told = _may_ask(state, side, kind, at, unit.context.zones)
    try:
        event = acts.acceptance_of(await acts.apply_act(call, unit, cid, "ask", **fields))
    except Refused as refused:
        if told.status == "free" or refused.code == "signing_key_not_kept":
            raise
        return refusal(call, refused, {"may_ask": told.model_dump(exclude_none=True)})
    mine = unit.states[cid].door(side).ask
    ends = None if mine is None or mine.id != event.act else instant(mine.ends_at)
    return Reply.of(CreatedAsk(id=event.act, asked_at=instant(event.at), ends_at=ends), 201, act_location(event))


async def get_favours(call: Call) -> Reply:
    """Reads the last ask of each side, the balance, and whether the business may ask."""
    state, side = await acts.read_connection(call)
    now = max(call.server.clock.now(), state.at)
    return Reply.of(
        Favours(
            asked_by_us=await _ask_details(call, state, side, now),
            asked_by_them=await _ask_details(call, state, other(side), now),
            balance=FavourBalance.of(state, side, now),
            may_ask=_may_ask(state, side, "", now, call.server.context.zones),
        )
    )


async def _ask_details(call: Call, state: Connection, asker: Side, now: int) -> AskDetails | None:
    """The last ask of a side, with its text if the server can decrypt it."""
    last = state.door(asker).ask
    stored = None if last is None else await call.server.store.act(last.id)
    if last is None or stored is None:
        return None
    payload = open_act(stored.raw, call.server.directory.find_key).payload
    assert isinstance(payload, Ask)
    said = decrypt_for_business(call.server.context.kept, call.business.did, payload.body, state.cid) or {}
    return AskDetails(
        **dict(ask_summary(last, now)),
        effort=payload.effort,
        answer_by=None if payload.by is None else instant(payload.by * 1000),
        text=said["text"] if isinstance(said.get("text"), str) else None,
        in_return=said["in_return"] if isinstance(said.get("in_return"), str) else None,
    )


def _ask_id(call: Call) -> str:
    """The ask in the path. Raises Malformed if a signed act names another, Refused if it is not the id of an act."""
    if not _HASH.match(call.path["ask"]):
        raise Refused("no_such_ask")
    return id_in_path(call, "ask")


async def answer(call: Call) -> Reply:
    """Answers the customer's ask."""
    ask_, wanted = _ask_id(call), call.body
    if wanted is None:
        return await submit_act(call, "answer")
    return await submit_act(call, "answer", {"ask": ask_, "answer": wanted.answer}, {"text": wanted.text})


async def done(call: Call) -> Reply:
    """States that the favour is done."""
    return await submit_act(call, "done", {"ask": _ask_id(call)})


async def thank(call: Call) -> Reply:
    """Thanks the customer for the favour."""
    ask_, wanted = _ask_id(call), call.body
    return await submit_act(call, "thank", {"ask": ask_}, None if wanted is None else {"text": wanted.text})


_TAG = "favours"
ROUTES = (
    Route(
        "POST",
        "/connections/{connection}/favours",
        "favours:write",
        ask,
        "askFavour",
        "Ask a customer for a favour",
        _TAG,
        description="One ask at a time. A refusal has `may_ask`: the obstacle, and its end where you may know it.",
        body=NewAsk,
        answer=CreatedAsk,
        statuses=(201,),
        codes=(
            "ask_open",
            "cooling_down",
            "after_exempt_notice",
            "ask_budget",
            "no_grant",
            "already_has",
            "no_interest",
            "topic_needed",
            "not_now",
            "over_budget",
            "by_passed",
        ),
        act="ask",
    ),
    Route(
        "GET",
        "/connections/{connection}/favours",
        "connections:read",
        get_favours,
        "getFavours",
        "Get the favours of a connection",
        _TAG,
        description="The last ask of each side, the number of favours that each did, and whether you may ask.",
        answer=Favours,
    ),
    Route(
        "POST",
        "/connections/{connection}/favours/{ask}/answer",
        "favours:write",
        answer,
        "answerFavour",
        "Answer a customer's ask",
        _TAG,
        description="Yes, no or not now. No reason is needed.",
        body=AskAnswer,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("no_such_ask",),
        act="answer",
    ),
    Route(
        "POST",
        "/connections/{connection}/favours/{ask}/done",
        "favours:write",
        done,
        "completeFavour",
        "State that a favour is done",
        _TAG,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("no_such_ask",),
        act="done",
    ),
    Route(
        "POST",
        "/connections/{connection}/favours/{ask}/thank",
        "favours:write",
        thank,
        "thankForFavour",
        "Thank a customer for a favour",
        _TAG,
        body=Thanks,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("no_such_ask",),
        act="thank",
    ),
)
