"""What was lost with a restore comes back from those who kept it (REC-7, REC-8)."""

import sqlite3
from contextlib import closing

from click.testing import CliRunner

from comity.encoding import dump_json
from comity.http_api import ACTS, JSON_LINES, RECORDS
from comity.rules.state import public_state
from comity_tools.cli import main
from support.business_world import a_shop
from support.restored_server import Backup, Kept, codes, confirm, hand_in, said_and_lost, state_at_server
from support.world import HOUR, World


async def test_all_of_it_comes_back_and_is_as_it_was(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    kept = await said_and_lost(world, pair)
    was = await state_at_server(world, pair.cid)
    await backup.put_back()
    answers = await hand_in(world, *reversed(kept))
    assert codes(answers) == [None] * len(kept)
    now = await state_at_server(world, pair.cid)
    for side in ("first", "second"):
        assert public_state(now)[side] == public_state(was)[side]
        assert now.door(side).settings == was.door(side).settings
    assert codes(await hand_in(world, *kept)) == [None] * len(kept), "again changes nothing"
    for side in ("first", "second"):
        assert (await confirm(pair, side)).json["lacks"] == []  # type: ignore[arg-type]
    again = await state_at_server(world, pair.cid)
    assert again.recovering == () and len(again.second.mutes) == 2
    await world.stop()
    result = CliRunner().invoke(main, ["fsck", "--data", str(world.folder / "data")])
    assert result.exit_code == 0, result.output
    await world.start()


async def test_the_other_side_is_told_again_and_receipts_stay_those_of_the_earlier_log(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    kept = await said_and_lost(world, pair)
    await backup.put_back()
    await hand_in(world, *kept)
    items = (await world.read(pair.signers["first"], "/v1/inbox")).json["items"]
    assert [item["act"] for item in items if "act" in item][-3:] == [
        act.raw
        for _, act in kept
        if act is not None and act.chain == "acts" and act.payload.iss != pair.state.first.did
    ]
    mute = kept[1][1]
    assert mute is not None
    answer = (await world.read(pair.signers["second"], f"{ACTS}/{mute.id}")).json
    assert (answer["event"], "receipt" in answer) == (kept[1][0], False)
    assert (await world.act(mute)).json["event"] == kept[1][0], "the same act gets its first answer"


async def test_a_grant_that_comes_back_can_be_told_offline_and_taken_back_anew(world: World) -> None:
    pair = await world.shop_and_customer()
    backup = await Backup.of(world)
    before = len(pair.events)
    grant = await pair.grant("second", "care")
    await backup.put_back()
    assert codes(await hand_in(world, (pair.events[before], grant))) == [None]
    for side in ("second", "first"):
        await confirm(pair, side)
    pair.state = await state_at_server(world, pair.cid)
    await pair.go("first", "message")
    other = await pair.grant("second", "sales")
    references = [getattr(it.payload, "status").status_list for it in (grant, other)]  # noqa: B009
    assert references[0].uri != references[1].uri, "no index is given out twice"
    await pair.go("second", "withdraw", grant=grant.id)
    assert await pair.refused("first", "message") == "no_grant"


async def test_nothing_but_its_own_records_comes_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    stranger = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    kept = await said_and_lost(world, pair)
    theirs = await stranger.go("second", "mute")
    event, mute = kept[1]
    forged = event[:-8] + ("A" * 8 if not event.endswith("A" * 8) else "B" * 8)
    await backup.put_back()
    assert codes(await hand_in(world, (forged, mute), (event, None), (event, theirs))) == [
        "bad_signature", "malformed", "malformed"
    ]  # fmt: skip
    assert mute is not None
    ours, others = {"event": event, "act": mute.raw}, {"event": stranger.events[-1], "act": theirs.raw}
    several = dump_json(ours) + b"\n" + dump_json(others)
    assert (await world.send("POST", RECORDS, several, JSON_LINES)).code == "malformed"
    assert (await state_at_server(world, pair.cid)).second.mutes == ()


async def test_where_nothing_was_lost_nothing_comes_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    kept = await said_and_lost(world, pair)
    await backup.put_back()
    for side in ("first", "second"):
        ready = await state_at_server(world, pair.cid)
        await confirm(pair, side, first=ready.first.head, second=ready.second.head, settings=pair.cid)
    assert set(codes(await hand_in(world, *kept))) == {"prev_mismatch"}


async def test_a_message_whose_text_is_lost_expires_and_holds_nothing_up(world: World) -> None:
    shop = await a_shop(world)
    pair = await shop.customer("care")
    backup = await Backup.of(world)
    mute = await pair.go("second", "mute")
    kept: list[Kept] = [(pair.events[-1], mute)]
    world.later(HOUR)
    await shop.post(f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "hello"})
    items = (await world.read(pair.signers["second"], "/v1/inbox")).json["items"]
    kept.append((items[-1]["event"], None))
    await backup.put_back()
    assert codes(await hand_in(world, *kept)) == [None, None]
    state = await state_at_server(world, pair.cid)
    assert state.first.held == () and state.first.seq == 1
    answer = await confirm(pair, "second", first=state.first.head)
    assert answer.json == {"lacks": [], "recovering": []}
    pair.state = state
    await world.stop()
    result = CliRunner().invoke(main, ["fsck", "--data", str(world.folder / "data")])
    assert result.exit_code == 0, result.output
    await world.start()
    assert (await shop.get(f"/connections/{pair.cid}/timeline"))["items"]


async def test_a_message_that_its_sender_holds_waits_for_its_sender(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    await pair.go("second", "mute")
    held = await pair.go("first", "message")
    await backup.put_back()
    answers = await hand_in(world, (pair.events[-1], None))
    assert codes(answers) == ["recovering"]
    assert codes(await hand_in(world, (pair.events[-1], held))) == [None]
    assert len((await state_at_server(world, pair.cid)).first.held) == 1


async def test_a_missing_entry_is_told_where_no_restore_explains_it(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    kept = await said_and_lost(world, pair)
    await backup.put_back()
    await hand_in(world, *kept)
    await world.stop()
    data = world.folder / "data"
    with closing(sqlite3.connect(data / "comity.db")) as store, store:
        store.execute("DELETE FROM meta WHERE name LIKE 'restored %'")
    result = CliRunner().invoke(main, ["fsck", "--data", str(data)])
    assert result.exit_code != 0 and result.output.count("it is missing, but connection") == len(kept) + 1
    world.change(restored=False)
    await world.start()
