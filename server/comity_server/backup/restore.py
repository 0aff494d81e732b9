"""`comity restore`: checks a backup, and restores it into an empty data folder (BACKUP-5).

The files are copied into a folder inside the data folder, read again there, and moved into place. While that folder
exists, no server starts: half a data folder is never served.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from comity_server.backup.contents import (
    HEADS,
    LIST,
    Contents,
    NoBackup,
    copy_file,
    files_like,
    find_damage,
    read_contents,
    write_contents,
)
from comity_server.backup.store_copy import check_copy, put_meta
from comity_server.config import Config
from comity_server.data_dir import LOCK, RESTORING, STORE, check_whole, lock, sync_folder
from comity_server.fsck.checker import CheckResult, Progress
from comity_server.log.restores import COPIED, MOVED

_OF_THE_DISK = "lost+found"
"""A folder that an empty disk contains."""


def check_backup(config: Config, source: Path, keys: Path | None, progress: Progress) -> tuple[Contents, CheckResult]:
    """Checks all of a backup by deriving it again; nothing is written. Raises NoBackup, CannotRead, OSError,
    DatabaseFault."""
    contents, apart, _ = _open_backup(source, keys)
    return contents, check_copy(source, apart, config, progress, move=contents.move, whole=True)


def restore_backup(config: Config, source: Path, keys: Path | None, progress: Progress) -> Contents:
    """Restores a backup into the data folder, which must be empty or missing. The backup of a move becomes an ordinary
    one.

    Raises NoBackup, FolderInUse, CutOff, CannotRead, OSError, DatabaseFault; then the data folder is as it was.
    """
    contents, _, paths = _open_backup(source, keys)
    data = config.data
    check_whole(data)
    if data.exists() and (not data.is_dir() or {it.name for it in data.iterdir()} - {LOCK, _OF_THE_DISK}):
        raise NoBackup(f"{data} is not empty: move it away first, as a restore overwrites nothing")
    with _remove_after_error(data), lock(data), _staging_folder(data) as staged:
        for path in paths:
            copy_file(path, staged / path.name)
        if not contents.move:
            put_meta(staged / STORE, **{COPIED: str(time.time_ns() // 1_000_000), MOVED: ""})
        seen = check_copy(staged, staged, config, progress, move=contents.move, whole=False)
        if seen.findings.total:
            place, fault = seen.findings.first[0]
            raise NoBackup(f"the backup in {source} is damaged ({place}: {fault}): restore another one")
        if contents.move:
            _end_move(source, contents)
        for path in sorted(staged.iterdir(), key=lambda it: it.name != STORE):
            os.rename(path, data / path.name)
        sync_folder(data)
    return contents


def _open_backup(source: Path, keys: Path | None) -> tuple[Contents, Path, list[Path]]:
    """(list of a backup, folder of its keys, all files), checked to be unchanged. Raises NoBackup."""
    contents = read_contents(source)
    if contents.keys == "apart" and keys is None:
        raise NoBackup(f"the keys of {source} are in a separate folder: name it with --keys")
    if contents.keys == "here" and keys is not None:
        raise NoBackup(f"the keys of {source} are in the backup: leave out --keys")
    found = {source: contents}
    if keys is not None:
        found[keys] = read_contents(keys, "folder of keys")
        if found[keys].id != contents.id:
            raise NoBackup(f"the keys in {keys} belong to another backup than {source}")
    for folder, listed in found.items():
        for fault in find_damage(folder, listed):
            raise NoBackup(f"{folder} is damaged: {fault}")
    return contents, keys or source, [folder / name for folder, listed in found.items() for name in listed.files]


@contextmanager
def _remove_after_error(data: Path) -> Iterator[None]:
    """Removes the data folder after an error, if it did not exist before."""
    was_there = data.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            shutil.rmtree(data, ignore_errors=True)
        raise


@contextmanager
def _staging_folder(data: Path) -> Iterator[Path]:
    """The folder in the data folder whose existence keeps servers from starting. It is removed if no file was moved
    into place yet, or if all were."""
    staged = data / RESTORING
    staged.mkdir(mode=0o700)
    sync_folder(data)
    try:
        yield staged
    finally:
        if not (data / STORE).exists() or not any(staged.iterdir()):
            shutil.rmtree(staged)
            sync_folder(data)


def _end_move(source: Path, contents: Contents) -> None:
    """Makes the backup of a move an ordinary one, so that its log continues in one place only (BACKUP-4). Raises
    NoBackup if the list cannot be written."""
    heads = {path.name for path in files_like(source, HEADS)}
    left = {name: file for name, file in contents.files.items() if name not in heads}
    try:
        write_contents(source, msgspec.structs.replace(contents, move=False, files=left))
        for name in heads:
            (source / name).unlink()
    except OSError as fault:
        raise NoBackup(
            f"{source / LIST} cannot be changed ({fault.strerror}), so this move could be restored twice: copy the "
            "backup to a folder that can be written"
        ) from None
