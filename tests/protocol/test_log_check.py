"""Our logs, receipts and histories hold before software that we did not write; and it sees it where one does not.

The logs here are made by the protocol's own modules; see support/go_tools.py for who judges them.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from comity.crypto.keys import SigningKey
from comity.transparency.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from comity.transparency.entries import Kind, LogEntry, commitment
from comity.transparency.merkle import (
    Edge,
    leaf_hash,
    needed_nodes,
    node_hash,
    peaks,
    prove_consistency,
    prove_inclusion,
    root_of,
)
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, sign_note, signature_line
from comity.transparency.receipts import Opening, parse_proof, receipt_text
from comity.transparency.tiles import bundles_of, encode_bundle, tile_of, tiles_of
from support.go_tools import PACKAGES, install_go, judge

# The first test may have to install Go.
pytestmark = pytest.mark.timeout(600)

ORIGIN = "home.example:8470/log"
LOG = NoteSigner(ORIGIN, ED25519, SigningKey(b"log".ljust(32)))
WITNESS = NoteSigner("witness.example/w1", COSIGNATURE, SigningKey(b"witness".ljust(32)))
AT = 1_790_000_000_000


class AnyLog:
    """A log that grows as far as somebody asks. `told_apart`: logs with the same text here have the same entries."""

    def __init__(self, told_apart: Callable[[int], bytes] = lambda number: b"one") -> None:
        self._told_apart = told_apart
        self._edge = Edge()
        self._rows: list[list[bytes]] = [[]]
        self._entries: list[bytes] = []

    def opening(self, number: int) -> Opening:
        """What opens entry `number`."""
        salt = sha256(self._told_apart(number) + number.to_bytes(8, "big")).digest()
        at = AT + 1000 * number
        entry = LogEntry(Kind.ACT, "first", at // 60_000, 0, salt[:16], commitment(salt, at, b"an act"))
        return Opening(entry.to_bytes(), salt, at)

    def node(self, height: int, index: int) -> bytes:
        """A complete subtree."""
        return self._rows[height][index]

    def checkpoint(self, size: int, root: bytes | None = None, signer: NoteSigner = LOG) -> SignedCheckpoint:
        """The head of the log when it had that size, or what its operator says is the head."""
        while self._edge.size < size:
            self._entries.append(self.opening(self._edge.size).entry)
            for height, done in enumerate(self._edge.append(leaf_hash(self._entries[-1]))):
                if height == len(self._rows):
                    self._rows.append([])
                self._rows[height].append(done)
        return sign_checkpoint(Checkpoint(ORIGIN, size, root or root_of(size, self.node)), signer)

    def write(self, folder: Path, size: int) -> Path:
        """All files of the log at that size, and below the checkpoint a witness's line."""
        head = self.checkpoint(size)
        keep(folder / "checkpoint", head.raw + signature_line(head.text, WITNESS, AT // 1000))
        for tile in tiles_of(size):
            row = self._rows[8 * tile.level]
            keep(folder / tile.path, b"".join(row[tile.number * 256 : tile.number * 256 + tile.width]))
        for bundle in bundles_of(size):
            first = bundle.number * 256
            keep(folder / bundle.path, encode_bundle(self._entries[first : first + bundle.width]))
        return folder

    def receipt(self, number: int, size: int) -> str:
        """The receipt for an entry from the checkpoint of that size."""
        head = self.checkpoint(size)
        return receipt_text(self.opening(number), number, prove_inclusion(number, size, self.node), head)


ONE = AnyLog()
FORKED = AnyLog(lambda number: b"one" if number < 300 else b"other")
"""As `ONE` up to entry 300, and with another history from there on."""


def keep(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def vkey(folder: Path, signer: NoteSigner) -> Path:
    return keep(folder / f"{signer.name.partition('/')[2]}.vkey", signer.verifier.text + "\n")


def refused(said: tuple[bool, str], reason: str) -> bool:
    """Whether it was refused, and for that reason (a regular expression)."""
    return not said[0] and re.search(reason, said[1]) is not None


# --- what holds


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 600, 65_537])
def test_a_stranger_can_read_and_check_a_whole_log(tmp_path: Path, size: int) -> None:
    folder = ONE.write(tmp_path / "log", size)
    said = judge("tree", folder, vkey(tmp_path, LOG), vkey(tmp_path, WITNESS))
    assert said == (True, f"ok size={size} entries={size}")


def test_a_stranger_needs_no_witness_to_check_a_log(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 3)
    keep(folder / "checkpoint", ONE.checkpoint(3).raw)
    assert judge("tree", folder, vkey(tmp_path, LOG)) == (True, "ok size=3 entries=3")


@pytest.mark.parametrize(("number", "size"), [(0, 1), (1, 2), (255, 256), (256, 257), (299, 600), (40_000, 65_537)])
def test_a_stranger_can_check_a_customers_receipt(tmp_path: Path, number: int, size: int) -> None:
    receipt = keep(tmp_path / "act.tlog-proof", ONE.receipt(number, size))
    entry = keep(tmp_path / "entry", ONE.opening(number).entry)
    assert judge("proof", receipt, entry, vkey(tmp_path, LOG)) == (True, f"ok index={number} size={size}")


@pytest.mark.parametrize("before", [0, 1, 255, 256, 300, 599, 600])
def test_a_stranger_can_check_that_a_log_only_grew(tmp_path: Path, before: int) -> None:
    old = keep(tmp_path / "old", ONE.checkpoint(before).raw)
    folder = ONE.write(tmp_path / "log", 600)
    said = judge("consistency", vkey(tmp_path, LOG), old, folder / "checkpoint", folder)
    assert said == (True, f"ok old={before} new=600")


def test_a_stranger_finds_the_tiles_of_a_log_of_hundreds_of_millions(tmp_path: Path) -> None:
    before, after = 256 * 1_000 + 3, 256 * 1_234_067 + 5
    # All its entries are the same, so that each subtree of a height is like any other.
    same = [leaf_hash(b"")]
    for height in range(after.bit_length()):
        same.append(node_hash(same[height], same[height]))

    def signed(size: int) -> str:
        return sign_checkpoint(Checkpoint(ORIGIN, size, root_of(size, node)), LOG).raw

    def node(height: int, index: int) -> bytes:
        return same[height]

    proof = needed_nodes(lambda read: prove_consistency(before, after, read))
    for height, index in [*proof, *peaks(after)]:
        # With those above it: a stranger wants to know that a tile belongs to the tree.
        for above in range(0, after.bit_length() - height, 8):
            tile = tile_of(height + above, index >> above, after)
            keep(tmp_path / "log" / tile.path, same[8 * tile.level] * tile.width)
    assert (tmp_path / "log/tile/0/x001/x234/067.p/5").exists()
    old, new = keep(tmp_path / "old", signed(before)), keep(tmp_path / "new", signed(after))
    said = judge("consistency", vkey(tmp_path, LOG), old, new, tmp_path / "log")
    assert said == (True, f"ok old={before} new={after}")


# --- logs that do not hold


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"])
@pytest.mark.parametrize("at", [0, -1])
def test_a_flipped_bit_in_a_tile_is_seen(tmp_path: Path, name: str, at: int) -> None:
    folder = ONE.write(tmp_path / "log", 600)
    flip(folder / name, at)
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), f"{name} is not that of the entries")


@pytest.mark.parametrize("name", ["tile/0/000", "tile/1/000.p/2"])
def test_a_tile_that_is_too_long_is_seen(tmp_path: Path, name: str) -> None:
    folder = ONE.write(tmp_path / "log", 600)
    keep(folder / name, (folder / name).read_bytes() + bytes(32))
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), f"{name} has [0-9]+ bytes")


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/entries/002.p/88"])
@pytest.mark.parametrize("at", [2, -1])
def test_a_flipped_bit_in_an_entry_is_seen(tmp_path: Path, name: str, at: int) -> None:
    folder = ONE.write(tmp_path / "log", 600)
    flip(folder / name, at)
    assert refused(
        judge("tree", folder, vkey(tmp_path, LOG)), f"{name.replace('entries', '0')} is not that of the entries"
    )


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([0, 1, 2], "goes on after entry 1"),
        ([0], "ends after 1 entries"),
        ([1, 0], "tile/0/000.p/2 is not that of the entries"),
    ],
    ids=["one-too-many", "one-too-few", "swapped"],
)
def test_entries_that_are_not_those_of_the_tree_are_seen(tmp_path: Path, entries: list[int], reason: str) -> None:
    folder = ONE.write(tmp_path / "log", 2)
    keep(folder / "tile/entries/000.p/2", encode_bundle([ONE.opening(number).entry for number in entries]))
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), reason)


def test_an_entry_cut_short_is_seen(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 2)
    bundle = folder / "tile/entries/000.p/2"
    keep(bundle, bundle.read_bytes()[:-1])
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), "ends within entry 1")


@pytest.mark.parametrize("name", ["tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88", "tile/0/001"])
def test_a_missing_file_is_seen(tmp_path: Path, name: str) -> None:
    folder = ONE.write(tmp_path / "log", 600)
    (folder / name).unlink()
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), f"{name} is missing")


@pytest.mark.parametrize(
    "name", ["tile/0/002.p/87", "tile/1/000.p/1", "tile/entries/002.p/1", "tile/2/000.p/1", "notes"]
)
def test_a_file_that_no_longer_belongs_there_is_seen(tmp_path: Path, name: str) -> None:
    folder = ONE.write(tmp_path / "log", 600)
    keep(folder / name, ONE.node(0, 512))
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), f"{name} is no part of a log of size 600")


# --- checkpoints that do not hold


def test_a_root_or_a_size_that_was_not_signed_is_seen(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 3)
    origin, _, root, *rest = ONE.checkpoint(3).raw.split("\n")
    other = ONE.checkpoint(2).raw.split("\n")[2]
    for bent in ([origin, "3", other, *rest], [origin, "2", root, *rest], [origin + "2", "3", root, *rest]):
        keep(folder / "checkpoint", "\n".join(bent))
        assert refused(judge("tree", folder, vkey(tmp_path, LOG)), "invalid signature")


def test_a_root_that_is_not_that_of_the_tiles_is_seen_though_it_is_signed(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 600)
    keep(folder / "checkpoint", ONE.checkpoint(600, FORKED.checkpoint(600).root).raw)
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), "the root of size 600 is .*, signed is")
    empty = ONE.write(tmp_path / "empty", 0)
    keep(empty / "checkpoint", ONE.checkpoint(0, bytes(32)).raw)
    assert refused(judge("tree", empty, vkey(tmp_path, LOG)), "the root of size 0")


def test_a_checkpoint_that_is_none_is_seen_though_it_is_signed(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 3)
    text = ONE.checkpoint(3).text
    for bent, reason in (
        (f"{text}\nmore\n", "not that of a checkpoint"),
        (f"{ORIGIN}\n3\n", "not that of a checkpoint"),
        (text.replace("\n3\n", "\n03\n"), "is no number"),
        (text.replace("\n3\n", f"\n{2**50}\n"), "files do not hold"),
        (text.replace("\n3\n", f"\n{2**53}\n"), "is no number"),
    ):
        keep(folder / "checkpoint", sign_note(bent, LOG))
        assert refused(judge("tree", folder, vkey(tmp_path, LOG)), reason), bent
    # What a log says besides is its own affair.
    keep(folder / "checkpoint", sign_note(f"{text}more\n", LOG))
    assert judge("tree", folder, vkey(tmp_path, LOG)) == (True, "ok size=3 entries=3")


def test_a_flipped_bit_in_the_signature_is_seen(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 3)
    raw = ONE.checkpoint(3).raw
    last = "A" if raw[-4] != "A" else "B"
    keep(folder / "checkpoint", raw[:-4] + last + raw[-3:])
    assert refused(judge("tree", folder, vkey(tmp_path, LOG)), "invalid signature")


def test_the_key_of_another_log_opens_nothing(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 3)
    thief = NoteSigner(ORIGIN, ED25519, SigningKey(b"thief".ljust(32)))
    assert refused(judge("tree", folder, vkey(tmp_path, thief)), "no verifiable signatures")
    # Signed by a log that is known, but for an origin that is not its own.
    elsewhere = NoteSigner("other.example/log", ED25519, LOG.key)
    keep(folder / "checkpoint", ONE.checkpoint(3, signer=elsewhere).raw)
    assert refused(judge("tree", folder, vkey(tmp_path, elsewhere)), "the key belongs to")


def test_a_witness_that_did_not_sign_this_is_missed(tmp_path: Path) -> None:
    folder = ONE.write(tmp_path / "log", 3)
    head = ONE.checkpoint(3)
    keys = vkey(tmp_path, LOG), vkey(tmp_path, WITNESS)
    keep(folder / "checkpoint", head.raw)
    assert refused(judge("tree", folder, *keys), "only home.example:8470/log has signed")
    # What it signed was another checkpoint; its own key, but as a log signs; and the witness alone.
    keep(folder / "checkpoint", head.raw + signature_line(ONE.checkpoint(2).text, WITNESS, AT // 1000))
    assert refused(judge("tree", folder, *keys), "invalid signature for key witness.example/w1")
    keep(folder / "checkpoint", head.raw + signature_line(head.text, WITNESS._replace(kind=ED25519)))
    assert refused(judge("tree", folder, *keys), "only home.example:8470/log has signed")
    keep(folder / "checkpoint", f"{head.text}\n{signature_line(head.text, WITNESS, AT // 1000)}")
    assert refused(judge("tree", folder, *keys), "only witness.example/w1 has signed")


def test_a_key_that_is_not_that_of_a_witness_is_seen(tmp_path: Path) -> None:
    folder, log = ONE.write(tmp_path / "log", 3), vkey(tmp_path, LOG)
    assert refused(judge("tree", folder, log, log), "not of type 4")
    key = WITNESS.verifier
    other = keep(tmp_path / "other", key.text.replace(key.id.hex(), LOG.verifier.id.hex()))
    assert refused(judge("tree", folder, log, other), "does not have the id")
    assert refused(judge("tree", folder, log, keep(other, "witness")), "no verifier key")
    assert refused(judge("tree", folder, keep(other, key.text)), "unknown verifier algorithm")


# --- receipts and histories that do not hold


GOOD = parse_proof(ONE.receipt(299, 600))
NOT_IN_IT = "the entry is not number [0-9]+ of 600"


def flipped(hash_: bytes) -> bytes:
    return bytes([hash_[0] ^ 1]) + hash_[1:]


BENT = {
    "flipped": (replace(GOOD, hashes=(*GOOD.hashes[:4], flipped(GOOD.hashes[4]), *GOOD.hashes[5:])).text, NOT_IN_IT),
    "short": (replace(GOOD, hashes=GOOD.hashes[:-1]).text, NOT_IN_IT),
    "long": (replace(GOOD, hashes=(*GOOD.hashes, GOOD.hashes[0])).text, NOT_IN_IT),
    "another place": (replace(GOOD, index=298).text, NOT_IN_IT),
    "no place": (replace(GOOD, index=600).text, NOT_IN_IT),
    "another tree": (replace(GOOD, checkpoint=FORKED.checkpoint(600).raw).text, NOT_IN_IT),
    "another size": (GOOD.text.replace("\n600\n", "\n601\n"), "invalid signature"),
    "leading zero": (GOOD.text.replace("index 299", "index 0299"), "is no number"),
    # The same 32 bytes: the last letter before "=" has two bits to spare.
    "another spelling": (re.sub("(.)=\n", lambda it: f"{chr(ord(it[1]) + 1)}=\n", GOOD.text, count=1), "another way"),
    "no index": (GOOD.text.replace("index 299\n", ""), "no index"),
    "another format": (GOOD.text.replace("@v1", "@v2"), "does not begin with"),
    "bad extra": (GOOD.text.replace("extra ", "extra !"), "illegal base64"),
    "no empty line": (GOOD.text.replace("\n\n", "\n"), "no empty line"),
}
"""Receipts that prove nothing, and why."""


@pytest.mark.parametrize("name", BENT)
def test_a_receipt_that_proves_nothing_is_seen(tmp_path: Path, name: str) -> None:
    bent, reason = BENT[name]
    receipt, entry = keep(tmp_path / "bent.tlog-proof", bent), keep(tmp_path / "entry", ONE.opening(299).entry)
    assert refused(judge("proof", receipt, entry, vkey(tmp_path, LOG)), reason)


def test_a_receipt_for_something_else_is_seen(tmp_path: Path) -> None:
    receipt, key = keep(tmp_path / "act.tlog-proof", GOOD.text), vkey(tmp_path, LOG)
    for other in (ONE.opening(298).entry, GOOD.extra, b""):
        assert refused(judge("proof", receipt, keep(tmp_path / "entry", other), key), NOT_IN_IT)
    entry = keep(tmp_path / "entry", ONE.opening(299).entry)
    thief = NoteSigner(ORIGIN, ED25519, SigningKey(b"thief".ljust(32)))
    assert refused(judge("proof", receipt, entry, vkey(tmp_path, thief)), "no verifiable signatures")


@pytest.mark.parametrize("before", [301, 512, 600])
def test_a_log_that_tells_its_history_anew_is_seen(tmp_path: Path, before: int) -> None:
    old = keep(tmp_path / "old", FORKED.checkpoint(before).raw)
    folder, key = ONE.write(tmp_path / "log", 600), vkey(tmp_path, LOG)
    said = judge("consistency", key, old, folder / "checkpoint", folder)
    assert refused(said, f"size 600 has not grown from size {before}")
    # Up to where they part, the two are one.
    keep(old, FORKED.checkpoint(300).raw)
    assert judge("consistency", key, old, folder / "checkpoint", folder) == (True, "ok old=300 new=600")


def test_a_log_that_became_smaller_is_seen(tmp_path: Path) -> None:
    old = keep(tmp_path / "old", ONE.checkpoint(600).raw)
    folder = ONE.write(tmp_path / "log", 599)
    said = judge("consistency", vkey(tmp_path, LOG), old, folder / "checkpoint", folder)
    assert refused(said, "size 599 has not grown from size 600")


def test_a_history_that_begins_with_nothing_is_looked_at_as_well(tmp_path: Path) -> None:
    folder, key = ONE.write(tmp_path / "log", 600), vkey(tmp_path, LOG)
    old, new = keep(tmp_path / "old", ONE.checkpoint(0, bytes(32)).raw), folder / "checkpoint"
    assert refused(judge("consistency", key, old, new, folder), "the root of size 0")
    keep(old, ONE.checkpoint(0).raw)
    keep(new, ONE.checkpoint(600, FORKED.checkpoint(600).root).raw)
    assert refused(judge("consistency", key, old, new, folder), "inconsistent tile")


# --- who judges


def test_somebody_without_go_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wrong = install_go()
    assert wrong.count("\n") == 0 and all(package in wrong for package in PACKAGES)


def test_a_question_that_is_none_is_no_success(tmp_path: Path) -> None:
    for question in ([], ["tree"], ["tree", tmp_path], ["proof", tmp_path, tmp_path], ["trust", tmp_path, tmp_path]):
        assert refused(judge(*question), "usage")
    assert refused(judge("tree", tmp_path, vkey(tmp_path, LOG)), "no such file")
