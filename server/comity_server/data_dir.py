"""The data folder: its files, its lock, and secrets written whole."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STORE = "comity.db"
SEED = "home.key"
LOCK = "lock"
RESTORING = "restoring"
"""The folder in a data folder into which a backup is being put back (BACKUP-5)."""


class FolderInUse(Exception):
    """Another process holds the data folder."""


class AnotherHome(Exception):
    """The data folder belongs to a server of another name."""


class CutOff(Exception):
    """A backup was to be put into the data folder, and only a part of it is there."""


def check_whole(data: Path) -> None:
    """Raises CutOff where a backup was not put back to its end (BACKUP-5)."""
    if (data / RESTORING).exists():
        raise CutOff(f"a `comity restore` into {data} was interrupted: empty the folder, and restore the backup again")


@contextmanager
def lock(data: Path) -> Iterator[None]:
    """Hold the data folder (made if missing). Raises FolderInUse: two writers would number acts twice."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderInUse(f"another server is using {data}") from None
        yield
    finally:
        # The file stays: removing it would let two processes hold locks on two files of one name.
        os.close(file)


def seed_in(path: Path) -> bytes:
    """The seed of a key that lives in a file of its own, made where there is none."""
    if not path.exists():
        write_whole(path, secrets.token_bytes(32))
    return path.read_bytes()


def write_whole(path: Path, content: bytes) -> None:
    """Put a secret into a file that its owner alone may read, whole or not at all: half a seed after a power cut would
    be another key, or none."""
    draft = path.with_suffix(".new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names of new files in a folder through a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
