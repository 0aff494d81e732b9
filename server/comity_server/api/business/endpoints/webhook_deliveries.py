"""Commands and questions about an endpoint for the sender: a challenge, a test, deliveries, and sending again (HOOK-8,
HOOK-13, HOOK-14)."""

from collections.abc import Callable

from comity.errors import Refused
from comity_server.api.business.endpoints.webhook_schemas import (
    Delivery,
    DeliveryList,
    DeliveryQuery,
    Webhook,
    WebhookRecovery,
)
from comity_server.api.business.endpoints.webhooks import SCOPE, TAG, endpoint
from comity_server.api.business.idempotency import ANSWER_LIFETIME, run_idempotent
from comity_server.api.business.pagination import open_cursor
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import milliseconds
from comity_server.store.business import StoredWebhook
from comity_server.webhooks.control_protocol import Answer, Ask, What
from comity_server.writer.unit_of_work import UnitOfWork


async def list_deliveries(call: Call) -> Reply:
    """Lists the deliveries to an endpoint."""
    query: DeliveryQuery = call.query
    stored = await endpoint(call)
    list_ = f"deliveries of {stored.name} {stored.id}"
    before = None if query.cursor is None else int.from_bytes(open_cursor(call, list_), "big")
    ask = Ask("deliveries", stored.name, stored.id, before=before, most=query.limit + 1)
    sent = (await call.server.webhooks.ask(ask)).deliveries
    page = sent[: query.limit]
    cursor = None
    if len(sent) > len(page):
        cursor = call.server.cursors.seal(list_, page[-1].number.to_bytes(8, "big"))
    return Reply.of(DeliveryList(items=tuple(map(Delivery.of, page)), next_cursor=cursor))


async def get_delivery(call: Call) -> Reply:
    """Gets one delivery."""
    stored = await endpoint(call)
    return _delivery_reply(await call.server.webhooks.ask(_command("delivery", stored, call.path["delivery"])))


async def verify_webhook(call: Call) -> Reply:
    """Sends a challenge now."""
    return await _ask_sender(call, "verify", _webhook_reply)


async def test_webhook(call: Call) -> Reply:
    """Sends a test event now."""
    return await _ask_sender(call, "test", lambda _stored, answer: _delivery_reply(answer))


async def resend_delivery(call: Call) -> Reply:
    """Sends a delivery again."""
    return await _ask_sender(call, "resend", lambda _stored, answer: _delivery_reply(answer, 202))


async def recover_webhook(call: Call) -> Reply:
    """Sends everything since a time again."""
    return await _ask_sender(call, "recover", lambda stored, answer: _webhook_reply(stored, answer, 202))


async def _ask_sender(call: Call, what: What, reply_of: Callable[[StoredWebhook, Answer], Reply]) -> Reply:
    """The sender's answer. The sender is asked before the answer is stored for a repeated request (BIZ-11): a server
    that is killed in between asks again, and no command is lost that was answered."""
    stored = await endpoint(call)
    if (key := call.idempotency_key) is not None:
        earlier = await call.server.store.business.idempotent(stored.name, call.key.line, key)
        if earlier is not None and call.server.clock.now() - earlier.at < ANSWER_LIFETIME:
            return await run_idempotent(call, _answer_expired)
    since = milliseconds(call.body.since) if what == "recover" else 0
    answer = await call.server.webhooks.ask(_command(what, stored, call.path.get("delivery", ""), since))
    reply = reply_of(stored, answer)
    if key is None:
        return reply

    async def decide(_group: UnitOfWork) -> Reply:
        return reply

    return await run_idempotent(call, decide)


async def _answer_expired(_group: UnitOfWork) -> Reply:
    """For a stored answer that expires at this moment: the caller tries again."""
    raise Refused("overloaded", retry_after=1)


def _command(what: What, stored: StoredWebhook, delivery: str = "", since: int = 0) -> Ask:
    return Ask(what, stored.name, stored.id, delivery[:100], since)


def _delivery_reply(answer: Answer, status: int = 200) -> Reply:
    (sent,) = answer.deliveries
    return Reply.of(Delivery.of(sent), status)


def _webhook_reply(stored: StoredWebhook, answer: Answer, status: int = 200) -> Reply:
    (found,) = answer.states
    return Reply.of(Webhook.of(stored, found), status)


ROUTES = (
    Route(
        "POST",
        "/webhooks/{id}/verify",
        SCOPE,
        verify_webhook,
        "verifyWebhook",
        "Verify an endpoint with a challenge",
        TAG,
        description="The endpoint must answer with `data.challenge`, as text or as the only member, `challenge`, of a"
        " JSON object. A disabled endpoint that passes becomes active again.",
        answer=Webhook,
        codes=("not_public", "not_owned"),
    ),
    Route(
        "POST",
        "/webhooks/{id}/test",
        SCOPE,
        test_webhook,
        "testWebhook",
        "Send a test event to an endpoint",
        TAG,
        description="The event has the type `webhook.test` and is sent once. The answer has the result.",
        answer=Delivery,
        codes=("not_owned",),
    ),
    Route(
        "POST",
        "/webhooks/{id}/recover",
        SCOPE,
        recover_webhook,
        "recoverWebhook",
        "Send all events since a time again",
        TAG,
        description="With the same ids as the first time, and no further back than the creation of the endpoint.",
        body=WebhookRecovery,
        answer=Webhook,
        statuses=(202,),
        codes=("not_owned",),
    ),
    Route(
        "GET",
        "/webhooks/{id}/deliveries",
        SCOPE,
        list_deliveries,
        "listWebhookDeliveries",
        "List the deliveries to an endpoint",
        TAG,
        query=DeliveryQuery,
        answer=DeliveryList,
    ),
    Route(
        "GET",
        "/webhooks/{id}/deliveries/{delivery}",
        SCOPE,
        get_delivery,
        "getWebhookDelivery",
        "Get a delivery with its attempts",
        TAG,
        answer=Delivery,
    ),
    Route(
        "POST",
        "/webhooks/{id}/deliveries/{delivery}/resend",
        SCOPE,
        resend_delivery,
        "resendWebhookDelivery",
        "Send a delivery again",
        TAG,
        description="With the same `webhook-id`.",
        answer=Delivery,
        statuses=(202,),
        codes=("not_owned",),
    ),
)
