"""Logs that stand still, have gone, or lie: no "no" waits for them, nobody honest is blamed, and no news is lost."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from comity.client import Connection, Request, Response, Wallet
from comity.client.connection import receipts
from comity.client.log import known_logs
from comity.crypto.keys import SigningKey
from comity.errors import Contradiction, Fork, Refused, Unreachable
from comity.http_api import ACTS
from comity.transparency.checkpoints import Checkpoint, Policy, is_witnessed, sign_checkpoint, with_cosignatures
from comity.transparency.notes import COSIGNATURE, ED25519, MOST_NOTE, NoteSigner, signature_line, split_note
from comity.transparency.receipts import MOST_RECEIPT, parse_proof
from support.sdk_world import SdkWorld

WITNESS = NoteSigner("w.example", COSIGNATURE, SigningKey(b"w" * 32))
WANTED = Policy(1, (WITNESS.verifier,))
Syncs = Callable[[], Any]


async def pair(world: SdkWorld) -> tuple[Wallet, Connection, Wallet, Connection]:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await mia.sync()
    return shop, ours, mia, theirs


def log_key(world: SdkWorld) -> NoteSigner:
    seed = (world.folder / "data" / "log.key").read_bytes()
    return NoteSigner(f"localhost:{world.host.port}/log", ED25519, SigningKey(seed))


def changed(route: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Request, Response], Response]:
    """Answers with other members."""

    def after(request: Request, response: Response) -> Response:
        if not request.url.endswith(route) or response.status != 200:
            return response
        told = json.loads(response.body)
        change(told)
        return Response(200, response.headers, json.dumps(told).encode())

    return after


no_receipts = changed(ACTS, lambda told: told.pop("receipt", None))


def forked(world: SdkWorld) -> Callable[[Request, Response], Response]:
    """Another tree of every size, under the log's key."""
    key = log_key(world)

    def after(request: Request, response: Response) -> Response:
        if not request.url.endswith("/log/checkpoint"):
            return response
        size = int(response.body.decode().split("\n")[1])
        lie = sign_checkpoint(Checkpoint(key.name, size, b"f" * 32), key)
        return Response(200, response.headers, lie.raw.encode())

    return after


# --- a "no" waits for nothing


@pytest.mark.parametrize("whole", [True, False])
async def test_a_no_that_never_left_goes_out_although_the_log_contradicts(world: SdkWorld, whole: bool) -> None:
    _, ours, mia, theirs = await pair(world)
    await mia.close()
    mia = await world.reopened("mia", 0.05)
    (theirs,) = mia.connections()
    world.wires["mia"].cut = lambda request: request.url.endswith(ACTS)
    with pytest.raises(Unreachable):
        await theirs.mute(days=3, shown="end")
    mia = await world.again(mia, "mia")
    (theirs,) = mia.connections()
    other = NoteSigner(log_key(world).name, ED25519, SigningKey(b"z" * 32)).verifier.text
    world.wires["mia"].after = changed("/.well-known/comity", lambda told: told["logs"][0].update(vkey=other))
    with pytest.raises(Contradiction, match="has changed"):
        await (mia.sync() if whole else theirs.sync())
    assert not mia._session.records.file.table("unsent")
    await ours.sync()
    assert ours.state.second.mutes


async def test_an_accepted_act_waits_a_moment_for_a_log_that_hangs_and_no_longer(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _, mia, theirs = await pair(world)
    jonas = await world.person("jonas")
    await world.connect(shop, jonas, "care")
    wire = world.wires["mia"]
    real = wire._real.send

    async def hanging(request: Request) -> Response:
        if "/log/" in request.url:
            await asyncio.Event().wait()
        return await real(request)

    wire._real = replace(wire._real, send=hanging)
    assert known_logs.PATIENCE == 3
    monkeypatch.setattr(receipts, "PATIENCE", 0.2)
    for no in (lambda: theirs.mute(days=1), theirs.revoke):
        await no()
    assert mia.pending_receipts == 3


async def test_a_listener_hears_a_no_before_the_log_is_found_out(world: SdkWorld) -> None:
    shop, ours, _, theirs = await pair(world)
    await shop.sync()
    await theirs.revoke()
    world.wires["shop"].after = forked(world)
    heard = []
    with pytest.raises(Contradiction):
        async for news in shop.listen():
            heard.append(news.kind)
    assert heard == ["revoke"] and ours.phase == "ended"


# --- honest servers


async def begin_another_log(world: SdkWorld, *, lose_the_key: bool = False) -> None:
    await world.host.stop()
    if lose_the_key:
        (world.folder / "data" / "log.key").unlink()
    world.host._settings["consent_log"] = "second"
    await world.host.start()


@pytest.mark.parametrize("met", [True, False])
async def test_a_receipt_whose_log_was_lost_is_told_of_once_and_blames_nobody(world: SdkWorld, met: bool) -> None:
    _, ours, mia, theirs = await pair(world)
    world.wires["mia"].after = no_receipts
    await theirs.remember("small_talk")
    if met:
        await mia._session.logs.check_served(theirs.info.home)
    else:
        for table in ("logs", "checkpoints"):
            await mia._session.records.store(
                *((table, origin, None) for origin in list(mia._session.records.file.table(table)))
            )
    act = theirs.records[-1].act
    await begin_another_log(world, lose_the_key=True)
    mia = await world.again(mia, "mia")
    (theirs,) = mia.connections()
    await ours.send_message("care", "Still here.")
    news = await mia.sync()
    assert {it.kind for it in news} == {"receipt_lost", "message"}
    assert act is not None and act.id in {it.act for it in news}
    assert await mia.sync() == await theirs.sync() == []
    await theirs.mute(days=1)
    assert mia.pending_receipts == 0 and not mia.contradictions()


async def test_an_old_copy_whose_key_was_replaced_accuses_nobody(world: SdkWorld) -> None:
    _, _, _, theirs = await pair(world)
    world.wires["mia"].after = no_receipts
    await theirs.remember("small_talk")
    shutil.copy(world.folder / "mia", world.folder / "copy")
    world.wires["mia"].after = None
    await theirs.rotate_key()
    copy = await world.reopened("copy")
    await copy.sync()
    assert copy.pending_receipts == 1 and not copy.contradictions()


# --- lies


def cosigned(request: Request, response: Response) -> Response:
    if not request.url.endswith("/checkpoint") or response.status != 200:
        return response
    text = response.body.decode()
    line = signature_line(text.rpartition("\n\n")[0] + "\n", WITNESS, 1_718_704_800)
    return Response(200, response.headers, f"{text}{line}".encode())


async def test_a_log_that_goes_on_behind_the_backs_of_its_witnesses_is_not_relied_on(world: SdkWorld) -> None:
    _, _, mia, _ = await pair(world)
    await mia.close()
    mia = await world.reopened("mia", 0.3, WANTED)
    (theirs,) = mia.connections()
    shown: list[Response] = []

    def frozen(request: Request, response: Response) -> Response:
        if not request.url.endswith("/log/checkpoint"):
            return response
        shown[:] = shown or [cosigned(request, response)]
        return shown[0]

    world.wires["mia"].after = frozen
    await theirs.sync()
    await theirs.remember("small_talk")
    for sync in (theirs.sync, mia.sync):
        with pytest.raises(Refused, match="no more than") as told:
            await sync()
        assert told.value.code == "too_few_witnesses"
    world.wires["mia"].after = cosigned
    await theirs.sync()


async def test_another_log_that_was_begun_is_looked_at_by_who_only_reads(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await begin_another_log(world)
    await ours.send_message("care", "In the new log.")
    world.wires["mia"].seen.clear()
    await theirs.sync()
    await theirs.sync()
    asked = [request.url.partition("/log")[2] for request, _ in world.wires["mia"].seen]
    assert "/second/checkpoint" in asked


async def test_a_log_that_is_said_to_have_ended_and_grows_must_be_cosigned_too(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await begin_another_log(world)
    await ours.send_message("care", "In the new log.")
    await theirs.sync()
    await mia.close()
    mia = await world.reopened("mia", 0.3, WANTED)
    (theirs,) = mia.connections()
    wire = world.wires["mia"]

    def swap(told: dict[str, Any]) -> None:
        new, old = told["logs"]
        new["ended"] = old.pop("ended")
        told["logs"] = [old, new]

    def old_one_first(request: Request, response: Response) -> Response:
        response = changed("/.well-known/comity", swap)(request, response)
        return response if "/second/" in request.url else cosigned(request, response)

    wire.after = old_one_first
    await theirs.sync()
    wire.seen.clear()
    await ours.send_message("care", "Nobody else sees this.")
    with pytest.raises(Refused, match="second"):
        await theirs.sync()
    assert any(request.url.endswith("/log/second/checkpoint") for request, _ in wire.seen)


# --- what is told


async def test_news_that_came_before_a_complaint_is_told_by_the_next_call(world: SdkWorld) -> None:
    _, ours, mia, _ = await pair(world)
    await mia.close()
    mia = await world.reopened("mia", 0.1, WANTED)
    (theirs,) = mia.connections()
    calls: tuple[Syncs, Syncs] = (mia.sync, theirs.sync)
    for sync in calls:
        await ours.send_message("care", "Hello.")
        world.wires["mia"].after = None
        with pytest.raises(Refused):
            await sync()
        world.wires["mia"].after = cosigned
        assert [it.kind for it in await sync()] == ["message"]
        assert await mia.sync() == []


async def test_a_receipt_hidden_in_one_connection_keeps_none_of_another_s(world: SdkWorld) -> None:
    shop, _, mia, one = await pair(world)
    _, two = await world.connect(shop, mia, "care")
    await mia.sync()
    world.wires["mia"].after = no_receipts
    await one.remember("small_talk")
    await two.remember("small_talk")
    assert one.records[-1].act is not None and two.records[-1].act is not None
    world.wires["mia"].after = changed(one.records[-1].act.id, lambda told: told.pop("receipt"))
    with pytest.raises(Contradiction, match="hides"):
        await mia.sync()
    assert list(mia._session.records.file.table("owed")) == [one.records[-1].act.id]


async def test_a_fork_is_one_record_however_often_it_is_met(world: SdkWorld) -> None:
    _, _, mia, theirs = await pair(world)
    key = log_key(world)
    for root in (b"f", b"g", b"h"):

        def after(request: Request, response: Response, root: bytes = root) -> Response:
            if not request.url.endswith("/log/checkpoint"):
                return response
            lie = sign_checkpoint(Checkpoint(key.name, int(response.body.decode().split("\n")[1]), root * 32), key)
            return Response(200, response.headers, lie.raw.encode())

        world.wires["mia"].after = after
        for sync in (theirs.sync, mia.sync):
            with pytest.raises(Fork) as told:
                await sync()
            assert told.value.evidence[:2] == told.value.checkpoints
    assert len(mia.contradictions()) == 1


# --- who signed, and how long a text is


def test_a_key_under_two_names_and_a_name_with_two_keys_are_one_witness() -> None:
    def witness(name: str, seed: bytes) -> NoteSigner:
        return NoteSigner(name, COSIGNATURE, SigningKey(seed * 32))

    log = NoteSigner("log.example/log", ED25519, SigningKey(b"l" * 32))
    signed = sign_checkpoint(Checkpoint(log.name, 1, b"r" * 32), log)
    for signers, least in (
        ([witness("a", b"1"), witness("b", b"1")], 1),
        ([witness("a", b"1"), witness("a", b"2")], 1),
        ([witness("a", b"1"), witness("a", b"2"), witness("b", b"3"), witness("c", b"3")], 2),
        ([witness("a", b"1"), witness("b", b"2"), witness("c", b"3")], 3),
    ):
        keys = tuple(it.verifier for it in signers)
        lines = "".join(signature_line(signed.text, it, number) for number, it in enumerate(signers))
        whole = with_cosignatures(signed, lines, keys)
        assert whole.cosigned == {key: number for number, key in enumerate(keys)}
        assert is_witnessed(whole, Policy(least, keys)) and not is_witnessed(whole, Policy(least + 1, keys))


def test_a_text_is_as_long_as_its_bytes() -> None:
    for read, most in ((split_note, MOST_NOTE), (parse_proof, MOST_RECEIPT)):
        text = "ä" * (most // 2 + 1)
        for raw in (text, text.encode()):
            with pytest.raises(Refused) as told:
                read(raw)
            assert told.value.code == "too_large"
