"""Builds the OpenAPI 3.1 document of the REST API from the table of routes and the models (BIZ-9)."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from comity.errors import CODES
from comity.http_api import EVENT_STREAM, JSON, JSON_LINES, JWT, PROBLEM, Problem
from comity_server.api.business.docs.examples import EXAMPLES, LINES, STREAM
from comity_server.api.business.docs.introduction import ABOUT, AREAS
from comity_server.api.business.route import BUSINESS, Part, Route
from comity_server.api.business.routes import ROUTES
from comity_server.businesses.roles import ROLES
from comity_server.schema import Instant

VERSION = "1"
"""The version of the API, as in its paths."""
_REF = "#/components/schemas/{model}"
_HASH = {"type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"}
_NAMED = {"type": "string", "minLength": 1, "maxLength": 100}
_PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "connection": ("The id of the connection.", _HASH),
    "ask": ("The id of the ask, which is the id of its act.", _HASH),
    "acts": ("The id of the act: the SHA-256 of its signed text.", _HASH),
    "keys": ("The id of an API key, which is not the key itself.", _NAMED),
    "offers": ("The id of an offer, as in its link.", _NAMED),
    "drafts": ("The id of a draft.", _NAMED),
    "webhooks": ("The id of a webhook endpoint.", _NAMED),
    "delivery": ("The id of a delivery.", _NAMED),
}
"""Path parameter, or word before an `{id}` → description and schema."""
_SIGNED = (
    "bad_signature", "unknown_key", "wrong_audience", "key_replaced", "seq_taken", "seq_gap", "prev_mismatch",
    "iat_out_of_range",
)  # fmt: skip
"""Codes for an act that the business signs itself."""
_SHARED = 3
"""Refusals with at most this many codes are shared components; a route has longer lists of its own."""


class _Schemas(GenerateJsonSchema):
    """JSON Schema of models whose members are absent rather than null, and are titled by their names."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if "default" in made and made["default"] is None:
            del made["default"]
        return made

    def field_is_required(self, field: Any, total: bool) -> bool:
        # A member that can only have one value, such as `object`, is in every answer.
        inner = field["schema"]
        is_constant = inner["type"] == "default" and _is_constant(inner["schema"])
        return super().field_is_required(field, total) or (self.mode == "serialization" and is_constant)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _is_constant(schema: Any) -> bool:
    return schema["type"] == "literal" and len(schema["expected"]) == 1


def text(made: dict[str, Any]) -> str:
    """The document as in the file spec/openapi.json."""
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"


def document(routes: Sequence[Route] = ROUTES, server: str = "/") -> dict[str, Any]:
    """The whole document. `server` is the base URL of the routes."""
    schemas = _schemas(routes)
    responses: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(BUSINESS + route.path, {})[route.method.lower()] = _operation(route, schemas, responses)
    used = {route.tag for route in routes}
    queries = {_name(schemas[route.query, "validation"]) for route in routes if route.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Comity for businesses",
            "version": VERSION,
            "summary": "Mutual connections with your customers: check before you write, and prove it later.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{"apiKey": []}],
        "tags": [{"name": tag, "description": said} for tag, said in AREAS.items() if tag in used],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of your business, as shown when it was created: `ck_live_…`.",
                }
            },
            "headers": _HEADERS,
            "responses": dict(sorted(responses.items())),
            "schemas": {name: schema for name, schema in sorted(schemas["$defs"].items()) if name not in queries},
        },
    }


UNAVAILABLE = tuple(code for code, it in CODES.items() if it.status == HTTPStatus.SERVICE_UNAVAILABLE)
"""Codes of a server that cannot serve the request at the moment (OPS-3)."""


def refusals(route: Route) -> dict[int, list[str]]:
    """Status → codes of every refusal of the route, in the order of CODES (BIZ-10)."""
    codes = {
        "invalid_request",
        "api_key_required",
        "no_sandbox",
        "rate_limited",
        "internal",
        *UNAVAILABLE,
        *route.codes,
    }
    codes |= set() if route.scope is None else {"scope_missing"}
    codes |= {"not_found"} if "{" in route.path else set()
    codes |= {"idempotency_mismatch"} if route.writes else set()
    codes |= {"too_large", "too_slow", "unsupported_media_type"} if _takes(route) else set()
    codes |= {*_SIGNED, "connection_ended", "recovering", "signing_key_not_kept"} if route.act is not None else set()
    codes |= {"bad_signature", "unknown_key"} if route.signed_text else set()
    found: dict[int, list[str]] = {}
    for code in (code for code in CODES if code in codes):
        found.setdefault(CODES[code].status, []).append(code)
    return dict(sorted(found.items()))


def _takes(route: Route) -> list[str]:
    """The media types that the body may have."""
    types = [JSON] if route.body is not None else []
    types += [JSON_LINES] if route.streams and route.method == "POST" else []
    return types + ([JWT] if route.act is not None or route.signed_text else [])


def _schemas(routes: Sequence[Route]) -> dict[Any, Any]:
    """{"$defs": name → schema, and (model, mode) → reference}."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for route in routes:
        for model in (route.query, route.body):
            if model is not None:
                wanted[model, "validation"] = None
        if route.answer is not None:
            wanted[route.answer, "serialization"] = None
    refs, rest = models_json_schema(list(wanted), ref_template=_REF, schema_generator=_Schemas)
    _open_problem(rest["$defs"]["Problem"])
    sent = _reached(rest["$defs"], [_name(refs[key]) for key in refs if key[1] == "validation"])
    for name in rest["$defs"].keys() - sent:
        # Readers ignore unknown members, so that a later version can add some.
        rest["$defs"][name].pop("additionalProperties", None)
    return {**refs, **rest}


def _name(reference: dict[str, str]) -> str:
    """The name of the schema behind a reference."""
    return reference["$ref"].rpartition("/")[2]


def _reached(schemas: dict[str, Any], waiting: list[str]) -> set[str]:
    """The names of these schemas and of every schema that they contain."""
    found: set[str] = set()
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schemas[name]))
    return found


def _open_problem(schema: dict[str, Any]) -> None:
    """Describe the members that a problem of the REST API adds; some codes add more (RFC 9457, section 3.2)."""
    schema["description"] = "Why a request was refused (RFC 9457). Decide by `code`; the texts are for people."
    about = "The section of the error guide for this code. Absent when the request was not valid HTTP."
    schema["properties"]["documentation"] = {"type": "string", "format": "uri", "description": about}
    schema["properties"]["errors"]["items"] = {
        "type": "object",
        "properties": {
            "in": {"type": "string", "enum": list(get_args(Part)), "description": "The part of the request."},
            "pointer": {
                "type": "string",
                "description": "In the body a JSON Pointer (RFC 6901), elsewhere the name of the parameter or header.",
            },
            "detail": {"type": "string"},
        },
        "required": ["in", "pointer", "detail"],
    }
    schema["properties"]["errors"]["description"] = "With `invalid_request`: every fault, and where it is."
    del schema["properties"]["until"]
    ends_at = TypeAdapter(Instant).json_schema()
    schema["properties"]["ends_at"] = {
        **ends_at,
        "description": 'The end of a "not now", where the other side shows it.',
    }
    named = "The `X-Request-Id` of the answer. Give it to the operator when you report a problem."
    schema["properties"]["request_id"]["description"] = named


def _operation(route: Route, schemas: dict[Any, Any], responses: dict[str, Any]) -> dict[str, Any]:
    parameters = [*_path_parameters(route), *_query_parameters(route, schemas)]
    parameters += [_IDEMPOTENCY_KEY] if route.writes else []
    parameters += [_LAST_EVENT_ID] if route.streams and route.method == "GET" else []
    answers: dict[str, Any] = {str(status): _answer(route, status, schemas) for status in route.statuses}
    for status, codes in refusals(route).items():
        answers[str(status)] = _refusal(status, codes, responses)
    made: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": "\n\n".join(_paragraphs(route)),
        "tags": [route.tag],
    }
    if parameters:
        made["parameters"] = parameters
    if content := dict(_body(route, schemas)):
        made["requestBody"] = {"required": _is_needed(route.body), "content": content}
    return {**made, "responses": answers, "x-scope": route.scope}


def _is_needed(body: type[BaseModel] | None) -> bool:
    """True if a request without a body is refused. No body counts as `{}` (BIZ-10)."""
    return body is not None and any(member.is_required() for member in body.model_fields.values())


def _paragraphs(route: Route) -> Iterator[str]:
    if route.description:
        yield route.description
    if route.scope is None:
        yield "Any API key is enough."
    else:
        roles = ", ".join(role for role, scopes in ROLES.items() if route.scope in scopes)
        yield f"Requires the scope `{route.scope}`. Roles with it: {roles}."
    if route.act is not None:
        yield (
            f"Makes the act `{route.act}`. A business that keeps its own signing key sends the act's JWS instead"
            f" (`{JWT}`). The answer is the same."
        )
    if route.narrows:
        yield (
            "This narrows permissions: an overloaded server accepts it too, and the rate limit applies only where it"
            " changes nothing."
        )


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    words = route.path.split("/")
    for before, word in pairwise(words):
        if name := re.fullmatch(r"\{(\w+)\}", word):
            described, schema = _PLACES.get(name[1]) or _PLACES[before]
            yield {"name": name[1], "in": "path", "required": True, "description": described, "schema": schema}


def _query_parameters(route: Route, schemas: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    if route.query is None:
        return
    model = schemas["$defs"][_name(schemas[route.query, "validation"])]
    for name, schema in model.get("properties", {}).items():
        schema = dict(schema)
        made = {"name": name, "in": "query", "required": name in model.get("required", ())}
        if (described := schema.pop("description", _USUAL.get(name))) is not None:
            made["description"] = described
        yield {**made, "schema": schema}


_USUAL = {
    "cursor": "The `next_cursor` of the page before. Without it, the first page.",
    "limit": "The largest number of items on the page.",
    "order": "Whether the newest or the oldest items come first.",
}
"""Parameter name → description, where its model has none."""


def _body(route: Route, schemas: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for media in _takes(route):
        if media == JWT:
            described = "The signed text: a compact JWS (RFC 7515)."
            yield media, {"schema": {"type": "string", "maxLength": 65_536, "description": described}}
        elif media == JSON_LINES:
            yield media, _lines(schemas[route.body, "validation"], LINES.get(route.operation))
        else:
            given = EXAMPLES.get(route.operation)
            example = {} if given is None else {"example": given}
            yield media, {"schema": schemas[route.body, "validation"], **example}


def _lines(item: dict[str, Any], example: str | None) -> dict[str, Any]:
    """JSON Lines. OpenAPI 3.1 has no schema for them, so the description names the schema of one line."""
    schema = {"type": "string", "description": f"JSON Lines: each line is one `{_name(item)}`."}
    return {"schema": schema, **({} if example is None else {"example": example})}


def _answer(route: Route, status: int, schemas: dict[Any, Any]) -> dict[str, Any]:
    headers = ["X-Request-Id", "RateLimit-Policy", "RateLimit"]
    headers += ["Idempotency-Replayed"] if route.writes else []
    headers += ["Location"] if status == HTTPStatus.CREATED else []
    said = _HEADING.get(status, HTTPStatus(status).phrase)
    made: dict[str, Any] = {"description": said, "headers": _headers(headers)}
    if content := {} if status == HTTPStatus.NO_CONTENT else dict(_content(route, schemas)):
        made["content"] = content
    return made


_HEADING = {200: "Success.", 201: "Created.", 202: "Accepted.", 204: "Success, without a body."}


def _content(route: Route, schemas: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    if route.answer is None:
        if route.media != JSON:
            yield route.media, {"schema": {"type": "string"}}
        return
    answer = schemas[route.answer, "serialization"]
    yield route.media, {"schema": answer}
    yield from ((media, {"schema": {"type": "string"}}) for media in route.also)
    if route.streams and route.method == "POST":
        yield JSON_LINES, _lines(answer, None)
    elif route.streams:
        said = "Server-sent events: `id` is a cursor of the feed, `data` one item as JSON."
        yield EVENT_STREAM, {"schema": {"type": "string", "description": said}, "example": STREAM}


def _refusal(status: int, codes: list[str], responses: dict[str, Any]) -> dict[str, Any]:
    """A reference to the refusal with these codes, or the refusal itself where there are many codes."""
    name = "-".join(codes)
    if len(codes) > _SHARED:
        return _refused(status, codes)
    if name not in responses:
        responses[name] = _refused(status, codes)
    return {"$ref": f"#/components/responses/{name}"}


def _refused(status: int, codes: list[str]) -> dict[str, Any]:
    headers = ["X-Request-Id"]
    headers += ["WWW-Authenticate"] if status == HTTPStatus.UNAUTHORIZED else ["RateLimit-Policy", "RateLimit"]
    headers += ["Retry-After"] if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else []
    description = "\n".join(f"- [`{code}`](/docs/errors#{code}): {CODES[code].title}" for code in codes)
    own = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": _REF.format(model="Problem")}, own]}
    content = {PROBLEM: {"schema": schema, "example": _problem(codes[0])}}
    return {"description": description, "headers": _headers(headers), "content": content}


def _problem(code: str) -> dict[str, Any]:
    status, title = CODES[code]
    about = f"https://home.example/docs/errors#{code}"
    return {
        "type": f"urn:comity:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "request_id": _AN_ID,
        "documentation": about,
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"description": description, "schema": schema, "example": example}


_TEXT: dict[str, Any] = {"type": "string"}
_AN_ID = "5f0c2b7e9d1a4c3b8e6f7a90"
_HEADERS = {
    "X-Request-Id": _header(
        "The id of this request, which is also in the log of the server. Write it into your log.", _TEXT, _AN_ID
    ),
    "RateLimit-Policy": _header(
        "The number of requests (`q`) allowed in a window of seconds (`w`).", _TEXT, '"api-key";q=6000;w=60'
    ),
    "RateLimit": _header(
        "The number of requests left (`r`), and the seconds until the window ends (`t`).", _TEXT, '"api-key";r=59;t=4'
    ),
    "Retry-After": _header("Seconds to wait before the next attempt.", {"type": "integer", "minimum": 0}, 1),
    "Idempotency-Replayed": _header("`true` if this is the first answer to the request, sent again.", _TEXT, "true"),
    "Location": _header("The path of the created resource.", _TEXT, "/v1/business/offers/7JxQ2mP4ZkVw"),
    "WWW-Authenticate": _header("The authentication scheme.", _TEXT, 'Bearer realm="comity"'),
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes retries safe: for 24 hours the same request with the same key gets the first answer.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The `id` of the last event of an interrupted stream. The new stream starts after that event.",
    "schema": {"type": "string"},
}
