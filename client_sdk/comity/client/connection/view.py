"""`ConnectionView`: what a wallet knows of one connection, without a request and without a signature."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

from comity.client.connection.history import HistoryRecord
from comity.client.connection.send_queue import SendQueue
from comity.client.models import News, Who
from comity.client.session import Session
from comity.client.storage.records import ConnectionInfo
from comity.crypto.encryption import decrypt_body
from comity.crypto.keys import did_of_kid
from comity.documents.acts import Rotate, SignedAct
from comity.documents.agreements import Agreement, SignedAgreement
from comity.documents.note_values import Note, parse_note
from comity.documents.notices import AwayNotice, Notice, is_in_force
from comity.documents.offers import Allow, Offer
from comity.documents.types import NOTE, Side, covers, other
from comity.encoding import b64u_decode
from comity.errors import Malformed
from comity.rules import gate
from comity.rules.allowances import Promise, promise_status
from comity.rules.away import is_muted, muted_away_until
from comity.rules.erasure import Duty, erasure_duty
from comity.rules.fold import Record
from comity.rules.gate import Verdict
from comity.rules.state import Connection as ConnectionState


class NewsSource(Protocol):
    """Reads the news of a connection. `Wallet` is one."""

    async def fetch_news(self, connection: ConnectionView, wait: float, with_log: bool = True) -> list[News]:
        """Reads the news for this connection's key; `with_log`: checks its log too."""
        ...

    async def reset_cursor(self, connection: ConnectionView) -> None:
        """Makes the next read start at the beginning."""
        ...

    def stream_news(self, connection: ConnectionView) -> AsyncGenerator[News, None]:
        """Yields the news as it arrives."""
        ...


class ConnectionView:
    """One connection, seen from this wallet. `ConnectionReads` adds requests, `Connection` adds acts."""

    def __init__(self, session: Session, info: ConnectionInfo, news_source: NewsSource) -> None:
        self._session = session
        self._news_source = news_source
        self._queue = SendQueue(session, info, self._catch_up)
        self.known_notices: dict[str, Notice] = {}
        """The notices of the other side by kind, as of the last request."""

    # --- the connection ---

    @property
    def info(self) -> ConnectionInfo:
        """The stored record of the connection."""
        return self._queue.info

    @property
    def cid(self) -> str:
        """The connection's id."""
        return self.info.cid

    @property
    def side(self) -> Side:
        """This wallet's side: the offerer is the first."""
        return self.info.side

    @property
    def did(self) -> str:
        """The other side's current DID."""
        history = self._queue.history_or_none
        return self.info.other if history is None else history.state.door(other(self.side)).did

    @property
    def petname(self) -> str | None:
        """The name that this wallet's owner gave the other side; nobody else knows it."""
        return self._session.petname(self.cid)

    @property
    def offered_name(self) -> str | None:
        """The name that the other side gave itself in its offer. It is not verified, and others may use the same
        name."""
        return self.info.name

    @property
    def name(self) -> str:
        """The other side's name: its petname, else the name in its offer, else the end of its DID."""
        return self.petname or self.offered_name or self.did.rpartition(":")[2][:16]

    @property
    def phase(self) -> Literal["proposed", "closed", "open", "ended"]:
        """`proposed` until both signed; `closed` when they did not; `open`; `ended` after a revoke."""
        if self._queue.history_or_none is None:
            return "closed" if self.info.closed else "proposed"
        return self.state.phase

    @property
    def state(self) -> ConnectionState:
        """The connection's state, folded from the acts and events in this wallet. Raises NotOpen."""
        return self._queue.history.state

    @property
    def records(self) -> Sequence[HistoryRecord]:
        """All events with their acts and signed texts, in order. Raises NotOpen."""
        return tuple(self._queue.history.records)

    @property
    def queue(self) -> SendQueue:
        """The send queue of this side, for the wallet's own modules."""
        return self._queue

    def now(self) -> int:
        """The wallet's clock (ms)."""
        return self._session.clock()

    def own_kids(self) -> set[str]:
        """The ids of the keys that this side has had."""
        rotated = (record.act for record in self._queue.history.records)
        later = {act.payload.kid for act in rotated if act is not None and isinstance(act.payload, Rotate)}
        return {self.info.kid} | {kid for kid in later if kid in self._session.records.file.table("keys")}

    @property
    def own_did(self) -> str:
        """This side's current DID. A person's DID is used in no other connection."""
        history = self._queue.history_or_none
        return did_of_kid(self.info.kid) if history is None else history.state.door(self.side).did

    @property
    def agreement(self) -> Agreement:
        """The agreement that both sides signed. Raises NotOpen."""
        return self.signed_agreement.agreement

    @property
    def signed_agreement(self) -> SignedAgreement:
        """The agreement with both signatures; its `raw` is the General JSON. Raises NotOpen."""
        return self._queue.history.agreement

    @property
    def agreement_raw(self) -> bytes:
        """The agreement as it was signed, as General JSON. Raises NotOpen."""
        return self.signed_agreement.raw

    def may(self, purpose: str, channel: str = "app", topic: str | None = None) -> Verdict:
        """Whether this side may reach the other one now, judged by this wallet's own records. No request is made; the
        other side's hours, budgets and hidden ends are unknown here. Raises Malformed for the purpose `note`, for which
        nobody is reached."""
        if covers(NOTE, purpose):
            raise Malformed("note is the purpose of the text of a note or milestone: nobody can be reached for it")
        history = self._queue.history_or_none
        state = None if history is None else history.state
        verdict = gate.may(state, self.side, purpose, channel, topic, self._session.clock(), self._session.zones)
        return verdict.outward()

    def away_until(self) -> int | None:
        """The time (s) until which the other side says it is away, in a mute or a notice (as of the last `sync`); None
        where it says nothing. Whether it can be reached is another question: `may`."""
        history, now = self._queue.history_or_none, self._session.clock()
        if history is None:
            return None
        notice, by_notice = self.known_notices.get("away"), None
        if isinstance(notice, AwayNotice) and notice.starts * 1000 <= now < notice.until * 1000:
            by_notice = notice.until
        ends = (muted_away_until(history.state.door(other(self.side)), now), by_notice)
        return max((end for end in ends if end is not None), default=None)

    def cached_notices(self) -> list[Notice]:
        """The notices of the other side that are in force, as of the last `sync`. While this side has muted it, the
        dates alone (NOTICE-8)."""
        now = self._session.clock()
        found = [known_notice for known_notice in self.known_notices.values() if is_in_force(known_notice, now)]
        if not is_muted(self.state.door(self.side), now):
            return found
        return [it.model_copy(update={"texts": {}}) for it in found if isinstance(it, AwayNotice)]

    def snoozed_until(self) -> int | None:
        """The end (s) of this connection's snooze, or None."""
        now = self._session.clock()
        spans: list[list[int]] = self._session.records.get("snoozes", self.cid, list) or []
        return max((end // 1000 for start, end in spans if start <= now < end), default=None)

    def was_snoozed(self, at: int) -> bool:
        """Whether this connection was snoozed at that time (ms)."""
        spans: list[list[int]] = self._session.records.get("snoozes", self.cid, list) or []
        return any(start <= at < end for start, end in spans)

    def promised_grant(self) -> Allow | None:
        """The grant that the offer promises to the accepter, or None."""
        if self.info.offer is None:
            return None
        return Offer.model_validate_json(b64u_decode(self.info.offer.split(".")[1])).allow

    def promise_status(self) -> Promise | None:
        """`waiting` until the promised grant is given, `kept`, or `broken`; None where nothing was promised, or the
        connection is not open yet (ALLOW-4)."""
        allow, history = self.promised_grant(), self._queue.history_or_none
        if allow is None or history is None:
            return None
        records = (Record(record.event, record.act) for record in history.records)
        return promise_status(allow, "first", history.opened.event.at, records, self._session.clock())

    # --- notes and bodies ---

    def notes(self, by: Who = "them") -> list[Note]:
        """The notes that a side asks to be remembered. A value without the form of its key is returned as a text
        (NOTE-4)."""
        door = self.state.door(self.side if by == "me" else other(self.side))
        acts = {record.act.id: record.act for record in self.records if record.act is not None}
        return [
            parse_note(note.key, self.body_of(acts[note.id]) if note.id in acts else None)._replace(topic=note.topic)
            for note in door.little
        ]

    def pending_confirmations(self) -> tuple[Who, ...]:
        """The sides that must still confirm after the home server was restored from a backup, "me" before "them";
        nobody can be reached in this connection before. Empty where none must."""
        if self._queue.history_or_none is None:
            return ()
        waited: list[Who] = ["me" if it == self.side else "them" for it in self.state.recovering]
        return tuple(sorted(waited))

    async def _catch_up(self) -> None:
        # An act is being sent, perhaps a "no": the log is checked afterwards.
        self._session.pending_news.extend(await self._news_source.fetch_news(self, 0, with_log=False))

    def read_body(self, act: SignedAct) -> tuple[dict[str, Any] | None, str | None]:
        """The decrypted body of an act of either side and, where it cannot be read, the reason in words."""
        text = getattr(act.payload, "body", None)
        if text is None:
            return None, None
        if own := self._session.records.get("bodies", act.id, dict):
            return own, None
        why = "it was sealed to the other side"
        for kid in sorted(self.own_kids()):
            try:
                return decrypt_body(text, self.cid, self._session.signer(kid).key), None
            except Malformed as fault:
                why = fault.detail or "it cannot be opened"
        return None, why

    def body_of(self, act: SignedAct) -> dict[str, Any] | None:
        """The decrypted body of an act of either side, or None where there is none or it cannot be read."""
        return self.read_body(act)[0]

    def erasure_due(self, of: Who = "them") -> Duty | None:
        """The erasure statement that a side owes after the end, or has made (ERA-6); None before the end."""
        return erasure_duty(self.state, self.side if of == "me" else other(self.side))

    def __repr__(self) -> str:
        return f"Connection({self.name}, {self.phase})"
