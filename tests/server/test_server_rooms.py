"""Nobody's use of the server refuses another: requests, bodies, batches, waits, reads and the queue (HTTP-15, HTTP-22).

Two people at two addresses, which the proxy of these tests names.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from comity.http_api import ACTS, INBOX, JSON_LINES, JWT
from comity_server.webhooks.worker import MOST_ASKED
from support.behind_proxy import GREEDY, OTHER, act, behind_a_proxy, read, send
from support.business_world import Shop, a_shop
from support.webhook_world import Hook
from support.world import HOUR, MINUTE, Reply, World, a_world, eventually


@asynccontextmanager
async def half_sent(world: World, path: str, kind: str, length: int, count: int) -> AsyncIterator[list[Any]]:
    """So many requests of the greedy one whose bodies do not come."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {GREEDY}\r\nContent-Type: {kind}\r\n"
    slow = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(count)]
    for _, writer in slow:
        writer.write(f"{head}Content-Length: {length}\r\n\r\nabc".encode())

    async def have_come() -> bool:
        return world.server.capacity.arriving.taken == 3 * count

    await eventually(have_come)
    try:
        yield slow
    finally:
        for _, writer in slow:
            writer.close()


@contextmanager
def nothing_is_committed(world: World) -> Iterator[None]:
    """Somebody else holds the store's file: whoever acts waits."""
    with closing(sqlite3.connect(world.folder / "data" / "comity.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_requests_whose_bodies_do_not_come_are_in_nobodys_way(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, max_requests=8, body_timeout=1) as world:
        async with half_sent(world, "/v1/offers", JWT, 9, 40) as slow:
            assert world.server.capacity.requests.taken == 0
            assert (await send(world, GREEDY, "GET", "/healthz")).status == 200
            for reader, _ in slow:
                assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        assert world.server.capacity.arriving.taken == 0


async def test_batches_that_are_sent_half_refuse_no_batch(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as world, half_sent(world, ACTS, JSON_LINES, 8_000_000, 40):
        for address in (GREEDY, OTHER):
            assert (await send(world, address, "POST", ACTS, b"junk\n", JSON_LINES)).status == 200


async def test_a_client_that_sends_more_than_there_is_room_for_is_refused_alone(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as world:
        world.server.capacity.arriving.size = 10_000
        async with half_sent(world, ACTS, JSON_LINES, 60_000, 1) as ((reader, writer),):
            writer.write(b"x" * 20_000)
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        assert (await send(world, OTHER, "POST", ACTS, b"junk\n", JSON_LINES)).status == 200
        assert world.server.capacity.arriving.taken == 0


async def test_an_address_that_fills_its_share_of_the_work_keeps_out_itself_alone_and_no_no(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, max_requests=16) as world:
        pairs = [await world.shop_and_customer() for _ in range(10)]
        with nothing_is_committed(world):
            busy = [asyncio.create_task(act(world, GREEDY, pair, "remember", key="a")) for pair in pairs[:8]]

            async def all_wait() -> bool:
                return world.server.writer.weight == 8

            await eventually(all_wait)
            assert (await send(world, GREEDY, "GET", "/.well-known/comity")).code == "overloaded"
            assert (await send(world, OTHER, "GET", "/.well-known/comity")).status == 200
            no = asyncio.create_task(act(world, GREEDY, pairs[9], "revoke"))

            async def the_no_waits() -> bool:
                return world.server.writer.weight == 9

            await eventually(the_no_waits)
        assert [reply.status for reply in await asyncio.gather(*busy, no)] == [200] * 9
        assert (
            world.server.capacity.requests.taken == world.server.capacity.kept.taken == world.server.writer.weight == 0
        )


async def test_batches_of_one_address_leave_room_in_the_queue_for_the_acts_of_another(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, max_queue=64) as world:
        mia, noor = await world.shop_and_customer(), await world.shop_and_customer()
        lines = b"".join(it.raw.encode() + b"\n" for it in mia.row_of("second", 20))
        with nothing_is_committed(world):
            first = asyncio.create_task(send(world, GREEDY, "POST", ACTS, lines, JSON_LINES))

            async def is_in() -> bool:
                return world.server.writer.weight == 20

            await eventually(is_in)
            assert (await send(world, GREEDY, "POST", ACTS, lines, JSON_LINES)).code == "overloaded"
            other = asyncio.create_task(act(world, OTHER, noor, "remember", key="a"))

            async def is_in_too() -> bool:
                return world.server.writer.weight == 21

            await eventually(is_in_too)
        assert ((await first).status, (await other).status) == (200, 200)


async def test_a_customer_waits_for_news_however_many_waits_another_address_began(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, max_waiters=80) as world:
        mia, noor = world.person(), world.person()
        await world.read(mia, INBOX)
        waiting: list[asyncio.Task[Reply]] = []
        while not (waiting and waiting[-1].done()):
            waiting.append(asyncio.create_task(read(world, GREEDY, mia, f"{INBOX}?wait=20")))

            async def waits_or_not() -> bool:
                return waiting[-1].done() or len(world.server.broker) == len(waiting)

            await eventually(waits_or_not)
        assert waiting.pop().result().code == "overloaded" and 1 < len(waiting) < 10
        assert (await read(world, OTHER, noor, f"{INBOX}?wait=1")).status == 200
        assert world.server.capacity.requests.taken == 0, "who waits is not in hand"
        await world.stop()
        await asyncio.gather(*waiting)
        await world.start()


async def test_signed_reads_of_one_address_do_not_use_up_what_is_remembered_of_them(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as world:
        mia, noor = world.person(), world.person()
        room = world.server.request_auth.seen.room
        room.anybody.size = 20
        codes = [(await read(world, GREEDY, mia)).code for _ in range(6)]
        assert codes == [""] * 4 + ["overloaded"] * 2 and room.total == 4
        assert (await read(world, OTHER, noor)).status == 200
        world.later(3 * MINUTE)
        assert (await read(world, GREEDY, mia)).status == 200 and room.total == 1


def many_addresses() -> Iterator[str]:
    """Those of one who has a network."""
    return (f"2001:db8:{number:x}::1" for number in range(1 << 16))


async def test_made_up_keys_from_many_addresses_keep_nobody_from_reading_who_has_a_connection(tmp_path: Path) -> None:
    """HTTP-22: keys are made at will, and so are the addresses of a network."""
    async with behind_a_proxy(tmp_path) as world:
        pair, other = await world.shop_and_customer(), await world.shop_and_customer()
        addresses, room = many_addresses(), world.server.request_auth.seen.room
        room.anybody.size, room.parties.size = 12, 12
        while room.anybody.taken < 12:
            await read(world, next(addresses), world.person())
        assert (await read(world, next(addresses), world.person())).code == "overloaded"
        mia = pair.signers["second"]
        codes = [(await read(world, next(addresses), mia)).code for _ in range(4)]
        assert codes == [""] * 2 + ["overloaded"] * 2, "and nobody who has one keeps out another"
        assert (await read(world, next(addresses), other.signers["second"])).status == 200
        replayed = {**world.signature(other.signers["first"], INBOX), "X-Forwarded-For": next(addresses)}
        answers = [(await world.send("GET", INBOX, headers=replayed)).code for _ in range(2)]
        assert answers == ["", "signature_replayed"]


async def test_made_up_keys_that_wait_for_news_keep_nobody_waiting_who_has_a_connection(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, max_waiters=16) as world:
        pair, addresses, broker = await world.shop_and_customer(), many_addresses(), world.server.broker
        cursor = (await pair.news("second"))["cursor"]
        waiting: list[asyncio.Task[Reply]] = []
        while not (waiting and waiting[-1].done()):
            task = asyncio.create_task(read(world, next(addresses), world.person(), f"{INBOX}?wait=20"))
            waiting.append(task)

            async def waits_or_not(task: asyncio.Task[Reply] = task) -> bool:
                return task.done() or len(broker) == len(waiting)

            await eventually(waits_or_not)
        assert waiting.pop().result().code == "overloaded" and len(broker) == len(waiting) == 4
        path = f"{INBOX}?wait=20&cursor={cursor}"
        mine = asyncio.create_task(read(world, next(addresses), pair.signers["second"], path))

        async def mia_waits() -> bool:
            return len(broker) == 5

        await eventually(mia_waits)
        await pair.go("first", "revoke")
        assert (await mine).status == 200 and len((await mine).json["items"]) == 1
        await world.stop()
        await asyncio.gather(*waiting)
        await world.start()


async def test_an_engineer_who_tests_a_hanging_webhook_again_and_again_keeps_others_from_nothing(
    tmp_path: Path,
) -> None:
    release = asyncio.Event()

    class Hanging(Hook):
        async def answer(self, got: Any) -> Any:
            if got.type == "webhook.test":
                await release.wait()
            return await super().answer(got)

    async with a_world(tmp_path, max_requests=200, webhooks_to_loopback=True) as world, Hanging() as hook:
        shop, other = await a_shop(world), await a_shop(world, "other")
        place, well = await proved(shop, hook), await proved(other, hook)
        tests = [asyncio.create_task(shop.ask("POST", f"{place}/test")) for _ in range(40)]

        async def rest_waits() -> bool:
            return sum(task.done() for task in tests) == 40 - MOST_ASKED == 40 - world.server.capacity.asked.taken

        await eventually(rest_waits)
        assert {task.result().code for task in tests if task.done()} == {"overloaded", "rate_limited"}
        assert (await shop.get("/self"))["business"] == "shop"
        assert (await other.get(f"{well}/deliveries"))["items"] == []
        release.set()
        assert {task.status for task in await asyncio.gather(*tests)} == {200, 429, 503}
        assert world.server.capacity.asked.taken == world.server.capacity.requests.taken == 0


async def proved(shop: Shop, hook: Hook) -> str:
    """The place of an endpoint that has proved itself."""
    made = await shop.post("/webhooks", {"url": hook.url})
    await shop.post(f"/webhooks/{made['id']}/verify")
    return f"/webhooks/{made['id']}"


async def test_keys_of_a_business_share_what_it_has_and_an_ended_key_counts_as_its_address(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, max_waiters=100) as world:
        shop = await a_shop(world)
        second = await shop.key_of("auditor", expires_at=world.now() + HOUR)
        waiting = [asyncio.create_task(shop.ask("GET", "/notifications?order=oldest&wait=20")) for _ in range(12)]

        async def settled() -> bool:
            return len(world.server.broker) + sum(task.done() for task in waiting) == 12

        await eventually(settled)
        held = len(world.server.broker)
        assert held < 12 and (await shop.ask("GET", "/notifications?order=oldest&wait=1", key=second)).status == 200
        world.later(2 * HOUR)
        assert (await shop.ask("GET", "/notifications?order=oldest&wait=1", key=second)).code == "api_key_required"
        await world.stop()
        await asyncio.gather(*waiting)
        await world.start()
