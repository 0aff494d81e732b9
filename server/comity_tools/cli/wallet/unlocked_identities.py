"""Stores the identities of unlocked wallets: in the system's keyring if there is one that encrypts, else in a process
of the user (WALLET-9). No identity is printed, and only the keyring writes one to a disk, encrypted.

A wallet is named by its sealed identity, so an identity of another passphrase, or of another file at the same path, is
not found.
"""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from comity.client.storage.encrypted_file import seal_id
from comity.errors import ComityError
from comity_server.short_path import short
from comity_tools.cli.wallet import identity_agent
from comity_tools.cli.wallet.identity_agent import ASK, LOCK, LOCKED, peer_uid

_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{58}\Z")
_SERVICE = "comity wallet"
_PATIENCE = 2.0
"""s to wait for an answer of the process that holds an identity."""
_STARTS_WITHIN = 30.0
_LONGEST_ANSWER = 256

Place = Literal["keyring", "agent"]


class CannotUnlock(ComityError):
    """The identity cannot be stored: the wallet has no passphrase, or there is no private place."""


def store_identity(file: Path, identity: str, seconds: float) -> Place:
    """Stores the identity for so many seconds, replacing an earlier one. Returns where. Raises CannotUnlock."""
    remove_identity(file)
    name = seal_id(file)
    if name is None:
        raise CannotUnlock("this wallet has no passphrase: it opens with its identity")
    folder = next(_folders(file, make=True), None)
    if folder is None:
        raise CannotUnlock("there is no folder for the unlocked wallet that is private to you")
    if (ring := _keyring()) is not None:
        entry = json.dumps({"identity": identity, "until": int(time.time() + seconds)})
        with suppress(_keyring_error()):
            ring.set_password(_SERVICE, name, entry)
            _marker_file(folder, name).touch(mode=0o600)
            return "keyring"
    _start_agent(folder, name, identity, seconds)
    return "agent"


def find_identity(file: Path) -> str | None:
    """The identity of an unlocked wallet, not yet tried on the file; None if the wallet is locked."""
    name = seal_id(file)
    for folder in _folders(file) if name is not None else ():
        assert name is not None
        found = _ask_agent(folder, name, ASK) or _identity_in_keyring(folder, name)
        if found is not None and _IDENTITY.match(found):
            return found
    return None


def remove_identity(file: Path) -> bool:
    """Removes the stored identity of the wallet. Returns whether it was unlocked."""
    name = seal_id(file)
    was_kept = False
    for folder in _folders(file) if name is not None else ():
        assert name is not None
        was_kept |= _ask_agent(folder, name, LOCK) == LOCKED.decode().strip()
        if _marker_file(folder, name).exists():
            was_kept |= _remove_from_keyring(folder, name)
    return was_kept


# --- the system's keyring ---


def _keyring() -> Any | None:
    """The system's keyring, if it is one that encrypts."""
    # Slow to import, and needed only for unlocked wallets.
    found = import_module("keyring").get_keyring()
    # The library does not recommend keyrings that do nothing or store plain text.
    return found if import_module("keyring.core").recommended(found) else None


def _keyring_error() -> type[Exception]:
    error: type[Exception] = import_module("keyring.errors").KeyringError
    return error


def _marker_file(folder: Path, name: str) -> Path:
    """The empty file that marks an identity in the keyring: without it the keyring is not asked."""
    return folder / f"{name}.keyring"


def _identity_in_keyring(folder: Path, name: str) -> str | None:
    if not _marker_file(folder, name).exists() or (ring := _keyring()) is None:
        return None
    try:
        entry = json.loads(ring.get_password(_SERVICE, name) or "null")
        identity, until = entry["identity"], entry["until"]
    except (_keyring_error(), ValueError, TypeError, KeyError):
        return None
    if time.time() < until:
        return str(identity)
    _remove_from_keyring(folder, name)
    return None


def _remove_from_keyring(folder: Path, name: str) -> bool:
    if (ring := _keyring()) is None:
        return False
    try:
        ring.delete_password(_SERVICE, name)
    except _keyring_error():
        return False
    _marker_file(folder, name).unlink(missing_ok=True)
    return True


# --- the agent process ---


def _folders(file: Path, *, make: bool = False) -> Iterator[Path]:
    """The private folders of the agent's socket: in the session's runtime folder, and beside the wallet."""
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and Path(session).is_absolute() and _is_private(Path(session)):
        yield from _private_folder(Path(session) / "comity", make)
    yield from _private_folder(Path(os.path.realpath(file)).parent / ".comity-unlocked", make)


def _private_folder(folder: Path, make: bool) -> Iterator[Path]:
    if make:
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
    if _is_private(folder):
        yield folder


def _is_private(folder: Path) -> bool:
    """Whether it is a folder, not a link, that only this user can read."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _ask_agent(folder: Path, name: str, word: bytes) -> str | None:
    """The answer of the process in that folder; None if there is none, or if it belongs to another user."""
    with suppress(OSError), short(folder) as place, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(f"{place}/{name}")
        if peer_uid(connection) != os.geteuid():
            return None
        connection.sendall(word)
        answer = b""
        while len(answer) < _LONGEST_ANSWER and (more := connection.recv(_LONGEST_ANSWER)):
            answer += more
        return answer.decode("ascii", "replace").strip() or None
    return None


def _start_agent(folder: Path, name: str, identity: str, seconds: float) -> None:
    """Starts the process and waits until it answers. Raises CannotUnlock. The identity goes through a pipe: arguments
    and environment can be read by others."""
    request = {"folder": str(folder), "name": name, "identity": identity, "seconds": seconds}
    reply = b""
    # A process that fails to start, or is too slow, is reported below: it does not answer.
    with suppress(OSError, subprocess.TimeoutExpired):
        reply = subprocess.run(
            [sys.executable, "-I", identity_agent.__file__],
            input=json.dumps(request).encode() + b"\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH")},
            start_new_session=True,
            timeout=_STARTS_WITHIN,
            check=False,
        ).stdout
    if reply != b"ready\n" or _ask_agent(folder, name, ASK) != identity:
        # It may already hold the identity.
        _ask_agent(folder, name, LOCK)
        raise CannotUnlock("the background process that should hold the key does not answer")
