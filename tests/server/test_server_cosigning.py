"""Which checkpoint a server shows: with the lines of those witnesses that sign, in spite of those that hang, fail, lie
or remember more; and what makes it stop signing."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from comity.crypto.keys import SigningKey
from comity.transparency.checkpoints import Checkpoint, SignedCheckpoint, open_checkpoint, sign_checkpoint
from comity.transparency.notes import ED25519, NoteSigner
from comity_server.config import ConfigError, load
from comity_server.log import cosigning, sequencer
from comity_server.log.cosigned_file import CosignedFile
from comity_server.log.cosigning import Cosigning
from comity_server.log.head_file import HeadFile
from comity_server.log.recovery import RolledBack
from comity_server.log.witness_client import Witnesses
from comity_server.witness.app import run_witness
from comity_tools.cli import main
from support.witness_logs import Puppet, plant
from support.world import Pair, World, eventually

SEED = b"the log's key, known to the test"


def signer_of(world: World) -> NoteSigner:
    """The log's key."""
    return NoteSigner(f"localhost:{world.port}/log", ED25519, SigningKey(SEED))


@asynccontextmanager
async def watched(folder: Path, least: int, *witnesses: Puppet, and_a_real_one: bool = False) -> AsyncIterator[World]:
    """A world whose log these witnesses look at; `least` of them must have cosigned what is preferred."""
    (folder / "data").mkdir(mode=0o700, parents=True)
    world = World(folder, {"cosignatures": least})
    world.at(time.time_ns() // 1_000_000)
    (folder / "data/log.key").write_bytes(SEED)
    async with AsyncExitStack() as stack:
        told = [await stack.enter_async_context(it.listening()) for it in witnesses]
        if and_a_real_one:
            real = run_witness(folder / "witness", port=0, name="real.example", logs=[signer_of(world).verifier])
            at = await stack.enter_async_context(real)
            told.append(f"{at.key.text} {at.url}")
        world._settings["witnesses"] = ", ".join(told)
        await world.start()
        try:
            yield world
        finally:
            await world.close()


async def shown(world: World) -> SignedCheckpoint:
    """What is served, with the cosignatures that it has."""
    reply = await world.send("GET", "/log/checkpoint")
    assert reply.status == 200, reply
    return open_checkpoint(reply.body, signer_of(world).verifier, world.server.cosigning.witnesses.keys)


def asks(monkeypatch: pytest.MonkeyPatch, timeout: float = 5.0, rest: float = 1.0) -> None:
    """Set the time limit of the server's requests to witnesses, and how long it leaves one alone that failed (s)."""
    monkeypatch.setattr("comity_server.assembly.Witnesses", partial(Witnesses, timeout=timeout, rest=rest))


async def becomes(world: World, size: int, *names: str) -> None:
    """Wait until a checkpoint of that size with the lines of just these witnesses is shown."""

    async def is_shown() -> bool:
        signed = await shown(world)
        return signed.size == size and set(signed.cosignatures) == set(names)

    await eventually(is_shown)


async def grow(pair: Pair, count: int) -> None:
    for _ in range(count):
        await pair.go("first", "remember", key="name")


# --- a log that grows all the time


async def shown_while_it_grows(world: World, name: str, count: int) -> set[int]:
    """The sizes of the checkpoints that are shown while the log grows, until there are `count`; each of them must have
    that witness's line."""
    pair = await world.connect(world.person(), world.person())
    sizes: set[int] = set()
    while len(sizes) < count:
        await grow(pair, 1)
        signed = await shown(world)
        assert name in signed.cosignatures, signed
        sizes.add(signed.size)
    return sizes


async def grows_beside_one_that_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigning, "BETWEEN", 0.05)
    # A cosigned checkpoint is shown until a larger one is cosigned, so each size that is shown was cosigned while the
    # other witness hung.
    monkeypatch.setattr(cosigning, "LAG", math.inf)
    asks(monkeypatch, timeout=3600.0)
    hanging = Puppet("hanging.example")
    hanging.answers = hanging.hangs
    async with watched(folder, 1, hanging, and_a_real_one=True) as world:
        await becomes(world, 1, "real.example")
        await shown_while_it_grows(world, "real.example", 6)


async def test_a_witness_that_hangs_takes_nothing_from_the_cosignatures_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grows_beside_one_that_hangs(tmp_path, monkeypatch)


async def test_a_slow_witness_is_waited_for_while_the_log_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosigning, "BETWEEN", 0.05)
    monkeypatch.setattr(cosigning, "LAG", math.inf)
    slow = Puppet("slow.example")
    async with watched(tmp_path, 1, slow) as world:
        await becomes(world, 1, "slow.example")
        slow.dawdles(0.15)
        await shown_while_it_grows(world, "slow.example", 4)


# --- fewer than are wanted


async def one_of_two_is_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigning, "BETWEEN", 0.05)
    monkeypatch.setattr(cosigning, "AGAIN", 2.0)
    asks(monkeypatch, rest=0.1)
    good, other = Puppet("good.example"), Puppet("other.example")
    async with watched(folder, 2, good, other) as world:
        await becomes(world, 1, "good.example", "other.example")
        pair = await world.connect(world.person(), world.person())
        monkeypatch.setattr(cosigning, "LAG", 0.0)
        other.answers = other.fails
        await grow(pair, 1)
        await becomes(world, 2, "good.example")
        # Longer than anybody rests who failed.
        await asyncio.sleep(0.4)
        assert good.asked == [0, 1, 2], "asked again for what it has signed"
        assert other.asked.count(2) == 1, "asked again and again while it is down"
        other.answers = other.signs
        # Nothing new comes, and yet who was down is asked again after a while.
        await becomes(world, 2, "good.example", "other.example")
        assert good.asked == [0, 1, 2], "asked again for what it has signed"


async def test_with_too_few_witnesses_the_newest_is_shown_and_nobody_is_pestered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_of_two_is_down(tmp_path, monkeypatch)


async def is_overtaken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigning, "BETWEEN", 0.05)
    monkeypatch.setattr(cosigning, "LAG", 20.0)
    monkeypatch.setattr(sequencer, "REMEMBERED", 30.0)
    passed = 0.0
    monkeypatch.setattr(sequencer, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed))
    witness = Puppet("w.example")
    async with watched(folder, 1, witness) as world:
        pair = await world.connect(world.person(), world.person())
        await grow(pair, 2)
        await becomes(world, 3, "w.example")
        # A quiet while; then much at once, and nobody cosigns any more.
        passed += 40.0
        witness.answers = witness.fails
        await grow(pair, 5)
        signed = await shown(world)
        assert signed.size == 3 and signed.cosignatures, "what was cosigned was dropped at once"
        passed += 20.0
        assert ((signed := await shown(world)).size, signed.cosignatures) == (8, {}), "the newest is never shown"


async def test_a_cosigned_checkpoint_is_shown_until_the_newest_is_two_seconds_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cosigning.LAG == 2.0
    await is_overtaken(tmp_path, monkeypatch)


# --- a witness that remembers more


async def shows_a_larger_one(folder: Path) -> None:
    witness = Puppet("w.example")
    async with watched(folder, 1, witness) as world:
        pair = await world.connect(world.person(), world.person())
        await grow(pair, 1)
        await becomes(world, 2, "w.example")
        larger = sign_checkpoint(Checkpoint(signer_of(world).name, 99, b"r" * 32), signer_of(world))
        witness.kept = larger.raw
        witness.has_cosigned(99)
        await grow(pair, 1)
        log = world.server.logs.active

        async def halted() -> bool:
            return log.halted is not None

        await eventually(halted)
        before = await shown(world)
        pair.receipts.clear()
        await pair.go("second", "revoke")
        assert pair.receipts == {}
        assert (await shown(world)).raw == before.raw, "something was signed after that"
        await world.stop()
        file = HeadFile.open(folder / "data/log.head", signer_of(world).verifier)
        assert file.last is not None and file.last.raw == larger.raw
        file.close()
        with pytest.raises(RolledBack, match="the store has 4 entries, and 99 were signed"):
            await world.start()


async def test_a_witness_that_shows_more_than_there_is_stops_the_signing_for_good(tmp_path: Path) -> None:
    await shows_a_larger_one(tmp_path)


async def only_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigning, "BETWEEN", 0.05)
    monkeypatch.setattr(cosigning, "AGAIN", 3600.0)
    asks(monkeypatch, rest=0.0)
    liar, honest = Puppet("liar.example"), Puppet("honest.example")
    liar.has_cosigned(99)
    async with watched(folder, 1, liar, honest) as world:
        honest.dawdles(0.1)
        pair = await world.connect(world.person(), world.person())
        await asyncio.wait_for(liar.shown.wait(), 20)
        await grow(pair, 2)
        # A lie of one must not keep out the line of another.
        await becomes(world, 3, "honest.example")
        # Once more when both are asked at the same time.
        await grow(pair, 1)
        await becomes(world, 4, "honest.example")
        assert liar.asked[-1] == 4
        assert world.server.logs.active.halted is None
        assert len(pair.receipts) == 3
        await world.stop()
        await world.start()
        await grow(pair, 1)
        assert len(pair.receipts) == 4


async def test_the_bare_word_of_a_witness_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await only_says_so(tmp_path, monkeypatch)


async def handed_over_by_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What comes while the witness is asked about the first checkpoint is not handed to it soon.
    monkeypatch.setattr(cosigning, "BETWEEN", 60.0)
    witness, asked, go = Puppet("w.example"), asyncio.Event(), asyncio.Event()

    async def knows_more(_text: str) -> tuple[int, str]:
        asked.set()
        await go.wait()
        return 409, "2\n"

    witness.answers = knows_more
    async with watched(folder, 1, witness) as world:
        await asyncio.wait_for(asked.wait(), 20)
        pair = await world.connect(world.person(), world.person())
        await grow(pair, 2)
        # Everybody can read it, and everybody may hand it to a witness.
        witness.kept = (await shown(world)).raw
        go.set()
        task = world.server.cosigning.witnesses._asked[0].task
        assert task is not None
        await asyncio.wait_for(asyncio.shield(task), 20)
        assert witness.shown.is_set()
        await grow(pair, 2)
        assert world.server.logs.active.halted is None
        assert len(pair.receipts) == 4


async def test_a_stranger_who_hands_a_checkpoint_to_a_witness_first_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handed_over_by_somebody_else(tmp_path, monkeypatch)


# --- a restart while the witness is away


async def follow(world: World, state: Path, *witnesses: Puppet) -> Result:
    """What somebody who relies on these witnesses is told of the log."""
    given = [f"{world.origin}/log", "--state", str(state), "--cosignatures", str(len(witnesses))]
    for at, witness in enumerate(witnesses):
        key = state.with_name(f"{state.name}-{at}.vkey")
        key.write_text(witness.signer.verifier.text)
        given += ["--witness", str(key)]
    return await asyncio.to_thread(CliRunner().invoke, main, ["log", "follow", *given])


async def starts_again_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigning, "AGAIN", 0.5)
    witness = Puppet("w.example")
    async with watched(folder, 1, witness) as world:
        pair = await world.connect(world.person(), world.person())
        await grow(pair, 2)
        await becomes(world, 3, "w.example")
        assert (await follow(world, folder / "seen", witness)).exit_code == 0
        before, file = await shown(world), folder / "data/log.cosigned"
        await world.stop()
        older = file.read_bytes()
        witness.answers = witness.fails
        await world.start()
        assert (await shown(world)).raw == before.raw, "the cosignature that was given is forgotten"
        told = await follow(world, folder / "seen", witness)
        assert told.exit_code == 0, told.output
        # It grows meanwhile; what the witness saw last is older than what was shown, and not shown again.
        await grow(pair, 2)
        await world.stop()
        await world.start()
        assert ((await shown(world)).size, (await shown(world)).cosignatures) == (5, {})
        # The witness is back; then an older copy of the file is put back.
        witness.answers = witness.signs
        await becomes(world, 5, "w.example")
        await world.stop()
        witness.answers = witness.fails
        whole = file.read_bytes()
        file.write_bytes(older)
        await world.start()
        assert ((await shown(world)).size, (await shown(world)).cosignatures) == (5, {})
        for content in (whole, older, whole[:-9], b"", b"\xff" * 200_000, whole.replace(b"5", b"6", 1)):
            file.write_bytes(content)
            found = CosignedFile(file).read(world.server.logs.active, world.server.cosigning.witnesses)
            assert (found is not None) == (content is whole)


async def test_after_a_restart_without_the_witness_nobody_is_told_that_too_few_have_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await starts_again_without_it(tmp_path, monkeypatch)


async def test_a_cosignature_that_is_not_kept_or_shown_with_another_tree_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        plant(changed, Cosigning, "_gather", ("await self._keep()", "pass"))
        plant(changed, Cosigning, "stop", ("await self._keep()", "pass"))
        changed.setattr("support.world.SOON", 3.0)
        with pytest.raises((AssertionError, OSError)):
            await starts_again_without_it(tmp_path / "one", changed)
    plant(monkeypatch, CosignedFile, "read", (" and found.checkpoint == log.published.checkpoint", ""))
    plant(
        monkeypatch,
        Cosigning,
        "served_checkpoint",
        ("and newest.size == log.published.size ", ""),
        ("log.overtaken_for(best.size) <= LAG", "True"),
    )
    with pytest.raises(AssertionError):
        await starts_again_without_it(tmp_path / "two", monkeypatch)


# --- what is configured


def test_more_cosignatures_than_witnesses_can_never_be_had() -> None:
    two = ", ".join(
        f"{Puppet(name).signer.verifier.text} http://localhost:{port}" for name, port in (("a", 1), ("b", 2))
    )
    assert load({"witnesses": two, "cosignatures": 2}, {}).cosignatures == 2
    for witnesses, cosignatures in ((two, 3), ("", 1)):
        with pytest.raises(ConfigError, match=r"COMITY_COSIGNATURES: .*larger than the number of witnesses"):
            load({"witnesses": witnesses, "cosignatures": cosignatures}, {})
