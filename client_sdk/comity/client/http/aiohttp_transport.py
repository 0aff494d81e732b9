"""`Transport` over aiohttp: bounded bodies, bounded waits, no redirects, no cookies."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from comity.client.http.transport import Request, Response, StreamResponse, Transport, split_lines
from comity.errors import Unreachable

MAX_ANSWER = 8 * 1024 * 1024
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


def over_aiohttp(session: aiohttp.ClientSession | None = None) -> Transport:
    """A transport over this aiohttp session, or over one of its own, opened at the first request and closed with the
    transport."""
    # A public host must not be able to send a wallet's signed request elsewhere, nor keep a cookie on it.
    own = session or None

    def open_session() -> aiohttp.ClientSession:
        nonlocal own
        if own is None:
            own = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)
        return own

    @asynccontextmanager
    async def call(request: Request, total: float | None) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=total, connect=10, sock_read=request.timeout)
        try:
            async with open_session().request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                yield answer
        except _BROKEN as error:
            raise Unreachable(f"{request.method} {request.url}: {_why(error)}") from error

    async def send(request: Request) -> Response:
        async with call(request, request.timeout) as answer:
            body = bytearray()
            async for part in answer.content.iter_chunked(1 << 16):
                body += part
                if len(body) > MAX_ANSWER:
                    raise Unreachable(f"{request.url}: the answer has no end")
            return Response(answer.status, _lower(answer), bytes(body))

    @asynccontextmanager
    async def stream(request: Request) -> AsyncIterator[StreamResponse]:
        async with call(request, None) as answer:
            yield StreamResponse(answer.status, _lower(answer), split_lines(answer.content.iter_any()))

    async def close() -> None:
        if session is None and own is not None:
            await own.close()

    return Transport(send, stream, close)


def _why(error: Exception) -> str:
    """The reason for a missing or incomplete answer, for people."""
    found = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if not isinstance(found, OSError) or isinstance(found, ssl.SSLError) or not found.errno:
        return str(error) or type(error).__name__
    # A name resolution error has a number below 0 and its own text.
    return os.strerror(found.errno) if found.errno > 0 else str(found.strerror)


def _lower(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}
