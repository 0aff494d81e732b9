"""The end of a mute is entered when a delivery relies on it, once, and not before (AUD-1, AUD-2)."""

from collections.abc import Callable
from typing import Any

import pytest

from comity.documents.acts import Mute, MuteEnd
from comity.documents.events import Accepted, Event, MuteOver, Place
from comity.documents.types import EXEMPT_PURPOSES, Side
from comity.errors import Contradiction
from comity.rules.fold import Record, fold
from comity.rules.state import public_state
from support.parties import DAY, HOUR, LOG, MINUTE, SECOND, START, Pair, granted

END = START + DAY
LATER = END + HOUR


def muted(*, shown: bool = False, side: Side = "second", at: int = START + MINUTE) -> Pair:
    """Mia granted the shop care and has muted it until END; hidden, unless it is shown."""
    pair = granted("care")
    pair.go("grant", "first", START + SECOND, purposes=("care",))
    if shown:
        pair.go("mute", side, at, until=END // 1000)
        return pair
    mute = pair.compose("mute", side, at)
    pair.go("mute_end", side, at, mute=mute.id, until=END // 1000)
    pair.send(mute, at)
    return pair


def overs(pair: Pair) -> list[MuteOver]:
    """What was stated of mutes that were over."""
    return [event for event, _ in pair.records if isinstance(event, MuteOver)]


def ending(pair: Pair) -> str:
    """The id of what ends the mute: its latest hidden end, or itself."""
    acts = [act for _, act in pair.records if act is not None and isinstance(act.payload, Mute | MuteEnd)]
    ends = [act.id for act in acts if isinstance(act.payload, MuteEnd)]
    return ends[-1] if ends else acts[-1].id


@pytest.mark.parametrize("shown", [True, False])
def test_the_first_message_behind_the_end_brings_it_into_the_log_and_no_later_one_does(shown: bool) -> None:
    pair = muted(shown=shown)
    mute = pair.state.second.mutes[0].id
    before = pair.index
    pair.go("message", "first", LATER, purpose="care")
    (over,) = overs(pair)
    accepted = pair.records[-1].event
    assert isinstance(accepted, Accepted)
    assert (over.act, over.by, over.at) == (mute, ending(pair), LATER)
    assert (over.log, over.index, accepted.index, accepted.at) == (LOG, before, before + 1, LATER + 1)
    assert pair.state.second.settings.standing is None
    pair.go("message", "first", LATER + MINUTE, purpose="care")
    assert overs(pair) == [over]


def test_a_release_in_the_very_millisecond_of_the_end_brings_it_too() -> None:
    pair = muted()
    pair.go("message", "first", START + HOUR, purpose="care", topic="windows")
    pair.go("message", "first", START + HOUR, purpose="care", topic="doors")
    assert pair.release(END - 1) == ()
    events = pair.release(END)
    assert [(event.event, event.at) for event in events] == [
        ("mute_over", END), ("delivered", END + 1), ("delivered", END + 2)
    ]  # fmt: skip
    assert isinstance(events[0], MuteOver) and events[0].by == ending(pair)


@pytest.mark.parametrize("shown", [True, False])
def test_nothing_is_entered_where_nothing_is_delivered(shown: bool) -> None:
    """Else the log told the minute of every hidden end."""
    pair = muted(shown=shown)
    for purpose in sorted(EXEMPT_PURPOSES)[:2]:
        pair.go("message", "first", LATER, purpose=purpose)
    pair.go("contacted", "first", LATER, purpose="care")
    pair.go("message", "second", LATER, purpose="care")
    pair.go("remember", "first", LATER, key="language")
    pair.release(LATER + DAY)
    assert overs(pair) == []
    assert pair.state.second.settings.standing is not None


def test_an_open_end_of_a_mute_leaves_nothing_to_be_entered() -> None:
    def unmuted(pair: Pair) -> None:
        pair.go("unmute", "second", LATER)

    def unmuted_by_name(pair: Pair) -> None:
        pair.go("unmute", "second", LATER, mute=pair.state.second.mutes[0].id)

    for end in (unmuted, unmuted_by_name):
        pair = muted()
        end(pair)
        pair.go("message", "first", LATER + MINUTE, purpose="care")
        assert overs(pair) == [] and pair.state.second.settings.standing is None
    pair = muted()
    pair.go("revoke", "first", LATER)
    assert pair.state.second.settings.standing is None


def test_taking_back_a_part_leaves_the_mute_of_everything_standing() -> None:
    pair = muted()
    part = pair.go("mute", "second", START + HOUR, purposes=("sales",))
    pair.go("unmute", "second", START + 2 * HOUR, mute=part.id)
    pair.go("message", "first", LATER, purpose="care")
    assert len(overs(pair)) == 1


def test_a_shown_mute_that_the_state_dropped_still_stands() -> None:
    """Her next mute, of a part, drops what is over from the state (CONN-15), and not from the log."""
    pair = muted(shown=True)
    first = pair.state.second.mutes[0].id
    pair.go("mute", "second", LATER, purposes=("sales",))
    assert [mute.id for mute in pair.state.second.mutes] != [first]
    pair.go("message", "first", LATER + MINUTE, purpose="care")
    assert [over.act for over in overs(pair)] == [first]


def test_a_mute_that_takes_the_place_of_another_stands_alone() -> None:
    pair = muted(shown=True)
    second = pair.compose("mute", "second", LATER)
    pair.go("mute_end", "second", LATER, mute=second.id, until=(LATER + DAY) // 1000)
    pair.send(second, LATER)
    pair.go("message", "first", LATER + 2 * DAY, purpose="care")
    assert [(over.act, over.by) for over in overs(pair)] == [(second.id, ending(pair))]


def test_the_latest_hidden_end_counts_and_one_set_afterwards_claims_no_more() -> None:
    pair = muted()
    mute = pair.state.second.mutes[0].id
    later = pair.go("mute_end", "second", START + HOUR, mute=mute, until=(END + DAY) // 1000)
    pair.go("message", "first", LATER, purpose="care", topic="windows")
    assert overs(pair) == []
    (over, _) = pair.release(END + DAY)
    assert isinstance(over, MuteOver) and over.by == later.id
    # Revived at the gate, as before; of the rest of it nothing is claimed.
    pair.go("mute_end", "second", END + DAY + HOUR, mute=mute, until=(END + 2 * DAY) // 1000)
    assert pair.may("first", "care", END + DAY + 2 * HOUR).reason == "muted"
    pair.go("message", "first", END + 3 * DAY, purpose="care")
    assert len(overs(pair)) == 1


def test_two_sides_that_mute_each_other_have_each_their_own_end() -> None:
    pair = muted()
    pair.go("mute", "first", START + HOUR, until=END // 1000)
    pair.go("message", "first", START + 2 * HOUR, purpose="care")
    pair.go("message", "second", START + 2 * HOUR, purpose="care")
    events = pair.release(END)
    assert [event.event for event in events] == ["mute_over", "delivered"] * 2
    assert [event.at for event in events] == [END, END + 1, END + 2, END + 3]


def test_a_message_that_finds_the_hours_closed_a_millisecond_later_waits_and_enters_nothing() -> None:
    pair = muted()
    # START is a Tuesday noon in Berlin, LATER a Wednesday, one o'clock: the window ends in that very moment.
    window = {"days": ("we",), "start": "12:30", "end": "13:00"}
    pair.go("hours", "second", START + HOUR, windows=(window,))
    event = pair.send(pair.compose("message", "first", LATER - 1, purpose="care"), LATER - 1)
    assert (event.outcome, event.at) == ("held", LATER) and overs(pair) == []


def test_the_other_side_finds_the_same_public_state_and_is_told_nothing() -> None:
    pair = muted()
    pair.go("message", "first", LATER, purpose="care")
    assert len(overs(pair)) == 1
    assert public_state(pair.seen_by("first")) == public_state(pair.state) == public_state(pair.seen_by("second"))
    assert "standing" not in repr(public_state(pair.state))


# --- false ones (AUD-2)


def _over(pair: Pair, at: int, **changes: Any) -> MuteOver:
    about = {"iss": pair.state.home, "cid": pair.state.cid, "event": "mute_over", "at": at}
    mute = pair.state.second.mutes[0].id
    place = Place(LOG, pair.index).members
    return MuteOver.model_validate({**about, "act": mute, "by": ending(pair), **place, **changes})


FALSE: dict[str, Callable[[Pair], Event]] = {
    "before the end": lambda pair: _over(pair, END - 1),
    "by a setting that there is not": lambda pair: _over(pair, LATER, by=pair.state.cid),
    "by the mute itself, which shows no end": lambda pair: _over(pair, LATER, by=pair.state.second.mutes[0].id),
    "of a mute that there is not": lambda pair: _over(pair, LATER, act=pair.state.cid),
}


@pytest.mark.parametrize("name", FALSE)
def test_an_end_that_no_signed_setting_bears_out_is_false(name: str) -> None:
    pair = muted()
    with pytest.raises(Contradiction, match="false_over"):
        fold(pair.state, Record(FALSE[name](pair)))
    fold(pair.state, Record(_over(pair, LATER)))


def test_an_end_by_a_setting_that_was_set_anew_since_is_false() -> None:
    pair = muted()
    outdated = ending(pair)
    pair.go("mute_end", "second", START + HOUR, mute=pair.state.second.mutes[0].id, until=(END + DAY) // 1000)
    for at in (LATER, END + DAY):
        with pytest.raises(Contradiction, match="false_over"):
            fold(pair.state, Record(_over(pair, at, by=outdated)))


def test_a_mute_is_over_once() -> None:
    pair = muted()
    pair.go("message", "first", LATER, purpose="care")
    with pytest.raises(Contradiction, match="false_over"):
        fold(pair.state, Record(_over(pair, LATER + HOUR)))
