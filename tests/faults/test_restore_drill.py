"""A drill: back up, say no in every way there is, lose the disk, put the backup back. Nobody is reached who said no,
nobody waits for ever, and nobody accuses the honest server (REC-1 to REC-11, BACKUP-3)."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from comity.client.connection import recovery as recovering_wallet
from comity.client.connection.stored_connection import StoredConnection
from comity.errors import Malformed, Refused
from comity.http_api import HeadsKnown
from comity_server.backup import create, restore
from comity_server.commands import record_restoration
from comity_server.writer import recovery
from support.restore_drill import Drill, Lost, Person, Reached, follow_log
from support.sdk_world import TERMS, SdkWorld, sdk_world

pytestmark = pytest.mark.timeout(600)
Rounds = Callable[[int, int], int]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SdkWorld]:
    """A running server with nobody in it."""
    async with sdk_world(tmp_path) as made:
        yield made


def _tomorrow(drill: Drill) -> date:
    return datetime.fromtimestamp(drill.world.host.now() / 1000, UTC).date() + timedelta(days=5)


async def _contest(drill: Drill, it: Person) -> None:
    (message,) = await it.hers.messages()
    await it.hers.give_feedback(message, "mislabelled", as_="sales")


async def _state_what_is_deleted(drill: Drill, it: Person) -> None:
    await it.hers.revoke()
    await it.ours.sync()
    await it.ours.state_erasure(deleted=["contact"])
    await it.hers.sync()


async def _block_and_mute(drill: Drill, it: Person) -> None:
    await it.wallet.block(it.hers)
    await it.hers.mute(purposes=["sales"])


NOES: dict[str, Callable[[Drill, Person], Any]] = {
    "revoke": lambda drill, it: it.hers.revoke(),
    "mute everything": lambda drill, it: it.hers.mute(),
    "mute with an end": lambda drill, it: it.hers.mute(days=14),
    "mute with a hidden end": lambda drill, it: it.hers.mute(days=14, shown="not_now"),
    "mute a purpose": lambda drill, it: it.hers.mute(purposes=["sales"]),
    "mute a channel": lambda drill, it: it.hers.mute(channels=["app"]),
    "away": lambda drill, it: it.wallet.go_away(_tomorrow(drill), connections=[it.hers]),
    "withdraw": lambda drill, it: it.hers.withdraw(it.hers.state.door("second").grants[0].id),
    "hours": lambda drill, it: it.hers.set_hours("Europe/Berlin", [(["mo"], "09:00", "09:01")]),
    "budget": lambda drill, it: it.hers.set_budget(messages=(0, "day")),
    "block": _block_and_mute,
    "contest": _contest,
    "renounce": lambda drill, it: it.ours.renounce("told_us"),
    "erasure": _state_what_is_deleted,
}
"""Ways to say no, but for the two in which a connection never begins."""


async def test_nobody_who_said_no_is_reached_after_a_restore(world: SdkWorld, chance: random.Random) -> None:
    drill = await Drill.of(world)
    for name in NOES:
        # What is contested counts as a sale, and comes only where those may.
        await drill.meet(name, *(("care",) if name == "contest" else ("care", "sales")))
    await (it := drill.people[list(NOES).index("contest")]).ours.send_message("care", "New ones, half the price!")
    await it.wallet.sync()
    await follow_log(world, "log")
    took_back, declined, link = await _halves(drill)
    backup = await drill.back_up("monday")

    world.pass_time(hours=1)
    late = await drill.meet("late", "care", "sales")
    for person in drill.people[:-1]:
        await NOES[person.name](drill, person)
    await late.hers.mute(purposes=["sales"])
    await took_back.withdraw_acceptance(took_back.connections()[0])
    for proposal in await drill.shop.proposals():
        await proposal.decline()
    for person in chance.sample(drill.people, len(drill.people) // 2):
        await person.wallet.sync()
        await person.ours.sync()
    for person in drill.people:
        assert person.forbids(world.host.now()), f"{person.name} said no to nothing"

    world.pass_time(hours=1)
    await drill.put_back(backup)
    await drill.meet_again(chance)
    await drill.nothing_is_lost()
    await _no_connection_began(drill, took_back, declined, link)
    await drill.everybody_goes_on()
    await drill.nobody_is_accused()
    told = await follow_log(world, "log")
    assert told.startswith("2 ") and "Its log is now" in told, "it is no finding: he is told where to look"
    print(f"restore: 1 round, {drill.acknowledged} acknowledged, {drill.lost} lost, {drill.reached} wrong,", end=" ")
    print(f"{drill.tried} messages tried")


async def _halves(drill: Drill) -> tuple[Any, Any, str]:
    """Two who accept an offer that nobody has countersigned yet."""
    link = await drill.shop.offer(drill.world.base, [TERMS], ["care"])
    took_back, declined = await drill.world.person("took-back"), await drill.world.person("declined")
    for wallet in (took_back, declined):
        await wallet.accept(link)
    return took_back, declined, link


async def _no_connection_began(drill: Drill, took_back: Any, declined: Any, link: str) -> None:
    for wallet in (took_back, declined):
        await wallet.sync()
        (party,) = wallet.connections()
        assert party.phase == "closed"
        assert await drill.world.host.server.store.agreement(party.cid) is None
        assert wallet.contradictions() == []
    assert await drill.shop.proposals() == []
    # Whoever wants to, says so anew.
    await took_back.accept(link, again=True)
    assert len(await drill.shop.proposals()) == 1


# --- at random


async def _anything(drill: Drill, person: Person, chance: random.Random) -> None:
    """One of the things that people do, if it can be done now."""
    hers, ours = person.hers, person.ours
    mutes, grants = hers.state.door("second").mutes, hers.state.door("second").grants
    acts: list[Callable[[], Any]] = [
        lambda: hers.mute(days=chance.choice([1, 14]), shown=chance.choice(["end", "not_now"])),
        lambda: hers.mute(purposes=[chance.choice(["care", "sales"])]),
        lambda: hers.set_hours("Europe/Berlin", [(["mo"], "09:00", "09:01")] if chance.random() < 0.5 else []),
        lambda: hers.set_budget(messages=(chance.choice([0, 1, 5]), "day")),
        lambda: hers.grant([chance.choice(["care", "sales", "favour"])]),
        lambda: hers.remember("paper"),
        # One that waits may be let go by an event that nobody has read when the disk is lost.
        lambda: ours.send_message(chance.choice(["care", "sales"]), "hello", if_muted=chance.choice(["drop", "fail"])),
        lambda: ours.mute(purposes=["favour"]),
        lambda: ours.remember("size"),
        lambda: ours.renounce("told_us"),
    ]
    if mutes:
        acts.append(lambda: hers.unmute(chance.choice(mutes).id))
    if grants:
        acts.append(lambda: hers.withdraw(chance.choice(grants).id))
    if (turn := chance.random()) < 0.1:
        acts = [hers.revoke if turn < 0.05 else hers.rotate_key]
    with suppress(Refused, Malformed):
        await chance.choice(acts)()


async def _story(drill: Drill, chance: random.Random, steps: int) -> None:
    for _ in range(steps):
        open_ = [it for it in drill.people if it.hers.phase == "open" and it.ours.phase == "open"]
        if not open_ or chance.random() < 0.1:
            open_.append(await drill.meet(f"person-{len(drill.people)}", "care", "sales"))
        await _anything(drill, chance.choice(open_), chance)
        if chance.random() < 0.3:
            await chance.choice(drill.people).wallet.sync()
        if chance.random() < 0.2:
            await drill.shop.sync()
        drill.world.pass_time(hours=chance.choice([0, 0, 1, 5]))


@pytest.mark.parametrize(
    ("seeds", "restores"),
    [pytest.param(1, 1, id="short"), pytest.param(8, 4, id="long", marks=pytest.mark.long)],
)
async def test_a_server_is_put_back_at_random_moments_of_random_stories(
    tmp_path: Path, seeds: int, restores: int
) -> None:
    total = {"restores": 0, "acknowledged": 0, "lost": 0, "reached": 0, "tried": 0}
    for seed in range(seeds):
        chance = random.Random(seed)
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        async with sdk_world(folder) as world:
            drill = await Drill.of(world)
            await _story(drill, chance, 8)
            for number in range(restores):
                backup = await drill.back_up(f"{number}")
                await _story(drill, chance, chance.randint(0, 25))
                for person in chance.sample(drill.people, len(drill.people) // 2):
                    await person.hers.sync()
                await drill.put_back(backup)
                await drill.meet_again(chance)
                await drill.nothing_is_lost()
                await drill.everybody_goes_on()
            await drill.nobody_is_accused()
        for name in total:
            total[name] += getattr(drill, name)
    assert total["restores"] == seeds * restores
    print(total)


# --- the drill notices


async def _short(drill: Drill, no: str = "mute a purpose", *, late: bool = False) -> None:
    """One who says no, and the server put back."""
    chance = random.Random(1)
    if not late:
        await drill.meet("mia", "care", "sales")
    backup = await drill.back_up("monday")
    if late:
        await drill.meet("mia", "care", "sales")
    await NOES[no](drill, drill.people[0])
    await drill.put_back(backup)
    await drill.meet_again(chance)
    await drill.nothing_is_lost()
    await drill.everybody_goes_on()
    await drill.nobody_is_accused()


async def _states_nothing(*given: object) -> int:
    return 0


async def _confirms_what_the_server_has(stored: StoredConnection) -> bool:
    """A wallet that hands nothing in, and says that it knows no more than the server."""
    session, cid = stored.session, stored.info.cid
    server = session.server(stored.info.home)
    answer, _ = await server.get_connection(cid, stored.signer)
    heads = HeadsKnown(
        first=answer.heads.first.head, second=answer.heads.second.head, settings=answer.settings.head or cid
    )
    await server.submit_heads(cid, heads, stored.signer)
    await session.records.store(("recovered", cid, stored.history.state.restored_at))
    return True


async def _takes_nothing_back(*given: Any) -> list[None]:
    return [None for _ in given[-1]]


async def _opens_nothing_again(*given: object) -> None:
    raise Refused("not_found")


def _with_every_head(data: Path, folder: Path, *, move: bool) -> None:
    _copy_heads(data, folder, move=True)


_copy_heads = create._copy_heads
Planted = tuple[object, str, object]
PLANTED: dict[str, tuple[type[AssertionError], list[Planted]]] = {
    "a server that states nothing and holds nothing": (Reached, [(recovery, "_state_restored", _states_nothing)]),
    "a wallet that hands in nothing": (Reached, [(recovering_wallet, "restore_lost", _confirms_what_the_server_has)]),
    "a server that takes nothing back": (Lost, [(record_restoration, "take_back", _takes_nothing_back)]),
    "a server that does not know who came later": (Lost, [(record_restoration, "_open_again", _opens_nothing_again)]),
    "a copy that does not know that it is one": (
        Reached,
        [(create, "COPIED", "x"), (restore, "COPIED", "x"), (create, "_copy_heads", _with_every_head)],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_the_drill_notices(world: SdkWorld, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    how, planted = PLANTED[name]
    for where, what, instead in planted:
        monkeypatch.setattr(where, what, instead)
    with pytest.raises(how):
        await _short(await Drill.of(world), late="later" in name)
