"""The bytes of a wallet's file: its head, then frames and marks (spec/wallet-file.md).

Pure: it parses bytes that the caller has read, and makes bytes for the caller to write.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyrage  # type: ignore[import-untyped]
from pyrage import x25519

from comity.errors import ComityError

MAGIC = b"comity-wallet 2\n"
_FORMER_MAGIC = b"comity-wallet 1\n"
MAX_FRAME = 64 * 1024 * 1024
_BEGINNING_OF_SEALED = b"age-encryption.org/v1\n"

LENGTH = struct.Struct(">I")
_FRAME = struct.Struct(">II")
_NUMBER = struct.Struct(">Q")
MARK = _FRAME.pack(0, zlib.crc32(LENGTH.pack(0)))
"""Follows bytes that were on the disk before it was written."""

RawEntry = tuple[str, str, bytes | None]
"""Table, key, value; a value of None removes the key."""

_entries_decoder = msgspec.msgpack.Decoder(list[RawEntry])


class WalletFileError(ComityError):
    """The file cannot be used: missing, locked by another process, damaged, full disk, or a wrong passphrase."""


class WrongIdentity(WalletFileError):
    """The identity does not open the file, or the file is damaged from its first frame on."""


@dataclass(frozen=True, slots=True)
class FrameScan:
    """The readable extent of a file."""

    frames: int
    end: int
    """The byte after the last whole frame or mark."""
    is_marked: bool
    """Whether a mark follows the last whole frame."""
    is_damaged: bool
    """Whether the bytes after `end` were on the disk once and cannot be read; otherwise they are torn, or none."""


def seal_frame(number: int, entries: list[RawEntry], recipient: x25519.Recipient) -> bytes:
    """The encrypted frame of that number (WALLET-3, WALLET-4). Raises WalletFileError for one that is too large."""
    plain = _NUMBER.pack(number) + msgspec.msgpack.encode(entries)
    sealed: bytes = pyrage.encrypt(plain, [recipient])
    if len(sealed) > MAX_FRAME:
        raise WalletFileError("too much at once for one frame")
    length = LENGTH.pack(len(sealed))
    return length + LENGTH.pack(zlib.crc32(length)) + sealed


def split_head(path: Path, data: bytes) -> tuple[bytes, bytes]:
    """(the head, the identity block in it) of a file (WALLET-1). Raises WalletFileError."""
    start = len(MAGIC) + LENGTH.size
    if data.startswith(_FORMER_MAGIC):
        raise WalletFileError(
            f"{path} was written before the first release of Comity, and there is no upgrade from there: "
            "make a new wallet"
        )
    if not data.startswith(MAGIC) or len(data) < start:
        raise WalletFileError(f"{path} is not a wallet")
    (length,) = LENGTH.unpack_from(data, len(MAGIC))
    if len(data) < start + length:
        raise WalletFileError(f"{path} is damaged: its identity block is cut off")
    return data[: start + length], data[start : start + length]


def read_frames(
    path: Path, data: bytes, start: int, identity: x25519.Identity, take: Callable[[list[RawEntry]], None]
) -> FrameScan:
    """Passes the entries of each frame from `start` on to `take`, and returns the readable extent (WALLET-6). Raises
    WalletFileError for damage elsewhere than at the end; some frames may have been passed on by then (WALLET-10)."""
    at, number, is_marked = start, 0, False
    while True:
        sealed = _frame_at(data, at)
        if isinstance(sealed, _Torn):
            is_damaged = False
            break
        if sealed == b"":
            at, is_marked = at + len(MARK), True
            continue
        plain = None if sealed is None else _decrypt(sealed, identity)
        if plain is None or sealed is None:
            is_last = sealed is not None and at + _FRAME.size + len(sealed) == len(data)
            is_damaged = not (is_last and number > 0)
            break
        found, entries = _open_frame(path, plain)
        if found != number:
            raise WalletFileError(f"{path} is damaged: frame {found} where {number} belongs")
        take(entries)
        at, number, is_marked = at + _FRAME.size + len(sealed), number + 1, False
    if is_damaged:
        _must_be_the_end(path, data, at, number, identity)
    elif number == 0:
        raise WalletFileError(f"{path} is damaged: nothing but its head is left")
    return FrameScan(number, at, is_marked, is_damaged)


class _Torn:
    """The end of a file, or a frame that was not written to its end."""


def _frame_at(data: bytes, at: int) -> bytes | _Torn | None:
    """The encrypted bytes of the frame there, empty for a mark; None where its length cannot be trusted."""
    if at + _FRAME.size > len(data):
        return _Torn()
    length, check = _FRAME.unpack_from(data, at)
    start = at + _FRAME.size
    if zlib.crc32(data[at : at + LENGTH.size]) != check:
        # A file that was extended but not filled before a power cut reads as zeros from there.
        return None if any(data[start:]) else _Torn()
    return data[start : start + length] if start + length <= len(data) else _Torn()


def _decrypt(sealed: bytes, identity: x25519.Identity) -> bytes | None:
    try:
        plain: bytes = pyrage.decrypt(sealed, [identity])
    except pyrage.DecryptError:
        return None
    return plain


def _must_be_the_end(path: Path, data: bytes, at: int, number: int, identity: x25519.Identity) -> None:
    """Raises WalletFileError unless a frame before byte `at` could be opened, and none after it can."""
    begins = at + _FRAME.size
    while (begins := data.find(_BEGINNING_OF_SEALED, begins + 1)) >= 0:
        sealed = _frame_at(data, begins - _FRAME.size)
        if isinstance(sealed, bytes) and _decrypt(sealed, identity) is not None:
            raise WalletFileError(f"{path} is damaged at byte {at}, and more behind that rests on it: put a copy back")
    if number == 0:
        raise WrongIdentity(f"{path} is damaged, or this is not its identity")


def _open_frame(path: Path, plain: bytes) -> tuple[int, list[RawEntry]]:
    try:
        (number,) = _NUMBER.unpack_from(plain)
        return number, _entries_decoder.decode(plain[_NUMBER.size :])
    except (struct.error, msgspec.MsgspecError):
        raise WalletFileError(f"{path} holds a frame of another kind") from None
