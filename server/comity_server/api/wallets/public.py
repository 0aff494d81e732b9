"""Public resources: documents, status lists, the page behind a link, and the server's health."""

import html

import msgspec
from aiohttp import hdrs, web

from comity.documents.status_lists import STATUS_LIST_TYPE
from comity.encoding import dump_json
from comity.errors import Refused
from comity.http_api import LONGEST_WAIT, MOST_LINES, WELL_KNOWN
from comity_server.api.http import SERVER, count_request, json_answer
from comity_server.conditions import CONDITIONS
from comity_server.log.registry import Logs
from comity_server.log.sequencer import Sequencer
from comity_server.refusals import AGAIN_IN

MAX_AGE = 30
"""Seconds for which a cache may keep a status list: with its age at most the 60 s that it is good for."""
PUBLIC = f"public, max-age={MAX_AGE}"


LOOKS = ("/healthz", "/readyz", "/metrics")
"""Paths of the health checks. Room is reserved for them, so that an operator's tools get an answer from a full
server."""


def add_routes(app: web.Application) -> None:
    """Handlers of the public resources."""
    app.router.add_get("/status/{list}", get_status_list)
    app.router.add_get(WELL_KNOWN, get_well_known)
    app.router.add_get("/.well-known/did.json", get_home_document)
    app.router.add_get("/b/{name}/did.json", get_business_document)
    app.router.add_get("/i/{id}", get_page)
    for path, look in zip(LOOKS, (get_health, get_ready, get_metrics), strict=True):
        app.router.add_get(path, look)


async def get_status_list(request: web.Request) -> web.Response:
    """A signed status list."""
    lists = request.app[SERVER].lists
    name = request.match_info["list"]
    number = lists.number_named(name)
    found = None if number is None else lists.token(number)
    if found is None:
        raise Refused("not_found")
    token, etag = found
    headers = {"ETag": etag, "Cache-Control": PUBLIC, "Access-Control-Allow-Origin": "*"}
    if etag in (tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers=headers)
    return web.Response(body=token.encode("ascii"), content_type=STATUS_LIST_TYPE, headers=headers)


async def get_well_known(request: web.Request) -> web.Response:
    """The server's description of itself."""
    count_request(request)
    server = request.app[SERVER]
    scheme = server.home.origin.partition("//")[0]
    return json_answer(
        msgspec.json.encode(
            {
                "version": 1,
                "home": server.home.did,
                "operator": server.home.operator,
                "name": server.config.name,
                "longest_wait": LONGEST_WAIT,
                "most_lines": MOST_LINES,
                "logs": [_log_description(log, scheme, server.logs) for log in server.logs],
                "witnesses": [key.text for key in server.cosigning.witnesses.keys],
                "cosignatures": server.cosigning.least,
            }
        )
    )


def _log_description(log: Sequencer, scheme: str, logs: Logs) -> dict[str, str | int]:
    told: dict[str, str | int] = {"origin": log.origin, "vkey": log.key.text, "url": f"{scheme}//{log.origin}"}
    if log is not logs.active:
        told["ended"] = True
    restore = logs.restores.get(log.origin)
    return told if restore is None else {**told, "restored_at": restore.at}


async def get_home_document(request: web.Request) -> web.Response:
    """The server's own DID document."""
    return _document(request.app[SERVER].directory.home_document())


async def get_business_document(request: web.Request) -> web.Response:
    """The DID document of a hosted business."""
    document = request.app[SERVER].directory.document(request.match_info["name"])
    if document is None:
        raise Refused("not_found")
    return _document(document)


def _document(document: dict[str, object]) -> web.Response:
    response = json_answer(dump_json(document))
    response.headers["Cache-Control"] = PUBLIC
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


async def get_page(request: web.Request) -> web.Response:
    """The page that a browser shows for an offer's link; the offer itself is for a wallet (HTTP-16)."""
    count_request(request)
    server = request.app[SERVER]
    await server.answers.offer(request.match_info["id"])
    name = html.escape(server.config.name)
    return web.Response(text=_PAGE.format(name=name), content_type="text/html")


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{name}: an offer to connect</title>
<h1>An offer to connect</h1>
<p>Open this page's whole address, with the part after #, in your wallet. Nothing is accepted by looking at it.</p>
</html>
"""


async def get_health(request: web.Request) -> web.Response:
    """The process answers."""
    return json_answer(b'{"status":"ok"}')


async def get_ready(request: web.Request) -> web.Response:
    """Readiness: whether the server does all of its work, and the conditions that stop it (OPS-1)."""
    server = request.app[SERVER]
    if not server.ready:
        raise Refused("overloaded", "not ready", retry_after=1)
    standing = server.conditions.look()
    stops = any(it.stops for it in standing)
    told = [{"condition": it.name, "cause": it.cause, "cure": it.cure} for it in standing]
    body = {"status": "not ready" if stops else "ready", "conditions": told}
    response = json_answer(msgspec.json.encode(body), 503 if stops else 200)
    if stops:
        response.headers[hdrs.RETRY_AFTER] = str(AGAIN_IN)
    return response


async def get_metrics(request: web.Request) -> web.Response:
    """Counters for the operator."""
    server = request.app[SERVER]
    metrics, log = server.metrics, server.logs.active
    metrics.connections.set(len(server.sockets))
    metrics.waiters.set(len(server.broker))
    metrics.entries.set(log.tail.size)
    metrics.signed.set(log.published.size)
    metrics.cosigned.set(len(server.cosigning.served_checkpoint(log).cosignatures))
    metrics.signing.set(log.halted is None)
    standing = {it.name for it in server.conditions.look()}
    for name in CONDITIONS:
        metrics.condition.labels(name).set(name in standing)
    return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})
