"""Those who hold on to a server and do little: idle streams, half-sent requests, readers who read nothing. They keep
nobody else waiting, cost a bounded amount, and are let go."""

import asyncio
import random
import resource
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from comity.crypto.http_signatures import sign_request
from comity.http_api import EVENT_STREAM, INBOX
from comity_tools.bench.processes import memory_of
from comity_tools.soak.verification import now
from support.fault_injection import Prepared, Scene, scene

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("forked servers")]
Rounds = Callable[[int, int], int]
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
A_STREAM = 0.1
"""MiB that a stream may cost."""


async def line(it: Scene, stack: AsyncExitStack) -> Line:
    """A connection to the server, which is closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.serving.port)
    stack.callback(writer.close)
    return reader, writer


def wanting_news(it: Scene, number: int) -> bytes:
    """A request for an event stream."""
    side = it.crowd.sides[number % len(it.crowd.sides)]
    url, nonce = it.serving.origin + INBOX, f"stream-{number:020}"
    signed = sign_request("GET", url, side.signer, now() // 1000, nonce, None)
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    host = f"Host: localhost:{it.serving.port}\r\nAccept: {EVENT_STREAM}\r\n"
    return f"GET {INBOX} HTTP/1.1\r\n{host}{headers}\r\n".encode()


async def acts_go_on(it: Scene) -> None:
    """People are answered meanwhile."""
    it.crowd.act()
    await it.acknowledges(20)
    await it.crowd.pause()


async def test_many_idle_streams_are_in_nobody_s_way(prepared: Prepared, tmp_path: Path, rounds: Rounds) -> None:
    count = rounds(300, 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 6 * count  # one address has a fifth of them
    if hard < most + 512:
        pytest.skip(f"the system allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 512), hard))
    limits = {"max_connections": str(most), "max_waiters": str(10 * count)}
    async with scene(prepared, tmp_path, **limits) as it, AsyncExitStack() as stack:
        await asyncio.sleep(1.1)  # what is signed in the second of the start is refused
        before = memory_of(it.serving.process.pid)
        lines = [await line(it, stack) for _ in range(count)]
        for number, (reader, writer) in enumerate(lines):
            writer.write(wanting_news(it, number))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), (number, head)
        await acts_go_on(it)
        grown = memory_of(it.serving.process.pid) - before
        assert grown < 40 + A_STREAM * count
        assert not any(reader.at_eof() for reader, _ in lines)
        await it.holds()


async def test_half_a_header_half_a_body_and_readers_of_nothing_keep_nobody_waiting(
    prepared: Prepared, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    async with scene(prepared, tmp_path, body_timeout="1") as it, AsyncExitStack() as stack:
        await asyncio.sleep(1.1)
        count = rounds(20, 100)
        headers = [await line(it, stack) for _ in range(count)]
        bodies = [await line(it, stack) for _ in range(count)]
        readers = [await line(it, stack) for _ in range(count)]
        for _, writer in headers:
            writer.write(b"POST /v1/acts HTTP/1.1\r\nHost: localhost\r\nContent-Ty"[: chance.randint(1, 50)])
        for _, writer in bodies:
            writer.write(b"POST /v1/acts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jwt\r\n")
            writer.write(b"Content-Length: 3000\r\n\r\neyJ")
        for _, writer in readers:
            # Far more is asked for than a socket holds, and nothing of it is read.
            writer.write(b"GET /docs/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 30)
        before = memory_of(it.serving.process.pid)
        await acts_go_on(it)
        for reader, _ in bodies:
            head = await asyncio.wait_for(reader.read(100), 20)
            assert head.startswith(b"HTTP/1.1 408")
        assert memory_of(it.serving.process.pid) - before < 100
        await it.holds()
