"""A wallet's file is there wholly or as it was before: after a kill at any byte, and with two at it."""

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.client.storage.encrypted_file import WalletFile, new_identity
from comity.client.storage.frames import MAGIC, MARK, WalletFileError
from support.cheap_seal import price, wallet_under

IDENTITY = new_identity()


def made(path: Path) -> WalletFile:
    return WalletFile.create(path, identity=IDENTITY)


def opened(path: Path) -> WalletFile:
    return WalletFile.open(path, identity=IDENTITY)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[WalletFile]:
    """An open wallet's file `w` with an act."""
    file = made(tmp_path / "w")
    file.write([("acts", "a", b"1")])
    yield file
    file.close()


@contextmanager
def sync_fails(monkeypatch: pytest.MonkeyPatch, name: str, of: Callable[[int], bool]) -> Iterator[None]:
    """The system function `name` fails for files of that mode."""
    sync = getattr(os, name)

    def failing(fd: int) -> None:
        if of(os.fstat(fd).st_mode):
            raise OSError(5, "Input/output error")
        sync(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, name, failing)
        yield


def test_entries_are_there_after_opening_again(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    file.write([("acts", "a", b"1"), ("acts", "b", b"2"), ("keys", "k", b"secret")])
    file.write([("acts", "a", None), ("acts", "c", b"3")])
    file.close()
    again = opened(tmp_path / "w")
    assert dict(again.table("acts")) == {"b": b"2", "c": b"3"}
    assert dict(again.table("keys")) == {"k": b"secret"}
    again.close()


def test_nothing_of_it_is_readable_from_outside_and_only_the_owner_may_try(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    file.write([("keys", "very-telling-name", b"secret-value")])
    file.compact()
    file.close()
    data = (tmp_path / "w").read_bytes()
    assert b"very-telling-name" not in data
    assert b"secret-value" not in data
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o600


def test_a_passphrase_opens_it_and_none_does_not(tmp_path: Path) -> None:
    file = WalletFile.create(tmp_path / "w", passphrase="correct horse")
    file.write([("keys", "k", b"v")])
    identity = file.identity
    file.close()
    assert price(tmp_path / "w") >= 15, "what guesses cost is what age finds to be a second"
    with pytest.raises(WalletFileError, match="needs its passphrase"):
        WalletFile.open(tmp_path / "w")
    for secret in ({"passphrase": "correct horse"}, {"identity": identity}):
        again = WalletFile.open(tmp_path / "w", **secret)
        assert again.table("keys")["k"] == b"v"
        again.close()


def test_killed_at_any_byte_of_the_last_record_it_opens_as_it_was_before_it(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    file.write([("acts", "first", b"kept")])
    before = (tmp_path / "w").stat().st_size
    file.write([("acts", "second", b"torn"), ("acts", "third", b"torn too")])
    file.close()
    whole = (tmp_path / "w").read_bytes().removesuffix(MARK)
    for cut in range(before, len(whole)):
        for tail in (b"", bytes(len(whole) - cut)):
            if whole[:cut] + tail == whole:
                # What was encrypted ends in zeros, by chance: nothing is torn.
                continue
            (tmp_path / "w").write_bytes(whole[:cut] + tail)
            torn = opened(tmp_path / "w")
            assert dict(torn.table("acts")) == {"first": b"kept"}, (cut, len(tail))
            torn.write([("acts", "after", b"goes on")])
            torn.close()
            again = opened(tmp_path / "w")
            assert dict(again.table("acts")) == {"first": b"kept", "after": b"goes on"}
            again.close()


def test_damage_before_the_last_record_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    head = (tmp_path / "w").stat().st_size
    sizes = [head]
    for n in range(3):
        file.write([("acts", str(n), b"x" * 20)])
        sizes.append((tmp_path / "w").stat().st_size)
    file.close()
    whole = (tmp_path / "w").read_bytes()
    for at in range(sizes[0], sizes[2]):
        (tmp_path / "w").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(WalletFileError, match="damaged"):
            opened(tmp_path / "w")
    one_missing, one_doubled = whole[: sizes[1]] + whole[sizes[2] :], whole + whole[sizes[2] :]
    for frames in (one_missing, one_doubled):
        (tmp_path / "w").write_bytes(frames)
        with pytest.raises(WalletFileError, match="damaged"):
            opened(tmp_path / "w")


def test_of_a_damaged_end_the_owner_is_told_for_as_long_as_the_copy_is_there(
    tmp_path: Path,
) -> None:
    """WALLET-10."""
    file = made(tmp_path / "w")
    file.write([("acts", "a", b"1")])
    before = (tmp_path / "w").stat().st_size
    file.write([("acts", "b", b"2")])
    file.close()
    for copies in (1, 2):
        data = bytearray((tmp_path / "w").read_bytes())
        data[(before + len(data)) // 2] ^= 4
        (tmp_path / "w").write_bytes(data)
        bent = opened(tmp_path / "w")
        assert dict(bent.table("acts")) == {"a": b"1"}
        assert [copy.name for copy in bent.damaged_copies] == [f"w.damaged-{n + 1}" for n in range(copies)]
        assert bent.damaged_copies[-1].read_bytes() == bytes(data)
        bent.write([("acts", "b", b"3")])
        bent.close()
    again = opened(tmp_path / "w")
    assert len(list(again.damaged_copies)) == 2 and dict(again.table("acts")) == {"a": b"1", "b": b"3"}
    for copy in again.damaged_copies:
        copy.unlink()
    assert not list(again.damaged_copies)
    again.close()


def test_a_damaged_end_is_cut_off_only_once_its_copy_is_on_the_disk(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    file.write([("acts", "a", b"1")])
    file.close()
    data = bytearray((tmp_path / "w").read_bytes())
    data[-40] ^= 4
    (tmp_path / "w").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(WalletFileError, match="No space left"):
            opened(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == bytes(data)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_another_identity_and_other_files_are_told_apart(tmp_path: Path) -> None:
    made(tmp_path / "w").close()
    with pytest.raises(WalletFileError, match="not its identity"):
        WalletFile.open(tmp_path / "w", identity=new_identity())
    (tmp_path / "x").write_bytes(b"something else")
    with pytest.raises(WalletFileError, match="not a wallet"):
        opened(tmp_path / "x")
    (tmp_path / "y").write_bytes(MAGIC + b"\0\0\0\7abc")
    with pytest.raises(WalletFileError, match="damaged"):
        opened(tmp_path / "y")
    with pytest.raises(WalletFileError, match="cannot open"):
        opened(tmp_path / "absent")


def test_a_wallet_of_before_the_first_release_is_refused_in_one_sentence(tmp_path: Path) -> None:
    made(tmp_path / "w").close()
    before = b"comity-wallet 1\n" + (tmp_path / "w").read_bytes()[len(MAGIC) :]
    (tmp_path / "w").write_bytes(before)
    with pytest.raises(WalletFileError, match=r"before the first release .*: make a new wallet$"):
        opened(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == before


def test_an_existing_wallet_is_never_overwritten_and_two_cannot_write_at_once(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    with pytest.raises(WalletFileError, match="already there"):
        made(tmp_path / "w")
    with pytest.raises(WalletFileError, match="another process"):
        opened(tmp_path / "w")
    file.compact()
    with pytest.raises(WalletFileError, match="another process"):
        opened(tmp_path / "w")
    file.close()
    opened(tmp_path / "w").close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


def test_a_wallet_that_is_used_for_years_does_not_grow_without_end(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    file.write([("acts", str(n), b"a" * 100) for n in range(50)])
    for n in range(400):
        file.write([("cursor", "inbox", bytes([n % 256]) * 20_000)])
    assert file.path.stat().st_size < 2_000_000
    file.close()
    again = opened(tmp_path / "w")
    assert len(again.table("acts")) == 50
    assert again.table("cursor")["inbox"] == bytes([399 % 256]) * 20_000
    again.close()


def test_a_changed_passphrase_keeps_everything(tmp_path: Path) -> None:
    wallet_under("old", tmp_path / "w")
    with pytest.raises(WalletFileError, match="wrong passphrase"):
        WalletFile.open(tmp_path / "w", passphrase="new")
    file = WalletFile.open(tmp_path / "w", passphrase="old")
    file.write([("keys", "k", b"v")])
    file.change_passphrase("new")
    file.close()
    assert price(tmp_path / "w") >= 15
    with pytest.raises(WalletFileError, match="wrong passphrase"):
        WalletFile.open(tmp_path / "w", passphrase="old")
    again = WalletFile.open(tmp_path / "w", passphrase="new")
    assert again.table("keys")["k"] == b"v"
    again.close()


def write_without_end(path: Path, said: int) -> None:
    """Write entries, and each number to the pipe `said` once its entry is durable. Never returns."""
    file = opened(path)
    number = int(file.table("count").get("n", b"0"))
    while True:
        number += 1
        file.write(
            [("count", "n", b"%d" % number), ("big", str(number % 7), bytes(40_000)), ("acts", str(number), b"act")]
        )
        os.write(said, b"%d\n" % number)


def killed_while_it_writes(path: Path, count: int, seconds: float) -> int:
    """Let a process write, and kill it some seconds after it has said so many numbers; the last one that it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            write_without_end(path, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as numbers:
        last = [int(numbers.readline()) for _ in range(count)][-1]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return max([last, *map(int, numbers.read().split("\n")[:-1])])


def test_killed_while_it_writes_nothing_that_was_answered_for_is_lost(tmp_path: Path) -> None:
    """40 KB a write makes it compact, too, between the kills."""
    made(tmp_path / "w").close()
    for number in range(12):
        said = killed_while_it_writes(tmp_path / "w", 3 + number, 0.003 * number)
        file = opened(tmp_path / "w")
        reached = int(file.table("count")["n"])
        assert reached >= said
        assert list(file.table("acts")) == [str(number + 1) for number in range(reached)]
        file.close()


def test_a_durable_entry_is_not_refused_because_the_file_cannot_be_rewritten(tmp_path: Path) -> None:
    file = made(tmp_path / "w")
    (tmp_path / ".w.compacting").mkdir()
    for round_ in range(40):
        file.write([("acts", "same", bytes([round_]) * 65_536)])
    with pytest.raises(WalletFileError, match="cannot rewrite"):
        file.compact()
    # A new passphrase is refused as well: with it comes a new head.
    with pytest.raises(WalletFileError, match="cannot rewrite"):
        file.change_passphrase("another")
    (tmp_path / ".w.compacting").rmdir()
    file.write([("acts", "last", b"1")])
    file.compact()
    assert (tmp_path / "w").stat().st_size < 100_000
    file.close()
    again = opened(tmp_path / "w")
    assert dict(again.table("acts")) == {"same": bytes([39]) * 65_536, "last": b"1"}
    again.close()


def test_after_a_write_that_may_not_last_nothing_more_is_answered_for(
    file: WalletFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WALLET-7: nobody knows what of the frame is on the disk, and one behind it would stand behind a hole."""
    with sync_fails(monkeypatch, "fdatasync", stat.S_ISREG), pytest.raises(WalletFileError, match="Input/output"):
        file.write([("acts", "b", b"2")])
    assert dict(file.table("acts")) == {"a": b"1"}
    with pytest.raises(WalletFileError, match="open it again"):
        file.write([("acts", "c", b"3")])
    with pytest.raises(WalletFileError, match="open it again"):
        file.compact()
    file.close()
    anew = opened(tmp_path / "w")
    assert dict(anew.table("acts")) in ({"a": b"1"}, {"a": b"1", "b": b"2"})
    anew.write([("acts", "c", b"3")])
    anew.close()


def test_a_rewritten_wallet_lasts_before_it_takes_the_place_of_the_old_one(
    file: WalletFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WALLET-8: a power cut behind the rename would else leave an empty file under the wallet's name."""
    before = (tmp_path / "w").read_bytes()
    with sync_fails(monkeypatch, "fsync", stat.S_ISREG), pytest.raises(WalletFileError, match="cannot rewrite"):
        file.compact()
    assert (tmp_path / "w").read_bytes() == before and [it.name for it in tmp_path.iterdir()] == ["w"]
    file.write([("acts", "b", b"2")])
    file.close()
    again = opened(tmp_path / "w")
    assert dict(again.table("acts")) == {"a": b"1", "b": b"2"}
    again.close()


def test_after_a_rewrite_that_may_not_last_nothing_more_is_answered_for(
    file: WalletFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sync_fails(monkeypatch, "fsync", stat.S_ISDIR), pytest.raises(WalletFileError, match="Input/output"):
        file.compact()
    # The name leads to the new file by now: a write into the old one would be lost.
    with pytest.raises(WalletFileError, match="open it again"):
        file.write([("acts", "b", b"2")])
    with pytest.raises(WalletFileError, match="open in another process"):
        opened(tmp_path / "w")
    file.close()
    again = opened(tmp_path / "w")
    assert dict(again.table("acts")) == {"a": b"1"}
    again.close()


def test_a_link_to_a_wallet_stays_a_link(tmp_path: Path) -> None:
    made(tmp_path / "w").close()
    (tmp_path / "link").symlink_to("w")
    file = opened(tmp_path / "link")
    file.write([("acts", "a", b"1")])
    file.compact()
    file.write([("acts", "b", b"2")])
    file.close()
    assert (tmp_path / "link").is_symlink()
    again = opened(tmp_path / "w")
    assert set(again.table("acts")) == {"a", "b"}
    again.close()
