"""Recovery after a server was restored from an older copy: this side submits the records that the server may lack, and
confirms what it holds (spec/connection.md, REC-9)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from comity import http_api
from comity.client.connection.history import History, HistoryRecord
from comity.client.connection.stored_connection import StoredConnection
from comity.client.http.server_api import ServerApi
from comity.client.models import News
from comity.client.storage.records import StoredRecord, UnsentActs
from comity.documents.acts import SignedAct, is_narrowing
from comity.documents.events import Accepted, Restored
from comity.documents.types import Side
from comity.errors import Refused

UNKNOWN = frozenset({"not_found", "unknown_key", "key_replaced"})
"""Refusals for a connection that the server does not know, or not by that key."""
_BATCH_SIZE = 60
"""Records in one request: a record has at most twice the bytes of a signed text, and a batch at most 8 MiB."""


def is_recovery_due(stored: StoredConnection) -> bool:
    """Whether the server was restored and this side has not confirmed yet that the server has everything."""
    history = stored.history_or_none
    done = stored.session.records.get("recovered", stored.info.cid, int) or 0
    return history is not None and history.state.restored_at > done


def may_be_unknown(stored: StoredConnection) -> bool:
    """Whether the home server says that it was restored while this connection has no statement of it: the connection
    may have opened after the copy was made (REC-10)."""
    return stored.history_or_none is not None and _unanswered_restore(stored) is not None


def _unanswered_restore(stored: StoredConnection) -> int | None:
    """The time (ms) of the home server's restore, if no event here states it and the server was not asked since; else
    None."""
    at = stored.session.logs.restored_at(stored.info.home)
    done = stored.session.records.get("recovered", stored.info.cid, int) or 0
    return at if at > max(stored.history.state.restored_at, done) else None


async def restore_unknown(stored: StoredConnection) -> bool:
    """Submits the whole connection where a restored server does not know it, or not by this side's current key: the
    opening, a revoke, then the rest. Returns whether it did. Raises Refused, Unreachable."""
    session, history, cid = stored.session, stored.history, stored.info.cid
    at, home = _unanswered_restore(stored), session.server(stored.info.home)
    if at is None:
        return False
    try:
        answer, _ = await home.get_connection(cid, stored.signer)
    except Refused as refused:
        if refused.code not in UNKNOWN:
            raise
    else:
        # The server knows it. If it is open, the inbox of its own key delivers the `restored` event.
        stated = answer.state.get("restored_at")
        if not isinstance(stated, int) or stated <= history.state.restored_at:
            await session.records.store(("recovered", cid, at))
        return False
    opened = http_api.RecordBody(event=history.opened.raw, agreement=json.loads(stored.info.agreement))
    if (why := await _submit_opening(home, opened)) is not None:
        if why.code not in UNKNOWN:
            raise why
        # The server cannot take the connection back: report that to the owner, once.
        await session.records.store(("recovered", cid, at))
        session.pending_news.append(News(cid, "unknown", session.clock(), "me"))
        return False
    for records in _batches(list(history.records)):
        await home.submit_records(records)
    return True


async def _submit_opening(home: ServerApi, record: http_api.RecordBody) -> Refused | None:
    try:
        (why,) = await home.submit_records([record])
    except Refused as refused:
        return refused
    return why


async def restore_lost(stored: StoredConnection) -> bool:
    """Submits the records that a restored server may lack, and states the heads that this side knows. Returns whether
    the server has everything now; what only the other side has is still awaited. Raises Refused, Unreachable,
    Contradiction."""
    session, history, cid = stored.session, stored.history, stored.info.cid
    home, restored_at = session.server(stored.info.home), history.state.restored_at
    for records in _batches(list(_possibly_lost(history))):
        await home.submit_records(records)
    state = history.state
    settings = state.door(stored.info.side).settings.head or cid
    known = http_api.HeadsKnown(first=state.first.head, second=state.second.head, settings=settings)
    answer = await home.submit_heads(cid, known, stored.signer)
    side = stored.info.side
    # Records after an end are accepted at any time.
    is_over = side not in answer.recovering and (state.phase == "open" or side in answer.lacks)
    if answer.lacks and is_over:
        # Another device of this side, or an act of this side, confirmed without the records of this one.
        await _drop_lost(stored)
    elif answer.lacks:
        return False
    await session.records.store(("recovered", cid, restored_at))
    return True


async def _drop_lost(stored: StoredConnection) -> None:
    """Removes the records that the server lost and no longer accepts. Own acts among them that said "no" are queued
    again (REC-9)."""
    session, history, cid = stored.session, stored.history, stored.info.cid
    there, cursor = set[str](), None
    home = session.server(stored.info.home)
    while (page := await home.get_records(cid, stored.signer, cursor)).items:
        there |= {item.event for item in page.items}
        cursor = page.cursor
    gone = [it for it in _possibly_lost(history) if it.raw not in there]
    if not gone:
        return
    latest = max((it.at for it in history.records if _is_own_setting(it, stored.info.side)), default=0)
    history.remove([it.at for it in gone])
    kept = session.records.get("unsent", cid, UnsentActs)
    again = [act.raw for it in gone if (act := _act_to_resend(it, stored.info.side, latest)) is not None]
    owed = [("owed", it.act.id, None) for it in gone if it.act is not None]
    # They stay in the file as evidence, because the server did acknowledge them.
    lost = [
        (f"lost/{cid}", f"{record.at:015d}", StoredRecord(record.raw, None if record.act is None else record.act.raw))
        for record in gone
    ]
    unsent = UnsentActs((*again, *(kept.acts if kept else ())))
    await session.records.store(
        *owed, *lost, *stored.removed_entries(), ("unsent", cid, unsent if unsent.acts else None)
    )
    session.pending_news.append(News(cid, "said_again" if again else "lost", session.clock(), "me"))


def _is_own_setting(record: HistoryRecord, side: Side) -> bool:
    return isinstance(record.event, Accepted) and (record.event.side, record.event.chain) == (side, "settings")


def _act_to_resend(record: HistoryRecord, side: Side, latest: int) -> SignedAct | None:
    """The own act of a lost record, if it said "no", or is the latest setting (`latest`, ms)."""
    act = record.act
    if not isinstance(record.event, Accepted) or act is None or record.event.side != side:
        return None
    sets = act.kind in ("hours", "budget") and record.at == latest
    return act if sets or (is_narrowing(act.payload) and act.kind != "mute_end") else None


def _possibly_lost(history: History) -> Iterator[HistoryRecord]:
    """The records that the server may have lost: in earlier logs, and later than the last act that it kept."""
    restored = next(it.event for it in reversed(history.records) if isinstance(it.event, Restored))
    kept = [
        record.at
        for record in history.records
        if isinstance(record.event, Accepted) and record.event.act in (restored.first, restored.second)
    ]
    for record in history.records:
        if record.at > max(kept, default=0) and record.event.log != restored.log:
            yield record


def _batches(records: list[HistoryRecord]) -> Iterator[list[http_api.RecordBody]]:
    """The records in batches. A revoke comes first, and alone: no fault in the rest may hold it back. The others follow
    by time."""
    revokes = [record for record in records if isinstance(record.event, Accepted) and record.event.kind == "revoke"]
    if revokes:
        yield [_wire_record(revoke) for revoke in revokes]
    rest = [_wire_record(record) for record in records if record not in revokes]
    for start in range(0, len(rest), _BATCH_SIZE):
        yield rest[start : start + _BATCH_SIZE]


def _wire_record(record: HistoryRecord) -> http_api.RecordBody:
    return http_api.RecordBody(event=record.raw, act=None if record.act is None else record.act.raw)


def is_recovering(refused: Refused) -> bool:
    """Whether an act is refused only until both sides have confirmed; it is stored and sent again."""
    return refused.code == "recovering"
