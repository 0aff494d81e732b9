"""The state of a log monitor: the log's key, its newest checkpoint, and the position up to which its entries were
checked. One small file, written whole or not at all.

    {"comity": "followed log 3", "sum": hash of the state's bytes, "state": {…}}

After a crash the file is always one that was written whole. It may be older than the last check; then those entries are
checked again. It never holds a checkpoint that was not proved to continue the one before it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comity.client.log.tile_reader import LogFinding
from comity.encoding import dump_json, hash_id, parse_object
from comity.errors import ComityError, Refused
from comity.transparency.checkpoints import SignedCheckpoint, open_checkpoint
from comity.transparency.entries import Kind
from comity.transparency.notes import MOST_NOTE, VerifierKey, parse_vkey

FORMAT = "followed log 3"
_EARLIER_FORMATS = ("followed log 1", "followed log 2")
_MOST_FILE = 4 * MOST_NOTE
_MEMBERS = {"vkey", "seen", "verified", "position", "minute", "latest", "kinds", "home_keys"}


class MonitorFileError(ComityError):
    """The monitor's file cannot be used: damaged, of another log, in use, or not writable."""


@dataclass(frozen=True, slots=True)
class MonitorState:
    """The state of one followed log.

    `seen` is the largest tree that it signed and proved to continue the earlier ones. Of that tree the first `position`
    entries were checked: `kinds` counts them, `minute` is the latest time (minutes since the epoch) among them,
    `latest` the index of the last entry that has it, and `home_keys` are the indexes of those that state a key of the
    home server. `verified` is the last tree of which every entry was checked.
    """

    key: VerifierKey
    seen: SignedCheckpoint | None = None
    verified: SignedCheckpoint | None = None
    position: int = 0
    minute: int = 0
    latest: int = 0
    kinds: dict[Kind, int] = field(default_factory=dict)
    home_keys: tuple[int, ...] = ()

    def to_json(self) -> bytes:
        """The bytes of the file."""
        state = {
            "vkey": self.key.text,
            "seen": None if self.seen is None else self.seen.raw,
            "verified": None if self.verified is None else self.verified.raw,
            "position": self.position,
            "minute": self.minute,
            "latest": self.latest,
            "kinds": {kind.name.lower(): number for kind, number in sorted(self.kinds.items()) if number},
            "home_keys": list(self.home_keys),
        }
        return dump_json({"comity": FORMAT, "sum": hash_id(dump_json(state)), "state": state}) + b"\n"


def read_state(data: bytes) -> MonitorState:
    """The state in the bytes of the file. Raises Refused for any other bytes: damaged, or no such file."""
    whole = parse_object(data, _MOST_FILE)
    state = whole.get("state")
    if whole.get("comity") in _EARLIER_FORMATS:
        raise Refused(
            "malformed", "it was written before version 2 of the entries: remove it, and the log is read again"
        )
    if whole.get("comity") != FORMAT or not isinstance(state, dict) or whole.get("sum") != hash_id(dump_json(state)):
        raise Refused("malformed", "its checksum is wrong")
    if set(state) != _MEMBERS:
        raise Refused("malformed", "unexpected members")
    key = parse_vkey(_as(str, state["vkey"]))
    seen, verified = (_reopen(state[name], key) for name in ("seen", "verified"))
    kinds = {_kind(name): _as(int, number) for name, number in _as(dict, state["kinds"]).items()}
    position, minute, latest = (_as(int, state[name]) for name in ("position", "minute", "latest"))
    home_keys = tuple(_as(int, index) for index in _as(list, state["home_keys"]))
    found = MonitorState(key, seen, verified, position, minute, latest, kinds, home_keys)
    sizes = (0 if verified is None else verified.size, found.position, 0 if seen is None else seen.size)
    is_there = 0 <= found.latest < max(found.position, 1)
    in_order = sorted(set(home_keys)) == list(home_keys) and all(
        0 <= home_key < max(found.position, 1) for home_key in home_keys
    )
    if sorted(sizes) != list(sizes) or sum(kinds.values()) != found.position or not is_there or not in_order:
        raise Refused("malformed", "its numbers contradict each other")
    return found


def _as(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Refused("malformed", "a member of the wrong type")
    return value


def _kind(name: str) -> Kind:
    if name.upper() not in Kind.__members__:
        raise Refused("malformed", "an unknown kind of entry")
    return Kind[name.upper()]


def _reopen(raw: Any, key: VerifierKey) -> SignedCheckpoint | None:
    return None if raw is None else open_checkpoint(_as(str, raw), key)


class MonitorFile:
    """The file with the state of one followed log. One process holds it at a time (`lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[MonitorFile]:
        """Keeps other processes out, and makes the folder where it is missing. Raises MonitorFileError."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MonitorFileError(f"cannot write beside {self.path}: {error.strerror}") from None
        try:
            _lock(fd, self.path)
            yield self
        finally:
            os.close(fd)

    def load(self) -> MonitorState | None:
        """The stored state, or None where there is no file yet. Raises MonitorFileError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MonitorFileError(f"cannot read {self.path}: {error.strerror}") from None
        try:
            return read_state(data)
        except Refused as fault:
            # Do not start over: a lying log would only have to damage the file.
            raise MonitorFileError(f"{self.path} is damaged, or not what is kept of a log ({fault.detail})") from None

    def save(self, followed: MonitorState) -> None:
        """Replaces the stored state; on disk when it returns. Raises MonitorFileError."""
        try:
            write_whole(self.path, followed.to_json())
        except OSError as error:
            raise MonitorFileError(f"cannot write {self.path}: {error.strerror}") from None

    def save_evidence(self, finding: LogFinding, origin: str) -> Path:
        """Writes a finding's evidence to a file of its own, and returns its path. Raises MonitorFileError."""
        word = "fork" if finding.code in ("forked", "rolled_back") else "finding"
        stem = f"{word}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}-{finding.at}"
        text = "\n".join([f"{origin}: {finding.claim}\n", *finding.evidence])
        data = text.encode("utf-8", "replace")
        path, number = self.path.with_name(f"{stem}.txt"), 1
        try:
            # Evidence is never overwritten: another lie about the same size gets another file.
            while path.exists() and path.read_bytes() != data:
                number += 1
                path = self.path.with_name(f"{stem}-{number}.txt")
            write_whole(path, data)
        except OSError as error:
            raise MonitorFileError(f"cannot write {path}: {error.strerror}") from None
        return path


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MonitorFileError(f"another process follows this log with {path}") from None


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file wholly or not at all, durably. Raises OSError."""
    handle, temp = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
    except BaseException:
        os.unlink(temp)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def default_file(origin: str) -> MonitorFile:
    """The default file for a log of that name (XDG Base Directory)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # The specification says to ignore a relative path.
    base = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return MonitorFile(base / "comity" / "logs" / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json")
