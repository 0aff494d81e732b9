"""Disks that are full, and writes and syncs that fail, under a server while people act."""

import asyncio
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from comity_server import logging
from comity_server.data_dir import STORE
from support.fault_injection import Prepared, a_disk, failing, scene

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("forked servers")]
Rounds = Callable[[int, int], int]


@pytest.mark.timeout(4 * 3600)
async def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_kept_and_it_goes_on_once_there_is_room(
    prepared: Prepared, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    with a_disk(tmp_path) as disk:
        async with scene(prepared, disk.at) as it:
            stopped = 0
            for number in range(count := rounds(2, 30)):
                it.crowd.act()
                await it.acknowledges(5)
                with disk.full():
                    await asyncio.sleep(chance.uniform(0.3, 1.0))
                    before = it.ledger.acknowledged
                    await asyncio.sleep(0.2)
                    # Room that the write-ahead log has already is used again, so not every full disk stops it.
                    stopped += it.ledger.acknowledged == before
                    if number % 2:
                        it.serving.kill()
                # One that was not killed goes on by itself.
                await it.comes_back()
                assert it.ledger.holds, (it.ledger.lost, it.ledger.wrong)
            await it.holds(least=5 * count)
            assert stopped
            print(f"{count} full disks, which stopped it {stopped} times, {it.ledger.acknowledged} acts acknowledged")


@pytest.mark.timeout(4 * 3600)
async def test_where_a_write_or_a_sync_fails_or_kills_it_nothing_acknowledged_is_lost(
    prepared: Prepared, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    async with scene(prepared, tmp_path) as it:
        wal, head = it.serving.folder / f"{STORE}-wal", it.serving.folder / "log.head"
        places = (("pwrite64", wal), ("fdatasync", wal), ("pwrite64", head))
        for number in range(count := rounds(3, 90)):
            how = ("error=EIO", "error=ENOSPC", "signal=KILL")[number % 3]
            calls, file = chance.choice(places)
            how_often, pid = f"{how}:when={chance.randint(1, 12)}", it.serving.process.pid
            with failing(pid, calls, how_often, tmp_path / "traced", file) as failures:
                it.crowd.act()
                await failures.come()
                await asyncio.sleep(0.2)
                await it.crowd.pause()
            # Whatever it does after a failure, an operator starts it again, and all is there.
            it.serving.kill()
            await it.comes_back()
            assert it.ledger.holds, (how, calls, file.name, it.ledger.lost, it.ledger.wrong)
        await it.holds(least=count)
        print(f"{count} failures, {it.ledger.acknowledged} acts acknowledged")


def test_a_log_line_for_which_there_is_no_room_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is lost; were it raised where a failed group is logged, nothing would be written ever after."""
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", full)
            logging.configure("json")
            logging.logger().error("group_failed", count=1)
    finally:
        logging.configure()
        # What it could not write is still in it.
        with suppress(OSError):
            full.close()
