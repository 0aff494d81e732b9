"""What becomes of a webhook: tried again for days, given up with a reason, left alone, sent again (HOOK-8 to HOOK-14).

The sender is the real one with real sockets; only its clock is moved by hand.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comity.errors import Refused
from comity_server.webhooks.control_protocol import Attempt
from comity_server.webhooks.delivery_store import FILE, KEPT, MOST_ATTEMPTS, MOST_KEPT, DeliveryStore, New, Row
from comity_server.webhooks.endpoint import is_echo
from comity_server.webhooks.lanes import (
    AT_ALL,
    FAILURES,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    OF_ONE_BUSINESS,
    TO_ONE_ENDPOINT,
    TO_ONE_HOST,
    Goal,
    Lanes,
)
from comity_server.webhooks.retry import DAY, JITTER, WAITS, next_at
from support.business_world import Shop, a_shop
from support.webhook_world import HandClock, Hook, Mailroom, a_sender, set_up
from support.world import Pair, World, a_world


async def muted(pair: Pair, times: int = 1) -> None:
    """The customer mutes and unmutes: so many events for the shop."""
    for number in range(times):
        await pair.go("second", "remember", key=f"key_{number % 3}")


async def shop_and_customer(world: World) -> tuple[Shop, Pair]:
    shop = await a_shop(world)
    return shop, await shop.customer()


async def test_an_endpoint_that_is_down_is_tried_for_days_then_given_up_with_a_reason(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook(500) as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        await muted(mia)
        async with a_sender(shop, tmp_path) as room:
            began = room.clock.now()
            for number, wait in enumerate(WAITS, 1):
                await room.until(lambda number=number: len(_attempts(room, key)) == number)  # type: ignore[misc]
                (sent,) = room.sent(key)
                assert sent.state == "waiting" and sent.next_at is not None
                assert abs(sent.next_at - room.clock.now() - wait) <= 1
                assert sent.attempts[-1].error == "it answered 500" and sent.attempts[-1].status == 500
                assert room.state(key) == "active"
                # A moment before, nothing happens.
                room.clock.at = sent.next_at - 1
                room.sender.ring()
                await asyncio.sleep(0.02)
                assert len(hook.events) == number
                room.clock.at = sent.next_at
            await room.until(lambda: room.state(key) == "disabled")
            (sent,) = room.sent(key)
            assert (sent.state, len(sent.attempts), sent.next_at) == ("failed", 10, None)
            assert 3 * DAY <= room.clock.now() - began < 4 * DAY
            assert room.sender.endpoint(*key).row.reason == "nothing got through for three days"
        assert len({got.id for got in hook.events}) == 1
        assert len({got.headers["webhook-timestamp"] for got in hook.events}) == 10
        assert len({got.body for got in hook.events}) == 1


def _attempts(room: Any, key: Any) -> list[Attempt]:
    return [attempt for sent in room.sent(key) for attempt in sent.attempts]


async def test_an_endpoint_that_is_gone_gets_nothing_until_it_proves_itself_again_and_then_everything(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world, Hook(410) as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        async with a_sender(shop, tmp_path) as room:
            await muted(mia)
            room.sender.ring()
            await room.until(lambda: room.state(key) == "disabled")
            assert room.sender.endpoint(*key).row.reason == "it answered 410: it wants no more webhooks"
            await muted(mia, 2)
            room.sender.ring()
            room.clock.at += 30 * DAY
            await asyncio.sleep(0.05)
            assert len(hook.events) == 1
            hook.status, hook.echoes = 204, False
            with pytest.raises(Refused, match="not_owned"):
                await room.sender.verify(room.sender.endpoint(*key))
            assert room.state(key) == "disabled"
            hook.echoes = True
            await room.sender.verify(room.sender.endpoint(*key))
            await hook.gets(4)
            await room.until(lambda: [sent.state for sent in room.sent(key)] == ["delivered"] * 3)
        assert hook.events[0].id in {got.id for got in hook.events[1:]}
        assert room.state(key) == "active"


async def test_nothing_but_challenges_goes_where_nobody_has_answered_one(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook(echoes=False) as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        await muted(mia)
        async with a_sender(shop, tmp_path) as room:
            await hook.is_challenged(1)
            await room.until(lambda: room.sender.endpoint(*key).wake_at is not None)
            room.clock.at += 61_000
            await hook.is_challenged(2)
            room.clock.at += 7 * DAY
            room.sender.ring()
            await asyncio.sleep(0.05)
            assert hook.challenges == 2 and hook.events == []
            assert room.sender.endpoint(*key).row.reason == "it did not answer with the challenge"
            hook.echoes = True
            await room.sender.verify(room.sender.endpoint(*key))
            await hook.gets(1)
            # Elsewhere, it has to prove itself again.
            async with Hook(echoes=False) as other:
                await set_up(shop, other.url)
                room.sender.reload()
                await muted(mia)
                room.sender.ring()
                await other.is_challenged(1)
                assert room.state(key) == "unproven" and other.events == [] and len(hook.events) == 1
        words = {json.loads(got.body)["data"]["challenge"] for got in hook.received if got.type == "webhook.challenge"}
        assert len(words) == 3


def test_only_the_challenge_itself_is_an_answer_to_it() -> None:
    for answer in (b"q7Yd", b" q7Yd\n", b'{"challenge": "q7Yd"}'):
        assert is_echo(answer, "q7Yd")
    for answer in (b'{"challenge":"q7Yd","ok":1}', b"you said q7Yd", b'["q7Yd"]', b"", b"{", b"[" * 4000, b"\xff"):
        assert not is_echo(answer, "q7Yd")


async def test_challenges_are_few_wherever_they_go(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook(echoes=False) as hook:
        shop = await a_shop(world)
        key = await set_up(shop, hook.url)
        async with a_sender(shop, tmp_path) as room:
            await hook.is_challenged(1)
            endpoint = room.sender.endpoint(*key)
            for _ in range(29):
                with pytest.raises(Refused, match="not_owned"):
                    await room.sender.verify(endpoint)
            with pytest.raises(Refused, match="rate_limited"):
                await room.sender.verify(endpoint)
            assert hook.challenges == 30
            room.clock.at += 60_000
            with pytest.raises(Refused, match="not_owned"):
                await room.sender.verify(endpoint)


async def test_an_endpoint_gets_the_types_that_it_asked_for_from_its_making_on(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as hook:
        shop, mia = await shop_and_customer(world)
        await muted(mia)
        key = await set_up(shop, hook.url, types="connection.muted connection.revoked")
        await mia.go("second", "mute")
        await muted(mia)
        async with a_sender(shop, tmp_path) as room:
            await hook.gets(1)
            await mia.go("second", "revoke")
            room.sender.ring()
            await hook.gets(2)
            await room.until(lambda: len(room.sent(key)) == 2)
    assert [got.type for got in hook.events] == ["connection.muted", "connection.revoked"]


async def test_events_during_a_pause_come_later(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        async with a_sender(shop, tmp_path) as room:
            await room.active(key)
            await set_up(shop, hook.url, enabled=0)
            room.sender.reload()
            await muted(mia, 2)
            room.sender.ring()
            await asyncio.sleep(0.05)
            assert hook.events == []
            await set_up(shop, hook.url, enabled=1)
            room.sender.reload()
            await hook.gets(2)


async def test_resending_and_recovering_bring_the_same_ids_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        await muted(mia, 3)
        world.later(60_000)
        since = world.now()
        await muted(mia, 2)
        async with a_sender(shop, tmp_path) as room:
            endpoint = room.sender.endpoint(*key)
            await hook.gets(5)
            first = [got.id for got in hook.events]
            await room.until(lambda: all(sent.state == "delivered" for sent in room.sent(key)))
            room.sender.resend(endpoint, first[0])
            await hook.gets(6)
            assert hook.events[5].id == first[0] and hook.events[5].body == hook.events[0].body
            with pytest.raises(Refused, match="not_found"):
                room.sender.resend(endpoint, "msg_none")
            await room.until(lambda: all(sent.state == "delivered" for sent in room.sent(key)))
            room.sender.recover(endpoint, since)
            await hook.gets(8)
            assert {got.id for got in hook.events[6:]} == set(first[3:])
            await room.until(lambda: all(sent.state == "delivered" for sent in room.sent(key)))
            room.sender.recover(endpoint, 0)
            await hook.gets(13)
            assert {got.id for got in hook.events[8:]} == set(first)
            await room.until(lambda: len(_attempts(room, key)) == 13)
            assert len(room.sent(key)) == 5


async def test_where_the_records_are_lost_everything_comes_again_under_the_same_ids(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as hook:
        shop, mia = await shop_and_customer(world)
        await set_up(shop, hook.url)
        await muted(mia, 2)
        async with a_sender(shop, tmp_path):
            await hook.gets(2)
        (tmp_path / FILE).write_bytes(b"not a database, and long enough to be looked at" * 100)
        for more in ("-wal", "-shm"):
            (tmp_path / (FILE + more)).unlink(missing_ok=True)
        async with a_sender(shop, tmp_path):
            await hook.gets(4)
        assert hook.challenges == 2
        assert {got.id for got in hook.events[:2]} == {got.id for got in hook.events[2:]}
        assert len(list(tmp_path.glob(FILE + ".unreadable-*"))) == 1


class House(Hook):
    """One host with several endpoints, by their queries: those at `?dead…` hang with every event until they are let
    go."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        self.under_way, self.most, self.well = 0, 0, 0
        self.tried: set[str] = set()

    async def _take(self, request: web.Request) -> web.Response:
        if b"webhook.challenge" in await request.read():
            return await super()._take(request)
        if request.query_string == "well":
            self.well += 1
            return await super()._take(request)
        self.tried.add(request.query_string)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.release.wait()
        finally:
            self.under_way -= 1
        return await super()._take(request)


@asynccontextmanager
async def a_house(folder: Path, dead: int, **how: Any) -> AsyncIterator[tuple[House, Pair, Mailroom]]:
    """A shop with so many endpoints that hang, and one behind them that is well."""
    async with a_world(folder) as world, House() as house:
        shop, mia = await shop_and_customer(world)
        names = [*(f"dead{number}" for number in range(dead)), "well"]
        keys = [await set_up(shop, f"{house.url}?{name}", name) for name in names]
        async with a_sender(shop, folder, **how) as room:
            for key in keys:
                await room.active(key)
            yield house, mia, room
            house.release.set()


async def told(mia: Pair, room: Mailroom, times: int) -> None:
    """So many events more."""
    await muted(mia, times)
    room.sender.ring()


async def test_an_endpoint_that_hangs_keeps_no_other_of_its_host_waiting(tmp_path: Path) -> None:
    async with a_house(tmp_path, dead=3) as (house, mia, room):
        await told(mia, room, 12)
        await room.until(lambda: house.well == 12)
        assert house.under_way == house.most == TO_ONE_HOST - 1
        house.release.set()
        await room.until(lambda: len(house.events) == 4 * 12)


async def test_a_dozen_that_hang_are_soon_left_alone_and_tried_in_turn(tmp_path: Path) -> None:
    async with a_house(tmp_path, dead=12, seconds=0.1) as (house, mia, room):
        await told(mia, room, 12)
        await room.until(lambda: house.well == 12)
        await room.until(lambda: all(_is_left_alone(room, f"dead{number}") for number in range(12)))
        house.tried.clear()
        room.clock.at += FIRST_PAUSE
        await told(mia, room, 3)
        await room.until(lambda: len(house.tried) == 12 and house.well == 15)


def _is_left_alone(room: Mailroom, id_: str) -> bool:
    return room.sender._lanes.paused_until(("shop", id_)) > room.clock.now()


async def test_an_endpoint_in_trouble_is_left_alone_and_tried_once_when_the_pause_is_over(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook(503) as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        await muted(mia, 12)
        async with a_sender(shop, tmp_path) as room:
            await room.until(lambda: len(_attempts(room, key)) >= FAILURES)
            # Those that were under way when it was decided come in yet.
            await room.until(lambda: not room.sender.endpoint(*key).under_way)
            so_far = len(hook.events)
            assert FAILURES <= so_far < FAILURES + TO_ONE_ENDPOINT
            room.clock.at += FIRST_PAUSE - 1
            await asyncio.sleep(0.05)
            assert len(hook.events) == so_far
            room.clock.at += 1
            await hook.gets(so_far + 1)
            await room.until(lambda: not room.sender.endpoint(*key).under_way)
            assert len(hook.events) == so_far + 1
            hook.status = 204
            room.clock.at += 2 * FIRST_PAUSE
            await room.until(lambda: sum(sent.state == "delivered" for sent in room.sent(key)) == 12)


def test_the_pause_of_an_endpoint_grows_and_is_its_own_alone() -> None:
    lanes, now = Lanes(), 0
    goal, beside = (Goal(("shop", id_), "hooks.shop.example") for id_ in ("wh_1", "wh_2"))
    for _ in range(FAILURES):
        assert lanes.take(goal, now)
        lanes.give(goal, now, is_well=False)
    pauses = []
    for _ in range(8):
        until = lanes.paused_until(goal.endpoint)
        pauses.append(until - now)
        assert not lanes.take(goal, until - 1) and lanes.take(beside, until - 1)
        lanes.give(beside, until - 1, is_well=True)
        now = until
        assert lanes.take(goal, now) and not lanes.take(goal, now)
        lanes.give(goal, now, is_well=False)
    assert pauses == [min(FIRST_PAUSE << step, LONGEST_PAUSE) for step in range(8)]
    now = lanes.paused_until(goal.endpoint)
    assert lanes.take(goal, now)
    lanes.give(goal, now, is_well=True)
    assert all(lanes.take(goal, now) for _ in range(TO_ONE_ENDPOINT)) and not lanes.take(goal, now)
    for _ in range(TO_ONE_ENDPOINT):
        lanes.give(goal, now, is_well=None)
    assert not lanes._pools and not lanes._trouble, "what is over leaves nothing behind"


def taken(lanes: Lanes, goals: Iterable[Goal]) -> int:
    """How many lanes there are for these, asking again and again."""
    return sum(lanes.take(goal, 0) for goal in goals for _ in range(100))


def test_no_endpoint_host_or_business_can_take_all_lanes() -> None:
    lanes = Lanes()
    at_one_host = [Goal(("greedy", f"wh_{number}"), "h.example") for number in range(20)]
    assert taken(lanes, at_one_host) == TO_ONE_HOST
    apart = [Goal(("greedy", f"wh_{number}"), f"h{number}.example") for number in range(20)]
    assert taken(lanes, apart) + TO_ONE_HOST == OF_ONE_BUSINESS
    others = [Goal((f"shop-{number}", f"wh_{it}"), f"{it}.example") for number in range(6) for it in range(20)]
    assert AT_ALL // 2 < taken(lanes, others) + OF_ONE_BUSINESS < AT_ALL
    assert lanes.take(Goal(("modest", "wh_1"), "h.example"), 0)


def test_endpoints_in_trouble_leave_half_of_the_lanes_to_those_that_are_well() -> None:
    lanes = Lanes()
    hanging = [Goal(("shop", f"wh_{number}"), "h.example") for number in range(19)]
    assert taken(lanes, hanging) == TO_ONE_HOST
    well = Goal(("shop", "wh_well"), "h.example")
    assert not lanes.take(well, 0), "all hang at the same moment: one attempt's time"
    for goal in hanging:
        while goal in lanes._taken:
            lanes.give(goal, 15_000, is_well=False)
        lanes._fail(goal.endpoint, 15_000)
    assert taken(lanes, hanging) == TO_ONE_HOST // 2
    assert lanes.take(well, 15_000) and lanes.take(well, 15_000)


def test_waits_vary_by_chance_and_grow_when_the_receiver_asks() -> None:
    for made, wait in enumerate(WAITS, 1):
        assert next_at(made, 0, 0, lambda: 0.0) == int(wait * (1 - JITTER))
        assert next_at(made, 0, 0, lambda: 1.0) == pytest.approx(wait * (1 + JITTER), abs=1)
    assert next_at(1, 0, 3_600_000, lambda: 0.5) == 3_600_000
    assert next_at(1, 0, 9 * DAY, lambda: 0.5) == DAY
    assert next_at(10, 0, 0, lambda: 0.5) is None


@pytest.mark.parametrize("asked", ["7200", formatdate(1_900_007_200, usegmt=True)])
async def test_a_receiver_that_asks_for_time_gets_it(tmp_path: Path, asked: str) -> None:
    # A date counts from the receiver's own clock, which may be years off ours.
    headers = {"Retry-After": asked, "Date": formatdate(1_900_000_000, usegmt=True)}
    async with a_world(tmp_path) as world, Hook(429, headers=headers) as hook:
        shop, mia = await shop_and_customer(world)
        key = await set_up(shop, hook.url)
        await muted(mia)
        async with a_sender(shop, tmp_path) as room:
            await room.until(lambda: len(_attempts(room, key)) == 1)
            assert room.sent(key)[0].next_at == room.clock.now() + 7_200_000


def test_the_log_of_deliveries_stays_within_its_bounds(tmp_path: Path) -> None:
    records, key = DeliveryStore(tmp_path / FILE), ("shop", "wh_1")
    row, most = Row("https://a.example/", 0, "active", None, 0, None), MOST_KEPT + 3
    records.take(key, row, [New(f"msg_{n}", f"evt_{n}", "connection.muted", n) for n in range(most)], 0)
    for due in records.due_deliveries(key, 0, most - 1):
        records.record_attempt(key, row, due, Attempt(1000, 5, 204), "delivered", None)
    records.prune(key, KEPT + 1000)
    kept = records.deliveries(key, None, 5000)
    assert len(kept) == MOST_KEPT + 1 and kept[0].state == "waiting"
    records.prune(key, KEPT + 1006)
    assert [sent.state for sent in records.deliveries(key, None, 5000)] == ["waiting"]
    (due,) = records.due_deliveries(key, 0, 10)
    for number in range(MOST_ATTEMPTS + 5):
        records.record_attempt(key, row, due, Attempt(number, 5, error="it answered 500"), "waiting", 0)
    (sent,) = records.deliveries(key, None, 10)
    assert [attempt.at for attempt in sent.attempts] == list(range(5, MOST_ATTEMPTS + 5))
    records.forget(key)
    assert records.endpoints() == {} and records.deliveries(key, None, 10) == []
    records.close()


async def test_a_backlog_is_taken_bit_by_bit_and_all_of_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, Hook() as hook:
        shop, mia = await shop_and_customer(world)
        await set_up(shop, hook.url)
        await world.batch(*mia.row_of("second", 230))
        async with a_sender(shop, tmp_path, HandClock(world.now())):
            await hook.gets(230)
    assert len({got.id for got in hook.events}) == len(hook.events) == 230
