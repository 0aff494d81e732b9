"""Mia goes on holiday, and comes back (spec/away.md, AWAY-2 to AWAY-6), over HTTP with a real server."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from comity.client import Connection, Request, Wallet, absence
from comity.errors import Unreachable
from comity.rules.state import Mute
from support.sdk_world import SdkWorld


async def several(world: SdkWorld, *names: str) -> tuple[Wallet, dict[str, Connection], dict[str, Connection]]:
    """(Mia's wallet, the businesses' views by name, her views by name)."""
    mia = await world.person("mia")
    ours, theirs = {}, {}
    for name in names:
        ours[name], theirs[name] = await world.connect(await world.business(name), mia, "care")
    return mia, ours, theirs


def in_days(world: SdkWorld, days: int) -> datetime:
    return datetime.fromtimestamp(world.host.now() / 1000, UTC) + timedelta(days=days)


def mutes(party: Connection) -> tuple[Mute, ...]:
    return party.state.door(party.side).mutes


async def test_mia_is_away_for_everybody_and_her_door_opens_when_she_is_back(world: SdkWorld) -> None:
    mia, ours, theirs = await several(world, "shop", "salon", "bakery")
    day = in_days(world, 14).date()
    end = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    went = await mia.go_away(day)
    assert {it.cid for it in went.reached} == {it.cid for it in theirs.values()} and went.skipped == []
    for party in ours.values():
        await party.sync()
        assert party.away_until() == end and end % 86_400 == 0
        verdict = party.may("care")
        assert (verdict.decision, verdict.reason, verdict.ends_at) == ("hold", "not_now", end * 1000)
        (held,) = [await party.send_message("care", "Nice weather?")]
        assert held.outcome == "held"
        assert f"is away until {day}" in str(await party.timeline())
    mia = await world.again(mia, "mia")
    assert {it.cid for it in await mia.come_back()} == {it.cid for it in went.reached}
    for again in mia.connections():
        await again.sync()
        assert mutes(again) == () and [it.text for it in await again.messages()] == ["Nice weather?"]
    assert await mia.come_back() == []


async def test_a_business_muted_for_longer_or_without_a_shown_end_stays_muted(world: SdkWorld) -> None:
    """An act of the same scope would take its place, and open the door on the day of her return (AWAY-4)."""
    mia, _, theirs = await several(world, "longer", "hidden", "open", "sooner", "part", "phone")
    await theirs["longer"].mute(days=60, shown="end")
    await theirs["hidden"].mute(days=60)
    await theirs["open"].mute()
    await theirs["sooner"].mute(days=5, shown="end")
    await theirs["part"].mute(days=60, purposes=["sales"])
    await theirs["phone"].mute(channels=["phone"])
    before = {name: mutes(party) for name, party in theirs.items()}
    went = await mia.go_away(in_days(world, 14).date())
    assert {it.cid for it in went.skipped} == {theirs[name].cid for name in ("longer", "hidden", "open")}
    assert {it.cid for it in went.reached} == {theirs[name].cid for name in ("sooner", "part", "phone")}
    for name in ("longer", "hidden", "open"):
        assert mutes(theirs[name]) == before[name]
    # Back on day two: what she had muted until day five is muted until day five.
    world.pass_time(days=2)
    assert len(await mia.come_back()) == 3
    assert [it.until for it in mutes(theirs["sooner"])] == [before["sooner"][0].until]
    assert mutes(theirs["part"]) == before["part"] and mutes(theirs["open"]) == before["open"]
    assert mutes(theirs["phone"]) == before["phone"]


async def test_staying_longer_and_naming_some(world: SdkWorld) -> None:
    mia, _, theirs = await several(world, "shop", "salon")
    await theirs["shop"].mute(days=20, shown="end")
    await mia.go_away(in_days(world, 30).date(), connections=[theirs["shop"]])
    assert mutes(theirs["salon"]) == ()
    await mia.go_away(in_days(world, 40).date())
    assert len(await mia.come_back()) == 2
    (kept,) = mutes(theirs["shop"])
    assert kept.why is None and kept.until == world.host.now() // 1000 + 20 * 86_400
    assert mutes(theirs["salon"]) == ()


async def test_a_mute_that_she_made_herself_meanwhile_is_not_taken_back(world: SdkWorld) -> None:
    mia, _, theirs = await several(world, "shop")
    await mia.go_away(in_days(world, 14).date())
    await theirs["shop"].mute()
    assert await mia.come_back() == []
    assert len(mutes(theirs["shop"])) == 1


async def test_equal_times_do_not_join_her_connections(world: SdkWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each act is a request of its own, in an order that is drawn, over the time that she gives (AWAY-5)."""
    mia, _, theirs = await several(world, *(f"shop-{it}" for it in range(6)))
    sent: list[tuple[float, str]] = []
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    loop = SimpleNamespace(time=lambda: now)
    monkeypatch.setattr(absence, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=lambda: loop))

    def cut(request: Request) -> bool:
        if request.method == "POST" and request.url.endswith("/v1/acts"):
            sent.append((now, request.body.decode()))
        return False

    world.wires["mia"].cut = cut
    orders = set()
    for turn in range(3):
        began = now
        went = await mia.go_away(in_days(world, 14 + turn).date(), spread=3600)
        moments = [at - began for at, _ in sent[-6:]]
        assert len(set(moments)) == len(went.reached) == 6 and 0 <= min(moments) < max(moments) < 3600
        orders.add(tuple(it.cid for it in went.reached))
    assert len(sent) == 18 and all(raw.count(".") == 2 for _, raw in sent)
    assert len(orders) > 1
    assert {it.cid for it in theirs.values()} == set(next(iter(orders)))


async def test_a_server_that_does_not_answer_keeps_no_other_business_reachable(world: SdkWorld) -> None:
    mia, _, theirs = await several(world, "shop", "salon", "bakery")
    down: list[Request] = []

    def cut(request: Request) -> bool:
        if request.method == "POST" and request.url.endswith("/v1/acts") and not down:
            down.append(request)
        return request in down

    world.wires["mia"].cut = cut
    with pytest.raises(Unreachable):
        await mia.go_away(in_days(world, 14).date())
    assert sum(bool(mutes(it)) for it in theirs.values()) == 2
    world.wires["mia"].cut = None
    mia = await world.again(mia, "mia")
    # What was signed and not answered is sent again, and is hers to take back.
    await mia.sync()
    assert all(mutes(it) for it in mia.connections())
    assert len(await mia.come_back()) == 3
    assert not any(mutes(it) for it in mia.connections())
