"""After a restore: what was said since the copy was made comes back, and nobody is reached before (REC-1 to REC-8)."""

from itertools import permutations

import pytest

from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, AsOf, Place, Restored
from comity.documents.types import EXEMPT_PURPOSES, SIDES
from comity.errors import Contradiction, Refused
from comity.rules import decide, fold, gate, recovery
from comity.rules.fold import Record
from comity.rules.next_act import next_act
from comity.rules.recovery import Heads, merge_records, missing_heads
from comity.rules.state import Connection, public_state
from support.parties import DAY, HOUR, LOG, MIA, MINUTE, SHOP, START, ZONES, Pair, connected, granted

LATER = START + DAY
AGAIN = LATER + HOUR


def restored(pair: Pair, at: int = LATER) -> Pair:
    """The pair, at a server that states that its store was restored."""
    pair.restore(at)
    return pair


def codes(merged: recovery.MergeResult) -> list[str]:
    """Why records were not taken back."""
    return [code for _, code in merged.refused]


class Lost:
    """A connection of which the server kept the first `kept` records after the opening, and was then restored."""

    def __init__(self, pair: Pair, kept: int, at: int = LATER) -> None:
        self.pair = pair
        self.start = fold.initial_state(pair.agreement, pair.records[0].event)  # type: ignore[arg-type]
        self.kept = pair.records[1 : 1 + kept]
        self.lost = pair.records[1 + kept :]
        state = self._folded(self.kept)
        self.kept.append(Record(recovery.restored_event(state, at, Place(f"{LOG}/next", 0))))
        self.state = self._folded(self.kept)

    def _folded(self, records: list[Record]) -> Connection:
        state = self.start
        for record in records:
            state = fold.fold(state, record)
        return state

    def accept(self, act: SignedAct, at: int) -> None:
        """The restored server accepts an act."""
        event, self.state = decide.accept(self.state, act, at, Place(f"{LOG}/next", 0), ZONES)
        self.kept.append(Record(event, act))

    def take_back(self, *records: Record) -> recovery.MergeResult:
        """The restored server takes records back."""
        merged = merge_records(self.start, self.kept, records)
        self.kept = sorted([*self.kept, *merged.taken], key=lambda it: it.event.at)
        self.state = merged.state
        return merged


def a_year_of_mia() -> Pair:
    """A consent that is kept, and a mute, hours, a withdrawal and a message that waits, which are not."""
    pair = granted("care")
    grant = pair.state.second.grants[0].id
    pair.go("message", "first", START + MINUTE, purpose="care")
    pair.go("mute", "second", START + HOUR)
    pair.go("hours", "second", START + 2 * HOUR)
    pair.go("message", "first", START + 3 * HOUR, purpose="care", exp=(START + 9 * DAY) // 1000)
    pair.go("withdraw", "second", START + 4 * HOUR, grant=grant)
    return pair


# --- the doors wait


@pytest.mark.parametrize("sender", SIDES)
@pytest.mark.parametrize("purpose", ["care", "sales", "renewal", "complaint", *sorted(EXEMPT_PURPOSES)])
def test_nobody_is_reached_for_anything_until_both_have_confirmed(sender: str, purpose: str) -> None:
    pair = restored(granted("care"))
    for side in ("second", "first"):
        verdict = pair.may(sender, purpose, AGAIN)  # type: ignore[arg-type]
        assert (verdict.decision, verdict.outward().reason, verdict.ends_at) == ("hold", "recovering", None)
        pair.confirm(side, AGAIN)
    assert pair.may(sender, purpose, AGAIN + HOUR).reason != "recovering"  # type: ignore[arg-type]


def test_a_door_that_nobody_confirms_stays_closed_for_years() -> None:
    pair = restored(granted("care"))
    pair.confirm("first", AGAIN)
    for days in (34, 35, 36, 400):
        assert pair.may("first", "security", LATER + days * DAY).reason == "recovering"
        assert gate.unchanged_until(pair.state, "first", LATER, ZONES) > LATER + days * DAY or days == 400


@pytest.mark.parametrize("side", SIDES)
def test_a_no_gets_in_meanwhile_and_nothing_else(side: str) -> None:
    given = {
        "message": {"purpose": "safety"}, "unmute": {}, "forget": {"key": "paper"}, "remember": {"key": "paper"},
        "hours": {}, "budget": {}, "grant": {"purposes": ("care",)}, "contacted": {"purpose": "care"},
        "ask": {}, "milestone": {"topic": "windows"}, "mailbox": {},
    }  # fmt: skip
    pair = restored(granted("care"))
    for kind, fields in given.items():
        assert pair.refused(kind, side, AGAIN, **fields).code == "recovering"  # type: ignore[arg-type]
    mute = pair.compose("mute", side, AGAIN)  # type: ignore[arg-type]
    pair.go("mute_end", side, AGAIN, mute=mute.id, until=(AGAIN + DAY) // 1000)  # type: ignore[arg-type]
    pair.send(mute, AGAIN)
    pair.go("revoke", side, AGAIN)  # type: ignore[arg-type]
    assert (pair.state.phase, pair.state.recovering) == ("ended", ())


def test_a_sides_next_act_shows_that_its_chain_was_kept_whole_and_a_setting_does_not() -> None:
    pair = restored(granted("care"))
    pair.go("mute_end", "second", AGAIN, mute=pair.agreement.cid, until=(AGAIN + DAY) // 1000)
    assert pair.state.recovering == SIDES
    pair.go("mute", "second", AGAIN)
    assert list(pair.state.recovering) == ["first"]


def test_a_held_message_expires_at_its_own_end_and_is_not_released_before() -> None:
    pair = granted("care")
    pair.go("mute", "second", START + MINUTE, until=(LATER + HOUR) // 1000)
    pair.go("message", "first", START + HOUR, purpose="care", exp=(LATER + 2 * DAY) // 1000)
    restored(pair)
    assert pair.release(LATER + 2 * HOUR) == ()
    assert pair.due(LATER + 2 * HOUR) == LATER + 2 * DAY
    (event,) = pair.release(LATER + 2 * DAY)
    assert event.event == "expired"


def test_nobody_is_told_offline_what_the_gate_does_not_say() -> None:
    pair = restored(granted("care"))
    (grant,) = pair.state.second.grants
    assert gate.undecidable_until(pair.state, "second", grant) == gate.FOR_EVER
    pair.confirm("first", AGAIN)
    assert gate.undecidable_until(pair.state, "second", grant) == gate.FOR_EVER
    pair.confirm("second", AGAIN)
    assert gate.undecidable_until(pair.state, "second", grant) == 0


def test_after_the_end_no_door_waits() -> None:
    pair = connected()
    pair.go("revoke", "second", START + 1)
    restored(pair)
    assert (pair.state.restored_at, pair.state.recovering) == (LATER, ())
    assert pair.may("first", "safety", AGAIN).reason == "ended"


# --- what comes back


def test_lost_records_come_back_in_their_places_and_restore_the_state() -> None:
    pair = a_year_of_mia()
    lost = Lost(pair, 2)
    assert lost.state.second.mutes == ()
    merged = lost.take_back(*lost.lost)
    assert merged.refused == () and len(merged.taken) == 4
    restored(pair)
    assert public_state(lost.state) == public_state(pair.state)
    assert lost.state.second.settings == pair.state.second.settings


def test_the_order_in_which_records_come_back_changes_nothing() -> None:
    pair = a_year_of_mia()
    states = set()
    for order in permutations(range(4)):
        lost = Lost(pair, 2)
        waiting = [lost.lost[at] for at in order]
        while waiting:
            refused = [record for one in waiting for record, _ in lost.take_back(one).refused]
            assert len(refused) < len(waiting)
            waiting = refused
        states.add(repr(lost.state))
    assert len(states) == 1


def test_a_revoke_comes_back_before_everything_that_led_to_it() -> None:
    pair = a_year_of_mia()
    pair.go("revoke", "second", START + 5 * HOUR)
    lost = Lost(pair, 2)
    assert lost.take_back(lost.lost[-1]).refused == ()
    assert (lost.state.phase, lost.state.ended_at) == ("ended", pair.state.ended_at)
    assert lost.take_back(*lost.lost[:-1]).refused == ()
    restored(pair)
    assert public_state(lost.state) == public_state(pair.state)


def test_later_acts_of_the_other_side_do_not_keep_an_end_from_coming_back() -> None:
    pair = granted("care")
    pair.go("revoke", "second", START + HOUR)
    lost = Lost(pair, 1)
    # The shop does not know of the end: it mutes her.
    lost.accept(next_act(lost.state, "first", "mute", AGAIN // 1000, SHOP), AGAIN)
    assert lost.take_back(*lost.lost).refused == ()
    assert (lost.state.phase, lost.state.ended_by, lost.state.first.mutes) == ("ended", "second", ())
    assert lost.state.first.seq == 1
    said = next_act(lost.state, "first", "erasure", (AGAIN + HOUR) // 1000, SHOP, deleted=("contact",))
    lost.accept(said, AGAIN + HOUR)
    assert lost.state.first.erasure is not None


def test_an_act_said_anew_in_the_place_of_a_lost_one_counts() -> None:
    pair = a_year_of_mia()
    lost = Lost(pair, 2)
    lost.accept(next_act(lost.state, "second", "mute", AGAIN // 1000, MIA, purposes=("care",)), AGAIN)
    merged = lost.take_back(*lost.lost)
    assert sorted(codes(merged)) == ["seq_gap", "seq_taken"]
    assert [mute.purposes for mute in lost.state.second.mutes] == [("care",)]
    assert lost.state.second.settings.seq == 1 and len(lost.state.first.held) == 1


def test_a_gap_is_named_and_leaves_no_trace() -> None:
    lost = Lost(a_year_of_mia(), 2)
    before = lost.state
    assert codes(lost.take_back(lost.lost[-1])) == ["seq_gap"]
    assert lost.state == before


def test_a_message_that_was_delivered_before_and_expired_since_stays_delivered() -> None:
    pair = granted("care")
    pair.go("mute", "second", START + MINUTE, until=(START + 3 * HOUR) // 1000)
    pair.go("message", "first", START + HOUR, purpose="care", exp=(LATER + HOUR) // 1000)
    pair.release(START + 4 * HOUR)
    lost = Lost(pair, 3)
    events, lost.state = decide.release_held(lost.state, LATER + 2 * HOUR, Place(f"{LOG}/next", 0), ZONES)
    lost.kept += [Record(event) for event in events]
    assert [event.event for event in events] == ["expired"]
    assert lost.take_back(*lost.lost).refused == ()
    assert len(lost.state.first.sent) == 1 and lost.state.first.held == ()


def test_without_a_restore_nothing_of_this_is_let_through() -> None:
    pair = connected()
    mute = pair.compose("mute", "first", START + 2)
    pair.go("revoke", "second", START + 1)
    after = Accepted(
        iss=pair.state.home, cid=pair.state.cid, event="accepted", act=mute.id, side="first", chain="acts", seq=0,
        kind="mute", log=LOG, index=9, accepted_at=START + 2,
        as_of=AsOf(first=pair.state.first.head, second=pair.state.second.head, zones="2026a"),
    )  # fmt: skip
    with pytest.raises(Contradiction):
        fold.fold(pair.state, Record(after, mute))
    with pytest.raises(Refused):
        decide.decide(pair.state, mute, START + 2, ZONES)


# --- heads


def test_heads_that_the_server_lacks_are_named() -> None:
    pair = a_year_of_mia()
    state, cid = pair.state, pair.state.cid
    heads = Heads(state.first.head, state.second.head, state.second.settings.head)
    everything: dict[recovery.HeadName, tuple[str, ...]] = {
        "first": (heads.first,), "second": (heads.second,), "settings": (heads.settings,)
    }  # fmt: skip
    assert missing_heads(heads, cid, everything) == ()
    assert missing_heads(heads, cid, {"first": (), "second": (), "settings": ()}) == ("first", "second", "settings")
    assert missing_heads(Heads(cid, cid, cid), cid, {"first": (), "second": (), "settings": ()}) == ()
    # A head of another chain is none.
    assert missing_heads(heads, cid, {**everything, "settings": (heads.second,)}) == ("settings",)


def test_the_statement_names_the_heads_that_were_kept() -> None:
    lost = Lost(a_year_of_mia(), 2)
    (event,) = [it.event for it in lost.kept if isinstance(it.event, Restored)]
    second = [it.event.act for it in lost.kept if isinstance(it.event, Accepted) and it.event.side == "second"]
    assert (event.second, event.log) == (second[-1], f"{LOG}/next")
