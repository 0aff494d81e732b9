"""What people get from the log: receipts, tags, key histories; and that it never keeps anybody from saying no."""

import asyncio
import http.client
import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from comity.crypto.keys import SigningKey
from comity.documents.acts import SignedAct
from comity.documents.agreements import countersign
from comity.documents.events import Accepted, Delivered, open_event
from comity.documents.types import SIDES, Side
from comity.encoding import b64u_decode
from comity.errors import Malformed
from comity.http_api import ACTS, AGREEMENTS, JSON, MOST_LINES
from comity.transparency.checkpoints import sign_checkpoint
from comity.transparency.entries import Kind, entry_tag, parse_entry, public_tag_key
from comity.transparency.receipts import open_receipt
from comity.transparency.tiles import Tile
from comity_server.log import sequencer
from comity_server.log.appender import LogAdditions
from comity_server.log.registry import NoSuchLog
from comity_server.log.sequencer import Sequencer
from comity_server.store import sqlite
from support.log_over_http import Reader
from support.witness_logs import plant
from support.world import HOUR, Pair, World, a_world, eventually, head_file_not_to_be_written, sqlite_of


def accepted(pair: Pair, event: str) -> Accepted:
    opened = open_event(event, pair.world.server.directory.find_key).event
    assert isinstance(opened, Accepted)
    return opened


async def fetched(pair: Pair, side: Side, act: SignedAct) -> dict[str, Any]:
    """What a side is told of an act when it asks."""
    reply = await pair.world.read(pair.signers[side], f"{ACTS}/{act.id}")
    assert reply.status == 200, reply
    found: dict[str, Any] = reply.json
    return found


async def tags_of(pair: Pair, side: Side) -> dict[str, bytes]:
    """The tag keys of a side, as it is shown them."""
    return {name: b64u_decode(key) for name, key in (await pair.seen(side)).json["tags"].items()}


# --- receipts


async def test_an_act_is_answered_with_the_proof_that_it_stands_in_the_log(world: World) -> None:
    pair = await world.shop_and_customer("care")
    mute = await pair.go("second", "mute")
    unmute = await pair.go("second", "unmute")
    message = await pair.go("first", "message")
    last = await pair.go("second", "remember", key="name")
    reader = await Reader.of(world)
    signed, entries = await reader.whole()
    both = (await tags_of(pair, "first"))["both"]
    seen: list[tuple[Kind, Side | None]] = []
    indexes = []
    for act in (mute, unmute, message, last):
        receipt = await reader.holds(pair.receipts[act.id], act.raw, signed)
        assert entries[receipt.index] == receipt.opening.entry
        assert receipt.entry.tag == entry_tag(both, receipt.opening.at)
        seen.append((receipt.entry.kind, receipt.entry.side))
        indexes.append(receipt.index)
    assert seen == [
        (Kind.MUTE_ALL, "second"),
        (Kind.UNMUTE, "second"),
        (Kind.ACT, "first"),
        (Kind.ACT, "second"),
    ]
    assert [later - index for index, later in pairwise(indexes)] == [1, 1, 2], "what is delivered has two entries"
    delivery = parse_entry(entries[indexes[2] + 1])
    assert (delivery.kind, delivery.side, delivery.tag) == (Kind.DELIVERED, "first", entry_tag(both, world.now()))
    assert [accepted(pair, event).index for event in pair.events[-4:]] == indexes
    assert {accepted(pair, event).log for event in pair.events[-4:]} == {signed.origin}


async def test_each_line_of_a_batch_has_a_receipt_of_its_own_and_what_is_refused_has_none(world: World) -> None:
    pair, other = await world.shop_and_customer("care"), await world.shop_and_customer()
    row = pair.row_of("first", 3)
    mute = other.compose("second", "mute")
    lines = await world.batch(row[0], row[2], mute, row[1], row[0])
    assert [line.get("code", "") for line in lines] == ["", "seq_gap", "", "after_refused", ""]
    assert ["receipt" in line for line in lines] == [True, False, True, False, True]
    reader = await Reader.of(world)
    found = [await reader.holds(lines[at]["receipt"], act.raw) for at, act in ((0, row[0]), (2, mute), (4, row[0]))]
    assert found[1].index == found[0].index + 1
    assert found[2].index == found[0].index
    with pytest.raises(AssertionError):
        await reader.holds(lines[0]["receipt"], mute.raw)


async def test_a_setting_is_in_the_log_and_says_nothing_to_anybody_but_its_owner(world: World) -> None:
    pair = await world.shop_and_customer("care")
    setting = await pair.go("second", "budget")
    receipt = await (await Reader.of(world)).holds(pair.receipts[setting.id], setting.raw)
    theirs, ours = await tags_of(pair, "first"), await tags_of(pair, "second")
    assert (receipt.entry.kind, receipt.entry.side, receipt.entry.until) == (Kind.PRIVATE, None, 0)
    assert receipt.entry.tag == entry_tag(ours["own"], receipt.opening.at)
    assert receipt.entry.tag not in [entry_tag(key, receipt.opening.at) for key in (*theirs.values(), ours["both"])]
    assert (await world.read(pair.signers["first"], f"{ACTS}/{setting.id}")).code == "not_found"
    assert (await fetched(pair, "second", setting))["receipt"]


async def test_an_immediate_delivery_has_two_entries_that_only_the_two_sides_can_link(
    world: World,
) -> None:
    pair = await world.shop_and_customer("care", "safety")
    reader = await Reader.of(world)
    for purpose, kind in (("care", Kind.DELIVERED), ("safety", Kind.DELIVERED_EXEMPT)):
        message = await pair.go("first", "message", purpose=purpose)
        for side in SIDES:
            shown = await fetched(pair, side, message)
            sent = await reader.holds(shown["receipt"], message.raw)
            delivery = await reader.holds(shown["delivery"], message.raw)
            assert (delivery.index, delivery.entry.kind) == (sent.index + 1, kind)
            assert delivery.opening.at == sent.opening.at
            assert delivery.opening.salt != sent.opening.salt, "who is shown the one could find the other"
            assert delivery.entry.commitment != sent.entry.commitment


async def test_a_held_message_gets_the_entry_of_its_delivery_when_it_is_let_go(world: World) -> None:
    pair = await world.shop_and_customer("care")
    mute = await pair.go("second", "mute")
    await pair.go("second", "mute_end", mute=mute.id, until=(world.now() + HOUR) // 1000)
    held = await pair.go("first", "message")
    waiting = accepted(pair, pair.events[-1])
    assert (waiting.outcome, waiting.places) == ("held", 1)
    assert set(await fetched(pair, "first", held)) == {"event", "act", "receipt"}
    assert set(await fetched(pair, "second", held)) == {"event"}, "nobody is shown what did not reach him"
    await pair.go("second", "remember", key="name")
    await world.stop()
    world.later(HOUR)
    await world.start()

    async def came() -> bool:
        return (await pair.kinds("second"))[-1] == "delivered"

    await eventually(came)
    item = (await pair.news("second"))["items"][-1]
    delivered = open_event(item["event"], world.server.directory.find_key).event
    assert isinstance(delivered, Delivered)
    reader = await Reader.of(world)
    signed = await reader.checkpoint()
    # In between came what she had remembered, and then that her mute was over (AUD-1).
    assert (delivered.log, delivered.index) == (signed.origin, waiting.index + 3)
    for side in SIDES:
        shown = await fetched(pair, side, held)
        sent, delivery = [await reader.holds(shown[name], held.raw, signed) for name in ("receipt", "delivery")]
        assert (sent.index, delivery.index) == (waiting.index, delivered.index)
        assert (sent.opening.at, delivery.opening.at) == (waiting.accepted_at, delivered.at)
        assert (delivery.entry.kind, delivery.entry.side) == (Kind.DELIVERED, "first")
        assert sent.opening.salt != delivery.opening.salt


def remember_few(world: World) -> None:
    """From now on the log holds no more than 8 of its last entries and nodes in memory."""
    log = world.server.logs.active
    log._nodes.most = log._entered.most = 8


async def test_a_receipt_is_as_good_when_its_neighbours_are_not_at_hand_any_more(world: World) -> None:
    remember_few(world)
    pair = await world.shop_and_customer()
    row = pair.row_of("first", 40)
    receipts = [line["receipt"] for line in await world.batch(*row)]
    reader = await Reader.of(world)
    signed, _ = await reader.whole()
    for act, receipt in zip(row, receipts, strict=True):
        assert (await reader.holds(receipt, act.raw)).checkpoint.raw == signed.raw
        assert (await fetched(pair, "second", act))["receipt"] == receipt


async def test_all_that_is_served_while_others_write_fits_together(world: World) -> None:
    pairs = [await world.connect(world.person(), world.person()) for _ in range(6)]
    told: list[tuple[SignedAct, str]] = []

    async def live(row: list[SignedAct]) -> None:
        for at in range(0, len(row), 10):
            some = row[at : at + 10]
            told.extend(zip(some, [line["receipt"] for line in await world.batch(*some)], strict=True))

    writing = asyncio.gather(*(live(pair.row_of("first", 60)) for pair in pairs))
    reader = await Reader.of(world)
    seen = [(await reader.whole())[0]]
    while not writing.done():
        seen.append((await reader.whole())[0])
        await reader.extends(seen[-2], seen[-1])
    await writing
    signed, entries = await reader.whole()
    found = [(await reader.holds(receipt, act.raw)).index for act, receipt in told]
    assert sorted(found) == list(range(1, len(entries))), "all but the server's own key"
    for earlier in {it.size: it for it in seen}.values():
        await reader.extends(earlier, signed)
    assert len({it.size for it in seen}) > 2, "nobody wrote meanwhile"


# --- what is shown to whom


async def test_each_side_gets_its_tag_keys_and_an_unsigned_answer_has_none(world: World) -> None:
    first, second = await world.business("shop"), world.person()
    offer = world.offer(first)
    assert (await world.publish(offer)).status == 201
    half = world.half(offer, first, second)
    assert (await world.propose(offer, half)).status == 202
    whole = countersign(half, first)
    reply = await world.send("PUT", f"{AGREEMENTS}/{whole.cid}", whole.raw, JSON)
    assert reply.status == 200
    assert b"tags" not in reply.body, "anybody may send it"
    found = {}
    for side, signer in (("first", first), ("second", second)):
        (item,) = [it for it in (await world.read(signer, "/v1/inbox")).json["items"] if it["kind"] == "opened"]
        shown = (await world.read(signer, f"/v1/connections/{whole.cid}")).json["tags"]
        assert item["tags"] == shown
        assert {len(b64u_decode(key)) for key in shown.values()} == {32}
        found[side] = shown
    assert found["first"]["both"] == found["second"]["both"]
    assert len({key for shown in found.values() for key in shown.values()}) == 3
    other = await world.shop_and_customer()
    assert not set((await tags_of(other, "first")).values()) & {b64u_decode(it) for it in found["first"].values()}


async def test_the_keys_of_a_business_are_in_the_log_from_the_first_to_the_last(world: World) -> None:
    pair = await world.shop_and_customer("care")
    old, key = pair.signers["first"], SigningKey(b"n" * 32)
    name = old.did.rpartition(":")[2]
    added = await world.server.add_business_key(name, key.public.did)
    reply = await world.send("GET", f"/b/{name}/keys")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    reader = await Reader.of(world)

    async def covered() -> bool:
        return (await reader.checkpoint()).size == 4

    await eventually(covered)
    history = (await world.send("GET", f"/b/{name}/keys")).json
    signed = await reader.checkpoint()
    assert history["did"] == old.did
    stated = []
    for item in history["keys"]:
        receipt = await reader.holds(item["receipt"], item["statement"].encode(), signed)
        statement = json.loads(item["statement"])
        assert (receipt.entry.kind, receipt.entry.side) == (Kind.KEY, None)
        assert receipt.entry.tag == entry_tag(public_tag_key(old.did), statement["at"])
        assert receipt.opening.at == statement["at"]
        stated.append((statement["did"], statement["kid"], statement["key"]))
    assert stated == [
        (old.did, old.kid, old.key.public.multibase),
        (old.did, next(iter(added.keys)), key.public.multibase),
    ]
    assert (await world.send("GET", "/b/nobody/keys")).code == "not_found"


# --- what is served


async def test_the_log_is_served_as_files_that_any_cache_may_keep(world: World) -> None:
    pair = await world.shop_and_customer()
    await world.batch(*pair.row_of("second", 258))
    size = 260
    at_any_time = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/octet-stream"}
    files = {
        "tile/0/000": 256 * 32,
        "tile/0/000.p/7": 7 * 32,
        "tile/0/001.p/1": 32,
        "tile/0/001.p/3": 3 * 32,
        "tile/1/000.p/1": 32,
        "tile/entries/000": 256 * 61,
        "tile/entries/000.p/255": 255 * 61,
        "tile/entries/001.p/3": 3 * 61,
    }
    reader = await Reader.of(world)
    signed, _ = await reader.whole()
    assert signed.size == size
    for path, length in files.items():
        reply = await world.send("GET", f"/log/{path}")
        assert (reply.status, len(reply.body)) == (200, length), path
        assert at_any_time.items() <= dict(reply.headers).items()
        assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        looked = await world.send("HEAD", f"/log/{path}")
        assert (looked.status, looked.body, looked.headers["Content-Length"]) == (200, b"", str(length))
    whole = (await world.send("GET", "/log/tile/0/000")).body
    assert (await world.send("GET", "/log/tile/0/000.p/7")).body == whole[: 7 * 32]
    reply = await world.send("GET", "/log/checkpoint")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["Cache-Control"] in ("public, max-age=1", "no-cache")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    for method in ("POST", "PUT", "DELETE"):
        assert (await world.send(method, "/log/checkpoint")).code == "method_not_allowed"
        assert (await world.send(method, "/log/tile/0/000")).code == "method_not_allowed"


NO_PATHS = (
    "", "/", "/checkpoint/", "/checkpoint/x", "/tile", "/tile/", "/tile/0", "/tile/0/", "/tile/0/0", "/tile/0/00",
    "/tile/0/001", "/tile/0/000.p/0", "/tile/0/000.p/4", "/tile/0/000.p/256", "/tile/0/000.p/02", "/tile/0/000.p/",
    "/tile/0/000/p/1", "/tile/0/x000/000.p/1", "/tile/00/000.p/1", "/tile/-1/000.p/1", "/tile/1/000.p/1",
    "/tile/64/000.p/1", "/tile/99999999999/000", "/tile/0/999", "/tile/0/x999/x999/x999/x999/x999/999",
    "/tile/entries/001.p/1", "/tile/entries/000.p/4", "/tile/entries/x001/000", "/tile/data/000.p/1",
    "/tile/0/000.p/1/", "/tile/0/%20", "/tile/0/0%000", "/tile/0/000%0a.p/1", "/2026/checkpoint", "/UP/checkpoint",
    "/2026/tile/0/000.p/1", "/tile/checkpoint", "/checkpoint/checkpoint",
)  # fmt: skip


async def test_there_is_nothing_else_below_the_log(world: World) -> None:
    await world.shop_and_customer("care")
    for path in NO_PATHS:
        reply = await world.send("GET", f"/log{path}")
        assert reply.code == "not_found", path
        assert reply.headers["Cache-Control"] == "no-store", "what is not there yet may come"


SPELLINGS = (
    "/log/tile/0/%30%30%30.p/1", "/log/tile%2F0/000.p/1", "/log/til%65/0/000.p/1", "/log/tile/0/000%2Ep/1",
    "/log/tile/0/000.p/1?", "/log/tile/0/000.p/1?x=1", "/log//tile/0/000.p/1", "//log/tile/0/000.p/1",
    "/log/tile//0/000.p/1", "/log/x/../tile/0/000.p/1", "/log/./tile/0/000.p/1", "/log/tile/0/000.p/1;x",
    "/log/tile/0/000.p/1#x", "/%6Cog/tile/0/000.p/1", "/LOG/tile/0/000.p/1", "/%6Cog/checkpoint", "/log/checkpoint?1",
    "/log/checkpoint?", "/log/check%70oint", "/log//checkpoint", "/log/checkpoint/", "/log/tile/../checkpoint",
)  # fmt: skip


async def test_each_file_of_the_log_has_one_spelling(world: World) -> None:
    await world.shop_and_customer("care")

    def ask(path: str) -> tuple[int, str | None]:
        # As it is written: other clients put paths in order before they send them.
        connection = http.client.HTTPConnection("127.0.0.1", world.port)
        try:
            connection.request("GET", path, headers={"Host": f"localhost:{world.port}"})
            answer = connection.getresponse()
            return answer.status, answer.headers["Cache-Control"]
        finally:
            connection.close()

    def ask_all() -> dict[str, tuple[int, str | None]]:
        return {path: ask(path) for path in (*SPELLINGS, "/log/tile/0/000.p/1", "/log/checkpoint")}

    answers = await asyncio.to_thread(ask_all)
    assert answers.pop("/log/tile/0/000.p/1") == (200, "public, max-age=31536000, immutable")
    assert answers.pop("/log/checkpoint")[0] == 200
    assert {path: it for path, it in answers.items() if it != (404, "no-store")} == {}


def edit(world: World, *statements: str) -> None:
    """Change what is stored, as no server would."""
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        for statement in statements:
            assert store.execute(statement).rowcount == 1, statement
        store.commit()


async def test_missing_or_truncated_rows_of_the_store_are_never_served(world: World) -> None:
    pair = await world.shop_and_customer()
    await world.batch(*pair.row_of("second", 258))
    edit(
        world,
        "UPDATE entries SET log = 'elsewhere' WHERE idx = 7",
        "UPDATE tiles SET hashes = substr(hashes, 1, 320) WHERE level = 0 AND number = 0",
    )
    paths = ("tile/0/000", "tile/0/000.p/9", "tile/0/000.p/200", "tile/entries/000", "tile/entries/000.p/9")
    for path in paths * 2:
        reply = await world.send("GET", f"/log/{path}")
        assert (reply.code, reply.headers["Cache-Control"]) == ("internal", "no-store"), path
    # The rest is there, and what is put back is served again: nothing wrong was kept.
    for path in ("checkpoint", "tile/1/000.p/1", "tile/entries/000.p/7", "tile/entries/001.p/3", "tile/0/001.p/3"):
        assert (await world.send("GET", f"/log/{path}")).status == 200, path
    edit(world, "UPDATE entries SET log = (SELECT log FROM heads) WHERE idx = 7")
    reply = await world.send("GET", "/log/tile/entries/000")
    assert (reply.status, len(reply.body)) == (200, 256 * 61)


async def test_an_old_act_that_is_sent_a_thousand_times_costs_one_proof(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_few(world)
    pair = await world.connect(world.person(), world.person())
    row = pair.row_of("first", 40)
    await world.batch(*row)
    asked, prove = [], world.server.tiles.prove_inclusion

    async def prove_and_count(log: Sequencer, index: int, size: int) -> list[bytes]:
        asked.append(index)
        return await prove(log, index, size)

    monkeypatch.setattr(world.server.tiles, "prove_inclusion", prove_and_count)
    lines = await world.batch(*[row[3]] * (MOST_LINES - 1), row[5])
    assert len(lines) == MOST_LINES
    assert asked == [4, 6]
    assert len({line["receipt"] for line in lines[:-1]}) == 1
    reader = await Reader.of(world)
    for act, line in ((row[3], lines[0]), (row[5], lines[-1])):
        await reader.holds(line["receipt"], act.raw)


async def test_a_full_tile_is_read_from_the_store_once_and_the_checkpoint_never(world: World) -> None:
    pair = await world.shop_and_customer()
    await world.batch(*pair.row_of("second", 256))
    paths = ["/log/tile/0/000", "/log/tile/entries/000"]
    first = [await world.send("GET", path) for path in paths]
    asked: list[str] = []
    store = sqlite_of(world.server)
    for connection in (store._writer, *store._readers):
        await connection.run(lambda raw: raw.set_trace_callback(asked.append))
    try:
        again = [await world.send("GET", path) for path in paths]
        for path in ("/log/checkpoint", "/log/tile/0/001.p/1", "/log/tile/0/000.p/9", "/log/tile/1/000.p/1"):
            assert (await world.send("GET", path)).status == 200
        assert asked == []
        await world.send("GET", "/log/tile/entries/000.p/9")
        assert asked, "otherwise nothing was counted"
    finally:
        for connection in (store._writer, *store._readers):
            await connection.run(lambda raw: raw.set_trace_callback(None))
    assert [reply.body for reply in again] == [reply.body for reply in first]


# --- a log that stands still


async def test_a_log_that_stands_still_never_stops_a_no(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "RECEIPT_WITHIN", 3600.0)
    muting, leaving, living = [await world.shop_and_customer("care") for _ in range(3)]
    before = await (reader := await Reader.of(world)).checkpoint()
    with head_file_not_to_be_written(world):
        acts = [
            muting.compose("second", "mute"),
            leaving.compose("second", "revoke"),
            living.compose("first", "message"),
        ]
        replies = await asyncio.gather(*(world.act(act) for act in acts))
        assert [reply.status for reply in replies] == [200] * 3
        assert ["receipt" in reply.json for reply in replies] == [False] * 3
        for pair, act, reply in zip((muting, leaving, living), acts, replies, strict=True):
            pair.take(reply.json["event"], act)
        # In effect, though no checkpoint shows it yet.
        assert (await leaving.seen("first")).json["state"]["phase"] == "ended"
        assert (await living.kinds("second"))[-1] == "message"
        assert await leaving.refused("first", "message") == "connection_ended"
        assert (await reader.checkpoint()).raw == before.raw
        assert "receipt" not in await fetched(living, "second", acts[2])

    async def covered() -> bool:
        return (await reader.checkpoint()).size > before.size

    await eventually(covered)
    signed = await reader.checkpoint()
    assert signed.size == before.size + 4
    for pair, act in zip((muting, leaving, living), acts, strict=True):
        await reader.holds((await fetched(pair, "second", act))["receipt"], act.raw, signed)
    await living.go("second", "remember", key="name")
    assert len(living.receipts) == 2, "the grant's, and the last one's"


async def test_entries_that_the_writer_does_not_know_yet_are_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "RECEIPT_WITHIN", 0.1)
    monkeypatch.setattr(sequencer, "PAUSE", 0.02)
    pair = await world.connect(world.person(), world.person())
    await pair.go("second", "remember", key="name")
    reader, write, written = await Reader.of(world), sqlite._commit, threading.Event()
    before = await reader.checkpoint()

    def write_and_dawdle(*arguments: Any) -> None:
        write(*arguments)
        written.set()
        time.sleep(0.3)

    with head_file_not_to_be_written(world):
        mute = await pair.go("second", "mute")
        monkeypatch.setattr(sqlite, "_commit", write_and_dawdle)
        asking = asyncio.create_task(world.act(pair.compose("second", "unmute")))
        await asyncio.to_thread(written.wait, 20)
    # The log can be written again, and both acts are in the store, while the second one's writer still dawdles.
    assert mute.id not in pair.receipts
    while not asking.done():
        signed, _ = await reader.whole()
        await reader.extends(before, signed)
    monkeypatch.setattr(sqlite, "_commit", write)
    assert (await asking).status == 200

    async def covered() -> bool:
        return (await reader.checkpoint()).size == before.size + 2

    await eventually(covered)
    await reader.whole()


async def test_a_log_whose_signing_was_stopped_takes_acts_and_stays_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody waits for a receipt that will not come.
    monkeypatch.setattr(sequencer, "RECEIPT_WITHIN", 3600.0)
    pair = await world.shop_and_customer("care")
    reader = await Reader.of(world)
    before = await reader.checkpoint()
    world.server.logs.active.halt("a test")
    mute = await pair.go("second", "mute")
    message = await pair.go("first", "message")
    revoke = await pair.go("second", "revoke")
    assert not {mute.id, message.id, revoke.id} & set(pair.receipts)
    assert accepted(pair, pair.events[-2]).outcome == "held"
    assert (await pair.seen("first")).json["state"]["phase"] == "ended"
    times = [accepted(pair, event).accepted_at for event in pair.events]
    assert times == sorted(set(times)), "time stands still, and does not go back"
    assert (await reader.checkpoint()).raw == before.raw, "something was signed after signing was stopped"
    assert "receipt" not in await fetched(pair, "second", mute)
    log = world.server.logs.active
    await world.stop()
    assert log.published.raw == before.raw, "something was signed after signing was stopped"
    await world.start()
    signed = await reader.checkpoint()
    assert signed.size == before.size + 3
    await reader.extends(before, signed)
    await reader.holds((await fetched(pair, "second", revoke))["receipt"], revoke.raw, signed)


async def test_an_act_of_which_nobody_knows_whether_it_was_written_is_accepted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await world.shop_and_customer("care")
    message, write = pair.compose("first", "message"), sqlite._commit

    def write_and_fail(*arguments: Any) -> None:
        write(*arguments)
        monkeypatch.setattr(sqlite, "_commit", write)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite, "_commit", write_and_fail)
    assert (await world.act(message)).code == "store_failing"
    replies = await asyncio.gather(world.act(message), world.act(pair.compose("second", "mute")))
    assert [reply.status for reply in replies] == [200, 200]
    assert [accepted(pair, reply.json["event"]).index for reply in replies] == [3, 5]
    reader = await Reader.of(world)
    signed, entries = await reader.whole()
    assert len(entries) == 6
    again = await world.act(message)
    await reader.holds(again.json["receipt"], message.raw, signed)


# --- more than one log


async def test_a_log_that_ended_is_served_on_and_its_receipts_hold(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        old_act = await pair.go("second", "mute")
        old = await Reader.of(world)
        last = await old.checkpoint()
        await world.stop()
        world._settings["consent_log"] = "2027"
        await world.start()
        told = (await world.send("GET", "/.well-known/comity")).json["logs"]
        host = f"localhost:{world.port}"
        assert [(it["origin"], it["url"]) for it in told] == [
            (f"{host}/log/2027", f"http://{host}/log/2027"),
            (f"{host}/log", f"http://{host}/log"),
        ]
        new = await Reader.of(world, "/log/2027")
        assert new.key.key != old.key.key

        async def covered() -> bool:
            """The server's key, and again with that of the new log."""
            return (await new.checkpoint()).size == 2

        await eventually(covered)
        acts = [await pair.go("second", "unmute"), await pair.go("first", "message")]
        assert [(accepted(pair, event).log, accepted(pair, event).index) for event in pair.events[-2:]] == [
            (f"{host}/log/2027", 2),
            (f"{host}/log/2027", 3),
        ]
        signed, entries = await new.whole()
        assert len(entries) == 5
        for act in acts:
            await new.holds(pair.receipts[act.id], act.raw, signed)
        # The old one: not a byte more, and what was said of it still holds.
        assert (await old.checkpoint()).raw == last.raw
        assert len((await old.whole())[1]) == last.size
        await old.holds(pair.receipts[old_act.id], old_act.raw, last)
        await old.holds((await fetched(pair, "second", old_act))["receipt"], old_act.raw, last)
        again = await world.act(old_act)
        assert open_receipt(again.json["receipt"], old.key).index == accepted(pair, again.json["event"]).index
        assert (await world.send("GET", "/log/2026/checkpoint")).code == "not_found"
        # The new one stays, without the setting too; the old one is never written again.
        await world.stop()
        world._settings["consent_log"] = ""
        with pytest.raises(NoSuchLog, match="has ended, and is never written again"):
            await world.start()
        del world._settings["consent_log"]
        await world.start()
        await pair.go("second", "remember", key="name")
        assert accepted(pair, pair.events[-1]).log == new.key.name
        assert (await new.checkpoint()).size == 6
        assert (await old.checkpoint()).raw == last.raw


async def test_a_tile_of_a_tree_that_nobody_was_shown_yet_is_not_served(world: World) -> None:
    pair = await world.shop_and_customer("care")
    size = (await (await Reader.of(world)).checkpoint()).size
    with head_file_not_to_be_written(world):
        world.server.logs.active.halt("a test")
        await pair.go("second", "mute")
        for tile in (Tile(0, 0, size + 1), Tile(-1, 0, size + 1)):
            assert (await world.send("GET", f"/log/{tile.path}")).code == "not_found"
        assert (await world.send("GET", f"/log/{Tile(0, 0, size).path}")).status == 200


async def test_a_server_that_stops_finishes_what_it_signs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = await world.shop_and_customer("care")
    signing = threading.Event()

    def seal_slowly(*arguments: Any) -> Any:
        if not signing.is_set():
            signing.set()
            time.sleep(0.3)
        return sign_checkpoint(*arguments)

    monkeypatch.setattr(sequencer, "sign_checkpoint", seal_slowly)
    asking = asyncio.create_task(world.act(pair.compose("second", "mute")))
    await asyncio.to_thread(signing.wait, 20)
    asking.cancel()
    log = world.server.logs.active
    file, failed, write = log._file._file, [], os.pwrite

    def write_and_tell(*arguments: Any) -> int:
        try:
            return write(*arguments)
        except OSError as error:
            failed.append(error)
            raise

    monkeypatch.setattr(os, "pwrite", write_and_tell)
    await world.stop()
    assert failed == [], "it wrote to a file that was closed already, or was another one by then"
    assert log.published.size == log.tail.size == 4
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    await world.start()


async def test_a_head_file_that_will_not_last_ends_the_signing_and_nothing_else(world: World) -> None:
    pair = await world.shop_and_customer("care")
    log = world.server.logs.active
    kept, nothing = os.dup(log._file._file), os.open("/dev/null", os.O_RDWR)
    # It takes every byte, and cannot be synced.
    os.dup2(nothing, log._file._file)
    try:
        await pair.go("first", "message")

        async def halted() -> bool:
            return log.halted is not None

        await eventually(halted)
        revoke = await pair.go("second", "revoke")
        assert revoke.id not in pair.receipts
    finally:
        os.dup2(kept, log._file._file)
        os.close(kept)
        os.close(nothing)
    await world.stop()
    # What was shown while it did not last is in the store, and that is whole.
    await world.start()
    reader = await Reader.of(world)
    await reader.holds((await fetched(pair, "first", revoke))["receipt"], revoke.raw, (await reader.whole())[0])


# --- defects that must be noticed


async def test_a_server_that_uses_a_salt_twice_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    again = "next((it.opening.salt for it in self.entered.values()), os.urandom(SALT))"
    plant(monkeypatch, LogAdditions, "_write", ("os.urandom(SALT)", again))
    with pytest.raises(AssertionError, match="who is shown the one could find the other"):
        await test_an_immediate_delivery_has_two_entries_that_only_the_two_sides_can_link(world)


async def test_a_server_that_shows_what_it_has_not_remembered_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = "self._publish(signed); self._file.write(signed)"
    plant(monkeypatch, Sequencer, "_sign", ("self._file.write(signed)", "pass"), ("self._publish(signed)", later))
    with pytest.raises(AssertionError):
        await test_a_log_that_stands_still_never_stops_a_no(world, monkeypatch)


async def test_a_server_that_goes_on_signing_after_it_stopped_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, Sequencer, "_sign", ("self.halted is not None or ", ""), (" and self.halted is None", ""))
    with pytest.raises(AssertionError, match="something was signed after signing was stopped"):
        await test_a_log_whose_signing_was_stopped_takes_acts_and_stays_where_it_is(world, monkeypatch)


async def test_a_server_that_shows_more_than_its_writer_knows_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = ("while self.tail.size < signed.size and not self._stopping:", "while False:")
    plant(monkeypatch, Sequencer, "_sign", waits, ("if self.tail.size >= signed.size and ", "if "))
    with pytest.raises((AssertionError, Malformed)):
        await test_entries_that_the_writer_does_not_know_yet_are_not_shown(world, monkeypatch)
