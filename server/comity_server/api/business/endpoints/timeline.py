"""What happened in a connection, page by page, and each act in full (spec/business-offers.md).

The facts are those of `comity.rules.timeline`, the same for both sides (CONN-21). The business also reads which member
of its staff did an act of its own (INV-13).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import Field

from comity.documents.acts import SignedAct, open_act
from comity.documents.events import Accepted, parse_event
from comity.documents.types import Side
from comity.encoding import b64u_decode
from comity.errors import Refused
from comity.rules.fold import Record
from comity.rules.timeline import TimelineEntry, timeline
from comity_server.api.business.acts import own_connection
from comity_server.api.business.pagination import FIRST, LAST, NextCursor, Order, Page, behind, cursor_of
from comity_server.api.business.received import Words, words_in
from comity_server.api.business.route import Call, Reply, Route
from comity_server.reads.connections import accepted_in
from comity_server.schema import Cid, Hash, Instant, Model, Who, instant
from comity_server.store.business import Doing, Happened

_LET_GO = ("delivered", "expired")
"""What became of a message that waited: nobody did that."""
_LINK = {"iss", "aud", "iat", "cid", "seq", "prev", "act", "body"}
"""Members that every act has, or that are told by themselves."""


class DoneBy(Model):
    """By which API key, and for which seat, an act of yours was done."""

    key: str = Field(examples=["key_9gkCkfxbKDl2rZ0q"])
    seat: str | None = None


class TimelineItem(Model):
    """One thing that happened."""

    at: Instant
    by: Who | None = Field(default=None, description="Whose it was; the opening is nobody's.")
    kind: str = Field(examples=["message"])
    about: str | None = Field(
        default=None, description="A purpose, a topic, a kind of favour, a channel, a day.", examples=["care"]
    )
    outcome: str | None = Field(default=None, description="What became of it.", examples=["delivered"])
    act: Hash | None = None
    body: dict[str, Any] | None = Field(
        default=None,
        description="The words of your customer in an ask, an answer, thanks, a milestone or a note. Present where the "
        "server keeps your signing key.",
    )
    done_by: DoneBy | None = None


class Timeline(Model):
    """A page of what happened."""

    items: tuple[TimelineItem, ...]
    next_cursor: NextCursor | None = None


class TimelinePage(Page):
    """The page of a timeline."""

    order: Order = "newest"


class ActInFull(Model):
    """An act, as far as you may have it."""

    act: Hash
    connection: Cid
    by: Who
    kind: str
    at: Instant
    outcome: str | None = Field(default=None, description="Of a message: delivered, held or dropped at first.")
    members: dict[str, Any] | None = Field(
        default=None, description="What the act says, as spec/act.md names it; absent where it is not for you (yet)."
    )
    body: dict[str, Any] | None = Field(
        default=None, description="The words in it, where they are for you and your key is kept here."
    )
    event: str = Field(description="The server's signed acceptance (JWS).")
    jws: str | None = Field(default=None, description="The act itself.")
    receipt: str | None = Field(default=None, description="The proof that it is in the log.")
    delivery: str | None = Field(default=None, description="The same of its delivery.")
    done_by: DoneBy | None = None


async def get_timeline(call: Call) -> Reply:
    """What happened in the connection."""
    query: TimelinePage = call.query
    state, side = await own_connection(call)
    newest = query.order == "newest"
    what = f"timeline of {state.cid}, {query.order} first"
    at, _ = behind(call, what, LAST if newest else FIRST)
    store = call.server.store.business
    rows = await store.history(state.cid, at, query.limit + 1, newest=newest)
    page = rows[: query.limit]
    records = [_record(call, row) for row in page]
    words = await words_in(call, (it.act for it in records if it.act is not None and _is_theirs(it, side)))
    doings = await store.doings(state.cid)
    items = [_shown(moment, side, doings, words) for moment in timeline(records)]
    cursor = cursor_of(call, what, page[-1].at, "") if len(rows) > len(page) else None
    return Reply.of(Timeline(items=_ordered(items, newest), next_cursor=cursor))


def _ordered(items: Sequence[TimelineItem], newest: bool) -> tuple[TimelineItem, ...]:
    return tuple(reversed(items)) if newest else tuple(items)


def _record(call: Call, row: Happened) -> Record:
    event = parse_event(b64u_decode(row.event.split(".")[1]))
    # What a message was about is in its acceptance, and is all that both sides have of one that waits.
    is_act = isinstance(event, Accepted) and event.kind != "message" and row.raw is not None
    return Record(event, _opened(call, str(row.raw)) if is_act else None)


def _is_theirs(record: Record, side: Side) -> bool:
    return isinstance(record.event, Accepted) and record.event.side != side


def _opened(call: Call, raw: str) -> SignedAct:
    return open_act(raw, call.server.directory.find_key)


def _shown(moment: TimelineEntry, side: Side, doings: dict[str, Doing], words: Words) -> TimelineItem:
    return TimelineItem(
        at=instant(moment.at),
        by=None if moment.side is None else _who(moment.side, side),
        kind=moment.kind,
        about=moment.about,
        outcome=moment.outcome,
        act=moment.act,
        body=words.get(moment.act or ""),
        done_by=None if moment.kind in _LET_GO or moment.act is None else _done_by(doings.get(moment.act)),
    )


def _who(by: Side, own: Side) -> Who:
    return "us" if by == own else "them"


def _done_by(doing: Doing | None) -> DoneBy | None:
    return None if doing is None else DoneBy(key=doing.key_id, seat=doing.seat)


async def get_act(call: Call) -> Reply:
    """One act of the connection, as far as the business may have it (INV-14)."""
    state, side = await own_connection(call)
    stored = await call.server.store.act(call.path["id"])
    if stored is None or stored.cid != state.cid:
        raise Refused("not_found")
    found = msgspec.json.decode(await call.server.answers.act(call.path["id"], call.business.did))
    event = accepted_in(found["event"])
    act = _opened(call, found["act"]) if "act" in found else None
    doings = await call.server.store.business.doings(state.cid)
    return Reply.of(
        ActInFull(
            act=event.act,
            connection=state.cid,
            by=_who(event.side, side),
            kind=event.kind,
            at=instant(event.at),
            outcome=event.outcome,
            members=None if act is None else act.payload.model_dump(mode="json", exclude=_LINK, exclude_none=True),
            body=None if act is None or event.side == side else (await words_in(call, [act])).get(act.id),
            event=found["event"],
            jws=found.get("act"),
            receipt=found.get("receipt"),
            delivery=found.get("delivery"),
            done_by=_done_by(doings.get(event.act)),
        )
    )


_TAG = "connections"
ROUTES = (
    Route(
        "GET",
        "/connections/{connection}/timeline",
        "connections:read",
        get_timeline,
        "listTimeline",
        "What happened in a connection",
        _TAG,
        description=(
            "The same facts that the customer sees, and for your own acts also who did them. The words of a message are"
            " in its act. Settings of the customer's are no part of it."
        ),
        query=TimelinePage,
        answer=Timeline,
    ),
    Route(
        "GET",
        "/connections/{connection}/acts/{id}",
        "connections:read",
        get_act,
        "getAct",
        "One act: what was signed, and the proof of it",
        _TAG,
        description="A message of the customer's that waits comes without its contents.",
        answer=ActInFull,
    ),
)
