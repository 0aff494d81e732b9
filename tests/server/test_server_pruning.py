"""What has had its time goes, in small steps, and nobody's word or "no" with it (GROW-1, GROW-2, GROW-3, HTTP-23)."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from comity.crypto.keys import Signer, key_of_kid
from comity.documents.acts import open_act
from comity.documents.agreements import HalfSigned
from comity.documents.events import open_event
from comity.http_api import CONNECTIONS, INBOX, JWT, OFFERS
from comity.rules.fold import Record, fold, initial_state
from comity.rules.state import public_state
from comity_server import pruner
from comity_server.commands import provisioning
from comity_server.reads import records as deliver_records
from comity_server.schema import instant
from comity_tools.cli import main
from support.business_world import EXAMPLE_OFFER, Shop, a_shop, again, half_on
from support.world import DAY, HOUR, MINUTE, Pair, Reply, World, a_world

KEPT = {"inbox_days": 400}


def rows(world: World, table: str, where: str = "1 = 1") -> int:
    """How many rows there are, as anybody finds them who opens the file."""
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as raw:
        count: int = raw.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()[0]
        return count


async def inbox(world: World, signer: Signer, cursor: str | None = None) -> Reply:
    return await world.read(signer, INBOX + (f"?cursor={cursor}" if cursor else ""))


async def proposed(shop: Shop, short: str, person: Signer, **changes: Any) -> HalfSigned:
    signed, half = await half_on(shop, short, person, **changes)
    reply = await shop.world.propose(signed, half)
    assert reply.status == 202, reply
    return half


async def test_offers_and_halves_of_strangers_go_when_their_time_is_long_over(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        offers = [world.offer(world.person(), to=shop.did) for _ in range(3)]
        for offer in offers:
            assert (await world.publish(offer)).status == 201
        assert len((await shop.get("/notifications?order=oldest"))["items"]) == 3
        by_hand = await shop.post("/offers", {**EXAMPLE_OFFER, "countersign": "by_hand"})
        waiting, person = await proposed(shop, by_hand["id"], world.person()), world.person()
        declined = await proposed(shop, by_hand["id"], person)
        await shop.post(f"/proposals/{declined.cid}/decline", {"reason": "full"})
        world.later(60 * DAY)
        await world.server.pruner.round()
        assert rows(world, "offers") == 4, "an offer is listed for a while after its end"
        assert rows(world, "proposals", f"cid = '{waiting.cid}'") == 0
        assert rows(world, "proposals", f"cid = '{declined.cid}'") == 1
        signed, again = await half_on(shop, by_hand["id"], person)
        assert (await world.propose(signed, again)).code == "not_found", "she was declined while the offer is open"
        world.later(60 * DAY)
        await world.server.pruner.round()
        assert rows(world, "offers") == 1, "the shop's own, which is good until the end of the year"
        assert (
            rows(world, "inbox", "kind = 'offer'") == 0
            and (await shop.get("/notifications?order=oldest"))["items"] != []
        )
        world.later(365 * DAY)
        await world.server.pruner.round()
        assert [rows(world, table) for table in ("offers", "business_offers", "proposals")] == [0, 0, 0]
        assert (await shop.get("/offers"))["items"] == []
        assert rows(world, "inbox", "kind IN ('proposal', 'declined', 'offer')") == 0
        await world.stop()
        checked = CliRunner().invoke(main, ["fsck"], env={"COMITY_DATA": str(world.folder / "data")})
        assert checked.exit_code == 0, checked.output
        await world.start()


async def test_an_offer_that_was_ended_or_used_is_not_open_again_once_its_text_comes_back(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", {**EXAMPLE_OFFER, "expires_at": "2025-06-01T00:00:00Z"})
        text = (await world.send("GET", f"{OFFERS}/{made['id']}")).body
        assert (await shop.ask("DELETE", f"/offers/{made['id']}")).status == 204
        world.later(200 * DAY)
        await world.server.pruner.round()
        assert (await world.send("POST", OFFERS, text, JWT)).status == 201, "the same answer as ever"
        assert (await world.send("GET", f"{OFFERS}/{made['id']}")).code == "not_found"
        world.later(300 * DAY)
        await world.server.pruner.round()
        assert rows(world, "offers") == 0
        assert (await world.send("POST", OFFERS, text, JWT)).code == "offer_expired"


async def test_a_connection_outlives_the_offer_and_the_half_that_it_came_from(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        await pair.go("second", "mute", purposes=("sales",))
        world.later(500 * DAY)
        await world.server.pruner.round()
        assert rows(world, "offers") == rows(world, "proposals") == 0
        assert rows(world, "acts") == 2 and rows(world, "agreements") == 1
        reply = await pair.seen("second")
        assert reply.status == 200, reply
        (listed,) = (await shop.get("/connections"))["items"]
        assert listed["id"] == pair.cid
        # The whole agreement again, from whoever has it, gets its first answer.
        again = await world.countersign(pair.agreement)
        opened = open_event(again.json["event"], world.server.directory.find_key).event
        assert (again.status, opened.event) == (200, "opened")
        await world.stop()
        checked = CliRunner().invoke(main, ["fsck"], env={"COMITY_DATA": str(world.folder / "data")})
        assert checked.exit_code == 0, checked.output
        await world.start()


async def test_answers_under_idempotency_keys_are_kept_for_a_day(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/keys", {"role": "agent", "label": "till"}, again="one")
        await shop.post("/keys", {"role": "agent", "label": "till"}, again="two")
        world.later(23 * HOUR)
        await world.server.pruner.round()
        assert (await shop.post("/keys", {"role": "agent", "label": "till"}, again="one"))["id"] == made["id"]
        world.later(2 * HOUR)
        await world.server.pruner.round()
        assert rows(world, "idempotent") == 0


async def test_the_text_of_a_message_that_waits_outlasts_an_old_draft_and_is_handed_back(tmp_path: Path) -> None:
    """SAY-6, GROW-3: what waits is no draft yet, and the shop gets it back whole, for ninety days more."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pairs = [await shop.customer("care") for _ in range(3)]
        at = [f"/connections/{pair.cid}/messages" for pair in pairs]
        draft = (await shop.ask("POST", at[2], {"purpose": "sales", "text": "Buy."})).json["draft"]
        world.later(2 * HOUR)
        for number in (0, 1):
            await pairs[number].go("second", "mute", until=world.now() // 1000 + 200 * DAY // 1000)
            last = instant(world.now() + 90 * DAY - MINUTE)
            said = {"purpose": "care", "text": f"How are you, {number}?", "expires_at": last}
            assert (await shop.post(at[number], said))["status"] == "held"
        world.later(90 * DAY - HOUR)
        await world.server.pruner.round()
        assert rows(world, "drafts", "waits = 1") == 2 and rows(world, "drafts", f"id = '{draft}'") == 0
        await again(pairs[0])
        await pairs[0].go("second", "unmute")
        assert rows(world, "drafts", "waits = 1") == 1, "what was delivered is gone, and nothing else"
        await again(pairs[1])
        await pairs[1].go("second", "revoke")
        for _ in range(2):
            (handed_back,) = (await shop.get("/drafts"))["items"]
            assert handed_back["message"]["text"] == "How are you, 1?"
            world.later(89 * DAY)
            await world.server.pruner.round()


async def test_an_api_key_that_ended_long_ago_is_listed_no_more(tmp_path: Path, monkeypatch: Any) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        first = await shop.post("/keys", {"role": "agent", "label": "old till"})
        assert (await shop.ask("DELETE", f"/keys/{first['id']}")).status == 204
        in_force = await shop.post("/keys", {"role": "agent", "label": "till", "expires_at": "2030-01-01T00:00:00Z"})
        world.later(89 * DAY)
        await world.server.pruner.round()
        assert {it["id"] for it in (await shop.get("/keys"))["items"]} >= {first["id"], in_force["id"]}
        world.later(2 * DAY)
        await world.server.pruner.round()
        assert first["id"] not in {it["id"] for it in (await shop.get("/keys"))["items"]}
        assert rows(world, "api_keys", f"id = '{first['id']}'") == 0
        # Who makes and ends keys without end keeps the newest.
        monkeypatch.setattr(pruner, "MOST_ENDED_KEYS", 2)
        made = [(await shop.post("/keys", {"role": "agent", "label": f"key {n}"}))["id"] for n in range(4)]
        for id_ in made:
            assert (await shop.ask("DELETE", f"/keys/{id_}")).status == 204
            world.later(MINUTE)
        await world.server.pruner.round()
        left = {it["id"] for it in (await shop.get("/keys"))["items"]}
        assert left & set(made) == set(made[2:]) and in_force["id"] in left
        await world.stop()
        await world.start()
        assert {it["id"] for it in (await shop.get("/keys"))["items"]} == left


async def test_a_reader_who_comes_after_more_than_a_year_is_sent_to_the_records_and_misses_nothing(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path, **KEPT) as world:
        pair = await world.shop_and_customer("care")
        mia = pair.signers["second"]
        early = (await inbox(world, mia)).json["cursor"]
        await pair.go("second", "mute", purposes=("sales",))
        await pair.go("first", "message")
        await pair.go("second", "mute", until=(world.now() + DAY) // 1000)
        waits = await pair.go("first", "message")
        world.later(2 * DAY)
        while "delivered" not in await pair.kinds("second"):
            await asyncio.sleep(0.05)
        late = (await inbox(world, mia)).json["cursor"]
        world.later(450 * DAY)
        await world.server.pruner.round()
        assert rows(world, "inbox", f"stream = '{mia.did}'") == 1, "the mark"
        assert (await inbox(world, mia, early)).code == "cursor_expired"
        reply = await world.send("GET", INBOX, headers={
            **world.signature(mia, INBOX), "Accept": "text/event-stream", "Last-Event-ID": early,
        })  # fmt: skip
        assert reply.code == "cursor_expired"
        # Who had read all of it misses nothing, and who has no cursor begins with what is kept.
        assert (await inbox(world, mia, late)).json["items"] == []
        page = (await inbox(world, mia)).json
        assert page["items"] == [] and page["pruned"] is True
        assert "pruned" not in (await inbox(world, mia, page["cursor"])).json
        await pair.go("first", "remember", key="tea")
        assert [len((await inbox(world, mia, cursor)).json["items"]) for cursor in (late, None)] == [1, 1]
        assert (await inbox(world, mia, early)).code == "cursor_expired"

        def state_from(records: list[dict[str, str]], state: Any) -> Any:
            find = world.server.directory.find_key
            for it in records:
                event = open_event(it["event"], find).event
                act = open_act(it["act"], lambda kid: key_of_kid(kid) or find(kid)) if "act" in it else None
                state = state if event.event == "opened" else fold(state, Record(event, act))
            return state

        everything = await records(pair, "second")
        assert sum(waits.raw == it.get("act") for it in everything) == 1, "with its delivery"
        opened = open_event(everything[0]["event"], world.server.directory.find_key).event
        assert opened.event == "opened"
        assert (
            public_state(state_from(everything, initial_state(pair.agreement, opened)))
            == (await pair.seen("second")).json["state"]
        )


async def test_old_news_goes_however_many_people_there_are(tmp_path: Path, monkeypatch: Any) -> None:
    """GROW-3: more of them than are looked at in one step."""
    monkeypatch.setattr(pruner, "STREAMS", 2)
    async with a_world(tmp_path, inbox_days=30) as world:
        for _ in range(3):
            await world.shop_and_customer("care")
        assert rows(world, "inbox") > 6
        world.later(31 * DAY)
        await world.server.pruner.round()
        assert rows(world, "inbox") == rows(world, "inbox", "kind = 'pruned'") == 6, "a mark in each stream"


async def records(pair: Pair, side: Any) -> list[dict[str, str]]:
    """All records that a side may have, page by page."""
    found: list[dict[str, str]] = []
    path = f"{CONNECTIONS}/{pair.cid}/records"
    query = ""
    while items := (page := (await pair.world.read(pair.signers[side], path + query)).json)["items"]:
        found += items
        query = f"?cursor={page['cursor']}"
    return found


async def test_the_records_of_a_side_hold_nothing_of_the_other_side_s_settings(
    tmp_path: Path, monkeypatch: Any
) -> None:
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        await pair.go("second", "mute")
        await pair.go("second", "mute_end", mute=pair.state.second.mutes[0].id, until=(world.now() + HOUR) // 1000)
        world.later(2 * HOUR)
        await pair.go("first", "message")
        for number in range(120):
            await pair.go("first", "remember", key=f"k{number % 9}")
        path = f"{CONNECTIONS}/{pair.cid}/records"
        hers, theirs = await records(pair, "second"), await records(pair, "first")
        monkeypatch.setattr(deliver_records, "PAGE", 1)
        async with asyncio.timeout(30):
            assert (await records(pair, "second"), await records(pair, "first")) == (hers, theirs), "one on each page"
        monkeypatch.undo()
        assert len(hers) == len(theirs) + 2, "her hidden end, and that her mute was over"
        times = [open_event(it["event"], world.server.directory.find_key).event.at for it in hers]
        assert times == sorted(set(times))
        assert (await world.read(world.person(), path)).code == "not_found"
        reply = await world.read(pair.signers["first"], path)
        cursor = reply.json["cursor"]
        assert (await world.read(pair.signers["second"], f"{path}?cursor={cursor}")).code == "malformed"


async def test_a_business_with_an_old_cursor_is_told_to_begin_again(tmp_path: Path) -> None:
    async with a_world(tmp_path, inbox_days=30) as world:
        shop = await a_shop(world)
        cursor = (await shop.get("/notifications?order=oldest"))["next_cursor"]
        pair = await shop.customer("care")
        read = (await shop.get(f"/notifications?order=oldest&cursor={cursor}"))["next_cursor"]
        world.later(31 * DAY)
        await world.server.pruner.round()
        assert await shop.refused("GET", f"/notifications?order=oldest&cursor={cursor}") == "cursor_expired"
        assert (await shop.get(f"/notifications?order=oldest&cursor={read}"))["items"] == []
        await pair.go("second", "mute")
        for query in (f"?order=oldest&cursor={read}", "", "?order=oldest", "?since=2024-06-01T00:00:00Z"):
            (item,) = (await shop.get(f"/notifications{query}"))["items"]
            assert item["type"] == "connection.muted"


async def test_a_business_that_makes_and_ends_keys_without_end_is_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(provisioning, "MOST_LISTED", 5)
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/keys", {"role": "agent", "label": "a"})
        for _ in range(3):
            made = await shop.post(f"/keys/{made['id']}/rotate", {"overlap_seconds": 0})
        assert await shop.refused("POST", "/keys", {"role": "agent", "label": "b"}) == "too_many_keys"
        assert (await shop.ask("DELETE", f"/keys/{made['id']}")).status == 204


async def test_a_no_waits_for_one_small_step_at_most_while_thousands_of_rows_go(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """A stranger has left thousands of halves; they are pruned while Mia ends her connection."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        made = await shop.post("/offers", {**EXAMPLE_OFFER, "countersign": "by_hand"})
        half = await proposed(shop, made["id"], world.person())
        with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as raw:
            raw.execute(
                "WITH RECURSIVE many(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM many WHERE i < 3000)"
                " INSERT INTO proposals SELECT cid || i, offer, first_did, second_did || i, raw, countersign_by, phase,"
                " alternative, created_at, ended_at, ended_by, reason FROM proposals, many WHERE cid = ?",
                (half.cid,),
            )
            raw.commit()
        world.later(60 * DAY)
        steps = 0
        prune = world.server.store.prunes._write

        async def counted(*duty: Any) -> Any:
            nonlocal steps
            try:
                return await prune(*duty)
            finally:
                steps += 1

        monkeypatch.setattr(world.server.store.prunes, "_write", counted)
        round_ = asyncio.create_task(world.server.pruner.round())
        while steps < 3:
            await asyncio.sleep(0.01)
        await pair.go("second", "mute")
        await pair.go("second", "revoke")
        assert not round_.done() and rows(world, "proposals") > 100, "it was at it all the while"
        monkeypatch.setattr(pruner, "WAITS_FOR", 0)
        await round_
        assert rows(world, "proposals") == 0
        assert steps >= 3001 // pruner.MOST
        assert (await pair.seen("second")).json["state"]["phase"] == "ended"
