"""`python -m comity_tools.bench.webhook_sink PORT`: receives webhooks and answers `GET /` with the count of events."""

import asyncio
import json
import sys

from aiohttp import web

from comity_tools.bench.baseline_server import until_told


async def serve(port: int) -> None:
    """Answer challenges with themselves and events with 204, until told to stop."""
    events: set[str] = set()

    async def take(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if body["type"] == "webhook.challenge":
            return web.json_response({"challenge": body["data"]["challenge"]})
        events.add(request.headers["webhook-id"])
        return web.Response(status=204)

    async def count(_request: web.Request) -> web.Response:
        return web.json_response(len(events))

    app = web.Application()
    app.router.add_post("/", take)
    app.router.add_get("/", count)
    await until_told(app, port)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
