"""Receipts of a wallet's acts: each is checked against the act, the acceptance and the log (LOG-11, LOG-16).

An acceptance names a place in a log. Its receipt must be of that place, of these very bytes, with the kind, side, time
and tag that follow from them, under a checkpoint that continues all those that this wallet has seen. A receipt may be
late, because a stopped log must not stop an act (LOG-13); it may not be missing once a checkpoint covers its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from comity import http_api
from comity.client.connection.history import History, HistoryRecord
from comity.client.connection.stored_connection import StoredConnection
from comity.client.log.known_logs import PATIENCE, Log, LogGone, tree_before
from comity.client.models import News
from comity.client.session import Faults, Session
from comity.client.storage.records import ConnectionInfo, Entry, MissingReceipt, TagKeys
from comity.crypto.jws import decode_header
from comity.documents.acts import Mute, SignedAct, Unmute
from comity.documents.events import Accepted, Delivered, Erased, MuteOver
from comity.documents.types import Side
from comity.encoding import b64u_decode
from comity.errors import ComityError, Contradiction, Refused, Unreachable
from comity.transparency.entries import LogEntry, entry_of_act, entry_of_delivery, entry_of_mute_over, tag_scope_of
from comity.transparency.receipts import Receipt, open_receipt


@dataclass(frozen=True, slots=True)
class LogPlace:
    """The place in a log of an act, of its delivery, or of the end of a mute that it caused, and the expected entry
    there."""

    table: Literal["receipts", "deliveries", "overs"]
    act: SignedAct
    side: Side
    purpose: str
    log: str
    index: int
    at: int
    evidence: tuple[str, ...]
    muted: Mute | None = None
    """The mute that an unmute names."""
    acceptance: str = ""
    """The server's event about the act."""

    @property
    def key(self) -> str:
        """The key under which its missing receipt is stored."""
        return f"{self.act.id}/over" if self.table == "overs" else self.act.id

    def entry(self, key: bytes, salt: bytes) -> LogEntry:
        """The expected entry with this tag key and salt."""
        if self.table == "deliveries":
            return entry_of_delivery(self.act.raw, self.purpose, self.side, key, salt, self.at)
        if self.table == "overs":
            return entry_of_mute_over(self.act.raw, self.side, key, salt, self.at)
        return entry_of_act(self.act, self.side, key, salt, self.at, self.muted)

    @property
    def tag(self) -> Literal["both", "own"]:
        """The side's tag key that the entry uses."""
        return "both" if self.table == "overs" or tag_scope_of(self.act, self.side) == "both" else "own"


def place_of(record: HistoryRecord, history: History) -> LogPlace | None:
    """The place of an accepted act, or of the end of a mute; None for other records, or where this side lacks the
    act."""
    event, act = record.event, record.act
    if isinstance(event, MuteOver):
        return _place_of_over(event, record, history)
    if not isinstance(event, Accepted) or act is None:
        return None
    named = history.act(act.payload.mute or "") if isinstance(act.payload, Unmute) else None
    muted = named.payload if named is not None and isinstance(named.payload, Mute) else None
    return LogPlace(
        "receipts", act, event.side, "", event.log, event.index, event.at, record.evidence, muted, record.raw
    )


def _place_of_over(event: MuteOver, record: HistoryRecord, history: History) -> LogPlace | None:
    """The place of a mute's end; its entry must open to the very bytes that ended the mute (AUD-2)."""
    ended = history.record_of(event.by)
    if ended is None or ended.act is None:
        return None
    evidence = (record.raw, *ended.evidence)
    place = event.log, event.index, event.at
    return LogPlace("overs", ended.act, history.side, "", *place, evidence, None, ended.raw)


def delivery_place_of(record: HistoryRecord, records: Iterable[HistoryRecord]) -> LogPlace | None:
    """The place of a message's delivery; None where it was not delivered."""
    event, act = record.event, record.act
    if not isinstance(event, Accepted) or act is None or event.contents is None:
        return None
    purpose = event.contents.purpose
    if event.outcome == "delivered":
        # A message that is delivered at once has the next entry as well (LOG-10).
        place = event.log, event.index + 1, event.at
        return LogPlace("deliveries", act, event.side, purpose, *place, record.evidence, None, record.raw)
    for later in records:
        if isinstance(later.event, Delivered) and later.event.act == act.id:
            place = later.event.log, later.event.index, later.at
            return LogPlace(
                "deliveries", act, event.side, purpose, *place, (*record.evidence, later.raw), None, record.raw
            )
    return None


def check_receipt(place: LogPlace, text: str, log: Log, tags: TagKeys) -> Receipt:
    """The receipt, if it belongs to that place and to nothing else. Raises Contradiction with the signed texts."""

    def contradiction(claim: str) -> Contradiction:
        prefix = "false_over: " if place.table == "overs" else ""
        return Contradiction(f"{prefix}{claim}", (*place.evidence, text))

    try:
        receipt = open_receipt(text, log.key)
    except Refused as fault:
        raise contradiction(f"an invalid receipt: {fault}") from None
    opening = receipt.opening
    if receipt.index != place.index or opening.at != place.at:
        raise contradiction("a receipt of another place or time than was stated")
    if not receipt.is_of(place.act.raw.encode("ascii")):
        raise contradiction("a receipt of something else than this act")
    expected = place.entry(b64u_decode(getattr(tags, place.tag)), opening.salt)
    if receipt.entry._replace(tag=expected.tag) != expected:
        raise contradiction("the entry in the log does not follow from this act")
    if receipt.entry.tag != expected.tag:
        raise contradiction("the log has this act under another tag than this connection's")
    return receipt


# --- the tag keys ---


async def check_tag_keys(session: Session, cid: str, named: http_api.Tags, text: str) -> TagKeys:
    """Stores the tag keys that the server names; they never change (LOG-9). Raises Contradiction."""
    stored = session.records.get("tags", cid, TagKeys)
    if stored is None:
        stored = TagKeys(named.both, named.own)
        await session.records.store(("tags", cid, stored))
    others = {name for name in ("both", "own") if getattr(stored, name) != getattr(named, name)}
    if others:
        # Tag keys are not signed. Keys that no receipt confirmed may be the false ones: delete them, to fetch them
        # again.
        if not others & set(stored.proved):
            await session.records.store(("tags", cid, None))
        raise Contradiction("the server names other tag keys than before", (text, stored.both, stored.own))
    return stored


async def tag_keys_of(session: Session, info: ConnectionInfo, stored: StoredConnection) -> TagKeys:
    """The tag keys of a connection, fetched from the server where they are not known. Raises as `get_connection`."""
    kept = session.records.get("tags", info.cid, TagKeys)
    if kept is not None:
        return kept
    answer, text = await session.server(info.home).get_connection(info.cid, stored.signer)
    return await check_tag_keys(session, info.cid, answer.tags, text)


# --- own acts ---


def receipt_entries(stored: StoredConnection, record: HistoryRecord, text: str | None = None) -> list[Entry]:
    """The entries to store with a record: the receipt of an own act, if it can be checked without a request; else a
    missing receipt, with the text that arrived."""
    session, info = stored.session, stored.info
    if isinstance(record.event, Accepted | Delivered | MuteOver):
        session.logs.note_place(info.home, record.event.log, record.event.index)
    place = place_of(record, stored.history)
    if place is None or place.side != info.side or place.act.id in session.records.file.table(place.table):
        return []
    owed: list[Entry] = [("owed", place.key, MissingReceipt(info.cid, text))]
    log, tags = session.logs.find_known(info.home, place.log), session.records.get("tags", info.cid, TagKeys)
    if text is None or log is None or tags is None:
        return owed
    try:
        receipt = check_receipt(place, text, log, tags)
    except Contradiction:
        return owed
    moved = session.logs.entries_if_evident(log, receipt.checkpoint, tree_before(receipt))
    return owed if moved is None else [*_proved_entries(session, info, place, text, tags), *moved]


def _proved_entries(session: Session, info: ConnectionInfo, place: LogPlace, text: str, tags: TagKeys) -> list[Entry]:
    entries: list[Entry] = [(place.table, place.act.id, text)]
    if place.table != "deliveries" and place.key in session.records.file.table("owed"):
        entries.append(("owed", place.key, None))
    if place.tag not in tags.proved:
        entries.append(("tags", info.cid, TagKeys(tags.both, tags.own, (*tags.proved, place.tag))))
    return entries


async def check_receipts(stored: StoredConnection, records: Iterable[HistoryRecord]) -> None:
    """Checks the receipts that arrived with these own acts and could not be checked at once. One that cannot be checked
    now, because the log does not answer, stays missing. Raises Contradiction; the act is accepted and stored
    nevertheless."""
    places = [place for record in records if (place := place_of(record, stored.history)) is not None]
    kept, logs = stored.session.records, stored.session.logs
    try:
        async with asyncio.timeout(PATIENCE):
            for place in places:
                owed = kept.get("owed", place.key, MissingReceipt)
                if owed is not None and owed.receipt is not None:
                    try:
                        await _check_and_store(stored, place, owed.receipt)
                    except (Unreachable, Refused, LogGone):
                        continue
    except TimeoutError:
        for origin in {place.log for place in places}:
            logs.pause(origin)


async def _check_and_store(stored: StoredConnection, place: LogPlace, text: str) -> None:
    session, info = stored.session, stored.info
    try:
        log = await session.logs.find(info.home, place.log)
        tags = await tag_keys_of(session, info, stored)
        receipt = check_receipt(place, text, log, tags)
        # The receipt is valid even without its log.
        with suppress(LogGone):
            await session.logs.accept_checkpoint(log, receipt.checkpoint, tree_before(receipt))
    except Contradiction:
        if place.table != "deliveries" and place.key in session.records.file.table("owed"):
            # It is stored as evidence; the next read fetches a valid one.
            await session.records.store(("owed", place.key, MissingReceipt(info.cid)))
        raise
    await session.records.store(*_proved_entries(session, info, place, text, tags))


async def fetch_missing(stored: StoredConnection) -> None:
    """Fetches and checks the missing receipts of a connection. One that is not available yet stays missing; one whose
    log is gone is reported once, as news (`receipt_lost`). Raises Contradiction, also where the log covers an act and
    the server gives no receipt of it."""
    session, cid = stored.session, stored.info.cid
    owed = {act: it for act, it in session.records.all("owed", MissingReceipt).items() if it.cid == cid}
    faults = Faults()
    for record in stored.history_or_none.records if owed and stored.history_or_none is not None else ():
        place = place_of(record, stored.history)
        if place is None or place.key not in owed:
            continue
        try:
            # A hidden receipt must not stop the others.
            with faults.collect(Contradiction):
                if place.table == "overs" and await _ended_with_log(stored, place):
                    await session.records.store(("owed", place.key, None))
                    continue
                text = owed[place.key].receipt or await fetch_receipt(stored, place)
                if text is not None:
                    await _check_and_store(stored, place, text)
        except LogGone:
            await session.records.store(("owed", place.key, None))
            session.pending_news.append(News(cid, "receipt_lost", session.clock(), "me", place.act.id))
        except Unreachable:
            break
    faults.raise_first()


async def fetch_all(stored: StoredConnection) -> int:
    """Fetches and checks every receipt of a connection that is not stored: of both sides' acts, of deliveries, and of
    ended mutes (WHO-10). Returns the number that are unavailable: no checkpoint covers them yet, or their log is gone.
    Raises Contradiction, after all others were tried; Unreachable at once."""
    records, missing, faults = stored.history.records, 0, Faults()
    if any(isinstance(record.event, Erased) for record in records):
        # The connection was erased, so its home server has no receipts of it.
        return 0
    later = [record for record in records if isinstance(record.event, Delivered)]
    for record in records:
        for place in (place_of(record, stored.history), delivery_place_of(record, later)):
            if place is not None and place.act.id not in stored.session.records.file.table(place.table):
                with faults.collect(Contradiction):
                    missing += not await _has_receipt(stored, place)
    faults.raise_first()
    return missing


async def _has_receipt(stored: StoredConnection, place: LogPlace) -> bool:
    """Whether the receipt of that place is stored now, or none is needed. Raises Contradiction, Unreachable."""
    try:
        if place.table == "overs" and await _ended_with_log(stored, place):
            return True
        text = await fetch_receipt(stored, place)
        if text is not None:
            await _check_and_store(stored, place, text)
        return text is not None
    except LogGone:
        return False


async def _ended_with_log(stored: StoredConnection, place: LogPlace) -> bool:
    """Whether a restore ended the log of that place (REC-1), so that nothing is missing. A server that says so and
    still serves the log must show the entry. Raises Unreachable, Contradiction."""
    if place.at >= stored.history.restored_at:
        return False
    return not await stored.session.logs.has_log(stored.info.home, place.log, now=True)


async def check_one_log(stored: StoredConnection) -> None:
    """Raises Contradiction (`split_tag`) where the connection changed logs and the earlier one is still active
    (LOG-19): a server that splits a connection over two logs could show each reader the half that suits."""
    session, home = stored.session, stored.info.home
    if stored.history_or_none is None or len(session.logs.used_logs(home)) < 2 or not stored.history_or_none.records:
        return
    latest = stored.history_or_none.records[-1]
    before = next(
        (record for record in reversed(stored.history_or_none.records) if record.event.log != latest.event.log), None
    )
    if before is not None and await session.logs.are_active(home, before.event.log, latest.event.log):
        raise Contradiction("split_tag: two active logs have one connection", (*before.evidence, *latest.evidence))


def connections_missing_receipts(session: Session) -> list[str]:
    """The ids of the connections with missing receipts."""
    return list(dict.fromkeys(owed.cid for owed in session.records.all("owed", MissingReceipt).values()))


async def check_logs(session: Session, connections: Iterable[StoredConnection], homes: Iterable[str]) -> None:
    """The checks of logs after the news is read: missing receipts, one log for each connection, and witnesses. Raises
    Contradiction, Refused("too_few_witnesses"), and Unreachable where witnesses are demanded: the first fault, after
    all steps."""
    faults = Faults()
    for stored in connections:
        with faults.collect():
            await fetch_missing(stored)
        with faults.collect():
            await check_one_log(stored)
    for home in homes:
        with faults.collect():
            await session.logs.check_witnesses(home)
    faults.raise_first()


async def check_broken_key_event(stored: StoredConnection, record: HistoryRecord) -> None:
    """Raises Contradiction, Unreachable or LogGone unless a new event signed by a broken key of the home server has the
    receipt of its entry (HOME-5)."""
    session, kid = stored.session, decode_header(record.raw.partition(".")[0]).kid
    known = (stored.history.opened, *stored.history.records)
    if not session.known_servers.is_broken(kid) or record.raw in {it.raw for it in known}:
        return
    place = place_of(record, stored.history)
    if place is None:
        raise Contradiction("unknown_key: an event of a broken key without an entry that confirms it", record.evidence)
    text = await fetch_receipt(stored, place)
    if text is None:
        raise Unreachable("the log does not cover an event of a broken key yet")
    tags = await tag_keys_of(session, stored.info, stored)
    check_receipt(place, text, await session.logs.find(stored.info.home, place.log), tags)


async def fetch_receipt(stored: StoredConnection, place: LogPlace) -> str | None:
    """The receipt as the server gives it, unchecked; None where no known checkpoint covers the place. Raises
    Contradiction, Unreachable, LogGone."""
    session, info = stored.session, stored.info
    home, log = session.server(info.home), await session.logs.find(info.home, place.log)
    # Read before the request: a checkpoint signed in between must not count against the server.
    latest = session.logs.latest(log)
    covered = latest is not None and latest.size > place.index
    for _ in range(2):
        try:
            answer = await home.get_act(place.act.id, stored.signer)
        except Refused as refused:
            if refused.code != "not_found" or await _is_replaced(stored):
                raise Unreachable(f"the server does not show an act now: {refused}") from None
            raise Contradiction("the server does not show an act that it accepted", place.evidence) from None
        if answer.event != place.acceptance:
            claim = "the server states something else of an act than before"
            raise Contradiction(claim, (place.acceptance, answer.event))
        text = {"receipts": answer.receipt, "deliveries": answer.delivery, "overs": answer.over}[place.table]
        if text is not None:
            return text
        if not covered:
            break
    if not await session.logs.has_log(info.home, place.log, now=covered):
        raise LogGone(f"its server does not serve the log {place.log} any more, so this receipt cannot be had")
    if not covered:
        return None
    assert latest is not None
    what = "false_over: the log covers the end of a mute" if place.table == "overs" else "the log covers an act"
    raise Contradiction(f"{what}, and the server hides its receipt", (*place.evidence, latest.raw))


async def _is_replaced(stored: StoredConnection) -> bool:
    """Whether another copy of this wallet rotated the key: then the server shows this copy nothing, and hides
    nothing."""
    try:
        await stored.session.server(stored.info.home).get_inbox(stored.signer, None)
    except Refused as refused:
        return refused.code == "key_replaced"
    return False


async def get_receipt(stored: StoredConnection, act: str, *, delivery: bool = False) -> str:
    """The receipt of an act of either side, or of a message's delivery, fetched and checked if it is not stored.

    Raises ComityError where this side has no such act, it was not delivered, or its log is gone; Unreachable while no
    checkpoint covers it; Contradiction.
    """
    history, session = stored.history, stored.session
    record = next((it for it in history.records if it.act is not None and it.act.id == act), None)
    place = (
        None
        if record is None
        else delivery_place_of(record, history.records)
        if delivery
        else place_of(record, history)
    )
    if record is None or place is None:
        raise ComityError("that message has not been delivered" if record is not None else "there is no such act here")
    if (kept := session.records.get(place.table, act, str)) is not None:
        return kept
    async with session.record_contradictions():
        text = await fetch_receipt(stored, place)
        if text is None:
            raise Unreachable("the log does not cover this act yet")
        await _check_and_store(stored, place, text)
        return text
