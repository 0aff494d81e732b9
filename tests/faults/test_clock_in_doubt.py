"""A clock that jumped ahead, or lies behind what was written: nobody is reached too early, a "no" gets in at once, and
the server goes on when somebody bears the clock out (spec/operator.md, CLOCK-1 to CLOCK-4)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from comity.client.log import monitor as follow_module
from comity.documents.events import Accepted, open_event
from comity.documents.status_lists import open_status_list
from comity.errors import Refused
from comity_server import assembly as server_module
from comity_server import watched_clock
from comity_server.commands import server_key_rotation
from comity_server.log import registry as logs_module
from comity_server.log.clock_set import CannotSetClock
from comity_server.log.witness_client import Witnesses
from comity_server.watched_clock import SharedClock, WatchedClock
from comity_server.writer import writer
from comity_server.writer.unit_of_work import UnitOfWork
from comity_tools.cli import main
from support.business_world import a_shop
from support.conditions import becomes, said
from support.sdk_world import SdkWorld
from support.settable_clock import AheadWorld
from support.witness_logs import Puppet, plant
from support.world import DAY, HOUR, MINUTE, SECOND, Pair, World, eventually


class Hands:
    """The hands of the machine's clocks, for a server in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.since_start = 0
        self.boot = "the first"
        wall, since_start = watched_clock.wall, watched_clock.since_start
        monkeypatch.setattr(watched_clock, "wall", lambda: wall() + self.wall)
        monkeypatch.setattr(watched_clock, "since_start", lambda: since_start() + self.since_start)
        monkeypatch.setattr(watched_clock, "boot", lambda: self.boot)

    def starts_again(self) -> None:
        """The machine was started again just now."""
        self.since_start = -watched_clock.since_start() + self.since_start + SECOND
        self.boot += " and another"


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


@pytest.fixture(autouse=True)
def _quick_witnesses_and_logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("comity_server.log.cosigning.AGAIN", 0.5)
    yield
    structlog.reset_defaults()


@asynccontextmanager
async def on_the_wall(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A world whose server goes by the wall clock, as the people in it do."""
    world = World(folder, {"clock_offset_file": None, **settings})
    world.at(time.time_ns() // 1_000_000)
    await world.start()
    try:
        yield world
    finally:
        await world.close()


def time_of(pair: Pair) -> int:
    """When (ms) the last act was accepted."""
    event = open_event(pair.events[-1], pair.world.server.directory.find_key).event
    assert isinstance(event, Accepted)
    return event.accepted_at


def comity(world: World, *arguments: str) -> str:
    """What the operator's command prints."""
    environment = {
        f"COMITY_{name.upper()}": str(value) for name, value in world.settings().items() if value is not None
    }
    done = CliRunner().invoke(main, arguments, env=environment)
    structlog.reset_defaults()
    assert done.exit_code == 0, done.output
    return done.output


async def waiting_message(world: World, days: int) -> Pair:
    """Mia has muted the shop for some days, and a message waits for her."""
    pair = await world.shop_and_customer("care")
    await pair.go("second", "mute", until=world.now() // 1000 + days * DAY // 1000)
    await pair.go("first", "message", exp=world.now() // 1000 + 60 * DAY // 1000)
    return pair


async def was_delivered(pair: Pair) -> bool:
    return "delivered" in await pair.kinds("second")


# --- it jumps while the server runs


async def jumps_for_a_second(world: World, set_wall: Callable[[int], object]) -> None:
    pair, other = await waiting_message(world, 1), await world.shop_and_customer("care")
    before = pair.state.at
    set_wall(30 * DAY + HOUR)
    causes = await becomes(world, 503, "clock_ahead")
    assert causes == {"clock_ahead": "the clock is 30 days ahead of the time that the server has counted"}
    assert await other.refused("first", "message") == "clock_doubtful"
    assert await other.refused("second", "remember", key="name") == "clock_doubtful"
    # Long enough for whoever is due to be let go.
    await asyncio.sleep(1.5)
    assert not await was_delivered(pair), "a message was let go a month early"
    mute = await pair.go("second", "mute")
    assert mute.id in pair.receipts, "a no got in without a receipt"
    assert before < time_of(pair) <= world.now(), "a no was dated into the future"
    await other.go("second", "revoke")
    set_wall(0)
    await becomes(world, 200)
    await pair.go("second", "unmute")
    assert await was_delivered(pair)


async def test_a_clock_that_jumps_a_month_for_a_second_reaches_nobody_early(tmp_path: Path, hands: Hands) -> None:
    """CLOCK-1, CLOCK-2."""
    async with on_the_wall(tmp_path) as world:
        await jumps_for_a_second(world, lambda wall: setattr(hands, "wall", wall))


async def test_a_server_of_its_own_stands_a_jump_and_the_next_start_and_says_so_once(tmp_path: Path) -> None:
    """The same with a process, which is started again at +30 days with a message that would be due by then."""
    world = AheadWorld(tmp_path, {})
    await world.start()
    try:
        await jumps_for_a_second(world, lambda wall: world.set(wall=wall))
        assert len(said(world.log(), "condition_began", "clock_ahead")) == 1
        assert len(said(world.log(), "condition_ended", "clock_ahead")) == 1
        pair = await waiting_message(world, 10)
        await world.stop()
        world.set(wall=30 * DAY)
        await world.start()
        assert not await was_delivered(pair)
        await pair.go("second", "revoke")
        await world.stop()
        world.set(wall=0)
        await world.start()
    finally:
        await world.close()
    assert "Traceback" not in world.log()


@pytest.mark.parametrize("step", [30 * SECOND, -30 * SECOND, -9 * SECOND])
async def test_a_clock_that_is_set_right_by_seconds_is_followed(tmp_path: Path, hands: Hands, step: int) -> None:
    async with on_the_wall(tmp_path) as world:
        await world.shop_and_customer("care")
        world.server.clock.now()
        await asyncio.sleep(0.01)
        hands.wall = step
        assert not world.server.clock.ahead()
        assert abs(world.server.clock.now() - world.now() - step) < SECOND


async def test_a_machine_that_slept_has_not_jumped(tmp_path: Path, hands: Hands) -> None:
    async with on_the_wall(tmp_path) as world:
        pair = await waiting_message(world, 1)
        hands.wall = hands.since_start = 2 * DAY
        world.later(2 * DAY)
        await eventually(lambda: was_delivered(pair))
        assert not world.server.clock.ahead()


def test_a_clock_that_wanders_off_in_small_steps_is_noticed(tmp_path: Path, hands: Hands) -> None:
    clock = WatchedClock(tmp_path, 0)
    for _ in range(10):
        hands.wall += 30 * SECOND
        hands.since_start += MINUTE
        hands.wall += MINUTE
        clock.now()
    assert clock.ahead() >= 4 * MINUTE


# --- it is off at the start


async def test_a_machine_that_starts_a_month_ahead_waits_for_the_operator_s_word(tmp_path: Path, hands: Hands) -> None:
    """CLOCK-1, CLOCK-3."""
    async with on_the_wall(tmp_path) as world:
        pair = await waiting_message(world, 10)
        before = pair.state.at
        await world.stop()
        hands.wall = 30 * DAY
        hands.starts_again()
        await world.start()
        await becomes(world, 503, "clock_ahead")
        assert not await was_delivered(pair)
        mute = await pair.go("second", "mute", until=world.now() // 1000 + 5 * DAY // 1000)
        assert mute.id in pair.receipts and before < time_of(pair) <= world.now()
        # The month went by indeed: the machine was off.
        world.later(30 * DAY)
        told = await asyncio.to_thread(comity, world, "clock", "accept")
        assert told.startswith("The clock is accepted: 2")
        await becomes(world, 200)
        await eventually(lambda: was_delivered(pair))
        await world.stop()
        await world.start()
        assert not world.server.clock.ahead(), "the word is forgotten with the next start"


async def test_a_machine_that_was_off_for_some_days_is_believed(tmp_path: Path, hands: Hands) -> None:
    async with on_the_wall(tmp_path) as world:
        await world.shop_and_customer("care")
        await world.stop()
        hands.wall = 6 * DAY
        hands.starts_again()
        await world.start()
        assert not world.server.clock.ahead()


@pytest.mark.parametrize("content", [b"", b"{", b'["","x",[]]', b"\xff" * 99, None])
async def test_a_torn_memory_of_the_clock_is_as_good_as_none(
    tmp_path: Path, hands: Hands, content: bytes | None
) -> None:
    WatchedClock(tmp_path, 0).remember()
    file = tmp_path / watched_clock.SEEN
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    now = watched_clock.wall()
    assert not WatchedClock(tmp_path, now - DAY).ahead()
    assert WatchedClock(tmp_path, now - 8 * DAY).ahead() > 7 * DAY


async def test_webhooks_are_not_given_up_since_the_clock_was_ahead_for_a_moment(tmp_path: Path, hands: Hands) -> None:
    server = WatchedClock(tmp_path, 0)
    server.remember()
    sender = SharedClock(tmp_path)
    before = sender.now()
    hands.wall = 30 * DAY
    assert sender.now() - before < MINUTE and server.ahead()
    assert SharedClock(tmp_path).now() - before < MINUTE, "one that is started meanwhile goes by the wall"
    server.believe()
    assert sender.now() - before > 29 * DAY


# --- a witness


async def a_witness_says_the_same(folder: Path, hands: Hands, off: int) -> None:
    witness = Puppet("w.example")
    async with AsyncExitStack() as stack:
        told = await stack.enter_async_context(witness.listening())
        world = await stack.enter_async_context(on_the_wall(folder, witnesses=told))
        pair = await world.shop_and_customer("care")
        log = world.server.logs.active

        async def is_cosigned() -> bool:
            return len(world.server.cosigning.served_checkpoint(log).cosignatures) == 1

        await eventually(is_cosigned)
        # The machine stood still, and does not know for how long.
        hands.since_start -= 10 * MINUTE
        hands.wall = off
        assert await pair.refused("first", "message") == "clock_doubtful"
        await becomes(world, 200)
        await pair.go("first", "message")


async def test_a_witness_that_says_the_same_time_ends_the_doubt(tmp_path: Path, hands: Hands) -> None:
    """CLOCK-3."""
    await a_witness_says_the_same(tmp_path, hands, 0)


async def test_a_witness_that_says_another_time_bears_nothing_out(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.conditions.WITHIN", 3.0)
    with pytest.raises(TimeoutError):
        await a_witness_says_the_same(tmp_path, hands, 5 * MINUTE)


# --- behind what was written


async def test_a_clock_behind_the_last_commit_takes_a_no_and_the_next_start(tmp_path: Path, hands: Hands) -> None:
    """CLOCK-2."""
    async with on_the_wall(tmp_path) as world:
        pair, other = await waiting_message(world, 1), await world.shop_and_customer("care")
        last = other.state.at
        hands.wall = -2 * HOUR - MINUTE
        assert await becomes(world, 503, "clock_behind") == {
            "clock_behind": "the clock is 2 hours behind the last write to the store"
        }
        revoke = await pair.go("second", "revoke")
        assert revoke.id in pair.receipts and time_of(pair) >= last
        assert await other.refused("first", "message") == "clock_doubtful"
        await world.stop()
        await world.start()
        mute = await other.go("second", "mute")
        assert mute.id in other.receipts
        hands.wall = 0
        await becomes(world, 200)


async def a_day_ahead(world: World, hands: Hands) -> tuple[Pair, Pair]:
    """Mia did something while the clock was a day ahead, Noor did nothing; by now it is right."""
    mia, noor = await waiting_message(world, 1), await world.shop_and_customer("care")
    await world.stop()
    hands.wall = 2 * DAY
    hands.starts_again()
    world.later(2 * DAY)
    await world.start()
    await mia.go("second", "remember", key="name")
    await world.stop()
    hands.wall = 0
    world.later(-2 * DAY)
    return mia, noor


async def follow(world: World, state: Path, log: str) -> Result:
    """What anybody finds who looks at a whole log."""
    return await asyncio.to_thread(
        CliRunner().invoke, main, ["log", "follow", world.origin + log, "--state", str(state)]
    )


async def goes_on_in_a_log_that_says_so(folder: Path, hands: Hands) -> None:
    async with on_the_wall(folder) as world:
        mia, noor = await a_day_ahead(world, hands)
        await world.start()
        await becomes(world, 503, "clock_behind")
        assert await noor.refused("first", "message") == "clock_doubtful"
        await noor.go("second", "mute", purposes=("sales",))
        assert (await follow(world, folder / "old", "/log")).exit_code == 0
        await world.stop()
        world.change(consent_log="right", clock_set=True)
        await world.start()
        await becomes(world, 200)
        # Noor's last word was at the time of the log then: what was said in doubt binds her connection, too.
        fresh = await world.shop_and_customer("care")
        await fresh.go("first", "message")
        assert abs(time_of(fresh) - world.now()) < MINUTE
        assert await mia.refused("second", "remember", key="other") == "clock_doubtful"
        ahead = mia.state.at
        mute = await mia.go("second", "mute")
        assert mute.id in mia.receipts and time_of(mia) == ahead + 1
        await fresh.go("second", "mute")
        assert time_of(fresh) < ahead
        await mia.go("second", "revoke")
        for state in ("new", "new"):
            told = await follow(world, folder / state, "/log/right")
            assert told.exit_code == 0, told.output
        await fresh.go("second", "revoke")
        told = await follow(world, folder / "new", "/log/right")
        assert told.exit_code == 0, told.output
        await world.stop()
        checked = await asyncio.to_thread(comity, world, "fsck", "--data", str(folder / "data"))
        assert "minutes before" not in checked, checked
        # The next start needs no word any more.
        world.change(consent_log=None, clock_set=False)
        await world.start()
        await becomes(world, 200)


async def test_a_log_that_says_that_the_clock_was_ahead_lets_the_others_go_on(tmp_path: Path, hands: Hands) -> None:
    """CLOCK-4."""
    await goes_on_in_a_log_that_says_so(tmp_path, hands)


async def test_the_word_that_the_clock_is_right_needs_another_log(tmp_path: Path, hands: Hands) -> None:
    async with on_the_wall(tmp_path) as world:
        await world.stop()
        world.change(clock_set=True)
        with pytest.raises(CannotSetClock, match="COMITY_CONSENT_LOG=NAME"):
            await world.start()
        world.change(clock_set=False)
        await world.start()


async def test_a_reader_is_let_in_though_the_server_started_by_a_clock_that_was_ahead(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_the_wall(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        await world.stop()
        hands.wall = 2 * HOUR
        hands.starts_again()
        await world.start()
        hands.wall = 0
        path = f"/v1/connections/{pair.cid}"
        assert (await world.read(pair.signers["second"], path)).code == "signature_stale"
        monkeypatch.setattr(world.server.request_auth.seen, "_began", time.monotonic() - 121)
        headers = world.signature(pair.signers["second"], path)
        assert (await world.send("GET", path, headers=headers)).status == 200
        assert (await world.send("GET", path, headers=headers)).code == "signature_replayed"


# --- what others see of it


async def test_offline_statements_are_never_signed_into_the_future(tmp_path: Path, hands: Hands) -> None:
    async with on_the_wall(tmp_path) as world:
        pair = await world.connect(world.person(), world.person())
        grant = await pair.grant("second", "care")
        uri = grant.payload.status.status_list.uri  # type: ignore[union-attr]
        for wall in (30 * DAY, -2 * HOUR):
            hands.wall = wall
            reply = await world.send("GET", uri.removeprefix(world.origin))
            signed = open_status_list(reply.body, uri, world.server.directory.find_key)
            assert signed.claims.iat * 1000 <= world.now() + 2 * SECOND, "it comes true in a month"


async def test_a_business_is_told_that_nobody_can_say_whether_it_may(tmp_path: Path, hands: Hands) -> None:
    async with on_the_wall(tmp_path) as world:
        shop = await a_shop(world)
        question = {"connection": "A" * 43, "purpose": "care"}
        assert (await shop.ask("POST", "/check", question)).code == "not_found"
        hands.wall = 30 * DAY
        reply = await shop.ask("POST", "/check", question)
        assert reply.code == "clock_doubtful" and reply.headers["Retry-After"]


async def test_mia_s_wallet_says_no_reads_on_and_accuses_nobody(tmp_path: Path, hands: Hands) -> None:
    async with AsyncExitStack() as stack:
        world = SdkWorld(tmp_path, stack)
        world.host.change(clock_offset_file=None)
        world.host.at(time.time_ns() // 1_000_000)
        await world.host.start()
        stack.push_async_callback(world.host.close)
        salon, mia = await world.business("salon"), await world.person("mia")
        to_mia, to_salon = await world.connect(salon, mia, "care")
        hands.wall = 30 * DAY
        await to_salon.mute()
        with pytest.raises(Refused, match="clock_doubtful"):
            await to_salon.remember("name", value="Mia")
        with pytest.raises(Refused, match="clock_doubtful"):
            await to_mia.send_message("care.checkin", "How is the colour?")
        await to_salon.mute(purposes=["care"], days=3)
        await mia.sync()
        await salon.sync()
        assert mia.clock_offsets == {}, "the server says that it is Mia's clock that is off"
        hands.wall = 0
        await to_salon.unmute()
        await mia.sync()


# --- defects that must be noticed


DEFECTS: dict[str, tuple[Any, str, tuple[str, str]]] = {
    "the jump is followed": (WatchedClock, "now", ("if says - counted > MOST_JUMP:", "if False:")),
    "nothing is refused": (
        writer.Writer,
        "is_clock_doubtful",
        ("return self._clock.ahead() > 0 or", "return False and"),
    ),
    "a no waits too": (UnitOfWork, "act", ("and not is_narrowing(signed.payload)", "")),
}


@pytest.mark.parametrize("defect", DEFECTS)
async def test_a_server_that_goes_on_after_a_jump_is_noticed(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    owner, name, edit = DEFECTS[defect]
    plant(monkeypatch, owner, name, edit)
    with pytest.raises(AssertionError):
        await test_a_clock_that_jumps_a_month_for_a_second_reaches_nobody_early(tmp_path, hands)


async def test_a_start_that_believes_whatever_it_finds_is_noticed(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, WatchedClock, "_first_line", ("if last and wall() - last > MOST_AWAY", "if False"))
    monkeypatch.setattr("support.conditions.WITHIN", 2.0)
    with pytest.raises(TimeoutError):
        await test_a_machine_that_starts_a_month_ahead_waits_for_the_operator_s_word(tmp_path, hands)


async def test_a_witness_that_is_not_asked_again_is_noticed(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(
        monkeypatch,
        Witnesses,
        "are_needed",
        ("return self._clock is not None and self._clock.ahead() > 0", "return False"),
    )
    monkeypatch.setattr("support.conditions.WITHIN", 3.0)
    with pytest.raises(TimeoutError):
        await a_witness_says_the_same(tmp_path, hands, 0)


AFTER_AHEAD: dict[str, tuple[Any, str, tuple[str, str]]] = {
    "the log does not say so": (server_key_rotation, "state_home_keys", ("log, signer, ahead)", "log, signer)")),
    "a follower does not look": (
        follow_module,
        "_check_bundle",
        (" and before.minute > await ahead(before.number)", ""),
    ),
    "what waits goes on": (UnitOfWork, "act", ("or is_far_ahead(before, self.now)", "")),
    "the old log's times count": (logs_module, "open_logs", ("not ahead or ", "True or ")),
}


@pytest.mark.parametrize("defect", AFTER_AHEAD)
async def test_a_log_after_a_clock_that_was_ahead_is_held_to_what_it_says(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    owner, name, edit = AFTER_AHEAD[defect]
    plant(monkeypatch, owner, name, edit)
    if defect == "the log does not say so":
        monkeypatch.setattr(server_module, "state_home_keys", server_key_rotation.state_home_keys)
    if defect == "the old log's times count":
        whole, planted = server_module.open_server, logs_module.open_logs
        monkeypatch.setattr("comity_server.app.open_server", lambda config, port, _: whole(config, port, planted))
    monkeypatch.setattr("support.conditions.WITHIN", 2.0)
    with pytest.raises((AssertionError, TimeoutError)):
        await goes_on_in_a_log_that_says_so(tmp_path, hands)
