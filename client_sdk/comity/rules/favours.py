"""The etiquette of favours (spec/connection.md, section "Favours", FAV-1 to FAV-10).

One ask open in each direction; a cool-down after a no that is longer than after "not now"; an ask that nobody
answers ends by itself; no more asks in a period than the other side allows. All of it is derived from times that
the server stated, so nothing has to run for an ask to end.
"""

from typing import Literal, NamedTuple

from comity.documents.types import DAY, Side, other
from comity.rules.state import Ask, Budget, Connection, Door

LONGEST_ASK = 30 * DAY * 1000
"""ms after which an unanswered ask ends as "not now", and an undone promise is over (FAV-4)."""
COOL_AFTER_NO = 30 * DAY * 1000
"""ms before one may ask again after a no (FAV-5)."""
COOL_AFTER_NOT_NOW = 7 * DAY * 1000
"""ms before one may ask again after "not now", said or by silence (FAV-5)."""
COOL_AFTER_NOTICE = DAY * 1000
"""ms after an exempt notice in which its sender may not ask (FAV-7)."""
ASK_BUDGET = Budget(max=6, seconds=30 * DAY)
"""Asks of every kind in one direction, where the side asked has not set less (FAV-6)."""
FAVOUR_LASTS = 365 * DAY * 1000
"""ms after which a favour no longer shows in the balance (FAV-9)."""

AskStatus = Literal["none", "asked", "promised", "refused", "not_now", "done", "thanked", "lapsed", "broken"]


def status(ask: Ask, now: int) -> AskStatus:
    """Where an ask stands at `now` (ms): as stored, or ended by time (FAV-4)."""
    if ask.status == "asked" and now >= ask.ends_at:
        return "lapsed"
    if ask.status == "promised" and now >= ask.ends_at:
        return "broken"
    return ask.status


def cool_until(door: Door, now: int) -> int:
    """When (ms) this side may ask again as far as earlier answers go; 0 for at once."""
    if door.ask is not None and status(door.ask, now) == "lapsed":
        return max(door.cool_until, door.ask.ends_at + COOL_AFTER_NOT_NOW)
    return door.cool_until


def own_ask(connection: Connection, side: Side, now: int) -> str:
    """What stands in the way of a new ask by `side`, the first of: `open`, `cooling`, `after_notice`, `spent`; else
    `free` (FAV-2, FAV-5 to FAV-7)."""
    door = connection.door(side)
    if door.ask is not None and status(door.ask, now) in ("asked", "promised"):
        return "open"
    if now < cool_until(door, now):
        return "cooling"
    if now < door.noticed + COOL_AFTER_NOTICE:
        return "after_notice"
    recent = sum(1 for at in door.asked if at > now - ASK_BUDGET.seconds * 1000)
    return "spent" if recent >= ASK_BUDGET.max else "free"


def asks_left(connection: Connection, side: Side, now: int) -> bool:
    """Whether the other side's own setting leaves `side` an ask. A private matter: refused as "not now" (FAV-6)."""
    budget = connection.door(other(side)).settings.asks
    if budget is None:
        return True
    return sum(1 for at in connection.door(side).asked if at > now - budget.seconds * 1000) < budget.max


class Balance(NamedTuple):
    """Favours done within the last year; no money, no score, seen by the two sides only (FAV-9)."""

    by_first: int
    by_second: int


def balance(connection: Connection, now: int) -> Balance:
    """How many favours each side did for the other, as far as they have not expired at `now` (ms)."""

    def count(door: Door) -> int:
        return sum(1 for at in door.favours if at > now - FAVOUR_LASTS)

    return Balance(count(connection.first), count(connection.second))
