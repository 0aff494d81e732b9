"""Unix sockets in the data folder, mode 0600. A user who can open one can also read the store's file, so no further
proof is asked."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientConnectorError, ClientSession, UnixConnector, web

from comity_server.logging import REQUEST_ID, begin_request
from comity_server.short_path import short

_REQUEST_ID = "X-Request-Id"


@asynccontextmanager
async def serve_unix(data: Path, name: str, app: web.Application) -> AsyncIterator[None]:
    """Lets the application answer at the socket for the duration of the context. Its log lines carry the id of the
    request that its caller works on (HTTP-19)."""
    app.middlewares.append(_same_request)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    with short(data) as folder:
        path = f"{folder}/{name}"
        _remove(path)
        before = os.umask(0o177)
        try:
            await web.UnixSite(runner, path).start()
        finally:
            os.umask(before)
        try:
            yield
        finally:
            await runner.cleanup()
            _remove(path)


async def request(data: Path, name: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes] | None:
    """(status, body) of the answer at the socket; None if nobody listens there. Raises ClientError if the listener went
    away."""
    with short(data) as folder:
        try:
            async with (
                ClientSession(connector=UnixConnector(f"{folder}/{name}")) as session,
                session.request(method, f"http://private{path}", data=body, headers=_request_headers()) as response,
            ):
                return response.status, await response.read()
        except ClientConnectorError:
            # None there, or left behind by a process that was killed.
            return None


def _request_headers() -> dict[str, str]:
    id_ = REQUEST_ID.get()
    return {} if id_ is None else {_REQUEST_ID: id_}


@web.middleware
async def _same_request(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if (id_ := request.headers.get(_REQUEST_ID)) is None:
        begin_request()
    else:
        REQUEST_ID.set(id_)
    return await handler(request)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
