"""The demo is run as a reader would run it, and what it leaves is checked with software that is not ours."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import jwt
import pytest
from joserfc import jws
from joserfc.jwk import OKPKey
from nacl.signing import VerifyKey

from comity.client import over_aiohttp
from comity.client.log.monitor import follow_log
from comity.client.log.monitor_state import MonitorState
from comity.client.log.tile_reader import TileReader
from comity.crypto.keys import Signer, SigningKey
from comity.documents.agreements import open_agreement
from comity.documents.events import Place
from comity.documents.offers import HomeParty
from comity.errors import Refused
from comity.transparency.checkpoints import Policy
from comity.transparency.notes import parse_vkey
from comity.transparency.server_keys import ListedStatement, PlacedStatement, open_home_event, verify_statements
from comity.transparency.server_keys import follow_keys as keys_from
from support.go_tools import judge

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.timeout(700), pytest.mark.xdist_group("demo")]


def b64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header_of(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(b64u(token.split(".")[0]))
    return header


def payload_of(token: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(b64u(token.split(".")[1]))
    return payload


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("demo") / "out"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMITY_")}
    run = subprocess.run(
        [sys.executable, "server", "demo", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    return run.stdout, out


@pytest.fixture(scope="module")
def keys(told: tuple[str, Path]) -> dict[str, dict[str, Any]]:
    listed = json.loads((told[1] / "keys.json").read_text())["keys"]
    assert all((key["kty"], key["crv"]) == ("OKP", "Ed25519") for key in listed)
    by_kid = {key["kid"]: key for key in listed}
    assert len(by_kid) == len(listed)
    return by_kid


def verified(token: str, keys: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The claims by PyJWT's verdict: the kid must be in the key set, byte for byte."""
    key = jwt.PyJWK(keys[header_of(token)["kid"]]).key
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["EdDSA"], options={"verify_aud": False})
    return claims


def test_the_story_holds_and_is_told_for_a_reader(told: tuple[str, Path]) -> None:
    story, _ = told
    assert "✗" not in story
    assert "\x1b[" not in story  # plain where it is not a terminal
    assert story.rstrip().endswith(" checks passed, 0 failed.")
    assert story.count("✓") >= 50
    assert ":b:clearview" in story  # names as they are, no emoji made of them
    for held in ("the log goes on where it stood", "the witness comes back, and cosigns what it missed"):
        assert f"✓ {held}" in story


def test_all_that_is_left_is_listed(told: tuple[str, Path]) -> None:
    story, out = told
    lines = story.partition(f"files written to {out}")[2].splitlines()
    listed = [line.split("  ")[0] for line in lines if "  " in line]
    patterns = [it.replace("NNN-KIND", "[0-9][0-9][0-9]-*") + ("*" if it.endswith("/") else "") for it in listed]
    for path in (str(it.relative_to(out)) for it in out.rglob("*") if it.is_file()):
        assert any(fnmatch(path, pattern) for pattern in patterns), path
    assert all(any(out.glob(pattern)) for pattern in patterns)


def test_every_act_of_the_story_is_verified_by_pyjwt(told: tuple[str, Path], keys: dict[str, dict[str, Any]]) -> None:
    acts = [path.read_text() for path in sorted((told[1] / "acts").glob("*.jws"))]
    kinds = [verified(act, keys)["act"] for act in acts]
    assert {"grant", "mute", "mute_end", "hours", "message", "ask", "answer", "done", "thank", "revoke"} <= set(kinds)
    now = time.time()
    for act in acts:
        times = [payload_of(act).get(name) for name in ("iat", "exp", "until", "when", "lasts")]
        assert all(isinstance(it, int) for it in times if it is not None)
        assert payload_of(act)["iat"] <= now


def test_each_chain_is_whole_by_hashes_alone(told: tuple[str, Path]) -> None:
    chains: dict[tuple[str, str, str], list[str]] = {}
    for path in sorted((told[1] / "acts").glob("*.jws")):
        act = path.read_text()
        chains.setdefault((payload_of(act)["cid"], payload_of(act)["iss"], header_of(act)["typ"]), []).append(act)
    by_side: dict[tuple[str, str, bool], dict[int, str]] = {}
    for (cid, iss, typ), acts in chains.items():
        for act in acts:
            by_side.setdefault((cid, iss, typ == "comity-setting+jwt"), {})[payload_of(act)["seq"]] = act
    for (cid, _, _), acts_by_seq in by_side.items():
        head = cid
        for seq in range(len(acts_by_seq)):
            act = acts_by_seq[seq]
            assert payload_of(act)["prev"] == head
            head = base64.urlsafe_b64encode(hashlib.sha256(act.encode()).digest()).rstrip(b"=").decode()


def test_the_agreement_bears_two_signatures_that_joserfc_accepts(
    told: tuple[str, Path], keys: dict[str, dict[str, Any]]
) -> None:
    agreement = json.loads((told[1] / "agreement.json").read_bytes())
    assert set(agreement) == {"payload", "signatures"}
    assert len(agreement["signatures"]) == 2
    kids = set()
    for entry in agreement["signatures"]:
        header = json.loads(b64u(entry["protected"]))
        kids.add(header["kid"])
        compact = f"{entry['protected']}.{agreement['payload']}.{entry['signature']}"
        registry = jws.JWSRegistry(algorithms=["EdDSA"])
        jws.deserialize_compact(compact, OKPKey.import_key(keys[header["kid"]]), registry=registry)
    parties = json.loads(b64u(agreement["payload"]))
    assert kids == {parties["offerer"]["kid"], parties["accepter"]["kid"]}


def test_the_token_was_good_and_is_not_any_more(told: tuple[str, Path], keys: dict[str, dict[str, Any]]) -> None:
    out = told[1]
    grant = verified((out / "grant.jwt").read_text(), keys)
    reference = grant["status"]["status_list"]
    values = []
    for name in ("statuslist-before.jwt", "statuslist-after.jwt"):
        token = (out / name).read_text()
        assert header_of(token)["typ"] == "statuslist+jwt"
        claims = verified(token, keys)
        assert claims["sub"] == reference["uri"]
        assert isinstance(claims["iat"], int)
        assert claims["iat"] <= time.time()
        packed = zlib.decompress(b64u(claims["status_list"]["lst"]))
        assert claims["status_list"]["bits"] == 2
        assert len(packed) * 4 >= 2**17
        values.append((packed[reference["idx"] // 4] >> (reference["idx"] % 4 * 2)) & 3)
    assert values == [0, 1]


# --- the log ----------------------------------------------------------------------------------------------------------


class Receipt(NamedTuple):
    """A receipt cut apart by hand (C2SP tlog-proof), with the act and the entry that lie beside it."""

    act: bytes
    entry: bytes
    extra: bytes
    place: int
    hashes: list[bytes]
    checkpoint: str


@pytest.fixture(scope="module")
def receipts(told: tuple[str, Path]) -> dict[str, Receipt]:
    found = {}
    for path in sorted((told[1] / "receipts").glob("*.tlog-proof")):
        head, _, checkpoint = path.read_text().partition("\n\n")
        first, extra, index, *hashes = head.split("\n")
        assert (first, extra[:6], index[:6]) == ("c2sp.org/tlog-proof@v1", "extra ", "index ")
        act, entry = told[1] / "acts" / f"{path.stem}.jws", path.with_suffix(".entry")
        lines = [base64.b64decode(it, validate=True) for it in (extra[6:], *hashes)]
        found[path.stem] = Receipt(
            act.read_bytes(), entry.read_bytes(), lines[0], int(index[6:]), lines[1:], checkpoint
        )
    return found


def tree_signed_by(vkey: Path, note: str) -> tuple[int, bytes]:
    """Size and root in a checkpoint, once PyNaCl found that the log or witness with this key signed it."""
    name, id_, typed = vkey.read_text().removesuffix("\n").split("+", 2)
    kind, key = base64.b64decode(typed)[0], base64.b64decode(typed)[1:]
    assert hashlib.sha256(f"{name}\n".encode() + bytes([kind]) + key).hexdigest()[:8] == id_
    text, _, lines = note.rpartition("\n\n")
    (blob,) = (base64.b64decode(it.split()[2]) for it in lines.splitlines() if it.split()[1] == name)
    assert blob[:4].hex() == id_
    said, signature = f"{text}\n", blob[4:]
    if kind == 4:
        said, signature = f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n{said}", blob[12:]
    VerifyKey(key).verify(said.encode(), signature)
    _, size, root = text.splitlines()
    return int(size), base64.b64decode(root)


def root_above(leaf: bytes, index: int, size: int, hashes: list[bytes]) -> bytes:
    """The root to which an audit path leads (RFC 9162, section 2.1.3.2)."""
    at, last, root = index, size - 1, leaf
    for it in hashes:
        assert last
        if at % 2 or at == last:
            root = hashlib.sha256(b"\x01" + it + root).digest()
            while at and not at % 2:
                at, last = at >> 1, last >> 1
        else:
            root = hashlib.sha256(b"\x01" + root + it).digest()
        at, last = at >> 1, last >> 1
    assert not last
    return root


def test_every_act_has_a_receipt_that_commits_to_it(told: tuple[str, Path], receipts: dict[str, Receipt]) -> None:
    assert set(receipts) == {path.stem for path in (told[1] / "acts").iterdir()}
    for name, it in receipts.items():
        entry, salt, at = it.extra[:59], it.extra[59:91], it.extra[91:]
        assert (it.entry, len(at)) == (entry, 8)
        assert entry[27:] == hashlib.sha256(salt + at + it.act).digest()
        assert int.from_bytes(entry[3:7], "big") == int.from_bytes(at, "big") // 60_000
        assert name == f"{it.place:03d}-{payload_of(it.act.decode())['act']}"
    assert len({it.extra[59:91] for it in receipts.values()}) == len(receipts)  # no salt twice


def test_the_log_says_what_kind_of_act_it_was_and_no_more(receipts: dict[str, Receipt]) -> None:
    told = {"mute": 2, "unmute": 4, "revoke": 5, "mute_end": 10, "hours": 10}
    for name, it in receipts.items():
        kind = name.partition("-")[2]
        is_contest = payload_of(it.act.decode()).get("says") == "mislabelled"
        assert it.entry[1] == (14 if is_contest else told.get(kind, 1))
        assert (it.entry[2] == 0) == (it.entry[1] == 10)
    muted = next(it.entry for name, it in receipts.items() if name.endswith("-mute"))
    assert muted[7:11] == bytes(4)  # its end was not shown to the window maker, so the log has none


def test_every_receipt_holds_by_hashes_and_one_signature(told: tuple[str, Path], receipts: dict[str, Receipt]) -> None:
    for it in receipts.values():
        size, root = tree_signed_by(told[1] / "log" / "vkey", it.checkpoint)
        assert it.place < size
        assert root_above(hashlib.sha256(b"\x00" + it.entry).digest(), it.place, size, it.hashes) == root


def test_the_left_log_is_signed_and_has_every_entry_in_its_place(
    told: tuple[str, Path], receipts: dict[str, Receipt]
) -> None:
    log = told[1] / "log"
    note = (log / "checkpoint").read_text()
    size, root = tree_signed_by(log / "vkey", note)
    assert tree_signed_by(told[1] / "witness.vkey", note) == (size, root)
    files = {str(path.relative_to(log)) for path in log.rglob("*") if path.is_file()}
    assert files == {"checkpoint", "vkey", f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}"}
    bundle = (log / f"tile/entries/000.p/{size}").read_bytes()
    entries = [bundle[at + 2 : at + 61] for at in range(0, len(bundle), 61)]
    assert all(bundle[at : at + 2] == b"\x00\x3b" for at in range(0, len(bundle), 61))
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
    assert (log / f"tile/0/000.p/{size}").read_bytes() == b"".join(leaves)
    assert all(entries[it.place] == it.entry for it in receipts.values())
    # What is not about an act that somebody sent: deliveries, the keys of the server and of three businesses, that
    # Mia's mute was over, and that the bakery is away.
    others = [entry[1] for at, entry in enumerate(entries) if at not in {it.place for it in receipts.values()}]
    assert set(others) == {6, 9, 11, 15}
    assert (others.count(9), others.count(11), others.count(15)) == (4, 1, 1)


def test_the_servers_statements_hold_by_the_agreement_alone(told: tuple[str, Path]) -> None:
    """With no network, and no document of the server's: both sides signed its key."""
    out = told[1]
    pinned = open_agreement((out / "agreement.json").read_bytes()).agreement.home
    answer = json.loads((out / "home-keys.json").read_bytes())
    stated = verify_statements(
        ListedStatement(statement=it["statement"], signed=it.get("signed")) for it in answer["keys"]
    )
    chain = [
        PlacedStatement(one, tuple(Place(at["log"], at["index"]) for at in row["places"]))
        for one, row in zip(stated, answer["keys"], strict=True)
    ]
    events = sorted((out / "events").glob("*.jwt"))
    assert len(events) > 10
    for keys in (keys_from(pinned), keys_from(pinned, chain)):
        assert all(open_home_event(path.read_text(), keys).kid == pinned.kid for path in events)
    stranger = HomeParty.of(Signer(pinned.kid, SigningKey(b"s" * 32)))
    with pytest.raises(Refused, match="bad_signature"):
        open_home_event(events[0].read_text(), keys_from(stranger))


@pytest.mark.timeout(600)
def test_go_judges_the_left_log_and_every_receipt(
    told: tuple[str, Path], receipts: dict[str, Receipt], tmp_path: Path
) -> None:
    out, vkey = told[1], told[1] / "log" / "vkey"
    # The judge wants to see the files of a log and no others.
    tree = shutil.copytree(out / "log", tmp_path / "log", ignore=shutil.ignore_patterns("vkey"))
    content, said = judge("tree", tree, vkey, out / "witness.vkey")
    assert content, said
    for name in receipts:
        proof = out / "receipts" / f"{name}.tlog-proof"
        content, said = judge("proof", proof, proof.with_suffix(".entry"), vkey)
        assert content, said
    first, second = (out / "receipts" / f"{name}.entry" for name in list(receipts)[:2])
    assert not judge("proof", first.with_suffix(".tlog-proof"), second, vkey)[0]


async def test_any_file_server_can_serve_the_left_log(told: tuple[str, Path]) -> None:
    out = told[1]
    key, witness = (parse_vkey((out / name).read_text().strip()) for name in ("log/vkey", "witness.vkey"))
    async with aiohttp.ClientSession() as session:
        with file_server(out) as url:
            source = TileReader(f"{url}/log", over_aiohttp(session))
            report = await follow_log(source, MonitorState(key), Policy(1, (witness,)))
    assert report.new == report.served.size == sum(report.state.kinds.values())


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Python's own, which knows nothing of logs."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_folder_that_is_not_empty_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    run = subprocess.run(
        [sys.executable, "-m", "comity_tools", "demo", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "is not empty" in run.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
