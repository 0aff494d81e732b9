"""How far the acts of a connection have moved its time ahead of the clock, and whose acts did it (HTTP-21, LOG-14,
CLOCK-4).

Each act of a connection takes effect at least a millisecond after the one before it, so a writer that is faster than
time moves the connection ahead of the clock. Each side has the same allowance, and regains it at half the speed of
time: together they never exceed the bound, and neither side keeps the other out.
"""

from comity.documents.acts import Act, Setting, is_narrowing
from comity.documents.types import Side
from comity.errors import Refused
from comity.rules.narrowing import is_new_restriction
from comity.rules.state import Connection
from comity_server.limits.rate_limits import Over

MOST_AHEAD = 3000
"""ms by which the acts of one side may take their connection ahead of the clock."""
MOST_AHEAD_NARROWING = 6000
"""The same for acts that say no and close nothing new (CONN-24)."""
MOST_OF_BOTH = 30_000
"""The same for both sides together: a server that has just started does not know whose acts they were."""
_EARNED_IN = 2
"""ms in which a side gets one back."""
_FEW = 4096
"""Leads in memory before those that are used up are looked for."""

FAR_AHEAD = 60_000
"""ms by which the acts of a connection may move it ahead of the clock."""
RETRY_RELEASE = 1000
"""ms after which a release that let nothing go is tried again at the earliest."""


def is_far_ahead(state: Connection, now: int) -> bool:
    """Whether something happened in the connection while the clock was ahead: until that time has come, it takes what
    says no, and lets nothing go (CLOCK-4)."""
    return state.at - now > FAR_AHEAD


def wake_at(state: Connection, due: int | None, now: int) -> int | None:
    """When (ms) to look at what waits in the connection again, of which something is `due` then."""
    if due is None:
        return None
    # A moment already past would wake the timer for ever, should nothing come of it.
    soon = now + RETRY_RELEASE if due <= now else due
    return max(soon, state.at) if is_far_ahead(state, now) else soon


class Leads:
    """The lead of each side of each connection, in memory. All are gone some seconds after the last act."""

    def __init__(self) -> None:
        self._leads: dict[tuple[str, Side], tuple[float, int]] = {}
        self._look_at = _FEW

    def of(self, cid: str, side: Side, now: int) -> float:
        """The ms by which the side has taken the connection ahead of `now` (ms)."""
        level, at = self._leads.get((cid, side), (0.0, now))
        return max(0.0, level - (now - at) / _EARNED_IN)

    def check(self, before: Connection, side: Side, payload: Act | Setting, now: int, over: Over | None) -> None:
        """Raises Refused("rate_limited") where the side writes too fast, or is `over` a rate, and the act closes
        nothing (CONN-24)."""
        narrows = is_narrowing(payload)
        is_too_fast = self.of(before.cid, side, now) >= (MOST_AHEAD_NARROWING if narrows else MOST_AHEAD)
        is_too_fast = is_too_fast or before.at - now >= MOST_OF_BOTH
        if (not is_too_fast and over is None) or (narrows and is_new_restriction(before, side, payload, now)):
            return
        if is_too_fast:
            raise Refused("rate_limited", "too many acts in this connection", retry_after=1)
        if over is not None and not (narrows and over.spares()):
            raise Refused("rate_limited", "too many requests", retry_after=over.retry_after)

    def add(self, cid: str, side: Side, now: int) -> None:
        """Count one more millisecond."""
        self._leads[cid, side] = (self.of(cid, side, now) + 1, now)
        if len(self._leads) > self._look_at:
            # Each remaining ms cost an accepted act within the last seconds.
            self._leads = {key: lead for key, lead in self._leads.items() if self.of(*key, now)}
            self._look_at = max(_FEW, 2 * len(self._leads))
