"""The server's own folder and key: who may use them, and which DID they belong to."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from comity.crypto.keys import Signer
from comity.documents.offers import HomeParty

if TYPE_CHECKING:
    from comity_server.server_keys import HomeKeyring

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
        raise CutOff(f"a `comity restore` into {data} was cut off: empty the folder, and put the backup back again")


@dataclass(frozen=True, slots=True)
class Home:
    """The home server as the protocol knows it. `origin` is its public URL."""

    did: str
    origin: str
    operator: str
    keys: "HomeKeyring"

    @property
    def signer(self) -> Signer:
        """The private key in force. Raises HomeKeyMissing."""
        return self.keys.signer

    @property
    def party(self) -> HomeParty:
        """The server with its key in force, as offers and agreements pin it (HOME-1)."""
        return self.keys.party

    @property
    def host(self) -> str:
        """Host and port of the public URL."""
        return urlsplit(self.origin).netloc


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the data folder (made if missing). Raises FolderInUse: two writers would number acts twice."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderInUse(f"another server uses {data}") from None
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
