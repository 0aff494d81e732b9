"""Whoever has the records can say of every message whether the server decided as the rules say.

The one who decides again is no gate of the project, but the second one, written from the rules' words.
"""

from collections import Counter

import pytest

from comity.documents.events import Accepted, Delivered, Expired, Opened
from comity.documents.types import SIDES, Side
from comity.rules.fold import Record, fold, initial_state
from comity.rules.state import Connection
from support import gate_reference
from support.gate_reference import TOLD_AS_NOT_NOW, Answer
from support.parties import ZONES, Pair, as_it_reaches
from support.random_stories import told

STORIES = (pytest.param(60, id="short"), pytest.param(6000, id="long", marks=pytest.mark.long))


def check_again(state: Connection, event: object, sent_by: Side | None = None) -> str | None:
    """Decides again what the event states, on the state before it; what it was, for those who count. `sent_by`: only
    what this side did to the other."""
    if not isinstance(event, Accepted | Delivered | Expired) or sent_by not in (None, event.side):
        return None
    assert event.as_of is not None
    assert tuple(event.as_of.model_dump().values()) == (state.first.head, state.second.head, ZONES.version)
    if isinstance(event, Accepted):
        return _check_accepted(state, event)
    held = next(it for it in state.door(event.side).held if it.id == event.act)
    answer = _answer(state, event.side, held.purpose, "app", held.topic, event.at)
    if isinstance(event, Delivered):
        assert answer.decision == "allow", event
        return "let go"
    assert answer.decision == "refuse" or held.exp * 1000 <= event.at, event
    return "expired"


def _check_accepted(state: Connection, event: Accepted) -> str | None:
    contents = event.contents
    if contents is None:
        return None
    answer = _answer(state, event.side, contents.purpose, contents.channel, contents.topic, event.at)
    if event.kind == "contacted":
        assert event.verdict == ("not_now" if answer.reason in TOLD_AS_NOT_NOW else answer.reason), event
        return "contacted"
    expected = {"allow": ("delivered",), "hold": ("held", "dropped"), "refuse": ()}
    assert event.outcome in expected[answer.decision], (event, answer)
    return event.outcome


def _answer(state: Connection, side: Side, purpose: str, channel: str, topic: str | None, at: int) -> Answer:
    return gate_reference.may(state, side, purpose, channel, topic, at)


def opened(pair: Pair) -> Connection:
    event = pair.records[0].event
    assert isinstance(event, Opened)
    return initial_state(pair.agreement, event)


@pytest.mark.parametrize("count", STORIES)
def test_an_auditor_with_all_records_decides_every_message_as_the_server_did(count: int) -> None:
    seen = Counter[str | None]()
    for number in range(count):
        pair = told(number)
        state = opened(pair)
        for event, act in pair.records[1:]:
            seen[check_again(state, event)] += 1
            state = fold(state, Record(event, act))
            seen[getattr(event, "kind", event.event)] += 1
        assert state == pair.state
    assert all(seen[it] for it in ("feedback", "renounce", "hours", "budget", "mute_end", "restored", "confirmed")), (
        seen
    )
    assert all(seen[it] for it in ("delivered", "held", "dropped", "let go", "expired", "contacted")), seen


@pytest.mark.parametrize("count", STORIES)
def test_the_side_that_is_written_to_decides_so_from_what_it_has_itself(count: int) -> None:
    """Without the other side's settings, which are no part of it, and without what was not delivered to it."""
    seen = Counter[str | None]()
    for number in range(count):
        pair = told(number)
        for side in SIDES:
            state, sender = opened(pair), SIDES[1 - SIDES.index(side)]
            for record in pair.records[1:]:
                reaching = as_it_reaches(state, side, record)
                if reaching is not None:
                    seen[check_again(state, reaching.event, sender)] += 1
                    state = fold(state, reaching)
    assert all(seen[it] for it in ("delivered", "held", "let go", "expired")), seen
