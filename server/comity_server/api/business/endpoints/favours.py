"""Favours over REST (SAY-8, SAY-9): asking, answering, doing, thanking; the etiquette is the protocol's (FAV-1 to
FAV-10)."""

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
from comity_server.api.business.act_response import ActTaken, at_hand, place_of, take, the_one_named
from comity_server.api.business.idempotency import change
from comity_server.api.business.outgoing import Sealing, opened
from comity_server.api.business.refusals import refusal
from comity_server.api.business.representations import ShownAsk, ask_of
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Due, Hash, Instant, Model, Text, instant, seconds
from comity_server.writer.unit_of_work import UnitOfWork

Stand = Literal[
    "free", "open", "cooling", "after_notice", "spent", "no_grant", "already_has", "no_interest", "topic_needed",
    "not_now", "over_budget", "recovering", "ended",
]  # fmt: skip

WHY: dict[Stand, str] = {
    "free": "You may ask.",
    "open": "Your last ask is still open. You may ask again when it is answered, or has ended by itself.",
    "cooling": "They said no, not now, or nothing, a short while ago. Give them time.",
    "after_notice": "You sent a notice of safety, security or law within the last day. Do not ask on its heels.",
    "spent": "You have asked six times within 30 days. That is enough for now.",
    "no_grant": "They have not allowed you to ask for favours, or no longer.",
    "already_has": "They say that your favours were sales, and they already have what this would be about.",
    "no_interest": "They say that your favours were sales of something that is of no interest to them.",
    "topic_needed": "They say that your favours were sales, and have, or do not want, something of this kind.",
    "not_now": reasons.WHY["not_now"].partition(" A message")[0] + " An ask is never held: come again later.",
    "over_budget": "As much as they allow within this time has reached them. Ask when there is room again.",
    "recovering": reasons.WHY["recovering"],
    "ended": reasons.WHY["ended"],
}
"""What stands in the way of asking, in words: the values of the rule for an ask (FAV-8), and the end."""
_HASH = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")

Said = Annotated[Text, Field(description="For people; it is encrypted for your customer.")]


class NewAsk(Model):
    """A favour that you ask of a customer."""

    kind: Annotated[Token, Field(description="What sort of favour, in your words.", examples=["review"])]
    effort: Annotated[Literal["minute", "hour", "money"], Field(description="What it costs: time, or money's worth.")]
    text: Annotated[Text, Field(examples=["Would you tell your neighbours how you like the windows?"])]
    in_return: Annotated[Text, Field(examples=["We clean them once, for nothing."])] | None = None
    answer_by: Annotated[Due, Field(description="Until when; it ends after 30 days in any case.")] | None = None


class MadeAsk(Model):
    """The ask has reached your customer."""

    ask: Annotated[Hash, Field(description="Its id: that of its act.")]
    at: Instant
    ends_at: Annotated[Instant, Field(description='When it ends by itself, unanswered, as "not now".')] | None = None


class AskAnswer(Model):
    """Yes, no or not now; no reason is needed."""

    answer: Literal["yes", "no", "not_now"]
    text: Said | None = None


class Thanks(Model):
    """Thanks for a favour that was done."""

    text: Said | None = None


class AskInFull(ShownAsk):
    """The last ask of one side, with all that you may have of it."""

    effort: Literal["minute", "hour", "money"]
    answer_by: Instant | None = None
    text: Annotated[str, Field(description="What they ask, as they wrote it; where your key is kept here.")] | None = (
        None
    )
    in_return: Annotated[str, Field(description="What they offer in return, as they wrote it.")] | None = None


class FavourBalance(Model):
    """Favours done within 365 days: numbers, no money, and no score."""

    by_us: int
    by_them: int

    @staticmethod
    def of(state: Connection, side: Side, now: int) -> "FavourBalance":
        """The balance at `now` (ms), as `side` sees it."""
        first, second = favours.balance(state, now)
        by_us, by_them = (first, second) if side == "first" else (second, first)
        return FavourBalance(by_us=by_us, by_them=by_them)


class MayAsk(Model):
    """Whether you may ask for a favour now."""

    now: bool
    reason: Stand
    why: str
    again_at: Annotated[Instant, Field(description="When this reason ends, where that is known.")] | None = None


class Favours(Model):
    """How it stands with favours between the two of you; nobody else sees it."""

    asked_by_us: AskInFull | None = None
    asked_by_them: AskInFull | None = None
    balance: FavourBalance
    may_ask: MayAsk


class _Kind(NamedTuple):
    """All that the rule for an ask looks at of an ask."""

    kind: str


def stands(state: Connection, side: Side, kind: str, at: int, zones: ZoneRules) -> tuple[Stand, int | None]:
    """(what stands in the way of an ask of `side` at `at` (ms), when (ms) that ends, as far as the side may know)."""
    if state.phase == "ended":
        return "ended", None
    if state.recovering:
        return "recovering", None
    found: Stand = RULES["ask"].guard(Case(state, side, _Kind(kind), at, zones))  # type: ignore[assignment]
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
        return found, reasons.until(gate.may(state, side, purpose, "app", None, at, zones))
    return found, None


def _may_ask(state: Connection, side: Side, kind: str, at: int, zones: ZoneRules) -> MayAsk:
    reason, again = stands(state, side, kind, at, zones)
    told = None if again is None else instant(again)
    return MayAsk(now=reason == "free", reason=reason, why=WHY[reason], again_at=told)


async def ask(call: Call) -> Reply:
    """Ask a favour. Refused, it says why in words, and when one may ask again."""
    cid = call.path["connection"]
    wanted: NewAsk | None = call.body
    if wanted is None:
        return await change(call, lambda group: _ask(call, cid, None, None, group), (cid,))
    said = {"text": wanted.text} if wanted.in_return is None else {"text": wanted.text, "in_return": wanted.in_return}
    sealing = await Sealing.ahead(call, cid, said)
    return await change(call, lambda group: _ask(call, cid, wanted, sealing, group), (cid,))


async def _ask(call: Call, cid: str, wanted: NewAsk | None, sealing: Sealing | None, group: UnitOfWork) -> Reply:
    state, side = at_hand(call, group, cid)
    fields: dict[str, Any] = {}
    if wanted is not None and sealing is not None:
        fields = {"kind": wanted.kind, "effort": wanted.effort, "body": sealing.text(state, side)}
        if wanted.answer_by is not None:
            fields["by"] = seconds(wanted.answer_by)
    kind = str(fields.get("kind") or getattr(call.signed and call.signed.payload, "kind", ""))
    at = max(group.now, state.at + 1)
    told = _may_ask(state, side, kind, at, group.grounds.zones)
    try:
        event = acts.accepted(await acts.act(call, group, cid, "ask", **fields))
    except Refused as refused:
        if told.now or refused.code == "signing_key_not_kept":
            raise
        return refusal(call, refused, {"may_ask": told.model_dump(exclude_none=True)})
    mine = group.states[cid].door(side).ask
    ends = None if mine is None or mine.id != event.act else instant(mine.ends_at)
    return Reply.of(MadeAsk(ask=event.act, at=instant(event.at), ends_at=ends), 201, place_of(event))


async def get_favours(call: Call) -> Reply:
    """The last ask of each side, the balance, and whether one may ask."""
    state, side = await acts.own_connection(call)
    now = max(call.server.clock.now(), state.at)
    return Reply.of(
        Favours(
            asked_by_us=await _seen(call, state, side, now),
            asked_by_them=await _seen(call, state, other(side), now),
            balance=FavourBalance.of(state, side, now),
            may_ask=_may_ask(state, side, "", now, call.server.grounds.zones),
        )
    )


async def _seen(call: Call, state: Connection, asker: Side, now: int) -> AskInFull | None:
    """The last ask of a side, with its words where the business's key is kept and opens them."""
    last = state.door(asker).ask
    stored = None if last is None else await call.server.store.act(last.id)
    if last is None or stored is None:
        return None
    payload = open_act(stored.raw, call.server.directory.find_key).payload
    assert isinstance(payload, Ask)
    said = opened(call.server.grounds.kept, call.business.did, payload.body, state.cid) or {}
    return AskInFull(
        **dict(ask_of(last, now)),
        effort=payload.effort,
        answer_by=None if payload.by is None else instant(payload.by * 1000),
        text=said["text"] if isinstance(said.get("text"), str) else None,
        in_return=said["in_return"] if isinstance(said.get("in_return"), str) else None,
    )


def _named(call: Call) -> str:
    """The ask in the path. Raises Malformed where a signed act names another, Refused for what is no id at all."""
    if not _HASH.match(call.path["ask"]):
        raise Refused("no_such_ask")
    return the_one_named(call, "ask")


async def answer(call: Call) -> Reply:
    """Answer what the other side asked."""
    ask_, wanted = _named(call), call.body
    if wanted is None:
        return await take(call, "answer")
    return await take(call, "answer", {"ask": ask_, "answer": wanted.answer}, {"text": wanted.text})


async def done(call: Call) -> Reply:
    """Say that the favour is done."""
    return await take(call, "done", {"ask": _named(call)})


async def thank(call: Call) -> Reply:
    """Thank for the favour."""
    ask_, wanted = _named(call), call.body
    return await take(call, "thank", {"ask": ask_}, None if wanted is None else {"text": wanted.text})


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
        description="One at a time, not on the heels of a no, and never while they want to be left alone: a refusal "
        "says in `may_ask` why, and when you may ask again.",
        body=NewAsk,
        answer=MadeAsk,
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
        "How it stands with favours",
        _TAG,
        description="The last ask of each of you, how many favours each did for the other, and whether you may ask.",
        answer=Favours,
    ),
    Route(
        "POST",
        "/connections/{connection}/favours/{ask}/answer",
        "favours:write",
        answer,
        "answerFavour",
        "Answer what a customer asks of you",
        _TAG,
        description="Yes, no or not now; no reason is needed.",
        body=AskAnswer,
        answer=ActTaken,
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
        "Say that a favour is done",
        _TAG,
        answer=ActTaken,
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
        answer=ActTaken,
        statuses=(201,),
        codes=("no_such_ask",),
        act="thank",
    ),
)
