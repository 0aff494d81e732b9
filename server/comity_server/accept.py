"""The way in: every change of what the server knows goes through here, one group at a time.

    take      what waits (up to GROUP acts) becomes one group
    open      signatures are checked in chunks, on threads
    decide    each command in turn, by the pure rules, on the group's working copy
    seal      the events are signed
    commit    one transaction; only now is anything true
    answer    and only now is anybody told

If the commit fails, or nobody knows whether it did, all of the group are told to come again (503), and what the
server had in memory about the connections in it is dropped. A client that sends the same act again then gets either
its first answer or its first decision.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from comity.acts import NARROWING, Grant, SignedAct
from comity.errors import Refused
from comity.state import Connection, decode_state
from comity_server.businesses import NotPossible
from comity_server.clock import Clock
from comity_server.deliver.bell import Bell
from comity_server.group import Answer, Counters, Grounds, Group, unplaced
from comity_server.logs import logger
from comity_server.metrics import Metrics
from comity_server.opening import Crypto
from comity_server.states import States
from comity_server.store.rows import Batch, Reservation
from comity_server.store.sqlite import StoreFailed

GROUP = 256
"""Acts in one transaction, about."""

Result = Answer | Refused
R = TypeVar("R")
Decide = Callable[[Group], Awaitable[Any]]


class WriterStore(Protocol):
    """What the writer asks of a store."""

    async def commit(self, batch: Batch) -> None: ...
    async def states(self, cids: Sequence[str]) -> dict[str, bytes]: ...
    async def acceptances(self, ids: Sequence[str]) -> dict[str, str]: ...
    async def reservations(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Reservation]: ...
    async def meta(self) -> dict[str, str]: ...


@dataclass(slots=True, eq=False)
class _Command:
    """Something to decide: acts (raw, then opened) or a function of the group; never both."""

    done: asyncio.Future[Any]
    raws: Sequence[bytes] = ()
    decide: Decide | None = None
    cids: Sequence[str] = ()
    acts: list[SignedAct | Refused] = field(default_factory=list)
    result: Any = None

    @property
    def weight(self) -> int:
        return max(1, len(self.raws))


class Accept:
    """The one writer, and the queue before it."""

    def __init__(
        self,
        store: WriterStore,
        grounds: Grounds,
        clock: Clock,
        crypto: Crypto,
        bell: Bell,
        metrics: Metrics,
        *,
        most_waiting: int,
        most_states: int,
    ) -> None:
        self._store = store
        self._grounds = grounds
        self._clock = clock
        self._crypto = crypto
        self._bell = bell
        self._metrics = metrics
        self._most = most_waiting
        self._waiting: deque[_Command] = deque()
        self._weight = 0
        self._news = asyncio.Event()
        self._states = States(most_states)
        self._counters: Counters | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.wake_releases = asyncio.Event()
        """Set after each commit that may have changed when the next release is due."""

    # --- coming in --------------------------------------------------------------------------------------------------

    async def acts(self, raws: Sequence[bytes]) -> list[Result]:
        """Accept acts in order; each is answered by itself. Raises Refused("overloaded") for all of them."""
        if not self._has_room(len(raws), self._most - self._most // 8):
            await self._must_narrow(raws)
        answers: list[Result] = await self._put(_Command(self._future(), raws=raws))
        return answers

    async def command(self, decide: Callable[[Group], Awaitable[R]], cids: Sequence[str] = ()) -> R:
        """Decide something else than acts as part of a group, with the connections `cids` at hand.

        Raises what `decide` raises, or Refused("overloaded").
        """
        if not self._has_room(1, self._most - self._most // 8):
            raise _overloaded()
        return cast(R, await self._put(_Command(self._future(), decide=decide, cids=cids)))

    def _future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def _has_room(self, more: int, most: int) -> bool:
        return not self._stopping and self._weight + more <= most

    async def _must_narrow(self, raws: Sequence[bytes]) -> None:
        """Raises Refused("overloaded") unless what is left of the queue is kept for this: a single act by which a
        known side says no. The check costs a signature, so the reserve cannot be filled with noise."""
        if len(raws) != 1 or not self._has_room(1, self._most):
            raise _overloaded()
        (act,) = await self._crypto.open_acts(raws)
        if isinstance(act, Refused):
            raise act
        if act.kind not in NARROWING:
            raise _overloaded()
        state = (await self._load({act.payload.cid})).get(act.payload.cid)
        if state is None or state.side_of(act.payload.iss) is None:
            raise Refused("not_found")

    async def _put(self, command: _Command) -> Any:
        if self._stopping or self._weight + command.weight > self._most:
            raise _overloaded()
        self._waiting.append(command)
        self._weight += command.weight
        self._news.set()
        return await command.done

    # --- the loop ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take commands."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self) -> None:
        """Take no more, finish what was taken, and end."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await self._task
        self._crypto.close()

    async def _run(self) -> None:
        while self._waiting or not self._stopping:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            commands = self._take()
            try:
                await self._process(commands)
            except Exception as error:  # the writer must outlive any mistake in one group
                self._metrics.failed.inc()
                logger().error("group_failed", exc_info=error, count=len(commands))
                self._fail(commands)
            self._metrics.queued.set(self._weight)

    def _take(self) -> list[_Command]:
        taken: list[_Command] = []
        weight = 0
        while self._waiting and (not taken or weight + self._waiting[0].weight <= GROUP):
            command = self._waiting.popleft()
            weight += command.weight
            taken.append(command)
        self._weight -= weight
        return taken

    def _fail(self, commands: list[_Command]) -> None:
        # Whatever was in hand is in doubt: the next group reads the store again.
        self._counters = None
        for command in commands:
            if not command.done.done():
                command.done.set_exception(_overloaded())

    # --- one group --------------------------------------------------------------------------------------------------

    async def _process(self, commands: list[_Command]) -> None:
        await self._open(commands)
        group = await self._group(commands)
        try:
            for command in commands:
                await self._decide(command, group)
            await self._commit(group)
        except BaseException:
            for cid in group.states:
                self._states.forget(cid)
            raise
        self._took_effect(group)
        for command in commands:
            self._answer(command)

    async def _open(self, commands: list[_Command]) -> None:
        raws = [raw for command in commands for raw in command.raws]
        opened = iter(await self._crypto.open_acts(raws))
        for command in commands:
            command.acts = [next(opened) for _ in command.raws]

    async def _group(self, commands: list[_Command]) -> Group:
        """The working copy, with all that the acts in hand will need, read in as few hops as there are kinds."""
        acts = [act for command in commands for act in command.acts if isinstance(act, SignedAct)]
        if self._counters is None:
            self._counters = await self._read_counters()
        counters = Counters(self._counters.index, self._counters.news)
        group = Group(self._grounds, self._clock.now(), counters)
        named = {cid for command in commands for cid in command.cids}
        group.states = await self._load(named | {act.payload.cid for act in acts})
        if ids := unplaced(acts, group.states):
            group.first_answers = await self._store.acceptances(ids)
        if places := self._places(acts):
            group.reservations = await self._store.reservations(places)
        return group

    async def _load(self, cids: set[str]) -> dict[str, Connection]:
        found = {cid: state for cid in cids if (state := self._states.get(cid)) is not None}
        missing = [cid for cid in cids if cid not in found]
        if missing:
            stored = await self._store.states(missing)
            found.update({cid: decode_state(blob) for cid, blob in stored.items()})
        return found

    def _places(self, acts: list[SignedAct]) -> list[tuple[int, int]]:
        references = [act.payload.status.status_list for act in acts if isinstance(act.payload, Grant)]
        numbered = [(self._grounds.lists.number_of(reference.uri), reference.idx) for reference in references]
        return [(number, idx) for number, idx in numbered if number is not None]

    async def _read_counters(self) -> Counters:
        meta = await self._store.meta()
        return Counters(int(meta.get("next_index", "0")), int(meta.get("next_news", "0")))

    async def _decide(self, command: _Command, group: Group) -> None:
        if command.decide is None:
            command.result = decide_batch(command.acts, group)
            return
        try:
            command.result = await command.decide(group)
        except (Refused, NotPossible) as refused:
            command.result = refused

    async def _commit(self, group: Group) -> None:
        batch = group.finish()
        events = await self._crypto.seal_events([event for event, _ in group.to_seal])
        for (_, answer), raw in zip(group.to_seal, events, strict=True):
            answer.event = raw
        group.fill_in()
        if not batch.is_empty():
            began = time.perf_counter()
            try:
                await self._store.commit(batch)
            except StoreFailed:
                self._counters = None
                raise
            self._metrics.commit_seconds.observe(time.perf_counter() - began)
            self._metrics.groups.inc()

    def _took_effect(self, group: Group) -> None:
        """After the commit and before any answer: whoever was answered must find it true everywhere."""
        self._counters = group.counters
        for state in group.states.values():
            self._states.put(state)
        self._grounds.lists.put(group.batch.put_status)
        self._metrics.acts.inc(group.accepted)
        self._metrics.released.inc(group.released)
        self._bell.ring(group.rung)
        if any(row["wake_at"] is not None for row in group.batch.put_connection):
            self.wake_releases.set()

    def _answer(self, command: _Command) -> None:
        # Whoever hung up meanwhile has a cancelled future; the act was accepted all the same.
        if command.done.done():
            return
        if command.decide is not None and isinstance(command.result, Exception):
            command.done.set_exception(command.result)
        else:
            command.done.set_result(command.result)


def decide_batch(acts: Sequence[SignedAct | Refused], group: Group) -> list[Result]:
    """Each act of one request in order; after a refused one, later acts of its chain are not tried (HTTP-12).

    A revoke is: it closes the chain, wherever that stands.
    """
    results: list[Result] = []
    broken: set[tuple[str, str, str]] = set()
    for act in acts:
        if isinstance(act, Refused):
            results.append(act)
            continue
        chain = (act.payload.cid, act.payload.iss, act.chain)
        known = act.id in group.first_answers
        try:
            if chain in broken and act.kind != "revoke" and not known:
                raise Refused("after_refused")
            results.append(group.act(act))
        except Refused as refused:
            broken.add(chain)
            results.append(refused)
        except Exception as error:  # a mistake of ours over one act must not become its neighbours' 503
            logger().error("act_failed", exc_info=error)
            broken.add(chain)
            results.append(Refused("internal"))
    return results


def _overloaded() -> Refused:
    return Refused("overloaded", retry_after=1)
