"""The objects of a business that routes name in paths and bodies. Each is made when a test first asks for it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from aiohttp import web

from comity.documents.notices import NOTICE_TYP
from comity.rules.state import decode_state
from comity_server.api.business.docs.examples import CONNECTION, EXAMPLES, GIVEN, GRANT, HOOK, LINK, MESSAGE
from comity_server.api.business.route import Route
from support.business_world import Shop
from support.parties import forge
from support.world import DAY, Pair

ROOMY: dict[str, Any] = {"business_rate": 1_000_000, "max_invites": 1_000_000, "webhooks_to_loopback": True}
"""Settings of a server that is asked much, and sends webhooks to the test."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


def places(route: Route) -> dict[str, str]:
    """The parameters of a route's path, each with the kind of thing that it names."""
    words = route.path.split("/")
    found = {}
    for before, word in pairwise(words):
        if name := re.fullmatch(r"\{(\w+)\}", word):
            found[name[1]] = {"favours": "asks"}.get(before, before)
    return found


def is_about_something(route: Route) -> bool:
    """Whether a path or body names something that belongs to somebody."""
    return bool(places(route)) or CONNECTION in str(EXAMPLES.get(route.operation))


def never(id_: str) -> str:
    """An id of the same form that nothing ever had."""
    middle = len(id_) - 8
    return id_[:middle] + ("B" if id_[middle] == "A" else "A") + id_[middle + 1 :]


@asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    """The URL of an endpoint on this machine that takes every webhook, and answers challenges."""

    async def take(request: web.Request) -> web.Response:
        return web.Response(text=(await request.json())["data"].get("challenge", ""))

    runner = web.ServerRunner(web.Server(take))  # type: ignore[arg-type]
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


class Things:
    """What one business has; each thing is made when it is first asked for, and there is one of each kind. `hook` is
    where its webhooks go."""

    def __init__(self, shop: Shop, hook: str) -> None:
        self.shop = shop
        self.hook = hook
        self._made: dict[str, str] = {}
        self._pair: Pair | None = None
        self._grant = ""

    async def of(self, kind: str) -> str:
        """The id of the thing of that kind."""
        if kind not in self._made:
            self._made[kind] = await _MAKERS[kind](self)
        return self._made[kind]

    async def pair(self) -> Pair:
        """A connection with a customer who allows care and favours, as the business allows her favours."""
        if self._pair is None:
            self._pair = await self.shop.customer("care", "favour")
            body = {"purposes": ["favour"], "channels": ["app"], "expires_at": self.later()}
            given = await self.shop.post(f"/connections/{self._pair.cid}/grants", body)
            self._grant = given["id"]
        return self._pair

    def later(self, days: int = 30) -> str:
        """A time in an answer to come."""
        return datetime.fromtimestamp((self.shop.world.now() + days * DAY) // 1000, UTC).isoformat()

    async def path(self, route: Route) -> dict[str, str]:
        """The path of a route, with the ids of these objects."""
        return {name: await self.of(kind) for name, kind in places(route).items()}

    async def body(self, route: Route) -> Any:
        """The example of a route, about things of this business and a time to come; a text is a JWS."""
        if route.operation == "updatePlanNotice":
            return self.plan()
        if route.body is None:
            return None
        await self.pair()
        return await self._about_these(EXAMPLES[route.operation])

    async def _about_these(self, example: Any, name: str = "") -> Any:
        if isinstance(example, dict):
            return {name: await self._about_these(value, name) for name, value in example.items()}
        if isinstance(example, list):
            return [await self._about_these(value) for value in example]
        if isinstance(example, str) and _TIME.match(example):
            return self.later(-1 if name in ("happened_at", "since") else 30)
        if example == HOOK:
            return self.hook
        known = {
            CONNECTION: Things.connection, GRANT: Things.grant, LINK: Things.link, GIVEN: Things.given,
            MESSAGE: Things.message,
        }  # fmt: skip
        return await known[example](self) if example in known else example

    def plan(self) -> str:
        """A plan that the business signed."""
        signer = self.shop.world.server.context.kept.newest(self.shop.name)
        assert signer is not None
        now = self.shop.world.now() // 1000
        goal = {"id": "calls", "measure": "answered_2d", "target": 0.9, "by": now + 86_400}
        says = {"kind": "plan", "title": "Answer sooner", "goals": [goal], "initiatives": []}
        return forge({"v": 2, "iss": signer.did, "iat": now, **says}, NOTICE_TYP, signer)

    # --- how each is made

    async def connection(self) -> str:
        return (await self.pair()).cid

    async def grant(self) -> str:
        """What the business allows its customer."""
        await self.pair()
        return self._grant

    async def given(self) -> str:
        """What a customer allows the business."""
        return (await self.pair()).state.second.grants[0].id

    async def message(self) -> str:
        """A message of a customer's that reached the business."""
        pair = await self.pair()
        return (await pair.go("second", "message", purpose="complaint")).id

    async def ended(self) -> str:
        """A connection that its customer has ended."""
        pair = await self.shop.customer("care")
        await pair.go("second", "revoke")
        return pair.cid

    async def key(self) -> str:
        return str((await self.shop.post("/keys", EXAMPLES["createKey"]))["id"])

    async def offer(self, **changes: Any) -> str:
        example = {**EXAMPLES["createOffer"], "expires_at": self.later(), **changes}
        return str((await self.shop.post("/offers", example))["id"])

    async def proposal(self) -> str:
        world = self.shop.world
        signer = world.server.context.kept.newest(self.shop.name)
        assert signer is not None
        offer = world.offer(signer)
        assert (await world.publish(offer)).status == 201
        reply = await world.propose(offer, world.half(offer, signer, world.person()))
        assert reply.status == 202, reply
        return str(reply.json["cid"])

    async def link(self) -> str:
        """A person's offer, as it can be accepted."""
        world = self.shop.world
        offer = world.offer(world.person())
        assert (await world.publish(offer)).status == 201
        return offer.link()

    async def act(self) -> str:
        pair = await self.pair()
        return (await pair.go("second", "remember", key="paper_receipt")).id

    async def ask(self) -> str:
        """What a customer asks of the business."""
        pair = await self.pair()
        return (await pair.go("second", "ask")).id

    async def promised(self) -> str:
        """The same, and the business has said yes."""
        ask = await self.ask()
        pair = await self.pair()
        await self.shop.post(f"/connections/{pair.cid}/favours/{ask}/answer", {"answer": "yes"})
        return ask

    async def done(self) -> str:
        """A favour that a customer did for the business."""
        pair = await self.pair()
        made = await self.shop.post(f"/connections/{pair.cid}/favours", EXAMPLES["askFavour"])
        known = await self.shop.world.server.store.state(pair.cid)
        assert known is not None
        pair.state = decode_state(known.state)
        await pair.go("second", "answer", ask=made["id"], answer="yes")
        await pair.go("second", "done", ask=made["id"])
        return str(made["id"])

    async def draft(self) -> str:
        """A message that was refused, and would not be any longer."""
        pair = await self.shop.customer()
        refused = await self.shop.ask("POST", f"/connections/{pair.cid}/messages", EXAMPLES["sendMessage"])
        assert refused.code == "no_grant"
        await pair.grant("second", "care")
        return str(refused.json["draft"])

    async def webhook(self) -> str:
        """An endpoint that has proved itself."""
        made = await self.shop.post("/webhooks", {"url": self.hook})
        proved = await self.shop.post(f"/webhooks/{made['id']}/verify")
        assert proved["status"] == "active", proved
        return str(made["id"])

    async def delivery(self) -> str:
        return str((await self.shop.post(f"/webhooks/{await self.of('webhooks')}/test"))["id"])

    async def mute(self) -> None:
        """A mute of the business's in its connection."""
        await self.shop.post(f"/connections/{(await self.pair()).cid}/mute", {})

    async def note(self) -> None:
        """A note of the business."""
        await self.shop.post(f"/connections/{(await self.pair()).cid}/notes", EXAMPLES["forgetNote"])

    async def ready(self, operation: str) -> "Things":
        """These things as an operation finds them in order to succeed."""
        if operation in _BEFORE:
            kind, before = _BEFORE[operation]
            found = await before(self)
            if kind is not None and found is not None:
                self._made[kind] = found
        return self


_MAKERS: dict[str, Callable[[Things], Awaitable[str]]] = {
    "connections": Things.connection,
    "keys": Things.key,
    "offers": Things.offer,
    "proposals": Things.proposal,
    "acts": Things.act,
    "asks": Things.ask,
    "drafts": Things.draft,
    "webhooks": Things.webhook,
    "deliveries": Things.delivery,
}
"""Kind of thing → how one comes to be."""

_BEFORE: dict[str, tuple[str | None, Callable[[Things], Awaitable[str | None]]]] = {
    "completeFavour": ("asks", Things.promised),
    "thankForFavour": ("asks", Things.done),
    "unmuteConnection": (None, Things.mute),
    "forgetNote": (None, Things.note),
    "createErasure": ("connections", Things.ended),
}
"""operationId → what must have happened before, and the kind of thing that it made."""
