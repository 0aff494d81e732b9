"""A business as its engineers see it: an API key and plain HTTP, against the server of a world."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from comity.crypto.keys import Signer
from comity.documents.agreements import HalfSigned
from comity.documents.offers import SignedOffer, open_offer
from comity.http_api import JSON, JWT, OFFERS
from comity.rules.state import decode_state
from comity_server.businesses.api_keys import new_key
from comity_server.businesses.roles import Role, Scope
from comity_server.commands.provisioning import admit
from support.world import TEXT, Pair, Reply, World, eventually

BUSINESS = "/v1/business"


@dataclass
class Shop:
    """A business with an API key of its own."""

    world: World
    name: str
    did: str
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        again: str | None = None,
        jws: str | None = None,
        raw: bytes | None = None,
        kind: str = JSON,
    ) -> Reply:
        """One request: `body` as JSON, or an act's JWS, or raw bytes of that kind; `again` is the Idempotency-Key."""
        headers = {"Authorization": f"Bearer {key or self.key}", **self.headers}
        if again is not None:
            headers["Idempotency-Key"] = again
        if jws is not None:
            return await self.world.send(method, BUSINESS + path, jws.encode(), JWT, headers)
        sent = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return await self.world.send(method, BUSINESS + path, sent, kind if sent else None, headers)

    async def get(self, path: str, **how: Any) -> Any:
        """The JSON of a GET, which must answer 200."""
        reply = await self.ask("GET", path, **how)
        assert reply.status == 200, reply
        return reply.json

    async def post(self, path: str, body: Any = None, **how: Any) -> Any:
        """The JSON of a POST, which must succeed."""
        reply = await self.ask("POST", path, body, **how)
        assert reply.status < 300, reply
        return reply.json if reply.body else None

    async def refused(self, method: str, path: str, body: Any = None, **how: Any) -> str:
        """The code of a refusal."""
        code = (await self.ask(method, path, body, **how)).code
        assert code
        return code

    async def key_of(self, role: Role, *scopes: Scope, **fields: Any) -> str:
        """Another API key of this business."""
        world = self.world

        async def decide(group: Any) -> Any:
            return admit(group, *new_key(self.name, role, group.now, scopes=scopes or None, **fields))

        shown, _ = await world.server.writer.command(decide)
        return str(shown)

    async def customer(self, *purposes: str, channels: tuple[str, ...] = ("app",)) -> Pair:
        """A connection with somebody new (side second), who has granted these purposes."""
        signer = self.world.server.context.kept.newest(self.name)
        assert signer is not None
        pair = await self.world.connect(signer, self.world.person())
        if purposes:
            await pair.grant("second", *purposes, channels=channels)
        return pair


async def a_shop(world: World, name: str = "shop") -> Shop:
    """A business whose signing key the server keeps, with an owner's API key."""
    business = await world.server.add_business_key(name, None)
    return Shop(world, name, business.did, await world.server.add_owner_key(name))


EXAMPLE_OFFER: dict[str, Any] = {
    "name": "Clear View Windows",
    "purposes": ["care", "sales"],
    "channels": ["app", "email"],
    "agreements": [
        {"id": "https://w3id.org/dpv/standards/ieee/7012#SD-BASE", "version": "1", "lang": "en", "text": TEXT}
    ],
    "use": "many",
    "expires_at": "2024-12-31T17:00:00Z",
}
"""An offer as an engineer writes it; its terms are those that people here agree to."""


@asynccontextmanager
async def at_once(world: World) -> AsyncIterator[Callable[[Awaitable[Any]], Awaitable["asyncio.Future[Any]"]]]:
    """Yields a function that sends a request. The requests wait for the writer, and one unit of work decides them in
    their order."""
    begun, go_on, waiting = asyncio.Event(), asyncio.Event(), 1

    async def nothing_yet(_group: Any) -> None:
        begun.set()
        await go_on.wait()

    async def ask(request: Awaitable[Any]) -> "asyncio.Future[Any]":
        nonlocal waiting
        waiting += 1
        asked = asyncio.ensure_future(request)

        async def all_wait() -> bool:
            assert not asked.done(), asked.result()
            return world.server.writer.weight >= waiting

        await eventually(all_wait)
        return asked

    first = asyncio.ensure_future(world.server.writer.command(nothing_yet))
    await begun.wait()
    try:
        yield ask
    finally:
        go_on.set()
        await first


async def half_on(shop: Shop, short: str, person: Signer, **changes: Any) -> tuple[SignedOffer, HalfSigned]:
    """The offer as anybody may read it, and somebody's half of an agreement on it; not sent."""
    reply = await shop.world.send("GET", f"{OFFERS}/{short}")
    assert reply.status == 200, reply
    signed = open_offer(reply.body, shop.world.server.directory.find_key)
    offerer = shop.world.server.context.kept.signer(signed.kid)
    assert offerer is not None
    return signed, shop.world.half(signed, offerer, person, **changes)


async def again(pair: Pair) -> None:
    """Set the pair's state to that of the server, which acted without this test."""
    known = await pair.world.server.store.state(pair.cid)
    assert known is not None
    pair.state = decode_state(known.state)
