"""Connections that nobody uses keep out nobody: not at the limit of an address, of the server, or of the system."""

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from comity.http_api import INBOX
from comity_server import http_server
from comity_server import logging as logs
from comity_server.limits.descriptors import OWN
from comity_server.logging import Repeated
from support.world import World, a_world, eventually, free_port

COMITY = Path(sys.executable).with_name("comity")


@asynccontextmanager
async def idle(world: World, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections of one who sends nothing."""
    opened = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(count)]
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


async def test_mia_revokes_from_an_address_that_has_used_up_its_share_with_idle_connections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_world(tmp_path, max_connections=64) as world:
        pair = await world.shop_and_customer()
        logs.configure("json")
        async with idle(world, 60) as readers:
            assert len(world.server.sockets) < 16
            waiting = asyncio.create_task(pair.seen("first"))
            assert (await world.act(pair.compose("second", "revoke"))).status == 200
            assert (await waiting).status == 200
            assert await asyncio.wait_for(readers[0].read(), 20) == b"", (
                "the one that was silent for longest goes first"
            )
        (line,) = [line for line in lines_of(capsys.readouterr().err) if str(line["event"]).startswith("connections")]
        assert line["event"] == "connections_closed_early", "once in a minute"
        metrics = (await world.send("GET", "/metrics")).body.decode()
        assert "comity_connections " in metrics


async def test_near_the_limit_silent_ones_go_and_whoever_waits_for_news_stays(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_connections=64, trusted_proxies="127.0.0.1") as world:
        pair = await world.shop_and_customer()
        cursor = (await pair.news("first"))["cursor"]
        waiting = asyncio.create_task(pair.news("first", cursor, wait=30))

        async def waits() -> bool:
            return len(world.server.broker) == 1

        await eventually(waits)
        async with idle(world, 200):
            assert 8 <= len(world.server.sockets) <= 64
            await pair.go("second", "mute")
            assert len((await asyncio.wait_for(waiting, 20))["items"]) == 1


async def test_an_address_that_keeps_its_share_busy_is_refused_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_world(tmp_path, max_connections=64) as world:
        pair = await world.shop_and_customer()
        cursor = (await pair.news("first"))["cursor"]
        logs.configure("json")
        path = f"{INBOX}?wait=30&cursor={cursor}"
        waiting = [asyncio.create_task(world.read(pair.signers["first"], path)) for _ in range(20)]

        async def some_are_refused() -> bool:
            return any(task.done() for task in waiting)

        await eventually(some_are_refused)
        results = [task.exception() for task in waiting if task.done()]
        assert all(isinstance(error, aiohttp.ClientConnectionError) for error in results), results
        assert "connections_refused" in capsys.readouterr().err
        assert world.server.sockets.admit(_Other(), "192.0.2.7"), "another address finds room"
        await world.stop()
        await asyncio.gather(*waiting, return_exceptions=True)
        await world.start()


async def test_a_client_who_asks_for_much_and_reads_nothing_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "READ_WITHIN", 0.2)
    async with a_world(tmp_path) as world:
        pages = [path for path in await docs(world) if path.endswith(".js")]
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for path in pages * 20:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        async def is_gone() -> bool:
            return len(world.server.sockets) <= 1

        async def is_there() -> bool:
            return len(world.server.sockets) == 2

        await eventually(is_there)
        await eventually(is_gone)
        writer.close()


async def docs(world: World) -> list[str]:
    """The files of the pages for engineers."""
    page = (await world.send("GET", "/docs")).body.decode()
    return re.findall(r'(?:src|href)="(/docs/[^"]+)"', page)


class _Other:
    """A connection from elsewhere, which this machine cannot make."""

    def is_silent(self) -> bool:
        return False

    def hang_up(self) -> None:
        raise AssertionError("it was used")


def limited(soft: int, hard: int, *command: str) -> list[str]:
    """The command line of a process that may open so many files."""
    return ["/bin/sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh", str(COMITY), *command]


def environment(tmp_path: Path) -> dict[str, str]:
    return {"COMITY_DATA": str(tmp_path / "data"), "COMITY_PORT": str(free_port()), "PATH": "/usr/bin:/bin"}


def test_a_server_raises_its_limit_of_descriptors_by_itself(tmp_path: Path) -> None:
    with subprocess.Popen(
        limited(128, 8000, "serve"), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None and child.stdout.readline().startswith(b"Comity serves")
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        child.send_signal(signal.SIGTERM)
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) == 6144 + OWN


@pytest.mark.parametrize("command", [["serve"], ["witness", "--port", "0"]])
def test_where_the_system_allows_too_few_the_start_is_refused_in_one_sentence(
    tmp_path: Path, command: list[str]
) -> None:
    done = subprocess.run(
        limited(1000, 1000, *command),
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    assert "file descriptors, and the system allows 1000: raise its hard limit" in done.stderr
    assert ("COMITY_MAX_CONNECTIONS to 744 or less" in done.stderr) == (command == ["serve"])


def test_an_event_a_thousand_times_a_second_is_logged_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    now = 0.0
    refused = Repeated("connections_refused", clock=lambda: now)
    for _ in range(1000):
        refused.note()
    now = 61.0
    refused.note()
    for _ in range(1000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource")
    lines = lines_of(capsys.readouterr().err)
    assert [(line["event"], line["count"]) for line in lines] == [
        ("connections_refused", 1),
        ("connections_refused", 1000),
        ("library:asyncio", 1),
    ]
