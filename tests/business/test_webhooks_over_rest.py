"""Webhooks as an engineer meets them: over REST, with the process that sends them (HOOK-1 to HOOK-16)."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from comity_server.api.business.routes import ROUTES
from comity_server.operator.master_key_rotation import rotate_master
from comity_tools.demo.webhook_receiver import Received
from support.business_world import Shop, a_shop
from support.webhook_world import Hook
from support.world import World, a_world, eventually


async def a_shop_today(world: World) -> Shop:
    """A shop at a time that receivers take for now."""
    world.at(time.time_ns() // 1_000_000)
    return await a_shop(world)


async def registered(shop: Shop, hook: Hook, **wanted: Any) -> dict[str, Any]:
    """An endpoint that has proved itself; what registering it answered."""
    made: dict[str, Any] = await shop.post("/webhooks", {"url": hook.url, **wanted})
    assert made["status"] == "unverified"
    assert (await shop.post(f"/webhooks/{made['id']}/verify"))["status"] == "active"
    hook.secret = made["secret"]
    return made


def sender(world: World) -> int | None:
    """The process that sends, where there is one."""
    return world.server.webhooks.pid


async def delivered(shop: Shop, id_: str, count: int) -> None:
    """Wait until the log of an endpoint says that so many were delivered, and no others were made."""

    async def there() -> bool:
        # It answers while the sender is being started again, too.
        listed = await shop.get(f"/webhooks/{id_}/deliveries")
        return [it["status"] for it in listed["items"]] == ["delivered"] * count

    await eventually(there, 20)


async def ended(pid: int) -> None:
    """Wait until a process is gone."""

    async def gone() -> bool:
        return not Path(f"/proc/{pid}").exists()

    await eventually(gone)


async def test_an_engineer_sets_up_a_webhook_and_finds_every_event_genuine(tmp_path: Path) -> None:
    async with a_world(tmp_path, webhooks_to_loopback=True) as world, Hook() as hook:
        shop = await a_shop_today(world)
        assert sender(world) is None
        made = await registered(shop, hook, types=["connection.muted", "connection.opened", "connection.muted"])
        place = f"/webhooks/{made['id']}"
        assert made["types"] == ["connection.muted", "connection.opened"]
        mia = await shop.customer("care")
        await mia.go("second", "mute")
        await hook.gets(2)
        polled = {it["id"]: it for it in (await shop.get("/notifications?order=oldest"))["items"]}
        for got in hook.events:
            told = Webhook(made["secret"]).verify(got.body, dict(got.headers))
            assert polled[told["id"]] == told
        await delivered(shop, made["id"], 2)
        shown = await shop.get(place)
        assert shown["status"] == "active" and shown["url"] == hook.url and "secret" not in shown
        assert await shop.get("/webhooks") == {"object": "list", "items": [shown]}

        page = await shop.get(place + "/deliveries?limit=1")
        rest = await shop.get(place + f"/deliveries?cursor={page['next_cursor']}")
        both = page["items"] + rest["items"]
        assert [it["type"] for it in both] == ["connection.muted", "connection.opened"] and "next_cursor" not in rest
        assert {it["id"] for it in both} == {got.id for got in hook.events}
        assert both[0]["status"] == "delivered" and both[0]["attempts"][0]["http_status"] == 204
        assert await shop.get(f"{place}/deliveries/{both[0]['id']}") == both[0]
        other = await shop.post("/webhooks", {"url": hook.url})
        assert (
            await shop.refused("GET", f"/webhooks/{other['id']}/deliveries?cursor={page['next_cursor']}")
            == "invalid_request"
        )

        tested = await shop.post(place + "/test")
        assert (tested["type"], tested["status"]) == ("webhook.test", "delivered")
        assert (await hook.gets(3))[-1].id == tested["id"]
        again = await shop.ask("POST", f"{place}/deliveries/{both[0]['id']}/resend")
        assert again.status == 202 and again.json["id"] == both[0]["id"]
        assert (await hook.gets(4))[-1].id == both[0]["id"]
        since = await shop.ask("POST", place + "/recover", {"since": "2026-01-01T00:00:00+01:00"})
        assert since.status == 202
        await hook.gets(6)

        changed = await shop.ask("PATCH", place, {"paused": True})
        assert (changed.status, changed.json["status"], changed.json["types"]) == (200, "paused", made["types"])
        assert (await shop.ask("PATCH", place, {"url": hook.url + "x", "paused": False})).json["status"] == "unverified"
        assert await shop.refused("POST", place + "/verify") == "not_owned"
        assert await shop.refused("POST", place + "/test") == "not_owned"
        assert (await shop.get(place))["reason"] == "it answered 404"
        assert (await shop.ask("DELETE", place)).status == 204
        assert await shop.refused("GET", place) == "not_found"
        assert await shop.refused("DELETE", place) == "not_found"
        pid = sender(world)
        assert pid is not None
    await ended(pid)


async def test_secrets_are_shown_to_their_owner_and_to_nobody_twice(tmp_path: Path) -> None:
    async with a_world(tmp_path, webhooks_to_loopback=True) as world, Hook() as hook:
        shop, other = await a_shop_today(world), await a_shop(world, "other")
        reader = await shop.key_of("agent")
        first = await shop.ask("POST", "/webhooks", {"url": hook.url}, again="once")
        second = await shop.ask("POST", "/webhooks", {"url": hook.url}, again="once")
        made = first.json
        assert first.headers["Location"] == second.headers["Location"] == f"/v1/business/webhooks/{made['id']}"
        assert {**second.json, "secret": made["secret"]} == made and "secret" not in second.json
        place = f"/webhooks/{made['id']}"
        shown = {"object": "webhook_secret", "secret": made["secret"], "public_key": made["public_key"]}
        assert await shop.get(place + "/secret") == shown
        assert await shop.refused("GET", place + "/secret", key=reader) == "scope_missing"
        for method, path in (("GET", ""), ("GET", "/secret"), ("POST", "/rotate"), ("POST", "/verify"), ("DELETE", "")):
            strange = await other.ask(method, place + path)
            assert (strange.status, strange.code) == (404, "not_found")
        rotated = await shop.post(place + "/rotate", again="turn")
        assert rotated["previous"]["secret"] == made["secret"] != rotated["secret"]
        assert await shop.post(place + "/rotate", again="turn") == {
            "object": "webhook_secret",
            "public_key": rotated["public_key"],
        }
        assert await shop.get(place + "/secret") == rotated
        await shop.post(place + "/verify", again="v")
        tested = await shop.post(place + "/test", again="t")
        assert await shop.post(place + "/test", again="t") == tested
        (got,) = hook.events
        for secret in (made["secret"], rotated["secret"]):
            Webhook(secret).verify(got.body, dict(got.headers))
        files = [path for path in (tmp_path / "data").iterdir() if path.is_file() and path.name != "master.key"]
        kept = b"".join(path.read_bytes() for path in files)
        assert made["secret"].removeprefix("whsec_").encode() not in kept

        # Whoever looks at the process sees no key; and what it is told of by the server goes with it.
        seen = Path(f"/proc/{sender(world)}")
        assert b"COMITY_" not in (seen / "environ").read_bytes()
        assert (seen / "cmdline").read_bytes().endswith(b"-m\0comity_server.webhooks\0")
        assert (tmp_path / "data" / "webhooks.sock").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "data" / "webhooks.db").stat().st_mode & 0o777 == 0o600


async def test_an_impossible_endpoint_is_refused(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        for url in ("https://10.0.0.1/", "https://localhost/", "https://[::ffff:1.1.1.1]/"):
            assert await shop.refused("POST", "/webhooks", {"url": url}) == "not_public"
        for wrong in (
            {"url": "http://hooks.shop.example/"},
            {"url": "https://hooks.shop.example/", "types": []},
            {"url": "https://hooks.shop.example/", "types": ["connection.made_up"]},
            {"url": "https://hooks.shop.example/" + "x" * 480},
            {},
        ):
            assert await shop.refused("POST", "/webhooks", wrong) == "invalid_request"
        assert await shop.get("/webhooks") == {"object": "list", "items": []}
        # Nobody has a webhook: nothing was started.
        assert sender(world) is None and not (tmp_path / "data" / "webhooks.db").exists()
        url = "https://hooks.shop.invalid.example/"
        made = [await shop.post("/webhooks", {"url": url}) for _ in range(20)]
        assert await shop.refused("POST", "/webhooks", {"url": url}) == "too_many_webhooks"
        assert await shop.refused("PATCH", f"/webhooks/{made[0]['id']}", {"url": "https://10.0.0.1/"}) == "not_public"
        assert (await shop.ask("DELETE", f"/webhooks/{made[0]['id']}")).status == 204
        await shop.post("/webhooks", {"url": url})


async def test_deliveries_can_be_read_while_the_sender_restarts(tmp_path: Path) -> None:
    async with a_world(tmp_path, webhooks_to_loopback=True) as world, Hook() as hook:
        shop = await a_shop_today(world)
        made = await registered(shop, hook, types=["note.remembered"])
        pid = sender(world)
        assert pid is not None
        # It stands still with the questions before it, and is killed in the middle of them.
        os.kill(pid, signal.SIGSTOP)
        paths = (f"/webhooks/{made['id']}/deliveries", "/webhooks", f"/webhooks/{made['id']}")
        asked = [asyncio.create_task(shop.ask("GET", path)) for path in paths]
        tested = asyncio.create_task(shop.ask("POST", f"/webhooks/{made['id']}/test"))
        await asyncio.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        assert [(await it).status for it in asked] == [200, 200, 200]
        # Whether a test event went out nobody knows: so nobody sends another one unasked.
        assert (await tested).code == "overloaded"
        assert sender(world) != pid


async def test_a_sender_that_is_killed_loses_no_event_and_is_started_again(tmp_path: Path) -> None:
    class Killing(Hook):
        """Kills the sender in the middle of the first event that comes."""

        pid: int | None = None

        async def answer(self, got: Received) -> web.Response:
            if self.pid is not None and got.type != "webhook.challenge":
                os.kill(self.pid, signal.SIGKILL)
                self.pid = None
            return await super().answer(got)

    async with a_world(tmp_path, webhooks_to_loopback=True) as world, Killing() as hook:
        shop = await a_shop_today(world)
        made = await registered(shop, hook, types=["note.remembered"])
        mia = await shop.customer()
        hook.pid = world.server.webhooks.pid
        for _ in range(3):
            await mia.go("second", "remember", key="language")
        await delivered(shop, made["id"], 3)
        # It was not written down that it had come, so it came again, under the same id.
        killed_over = hook.events[0]
        assert [got.id for got in hook.events].count(killed_over.id) == 2 and hook.pid is None
        polled = await shop.get("/notifications?order=oldest&types=note.remembered")
        assert {json.loads(got.body)["id"] for got in hook.events} == {it["id"] for it in polled["items"]}
        pid = sender(world)
        assert pid is not None
        await world.stop()
        await ended(pid)
        # And after a new start of everything, the endpoint is known, and nothing comes again.
        await world.start()
        before = len(hook.events)
        await mia.go("second", "remember", key="language")
        await hook.gets(before + 1)
        assert len(hook.events) == before + 1 and (await shop.get("/webhooks"))["items"][0]["status"] == "active"
        # Secrets that are sealed under another master key are opened all the same, by a sender that is given that.
        first = sender(world)
        assert await rotate_master(world.server) >= 2
        assert (await shop.get("/webhooks"))["items"][0]["status"] == "active" and sender(world) != first
        rotated = await shop.post(f"/webhooks/{made['id']}/rotate")
        tested = await shop.post(f"/webhooks/{made['id']}/test")
        (got,) = [got for got in hook.events if got.id == tested["id"]]
        Webhook(rotated["secret"]).verify(got.body, dict(got.headers))


async def test_a_webhook_that_is_not_there_is_told_at_once_though_nothing_sends(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop_today(world)
        bodies = {"PATCH /webhooks/{id}": {"paused": True}, "POST /webhooks/{id}/recover": {"since": "2026-01-01"}}
        of_one = [it for it in ROUTES if it.path.startswith("/webhooks/{id}")]
        assert len(of_one) > 6
        async with asyncio.timeout(20):
            for route in of_one:
                path = route.path.replace("{id}", "wh_none").replace("{delivery}", "none")
                body = bodies.get(f"{route.method} {route.path}")
                assert await shop.refused(route.method, path, body) in ("not_found", "invalid_request"), route
        assert sender(world) is None
