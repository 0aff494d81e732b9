"""What is new for a business: polled with a cursor, waited for, or streamed as it comes (spec/notification.md)."""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import hdrs, web
from pydantic import AfterValidator, Field

from comity.errors import Malformed, Refused
from comity.http_api import LONGEST_WAIT, PAGE
from comity_server.api.business.route import NOTIFICATIONS, Call, Reply, Route
from comity_server.api.http import event_stream, stream_head, wants_stream
from comity_server.reads.business_events import CATALOGUE, BusinessEvent, Notification, happening
from comity_server.reads.inbox import must_be_kept
from comity_server.schema import Cursor, Digits, Due, Limit, Model, Query, milliseconds

MOST_PAGES = 5
"""Pages of rows that one look goes through for the types that are asked for; whoever gets a cursor goes on (NEWS-7)."""
LOOK_UP = 3
"""Seconds after which whoever waits is asked again whether his key is still good (NEWS-9)."""


def _types(value: str) -> str:
    if not set(value.split(",")) <= set(CATALOGUE):
        raise ValueError("a type that is not in the catalogue")
    return value


class NotificationsQuery(Query):
    """Where to begin, what to leave out, and how long to wait."""

    cursor: Cursor | None = Field(
        default=None, description="The `cursor` of the page before; without it, from the start."
    )
    since: Due | None = Field(
        default=None,
        description="In the place of a cursor: begin with what was told at this time.",
        examples=["2026-11-21T10:00:00Z"],
    )
    limit: Limit = PAGE
    wait: Annotated[int, Field(ge=0, le=LONGEST_WAIT), Digits] = Field(
        default=0, description="Seconds to wait where nothing is new; the answer comes as soon as something is."
    )
    types: Annotated[str, Field(max_length=1000), AfterValidator(_types)] | None = Field(
        default=None,
        description="Only these types, with commas between.",
        examples=["message.received,connection.revoked"],
    )


class Notifications(Model):
    """What is new, in the order in which it was told. There may be more: go on with the cursor."""

    items: tuple[Notification, ...]
    cursor: Cursor


class _Reader:
    """One caller's way through the stream of his business."""

    def __init__(self, call: Call, after: int) -> None:
        self._call = call
        self._types = None if call.query.types is None else set(call.query.types.split(","))
        self.after = after
        """The row behind which the next look begins."""

    async def look(self, most: int) -> tuple[list[tuple[int, BusinessEvent]], bool]:
        """(up to `most` happenings, each with its row; whether there is nothing behind them)."""
        server, business = self._call.server, self._call.business
        found: list[tuple[int, BusinessEvent]] = []
        for _ in range(MOST_PAGES):
            rows = await server.store.news(business.did, self.after, PAGE)
            for row in rows:
                if len(found) == most:
                    return found, False
                self.after = row.n
                told = happening(row, business, server.happening_ids)
                if told is not None and (self._types is None or told.type in self._types):
                    found.append((row.n, told))
            if len(rows) < PAGE:
                return found, True
        return found, False

    def cursor(self, n: int | None = None) -> str:
        """The cursor behind row `n`, or behind all that was looked at."""
        place = (self.after if n is None else n).to_bytes(8, "big")
        return self._call.server.cursors.seal(_list(self._call), place)

    def may_go_on(self) -> bool:
        """Whether the key is still one that may read (NEWS-9)."""
        server, name = self._call.server, self._call.business.name
        key = server.grounds.keyring.get(name, self._call.key.id)
        return key is not None and key.is_in_force(server.clock.now())


async def get_notifications(call: Call) -> Reply | web.StreamResponse:
    """A page, at once or after a wait, or a stream, for whoever accepts one."""
    as_stream = wants_stream(call.request)
    reader = _Reader(call, await _place(call, call.request.headers.get("Last-Event-ID") if as_stream else None))
    if as_stream and call.request.method == hdrs.METH_HEAD:
        return stream_head()
    if as_stream:
        return await _stream(call, reader)
    found, is_all = await reader.look(call.query.limit)
    if not found and is_all and call.query.wait:
        found = await _waited(call, reader)
    items = [msgspec.Raw(told.json()) for _, told in found]
    return Reply(body=msgspec.json.encode({"items": items, "cursor": reader.cursor()}))


def _list(call: Call) -> str:
    return f"notifications {call.business.did}"


async def _place(call: Call, last_event_id: str | None) -> int:
    """The row to begin behind. Raises Malformed, also for a cursor of another business; Refused("cursor_expired")."""
    cursor = last_event_id or call.query.cursor
    if cursor is not None:
        if call.query.since is not None and not last_event_id:
            raise Malformed("begin at a cursor or at a time", errors=(("/since", "there is a cursor as well"),))
        place = int.from_bytes(call.server.cursors.open(_list(call), cursor), "big")
        for row in await call.server.store.news(call.business.did, place, 1):
            must_be_kept(row)
        return place
    if call.query.since is None:
        return 0
    return await call.server.store.business.news_place(call.business.did, milliseconds(call.query.since))


async def _waited(call: Call, reader: _Reader) -> list[tuple[int, BusinessEvent]]:
    """What comes within the time that the caller waits. Raises Refused."""
    until = asyncio.get_running_loop().time() + call.query.wait
    with call.server.bell.listen(call.business.did, call.business.did) as listening:
        while True:
            found, is_all = await reader.look(call.query.limit)
            left = until - asyncio.get_running_loop().time()
            if found or not is_all or left <= 0 or call.server.bell.closed:
                return found
            await listening.rung(min(left, LOOK_UP))
            if not reader.may_go_on():
                raise Refused("api_key_required")


async def _stream(call: Call, reader: _Reader) -> web.StreamResponse:
    """Everything as it comes, until the server stops, the key ends, or nobody listens (NEWS-8, NEWS-9). Raises
    Refused."""
    server = call.server
    with server.bell.listen(call.business.did, call.business.did) as listening:
        response = event_stream()
        await response.prepare(call.request)
        async with response:
            while not server.bell.closed and response.is_connected() and reader.may_go_on():
                found, is_all = await reader.look(PAGE)
                for n, told in found:
                    await response.send(told.json().decode("utf-8"), id=reader.cursor(n), event=told.type)
                if is_all:
                    await listening.rung(LOOK_UP)
            response.stop_streaming()
    return response


ROUTES = (
    Route(
        "GET",
        NOTIFICATIONS,
        "notifications:read",
        get_notifications,
        "getNotifications",
        "What is new",
        "notifications",
        description=(
            "What the other sides did, and what became of messages that waited, in the order in which it was told."
            " Ask again with the `cursor` of the answer; with `wait` the answer comes as soon as there is something."
            " Whoever accepts `text/event-stream` gets each notification as a server-sent event: `id` is its cursor,"
            " which comes back in `Last-Event-ID`, `event` its type, `data` the notification. The same notification"
            " has the same id here and in webhooks."
        ),
        query=NotificationsQuery,
        answer=Notifications,
        codes=("overloaded", "cursor_expired"),
        streams=True,
    ),
)
