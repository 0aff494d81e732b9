"""The gate's promises on states made at random, and a second gate, written from the rules' words, beside the first.

Ten thousand states in each test; a million with `--long`.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from comity.documents import hours
from comity.documents.acts import Ask, Message, Milestone, Remember, SignedAct
from comity.documents.events import Place
from comity.documents.types import EXEMPT_PURPOSES, SIDES, Side, covers, other
from comity.errors import Refused
from comity.rules import decide, gate
from comity.rules.gate import Verdict
from comity.rules.state import Connection, Door, Settings
from support import gate_reference
from support.gate_reference import Answer
from support.parties import BODY, LOG, ZONES
from support.random_states import SIGNERS, TOPICS, Question, Scene, moments, other_settings, state_of

STRICTNESS = {"allow": 0, "hold": 1, "refuse": 2}
FOR_EVER = 2**62
ALL = (pytest.param(10_000, id="short"), pytest.param(1_000_000, id="long", marks=pytest.mark.long))
in_all_states = pytest.mark.parametrize("count", ALL)


def scenes(count: int) -> Iterator[tuple[int, Scene]]:
    for number in range(count):
        yield number, state_of(number)


def ask(scene: Scene, question: Question, state: Connection | None = None, now: int | None = None) -> Verdict:
    at = scene.now if now is None else now
    return gate.may(state or scene.state, scene.sender, *question, at, ZONES)


def with_receiver(scene: Scene, **changes: Any) -> Connection:
    """The same state, with something of the receiving side put otherwise."""
    side = other(scene.sender)
    return scene.state.with_door(side, replace(scene.state.door(side), **changes))


# --- a second gate


@in_all_states
def test_a_gate_written_from_the_rules_words_says_the_same(count: int) -> None:
    for number, scene in scenes(count):
        for question in scene.questions[:4]:
            verdict = ask(scene, question)
            expected = gate_reference.may(scene.state, scene.sender, *question, scene.now)
            seen = Answer(verdict.decision, verdict.reason, verdict.ends_at, verdict.end_shown)
            assert seen == expected, (number, question)
            door = scene.state.door(other(scene.sender))
            assert verdict.contest == tuple(gate_reference.covering(door, question[0], scene.now)), (number, question)
            until = gate_reference.fresh_until(
                scene.state, scene.sender, expected, verdict.grant, question[0], scene.now
            )
            assert scene.now < verdict.valid_until <= until, (number, question)


# --- contests, topics


@in_all_states
def test_a_contest_never_widens_a_verdict_and_never_touches_an_exempt_purpose(count: int) -> None:
    for number, scene in scenes(count):
        if not scene.state.door(other(scene.sender)).contests:
            continue
        bare = with_receiver(scene, contests=())
        for question in (*scene.questions, ("safety", "app", None), ("legal_notice", "post", "windows")):
            narrowed, without = ask(scene, question), ask(scene, question, bare)
            if question[0] in EXEMPT_PURPOSES:
                exempt = replace(narrowed, contest=(), valid_until=without.valid_until)
                assert exempt == without, (number, question)
            else:
                _check_not_wider(narrowed, without, (number, question))


def _check_not_wider(narrowed: Verdict, without: Verdict, where: tuple[int, Question]) -> None:
    assert STRICTNESS[narrowed.decision] >= STRICTNESS[without.decision], where
    if without.decision == "refuse":
        assert narrowed.reason == without.reason, where
    if narrowed.decision == without.decision == "hold":
        assert (narrowed.ends_at or FOR_EVER) >= (without.ends_at or FOR_EVER), where
        if without.outward().reason == "not_now":
            assert narrowed.outward().reason == "not_now", where
            assert without.end_shown or not narrowed.end_shown, where


def _old_topic_rule(scene: Scene, question: Question) -> str | None:
    """How a sale without a word about its topic was let through before: the reference that the rule may not widen."""
    purpose, _, topic = question
    if topic is None or not covers("sales", purpose):
        return None
    for milestone in (*scene.state.first.milestones, *scene.state.second.milestones):
        lasts = milestone.lasts is None or scene.now < milestone.lasts * 1000
        if milestone.kind in ("bought", "installed") and lasts and covers(milestone.topic, topic):
            return "already_has"
    little = scene.state.door(other(scene.sender)).little
    if any(it.key == "no_interest" and it.topic and covers(it.topic, topic) for it in little):
        return "no_interest"
    return None


@in_all_states
def test_the_topic_rule_refuses_all_that_it_refused_before_unless_she_asked_for_it(count: int) -> None:
    for number, scene in scenes(count):
        door = scene.state.door(other(scene.sender))
        asked_for_nothing = tuple(it for it in door.little if it.key != "interested")
        state = with_receiver(scene, little=asked_for_nothing, contests=())
        for question in scene.questions:
            before = _old_topic_rule(scene, question)
            if before is not None and not state.recovering:
                assert ask(scene, question, state).reason in (before, "no_grant"), (number, question)


# --- what the sender can learn


@in_all_states
def test_no_question_tells_a_hidden_end_a_limit_or_hours(count: int) -> None:
    """Two states that differ only in what the receiving side keeps to itself. All answers are alike, but that one of
    them may be "not now"; an end of it is told only where it is the end of hours that their owner shows."""
    for number, scene in scenes(count):
        door = scene.state.door(other(scene.sender))
        changed = with_receiver(scene, settings=other_settings(Random(-1 - number), door, scene.now))
        for question in scene.questions:
            answers = [ask(scene, question, state).outward() for state in (scene.state, changed)]
            shown = [_shown_hours_end(state.door(other(scene.sender)), scene.now) for state in (scene.state, changed)]
            _check_alike(answers, shown, (number, question))


def _shown_hours_end(door: Door, now: int) -> int | None:
    """When the receiving side is open or closed next, where it shows that and its zone is known."""
    own = door.settings
    zone = ZONES.zone(own.zone) if own.zone and own.windows and own.hours_end_shown else None
    return None if zone is None else hours.next_change(own.windows, zone, now)


def _check_alike(answers: list[Verdict], shown: list[int | None], where: tuple[int, Question]) -> None:
    one, two = answers
    assert one.as_of == two.as_of, where
    assert one.contest == two.contest, where
    if {one.reason, two.reason} == {"not_now"} or one.reason == two.reason:
        ends = [it.ends_at for it in answers]
        # Where a contest asks about several purposes, one may wait for hours whose end is shown and the other for more.
        assert ends[0] == ends[1] or shown != [None, None] or _is_many(one), where
        assert one.grant == two.grant, where
        assert one.valid_until == two.valid_until or shown != [None, None] or ends[0] != ends[1], where
        return
    assert "not_now" in (one.reason, two.reason), where
    for answer, end in zip(answers, shown, strict=True):
        if answer.reason == "not_now":
            assert answer.ends_at in (None, end) or _is_many(answer), where


def _is_many(verdict: Verdict) -> bool:
    return bool(verdict.contest)


@in_all_states
def test_an_end_that_is_told_of_a_contested_message_is_that_of_a_question_of_its_own(count: int) -> None:
    """The strictest of several verdicts says nothing that they do not say one by one, and where none of them changes
    with what the receiving side keeps to itself, it does not change."""
    for number, scene in scenes(count):
        side = other(scene.sender)
        door = scene.state.door(side)
        if not door.contests or scene.state.recovering:
            continue
        changed = with_receiver(scene, settings=other_settings(Random(-1 - number), door, scene.now))
        for question in scene.questions[:3]:
            parts = [_parts(state, scene, question) for state in (scene.state, changed)]
            answers = [ask(scene, question, state).outward() for state in (scene.state, changed)]
            for told, of in zip(answers, parts, strict=True):
                if told.decision == "hold":
                    assert told.ends_at is None or told.ends_at in {end for _, end in of}, (number, question)
            if parts[0] == parts[1] and question[0] not in EXEMPT_PURPOSES:
                alike = [replace(it, valid_until=0, grant=None) for it in answers]
                assert alike[0] == alike[1], (number, question)


def _parts(state: Connection, scene: Scene, question: Question) -> list[tuple[str, int | None]]:
    """What is told of what was asked, and of that as which it was contested: (reason, end)."""
    me, she = state.door(scene.sender), state.door(other(scene.sender))
    purpose, channel, topic = question
    asked = [(purpose, topic)]
    asked += [(it.as_, it.topic or topic) for it in gate_reference.narrowing(me, she, purpose, scene.now)]
    found = [gate_reference.plain(state, me, she, word, channel, about, scene.now) for word, about in asked]
    private = gate_reference.TOLD_AS_NOT_NOW
    return [("not_now" if it.reason in private else it.reason, it.ends_at if it.end_shown else None) for it in found]


ACTS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (Message, {"act": "message", "if_muted": "fail", "exp": 10**11, "topic": None, "reply_to": None}),
    (Message, {"act": "message", "if_muted": "drop", "exp": 10**11, "topic": None, "reply_to": None}),
    (Message, {"act": "message", "if_muted": "hold", "exp": 10**11, "topic": None, "reply_to": None}),
    (Ask, {"act": "ask", "kind": "hold", "effort": "minute", "by": None}),
    (Ask, {"act": "ask", "kind": "renewal", "effort": "minute", "by": None}),
    (Remember, {"act": "remember", "key": "language", "topic": None}),
    (Milestone, {"act": "milestone", "kind": "serviced", "when": 0, "topic": "windows", "lasts": None}),
)


def what_is_said(scene: Scene, state: Connection, place: int) -> tuple[str | None, int | None, int | None]:
    """The answer to an act of the sending side: a code or an outcome, and the ends that come with it (s)."""
    model, members = ACTS[place % len(ACTS)]
    door, signer = state.door(scene.sender), SIGNERS[state.door(scene.sender).did]
    link = {"iss": door.did, "aud": state.door(other(scene.sender)).did, "iat": scene.now // 1000, "cid": state.cid}
    purpose = {"purpose": scene.questions[0][0]} if model is Message else {}
    payload = model.model_construct(**link, seq=door.seq, prev=door.head, body=BODY, **purpose, **members)
    act = SignedAct("", "an act", signer.kid, signer.key.public, payload)
    try:
        return decide.decide(state, act, scene.now, ZONES).outcome, None, None
    except Refused as refused:
        return refused.code, refused.until, refused.retry_after


@in_all_states
def test_no_refusal_of_an_act_tells_a_hidden_end_a_limit_or_hours(count: int) -> None:
    not_now = ("not_now", "held", "dropped", "hold_full")
    for number, scene in scenes(count):
        door = scene.state.door(other(scene.sender))
        changed = with_receiver(scene, settings=other_settings(Random(-1 - number), door, scene.now))
        for place in (number, number + 3):
            one, two = (what_is_said(scene, state, place) for state in (scene.state, changed))
            if one == two:
                continue
            assert one[0] in not_now or two[0] in not_now, (number, place, one, two)
            for code, until, retry_after in (one, two):
                # The end of a spent budget is public: it follows from what was delivered.
                assert until is None or code in ("not_now", "over_budget"), (number, place, one, two)
                assert retry_after is None, (number, place, one, two)
            hours_shown = any(
                _shown_hours_end(state.door(other(scene.sender)), scene.now) for state in (scene.state, changed)
            )
            ends = [until for code, until, _ in (one, two) if code == "not_now"]
            assert ends in ([], [None], [None, None]) or hours_shown or door.contests, (number, place, one, two)


# --- time


@in_all_states
def test_until_a_verdict_is_said_to_be_settled_nothing_of_it_changes(count: int) -> None:
    """So what is kept is what the gate would say, at every moment at which it is told."""
    for number, scene in scenes(count):
        until = gate.unchanged_until(scene.state, scene.sender, scene.now, ZONES)
        assert until > scene.now
        between = moments(scene.state, scene.now, until)
        for question in (*scene.questions[:2], ("safety", "app", None), ("security", "app", None)):
            told = replace(ask(scene, question), valid_until=0)
            for moment in (*between[:3], *between[-2:]):
                again = replace(ask(scene, question, now=moment), valid_until=0)
                assert again == told, (number, question, moment)


@in_all_states
def test_nothing_is_let_go_before_it_is_said_to_be_due(count: int) -> None:
    for number, scene in scenes(count):
        due = decide.next_release_at(scene.state, scene.now + 1, ZONES)
        if due is None:
            assert not scene.state.first.held, number
            assert not scene.state.second.held, number
            continue
        between = moments(scene.state, scene.now + 1, due)
        for moment in (*between[:3], *between[-2:]):
            events, _ = decide.release_held(scene.state, moment, Place(LOG, 0), ZONES)
            assert events == (), (number, moment, due)


@in_all_states
def test_nobody_is_told_valid_offline_where_the_gate_might_say_anything_but_yes(count: int) -> None:
    """But for hours, limits and what was sent, of which no list says anything."""
    for number, scene in scenes(count):
        side: Side = other(scene.sender)
        state = _without_limits(scene)
        across = state.door(scene.sender)
        for grant in state.door(side).grants:
            until = max(scene.now, gate.undecidable_until(scene.state, side, grant))
            if gate.is_fully_renounced(across, grant) or until >= grant.exp * 1000:
                continue
            covered = {*grant.purposes, *(f"{word}.more" for word in grant.purposes)}
            covered |= {it.purpose for it in state.door(side).contests if _is_covered(grant.purposes, it.purpose)}
            for moment in moments(scene.state, until, grant.exp * 1000)[:2]:
                for purpose in sorted(covered):
                    question = (purpose, grant.channels[0], None if number % 2 else TOPICS[number % len(TOPICS)])
                    verdict = ask(scene, question, state, moment)
                    assert verdict.decision == "allow", (number, question, moment)


def _is_covered(granted: tuple[str, ...], purpose: str) -> bool:
    return any(covers(it, purpose) for it in granted)


def _without_limits(scene: Scene) -> Connection:
    """The state with nothing sent, no hours, no limit and no budget."""
    state = scene.state
    for side in SIDES:
        door = state.door(side)
        free = tuple(replace(it, budget=None) for it in door.grants)
        settings = Settings(mute_ends=door.settings.mute_ends)
        state = state.with_door(side, replace(door, sent=(), grants=free, settings=settings))
    return state


# --- the states themselves


def test_the_states_have_what_the_rules_are_about() -> None:
    """Else nothing would have been asked: every reason is met, by way of contests, too."""
    reasons, contested, shown = set[str](), set[str](), set[bool]()
    for _, scene in scenes(3000):
        for question in scene.questions:
            verdict = ask(scene, question)
            reasons.add(verdict.reason)
            shown.add(verdict.end_shown)
            if verdict.contest and verdict != ask(scene, question, with_receiver(scene, contests=())):
                contested.add(verdict.reason)
    assert reasons == set(gate.REASONS) - {"ended", "no_agreement", "not_now"}
    assert contested >= {"no_grant", "already_has", "topic_needed", "muted", "over_budget", "granted"}
    assert shown == {True, False}
