"""After a restore: what sides know, and records that come back (spec/connection.md, section "Recovery")."""

from functools import partial

import msgspec
from aiohttp import web
from pydantic import TypeAdapter

from comity.documents.types import parse_model
from comity.encoding import MAX_BODY, hash_id
from comity.errors import Refused
from comity.http_api import CONNECTIONS, JSON, JSON_LINES, RECORDS, HeadsKnown, RecordBody, encode_problem
from comity.rules.recovery import Heads
from comity_server.api.http import SERVER, authenticate, count_requests, json_answer, must_be, read_body
from comity_server.api.wallets.acts import TOO_MANY_BATCHES, read_lines
from comity_server.commands import record_restoration
from comity_server.commands.record_restoration import Handed, Line
from comity_server.limits.capacity import count_in
from comity_server.services import Server
from comity_server.writer import recovery

_HEADS = TypeAdapter(HeadsKnown)
_RECORD = TypeAdapter(RecordBody)


def add_routes(app: web.Application) -> None:
    """Handlers that carry a connection on after a restore."""
    app.router.add_post(CONNECTIONS + "/{cid}/heads", post_heads)
    app.router.add_post(RECORDS, post_records)


async def post_records(request: web.Request) -> web.Response:
    """Take back records of this server's own, one to a line, each answered by itself (REC-7)."""
    server = request.app[SERVER]
    must_be(request, JSON_LINES)
    lines = await read_lines(request)
    # As large as batches of acts, and as few at a time.
    with count_in(server.capacity.batches, TOO_MANY_BATCHES):
        over = count_requests(request, len(lines))
        handed = await record_restoration.open_handed(_records(lines), server.writer.crypto, server.home)
        if over is not None and not record_restoration.is_one_revoke(handed):
            raise Refused("rate_limited", "too many from this address", retry_after=over.retry_after)
        results = await _restore_lines(server, handed)
    return web.Response(body=b"".join(line + b"\n" for line in results), content_type=JSON_LINES)


def _records(lines: list[bytes]) -> list[Line]:
    """The records of a body, one for each line. Raises Malformed, Refused("too_large")."""
    read = [parse_model(_RECORD, line, 3 * MAX_BODY) for line in lines]
    return [Line(it.event, it.act, it.agreement) for it in read]


async def _restore_lines(server: Server, handed: list[Handed | Refused]) -> list[bytes]:
    good = [it for it in handed if isinstance(it, Handed)]
    why: list[Refused | None] = []
    if good:
        why = await record_restoration.take_back(server.store, server.writer, server.logs, good[0].cid, good)
    answers = iter(zip(good, why, strict=True))
    told = [it if isinstance(it, Refused) else _answer_line(*next(answers)) for it in handed]
    return [encode_problem(it) if isinstance(it, Refused) else it for it in told]


def _answer_line(handed: Handed, why: Refused | None) -> bytes | Refused:
    return msgspec.json.encode({"event": hash_id(handed.raw.encode("ascii"))}) if why is None else why


async def post_heads(request: web.Request) -> web.Response:
    """A side says which heads it knows (REC-5)."""
    server = request.app[SERVER]
    must_be(request, JSON)
    body = await read_body(request)
    reader = await authenticate(request, body)
    known, cid = parse_model(_HEADS, body), request.match_info["cid"]
    if not recovery.is_side(await server.writer.state(cid), reader.did):
        # The room that is reserved for a "no" is for parties that can say one here.
        raise Refused("not_found")
    decide = partial(recovery.heads, server.store, cid, reader.did, Heads(known.first, known.second, known.settings))
    told = await server.writer.command(decide, (cid,), narrows=True)
    return json_answer(msgspec.json.encode(told._asdict()))
