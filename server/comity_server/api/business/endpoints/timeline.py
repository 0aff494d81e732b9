"""The timeline of a connection, and its acts (spec/business-offers.md).

The timeline is that of `comity.rules.timeline`, the same for both sides (CONN-21). The API key and the seat of the
business's own acts are added for the business alone (INV-13).
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pydantic import Field

from comity.documents.acts import SignedAct, open_act
from comity.documents.events import Accepted, parse_event
from comity.documents.types import Side
from comity.encoding import b64u_decode
from comity.errors import Refused
from comity.rules.fold import Record
from comity.rules.timeline import TimelineEntry, timeline
from comity_server.api.business.acts import read_connection
from comity_server.api.business.pagination import (
    AFTER_ALL,
    BEFORE_ALL,
    NextCursor,
    Order,
    Page,
    page_start,
    seal_cursor,
)
from comity_server.api.business.received import Bodies, decrypt_bodies
from comity_server.api.business.route import Call, Reply, Route
from comity_server.reads.connections import accepted_in
from comity_server.schema import Cid, Hash, Instant, Model, Who, instant, who
from comity_server.store.business import Doing, Happened

_LET_GO = ("delivered", "expired")
"""Kinds of items that no API key caused: the end of a held message."""
_LINK = {"iss", "aud", "iat", "cid", "seq", "prev", "act", "body"}
"""Members of an act that `payload` leaves out: the answer has them in other members."""


class Actor(Model):
    """The API key that sent an act of yours, and the seat of that key."""

    api_key: str = Field(description="The API key's id.", examples=["key_9gkCkfxbKDl2rZ0q"])
    seat: str | None = None


class TimelineItem(Model):
    """An item of the timeline."""

    happened_at: Instant
    by: Who | None = Field(default=None, description="The side that acted. Absent for the opening.")
    kind: str = Field(examples=["message"])
    about: str | None = Field(
        default=None, description="A purpose, topic, kind of favour, channel or day.", examples=["care"]
    )
    status: str | None = Field(
        default=None, description="The status of a message, a verdict, an answer or a reason.", examples=["delivered"]
    )
    act: Hash | None = Field(default=None, description="The act's id.")
    body: dict[str, Any] | None = Field(
        default=None,
        description="The words of your customer in an ask, an answer, thanks, a milestone or a note. Present where the "
        "server keeps your signing key.",
    )
    done_by: Actor | None = None


class Timeline(Model):
    """A page of the timeline."""

    object: Literal["list"] = "list"
    items: tuple[TimelineItem, ...]
    next_cursor: NextCursor | None = None


class TimelineQuery(Page):
    """The page of a timeline."""

    order: Order = "newest"


class ActDetails(Model):
    """An act. The text of a held message of the customer is left out."""

    id: Hash
    object: Literal["act"] = "act"
    connection: Cid
    by: Who
    kind: str
    accepted_at: Instant
    status: Literal["delivered", "held", "dropped"] | None = Field(
        default=None, description="The status of a message at its acceptance."
    )
    payload: dict[str, Any] | None = Field(
        default=None,
        description="The members of the signed act, with the names and the times in seconds of spec/act.md. Absent for"
        " a held or dropped message of the customer.",
    )
    body: dict[str, Any] | None = Field(
        default=None, description="The decrypted body of a customer's act, where the server keeps your signing key."
    )
    event: str = Field(description="The server's signed acceptance (JWS).")
    jws: str | None = Field(default=None, description="The signed act.")
    receipt: str | None = Field(default=None, description="The proof that the act is in the log.")
    delivery: str | None = Field(default=None, description="The proof that its delivery is in the log.")
    done_by: Actor | None = None


async def get_timeline(call: Call) -> Reply:
    """Lists the timeline of a connection."""
    query: TimelineQuery = call.query
    state, side = await read_connection(call)
    newest = query.order == "newest"
    what = f"timeline of {state.cid}, {query.order} first"
    at, _ = page_start(call, what, AFTER_ALL if newest else BEFORE_ALL)
    store = call.server.store.business
    rows = await store.history(state.cid, at, query.limit + 1, newest=newest)
    page = rows[: query.limit]
    records = [_record(call, row) for row in page]
    words = await decrypt_bodies(
        call, (record.act for record in records if record.act is not None and _is_theirs(record, side))
    )
    doings = await store.doings(state.cid)
    items = [_timeline_item(moment, side, doings, words) for moment in timeline(records)]
    cursor = seal_cursor(call, what, page[-1].at, "") if len(rows) > len(page) else None
    return Reply.of(Timeline(items=_in_order(items, newest), next_cursor=cursor))


def _in_order(items: Sequence[TimelineItem], newest: bool) -> tuple[TimelineItem, ...]:
    return tuple(reversed(items)) if newest else tuple(items)


def _record(call: Call, row: Happened) -> Record:
    event = parse_event(b64u_decode(row.event.split(".")[1]))
    # The purpose and topic of a message are in its acceptance, which is all that both sides have of a held one.
    is_act = isinstance(event, Accepted) and event.kind != "message" and row.raw is not None
    return Record(event, _open_act(call, str(row.raw)) if is_act else None)


def _is_theirs(record: Record, side: Side) -> bool:
    return isinstance(record.event, Accepted) and record.event.side != side


def _open_act(call: Call, raw: str) -> SignedAct:
    return open_act(raw, call.server.directory.find_key)


def _timeline_item(moment: TimelineEntry, side: Side, doings: dict[str, Doing], words: Bodies) -> TimelineItem:
    return TimelineItem(
        happened_at=instant(moment.at),
        by=None if moment.side is None else who(moment.side, side),
        kind=moment.kind,
        about=moment.about,
        status=moment.outcome,
        act=moment.act,
        body=words.get(moment.act or ""),
        done_by=None if moment.kind in _LET_GO or moment.act is None else _done_by(doings.get(moment.act)),
    )


def _done_by(doing: Doing | None) -> Actor | None:
    return None if doing is None else Actor(api_key=doing.key_id, seat=doing.seat)


async def get_act(call: Call) -> Reply:
    """Reads an act of the connection (INV-14)."""
    state, side = await read_connection(call)
    stored = await call.server.store.act(call.path["id"])
    if stored is None or stored.cid != state.cid:
        raise Refused("not_found")
    found = msgspec.json.decode(await call.server.answers.act(call.path["id"], call.business.did))
    event = accepted_in(found["event"])
    act = _open_act(call, found["act"]) if "act" in found else None
    doings = await call.server.store.business.doings(state.cid)
    return Reply.of(
        ActDetails(
            id=event.act,
            connection=state.cid,
            by=who(event.side, side),
            kind=event.kind,
            accepted_at=instant(event.at),
            status=event.outcome,
            payload=None if act is None else act.payload.model_dump(mode="json", exclude=_LINK, exclude_none=True),
            body=None if act is None or event.side == side else (await decrypt_bodies(call, [act])).get(act.id),
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
        "List the timeline of a connection",
        _TAG,
        description=(
            "The same items that the customer sees. Your own acts have the API key and the seat as well. The text of a"
            " message is in its act. The timeline has no private settings."
        ),
        query=TimelineQuery,
        answer=Timeline,
    ),
    Route(
        "GET",
        "/connections/{connection}/acts/{id}",
        "connections:read",
        get_act,
        "getAct",
        "Get an act, with its signature and its proof",
        _TAG,
        description="A held message of the customer comes without its contents.",
        answer=ActDetails,
    ),
)
