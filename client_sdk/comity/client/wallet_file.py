"""One file that is never half written: a wallet's keys, acts and answers, encrypted, in tables (spec/wallet-file.md).

The file is a head, which may hold its identity under a passphrase, and frames behind it (WALLET-1 to WALLET-4). A frame
is the unit that is there wholly or not at all; its entries set or remove one key of one table each, so the newest entry
of a key counts (WALLET-5), and compaction is a rewrite of what still counts (WALLET-8).

What a crash means: a frame is on disk before `write` returns (WALLET-7), so a frame that cannot be read at the end of
the file was never answered for and is dropped; one in the middle is damage, and that is an error (WALLET-6).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import msgspec
import pyrage  # type: ignore[import-untyped]
from pyrage import passphrase as _by_passphrase
from pyrage import x25519

from comity.errors import ComityError

MAGIC = b"comity-wallet 2\n"
_FORMER_MAGIC = b"comity-wallet 1\n"
MAX_FRAME = 64 * 1024 * 1024
_PACKED_FRAME = 256 * 1024  # compaction packs entries: one X25519 for many of them makes opening fast
_WORTH_COMPACTING = 1024 * 1024
_LONGEST_HEAD = 16 * 1024  # a sealed identity is some 300 bytes long

_LENGTH = struct.Struct(">I")
_FRAME = struct.Struct(">II")
_NUMBER = struct.Struct(">Q")

Entry = tuple[str, str, bytes | None]
"""Table, key, value; a value of None removes the key."""

_entries_decoder = msgspec.msgpack.Decoder(list[Entry])


class WalletFileError(ComityError):
    """The file cannot be used: missing, locked by another process, wrong passphrase, or damaged."""


class WrongIdentity(WalletFileError):
    """The identity does not open the file, or the file is damaged from its first frame on."""


def new_identity() -> str:
    """A fresh age identity (`AGE-SECRET-KEY-1…`), as secret as the keys in the file that it opens."""
    return str(x25519.Identity.generate())


class WalletFile:
    """The open file: tables in memory, and `write` which makes entries durable in one piece.

    Only one process holds a file open; a second one gets `WalletFileError`.
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
        self._compact_at = _WORTH_COMPACTING
        self._writing = threading.Lock()
        self._broken = False

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, passphrase: str | None = None, identity: str | None = None
    ) -> WalletFile:
        """Makes a new file. With a passphrase (2 s, 520 MB) it carries its identity; else keep `identity`."""
        if not passphrase and identity is None:
            raise WalletFileError("a wallet needs a passphrase, or an identity kept elsewhere")
        where = Path(path).absolute()
        key = _identity(identity) if identity is not None else x25519.Identity.generate()
        head = MAGIC + _block(str(key), passphrase)
        handle, temp = tempfile.mkstemp(prefix=f".{where.name}.", dir=where.parent)
        made = cls(where, handle, head, key)
        try:
            # With a first frame in it, a wrong identity is noticed at opening and not at the first loss.
            first: list[Entry] = [("wallet", "format", b"1")]
            _write_all(handle, head + (frame := made._seal(0, first)))
            made._took(frame, first)
            os.fsync(handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # link, unlike rename, refuses to replace: a wallet is never overwritten by a new one.
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
        """Opens, locks and reads the file; drops a torn last frame. Raises `WalletFileError`."""
        # Resolved once: a rewrite must replace the file and not a link to it, wherever the process has gone since.
        where = Path(os.path.realpath(path))
        fd = _open_locked(where)
        try:
            data = _read_all(fd)
            head, sealed = _split_head(where, data)
            key = _identity(identity) if identity is not None else _unseal(sealed, passphrase)
            opened = cls(where, fd, head, key)
            opened._load(memoryview(data))
            if opened._size != len(data):
                os.ftruncate(fd, opened._size)
                os.fsync(fd)
            return opened
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Lets go of the file and its lock; safe to call twice."""
        with self._writing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    @property
    def identity(self) -> str:
        """The age identity: with it the file opens at once, without the passphrase's 2 s."""
        return str(self._identity)

    def table(self, name: str) -> Mapping[str, bytes]:
        """What one table holds now, in the order in which its keys were first set; a live, read-only view."""
        return MappingProxyType(self._tables.setdefault(name, {}))

    def write(self, entries: Iterable[Entry]) -> None:
        """Makes these entries durable, all of them or none, and then visible in the tables."""
        batch = list(entries)
        if not batch:
            return
        with self._writing:
            self._must_be_open()
            frame = self._seal(self._number, batch)
            try:
                _write_all(self._fd, frame, at=self._size)
                os.fdatasync(self._fd)
            except OSError as error:
                # After a failed sync nobody knows what is on disk; going on would risk a frame behind a hole.
                self._broken = True
                raise WalletFileError(f"cannot write {self.path}: {error.strerror}") from error
            self._took(frame, batch)
            if self._size > self._compact_at + 3 * self._live:
                self._compact_if_there_is_room()

    def remember(self, entries: Iterable[Entry]) -> None:
        """Shows entries in the tables, and writes nothing."""
        with self._writing:
            for entry in entries:
                self._apply(entry)

    def compact(self) -> None:
        """Rewrites the file with only what still counts. Raises `WalletFileError`; the file is as it was then."""
        with self._writing:
            self._compact(self._head)

    def change_passphrase(self, passphrase: str) -> None:
        """Seals the identity under another passphrase; an old copy of the file keeps the old one. Raises
        `WalletFileError`; the old one still holds then."""
        head = MAGIC + _block(str(self._identity), passphrase)
        with self._writing:
            self._compact(head)

    def _must_be_open(self) -> None:
        if self._broken:
            raise WalletFileError(f"cannot write {self.path}: it could not be written before; open it again")
        if self._fd < 0:
            raise WalletFileError(f"{self.path} is closed")

    def _load(self, data: memoryview) -> None:
        at = len(self._head)
        while (frame := _frame_at(self.path, data, at)) is not None:
            try:
                plain = pyrage.decrypt(bytes(frame), [self._identity])
            except pyrage.DecryptError:
                if at + _FRAME.size + len(frame) == len(data) and self._number > 0:
                    break  # the last one, of full length but with pages missing: torn by a power cut
                kind = WrongIdentity if self._number == 0 else WalletFileError
                raise kind(f"{self.path} is damaged, or this is not its identity") from None
            number, entries = _open_frame(self.path, plain)
            if number != self._number:
                raise WalletFileError(f"{self.path} is damaged: frame {number} where {self._number} belongs")
            for entry in entries:
                self._apply(entry)
            self._number += 1
            at += _FRAME.size + len(frame)
        if self._number == 0:
            raise WalletFileError(f"{self.path} is damaged: nothing but its head is left")
        self._size = at

    def _took(self, frame: bytes, entries: list[Entry]) -> None:
        self._number += 1
        self._size += len(frame)
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        name, key, value = entry
        table = self._tables.setdefault(name, {})
        old = table.pop(key, None) if value is None else table.get(key)
        if old is not None:
            self._live -= len(old) + len(key)
        if value is not None:
            table[key] = value
            self._live += len(value) + len(key)

    def _seal(self, number: int, entries: list[Entry]) -> bytes:
        plain = _NUMBER.pack(number) + msgspec.msgpack.encode(entries)
        sealed: bytes = pyrage.encrypt(plain, [self._recipient])
        if len(sealed) > MAX_FRAME:
            raise WalletFileError("too much at once for one frame")
        length = _LENGTH.pack(len(sealed))
        return length + _LENGTH.pack(zlib.crc32(length)) + sealed

    def _compact_if_there_is_room(self) -> None:
        """After a write, which is durable already: a disk too full for a second file must not make it fail."""
        try:
            self._compact(self._head)
        except WalletFileError:
            self._compact_at += self._size

    def _compact(self, head: bytes) -> None:
        self._must_be_open()
        try:
            fd, size, number = self._rewritten(head)
        except OSError as error:
            raise WalletFileError(f"cannot rewrite {self.path}: {error.strerror}") from error
        # From the rename on the new file has the name, so what is written next must go there and nowhere else.
        os.close(self._fd)
        self._fd, self._size, self._number, self._head = fd, size, number, head
        self._compact_at = _WORTH_COMPACTING
        try:
            _sync_folder(self.path.parent)
        except OSError as error:
            # After a power cut either file may have the name: nothing may be answered for that is in one alone.
            self._broken = True
            raise WalletFileError(f"cannot write {self.path}: {error.strerror}") from error

    def _rewritten(self, head: bytes) -> tuple[int, int, int]:
        """(descriptor, size, frames) of a new file in place of the old one, locked. Raises OSError, and then the old
        one stands untouched."""
        temp = self.path.with_name(f".{self.path.name}.compacting")
        # Only the holder of the lock comes here, so a leftover of this name is a dead one.
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            # Locked before it has the name: no other process can open it between the rename and the lock.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size, number = len(head), 0
            _write_all(fd, head)
            for batch in _packed(self._tables):
                frame = self._seal(number, batch)
                _write_all(fd, frame, at=size)
                size, number = size + len(frame), number + 1
            os.fsync(fd)
            os.rename(temp, self.path)
        except BaseException:
            os.close(fd)
            # Half a file on a full disk helps nobody.
            with suppress(OSError):
                os.unlink(temp)
            raise
        return fd, size, number


def name_of_seal(path: str | os.PathLike[str]) -> str | None:
    """A name for the file under its passphrase of now: of the sealed identity, which is another with each passphrase
    (WALLET-9). None where there is no such file, or none in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        head, sealed = _split_head(Path(path), os.read(fd, _LONGEST_HEAD))
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
    return _LENGTH.pack(len(sealed)) + sealed


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


def _split_head(path: Path, data: bytes) -> tuple[bytes, bytes]:
    start = len(MAGIC) + _LENGTH.size
    if data.startswith(_FORMER_MAGIC):
        raise WalletFileError(
            f"{path} was written before the first release of Comity, and there is no upgrade from there: "
            "make a new wallet"
        )
    if not data.startswith(MAGIC) or len(data) < start:
        raise WalletFileError(f"{path} is not a wallet")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    if len(data) < start + length:
        raise WalletFileError(f"{path} is damaged: its identity block is cut off")
    return data[: start + length], data[start : start + length]


def _frame_at(path: Path, data: memoryview, at: int) -> memoryview | None:
    """The sealed bytes of the frame there; None where the file ends, or where its last frame is torn."""
    if at + _FRAME.size > len(data):
        return None
    length, check = _FRAME.unpack_from(data, at)
    if zlib.crc32(data[at : at + _LENGTH.size]) != check:
        # A length that cannot be trusted must not make later frames look like a torn end. A file that was
        # made longer but not filled before a power cut reads as zeros from there.
        if not any(data[at + _FRAME.size :]):
            return None
        raise WalletFileError(f"{path} is damaged at byte {at}")
    start = at + _FRAME.size
    return data[start : start + length] if start + length <= len(data) else None


def _open_frame(path: Path, plain: bytes) -> tuple[int, list[Entry]]:
    try:
        (number,) = _NUMBER.unpack_from(plain)
        return number, _entries_decoder.decode(plain[_NUMBER.size :])
    except (struct.error, msgspec.MsgspecError):
        raise WalletFileError(f"{path} holds a frame of another kind") from None


def _packed(tables: Mapping[str, Mapping[str, bytes]]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
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


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
