"""Who has a device with a wrong clock reads all the same, and is told (HTTP-24)."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from comity.client import Connection, Response, Wallet
from comity.errors import Refused
from support.sdk_world import IDENTITY, Bent, SdkWorld
from support.terminal_world import a_host, connected


async def met(world: SdkWorld) -> tuple[Connection, str]:
    """A shop's view of its connection with Mia, whose wallet is closed."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await mia.close()
    return ours, theirs.cid


def off_by(world: SdkWorld, seconds: int) -> tuple[Bent, AbstractAsyncContextManager[Wallet]]:
    """Mia's wallet, to be opened on a device whose clock is so much ahead."""
    wire = Bent()
    opening = Wallet.open(
        world.folder / "mia", identity=IDENTITY, send=wire.transport, clock=lambda: world.host.now() + seconds * 1000
    )
    return wire, opening


@pytest.mark.parametrize("seconds", [90, -90, 480, -480])
async def test_a_device_whose_clock_is_off_reads_by_the_server_s(world: SdkWorld, seconds: int) -> None:
    ours, cid = await met(world)
    world.pass_time(hours=1)
    await ours.send_message("care", "How are you?")
    wire, opening = off_by(world, seconds)
    async with opening as mia:
        party = mia.connection(cid)
        assert mia.clock_offsets == {}
        assert [it.kind for it in await mia.sync()] == ["message"]
        (ahead,) = mia.clock_offsets.values()
        assert abs(ahead + seconds) <= 1
        refused = [answer for _, answer in wire.seen if answer.status == 401]
        assert len(refused) <= 1 + len(mia.connections())
        await party.sync()
        assert [it.status for it in await party.tokens()] == ["valid"]
        await party.grant(["service"])
        await party.send_message("complaint", "Too loud.")
        world.pass_time(seconds=1)

        async def first() -> str:
            async for news in party.listen():
                return news.kind
            return "nothing"

        listening = asyncio.create_task(first())
        await ours.send_message("care", "Better?")
        async with asyncio.timeout(20):
            assert await listening == "message"
        assert [answer for _, answer in wire.seen if answer.status == 401] == refused


async def test_acts_keep_their_rule_and_a_no_gets_in(world: SdkWorld) -> None:
    _, cid = await met(world)
    world.pass_time(hours=1)
    _, opening = off_by(world, -3000)
    async with opening as mia:
        party = mia.connection(cid)
        await party.sync()
        with pytest.raises(Refused, match="iat_out_of_range"):
            await party.send_message("complaint", "Too loud.")
        await party.mute()
        await party.revoke()
        assert party.phase == "ended" and mia.clock_offsets != {}


async def test_a_server_that_gives_no_time_or_the_same_is_asked_once(world: SdkWorld) -> None:
    _, cid = await met(world)
    world.pass_time(hours=1)
    for date in (None, "yesterday"):
        wire, opening = off_by(world, 90)

        def dated(_: object, answer: Response, date: str | None = date) -> Response:
            headers = {name: value for name, value in answer.headers.items() if name != "date"}
            return Response(answer.status, headers if date is None else {**headers, "date": date}, answer.body)

        wire.after = dated
        async with opening as mia:
            with pytest.raises(Refused, match="signature_stale"):
                await mia.connection(cid).sync()
            assert mia.clock_offsets == {} and sum(answer.status == 401 for _, answer in wire.seen) == 1


async def test_a_terminal_tells_of_the_clock_beside_what_it_prints(tmp_path: Path) -> None:
    async with a_host(tmp_path, behind=90_000) as host:
        mia, shop = await connected(host, tmp_path)
        await shop("send", "Mia", "care", "How are you?")
        code, told, failed = await mia.outside("messages", "The Blue Shop")
        assert code == 0 and "How are you?" in told and "clock" not in told
        assert "Note: this device's clock is 90 seconds ahead of that of did:web:localhost" in failed
