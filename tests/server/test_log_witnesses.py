"""A server that gathers cosignatures: from those that sign, in spite of those that stand, lie, or know better."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from comity.crypto.keys import SigningKey
from comity.errors import Malformed
from comity.transparency.checkpoints import Policy, SignedCheckpoint, is_witnessed, open_checkpoint
from comity.transparency.notes import COSIGNATURE, NoteSigner, signature_line
from comity_server.log.witness_client import WitnessAhead, WitnessAt, Witnesses, read_witnesses
from comity_server.witness.app import run_witness
from support.witness_logs import Log, plant

LIAR = NoteSigner("liar.example", COSIGNATURE, SigningKey(b"l" * 32))


@asynccontextmanager
async def honest(folder: Path, log: Log, *names: str) -> AsyncIterator[tuple[WitnessAt, ...]]:
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            running = run_witness(folder / name, port=0, name=name, logs=[log.key])
            found.append(WitnessAt(*await stack.enter_async_context(running)))
        yield tuple(found)


Talker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talker, signer: NoteSigner = LIAR) -> AsyncIterator[WitnessAt]:
    """A witness's address, behind which something else may be."""
    hands: set[asyncio.Task[None]] = set()

    async def hand(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hands.add(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(hand, "127.0.0.1", 0)
    try:
        yield WitnessAt(signer.verifier, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        for task in hands:
            task.cancel()
        await asyncio.gather(*hands, return_exceptions=True)


async def stands(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Takes everything and says nothing."""
    await asyncio.Event().wait()


def says(*answers: bytes, seen: list[bytes] | None = None) -> Talker:
    """Gives one answer after the other, the last one for ever."""
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
            if seen is not None:
                seen.append(head.partition(b" HTTP")[0] + b" " + body.partition(b"\n")[0])
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    return talk


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def asking(log: Log, *at: WitnessAt, **more: Any) -> AsyncIterator[Witnesses]:
    made = Witnesses(log.key, at, **{"timeout": 2.0, "rest": 0.0, **more})
    try:
        yield made
    finally:
        await made.close()


async def all_of(gathered: AsyncIterator[SignedCheckpoint], first: SignedCheckpoint) -> SignedCheckpoint:
    """The last one that is gathered."""
    return [first, *[it async for it in gathered]][-1]


async def gathered(asked: Witnesses, log: Log, size: int) -> SignedCheckpoint:
    signed = log.checkpoint(size)
    return await all_of(asked.gather(signed, log.prove), signed)


def conditions(logged: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["where"], line.get("code", "cosigns")) for line in logged if line["event"].startswith("witness_")]


# --- those that sign


async def test_every_witness_signs_what_the_log_shows_it(tmp_path: Path) -> None:
    log = Log()
    async with honest(tmp_path, log, "w1", "w2") as at, asking(log, *at) as asked:
        for size in (0, 3, 3, 8, 300):
            signed = await gathered(asked, log, size)
            checked = open_checkpoint(signed.raw, log.key, asked.keys)
            assert set(checked.cosignatures) == {"w1", "w2"} and checked == signed
            assert is_witnessed(checked, Policy(2, asked.keys))


async def test_a_server_that_was_started_again_learns_how_far_each_witness_is(tmp_path: Path) -> None:
    log = Log()
    async with honest(tmp_path, log, "w1", "w2") as at:
        async with asking(log, *at[:1]) as asked:
            await gathered(asked, log, 5)
        async with asking(log, *at) as asked:
            signed = log.checkpoint(9)
            came = [len(it.cosignatures) async for it in asked.gather(signed, log.prove)]
            assert came == [1, 2]
            # Who has cosigned already is not asked again.
            signed = await gathered(asked, log, 9)
            assert [it async for it in asked.gather(signed, log.prove)] == []


async def test_a_witness_that_hangs_and_one_that_lies_cost_the_third_nothing(tmp_path: Path) -> None:
    log = Log()
    forged = answer(200, signature_line(log.checkpoint(7).text, LIAR, int(time.time())).encode())
    standing = NoteSigner("standing.example", COSIGNATURE, SigningKey(b"t" * 32))
    async with (
        honest(tmp_path, log, "w1") as (at,),
        talking(stands, standing) as standing_at,
        talking(says(forged)) as lying_at,
        # The one that stands would be waited for for an hour.
        asking(log, standing_at, lying_at, at, timeout=3600.0) as asked,
    ):
        with capture_logs() as logged:
            for size in (5, 6, 8):
                # Whoever has enough stops looking; the one that stands is left out of what comes next.
                async for signed in asked.gather(log.checkpoint(size), log.prove):
                    assert set(signed.cosignatures) == {"w1"}
                    break
        assert conditions(logged) in (
            [("w1", "cosigns"), ("liar.example", "bad_signature")],
            [("liar.example", "bad_signature"), ("w1", "cosigns")],
        )
        open_checkpoint(signed.raw, log.key, asked.keys)


async def test_a_witness_that_hangs_is_given_up_and_asked_again(tmp_path: Path) -> None:
    log = Log()
    async with talking(stands) as at, asking(log, at, timeout=0.1) as asked:
        with capture_logs() as logged:
            for size in (5, 6):
                assert (await gathered(asked, log, size)).cosignatures == {}
        assert conditions(logged) == [("liar.example", "timeout")]


def lines(log: Log, size: int, seconds: float = 0, signer: NoteSigner = LIAR) -> bytes:
    return signature_line(log.checkpoint(size).text, signer, int(time.time() + seconds)).encode()


LIES: dict[str, tuple[str, Callable[[Log], list[bytes]]]] = {
    "a cosignature of another size": ("bad_signature", lambda log: [answer(200, lines(log, 6))]),
    "one of another history": ("bad_signature", lambda log: [answer(200, lines(Log(history="other"), 5))]),
    "one of an hour ago": ("clock", lambda log: [answer(200, lines(log, 5, -3600))]),
    "one of an hour ahead": ("clock", lambda log: [answer(200, lines(log, 5, 3600))]),
    "another's": ("no_cosignature", lambda log: [answer(200, lines(log, 5, 0, LIAR._replace(name="w")))]),
    "nothing": ("garbage", lambda log: [answer(200, b"")]),
    "no text": ("garbage", lambda log: [answer(200, b"\xff\xfe")]),
    "a page": ("garbage", lambda log: [answer(200, b"<html>\n")]),
    "far too much": ("too_long", lambda log: [answer(200, b"x" * 200_000)]),
    "less than it announces": ("timeout", lambda log: [answer(200, b"x" * 99)[:-1]]),
    "no HTTP": ("unreachable", lambda log: [b"hello\r\n\r\n"]),
    "go elsewhere": ("status_307", lambda log: [answer(307, b"", "Location: /add-checkpoint")]),
    "a mistake": ("status_500", lambda log: [answer(500, b"no")]),
    "a size that is none": ("garbage", lambda log: [answer(409, b"five\n")]),
    "the size that it was given": ("contradicts_itself", lambda log: [answer(409, b"0\n")]),
    "one size after the other": ("status_409", lambda log: [answer(409, b"%d\n" % size) for size in range(1, 6)]),
    "less than it signed": (
        "contradicts_itself",
        lambda log: [answer(200, lines(log, 4)), answer(409, b"3\n")],
    ),
}


@pytest.mark.parametrize("said", LIES)
async def test_a_lie_is_no_cosignature_and_is_told_once(said: str) -> None:
    log, (code, answers) = Log(), LIES[said]
    async with talking(says(*answers(log))) as at, asking(log, at, timeout=0.3) as asked:
        with capture_logs() as logged:
            if said == "less than it signed":
                assert set((await gathered(asked, log, 4)).cosignatures) == {LIAR.name}
            for _ in range(3):
                assert (await gathered(asked, log, 5)).cosignatures == {}
        assert [it for it in conditions(logged) if it[1] != "cosigns"] == [(LIAR.name, code)]


async def test_a_witness_that_comes_back_is_told_of_too() -> None:
    log = Log()
    answers = [answer(500, b""), answer(500, b""), answer(200, lines(log, 5)), answer(503, b"")]
    async with talking(says(*answers)) as at, asking(log, at) as asked:
        with capture_logs() as logged:
            for size in (4, 5, 5, 6):
                await gathered(asked, log, size)
        assert [code for _, code in conditions(logged)] == ["status_500", "cosigns", "status_503"]


async def test_a_witness_that_failed_is_left_alone_for_a_while() -> None:
    log, seen = Log(), list[bytes]()
    async with talking(says(answer(500, b""), seen=seen)) as at, asking(log, at, rest=60.0) as asked:
        for size in (4, 5, 6):
            await gathered(asked, log, size)
    assert seen == [b"POST /add-checkpoint old 0"]


async def test_a_checkpoint_without_a_proof_is_not_submitted_and_is_logged_as_our_fault(tmp_path: Path) -> None:
    log = Log()

    async def broken(old: int, new: int) -> list[bytes]:
        raise LookupError("no such tile")

    async with honest(tmp_path, log, "w1") as at, asking(log, *at) as asked:
        await gathered(asked, log, 5)
        with capture_logs() as logged:
            for size in (6, 7):
                signed = log.checkpoint(size)
                assert await all_of(asked.gather(signed, broken), signed) == signed
        assert [line["event"] for line in logged] == ["witness_fails", "witness_not_asked"]
        assert set((await gathered(asked, log, 7)).cosignatures) == {"w1"}


# --- those that know better


async def test_a_witness_with_a_larger_tree_of_ours_stops_everything(tmp_path: Path) -> None:
    log = Log()
    async with honest(tmp_path, log, "w1", "w2") as at:
        async with asking(log, *at[:1]) as asked:
            await gathered(asked, log, 9)
        async with asking(log, *at) as asked:
            with pytest.raises(WitnessAhead) as caught:
                await gathered(asked, log, 5)
            assert (caught.value.name, caught.value.size) == ("w1", 9)
            assert caught.value.proof is not None and caught.value.proof.root == log.checkpoint(9).root
            # Once the tree has all of it again, there is nothing to stop for.
            assert "w1" in (await gathered(asked, log, 9)).cosignatures


async def test_a_witness_that_only_says_so_is_told_apart() -> None:
    log, seen = Log(), list[bytes]()
    async with talking(says(answer(409, b"99\n"), answer(404, b""), seen=seen)) as at, asking(log, at) as asked:
        with pytest.raises(WitnessAhead) as caught:
            await gathered(asked, log, 5)
        assert (caught.value.size, caught.value.proof) == (99, None)
    assert [it.split()[0] for it in seen] == [b"POST", b"GET"]


async def test_a_checkpoint_that_a_witness_shows_must_be_signed_by_the_log() -> None:
    log = Log()
    theirs = Log("log.example/other").checkpoint(99).raw.encode()
    for kept in (theirs, log.checkpoint(4).raw.encode(), b"x" * 500_000, b"\xff"):
        async with talking(says(answer(409, b"99\n"), answer(200, kept))) as at, asking(log, at) as asked:
            with pytest.raises(WitnessAhead) as caught:
                await gathered(asked, log, 5)
            assert caught.value.proof is None


async def test_an_answer_that_came_between_two_gatherings_stops_the_next_one(tmp_path: Path) -> None:
    log, go = Log(), asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await says(answer(409, b"99\n"), answer(404, b""))(reader, writer)

    async with honest(tmp_path, log, "w1") as (at,), talking(late) as late_at, asking(log, at, late_at) as asked:
        async for signed in asked.gather(log.checkpoint(5), log.prove):
            assert set(signed.cosignatures) == {"w1"}
            break
        assert set((await gathered(asked, log, 6)).cosignatures) == {"w1"}
        go.set()
        async with asyncio.timeout(20):
            with pytest.raises(WitnessAhead):
                while True:
                    await gathered(asked, log, 7)
                    await asyncio.sleep(0.01)


async def test_an_older_checkpoint_of_ours_is_no_reason_to_stop(tmp_path: Path) -> None:
    log = Log()
    async with honest(tmp_path, log, "w1") as at, asking(log, *at) as asked:
        await gathered(asked, log, 9)
        assert (await gathered(asked, log, 5)).cosignatures == {}
        assert set((await gathered(asked, log, 12)).cosignatures) == {"w1"}


async def test_closing_ends_what_is_under_way() -> None:
    log = Log()
    async with talking(stands) as at, asking(log, at, timeout=60.0) as asked:
        task = asyncio.create_task(gathered(asked, log, 5))
        await asyncio.sleep(0)
        await asked.close()
        assert (await task).cosignatures == {}


async def test_a_gatherer_that_takes_any_line_for_a_cosignature_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, Witnesses, "_check", ('raise _Failed("clock")', "pass"))
    for said in ("one of an hour ago", "one of an hour ahead"):
        with pytest.raises(AssertionError):
            await test_a_lie_is_no_cosignature_and_is_told_once(said)
    plant(monkeypatch, Witnesses, "_read_witnessed_size", ("size < witness.seen or ", ""))
    with pytest.raises(AssertionError):
        await test_a_lie_is_no_cosignature_and_is_told_once("less than it signed")
    monkeypatch.undo()
    plant(monkeypatch, Witnesses, "_read_witnessed_size", ("if size > self._newest:", "if size > 2**60:"))
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        await test_a_witness_that_only_says_so_is_told_apart()


# --- settings


KEY1, KEY2 = (NoteSigner(f"w{n}.example", COSIGNATURE, SigningKey(bytes([n]) * 32)).verifier for n in (1, 2))


def test_witnesses_are_read_from_a_setting() -> None:
    assert read_witnesses("  ") == ()
    assert read_witnesses(f"{KEY1.text} https://w1.example/api/ ,\n {KEY2.text}  http://[::1]:8480") == (
        WitnessAt(KEY1, "https://w1.example/api"),
        WitnessAt(KEY2, "http://[::1]:8480"),
    )
    for here in ("http://127.0.0.1:8480", "http://localhost", "http://witness.localhost:1"):
        assert read_witnesses(f"{KEY1.text} {here}")[0].url == here


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (", ".join(f"{KEY1.text} https://a.example" for _ in range(33)), "more than 32"),
        (f"{KEY1._replace(name='wé').text} https://a.example", "published"),
        (KEY1.text, "its key and its URL"),
        (f"{KEY1.text} https://a.example,", "its key and its URL"),
        (f"{KEY1.text} https://a.example {KEY2.text} https://b.example", "its key and its URL"),
        (f"{Log().key.text} https://a.example", "a log's"),
        (f"{KEY1.text[:-4]} https://a.example", "not a verifier key"),
        (f"{KEY1.text} http://a.example", "over https"),
        (f"{KEY1.text} http://127.0.0.1.example", "over https"),
        (f"{KEY1.text} http://10.0.0.1", "over https"),
        (f"{KEY1.text} ftp://a.example", "https://host"),
        (f"{KEY1.text} https://", "https://host"),
        (f"{KEY1.text} https://me@a.example", "https://host"),
        (f"{KEY1.text} https://a.example?x", "https://host"),
        (f"{KEY1.text} https://a.example:99999", "none"),
        (f"{KEY1.text} https://[a.example", "none"),
        (f"{KEY1.text} https://a.example, {KEY1.text} https://b.example", "same name"),
        (f"{KEY1.text} https://a.example, {KEY2.text} https://a.example/", "same URL"),
        (f"{KEY1.text} https://a.example, {KEY1._replace(name='w').text} https://b.example", "same key"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_witnesses(text)
    assert why in str(caught.value)
