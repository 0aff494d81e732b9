"""Mia opens her wallet after a year and more: her server keeps no news from so long ago, and she misses nothing
("An old copy" in spec/http.md, HTTP-23)."""

import shutil
from pathlib import Path

import pytest

from comity.client import Connection
from comity.rules.state import public_state
from support.sdk_world import TERMS, SdkWorld, sdk_world

AWAY = 450
"""Days, more than news are kept."""


async def go_on_without_her(world: SdkWorld, ours: Connection) -> None:
    """What the shop does while Mia is away: it writes, notes something, and wants to be left alone by phone."""
    await ours.send_message("care", "Is everything all right?")
    await ours.remember("paper_receipt")
    world.pass_time(days=3)
    await ours.send_message("care", "The paint is here.")
    await ours.mute(channels=["phone"])
    world.pass_time(days=AWAY)
    await world.host.server.pruner.round()


async def is_as_the_server_says(party: Connection) -> None:
    """The wallet has the state that the server shows."""
    answer, _ = await party.queue.session.server(party.info.home).get_connection(party.cid, party.queue.signer)
    assert public_state(party.state) == answer.state


@pytest.mark.parametrize("with_mailbox", [False, True])
async def test_mia_comes_back_after_a_year_and_more_and_misses_nothing(tmp_path: Path, with_mailbox: bool) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        if with_mailbox:
            await mia.use_mailbox(theirs)
        await theirs.mute(days=1, purposes=["sales"])
        await theirs.mute(days=1)
        await mia.sync()
        known = len(theirs.records)
        await mia.close()
        await ours.sync()
        await go_on_without_her(world, ours)
        mia = await world.reopened("mia")
        theirs = mia.connection(theirs.cid)
        news = [it.kind for it in await mia.sync() if it.cid == theirs.cid]
        assert [it.text for it in await theirs.messages()] == ["Is everything all right?", "The paint is here."]
        assert {"remember", "message", "mute"} <= set(news) and len(theirs.records) > known
        await is_as_the_server_says(theirs)
        assert not mia.contradictions() and not await mia.sync()
        await theirs.revoke()
        assert theirs.phase == "ended"


async def test_an_old_copy_of_her_wallet_finds_what_the_other_copy_did_as_well(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        shutil.copy(world.folder / "mia", world.folder / "phone")
        await theirs.mute(days=2, purposes=["sales"])
        await theirs.remember("paper_receipt")
        await ours.sync()
        await go_on_without_her(world, ours)
        phone = await world.reopened("phone")
        party = phone.connection(theirs.cid)
        await phone.sync()
        await is_as_the_server_says(party)
        assert len(await party.messages()) == 2 and not phone.contradictions()
        await party.revoke()
        assert party.phase == "ended"


async def test_a_proposer_who_looks_a_year_later_finds_the_connection_open(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        theirs = await mia.accept(await shop.offer(world.base, [TERMS], ["care"]))
        await mia.sync()
        await mia.close()
        (proposal,) = await shop.proposals()
        ours = await proposal.countersign()
        await ours.remember("paper_receipt")
        world.pass_time(days=AWAY)
        await world.host.server.pruner.round()
        mia = await world.reopened("mia")
        theirs = mia.connection(theirs.cid)
        await theirs.sync()
        assert theirs.phase == "open" and [it.act.kind for it in theirs.records if it.act is not None] == ["remember"]
        await is_as_the_server_says(theirs)
        await theirs.revoke()
