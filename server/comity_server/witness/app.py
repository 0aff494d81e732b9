"""The HTTP side of a witness: two paths, bounded bodies, bounded waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from comity.transparency.notes import VerifierKey
from comity_server.clock import Clock, WallClock
from comity_server.data_dir import lock
from comity_server.http_server import bind, serve_http
from comity_server.limits import descriptors
from comity_server.limits.client_address import ClientAddresses
from comity_server.limits.connections import Sockets
from comity_server.limits.shares import Pool, User
from comity_server.log.witness_protocol import MOST_BODY, PATH, SIZE_TYPE
from comity_server.logging import begin_request, logger
from comity_server.store.sqlite_file import DatabaseFault
from comity_server.witness.cosign import Declined, Witness
from comity_server.witness.data_dir import open_witness

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_REQUESTS = 256
"""Requests handled at once, shared by addresses."""
MOST_CONNECTIONS = 1024
"""Client connections at once; each address has a share."""
IDLE = 75.0
"""Seconds after which a silent connection is closed."""
STOP = 5.0
"""Seconds for running requests to finish at a stop."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "Comity",
}


class RunningWitness(NamedTuple):
    """A running witness: its key, and its address, which is its submission prefix and its monitoring prefix."""

    key: VerifierKey
    url: str


@asynccontextmanager
async def run_witness(
    data: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8480,
    name: str | None = None,
    logs: Iterable[VerifierKey] = (),
    clock: Clock | None = None,
    patience: float = 5.0,
) -> AsyncIterator[RunningWitness]:
    """Runs a witness on its port for as long as the context lasts; running requests then finish. `patience`: seconds
    for a body to arrive.

    Raises FolderInUse, TooFewDescriptors, CannotWitness, OSError (the port is in use).
    """
    descriptors.allow(MOST_CONNECTIONS)
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(data))
        bound = stack.enter_context(bind(host, port))
        address, number = bound.getsockname()[:2]
        usual = f"witness.localhost:{number}"
        witness = stack.enter_context(open_witness(data, name, usual, logs, clock or WallClock()))
        # One thread: the database has one connection, and the event loop never waits for a disk.
        thread = stack.enter_context(ThreadPoolExecutor(1, "witness"))
        addresses = ClientAddresses(())
        app, sockets = _application(witness, thread, patience, addresses), Sockets(MOST_CONNECTIONS, addresses)
        await stack.enter_async_context(serve_http(bound, app, sockets, _not_http, idle=IDLE, stop=STOP))
        yield RunningWitness(witness.key, f"http://{f'[{address}]' if ':' in address else address}:{number}")


def _application(
    witness: Witness, thread: ThreadPoolExecutor, patience: float, addresses: ClientAddresses
) -> web.Application:
    loop = asyncio.get_running_loop()

    async def add_checkpoint(request: web.Request) -> web.Response:
        body = await _read(request, patience)
        return _text(HTTPStatus.OK, await loop.run_in_executor(thread, copy_context().run, witness.cosign, body))

    async def checkpoint(request: web.Request) -> web.Response:
        note = await loop.run_in_executor(thread, witness.note, request.match_info["hash"])
        if note is None:
            raise Declined(HTTPStatus.NOT_FOUND, "no checkpoint of that log was cosigned")
        response = _text(HTTPStatus.OK, note)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    app = web.Application(middlewares=[_guard(addresses)])
    app.router.add_post(PATH, add_checkpoint)
    app.router.add_get("/{hash:[0-9a-f]{64}}/checkpoint", checkpoint)
    return app


async def _read(request: web.Request, patience: float) -> bytes:
    """The body. Raises Declined if it is too large or too late."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Declined(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body without a content coding")
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            while len(body) <= MOST_BODY and (chunk := await request.content.readany()):
                body += chunk
    except TimeoutError:
        raise Declined(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from None
    except web.RequestPayloadError:
        raise Declined(HTTPStatus.BAD_REQUEST, "the body is not what its headers announce") from None
    if len(body) > MOST_BODY:
        raise Declined(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BODY} bytes")
    return bytes(body)


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=text.encode("utf-8"), headers={"Content-Type": "text/plain; charset=utf-8"})


def _guard(addresses: ClientAddresses) -> Any:
    """The one middleware: limits requests, turns errors into answers, adds headers."""
    room = Pool(MOST_REQUESTS)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        id_, user = begin_request(), User(addresses.of(request.remote, request.headers))
        is_in_hand = room.take(user)
        try:
            if not is_in_hand:
                raise Declined(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
            response = await handler(request)
        except Exception as error:
            response = _refusal(error)
            if not request.content.is_eof():
                # The rest of the body would be read as the next request.
                response.force_close()
        finally:
            if is_in_hand:
                room.give(user)
        response.headers.update({**HEADERS, "X-Request-Id": id_})
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return guard


def _not_http(status: int, id_: str) -> web.Response:
    response = _text(status, "not HTTP\n" if status < 500 else "internal error\n")
    response.headers.update({**HEADERS, "X-Request-Id": id_})
    return response


def _refusal(error: Exception) -> web.Response:
    """The answer to an error: a status and a line of text. Only our own errors are logged."""
    if isinstance(error, Declined):
        if error.size is not None:
            return web.Response(status=error.status, body=b"%d\n" % error.size, headers={"Content-Type": SIZE_TYPE})
        response = _text(error.status, f"{error.why}\n")
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = "1"
        if error.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            response.headers["Accept-Encoding"] = "identity"
        return response
    if isinstance(error, web.HTTPException):
        response = _text(error.status, f"{error.reason}\n")
        response.headers.update({"Allow": error.headers["Allow"]} if "Allow" in error.headers else {})
        return response
    if isinstance(error, DatabaseFault):
        logger().error("memory_failed", exc_info=error)
        return _refusal(Declined(HTTPStatus.SERVICE_UNAVAILABLE, "the checkpoint could not be stored"))
    if isinstance(error, ConnectionError):
        # The client has closed the connection: nobody will read this.
        return _text(HTTPStatus.BAD_REQUEST, "the connection was lost\n")
    logger().error("handler_failed", exc_info=error)
    return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error\n")
