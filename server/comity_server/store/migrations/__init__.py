"""The schema's versions, applied by alembic from code; imported only when the file is behind (it costs 0.5 s)."""

import re
import sqlite3
from pathlib import Path

HEAD = "v3_0002"
"""The revision that this code works with. Those of stores of before the first release had nothing or `v2_` in front."""

_REVISION = re.compile(r"v3_[0-9]{4}\Z")


class SchemaTooNew(Exception):
    """The file was written by a later version of the server."""


class SchemaTooOld(Exception):
    """The file was written before the first release."""


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


def check_revision(path: Path, found: str) -> None:
    """Refuse a revision from which no migration leads to HEAD.

    Raises SchemaTooNew, SchemaTooOld; their text says what to do.
    """
    if not _REVISION.match(found):
        raise SchemaTooOld(
            f"{path} was written before the first release of Comity, and there is no upgrade from there: "
            "begin with a new data folder"
        )
    if found > HEAD:
        raise SchemaTooNew(f"{path} has schema {found}, and this version knows {HEAD}: a later version wrote it")


def bring_up_to_date(path: Path) -> None:
    """Make the schema, or bring it up to HEAD. The caller holds the folder's lock.

    Raises SchemaTooNew, SchemaTooOld.
    """
    found = revision_of(path)
    if found == HEAD:
        return
    if found is not None:
        check_revision(path, found)
    from comity_server.store.migrations.run import upgrade

    upgrade(path, HEAD)
