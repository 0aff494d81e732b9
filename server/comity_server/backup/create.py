"""`comity backup`: a copy of a data folder, whole under its name or not there at all (BACKUP-1 to BACKUP-4).

Everything is written into a folder beside the one that is named, synced, read again, and given its name last. So a
backup that was cut off, or for which the disk was too small, is never taken for one.
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
    listed,
    write_contents,
)
from comity_server.backup.store_copy import check_copy, copy_database, count_connections, ended_logs, meta_of, put_meta
from comity_server.businesses.master_key import FILE as MASTER
from comity_server.config import Config
from comity_server.data_dir import STORE, check_whole, locked, sync_folder
from comity_server.fsck.checker import Progress
from comity_server.log.recovery import files_of, name_in
from comity_server.log.restores import COPIED, MOVED, check_not_moved
from comity_server.operator.master_key_rotation import master_file

_TRIES = 3
"""How often the keys may change while the store is copied."""


def back_up(config: Config, target: Path, keys: Path | None, progress: Progress, *, move: bool = False) -> Contents:
    """Copy the data folder of a server, which may be at work, into `target`, and its keys into the folder `keys` or
    beside the rest. To `move` its log the server must be stopped, and the data folder is never used again.

    Raises NoBackup, FolderInUse, MovedAway, CutOff, CannotRead, OSError, sqlite3.Error; then nothing was written.
    """
    data, target = config.data, target.absolute()
    if not (data / STORE).exists():
        raise NoBackup(f"no server has used {data} (COMITY_DATA, --data): there is nothing to back up")
    check_whole(data)
    _check_places(target, None if keys is None else keys.absolute(), data.absolute())
    with locked(data) if move else nullcontext(), ExitStack() as stack:
        folder = stack.enter_context(_unfinished(target))
        apart = folder if keys is None else stack.enter_context(_unfinished(keys.absolute()))
        if move:
            check_not_moved(meta_of(data / STORE))
        _copy(config, folder, apart)
        _copy_heads(data, folder, move=move)
        if not move:
            put_meta(folder / STORE, **{COPIED: str(time.time_ns() // 1_000_000), MOVED: ""})
        contents = _checked(config, folder, apart, progress, move=move)
        if apart is not folder:
            write_contents(apart, contents_of_keys(contents, apart))
        write_contents(folder, contents)
        if move:
            _hand_over(data, folder, target, apart, keys)
        else:
            _name(folder, target, apart, keys)
    return contents


def contents_of_keys(contents: Contents, apart: Path) -> Contents:
    """The list in a folder of keys."""
    return Contents(FORM, contents.id, contents.made_at, contents.home, contents.keys, listed(apart))


def _check_places(target: Path, keys: Path | None, data: Path) -> None:
    for path in (target, keys):
        if path is not None and os.path.lexists(path):
            raise NoBackup(f"{path} is there already: each backup gets a folder of its own, under a new name")
        if path is not None and path.is_relative_to(data):
            raise NoBackup(f"{path} lies in the data folder, and would be lost with it")
    if keys is not None and (keys.is_relative_to(target) or target.is_relative_to(keys)):
        raise NoBackup(f"the keys are to lie apart, and {keys} and {target} lie in each other")


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A folder beside the one that is to be, for its owner alone; it goes unless it got its name."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(config: Config, folder: Path, apart: Path) -> None:
    """The databases, and the keys of that very time (BACKUP-1). Raises NoBackup."""
    for _ in range(_TRIES):
        for name in DATABASES:
            (folder / name).unlink(missing_ok=True)
        before = _keys_of(config)
        for name in DATABASES:
            if (config.data / name).exists():
                copy_database(config.data / name, folder / name)
        if _keys_of(config) == before:
            break
    else:
        raise NoBackup("keys are being rotated: make the backup when that is done")
    for name, content in before.items():
        handle = os.open(apart / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)


def _keys_of(config: Config) -> dict[str, bytes]:
    """The keys in the data folder. A master key that was put elsewhere stays there (BACKUP-2)."""
    elsewhere = master_file(config) != config.data.resolve() / MASTER
    return {it.name: it.read_bytes() for it in files_like(config.data, KEYS) if not (it.name == MASTER and elsewhere)}


def _copy_heads(data: Path, folder: Path, *, move: bool) -> None:
    """The head files of logs that have ended, which never grow again. That of a log which goes on says what was signed
    of it, and so belongs to the newest store alone (LOG-14)."""
    ended, host = ended_logs(folder / STORE), did_web_base(meta_of(folder / STORE)["home"]).partition("://")[2]
    going = {files_of(data, name_in(host, log)).head.name for log, has_ended in ended.items() if not has_ended}
    for path in files_like(data, HEADS):
        if move or path.name not in going:
            copy_file(path, folder / path.name)


def _checked(config: Config, folder: Path, apart: Path, progress: Progress, *, move: bool) -> Contents:
    """What is in the backup, which was read again and would be good to start with. Raises NoBackup."""
    seen = check_copy(folder, apart, config, progress, move=move, whole=False)
    if seen.findings.total:
        place, fault = seen.findings.first[0]
        raise NoBackup(f"the store itself is damaged ({place}: {fault}): `comity fsck` tells more")
    return Contents(
        form=FORM,
        id=secrets.token_hex(16),
        made_at=int(time.time()),
        home=meta_of(folder / STORE)["home"],
        keys="here" if apart is folder else "apart",
        files=listed(folder),
        move=move,
        logs=seen.logs,
        connections=count_connections(folder / STORE),
    )


def _name(folder: Path, target: Path, apart: Path, keys: Path | None) -> None:
    """The keys first: a backup whose keys have no name yet could not be put back."""
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


def _hand_over(data: Path, folder: Path, target: Path, apart: Path, keys: Path | None) -> None:
    """Let the log go on from the backup alone. The data folder is closed before the backup has its name: in between
    neither goes on, and the backup is whole under the name that it has."""
    put_meta(data / STORE, **{MOVED: str(target)})
    try:
        _name(folder, target, apart, keys)
    except OSError:
        if not target.exists():
            put_meta(data / STORE, **{MOVED: ""})
        raise
