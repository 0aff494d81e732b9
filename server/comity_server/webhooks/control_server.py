"""Answers the server's requests to the running sender, over a private socket."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
from aiohttp import web

from comity.errors import Refused
from comity_server.businesses.master_key import CannotUnseal
from comity_server.unix_socket import serve_unix
from comity_server.webhooks.control_protocol import SOCKET, Answer, Ask, Found, What
from comity_server.webhooks.endpoint import Endpoint
from comity_server.webhooks.worker import WebhookWorker


def serve_control(sender: WebhookWorker, data: Path) -> AbstractAsyncContextManager[None]:
    """Answer for as long as the context lasts."""
    app = web.Application()

    async def post(request: web.Request) -> web.Response:
        ask = msgspec.json.decode(await request.read(), type=Ask)
        try:
            # The caller may just have changed an endpoint, and the answer depends on that.
            sender.reload()
            answer = await _ANSWERS[ask.what](sender, ask)
        except Refused as refused:
            answer = Answer(refused.code, refused.detail, refused.retry_after)
        except CannotUnseal as error:
            sender.give_up(error)
            return web.Response(status=503)
        return web.Response(body=msgspec.json.encode(answer))

    app.router.add_post("/", post)
    return serve_unix(data, SOCKET, app)


def _endpoint_record(endpoint: Endpoint) -> Found:
    row = endpoint.row
    return Found(endpoint.definition.id, row.state, row.since, row.reason, endpoint.waiting, row.failing_since)


async def _states(sender: WebhookWorker, ask: Ask) -> Answer:
    return Answer(states=[_endpoint_record(endpoint) for endpoint in sender.endpoints(ask.name)])


async def _verify(sender: WebhookWorker, ask: Ask) -> Answer:
    endpoint = sender.endpoint(ask.name, ask.id)
    await sender.verify(endpoint)
    return Answer(states=[_endpoint_record(endpoint)])


async def _test(sender: WebhookWorker, ask: Ask) -> Answer:
    endpoint = _proved_endpoint(sender, ask)
    return _one(sender, endpoint, await sender.test(endpoint))


async def _resend(sender: WebhookWorker, ask: Ask) -> Answer:
    endpoint = _proved_endpoint(sender, ask)
    sender.resend(endpoint, ask.delivery)
    return _one(sender, endpoint, ask.delivery)


async def _recover(sender: WebhookWorker, ask: Ask) -> Answer:
    endpoint = _proved_endpoint(sender, ask)
    sender.recover(endpoint, ask.since)
    return Answer(states=[_endpoint_record(endpoint)])


async def _deliveries(sender: WebhookWorker, ask: Ask) -> Answer:
    endpoint = sender.endpoint(ask.name, ask.id)
    return Answer(deliveries=sender.records.deliveries(endpoint.key, ask.before, ask.most))


async def _delivery(sender: WebhookWorker, ask: Ask) -> Answer:
    return _one(sender, sender.endpoint(ask.name, ask.id), ask.delivery)


def _proved_endpoint(sender: WebhookWorker, ask: Ask) -> Endpoint:
    """The endpoint, if events may be sent there. Raises Refused("not_owned"): one that was disabled has to prove itself
    once more, too."""
    endpoint = sender.endpoint(ask.name, ask.id)
    if endpoint.row.state != "active":
        raise Refused("not_owned", "verify the endpoint first")
    return endpoint


def _one(sender: WebhookWorker, endpoint: Endpoint, id_: str) -> Answer:
    found = sender.records.delivery(endpoint.key, id_)
    if found is None:
        raise Refused("not_found")
    return Answer(deliveries=[found])


_ANSWERS: dict[What, Callable[[WebhookWorker, Ask], Awaitable[Answer]]] = {
    "states": _states,
    "verify": _verify,
    "test": _test,
    "resend": _resend,
    "recover": _recover,
    "deliveries": _deliveries,
    "delivery": _delivery,
}
