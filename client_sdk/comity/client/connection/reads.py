"""What can be read of one connection: its news, messages, notices, tokens, receipts and timeline."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from comity.client.connection import feedback, queries, receipts, recovery
from comity.client.connection.feedback import Says, ShownContest
from comity.client.connection.view import View
from comity.client.models import Message, News, Statement, Timeline, Token, Who
from comity.client.session import Faults
from comity.documents.notices import Notice
from comity.documents.status_lists import SignedStatusList
from comity.errors import Contradiction


class ConnectionReads(View):
    """A view with everything that can be read; nothing here signs an act."""

    async def sync(self, wait: float = 0) -> list[News]:
        """Sends again what was not answered, reads what is new, compares this wallet's state with the server's, and
        fetches the receipts that have not come yet.

        `wait` (s) is how long to wait for news when there is none. Raises Contradiction, Refused("too_few_witnesses");
        what was new is then told by the next call.
        """
        faults, news = Faults(), list[News]()
        if self._writing.ledger is not None:
            # Perhaps a "no": nothing that a server or its log says keeps it from being sent.
            with faults.told_later(Contradiction):
                await self._writing.settle()
        try:
            news = await self._postbox.pull(self, wait)
            await self._writing.bring_back()
            await self._look_after()
            faults.tell()
        except BaseException:
            self._core.untold.extend(news)
            raise
        return self._core.tell(self.cid) + news

    async def _look_after(self) -> None:
        # A server that was restored and lacks something still is behind, and says so.
        if self._writing.ledger is not None and not recovery.is_owed(self._writing):
            try:
                async with self._core.judging():
                    await queries.compare(self, self._core, self._writing.recover)
            except Contradiction:
                # Something may have been left out of an inbox that was read to its end: an honest server gives it
                # when it is asked from the beginning.
                await self._postbox.read_again(self)
                raise
        async with self._core.judging():
            await receipts.look_after(self._core, [self._writing], [self.link.home])

    def listen(self) -> AsyncGenerator[News, None]:
        """What reaches this side, as it comes, over one open stream."""
        return self._postbox.news(self)

    async def messages(self) -> list[Message]:
        """Every message of both sides that this wallet may read, oldest first."""
        return queries.messages(self)

    async def exempt_notices(self) -> dict[str, tuple[int, ...]]:
        """The notices of safety, security or law by which the other side passed every mute: purpose → when (ms) each
        came, by whatever channel, oldest first. Counted from the signed texts in this wallet (GATE-6, SAY-13)."""
        return queries.exempt_notices(self)

    async def timeline(self) -> Timeline:
        """What happened between the two, in words; `print` shows it."""
        return queries.history(self)

    def statement(self, by: Who = "them") -> Statement | None:
        """What a side said last of what became of the other's data, once the connection has ended."""
        return queries.statement(self, by)

    async def notices(self) -> list[Notice]:
        """What the other side says to all of its connections, and is in force: that it is away, what it plans. While
        this side has muted it, the dates alone (NOTICE-8). Raises NotOpen, Unreachable, Contradiction."""
        _ = self.state
        async with self._core.judging():
            return await queries.notices(self, self._core)

    def contests(self) -> list[ShownContest]:
        """The contests of both sides that are in force: what was something else than it said, and what follows."""
        return feedback.contests_of(self)

    def what_it_does(self, message: str, says: Says, as_: str | None = None, topic: str | None = None) -> list[str]:
        """What `feedback` with these arguments would do, in sentences to be shown before it is given."""
        return feedback.what_it_does(self, message, says, as_, topic)

    async def tokens(self) -> list[Token]:
        """The grants in force, of both sides, each held against the home server's status list.

        Raises Contradiction when the list says otherwise than the acts.
        """
        async with self._core.judging():
            return await queries.tokens(self, self._core)

    async def receipt(self, act: str, *, delivery: bool = False) -> str:
        """The receipt of an act of either side, or of a message's delivery: a `.tlog-proof`, which anybody can check
        offline with the act. Raises ComityError, Unreachable while no checkpoint covers it, Contradiction."""
        return await receipts.receipt_of(self._writing, act, delivery=delivery)

    async def status_list(self, uri: str) -> SignedStatusList:
        """A status list of the home server, its signature checked: with a token, all that an offline check needs."""
        async with self._core.judging():
            return await queries.status_list(self._core, self._writing.pinned_home, uri)
