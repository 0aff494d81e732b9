"""What a wallet does with the log behind a connection: receipts, checkpoints, witnesses, several logs and homes."""

import asyncio
import json
from pathlib import Path

import pytest

from comity.client import Connection, Request, Response, Wallet
from comity.client.connection.history import HistoryRecord
from comity.client.storage.records import MissingReceipt, TagKeys
from comity.crypto.keys import SigningKey
from comity.documents.events import Accepted
from comity.encoding import b64u_decode
from comity.errors import ComityError, Refused, Unreachable
from comity.transparency.checkpoints import Policy, open_checkpoint
from comity.transparency.entries import Kind, entry_tag
from comity.transparency.notes import COSIGNATURE, NoteSigner, parse_vkey, signature_line
from comity.transparency.receipts import Receipt, open_receipt
from support.sdk_world import Bent, SdkWorld, sdk_world
from support.world import eventually

WITNESSES = [NoteSigner(f"w{number}.example", COSIGNATURE, SigningKey(bytes([number]) * 32)) for number in (1, 2, 3)]


async def pair(world: SdkWorld) -> tuple[Wallet, Connection, Wallet, Connection]:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    return shop, ours, mia, theirs


def opened(wallet: Wallet, text: str) -> Receipt:
    """A receipt, opened with nothing but what the wallet exports."""
    (vkey,) = {it["vkey"] for it in wallet.export()["logs"].values() if f"\n{it['vkey'].partition('+')[0]}\n" in text}
    return open_receipt(text, parse_vkey(vkey))


def act_of(line: HistoryRecord) -> str:
    assert line.act is not None
    return line.act.id


# --- receipts


async def test_every_own_act_has_its_receipt_at_once(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await theirs.mute(days=2)
    await theirs.unmute()
    await theirs.set_hours("Europe/Berlin", [])
    await theirs.remember("small_talk")
    asked = [request.url for request, _ in world.wires["mia"].seen]
    assert not any("/v1/acts/" in url or "/log/tile/" in url for url in asked)
    exported = mia.export()["connections"][0]
    assert exported["tags"].keys() == {"both", "own"}
    kinds = []
    for record, line in zip(exported["records"], theirs.records, strict=True):
        assert line.act is not None and isinstance(line.event, Accepted)
        receipt = opened(mia, record["receipt"])
        assert receipt.is_of(line.act.raw.encode())
        assert (receipt.index, receipt.opening.at) == (line.event.index, line.at)
        scope = "own" if line.act.chain == "settings" else "both"
        assert receipt.entry.tag == entry_tag(b64u_decode(exported["tags"][scope]), line.at)
        kinds.append(receipt.entry.kind)
    # The grant; the hidden end of a mute and the mute; its end; the hours; the little thing.
    assert kinds == [Kind.ACT, Kind.PRIVATE, Kind.MUTE_ALL, Kind.UNMUTE, Kind.PRIVATE, Kind.ACT]
    await ours.sync()
    tags = {party.side: party.queue.session.records.get("tags", party.cid, TagKeys) for party in (ours, theirs)}
    assert tags["first"].both == tags["second"].both  # type: ignore[union-attr]
    assert tags["first"].own != tags["second"].own  # type: ignore[union-attr]


async def test_either_side_can_get_the_receipt_of_what_the_other_did_and_of_a_delivery(world: SdkWorld) -> None:
    shop, ours, mia, theirs = await pair(world)
    await theirs.mute()
    await ours.sync()
    held = await ours.send_message("care", "Are you there?")
    await theirs.unmute()
    now = await ours.send_message("care", "Good morning.")
    await asyncio.gather(ours.sync(wait=1), theirs.sync(wait=1))
    await ours.sync()
    await theirs.sync()
    assert [it.outcome for it in await theirs.messages()] == ["delivered", "delivered"]
    for message in (held, now):
        for wallet, party in ((shop, ours), (mia, theirs)):
            accepted = opened(wallet, await party.receipt(message.id))
            delivered = opened(wallet, await party.receipt(message.id, delivery=True))
            assert (accepted.entry.kind, delivered.entry.kind) == (Kind.ACT, Kind.DELIVERED)
            assert accepted.entry.side == delivered.entry.side == "first"
            assert delivered.index == accepted.index + 1 if message is now else delivered.index > accepted.index + 1
    sent = len(world.wires["mia"].seen)
    assert await theirs.receipt(now.id)
    assert len(world.wires["mia"].seen) == sent
    records = mia.export()["connections"][0]["records"]
    assert [bool(it["delivery"]) for it in records if it["act"] and it["receipt"]].count(True) == 2


async def test_there_is_no_receipt_of_what_is_not_there(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await theirs.mute()
    await ours.sync()
    held = await ours.send_message("care", "Are you there?")
    await theirs.sync()
    assert await ours.receipt(held.id)
    with pytest.raises(ComityError, match="not been delivered"):
        await ours.receipt(held.id, delivery=True)
    with pytest.raises(ComityError, match="no such act"):
        await theirs.receipt(held.id)
    with pytest.raises(ComityError, match="no such act"):
        await ours.receipt(ours.cid)


async def test_receipts_that_did_not_come_are_owed_over_a_restart_and_fetched_with_the_news(world: SdkWorld) -> None:
    _, _, mia, theirs = await pair(world)

    def none(request: Request, response: Response) -> Response:
        if not request.url.endswith("/v1/acts") or response.status != 200:
            return response
        told = [json.loads(line) for line in response.body.splitlines()]
        lines = [json.dumps({name: it for name, it in one.items() if name != "receipt"}) for one in told]
        return Response(response.status, response.headers, "\n".join(lines).encode())

    world.wires["mia"].after = none
    await theirs.mute(days=1)
    await theirs.unmute()
    assert len(mia._session.records.all("owed", MissingReceipt)) == 3
    mia = await world.again(mia, "mia")
    assert len(mia._session.records.all("owed", MissingReceipt)) == 3
    await mia.sync()
    assert not mia._session.records.all("owed", MissingReceipt)
    assert all(it["receipt"] for it in mia.export()["connections"][0]["records"])


async def test_a_receipt_whose_log_does_not_answer_waits_and_nobody_waits_for_it(world: SdkWorld) -> None:
    _, _, mia, _ = await pair(world)
    jonas = await world.person("jonas")
    await world.connect(await world.business("salon"), jonas, "care")
    await mia.close()
    mia = await world.reopened("mia", 0.05)
    (theirs,) = mia.connections()
    # Others have written meanwhile, so a proof is needed, and the tiles for it cannot be had.
    world.wires["mia"].cut = lambda request: "/log/" in request.url
    await asyncio.wait_for(theirs.remember("small_talk"), 20)
    (owed,) = mia._session.records.all("owed", MissingReceipt).values()
    assert owed.receipt is not None
    await theirs.sync()
    assert mia._session.records.all("owed", MissingReceipt)
    world.wires["mia"].cut = None

    async def has_come() -> bool:
        await theirs.sync()
        return not mia._session.records.all("owed", MissingReceipt)

    await eventually(has_come)


async def test_acts_at_once_and_in_a_row_cost_few_requests(world: SdkWorld) -> None:
    shop, ours, mia, theirs = await pair(world)
    await theirs.sync()
    others = [await world.connect(shop, mia, "care") for _ in range(3)]
    await mia.sync()
    before = len(world.wires["mia"].seen)
    await asyncio.gather(*(party.remember("small_talk") for _, party in others), theirs.remember("small_talk"))
    more = [request.url for request, _ in world.wires["mia"].seen[before:]]
    assert len([url for url in more if url.endswith("/v1/acts")]) == 4
    assert len(more) <= 8, more
    assert not mia._session.records.all("owed", MissingReceipt)
    before = len(world.wires["shop"].seen)
    await ours.sync()
    assert len(world.wires["shop"].seen) - before <= 6


# --- several logs, several homes


async def test_a_server_may_begin_another_log_and_its_old_one_still_counts(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    old = act_of(theirs.records[-1])
    await world.host.stop()
    world.host._settings["consent_log"] = "second"
    await world.host.start()
    world.pass_time(seconds=2)
    await theirs.remember("small_talk")
    new = act_of(theirs.records[-1])
    logs = mia.export()["logs"]
    assert [it.partition("/")[2] for it in logs] == ["log", "log/second"]
    assert opened(mia, await theirs.receipt(new)).checkpoint.origin.endswith("/log/second")
    await ours.sync()
    for act, name in ((old, "/log"), (new, "/log/second")):
        assert opened(ours_wallet(ours, world), await ours.receipt(act)).checkpoint.origin.endswith(name)
    mia = await world.again(mia, "mia")
    await mia.connections()[0].sync()
    asked = [request.url.rpartition("/log")[2] for request, _ in world.wires["mia"].seen if "/log" in request.url]
    assert set(asked) >= {"/checkpoint", "/second/checkpoint"}
    assert not mia.contradictions()


def ours_wallet(party: Connection, world: SdkWorld) -> Wallet:
    return Wallet(party.queue.session)


async def test_a_wallet_with_connections_at_two_servers_keeps_a_log_for_each(world: SdkWorld, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with sdk_world(tmp_path / "elsewhere") as elsewhere:
        _, _, mia, theirs = await pair(world)
        salon = await elsewhere.business("salon")
        _, hers = await elsewhere.connect(salon, mia, "care")
        await hers.remember("small_talk")
        await theirs.remember("small_talk")
        await mia.sync()
        logs = mia.export()["logs"]
        assert set(logs) == {f"localhost:{it.host.port}/log" for it in (world, elsewhere)}
        for origin, it in logs.items():
            assert open_checkpoint(it["checkpoint"], parse_vkey(it["vkey"])).origin == origin
        assert all(it["receipt"] for connection in mia.export()["connections"] for it in connection["records"])
        await mia.close()


# --- witnesses


def cosigned(wire: Bent, *by: NoteSigner, after: int = 0) -> list[str]:
    """Lets these witnesses cosign what comes over that wire, from the request after so many on; what was asked for."""
    asked: list[str] = []

    def put(request: Request, response: Response) -> Response:
        if not request.url.endswith("/log/checkpoint"):
            return response
        asked.append(request.url)
        text = response.body.decode()
        note = text.rpartition("\n\n")[0] + "\n"
        lines = "".join(signature_line(note, it, 1_718_704_800) for it in by) if len(asked) > after else ""
        return Response(200, response.headers, f"{text}{lines}".encode())

    wire.after = put
    return asked


async def test_a_wallet_can_demand_witnesses_and_waits_a_little_for_them(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await mia.close()
    mia = await world.reopened("mia", 0.5, Policy(2, tuple(it.verifier for it in WITNESSES)))
    theirs, wire = mia.connections()[0], world.wires["mia"]
    asked = cosigned(wire, *WITNESSES[:2], after=2)
    await theirs.sync()
    assert len(asked) == 3
    (kept,) = [it["checkpoint"] for it in mia.export()["logs"].values()]
    assert kept.count("\n— ") == 3
    cosigned(wire, WITNESSES[0], NoteSigner("w2.example", COSIGNATURE, SigningKey(bytes([9]) * 32)))
    for sync in (theirs.sync, mia.sync):
        with pytest.raises(Refused) as told:
            await sync()
        assert told.value.code == "too_few_witnesses"
    # Nobody waits for witnesses to say no.
    await theirs.revoke()
    assert theirs.phase == "ended"
    wire.cut = lambda request: "/log/" in request.url
    with pytest.raises(Unreachable):
        await theirs.sync()
    await ours.sync()
    assert ours.phase == "ended"
