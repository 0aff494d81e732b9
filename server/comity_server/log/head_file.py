"""The head file: the last checkpoints that this server signed, outside the database (LOG-14).

A store that was put back from an old backup looks like any other; only a file beside it can show that a larger tree was
signed before. The file has four slots, one disk page each: two are written in turn, so that one is whole wherever this
process ends, and two are synced in turn, so that one is whole whenever the power fails.
"""

import hashlib
import os
import threading
from pathlib import Path

from comity.errors import Refused
from comity.transparency.checkpoints import SignedCheckpoint, open_checkpoint
from comity.transparency.notes import VerifierKey
from comity_server.data_dir import sync_folder

SLOT = 4096
"""Bytes of a slot: a checksum, a length, and a checkpoint."""
SLOTS = 4
_MARK = 32 + 2


class WillNotLast(OSError):
    """The last write may not survive a power cut, and a second attempt could not tell."""


class HeadFile:
    """The head file of one log. `open` makes one. Only the signer writes it."""

    def __init__(self, file: int, slots: list[SignedCheckpoint | None]) -> None:
        sizes = [-1 if slot is None else slot.size for slot in slots]
        self._file = file
        self._written, self._synced = 1 - _larger(sizes[:2]), 1 - _larger(sizes[2:])
        self._lock = threading.Lock()
        self._is_late = False
        """True if the last write should have been synced already."""
        self.last = slots[sizes.index(max(sizes))]
        """The largest checkpoint in it, None where it is new."""

    @classmethod
    def open(cls, path: Path, key: VerifierKey) -> "HeadFile":
        """The file at `path`, made if missing. Slots that are no checkpoint of this log are as good as empty."""
        is_new = not path.exists()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if is_new:
            sync_folder(path.parent)
        return cls(file, [read_slot(os.pread(file, SLOT, SLOT * number), key) for number in range(SLOTS)])

    def write(self, signed: SignedCheckpoint) -> None:
        """Stores a checkpoint before it is published. It survives the end of this process at once, and a power cut
        after the next `sync`: a head file behind its store is an ordinary case. A failed sync is repeated first. Raises
        OSError, WillNotLast."""
        with self._lock:
            if self._is_late:
                self._sync()
            os.pwrite(self._file, _slot(signed), SLOT * self._written)
            self._written = 1 - self._written
            self.last = signed

    def sync(self) -> None:
        """Makes the last write survive a power cut. Raises OSError, after which it can be tried again, and
        WillNotLast."""
        with self._lock:
            self._sync()

    def _sync(self) -> None:
        if self.last is None:
            return
        self._is_late = True
        os.pwrite(self._file, _slot(self.last), SLOT * (2 + self._synced))
        try:
            os.fdatasync(self._file)
        except OSError as fault:
            # The system may have dropped the pages that it could not write, and would report success the next time.
            raise WillNotLast(*fault.args) from None
        self._is_late = False
        self._synced = 1 - self._synced

    def close(self) -> None:
        """Syncs and closes the file, even if the sync fails. Raises OSError."""
        try:
            self.sync()
        finally:
            os.close(self._file)


def _larger(sizes: list[int]) -> int:
    return sizes.index(max(sizes))


def _slot(signed: SignedCheckpoint) -> bytes:
    text = signed.raw.encode("utf-8")
    content = len(text).to_bytes(2, "big") + text
    return hashlib.sha256(content).digest() + content.ljust(SLOT - 32, b"\x00")


def read_slot(slot: bytes, key: VerifierKey) -> SignedCheckpoint | None:
    """The checkpoint in the bytes of a slot, None where they are empty, torn, or no checkpoint of this log."""
    length = int.from_bytes(slot[32:_MARK], "big")
    content = slot[32 : _MARK + length]
    if not length or hashlib.sha256(content).digest() != slot[:32]:
        return None
    try:
        return open_checkpoint(content[2:], key)
    except Refused:
        return None


def largest_in(path: Path) -> int | None:
    """The size of the largest checkpoint in a head file, whoever signed it; None if there is no file, or no readable
    checkpoint in it."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    slots = [content[SLOT * number : SLOT * (number + 1)] for number in range(SLOTS)]
    sizes = [size for slot in slots if (size := _size_in(slot)) is not None]
    return max(sizes, default=None)


def _size_in(slot: bytes) -> int | None:
    length = int.from_bytes(slot[32:_MARK], "big")
    content = slot[32 : _MARK + length]
    if not length or hashlib.sha256(content).digest() != slot[:32]:
        return None
    line = content[2:].split(b"\n")[1:2]
    return int(line[0]) if line and line[0].isdigit() and len(line[0]) < 17 else None
