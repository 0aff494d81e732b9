"""A business takes a new key: published by its host first, then in every connection, and no token is stranded."""

import json

import pytest

from comity.documents.acts import Message
from comity.encoding import b64u_decode
from comity.errors import ComityError
from support.sdk_world import SdkWorld


async def test_a_business_changes_its_key_and_nobody_loses_anything(world: SdkWorld) -> None:
    shop, mia, jonas = await world.business("shop"), await world.person("mia"), await world.person("jonas")
    for_mia, with_mia = await world.connect(shop, mia, "care")
    for_jonas, with_jonas = await world.connect(shop, jonas, "care")
    await for_mia.grant(["service"])
    old = shop.public_key

    published = await shop.make_next_key()
    with pytest.raises(ComityError, match="does not publish"):
        await shop.rotate_key()
    await world.host.server.add_business_key("shop", published)
    assert await shop.rotate_key() == 2
    assert shop.public_key == published != old

    # Both people follow, the grants of both sides go on, and what is written now can be read.
    for ours, theirs in ((for_mia, with_mia), (for_jonas, with_jonas)):
        await theirs.sync()
        written = await ours.send_message("care.checkin", "We have a new key.")
        await theirs.sync()
        assert written.outcome == "delivered"
        assert (await theirs.messages())[-1].text == "We have a new key."
    to_the_new_key = await with_mia.send_message("service", "I noticed.")
    sealed = next(line.act for line in with_mia.records if line.act is not None and line.act.id == to_the_new_key.id)
    assert isinstance(sealed.payload, Message)
    assert json.loads(b64u_decode(sealed.payload.body.split(".")[0]))["kid"].endswith(f"{published[8:]}-x")
    await for_mia.sync()
    assert (await for_mia.messages())[-1].text == "I noticed."
    assert {token.by for token in await with_mia.tokens()} == {"me", "them"}


async def test_after_the_turn_the_wallet_goes_on_under_its_new_key(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    await world.connect(shop, mia, "care")
    await world.host.server.add_business_key("shop", await shop.make_next_key())
    await shop.rotate_key()
    shop = await world.again(shop, "shop")
    jonas = await world.person("jonas")
    ours, theirs = await world.connect(shop, jonas, "care")
    assert ours.agreement.offerer.key == (shop.public_key or "").removeprefix("did:key:")
    assert (await ours.send_message("care", "Hello.")).outcome == "delivered"
    await theirs.sync()
    assert len(await theirs.messages()) == 1


async def test_a_person_has_no_key_to_turn(world: SdkWorld) -> None:
    mia = await world.person("mia")
    with pytest.raises(ComityError, match="a person"):
        await mia.make_next_key()
