"""A process that is killed while it acts: what it signed is sent again, nothing twice, nothing by a lost key."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from comity.state import public
from sdk_world import IDENTITY, TERMS, sdk_world

ACTS = """
import asyncio, sys, time
from comity.client import Wallet

async def main():
    path, identity, offset = sys.argv[1:4]
    clock = lambda: time.time_ns() // 1_000_000 + int(open(offset).read())
    async with Wallet.open(path, identity=identity, clock=clock) as mia:
        party = mia.connections()[0]
        print("ready", flush=True)
        n = 0
        while True:
            n += 1
            await party.remember(f"thing_{n % 5}", text="x" * (n % 900))
            if n % 7 == 0:
                await party.mute(hours=1)
            print(party.state.second.head, flush=True)

asyncio.run(main())
"""

CONNECTS = """
import asyncio, sys, time
from comity.client import Wallet

async def main():
    path, identity, offset, link = sys.argv[1:5]
    clock = lambda: time.time_ns() // 1_000_000 + int(open(offset).read())
    async with Wallet.open(path, identity=identity, clock=clock) as mia:
        print("ready", flush=True)
        await mia.accept(link)

asyncio.run(main())
"""


async def killed(code: str, lines: int, after: float, *arguments: str) -> list[str]:
    """Runs the code in a process, kills it some time after so many lines, and returns what it said."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    heard = [await child.stdout.readline() for _ in range(lines)]
    await asyncio.sleep(after)
    # It may have come to its end by itself, whether or not that is known here by now.
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    said = (b"".join(heard) + await child.stdout.read()).decode().splitlines()
    await child.wait()
    return said


async def test_killed_in_the_middle_of_its_acts_both_ends_agree_again(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, _ = await world.connect(shop, mia, "care")
        await mia.close()
        total = 0
        for n in range(6):
            offset = str(world.host.folder / "clock")
            said = await killed(ACTS, 5, 0.0031 * n, str(world.folder / "mia"), IDENTITY, offset)
            mia = await world.reopened("mia")
            (theirs,) = mia.connections()
            known = {line.act.id for line in theirs.lines if line.act is not None}
            # What was said was accepted: it must be in the file.
            assert set(said) <= known
            await theirs.sync()
            await ours.sync()
            assert public(ours.state) == public(theirs.state)
            assert not mia._core.kept.file.table("unsent")
            total = theirs.state.second.seq
            await mia.close()
        assert total > 20


async def test_killed_while_connecting_no_half_is_signed_by_a_lost_key(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        await mia.close()
        offset = str(world.host.folder / "clock")
        for n in range(6):
            link = await shop.offer(world.base, [TERMS], ["care"])
            await killed(CONNECTS, 0, 0.012 * n, str(world.folder / "mia"), IDENTITY, offset, link)
            mia = await world.reopened("mia")
            known = {party.cid for party in mia.connections()}
            for proposal in await shop.proposals():
                assert proposal.cid in known
                ours = await proposal.countersign()
                theirs = await mia.party(proposal.cid).opened(timeout=10)
                await theirs.grant(["care"])
                await ours.sync()
                assert ours.may("care").decision == "allow"
            await mia.close()
