"""The transport of the SDK: sends requests, and repeats those that are safe to repeat.

The SDK knows HTTP only as `Send`: one request in, one response out. `over_aiohttp` is one; a test or an app brings its
own in a few lines. Reads, and acts, whose id makes them idempotent, are repeated when the server is unreachable or
answers 503 with Retry-After.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import stamina

from comity.errors import Unreachable
from comity.http_api import retry_after_seconds

MOST_LINE = 1024 * 1024
"""The longest line of a stream, in bytes."""
_LINE_END = re.compile(rb"\r\n|\r|\n")

TRIES_SECONDS = 30.0
"""Seconds for which a repeatable request is repeated before `Unreachable` is raised."""

_LONGEST_WAIT = 10.0
_LATER = frozenset({401, 429, 503})
"""With Retry-After: busy, or (401) a server that has just started and needs the request signed again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response, whole; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Send = Callable[[Request], Awaitable[Response]]
"""Sends one request. Raises Unreachable without a complete answer, and nothing else."""

Lines = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class StreamResponse:
    """A response without an end: its status and headers at once, its lines as they arrive (without line ends)."""

    status: int
    headers: Mapping[str, str]
    lines: Lines


async def split_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yields the lines of a text without their ends, CR, LF or CRLF (HTTP-13; WHATWG HTML, section 9.2.6), however the
    bytes are cut into chunks; the text after the last end comes last. Raises Unreachable for a line without an end."""
    rest, after_cr = bytearray(), False
    async for chunk in chunks:
        first, *others = _LINE_END.split(chunk.removeprefix(b"\n") if after_cr else chunk)
        rest += first
        for part in others:
            yield bytes(rest)
            rest = bytearray(part)
        if len(rest) > MOST_LINE:
            raise Unreachable("a line of the answer has no end")
        after_cr = chunk.endswith(b"\r") if chunk else after_cr
    if rest:
        yield bytes(rest)


Stream = Callable[[Request], AbstractAsyncContextManager[StreamResponse]]
"""Like Send for a response without an end (SSE). Leaving the context closes it."""


@dataclass(frozen=True, slots=True)
class Transport:
    """One way to send, one way to stream, and one way to close them. `patience` (s) is how long a request is
    repeated."""

    send: Send
    stream: Stream | None = None
    close: Callable[[], Awaitable[None]] | None = None
    patience: float = TRIES_SECONDS


class _Busy(Exception):
    """The answer was 503 or 429: try again after `asked` seconds."""

    def __init__(self, response: Response, asked: int) -> None:
        self.response = response
        self.asked = asked
        super().__init__(response.status)


def _wait(error: Exception) -> bool | float:
    if isinstance(error, _Busy):
        return min(float(error.asked), _LONGEST_WAIT)
    return isinstance(error, Unreachable)


async def send_with_retries(transport: Transport, make: Callable[[], Request]) -> Response:
    """Sends a repeatable request until there is an answer other than "busy", or the transport's patience ends. `make`
    builds the request for every try, since a signed read must not be replayed. Raises Unreachable."""
    try:
        return await _send_once(transport, make())
    except (_Busy, Unreachable) as error:
        failed: Exception | None = error
    try:
        async for attempt in stamina.retry_context(
            on=_wait, attempts=None, timeout=transport.patience, wait_initial=0.1, wait_max=2.0, wait_jitter=0.1
        ):
            with attempt:
                if failed is not None:
                    # The first attempt was made above: most succeed there, without the cost of the retry loop.
                    already, failed = failed, None
                    raise already
                return await _send_once(transport, make())
    except _Busy as busy:
        return busy.response
    raise AssertionError("stamina always ends in a return or a raise")


async def _send_once(transport: Transport, request: Request) -> Response:
    """Tries once. Raises Unreachable, _Busy."""
    response = await transport.send(request)
    asked = retry_after(response)
    # A limit that lasts longer than the patience is a final answer.
    if asked is None or (response.status == 429 and asked > transport.patience):
        return response
    if response.status in _LATER:
        raise _Busy(response, asked)
    return response


def retry_after(response: Response) -> int | None:
    """The seconds after which the answer allows another try; None where it names none."""
    headers = response.headers
    return retry_after_seconds(headers.get("retry-after"), headers.get("date"), int(time.time()))
