"""What was accepted is told as done, though a terminal lacks a sign or a disk is full (WHO-9)."""

from pathlib import Path

import pytest
from click import Group

from comity_tools.cli.terminal import PRINTING_COMMANDS
from comity_tools.cli.wallet.commands import wallet
from support.terminal_world import Terminal, a_shop, an_offer, connected
from support.world import World

SHOP = "The Blue Shop"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_a_business_whose_name_the_terminal_cannot_print_can_be_connected(
    host: World, tmp_path: Path, encoding: str
) -> None:
    shop, mia = await a_shop(host, tmp_path, "Кафе Roß"), Terminal(tmp_path / "mia")
    await mia("create")
    link = await an_offer(host, shop, "--qr")
    code, told, failed = await mia.outside("accept", link, encoding=encoding)
    assert (code, failed) == (0, "")
    shown = "???? Ro?" if encoding == "ascii" else "???? Roß"
    assert f"The connection opens when {shown} has signed too." in told
    await shop("countersign", "--call", "Mia")
    await mia("sync")
    for words in (("mute", "Кафе Roß", "--days", "2"), ("export",)):
        code, told, failed = await mia.outside(*words, encoding=encoding)
        assert (code, failed) == (0, ""), words
    code, told, failed = await shop.outside("offer", host.origin, "-p", "care", "--terms", str(tmp_path / "terms.txt"),
                                            "--qr", encoding=encoding)  # fmt: skip
    assert (code, failed) == (0, "") and "?" not in told.partition("\n")[2]


async def test_a_no_on_a_full_disk_is_said_and_told_as_done(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("sync")
    for number, room in enumerate((0, 1200, 100_000)):
        size = mia.file.stat().st_size
        code, told, failed = await mia.outside("mute", SHOP, "-p", f"care.n{number}", most=size + room)
        assert (code, failed) == (0, ""), (room, failed)
        assert told.startswith(f"{SHOP} is muted for care.n{number}"), told
        assert ("Note: cannot write" in told) == (room < 100_000), (room, told)
        assert f"Mia has muted you for care.n{number}\n" in await shop("show", "Mia")
    assert "new" in await mia("sync")
    assert "is muted" in await mia("mute", SHOP, "-p", "sales")
    code, told, failed = await mia.outside("revoke", SHOP, "--yes", most=mia.file.stat().st_size)
    assert (code, failed) == (0, "") and told.startswith(f"The connection with {SHOP} has ended.")
    assert "(connection_ended)" in await shop("send", "Mia", "care", "Hello?", code=1)
    await mia("sync")
    assert f"ended     {SHOP}" in await mia("show")


async def test_any_other_word_that_cannot_be_kept_is_not_sent(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("sync")
    before = await shop("tokens", "Mia")
    code, told, failed = await mia.outside("grant", SHOP, "service", most=mia.file.stat().st_size)
    assert code == 1 and "cannot write" in failed and told == ""
    assert await shop("tokens", "Mia") == before
    # With room for what is kept first and not for what is kept behind it, it is given, and said so.
    code, told, failed = await mia.outside("grant", SHOP, "service", most=mia.file.stat().st_size + 2400)
    assert (code, failed) == (0, "") and f"{SHOP} may contact you for service" in told and "Note: cannot write" in told
    assert "service" in await shop("tokens", "Mia")
    await mia("sync")
    assert "for service by app" in await mia("tokens", SHOP)


async def test_an_act_whose_report_cannot_be_printed_is_done_all_the_same(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    with Path("/dev/full").open("wb") as full:
        code, _, failed = await mia.outside("mute", SHOP, out=full)
        assert (
            code == 0
            and failed == "The command succeeded, but its output could not be printed: No space left on device\n"
        )
        assert "Mia has muted you" in await shop("show", "Mia")
        for words in (("show",), ("timeline", SHOP)):
            code, _, failed = await mia.outside(*words, out=full)
            assert code == 1 and failed == "Error: cannot print: No space left on device\n"


def test_the_commands_that_only_print_are_commands() -> None:
    assert isinstance(wallet, Group)
    assert {"list", "status"} == PRINTING_COMMANDS - set(wallet.commands)


async def test_a_receipt_that_finds_no_room_leaves_no_half_of_it(host: World, tmp_path: Path) -> None:
    mia, _ = await connected(host, tmp_path)
    token = (await mia("tokens", SHOP)).split()[0]
    out = tmp_path / "grant.tlog-proof"
    code, _, failed = await mia.outside("receipt", SHOP, token, "--out", str(out), most=100)
    assert code == 1 and f"cannot write {out}" in failed and not out.exists()
