"""A wallet that was closed in between shows what it showed before."""

from pathlib import Path

from sdk_world import sdk_world


async def test_a_message_that_waited_is_shown_after_the_wallet_was_opened_again(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        await theirs.mute()
        await ours.sync()
        assert (await ours.message("care", "When you have time.")).outcome == "held"
        await theirs.unmute()
        news = await theirs.sync()
        assert [it.kind for it in news] == ["message", "delivered"]
        before = await theirs.messages()
        assert [(it.text, it.outcome) for it in before] == [("When you have time.", "delivered")]
        again = (await world.again(mia, "mia")).party(theirs.cid)
        assert await again.messages() == before
        assert await again.timeline() == await theirs.timeline()
