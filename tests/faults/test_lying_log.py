"""A log that lies to somebody who follows it: he notices, can tell which lie it was, and goes on when it is over.

Each is told by a host over HTTP to `comity log follow`, whose exit code, message and evidence are looked at.
"""

import asyncio
import base64
import hashlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from aiohttp import web

from comity.client.log import monitor, tree
from comity.client.log.tile_reader import FINDINGS
from comity.transparency.checkpoints import open_checkpoint
from comity.transparency.merkle import check_consistency, check_inclusion, leaf_hash, root_of_hashes
from comity.transparency.receipts import parse_proof
from comity.transparency.tiles import ENTRIES, HASH, WIDTH, Tile, encode_bundle
from comity_tools.cli.audit import log as cli_log
from support.served_log import (
    MINUTE,
    Host,
    Lie,
    Said,
    TrueLog,
    entries,
    entry,
    follow_host,
    hosting,
    signer,
    witness,
)

SIZE = 600
STRIDE = 61


def found_out(said: Said, code: str) -> str:
    """That it ended with a finding of that code, and told so in one sentence; its evidence, if there is any."""
    assert said.code == 1, (said.out, said.err)
    first, *rest = said.err.strip().splitlines()
    assert first.startswith(f"Error: {FINDINGS[code]}: "), first
    if not rest:
        return ""
    assert len(rest) == 1 and rest[0].startswith("The evidence is in ")
    return Path(rest[0].removeprefix("The evidence is in ")).read_text(encoding="utf-8")


# --- one answer is not what it should be


class Bent(NamedTuple):
    """One file that is altered, and what that is called."""

    path: str
    what: str
    alter: Callable[[bytes], bytes | None]
    codes: str


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def bent_checkpoints() -> Iterator[Bent]:
    # Where things stand depends on the host's port, so places are looked for in the text.
    marks: dict[str, Callable[[bytes], int]] = {
        "origin": lambda data: 3,
        "size": lambda data: data.index(b"\n600\n") + 1,
        "root": lambda data: data.index(b"\n600\n") + 9,
        "end of the root": lambda data: data.index(b"\n\n") - 2,
        "blank line": lambda data: data.index(b"\n\n") + 1,
        "dash": lambda data: data.index("—".encode()) + 1,
        "name": lambda data: data.index("—".encode()) + 6,
        "key id": lambda data: data.rindex(b" ") + 2,
        "signature": lambda data: data.rindex(b" ") + 30,
        "last byte": lambda data: len(data) - 1,
    }
    for name, where in marks.items():
        yield Bent("checkpoint", f"{name} flipped", lambda data, at=where: flipped(at(data))(data), "bad_checkpoint")  # type: ignore[misc]
    for name, alter in {
        "empty": lambda data: b"",
        "half": lambda data: data[: len(data) // 2],
        "one byte less": lambda data: data[:-1],
        "no signature": lambda data: data[: data.index(b"\n\n") + 2],
        "huge": lambda data: data + "— somebody AAAAAAAA\n".encode() * 20_000,
        "not text": lambda data: b"\xff" + data,
        "a page": lambda data: b"<html><body>Welcome to our network</body></html>",
    }.items():
        yield Bent("checkpoint", name, alter, "bad_checkpoint")


def bent_tiles() -> Iterator[Bent]:
    for tile in (Tile(0, 0), Tile(0, 2, 88), Tile(1, 0, 2)):
        for at in (0, HASH * tile.width // 2, HASH * tile.width - 1):
            yield Bent(tile.path, f"byte {at} flipped", flipped(at), "bad_tile")
        for name, alter in _of_another_length(HASH).items():
            yield Bent(tile.path, name, alter, "wrong_length")
        yield Bent(
            tile.path, "two hashes exchanged", lambda data: data[HASH : 2 * HASH] + data[:HASH] + data[64:], "bad_tile"
        )
        yield Bent(tile.path, "missing", lambda data: None, "missing")


def bent_bundles() -> Iterator[Bent]:
    places = {
        "length": 0,
        "length's end": 1,
        "version": 2,
        "kind": 3,
        "side": 4,
        "time": 8,
        "until": 12,
        "tag": 14,
        "end": 60,
    }
    for tile in (Tile(ENTRIES, 0), Tile(ENTRIES, 2, 88)):
        for name, at in places.items():
            yield Bent(tile.path, f"{name} flipped", flipped(at), "bad_bundle")
        for at in (tile.width // 2, tile.width - 1):
            yield Bent(tile.path, f"entry {at} flipped", flipped(at * STRIDE + 40), "bad_bundle")
        for name, alter in _of_another_length(STRIDE).items():
            yield Bent(tile.path, name, alter, "bad_bundle wrong_length")
        yield Bent(tile.path, "exchanged", lambda data: data[61:122] + data[:61] + data[122:], "bad_bundle")
        yield Bent(tile.path, "missing", lambda data: None, "missing")


def _of_another_length(one: int) -> dict[str, Callable[[bytes], bytes | None]]:
    return {
        "empty": lambda data: b"",
        "one byte less": lambda data: data[:-1],
        "one less": lambda data: data[:-one],
        "one byte more": lambda data: data + b"\0",
        "one more": lambda data: data + data[:one],
        "huge": lambda data: data * 20,
    }


@pytest.mark.parametrize("bent", [bent_checkpoints, bent_tiles, bent_bundles])
async def test_an_answer_that_was_altered_is_noticed_and_harms_nobody(
    tmp_path: Path, bent: Callable[[], Iterator[Bent]]
) -> None:
    async with hosting(SIZE) as host:
        for number, it in enumerate(bent()):
            state = tmp_path / f"{number}"
            host.lie = lambda path, data, it=it: it.alter(data) if data is not None and path == it.path else data
            said = await follow_host(host, state)
            assert said.code == 1, (it, said.out, said.err)
            assert any(said.err.startswith(f"Error: {FINDINGS[code]}") for code in it.codes.split()), (it, said.err)
            host.honest()
            assert (await follow_host(host, state)).code == 0, it
    assert number > 15


async def test_a_tile_of_another_width_or_place_is_noticed(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        for number, (path, instead, code) in enumerate(
            [
                ("tile/0/002.p/88", "tile/0/002.p/87", "wrong_length"),
                ("tile/0/000", "tile/0/001", "bad_tile"),
                ("tile/0/002.p/88", "tile/0/000", "wrong_length"),
                ("tile/entries/002.p/88", "tile/entries/002.p/80", "bad_bundle"),
                ("tile/entries/000", "tile/entries/001", "bad_bundle"),
                ("tile/entries/000", "tile/0/000", "bad_bundle"),
            ]
        ):
            other = host.log.file(instead)
            host.lie = lambda path_, data, path=path, other=other: other if path_ == path else data
            found_out(await follow_host(host, tmp_path / f"{number}"), code)
            host.honest()
    assert host.log.file("tile/0/002.p/89") is None


async def test_the_full_tile_for_a_partial_one_must_be_the_true_one(tmp_path: Path) -> None:
    async with hosting(300) as host:
        early = host.log.checkpoint().encode()
        host.log.grow(entries(400, 300))
        for place, code in (("tile/0/001", "bad_tile"), ("tile/entries/001", "bad_bundle")):

            def lie(path: str, data: bytes | None, place: str = place) -> bytes | None:
                if path == "checkpoint" or ".p/44" in path:
                    return early if path == "checkpoint" else None
                return flipped(70)(data) if path == place and data is not None else data

            host.lie = lie
            found_out(await follow_host(host, tmp_path / "state"), code)


# --- forged with care: everything below fits, and only what is above does not


@pytest.fixture(scope="module")
def large() -> TrueLog:
    return TrueLog("large.example/log", entries(70_000))


def forging(log: TrueLog, levels: int) -> Lie:
    """Entry 5 is another one, and the tiles over it fit to that, up to so many levels."""
    changed = [*log.entries[:5], entry(99, minute=MINUTE), *log.entries[6:WIDTH]]
    row = [leaf_hash(it) for it in changed]
    files = {Tile(ENTRIES, 0).path: encode_bundle(changed)}
    for level in range(levels):
        files[Tile(level, 0).path] = b"".join(row)
        above = log.file(Tile(level + 1, 0).path) or b""
        row = [root_of_hashes(row), *(above[at : at + HASH] for at in range(HASH, len(above), HASH))]
    return files.get


@pytest.mark.parametrize(("levels", "code"), [(0, "bad_bundle"), (1, "bad_tile"), (2, "bad_tile")])
async def test_an_entry_forged_with_the_tiles_above_it_is_noticed(
    tmp_path: Path, large: TrueLog, levels: int, code: str
) -> None:
    async with hosting() as host:
        # A full tile of level 1 takes a large log.
        host.log = large.named(host.origin) if levels == 2 else TrueLog(host.origin, entries(SIZE))
        host.lie = forging(host.log, levels)
        found_out(await follow_host(host, tmp_path / "state"), code)
        assert len(host.asked) < 40


async def test_last_entries_forged_with_their_tile_are_noticed(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        false = TrueLog("false", [*host.log.entries[:-1], entry(1, minute=MINUTE + 99)])
        host.lie = lambda path, data: false.file(path) if ".p/88" in path else data
        found_out(await follow_host(host, tmp_path / "state"), "bad_tile")


# --- two histories


def other_history(host: Host, size: int, same: int) -> TrueLog:
    """A log of the same name and key, whose first `same` entries only are those of the true one."""
    return TrueLog(host.origin, [*host.log.entries[:same], *entries(size - same, same, salt=10**6)])


@pytest.mark.parametrize(
    ("size", "same"), [(SIZE, 599), (SIZE, 0), (601, 599), (601, 300), (900, 599), (900, 0), (2000, 0)]
)
async def test_two_histories_can_be_proved(tmp_path: Path, size: int, same: int) -> None:
    async with hosting(SIZE) as host:
        assert (await follow_host(host, tmp_path / "state")).code == 0
        true, host.log = host.log, other_history(host, size, same)
        evidence = found_out(await follow_host(host, tmp_path / "state"), "forked")
        assert [it.name for it in tmp_path.glob("fork-*.txt")] == [
            next(tmp_path.glob(f"fork-????????-{size}.txt")).name
        ]
        for log in (true, host.log):
            assert log.checkpoint() in evidence
        if size > SIZE:
            judge(evidence, true, host.log)
        # It is remembered what was seen first: the other history is never taken for the true one.
        found_out(await follow_host(host, tmp_path / "state"), "forked")
        host.log = true
        assert (await follow_host(host, tmp_path / "state")).code == 0


def judge(evidence: str, true: TrueLog, false: TrueLog) -> None:
    """What somebody does who is handed the file: two signatures, and the proof that both cannot be."""
    old, new = (open_checkpoint(it.checkpoint(), true.signer.verifier) for it in (true, false))
    _, _, told = evidence.partition("begins with one of this size and root:\n\n")
    begins, _, rest = told.partition("\n\nas this proof")
    size, root = begins.split()
    proof = [base64.b64decode(line) for line in rest.partition("\n\n")[2].split()]
    assert int(size) == old.size and base64.b64decode(root) != old.root
    assert check_consistency(int(size), base64.b64decode(root), new.size, new.root, proof)


async def test_a_smaller_tree_of_another_history_is_a_fork_where_the_larger_one_is_served(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        assert (await follow_host(host, tmp_path / "state")).code == 0
        false = other_history(host, 300, 100)
        host.lie = lambda path, data: false.file(path) if path == "checkpoint" else data
        evidence = found_out(await follow_host(host, tmp_path / "state"), "forked")
        judge(evidence, false, host.log)
        host.honest()
        assert (await follow_host(host, tmp_path / "state")).code == 0


@pytest.mark.parametrize("same", [SIZE, 100])
async def test_a_log_that_hides_what_it_had_shown_is_found_out(tmp_path: Path, same: int) -> None:
    async with hosting(SIZE) as host:
        assert (await follow_host(host, tmp_path / "state")).code == 0
        true, host.log = host.log, other_history(host, 400, min(same, 400))
        evidence = found_out(await follow_host(host, tmp_path / "state"), "rolled_back")
        assert true.checkpoint() in evidence and host.log.checkpoint() in evidence
        host.log = TrueLog(host.origin)
        found_out(await follow_host(host, tmp_path / "state"), "rolled_back")
        assert len(list(tmp_path.glob("fork-*.txt"))) == 2


async def test_evidence_is_not_written_over(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        assert (await follow_host(host, tmp_path / "state")).code == 0
        true = host.log
        for same in (10, 20, 10):
            host.log = other_history(host, SIZE, 0)
            host.log = TrueLog(host.origin, [*true.entries[:same], *host.log.entries[same:]])
            found_out(await follow_host(host, tmp_path / "state"), "forked")
        assert len(list(tmp_path.glob(f"fork-*-{SIZE}*.txt"))) == 2


async def test_evidence_that_cannot_be_written_down_is_shown(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        assert (await follow_host(host, tmp_path / "state")).code == 0
        host.log = other_history(host, 700, 0)
        name = hashlib.sha256(host.origin.encode()).hexdigest()[:8]
        (tmp_path / f"fork-{name}-700.txt").mkdir()
        said = await follow_host(host, tmp_path / "state")
        assert said.code == 1 and host.log.checkpoint() in said.err
        said = await follow_host(host, tmp_path / "state", "--json")
        assert said.json["code"] == "forked" and host.log.checkpoint() in said.json["evidence_text"]


async def test_a_run_that_was_broken_off_remembers_what_it_was_shown(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        host.lie = lambda path, data: None if path == "tile/entries/001" else data
        found_out(await follow_host(host, tmp_path / "state"), "missing")
        host.honest()
        host.log = other_history(host, 900, 400)
        found_out(await follow_host(host, tmp_path / "state"), "forked")


# --- other logs, other keys, other witnesses


async def test_the_checkpoint_of_another_log_is_noticed(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        key = host.log.signer
        other = TrueLog("other.example/log", host.log.entries)
        same_key = TrueLog("other.example/log", host.log.entries)
        same_key.signer = key._replace(name="other.example/log")
        another_key = TrueLog(host.origin, host.log.entries)
        another_key.signer = signer(host.origin, seed="another")
        for log in (other, same_key, another_key):
            false = log.checkpoint().encode()
            host.lie = lambda path, data, false=false: false if path == "checkpoint" else data
            assert false.decode() in found_out(await follow_host(host, tmp_path / "state"), "bad_checkpoint")
        assert not (tmp_path / "state").exists()


async def test_a_cosignature_that_was_forged_or_made_up_does_not_count(tmp_path: Path) -> None:
    one, two = witness(1), witness(2)
    named = ["--witness", one.verifier.text, "--witness", two.verifier.text, "--cosignatures", "1"]
    async with hosting(SIZE) as host:
        found_out(await follow_host(host, tmp_path / "state", *named), "too_few_witnesses")
        # The same name is not the same witness.
        host.log.witnesses = [(signer(one.name, one.kind, "another"), 1_760_000_000)]
        found_out(await follow_host(host, tmp_path / "state", *named), "too_few_witnesses")
        host.log.witnesses = [(one, 1_760_000_000), (two, 1_760_000_000)]
        cosigned = host.log.checkpoint()
        host.log.witnesses = [(one, 1_760_000_001), (two, 1_760_000_000)]
        later = host.log.checkpoint()
        line, other = cosigned.splitlines()[-2], later.splitlines()[-2]
        mixed = later.replace(other, other[:70] + line[70:])
        host.lie = lambda path, data: mixed.encode() if path == "checkpoint" else data
        found_out(await follow_host(host, tmp_path / "state", *named), "bad_checkpoint")
        host.honest()
        assert (await follow_host(host, tmp_path / "state", *named)).code == 0


# --- what it signed is not what a log may hold


LATER = MINUTE + 29
BAD = {
    "a kind that there is not": entry(1, minute=LATER, kind=16),
    "no kind": entry(1, minute=LATER, kind=0),
    "version 1": b"\1" + entry(1, minute=LATER)[1:],
    "version 3": b"\3" + entry(1, minute=LATER)[1:],
    "a third side": entry(1, minute=LATER, side=3),
    "no side": entry(1, minute=LATER, side=0),
    "a side that a setting does not tell": entry(1, minute=LATER, kind=10, side=1),
    "a side of a copy": entry(1, minute=LATER, kind=13, side=1),
    "a side of a notice": entry(1, minute=LATER, kind=15, side=2),
    "no side of a mute that was over": entry(1, minute=LATER, kind=11, side=0),
    "an end of a mute that was over": entry(1, minute=LATER, kind=11, until=1),
    "an end that an act does not have": entry(1, minute=LATER, until=1),
    "one byte less": entry(1, minute=LATER)[:-1],
    "one byte more": entry(1, minute=LATER) + b"\0",
    "nothing": b"",
}


@pytest.mark.parametrize("what", BAD)
async def test_a_signed_entry_that_is_none_is_proved_to_be_there(tmp_path: Path, what: str) -> None:
    async with hosting(290) as host:
        host.log.grow([BAD[what], *entries(5, 290)])
        evidence = found_out(await follow_host(host, tmp_path / "state"), "bad_entry")
        assert stands(evidence, host.log, 290) == BAD[what]
        # It is signed: nothing that the log says later takes it away.
        host.log.grow(entries(100, 300))
        found_out(await follow_host(host, tmp_path / "state"), "bad_entry")


def stands(evidence: str, log: TrueLog, index: int) -> bytes:
    """The entry of that index which the file proves to be in the log."""
    proofs = [
        parse_proof(f"c2sp.org/tlog-proof@v1{it}".rstrip("\n") + "\n")
        for it in evidence.split("c2sp.org/tlog-proof@v1")[1:]
    ]
    (found,) = (it for it in proofs if it.index == index)
    signed = open_checkpoint(found.checkpoint, log.signer.verifier)
    assert check_inclusion(leaf_hash(found.extra), index, signed.size, found.hashes, signed.root)
    return found.extra


@pytest.mark.parametrize(("first", "again"), [(290, False), (256, False), (300, True), (256, True)])
async def test_a_log_whose_clock_goes_back_is_found_out(tmp_path: Path, first: int, again: bool) -> None:
    async with hosting(first) as host:
        if again:
            assert (await follow_host(host, tmp_path / "state")).code == 0
        host.log.grow([entry(first, minute=MINUTE), *entries(5, first)])
        evidence = found_out(await follow_host(host, tmp_path / "state"), "time_back")
        before, after = (stands(evidence, host.log, at) for at in (first - 1, first))
        assert after[3:7] < before[3:7]


@pytest.mark.parametrize("again", [False, True])
async def test_a_clock_that_goes_back_step_by_step_is_proved_by_the_two_entries(tmp_path: Path, again: bool) -> None:
    async with hosting() as host:
        host.log.grow(entry(number, minute=MINUTE + minute) for number, minute in enumerate((9, 10, 9)))
        if again:
            assert (await follow_host(host, tmp_path / "state")).code == 0
        host.log.grow([entry(3, minute=MINUTE + 9), entry(4, minute=MINUTE + 8)])
        evidence = found_out(await follow_host(host, tmp_path / "state"), "time_back")
        early, late = (int.from_bytes(stands(evidence, host.log, at)[3:7], "big") for at in (4, 1))
        assert (early, late) == (MINUTE + 8, MINUTE + 10)


async def test_two_histories_are_told_of_also_when_no_witness_cosigned_the_second(tmp_path: Path) -> None:
    named = ["--witness", witness(1).verifier.text]
    async with hosting(SIZE) as host:
        host.log.witnesses = [(witness(1), 1_760_000_000)]
        assert (await follow_host(host, tmp_path / "state", *named)).code == 0
        host.log = TrueLog(host.origin, entries(SIZE, salt=7))
        found_out(await follow_host(host, tmp_path / "state", *named), "forked")


# --- it does not answer, which is no lie


async def test_a_log_that_cannot_be_read_is_told_apart_from_one_that_lies(tmp_path: Path) -> None:
    async with hosting(SIZE) as host:
        for path, status in (("checkpoint", 404), ("checkpoint", 301), ("tile/0/000", 500), ("tile/entries/001", 403)):
            host.status = {path: status}
            said = await follow_host(host, tmp_path / "state")
            assert said.code == 2 and str(status) in said.err, said
        host.honest()
        for path in ("checkpoint", "tile/0/001"):
            for stall in (slow, endless, cut):
                host.stalls = {path: stall}
                said = await follow_host(host, tmp_path / "state", "--json")
                assert said.code == 2 and said.json["code"] == "not_read", said
        host.honest()
        assert (await follow_host(host, tmp_path / "state")).code == 0
    assert (await follow_host(host, tmp_path / "state")).code == 2


async def slow(request: web.BaseRequest) -> web.StreamResponse:
    """One byte after the other."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"x")
        await asyncio.sleep(0.05)
    return response


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    """More than anybody wants."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(20):
        await response.write(bytes(1 << 20))
    return response


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    """Half of what was announced."""
    response = web.StreamResponse()
    response.content_length = 8192
    await response.prepare(request)
    await response.write(bytes(4096))
    assert request.transport is not None
    request.transport.close()
    return response


# --- would it be noticed if he did not look?

DEFECTS: dict[str, tuple[ModuleType, str, str]] = {
    "two histories are not held against each other": (
        monitor, "    if not check_consistency(", "    if False and not check_consistency(",
    ),
    "two roots of one size are not held against each other": (
        monitor, "if seen.root != served.root:", "if False:",
    ),
    "only tiles of level 0 are held against the one above": (
        tree, "        if top_of(data) != ", "        if tile.level == 0 and top_of(data) != ",
    ),
    "tiles of level 0 are not held against the one above": (
        tree, "        if top_of(data) != ", "        if tile.level > 0 and top_of(data) != ",
    ),
    "the edge is not held against the root": (
        tree, " != signed.root:", " == b'':",
    ),
    "entries are not held against the tiles": (
        tree, "        if leaves != hashes:", "        if False:",
    ),
    "what an entry says is not looked at": (
        monitor, "        or kinds.translate(_HAS_SIDE_KIND) != sides.translate(_HAS_SIDE)\n", "",
    ),
    "the time is not looked at": (
        monitor, "    if contents.minutes[0] < before.minute or ", "    if False and ",
    ),
    "too few witnesses will do": (
        monitor, "    if not is_witnessed(", "    if False and not is_witnessed(",
    ),
}  # fmt: skip


def plant(defect: str, patch: pytest.MonkeyPatch) -> None:
    """Puts an edited copy of a module in the place of the true one, in what the command uses."""
    module, check, instead = DEFECTS[defect]
    source = inspect.getsource(module)
    assert source.count(check) == 1, f"no defect was planted: {check}"
    planted = ModuleType(f"{module.__name__}_planted")
    patch.setitem(sys.modules, planted.__name__, planted)
    exec(source.replace(check, instead), planted.__dict__)
    if module is monitor:
        patch.setattr(cli_log, "follow_log", planted.follow_log)
    else:
        patch.setattr(monitor, "open_tree", planted.open_tree)


@pytest.mark.parametrize("defect", DEFECTS)
async def test_a_follower_who_does_not_look_is_caught(
    tmp_path: Path, large: TrueLog, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    drills: dict[str, Callable[[], Awaitable[None]]] = {
        "two histories are not held against each other": lambda: test_two_histories_can_be_proved(tmp_path, 900, 0),
        "two roots of one size are not held against each other": lambda: test_two_histories_can_be_proved(
            tmp_path, SIZE, 0
        ),
        "only tiles of level 0 are held against the one above": (
            lambda: test_an_entry_forged_with_the_tiles_above_it_is_noticed(tmp_path, large, 2, "bad_tile")
        ),
        "tiles of level 0 are not held against the one above": (
            lambda: test_an_entry_forged_with_the_tiles_above_it_is_noticed(tmp_path, large, 1, "bad_tile")
        ),
        "the edge is not held against the root": (
            lambda: test_last_entries_forged_with_their_tile_are_noticed(tmp_path)
        ),
        "entries are not held against the tiles": (
            lambda: test_an_entry_forged_with_the_tiles_above_it_is_noticed(tmp_path, large, 0, "bad_bundle")
        ),
        "what an entry says is not looked at": (
            lambda: test_a_signed_entry_that_is_none_is_proved_to_be_there(tmp_path, "no side")
        ),
        "the time is not looked at": lambda: test_a_log_whose_clock_goes_back_is_found_out(tmp_path, 290, False),
        "too few witnesses will do": lambda: test_a_cosignature_that_was_forged_or_made_up_does_not_count(tmp_path),
    }
    plant(defect, monkeypatch)
    with pytest.raises(AssertionError, match="All checks passed"):
        await drills[defect]()
