"""What an operator is told of a server that cannot do all of its work, and that it goes on by itself (operator.md)."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from comity.errors import CODES
from comity_server import logging
from comity_server.conditions import CONDITIONS, Conditions
from comity_server.log.sequencer import Sequencer
from comity_server.store import sqlite
from comity_tools.cli import main
from support.child_server import ChildWorld
from support.conditions import becomes, said, standing
from support.spec_pages import table
from support.witness_logs import Puppet, plant
from support.world import World, a_world, eventually, head_file_not_to_be_written

COMITY = [sys.executable, "-m", "comity_tools"]
ROOM = 6 * 1024 * 1024
"""Bytes of the small disk."""


async def gauge(world: World, condition: str) -> float:
    metrics = (await world.send("GET", "/metrics")).body.decode()
    (line,) = [line for line in metrics.splitlines() if line.startswith(f'comity_condition{{condition="{condition}"}}')]
    return float(line.split()[-1])


def test_the_page_says_what_the_code_does() -> None:
    """OPS-1, OPS-3."""
    rows = table("operator", "condition", "stops", "code", "what it is", "what ends it")
    assert [(name, stops == "yes") for name, stops, *_ in rows] == [(it, CONDITIONS[it].stops) for it in CONDITIONS]
    codes = {code for _, _, code, *_ in rows if code != "none"} | {"overloaded"}
    assert codes == {code for code, it in CODES.items() if it.status == 503}


# --- a full disk


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own under that folder, which can be filled."""
    folder.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no disk can be made here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no room at all on the disk of that folder."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(b"\x00" * size)
            except OSError:
                size //= 2
    return filler


@asynccontextmanager
async def on_a_small_disk(folder: Path) -> AsyncIterator[ChildWorld]:
    world = ChildWorld(folder, {})
    with small_disk(folder / "data"):
        try:
            await world.start()
            yield world
        finally:
            await world.close()


async def says_that_the_disk_is_full(folder: Path) -> None:
    async with on_a_small_disk(folder) as world:
        pair = await world.shop_and_customer("care")
        mute, revoke = pair.compose("second", "mute"), pair.compose("second", "revoke")
        filler = fill(folder / "data")
        for act in (mute, revoke) * 20:
            reply = await world.act(act)
            assert reply.code == "disk_full" and int(reply.headers["Retry-After"]) > 0
            assert set(reply.json) == {"type", "title", "status", "code", "request_id"}, "it tells too much"
        causes = await becomes(world, 503, "disk_full")
        assert causes == {"disk_full": "the store reports SQLITE_FULL"}
        assert await gauge(world, "disk_full") == 1
        assert (await world.send("GET", "/healthz")).status == 200
        assert (await pair.seen("second")).status == 200, "what can be read is not answered"
        code, told = await status(world)
        assert code == 1 and "free space on the disk" in told
        filler.unlink()
        # Nobody writes; it finds out by itself.
        await becomes(world, 200)
        assert (await world.act(revoke)).status == 200
        assert await status(world) == (0, "The server has no problems.\n")
        (began,), (ended,) = (said(world.log(), event, "disk_full") for event in ("condition_began", "condition_ended"))
        assert began["reason"] == "the store reports SQLITE_FULL" and "free space" in began["cure"]
        assert ended["seconds"] >= 0
        failed = [line for line in world.log().splitlines() if '"level":"error"' in line.replace(" ", "")]
        assert len(failed) == 2, "each request that met it was logged"
        await world.stop()
        fill(folder / "data")
        await does_not_start(world)


async def status(world: World) -> tuple[int, str]:
    """What the operator's command says."""
    done = await asyncio.to_thread(invoke, "status", "--data", str(world.folder / "data"))
    return done.exit_code, done.output


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


async def test_a_full_disk_is_said_once_and_the_server_goes_on_by_itself(tmp_path: Path) -> None:
    """OPS-1, OPS-2, OPS-3."""
    await says_that_the_disk_is_full(tmp_path)


async def does_not_start(world: World) -> None:
    environment = {f"COMITY_{name.upper()}": str(value) for name, value in world.settings().items()}
    process = await asyncio.create_subprocess_exec(
        *COMITY, "serve", env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE
    )
    _, output = await asyncio.wait_for(process.communicate(), 30)
    told = output.decode()
    assert process.returncode == 1 and "Traceback" not in told and "fsck" not in told
    assert re.search(r"^Error: .*free space on the disk of the data folder.*Nothing is lost", told, re.MULTILINE), told


# --- what is not signed


async def test_a_head_file_that_cannot_be_written_is_told_and_ends_by_itself(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        with head_file_not_to_be_written(world):
            await pair.go("second", "mute")
            causes = await becomes(world, 503, "signing_failing")
            assert causes["signing_failing"].startswith("the head file cannot be written: ")
            await pair.go("second", "revoke")
        await becomes(world, 200)


async def test_signing_that_stopped_for_good_is_told_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_world(tmp_path) as world:
        logging.configure("json")
        pair = await world.shop_and_customer("care")
        world.server.logs.active.halt("entry 7 is missing")
        assert await becomes(world, 503, "signing_stopped") == {"signing_stopped": "entry 7 is missing"}
        assert await gauge(world, "signing_stopped") == 1 and await gauge(world, "disk_full") == 0
        await pair.go("second", "revoke")
        for _ in range(3):
            await standing(world)
        (began,) = said(capsys.readouterr().err, "condition_began", "signing_stopped")
        assert began["level"] == "error" and began["reason"] == "entry 7 is missing"


# --- what stops nothing


async def test_a_witness_that_is_away_is_told_and_makes_nobody_wait(tmp_path: Path) -> None:
    witness = Puppet("w.example")
    witness.answers = witness.fails
    async with witness.listening() as told, a_world(tmp_path, witnesses=told) as world:
        world.at(time.time_ns() // 1_000_000)
        pair = await world.connect(world.person(), world.person())
        await pair.go("first", "mute")
        assert await becomes(world, 200, "witness_away") == {"witness_away": "w.example: status_503"}
        witness.answers = witness.signs
        await pair.go("second", "mute")
        await becomes(world, 200)


async def test_a_sender_of_webhooks_that_ends_is_told_until_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(tmp_path) as world:
        world.server.webhooks._wanted.set()

        async def runs() -> bool:
            return world.server.webhooks.pid is not None

        await eventually(runs, 10)
        pid = world.server.webhooks.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        causes = await becomes(world, 200, "webhooks_stopped")
        assert causes == {"webhooks_stopped": "the process that sends webhooks ended with status -9"}
        await becomes(world, 200)


async def test_connections_for_which_there_was_no_room_are_told_for_a_minute(world: World) -> None:
    world.server.sockets._refused_at = time.monotonic() - 50
    assert (await standing(world))[1].keys() == {"connections_full"}
    world.server.sockets._refused_at = time.monotonic() - 61
    assert await standing(world) == (200, {})


# --- a store that fails otherwise


async def test_a_store_that_cannot_be_written_says_so_and_is_tried_until_it_can(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = await world.shop_and_customer("care")
    logging.configure("json")

    def fail(*_arguments: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error: /secret/path")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_commit", fail)
        for _ in range(30):
            assert (await world.act(pair.compose("second", "revoke"))).code == "store_failing"
        assert await becomes(world, 503, "store_failing") == {"store_failing": "the store reports OperationalError"}
    await becomes(world, 200)
    told = capsys.readouterr().err
    assert len([line for line in told.splitlines() if "StoreFailed" in line or "store_failing" in line]) == 3, told
    assert "/secret/path" not in told


# --- defects that must be noticed


async def test_a_server_that_waits_for_somebody_to_write_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, Conditions, "_run", ("await self._try_again()", "pass"))
    monkeypatch.setattr("support.conditions.WITHIN", 3.0)
    async with a_world(tmp_path) as world:
        with pytest.raises((AssertionError, TimeoutError)), monkeypatch.context() as patch:
            await test_a_store_that_cannot_be_written_says_so_and_is_tried_until_it_can(world, patch, capsys)


async def test_a_condition_that_is_logged_each_time_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, Conditions, "look", ("if name not in self._standing:", "if True:"))
    with pytest.raises(ValueError, match="too many values"):
        await test_signing_that_stopped_for_good_is_told_with_its_cause(tmp_path, capsys)


async def test_a_failure_of_signing_that_is_forgotten_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_run", "_sync"):
        plant(monkeypatch, Sequencer, name, ("self.failing = _why(fault)", "pass"))
    monkeypatch.setattr("support.conditions.WITHIN", 3.0)
    with pytest.raises((AssertionError, TimeoutError)):
        await test_a_head_file_that_cannot_be_written_is_told_and_ends_by_itself(tmp_path)
