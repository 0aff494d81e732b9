"""What somebody types or hands in by a slip: `comity wallet` refuses it in a line, and nothing is signed."""

import codecs
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.client import Wallet, new_identity
from comity_server.data_dir import STORE
from comity_tools.cli import main
from support.terminal_world import Terminal, a_shop, an_offer, connected
from support.world import World


def signed(host: World) -> tuple[int, int]:
    """How many acts and offers the server has."""
    with closing(sqlite3.connect(f"file:{host.folder / 'data' / STORE}?mode=ro", uri=True)) as store:
        acts, offers = (store.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("acts", "offers"))
        return acts, offers


async def test_a_number_that_is_none_is_told_and_signs_nothing(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    acts = signed(host)
    for number in ("nan", "inf", "-inf", "-1", "0", "1e400", "1e-9", "36526"):
        for words in (
            ("grant", "The Blue Shop", "service"),
            ("mute", "The Blue Shop"),
            ("snooze", "The Blue Shop"),
        ):
            assert "the days and hours must be more than 0" in await mia(*words, f"--days={number}", code=1), words
        assert "the days and hours must be more than 0" in await shop(
            "send", "Mia", "care", "Hello", f"--days={number}", code=1
        )
        terms = ("--terms", str(tmp_path / "terms.txt"))
        told = await shop("offer", host.origin, "-p", "care", *terms, f"--days={number}", code=1)
        assert "the days and hours must be more than 0" in told
    for number in ("nan", "inf", "-1", "876601"):
        told = await mia("mute", "The Blue Shop", f"--hours={number}", code=1)
        assert "the days and hours must be more than 0" in told
    # What is a number, and far too much of it.
    assert "a grant ends within ten years (grant_expired)" in await mia(
        "grant", "The Blue Shop", "service", "--days", "3654", code=1
    )
    assert "exp: at most 90 days ahead" in await shop("send", "Mia", "care", "Hello", "--days", "91", code=1)
    assert "is not a limit" in await mia("budget", "The Blue Shop", "--messages", "9" * 5000 + "/day", code=1)
    # A milestone that has not happened yet, or was worn out before it did.
    stone = ("milestone", "Mia", "installed", "windows")
    assert "when: must not be in the future" in await shop(*stone, "--when", "2199-01-01", code=1)
    told = await shop(*stone, "--when", "2024-05-02", "--lasts", "2024-05-01", code=1)
    assert "lasts: must not be before `when`" in told
    nested = ("remember", "The Blue Shop", "nickname_of_the_dog", "--value", "[" * 5000)
    assert "value: must have at most 200 characters" in await mia(*nested, code=1)
    told = await shop("offer", host.origin, "-p", "care", "--terms", str(tmp_path / "terms.txt"), "--days=367", code=1)
    assert told.startswith("Error: the offer's end is not after its start, or is too late")
    assert "not a link to an offer" in await mia("look", "", code=1)
    assert "when: " in await shop(*stone, "--when", "1066-10-14", code=1)
    assert signed(host) == acts
    await shop(*stone, "--when", "2024-05-02", "--lasts", "2034-05-02")


@pytest.mark.parametrize("words", [("accept", "LINK", "--wait"), ("away", "--until", "2030-01-01", "--spread")])
@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_nobody_waits_for_a_time_that_is_none(tmp_path: Path, words: tuple[str, ...], number: str) -> None:
    environment = {"COMITY_WALLET_IDENTITY": new_identity()}
    result = CliRunner().invoke(main, ["wallet", "-w", str(tmp_path / "mia"), *words, number], env=environment)
    assert result.exit_code == 2 and result.stderr.startswith("Usage: ")


def test_nobody_is_asked_for_the_passphrase_of_a_wallet_that_is_not_there(tmp_path: Path) -> None:
    for words in (("show",), ("unlock",), ("sync",)):
        result = CliRunner().invoke(main, ["wallet", "-w", str(tmp_path / "mia"), *words])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"Error: there is no wallet in {tmp_path / 'mia'}: `comity wallet create` makes one\n"


async def test_terms_that_are_no_text_are_told_of_in_words(host: World, tmp_path: Path) -> None:
    _, shop = await connected(host, tmp_path)
    words, file = "Wir schreiben für das, was Sie erlaubt haben.\n", tmp_path / "terms.txt"
    offer = ("offer", host.origin, "-p", "care", "--terms", str(file))
    rows = signed(host)

    async def said(data: bytes, code: int) -> str:
        file.write_bytes(data)
        return await shop(*offer, code=code)

    for data, why in {
        words.encode("latin-1"): "is not UTF-8, in line 1: save it as UTF-8",
        b"One.\n" + words.encode("cp1252"): "is not UTF-8, in line 2: save it as UTF-8",
        words.encode("utf-16"): "is UTF-16 or UTF-32: save it as UTF-8",
        words.encode("utf-16-le"): "contains a NUL",
        words.encode("utf-32"): "is UTF-16 or UTF-32: save it as UTF-8",
        codecs.BOM_UTF8 + words.encode(): "begins with a byte order mark: save it as UTF-8 without one",
        b"One.\0Two.": "contains a NUL",
        b"": "is empty",
        b" \r\n\t\n": "is empty",
        b"x" * 65_537: "is longer than 65536 bytes",
    }.items():
        assert why in await said(data, 2), data[:20]
    for text, why in {
        "\u2800\u3164": "text: a text needs a visible character",
        "One.\x07Two.": "text: must have no control characters",
        "We \u202eyas": "text: must have no control characters and no bidirectional overrides",
        "x" * 16_385: "text: must have at most 16384 characters",
    }.items():
        assert why in await said(text.encode(), 1), text[:20]
    assert signed(host) == rows
    file.write_bytes(words.replace("\n", "\r\n").encode())
    link = (await shop(*offer)).split()[0]
    assert "für das" in await shop("look", link)
    assert signed(host) != rows


async def test_an_offer_is_not_accepted_with_what_it_does_not_name(host: World, tmp_path: Path) -> None:
    mia, shop = Terminal(tmp_path / "mia"), await a_shop(host, tmp_path)
    await mia("create")
    link = await an_offer(host, shop)
    assert "has no terms in that place" in await mia("accept", link, "--terms", "7", code=1)
    assert "does not name those terms" in await mia("accept", link, "--terms", "-1", code=1)
    # What could never be granted is refused before anything is signed for it.
    assert "lower-case words" in await mia("accept", link, "--grant", "Care", code=1)
    assert "There are no connections" in await mia("show")
    assert await shop("proposals") == "Nobody waits for your signature.\n"


async def test_a_grant_that_can_never_be_given_is_told_of_once_and_stops_nothing(host: World, tmp_path: Path) -> None:
    mia, _ = await connected(host, tmp_path)
    async with Wallet.open(mia.file, identity=mia.identity) as hers:
        (party,) = hers.connections()
        # As an earlier version kept it.
        await hers._session.records.store(("wishes", party.cid, [{"purposes": ["Care"]}, {"purposes": ["news"]}]))
    assert "lower-case words" in await mia("messages", "The Blue Shop", code=1)
    assert "There are no messages" in await mia("messages", "The Blue Shop")
    assert "may contact you for news" in await mia("tokens", "The Blue Shop")


async def test_a_slip_in_a_day_a_zone_or_a_word_is_told_in_words(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    before = signed(host)
    told = await mia("away", "--until", "2020-01-01", code=1)
    assert told == "Error: an absence must end in the future (until_passed)\n"
    assert "'soon' is not a date: write it as 2027-06-14" in await mia("away", "--until", "soon", code=2)
    assert "such as Europe/Berlin" in await mia("hours", "The Blue Shop", "Mitten im Wald", code=1)
    assert "no favour that waits for your answer" in await mia("answer", "The Blue Shop", "yes", code=1)
    assert "no favour that you promised" in await mia("done", "The Blue Shop", code=1)
    assert "put `--` before it" in await mia("mute", "-kT0uQw7eRt9yUiOpAsDfGhJkLzXcVbNm0123456789", code=2)
    assert "; --again makes another one" in await mia("accept", await an_offer(host, shop), code=1)
    assert signed(host) == (before[0], before[1] + 1)


async def test_next_steps_are_suggested_only_where_they_are_possible(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await shop("send", "Mia", "care", "How are you?")
    id_ = (await mia("messages", "The Blue Shop")).split()[0]
    for words in ((), ("--as", "care"), ("--as", "Sales")):
        told = await mia("feedback", "The Blue Shop", id_, "mislabelled", *words, code=1, told=True)
        assert told == "", "a sentence about what is not done"


def test_a_server_that_is_not_there_is_told_of_in_words(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        there = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        result = CliRunner().invoke(main, ["log", "follow", f"{there}/log"])
    assert result.stderr == f"Error: GET {there}/.well-known/comity: Connection refused\n"


def test_a_wallet_in_a_folder_that_is_not_there_is_refused_in_a_line(tmp_path: Path) -> None:
    environment = {"COMITY_WALLET_IDENTITY": new_identity()}
    for words in (("create",), ("show",)):
        for file in (tmp_path / "no" / "mia", tmp_path / ("x" * 300)):
            result = CliRunner().invoke(main, ["wallet", "-w", str(file), *words], env=environment)
            assert (result.exit_code, result.stdout) == (1, "")
            assert result.stderr.startswith("Error: ") and str(file) in result.stderr, result.stderr
            assert result.stderr.count("\n") == 1


async def test_words_in_which_nothing_can_be_seen_are_not_sent(host: World, tmp_path: Path) -> None:
    _, shop = await connected(host, tmp_path)
    before = signed(host)
    for nothing in ("", " ", "\u200b", "\u2800"):
        assert "needs a visible character" in await shop("send", "Mia", "care", nothing, code=1)
        assert "needs a visible character" in await shop("ask", "Mia", "review", nothing, code=1)
    assert signed(host) == before
