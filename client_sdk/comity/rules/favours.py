"""The limits on asking for favours (spec/connection.md, section "Favours", FAV-1 to FAV-10).

One ask is open in each direction. A cool-down follows a no, a shorter one "not now". An unanswered ask lapses by
itself. The other side limits the asks in a period. All of it follows from times that the server stated, so nothing has
to run for an ask to lapse.
"""

from typing import Literal, NamedTuple

from comity.documents.types import DAY, Side, other
from comity.rules.state import Ask, Budget, Connection, Door

LONGEST_ASK = 30 * DAY * 1000
"""ms after which an unanswered ask lapses as "not now", and an unfulfilled promise is broken (FAV-4)."""
COOL_AFTER_NO = 30 * DAY * 1000
"""ms from a no until the next ask (FAV-5)."""
COOL_AFTER_NOT_NOW = 7 * DAY * 1000
"""ms from a "not now", given or lapsed, until the next ask (FAV-5)."""
COOL_AFTER_NOTICE = DAY * 1000
"""ms after an exempt delivery in which its sender may not ask (FAV-7)."""
ASK_BUDGET = Budget(max=6, seconds=30 * DAY)
"""Asks of every kind in one direction, unless the other side set less (FAV-6)."""
FAVOUR_LASTS = 365 * DAY * 1000
"""ms for which a favour counts in the balance (FAV-9)."""

AskStatus = Literal["none", "asked", "promised", "refused", "not_now", "done", "thanked", "lapsed", "broken"]


def ask_status(ask: Ask, now: int) -> AskStatus:
    """The status of an ask at `now` (ms): as stored, or ended by time (FAV-4)."""
    if ask.status == "asked" and now >= ask.ends_at:
        return "lapsed"
    if ask.status == "promised" and now >= ask.ends_at:
        return "broken"
    return ask.status


def cooldown_until(door: Door, now: int) -> int:
    """When (ms) earlier answers allow this side to ask again; 0 for at once."""
    if door.ask is not None and ask_status(door.ask, now) == "lapsed":
        return max(door.cool_until, door.ask.ends_at + COOL_AFTER_NOT_NOW)
    return door.cool_until


def ask_obstacle(connection: Connection, side: Side, now: int) -> str:
    """The first obstacle to a new ask of `side`: `open`, `cooling`, `after_notice`, `spent`; else `free` (FAV-2, FAV-5
    to FAV-7)."""
    door = connection.door(side)
    if door.ask is not None and ask_status(door.ask, now) in ("asked", "promised"):
        return "open"
    if now < cooldown_until(door, now):
        return "cooling"
    if now < door.noticed + COOL_AFTER_NOTICE:
        return "after_notice"
    recent = sum(1 for at in door.asked if at > now - ASK_BUDGET.seconds * 1000)
    return "spent" if recent >= ASK_BUDGET.max else "free"


def has_asks_left(connection: Connection, side: Side, now: int) -> bool:
    """True if the other side's setting allows `side` another ask. The setting is private: a refusal says "not now"
    (FAV-6)."""
    budget = connection.door(other(side)).settings.asks
    if budget is None:
        return True
    return sum(1 for at in connection.door(side).asked if at > now - budget.seconds * 1000) < budget.max


class Balance(NamedTuple):
    """Favours done within the last year. No money and no score; only the two sides see it (FAV-9)."""

    by_first: int
    by_second: int


def balance(connection: Connection, now: int) -> Balance:
    """The number of favours that each side did for the other and that have not expired at `now` (ms)."""

    def count(door: Door) -> int:
        return sum(1 for at in door.favours if at > now - FAVOUR_LASTS)

    return Balance(count(connection.first), count(connection.second))
