"""`comity receipt` and `comity token`, offline, as somebody types them who was handed a few files."""

import asyncio
import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.crypto.keys import SigningKey
from comity.http_api import HOME_KEYS
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.entries import Kind, LogEntry, commitment, parse_entry
from comity.transparency.merkle import leaf_hash
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, parse_vkey, signature_line
from comity.transparency.receipts import Opening, TlogProof, open_receipt, parse_opening, parse_proof, receipt_text
from comity_server.operator.commands import ROTATE_HOME, HomeRotation
from comity_tools.cli import main
from comity_tools.cli.audit.receipt import KINDS
from comity_tools.cli.audit.token import REASONS
from support.sdk_world import sdk_world
from support.world import eventually

WITNESS = NoteSigner("w.example", COSIGNATURE, SigningKey(b"w" * 32))


@dataclass(frozen=True)
class Hand:
    """What somebody was handed, as files: a grant, its receipt, and all that goes with it."""

    folder: Path
    audience: str
    vkey: str
    tags: dict[str, str]
    now: str
    home_key: str

    def path(self, name: str) -> str:
        """A file's path."""
        return str(self.folder / name)

    def put(self, name: str, text: str | bytes) -> str:
        """Writes a file; its path."""
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return self.path(name)

    def receipt(self) -> str:
        """The grant's receipt."""
        return (self.folder / "grant.tlog-proof").read_text(encoding="utf-8")

    def verify(self, *words: str, code: int = 0, file: str = "grant.tlog-proof") -> str:
        """`comity receipt verify`."""
        return run("receipt", "verify", self.path(file), *words, code=code)

    def check(self, code: int = 0, /, **changes: str) -> str:
        """`comity token verify` with all that is needed, some of it changed."""
        given = {
            "audience": self.audience,
            "purpose": "care",
            "status-list": self.path("list.jwt"),
            "home-key": "" if "agreement" in changes else self.home_key,
            "receipt": self.path("grant.tlog-proof"),
            "vkey": self.vkey,
            "at": self.now,
            **changes,
        }
        options = [word for name, value in given.items() if value for word in (f"--{name}", value)]
        return run("token", "verify", self.path("grant.jws"), *options, code=code)


def run(*words: str, code: int) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, (words, result.output, result.exception)
    if code:
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr if code else result.stdout


async def handed(folder: Path) -> Hand:
    """A customer has allowed a shop to come; the shop hands the files on."""
    async with sdk_world(folder) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        await theirs.remember("small_talk")
        (token,) = await ours.tokens()
        exported = shop.export()
        (log,) = exported["logs"].values()
        now = f"{datetime.fromtimestamp(world.host.now() / 1000, UTC):%Y-%m-%dT%H:%M:%S}"
        files = folder / "files"
        files.mkdir()
        tags = exported["connections"][0]["tags"]
        made = Hand(files, shop.did or "", log["vkey"], tags, now, world.host.home_party.kid)
        made.put("grant.jws", token.jwt + "\n")
        made.put("grant.tlog-proof", await ours.receipt(token.id))
        assert theirs.records[-1].act is not None
        made.put("remember.tlog-proof", await theirs.receipt(theirs.records[-1].act.id))
        made.put("acceptance.jwt", token.acceptance)
        made.put("agreement.json", ours.agreement_raw)
        made.put("list.jwt", (await ours.status_list(token.uri)).raw)
        made.put("keys.json", (await world.host.send("GET", HOME_KEYS)).body)
        made.put("log.vkey", log["vkey"] + "\n")
        # The same after the server took another key.
        await ROTATE_HOME.do(world.host.server, HomeRotation())
        world.pass_time(seconds=3)

        async def is_covered() -> bool:
            listed = (await world.host.send("GET", HOME_KEYS)).json["keys"]
            return all("receipt" in place for key in listed for place in key["places"])

        await eventually(is_covered)
        made.put("later.json", (await world.host.send("GET", HOME_KEYS)).body)
        made.put("later.jwt", (await ours.status_list(token.uri)).raw)
        return made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Hand:
    return asyncio.run(handed(tmp_path_factory.mktemp("handed")))


@pytest.fixture
def hand(files: Hand, tmp_path: Path) -> Hand:
    return replace(files, folder=shutil.copytree(files.folder, tmp_path / "files"))


# --- receipts


def test_a_receipt_says_what_it_proves_and_what_it_does_not(hand: Hand) -> None:
    told = hand.verify("--vkey", hand.path("log.vkey"), "--act", hand.path("grant.jws"))
    origin = hand.vkey.partition("+")[0]
    index = parse_proof(hand.receipt()).index
    assert f"{origin} signed a tree of" in told and f"this is entry {index}" in told
    assert "an act of the second side, in the minute of 2024-06-18 10:0" in told
    assert "exactly the act in the log, accepted at 2024-06-18 10:0" in told
    proves, _, not_proven = told.partition("It does not prove:")
    assert "signed   by did:key:z6Mk" in proves
    assert "side is true" in not_proven and "no witness cosigned" in not_proven and "tag key" in not_proven
    alone = hand.verify("--vkey", hand.vkey)
    assert "exactly the act" not in alone and "no --act was given" in alone


def test_a_receipt_tells_its_connection_to_whoever_has_the_tag_key(hand: Hand) -> None:
    tags = hand.tags
    assert "belongs to the connection" in hand.verify("--vkey", hand.vkey, "--tag-key", tags["both"])
    assert "does not belong" in hand.verify("--vkey", hand.vkey, "--tag-key", tags["own"], code=1)
    assert "32 bytes" in hand.verify("--vkey", hand.vkey, "--tag-key", "short", code=2)


def test_witnesses_count_where_they_are_named(hand: Hand) -> None:
    parts = parse_proof(hand.receipt())
    text = parts.checkpoint.rpartition("\n\n")[0] + "\n"
    line = signature_line(text, WITNESS, 1_718_704_800)
    hand.put("cosigned.tlog-proof", TlogProof(parts.extra, parts.index, parts.hashes, parts.checkpoint + line).text)
    named = ("--vkey", hand.vkey, "--witness", WITNESS.verifier.text)
    told = hand.verify(*named, file="cosigned.tlog-proof")
    assert "w.example cosigned this tree on 2024-06-18 10:00 UTC" in told and "no witness" not in told
    assert "(too_few_witnesses)" in hand.verify(*named, code=1) or "Too few" in hand.verify(*named, code=1)
    assert "none of the given witnesses did" in hand.verify(*named, "--cosignatures", "0")
    assert "--cosignatures is 2, but only" in hand.verify(*named, "--cosignatures", "2", code=2)
    assert "wrong kind" in hand.verify("--vkey", WITNESS.verifier.text, code=2)


def test_a_receipt_of_something_else_does_not_hold(hand: Hand) -> None:
    act = (hand.folder / "grant.jws").read_text()
    for other in (act.strip()[:-1], act.upper(), "", json.dumps({"a": 1}), "ä"):
        hand.put("other.jws", other)
        assert "the receipt is not for" in hand.verify("--vkey", hand.vkey, "--act", hand.path("other.jws"), code=1)


def test_a_file_that_is_no_receipt_is_told_of_in_one_line(hand: Hand) -> None:
    text = hand.receipt()
    bad: dict[str, bytes] = {
        "truncated": text[: len(text) // 2].encode(),
        "without its end": text[:-1].encode(),
        "empty": b"",
        "not UTF-8": b"\xff" + text.encode(),
        "of Windows": text.replace("\n", "\r\n").encode(),
        "another file": Path(__file__).read_bytes(),
        "for a terminal": b"c2sp.org/tlog-proof@v1\n\x1b[2J\nindex 1\n",
    }
    for at in range(0, len(text), 37):
        flipped = "A" if text[at] != "A" else "B"
        bad[f"altered at {at}"] = (text[:at] + flipped + text[at + 1 :]).encode()
    for name, data in bad.items():
        hand.put("bad", data)
        told = hand.verify("--vkey", hand.vkey, "--act", hand.path("grant.jws"), code=1, file="bad")
        assert "is not valid" in told or "the receipt is not for" in told, name
        assert "\x1b" not in told
    hand.put("huge", b"a" * 1_000_000)
    assert "too large" in hand.verify("--vkey", hand.vkey, code=2, file="huge")
    assert "cannot be read" in hand.verify("--vkey", hand.vkey, code=2, file="nowhere")
    assert "cannot be read" in hand.verify("--vkey", hand.vkey, code=2, file=".")
    assert "give --vkey" in hand.verify(code=2)
    for key in ("nonsense", hand.path("grant.jws"), hand.path("."), hand.path("huge")):
        assert "neither a verifier key" in hand.verify("--vkey", key, code=2)


def test_another_log_s_key_does_not_open_it(hand: Hand) -> None:
    key = NoteSigner(hand.vkey.partition("+")[0], ED25519, SigningKey(b"x" * 32))
    told = hand.verify("--vkey", key.verifier.text, code=1)
    assert "is not valid" in told
    receipt = open_receipt(hand.receipt(), parse_vkey(hand.vkey))
    parts = parse_proof(hand.receipt())
    forged = sign_checkpoint(receipt.checkpoint.checkpoint, key).raw
    hand.put("forged", TlogProof(parts.extra, parts.index, parts.hashes, forged).text)
    assert "The receipt is valid" in hand.verify("--vkey", key.verifier.text, file="forged")
    assert "is not valid" in hand.verify("--vkey", hand.vkey, file="forged", code=1)


def test_a_false_entry_of_an_act_shows_with_the_act(hand: Hand) -> None:
    """Entered as a revoke, under the log's own signature."""
    key, opening = (
        NoteSigner("localhost/log", ED25519, SigningKey(b"l" * 32)),
        parse_opening(parse_proof(hand.receipt()).extra),
    )
    for changes, alone, said in (
        ({"kind": Kind.REVOKE}, 0, "does not match the act"),
        ({"time": 0}, 1, "the minute in the log"),
        ({"kind": Kind.DELIVERED}, 0, "does not match the act"),
    ):
        entry = parse_entry(opening.entry)._replace(**changes).to_bytes()
        signed = sign_checkpoint(Checkpoint("localhost/log", 1, leaf_hash(entry)), key)
        hand.put("false", receipt_text(opening._replace(entry=entry), 0, [], signed))
        given = ("--vkey", key.verifier.text)
        assert ("is valid", "the minute in the log")[alone] in hand.verify(*given, file="false", code=alone)
        assert said in hand.verify(*given, "--act", hand.path("grant.jws"), file="false", code=1)


def test_an_act_that_was_not_signed_as_it_says_does_not_hold(hand: Hand) -> None:
    key, opening = (
        NoteSigner("localhost/log", ED25519, SigningKey(b"l" * 32)),
        parse_opening(parse_proof(hand.receipt()).extra),
    )
    act = (hand.folder / "grant.jws").read_text().strip()
    forged = f"{act[:-40]}{'A' * 40}".encode()
    said = parse_entry(opening.entry)._replace(commitment=commitment(opening.salt, opening.at, forged)).to_bytes()
    signed = sign_checkpoint(Checkpoint("localhost/log", 1, leaf_hash(said)), key)
    hand.put("forged", receipt_text(opening._replace(entry=said), 0, [], signed))
    told = hand.verify("--vkey", key.verifier.text, "--act", hand.put("forged.jws", forged), file="forged", code=1)
    assert "is not valid" in told


@pytest.mark.parametrize(("minute", "until"), [(2**32 - 1, 0), (29_000_000, 2**32 - 1)])
def test_a_date_beyond_every_calendar_is_told_as_a_number(hand: Hand, minute: int, until: int) -> None:
    key, at = NoteSigner("localhost/log", ED25519, SigningKey(b"l" * 32)), minute * 60_000
    act = (hand.folder / "grant.jws").read_bytes().strip()
    kind = Kind.MUTE_ALL if until else Kind.ACT
    entry = LogEntry(kind, "second", minute, until, b"t" * 16, commitment(b"s" * 32, at, act)).to_bytes()
    signed = sign_checkpoint(Checkpoint("localhost/log", 1, leaf_hash(entry)), key)
    cosigned = signed.raw + signature_line(signed.text, WITNESS, 2**63 - 1)
    hand.put("far", TlogProof(Opening(entry, b"s" * 32, at).to_bytes(), 0, (), cosigned).text)
    told = hand.verify("--vkey", key.verifier.text, "--witness", WITNESS.verifier.text, file="far")
    assert told.count("outside the calendar") == 2
    if not until:
        told = hand.verify("--vkey", key.verifier.text, "--act", hand.path("grant.jws"), file="far")
        assert told.count("outside the calendar") == 2


def test_a_key_that_is_none_is_not_repeated_at_length(hand: Hand) -> None:
    assert "an empty text is neither a verifier key" in hand.verify("--vkey", "", code=2)
    assert len(hand.verify("--vkey", "x" * 6000, code=2)) < 200


def test_every_kind_has_its_words() -> None:
    assert set(KINDS) == set(Kind)


# --- tokens


def test_a_token_counts_with_its_receipt(hand: Hand) -> None:
    told = hand.check()
    assert f"Yes: {hand.audience} may make contact for care by app" in told
    assert "its server accepted exactly this token" in told
    whole = hand.check(acceptance=hand.path("acceptance.jwt"), agreement=hand.path("agreement.json"))
    assert whole == told


def test_until_there_is_a_receipt_a_token_counts_with_its_acceptance_and_agreement(hand: Hand) -> None:
    given = {"acceptance": hand.path("acceptance.jwt"), "agreement": hand.path("agreement.json")}
    assert "there is no receipt yet" in hand.check(receipt="", vkey="", **given)
    for missing in given:
        assert "a token alone proves nothing" in hand.check(2, receipt="", vkey="", **{**given, missing: ""})
    assert "give --vkey" in hand.check(2, vkey="")
    # A key that nothing is checked under would only look as if something had been.
    assert "give --receipt too" in hand.check(2, receipt="", **given)


def test_a_token_is_no_use_otherwise(hand: Hand) -> None:
    assert "(wrong_audience)" in hand.check(1, audience="did:web:evil.example")
    assert "(no_grant)" in hand.check(1, purpose="sales")
    assert "(no_grant)" in hand.check(1, channel="phone")
    assert "(expired)" in hand.check(1, at="2034-01-01")
    assert "(list_out_of_date)" in hand.check(1, at="2024-08-01")
    assert set(REASONS) >= {"not_accepted", "ask", "invalid"}


def test_a_receipt_of_another_act_or_log_does_not_make_a_token_count(hand: Hand) -> None:
    assert "(not_accepted)" in hand.check(1, receipt=hand.path("remember.tlog-proof"))
    # The same entry in a log of another host, whose key was believed.
    parts = parse_proof(hand.receipt())
    signed = open_receipt(hand.receipt(), parse_vkey(hand.vkey)).checkpoint.checkpoint
    elsewhere = NoteSigner("elsewhere.example/log", ED25519, SigningKey(b"y" * 32))
    checkpoint = sign_checkpoint(signed._replace(origin=elsewhere.name), elsewhere).raw
    moved = hand.put("moved", TlogProof(parts.extra, parts.index, parts.hashes, checkpoint).text)
    vkey = elsewhere.verifier.text
    assert "(list_missing)" in hand.check(1, receipt=moved, vkey=vkey)
    assert "(not_accepted)" in hand.check(1, receipt=moved, vkey=vkey, agreement=hand.path("agreement.json"))
    assert "(not_accepted)" in hand.check(1, receipt=moved, vkey=vkey, acceptance=hand.path("acceptance.jwt"))


@pytest.mark.parametrize("name", ["grant.jws", "list.jwt", "keys.json", "acceptance.jwt", "agreement.json", "log.vkey"])
def test_files_about_a_token_that_are_none_are_told_of_in_one_line(hand: Hand, name: str) -> None:
    true = (hand.folder / name).read_bytes()
    everything = {
        "acceptance": hand.path("acceptance.jwt"),
        "agreement": hand.path("agreement.json"),
        "vkey": hand.path("log.vkey"),
        "home-keys": hand.path("keys.json"),
    }
    assert "Yes" in hand.check(**everything)
    spoil: list[Callable[[bytes], bytes]] = [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff" + data,
        lambda data: data.replace(data[40:44], base64.b64encode(data[40:43]), 1),
        lambda data: b"\x1b[2J" + data,
    ]
    for change in spoil:
        hand.put(name, change(true))
        told = hand.check(2 if name == "log.vkey" else 1, **everything)
        assert "\x1b" not in told
    (hand.folder / name).unlink()
    hand.check(2, **everything)
    (hand.folder / name).mkdir()
    hand.check(2, **everything)


def test_a_token_is_checked_through_a_change_of_the_server_s_key(hand: Hand) -> None:
    later = {"status-list": hand.path("later.jwt")}
    for pin in ({}, {"agreement": hand.path("agreement.json")}):
        assert "is not valid" in hand.check(1, **later, **pin), "nobody says that the new key is the server's"
        assert "Yes" in hand.check(**later, **pin, **{"home-keys": hand.path("later.json")})
        # What the first key signed holds still.
        assert "Yes" in hand.check(**pin, **{"home-keys": hand.path("later.json")})
    stranger = SigningKey(b"s" * 32).public.multibase
    kid = f"{hand.home_key.partition('#')[0]}#{stranger}"
    assert "is not valid" in hand.check(1, **{"home-key": kid, "home-keys": hand.path("later.json")})
    hand.check(2, **{"home-key": "not-a-key"})
    hand.check(2, **{"home-key": ""})


def test_a_list_of_keys_that_the_log_does_not_bear_out_does_not_hold(hand: Hand) -> None:
    answer = json.loads((hand.folder / "later.json").read_bytes())
    answer["keys"][1]["places"][0]["index"] += 1
    told = hand.check(
        1, **{"status-list": hand.path("later.jwt"), "home-keys": hand.put("bent.json", json.dumps(answer))}
    )
    assert "is not valid" in told
    answer["keys"] = answer["keys"][1:]
    hand.check(1, **{"home-keys": hand.put("bent.json", json.dumps(answer))})
