"""The only way to change the store: one unit of work at a time.

    verify    signatures of waiting acts are verified in chunks, on threads, while the unit before is committed
    take      verified acts (up to GROUP) form one unit of work
    decide    each command in turn, by the pure rules, on the unit's working copy
    commit    the events are signed, and all rows are written in one transaction; only now does anything take effect
    answer    senders of acts are answered as soon as the log's checkpoint covers them, all others at once

If the commit fails, or its outcome is unknown, all of the unit are asked to repeat (503), and the cached states of its
connections are dropped. A client that sends the same act again gets its first answer, or its first decision.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from comity.documents.acts import Feedback, Grant, SignedAct, is_narrowing
from comity.errors import Refused
from comity.lru import LRU
from comity.rules.feedback import DeliveredMessage
from comity.rules.narrowing import is_new_restriction
from comity.rules.state import Connection, decode_state
from comity_server.clock import ServerClock
from comity_server.config import Config
from comity_server.errors import NotPossible
from comity_server.limits.backlog import rooms_of
from comity_server.limits.capacity import PLACE, user
from comity_server.limits.rate_limits import Over
from comity_server.limits.shares import Pool, User
from comity_server.log.appender import Additions
from comity_server.logging import REQUEST_ID, logger
from comity_server.metrics import Metrics
from comity_server.pubsub import Broker
from comity_server.refusals import clock_doubtful, refusal_of
from comity_server.store.errors import Overtaken, StoreFailed
from comity_server.store.rows import Batch, Known, Reservation
from comity_server.writer.context import DecisionContext, GroundsStore
from comity_server.writer.decision_cache import VerdictCache
from comity_server.writer.queue import PIECE, Command, Queue
from comity_server.writer.repeats import possible_repeats
from comity_server.writer.signature_pool import SignaturePool
from comity_server.writer.time_lead import Leads
from comity_server.writer.unit_of_work import Answer, UnitOfWork

GROUP = 256
"""Acts in one transaction, about."""
CLOCK_TOLERANCE = 10_000
"""ms by which a clock may be behind the last commit: time then does not advance until the clock has caught up."""

Result = Answer | Refused
R = TypeVar("R")
A = TypeVar("A", bound=Additions)


class WriterStore(GroundsStore, Protocol):
    """The queries of the writer."""

    async def commit(self, batch: Batch, before: Callable[[], None]) -> None: ...
    async def states(self, cids: Sequence[str]) -> dict[str, Known]: ...
    async def acceptances(self, ids: Sequence[str]) -> dict[str, str]: ...
    async def reservations(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Reservation]: ...
    async def messages_by_id(self, ids: Sequence[str]) -> dict[str, DeliveredMessage]: ...
    async def meta(self) -> dict[str, str]: ...
    async def raws(self, acts: Sequence[tuple[str, str]]) -> dict[str, str]: ...


class WriterLog(Protocol[A]):
    """The log as the writer uses it: it assigns places, and takes over commits."""

    @property
    def origin(self) -> str: ...
    def additions(self) -> A: ...
    def apply_commit(self, added: A) -> None: ...
    async def in_doubt(self) -> None: ...
    def when_covered(self, size: int, go_on: Callable[[], None]) -> None: ...
    async def wait_until_signed(self) -> None: ...


class Writer:
    """The one writer, and the queue before it."""

    def __init__(
        self,
        store: WriterStore,
        context: DecisionContext,
        log: WriterLog[Any],
        clock: ServerClock,
        crypto: SignaturePool,
        broker: Broker,
        metrics: Metrics,
        config: Config,
        *,
        since: int,
    ) -> None:
        self._store = store
        self._context = context
        self._log = log
        self._clock = clock
        self.crypto = crypto
        self._broker = broker
        self._metrics = metrics
        self.room, self._lines, self._kept = rooms_of(config.max_queue)
        self._waiting = Queue()
        self._opened = Queue()
        self._states = LRU[str, tuple[Connection, bytes]](config.cached_connections)
        self._leads = Leads()
        self.verdicts = VerdictCache(config.kept_verdicts)
        """The cache of verdicts for checks."""
        self._news: int | None = None
        self._is_sure = True
        self._is_failing = False
        self.decided = 0
        self._time_stood = since
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.wake_releases = asyncio.Event()
        """Set after each commit that may have changed when the next release is due."""
        self.overtaken = asyncio.Event()
        """Set when another server writes the same store: this one must leave."""

    @property
    def context(self) -> DecisionContext:
        """The context of decisions beside the connections."""
        return self._context

    @property
    def origin(self) -> str:
        """The log that is written."""
        return self._log.origin

    @property
    def weight(self) -> int:
        """The waiting commands."""
        return self.room.taken + self._lines.taken + self._kept.taken

    # --- coming in --------------------------------------------------------------------------------------------------

    async def acts(self, raws: Sequence[bytes], over: Over | None = None) -> list[Result]:
        """Accept acts in order; each is answered by itself. Of a sender who is `over` a rate, those that close
        something (CONN-24). Raises Refused("overloaded") for all of them."""
        if len(raws) > 1:
            return await self._batch(raws, over)
        command = Command(self._future(), raws=raws, over=over)
        place = PLACE.get()
        ticket = None if place is None else place.ticket
        if ticket is not None and place is not None and not ticket.says_no:
            place.ticket, command.user, command.room = None, ticket.user, ticket.room
        elif ticket is not None or not self._is_let_in(command, self.room):
            # A request that passed because it claims to be a "no" has to be one, even if there is room by now: else
            # everybody's acts would pass in that way.
            await self._must_narrow(command)
        answers: list[Result] = await self._put(command)
        return answers

    async def _batch(self, raws: Sequence[bytes], over: Over | None) -> list[Result]:
        """The same for many, in pieces, each of which is decided by itself. A batch that is larger than the whole room
        gets in when no other is there, or it never would."""
        if self._stopping or not self._lines.take(user(), len(raws)):
            raise _overloaded_refusal()
        broken: set[tuple[str, str, str]] = set()
        pieces = [
            Command(self._future(), raws=raws[at : at + PIECE], over=over, room=self._lines, broken=broken)
            for at in range(0, len(raws), PIECE)
        ]
        self._waiting.put(pieces)
        answers: list[list[Result]] = await asyncio.gather(*(piece.done for piece in pieces))
        return [answer for piece in answers for answer in piece]

    async def command(
        self, decide: Callable[[UnitOfWork], Awaitable[R]], cids: Sequence[str] = (), *, narrows: bool = False
    ) -> R:
        """Decides a command other than acts as part of a unit of work, with the connections `cids` loaded. A command
        that `narrows` may use the part of the queue that is reserved for a "no", and is decided while the clock is in
        doubt.

        Raises the faults of `decide`, or Refused("overloaded").
        """
        command = Command(self._future(), decide=decide, cids=cids, narrows=narrows)
        if not (self._is_let_in(command, self.room) or (narrows and self._is_let_in(command, self._kept))):
            raise _overloaded_refusal()
        return cast(R, await self._put(command))

    def _future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def _is_let_in(self, command: Command, room: Pool) -> bool:
        """True, and its weight is taken, if the command finds room."""
        if self._stopping or not room.take(command.user, command.weight):
            return False
        command.room = room
        return True

    async def _must_narrow(self, command: Command) -> None:
        """Raises Refused("overloaded") unless the reserve of the queue is for this command: a single act by which a
        known side narrows something (CONN-24), contests, or repeats an act. The check costs a signature, so noise
        cannot fill the reserve; signers share it, so that a "no" waits for nobody who happens to have the same
        address."""
        if self._stopping or self._kept.taken >= self._kept.size:
            raise _overloaded_refusal()
        (act,) = await self.crypto.open_acts(command.raws)
        if isinstance(act, Refused):
            raise act
        payload = act.payload
        if not is_narrowing(payload):
            raise _overloaded_refusal()
        state = await self.state(payload.cid)
        side = None if state is None else state.side_of(payload.iss)
        if state is None or side is None:
            raise Refused("not_found")
        is_new = act.chain == "settings" or payload.seq >= state.door(side).seq
        if is_new and payload.act != "feedback" and not is_new_restriction(state, side, payload, self._clock.now()):
            raise _overloaded_refusal()
        command.user = User(act.payload.iss)
        if not self._is_let_in(command, self._kept):
            raise _overloaded_refusal()

    async def state(self, cid: str) -> Connection | None:
        """The connection as it was committed last."""
        known = self._states.get(cid)
        if known is not None:
            return known[0]
        stored = (await self._store.states([cid])).get(cid)
        return None if stored is None else decode_state(stored.state)

    async def _put(self, command: Command) -> Any:
        self._waiting.put([command])
        return await command.done

    # --- the two loops ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take commands."""
        self._tasks = [
            asyncio.create_task(self._open_all(), name="opener"),
            asyncio.create_task(self._write_all(), name="writer"),
        ]

    async def stop(self) -> None:
        """Accepts no more commands, finishes the accepted ones, and ends."""
        self._stopping = True
        self._waiting.close()
        await asyncio.gather(*self._tasks)
        self.crypto.close()

    async def _open_all(self) -> None:
        while commands := await self._waiting.take(GROUP):
            if await self._went_well(commands, self._open):
                self._opened.put(commands)
        self._opened.close()

    async def _write_all(self) -> None:
        while commands := await self._opened.take(GROUP):
            if await self._went_well(commands, self._process):
                self._note_time(commands)
                self._let_go(commands)
                self.decided += len(commands)
                # Commands that arrive while a checkpoint is signed enlarge the next unit, and a larger unit costs less
                # for each.
                if sum(command.weight for command in commands) < GROUP:
                    await self._log.wait_until_signed()

    async def _went_well(self, commands: list[Command], work: Callable[[list[Command]], Awaitable[None]]) -> bool:
        """Do the work; the loops must outlive any mistake in one group."""
        try:
            await work(commands)
        except Exception as error:
            self._metrics.failed.inc()
            self._log_failure(error, commands)
            # Every command of the unit is in doubt: the next unit reads the store again.
            self._is_sure = False
            if isinstance(error, Overtaken):
                self.overtaken.set()
            for command in commands:
                if not command.done.done():
                    command.done.set_exception(refusal_of(error))
            self._let_go(commands)
            return False
        return True

    def _log_failure(self, error: Exception, commands: list[Command]) -> None:
        """Log a group that failed. While the store does, the first one alone: a condition says the rest (OPS-2)."""
        REQUEST_ID.set(None)
        if isinstance(error, StoreFailed) and self._is_failing:
            return
        self._is_failing = isinstance(error, StoreFailed)
        ids = [command.request_id for command in commands if command.request_id is not None]
        why = {"reason": str(error)} if self._is_failing else {}
        logger().error("group_failed", exc_info=error, count=len(commands), request_ids=ids, **why)

    def _note_time(self, commands: list[Command]) -> None:
        if came_at := [command.came_at for command in commands if command.room is self.room]:
            self.room.adapt_capacity(time.perf_counter() - min(came_at))

    def _let_go(self, commands: list[Command]) -> None:
        for command in commands:
            if command.room is not None:
                command.room.give(command.user, command.weight)
        self._metrics.queued.set(self.weight)

    # --- one group --------------------------------------------------------------------------------------------------

    async def _process(self, commands: list[Command]) -> None:
        unit = await self._group(commands)
        try:
            for command in commands:
                await self._decide(command, unit)
            REQUEST_ID.set(None)
            await self._commit(unit)
        except BaseException:
            for cid in unit.states:
                self._states.forget(cid)
            self.verdicts.in_doubt()
            raise
        self._took_effect(unit)
        waiting = [command for command in commands if command.was_accepted]
        for command in commands:
            if not command.was_accepted:
                self._answer(command)
        if waiting:
            # Acts took effect; their answers wait a little for a checkpoint that covers them (LOG-13).
            self._log.when_covered(unit.log.place().index, lambda: self._answer_all(waiting))

    async def _open(self, commands: list[Command]) -> None:
        raws = [raw for command in commands for raw in command.raws]
        opened = iter(await self.crypto.open_acts(raws))
        for command in commands:
            command.acts = [next(opened) for _ in command.raws]

    async def _group(self, commands: list[Command]) -> UnitOfWork:
        """The working copy, with everything that the acts will need, read in one query for each kind of row."""
        acts = [act for command in commands for act in command.acts if isinstance(act, SignedAct)]
        if not self._is_sure:
            await self._be_sure()
        if self._news is None:
            self._news = int((await self._store.meta()).get("last_news", "0"))
        now, stands = self._time(), self.is_clock_doubtful()
        unit = UnitOfWork(self._context, now, self._log.additions(), self._news, self._leads, stands)
        named = {cid for command in commands for cid in command.cids}
        await self._load(named | {act.payload.cid for act in acts}, unit)
        if ids := possible_repeats(acts, unit.states):
            unit.first_answers = await self._store.acceptances(ids)
        if places := self.places(acts):
            unit.reservations = await self._store.reservations(places)
        if messages := [act.payload.message for act in acts if isinstance(act.payload, Feedback)]:
            unit.reached = await self._store.messages_by_id(messages)
        return unit

    async def _be_sure(self) -> None:
        """After a commit that may have taken effect: nothing in memory counts before it is read again, and everybody
        whom the commit concerned is informed (LOG-12)."""
        await self._log.in_doubt()
        await self._context.read(self._store)
        self._news, self._is_sure = None, True
        self._broker.ring_all()
        self.wake_releases.set()

    def _time(self) -> int:
        """The current time, never decreasing; it does not advance while the clock is in doubt (CLOCK-2)."""
        if not self.is_clock_doubtful():
            self._time_stood = max(self._clock.now(), self._time_stood)
        return self._time_stood

    def clock_behind(self) -> int:
        """ms by which the clock is behind the last commit, 0 where that is so little that it is waited for."""
        behind = self._time_stood - self._clock.now()
        return behind if behind > CLOCK_TOLERANCE else 0

    def is_clock_doubtful(self) -> bool:
        """Whether only what says no is committed."""
        return self._clock.ahead() > 0 or self.clock_behind() > 0

    async def _load(self, cids: set[str], unit: UnitOfWork) -> None:
        missing = []
        for cid in cids:
            known = self._states.get(cid)
            if known is None:
                missing.append(cid)
            else:
                unit.states[cid], unit.tag_secrets[cid] = known
        for cid, stored in (await self._store.states(missing)).items() if missing else ():
            unit.states[cid], unit.tag_secrets[cid] = decode_state(stored.state), stored.tag_secret

    def places(self, acts: Sequence[SignedAct]) -> list[tuple[int, int]]:
        """The places in status lists that grants among the acts name."""
        references = [act.payload.status.status_list for act in acts if isinstance(act.payload, Grant)]
        numbered = [(self._context.lists.number_of(reference.uri), reference.idx) for reference in references]
        return [(number, idx) for number, idx in numbered if number is not None]

    async def _decide(self, command: Command, unit: UnitOfWork) -> None:
        REQUEST_ID.set(command.request_id)
        if command.decide is None:
            command.result = decide_batch(command.acts, unit, command.over, command.broken)
            return
        try:
            if unit.time_stands and not command.narrows:
                raise clock_doubtful()
            command.result = await command.decide(unit)
        except (Refused, NotPossible) as refused:
            command.result = refused

    async def _commit(self, unit: UnitOfWork) -> None:
        batch = unit.finish()
        if batch.is_empty():
            return
        missing = unit.log.missing_acts()
        unit.log.write(batch, unit.now, await self._store.raws(missing) if missing else {})
        began = time.perf_counter()
        # Signing lets go of the interpreter's lock, so it is done where the writing is: in the store's thread.
        await self._store.commit(batch, lambda: self._seal(unit))
        self.room.commit = time.perf_counter() - began
        self._metrics.commit_seconds.observe(self.room.commit)
        self._metrics.groups.inc()
        self._is_failing = False

    def _seal(self, unit: UnitOfWork) -> None:
        for event, answer in unit.to_seal:
            answer.event = unit.seal(event)
        unit.fill_in()

    def _took_effect(self, unit: UnitOfWork) -> None:
        """After the commit and before any answer: an answered client must find its act in force everywhere."""
        self._news = unit.news
        self._log.apply_commit(unit.log)
        for state in unit.states.values():
            self._states.put(state.cid, (state, unit.tag_secrets[state.cid]))
        self.verdicts.drop_written(unit.states)
        if unit.batch.put_notice:
            # A verdict says until when a party is away, in any number of connections.
            self.verdicts.in_doubt()
        self._context.apply(unit.batch, unit.new_business_keys(), unit.added_api_keys, unit.added_signers)
        self._metrics.acts.inc(unit.accepted)
        self._metrics.exempt_contests.inc(unit.exempt_contests)
        self._metrics.released.inc(unit.released)
        self._broker.ring(unit.rung)
        if any(row["wake_at"] is not None for row in unit.batch.put_connection):
            self.wake_releases.set()

    def _answer_all(self, commands: list[Command]) -> None:
        for command in commands:
            self._answer(command)

    def _answer(self, command: Command) -> None:
        # A client that disconnected meanwhile has a cancelled future; the act was accepted all the same.
        if command.done.done():
            return
        if command.decide is not None and isinstance(command.result, Exception):
            command.done.set_exception(command.result)
        else:
            command.done.set_result(command.result)


def decide_batch(
    acts: Sequence[SignedAct | Refused],
    unit: UnitOfWork,
    over: Over | None = None,
    broken: set[tuple[str, str, str]] | None = None,
) -> list[Result]:
    """Decides each act of one request in order; after a refused act, later acts of its chain are not tried (HTTP-12).
    `broken` are the chains of acts that were refused in earlier pieces of the request; it is added to.

    A revoke is always tried: it closes the chain, wherever the chain ends.
    """
    results: list[Result] = []
    broken = set() if broken is None else broken
    for act in acts:
        if isinstance(act, Refused):
            results.append(act)
            continue
        chain = (act.payload.cid, act.payload.iss, act.chain)
        try:
            if chain in broken and act.kind != "revoke" and not unit.knows(act.id):
                raise Refused("after_refused")
            results.append(unit.act(act, over))
        except Refused as refused:
            broken.add(chain)
            results.append(refused)
        except Exception as error:  # a mistake of ours over one act must not become its neighbours' 503
            logger().error("act_failed", exc_info=error)
            broken.add(chain)
            results.append(Refused("internal"))
    return results


def _overloaded_refusal() -> Refused:
    return Refused("overloaded", retry_after=1)
