"""A server was put back from an old backup: nobody who said no is reached, the wallets bring everything back, and no
wallet accuses the honest server (REC-1 to REC-9)."""

import asyncio
import json

import pytest

from comity.client import Connection, Wallet
from comity.errors import Refused, Unreachable
from comity.http_api import RecordBody
from comity.rules.state import decode_state, public_state
from comity_server.commands import record_restoration
from support.business_world import EXAMPLE_OFFER, a_shop
from support.restored_server import Backup, state_at_server
from support.sdk_world import TERMS, SdkWorld
from support.world import eventually


async def both(world: SdkWorld, *purposes: str) -> tuple[Wallet, Wallet, Connection, Connection]:
    """(the shop's wallet, Mia's, the shop's view, Mia's) of a connection."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, hers = await world.connect(shop, mia, *purposes)
    return shop, mia, ours, hers


async def refused(ours: Connection, purpose: str = "care") -> str:
    """Why the shop cannot write."""
    with pytest.raises(Refused) as caught:
        await ours.send_message(purpose, "hello", if_muted="fail")
    return caught.value.code


async def test_a_no_that_the_backup_does_not_know_of_holds_and_comes_back(world: SdkWorld) -> None:
    shop, mia, ours, hers = await both(world, "care", "sales")
    anna = await world.person("anna")
    ours_anna, annas = await world.connect(shop, anna, "care")
    backup = await Backup.of(world.host)
    world.pass_time(hours=1)
    await hers.mute(days=14, purposes=["sales"])
    await hers.withdraw(hers.state.door(hers.side).grants[0].id)
    await hers.set_hours("Europe/Berlin", [(["mo"], "09:00", "09:01")])
    await annas.revoke()
    for wallet in (shop, mia, anna):
        await wallet.sync()
    was = public_state(hers.state)
    world.pass_time(hours=1)
    await backup.put_back()
    world.pass_time(seconds=2)

    for party in (ours, ours_anna):
        kept = await state_at_server(world.host, party.cid)
        assert kept.phase == "open" and kept.recovering == ("first", "second")
    # Mia comes first: her "no"s are back, and the shop is still waited for.
    news = await mia.sync()
    assert [it.kind for it in news if it.kind != "act"][:1] == ["restored"]
    state = await state_at_server(world.host, hers.cid)
    assert state.recovering == ("first",) and state.second.grants == () and len(state.second.mutes) == 1
    assert state.second.settings.zone == "Europe/Berlin"
    await anna.sync()
    assert (await state_at_server(world.host, annas.cid)).phase == "ended"
    await shop.sync()
    await mia.sync()
    for party in (ours, hers):
        await party.sync()
        again = public_state(party.state)
        assert again.pop("restored_at") and again == was
    assert await refused(ours) == "no_grant"
    assert (ours_anna.phase, annas.phase) == ("ended", "ended")
    assert [wallet.contradictions() for wallet in (shop, mia, anna)] == [[], [], []]


async def test_the_shop_alone_opens_no_door(world: SdkWorld) -> None:
    shop, _, ours, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    await hers.mute()
    await backup.put_back()
    world.pass_time(seconds=2)
    await shop.sync()
    assert (await state_at_server(world.host, ours.cid)).recovering == ("second",)
    for purpose in ("care", "safety"):
        assert await refused(ours, purpose) == "recovering"
    assert ours.may("care").reason == "recovering"
    world.pass_time(days=36)
    assert await refused(ours, "safety") == "recovering"


async def test_acts_that_the_shop_received_bring_back_mias(world: SdkWorld) -> None:
    shop, _, _, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    await hers.mute()
    await shop.sync()
    await backup.put_back()
    world.pass_time(seconds=2)
    await shop.sync()
    state = await state_at_server(world.host, hers.cid)
    assert len(state.second.mutes) == 1 and state.recovering == ("second",)


async def test_a_message_that_was_held_is_there_again_and_is_let_go_in_its_time(world: SdkWorld) -> None:
    shop, mia, ours, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    await hers.mute()
    await ours.send_message("care", "your windows are ready")
    for wallet in (mia, shop):
        await wallet.sync()
    await backup.put_back()
    world.pass_time(seconds=2)
    await mia.sync()
    assert "second" in (await state_at_server(world.host, hers.cid)).recovering, "the shop has the text"
    for wallet in (shop, mia, shop, mia):
        await wallet.sync()
    assert (await state_at_server(world.host, hers.cid)).recovering == ()
    await hers.unmute()
    await mia.sync()
    (message,) = await hers.messages()
    assert message.text == "your windows are ready"
    for party in (ours, hers):
        await party.sync()
    assert shop.contradictions() == mia.contradictions() == []


async def test_a_no_that_was_said_to_a_restored_server_without_knowing_it_is_not_lost(world: SdkWorld) -> None:
    shop, mia, _, hers = await both(world, "care", "sales")
    backup = await Backup.of(world.host)
    await hers.mute(purposes=["sales"])
    await backup.put_back()
    world.pass_time(seconds=2)
    # Her wallet has not read anything since: the mute stands behind one that the server lacks.
    await hers.mute(purposes=["care"])
    state = await state_at_server(world.host, hers.cid)
    assert [it.purposes for it in state.second.mutes] == [("sales",), ("care",)]
    for wallet in (mia, shop, mia):
        await wallet.sync()
    assert (await state_at_server(world.host, hers.cid)).recovering == ()
    assert shop.contradictions() == mia.contradictions() == []


async def test_she_can_end_it_at_once(world: SdkWorld) -> None:
    shop, mia, ours, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    await hers.mute()
    await backup.put_back()
    world.pass_time(seconds=2)
    await hers.revoke()
    for wallet in (mia, shop):
        await wallet.sync()
    assert (ours.phase, hers.phase) == ("ended", "ended")
    for party in (ours, hers):
        await party.sync()
    assert shop.contradictions() == mia.contradictions() == []


async def test_a_message_whose_text_nobody_has_expires_and_no_wallet_complains(world: SdkWorld) -> None:
    shop, mia = await a_shop(world.host), await world.person("mia")
    offer = await shop.post("/offers", {**EXAMPLE_OFFER, "countersign": "auto"})
    hers = await mia.accept(offer["link"])
    await hers.wait_until_open(timeout=20)
    await hers.grant(["care"])
    backup = await Backup.of(world.host)
    await hers.mute()
    sent = await shop.post(f"/connections/{hers.cid}/messages", {"purpose": "care", "text": "your windows are ready"})
    await mia.sync()
    assert len(hers.state.first.held) == 1
    await backup.put_back()
    world.pass_time(seconds=2)
    await mia.sync()
    await hers.sync()
    state = await state_at_server(world.host, hers.cid)
    assert (state.recovering, state.first.held, len(state.second.mutes)) == ((), (), 1)
    assert public_state(hers.state) == public_state(state)
    assert mia.contradictions() == [] and sent


async def test_a_mute_of_the_shops_behind_an_end_that_was_lost_is_no_contradiction(world: SdkWorld) -> None:
    shop, mia, ours, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    await hers.revoke()
    await backup.put_back()
    world.pass_time(seconds=2)
    await ours.mute()
    for wallet in (mia, shop, mia):
        await wallet.sync()
    assert (ours.phase, hers.phase) == ("ended", "ended")
    for party in (ours, hers):
        await party.sync()
    assert shop.contradictions() == mia.contradictions() == []


async def test_a_no_that_was_not_answered_before_finds_its_place(world: SdkWorld) -> None:
    shop, mia, _, hers = await both(world, "care", "sales")
    backup = await Backup.of(world.host)
    await hers.mute(purposes=["sales"])
    world.wires["mia"].cut = lambda request: True
    with pytest.raises(Unreachable):
        await hers.mute(purposes=["care"])
    world.wires["mia"].cut = None
    await backup.put_back()
    world.pass_time(seconds=2)
    for wallet in (mia, shop, mia):
        await wallet.sync()
    state = await state_at_server(world.host, hers.cid)
    assert [it.purposes for it in state.second.mutes] == [("sales",), ("care",)] and state.recovering == ()
    assert shop.contradictions() == mia.contradictions() == []


async def test_an_act_that_must_wait_is_sent_when_the_shop_has_confirmed(world: SdkWorld) -> None:
    shop, mia, _, hers = await both(world, "care", "sales")
    grant = hers.state.door(hers.side).grants[0].id
    backup = await Backup.of(world.host)
    world.wires["mia"].cut = lambda request: True
    with pytest.raises(Unreachable):
        await hers.withdraw(grant)
    world.wires["mia"].cut = None
    await backup.put_back()
    world.pass_time(seconds=2)
    await mia.sync()
    assert len((await state_at_server(world.host, hers.cid)).second.grants) == 1
    for wallet in (shop, mia):
        await wallet.sync()
    assert (await state_at_server(world.host, hers.cid)).second.grants == ()


async def test_a_mailbox_that_the_server_forgot_keeps_nobody_in_the_dark(world: SdkWorld) -> None:
    shop, mia, _, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    await mia.use_mailbox(hers)
    await hers.mute()
    await mia.sync()
    await backup.put_back()
    world.pass_time(seconds=2)
    for wallet in (mia, mia, mia, shop, mia):
        await wallet.sync()
    state = await state_at_server(world.host, hers.cid)
    assert state.recovering == () and len(state.second.mutes) == 1
    assert state.second.settings.mailbox is not None
    assert shop.contradictions() == mia.contradictions() == []


async def test_an_act_that_is_accepted_anew_after_the_restore_is_no_contradiction(world: SdkWorld) -> None:
    shop, mia, ours, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    world.wires["mia"].lose = lambda request: request.url.endswith("/v1/acts")
    with pytest.raises(Unreachable):
        await hers.mute()
    world.wires["mia"].lose = None
    await shop.sync()
    assert len(ours.state.second.mutes) == 1
    await backup.put_back()
    world.pass_time(seconds=2)
    for wallet in (mia, shop, mia):
        await wallet.sync()
    for party in (ours, hers):
        await party.sync()
    assert len(ours.state.second.mutes) == len(hers.state.second.mutes) == 1
    assert shop.contradictions() == mia.contradictions() == []
    again = await world.again(shop, "shop")
    assert again.connection(ours.cid).state == ours.state


# --- connections that opened after the copy was made


async def test_a_no_in_a_connection_that_opened_after_the_backup_comes_back(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    backup = await Backup.of(world.host)
    ours, hers = await world.connect(shop, mia, "care", "sales")
    await hers.mute(days=14, purposes=["sales"])
    await shop.sync()
    was = public_state(hers.state)
    await backup.put_back()
    world.pass_time(seconds=2)
    await mia.sync()
    state = await state_at_server(world.host, hers.cid)
    assert state.recovering == ("first",) and len(state.second.mutes) == 1
    for wallet in (shop, mia):
        await wallet.sync()
    assert (await state_at_server(world.host, hers.cid)).recovering == ()
    for party in (ours, hers):
        await party.sync()
        again = public_state(party.state)
        assert again.pop("restored_at") and again == was
    assert await refused(ours, "sales") == "not_now"
    assert shop.contradictions() == mia.contradictions() == []
    await ours.send_message("care", "your windows are ready")
    assert [it.text for it in await hers.messages()] == [] and await mia.sync()
    assert [it.text for it in await hers.messages()] == ["your windows are ready"]
    await mia.fetch_receipts()
    assert mia.contradictions() == [], "the tags of its entries are those of before"


@pytest.mark.parametrize("first", ["mia", "shop"])
async def test_a_connection_that_she_ended_after_the_backup_opens_no_more(world: SdkWorld, first: str) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    backup = await Backup.of(world.host)
    ours, hers = await world.connect(shop, mia, "care")
    await hers.revoke()
    await backup.put_back()
    world.pass_time(seconds=2)
    wallets = [mia, shop] if first == "mia" else [shop, mia]
    for wallet in wallets:
        await wallet.sync()
        state = await state_at_server(world.host, hers.cid)
        assert state.phase == "ended" or state.recovering
    assert (await state_at_server(world.host, hers.cid)).phase == "ended"
    await shop.sync()
    for party in (ours, hers):
        await party.sync()
    assert ours.phase == hers.phase == "ended"
    assert shop.contradictions() == mia.contradictions() == []


@pytest.mark.parametrize("act", ["revoke", "mute"])
async def test_a_no_to_a_restored_server_that_does_not_know_her_yet_gets_in(world: SdkWorld, act: str) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    backup = await Backup.of(world.host)
    _, hers = await world.connect(shop, mia, "care")
    await backup.put_back()
    world.pass_time(seconds=2)
    if act == "revoke":
        await hers.revoke()
    else:
        await hers.mute()
    state = await state_at_server(world.host, hers.cid)
    assert state.phase == "ended" or len(state.second.mutes) == 1
    for wallet in (mia, shop, mia):
        await wallet.sync()
    assert shop.contradictions() == mia.contradictions() == []


async def test_the_name_that_she_took_after_the_backup_is_hers_again(world: SdkWorld) -> None:
    shop, mia, ours, hers = await both(world, "care")
    backup = await Backup.of(world.host)
    world.pass_time(seconds=2)
    await hers.rotate_key()
    await hers.mute()
    await shop.sync()
    await backup.put_back()
    world.pass_time(seconds=2)
    for wallet in (mia, shop, mia):
        await wallet.sync()
    state = await state_at_server(world.host, hers.cid)
    assert state.recovering == () and len(state.second.mutes) == 1
    assert state.second.did == hers.state.second.did
    for party in (ours, hers):
        await party.sync()
    assert shop.contradictions() == mia.contradictions() == []


async def test_an_offer_for_one_use_that_was_used_after_the_backup_makes_no_second_connection(world: SdkWorld) -> None:
    shop, mia, anna = await world.business("shop"), await world.person("mia"), await world.person("anna")
    link = await shop.offer(world.base, [TERMS], ["care"], use="one")
    backup = await Backup.of(world.host)
    hers = await mia.accept(link)
    (proposal,) = await shop.proposals()
    await proposal.countersign()
    await mia.sync()
    await backup.put_back()
    world.pass_time(seconds=2)
    await mia.sync()
    with pytest.raises(Refused) as caught:
        await anna.accept(link)
    assert caught.value.code == "not_found" and hers.phase == "open"


async def test_a_server_that_was_never_restored_takes_no_connection_back(world: SdkWorld) -> None:
    _, _, _, hers = await both(world, "care")
    event, agreement = hers.info.opened, json.loads(hers.agreement_raw)
    assert event is not None
    other = await world.person("other")
    await world.host.stop()
    (world.host.folder / "data" / "comity.db").unlink()
    for name in ("log.head", "comity.db-wal", "comity.db-shm"):
        (world.host.folder / "data" / name).unlink(missing_ok=True)
    await world.host.start()
    with pytest.raises(Refused) as caught:
        await other._session.server(hers.info.home).submit_records([RecordBody(event=event, agreement=agreement)])
    assert caught.value.code == "not_found"


async def test_a_listening_wallet_hands_in_what_a_restored_server_lacks(world: SdkWorld) -> None:
    # She goes on listening while the server is away.
    shop, mia = await world.business("shop"), await world.person("mia", patience=20.0)
    _, hers = await world.connect(shop, mia, "care", "sales")
    backup = await Backup.of(world.host)
    world.pass_time(seconds=2)
    _, late = await world.connect(shop, mia, "care")
    for party in (hers, late):
        await party.mute()
    heard: list[str] = []

    async def listen() -> None:
        async for news in mia.listen():
            heard.append(news.kind)

    listening = asyncio.create_task(listen())
    await world.host.are_waiting(2)
    await backup.put_back()
    world.pass_time(seconds=2)

    async def is_there() -> bool:
        states = [await world.host.server.store.state(it.cid) for it in (hers, late)]
        return all(it is not None and len(decode_state(it.state).second.mutes) == 1 for it in states)

    try:
        await eventually(is_there, 20)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert "restored" in heard and mia.contradictions() == []


async def test_she_is_told_once_of_a_connection_that_cannot_be_taken_back(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    backup = await Backup.of(world.host)
    _, hers = await world.connect(shop, mia, "care")
    await backup.put_back()
    world.pass_time(seconds=2)

    # As where the key that the agreement pins was lost, and stated as broken since.
    async def broken(*given: object) -> None:
        raise Refused("unknown_key")

    monkeypatch.setattr(record_restoration, "_open_again", broken)
    assert [it.kind for it in await mia.sync() if it.cid == hers.cid] == ["unknown"]
    assert await mia.sync() == []
    with pytest.raises(Refused):
        await hers.mute()
    assert mia.contradictions() == []
