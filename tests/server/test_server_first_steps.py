"""What two people do with a server on an ordinary day."""

from support.world import DAY, HOUR, World, eventually


async def test_two_who_agreed_can_write_to_each_other(world: World) -> None:
    pair = await world.shop_and_customer("care")
    message = await pair.go("first", "message")
    page = await pair.news("second")
    assert [item["kind"] for item in page["items"]] == ["opened", "act"]
    assert page["items"][1]["act"] == message.raw
    assert await pair.kinds("first") == ["proposal", "opened", "grant"]


async def test_the_server_and_who_follows_the_acts_agree_on_the_state(world: World) -> None:
    from comity.rules.state import public_state

    pair = await world.shop_and_customer("care", "sales")
    await pair.go("second", "mute", until=(world.now() + DAY) // 1000)
    await pair.go("first", "milestone", kind="bought", topic="windows", when=world.now() // 1000)
    seen = (await pair.seen("second")).json
    assert seen["state"] == public_state(pair.state)
    assert seen["heads"]["first"] == {"seq": pair.state.first.seq, "head": pair.state.first.head}


async def test_a_muted_shop_may_not_write_and_what_it_wrote_comes_when_the_mute_ends(world: World) -> None:
    pair = await world.shop_and_customer("care")
    await pair.go("second", "mute", until=(world.now() + HOUR) // 1000)
    assert await pair.refused("first", "message", if_muted="fail") == "not_now"
    await pair.go("first", "message")
    assert await pair.kinds("second") == ["opened", "message (held)"]
    world.later(HOUR + 1000)

    async def delivered() -> bool:
        return (await pair.kinds("second"))[-1] == "delivered"

    await eventually(delivered)
    assert (await pair.news("second"))["items"][-1]["act"]
    assert (await pair.kinds("first"))[-1] == "delivered"
