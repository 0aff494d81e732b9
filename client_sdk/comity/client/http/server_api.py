"""The API of one home server: one request for each call, and every answer checked for its form.

The caller checks the meaning of an answer. This module checks that it is an answer: the media type, the members, and,
for a refusal, a code with its status and title.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter

from comity import http_api
from comity.client.http.transport import Request, Response, StreamResponse, Transport, retry_after, send_with_retries
from comity.crypto.keys import Signer, did_web_base
from comity.documents.status_lists import STATUS_LIST_TYPE
from comity.documents.types import Model, parse_model
from comity.encoding import b64u_encode, parse_object
from comity.errors import CODES, Contradiction, Malformed, Refused, Unreachable
from comity.http_api import http_date

M = TypeVar("M", bound=Model)

Clock = Callable[[], int]
"""The time in ms since the epoch."""
Randomness = Callable[[int], bytes]

_SAME_CLOCK = 5000
"""Milliseconds by which two readings of one clock may differ."""
_MAX_ANSWER = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_TEMPORARY = frozenset({"overloaded", "disk_full", "store_failing", "rate_limited", "internal", "too_slow"})
"""Refusals unrelated to the request: it can be sent again unchanged."""


class _WrongClock(Exception):
    """The server refused the time of a request; the next one uses the server's clock."""


class ServerApi:
    """One home server, by its did:web. Reads are signed with the caller's key."""

    def __init__(self, did: str, transport: Transport, clock: Clock, randomness: Randomness) -> None:
        self.did = did
        self.base = did_web_base(did)
        self._transport = transport
        self._clock = clock
        self._randomness = randomness
        self.clock_offset = 0
        """Milliseconds by which the server's clock is ahead of this device's, after it refused a signed request for
        that (HTTP-24)."""

    # --- connecting ---

    async def publish_offer(self, offer: str) -> http_api.PublishedOffer:
        """`POST /v1/offers`."""
        response = await self._send_with_retries("POST", http_api.OFFERS, body=offer.encode(), kind=http_api.JWT)
        return _model(http_api.PublishedOffer, response, 201)

    async def get_offer(self, short: str) -> str:
        """`GET /v1/offers/{id}`: the text of an offer. Raises Refused("not_found")."""
        response = await self._send_with_retries("GET", f"{http_api.OFFERS}/{short}")
        return _text(response, http_api.JWT)

    async def submit_half(self, short: str, half: bytes) -> http_api.ProposalAnswer:
        """`POST /v1/offers/{id}/agreements`: the accepter's half."""
        response = await self._send_with_retries(
            "POST", f"{http_api.OFFERS}/{short}/agreements", body=half, kind=http_api.JSON
        )
        return _model(http_api.ProposalAnswer, response, 202)

    async def submit_agreement(self, cid: str, agreement: bytes) -> http_api.OpenedAnswer:
        """`PUT /v1/agreements/{cid}`: both halves."""
        response = await self._send_with_retries(
            "PUT", f"{http_api.AGREEMENTS}/{cid}", body=agreement, kind=http_api.JSON
        )
        return _model(http_api.OpenedAnswer, response, 200)

    async def decline(self, cid: str, signer: Signer, reason: str | None, silent: bool) -> None:
        """`DELETE /v1/agreements/{cid}`: the offerer declines, the accepter takes its half back."""
        body = http_api.Decline(reason=reason, silent=silent).to_json()
        response = await self._send_with_retries(
            "DELETE", f"{http_api.AGREEMENTS}/{cid}", body=body, kind=http_api.JSON, signer=signer
        )
        if response.status != 204 or response.body:
            raise _unexpected_answer(response, "not the answer to a decline")

    # --- acts ---

    async def submit_act(self, raw: str) -> http_api.Acceptance:
        """`POST /v1/acts` with one act. Raises Refused; Unreachable while its outcome is unknown."""
        return _model(
            http_api.Acceptance,
            await self._send_with_retries("POST", http_api.ACTS, body=raw.encode(), kind=http_api.JWT),
            200,
        )

    async def submit_acts(self, raws: Sequence[str]) -> list[http_api.Acceptance | Refused | Unreachable]:
        """`POST /v1/acts` with several: one answer for each, in order."""
        body = "".join(f"{raw}\n" for raw in raws).encode()
        response = await self._send_with_retries("POST", http_api.ACTS, body=body, kind=http_api.JSON_LINES)
        _expect(response, 200, http_api.JSON_LINES)
        lines = response.body.splitlines()
        if len(lines) != len(raws):
            raise _unexpected_answer(response, "not one answer for each act")
        return [_read_batch_answer(line) for line in lines]

    async def submit_records(self, records: Sequence[http_api.RecordBody]) -> list[Refused | None]:
        """`POST /v1/records`: for each record, in order, the reason for which it was not accepted, or None."""
        body = b"".join(record.to_json() + b"\n" for record in records)
        response = await self._send_with_retries("POST", http_api.RECORDS, body=body, kind=http_api.JSON_LINES)
        _expect(response, 200, http_api.JSON_LINES)
        lines = response.body.splitlines()
        if len(lines) != len(records):
            raise _unexpected_answer(response, "not one answer for each record")
        return [_read_record_answer(line) for line in lines]

    async def submit_heads(self, cid: str, known: http_api.HeadsKnown, signer: Signer) -> http_api.HeadsAnswer:
        """`POST /v1/connections/{cid}/heads`: the heads that a side knows, after a restore."""
        path = f"{http_api.CONNECTIONS}/{cid}/heads"
        response = await self._send_with_retries("POST", path, body=known.to_json(), kind=http_api.JSON, signer=signer)
        return _model(http_api.HeadsAnswer, response, 200)

    async def reserve_index(self, cid: str, signer: Signer) -> http_api.ReservedIndex:
        """`POST /v1/status/indexes`: a status index for a grant."""
        body = http_api.ReserveIndex(cid=cid).to_json()
        # Not repeated: a second try would reserve a second index.
        response = await self._send_once("POST", http_api.STATUS_INDEXES, body=body, kind=http_api.JSON, signer=signer)
        return _model(http_api.ReservedAnswer, response, 201).status_list

    # --- reading ---

    async def get_connection(self, cid: str, signer: Signer) -> tuple[http_api.ConnectionAnswer, str]:
        """`GET /v1/connections/{cid}`. Returns the answer, and its text for evidence."""
        response = await self._send_with_retries("GET", f"{http_api.CONNECTIONS}/{cid}", signer=signer)
        return _model(http_api.ConnectionAnswer, response, 200), _body_text(response)

    async def get_records(self, cid: str, signer: Signer, cursor: str | None) -> http_api.RecordsPage:
        """`GET /v1/connections/{cid}/records`: the next page of the records that this side may read."""
        query = f"?cursor={cursor}" if cursor else ""
        response = await self._send_with_retries("GET", f"{http_api.CONNECTIONS}/{cid}/records{query}", signer=signer)
        return _model(http_api.RecordsPage, response, 200)

    async def get_act(self, act: str, signer: Signer) -> http_api.ActAnswer:
        """`GET /v1/acts/{hash}`: the acceptance of an act, and the act where the reader may have it."""
        return _model(
            http_api.ActAnswer, await self._send_with_retries("GET", f"{http_api.ACTS}/{act}", signer=signer), 200
        )

    async def get_inbox(self, signer: Signer, cursor: str | None, wait: int = 0) -> http_api.Page:
        """`GET /v1/inbox`: the next page; with `wait` (s), an empty page is sent only after that time."""
        query = f"?wait={wait}" + (f"&cursor={cursor}" if cursor else "")
        response = await self._send_with_retries("GET", http_api.INBOX + query, signer=signer, timeout=30.0 + wait)
        return _model(http_api.Page, response, 200)

    async def stream_inbox(self, signer: Signer, cursor: str | None) -> AsyncGenerator[http_api.Item, None]:
        """`GET /v1/inbox` as an event stream: yields items as they arrive, until the server or the caller hangs up."""
        try:
            async for item in self._stream_inbox(signer, cursor):
                yield item
        except _WrongClock:
            async for item in self._stream_inbox(signer, cursor):
                yield item

    async def _stream_inbox(self, signer: Signer, cursor: str | None) -> AsyncGenerator[http_api.Item, None]:
        """One stream. Raises _WrongClock where another request may start it."""
        request = self._request("GET", http_api.INBOX, signer=signer, timeout=120.0)
        headers = {**request.headers, "accept": http_api.EVENT_STREAM}
        if cursor:
            headers["last-event-id"] = cursor
        if self._transport.stream is None:
            raise Unreachable("this transport has no streams")
        async with self._transport.stream(Request("GET", request.url, headers, timeout=120.0)) as answer:
            if answer.status != 200 or not answer.headers.get("content-type", "").startswith(http_api.EVENT_STREAM):
                raise self._adjust_clock(await _stream_fault(answer), answer.headers)
            async for data, cursor_of_it in _read_events(answer.lines):
                item = read_answer(http_api.Item, data)
                if item.cursor != cursor_of_it:
                    raise Contradiction("an item comes under another cursor than its own", (data.decode(),))
                yield item

    async def get_status_list(self, uri: str) -> str:
        """The status list token that a grant names."""
        if not uri.startswith(f"{self.base}/"):
            raise Contradiction("a status list that the home server does not serve", (uri,))
        return _text(await self._send_with_retries("GET", uri.removeprefix(self.base)), STATUS_LIST_TYPE)

    async def get_well_known(self, over: Transport | None = None, timeout: float = 30.0) -> http_api.WellKnown:  # noqa: ASYNC109
        """`GET /.well-known/comity`, `over` a transport with its own patience. Raises Contradiction when it names
        another server."""

        def ask() -> Request:
            return self._request("GET", http_api.WELL_KNOWN, timeout=timeout)

        answer = _model(http_api.WellKnown, _check_status(await send_with_retries(over or self._transport, ask)), 200)
        if answer.home != self.did:
            raise Contradiction("the server says that it is another one", (answer.model_dump_json(),))
        return answer

    async def get_server_keys(self) -> tuple[http_api.HomeKeysAnswer, str]:
        """`GET /.well-known/comity/keys`: the server's statements of its keys, and the text for evidence."""
        response = await self._send_with_retries("GET", http_api.HOME_KEYS)
        return _model(http_api.HomeKeysAnswer, response, 200), _body_text(response)

    # --- one request ---

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        kind: str | None = None,
        signer: Signer | None = None,
        timeout: float = 30.0,
    ) -> Request:
        url = self.base + path
        headers = {} if kind is None else {"content-type": kind}
        if signer is not None:
            # Imported at the first signed read: the RFC 9421 library takes a while to load.
            from comity.crypto.http_signatures import sign_request

            created, nonce = (self._clock() + self.clock_offset) // 1000, b64u_encode(self._randomness(18))
            headers |= sign_request(method, url, signer, created, nonce, body)
        return Request(method, url, headers, body, timeout)

    async def _send_once(self, method: str, path: str, **rest: Any) -> Response:
        return await self._send_by_server_clock(lambda: self._transport.send(self._request(method, path, **rest)))

    async def _send_with_retries(self, method: str, path: str, **rest: Any) -> Response:
        return await self._send_by_server_clock(
            lambda: send_with_retries(self._transport, lambda: self._request(method, path, **rest))
        )

    async def _send_by_server_clock(self, send: Callable[[], Awaitable[Response]]) -> Response:
        """The answer; where the server refuses the time of the signature, the answer to a second request signed by the
        server's clock (HTTP-24)."""
        response = await send()
        try:
            return _check_status(response)
        except Refused as refused:
            if not isinstance(self._adjust_clock(refused, response.headers), _WrongClock):
                raise
        return _check_status(await send())

    def _adjust_clock(self, fault: Exception, headers: Mapping[str, str]) -> Exception:
        """The fault, or _WrongClock where the server's `Date` differs from its known clock, which is then updated."""
        date = http_date(headers.get("date", ""))
        if not isinstance(fault, Refused) or fault.code != "signature_stale" or date is None:
            return fault
        # A date is cut to the second, so its middle is wrong by at most half a second.
        ahead = date * 1000 + 500 - self._clock()
        if abs(ahead - self.clock_offset) < _SAME_CLOCK:
            return fault
        self.clock_offset = ahead
        return _WrongClock()


def read_answer(kind: type[M], data: bytes) -> M:
    """The members of an answer. Raises Contradiction for any other form."""
    adapter = _ADAPTERS.get(kind) or _ADAPTERS.setdefault(kind, TypeAdapter(kind))
    try:
        answer: M = parse_model(adapter, data, _MAX_ANSWER)
        return answer
    except Refused as fault:
        raise Contradiction(f"an invalid answer: {fault.detail}", (data.decode("utf-8", "replace"),)) from None


_ADAPTERS: dict[type[Model], TypeAdapter[Any]] = {}


def _check_status(response: Response) -> Response:
    """The response, unless it is a refusal. Raises Refused, Unreachable, Contradiction."""
    if response.status < 400:
        return response
    if not response.headers.get("content-type", "").startswith(http_api.PROBLEM):
        raise Unreachable(f"the server answers {response.status}, and not in this protocol")
    refused = _refusal(response.body, retry_after(response))
    if isinstance(refused, Refused) and refused.status != response.status:
        raise _unexpected_answer(response, "a refusal whose status is another one's")
    raise refused


def _refusal(data: bytes, retry_after: int | None = None) -> Refused | Unreachable | Contradiction:
    text = data.decode("utf-8", "replace")
    try:
        refused = http_api.decode_problem(data, retry_after)
        problem = parse_object(data)
    except Malformed as fault:
        return Contradiction(f"an invalid refusal: {fault.detail}", (text,))
    code = CODES[refused.code]
    if problem["title"] != code.title or problem["type"] != f"urn:comity:problem:{refused.code}":
        return Contradiction("a refusal with another code's title", (text,))
    if refused.code in _TEMPORARY:
        return Unreachable(f"the server cannot accept it now: {refused}")
    return refused


def _model(kind: type[M], response: Response, status: int) -> M:
    _expect(response, status, http_api.JSON)
    return read_answer(kind, response.body)


def _text(response: Response, kind: str) -> str:
    _expect(response, 200, kind)
    try:
        return response.body.decode("ascii")
    except UnicodeDecodeError:
        raise _unexpected_answer(response, "an answer that is not a signed text") from None


def _expect(response: Response, status: int, kind: str) -> None:
    if response.status != status or response.headers.get("content-type", "").partition(";")[0].strip() != kind:
        raise _unexpected_answer(response, f"an answer that is not {status} {kind}")


def _body_text(response: Response) -> str:
    return response.body.decode("utf-8", "replace")


def _unexpected_answer(response: Response, claim: str) -> Contradiction:
    return Contradiction(f"{claim} ({response.status})", (_body_text(response),))


def _read_batch_answer(line: bytes) -> http_api.Acceptance | Refused | Unreachable:
    try:
        is_problem = "code" in parse_object(line)
    except Malformed as fault:
        raise Contradiction(f"an invalid answer: {fault.detail}", (line.decode("utf-8", "replace"),)) from None
    if not is_problem:
        return read_answer(http_api.Acceptance, line)
    refused = _refusal(line)
    if isinstance(refused, Contradiction):
        raise refused
    return refused


def _read_record_answer(line: bytes) -> Refused | None:
    """The refusal of a record, or None where it was accepted. Raises Contradiction, Unreachable."""
    try:
        is_problem = "code" in parse_object(line)
    except Malformed as fault:
        raise Contradiction(f"an invalid answer: {fault.detail}", (line.decode("utf-8", "replace"),)) from None
    if not is_problem:
        read_answer(http_api.RecordAnswer, line)
        return None
    refused = _refusal(line)
    if isinstance(refused, Refused):
        return refused
    raise refused


async def _stream_fault(answer: StreamResponse) -> Exception:
    body = b""
    async for line in answer.lines:
        body += line
        if len(body) > 65536:
            break
    try:
        _check_status(Response(answer.status, answer.headers, body))
    except (Refused, Unreachable, Contradiction) as fault:
        return fault
    return Contradiction("an answer that is not an event stream", (body.decode("utf-8", "replace"),))


async def _read_events(lines: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, str]]:
    """(data, id) of each event of a stream (WHATWG HTML, section 9.2.6), without comments and other fields. Raises
    Unreachable for an event without an end."""
    data, cursor, first = bytearray(), "", True
    async for line in lines:
        name, _, value = (line.removeprefix(_BOM) if first else line).partition(b":")
        value, first = value.removeprefix(b" "), False
        if not line:
            if data:
                yield bytes(data[:-1]), cursor
            data.clear()
        elif name == b"data":
            data += value + b"\n"
        elif name == b"id":
            cursor = value.decode("utf-8", "replace")
        if len(data) > _MAX_ANSWER:
            raise Unreachable("an event of the stream has no end")
