"""What each route tells caches is what the page says (HTTP-14)."""

import asyncio
import re
from typing import Any

import aiohttp

from comity.documents.offers import parse_link
from comity.http_api import ACTS, CONNECTIONS, EVENT_STREAM, INBOX, JWT
from support.spec_pages import table
from support.world import Pair, World


def told() -> dict[str, str]:
    """Path → the header that the page names for it."""
    rows = table("http", "method", "path", "Cache-Control")
    return {path: header.split(" (")[0] for _method, path, header in rows if path.startswith("/")}


async def places(world: World, pair: Pair) -> dict[str, str]:
    """Every path of a GET on the page, and an address of that kind that is there."""
    size = int((await world.send("GET", "/log/checkpoint")).body.split(b"\n")[1])
    shop = next(iter(world.server.directory.names()))
    (named,) = [it for it in world.server.logs if it is world.server.logs.active]
    assert named.origin.endswith("/log")
    return {
        "/status/{list}": "/status/1",
        "/.well-known/did.json": "/.well-known/did.json",
        "/b/{name}/did.json": f"/b/{shop.name}/did.json",
        "/log/checkpoint": "/log/checkpoint",
        "/log/{tile}": f"/log/tile/0/000.p/{size}",
        "/.well-known/comity": "/.well-known/comity",
        "/b/{name}/keys": f"/b/{shop.name}/keys",
        "/i/{id}": f"/i/{await offer(world, pair)}",
        "/v1/offers/{id}": f"/v1/offers/{await offer(world, pair)}",
    }


async def offer(world: World, pair: Pair) -> str:
    signed = world.offer(pair.signers["first"])
    assert (await world.publish(signed)).status == 201
    return parse_link(signed.link())[1]


async def test_each_route_tells_caches_what_the_page_says(world: World) -> None:
    pair = await world.shop_and_customer("care")
    message = await pair.go("first", "message")
    await asyncio.sleep(1.5)
    for path, address in (await places(world, pair)).items():
        reply = await world.send("GET", address)
        assert reply.status == 200, (address, reply)
        assert reply.headers["Cache-Control"] == told().get(path, "no-store"), path
    mia = pair.signers["second"]
    for address in (INBOX, f"{CONNECTIONS}/{pair.cid}", f"{ACTS}/{message.id}"):
        reply = await world.read(mia, address)
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store"), address
    again = await world.send("POST", ACTS, message.raw.encode(), JWT)
    assert (again.status, again.headers["Cache-Control"]) == (200, "no-store")


async def test_no_refusal_is_kept(world: World) -> None:
    for path in told():
        address = re.sub(r"\{[a-z]+\}", "nowhere", path)
        if "{" in path:
            reply = await world.send("GET", address)
            assert (reply.status, reply.headers["Cache-Control"]) == (404, "no-store"), path
    for address in (INBOX, f"{CONNECTIONS}/{'A' * 43}", "/v1/nowhere"):
        assert (await world.send("GET", address)).headers["Cache-Control"] == "no-store"


async def test_a_stream_is_kept_by_nobody_and_its_lines_end_in_crlf(world: World) -> None:
    """HTTP-13, HTTP-14."""
    pair = await world.shop_and_customer("care")
    headers: dict[str, Any] = {**world.signature(pair.signers["second"], INBOX), "Accept": EVENT_STREAM}
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as http,
        http.get(world.origin + INBOX, headers=headers) as reply,
    ):
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
        read = b""
        while not read.endswith(b"\r\n\r\n"):
            read += await reply.content.readany()
    lines = read.split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines[:2]] == [b"id", b"data"] and lines[2] == b""
    assert not any(b"\n" in line or b"\r" in line for line in lines)
