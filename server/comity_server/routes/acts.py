"""POST /v1/acts: one act, or many as lines."""

from aiohttp import web

from comity.errors import Refused
from comity.wire import ACTS, JSON_LINES, JWT, MOST_BATCH, MOST_LINES, encode_problem
from comity_server.accept import Result
from comity_server.routes.parts import SERVER, json_answer, must_be, read_body, refuse_unread
from comity_server.server import Server

MOST_BATCHES = 16


def add_routes(app: web.Application) -> None:
    """The way in for acts."""
    app.router.add_post(ACTS, post_acts)


async def post_acts(request: web.Request) -> web.Response:
    """Accept one act (application/jwt) or a batch, one to a line, each answered by itself."""
    server = request.app[SERVER]
    if must_be(request, JWT, JSON_LINES) == JWT:
        (result,) = await server.accept.acts([await read_body(request)])
        if isinstance(result, Refused):
            raise result
        return json_answer(_line(result))
    # Batches are large: few of them may be in memory at a time.
    if server.batches >= MOST_BATCHES:
        refuse_unread(request, Refused("overloaded", "too many batches at once", retry_after=1))
    server.batches += 1
    try:
        return await _batch(request, server)
    finally:
        server.batches -= 1


async def _batch(request: web.Request, server: Server) -> web.Response:
    body = await read_body(request, MOST_BATCH)
    lines = body.removesuffix(b"\n").split(b"\n") if body else []
    if len(lines) > MOST_LINES:
        raise Refused("too_large", f"at most {MOST_LINES} lines")
    results = await server.accept.acts(lines) if lines else []
    answer = b"".join(_line(result) + b"\n" for result in results)
    return web.Response(body=answer, content_type=JSON_LINES)


def _line(result: Result) -> bytes:
    if isinstance(result, Refused):
        return encode_problem(result)
    # Both are base64url and dots: nothing in them needs escaping.
    return f'{{"act":"{result.act}","event":"{result.event}"}}'.encode("ascii")
