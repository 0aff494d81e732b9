"""A home server that lies under its own signature: what it lets through, holds back, reorders or makes up."""

from typing import Any

import pytest

from comity.client.connection.history import History, HistoryRecord
from comity.documents.events import Accepted, Delivered, Event, Expired, Opened, open_event, sign_event
from comity.documents.offers import HomeParty
from comity.documents.types import Side
from comity.errors import Contradiction
from comity.rules.fold import Record
from comity.rules.state import public_state
from comity.transparency.server_keys import follow_keys
from support.parties import (
    DAY,
    HOME,
    HOME_DID,
    HOUR,
    LOG,
    MIA,
    SECOND,
    SHOP,
    START,
    ZONES,
    Pair,
    connected,
    granted,
    keys_of,
)
from support.parties import public as party

OTHER_HOME = party(HOME_DID, "home-2")


class Watching:
    """Mia's ledger beside a pair whose home server a test can make lie."""

    def __init__(self, pair: Pair, side: Side = "second") -> None:
        self.pair = pair
        opened = pair.records[0].event
        assert isinstance(opened, Opened)
        keys = follow_keys(HomeParty.of(HOME))
        self.ledger = History(pair.agreement, side, lambda: keys, sign_event(opened, HOME), ZONES)
        self.side = side
        self.told = 1
        self.tell()

    def tell(self) -> None:
        """Everything new, as an honest server tells it."""
        for record in self.pair.records[self.told :]:
            if self.shown(record):
                self.ledger.enter(self.line(record))
        self.told = len(self.pair.records)

    def shown(self, record: Record) -> bool:
        event = record.event
        return not (isinstance(event, Accepted) and event.chain == "settings" and event.side != self.side)

    def line(self, record: Record) -> HistoryRecord:
        event, act = record.event, record.act
        raw = self.pair.events.get(getattr(event, "act", ""), "") if isinstance(event, Accepted) else ""
        if isinstance(event, Accepted) and event.side != self.side and event.outcome in ("held", "dropped"):
            act = None
        if isinstance(event, Delivered):
            act = next(it.act for it in self.pair.records if it.act is not None and it.act.id == event.act)
        return self.ledger.read(raw or sign_event(event, HOME), act and act.raw)

    def lie(self, event: Event, act: str | None, signer: Any = HOME) -> Contradiction:
        """Tells something else; the contradiction that follows. The ledger stays as it was."""
        before = (public_state(self.ledger.state), len(self.ledger.records))
        with pytest.raises(Contradiction) as told:
            self.ledger.enter(self.ledger.read(sign_event(event, signer), act))
        assert (public_state(self.ledger.state), len(self.ledger.records)) == before
        assert told.value.evidence
        return told.value


def as_of(pair: Pair) -> dict[str, str]:
    """What an event says of the state before it."""
    return {"first": pair.state.first.head, "second": pair.state.second.head, "zones": "2026a"}


def muted() -> tuple[Watching, int]:
    pair = granted("care")
    pair.go("mute", "second", START + SECOND)
    return Watching(pair), START + HOUR


def accepted(watching: Watching, at: int, **changes: Any) -> tuple[Accepted, str]:
    """A message of the shop, and what an honest server would state of it, with some members changed."""
    act = watching.pair.compose("message", "first", at, purpose="care")
    watching.pair.send(act, at)
    event = watching.pair.records[-1].event
    watching.told = len(watching.pair.records)
    return Accepted.model_validate({**event.model_dump(), **changes}), act.raw


def test_a_message_let_through_a_mute_is_noticed() -> None:
    watching, at = muted()
    event, act = accepted(watching, at, outcome="delivered")
    told = watching.lie(event, act)
    assert "permissions" in told.claim
    assert act in told.evidence


def test_a_message_held_back_without_a_reason_is_noticed() -> None:
    watching = Watching(granted("care"))
    event, act = accepted(watching, START + HOUR, outcome="held")
    watching.lie(event, None)
    watching.lie(event, act)
    watching.lie(Accepted.model_validate({**event.model_dump(), "outcome": "dropped"}), None)


def test_a_message_without_a_grant_is_noticed() -> None:
    pair = connected()
    watching = Watching(pair)
    act = pair.compose("message", "first", START + HOUR, purpose="care")
    event = Accepted.model_validate(
        {
            "iss": HOME_DID,
            "cid": pair.state.cid,
            "event": "accepted",
            "act": act.id,
            "side": "first",
            "chain": "acts",
            "seq": 0,
            "kind": "message",
            "log": LOG,
            "index": 0,
            "accepted_at": START + HOUR,
            "as_of": as_of(pair),
            "outcome": "delivered",
            "contents": {"purpose": "care", "channel": "app", "exp": (START + HOUR + 3 * DAY) // 1000},
        }
    )
    assert "no_grant" in watching.lie(event, act.raw).claim


def test_a_waiting_message_released_too_early_or_dropped_too_soon_is_noticed() -> None:
    watching, at = muted()
    event, act = accepted(watching, at)
    watching.ledger.enter(watching.ledger.read(sign_event(event, HOME)))
    stated: dict[str, Any] = {"iss": HOME_DID, "cid": event.cid, "act": event.act, "side": "first", "at": at + 5}
    stated["as_of"] = as_of(watching.pair)
    place: dict[str, Any] = {"log": LOG, "index": event.index + 1}
    watching.lie(Delivered(event="delivered", **stated, **place), act)
    watching.lie(Expired(event="expired", **stated, **place), None)
    found = watching.lie(Expired(event="expired", **stated, log=LOG, index=event.index), None)
    assert found.claim == "the server's numbers do not follow its times", "EVENT-9"
    watching.lie(Delivered(event="delivered", **{**stated, "act": watching.pair.state.cid}, **place), None)


def test_a_gap_a_reordering_and_a_second_history_are_noticed() -> None:
    pair = granted("care")
    watching = Watching(pair)
    first, first_act = accepted(watching, START + HOUR)
    second, second_act = accepted(watching, START + HOUR + SECOND)
    watching.lie(second, second_act)
    watching.ledger.enter(watching.ledger.read(sign_event(first, HOME), first_act))
    for changes in (
        {"accepted_at": first.accepted_at},
        {"accepted_at": first.accepted_at - 1},
        {"index": first.index},
        {"seq": 0},
        {"side": "second"},
        {"kind": "remember"},
        {"contents": None},
        {"outcome": None},
    ):
        watching.lie(Accepted.model_validate({**second.model_dump(), **changes}), second_act)
    watching.lie(second, first_act)
    watching.lie(Accepted.model_validate({**first.model_dump(), "accepted_at": first.at + 7, "index": 9}), first_act)
    watching.ledger.enter(watching.ledger.read(sign_event(second, HOME), second_act))
    assert public_state(watching.ledger.state) == public_state(pair.state)


def test_an_event_of_another_server_or_connection_is_noticed() -> None:
    watching = Watching(granted("care"))
    event, act = accepted(watching, START + HOUR)
    watching.lie(event, act, OTHER_HOME)
    watching.lie(event, act, SHOP)
    watching.lie(Accepted.model_validate({**event.model_dump(), "cid": event.act}), act)
    watching.lie(Opened(iss=HOME_DID, cid=event.cid, event="opened", log=LOG, index=event.index, at=START + 9), None)


def test_a_setting_of_the_other_side_is_nobody_else_s_business() -> None:
    pair = granted("care")
    watching = Watching(pair)
    act = pair.go("budget", "first", START + HOUR)
    event = open_event(pair.events[act.id], keys_of(HOME)).event
    watching.lie(event, act.raw)


def test_an_own_act_s_acceptance_is_checked_like_any_other() -> None:
    pair = granted("care")
    watching = Watching(pair)
    act = pair.go("remember", "second", START + HOUR, key="language")
    event = open_event(pair.events[act.id], keys_of(HOME)).event
    for changes in ({"seq": 5}, {"kind": "forget"}, {"side": "first"}, {"verdict": "granted"}, {"outcome": "held"}):
        watching.lie(Accepted.model_validate({**event.model_dump(), **changes}), act.raw)
    watching.lie(event, None)
    watching.tell()
    assert public_state(watching.ledger.state) == public_state(pair.state)


def test_an_own_act_fits_once_what_the_other_side_did_before_it_was_read() -> None:
    """An own act is answered at once; what the other side did just before comes only with the next news (EVENT-7)."""
    pair = granted("care", "favour")
    watching = Watching(pair)
    theirs = pair.go("grant", "first", START + HOUR, purposes=("favour",))
    mine = pair.go("remember", "second", START + HOUR + 5, key="language")
    answer = watching.ledger.read(pair.events[mine.id], mine.raw)
    with pytest.raises(Contradiction, match="other heads"):
        watching.ledger.enter(answer)
    watching.ledger.enter(watching.ledger.read(pair.events[theirs.id], theirs.raw))
    watching.ledger.enter(answer)
    watching.told = len(pair.records)
    assert public_state(watching.ledger.state) == public_state(pair.state)
    assert [line.at for line in watching.ledger.records] == sorted(line.at for line in watching.ledger.records)
    assert watching.ledger.enter(watching.ledger.read(pair.events[mine.id], mine.raw)) == []


def test_both_sides_follow_a_long_honest_history() -> None:
    pair = granted("care", "favour", "sales")
    watchers = [Watching(pair, "first"), Watching(pair, "second")]
    at = START + HOUR
    for n in range(12):
        pair.go("message", "first", at + n * SECOND, purpose="care.checkin", topic=f"t{n % 3}")
        if n == 3:
            pair.go("mute", "second", at + n * SECOND + 1, until=(at + HOUR) // 1000)
        if n == 6:
            pair.go(
                "hours", "second", at + n * SECOND + 1, windows=({"days": ("mo",), "start": "09:00", "end": "10:00"},)
            )
        for watching in watchers:
            watching.tell()
    pair.release(at + 7 * DAY)
    pair.go("revoke", "second", at + 8 * DAY)
    for watching in watchers:
        watching.tell()
        assert public_state(watching.ledger.state) == public_state(pair.state)
    assert MIA.did == pair.state.second.did
