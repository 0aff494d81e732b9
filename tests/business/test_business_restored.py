"""What a business sees after its server was put back from a backup, and what the server does for one whose key it
keeps (REC-4, REC-6)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.business_world import Shop, a_shop
from support.restored_server import Backup, confirm, state_at_server
from support.world import Pair, World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world with a running server."""
    async with a_world(tmp_path) as made:
        yield made


async def restored(world: World) -> tuple[Shop, Pair]:
    """A shop whose key the server keeps, and a customer, after a restore; nothing was lost."""
    shop = await a_shop(world)
    pair = await shop.customer("care", "favour")
    backup = await Backup.of(world)
    await backup.put_back()
    return shop, pair


async def test_a_check_says_that_the_server_waits_and_why(world: World) -> None:
    shop, pair = await restored(world)
    for purpose in ("care", "safety"):
        told = await shop.post("/check", {"connection": pair.cid, "purpose": purpose, "channel": "app"})
        assert (told["decision"], told["reason"]) == ("hold", "recovering")
        assert "backup" in told["why"] and "ends_at" not in told


async def test_a_kept_key_signs_nothing_but_an_end_until_the_customer_has_confirmed(world: World) -> None:
    shop, pair = await restored(world)
    place = f"/connections/{pair.cid}"
    assert await shop.refused("POST", f"{place}/messages", {"purpose": "care", "text": "hello"}) == "recovering"
    assert await shop.refused("POST", f"{place}/mute", {}) == "recovering"
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")
    assert (await confirm(pair, "second")).json == {"lacks": [], "recovering": []}
    await shop.post(f"{place}/messages", {"purpose": "care", "text": "hello"})


async def test_a_kept_key_can_end_the_connection_meanwhile(world: World) -> None:
    shop, pair = await restored(world)
    await shop.post(f"/connections/{pair.cid}/revoke")
    assert (await state_at_server(world, pair.cid)).phase == "ended"


async def test_two_sides_whose_keys_are_kept_wait_for_nobody(world: World) -> None:
    shop, other = await a_shop(world), await a_shop(world, "other")
    keys = world.server.context.kept
    mine, theirs = keys.newest(shop.name), keys.newest(other.name)
    assert mine is not None and theirs is not None
    pair = await world.connect(mine, theirs)
    backup = await Backup.of(world)
    await backup.put_back()
    state = await state_at_server(world, pair.cid)
    assert state.restored_at > 0 and state.recovering == ()


async def test_a_mute_of_hers_ends_her_waiting_and_that_of_a_shop_whose_key_is_kept(world: World) -> None:
    _, pair = await restored(world)
    pair.state = await state_at_server(world, pair.cid)
    await pair.go("second", "mute", purposes=("sales",))
    assert (await state_at_server(world, pair.cid)).recovering == ()
    assert (await confirm(pair, "second")).json == {"lacks": [], "recovering": []}


async def test_an_engineer_is_told_that_it_waits_and_when_it_goes_on(world: World) -> None:
    shop, pair = await restored(world)
    assert (await shop.get(f"/connections/{pair.cid}"))["unconfirmed_by"] == ["us", "them"]
    await confirm(pair, "second")
    told = (await shop.get("/notifications?order=oldest"))["items"]
    assert [it["type"] for it in told][-3:] == [
        "connection.restored", "connection.confirmed", "connection.confirmed"
    ]  # fmt: skip
    assert {it["data"]["connection"] for it in told[-3:]} == {pair.cid}
    assert (await shop.get(f"/connections/{pair.cid}"))["status"] == "open"
    kinds = [it["kind"] for it in (await shop.get(f"/connections/{pair.cid}/timeline?order=oldest"))["items"]]
    assert kinds[-3:] == ["restored", "confirmed", "confirmed"]
