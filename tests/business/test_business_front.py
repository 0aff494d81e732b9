"""What every route of the business side does before it looks at anything: keys, limits, scopes, shapes."""

from pathlib import Path

from business_world import a_shop
from world import a_world


async def test_an_engineer_sees_who_the_key_speaks_for(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        told = await shop.get("/self")
        assert (told["business"], told["did"], told["role"], told["signing"]) == ("shop", shop.did, "owner", "kept")


async def test_a_key_that_is_none_gets_one_answer_and_is_told_what_is_wanted(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        replies = [await shop.ask("GET", "/self", key=key) for key in ("ck_live_" + "A" * 43, "x", shop.key[:-1])]
        assert {reply.body for reply in replies} == {replies[0].body}
        assert replies[0].code == "api_key_required"
        assert replies[0].headers["WWW-Authenticate"].startswith("Bearer")
        assert replies[0].json["documentation"] == f"{world.origin}/docs/errors#api_key_required"
        assert await shop.refused("GET", "/self", key="ck_test_" + "A" * 43) == "no_sandbox"


async def test_every_answer_names_the_request_and_what_is_left_of_the_rate(tmp_path: Path) -> None:
    async with a_world(tmp_path, business_rate=3) as world:
        shop = await a_shop(world)
        replies = [await shop.ask("GET", "/self") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert len({reply.headers["X-Request-Id"] for reply in replies}) == 4
        assert replies[0].headers["RateLimit-Policy"] == '"api-key";q=3;w=60'
        assert replies[0].headers["RateLimit"] == '"api-key";r=2;t=60'
        assert replies[3].code == "rate_limited" and 1 <= int(replies[3].headers["Retry-After"]) <= 61


async def test_keys_outlive_a_restart(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        await shop.get("/self")
        await world.stop()
        await world.start()
        assert (await shop.get("/self"))["signing"] == "kept"
