"""Signing: from what was committed to a checkpoint that everybody may see.

The order of writing (LOG-12), and what a crash behind each step would mean:

    1 commit      acts, salts, places, entries, tiles and head, in one transaction (`accept`)
                  before it: nothing happened. After it: the acts are accepted for good; who sent them was told nothing
                  yet, sends them again and gets the answer. The next start goes on with step 2.
    2 re-read     through another connection, hashed again from the acts (`reread`)
                  nothing was written: the next start reads again. What does not fit together is never signed.
    3 sign        the checkpoint, from what step 2 found
                  it existed in this process alone; the next start signs the same tree, or a larger one.
    4 remember    the checkpoint in the head file
                  the file may say more than the world knows, never less; the next start must reach that tree.
    5 publish     in this process's memory: from here on it is served
                  whoever saw it can rely on step 4.
    6 receipts    answers are let go
                  an answer that was lost is asked for again, or its receipt is.

Acts took effect in step 1. If anything behind it stands still, they are answered without a receipt (LOG-13).
"""

import asyncio
import math
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from comity.lru import LRU
from comity.transparency import merkle
from comity.transparency.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from comity.transparency.notes import NoteSigner, VerifierKey
from comity.transparency.tiles import node_reader
from comity_server.log.appender import Entered, LogAdditions, Tail, tail_of
from comity_server.log.commit_check import Rereading, StoredTiles
from comity_server.log.head_file import HeadFile, WillNotLast
from comity_server.logging import logger
from comity_server.store.contract import Reading
from comity_server.store.errors import Overtaken, StoreDamaged, StoreFailed
from comity_server.store.rows import Head

RECEIPT_WITHIN = 2.0
"""Seconds for which an answer waits for its receipt (LOG-13)."""
REMEMBERED = 10.0
"""Seconds for which it is known when a checkpoint was published."""
SETTLES_WITHIN = 0.02
"""Seconds for which the next group waits for the signature of the last one."""
SYNC_EVERY = 1.0
"""Seconds after which the head file is made to survive a power cut."""
PAUSE = 1.0
"""Seconds after which a failed attempt is made again."""
MOST_RECENT = 8192
"""The number of subtrees, and of entries, of the last commits that are in memory for receipts."""

K = TypeVar("K")
T = TypeVar("T")


class LogStore(Protocol):
    """The queries of signing."""

    async def head(self, log: str) -> Head | None: ...
    async def begin_term(self, log: str, empty_root: bytes) -> Head: ...
    async def reread(self, judge: Callable[[Reading], T]) -> T: ...


class _Waiter(NamedTuple):
    size: int
    go_on: Callable[[], None]
    timer: asyncio.TimerHandle


class Sequencer:
    """The one who signs one log. `starting.begin` makes one."""

    def __init__(
        self, store: LogStore, signer: NoteSigner, file: HeadFile, tail: Tail, first: SignedCheckpoint
    ) -> None:
        self._store = store
        self._signer = signer
        self._file = file
        self._rereading = Rereading(first.checkpoint, tail)
        self.tail = tail
        """The committed end of the log, as the writer knows it."""
        self.published = first
        """The published checkpoint."""
        self.changed = asyncio.Event()
        """Set when `published` changes."""
        self.halted: str | None = None
        """Why nothing is signed any more, if so."""
        self.failing: str | None = None
        """Why nothing could be signed the last time, or could not be made to last, if so."""
        self._fails = False
        self._tried: LogAdditions | None = None
        self._published = deque([(first.size, time.monotonic())])
        self._nodes = LRU[merkle.Node, bytes](MOST_RECENT)
        self._entered = LRU[int, Entered](MOST_RECENT)
        self._waiters: deque[_Waiter] = deque()
        self._committed = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self._signer.name

    @property
    def key(self) -> VerifierKey:
        """The key that verifies the log's signatures."""
        return self._signer.verifier

    # --- the writer's side ------------------------------------------------------------------------------------------

    def additions(self) -> LogAdditions:
        """The additions of a new unit of work."""
        self._tried = LogAdditions(self.tail)
        return self._tried

    def apply_commit(self, added: LogAdditions) -> None:
        """Takes over the additions of a commit."""
        self.tail = added.tail
        self._nodes.update(added.nodes)
        self._entered.update(added.entered)
        self._committed.set()

    async def in_doubt(self) -> None:
        """After a commit whose outcome is unknown, adopts the stored head, which is the one before the commit or the
        one after it (LOG-12). Raises StoreFailed, StoreDamaged, Overtaken."""
        head = await self._store.head(self.origin)
        if head is None or head.term != self.tail.term:
            raise Overtaken("another server writes this store")
        if (head.size, head.root) == (self.tail.size, self.tail.edge.root()):
            return
        tried = self._tried
        if tried is None or (head.size, head.root) != (tried.tail.size, tried.tail.edge.root()):
            raise StoreDamaged(f"{self.origin}: the stored head is nothing that was written")
        self.apply_commit(tried)

    def is_behind(self, proof: SignedCheckpoint, reason: str) -> None:
        """A larger tree of this log was signed by its key once: sign nothing more, at the next start neither."""
        self.halt(reason)
        self._file.write(proof)

    def halt(self, reason: str) -> None:
        """Sign nothing more; acts go on, without receipts."""
        self.halted = self.halted or reason
        self._let_go(self.tail.size)

    # --- the reader's side ------------------------------------------------------------------------------------------

    def when_covered(self, size: int, go_on: Callable[[], None]) -> None:
        """Call `go_on` as soon as a checkpoint covers that many entries, or after a while all the same (LOG-13)."""
        if self.published.size >= size or self.halted is not None or self._fails:
            go_on()
            return
        waiter: _Waiter

        def give_up() -> None:
            # Signing has stopped: a new waiter would wait in vain, and use the room of others.
            self._fails = True
            self._waiters.remove(waiter)
            go_on()

        waiter = _Waiter(size, go_on, asyncio.get_running_loop().call_later(RECEIPT_WITHIN, give_up))
        self._waiters.append(waiter)

    async def wait_until_signed(self) -> None:
        """Returns when every committed entry is signed, or after a moment: a slow signer delays nobody."""
        if self.published.size >= self.tail.size or self.halted is not None or self._fails:
            return
        loop = asyncio.get_running_loop()
        signed: asyncio.Future[None] = loop.create_future()

        def go_on() -> None:
            if not signed.done():
                signed.set_result(None)

        self.when_covered(self.tail.size, go_on)
        timer = loop.call_later(SETTLES_WITHIN, go_on)
        await signed
        timer.cancel()

    def overtaken_for(self, size: int) -> float:
        """Seconds since a larger tree than that was published; 0 while there is none."""
        later = bisect_right(self._published, size, key=lambda it: it[0])
        if later == len(self._published):
            return 0.0
        # Checkpoints between this one and the oldest remembered are forgotten; they are old.
        return time.monotonic() - self._published[later][1] if later else math.inf

    def recent(self, index: int) -> Entered | None:
        """An entry of the last commits."""
        return self._entered.get(index)

    def recent_node(self, height: int, index: int) -> bytes:
        """A subtree that the last commits completed. Raises KeyError."""
        return self._nodes[(height, index)]

    # --- signing ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts to sign commits."""
        self._task = asyncio.create_task(self._run(), name=f"sequencer {self.origin}")
        self._syncing = asyncio.create_task(self._sync(), name=f"head file {self.origin}")

    async def stop(self) -> None:
        """Signs the last commit, and ends."""
        self._stopping = True
        self._committed.set()
        if self._task is not None:
            # Not cancelled: its job in a thread of the store would go on, and write into a closed file.
            await self._task
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
        self._let_go(self.tail.size)
        try:
            self._file.close()
        except OSError as fault:
            self.halt(f"the head file could not be made to last: {fault.strerror}")

    async def _run(self) -> None:
        is_last = False
        while self.halted is None and not is_last:
            await self._committed.wait()
            self._committed.clear()
            # From a stop on nothing is committed any more, so one that begins after it covers all there is.
            is_last = self._stopping
            try:
                await self._sign()
            except StoreDamaged as fault:
                self.halt(str(fault))
            except WillNotLast as fault:
                self.halt(f"the head file cannot be made to last: {fault.strerror}")
            except (StoreFailed, OSError) as fault:
                self.failing = _why(fault)
                # Waiters would wait in vain, and use the room of others (LOG-13).
                self._fails = True
                self._let_go(self.tail.size)
                await asyncio.sleep(0 if is_last else PAUSE)
                self._committed.set()
            except Exception as error:
                logger().error("signing_failed", log=self.origin, exc_info=error)
                self.halt("a mistake in the server")
            if self._stopping:
                self._committed.set()

    async def _sign(self) -> None:
        if self.halted is not None or self.tail.size == self.published.size:
            return

        def sign(reading: Reading) -> SignedCheckpoint:
            # Steps 2, 3 and 4, in this order, in one hop to a thread of the store.
            head = self._rereading.step(reading)
            signed = sign_checkpoint(Checkpoint(self.origin, head.size, head.root), self._signer)
            self._file.write(signed)
            return signed

        signed = await self._store.reread(sign)
        # The store can be ahead of the writer, whose commit has just returned in another thread; the served checkpoint
        # and the tail must agree.
        while self.tail.size < signed.size and not self._stopping:
            self._committed.clear()
            await self._committed.wait()
        if self.tail.size >= signed.size and self.halted is None:
            self._publish(signed)

    def _publish(self, signed: SignedCheckpoint) -> None:
        self.published = signed
        self._fails, self.failing = False, None
        self._published.append((signed.size, time.monotonic()))
        # The oldest one stays for as long as it was not overtaken long ago.
        while self._published[1][1] < time.monotonic() - REMEMBERED:
            self._published.popleft()
        self.changed.set()
        self._let_go(signed.size)

    def _let_go(self, size: int) -> None:
        """Wakes the waiters for that many entries, or fewer."""
        while self._waiters and self._waiters[0].size <= size:
            waiter = self._waiters.popleft()
            waiter.timer.cancel()
            waiter.go_on()

    async def _sync(self) -> None:
        seen = self._file.last
        while True:
            await asyncio.sleep(SYNC_EVERY)
            if (last := self._file.last) is seen:
                continue
            try:
                await asyncio.to_thread(self._file.sync)
                seen, self.failing = last, None
            except WillNotLast as fault:
                # The next power cut may erase the signed checkpoint unnoticed.
                self.halt(f"the head file cannot be made to last: {fault.strerror}")
                return
            except OSError as fault:
                # Nothing else is signed before this is done.
                self.failing = _why(fault)


def _why(fault: StoreFailed | OSError) -> str:
    """The cause of the fault, without the path of a file."""
    if isinstance(fault, OSError):
        return f"the head file cannot be written: {fault.strerror}"
    return f"the store cannot be read: {fault}"


def read_tail(reading: Reading, log: str, term: int) -> Tail:
    """The end of a log as it is stored. Raises StoreDamaged, Overtaken."""
    head = reading.head(log)
    if head is None:
        raise StoreDamaged(f"{log}: no head is stored")
    if head.term != term:
        raise Overtaken("another server writes this store")
    return tail_of(log, head, node_reader(head.size, StoredTiles(reading, log, head.size)))
