"""Dispatches requests of the REST API: the same checks, in the same order, for every route of the table (BIZ-10).

    key (401) · rate (429) · scope (403) · media type (415) · size, arrival (413, 408) · query, body (400)

The handler runs only after these checks, so a request that fails one of them reveals nothing about stored data.
"""

import asyncio
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from pydantic import TypeAdapter

from comity.documents.acts import open_act
from comity.documents.types import parse_model
from comity.errors import Malformed, Refused
from comity.http_api import JSON, JSON_LINES, JWT
from comity_server.api.business.route import BUSINESS, NOTHING, Call, InvalidRequest, Part, Reply, Route, rest_refusal
from comity_server.api.business.routes import ROUTES
from comity_server.api.http import SERVER, address_of, must_be, must_be_plain, read_body
from comity_server.businesses.api_keys import ApiKey
from comity_server.limits.shares import User
from comity_server.logging import logger
from comity_server.schema import read_query
from comity_server.writer.unit_of_work import UnitOfWork
from comity_server.writer.writer import Writer

HEADERS = web.RequestKey("business_headers", dict)
"""Headers of every answer to this request, refusals included."""
_KEY = web.RequestKey("api_key", ApiKey)
"""The valid API key of the request."""
_MOST_QUERY = 2000
_IDEMPOTENCY_KEY = "Idempotency-Key"


def add_business_routes(app: web.Application) -> None:
    """Add every route of the table."""
    for route in ROUTES:
        dispatcher = _Dispatcher(route)
        for method in (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,):
            app.router.add_route(method, BUSINESS + route.path, dispatcher.answer)


def is_business(request: web.Request) -> bool:
    """True if the request is one of the REST API."""
    return request.path.startswith(BUSINESS)


def narrows(request: web.Request) -> bool:
    """True if the route of the request narrows permissions: the server keeps capacity for these."""
    dispatcher = getattr(request.match_info.handler, "__self__", None)
    return isinstance(dispatcher, _Dispatcher) and dispatcher.route.narrows


def add_rest_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Adds the headers of the REST API. Call before the response is prepared."""
    response.headers.update(request.get(HEADERS, {}))
    if response.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="comity"'


def user_of(request: web.Request) -> User:
    """The user whose share of the capacity a request takes: its business and valid API key, or else its address
    (HTTP-22)."""
    authorization = request.headers.get(hdrs.AUTHORIZATION) if is_business(request) else None
    if authorization is not None:
        server = request.app[SERVER]
        try:
            key = request[_KEY] = server.context.keyring.bearer(authorization, server.clock.now())
        except Refused:
            return User(address_of(request))
        return _user(key.name, key.id)
    return User(address_of(request))


@lru_cache(4096)
def _user(business: str, key: str) -> User:
    """Cached: building it for each request would slow a check down."""
    return User(f"business {business}", key)


class _Dispatcher:
    """Handles the requests of one route."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._query = None if route.query is None else TypeAdapter(route.query)
        self._body = None if route.body is None else TypeAdapter(route.body)
        self._plain: Any = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Runs the checks and the handler. Raises Refused."""
        route, server = self.route, request.app[SERVER]
        headers: dict[str, str] = {}
        request[HEADERS] = headers
        now = server.clock.now()
        key = request.get(_KEY) or server.context.keyring.bearer(request.headers.get(hdrs.AUTHORIZATION), now)
        over = server.limits.take(key.id, headers, narrows=route.narrows)
        if server.context.keyring.used(key, now):
            _store_last_use(server.writer, key, now)
        if route.scope is not None and route.scope not in key.scopes:
            raise Refused("scope_missing", f"The route requires the scope {route.scope}.")
        business = server.directory.get(key.name)
        assert business is not None, "an API key belongs to a hosted business"
        call = Call(server, route, request, business, key, request.match_info, over=over)
        reply = await self._reply(call)
        if not isinstance(reply, Reply):
            return reply
        # One mapping for all headers: setting each on the response costs more than a whole check.
        fields = {"Content-Type": reply.media, **reply.headers} if reply.body else dict(reply.headers)
        if reply.location is not None:
            fields["Location"] = reply.location
        return web.Response(status=reply.status, headers=fields, body=reply.body or None)

    async def _reply(self, call: Call) -> Reply | web.StreamResponse:
        """Read the request and call the handler. Raises Refused as the REST API answers it."""
        part: Part = "body"
        try:
            if self.route.streams:
                self._begin(call)
            else:
                await self._read(call)
            part = "query" if self.route.method == hdrs.METH_GET else "body"
            return await self.route.handler(call)
        except Refused as refused:
            raise rest_refusal(refused, part, self.route.thing) from None

    def _begin(self, call: Call) -> None:
        """Reads the query and leaves the body to the handler. Raises Refused."""
        if self._body is not None and call.request.body_exists:
            must_be(call.request, JSON, JSON_LINES)
        self._read_query(call)

    async def _read(self, call: Call) -> None:
        """Reads the query and the body. Raises Refused."""
        request, route = call.request, self.route
        if (raw_key := request.headers.get(_IDEMPOTENCY_KEY)) is not None:
            call.idempotency_key = _idempotency_key(raw_key)
        body, media = await self._content(request)
        call.require_valid_key()
        self._read_query(call)
        if media == JWT and route.signed_text:
            call.jws = body
        elif media == JWT:
            call.signed = open_act(body, call.server.directory.find_key)
            if call.signed.kind != route.act:
                raise Malformed(f"the route takes the act {route.act}")
        elif self._body is not None:
            call.body = parse_model(self._body, body)
        elif body.strip(b" \t\r\n") != NOTHING:
            raise Malformed("this route takes no body, or {}")
        if call.idempotency_key is not None:
            text = b"\x00".join((request.method.encode(), request.raw_path.encode(), media.encode(), body))
            # A plain hash would let a reader of the store guess the text of a request.
            call.fingerprint = call.server.context.kept.master.mark("requests", text)

    async def _content(self, request: web.Request) -> tuple[bytes, str]:
        """(body, media type). A missing body counts as `{}` (BIZ-10). Raises Refused."""
        takes = _accepted_types(self.route)
        if not request.body_exists:
            return NOTHING, JSON
        if not takes:
            must_be_plain(request)
        elif hdrs.CONTENT_TYPE in request.headers:
            must_be(request, *takes)
        body = await read_body(request)
        if not body and request.content_type != JWT:
            return NOTHING, JSON
        return body, must_be(request, *takes) if takes else JSON

    def _read_query(self, call: Call) -> None:
        """Raises InvalidRequest."""
        text = call.request.rel_url.raw_query_string
        try:
            call.query = self._parameters(text) if text else self._no_query()
        except Malformed as fault:
            raise InvalidRequest(fault, "query") from None

    def _parameters(self, text: str) -> Any:
        """Parses a query. Raises Malformed."""
        if self._query is None:
            raise Malformed("this route takes no parameters")
        if len(text) > _MOST_QUERY:
            raise Malformed("the query is too long")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
        except ValueError:
            raise Malformed("the query is not name=value pairs in UTF-8") from None
        return read_query(self._query, pairs)

    def _no_query(self) -> Any:
        """The model of an empty query, cached. Raises Malformed if a parameter is required."""
        if self._plain is None and self._query is not None:
            self._plain = read_query(self._query, [])
        return self._plain


def _accepted_types(route: Route) -> tuple[str, ...]:
    """The media types that a body of the route may have; JSON also where the body can only be `{}`."""
    is_signed = route.act is not None or route.signed_text
    return (JSON, JWT) if is_signed else (JSON,) if route.body is not None else ()


def _idempotency_key(text: str) -> str:
    if not 1 <= len(text) <= 128 or not all("!" <= char <= "~" for char in text):
        detail = "must have 1 to 128 visible ASCII characters"
        raise InvalidRequest(
            Malformed(f"the {_IDEMPOTENCY_KEY} {detail}", errors=((_IDEMPOTENCY_KEY, detail),)), "header"
        )
    return text


def _store_last_use(accept: Writer, key: ApiKey, now: int) -> None:
    """Stores the last use of a key in the background."""

    async def store(unit: UnitOfWork) -> None:
        unit.batch.touch_api_key.append({"last_used_at": now, "name": key.name, "id": key.id})

    async def run() -> None:
        try:
            await accept.command(store)
        except Refused:
            # The queue is full. The use is known in memory, and the next one will be stored.
            logger().info("api_key_use_not_stored")

    task = asyncio.get_running_loop().create_task(run())
    _STORING.add(task)
    task.add_done_callback(_STORING.discard)


_STORING: set[asyncio.Task[None]] = set()
"""Keeps the tasks from being garbage-collected while they run."""
