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

State = Literal["unproven", "active", "paused", "disabled"]


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


class WebhookWanted(Model):
    """A new endpoint."""

    url: Url
    types: Types = (ALL,)


class WebhookChange(Model):
    """Changes of an endpoint. An absent member stays as it is."""

    url: Annotated[Url, Field(description="An endpoint with a new URL must answer a challenge again.")] | None = None
    types: Types | None = None
    enabled: Annotated[bool, Field(description="`false` pauses the endpoint: notifications wait.")] | None = None


class Webhook(Model):
    """An endpoint and its state."""

    id: str = Field(examples=["wh_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    url: Url
    types: Types
    enabled: bool
    state: State = Field(
        description="`unproven`: it has not answered a challenge. `paused`: you paused it. `disabled`: it answered 410,"
        " or no delivery succeeded for three days. Only an `active` endpoint gets notifications."
    )
    since: Instant = Field(description="The time of the last change of this state.")
    created_at: Instant
    reason: str | None = Field(default=None, description="The reason for this state, in words.")
    failing_since: Instant | None = Field(default=None, description="The time since which no delivery has succeeded.")
    waiting: int | None = Field(default=None, description="The number of deliveries that wait.")

    @staticmethod
    def of(stored: StoredWebhook, found: Found | None) -> "Webhook":
        """The endpoint as stored, with its state at the sender; None if the sender does not know it yet."""
        return Webhook(**members_of(stored, found))


def members_of(stored: StoredWebhook, found: Found | None) -> dict[str, Any]:
    """The members of a Webhook."""
    found = found or Found(stored.id, "unproven", stored.created_at)
    is_paused = found.state == "active" and not stored.enabled
    return {
        "id": stored.id,
        "url": stored.url,
        "types": tuple(stored.types.split(" ")),
        "enabled": bool(stored.enabled),
        "state": "paused" if is_paused else found.state,
        "since": instant(found.since),
        "created_at": instant(stored.created_at),
        "reason": found.reason,
        "failing_since": None if found.failing_since is None else instant(found.failing_since),
        "waiting": found.waiting or None,
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


class NewWebhook(Webhook):
    """A new endpoint with its secret."""

    secret: Annotated[str, _SECRET] | None = None
    public_key: Annotated[str, _PUBLIC_KEY]


class FormerSecret(Model):
    """The previous secret, which also signs until `until`."""

    secret: Annotated[str, _SECRET]
    public_key: Annotated[str, _PUBLIC_KEY]
    until: Instant


class WebhookSecret(Model):
    """The secret of an endpoint, and for a day after a rotation the previous one in `before`."""

    secret: Annotated[str, _SECRET] | None = None
    public_key: Annotated[str, _PUBLIC_KEY]
    before: FormerSecret | None = None

    @staticmethod
    def of(secrets: Secrets, now: int) -> "WebhookSecret":
        """The secrets that sign at `now` (ms)."""
        before = None
        if secrets.before is not None and now < secrets.until:
            before = FormerSecret(**shown(secrets.before), until=instant(secrets.until))
        return WebhookSecret(**shown(secrets.current), before=before)


def shown(secret: Secret) -> dict[str, Any]:
    """The secret and its public key, as the owner sees them."""
    return {"secret": secret.display_text, "public_key": secret.public_key}


class Webhooks(Model):
    """All endpoints, the newest first."""

    items: tuple[Webhook, ...]


class DeliveryAttempt(Model):
    """One attempt of a delivery."""

    at: Instant
    ms: int = Field(description="The duration in milliseconds.")
    status: int | None = Field(default=None, description="The HTTP status of the answer, if there was one.")
    error: str | None = Field(default=None, description="The error in words, if there was one.")

    @staticmethod
    def of(attempt: Attempt) -> "DeliveryAttempt":
        """The attempt as the sender recorded it."""
        return DeliveryAttempt(at=instant(attempt.at), ms=attempt.ms, status=attempt.status, error=attempt.error)


class Delivery(Model):
    """The delivery of one event to one endpoint."""

    id: str = Field(description="The `webhook-id` of every attempt.", examples=["msg_5Wb8Vd3nLq0xkT1mVwRb2sZc"])
    event: str = Field(description="The id of the event.", examples=["evt_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    type: str = Field(examples=["message.received"])
    state: Literal["waiting", "delivered", "failed"]
    created_at: Instant
    next_at: Instant | None = Field(default=None, description="The earliest time of the next attempt.")
    attempts: tuple[DeliveryAttempt, ...]

    @staticmethod
    def of(sent: Sent) -> "Delivery":
        """The delivery as the sender stores it."""
        return Delivery(
            id=sent.id,
            event=sent.event,
            type=sent.type,
            state=sent.state,
            created_at=instant(sent.made_at),
            next_at=None if sent.next_at is None else instant(sent.next_at),
            attempts=tuple(map(DeliveryAttempt.of, sent.attempts)),
        )


class Deliveries(Model):
    """Deliveries, the newest first."""

    items: tuple[Delivery, ...]
    next_cursor: NextCursor | None = None


class DeliveriesQuery(Query):
    """The page of the list of deliveries."""

    cursor: Cursor | None = None
    limit: Limit = 50


class RecoverFrom(Model):
    """The time from which everything is sent again."""

    since: Annotated[Due, Field(examples=["2026-11-21T10:00:00Z"])]
