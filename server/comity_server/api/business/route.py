"""A route of the REST API: one row of the table from which the handlers, the OpenAPI document and the authorization
tests are made (BIZ-9)."""

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
"""The path of the feed, on which requests wait."""
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
"""Path segment before an id, or path of a route whose body has the id → noun for the resource."""
NOTHING = b"{}"
"""The meaning of a missing body (BIZ-10)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is complete when the transaction decides, and can be stored for a repeated request."""

    status: int = 200
    body: bytes = b""
    location: str | None = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    replay_body: bytes | None = None
    """The body to store for a repeated request if `body` contains a secret (BIZ-11)."""

    @staticmethod
    def of(model: Model, status: int = 200, location: str | None = None) -> "Reply":
        """The model as JSON, without absent members."""
        return Reply(status, model.to_json(), location)


@dataclass(slots=True)
class Call:
    """One request with its business, API key, query and body."""

    server: Server
    route: "Route"
    request: web.Request
    business: Business
    key: ApiKey
    path: Mapping[str, str]
    over: Over | None = None
    """Set if the rate of the key is used up: then only acts that close something are accepted (BIZ-14)."""
    query: Any = None
    body: Any = None
    signed: SignedAct | None = None
    """The act in the body, if the business signed it (BIZ-8)."""
    jws: bytes | None = None
    """Another signed text in the body, not verified yet."""
    idempotency_key: str | None = None
    fingerprint: str = ""
    """An HMAC of method, path, query and body, compared when an Idempotency-Key is used again (BIZ-11)."""

    def require_valid_key(self) -> None:
        """Raises Refused("api_key_required") if the key has ended since the request arrived: its requests end with it
        (BIZ-3)."""
        key = self.server.context.keyring.get(self.business.name, self.key.id)
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
    """The members that only problems of the REST API have (BIZ-10), and `ends_at` in the
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
    """One operation. `path` is below BUSINESS. A success has one of `statuses`, with the model `answer` or the media
    type `media`. `codes` are the refusals beside those of every route (BIZ-10)."""

    method: str
    path: str
    scope: Scope | None
    handler: Handler
    operation: str
    """The operationId: unique, in camel case."""
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
    """Other media types of a success, for requests that accept them."""
    act: str | None = None
    """The kind of act that the route makes. The body may be its JWS."""
    signed_text: bool = False
    """The body may be another signed text (`application/jwt`), which the handler verifies."""
    narrows: bool = False
    """The route narrows permissions: a full queue accepts it, and the rate limit applies only if it closes nothing new
    (BIZ-14)."""
    streams: bool = False
    """The handler reads the body and writes the answer by itself."""

    @property
    def thing(self) -> str:
        """The noun for the resource that the path or the body names."""
        words = self.path.split("/")
        named = [before for before, word in pairwise(words) if word.startswith("{")]
        return THINGS.get(named[-1] if named else self.path, "")

    @property
    def writes(self) -> bool:
        """True if the route changes something and so takes an Idempotency-Key."""
        return self.method != "GET" and not self.streams
