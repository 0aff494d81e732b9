"""The schema's versions, applied by alembic from code; imported only when the file is behind (it costs 0.5 s)."""

import sqlite3
from pathlib import Path

HEAD = "0003"
"""The revision that this code works with."""
FIRST = "0002"
"""The first one from which stores are carried on: those before it have no log, and none can be made up for them."""


class SchemaTooNew(Exception):
    """The file was written by a later version of the server."""


class SchemaTooOld(Exception):
    """The file was written by a version of the server that had no log."""


def revision_of(path: Path) -> str | None:
    """The revision of the file, None where there is no schema yet."""
    if not path.exists():
        return None
    raw = sqlite3.connect(path)
    try:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    finally:
        raw.close()
    return None if row is None else str(row[0])


def bring_up_to_date(path: Path) -> None:
    """Make the schema, or bring it up to HEAD. The caller holds the folder's lock.

    Raises SchemaTooNew, SchemaTooOld.
    """
    found = revision_of(path)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise SchemaTooNew(f"the store has schema {found}, this server knows {HEAD}")
    if found is not None and found < FIRST:
        raise SchemaTooOld(f"the store has schema {found}, from before there was a log: begin with another data folder")
    from comity_server.store.migrations.run import upgrade

    upgrade(path, HEAD)
