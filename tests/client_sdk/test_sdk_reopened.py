"""A wallet that was closed in between shows what it showed before."""

from pathlib import Path

from comity.rules.state import public_state
from support.sdk_world import sdk_world
from support.terminal_world import Terminal


async def test_a_message_that_waited_is_shown_after_the_wallet_was_opened_again(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        await theirs.mute()
        await ours.sync()
        assert (await ours.send_message("care", "When you have time.")).outcome == "held"
        await theirs.unmute()
        news = await theirs.sync()
        assert [it.kind for it in news] == ["message", "delivered"]
        before = await theirs.messages()
        assert [(it.text, it.outcome) for it in before] == [("When you have time.", "delivered")]
        again = (await world.again(mia, "mia")).connection(theirs.cid)
        assert await again.messages() == before
        assert await again.timeline() == await theirs.timeline()


async def test_a_no_in_a_wallet_whose_end_was_damaged_is_read_back_and_the_next_act_goes_on(tmp_path: Path) -> None:
    """WALLET-10: whatever of the last frames is lost to a bad page."""
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        path, before = world.folder / "mia", (world.folder / "mia").stat().st_size
        await theirs.mute(days=3)
        await theirs.remember("language", value=["de"])
        await mia.close()
        whole = path.read_bytes()
        for at in range(before + 40, len(whole), (len(whole) - before) // 7):
            path.write_bytes(whole[:at] + bytes(max(0, len(whole) - at - 40)) + whole[-40:])
            mia = await world.reopened("mia")
            (copy,) = mia.damaged_copies
            assert copy.read_bytes() != whole
            again = mia.connection(theirs.cid)
            await again.sync()
            await ours.sync()
            assert public_state(again.state) == public_state(ours.state)
            assert len(again.state.second.mutes) == 1
            await again.remember("language", value=["fr"])
            await ours.sync()
            assert public_state(again.state) == public_state(ours.state)
            await mia.close()
            copy.unlink()


async def test_the_owner_is_told_of_a_damaged_end_and_where_the_bytes_are(tmp_path: Path) -> None:
    """WALLET-10, in a terminal: a text is lost with its frame, and a person must know why."""
    mia = Terminal(tmp_path / "mia")
    await mia("create", "--name", "Mia")
    data = bytearray(mia.file.read_bytes())
    data[-30] ^= 1
    mia.file.write_bytes(data)
    for _ in range(2):
        code, _, failed = await mia.outside("show")
        assert code == 0 and f"could not be read. {mia.file}.damaged-1 is a copy of the damaged file" in failed
    (tmp_path / "mia.damaged-1").unlink()
    assert (await mia.outside("show"))[2] == ""
