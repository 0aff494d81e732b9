"""JSON Lines bodies of any length, read in slices as they arrive."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from comity.errors import Malformed, Refused
from comity_server.api.http import SERVER, refuse_unread

MAX_LINE = 4096
"""The largest size of a line in bytes."""


class LineSplitter:
    """Splits incoming bytes into lines. A line that is too long is cut off right above the limit."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete with these bytes."""
        first, *more = data.split(b"\n")
        self._rest = (self._rest + first)[: MAX_LINE + 1]
        if not more:
            return []
        lines = [self._rest, *more[:-1]]
        self._rest = more[-1][: MAX_LINE + 1]
        return lines

    def end(self) -> list[bytes]:
        """The last line, if it has no line feed."""
        return [self._rest] if self._rest else []


def split_lines(body: bytes) -> list[bytes]:
    """The lines of a whole body, without line feeds."""
    return body.removesuffix(b"\n").split(b"\n") if body else []


async def in_slices(lines: list[bytes], most: int) -> AsyncIterator[list[bytes]]:
    """The lines in slices of up to `most`."""
    for start in range(0, len(lines), most):
        yield lines[start : start + most]


async def read_slices(request: web.Request, most: int) -> AsyncIterator[list[bytes]]:
    """The lines of an arriving body, in slices of up to `most`. Raises Malformed, and Refused("too_slow") if nothing
    arrives within the time allowed for a body."""
    splitter = LineSplitter()
    timeout = request.app[SERVER].config.body_timeout
    while True:
        try:
            async with asyncio.timeout(timeout):
                data = await request.content.readany()
        except TimeoutError:
            refuse_unread(request, Refused("too_slow"))
        except web.RequestPayloadError:
            raise Malformed("the body is not what its headers announce") from None
        lines = splitter.feed(data) if data else splitter.end()
        async for some in in_slices(lines, most):
            yield some
        if not data:
            return
