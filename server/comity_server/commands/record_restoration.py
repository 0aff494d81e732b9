"""Restores the server's own records after a store was put back from an older copy, from the parties that hold them
(spec/connection.md, REC-7, REC-8).

Handed-in records are verified outside the writer. The writer folds them into the stored history and writes all of it in
one commit. No record is decided again, and none gets an entry in the new log. A connection that opened after the copy
was made is opened again first, from the records that opened it (REC-10).
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from comity.documents.acts import Grant, SignedAct
from comity.documents.agreements import SignedAgreement, open_agreement
from comity.documents.events import Accepted, Delivered, Erased, Expired, MuteOver, Opened, parse_event
from comity.documents.offers import SHORT
from comity.documents.types import SIDES, Side
from comity.encoding import b64u_decode, dump_json
from comity.errors import Contradiction, Malformed, Refused
from comity.rules import recovery
from comity.rules.decide import expire_held
from comity.rules.fold import Record, initial_state
from comity.rules.state import Connection
from comity_server.businesses.contests import note_contest
from comity_server.log.registry import Logs
from comity_server.logging import logger
from comity_server.server_keys import Home
from comity_server.store.rows import Kept, Offer
from comity_server.writer.context import DecisionContext
from comity_server.writer.signature_pool import SignaturePool
from comity_server.writer.unit_of_work import UnitOfWork
from comity_server.writer.writer import Writer

_TRIES = 3
"""How often the history is read again where the connection changed meanwhile."""


class Line(NamedTuple):
    """A record as it is handed in: an event, and the act that it is about, or the agreement that it opened."""

    event: str
    act: str | None = None
    agreement: dict[str, Any] | None = None


class Handed(NamedTuple):
    """A record that was handed in, with the text of its event, and for `opened` both signatures."""

    cid: str
    record: Record
    raw: str
    agreement: SignedAgreement | None = None


class TakingStore(Protocol):
    """The queries of a restoration."""

    async def agreement(self, cid: str) -> tuple[bytes, str] | None: ...
    async def offer(self, short: str) -> Offer | None: ...
    async def history(self, cid: str) -> list[Kept]: ...
    async def acceptances(self, ids: Iterable[str]) -> dict[str, str]: ...
    async def events_at(self, cid: str, times: Iterable[int]) -> dict[int, str]: ...


class _Stored(NamedTuple):
    """The stored part of a connection."""

    start: Connection
    records: list[Record]
    texts: set[str]
    """The texts of the events."""
    empty: set[str]
    """The messages whose text is lost."""


class _Plan(NamedTuple):
    """The rows to write, computed from the state `before` and the events `known` among those handed in."""

    before: Connection
    known: set[str]
    merged: recovery.MergeResult | None
    texts: dict[int, str]
    """The texts of the events, by the `id()` of the records."""
    fills: list[Handed]
    """Records that bring the text of a message whose acceptance was taken back alone."""
    answers: list[Refused | None]
    sides: dict[str, Side]
    """The owner of each accepted act, by its id."""


async def open_handed(lines: Sequence[Line], crypto: SignaturePool, home: Home) -> list[Handed | Refused]:
    """Each record, or why it is none, in order: the event is this server's own, and the act the one that it is about.
    Raises Malformed where they are of several connections."""
    acts = iter(await crypto.open_acts([line.act.encode("ascii") for line in lines if line.act is not None]))
    pairs = [(line, None if line.act is None else next(acts)) for line in lines]

    def check() -> list[Handed | Refused]:
        return [_open_line(line, act, home) for line, act in pairs]

    opened = await asyncio.to_thread(check)
    if len({item.cid for item in opened if isinstance(item, Handed)}) > 1:
        raise Malformed("records of several connections")
    return opened


def _open_line(line: Line, act: SignedAct | Refused | None, home: Home) -> Handed | Refused:
    raw = line.event
    try:
        event = home.keys.open_own(raw).event
        agreement = None if line.agreement is None else open_agreement(dump_json(line.agreement))
    except Refused as refused:
        return refused
    if event.iss != home.did or isinstance(event, Erased):
        return Refused("bad_signature", "not this server's event about a connection")
    if isinstance(act, Refused):
        return act
    if agreement is not None and not (isinstance(event, Opened) and agreement.cid == event.cid):
        return Malformed("the event opened another agreement")
    if not isinstance(event, Accepted):
        return Handed(event.cid, Record(event), raw, agreement)
    if act is None and (event.kind != "message" or event.includes_act):
        return Malformed("the act is missing")
    if act is not None and act.id != event.act:
        return Malformed("the event is about another act")
    return Handed(event.cid, Record(event, act), raw)


def is_one_revoke(handed: Sequence[Handed | Refused]) -> bool:
    """True for a "no" alone, which no limit keeps out."""
    if len(handed) != 1 or isinstance(handed[0], Refused):
        return False
    event = handed[0].record.event
    return isinstance(event, Accepted) and event.kind == "revoke"


async def take_back(
    store: TakingStore, accept: Writer, logs: Logs, cid: str, handed: Sequence[Handed]
) -> list[Refused | None]:
    """Take back those records that find their places; why each of the others does not, in order. The history is read
    and checked outside the writer, which only makes sure that nothing changed meanwhile. Raises Refused("not_found"),
    Refused("overloaded")."""
    # Only a single "no" may use the room that is reserved for one (HTTP-15).
    narrows = is_one_revoke(handed)
    if await accept.state(cid) is None:
        await _open_again(store, accept, logs, cid, handed)
    for _ in range(_TRIES):
        before = await accept.state(cid)
        if before is None:
            raise Refused("not_found")
        known = await _stored_events(store, cid, handed)
        if not (before.recovering or (before.phase == "ended" and before.restored_at)):
            why = Refused("prev_mismatch", "this connection does not recover")
            return [None if item.raw in known else why for item in handed]
        plan = await _plan(store, accept, before, known, handed)
        if plan.merged is None and not plan.fills:
            return plan.answers
        if await accept.command(partial(_carry_out, store, plan, handed), (cid,), narrows=narrows):
            return plan.answers
    raise Refused("overloaded", "the connection changes all the time", retry_after=1)


async def _open_again(store: TakingStore, accept: Writer, logs: Logs, cid: str, handed: Sequence[Handed]) -> None:
    """Opens a connection again that opened after the copy was made (REC-10). Raises Refused("not_found") if no
    handed-in record shows that it opened."""
    for item in handed:
        event, signed = item.record.event, item.agreement
        if isinstance(event, Opened) and signed is not None and logs.is_lost(event.log):
            break
    else:
        raise Refused("not_found")
    opened, whole, raw = event, signed, item.raw
    if not accept.context.home.keys.is_stated(whole.agreement.home):
        raise Refused("unknown_key", "the agreement pins a key that is broken, or none of this server's")
    state, offer = initial_state(whole, opened), await store.offer(whole.agreement.offer[:SHORT])

    async def decide(unit: UnitOfWork) -> None:
        if cid in unit.states:
            return
        # The half and an offer for one use have made this connection, and make no other.
        end = {"cid": cid, "phase": "opened", "ended_at": opened.at, "ended_by": None, "reason": None}
        unit.batch.end_proposal.append(end)
        if offer is not None and offer.hash == whole.agreement.offer and offer.uses == "one":
            unit.batch.use_offer.append({"short": offer.short, "used_at": opened.at})
        unit.open_again(state, opened, raw, whole)

    await accept.command(decide, (cid,))


async def _stored_events(store: TakingStore, cid: str, handed: Sequence[Handed]) -> set[str]:
    """The texts of those events that are stored."""
    events = [item.record.event for item in handed]
    accepted = await store.acceptances({event.act for event in events if isinstance(event, Accepted)})
    others = await store.events_at(cid, {event.at for event in events if not isinstance(event, Accepted)})
    return {item.raw for item in handed} & {*accepted.values(), *others.values()}


async def _plan(
    store: TakingStore, accept: Writer, before: Connection, known: set[str], handed: Sequence[Handed]
) -> _Plan:
    stored = await _read_stored(store, accept.crypto, before.cid)
    with_text = {item.record.act.id: item for item in handed if item.record.act is not None}
    fills = [with_text[act] for act in sorted(stored.empty & with_text.keys()) if with_text[act].raw in stored.texts]
    delivered = {item.record.event.act for item in handed if isinstance(item.record.event, Delivered)}
    lost = stored.empty - with_text.keys()
    answers = [
        None if item.raw in stored.texts else _refusal(item, before, accept.context, accept.origin, delivered, lost)
        for item in handed
    ]
    good = [item for item, why in zip(handed, answers, strict=True) if why is None]
    offered = {item.raw: item for item in good if item.raw not in stored.texts}
    records = [*stored.records, *(item.record for item in good)]
    sides = {event.act: event.side for event, _ in records if isinstance(event, Accepted)}
    if not offered:
        return _Plan(before, known, None, {}, fills, answers, sides)
    merged = await _merge(stored, [item.record for item in offered.values()])
    texts = {id(item.record): item.raw for item in offered.values()}
    codes = {texts[id(record)]: code for record, code in merged.refused}
    answers = [
        Refused(codes[item.raw]) if why is None and item.raw in codes else why
        for item, why in zip(handed, answers, strict=True)
    ]
    return _Plan(before, known, merged if merged.taken else None, texts, fills, answers, sides)


async def _carry_out(store: TakingStore, plan: _Plan, handed: Sequence[Handed], unit: UnitOfWork) -> bool:
    """Writes the plan if nothing has changed since it was made; returns whether it did."""
    cid = plan.before.cid
    if (
        unit.is_touched(cid)
        or unit.states.get(cid) != plan.before
        or plan.known != await _stored_events(store, cid, handed)
    ):
        return False
    for item in plan.fills:
        if item.record.act is not None:
            unit.batch.fill_act.append({"cid": cid, "id": item.record.act.id, "raw": item.record.act.raw})
    if plan.merged is not None:
        _write(unit, plan, plan.merged)
    return True


def _refusal(
    handed: Handed,
    before: Connection,
    context: DecisionContext,
    log: str,
    delivered: Collection[str],
    lost: Collection[str],
) -> Refused | None:
    """Why a record that is not stored is refused unread; None for an acceptable one. `log` is the active log,
    `delivered` the messages whose delivery is handed in too, `lost` the messages whose text nobody handed in."""
    event, act = handed.record
    if isinstance(event, Erased) or event.log == log:
        # The server has every event of the log that the restore began.
        return Refused("prev_mismatch", "the log that began with the restore has no such record")
    if isinstance(event, Delivered) and event.act in lost:
        return Malformed("the delivered act is missing")
    if isinstance(event, Accepted) and act is None:
        if event.act in delivered:
            return Malformed("the delivered act is missing")
        if not _is_kept(context, before, event.side):
            # Its sender has the text (REC-8).
            return Refused("recovering", "its sender hands it in")
    return None


def _is_kept(context: DecisionContext, state: Connection, side: Side) -> bool:
    return context.kept.signer(state.door(side).kid) is not None


async def _read_stored(store: TakingStore, crypto: SignaturePool, cid: str) -> _Stored:
    """The stored part of the connection, ordered by time. Raises Refused("internal") if it cannot be read."""
    rows, agreement = await store.history(cid), await store.agreement(cid)
    acts = iter(await crypto.open_acts([row.raw.encode("ascii") for row in rows if row.raw]))
    records, start = list[Record](), None
    for row in rows:
        event, act = parse_event(b64u_decode(row.event.split(".")[1])), next(acts) if row.raw else None
        if isinstance(event, Opened) and agreement is not None:
            start = initial_state(open_agreement(agreement[0]), event)
        elif not isinstance(act, Refused):
            records.append(Record(event, act))
    if start is None or len(records) + 1 != len(rows):
        logger().error("history_unreadable", cid=cid)
        raise Refused("internal")
    empty = {row.act for row in rows if row.kind == "accepted" and row.act is not None and not row.raw}
    return _Stored(start, records, {row.event for row in rows}, empty)


async def _merge(stored: _Stored, offered: Sequence[Record]) -> recovery.MergeResult:
    try:
        return await asyncio.to_thread(recovery.merge_records, stored.start, stored.records, offered)
    except Contradiction as fault:
        logger().error("history_unreadable", reason=fault.claim)
        raise Refused("internal") from None


def _write(unit: UnitOfWork, plan: _Plan, merged: recovery.MergeResult) -> None:
    """Adds the rows of the restored records, and the news about them."""
    before, texts = plan.before, plan.texts
    delivered = [event.act for event, _ in merged.taken if isinstance(event, Delivered)]
    replaced = [event.replaces for event, _ in merged.taken if isinstance(event, Accepted)]
    unit.change(before, merged.state, [*delivered, *replaced])
    lost = list[str]()
    for record in merged.taken:
        event, raw = record.event, texts[id(record)]
        if isinstance(event, Accepted):
            _keep_act(unit, event, record.act, raw)
            payload = None if record.act is None else record.act.payload
            note_contest(unit.batch, unit.context.directory.hosted, payload, event, merged.state)
            lost += [event.act] if record.act is None else []
        else:
            act = getattr(event, "act", None)
            row = {"cid": before.cid, "at": event.at, "kind": event.event, "act": act, "raw": raw}
            unit.batch.put_event.append(row)  # type: ignore[arg-type]
        _tell(unit, merged.state, record, plan.sides)
    for side in SIDES:
        for held in merged.state.door(side).held:
            if held.id in lost:
                _expire(unit, before.cid, side, held.id)


def _keep_act(unit: UnitOfWork, event: Accepted, act: SignedAct | None, raw: str) -> None:
    row = {"cid": event.cid, "id": event.act, "side": event.side, "chain": event.chain, "seq": event.seq}
    text = "" if act is None else act.raw
    unit.batch.put_act.append({**row, "raw": text, "accepted_at": event.at, "event": raw})  # type: ignore[typeddict-item]
    if act is None or not isinstance(act.payload, Grant):
        return
    reference = act.payload.status.status_list
    number = unit.context.lists.number_of_any(reference.uri)
    if number is not None:
        place = {"list_no": number, "idx": reference.idx, "cid": event.cid, "side": event.side}
        told = {"reserved_at": event.at, "grant_id": event.act, "expires_at": act.payload.exp * 1000}
        unit.batch.take_index.append({**place, **told})


def _tell(unit: UnitOfWork, after: Connection, record: Record, sides: dict[str, Side]) -> None:
    """Both sides get the news that they got at first; news about settings goes to their owner alone."""
    event = record.event
    if isinstance(event, Accepted):
        unit.tell_act(after, event)
    elif isinstance(event, Delivered | Expired):
        unit.tell_release(after, event)
    elif isinstance(event, MuteOver):
        # Its owner's mute is over by now, and the state holds no trace of it.
        if (owner := sides.get(event.act)) is not None:
            unit.tell(after.door(owner), "event", event.cid, event.act, shown=False, at=event.at)
    else:
        for side in SIDES:
            unit.tell(after.door(side), "event", after.cid, None, shown=False, at=event.at)


def _expire(unit: UnitOfWork, cid: str, side: Side, act: str) -> None:
    """States that a message whose text is lost will not be delivered (REC-8)."""
    before = unit.states[cid]
    at, place = max(unit.now, before.at + 1), unit.log.place()
    event, after = expire_held(before, side, act, at, place, unit.context.zones)
    unit.change(before, after)
    unit.state_event(event, act)
    unit.tell_release(after, event)
