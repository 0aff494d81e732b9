"""The endpoint of a business: receives webhooks on loopback, answers challenges, and makes files of webhooks."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from comity.encoding import dump_json


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook as it came."""

    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def id(self) -> str:
        """The event's id, the same at every attempt."""
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        """The type of its event."""
        return str(json.loads(self.body)["type"])


class WebhookReceiver:
    """See the module. Use as an async context; `secret` is what registering the endpoint answered."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        """All received webhooks, with challenges, in order."""
        self.secret = ""
        self.port = 0

    @property
    def url(self) -> str:
        """Where it takes webhooks."""
        return f"http://127.0.0.1:{self.port}/webhooks"

    @property
    def events(self) -> list[Received]:
        """The received webhooks without challenges."""
        return [it for it in self.received if it.type != "webhook.challenge"]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/webhooks", self._take)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        webhook = Received(headers, await request.read())
        self.received.append(webhook)
        return await self.answer(webhook)

    async def answer(self, webhook: Received) -> web.Response:
        """The answer: a challenge's own value (HOOK-8), 204 to everything else."""
        if webhook.type != "webhook.challenge":
            return web.Response(status=204)
        challenge = json.loads(webhook.body)["data"]["challenge"]
        return web.Response(body=dump_json({"challenge": challenge}), content_type="application/json")

    def files(self) -> dict[str, bytes]:
        """A file for each webhook that came, but for challenges: its headers, its body in base64, and the secret, so
        that anybody's library can check it."""
        return {
            f"{number:02}-{webhook.type}.json": dump_json(
                {
                    "headers": dict(webhook.headers),
                    "body": base64.b64encode(webhook.body).decode("ascii"),
                    "secret": self.secret,
                }
            )
            for number, webhook in enumerate(self.events, 1)
        }
