"""Offers, agreements and reserved indexes over HTTP."""

from functools import partial

import msgspec
from aiohttp import web
from pydantic import TypeAdapter

from comity.documents.agreements import open_agreement, open_half
from comity.documents.offers import open_offer
from comity.documents.types import parse_model
from comity.errors import Refused
from comity.http_api import AGREEMENTS, JSON, JWT, OFFERS, STATUS_INDEXES, Decline, ReserveIndex
from comity_server.api.http import (
    SERVER,
    address_of,
    authenticate,
    count_opening,
    count_request,
    json_answer,
    must_be,
    read_body,
)

_DECLINE = TypeAdapter(Decline)
_RESERVE = TypeAdapter(ReserveIndex)


def add_routes(app: web.Application) -> None:
    """How connections begin."""
    app.router.add_post(OFFERS, post_offer)
    app.router.add_get(OFFERS + "/{id}", get_offer)
    app.router.add_post(OFFERS + "/{id}/agreements", post_half)
    app.router.add_put(AGREEMENTS + "/{cid}", put_agreement)
    app.router.add_delete(AGREEMENTS + "/{cid}", delete_agreement)
    app.router.add_post(STATUS_INDEXES, post_index)


async def post_offer(request: web.Request) -> web.Response:
    """Publish an offer."""
    server = request.app[SERVER]
    count_request(request)
    must_be(request, JWT)
    body = await read_body(request)
    count_opening(request, body)
    offer = open_offer(body, server.directory.find_key)
    await server.writer.command(partial(server.onboarding.publish, offer))
    link = f"{server.home.origin}/i/{offer.short}#{offer.hash}"
    return json_answer(msgspec.json.encode({"offer": offer.hash, "id": offer.short, "link": link}), 201)


async def get_offer(request: web.Request) -> web.Response:
    """The text of an offer."""
    count_request(request)
    raw = await request.app[SERVER].answers.offer(request.match_info["id"])
    return web.Response(body=raw.encode("ascii"), content_type=JWT)


async def post_half(request: web.Request) -> web.Response:
    """Take an accepter's half in."""
    server = request.app[SERVER]
    count_request(request)
    must_be(request, JSON)
    body = await read_body(request)
    count_opening(request, body)
    half = open_half(body)
    await server.writer.command(
        partial(server.onboarding.propose, request.match_info["id"], half, address=address_of(request))
    )
    return json_answer(msgspec.json.encode({"cid": half.cid}), 202)


async def put_agreement(request: web.Request) -> web.Response:
    """Take the whole agreement in: the connection opens."""
    server = request.app[SERVER]
    count_request(request)
    must_be(request, JSON)
    agreement = open_agreement(await read_body(request))
    if agreement.cid != request.match_info["cid"]:
        raise Refused("not_found")
    answer = await server.writer.command(partial(server.onboarding.countersign, agreement))
    return json_answer(msgspec.json.encode({"cid": agreement.cid, "event": answer.event}))


async def delete_agreement(request: web.Request) -> web.Response:
    """Decline a half-signed agreement, or take one's half back."""
    server = request.app[SERVER]
    if request.body_exists:
        must_be(request, JSON)
    body = await read_body(request)
    reader = await authenticate(request, body)
    decline = parse_model(_DECLINE, body) if body else Decline()
    cid = request.match_info["cid"]
    await server.writer.command(partial(server.onboarding.decline, cid, reader.did, decline.reason, decline.silent))
    return web.Response(status=204)


async def post_index(request: web.Request) -> web.Response:
    """Reserve a status index for a grant to come."""
    server = request.app[SERVER]
    must_be(request, JSON)
    body = await read_body(request)
    reader = await authenticate(request, body)
    wanted = parse_model(_RESERVE, body)
    place = await server.writer.command(partial(server.onboarding.reserve, wanted.cid, reader.did), cids=(wanted.cid,))
    return json_answer(msgspec.json.encode({"status_list": server.context.lists.reference(place)}), 201)
