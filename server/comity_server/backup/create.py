"""`comity backup`: copies a data folder; the copy is complete, or does not exist under its name (BACKUP-1 to BACKUP-4).

Everything is written into a temporary folder beside the target, synced, read again, and renamed last. So an interrupted
backup, or one that filled the disk, is never mistaken for a complete one.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from comity.crypto.keys import did_web_base
from comity_server.backup.contents import (
    DATABASES,
    FORM,
    HEADS,
    KEYS,
    Contents,
    NoBackup,
    copy_file,
    files_like,
    list_files,
    write_contents,
)
from comity_server.backup.store_copy import check_copy, copy_database, count_connections, ended_logs, meta_of, put_meta
from comity_server.businesses.master_key import FILE as MASTER
from comity_server.config import Config
from comity_server.data_dir import STORE, check_whole, lock, sync_folder
from comity_server.fsck.checker import Progress
from comity_server.log.recovery import files_of, name_in
from comity_server.log.restores import COPIED, MOVED, check_not_moved
from comity_server.operator.master_key_rotation import master_file

_TRIES = 3
"""How often the copy is tried while keys change."""


def back_up(config: Config, target: Path, keys: Path | None, progress: Progress, *, move: bool = False) -> Contents:
    """Copies the data folder of a server, which may be running, into `target`, and its keys into the folder `keys` or
    beside the rest. To `move` its log the server must be stopped, and the data folder is never used again.

    Raises NoBackup, FolderInUse, MovedAway, CutOff, CannotRead, OSError, DatabaseFault; then nothing was written.
    """
    data, target = config.data, target.absolute()
    if not (data / STORE).exists():
        raise NoBackup(f"{data} is not the data folder of a server (COMITY_DATA, --data): there is nothing to back up")
    check_whole(data)
    _check_places(target, None if keys is None else keys.absolute(), data.absolute())
    with lock(data) if move else nullcontext(), ExitStack() as stack:
        folder = stack.enter_context(_temporary_folder(target))
        apart = folder if keys is None else stack.enter_context(_temporary_folder(keys.absolute()))
        if move:
            check_not_moved(meta_of(data / STORE))
        _copy(config, folder, apart)
        _copy_heads(data, folder, move=move)
        if not move:
            put_meta(folder / STORE, **{COPIED: str(time.time_ns() // 1_000_000), MOVED: ""})
        contents = _check_backup(config, folder, apart, progress, move=move)
        if apart is not folder:
            write_contents(apart, list_keys(contents, apart))
        write_contents(folder, contents)
        if move:
            _move_log(data, folder, target, apart, keys)
        else:
            _rename_into_place(folder, target, apart, keys)
    return contents


def list_keys(contents: Contents, apart: Path) -> Contents:
    """The list in a folder of keys."""
    return Contents(FORM, contents.id, contents.made_at, contents.home, contents.keys, list_files(apart))


def _check_places(target: Path, keys: Path | None, data: Path) -> None:
    for path in (target, keys):
        if path is not None and os.path.lexists(path):
            raise NoBackup(f"{path} exists already: a backup needs a new folder")
        if path is not None and path.is_relative_to(data):
            raise NoBackup(f"{path} is inside the data folder and would be lost with it")
    if keys is not None and (keys.is_relative_to(target) or target.is_relative_to(keys)):
        raise NoBackup(f"the folders {keys} and {target} must be separate: one contains the other")


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target, readable for its owner only; removed unless it was renamed."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(config: Config, folder: Path, apart: Path) -> None:
    """Copies the databases, and the keys of the same moment (BACKUP-1). Raises NoBackup."""
    for _ in range(_TRIES):
        for name in DATABASES:
            (folder / name).unlink(missing_ok=True)
        before = _read_keys(config)
        for name in DATABASES:
            if (config.data / name).exists():
                copy_database(config.data / name, folder / name)
        if _read_keys(config) == before:
            break
    else:
        raise NoBackup("keys are being rotated: try again when that is done")
    for name, content in before.items():
        handle = os.open(apart / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)


def _read_keys(config: Config) -> dict[str, bytes]:
    """The keys in the data folder, without a master key that is stored elsewhere (BACKUP-2)."""
    elsewhere = master_file(config) != config.data.resolve() / MASTER
    return {it.name: it.read_bytes() for it in files_like(config.data, KEYS) if not (it.name == MASTER and elsewhere)}


def _copy_heads(data: Path, folder: Path, *, move: bool) -> None:
    """Copies the head files of ended logs, which never grow again. The head file of an active log belongs to the newest
    store only, as it says what was signed (LOG-14); a move copies it too."""
    ended, host = ended_logs(folder / STORE), did_web_base(meta_of(folder / STORE)["home"]).partition("://")[2]
    going = {files_of(data, name_in(host, log)).head.name for log, has_ended in ended.items() if not has_ended}
    for path in files_like(data, HEADS):
        if move or path.name not in going:
            copy_file(path, folder / path.name)


def _check_backup(config: Config, folder: Path, apart: Path, progress: Progress, *, move: bool) -> Contents:
    """Checks that a server could start with the backup, and returns its contents. Raises NoBackup."""
    seen = check_copy(folder, apart, config, progress, move=move, whole=False)
    if seen.findings.total:
        place, fault = seen.findings.first[0]
        raise NoBackup(f"the store is damaged ({place}: {fault}): run `comity fsck` for details")
    return Contents(
        form=FORM,
        id=secrets.token_hex(16),
        made_at=int(time.time()),
        home=meta_of(folder / STORE)["home"],
        keys="here" if apart is folder else "apart",
        files=list_files(folder),
        move=move,
        logs=seen.logs,
        connections=count_connections(folder / STORE),
    )


def _rename_into_place(folder: Path, target: Path, apart: Path, keys: Path | None) -> None:
    """Renames the folder of the keys, then the backup: a backup without its keys cannot be restored."""
    if keys is not None:
        os.rename(apart, keys.absolute())
    try:
        os.rename(folder, target)
    except OSError:
        if keys is not None:
            shutil.rmtree(keys.absolute())
        raise
    for path in {target.parent, (keys or target).absolute().parent}:
        sync_folder(path)


def _move_log(data: Path, folder: Path, target: Path, apart: Path, keys: Path | None) -> None:
    """Lets only the backup continue the log. The data folder is closed before the backup is renamed: a crash between
    the two leaves a complete backup under its temporary name, and no server that continues."""
    put_meta(data / STORE, **{MOVED: str(target)})
    try:
        _rename_into_place(folder, target, apart, keys)
    except OSError:
        if not target.exists():
            put_meta(data / STORE, **{MOVED: ""})
        raise
