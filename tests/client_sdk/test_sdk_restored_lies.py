"""What a wallet keeps of its own acts whatever comes between, and which restores it does not believe (REC-1,
EVENT-7)."""

import shutil
from contextlib import suppress

import pytest

from comity.client import Connection
from comity.client.connection import receipts
from comity.client.storage.records import MissingReceipt
from comity.documents.events import Place
from comity.errors import ComityError
from comity.rules import recovery
from comity_server.writer.unit_of_work import UnitOfWork
from support.sdk_world import SdkWorld


async def test_own_acts_of_another_device_are_on_disk_before_what_follows_them(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, hers = await world.connect(shop, mia, "care")
    await mia.sync()
    await mia.close()
    shutil.copy(world.folder / "mia", world.folder / "phone")
    mia, phone = await world.reopened("mia"), await world.reopened("phone")
    hers, outside = mia.connection(hers.cid), phone.connection(hers.cid)

    await outside.remember("first_thing")
    # Her laptop fetches that, and before it reads on the phone writes more, and the shop behind it.
    await hers.queue.fetch_own_missing()
    world.pass_time(seconds=2)
    await outside.remember("second_thing")
    world.pass_time(seconds=2)
    await ours.sync()
    await ours.send_message("care", "your windows are ready")
    await mia.sync()
    state = hers.state
    mia = await world.again(mia, "mia")
    assert mia.connection(hers.cid).state == state


async def restored(world: SdkWorld, party: Connection, log: str | None) -> None:
    """The server states that its store was restored, and that `log` began so; None: the log that it has."""
    cid = party.cid

    async def decide(group: UnitOfWork) -> None:
        before = group.states[cid]
        place = group.log.place() if log is None else Place(log, 0)
        group.state_recovery(recovery.restored_event(before, max(group.now, before.at + 1), place))

    await world.host.server.writer.command(decide, (cid,))


async def test_a_restore_into_a_log_that_had_begun_is_a_contradiction(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    _, hers = await world.connect(shop, mia, "care")
    await restored(world, hers, None)
    with pytest.raises(ComityError):
        await mia.sync()
    assert any("restored" in it.claim for it in mia.contradictions())


async def test_a_restore_that_is_only_said_excuses_no_receipt(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, hers = await world.connect(shop, mia, "care")
    mute = await hers.mute(days=1)
    world.pass_time(days=2)
    await ours.sync()
    await ours.send_message("care", "your windows are ready")
    await mia.sync()
    core = hers.queue.session
    (ended,) = core.records.file.table("overs")
    assert ended and mute
    await restored(world, hers, f"localhost:{world.host.port}/log/other")
    with suppress(ComityError):
        await mia.sync()
    assert hers.queue.history.restored_at
    await core.records.store(("overs", ended, None), ("owed", f"{ended}/over", MissingReceipt(hers.cid)))
    await receipts.fetch_missing(hers.queue)
    assert ended in core.records.file.table("overs"), "the log that is served shows the entry all the same"
