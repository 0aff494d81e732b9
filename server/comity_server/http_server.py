"""The HTTP server: aiohttp's, with a bound on connections, and our own responses to requests that are not HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from aiohttp import http_parser, web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from comity_server.limits.admission import OVERLOADED, Admission, More, Refusal, Ticket
from comity_server.limits.connections import Sockets
from comity_server.logging import REQUEST_ID, begin_request, logger

READ_WITHIN = 60.0
"""Seconds in which a client must read what fills the buffers on the way to it."""
HEAD_WITHIN = 10.0
"""Seconds in which the head of a request must have come, from its first byte on (HTTP-26)."""
NotHttp = Callable[[int, str], web.Response]
"""Makes the response, from a status and a request id, to bytes that are not HTTP or to a fault of ours while
reading."""


class _Protocol(RequestHandler):
    """aiohttp's protocol, which would take any number of connections, log a traceback and answer plain text for bytes
    that are not HTTP."""

    def __init__(self, manager: "_HttpServer", **how: Any) -> None:
        super().__init__(manager, **how)
        self._sockets = manager.sockets
        self._not_http = manager.not_http
        self._admission = manager.admission
        self._wire: Any = None
        self._peer: str | None = None
        self._too_slow: asyncio.TimerHandle | None = None
        self._head_due: asyncio.TimerHandle | None = None
        self._body: Any = EMPTY_PAYLOAD
        """Of the last request whose head has come."""
        self._held = b""
        """The bytes received so far of a request that is examined before it is parsed."""
        self._refuses = False
        """True while a refusal waits for its turn."""
        self._ticket: Ticket | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or hang up where there is no room for it."""
        self._wire = transport
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else None
        if self._sockets.admit(self, self._peer):
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._sockets.leave(self)
        self._is_read()
        self._head_came()
        self._refuses = False
        if (ticket := self.take_ticket()) is not None:
            ticket.room.give(ticket.user)
        super().connection_lost(exc)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Passes received bytes on to the parser, except those of a request that is refused before it is parsed
        (HTTP-25)."""
        if self._refuses:
            # A client that sends more before its answer arrives does not wait for that answer.
            self.refuse(Refusal(OVERLOADED, close=True))
            return
        admission = self._admission
        if admission is not None and (self._held or (admission.looks() and self._is_between())):
            data = self._held + data
            if not self._is_to_be_parsed(data, admission):
                return
        count = self._request_count
        RequestHandler.data_received(self, data)
        if self._request_count != count:
            self._body = self._messages[-1][1]
            if self._head_due is not None:
                self._head_came()
        elif self._body.is_eof() and data.strip(b"\r\n"):
            self._head_begins()

    def _is_to_be_parsed(self, data: bytes, admission: Admission) -> bool:
        found = admission.look(data, self._peer)
        if isinstance(found, More):
            self._held = data
            self._head_begins()
            return False
        self._held = b""
        self._head_came()
        if isinstance(found, Refusal):
            self._refuses = True
            admission.turns.call(partial(self.refuse, found))
            return False
        self._ticket = found
        return True

    def _is_between(self) -> bool:
        """True if the next byte begins a request and no other request is open or half received: else one answer could
        overtake another, or a part of a request could be answered."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and self._head_due is None

    def take_ticket(self) -> Ticket | None:
        """The capacity ticket that the current request got before it was parsed; the caller gives it back."""
        ticket, self._ticket = self._ticket, None
        return ticket

    def refuse(self, refusal: Refusal) -> None:
        """Refuse the request that waits for it."""
        if not self._refuses or self.transport is None or self._admission is None:
            return
        self._refuses = False
        # It is not idle, though aiohttp has seen nothing of it.
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self.transport.write(self._admission.bytes_of(refusal))
        if refusal.close:
            self.force_close()

    def _head_begins(self) -> None:
        if self._head_due is None:
            self._head_due = self._loop.call_later(HEAD_WITHIN, self._head_too_slow)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_too_slow(self) -> None:
        self._head_due = None
        if self._waiter is None or self._waiter.done():
            # It arrived behind a request that is still open, whose response nothing may interrupt.
            self._head_begins()
        elif self.transport is not None:
            self.transport.write(wire_bytes(self._not_http(408, begin_request()), close=True))
            self.force_close()

    # --- sending -----------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client reads slower than the server writes; after READ_WITHIN seconds the connection is closed."""
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
        """Closes the connection at once and drops unsent data: a client that reads nothing would keep the socket open
        for as long as it likes."""
        self._wire.abort()

    def is_silent(self) -> bool:
        """True if the server waits for the client: no request is open or arriving, or the response is not read."""
        return self.writing_paused or not (self._request_in_progress or self._messages or self._refuses)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to bytes that are not HTTP, which no handler sees, and to faults outside handlers."""
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
    admission: Admission | None

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """aiohttp's runner, with the protocol above and handlers that end when their client disconnects."""

    def __init__(
        self, app: web.Application, sockets: Sockets, not_http: NotHttp, admission: Admission | None, **how: Any
    ) -> None:
        super().__init__(app, **how)
        self._sockets = sockets
        self._admission = admission
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
        made.admission = self._admission
        return made


def ticket_of(request: web.Request) -> Ticket | None:
    """The place that was taken for a request before it was parsed; the caller gives it back."""
    return cast(_Protocol, request.protocol).take_ticket()


def wire_bytes(response: web.Response, *, close: bool) -> bytes:
    """A response in the bytes of the wire, for a request that no handler sees."""
    body = response.body
    assert isinstance(body, bytes)
    fields = {**response.headers, "Content-Length": len(body), **({"Connection": "close"} if close else {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{head}\r\n".encode() + body


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
async def serve_http(
    bound: socket.socket,
    app: web.Application,
    sockets: Sockets,
    not_http: NotHttp,
    admission: Admission | None = None,
    *,
    idle: float,
    stop: float,
) -> AsyncIterator[None]:
    """Answers at the socket for the duration of the context. A connection that is silent for `idle` s is closed; at the
    end open requests get `stop` s to finish."""
    # Parsing in pure Python is ten times slower and accepts other input.
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy, "aiohttp lacks its C parser"
    runner = _Runner(
        app,
        sockets,
        not_http,
        admission,
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
