"""What a server refuses to begin with: a store that is older than what was signed, or damaged, or somebody else's, and
a clock that went back. And what it notices while it runs."""

import asyncio
import base64
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from click.testing import CliRunner

from comity.crypto.keys import SigningKey
from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, open_event
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.entries import entry_tag, tag_key
from comity.transparency.notes import VerifierKey
from comity_server.config import ConfigError, load
from comity_server.log import recovery
from comity_server.log import registry as opening
from comity_server.log.head_file import HeadFile
from comity_server.log.recovery import RolledBack
from comity_server.log.sequencer import Sequencer
from comity_server.store.errors import StoreDamaged
from comity_tools.cli import main
from support import crash_points
from support.log_over_http import Reader
from support.witness_logs import Log, plant
from support.world import DAY, Pair, World, a_world, eventually, free_port

# One process forks all the servers of a worker, and takes longer to start than they do.
pytestmark = pytest.mark.xdist_group("forked servers")

SIZE = 262
"""Entries of the prepared log: a full tile, and a little more."""


@dataclass
class Prepared:
    """A stopped server's folder, as it was before the last act ("older") and after it ("data")."""

    pair: Pair
    last: SignedAct
    checkpoint: SignedCheckpoint
    key: VerifierKey

    def world(self, folder: Path, **settings: Any) -> World:
        """A world of this server in another folder, not started; it is the same time there."""
        source = self.pair.world.folder
        shutil.copytree(source / "data", folder / "data", ignore=shutil.ignore_patterns("admin.sock"))
        world = World(folder, settings)
        shutil.copy(source / "clock", folder / "clock")
        world.port, world.server = self.pair.world.port, self.pair.world.server
        return world

    def people(self, world: World) -> Pair:
        """The two sides, in that world."""
        return Pair(world, self.pair.agreement, dict(self.pair.signers), self.pair.state)

    def put_back_the_backup(self, world: World) -> None:
        """The store, and it alone, as it was before the last act."""
        shutil.copy(self.pair.world.folder / "older" / "comity.db", world.folder / "data" / "comity.db")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    async def prepare() -> Prepared:
        async with a_world(tmp_path_factory.mktemp("prepared")) as world:
            pair = await world.shop_and_customer("care")
            row = pair.row_of("first", SIZE - 4)
            for act, line in zip(row, await world.batch(*row), strict=True):
                pair.take(line["event"], act)
            await world.stop()
            shutil.copytree(world.folder / "data", world.folder / "older")
            await world.start()
            last = await pair.go("second", "mute")
            reader = await Reader.of(world)
            found = Prepared(pair, last, await reader.checkpoint(), reader.key)
        assert found.checkpoint.size == SIZE
        return found

    yield asyncio.run(prepare())


def change(world: World, statement: str, *given: Any) -> None:
    """Change what is stored, as no server would."""
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        assert store.execute(statement, given).rowcount == 1, statement
        store.commit()


def refusal(world: World) -> str:
    """What the operator is told by a server that does not start."""
    environment = {f"COMITY_{name.upper()}": str(value) for name, value in world.settings().items()}
    result = CliRunner().invoke(main, ["serve"], env=environment)
    # It set up logging, to where its own output went.
    structlog.reset_defaults()
    assert result.exit_code == 1, result
    assert isinstance(result.exception, SystemExit), result.exception
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def accepted(world: World, event: str) -> Accepted:
    opened = open_event(event, world.server.directory.find_key).event
    assert isinstance(opened, Accepted)
    return opened


# --- an older store, and a file that is not there


async def catches_up(prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = prepared.world(folder)
    # What a power cut leaves: the store is synced with each commit, the file a second later.
    shutil.copy(prepared.pair.world.folder / "older/log.head", folder / "data/log.head")
    disk, sync = Disk(folder / "data/log.head"), os.fdatasync

    def sync_and_look(file: int) -> None:
        sync(file)
        if os.fstat(file).st_ino == disk.path.stat().st_ino:
            disk.is_synced()

    monkeypatch.setattr(os, "fdatasync", sync_and_look)
    await world.start()
    lasts = disk.after_a_power_cut(prepared.key)
    try:
        assert (await (await Reader.of(world)).checkpoint()).raw == prepared.checkpoint.raw
        assert lasts == SIZE, "it shows more than it would know of after a power cut"
    finally:
        await world.close()


async def test_a_head_file_may_be_behind_its_store_and_catches_up_before_anything_is_shown(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await catches_up(prepared, tmp_path, monkeypatch)


class Disk:
    """A head file as it is on the disk, of which a power cut leaves what was synced, and garbage where something was
    being written since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_synced()

    def is_synced(self) -> None:
        self.synced = self.path.read_bytes()

    def after_a_power_cut(self, key: VerifierKey) -> int:
        """The size that is found at the next start."""
        now = self.path.read_bytes()
        before = self.synced.ljust(len(now), b"\x00")
        pages = range(0, len(now), 4096)
        torn = [before[at : at + 4096] if before[at : at + 4096] == now[at : at + 4096] else b"\xff" for at in pages]
        return size_in(self.path.with_name("after"), b"".join(page.ljust(4096, b"\xff") for page in torn), key)


def size_in(path: Path, content: bytes, key: VerifierKey) -> int:
    """The largest size in a head file of that content, -1 if there is none."""
    path.write_bytes(content)
    file = HeadFile.open(path, key)
    os.close(file._file)
    return -1 if file.last is None else file.last.size


def torn_everywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, path, write, sync = Log(), folder / "log.head", os.pwrite, os.fdatasync
    file = HeadFile.open(path, log.key)
    disk, signed, lasting, torn = Disk(path), -1, -1, set[int]()

    def write_in_two(fd: int, data: bytes, offset: int) -> int:
        torn.add(offset)
        for part in (1, 40, 200, len(data) // 2):
            write(fd, data[:part], offset)
            assert size_in(folder / "ended", path.read_bytes(), log.key) >= signed, "it ended while this was written"
            assert disk.after_a_power_cut(log.key) >= lasting, "the power went while this was written"
        return write(fd, data, offset)

    def sync_and_tell(fd: int) -> None:
        assert disk.after_a_power_cut(log.key) >= lasting, "the power went before this was synced"
        sync(fd)
        disk.is_synced()

    monkeypatch.setattr(os, "pwrite", write_in_two)
    monkeypatch.setattr(os, "fdatasync", sync_and_tell)
    for size in range(10):
        file.write(log.checkpoint(size))
        signed = size
        if size % 3 == 2 or size > 7:
            file.sync()
            lasting = size
        if size == 5:
            # Started again in between.
            os.close(file._file)
            file = HeadFile.open(path, log.key)
            assert file.last is not None and file.last.size == 5
    file.close()
    assert torn == {0, 4096, 8192, 12288}


def test_a_head_file_is_whole_wherever_the_process_ends_or_the_power_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn_everywhere(tmp_path, monkeypatch)


async def test_a_store_that_went_another_way_since_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    other = prepared.world(tmp_path / "other")
    shutil.rmtree(tmp_path / "other/data")
    shutil.copytree(prepared.pair.world.folder / "older", tmp_path / "other/data")
    await other.start()
    pair = await other.connect(other.person(), other.person())
    await pair.go("first", "mute")
    assert (await (await Reader.of(other)).checkpoint()).size == SIZE, "as large, with another last entry"
    await other.close()
    world = prepared.world(tmp_path / "one")
    shutil.copy(tmp_path / "other/data/comity.db", tmp_path / "one/data/comity.db")
    with pytest.raises(StoreDamaged, match=f"does not begin with the one of {SIZE} entries that was signed"):
        await world.start()


def test_an_old_backup_is_refused_and_the_newer_store_is_taken_again(prepared: Prepared, tmp_path: Path) -> None:
    world = prepared.world(tmp_path)
    prepared.put_back_the_backup(world)
    said = refusal(world)
    assert f"the store has {SIZE - 1} entries, and {SIZE} were signed: an old backup was put back" in said
    assert "COMITY_CONSENT_LOG=NAME" in said
    # Nothing was spoilt by the attempt.
    shutil.copy(prepared.pair.world.folder / "data" / "comity.db", tmp_path / "data" / "comity.db")

    async def start() -> None:
        await world.start()
        try:
            assert (await (await Reader.of(world)).checkpoint()).raw == prepared.checkpoint.raw
        finally:
            await world.close()

    asyncio.run(start())


def test_without_its_head_file_or_with_another_log_s_nobody_can_say_what_was_signed(
    prepared: Prepared, tmp_path: Path
) -> None:
    head = tmp_path / "one/data/log.head"
    world = prepared.world(tmp_path / "one")
    head.unlink()
    assert f"log.head is missing, or another log's, and the store has {SIZE} entries" in refusal(world)
    head.unlink(missing_ok=True)
    assert "log.head is missing" in refusal(world), "the first attempt made one that the second takes"
    other = prepared.world(tmp_path / "other", consent_log="other")

    async def start() -> None:
        await other.start()
        await other.close()

    asyncio.run(start())
    shutil.copy(tmp_path / "other/data/log-other.head", head)
    assert "log.head is missing, or another log's" in refusal(world)
    shutil.copy(prepared.pair.world.folder / "data/log.head", head)
    asyncio.run(_starts(world))


def test_without_its_key_a_log_is_not_gone_on_with_under_another(prepared: Prepared, tmp_path: Path) -> None:
    world = prepared.world(tmp_path)
    (tmp_path / "data/log.key").unlink()
    assert "log.key" in refusal(world)
    assert not (tmp_path / "data/log.key").exists(), "a key was made up, and the next start would take it for the log's"
    shutil.copy(prepared.pair.world.folder / "data/log.key", tmp_path / "data/log.key")
    asyncio.run(_starts(world))


@pytest.mark.parametrize("damage", [b"", b"x" * 31, b"x" * 33, None])
def test_a_damaged_key_stops_the_start_in_words(prepared: Prepared, tmp_path: Path, damage: bytes | None) -> None:
    world, key = prepared.world(tmp_path), tmp_path / "data/log.key"
    if damage is None:
        key.unlink()
        key.mkdir()
        assert refusal(world) == f"Error: cannot serve: Is a directory: {key}"
    else:
        key.write_bytes(damage)
        assert "log.key is damaged: put back the one that belongs to this log" in refusal(world)
        assert key.read_bytes() == damage


async def _starts(world: World) -> None:
    await world.start()
    await world.close()


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


LOSSES: dict[str, Callable[[Path], object]] = {
    "no head file": lambda data: (data / "log.head").unlink(),
    "an empty head file": lambda data: (data / "log.head").write_bytes(b""),
    "an unreadable head file": lambda data: folder_instead(data / "log.head"),
    "no key": lambda data: (data / "log.key").unlink(),
    "an empty key": lambda data: (data / "log.key").write_bytes(b""),
    "an unreadable key": lambda data: folder_instead(data / "log.key"),
    "another key": lambda data: (data / "log.key").write_bytes(b"k" * 32),
}


@pytest.mark.parametrize("loss", ["an old backup", *LOSSES])
async def test_another_log_begins_where_one_cannot_be_gone_on_with(
    prepared: Prepared, tmp_path: Path, loss: str
) -> None:
    world = prepared.world(tmp_path, consent_log="2027")
    if loss == "an old backup":
        prepared.put_back_the_backup(world)
    else:
        LOSSES[loss](tmp_path / "data")
    await world.start()
    try:
        told = (await world.send("GET", "/.well-known/comity")).json["logs"]
        assert [log["origin"] for log in told] == [f"localhost:{world.port}/log/2027"]
        for path in ("checkpoint", "tile/0/000", "tile/entries/000"):
            assert (await world.send("GET", f"/log/{path}")).code == "not_found", "nobody vouches for it"
        pair = prepared.people(world)
        if loss != "an old backup":
            # The act is there and counts; there is no receipt of it any more.
            reply = await world.act(prepared.last)
            assert reply.status == 200
            assert "receipt" not in reply.json
        revoke = pair.compose("first", "revoke")
        reply = await world.act(revoke)
        assert reply.status == 200
        reader = await Reader.of(world, "/log/2027")
        await reader.holds(reply.json["receipt"], revoke.raw, (await reader.whole())[0])
        assert accepted(world, reply.json["event"]).index == 2, "behind the server's key, stated twice"
    finally:
        await world.close()


def test_a_log_that_ended_is_not_written_by_a_shell_that_does_not_know(prepared: Prepared, tmp_path: Path) -> None:
    world = prepared.world(tmp_path, consent_log="2027")
    asyncio.run(_starts(world))
    key = SigningKey(b"late".ljust(32, b".")).public.did
    given = ["business", "create", "late", "--did-key", key, "--data", str(tmp_path / "data"), "--port"]
    # The clock has to be known for the folder to be opened at all; the name of the log was set in another shell.
    environment = {"COMITY_CLOCK_OFFSET_FILE": str(tmp_path / "clock")}
    result = CliRunner().invoke(main, [*given, str(world.port)], env=environment)
    structlog.reset_defaults()
    assert result.exit_code == 0, result.output
    with closing(sqlite3.connect(f"file:{tmp_path / 'data' / 'comity.db'}?mode=ro", uri=True)) as store:
        sizes = dict(store.execute("SELECT log, size FROM heads"))
    assert sizes == {f"localhost:{world.port}/log": SIZE, f"localhost:{world.port}/log/2027": 3}


@pytest.mark.parametrize(
    "name", ["tile", "checkpoint", "UP", "a/b", "..", "-a", "a-", "a" * 33, "ä", "a b", "a.b", "\n"]
)
def test_a_log_is_not_called_like_anything_else(name: str) -> None:
    with pytest.raises(ConfigError, match="COMITY_CONSENT_LOG"):
        load({"consent_log": name}, {})


@pytest.mark.parametrize("name", ["", "2027", "a", "a" * 32, "tiles", "a-b"])
def test_a_log_can_be_called_what_an_operator_would_call_it(name: str) -> None:
    assert load({"consent_log": name}, {}).consent_log == name


# --- the clock


def last_commit(world: World) -> int:
    """When (ms) the store was written last."""
    with closing(sqlite3.connect(f"file:{world.folder / 'data' / 'comity.db'}?mode=ro", uri=True)) as store:
        at: int = store.execute("SELECT at FROM heads").fetchone()[0]
    return at


async def test_a_clock_that_is_a_little_behind_stands_still_until_it_has_caught_up(
    prepared: Prepared, tmp_path: Path
) -> None:
    world = prepared.world(tmp_path)
    before = last_commit(world)
    for _ in range(3):
        # Each time a little more: it must not wander back in small steps.
        world.at(last_commit(world) - 6000)
        await world.start()
        pair = await world.connect(world.person(), world.person())
        await pair.go("first", "mute")
        times = [pair.state.at, accepted(world, pair.events[-1]).accepted_at]
        assert min(times) >= before, "something was accepted before what the log has already"
        assert last_commit(world) >= before
        await world.stop()
    assert world._http is not None
    await world._http.close()


# --- damage


FLIPPED = {
    "an entry's text": ("entries", "entry", "idx = 260", 40, "entry 260"),
    "an entry's salt": ("entries", "salt", "idx = 7", 31, "entry 7 "),
    "an act": ("acts", "raw", "seq = 9 AND side = 'first'", 90, "entry 12 "),
    "a key's statement": ("business_keys", "statement", "idx = 1", 30, "entry 1 "),
    "the server's own": ("home_statements", "statement", "n = 0", 30, "entry 0 "),
    "the tile that grows": ("tiles", "hashes", "level = 0 AND number = 1", 33, "entry 257 "),
    "a full tile": ("tiles", "hashes", "level = 0 AND number = 0", 0, "entry 0 "),
    "the tile above": ("tiles", "hashes", "level = 1", 5, "tile 0 of level 0"),
    "the head": ("heads", "root", "size > 0", 3, "another root than its head says"),
}
"""Table, column, row, byte, and how it is named."""


@pytest.mark.parametrize("what", FLIPPED)
async def test_a_flipped_bit_stops_the_start_and_is_named(prepared: Prepared, tmp_path: Path, what: str) -> None:
    table, column, row, at, named = FLIPPED[what]
    world = prepared.world(tmp_path)
    with closing(sqlite3.connect(tmp_path / "data" / "comity.db")) as store:
        (value,) = store.execute(f"SELECT {column} FROM {table} WHERE {row}").fetchone()
    flipped = bytearray(value.encode() if isinstance(value, str) else value)
    flipped[at] ^= 1
    put = f"UPDATE {table} SET {column} = ? WHERE {row}"
    change(world, put, flipped.decode() if isinstance(value, str) else bytes(flipped))
    with pytest.raises(StoreDamaged, match=named):
        await world.start()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM entries WHERE idx = 100", "entry 100 is missing"),
        ("UPDATE entries SET idx = 999 WHERE idx = 261", "entry 261 is missing"),
        ("DELETE FROM tiles WHERE level = 0 AND number = 1", "tile/0/001.p/6 is missing"),
        ("UPDATE tiles SET hashes = substr(hashes, 1, 5 * 32) WHERE level = 0 AND number = 1", "5 hashes, and not 6"),
        ("DELETE FROM acts WHERE seq = 9 AND side = 'first'", "entry 12 is about nothing that is stored"),
        ("UPDATE heads SET size = 261", "an old backup was put back"),
        ("UPDATE heads SET size = 263", "entry 262 is missing|6 hashes, and not 7"),
        ("UPDATE entries SET entry = x'00' WHERE idx = 9", "entry 9 commits to something else"),
        ("UPDATE acts SET raw = CAST(raw AS BLOB) WHERE seq = 9 AND side = 'first'", "entry 12 is about"),
    ],
)
async def test_missing_and_surplus_rows_are_named(
    prepared: Prepared, tmp_path: Path, statement: str, named: str
) -> None:
    world = prepared.world(tmp_path)
    change(world, statement)
    with pytest.raises((StoreDamaged, RolledBack), match=named):
        await world.start()


async def test_an_erased_act_at_the_edge_of_a_log_does_not_stop_its_signing(prepared: Prepared, tmp_path: Path) -> None:
    """Its connection, act and salt are gone; the entry still has its hash in the tree."""
    world = prepared.world(tmp_path)
    for index in (9, 260, 261):
        change(world, f"UPDATE entries SET erased = 1, cid = '', act = '', salt = x'' WHERE idx = {index}")
    await world.start()
    try:
        pair = prepared.people(world)
        reply = await world.act(pair.compose("first", "revoke"))
        assert reply.status == 200 and "receipt" in reply.json
    finally:
        await world.close()


async def test_an_erased_entry_is_held_by_its_hash(prepared: Prepared, tmp_path: Path) -> None:
    world = prepared.world(tmp_path)
    change(world, "UPDATE entries SET erased = 1, salt = x'', entry = zeroblob(59) WHERE idx = 261")
    with pytest.raises(StoreDamaged, match="entry 261 is not the one whose hash stands in the tree"):
        await world.start()


def test_the_operator_is_told_of_damage_and_nobody_of_what_is_in_it(prepared: Prepared, tmp_path: Path) -> None:
    world = prepared.world(tmp_path)
    change(world, "UPDATE entries SET salt = zeroblob(32) WHERE idx = 261")
    said = refusal(world)
    assert "entry 261 commits to something else than what is stored" in said
    assert not [it for it in secrets_of(world) if it in said]


def secrets_of(world: World) -> set[str]:
    """Whatever opens entries or ties them together, in every spelling that a text might have it."""
    found: set[bytes] = set()
    with closing(sqlite3.connect(f"file:{world.folder / 'data' / 'comity.db'}?mode=ro", uri=True)) as store:
        found |= {row[0] for row in store.execute("SELECT salt FROM entries")}
        secret = [row[0] for row in store.execute("SELECT tag_secret FROM connections")]
    keys = [tag_key(it, scope) for it in secret for scope in ("both", "first", "second")]
    found |= {*secret, *keys, *(entry_tag(key, world.now() - day * DAY) for key in keys for day in (0, 7))}
    found |= {(world.folder / "data" / name).read_bytes() for name in ("log.key", "home.key")}
    spelt = {it.hex() for it in found} | {repr(it)[2:-1] for it in found}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        spelt |= {encode(it).decode().rstrip("=") for it in found}
    return spelt


# --- while it runs


def spoil(world: World) -> None:
    """From now on the store does not keep what it is given."""
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        store.execute(
            "CREATE TRIGGER spoil AFTER INSERT ON entries BEGIN "
            "UPDATE entries SET salt = zeroblob(32) WHERE log = NEW.log AND idx = NEW.idx; END"
        )


async def live_with_it(prepared: Prepared, world: World) -> None:
    """Nothing of it is signed, and nobody is kept from saying no."""
    reader, pair = await Reader.of(world), prepared.people(world)
    for _ in range(2):
        await pair.go("first", "remember", key="name")
    await pair.go("second", "revoke")
    assert await pair.refused("first", "message") == "connection_ended"
    assert (await reader.checkpoint()).raw == prepared.checkpoint.raw, "what nobody has read was signed"
    assert pair.receipts == {}, "what nobody has read was signed"


async def spoilt_and_alive(prepared: Prepared, folder: Path) -> None:
    world = prepared.world(folder)
    spoil(world)
    await world.start()
    try:
        await live_with_it(prepared, world)
    finally:
        await world.close()


async def test_rows_are_read_back_from_the_store_before_they_are_signed(prepared: Prepared, tmp_path: Path) -> None:
    await spoilt_and_alive(prepared, tmp_path)


async def test_neither_the_log_of_a_server_nor_its_metrics_open_an_entry(prepared: Prepared, tmp_path: Path) -> None:
    world = prepared.world(tmp_path, log_format="json")
    spoil(world)
    child = crash_points.begin("", world.settings(), tmp_path / "armed", tmp_path / "server.log")
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as world._http:
            await eventually(lambda: ready(world), 20)
            await live_with_it(prepared, world)
            metrics = (await world.send("GET", "/metrics")).body.decode()
    finally:
        child.terminate()
        assert await asyncio.to_thread(crash_points.end, child) == 0
    said = (tmp_path / "server.log").read_text()
    assert "signing_stopped" in said
    assert f"entry {SIZE} commits to something else than what is stored" in said
    assert not [it for it in secrets_of(world) if it in said or it in metrics], "a secret was told"


async def ready(world: World) -> bool:
    try:
        return (await world.send("GET", "/readyz")).status == 200
    except aiohttp.ClientError:
        return False


async def test_of_two_servers_on_one_store_the_earlier_leaves_and_signs_nothing(
    prepared: Prepared, tmp_path: Path
) -> None:
    early = prepared.world(tmp_path / "early", log_format="json")
    (tmp_path / "late/data").mkdir(parents=True)
    late = World(tmp_path / "late", {"base_url": early.origin})
    for name in ("log.key", "log.head", "home.key", "master.key"):
        shutil.copy(tmp_path / "early/data" / name, tmp_path / "late/data" / name)
    (tmp_path / "late/data/comity.db").symlink_to(tmp_path / "early/data/comity.db")
    shutil.copy(tmp_path / "early/clock", tmp_path / "late/clock")
    late.port = free_port()
    child = crash_points.begin("", early.settings(), tmp_path / "armed", tmp_path / "early/server.log")
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as early._http:
            await eventually(lambda: ready(early), 20)
            pair = prepared.people(early)
            await pair.go("first", "remember", key="name")
            seen = await (await Reader.of(early)).checkpoint()
            await late.start()
            try:
                act = pair.compose("second", "unmute")
                assert (await early.act(act)).code == "overloaded"
                assert await asyncio.to_thread(crash_points.end, child) == 1
                reader = Reader(late, "/log", prepared.key)
                reply = await late.act(act)
                assert reply.status == 200
                signed, entries = await reader.whole()
                assert len(entries) == seen.size + 1
                await reader.holds(reply.json["receipt"], act.raw, signed)
                await reader.extends(seen, signed)
            finally:
                await late.close()
    finally:
        child.kill()
    said = (tmp_path / "early/server.log").read_text()
    assert "Error: another server writes this store: this one leaves" in said
    assert "Traceback" not in said
    file = HeadFile.open(tmp_path / "early/data/log.head", prepared.key)
    assert file.last is not None
    assert file.last.raw == seen.raw, "it signed after it had been overtaken"
    file.close()


# --- defects that must be noticed


async def test_a_server_that_signs_what_its_writer_remembers_is_noticed(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect = (
        "head = self._rereading.step(reading)",
        "head = Head(self.tail.size, self.tail.edge.root(), self.tail.at, self.tail.term)",
    )
    plant(monkeypatch, Sequencer, "_sign", defect)
    with pytest.raises(AssertionError, match="what nobody has read was signed"):
        await spoilt_and_alive(prepared, tmp_path)


def test_a_server_that_does_not_look_into_its_head_file_is_noticed(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, recovery, "_check_head_file", ("elif file.last.size > head.size:", "elif False:"))
    with pytest.raises(AssertionError):
        test_an_old_backup_is_refused_and_the_newer_store_is_taken_again(prepared, tmp_path / "one")
    # There is a second lock behind that one: the tree must begin with the one that was signed.
    plant(monkeypatch, opening, "begin", ("last = file.last.checkpoint", "last = Checkpoint(origin, 0, EMPTY_ROOT)"))
    world = prepared.world(tmp_path / "two")
    prepared.put_back_the_backup(world)
    asyncio.run(_starts(world))


async def test_a_log_that_has_begun_keeps_its_key_though_nothing_is_in_it(tmp_path: Path) -> None:
    world = World(tmp_path, {})
    await world.start()
    await world.close()
    (tmp_path / "data" / "log.key").unlink()
    with pytest.raises(RolledBack, match=r"log\.key is missing"):
        await world.start()
    assert not (tmp_path / "data" / "log.key").exists(), "a key was made up"
