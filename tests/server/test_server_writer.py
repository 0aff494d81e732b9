"""The way in: what is accepted, in which order, and what happens when the server cannot."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from comity.crypto.jws import sign_jws
from comity.documents.acts import ACT_TYP, SignedAct
from comity.documents.events import Accepted, open_event
from comity.rules.next_act import blind_revoke, compose_act, next_act
from comity_server.writer import time_lead
from support.world import DAY, HOUR, Pair, World, a_world, eventually, sqlite_of


def acceptance(pair: Pair, event: str) -> Accepted:
    opened = open_event(event, pair.world.server.directory.find_key).event
    assert isinstance(opened, Accepted)
    return opened


async def test_an_accepted_act_sent_again_gets_its_first_answer_even_years_later(world: World) -> None:
    pair = await world.shop_and_customer("care")
    message = pair.compose("first", "message")
    first = await world.act(message)
    world.later(400 * DAY)
    assert (await world.act(message)).json["event"] == first.json["event"]
    await world.stop()
    await world.start()
    again = await world.act(message)
    assert (again.status, again.json["event"]) == (200, first.json["event"])


async def test_of_two_devices_that_write_at_once_one_is_told_that_the_place_is_taken(world: World) -> None:
    pair = await world.shop_and_customer()
    one, two = (pair.compose("second", "remember", key=key) for key in ("language", "name"))
    replies = await asyncio.gather(world.act(one), world.act(two), world.act(one), world.act(two))
    assert sorted(reply.status for reply in replies) == [200, 200, 409, 409]
    assert {reply.code for reply in replies} == {"", "seq_taken"}


async def test_one_bad_act_in_a_batch_stops_its_own_chain_and_no_other(world: World) -> None:
    pair = await world.shop_and_customer("care")
    first = pair.compose("first", "remember", key="language")
    stranger = sign_jws(first.payload.to_json(), ACT_TYP, world.person())
    skipped = _after(pair, first, key="name")
    gap = _after(pair, skipped, key="nickname")
    other = pair.compose("second", "mute")
    answers = await world.batch(first, stranger, gap, skipped, other, "junk", first)
    assert [answer.get("code", "ok") for answer in answers] == [
        "ok",
        "bad_signature",
        "seq_gap",
        "after_refused",
        "ok",
        "malformed",
        "ok",
    ]
    assert answers[6]["event"] == answers[0]["event"]
    indexes = [acceptance(pair, answers[place]["event"]).index for place in (0, 4)]
    assert indexes[1] == indexes[0] + 1


def _after(pair: Pair, act: SignedAct, kind: str = "remember", **fields: object) -> SignedAct:
    payload = act.payload
    return compose_act(
        kind,
        next(signer for signer in pair.signers.values() if signer.did == payload.iss),
        iss=payload.iss,
        aud=payload.aud,
        iat=payload.iat,
        cid=payload.cid,
        seq=payload.seq + 1,
        prev=act.id,
        **fields,
    )


async def test_a_revoke_gets_in_behind_a_refused_act_of_its_own_batch(world: World) -> None:
    pair = await world.shop_and_customer()
    bad = next_act(pair.state, "second", "unmute", world.now() // 1000, pair.signers["second"])
    revoke = pair.compose("second", "revoke")
    answers = await world.batch(bad, revoke)
    assert [answer.get("code", "ok") for answer in answers] == ["no_such_mute", "ok"]


async def test_acts_of_many_people_are_numbered_without_a_gap(world: World) -> None:
    pairs = await asyncio.gather(*(world.connect(world.person(), world.person()) for _ in range(12)))

    async def live(pair: Pair) -> list[int]:
        numbers = []
        for turn in range(5):
            await pair.refused("first", "unmute")
            act = await pair.go("first", "remember", key=f"key_{turn}")
            assert act
            numbers.append(acceptance(pair, pair.events[-1]).index)
        return numbers

    numbers = [number for numbers in await asyncio.gather(*(live(pair) for pair in pairs)) for number in numbers]
    assert sorted(numbers) == list(range(1, 61)), "behind the server's own key"


async def test_time_never_stands_still_in_a_connection(world: World) -> None:
    pair = await world.connect(world.person(), world.person())
    acts = [pair.compose("first", "remember", key="a")]
    for turn in range(9):
        acts.append(_after(pair, acts[-1], key=f"k{turn}"))
    times = [acceptance(pair, answer["event"]).accepted_at for answer in await world.batch(*acts)]
    assert times == sorted(set(times))


async def test_a_no_is_taken_whatever_the_clock_of_the_one_who_says_it(world: World) -> None:
    pair = await world.shop_and_customer("care")
    yesterday = (world.now() - DAY) // 1000
    assert await pair.refused("second", "remember", key="name", iat=yesterday) == "iat_out_of_range"
    await pair.go("second", "mute", iat=yesterday)
    restored = blind_revoke(pair.cid, pair.signers["first"].did, yesterday, pair.signers["second"])
    assert (await world.act(restored)).status == 200
    assert await pair.refused("first", "message") == "connection_ended"


async def test_acts_of_a_stranger_and_of_an_unknown_connection_look_alike(world: World) -> None:
    pair = await world.shop_and_customer()
    stranger = world.person()
    foreign = blind_revoke(pair.cid, pair.signers["first"].did, world.now() // 1000, stranger)
    nowhere = blind_revoke("A" * 43, pair.signers["first"].did, world.now() // 1000, stranger)
    one, two = await world.act(foreign), await world.act(nowhere)
    assert (one.status, one.plain) == (two.status, two.plain)
    assert one.code == "not_found"


async def test_messages_that_an_unmute_releases_go_out_with_it(world: World) -> None:
    pair = await world.shop_and_customer("care")
    await pair.go("second", "mute")
    await pair.go("first", "message")
    await pair.go("second", "unmute")
    assert (await pair.kinds("second"))[-1] == "delivered"


async def test_a_message_comes_out_when_the_night_is_over_though_the_server_was_restarted(world: World) -> None:
    pair = await world.shop_and_customer("care")
    mute = await pair.go("second", "mute")
    await pair.go("second", "mute_end", mute=mute.id, until=(world.now() + 9 * HOUR) // 1000)
    await pair.go("first", "message")
    await world.stop()
    world.later(9 * HOUR + 1000)
    await world.start()
    async with asyncio.timeout(20):
        while (await pair.kinds("second"))[-1] != "delivered":
            await asyncio.sleep(0.02)


async def test_an_overloaded_server_says_so_and_still_takes_a_no(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_queue=16) as world:
        pairs = [await world.connect(world.person(), world.person()) for _ in range(24)]
        # Somebody else holds the file: commits wait, and the queue fills.
        with closing(sqlite3.connect(world.folder / "data" / "comity.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            busy = [asyncio.create_task(world.act(pair.compose("first", "remember", key="a"))) for pair in pairs[:16]]
            await asyncio.sleep(0.3)
            turned_away = await world.act(pairs[20].compose("first", "remember", key="a"))
            assert turned_away.code == "overloaded"
            assert turned_away.headers["Retry-After"] == "1"
            no = asyncio.create_task(world.act(pairs[21].compose("first", "revoke")))
            await asyncio.sleep(0.2)
            assert not no.done()
            other.execute("ROLLBACK")
        assert (await no).status == 200
        codes = [(await reply).code for reply in busy]
        assert set(codes) == {"", "overloaded"}
        for pair, code in zip(pairs, codes, strict=False):
            if code:
                await pair.go("first", "remember", key="a")


async def test_a_batch_that_is_larger_than_the_queue_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_queue=16) as world:
        pair = await world.connect(world.person(), world.person())
        acts = [pair.compose("first", "remember", key="a")]
        for turn in range(39):
            acts.append(_after(pair, acts[-1], key=f"k{turn % 9}"))
        assert [answer.get("code") for answer in await world.batch(*acts)] == [None] * 40


async def test_when_the_store_does_not_take_it_nothing_has_happened(world: World) -> None:
    pair = await world.shop_and_customer("care")
    act = pair.compose("second", "mute")
    # The writer would wait five seconds for whoever else holds the file.
    await sqlite_of(world.server)._writer.run(lambda raw: raw.execute("PRAGMA busy_timeout = 50"))
    with closing(sqlite3.connect(world.folder / "data" / "comity.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reply = await world.act(act)
        other.execute("ROLLBACK")
    assert reply.code == "store_failing"
    assert reply.headers["Retry-After"]
    assert (await pair.kinds("first"))[-1] == "grant"
    await pair.go("first", "message")
    accepted = await world.act(act)
    assert accepted.status == 200
    message = acceptance(pair, pair.events[-1])
    assert acceptance(pair, accepted.json["event"]).index == message.index + message.places


async def test_a_no_counts_though_the_one_who_said_it_hung_up(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_queue=16) as world:
        for _ in range(20):
            pair = await world.connect(world.person(), world.person())
            raw = pair.compose("first", "revoke").raw.encode()
            _, writer = await asyncio.open_connection("127.0.0.1", world.port)
            head = f"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\nContent-Length: {len(raw)}"
            writer.write(head.encode() + b"\r\n\r\n" + raw)
            await writer.drain()
            await asyncio.sleep(0.003)
            writer.transport.abort()

            async def ended(pair: Pair = pair) -> bool:
                return bool((await pair.seen("second")).json["state"]["phase"] == "ended")

            await eventually(ended)


async def test_a_client_that_writes_faster_than_time_goes_is_slowed_down_and_a_no_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_lead, "MOST_AHEAD", 20)
    pair = await world.connect(world.person(), world.person())
    acts = [pair.compose("first", "remember", key="a")]
    for turn in range(39):
        acts.append(_after(pair, acts[-1], key=f"k{turn % 9}"))
    no = pair.compose("second", "mute")
    codes = [answer.get("code", "ok") for answer in await world.batch(*acts, no)]
    assert codes[:20] == ["ok"] * 20 and "rate_limited" in codes
    assert set(codes[codes.index("rate_limited") + 1 : 40]) == {"after_refused"}
    assert codes[40] == "ok"


async def test_a_customer_s_flood_of_mutes_keeps_nobody_s_message_and_no_new_no_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says no again and closes nothing new has room, but not without end; what closes something waits for nobody
    (CONN-24, HTTP-21). One batch has one time, so what is left of the room is known."""
    monkeypatch.setattr(time_lead, "MOST_AHEAD", 20)
    monkeypatch.setattr(time_lead, "MOST_AHEAD_NARROWING", 40)
    pair = await world.shop_and_customer("care")
    flood = [pair.compose("second", "mute", purposes=("sales",))]
    for number in range(40):
        until = world.now() // 1000 + 86_400 + number
        flood.append(_after(pair, flood[-1], kind="mute", purposes=("sales",), until=until))
    whole = _after(pair, flood[-1], kind="mute")
    withdraw = _after(pair, whole, kind="withdraw", grant=pair.state.second.grants[0].id)
    again = _after(pair, withdraw, kind="mute", purposes=("sales.windows",))
    shop = [pair.compose("first", "message")]
    for number in range(19):
        shop.append(_after(pair, shop[-1], key=f"k{number % 9}"))
    end = _after(pair, again, kind="revoke")
    sent = [*flood, whole, *shop, withdraw, again, end]
    codes = [answer.get("code", "ok") for answer in await world.batch(*sent)]
    assert codes[:42] == ["ok"] * 42, "her repetitions, as far as there is room, and a mute of everything beyond"
    assert codes[42:62] == ["ok"] * 20, "all that the shop may write by itself"
    assert codes[62:] == ["ok", "rate_limited", "ok"], "a grant taken back, a mute within a mute, the end"
    assert (await pair.seen("second")).json["state"]["phase"] == "ended"


async def test_a_server_that_has_just_started_lets_no_connection_run_away_from_the_clock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_lead, "MOST_OF_BOTH", 30)
    pair = await world.shop_and_customer("care")
    acts = [pair.compose("second", "remember", key="a")]
    for turn in range(49):
        acts.append(_after(pair, acts[-1], key=f"k{turn % 9}"))
    no = pair.compose("first", "mute")
    codes = [answer.get("code", "ok") for answer in await world.batch(*acts, no, _after(pair, no, key="tea"))]
    assert codes[:30] == ["ok"] * 30 and "rate_limited" in codes[30:33]
    assert codes[50:] == ["ok", "rate_limited"], "a no of the other side, and a word"
