"""Whose key it is in an open connection: what both signed, and no document that somebody serves later (KEY-9)."""

from comity.client import Request
from support.sdk_world import SdkWorld


async def test_a_connection_goes_on_over_new_keys_without_a_look_at_any_document(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await ours.grant(["care"])
    await world.host.server.add_business_key("shop", await shop.make_next_key())
    await shop.rotate_key()
    asked: list[str] = []

    def documents(request: Request) -> bool:
        if "/b/" in request.url and request.url.endswith("/did.json"):
            asked.append(request.url)
        return bool(asked)

    for name in ("mia", "shop"):
        world.wires[name].cut = documents
    await theirs.send_message("care", "To your new key.")
    await ours.send_message("care", "Under my new key.")
    await ours.sync()
    await theirs.sync()
    assert [it.text for it in await ours.messages() if it.by == "them"] == ["To your new key."]
    assert [it.text for it in await theirs.messages() if it.by == "them"] == ["Under my new key."]
    await theirs.rotate_key()
    await ours.sync()
    await ours.send_message("care", "To yours.")
    await theirs.sync()
    assert (await theirs.messages())[-1].text == "To yours."
    assert asked == []
    assert mia.contradictions() == shop.contradictions() == []


async def test_a_key_that_a_business_publishes_and_never_took_signs_nothing(world: SdkWorld) -> None:
    """The document lists it; the side's key is the agreement's until a rotate is accepted."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await world.host.server.add_business_key("shop", await shop.make_next_key())
    before = ours.state.first.key
    await ours.send_message("care", "Still under the key that we agreed on.")
    await theirs.sync()
    assert theirs.state.first.key == before == ours.state.first.key
