"""An endpoint that moved or is gone: what its former URL answers says nothing of it any more (HOOK-8, HOOK-12)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comity_server.webhooks.lanes import FAILURES, FIRST_PAUSE
from comity_tools.demo.webhook_receiver import Received
from support.business_world import Shop, a_shop
from support.webhook_world import Hook, Mailroom, a_sender, set_up
from support.world import Pair, World, a_world


class SlowHook(Hook):
    """An endpoint whose answers wait until they are let go."""

    def __init__(self, status: int = 204) -> None:
        super().__init__(status)
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def answer(self, got: Received) -> web.Response:
        self.asked.set()
        await self.let_go.wait()
        return await super().answer(got)


async def shop_and_customer(world: World) -> tuple[Shop, Pair]:
    shop = await a_shop(world)
    return shop, await shop.customer()


async def something_happens(pair: Pair, room: Mailroom | None = None) -> None:
    await pair.go("second", "remember", key="tea")
    if room is not None:
        room.sender.ring()


async def moved(shop: Shop, room: Mailroom, url: str) -> None:
    """The business gives the endpoint another URL."""
    await set_up(shop, url)
    room.sender.reload()


async def deleted(shop: Shop, id_: str) -> None:
    """The business deletes an endpoint."""

    async def decide(group: Any) -> None:
        group.batch.end_webhook.append({"name": shop.name, "id": id_})

    await shop.world.server.writer.command(decide)


async def test_an_answer_to_the_challenge_at_the_former_url_proves_nothing_for_the_new_one(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, SlowHook() as former, Hook(echoes=False) as stranger:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, former.url)
        await something_happens(mia)
        async with a_sender(shop, tmp_path) as room:
            await asyncio.wait_for(former.asked.wait(), 20)
            await moved(shop, room, stranger.url)
            former.let_go.set()
            await stranger.is_challenged(1)
            await room.until(lambda: not room.sender.endpoint(*key).challenging.locked())
            assert room.state(key) == "unproven" and stranger.events == []


@pytest.mark.parametrize("late", [204, 410])
async def test_a_late_answer_of_the_former_url_ends_nothing_at_the_new_one(tmp_path: Path, late: int) -> None:
    async with a_world(tmp_path) as world, SlowHook(late) as former, Hook() as new:
        former.let_go.set()
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, former.url)
        async with a_sender(shop, tmp_path) as room:
            await room.active(key)
            former.asked.clear()
            former.let_go.clear()
            await something_happens(mia, room)
            await asyncio.wait_for(former.asked.wait(), 20)
            await moved(shop, room, new.url)
            await room.active(key)
            former.let_go.set()
            await new.gets(1)
            await room.until(lambda: [sent.state for sent in room.sent(key)] == ["delivered"])
            assert room.state(key) == "active" and new.events[0].id == former.events[0].id
            (sent,) = room.sent(key)
            assert [attempt.status for attempt in sent.attempts] == [204], "of the new URL alone"


async def test_the_new_url_gets_what_happens_from_the_move_on_and_nothing_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as former, Hook() as new:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, former.url)
        async with a_sender(shop, tmp_path) as room:
            await room.active(key)
            await something_happens(mia, room)
            await former.gets(1)
            await room.until(lambda: [sent.state for sent in room.sent(key)] == ["delivered"])
            await moved(shop, room, new.url)
            await room.active(key)
            await something_happens(mia, room)
            await new.gets(1)
            await room.until(lambda: [sent.state for sent in room.sent(key)] == ["delivered"] * 2)
            assert [got.id for got in new.events] == [room.sent(key)[0].id] != [former.events[0].id]


async def test_of_an_endpoint_that_was_deleted_nothing_is_kept(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        async with a_sender(shop, tmp_path) as room:
            await something_happens(mia, room)
            await hook.gets(1)
            await room.until(lambda: [sent.state for sent in room.sent(key)] == ["delivered"])
            await deleted(shop, "wh_1")
            room.sender.reload()
            assert room.sent(key) == [] and room.sender.records.endpoints() == {}
            await something_happens(mia, room)
            await asyncio.sleep(0.05)
            assert len(hook.events) == 1 and room.sender.endpoints("shop") == []


async def test_an_endpoint_is_tried_on_after_a_trial_that_taught_nothing(tmp_path: Path) -> None:
    """What was to be sent in the trial was erased meanwhile: nobody was asked, so nothing is known of the endpoint."""
    async with a_world(tmp_path) as world, Hook(503) as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        for _ in range(FAILURES + 1):
            await something_happens(mia)
        async with a_sender(shop, tmp_path) as room:
            await room.until(lambda: sum(len(sent.attempts) for sent in room.sent(key)) >= FAILURES)
            await room.until(lambda: not room.sender.endpoint(*key).under_way)
            rows = await world.server.store.news(shop.did, 0, 100)
            await world.server.store.prunes.prune_news([(shop.did, rows[-2].n)])
            # It is not one of those that the sender still has in memory.
            room.sender._events._known.clear()
            hook.status, so_far = 204, len(hook.events)
            room.clock.at += 2 * FIRST_PAUSE
            await hook.gets(so_far + 1)
            await room.until(lambda: room.sent(key)[0].state == "delivered")
