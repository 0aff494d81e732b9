"""A server whose log lies: receipts that are not, histories that do not agree, and what it would rather not show."""

import base64
import hashlib
import json
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nacl.signing import VerifyKey

from comity.client import Connection, Wallet
from comity.client.log.known_logs import Tree
from comity.crypto.keys import SigningKey
from comity.errors import Contradiction, Fork, Unreachable
from comity.transparency.checkpoints import open_checkpoint
from comity.transparency.entries import LENGTH, Kind, parse_entry
from comity.transparency.merkle import check_consistency
from comity.transparency.receipts import TlogProof, parse_opening, parse_proof
from support.lying_proxy import Answer, Liar, LyingWorld, history, lying_world, put_in, receipt_in, signed_by, telling
from support.served_log import TrueLog, entry, signer

ACTS, ACT = "POST /v1/acts", "GET /v1/acts/{hash}"


class Scene:
    """Mia has allowed a shop to come, and has signed one more act, whose answer was lost.

    `before`: her wallet's file without that act; `unsent`: with it; `act`: its id.
    """

    world: LyingWorld
    cid: str
    before: bytes
    unsent: bytes
    act: str

    async def set(self, world: LyingWorld) -> None:
        """Plays it."""
        self.world = world
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        await ours.send_message("care", "How are the windows?")
        await theirs.remember("small_talk")
        await theirs.sync()
        self.cid, self.before = theirs.cid, world.snapshot("mia")
        world.proxy.lose = ACTS
        with suppress(Unreachable):
            await theirs.mute(until=world.host.now() // 1000 + 86_400, shown="end")
        world.proxy.honest()
        self.unsent = world.snapshot("mia")
        (waiting,) = theirs.queue._unsent_acts()
        self.act = waiting.id

    async def found(self, snapshot: bytes, liar: Liar, *, writes: bool = False) -> tuple[Contradiction, Wallet]:
        """What a copy of Mia's wallet raises that is told this; the wallet is closed."""
        async with self.world.open(self.world.copy(snapshot)) as mia:
            party = mia.connection(self.cid)
            self.world.proxy.liar = liar
            try:
                with pytest.raises(Contradiction) as caught:
                    await (party.queue.resend_unsent() if writes else party.sync())
            finally:
                self.world.proxy.honest()
            kept = mia.contradictions()[-1]
            assert (kept.claim, kept.texts) == (caught.value.claim, caught.value.evidence)
            return caught.value, mia


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> Any:
    async with lying_world(tmp_path) as world:
        made = Scene()
        await made.set(world)
        yield made


def given(change: Callable[[str], str | None], route: str = ACTS) -> Liar:
    """Another receipt than the true one; None: none at all."""

    def liar(asked: str, path: str, answer: Answer) -> Answer | None:
        if asked != route or answer.status != 200:
            return None
        whole = json.loads(answer.body)
        told = change(whole.pop("receipt"))
        return answer.with_json(whole if told is None else {**whole, "receipt": told})

    return liar


def both(*liars: Liar) -> Liar:
    """The first of them that has something to say."""
    return lambda route, path, answer: next(
        (told for liar in liars if (told := liar(route, path, answer)) is not None), None
    )


# --- receipts that are none


PLACES = {
    "its version": 0,
    "its kind": 1,
    "its side": 2,
    "its minute": 6,
    "its end": 10,
    "its tag": 11,
    "its commitment": 40,
    "its salt": 60,
    "its millisecond": 98,
}
"""Where in the `extra` of a receipt that is."""


def altered(text: str) -> Iterator[tuple[str, str]]:
    """A true receipt with one thing in it changed."""
    parts = parse_proof(text)
    for name, at in PLACES.items():
        extra = bytearray(parts.extra)
        extra[at] ^= 1
        yield name, TlogProof(bytes(extra), parts.index, parts.hashes, parts.checkpoint).text
    yield "its number", TlogProof(parts.extra, parts.index - 1, parts.hashes, parts.checkpoint).text
    yield "a hash less", TlogProof(parts.extra, parts.index, parts.hashes[:-1], parts.checkpoint).text
    other = (bytes([parts.hashes[0][0] ^ 1]) + parts.hashes[0][1:], *parts.hashes[1:])
    yield "another hash", TlogProof(parts.extra, parts.index, other, parts.checkpoint).text
    yield "nothing to open it", TlogProof(b"", parts.index, parts.hashes, parts.checkpoint).text
    origin, size, root, blank, signature, end = parts.checkpoint.split("\n")
    for name, lines in {
        "another log's name": (f"{origin}x", size, root, blank, signature, end),
        "another size": (origin, str(int(size) + 1), root, blank, signature, end),
        "another root": (origin, size, base64.b64encode(bytes(32)).decode(), blank, signature, end),
        "another signature": (origin, size, root, blank, f"{signature[:-8]}AAAA{signature[-4:]}", end),
        "no signature": (origin, size, root, blank, end),
    }.items():
        yield name, TlogProof(parts.extra, parts.index, parts.hashes, "\n".join(lines)).text
    yield "half of it", text[: len(text) // 2]
    yield "something before it", f"\n{text}"
    yield "something after it", f"{text}more\n"


async def test_a_receipt_that_was_altered_anywhere_is_noticed_and_the_act_stays(scene: Scene) -> None:
    seen = 0
    async with scene.world.open(scene.world.copy(scene.before)) as mia:
        others = mia._session.records.all("receipts", str)
    true = await true_receipt(scene)
    for name, text in [*altered(true), *((f"that of act {it}", text) for it, text in others.items())]:
        told, mia = await scene.found(scene.unsent, given(lambda _, text=text: text), writes=True)  # type: ignore[misc]
        assert text in told.evidence, name
        assert len(told.evidence) == 3, name
        await is_whole(scene, mia)
        seen += 1
    assert seen >= 22


async def true_receipt(scene: Scene) -> str:
    async with scene.world.open(scene.world.copy(scene.unsent)) as mia:
        party = mia.connection(scene.cid)
        await party.queue.resend_unsent()
        return str(await party.receipt(scene.act))


async def is_whole(scene: Scene, wallet: Wallet) -> None:
    """The act is in the file, and its receipt comes with the next reading."""
    async with scene.world.open(wallet._session.records.file.path) as mia:
        party = mia.connection(scene.cid)
        assert party.records[-1].act is not None and party.records[-1].act.id == scene.act
        assert not mia._session.records.file.table("unsent")
        assert list(mia._session.records.file.table("owed")) == [scene.act]
        await party.sync()
        assert not mia._session.records.file.table("owed")
        assert scene.act in mia._session.records.file.table("receipts")


async def test_false_statements_of_the_log_itself_are_noticed(scene: Scene) -> None:
    """Signed with the log's key, in its tree: another tag, kind, side, minute, end, or another act."""
    true = await true_receipt(scene)
    parts, log = parse_proof(true), await history(scene.world)
    opening = parse_opening(parts.extra)
    honest = parse_entry(opening.entry)
    assert (honest.kind, honest.side) == (Kind.MUTE_ALL, "second")
    for changes in (
        {"tag": bytes(16)},
        {"kind": Kind.MUTE_PART, "until": 0},
        {"kind": Kind.REVOKE, "until": 0},
        {"side": "first"},
        {"time": honest.time + 1},
        {"until": honest.until + 1},
        {"until": 0},
        {"commitment": hashlib.sha256(b"another act").digest()},
    ):
        said = honest._replace(**changes).to_bytes()
        told = receipt_in(put_in(log, parts.index, said), parts.index, opening._replace(entry=said))
        raised, mia = await scene.found(scene.unsent, given(lambda _, told=told: told), writes=True)  # type: ignore[misc]
        assert told in raised.evidence, changes
        await is_whole(scene, mia)


async def test_a_false_receipt_in_a_batch_undoes_none_of_its_acts(scene: Scene) -> None:
    def second(route: str, path: str, answer: Answer) -> Answer | None:
        if route != ACTS:
            return None
        first, last = (json.loads(line) for line in answer.body.splitlines())
        last["receipt"] = first["receipt"]
        return replace(answer, body="\n".join(json.dumps(it) for it in (first, last)).encode())

    path = scene.world.copy(scene.before)
    async with scene.world.open(path) as mia:
        await mia.connection(scene.cid).sync()
        scene.world.proxy.liar = second
        with pytest.raises(Contradiction, match="another place"):
            await mia.connection(scene.cid).mute(days=1)
        scene.world.proxy.honest()
    async with scene.world.open(path) as mia:
        party = mia.connection(scene.cid)
        assert [line.act.kind for line in party.records[-2:]] == ["mute_end", "mute"]
        assert not mia._session.records.file.table("unsent")
        assert len(mia._session.records.file.table("owed")) == 1
        await party.sync()
        assert not mia._session.records.file.table("owed")


# --- what is held back


def without(answer: Answer, *names: str) -> Answer:
    lines = [json.loads(line) for line in answer.body.splitlines()]
    left = [json.dumps({name: value for name, value in it.items() if name not in names}) for it in lines]
    return replace(answer, body="\n".join(left).encode())


def hiding(route: str, path: str, answer: Answer) -> Answer | None:
    """No receipt is ever given."""
    return without(answer, "receipt", "delivery") if route in (ACTS, ACT) and answer.status == 200 else None


async def test_a_server_that_hides_a_receipt_is_found_out_once_its_log_covers_the_act(scene: Scene) -> None:
    raised, mia = await scene.found(scene.unsent, hiding)
    event, act, checkpoint = raised.evidence
    assert "hides" in raised.claim
    assert json.loads(base64.urlsafe_b64decode(act.split(".")[1] + "=="))["act"] == "mute"
    stated = json.loads(base64.urlsafe_b64decode(event.split(".")[1] + "=="))
    origin, size, *_ = checkpoint.split("\n")
    assert (origin, stated["act"]) == (stated["log"], scene.act)
    assert int(size) > stated["index"]
    await is_whole(scene, mia)


async def test_a_log_that_stands_still_stops_nobody(scene: Scene) -> None:
    """No checkpoint grows and no receipt comes, or the log does not answer at all: everything goes on; receipts come
    when it is back."""

    def still(log: TrueLog) -> Liar:
        return both(hiding, telling(log))

    def away(_: TrueLog) -> Liar:
        def liar(route: str, path: str, answer: Answer) -> Answer | None:
            gone = replace(answer, status=502, headers={"content-type": "text/html"}, body=b"<h1>Bad gateway</h1>")
            return gone if path.startswith("/log/") else None

        return both(hiding, liar)

    world = scene.world
    shop, jonas = await world.business("salon"), await world.person("jonas")
    for make in (still, away):
        ours, theirs = await world.connect(shop, jonas, "care")
        world.proxy.liar = make(await history(world))
        await theirs.mute(days=3)
        await theirs.unmute()
        await theirs.set_hours("Europe/Berlin", [])
        await theirs.sync()
        await ours.sync()
        assert (await ours.send_message("care", "Hello.")).outcome == "delivered"
        await jonas.sync()
        await theirs.revoke()
        await theirs.sync()
        assert theirs.phase == "ended"
        owed = jonas._session.records.file.table("owed")
        assert len(owed) == jonas.pending_receipts == 5
        with pytest.raises(Unreachable, match="does not cover"):
            await theirs.receipt(next(iter(owed)))
        world.proxy.honest()
        await theirs.sync()
        await ours.sync()
        assert not jonas._session.records.file.table("owed") and not shop._session.records.file.table("owed")
    assert not jonas.contradictions() and not shop.contradictions()


# --- two histories


async def test_two_histories_are_a_fork_and_the_file_about_it_is_enough_for_anybody(scene: Scene) -> None:
    true = await history(scene.world)
    for more in (0, 1, 5):
        lie = put_in(true, 0, entry(0), more)
        for left in scene.world.folder.glob("fork-*"):
            left.unlink()
        raised, mia = await scene.found(await reached(scene, true.size), telling(lie))
        assert isinstance(raised, Fork)
        assert raised.checkpoints == (kept_checkpoint(mia), lie.checkpoint())
        assert bool(raised.proof) == bool(more)
        proves_itself(scene, raised, true, lie)


async def test_a_log_that_goes_on_with_its_other_history_fills_no_folder(scene: Scene) -> None:
    true = await history(scene.world)
    snapshot = await reached(scene, true.size)
    files = set()
    for more in range(1, 5):
        raised, _ = await scene.found(snapshot, telling(put_in(true, 0, entry(0), more)))
        assert isinstance(raised, Fork)
        files.add(raised.file)
    assert {str(it) for it in scene.world.folder.glob("fork-*")} == files
    assert len(files) == 1


async def reached(scene: Scene, size: int) -> bytes:
    """Mia's wallet once it has seen a checkpoint of that size."""
    path = scene.world.copy(scene.unsent)
    async with scene.world.open(path) as mia:
        await mia.connection(scene.cid).sync()
        assert int(kept_checkpoint(mia).split("\n")[1]) == size
    return path.read_bytes()


def kept_checkpoint(wallet: Wallet) -> str:
    (kept,) = wallet._session.records.all("checkpoints", str).values()
    return str(kept)


def proves_itself(scene: Scene, fork: Fork, true: TrueLog, lie: TrueLog) -> None:
    """The file, read with nothing of ours: both notes under the log's key, and a proof that they do not agree."""
    assert fork.file is not None and fork.file in str(fork)
    path = Path(fork.file)
    assert path.parent == scene.world.folder
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    name, _, key = re.search(r"^(\S+)\+([0-9a-f]{8})\+(\S+)$", text, re.MULTILINE).groups()  # type: ignore[union-attr]
    raw = base64.b64decode(key)
    assert raw[0] == 1
    heads = []
    for note in re.findall(r"^--- the \w+ checkpoint, \d+ entries ---\n(.*?)--- its end ---\n", text, re.M | re.S):
        signed, _, line = note.rpartition("\n\n")
        blob = base64.b64decode(line.split(" ")[2])
        assert line.split(" ")[:2] == ["—", name]
        VerifyKey(raw[1:]).verify(f"{signed}\n".encode(), blob[4:])
        origin, size, root = signed.split("\n")
        assert origin == name == true.origin
        heads.append((int(size), base64.b64decode(root)))
    (small, small_root), (large, large_root) = heads
    assert (small, large) == (true.size, lie.size)
    if small == large:
        assert small_root != large_root
        return
    lines = re.search(r"^--- the proof, .*? ---\n(.*?)\n--- its end ---\n", text, re.M | re.S)
    assert lines is not None
    proof = [base64.b64decode(it) for it in lines[1].split("\n")]
    begins = base64.b64decode(re.search(r"^the root (\S+): another", text, re.MULTILINE)[1])  # type: ignore[index]
    assert begins != small_root
    assert check_consistency(small, begins, large, large_root, proof)
    assert not check_consistency(small, small_root, large, large_root, proof)


async def test_two_branches_that_come_at_once_are_held_against_each_other(scene: Scene) -> None:
    """Both go on from what Mia knows, and not from each other; the one comes while the other is being proved."""
    true = await history(scene.world)
    one, other = (signed_by(true.signer, [*true.entries, *more]) for more in ([entry(1)], [entry(2), entry(3)]))
    path = scene.world.copy(await reached(scene, true.size))
    async with scene.world.open(path) as mia:
        logs = mia._session.logs
        log = logs.find_known(scene.world.host.home, true.origin)
        first, second = (open_checkpoint(it.checkpoint(), log.key) for it in (one, other))
        assert logs.latest(log).size == true.size

        def meanwhile(route: str, path: str, answer: Answer) -> Answer | None:
            if "/tile/" in path and logs.latest(log).size == true.size:
                assert logs.entries_if_evident(log, first, Tree(true.size, logs.latest(log).root))
            return telling(other)(route, path, answer)

        scene.world.proxy.liar = meanwhile
        with pytest.raises(Fork) as caught:
            await logs.accept_checkpoint(log, second)
        scene.world.proxy.honest()
    assert caught.value.checkpoints == (one.checkpoint(), other.checkpoint())


async def test_a_fork_that_comes_with_a_receipt_does_not_undo_the_act(scene: Scene) -> None:
    parts = parse_proof(await true_receipt(scene))
    opening = parse_opening(parts.extra)
    lie = put_in(await history(scene.world), 0, entry(0))
    lie.grow([entry(1)])
    forged = receipt_in(lie, parts.index, opening)
    raised, mia = await scene.found(scene.unsent, both(given(lambda _: forged), telling(lie)), writes=True)
    assert isinstance(raised, Fork)
    assert raised.file is not None and Path(raised.file).exists()
    await is_whole(scene, mia)


async def test_a_log_that_lies_does_not_stop_a_no_from_an_old_copy_of_the_wallet(scene: Scene) -> None:
    """The copy does not know the last act, so the reading that it needs first must not end at the fork."""
    true = await history(scene.world)
    path = scene.world.copy(await reached(scene, true.size))
    async with scene.world.open(path) as newer:
        await newer.connection(scene.cid).remember("small_talk")
    old = scene.world.copy(scene.before)
    async with scene.world.open(old) as mia:
        party = mia.connection(scene.cid)
        scene.world.proxy.liar = telling(put_in(true, 0, entry(0), 3))
        with suppress(Contradiction):
            await party.mute()
        assert any(line.act is not None and line.act.kind == "mute" for line in party.records[-1:])
        with suppress(Contradiction):
            await party.revoke()
        scene.world.proxy.honest()
        assert party.phase == "ended"
    async with scene.world.open(old) as mia:
        assert mia.connection(scene.cid).phase == "ended"
        await mia.connection(scene.cid).sync()


async def test_a_log_that_goes_back_is_found_out_and_one_that_lags_is_not(scene: Scene) -> None:
    true = await history(scene.world)
    small = signed_by(true.signer, true.entries[:-3])
    snapshot = await reached(scene, true.size)

    def lagging(route: str, path: str, answer: Answer) -> Answer | None:
        return telling(small if path == "/log/checkpoint" else true)(route, path, answer)

    async with scene.world.open(scene.world.copy(snapshot)) as mia:
        scene.world.proxy.liar = lagging
        await mia.connection(scene.cid).sync()
        scene.world.proxy.honest()
        assert kept_checkpoint(mia) == true.checkpoint()
    raised, mia = await scene.found(snapshot, telling(small))
    assert isinstance(raised, Fork)
    assert raised.checkpoints == (small.checkpoint(), true.checkpoint())
    assert "goes back" in raised.claim and not raised.proof
    assert raised.file is not None and small.checkpoint() in Path(raised.file).read_text(encoding="utf-8")
    assert kept_checkpoint(mia) == true.checkpoint()


async def test_tiles_that_were_promised_and_do_not_come_are_no_fork_but_no_excuse(scene: Scene) -> None:
    true = await history(scene.world)
    more = signed_by(true.signer, [*true.entries, entry(1), entry(2)])
    snapshot = await reached(scene, true.size)

    def other_tiles(tile: Callable[[bytes], bytes | None]) -> Liar:
        def liar(route: str, path: str, answer: Answer) -> Answer | None:
            told = telling(more)(route, path, answer)
            if told is None or "tile" not in path:
                return told
            data = tile(told.body)
            return replace(told, status=404, body=b"") if data is None else replace(told, body=data)

        return liar

    for bend in (
        lambda _: None,
        lambda data: data[:-1],
        lambda data: hashlib.shake_256(b"anything").digest(len(data)),
        lambda data: b"",
    ):
        raised, _ = await scene.found(snapshot, other_tiles(bend))
        assert type(raised) is Contradiction
        assert raised.evidence == (true.checkpoint(), more.checkpoint())
    times = iter([True])
    once = other_tiles(lambda data: bytes(len(data)) if next(times, False) else data)
    async with scene.world.open(scene.world.copy(snapshot)) as mia:
        scene.world.proxy.liar = once
        await mia.connection(scene.cid).sync()
        scene.world.proxy.honest()
        assert kept_checkpoint(mia) == more.checkpoint()


async def test_the_checkpoint_of_another_log_or_key_is_noticed(scene: Scene) -> None:
    true = await history(scene.world)
    same_name = signed_by(true.signer._replace(key=SigningKey(b"another key".ljust(32))), true.entries)
    other_name = TrueLog("localhost/log", true.entries)
    for lie in (same_name, other_name):
        raised, _ = await scene.found(scene.before, telling(lie))
        assert lie.checkpoint() in raised.evidence

    def renamed(route: str, path: str, answer: Answer) -> Answer | None:
        if path != "/.well-known/comity":
            return None
        whole = json.loads(answer.body)
        whole["logs"][0]["vkey"] = signer(true.origin).verifier.text
        return answer.with_json(whole)

    raised, _ = await scene.found(scene.before, renamed)
    assert true.signer.verifier.text in raised.evidence


async def test_no_server_speaks_for_the_log_of_another(scene: Scene) -> None:
    true = signer("localhost:1/log").verifier.text

    def claimed(**changes: Any) -> Liar:
        def liar(route: str, path: str, answer: Answer) -> Answer | None:
            if path != "/.well-known/comity":
                return None
            whole = json.loads(answer.body)
            whole["logs"].append({**whole["logs"][0], **changes})
            return answer.with_json(whole)

        return liar

    for changes in (
        {"origin": "localhost:1/log", "vkey": true, "url": "http://localhost:1/log"},
        {"origin": f"localhost:{scene.world.proxy.port}/log/x", "url": "http://localhost:1/log"},
        {},
    ):
        raised, mia = await scene.found(scene.before, claimed(**changes))
        assert raised.evidence
        assert list(mia._session.records.file.table("logs")) == [f"localhost:{scene.world.proxy.port}/log"]


# --- tags


async def test_other_tag_keys_than_before_are_noticed_and_the_true_ones_found_again(scene: Scene) -> None:
    def put(**changes: str) -> Liar:
        def liar(route: str, path: str, answer: Answer) -> Answer | None:
            if route != "GET /v1/connections/{cid}":
                return None
            whole = json.loads(answer.body)
            return answer.with_json({**whole, "tags": {**whole["tags"], **changes}})

        return liar

    for name in ("both", "own"):
        raised, mia = await scene.found(scene.before, put(**{name: "A" * 43}))
        assert "tag keys" in raised.claim and any("A" * 43 in it for it in raised.evidence)
        async with scene.world.open(mia._session.records.file.path) as again:
            party: Connection = again.connection(scene.cid)
            await party.sync()
            await party.set_hours("UTC", [])
            assert not again._session.records.file.table("owed")


def test_the_places_that_are_altered_are_the_parts_of_an_opening() -> None:
    assert PLACES["its commitment"] < LENGTH <= PLACES["its salt"]
