"""The inbox of a party: new items by long poll or as a stream."""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple, Protocol

import msgspec

from comity.errors import Refused
from comity.http_api import PAGE
from comity_server.cursors import Cursors
from comity_server.pubsub import Broker
from comity_server.reads.connections import tags
from comity_server.store.rows import News

MOST_BYTES = 1024 * 1024
"""Approximate maximum size of the texts in a page, in bytes."""
PRUNED = "pruned"
"""The kind of the row that replaces pruned rows, the first of its stream."""
LOOK_UP = 15
"""Seconds after which a silent stream checks that the client is still connected."""


class InboxStore(Protocol):
    """The reads that the inbox needs of a store."""

    async def is_party(self, did: str) -> bool: ...
    async def stream_of(self, did: str) -> str | None: ...
    async def news(self, stream: str, after: int, most: int) -> list[News]: ...


class Item(NamedTuple):
    """An item as JSON, with the cursor after it."""

    cursor: str
    json: bytes


class Inbox:
    """Reads the streams of parties, and waits for new items."""

    def __init__(self, store: InboxStore, broker: Broker, cursors: Cursors) -> None:
        self._store = store
        self._broker = broker
        self._cursors = cursors

    async def page(self, did: str, cursor: str | None, wait: float) -> bytes:
        """The items after the cursor. Waits up to `wait` s for the first one. Raises Refused."""
        stream, after = await self._place(did, cursor)
        news = await self._store.news(stream, after, PAGE)
        begins_later = bool(news) and news[0].kind == PRUNED
        if begins_later:
            after = _begin(news[0], cursor)
            news = await self._store.news(stream, after, PAGE)
        if not news and wait > 0:
            with self._broker.listen(stream, await self._party(did)) as listening:
                news = await self._store.news(stream, after, PAGE)
                if not news and await listening.rung(wait):
                    news = await self._store.news(stream, after, PAGE)
        rows = _bounded(news)
        items = [self._item(stream, row) for row in rows]
        last = items[-1].cursor if items else self._cursors.seal(stream, _row(after))
        page: dict[str, Any] = {"items": [msgspec.Raw(item.json) for item in items], "cursor": last}
        return msgspec.json.encode({**page, "pruned": True} if begins_later else page)

    async def stream(self, did: str, cursor: str | None) -> AsyncGenerator[Item | None, None]:
        """Items as they arrive, until the server stops. Yields None once the cursor is read, and then from time to
        time, so that the caller can check the client's connection. Raises Refused."""
        stream, after = await self._place(did, cursor)
        with self._broker.listen(stream, await self._party(did)) as listening:
            for row in await self._store.news(stream, after, 1):
                after = _begin(row, cursor) if row.kind == PRUNED else after
            yield None
            while not self._broker.closed:
                news = await self._store.news(stream, after, PAGE)
                for row in news:
                    yield self._item(stream, row)
                    after = row.n
                if not news and not await listening.rung(LOOK_UP):
                    yield None

    async def _party(self, did: str) -> str | None:
        """The party, if the broker is full and needs to know whether it is one."""
        return did if self._broker.is_full() and await self._store.is_party(did) else None

    async def _place(self, did: str, cursor: str | None) -> tuple[str, int]:
        stream = await self._store.stream_of(did)
        if stream is None:
            raise Refused("key_replaced")
        return stream, 0 if cursor is None else int.from_bytes(self._cursors.open(stream, cursor), "big")

    def _item(self, stream: str, row: News) -> Item:
        cursor = self._cursors.seal(stream, _row(row.n))
        members: dict[str, Any] = {"cursor": cursor, "kind": row.kind}
        if row.cid:
            members["cid"] = row.cid
        if row.kind == "offer":
            members["offer"] = row.offer
        elif row.kind == "declined":
            if row.reason is not None:
                members["reason"] = row.reason
        elif row.kind == "proposal":
            members["agreement"] = msgspec.Raw(row.half or b"null")
        elif row.kind == "opened":
            members["agreement"] = msgspec.Raw(row.agreement or b"null")
            members["event"] = row.event
            if row.tag_secret is not None and row.side is not None:
                members["tags"] = tags(row.tag_secret, "first" if row.side == "first" else "second")
        else:
            # An event of its own (delivered, expired) has a time in the row; without one it is the acceptance.
            members["event"] = row.event or row.acceptance
            if row.shown:
                members["act"] = row.act
        return Item(cursor, msgspec.json.encode(members))


def must_be_kept(row: News) -> None:
    """Raises Refused("cursor_expired") if the first row after a cursor is the mark of pruned rows: the reader missed
    them (HTTP-23)."""
    if row.kind == PRUNED:
        raise Refused("cursor_expired")


def _begin(pruned: News, cursor: str | None) -> int:
    """The row after which a reader without a cursor begins. Raises Refused("cursor_expired") for one with a cursor."""
    if cursor is not None:
        must_be_kept(pruned)
    return pruned.n


def _row(n: int) -> bytes:
    return n.to_bytes(8, "big")


def _bounded(news: list[News]) -> list[News]:
    """The rows that fit into one page; at least one."""
    size = 0
    for position, row in enumerate(news):
        texts = (row.act, row.acceptance, row.event, row.agreement, row.half, row.offer)
        size += sum(len(text) for text in texts if text)
        if size > MOST_BYTES and position:
            return news[:position]
    return news
