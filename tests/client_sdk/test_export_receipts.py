"""What Mia hands out of her wallet proves what the shop did as well as what she did (WHO-10)."""

import json
from pathlib import Path

import pytest

from comity.client import Connection, Request, Response, Wallet
from comity.documents.events import Accepted
from comity.errors import Contradiction, Unreachable
from comity.transparency.notes import parse_vkey
from comity.transparency.receipts import open_receipt
from support.sdk_world import SdkWorld
from support.terminal_world import a_host, connected


async def a_story(world: SdkWorld) -> tuple[Wallet, Connection, Wallet, Connection]:
    """Mia and a shop, who wrote to her at once and while she was away, and asked her a favour."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care", "favour")
    await ours.send_message("care", "Good morning.")
    await theirs.mute()
    await ours.sync()
    await ours.send_message("care", "Are you there?")
    await theirs.unmute()
    await ours.sync(wait=1)
    await ours.remember("small_talk")
    await ours.record_contact("phone", "care")
    await theirs.sync(wait=1)
    await theirs.sync()
    return shop, ours, mia, theirs


async def test_every_act_of_either_side_goes_out_with_its_receipt(world: SdkWorld) -> None:
    shop, ours, mia, theirs = await a_story(world)
    for wallet, party in ((mia, theirs), (shop, ours)):
        assert await wallet.fetch_receipts() == 0
        exported = wallet.export()
        (log,) = exported["logs"].values()
        key = parse_vkey(log["vkey"])
        records = exported["connections"][0]["records"]
        by = {line.event.side for line in party.records if isinstance(line.event, Accepted)}
        assert by == {"first", "second"}
        for record, line in zip(records, party.records, strict=True):
            if not isinstance(line.event, Accepted) or line.act is None:
                continue
            assert open_receipt(record["receipt"], key).is_of(line.act.raw.encode()), line
            if line.act.kind == "message":
                assert open_receipt(record["delivery"], key).is_of(line.act.raw.encode())
    # With the keys by which each finds its entries in the log: one that both have, and one of its own.
    hers, its = (wallet.export()["connections"][0]["tags"] for wallet in (mia, shop))
    assert hers["both"] == its["both"] and len({hers["both"], hers["own"], its["own"]}) == 3
    # What is there is not asked for again.
    sent = len(world.wires["mia"].seen)
    assert await mia.fetch_receipts() == 0 and len(world.wires["mia"].seen) == sent


async def test_a_server_that_hides_the_receipt_of_what_the_shop_did_is_found_out(world: SdkWorld) -> None:
    _, ours, mia, theirs = await a_story(world)
    (hidden,) = [line.act.id for line in theirs.records if line.act is not None and line.act.kind == "contacted"]

    def hiding(request: Request, response: Response) -> Response:
        if not request.url.endswith(f"/v1/acts/{hidden}"):
            return response
        told = json.loads(response.body)
        told.pop("receipt", None)
        return Response(200, response.headers, json.dumps(told).encode())

    world.wires["mia"].after = hiding
    with pytest.raises(Contradiction, match="hides its receipt"):
        await mia.fetch_receipts()
    # One that is hidden keeps no other from being fetched.
    records = mia.export()["connections"][0]["records"]
    assert [bool(it["receipt"]) for it in records if it["act"] is not None].count(False) == 1
    assert len(mia.contradictions()) == 1
    world.wires["mia"].after = None
    assert await mia.fetch_receipts() == 0
    assert ours.phase == "open"


async def test_receipts_that_a_lost_log_cannot_show_are_counted_and_blame_nobody(world: SdkWorld) -> None:
    _, _, mia, _ = await a_story(world)
    await world.host.stop()
    (world.folder / "data" / "log.key").unlink()
    world.host._settings["consent_log"] = "second"
    await world.host.start()
    # Four acts of the shop's, and the delivery of two of them.
    assert await mia.fetch_receipts() == 6
    assert not mia.contradictions()
    await world.host.stop()
    with pytest.raises(Unreachable):
        await mia.fetch_receipts()


async def test_an_export_in_a_terminal_has_them_all(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        mia, shop = await connected(host, tmp_path)
        await shop("send", "Mia", "care", "Good morning.")
        await mia("sync")
        (told,) = json.loads(await mia("export"))["connections"]
        kinds = [it["body"] for it in told["records"] if it["receipt"] and it["delivery"]]
        assert kinds == [{"text": "Good morning."}]
        assert all(it["receipt"] for it in told["records"])
