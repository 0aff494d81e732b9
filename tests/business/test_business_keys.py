"""API keys and seats, as the engineers of a business live with them (BIZ-2 to BIZ-6)."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comity.errors import Refused
from comity_server.api.business.endpoints.api_keys import ROUTES, NewApiKey, create_key
from comity_server.api.business.route import Call
from comity_server.businesses.api_keys import MOST_KEYS
from support.business_world import Shop, a_shop, at_once
from support.world import DAY, HOUR, MINUTE, World, a_world

AGENT = {"label": "night shift", "role": "agent"}
OWNER = {"label": "second owner", "role": "owner"}


def when(world: World, later: int) -> str:
    """A time that comes after so many ms, as a request has it."""
    return datetime.fromtimestamp((world.now() + later) // 1000, UTC).isoformat()


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        return store.execute(query).fetchall()


async def line_of(shop: Shop, id_: str) -> dict[str, Any]:
    """A key as the list shows it."""
    (line,) = [line for line in (await shop.get("/keys"))["items"] if line["id"] == id_]
    return dict(line)


async def test_an_engineer_makes_a_key_and_is_shown_it_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        first = await shop.ask("POST", "/keys", AGENT, again="one")
        assert first.status == 201
        made = first.json
        assert first.headers["Location"] == f"/v1/business/keys/{made['id']}"
        assert (await shop.get("/self", key=made["key"]))["role"] == "agent"
        again = await shop.ask("POST", "/keys", AGENT, again="one")
        assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
        assert again.json == {name: value for name, value in made.items() if name != "key"}
        other = {**AGENT, "label": "day shift"}
        assert await shop.refused("POST", "/keys", other, again="one") == "idempotency_mismatch"
        listed = (await shop.get("/keys"))["items"]
        assert [line["label"] for line in listed] == ["night shift", "owner"]
        assert made["key"] not in str(listed)
        await world.stop()
        everything = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir() if path.is_file())
        assert made["id"].encode() in everything
        for secret in (made["key"], shop.key):
            assert secret.removeprefix("ck_live_").encode() not in everything
        await world.start()
        assert (await shop.get("/self", key=made["key"]))["role"] == "agent"
        logged = "".join(capfd.readouterr())
        assert "THE CLOCK" in logged and "ck_live_" not in logged


async def test_a_rotated_key_stays_good_for_the_overlap_and_its_successor_is_like_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        seat = (await shop.post("/seats", {"staff": "staff 4711"}))["id"]
        old = await shop.post("/keys", {**AGENT, "scopes": ["check"], "seat": seat})
        new = await shop.post(f"/keys/{old['id']}/rotate", {"overlap_seconds": 3600})
        alike = ("role", "scopes", "seat", "label")
        assert (
            [new[name] for name in alike] == [old[name] for name in alike] == ["agent", ["check"], seat, "night shift"]
        )
        assert new["id"] != old["id"] and "expires_at" not in new
        world.later(HOUR - MINUTE)
        assert (await shop.get("/self", key=old["key"]))["expires_at"] == (await line_of(shop, old["id"]))["expires_at"]
        world.later(2 * MINUTE)
        assert await shop.refused("GET", "/self", key=old["key"]) == "api_key_required"
        assert (await line_of(shop, old["id"]))["status"] == "ended"
        await shop.get("/self", key=new["key"])
        # Neither ended keys nor unknown ones, nor those of others, can be told apart.
        other = await a_shop(world, "other")
        (theirs,) = (await other.get("/keys"))["items"]
        paths = [f"/keys/{id_}" for id_ in (old["id"], theirs["id"], "key_nobody")]
        bodies = {(await shop.ask("POST", f"{path}/rotate", {})).plain for path in paths}
        bodies |= {(await shop.ask("DELETE", path)).plain for path in paths}
        assert len(bodies) == 1
        assert await shop.refused("DELETE", paths[0]) == "not_found"


async def test_an_overlap_never_makes_a_key_last_longer(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        short = await shop.post("/keys", {**AGENT, "expires_at": when(world, HOUR)})
        new = await shop.post(f"/keys/{short['id']}/rotate", {})
        assert new["expires_at"] == short["expires_at"] == (await line_of(shop, short["id"]))["expires_at"]
        at_once = await shop.post(f"/keys/{new['id']}/rotate", {"overlap_seconds": 0})
        assert await shop.refused("GET", "/self", key=new["key"]) == "api_key_required"
        assert (
            await shop.refused("POST", f"/keys/{at_once['id']}/rotate", {"overlap_seconds": 31 * 86400})
            == "invalid_request"
        )
        assert await shop.refused("POST", "/keys", {**AGENT, "expires_at": when(world, -HOUR)}) == "until_passed"


async def test_an_ended_key_is_dead_at_once_and_the_owner_is_never_locked_out(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        owner = (await shop.get("/self"))["api_key"]
        agent = await shop.post("/keys", AGENT)
        assert (await shop.ask("DELETE", f"/keys/{agent['id']}")).status == 204
        assert await shop.refused("GET", "/self", key=agent["key"]) == "api_key_required"
        # Nor is it good for what was asked for just before, and is decided just after.
        second = await shop.post("/keys", OWNER)
        late = _call(world, shop, second["key"])
        late.body = NewApiKey(label="late", role="owner")
        assert (await shop.ask("DELETE", f"/keys/{second['id']}")).status == 204
        with pytest.raises(Refused, match="api_key_required"):
            await create_key(late)
        # A key that ends some day, and one that can manage no keys, keep nobody from being locked out.
        await shop.post("/keys", {**OWNER, "expires_at": when(world, DAY)})
        await shop.post("/keys", {**OWNER, "scopes": ["check"]})
        assert await shop.refused("DELETE", f"/keys/{owner}") == "last_owner"
        second = await shop.post("/keys", OWNER)
        assert (await shop.ask("DELETE", f"/keys/{owner}")).status == 204
        assert await shop.refused("DELETE", f"/keys/{second['id']}", key=second["key"]) == "last_owner"


async def test_a_key_manages_only_what_is_no_more_than_itself(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        owner = (await shop.get("/self"))["api_key"]
        narrow = await shop.post("/keys", {**OWNER, "scopes": ["keys:manage", "check"]})
        short = await shop.post("/keys", {**OWNER, "expires_at": when(world, HOUR)})
        for key in (narrow["key"], short["key"]):
            for method, path, body in (
                ("POST", "/keys", {**OWNER, "expires_at": when(world, DAY)}),
                ("POST", f"/keys/{owner}/rotate", {}),
                ("DELETE", f"/keys/{owner}", None),
            ):
                assert await shop.refused(method, path, body, key=key) == "scope_missing", (path, key)
        assert await shop.refused("POST", "/keys", OWNER, key=narrow["key"]) == "scope_missing"
        within = await shop.post("/keys", {"label": "x", "role": "agent", "scopes": ["check"]}, key=narrow["key"])
        assert within["scopes"] == ["check"]
        # Who says nothing of an end gets the maker's own.
        assert (await shop.post("/keys", AGENT, key=short["key"]))["expires_at"] == short["expires_at"]
        beyond = await shop.ask("POST", "/keys", {"label": "x", "role": "read_only", "scopes": ["permissions:write"]})
        assert beyond.code == "invalid_request" and beyond.json["errors"][0]["pointer"] == "/scopes"


async def test_only_owners_manage_keys_and_seats(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        for role in ("agent", "marketer", "auditor", "read_only"):
            key = await shop.key_of(role)
            for method, path in (("GET", "/keys"), ("DELETE", "/keys/key_x"), ("GET", "/seats")):
                assert await shop.refused(method, path, key=key) == "scope_missing"
            for path, body in (("/keys", OWNER), ("/keys/key_x/rotate", {}), ("/seats", {"staff": "x"})):
                assert await shop.refused("POST", path, body, key=key) == "scope_missing"


async def test_a_business_has_a_hundred_keys_in_force_and_can_replace_each(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        for _ in range(MOST_KEYS - 1):
            await shop.key_of("read_only")
        assert await shop.refused("POST", "/keys", AGENT) == "too_many_keys"
        page = await shop.get("/keys?limit=60")
        assert len(page["items"]) == 60
        times = [it["created_at"] for it in page["items"]]
        assert times == sorted(times, reverse=True) and times[0] > times[-1]
        rest = await shop.get(f"/keys?limit=60&cursor={page['next_cursor']}")
        assert len(rest["items"]) == 40 and "next_cursor" not in rest
        one = rest["items"][0]["id"]
        assert await shop.refused("POST", f"/keys/{one}/rotate", {}) == "too_many_keys"
        await shop.post(f"/keys/{one}/rotate", {"overlap_seconds": 0})
        other = await a_shop(world, "other")
        assert await other.refused("GET", f"/keys?cursor={page['next_cursor']}") == "invalid_request"


async def test_the_last_use_of_a_key_is_told_to_the_minute(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        agent = await shop.post("/keys", AGENT)
        assert "last_used_at" not in await line_of(shop, agent["id"])
        await shop.get("/self", key=agent["key"])
        first = (await line_of(shop, agent["id"]))["last_used_at"]
        assert first == datetime.fromtimestamp(world.now() // MINUTE * 60, UTC).strftime("%Y-%m-%dT%H:%M:00.000Z")
        world.later(10 * MINUTE)
        await shop.get("/self", key=agent["key"])
        assert (await line_of(shop, agent["id"]))["last_used_at"] > first
        last = await line_of(shop, agent["id"])
        await world.stop()
        await world.start()
        assert await line_of(shop, agent["id"]) == last


async def test_a_seat_stands_for_a_person_whose_name_is_nowhere(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        first = await shop.ask("POST", "/seats", {"staff": "Rosalind Example"}, again="r")
        seat = first.json["id"]
        replayed = await shop.ask("POST", "/seats", {"staff": "Rosalind Example"}, again="r")
        assert (replayed.body, replayed.headers["Idempotency-Replayed"]) == (first.body, "true")
        assert await shop.refused("POST", "/seats", {"staff": "Somebody Else"}, again="r") == "idempotency_mismatch"
        await world.stop()
        await world.start()
        assert (await shop.post("/seats", {"staff": "Rosalind Example"}))["id"] == seat
        assert (await other.post("/seats", {"staff": "Rosalind Example"}))["id"] != seat
        world.later(1000)
        konrad = (await shop.post("/seats", {"staff": "Konrad Example"}))["id"]
        page = await shop.get("/seats?limit=1")
        rest = await shop.get(f"/seats?cursor={page['next_cursor']}")
        assert [it["id"] for it in page["items"] + rest["items"]] == [konrad, seat] and "next_cursor" not in rest
        # A key may be a seat's of this business, and of no other.
        assert (await shop.post("/keys", {**AGENT, "seat": seat}))["seat"] == seat
        assert await other.refused("POST", "/keys", {**AGENT, "seat": seat}) == "not_found"
        await world.stop()
        everything = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir() if path.is_file())
        assert seat.encode() in everything and b"Rosalind" not in everything
        # Nor a hash of the request with it, from which it could be found by trying.
        assert rows(world, "SELECT request FROM idempotent WHERE key = 'r'") == [(seat,)]
        await world.start()


async def test_two_systems_of_a_business_that_both_count_from_one_do_not_meet(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        till, crm = await shop.key_of("agent"), await shop.key_of("marketer")
        at = f"/connections/{pair.cid}/messages"
        bill = {"purpose": "care", "text": "Your bill is in the letter box."}
        first = await shop.ask("POST", at, bill, key=till, again="1")
        # Neither does the other system read the first one's answer, nor does its own message stay away.
        second = await shop.ask("POST", at, {"purpose": "care", "text": "All well?"}, key=crm, again="1")
        third = await shop.ask("POST", at, bill, key=crm, again="2")
        assert [reply.status for reply in (first, second, third)] == [201, 201, 201]
        assert len({reply.json["id"] for reply in (first, second, third)}) == 3
        assert "Idempotency-Replayed" not in {**second.headers, **third.headers}
        # Whoever takes a new key in the middle of a bad line sends nothing twice.
        id_ = (await shop.get("/self", key=till))["api_key"]
        later = (await shop.post(f"/keys/{id_}/rotate"))["key"]
        for _ in range(2):
            again = await shop.ask("POST", at, bill, key=later, again="1")
            assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")
            await world.stop()
            await world.start()
            id_ = (await shop.get("/self", key=later))["api_key"]
            later = (await shop.post(f"/keys/{id_}/rotate"))["key"]
        assert await shop.refused("POST", at, {**bill, "text": "Another."}, key=later, again="1") == (
            "idempotency_mismatch"
        )


async def test_a_key_that_was_ended_or_replaced_is_no_good_after_a_restart_either(tmp_path: Path) -> None:
    """BIZ-3: what the server knows of keys anew when it starts is what was said of them last."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        stolen = await shop.post("/keys", AGENT)
        old = await shop.post("/keys", AGENT)
        assert (await shop.ask("DELETE", f"/keys/{stolen['id']}")).status == 204
        await shop.post(f"/keys/{old['id']}/rotate", {"overlap_seconds": 60})
        for _ in range(2):
            await world.stop()
            world.later(MINUTE + 1000)
            await world.start()
            for ended in (stolen, old):
                assert await shop.refused("GET", "/self", key=ended["key"]) == "api_key_required"


async def test_a_bill_that_is_sent_twice_at_once_reaches_the_customer_once(tmp_path: Path) -> None:
    """BIZ-11: the first of the two is not in the store yet when the second is decided."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at, bill = f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "Your bill is in the letter box."}
        async with at_once(world) as ask:
            waiting = [await ask(shop.ask("POST", at, bill, again="bill-7")) for _ in range(2)]
            other = await ask(shop.ask("POST", at, {**bill, "text": "Another."}, again="bill-7"))
        first, second = await asyncio.gather(*waiting)
        assert (first.status, second.status, second.body) == (201, 201, first.body)
        assert [it.headers.get("Idempotency-Replayed") for it in (first, second)] == [None, "true"]
        assert (await other).code == "idempotency_mismatch"
        await world.stop()
        await world.start()
        assert (await shop.ask("POST", at, bill, again="bill-7")).body == first.body
        assert (await pair.kinds("second")).count("message") == 1


async def test_acts_made_with_a_key_are_noted_with_its_seat(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        seat = (await shop.post("/seats", {"staff": "staff 4711"}))["id"]
        made = await shop.post("/keys", {**AGENT, "seat": seat})
        reply = await shop.ask("POST", f"/connections/{pair.cid}/mute", {}, key=made["key"])
        assert reply.status == 201, reply
        assert rows(world, "SELECT cid, key_id, seat FROM doings") == [(pair.cid, made["id"], seat)]
        page = await pair.news("second")
        assert seat not in str(page) and made["id"] not in str(page)


def _call(world: World, shop: Shop, shown: str) -> Call:
    key = world.server.context.keyring.bearer(f"Bearer {shown}", world.now())
    business = world.server.directory.get(shop.name)
    assert business is not None
    (route,) = [route for route in ROUTES if route.operation == "createKey"]
    return Call(world.server, route, None, business, key, {})  # type: ignore[arg-type]
