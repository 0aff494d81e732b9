"""A world behind a proxy, and people at two addresses that the proxy names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from comity.crypto.keys import Signer
from comity.http_api import ACTS, INBOX, JWT
from support.world import Pair, Reply, World, a_world

GREEDY, OTHER = "192.0.2.1", "192.0.2.2"


@asynccontextmanager
async def behind_a_proxy(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A world whose clients come from the addresses that they name."""
    async with a_world(folder, trusted_proxies="127.0.0.1", **settings) as world:
        yield world


async def send(world: World, address: str, method: str, path: str, body: bytes = b"", kind: str | None = None) -> Reply:
    """A request from an address."""
    return await world.send(method, path, body, kind, {"X-Forwarded-For": address})


async def act(world: World, address: str, pair: Pair, kind: str, **fields: Any) -> Reply:
    """An act of a customer who is at that address."""
    return await send(world, address, "POST", ACTS, pair.compose("second", kind, **fields).raw.encode(), JWT)


async def read(world: World, address: str, signer: Signer, path: str = INBOX) -> Reply:
    """A signed read from an address."""
    return await world.send("GET", path, headers={**world.signature(signer, path), "X-Forwarded-For": address})
