"""After a restore, a "no" that only one device of hers knew of is said again when that device comes, and accuses nobody
(REC-9)."""

import shutil

import pytest

from comity.client import Connection, Wallet
from comity.errors import Refused
from comity.rules.state import public_state
from support.business_world import EXAMPLE_OFFER, a_shop
from support.restored_server import Backup, state_at_server
from support.sdk_world import SdkWorld


async def on_two_devices(world: SdkWorld) -> tuple[Wallet, Connection, Wallet, Connection, Wallet, Connection]:
    """A shop, and Mia with a phone and a tablet."""
    shop, phone = await world.business("shop"), await world.person("phone")
    ours, hers = await world.connect(shop, phone, "care", "sales")
    shutil.copy(world.folder / "phone", world.folder / "tablet")
    tablet = await world.reopened("tablet")
    return shop, ours, phone, hers, tablet, tablet.connection(hers.cid)


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_no_of_one_device_comes_back_after_the_other_has_confirmed(world: SdkWorld, goes_on: bool) -> None:
    shop, ours, phone, hers, tablet, theirs = await on_two_devices(world)
    backup = await Backup.of(world.host)
    world.pass_time(seconds=2)
    await hers.mute(purposes=["sales"])
    await hers.set_hours("Europe/Berlin", [(["mo"], "09:00", "09:01")])
    await hers.remember("paper")
    await backup.put_back()
    world.pass_time(seconds=2)
    for wallet in (tablet, shop, tablet):
        await wallet.sync()
    state = await state_at_server(world.host, hers.cid)
    assert state.recovering == () and state.second.mutes == (), "passed over: nobody else knew of it"
    if goes_on:
        await theirs.remember("size")
        await ours.remember("paper")
        await ours.send_message("care", "hello")
        await tablet.sync()
    news = await phone.sync()
    assert "said_again" in {it.kind for it in news}
    await phone.sync()
    state = await state_at_server(world.host, hers.cid)
    assert [it.purposes for it in state.second.mutes] == [("sales",)]
    assert state.second.settings.zone == "Europe/Berlin"
    with pytest.raises(Refused):
        await ours.send_message("sales", "New ones!", if_muted="fail")
    for wallet in (shop, tablet, phone):
        await wallet.sync()
    for party in (ours, hers, theirs):
        await party.sync()
    assert public_state(ours.state) == public_state(hers.state) == public_state(theirs.state)
    assert [wallet.contradictions() for wallet in (shop, phone, tablet)] == [[], [], []]
    assert phone.pending_receipts == 0
    again = await world.again(phone, "phone")
    assert public_state(again.connection(hers.cid).state) == public_state(hers.state)


async def test_an_end_that_one_device_alone_knew_of_is_said_again(world: SdkWorld) -> None:
    shop, ours, phone, hers, tablet, _ = await on_two_devices(world)
    backup = await Backup.of(world.host)
    world.pass_time(seconds=2)
    await hers.revoke()
    await backup.put_back()
    world.pass_time(seconds=2)
    for wallet in (tablet, shop, phone, shop, tablet):
        await wallet.sync()
    assert (await state_at_server(world.host, hers.cid)).phase == ours.phase == hers.phase == "ended"
    assert [wallet.contradictions() for wallet in (shop, phone, tablet)] == [[], [], []]


async def test_hours_are_not_lost_where_a_mute_opened_the_doors_before_they_were_handed_in(world: SdkWorld) -> None:
    shop, mia = await a_shop(world.host), await world.person("mia")
    offer = await shop.post("/offers", {**EXAMPLE_OFFER, "countersign": "auto"})
    hers = await mia.accept(offer["link"])
    await hers.wait_until_open(timeout=20)
    await hers.grant(["care"])
    backup = await Backup.of(world.host)
    world.pass_time(seconds=2)
    await hers.set_hours("Europe/Berlin", [(["mo"], "09:00", "09:01")])
    await backup.put_back()
    world.pass_time(seconds=2)
    # She has read nothing of the restore. The mute confirms her side, and with it the shop's.
    await hers.mute(purposes=["sales"])
    await mia.sync()
    await mia.sync()
    state = await state_at_server(world.host, hers.cid)
    assert state.recovering == () and state.second.settings.zone == "Europe/Berlin"
    assert mia.contradictions() == []
