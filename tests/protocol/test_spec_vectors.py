"""The vectors of spec/vectors hold, good and bad, and making them again changes nothing."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comity import connection, gate
from comity.acts import open_act
from comity.agreement import Agreement, SignedAgreement, fits_offer, is_alternative, open_agreement, open_half
from comity.chain import compose
from comity.client.bodies import open_body
from comity.encoding import b64u_decode, b64u_encode, hash_id, parse_json
from comity.errors import Malformed, Refused
from comity.events import Opened, open_event
from comity.fold import Record, fold, opening
from comity.grant import check_token
from comity.jws import FindKey
from comity.keys import PublicKey, SigningKey, did_web_url, is_did, key_of_did, keys_of_document
from comity.offer import open_offer, read_link
from comity.signed_request import open_request
from comity.state import Connection, public
from comity.status import StatusList, decode_list, open_status_list, pack, value_at
from comity.wire import decode_problem, encode_problem
from comity.words import Side
from comity.zones import InstalledZones

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "spec" / "vectors"


def load(name: str) -> dict[str, Any]:
    """One file of vectors."""
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def rows(name: str, *lists: str) -> list[Any]:
    """The rows of some lists of a file, as parameters that carry their names."""
    content = load(name)
    return [
        pytest.param(row, id=f"{each}: {row.get('name', number)}")
        for each in lists
        for number, row in enumerate(content[each])
    ]


def finder(name: str) -> FindKey:
    """The keys of did:web parties that a file assumes to be known."""
    return {kid: PublicKey.of_multibase(text) for kid, text in load(name)["keys"].items()}.get


def refused(row: dict[str, Any], attempt: Callable[[], object]) -> None:
    """The attempt is refused with the row's code."""
    with pytest.raises(Refused) as caught:
        attempt()
    assert caught.value.code == row["code"]
    assert isinstance(caught.value, Malformed) == (row["code"] == "malformed")


# --- regenerating


def test_making_the_vectors_again_changes_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(VECTORS / "generate.py"), str(tmp_path)], check=True, cwd=ROOT)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    spec = VECTORS.parent
    kept = [*VECTORS.glob("*.json"), *spec.glob("*.md")]
    assert made == {path.relative_to(spec): path.read_bytes() for path in kept}


# --- keys and names (KEY-1, KEY-3, KEY-5, KEY-6)


@pytest.mark.parametrize("row", rows("keys", "did_key"))
def test_a_seed_has_its_name_and_its_forms(row: dict[str, Any]) -> None:
    key = SigningKey(bytes.fromhex(row["seed"]))
    found = key.public
    assert (found.raw.hex(), found.multibase, found.did) == (row["public"], row["multibase"], row["did"])
    assert (found.kid, found.x25519().hex()) == (row["kid"], row["x25519"])
    assert key_of_did(row["did"]) == found
    message, signature = bytes.fromhex(row["message"]), bytes.fromhex(row["signature"])
    assert key.sign(message) == signature
    assert found.verify(message, signature)


@pytest.mark.parametrize("row", rows("keys", "did_web"))
def test_a_did_web_leads_to_its_document(row: dict[str, Any]) -> None:
    assert is_did(row["did"])
    assert did_web_url(row["did"]) == row["url"]


@pytest.mark.parametrize("row", rows("keys", "bad_did"))
def test_what_is_no_name_of_a_party_is_none(row: dict[str, Any]) -> None:
    assert not is_did(row["did"])
    refused(row, lambda: key_of_did(row["did"]))
    refused(row, lambda: did_web_url(row["did"]))


@pytest.mark.parametrize("row", rows("keys", "bad_public"))
def test_a_key_under_which_anything_could_be_signed_is_none(row: dict[str, Any]) -> None:
    refused(row, lambda: PublicKey.admit(bytes.fromhex(row["public"])))


@pytest.mark.parametrize("row", rows("keys", "documents"))
def test_a_document_gives_its_keys(row: dict[str, Any]) -> None:
    found = keys_of_document(row["did"], row["document"])
    assert {kid: key.multibase for kid, key in found.items()} == row["keys"]


@pytest.mark.parametrize("row", rows("keys", "bad_documents"))
def test_a_document_of_somebody_else_gives_none(row: dict[str, Any]) -> None:
    refused(row, lambda: keys_of_document(row["did"], row["document"]))


# --- JSON (ACT-1, ACT-3)


def _json_bytes(row: dict[str, Any]) -> bytes:
    if "bytes" in row:
        return b64u_decode(row["bytes"])
    text, times, end = row["repeat"]
    return f"{text * times}{end}".encode()


@pytest.mark.parametrize("row", rows("json", "good"))
def test_strict_json_is_read(row: dict[str, Any]) -> None:
    assert parse_json(_json_bytes(row)) == row["value"]


@pytest.mark.parametrize("row", rows("json", "bad"))
def test_json_that_is_not_strict_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: parse_json(_json_bytes(row)))


# --- texts (ACT-2, ACT-5 to ACT-10, OFFER-1 to OFFER-8, AGR-1 to AGR-8, EVENT-1)


@pytest.mark.parametrize("row", rows("acts", "good"))
def test_an_act_of_every_kind_is_read(row: dict[str, Any]) -> None:
    act = open_act(row["jws"], finder("acts"))
    assert (act.id, act.kind, act.raw) == (row["id"], row["kind"], row["jws"])
    assert act.id == hash_id(row["jws"].encode())
    assert json.loads(act.payload.to_json()) == row["payload"]


@pytest.mark.parametrize("row", rows("acts", "bad"))
def test_what_is_no_act_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_act(row["jws"], finder("acts")))
    refused(row, lambda: open_act(row["jws"].encode(), finder("acts")))


@pytest.mark.parametrize("row", rows("offers", "good"))
def test_an_offer_is_read_and_has_its_link(row: dict[str, Any]) -> None:
    signed = open_offer(row["jws"], finder("offers"))
    assert (signed.hash, signed.short, signed.link()) == (row["hash"], row["short"], row["link"])
    assert json.loads(signed.offer.to_json()) == row["payload"]
    assert read_link(row["link"])[1:] == (row["short"], row["hash"])


@pytest.mark.parametrize("row", rows("offers", "bad"))
def test_what_is_no_offer_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_offer(row["jws"], finder("offers")))


@pytest.mark.parametrize("row", rows("offers", "bad_links"))
def test_a_link_to_another_offer_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: read_link(row["link"]))


@pytest.mark.parametrize("row", rows("agreements", "halves"))
def test_a_half_is_read(row: dict[str, Any]) -> None:
    assert open_half(row["raw"].encode()).cid == row["cid"]


@pytest.mark.parametrize("row", rows("agreements", "wholes"))
def test_an_agreement_with_both_signatures_is_read(row: dict[str, Any]) -> None:
    signed = open_agreement(row["raw"].encode())
    assert signed.cid == row["cid"] == hash_id(b64u_decode(json.loads(row["raw"])["payload"]))


@pytest.mark.parametrize("row", rows("agreements", "bad_halves"))
def test_what_is_no_half_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_half(row["raw"].encode()))


@pytest.mark.parametrize("row", rows("agreements", "bad_wholes"))
def test_what_both_did_not_sign_is_no_agreement(row: dict[str, Any]) -> None:
    refused(row, lambda: open_agreement(row["raw"].encode()))


@pytest.mark.parametrize("row", rows("agreements", "fits"))
def test_an_agreement_fits_its_offer_or_not(row: dict[str, Any]) -> None:
    signed = open_offer(load("agreements")["offer"], finder("agreements"))
    agreement = Agreement.model_validate_json(b64u_decode(row["payload"]))
    assert fits_offer(agreement, signed) == row["fits"]
    assert is_alternative(agreement, signed) == row["alternative"]


@pytest.mark.parametrize("row", rows("events", "good"))
def test_an_event_of_every_kind_is_read(row: dict[str, Any]) -> None:
    event = open_event(row["jws"], finder("events")).event
    assert json.loads(event.to_json()) == row["payload"]


@pytest.mark.parametrize("row", rows("events", "bad"))
def test_what_the_home_server_did_not_state_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_event(row["jws"], finder("events")))


# --- chains (CONN-2, CONN-15, CONN-16, CONN-20, FAV-10, EVENT-6)


class VectorZones:
    """The installed rules under the name that the vectors give them."""

    version = "vectors"

    def zone(self, name: str) -> tzinfo | None:
        """The rules of a zone."""
        return InstalledZones().zone(name)


class Reader:
    """Somebody who is shown both chains: opens every text, folds it, and knows the keys that rotations name."""

    def __init__(self, row: dict[str, Any], keys: dict[str, str]) -> None:
        self.agreement: SignedAgreement = open_agreement(json.dumps(row["agreement"]).encode())
        self.keys = {kid: PublicKey.of_multibase(text) for kid, text in keys.items()}
        self.opened = open_event(row["opened"], self.keys.get).event
        assert isinstance(self.opened, Opened)
        self.states: list[Connection] = [opening(self.agreement, self.opened)]

    def read(self, record: dict[str, str]) -> None:
        """Fold one record."""
        act = open_act(record["act"], self.keys.get) if "act" in record else None
        if act is not None and act.kind == "rotate":
            self.keys[act.payload.kid] = PublicKey.of_multibase(act.payload.key)  # type: ignore[union-attr]
        event = open_event(record["event"], self.keys.get).event
        self.states.append(fold(self.states[-1], Record(event, act)))


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_the_state_after_each_record_is_the_one_written_down(row: dict[str, Any]) -> None:
    reader = Reader(row, load("chains")["keys"])
    for record in row["records"]:
        reader.read(record)
        assert public(reader.states[-1]) == record["state"]


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_what_the_server_accepted_is_what_the_rules_accept(row: dict[str, Any]) -> None:
    reader = Reader(row, load("chains")["keys"])
    for record in row["records"]:
        before = reader.states[-1]
        reader.read(record)
        if "act" in record:
            says = record["says"]
            act = open_act(record["act"], reader.keys.get)
            event, after = connection.accept(before, act, says["accepted_at"], says["index"], VectorZones())
            assert json.loads(event.to_json()) == says
            assert after == reader.states[-1]


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_what_was_refused_between_is_refused(row: dict[str, Any]) -> None:
    reader = Reader(row, load("chains")["keys"])
    for record in row["records"]:
        reader.read(record)
    for refusal in row["refusals"]:
        act = open_act(refusal["act"], reader.keys.get)
        refused(refusal, partial(connection.decide, reader.states[refusal["after"]], act, refusal["at"], VectorZones()))


# --- the gate (GATE-2 to GATE-15, HOURS-1 to HOURS-5)


@pytest.mark.parametrize("row", rows("gate", "stories"))
def test_the_gate_says_what_is_written_down(row: dict[str, Any]) -> None:
    reader = Reader(row, load("gate")["keys"])
    for record in row["records"]:
        reader.read(record)
    for check in row["checks"]:
        state = reader.states[check["after"]]
        sender: Side = check["sender"]
        verdict = gate.may(
            state, sender, check["purpose"], check["channel"], check.get("topic"), check["now"], VectorZones()
        )
        assert _told(verdict) == check["verdict"]
        assert _told(verdict.outward()) == check["outward"]


def _told(verdict: gate.Verdict) -> dict[str, Any]:
    members = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "as_of": verdict.as_of._asdict(),
        "valid_until": verdict.valid_until,
        "ends_at": verdict.ends_at,
        "end_shown": verdict.end_shown,
        "grant": verdict.grant,
    }
    return {name: value for name, value in members.items() if value is not None}


# --- offline (STATUS-1, STATUS-8, STATUS-5, STATUS-6, GRANT-8, GRANT-9)


@pytest.mark.parametrize("row", rows("status", "packed"))
def test_entries_are_packed_from_the_least_significant_bit(row: dict[str, Any]) -> None:
    packed = pack(bytes(row["values"]), row["bits"])
    assert packed.hex() == row["packed"]
    assert [value_at(packed, row["bits"], idx) for idx in range(len(row["values"]))] == row["values"]


@pytest.mark.parametrize("row", rows("status", "good"))
def test_a_status_list_is_read_and_is_current_for_its_time(row: dict[str, Any]) -> None:
    content = load("status")
    signed = open_status_list(row["jws"], content["uri"], finder("status"))
    assert {idx: signed.at(int(idx)) for idx in row["at"]} == row["at"]
    assert {now: signed.is_current(int(now)) for now in row["current"]} == row["current"]
    refused({"code": "malformed"}, lambda: signed.at(row["outside"]))


@pytest.mark.parametrize("row", rows("status", "bad"))
def test_what_is_no_status_list_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_status_list(row["jws"], load("status")["uri"], finder("status")))


def test_a_list_that_unpacks_to_more_than_is_read_is_refused() -> None:
    most = StatusList(bits=2, lst=b64u_encode(zlib.compress(bytes(2**24 // 4), 9)))
    assert len(decode_list(most)) == 2**24 // 4
    more = StatusList(bits=2, lst=b64u_encode(zlib.compress(bytes(2**24 // 4 + 1), 9)))
    refused({"code": "malformed"}, lambda: decode_list(more))


@pytest.mark.parametrize("row", rows("grants", "cases"))
def test_a_token_is_worth_what_is_written_down(row: dict[str, Any]) -> None:
    keys, lists = finder("grants"), load("grants")["lists"]
    raw = lists[row["status_list"]] if "status_list" in row else None
    uri = json.loads(b64u_decode(raw.split(".")[1]))["sub"] if raw else ""
    verdict = check_token(
        row["token"],
        audience=row["audience"],
        purpose=row["purpose"],
        channel=row["channel"],
        now=row["now"],
        status_list=open_status_list(raw, uri, keys) if raw else None,
        acceptance=open_event(row["acceptance"], keys) if "acceptance" in row else None,
        agreement=open_agreement(row["agreement"].encode()) if "agreement" in row else None,
    )
    assert (verdict.allowed, verdict.reason) == (row["allowed"], row["reason"])


# --- bodies (BODY-1, BODY-2)


@pytest.mark.parametrize("row", rows("bodies", "good"))
def test_a_body_opens_for_its_reader(row: dict[str, Any]) -> None:
    content = load("bodies")
    assert open_body(row["jwe"], content["cid"], SigningKey(bytes.fromhex(content["seed"]))) == row["body"]


@pytest.mark.parametrize("row", rows("bodies", "bad"))
def test_a_body_for_something_else_does_not_open(row: dict[str, Any]) -> None:
    content = load("bodies")
    refused(row, lambda: open_body(row["jwe"], content["cid"], SigningKey(bytes.fromhex(content["seed"]))))


# --- the wire (HTTP-2, HTTP-4 to HTTP-7)


@pytest.mark.parametrize("row", rows("requests", "good"))
def test_a_signed_request_says_who_reads(row: dict[str, Any]) -> None:
    signed = open_request(
        row["method"], row["url"], row["headers"], row["body"].encode(), row["now"], finder("requests")
    )
    assert signed.kid == row["kid"]


@pytest.mark.parametrize("row", rows("requests", "bad"))
def test_a_request_that_does_not_hold_is_refused(row: dict[str, Any]) -> None:
    refused(
        row,
        lambda: open_request(
            row["method"], row["url"], row["headers"], row["body"].encode(), row["now"], finder("requests")
        ),
    )


@pytest.mark.parametrize("document", [pytest.param(it, id=it["code"]) for it in load("problems")["good"]])
def test_a_problem_is_read_and_written(document: dict[str, Any]) -> None:
    refusal = decode_problem(json.dumps(document).encode())
    assert (refusal.code, refusal.status) == (document["code"], document["status"])
    # A refusal to read always says more than the title, if only the title again.
    assert json.loads(encode_problem(refusal)) == {**({"detail": refusal.detail} if refusal.detail else {}), **document}


@pytest.mark.parametrize("row", rows("problems", "bad"))
def test_what_is_no_problem_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: decode_problem(json.dumps(row["document"]).encode()))


def test_an_act_that_says_nothing_of_its_kind_is_not_composed() -> None:
    refused({"code": "malformed"}, lambda: compose("erasure", None))  # type: ignore[arg-type]
