"""A shop is away, and says so to everybody at once (spec/away.md, NOTICE-1 to NOTICE-8)."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comity.crypto.keys import SigningKey
from comity.documents.notices import MOST_NOTICES, NOTICE_TYP, open_notice
from comity.encoding import hash_id
from comity.transparency.entries import Kind, entry_tag, public_tag_key
from comity.transparency.notes import parse_vkey
from comity.transparency.receipts import open_receipt
from comity_server.fsck.checker import check_store
from comity_server.schema import instant
from comity_server.store.rows import Batch
from comity_server.store.sqlite import SqliteStore
from comity_server.writer.unit_of_work import UnitOfWork
from support.business_world import Shop, a_shop
from support.parties import forge
from support.world import DAY, HOUR, Pair, World, a_world

TEXTS = {"en": "We are at the sea. Urgent: 020 123 456, https://sea.example", "de": "Wir sind am Meer."}


def due(world: World, ahead: int) -> str:
    return datetime.fromtimestamp((world.now() + ahead) // 1000, UTC).isoformat()


def absence(world: World, starts: int = -HOUR, until: int = 14 * DAY, **changes: Any) -> dict[str, Any]:
    return {"starts_at": due(world, starts), "ends_at": due(world, until), "texts": TEXTS, **changes}


async def publish(shop: Shop, **changes: Any) -> Any:
    reply = await shop.ask("PUT", "/notices/away", absence(shop.world, **changes))
    assert reply.status == 200, reply
    return reply.json


async def shown(pair: Pair, shop: Shop) -> list[Any]:
    """The notices of the shop that a customer is shown."""
    raws = (await pair.seen("second")).json["notices"]
    return [open_notice(raw, shop.world.server.directory.find_key).notice for raw in raws]


async def test_a_shop_is_away_and_its_customers_read_it_when_they_look(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        pair, elsewhere = await shop.customer("care"), await other.customer("care")
        made = await publish(shop)
        assert (made["kind"], made["status"]) == ("away", "active")
        (notice,) = await shown(pair, shop)
        assert notice.texts == TEXTS and instant(notice.until * 1000) == made["ends_at"]
        assert (await pair.seen("first")).json["notices"] == [] and await shown(elsewhere, shop) == []
        # No news of it, and no word of it, in any inbox.
        for page in (await pair.news("second"), await pair.news("first")):
            assert "notice" not in str(page) and not any(text in str(page) for text in TEXTS.values())
        assert (await shop.get("/notifications?order=oldest"))["items"][-1]["type"] != "notice"
        # A later one takes its place; its end ends it, and then there is nothing left to end.
        await publish(shop, until=20 * DAY, texts={})
        (notice,) = await shown(pair, shop)
        assert notice.texts == {}
        ended = await shop.ask("PUT", "/notices/away", absence(world, until=0))
        assert ended.status == 200 and ended.json["status"] == "ended"
        assert await shown(pair, shop) == []
        world.later(1000)
        assert await shop.refused("PUT", "/notices/away", absence(world, until=0)) == "not_found"
        # By time alone, too.
        await publish(shop)
        world.later(15 * DAY)
        assert await shown(pair, shop) == []
        await world.stop()
        await world.start()
        await publish(shop)
        await world.stop()
        await world.start()
        assert len(await shown(pair, shop)) == 1
        await pair.go("second", "revoke")
        assert (await pair.seen("second")).json["notices"] == []


async def test_every_notice_stands_in_the_log_and_in_the_list_with_its_receipt(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = [await publish(shop, until=(14 + n) * DAY) for n in range(3)]
        told = (await world.send("GET", "/b/shop/notices")).json
        while not all("receipt" in it for it in told["notices"]):
            # A checkpoint covers them within a moment.
            await asyncio.sleep(0.05)
            told = (await world.send("GET", "/b/shop/notices")).json
        assert [it["notice"] for it in told["notices"]] == [it["jws"] for it in made]
        vkey = parse_vkey((await world.send("GET", "/.well-known/comity")).json["logs"][0]["vkey"])
        for it in told["notices"]:
            receipt = open_receipt(it["receipt"], vkey)
            assert receipt.entry.kind is Kind.NOTICE and receipt.entry.side is None
            assert receipt.is_of(it["notice"].encode())
            assert receipt.entry.tag == entry_tag(public_tag_key(told["did"]), receipt.opening.at)
        assert (await world.send("GET", "/b/nobody/notices")).code == "not_found"
    assert check_store(tmp_path / "data").findings.first == []


async def test_a_notice_and_its_entry_are_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        commit, died = SqliteStore.commit, list[Batch]()

        async def dying(self: SqliteStore, batch: Batch, *before: Any) -> None:
            if batch.put_notice and not died:
                assert len(batch.put_entry) == 1
                died.append(batch)
                raise OSError("the disk is gone")
            await commit(self, batch, *before)

        monkeypatch.setattr(SqliteStore, "commit", dying)
        assert (await shop.ask("PUT", "/notices/away", absence(world))).status == 503
        assert await shown(pair, shop) == [] and (await world.send("GET", "/b/shop/notices")).json["notices"] == []
        await publish(shop)
        assert len(await shown(pair, shop)) == 1


@pytest.mark.parametrize("purpose", ["care", "sales", "complaint", "safety"])
async def test_a_verdict_is_the_same_with_a_notice_and_without(tmp_path: Path, purpose: str) -> None:
    """Between two businesses, the one that asks is told until when the other is away, and nothing else differs."""
    async with a_world(tmp_path) as world:
        shop, baker = await a_shop(world), await a_shop(world, "baker")
        one, two = (world.server.context.kept.newest(name) for name in ("shop", "baker"))
        assert one is not None and two is not None
        pair = await world.connect(one, two)
        await pair.grant("second", "care", channels=("app",))
        question = {"connection": pair.cid, "purpose": purpose}

        async def asked() -> dict[str, Any]:
            told: dict[str, Any] = await shop.post("/check", question)
            return {**told, "valid_until": ""}

        before = await asked()
        assert await asked() == before
        await publish(baker)
        after = await asked()
        away = after.pop("away_until")
        assert after == before and away.startswith("2024-07-02")
        if purpose in ("care", "complaint"):
            sent = await shop.ask("POST", f"/connections/{pair.cid}/messages", {"purpose": purpose, "text": "Hello?"})
            assert (sent.status, sent.json["status"], sent.json["away_until"]) == (201, "delivered", away)
        await baker.ask("PUT", "/notices/away", absence(world, until=0))
        assert "away_until" not in await asked()
        # One that begins later says nothing yet, and begins by itself.
        await publish(baker, starts=HOUR)
        assert "away_until" not in await asked()
        world.later(2 * HOUR)
        assert "away_until" in await asked()


async def test_a_shop_may_publish_two_dozen_notices_in_a_year_and_end_them_at_any_time(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        for _ in range(MOST_NOTICES):
            await publish(shop)
            world.later(1000)
        refused = await shop.ask("PUT", "/notices/away", absence(world))
        assert (refused.status, refused.code) == (429, "too_many_notices")
        assert 364 * 86_400 < int(refused.headers["Retry-After"]) <= 365 * 86_400
        assert (await shop.ask("PUT", "/notices/away", absence(world, until=0))).status == 200
        world.later(365 * DAY)
        await publish(shop)


async def test_a_shop_whose_clock_is_ahead_ends_its_notice_when_the_year_has_no_more(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer = await world.business("own")
        own = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
        pair = await world.connect(signer, world.person())

        def signed(ahead: int, lasts: int) -> str:
            now = world.now() // 1000 + ahead
            members = {
                "v": 2,
                "iss": signer.did,
                "iat": now,
                "kind": "away",
                "from": now,
                "until": now + lasts,
                "texts": {},
            }
            return forge(members, NOTICE_TYP, signer)

        for _ in range(MOST_NOTICES):
            assert (await own.ask("PUT", "/notices/away", jws=signed(0, 9999))).json["status"] == "active"
            world.later(1000)
        assert len(await shown(pair, own)) == 1
        assert await own.refused("PUT", "/notices/away", jws=signed(300, 9999)) == "too_many_notices"
        ended = await own.ask("PUT", "/notices/away", jws=signed(300, 0))
        assert (ended.status, ended.json["status"]) == (200, "ended")
        assert await shown(pair, own) == []
        assert await own.refused("PUT", "/notices/away", jws=signed(301, 0)) == "not_found", "there is none to end"


async def test_a_notice_and_its_end_in_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        written, commit, go_on = list[Batch](), SqliteStore.commit, asyncio.Event()
        began = asyncio.Event()

        async def seen(self: SqliteStore, batch: Batch, *before: Any) -> None:
            await commit(self, batch, *before)
            written.append(batch)

        async def wait(_group: UnitOfWork) -> None:
            began.set()
            await go_on.wait()

        # The first use of the key is written down before.
        await shop.get("/self")
        monkeypatch.setattr(SqliteStore, "commit", seen)
        held = asyncio.create_task(world.server.writer.command(wait))
        await began.wait()
        asked = []
        for number, ahead in enumerate((14 * DAY, 0, 0), 1):
            asked.append(asyncio.create_task(shop.ask("PUT", "/notices/away", absence(world, until=ahead))))
            async with asyncio.timeout(20):
                while world.server.writer.weight <= number:
                    await asyncio.sleep(0.01)
        go_on.set()
        await held
        went, back, again = await asyncio.gather(*asked)
        assert (went.status, back.status, again.status) == (200, 200, 200) and again.json == back.json
        assert [len(it.put_notice) for it in written if it.put_notice] == [2], "both in one"
        assert await shown(pair, shop) == []


async def test_a_shop_that_signs_itself_publishes_what_it_signed_with_its_newest_key(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer = await world.business("own")
        own, other = Shop(world, "own", signer.did, await world.server.add_owner_key("own")), await a_shop(world)
        pair = await world.connect(signer, world.person())
        now = world.now() // 1000
        away = {"kind": "away", "from": now, "until": now + 99, "texts": TEXTS}
        members: dict[str, Any] = {"v": 2, "iss": signer.did, "iat": now, **away}
        assert await own.refused("PUT", "/notices/away", absence(world)) == "signing_key_not_kept"
        jws = forge(members, NOTICE_TYP, signer)
        for _ in range(2):
            assert (await own.ask("PUT", "/notices/away", jws=jws)).status == 200
        assert len((await world.send("GET", "/b/own/notices")).json["notices"]) == 1
        plan = {name: value for name, value in members.items() if name not in ("from", "until", "texts")}
        goal = {"id": "calls", "measure": "answered_2d", "target": 0.9, "by": now + 99}
        plan |= {"kind": "plan", "title": "Answer sooner", "goals": [goal], "initiatives": []}
        assert (await own.ask("PUT", "/notices/plan", jws=forge(plan, NOTICE_TYP, signer))).status == 200
        assert [it.kind for it in await shown(pair, own)] == ["away", "plan"]
        assert await own.refused("PUT", "/notices/away", jws=forge(plan, NOTICE_TYP, signer)) == "invalid_request"
        assert await own.refused("PUT", "/notices/plan") == "invalid_request"
        assert await other.refused("PUT", "/notices/away", jws=jws) == "not_found"
        late = forge({**members, "iat": now - 601}, NOTICE_TYP, signer)
        assert await own.refused("PUT", "/notices/away", jws=late) == "iat_out_of_range"
        # A newer key is published: the old one signs no notice any more.
        await world.server.add_business_key("own", SigningKey(bytes(range(32))).public.did)
        again = forge({**members, "until": now + 98}, NOTICE_TYP, signer)
        assert await own.refused("PUT", "/notices/away", jws=again) == "key_replaced"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"until": 93 * DAY}, "/ends_at"),
        ({"texts": {"en": "x" * 201}}, "/texts/en"),
        ({"texts": {"en": "two\nlines"}}, "/texts/en"),
        ({"texts": {"en": "Back\u200b soon"}}, "/texts/en"),
        ({"texts": {"en": "Back\U000e0041 soon"}}, "/texts/en"),
        ({"texts": {"en": "\u00a0 \u3000"}}, "/texts/en"),
        ({"texts": {"de-CH": "x", "de-ch": "x"}}, "/texts"),
        ({"texts": {"english!": "x"}}, "/texts/english!/[key]"),
        ({"texts": dict.fromkeys(("de", "en", "fr", "it", "rm", "es", "pl", "tr", "el"), "x")}, "/texts"),
    ],
)
async def test_an_invalid_notice_is_malformed(tmp_path: Path, changes: dict[str, Any], pointer: str) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        problem = await shop.ask("PUT", "/notices/away", absence(world, **changes))
        assert problem.code == "invalid_request" and pointer in [it["pointer"] for it in problem.json["errors"]]


async def test_ten_thousand_customers_are_told_by_one_entry_and_no_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pairs = [await shop.customer() for _ in range(3)]
        known = await world.server.store.state(pairs[0].cid)
        assert known is not None
        batch, place = Batch(), {"name": "shop", "side": "first", "offer": "AAAAAAAAAAAA", "opened_at": 1}
        for n in range(10_000):
            cid = hash_id(str(n).encode())
            row = {"cid": cid, "at": 1, "phase": "open", "wake_at": None, "tag_secret": known.tag_secret}
            batch.put_connection.append({**row, "state": known.state})  # type: ignore[typeddict-item]
            batch.put_relation.append({**place, "cid": cid})
        await world.server.store.commit(batch)
        assert len((await shop.get("/connections?limit=100"))["items"]) == 100
        written, commit = list[Batch](), SqliteStore.commit

        async def seen(self: SqliteStore, batch: Batch, *before: Any) -> None:
            await commit(self, batch, *before)
            written.append(batch)

        monkeypatch.setattr(SqliteStore, "commit", seen)
        await publish(shop)
        (one,) = [batch for batch in written if batch.put_notice]
        assert (len(one.put_notice), len(one.put_entry)) == (1, 1)
        assert not (one.put_act or one.put_event or one.put_news or one.put_connection)
        assert [len(await shown(pair, shop)) for pair in pairs] == [1, 1, 1]
