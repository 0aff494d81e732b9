"""The operator's command line for businesses and their API keys, beside a running server and without one (BIZ-2,
BIZ-3, BIZ-6, BIZ-8)."""

import re
import socket
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from comity.crypto.keys import SigningKey
from comity.documents.notices import AwayNotice, open_notice
from comity_server.config import ConfigError, load
from comity_tools.cli import main
from comity_tools.cli.wallet import session
from support.business_world import Shop, a_shop
from support.operator_world import comity, stored
from support.world import World, a_world

KEY = SigningKey(b"k" * 32).public.did


async def lines(world: World, *words: str) -> list[str]:
    """What a command prints to be read by others."""
    return (await comity(world, *words)).stdout.splitlines()


async def test_a_business_begins_with_a_signing_key_that_is_kept_and_a_key_of_its_owner(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        made = await lines(world, "business", "create", "salon")
        did, kid, shown = made
        assert kid.startswith(did + "#z6Mk") and shown.startswith("ck_live_")
        salon = Shop(world, "salon", did, shown)
        told = await salon.get("/self")
        assert (told["did"], told["role"], told["signing"]) == (did, "owner", "kept")
        again = await comity(world, "business", "create", "salon", code=1)
        assert "comity keys rotate salon" in again.output
        # One that keeps its key itself gets an API key as well, once.
        *_, own = await lines(world, "business", "create", "windows", "--did-key", KEY)
        assert (await salon.get("/self", key=own))["signing"] == "own"
        assert "holds its own signing key" in (await comity(world, "keys", "rotate", "windows", code=1)).output
        further = SigningKey(b"f" * 32).public.did
        assert len(await lines(world, "business", "create", "windows", "--did-key", further)) == 2
        await world.stop()
        # The same in the folder of a server that does not run.
        *_, off = await lines(world, "business", "create", "garage")
        listed = await lines(world, "business", "list")
        assert [line.split("\t")[0] for line in listed if line[0] != "\t"] == ["garage", "salon", "windows"]
        for secret in (shown, own, off):
            assert secret.encode() not in stored(tmp_path / "data")
        await world.start()
        assert (await salon.get("/self", key=off))["business"] == "garage"


async def test_an_operator_makes_lists_and_ends_keys_of_a_business(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        of = ("business", "key")
        id_, shown = await lines(
            world, *of, "create", "shop", "--role", "agent", "--scope", "check", "--label", "till", "--staff", "S 7"
        )
        told = await shop.get("/self", key=shown)
        seat = (await shop.post("/seats", {"staff": "S 7"}))["id"]
        assert (told["role"], told["scopes"], told["seat"]) == ("agent", ["check"], seat)
        listed = await lines(world, *of, "list", "shop")
        told_of = [line.split("\t")[1:3] for line in listed if line[0] != "\t"]
        assert told_of == [["owner", "no end"], ["agent", "no end"]]
        assert shown not in str(listed) and any(line.split() == ["check"] for line in listed)
        await world.stop()
        assert "ended" in (await lines(world, *of, "end", "shop", id_))[0]
        assert "no key in force" in (await comity(world, *of, "end", "shop", id_, code=1)).output
        # The operator ends the last key of an owner too, and helps whoever is locked out.
        owner = listed[0].split("\t")[0]
        await comity(world, *of, "end", "shop", owner)
        _, back = await lines(world, *of, "create", "shop")
        await world.start()
        for ended in (shown, shop.key):
            assert await shop.refused("GET", "/self", key=ended) == "api_key_required"
        assert (await shop.get("/self", key=back))["role"] == "owner"


async def test_an_impossible_command_fails_with_one_plain_line(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await a_shop(world)
        for words in (
            ("business", "create", "../x"),
            ("business", "key", "create", "nobody"),
            ("business", "key", "list", "nobody"),
            ("business", "key", "end", "shop", "key_x"),
            ("business", "key", "create", "shop", "--role", "read_only", "--scope", "permissions:write"),
            ("business", "key", "create", "shop", "--label", "two\nlines"),
            ("business", "key", "create", "shop", "--staff", ""),
            ("keys", "rotate", "nobody"),
        ):
            said = (await comity(world, *words, code=1)).stderr
            assert said.startswith("Error: ") and said.count("\n") == 1, words


async def test_an_operator_who_misses_the_data_folder_makes_no_second_world(tmp_path: Path) -> None:
    elsewhere, empty = tmp_path / "elsewhere", tmp_path / "empty"
    empty.mkdir()
    async with a_world(tmp_path) as world:
        for words in (
            ("business", "create", "salon"),
            ("business", "list"),
            ("clock", "accept"),
            ("business", "key", "create", "salon"),
            ("business", "away", "salon", "--until", "2034-07-01"),
            ("keys", "status"),
            ("keys", "rotate", "salon"),
            ("keys", "rotate-master"),
            ("keys", "rotate-home", "--broken"),
        ):
            for folder in (elsewhere, empty):
                missed = await comity(world, *words, code=1, data=str(folder))
                assert (
                    f"{folder} is not the data folder of a server (COMITY_DATA, --data), so nothing was done"
                    in missed.stderr
                ), words
                assert missed.stdout == "" and missed.stderr.count("\n") == 1
        for folder in (elsewhere, empty):
            missed = await comity(world, "status", code=1, data=str(folder))
            assert missed.stderr == f"Error: no server is running in {folder} (COMITY_DATA, --data)\n"
    assert not elsewhere.exists() and list(empty.iterdir()) == []


async def test_an_operator_says_for_a_business_that_it_is_away_and_back(tmp_path: Path) -> None:
    """NOTICE-5, from a terminal, beside a running server and without one."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        # The story's clock stands in June 2024.
        away = (
            "business",
            "away",
            "shop",
            "--until",
            "2024-07-01",
            "--text",
            "en=At the sea.",
            "--text",
            "de=Am Meer.",
        )
        assert "away until 2024-07-01" in (await lines(world, *away))[0]
        shown = await lines(world, "business", "list")
        assert shown[-3:] == ["\taway from 2024-06-18 until 2024-07-01", "\ten\tAt the sea.", "\tde\tAm Meer."]
        assert '"starts": 17187' in "\n".join(await lines(world, "business", "list", "--json"))
        (raw,) = (await pair.seen("second")).json["notices"]
        notice = open_notice(raw, world.server.directory.find_key).notice
        assert isinstance(notice, AwayNotice) and notice.texts == {"en": "At the sea.", "de": "Am Meer."}
        world.later(1000)
        await world.stop()
        assert await lines(world, "business", "back", "shop") == ["shop is back."]
        await world.start()
        assert (await pair.seen("second")).json["notices"] == []
        assert "away" not in "\n".join(await lines(world, "business", "list"))
        world.later(1000)
        assert "No notice is in force" in (await comity(world, "business", "back", "shop", code=1)).output
        too_long = ("business", "away", "shop", "--until", "2024-12-01")
        assert "at most 92 days" in (await comity(world, *too_long, code=1)).output
        await lines(world, "business", "create", "windows", "--did-key", KEY)
        windows = ("business", "away", "windows", "--until", "2024-07-01")
        assert "holds its own signing key" in (await comity(world, *windows, code=1)).output


async def test_a_business_is_away_until_a_day_that_is_yet_to_come(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await a_shop(world)
        away = ("business", "away", "shop", "--until")
        assert "must be in the future" in (await comity(world, *away, "2020-01-01", code=1)).stderr
        for texts in (("--text", "nonsense"), ("--text", "en= "), ("--text", "en=one", "--text", "en=two")):
            assert (
                "one LANG=TEXT for each language" in (await comity(world, *away, "2034-07-01", *texts, code=2)).stderr
            )


def test_a_refusal_of_the_system_is_reported_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for words, told in (
            (("serve", "--data", str(file)), f"cannot serve: File exists: {file}"),
            (("serve", "--data", f"{file}/x"), f"cannot serve: Not a directory: {file}/x"),
            (
                ("serve", "--data", str(folder), "--port", port),
                f"cannot serve: Address already in use: 127.0.0.1:{port}",
            ),
            (("serve", "--data", str(folder), "--host", "no.invalid"), "no.invalid:8470"),
            (("witness", "--data", str(folder / "w"), "--port", port), f"Address already in use: 127.0.0.1:{port}"),
            (("witness", "--data", f"{file}/x"), f"the witness cannot run: Not a directory: {file}/x"),
            (("demo", "--out", f"{file}/x"), f"Not a directory: {file}/x"),
        ):
            result = CliRunner().invoke(main, words)
            structlog.reset_defaults()
            assert (result.exit_code, result.stdout) == (1, ""), words
            assert told in result.stderr and result.stderr.count("\n") == 1, (words, result.stderr)
    monkeypatch.setenv("COMITY_MASTER_KEY_FILE", str(folder))
    result = CliRunner().invoke(main, ("serve", "--data", str(tmp_path / "new"), "--port", "0"))
    structlog.reset_defaults()
    assert result.stderr == f"Error: cannot serve: Is a directory: {folder}\n"


def test_environment_names_of_the_wallet_do_not_stop_the_operator() -> None:
    cli = Path(session.__file__).parent
    read = {name for file in cli.glob("*.py") for name in re.findall(r'environ\.get\("(COMITY_\w+)"', file.read_text())}
    assert "COMITY_NEW_PASSPHRASE" in read
    load({}, dict.fromkeys(read, "x"))


def test_a_setting_that_cannot_be_is_told_in_words() -> None:
    with pytest.raises(ConfigError) as told:
        load({"base_url": "ftp://x"}, {})
    assert str(told.value).startswith("COMITY_BASE_URL: must be https://host[:port] ")
