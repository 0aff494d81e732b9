"""What a route of the business side is: one row of the table from which the handlers, the OpenAPI document and the
tests of who may do what are made (BIZ-9)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from aiohttp import web

from comity.documents.acts import SignedAct
from comity.errors import Malformed, Refused
from comity.http_api import JSON
from comity_server.businesses.api_keys import ApiKey
from comity_server.businesses.directory import Business
from comity_server.businesses.roles import Scope
from comity_server.limits.rate_limits import Over
from comity_server.schema import Model, Query, instant
from comity_server.server_keys import Home
from comity_server.services import Server

BUSINESS = "/v1/business"
NOTIFICATIONS = "/notifications"
"""Where a business waits for news."""
THINGS = {
    "/check": "connection",
    "/proposals": "offer",
    "acts": "act",
    "connections": "connection",
    "deliveries": "delivery",
    "drafts": "draft",
    "favours": "ask",
    "keys": "API key",
    "offers": "offer",
    "proposals": "proposal",
    "webhooks": "webhook endpoint",
}
"""Word before an id in a path, or a path whose body has an id → the noun for what the id names."""
NOTHING = b"{}"
"""What a request without content says (BIZ-10)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is known when the group decides: what a repeated request gets again."""

    status: int = 200
    body: bytes = b""
    location: str | None = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    instead: bytes | None = None
    """What is kept for a repeated request in the place of a body with a secret in it (BIZ-11)."""

    @staticmethod
    def of(model: Model, status: int = 200, location: str | None = None) -> "Reply":
        """The model as JSON, with members that are absent left out."""
        return Reply(status, model.to_json(), location)


@dataclass(slots=True)
class Call:
    """One request, taken apart: by whom, for which business, with what."""

    server: Server
    route: "Route"
    request: web.Request
    business: Business
    key: ApiKey
    path: Mapping[str, str]
    over: Over | None = None
    """Where the key's rate is used up: only what closes something is accepted (BIZ-14)."""
    query: Any = None
    body: Any = None
    signed: SignedAct | None = None
    """The act itself, where the business signs it (BIZ-8)."""
    jws: bytes | None = None
    """Another signed text, not opened yet."""
    idempotency_key: str | None = None
    fingerprint: str = ""
    """An HMAC of method, path, query and body: what is compared when an Idempotency-Key comes again (BIZ-11)."""

    def must_go_on(self) -> None:
        """Raises Refused("api_key_required") where the key has ended since the request came: what it began ends with
        it (BIZ-3)."""
        key = self.server.grounds.keyring.get(self.business.name, self.key.id)
        if key is None or not key.is_in_force(self.server.clock.now()):
            raise Refused("api_key_required")


Part = Literal["body", "query", "path", "header"]
"""A part of a request."""


class InvalidRequest(Refused):
    """The request does not have the form that its route takes (BIZ-10). `part` is where every one of `errors` is. Their
    pointers are JSON pointers into the body, and names of parameters or headers elsewhere."""

    def __init__(self, fault: Malformed, part: Part) -> None:
        errors = fault.errors or (("", fault.detail or fault.title),)
        if part != "body":
            errors = tuple((pointer.removeprefix("/"), detail) for pointer, detail in errors)
        super().__init__("invalid_request", fault.detail, errors=errors)
        self.part = part


def rest_refusal(refused: Refused, part: Part, missing: str = "") -> Refused:
    """The refusal as the REST API answers it: `invalid_request` for a Malformed, with the part of the request where the
    fault is, and a `not_found` that says what is missing."""
    if isinstance(refused, Malformed):
        return InvalidRequest(refused, part)
    if refused.code == "not_found" and refused.detail is None and missing:
        return Refused("not_found", no_such(missing))
    return refused


def no_such(thing: str) -> str:
    """The detail of a `not_found`: the same for a thing of another business and for one that never was (BIZ-13)."""
    return f"No {thing} with this id."


def problem_members(home: Home, refused: Refused) -> dict[str, Any]:
    """The members that a problem of the business side has beside those of every problem (BIZ-10), and `ends_at` in the
    place of `until`, which is in seconds (BIZ-12). One that is None is left out."""
    ends_at = None if refused.until is None else instant(refused.until * 1000)
    about = f"{home.origin}/docs/errors#{refused.code}"
    members: dict[str, Any] = {"documentation": about, "ends_at": ends_at, "until": None}
    if isinstance(refused, InvalidRequest):
        members["errors"] = [
            {"in": refused.part, "pointer": pointer[:200], "detail": detail[:200]} for pointer, detail in refused.errors
        ]
    return members


Handler = Callable[[Call], Awaitable[Reply | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `path` is under BUSINESS; every success has the model `answer` with one of `statuses`, or the
    media type `media`. `codes` are the refusals beside those that every route has (BIZ-10)."""

    method: str
    path: str
    scope: Scope | None
    handler: Handler
    operation: str
    """The operationId: unique, in camelCase."""
    summary: str
    tag: str
    description: str = ""
    query: type[Query] | None = None
    body: type[Model] | None = None
    answer: type[Model] | None = None
    statuses: tuple[int, ...] = (200,)
    codes: tuple[str, ...] = ()
    media: str = JSON
    also: tuple[str, ...] = ()
    """Other media types of a success, for whoever accepts one of them."""
    act: str | None = None
    """The kind of act that this route does; its JWS may be the body."""
    signed_text: bool = False
    """The body may be another signed text (`application/jwt`) that the handler opens."""
    narrows: bool = False
    """A "no": a full queue does not keep it out, and the rate limit only where it closes nothing new (BIZ-14)."""
    streams: bool = False
    """The handler reads the body and writes the answer itself."""

    @property
    def thing(self) -> str:
        """The noun for what the route's path, or its body, names."""
        words = self.path.split("/")
        named = [before for before, word in pairwise(words) if word.startswith("{")]
        return THINGS.get(named[-1] if named else self.path, "")

    @property
    def writes(self) -> bool:
        """Whether it changes something, and so takes an Idempotency-Key."""
        return self.method != "GET" and not self.streams
