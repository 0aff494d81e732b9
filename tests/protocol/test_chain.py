"""Places in a chain, clocks, and the order in which an act is checked (spec/connection.md, CONN-2)."""

from typing import Any

import pytest

from comity.crypto.keys import Signer
from comity.documents.acts import MODELS, SETTINGS, SignedAct, open_act
from comity.documents.events import Accepted, Opened
from comity.documents.types import SIDES, Side
from comity.errors import Contradiction, Malformed, Refused
from comity.rules import decide, guards
from comity.rules.fold import Record, fold, initial_state
from comity.rules.next_act import blind_revoke, compose_act, next_rotation
from comity.rules.state import Connection
from support.parties import (
    DAY,
    HOME,
    HOUR,
    LOG,
    MIA,
    MINUTE,
    SHOP,
    START,
    ZONES,
    Pair,
    connected,
    granted,
    keys_of,
    pairwise,
    public,
)

NOW = START + HOUR


def code(state: Connection, act: SignedAct, at: int = NOW) -> str:
    with pytest.raises(Refused) as caught:
        decide.decide(state, act, at, ZONES)
    return caught.value.code


def mute(pair: Pair, **changes: Any) -> SignedAct:
    """Mia's next mute, with members put otherwise, signed for real."""
    signer = changes.pop("signer", MIA)
    door = pair.state.second
    given = {
        "iss": door.did, "aud": SHOP.did, "iat": NOW // 1000, "cid": pair.state.cid, "seq": door.seq, "prev": door.head,
    }  # fmt: skip
    return compose_act("mute", signer, **{**given, **changes})


# --- the chain


def test_an_act_comes_in_its_place_and_nowhere_else() -> None:
    pair = connected()
    first = pair.go("mute", "second", NOW)
    pair.go("mute", "second", NOW + 1, purposes=("sales",))
    assert code(pair.state, mute(pair, seq=0)) == "seq_taken"
    assert code(pair.state, mute(pair, seq=1)) == "seq_taken"
    assert code(pair.state, mute(pair, seq=3)) == "seq_gap"
    assert code(pair.state, mute(pair, seq=2**53 - 2)) == "seq_gap"
    assert code(pair.state, mute(pair, prev=first.id)) == "prev_mismatch"
    assert code(pair.state, mute(pair, prev=pair.state.cid)) == "prev_mismatch"
    # The other side's head is not one's own.
    assert code(pair.state, mute(pair, prev=pair.state.first.head)) == "prev_mismatch"
    decide.decide(pair.state, mute(pair), NOW, ZONES)


def test_of_two_acts_for_one_place_the_first_one_counts() -> None:
    """Two devices of one wallet, at once."""
    pair = connected()
    phone, tablet = mute(pair), mute(pair, purposes=("sales",))
    pair.send(phone, NOW)
    assert code(pair.state, tablet) == "seq_taken"
    assert code(pair.state, phone) == "seq_taken"


def test_a_refused_act_leaves_its_place_free() -> None:
    pair = granted("care")
    pair.refused("message", "first", NOW, purpose="sales")
    assert pair.state.first.seq == 0
    pair.go("message", "first", NOW, purpose="care")
    assert pair.state.first.seq == 1


def test_settings_have_a_chain_of_their_own() -> None:
    pair = connected()
    pair.go("mute", "second", NOW)
    pair.go("hours", "second", NOW + 1)
    pair.go("budget", "second", NOW + 2)
    assert (pair.state.second.seq, pair.state.second.settings.seq) == (1, 2)
    given: Any = {"iss": MIA.did, "aud": HOME.did, "iat": NOW // 1000, "cid": pair.state.cid}
    head = pair.state.second.settings.head
    assert code(pair.state, compose_act("mailbox", MIA, **given, seq=1, prev=head)) == "seq_taken"
    assert code(pair.state, compose_act("mailbox", MIA, **given, seq=3, prev=head)) == "seq_gap"
    assert code(pair.state, compose_act("mailbox", MIA, **given, seq=2, prev=pair.state.second.head)) == "prev_mismatch"
    decide.decide(pair.state, compose_act("mailbox", MIA, **given, seq=2, prev=head), NOW, ZONES)


def test_a_revoke_is_taken_wherever_it_says_it_stands() -> None:
    for seq, prev in ((0, None), (7, None), (2**53 - 2, "A" * 43), (1, "A" * 43)):
        pair = connected()
        pair.go("mute", "second", NOW)
        given: Any = {"iss": MIA.did, "aud": SHOP.did, "iat": 0, "cid": pair.state.cid}
        pair.send(compose_act("revoke", MIA, **given, seq=seq, prev=prev or pair.state.cid), NOW + 1)
        assert pair.state.phase == "ended"
        assert 0 < pair.state.second.seq <= 2**53 - 1


def test_after_a_revoke_each_further_one_is_told_that_it_has_ended() -> None:
    pair = connected()
    pair.go("revoke", "first", NOW)
    assert code(pair.state, blind_revoke(pair.state.cid, SHOP.did, 0, MIA)) == "connection_ended"


# --- clocks

EVERY_ACT: dict[str, dict[str, Any]] = {
    "grant": {"purposes": ("sales",), "exp": (NOW + 9 * DAY) // 1000},
    "withdraw": {},
    "mute": {},
    "unmute": {},
    "revoke": {},
    "message": {"purpose": "safety", "exp": (NOW + 9 * DAY) // 1000},
    "contacted": {"purpose": "care"},
    "ask": {},
    "answer": {"answer": "yes"},
    "done": {},
    "thank": {},
    "remember": {"key": "name"},
    "forget": {"key": "language"},
    "milestone": {"topic": "windows"},
    "feedback": {"message": "A" * 43, "purpose": "care", "says": "thanks"},
    "renounce": {"because": "told_us"},
    "erasure": {"deleted": ("contact",)},
    "hours": {},
    "budget": {},
    "mailbox": {},
    "mute_end": {"until": (NOW + 9 * DAY) // 1000},
}


def ready(kind: str) -> tuple[Pair, dict[str, Any]]:
    """A connection in which Mia may do this."""
    pair = granted("care")
    for side in SIDES:
        pair.go("grant", side, pair.state.at + 1, purposes=("favour",))
    fields = dict(EVERY_ACT[kind])
    if kind == "withdraw":
        fields["grant"] = pair.state.second.grants[0].id
    if kind == "renounce":
        fields["grants"] = (pair.state.first.grants[0].id,)
    if kind in ("unmute", "mute_end"):
        act = pair.go("mute", "second", START + 9, purposes=("sales",))
        fields["mute"] = act.id
    if kind == "forget":
        pair.go("remember", "second", START + 9, key="language")
    if kind == "erasure":
        pair.go("revoke", "first", START + 9)
    if kind in ("answer", "done"):
        fields["ask"] = pair.go("ask", "first", START + 9).id
    if kind == "done":
        pair.go("answer", "second", START + 10, ask=fields["ask"], answer="yes")
    if kind == "thank":
        fields["ask"] = pair.go("ask", "second", START + 9).id
        pair.go("answer", "first", START + 10, ask=fields["ask"], answer="yes")
        pair.go("done", "first", START + 11, ask=fields["ask"])
    return pair, fields


WHATEVER_THE_CLOCK = {"withdraw", "mute", "revoke", "forget", "renounce", "mute_end"}


def test_every_act_is_tried_here() -> None:
    assert set(EVERY_ACT) | {"rotate"} == set(MODELS)


@pytest.mark.parametrize("kind", EVERY_ACT)
@pytest.mark.parametrize("off", [-DAY, DAY, -400 * DAY, 400 * DAY])
def test_with_a_clock_a_day_off_a_no_still_works_and_nothing_else(kind: str, off: int) -> None:
    pair, fields = ready(kind)
    act = pair.compose(kind, "second", NOW, iat=(NOW + off) // 1000, **fields)
    if kind in WHATEVER_THE_CLOCK:
        pair.send(act, NOW)
    else:
        assert code(pair.state, act) == "iat_out_of_range"
        pair.go(kind, "second", NOW, **fields)


@pytest.mark.parametrize("off", [-10 * MINUTE, 10 * MINUTE])
def test_ten_minutes_either_way_are_forgiven_and_a_second_more_is_not(off: int) -> None:
    pair = connected()
    decide.decide(pair.state, pair.compose("contacted", "second", NOW + off, purpose="care"), NOW, ZONES)
    more = off + (1000 if off > 0 else -1000)
    act = pair.compose("contacted", "second", NOW + more, purpose="care")
    assert code(pair.state, act) == "iat_out_of_range"


def test_a_new_key_needs_a_clock_that_is_right() -> None:
    pair = connected()
    act = next_rotation(pair.state, "second", (NOW + DAY) // 1000, MIA, pairwise("mia 2"))
    assert code(pair.state, act) == "iat_out_of_range"


# --- the order of checks


def test_the_checks_come_in_the_order_that_is_promised() -> None:
    """An act with everything wrong; then one fault after the other is mended, and the next comes to light."""
    pair = connected()
    new = pairwise("mia 2")
    pair.rotate("second", new, START + 1)
    pair.go("mute", "second", START + 2)
    open_state = pair.state
    pair.go("revoke", "first", START + 3)
    ended = pair.state
    stranger, past = pairwise("stranger"), (NOW - DAY) // 1000
    door = open_state.second
    wrong: dict[str, Any] = {
        "signer": stranger, "iss": stranger.did, "aud": MIA.did, "iat": past, "cid": "A" * 43,
        "seq": 9, "prev": "A" * 43, "exp": past, "purposes": ("care",), "channels": ("app",), "replaces": "A" * 43,
        "status": {"status_list": {"idx": 0, "uri": "https://a/1"}},
    }  # fmt: skip
    mended: list[tuple[str, dict[str, Any], Connection]] = [
        ("not_found", {}, ended),
        ("not_found", {"cid": ended.cid}, ended),
        ("wrong_audience", {"signer": MIA, "iss": MIA.did}, ended),
        ("key_replaced", {"aud": SHOP.did}, ended),
        ("connection_ended", {"signer": new, "iss": new.did}, ended),
        ("seq_gap", {}, open_state),
        ("prev_mismatch", {"seq": door.seq}, open_state),
        ("iat_out_of_range", {"prev": door.head}, open_state),
        ("grant_expired", {"iat": NOW // 1000}, open_state),
        ("no_such_grant", {"exp": (NOW + DAY) // 1000}, open_state),
    ]
    for wanted, mend, state in mended:
        wrong = {**wrong, **mend}
        members = {name: value for name, value in wrong.items() if name != "signer"}
        assert code(state, compose_act("grant", wrong["signer"], **members)) == wanted
    del members["replaces"]
    decide.decide(open_state, compose_act("grant", new, **members), NOW, ZONES)


def test_to_a_stranger_an_ended_an_open_and_another_s_connection_look_alike() -> None:
    stranger = pairwise("stranger")
    pair = connected()
    answers = set()
    for _ in range(2):
        for aud in (SHOP.did, MIA.did):
            members: Any = {"aud": aud, "iat": NOW // 1000, "cid": pair.state.cid, "seq": 0, "prev": pair.state.cid}
            act = compose_act("revoke", stranger, iss=stranger.did, **members)
            with pytest.raises(Refused) as caught:
                decide.decide(pair.state, act, NOW, ZONES)
            answers.add((caught.value.code, caught.value.detail))
        if pair.state.phase == "open":
            pair.go("revoke", "first", NOW)
    assert answers == {("not_found", None)}


def test_an_act_of_another_connection_of_the_same_two_is_not_found() -> None:
    pair, other = connected(), connected(at=START + DAY)
    assert pair.state.cid != other.state.cid
    assert code(pair.state, other.compose("mute", "second", NOW)) == "not_found"


def test_an_act_to_somebody_else_is_refused() -> None:
    pair = connected()
    for aud in (MIA.did, HOME.did, pairwise("x").did):
        assert code(pair.state, mute(pair, aud=aud)) == "wrong_audience"
    given: Any = {"iss": MIA.did, "iat": NOW // 1000, "cid": pair.state.cid, "seq": 0, "prev": pair.state.cid}
    assert code(pair.state, compose_act("mailbox", MIA, **given, aud=SHOP.did)) == "wrong_audience"


def test_a_did_web_s_other_key_is_not_the_side_s() -> None:
    pair = connected()
    other = public(SHOP.did, "key-2")
    act = compose_act(
        "mute", other, iss=SHOP.did, aud=MIA.did, iat=NOW // 1000, cid=pair.state.cid, seq=0, prev=pair.state.cid
    )
    assert code(pair.state, open_act(act.raw, keys_of(other))) == "key_replaced"


def test_the_name_of_the_key_does_not_make_the_key() -> None:
    """Somebody publishes another key under the name that the side signed with."""
    pair = connected()
    swapped = Signer(SHOP.kid, pairwise("x").key)
    act = compose_act(
        "mute", swapped, iss=SHOP.did, aud=MIA.did, iat=NOW // 1000, cid=pair.state.cid, seq=0, prev=pair.state.cid
    )
    assert code(pair.state, act) == "key_replaced"


# --- ends in the past, limits


def test_a_grant_until_the_year_3108_is_a_slip_and_one_of_ten_years_is_none() -> None:
    pair = granted("care")
    told = pair.refused("grant", "second", NOW, purposes=("sales",), exp=35_912_592_000)
    assert (told.code, told.detail) == ("grant_expired", "a grant ends within ten years")
    pair.go("grant", "second", NOW, purposes=("sales",), exp=NOW // 1000 + 3653 * 86_400)


def test_windows_that_come_next_year_or_were_worn_out_before_they_came_are_no_milestone() -> None:
    pair = granted("care")
    now = NOW // 1000
    for when, lasts, pointer in ((now + 86_401, None, "/when"), (now, now - 1, "/lasts"), (now - 9, 0, "/lasts")):
        told = pair.refused("milestone", "first", NOW, kind="installed", topic="windows", when=when, lasts=lasts)
        assert (told.code, told.errors[0][0]) == ("malformed", pointer)
    # Who is in Auckland says tomorrow's date.
    pair.go("milestone", "first", NOW, kind="installed", topic="windows", when=now + 86_400)
    pair.go("milestone", "first", NOW + 1, kind="bought", topic="doors", when=now, lasts=now)


@pytest.mark.parametrize(
    ("kind", "side", "fields", "wanted"),
    [
        ("grant", "second", {"purposes": ("care",), "exp": NOW // 1000}, "grant_expired"),
        ("mute", "second", {"until": NOW // 1000}, "until_passed"),
        ("mute_end", "second", {"mute": "A" * 43, "until": NOW // 1000}, "until_passed"),
        ("message", "first", {"purpose": "care", "exp": NOW // 1000}, "message_expired"),
        ("ask", "first", {"by": NOW // 1000}, "by_passed"),
    ],
)
def test_an_end_that_has_passed_makes_an_act_say_nothing(kind: str, side: Side, fields: Any, wanted: str) -> None:
    pair = granted("care", "favour")
    assert pair.refused(kind, side, NOW, **fields).code == wanted
    name = next(name for name in ("exp", "until", "by") if name in fields)
    pair.go(kind, side, NOW, **{**fields, name: NOW // 1000 + 1})


def test_a_side_gives_at_most_thirty_two_grants_and_may_replace_one() -> None:
    pair = connected()
    for number in range(guards.MOST_GRANTS):
        pair.go("grant", "second", START + 1 + number, purposes=("care",))
    assert pair.refused("grant", "second", NOW, purposes=("care",)).code == "too_many_grants"
    old = pair.state.second.grants[4].id
    pair.go("grant", "second", NOW, purposes=("sales",), replaces=old)
    assert old not in [grant.id for grant in pair.state.second.grants]
    assert len(pair.state.second.grants) == guards.MOST_GRANTS
    assert pair.refused("grant", "second", NOW + 1, purposes=("care",), replaces=old).code == "no_such_grant"
    pair.go("withdraw", "second", NOW + 2, grant=pair.state.second.grants[0].id)
    pair.go("grant", "second", NOW + 3, purposes=("care",))


def test_grants_that_have_ended_take_no_room() -> None:
    pair = connected()
    for number in range(guards.MOST_GRANTS):
        pair.go("grant", "second", START + 1 + number, purposes=("care",), exp=(START + MINUTE) // 1000)
    pair.go("grant", "second", NOW, purposes=("care",))
    assert len(pair.state.second.grants) == 1


def test_nobody_takes_back_what_the_other_gave_or_what_is_gone() -> None:
    pair = granted("care")
    grant = pair.state.second.grants[0].id
    assert pair.refused("withdraw", "first", NOW, grant=grant).code == "no_such_grant"
    pair.go("withdraw", "second", NOW, grant=grant)
    assert pair.refused("withdraw", "second", NOW + 1, grant=grant).code == "no_such_grant"
    assert pair.may("first", "care", NOW + 2).reason == "no_grant"


def test_a_mute_is_taken_back_by_its_owner_alone() -> None:
    pair = connected()
    act = pair.go("mute", "second", NOW)
    assert pair.refused("unmute", "first", NOW + 1, mute=act.id).code == "no_such_mute"
    assert pair.refused("unmute", "first", NOW + 1).code == "no_such_mute"
    pair.go("unmute", "second", NOW + 1, mute=act.id)
    assert pair.refused("unmute", "second", NOW + 2, mute=act.id).code == "no_such_mute"


def test_a_mute_of_one_scope_takes_the_place_of_the_one_before() -> None:
    pair = connected()
    pair.go("mute", "second", NOW, purposes=("sales", "care"))
    later = pair.go("mute", "second", NOW + 1, purposes=("care", "sales"), until=(NOW + DAY) // 1000)
    assert [it.id for it in pair.state.second.mutes] == [later.id]
    pair.go("mute", "second", NOW + 2, purposes=("care", "sales"), channels=("app",))
    assert len(pair.state.second.mutes) == 2


def test_the_little_things_have_room_for_sixty_four() -> None:
    pair = connected()
    for number in range(guards.MOST_NOTES):
        pair.go("remember", "second", START + 1 + number, key=f"k{number}")
    assert pair.refused("remember", "second", NOW, key="one_more").code == "too_much_remembered"
    again = pair.go("remember", "second", NOW, key="k3")
    assert [it.id for it in pair.state.second.little if it.key == "k3"] == [again.id]
    assert pair.refused("forget", "second", NOW + 1, key="unknown").code == "nothing_remembered"
    pair.go("forget", "second", NOW + 1, key="k3")
    pair.go("remember", "second", NOW + 2, key="one_more")


def test_two_hundred_milestones_are_kept() -> None:
    pair = connected()
    for number in range(guards.MOST_MILESTONES):
        pair.go("milestone", "first", START + 1 + number, topic="windows")
    assert pair.refused("milestone", "first", NOW, topic="windows").code == "too_many_milestones"
    pair.go("milestone", "second", NOW, topic="windows")


def test_a_zone_that_nobody_knows_is_not_set() -> None:
    pair = connected()
    for zone in ("Mars/Olympus", "Europe/Berlin2"):
        assert pair.refused("hours", "second", NOW, zone=zone).code == "unknown_zone"
    for zone in ("../../etc/passwd", "/etc/localtime", "Europe/../Berlin", "", "Europe/Berlin\x00"):
        with pytest.raises(Malformed):
            pair.compose("hours", "second", NOW, zone=zone)


# --- composing, and what a reader refuses to believe


def test_an_act_with_members_of_another_is_not_composed() -> None:
    pair = connected()
    for kind, fields in (("mute", {"exp": 1}), ("revoke", {"reason": "x"}), ("grant", {}), ("dance", {})):
        with pytest.raises(Malformed):
            pair.compose(kind, "second", NOW, **fields)


def test_a_body_that_makes_a_text_too_large_is_not_sealed() -> None:
    with pytest.raises(Refused):
        granted("care").compose("message", "first", NOW, purpose="care", body="a." * 4 + "a" * 49_152)


def test_events_about_others_or_out_of_time_are_contradictions() -> None:
    pair = granted("care")
    before = pair.state
    act = pair.go("message", "first", NOW, purpose="care")
    event = pair.records[-1].event
    assert isinstance(event, Accepted)
    good = Record(event, act)
    assert fold(before, good) == pair.state
    for changes in (
        {"cid": "A" * 43},
        {"iss": SHOP.did},
        {"accepted_at": before.at},
        {"act": "A" * 43},
        {"side": "second"},
        {"chain": "settings"},
        {"seq": 1},
        {"kind": "contacted"},
        {"kind": "revoke"},
    ):
        with pytest.raises(Contradiction):
            fold(before, Record(event.model_copy(update=changes), act))
    with pytest.raises(Contradiction):
        fold(pair.state, good)
    opened = pair.records[0].event
    with pytest.raises(Contradiction):
        fold(before, Record(opened.model_copy(update={"at": NOW + 1})))
    muted = pair.go("mute", "second", NOW + 1)
    with pytest.raises(Contradiction):
        fold(before, Record(pair.records[-1].event))
    assert muted.kind == "mute"
    ended = pair.go("revoke", "second", NOW + 2)
    with pytest.raises(Contradiction):
        fold(pair.state, Record(pair.records[-1].event.model_copy(update={"accepted_at": NOW + 3}), ended))


def test_a_connection_is_opened_by_its_own_event_alone() -> None:
    pair = connected()
    for changes in ({"cid": "A" * 43}, {"iss": SHOP.did}):
        opened = Opened.model_validate(
            {"iss": HOME.did, "cid": pair.state.cid, "event": "opened", "log": LOG, "index": 0, "at": START} | changes
        )
        with pytest.raises(Contradiction):
            initial_state(pair.agreement, opened)


def test_the_settings_of_the_other_side_cannot_be_folded_from_their_event_alone() -> None:
    pair = connected()
    pair.go("hours", "second", NOW)
    with pytest.raises(Contradiction):
        fold(connected().state, Record(pair.records[-1].event))
    assert pair.state.second.settings.seq == 1
    assert "hours" in SETTINGS
