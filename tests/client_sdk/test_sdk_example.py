"""The example that the design shows, as a customer's app would write it, runs."""

from pathlib import Path

import pytest

from comity.client import NotOpen, Wallet
from support.sdk_world import TERMS, sdk_world


async def test_the_example_runs_as_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with sdk_world(tmp_path) as world:
        clock = world.host.now
        business = await world.business("shop")
        link = await business.offer(world.base, [TERMS], ["care"], name="The Blue Shop")
        async with Wallet.create(tmp_path / "mia.wallet", passphrase="blue one", clock=clock):
            pass

        async with Wallet.open(tmp_path / "mia.wallet", passphrase="blue one", clock=clock) as mia:
            shop = await mia.accept(link)
            with pytest.raises(NotOpen):
                await shop.mute(days=14)
            ours = await (await business.proposals())[0].countersign()
            await shop.wait_until_open(timeout=60)
            await ours.grant(["favour"])
            await shop.mute(days=14)
            favour = await shop.ask("hold", "Could you keep the blue one until Friday?")
            print(await shop.timeline())
            await shop.revoke()
            assert favour.status == "none"
            assert shop.phase == "ended"
        told = capsys.readouterr().out
        assert "you muted The Blue Shop" in told
        assert "you asked a favour: hold" in told
        await ours.sync()
        assert ours.phase == "ended"
