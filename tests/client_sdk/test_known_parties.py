"""A party that the wallet knows already is not connected with twice by mistake, and a "no" tells what it leaves open
(WHO-4 to WHO-6)."""

from pathlib import Path

import pytest

from comity.client import AlreadyConnected, Blocked
from comity.errors import Malformed, Unreachable
from support.sdk_world import ELSE, TERMS, SdkWorld
from support.terminal_world import a_shop, an_offer, connected
from support.world import World


async def test_a_link_that_was_accepted_is_accepted_again_only_on_purpose(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    first = await mia.accept(link)
    with pytest.raises(AlreadyConnected) as proposed:
        await mia.accept(link)
    assert proposed.value.cids == (first.cid,)
    await (await shop.proposals())[0].countersign()
    await first.wait_until_open(timeout=20)
    with pytest.raises(AlreadyConnected, match="open"):
        await mia.accept(link)
    shown = await mia.fetch_offer(link)
    assert shown.connections == (first,) and "already, Shop Ltd" in shown.warnings[-1]
    second = await mia.accept(shown, again=True)
    assert {it.cid for it in mia.connections_with(shown.did)} == {first.cid, second.cid}
    await mia.withdraw_acceptance(second)
    await first.revoke()
    assert "which has ended" in " ".join((await mia.fetch_offer(link)).warnings)
    assert (await mia.accept(link)).phase == "proposed"


async def test_a_retry_after_a_lost_answer_goes_on_with_the_signed_half(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS, ELSE], ["care"])
    wire = world.wires["mia"]
    wire.lose = lambda request: request.url.endswith("/agreements")
    with pytest.raises(Unreachable):
        await mia.accept(link)
    (begun,) = mia.connections()
    wire.lose = None
    with pytest.raises(AlreadyConnected):
        await mia.accept(link, terms=ELSE.id)
    assert await mia.accept(link, grants=[{"purposes": ["care"]}]) is begun and mia.connections() == [begun]
    with pytest.raises(AlreadyConnected):
        await mia.accept(link)
    (proposal,) = await shop.proposals()
    world.wires["shop"].lose = lambda request: request.method == "PUT"
    with pytest.raises(Unreachable):
        await proposal.countersign()
    world.wires["shop"].lose = None
    await proposal.countersign()
    assert len(shop.connections()) == 1
    await begun.wait_until_open(timeout=20)
    assert [it.purposes for it in begun.state.door("second").grants] == [("care",)]


async def test_a_business_that_accepts_again_is_known_to_the_one_that_countersigns(world: SdkWorld) -> None:
    shop, maker = await world.business("shop"), await world.business("maker")
    link = await shop.offer(world.base, [TERMS], ["care"])
    await maker.accept(link)
    await (await shop.proposals())[0].countersign()
    await maker.sync()
    await maker.accept(link, again=True)
    (proposal,) = await shop.proposals()
    with pytest.raises(AlreadyConnected):
        await proposal.countersign()
    await proposal.countersign(again=True)
    assert len(shop.connections_with(proposal.did)) == 2


async def test_a_no_in_a_terminal_tells_of_the_other_connection_and_takes_both(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    link = await an_offer(host, shop)
    assert "already" in await mia("accept", link, code=1)
    assert "already, The Blue Shop" in await mia("look", link)
    told = await mia("accept", link, "--again")
    other = told.rpartition("Its id is ")[2].split()[0].rstrip(".")
    await shop("countersign", "--call", "Mia too")
    await mia("sync")
    told = await mia("mute", "The Blue Shop", code=1)
    assert told.count("The Blue Shop (id:") == 2 and "--all means all of them" in told
    told = await mia("mute", other, "-p", "care")
    assert "there is another connection with The Blue Shop" in told and "`mute --all`" in told
    assert (await mia("mute", "The Blue Shop", "--all")).count("is muted") == 2
    for name in ("Mia", "Mia too"):
        assert "The message waits" in await shop("send", name, "complaint", "Hello?")
    told = await mia("block", "The Blue Shop")
    assert told.count("stays") == 2 and "`revoke --all did:web:" in told
    assert (await mia("revoke", "The Blue Shop", "--all", "--yes")).count("has ended") == 2
    assert "(connection_ended)" in await shop("send", "Mia too", "complaint", "Hello?", code=1)


async def test_a_half_that_waits_is_no_hindrance_to_a_no_and_is_told_of(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("accept", await an_offer(host, shop), "--again")
    told = await mia("mute", "The Blue Shop")
    assert "is muted" in told and "(proposed): `take-back` ends it before it begins." in told
    told = await mia("block", f"did:web:localhost%3A{host.port}:b:shop")
    assert "`take-back id:" in told and "`revoke --all did:web:" in told
    told = await mia("revoke", "The Blue Shop", "--all", "--yes")
    assert told.count("has ended") == 1 and "(proposed): `take-back`" in told
    assert "can no longer sign it" in await mia("take-back", "The Blue Shop")


async def test_a_block_is_of_somebody_or_it_is_refused(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    did = f"did:web:localhost%3A{host.port}:b:shop"
    assert "no connection is called" in await mia("block", "Example Salon", code=1)
    assert "No business is blocked." in await mia("blocks")
    assert "another key in every connection" in await shop("block", "Mia", code=1)
    assert f"Offers from The Blue Shop ({did}) are refused" in await mia("block", "The Blue Shop")
    assert f"{did}  since 20" in await mia("blocks") and "  The Blue Shop\n" in await mia("blocks")
    link = await an_offer(host, shop)
    assert "is blocked" in await mia("accept", link, "--again", code=1)
    assert "reach you again" in await mia("unblock", did.replace("localhost", "LocalHost"))
    assert "were not refused" in await mia("unblock", "The Blue Shop")
    await mia("accept", link, "--again")


async def test_a_block_is_of_a_host_however_it_is_written(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    assert shop.did is not None
    for nobody in ("Example Salon", "did:web:", "did:key:z6MktW7pjD64gJesaxmsBdnxL73KHZTeVgUPsiXYBJGa4HHM"):
        with pytest.raises(Malformed):
            await mia.block(nobody)
    shown = await mia.fetch_offer(await shop.offer(world.base, [TERMS], ["care"]))
    await mia.block(shop.did.replace("localhost", "LOCALHOST"), "spam")
    assert [(it.did, it.reason) for it in mia.blocks()] == [(shop.did, "spam")]
    with pytest.raises(Blocked):
        await mia.accept(shown)


async def test_a_snooze_is_listed_and_ended(host: World, tmp_path: Path) -> None:
    mia, _ = await connected(host, tmp_path)
    assert "Nothing is snoozed." in await mia("snoozes")
    assert "(malformed)" in await mia("snooze", "The Blue Shop", "--days", "-1", code=1)
    assert "The Blue Shop is snoozed until 20" in await mia("snooze", "The Blue Shop", "--days", "2")
    assert "  The Blue Shop\n" in await mia("snoozes")
    assert "The Blue Shop is no longer snoozed" in await mia("wake", "The Blue Shop")
    assert "was not snoozed" in await mia("wake", "The Blue Shop")
    assert "Nothing is snoozed." in await mia("snoozes")


async def test_a_no_with_all_of_one_reaches_that_one(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await a_shop(host, tmp_path, "The Red Shop", "red")
    assert (await mia("mute", "The Blue Shop", "--all")).count("is muted") == 1
    assert "The message waits" in await shop("send", "Mia", "care", "Hello?")


async def test_an_offer_under_a_known_name_by_another_party_is_flagged(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    assert "Somebody else" not in await mia("look", await an_offer(host, shop)), "it is the one she knows"
    other = await a_shop(host, tmp_path, name="THE  BLUE shop", segment="other")
    link = await an_offer(host, other)
    for told in (await mia("look", link), await mia("accept", link)):
        assert "Note: Somebody else has this name: The Blue Shop (id:" in told and "This is another party." in told
    await other("countersign")
    await mia("sync")
    # Whoever she gives that name now is reached by it, and the others are told of.
    named = told.rpartition("Its id is ")[2].strip().rstrip(".")
    assert "(open) has the same name" in await mia("call", named, "the blue SHOP")
    await mia("call", named, "Another")
    await mia("revoke", "The Blue Shop", "--yes", code=1)
