"""An operator makes backups while people go on, and puts them back (BACKUP-1 to BACKUP-5)."""

import asyncio
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from comity.encoding import b64u_encode
from comity_server.backup import create, restore
from comity_server.backup.contents import DATABASES, HEADS, KEYS, LEFT_OUT
from comity_server.backup.store_copy import copy_database
from comity_server.commands.server_key_rotation import rotate_home
from comity_server.data_dir import CutOff
from comity_server.log.restores import CannotRestore, MovedAway
from comity_server.operator.master_key_rotation import rotate_master
from support.business_world import a_shop
from support.restored_server import command, confirm, put_back, state_at_server
from support.webhook_world import Hook
from support.world import World, eventually

COMITY = Path(sys.executable).with_name("comity")


async def well(world: World, *words: str) -> str:
    """What a command says, which must end well."""
    done = await command(world, *words)
    assert done.exit_code == 0, done.output
    return done.output


async def badly(world: World, *words: str) -> str:
    """What a command says, which must end in one plain sentence."""
    done = await command(world, *words)
    assert done.exit_code == 1 and done.exception is not None and isinstance(done.exception, SystemExit), done.output
    assert done.output.startswith("Error: ") and len(done.output.splitlines()) == 1
    return done.output


async def logs_of(world: World) -> list[dict[str, object]]:
    """The logs that the server names."""
    return (await world.send("GET", "/.well-known/comity")).json["logs"]  # type: ignore[no-any-return]


def lose(world: World) -> Path:
    """The data folder is gone; to where."""
    lost = world.folder / "lost"
    (world.folder / "data").rename(lost)
    return lost


# --- a backup


async def test_a_backup_that_was_made_while_people_went_on_is_one_moment_of_it(world: World) -> None:
    pair = await world.shop_and_customer("care")
    made: list[str] = []

    async def go_on() -> None:
        number = 0
        while not made:
            await pair.go("second", "remember", key=f"key_{number % 60}")
            number += 1

    async def back_up() -> None:
        for number in range(3):
            await well(world, "backup", str(world.folder / f"{number}"))
        made.append("")

    await asyncio.gather(go_on(), back_up())
    sizes = []
    for number in range(3):
        told = json.loads(await well(world, "restore", str(world.folder / f"{number}"), "--verify", "--json"))
        assert told["ok"] and told["findings"] == [] and told["connections"] == 1
        sizes.append(sum(told["logs"].values()))
    assert sizes[0] < sizes[1] < sizes[2]
    await put_back(world, world.folder / "1")
    kept = await state_at_server(world, pair.cid)
    assert kept.recovering == ("first", "second") and 0 < kept.second.seq <= pair.state.second.seq
    assert "All checks passed." in await well(world, "fsck")


async def test_every_file_of_a_data_folder_is_in_the_backup_or_listed_as_left_out(world: World) -> None:
    world.change(webhooks_to_loopback=True)
    await world.stop()
    await world.start()
    world.at(time.time_ns() // 1_000_000)
    shop = await a_shop(world)
    async with Hook() as hook:
        made = await shop.post("/webhooks", {"url": hook.url})
        await shop.post(f"/webhooks/{made['id']}/verify")
    await rotate_home(world.server.writer, world.server.home.keys, world.server.logs.active.key.text, broken=False)
    await world.stop()
    world.change(consent_log="next")
    await world.start()
    data, backup = world.folder / "data", world.folder / "backup"
    (data / "home.new").write_bytes(b"half")
    await well(world, "backup", str(backup))
    copied = {path.name for path in backup.iterdir()} - {"backup.json"}
    left = {path.name for path in data.iterdir()} - copied
    assert copied >= {*DATABASES, "home.key", "log.key", "log.head", "log-next.key", "master.key"}
    assert len([name for name in copied if name.startswith("home-z")]) == 2
    known = {path.name for pattern in LEFT_OUT for path in data.glob(pattern)}
    assert left - known == {"log-next.head"}, "of the log that goes on"
    assert copied <= {path.name for pattern in (*DATABASES, *KEYS, *HEADS) for path in data.glob(pattern)}


async def test_nobody_but_its_owner_reads_a_backup(world: World) -> None:
    backup, keys = world.folder / "backups" / "monday", world.folder / "keys" / "monday"
    await well(world, "backup", str(backup), "--keys", str(keys))
    for folder in (backup, keys):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    secret = (world.folder / "data" / "home.key").read_bytes()
    assert all(secret not in path.read_bytes() for path in backup.iterdir())
    assert (keys / "home.key").read_bytes() == secret


async def test_keys_that_lie_apart_are_needed_and_are_those_of_that_backup(world: World) -> None:
    monday, tuesday, keys, others = (world.folder / name for name in ("monday", "tuesday", "keys", "others"))
    await well(world, "backup", str(monday), "--keys", str(keys))
    await well(world, "backup", str(tuesday), "--keys", str(others))
    assert "name it with --keys" in await badly(world, "restore", str(monday), "--verify")
    assert "to another backup" in await badly(world, "restore", str(monday), "--verify", "--keys", str(others))
    assert "not a complete folder of keys" in await badly(world, "restore", str(monday), "--keys", str(world.folder))
    await well(world, "restore", str(monday), "--verify", "--keys", str(keys))
    await put_back(world, monday, "--keys", str(keys))


async def test_a_master_key_that_is_kept_elsewhere_stays_there(world: World) -> None:
    key = b64u_encode(b"m" * 32)
    await world.stop()
    world.change(data=world.folder / "other", master_key=key)
    await world.start()
    await a_shop(world)
    backup = world.folder / "backup"
    env = {"COMITY_MASTER_KEY": key}
    here = ["--data", str(world.folder / "other")]
    assert "master key" in await badly(world, "backup", str(backup), *here)
    assert not backup.exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(env.items())))
        assert "The master key is not in it: store a copy separately." in await well(
            world, "backup", str(backup), *here
        )
        assert not (backup / "master.key").exists()
        await well(world, "restore", str(backup), "--verify")
    assert "master key is missing" in await badly(world, "restore", str(backup), "--verify")


async def test_places_that_would_be_lost_or_are_taken_are_refused(world: World) -> None:
    data, backup = world.folder / "data", world.folder / "backup"
    assert "would be lost with it" in await badly(world, "backup", str(data / "backup"))
    await well(world, "backup", str(backup))
    assert "exists already" in await badly(world, "backup", str(backup))
    assert "one contains the other" in await badly(
        world, "backup", str(world.folder / "b"), "--keys", str(world.folder / "b" / "k")
    )
    assert "is not empty" in await badly(world, "restore", str(backup))
    assert "not a complete backup" in await badly(world, "restore", str(world.folder / "nowhere"))
    assert "not a complete backup" in await badly(world, "restore", str(data))
    none = world.folder / "none"
    assert "is not the data folder of a server" in await badly(
        world, "backup", str(world.folder / "c"), "--data", str(none)
    )
    assert not none.exists()


# --- one that was cut off, or was damaged since


def _full(limit: int) -> Callable[[], None]:
    def set_limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return set_limit


async def test_a_backup_for_which_there_is_no_room_leaves_nothing(world: World) -> None:
    backup = world.folder / "backups" / "monday"
    env = os.environ | {"COMITY_DATA": str(world.folder / "data")}

    def with_no_room() -> "subprocess.CompletedProcess[str]":
        words = [str(COMITY), "backup", str(backup)]
        full = _full(100_000)
        return subprocess.run(words, env=env, preexec_fn=full, capture_output=True, text=True, timeout=60, check=False)

    done = await asyncio.to_thread(with_no_room)
    assert done.returncode == 1 and done.stderr.startswith("Error: cannot back up: "), done.stderr
    assert list(backup.parent.iterdir()) == []
    await well(world, "backup", str(backup))


async def test_a_backup_that_was_killed_is_never_taken_for_a_whole_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = world.folder / "backups" / "monday"
    monkeypatch.setattr(create, "_rename_into_place", lambda *given: os.kill(os.getpid(), signal.SIGKILL))
    child = os.fork()
    if not child:
        try:
            create.back_up(world.config(), backup, None, lambda *told: None)
        finally:
            os._exit(1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not backup.exists()
    (unfinished,) = backup.parent.iterdir()
    assert unfinished.name.startswith(".monday.") and unfinished.name.endswith(".unfinished")
    (unfinished / "backup.json").unlink()
    assert "not a complete backup" in await badly(world, "restore", str(unfinished))


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        (
            "comity.db",
            lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
            "damaged or changed",
        ),
        ("comity.db", lambda content: content[:-4096], "damaged or changed"),
        ("home.key", lambda content: b"k" * 32, "damaged or changed"),
        ("log.key", None, "log.key is missing"),
        ("backup.json", lambda content: content[:40], "backup.json is damaged"),
        ("backup.json", lambda content: content.replace(b"comity-backup/1", b"comity-backup/2"), "its format is"),
        ("backup.json", lambda content: content.replace(b'"log.key"', b'"../k"'), "its format is"),
    ],
)
async def test_a_damaged_backup_is_not_restored(
    world: World, name: str, damage: Callable[[bytes], bytes] | None, told: str
) -> None:
    await world.shop_and_customer("care")
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))
    path = backup / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    new = world.folder / "new"
    for words in (("--verify",), ("--data", str(new))):
        assert told in await badly(world, "restore", str(backup), *words)
    assert not new.exists()


async def test_damaged_records_of_webhooks_are_not_put_back(world: World) -> None:
    await world.shop_and_customer("care")
    backup = world.folder / "backup"
    with closing(sqlite3.connect(world.folder / "data" / "webhooks.db", isolation_level=None)) as raw:
        raw.execute("CREATE TABLE told (n INTEGER PRIMARY KEY, what TEXT)")
        raw.execute("CREATE INDEX by_what ON told (what)")
        raw.execute("INSERT INTO told (what) VALUES ('a'), ('b')")
        # An index without a row of its table: the file can be read, and what it says is wrong.
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX by_what ON told (n)' WHERE name = 'by_what'")
    assert "webhooks.db" in await badly(world, "backup", str(backup))


async def test_a_backup_during_which_the_master_key_was_replaced_has_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_shop(world)
    backup, copy, loop = world.folder / "backup", copy_database, asyncio.get_running_loop()

    def replaced_meanwhile(source: Path, target: Path) -> None:
        monkeypatch.setattr(create, "copy_database", copy)
        asyncio.run_coroutine_threadsafe(rotate_master(world.server), loop).result(20)
        copy(source, target)

    monkeypatch.setattr(create, "copy_database", replaced_meanwhile)
    await well(world, "backup", str(backup))
    await well(world, "restore", str(backup), "--verify")
    await put_back(world, backup)


async def test_a_backup_is_put_on_a_new_disk_and_over_nothing_else(world: World) -> None:
    backup, disk = world.folder / "backup", world.folder / "disk"
    await well(world, "backup", str(backup))
    (disk / "lost+found").mkdir(parents=True)
    await well(world, "restore", str(backup), "--data", str(disk))
    assert {"comity.db", "lost+found"} <= {path.name for path in disk.iterdir()}
    assert "is not empty" in await badly(world, "restore", str(backup), "--data", str(disk))


async def test_a_backup_on_what_cannot_be_written_is_put_back_as_often_as_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(restore, "write_contents", read_only)
    for _ in range(2):
        await put_back(world, backup)


async def test_a_store_that_does_not_hold_is_no_backup(world: World) -> None:
    await world.shop_and_customer("care")
    await world.stop()
    with closing(sqlite3.connect(world.folder / "data" / "comity.db", isolation_level=None)) as raw:
        raw.execute("UPDATE entries SET entry = x'00' WHERE idx = 2")
    told = await badly(world, "backup", str(world.folder / "backup"))
    assert "comity fsck" in told and not (world.folder / "backup").exists()
    with closing(sqlite3.connect(world.folder / "data" / "comity.db", isolation_level=None)) as raw:
        raw.execute("UPDATE heads SET size = 2")
    await badly(world, "backup", str(world.folder / "backup"))
    world.change(data=world.folder / "other")
    await world.start()


async def test_a_restore_that_was_cut_off_is_never_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    backup, data = world.folder / "backup", world.folder / "data"
    await well(world, "backup", str(backup))
    await world.stop()
    lose(world)
    moved = 0

    def cut_off(source: Path, target: Path) -> None:
        nonlocal moved
        moved += 1
        if moved == 2:
            raise OSError(28, "No space left on device")
        rename(source, target)

    rename = os.rename
    data.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("comity_server.backup.restore.os.rename", cut_off)
        assert "No space left on device" in await badly(world, "restore", str(backup))
    with pytest.raises(CutOff, match="restore the backup again"):
        await world.start()
    assert "was interrupted" in await badly(world, "restore", str(backup))
    assert "was interrupted" in await badly(world, "keys", "status")
    await put_back_after(world, backup)


async def put_back_after(world: World, backup: Path) -> None:
    """What the message says is done."""
    shutil.rmtree(world.folder / "data")
    await well(world, "restore", str(backup))
    await world.start()


# --- a copy knows that it is one


async def test_a_copy_begins_another_log_whoever_put_it_there(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))
    await pair.go("second", "mute")
    names = set()
    for _ in range(2):
        await world.stop()
        shutil.rmtree(world.folder / "data")
        # By hand, file by file, as people do it.
        shutil.copytree(backup, world.folder / "data")
        await world.start()
        assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")
        (log,) = await logs_of(world)
        assert log["restored_at"] and "/log/restored-" in str(log["origin"])
        names.add(log["origin"])
        await world.stop()
        await world.start()
        assert await logs_of(world) == [log], "begun once"
    assert len(names) == 2, "no two copies write one log"


async def test_no_setting_lets_a_copy_go_on_in_the_log_of_its_original(world: World) -> None:
    await world.stop()
    world.change(consent_log="mine")
    await world.start()
    pair = await world.shop_and_customer("care")
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))
    with pytest.raises(CannotRestore, match="or leave that unset"):
        await put_back(world, backup)
    world.change(consent_log="yours")
    await world.start()
    assert (await logs_of(world))[0]["origin"] == f"localhost:{world.port}/log/yours"
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")


async def test_a_start_that_was_cut_off_before_its_log_began_goes_on_with_that_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await world.shop_and_customer("care")
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))

    async def cut_off(*given: object) -> None:
        raise RuntimeError("the power goes")

    with monkeypatch.context() as patch:
        patch.setattr("comity_server.assembly.open_logs", cut_off)
        patch.setattr("comity_server.app.open_server", _with(cut_off))
        with pytest.raises(RuntimeError, match="the power goes"):
            await put_back(world, backup)
    await world.start()
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")
    assert [log.get("ended") for log in await logs_of(world)] == [None]


def _with(open_logs: object) -> Callable[..., object]:
    from comity_server.assembly import open_server

    return lambda config, port, _: open_server(config, port, open_logs)  # type: ignore[arg-type]


async def test_the_log_of_an_ended_name_is_served_on_after_a_restore(world: World) -> None:
    await world.shop_and_customer("care")
    await world.stop()
    world.change(consent_log="next")
    await world.start()
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))
    world.change(consent_log=None)
    await put_back(world, backup)
    named = {str(log["origin"]): log.get("ended") for log in await logs_of(world)}
    assert named[f"localhost:{world.port}/log"] and len(named) == 2
    assert (await world.send("GET", "/log/checkpoint")).status == 200


# --- a move


async def test_a_move_goes_on_under_its_log_and_the_old_place_does_not(world: World) -> None:
    pair = await world.shop_and_customer("care")
    move = world.folder / "move"
    assert "stop it before" in await badly(world, "backup", str(move), "--move")
    (before,) = await logs_of(world)
    await world.stop()
    assert "is not used any more" in await well(world, "backup", str(move), "--move")
    with pytest.raises(MovedAway, match="comity restore"):
        await world.start()
    for words in (("keys", "status"), ("backup", str(world.folder / "again"), "--move")):
        assert "was moved to" in await badly(world, *words)
    await well(world, "restore", str(move), "--verify")
    world.change(data=world.folder / "new")
    await well(world, "restore", str(move), "--data", str(world.folder / "new"))
    await world.start()
    assert await logs_of(world) == [before]
    assert (await state_at_server(world, pair.cid)).restored_at == 0
    await pair.go("first", "message")


async def test_a_move_is_put_back_under_its_log_once(world: World) -> None:
    pair = await world.shop_and_customer("care")
    move = world.folder / "move"
    await world.stop()
    await well(world, "backup", str(move), "--move", "--keys", str(world.folder / "keys"))
    where = ["--keys", str(world.folder / "keys")]
    await put_back(world, move, *where)
    await pair.go("second", "mute")
    await well(world, "restore", str(move), "--verify", *where)
    await put_back(world, move, *where)
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")
    (log,) = await logs_of(world)
    assert log["restored_at"]


async def test_a_move_that_cannot_be_written_down_is_not_put_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, new = world.folder / "move", world.folder / "new"
    await world.stop()
    await well(world, "backup", str(move), "--move")

    def read_only(*given: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(restore, "write_contents", read_only)
        assert "Read-only file system" in await badly(world, "restore", str(move), "--data", str(new))
    assert not new.exists()
    world.change(data=new)
    await well(world, "restore", str(move), "--data", str(new))
    await world.start()


@pytest.mark.parametrize("fails", ["rename", "sync_folder"])
async def test_of_a_move_that_failed_one_place_goes_on_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    await world.stop()
    move, keys = world.folder / "move", world.folder / "keys"
    whole = os.rename

    def full(*given: Path) -> None:
        if fails == "sync_folder" or given[1] == move:
            raise OSError(28, "No space left on device")
        whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(os if fails == "rename" else create, fails, full)
        assert "No space left" in await badly(world, "backup", str(move), "--move", "--keys", str(keys))
    if fails == "rename":
        assert not move.exists() and not keys.exists()
        await world.start()
        return
    # It has its name, so the old place stays closed.
    with pytest.raises(MovedAway):
        await world.start()
    await put_back(world, move, "--keys", str(keys))


async def test_an_ordinary_copy_of_the_old_place_is_a_backup_like_any_other(world: World) -> None:
    pair = await world.shop_and_customer("care")
    await world.stop()
    await well(world, "backup", str(world.folder / "move"), "--move")
    await well(world, "backup", str(world.folder / "copy"))
    await world_of(world, "copy")
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")


async def world_of(world: World, backup: str) -> None:
    """The server goes on in a new folder."""
    new = world.folder / f"of-{backup}"
    world.change(data=new)
    await well(world, "restore", str(world.folder / backup), "--data", str(new))
    await world.start()


# --- after it


async def test_acts_made_since_the_backup_come_back_and_the_doors_open(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = world.folder / "backup"
    await well(world, "backup", str(backup))
    await put_back(world, backup)
    for side in ("first", "second"):
        assert (await confirm(pair, side)).status == 200

    async def open_again() -> bool:
        return not (await state_at_server(world, pair.cid)).recovering

    await eventually(open_again)
