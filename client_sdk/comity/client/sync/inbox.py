"""What reaches a wallet: the items of an inbox, taken in one by one, each checked before it counts.

An inbox is read by one key: a person's connection's own, a mailbox key, or a business's. The cursor is kept in the
same write as what was read, so after a kill nothing is missed and nothing is taken twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing

from comity import http_api
from comity.client.connection.history import Line
from comity.client.connection.receipts import must_be_entered
from comity.client.connection.view import View
from comity.client.log.known_logs import CHECKPOINT_AGE
from comity.client.models import News
from comity.client.session import Core
from comity.client.storage.records import Entry, Link
from comity.crypto.keys import Signer
from comity.documents.agreements import AGREEMENT_TYP, SignedAgreement, open_agreement
from comity.documents.events import Accepted, MuteOver
from comity.encoding import dump_json
from comity.errors import Contradiction, Malformed, Refused, Unreachable

Take = Callable[[http_api.Item, Signer], Awaitable[tuple[list[News], list[Entry]]]]
"""What the wallet makes of an item that this key read: news for people, and entries to be kept with the cursor."""

Records = Callable[[str], AsyncGenerator[list[http_api.Item], None]]
"""The records of the wallet's connections at that home server, as the items that once brought them."""

BringBack = Callable[[str], Awaitable[None]]
"""Hands in what that home server lacks since it was restored, where it was (REC-9)."""

_AWAY_SECONDS = 1.0


class Inbox:
    """One inbox of one home server, read by one key."""

    def __init__(
        self,
        core: Core,
        home: str,
        name: str,
        signer: Callable[[], Signer],
        take: Take,
        records: Records,
        bring_back: BringBack,
    ) -> None:
        self.home = home
        self.name = name
        self._core = core
        self._signer = signer
        self._take = take
        self._records = records
        self._bring_back = bring_back
        self._lock = asyncio.Lock()
        """Held while items are taken in."""
        self._listening = asyncio.Lock()
        """Held while a stream is open."""
        self._ahead: dict[str, list[News]] | None = None
        """While a stream is open: the items that another request brought before the stream does, without their cursors
        (each way gives its own), with the news in them that the stream is to tell."""

    @property
    def _key(self) -> str:
        return f"{self.home} {self.name}"

    @property
    def cursor(self) -> str | None:
        """Up to where this inbox was read and kept."""
        return self._core.kept.get("cursors", self._key, str)

    async def read_again(self) -> None:
        """Lets the next reading begin at the beginning; what is known already changes nothing."""
        await self._core.kept.keep(("cursors", self._key, None))

    async def pull(self, wait: float = 0, look: bool = True) -> list[News]:
        """Everything new, page by page; with `wait` (s), waits that long for the first of it. Then looks (`look`) at
        the checkpoint that the home server's log serves. Without `look` it is read for an act that is being written,
        and where a stream is open the stream tells the news."""
        news: list[News] = []
        async with self._core.judging():
            try:
                async for some in self._pages(max(0, min(int(wait), http_api.LONGEST_WAIT)), aside=not look):
                    news += some
                if look:
                    await self._core.logs.meet(self.home)
            except Malformed:
                if not await self._is_forgotten():
                    raise
            except BaseException:
                # It is kept, and will not come again.
                self._core.untold.extend(news)
                raise
        return news

    async def _is_forgotten(self) -> bool:
        """Whether the server was restored, and may not know the name any more under which it gave out the cursor: it
        has no news for that until the connection was handed in (REC-10)."""
        await self._core.logs.ask(self.home)
        return self.cursor is not None and self._core.logs.restored_at(self.home) > 0

    async def _pages(self, wait: int, *, aside: bool = False) -> AsyncGenerator[list[News], None]:
        """Everything new, a page at a time; waits so long (s) for the first. `aside`: an open stream tells it."""
        home = self._core.home(self.home)
        while True:
            asked_from = self.cursor
            try:
                page = await home.inbox(self._signer(), asked_from, wait)
            except Refused as refused:
                if refused.code != "cursor_expired" or asked_from is None:
                    raise
                await self.read_again()
                continue
            news: list[News] = []
            # The lock is never held while somebody waits for news or for whoever reads them: an act that is written
            # meanwhile, there perhaps, may have to read on first.
            async with self._lock:
                if self.cursor == asked_from:
                    if not page.items and not page.pruned:
                        return
                    news = await self._taken_page(page, aside=aside)
            yield news
            wait = 0

    async def _taken_page(self, page: http_api.Page, *, aside: bool) -> list[News]:
        """Takes a page in, with the lock held; the news in it that the caller is to tell."""
        missed = await self._missed() if page.pruned else []
        if page.items:
            _in_order(page)
        taken = await self._taken(page.items, page.cursor)
        if self._ahead is not None:
            self._ahead |= taken if aside else {key: [] for key in taken}
        if self._ahead is not None and aside:
            return missed
        return missed + [it for some in taken.values() for it in some]

    async def _missed(self) -> list[News]:
        """Takes in what the server keeps no news of any more, from the records of each connection (HTTP-23). What is
        known already changes nothing, so where this is cut off it is done once more."""
        news: list[News] = []
        async for items in self._records(self.home):
            taken = await self._taken(items, None)
            news += [it for some in taken.values() for it in some]
        return news

    async def listen(self) -> AsyncGenerator[News, None]:
        """News as it comes, over one open stream, or by asking again where there are no streams; ends when the
        server hangs up."""
        has_streams = self._core.transport.stream is not None
        async with self._listening, self._core.judging():
            # First what is new: a log that stands still or lies keeps no news from anybody.
            try:
                async for some in self._pages(0 if has_streams else http_api.LONGEST_WAIT):
                    for news in some:
                        yield news
            except Malformed:
                if not await self._is_forgotten():
                    raise
                await self._bring_back(self.home)
                await asyncio.sleep(_AWAY_SECONDS)
                return
            await self._core.logs.meet(self.home)
            await self._bring_back(self.home)
            if not has_streams:
                return
            ahead = self._ahead = {}
            try:
                async for item in self._core.home(self.home).stream(self._signer(), self.cursor):
                    for news in await self._streamed(item):
                        if news.kind == "restored":
                            await self._bring_back(self.home)
                        yield news
                    await self._core.logs.meet(self.home, at_most_every=CHECKPOINT_AGE)
            finally:
                self._ahead = None
                self._core.untold.extend(it for some in ahead.values() for it in some)

    async def _streamed(self, item: http_api.Item) -> list[News]:
        """An item of the stream, unless it was read by another request since the stream was opened."""
        async with self._lock:
            if self._ahead is not None and _said(item) in self._ahead:
                return self._ahead.pop(_said(item))
            return (await self._taken((item,), item.cursor))[_said(item)]

    async def follow(self) -> AsyncGenerator[News, None]:
        """News for ever, over a server's restarts and a network's gaps."""
        while True:
            try:
                async with aclosing(self.listen()) as stream:
                    async for news in stream:
                        yield news
            except Unreachable:
                await asyncio.sleep(_AWAY_SECONDS)
            except Refused as refused:
                if refused.code != "signature_stale":
                    raise
                await asyncio.sleep(_AWAY_SECONDS)

    async def _taken(self, items: Sequence[http_api.Item], cursor: str | None) -> dict[str, list[News]]:
        """Takes some items in, and returns the news in each by what it says; the cursor is kept with the last of them,
        and not if one does not fit."""
        news: dict[str, list[News]] = {}
        entries: list[Entry] = []
        try:
            for item in items:
                if item.cursor == self.cursor:
                    raise Contradiction("the same item comes again", (item.model_dump_json(),))
                news[_said(item)], kept = await self._take(item, self._signer())
                entries += kept
            entries.append(("cursors", self._key, cursor))
        finally:
            # What did fit is in the ledgers in memory by now, so it must be on disk, too.
            if entries:
                await self._core.kept.keep(*entries)
        return news


def _said(item: http_api.Item) -> str:
    """What an item says, whatever its cursor."""
    return item.model_dump_json(exclude={"cursor"}, exclude_none=True)


def _in_order(page: http_api.Page) -> None:
    cursors = [item.cursor for item in page.items]
    if len(set(cursors)) != len(cursors) or page.cursor != cursors[-1]:
        raise Contradiction("the items of a page do not lead to its cursor", (page.model_dump_json(),))


async def take_line(party: View, item: http_api.Item) -> tuple[list[News], list[Entry]]:
    """An act or event of an open connection: into its ledger. Raises Contradiction."""
    others = (item.agreement, item.offer, item.reason, item.tags)
    if item.event is None or any(it is not None for it in others):
        raise Contradiction("an item without its event", (item.model_dump_json(),))
    line = party.writing.book.read(item.event, item.act)
    await must_be_entered(party.writing, line)
    whole = isinstance(line.event, Accepted) and line.event.includes_act
    if whole != (item.kind == "act") or (whole and line.act is None):
        raise Contradiction("an item of another kind than it says", (item.model_dump_json(),))
    try:
        entered = party.writing.enter(line)
    except Contradiction:
        # Own acts may be missing here: one whose answer is still on its way, or those of another copy of this wallet.
        # They are fetched, and then it is judged (EVENT-7). What a restore lost is left out first (REC-9).
        went_on = await party.writing.went_on_without()
        if not await party.writing.fetch_own() and not went_on:
            raise
        entered = party.writing.enter(line)
    news = [_news(party, line)] if line in entered and not _is_own(party, line) else []
    return news, [entry for it in entered for entry in party.writing.kept(it)]


def _is_own(party: View, line: Line) -> bool:
    """Whether it tells nobody anything: an own act, or that an own mute is over."""
    return isinstance(line.event, MuteOver) or (isinstance(line.event, Accepted) and line.event.side == party.side)


def _news(party: View, line: Line) -> News:
    event = line.event
    kind = event.kind if isinstance(event, Accepted) else event.event
    side = getattr(event, "side", None)
    quiet = kind in ("message", "delivered") and party.was_snoozed(line.at)
    by = None if side is None else "me" if side == party.side else "them"
    return News(party.cid, kind, line.at, by, getattr(event, "act", None), quiet)  # type: ignore[arg-type]


def read_agreement(item: http_api.Item, link: Link) -> SignedAgreement:
    """The complete agreement of an `opened` item: the one that was proposed. Raises Contradiction."""
    text = item.model_dump_json()
    if item.agreement is None or item.event is None or item.tags is None or item.act or item.offer or item.reason:
        raise Contradiction("an opened connection without its agreement", (text,))
    try:
        agreement = open_agreement(dump_json(item.agreement))
    except Refused as fault:
        raise Contradiction(f"an agreement that is none ({AGREEMENT_TYP}): {fault}", (text,)) from None
    if agreement.cid != link.cid or item.cid != link.cid:
        raise Contradiction("another agreement than the one proposed", (text, link.agreement))
    # The halves stand in the order in which they were signed.
    if json.loads(link.agreement)["signatures"][0] != item.agreement["signatures"][0]:
        raise Contradiction("another half than the one proposed", (text, link.agreement))
    return agreement


async def merged(inboxes: Iterable[Inbox]) -> AsyncGenerator[News, None]:
    """The news of several inboxes as it comes, until the caller leaves the loop. Raises what one of them raises."""
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
            it = await queue.get()
            if isinstance(it, BaseException):
                raise it
            yield it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
