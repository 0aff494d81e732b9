"""The demo is run as a reader would run it, and what it leaves is checked with software that is not ours."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import jwt
import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

pytestmark = pytest.mark.xdist_group("demo")


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
        [sys.executable, "-m", "comity_server", "demo", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=110,
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
    assert story.rstrip().endswith("did not.")
    assert story.count("✓") >= 40
    assert ":b:clearview" in story  # names as they are, no emoji made of them


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


def test_a_folder_that_is_not_empty_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    run = subprocess.run(
        [sys.executable, "-m", "comity_server", "demo", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "is not empty" in run.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
