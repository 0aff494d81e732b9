"""A wallet's file is what spec/wallet-file.md says: read and written here by the page alone."""

import itertools
import json
import stat
import struct
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pyrage  # type: ignore[import-untyped]
import pytest

from comity.client.storage.encrypted_file import WalletFile, new_identity
from comity.client.storage.frames import WalletFileError
from comity.crypto.keys import SigningKey
from support.cheap_seal import wallet_under
from support.sdk_world import IDENTITY, sdk_world
from support.spec_pages import table

HEAD = b"comity-wallet 2\n"
MARK = bytes.fromhex("000000002144df1c")
Tables = dict[str, dict[str, bytes]]


class Damaged(Exception):
    """The page says that this wallet is refused."""


# --- the page as code: nothing of the project's own


def identity_in(data: bytes, passphrase: str) -> str:
    """WALLET-1, WALLET-2."""
    (length,) = struct.unpack(">I", data[16:20])
    return str(pyrage.passphrase.decrypt(data[20 : 20 + length], passphrase).decode())


def frames(data: bytes, identity: str) -> Iterator[tuple[int, bytes | None]]:
    """(end, what is in it) of each whole frame, None in a mark, and (start, b"") of a damaged end (WALLET-3, WALLET-6,
    WALLET-10). Raises Damaged."""
    opener = pyrage.x25519.Identity.from_str(identity)
    if data[:16] != HEAD or len(data) < 20:
        raise Damaged("the head")
    at = 20 + int.from_bytes(data[16:20], "big")
    if at > len(data):
        raise Damaged("the identity block")
    start = at
    while len(data) - at >= 8:
        length, check = struct.unpack(">II", data[at : at + 8])
        if zlib.crc32(data[at : at + 4]) != check:
            if data[at + 8 :].strip(b"\0"):
                yield damaged_end(data, at, start, opener)
            return
        end = at + 8 + length
        if end > len(data):
            return
        if length == 0:
            yield end, None
            at = end
            continue
        try:
            plain = pyrage.decrypt(data[at + 8 : end], [opener])
        except pyrage.DecryptError:
            if end != len(data) or at == start:
                yield damaged_end(data, at, start, opener)
            return
        yield end, plain
        at = end


def damaged_end(data: bytes, at: int, start: int, opener: Any) -> tuple[int, bytes]:
    """WALLET-10: nothing behind can be opened, wherever it is looked for, and something before could."""
    for other in range(at + 1, len(data) - 8):
        length, check = struct.unpack(">II", data[other : other + 8])
        if length and zlib.crc32(data[other : other + 4]) == check:
            with suppress(pyrage.DecryptError):
                pyrage.decrypt(data[other + 8 : other + 8 + length], [opener])
                raise Damaged("in the middle")
    if at == start:
        raise Damaged("from the first frame on")
    return at, b""


def read(data: bytes, identity: str) -> tuple[Tables, int, bool]:
    """The tables, where what is whole ends, and whether that end is damaged (WALLET-4, WALLET-5). Raises Damaged."""
    tables: Tables = {}
    whole = number = 0
    for end, plain in frames(data, identity):
        whole = end
        if plain is None:
            continue
        if not plain:
            return tables, end, True
        if int.from_bytes(plain[:8], "big") != number:
            raise Damaged("a number")
        number += 1
        for name, key, value in msgspec.msgpack.decode(plain[8:]):
            rows = tables.setdefault(name, {})
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
    if not number:
        raise Damaged("no frame")
    return tables, whole, False


def written(identity: str, *batches: list[tuple[str, str, bytes | None]], mark: bytes = b"") -> bytes:
    """A file without an identity block; `mark` stands behind each frame."""
    to = pyrage.x25519.Identity.from_str(identity).to_public()
    made = HEAD + bytes(4)
    for number, batch in enumerate([[("wallet", "format", b"1")], *batches]):
        made += frame(number, batch, to) + mark
    return made


def frame(number: int, batch: Any, to: Any) -> bytes:
    sealed = pyrage.encrypt(number.to_bytes(8, "big") + msgspec.msgpack.encode(batch), [to])
    length = struct.pack(">I", len(sealed))
    return length + struct.pack(">I", zlib.crc32(length)) + bytes(sealed)


# --- both ways


def shown(path: Path, identity: str) -> Tables | None:
    """What the SDK finds in a file; None where it refuses it."""
    try:
        file = WalletFile.open(path, identity=identity)
    except WalletFileError:
        return None
    try:
        return {name: dict(file.table(name)) for name in file._tables if file.table(name)}
    finally:
        file.close()


def by_the_page(data: bytes, identity: str) -> Tables | None:
    try:
        return {name: rows for name, rows in read(data, identity)[0].items() if rows}
    except Damaged:
        return None


def both(tmp_path: Path, data: bytes, identity: str) -> Tables | None:
    """What either finds, which must be the same; what is torn or damaged is cut off, and a mark comes behind what is
    whole (WALLET-7). Of a damaged end, and of nothing else, a copy is kept (WALLET-10)."""
    path, copy = tmp_path / "both", tmp_path / "both.damaged-1"
    path.write_bytes(data)
    told = by_the_page(data, identity)
    assert shown(path, identity) == told
    kept = path.read_bytes()
    if told is None:
        assert kept == data and not copy.exists()
        return None
    _, end, is_damaged = read(data, identity)
    assert kept == data[:end] + (b"" if data[:end].endswith(MARK) else MARK)
    assert copy.exists() == is_damaged
    if is_damaged:
        assert copy.read_bytes() == data and stat.S_IMODE(copy.stat().st_mode) == 0o600
        copy.unlink()
    return told


# --- tests


async def test_a_wallet_that_has_lived_is_read_by_the_page_alone(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        await mia.use_mailbox(theirs)
        await ours.send_message("care", "Hello Mia.")
        await theirs.sync()
        await theirs.remember("greeting_style", text="Say du.")
        await theirs.mute(days=3)
        await theirs.snooze(hours=1)
        await mia.block("did:web:elsewhere.example", "spam")
        await shop.sync()
        files = {name: (world.folder / name).read_bytes() for name in ("mia", "shop")}
        acts = [line.act.raw for line in theirs.records if line.act is not None]
    named = {name.replace("{cid}", theirs.cid) for name, _key, _value in table("wallet-file", "table", "key", "value")}
    for name, data in files.items():
        tables, end, _ = read(data, IDENTITY)
        assert data.endswith(MARK) and end == len(data) and tables["wallet"] == {"format": b"1"}
        assert set(tables) <= named, name
        for kid, seed in tables["keys"].items():
            key = SigningKey(urlsafe_b64decode(json.loads(seed) + "="))
            assert kid.endswith(f"#{key.public.multibase}") or kid.startswith("did:web:")
    tables, _, _ = read(files["mia"], IDENTITY)
    log = [json.loads(value) for _, value in sorted(tables[f"log/{theirs.cid}"].items())]
    assert [line["act"] for line in log if "act" in line] == acts
    assert "did:web:elsewhere.example" in tables["blocked"] and len(tables["mailboxes"]) == 1
    assert [json.loads(it)["text"] for it in tables["bodies"].values()] == ["Say du."]


def test_a_passphrase_opens_the_identity_and_the_identity_the_frames(tmp_path: Path) -> None:
    """WALLET-2, WALLET-8: an old copy keeps the passphrase that it had."""
    _, identity = wallet_under("correct horse", tmp_path / "w")
    file = WalletFile.open(tmp_path / "w", identity=identity)
    file.write([("keys", "k", b"secret")])
    old = (tmp_path / "w").read_bytes()
    file.change_passphrase("battery staple")
    file.write([("keys", "k", None), ("keys", "l", b"other")])
    file.close()
    new = (tmp_path / "w").read_bytes()
    assert identity == identity_in(old, "correct horse") == identity_in(new, "battery staple")
    assert read(old, identity)[0]["keys"] == {"k": b"secret"}
    assert read(new, identity)[0]["keys"] == {"l": b"other"}
    with pytest.raises(pyrage.DecryptError):
        identity_in(new, "correct horse")


def test_the_wallet_reads_a_file_written_by_the_page(tmp_path: Path) -> None:
    identity = new_identity()
    last: list[tuple[str, str, bytes | None]] = [("t", "a", None), ("t", "c", b""), ("u", "x", b"3")]
    data = written(identity, [("t", "a", b"1"), ("t", "b", b"2")], [], last)
    assert both(tmp_path, data, identity) == {"wallet": {"format": b"1"}, "t": {"b": b"2", "c": b""}, "u": {"x": b"3"}}
    assert both(tmp_path, data, new_identity()) is None


def test_a_torn_end_is_passed_over_and_damage_is_refused(tmp_path: Path) -> None:
    """WALLET-6, byte for byte: the page and the wallet find the same."""
    identity = new_identity()
    before = written(identity, [("t", "first", b"kept")])
    data = written(identity, [("t", "first", b"kept")], [("t", "last", b"torn")])
    last = read_ends(data, identity)[-2]
    for cut in range(last, len(data)):
        both(tmp_path, data[:cut] + bytes(40), identity)
        for tail in (b"", bytes(len(data) - cut)):
            told = both(tmp_path, data[:cut] + tail, identity)
            assert told is not None and told["t"].get("first") == b"kept", (cut, len(tail))
    for at in range(last):
        bent = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert both(tmp_path, bent, identity) is None, at
    assert both(tmp_path, data[:last] + b"\1" * 30, identity) == both(tmp_path, before, identity)
    for short in (0, 10, 16, 19, 20, 24):
        assert both(tmp_path, before[:short], identity) is None, short


def test_a_damaged_end_is_kept_and_told_and_never_passes_for_a_torn_one(tmp_path: Path) -> None:
    """WALLET-10: any bit of what was answered for."""
    identity = new_identity()
    whole: list[list[tuple[str, str, bytes | None]]] = [[("t", "first", b"kept")], [("t", "last", b"said")]]
    data = written(identity, *whole, mark=MARK)
    ends = read_ends(data, identity)
    last, behind = ends[-3], ends[-2]
    assert both(tmp_path, data, identity) == {"wallet": {"format": b"1"}, "t": {"first": b"kept", "last": b"said"}}
    for at in range(last, behind, 3):
        bent = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        assert read(bent, identity)[1:] == (last, True)
        assert both(tmp_path, bent, identity) == {"wallet": {"format": b"1"}, "t": {"first": b"kept"}}, at
    for at in range(behind, len(data)):
        bent = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        assert both(tmp_path, bent, identity) == both(tmp_path, data, identity), at
    # A bad page takes several frames with it.
    first = ends[0]
    assert both(tmp_path, data[: first + 30] + bytes(len(data) - first - 60) + data[-30:], identity) == {
        "wallet": {"format": b"1"}
    }


def read_ends(data: bytes, identity: str) -> list[int]:
    return [end for end, _ in frames(data, identity)]


def test_a_frame_that_was_taken_out_doubled_or_moved_is_noticed(tmp_path: Path) -> None:
    """WALLET-4."""
    identity = new_identity()
    data = written(identity, [("t", "a", b"1")], [("t", "b", b"2")], [("t", "c", b"3")])
    ends = [20, *read_ends(data, identity)]
    parts = [data[start:end] for start, end in itertools.pairwise(ends)]
    for order in ([0, 1, 3], [0, 1, 1, 2, 3], [0, 2, 1, 3], [1, 2, 3], [0, 3]):
        assert both(tmp_path, data[:20] + b"".join(parts[it] for it in order), identity) is None, order
    assert both(tmp_path, data[:20] + b"".join(parts[:3]), identity) is not None


@pytest.mark.parametrize("head", ["comity-wallet 1\n", "comity-wallet 3\n", "Comity-wallet 2\n", "comity-wallet 2\r"])
def test_another_head_is_no_wallet_of_this_generation(tmp_path: Path, head: str) -> None:
    """WALLET-1."""
    identity = new_identity()
    assert both(tmp_path, head.encode() + written(identity)[16:], identity) is None
