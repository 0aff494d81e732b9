"""A connection that opened after the copy was made, which was put back, begins again from what both sides hold; a half
that waited does not (REC-10, REC-11)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comity.documents.agreements import countersign
from comity.encoding import dump_json
from comity.http_api import JSON_LINES, RECORDS
from comity_tools.cli import main
from support.business_world import a_shop
from support.restored_server import Backup, codes, confirm, state_at_server
from support.world import Pair, World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world with a running server."""
    async with a_world(tmp_path) as made:
        yield made


def agreement_of(pair: Pair) -> Any:
    """Both signatures, as they travel."""
    return json.loads(pair.agreement.raw)


async def opened_event(world: World, pair: Pair) -> str:
    """What the server stated when it opened."""
    kept = await world.server.store.agreement(pair.cid)
    assert kept is not None
    return kept[1]


async def hand_in(world: World, *lines: dict[str, Any]) -> Any:
    """What is handed in is answered line by line, or refused as a whole."""
    reply = await world.send("POST", RECORDS, b"\n".join(map(dump_json, lines)), JSON_LINES)
    return reply.code or codes([json.loads(line) for line in reply.body.splitlines()])


async def test_a_person_who_ended_a_connection_that_the_store_lost_is_not_reached(world: World) -> None:
    backup = await Backup.of(world)
    pair = await world.shop_and_customer("care")
    opened, agreement = await opened_event(world, pair), agreement_of(pair)
    revoke = await pair.go("second", "revoke")
    await backup.put_back()
    assert (await world.act(revoke)).code == "not_found"
    record = {"event": pair.events[-1], "act": revoke.raw}
    assert await hand_in(world, record) == "not_found"
    assert await hand_in(world, {"event": opened}) == "not_found"
    assert await hand_in(world, {"event": opened, "agreement": agreement}) == [None]
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")
    assert await hand_in(world, record) == [None]
    assert (await state_at_server(world, pair.cid)).phase == "ended"
    assert await hand_in(world, {"event": opened, "agreement": agreement}) == [None], "once more changes nothing"
    result = CliRunner().invoke(main, ["fsck", "--data", str(world.folder / "data")])
    assert result.exit_code == 0, result.output


async def test_both_hear_that_it_opened_and_that_it_recovers(world: World) -> None:
    backup = await Backup.of(world)
    pair = await world.shop_and_customer()
    line = {"event": await opened_event(world, pair), "agreement": agreement_of(pair)}
    tags = (await world.read(pair.signers["second"], "/v1/inbox")).json["items"][0]["tags"]
    await backup.put_back()
    assert await hand_in(world, line) == [None]
    news = (await world.read(pair.signers["second"], "/v1/inbox")).json["items"]
    assert [item["kind"] for item in news] == ["opened", "event"]
    assert news[0]["tags"] == tags, "the keys of its tags are those of before (LOG-9)"
    assert (await confirm(pair, "second")).json == {"lacks": [], "recovering": ["first"]}


async def test_an_event_of_another_agreement_or_without_a_valid_signature_opens_nothing(world: World) -> None:
    backup = await Backup.of(world)
    pair, other = await world.shop_and_customer(), await world.shop_and_customer()
    opened, agreement = await opened_event(world, pair), agreement_of(pair)
    await backup.put_back()
    assert await hand_in(world, {"event": opened, "agreement": agreement_of(other)}) == ["malformed"]
    half = {**agreement, "signatures": agreement["signatures"][:1]}
    assert await hand_in(world, {"event": opened, "agreement": half}) == ["malformed"]
    forged = {**agreement, "signatures": [agreement["signatures"][0], agreement_of(other)["signatures"][1]]}
    assert await hand_in(world, {"event": opened, "agreement": forged}) in (["bad_signature"], ["malformed"])
    assert await world.server.store.state(pair.cid) is None


async def test_a_server_that_was_not_restored_opens_nothing_again(world: World) -> None:
    pair = await world.shop_and_customer()
    line = {"event": await opened_event(world, pair), "agreement": agreement_of(pair)}
    await world.stop()
    (world.folder / "data" / "comity.db").unlink()
    (world.folder / "data" / "log.head").unlink()
    await world.start()
    assert await hand_in(world, line) == "not_found"


async def test_a_business_finds_the_customer_again_whom_the_copy_did_not_know(world: World) -> None:
    shop = await a_shop(world)
    backup = await Backup.of(world)
    pair = await shop.customer("care")
    line = {"event": await opened_event(world, pair), "agreement": agreement_of(pair)}
    await backup.put_back()
    assert (await shop.get("/connections"))["items"] == []
    assert await hand_in(world, line) == [None]
    (found,) = (await shop.get("/connections"))["items"]
    assert found["id"] == pair.cid
    assert (await shop.get(f"/connections/{pair.cid}"))["unconfirmed_by"] == ["us", "them"]


async def test_a_half_that_waited_is_void_and_its_accepter_may_sign_anew(world: World) -> None:
    offerer, accepter = await world.business("shop"), world.person()
    offer = world.offer(offerer)
    await world.publish(offer)
    half = world.half(offer, offerer, accepter)
    assert (await world.propose(offer, half)).status == 202
    backup = await Backup.of(world)
    # She takes it back, and the server forgets that.
    path = f"/v1/agreements/{half.cid}"
    assert (await world.read(accepter, path, "DELETE", b"{}", "application/json")).status == 204
    await backup.put_back()
    assert (await world.countersign(countersign(half, offerer))).code == "not_found"
    for reader in (offerer, accepter):
        news = (await world.read(reader, "/v1/inbox")).json["items"]
        assert (news[-1]["kind"], news[-1]["cid"], news[-1]["reason"]) == ("declined", half.cid, "restored")
    again = world.half(offer, offerer, accepter)
    assert (await world.propose(offer, again)).status == 202
    assert (await world.countersign(countersign(again, offerer))).status == 200
