"""The notifications of a business: a list, the newest first, and a feed that a reader follows from a cursor on, polled,
waited for or streamed (spec/notification.md)."""

import asyncio
from typing import Annotated, Literal

import msgspec
from aiohttp import hdrs, web
from pydantic import AfterValidator, Field

from comity.errors import Malformed, Refused
from comity.http_api import LONGEST_WAIT, PAGE
from comity_server.api.business.pagination import Order, open_cursor
from comity_server.api.business.route import NOTIFICATIONS, Call, InvalidRequest, Reply, Route
from comity_server.api.http import event_stream, stream_head, wants_stream
from comity_server.reads.business_events import CATALOGUE, BusinessEvent, Notification, business_event
from comity_server.reads.inbox import must_be_kept
from comity_server.schema import Cursor, Digits, Due, Limit, Model, Query, milliseconds
from comity_server.store.rows import News

MOST_PAGES = 5
"""Pages of rows that one look goes through to find notifications of the types in the query (NEWS-7)."""
LOOK_UP = 3
"""Seconds between two checks that the API key of a waiting reader is still in force (NEWS-9)."""
END = 2**62
"""A row behind every row of a stream."""


def _types(value: str) -> str:
    if not set(value.split(",")) <= set(CATALOGUE):
        raise ValueError("a type that is not in the catalogue")
    return value


class NotificationQuery(Query):
    """The order, the first notification, the types, and how long to wait."""

    cursor: Cursor | None = Field(
        default=None, description="The `next_cursor` of the page before. Without it, the first page."
    )
    since: Due | None = Field(
        default=None,
        description="Only notifications from this time on. With `order=oldest` not beside `cursor`.",
        examples=["2026-11-21T10:00:00Z"],
    )
    limit: Limit = PAGE
    order: Order = Field(
        default="newest",
        description="`newest`: a list that goes back in time. `oldest`: a feed to follow; it has a `next_cursor` on "
        "every page, and misses nothing.",
    )
    wait: Annotated[int, Field(ge=0, le=LONGEST_WAIT), Digits] = Field(
        default=0,
        description="With `order=oldest`: seconds to wait for the next notification if there is none yet.",
    )
    types: Annotated[str, Field(max_length=1000), AfterValidator(_types)] | None = Field(
        default=None,
        description="Only these types, separated by commas.",
        examples=["message.received,connection.revoked"],
    )


class NotificationList(Model):
    """A page of notifications. It can be short or empty although more follow."""

    object: Literal["list"] = "list"
    items: tuple[Notification, ...]
    next_cursor: Cursor | None = Field(
        default=None,
        description="Send it back as `cursor` for the next page. With `order=oldest` on every page; else absent on the "
        "last page.",
    )


class _Reader:
    """A reader's place in the stream of its business. `place` is the row behind which, in the reader's order, the next
    look begins; rows up to `least` are left out."""

    def __init__(self, call: Call, place: int, least: int = 0) -> None:
        self._call = call
        self._types = None if call.query.types is None else set(call.query.types.split(","))
        self.place = place
        self.least = least

    async def look(self, most: int) -> tuple[list[tuple[int, BusinessEvent]], bool]:
        """(up to `most` events, each with its row; whether nothing follows them yet)."""
        server, business = self._call.server, self._call.business
        found: list[tuple[int, BusinessEvent]] = []
        for _ in range(MOST_PAGES):
            rows = await self._rows()
            for row in rows:
                if len(found) == most:
                    return found, False
                self.place = row.n
                told = business_event(row, business, server.notification_secret)
                if told is not None and (self._types is None or told.type in self._types):
                    found.append((row.n, told))
            if len(rows) < PAGE:
                return found, True
        return found, False

    async def _rows(self) -> list[News]:
        return await self._call.server.store.news(self._call.business.did, self.place, PAGE)

    def cursor(self, n: int | None = None) -> str:
        """The cursor behind row `n`, or behind every row that was looked at."""
        return _seal(self._call, self.place if n is None else n)

    def may_go_on(self) -> bool:
        """Whether the API key is still in force (NEWS-9)."""
        server, name = self._call.server, self._call.business.name
        key = server.context.keyring.get(name, self._call.key.id)
        return key is not None and key.is_in_force(server.clock.now())


class _BackwardReader(_Reader):
    """The same from the newest row on, back to the row behind `least`."""

    async def _rows(self) -> list[News]:
        rows = await self._call.server.store.news_before(self._call.business.did, self.place, PAGE)
        return [row for row in rows if row.n > self.least]


async def list_notifications(call: Call) -> Reply | web.StreamResponse:
    """A page at once or after a wait, or a stream where the request accepts one."""
    if wants_stream(call.request):
        reader = _Reader(call, await _place(call, call.request.headers.get("Last-Event-ID")))
        return stream_head() if call.request.method == hdrs.METH_HEAD else await _stream(call, reader)
    if call.query.order == "newest":
        return await _newest(call)
    reader = _Reader(call, await _place(call, None))
    found, is_all = await reader.look(call.query.limit)
    if not found and is_all and call.query.wait:
        found = await _wait_for_news(call, reader)
    return _page(found, reader.cursor())


async def _newest(call: Call) -> Reply:
    """A page of the list. Raises Malformed, also for a cursor of the feed."""
    query: NotificationQuery = call.query
    if query.wait:
        raise Malformed("only a feed can be waited for", errors=(("/wait", "only with order=oldest"),))
    place = END if query.cursor is None else int.from_bytes(open_cursor(call, _list(call, newest=True)), "big")
    least = 0
    if query.since is not None:
        least = await call.server.store.business.news_place(call.business.did, milliseconds(query.since))
    reader = _BackwardReader(call, place, least)
    found, is_all = await reader.look(query.limit)
    return _page(found, None if is_all else _seal(call, reader.place, newest=True))


def _page(found: list[tuple[int, BusinessEvent]], next_cursor: str | None) -> Reply:
    members: dict[str, object] = {"object": "list", "items": [msgspec.Raw(told.json()) for _, told in found]}
    if next_cursor is not None:
        members["next_cursor"] = next_cursor
    return Reply(body=msgspec.json.encode(members))


def _list(call: Call, *, newest: bool) -> str:
    return f"notifications{', newest first,' if newest else ''} {call.business.did}"


def _seal(call: Call, n: int, *, newest: bool = False) -> str:
    return call.server.cursors.seal(_list(call, newest=newest), n.to_bytes(8, "big"))


def _cursor(call: Call, last_event_id: str | None) -> bytes:
    """The place in the feed for which the event id, or else the cursor in the query, stands. Raises Malformed,
    InvalidRequest."""
    list_ = _list(call, newest=False)
    if not last_event_id:
        return open_cursor(call, list_)
    try:
        return call.server.cursors.open(list_, last_event_id)
    except Malformed as fault:
        named = Malformed("the event is not one of this feed", errors=(("Last-Event-ID", fault.detail or ""),))
        raise InvalidRequest(named, "header") from None


async def _place(call: Call, last_event_id: str | None) -> int:
    """The row behind which the feed begins. Raises Malformed, also for a cursor of another business or of the list;
    Refused("cursor_expired")."""
    if last_event_id or call.query.cursor is not None:
        if call.query.since is not None and not last_event_id:
            raise Malformed("begin at a cursor or at a time", errors=(("/since", "there is a cursor as well"),))
        place = int.from_bytes(_cursor(call, last_event_id), "big")
        for row in await call.server.store.news(call.business.did, place, 1):
            must_be_kept(row)
        return place
    if call.query.since is None:
        return 0
    return await call.server.store.business.news_place(call.business.did, milliseconds(call.query.since))


async def _wait_for_news(call: Call, reader: _Reader) -> list[tuple[int, BusinessEvent]]:
    """The notifications that come while the request waits. Raises Refused."""
    until = asyncio.get_running_loop().time() + call.query.wait
    with call.server.broker.listen(call.business.did, call.business.did) as listening:
        while True:
            found, is_all = await reader.look(call.query.limit)
            left = until - asyncio.get_running_loop().time()
            if found or not is_all or left <= 0 or call.server.broker.closed:
                return found
            await listening.rung(min(left, LOOK_UP))
            if not reader.may_go_on():
                raise Refused("api_key_required")


async def _stream(call: Call, reader: _Reader) -> web.StreamResponse:
    """Every notification as it comes, until the server stops, the key ends or the reader leaves (NEWS-8, NEWS-9).
    Raises Refused."""
    server = call.server
    with server.broker.listen(call.business.did, call.business.did) as listening:
        response = event_stream()
        await response.prepare(call.request)
        async with response:
            while not server.broker.closed and response.is_connected() and reader.may_go_on():
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
        list_notifications,
        "listNotifications",
        "List or follow the notifications",
        "notifications",
        description=(
            "Acts of your customers, and the delivery or expiry of held messages. The newest come first, as in every"
            " list. To follow them, ask with `order=oldest`, keep the `next_cursor` of the answer, and send it with the"
            " next request; with `wait` the answer comes as soon as there is something. A request that accepts"
            " `text/event-stream` gets the feed as server-sent events: `id` is a cursor of the feed, which comes back"
            " in `Last-Event-ID`, `event` the type, `data` the notification. A notification has the same id here and in"
            " webhooks."
        ),
        query=NotificationQuery,
        answer=NotificationList,
        codes=("overloaded", "cursor_expired"),
        streams=True,
    ),
)
