"""A consent token in the hand of a mail house: no network, and every reason for a no (spec/grant.md)."""

from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest

from comity.crypto.keys import Signer
from comity.documents.acts import GRANT_TYP, SignedAct
from comity.documents.agreements import SignedAgreement
from comity.documents.events import Accepted, SignedEvent, open_event, sign_event
from comity.documents.status_lists import (
    ENTRIES,
    GrantStatus,
    SignedStatusList,
    open_status_list,
    pack_entries,
    sign_status_list,
)
from comity.errors import Malformed, Refused
from comity.rules.consent_tokens import TokenReason, TokenVerdict, check_token, open_grant
from comity.rules.next_act import compose_act
from support.parties import (
    DAY,
    HOME,
    HOME_DID,
    HOUR,
    MIA,
    SHOP,
    START,
    STATUS_URI,
    Pair,
    connected,
    forge,
    keys_of,
    pairwise,
    public,
)

NOW = START + HOUR
SECONDS = NOW // 1000
END = (START + 30 * DAY) // 1000


def status_list(
    values: dict[int, int], iat: int = SECONDS, uri: str = STATUS_URI, signer: Signer = HOME
) -> SignedStatusList:
    entries = bytearray(b"\x01" * ENTRIES)
    for index, value in values.items():
        entries[index] = value
    return open_status_list(sign_status_list(uri, pack_entries(entries, 2), iat, signer), uri, keys_of(signer))


@dataclass
class Hand:
    """What the mail house has."""

    token: str
    agreement: SignedAgreement
    acceptance: SignedEvent
    status: SignedStatusList

    def check(self, now: int = SECONDS, purpose: str = "care", channel: str = "app", **changes: Any) -> TokenVerdict:
        given: dict[str, Any] = {
            "audience": SHOP.did,
            "purpose": purpose,
            "channel": channel,
            "now": now,
            "status_list": self.status,
            "acceptance": self.acceptance,
            "agreement": self.agreement,
        }
        return check_token(changes.pop("token", self.token), **{**given, **changes})


def accepted(pair: Pair, act: SignedAct) -> SignedEvent:
    return open_event(pair.events[act.id], keys_of(HOME))


@pytest.fixture(scope="module")
def hand() -> Hand:
    pair = connected()
    act = pair.go("grant", "second", START + 1, purposes=("care",), channels=("app", "post"), exp=END)
    assert pair.indexes == 1
    return Hand(act.raw, pair.agreement, accepted(pair, act), status_list({1: 0}))


def test_a_good_token_lets_its_audience_come_for_what_it_says(hand: Hand) -> None:
    verdict = hand.check()
    assert (verdict.allowed, verdict.reason, verdict.grant.iss) == (True, "granted", MIA.did)
    assert hand.check(purpose="care.checkin", channel="post").allowed


def test_a_token_is_no_use_to_anybody_else(hand: Hand) -> None:
    verdict = hand.check(audience="did:web:evil.example")
    assert (verdict.allowed, verdict.reason) == (False, "wrong_audience")


def test_a_token_is_for_its_purposes_and_channels(hand: Hand) -> None:
    for purpose, channel in (("sales", "app"), ("careful", "app"), ("care", "phone")):
        assert hand.check(purpose=purpose, channel=channel).reason == "no_grant"


def test_a_token_ends_on_its_second(hand: Hand) -> None:
    for now, reason in ((END - 1, "granted"), (END, "expired"), (END + 9, "expired")):
        assert hand.check(now, status_list=status_list({1: 0}, now)).reason == reason


def test_without_its_list_the_answer_is_no(hand: Hand) -> None:
    assert hand.check(status_list=None).reason == "list_missing"
    elsewhere = status_list({1: 0}, uri="https://comity.example/status/2")
    assert hand.check(status_list=elsewhere).reason == "list_missing"


def test_a_list_is_good_for_ninety_seconds_and_not_from_the_future(hand: Hand) -> None:
    for age, reason in ((90, "granted"), (91, "list_out_of_date"), (-30, "granted"), (-31, "list_out_of_date")):
        assert hand.check(status_list=status_list({1: 0}, SECONDS - age)).reason == reason


def test_a_list_ends_with_its_own_expiry(hand: Hand) -> None:
    claims = hand.status.claims
    for exp, reason in ((SECONDS, "list_out_of_date"), (SECONDS + 1, "granted")):
        ends = replace(hand.status, claims=claims.model_copy(update={"exp": exp}))
        assert hand.check(status_list=ends).reason == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [(GrantStatus.VALID, "granted"), (GrantStatus.INVALID, "invalid"), (GrantStatus.ASK, "ask"), (3, "invalid")],
)
def test_the_entry_decides(hand: Hand, value: int, reason: str) -> None:
    """Withdrawn, or muted: offline both mean no. And what nobody has defined does, too."""
    verdict = hand.check(status_list=status_list({0: 0, 1: value, 2: 0}))
    assert (verdict.allowed, verdict.reason) == (reason == "granted", reason)


def test_an_index_that_the_list_does_not_have_is_no_token_of_it(hand: Hand) -> None:
    pair = connected()
    status = {"status_list": {"idx": ENTRIES, "uri": STATUS_URI}}
    act = pair.go("grant", "second", START + 1, purposes=("care",), exp=END, status=status)
    with pytest.raises(Malformed):
        hand.check(token=act.raw, acceptance=accepted(pair, act), agreement=pair.agreement)


def test_the_acceptance_must_be_about_this_very_token(hand: Hand) -> None:
    pair = connected()
    other = pair.go("grant", "second", START + 1, purposes=("sales",), exp=END)
    mute = pair.go("mute", "second", START + 2)
    event = hand.acceptance.event
    assert isinstance(event, Accepted)
    for wrong in (
        accepted(pair, other),
        accepted(pair, mute),
        SignedEvent("", HOME.kid, event.model_copy(update={"cid": "A" * 43})),
        SignedEvent("", HOME.kid, event.model_copy(update={"kind": "mute"})),
        SignedEvent("", HOME.kid, pair.records[0].event),
    ):
        assert hand.check(acceptance=wrong).reason == "not_accepted"


def test_the_agreement_must_be_the_connection_s(hand: Hand) -> None:
    assert hand.check(agreement=connected(at=START + DAY).agreement).reason == "not_accepted"


def made_up(hand: Hand, thief: Signer) -> str:
    grant = open_grant(hand.token).payload
    members = {**grant.model_dump(exclude_none=True), "iss": thief.did}
    members.pop("act")
    return compose_act("grant", thief, **members).raw


def test_a_grant_under_a_made_up_key_is_none_even_with_the_agreement_at_hand(hand: Hand) -> None:
    """Whoever knows the connection's id can sign a grant in it. Only the agreement's own keys count."""
    token = made_up(hand, pairwise("thief"))
    assert hand.check(token=token).reason == "not_accepted"
    assert hand.check(token=token, acceptance=None).reason == "not_accepted"


def test_a_stranger_s_token_is_none_for_a_mail_house_that_asks_for_no_proof(hand: Hand) -> None:
    """The salon's mail house checks what it is handed, and forgot what shows that it was ever accepted."""
    thief, server = pairwise("thief"), pairwise("another server")
    token = made_up(hand, thief)
    nothing: dict[str, Any] = {"token": token, "acceptance": None, "agreement": None}
    assert hand.check(**nothing).reason == "not_accepted"
    assert hand.check(**nothing, status_list=status_list({1: 0}, signer=server)).reason == "not_accepted"
    # An acceptance alone is no better: a stranger signs that as well, and the list, under a key of his own.
    event = hand.acceptance.event
    assert isinstance(event, Accepted)
    stated = event.model_copy(update={"iss": server.did, "act": open_grant(token).id})
    forged = {**nothing, "acceptance": open_event(sign_event(stated, server), keys_of())}
    assert hand.check(**forged, status_list=status_list({1: 0}, signer=server)).reason == "not_accepted"
    # Mia's own token is not better without what shows it, either.
    without: tuple[dict[str, Any], ...] = ({"acceptance": None}, {"agreement": None}, nothing | {"token": hand.token})
    for missing in without:
        assert hand.check(**missing).reason == "not_accepted"


def test_a_grant_an_acceptance_and_a_list_all_made_up_are_none(hand: Hand) -> None:
    """All three well signed, by a server that the agreement does not name."""
    thief, server = pairwise("thief"), pairwise("another server")
    token = made_up(hand, thief)
    event = hand.acceptance.event
    assert isinstance(event, Accepted)
    stated = event.model_copy(update={"iss": server.did, "act": open_grant(token).id})
    acceptance = open_event(sign_event(stated, server), keys_of())
    forged = status_list({1: 0}, signer=server)
    assert hand.check(token=token, acceptance=acceptance, status_list=forged).reason == "not_accepted"


def test_a_list_signed_by_anybody_but_the_home_server_is_none(hand: Hand) -> None:
    """Anyone can sign a list for that address under a key of his own."""
    for signer in (pairwise("another server"), public("did:web:evil.example", "k")):
        forged = status_list({1: 0}, signer=signer)
        assert hand.check(status_list=forged).reason == "list_missing"


def test_after_a_new_name_the_acceptance_ties_the_token_to_the_connection(hand: Hand) -> None:
    pair = connected()
    new = pairwise("mia 2")
    pair.rotate("second", new, START + 1)
    act = pair.go("grant", "second", START + 2, purposes=("care",), exp=END)
    given: Any = {"token": act.raw, "agreement": pair.agreement}
    assert hand.check(acceptance=accepted(pair, act), **given).reason == "granted"
    assert hand.check(acceptance=None, **given).reason == "not_accepted"


def test_a_business_s_token_is_checked_with_the_key_of_the_agreement(hand: Hand) -> None:
    pair = connected()
    act = pair.go("grant", "first", START + 1, purposes=("care",), exp=END)
    given: dict[str, Any] = {"token": act.raw, "audience": MIA.did, "acceptance": accepted(pair, act)}
    assert hand.check(**given).reason == "granted"
    with pytest.raises(Refused) as caught:
        hand.check(**{**given, "agreement": None})
    assert caught.value.code == "unknown_key"
    thief = Signer(SHOP.kid, pairwise("thief").key)
    forged = compose_act("grant", thief, **act.payload.model_dump(exclude={"act"}, exclude_none=True))
    with pytest.raises(Refused) as caught:
        hand.check(**{**given, "token": forged.raw})
    assert caught.value.code == "bad_signature"


def test_an_act_that_is_no_grant_is_no_token(hand: Hand) -> None:
    pair = connected()
    for raw in (pair.go("mute", "second", START + 1).raw, hand.acceptance.raw, "", "a.b.c"):
        with pytest.raises(Malformed):
            hand.check(token=raw)
    payload = {"iss": MIA.did, "exp": END, "purposes": ["care"]}
    with pytest.raises(Malformed):
        hand.check(token=forge(payload, GRANT_TYP, MIA))


def test_the_reasons_are_looked_for_in_the_order_that_is_promised(hand: Hand) -> None:
    """Everything wrong at once, then mended one after the other."""
    pair = connected()
    act = pair.go("grant", "second", START + 1, purposes=("sales",), exp=(START + HOUR) // 1000)
    wrong: dict[str, Any] = {
        "audience": HOME_DID, "acceptance": accepted(pair, act), "now": END, "purpose": "sales", "status_list": None,
    }  # fmt: skip
    found: list[str] = []
    for mend in (
        {},
        {"audience": SHOP.did},
        {"acceptance": hand.acceptance},
        {"now": SECONDS},
        {"purpose": "care"},
        {"status_list": status_list({1: 2}, SECONDS - 999)},
        {"status_list": status_list({1: 1})},
        {"status_list": status_list({1: 2})},
        {"status_list": status_list({1: 0})},
    ):
        wrong = {**wrong, **mend}
        found.append(hand.check(**wrong).reason)
    assert found == [
        "wrong_audience", "not_accepted", "expired", "no_grant", "list_missing", "list_out_of_date", "invalid", "ask",
        "granted",
    ]  # fmt: skip
    assert set(found) == set(get_args(TokenReason))


def test_a_business_that_took_a_new_key_still_gives_tokens_that_can_be_checked() -> None:
    pair = connected()
    later = public(SHOP.did, "key-2")
    pair.rotate("first", later, START + 1)
    act = pair.go("grant", "first", START + 2, purposes=("service",), channels=("app",), exp=END)
    hand = Hand(act.raw, pair.agreement, accepted(pair, act), status_list({pair.indexes: 0}))
    with pytest.raises(Refused) as caught:
        hand.check(purpose="service", audience=MIA.did)
    assert caught.value.code == "unknown_key"
    assert hand.check(purpose="service", audience=MIA.did, find_key=keys_of(later)).allowed
