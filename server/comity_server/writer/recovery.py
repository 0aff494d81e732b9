"""After a restore: the server states it in every open connection before it decides anything else there, and a
connection continues when both sides have confirmed what they hold (spec/connection.md, section "Recovery", REC-1 to
REC-6)."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from comity.documents.types import Side
from comity.errors import Refused
from comity.rules import recovery
from comity.rules.recovery import HeadName, Heads
from comity.rules.state import Connection
from comity_server.log.restores import PENDING, Restore
from comity_server.logging import logger
from comity_server.status_lists import FIRST_LIST, StatusLists
from comity_server.store.rows import Batch, StoredAct
from comity_server.writer.unit_of_work import UnitOfWork
from comity_server.writer.writer import Writer

AT_ONCE = 200
"""The number of connections that one commit informs."""
NEWS_APART = 2**32
"""Numbers of news that are passed over: those behind the copy were given out once, and are in readers' cursors."""
RESTORED = "restored"
"""The reason reported for a half that waited when the server was restored."""
LISTS_APART = 16
"""Status lists that are passed over: their indexes may have been given out since the copy was made."""


_REASON = "this store was put back from an older copy: each connection waits until both sides have confirmed"


class RestoringStore(Protocol):
    """The queries of a recovery."""

    async def meta(self) -> dict[str, str]: ...
    async def commit(self, batch: Batch) -> None: ...
    async def waiting_proposals(self, most: int) -> list[tuple[str, str, str]]: ...
    async def open_connections(self, after: str, most: int) -> list[str]: ...
    async def act(self, id_: str) -> StoredAct | None: ...


# --- the start


async def restore_all(
    store: RestoringStore,
    accept: Writer,
    lists: StatusLists,
    restores: Mapping[str, Restore],
    state_keys: Callable[[], Awaitable[None]],
) -> None:
    """States the latest restore in every open connection, some at a time. The server accepts no request before this
    returns. A start that was interrupted here continues with the remaining ones. `state_keys` enters the statements
    about the server's own keys, before any other entry of the log (HOME-2)."""
    meta = await store.meta()
    if not (log := meta.get(PENDING)):
        await state_keys()
        return
    logger().warning("restored", log=log, reason=_REASON)
    # Indexes that were issued after the copy was made must not be issued again.
    news, first = int(meta.get("last_news", "0")) + NEWS_APART, lists.begin_behind(LISTS_APART)
    await store.commit(_meta({"last_news": str(news), FIRST_LIST: str(first)}))
    await state_keys()
    while halves := await store.waiting_proposals(AT_ONCE):
        await accept.command(partial(_end_halves, halves))
    after, told = "", 0
    while cids := await store.open_connections(after, AT_ONCE):
        told += await accept.command(partial(_state_restored, cids, restores[log].at), cids, narrows=True)
        after = cids[-1]
    await store.commit(_meta({PENDING: ""}))
    logger().info("restore_stated", log=log, count=told)


def _meta(values: dict[str, str]) -> Batch:
    return Batch(put_meta=[{"name": name, "value": value} for name, value in values.items()])


async def _end_halves(halves: list[tuple[str, str, str]], unit: UnitOfWork) -> None:
    """Withdraws each waiting half, whose accepter may have taken it back since the copy was made (REC-11), and reports
    it to both sides."""
    for cid, *dids in halves:
        end = {"cid": cid, "phase": "replaced", "ended_at": unit.now, "ended_by": None, "reason": RESTORED}
        unit.batch.end_proposal.append(end)
        for did in dids:
            unit.tell_stream(did, "declined", cid)


async def _state_restored(cids: list[str], at: int, unit: UnitOfWork) -> int:
    """In how many of these connections it was stated just now."""
    new = [cid for cid in cids if unit.states[cid].restored_at < at]
    for cid in new:
        before = unit.states[cid]
        unit.state_recovery(recovery.restored_event(before, max(unit.now, before.at + 1), unit.log.place()))
        unit.confirm_kept(cid, None)
    return len(new)


# --- heads


class Told(NamedTuple):
    """The heads that the server lacks, and the sides whose doors are recovering still."""

    lacks: tuple[HeadName, ...]
    recovering: tuple[Side, ...]


def is_side(state: Connection | None, did: str) -> bool:
    """Whether `did` is the current name of a side of the connection."""
    return state is not None and did in (state.first.did, state.second.did)


async def heads(store: RestoringStore, cid: str, did: str, named: Heads, unit: UnitOfWork) -> Told:
    """Compares what the side `did` holds with the store, and confirms the side if the server has all of it (REC-5,
    REC-6). Raises Refused("not_found")."""
    state = unit.states.get(cid)
    side = None if state is None else state.side_of(did)
    if state is None or side is None or state.door(side).did != did:
        raise Refused("not_found")
    lacks = await _lacks(store, state, side, named)
    if not lacks:
        if side in state.recovering:
            unit.confirm(cid, side)
        unit.confirm_kept(cid, side)
    return Told(lacks, unit.states[cid].recovering)


async def _lacks(store: RestoringStore, state: Connection, side: Side, named: Heads) -> tuple[HeadName, ...]:
    known: dict[HeadName, set[str]] = {
        "first": {state.first.head},
        "second": {state.second.head},
        "settings": {state.door(side).settings.head},
    }
    for name, head in (("first", named.first), ("second", named.second), ("settings", named.settings)):
        stored = await store.act(head)
        chain = ("settings", side) if name == "settings" else ("acts", name)
        if stored is not None and (stored.cid, stored.chain, stored.side) == (state.cid, *chain):
            known[name].add(head)  # type: ignore[index]
    return recovery.missing_heads(named, state.cid, known)
