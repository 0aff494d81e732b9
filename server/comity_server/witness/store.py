"""The store of a witness: the logs that it accepts, and the last cosigned checkpoint of each.

One SQLite file, one connection, one transaction for each decision, so that decisions about a log follow each other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from comity.transparency.merkle import EMPTY_ROOT
from comity.transparency.notes import VerifierKey, parse_vkey
from comity_server.log.witness_protocol import origin_hash
from comity_server.store.sqlite_file import open_database

VERSION = 1
_SCHEMA = """
CREATE TABLE witness (vkey TEXT NOT NULL) STRICT;
CREATE TABLE logs (
    origin TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    vkey TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    time INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;
"""


class AnotherKey(Exception):
    """A log of that origin is stored with another key."""


class AnotherVersion(Exception):
    """The file was written by another version of this program."""


class Head(NamedTuple):
    """The last cosigned checkpoint of a log, and when it was cosigned (s since the epoch); at first `note` is empty."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    time: int = 0
    note: str = ""


class WitnessStore:
    """The store at `path`, created if missing. Not thread-safe.

    Every method raises DatabaseFault if the file cannot be read or written; opening it also raises AnotherVersion.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_database(path, threads=True)
        try:
            self._file.execute("PRAGMA journal_mode = WAL")
            # The record must survive a power cut: a witness that forgets can be made to cosign another history.
            self._file.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                self._prepare()
        except BaseException:
            self._file.close()
            raise

    def _prepare(self) -> None:
        (version,) = self._file.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._file.execute(statement)
            self._file.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise AnotherVersion(f"its format has version {version}, but this program reads version {VERSION}")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._file.execute("COMMIT")
        finally:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")

    def own_key(self) -> VerifierKey | None:
        """The key of the witness whose store this is; None before `begin`."""
        row = self._file.execute("SELECT vkey FROM witness").fetchone()
        return None if row is None else parse_vkey(row[0])

    def begin(self, key: VerifierKey) -> None:
        """Makes this the store of that key."""
        self._file.execute("INSERT INTO witness VALUES (?)", (key.text,))

    def take(self, log: VerifierKey) -> None:
        """Adds a log whose checkpoints are accepted. Raises AnotherKey."""
        with self._transaction():
            stored = self.log(log.name)
            if stored is not None and stored != log:
                raise AnotherKey(f"{log.name} is known here under another key: {stored.text}")
            head = Head()
            self._file.execute(
                "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (origin) DO NOTHING",
                (log.name, origin_hash(log.name), log.text, *head),
            )

    def logs(self) -> int:
        """The number of accepted logs."""
        count: int = self._file.execute("SELECT count(*) FROM logs").fetchone()[0]
        return count

    def log(self, origin: str) -> VerifierKey | None:
        """The key of the log with that origin; None if the log is not accepted."""
        row = self._file.execute("SELECT vkey FROM logs WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else parse_vkey(row[0])

    def replace(self, origin: str, decide: Callable[[Head], Head]) -> Head:
        """Replaces the head of an accepted log by the one that `judge` makes from it, and returns that once it is on
        the disk. If `judge` raises, nothing changes. No other decision happens in between."""
        with self._transaction():
            row = self._file.execute("SELECT size, root, time, note FROM logs WHERE origin = ?", (origin,)).fetchone()
            head = decide(Head(*row))
            self._file.execute(
                "UPDATE logs SET size = ?, root = ?, time = ?, note = ? WHERE origin = ?", (*head, origin)
            )
        return head

    def note(self, hash_: str) -> str | None:
        """The last cosigned note of the log whose origin has that hash; None if there is none."""
        row = self._file.execute("SELECT note FROM logs WHERE hash = ?", (hash_,)).fetchone()
        return row[0] or None if row is not None else None
