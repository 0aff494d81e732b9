"""One side's writing: seal, keep, send, check the answer, keep it.

The sealed act is on disk before it is sent, so after a kill or a lost answer the very same bytes go out again and
get their first answer. A refusal leaves its place in the chain free. Receipts are checked after all that, so that
neither a log that stands still nor one that lies can undo an act or keep one waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from comity import http_api
from comity.client.connection import receipts, recovery
from comity.client.connection.history import Line
from comity.client.connection.stored_connection import StoredConnection
from comity.client.session import Core, Faults
from comity.client.storage.records import AwayMute, Entered, Entry, Link, Unsent
from comity.crypto.keys import PublicKey, key_of_did
from comity.documents.acts import Rotate, SignedAct, is_narrowing, open_act
from comity.documents.events import Accepted
from comity.documents.types import Side
from comity.errors import Contradiction, Refused, Unreachable
from comity.rules.next_act import next_act, next_mailbox

_PLACE = frozenset({"seq_taken", "seq_gap", "prev_mismatch", "after_refused"})
"""Refusals that another device's acts explain: read the inbox and compose again."""
_TRIES = 5
_COMPOSED = frozenset({"iss", "aud", "iat", "cid", "seq", "prev", "act"})

Compose = Callable[[], list[SignedAct]]


class Dropped(NamedTuple):
    """An act that was waiting to be sent again, and is refused for good."""

    kind: str
    refused: Refused


class SendQueue(StoredConnection):
    """The pen of one side of one connection; its lock makes the acts of a chain follow each other."""

    def __init__(self, core: Core, link: Link, catch_up: Callable[[], Awaitable[None]]) -> None:
        super().__init__(core, link)
        self.lock = asyncio.Lock()
        self.dropped: list[Dropped] = []
        self.waiting: list[Line] = []
        """Own acts that were accepted, oldest first, until the inbox was read up to their times: each names what the
        other side did before it (EVENT-7)."""
        self._entered_unkept: list[Line] = []
        """Lines that are in the ledger and not on disk, as something behind them did not fit."""
        self._written: list[Line] = []
        self._came: dict[str, str] = {}
        self._catch_up = catch_up

    async def write(self, kind: str, /, **fields: Any) -> Line:
        """One act, accepted and entered."""
        lines = await self.write_all(lambda: [self.seal(kind, **fields)])
        return lines[0]

    def seal(self, kind: str, /, **fields: Any) -> SignedAct:
        """The next act of this side."""
        present = {name: value for name, value in fields.items() if value is not None}
        state, side, now = self.book.state, self.link.side, self.core.seconds()
        if kind == "mailbox" and "did" in present:
            # Its proof is for one place of the chain, so it is made with the setting and never taken over (ACT-15).
            box = self.core.signer(key_of_did(present["did"]).kid)
            return next_mailbox(state, side, now, self.signer, box)
        return next_act(state, side, kind, now, self.signer, **present)

    async def write_all(self, make: Compose, about: Callable[[SignedAct], Sequence[Entry]] | None = None) -> list[Line]:
        """Acts that belong together, in one batch; what `about` returns for each is kept in the same write as the
        sealed acts. Raises Refused, Unreachable, Contradiction, NotOpen."""
        _ = self.book
        async with self._pen():
            with self.core.keeping_after():
                await self._settle()
            for _ in range(_TRIES):
                try:
                    return await self._send(make(), about)
                except Refused as refused:
                    if refused.code not in _PLACE and not recovery.waits(refused) and not _is_unknown(refused):
                        raise
                    if not await self._brought_back(refused) and refused.code not in _PLACE:
                        raise
                # Another device of this wallet wrote meanwhile: once more, behind what it wrote.
                with self.core.keeping_after():
                    await self.recover()
            return await self._send(make(), about)

    async def write_last(self, act: SignedAct) -> Line:
        """A revoke: ahead of everything that waits, since nothing may stand between a side and its "no"."""
        async with self._pen():
            waiting = self._waiting()
            await self._keep_first([act], [act.raw, *(it.raw for it in waiting)])
            try:
                (line,) = await self._deliver([act])
            except Refused as refused:
                if not _is_unknown(refused) or not await self._brought_back(refused):
                    raise
                (line,) = await self._deliver([act])
            with self.core.keeping_after():
                await self._resend(waiting)
            return line

    async def settle(self) -> None:
        """Sends again what was sealed and never answered."""
        async with self._pen():
            await self._settle()

    @asynccontextmanager
    async def _pen(self) -> AsyncIterator[None]:
        """The lock of this chain. What was accepted under it has its receipts checked once others may write again."""
        written: list[Line] = []
        async with self.core.judging():
            try:
                async with self.lock:
                    try:
                        yield
                    finally:
                        written, self._written = self._written, []
            except (Refused, Unreachable):
                await self._settle_receipts(written)
                raise
            await self._settle_receipts(written)

    async def _settle_receipts(self, written: list[Line]) -> None:
        # Receipts that cannot be kept are fetched another time.
        if self.core.kept.unkept is None:
            with self.core.keeping_after():
                await receipts.settle(self, written)

    # --- what another copy of this wallet wrote ---

    async def recover(self) -> bool:
        """Reads the own acts that this wallet does not have: it is an old copy, or not the only one. Whether there
        were any."""
        found = await self.fetch_own()
        await self._catch_up()
        await self.enter_waiting()
        return found

    async def fetch_own(self) -> bool:
        """Fetches the own acts that this wallet does not have, and lets them wait for their place. Whether there were
        any."""
        found = await self._own_missing()
        self._let_wait(found)
        return bool(found)

    async def _own_missing(self) -> list[Line]:
        """Both own chains, from their heads at the server back to what is known here."""
        home, signer, side = self.core.home(self.link.home), self.signer, self.link.side
        answer, _ = await home.connection(self.link.cid, signer)
        known = {line.act.id for line in (*self.book.lines, *self.waiting) if line.act is not None} | {self.link.cid}
        found: list[Line] = []
        for head in (getattr(answer.heads, side).head, answer.settings.head):
            while head not in known:
                try:
                    stated = await home.act_answer(head, signer)
                except Refused as fault:
                    raise Contradiction(f"the server names an act that it does not show: {fault}", (head,)) from None
                await self.expect(stated.event, writes=True)
                line = self.book.read(stated.event, stated.act)
                if line.act is None or line.act.id != head:
                    raise Contradiction("the server shows another act than was asked for", (stated.event, head))
                known.add(head)
                found.append(line)
                if stated.receipt is not None:
                    self._came[head] = stated.receipt
                head = _before(line, side)
        return found

    def _let_wait(self, lines: Sequence[Line]) -> None:
        self.waiting = sorted([*self.waiting, *lines], key=lambda line: line.at)

    def enter(self, line: Line) -> list[Line]:
        """Enters a line of the inbox, and before it the own ones that wait and are older: by now everything that the
        other side did before them was read. Raises Contradiction."""
        entered: list[Line] = []
        try:
            while self.waiting and self.waiting[0].at < line.at:
                entered += self.book.enter(self.waiting.pop(0))
            entered += self.book.enter(line)
        except BaseException:
            self._entered_unkept += entered
            raise
        return entered

    async def enter_waiting(self) -> None:
        """Enters and keeps the own lines that wait, once the inbox was read to its end. Raises Contradiction."""
        try:
            while self.waiting:
                self._entered_unkept += self.book.enter(self.waiting.pop(0))
        finally:
            await self.core.kept.keep(*self._kept_late())

    def kept(self, line: Line, receipt: str | None = None) -> list[Entry]:
        """How a line is kept: itself, and for an own act its receipt or that it is owed. With it comes what entered the
        ledger before and is not on disk: a file with a gap could never be read again."""
        return [*self._kept_late(), *self._kept_line(line, receipt)]

    def _kept_late(self) -> list[Entry]:
        late, self._entered_unkept = self._entered_unkept, []
        return [entry for line in late for entry in self._kept_line(line)]

    def _kept_line(self, line: Line, receipt: str | None = None) -> list[Entry]:
        if line.act is not None:
            receipt = receipt or self._came.pop(line.act.id, None)
        return [*self.left_out(), kept_line(self.link.cid, line), *receipts.entered(self, line, receipt)]

    # --- after a restore of the server ---

    async def bring_back(self) -> None:
        """Where the server was restored, hands in what it lacks and confirms; reads what came of it."""
        if recovery.may_be_unknown(self):
            async with self.core.judging(), self.lock:
                was_unknown = await recovery.bring_back_unknown(self)
            if was_unknown:
                await self._catch_up()
        if recovery.is_owed(self):
            async with self.core.judging(), self.lock:
                await recovery.bring_back(self)
            await self._catch_up()
            await self.settle()

    async def went_on_without(self) -> bool:
        """Whether this side's recovery was over before this wallet came to it, which explains lines that do not fit."""
        before = len(self.book.lines)
        if recovery.is_owed(self):
            await recovery.bring_back(self)
        return len(self.book.lines) < before

    async def _brought_back(self, refused: Refused) -> bool:
        """The same inside the lock, where an act was refused that this may explain. Whether it was so."""
        if _is_unknown(refused):
            await self.core.logs.ask(self.link.home)
            if not recovery.may_be_unknown(self) or not await recovery.bring_back_unknown(self):
                return False
        await self._catch_up()
        if not recovery.is_owed(self):
            return False
        await recovery.bring_back(self)
        await self._catch_up()
        return True

    # --- inside the lock ---

    def _waiting(self) -> list[SignedAct]:
        kept = self.core.kept.get("unsent", self.link.cid, Unsent)
        if kept is None:
            return []
        return [open_act(raw, self._own_key) for raw in kept.acts]

    def _own_key(self, kid: str) -> PublicKey | None:
        # Any key that this wallet has: what waits may have been signed before a business took its next one.
        return self.core.signer(kid).key.public if kid in self.core.kept.file.table("keys") else None

    async def _keep_unsent(self, raws: list[str], *beside: Entry) -> None:
        await self.core.kept.keep(*self._unsent(raws), *beside)

    def _unsent(self, raws: list[str]) -> list[Entry]:
        return [("unsent", self.link.cid, Unsent(tuple(raws)) if raws else None)]

    async def _keep_first(self, acts: Sequence[SignedAct], raws: list[str], *beside: Entry) -> None:
        """Keeps what is about to be sent. A "no" is sent even so where it cannot be kept: the server shows it again to
        whoever has the key (WHO-9). Raises WalletFileError for every other act."""
        if not all(is_narrowing(act.payload) for act in acts):
            await self.core.kept.keep_first(*self._unsent(raws), *beside)
            return
        with self.core.keeping_after():
            await self.core.kept.keep(*self._unsent(raws), *beside)

    async def _settle(self) -> None:
        if self.core.kept.file.table("unsent").get(self.link.cid) is not None:
            await self._resend(self._waiting())

    async def _resend(self, waiting: list[SignedAct]) -> None:
        for act in waiting:
            try:
                await self._deliver([act])
            except Refused as refused:
                await self._again_or_drop(act, refused)

    async def _again_or_drop(self, act: SignedAct, refused: Refused) -> None:
        """The server has never taken it, or it would have repeated its first answer: so it may be signed anew. Where
        the server was restored, the same act may find its place once it has what came before."""
        is_explained = refused.code in _PLACE or recovery.waits(refused) or _is_unknown(refused)
        if is_explained and await self._brought_back(refused):
            try:
                await self._deliver([act])
                return
            except Refused as again:
                refused = again
        if recovery.waits(refused):
            kept = self.core.kept.get("unsent", self.link.cid, Unsent)
            await self._keep_unsent([act.raw, *(kept.acts if kept else ())])
            return
        if refused.code in _PLACE or refused.code == "iat_out_of_range":
            fields = act.payload.model_dump(exclude_none=True, exclude=set(_COMPOSED), mode="python")
            if refused.code in _PLACE:
                await self.recover()
            # After the end there is one thing left to say (ERA-1).
            is_its_time = (self.book.state.phase == "open") == (act.kind != "erasure")
            if is_its_time and act.kind != "rotate":
                try:
                    await self._once_more(act, self.seal(act.kind, **_tuples(fields)))
                    return
                except Refused as again:
                    refused = again
        self.dropped.append(Dropped(act.kind, refused))

    async def _once_more(self, before: SignedAct, act: SignedAct) -> None:
        """Sends what was signed anew; kept first, ahead of what still waits, with the words of the act before it."""
        words = self.core.kept.get("bodies", before.id, dict)
        beside: list[Entry] = [] if words is None else [("bodies", act.id, words), ("bodies", before.id, None)]
        away = self.core.kept.get("away", self.link.cid, AwayMute)
        if away is not None and away.mute == before.id:
            beside.append(("away", self.link.cid, AwayMute(act.id, away.before)))
        waiting = self.core.kept.get("unsent", self.link.cid, Unsent)
        await self._keep_unsent([act.raw, *(waiting.acts if waiting else ())], *beside)
        await self._deliver([act])

    async def _send(self, acts: list[SignedAct], about: Callable[[SignedAct], Sequence[Entry]] | None) -> list[Line]:
        more = [entry for act in acts for entry in (about(act) if about else ())]
        await self._keep_first(acts, [act.raw for act in acts], *more)
        return await self._deliver(acts)

    async def _answered(self, acts: list[SignedAct], unknown: list[str], lines: list[Entry]) -> None:
        """Keeps what was accepted and forgets what was answered, in one write."""
        kept = self.core.kept.get("unsent", self.link.cid, Unsent)
        answered = {act.raw for act in acts} - set(unknown)
        await self._keep_unsent([raw for raw in (kept.acts if kept else ()) if raw not in answered], *lines)

    async def _deliver(self, acts: list[SignedAct]) -> list[Line]:
        home = self.core.home(self.link.home)
        if len(acts) == 1:
            answers: list[http_api.Acceptance | Refused | Unreachable] = [await _one(home.act(acts[0].raw))]
        else:
            answers = await home.acts([act.raw for act in acts])
        lines, given, refused = [], list[str | None](), None
        for act, answer in zip(acts, answers, strict=True):
            if isinstance(answer, Exception):
                refused = refused or answer
                continue
            if answer.receipt is not None:
                self._came[act.id] = answer.receipt
            try:
                lines.append(await self._entered(act, answer))
            except BaseException:
                # What fitted before it is in the ledger, so it must be on disk, too.
                self._entered_unkept += lines
                await self.core.kept.keep(*self._kept_late())
                raise
            given.append(self._came.pop(act.id, answer.receipt))
        unknown = [act.raw for act, answer in zip(acts, answers, strict=True) if isinstance(answer, Unreachable)]
        kept = [entry for line, receipt in zip(lines, given, strict=True) for entry in self.kept(line, receipt)]
        with self.core.keeping_after():
            await self._answered(acts, unknown, kept)
        self._written += lines
        if refused is not None:
            raise refused
        return lines

    async def _entered(self, act: SignedAct, answer: http_api.Acceptance) -> Line:
        evidence = (act.raw, answer.event)
        if answer.act != act.id:
            raise Contradiction("the answer names another act", evidence)
        await self.expect(answer.event, writes=True)
        line = self.book.read(answer.event, act)
        self.core.taken.append(act.kind)
        # The server takes no request under the old key any more.
        self._rotated_to = act.payload.kid if isinstance(act.payload, Rotate) else None
        try:
            self.book.enter(line)
        except Contradiction:
            # It may name what the other side did meanwhile, or another copy of this wallet: read that, then judge.
            if not self._knows_own_head(line):
                await self.fetch_own()
            self._let_wait([line])
            with self.core.keeping_after():
                await self._catch_up()
                await self.enter_waiting()
                self.book.enter(line)
        finally:
            self._rotated_to = None
        return line

    def _knows_own_head(self, line: Line) -> bool:
        head = _before(line, self.link.side)
        return head == self.link.cid or any(it.act is not None and it.act.id == head for it in self.book.lines)


def _is_unknown(refused: Refused) -> bool:
    return refused.code in recovery.UNKNOWN


async def _one(call: Awaitable[http_api.Acceptance]) -> http_api.Acceptance | Refused | Unreachable:
    try:
        return await call
    except (Refused, Unreachable) as fault:
        return fault


def _before(line: Line, side: Side) -> str:
    """The id of the act before this one of `side`, or the `cid`. A revoke names in `prev` what its writer knew, which
    may have been long ago (CONN-5): what was really before it is in its acceptance (EVENT-7)."""
    assert isinstance(line.event, Accepted) and line.act is not None
    as_of, payload = line.event.as_of, line.act.payload
    return payload.prev if line.act.chain == "settings" else getattr(as_of, side)


def kept_line(cid: str, line: Line) -> Entry:
    """How a line of a ledger is kept; its key sorts by time. A message stands with its acceptance, also when it was a
    delivery that brought it."""
    act = line.act if isinstance(line.event, Accepted) else None
    return f"log/{cid}", f"{line.at:015d}", Entered(line.raw, None if act is None else act.raw)


def _tuples(value: Any) -> Any:
    """The members of a payload as the models want them again."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


async def bring_all_back(queues: Iterable[SendQueue], faults: Faults) -> None:
    """Brings back every connection that a restored server lacks; one that fails keeps no other from it."""
    for queue in queues:
        with faults.told_later():
            await queue.bring_back()
