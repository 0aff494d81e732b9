"""Forty weeks of a log: of an honest server nothing is named, and what a dishonest one adds or leaves out is.

The entries are those of thousands of acts in many connections: both sides mute each other, with shown and hidden ends,
mute anew, let messages wait, and end some connections. The reader is `log_rules`, which knows what entries say and no
more.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from comity.documents.events import MuteOver, Opened
from comity.documents.types import SIDES
from comity.errors import Contradiction, Refused
from comity.rules.fold import Record, fold, initial_state
from comity.rules.mute_over import owner_of_mute
from comity.transparency.entries import Kind
from support.log_rules import Entered, entries, findings, joined, week_by_week
from support.parties import DAY, LOG, START, Pair, connected
from support.random_stories import Hand, tell_on

FORTY_WEEKS = 280 * DAY
ACTS = (pytest.param(1500, id="short"), pytest.param(10_000, id="long", marks=pytest.mark.long))


def forty_weeks(seed: int) -> Pair:
    """A connection over that time; a third of them ends with a revoke, behind which the server refuses all else."""
    hand, pair = Hand(seed, restores=False), connected()
    for side in SIDES:
        fields = {"purposes": ("care", "sales", "favour"), "channels": ("app", "phone")}
        pair.go("grant", side, pair.state.at + 1, exp=(START + 2 * FORTY_WEEKS) // 1000, **fields)
    while pair.state.at < START + FORTY_WEEKS:
        due = pair.due(pair.state.at)
        if due is not None and hand.one(True, False):
            # What waits goes out in the very millisecond in which it may.
            pair.release(max(due, pair.state.at + 1))
        if hand.one(*range(6)) == 0:
            _unmute(pair, hand)
        tell_on(pair, hand)
    if seed % 3 == 0:
        pair.go("revoke", hand.one(*SIDES), pair.state.at + DAY)
        pair.refused("message", hand.one(*SIDES), pair.state.at + DAY, purpose="safety")
    return pair


def _unmute(pair: Pair, hand: Hand) -> None:
    """Take one mute back, or all."""
    side = hand.one(*SIDES)
    mutes = [it.id for it in pair.state.door(side).mutes]
    try:
        pair.go("unmute", side, pair.state.at + 1, mute=hand.one(None, *mutes))
    except Refused:
        return


@cache
def stories(acts: int) -> tuple[Pair, ...]:
    """So many connections that they have all the acts together."""
    found = list[Pair]()
    while sum(len(pair.events) for pair in found) < acts:
        found.append(forty_weeks(len(found)))
    return tuple(found)


@cache
def log_of(acts: int) -> tuple[Entered, ...]:
    """The log of them all, in the order of time."""
    all_ = (it for number, pair in enumerate(stories(acts)) for it in entries(pair, str(number)))
    return tuple(sorted(all_, key=lambda it: it.at))


def places(log: tuple[Entered, ...], *kinds: Kind) -> Iterator[int]:
    """Where entries of these kinds are, at most thirty."""
    return iter([number for number, it in enumerate(log) if it.entry.kind in kinds][:30])


def with_one_more(log: tuple[Entered, ...], number: int, **changes: object) -> list[Entered]:
    """The log with a changed copy of an entry right behind it."""
    it = log[number]
    return [*log[: number + 1], it._replace(entry=it.entry._replace(**changes)), *log[number + 1 :]]  # type: ignore[arg-type]


@pytest.mark.parametrize("acts", ACTS)
def test_of_an_honest_server_nothing_is_named(acts: int) -> None:
    log = log_of(acts)
    assert findings(log, week_by_week) == []
    assert findings(log, joined) == []
    # All that a connection's log can hold is in it, many times.
    kinds, alone = Counter(it.entry.kind for it in log), {Kind.ERASED, Kind.KEY, Kind.DISCLOSED, Kind.NOTICE}
    assert all(kinds[kind] >= 3 for kind in {*Kind} - alone), kinds
    assert log[-1].at - log[0].at >= FORTY_WEEKS


@pytest.mark.parametrize("acts", ACTS)
def test_a_message_let_through_a_mute_whose_end_was_not_entered_is_named(acts: int) -> None:
    log, named = log_of(acts), 0
    for number in places(log, Kind.MUTE_OVER):
        cut = (*log[:number], *log[number + 1 :])
        # The act of a message that came through at once stands before its delivery.
        delivered = number if cut[number].entry.kind is Kind.DELIVERED else number + 1
        assert (delivered, "delivered_in_mute") in findings(cut, joined)
        # Without keys it is seen where the mute is of the same week.
        named += (delivered, "delivered_in_mute") in findings(cut, week_by_week)
    assert named


@pytest.mark.parametrize("acts", ACTS)
def test_a_mute_that_the_server_ends_before_the_end_that_it_shows_is_named(acts: int) -> None:
    log, named = log_of(acts), 0
    for number in places(log, Kind.MUTE_ALL):
        if log[number].entry.time >= log[number].entry.until * 60:
            # It shows no end, or one within this very hour, of which nobody claims anything.
            continue
        early = with_one_more(log, number, kind=Kind.MUTE_OVER, until=0)
        assert (number + 1, "ended_early") in findings(early, week_by_week)
        named += 1
    assert named


@pytest.mark.parametrize("kind", [Kind.DELIVERED, Kind.DELIVERED_EXEMPT])
def test_a_delivery_behind_a_revoke_is_named_by_a_reader_of_the_log(kind: Kind) -> None:
    log = log_of(1500)
    for number in places(log, Kind.REVOKE):
        for side in SIDES:
            found = findings(with_one_more(log, number, kind=kind, side=side), week_by_week)
            assert found == [(number + 1, "delivered_after_revoke")]


def test_an_act_taken_in_behind_a_revoke_is_named() -> None:
    log = log_of(1500)
    for number in places(log, Kind.REVOKE):
        for kind in (Kind.MUTE_ALL, Kind.MUTE_PART, Kind.UNMUTE, Kind.REVOKE, Kind.CONTEST):
            found = findings(with_one_more(log, number, kind=kind), week_by_week)
            assert found == [(number + 1, "acted_after_revoke")]
        # What became of the data may be stated.
        assert findings(with_one_more(log, number, kind=Kind.ACT), week_by_week) == []


def test_a_delivery_of_nothing_is_named_by_whoever_has_the_keys() -> None:
    log, number = log_of(1500), next(places(log_of(1500), Kind.DELIVERED))
    more = list(log)
    for _ in range(sum(it.connection == log[number].connection for it in log)):
        more.insert(number + 1, log[number])
    assert "delivered_nothing" in {code for _, code in findings(more, joined)}
    assert findings(more, week_by_week) == []


def test_a_mute_ended_by_nothing_looks_true_to_others_and_false_to_her_who_muted() -> None:
    """The log's labels are the server's: nobody else can see it, and nobody should claim to."""
    told = 0
    for pair in stories(1500):
        opened = pair.records[0].event
        assert isinstance(opened, Opened)
        state = initial_state(pair.agreement, opened)
        for event, act in pair.records[1:]:
            state = fold(state, Record(event, act))
            if act is None or act.payload.act != "mute":
                continue
            if owner_of_mute(state, act.id) is None or act.payload.until is not None:
                continue
            about = {"iss": state.home, "cid": state.cid, "act": act.id, "by": act.id, "at": state.at + 1}
            false = MuteOver.model_validate({"event": "mute_over", **about, "log": LOG, "index": 0})
            with pytest.raises(Contradiction, match="false_over"):
                fold(state, Record(false))
            told += 1
    assert told
    log = log_of(1500)
    open_ = [number for number in places(log, Kind.MUTE_ALL) if not log[number].entry.until]
    assert open_
    for number in open_:
        assert findings(with_one_more(log, number, kind=Kind.MUTE_OVER), week_by_week) == []
