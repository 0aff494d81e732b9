"""The sender's own file: the progress of each endpoint, its pending deliveries, and the results (HOOK-13, HOOK-15).

One process writes it and no other reads it. Each change is one transaction, so the file is consistent whenever the
process ends: an event is in it before the cursor is past it, and an attempt is in it together with its results. A power
cut can undo the last transactions (synchronous=NORMAL): those deliveries are sent again.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from comity_server.logging import logger
from comity_server.store.sqlite_file import Database, DatabaseBusy, DatabaseUnusable, open_database
from comity_server.webhooks.control_protocol import Attempt, DeliveryState, EndpointState, Sent
from comity_server.webhooks.retry import DAY

FILE = "webhooks.db"
VERSION = 1
KEPT = 30 * DAY
"""ms for which an ended delivery is stored."""
MOST_KEPT = 1000
"""Ended deliveries of one endpoint."""
MOST_ATTEMPTS = 30
"""The number of stored attempts of one delivery."""
_TABLES = """
CREATE TABLE endpoints (
  name TEXT NOT NULL, id TEXT NOT NULL, url TEXT NOT NULL, cursor INTEGER NOT NULL, state TEXT NOT NULL,
  reason TEXT, since INTEGER NOT NULL, failing_since INTEGER, PRIMARY KEY (name, id)
) WITHOUT ROWID;
CREATE TABLE deliveries (
  number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, webhook TEXT NOT NULL, id TEXT NOT NULL,
  event TEXT NOT NULL, type TEXT NOT NULL, n INTEGER, state TEXT NOT NULL, tries INTEGER NOT NULL,
  made_at INTEGER NOT NULL, next_at INTEGER, ended_at INTEGER
);
CREATE UNIQUE INDEX deliveries_id ON deliveries (name, webhook, id);
CREATE INDEX deliveries_due ON deliveries (name, webhook, next_at, number) WHERE state = 'waiting';
CREATE TABLE attempts (
  delivery INTEGER NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, ms INTEGER NOT NULL, status INTEGER,
  error TEXT, PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
"""

Key = tuple[str, str]
"""A business's name and the id of one of its endpoints."""


class Row(NamedTuple):
    """An endpoint as the sender knows it. `url` is the one that `state` is about, `cursor` the last row of news that is
    taken care of; times in ms."""

    url: str
    cursor: int
    state: EndpointState
    reason: str | None
    since: int
    failing_since: int | None


class Due(NamedTuple):
    """A delivery to attempt. `n` is the row of news that it brings, None for a test; `tries` are those made so far
    since it was last asked for."""

    number: int
    id: str
    event: str
    type: str
    n: int | None
    tries: int
    made_at: int


class New(NamedTuple):
    """A delivery to be."""

    id: str
    event: str
    type: str
    n: int | None


_DUE = "number, id, event, type, n, tries, made_at"


class DeliveryStore:
    """The file `path`, made where there is none or none of use."""

    def __init__(self, path: Path) -> None:
        try:
            self._raw = _open_file(path)
        except DatabaseUnusable as error:
            if isinstance(error, DatabaseBusy):
                raise
            logger().error("webhook_records_lost", error=type(error).__name__)
            # Whatever it was, this code did not write it: everything is sent again, and the old file is kept for
            # inspection.
            path.rename(path.with_name(f"{path.name}.unreadable-{time.time_ns()}"))
            for more in ("-wal", "-shm"):
                path.with_name(path.name + more).unlink(missing_ok=True)
            self._raw = _open_file(path)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    @contextmanager
    def _whole(self) -> Iterator[Database]:
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield self._raw
            self._raw.execute("COMMIT")
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise

    # --- endpoints --------------------------------------------------------------------------------------------------

    def endpoints(self) -> dict[Key, Row]:
        """Every endpoint that was ever heard of."""
        rows = self._raw.execute("SELECT name, id, url, cursor, state, reason, since, failing_since FROM endpoints")
        return {(name, id_): Row(*rest) for name, id_, *rest in rows}

    def put_endpoint(self, key: Key, row: Row) -> None:
        """Stores the status of an endpoint."""
        with self._whole() as raw:
            self._put_endpoint(raw, key, row)

    def _put_endpoint(self, raw: Database, key: Key, row: Row) -> None:
        raw.execute("INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*key, *row))

    def forget(self, key: Key) -> None:
        """Forget an endpoint, and all that was sent there."""
        with self._whole() as raw:
            mine = "SELECT number FROM deliveries WHERE name = ? AND webhook = ?"
            raw.execute(f"DELETE FROM attempts WHERE delivery IN ({mine})", key)  # noqa: S608 # our own text
            raw.execute("DELETE FROM deliveries WHERE name = ? AND webhook = ?", key)
            raw.execute("DELETE FROM endpoints WHERE name = ? AND id = ?", key)

    # --- deliveries -------------------------------------------------------------------------------------------------

    def take(self, key: Key, row: Row, new: list[New], now: int) -> None:
        """Schedules these for delivery from `now` (ms) on, and moves the cursor past them, as `row` says. Delivered
        events are delivered again; pending ones stay as they are."""
        with self._whole() as raw:
            self._put_endpoint(raw, key, row)
            raw.executemany(
                "INSERT INTO deliveries (name, webhook, id, event, type, n, state, tries, made_at, next_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 'waiting', 0, ?, ?)"
                " ON CONFLICT (name, webhook, id) DO UPDATE"
                " SET state = 'waiting', tries = 0, next_at = excluded.next_at, ended_at = NULL"
                " WHERE state <> 'waiting'",
                [(*key, *delivery, now, now) for delivery in new],
            )

    def again(self, key: Key, id_: str, now: int) -> bool:
        """Deliver that one from `now` (ms) on, as if for the first time; False where there is none of that id."""
        done = self._raw.execute(
            "UPDATE deliveries SET state = 'waiting', tries = 0, next_at = ?, ended_at = NULL"
            " WHERE name = ? AND webhook = ? AND id = ?",
            (now, *key, id_),
        )
        return done.rowcount == 1

    def due_deliveries(self, key: Key, now: int, most: int) -> list[Due]:
        """Deliveries to attempt by `now` (ms), those that wait longest first."""
        rows = self._raw.execute(
            f"SELECT {_DUE} FROM deliveries"  # noqa: S608 # our own text
            " WHERE name = ? AND webhook = ? AND state = 'waiting' AND next_at <= ? ORDER BY next_at, number LIMIT ?",
            (*key, now, most),
        )
        return [Due(*row) for row in rows]

    def next_due(self, key: Key, but: set[int]) -> int | None:
        """When (ms) the next delivery of an endpoint is due, those numbers left out."""
        rows = self._raw.execute(
            "SELECT number, next_at FROM deliveries WHERE name = ? AND webhook = ? AND state = 'waiting'"
            " ORDER BY next_at, number LIMIT ?",
            (*key, len(but) + 1),
        )
        return next((next_at for number, next_at in rows if number not in but), None)

    def count_pending(self, key: Key) -> int:
        """How many deliveries of an endpoint are on their way."""
        row = self._raw.execute(
            "SELECT COUNT(*) FROM deliveries WHERE name = ? AND webhook = ? AND state = 'waiting'", key
        ).fetchone()
        count: int = row[0]
        return count

    def put_test(self, key: Key, new: New, now: int) -> Due:
        """A delivery of a test, attempted at once by its caller."""
        with self._whole() as raw:
            values = (*key, *new, now, now)
            done = raw.execute(
                "INSERT INTO deliveries (name, webhook, id, event, type, n, state, tries, made_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 'failed', 0, ?, ?)",
                values,
            )
        return Due(done.lastrowid or 0, *new, 0, now)

    def record_attempt(
        self, key: Key, row: Row, due: Due, attempt: Attempt, state: DeliveryState, next_at: int | None
    ) -> None:
        """Take note of an attempt, with what follows from it for the delivery and the endpoint."""
        ended_at = None if state == "waiting" else attempt.at + attempt.ms
        with self._whole() as raw:
            raw.execute(
                "INSERT INTO attempts SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, ? FROM attempts"
                " WHERE delivery = ?",
                (due.number, attempt.at, attempt.ms, attempt.status, attempt.error, due.number),
            )
            raw.execute(
                "DELETE FROM attempts WHERE delivery = ? AND number <="
                " (SELECT MAX(number) FROM attempts WHERE delivery = ?) - ?",
                (due.number, due.number, MOST_ATTEMPTS),
            )
            raw.execute(
                "UPDATE deliveries SET state = ?, tries = ?, next_at = ?, ended_at = ? WHERE number = ?",
                (state, due.tries + 1, next_at, ended_at, due.number),
            )
            self._put_endpoint(raw, key, row)

    def prune(self, key: Key, now: int) -> None:
        """Deletes deliveries that ended too long ago or exceed the limits (HOOK-13)."""
        ended = (
            "SELECT number FROM deliveries WHERE name = ? AND webhook = ? AND state <> 'waiting'"
            " AND (ended_at < ? OR number <= COALESCE((SELECT number FROM deliveries WHERE name = ? AND webhook = ?"
            " AND state <> 'waiting' ORDER BY number DESC LIMIT 1 OFFSET ?), -1))"
        )
        given = (*key, now - KEPT, *key, MOST_KEPT)
        with self._whole() as raw:
            raw.execute(f"DELETE FROM attempts WHERE delivery IN ({ended})", given)  # noqa: S608 # our own text
            raw.execute(f"DELETE FROM deliveries WHERE number IN ({ended})", given)  # noqa: S608 # our own text

    # --- reading for people -----------------------------------------------------------------------------------------

    def deliveries(self, key: Key, before: int | None, most: int) -> list[Sent]:
        """Deliveries of an endpoint, the newest first, each with its attempts."""
        rows = self._raw.execute(
            "SELECT number, id, event, type, state, made_at, next_at FROM deliveries"
            " WHERE name = ? AND webhook = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (*key, (1 << 62) if before is None else before, most),
        )
        return [self._delivery(row) for row in rows.fetchall()]

    def delivery(self, key: Key, id_: str) -> Sent | None:
        """One delivery of an endpoint."""
        row = self._raw.execute(
            "SELECT number, id, event, type, state, made_at, next_at FROM deliveries"
            " WHERE name = ? AND webhook = ? AND id = ?",
            (*key, id_),
        ).fetchone()
        return None if row is None else self._delivery(row)

    def _delivery(self, row: tuple[int, str, str, str, DeliveryState, int, int | None]) -> Sent:
        return Sent(*row, self._attempts(row[0]))

    def _attempts(self, number: int) -> list[Attempt]:
        rows = self._raw.execute(
            "SELECT at, ms, status, error FROM attempts WHERE delivery = ? ORDER BY number", (number,)
        )
        return [Attempt(*row) for row in rows]


def _open_file(path: Path) -> Database:
    path.touch(mode=0o600)
    raw = open_database(path)
    try:
        raw.execute("PRAGMA busy_timeout = 5000")
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = NORMAL")
        raw.execute("PRAGMA cache_size = -4000")
        (version,) = raw.execute("PRAGMA user_version").fetchone()
        if version == 0:
            raw.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise DatabaseUnusable("written by another version")
    except BaseException:
        raw.close()
        raise
    return raw
