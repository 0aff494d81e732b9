"""The vectors of spec/vectors hold, good and bad, and making them again changes nothing."""

import hmac
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import tzinfo
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import TypeAdapter

from comity.crypto.encryption import body_key, check_body_form, decrypt_body
from comity.crypto.http_signatures import open_request
from comity.crypto.jws import FindKey, encode_header, no_other_keys, sign_jws
from comity.crypto.keys import (
    PublicKey,
    Signer,
    SigningKey,
    did_document,
    did_of_host,
    did_of_kid,
    did_web_url,
    is_did,
    is_kid,
    key_of_did,
    key_of_jwk,
    key_of_kid,
    keys_of_document,
)
from comity.documents.acts import MODELS, Feedback, SignedAct, open_act
from comity.documents.agreements import (
    Agreement,
    SignedAgreement,
    fits_offer,
    is_alternative,
    open_agreement,
    open_half,
)
from comity.documents.events import (
    Accepted,
    Confirmed,
    Expired,
    MuteOver,
    Opened,
    Place,
    Restored,
    open_event,
    parse_own_event,
)
from comity.documents.names import check_names, comparison_form, normalize_name
from comity.documents.note_values import FILTERS, VALUE_TYPES, note_body, parse_note
from comity.documents.notices import (
    MOST_NOTICES,
    NOTICES_IN,
    PublishedKey,
    choose_text,
    is_in_force,
    key_for_entry,
    open_notice,
    parse_stored_notice,
)
from comity.documents.offers import Allow, HomeParty, open_offer, parse_link
from comity.documents.status_lists import (
    ENTRIES,
    STATUS_LIST_TYPE,
    TTL,
    GrantStatus,
    StatusList,
    decode_list,
    open_home_list,
    open_status_list,
    pack_entries,
    value_at,
)
from comity.documents.timezones import InstalledZones
from comity.documents.types import SIDES, Label, Side, other
from comity.encoding import b64u_decode, b64u_encode, hash_id, parse_json
from comity.errors import Contradiction, Malformed, Refused
from comity.http_api import decode_problem, encode_problem
from comity.rules import decide, erasure, favours, gate, recovery
from comity.rules.allowances import promise_status, promised_grant
from comity.rules.away import is_muted, muted_away_until
from comity.rules.consent_tokens import TokenVerdict, check_token, is_log_of, open_grant
from comity.rules.feedback import check_feedback_message, delivered_messages
from comity.rules.fold import Record, fold, initial_state
from comity.rules.message_lifetime import default_expiry, expiry_warning, public_verdict
from comity.rules.narrowing import is_new_restriction
from comity.rules.next_act import compose_act
from comity.rules.recovery import Heads, merge_records, missing_heads
from comity.rules.renunciations import GrantPart, remaining_parts
from comity.rules.state import Connection, Door, Mute, Renounced, decode_state, public_state
from comity.transparency.checkpoints import Policy, is_witnessed, open_checkpoint, parse_checkpoint, with_cosignatures
from comity.transparency.entries import (
    Kind,
    LogEntry,
    Scope,
    commitment,
    entry_of_act,
    entry_of_delivery,
    entry_of_key,
    entry_of_mute_over,
    entry_of_notice,
    entry_tag,
    key_statement,
    kind_of,
    named_mute,
    parse_entry,
    public_tag_key,
    tag_key,
    tag_scope_of,
)
from comity.transparency.merkle import (
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
    root_of_hashes,
)
from comity.transparency.notes import VerifierKey, check_lines, open_note, parse_vkey, split_lines
from comity.transparency.receipts import Opening, open_receipt, parse_proof, receipt_text
from comity.transparency.server_keys import (
    ListedStatement,
    PlacedStatement,
    follow_keys,
    is_entry_of,
    open_home_event,
    sign_statement,
    verify_statements,
)
from comity.transparency.tiles import (
    Tile,
    bundles_of,
    check_tile,
    decode_bundle,
    encode_bundle,
    node_reader,
    parse_path,
    parse_size,
    root_of_tile,
    tiles_of,
    width_at,
)

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "spec" / "vectors"


@cache
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
    assert (caught.value.until, caught.value.retry_after) == (row.get("until"), row.get("retry_after"))
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
    assert Signer.of_did_key(key).did == row["did"]
    assert (found.kid, found.x25519().hex(), key.seed.hex()) == (row["kid"], row["x25519"], row["seed"])
    assert key_of_did(row["did"]) == found
    message, signature = bytes.fromhex(row["message"]), bytes.fromhex(row["signature"])
    assert key.sign(message) == signature
    assert found.verify(message, signature)


@pytest.mark.parametrize("row", rows("keys", "did_web"))
def test_a_did_web_leads_to_its_document(row: dict[str, Any]) -> None:
    assert is_did(row["did"])
    assert did_web_url(row["did"]) == row["url"]


@pytest.mark.parametrize("row", rows("keys", "bad_did"))
def test_an_invalid_name_of_a_party_is_refused(row: dict[str, Any]) -> None:
    assert not is_did(row["did"])
    refused(row, lambda: key_of_did(row["did"]))
    refused(row, lambda: did_web_url(row["did"]))


@pytest.mark.parametrize("row", rows("keys", "bad_public"))
def test_a_key_under_which_anything_could_be_signed_is_none(row: dict[str, Any]) -> None:
    refused(row, lambda: PublicKey.admit(bytes.fromhex(row["public"])))


def test_the_edge_cases_of_ed25519_have_these_verdicts() -> None:
    content = load("ed25519")
    points, halves, scalars = ([bytes.fromhex(it) for it in content[name]] for name in "ARS")
    for number, raw in enumerate(points):
        if number not in content["admitted"]:
            refused({"code": "malformed"}, partial(PublicKey.admit, raw))
    holds = [
        number
        for number, (a, r, s, message) in enumerate(content["cases"])
        if a in content["admitted"] and PublicKey.admit(points[a]).verify(message.encode(), halves[r] + scalars[s])
    ]
    assert holds == content["holds"]


@pytest.mark.parametrize("row", rows("keys", "documents"))
def test_a_document_gives_its_keys(row: dict[str, Any]) -> None:
    found = keys_of_document(row["did"], row["document"])
    assert {kid: key.multibase for kid, key in found.items()} == row["keys"]


@pytest.mark.parametrize("row", rows("keys", "bad_documents"))
def test_a_document_of_somebody_else_gives_none(row: dict[str, Any]) -> None:
    refused(row, lambda: keys_of_document(row["did"], row["document"]))


# --- names at their borders (KEY-1 to KEY-6, ACT-4)


@pytest.mark.parametrize("row", rows("names", "kids"))
def test_a_kid_names_its_party(row: dict[str, Any]) -> None:
    assert (is_kid(row["kid"]), did_of_kid(row["kid"])) == (True, row["did"])


def test_a_body_is_sealed_to_the_key_of_its_side() -> None:
    for row in load("names")["body_keys"]:
        found = body_key(row["kid"], PublicKey.of_multibase(row["key"]))
        assert (found.kid, found.raw.hex()) == (row["body_kid"], row["x25519"])


@pytest.mark.parametrize("row", rows("names", "no_fragments"))
def test_a_kid_has_one_fragment(row: dict[str, Any]) -> None:
    refused(row, lambda: did_of_kid(row["kid"]))


@pytest.mark.parametrize("row", rows("names", "bad_kids"))
def test_an_invalid_key_id_is_refused(row: dict[str, Any]) -> None:
    assert not is_kid(row["kid"])


@pytest.mark.parametrize("row", rows("names", "bad_multibases"))
def test_an_invalid_spelling_of_a_key_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: PublicKey.of_multibase(row["multibase"]))
    refused(row, lambda: key_of_did(f"did:key:{row['multibase']}"))
    refused(row, lambda: key_of_kid(f"did:key:{row['multibase']}#{row['multibase']}"))


@pytest.mark.parametrize("row", rows("names", "webs", "bad_webs"))
def test_a_did_web_has_a_host_and_a_path_of_its_form(row: dict[str, Any]) -> None:
    assert is_did(row["did"]) == ("code" not in row)
    if "code" in row:
        refused(row, lambda: did_web_url(row["did"]))


@pytest.mark.parametrize("row", rows("names", "no_keys"))
def test_an_invalid_did_key_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: key_of_did(row["did"]))


@pytest.mark.parametrize("row", rows("names", "bad_web"))
def test_an_invalid_url_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: did_web_url(row["did"]))


@pytest.mark.parametrize("row", rows("names", "jwks"))
def test_a_jwk_holds_its_key(row: dict[str, Any]) -> None:
    found = key_of_jwk(row["jwk"])
    assert (found.raw.hex(), found.jwk(row["kid"])) == (row["public"], row["jwk"])


@pytest.mark.parametrize("row", rows("names", "bad_jwks"))
def test_an_invalid_jwk_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: key_of_jwk(row["jwk"]))


@pytest.mark.parametrize("row", rows("names", "documents"))
def test_a_document_gives_the_keys_that_may_assert(row: dict[str, Any]) -> None:
    found = keys_of_document(row["did"], row["document"])
    assert {kid: key.multibase for kid, key in found.items()} == row["keys"]
    if "made" in row:
        assert did_document(row["did"], found) == row["document"]


@pytest.mark.parametrize("row", rows("names", "bad_documents"))
def test_an_invalid_did_document_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: keys_of_document(row["did"], row["document"]))


def test_hosts_have_their_names_and_addresses() -> None:
    content = load("names")
    for row in content["hosts"]:
        assert did_of_host(row["host"], *row["path"]) == row["did"]
    for row in content["urls"]:
        assert did_web_url(row["did"]) == row["url"]


def test_a_name_is_spelled_in_one_way_by_whoever_composes_it() -> None:
    label = TypeAdapter(Label).validate_python
    for row in load("names")["labels"]:
        assert label(normalize_name(row["typed"])) == row["label"] == normalize_name(row["label"])
        check_names({"/name": row["label"], "/other": None})
        if row["typed"] != row["label"]:
            refused({"code": "malformed"}, partial(check_names, {"/other": row["label"], "/name": row["typed"]}))
    for row in load("names")["compared"]:
        assert (comparison_form(row["one"]) == comparison_form(row["two"])) == row["same"], row


@pytest.mark.parametrize("row", rows("names", "bad_labels"))
def test_an_invalid_name_is_not_composed(row: dict[str, Any]) -> None:
    refused(row, lambda: normalize_name(row["typed"]))
    refused(row, lambda: check_names({"/name": row["typed"]}))


@pytest.mark.parametrize("row", rows("names", "signatures"))
def test_a_signature_holds_or_not(row: dict[str, Any]) -> None:
    found = PublicKey.admit(bytes.fromhex(row["public"]))
    assert found.verify(bytes.fromhex(row["message"]), bytes.fromhex(row["signature"])) == row["holds"]


@pytest.mark.parametrize("row", rows("names", "bad_seeds"))
def test_an_invalid_seed_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: SigningKey(bytes.fromhex(row["seed"])))


@pytest.mark.parametrize("row", rows("names", "base64url"))
def test_bytes_have_one_spelling(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["bytes"])
    assert (b64u_encode(raw), b64u_decode(row["text"]), b64u_decode(row["text"].encode())) == (row["text"], raw, raw)


@pytest.mark.parametrize("row", rows("names", "bad_base64url"))
def test_another_spelling_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: b64u_decode(row["text"]))


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
    assert json.loads(act.payload.to_json()) == row.get("payload", json.loads(b64u_decode(row["jws"].split(".")[1])))


@pytest.mark.parametrize("row", rows("acts", "bad"))
def test_an_invalid_act_is_refused(row: dict[str, Any]) -> None:
    raw = row["jws"] * row.get("times", 1)
    refused(row, lambda: open_act(raw, finder("acts")))
    refused(row, lambda: open_act(raw.encode(), finder("acts")))


@pytest.mark.parametrize("row", rows("offers", "good"))
def test_an_offer_is_read_and_has_its_link(row: dict[str, Any]) -> None:
    signed = open_offer(row["jws"], finder("offers"))
    assert (signed.hash, signed.short, signed.link()) == (row["hash"], row["short"], row["link"])
    assert json.loads(signed.offer.to_json()) == row["payload"]
    assert parse_link(row["link"])[1:] == (row["short"], row["hash"])


@pytest.mark.parametrize("row", rows("offers", "bad"))
def test_an_invalid_offer_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_offer(row["jws"], finder("offers")))


@pytest.mark.parametrize("row", rows("offers", "good_links"))
def test_a_link_names_where_the_offer_is_and_what_it_must_hash_to(row: dict[str, Any]) -> None:
    assert parse_link(row["link"]) == (row["origin"], row["short"], row["hash"])


@pytest.mark.parametrize("row", rows("offers", "bad_links"))
def test_a_link_to_another_offer_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: parse_link(row["link"]))


@pytest.mark.parametrize("row", rows("agreements", "halves"))
def test_a_half_is_read(row: dict[str, Any]) -> None:
    assert open_half(row["raw"].encode()).cid == row["cid"]


@pytest.mark.parametrize("row", rows("agreements", "wholes"))
def test_an_agreement_with_both_signatures_is_read(row: dict[str, Any]) -> None:
    signed = open_agreement(row["raw"].encode() + b" " * row.get("blanks", 0))
    assert signed.cid == row["cid"] == hash_id(b64u_decode(json.loads(row["raw"])["payload"]))


@pytest.mark.parametrize("row", rows("agreements", "payloads"))
def test_an_agreement_is_as_long_as_it_may_be(row: dict[str, Any]) -> None:
    payload = b64u_encode(row["payload"].encode() + b" " * row["blanks"])
    raw = json.dumps({"payload": payload, "signatures": row["signatures"]}).encode()
    if "code" in row:
        refused(row, lambda: open_agreement(raw))
    else:
        assert open_agreement(raw).cid == hash_id(b64u_decode(payload))


@pytest.mark.parametrize("row", rows("agreements", "bad_halves"))
def test_an_invalid_half_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_half(row["raw"].encode()))


@pytest.mark.parametrize("row", rows("agreements", "bad_wholes"))
def test_a_text_that_both_did_not_sign_is_no_agreement(row: dict[str, Any]) -> None:
    refused(row, lambda: open_agreement(row["raw"].encode() + b" " * row.get("blanks", 0)))


@pytest.mark.parametrize("row", rows("agreements", "fits"))
def test_an_agreement_fits_its_offer_or_not(row: dict[str, Any]) -> None:
    signed = open_offer(row.get("offer", load("agreements")["offer"]), finder("agreements"))
    agreement = Agreement.model_validate_json(b64u_decode(row["payload"]))
    assert fits_offer(agreement, signed) == row["fits"]
    assert is_alternative(agreement, signed) == row["alternative"]


@pytest.mark.parametrize("row", rows("events", "good"))
def test_an_event_of_every_kind_is_read(row: dict[str, Any]) -> None:
    event = open_event(row["jws"], finder("events")).event
    assert (json.loads(event.to_json()), event.places) == (row["payload"], row["places"])
    assert parse_own_event(row["jws"]) == event
    assert event.is_about(load("events")["cid"]) and not event.is_about(hash_id(b""))
    if isinstance(event, Accepted):
        assert event.includes_act == row["brings_the_act"]


@pytest.mark.parametrize("row", rows("events", "bad"))
def test_an_event_that_the_home_server_did_not_sign_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_event(row["jws"], finder("events")))


# --- forms (ACT-9, OFFER-1 to OFFER-8, AGR-1 to AGR-8, EVENT-1, STATUS-6)

READERS: dict[str, Callable[[str, FindKey], Any]] = {
    "act": lambda raw, find: open_act(raw, find).payload,
    "offer": lambda raw, find: open_offer(raw, find).offer,
    "agreement": lambda raw, find: open_agreement(raw.encode()).agreement,
    "event": lambda raw, find: open_event(raw, find).event,
    "notice": lambda raw, find: open_notice(raw, find).notice,
    "status_list": lambda raw, find: open_status_list(raw, _subject(raw), find).claims,
}


def _subject(raw: str) -> str:
    return str(json.loads(b64u_decode(raw.split(".")[1])).get("sub"))


def _with(value: Any, path: list[str], change: dict[str, Any]) -> Any:
    """A copy of the value, otherwise at the path."""
    name: Any = int(path[0]) if isinstance(value, list) else path[0]
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    if path[1:]:
        copy[name] = _with(copy[name], path[1:], change)
    elif "with" in change:
        copy[name] = change["with"]
    else:
        del copy[name]
    return copy


def _form(form: dict[str, Any], change: dict[str, Any]) -> tuple[Any, str, FindKey]:
    """The payload with a change, signed, and who knows the keys."""
    payload = _with(form["payload"], change["path"].split("/")[1:], change)
    signers = [Signer(it["kid"], SigningKey(bytes.fromhex(it["seed"]))) for it in form["signers"]]
    find = {signer.kid: signer.key.public for signer in signers}.get
    text = json.dumps(payload).encode()
    if form["reader"] != "agreement":
        return payload, sign_jws(text, form["typ"], signers[0]), find
    encoded = b64u_encode(text)
    heads = [encode_header(form["typ"], signer.kid) for signer in signers]
    signatures = [
        {"protected": head, "signature": b64u_encode(signer.key.sign(f"{head}.{encoded}".encode()))}
        for head, signer in zip(heads, signers, strict=True)
    ]
    return payload, json.dumps({"payload": encoded, "signatures": signatures}), find


@pytest.mark.parametrize("row", rows("forms", "forms"))
def test_a_member_may_be_what_the_page_says(row: dict[str, Any]) -> None:
    for change in row["good"]:
        payload, raw, find = _form(row, change)
        assert json.loads(READERS[row["reader"]](raw, find).to_json()) == payload


@pytest.mark.parametrize("row", rows("forms", "forms"))
def test_a_member_may_be_nothing_else(row: dict[str, Any]) -> None:
    for change in row["bad"]:
        _, raw, find = _form(row, change)
        with pytest.raises(Refused) as caught:
            READERS[row["reader"]](raw, find)
        assert caught.value.code == change["code"]
        # Where it says where the fault lies, that is there, within it, or around it.
        for pointer, _ in caught.value.errors:
            assert f"{change['path']}/".startswith(f"{pointer}/") or pointer.startswith(f"{change['path']}/"), pointer


# --- chains (CONN-2, CONN-15, CONN-16, CONN-20, CONN-24, FAV-10, EVENT-6)


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
        self.records: list[Record] = []
        self.states: list[Connection] = [initial_state(self.agreement, self.opened)]
        if "begins" in row:
            # Where its doors hold more than a few records can bring about.
            self.states = [decode_state(json.dumps(row["begins"]).encode())]

    def read(self, record: dict[str, str]) -> None:
        """Fold one record."""
        act = open_act(record["act"], self.keys.get) if "act" in record else None
        if act is not None and act.kind == "rotate":
            self.keys[act.payload.kid] = PublicKey.of_multibase(act.payload.key)  # type: ignore[union-attr]
        event = open_event(record["event"], self.keys.get).event
        self.records.append(Record(event, act))
        self.states.append(fold(self.states[-1], self.records[-1]))


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_feedback_is_about_a_message_that_came_in_time(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for given in row["named"]:
        state, act = reader.states[given["after"]], open_act(given["act"], reader.keys.get)
        assert isinstance(act.payload, Feedback)
        side, named = state.side_of(act.payload.iss), delivered_messages(reader.records[: given["after"]])
        assert side is not None
        attempt = partial(check_feedback_message, state, side, act.payload, named.get(act.payload.message), given["at"])
        if "code" in given:
            refused(given, attempt)
        else:
            attempt()


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_duties_and_favours_follow_from_the_state(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for given in row["looks"]:
        state, now = reader.states[given["after"]], given["now"]
        for side in SIDES:
            owed = erasure.erasure_duty(state, side)
            told = owed and {**owed._asdict(), "status": owed.status(now), "was_late": owed.was_late}
            assert told == given["duties"][side]
        assert list(favours.balance(state, now)) == given["balance"]
        assert {side: state.door(side).settings.mailbox for side in SIDES} == given["mailboxes"]


@cache
def whole_reader(file: str, name: str) -> Reader:
    """Somebody who was shown all records of a chain or story."""
    content = load(file)
    row = next(row for row in content["stories" if file == "gate" else "chains"] if row["name"] == name)
    reader = Reader(row, content["keys"])
    for record in row["records"]:
        reader.read(record)
    return reader


def applied(state: Any, changed: Any) -> Any:
    """The value after a change that is written down as `gone` and `come`, as members, or as a new value."""
    if isinstance(changed, dict) and changed.keys() == {"gone", "come"}:
        rest = [item for place, item in enumerate(state or []) if place not in changed["gone"]]
        return [*rest, *changed["come"]]
    if isinstance(changed, dict) and isinstance(state, dict):
        members = {**state, **{name: applied(state.get(name), it) for name, it in changed.items()}}
        return {name: it for name, it in members.items() if it is not None and it != []}
    return changed


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_the_state_after_each_record_is_the_one_written_down(row: dict[str, Any]) -> None:
    reader = Reader(row, load("chains")["keys"])
    state = {name: it for name, it in row["begins"].items() if name != "at"}
    assert public_state(reader.states[-1]) == state
    for record in row["records"]:
        reader.read(record)
        state = applied(state, record["changed"])
        assert public_state(reader.states[-1]) == state


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_a_side_that_is_not_shown_a_message_folds_the_same_state(row: dict[str, Any]) -> None:
    reader = Reader(row, load("chains")["keys"])
    for record in row["records"]:
        before = reader.states[-1]
        reader.read(record)
        event = open_event(record["event"], reader.keys.get).event
        if isinstance(event, Accepted) and event.kind == "message":
            assert fold(before, Record(event)) == reader.states[-1]


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_acts_that_the_server_accepted_are_accepted_by_the_rules(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for number, record in enumerate(row["records"]):
        stated = reader.records[number].event
        if isinstance(stated, Restored):
            place = Place(stated.log, stated.index)
            assert recovery.restored_event(reader.states[number], stated.at, place) == stated
        elif isinstance(stated, Confirmed):
            place = Place(stated.log, stated.index)
            assert recovery.confirmed_event(reader.states[number], stated.side, stated.at, place) == stated
        elif isinstance(stated, Expired) and "by_other_rules" not in record:
            before, place = reader.states[number], Place(stated.log, stated.index)
            expired = decide.expire_held(before, stated.side, stated.act, stated.at, place, VectorZones())
            assert expired == (stated, reader.states[number + 1])
        if not isinstance(stated, Accepted) or "by_other_rules" in record:
            continue
        act, after = open_act(record["act"], reader.keys.get), reader.states[number + 1]
        place = Place(stated.log, stated.index)
        event, state = decide.accept(reader.states[number], act, stated.at, place, VectorZones())
        assert (event, state) == (stated, after)
        # Where a mute had to be over first, the server took the act up a millisecond before it stated the acceptance.
        at, over = record.get("at", stated.at), reader.records[number - 1].event
        if not (isinstance(over, MuteOver) and over.at == at):
            assert decide.accept_next(reader.states[number], act, at, place, VectorZones()) == ((stated,), after)
            continue
        before, first = reader.states[number - 1], Place(over.log, over.index)
        assert decide.accept_next(before, act, at, first, VectorZones()) == ((over, stated), after)


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_acts_that_were_refused_in_between_are_refused(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for refusal in row["refusals"]:
        keys = reader.keys | {kid: PublicKey.of_multibase(text) for kid, text in refusal.get("keys", {}).items()}
        act = open_act(refusal["act"], keys.get)
        refused(refusal, partial(decide.decide, reader.states[refusal["after"]], act, refusal["at"], VectorZones()))


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_a_record_that_cannot_follow_is_a_contradiction(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for given in row["contradictions"]:
        keys = reader.keys | {kid: PublicKey.of_multibase(text) for kid, text in given.get("keys", {}).items()}
        act = open_act(given["act"], keys.get) if "act" in given else None
        event = open_event(given["event"], keys.get).event
        with pytest.raises(Contradiction):
            fold(reader.states[given["after"]], Record(event, act))


@pytest.mark.parametrize("row", rows("chains", "openings"))
def test_an_event_opens_its_own_connection_and_no_other(row: dict[str, Any]) -> None:
    agreement = open_agreement(json.dumps(row["agreement"]).encode())
    keys = {kid: PublicKey.of_multibase(text) for kid, text in load("chains")["keys"].items()}
    opened = open_event(row["event"], keys.get).event
    assert isinstance(opened, Opened)
    if "state" in row:
        assert public_state(initial_state(agreement, opened)) == row["state"]
        return
    with pytest.raises(Contradiction):
        initial_state(agreement, opened)


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_held_messages_are_released_at_the_listed_times(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for given in row["releases"]:
        before = reader.states[given["after"]]
        assert decide.next_release_at(before, before.at, VectorZones()) == given["due"]
        events, _ = decide.release_held(before, given["at"], Place(given["log"], given["index"]), VectorZones())
        assert [json.loads(event.to_json()) for event in events] == given["events"]


@pytest.mark.parametrize("row", rows("chains", "chains"))
def test_a_no_closes_something_or_says_it_again(row: dict[str, Any]) -> None:
    reader = whole_reader("chains", row["name"])
    for given in row["closings"]:
        state, act = reader.states[given["after"]], open_act(given["act"], reader.keys.get)
        side = state.side_of(act.payload.iss)
        assert side is not None
        assert is_new_restriction(state, side, act.payload, given["at"]) == given["closes"], given["name"]


# --- the gate (GATE-2 to GATE-15, HOURS-1 to HOURS-5)


@pytest.mark.parametrize("row", rows("gate", "stories"))
def test_the_gate_says_what_is_written_down(row: dict[str, Any]) -> None:
    reader = whole_reader("gate", row["name"])
    rests_on: dict[str, Any] = {}
    for check in row["checks"]:
        state = reader.states[check["after"]]
        # What a verdict rests on is left out where it is as in the check before.
        rests_on = check["verdict"].get("as_of", rests_on)
        sender: Side = check["sender"]
        verdict = gate.may(
            state, sender, check["purpose"], check["channel"], check.get("topic"), check["now"], VectorZones()
        )
        assert _told(verdict) == {"as_of": rests_on, **check["verdict"]}
        assert _told(verdict.outward()) == {"as_of": rests_on, **check.get("outward", check["verdict"])}


@pytest.mark.parametrize("row", rows("gate", "stories"))
def test_how_long_a_message_waits_rests_on_what_its_sender_sees(row: dict[str, Any]) -> None:
    reader = whole_reader("gate", row["name"])
    for given in row["shown"]:
        state, now = reader.states[given["after"]], given["now"]
        found = public_verdict(state, given["sender"], given["purpose"], given["topic"], now, VectorZones())
        assert _told(found) == given["verdict"]


def test_the_reasons_and_their_decisions_are_those_written_down() -> None:
    content = load("gate")
    assert [{"reason": reason, "decision": it} for reason, it in gate.REASONS.items()] == content["reasons"]
    nobody = gate.may(None, "first", "care", "app", None, content["nobody"]["now"], VectorZones())
    assert _told(nobody) == content["nobody"]["verdict"]


@pytest.mark.parametrize("row", rows("gate", "stories"))
def test_a_status_list_says_of_grants_what_is_written_down(row: dict[str, Any]) -> None:
    reader = whole_reader("gate", row["name"])
    for given in row["offline"]:
        state, now = reader.states[given["after"]], given["now"]
        grants = [it for it in state.door(given["side"]).grants if it.id in given["status"]]
        said = {}
        for grant in grants:
            over = grant.exp * 1000 <= now or gate.is_fully_renounced(state.door(other(given["side"])), grant)
            asks = gate.undecidable_until(state, given["side"], grant) > now
            said[grant.id] = GrantStatus.INVALID if over else GrantStatus.ASK if asks else 0
        assert said == given["status"]


def _told(verdict: gate.Verdict) -> dict[str, Any]:
    members = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "as_of": msgspec.to_builtins(verdict.as_of),
        "valid_until": verdict.valid_until,
        "ends_at": verdict.ends_at,
        "end_shown": verdict.end_shown,
        "grant": verdict.grant,
        "contest": list(msgspec.to_builtins(verdict.contest)) or None,
    }
    return {name: value for name, value in members.items() if value is not None}


# --- offline (STATUS-1, STATUS-8, STATUS-5, STATUS-6, GRANT-8, GRANT-9)


@pytest.mark.parametrize("row", rows("status", "packed"))
def test_entries_are_packed_from_the_least_significant_bit(row: dict[str, Any]) -> None:
    packed = pack_entries(bytes(row["values"]), row["bits"])
    assert packed.hex() == row["packed"]
    assert [value_at(packed, row["bits"], idx) for idx in range(len(row["values"]))] == row["values"]


@pytest.mark.parametrize("row", rows("status", "good"))
def test_a_status_list_is_read_and_is_current_for_its_time(row: dict[str, Any]) -> None:
    content = load("status")
    signed = open_status_list(row["jws"], content["uri"], finder("status"))
    assert {idx: signed.at(int(idx)) for idx in row["at"]} == row["at"]
    assert {now: signed.is_current(int(now)) for now in row["current"]} == row["current"]
    for outside in row["outside"]:
        refused({"code": "malformed"}, partial(signed.at, outside))


@pytest.mark.parametrize("row", rows("status", "bad"))
def test_an_invalid_status_list_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_status_list(row["jws"], load("status")["uri"], finder("status")))


def test_a_list_that_unpacks_to_more_than_is_read_is_refused() -> None:
    for row in load("status")["unpacked"]:
        packed = StatusList(bits=row["bits"], lst=b64u_encode(zlib.compress(bytes(row["zeros"]), 9)))
        if "code" in row:
            refused(row, partial(decode_list, packed))
        else:
            assert len(decode_list(packed)) == row["zeros"]


def test_a_server_makes_lists_of_this_form() -> None:
    assert load("status")["made"] == {"entries": ENTRIES, "ttl": TTL, "media_type": STATUS_LIST_TYPE}


def test_a_list_may_be_as_long_as_this() -> None:
    content = load("status")
    row, signer = content["longest"], Signer(content["kid"], SigningKey(bytes.fromhex(content["seed"])))
    payload = json.dumps(row["claims"]).encode()
    room = row["characters"] - len(sign_jws(b"", "statuslist+jwt", signer))
    longest = sign_jws(payload.ljust(room * 3 // 4), "statuslist+jwt", signer)
    assert open_status_list(longest, content["uri"], finder("status")).raw == longest
    longer = sign_jws(payload.ljust(room * 3 // 4 + 1), "statuslist+jwt", signer)
    refused({"code": "too_large"}, lambda: open_status_list(longer, content["uri"], finder("status")))


def test_a_list_may_be_larger_than_other_texts() -> None:
    """Stored, not compressed: it does not fit into 64 KiB."""
    content = load("status")
    row, signer = content["large"], Signer(content["kid"], SigningKey(bytes.fromhex(content["seed"])))
    lst = b64u_encode(zlib.compress(bytes(row["zeros"]), 0))
    claims = {**row["claims"], "status_list": {"bits": row["bits"], "lst": lst}}
    raw = sign_jws(json.dumps(claims).encode(), "statuslist+jwt", signer)
    assert open_status_list(raw, content["uri"], finder("status")).packed == bytes(row["zeros"])


@pytest.mark.parametrize("row", rows("status", "bad_packed"))
def test_a_value_too_large_for_its_bits_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: pack_entries(bytes(row["values"]), row["bits"]))


@pytest.mark.parametrize("row", rows("grants", "cases"))
def test_a_token_is_worth_what_is_written_down(row: dict[str, Any]) -> None:
    keys, lists = finder("grants"), load("grants")["lists"]
    grant = open_grant(row["token"], keys)
    assert (grant.id, grant.raw, grant.kind) == (hash_id(row["token"].encode()), row["token"], "grant")
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


def test_a_log_is_a_home_server_s_by_its_name() -> None:
    for row in load("tokens")["names"]:
        assert is_log_of(row["log"], row["home"]) == row["is_its"], row


@pytest.mark.parametrize("row", rows("tokens", "cases"))
def test_a_token_with_its_receipt_is_worth_what_is_written_down(row: dict[str, Any]) -> None:
    content, keys = load("tokens"), finder("tokens")
    texts = {
        name: content["texts"][row[name]]
        for name in ("token", "list", "agreement", "acceptance", "receipt")
        if name in row
    }
    receipt = None
    if "receipt" in texts:
        origin = texts["receipt"].split("\n\n", 1)[1].split("\n")[0]
        receipt = open_receipt(texts["receipt"], parse_vkey(content["logs"][origin]))

    def weigh() -> TokenVerdict:
        return check_token(
            texts["token"],
            audience=row["audience"],
            purpose="care",
            channel="app",
            now=json.loads(b64u_decode(texts["token"].split(".")[1]))["iat"] + 30,
            status_list=open_status_list(texts["list"], content["uri"], keys) if "list" in texts else None,
            acceptance=open_event(texts["acceptance"], keys) if "acceptance" in texts else None,
            agreement=open_agreement(texts["agreement"].encode()) if "agreement" in texts else None,
            receipt=receipt,
            find_key=keys if row.get("known", True) else no_other_keys,
        )

    if "code" in row:
        refused(row, weigh)
        return
    verdict = weigh()
    assert (verdict.allowed, verdict.reason) == (row["allowed"], row["reason"])


# --- bodies (BODY-1, BODY-2, BODY-5)


def _longer(row: dict[str, Any]) -> str:
    """The body, its ciphertext so many characters longer."""
    parts = row["jwe"].split(".")
    if "longer" in row:
        parts[3] += "A" * row["longer"]
    return ".".join(parts)


@pytest.mark.parametrize("row", rows("bodies", "good_forms"))
def test_a_text_of_the_form_of_a_body_is_accepted_unopened(row: dict[str, Any]) -> None:
    check_body_form(_longer(row), load("bodies")["cid"])


@pytest.mark.parametrize("row", rows("bodies", "bad_forms"))
def test_a_body_of_another_form_is_refused_and_opens_for_nobody(row: dict[str, Any]) -> None:
    content = load("bodies")
    refused(row, lambda: check_body_form(_longer(row), content["cid"]))
    refused(row, lambda: decrypt_body(_longer(row), content["cid"], SigningKey(bytes.fromhex(content["seed"]))))


@pytest.mark.parametrize("row", rows("bodies", "good"))
def test_a_body_opens_for_its_reader(row: dict[str, Any]) -> None:
    content = load("bodies")
    assert decrypt_body(row["jwe"], content["cid"], SigningKey(bytes.fromhex(content["seed"]))) == row["body"]


@pytest.mark.parametrize("row", rows("bodies", "bad"))
def test_a_body_for_something_else_does_not_open(row: dict[str, Any]) -> None:
    content = load("bodies")
    refused(row, lambda: decrypt_body(row["jwe"], content["cid"], SigningKey(bytes.fromhex(content["seed"]))))


# --- notices (NOTICE-1 to NOTICE-3)


@pytest.mark.parametrize("row", rows("notices", "good"))
def test_a_notice_says_what_its_business_signed(row: dict[str, Any]) -> None:
    signed = open_notice(row["jws"], finder("notices"))
    assert parse_stored_notice(row["jws"]) == signed.notice
    assert (signed.id, json.loads(signed.notice.to_json())) == (row["id"], row["payload"])


@pytest.mark.parametrize("row", rows("notices", "bad"))
def test_an_invalid_notice_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_notice(row["jws"], finder("notices")))


def test_so_many_notices_of_one_business_count() -> None:
    assert load("notices")["limit"] == {"notices": MOST_NOTICES, "seconds": NOTICES_IN}


# --- notes (NOTE-1 to NOTE-5)


@pytest.mark.parametrize("row", rows("notes", "good"))
def test_a_note_with_the_form_of_its_key_is_composed_and_understood(row: dict[str, Any]) -> None:
    key, body = row["key"], row["body"]
    assert note_body(key, None, body.get("value"), body.get("text")) == (body or None)
    note = parse_note(key, body)
    assert (note.value, note.text, note.known) == (body.get("value"), body.get("text"), key in VALUE_TYPES)


@pytest.mark.parametrize("row", rows("notes", "bad"))
def test_a_note_with_another_form_is_refused_and_shown_as_text(row: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as fault:
        note_body(row["key"], None, row["body"].get("value"))
    pointers = [pointer for pointer, _ in fault.value.errors]
    assert pointers and all(f"{pointer}/".startswith(f"{row['pointer']}/") for pointer in pointers)
    note = parse_note(row["key"], row["body"])
    assert not note.known and note.value == row["shown"] and len(note.value or "") <= 200


@pytest.mark.parametrize("row", rows("notes", "refused"))
def test_a_note_that_no_wallet_would_understand_is_not_composed(row: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as fault:
        note_body(row["key"], row["topic"], row["value"], row["text"])
    assert [pointer for pointer, _ in fault.value.errors] == [row["pointer"]]


@pytest.mark.parametrize("row", rows("notes", "shown"))
def test_a_note_is_shown_as_is_written_down(row: dict[str, Any]) -> None:
    note = parse_note(row["key"], row["body"])
    assert (note.value, note.text, note.known) == (row["value"], row["text"], row["known"])


def test_a_name_in_a_note_is_spelled_in_one_way() -> None:
    for row in load("notes")["spelled"]:
        body = None if row["value"] is None else {"value": row["value"]}
        assert note_body(row["key"], row.get("topic"), row["typed"]) == body


def test_nobody_is_chosen_by_anything_but_these_notes() -> None:
    assert sorted(FILTERS) == load("notes")["filters"]


# --- the log (LOG-1 to LOG-11)

NODES = [[leaf_hash(b"entry %d" % number) for number in range(600)]]
while len(NODES[-1]) > 1:
    NODES.append([node_hash(*NODES[-1][at : at + 2]) for at in range(0, len(NODES[-1]) - 1, 2)])


def _node(height: int, index: int) -> bytes:
    return NODES[height][index]


def _unhex(hashes: list[str]) -> list[bytes]:
    return [bytes.fromhex(it) for it in hashes]


def _in_order(low: int, high: int) -> bytes:
    """The root over some entries as RFC 6962 section 2.1 defines it, with nothing of ours in it."""
    if high - low < 2:
        return sha256(b"".join(b"\0entry %d" % number for number in range(low, high))).digest()
    split = low + (1 << (high - low - 1).bit_length() - 1)
    return sha256(b"\1" + _in_order(low, split) + _in_order(split, high)).digest()


def test_entries_and_nodes_are_hashed_as_written_down() -> None:
    content = load("log")
    for row in content["leaves"]:
        assert leaf_hash(bytes.fromhex(row["entry"])).hex() == row["hash"]
    for row in content["nodes"]:
        assert node_hash(bytes.fromhex(row["left"]), bytes.fromhex(row["right"])).hex() == row["hash"]
    for row in content["roots"]:
        size = row["size"]
        assert root_of(size, _node).hex() == _in_order(0, size).hex() == row["root"]


def test_nothing_is_proved_of_what_is_not_in_a_tree() -> None:
    for row in load("log_edges")["bad_ranges"]:
        prove = prove_inclusion if "index" in row else prove_consistency
        with pytest.raises(ValueError, match=r"no such leaf|the new size is smaller than the old one"):
            prove(row.get("index", row.get("old")), row["size"], _node)
    for row in load("log")["roots"]:
        assert root_of_hashes(NODES[0][: row["size"]]).hex() == row["root"]


def test_entries_of_a_tree_have_the_listed_proofs() -> None:
    for row in [*load("log")["inclusion"], *load("log_edges")["inclusion"]]:
        index, size, proof = row["index"], row["size"], _unhex(row["proof"])
        assert prove_inclusion(index, size, _node) == proof
        assert check_inclusion(NODES[0][index], index, size, proof, root_of(size, _node))
    for row in [*load("log")["consistency"], *load("log_edges")["consistency"]]:
        old, new, proof = row["old"], row["new"], _unhex(row["proof"])
        assert prove_consistency(old, new, _node) == proof
        assert check_consistency(old, root_of(old, _node), new, root_of(new, _node), proof)


def test_the_files_of_a_log_lie_and_look_as_written_down() -> None:
    content = load("log")
    for row in content["paths"]:
        tile = Tile(row["level"], row["number"], row["width"])
        assert (tile.path, parse_path(row["path"])) == (row["path"], tile)
    for row in content["files"]:
        assert [it.path for it in (*tiles_of(row["size"]), *bundles_of(row["size"]))] == row["paths"]
    for row in content["bundles"]:
        entries, data = _unhex(row["entries"]), bytes.fromhex(row["bundle"])
        assert (encode_bundle(entries), decode_bundle(Tile(-1, 0, len(entries)), data)) == (data, entries)


@pytest.mark.parametrize("row", rows("log", "bad_paths"))
def test_an_invalid_path_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: parse_path(row["path"]))


@pytest.mark.parametrize("row", rows("log", "bad_bundles"))
def test_an_invalid_bundle_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: decode_bundle(Tile(-1, 0, row["width"]), bytes.fromhex(row["bundle"])))


@pytest.mark.parametrize("row", rows("log", "vkeys"))
def test_a_verifier_key_is_read(row: dict[str, Any]) -> None:
    found = parse_vkey(row["vkey"])
    assert (found.name, found.kind, found.key.raw.hex()) == (row["name"], row["kind"], row["public"])
    assert (found.id.hex(), found.text) == (row["id"], row["vkey"])


@pytest.mark.parametrize("row", rows("log", "bad_vkeys"))
def test_an_invalid_verifier_key_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: parse_vkey(row["vkey"]))


def _known() -> list[VerifierKey]:
    return [parse_vkey(text) for text in load("log")["known"]]


@pytest.mark.parametrize("row", rows("log", "notes"))
def test_a_note_is_read(row: dict[str, Any]) -> None:
    note = open_note(row["note"], _known())
    assert note.text == row["text"]
    assert [{"name": key.name, "time": time} for key, time in note.signatures] == row["signatures"]


@pytest.mark.parametrize("row", rows("log", "bad_notes"))
def test_a_note_without_a_known_signature_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_note(row["note"], _known()))


def _log() -> VerifierKey:
    return parse_vkey(load("log")["log"])


def _witnesses() -> list[VerifierKey]:
    return [parse_vkey(text) for text in load("log")["witnesses"]]


@pytest.mark.parametrize("row", rows("log", "checkpoints"))
def test_a_checkpoint_is_read(row: dict[str, Any]) -> None:
    found = open_checkpoint(row["checkpoint"], _log(), _witnesses())
    assert (found.origin, found.size, found.root.hex()) == (_log().name, row["size"], row["root"])
    assert found.cosignatures == row["cosignatures"]


@pytest.mark.parametrize("row", rows("log", "bad_checkpoints"))
def test_an_invalid_checkpoint_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_checkpoint(row["checkpoint"], _log(), _witnesses()))


@pytest.mark.parametrize("row", rows("log", "cosignatures"))
def test_a_witness_signs_the_message_that_is_written_down(row: dict[str, Any]) -> None:
    witness = parse_vkey(row["vkey"])
    ((name, blob),) = split_lines(row["line"])
    assert (name, blob[:4], int.from_bytes(blob[4:12], "big")) == (witness.name, witness.id, row["time"])
    assert witness.key.verify(row["message"].encode(), blob[12:])
    (signature,) = check_lines(row["text"], [(name, blob)], [witness])
    assert signature.time == row["time"]


def _says(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("kind", "side", "time", "until", "tag", "commitment", "entry")}


def _told_of(entry: LogEntry) -> dict[str, Any]:
    assert parse_entry(entry.to_bytes()) == entry
    members = entry._asdict() | {"tag": entry.tag.hex(), "commitment": entry.commitment.hex()}
    return {**members, "entry": entry.to_bytes().hex()}


def _key_of(scope: Scope) -> bytes:
    return tag_key(bytes.fromhex(load("log")["secret"]), scope)


def _act(name: str) -> SignedAct:
    return open_act(next(row["jws"] for row in load("acts")["good"] if row["name"] == name), finder("acts"))


@pytest.mark.parametrize("row", rows("log", "acts"))
def test_the_log_says_of_an_act_what_is_written_down(row: dict[str, Any]) -> None:
    act, side = _act(row["act"]), row["by"]
    assert tag_scope_of(act, side) == row["scope"]
    muted: Any = _act(row["muted"]).payload if "muted" in row else None
    entry = entry_of_act(act, side, _key_of(row["scope"]), bytes.fromhex(row["salt"]), row["at"], muted)
    assert _told_of(entry) == _says(row)


def test_every_kind_of_act_and_setting_has_an_entry_written_down() -> None:
    assert {_act(row["act"]).kind for row in load("log")["acts"]} == set(MODELS)


@pytest.mark.parametrize("row", rows("log", "deliveries"))
def test_the_log_says_of_a_delivery_what_is_written_down(row: dict[str, Any]) -> None:
    salt = bytes.fromhex(row["salt"])
    raw = _act(row["act"]).raw
    entry = entry_of_delivery(raw, row["purpose"], row["by"], _key_of("both"), salt, row["at"])
    assert _told_of(entry) == _says(row)


@pytest.mark.parametrize("row", rows("log", "overs"))
def test_the_log_says_of_a_mute_that_is_over_what_is_written_down(row: dict[str, Any]) -> None:
    salt, raw = bytes.fromhex(row["salt"]), _act(row["act"]).raw
    assert _told_of(entry_of_mute_over(raw, row["by"], _key_of("both"), salt, row["at"])) == _says(row)


@pytest.mark.parametrize("row", rows("log", "keys"))
def test_the_log_says_of_a_key_what_is_written_down(row: dict[str, Any]) -> None:
    statement = key_statement(row["did"], row["kid"], row["key"], row["at"])
    assert statement.decode() == row["statement"]
    assert _told_of(
        entry_of_key(statement, public_tag_key(row["did"]), bytes.fromhex(row["salt"]), row["at"])
    ) == _says(row)


@pytest.mark.parametrize("row", rows("log", "bad_entries"))
def test_an_invalid_entry_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: parse_entry(bytes.fromhex(row["entry"])))


def test_tags_and_commitments_are_made_as_written_down() -> None:
    """And by nothing but the hash functions of the standard library."""
    content = load("log")
    secret = bytes.fromhex(content["secret"])
    keys = {row["scope"]: bytes.fromhex(row["key"]) for row in content["tag_keys"]}
    for scope, key in keys.items():
        assert tag_key(secret, scope) == key == hmac.digest(secret, f"comity.tag-key.v1\0{scope}".encode(), "sha256")
    for row in content["tags"]:
        key, epoch = keys[row["scope"]], row["at"] // 604_800_000
        by_hand = hmac.digest(key, b"comity.tag.v1\0" + epoch.to_bytes(4, "big"), "sha256")[:16]
        assert (entry_tag(key, row["at"]).hex(), by_hand.hex(), epoch) == (row["tag"], row["tag"], row["epoch"])
    for row in content["commitments"]:
        salt, data = bytes.fromhex(row["salt"]), bytes.fromhex(row["bytes"])
        by_hand = sha256(salt + row["at"].to_bytes(8, "big") + data).digest()
        assert commitment(salt, row["at"], data).hex() == by_hand.hex() == row["commitment"]


@pytest.mark.parametrize("row", rows("log", "receipts"))
def test_a_receipt_is_read(row: dict[str, Any]) -> None:
    receipt = open_receipt(row["receipt"], _log())
    opening = Opening(bytes.fromhex(row["entry"]), bytes.fromhex(row["salt"]), row["at"])
    assert (receipt.opening, receipt.index) == (opening, row["index"])
    assert (receipt.checkpoint.size, receipt.checkpoint.root.hex()) == (row["size"], row["root"])
    assert receipt.is_of(_act(row["act"]).raw.encode())
    assert open_receipt(row["receipt"].encode(), _log()) == receipt and receipt.raw == row["receipt"]
    assert parse_proof(row["receipt"]).text == row["receipt"]
    assert receipt_text(opening, row["index"], _unhex(row["hashes"]), receipt.checkpoint) == row["receipt"]


def test_the_receipt_on_the_page_is_the_one_in_the_vectors() -> None:
    page = (VECTORS.parent / "log.md").read_text(encoding="utf-8")
    (row,) = load("log")["receipts"]
    assert f"```\n{row['receipt']}```" in page and f"```\n{load('log')['log']}\n```" in page
    entry = page.partition("<!-- example log.entry -->\n```\n")[2].partition("```")[0]
    assert "".join(entry.split()) == row["entry"]


@pytest.mark.parametrize("row", rows("log", "bad_receipts"))
def test_an_invalid_receipt_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: open_receipt(row["receipt"], _log()))


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
    # The id is the answer's, and no part of the refusal (HTTP-19).
    told = {name: it for name, it in document.items() if name != "request_id"}
    assert json.loads(encode_problem(refusal)) == {**({"detail": refusal.detail} if refusal.detail else {}), **told}


@pytest.mark.parametrize("row", rows("problems", "bad"))
def test_an_invalid_problem_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: decode_problem(json.dumps(row["document"]).encode()))


def test_an_act_that_says_nothing_of_its_kind_is_not_composed() -> None:
    refused({"code": "malformed"}, lambda: compose_act("move", None))  # type: ignore[arg-type]


# --- the log at its borders (LOG-1 to LOG-6, LOG-11, LOG-15)


def _text(row: dict[str, Any], member: str) -> str:
    """A member's text, or the one that `times` spells: a text so often, and an end."""
    if member in row:
        return str(row[member])
    text, times, end = row["times"]
    return f"{row.get('begin', '')}{text * times}{end}"


def test_numbers_paths_and_files_of_a_log_have_one_form() -> None:
    content = load("log_edges")
    for row in content["decimals"]:
        assert parse_size(row["text"]) == row["number"]
    for row in content["bad_decimals"]:
        refused(row, partial(parse_size, row["text"]))
    for row in content["paths"]:
        tile = Tile(row["level"], row["number"], row["width"])
        assert (tile.path, parse_path(row["path"]), tile.is_full) == (row["path"], tile, row["width"] == 256)
    for row in content["bad_paths"]:
        refused(row, partial(parse_path, row["path"]))
    for row in content["bundles"]:
        entries, data = _unhex(row["entries"]), bytes.fromhex(row["bundle"])
        assert (encode_bundle(entries), decode_bundle(Tile(-1, 0, len(entries)), data)) == (data, entries)
    for row in content["bad_bundles"]:
        refused(row, partial(decode_bundle, Tile(-1, 0, row["width"]), bytes.fromhex(row["bundle"])))


def _read_tile(tiles: dict[tuple[int, int], bytes], size: int, tile: Tile) -> bytes:
    """The bytes of a tile that a tree of that size has, and in the width in which it has it."""
    assert tile in set(tiles_of(size))
    return tiles[tile.level, tile.number][: 32 * tile.width]


def test_a_tree_can_be_read_from_its_tiles() -> None:
    content, tiles = load("log_edges"), {}
    for row in content["tiles"]:
        tile = Tile(row["level"], row["number"], row["width"])
        first = 256 * tile.number
        data = b"".join(NODES[8 * tile.level][first : first + tile.width])
        assert (len(check_tile(tile, data)), sha256(data).hexdigest()) == (row["bytes"], row["sha256"])
        tiles[tile.level, tile.number] = data
        if tile.is_full:
            assert root_of_tile(data) == _node(8 * (tile.level + 1), tile.number)
    for row in content["widths"]:
        assert width_at(row["level"], row["number"], row["size"]) == row["width"]
    for row in content["bad_tiles"]:
        refused(row, partial(check_tile, Tile(0, 0, row["width"]), bytes(row["bytes"])))
    for row in load("log")["roots"]:
        read = node_reader(row["size"], partial(_read_tile, tiles, row["size"]))
        assert root_of(row["size"], read).hex() == row["root"]
    for row in load("log")["inclusion"]:
        read = node_reader(row["size"], partial(_read_tile, tiles, row["size"]))
        assert prove_inclusion(row["index"], row["size"], read) == _unhex(row["proof"])


def test_a_proof_of_something_else_does_not_hold() -> None:
    content = load("log_edges")
    for row in content["bad_inclusion"]:
        root, proof = bytes.fromhex(row["root"]), _unhex(row["proof"])
        assert not check_inclusion(NODES[0][row["entry"]], row["index"], row["size"], proof, root), row["name"]
    for row in content["bad_consistency"]:
        old, new = bytes.fromhex(row["old_root"]), bytes.fromhex(row["new_root"])
        assert not check_consistency(row["old"], old, row["new"], new, _unhex(row["proof"])), row["name"]


def test_a_name_is_read_or_not() -> None:
    content = load("log_edges")
    for row in content["vkeys"]:
        found = parse_vkey(row["vkey"])
        assert (found.name, found.kind, found.key.raw.hex()) == (row["name"], row["kind"], row["public"])
        assert (found.id.hex(), found.text) == (row["id"], row["vkey"])
    for row in content["bad_vkeys"]:
        refused(row, partial(parse_vkey, row["vkey"]))


@pytest.mark.parametrize("row", rows("log_edges", "notes"))
def test_a_note_is_read_at_its_borders(row: dict[str, Any]) -> None:
    raw, known = _text(row, "note"), _known()
    for note in (open_note(raw, known), open_note(raw.encode(), known)):
        assert note.raw == raw
        assert note.text == row.get("text", raw.rpartition("\n\n")[0] + "\n")
        assert [{"name": key.name, "time": time} for key, time in note.signatures] == row["signatures"]


@pytest.mark.parametrize("row", rows("log_edges", "bad_notes"))
def test_a_note_beyond_its_borders_is_refused(row: dict[str, Any]) -> None:
    if "bytes" in row:
        refused(row, lambda: open_note(bytes.fromhex(row["bytes"]), _known()))
        return
    refused(row, lambda: open_note(_text(row, "note"), _known()))
    refused(row, lambda: open_note(_text(row, "note").encode(), _known()))


@pytest.mark.parametrize("row", rows("log_edges", "checkpoints"))
def test_a_checkpoint_is_read_at_its_borders(row: dict[str, Any]) -> None:
    found = open_checkpoint(row["checkpoint"], _log(), _witnesses())
    assert (found.size, found.root.hex(), found.cosignatures) == (row["size"], row["root"], row["cosignatures"])


@pytest.mark.parametrize("row", rows("log_edges", "bad_checkpoints"))
def test_a_checkpoint_beyond_its_borders_is_refused(row: dict[str, Any]) -> None:
    log = parse_vkey(row["log"]) if "log" in row else _log()
    refused(row, lambda: open_checkpoint(row["checkpoint"], log, _witnesses()))


@pytest.mark.parametrize("row", rows("log_edges", "bad_texts"))
def test_an_invalid_text_of_a_checkpoint_is_refused(row: dict[str, Any]) -> None:
    refused(row, lambda: parse_checkpoint(row["text"]))


@pytest.mark.parametrize("row", rows("log_edges", "cosigned"))
def test_answers_of_witnesses_are_added_or_refused(row: dict[str, Any]) -> None:
    signed = open_checkpoint(row["checkpoint"], _log())
    witnesses = (*_witnesses(), _log())
    if "code" in row:
        refused(row, lambda: with_cosignatures(signed, row["lines"], witnesses))
        return
    found = with_cosignatures(signed, row["lines"], witnesses)
    assert (found.cosignatures, found.raw) == (row["cosignatures"], row["raw"])
    assert open_checkpoint(found.raw, _log(), _witnesses()).cosignatures == row["cosignatures"]


@pytest.mark.parametrize("row", rows("log_edges", "witnessed"))
def test_so_many_witnesses_are_enough(row: dict[str, Any]) -> None:
    witnesses = [parse_vkey(text) for text in row["witnesses"]]
    signed = open_checkpoint(row["checkpoint"], _log(), witnesses)
    assert [it for it in range(5) if is_witnessed(signed, Policy(it, tuple(witnesses)))] == row["enough"]


def test_a_receipt_is_good_for_those_whose_witnesses_cosigned() -> None:
    for row in load("log_edges")["policies"]:
        policy = Policy(row["least"], tuple(parse_vkey(text) for text in row["witnesses"]))
        if "code" in row:
            refused(row, partial(open_receipt, row["receipt"], _log(), policy))
        else:
            assert open_receipt(row["receipt"], _log(), policy).index == 4


def test_a_proof_has_one_form() -> None:
    for row in load("log_edges")["proofs"]:
        raw = _text(row, "proof")
        for found in (parse_proof(raw), parse_proof(raw.encode())):
            assert (found.extra.hex(), found.index, len(found.hashes)) == (row["extra"], row["index"], row["hashes"])
            assert found.text == raw
    for row in load("log_edges")["bad_proofs"]:
        if "bytes" in row:
            refused(row, partial(parse_proof, bytes.fromhex(row["bytes"])))
            continue
        refused(row, partial(parse_proof, _text(row, "proof")))
        refused(row, partial(parse_proof, _text(row, "proof").encode()))


# --- what follows from records beside the state (ALLOW-2 to ALLOW-4, AWAY-2, HOLD-1, HOLD-3, NOTICE-8, REC-5, REC-7)


def _records_of(row: dict[str, Any]) -> list[Record]:
    """The records of a row, opened and not folded."""
    keys = {kid: PublicKey.of_multibase(text) for kid, text in load("standing")["keys"].items()}.get
    return [
        Record(open_event(it["event"], keys).event, open_act(it["act"], keys) if "act" in it else None)
        for it in row["records"]
    ]


def test_a_promise_stands_as_is_written_down() -> None:
    content = load("standing")
    for row in content["grants"]:
        allow = Allow.model_validate_json(json.dumps({k: v for k, v in row["allow"].items() if v is not None}))
        made = promised_grant(allow, row["opened_at"])
        assert {name: json.loads(json.dumps(it, default=dict)) for name, it in made.items()} == row["grant"]
    for row in content["promises"]:
        records = _records_of(row)
        opened = json.loads(b64u_decode(row["opened"].split(".")[1]))["at"]
        for check in row["checks"]:
            allow = Allow.model_validate_json(json.dumps(check["allow"]))
            shown = records[: check["after"]]
            assert promise_status(allow, check["giver"], opened, shown, check["now"]) == check["stands"], check


def test_absences_and_how_long_messages_wait() -> None:
    content = load("standing")
    for row in content["away"]:
        door = Door("d", "k", "m", "d", "h", mutes=msgspec.convert(row["mutes"], tuple[Mute, ...]))
        assert (muted_away_until(door, row["now"]), is_muted(door, row["now"])) == (row["until"], row["muted"])
    for row in content["expiry"]:
        as_of = gate.AsOf("", "", "")
        verdict = gate.Verdict(row["decision"], "muted", as_of, row["now"], row["ends_at"], row["end_shown"])
        assert default_expiry(verdict, row["now"]) == row["expires"]
        assert [it for it in row["asked"] if expiry_warning(verdict, it) == "expires_before_end"] == row["too_early"]


def test_which_notice_is_in_force_under_which_key_and_in_which_language() -> None:
    content = load("standing")["notices"]
    for row in content["in_force"]:
        notice = parse_stored_notice(f".{b64u_encode(json.dumps(row['notice']).encode())}.")
        assert is_in_force(notice, row["now"]) == row["in_force"], row
    for row in content["keys"]:
        assert key_for_entry([PublishedKey(**it) for it in row["stated"]], row["index"]) == row["kid"]
    for row in content["texts"]:
        assert choose_text(row["texts"], row["languages"]) == row["text"]


def test_the_rest_of_a_grant_is_the_listed_one() -> None:
    for row in load("standing")["left"]:
        given_up = msgspec.convert(row["given_up"], list[Renounced])
        purposes, channels = tuple(row["purposes"]), tuple(row["channels"])
        had = GrantPart(tuple(row["had"]["purposes"]), tuple(row["had"]["channels"]))
        found = remaining_parts(row["grant"], had, GrantPart(purposes, channels), given_up, is_one=row["is_one"])
        assert json.loads(json.dumps([it._asdict() for it in found])) == row["parts"], row["name"]


def test_records_that_a_restored_server_lacks_and_takes_back() -> None:
    content = load("standing")
    for row in content["lacking"]:
        assert list(missing_heads(Heads(**row["heads"]), row["cid"], row["known"])) == row["lacking"]
    for row in content["taken_back"]:
        records, reader = _records_of(row), Reader({**row, "records": []}, content["keys"])
        number = {id(record): place for place, record in enumerate(records)}
        for given in row["cases"]:
            attempt = partial(
                merge_records,
                reader.states[0],
                [records[it] for it in given["kept"]],
                [records[it] for it in given["offered"]],
            )
            if "contradiction" in given:
                with pytest.raises(Contradiction):
                    attempt()
                continue
            found = attempt()
            assert [number[id(it)] for it in found.taken] == given["taken"], given
            assert [[number[id(it)], code] for it, code in found.refused] == given["refused"], given
            told = public_state(found.state)
            heads = {"first": told["first"]["head"], "second": told["second"]["head"], "phase": told["phase"]}
            assert heads == given["state"]


# --- the keys of home servers (HOME-1 to HOME-5, LOG-9)


@pytest.mark.parametrize("row", rows("home", "lists"))
def test_a_list_of_statements_holds_or_is_refused_for_the_reason_given(row: dict[str, Any]) -> None:
    listed = [ListedStatement.model_validate(it) for it in row["list"]]
    if "code" in row:
        refused(row, lambda: verify_statements(listed))
    else:
        assert [it.statement.kid for it in verify_statements(listed)] == row["kids"]


def test_each_reader_takes_the_events_that_the_vectors_say() -> None:
    home = load("home")
    chain = [
        PlacedStatement(stated, tuple(Place(it["log"], it["index"]) for it in row["places"]))
        for stated, row in zip(
            verify_statements(ListedStatement.model_validate(it["list"]) for it in home["chain"]),
            home["chain"],
            strict=True,
        )
    ]
    for row in home["events"]:
        keys = follow_keys(HomeParty.model_validate(home["parties"][row["pinned"]]), chain, row["accepted"])
        try:
            found = open_home_event(row["jws"], keys)
        except Refused as refusal:
            assert row.get("code") == refusal.code, row
        else:
            assert "code" not in row and found.kid == row["by"], row
    assert {row.get("code") for row in home["events"]} == {None, "unknown_key"}
    with pytest.raises(Refused, match="key_not_stated"):
        follow_keys(HomeParty.model_validate(home["not_stated"]), chain)
    reader = follow_keys(HomeParty.model_validate(home["parties"][first_kid(home)]), chain)
    for row in home["status_lists"]:
        assert (reader.find_list_key(row["kid"], row["iat"]) is not None) == row["taken"], row
    for row in home["list_keys"]:
        keys = follow_keys(HomeParty.model_validate(home["parties"][row["pinned"]]), chain, row["accepted"])
        taken = [iat for iat in row["asked"] if keys.find_list_key(row["kid"], iat) is not None]
        assert taken == row["taken"], row
    for row in home["signed_lists"]:
        opened = partial(open_home_list, row["jws"], row["uri"], reader)
        if "code" in row:
            refused(row, opened)
        else:
            assert (opened().claims.iat, opened().at(3)) == (row["iat"], 0)
    at_once = [
        PlacedStatement(it, ())
        for it in verify_statements(map(ListedStatement.model_validate, home["at_once"]["chain"]))
    ]
    keys = follow_keys(HomeParty.model_validate(home["parties"][first_kid(home)]), at_once)
    for row in home["at_once"]["keys"]:
        assert [iat for iat in row["asked"] if keys.find_list_key(row["kid"], iat) is not None] == row["taken"], row
    alone = follow_keys(HomeParty.model_validate(home["parties"][first_kid(home)]))
    assert alone.find_list_key(first_kid(home), 0) is not None
    for row in home["entered"]:
        receipt = open_receipt(row["receipt"], parse_vkey(home["log"]))
        assert is_entry_of(chain[row["statement"]].stated, receipt) == row["entered"], row


def test_a_home_server_states_its_keys_so_often_and_no_more() -> None:
    row = load("home")["restated"]
    signer = Signer(row["kid"], SigningKey(bytes.fromhex(row["seed"])))
    made = [
        sign_statement(signer, row["at"] + number, row["log"], signer if number else None)
        for number in range(row["most"] + 1)
    ]
    listed = [ListedStatement(statement=it.raw, signed=it.signed) for it in made]
    assert len(verify_statements(listed[:-1])) == row["most"]
    refused({"code": "malformed"}, lambda: verify_statements(listed))


def first_kid(home: dict[str, Any]) -> str:
    """The name of the first key of the vectors."""
    return str(json.loads(home["chain"][0]["list"]["statement"])["kid"])


def test_anybody_computes_the_tag_key_of_a_public_name() -> None:
    home = load("home")
    for row in home["tag_keys"]:
        expected = sha256(b"comity.public-tag.v1\x00" + row["did"].encode()).digest()
        assert public_tag_key(row["did"]) == expected == bytes.fromhex(row["key"])
    entry, statement = home["entry"], home["statement"].encode()
    at, salt = entry["at"], bytes.fromhex(entry["salt"])
    did = json.loads(statement)["did"]
    made = entry_of_key(statement, public_tag_key(did), salt, at)
    assert made.to_bytes().hex() == entry["entry"]
    assert made[0] is Kind.KEY and made.tag == entry_tag(public_tag_key(did), at)
    assert made.commitment == commitment(salt, at, statement)


def test_the_log_says_of_parts_and_notices_what_is_written_down() -> None:
    content = load("log_edges")
    keys = {kid: PublicKey.of_multibase(text) for kid, text in content["keys"].items()}.get
    for row in content["parts"]:
        act = open_act(row["act"], keys)
        mutes = [open_act(raw, keys) for raw in row["mutes"]]
        scoped = [Mute(it.id, it.payload.purposes or (), it.payload.channels or ()) for it in mutes]  # type: ignore[union-attr]
        named = named_mute(act, scoped)
        assert (named and named.id, int(kind_of(act, named))) == (row["named"], row["kind"]), row
        entry = entry_of_act(act, "second", bytes(32), bytes(32), row["at"], named)
        assert (entry.until, entry.time) == (row["until"], row["time"])
    for row in content["notices"]:
        entry = entry_of_notice(row["notice"], bytes.fromhex(row["key"]), bytes.fromhex(row["salt"]), row["at"])
        assert entry.to_bytes().hex() == row["entry"]
        assert parse_entry(bytes.fromhex(row["entry"])) == entry
