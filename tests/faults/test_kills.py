"""Processes that are killed, stopped and told to end while people act: nothing that they were told is taken back."""

import asyncio
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fault_injection import Prepared, Scene, scene

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("forked servers")]
Rounds = Callable[[int, int], int]


async def kill_while_they_act(it: Scene, chance: random.Random) -> None:
    """Everybody acts, the server is killed at some moment, and it is started again."""
    it.crowd.act()
    await it.acknowledges(5)
    await asyncio.sleep(chance.uniform(0, 0.1))
    it.serving.kill()
    await it.comes_back()


@pytest.mark.timeout(4 * 3600)
async def test_a_server_that_is_killed_has_all_that_it_acknowledged(
    prepared: Prepared, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    async with scene(prepared, tmp_path) as it:
        for _ in range(count := rounds(5, 300)):
            await kill_while_they_act(it, chance)
            assert it.ledger.holds, (it.ledger.lost, it.ledger.wrong)
        await it.holds(least=5 * count)
        print(f"{count} kills, {it.ledger.acknowledged} acts acknowledged")


async def test_the_harness_notices_a_server_that_answers_before_it_commits(
    prepared: Prepared, tmp_path: Path, chance: random.Random
) -> None:
    async with scene(prepared, tmp_path, "it answers before it commits") as it:
        it.serving.armed.touch()
        for _ in range(4):
            await kill_while_they_act(it, chance)
            if not it.ledger.holds:
                return
    raise AssertionError("nobody noticed")


async def test_a_server_that_stands_still_for_a_while_goes_on(
    prepared: Prepared, tmp_path: Path, rounds: Rounds
) -> None:
    async with scene(prepared, tmp_path) as it:
        it.crowd.act()
        await it.acknowledges(5)
        it.serving.send(signal.SIGSTOP)
        await asyncio.sleep(rounds(1, 30))
        it.serving.send(signal.SIGCONT)
        await it.acknowledges(5)
        await it.holds(least=10)


async def test_a_server_that_is_told_to_end_under_load_ends_in_order(
    prepared: Prepared, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    async with scene(prepared, tmp_path) as it:
        for _ in range(rounds(2, 30)):
            it.crowd.act()
            await it.acknowledges(5)
            await asyncio.sleep(chance.uniform(0, 0.1))
            assert await asyncio.to_thread(it.serving.end) == 0
            await it.comes_back()
        await it.holds(least=10)
