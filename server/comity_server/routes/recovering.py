"""After a restore: what sides know, and records that come back (spec/connection.md, section "Recovery")."""

from functools import partial

import msgspec
from aiohttp import web
from pydantic import TypeAdapter

from comity.recovery import Heads
from comity.wire import CONNECTIONS, JSON, HeadsKnown
from comity.words import read_model
from comity_server import recovering
from comity_server.routes.parts import SERVER, json_answer, must_be, read_body, signed

_HEADS = TypeAdapter(HeadsKnown)


def add_routes(app: web.Application) -> None:
    """How a connection goes on after a restore."""
    app.router.add_post(CONNECTIONS + "/{cid}/heads", post_heads)


async def post_heads(request: web.Request) -> web.Response:
    """A side says which heads it knows (REC-5)."""
    server = request.app[SERVER]
    must_be(request, JSON)
    body = await read_body(request)
    reader = signed(request, body)
    known, cid = read_model(_HEADS, body), request.match_info["cid"]
    decide = partial(recovering.heads, server.store, cid, reader.did, Heads(known.first, known.second, known.settings))
    told = await server.accept.command(decide, (cid,), narrows=True)
    return json_answer(msgspec.json.encode(told._asdict()))
