"""Reads of one connection: its news, messages, notices, tokens, receipts and timeline."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from comity.client.connection import feedback, queries, receipts, recovery
from comity.client.connection.feedback import ActiveContest, Says
from comity.client.connection.view import ConnectionView
from comity.client.models import Message, News, Statement, Timeline, Token, Who
from comity.client.session import Faults
from comity.documents.notices import Notice
from comity.documents.status_lists import SignedStatusList
from comity.errors import Contradiction


class ConnectionReads(ConnectionView):
    """A connection with all reads; nothing here signs an act."""

    async def sync(self, wait: float = 0) -> list[News]:
        """Sends unanswered acts again, reads the news, compares this wallet's state with the server's, and fetches
        missing receipts. Returns the news.

        `wait` (s) is how long to wait for news when there is none. Raises Contradiction, Refused("too_few_witnesses"),
        Unreachable; the next call then returns the news.
        """
        faults, news = Faults(), list[News]()
        if self._queue.history_or_none is not None:
            # It may be a "no": nothing that a server or its log says may stop it.
            with faults.collect(Contradiction):
                await self._queue.resend_unsent()
        try:
            news = await self._news_source.fetch_news(self, wait)
            await self._queue.restore_to_server()
            await self._check_server()
            faults.raise_first()
        except BaseException:
            self._session.pending_news.extend(news)
            raise
        return self._session.take_pending_news(self.cid) + news

    async def _check_server(self) -> None:
        # A restored server that still lacks records is behind, and says so.
        if self._queue.history_or_none is not None and not recovery.is_recovery_due(self._queue):
            try:
                async with self._session.record_contradictions():
                    await queries.compare_with_server(self, self._session, self._queue.enter_own_missing)
            except Contradiction:
                # An inbox that was read to its end may have lacked items: an honest server sends them when it is read
                # from the beginning.
                await self._news_source.reset_cursor(self)
                raise
        async with self._session.record_contradictions():
            await receipts.check_logs(self._session, [self._queue], [self.info.home])

    def listen(self) -> AsyncGenerator[News, None]:
        """Yields the news of this connection as it arrives, over one open stream."""
        return self._news_source.stream_news(self)

    async def messages(self) -> list[Message]:
        """Every message of both sides that this wallet may read, oldest first."""
        return queries.list_messages(self)

    async def exempt_notices(self) -> dict[str, tuple[int, ...]]:
        """The notices of safety, security or law by which the other side passed every mute: purpose → times (ms), on
        whatever channel, oldest first. Counted from the signed texts in this wallet (GATE-6, SAY-13)."""
        return queries.exempt_notices(self)

    async def timeline(self) -> Timeline:
        """The history of the connection in words, oldest first; `print` shows it."""
        return queries.build_timeline(self)

    def statement(self, by: Who = "them") -> Statement | None:
        """A side's latest statement on the erasure of the other's data, or None."""
        return queries.find_statement(self, by)

    async def notices(self) -> list[Notice]:
        """Fetches the other side's notices that are in force: that it is away, what it plans. While this side has muted
        it, the dates alone (NOTICE-8). Raises NotOpen, Unreachable, Contradiction."""
        _ = self.state
        async with self._session.record_contradictions():
            return await queries.fetch_notices(self, self._session)

    def contests(self) -> list[ActiveContest]:
        """The contests of both sides that are in force: a message, its purpose, and the purpose that it is judged
        as."""
        return feedback.contests_of(self)

    def explain_feedback(self, message: str, says: Says, as_: str | None = None, topic: str | None = None) -> list[str]:
        """The effects of `give_feedback` with these arguments, in sentences to be shown before it is given. Raises
        Refused("no_such_message"), Malformed."""
        return feedback.explain_feedback(self, message, says, as_, topic)

    async def tokens(self) -> list[Token]:
        """The grants in force of both sides, each checked against the home server's status list.

        Raises Contradiction when the list contradicts the acts; Unreachable.
        """
        async with self._session.record_contradictions():
            return await queries.fetch_tokens(self, self._session)

    async def receipt(self, act: str, *, delivery: bool = False) -> str:
        """The receipt of an act of either side, or of a message's delivery: a `.tlog-proof`, which anybody can check
        offline with the act. Raises ComityError, Unreachable while no checkpoint covers it, Contradiction."""
        return await receipts.get_receipt(self._queue, act, delivery=delivery)

    async def status_list(self, uri: str) -> SignedStatusList:
        """A status list of the home server, with its signature checked. With a token, it is all that an offline check
        needs. Raises Unreachable, Contradiction."""
        async with self._session.record_contradictions():
            return await queries.fetch_status_list(self._session, self._queue.pinned_home, uri)
