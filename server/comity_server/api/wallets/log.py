"""The consent log, for everybody (C2SP tlog-tiles; LOG-3), and the key histories of businesses."""

import msgspec
from aiohttp import web

from comity.documents.events import Place
from comity.errors import Malformed, Refused
from comity.http_api import HOME_KEYS, LOG
from comity.transparency.tiles import parse_path
from comity_server.api.http import SERVER, count_request, json_answer
from comity_server.log.recovery import origin_of
from comity_server.log.sequencer import Sequencer
from comity_server.services import Server

IMMUTABLE = "public, max-age=31536000, immutable"
"""Cache-Control for resources that never change: one year (tlog-tiles)."""
NEW = "public, max-age=1"
"""The checkpoint does, all the time."""


def add_routes(app: web.Application) -> None:
    """The logs: the one without a name, and named ones."""
    for prefix in (LOG, LOG + "/{name:[a-z0-9-]{1,32}}"):
        app.router.add_get(prefix + "/checkpoint", get_checkpoint)
        app.router.add_get(prefix + "/{path:tile/.*}", get_tile)
    app.router.add_get(HOME_KEYS, get_home_keys)
    app.router.add_get("/b/{name}/keys", get_keys)
    app.router.add_get("/b/{name}/notices", get_notices)


def _log(request: web.Request) -> Sequencer:
    server = request.app[SERVER]
    if request.raw_path != request.path or request.query_string:
        # Each of these has one path: another spelling of it would be one more thing for caches to keep.
        raise Refused("not_found")
    found = server.logs.get(origin_of(server.home.host, request.match_info.get("name", "")))
    if found is None:
        raise Refused("not_found")
    return found


async def get_checkpoint(request: web.Request) -> web.Response:
    """The checkpoint, with the cosignatures that it has by now."""
    served = request.app[SERVER].cosigning.served_checkpoint(_log(request))
    headers = {"Cache-Control": NEW, "Access-Control-Allow-Origin": "*"}
    return web.Response(text=served.raw, content_type="text/plain", charset="utf-8", headers=headers)


async def get_tile(request: web.Request) -> web.Response:
    """A tile or an entry bundle."""
    log = _log(request)
    try:
        tile = parse_path(request.match_info["path"])
    except Malformed:
        raise Refused("not_found") from None
    data = await request.app[SERVER].tiles.tile(log, tile)
    if data is None:
        raise Refused("not_found")
    headers = {"Cache-Control": IMMUTABLE, "Access-Control-Allow-Origin": "*"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


async def get_home_keys(request: web.Request) -> web.Response:
    """The keys of this server: every statement from the first on, with its places in logs (HOME-2)."""
    server = request.app[SERVER]
    count_request(request)
    keys = []
    for placed in server.home.keys.keys.chain:
        signed = {} if placed.stated.signed is None else {"signed": placed.stated.signed}
        places = [await _statement_entry(server, place) for place in placed.places]
        keys.append({"statement": placed.stated.raw, **signed, "places": places})
    response = json_answer(msgspec.json.encode({"did": server.home.did, "keys": keys}))
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


async def get_keys(request: web.Request) -> web.Response:
    """The keys that a business has published here, each with its statement, and its receipt where there is one
    (LOG-20)."""
    server = request.app[SERVER]
    count_request(request)
    business = server.directory.get(request.match_info["name"])
    if business is None:
        raise Refused("not_found")
    keys = []
    for stated in await server.store.key_statements(business.name):
        place = Place(stated.log, stated.index)
        keys.append({"statement": stated.statement, **await _statement_entry(server, place)})
    response = json_answer(msgspec.json.encode({"did": business.did, "keys": keys}))
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


async def get_notices(request: web.Request) -> web.Response:
    """All notices that a business has published here, the oldest first, each with its receipt where there is one
    (NOTICE-7)."""
    server = request.app[SERVER]
    count_request(request)
    business = server.directory.get(request.match_info["name"])
    if business is None:
        raise Refused("not_found")
    notices = []
    for stored in await server.store.business.notices(business.name):
        notices.append({"notice": stored.raw, **await _statement_entry(server, Place(stored.log, stored.idx))})
    response = json_answer(msgspec.json.encode({"did": business.did, "notices": notices}))
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


async def _statement_entry(server: Server, place: Place) -> dict[str, str | int]:
    """The place of a statement, with its receipt where there is one."""
    receipt = await server.receipts.of(place)
    return {**place.members, **({} if receipt is None else {"receipt": receipt})}
