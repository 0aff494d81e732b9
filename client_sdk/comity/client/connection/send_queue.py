"""The send queue of one side: signs acts, stores them, sends them, checks the answers and stores those.

A signed act is on disk before it is sent, so after a kill or a lost answer the very same bytes go out again and get
their first answer. A refusal leaves its place in the chain free. Receipts are checked after all that, so that neither a
stopped log nor a lying one can undo or delay an act.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from comity import http_api
from comity.client.connection import receipts, recovery
from comity.client.connection.history import HistoryRecord
from comity.client.connection.stored_connection import StoredConnection
from comity.client.session import Faults, Session
from comity.client.storage.records import AwayMute, ConnectionInfo, Entry, StoredRecord, UnsentActs
from comity.crypto.keys import PublicKey, key_of_did
from comity.documents.acts import Rotate, SignedAct, is_narrowing, open_act
from comity.documents.events import Accepted
from comity.documents.types import Side
from comity.errors import Contradiction, Refused, Unreachable
from comity.rules.next_act import next_act, next_mailbox

_PLACE_TAKEN = frozenset({"seq_taken", "seq_gap", "prev_mismatch", "after_refused"})
"""Refusals that another device's acts explain: read the inbox and sign again."""
_TRIES = 5
_HEADER_FIELDS = frozenset({"iss", "aud", "iat", "cid", "seq", "prev", "act"})

Compose = Callable[[], list[SignedAct]]


class DroppedAct(NamedTuple):
    """An act that was queued to be sent again, and was refused for good."""

    kind: str
    refused: Refused


class SendQueue(StoredConnection):
    """The acts of one side of one connection; its lock keeps the acts of a chain in sequence."""

    def __init__(self, session: Session, info: ConnectionInfo, catch_up: Callable[[], Awaitable[None]]) -> None:
        super().__init__(session, info)
        self.lock = asyncio.Lock()
        self.dropped_acts: list[DroppedAct] = []
        self.waiting: list[HistoryRecord] = []
        """Accepted own acts, oldest first, that wait until the inbox was read up to their times: each names the other
        side's acts before it (EVENT-7)."""
        self._unstored: list[HistoryRecord] = []
        """Records that are in the history and not on disk, because a record after them did not fit."""
        self._accepted: list[HistoryRecord] = []
        self._early_receipts: dict[str, str] = {}
        self._catch_up = catch_up

    async def send(self, kind: str, /, **fields: Any) -> HistoryRecord:
        """Signs and sends one act. Returns its record. Raises as `send_all`."""
        records = await self.send_all(lambda: [self.sign_act(kind, **fields)])
        return records[0]

    def sign_act(self, kind: str, /, **fields: Any) -> SignedAct:
        """The next act of this side, signed."""
        present = {name: value for name, value in fields.items() if value is not None}
        state, side, now = self.history.state, self.info.side, self.session.seconds()
        if kind == "mailbox" and "did" in present:
            # Its proof is for one place of the chain, so it is made with the setting and never copied (ACT-15).
            box = self.session.signer(key_of_did(present["did"]).kid)
            return next_mailbox(state, side, now, self.signer, box)
        return next_act(state, side, kind, now, self.signer, **present)

    async def send_all(
        self, make: Compose, about: Callable[[SignedAct], Sequence[Entry]] | None = None
    ) -> list[HistoryRecord]:
        """Sends acts that belong together in one batch; the entries that `about` returns for each are stored together
        with the signed acts. Returns their records. Raises Refused, Unreachable, Contradiction, NotOpen."""
        _ = self.history
        async with self._hold_lock():
            with self.session.tolerate_write_errors():
                await self._resend_unsent()
            for _ in range(_TRIES):
                try:
                    return await self._send(make(), about)
                except Refused as refused:
                    if (
                        refused.code not in _PLACE_TAKEN
                        and not recovery.is_recovering(refused)
                        and not _is_unknown(refused)
                    ):
                        raise
                    if not await self._restore_after(refused) and refused.code not in _PLACE_TAKEN:
                        raise
                # Another device of this wallet wrote meanwhile: fetch its acts, then sign again after them.
                with self.session.tolerate_write_errors():
                    await self.enter_own_missing()
            return await self._send(make(), about)

    async def send_revoke(self, act: SignedAct) -> HistoryRecord:
        """Sends a revoke ahead of all queued acts: nothing may stand between a side and its "no"."""
        async with self._hold_lock():
            waiting = self._unsent_acts()
            await self._store_before_sending([act], [act.raw, *(it.raw for it in waiting)])
            try:
                (record,) = await self._deliver([act])
            except Refused as refused:
                if not _is_unknown(refused) or not await self._restore_after(refused):
                    raise
                (record,) = await self._deliver([act])
            with self.session.tolerate_write_errors():
                await self._resend_acts(waiting)
            return record

    async def resend_unsent(self) -> None:
        """Sends the signed acts that were never answered again."""
        async with self._hold_lock():
            await self._resend_unsent()

    @asynccontextmanager
    async def _hold_lock(self) -> AsyncIterator[None]:
        """Holds the lock of this chain. The receipts of acts accepted under it are checked after the lock is
        released."""
        written: list[HistoryRecord] = []
        async with self.session.record_contradictions():
            try:
                async with self.lock:
                    try:
                        yield
                    finally:
                        written, self._accepted = self._accepted, []
            except (Refused, Unreachable):
                await self._check_receipts(written)
                raise
            await self._check_receipts(written)

    async def _check_receipts(self, written: list[HistoryRecord]) -> None:
        # Receipts that cannot be stored are fetched another time.
        if self.session.records.write_error is None:
            with self.session.tolerate_write_errors():
                await receipts.check_receipts(self, written)

    # --- acts of other copies of this wallet ---

    async def enter_own_missing(self) -> bool:
        """Fetches and enters the own acts that this wallet lacks: it is an old copy, or not the only one. Returns
        whether there were any."""
        found = await self.fetch_own_missing()
        await self._catch_up()
        await self.enter_waiting()
        return found

    async def fetch_own_missing(self) -> bool:
        """Fetches the own acts that this wallet lacks into `waiting`. Returns whether there were any."""
        found = await self._own_missing()
        self._add_waiting(found)
        return bool(found)

    async def _own_missing(self) -> list[HistoryRecord]:
        """Both own chains, from their heads at the server back to the acts known here."""
        home, signer, side = self.session.server(self.info.home), self.signer, self.info.side
        answer, _ = await home.get_connection(self.info.cid, signer)
        known = {record.act.id for record in (*self.history.records, *self.waiting) if record.act is not None} | {
            self.info.cid
        }
        found: list[HistoryRecord] = []
        for head in (getattr(answer.heads, side).head, answer.settings.head):
            while head not in known:
                try:
                    stated = await home.get_act(head, signer)
                except Refused as fault:
                    raise Contradiction(f"the server names an act that it does not show: {fault}", (head,)) from None
                await self.check_event_key(stated.event, writes=True)
                record = self.history.read(stated.event, stated.act)
                if record.act is None or record.act.id != head:
                    raise Contradiction("the server shows another act than was asked for", (stated.event, head))
                known.add(head)
                found.append(record)
                if stated.receipt is not None:
                    self._early_receipts[head] = stated.receipt
                head = _previous_act(record, side)
        return found

    def _add_waiting(self, records: Sequence[HistoryRecord]) -> None:
        self.waiting = sorted([*self.waiting, *records], key=lambda record: record.at)

    def enter(self, record: HistoryRecord) -> list[HistoryRecord]:
        """Enters a record of the inbox, and first the older own records in `waiting`: everything that the other side
        did before them has been read by now. Raises Contradiction."""
        entered: list[HistoryRecord] = []
        try:
            while self.waiting and self.waiting[0].at < record.at:
                entered += self.history.enter(self.waiting.pop(0))
            entered += self.history.enter(record)
        except BaseException:
            self._unstored += entered
            raise
        return entered

    async def enter_waiting(self) -> None:
        """Enters and stores the own records in `waiting`, after the inbox was read to its end. Raises Contradiction."""
        try:
            while self.waiting:
                self._unstored += self.history.enter(self.waiting.pop(0))
        finally:
            await self.session.records.store(*self._late_entries())

    def record_entries(self, record: HistoryRecord, receipt: str | None = None) -> list[Entry]:
        """The entries that store a record: the record itself and, for an own act, its receipt or that it is missing.
        Preceded by records that were entered before and are not on disk: a file with a gap could never be read
        again."""
        return [*self._late_entries(), *self._entries_of(record, receipt)]

    def _late_entries(self) -> list[Entry]:
        late, self._unstored = self._unstored, []
        return [entry for record in late for entry in self._entries_of(record)]

    def _entries_of(self, record: HistoryRecord, receipt: str | None = None) -> list[Entry]:
        if record.act is not None:
            receipt = receipt or self._early_receipts.pop(record.act.id, None)
        return [
            *self.removed_entries(),
            record_entry(self.info.cid, record),
            *receipts.receipt_entries(self, record, receipt),
        ]

    # --- after a restore of the server ---

    async def restore_to_server(self) -> None:
        """Where the server was restored, submits the records that it lacks, confirms, and reads the result."""
        if recovery.may_be_unknown(self):
            async with self.session.record_contradictions(), self.lock:
                was_unknown = await recovery.restore_unknown(self)
            if was_unknown:
                await self._catch_up()
        if recovery.is_recovery_due(self):
            async with self.session.record_contradictions(), self.lock:
                await recovery.restore_lost(self)
            await self._catch_up()
            await self.resend_unsent()

    async def drop_lost(self) -> bool:
        """Completes this side's recovery where it is due. Returns whether records were removed, which explains records
        that do not fit."""
        before = len(self.history.records)
        if recovery.is_recovery_due(self):
            await recovery.restore_lost(self)
        return len(self.history.records) < before

    async def _restore_after(self, refused: Refused) -> bool:
        """Runs the recovery under the lock, after a refusal that a restore may explain. Returns whether it did."""
        if _is_unknown(refused):
            await self.session.logs.refresh(self.info.home)
            if not recovery.may_be_unknown(self) or not await recovery.restore_unknown(self):
                return False
        await self._catch_up()
        if not recovery.is_recovery_due(self):
            return False
        await recovery.restore_lost(self)
        await self._catch_up()
        return True

    # --- inside the lock ---

    def _unsent_acts(self) -> list[SignedAct]:
        kept = self.session.records.get("unsent", self.info.cid, UnsentActs)
        if kept is None:
            return []
        return [open_act(raw, self._own_key) for raw in kept.acts]

    def _own_key(self, kid: str) -> PublicKey | None:
        # Any key of this wallet: an unsent act may have been signed before the key was rotated.
        return self.session.signer(kid).key.public if kid in self.session.records.file.table("keys") else None

    async def _store_unsent(self, raws: list[str], *beside: Entry) -> None:
        await self.session.records.store(*self._unsent_entries(raws), *beside)

    def _unsent_entries(self, raws: list[str]) -> list[Entry]:
        return [("unsent", self.info.cid, UnsentActs(tuple(raws)) if raws else None)]

    async def _store_before_sending(self, acts: Sequence[SignedAct], raws: list[str], *beside: Entry) -> None:
        """Stores the acts before they are sent. A "no" is sent even where it cannot be stored: the server shows it
        again to the holder of the key (WHO-9). Raises WalletFileError for every other act."""
        if not all(is_narrowing(act.payload) for act in acts):
            await self.session.records.store_durably(*self._unsent_entries(raws), *beside)
            return
        with self.session.tolerate_write_errors():
            await self.session.records.store(*self._unsent_entries(raws), *beside)

    async def _resend_unsent(self) -> None:
        if self.session.records.file.table("unsent").get(self.info.cid) is not None:
            await self._resend_acts(self._unsent_acts())

    async def _resend_acts(self, waiting: list[SignedAct]) -> None:
        for act in waiting:
            try:
                await self._deliver([act])
            except Refused as refused:
                await self._retry_or_drop(act, refused)

    async def _retry_or_drop(self, act: SignedAct, refused: Refused) -> None:
        """Signs a refused act again where that can help, else drops it. The server has never accepted it, or it would
        have repeated its first answer. After a restore, the same act may find its place once the server has the acts
        before it."""
        is_explained = refused.code in _PLACE_TAKEN or recovery.is_recovering(refused) or _is_unknown(refused)
        if is_explained and await self._restore_after(refused):
            try:
                await self._deliver([act])
                return
            except Refused as again:
                refused = again
        if recovery.is_recovering(refused):
            kept = self.session.records.get("unsent", self.info.cid, UnsentActs)
            await self._store_unsent([act.raw, *(kept.acts if kept else ())])
            return
        if refused.code in _PLACE_TAKEN or refused.code == "iat_out_of_range":
            fields = act.payload.model_dump(exclude_none=True, exclude=set(_HEADER_FIELDS), mode="python")
            if refused.code in _PLACE_TAKEN:
                await self.enter_own_missing()
            # After the end only an erasure statement can be sent (ERA-1).
            is_its_time = (self.history.state.phase == "open") == (act.kind != "erasure")
            if is_its_time and act.kind != "rotate":
                try:
                    await self._send_replacement(act, self.sign_act(act.kind, **_as_tuples(fields)))
                    return
                except Refused as again:
                    refused = again
        self.dropped_acts.append(DroppedAct(act.kind, refused))

    async def _send_replacement(self, before: SignedAct, act: SignedAct) -> None:
        """Sends an act that was signed again; stored first, ahead of the other unsent acts, with the words of the act
        it replaces."""
        words = self.session.records.get("bodies", before.id, dict)
        beside: list[Entry] = [] if words is None else [("bodies", act.id, words), ("bodies", before.id, None)]
        away = self.session.records.get("away", self.info.cid, AwayMute)
        if away is not None and away.mute == before.id:
            beside.append(("away", self.info.cid, AwayMute(act.id, away.before)))
        waiting = self.session.records.get("unsent", self.info.cid, UnsentActs)
        await self._store_unsent([act.raw, *(waiting.acts if waiting else ())], *beside)
        await self._deliver([act])

    async def _send(
        self, acts: list[SignedAct], about: Callable[[SignedAct], Sequence[Entry]] | None
    ) -> list[HistoryRecord]:
        more = [entry for act in acts for entry in (about(act) if about else ())]
        await self._store_before_sending(acts, [act.raw for act in acts], *more)
        return await self._deliver(acts)

    async def _store_answers(self, acts: list[SignedAct], unknown: list[str], records: list[Entry]) -> None:
        """Stores the accepted acts and removes the answered ones from the queue, in one write."""
        kept = self.session.records.get("unsent", self.info.cid, UnsentActs)
        answered = {act.raw for act in acts} - set(unknown)
        await self._store_unsent([raw for raw in (kept.acts if kept else ()) if raw not in answered], *records)

    async def _deliver(self, acts: list[SignedAct]) -> list[HistoryRecord]:
        home = self.session.server(self.info.home)
        if len(acts) == 1:
            answers: list[http_api.Acceptance | Refused | Unreachable] = [
                await _answer_or_fault(home.submit_act(acts[0].raw))
            ]
        else:
            answers = await home.submit_acts([act.raw for act in acts])
        records, given, refused = [], list[str | None](), None
        for act, answer in zip(acts, answers, strict=True):
            if isinstance(answer, Exception):
                refused = refused or answer
                continue
            if answer.receipt is not None:
                self._early_receipts[act.id] = answer.receipt
            try:
                records.append(await self._enter_answer(act, answer))
            except BaseException:
                # Records that fit before it are in the history, so they must be on disk too.
                self._unstored += records
                await self.session.records.store(*self._late_entries())
                raise
            given.append(self._early_receipts.pop(act.id, answer.receipt))
        unknown = [act.raw for act, answer in zip(acts, answers, strict=True) if isinstance(answer, Unreachable)]
        kept = [
            entry
            for record, receipt in zip(records, given, strict=True)
            for entry in self.record_entries(record, receipt)
        ]
        with self.session.tolerate_write_errors():
            await self._store_answers(acts, unknown, kept)
        self._accepted += records
        if refused is not None:
            raise refused
        return records

    async def _enter_answer(self, act: SignedAct, answer: http_api.Acceptance) -> HistoryRecord:
        evidence = (act.raw, answer.event)
        if answer.act != act.id:
            raise Contradiction("the answer names another act", evidence)
        await self.check_event_key(answer.event, writes=True)
        record = self.history.read(answer.event, act)
        self.session.accepted_kinds.append(act.kind)
        # The server accepts no request under the old key.
        self._rotated_to = act.payload.kid if isinstance(act.payload, Rotate) else None
        try:
            self.history.enter(record)
        except Contradiction:
            # It may name acts of the other side or of another copy of this wallet: read those, then judge.
            if not self._knows_own_head(record):
                await self.fetch_own_missing()
            self._add_waiting([record])
            with self.session.tolerate_write_errors():
                await self._catch_up()
                await self.enter_waiting()
                self.history.enter(record)
        finally:
            self._rotated_to = None
        return record

    def _knows_own_head(self, record: HistoryRecord) -> bool:
        head = _previous_act(record, self.info.side)
        return head == self.info.cid or any(it.act is not None and it.act.id == head for it in self.history.records)


def _is_unknown(refused: Refused) -> bool:
    return refused.code in recovery.UNKNOWN


async def _answer_or_fault(call: Awaitable[http_api.Acceptance]) -> http_api.Acceptance | Refused | Unreachable:
    try:
        return await call
    except (Refused, Unreachable) as fault:
        return fault


def _previous_act(record: HistoryRecord, side: Side) -> str:
    """The id of the act of `side` before this one, or the `cid`. The `prev` of a revoke names the last act that its
    writer knew, possibly an old one (CONN-5); the acceptance names the true one (EVENT-7)."""
    assert isinstance(record.event, Accepted) and record.act is not None
    as_of, payload = record.event.as_of, record.act.payload
    return payload.prev if record.act.chain == "settings" else getattr(as_of, side)


def record_entry(cid: str, record: HistoryRecord) -> Entry:
    """The entry that stores a record; its key sorts by time. A message is stored with its acceptance, even if a
    delivery brought it."""
    act = record.act if isinstance(record.event, Accepted) else None
    return f"log/{cid}", f"{record.at:015d}", StoredRecord(record.raw, None if act is None else act.raw)


def _as_tuples(value: Any) -> Any:
    """The members of a payload in the form that the models take."""
    if isinstance(value, dict):
        return {name: _as_tuples(item) for name, item in value.items()}
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


async def restore_all(queues: Iterable[SendQueue], faults: Faults) -> None:
    """Restores every connection that a restored server lacks; a fault in one does not stop the others."""
    for queue in queues:
        with faults.collect():
            await queue.restore_to_server()
