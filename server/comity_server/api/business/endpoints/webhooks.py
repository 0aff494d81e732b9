"""Webhook endpoints over REST (spec/webhook.md). Their settings are in the store; their state is at the sender, which
is a process of its own."""

import secrets
from collections.abc import Awaitable, Callable

from comity.encoding import b64u_encode
from comity.errors import Refused
from comity_server.api.business.endpoints.webhook_schemas import (
    CreatedWebhook,
    NewWebhook,
    Webhook,
    WebhookList,
    WebhookSecret,
    WebhookUpdate,
    members_of,
    secret_answer,
)
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.route import BUSINESS, Call, Reply, Route
from comity_server.businesses.master_key import MasterKey
from comity_server.businesses.roles import Scope
from comity_server.store.business import StoredWebhook
from comity_server.webhooks.control_protocol import Ask, Found
from comity_server.webhooks.signatures import PURPOSE, Secrets
from comity_server.webhooks.ssrf_guard import check_url
from comity_server.writer.unit_of_work import UnitOfWork

MOST_WEBHOOKS = 20
"""The largest number of endpoints of one business."""


# --- set up ---


async def create_webhook(call: Call) -> Reply:
    """Creates an endpoint."""
    wanted: NewWebhook = call.body
    _check(call, wanted.url)

    async def decide(unit: UnitOfWork) -> Reply:
        if len(await _endpoints(call, unit)) >= MOST_WEBHOOKS:
            raise Refused("too_many_webhooks", f"at most {MOST_WEBHOOKS}")
        id_, made = "wh_" + b64u_encode(secrets.token_bytes(18)), Secrets.new()
        sealed = made.seal(_master(unit), call.business.name, id_)
        stored = StoredWebhook(
            call.business.name,
            call.business.did,
            id_,
            wanted.url,
            " ".join(wanted.types),
            1,
            sealed,
            unit.news,
            unit.now,
        )
        _put(unit, stored)
        answer = CreatedWebhook(**members_of(stored, None), **secret_answer(made.current))
        again = answer.model_copy(update={"secret": None})
        return Reply(201, answer.to_json(), f"{BUSINESS}/webhooks/{id_}", replay_body=again.to_json())

    return await _change_and_notify(call, decide)


async def update_webhook(call: Call) -> Reply:
    """Updates an endpoint."""
    wanted: WebhookUpdate = call.body
    if wanted.url is not None:
        _check(call, wanted.url)
    # Look the endpoint up first: the sender, which may not run, is asked only about one that exists.
    stored = await endpoint(call)
    found = (await _states(call)).get(stored.id)

    async def decide(unit: UnitOfWork) -> Reply:
        before = await endpoint(call, unit)
        after = before._replace(
            url=wanted.url or before.url,
            types=before.types if wanted.types is None else " ".join(wanted.types),
            enabled=before.enabled if wanted.paused is None else int(not wanted.paused),
        )
        _put(unit, after)
        if after.url == before.url:
            return Reply.of(Webhook.of(after, found))
        return Reply.of(Webhook.of(after, Found(after.id, "unproven", unit.now)))

    return await _change_and_notify(call, decide)


async def delete_webhook(call: Call) -> Reply:
    """Deletes an endpoint."""

    async def decide(unit: UnitOfWork) -> Reply:
        stored = await endpoint(call, unit)
        unit.batch.end_webhook.append({"name": stored.name, "id": stored.id})
        return Reply(204)

    return await _change_and_notify(call, decide)


async def rotate_secret(call: Call) -> Reply:
    """Rotates the secret of an endpoint."""

    async def decide(unit: UnitOfWork) -> Reply:
        stored = await endpoint(call, unit)
        master = _master(unit)
        rotated = Secrets.unseal(stored.sealed, master, stored.name, stored.id).rotate(unit.now)
        _put(unit, stored._replace(sealed=rotated.seal(master, stored.name, stored.id)))
        answer = WebhookSecret.of(rotated, unit.now)
        again = answer.model_copy(update={"secret": None, "previous": None})
        return Reply(200, answer.to_json(), replay_body=again.to_json())

    return await _change_and_notify(call, decide)


async def _change_and_notify(call: Call, decide: Callable[[UnitOfWork], Awaitable[Reply]]) -> Reply:
    try:
        return await run_idempotent(call, decide)
    finally:
        # Also after a commit whose outcome is unknown.
        await call.server.webhooks.announce_change()


def _put(unit: UnitOfWork, stored: StoredWebhook) -> None:
    row = stored._asdict()
    del row["did"]
    unit.batch.put_webhook.append(row)


async def _endpoints(call: Call, unit: UnitOfWork | None = None) -> dict[str, StoredWebhook]:
    """The endpoints of the business by id, with the changes of this transaction."""
    found = {stored.id: stored for stored in await call.server.store.business.webhooks(call.business.name)}
    if unit is not None:
        for row in unit.batch.put_webhook:
            if row["name"] == call.business.name:
                found[row["id"]] = StoredWebhook(**row, did=call.business.did)
        for row in unit.batch.end_webhook:
            if row["name"] == call.business.name:
                found.pop(row["id"], None)
    return found


async def endpoint(call: Call, unit: UnitOfWork | None = None) -> StoredWebhook:
    """The endpoint in the path. Raises Refused("not_found")."""
    found = (await _endpoints(call, unit)).get(call.path["id"])
    if found is None:
        raise Refused("not_found")
    return found


def _check(call: Call, url: str) -> None:
    check_url(url, to_loopback=call.server.config.webhooks_to_loopback)


def _master(unit: UnitOfWork) -> MasterKey:
    return unit.context.kept.master.derived(PURPOSE)


# --- looked at ---


async def list_webhooks(call: Call) -> Reply:
    """Lists the endpoints of the business."""
    endpoints = await _endpoints(call)
    states = await _states(call) if endpoints else {}
    return Reply.of(
        WebhookList(items=tuple(Webhook.of(stored, states.get(stored.id)) for stored in endpoints.values()))
    )


async def get_webhook(call: Call) -> Reply:
    """Gets one endpoint."""
    stored = await endpoint(call)
    return Reply.of(Webhook.of(stored, (await _states(call)).get(stored.id)))


async def get_secret(call: Call) -> Reply:
    """Gets the secret of an endpoint."""
    stored = await endpoint(call)
    master = call.server.context.kept.master.derived(PURPOSE)
    found = Secrets.unseal(stored.sealed, master, stored.name, stored.id)
    return Reply.of(WebhookSecret.of(found, call.server.clock.now()))


async def _states(call: Call) -> dict[str, Found]:
    found = (await call.server.webhooks.ask(Ask("states", call.business.name))).states
    return {state.id: state for state in found}


# --- the routes ---

TAG = "webhooks"
SCOPE: Scope = "webhooks:manage"
ROUTES = (
    Route(
        "GET",
        "/webhooks",
        SCOPE,
        list_webhooks,
        "listWebhooks",
        "List your webhook endpoints",
        TAG,
        answer=WebhookList,
    ),
    Route(
        "POST",
        "/webhooks",
        SCOPE,
        create_webhook,
        "createWebhook",
        "Create a webhook endpoint",
        TAG,
        description="The answer has the secret for verifying signatures. The endpoint gets a signed challenge at once,"
        " and again a minute later. It must answer with `data.challenge` before it gets anything else. Configure the"
        " secret at the endpoint, then call `POST …/verify`.",
        body=NewWebhook,
        answer=CreatedWebhook,
        statuses=(201,),
        codes=("not_public", "too_many_webhooks"),
    ),
    Route(
        "GET",
        "/webhooks/{id}",
        SCOPE,
        get_webhook,
        "getWebhook",
        "Get a webhook endpoint and its state",
        TAG,
        answer=Webhook,
    ),
    Route(
        "PATCH",
        "/webhooks/{id}",
        SCOPE,
        update_webhook,
        "updateWebhook",
        "Update the URL or types of an endpoint, or pause it",
        TAG,
        description="With a new URL it must answer a challenge again. While it is paused, notifications wait.",
        body=WebhookUpdate,
        answer=Webhook,
        codes=("not_public",),
    ),
    Route(
        "DELETE",
        "/webhooks/{id}",
        SCOPE,
        delete_webhook,
        "deleteWebhook",
        "Delete a webhook endpoint",
        TAG,
        description="Deliveries that wait are dropped, and its records are deleted.",
        statuses=(204,),
    ),
    Route(
        "GET",
        "/webhooks/{id}/secret",
        SCOPE,
        get_secret,
        "getWebhookSecret",
        "Get the secret of an endpoint",
        TAG,
        answer=WebhookSecret,
    ),
    Route(
        "POST",
        "/webhooks/{id}/rotate",
        SCOPE,
        rotate_secret,
        "rotateWebhookSecret",
        "Rotate the secret of an endpoint",
        TAG,
        description="The old secret also signs for 24 hours. A repeated request shows no secret: get it from"
        " `GET …/secret`.",
        answer=WebhookSecret,
    ),
)
