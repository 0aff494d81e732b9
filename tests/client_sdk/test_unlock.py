"""A wallet that its owner unlocked opens without the passphrase for a while, for her alone (WALLET-9)."""

import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from comity.client import WalletFileError, new_identity
from comity.client.storage.encrypted_file import WalletFile, seal_id
from comity_server.short_path import short
from comity_tools.cli import main
from comity_tools.cli.wallet import identity_agent, unlocked_identities
from support.cheap_seal import put_under, wallet_under

_SECRET = "correct horse"
_keyring: Any = import_module("keyring")
_errors: Any = import_module("keyring.errors")
_base: Any = import_module("keyring.backend").KeyringBackend


class Ring(_base):  # type: ignore[misc]
    """A keyring in memory, as a desktop has one."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.shut = False

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.shut:
            raise _errors.KeyringLocked("the owner did not open it")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise _errors.PasswordDeleteError("none")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """(a wallet's file under a passphrase, its identity)."""
    return wallet_under(_SECRET, tmp_path_factory.mktemp("whole") / "w")


@pytest.fixture
def sealed(whole: tuple[bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Mia's wallet, under her passphrase, on a machine without a keyring and without a folder of the session's."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    _keyring.set_keyring(import_module("keyring.backends.fail").Keyring())
    file = tmp_path / "mia.wallet"
    file.write_bytes(whole[0])
    yield file
    unlocked_identities.remove_identity(file)


@pytest.fixture
def identity(whole: tuple[bytes, str]) -> str:
    """What her passphrase opens; typed in its place where a test is about something else."""
    return whole[1]


def wallet(file: Path, *words: str, secret: str | None = None, by: str | None = None, **environment: str) -> Result:
    """A command as she types it; without `secret` the passphrase is asked for, and nobody answers. `by` is the identity
    itself, in the place of the passphrase."""
    told = {"COMITY_PASSPHRASE": secret, "COMITY_WALLET_IDENTITY": by, "XDG_RUNTIME_DIR": None, **environment}
    return CliRunner().invoke(main, ["wallet", "-w", str(file), *words], env=told)


def is_locked(file: Path) -> bool:
    result = wallet(file, "show")
    assert result.exit_code == ("Passphrase" in result.output), result.output
    return result.exit_code != 0


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)


def test_mia_types_her_passphrase_once_and_locks_when_she_leaves(sealed: Path) -> None:
    assert is_locked(sealed)
    told = wallet(sealed, "unlock", secret=_SECRET)
    assert (
        told.exit_code == 0
        and "Unlocked for 15 minutes; the key is in the memory of a background process" in told.output
    )
    assert not is_locked(sealed)
    assert "no connections yet" in wallet(sealed, "show").output
    assert wallet(sealed, "lock").output == "Locked.\n"
    assert is_locked(sealed)
    assert wallet(sealed, "lock").output == "The wallet was already locked.\n"


def test_a_new_wallet_may_be_unlocked_at_once(tmp_path: Path, sealed: Path) -> None:
    file = tmp_path / "new.wallet"
    assert "Unlocked for 15 minutes" in wallet(file, "create", "--unlock", secret=_SECRET).output
    assert not is_locked(file) and is_locked(sealed)
    assert unlocked_identities.remove_identity(file) and is_locked(file)
    assert wallet(tmp_path / "other", "create", "--unlock", "0", secret=_SECRET).exit_code == 2


def test_the_process_holds_the_identity_in_its_memory_and_nowhere_else(sealed: Path, identity: str) -> None:
    told = wallet(sealed, "unlock", by=identity)
    assert identity not in told.output
    folder = sealed.parent / ".comity-unlocked"
    (socket_,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE(socket_.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(socket_.stat().st_mode)
    assert unlocked_identities.find_identity(sealed) == identity
    for place in (it for it in Path("/proc").glob("[0-9]*") if _is_agent(it)):
        for about in ("cmdline", "environ"):
            assert identity.encode() not in _read(place / about)


def _is_agent(process: Path) -> bool:
    return b"identity_agent" in _read(process / "cmdline")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_lifetime_ends_by_itself(sealed: Path, identity: str) -> None:
    unlocked_identities.store_identity(sealed, identity, 0.5)
    assert unlocked_identities.find_identity(sealed) is not None
    until(lambda: unlocked_identities.find_identity(sealed) is None)
    until(lambda: list((sealed.parent / ".comity-unlocked").iterdir()) == [])
    assert is_locked(sealed)


def test_a_changed_passphrase_ends_it_and_what_was_kept_before_is_not_found(sealed: Path, identity: str) -> None:
    assert wallet(sealed, "unlock", by=identity).exit_code == 0 and not is_locked(sealed)
    # An open terminal is not enough: the passphrase itself is wanted.
    assert "Passphrase" in wallet(sealed, "passphrase").output
    before = seal_id(sealed)
    told = wallet(sealed, "passphrase", secret=_SECRET, COMITY_NEW_PASSPHRASE="battery staple")
    assert told.exit_code == 0, told.output
    assert is_locked(sealed) and seal_id(sealed) != before
    # Changed by another program, which knows of no unlocking: it is another name from then on.
    unlocked_identities.store_identity(sealed, identity, 60)
    put_under("third", sealed, identity)
    assert unlocked_identities.find_identity(sealed) is None


def test_an_answer_of_another_process_opens_nothing(sealed: Path, identity: str) -> None:
    """Somebody put a socket in the place of hers: her passphrase is asked for, and nothing of hers went there."""
    folder = sealed.parent / ".comity-unlocked"
    folder.mkdir(mode=0o700)
    name = seal_id(sealed)
    assert name is not None
    for answer in (new_identity().encode(), b"", b"x" * 4096, b"\xff\xfe"):
        with Listening(folder, name, answer) as heard:
            assert is_locked(sealed)
        assert heard == [identity_agent.ASK]
    # A socket that nobody serves any more, left by a killed process.
    with socket.socket(socket.AF_UNIX) as dead, short(folder) as place:
        dead.bind(f"{place}/{name}")
    assert is_locked(sealed)
    assert wallet(sealed, "unlock", by=identity).exit_code == 0 and not is_locked(sealed)


class Listening:
    """A process that answers at the socket, once."""

    def __init__(self, folder: Path, name: str, answer: bytes) -> None:
        self._path, self._answer, self.heard = folder / name, answer, list[bytes]()
        self._socket = socket.socket(socket.AF_UNIX)
        with short(folder) as place:
            self._socket.bind(f"{place}/{name}")
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connected, _ = self._socket.accept()
        with connected:
            self.heard.append(connected.recv(16))
            connected.sendall(self._answer)

    def __enter__(self) -> list[bytes]:
        self._thread.start()
        return self.heard

    def __exit__(self, *_: Any) -> None:
        self._thread.join()
        self._socket.close()
        self._path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_gets_nothing_from_it_and_is_not_believed(sealed: Path, identity: str, tmp_path: Path) -> None:
    # Beside the modes of socket and folder, which keep him out: he got a way in, and asks as himself.
    ask = """
import os, socket
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect("\\0beside")
try:
    s.sendall(b"identity\\n")
    print(s.recv(256))
except ConnectionError:
    print("nothing")
"""
    (path := tmp_path / "beside").touch()
    with socket.socket(socket.AF_UNIX) as beside:
        beside.bind("\0beside")
        beside.listen()
        served = threading.Thread(
            target=identity_agent.serve, args=(beside, str(path), b"SECRET", identity_agent.clock() + 60)
        )
        served.start()
        told = subprocess.run([sys.executable, "-I", "-c", ask], capture_output=True, text=True, check=False)
        with socket.socket(socket.AF_UNIX) as mine:
            mine.connect("\0beside")
            mine.sendall(identity_agent.LOCK)
            assert mine.recv(16) == identity_agent.LOCKED
        served.join()
    assert told.stdout in ("b''\n", "nothing\n"), told
    unlocked_identities.store_identity(sealed, identity, 60)
    folder = sealed.parent / ".comity-unlocked"
    assert unlocked_identities.find_identity(sealed) is not None
    # A folder that others can look into, or that is somebody else's, is not used at all.
    folder.chmod(0o755)
    assert unlocked_identities.find_identity(sealed) is None
    folder.chmod(0o700)
    os.chown(folder, 65534, 65534)
    assert unlocked_identities.find_identity(sealed) is None
    os.chown(folder, 0, 0)


def test_the_session_has_a_folder_of_its_own_and_that_is_taken(sealed: Path, identity: str, tmp_path: Path) -> None:
    session = tmp_path / "run"
    session.mkdir(mode=0o700)
    told = wallet(sealed, "unlock", by=identity, XDG_RUNTIME_DIR=str(session))
    assert told.exit_code == 0, told.output
    assert not (sealed.parent / ".comity-unlocked").exists()
    assert [it.name for it in (session / "comity").iterdir()] == [seal_id(sealed)]
    assert "no connections yet" in wallet(sealed, "show", XDG_RUNTIME_DIR=str(session)).output
    assert wallet(sealed, "lock", XDG_RUNTIME_DIR=str(session)).output == "Locked.\n"
    session.chmod(0o755)
    wallet(sealed, "unlock", by=identity, XDG_RUNTIME_DIR=str(session))
    assert (sealed.parent / ".comity-unlocked").exists()


def test_a_desktop_keeps_it_in_its_keyring(sealed: Path, identity: str) -> None:
    ring = Ring()
    _keyring.set_keyring(ring)
    told = wallet(sealed, "unlock", "--minutes", "30", by=identity)
    assert "Unlocked for 30 minutes; the key is in your system's keyring" in told.output
    ((_, name),) = ring.entries
    assert name == seal_id(sealed) and not is_locked(sealed)
    # What the disk has of it says that there is one, and no more.
    (mark,) = (sealed.parent / ".comity-unlocked").iterdir()
    assert mark.name == f"{name}.keyring" and mark.read_bytes() == b""
    assert wallet(sealed, "lock").output == "Locked.\n" and ring.entries == {} and is_locked(sealed)
    # Past its time it is taken out of the keyring by the next command.
    unlocked_identities.store_identity(sealed, identity, -1)
    assert ring.entries and is_locked(sealed) and ring.entries == {}
    # A keyring that its owner does not open is no place: the process is.
    ring.shut = True
    assert "memory of a background process" in wallet(sealed, "unlock", by=identity).output
    assert not is_locked(sealed)
    ring.entries["comity wallet", name] = "no entry"
    mark.touch()
    wallet(sealed, "lock")
    mark.touch()
    ring.entries["comity wallet", name] = "no entry"
    assert is_locked(sealed)


def test_a_keyring_that_keeps_in_clear_is_not_used(sealed: Path, identity: str) -> None:
    class Clear(Ring):
        priority = 0

    _keyring.set_keyring(ring := Clear())
    assert "memory of a background process" in wallet(sealed, "unlock", by=identity).output
    assert ring.entries == {}


def test_a_wallet_without_a_passphrase_has_nothing_to_unlock(tmp_path: Path) -> None:
    identity = new_identity()
    WalletFile.create(tmp_path / "w", identity=identity).close()
    told = CliRunner().invoke(
        main, ["wallet", "-w", str(tmp_path / "w"), "unlock"], env={"COMITY_WALLET_IDENTITY": identity}
    )
    assert told.exit_code == 1 and "has no passphrase: it opens with its identity" in told.output
    for words in (("unlock", "--minutes", "0"), ("unlock", "--minutes", "1441"), ("unlock", "--minutes", "nan")):
        assert wallet(tmp_path / "w", *words, secret="x").exit_code == 2
    assert "there is no wallet in" in wallet(tmp_path / "nowhere", "unlock", secret="x").output
    assert wallet(tmp_path / "nowhere", "lock").output == "The wallet was already locked.\n"


def test_a_name_is_of_the_seal_and_of_no_other_file(sealed: Path) -> None:
    name = seal_id(sealed)
    assert name is not None and re.fullmatch("[0-9a-f]{32}", name)
    moved = sealed.rename(sealed.with_name("moved.wallet"))
    assert seal_id(moved) == name
    moved.rename(sealed)
    (sealed.parent / "text").write_text("no wallet")
    assert seal_id(sealed.parent / "text") is None and seal_id(sealed.parent) is None
    with pytest.raises(WalletFileError):
        WalletFile.open(sealed, identity=new_identity())


def test_a_stalled_client_does_not_keep_her_waiting(sealed: Path, identity: str) -> None:
    assert wallet(sealed, "unlock", by=identity).exit_code == 0
    folder = sealed.parent / ".comity-unlocked"
    (path,) = folder.iterdir()
    with socket.socket(socket.AF_UNIX) as idle, short(folder) as place:
        idle.connect(f"{place}/{path.name}")
        assert not is_locked(sealed)


if sys.platform == "linux":

    def test_it_answers_nobody_whose_user_is_another() -> None:
        one, two = socket.socketpair()
        with one, two:
            assert identity_agent.peer_uid(one) == os.geteuid()


def test_a_process_that_does_not_come_up_in_time_is_told_of_in_a_line(
    sealed: Path, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlocked_identities, "_STARTS_WITHIN", 0.0)
    told = wallet(sealed, "unlock", secret=_SECRET)
    assert (
        told.exit_code == 1
        and told.stderr == "Error: the background process that should hold the key does not answer\n"
    )
    assert is_locked(sealed)
