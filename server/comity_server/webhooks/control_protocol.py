"""The messages between the server and the sender of webhooks over the private socket."""

from typing import Literal

import msgspec

SOCKET = "webhooks.sock"
"""In the data folder, mode 0600: a user who can open it can also read the store."""
LOOK, RELOAD = b"n", b"r"
"""The lines that the server writes into the sender's standard input: there is news; endpoints have changed. When that
input ends, the sender ends."""
ANOTHER_KEY = 3
"""The exit status of a sender that needs a newer master key."""

EndpointState = Literal["unproven", "active", "disabled"]
DeliveryState = Literal["waiting", "delivered", "failed"]
What = Literal["states", "verify", "test", "deliveries", "delivery", "resend", "recover"]


class Start(msgspec.Struct, frozen=True):
    """The first line of the sender's standard input: all that it needs to know, and no key that signs anything but
    webhooks. `master` is what endpoints' secrets are sealed under, `ids` what ids of events are made of."""

    data: str
    master: str
    ids: bytes
    to_loopback: bool
    clock_offset_file: str | None
    log_format: str
    log_level: str


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request of the server about a business, and in most cases about one of its endpoints."""

    what: What
    name: str
    id: str = ""
    delivery: str = ""
    since: int = 0
    """ms."""
    before: int | None = None
    """Only deliveries with a smaller number."""
    most: int = 0


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sender's record of an endpoint; times in ms."""

    id: str
    state: EndpointState
    since: int
    reason: str | None = None
    waiting: int = 0
    failing_since: int | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt; `at` in ms. `error` says in words what went wrong."""

    at: int
    ms: int
    status: int | None = None
    error: str | None = None


class Sent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delivery; times in ms. `number` is its place among all."""

    number: int
    id: str
    event: str
    type: str
    state: DeliveryState
    made_at: int
    next_at: int | None = None
    attempts: list[Attempt] = []


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sender's answer; `refused` is a code."""

    refused: str | None = None
    detail: str | None = None
    retry_after: int | None = None
    """Seconds."""
    states: list[Found] = []
    deliveries: list[Sent] = []
