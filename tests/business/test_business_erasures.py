"""What a business owes after the end: a customer asks to be forgotten, and gets an account of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comity.client import Connection, Statement
from comity.errors import Refused, Unreachable
from comity.http_api import ACTS
from comity_server.fsck.checker import check_store
from comity_server.schema import instant
from support.business_world import Shop, a_shop
from support.sdk_world import SdkWorld, sdk_world
from support.world import DAY, Pair, a_world

INVOICES = {"what": "payments", "ground": "legal_obligation", "kept_until": "2032-12-31T23:59:59Z"}
SAID = {"deleted": ["contact", "messages"], "kept": [INVOICES], "passed_on": ["Zahlwerk 24"]}


async def ended(shop: Shop, by: Any = "second") -> Pair:
    """A customer of a while; then one of the two had enough."""
    pair = await shop.customer("care")
    await pair.go(by, "revoke")
    return pair


async def test_a_shop_sees_whose_data_it_owes_an_account_of_and_gives_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        assert await shop.refused("POST", f"/connections/{pair.cid}/erasures", SAID) == "connection_open"
        assert await shop.get("/erasures") == {"object": "list", "items": []}
        await pair.go("second", "revoke")
        end = pair.state.ended_at
        erasure = {
            "id": pair.cid,
            "object": "erasure",
            "connection": pair.cid,
            "ended_at": instant(end),
            "ended_by": "them",
            "due_at": instant(end + 30 * DAY),
        }
        assert await shop.get("/erasures") == {"object": "list", "items": [{**erasure, "status": "open"}]}
        said = await shop.post(f"/connections/{pair.cid}/erasures", SAID, again="once")
        again = await shop.ask("POST", f"/connections/{pair.cid}/erasures", SAID, again="once")
        assert again.json == said and again.headers["Idempotency-Replayed"] == "true"
        assert again.headers["Location"] == f"/v1/business/connections/{pair.cid}/acts/{said['id']}"
        kept = [{**INVOICES, "kept_until": "2032-12-31T23:59:59.000Z"}]
        statement = {"act": said["id"], "accepted_at": said["accepted_at"], **SAID, "kept": kept}
        done = {**erasure, "status": "done", "done_at": said["accepted_at"], "statement": statement}
        assert (
            await shop.get("/erasures")
            == {"object": "list", "items": [done]}
            == await shop.get("/erasures?status=done")
        )
        assert await shop.get("/erasures?status=open") == {"object": "list", "items": []}
        # Once more, and it is another statement, which takes the place of the first.
        newest = await shop.post(f"/connections/{pair.cid}/erasures", {"deleted": ["contact", "messages", "payments"]})
        (item,) = (await shop.get("/erasures"))["items"]
        assert (item["done_at"], item["statement"]["act"]) == (said["accepted_at"], newest["id"]) and newest != said
        assert "kept" not in item["statement"]
        assert (await pair.kinds("second"))[-2:] == ["erasure", "erasure"]
        await world.stop()
        assert check_store(world.folder / "data").findings.first == []
        await world.start()
        assert (await shop.get("/erasures"))["items"] == [item]


async def test_nobody_else_can_see_or_say_anything_of_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, rival = await a_shop(world), await a_shop(world, "rival")
        pair = await ended(shop)
        assert await rival.get("/erasures") == {"object": "list", "items": []}
        replies = [await rival.ask("POST", f"/connections/{cid}/erasures", SAID) for cid in (pair.cid, "A" * 43)]
        assert {reply.plain for reply in replies} == {replies[0].plain} and replies[0].code == "not_found"
        reader = await shop.key_of("read_only")
        assert len((await shop.get("/erasures", key=reader))["items"]) == 1
        assert await shop.refused("POST", f"/connections/{pair.cid}/erasures", SAID, key=reader) == "scope_missing"


async def test_an_invalid_statement_leaves_the_erasure_due(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await ended(shop)
        for body in (
            {},
            {"deleted": ["payments"], "kept": [INVOICES]},
            {"deleted": ["everything"]},
            {"deleted": [], "kept": [{**INVOICES, "ground": "consent"}]},
            {"deleted": [], "passed_on": ["https://shop.example/come-back"]},
            {"deleted": [], "text": "Come back!"},
        ):
            assert await shop.refused("POST", f"/connections/{pair.cid}/erasures", body) == "invalid_request", body
        old = {"deleted": [], "kept": [{**INVOICES, "kept_until": "2024-01-01T00:00:00Z"}]}
        assert await shop.refused("POST", f"/connections/{pair.cid}/erasures", old) == "until_passed"
        for number in range(12):
            await shop.post(f"/connections/{pair.cid}/erasures", {"deleted": ["media"] if number else []})
        assert await shop.refused("POST", f"/connections/{pair.cid}/erasures", SAID) == "too_many_statements"


async def test_a_shop_that_forgets_sees_it_late_and_whoever_ends_it_itself_owes_it_too(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        first = await ended(shop)
        world.later(DAY)
        second = await ended(shop, "first")
        world.later(29 * DAY + 1000)
        expected = [(second.cid, "open", "us"), (first.cid, "late", "them")]
        for query, order in (("", expected), ("&order=oldest", expected[::-1]), ("&status=open", expected)):
            pages: list[Any] = [await shop.get(f"/erasures?limit=1{query}")]
            pages.append(await shop.get(f"/erasures?limit=1{query}&cursor={pages[0]['next_cursor']}"))
            shown = [(it["connection"], it["status"], it["ended_by"]) for page in pages for it in page["items"]]
            assert shown == order and "next_cursor" not in pages[1]
        await shop.post(f"/connections/{first.cid}/erasures", SAID)
        (_, late) = (await shop.get("/erasures"))["items"]
        assert late["status"] == "done" and late["done_at"] > late["due_at"]
        # A cursor of another list is none of this one.
        cursor = pages[0]["next_cursor"]
        assert await shop.refused("GET", f"/drafts?cursor={cursor}") == "invalid_request"


async def test_a_shop_that_keeps_its_key_signs_its_statement_itself(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer = await world.business("own")
        shop = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
        pair = await world.connect(signer, world.person())
        await pair.go("second", "revoke")
        assert await shop.refused("POST", f"/connections/{pair.cid}/erasures", SAID) == "signing_key_not_kept"
        said = pair.compose("first", "erasure", deleted=("contact",))
        told = [await shop.post(f"/connections/{pair.cid}/erasures", jws=said.raw) for _ in range(2)]
        assert told[0] == told[1] and told[0]["id"] == said.id
        (item,) = (await shop.get("/erasures"))["items"]
        assert item["statement"]["act"] == said.id and item["status"] == "done"


# --- what the customer sees


@pytest.fixture
async def people(tmp_path: Path) -> Any:
    async with sdk_world(tmp_path) as world:
        yield world


async def test_a_customer_sees_the_date_and_then_the_account(people: SdkWorld) -> None:
    """A wallet goes on reading after the end, and holds against the state what it reads."""
    salon, mia = await people.business("salon"), await people.person("mia")
    ours, theirs = await people.connect(salon, mia, "care")
    with pytest.raises(Refused, match="connection_open"):
        await ours.state_erasure(("contact",))
    await theirs.revoke()
    owed = theirs.erasure_due()
    assert owed is not None and owed.due_at == theirs.state.ended_at + 30 * DAY and theirs.erasure_due("me") is None
    last = (await theirs.timeline())[-1]
    assert (last.at, last.who, last.kind) == (owed.due_at, "them", "duty")
    assert last.sentence == f"{theirs.name} is to say by this time what became of your data"
    people.pass_time(days=31)
    assert (await theirs.timeline())[-1].sentence.endswith("; it is late")
    await ours.sync()
    assert "you were to say by this time what became of their data; it is late" in str(await ours.timeline())
    until = people.host.now() // 1000 + 86_400
    # The first time nobody answers; the statement goes out again, signed anew, for an hour has passed.
    people.wires["salon"].cut = lambda request: request.url.endswith(ACTS)
    with pytest.raises(Unreachable):
        await ours.state_erasure()
    people.wires["salon"].cut = None
    people.pass_time(hours=1)
    await ours.sync()
    assert [it.kind for it in await theirs.sync()] == ["erasure"] and theirs.statement() == ours_said(ours)
    await ours.state_erasure(
        ("contact", "messages"), kept=[("payments", "legal_obligation", until)], passed_on=["Kurier"]
    )
    (news,) = [it for it in await theirs.sync() if it.kind == "erasure"]
    said = theirs.statement()
    assert said is not None and (said.id, said.by, said.deleted) == (news.act, "them", ("contact", "messages"))
    assert [(it.what, it.until) for it in said.kept] == [("payments", until)] and not said.is_complete
    assert said.passed_on == ("Kurier",) and theirs.statement("me") is None
    last = (await theirs.timeline())[-1]
    assert last.kind == "erasure" and "deleted contact, messages; kept payments (legal obligation" in last.sentence
    assert "Kurier" not in str(await theirs.timeline())
    # Mia owes nothing, and can say so all the same; her wallet reads it all again from its file.
    await theirs.state_erasure(("messages",))
    await ours.sync()
    assert [it.by for it in (ours.statement("me"), ours.statement()) if it] == ["me", "them"]
    again = (await people.again(mia, "mia")).connections()[0]
    assert again.statement() == said and again.state == theirs.state
    assert await again.sync() == []


def ours_said(party: Connection) -> Statement:
    """What this side said, as the other side sees it."""
    said = party.statement("me")
    assert said is not None
    return replace(said, by="them")
