"""Opens files of SQLite. Outside `store`, a module that keeps a small file of its own opens it here."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

Database = sqlite3.Connection
"""An open file."""
DatabaseFault = sqlite3.Error
"""Raised by every operation on a file that cannot be read or written."""
DatabaseUnusable = sqlite3.DatabaseError
"""Raised where the file is damaged, or no database."""
DatabaseBusy = sqlite3.OperationalError
"""Raised where the file is whole and cannot be used now: a lock, the disk, the rights."""

BUSY_TIMEOUT = 5000
"""ms to wait for a lock."""


def open_database(path: Path, *, threads: bool = False) -> Database:
    """Open a file for reading and writing, made if missing. Each statement commits by itself unless a transaction was
    begun. `threads`: other threads may use it, one at a time."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=not threads)


def open_read_only(path: Path, *, cache: int = 4000, immutable: bool = False) -> Database:
    """Opens a file that another process may be writing. `cache` in KiB; with `immutable` nobody writes, and SQLite puts
    no file beside it."""
    raw = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro{'&immutable=1' if immutable else ''}", uri=True, isolation_level=None
    )
    # The server's writer alone may checkpoint (sqlite.py).
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT}",
        f"cache_size = -{cache}",
        "query_only = ON",
        "wal_autocheckpoint = 0",
    ):
        raw.execute(f"PRAGMA {pragma}")
    return raw


@contextmanager
def read_only(path: Path) -> Iterator[Database]:
    """`open_read_only`, closed at the end."""
    with closing(open_read_only(path)) as raw:
        yield raw
