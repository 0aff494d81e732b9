"""A body that comes in lines, without an end to its length: taken as it comes, a slice of lines at a time."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from comity.errors import Malformed, Refused
from comity_server.api.http import SERVER, refuse_unread

MOST_LINE = 4096
"""Bytes of one line."""


class Lines:
    """Cuts what comes into lines. Of a line that is too long, no more is kept than shows it."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[bytes]:
        """The lines that end in these bytes."""
        first, *more = data.split(b"\n")
        self._rest = (self._rest + first)[: MOST_LINE + 1]
        if not more:
            return []
        lines = [self._rest, *more[:-1]]
        self._rest = more[-1][: MOST_LINE + 1]
        return lines

    def end(self) -> list[bytes]:
        """The last line, if nothing ended it."""
        return [self._rest] if self._rest else []


def lines_in(body: bytes) -> list[bytes]:
    """The lines of a whole body, without their ends."""
    return body.removesuffix(b"\n").split(b"\n") if body else []


async def slices(lines: list[bytes], most: int) -> AsyncIterator[list[bytes]]:
    """The lines, up to `most` at a time."""
    for start in range(0, len(lines), most):
        yield lines[start : start + most]


async def arriving(request: web.Request, most: int) -> AsyncIterator[list[bytes]]:
    """The lines of a body on its way, up to `most` at a time. Raises Refused("too_slow") where nothing comes for as
    long as a body may take, Malformed."""
    cut = Lines()
    timeout = request.app[SERVER].config.body_timeout
    while True:
        try:
            async with asyncio.timeout(timeout):
                data = await request.content.readany()
        except TimeoutError:
            refuse_unread(request, Refused("too_slow"))
        except web.RequestPayloadError:
            raise Malformed("the body is not what its headers announce") from None
        lines = cut.cut(data) if data else cut.end()
        async for some in slices(lines, most):
            yield some
        if not data:
            return
