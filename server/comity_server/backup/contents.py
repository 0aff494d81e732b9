"""The contents of a backup: files of the data folder, and the list that makes it complete (BACKUP-1, BACKUP-2).

comity.db, webhooks.db            the store and the webhook deliveries, copied by SQLite
log.head, log-NAME.head           the head files of ended logs; in a move, of all logs
home.key, log.key, master.key …   the keys, here or in a separate folder
backup.json                       every file with its length and hash; written last
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from comity.errors import ComityError
from comity_server.businesses.master_key import FILE as MASTER
from comity_server.data_dir import SEED, STORE, sync_folder, write_whole
from comity_server.webhooks.delivery_store import FILE as WEBHOOKS

LIST = "backup.json"
FORM = "comity-backup/1"
DATABASES = (WEBHOOKS, STORE)
"""In the order of copying: a webhook may then be sent twice, but none is missed."""
KEYS = (SEED, "home-*.key", "home-*.statement", "log.key", "log-*.key", MASTER)
HEADS = ("log.head", "log-*.head")
LEFT_OUT = ("lock", "webhooks.lock", "*.sock", "*.new", "*-wal", "*-shm", f"{WEBHOOKS}.unreadable-*")
"""Files of a data folder that are not copied: those of a running process, unfinished ones, and unreadable ones."""
_CHUNK = 1 << 20
_LONGEST_LIST = 1 << 20
"""Bytes."""


class NoBackup(ComityError):
    """A backup cannot be made or restored; the text says why."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup: its length in bytes, and its SHA-256 in hex."""

    bytes: int
    sha256: str


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The list in a backup, or in the folder of its keys. Both have the same `id`; `made_at` is in seconds; `move`: the
    log continues from this backup, once (BACKUP-4); `keys`: where the keys are; `logs`: the entries of each log."""

    form: str
    id: str
    made_at: int
    home: str
    keys: Literal["here", "apart"]
    files: dict[str, File]
    move: bool = False
    logs: dict[str, int] = {}
    connections: int = 0


def files_like(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder that match one of the patterns."""
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def read_contents(folder: Path, what: str = "backup") -> Contents:
    """The list in a folder. Raises NoBackup."""
    path = folder / LIST
    try:
        with path.open("rb") as file:
            contents = msgspec.json.decode(file.read(_LONGEST_LIST), type=Contents)
    except FileNotFoundError:
        raise NoBackup(f"{folder} is not a complete {what}: {LIST} is missing") from None
    except (msgspec.MsgspecError, NotADirectoryError):
        raise NoBackup(
            f"{folder} is not a {what} that this version can read: {LIST} is damaged or of a later version"
        ) from None
    if contents.form != FORM or any(name != Path(name).name or name == LIST for name in contents.files):
        raise NoBackup(f"{folder} is not a {what} that this version can read: its format is {contents.form[:40]!r}")
    return contents


def write_contents(folder: Path, contents: Contents) -> None:
    """Writes the list into a folder, completely or not at all. Raises OSError."""
    write_whole(folder / LIST, msgspec.json.format(msgspec.json.encode(contents)))


def list_files(folder: Path) -> dict[str, File]:
    """The list of the files in a folder, which are synced to the disk."""
    found = {path.name: File(path.stat().st_size, _sha256_of(path)) for path in sorted(folder.iterdir())}
    for path in (*folder.iterdir(), folder):
        # A folder and a file are synced alike.
        sync_folder(path)
    return found


def find_damage(folder: Path, contents: Contents) -> Iterator[str]:
    """The faults of a backup's files: missing, or changed since they were written."""
    for name, file in contents.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != file.bytes or _sha256_of(path) != file.sha256:
            yield f"{name} was damaged or changed after the backup was made"


def copy_file(source: Path, target: Path) -> None:
    """Copies a file; only its owner may read the copy. Raises OSError."""
    with source.open("rb") as file:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as copy:
            while chunk := file.read(_CHUNK):
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
