"""Listening for HTTP: aiohttp's server, with a bound on connections, and answers of our own to what is not HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler

from comity_server.logs import REQUEST_ID, begin_request, logger
from comity_server.sockets import Sockets

READ_WITHIN = 60.0
"""Seconds in which a client must read what fills the buffers on the way to it."""
NotHttp = Callable[[int, str], web.Response]
"""The answer to what is not HTTP, or to a mistake of ours while it was read: from its status and the request's id."""


class _Protocol(RequestHandler):
    """aiohttp's protocol, which would take any number of connections, log a traceback and answer plain text for bytes
    that are not HTTP."""

    def __init__(self, manager: "_HttpServer", **how: Any) -> None:
        super().__init__(manager, **how)
        self._sockets = manager.sockets
        self._not_http = manager.not_http
        self._wire: Any = None
        self._too_slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or hang up where there is no room for it."""
        self._wire = transport
        peer = transport.get_extra_info("peername")
        if self._sockets.admit(self, peer[0] if peer else None):
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._sockets.leave(self)
        self._is_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads slower than is written; one that goes on so for READ_WITHIN is hung up on."""
        super().pause_writing()
        self._too_slow = self._loop.call_later(READ_WITHIN, self.hang_up)

    def resume_writing(self) -> None:
        """It has read most of it."""
        self._is_read()
        super().resume_writing()

    def _is_read(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None

    def hang_up(self) -> None:
        """Close the connection at once. What is left to be sent is dropped: a client that reads nothing would keep the
        socket open for as long as it likes."""
        self._wire.abort()

    def is_silent(self) -> bool:
        """True if the server waits for the client: no request is in hand or has come, or what was answered is not
        read."""
        return self.writing_paused or not (self._request_in_progress or self._messages)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is not HTTP, which no handler sees, and to what went wrong around handlers."""
        id_ = REQUEST_ID.get() or begin_request()
        if status >= 500 and not isinstance(exc, ConnectionError):
            logger().error("protocol_failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = self._not_http(status, id_)
        response.force_close()
        return response


class _HttpServer(web.Server):
    sockets: Sockets
    not_http: NotHttp

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """aiohttp's runner, with the protocol above and handlers that end when their client goes away."""

    def __init__(self, app: web.Application, sockets: Sockets, not_http: NotHttp, **how: Any) -> None:
        super().__init__(app, **how)
        self._sockets = sockets
        self._not_http = not_http

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        made = _HttpServer(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=True,
            **plain._kwargs,
        )
        made.sockets, made.not_http = self._sockets, self._not_http
        return made


def bind(host: str, port: int) -> socket.socket:
    """The socket to listen on, not listening yet; port 0 lets the system choose. Raises OSError, whose `filename` is
    the address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, address = found[0]
        bound = socket.socket(family, kind, number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, f"{host}:{port}") from fault
    return bound


@asynccontextmanager
async def listening(
    bound: socket.socket, app: web.Application, sockets: Sockets, not_http: NotHttp, *, idle: float, stop: float
) -> AsyncIterator[None]:
    """Answer at the socket for as long as the context lasts. `idle` (s) is when a silent connection is closed; on the
    way out requests in hand get `stop` s to finish."""
    # Pure Python parsing is some ten times slower and differs in what it lets through.
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy, "aiohttp lacks its C parser"
    runner = _Runner(
        app,
        sockets,
        not_http,
        access_log=None,
        keepalive_timeout=idle,
        shutdown_timeout=stop,
        lingering_time=1.0,
        auto_decompress=False,
        handle_signals=False,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, bound, backlog=1024).start()
        yield
    finally:
        await runner.cleanup()
