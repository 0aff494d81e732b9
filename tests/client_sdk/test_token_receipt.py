"""A consent token with its receipt in hand: what the receipt must be of, and whose log it must be in (GRANT-8)."""

from dataclasses import dataclass
from typing import Any

import pytest

from comity.crypto.keys import SigningKey
from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, SignedEvent, open_event
from comity.documents.status_lists import ENTRIES, SignedStatusList, open_status_list, pack_entries, sign_status_list
from comity.rules.consent_tokens import TokenVerdict, check_token, is_log_of
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.entries import Kind, LogEntry, entry_of_act
from comity.transparency.merkle import leaf_hash
from comity.transparency.notes import ED25519, NoteSigner
from comity.transparency.receipts import Opening, Receipt, open_receipt, receipt_text
from support.parties import DAY, HOME, HOUR, SHOP, START, STATUS_URI, Pair, connected, keys_of, pairwise, public

NOW = (START + HOUR) // 1000
LOG = "comity.example/log"
SALT, TAG_KEY = b"s" * 32, b"t" * 32


def status_list(signer: Any = HOME) -> SignedStatusList:
    entries = bytearray(b"\x01" * ENTRIES)
    entries[1] = 0
    return open_status_list(
        sign_status_list(STATUS_URI, pack_entries(entries, 2), NOW, signer), STATUS_URI, keys_of(signer)
    )


def receipt(act: SignedAct, event: Accepted, origin: str = LOG, late: int = 0, **changes: Any) -> Receipt:
    """Its receipt from a log with no other entry, whatever that log says; `late` (ms): of a later time."""
    at = event.at + late
    signer = NoteSigner(origin, ED25519, SigningKey(b"l" * 32))
    entry: LogEntry = entry_of_act(act, event.side, TAG_KEY, SALT, at)._replace(**changes)
    signed = sign_checkpoint(Checkpoint(origin, 1, leaf_hash(entry.to_bytes())), signer)
    return open_receipt(receipt_text(Opening(entry.to_bytes(), SALT, at), 0, [], signed), signer.verifier)


@dataclass
class Hand:
    """The token, and what goes with it."""

    pair: Pair
    act: SignedAct
    acceptance: SignedEvent
    listed: SignedStatusList

    @property
    def event(self) -> Accepted:
        assert isinstance(self.acceptance.event, Accepted)
        return self.acceptance.event

    def check(self, receipt: Receipt | None, **given: Any) -> TokenVerdict:
        given = {"status_list": self.listed, "purpose": "care", "channel": "app", **given}
        return check_token(self.act.raw, audience=SHOP.did, now=NOW, receipt=receipt, **given)


@pytest.fixture(scope="module")
def hand() -> Hand:
    pair = connected()
    act = pair.go("grant", "second", START + 1, purposes=("care",), exp=(START + 30 * DAY) // 1000)
    event = open_event(pair.events[act.id], keys_of(HOME)).event
    return Hand(pair, act, SignedEvent("", HOME.kid, event.model_copy(update={"log": LOG})), status_list())


def test_the_receipt_alone_is_enough(hand: Hand) -> None:
    true = receipt(hand.act, hand.event)
    assert hand.check(true).reason == "granted"
    assert hand.check(true, agreement=hand.pair.agreement).reason == "granted"
    assert hand.check(true, agreement=hand.pair.agreement, acceptance=hand.acceptance).reason == "granted"
    assert hand.check(receipt(hand.act, hand.event, f"{LOG}/second")).reason == "granted"


def test_a_receipt_of_something_else_is_none(hand: Hand) -> None:
    other = hand.pair.go("grant", "second", START + 2, purposes=("sales",), exp=(START + 30 * DAY) // 1000)
    event = open_event(hand.pair.events[other.id], keys_of(HOME)).event
    assert isinstance(event, Accepted)
    assert hand.check(receipt(other, event)).reason == "not_accepted"
    for kind in (Kind.REVOKE, Kind.DELIVERED, Kind.UNMUTE):
        assert hand.check(receipt(hand.act, hand.event, kind=kind)).reason == "not_accepted"


def test_an_entry_that_does_not_follow_from_the_grant_and_its_time_is_none(hand: Hand) -> None:
    """Another minute than was committed to, or the other side's."""
    true = receipt(hand.act, hand.event)
    assert hand.check(receipt(hand.act, hand.event, time=true.entry.time + 1)).reason == "not_accepted"
    others = receipt(hand.act, hand.event, side="first")
    # Who has nothing but the grant cannot tell whose it is.
    assert hand.check(others).reason == "granted"
    assert hand.check(others, agreement=hand.pair.agreement).reason == "not_accepted"
    assert hand.check(others, acceptance=hand.acceptance).reason == "not_accepted"
    later = receipt(hand.act, hand.event, late=60_000)
    assert hand.check(later).reason == "granted"
    assert hand.check(later, acceptance=hand.acceptance).reason == "not_accepted"


def test_the_log_is_that_of_the_home_server_whose_status_list_it_is(hand: Hand) -> None:
    for origin in ("elsewhere.example/log", "comity.example/logs", "comity.example", "comity.example.evil.example/log"):
        elsewhere = receipt(hand.act, hand.event, origin)
        assert hand.check(elsewhere).reason == "list_missing"
        assert hand.check(elsewhere, agreement=hand.pair.agreement).reason == "not_accepted"
    stranger = public("did:web:elsewhere.example", "elsewhere")
    assert hand.check(receipt(hand.act, hand.event), status_list=status_list(stranger)).reason == "list_missing"


def test_a_shop_calls_no_consent_valid_that_she_took_back_from_it(hand: Hand) -> None:
    """Its did:web has the host of the server that hosts it, and it signs with a key of its own."""
    shop = public(f"{HOME.did}:b:shop", "key-1")
    assert hand.check(receipt(hand.act, hand.event), status_list=status_list(shop)).reason == "list_missing"


def test_an_acceptance_beside_a_receipt_names_its_place(hand: Hand) -> None:
    true = receipt(hand.act, hand.event)
    for changes in ({"index": 7}, {"log": f"{LOG}/second"}):
        moved = SignedEvent("", HOME.kid, hand.event.model_copy(update=changes))
        assert hand.check(true, acceptance=moved).reason == "not_accepted"


def test_an_agreement_beside_a_receipt_is_that_of_the_connection(hand: Hand) -> None:
    other = connected(accepter=pairwise("other"))
    assert hand.check(receipt(hand.act, hand.event), agreement=other.agreement).reason == "not_accepted"


def test_a_log_belongs_to_the_host_in_its_name() -> None:
    assert is_log_of("localhost:8470/log", "did:web:localhost%3A8470")
    assert is_log_of("localhost:8470/log/second", "did:web:localhost%3A8470")
    for home in (
        "did:web:localhost",
        "did:web:localhost%3A84700",
        "did:web:localhost%3A8470:b:shop",
        SHOP.did,
        "did:key:z6Mk",
        "",
    ):
        assert not is_log_of("localhost:8470/log", home)
