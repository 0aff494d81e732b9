"""Who tells the operator the id of an answer that was odd is found in the log, whatever did the work (HTTP-19)."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from comity.http_api import ACTS, JSON_LINES, JWT
from comity_server import logging
from comity_server.app import application
from comity_server.store import sqlite
from comity_server.writer.unit_of_work import UnitOfWork
from support.business_world import a_shop
from support.webhook_world import Hook
from support.world import Reply, World, a_world, eventually

ID = re.compile(r"[0-9a-f]{24}")
MINE = {"X-Request-Id": "of my own"}


def lines_of(text: str) -> list[dict[str, Any]]:
    """What was logged because of requests."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if {"request_id", "request_ids"} & line.keys()]


def id_of(reply: Reply) -> str:
    """The request's id, as the answer has it."""
    id_ = reply.headers["X-Request-Id"]
    assert ID.fullmatch(id_), reply
    if reply.code:
        assert reply.json["request_id"] == id_, reply
    return id_


async def test_every_request_gets_an_id_of_its_own(world: World) -> None:
    paths = {resource.canonical for resource in application(world.server).router.resources()}
    assert len(paths) > 70
    replies = [await world.send(method, path, headers=MINE) for path in sorted(paths) for method in ("GET", "PUT")]
    replies += [await world.send("POST", ACTS, b"junk", kind, MINE) for kind in (JWT, JSON_LINES, "text/plain")]
    assert len({id_of(reply) for reply in replies}) == len(replies)


async def test_bytes_that_are_not_http_get_an_id_as_well(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(b"hello?\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    found = re.search(rb"X-Request-Id: (\w+)", head)
    assert found is not None and json.loads(body)["request_id"] == found[1].decode()


async def test_a_refusal_that_says_more_than_its_code_has_the_id_as_well(world: World) -> None:
    shop = await a_shop(world)
    mia = await shop.customer("care")
    place = f"/connections/{mia.cid}"
    for path, body in (
        (f"{place}/messages", {"purpose": "sales", "topic": "windows", "text": "New ones, half the price!"}),
        (f"{place}/favours", {"kind": "review", "effort": "minute", "text": "Two lines about us?"}),
    ):
        reply = await shop.ask("POST", path, body)
        assert reply.code and {"verdict", "may_ask"} & reply.json.keys(), reply
        id_of(reply)


async def test_a_problem_inside_of_an_answer_has_no_id_of_its_own(world: World) -> None:
    reply = await world.send("POST", ACTS, b"junk\njunk", JSON_LINES)
    id_of(reply)
    assert [json.loads(line)["code"] for line in reply.body.splitlines()] == ["malformed", "malformed"]
    assert b"request_id" not in reply.body


async def test_the_same_refusal_twice_differs_in_nothing_but_its_id(world: World) -> None:
    one, two = [await world.send("GET", "/i/nowhere") for _ in range(2)]
    assert one.body != two.body and one.plain == two.plain


async def test_mia_s_503_is_found_in_the_log_when_the_store_cannot_be_read(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.configure("json")
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        store.execute("ALTER TABLE offers RENAME TO lost")
    reply = await world.send("GET", "/i/nowhere")
    assert reply.code == "store_failing"
    (line,) = lines_of(capsys.readouterr().err)
    assert (line["event"], line["request_id"]) == ("store_failed", id_of(reply))


async def test_acts_that_could_not_be_written_together_are_found_in_one_line(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [await world.shop_and_customer() for _ in range(2)]
    logging.configure("json")

    def fail(*_arguments: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_commit", fail)
        replies = await asyncio.gather(*(world.act(pair.compose("second", "revoke")) for pair in pairs))
    assert {reply.code for reply in replies} == {"store_failing"}
    # The first group that fails names whose it was; of those behind it the condition says enough.
    (line,) = [line for line in lines_of(capsys.readouterr().err) if line["event"] == "group_failed"]
    assert line["reason"] == "OperationalError" and "request_id" not in line
    assert line["request_ids"] and set(line["request_ids"]) <= set(map(id_of, replies))


async def test_an_act_over_which_the_server_stumbled_is_found_under_its_own_id(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mia, noor = [await world.shop_and_customer() for _ in range(2)]
    logging.configure("json")
    fold, stumbled = UnitOfWork.act, mia.compose("second", "revoke")

    def stumble(group: UnitOfWork, act: Any, *more: Any) -> Any:
        if act.id == stumbled.id:
            raise ZeroDivisionError
        return fold(group, act, *more)

    monkeypatch.setattr(UnitOfWork, "act", stumble)
    theirs, well = await asyncio.gather(world.act(stumbled), world.act(noor.compose("second", "revoke")))
    assert (theirs.code, well.status) == ("internal", 200)
    (line,) = lines_of(capsys.readouterr().err)
    assert (line["event"], line["request_id"]) == ("act_failed", id_of(theirs))


async def test_log_lines_of_the_webhook_sender_have_the_id_of_the_engineers_request(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with a_world(tmp_path, webhooks_to_loopback=True, log_format="json") as world, Hook() as hook:
        shop = await a_shop(world)
        made = await shop.post("/webhooks", {"url": hook.url})
        place = f"/webhooks/{made['id']}"
        await shop.post(place + "/verify")
        hook.status = 410
        tested = await shop.ask("POST", place + "/test")
        assert tested.json["attempts"][0]["http_status"] == 410
        lines: list[dict[str, Any]] = []

        async def is_logged() -> bool:
            lines.extend(line for line in lines_of(capfd.readouterr().err) if line["event"] == "webhook_disabled")
            return bool(lines)

        await eventually(is_logged)
        assert [line["request_id"] for line in lines] == [id_of(tested)]
