"""A home server may write several logs at a time; a wallet looks at those that its connections stand in (LOG-16,
LOG-19)."""

import json

import pytest

from comity.client import Connection, Request, Response
from comity.errors import Contradiction
from support.sdk_world import SdkWorld
from support.served_log import signer


async def pair(world: SdkWorld) -> tuple[Connection, Connection]:
    return await world.connect(await world.business("shop"), await world.person("mia"), "care")


def named(response: Response) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(response.body)["logs"]
    return found


def with_logs(response: Response, logs: list[dict[str, object]]) -> Response:
    body = {**json.loads(response.body), "logs": logs}
    return Response(response.status, response.headers, json.dumps(body).encode())


async def another_log(world: SdkWorld, name: str) -> None:
    """The server begins another log, and the one before ends."""
    await world.host.stop()
    world.host._settings["consent_log"] = name
    await world.host.start()


async def test_a_wallet_looks_at_the_log_it_is_in_and_at_none_of_the_others(world: SdkWorld) -> None:
    """The server names forty active logs; that of the connection is the last."""
    host = world.base.partition("://")[2]

    def after(request: Request, response: Response) -> Response:
        if not request.url.endswith("/.well-known/comity"):
            return response
        scheme = world.base.partition("://")[0]
        others = [f"{host}/log/shard-{number}" for number in range(39)]
        more: list[dict[str, object]] = [
            {"origin": it, "vkey": signer(it).verifier.text, "url": f"{scheme}://{it}"} for it in others
        ]
        return with_logs(response, [*more, *named(response)])

    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    mia = await world.again(mia, "mia")
    world.wires["mia"].after = after
    party = mia.connection(theirs.cid)
    await party.remember("small_talk")
    await ours.send_message("care", "hello")
    for _ in range(3):
        await party.sync()
    asked = [request.url for request, _ in world.wires["mia"].seen if "/log" in request.url]
    assert asked and not [url for url in asked if "shard" in url]


async def test_a_connection_goes_on_in_another_log_once_its_own_has_ended(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    await theirs.remember("small_talk")
    await another_log(world, "2027")
    await theirs.forget("small_talk")
    for party in (ours, theirs):
        await party.sync()
    logs = named(await _well_known(world, theirs))
    assert [(str(it["origin"]).rpartition("/")[2], it.get("ended")) for it in logs] == [("2027", None), ("log", True)]


async def _well_known(world: SdkWorld, party: Connection) -> Response:
    await party.queue.session.logs.refresh(party.info.home)
    return next(answer for request, answer in reversed(world.wires["mia"].seen) if "well-known/comity" in request.url)


async def test_a_connection_in_two_active_logs_is_found(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    await theirs.remember("small_talk")
    await another_log(world, "2027")

    def after(request: Request, response: Response) -> Response:
        if not request.url.endswith("/.well-known/comity"):
            return response
        return with_logs(response, [{k: v for k, v in it.items() if k != "ended"} for it in named(response)])

    world.wires["mia"].after = after
    await theirs.forget("small_talk")
    with pytest.raises(Contradiction, match="split_tag") as caught:
        await theirs.sync()
    assert len(caught.value.evidence) >= 2
    await ours.sync()
