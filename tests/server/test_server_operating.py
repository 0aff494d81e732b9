"""What the operator does and sees: starting, stopping, killing, businesses, settings, logs, the schema."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from comity.crypto.keys import Signer, SigningKey, did_web_base, keys_of_document
from comity.documents.offers import HomeParty
from comity.encoding import b64u_decode
from comity.http_api import ACTS, JWT
from comity.rules.next_act import next_rotation
from comity_server import clock as clocks
from comity_server.app import run_server
from comity_server.config import Config, ConfigError, home_did, load
from comity_server.data_dir import AnotherHome, FolderInUse
from comity_server.store import migrations
from comity_server.store.migrations.run import downgrade, scripts, upgrade
from comity_server.store.rows import Batch
from comity_server.store.sqlite import SQL
from comity_tools.cli import main
from support.world import HOUR, World, a_world, body_of, free_port, sqlite_of

COMITY = Path(sys.executable).with_name("comity")
KEY = SigningKey(b"k" * 32).public.did


class Child:
    """A server in a process of its own, as an operator runs it."""

    def __init__(self, data: Path, port: int, **environment: str) -> None:
        self.port = port
        self.log = data.parent / "stderr"
        env = {name: value for name, value in os.environ.items() if not name.startswith("COMITY_")}
        env |= {"COMITY_DATA": str(data), "COMITY_PORT": str(port), "COMITY_LOG_FORMAT": "json", **environment}
        self.env = env
        with self.log.open("ab") as stderr:
            self.process = subprocess.Popen([COMITY, "serve"], env=env, stdout=subprocess.PIPE, stderr=stderr)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().decode()

    def end(self, number: int) -> int:
        """Send a signal and wait."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        code = self.process.wait(15)
        self.process.stdout.close()
        return code

    def comity(self, *arguments: str) -> Result:
        """Another command in the same environment; in this process, since it is quicker."""
        env: dict[str, str | None] = {name: value for name, value in self.env.items() if name.startswith("COMITY_")}
        return CliRunner().invoke(main, arguments, env=env)


class Outside(World):
    """A world whose server is a child process."""

    child: Child

    async def start(self) -> None:
        self.child = await asyncio.to_thread(
            Child,
            self.folder / "data",
            self.port,
            COMITY_OPERATOR="The Test Operator",
            COMITY_CLOCK_OFFSET_FILE=str(self.folder / "clock"),
        )
        self._http = aiohttp.ClientSession(auto_decompress=False)
        document = (await self.send("GET", "/.well-known/did.json")).json
        self.keys = keys_of_document(self.home, document)
        self.server = self  # type: ignore[assignment]
        self.directory = self

    @property
    def home_party(self) -> HomeParty:
        ((kid, key),) = self.keys.items()
        return HomeParty(did=self.home, kid=kid, key=key.multibase)

    def find_key(self, kid: str) -> Any:
        return self.keys.get(kid)

    async def stop(self) -> None:
        assert self._http is not None
        await self._http.close()
        if self.child.process.poll() is None:
            self.child.end(signal.SIGKILL)


async def test_acknowledged_acts_are_there_after_kill_9(tmp_path: Path) -> None:
    world = Outside(tmp_path, {})
    await world.start()
    pairs = [await world.connect(world.person(), world.person()) for _ in range(8)]
    acknowledged: list[tuple[str, str]] = []

    async def live(pair: Any) -> None:
        turn = 0
        while True:
            act = pair.compose("first", "remember", key=f"key_{turn % 5}")
            reply = await world.act(act)
            acknowledged.append((act.raw, reply.json["event"]))
            pair.take(reply.json["event"], act)
            turn += 1

    living = [asyncio.create_task(live(pair)) for pair in pairs]
    while len(acknowledged) < 60:
        await asyncio.sleep(0.01)
    world.child.end(signal.SIGKILL)
    await asyncio.gather(*living, return_exceptions=True)
    await world.stop()
    await world.start()
    again = [(await world.send("POST", ACTS, raw.encode(), JWT)).json["event"] for raw, _ in acknowledged]
    code = world.child.end(signal.SIGTERM)
    await world.stop()
    assert again == [first for _, first in acknowledged], "what was acknowledged was lost"
    with closing(sqlite3.connect(tmp_path / "data" / "comity.db")) as store:
        numbers = [row[0] for row in store.execute("SELECT idx FROM entries ORDER BY idx")]
        acts = store.execute("SELECT count(*) FROM acts").fetchone()[0]
    assert numbers == list(range(acts + 1)), "the server's key, and the acts"
    assert code == 0


async def test_neither_log_nor_metrics_name_anybody(tmp_path: Path) -> None:
    world = Outside(tmp_path, {})
    await world.start()
    pair = await world.connect(world.person(), world.person())
    message = await pair.refused("first", "message")
    assert message == "no_grant"
    await pair.go("first", "remember", key="nickname")
    await world.send("POST", ACTS, b"junk", JWT)
    metrics = (await world.send("GET", "/metrics")).body.decode()
    assert 'comity_refused_total{code="no_grant"} 1.0' in metrics
    assert world.child.end(signal.SIGINT) == 0
    await world.stop()
    log = world.child.log.read_text()
    assert "THE CLOCK IS NOT THE WALL CLOCK" in log
    for line in log.splitlines():
        assert json.loads(line)["event"]
    for secret in ("did:", pair.cid, "nickname", body_of(pair.cid), "eyJ", "127.0.0.1", "Traceback"):
        assert secret not in log
        assert secret not in metrics


def test_a_business_can_be_made_while_the_server_runs_and_while_it_does_not(tmp_path: Path) -> None:
    child = Child(tmp_path / "data", free_port())
    assert child.line == f"Comity serves http://localhost:{child.port} (data in {tmp_path / 'data'})\n"
    running = child.comity("business", "create", "windows", "--did-key", KEY)
    did = f"did:web:localhost%3A{child.port}:b:windows"
    *public, api_key = running.stdout.split()
    assert public == [did, f"{did}#{KEY[8:]}"] and api_key.startswith("ck_live_"), running
    again = child.comity("business", "create", "windows", "--did-key", KEY)
    assert again.exit_code == 1
    assert "published already" in again.output
    assert "Error:" in child.comity("business", "create", "../x", "--did-key", KEY).output
    assert "Error:" in child.comity("business", "create", "x", "--did-key", "did:key:z6MkNo").output
    second = child.comity("serve")
    assert second.exit_code == 1
    assert "another server is using" in second.output
    assert child.end(signal.SIGTERM) == 0
    stopped = child.comity("business", "create", "salon", "--did-key", KEY)
    assert stopped.exit_code == 0, stopped
    listed = child.comity("business", "list").output
    assert [line.split("\t")[0] for line in listed.splitlines() if line[0] != "\t"] == ["salon", "windows"]


async def test_a_business_document_says_how_to_reach_it(world: World) -> None:
    shop = await world.business("shop")
    reply = await world.send("GET", "/b/shop/did.json")
    assert keys_of_document(shop.did, reply.json) == {shop.kid: shop.key.public}
    assert reply.json["keyAgreement"]


async def test_a_business_takes_a_new_key_once_it_has_published_it(world: World) -> None:
    pair = await world.shop_and_customer("care")
    old, key = pair.signers["first"], SigningKey(b"n" * 32)
    new = Signer(f"{old.did}#{key.public.multibase}", key)
    early = next_rotation(pair.state, "first", world.now() // 1000, old, new)
    assert (await world.act(early)).code == "unknown_key"
    await world.server.add_business_key(old.did.rpartition(":")[2], key.public.did)
    await pair.rotate("first", new)
    await pair.go("first", "message")


def test_a_misspelt_setting_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="COMITY_PROT"):
        load({}, {"COMITY_PROT": "1"})
    with pytest.raises(ConfigError, match="COMITY_PORT"):
        load({"port": 70000}, {})
    with pytest.raises(ConfigError, match="COMITY_BASE_URL"):
        load({"base_url": "localhost"}, {})


def test_a_server_that_nobody_set_up_otherwise_keeps_to_the_numbers_of_the_pages() -> None:
    """What the spec names as a setting's default is what an operator has who sets nothing."""
    root = Path(__file__).parents[2]
    pages = " ".join(
        page.read_text(encoding="utf-8") for page in (*(root / "docs").rglob("*.md"), *(root / "spec").glob("*.md"))
    )
    named = re.findall(r"`COMITY_([A-Z_]+)`,?\s+\(?(\d+)", pages)
    assert {"ADDRESS_RATE", "BUSINESS_RATE", "INBOX_DAYS", "MAX_CONNECTIONS"} <= {name for name, _ in named}
    assert {(name, Config.model_fields[name.lower()].default) for name, _ in named} == {(n, int(it)) for n, it in named}


@pytest.mark.parametrize(
    "url",
    [
        "http://comity.example",
        "https://localhost:8470",
        "https://a@b.example",
        "https://[::1]",
        "https://c.example/x",
        "https://c.example?x",
        "https://c.example#x",
        "ftp://c.example",
        "https://",
        "https://c.example:70000",
        "https://bücher.example",
    ],
)
def test_a_public_url_that_no_wallet_would_look_at_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match="COMITY_BASE_URL"):
        load({"base_url": url}, {})


def test_an_operator_has_a_visible_name() -> None:
    config = load({"operator": " Example  Home Ltd ", "name": "Example Home "}, {})
    assert (config.operator, config.name) == ("Example Home Ltd", "Example Home")
    for setting in ("operator", "name"):
        with pytest.raises(ConfigError, match=f"COMITY_{setting.upper()}.*a visible character"):
            load({setting: "   "}, {})


@pytest.mark.parametrize("url", ["https://comity.example", "https://comity.example:8443/", "http://127.0.0.1:8470"])
def test_a_public_url_is_where_the_server_s_name_leads(url: str) -> None:
    config = load({"base_url": url}, {})
    assert did_web_base(home_did(config.origin(1))) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTPS://Comity.Example", "https://comity.example"),
        ("https://comity.example:443/", "https://comity.example"),
        ("https://comity.example:0443", "https://comity.example"),
        ("https://comity.example:80", "https://comity.example:80"),
        ("HTTP://LOCALHOST:80", "http://localhost"),
    ],
)
def test_however_an_operator_writes_the_public_url_the_server_has_one_name(url: str, origin: str) -> None:
    config = load({"base_url": url}, {})
    assert config.origin(1) == origin == did_web_base(home_did(config.origin(1)))


async def test_two_servers_never_share_a_folder_and_a_folder_keeps_its_name(world: World, tmp_path: Path) -> None:
    with pytest.raises(FolderInUse):
        async with run_server(world.config()):
            pass
    await world.stop()
    mine, world.port = world.port, free_port()
    with pytest.raises(AnotherHome):
        async with run_server(world.config()):
            pass
    world.port = mine
    await world.start()


async def test_the_folder_is_nobody_elses(world: World) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (world.folder / "data").iterdir()}
    assert {modes[name] for name in ("home.key", "comity.db", "comity.db-wal", "admin.sock")} == {0o600}


async def test_the_store_is_as_careful_as_promised(world: World) -> None:
    pragmas = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}
    writer = sqlite_of(world.server)._writer
    for name, value in pragmas.items():
        async with writer.execute(f"PRAGMA {name}") as cursor:
            row = await cursor.fetchone()
        assert row is not None
        assert row[0] == value
    with pytest.raises(sqlite3.OperationalError):
        await sqlite_of(world.server)._readers[0].execute("DELETE FROM acts")


async def test_encrypted_texts_are_in_the_store_and_salts_are_32_bytes(world: World) -> None:
    pair = await world.shop_and_customer("care")
    await pair.go("first", "message")
    with closing(sqlite3.connect(world.folder / "data" / "comity.db")) as store:
        (body,) = store.execute("SELECT raw FROM acts ORDER BY accepted_at DESC LIMIT 1").fetchone()
        salts = [row[0] for row in store.execute("SELECT salt FROM entries")]
    assert json.loads(b64u_decode(body.split(".")[1]))["body"] == body_of(pair.cid)
    assert {len(salt) for salt in salts} == {32}
    assert len(set(salts)) == len(salts) == 5, "the server's key, the shop's key, the grant, the message, its delivery"


def test_the_schema_goes_up_and_down(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert scripts().get_current_head() == migrations.HEAD

    def tables() -> set[str]:
        with closing(sqlite3.connect(path)) as store:
            return {row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    upgrade(path, migrations.HEAD)
    full = tables()
    assert {"connections", "acts", "events", "inbox", "status_entries", "meta"} <= full
    downgrade(path, "base")
    assert tables() == {"alembic_version"}
    migrations.bring_up_to_date(path)
    assert tables() == full


def test_a_store_of_the_version_before_keeps_what_its_api_keys_and_webhooks_may(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    upgrade(path, "v3_0001")
    with closing(sqlite3.connect(path)) as store:
        for id_, scopes in (("agent", "check door:write messages:write"), ("reader", "check")):
            row = ("shop", id_, id_, "agent", scopes, "", 1, id_)
            store.execute(
                "INSERT INTO api_keys (name, id, hash, role, scopes, label, created_at, line) VALUES"
                " (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        for id_, types in (
            ("all", "*"),
            ("some", "fact.milestone fact.remembered message.waiting proposal.taken_back"),
        ):
            store.execute("INSERT INTO webhooks VALUES ('shop', ?, 'https://a.example', ?, 1, x'', 0, 1)", (id_, types))
        store.execute("INSERT INTO counts VALUES ('shop', 1, 'contests.taken_back', 2)")
        store.commit()

    def words() -> list[str]:
        with closing(sqlite3.connect(path)) as store:
            ask = "SELECT scopes FROM api_keys UNION ALL SELECT types FROM webhooks UNION ALL SELECT what FROM counts"
            return [row[0] for row in store.execute(ask)]

    before = words()
    migrations.bring_up_to_date(path)
    assert words() == [
        "check messages:write notes:write permissions:write",
        "check",
        "*",
        "message.held milestone.recorded note.remembered proposal.withdrawn",
        "contests.withdrawn",
    ]
    downgrade(path, "v3_0001")
    assert words() == before


@pytest.mark.parametrize(
    ("revision", "refusal"),
    [
        *((old, migrations.SchemaTooOld) for old in ("0001", "0002", "0003", "9999", "v1_0001", "v2_0001", "v3_1")),
        ("v3_9999", migrations.SchemaTooNew),
    ],
)
def test_a_store_of_before_the_first_release_is_refused_in_one_sentence(
    tmp_path: Path, revision: str, refusal: type[Exception]
) -> None:
    path = tmp_path / "x.db"
    upgrade(path, migrations.HEAD)
    with closing(sqlite3.connect(path)) as store:
        store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        store.commit()
    before = path.read_bytes()
    with pytest.raises(refusal) as refused:
        migrations.bring_up_to_date(path)
    advice = "begin with a new data folder" if refusal is migrations.SchemaTooOld else "a later version wrote it"
    assert str(refused.value).startswith(str(path)) and str(refused.value).endswith(advice)
    assert path.read_bytes() == before


def test_every_command_refuses_a_store_of_before_the_first_release(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    upgrade(data / "comity.db", migrations.HEAD)
    with closing(sqlite3.connect(data / "comity.db")) as store:
        store.execute("UPDATE alembic_version SET version_num = '0003'")
        store.commit()
    for command in (["serve", "--port", "0"], ["keys", "status"], ["business", "list"], ["fsck"]):
        shown = CliRunner().invoke(main, [*command, "--data", str(data)])
        assert shown.exit_code != 0 and "Traceback" not in shown.output, command
        assert "begin with a new data folder" in shown.output, (command, shown.output)


def test_the_queries_would_run_elsewhere_too() -> None:
    files = sorted(Path(migrations.__file__).parents[1].glob("*.sql"))
    text = "\n".join(path.read_text() for path in files).upper()
    statements = " ".join(line for line in text.splitlines() if not line.startswith("--"))
    words = statements.replace("(", " ").replace(")", " ").split()
    assert not {"AUTOINCREMENT", "ROWID", "TRIGGER", "NOW", "PRAGMA", "GLOB", "IFNULL", "REPLACE"} & set(words)


def test_every_query_is_asked_for() -> None:
    asking = Path(migrations.__file__).parents[2]
    folders = ("store", "fsck", "backup")
    code = "".join(path.read_text() for folder in folders for path in asking.glob(f"{folder}/*.py"))
    written = {entry.name for entry in fields(Batch)}
    assert written <= set(SQL)
    assert {name for name in SQL if name not in written and f'"{name}"' not in code} == set()


async def test_a_story_s_clock_is_moved_by_its_file_and_never_past_the_wall(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    file.write_text(str(-HOUR))
    clock = clocks.StoryClock(file)
    wall = clocks.WallClock()
    assert wall.now() <= clock.now() + HOUR <= wall.now()
    file.write_text("")
    assert wall.now() <= clock.now() + HOUR <= wall.now()
    woken = asyncio.Event()
    sleeping = asyncio.create_task(clocks.sleep_until(clock, clock.now() + HOUR // 2, woken))
    await asyncio.sleep(0.1)
    assert not sleeping.done()
    file.write_text(str(-HOUR // 2))
    await sleeping
    file.write_text(str(HOUR))
    assert clock.now() <= wall.now()


async def test_the_server_says_how_it_is(world: World) -> None:
    assert (await world.send("GET", "/healthz")).json == {"status": "ok"}
    assert (await world.send("GET", "/readyz")).json == {"status": "ready", "conditions": []}
    about = (await world.send("GET", "/.well-known/comity")).json
    assert (about["home"], about["operator"]) == (world.home, "The Test Operator")


async def test_an_act_in_hand_is_answered_before_the_server_stops(world: World) -> None:
    pair = await world.shop_and_customer()
    acts = [asyncio.create_task(world.act(pair.compose("second", "remember", key=f"key_{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    while not any(task.done() for task in acts):
        await asyncio.sleep(0.001)
    await world.stop()
    replies = await asyncio.gather(*acts, return_exceptions=True)
    accepted = [reply for reply in replies if not isinstance(reply, BaseException) and reply.status == 200]
    assert len(accepted) == 1
    await world.start()
    assert (await pair.seen("second")).json["heads"]["second"]["seq"] == 1


async def test_two_who_make_one_business_at_the_same_time_both_do_and_nobody_else_is_disturbed(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        first, second = (SigningKey(bytes([number]) * 32).public.did for number in (7, 8))
        made = await asyncio.gather(
            world.server.add_business_key("twice", first),
            world.server.add_business_key("twice", second),
            world.server.add_business_key("twice", first),
            world.server.add_business_key("other", first),
        )
        assert {it.name for it in made} == {"twice", "other"}
        published = world.server.directory.get("twice")
        assert published is not None
        assert {key.did for key in published.keys.values()} == {first, second}
