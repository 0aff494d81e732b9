"""Endpoints that answer as a test wants, and a sender of webhooks in the test's process, whose clock the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from comity_server.data_dir import STORE
from comity_server.store.business import StoredWebhook
from comity_server.store.read_only import ReadOnlyStore
from comity_server.webhooks.control_protocol import Sent
from comity_server.webhooks.delivery_store import FILE, DeliveryStore, Key
from comity_server.webhooks.event_source import EventSource
from comity_server.webhooks.http_client import Post
from comity_server.webhooks.signatures import PURPOSE, Secrets
from comity_server.webhooks.worker import WebhookWorker
from comity_tools.demo.webhook_receiver import Received, WebhookReceiver
from support.business_world import Shop
from support.world import eventually


class Hook(WebhookReceiver):
    """An endpoint that answers events with `status`; challenges as it should, unless `echoes` is False."""

    def __init__(self, status: int = 204, *, echoes: bool = True, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.status = status
        self.echoes = echoes
        self.headers = headers or {}

    async def answer(self, got: Received) -> web.Response:
        if got.type == "webhook.challenge":
            return await super().answer(got) if self.echoes else web.Response(text="hello")
        return web.Response(status=self.status, headers=self.headers, text="never to be seen in any log")

    @property
    def challenges(self) -> int:
        """How many challenges came."""
        return len(self.received) - len(self.events)

    async def gets(self, count: int) -> list[Received]:
        """Wait until so many events have come."""

        async def there() -> bool:
            return len(self.events) >= count

        await eventually(there)
        return self.events

    async def is_challenged(self, count: int) -> None:
        """Wait until so many challenges have come."""

        async def there() -> bool:
            return self.challenges >= count

        await eventually(there)


class HandClock:
    """A clock that a test moves by hand."""

    step = 0.005

    def __init__(self, now: int) -> None:
        self.at = now

    def now(self) -> int:
        return self.at


async def set_up(shop: Shop, url: str, id_: str = "wh_1", **changes: Any) -> Key:
    """An endpoint in the store that the server's own sender is not told of."""

    async def decide(group: Any) -> None:
        master = group.context.kept.master.derived(PURPOSE)
        sealed = Secrets.new().seal(master, shop.name, id_)
        stored = StoredWebhook(shop.name, shop.did, id_, url, "*", 1, sealed, group.news, group.now)
        row = {**stored._asdict(), **changes}
        del row["did"]
        group.batch.put_webhook.append(row)

    await shop.world.server.writer.command(decide)
    return shop.name, id_


class Mailroom:
    """A sender at work, and its records."""

    def __init__(self, sender: WebhookWorker, clock: HandClock) -> None:
        self.sender = sender
        self.clock = clock

    def state(self, key: Key) -> str:
        """How an endpoint stands."""
        return self.sender.endpoint(*key).row.state

    def sent(self, key: Key) -> list[Sent]:
        """Its deliveries, the newest first."""
        return self.sender.records.deliveries(key, None, 1000)

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait until the check holds."""

        async def there() -> bool:
            return check()

        await eventually(there)

    async def active(self, key: Key) -> None:
        """Wait until an endpoint has proved itself."""
        await self.until(lambda: self.state(key) == "active")


@asynccontextmanager
async def a_sender(shop: Shop, records: Path, clock: HandClock | None = None, **how: Any) -> AsyncIterator[Mailroom]:
    """A sender in this process over the store of the shop's server, with no chance in its waits."""
    server = shop.world.server
    store = ReadOnlyStore(shop.world.folder / "data" / STORE)
    kept = DeliveryStore(records / FILE)
    clock = clock or HandClock(shop.world.now())
    post = Post(to_loopback=True, **how)
    master = server.context.kept.master.derived(PURPOSE)
    sender = WebhookWorker(
        EventSource(store, server.notification_secret), kept, post, clock, master, chance=lambda: 0.5
    )
    sender.reload()
    running = asyncio.create_task(sender.run())
    try:
        yield Mailroom(sender, clock)
        assert not running.done() or running.exception() is None, running
    finally:
        sender.stop()
        await asyncio.gather(running, return_exceptions=True)
        await post.close()
        store.close()
        kept.close()
