"""What two sides do to each other at random, the same on every run: `told(number)` is a signed story.

Both sides do all that the gate looks at: consents with budgets, some given up, mutes with shown and hidden ends, hours,
own limits, purchases, contests, words, messages of every purpose; and a server that was restored and is confirmed.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from comity.documents.types import SIDES, Side, other
from comity.errors import Malformed, Refused
from comity.rules.feedback import DeliveredMessage, delivered_messages
from comity.rules.state import Connection
from support.parties import DAY, HOUR, MINUTE, SECOND, Pair, connected

PURPOSES = ("care", "care.offer", "care.tips", "sales", "sales.news", "renewal", "complaint", "safety", "security")
GRANTED = ("care", "care.offer", "sales", "sales.news", "favour", "renewal")
TOPICS = (None, "windows", "windows.kitchen", "doors")
PAUSES = (1, SECOND, 7 * MINUTE, HOUR, 5 * HOUR, DAY, 4 * DAY, 9 * DAY)


class Hand:
    """Makes up steps, from one seed; `restores`: the server is restored now and then."""

    def __init__(self, seed: int, *, restores: bool = True) -> None:
        self.chance = Random(seed)
        self.restores = restores

    def one(self, *things: Any) -> Any:
        """One of them."""
        return self.chance.choice(things)

    def some(self, things: tuple[str, ...], most: int = 3) -> tuple[str, ...]:
        """A few of them."""
        return tuple(self.chance.sample(things, self.chance.randint(1, most)))

    def end(self, at: int) -> int:
        """A time (s) after `at` (ms)."""
        return int(at + self.one(2 * SECOND, HOUR, DAY, 5 * DAY, 30 * DAY)) // 1000 + 1

    def budget(self) -> dict[str, Any] | None:
        """A limit, or none."""
        limit = {"max": self.one(0, 1, 1, 2, 3), "per": self.one("day", "week", "month")}
        return limit if self.one(True, False) else None

    def fields(
        self, kind: str, state: Connection, reached: Mapping[str, DeliveredMessage], side: Side, at: int
    ) -> dict[str, Any] | None:
        """The members of an act of that kind; None where there is nothing that it could be about. `reached`: what was
        delivered."""
        made = _reactions(self, reached, side) if kind == "feedback" else _FIELDS[kind](self, state, side, at)
        return None if made is None else {name: it for name, it in made.items() if it is not None}


def _grant(hand: Hand, state: Connection, side: Side, at: int) -> dict[str, Any]:
    end = hand.one(hand.end(at), (at + 200 * DAY) // 1000)
    return {"purposes": hand.some(GRANTED), "channels": ("app", "phone"), "budget": hand.budget(), "exp": end}


def _mute(hand: Hand, state: Connection, side: Side, at: int) -> dict[str, Any]:
    return {"purposes": hand.one(None, hand.some(PURPOSES)), "until": hand.one(None, hand.end(at))}


def _mute_end(hand: Hand, state: Connection, side: Side, at: int) -> dict[str, Any] | None:
    open_ = [it.id for it in state.door(side).mutes if it.until is None]
    return {"mute": open_[-1], "until": hand.end(at)} if open_ else None


def _hours(hand: Hand, state: Connection, side: Side, at: int) -> dict[str, Any]:
    window = {"days": ("mo", "tu", "we", "fr", "sa"), "start": hand.one("00:00", "09:00", "21:00"), "end": "17:00"}
    windows = hand.one((), (window,))
    return {"zone": "Europe/Berlin", "windows": windows, "shown": hand.one("not_now", "end")}


def _message(hand: Hand, state: Connection, side: Side, at: int) -> dict[str, Any]:
    if_muted = hand.one("hold", "hold", "drop", "fail")
    return {"purpose": hand.one(*PURPOSES), "topic": hand.one(*TOPICS), "if_muted": if_muted, "exp": hand.end(at)}


def _reactions(hand: Hand, reached: Mapping[str, DeliveredMessage], side: Side) -> dict[str, Any] | None:
    theirs = [(id_, it) for id_, it in reached.items() if it.side == other(side)]
    if not theirs:
        return None
    id_, it = hand.one(*theirs[-6:])
    about = {"message": id_, "purpose": it.purpose, "had": it.topic}
    if hand.one(True, True, True, False):
        named = hand.one(*(word for word in ("sales", "care", "favour") if word != it.purpose))
        return {**about, "says": "mislabelled", "as_": named, "topic": hand.one(*TOPICS[:2])}
    return {**about, "says": "useful"}


def _renounce(hand: Hand, state: Connection, side: Side, at: int) -> dict[str, Any] | None:
    grants = [it.id for it in state.door(other(side)).grants]
    purposes = hand.some(GRANTED) if hand.one(True, False) else None
    return {"grants": (hand.one(*grants),), "because": "told_us", "purposes": purposes} if grants else None


def _words(hand: Hand) -> dict[str, Any]:
    return {"body": hand.one(None, "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyJ9.a2V5.aXY.dGV4dA.dGFn")}


_FIELDS: dict[str, Callable[[Hand, Connection, Side, int], dict[str, Any] | None]] = {
    "message": _message,
    "grant": _grant,
    "mute": _mute,
    "mute_end": _mute_end,
    "unmute": lambda hand, state, side, at: {},
    "hours": _hours,
    "budget": lambda hand, state, side, at: {"messages": hand.budget()},
    "contacted": lambda hand, state, side, at: {"purpose": hand.one(*PURPOSES), "channel": hand.one("phone", "post")},
    "milestone": lambda hand, state, side, at: {
        "kind": "bought", "when": at // 1000,
        "topic": hand.one(*TOPICS[1:]), "lasts": hand.one(None, hand.end(at)), **_words(hand),
    },
    "remember": lambda hand, state, side, at: {
        "key": hand.one("no_interest", "interested"), "topic": hand.one(*TOPICS[1:]), **_words(hand),
    },
    "renounce": _renounce,
    "ask": lambda hand, state, side, at: {"kind": hand.one("hold", "renewal")},
}  # fmt: skip
KINDS = (*(["message"] * 12), *(["feedback", "grant", "mute"] * 3), *_FIELDS, "mute_end")
"""Each as often as it is to come."""


def told(seed: int, steps: int = 30) -> Pair:
    """A story of at most that many accepted acts; what is refused leaves no trace."""
    hand, pair = Hand(seed), connected()
    for side in SIDES:
        pair.go("grant", side, pair.state.at + 1, purposes=("care", "sales", "favour"), channels=("app", "phone"))
    for _ in range(steps):
        tell_on(pair, hand)
    return pair


def tell_on(pair: Pair, hand: Hand) -> None:
    """One more step."""
    at, side = pair.state.at + hand.one(*PAUSES), hand.one(*SIDES)
    if pair.state.recovering and hand.one(True, False):
        pair.confirm(hand.one(*pair.state.recovering), at)
        return
    if hand.restores and not pair.state.recovering and hand.chance.random() < 0.03:
        pair.restore(at)
        return
    kind = hand.one(*KINDS)
    fields = hand.fields(kind, pair.state, delivered_messages(pair.records), side, at)
    if fields is not None:
        try:
            pair.go(kind, side, at, **fields)
        except Malformed:
            raise
        except Refused:
            return
