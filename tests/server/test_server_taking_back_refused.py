"""What a restored server does not take back, and what it costs to ask (REC-6 to REC-8, HOME-4, HOME-5, HTTP-15)."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from comity.crypto.keys import Signer
from comity.documents.events import Delivered, Disclosed, MuteOver, open_event, sign_event
from comity.encoding import dump_json
from comity.http_api import CONNECTIONS, JSON, JSON_LINES, RECORDS
from comity_server.commands.server_key_rotation import rotate_home
from support.business_world import a_shop
from support.restored_server import Backup, Kept, codes, hand_in, said_and_lost, state_at_server
from support.world import DAY, HOUR, World


def signer_of_home(world: World) -> Signer:
    """The key that the home server signs with now, as a thief has it."""
    return world.server.home.keys.signer


async def rotate(world: World, *, broken: bool) -> None:
    """Another key of the home server."""
    server = world.server
    await rotate_home(server.writer, server.home.keys, server.logs.active.key.text, broken=broken)


def changed(world: World, raw: str, signer: Signer, **members: Any) -> str:
    """The event with other members, signed by that key."""
    event = open_event(raw, world.server.directory.find_key).event
    return sign_event(event.model_copy(update=members), signer)


async def test_a_key_at_the_place_of_another_brings_nothing_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    _, (event, mute), *_ = await said_and_lost(world, pair)
    await backup.put_back()
    await rotate(world, broken=False)
    later = changed(world, event, signer_of_home(world))
    assert codes(await hand_in(world, (later, mute))) == ["unknown_key"]
    assert codes(await hand_in(world, (event, mute))) == [None]


async def test_a_broken_key_brings_nothing_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    kept = await said_and_lost(world, pair)
    await backup.put_back()
    await rotate(world, broken=True)
    assert set(codes(await hand_in(world, *kept))) == {"unknown_key"}
    assert (await state_at_server(world, pair.cid)).second.mutes == ()


async def test_a_key_whose_statement_was_lost_with_the_end_of_its_log_brings_its_events_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    before = len(pair.events)
    first = await pair.go("second", "mute", purposes=("sales",))
    kept: list[Kept] = [(pair.events[before], first)]
    world.later(HOUR)
    old = signer_of_home(world)
    await rotate(world, broken=False)
    for path in (world.folder / "data").glob("home-z*"):
        backup.keep(path)
    world.later(HOUR)
    second = await pair.go("second", "mute", purposes=("care",))
    kept.append((pair.events[-1], second))
    await backup.put_back()
    stolen = changed(world, kept[1][0], old)
    assert codes(await hand_in(world, kept[0], (stolen, second))) == [None, "unknown_key"]
    assert codes(await hand_in(world, kept[1])) == [None]
    assert len((await state_at_server(world, pair.cid)).second.mutes) == 2


async def test_a_record_that_names_the_log_of_the_restore_is_not_taken_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    before = len(pair.events)
    mute = await pair.go("second", "mute")
    await backup.put_back()
    forged = changed(world, pair.events[before], signer_of_home(world), log=world.server.logs.active.origin, index=900)
    assert codes(await hand_in(world, (forged, mute))) == ["prev_mismatch"]
    assert codes(await hand_in(world, (pair.events[before], mute))) == [None]


@contextmanager
def a_full_queue(world: World, room: int) -> Iterator[None]:
    """As many commands wait as leave nothing but `room` of what is kept for a "no"."""
    accept = world.server.writer
    full, kept = accept.room.size, accept._kept.size - room
    accept.room.taken += full
    accept._kept.taken += kept
    try:
        yield
    finally:
        accept.room.taken -= full
        accept._kept.taken -= kept


async def test_records_that_are_not_looked_at_never_reach_the_writer(world: World) -> None:
    pair = await world.shop_and_customer("care")
    mute = await pair.go("second", "mute")
    event = pair.events[-1]
    again = changed(world, event, signer_of_home(world), index=900)
    with a_full_queue(world, 0):
        assert codes(await hand_in(world, (event, mute), (again, mute))) == [None, "prev_mismatch"]


async def test_the_room_for_a_no_takes_one_revoke_and_no_history(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    before = len(pair.events)
    mute = await pair.go("second", "mute")
    kept: list[Kept] = [(pair.events[before], mute)]
    world.later(HOUR)
    before = len(pair.events)
    revoke = await pair.go("second", "revoke")
    kept.append((pair.events[before], revoke))
    await backup.put_back()
    lines = [dump_json({"event": event, "act": act.raw}) for event, act in kept if act is not None]
    with a_full_queue(world, 2):
        assert (await world.send("POST", RECORDS, b"\n".join(lines), JSON_LINES)).code == "overloaded"
        assert codes(await hand_in(world, kept[1])) == [None]
    assert (await state_at_server(world, pair.cid)).phase == "ended"


async def test_strangers_find_no_room_with_heads(world: World) -> None:
    pair = await world.shop_and_customer("care")
    body = b'{"first":"%s","second":"%s","settings":"%s"}' % ((pair.cid.encode(),) * 3)
    with a_full_queue(world, 0):
        reply = await world.read(world.person(), f"{CONNECTIONS}/{pair.cid}/heads", "POST", body, JSON)
        assert reply.code == "not_found"


async def test_a_delivered_message_comes_back_with_its_text_alone(world: World) -> None:
    shop = await a_shop(world)
    pair = await shop.customer("care")
    backup = await Backup.of(world)
    before = len(pair.events)
    mute = await pair.go("second", "mute")
    kept: list[Kept] = [(pair.events[before], mute)]
    world.later(HOUR)
    await shop.post(f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "hello"})
    world.later(HOUR)
    before = len(pair.events)
    unmute = await pair.go("second", "unmute", mute=mute.id)
    items = (await world.read(pair.signers["second"], "/v1/inbox")).json["items"]
    texts = [item["event"] for item in items]
    events = {it: open_event(it, world.server.directory.find_key).event for it in texts}
    held = next(it for it in texts if getattr(events[it], "kind", None) == "message")
    delivered = next(it for it in texts if isinstance(events[it], Delivered))
    act = SimpleNamespace(raw=(await stored_text(world, events[held].act)))  # type: ignore[union-attr]
    unmuted = next(it for it in pair.events[before:] if getattr(events.get(it), "kind", "unmute") == "unmute")
    kept.append((unmuted, unmute))
    await backup.put_back()
    assert codes(await hand_in(world, kept[0], (held, None), kept[1], (delivered, None))) == [
        None, "malformed", None, "prev_mismatch"
    ]  # fmt: skip
    assert codes(await hand_in(world, (held, act), (delivered, None))) == [None, None]  # type: ignore[arg-type]
    assert await stored_text(world, events[held].act) == act.raw  # type: ignore[union-attr]


async def stored_text(world: World, act: str) -> str:
    """The text of an act as the server has it."""
    stored = await world.server.store.act(act)
    assert stored is not None
    return stored.raw


async def test_a_text_that_turns_up_later_fills_its_place(world: World) -> None:
    shop = await a_shop(world)
    pair = await shop.customer("care")
    backup = await Backup.of(world)
    before = len(pair.events)
    mute = await pair.go("second", "mute")
    kept: Kept = (pair.events[before], mute)
    world.later(HOUR)
    await shop.post(f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "hello"})
    held = (await world.read(pair.signers["second"], "/v1/inbox")).json["items"][-1]["event"]
    id_ = open_event(held, world.server.directory.find_key).event.act  # type: ignore[union-attr]
    act = SimpleNamespace(raw=await stored_text(world, id_))
    await backup.put_back()
    assert codes(await hand_in(world, kept, (held, None))) == [None, None]
    assert await stored_text(world, id_) == ""
    assert codes(await hand_in(world, (held, act))) == [None]  # type: ignore[arg-type]
    assert await stored_text(world, id_) == act.raw


async def test_events_of_a_mute_go_to_its_owner_and_of_a_disclosure_to_both(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    before = len(pair.events)
    mute = await pair.go("second", "mute", until=(world.now() + HOUR) // 1000)
    kept: list[Kept] = [(pair.events[before], mute)]
    world.later(DAY)
    message = await pair.go("first", "message")
    kept.append((pair.events[-1], message))
    items = (await world.read(pair.signers["second"], "/v1/inbox")).json["items"]
    find = world.server.directory.find_key
    over = next(it["event"] for it in items if isinstance(open_event(it["event"], find).event, MuteOver))
    event = open_event(pair.events[-1], find).event
    about = {"iss": event.iss, "cid": pair.cid, "event": "disclosed", "to": "court", "ground": "court"}
    place = {"log": event.log, "index": event.index + 2, "at": event.at + 5}
    disclosed = sign_event(
        Disclosed.model_validate({**about, "settings": (), "bodies": False, **place}), signer_of_home(world)
    )
    kept += [(over, None), (disclosed, None)]
    await backup.put_back()
    assert codes(await hand_in(world, *kept)) == [None] * 4
    for side, seen in (("second", [True, True]), ("first", [False, True])):
        page = (await world.read(pair.signers[side], "/v1/inbox")).json["items"]  # type: ignore[index]
        told = [it.get("event") for it in page]
        assert [over in told, disclosed in told] == seen, side


async def test_a_side_whose_key_is_kept_is_confirmed_when_the_other_one_acts(world: World) -> None:
    shop = await a_shop(world)
    pair = await shop.customer("care")
    backup = await Backup.of(world)
    await backup.put_back()
    pair.state = await state_at_server(world, pair.cid)
    assert pair.state.recovering == ("first", "second")
    await pair.go("second", "mute")
    assert (await state_at_server(world, pair.cid)).recovering == ()
