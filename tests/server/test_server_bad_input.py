"""What no honest wallet sends: each is refused in its own words, nothing changes, and the log stays clean."""

import asyncio
import gzip
import json
from typing import Any

import base58
import pytest

from comity.crypto.jws import sign_jws
from comity.documents.acts import ACT_TYP
from comity.encoding import b64u_encode, dump_json
from comity.http_api import (
    ACTS,
    AGREEMENTS,
    CONNECTIONS,
    EVENT_STREAM,
    INBOX,
    JSON,
    JSON_LINES,
    JWT,
    OFFERS,
    PROBLEM,
    RECORDS,
    STATUS_INDEXES,
)
from comity.rules.next_act import blind_revoke, compose_act
from comity.rules.state import encode_state
from support.world import Pair, Reply, World, a_world


async def unchanged(pair: Pair) -> bool:
    """Whether the server's state of the connection is still the one that its acts made."""
    stored = await pair.world.server.store.state(pair.cid)
    return stored is not None and stored.state == encode_state(pair.state)


def header(**members: Any) -> str:
    return b64u_encode(dump_json(members))


async def test_acts_that_are_none_are_refused_and_change_nothing(world: World) -> None:
    pair = await world.shop_and_customer("care")
    raw = pair.compose("second", "remember", key="name").raw
    head, payload, signature = raw.split(".")
    kid = pair.signers["second"].kid
    members = json.loads(pair.compose("second", "remember", key="name").payload.to_json())
    jwk = pair.signers["second"].key.public.jwk(kid)
    point = "z" + base58.b58encode(b"\xed\x01\x01" + bytes(31)).decode()
    low_order = f"did:key:{point}#{point}"
    cases: dict[str, str | bytes] = {
        "no text": b"",
        "a text of one part": b"abc",
        "a text of four parts": f"{raw}.x",
        "padding": f"{head}.{payload}=.{signature}",
        "not base64url": f"{head}.{payload}+.{signature}",
        "not UTF-8": b"\xff\xfe" + raw.encode(),
        "alg none": f"{header(alg='none', typ='comity-act+jwt', kid=kid)}.{payload}.",
        "alg HS256": f"{header(alg='HS256', typ='comity-act+jwt', kid=kid)}.{payload}.{signature}",
        "a key in the header": f"{header(alg='EdDSA', typ='comity-act+jwt', kid=kid, jwk=jwk)}.{payload}.{signature}",
        "another type": f"{header(alg='EdDSA', typ='JWT', kid=kid)}.{payload}.{signature}",
        "a signature too short": f"{head}.{payload}.{signature[:-4]}",
        "a low-order key": f"{header(alg='EdDSA', typ='comity-act+jwt', kid=low_order)}.{payload}.{signature}",
    }
    for name, body in cases.items():
        reply = await world.send("POST", ACTS, body if isinstance(body, bytes) else body.encode(), JWT)
        assert reply.code in ("malformed", "bad_signature", "unknown_key"), (name, reply)
    signed: dict[str, bytes] = {
        "a member too many": dump_json({**members, "x": 1}),
        "a member too few": dump_json({name: value for name, value in members.items() if name != "key"}),
        "a member twice": dump_json(members)[:-1] + b',"key":"name"}',
        "NaN": dump_json(members)[:-1] + b',"x":NaN}',
        "an integer too big": dump_json({**members, "iat": 2**53}),
        "a number for a text": dump_json({**members, "key": 1}),
        "a float for an integer": dump_json({**members, "seq": 1.0}),
        "too deep": dump_json(members)[:-1] + b',"x":' + b"[" * 40 + b"]" * 40 + b"}",
        "a lone surrogate": dump_json(members)[:-1] + b',"x":"\\ud800"}',
        "a byte order mark": b"\xef\xbb\xbf" + dump_json(members),
        "an array": dump_json([members]),
        "an unknown act": dump_json({**members, "act": "erase"}),
        "null": dump_json({**members, "topic": None}),
    }
    for name, text in signed.items():
        reply = await world.send("POST", ACTS, sign_jws(text, ACT_TYP, pair.signers["second"]).encode(), JWT)
        assert reply.code == "malformed", (name, reply)
        assert b"erase" not in reply.body
    assert await unchanged(pair)


async def test_a_wrong_signature_is_the_same_whether_the_connection_exists_or_not(world: World) -> None:
    pair = await world.shop_and_customer("care")
    raw = pair.compose("second", "remember", key="name").raw
    head, payload, signature = raw.split(".")
    forged = f"{head}.{payload}.{b64u_encode(bytes(64))}"
    members = json.loads(pair.compose("second", "remember", key="name").payload.to_json())
    elsewhere = b64u_encode(dump_json({**members, "cid": "A" * 43}))
    one = await world.send("POST", ACTS, forged.encode(), JWT)
    two = await world.send("POST", ACTS, f"{head}.{elsewhere}.{signature}".encode(), JWT)
    assert one.code == "bad_signature"
    assert one.plain == two.plain


async def test_sizes_are_looked_at_first(world: World) -> None:
    pair = await world.shop_and_customer("care")
    assert (await world.send("POST", ACTS, b"a" * 65_537, JWT)).code == "too_large"
    assert (await world.send("POST", OFFERS, b"a" * 65_537, JWT)).code == "too_large"
    assert (await world.send("POST", ACTS, b"a" * (8 * 1024 * 1024 + 1), JSON_LINES)).code == "too_large"
    assert (await world.send("POST", ACTS, b"a\n" * 1001, JSON_LINES)).code == "too_large"
    lines = (await world.send("POST", ACTS, b"a" * 65_537 + b"\n\n", JSON_LINES)).body.splitlines()
    assert [json.loads(line)["code"] for line in lines] == ["too_large", "malformed"]
    assert (await world.send("POST", ACTS, b"", JSON_LINES)).body == b""
    assert await unchanged(pair)


@pytest.mark.parametrize(
    ("method", "path", "kind", "code"),
    [
        ("POST", ACTS, None, "unsupported_media_type"),
        ("POST", ACTS, "text/plain", "unsupported_media_type"),
        ("POST", OFFERS, JSON, "unsupported_media_type"),
        ("PUT", f"{AGREEMENTS}/{'A' * 43}", JWT, "unsupported_media_type"),
        ("PATCH", ACTS, JWT, "method_not_allowed"),
        ("GET", OFFERS, None, "method_not_allowed"),
        ("POST", "/v2/acts", JWT, "not_found"),
        ("GET", "/v1/", None, "not_found"),
        ("GET", "/b/%2e%2e/did.json", None, "not_found"),
        ("GET", "/b/nobody/did.json", None, "not_found"),
        ("GET", "/i/nothing", None, "not_found"),
        ("POST", STATUS_INDEXES, JSON, "signature_required"),
        ("GET", f"{INBOX}?wait=x", None, "signature_required"),
    ],
)
async def test_every_wrong_turn_ends_in_a_problem(
    world: World, method: str, path: str, kind: str | None, code: str
) -> None:
    reply = await world.send(method, path, b"x" if method != "GET" else b"", kind)
    assert reply.code == code
    assert reply.json["type"] == f"urn:comity:problem:{code}"


async def raw_exchange(world: World, *parts: bytes, pause: float = 0.0, seconds: float = 8.0) -> bytes:
    """Send these bytes and read until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(seconds):
            return await reader.read()
    finally:
        writer.close()


async def test_half_a_body_and_silence_is_cut_off(tmp_path: Any) -> None:
    async with a_world(tmp_path, body_timeout=0.5) as world:
        head = b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\nContent-Length: 500\r\n\r\n"
        answer = await raw_exchange(world, head + b"abc", seconds=4)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert PROBLEM.encode() in answer
        chunked = (
            b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert (await raw_exchange(world, chunked + b"3\r\nabc\r\n", seconds=4)).startswith(b"HTTP/1.1 408 ")


async def test_half_a_head_and_silence_is_cut_off(tmp_path: Any) -> None:
    async with a_world(tmp_path, idle_timeout=0.5) as world:
        await raw_exchange(world, b"POST /v1/acts HTTP/1.1\r\nHost:", seconds=4)
        await raw_exchange(world, b"", seconds=4)


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_get_a_short_answer(
    world: World, junk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await raw_exchange(world, junk, seconds=5)
    assert answer.split()[1] == b"400"
    assert PROBLEM.encode() in answer
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_broken_chunk_is_the_clients_fault(tmp_path: Any) -> None:
    head = b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with a_world(tmp_path, body_timeout=0.5) as world:
        for rest in (b"zz\r\nabc\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"):
            for parts in ((head + rest,), (head, rest)):
                answer = await raw_exchange(world, *parts, pause=0.05, seconds=5)
                assert answer.split()[1] in (b"400", b"408"), answer


async def test_a_packed_body_is_not_unpacked_and_its_sender_is_told_so(world: World) -> None:
    packed = gzip.compress(b"a" * 10_000_000)
    mia = world.person()
    ways = [
        ("POST", ACTS, JWT), ("POST", ACTS, JSON_LINES), ("POST", RECORDS, JSON_LINES), ("POST", OFFERS, JWT),
        ("POST", f"{OFFERS}/{'A' * 12}/agreements", JSON), ("PUT", f"{AGREEMENTS}/{'A' * 43}", JSON),
        ("DELETE", f"{AGREEMENTS}/{'A' * 43}", JSON), ("POST", STATUS_INDEXES, JSON),
        ("POST", f"{CONNECTIONS}/{'A' * 43}/heads", JSON),
    ]  # fmt: skip
    for method, path, kind in ways:
        for coding in ("gzip", "GZIP", "identity, br"):
            reply = await world.send(method, path, packed, kind, headers={"Content-Encoding": coding})
            assert reply.code == "unsupported_media_type", (method, path, coding, reply)
            # So that a client library sends it once more, as it is.
            assert reply.headers["Accept-Encoding"] == "identity"
    other = await world.send("POST", ACTS, b"x", "text/plain")
    assert other.code == "unsupported_media_type" and "Accept-Encoding" not in other.headers
    plain = await world.send("POST", ACTS, b"", JSON_LINES, headers={"Content-Encoding": "identity"})
    assert plain.status == 200
    assert (await world.read(mia, INBOX)).status == 200


async def test_a_head_gets_the_headers_of_the_page_and_nothing_else(world: World) -> None:
    pair = await world.shop_and_customer("care")
    mia = pair.signers["second"]
    for path in (f"{CONNECTIONS}/{pair.cid}", INBOX, f"{INBOX}?stream=1"):
        reply = await world.read(mia, path, method="HEAD")
        assert (reply.status, reply.body) == (200, b""), path
    stream = await world.read(mia, f"{INBOX}?stream=1", method="HEAD")
    assert stream.headers["Content-Type"] == EVENT_STREAM
    for path in ("/healthz", "/.well-known/comity", "/log/checkpoint", "/.well-known/did.json"):
        asked, got = await world.send("HEAD", path), await world.send("GET", path)
        assert (asked.status, asked.body, asked.headers["Content-Type"]) == (200, b"", got.headers["Content-Type"])


async def test_a_wallet_gets_news_in_the_form_that_it_likes_best(world: World) -> None:
    pair = await world.shop_and_customer("care")
    mia = pair.signers["second"]
    for accept in (
        "text/event-stream;q=0",
        "application/json, text/event-stream;q=0.5",
        "text/*;q=0.1, */*",
        "x-text/event-streams",
    ):
        reply = await world.send("GET", INBOX, headers={**world.signature(mia, INBOX), "Accept": accept})
        assert reply.headers["Content-Type"].startswith(JSON), accept
    for accept in (
        "Text/Event-Stream",
        "application/json;q=0.5, text/event-stream",
        "text/event-stream; charset=utf-8",
    ):
        signed = world.signature(mia, INBOX, "HEAD")
        reply = await world.send("HEAD", INBOX, headers={**signed, "Accept": accept})
        assert reply.headers["Content-Type"] == EVENT_STREAM, accept


async def test_places_in_the_chain_that_do_not_fit_are_refused(world: World) -> None:
    pair = await world.shop_and_customer("care")

    async def code(**changes: Any) -> str:
        members = json.loads(pair.compose("second", "remember", key="name").payload.to_json())
        return (await world.act(compose_act(members.pop("act"), pair.signers["second"], **{**members, **changes}))).code

    assert await code(seq=7) == "seq_gap"
    assert await code(seq=0) == "seq_taken"
    assert await code(prev="A" * 43) == "prev_mismatch"
    assert await code(aud=world.person().did) == "wrong_audience"
    assert await code(cid="A" * 43) == "not_found"
    assert await unchanged(pair)
    old = pair.signers["second"]
    before = pair.compose("second", "remember", key="name")
    await pair.rotate("second", world.person())
    assert (await world.act(before)).code == "key_replaced"
    assert (await world.act(blind_revoke(pair.cid, pair.signers["first"].did, 0, old))).code == "key_replaced"
    assert await unchanged(pair)


async def test_a_grant_of_somebody_else_is_no_grant_here(world: World) -> None:
    pair = await world.shop_and_customer()
    made_up = world.person()
    members: dict[str, Any] = {
        "iss": made_up.did,
        "aud": pair.signers["first"].did,
        "iat": world.now() // 1000,
        "cid": pair.cid,
        "seq": 0,
        "prev": pair.cid,
        "exp": world.now() // 1000 + 86_400,
        "purposes": ("care",),
        "channels": ("app",),
        "status": {"status_list": await pair.index("second")},
    }
    assert (await world.act(compose_act("grant", made_up, **members))).code == "not_found"
    assert await pair.refused("first", "message") == "no_grant"


async def test_nothing_of_what_was_sent_wrongly_comes_back(world: World) -> None:
    reply: Reply = await world.send("POST", ACTS, b'{"secret":"blue"}', JWT)
    assert b"blue" not in reply.body
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"
