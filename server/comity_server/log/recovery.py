"""Checks a log before anything new is signed in it (LOG-14)."""

from pathlib import Path
from typing import NamedTuple

from comity.crypto.keys import SigningKey
from comity.errors import ComityError, Malformed
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.merkle import EMPTY_ROOT
from comity.transparency.notes import ED25519, NoteSigner
from comity_server.data_dir import seed_in
from comity_server.log.commit_check import reread
from comity_server.log.head_file import HeadFile
from comity_server.log.sequencer import LogStore, Sequencer, read_tail
from comity_server.store.contract import Reading
from comity_server.store.rows import Head

RIGHT_EDGE = 512
"""Entries before the last signed one that are read again at each start."""


NOTHING = Head(0, EMPTY_ROOT, 0, 0)
"""The head of a log that has not begun."""


class RolledBack(ComityError):
    """The store is older than the signed head; the text says by how much, and names the cure."""


class LogFiles(NamedTuple):
    """The files of one log in the data folder."""

    key: Path
    head: Path
    cosigned: Path


def origin_of(host: str, name: str) -> str:
    """The origin of a server's log: of the one without a name, or of another (LOG-19)."""
    return f"{host}/log/{name}" if name else f"{host}/log"


def files_of(data: Path, name: str) -> LogFiles:
    """The paths of that log's key, head, and last cosigned checkpoint."""
    stem = f"log-{name}" if name else "log"
    return LogFiles(data / f"{stem}.key", data / f"{stem}.head", data / f"{stem}.cosigned")


def name_in(host: str, origin: str) -> str:
    """The name in an origin of that host."""
    return origin.removeprefix(origin_of(host, "")).removeprefix("/")


async def begin(store: LogStore, files: LogFiles, origin: str) -> Sequencer:
    """The one who signs the log from now on, once its right edge was read again, and it reaches all that was ever
    signed. The caller holds the data folder's lock.

    Raises RolledBack, StoreDamaged, StoreFailed.
    """
    head = await store.head(origin) or NOTHING
    if (head.size or files.head.exists()) and not files.key.exists():
        # Before one is made up: the next start would take it for the log's.
        raise RolledBack(f"{files.key.name} is missing, and the store has {head.size} entries; {_instead(origin)}")
    signer = NoteSigner(origin, ED25519, _key_in(files.key))
    file = HeadFile.open(files.head, signer.verifier)
    try:
        _check_head_file(file, files.head, signer, head)
        assert file.last is not None
        # Only now: a start that is refused must not push out a server that may go on.
        term = (await store.begin_term(origin, EMPTY_ROOT)).term
        last = file.last.checkpoint

        def sign(reading: Reading) -> Head:
            return reread(origin, last, max(0, last.size - RIGHT_EDGE))(reading)

        found = await store.reread(sign)
        signed = sign_checkpoint(Checkpoint(origin, found.size, found.root), signer)
        file.write(signed)
        file.sync()
        tail = await store.reread(lambda reading: read_tail(reading, origin, term))
    except BaseException:
        file.close()
        raise
    return Sequencer(store, signer, file, tail, signed)


def _key_in(path: Path) -> SigningKey:
    try:
        return SigningKey(seed_in(path))
    except Malformed:
        raise RolledBack(f"{path.name} is damaged: put back the one that belongs to this log") from None


def _check_head_file(file: HeadFile, path: Path, signer: NoteSigner, head: Head) -> None:
    """Raises RolledBack unless the store has all that was signed. A log that begins gets its first checkpoint here,
    so that from the first entry on a missing file means something."""
    if file.last is None:
        if head.size:
            raise RolledBack(
                f"{path.name} is missing, or another log's, and the store has {head.size} entries: nobody can say "
                f"whether more were signed; {_instead(signer.name)}"
            )
        file.write(sign_checkpoint(Checkpoint(signer.name, 0, EMPTY_ROOT), signer))
        file.sync()
    elif file.last.size > head.size:
        raise RolledBack(
            f"the store has {head.size} entries, and {file.last.size} were signed: an old backup was put back; "
            f"{_instead(signer.name, 'newer store')}"
        )


def _instead(origin: str, what: str = "file") -> str:
    return f"put the {what} back, or begin another log with COMITY_CONSENT_LOG=NAME: this one, {origin}, ends here"
