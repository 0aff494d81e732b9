"""After the end: what can be said of what became of the data, by when it must be, and that nothing opens by it."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.documents.acts import Erasure
from comity.documents.events import Accepted, Place
from comity.documents.types import SIDES, Category, Ground, Recipient, Side, check_name, other
from comity.errors import Contradiction, Malformed, Refused
from comity.rules import decide, gate
from comity.rules.decide import accept
from comity.rules.erasure import DUE_AFTER, Duty, erasure_duty
from comity.rules.fold import Record, fold
from comity.rules.guards import MOST_STATEMENTS
from comity.rules.next_act import blind_revoke, compose_act, next_act
from comity.rules.state import decode_state, encode_state, public_state
from comity.rules.timeline import timeline
from support.parties import DAY, HOUR, LOG, MIA, SHOP, START, ZONES, Pair, connected, granted, pairwise
from support.parties import public as a_public

NOW = START + DAY
INVOICES = {"what": "payments", "ground": "legal_obligation", "until": (NOW + 3000 * DAY) // 1000}


def ended(by: Side = "second", at: int = NOW) -> Pair:
    """Mia allowed the shop something, got a message, and one of the two ended it."""
    pair = granted("care", "favour")
    pair.go("message", "first", START + HOUR, purpose="care")
    pair.go("revoke", by, at)
    return pair


# --- who, and when (ERA-1)


@pytest.mark.parametrize("by", SIDES)
@pytest.mark.parametrize("side", SIDES)
def test_both_sides_can_state_an_erasure_after_the_end_and_nothing_else(by: Side, side: Side) -> None:
    pair = ended(by)
    before = pair.state
    said = pair.go("erasure", side, NOW + HOUR, deleted=("contact", "messages"), kept=(INVOICES,))
    door, door_before = pair.state.door(side), before.door(side)
    assert door.erasure is not None
    assert (door.erasure.id, door.erasure.count, door.erasure.complete) == (said.id, 1, False)
    assert (door.head, door.seq) == (said.id, door_before.seq + 1)
    alike = msgspec.structs.replace(door, erasure=None, head=door_before.head, seq=door_before.seq)
    assert alike == door_before and pair.state.door(other(side)) == before.door(other(side))
    for purpose in ("care", "safety", "complaint", "renewal"):
        assert pair.may(side, purpose, NOW + HOUR + 1).reason == "ended"
    others: dict[str, dict[str, Any]] = {"mute": {}, "revoke": {}, "message": {"purpose": "safety"}, "hours": {}}
    for kind, fields in others.items():
        assert pair.refused(kind, side, NOW + 2 * HOUR, **fields).code == "connection_ended"
    assert pair.due(NOW + 9 * DAY) is None
    assert pair.seen_by("first") == pair.seen_by("second") == pair.state


def test_before_the_end_there_is_nothing_to_account_for() -> None:
    pair = granted("care")
    for side in SIDES:
        assert pair.refused("erasure", side, NOW, deleted=()).code == "connection_open"
        assert erasure_duty(pair.state, side) is None


def test_the_chain_goes_on_behind_a_revoke_wherever_that_stood() -> None:
    pair = granted("care")
    pair.go("mute", "second", START + HOUR)
    pair.send(blind_revoke(pair.state.cid, SHOP.did, NOW // 1000, MIA), NOW)
    said = pair.go("erasure", "second", NOW + 1, deleted=("messages",))
    assert (said.payload.seq, said.payload.prev) == (1, pair.records[-2].event.act)  # type: ignore[union-attr]
    again = {**said.payload.model_dump(exclude_none=True), "prev": pair.state.cid, "seq": 2}
    del again["act"]
    with pytest.raises(Refused) as caught:
        decide.decide(pair.state, compose_act("erasure", MIA, **again), NOW + 2, ZONES)
    assert caught.value.code == "prev_mismatch"


def test_a_statement_is_no_no_and_wants_the_right_clock_and_key() -> None:
    pair = ended()
    late = pair.compose("erasure", "first", NOW, deleted=(), iat=(NOW - DAY) // 1000)
    with pytest.raises(Refused) as caught:
        pair.send(late, NOW + 1)
    assert caught.value.code == "iat_out_of_range"
    stranger = next_act(pair.state, "first", "erasure", NOW // 1000, a_public(SHOP.did, "key-2"), deleted=())
    with pytest.raises(Refused) as caught:
        decide.decide(pair.state, stranger, NOW + 1, ZONES)
    assert caught.value.code == "key_replaced"


@pytest.mark.parametrize("early", [True, False])
def test_a_server_that_takes_what_is_not_its_time_contradicts_itself(early: bool) -> None:
    """CONN-18: neither a statement before the end, nor anything else after it."""
    pair = ended()
    act = pair.compose("erasure" if early else "mute", "first", NOW + 1, **({"deleted": ()} if early else {}))
    if early:
        opened = msgspec.structs.replace(pair.state, phase="open", ended_at=0, ended_by=None)
        pair.state = opened
    stated: dict[str, Any] = {
        "iss": pair.state.home,
        "cid": pair.state.cid,
        "event": "accepted",
        "act": act.id,
        "side": "first",
    }
    place = {"chain": "acts", "seq": act.payload.seq, "kind": act.kind, "accepted_at": NOW + 2, "log": LOG, "index": 99}
    stated["as_of"] = {"first": pair.state.first.head, "second": pair.state.second.head, "zones": "2026a"}
    with pytest.raises(Contradiction):
        fold(pair.state, Record(Accepted.model_validate({**stated, **place}), act))


# --- what it says (ERA-2, ERA-3, ERA-5)


NO_NAMES = (
    *("", " ", " x", "x" * 61, "https://shop.example", "shop.example/20", "we@shop.example", "20% off!", "two\nlines"),
    *("\u202ex", "x\u2066", "x\u2028y", "50 $", "#sale", "a_b", "really?"),
)
NO_STATEMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"deleted": ("soul",)},
    {"deleted": ("contact", "contact")},
    {"deleted": ("payments",), "kept": (INVOICES,)},
    {"deleted": (), "kept": (INVOICES, {**INVOICES, "until": 0})},
    {"deleted": (), "kept": ()},
    {"deleted": (), "kept": ({**INVOICES, "ground": "consent"},)},
    {"deleted": (), "kept": ({**INVOICES, "why": "we like them"},)},
    {"deleted": (), "body": "e.k.i.t.x"},
    {"deleted": (), "passed_on": ()},
    {"deleted": (), "passed_on": ("Kurier", "Kurier")},
    {"deleted": (), "passed_on": tuple(f"Kurier {number}" for number in range(17))},
    *({"deleted": (), "passed_on": (name,)} for name in NO_NAMES),
)


@pytest.mark.parametrize("fields", NO_STATEMENTS, ids=str)
def test_an_invalid_erasure_statement_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        ended().compose("erasure", "first", NOW + 1, **fields)


def test_names_of_all_the_world_are_names() -> None:
    for name in ("Jörg Müller & Söhne (Versand)", "O'Neill-Weiß", "株式会社", "1+1 Ltd.", "x" * 60):
        assert ended().compose("erasure", "first", NOW + 1, deleted=(), passed_on=(name,))


def test_a_category_can_be_kept_on_two_grounds_until_different_times() -> None:
    pair = ended()
    kept = (INVOICES, {"what": "payments", "ground": "legal_claims"})
    said = pair.go("erasure", "first", NOW + 1, deleted=("contact",), kept=kept)
    assert isinstance(said.payload, Erasure) and said.payload.kept is not None
    assert [it.until for it in said.payload.kept] == [INVOICES["until"], None]


def test_nobody_keeps_anything_until_yesterday() -> None:
    pair = ended()
    for until, code in (((NOW + DAY) // 1000, "until_passed"), ((NOW + DAY) // 1000 + 1, "")):
        kept = (INVOICES | {"until": until},)
        if code:
            assert pair.refused("erasure", "first", NOW + DAY, deleted=(), kept=kept).code == code
        else:
            pair.go("erasure", "first", NOW + DAY, deleted=(), kept=kept)


_KEPT: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    what=st.sampled_from(get_args(Category)),
    ground=st.sampled_from(get_args(Ground)),
    until=st.integers(NOW // 1000 + 10, 10**11),
)


def can_be_a_name(text: str) -> bool:
    """Whether anybody sees it (ACT-17)."""
    try:
        return bool(check_name(text))
    except ValueError:
        return False


@given(
    deleted=st.lists(st.sampled_from(get_args(Category)), unique=True, max_size=12),
    kept=st.lists(_KEPT, unique_by=lambda it: (it["what"], it["ground"]), max_size=24),
    told=st.lists(
        st.from_regex(get_args(Recipient)[1].metadata[0].pattern, fullmatch=True).filter(can_be_a_name),
        unique=True,
        max_size=16,
    ),
)
def test_every_erasure_statement_can_be_signed_read_and_explained(
    deleted: list[str], kept: list[dict[str, Any]], told: list[str]
) -> None:
    pair = ended()
    kept = [it for it in kept if it["what"] not in deleted]
    fields = {"deleted": tuple(deleted), "kept": tuple(kept) or None, "passed_on": tuple(told) or None}
    said = pair.go("erasure", "first", NOW + 1, **fields)
    assert isinstance(said.payload, Erasure)
    assert [it.model_dump() for it in said.payload.kept or ()] == kept
    assert pair.state.first.erasure is not None
    assert pair.state.first.erasure.complete == (not kept)
    sentence = timeline(pair.records)[-1].about or ""
    assert all(word in sentence for word in (*deleted, *(it["what"] for it in kept)))
    # Who else had it is for those who ask: a name could be made to say more than a name (ERA-5).
    assert not any(name in sentence for name in told if len(name) > 12)


# --- again, and how often (ERA-4)


def test_the_newest_statement_counts_and_the_thirteenth_is_refused() -> None:
    pair = ended()
    first = pair.go("erasure", "first", NOW + HOUR, deleted=("contact",), kept=(INVOICES,))
    for number in range(1, MOST_STATEMENTS):
        last = pair.go("erasure", "first", NOW + DAY + number, deleted=("contact", "payments"))
    said = pair.state.first.erasure
    assert said is not None
    assert (said.id, said.at, said.first_at, said.count) == (last.id, pair.state.at, NOW + HOUR, MOST_STATEMENTS)
    assert said.complete and first.id != last.id
    assert pair.refused("erasure", "first", NOW + 2 * DAY, deleted=()).code == "too_many_statements"
    assert pair.go("erasure", "second", NOW + 2 * DAY, deleted=())


# --- the duty (ERA-6)


@pytest.mark.parametrize("by", SIDES)
def test_a_shop_owes_an_account_within_thirty_days_whoever_ended_it_and_mia_none(by: Side) -> None:
    pair = ended(by)
    assert (pair.state.ended_at, pair.state.ended_by) == (NOW, by)
    owed = erasure_duty(pair.state, "first")
    assert owed == Duty(NOW + 30 * DAY) and owed is not None
    assert erasure_duty(pair.state, "second") is None
    assert [owed.status(at) for at in (NOW, NOW + DUE_AFTER, NOW + DUE_AFTER + 1)] == ["open", "open", "late"]


def test_it_is_done_at_the_first_statement_and_a_correction_undoes_nothing() -> None:
    pair = ended()
    pair.go("erasure", "second", NOW + 1, deleted=("messages",))
    assert erasure_duty(pair.state, "first") == Duty(NOW + DUE_AFTER)
    pair.go("erasure", "first", NOW + DAY, deleted=(), kept=(INVOICES,))
    newest = pair.go("erasure", "first", NOW + 90 * DAY, deleted=("payments",))
    owed = erasure_duty(pair.state, "first")
    assert owed == Duty(NOW + DUE_AFTER, NOW + DAY, newest.id) and owed is not None
    assert owed.status(NOW + 99 * DAY) == "done" and not owed.was_late


def test_a_late_statement_is_taken_and_was_late() -> None:
    pair = ended()
    pair.go("erasure", "first", NOW + DUE_AFTER + 1, deleted=())
    owed = erasure_duty(pair.state, "first")
    assert owed is not None and owed.was_late and owed.status(NOW + 99 * DAY) == "done"


def test_between_two_people_nobody_owes_anything_and_two_businesses_owe_each_other() -> None:
    people = connected(MIA, pairwise("ben"))
    people.go("revoke", "first", NOW)
    assert [erasure_duty(people.state, side) for side in SIDES] == [None, None]
    firms = connected(SHOP, a_public("did:web:post.example", "key-1"))
    firms.go("revoke", "first", NOW)
    assert [erasure_duty(firms.state, side) for side in SIDES] == [Duty(NOW + DUE_AFTER)] * 2


# --- the state


def test_a_state_that_was_stored_before_there_were_statements_is_still_read() -> None:
    pair = ended()
    raw = encode_state(pair.state)
    earlier = raw.replace(b',"ended_at":%d,"ended_by":"second"' % NOW, b"")
    assert earlier != raw and b"erasure" not in raw
    read = decode_state(earlier)
    assert (read.ended_at, read.ended_by, read.first.erasure) == (0, None, None)
    assert decode_state(raw) == pair.state
    assert "ended_at" not in public_state(granted("care").state)


def test_everybody_finds_the_same_in_the_records() -> None:
    pair = ended()
    pair.go("erasure", "first", NOW + 1, deleted=("contact",), kept=(INVOICES,), passed_on=("Kurier",))
    assert public_state(pair.seen_by("second")) == public_state(pair.seen_by("first")) == public_state(pair.state)
    told = timeline(pair.records)[-1]
    assert (told.side, told.kind) == ("first", "erasure")
    until = "2032-09-05"
    assert told.about == f"deleted contact; kept payments (legal obligation, until {until}); 1 other was told"


def test_no_verdict_of_the_gate_hangs_on_a_statement() -> None:
    pair = ended()
    before = gate.may(pair.state, "first", "care", "app", None, NOW + 5, ZONES)
    _, after = accept(pair.state, pair.compose("erasure", "first", NOW + 1, deleted=()), NOW + 1, Place(LOG, 9), ZONES)
    then = gate.may(after, "first", "care", "app", None, NOW + 5, ZONES)
    assert (before.decision, before.reason) == (then.decision, then.reason) == ("refuse", "ended")
