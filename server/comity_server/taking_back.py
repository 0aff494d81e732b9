"""The server's own records come back after a restore, from those who kept them (spec/connection.md, REC-7, REC-8).

What was handed in is checked outside the writer; the writer folds it among what is stored, and writes all of it in one
commit. Nothing of it is decided again, and nothing gets an entry in the log that was begun.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from comity import recovery
from comity.acts import Grant, SignedAct
from comity.agreement import open_agreement
from comity.connection import expire
from comity.encoding import b64u_decode
from comity.errors import Contradiction, Malformed, Refused
from comity.events import Accepted, Confirmed, Delivered, Erased, Expired, Opened, Restored, open_event, read_event
from comity.fold import Record, opening
from comity.jws import FindKey
from comity.state import Connection
from comity.words import SIDES, Side
from comity_server.contest_rows import note_contest
from comity_server.group import Group
from comity_server.logs import logger
from comity_server.opening import Crypto
from comity_server.store.rows import Kept


class Handed(NamedTuple):
    """A record that was handed in, with the text of its event."""

    cid: str
    record: Record
    raw: str


class TakingStore(Protocol):
    """What is asked of a store."""

    async def agreement(self, cid: str) -> tuple[bytes, str] | None: ...
    async def history(self, cid: str) -> list[Kept]: ...


class _Stored(NamedTuple):
    """What the store has of a connection."""

    start: Connection
    records: list[Record]
    texts: set[str]
    """The texts of the events."""


async def open_handed(
    lines: Sequence[tuple[str, str | None]], crypto: Crypto, find_key: FindKey, home: str
) -> list[Handed | Refused]:
    """Each record, or why it is none, in order: the event is this server's own, and the act the one that it is about.
    Raises Malformed where they are of several connections."""
    raws = [act.encode("ascii") for _, act in lines if act is not None]
    acts = iter(await crypto.open_acts(raws))
    pairs = [(event, None if act is None else next(acts)) for event, act in lines]

    def check() -> list[Handed | Refused]:
        return [_opened(event, act, find_key, home) for event, act in pairs]

    opened = await asyncio.to_thread(check)
    if len({it.cid for it in opened if isinstance(it, Handed)}) > 1:
        raise Malformed("records of several connections")
    return opened


def _opened(raw: str, act: SignedAct | Refused | None, find_key: FindKey, home: str) -> Handed | Refused:
    try:
        event = open_event(raw, find_key).event
    except Refused as refused:
        return refused
    if event.iss != home or isinstance(event, Erased):
        return Refused("bad_signature", "not this server's event about a connection")
    if isinstance(act, Refused):
        return act
    if not isinstance(event, Accepted):
        return Handed(event.cid, Record(event), raw)
    if act is None and event.kind != "message":
        return Malformed("the act is missing")
    if act is not None and act.id != event.act:
        return Malformed("the event is about another act")
    return Handed(event.cid, Record(event, act), raw)


async def take_back(
    store: TakingStore, crypto: Crypto, cid: str, handed: Sequence[Handed], group: Group
) -> list[Refused | None]:
    """Take back those records that find their places; why each of the others does not, in order."""
    before = group.states.get(cid)
    if before is None:
        raise Refused("not_found")
    if group.is_touched(cid):
        # What this group changed is not stored yet, and would be missing from the history.
        raise Refused("overloaded", retry_after=1)
    stored = await _stored(store, crypto, cid)
    refusals = [_refusal(it, before, stored, group) for it in handed]
    good = [it for it, why in zip(handed, refusals, strict=True) if why is None]
    if offered := {it.raw: it for it in good if it.raw not in stored.texts}:
        merged = await _merged(stored, [it.record for it in offered.values()])
        texts = {id(it.record): it.raw for it in offered.values()}
        _write(group, before, merged, texts)
        codes = {texts[id(record)]: code for record, code in merged.refused}
        refusals = [
            Refused(codes[it.raw]) if why is None and it.raw in codes else why
            for it, why in zip(handed, refusals, strict=True)
        ]
    return refusals


def _refusal(handed: Handed, before: Connection, stored: _Stored, group: Group) -> Refused | None:
    """Why a record is not looked at at all; None for one that is, or that is there."""
    event, act = handed.record
    if handed.raw in stored.texts:
        return None
    if before.phase == "open" and not before.recovering:
        return Refused("prev_mismatch", "this connection does not recover")
    if isinstance(event, Accepted) and act is None and not _is_kept(group, before, event.side):
        # Its sender has the text (REC-8).
        return Refused("recovering", "its sender hands it in")
    return None


def _is_kept(group: Group, state: Connection, side: Side) -> bool:
    return group.grounds.kept.signer(state.door(side).kid) is not None


async def _stored(store: TakingStore, crypto: Crypto, cid: str) -> _Stored:
    """What the store has of the connection, in the order of its times. Raises Refused("internal") where it cannot be
    read."""
    rows, agreement = await store.history(cid), await store.agreement(cid)
    acts = iter(await crypto.open_acts([row.raw.encode("ascii") for row in rows if row.raw]))
    records, start = list[Record](), None
    for row in rows:
        event, act = read_event(b64u_decode(row.event.split(".")[1])), next(acts) if row.raw else None
        if isinstance(event, Opened) and agreement is not None:
            start = opening(open_agreement(agreement[0]), event)
        elif not isinstance(act, Refused):
            records.append(Record(event, act))
    if start is None or len(records) + 1 != len(rows):
        logger().error("history_unreadable", cid=cid)
        raise Refused("internal")
    return _Stored(start, records, {row.event for row in rows})


async def _merged(stored: _Stored, offered: Sequence[Record]) -> recovery.Merged:
    try:
        return await asyncio.to_thread(recovery.take_back, stored.start, stored.records, offered)
    except Contradiction as fault:
        logger().error("history_unreadable", reason=fault.claim)
        raise Refused("internal") from None


def _write(group: Group, before: Connection, merged: recovery.Merged, texts: dict[int, str]) -> None:
    """The rows of what was taken back, and who is told of it."""
    delivered = [event.act for event, _ in merged.taken if isinstance(event, Delivered)]
    replaced = [event.replaces for event, _ in merged.taken if isinstance(event, Accepted)]
    group.change(before, merged.state, [*delivered, *replaced])
    lost = list[str]()
    for record in merged.taken:
        event, raw = record.event, texts[id(record)]
        if isinstance(event, Accepted):
            _keep_act(group, event, record.act, raw)
            payload = None if record.act is None else record.act.payload
            note_contest(group.batch, group.grounds.directory.hosted, payload, event, merged.state)
            lost += [event.act] if record.act is None else []
        else:
            act = getattr(event, "act", None)
            row = {"cid": before.cid, "at": event.at, "kind": event.event, "act": act, "raw": raw}
            group.batch.put_event.append(row)  # type: ignore[arg-type]
        _tell(group, merged.state, record)
    for side in SIDES:
        for held in merged.state.door(side).held:
            if held.id in lost:
                _expire(group, before.cid, side, held.id)


def _keep_act(group: Group, event: Accepted, act: SignedAct | None, raw: str) -> None:
    row = {"cid": event.cid, "id": event.act, "side": event.side, "chain": event.chain, "seq": event.seq}
    text = "" if act is None else act.raw
    group.batch.put_act.append({**row, "raw": text, "accepted_at": event.at, "event": raw})  # type: ignore[typeddict-item]
    if act is None or not isinstance(act.payload, Grant):
        return
    reference = act.payload.status.status_list
    number = group.grounds.lists.number_of_any(reference.uri)
    if number is not None:
        place = {"list_no": number, "idx": reference.idx, "cid": event.cid, "side": event.side}
        told = {"reserved_at": event.at, "grant_id": event.act, "expires_at": act.payload.exp * 1000}
        group.batch.take_index.append({**place, **told})


def _tell(group: Group, after: Connection, record: Record) -> None:
    """Both sides learn of it as they did at first; what is said of settings stays with their owner."""
    event = record.event
    if isinstance(event, Accepted):
        group.tell_act(after, event)
    elif isinstance(event, Delivered | Expired):
        group.tell_release(after, event)
    elif isinstance(event, Restored | Confirmed):
        for side in SIDES:
            group.tell(after.door(side), "event", event.cid, None, shown=False, at=event.at)


def _expire(group: Group, cid: str, side: Side, act: str) -> None:
    """State that a message whose text nobody has any more will not come (REC-8)."""
    before = group.states[cid]
    at, place = max(group.now, before.at + 1), group.log.place()
    event, after = expire(before, side, act, at, place, group.grounds.zones)
    group.change(before, after)
    group.state_event(event, act)
    group.tell_release(after, event)
