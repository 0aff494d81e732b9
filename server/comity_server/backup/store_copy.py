"""Reads, writes and checks the copy of a store, for making and for restoring a backup."""

from contextlib import closing
from pathlib import Path

from comity.errors import ComityError
from comity_server.assembly import MASTER_CHECK
from comity_server.backup.contents import NoBackup
from comity_server.businesses.master_key import MasterKey, master_for
from comity_server.businesses.sealing import check_kind
from comity_server.config import Config
from comity_server.data_dir import STORE
from comity_server.fsck.checker import CheckResult, Progress, check_store
from comity_server.store.seals import SEALED
from comity_server.store.sqlite import SQL
from comity_server.store.sqlite_file import open_database, read_only
from comity_server.webhooks.delivery_store import FILE as WEBHOOKS


def copy_database(source: Path, target: Path) -> None:
    """Copies a database as of one moment, while others may write to it. Raises OSError, DatabaseFault."""
    target.touch(mode=0o600, exist_ok=False)
    with read_only(source) as raw, closing(open_database(target)) as copy:
        # In one step: in several it would start again after each commit, and never end under load.
        raw.backup(copy)
        # One file, with no write-ahead log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")


def meta_of(path: Path) -> dict[str, str]:
    """The table `meta` of a store. Raises DatabaseFault."""
    with read_only(path) as raw:
        return dict(raw.execute(SQL["all_meta"]).fetchall())


def ended_logs(path: Path) -> dict[str, bool]:
    """Log → whether it has ended. Raises DatabaseFault."""
    with read_only(path) as raw:
        return {log: bool(ended) for log, ended in raw.execute(SQL["all_logs"])}


def count_connections(path: Path) -> int:
    """The number of connections in a store. Raises DatabaseFault."""
    with read_only(path) as raw:
        return int(raw.execute(SQL["count_connections"]).fetchone()[0])


def put_meta(path: Path, **values: str) -> None:
    """Writes to the table `meta` of a store that no server uses. Raises DatabaseFault."""
    with closing(open_database(path)) as raw:
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany(SQL["put_meta"], [{"name": name, "value": value} for name, value in values.items()])
        raw.execute("COMMIT")


def check_copy(folder: Path, keys: Path, config: Config, progress: Progress, *, move: bool, whole: bool) -> CheckResult:
    """Checks a copy of a data folder with its `keys`: the `whole`, or what a server needs to start. Raises NoBackup if
    the master key does not fit, CannotRead, DatabaseFault."""
    seen = check_store(folder, progress, keys=keys, whole=whole, copied=not move)
    path = folder / STORE
    given, meta = config.master_key.get_secret_value(), meta_of(path)
    try:
        if MASTER_CHECK in meta:
            _check_seals(path, master_for(keys, given, config.master_key_file, meta[MASTER_CHECK]))
    except ComityError as fault:
        raise NoBackup(str(fault)) from None
    if (folder / WEBHOOKS).exists():
        with read_only(folder / WEBHOOKS) as raw:
            for (told,) in raw.execute("PRAGMA integrity_check(10)"):
                if told != "ok":
                    seen.findings.add(WEBHOOKS, str(told))
    return seen


def _check_seals(path: Path, master: MasterKey) -> None:
    with read_only(path) as raw:
        for kind in SEALED:
            check_kind(kind, {bytes(name): n for name, n in raw.execute(SQL[kind.seals])}, master)
