"""Against businesses and keys that mean no good, and whoever got hold of the store alone.

Rules of spec/business.md, spec/check.md, spec/notification.md and spec/webhook.md, as each test says.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from comity.encoding import b64u_encode
from comity.http_api import JSON, JSON_LINES
from comity_server.data_dir import STORE
from support.business_world import BUSINESS, a_shop, at_once
from support.world import World, a_world

SAID = "Your kitchen window is still leaking, is it not?"


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(world.folder / "data" / STORE)) as store:
        return store.execute(query).fetchall()


@asynccontextmanager
async def a_socket(world: World, data: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of one's own, on which these bytes were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
    writer.write(data)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()


def a_head(key: str, method: str, path: str, kind: str, *more: str) -> bytes:
    """The head of a request of the business side."""
    lines = (f"{method} {BUSINESS}{path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *more)
    return "\r\n".join((*lines, f"Content-Type: {kind}", "", "")).encode()


# --- the store alone --------------------------------------------------------------------------------------------------


async def test_a_stored_answer_of_an_idempotency_key_holds_no_text(tmp_path: Path) -> None:
    """BIZ-7, BIZ-11, SAY-3, SAY-6: not the text of a draft, nor a hash that lets somebody try texts."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        refused = await shop.ask("POST", f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "Hello."})
        path = f"/drafts/{refused.json['draft']}"
        first = await shop.ask("PUT", path, {"purpose": "care", "text": SAID}, again="one")
        again = await shop.ask("PUT", path, {"purpose": "care", "text": SAID}, again="one")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json == first.json and again.json["message"]["text"] == SAID
        ((request, body),) = rows(world, "SELECT request, body FROM idempotent")
        assert SAID.encode() not in body
        sent = json.dumps({"purpose": "care", "text": SAID}).encode()
        told = b"\x00".join((b"PUT", (BUSINESS + path).encode(), JSON.encode(), sent))
        assert request != b64u_encode(hashlib.sha256(told).digest())
        await world.stop()
        everything = b"".join(it.read_bytes() for it in (tmp_path / "data").iterdir() if it.is_file())
        assert SAID.encode() not in everything
        await world.start()
        assert (await shop.ask("PUT", path, {"purpose": "care", "text": SAID}, again="one")).json == first.json


async def test_an_answer_that_an_earlier_version_stored_is_given_again_in_the_names_of_today(tmp_path: Path) -> None:
    """BIZ-11, of a draft: its stored answer is completed with the message of the repeated request."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        refused = await shop.ask("POST", f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "Hello."})
        path = f"/drafts/{refused.json['draft']}"
        first = await shop.ask("PUT", path, {"purpose": "care", "text": SAID}, again="one")
        await world.stop()
        with closing(sqlite3.connect(world.folder / "data" / STORE)) as store, store:
            ((stored,),) = store.execute("SELECT body FROM idempotent").fetchall()
            members = json.loads(stored)
            former = {name: members[name] for name in ("id", "connection", "created_at", "updated_at")}
            body = json.dumps({**former, "kept_until": members["expires_at"]}).encode()
            store.execute("UPDATE idempotent SET body = ?", (body,))
        await world.start()
        again = await shop.ask("PUT", path, {"purpose": "care", "text": SAID}, again="one")
        assert again.headers["Idempotency-Replayed"] == "true" and again.json == first.json


# --- a key that has ended ---------------------------------------------------------------------------------------------


async def test_a_key_that_ends_does_nothing_more_by_a_request_that_it_began_before(tmp_path: Path) -> None:
    """BIZ-3: neither what is half sent, nor a stream of checks that goes on."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        stolen = await shop.post("/keys", {"label": "stolen", "role": "owner"})
        line = json.dumps({"connection": pair.cid, "purpose": "care"}).encode()
        body = json.dumps({"label": "one more", "role": "owner"}).encode()
        key = stolen["key"]
        making = a_head(key, "POST", "/keys", JSON, f"Content-Length: {len(body)}")
        asking = a_head(key, "POST", "/check", JSON, f"Content-Length: {len(line)}")
        stream = a_head(key, "POST", "/check", JSON_LINES, "Content-Length: 100000")
        async with (
            a_socket(world, making + body[:9]) as made,
            a_socket(world, asking + line[:9]) as asked,
            a_socket(world, stream + line + b"\n") as streamed,
        ):
            assert b'"granted"' in await streamed[0].readuntil(b"}\n")
            assert (await shop.ask("DELETE", f"/keys/{stolen['id']}")).status == 204
            made[1].write(body[9:])
            asked[1].write(line[9:])
            streamed[1].write(line + b"\n")
            for reader, _ in (made, asked):
                assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
            assert b'"granted"' not in await streamed[0].read()
        assert len((await shop.get("/keys"))["items"]) == 2


async def test_a_key_that_ends_in_the_same_moment_changes_nothing_behind_its_end(tmp_path: Path) -> None:
    """BIZ-3: requests that wait for the writer at once are decided one after the other."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        stolen = await shop.post("/keys", {"label": "stolen", "role": "owner"})
        seats = [shop.ask("POST", "/seats", {"staff": "x"}, key=stolen["key"], again="one") for _ in range(2)]
        await seats[0]
        async with at_once(world) as ask:
            waiting = [await ask(request) for request in (shop.ask("DELETE", f"/keys/{stolen['id']}"), seats[1])]
        ended, late = await asyncio.gather(*waiting)
        assert (ended.status, late.code) == (204, "api_key_required")
