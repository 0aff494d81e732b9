"""The master key and the signing keys that are kept: what an operator can count on (BIZ-7, BIZ-8)."""

import asyncio
import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from comity.documents.acts import open_act
from comity.encoding import b64u_encode
from comity.rules.state import decode_state
from comity_server.api.business import acts
from comity_server.api.business.route import Call
from comity_server.app import run_server
from comity_server.businesses.master_key import FILE, CannotUnseal, MasterKey
from comity_server.config import load
from comity_server.operator import master_key_rotation, signing_key_rotation
from comity_server.operator.commands import NEXT_KEY, TURN, OfBusiness, Place
from comity_server.store import sqlite as store_sqlite
from comity_server.store.rows import Batch
from comity_server.store.seals import SEALED
from comity_server.writer.unit_of_work import UnitOfWork
from comity_tools.cli import main
from support.business_world import Shop, a_shop, at_once
from support.operator_world import comity, stored
from support.sdk_world import sdk_world
from support.world import World, a_world

OTHER = b64u_encode(b"o" * 32)
NEW = b64u_encode(b"n" * 32)


def store_of(world: World) -> sqlite3.Connection:
    return sqlite3.connect(world.folder / "data" / "comity.db")


def master_file(world: World) -> Path:
    return world.folder / "data" / FILE


async def lived_in(world: World) -> Shop:
    """A shop with a kept key, a seat, and a draft of a message that was refused."""
    shop = await a_shop(world)
    await shop.post("/seats", {"staff": "staff 4711"})
    pair = await shop.customer()
    refused = await shop.ask("POST", f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "Not yet."})
    assert refused.json["draft"]
    return shop


async def draft_of(shop: Shop) -> str:
    (draft,) = (await shop.get("/drafts"))["items"]
    return str(draft["message"]["text"])


# --- what keeps a server from starting --------------------------------------------------------------------------------


def _no_file(world: World) -> dict[str, Any]:
    master_file(world).unlink()
    return {}


def _another_file(world: World) -> dict[str, Any]:
    master_file(world).write_text(OTHER)
    return {}


def _no_key(world: World) -> dict[str, Any]:
    master_file(world).write_text("not a key")
    return {}


def _nothing_in_it(world: World) -> dict[str, Any]:
    master_file(world).write_text("")
    return {}


def _bytes(world: World) -> dict[str, Any]:
    master_file(world).write_bytes(os.urandom(32))
    return {}


def _another_in_the_environment(_: World) -> dict[str, Any]:
    return {"master_key": OTHER}


def _no_key_in_the_environment(_: World) -> dict[str, Any]:
    return {"master_key": "hunter2"}


def _a_file_that_is_not_there(world: World) -> dict[str, Any]:
    return {"master_key_file": world.folder / "nowhere"}


def _a_kept_key_of_another_store(world: World) -> dict[str, Any]:
    sealed = MasterKey.read(OTHER).seal(b"s" * 32)
    with closing(store_of(world)) as store, store:
        store.execute("UPDATE kept_keys SET sealed = ?", (sealed,))
    return {}


def _a_damaged_kept_key(world: World) -> dict[str, Any]:
    with closing(store_of(world)) as store, store:
        store.execute("UPDATE kept_keys SET sealed = CAST(substr(sealed, 1, 60) || x'00' AS BLOB)")
    return {}


def _a_seat_secret_of_another_store(world: World) -> dict[str, Any]:
    with closing(store_of(world)) as store, store:
        store.execute("UPDATE seat_secrets SET sealed = ?", (MasterKey.read(OTHER).seal(b"s" * 32),))
    return {}


def _a_damaged_check(world: World) -> dict[str, Any]:
    with closing(store_of(world)) as store, store:
        store.execute("UPDATE meta SET value = '!' WHERE name = 'master_check'")
    return {}


SPOILT: list[tuple[Callable[[World], dict[str, Any]], str]] = [
    (_no_file, "put it back into"),
    (_another_file, "sealed under another master key"),
    (_no_key, "master.key holds no master key"),
    (_nothing_in_it, "master.key holds no master key"),
    (_bytes, "master.key holds no master key"),
    (_another_in_the_environment, "sealed under another master key"),
    (_no_key_in_the_environment, "COMITY_MASTER_KEY holds no master key"),
    (_a_file_that_is_not_there, "COMITY_MASTER_KEY_FILE names no file"),
    (_a_kept_key_of_another_store, "1 signing keys that another master key sealed"),
    (_a_damaged_kept_key, "is damaged: restore it"),
    (_a_seat_secret_of_another_store, "1 secrets of seats that another master key sealed"),
    (_a_damaged_check, "is damaged: restore it"),
]


async def test_a_server_that_cannot_unseal_what_it_keeps_does_not_start_and_says_so_in_a_line(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await lived_in(world)
        await world.stop()
        data = tmp_path / "data"
        whole = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
        for spoil, says in SPOILT:
            settings = {name: str(value) for name, value in spoil(world).items()}
            spoilt = stored(data)
            with pytest.raises(CannotUnseal, match=says):
                async with run_server(load({**world.settings(), **settings}, {})):
                    pass
            said = (await comity(world, "keys", "status", code=1, **settings)).stderr
            assert says in said and said.startswith("Error: ") and said.count("\n") == 1, (spoil, said)
            assert "hunter2" not in said
            # Damage is met later than another key is, when a log's term was begun.
            assert stored(data) == spoilt or spoil is _a_damaged_kept_key
            for name, content in whole.items():
                (data / name).write_bytes(content)
        await world.start()
        await shop.get("/self")


async def test_nobody_signs_with_a_key_that_was_put_in_the_place_of_another(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, rival = await lived_in(world), await a_shop(world, "rival")
        await rival.post("/seats", {"staff": "staff 4711"})
        pair = await shop.customer("care")
        await world.stop()
        data = tmp_path / "data"
        whole = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
        master = MasterKey.read(master_file(world).read_text())
        for wrong in ("SELECT sealed FROM kept_keys WHERE name = 'rival'", master.seal(b"s" * 32)):
            with closing(store_of(world)) as store, store:
                sealed = store.execute(wrong).fetchone()[0] if isinstance(wrong, str) else wrong
                store.execute("UPDATE kept_keys SET sealed = ? WHERE name = 'shop'", (sealed,))
            with pytest.raises(CannotUnseal, match="another signing key under the name did:web:"):
                async with run_server(load(world.settings(), {})):
                    pass
            said = (await comity(world, "keys", "status", code=1)).stderr
            assert said.startswith("Error: the store has another signing key under the name did:web:"), said
            assert said.count("\n") == 1
            for name, content in whole.items():
                (data / name).write_bytes(content)
        # Nor are members of staff noted under seats that another business could work out.
        with closing(store_of(world)) as store, store:
            (sealed,) = store.execute("SELECT sealed FROM seat_secrets WHERE name = 'rival'").fetchone()
            store.execute("UPDATE seat_secrets SET sealed = ? WHERE name = 'shop'", (sealed,))
        await world.start()
        assert await shop.refused("POST", "/seats", {"staff": "staff 4711"}) == "internal"
        assert (await rival.post("/seats", {"staff": "staff 4711"}))["id"]
        await shop.post(f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "Hello"})


# --- another master key -----------------------------------------------------------------------------------------------


def seals_in(world: World) -> set[bytes]:
    """The names of the keys under which anything is sealed, in every table with a column of that name."""
    with closing(store_of(world)) as store:
        tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: {row[1] for row in store.execute(f"PRAGMA table_info({name})")} for name in tables}
        sealed = [name for name in tables if "sealed" in columns[name]]
        assert len(sealed) == len(SEALED), "each table with something sealed has its row in SEALED"
        return {row[0][:8] for name in sealed for row in store.execute(f"SELECT sealed FROM {name}")}


async def test_a_master_key_in_the_folder_is_replaced_while_the_server_goes_on(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await lived_in(world)
        (seat,) = (await shop.get("/seats"))["items"]
        words = await draft_of(shop)
        before = master_file(world).read_text().strip()
        status = (await comity(world, "keys", "status")).stdout
        assert (
            f"in {master_file(world)}" in status
            and "encrypted\tsigning keys\t1\n" in status
            and "business\tshop" in status
        )
        # Others go on meanwhile.
        done, *_ = await asyncio.gather(
            comity(world, "keys", "rotate-master"), *(shop.post("/seats", {"staff": f"n {n}"}) for n in range(9))
        )
        said = done.stdout
        assert "3 secrets were encrypted again" in said
        after = master_file(world).read_text().strip()
        assert after != before and master_file(world).stat().st_mode & 0o777 == 0o600
        # What comes now is sealed under the new key, and what was sealed is still known.
        late = await a_shop(world, "late")
        assert (await shop.post("/seats", {"staff": "staff 4711"}))["id"] == seat["id"]
        told = (await comity(world, "keys", "status")).stdout
        assert "encrypted\tsigning keys\t2\n" in told and "older" not in told
        await late.customer("care")
        await world.stop()
        assert seals_in(world) == {MasterKey.read(after).name}
        # The same where no server runs; what was in use before opens nothing any more.
        assert "4 secrets were encrypted again" in (await comity(world, "keys", "rotate-master")).stdout
        last = master_file(world).read_text()
        for old in (before, after):
            master_file(world).write_text(old)
            assert "another master key" in (await comity(world, "business", "list", code=1)).stderr
            assert old not in status + said + told
        master_file(world).write_text(last)
        await world.start()
        assert (await late.get("/self"))["signing"] == "kept"
        assert await draft_of(shop) == words == "Not yet."
        assert (await shop.post("/seats", {"staff": "staff 4711"}))["id"] == seat["id"]


async def test_a_draft_that_is_changed_while_all_is_sealed_anew_keeps_its_new_text(tmp_path: Path) -> None:
    """BIZ-7: what the resealing read is older than what is in its own commit."""
    async with a_world(tmp_path) as world:
        shop = await lived_in(world)
        (draft,) = (await shop.get("/drafts"))["items"]
        changed = {"purpose": "care", "text": "Yes, now."}
        async with at_once(world) as ask:
            written = await ask(shop.ask("PUT", f"/drafts/{draft['id']}", changed))
            resealed = await ask(master_key_rotation.rotate_master(world.server))
        assert (await written).status == 200 and await resealed == 3
        assert await draft_of(shop) == "Yes, now."
        await world.stop()
        await world.start()
        assert await draft_of(shop) == "Yes, now."


async def test_a_master_key_in_the_environment_is_replaced_by_the_operator(tmp_path: Path) -> None:
    async with a_world(tmp_path, master_key=OTHER) as world:
        shop = await lived_in(world)
        assert not master_file(world).exists()
        refused = (await comity(world, "keys", "rotate-master", code=1)).stderr
        assert "put a new one in front of it" in refused
        await world.stop()
        world._settings["master_key"] = f"{NEW} {OTHER}"
        await world.start()
        status = (await comity(world, "keys", "status")).stdout
        assert "in COMITY_MASTER_KEY\n" in status and "signing keys\t0, and 1 under older keys" in status
        assert "remove them" in (await comity(world, "keys", "rotate-master")).stdout
        await world.stop()
        world._settings["master_key"] = NEW
        await world.start()
        assert (await shop.get("/self"))["signing"] == "kept"
        for text in (NEW, OTHER):
            assert text not in status + refused


async def test_a_master_key_in_a_file_elsewhere_is_replaced_there_or_nothing_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "real.key").write_text(OTHER)
    link = tmp_path / "link.key"
    link.symlink_to(elsewhere / "real.key")
    async with a_world(tmp_path, master_key_file=link) as world:
        await lived_in(world)
        await comity(world, "keys", "rotate-master")
        assert link.is_symlink() and OTHER not in link.read_text()
        assert not master_file(world).exists()
        now = link.read_text()
        # A folder of that name is in the way of writing.
        (elsewhere / "real.new").mkdir()
        said = (await comity(world, "keys", "rotate-master", code=1)).stderr
        assert "cannot be written" in said and said.count("\n") == 1
        assert link.read_text() == now and seals_in(world) == {MasterKey.read(now).name}


# --- killed in the middle of it ---------------------------------------------------------------------------------------

DIED = 42
POINTS = (
    "before file 1", "in file 1", "after file 1", "before commit", "after commit", "before file 2", "in file 2",
    "after file 2",
)  # fmt: skip
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["comity_tools.cli.serve", "comity_tools.cli.operator.keys"])


def rotate_and_die(point: str, settings: dict[str, Any]) -> None:
    """`comity keys rotate-master`, which is gone at that point as by a power cut."""
    os.environ.update({f"COMITY_{name.upper()}": str(value) for name, value in settings.items()})
    write, commit, files = vars(master_key_rotation)["write_master"], store_sqlite._commit, 0

    def die(*_: object) -> None:
        os._exit(DIED)

    def writing(file: Path, master: MasterKey) -> None:
        nonlocal files
        files += 1
        if point == f"before file {files}":
            die()
        if point == f"in file {files}":
            os.replace = die  # type: ignore[assignment]
        write(file, master)
        if point == f"after file {files}":
            die()

    def committing(raw: sqlite3.Connection, batch: Batch, before: Callable[[], None]) -> None:
        resealing_ = bool(batch.put_master_check)
        if resealing_ and point == "before commit":
            die()
        commit(raw, batch, before)
        if resealing_ and point == "after commit":
            die()

    vars(master_key_rotation)["write_master"] = writing
    store_sqlite._commit = committing
    main(["keys", "rotate-master"])


async def test_whenever_the_replacing_is_killed_it_is_finished_by_running_it_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await lived_in(world)
        seat = (await shop.get("/seats"))["items"][0]["id"]
        await world.stop()
        for point in POINTS:
            before = master_file(world).read_text().split()
            child = _fork.Process(target=rotate_and_die, args=(point, world.settings()), daemon=True)
            child.start()
            await asyncio.to_thread(child.join, 30)
            assert child.exitcode == DIED, point
            left = master_file(world).read_text().split()
            assert {"before file 1": 1, "in file 1": 1, "after file 2": 1}.get(point, 2) == len(left), point
            # It starts with what is left, and goes on.
            await comity(world, "keys", "rotate-master")
            (after,) = master_file(world).read_text().split()
            assert after not in before and seals_in(world) == {MasterKey.read(after).name}, point
            if len(left) == 2:
                assert after == left[0], "the key that was made first is taken up"
        await world.start()
        assert (await shop.post("/seats", {"staff": "staff 4711"}))["id"] == seat


# --- another signing key ----------------------------------------------------------------------------------------------


async def test_a_business_gets_a_new_signing_key_and_its_customers_go_on_believing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_key_rotation, "AT_ONCE", 1)
    async with sdk_world(tmp_path) as people:
        world = people.host
        shop = await a_shop(world)
        old = world.server.context.kept.newest("shop")
        assert old is not None
        salon = await people._made("salon", name="Shop", business=old.did, key=old.key)
        mia = await people.person("mia")
        _, hers = await people.connect(salon, mia, "care")
        pairs = [await shop.customer("care") for _ in range(3)]
        await pairs[2].go("second", "revoke")
        open_ = [hers.cid, pairs[0].cid, pairs[1].cid]
        # An operator is stopped behind the first connection, and so is the server.
        kid = (await NEXT_KEY.do(world.server, OfBusiness("shop"))).kid
        assert (await TURN.do(world.server, Place("shop"))).turned == 1
        await world.stop()
        await world.start()
        assert [await kid_of(world, cid) == kid for cid in open_] == [True, False, False]
        # Meanwhile each connection works with the key that it has.
        for cid in open_:
            await says(world, shop, cid, "mute")
        said = (await comity(world, "keys", "rotate", "shop")).stdout
        assert "It is finished now" in said and "2 connections were changed" in said
        assert {await kid_of(world, cid) for cid in open_} == {kid}
        # Asked again, there is another key.
        further, told = (await comity(world, "keys", "rotate", "shop")).stdout.splitlines()
        assert further not in (kid, old.kid) and told == "3 connections were changed to the new key."
        assert {await kid_of(world, cid) for cid in open_} == {further}
        assert await kid_of(world, pairs[2].cid) == old.kid, "what has ended is left"
        for cid in open_:
            await says(world, shop, cid, "unmute", mute=await mute_of(world, cid))
        # The customers check every signature, and follow.
        await hers.sync()
        assert hers.state.door("first").kid == further and not hers.state.door("first").mutes
        for pair in pairs[:2]:
            for item in (await pair.news("second"))["items"]:
                if "event" in item and item["kind"] == "act":
                    pair.take(item["event"], open_act(item["act"].encode(), world.server.directory.find_key))
            assert pair.state.door("first").kid == further
        await hers.mute(days=1)
        seeds = [signer.key.seed for signer in world.server.context.kept._signers.values()]
        await world.stop()
        assert len(seeds) == 3 and not any(seed in stored(tmp_path / "data") for seed in seeds)
        await world.start()


async def kid_of(world: World, cid: str) -> str:
    known = await world.server.store.state(cid)
    assert known is not None
    return decode_state(known.state).door("first").kid


async def mute_of(world: World, cid: str) -> str:
    known = await world.server.store.state(cid)
    assert known is not None
    return decode_state(known.state).door("first").mutes[0].id


async def says(world: World, shop: Shop, cid: str, kind: str, **fields: Any) -> None:
    """An act of the business, as its routes do it."""
    business = world.server.directory.get(shop.name)
    assert business is not None
    key = world.server.context.keyring.of(shop.name)[0]
    call = Call(world.server, None, None, business, key, {})  # type: ignore[arg-type]

    async def decide(group: UnitOfWork) -> None:
        await acts.apply_act(call, group, cid, kind, **fields)

    await world.server.writer.command(decide, [cid])
