"""What a business sees of its customers: who there is, what each allows, what happened (INV-11 to INV-14)."""

import asyncio
from pathlib import Path
from typing import Any

from comity.crypto.encryption import BodyKey, encrypt_body
from comity.documents.acts import open_act
from comity.documents.events import Accepted, open_event
from comity.rules.fold import Record
from comity.rules.timeline import timeline
from comity_server.api.business.pagination import filter_rows
from support.business_world import EXAMPLE_OFFER, Shop, a_shop, half_on
from support.world import HOUR, MINUTE, Pair, a_world

NOBODY = "A" * 43
"""A name of nothing: it has the form of a hash."""


async def ids(shop: Shop, query: str = "") -> list[str]:
    return [item["id"] for item in (await shop.get(f"/connections{query}"))["items"]]


async def customers(shop: Shop, *grants: tuple[str, ...]) -> list[Pair]:
    found = []
    for purposes in grants:
        found.append(await shop.customer(*purposes))
        shop.world.later(MINUTE)
    return found


async def test_a_list_of_customers_is_narrowed_by_what_they_allow(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        mia, ben, ida = await customers(shop, ("care", "sales"), ("care",), ())
        await other.customer("care")
        assert await ids(shop) == [ida.cid, ben.cid, mia.cid]
        assert await ids(shop, "?order=oldest") == [mia.cid, ben.cid, ida.cid]
        assert await ids(shop, "?purpose=care.checkin&channel=app") == [ben.cid, mia.cid]
        assert await ids(shop, "?purpose=sales&channel=app") == [mia.cid]
        assert await ids(shop, "?purpose=sales&channel=email") == []
        # What rests on the agreement needs no grant (GATE-5).
        assert await ids(shop, "?purpose=complaint&channel=phone&order=oldest") == [mia.cid, ben.cid, ida.cid]
        until = world.now() // 1000 + 3600
        await mia.go("second", "mute", until=until, purposes=("sales",))
        await ben.go("second", "revoke")
        assert await ids(shop, "?muted=true") == [mia.cid]
        assert await ids(shop, "?muted=false&status=open") == [ida.cid]
        assert await ids(shop, "?status=ended") == [ben.cid]
        # Consent is still there behind a mute, and none behind an end.
        assert await ids(shop, "?purpose=care&channel=app") == [mia.cid]
        (item,) = (await shop.get("/connections?muted=true"))["items"]
        assert item["mutes"][0]["purposes"] == ["sales"] and item["mutes"][0]["ends_at"].startswith("2024-06-18T11:0")
        world.later(2 * HOUR)
        assert await ids(shop, "?muted=true") == []
        opened = (await shop.get("/connections?order=oldest&limit=2"))["items"][1]["opened_at"]
        assert await ids(shop, f"?opened_after={opened}") == [ida.cid, ben.cid]
        assert await ids(shop, f"?opened_before={opened}") == [mia.cid]
        assert await ids(shop, f"?opened_before={opened}&order=oldest") == [mia.cid]
        for bent in ("purpose=care", "channel=app", "purpose=Care!&channel=app", "opened_after=2024", "status=gone"):
            assert await shop.refused("GET", f"/connections?{bent}") == "invalid_request"


async def test_a_list_of_customers_goes_on_from_either_end_and_by_offer(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", EXAMPLE_OFFER)
        # Some of them open in one commit, at the same millisecond: then the name decides.
        halves = [await half_on(shop, made["id"], world.person()) for _ in range(4)]
        assert {reply.status for reply in await asyncio.gather(*(world.propose(*half) for half in halves))} == {202}
        alone = await shop.customer()
        for query in ("?limit=2", f"?limit=3&offer={made['id']}", "?limit=1&muted=false", "?limit=500&status=ended"):
            if "500" in query:
                assert await shop.refused("GET", f"/connections{query}") == "invalid_request"
                continue
            both = []
            for order in ("newest", "oldest"):
                both.append(await whole_list(shop, f"/connections{query}&order={order}"))
            assert both[0] == both[1][::-1] and len(set(both[0])) == (4 if "offer" in query else 5)
            assert (alone.cid in both[0]) != ("offer" in query)
        page = await shop.get("/connections?limit=2")
        assert (
            await shop.refused("GET", f"/connections?limit=2&order=oldest&cursor={page['next_cursor']}")
            == "invalid_request"
        )
        await world.stop()
        await world.start()
        assert len((await shop.get(f"/connections?cursor={page['next_cursor']}"))["items"]) == 3


def test_a_page_looks_at_so_many_rows_and_no_more() -> None:
    rows = list(range(11))
    assert filter_rows(rows, 3, 10, lambda row: row) == ((0, 1, 2), 3)
    assert filter_rows(rows, 3, 10, lambda row: row if row == 9 else None) == ((9,), 10)
    assert filter_rows(rows[:10], 10, 10, lambda row: row) == (tuple(range(10)), 0)
    assert filter_rows(rows, 10, 10, lambda row: row) == (tuple(range(10)), 10)
    assert filter_rows(rows[:4], 3, 10, lambda row: None if row == 3 else row) == ((0, 1, 2), 3)


async def test_a_connection_in_full_is_what_both_sides_know_and_no_setting_shows(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care", "favour")
        await pair.grant("second", "sales", channels=("email",), budget={"max": 2, "per": "week"})
        await pair.go("second", "remember", key="language", topic="de")
        await pair.go("first", "milestone", kind="bought", topic="windows", when=world.now() // 1000)
        await pair.go("first", "message", purpose="care")
        await pair.grant("first", "favour")
        ask = await pair.go("second", "ask")
        await pair.go("first", "answer", ask=ask.id, answer="yes")
        await pair.go("first", "done", ask=ask.id)
        mute = await pair.go("second", "mute", channels=("phone",))
        before = await shown(shop, pair.cid)

        windows = ({"days": ("mo",), "start": "03:00", "end": "04:00"},)
        await pair.go("second", "hours", zone="Europe/Berlin", windows=windows, shown="end")
        await pair.go("second", "budget", messages={"max": 1, "per": "day"}, asks={"max": 0, "per": "day"})
        await pair.go("second", "mute_end", mute=mute.id, until=world.now() // 1000 + 60)
        assert await shown(shop, pair.cid) == before  # INV-12
        world.later(2 * MINUTE)
        told = await shop.get(f"/connections/{pair.cid}")
        # The hidden end has passed: the business still sees the mute, as both sides do.
        assert [it["channels"] for it in told["them"]["mutes"]] == [["phone"]]
        assert [it.get("budget") for it in told["them"]["grants"]] == [None, {"max": 2, "seconds": 604_800}]
        assert [(it["key"], it["topic"]) for it in told["them"]["notes"]] == [("language", "de")]
        assert [(it["kind"], it["topic"]) for it in told["us"]["milestones"]] == [("bought", "windows")]
        assert told["them"]["ask"]["status"] == "done" and "ask" not in told["us"]
        assert told["balance"] == {"by_us": 1, "by_them": 0}
        assert told["them"]["chain"]["head"] == mute.id
        assert told["agreement"]["terms"]["sha256"] == pair.agreement.agreement.terms.sha256
        assert told["last_reached_at"] and told["status"] == "open" and "ended_at" not in told

        await pair.go("second", "revoke")
        told = await shop.get(f"/connections/{pair.cid}")
        assert (told["status"], told["ended_by"], told["them"]["grants"]) == ("ended", "them", [])
        moments = (await shop.get(f"/connections/{pair.cid}/timeline?limit=1"))["items"]
        assert told["ended_at"] == moments[0]["happened_at"]


async def test_the_timeline_tells_both_the_same_and_the_business_who_did_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care", "favour")
        desk = await shop.key_of("agent", seat="seat_" + "A" * 22)
        reply = await shop.ask("POST", f"/connections/{pair.cid}/mute", {}, key=desk)
        assert reply.status < 300, reply
        await sync(pair)
        await pair.go("second", "hours", zone="Europe/Berlin", windows=(), shown="end")
        await pair.go("second", "mute")
        await pair.go("first", "message", purpose="care", if_muted="hold")
        await pair.go("second", "unmute")
        await pair.go("second", "remember", key="language", topic="de")

        items = await pages_of(shop, f"/connections/{pair.cid}/timeline?limit=2&order=oldest", "items")
        newest = await pages_of(shop, f"/connections/{pair.cid}/timeline?limit=3", "items")
        assert newest == items[::-1]
        kinds = [(item.get("by"), item["kind"], item.get("status")) for item in items]
        assert kinds == [
            (None, "opened", None),
            ("them", "grant", None),
            ("us", "mute", None),
            ("them", "mute", None),
            ("us", "message", "held"),
            ("them", "unmute", None),
            ("us", "delivered", None),
            ("them", "remember", None),
        ]
        assert [item["done_by"]["seat"] for item in items if "done_by" in item] == ["seat_" + "A" * 22]
        assert items[2]["done_by"]["api_key"].startswith("key_")
        assert [(item.get("about"), item.get("act")) for item in items] == await told_to_the_customer(pair)


async def test_an_act_comes_with_its_proof_and_what_the_customer_wrote(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        pair, theirs = await shop.customer("care"), await other.customer("care")
        signer = world.server.context.kept.newest("shop")
        assert signer is not None
        to_shop = BodyKey(f"{signer.kid}-x", signer.key.public.x25519())
        words = {"text": "Grüße! <b>=1+1</b>"}
        await pair.grant("first", "care")
        written = await pair.go("second", "message", body=encrypt_body(words, pair.cid, to_shop))
        told = await shop.get(f"/connections/{pair.cid}/acts/{written.id}")
        assert (told["kind"], told["by"], told["status"]) == ("message", "them", "delivered")
        assert told["body"] == words and told["payload"]["purpose"] == "care" and "body" not in told["payload"]
        assert told["jws"] == written.raw and told["receipt"] and told["delivery"]
        # Sealed to somebody else: the act comes, the words do not.
        strange = await pair.go(
            "second", "message", body=encrypt_body(words, pair.cid, BodyKey(pair.signers["second"].kid, to_shop.raw))
        )
        assert "body" not in await shop.get(f"/connections/{pair.cid}/acts/{strange.id}")
        await pair.go("first", "mute")
        waits = await pair.go("second", "message", topic="windows")
        told = await shop.get(f"/connections/{pair.cid}/acts/{waits.id}")
        assert told["status"] == "held" and not {"payload", "jws", "body", "receipt"} & set(told)
        await pair.go("first", "unmute")
        assert "payload" in await shop.get(f"/connections/{pair.cid}/acts/{waits.id}")

        another = await shop.customer()
        hours = await pair.go("second", "hours", zone="Europe/Berlin", windows=(), shown="end")
        grant = open_act((await world.read(theirs.signers["second"], f"/v1/acts/{await head(theirs)}")).json["act"])
        no_acts = [
            f"/connections/{pair.cid}/acts/{NOBODY}",
            f"/connections/{pair.cid}/acts/{hours.id}",
            f"/connections/{another.cid}/acts/{written.id}",
            f"/connections/{pair.cid}/acts/{grant.id}",
        ]
        no_connections = [
            f"/connections/{theirs.cid}/acts/{grant.id}",
            *(
                f"/connections/{cid}{end}"
                for cid in (theirs.cid, NOBODY)
                for end in ("", "/timeline", f"/acts/{written.id}")
            ),
        ]
        for places in (no_acts, no_connections):
            replies = [await shop.ask("GET", place) for place in places]
            assert {(reply.status, reply.plain) for reply in replies} == {(404, replies[0].plain)}


async def shown(shop: Shop, cid: str) -> list[bytes]:
    """The bytes of everything that is shown of a connection."""
    paths = ("/connections", "/connections?muted=true", f"/connections/{cid}", f"/connections/{cid}/timeline")
    return [(await shop.ask("GET", path)).body for path in paths]


async def head(pair: Pair) -> str:
    return pair.state.second.head


async def sync(pair: Pair) -> None:
    """Take in what the business did by itself."""
    page = await pair.news("second")
    for item in page["items"]:
        if "event" in item and "act" in item:
            pair.take(item["event"], open_act(item["act"], pair.world.server.directory.find_key))


async def told_to_the_customer(pair: Pair) -> list[tuple[str | None, str | None]]:
    """(about, act) of every moment of the customer's own timeline."""
    find_key = pair.world.server.directory.find_key
    page = await pair.news("second")
    events = {item["event"]: item.get("act") for item in page["items"]}
    records = [
        Record(open_event(event, find_key).event, None if act is None else open_act(act, find_key))
        for event, act in events.items()
    ]
    for event in pair.events:
        if event not in events:
            opened = open_event(event, find_key).event
            assert isinstance(opened, Accepted)
            raw = (await pair.world.read(pair.signers["second"], f"/v1/acts/{opened.act}")).json.get("act")
            records.append(Record(opened, None if raw is None else open_act(raw, find_key)))
    return [(moment.about, moment.act) for moment in timeline(records)]


async def whole_list(shop: Shop, path: str) -> list[str]:
    return [item["id"] for item in await pages_of(shop, path, "items")]


async def pages_of(shop: Shop, path: str, member: str) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await shop.get(f"{path}{cursor}")
        found += page[member]
        if "next_cursor" not in page:
            return found
        cursor = f"&cursor={page['next_cursor']}"
