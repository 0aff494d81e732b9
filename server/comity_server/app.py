"""The HTTP side of a server: one guard around every handler, and the listening itself."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler

from comity.errors import Malformed, Refused
from comity.wire import ACTS
from comity_server import admin
from comity_server.business.docs import add_docs_routes
from comity_server.business.front import add_business_routes, dress, is_business, narrows, user_of
from comity_server.business.route import documentation
from comity_server.config import Config
from comity_server.home import locked
from comity_server.log.logs import OpenLogs, open_logs
from comity_server.logs import REQUEST_ID, begin_request, logger
from comity_server.metrics import Metrics
from comity_server.rooms import PLACE, Place
from comity_server.routes import add_routes
from comity_server.routes.parts import ALSO, CLOSE, MEBIBYTE, NO_STORE, SERVER, problem
from comity_server.server import Server, opened
from comity_server.store.errors import Overtaken, StoreFailed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": NO_STORE,
}
"""What every answer says that does not say otherwise; of caches, see HTTP-14."""


def application(server: Server) -> web.Application:
    """The aiohttp application of a server."""
    app = web.Application(middlewares=[_guard(server)], client_max_size=16 * MEBIBYTE)
    app[SERVER] = server
    add_routes(app)
    add_business_routes(app)
    add_docs_routes(app)

    async def wake_waiters(_app: web.Application) -> None:
        # Long polls and streams end at once; aiohttp then waits for the requests that are still in hand.
        server.ready = False
        server.bell.close()

    app.on_shutdown.append(wake_waiters)
    app.on_response_prepare.append(_dressed)
    return app


async def _dressed(request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer the headers that each has. Before it is sent, for a stream has no other moment."""
    if is_business(request):
        dress(request, response)
    _dress(response, REQUEST_ID.get() or begin_request())
    # By the clock that judges signed requests, for a client whose own is another (HTTP-24).
    response.headers["Date"] = formatdate(request.app[SERVER].clock.now() / 1000, usegmt=True)


def _dress(response: web.StreamResponse, id_: str) -> None:
    response.headers.merge(SECURITY_HEADERS)
    response.headers["X-Request-Id"] = id_
    response.headers["Server"] = "Comity"


def _guard(server: Server) -> Any:
    """The one middleware: limits, problems, headers and counts."""
    count = _Count(server.metrics)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin_request()
        place = Place(server.rooms, user_of(request), lambda: request.path == ACTS or narrows(request))
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
        finally:
            place.leave()
        count(request, response.status)
        return response

    return guard


def _problem_of(error: Exception, server: Server, request: web.Request) -> web.Response:
    """Every failure as a problem document; only our own mistakes reach the log."""
    headers: dict[str, str] = {}
    if isinstance(error, Refused):
        refused = error
    elif isinstance(error, web.HTTPException):
        refused = _refusal_of(error)
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    elif isinstance(error, StoreFailed):
        logger().error("store_failed", exc_info=error)
        refused = Refused("overloaded", retry_after=1)
    elif isinstance(error, ConnectionError):
        # The client went away while its request was read or answered; nobody will see this.
        refused = Malformed("the connection was lost")
    else:
        logger().error("handler_failed", exc_info=error)
        refused = Refused("internal")
    server.metrics.refused.labels(refused.code).inc()
    also = {"documentation": documentation(server.home, refused.code)} if is_business(request) else None
    response = problem(refused, also)
    response.headers.update({**headers, **request.get(ALSO, {})})
    return response


def _refusal_of(error: web.HTTPException) -> Refused:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
    if error.status in codes:
        return Refused(codes[error.status])
    return Malformed("not a request that this server understands") if error.status < 500 else Refused("internal")


class _Count:
    """Counts requests by route and status; the children are kept, since looking them up costs more than counting."""

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


class _Protocol(RequestHandler):
    """aiohttp's protocol, which would log a traceback and answer plain text for bytes that are not HTTP."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # What is not HTTP never comes to the guard.
        id_ = REQUEST_ID.get() or begin_request()
        if status >= 500 and not isinstance(exc, ConnectionError):
            logger().error("protocol_failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = problem(Malformed("not HTTP") if status < 500 else Refused("internal"))
        _dress(response, id_)
        response.force_close()
        return response


class _HttpServer(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """aiohttp's runner, with the protocol above and handlers that end when their client goes away."""

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return _HttpServer(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=True,
            **plain._kwargs,
        )


def bind(host: str, port: int) -> socket.socket:
    """The socket to listen on, not listening yet; port 0 lets the system choose. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, number, _, address = found[0]
    bound = socket.socket(family, kind, number)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


@asynccontextmanager
async def serving(config: Config, open_logs: OpenLogs = open_logs) -> AsyncIterator[Server]:
    """A server that answers on its port. On the way out: waits end, requests in hand finish, the store is closed.

    Raises what `opened` does, FolderInUse, AnotherHome, SchemaTooNew, OSError (the port is taken).
    """
    # Pure Python parsing is some ten times slower and differs in what it lets through.
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy, "aiohttp lacks its C parser"
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(config.data))
        bound = stack.enter_context(bind(config.host, config.port))
        server = await stack.enter_async_context(opened(config, bound.getsockname()[1], open_logs))
        await stack.enter_async_context(server.webhooks.running())
        runner = _Runner(
            application(server),
            access_log=None,
            keepalive_timeout=config.idle_timeout,
            shutdown_timeout=config.stop_timeout,
            lingering_time=1.0,
            auto_decompress=False,
            handle_signals=False,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, bound, backlog=1024).start()
        await stack.enter_async_context(admin.listening(server))
        server.ready = True
        yield server


async def serve(
    config: Config, tell: Callable[[Server], None], stop: asyncio.Event, open_logs: OpenLogs = open_logs
) -> None:
    """Serve until `stop` is set; `tell` is called when ready. Raises Overtaken when another server took the store."""
    async with serving(config, open_logs) as server:
        # What was made so far stays for good, and little of what a request makes hangs in a circle: looking for such
        # circles as often as Python does by itself takes a tenth of the time of an act.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        tell(server)
        done = [asyncio.create_task(event.wait()) for event in (stop, server.accept.overtaken)]
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.cancel()
        if server.accept.overtaken.is_set():
            raise Overtaken("another server writes this store: this one leaves")
        logger().info("stopping")
