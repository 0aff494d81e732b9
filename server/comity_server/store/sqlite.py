"""The embedded store: one SQLite file in WAL mode.

One connection writes, and it alone checkpoints: Python's SQLite can be as old as 3.40, in which two connections that
checkpoint at the same time may corrupt the file. The others are opened read-only and cannot.

Each duty is one hop to the connection's thread, however many statements it takes: a hop costs more than a row.
"""

import asyncio
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote

import aiosql
import aiosqlite

from comity.documents.events import parse_own_event
from comity.rules.feedback import DeliveredMessage, delivered_messages
from comity.rules.fold import Record
from comity_server.store import migrations
from comity_server.store.business import BusinessRows
from comity_server.store.contract import Reading
from comity_server.store.errors import Overtaken, StoreFailed, StoreFull
from comity_server.store.prunes import Prunes
from comity_server.store.rows import (
    Batch,
    Entry,
    Head,
    HostedKey,
    Kept,
    KeyStatement,
    Known,
    Logged,
    News,
    Offer,
    Proposal,
    Reservation,
    Rival,
    StoredAct,
    StoredPlace,
    StoredRecord,
    StoredStatement,
    WaitingHalf,
)

READERS = 3
CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB in the log before the writer copies them into the file."""

PROBED = "probed"
"""The name of the row that a probe writes and deletes."""
PROBE = 128 * 1024
"""Bytes of it: in a log that is written anew from its beginning there is room for less on a full disk."""

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N", bound=NamedTuple)


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run several statements in one hop to its thread."""

    folder: Path
    """The folder of the file."""
    failed: StoreFailed | None = None
    """The last fault, until `SqliteStore.probe` finds it over."""

    async def run(self, duty: Callable[..., T], *arguments: object) -> T:
        """`duty(raw connection, *arguments)`, in the connection's thread. Raises StoreFailed."""
        try:
            result: T = await self._execute(duty, self._conn, *arguments)  # type: ignore[no-untyped-call]
        except sqlite3.Error as error:
            self.failed = failure(error, self.folder)
            raise self.failed from error
        return result


def failure(error: sqlite3.Error, folder: Path) -> StoreFailed:
    """The fault for an engine's failure over a file in `folder`. The engine's name for it says more than its text, and
    quotes nothing."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    # Mapping or making a file without room reports an I/O error.
    is_full = name == "SQLITE_FULL" or (name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and not _room(folder))
    return StoreFull(name) if is_full else StoreFailed(name)


def _room(folder: Path) -> bool:
    """Whether there is room for more than nothing on the disk of a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize >= PROBE


def _queries() -> dict[str, str]:
    folder = files("comity_server.store")
    texts = [
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("queries.sql", "business.sql", "prunes.sql")
    ]
    loaded = aiosql.from_str("\n".join(texts), "sqlite3")
    return {name: getattr(loaded, name).sql for name in loaded.available_queries if not name.endswith("_cursor")}


SQL = _queries()


def _nothing() -> None:
    """Before a commit whose rows are complete."""


class SqliteStore:
    """The store in one SQLite file; see contract.Store. `open` makes one."""

    def __init__(self, writer: _Connection, readers: list[_Connection]) -> None:
        self._writer = writer
        self._readers = readers
        self._turn = itertools.cycle(readers)
        self.business = BusinessRows(self._read_all, self._decide_all)
        self.prunes = Prunes(SQL, self._look, self._writer.run)

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Open the file, made or brought to the current schema first. The caller holds the folder's lock."""
        try:
            await asyncio.to_thread(_prepare, path)
            writer = await _connect(path, "rw")
            readers = [await _connect(path, "ro") for _ in range(READERS)]
        except Exception as error:
            # Migrations wrap the engine's fault.
            engine = getattr(error, "orig", error)
            if isinstance(engine, sqlite3.Error):
                raise failure(engine, path.parent) from error
            raise
        return cls(writer, readers)

    @property
    def last_fault(self) -> StoreFailed | None:
        return next((reader.failed for reader in (self._writer, *self._readers) if reader.failed is not None), None)

    async def probe(self) -> None:
        for connection in (self._writer, *self._readers):
            await connection.run(_rows, SQL["all_meta"], {})
        await self._writer.run(_commit, Batch(put_meta=[{"name": PROBED, "value": " " * PROBE}]), _nothing)
        await self._writer.run(_commit, Batch(put_meta=[{"name": PROBED, "value": ""}]), _nothing)
        for connection in (self._writer, *self._readers):
            connection.failed = None

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()
        await self._writer.close()

    # --- writing ----------------------------------------------------------------------------------------------------

    async def commit(self, batch: Batch, before: Callable[[], None] = _nothing) -> None:
        await self._writer.run(_commit, batch, before)

    # --- reading for a decision: by the writer's own connection, so nothing committed can be missed -----------------

    async def states(self, cids: Iterable[str]) -> dict[str, Known]:
        found = await self._writer.run(_each_row, SQL["get_state"], [{"cid": cid} for cid in cids])
        return {row["cid"]: Known(*value) for row, value in found}

    async def acceptances(self, ids: Iterable[str]) -> dict[str, str]:
        found = await self._writer.run(_each_row, SQL["get_acceptance"], [{"id": id_} for id_ in ids])
        return {row["id"]: value for row, (value,) in found}

    async def events_at(self, cid: str, times: Iterable[int]) -> dict[int, str]:
        found = await self._writer.run(_each_row, SQL["get_event"], [{"cid": cid, "at": at} for at in times])
        return {row["at"]: raw for row, (raw,) in found}

    async def messages_by_id(self, ids: Iterable[str]) -> dict[str, DeliveredMessage]:
        found = await self._writer.run(_each_row, SQL["get_act"], [{"id": id_} for id_ in ids])
        return dict(
            delivered_messages(
                Record(parse_own_event(event)) for _, row in found for event in row[4:6] if event is not None
            )
        )

    async def raws(self, acts: Iterable[tuple[str, str]]) -> dict[str, str]:
        found = await self._writer.run(_each_row, SQL["get_raw"], [{"cid": cid, "id": id_} for cid, id_ in acts])
        return {row["id"]: raw for row, (raw,) in found}

    async def reservations(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Reservation]:
        rows = [{"list_no": number, "idx": idx} for number, idx in places]
        found = await self._writer.run(_each_row, SQL["get_reservation"], rows)
        return {(row["list_no"], row["idx"]): Reservation(*value) for row, value in found}

    async def offers_open(self, iss: str, now: int) -> int:
        count: int = await self._writer.run(_value, SQL["count_offers"], {"iss": iss, "now": now})
        return count

    async def rivals(self, offer: str, second_did: str, now: int) -> list[Rival]:
        given = {"offer": offer, "second_did": second_did, "now": now}
        return [Rival(*row) for row in await self._writer.run(_rows, SQL["proposals_of_accepter"], given)]

    async def halves_waiting(self, offer: str, now: int, most: int) -> list[WaitingHalf]:
        given = {"offer": offer, "now": now, "most": most}
        return [WaitingHalf(*row) for row in await self._writer.run(_rows, SQL["halves_waiting"], given)]

    async def unused_indexes(self, cid: str, side: str, first: int) -> dict[tuple[int, int], int]:
        given = {"cid": cid, "side": side, "first": first}
        found = await self._writer.run(_rows, SQL["unused_indexes"], given)
        return {(list_no, idx): at for list_no, idx, at in found}

    async def meta(self) -> dict[str, str]:
        return dict(await self._writer.run(_rows, SQL["all_meta"], {}))

    async def last_list(self) -> int:
        return await self._writer.run(_value, SQL["count_lists"], {}) or 0

    async def entries(self, list_no: int) -> list[Entry]:
        return [Entry(*row) for row in await self._writer.run(_rows, SQL["entries_of_list"], {"list_no": list_no})]

    async def home_statements(self) -> tuple[list[StoredStatement], list[StoredPlace]]:
        rows = [await self._writer.run(_rows, SQL[name], {}) for name in ("home_statements", "home_places")]
        return [StoredStatement(*row) for row in rows[0]], [StoredPlace(*row) for row in rows[1]]

    async def business_keys(self) -> list[HostedKey]:
        return [HostedKey(*row) for row in await self._writer.run(_rows, SQL["business_keys"], {})]

    # --- logs -------------------------------------------------------------------------------------------------------

    async def begin_term(self, log: str, empty_root: bytes) -> Head:
        return await self._writer.run(_begin_term, log, empty_root)

    async def logs(self) -> dict[str, bool]:
        return {row[0]: bool(row[1]) for row in await self._read(_rows, "all_logs")}

    async def end_logs(self, but: str) -> None:
        await self.commit(Batch(end_logs=[{"but": but}]))

    async def head(self, log: str) -> Head | None:
        row = await self._read(_row, "get_head", log=log)
        return None if row is None else Head(*row)

    async def tile(self, log: str, level: int, number: int) -> bytes | None:
        hashes: bytes | None = await self._read(_value, "get_tile", log=log, level=level, number=number)
        return hashes

    async def entries_of_log(self, log: str, first: int, most: int) -> list[bytes]:
        rows = await self._read(_rows, "entries_from", log=log, first=first, most=most)
        return [entry for place, (idx, entry) in enumerate(rows, first) if place == idx]

    async def entry_opening(self, log: str, idx: int) -> tuple[bytes, bytes, int] | None:
        row: tuple[bytes, bytes, int] | None = await self._read(_row, "get_opening", log=log, idx=idx)
        return row

    async def key_statements(self, name: str) -> list[KeyStatement]:
        return [KeyStatement(*row) for row in await self._read(_rows, "key_statements", name=name)]

    async def reread(self, judge: Callable[[Reading], T]) -> T:
        return await next(self._turn).run(_judge, judge)

    # --- reading for an answer --------------------------------------------------------------------------------------

    async def due_connections(self, now: int, most: int) -> list[str]:
        return [row[0] for row in await self._read(_rows, "due_connections", now=now, most=most)]

    async def next_wake(self) -> int | None:
        at: int | None = await self._read(_value, "next_wake")
        return at

    async def waiting_proposals(self, most: int) -> list[tuple[str, str, str]]:
        return [tuple(row) for row in await self._read(_rows, "waiting_proposals", most=most)]

    async def open_connections(self, after: str, most: int) -> list[str]:
        return [row[0] for row in await self._read(_rows, "open_connections", after=after, most=most)]

    async def history(self, cid: str) -> list[Kept]:
        return [Kept(*row) for row in await self._read(_rows, "history_of", cid=cid)]

    async def records(self, cid: str, side: str, after: int, most: int) -> list[StoredRecord]:
        rows = await self._read(_rows, "records_after", cid=cid, side=side, after=after, most=most)
        return [StoredRecord(*row) for row in rows]

    async def state(self, cid: str) -> Known | None:
        row = await self._read(_row, "get_state", cid=cid)
        return None if row is None else Known(*row)

    async def states_before(self, cids: Iterable[str]) -> dict[str, Known]:
        found = await next(self._turn).run(_each_row, SQL["get_state"], [{"cid": cid} for cid in cids])
        return {row["cid"]: Known(*value) for row, value in found}

    async def agreement(self, cid: str) -> tuple[bytes, str] | None:
        row: tuple[bytes, str] | None = await self._read(_row, "get_agreement", cid=cid)
        return row

    async def offer(self, short: str) -> Offer | None:
        row = await self._read(_row, "get_offer", short=short)
        return None if row is None else Offer(*row)

    async def proposal(self, cid: str) -> Proposal | None:
        row = await self._read(_row, "get_proposal", cid=cid)
        return None if row is None else Proposal(*row)

    async def act(self, id_: str) -> StoredAct | None:
        row = await self._read(_row, "get_act", id=id_)
        return None if row is None else StoredAct(*row)

    async def mute_over(self, cid: str, act: str) -> str | None:
        raw: str | None = await self._read(_value, "get_mute_over", cid=cid, act=act)
        return raw

    async def is_party(self, did: str) -> bool:
        return await self._read(_value, "stream_of", did=did) is not None

    async def stream_of(self, did: str) -> str | None:
        known: str | None = await self._read(_value, "stream_of", did=did)
        if known is not None:
            return known
        return None if await self._read(_value, "renamed", did=did) is not None else did

    async def news(self, stream: str, after: int, most: int) -> list[News]:
        rows = await self._read(_rows, "news_after", stream=stream, after=after, most=most)
        return [News(*row) for row in rows]

    async def news_before(self, stream: str, before: int, most: int) -> list[News]:
        """The rows of a stream before the row `before`, newest first."""
        rows = await self._read(_rows, "news_before", stream=stream, before=before, most=most)
        return [News(*row) for row in rows]

    async def _look(self, duty: Callable[..., T], *arguments: object) -> T:
        return await next(self._turn).run(duty, *arguments)

    async def _read_all(self, query: str, given: dict[str, object]) -> list[Any]:
        found: list[Any] = await self._read(_rows, query, **given)
        return found

    async def _decide_all(self, query: str, given: dict[str, object]) -> list[Any]:
        found: list[Any] = await self._writer.run(_rows, SQL[query], given)
        return found

    async def _read(self, duty: Callable[..., Any], query: str, **given: object) -> Any:
        return await next(self._turn).run(duty, SQL[query], given)


class _SqliteReading:
    """See contract.Reading."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def head(self, log: str) -> Head | None:
        row = _row(self._raw, SQL["get_head"], {"log": log})
        return None if row is None else Head(*row)

    def tile(self, log: str, level: int, number: int) -> bytes | None:
        hashes: bytes | None = _value(self._raw, SQL["get_tile"], {"log": log, "level": level, "number": number})
        return hashes

    def logged_entries(self, log: str, first: int, most: int) -> list[Logged]:
        rows = _rows(self._raw, SQL["logged_from"], {"log": log, "first": first, "most": most})
        return [Logged(*(*row, None if row[1] else self._statement(log, row[0]))) for row in rows]

    def _statement(self, log: str, idx: int) -> str | None:
        found: str | None = _value(self._raw, SQL["get_statement"], {"log": log, "idx": idx})
        return found


def _judge(raw: sqlite3.Connection, judge: Callable[[Reading], T]) -> T:
    # One transaction, so that a commit in between cannot show half of itself.
    raw.execute("BEGIN")
    try:
        return judge(_SqliteReading(raw))
    finally:
        raw.execute("COMMIT")


def _begin_term(raw: sqlite3.Connection, log: str, empty_root: bytes) -> Head:
    raw.execute(SQL["put_head"], {"log": log, "root": empty_root})
    head = Head(*_row(raw, SQL["get_head"], {"log": log}))
    taken = raw.execute(SQL["take_term"], {"log": log, "term": head.term + 1, "term_before": head.term})
    if taken.rowcount != 1:
        raise Overtaken("another server begins at this moment")
    return head._replace(term=head.term + 1)


def _prepare(path: Path) -> None:
    # Before anything is in it; SQLite gives its log the same mode.
    path.touch(mode=0o600)
    migrations.bring_up_to_date(path)


async def _connect(path: Path, mode: str) -> _Connection:
    uri = f"file:{quote(str(path))}?mode={mode}"

    def connector() -> sqlite3.Connection:
        raw = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=256)
        raw.execute("PRAGMA busy_timeout = 5000")
        raw.execute("PRAGMA cache_size = -8000")
        if mode == "ro":
            raw.execute("PRAGMA query_only = ON")
            raw.execute("PRAGMA wal_autocheckpoint = 0")
            return raw
        raw.execute("PRAGMA journal_mode = WAL")
        # An answer promises that the act survives a power cut; NORMAL would keep it in the page cache of the system.
        raw.execute("PRAGMA synchronous = FULL")
        # Deleted rows are overwritten, so that erased texts cannot be read from free pages.
        raw.execute("PRAGMA secure_delete = ON")
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return raw

    opened = _Connection(connector, 64)
    opened.folder = path.parent
    await opened
    return opened


def _commit(raw: sqlite3.Connection, batch: Batch, before: Callable[[], None]) -> None:
    before()
    try:
        raw.execute("BEGIN IMMEDIATE")
        for name, rows in batch.statements():
            done = raw.executemany(SQL[name], rows)
            if name == "swap_head" and done.rowcount != len(rows):
                raise Overtaken("another server writes this store")
        raw.execute("COMMIT")
    except BaseException:
        # After a failed COMMIT the transaction may still be open, or be gone.
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def _rows(raw: sqlite3.Connection, sql: str, given: dict[str, Any]) -> list[Any]:
    return raw.execute(sql, given).fetchall()


def _row(raw: sqlite3.Connection, sql: str, given: dict[str, Any]) -> Any:
    return raw.execute(sql, given).fetchone()


def _value(raw: sqlite3.Connection, sql: str, given: dict[str, Any]) -> Any:
    row = raw.execute(sql, given).fetchone()
    return None if row is None else row[0]


def _each_row(raw: sqlite3.Connection, sql: str, many: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
    found = ((given, raw.execute(sql, given).fetchone()) for given in many)
    return [(given, row) for given, row in found if row is not None]
