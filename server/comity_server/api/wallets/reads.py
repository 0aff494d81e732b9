"""Signed reads: connections, acts, news."""

from contextlib import aclosing

from aiohttp import hdrs, web

from comity.errors import Malformed
from comity.http_api import ACTS, CONNECTIONS, INBOX, LONGEST_WAIT
from comity_server.api.http import SERVER, authenticate, event_stream, json_answer, stream_head, wants_stream


def add_routes(app: web.Application) -> None:
    """Handlers of the reads of the two sides of a connection."""
    app.router.add_get(CONNECTIONS + "/{cid}", get_connection)
    app.router.add_get(CONNECTIONS + "/{cid}/records", get_records)
    app.router.add_get(ACTS + "/{id}", get_act)
    app.router.add_get(INBOX, get_inbox)


async def get_connection(request: web.Request) -> web.Response:
    """A connection as one of its sides may see it."""
    reader = await authenticate(request)
    return json_answer(await request.app[SERVER].answers.connection(request.match_info["cid"], reader.did))


async def get_records(request: web.Request) -> web.Response:
    """All of a connection that its side may have, a page of it."""
    reader = await authenticate(request)
    cursor = request.query.get("cursor")
    return json_answer(await request.app[SERVER].records.page(request.match_info["cid"], reader.did, cursor))


async def get_act(request: web.Request) -> web.Response:
    """An act's acceptance."""
    reader = await authenticate(request)
    return json_answer(await request.app[SERVER].answers.act(request.match_info["id"], reader.did))


async def get_inbox(request: web.Request) -> web.StreamResponse:
    """News, at once, after a wait, or as they come."""
    reader = await authenticate(request)
    inbox, wait = request.app[SERVER].inbox, _wait(request)
    cursor = request.query.get("cursor")
    if request.query.get("stream") == "1" or wants_stream(request):
        return await _stream(request, reader.did, request.headers.get("Last-Event-ID") or cursor)
    return json_answer(await inbox.page(reader.did, cursor, wait))


def _wait(request: web.Request) -> int:
    """Seconds to wait for news: a whole number from 0, in digits alone (HTTP-17). Raises Malformed."""
    text = request.query.get("wait", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise Malformed("wait is a whole number of seconds, from 0")
    return min(int(text), LONGEST_WAIT)


async def _stream(request: web.Request, did: str, cursor: str | None) -> web.StreamResponse:
    server = request.app[SERVER]
    async with aclosing(server.inbox.stream(did, cursor)) as items:
        # Checked before the response begins, so that a fault can still become a problem document.
        await anext(items)
        if request.method == hdrs.METH_HEAD:
            return stream_head()
        response = event_stream()
        await response.prepare(request)
        async with response:
            async for item in items:
                if item is not None:
                    await response.send(item.json.decode("utf-8"), id=item.cursor)
                elif not response.is_connected():
                    break
            response.stop_streaming()
    return response
