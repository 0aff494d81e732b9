"""POST /v1/acts: one act, or many as lines."""

import msgspec
from aiohttp import web

from comity.documents.events import Place
from comity.errors import Refused
from comity.http_api import ACTS, JSON_LINES, JWT, MOST_BATCH, MOST_LINES, encode_problem
from comity_server.api.http import SERVER, count_requests, json_answer, must_be, read_body
from comity_server.limits.capacity import count_in
from comity_server.reads.connections import accepted_in
from comity_server.services import Server
from comity_server.writer.unit_of_work import Answer
from comity_server.writer.writer import Result

TOO_MANY_BATCHES = "too many batches at once"


def add_routes(app: web.Application) -> None:
    """The way in for acts."""
    app.router.add_post(ACTS, post_acts)


async def post_acts(request: web.Request) -> web.Response:
    """Accept one act (application/jwt) or a batch, one to a line, each answered by itself."""
    server = request.app[SERVER]
    if must_be(request, JWT, JSON_LINES) == JWT:
        raw = await read_body(request)
        results = await server.writer.acts([raw], count_requests(request))
        if isinstance(results[0], Refused):
            raise results[0]
        return json_answer((await _lines(server, results))[0])
    lines = await read_lines(request)
    # Batches are large: few of them may be worked for at a time.
    with count_in(server.capacity.batches, TOO_MANY_BATCHES):
        return await _batch(request, server, lines)


async def read_lines(request: web.Request) -> list[bytes]:
    """The lines of a batch (HTTP-12). Raises Refused("too_large" | "too_slow")."""
    body = await read_body(request, MOST_BATCH)
    lines = body.removesuffix(b"\n").split(b"\n") if body else []
    if len(lines) > MOST_LINES:
        raise Refused("too_large", f"at most {MOST_LINES} lines")
    return lines


async def _batch(request: web.Request, server: Server, lines: list[bytes]) -> web.Response:
    over = count_requests(request, len(lines))
    results = await server.writer.acts(lines, over) if lines else []
    answer = b"".join(line + b"\n" for line in await _lines(server, results))
    return web.Response(body=answer, content_type=JSON_LINES)


async def _lines(server: Server, results: list[Result]) -> list[bytes]:
    """The answers, each with its receipt where a checkpoint covers the act by now (LOG-13)."""
    lines: list[bytes] = []
    # One receipt for each place: an act that is repeated in one batch must not cost one proof each time.
    made: dict[Place, str | None] = {}
    for result in results:
        if isinstance(result, Refused):
            lines.append(encode_problem(result))
            continue
        place = _place(result)
        if place not in made:
            made[place] = await server.receipts.of(place)
        lines.append(_line(result, made[place]))
    return lines


def _place(answer: Answer) -> Place:
    """The place of the act's entry; for an act that was accepted before, read from its acceptance."""
    if answer.place is not None:
        return answer.place
    event = accepted_in(answer.event)
    return Place(event.log, event.index)


def _line(result: Answer, receipt: str | None) -> bytes:
    # Id and event are base64url and dots: nothing in them needs escaping.
    proof = b"" if receipt is None else b',"receipt":' + msgspec.json.encode(receipt)
    return f'{{"act":"{result.act}","event":"{result.event}"'.encode("ascii") + proof + b"}"
