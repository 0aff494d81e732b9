"""The table of acts in spec/connection.md is the one in the code, and both are what really happens (CONN-9).

Three ways: the words of the two tables are equal; for every row a story that leads there, told by hand and for both
sides; and a walk through the states that can be reached, in which nothing else happens than the table says.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comity.crypto.keys import PublicKey, Signer
from comity.documents.acts import MODELS, SETTINGS, SignedAct
from comity.documents.events import Place
from comity.documents.types import SIDES, Side, other
from comity.encoding import hash_id
from comity.errors import CODES, Refused
from comity.rules import decide
from comity.rules.decide import RULES
from comity.rules.guards import Case
from comity.rules.next_act import next_rotation
from comity.rules.state import Connection
from support.parties import DAY, HOUR, LOG, SHOP, START, STATUS_URI, ZONES, Pair, connected, pairwise, public
from support.planted_defects import copy_of_the_protocol, run_tests
from support.spec_pages import table

Row = tuple[str, str, str, str]
"""Act, guard, value, outcome: `accepted` or a code."""

SPEC_ROWS: list[Row] = [
    (act, facet, value, outcome)
    for act, facet, value, _when, outcome in table("connection", "act", "guard", "value", "when", "outcome")
]
NOW = START + DAY
NONE = "A" * 43
BODY = "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyJ9.a2V5.aXY.dGV4dA.dGFn"
BECOMES = {"allow": "delivered", "hold": "held", "hold_drop": "dropped", "spent_drop": "dropped"}


def code_rows() -> list[Row]:
    return [
        (act, rule.name, value, code or "accepted")
        for act, rule in RULES.items()
        for value, code in rule.verdicts.items()
    ]


def test_the_two_tables_have_the_same_rows() -> None:
    assert sorted(SPEC_ROWS) == sorted(code_rows())
    assert len(set(SPEC_ROWS)) == len(SPEC_ROWS)


def test_every_kind_of_act_is_in_the_table_and_every_code_is_one() -> None:
    assert {row[0] for row in SPEC_ROWS} == set(MODELS)
    assert {row[3] for row in SPEC_ROWS} - {"accepted"} <= set(CODES)


# --- what really happens


def outcome(state: Connection, act: SignedAct, at: int) -> str:
    try:
        decide.decide(state, act, at, ZONES)
    except Refused as refused:
        return refused.code
    return "accepted"


def value_of(state: Connection, side: Side, act: SignedAct, at: int) -> str:
    return RULES[act.kind].guard(Case(state, side, act.payload, at, ZONES))


# --- a story for every row, told without a look at the guards

Scene = Callable[[Pair, Side, Side], tuple[SignedAct, int]]
"""What led here, and the act of the first side named, with the time."""

SCENES: dict[tuple[str, str], Scene] = {}


def scene(act: str, *values: str) -> Callable[[Scene], Scene]:
    def keep(told: Scene) -> Scene:
        for value in values:
            SCENES[act, value] = told
        return told

    return keep


def let_in(pair: Pair, me: Side, you: Side, **fields: Any) -> str:
    """The other side grants me what these stories are about."""
    return pair.go("grant", you, START + 1, purposes=("care", "sales", "favour"), **fields).id


@scene("grant", "room")
def _a_first_grant(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("grant", me, NOW, purposes=("care",)), NOW


@scene("grant", "full")
def _a_grant_too_many(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(32):
        pair.go("grant", me, START + number, purposes=("care",))
    return pair.compose("grant", me, NOW, purposes=("care",)), NOW


@scene("grant", "replaces_none")
def _a_grant_in_the_place_of_the_others(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    theirs = let_in(pair, me, you)
    return pair.compose("grant", me, NOW, purposes=("care",), replaces=theirs), NOW


@scene("withdraw", "in_force")
def _taking_back(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    mine = pair.go("grant", me, START + 1, purposes=("care",))
    return pair.compose("withdraw", me, NOW, grant=mine.id), NOW


@scene("withdraw", "none")
def _taking_back_what_the_other_gave(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("withdraw", me, NOW, grant=let_in(pair, me, you)), NOW


@scene("mute", "room")
def _a_first_mute(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("mute", me, NOW, purposes=("sales",)), NOW


@scene("mute", "full")
def _a_mute_too_many(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(32):
        pair.go("mute", me, START + number, purposes=(f"sales.p{number}",))
    return pair.compose("mute", me, NOW, purposes=("sales",)), NOW


@scene("unmute", "in_force")
def _hearing_again(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("mute", me, START + 1)
    return pair.compose("unmute", me, NOW), NOW


@scene("unmute", "none")
def _hearing_again_what_the_other_muted(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    theirs = pair.go("mute", you, START + 1)
    return pair.compose("unmute", me, NOW, mute=theirs.id), NOW


@scene("revoke", "any")
def _ending(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("revoke", me, NOW), NOW


def message(pair: Pair, me: Side, **fields: Any) -> tuple[SignedAct, int]:
    return pair.compose("message", me, NOW, **{"purpose": "care", **fields}), NOW


@scene("message", "allow")
def _welcome(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    return message(pair, me, if_muted="fail")


@scene("message", "hold")
def _muted_and_held(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("mute", you, START + 2)
    return message(pair, me)


@scene("message", "hold_drop")
def _outside_hours_and_dropped(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    night = {"days": ("tu",), "start": "01:00", "end": "02:00"}
    pair.go("hours", you, START + 2, zone="Asia/Tokyo", windows=(night,))
    return message(pair, me, if_muted="drop")


@scene("message", "hold_fail")
def _muted_and_refused(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("mute", you, START + 2, until=(NOW + DAY) // 1000)
    return message(pair, me, if_muted="fail")


@scene("message", "spent_drop")
def _over_the_budget_and_dropped(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you, budget={"max": 0, "per": "day"})
    return message(pair, me, if_muted="drop")


@scene("message", "spent_fail")
def _over_the_budget_and_refused(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you, budget={"max": 1, "per": "week"})
    pair.go("message", me, START + HOUR, purpose="care")
    return message(pair, me, if_muted="fail")


@scene("message", "hold_full")
def _too_many_wait(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("mute", you, START + 2)
    for number in range(20):
        pair.go("message", me, START + HOUR + number, purpose="care", topic=f"t{number}")
    return message(pair, me, topic="another")


@scene("message", "no_grant")
def _not_welcome(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return message(pair, me)


@scene("message", "already_has")
def _selling_what_was_bought(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("milestone", me, START + 2, kind="bought", topic="windows")
    return message(pair, me, purpose="sales", topic="windows.roof")


@scene("message", "no_interest")
def _selling_what_is_not_wanted(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("remember", you, START + 2, key="no_interest", topic="blinds")
    return message(pair, me, purpose="sales", topic="blinds")


@scene("message", "topic_needed")
def _selling_something_of_that_kind(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("milestone", me, START + 2, kind="installed", topic="windows.kitchen")
    return message(pair, me, purpose="sales", topic="windows")


@scene("message", "exempt_limit")
def _a_seventh_warning(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(6):
        pair.go("message", me, START + number, purpose="safety")
    return message(pair, me, purpose="safety")


@scene("contacted", "any")
def _it_was_done_already(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("mute", you, START + 2)
    return pair.compose("contacted", me, NOW, purpose="care"), NOW


def ask(pair: Pair, me: Side, at: int = NOW) -> tuple[SignedAct, int]:
    return pair.compose("ask", me, at), at


@scene("ask", "free")
def _asking(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    return ask(pair, me)


@scene("ask", "open")
def _asking_twice(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("ask", me, START + HOUR)
    return ask(pair, me)


@scene("ask", "cooling")
def _asking_after_a_no(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    first = pair.go("ask", me, START + HOUR)
    pair.go("answer", you, START + HOUR + 1, ask=first.id, answer="no")
    return ask(pair, me, START + 30 * DAY)


@scene("ask", "after_notice")
def _asking_on_the_heels_of_a_notice(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("message", me, START + HOUR, purpose="safety")
    return ask(pair, me)


@scene("ask", "spent")
def _asking_all_the_time(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    for number in range(6):
        at = START + HOUR + 10 * number
        given = pair.go("ask", me, at)
        pair.go("answer", you, at + 1, ask=given.id, answer="yes")
        pair.go("done", you, at + 2, ask=given.id)
    return ask(pair, me)


@scene("ask", "no_grant")
def _asking_without_consent(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return ask(pair, me)


def contested_favour(pair: Pair, me: Side, you: Side, **fields: Any) -> None:
    """The other side says that my last favour was an advertisement."""
    let_in(pair, me, you)
    sent = pair.go("message", me, START + 2, purpose="favour")
    pair.go("feedback", you, START + 3, message=sent.id, purpose="favour", says="mislabelled", as_="sales", **fields)


@scene("ask", "already_has")
def _asking_to_buy_what_she_has(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("milestone", you, START, kind="bought", topic="windows")
    contested_favour(pair, me, you, topic="windows")
    return ask(pair, me)


@scene("ask", "no_interest")
def _asking_to_buy_what_she_does_not_want(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("remember", you, START, key="no_interest", topic="windows")
    contested_favour(pair, me, you, topic="windows")
    return ask(pair, me)


@scene("ask", "topic_needed")
def _asking_to_buy_something(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("remember", you, START, key="no_interest", topic="windows")
    contested_favour(pair, me, you)
    return ask(pair, me)


@scene("ask", "not_now")
def _asking_while_muted(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you)
    pair.go("mute", you, START + 2)
    return ask(pair, me)


@scene("ask", "over_budget")
def _asking_over_the_budget(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    let_in(pair, me, you, budget={"max": 0, "per": "day"})
    return ask(pair, me)


def asked(pair: Pair, asker: Side, doer: Side, value: str) -> tuple[str, int]:
    """An ask that has come as far as the value says; its id and the time."""
    if value == "none":
        return NONE, NOW
    let_in(pair, asker, doer)
    given, at = pair.go("ask", asker, START + HOUR).id, START + HOUR
    if value in ("refused", "not_now"):
        pair.go("answer", doer, at + 1, ask=given, answer="no" if value == "refused" else "not_now")
    if value in ("promised", "broken", "done", "thanked"):
        pair.go("answer", doer, at + 1, ask=given, answer="yes")
    if value in ("done", "thanked"):
        pair.go("done", doer, at + 2, ask=given)
    if value == "thanked":
        pair.go("thank", asker, at + 3, ask=given)
    return given, START + 40 * DAY if value in ("lapsed", "broken") else NOW


def _about_an_ask(kind: str, value: str) -> Scene:
    def told(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
        asker, doer = (me, you) if kind == "thank" else (you, me)
        given, at = asked(pair, asker, doer, value)
        fields = {"answer": "yes"} if kind == "answer" else {}
        return pair.compose(kind, me, at, ask=given, **fields), at

    return told


for _kind in ("answer", "done", "thank"):
    for _value in ("none", "asked", "promised", "refused", "not_now", "done", "thanked", "lapsed", "broken"):
        SCENES[_kind, _value] = _about_an_ask(_kind, _value)


@scene("remember", "room")
def _a_little_thing(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("remember", me, NOW, key="language"), NOW


@scene("remember", "full")
def _too_many_little_things(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(64):
        pair.go("remember", me, START + number, key=f"k{number}")
    return pair.compose("remember", me, NOW, key="language"), NOW


@scene("remember", "words_wait")
def _words_past_a_mute(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("mute", you, START + 1)
    assert pair.go("remember", me, START + 2, key="language")
    return pair.compose("remember", me, NOW, key="name", body=BODY), NOW


@scene("remember", "words_spent")
def _one_sentence_after_the_other(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(40):
        pair.go("remember", me, START + number, key=f"k{number}", body=BODY if number < room(pair, me) else None)
    return pair.compose("remember", me, NOW, key="name", body=BODY), NOW


def room(pair: Pair, side: Side) -> int:
    """How many things that rest on the agreement a side may say unanswered."""
    return 40 if pair.state.door(side).did.startswith("did:key:") else 5


@scene("forget", "kept")
def _forgetting(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("remember", me, START + 1, key="no_interest", topic="blinds")
    return pair.compose("forget", me, NOW, key="no_interest", topic="blinds"), NOW


@scene("forget", "none")
def _forgetting_what_was_not_said(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("remember", me, START + 1, key="no_interest", topic="blinds")
    return pair.compose("forget", me, NOW, key="no_interest"), NOW


@scene("milestone", "room")
def _something_happened(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("milestone", me, NOW, topic="windows"), NOW


@scene("milestone", "words_wait")
def _words_past_quiet_hours(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    never = ({"days": ("mo",), "start": "03:00", "end": "03:01"},)
    pair.go("hours", you, START + 1, zone="Europe/Berlin", windows=never, shown="not_now")
    assert pair.go("milestone", me, START + 2, topic="windows")
    return pair.compose("milestone", me, NOW, topic="windows", body=BODY), NOW


@scene("milestone", "words_spent")
def _one_story_after_the_other(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(room(pair, me)):
        pair.go("milestone", me, START + number, topic="windows", body=BODY)
    return pair.compose("milestone", me, NOW, topic="windows", body=BODY), NOW


@scene("milestone", "full")
def _too_much_happened(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(200):
        pair.go("milestone", me, START + number, topic="windows")
    return pair.compose("milestone", me, NOW, topic="windows"), NOW


def contest(number: int) -> dict[str, Any]:
    return {"message": NONE, "purpose": f"care.p{number}", "says": "mislabelled", "as_": "sales"}


@scene("feedback", "room")
def _saying_that_it_was_an_advertisement(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("feedback", me, NOW, **contest(0)), NOW


@scene("feedback", "full")
def _saying_so_of_everything(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(32):
        pair.go("feedback", me, START + number, **{**contest(number), "message": hash_id(bytes([number]))})
    return pair.compose("feedback", me, NOW, **contest(32)), NOW


@scene("feedback", "spent")
def _thanking_all_the_time(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    for number in range(200):
        pair.go("feedback", me, START + number, message=NONE, purpose="care", says="thanks")
    return pair.compose("feedback", me, NOW, message=NONE, purpose="care", says="useful"), NOW


@scene("renounce", "in_force")
def _giving_consents_up(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    grants = (let_in(pair, me, you), NONE)
    return pair.compose("renounce", me, NOW, grants=grants, because="one_click", purposes=("sales",)), NOW


@scene("renounce", "none")
def _giving_up_what_one_gave_oneself(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    mine = pair.go("grant", me, START + 1, purposes=("care",))
    return pair.compose("renounce", me, NOW, grants=(mine.id,), because="told_us"), NOW


def new_signer(pair: Pair, side: Side) -> Signer:
    return public(SHOP.did, "key-2") if pair.signers[side] == SHOP else pairwise("mia, again")


@scene("rotate", "any")
def _a_new_key(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return next_rotation(pair.state, me, NOW // 1000, pair.signers[me], new_signer(pair, me)), NOW


PAST = {"what": "payments", "ground": "legal_obligation", "until": NOW // 1000}


@scene("erasure", "room")
def _saying_what_became_of_the_data(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("revoke", you, START + 1)
    return pair.compose("erasure", me, NOW, deleted=("contact",)), NOW


@scene("erasure", "open")
def _saying_so_too_early(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("erasure", me, NOW, deleted=("contact",)), NOW


@scene("erasure", "past")
def _keeping_until_yesterday(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("revoke", me, START + 1)
    return pair.compose("erasure", me, NOW, deleted=(), kept=(PAST,)), NOW


@scene("erasure", "full")
def _saying_something_else_all_the_time(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    pair.go("revoke", you, START + 1)
    for number in range(12):
        pair.go("erasure", me, START + 2 + number, deleted=())
    return pair.compose("erasure", me, NOW, deleted=()), NOW


@scene("hours", "known")
def _quiet_hours(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("hours", me, NOW, zone="Europe/Berlin"), NOW


@scene("hours", "unknown")
def _hours_nowhere(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("hours", me, NOW, zone="Europe/Atlantis"), NOW


@scene("budget", "any")
def _a_limit(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("budget", me, NOW, messages={"max": 1, "per": "day"}), NOW


@scene("mailbox", "any")
def _a_mailbox(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("mailbox", me, NOW, box=pairwise("mailbox")), NOW


@scene("mute_end", "any")
def _a_hidden_end(pair: Pair, me: Side, you: Side) -> tuple[SignedAct, int]:
    return pair.compose("mute_end", me, NOW, mute=NONE, until=(NOW + DAY) // 1000), NOW


@pytest.mark.parametrize("me", SIDES)
@pytest.mark.parametrize("row", SPEC_ROWS, ids=lambda row: f"{row[0]}, {row[2]}")
def test_in_every_row_happens_what_it_says(row: Row, me: Side) -> None:
    act, guard, value, expected = row
    pair = connected()
    sent, at = SCENES[act, value](pair, me, other(me))
    assert sent.kind == act
    assert outcome(pair.state, sent, at) == expected
    assert (RULES[act].name, value_of(pair.state, me, sent, at)) == (guard, value)
    if expected == "accepted" and act == "message":
        assert pair.send(sent, at).outcome == BECOMES[value]


def test_there_is_a_story_for_every_row_and_no_other() -> None:
    assert set(SCENES) == {(act, value) for act, _, value, _ in SPEC_ROWS}


# --- a walk through what can be reached

MOST_STATES = 400
COUNTED = {
    ("grant", "full"), ("mute", "full"), ("message", "hold_full"), ("ask", "spent"), ("remember", "full"),
    ("milestone", "full"), ("erasure", "full"), ("feedback", "full"), ("feedback", "spent"),
    ("message", "exempt_limit"), ("remember", "words_spent"), ("milestone", "words_spent"),
}  # fmt: skip
"""Rows that only a long story reaches; the stories above do."""


def probes(state: Connection, side: Side, at: int) -> list[tuple[str, dict[str, Any]]]:
    """Every kind of act, with the values that matter, as this side could send it now."""
    door, across = state.door(side), state.door(other(side))
    theirs, own = (across.ask.id if across.ask else NONE), (door.ask.id if door.ask else NONE)
    grant, mute = (door.grants[-1].id if door.grants else NONE), (door.mutes[-1].id if door.mutes else NONE)
    status = {"status_list": {"idx": door.seq, "uri": STATUS_URI}}
    given = {"exp": at // 1000 + 400 * 86_400, "channels": ("app",), "status": status}
    written = {"exp": at // 1000 + 86_400, "body": BODY, "purpose": "sales", "topic": "x"}
    all_three = ("care", "sales", "favour")
    return [
        ("grant", {**given, "purposes": all_three}),
        ("grant", {**given, "purposes": all_three, "budget": {"max": 0, "per": "day"}, "replaces": grant}),
        ("withdraw", {"grant": grant}),
        ("mute", {}),
        ("unmute", {"mute": mute}),
        *(("message", {**written, "if_muted": way}) for way in ("hold", "drop", "fail")),
        ("message", {**written, "purpose": "safety", "topic": None, "if_muted": "fail"}),
        ("contacted", {"channel": "post", "purpose": "care"}),
        ("ask", {"kind": "hold", "effort": "minute", "body": BODY}),
        *(("answer", {"ask": theirs, "answer": answer}) for answer in ("yes", "no", "not_now")),
        ("done", {"ask": theirs}),
        ("thank", {"ask": own}),
        ("remember", {"key": "no_interest", "topic": "x"}),
        ("remember", {"key": "name", "body": BODY}),
        ("forget", {"key": "no_interest", "topic": "x"}),
        ("milestone", {"kind": "bought", "topic": "y", "when": at // 1000, "body": BODY}),
        ("milestone", {"kind": "bought", "topic": "x", "when": at // 1000, "lasts": at // 1000 + 86_400}),
        ("message", {**written, "topic": None, "if_muted": "fail"}),
        ("message", {**written, "purpose": "favour", "if_muted": "fail"}),
        *(
            ("feedback", {"message": NONE, "purpose": "favour", "says": "mislabelled", "as": "sales", "topic": topic})
            for topic in ("x", "y", None)
        ),
        ("feedback", {"message": NONE, "purpose": "care", "says": "thanks"}),
        ("renounce", {"grants": (across.grants[-1].id if across.grants else NONE,), "because": "one_click"}),
        ("hours", {"zone": "Europe/Berlin", "windows": (), "shown": "end"}),
        ("hours", {"zone": "Europe/Atlantis", "windows": (), "shown": "end"}),
        ("budget", {}),
        ("mailbox", {}),
        ("mute_end", {"mute": mute, "until": at // 1000 + 60}),
        ("revoke", {}),
        ("erasure", {"deleted": ("contact",)}),
        ("erasure", {"deleted": (), "kept": ({**PAST, "until": at // 1000},)}),
    ]


def unsigned(state: Connection, side: Side, at: int, kind: str, fields: dict[str, Any]) -> SignedAct:
    """The next act without a signature, which nothing on this walk looks at: signing would take most of the time."""
    door = state.door(side)
    aud, seq, prev = state.door(other(side)).did, door.seq, door.head
    if kind in SETTINGS:
        aud, seq, prev = state.home, door.settings.seq, door.settings.head or state.cid
    members = {"act": kind, "iss": door.did, "aud": aud, "iat": at // 1000, "cid": state.cid, "seq": seq, "prev": prev}
    payload: Any = MODELS[kind].model_validate({**members, **fields})
    id_ = hash_id(f"{side} {payload!r}".encode())
    return SignedAct("", id_, door.kid, PublicKey.of_multibase(door.key), payload)


def walk(start: Connection) -> set[Row]:
    """All that happens in the states that acts and time reach. States that showed something new are gone on from
    before all others, so that the walk is deep as well as broad."""
    seen: set[tuple[str, ...]] = set()
    shown: set[tuple[Side, Row]] = set()
    soon, later = deque([(start, START + HOUR)]), deque[tuple[Connection, int]]()
    while (soon or later) and len(seen) < MOST_STATES:
        state, at = soon.popleft() if soon else later.popleft()
        _, state = decide.release_held(state, at, Place(LOG, 0), ZONES)
        acts = [
            (side, unsigned(state, side, at, kind, fields))
            for side in SIDES
            for kind, fields in probes(state, side, at)
        ]
        told = [outcome(state, act, at) for _, act in acts]
        if state.phase == "ended":
            after_the_end = {act.kind: result for (_, act), result in zip(acts, told, strict=True)}
            del after_the_end["erasure"]
            assert set(after_the_end.values()) == {"connection_ended"}
            acts = [it for it in acts if it[1].kind == "erasure"]
            told = [outcome(state, act, at) for _, act in acts]
        values = tuple(value_of(state, side, act, at) for side, act in acts)
        if values in seen:
            continue
        seen.add(values)
        rows = [(act.kind, RULES[act.kind].name, value) for (_, act), value in zip(acts, values, strict=True)]
        new = {(side, (*row, result)) for (side, _), row, result in zip(acts, rows, told, strict=True)} - shown
        shown |= new
        after = [(state, at + 31 * DAY)]
        for (_, act), result in zip(acts, told, strict=True):
            if result == "accepted" and act.chain == "acts":
                after.append((decide.accept(state, act, max(at, state.at + 1), Place(LOG, 0), ZONES)[1], at + HOUR))
        (soon if new else later).extend(after)
    return {row for _, row in shown}


def test_every_transition_on_the_way_is_in_the_table() -> None:
    rows = walk(connected().state)
    assert rows <= set(SPEC_ROWS)
    unreached = {(act, value) for act, _, value, _ in set(SPEC_ROWS) - rows}
    assert unreached == COUNTED | {("rotate", "any")}


# --- and the harness itself

DEFECTS = {
    "an entry of the table": (
        "rules/decide.py",
        '"cooling": "cooling_down",',
        '"cooling": "ask_open",',
    ),
    "a guard that lets everything through": (
        "rules/guards.py",
        'return "room" if len(live) < MOST_GRANTS else "full"',
        'return "room"',
    ),
    "a gate that forgets the mute": (
        "rules/gate.py",
        "_mute_block(door, purpose, channel, now)\n        or ",
        "",
    ),
    "an end that does not end": (
        "rules/decide.py",
        'raise Refused("connection_ended")',
        "pass",
    ),
    "a fold that forgets a promise": (
        "rules/fold.py",
        'replace(door.ask, status="promised", ends_at=ends_at)',
        "door.ask",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(tmp_path: Path, defect: str) -> None:
    module, old, new = DEFECTS[defect]
    copy = copy_of_the_protocol(tmp_path, {module: (old, new)})
    result = run_tests(copy, __file__, "-k", "not planted")
    assert result.returncode == 1, result.stdout


def test_without_a_defect_nothing_is_found(tmp_path: Path) -> None:
    result = run_tests(copy_of_the_protocol(tmp_path), __file__, "-k", "not planted and not without")
    assert result.returncode == 0, result.stdout
