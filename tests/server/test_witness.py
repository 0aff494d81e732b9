"""A witness over HTTP: every status of C2SP tlog-witness, what it remembers, and what makes it refuse to start."""

import asyncio
import base64
import logging
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import structlog
from click.testing import CliRunner

from comity.crypto.keys import SigningKey
from comity.transparency.checkpoints import MOST_TEXT, open_checkpoint
from comity.transparency.notes import (
    COSIGNATURE,
    ED25519,
    MOST_NOTE,
    NoteSigner,
    VerifierKey,
    parse_vkey,
    sign_note,
    signature_line,
)
from comity_server.data_dir import FolderInUse
from comity_server.log.witness_protocol import MOST_BODY, SIZE_TYPE, open_submission, seal_submission
from comity_server.witness import cosign
from comity_server.witness.app import RunningWitness, run_witness
from comity_server.witness.cosign import Declined, Witness
from comity_server.witness.data_dir import CannotWitness
from comity_server.witness.store import WitnessStore
from comity_tools.cli import main
from support.witness_logs import Log, Said, Talk, plant

COMITY = Path(sys.executable).with_name("comity")
STRANGER = NoteSigner("log.example/log", ED25519, SigningKey(b"s" * 32))
JUNK = bytes(range(32))


class Watch:
    """A clock that is set by hand (s)."""

    step = 1.0

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return self.seconds * 1000


@asynccontextmanager
async def a_witness(folder: Path, *logs: Log, **more: Any) -> AsyncIterator[tuple[Talk, RunningWitness]]:
    async with (
        run_witness(folder / "witness", port=0, logs=[log.key for log in logs], **more) as listening,
        aiohttp.ClientSession() as http,
    ):
        yield Talk(http, listening.url), listening


# --- the table of the specification


class Row(NamedTuple):
    """What is asked of a witness that has cosigned a tree of size `before` (None: nothing), and what it says."""

    said: str
    before: int | None
    ask: Callable[[Log], bytes]
    status: int
    body: bytes | None = None


def text(log: Log, size: int, *more: str) -> str:
    """A checkpoint with extension lines, signed."""
    return sign_note(log.checkpoint(size).text + "".join(f"{line}\n" for line in more), log.signer)


def retold(log: Log, old: str, new: str) -> str:
    """A checkpoint of size 5, put otherwise before it is signed."""
    plain = log.checkpoint(5).text
    assert plain.count(old) == 1
    return sign_note(plain.replace(old, new), log.signer)


def spoilt(log: Log, old: int, new: int) -> list[bytes]:
    """A proof with one bit wrong."""
    first, *rest = log.proof(old, new)
    return [bytes([first[0] ^ 1]) + first[1:], *rest]


def root(log: Log, size: int) -> str:
    return base64.b64encode(log.checkpoint(size).root).decode()


def other(log: Log) -> Log:
    """Another history under the same key."""
    return Log(log.signer.name, "other ")


def blank(log: Log, *lines: str, note: str | None = None) -> bytes:
    """A submission of any lines and a checkpoint of size 5."""
    return ("".join(f"{line}\n" for line in lines) + "\n" + (log.checkpoint(5).raw if note is None else note)).encode()


HASH = base64.b64encode(JUNK).decode()
TABLE = [
    Row("the first checkpoint of a log", None, lambda log: log.submission(0, 5), 200),
    Row("one that continues it", 5, lambda log: log.submission(5, 9), 200),
    Row("one that continues a complete tree", 4, lambda log: log.submission(4, 11), 200),
    Row("the same once more", 5, lambda log: log.submission(5, 5), 200),
    Row("the empty tree", None, lambda log: log.submission(0, 0), 200),
    Row("the empty tree once more", 0, lambda log: log.submission(0, 0), 200),
    Row("what continues the empty tree", 0, lambda log: log.submission(0, 3), 200),
    Row("extension lines are signed too", 5, lambda log: seal_submission(5, [], text(log, 5, "more", "of it")), 200),
    Row(
        "signatures of others are passed over",
        5,
        lambda log: log.submission(5, 9) + signature_line("x", STRANGER._replace(name="w")).encode(),
        200,
    ),
    # 400: what cannot be read, and an old size that is larger.
    Row("nothing", None, lambda log: b"", 400),
    Row("no empty line", None, lambda log: b"old 0\n", 400),
    Row("no old size", None, lambda log: b"\n" + log.checkpoint(5).raw.encode(), 400),
    Row("no old size, but a proof", 5, lambda log: blank(log, HASH), 400),
    Row("two spaces", None, lambda log: blank(log, "old  0"), 400),
    Row("a leading zero", 5, lambda log: blank(log, "old 05"), 400),
    Row("a sign", 5, lambda log: blank(log, "old +5"), 400),
    Row("digits of another script", 5, lambda log: blank(log, "old ٥"), 400),
    Row("a carriage return", 5, lambda log: blank(log, "old 5\r"), 400),
    Row("a size that no tree has", 5, lambda log: blank(log, f"old {2**63}"), 400),
    Row("a proof line that is not base64", 5, lambda log: blank(log, "old 5", "!" * 44), 400),
    Row("a proof line without padding", 5, lambda log: blank(log, "old 5", HASH[:-1]), 400),
    Row("a proof line that is too short", 5, lambda log: blank(log, "old 5", "AAAA"), 400),
    Row("64 proof lines", 5, lambda log: log.submission(5, 9, [JUNK] * 64), 400),
    Row("a checkpoint without signatures", 5, lambda log: blank(log, "old 5", note=log.checkpoint(5).text), 400),
    Row("a note without text", 5, lambda log: blank(log, "old 5", note=signature_line("", log.signer)), 400),
    Row("a broken signature line", 5, lambda log: log.submission(5, 9) + b"-- me AAAA\n", 400),
    Row("not UTF-8", 5, lambda log: log.submission(5, 9) + b"\xff\n", 400),
    Row("a root that is none", 5, lambda log: blank(log, "old 5", note=retold(log, root(log, 5), "AAAA")), 400),
    Row("a size with a leading zero", 5, lambda log: blank(log, "old 5", note=retold(log, "\n5\n", "\n05\n")), 400),
    Row("no root", 5, lambda log: blank(log, "old 5", note=retold(log, root(log, 5) + "\n", "")), 400),
    Row("an empty extension line", 5, lambda log: blank(log, "old 5", note=text(log, 5, "", "more")), 400),
    Row("a text without end", 5, lambda log: blank(log, "old 5", note=text(log, 5, "x" * MOST_TEXT)), 400),
    Row("too many signatures", 5, lambda log: log.submission(5, 9) + b"\xe2\x80\x94 w AAAAAAAA\n" * 64, 400),
    Row("an old size larger than the checkpoint's", 5, lambda log: log.submission(5, 3, []), 400),
    Row("that, and not what was cosigned", 5, lambda log: log.submission(9, 5, []), 400),
    # 404 and 403: whose it is.
    Row("an unknown log", None, lambda log: Log("nobody.example/log").submission(0, 5), 404),
    Row(
        "another's signature under the log's name",
        5,
        lambda log: seal_submission(
            5, log.proof(5, 9), sign_note(log.checkpoint(9).text, STRANGER._replace(name=log.signer.name))
        ),
        403,
    ),
    Row(
        "a signature of another text",
        5,
        lambda log: seal_submission(
            5, log.proof(5, 9), log.checkpoint(9).text + "\n" + signature_line(log.checkpoint(8).text, log.signer)
        ),
        403,
    ),
    Row(
        "one that holds and one that does not",
        5,
        lambda log: log.submission(5, 9) + signature_line("x", log.signer).encode(),
        403,
    ),
    Row("a text changed after it was signed", 5, lambda log: log.submission(5, 9).replace(b"\n9\n", b"\n10\n"), 403),
    Row(
        "a stranger's key and a broken checkpoint",
        5,
        lambda log: blank(log, "old 5", note=sign_note(f"{log.signer.name}\nx\n", STRANGER)),
        403,
    ),
    # 409: another size was cosigned last.
    Row("a size too small", 5, lambda log: log.submission(3, 9), 409, b"5\n"),
    Row("a size too large", 5, lambda log: log.submission(7, 9), 409, b"5\n"),
    Row("zero, to learn it", 5, lambda log: log.submission(0, 9), 409, b"5\n"),
    Row("a size, and nothing was cosigned", None, lambda log: log.submission(3, 9), 409, b"0\n"),
    Row("going back, with a proof", 9, lambda log: log.submission(5, 5), 409, b"9\n"),
    Row("a wrong size and a wrong proof", 5, lambda log: log.submission(3, 9, [JUNK]), 409, b"5\n"),
    # 422: it does not continue what was cosigned.
    Row(
        "another root for the empty tree",
        None,
        lambda log: seal_submission(0, [], sign_note(f"{log.signer.name}\n0\n{HASH}\n", log.signer)),
        422,
    ),
    Row(
        "the same, once the empty tree was cosigned",
        0,
        lambda log: seal_submission(0, [], sign_note(f"{log.signer.name}\n0\n{HASH}\n", log.signer)),
        422,
    ),
    Row("a proof from nothing", None, lambda log: log.submission(0, 9, [JUNK]), 422),
    Row("no proof", 5, lambda log: log.submission(5, 9, []), 422),
    Row("a bit wrong in the proof", 5, lambda log: log.submission(5, 9, spoilt(log, 5, 9)), 422),
    Row("a line too many", 5, lambda log: log.submission(5, 9, [*log.proof(5, 9), JUNK]), 422),
    Row("63 lines that prove nothing", 5, lambda log: log.submission(5, 9, [JUNK] * 63), 422),
    Row("the proof from another size", 5, lambda log: log.submission(5, 9, log.proof(4, 9)), 422),
    Row("another history", 5, lambda log: other(log).submission(5, 9), 422),
    Row("another history of a complete tree", 4, lambda log: other(log).submission(4, 9), 422),
    Row("another root for the same size", 5, lambda log: other(log).submission(5, 5), 422),
    Row("the same with a proof", 5, lambda log: log.submission(5, 5, [JUNK]), 422),
]


def log_of(number: int) -> Log:
    """Each row has a log of its own."""
    return Log(f"log-{number}.example/log")


async def wrong_rows(folder: Path) -> dict[str, str]:
    """The rows of the table at which a witness does otherwise, and what it did."""
    found: dict[str, str] = {}
    async with a_witness(folder, *(log_of(number) for number in range(len(TABLE)))) as (talk, listening):
        for number, row in enumerate(TABLE):
            if wrong := await wrong_in(row, log_of(number), talk, listening.key):
                found[row.said] = wrong
    return found


async def wrong_in(row: Row, log: Log, talk: Talk, key: VerifierKey) -> str:
    if row.before is not None:
        assert (await talk.submit(log.submission(0, row.before))).status == 200
    before = await talk.kept(log)
    body = row.ask(log)
    said = await talk.submit(body)
    after = await talk.kept(log)
    if said.status != row.status or (row.body is not None and said.body != row.body):
        return f"said {said}"
    if row.status == 409 and said.kind != SIZE_TYPE:
        return f"of type {said.kind}"
    if row.status != 200:
        return "" if after == before else f"remembered {after.body!r}"
    kept = open_checkpoint(after.body, log.key, [key])
    if not re.fullmatch(rb"\xe2\x80\x94 [^ \n]+ [A-Za-z0-9+/=]+\n", said.body):
        return f"answered {said.body!r}"
    if kept.text.encode() not in body or not after.body.endswith(said.body) or after.body.count(b"\xe2\x80\x94") != 2:
        return f"serves {after.body!r}"
    return "" if abs(kept.cosignatures[key.name] - time.time()) < 60 else "another time"


async def test_every_row_of_the_specification(tmp_path: Path) -> None:
    assert {row.status for row in TABLE} == {200, 400, 403, 404, 409, 422}
    assert len({row.said for row in TABLE}) == len(TABLE)
    assert await wrong_rows(tmp_path) == {}


async def test_a_witness_that_does_not_check_the_proof_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, cosign, "check", ("if not check_consistency(", "if new.size < 0 and not check_consistency("))
    found = await wrong_rows(tmp_path)
    assert set(found) == {row.said for row in TABLE if row.status == 422}


async def test_a_witness_that_writes_down_what_it_has_not_checked_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(
        monkeypatch,
        Witness,
        "cosign",
        ("    check(submission, new, last, now)\n", "    seen.append((last, now))\n"),
        (
            "    self._store.replace(origin, decide)\n",
            "    seen = []\n    self._store.replace(origin, decide)\n    check(submission, new, *seen[0])\n",
        ),
    )
    found = await wrong_rows(tmp_path)
    # What was there already may be written down once more without a trace.
    wrong = {row.said for row in TABLE if row.status in (409, 422)} - {"the same with a proof"}
    assert wrong <= {said for said, what in found.items() if what.startswith("remembered")}


def test_a_submission_with_a_changed_or_missing_byte_is_not_cosigned(tmp_path: Path) -> None:
    log = Log()
    with closing(WitnessStore(tmp_path / "memory")) as memory:
        memory.take(log.key)
        witness = Witness(NoteSigner("w", COSIGNATURE, SigningKey(b"w" * 32)), memory, Watch(1000))
        witness.cosign(log.submission(0, 5))
        body = log.submission(5, 9)
        changed = [body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :] for at in range(len(body)) for bit in (1, 0x80)]
        for bad in [*changed, *(body[:at] for at in range(len(body)))]:
            with pytest.raises(Declined):
                witness.cosign(bad)
        assert witness.cosign(body).startswith("— w ")
        assert open_submission(body).proof == tuple(log.proof(5, 9))


# --- two at once


async def race(folder: Path) -> list[tuple[list[int], bool]]:
    """Of two requests at the same moment, which go on from the same size: their statuses, and whether the last
    checkpoint is the winner's."""
    logs = [log_of(number) for number in range(8)]
    found = []
    async with a_witness(folder, *logs) as (talk, _):
        for log in logs:
            await talk.submit(log.submission(0, 5))
            both = await asyncio.gather(*(talk.submit(log.submission(5, size)) for size in (8, 13)))
            kept = open_checkpoint((await talk.kept(log)).body, log.key)
            lost = [said.body for said in both if said.status == 409]
            found.append((sorted(said.status for said in both), lost == [b"%d\n" % kept.size]))
    return found


async def test_of_two_at_once_one_wins_and_the_other_is_told_the_size(tmp_path: Path) -> None:
    assert await race(tmp_path) == [([200, 409], True)] * 8


async def test_a_witness_that_looks_before_it_has_the_turn_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was read at the start of the race is what both are judged by.
    plant(
        monkeypatch,
        WitnessStore,
        "replace",
        (
            "head = decide(Head(*row))",
            "seen = vars(self).setdefault(origin, Head(*row)) if row[0] else Head(*row)\n        head = decide(seen)",
        ),
    )
    assert await race(tmp_path) != [([200, 409], True)] * 8


# --- what is not in the table


async def test_a_cosignature_says_the_time_and_a_clock_that_went_back_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log, watch = Log(), Watch(1_900_000_000)
    async with a_witness(tmp_path, log, clock=watch) as (talk, listening):
        name = listening.key.name

        async def times(said: Said) -> int:
            assert said.status == 200
            return open_checkpoint((await talk.kept(log)).body, log.key, [listening.key]).cosignatures[name]

        assert await times(await talk.submit(log.submission(0, 5))) == 1_900_000_000
        watch.seconds += 7
        assert await times(await talk.submit(log.submission(5, 5))) == 1_900_000_007
        watch.seconds -= 1
        before = await talk.kept(log)
        assert [(await talk.submit(log.submission(5, size))).status for size in (5, 9)] == [503, 503]
        assert await talk.kept(log) == before
        watch.seconds += 1
        assert await times(await talk.submit(log.submission(5, 9))) == 1_900_000_007
    assert "clock_went_back" in "".join(capfd.readouterr())


async def test_a_body_that_is_too_large_or_too_slow_is_cut_off(tmp_path: Path) -> None:
    async with a_witness(tmp_path, Log(), patience=0.2) as (talk, listening):
        assert (await talk.submit(b"x" * (MOST_BODY + 1))).status == 413
        host, port = listening.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nold 0\n")
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        # The largest note that there can be is read, and found to be none.
        assert (await talk.submit(blank(Log(), "old 0", note="x" * MOST_NOTE))).status == 400


async def test_wrong_turns_and_bytes_that_are_not_http(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with a_witness(tmp_path, Log()) as (talk, listening):
        async with talk.http.get(f"{talk.url}/add-checkpoint") as answer:
            assert (answer.status, answer.headers["Allow"], answer.headers["Server"]) == (405, "POST", "Comity")
        coding = {"Content-Encoding": "gzip"}
        async with talk.http.post(f"{talk.url}/add-checkpoint", data=b"x", headers=coding) as answer:
            assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "identity")
        for path in ("/", "/log.example/checkpoint", f"/{'A' * 64}/checkpoint", f"/{'a' * 64}/checkpoint"):
            async with talk.http.get(talk.url + path) as answer:
                assert answer.status == 404
        assert (await talk.kept(Log())).status == 404
        host, port = listening.url.removeprefix("http://").split(":")
        for junk in (
            b"\x16\x03\x01\x02\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /add-checkpoint HTTP/1.1\r\n: \r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(junk)
            async with asyncio.timeout(20):
                assert b" 400 " in (await reader.read()).splitlines()[0]
            writer.close()
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_witness_that_cannot_write_cosigns_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log()
    async with a_witness(tmp_path, log) as (talk, _):
        await talk.submit(log.submission(0, 5))
        before = await talk.kept(log)
        with closing(WitnessStore(tmp_path / "witness" / "witness.db")) as another:
            another._file.execute("CREATE TRIGGER full BEFORE UPDATE ON logs BEGIN SELECT RAISE(ABORT, 'full'); END")
            assert (await talk.submit(log.submission(5, 9))).status == 503
            assert await talk.kept(log) == before
            another._file.execute("DROP TRIGGER full")
        assert (await talk.submit(log.submission(5, 9))).status == 200
    assert "memory_failed" in "".join(capfd.readouterr())


# --- what it remembers, and what it refuses


async def test_a_restart_changes_neither_key_nor_name_nor_what_was_cosigned(tmp_path: Path) -> None:
    log, later = Log(), Log("later.example/log")
    async with a_witness(tmp_path, log, name="witness.example/w1") as (talk, first):
        await talk.submit(log.submission(0, 5))
    key = tmp_path / "witness" / "witness.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    async with a_witness(tmp_path, later) as (talk, again):
        assert again.key == first.key == parse_vkey(first.key.text)
        assert (again.key.name, again.key.kind) == ("witness.example/w1", COSIGNATURE)
        assert (await talk.submit(log.submission(3, 3))).body == b"5\n"
        assert (await talk.submit(later.submission(0, 3))).status == 200
        with pytest.raises(FolderInUse):
            async with a_witness(tmp_path):
                pass


async def refused(folder: Path, *logs: VerifierKey, name: str | None = None) -> str:
    with pytest.raises(CannotWitness) as caught:
        async with run_witness(folder / "witness", port=0, logs=logs, name=name):
            pass
    return str(caught.value)


async def test_a_folder_is_one_witness_and_knows_one_key_of_each_log(tmp_path: Path) -> None:
    folder, log = tmp_path / "witness", Log()
    async with a_witness(tmp_path, log) as (_, listening):
        assert re.fullmatch(r"witness\.localhost:[0-9]+", listening.key.name)
    assert "another name needs another folder" in await refused(tmp_path, name="another")
    assert "known here under another key" in await refused(tmp_path, STRANGER.verifier)
    seed = (folder / "witness.key").read_bytes()
    (folder / "witness.key").write_bytes(b"x" * 32)
    assert "is not the key of the witness" in await refused(tmp_path)
    (folder / "witness.key").write_bytes(b"x")
    assert "is not a key" in await refused(tmp_path)
    (folder / "witness.key").unlink()
    assert "restore it" in await refused(tmp_path)
    (folder / "witness.key").write_bytes(seed)
    async with a_witness(tmp_path, log) as (_, again):
        assert again.key == listening.key
    memory = folder / "witness.db"
    whole = memory.read_bytes()
    memory.write_bytes(b"not a store " * 1000)
    assert "cannot be used" in await refused(tmp_path)
    memory.write_bytes(whole)
    with closing(WitnessStore(memory)) as opened:
        opened._file.execute("PRAGMA user_version = 2")
    assert "another version" not in (said := await refused(tmp_path)) and "version 2" in said
    memory.unlink()
    assert "start a new witness" in await refused(tmp_path)


# --- as a process


class Child:
    """`comity witness`, or a program that has it in it."""

    def __init__(self, folder: Path, *arguments: str, program: Sequence[str | Path] = (COMITY, "witness")) -> None:
        command = [*program, "--data", folder / "witness", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.key = parse_vkey(self.process.stdout.readline().rstrip("\n"))
        self.url = self.process.stdout.readline().rstrip("\n")

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; the exit code, and what else was said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=15)
        return self.process.returncode, out, err


@pytest.fixture
def own_logging() -> Iterator[None]:
    """A command in this process sets up logging for it, to a stream that is gone afterwards."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


def comity(*arguments: str | Path) -> str:
    """What the command says when it does not start."""
    result = CliRunner().invoke(main, ["witness", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit) and result.exit_code in (1, 2), result
    return " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())


async def submitted(url: str, body: bytes) -> int:
    async with aiohttp.ClientSession() as http:
        return (await Talk(http, url).submit(body)).status


def test_the_command_says_key_and_address_and_ends_when_told(tmp_path: Path, own_logging: None) -> None:
    log, folder = Log(), tmp_path / "witness"
    for number, status in ((signal.SIGTERM, 200), (signal.SIGINT, 409)):
        child = Child(tmp_path, "--name", "witness.example/w1", "--log", log.key.text)
        assert asyncio.run(submitted(child.url, log.submission(0, 5))) == status
        assert f"another witness is using {folder}" in comity("--data", folder, "--port", "0")
        assert child.key.name == "witness.example/w1"
        assert child.end(number) == (0, "", "")
    assert "is called witness.example/w1" in comity("--data", folder, "--port", "0", "--name", "w2")
    assert "another key" in comity("--data", folder, "--port", "0", "--log", STRANGER.verifier.text)
    assert "the key of a witness" in comity("--data", folder, "--log", child.key.text)
    assert "NAME+ID+KEY" in comity("--data", folder, "--log", "log.example")
    for name in ("two words", "a+b", "a,b", "ä", ""):
        assert "without https://" in comity("--data", folder, "--name", name)


DIES = """
import os, sys
from comity_tools.cli import main
from comity_server.witness.cosign import Witness

cosign = Witness.cosign

def die(self, body):
    line = cosign(self, body)
    if b"\\n9\\n" in body:
        os._exit(7)
    return line

Witness.cosign = die
main(["witness", *sys.argv[1:]], prog_name="comity")
"""


async def test_killed_between_writing_and_answering_it_knows_what_it_cosigned(tmp_path: Path) -> None:
    log = Log()
    program = (sys.executable, "-c", DIES)
    child = await asyncio.to_thread(lambda: Child(tmp_path, "--log", log.key.text, program=program))
    async with aiohttp.ClientSession() as http:
        talk = Talk(http, child.url)
        assert (await talk.submit(log.submission(0, 5))).status == 200
        with pytest.raises(aiohttp.ClientError):
            await talk.submit(log.submission(5, 9))
    assert child.process.wait(10) == 7
    child.process.communicate()
    async with a_witness(tmp_path) as (talk, listening):
        assert listening.key == child.key
        # The same again is told what was cosigned, and with that size it gets what the crash kept from it.
        assert await talk.submit(log.submission(5, 9)) == (409, b"9\n", SIZE_TYPE)
        assert (await talk.submit(log.submission(9, 9))).status == 200
        assert (await talk.submit(log.submission(5, 7))).body == b"9\n"
        assert (await talk.submit(other(log).submission(9, 9))).status == 422
