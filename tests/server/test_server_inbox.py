"""How news comes: at once, after a wait, as a stream, and on from where one was."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from comity.crypto.jws import sign_jws
from comity.crypto.keys import Signer
from comity.documents.acts import SETTING_TYP, Mailbox
from comity.documents.proofs import sign_mailbox_proof
from comity.encoding import dump_json
from comity.http_api import ACTS, INBOX, JWT
from support.world import MINUTE, Pair, World, a_world


async def test_a_waiting_reader_gets_news_at_once(world: World) -> None:
    pair = await world.shop_and_customer("care")
    cursor = (await pair.news("second"))["cursor"]
    waiting = asyncio.create_task(pair.news("second", cursor, wait=30))
    await world.are_waiting()
    message = await pair.go("first", "message")
    # Without news it would last half as long again.
    page = await asyncio.wait_for(waiting, 20)
    assert [item["act"] for item in page["items"]] == [message.raw]


async def test_an_inbox_goes_on_where_it_was_after_a_restart(world: World) -> None:
    pair = await world.shop_and_customer("care")
    first = await pair.go("first", "message")
    page = await pair.news("second")
    assert page["items"][-1]["act"] == first.raw
    await world.stop()
    await world.start()
    second = await pair.go("first", "message")
    after = await pair.news("second", page["cursor"])
    assert [item["act"] for item in after["items"]] == [second.raw]
    after_last_item = await pair.news("second", page["items"][-1]["cursor"])
    assert [item["act"] for item in after_last_item["items"]] == [second.raw]


async def test_a_cursor_of_somebody_else_or_a_changed_one_is_refused(world: World) -> None:
    pair = await world.shop_and_customer("care")
    cursor = (await pair.news("first"))["cursor"]
    changed = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BA")
    for bad in (cursor, changed, "x", "A" * 86):
        reply = await world.read(pair.signers["second"], f"{INBOX}?cursor={bad}")
        assert reply.code == "malformed"


@pytest.mark.parametrize("wait", ["-1", "1.5", "1e1", "+1", " 1", "1 ", "", "٣", "x", "0" * 17, "-0"])
async def test_a_wait_without_a_length_is_refused(world: World, wait: str) -> None:
    """HTTP-17."""
    pair = await world.shop_and_customer("care")
    for also in ("", "&stream=1"):
        reply = await world.read(pair.signers["second"], f"{INBOX}?wait={quote(wait)}{also}")
        assert reply.code == "malformed", (wait, also)


@pytest.mark.parametrize("wait", ["0", "00", "10000", "9" * 16])
async def test_a_wait_is_a_whole_number_and_as_long_as_the_server_lets(world: World, wait: str) -> None:
    """HTTP-17: what is there is answered at once."""
    pair = await world.shop_and_customer("care")
    async with asyncio.timeout(20):
        assert (await world.read(pair.signers["second"], f"{INBOX}?wait={wait}")).status == 200


async def test_a_cursor_says_nothing_to_its_bearer(world: World) -> None:
    pair = await world.shop_and_customer("care")
    assert (await pair.news("first"))["cursor"] != (await pair.news("first"))["cursor"]


async def _events(world: World, pair: Pair, many: int, last: str | None = None) -> list[tuple[str, str]]:
    """(cursor, data) of so many items of the second side's stream."""
    signed = world.signature(pair.signers["second"], INBOX)
    headers = dict(signed)
    headers["Accept"] = "text/event-stream"
    if last is not None:
        headers["Last-Event-ID"] = last
    found: list[tuple[str, str]] = []
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as http,
        http.get(world.origin + INBOX, headers=headers) as reply,
    ):
        assert reply.status == 200, await reply.read()
        assert reply.headers["Content-Type"] == "text/event-stream"
        id_ = ""
        async for line in reply.content:
            if line.startswith(b"id: "):
                id_ = line[4:].strip().decode()
            elif line.startswith(b"data: "):
                found.append((id_, line[6:].strip().decode()))
                if len(found) == many:
                    break
    return found


async def test_a_stream_brings_news_as_they_come_and_goes_on_where_it_broke(world: World) -> None:
    pair = await world.shop_and_customer("care")
    reading = asyncio.create_task(_events(world, pair, 2))
    await world.are_waiting()
    message = await pair.go("first", "message")
    items = await reading
    assert message.raw in items[1][1]
    await world.stop()
    await world.start()
    world.later(2 * MINUTE)
    later = await pair.go("first", "message")
    ((_, data),) = await _events(world, pair, 1, last=items[1][0])
    assert later.raw in data


async def test_one_mailbox_brings_the_news_of_all_connections(world: World) -> None:
    pairs = [await world.shop_and_customer("care") for _ in range(2)]
    mailbox = world.person()
    for pair in pairs:
        await pair.go("second", "mailbox", box=mailbox)
    for pair in pairs:
        await pair.go("first", "message")
    page = (await world.read(mailbox, INBOX)).json
    assert [item["cid"] for item in page["items"]] == [pair.cid for pair in pairs]
    assert [len((await pair.news("second"))["items"]) for pair in pairs] == [2, 2]


async def test_nobody_pours_news_into_the_stream_of_another_s_mailbox(world: World) -> None:
    """ACT-15: Eve knows Mia's mailbox key by its name, and not how to sign with it."""
    mias, eves = await world.shop_and_customer("care"), await world.shop_and_customer("care")
    mailbox, eve = world.person(), eves.signers["second"]
    told = (await mias.go("second", "mailbox", box=mailbox)).payload
    assert isinstance(told, Mailbox) and told.proof is not None
    await eves.go("second", "budget", messages={"max": 9, "per": "day"})
    setting = json.loads(eves.compose("second", "mailbox").payload.to_json())
    place = (setting["cid"], setting["seq"], setting["prev"])
    proofs = {
        "her own": sign_mailbox_proof(eve.did, *place, eve),
        "under the mailbox's name": sign_mailbox_proof(eve.did, *place, Signer(mailbox.kid, eve.key)),
        "Mia's": told.proof,
    }
    for name, proof in proofs.items():
        act = sign_jws(dump_json({**setting, "did": mailbox.did, "proof": proof}), SETTING_TYP, eve)
        reply = await world.send("POST", ACTS, act.encode(), JWT)
        assert (reply.code, reply.status) == ("wrong_proof", 409), name
    bare = sign_jws(dump_json({**setting, "did": mailbox.did}), SETTING_TYP, eve)
    assert (await world.send("POST", ACTS, bare.encode(), JWT)).code == "malformed"
    await eves.go("first", "message")
    assert (await world.read(mailbox, INBOX)).json["items"] == []
    # Nor does the other side of Mia's own connection: the proof is for hers.
    shop = mias.signers["first"]
    claims = {**json.loads(mias.compose("first", "mailbox").payload.to_json()), "did": mailbox.did}
    stolen = sign_jws(dump_json({**claims, "proof": told.proof}), SETTING_TYP, shop)
    assert (await world.send("POST", ACTS, stolen.encode(), JWT)).code == "wrong_proof"
    await mias.go("second", "mailbox")
    await mias.go("first", "message")
    assert (await world.read(mailbox, INBOX)).json["items"] == []


async def test_a_setting_is_seen_by_nobody_else(world: World) -> None:
    pair = await world.shop_and_customer("care")
    setting = await pair.go("second", "budget", messages={"max": 1, "per": "day"})
    assert await pair.kinds("first") == ["proposal", "opened", "grant"]
    assert (await world.read(pair.signers["first"], f"/v1/acts/{setting.id}")).code == "not_found"
    assert (await world.read(pair.signers["second"], f"/v1/acts/{setting.id}")).json["act"] == setting.raw
    assert "settings" not in (await pair.seen("first")).json["state"]["second"]


async def test_a_new_key_reads_on_and_the_old_one_reads_no_more(world: World) -> None:
    pair = await world.shop_and_customer("care")
    old, new = pair.signers["second"], world.person()
    cursor = (await pair.news("second"))["cursor"]
    await pair.rotate("second", new)
    await pair.grant("second", "care")
    message = await pair.go("first", "message")
    assert [item["act"] for item in (await pair.news("second", cursor))["items"]] == [message.raw]
    assert (await world.read(old, INBOX)).code == "key_replaced"
    assert (await world.read(old, f"/v1/connections/{pair.cid}")).code == "not_found"


async def test_too_many_who_wait_are_asked_to_come_again(tmp_path: Any) -> None:
    async with a_world(tmp_path, max_waiters=1) as world:
        pair = await world.shop_and_customer("care")
        cursors = {side: (await pair.news(side))["cursor"] for side in ("first", "second")}
        waiting = asyncio.create_task(pair.news("second", cursors["second"], wait=20))
        await world.are_waiting()
        path = f"{INBOX}?wait=5&cursor={cursors['first']}"
        headers = world.signature(pair.signers["first"], path)
        reply = await world.send("GET", path, headers=headers)
        assert reply.code == "overloaded"
        assert reply.headers["Retry-After"]
        await pair.go("first", "message")
        assert len((await waiting)["items"]) == 1


async def test_a_stop_ends_every_wait_at_once(world: World) -> None:
    pair = await world.shop_and_customer("care")
    cursor = (await pair.news("second"))["cursor"]
    waiting = asyncio.create_task(pair.news("second", cursor, wait=30))
    await world.are_waiting()
    async with asyncio.timeout(20):
        await world.stop()
        assert (await waiting)["items"] == []
    await world.start()
