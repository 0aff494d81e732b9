"""The encrypted file of a wallet: tables of keys, acts and answers, never half written (spec/wallet-file.md).

The file is a head, which may hold its identity under a passphrase, followed by frames (WALLET-1 to WALLET-4). A frame
is present wholly or not at all. Each of its entries sets or removes one key of one table, so the newest entry of a key
counts (WALLET-5); compaction rewrites the entries that count (WALLET-8).

After a crash: a frame is on disk before `write` returns, and a mark follows it soon after (WALLET-7). An unreadable
frame without a mark at the end of the file was never acknowledged and is dropped (WALLET-6). An unreadable frame with a
mark is damage: at the end of the file the bytes are copied and the owner is told; in the middle it is an error
(WALLET-10).
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import pyrage  # type: ignore[import-untyped]
from pyrage import passphrase as _by_passphrase
from pyrage import x25519

from comity.client.storage.frames import (
    LENGTH,
    MAGIC,
    MARK,
    RawEntry,
    WalletFileError,
    read_frames,
    seal_frame,
    split_head,
)

_PACKED_FRAME = 256 * 1024  # compaction packs entries: one X25519 for many of them makes opening fast
_WORTH_COMPACTING = 1024 * 1024
_DAMAGED = ".damaged-"
_LONGEST_HEAD = 16 * 1024  # a sealed identity is some 300 bytes long


def new_identity() -> str:
    """A new age identity (`AGE-SECRET-KEY-1…`), as secret as the keys in the file that it opens."""
    return str(x25519.Identity.generate())


class WalletFile:
    """The open file: tables in memory, and `write`, which makes entries durable together.

    Only one process can hold a file open; a second one gets `WalletFileError`.
    """

    def __init__(self, path: Path, fd: int, head: bytes, identity: x25519.Identity) -> None:
        self.path = path
        self._fd = fd
        self._head = head
        self._identity = identity
        self._recipient = identity.to_public()
        self._tables: dict[str, dict[str, bytes]] = {}
        self._number = 0
        self._size = len(head)
        self._live = 0
        self._is_marked = False
        self._compact_at = _WORTH_COMPACTING
        self._writing = threading.Lock()
        self._broken = False

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, passphrase: str | None = None, identity: str | None = None
    ) -> WalletFile:
        """Makes a new file. With a passphrase (2 s, 520 MB) the file contains its identity; without one, keep
        `identity` elsewhere. Raises WalletFileError."""
        if not passphrase and identity is None:
            raise WalletFileError("a wallet needs a passphrase, or an identity kept elsewhere")
        where = Path(path).absolute()
        key = _identity(identity) if identity is not None else x25519.Identity.generate()
        head = MAGIC + _block(str(key), passphrase)
        try:
            handle, temp = tempfile.mkstemp(prefix=f".{where.name}.", dir=where.parent)
        except OSError as error:
            raise WalletFileError(f"cannot make {where}: {error.strerror}") from None
        made = cls(where, handle, head, key)
        try:
            # With a first frame in the file, a wrong identity is noticed when the file is opened.
            first: list[RawEntry] = [("wallet", "format", b"1")]
            frame = seal_frame(0, first, made._recipient)
            _write_all(handle, head + frame)
            made._count_frame(len(frame), first)
            os.fsync(handle)
            made._mark()
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # link, unlike rename, refuses to replace a file: a new wallet never overwrites an old one.
            os.link(temp, where)
        except FileExistsError:
            os.close(handle)
            raise WalletFileError(f"{where} is already there") from None
        except BaseException:
            os.close(handle)
            raise
        finally:
            os.unlink(temp)
        _sync_folder(where.parent)
        return made

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, passphrase: str | None = None, identity: str | None = None
    ) -> WalletFile:
        """Opens, locks and reads the file. A torn end is dropped; a damaged end is copied first (`damaged_copies`).
        Raises WalletFileError."""
        # Resolved once: a rewrite must replace the file and not a link to it, whatever the working directory is by
        # then.
        where = Path(os.path.realpath(path))
        fd = _open_locked(where)
        try:
            data = _read_all(fd)
            head, sealed = split_head(where, data)
            key = _identity(identity) if identity is not None else _unseal(sealed, passphrase)
            opened = cls(where, fd, head, key)
            opened._load(data)
            return opened
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Closes the file and releases its lock; safe to call twice."""
        with self._writing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    @property
    def identity(self) -> str:
        """The age identity: it opens the file at once, without the passphrase's 2 s."""
        return str(self._identity)

    @property
    def damaged_copies(self) -> tuple[Path, ...]:
        """Copies of the file beside it, each with an end that could not be read (WALLET-10)."""
        named = f"{self.path.name}{_DAMAGED}"
        return tuple(sorted(it for it in self.path.parent.iterdir() if it.name.startswith(named)))

    def table(self, name: str) -> Mapping[str, bytes]:
        """The current contents of one table, in the order in which its keys were first set; a live, read-only view."""
        return MappingProxyType(self._tables.setdefault(name, {}))

    def write(self, entries: Iterable[RawEntry]) -> None:
        """Makes these entries durable, all or none, and then visible in the tables. Raises WalletFileError."""
        batch = list(entries)
        if not batch:
            return
        with self._writing:
            self._must_be_open()
            frame = seal_frame(self._number, batch, self._recipient)
            if not self._is_marked:
                frame = MARK + frame
            try:
                _write_all(self._fd, frame, at=self._size)
                os.fdatasync(self._fd)
            except OSError as error:
                # After a failed sync the contents of the disk are unknown; another frame might follow a hole.
                self._broken = True
                raise WalletFileError(f"cannot write {self.path}: {error.strerror}") from error
            self._count_frame(len(frame), batch)
            self._mark()
            if self._size > self._compact_at + 3 * self._live:
                self._compact_if_there_is_room()

    def apply_unwritten(self, entries: Iterable[RawEntry]) -> None:
        """Shows entries in the tables without writing them."""
        with self._writing:
            for entry in entries:
                self._apply(entry)

    def compact(self) -> None:
        """Rewrites the file with only the entries that count. Raises WalletFileError and leaves the file unchanged."""
        with self._writing:
            self._compact(self._head)

    def change_passphrase(self, passphrase: str) -> None:
        """Encrypts the identity under another passphrase; an old copy of the file keeps the old one. Raises
        WalletFileError; the old passphrase then still holds."""
        head = MAGIC + _block(str(self._identity), passphrase)
        with self._writing:
            self._compact(head)

    def _must_be_open(self) -> None:
        if self._broken:
            raise WalletFileError(f"cannot write {self.path}: it could not be written before; open it again")
        if self._fd < 0:
            raise WalletFileError(f"{self.path} is closed")

    def _load(self, data: bytes) -> None:
        """Reads every whole frame and cuts off the rest. Raises WalletFileError."""

        def take(entries: list[RawEntry]) -> None:
            for entry in entries:
                self._apply(entry)

        whole = read_frames(self.path, data, len(self._head), self._identity, take)
        self._number, self._size, self._is_marked = whole.frames, whole.end, whole.is_marked
        try:
            if whole.is_damaged:
                _keep_copy(self.path, data)
            if whole.end != len(data):
                os.ftruncate(self._fd, whole.end)
            if whole.end != len(data) or not whole.is_marked:
                # A killed process may have left bytes that were never synced.
                os.fsync(self._fd)
        except OSError as error:
            raise WalletFileError(f"cannot write {self.path}: {error.strerror}") from error
        if not whole.is_marked:
            self._mark()

    def _mark(self) -> None:
        """Marks that everything written is on the disk. Without room for the mark, the next frame writes it."""
        try:
            _write_all(self._fd, MARK, at=self._size)
        except OSError:
            self._is_marked = False
            return
        self._is_marked = True
        self._size += len(MARK)

    def _count_frame(self, size: int, entries: list[RawEntry]) -> None:
        self._number += 1
        self._size += size
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: RawEntry) -> None:
        name, key, value = entry
        table = self._tables.setdefault(name, {})
        old = table.pop(key, None) if value is None else table.get(key)
        if old is not None:
            self._live -= len(old) + len(key)
        if value is not None:
            table[key] = value
            self._live += len(value) + len(key)

    def _compact_if_there_is_room(self) -> None:
        """Compacts after a write that is durable already: a disk too full for a second file must not make the write
        fail."""
        try:
            self._compact(self._head)
        except WalletFileError:
            self._compact_at += self._size

    def _compact(self, head: bytes) -> None:
        self._must_be_open()
        try:
            fd, size, number = self._rewrite(head)
        except OSError as error:
            raise WalletFileError(f"cannot rewrite {self.path}: {error.strerror}") from error
        # After the rename the new file has the name, so the next write must go to it.
        os.close(self._fd)
        self._fd, self._size, self._number, self._head = fd, size, number, head
        self._is_marked = True
        self._compact_at = _WORTH_COMPACTING
        try:
            _sync_folder(self.path.parent)
        except OSError as error:
            # After a power cut either file may have the name, so no entry may be acknowledged that is in one alone.
            self._broken = True
            raise WalletFileError(f"cannot write {self.path}: {error.strerror}") from error

    def _rewrite(self, head: bytes) -> tuple[int, int, int]:
        """Writes a new, locked file in place of the old one. Returns (descriptor, size, frames). Raises OSError and
        leaves the old file unchanged."""
        temp = self.path.with_name(f".{self.path.name}.compacting")
        # Only the holder of the lock gets here, so a file of this name is left over from a crash.
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            # Locked before the rename, so that no other process can open it in between.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size, number = len(head), 0
            _write_all(fd, head)
            for batch in _pack_entries(self._tables):
                frame = seal_frame(number, batch, self._recipient)
                _write_all(fd, frame, at=size)
                size, number = size + len(frame), number + 1
            # Renamed only when all of it is on the disk.
            _write_all(fd, MARK, at=size)
            os.fsync(fd)
            os.rename(temp, self.path)
        except BaseException:
            os.close(fd)
            # Free the space of an incomplete file.
            with suppress(OSError):
                os.unlink(temp)
            raise
        return fd, size + len(MARK), number


def seal_id(path: str | os.PathLike[str]) -> str | None:
    """An id of the file under its current passphrase, derived from the encrypted identity, which changes with each
    passphrase (WALLET-9). None without such a file, or without a passphrase."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        head, sealed = split_head(Path(path), os.read(fd, _LONGEST_HEAD))
    except (OSError, WalletFileError):
        return None
    finally:
        os.close(fd)
    return hashlib.sha256(head).hexdigest()[:32] if sealed else None


def _identity(text: str) -> x25519.Identity:
    try:
        return x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise WalletFileError("that is not an age identity") from None


def _block(identity: str, passphrase: str | None) -> bytes:
    sealed = _by_passphrase.encrypt(identity.encode(), passphrase) if passphrase else b""
    return LENGTH.pack(len(sealed)) + sealed


def _unseal(sealed: bytes, passphrase: str | None) -> x25519.Identity:
    if not sealed:
        raise WalletFileError("this wallet has no passphrase: it opens with its identity")
    if not passphrase:
        raise WalletFileError("this wallet needs its passphrase")
    try:
        return _identity(_by_passphrase.decrypt(sealed, passphrase).decode())
    except pyrage.DecryptError:
        raise WalletFileError("wrong passphrase") from None


def _open_locked(path: Path) -> int:
    """Opens and locks the file that has this name *now*: a compaction may rename another one in between."""
    for _ in range(100):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise WalletFileError(f"cannot open {path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine, named = os.fstat(fd), os.stat(path)
        except OSError as error:
            os.close(fd)
            if isinstance(error, FileNotFoundError):
                continue
            raise WalletFileError(f"{path} is open in another process") from None
        if (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino):
            return fd
        os.close(fd)
    raise WalletFileError(f"{path} keeps changing")


def _pack_entries(tables: Mapping[str, Mapping[str, bytes]]) -> Iterator[list[RawEntry]]:
    batch: list[RawEntry] = []
    size = 0
    for name, table in tables.items():
        for key, value in table.items():
            batch.append((name, key, value))
            size += len(key) + len(value)
            if size >= _PACKED_FRAME:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _read_all(fd: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _write_all(fd: int, data: bytes, at: int = 0) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def _keep_copy(path: Path, data: bytes) -> None:
    """Writes these bytes to a new file beside `path`, durably. Raises OSError."""
    for number in itertools.count(1):
        copy = path.with_name(f"{path.name}{_DAMAGED}{number}")
        try:
            fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        break
    try:
        _write_all(fd, data)
        os.fsync(fd)
    except BaseException:
        os.unlink(copy)
        raise
    finally:
        os.close(fd)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
