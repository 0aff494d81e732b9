"""The home server's own key, on the server: what one commit may hold, and what a start does."""

import json
from pathlib import Path

import pytest

from comity.documents.events import Place
from comity.transparency.entries import Kind, entry_tag, parse_entry, public_tag_key
from comity.transparency.server_keys import open_home_event, parse_statement
from comity_server.commands import server_key_rotation
from comity_server.errors import NotPossible
from comity_server.server_keys import HomeKeyMissing
from comity_server.writer.unit_of_work import UnitOfWork
from support.log_over_http import Reader
from support.world import World, a_world


async def test_events_behind_a_key_statement_in_one_commit_are_signed_by_the_new_key(world: World) -> None:
    pair = await world.connect(world.person(), world.person())
    server, old = world.server, world.home_party
    keys, log = server.home.keys, server.logs.active.key.text
    before, after = pair.compose("first", "remember", key="name"), pair.compose("second", "mute")

    async def decide(group: UnitOfWork) -> list[object]:
        answers: list[object] = [group.act(before)]
        server_key_rotation._state(group, keys, keys.prepare(group.now, log, broken=False))
        return [*answers, group.act(after)]

    first, second = await server.writer.command(decide, (pair.cid,))
    new = world.home_party
    assert new != old
    opened = [open_home_event(answer.event, keys.keys) for answer in (first, second)]  # type: ignore[attr-defined]
    assert [it.kid for it in opened] == [old.kid, new.kid]
    places = [Place(it.event.log, it.event.index) for it in opened]
    assert places[1].index == places[0].index + 2, "the statement stands between them"


async def test_the_key_stands_in_the_log_before_anything_else(world: World) -> None:
    reader = await Reader.of(world)
    signed, entries = await reader.whole()
    entry = parse_entry(entries[0])
    assert (len(entries), entry.kind, entry.side) == (1, Kind.KEY, None)
    (row,) = (await world.send("GET", "/.well-known/comity/keys")).json["keys"]
    statement = parse_statement(row["statement"])
    assert statement.party == world.home_party and statement.log == reader.key.text
    assert entry.tag == entry_tag(public_tag_key(world.home), statement.at)
    (place,) = row["places"]
    await reader.holds(place["receipt"], row["statement"].encode(), signed)


async def test_each_log_begins_with_every_statement_and_one_about_its_own_key(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await server_key_rotation.rotate_home(
            world.server.writer, world.server.home.keys, world.server.logs.active.key.text, broken=False
        )
        await world.stop()
        world._settings["consent_log"] = "next"
        await world.start()
        rows = (await world.send("GET", "/.well-known/comity/keys")).json["keys"]
        host = f"localhost:{world.port}"
        assert [[(it["log"], it["index"]) for it in row["places"]] for row in rows] == [
            [(f"{host}/log", 0), (f"{host}/log/next", 0)],
            [(f"{host}/log", 1), (f"{host}/log/next", 1)],
            [(f"{host}/log/next", 2)],
        ]
        last = json.loads(rows[2]["statement"])
        assert last["log"] == world.server.logs.active.key.text and last["kid"] == last["before"]
        # Another start adds nothing.
        await world.stop()
        await world.start()
        assert len((await world.send("GET", "/.well-known/comity/keys")).json["keys"]) == 3


async def test_a_rotation_with_the_key_at_hand_needs_no_word_about_a_broken_one(world: World) -> None:
    keys, log = world.server.home.keys, world.server.logs.active.key.text
    kids = [
        await server_key_rotation.rotate_home(world.server.writer, keys, log, broken=broken) for broken in (False, True)
    ]
    stated = [it.statement for it in keys.stated]
    assert [it.kid for it in stated[1:]] == kids
    assert [it.broken for it in stated] == [None, None, True]
    assert not keys.is_stated(stated[1].party) and keys.is_stated(stated[0].party) and keys.is_stated(stated[2].party)


async def test_there_is_an_end_to_rotations(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comity_server.server_keys.MOST_STATEMENTS", 4)
    keys, log = world.server.home.keys, world.server.logs.active.key.text
    await server_key_rotation.rotate_home(world.server.writer, keys, log, broken=False)
    with pytest.raises(NotPossible, match="at most 2 keys"):
        await server_key_rotation.rotate_home(world.server.writer, keys, log, broken=False)


async def test_a_key_that_is_not_the_stated_one_does_not_start(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.stop()
        (tmp_path / "data" / "home.key").write_bytes(bytes(range(32)))
        with pytest.raises(HomeKeyMissing, match="put the file back"):
            await world.start()
