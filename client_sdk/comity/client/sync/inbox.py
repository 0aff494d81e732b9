"""An inbox of a wallet: reads the items, and has each checked before it counts.

An inbox is read with one key: a connection's own key, a mailbox key, or a business's. The cursor is stored in the same
write as the items read, so after a kill no item is missed and none is handled twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing

from comity import http_api
from comity.client.connection.history import HistoryRecord
from comity.client.connection.receipts import check_broken_key_event
from comity.client.connection.view import ConnectionView
from comity.client.log.known_logs import CHECKPOINT_AGE
from comity.client.models import News
from comity.client.session import Session
from comity.client.storage.records import ConnectionInfo, Entry
from comity.crypto.keys import Signer
from comity.documents.agreements import AGREEMENT_TYP, SignedAgreement, open_agreement
from comity.documents.events import Accepted, MuteOver
from comity.encoding import dump_json
from comity.errors import Contradiction, Malformed, Refused, Unreachable

HandleItem = Callable[[http_api.Item, Signer], Awaitable[tuple[list[News], list[Entry]]]]
"""Handles an item that this key read. Returns its news, and the entries to store with the cursor."""

ReadRecords = Callable[[str], AsyncGenerator[list[http_api.Item], None]]
"""Yields the records of the wallet's connections at that home server, as the items that once brought them."""

RestoreServer = Callable[[str], Awaitable[None]]
"""Submits the records that a restored home server lacks (REC-9)."""

_RETRY_SECONDS = 1.0


class Inbox:
    """One inbox of one home server, read with one key."""

    def __init__(
        self,
        session: Session,
        home: str,
        name: str,
        signer: Callable[[], Signer],
        take: HandleItem,
        records: ReadRecords,
        bring_back: RestoreServer,
    ) -> None:
        self.home = home
        self.name = name
        self._session = session
        self._signer = signer
        self._handle_item = take
        self._records = records
        self._restore_server = bring_back
        self._lock = asyncio.Lock()
        """Held while items are handled."""
        self._listening = asyncio.Lock()
        """Held while a stream is open."""
        self._read_ahead: dict[str, list[News]] | None = None
        """While a stream is open: the items that another request read before the stream, without their cursors (which
        differ), with the news that the stream must yield."""

    @property
    def _key(self) -> str:
        return f"{self.home} {self.name}"

    @property
    def cursor(self) -> str | None:
        """The position up to which this inbox was read and stored."""
        return self._session.records.get("cursors", self._key, str)

    async def reset_cursor(self) -> None:
        """Makes the next read start at the beginning; items that are known already change nothing."""
        await self._session.records.store(("cursors", self._key, None))

    async def fetch_news(self, wait: float = 0, with_log: bool = True) -> list[News]:
        """Reads everything new, page by page, and returns the news; with `wait` (s), waits that long for the first
        item. With `with_log`, then checks the checkpoint that the home server's log serves. Without it, an act is being
        sent: the news is left to the stream, where one is open."""
        news: list[News] = []
        async with self._session.record_contradictions():
            try:
                async for some in self._pages(max(0, min(int(wait), http_api.LONGEST_WAIT)), for_stream=not with_log):
                    news += some
                if with_log:
                    await self._session.logs.check_served(self.home)
            except Malformed:
                if not await self._is_forgotten():
                    raise
            except BaseException:
                # It is stored, and the server does not send it again.
                self._session.pending_news.extend(news)
                raise
        return news

    async def _is_forgotten(self) -> bool:
        """Whether the server was restored and may not know the key that the cursor was given to: it has no news for
        that key until the connection was submitted again (REC-10)."""
        await self._session.logs.refresh(self.home)
        return self.cursor is not None and self._session.logs.restored_at(self.home) > 0

    async def _pages(self, wait: int, *, for_stream: bool = False) -> AsyncGenerator[list[News], None]:
        """Yields the news page by page; waits so long (s) for the first page. `for_stream`: an open stream yields the
        news."""
        home = self._session.server(self.home)
        while True:
            asked_from = self.cursor
            try:
                page = await home.get_inbox(self._signer(), asked_from, wait)
            except Refused as refused:
                if refused.code != "cursor_expired" or asked_from is None:
                    raise
                await self.reset_cursor()
                continue
            news: list[News] = []
            # The lock is never held while a caller waits for news or handles it: sending an act meanwhile may need to
            # read on first.
            async with self._lock:
                if self.cursor == asked_from:
                    if not page.items and not page.pruned:
                        return
                    news = await self._handle_page(page, for_stream=for_stream)
            yield news
            wait = 0

    async def _handle_page(self, page: http_api.Page, *, for_stream: bool) -> list[News]:
        """Handles a page, with the lock held. Returns the news that the caller must yield."""
        missed = await self._handle_pruned() if page.pruned else []
        if page.items:
            _check_order(page)
        handled = await self._handle_items(page.items, page.cursor)
        if self._read_ahead is not None:
            self._read_ahead |= handled if for_stream else {key: [] for key in handled}
        if self._read_ahead is not None and for_stream:
            return missed
        return missed + [it for some in handled.values() for it in some]

    async def _handle_pruned(self) -> list[News]:
        """Reads from each connection's records what the server has pruned from the inbox (HTTP-23). Known records
        change nothing, so an interrupted run is simply repeated."""
        news: list[News] = []
        async for items in self._records(self.home):
            handled = await self._handle_items(items, None)
            news += [it for some in handled.values() for it in some]
        return news

    async def listen(self) -> AsyncGenerator[News, None]:
        """Yields news as it arrives, over one open stream, or by polling where there are no streams; ends when the
        server hangs up."""
        has_streams = self._session.transport.stream is not None
        async with self._listening, self._session.record_contradictions():
            # The news first: neither a stopped log nor a lying one may hold it back.
            try:
                async for some in self._pages(0 if has_streams else http_api.LONGEST_WAIT):
                    for news in some:
                        yield news
            except Malformed:
                if not await self._is_forgotten():
                    raise
                await self._restore_server(self.home)
                await asyncio.sleep(_RETRY_SECONDS)
                return
            await self._session.logs.check_served(self.home)
            await self._restore_server(self.home)
            if not has_streams:
                return
            ahead = self._read_ahead = {}
            try:
                async for item in self._session.server(self.home).stream_inbox(self._signer(), self.cursor):
                    for news in await self._handle_streamed(item):
                        if news.kind == "restored":
                            await self._restore_server(self.home)
                        yield news
                    await self._session.logs.check_served(self.home, at_most_every=CHECKPOINT_AGE)
            finally:
                self._read_ahead = None
                self._session.pending_news.extend(it for some in ahead.values() for it in some)

    async def _handle_streamed(self, item: http_api.Item) -> list[News]:
        """Handles an item of the stream, unless another request has read it since the stream was opened. Returns its
        news."""
        async with self._lock:
            if self._read_ahead is not None and _content_of(item) in self._read_ahead:
                return self._read_ahead.pop(_content_of(item))
            return (await self._handle_items((item,), item.cursor))[_content_of(item)]

    async def follow(self) -> AsyncGenerator[News, None]:
        """Yields news forever, over a server's restarts and network gaps."""
        while True:
            try:
                async with aclosing(self.listen()) as stream:
                    async for news in stream:
                        yield news
            except Unreachable:
                await asyncio.sleep(_RETRY_SECONDS)
            except Refused as refused:
                if refused.code != "signature_stale":
                    raise
                await asyncio.sleep(_RETRY_SECONDS)

    async def _handle_items(self, items: Sequence[http_api.Item], cursor: str | None) -> dict[str, list[News]]:
        """Handles some items. Returns the news of each by its content. The cursor is stored with the last of them, and
        not if one is a contradiction."""
        news: dict[str, list[News]] = {}
        entries: list[Entry] = []
        try:
            for item in items:
                if item.cursor == self.cursor:
                    raise Contradiction("the same item comes again", (item.model_dump_json(),))
                news[_content_of(item)], kept = await self._handle_item(item, self._signer())
                entries += kept
            entries.append(("cursors", self._key, cursor))
        finally:
            # Items that fit are in the histories in memory by now, so they must be on disk too.
            if entries:
                await self._session.records.store(*entries)
        return news


def _content_of(item: http_api.Item) -> str:
    """The content of an item, whatever its cursor."""
    return item.model_dump_json(exclude={"cursor"}, exclude_none=True)


def _check_order(page: http_api.Page) -> None:
    cursors = [item.cursor for item in page.items]
    if len(set(cursors)) != len(cursors) or page.cursor != cursors[-1]:
        raise Contradiction("the last item of a page has not its cursor", (page.model_dump_json(),))


async def handle_record(connection: ConnectionView, item: http_api.Item) -> tuple[list[News], list[Entry]]:
    """Enters an act or event in the history of its open connection. Returns the news, and the entries to store. Raises
    Contradiction."""
    others = (item.agreement, item.offer, item.reason, item.tags)
    if item.event is None or any(other is not None for other in others):
        raise Contradiction("an item without its event", (item.model_dump_json(),))
    record = connection.queue.history.read(item.event, item.act)
    await check_broken_key_event(connection.queue, record)
    whole = isinstance(record.event, Accepted) and record.event.includes_act
    if whole != (item.kind == "act") or (whole and record.act is None):
        raise Contradiction("an item of another kind than it says", (item.model_dump_json(),))
    try:
        entered = connection.queue.enter(record)
    except Contradiction:
        # Own acts may be missing here: one whose answer is still on its way, or those of another copy of this wallet.
        # Fetch them before the record is judged (EVENT-7). Records lost in a restore are removed first (REC-9).
        went_on = await connection.queue.drop_lost()
        if not await connection.queue.fetch_own_missing() and not went_on:
            raise
        entered = connection.queue.enter(record)
    news = [_news(connection, record)] if record in entered and not _is_own(connection, record) else []
    return news, [entry for it in entered for entry in connection.queue.record_entries(it)]


def _is_own(connection: ConnectionView, record: HistoryRecord) -> bool:
    """Whether the record is news to nobody: an own act, or the end of an own mute."""
    return isinstance(record.event, MuteOver) or (
        isinstance(record.event, Accepted) and record.event.side == connection.side
    )


def _news(connection: ConnectionView, record: HistoryRecord) -> News:
    event = record.event
    kind = event.kind if isinstance(event, Accepted) else event.event
    side = getattr(event, "side", None)
    quiet = kind in ("message", "delivered") and connection.was_snoozed(record.at)
    by = None if side is None else "me" if side == connection.side else "them"
    return News(connection.cid, kind, record.at, by, getattr(event, "act", None), quiet)  # type: ignore[arg-type]


def read_agreement(item: http_api.Item, info: ConnectionInfo) -> SignedAgreement:
    """The complete agreement of an `opened` item, which must be the proposed one. Raises Contradiction."""
    text = item.model_dump_json()
    if item.agreement is None or item.event is None or item.tags is None or item.act or item.offer or item.reason:
        raise Contradiction("an opened connection without its agreement", (text,))
    try:
        agreement = open_agreement(dump_json(item.agreement))
    except Refused as fault:
        raise Contradiction(f"an invalid agreement ({AGREEMENT_TYP}): {fault}", (text,)) from None
    if agreement.cid != info.cid or item.cid != info.cid:
        raise Contradiction("another agreement than the one proposed", (text, info.agreement))
    # The halves are in the order in which they were signed.
    if json.loads(info.agreement)["signatures"][0] != item.agreement["signatures"][0]:
        raise Contradiction("another half than the one proposed", (text, info.agreement))
    return agreement


async def merge_inboxes(inboxes: Iterable[Inbox]) -> AsyncGenerator[News, None]:
    """Yields the news of several inboxes as it arrives, until the caller leaves the loop. Raises as they do."""
    queue: asyncio.Queue[News | BaseException] = asyncio.Queue(maxsize=100)

    async def follow(inbox: Inbox) -> None:
        try:
            async with aclosing(inbox.follow()) as stream:
                async for news in stream:
                    await queue.put(news)
        except Exception as error:
            await queue.put(error)

    tasks = [asyncio.create_task(follow(inbox)) for inbox in inboxes]
    try:
        while True:
            news = await queue.get()
            if isinstance(news, BaseException):
                raise news
            yield news
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
