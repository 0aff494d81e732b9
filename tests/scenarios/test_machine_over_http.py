"""Two connections over HTTP, both sides of each, in any order that a machine thinks of, against a small model.

The server is a real one with a real file, and is restarted now and then; its clock is a story's. Ends lie at half
hours and time passes in whole ones, so that no answer hangs on a millisecond.
"""

import ast
import asyncio
import tempfile
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from comity.documents.acts import SignedAct
from comity.documents.types import SIDES
from support import reference_model
from support.lying_proxy import payload_of
from support.planted_defects import copy_of_the_protocol, run_tests
from support.reference_model import HOUR, Model, Mute
from support.world import Pair, World, eventually

T = TypeVar("T")
HALF = HOUR // 2

# How often what is tried: by hand, since a machine left to itself spends its steps on what leads nowhere.
WEIGHTS = {
    "message": 8, "ask": 5, "answer": 5, "do": 3, "thank": 3, "grant": 3, "withdraw": 1, "mute": 5, "unmute": 2,
    "hours": 2, "revoke": 1, "time": 5, "restart": 1, "erasure": 1,
}  # fmt: skip
STEPS = tuple(name for name, weight in WEIGHTS.items() for _ in range(weight))


class Loop:
    """An event loop in a thread of its own, for what is written without `await`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """Run it there and wait for it."""
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(30)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Machine(RuleBasedStateMachine):
    """The server beside its model."""

    kinds: ClassVar[Counter[str]] = Counter()
    """What was tried, and what was told."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="comity-machine-")
        self.loop = Loop()
        self.world = World(Path(self.folder.name), {"log_level": "error", "stop_timeout": 0.5})
        self.loop.run(self.world.start())
        self.pairs = [self.loop.run(self._connected()) for _ in range(2)]
        self.models = [Model(), Model()]
        self.steps = 0
        self.grants: list[list[tuple[int, str]]] = [[], []]
        self.asks = [["A" * 43, "A" * 43], ["A" * 43, "A" * 43]]
        for which in (0, 1):
            for me in (0, 1):
                self._grant(which, me, ("care", "news", "favour"), 24 * 2000)
        self._a_no_and_a_favour()

    def _a_no_and_a_favour(self) -> None:
        """What dice reach too seldom: asking too soon after a no, and a favour from the ask to the thanks."""
        dice = Random("a no and a favour")
        self.ask(1, 0, dice)
        self._answer(1, 1, "no")
        self.world.later(8 * 24 * HOUR)
        self.ask(1, 0, dice)
        self.world.later(31 * 24 * HOUR)
        self.ask(1, 0, dice)
        self._answer(1, 1, "yes")
        self._do(1, 1)
        self._thank(1, 0)

    async def _connected(self) -> Pair:
        return await self.world.shop_and_customer()

    def teardown(self) -> None:
        """Compares everything once more, and lets go."""
        try:
            for which in (0, 1):
                self._compare(which)
        finally:
            self.loop.run(self.world.close())
            self.loop.close()
            self.folder.cleanup()

    # --- one act ---

    def _go(self, which: int, me: int, kind: str, /, **fields: Any) -> tuple[SignedAct, str]:
        """Send; the act and its outcome, "" or the code."""
        pair, side = self.pairs[which], SIDES[me]

        async def send() -> tuple[SignedAct, str]:
            if kind == "grant":
                reply = await self._reserved(pair, me)
                fields["status"] = {"status_list": reply}
            act = pair.compose(side, kind, **fields)
            answer = await self.world.act(act)
            if answer.code:
                return act, answer.code
            pair.take(answer.json["event"], act)
            stated = payload_of(answer.json["event"])
            return act, str(stated.get("outcome", ""))

        act, told = self.loop.run(send())
        self.kinds[f"{kind} {told}"] += 1
        return act, told

    async def _reserved(self, pair: Pair, me: int) -> dict[str, Any]:
        if pair.state.phase == "ended":
            return {"idx": 1, "uri": f"{self.world.origin}/status/1"}
        return await pair.index(SIDES[me])

    # --- what can be done

    @rule(seed=st.integers(0, 2**32))
    def step(self, seed: int) -> None:
        """One of the below, by one side of one connection; the dice say which and how."""
        self.steps += 1
        # The number of the step goes in, too, or a seed that comes twice would do the same twice.
        dice = Random(f"{seed} {self.steps}")
        what, which, me = dice.choice(STEPS), dice.choice((0, 0, 1)), dice.choice((0, 1))
        self.kinds[what] += 1
        getattr(self, what)(which, me, dice)

    def grant(self, which: int, me: int, dice: Random) -> None:
        purposes = dice.choice((("care", "favour"), ("care",), ("news", "favour"), ("favour",)))
        self._grant(which, me, purposes, dice.choice((24 * 300, 24 * 40, 30)))

    def _grant(self, which: int, me: int, purposes: tuple[str, ...], hours: int) -> None:
        ends = (self.world.now() + hours * HOUR + HALF) // 1000
        act, told = self._go(which, me, "grant", purposes=purposes, channels=("app",), exp=ends)
        assert told == self.models[which].grant(me, act.id, purposes, ends * 1000, self.world.now())
        self.grants[which].append((me, act.id))

    def withdraw(self, which: int, me: int, dice: Random) -> None:
        giver, id_ = dice.choice(self.grants[which])
        _, told = self._go(which, giver, "withdraw", grant=id_)
        assert told == self.models[which].withdraw(giver, id_, self.world.now())

    def mute(self, which: int, me: int, dice: Random) -> None:
        scope: tuple[str, ...] = dice.choice(((), ("care",), ("news", "favour")))
        hours, shown = dice.choice((None, None, 2, 24 * 3, 24 * 20)), dice.random() < 0.5
        ends = None if hours is None else (self.world.now() + hours * HOUR + HALF) // 1000
        fields: dict[str, Any] = {"purposes": scope} if scope else {}
        if shown and ends is not None:
            fields["until"] = ends
        act = self.pairs[which].compose(SIDES[me], "mute", **fields)
        if ends is not None and not shown:
            _, told = self._go(which, me, "mute_end", mute=act.id, until=ends)
            assert (told == "connection_ended") == self.models[which].ended
        act, told = self._go(which, me, "mute", **fields, iat=act.payload.iat)
        mute = Mute(act.id, scope, None if ends is None else ends * 1000, shown)
        assert told == self.models[which].mute(me, mute, self.world.now())

    def unmute(self, which: int, me: int, dice: Random) -> None:
        _, told = self._go(which, me, "unmute")
        assert told == self.models[which].unmute(me, self.world.now())

    def hours(self, which: int, me: int, dice: Random) -> None:
        by_day = dice.random() < 0.5
        every = ("mo", "tu", "we", "th", "fr", "sa", "su")
        windows = ({"days": every, "start": "08:00", "end": "18:00"},) if by_day else ()
        _, told = self._go(which, me, "hours", zone="UTC", windows=windows, shown="not_now")
        assert told == self.models[which].hours(me, by_day, self.world.now())

    def revoke(self, which: int, me: int, dice: Random) -> None:
        if dice.random() < 0.3 or self.models[which].ended:
            _, told = self._go(which, me, "revoke")
            assert told == self.models[which].revoke(self.world.now())

    def erasure(self, which: int, me: int, dice: Random) -> None:
        _, told = self._go(which, me, "erasure", deleted=dice.choice(((), ("contact", "messages"))))
        assert told == self.models[which].erasure(me, self.world.now())

    def message(self, which: int, me: int, dice: Random) -> None:
        purpose, topic = dice.choice(("care", "care.checkin", "news", "safety")), dice.choice((None, "windows"))
        if_muted: reference_model.IfMuted = dice.choice(("hold", "hold", "drop", "fail"))
        ends = (self.world.now() + dice.choice((4, 24 * 5, 24 * 60)) * HOUR + HALF) // 1000
        fields = {"topic": topic} if topic else {}
        act, told = self._go(which, me, "message", purpose=purpose, if_muted=if_muted, exp=ends, **fields)
        now = self.world.now()
        assert told == self.models[which].message(me, act.id, purpose, topic, if_muted, ends * 1000, now)

    def ask(self, which: int, me: int, dice: Random) -> None:
        act, told = self._go(which, me, "ask")
        assert told == self.models[which].ask(me, act.id, self.world.now())
        if not told:
            self.asks[which][me] = act.id

    def answer(self, which: int, me: int, dice: Random) -> None:
        self._answer(which, self._who(which, me, dice, "asked"), dice.choice(("yes", "yes", "no", "not_now")))

    def _answer(self, which: int, me: int, answer: str) -> None:
        id_ = self.asks[which][1 - me]
        _, told = self._go(which, me, "answer", ask=id_, answer=answer)
        assert told == self.models[which].answer(me, id_, answer, self.world.now())

    def do(self, which: int, me: int, dice: Random) -> None:
        self._do(which, self._who(which, me, dice, "promised"))

    def _do(self, which: int, me: int) -> None:
        id_ = self.asks[which][1 - me]
        _, told = self._go(which, me, "done", ask=id_)
        assert told == self.models[which].do(me, id_, self.world.now())

    def thank(self, which: int, me: int, dice: Random) -> None:
        self._thank(which, 1 - self._who(which, 1 - me, dice, "done"))

    def _thank(self, which: int, me: int) -> None:
        id_ = self.asks[which][me]
        _, told = self._go(which, me, "thank", ask=id_)
        assert told == self.models[which].thank(me, id_, self.world.now())

    def _who(self, which: int, me: int, dice: Random, status: str) -> int:
        """Mostly the side whose other side's ask stands so, if there is one."""
        fitting = [it for it in (0, 1) if self.models[which].status(1 - it, self.world.now()) == status]
        return dice.choice(fitting) if fitting and dice.random() < 0.8 else me

    def time(self, which: int, me: int, dice: Random) -> None:
        self.world.later(dice.choice((1, 1, 1, 3, 3, 11, 26, 24 * 8, 24 * 12, 24 * 31)) * HOUR)
        for one in (0, 1):
            if not self.models[one].ended:
                self.models[one].settle(self.world.now())
            self._compare(one)

    def restart(self, which: int, me: int, dice: Random) -> None:
        if dice.random() < 0.5:
            self.loop.run(self.world.stop())
            self.loop.run(self.world.start())
            # What was signed before a start, and in its second, is refused: it may have been seen.
            self.world.later(2000)

    # --- comparing ---

    def _compare(self, which: int) -> None:
        """What reached each side, and what the server shows, is what the model says: soon, for time alone moves it."""
        pair, expected = self.pairs[which], self.models[which]

        async def same() -> bool:
            return await self._found(pair) == _wanted(expected)

        try:
            self.loop.run(eventually(same, 3.0))
        except TimeoutError:
            found = self.loop.run(self._found(pair))
            assert found == _wanted(expected)

    async def _found(self, pair: Pair) -> dict[str, Any]:
        state = (await pair.seen("first")).json["state"]
        found: dict[str, Any] = {"ended": state["phase"] == "ended"}
        for me, side in enumerate(SIDES):
            door = state[side]
            found[f"{me} grants"] = [it["id"] for it in door.get("grants", [])]
            found[f"{me} mutes"] = [it["id"] for it in door.get("mutes", [])]
            found[f"{me} waiting"] = [it["id"] for it in door.get("held", [])]
            found[f"{me} ask"] = door.get("ask", {}).get("status")
            found[f"{me} said"] = door.get("erasure", {}).get("count", 0)
            news = [payload_of(it["event"]) | it for it in await self._news(pair, 1 - me)]
            theirs = [it for it in news if it.get("side") == side]
            reached = [it for it in theirs if it.get("outcome") == "delivered" or it["kind"] == "delivered"]
            found[f"{me} delivered"] = sorted(it["of"] for it in reached)
            found[f"{me} expired"] = sorted(it["of"] for it in theirs if it["kind"] == "expired")
        return found

    async def _news(self, pair: Pair, me: int) -> list[dict[str, Any]]:
        items = [it for it in (await pair.news(SIDES[me]))["items"] if it.get("cid") == pair.cid and "event" in it]
        events = [(payload_of(it["event"]), it) for it in items]
        # A message is delivered only with itself.
        for event, it in events:
            shown = event.get("outcome") == "delivered" or event["event"] == "delivered"
            assert "act" in it or not (shown and event["side"] != SIDES[me])
        return [{"event": it["event"], "kind": event["event"], "of": event.get("act")} for event, it in events]


def _wanted(expected: Model) -> dict[str, Any]:
    wanted: dict[str, Any] = {"ended": expected.ended}
    for me, side in enumerate(expected.sides):
        wanted[f"{me} grants"] = [it.id for it in side.grants]
        wanted[f"{me} mutes"] = [it.id for it in side.mutes]
        wanted[f"{me} waiting"] = [it.id for it in side.waiting]
        wanted[f"{me} ask"] = None if side.ask is None else side.ask.status
        wanted[f"{me} said"] = side.said
        wanted[f"{me} delivered"] = sorted(side.delivered)
        wanted[f"{me} expired"] = sorted(side.expired)
    return wanted


# No shrinking: each try costs a server. To search for a small example, give it the phase again.
BOUNDED = settings(
    max_examples=24,
    stateful_step_count=60,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
    deadline=None,
    derandomize=True,
)


def test_the_server_does_what_the_model_says() -> None:
    Machine.kinds.clear()
    run_state_machine_as_test(Machine, settings=BOUNDED)
    # A machine that never gets anywhere finds nothing. What is drawn depends on the code around it, too, so one or two
    # of these may be out of luck.
    missing = {it for it in MUST_HAPPEN if not Machine.kinds[it]}
    print(sorted(Machine.kinds.items()))
    assert len(missing) <= 2, missing


MUST_HAPPEN = (
    *("message delivered", "message held", "message dropped", "message not_now", "message no_grant", "restart"),
    *("ask ", "ask ask_open", "ask cooling_down", "ask after_exempt_notice", "ask no_grant", "ask not_now"),
    *("answer ", "answer no_such_ask", "done ", "thank ", "withdraw ", "mute ", "mute_end "),
    *("unmute ", "unmute no_such_mute", "revoke ", "message connection_ended", "erasure ", "erasure connection_open"),
)


def test_the_model_knows_nothing_of_the_protocol() -> None:
    tree = ast.parse(Path(reference_model.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"dataclasses", "typing"}


@pytest.mark.parametrize(
    ("module", "rule", "instead"),
    [
        (
            "rules/gate.py",
            "        if mute.purposes and not is_among(mute.purposes, purpose):\n",
            "        if mute.purposes:\n",
        ),
        ("rules/favours.py", "COOL_AFTER_NO = 30 * DAY * 1000\n", "COOL_AFTER_NO = 7 * DAY * 1000\n"),
    ],
    ids=["a mute of some purposes is forgotten", "a no cools down too soon"],
)
def test_a_server_with_another_rule_is_caught(tmp_path: Path, module: str, rule: str, instead: str) -> None:
    copy = copy_of_the_protocol(tmp_path, {module: (rule, instead)})
    ran = run_tests(copy, f"{__file__}::test_the_server_does_what_the_model_says")
    assert ran.returncode == 1, ran.stdout
    # It is the comparison that fails, and not what the machine needs in order to run.
    assert "self.models[which]" in ran.stdout or "_wanted(expected)" in ran.stdout, ran.stdout
