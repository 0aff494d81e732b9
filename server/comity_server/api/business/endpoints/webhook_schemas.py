"""The models of the webhook routes (spec/webhook.md)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from comity_server.api.business.pagination import NextCursor
from comity_server.reads.business_events import Type
from comity_server.schema import Cursor, Due, Instant, Limit, Model, Query, instant
from comity_server.store.business import StoredWebhook
from comity_server.webhooks.control_protocol import Attempt, Found, Sent
from comity_server.webhooks.event_source import ALL
from comity_server.webhooks.signatures import Secret, Secrets

Status = Literal["unverified", "active", "paused", "disabled"]


def _once(types: tuple[Any, ...]) -> tuple[Any, ...]:
    return (ALL,) if ALL in types else tuple(sorted(set(types)))


Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="An https URL with a public host, port 443 or at least 1024, no user and no fragment.",
        examples=["https://hooks.shop.example/comity"],
    ),
]
Types = Annotated[
    tuple[Type | Literal["*"], ...],
    AfterValidator(_once),
    Field(
        min_length=1,
        max_length=50,
        description="The types of notifications to send. `*`: all types, including those of later versions.",
        examples=[["message.received", "connection.revoked"]],
    ),
]


class NewWebhook(Model):
    """A new endpoint."""

    url: Url
    types: Types = (ALL,)


class WebhookUpdate(Model):
    """Changes of an endpoint. An absent member stays as it is."""

    url: Annotated[Url, Field(description="An endpoint with a new URL must answer a challenge again.")] | None = None
    types: Types | None = None
    paused: Annotated[bool, Field(description="`true` pauses the endpoint: notifications wait.")] | None = None


class Webhook(Model):
    """An endpoint and its state."""

    id: str = Field(examples=["wh_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    object: Literal["webhook"] = "webhook"
    status: Status = Field(
        description="`unverified`: it has not answered a challenge. `paused`: you paused it. `disabled`: it answered"
        " 410, or no delivery succeeded for three days. Only an `active` endpoint gets notifications."
    )
    status_since: Instant
    reason: str | None = Field(default=None, description="The reason for the status, in words.")
    url: Url
    types: Types
    created_at: Instant
    failing_since: Instant | None = Field(default=None, description="The time since which no delivery has succeeded.")
    pending_deliveries: int = Field(description="The number of deliveries that wait.")

    @staticmethod
    def of(stored: StoredWebhook, found: Found | None) -> "Webhook":
        """The endpoint as stored, with its state at the sender; None if the sender does not know it yet."""
        return Webhook(**members_of(stored, found))


def members_of(stored: StoredWebhook, found: Found | None) -> dict[str, Any]:
    """The members of a Webhook."""
    found = found or Found(stored.id, "unproven", stored.created_at)
    status: Status = "unverified" if found.state == "unproven" else found.state
    return {
        "id": stored.id,
        "url": stored.url,
        "types": tuple(stored.types.split(" ")),
        # A paused endpoint that is unverified or disabled must answer a challenge first.
        "status": "paused" if status == "active" and not stored.enabled else status,
        "status_since": instant(found.since),
        "created_at": instant(stored.created_at),
        "reason": found.reason,
        "failing_since": None if found.failing_since is None else instant(found.failing_since),
        "pending_deliveries": found.waiting,
    }


_SECRET = Field(
    description="The secret of the `v1` signature, as libraries for Standard Webhooks take it. Absent when the answer"
    " is sent again: then get it from `/secret`.",
    examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
)
_PUBLIC_KEY = Field(
    description="The public key that verifies the `v1a` signature, for receivers that must not be able to sign.",
    examples=["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
)


class CreatedWebhook(Webhook):
    """A new endpoint with its secret."""

    secret: Annotated[str, _SECRET] | None = None
    public_key: Annotated[str, _PUBLIC_KEY]


class PreviousSecret(Model):
    """The previous secret, which also signs until `until`."""

    secret: Annotated[str, _SECRET]
    public_key: Annotated[str, _PUBLIC_KEY]
    expires_at: Instant


class WebhookSecret(Model):
    """The secret of an endpoint, and for a day after a rotation the previous one in `previous`."""

    object: Literal["webhook_secret"] = "webhook_secret"
    secret: Annotated[str, _SECRET] | None = None
    public_key: Annotated[str, _PUBLIC_KEY]
    previous: PreviousSecret | None = None

    @staticmethod
    def of(secrets: Secrets, now: int) -> "WebhookSecret":
        """The secrets that sign at `now` (ms)."""
        previous = None
        if secrets.before is not None and now < secrets.until:
            previous = PreviousSecret(**secret_answer(secrets.before), expires_at=instant(secrets.until))
        return WebhookSecret(**secret_answer(secrets.current), previous=previous)


def secret_answer(secret: Secret) -> dict[str, Any]:
    """The secret and its public key, as the owner sees them."""
    return {"secret": secret.display_text, "public_key": secret.public_key}


class WebhookList(Model):
    """All endpoints, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[Webhook, ...]


class DeliveryAttempt(Model):
    """One attempt of a delivery."""

    attempted_at: Instant
    duration_ms: int
    http_status: int | None = Field(default=None, description="The HTTP status of the answer, if there was one.")
    error: str | None = Field(default=None, description="The error in words, if there was one.")

    @staticmethod
    def of(attempt: Attempt) -> "DeliveryAttempt":
        """The attempt as the sender recorded it."""
        return DeliveryAttempt(
            attempted_at=instant(attempt.at), duration_ms=attempt.ms, http_status=attempt.status, error=attempt.error
        )


class Delivery(Model):
    """The delivery of one event to one endpoint."""

    id: str = Field(description="The `webhook-id` of every attempt.", examples=["msg_5Wb8Vd3nLq0xkT1mVwRb2sZc"])
    object: Literal["delivery"] = "delivery"
    status: Literal["pending", "delivered", "failed"]
    event: str = Field(description="The id of the event.", examples=["evt_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    type: str = Field(examples=["message.received"])
    created_at: Instant
    next_attempt_at: Instant | None = Field(default=None, description="The earliest time of the next attempt.")
    attempts: tuple[DeliveryAttempt, ...]

    @staticmethod
    def of(sent: Sent) -> "Delivery":
        """The delivery as the sender stores it."""
        return Delivery(
            id=sent.id,
            event=sent.event,
            type=sent.type,
            status="pending" if sent.state == "waiting" else sent.state,
            created_at=instant(sent.made_at),
            next_attempt_at=None if sent.next_at is None else instant(sent.next_at),
            attempts=tuple(map(DeliveryAttempt.of, sent.attempts)),
        )


class DeliveryList(Model):
    """Deliveries, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[Delivery, ...]
    next_cursor: NextCursor | None = None


class DeliveryQuery(Query):
    """The page of the list of deliveries."""

    cursor: Cursor | None = None
    limit: Limit = 50


class WebhookRecovery(Model):
    """The time from which everything is sent again."""

    since: Annotated[Due, Field(examples=["2026-11-21T10:00:00Z"])]
