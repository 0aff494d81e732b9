"""What a witness remembers: the logs that it takes, and of each the last checkpoint that it cosigned.

One SQLite file, one connection, one transaction for each judgement: whoever comes second sees what the first one made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from comity.transparency.merkle import EMPTY_ROOT
from comity.transparency.notes import VerifierKey, read_vkey
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
    """A log of that origin is remembered under another key."""


class AnotherVersion(Exception):
    """The file was written by another version of this program."""


class Head(NamedTuple):
    """What was cosigned last of a log, and when (s since the epoch); before the first time `note` is empty."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    time: int = 0
    note: str = ""


class Memory:
    """The file at `path`, made if missing. Not to be used by two threads at once.

    Every method raises DatabaseFault where the file cannot be read or written, and opening it AnotherVersion.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_database(path, threads=True)
        try:
            self._file.execute("PRAGMA journal_mode = WAL")
            # What was cosigned must survive a power cut: who forgets it can be made to cosign another history.
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
            raise AnotherVersion(f"it has version {version} of its format, and {VERSION} is known here")

    def close(self) -> None:
        """Let go of the file."""
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
        """The key whose memory this is, None before `begin`."""
        row = self._file.execute("SELECT vkey FROM witness").fetchone()
        return None if row is None else read_vkey(row[0])

    def begin(self, key: VerifierKey) -> None:
        """From now on this is that key's memory."""
        self._file.execute("INSERT INTO witness VALUES (?)", (key.text,))

    def take(self, log: VerifierKey) -> None:
        """From now on that log's checkpoints are taken. Raises AnotherKey."""
        with self._transaction():
            known = self.log(log.name)
            if known is not None and known != log:
                raise AnotherKey(f"{log.name} is known here under another key: {known.text}")
            head = Head()
            self._file.execute(
                "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (origin) DO NOTHING",
                (log.name, origin_hash(log.name), log.text, *head),
            )

    def logs(self) -> int:
        """How many logs are taken."""
        count: int = self._file.execute("SELECT count(*) FROM logs").fetchone()[0]
        return count

    def log(self, origin: str) -> VerifierKey | None:
        """The key of the log with that origin, None for one that is not taken."""
        row = self._file.execute("SELECT vkey FROM logs WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else read_vkey(row[0])

    def replace(self, origin: str, judge: Callable[[Head], Head]) -> Head:
        """The head that `judge` made from what is remembered of a log that is taken, once it is on the disk.

        Whatever `judge` raises is raised here, and nothing changed. No other judgement comes between.
        """
        with self._transaction():
            row = self._file.execute("SELECT size, root, time, note FROM logs WHERE origin = ?", (origin,)).fetchone()
            head = judge(Head(*row))
            self._file.execute(
                "UPDATE logs SET size = ?, root = ?, time = ?, note = ? WHERE origin = ?", (*head, origin)
            )
        return head

    def note(self, hash_: str) -> str | None:
        """The last note that was cosigned of the log whose origin has that hash, None if there is none."""
        row = self._file.execute("SELECT note FROM logs WHERE hash = ?", (hash_,)).fetchone()
        return row[0] or None if row is not None else None
