"""`comity fsck`: a store that a real server wrote holds, and whatever is damaged in it is found and named."""

import asyncio
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.crypto.keys import SigningKey
from comity.documents.events import Place
from comity.documents.timezones import InstalledZones
from comity.rules import decide as rules
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.notes import ED25519, NoteSigner
from comity_server.fsck.checker import CannotRead, CheckResult, Progress, check_store
from comity_server.fsck.findings import MOST
from comity_server.log.head_file import HeadFile
from comity_server.store import migrations
from comity_tools.cli import main
from support.world import HOUR, Pair, World, a_world

LOG, NEXT = "log", "log/next"
"""The two logs of the store, without their host."""
KEYS = 260
"""Keys of businesses: their entries fill a tile, at less cost than acts would."""


@dataclass
class Story:
    """A stopped server's folder, and what happened in it."""

    data: Path
    killed: Path
    """The same as a killed server leaves it, some time before."""
    host: str = ""
    cids: dict[str, str] = field(default_factory=dict)
    acts: dict[str, str] = field(default_factory=dict)
    before: bytes = b""
    """The state of the friends' connection before its last act."""
    beside: CheckResult = field(default_factory=CheckResult)
    """What was seen beside the running server."""


async def live(folder: Path) -> Story:
    """Shops and people for a while: everything that a store can hold."""
    story = Story(folder / "data", folder / "killed")
    async with a_world(folder) as world:
        story.host = f"localhost:{world.port}"
        shop = await world.shop_and_customer("care", "sales")
        keys = [SigningKey(f"second-hand {number}".encode().ljust(32)).public.did for number in range(KEYS)]
        # Some at a time: the operator's requests have a share of the writer's queue, too.
        for start in range(0, KEYS, 52):
            some = keys[start : start + 52]
            await asyncio.gather(*(world.server.add_business_key("second-hand", key) for key in some))
        await _at_the_shop(shop, story)
        await world.server.add_business_key("kept", None)
        await world.server.add_owner_key("kept")
        friends = await world.connect(world.person(), world.person())
        await friends.rotate("first", world.person())
        await friends.go("first", "message", purpose="safety")
        await _little_things(friends)
        story.before = _state(story.data, friends.cid)
        await friends.go("second", "remember", key="name")
        ended = await world.shop_and_customer("care")
        await ended.go("second", "revoke")
        await ended.go("first", "erasure", deleted=("contact",), passed_on=("Zahlwerk 24",))
        story.cids = {"shop": shop.cid, "friends": friends.cid, "ended": ended.cid}
        story.beside = await asyncio.to_thread(check_store, story.data)
        shutil.copytree(story.data, story.killed, ignore=shutil.ignore_patterns("*.sock", "*-shm"))
        await _in_another_log(world, shop, story)
    return story


async def _at_the_shop(shop: Pair, story: Story) -> None:
    """Consents, mutes with and without ends, settings, and messages that come at once, later, or never."""
    world, now = shop.world, shop.world.now() // 1000
    withdrawn = await shop.grant("second", "service")
    story.acts["told"] = (await shop.go("first", "message")).id
    await shop.go("second", "withdraw", grant=withdrawn.id)
    mute = await shop.go("second", "mute", purposes=("care",))
    await shop.go("second", "mute_end", mute=mute.id, until=now + 3600)
    await shop.go("second", "mute", until=now + 1800)
    held = await shop.go("first", "message", topic="windows")
    await shop.go("first", "message", if_muted="drop")
    story.acts |= {"withdrawn": withdrawn.id, "mute": mute.id, "held": held.id}
    budget = {"max": 9, "per": "week"}
    story.acts["setting"] = (await shop.go("second", "budget", messages=budget)).id
    world.later(HOUR + 60_000)
    while not (delivered := _one(story.data, "SELECT MAX(raw) FROM events WHERE kind = 'delivered'")):
        await asyncio.sleep(0.01)
    shop.take(delivered)


async def _little_things(pair: Pair) -> None:
    """A batch of acts."""
    acts, zones = [], InstalledZones()
    for number in range(20):
        act = pair.compose("second", "remember", key=f"key_{number % 5}")
        _, pair.state = rules.accept(pair.state, act, pair.state.at + 1, Place("elsewhere", number), zones)
        acts.append(act)
    answers = await pair.world.batch(*acts)
    assert all("event" in answer for answer in answers)


async def _in_another_log(world: World, shop: Pair, story: Story) -> None:
    """A restart, another log, and a message that still waits when the server stops."""
    await world.stop()
    world._settings["consent_log"] = "next"
    await world.start()
    await shop.go("second", "mute")
    story.acts["waiting"] = (await shop.go("first", "message")).id


def _one(data: Path, query: str) -> str | None:
    with closing(sqlite3.connect(data / "comity.db")) as db:
        found: str | None = db.execute(query).fetchone()[0]
        return found


def _state(data: Path, cid: str) -> bytes:
    with closing(sqlite3.connect(data / "comity.db")) as db:
        state: bytes = db.execute("SELECT state FROM connections WHERE cid = ?", (cid,)).fetchone()[0]
        return state


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The one store that all tests here look at; those that damage it have a copy."""
    return asyncio.run(live(tmp_path_factory.mktemp("story")))


@pytest.fixture
def copy(story: Story, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    return shutil.copytree(story.data, tmp_path / "copy")


def told(seen: CheckResult) -> list[str]:
    return [f"{place}: {fault}" for place, fault in seen.findings.first]


# --- nothing is wrong -------------------------------------------------------------------------------------------------


def test_a_store_that_a_server_wrote_holds(story: Story) -> None:
    before = {path.name: path.read_bytes() for path in story.data.iterdir()}
    seen = check_store(story.data)
    assert told(seen) == []
    assert list(seen.logs) == [f"{story.host}/{LOG}", f"{story.host}/{NEXT}"]
    # Three messages were delivered, and are entered once more; before one of them a mute was over.
    # The home server stated its key in the first log, and in the next one again, with the new key of that log.
    assert sum(seen.logs.values()) == seen.connections.acts + 4 + seen.keys + 3
    assert (seen.connections.connections, seen.keys, seen.meanwhile) == (3, KEYS + 3, 0)
    # Nothing was written, nor put beside it.
    assert {path.name: path.read_bytes() for path in story.data.iterdir()} == before


def test_a_store_holds_while_its_server_runs_and_as_a_killed_one_leaves_it(story: Story) -> None:
    assert told(story.beside) == []
    assert story.beside.connections.acts > 30
    assert story.killed.joinpath("comity.db-wal").stat().st_size > 0
    seen = check_store(story.killed)
    assert told(seen) == []
    assert (seen.connections.acts, seen.logs) == (story.beside.connections.acts, story.beside.logs)


def _a_commit(data: Path) -> Progress:
    """Somebody else's commit, as soon as the looking has begun."""

    def progress(what: str, _done: int, _all: int) -> None:
        if what == "the file":
            with closing(sqlite3.connect(data / "comity.db", isolation_level=None)) as db:
                db.execute("UPDATE heads SET size = size + 5, root = zeroblob(32)")

    return progress


def test_the_check_leaves_out_rows_that_the_server_writes_meanwhile(story: Story, tmp_path: Path) -> None:
    copy = shutil.copytree(story.killed, tmp_path / "copy")
    with closing(sqlite3.connect(copy / "comity.db")) as another:
        another.execute("SELECT * FROM meta").fetchall()
        seen = check_store(copy, _a_commit(copy))
    assert (told(seen), seen.meanwhile) == ([], 5)


def test_a_server_that_begins_meanwhile_is_noticed(copy: Path) -> None:
    with pytest.raises(CannotRead, match=r"a server started in .* during the check: run the command again"):
        check_store(copy, _a_commit(copy))


# --- whatever is damaged is found -------------------------------------------------------------------------------------


class Hand:
    """Does damage to a copy of the store."""

    def __init__(self, db: sqlite3.Connection, data: Path, story: Story) -> None:
        self._db = db
        self.data = data
        self.story = story
        self.log = f"{story.host}/{LOG}"
        self.next = f"{story.host}/{NEXT}"

    def do(self, sql: str, *given: object) -> None:
        """One statement; it must change something."""
        assert self._db.execute(sql, given).rowcount > 0

    def one(self, sql: str, *given: object) -> object:
        """One value."""
        return self._db.execute(sql, given).fetchone()[0]

    def flip(self, table: str, column: str, where: str, *given: object, at: int = -1, bit: int = 1) -> None:
        """One bit of a value, by default in its last byte."""
        value = self.one(f"SELECT CAST({column} AS BLOB) FROM {table} WHERE {where}", *given)
        assert isinstance(value, bytes)
        bent = bytearray(value)
        bent[at] ^= bit
        kind = self.one(f"SELECT typeof({column}) FROM {table} WHERE {where}", *given)
        self.do(f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {where}", bytes(bent), *given)

    def bend(self, table: str, column: str, where: str, *given: object, at: int = -12) -> None:
        """One letter of a text, by default one of the signature at its end; it stays base64url."""
        value = self.one(f"SELECT CAST({column} AS TEXT) FROM {table} WHERE {where}", *given)
        assert isinstance(value, str)
        bent = value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]
        kind = self.one(f"SELECT typeof({column}) FROM {table} WHERE {where}", *given)
        self.do(f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {where}", bent, *given)

    def index(self, act: str, *, after: int = 0) -> int:
        """Where the entry of an act is in its log, or the one after that."""
        found = self.one("SELECT MIN(idx) FROM entries WHERE act = ?", self.story.acts[act])
        assert isinstance(found, int)
        return found + after


Damage = Callable[[Hand], tuple[str, ...]]
"""Does it, and gives the words that a finding must hold: where it is, and what."""
DAMAGES: list[Damage] = []


def damage(do: Damage) -> Damage:
    DAMAGES.append(do)
    return do


@damage
def an_account_that_is_due_later(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE duties SET due_at = due_at + 1 WHERE cid = ?", hand.story.cids["ended"])
    return (f"connection {hand.story.cids['ended']} duty of shop-", "by the state due at")


@damage
def an_account_that_nobody_is_asked_for(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM duties WHERE cid = ?", hand.story.cids["ended"])
    return (f"connection {hand.story.cids['ended']} duty of shop-", "it is missing")


@damage
def an_account_of_what_goes_on(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE duties SET cid = ?, name = 'second-hand'", hand.story.cids["friends"])
    return (f"connection {hand.story.cids['friends']} duty of second-hand", "by the state nothing is due")


@damage
def an_api_key_of_nobody(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE api_keys SET name = 'nobody'")
    return ("business nobody API key key_", "no such business")


@damage
def a_kept_key_that_is_not_published(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE kept_keys SET name = 'second-hand'")
    return ("business second-hand kept key did:web:", "publishes no such key")


@damage
def a_relation_of_another_business(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE relations SET name = 'kept' WHERE cid = ?", hand.story.cids["shop"])
    return (f"business kept relation {hand.story.cids['shop']}", "not that side of it")


@damage
def a_relation_of_the_other_side(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE relations SET side = 'second' WHERE cid = ?", hand.story.cids["shop"])
    return (f"relation {hand.story.cids['shop']}", "not that side of it")


@damage
def a_relation_of_no_connection(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE relations SET cid = 'nowhere' WHERE cid = ?", hand.story.cids["shop"])
    return ("relation shop", "there is no connection nowhere")


@damage
def an_entry_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("entries", "entry", "log = ? AND idx = 20", hand.log)
    return (f"{hand.log} entry 20", "its hash is not the one in tile/0/000")


@damage
def the_commitment_of_an_entry_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("entries", "entry", "log = ? AND idx = ?", hand.log, hand.index("told"))
    return (f"{hand.log} entry {hand.index('told')}", "its commitment does not match", hand.story.acts["told"])


@damage
def an_entry_at_the_right_edge_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("entries", "entry", "log = ? AND idx = 1", hand.next)
    return (f"{hand.next} entry 1", "its hash is not the one in tile/0/000.p/")


@damage
def a_delivery_whose_entry_says_that_it_was_exempt(hand: Hand) -> tuple[str, ...]:
    index = hand.index("told", after=1)
    hand.flip("entries", "entry", "log = ? AND idx = ?", hand.log, index, at=1)
    return (f"{hand.log} entry {index}", "its kind does not match", hand.story.acts["told"])


@damage
def an_entry_of_another_time(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE entries SET at = at - 3600000 WHERE log = ? AND idx = 30", hand.log)
    return (f"{hand.log} entry 30", "its time is 60 minutes before that of an earlier entry")


@damage
def an_entry_that_is_none(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE entries SET entry = ? WHERE log = ? AND idx = 9", b"\x01" * 59, hand.log)
    return (f"{hand.log} entry 9", "an entry of version 1, and only version 2 is read")


@damage
def an_entry_that_is_marked_as_erased(hand: Hand) -> tuple[str, ...]:
    index = hand.index("setting")
    hand.do("UPDATE entries SET erased = 1 WHERE log = ? AND idx = ?", hand.log, index)
    return (f"{hand.log} entry {index}", "it is marked as erased, but", hand.story.acts["setting"], "exists")


@damage
def an_entry_of_a_key_that_is_hidden_by_the_mark(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM business_keys WHERE idx = 77")
    hand.do("UPDATE entries SET erased = 1 WHERE log = ? AND idx = 77", hand.log)
    return ("entries: 1 are marked as erased, but 0 were erased with their connections",)


@damage
def a_salt_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("entries", "salt", "log = ? AND idx = ?", hand.log, hand.index("setting"))
    return (f"{hand.log} entry {hand.index('setting')}", "its commitment does not match", hand.story.acts["setting"])


@damage
def the_salts_of_two_acts_exchanged(hand: Hand) -> tuple[str, ...]:
    mine, theirs = (hand.one("SELECT salt FROM entries WHERE log = ? AND idx = ?", hand.log, it) for it in (50, 60))
    hand.do("UPDATE entries SET salt = ? WHERE log = ? AND idx = 50", theirs, hand.log)
    hand.do("UPDATE entries SET salt = ? WHERE log = ? AND idx = 60", mine, hand.log)
    return (f"{hand.log} entry 60", "its commitment does not match")


@damage
def a_missing_entry(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM entries WHERE log = ? AND idx = 100", hand.log)
    return (f"{hand.log} entry 100", "missing")


@damage
def an_act_without_its_entry(hand: Hand) -> tuple[str, ...]:
    index = hand.index("mute")
    hand.do("DELETE FROM entries WHERE log = ? AND idx = ?", hand.log, index)
    return (f"{hand.log} entry {index}", "it is missing, but connection", hand.story.acts["mute"])


@damage
def a_gap_before_the_last_entry(hand: Hand) -> tuple[str, ...]:
    size = hand.one("SELECT size FROM heads WHERE log = ?", hand.log)
    assert isinstance(size, int)
    hand.do("UPDATE entries SET idx = idx + 1 WHERE log = ? AND idx = ?", hand.log, size - 1)
    return (f"{hand.log} entry {size}", f"it is beyond the log's head, which has {size} entries")


@damage
def an_entry_without_an_act(hand: Hand) -> tuple[str, ...]:
    index = hand.index("told")
    hand.do("DELETE FROM acts WHERE id = ?", hand.story.acts["told"])
    return (f"{hand.log} entry {index}", "it belongs to no text", hand.story.acts["told"])


@damage
def an_entry_that_names_another_act(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE entries SET act = ? WHERE log = ? AND idx = 40", hand.story.acts["mute"], hand.log)
    return (f"{hand.log} entry 40", f"its row names {hand.story.acts['mute']}")


@damage
def a_tile_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("tiles", "hashes", "log = ? AND level = 0 AND number = 0", hand.log, at=44 * 32)
    return (f"{hand.log} tile/0/000", "its hash 44 is not the hash of entry 44")


@damage
def a_tile_at_the_right_edge_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("tiles", "hashes", "log = ? AND level = 0 AND number = 1", hand.log, at=3 * 32)
    return (f"{hand.log} tile/0/001.p/", "its hash 3 is not the hash of entry 259")


@damage
def a_tile_of_the_next_level_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("tiles", "hashes", "log = ? AND level = 1 AND number = 0", hand.log)
    return (f"{hand.log} tile/1/000.p/1", "its hash 0 is not the hash of tile/0/000")


@damage
def a_missing_tile(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM tiles WHERE log = ? AND level = 0 AND number = 0", hand.log)
    return (f"{hand.log} tile/0/000", "the tile is missing")


@damage
def a_missing_tile_at_the_right_edge(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM tiles WHERE log = ? AND level = 1", hand.log)
    return (f"{hand.log} tile/1/000.p/1", "the tile is missing")


@damage
def a_tile_that_is_too_narrow(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE tiles SET hashes = substr(hashes, 1, 64) WHERE log = ? AND level = 0 AND number = 1", hand.log)
    return (f"{hand.log} tile/0/001.p/", "the tile has 2 hashes, not")


@damage
def a_tile_that_is_too_wide(hand: Hand) -> tuple[str, ...]:
    sql = "UPDATE tiles SET hashes = CAST(hashes || zeroblob(33) AS BLOB) WHERE log = ? AND level = 1"
    hand.do(sql, hand.log)
    return (f"{hand.log} tile/1/000.p/1", "the tile has 2.03125 hashes, not 1")


@damage
def a_tile_that_should_not_be_there(hand: Hand) -> tuple[str, ...]:
    hand.do("INSERT INTO tiles (log, level, number, hashes) VALUES (?, 2, 0, ?)", hand.log, bytes(32))
    return (f"{hand.log} tile/2/000", "the tree has no such tile")


@damage
def a_head_of_another_tree(hand: Hand) -> tuple[str, ...]:
    hand.flip("heads", "root", "log = ?", hand.log)
    return (f"{hand.log} head", "its root is not the root of its")


@damage
def a_head_that_is_missing(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM heads WHERE log = ?", hand.log)
    return (f"{hand.log} head", "missing")


@damage
def a_head_beyond_the_last_entry(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE heads SET size = 1000000000 WHERE log = ?", hand.log)
    return (f"{hand.log} head", "it has 1000000000 entries, but the last stored entry is")


@damage
def a_head_file_that_is_ahead(hand: Hand) -> tuple[str, ...]:
    key = SigningKey(hand.data.joinpath("log.key").read_bytes())
    signer = NoteSigner(hand.log, ED25519, key)
    file = HeadFile.open(hand.data / "log.head", signer.verifier)
    file.write(sign_checkpoint(Checkpoint(hand.log, 5000, bytes(32)), signer))
    file.close()
    return (
        f"{hand.log} head file",
        "the log signed 5000 entries, but the store has",
        "it is an older copy of the store",
    )


@damage
def a_head_file_of_another_history(hand: Hand) -> tuple[str, ...]:
    key = SigningKey(hand.data.joinpath("log.key").read_bytes())
    signer = NoteSigner(hand.log, ED25519, key)
    file = HeadFile.open(hand.data / "log.head", signer.verifier)
    file.write(sign_checkpoint(Checkpoint(hand.log, 200, bytes(32)), signer))
    file.close()
    return (f"{hand.log} head file", "its first 200 entries are not those that the log signed")


@damage
def a_head_file_that_is_missing(hand: Hand) -> tuple[str, ...]:
    hand.data.joinpath("log-next.head").unlink()
    return (f"{hand.next} files", "the signed checkpoints cannot be read", "log-next.head")


@damage
def a_head_file_of_which_a_slot_is_damaged(hand: Hand) -> tuple[str, ...]:
    path = hand.data / "log.head"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    return ("log.head slot 0", "it is damaged")


@damage
def an_act_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("acts", "raw", "id = ?", hand.story.acts["setting"], at=-10)
    return (
        f"connection {hand.story.cids['shop']} act {hand.story.acts['setting']}",
        "its id is not the hash of its text",
    )


@damage
def an_act_that_is_no_text_any_more(hand: Hand) -> tuple[str, ...]:
    hand.flip("acts", "raw", "id = ?", hand.story.acts["setting"], at=-10, bit=0x80)
    return (f"connection {hand.story.cids['shop']} act {hand.story.acts['setting']}", "not base64url")


@damage
def an_act_of_another_time(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE acts SET accepted_at = accepted_at + 1 WHERE id = ?", hand.story.acts["held"])
    return (f"act {hand.story.acts['held']}", "its row has the accepted_at", "but its acceptance has")


@damage
def an_act_of_the_other_side(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE acts SET side = 'first' WHERE id = ?", hand.story.acts["mute"])
    return (f"act {hand.story.acts['mute']}", "its row has the side first, but its acceptance has second")


@damage
def a_missing_act_in_the_middle_of_a_chain(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM acts WHERE id = ?", hand.story.acts["mute"])
    return (f"connection {hand.story.cids['shop']} act", "of the acts of the second side, after")


@damage
def an_acceptance_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.bend("acts", "event", "id = ?", hand.story.acts["told"])
    return (f"act {hand.story.acts['told']} acceptance", "signature")


@damage
def the_acceptance_of_another_act(hand: Hand) -> tuple[str, ...]:
    event = hand.one("SELECT event FROM acts WHERE id = ?", hand.story.acts["mute"])
    hand.do("UPDATE acts SET event = ? WHERE id = ?", event, hand.story.acts["setting"])
    return (f"act {hand.story.acts['setting']}", f"but its acceptance has {hand.story.acts['mute']}")


@damage
def a_delivery_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.bend("events", "raw", "kind = 'delivered'")
    return (f"connection {hand.story.cids['shop']} delivered at", "signature")


@damage
def a_delivery_that_is_missing(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM events WHERE kind = 'delivered'")
    return (
        f"{hand.log} entry {hand.one('SELECT MAX(idx) FROM entries WHERE act = ?', hand.story.acts['held'])}",
        "it belongs to no text",
        hand.story.acts["held"],
    )


@damage
def an_opening_that_differs_from_the_event(hand: Hand) -> tuple[str, ...]:
    hand.bend("agreements", "opened", "cid = ?", hand.story.cids["friends"])
    return (f"connection {hand.story.cids['friends']} opened", "is not the one in the events")


@damage
def an_agreement_of_which_one_signature_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.bend("agreements", "raw", "cid = ?", hand.story.cids["friends"])
    return (f"connection {hand.story.cids['friends']} agreement", "signature")


@damage
def an_agreement_that_is_missing(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM agreements WHERE cid = ?", hand.story.cids["ended"])
    return (f"connection {hand.story.cids['ended']} agreement", "missing")


@damage
def a_state_that_was_changed(hand: Hand) -> tuple[str, ...]:
    sql = "UPDATE connections SET state = CAST(replace(CAST(state AS TEXT), 'sales', 'safes') AS BLOB) WHERE cid = ?"
    hand.do(sql, hand.story.cids["shop"])
    return (f"connection {hand.story.cids['shop']} state", "not the state that its acts and events give: second.grants")


@damage
def a_state_that_cannot_be_read(hand: Hand) -> tuple[str, ...]:
    hand.flip("connections", "state", "cid = ?", hand.story.cids["shop"], at=0)
    return (f"connection {hand.story.cids['shop']} state", "it cannot be read")


@damage
def a_state_from_before_the_last_act(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE connections SET state = ? WHERE cid = ?", hand.story.before, hand.story.cids["friends"])
    return (f"connection {hand.story.cids['friends']} state", "events give: at, second.head, second.seq, second.little")


@damage
def an_ended_connection_that_says_it_is_open(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE connections SET phase = 'open' WHERE cid = ?", hand.story.cids["ended"])
    return (f"connection {hand.story.cids['ended']}", "its row says open at")


@damage
def a_waiting_message_that_nothing_wakes(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE connections SET wake_at = NULL WHERE cid = ?", hand.story.cids["shop"])
    return (f"connection {hand.story.cids['shop']} wake_at", "messages wait, but no time is set to release them")


@damage
def a_tag_secret_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.flip("connections", "tag_secret", "cid = ?", hand.story.cids["shop"])
    return (f"{hand.log} entry {hand.index('held')}", "its tag does not match", hand.story.acts["held"])


@damage
def a_side_that_reads_anothers_stream(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE sides SET stream = 'did:key:x' WHERE cid = ? AND side = 'first'", hand.story.cids["friends"])
    return (f"connection {hand.story.cids['friends']} sides", "the first side must be did:key:")


@damage
def a_connection_that_is_missing(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM connections WHERE cid = ?", hand.story.cids["ended"])
    return ("agreement", f"there is no connection {hand.story.cids['ended']}")


@damage
def a_withdrawn_consent_that_is_listed_as_valid(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE status_entries SET ended = 0 WHERE grant_id = ?", hand.story.acts["withdrawn"])
    return ("status list 1 index", "it says valid", f"by grant {hand.story.acts['withdrawn']} it must be ended")


@damage
def a_muted_consent_that_is_listed_as_valid(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE status_entries SET ask_until = 0 WHERE ask_until > 0")
    return ("status list 1 index", "it says valid", "it must be ask until")


@damage
def a_consent_whose_index_is_free_again(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE status_entries SET grant_id = NULL WHERE grant_id = ?", hand.story.acts["withdrawn"])
    return ("status list 1 index", "it says free", hand.story.acts["withdrawn"])


@damage
def a_consent_that_is_not_listed(hand: Hand) -> tuple[str, ...]:
    hand.do("DELETE FROM status_entries WHERE grant_id = ?", hand.story.acts["withdrawn"])
    return ("/status/1 index", f"it is missing, but grant {hand.story.acts['withdrawn']} refers to it")


@damage
def a_key_of_a_business_that_was_exchanged(hand: Hand) -> tuple[str, ...]:
    other = SigningKey(b"w" * 32).public.multibase
    hand.do("UPDATE business_keys SET multibase = ? WHERE name = 'second-hand' AND idx = 77", other)
    return ("business second-hand key", f"it is not the name of the key {other}")


@damage
def a_statement_about_a_key_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE business_keys SET added_at = added_at + 1 WHERE idx = 77")
    return ("business second-hand key", "its statement does not match its row")


@damage
def an_offer_that_was_changed(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE offers SET uses = 'many'")
    return ("offer", "its row does not match its text")


@damage
def a_half_that_waits_although_both_signed(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE proposals SET phase = 'waiting' WHERE cid = ?", hand.story.cids["shop"])
    return (f"proposal {hand.story.cids['shop']}", "its phase is waiting")


@damage
def news_of_what_is_not_there(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE inbox SET act = 'nothing' WHERE n = (SELECT MIN(n) FROM inbox WHERE kind = 'act')")
    return ("inbox did:", "there is no such act of connection")


@damage
def a_number_of_news_that_was_forgotten(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE meta SET value = '3' WHERE name = 'last_news'")
    return ("meta last_news", "it is 3, but the last news has the number")


@damage
def a_home_key_that_is_missing(hand: Hand) -> tuple[str, ...]:
    hand.data.joinpath("home.key").unlink()
    return ("home.key", "missing or damaged")


@damage
def a_number_where_a_text_must_be(hand: Hand) -> tuple[str, ...]:
    hand.do("UPDATE entries SET salt = 'salt' WHERE log = ? AND idx = 7", hand.log)
    return ("entries", "7", "a value has the wrong type")


@pytest.mark.parametrize("planted", DAMAGES, ids=lambda do: do.__name__)
def test_damage_is_found_and_named(story: Story, copy: Path, planted: Damage) -> None:
    with closing(sqlite3.connect(copy / "comity.db", isolation_level=None)) as db:
        words = planted(Hand(db, copy, story))
    found = told(check_store(copy))
    assert any(all(word in line for word in words) for line in found), (words, found)


def test_all_that_is_damaged_is_found_and_not_only_the_first(story: Story, copy: Path) -> None:
    planted = [
        a_tile_that_was_changed,
        a_missing_entry,
        a_tag_secret_that_was_changed,
        a_state_from_before_the_last_act,
        an_acceptance_that_was_changed,
        a_withdrawn_consent_that_is_listed_as_valid,
        news_of_what_is_not_there,
    ]
    with closing(sqlite3.connect(copy / "comity.db", isolation_level=None)) as db:
        wanted = [do(Hand(db, copy, story)) for do in planted]
    found = told(check_store(copy))
    assert [words for words in wanted if not any(all(word in line for word in words) for line in found)] == []


def test_of_many_faults_the_first_are_told_and_all_are_counted(story: Story, copy: Path) -> None:
    with closing(sqlite3.connect(copy / "comity.db", isolation_level=None)) as db:
        Hand(db, copy, story).do("UPDATE entries SET salt = zeroblob(32)")
    seen = check_store(copy)
    assert len(seen.findings.first) == MOST
    assert seen.findings.total == MOST + seen.findings.more == sum(seen.logs.values())
    shown = comity("--data", copy)
    assert shown.exit_code == 1
    assert f"and {seen.findings.more} more\n{seen.findings.total} faults found.\n" in shown.stdout


def test_a_fault_is_reported_once(story: Story, copy: Path) -> None:
    with closing(sqlite3.connect(copy / "comity.db", isolation_level=None)) as db:
        hand = Hand(db, copy, story)
        a_tile_that_was_changed(hand)
        an_acceptance_that_was_changed(hand)
        a_withdrawn_consent_that_is_listed_as_valid(hand)
    assert len(told(check_store(copy))) == 3


def test_a_page_of_any_table_that_was_overwritten_is_found(story: Story, copy: Path) -> None:
    whole = copy.joinpath("comity.db").read_bytes()
    with closing(sqlite3.connect(story.data / "comity.db")) as db:
        pages = db.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    assert len(pages) > 10
    for name, page in pages:
        torn = whole[: 4096 * (page - 1)] + b"\xa5" * 4096 + whole[4096 * page :]
        copy.joinpath("comity.db").write_bytes(torn)
        shown = comity("--data", copy)
        assert shown.exit_code in (1, 2), (name, shown.output)
        assert isinstance(shown.exception, SystemExit), (name, shown.exception)


def test_the_check_ends_whichever_bit_is_flipped(story: Story, copy: Path) -> None:
    whole = copy.joinpath("comity.db").read_bytes()
    chance = random.Random(7)
    codes = []
    for _ in range(20):
        torn = bytearray(whole)
        for _ in range(20):
            torn[chance.randrange(len(torn))] ^= 1 << chance.randrange(8)
        copy.joinpath("comity.db").write_bytes(torn)
        shown = comity("--data", copy)
        assert isinstance(shown.exception, SystemExit), shown.exception
        codes.append(shown.exit_code)
    assert set(codes) <= {1, 2}


# --- the command ------------------------------------------------------------------------------------------------------


def comity(*arguments: object) -> Result:
    """`comity fsck` with these arguments, in an environment of its own."""
    environment = {name: None for name in os.environ if name.startswith("COMITY_")}
    return CliRunner().invoke(main, ["fsck", *map(str, arguments)], env=environment)


def test_the_command_tells_what_it_saw(story: Story) -> None:
    shown = comity("--data", story.data)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"Checked {story.data}, as of the commit on 2024-06-18 11:01 UTC\n")
    assert f"{story.host}/{LOG}, " in shown.stdout
    assert shown.stdout.endswith("All checks passed.\n")


def test_the_command_tells_each_fault_in_a_line_or_as_json(story: Story, copy: Path) -> None:
    with closing(sqlite3.connect(copy / "comity.db", isolation_level=None)) as db:
        a_missing_tile(Hand(db, copy, story))
    shown = comity("--data", copy)
    assert shown.exit_code == 1
    assert f"\n{story.host}/{LOG} tile/0/000: the tile is missing\n1 fault found.\n" in shown.stdout
    shown = comity("--data", copy, "--json")
    assert shown.exit_code == 1
    answer = json.loads(shown.stdout)
    assert (answer["ok"], answer["more"], answer["logs"][f"{story.host}/{NEXT}"]) == (False, 0, 4)
    assert answer["findings"] == [{"place": f"{story.host}/{LOG} tile/0/000", "fault": "the tile is missing"}]


def test_the_help_says_what_the_exit_codes_mean() -> None:
    shown = comity("--help")
    assert shown.exit_code == 0
    assert "Exit code: 0 if everything is correct" in " ".join(shown.stdout.split())
    assert "fsck" in CliRunner().invoke(main, ["--help"]).stdout


def _no_folder(folder: Path) -> str:
    shutil.rmtree(folder)
    return f"there is no folder {folder}"


def _no_store(folder: Path) -> str:
    folder.joinpath("comity.db").unlink()
    return f"{folder} is not a data folder of Comity: it contains no comity.db"


def _no_database(folder: Path) -> str:
    folder.joinpath("comity.db").write_bytes(b"Dear diary, " * 1000)
    return f"{folder}/comity.db cannot be read: file is not a database"


def _nothing_in_it(folder: Path) -> str:
    folder.joinpath("comity.db").write_bytes(b"")
    return f"{folder}/comity.db is not a store of Comity"


def _of_a_later_version(folder: Path) -> str:
    _set_revision(folder, "v3_9999")
    return f"{folder}/comity.db has schema v3_9999, and this version knows {migrations.HEAD}: a later version wrote it"


def _of_an_earlier_version(folder: Path) -> str:
    _set_revision(folder, "v3_0000")
    return f"{folder}/comity.db has schema v3_0000, and this version knows {migrations.HEAD}: start the server once"


def _of_before_the_first_release(folder: Path) -> str:
    _set_revision(folder, "0003")
    return (
        f"{folder}/comity.db was written before the first release of Comity, and there is no upgrade from there: "
        "begin with a new data folder"
    )


def _set_revision(folder: Path, revision: str) -> None:
    with closing(sqlite3.connect(folder / "comity.db", isolation_level=None)) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.mark.parametrize(
    "spoil",
    [
        _no_folder,
        _no_store,
        _no_database,
        _nothing_in_it,
        _of_a_later_version,
        _of_an_earlier_version,
        _of_before_the_first_release,
    ],
)
def test_a_file_that_is_no_store_is_reported_in_one_line(copy: Path, spoil: Callable[[Path], str]) -> None:
    reason = spoil(copy)
    shown = comity("--data", copy)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (2, "", f"Error: {reason}\n")
    shown = comity("--data", copy, "--json")
    assert (shown.exit_code, json.loads(shown.stdout)) == (2, {"ok": False, "error": reason})
