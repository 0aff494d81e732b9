"""The OpenAPI document (3.1) of the business side, made of the table of routes and the models (BIZ-9)."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from comity.errors import CODES
from comity.http_api import EVENT_STREAM, JSON, JSON_LINES, JWT, PROBLEM, Problem
from comity_server.api.business.docs.examples import EXAMPLES, LINES, STREAM
from comity_server.api.business.docs.introduction import ABOUT, AREAS
from comity_server.api.business.route import BUSINESS, Route
from comity_server.api.business.routes import ROUTES
from comity_server.businesses.roles import ROLES

VERSION = "1"
"""Of the interface: the one in its paths."""
_REF = "#/components/schemas/{model}"
_HASH = {"type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"}
_NAMED = {"type": "string", "minLength": 1, "maxLength": 100}
_PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "connection": ("The connection.", _HASH),
    "ask": ("The ask: the id of its act.", _HASH),
    "acts": ("The act: the SHA-256 of its text.", _HASH),
    "keys": ("The id of an API key, as lists show it; not the key itself.", _NAMED),
    "offers": ("The id of an offer: the short one in its link.", _NAMED),
    "drafts": ("The id of a draft.", _NAMED),
    "webhooks": ("The id of a webhook endpoint.", _NAMED),
    "delivery": ("The id of a delivery.", _NAMED),
}
"""What stands in a path: by the parameter's name, or by the word before an `{id}`."""
_SIGNED = (
    "bad_signature", "unknown_key", "wrong_audience", "key_replaced", "seq_taken", "seq_gap", "prev_mismatch",
    "iat_out_of_range",
)  # fmt: skip
"""What can be wrong with an act that the business signs itself."""
_SHARED = 3
"""Refusals with at most so many codes stand in the document once; of longer lists each route has its own."""


class _Schemas(GenerateJsonSchema):
    """JSON Schema as these models mean it: absent members are left out, never null; a member's name is its title."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if "default" in made and made["default"] is None:
            del made["default"]
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def text(made: dict[str, Any]) -> str:
    """The document as the file in spec/ has it."""
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"


def document(routes: Sequence[Route] = ROUTES, server: str = "/") -> dict[str, Any]:
    """The whole document; `server` is the URL below which the routes are."""
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
            "summary": "Mutual connections with your customers: ask before you write, and be able to show it.",
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
                    "description": "An API key of your business, as it was shown when it was made: `ck_live_…`.",
                }
            },
            "headers": _HEADERS,
            "responses": dict(sorted(responses.items())),
            "schemas": {name: schema for name, schema in sorted(schemas["$defs"].items()) if name not in queries},
        },
    }


UNAVAILABLE = tuple(code for code, it in CODES.items() if it.status == HTTPStatus.SERVICE_UNAVAILABLE)
"""Codes of a server that cannot do now what it is asked for (OPS-3)."""


def refusals(route: Route) -> dict[int, list[str]]:
    """Status → codes: everything that the route can be refused with, in the order of CODES (BIZ-10)."""
    codes = {"malformed", "api_key_required", "no_sandbox", "rate_limited", "internal", *UNAVAILABLE, *route.codes}
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
    """The media types of a body."""
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
        # Readers pass over members that they do not know, so that there can be new ones.
        rest["$defs"][name].pop("additionalProperties", None)
    return {**refs, **rest}


def _name(reference: dict[str, str]) -> str:
    """The name of the schema that a reference leads to."""
    return reference["$ref"].rpartition("/")[2]


def _reached(schemas: dict[str, Any], waiting: list[str]) -> set[str]:
    """The names of these schemas, and of all that they are made of."""
    found: set[str] = set()
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schemas[name]))
    return found


def _open_problem(schema: dict[str, Any]) -> None:
    """A problem of the business side: one more member, and more of them with some codes (RFC 9457, section 3.2)."""
    schema["description"] = "Why a request was refused (RFC 9457). Decide by `code`; the texts are for people."
    about = "The page that explains the code, and what to do about it. Absent where what came was not HTTP at all."
    schema["properties"]["documentation"] = {"type": "string", "format": "uri", "description": about}
    pairs = {name: {"type": "string"} for name in ("pointer", "detail")}
    schema["properties"]["errors"]["items"] = {"type": "object", "properties": pairs}
    schema["properties"]["errors"]["description"] = "Each fault, with a JSON Pointer (RFC 6901) to where it is."
    schema["properties"]["until"]["description"] = 'When a "not now" ends (seconds), where the other side shows it.'
    named = "The `X-Request-Id` of the answer: tell the operator this when something is odd."
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
    """Whether something must be sent, so that no body, which says as much as `{}`, is not enough (BIZ-10)."""
    return body is not None and any(member.is_required() for member in body.model_fields.values())


def _paragraphs(route: Route) -> Iterator[str]:
    if route.description:
        yield route.description
    if route.scope is None:
        yield "Takes any API key."
    else:
        roles = ", ".join(role for role, scopes in ROLES.items() if route.scope in scopes)
        yield f"Takes the scope `{route.scope}`, which these roles have: {roles}."
    if route.act is not None:
        yield (
            f"Does the act `{route.act}`. A business that keeps its signing key sends the act's JWS instead"
            f" (`{JWT}`); the answer is the same."
        )
    if route.narrows:
        yield (
            'This is a "no": it is counted, but a full server does not keep it out, and the rate only where it closes'
            " nothing that was open."
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
    "cursor": "Where to go on: the `cursor` of the page before. Without it, from the start.",
    "limit": "Items of the page, at most.",
    "order": "Which end comes first.",
}
"""What parameters of these names are for, where their model does not say it."""


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
    """JSON lines: OpenAPI 3.1 has no word for them, so the schema of one line is told in the text."""
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


_HEADING = {200: "As asked.", 201: "Made.", 202: "Taken in.", 204: "Done; there is nothing more to say."}


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
        said = "Server-sent events: of each, `id` is the cursor to go on from, `data` one item as JSON."
        yield EVENT_STREAM, {"schema": {"type": "string", "description": said}, "example": STREAM}


def _refusal(status: int, codes: list[str], responses: dict[str, Any]) -> dict[str, Any]:
    """A reference to the refusal with these codes, or the refusal itself, where there are many."""
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
    told = "\n".join(f"- [`{code}`](/docs/errors#{code}): {CODES[code].title}" for code in codes)
    own = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": _REF.format(model="Problem")}, own]}
    content = {PROBLEM: {"schema": schema, "example": _problem(codes[0])}}
    return {"description": told, "headers": _headers(headers), "content": content}


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
    "X-Request-Id": _header("Names this request: put it into your log, as we put it into ours.", _TEXT, _AN_ID),
    "RateLimit-Policy": _header("How many requests (`q`) in how many seconds (`w`).", _TEXT, '"api-key";q=6000;w=60'),
    "RateLimit": _header("Requests that are left (`r`), and seconds until all are back.", _TEXT, '"api-key";r=59;t=4'),
    "Retry-After": _header("Seconds to wait before the next try.", {"type": "integer", "minimum": 0}, 1),
    "Idempotency-Replayed": _header("`true`: the first answer to this request, once more.", _TEXT, "true"),
    "Location": _header("The path of what was made.", _TEXT, "/v1/business/offers/7JxQ2mP4ZkVw"),
    "WWW-Authenticate": _header("How to authenticate.", _TEXT, 'Bearer realm="comity"'),
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Send the same key with the same request again, and get the first answer again (24 hours).",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "Of a stream that broke off: the `id` of the last event; it goes on behind that one.",
    "schema": {"type": "string"},
}
