"""Whatever a command lists or shows, a program reads as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from click import Command, Group
from click.testing import CliRunner

from comity_tools.cli import main
from comity_tools.cli.json_output import format_json
from comity_tools.cli.operator.business import business
from comity_tools.cli.operator.keys import keys
from comity_tools.cli.terminal import PRINTING_COMMANDS
from comity_tools.cli.wallet.commands import wallet
from support.operator_world import comity
from support.terminal_world import Terminal, a_shop, an_offer, connected
from support.world import World

SHOP = "The Blue Shop"


async def read(who: Terminal, *words: str) -> Any:
    return json.loads(await who(*words, "--json"))


async def test_a_program_reads_what_a_person_sees(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    link = await an_offer(host, shop)
    looked = await read(mia, "look", link)
    assert looked["name"] == SHOP and looked["purposes"] == ["care"] and looked["connections"][0]["name"] == SHOP
    await mia("accept", link, "--again")
    (waits,) = await read(shop, "proposals")
    assert waits["terms"]["id"] == "own:terms" and waits["offer"]["purposes"] == ["care"] and waits["at"]
    await shop("decline", f"id:{waits['cid'][:12]}")
    await shop("send", "Mia", "care", "How are you?\x1b[2J")
    await shop("remember", "Mia", "language", "--value", '["de"]')
    await mia("mute", SHOP, "--days", "2", "-p", "sales")
    assert [it["kind"] for it in (await read(mia, "sync"))["news"]] == ["declined"]
    first, second = await read(mia, "show")
    assert (first["phase"], first["offered_name"], second["phase"]) == ("open", SHOP, "closed")
    one = await read(mia, "show", f"id:{first['cid'][:12]}")
    assert one["me"]["muted"][0]["purposes"] == ["sales"] and one["them"]["remembered"][0]["value"] == ["de"]
    typed = f"id:{first['cid'][:12]}"
    (message,) = await read(mia, "messages", typed)
    assert message["text"] == "How are you?\x1b[2J"
    assert "\x1b" not in await mia("messages", typed, "--json")
    assert [it["by"] for it in await read(mia, "tokens", typed)] == ["me"]
    assert "message" in [it["kind"] for it in await read(mia, "timeline", typed)]
    assert (await read(mia, "notes", typed))["them"][0]["key"] == "language"
    assert await read(mia, "contests", typed) == [] and await read(mia, "statement", typed) is None
    await mia("block", typed)
    await mia("snooze", typed)
    assert [it["did"] for it in await read(mia, "blocks")] == [first["did"]]
    assert [it["cid"] for it in await read(mia, "snoozes")] == [first["cid"]]
    assert (await read(mia, "defaults"))["sales"] is None


async def test_an_operator_s_program_reads_businesses_and_keys(host: World, tmp_path: Path) -> None:
    await a_shop(host, tmp_path)
    (listed,) = json.loads((await comity(host, "business", "list", "--json")).stdout)
    assert listed["name"] == "shop" and listed["kids"][0].startswith(listed["did"])
    await comity(host, "business", "key", "create", "shop", "--label", "till")
    (key,) = json.loads((await comity(host, "business", "key", "list", "shop", "--json")).stdout)
    assert key["label"] == "till" and "key" not in key
    assert json.loads((await comity(host, "keys", "status", "--json")).stdout)["masters"]


def test_a_failed_check_is_json_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "receipt").write_text("nothing")
    said = CliRunner().invoke(main, ["receipt", "verify", str(tmp_path / "receipt"), "--json"])
    assert said.exit_code == 2 and json.loads(said.stdout) == {
        "ok": False, "error": "the key of the log is missing: give --vkey",
    }  # fmt: skip


def commands(group: Command, *path: str) -> list[tuple[tuple[str, ...], Command]]:
    if not isinstance(group, Group):
        return [(path, group)]
    return [found for name, command in group.commands.items() for found in commands(command, *path, name)]


@pytest.mark.parametrize("group", [wallet, business, keys], ids=["wallet", "business", "keys"])
def test_every_command_that_only_shows_has_json(group: Group) -> None:
    # These two print what is JSON, or a proof in a form of its own.
    shows = [
        (path, command) for path, command in commands(group) if path[-1] in PRINTING_COMMANDS - {"export", "receipt"}
    ]
    assert shows
    for path, command in shows:
        assert any("--json" in parameter.opts for parameter in command.params), path


def test_a_sign_that_could_drive_a_terminal_is_escaped() -> None:
    assert json.loads(format_json({"a": "\x9b2J\u202e ß"})) == {"a": "\x9b2J\u202e ß"}
    assert "\x9b" not in format_json(["\x9b"]) and "\u202e" not in format_json(["\u202e"])
