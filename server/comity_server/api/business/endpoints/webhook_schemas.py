"""What the routes of webhooks take and answer (spec/webhook.md)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

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
        description="Where to: https, a public host, port 443 or 1024 and above, no user and no fragment.",
        examples=["https://hooks.shop.example/comity"],
    ),
]
Types = Annotated[
    tuple[Type | Literal["*"], ...],
    AfterValidator(_once),
    Field(
        min_length=1,
        max_length=50,
        description="Which events, by their types; `*` for all, those of later versions too.",
        examples=[["message.received", "connection.revoked"]],
    ),
]


class WebhookWanted(Model):
    """An endpoint to be."""

    url: Url
    types: Types = (ALL,)


class WebhookChange(Model):
    """What is to be otherwise with an endpoint; what is left out stays as it is."""

    url: Annotated[Url, Field(description="Elsewhere it has to prove itself again.")] | None = None
    types: Types | None = None
    enabled: Annotated[bool, Field(description="false: send nothing for now; what happens waits.")] | None = None


class Webhook(Model):
    """An endpoint, and how it stands."""

    id: str = Field(examples=["wh_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    url: Url
    types: Types
    enabled: bool
    state: State = Field(
        description="unproven: it has not yet answered a challenge; paused: you said so; disabled: it answered 410, or"
        " nothing got through for three days. Only an active one gets events."
    )
    since: Instant = Field(description="From when on it stands so.")
    created_at: Instant
    reason: str | None = Field(default=None, description="Why it stands so, in words.")
    failing_since: Instant | None = Field(default=None, description="Nothing has got through since.")
    waiting: int | None = Field(default=None, description="Deliveries on their way.")

    @staticmethod
    def of(stored: StoredWebhook, found: Found | None) -> "Webhook":
        """The endpoint as it was set up, with what the sender found; None while it does not know it yet."""
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
    description="What the `v1` signature is made with, as Standard Webhooks libraries take it. Absent in an answer that"
    " is given again: then ask for it.",
    examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
)
_PUBLIC_KEY = Field(
    description="What the `v1a` signature is checked with: by receivers that are to check, and not to sign.",
    examples=["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
)


class NewWebhook(Webhook):
    """An endpoint that was made just now, with its secret."""

    secret: Annotated[str, _SECRET] | None = None
    public_key: Annotated[str, _PUBLIC_KEY]


class FormerSecret(Model):
    """The secret before the current one, which signs beside it for a while."""

    secret: Annotated[str, _SECRET]
    public_key: Annotated[str, _PUBLIC_KEY]
    until: Instant


class WebhookSecret(Model):
    """What an endpoint's webhooks are signed with; `before` for a day after a rotation."""

    secret: Annotated[str, _SECRET] | None = None
    public_key: Annotated[str, _PUBLIC_KEY]
    before: FormerSecret | None = None

    @staticmethod
    def of(secrets: Secrets, now: int) -> "WebhookSecret":
        """Those that sign at `now` (ms)."""
        before = None
        if secrets.before is not None and now < secrets.until:
            before = FormerSecret(**shown(secrets.before), until=instant(secrets.until))
        return WebhookSecret(**shown(secrets.current), before=before)


def shown(secret: Secret) -> dict[str, Any]:
    """A secret as its owner sees it."""
    return {"secret": secret.shown, "public_key": secret.public_key}


class Webhooks(Model):
    """All endpoints, the oldest first."""

    items: tuple[Webhook, ...]


class DeliveryAttempt(Model):
    """One attempt."""

    at: Instant
    ms: int = Field(description="How long it took.")
    status: int | None = Field(default=None, description="What was answered, if anything was.")
    error: str | None = Field(default=None, description="What went wrong, in words.")

    @staticmethod
    def of(attempt: Attempt) -> "DeliveryAttempt":
        """As the sender noted it."""
        return DeliveryAttempt(at=instant(attempt.at), ms=attempt.ms, status=attempt.status, error=attempt.error)


class Delivery(Model):
    """One event on its way to one endpoint."""

    id: str = Field(description="What `webhook-id` says, at every attempt.", examples=["msg_5Wb8Vd3nLq0xkT1mVwRb2sZc"])
    event: str = Field(description="The event's id.", examples=["evt_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    type: str = Field(examples=["message.received"])
    state: Literal["waiting", "delivered", "failed"]
    created_at: Instant
    next_at: Instant | None = Field(default=None, description="When it is tried next, at the earliest.")
    attempts: tuple[DeliveryAttempt, ...]

    @staticmethod
    def of(sent: Sent) -> "Delivery":
        """As the sender keeps it."""
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
    cursor: Annotated[Cursor, Field(description="Where the list goes on; absent at its end.")] | None = None


class DeliveriesQuery(Query):
    """Which deliveries."""

    cursor: Cursor | None = None
    limit: Limit = 50


class RecoverFrom(Model):
    """From when on to send everything again."""

    since: Annotated[Due, Field(examples=["2026-11-21T10:00:00Z"])]
