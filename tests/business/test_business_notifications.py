"""What an engineer is told: polled, waited for, and streamed (spec/notification.md)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comity.documents.acts import MODELS, SETTINGS
from comity.documents.agreements import countersign
from comity.http_api import EVENT_STREAM, INBOX
from comity_server.api.business.endpoints import notifications
from comity_server.api.business.endpoints.notifications import MOST_PAGES
from comity_server.businesses.directory import Business
from comity_server.reads.business_events import ACTS, CATALOGUE, BusinessEvent, NotificationData, business_event
from comity_server.schema import instant
from comity_server.store.rows import News
from support.business_world import BUSINESS, Shop, a_shop
from support.spec_pages import SPEC, page, table
from support.world import DAY, HOUR, MINUTE, Pair, World, a_world, body_of, eventually

Items = list[dict[str, Any]]


async def _all(shop: Shop, query: str = "", limit: int = 100) -> Items:
    """Every notification, page by page."""
    found: Items = []
    cursor = ""
    while True:
        told = await shop.get(f"/notifications?order=oldest&limit={limit}{query}{cursor and '&cursor=' + cursor}")
        if not told["items"]:
            return found
        found += told["items"]
        cursor = told["next_cursor"]


def _types(items: Items) -> list[str]:
    return [item["type"] for item in items]


async def _life(pair: Pair) -> None:
    """Most of what can happen between a customer (second) and a business."""
    seconds = pair.world.now() // 1000
    await pair.go("second", "mute", until=seconds + 3600, purposes=("care",))
    await pair.go("first", "message", topic="windows")
    await pair.go("second", "unmute")
    await pair.go("second", "message", purpose="complaint", topic="windows")
    await pair.grant("first", "favour")
    ask = await pair.go("second", "ask", kind="hold", effort="minute", by=seconds + 7200)
    await pair.go("first", "answer", ask=ask.id, answer="yes")
    await pair.go("first", "done", ask=ask.id)
    await pair.go("second", "thank", ask=ask.id)
    review = await pair.go("first", "ask", kind="review", effort="minute")
    await pair.go("second", "answer", ask=review.id, answer="yes")
    await pair.go("second", "done", ask=review.id)
    await pair.go("second", "remember", key="language", body=body_of(pair.cid))
    await pair.go("second", "forget", key="language")
    await pair.go("second", "milestone", kind="complained", topic="windows", when=seconds)
    await pair.go("second", "contacted", channel="phone", purpose="complaint")
    await pair.go("second", "budget", messages={"max": 1, "per": "day"})
    grant = await pair.grant("second", "sales", channels=("email",))
    await pair.go("second", "withdraw", grant=grant.id)
    await pair.rotate("second", pair.world.person())
    await pair.go("second", "revoke")
    await pair.go(
        "second", "erasure", deleted=("messages",), kept=({"what": "payments", "ground": "legal_obligation"},)
    )


LIFE = [
    "proposal.received",
    "connection.opened",
    "grant.given",
    "connection.muted",
    "connection.unmuted",
    "message.delivered",
    "message.received",
    "favour.asked",
    "favour.thanked",
    "favour.answered",
    "favour.done",
    "note.remembered",
    "note.forgotten",
    "milestone.recorded",
    "contact.recorded",
    "grant.given",
    "grant.withdrawn",
    "key.rotated",
    "connection.revoked",
    "erasure.stated",
]


async def test_an_engineer_is_told_what_a_customer_did_in_order_and_nobody_else_is(tmp_path: Path) -> None:
    """NEWS-1 to NEWS-7."""
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        pair = await shop.customer("care", "favour")
        await _life(pair)
        reply = await shop.ask("GET", "/notifications?order=oldest")
        items = reply.json["items"]
        assert _types(items) == LIFE
        _hold_to_the_catalogue(items)
        assert body_of(pair.cid).encode() not in reply.body and b"z6Mk" not in reply.body
        by_type = {item["type"]: item["data"] for item in items}
        assert {data["connection"] for data in by_type.values()} == {pair.cid}
        assert by_type["connection.muted"]["purposes"] == ["care"] and by_type["connection.muted"]["ends_at"]
        assert (by_type["message.delivered"]["by"], by_type["message.delivered"]["topic"]) == ("us", "windows")
        assert (by_type["message.received"]["by"], by_type["message.received"]["purpose"]) == ("them", "complaint")
        assert by_type["favour.thanked"]["ask"] == by_type["favour.asked"]["act"]
        assert by_type["grant.withdrawn"]["grant"] == next(reversed(_of(items, "grant.given")))["data"]["act"]
        assert by_type["contact.recorded"]["verdict"]
        assert by_type["erasure.stated"]["kept"] == ["payments"]
        # The same in small pages, byte for byte, with ids that are nobody else's and of no order.
        assert await _all(shop, limit=2) == items
        ids = [item["id"] for item in items]
        assert len(set(ids)) == len(ids) and ids != sorted(ids)
        chosen = await _all(shop, "&types=connection.revoked,grant.given", limit=1)
        assert _types(chosen) == ["grant.given", "grant.given", "connection.revoked"]
        # Nobody else is told, and nobody else's cursor is good, nor one of the business's own inbox.
        assert (await other.get("/notifications?order=oldest"))["items"] == []
        assert (
            await other.ask("GET", f"/notifications?order=oldest&cursor={reply.json['next_cursor']}")
        ).code == "invalid_request"
        signer = world.server.context.kept.newest("shop")
        assert signer is not None
        inbox = (await world.read(signer, INBOX)).json["cursor"]
        for bad in (
            f"cursor={inbox}",
            "types=offer.made",
            "types=",
            "wait=31",
            "limit=0",
            "since=2024-06-18T10:00:00",
            "stream=1",
        ):
            assert await shop.refused("GET", f"/notifications?order=oldest&{bad}") == "invalid_request", bad
        for role in ("marketer", "read_only"):
            assert (
                await shop.refused("GET", "/notifications?order=oldest", key=await shop.key_of(role)) == "scope_missing"
            )


def _of(items: Items, type_: str) -> Items:
    return [item for item in items if item["type"] == type_]


def _hold_to_the_catalogue(items: Items) -> None:
    for item in items:
        assert list(item) == ["id", "object", "type", "timestamp", "data"]
        names = CATALOGUE[item["type"]].data
        assert {name for name in names if not name.endswith("?")} <= set(item["data"]), item
        assert set(item["data"]) <= {name.removesuffix("?") for name in names}, item


async def test_an_engineer_is_told_what_became_of_messages_that_waited(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        await pair.grant("first", "care")
        end = world.now() // 1000 + 86_400
        await pair.go("second", "mute")
        ours = await pair.go("first", "message", exp=end)
        mute = await pair.go("first", "mute")
        earlier = await pair.go("second", "message", topic="windows", exp=end)
        theirs = await pair.go("second", "message", topic="windows", exp=end)
        await pair.go("second", "message", topic="blinds", if_muted="drop")
        late = await pair.go("second", "message", topic="doors", exp=end + 86_400)
        world.later(DAY + HOUR)
        told = f"/notifications?order=oldest&since={_rfc3339(world.now() - 2 * HOUR)}"

        async def are_told() -> bool:
            return len((await shop.get(told))["items"]) == 2

        await eventually(are_told)
        await pair.go("first", "unmute", mute=mute.id, iat=world.now() // 1000)
        waiting = await _all(shop, "&types=message.held")
        assert [(item["data"]["act"], item["data"].get("replaces")) for item in waiting] == [
            (earlier.id, None),
            (theirs.id, earlier.id),
            (late.id, None),
        ]
        # What waits is not shown yet: only what its acceptance says (EVENT-4).
        assert "reply_to" not in waiting[0]["data"]
        later = (await shop.get(told))["items"]
        assert [(item["type"], item["data"]["act"], item["data"]["by"]) for item in later] == [
            ("message.expired", ours.id, "us"),
            ("message.expired", theirs.id, "them"),
            ("message.received", late.id, "them"),
        ]
        # What its sender wanted dropped is told of by nobody.
        assert len(await _all(shop, "&types=message.received")) == 1
        _hold_to_the_catalogue([*waiting, *later])


def _rfc3339(ms: int) -> str:
    """A time as a request has it, to the second."""
    return instant(ms)[:-5] + "Z"


async def test_a_business_is_told_how_its_own_beginnings_go_on(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, maker = await a_shop(world), await a_shop(world, "maker")
        ours = world.server.context.kept.newest("shop")
        theirs = world.server.context.kept.newest("maker")
        assert ours is not None and theirs is not None
        offers = [world.offer(theirs, to=shop.did, name="<script>", nonce=f"nonce-{n:020}") for n in range(2)]
        halves = [world.half(offer, theirs, ours) for offer in offers]
        for offer, half in zip(offers, halves, strict=True):
            assert (await world.publish(offer)).status == 201
            assert (await world.propose(offer, half)).status == 202
        body = json.dumps({"reason": "no_time"}).encode()
        path = f"/v1/agreements/{halves[0].cid}"
        assert (await world.read(theirs, path, "DELETE", body, "application/json")).status == 204
        assert (await world.read(ours, f"/v1/agreements/{halves[1].cid}", "DELETE")).status == 204
        items = await _all(shop)
        assert _types(items) == ["offer.received", "offer.received", "proposal.declined"]
        assert items[0]["data"]["offer"] == items[2]["data"]["offer"] == offers[0].short
        assert (items[0]["data"]["offerer"], items[2]["data"]["reason"]) == (maker.did, "no_time")
        others = await _all(maker)
        assert _types(others) == ["proposal.received", "proposal.received", "proposal.withdrawn"]
        assert others[1]["data"]["connection"] == others[2]["data"]["connection"] == halves[1].cid
        _hold_to_the_catalogue([*items, *others])
        assert "script" not in json.dumps([*items, *others])
        assert (await world.countersign(countersign(halves[1], theirs))).code == "not_found"


Event = tuple[str, str, dict[str, Any]]
"""(id, event, data) of one server-sent event."""


@asynccontextmanager
async def _listening(shop: Shop, last: str | None = None, query: str = "") -> AsyncIterator[AsyncIterator[Event]]:
    """A stream of a business's notifications."""
    headers = {"Authorization": f"Bearer {shop.key}", "Accept": EVENT_STREAM}
    if last is not None:
        headers["Last-Event-ID"] = last
    url = shop.world.origin + BUSINESS + "/notifications" + query
    async with asyncio.timeout(15), aiohttp.ClientSession() as http, http.get(url, headers=headers) as reply:
        assert reply.status == 200, await reply.read()
        assert reply.headers["Content-Type"] == EVENT_STREAM
        assert reply.headers["X-Request-Id"] and reply.headers["X-Content-Type-Options"] == "nosniff"
        yield _events(reply)


async def _events(reply: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in reply.content:
        name, _, value = line.decode("utf-8").rstrip("\r\n").partition(": ")
        if name:
            assert name not in fields, "each field of an event is one line"
            fields[name] = value
        elif "data" in fields:
            assert fields.keys() == {"id", "event", "data"}
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}
        else:
            fields = {}


async def test_a_stream_goes_on_over_a_restart_with_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    """NEWS-1, NEWS-8: what is streamed is what is polled."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        had: list[Event] = []
        async with _listening(shop) as events:
            had.append(await anext(events))
        # Broken off in the middle of what had come at once.
        async with _listening(shop, had[0][0]) as events:
            had += [await anext(events) for _ in range(2)]
            await pair.go("second", "remember", key="language")
            had.append(await anext(events))
            await pair.go("second", "remember", key="name")
            # The server stops: the stream ends by itself, with or without the last of them.
            await world.stop()
            had += [event async for event in events]
        await world.start()
        await pair.go("second", "mute")
        async with _listening(shop, had[-1][0]) as events:
            while had[-1][1] != "connection.muted":
                had.append(await anext(events))
        polled = await _all(shop)
        assert [data for _, _, data in had] == polled
        assert [type_ for _, type_, _ in had] == _types(polled)
        # An id of the stream is a cursor for whoever polls.
        assert (await shop.get(f"/notifications?order=oldest&cursor={had[-2][0]}"))["items"] == polled[-1:]
        async with _listening(shop, query="?types=connection.muted") as events:
            assert (await anext(events))[2] == polled[-1]
        headers = {"Accept": EVENT_STREAM, "Last-Event-ID": "0", "Authorization": f"Bearer {shop.key}"}
        assert (await world.send("GET", BUSINESS + "/notifications", headers=headers)).code == "invalid_request"


async def test_a_waiting_reader_gets_news_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        cursor = (await shop.get("/notifications?order=oldest"))["next_cursor"]
        path = f"/notifications?order=oldest&wait=20&types=connection.revoked&cursor={cursor}"
        waiting = asyncio.create_task(shop.get(path))
        await eventually(lambda: _are_waiting(world, 1))
        await pair.go("second", "mute")
        await pair.go("second", "revoke")
        assert _types((await asyncio.wait_for(waiting, 20))["items"]) == ["connection.revoked"]


async def test_the_list_goes_back_from_the_newest_and_the_feed_goes_on_from_a_cursor(tmp_path: Path) -> None:
    """NEWS-5, NEWS-6."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        for key in ("language", "name", "no_calls"):
            world.later(HOUR)
            await pair.go("second", "remember", key=key)
        feed = await _all(shop)
        pages = [await shop.get("/notifications?limit=2")]
        while "next_cursor" in pages[-1]:
            pages.append(await shop.get(f"/notifications?limit=2&cursor={pages[-1]['next_cursor']}"))
        assert [item for page in pages for item in page["items"]] == feed[::-1]
        assert (await shop.get("/notifications?types=grant.given"))["items"] == _of(feed, "grant.given")
        since = _rfc3339(world.now() - HOUR - 30 * MINUTE)
        assert await shop.get(f"/notifications?since={since}") == {"object": "list", "items": feed[:-3:-1]}
        onward = (await shop.get("/notifications?order=oldest&limit=2"))["next_cursor"]
        back = pages[0]["next_cursor"]
        for bent in (f"cursor={onward}", f"order=oldest&cursor={back}", "wait=1"):
            assert await shop.refused("GET", f"/notifications?{bent}") == "invalid_request", bent
        # What comes meanwhile is on no older page, and the feed has it.
        await pair.go("second", "mute")
        rest = await shop.get(f"/notifications?cursor={back}")
        assert rest == {"object": "list", "items": feed[:-2][::-1]}
        later = await shop.get(f"/notifications?order=oldest&cursor={onward}")
        assert later["items"][:-1] == feed[2:] and later["items"][-1]["type"] == "connection.muted"


async def _are_waiting(world: World, many: int) -> bool:
    return len(world.server.broker) == many


async def test_events_since_a_time_are_those_from_then_on(tmp_path: Path) -> None:
    """NEWS-6."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        for key in ("language", "name", "no_calls"):
            world.later(HOUR)
            await pair.go("second", "remember", key=key)
        for hours, left in ((10, 6), (2, 2), (1, 1), (0, 0)):
            since = _rfc3339(world.now() - hours * HOUR + 30 * MINUTE)
            found = await shop.get(f"/notifications?order=oldest&since={since}")
            assert len(found["items"]) == left, hours
        cursor = found["next_cursor"]
        assert (
            await shop.refused("GET", f"/notifications?order=oldest&since={since}&cursor={cursor}") == "invalid_request"
        )
        assert (await shop.get("/notifications?order=oldest&since=2024-06-18T00:00:00%2B00:00&limit=1"))["items"]


async def test_a_key_that_ends_hears_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NEWS-9: with news after its end, and in silence as well."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        key = await shop.key_of("auditor", expires_at=world.now() + HOUR)
        ending = Shop(world, "shop", shop.did, key)
        cursor = (await shop.get("/notifications?order=oldest"))["next_cursor"]
        async with _listening(ending, cursor) as events:
            waiting = asyncio.create_task(ending.ask("GET", f"/notifications?order=oldest&wait=30&cursor={cursor}"))
            await eventually(lambda: _are_waiting(world, 2))
            world.later(2 * HOUR)
            await pair.go("second", "mute")
            assert [event async for event in events] == []
            assert (await waiting).code == "api_key_required"
        monkeypatch.setattr(notifications, "LOOK_UP", 0.1)
        key = await shop.key_of("auditor", expires_at=world.now() + HOUR)
        async with _listening(Shop(world, "shop", shop.did, key), query="?types=offer.received") as events:
            world.later(2 * HOUR)
            assert [event async for event in events] == []
    assert notifications.LOOK_UP < 5


async def test_those_who_wait_are_bounded_and_are_in_nobodys_way(tmp_path: Path) -> None:
    """NEWS-10."""
    async with a_world(tmp_path, max_waiters=100, max_requests=40) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        waiting = [asyncio.create_task(shop.ask("GET", "/notifications?order=oldest&wait=30")) for _ in range(8)]
        await eventually(lambda: _are_waiting(world, 8))
        assert (await shop.ask("GET", "/self")).status == 200
        assert (await shop.get("/notifications?order=oldest"))["items"] == []
        full = await shop.ask("GET", "/notifications?order=oldest&wait=1")
        assert full.code == "overloaded" and full.headers["Retry-After"]
        headers = {"Accept": EVENT_STREAM, "Authorization": f"Bearer {shop.key}"}
        assert (await world.send("GET", BUSINESS + "/notifications", headers=headers)).code == "overloaded"
        assert (await other.get("/notifications?order=oldest&wait=1"))["items"] == [], "one's waiting refuses another"
        await world.stop()
        assert [(reply.status, reply.json["items"]) for reply in await asyncio.gather(*waiting)] == [(200, [])] * 8
        await world.start()


async def test_a_filter_passes_over_many_without_losing_one(tmp_path: Path) -> None:
    """NEWS-7."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        acts = pair.row_of("second", MOST_PAGES * 100)
        for line, act in zip(await world.batch(*acts), acts, strict=True):
            pair.take(line["event"], act)
        await pair.go("second", "revoke")
        told = await shop.get("/notifications?order=oldest&types=connection.revoked&wait=30")
        assert told["items"] == []
        told = await shop.get(f"/notifications?order=oldest&types=connection.revoked&cursor={told['next_cursor']}")
        assert _types(told["items"]) == ["connection.revoked"]


# --- the catalogue


def test_the_page_has_the_catalogue_of_the_code() -> None:
    """NEWS-2."""
    rows = [(type_, when, tuple(data.split())) for type_, when, data in table("notification", "type", "when", "data")]
    assert rows == [(type_, when.replace("`", ""), data) for type_, (when, data) in CATALOGUE.items()]
    members = {name.removesuffix("?") for _, _, data in rows for name in data}
    assert members == set(NotificationData.model_fields)


def test_every_kind_of_act_is_told_and_no_setting() -> None:
    """NEWS-4."""
    assert set(ACTS) == set(MODELS) - SETTINGS
    assert set(ACTS.values()) < set(CATALOGUE)


def _of_the_vectors() -> tuple[News, Business]:
    """The first grant of the vectors' customer, as a row of the stream of her window maker."""
    chain = json.loads((SPEC / "vectors" / "chains.json").read_text(encoding="utf-8"))["chains"][0]
    grant = next(record for record in chain["records"] if "act" in record)
    rest = dict.fromkeys(News._fields, None)
    cid, did = chain["begins"]["cid"], chain["begins"]["first"]["did"]
    given = {"n": 7, "kind": "act", "cid": cid, "shown": 1, "told_at": 0}
    row = News(**{**rest, **given, "quiet": 0, "act": grant["act"], "acceptance": grant["event"]})
    return row, Business("windows", did, {})


def test_the_example_of_the_page_is_what_the_code_tells() -> None:
    told = business_event(*_of_the_vectors(), ids=bytes(32))
    assert told is not None
    shown = re.search(r"```json\n(.*?)```", page("notification"), re.DOTALL)
    assert shown is not None and json.loads(shown[1]) == json.loads(told.json())


def test_an_id_follows_from_the_row_and_cannot_be_guessed() -> None:
    """NEWS-1."""
    row, business = _of_the_vectors()
    first, again = business_event(row, business, bytes(32)), business_event(row, business, bytes(32))
    assert first is not None and again is not None and first.json() == again.json()
    others = [
        business_event(row._replace(n=8), business, bytes(32)),
        business_event(row, business._replace(did="did:web:home.example:b:other"), bytes(32)),
        business_event(row, business, b"another secret of thirty-two byt"),
    ]
    assert len({first.id, *(other.id for other in others if other is not None)}) == 4


def test_no_text_can_break_out_of_a_line() -> None:
    """NEWS-8: whatever a word of an act were made of, an event stays one line of data."""
    told = BusinessEvent(
        "evt_x", "note.remembered", 0, NotificationData(topic="a\n\nevent: x\r\ndata: {}\x00\x85\u2028", key='"}')
    )
    assert not set(b"\r\n\x00") & set(told.json())
    assert json.loads(told.json())["data"]["topic"].startswith("a\n\nevent")
