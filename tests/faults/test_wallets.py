"""A wallet's process that is killed, and a wallet's disk that fails, while it acts: what it said was accepted is in its
file, what it signed is sent again, nothing twice, nothing by a lost key."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from comity.client import Connection, Wallet
from comity.rules.state import public_state
from support.fault_injection import a_disk, failing
from support.forked_wallets import WalletProcess, on_a_disk
from support.sdk_world import IDENTITY, TERMS, SdkWorld, sdk_world

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("forked servers")]
Rounds = Callable[[int, int], int]


class Pair:
    """A shop, and Mia, whose wallet is worked with elsewhere."""

    def __init__(self, world: SdkWorld, ours: Connection) -> None:
        self.world = world
        self.ours = ours
        self.said = 0
        """Acts that her processes said were accepted."""

    @classmethod
    async def of(cls, world: SdkWorld) -> "Pair":
        """A connection in which Mia granted care."""
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, _ = await world.connect(shop, mia, "care")
        await mia.close()
        return cls(world, ours)

    async def is_whole(self, said: list[str], *, in_the_file: bool = True) -> bool:
        """Whether all that was said is there, in her file or at least after she has read her news, and both ends
        agree again with nothing left to be sent."""
        self.said += len(said)
        mia = await self.world.reopened("mia")
        (theirs,) = mia.connections()
        was_kept = set(said) <= acts_of(theirs)
        await theirs.sync()
        is_there = set(said) <= acts_of(theirs) and (was_kept or not in_the_file)
        await self.ours.sync()
        agree = public_state(self.ours.state) == public_state(theirs.state)
        left = mia._session.records.file.table("unsent")
        assert not mia.damaged_copies
        await mia.close()
        return is_there and agree and not left


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """A connected shop and Mia on a running server; her wallet is closed."""
    async with sdk_world(tmp_path) as world:
        yield await Pair.of(world)


def acts_of(party: Connection) -> set[str]:
    """The ids of the acts that a wallet has of a connection."""
    return {line.act.id for line in party.records if line.act is not None}


@pytest.mark.timeout(4 * 3600)
async def test_killed_in_the_middle_of_its_acts_both_ends_agree_again(
    pair: Pair, rounds: Rounds, chance: random.Random
) -> None:
    for _ in range(count := rounds(4, 200)):
        child = WalletProcess(pair.world, "mia", "acts", IDENTITY)
        await child.notes_so_many(4)
        await asyncio.sleep(chance.uniform(0, 0.03))
        child.kill()
        assert await pair.is_whole(child.said)
    print(f"{count} kills, {pair.said} acts said to be accepted")
    assert pair.said >= 3 * count


@pytest.mark.parametrize("defect", ["it acknowledges before it writes"])
async def test_the_harness_notices_a_wallet_that_promises_more_than_it_keeps(pair: Pair, defect: str) -> None:
    for _ in range(3):
        child = WalletProcess(pair.world, "mia", "acts", IDENTITY, defect=defect)
        await child.notes_so_many(4)
        child.kill()
        if not await pair.is_whole(child.said):
            return
    raise AssertionError("nobody noticed")


async def test_killed_while_connecting_no_half_is_signed_by_a_lost_key(
    tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        await mia.close()
        for _ in range(rounds(4, 40)):
            link = await shop.offer(world.base, [TERMS], ["care"])
            child = WalletProcess(world, "mia", "accepts", IDENTITY, link)
            await child.notes_so_many(1)
            await asyncio.sleep(chance.uniform(0, 0.08))
            child.kill()
            mia = await world.reopened("mia")
            await can_go_on(shop, mia)
            await mia.close()


async def can_go_on(shop: Wallet, mia: Wallet) -> None:
    """Every half that the shop was sent is of a connection that Mia's wallet has the key of."""
    known = {party.cid for party in mia.connections()}
    for proposal in await shop.proposals():
        assert proposal.cid in known
        ours = await proposal.countersign()
        theirs = await mia.connection(proposal.cid).wait_until_open(timeout=20)
        await theirs.grant(["care"])
        await ours.sync()
        assert ours.may("care").decision == "allow"


async def cut_power_while_it_acts(pair: Pair, folder: Path, count: int, chance: random.Random, defect: str) -> bool:
    """Whether all is whole after each of so many power cuts."""
    with a_disk(folder) as disk, on_a_disk(pair.world, "mia", disk.at):
        for _ in range(count):
            child = WalletProcess(pair.world, "mia", "acts", IDENTITY, defect=defect)
            await child.notes_so_many(3)
            await asyncio.sleep(chance.uniform(0, 0.1))
            child.kill()
            disk.cut_power()
            said = child.said
            disk.power_on()
            if not await pair.is_whole(said):
                return False
    return True


@pytest.mark.timeout(4 * 3600)
async def test_a_power_cut_takes_nothing_that_it_said(
    pair: Pair, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    count = rounds(2, 60)
    assert await cut_power_while_it_acts(pair, tmp_path, count, chance, "")
    print(f"{count} power cuts, {pair.said} acts said to be accepted")


async def test_the_harness_notices_a_wallet_that_does_not_sync(
    pair: Pair, tmp_path: Path, chance: random.Random
) -> None:
    assert not await cut_power_while_it_acts(pair, tmp_path, 3, chance, "it does not sync")


async def test_on_a_full_disk_it_says_so_and_goes_on_once_there_is_room(
    pair: Pair, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    with a_disk(tmp_path) as disk, on_a_disk(pair.world, "mia", disk.at):
        for _ in range(count := rounds(2, 30)):
            child = WalletProcess(pair.world, "mia", "acts", IDENTITY)
            await child.notes_so_many(3)
            with disk.full():
                async with asyncio.timeout(30):
                    while child.is_running:
                        await asyncio.sleep(0.01)
                assert "No space left on device" in child.notes[-1]
            assert await pair.is_whole(child.said, in_the_file=False)
        print(f"{count} full disks, {pair.said} acts said to be accepted")


@pytest.mark.timeout(4 * 3600)
async def test_where_a_write_or_a_sync_fails_or_kills_it_all_is_whole_when_it_is_opened_again(
    pair: Pair, tmp_path: Path, rounds: Rounds, chance: random.Random
) -> None:
    for number in range(count := rounds(3, 90)):
        child = WalletProcess(pair.world, "mia", "acts", IDENTITY)
        await child.notes_so_many(2)
        how = ("error=EIO", "error=ENOSPC", "signal=KILL")[number % 3]
        calls = chance.choice(("pwrite64", "fdatasync"))
        how_often = f"{how}:when={chance.randint(1, 9)}"
        with failing(child.pid, calls, how_often, tmp_path / "traced", pair.world.folder / "mia") as failures:
            await failures.come()
            await asyncio.sleep(0.2)
        # A mark behind a frame need not be written: of that alone a wallet does not end.
        child.kill()
        assert await pair.is_whole(child.said, in_the_file=how == "signal=KILL"), (how, calls)
    print(f"{count} failures, {pair.said} acts said to be accepted")
