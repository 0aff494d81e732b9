"""The timer that lets waiting messages go: it outlives what it cannot do, and rests when there is nothing to do."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

import pytest

from comity_server.store.errors import StoreFailed
from comity_server.writer import release_scheduler
from support.world import HOUR, MINUTE, Pair, World, eventually, sqlite_of


@contextmanager
def connections_not_to_be_read(world: World) -> Iterator[None]:
    """Somebody has the table of connections under another name."""
    with closing(sqlite3.connect(world.folder / "data" / "comity.db", isolation_level=None)) as other:
        other.execute("ALTER TABLE connections RENAME TO put_aside")
        try:
            yield
        finally:
            other.execute("ALTER TABLE put_aside RENAME TO connections")


async def a_message_waits(world: World, milliseconds: int) -> Pair:
    """A shop's message to somebody who muted it for so long."""
    pair = await world.shop_and_customer("care")
    mute = await pair.go("second", "mute")
    await pair.go("second", "mute_end", mute=mute.id, until=(world.now() + milliseconds) // 1000)
    await pair.go("first", "message")
    return pair


async def test_a_message_comes_out_though_the_store_could_not_be_read_when_it_was_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_scheduler, "PAUSE", 0.2)
    pair = await a_message_waits(world, HOUR)
    store, due, failed = world.server.store, world.server.store.due_connections, list[float]()

    async def counted(now: int, most: int) -> list[str]:
        try:
            return await due(now, most)
        except StoreFailed:
            failed.append(asyncio.get_running_loop().time())
            raise

    async def failed_thrice() -> bool:
        return len(failed) >= 3

    monkeypatch.setattr(store, "due_connections", counted)
    with connections_not_to_be_read(world):
        world.later(HOUR + 1000)
        await eventually(failed_thrice)
    pauses = [later - earlier for earlier, later in pairwise(failed)]
    assert min(pauses) > 0.15, "it looks again after a pause, not at once"

    async def it_came() -> bool:
        return (await pair.kinds("second"))[-1] == "delivered"

    await eventually(it_came)


async def test_while_nothing_is_due_the_timer_asks_the_store_for_nothing(world: World) -> None:
    pair = await a_message_waits(world, HOUR)
    await pair.go("second", "unmute")
    other = await a_message_waits(world, MINUTE)
    world.later(MINUTE + 1000)

    async def it_came() -> bool:
        return (await other.kinds("second"))[-1] == "delivered"

    await eventually(it_came)
    asked: list[str] = []
    for reader in sqlite_of(world.server)._readers:
        await reader.run(lambda raw: raw.set_trace_callback(asked.append))
    await asyncio.sleep(0.3)
    assert len([sql for sql in asked if "wake_at" in sql]) <= 2, asked
