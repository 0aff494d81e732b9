"""Anything at all, to a server process: requests to every route that are nearly right never end in a 5xx."""

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from comity.documents.agreements import countersign
from comity.encoding import dump_json
from comity.http_api import ACTS, CONNECTIONS, INBOX, JSON, JSON_LINES, JWT, OFFERS, STATUS_INDEXES
from comity_server.api.wallets import add_routes
from support.child_server import ChildWorld, child_world
from support.world import Pair, eventually


def route_table() -> list[tuple[str, str]]:
    """Every (method, path) that the server has."""
    app = web.Application()
    add_routes(app)
    found = {(route.method, str(route.resource and route.resource.canonical)) for route in app.router.routes()}
    return sorted(found)


class Fuzz:
    """Valid requests to every route, each a little spoilt. The same ones on every run."""

    def __init__(self, world: ChildWorld, pair: Pair, seed: int) -> None:
        self.world = world
        self.pair = pair
        self.dice = random.Random(seed)

    async def valid(self, method: str, path: str) -> tuple[str, str, dict[str, str], bytes]:
        """A request that would be answered well: method, target, headers, body."""
        world, pair = self.world, self.pair
        shop, mia = pair.signers["first"], pair.signers["second"]
        offer = world.offer(shop)
        half = world.half(offer, shop, world.person())
        act = pair.compose("second", "remember", key=f"k{self.dice.randrange(10**6)}")
        ids = {"{cid}": pair.cid, "{list}": "1", "{name}": "shop-1", "{id}": offer.short}
        if path.startswith(ACTS):
            ids["{id}"] = act.id
        target = path
        for name, value in ids.items():
            target = target.replace(name, value)
        kind, body, signer = None, b"", None
        if (method, path) == ("POST", OFFERS):
            kind, body = JWT, offer.raw.encode()
        elif path.endswith("/agreements"):
            kind, body = JSON, half.raw
        elif method == "PUT":
            kind, body = JSON, countersign(half, shop).raw
        elif method == "DELETE":
            kind, body, signer = JSON, dump_json({"reason": "no_thanks", "silent": True}), shop
        elif (method, path) == ("POST", ACTS):
            kind, body = (
                (JWT, act.raw.encode()) if self.dice.random() < 0.5 else (JSON_LINES, f"{act.raw}\n".encode() * 3)
            )
        elif path == STATUS_INDEXES:
            kind, body, signer = JSON, dump_json({"cid": pair.cid}), mia
        elif path.startswith((CONNECTIONS, ACTS, INBOX)):
            signer = mia
        headers = {} if kind is None else {"Content-Type": kind}
        if signer is not None:
            headers |= {
                name.replace("_", "-"): it for name, it in world.signature(signer, target, method, body).items()
            }
        return method, target, headers, body

    def spoilt(self, request: tuple[str, str, dict[str, str], bytes]) -> tuple[str, str, dict[str, str], bytes]:
        """The request with one to three things wrong."""
        method, target, headers, body = request
        for _ in range(self.dice.choice((1, 1, 2, 3))):
            what = self.dice.choice(("method", "target", "target", "header", "header", "body", "body", "body", "body"))
            if what == "method":
                method = self.dice.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X"))
            elif what == "target":
                target = self._target(target)
            elif what == "header":
                headers = self._headers(dict(headers))
            else:
                body = self._body(body)
        return method, target, headers, body

    def _target(self, target: str) -> str:
        odd = (
            "%00",
            "%ff",
            "..",
            "%2e%2e",
            "%2F",
            "//",
            "?",
            "?wait=-1",
            "?wait=99999",
            "?cursor=%ff",
            "?a=b&a=c",
            "A" * 3000,
            "?cursor=" + "A" * 500,
            "%",
            "\u00e4",
            ";",
            "*",
            "/x",
            "?wait=0&stream=2",
        )
        at = self.dice.randrange(1, len(target) + 1)
        return self.dice.choice(
            (target + self.dice.choice(odd), target[:at] + self.dice.choice(odd) + target[at:], target[:at])
        )

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        odd = {
            "Content-Type": (
                "application/json",
                "application/jwt",
                "application/jsonl",
                "text/plain",
                "application/json; charset=x",
                "",
                "multipart/form-data; boundary=x",
                "a" * 3000,
            ),
            "Content-Encoding": ("gzip", "deflate", "br", "identity"),
            "Accept": ("*/*", "text/html", "q" * 3000, "application/json;q=x"),
            "Signature": ("", "comity=::", "comity=:AAAA:", "x=:AAAA:, comity=:AAAA:", "(" * 500, "comity=1", "\u00e4"),
            "Signature-Input": (
                "",
                "comity=()",
                'comity=("@method");created=x',
                'comity=("@method" "@target-uri");keyid="x"',
                "a" * 5000,
            ),
            "Content-Digest": ("", "sha-256=::", "sha-256=:AAAA:", "md5=:AA==:", "x"),
            "Last-Event-ID": ("", "x", "A" * 500),
            "If-None-Match": ("*", '"', "x" * 3000),
            "Range": ("bytes=0-1", "x"),
            "Expect": ("100-continue", "x"),
            "Host": ("", "elsewhere.example", "a" * 300),
        }
        if headers and self.dice.random() < 0.5:
            name = self.dice.choice(sorted(headers))
            value = headers.pop(name)
            if self.dice.random() < 0.7 and value:
                at = self.dice.randrange(len(value))
                headers[name] = value[:at] + self.dice.choice('"x;=,()0 ') + value[at + 1 :]
            return headers
        name = self.dice.choice(sorted(odd))
        headers[name] = self.dice.choice(odd[name])
        return headers

    def _body(self, body: bytes) -> bytes:
        odd = (
            b"\x00",
            b"\xff\xfe",
            b'{"a":1,"a":1}',
            b"null",
            b"[]",
            b'""',
            b"NaN",
            b"\n\n",
            b"..",
            b"[" * 2000,
            b"9" * 400,
            b'{"payload":"","signatures":[]}',
            b"\xed\xa0\x80",
            b"A" * 70_000,
        )
        if not body or self.dice.random() < 0.3:
            return self.dice.choice(odd)
        at, to = sorted((self.dice.randrange(len(body)), self.dice.randrange(len(body))))
        flipped = bytes([body[at] ^ (1 << self.dice.randrange(8))])
        return self.dice.choice(
            (
                body[:at],
                body[:at] + body[to:],
                body[:at] + flipped + body[at + 1 :],
                body + body[at:to],
                body[:at] + self.dice.choice(odd) + body[at:],
            )
        )


@pytest.mark.parametrize("seed", [1, 2])
async def test_valid_requests_a_little_spoilt_never_end_in_a_5xx(tmp_path: Path, seed: int) -> None:
    table = route_table()
    assert {("POST", ACTS), ("GET", INBOX), ("GET", "/status/{list}")} <= set(table)
    async with child_world(tmp_path, body_timeout=1.0) as world, aiohttp.ClientSession() as http:
        pair = await world.shop_and_customer("care")
        fuzz, bad, sent = Fuzz(world, pair, seed), [], 0

        async def one(request: tuple[str, str, dict[str, str], bytes]) -> None:
            nonlocal sent
            method, target, headers, body = request
            # What is accepted now and then is no fault; what hangs is a long poll or a stream.
            timeout = aiohttp.ClientTimeout(total=2.0)
            url = URL(world.origin + target, encoded=True)
            try:
                async with http.request(
                    method,
                    url,
                    headers=headers,
                    data=body or None,
                    timeout=timeout,
                    allow_redirects=False,
                    skip_auto_headers=["Content-Type"],
                ) as answer:
                    sent += 1
                    if answer.status >= 500 and not (answer.status == 503 and "Retry-After" in answer.headers):
                        bad.append((request, answer.status, await answer.text()))
            except (ValueError, aiohttp.ClientError, TimeoutError):
                # Not something that this client can send, or an answer that it does not take.
                return

        for _ in range(-(-760 // len(table))):
            wanted = [fuzz.spoilt(await fuzz.valid(method, path)) for method, path in table]
            await asyncio.gather(*map(one, wanted))
        assert not bad
        assert sent > 500

        async def is_well() -> bool:
            return (await pair.seen("second")).status == 200

        await eventually(is_well)
