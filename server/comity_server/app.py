"""The HTTP side of a server: one guard around every handler, and serving from start to stop."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Any, NamedTuple

from aiohttp import hdrs, web
from multidict import istr

from comity.errors import Malformed, Refused
from comity.http_api import ACTS
from comity_server.api.business.dispatcher import add_business_routes, add_rest_headers, is_business, narrows, user_of
from comity_server.api.business.docs.pages import add_docs_routes
from comity_server.api.business.route import problem_members, rest_refusal
from comity_server.api.http import ALSO, CLOSE, MEBIBYTE, NO_STORE, SERVER, problem
from comity_server.api.wallets import add_routes
from comity_server.api.wallets.public import LOOKS
from comity_server.assembly import open_server
from comity_server.config import Config
from comity_server.data_dir import lock
from comity_server.http_server import bind, serve_http, ticket_of, wire_bytes
from comity_server.limits import descriptors
from comity_server.limits.admission import Admission, Refusal
from comity_server.limits.capacity import PLACE, Place
from comity_server.log.registry import OpenLogs, open_logs
from comity_server.logging import REQUEST_ID, begin_request, logger, new_request_id
from comity_server.metrics import Metrics
from comity_server.operator import admin_socket
from comity_server.refusals import refusal_of
from comity_server.services import Server
from comity_server.store.errors import Overtaken, StoreFailed

WAIT_FOR_THEIR_TURN = frozenset({401, 429, 503})
"""Statuses of refusals after which an immediate repetition waits before it is answered (HTTP-25)."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY_HEADERS = {
    istr("X-Content-Type-Options"): "nosniff",
    istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
    istr("Referrer-Policy"): "no-referrer",
    hdrs.CACHE_CONTROL: NO_STORE,
}
"""Headers of every response that sets no others; HTTP-14 has those for caches. The names are made once: folding their
case for every check would cost measurable time."""
_X_REQUEST_ID = istr("X-Request-Id")


def application(server: Server) -> web.Application:
    """The aiohttp application of a server."""
    app = web.Application(middlewares=[_guard(server)], client_max_size=16 * MEBIBYTE)
    app[SERVER] = server
    add_routes(app)
    add_business_routes(app)
    add_docs_routes(app)

    async def wake_waiters(_app: web.Application) -> None:
        # Long polls and streams end at once; aiohttp then waits for the other requests.
        server.ready = False
        server.broker.close()

    app.on_shutdown.append(wake_waiters)

    async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
        # Before it is sent, for a stream has no other moment.
        if is_business(request):
            add_rest_headers(request, response)
        # By the clock that judges signed requests, for a client whose own is another (HTTP-24).
        response.headers[hdrs.DATE] = _date(server.clock.now() // 1000)
        _dress(response, REQUEST_ID.get() or begin_request())

    app.on_response_prepare.append(set_headers)
    return app


def _dress(response: web.StreamResponse, id_: str) -> None:
    """Give an answer the headers that each has."""
    headers = response.headers
    headers.merge(SECURITY_HEADERS)
    headers[_X_REQUEST_ID] = id_
    headers[hdrs.SERVER] = "Comity"


@lru_cache(2)
def _date(seconds: int) -> str:
    """A moment as HTTP writes it; made once in a second."""
    return formatdate(seconds, usegmt=True)


def _guard(server: Server) -> Any:
    """The one middleware: limits, problems, headers and counts."""
    count = _Count(server.metrics)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin_request()
        place = Place(server.capacity, user_of(request), partial(_is_kept_room_for, request), ticket_of(request))
        PLACE.set(place)
        try:
            place.enter()
            response = await handler(request)
        except Exception as error:
            response = _problem_of(error, server, request)
            if request.writer.output_size > 0:
                # In the middle of a stream there is no way to say it but to hang up.
                raise ConnectionError("an answer was begun already") from None
            if request.get(CLOSE) or not request.content.is_eof():
                response.force_close()
            if response.status in WAIT_FOR_THEIR_TURN and request.path not in LOOKS:
                place.end()
                await server.turns.come()
        finally:
            place.end()
        count(request, response.status)
        return response

    return guard


def _is_kept_room_for(request: web.Request) -> bool:
    """Whether it may be a "no", or looks at how the server is."""
    return request.path in (ACTS, *LOOKS) or narrows(request)


def _problem_of(error: Exception, server: Server, request: web.Request) -> web.Response:
    """Every failure as a problem document; only our own mistakes reach the log."""
    headers: dict[str, str] = {}
    if isinstance(error, Refused):
        refused = error
    elif isinstance(error, web.HTTPException):
        refused = _refusal_of(error)
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    elif isinstance(error, StoreFailed):
        server.store_failed.note(exc_info=error, reason=str(error))
        refused = refusal_of(error)
    elif isinstance(error, ConnectionError):
        # The client closed the connection while its request was read or answered; nobody reads this response.
        refused = Malformed("the connection was lost")
    else:
        logger().error("handler_failed", exc_info=error)
        refused = Refused("internal")
    also = None
    if is_business(request):
        refused = rest_refusal(refused, "body")
        also = problem_members(server.home, refused)
    server.metrics.refused.labels(refused.code).inc()
    response = problem(refused, also)
    response.headers.update({**headers, **request.get(ALSO, {})})
    return response


def _refusal_of(error: web.HTTPException) -> Refused:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
    if error.status in codes:
        return Refused(codes[error.status])
    return Malformed("not a request that this server understands") if error.status < 500 else Refused("internal")


class _Count:
    """Counts requests by route and status. The labelled counters are cached: a lookup costs more than the count."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._children: dict[tuple[object, int], Any] = {}

    def __call__(self, request: web.Request, status: int) -> None:
        resource = request.match_info.route.resource
        child = self._children.get((resource, status))
        if child is None:
            route = "unknown" if resource is None else resource.canonical
            child = self._children[(resource, status)] = self._metrics.requests.labels(route, str(status))
        child.inc()


def _not_http(status: int, id_: str) -> web.Response:
    refused = Refused("too_slow") if status == 408 else Malformed("not HTTP") if status < 500 else Refused("internal")
    response = problem(refused)
    _dress(response, id_)
    return response


class _Refusals:
    """Refusals as they go over the wire, of requests that no handler sees: the same as any other (HTTP-2, HTTP-14,
    HTTP-19, HTTP-24)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._around = lru_cache(64)(self._make_around)

    def __call__(self, refusal: Refusal) -> bytes:
        now, refused = self._server.clock.now() // 1000, refusal.refused
        around = self._around(refused.code, refused.detail, refused.retry_after, refusal.close, now)
        around.requests.inc()
        around.refused.inc()
        return new_request_id().encode().join(around.parts)

    def _make_around(self, code: str, detail: str | None, retry_after: int | None, close: bool, now: int) -> "_Around":
        """The parts that all such refusals of one second (`now`) share."""
        response = problem(Refused(code, detail, retry_after=retry_after), id_=_NO_ID)
        response.headers[hdrs.DATE] = _date(now)
        _dress(response, _NO_ID)
        parts = wire_bytes(response, close=close).split(_NO_ID.encode())
        metrics = self._server.metrics
        return _Around(parts, metrics.requests.labels(ACTS, str(response.status)), metrics.refused.labels(code))


_NO_ID = "0" * 24


class _Around(NamedTuple):
    """The bytes of a refusal before and after its id, and its counters."""

    parts: list[bytes]
    requests: Any
    refused: Any


@asynccontextmanager
async def run_server(config: Config, open_logs: OpenLogs = open_logs) -> AsyncIterator[Server]:
    """A server that answers on its port. At the end, long polls end, other requests finish, and the store is closed.

    Raises the faults of `opened`, FolderInUse, TooFewDescriptors, AnotherHome, SchemaTooNew, OSError (the port is in
    use).
    """
    descriptors.allow(config.max_connections, "COMITY_MAX_CONNECTIONS")
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(config.data))
        bound = stack.enter_context(bind(config.host, config.port))
        server = await stack.enter_async_context(open_server(config, bound.getsockname()[1], open_logs))
        await stack.enter_async_context(server.webhooks.run_sender())
        rates, addresses = server.address_limits.requests, server.addresses
        admission = Admission(server.writer.room, rates, addresses, server.turns, _Refusals(server))
        parts = (application(server), server.sockets, _not_http, admission)
        await stack.enter_async_context(serve_http(bound, *parts, idle=config.idle_timeout, stop=config.stop_timeout))
        await stack.enter_async_context(admin_socket.serve_operator(server))
        server.ready = True
        yield server


async def serve(
    config: Config, tell: Callable[[Server], None], stop: asyncio.Event, open_logs: OpenLogs = open_logs
) -> None:
    """Serve until `stop` is set; `tell` is called when ready. Raises Overtaken when another server took the store."""
    async with run_server(config, open_logs) as server:
        # Objects made so far live as long as the process, and requests make few reference cycles: collecting garbage as
        # often as Python does by default takes a tenth of the time of an act.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        tell(server)
        done = [asyncio.create_task(event.wait()) for event in (stop, server.writer.overtaken)]
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.cancel()
        if server.writer.overtaken.is_set():
            raise Overtaken("another server writes this store: this one leaves")
        logger().info("stopping")
