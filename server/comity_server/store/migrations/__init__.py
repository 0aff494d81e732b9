"""The schema's versions, applied by alembic from code; imported only when the file is behind (it costs 0.5 s)."""

import sqlite3
from pathlib import Path

HEAD = "0001"
"""The revision that this code works with."""


class SchemaTooNew(Exception):
    """The file was written by a later version of the server."""


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
    """Make the schema, or bring it up to HEAD. The caller holds the folder's lock. Raises SchemaTooNew."""
    found = revision_of(path)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise SchemaTooNew(f"the store has schema {found}, this server knows {HEAD}")
    from comity_server.store.migrations.run import upgrade

    upgrade(path, HEAD)
