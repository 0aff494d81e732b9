"""A server that signs its lies: what it says is well formed, under its own key, and cannot be so."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from comity.client import Connection
from comity.encoding import hash_id
from comity.errors import Contradiction, Refused, Unreachable
from support.lying_proxy import Alter, Answer, Lie, LyingWorld, lying_world, payload_of
from support.parties import forge

Item = dict[str, Any]
MINUTE, HOUR = 60_000, 3_600_000


class Scene:
    """Mia has muted the shop for two days, and lets it know; the shop has written; neither has read the other's news.

    `shop` and `mia` are their wallets' files: the shop's with its act sent and the answer lost.
    """

    world: LyingWorld
    cid: str
    shop: bytes
    mia: bytes

    async def set(self, world: LyingWorld) -> None:
        """Plays it."""
        self.world = world
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        self.cid = theirs.cid
        await theirs.mute(until=world.host.now() // 1000 + 2 * 86_400, shown="end")
        await ours.sync()
        self.mia = world.snapshot("mia")
        world.proxy.lose = "POST /v1/acts"
        with suppress(Unreachable):
            await ours.send_message("care", "Are they tight?")
        world.proxy.honest()
        self.shop = world.snapshot("shop")

    def restated(self, raw: str, **changes: Any) -> str:
        """An event of the server with other members, under its own key."""
        payload = {**payload_of(raw), **changes}
        kept = {name: value for name, value in payload.items() if value is not None}
        return forge(kept, "comity-event+jwt", self.world.home_key)

    def stated(self, event: str, raw: str, **members: Any) -> str:
        """A new event about the act of another one."""
        about = payload_of(raw)
        payload = {"iss": about["iss"], "cid": about["cid"], "event": event, "act": about["act"], "side": about["side"]}
        payload["as_of"] = after(raw)
        if event == "delivered":
            payload |= {"log": about["log"], "index": about["index"] + 1}
        return forge(
            {**payload, "at": about["accepted_at"] + MINUTE, **members}, "comity-event+jwt", self.world.home_key
        )

    async def told(self, snapshot: bytes, route: str, alter: Alter, *, then: str = "") -> Contradiction:
        """What a wallet raises that is told a lie, at once, when it compares, or at its next act."""
        path = self.world.copy(snapshot)
        self.world.proxy.begin(Lie("signed", route, alter))
        try:
            with pytest.raises(Contradiction) as caught:
                async with self.world.open(path) as wallet:
                    party = wallet.connection(self.cid)
                    await party.sync()
                    await self._go_on(party, then)
        finally:
            self.world.proxy.honest()
        return caught.value

    async def _go_on(self, party: Connection, then: str) -> None:
        assert self.world.proxy.told
        self.world.proxy.honest()
        if then == "act":
            await party.remember("small_talk")
        elif then == "tokens":
            await party.tokens()
        await party.sync()


@pytest.fixture
async def scene(tmp_path: Path) -> Any:
    """The scene, set."""
    async with lying_world(tmp_path) as world:
        made = Scene()
        await made.set(world)
        yield made


def page(change: Callable[[list[Item]], object]) -> Alter:
    """A page of an inbox with its items changed; the cursors lead on as they should."""

    def alter(answer: Answer) -> Answer | None:
        whole = json.loads(answer.body)
        if not whole["items"]:
            return None
        cursors = [item["cursor"] for item in whole["items"]]
        change(whole["items"])
        spare = (hash_id(str(number).encode()) for number in range(9))
        for item in whole["items"]:
            item["cursor"] = cursors.pop(0) if len(cursors) > 1 else next(spare)
        if whole["items"]:
            whole["items"][-1]["cursor"] = whole["cursor"]
        return answer.with_json(whole)

    return alter


async def act_of(scene: Scene) -> str:
    """The shop's message, as the server has it."""
    async with scene.world.open(scene.world.copy(scene.shop)) as shop:
        (act,) = shop.connection(scene.cid).queue._unsent_acts()
    return str(act.raw)


async def test_lies_to_the_side_that_is_written_to(scene: Scene) -> None:
    """Mia is muting; the honest page holds the acceptance of a message that waits."""
    act, restated, stated = await act_of(scene), scene.restated, scene.stated
    elsewhere = hash_id(b"elsewhere")

    def instead(**changes: Any) -> Callable[[list[Item]], object]:
        return lambda it: it[0].update(event=restated(it[0]["event"], **changes))

    def besides(make: Callable[[str], str], **members: Any) -> Callable[[list[Item]], object]:
        return lambda it: it.append({**it[0], "event": make(it[0]["event"]), **members})

    lies: dict[str, Callable[[list[Item]], object]] = {
        "delivered against a mute": lambda it: it[0].update(
            kind="act", act=act, event=restated(it[0]["event"], outcome="delivered")
        ),
        "delivered against a mute without the message": instead(outcome="delivered"),
        "let go during a mute": besides(lambda raw: stated("delivered", raw), act=act),
        "let go without the message": besides(lambda raw: stated("delivered", raw)),
        "expired before its time": besides(lambda raw: stated("expired", raw)),
        "delivered after it expired": besides(lambda raw: stated("delivered", raw, at=_exp(raw)), act=act),
        "dropped, and it waits": instead(outcome="dropped"),
        "no outcome": instead(outcome=None),
        "another purpose": instead(contents={"purpose": "sales", "channel": "app", "exp": 1_900_000_000}),
        "an exempt purpose": instead(contents={"purpose": "safety", "channel": "app", "exp": 1_900_000_000}),
        "no contents": instead(contents=None),
        "another end": lambda it: it[0].update(event=restated(it[0]["event"], contents=_later(it[0]["event"]))),
        "another act": instead(act=elsewhere),
        "an act that replaces one that does not wait": instead(replaces=elsewhere),
        "the other side's act as one's own": instead(side="second"),
        "another place in the chain": lambda it: it[0].update(event=restated(it[0]["event"], seq=7)),
        "another kind": instead(kind="milestone", outcome=None, contents=None),
        "a revoke that nobody signed": instead(kind="revoke", outcome=None, contents=None),
        "a setting of the other side": instead(chain="settings", kind="hours", outcome=None, contents=None),
        "a number that was given before": instead(index=0),
        "before the mute": lambda it: it[0].update(event=restated(it[0]["event"], accepted_at=_opened_at(it[0]) + 1)),
        "before the connection": instead(accepted_at=1),
        "of another connection": instead(cid=elsewhere),
        "by another server": instead(iss="did:web:elsewhere.example"),
        "the same act twice": besides(
            lambda raw: restated(raw, accepted_at=payload_of(raw)["accepted_at"] + 5, index=99_999, as_of=after(raw))
        ),
        "two things at one time": besides(lambda raw: stated("expired", raw, at=payload_of(raw)["accepted_at"])),
        "opened again": besides(lambda raw: _opening(scene, raw)),
        "a mute taken back that she did not take back": besides(
            lambda raw: restated(raw, side="second", kind="unmute", outcome=None, contents=None, act=elsewhere,
                                 accepted_at=payload_of(raw)["accepted_at"] + 5, index=99_999, as_of=after(raw))
        ),
        "behind another act of the shop's": lambda it: it[0].update(
            event=restated(it[0]["event"], as_of={**payload_of(it[0]["event"])["as_of"], "first": elsewhere})
        ),
        "behind another act of hers": lambda it: it[0].update(
            event=restated(it[0]["event"], as_of={**payload_of(it[0]["event"])["as_of"], "second": elsewhere})
        ),
        "nothing came": lambda it: it.clear(),
    }  # fmt: skip
    for name, change in lies.items():
        raised = await scene.told(scene.mia, "GET /v1/inbox", page(change))
        assert raised.evidence, name


def after(raw: str) -> dict[str, str]:
    """The heads after an act of the shop, as the next event names them."""
    about = payload_of(raw)
    return {**about["as_of"], "first": about["act"]}


def _exp(raw: str) -> int:
    return int(payload_of(raw)["contents"]["exp"]) * 1000


def _later(raw: str) -> Any:
    contents = payload_of(raw)["contents"]
    return {**contents, "exp": contents["exp"] + 60}


def _opened_at(item: Item) -> int:
    # The grant and the mute came within the last seconds.
    return int(payload_of(item["event"])["accepted_at"]) - 30_000


def _opening(scene: Scene, raw: str) -> str:
    about = payload_of(raw)
    payload = {"iss": about["iss"], "cid": about["cid"], "event": "opened", "at": about["accepted_at"] + 5}
    payload |= {"log": about["log"], "index": about["index"] + 1}
    return forge(payload, "comity-event+jwt", scene.world.home_key)


async def test_lies_about_numbers_show_as_soon_as_another_is_stated(scene: Scene) -> None:
    """A number or a time that could be is the server's word; the next true one contradicts it."""

    def put(**changes: Any) -> Alter:
        return page(lambda it: it[0].update(event=scene.restated(it[0]["event"], **changes)))

    for changes in ({"index": 90_000}, {"accepted_at": scene.world.host.now() + HOUR}):
        raised = await scene.told(scene.mia, "GET /v1/inbox", put(**changes), then="act")
        assert raised.evidence


async def test_lies_to_the_side_that_writes(scene: Scene) -> None:
    """The answer to a message that waits, each member otherwise."""
    elsewhere = hash_id(b"elsewhere")

    def put(**changes: Any) -> Alter:
        def alter(answer: Answer) -> Answer:
            whole = json.loads(answer.body)
            return answer.with_json({**whole, "event": scene.restated(whole["event"], **changes)})

        return alter

    lies: list[dict[str, Any]] = [
        {"outcome": "delivered"},
        {"outcome": "dropped"},
        {"outcome": None},
        {"contents": None},
        {"contents": {"purpose": "care", "channel": "app", "exp": 1_900_000_000}},
        {"contents": {"purpose": "care.checkin", "channel": "app"}},
        {"act": elsewhere},
        {"side": "second"},
        {"chain": "settings"},
        {"seq": 3},
        {"kind": "milestone"},
        {"replaces": elsewhere},
        {"index": 0},
        {"accepted_at": 1},
        {"cid": elsewhere},
        {"iss": "did:web:elsewhere.example"},
        {"verdict": "granted"},
        {"as_of": None},
        {"as_of": {"first": scene.cid, "second": scene.cid, "zones": "2026a"}},
        {"as_of": {"first": elsewhere, "second": elsewhere, "zones": "2026a"}},
    ]
    for changes in lies:
        raised = await scene.told(scene.shop, "POST /v1/acts", put(**changes))
        assert raised.evidence, changes
    for changes in ({"index": 90_000}, {"accepted_at": scene.world.host.now() + HOUR}):
        assert (await scene.told(scene.shop, "POST /v1/acts", put(**changes), then="act")).evidence


async def test_two_acceptances_of_one_act_are_evidence_together(scene: Scene) -> None:
    """The first is the answer, the second comes by the inbox: each is signed, and they cannot both be."""
    world = scene.world
    first = second = ""

    def twice(answer: Answer) -> Answer:
        nonlocal first, second
        whole = json.loads(answer.body)
        first = ledger.records[-1].raw
        second = scene.restated(first, index=90_000, accepted_at=payload_of(first)["accepted_at"] + 5)
        cursor = hash_id(b"a place")
        item = {"cursor": cursor, "kind": "event", "cid": scene.cid, "event": second}
        return answer.with_json({"items": [*whole["items"], item], "cursor": cursor})

    async with world.open(world.copy(scene.shop)) as shop:
        party = shop.connection(scene.cid)
        await party.sync()
        ledger = party.queue.history
        world.proxy.begin(Lie("twice", "GET /v1/inbox", twice))
        with pytest.raises(Contradiction) as caught:
            await party.sync()
        world.proxy.honest()
    assert {first, second} <= set(caught.value.evidence)


async def test_a_revoke_that_is_kept_from_the_other_side(scene: Scene) -> None:
    """Nothing comes by the inbox or the stream, and an older view of the connection is shown beside it."""
    world = scene.world
    async with world.open(world.copy(scene.shop)) as shop:
        party = shop.connection(scene.cid)
        await party.sync()
        connections = [it.answer for it in world.proxy.seen if it.route == "GET /v1/connections/{cid}"]
        after = (world.folder / f"copy-{world._copies}").read_bytes()
        async with world.open(world.copy(scene.mia)) as mia:
            await mia.connection(scene.cid).revoke()
        world.proxy.begin(Lie("nothing came", "GET /v1/inbox", page(lambda it: it.clear())))
        with pytest.raises(Contradiction) as caught:
            await party.sync()
        assert caught.value.evidence
        world.proxy.honest()
    # Silence on every road at once looks as if nothing had happened; the next act tells.
    async with world.open(world.copy(after)) as shop:
        world.proxy.begin(Lie("as before", "GET /v1/connections/{cid}", lambda _: connections[-1]))
        with pytest.raises(Refused, match="connection_ended"):
            await shop.connection(scene.cid).send_message("care", "Are you there?")
        world.proxy.honest()
