"""Helpers that handlers share: the server, the request body within its limits, the signer of a request, and
responses."""

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from comity.crypto.http_signatures import SignedRequest
from comity.encoding import MAX_BODY
from comity.errors import Malformed, Refused
from comity.http_api import EVENT_STREAM, JSON, PROBLEM, encode_problem
from comity_server.limits.capacity import PLACE
from comity_server.limits.rate_limits import Over, Windows
from comity_server.logging import REQUEST_ID
from comity_server.services import Server

SERVER = web.AppKey("server", Server)
CLOSE = web.RequestKey("close", bool)
"""Set where a request's connection cannot be used for another."""
ALSO = web.RequestKey("also", dict)
"""Headers that the refusal of this request has beside those of every refusal."""
_ADDRESS = web.RequestKey("address", str)
MEBIBYTE = 1024 * 1024
_PIECE = 64 * 1024
ONE_OPENING = 4096
"""Bytes of an offer or half that count as one."""
NO_STORE = "no-store"
"""The Cache-Control of a response that sets none of its own (HTTP-14)."""


async def read_body(request: web.Request, limit: int = MAX_BODY) -> bytes:
    """The body, at most `limit` bytes. Raises Refused("too_large" | "too_slow").

    A sender that stops half way would otherwise hold its connection open for minutes.
    """
    length = request.content_length
    if length is not None and length > limit:
        refuse_unread(request, Refused("too_large", f"at most {limit} bytes"))
    try:
        # The ordinary case: the whole body arrived with the headers.
        body = request.content.read_nowait() if request.content.is_eof() else await _read_arriving(request, limit)
    except web.RequestPayloadError:
        raise Malformed("the body is not what its headers announce") from None
    if len(body) > limit:
        refuse_unread(request, Refused("too_large", f"at most {limit} bytes"))
    return body


async def _read_arriving(request: web.Request, limit: int) -> bytes:
    """A body that is still arriving, read up to just beyond the limit. Meanwhile the request does not count as in hand;
    the bytes that have arrived count instead, so a client that sends half of a body uses little room (HTTP-22)."""
    server, place = request.app[SERVER], PLACE.get()
    assert place is not None, "a request without a place"
    place.leave()
    chunks: list[bytes] = []
    came = 0
    try:
        async with asyncio.timeout(server.config.body_timeout + limit // MEBIBYTE):
            while came <= limit and (chunk := await request.content.readany()):
                if not server.capacity.arriving.take(place.user, len(chunk)):
                    refuse_unread(request, Refused("overloaded", "too much arrives at once", retry_after=1))
                came += len(chunk)
                chunks.append(chunk)
    except TimeoutError:
        refuse_unread(request, Refused("too_slow"))
    finally:
        server.capacity.arriving.give(place.user, came)
    place.enter()
    return b"".join(chunks)


def refuse_unread(request: web.Request, refused: Refused) -> NoReturn:
    """Refuse a request whose body is not read to its end; its connection cannot be used again."""
    request[CLOSE] = True
    raise refused


async def authenticate(request: web.Request, body: bytes = b"") -> SignedRequest:
    """The signer of the request. Raises Refused."""
    return await request.app[SERVER].request_auth.open(request.method, request.raw_path, request.headers, body)


def address_of(request: web.Request) -> str:
    """The address whose share the request takes of (HTTP-18)."""
    address = request.get(_ADDRESS)
    if address is None:
        address = request[_ADDRESS] = request.app[SERVER].addresses.of(request.remote, request.headers)
    return address


def count_requests(request: web.Request, count: int = 1) -> Over | None:
    """Count requests that need neither a key nor a signature, and tell if they are too many for their address
    (HTTP-20)."""
    return _count(request, request.app[SERVER].address_limits.requests, count)


def count_request(request: web.Request) -> None:
    """The same for one request, where nothing in it could say no. Raises Refused("rate_limited")."""
    _refuse_over(request, count_requests(request))


def count_opening(request: web.Request, body: bytes) -> None:
    """Count an offer or half by its size. Raises Refused("rate_limited") where it is too much for its address
    (HTTP-20)."""
    _refuse_over(request, _count(request, request.app[SERVER].address_limits.openings, 1 + len(body) // ONE_OPENING))


def _count(request: web.Request, windows: Windows, count: int) -> Over | None:
    address = address_of(request)
    over = windows.count_and_check(address, count)
    if over is not None:
        request.app[SERVER].addresses.warn_of(address)
    return over


def _refuse_over(request: web.Request, over: Over | None) -> None:
    if over is not None:
        refuse_unread(request, Refused("rate_limited", "too many from this address", retry_after=over.retry_after))


def json_answer(body: bytes, status: int = 200) -> web.Response:
    """A JSON answer from bytes."""
    return web.Response(body=body, status=status, content_type=JSON)


async def in_pieces(request: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Sends a large body that is held in memory anyway, at the reader's pace. One piece of it is buffered for a slow
    reader, and the request does not count as in hand meanwhile."""
    if (place := PLACE.get()) is not None:
        place.leave()
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        for start in range(0, len(body), _PIECE):
            await response.write(body[start : start + _PIECE])
    await response.write_eof()
    return response


def event_stream() -> EventSourceResponse:
    """The response for a reader of an event stream: lines end in CRLF (HTTP-13), and no cache stores it (HTTP-14)."""
    response = EventSourceResponse(sep="\r\n")
    # The library writes no-cache, which lets a cache keep what only one reader may have.
    response.headers["Cache-Control"] = NO_STORE
    return response


def stream_head() -> web.Response:
    """The response to a HEAD of an event stream, which has no end to wait for (RFC 9110, section 9.3.2)."""
    return web.Response(content_type=EVENT_STREAM, headers={"Cache-Control": NO_STORE})


def problem(refused: Refused, also: Mapping[str, Any] | None = None, id_: str | None = None) -> web.Response:
    """The problem document for the current request, or for the request `id_` (RFC 9457), with extension members."""
    named = {**(also or {}), "request_id": id_ or REQUEST_ID.get()}
    response = web.Response(body=encode_problem(refused, named), status=refused.status, content_type=PROBLEM)
    if refused.retry_after is not None:
        response.headers["Retry-After"] = str(refused.retry_after)
    return response


def must_be(request: web.Request, *types: str) -> str:
    """The content type, if it is one of those, and the body is not coded. Raises Refused("unsupported_media_type")."""
    must_be_plain(request)
    if request.content_type not in types:
        refuse_unread(request, Refused("unsupported_media_type", f"send {' or '.join(types)}"))
    return request.content_type


def must_be_plain(request: web.Request) -> None:
    """Raises Refused("unsupported_media_type") for a body with a content coding, and names none as acceptable (HTTP-1;
    RFC 9110, sections 12.5.3 and 15.5.16): a signature covers the bytes as sent."""
    if hdrs.CONTENT_ENCODING not in request.headers:
        return
    codings = ",".join(request.headers.getall("Content-Encoding", ())).split(",")
    if {coding.strip().lower() for coding in codings} - {"", "identity"}:
        request[ALSO] = {"Accept-Encoding": "identity"}
        refuse_unread(request, Refused("unsupported_media_type", "send the body without a content coding"))


def preferred_type(request: web.Request, *types: str) -> str:
    """Which of these media types the client likes best (RFC 9110, section 12.5.1); the first of those that are liked
    as much, or if none of them is accepted at all."""
    accept = ",".join(request.headers.getall("Accept", ()))
    if accept in ("", "*/*"):
        return types[0]
    # A tenth of a second, for the few who say what they accept.
    from werkzeug.datastructures import MIMEAccept
    from werkzeug.http import parse_accept_header

    quality = parse_accept_header(accept, MIMEAccept).quality
    return max(types, key=lambda it: max(quality(it), quality(f"{it}; charset=utf-8")))


def wants_stream(request: web.Request) -> bool:
    """Whether the answer is to be an event stream rather than JSON (HTTP-13)."""
    return preferred_type(request, JSON, EVENT_STREAM) == EVENT_STREAM
