"""A home server's keys: statements that lead from one to the next, and which of them signs where."""

import json

import pytest

from comity.crypto.jws import sign_jws
from comity.crypto.keys import Signer
from comity.documents.events import Opened, Place, sign_event
from comity.documents.offers import HomeParty
from comity.encoding import dump_json
from comity.errors import Malformed, Refused
from comity.transparency.server_keys import (
    MOST_STATEMENTS,
    HomeKeys,
    HomeStatement,
    ListedStatement,
    PlacedStatement,
    VerifiedStatement,
    follow_keys,
    open_home_event,
    sign_statement,
    verify_statements,
)
from support.parties import HOME, HOME_DID, LOG, START, connected, key
from support.spec_pages import SPEC

VKEY = "home.example/log+885ea595+AdnWLVGyO4sWoVTJj7mdI+LtL1l9pQbLggNvNfmHG7W9"
NEXT = Signer(f"{HOME_DID}#home-2", key("home 2"))
THIRD = Signer(f"{HOME_DID}#home-3", key("home 3"))
FIRST_STATED = sign_statement(HOME, START, VKEY)
NEXT_STATED = sign_statement(NEXT, START + 1000, VKEY, HOME)


def listed(*stated: VerifiedStatement) -> list[ListedStatement]:
    """The statements as a server lists them."""
    return [ListedStatement(statement=it.raw, signed=it.signed) for it in stated]


def keys_of(
    pinned: Signer, *placed: tuple[VerifiedStatement, tuple[Place, ...]], accepted: tuple[str, ...] = ()
) -> HomeKeys:
    """What a reader takes who pinned that key."""
    chain = [PlacedStatement(stated, places) for stated, places in placed]
    return follow_keys(HomeParty.of(pinned), chain, accepted)


def opened(log: str, index: int, signer: Signer) -> str:
    """An event without an entry, at that place."""
    cid = connected().state.cid
    event = Opened(iss=HOME_DID, cid=cid, event="opened", log=log, index=index, at=START)
    return sign_event(event, signer)


CHANGED = ((FIRST_STATED, (Place(LOG, 0),)), (NEXT_STATED, (Place(LOG, 7),)))


# --- the chain (HOME-3)


def test_a_statement_is_vouched_for_by_the_key_before_and_by_itself() -> None:
    assert [it.statement.kid for it in verify_statements(listed(FIRST_STATED, NEXT_STATED))] == [HOME.kid, NEXT.kid]
    eve = Signer(HOME.kid, key("eve"))
    stolen = sign_statement(Signer(NEXT.kid, key("eve 2")), START + 1000, VKEY, eve)
    with pytest.raises(Refused, match="bad_signature"):
        verify_statements(listed(FIRST_STATED, stolen))
    # The key before alone cannot name a key that its owner does not have.
    members = {**json.loads(NEXT_STATED.raw), "kid": THIRD.kid, "key": THIRD.key.public.multibase}
    raw = dump_json(members)
    with pytest.raises(Refused, match="wrong_proof"):
        verify_statements(
            [
                *listed(FIRST_STATED),
                ListedStatement(statement=raw.decode(), signed=sign_jws(raw, "comity-key+jwt", HOME)),
            ]
        )


def test_no_more_statements_are_read_than_there_can_be() -> None:
    again = [sign_statement(HOME, START + n, VKEY, HOME) for n in range(MOST_STATEMENTS)]
    assert len(verify_statements(listed(FIRST_STATED, *again[:-1]))) == MOST_STATEMENTS
    with pytest.raises(Malformed):
        verify_statements(listed(FIRST_STATED, *again))


# --- which key (HOME-4)


def test_the_key_is_the_newest_one_stated_below_the_place() -> None:
    keys = keys_of(HOME, *CHANGED)
    for index, signer in ((0, HOME), (1, HOME), (7, HOME), (8, NEXT), (9_000, NEXT)):
        assert open_home_event(opened(LOG, index, signer), keys).kid == signer.kid
        other = NEXT if signer is HOME else HOME
        with pytest.raises(Refused, match="unknown_key"):
            open_home_event(opened(LOG, index, other), keys)


def test_where_nothing_is_stated_the_pinned_key_signs() -> None:
    for pinned in (HOME, NEXT):
        keys = keys_of(pinned, *CHANGED)
        assert open_home_event(opened("another/log", 5, pinned), keys).kid == pinned.kid


def test_a_reader_with_a_later_key_accepts_no_earlier_one() -> None:
    keys = keys_of(NEXT, *CHANGED)
    assert open_home_event(opened(LOG, 8, NEXT), keys).kid == NEXT.kid
    with pytest.raises(Refused, match="unknown_key"):
        open_home_event(opened(LOG, 7, HOME), keys)


def test_a_key_that_is_not_stated_is_no_pin() -> None:
    with pytest.raises(Refused, match="key_not_stated"):
        keys_of(Signer(HOME.kid, key("eve")), *CHANGED)


def test_behind_a_broken_key_nothing_is_taken_until_its_owner_says_so() -> None:
    broken = sign_statement(NEXT, START + 1000, VKEY, HOME.kid)
    third = sign_statement(THIRD, START + 2000, VKEY, NEXT)
    chain = ((FIRST_STATED, (Place(LOG, 0),)), (broken, (Place(LOG, 7),)), (third, (Place(LOG, 9),)))
    assert [it.statement.broken for it in verify_statements(listed(FIRST_STATED, broken, third))] == [None, True, None]
    alone, asked = keys_of(HOME, *chain), keys_of(HOME, *chain, accepted=(NEXT.kid,))
    for index, signer in ((8, NEXT), (10, THIRD)):
        with pytest.raises(Refused, match="unknown_key"):
            open_home_event(opened(LOG, index, signer), alone)
        assert open_home_event(opened(LOG, index, signer), asked).kid == signer.kid
    assert open_home_event(opened(LOG, 3, HOME), alone).kid == HOME.kid


def test_the_page_has_every_member_of_a_statement() -> None:
    page = (SPEC / "home-key.md").read_text()
    for name, field in HomeStatement.model_fields.items():
        needed = "required" if field.is_required() else "optional"
        assert f"| `{name}` | {needed} |" in page
