"""The order of writing, and a power cut at every line of it: nothing that was said to anybody is taken back.

Each case dies in a process of its own, with one act in hand whose answer is lost. Then the folder is started twice:
once for people who send that act again, and once for people who send other ones instead.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from comity.crypto.keys import SigningKey
from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, open_event
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.notes import ED25519, NoteSigner
from comity.transparency.receipts import open_receipt
from comity_server.log.head_file import HeadFile
from support import crash_points
from support.go_tools import judge
from support.log_over_http import Reader
from support.world import Pair, World, a_world

# One process forks all the servers of a worker, and takes longer to start than they do.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("forked servers")]


class Case(NamedTuple):
    """What must be on the disk when the server died at a point: the act itself, and the checkpoint that covers it."""

    is_written: bool
    is_remembered: bool


CASES = {
    "before the commit": Case(False, False),
    "inside the transaction": Case(False, False),
    "after the commit": Case(True, False),
    "before it is read again": Case(True, False),
    "before it is signed": Case(True, False),
    "after it is signed": Case(True, False),
    "in the middle of the head file's slot": Case(True, False),
    "after the head file": Case(True, True),
    "after it is published": Case(True, True),
}


@dataclass
class Told:
    """What somebody was told before the crash: acts with their acceptances and receipts, and checkpoints."""

    acts: list[tuple[SignedAct, str, str]] = field(default_factory=list)
    seen: list[SignedCheckpoint] = field(default_factory=list)
    lost: list[SignedAct] = field(default_factory=list)


@dataclass
class Prepared:
    """A stopped server's folder with an open connection in it."""

    pair: Pair

    def world(self, folder: Path, source: Path) -> World:
        """A world of this server in another folder, with the data of `source`; not started."""
        shutil.copytree(source / "data", folder / "data", ignore=shutil.ignore_patterns("admin.sock"))
        world = World(folder, {})
        shutil.copy(self.pair.world.folder / "clock", folder / "clock")
        world.port, world.server = self.pair.world.port, self.pair.world.server
        return world

    def people(self, world: World, pair: Pair | None = None) -> Pair:
        """The two sides, in that world."""
        known = self.pair if pair is None else pair
        return Pair(world, known.agreement, dict(known.signers), known.state)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    async def prepare() -> Prepared:
        async with a_world(tmp_path_factory.mktemp("prepared")) as world:
            return Prepared(await world.shop_and_customer("care"))

    yield asyncio.run(prepare())


async def live_and_die(pair: Pair, told: Told, point: str) -> None:
    """A server takes what was lost before and two acts, and answers; then, with a message in hand, it dies."""
    world, armed = pair.world, pair.world.folder / "armed"
    child = crash_points.begin(point, world.settings(), armed, world.folder / "server.log")
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            world._http = http
            await _ready(world, child)
            reader = await Reader.of(world)
            while told.lost:
                await take(pair, told.lost.pop(), told)
            await take(pair, pair.compose("first", "message"), told)
            await take(pair, pair.compose("second", "remember", key="name"), told)
            told.seen.append(await reader.checkpoint())
            armed.touch()
            lost = pair.compose("first", "message")
            with pytest.raises(aiohttp.ClientError):
                await world.act(lost)
            told.lost.append(lost)
    finally:
        code = await asyncio.to_thread(crash_points.end, child)
    armed.unlink()
    assert code == crash_points.DIED, (world.folder / "server.log").read_text()


async def take(pair: Pair, act: SignedAct, told: Told) -> None:
    """Send an act; it must be accepted, and comes with a receipt."""
    reply = await pair.world.act(act)
    assert reply.status == 200, reply
    pair.take(reply.json["event"], act)
    told.acts.append((act, reply.json["event"], reply.json["receipt"]))


async def _ready(world: World, child: BaseProcess) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await world.send("GET", "/readyz")).status == 200:
                    return
            except aiohttp.ClientError:
                assert child.is_alive(), (world.folder / "server.log").read_text()
            await asyncio.sleep(0.01)


def stored(folder: Path) -> tuple[list[int], list[str]]:
    """The numbers of all entries, and the acts that they are of, as they lie in the store."""
    with closing(sqlite3.connect(f"file:{folder / 'data' / 'comity.db'}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT idx, act FROM entries ORDER BY idx").fetchall()
        (size,) = store.execute("SELECT size FROM heads").fetchone()
    assert size == len(rows)
    return [row[0] for row in rows], [row[1] for row in rows]


def remembered(folder: Path, reader_key: NoteSigner) -> int:
    """The size of the largest whole checkpoint in the head file."""
    file = HeadFile.open(folder / "data" / "log.head", reader_key.verifier)
    try:
        assert file.last is not None
        return file.last.size
    finally:
        file.close()


async def check(pair: Pair, told: Told, reader: Reader) -> SignedCheckpoint:
    """Nothing that anybody was told is untrue, and the log has every entry once."""
    for act, event, receipt in told.acts:
        assert (await pair.world.act(act)).json["event"] == event, "an acknowledged act was lost"
        assert open_receipt(receipt, reader.key).index == accepted(pair, event).index
    signed, entries = await reader.whole()
    numbers, _ = stored(pair.world.folder)
    assert numbers == list(range(len(entries))), "a gap, or a place taken twice"
    for act, _, receipt in told.acts:
        await reader.holds(receipt, act.raw, signed)
    for seen in told.seen:
        await reader.extends(seen, signed)
    return signed


def accepted(pair: Pair, event: str) -> Accepted:
    opened = open_event(event, pair.world.server.directory.find_key).event
    assert isinstance(opened, Accepted)
    return opened


async def send_again(pair: Pair, told: Told, case: Case) -> None:
    """The same act: it is accepted once, where it was already or now."""
    (lost,) = told.lost
    before, acts = stored(pair.world.folder)
    reply = await pair.world.act(lost)
    assert reply.status == 200, reply
    index = accepted(pair, reply.json["event"]).index
    assert index == (acts.index(lost.id) if case.is_written else len(before))
    told.acts.append((lost, reply.json["event"], reply.json["receipt"]))
    _, acts = stored(pair.world.folder)
    assert acts[index : index + 2] == [lost.id, lost.id]
    assert acts.count(lost.id) == 2, "accepted twice"


async def send_others(pair: Pair, told: Told, case: Case) -> None:
    """Other acts: the lost one keeps its place in the chain where it was written, and never gets one where it was
    not."""
    (lost,) = told.lost
    other, no = pair.compose("first", "remember", key="visit"), pair.compose("second", "mute")
    reply = await pair.world.act(other)
    assert reply.code == ("seq_taken" if case.is_written else "")
    if reply.status == 200:
        told.acts.append((other, reply.json["event"], reply.json["receipt"]))
        assert (await pair.world.act(lost)).code == "seq_taken"
    reply = await pair.world.act(no)
    assert reply.status == 200
    told.acts.append((no, reply.json["event"], reply.json["receipt"]))
    _, acts = stored(pair.world.folder)
    assert acts.count(lost.id) == (2 if case.is_written else 0)


def test_every_point_of_the_order_of_writing_is_in_the_table() -> None:
    assert list(crash_points.POINTS) == list(CASES)


@pytest.mark.parametrize("point", CASES)
async def test_a_server_that_dies_takes_nothing_back_and_accepts_nothing_twice(
    prepared: Prepared, tmp_path: Path, point: str
) -> None:
    case, told = CASES[point], Told()
    pair = prepared.people(prepared.world(tmp_path / "died", prepared.pair.world.folder))
    await live_and_die(pair, told, point)
    (lost,) = told.lost
    written = stored(tmp_path / "died")[1].count(lost.id)
    assert written == (2 if case.is_written else 0), "it did not die where it should"
    key = NoteSigner(
        f"localhost:{pair.world.port}/log", ED25519, SigningKey((tmp_path / "died/data/log.key").read_bytes())
    )
    larger = 2 if case.is_remembered else 0
    for then in (send_again, send_others):
        world = prepared.world(tmp_path / then.__name__, tmp_path / "died")
        assert remembered(world.folder, key) == told.seen[-1].size + larger
        await world.start()
        try:
            after, said = prepared.people(world, pair), Told(list(told.acts), list(told.seen), told.lost)
            reader = await Reader.of(world)
            assert (await reader.checkpoint()).size == told.seen[-1].size + written
            await then(after, said, case)
            await check(after, said, reader)
        finally:
            await world.close()


async def test_a_log_that_dies_at_every_point_in_turn_is_still_one_log_to_others(
    prepared: Prepared, tmp_path: Path
) -> None:
    told = Told()
    world = prepared.world(tmp_path / "died", prepared.pair.world.folder)
    pair = prepared.people(world)
    for point in CASES:
        await live_and_die(pair, told, point)
    world._http = None
    await world.start()
    try:
        await take(pair, told.lost.pop(), told)
        reader = await Reader.of(world)
        signed = await check(pair, told, reader)
        await reader.export(tmp_path / "log")
    finally:
        await world.close()
    vkey, new, old = (tmp_path / name for name in ("vkey", "new", "old"))
    vkey.write_text(reader.key.text)
    new.write_text(signed.raw)
    content, said = judge("tree", tmp_path / "log", vkey)
    assert content, said
    for seen in told.seen:
        old.write_text(seen.raw)
        content, said = judge("consistency", vkey, old, new, tmp_path / "log")
        assert content, said
