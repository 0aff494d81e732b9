"""What a server does when it does not know whether something was written, and when its log cannot be signed: whoever
says no is heard, told the truth, and kept waiting by nothing."""

import asyncio
import errno
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from comity.crypto.keys import SigningKey
from comity.errors import Refused
from comity.http_api import ACTS
from comity_server.errors import NotPossible
from comity_server.log import sequencer
from comity_server.log.commit_check import Rereading
from comity_server.log.head_file import SLOT
from comity_server.store import contract, sqlite
from comity_server.store.errors import Overtaken
from comity_server.store.rows import Head
from support.log_over_http import Reader
from support.world import World, a_world, eventually, head_file_not_to_be_written

INVALID = 1
"""What a status list says of a grant that is gone."""


def lose_the_next_answer(monkeypatch: pytest.MonkeyPatch, *, is_written: bool) -> None:
    """The next commit takes effect, or not, and the store says neither."""
    write = sqlite._commit

    def fail(*arguments: Any) -> None:
        monkeypatch.setattr(sqlite, "_commit", write)
        if is_written:
            write(*arguments)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite, "_commit", fail)


# --- written, and nobody was told


async def says_no_in_doubt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(folder) as world:
        pair = await world.shop_and_customer()
        grant = await pair.grant("second", "care")
        assert await pair.status(grant) != INVALID
        cursor = (await pair.news("first"))["cursor"]
        waiting = asyncio.create_task(pair.news("first", cursor, wait=20))

        async def somebody_waits() -> bool:
            return len(world.server.broker) == 1

        await eventually(somebody_waits)
        revoke = pair.compose("second", "revoke")
        lose_the_next_answer(monkeypatch, is_written=True)
        assert (await world.act(revoke)).code == "store_failing"
        reply = await world.act(revoke)
        assert reply.status == 200
        assert await pair.status(grant) == INVALID, "whoever asks is told that it is allowed, after the no was answered"
        (item,) = (await asyncio.wait_for(waiting, 20))["items"]
        assert item["event"] == reply.json["event"]
        await signs_again(world)
        found = await world.read(pair.signers["second"], f"{ACTS}/{revoke.id}")
        await (await Reader.of(world)).holds(found.json["receipt"], revoke.raw)


async def test_a_no_of_which_nobody_knew_whether_it_was_written_is_in_force_when_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await says_no_in_doubt(tmp_path, monkeypatch)


async def publishes_in_doubt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(folder) as world:
        strangers = await world.connect(world.person(), world.person())
        key = SigningKey(b"n" * 32).public.did
        lose_the_next_answer(monkeypatch, is_written=True)
        with pytest.raises(Refused, match="store_failing"):
            await world.server.add_business_key("shop", key)
        for number in range(3):
            again = asyncio.create_task(world.server.add_business_key("shop", key))
            act = strangers.compose("first", "remember", key=f"key_{number}")
            reply = await world.act(act)
            assert reply.status == 200, "it was taken along by what it has nothing to do with"
            strangers.take(reply.json["event"], act)
            with pytest.raises(NotPossible, match="that key is published already"):
                await again
        assert (await world.send("GET", "/b/shop/did.json")).status == 200
        (item,) = (await world.send("GET", "/b/shop/keys")).json["keys"]
        await (await Reader.of(world)).holds(item["receipt"], item["statement"].encode())


async def test_a_key_of_which_nobody_knew_whether_it_was_written_is_published_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publishes_in_doubt(tmp_path, monkeypatch)


# --- beside a damaged store


def cut_the_growing_tile(world: World) -> None:
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        cut = "UPDATE tiles SET hashes = substr(hashes, 1, 32) WHERE level = 0"
        assert store.execute(cut).rowcount == 1
        store.commit()


async def doubts_a_damaged_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(folder) as world:
        pairs = [await world.connect(world.person(), world.person()) for _ in range(4)]
        for pair in pairs:
            await pair.go("first", "remember", key="name")
        for is_written in (False, True):
            doubted, other = pairs.pop(), pairs.pop()
            mute = doubted.compose("second", "mute")
            lose_the_next_answer(monkeypatch, is_written=is_written)
            assert (await world.act(mute)).code == "store_failing"
            cut_the_growing_tile(world)
            await other.go("second", "revoke")
            assert (await world.act(mute)).status == 200
            assert await other.refused("first", "message") == "connection_ended"
        # What was signed meanwhile, if anything was, is of what the writer has and the store shows.
        log, reader = world.server.logs.active, await Reader.of(world)
        signed = await reader.checkpoint()
        assert (signed.size == log.tail.size) == (log.halted is None)
        if log.halted is None:
            await reader.whole()


async def test_a_no_gets_through_when_a_commit_is_in_doubt_and_the_store_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubts_a_damaged_store(tmp_path, monkeypatch)


# --- a head file that cannot be written


async def says_no_while_nothing_is_signed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "RECEIPT_WITHIN", 3600.0)
    async with a_world(folder, max_requests=8) as world:
        pairs = [await world.connect(world.person(), world.person()) for _ in range(14)]
        first, rest = pairs[0], pairs[1:]
        with head_file_not_to_be_written(world):
            await first.go("second", "revoke")
            asked = []
            for pair in rest:
                asked.append(asyncio.create_task(world.act(pair.compose("second", "revoke"))))
                await asyncio.sleep(0.01)
            replies = await asyncio.gather(*asked)
        codes = [reply.code for reply in replies]
        assert codes == [""] * len(rest), "those who wait for a receipt took the room of others"
        assert not [reply for reply in replies if "receipt" in reply.json]
        assert first.receipts == {}
        # Nobody does anything but to let the file be written again.
        await signs_again(world)
        other = await world.connect(world.person(), world.person())
        await other.go("first", "remember", key="name")
        assert len(other.receipts) == 1


async def signs_again(world: World) -> None:
    """All that was committed is signed, soon."""

    async def is_signed() -> bool:
        return (await reader.checkpoint()).size == world.server.logs.active.tail.size

    reader = await Reader.of(world)
    await eventually(is_signed)
    await reader.whole()


async def test_many_say_no_while_nothing_can_be_signed_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await says_no_while_nothing_is_signed(tmp_path, monkeypatch)


async def has_no_room_for_what_must_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "SYNC_EVERY", 0.05)
    monkeypatch.setattr(sequencer, "PAUSE", 0.1)
    write, failed = os.pwrite, asyncio.Event()

    def is_full(file: int, data: bytes, offset: int) -> int:
        if offset < 2 * SLOT:
            return write(file, data, offset)
        loop.call_soon_threadsafe(failed.set)
        raise OSError(errno.ENOSPC, "No space left on device")

    loop = asyncio.get_running_loop()
    async with a_world(folder) as world:
        pair = await world.connect(world.person(), world.person())
        # What was signed at the start is made to last first.
        await asyncio.sleep(0.5)
        monkeypatch.setattr(os, "pwrite", is_full)
        await pair.go("first", "remember", key="name")
        await asyncio.wait_for(failed.wait(), 20)
        before = world.server.logs.active.published
        assert before.size == 2
        mute = await pair.go("second", "mute")
        assert world.server.logs.active.published is before, "it signs on, and a power cut would take what it signed"
        assert mute.id not in pair.receipts
        monkeypatch.setattr(os, "pwrite", write)
        await signs_again(world)
        assert world.server.logs.active.halted is None


async def test_a_disk_that_was_full_for_a_while_does_not_end_the_signing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await has_no_room_for_what_must_last(tmp_path, monkeypatch)


async def test_only_the_first_one_waits_for_a_signature_that_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "RECEIPT_WITHIN", 0.6)
    async with a_world(tmp_path) as world:
        await goes_on_without_signatures(world, monkeypatch)


async def goes_on_without_signatures(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = await world.shop_and_customer("care")
    before = world.server.logs.active.published.size
    goes_on, step = threading.Event(), Rereading.step

    def hang(self: Rereading, reading: contract.Reading) -> Head:
        goes_on.wait(20)
        return step(self, reading)

    monkeypatch.setattr(Rereading, "step", hang)
    try:
        await pair.go("second", "mute")
        # Those behind it wait for nothing: they would for an hour.
        monkeypatch.setattr(sequencer, "RECEIPT_WITHIN", 3600.0)
        for kind, fields in (("remember", {"key": "name"}), ("revoke", {})):
            await pair.go("second", kind, **fields)
        assert world.server.logs.active.published.size == before
    finally:
        goes_on.set()

    async def is_signed() -> bool:
        return world.server.logs.active.published.size == before + 3

    await eventually(is_signed)


def somebody_else_writes(monkeypatch: pytest.MonkeyPatch, world: World, sql: str) -> None:
    """Right behind each commit another process does this to the store."""
    write = sqlite._commit

    def and_then(*arguments: Any) -> None:
        write(*arguments)
        with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store, store:
            store.execute(sql)

    monkeypatch.setattr(sqlite, "_commit", and_then)


@pytest.mark.parametrize(
    ("done", "why"),
    [
        ("UPDATE heads SET root = zeroblob(32)", "another root"),
        ("UPDATE heads SET term = term + 1", "another server's"),
    ],
)
async def test_a_head_that_is_not_of_this_server_s_own_entries_is_never_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: str, why: str
) -> None:
    """LOG-12: neither a root that the entries do not make, nor a tree that another server has taken over."""
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer()
        before = await (await Reader.of(world)).checkpoint()
        somebody_else_writes(monkeypatch, world, done)
        reply = await world.act(pair.compose("second", "revoke"))
        assert reply.status == 200 and "receipt" not in reply.json, "the no counts, and nothing is signed for it"
        assert (await (await Reader.of(world)).checkpoint()).raw == before.raw
        assert why in (world.server.logs.active.halted or "")
        monkeypatch.undo()


async def test_a_server_whose_log_was_moved_on_by_another_writes_nothing(tmp_path: Path) -> None:
    """LOG-11: under its own term too, as where the store was put back under it."""
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer()
        with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store, store:
            store.execute("UPDATE heads SET size = size - 1")
        assert (await world.act(pair.compose("second", "mute"))).code == "overloaded"
        with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store, store:
            assert store.execute("SELECT COUNT(*) FROM acts").fetchone() == (0,)


async def test_of_two_servers_that_begin_at_one_moment_one_leaves(tmp_path: Path) -> None:
    """LOG-11: each has read that the term is free."""
    store = await sqlite.SqliteStore.open(tmp_path / "comity.db")
    await store.begin_term("example.org/log", b"r" * 32)

    def begins_too(statement: str) -> None:
        if statement.startswith("UPDATE heads SET term"):
            with closing(sqlite3.connect(tmp_path / "comity.db", isolation_level=None)) as other:
                other.execute("UPDATE heads SET term = term + 1")

    await store._writer.run(lambda raw: raw.set_trace_callback(begins_too))
    with pytest.raises(Overtaken):
        await store.begin_term("example.org/log", b"r" * 32)
    await store._writer.run(lambda raw: raw.set_trace_callback(None))
    head = await store.head("example.org/log")
    assert head is not None and head.term == 2, "the other one has it"
    await store.close()


async def test_an_entry_that_comes_marked_as_erased_is_never_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text would not be hashed again: whoever writes the store could have anything signed."""
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer()
        last = "UPDATE entries SET erased = 1 WHERE idx = (SELECT MAX(idx) FROM entries)"
        somebody_else_writes(monkeypatch, world, last)
        reply = await world.act(pair.compose("second", "revoke"))
        assert reply.status == 200 and "receipt" not in reply.json
