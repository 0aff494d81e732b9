"""What an offer allows the other side, and whether that promise was kept (spec/offer.md, ALLOW-1 to ALLOW-5).

Pure: the grant that keeps the promise follows from the offer and the opening, and how the promise stands from the
records alone.
"""

from collections.abc import Iterable
from typing import Any, Literal

from comity.documents.acts import Grant, Withdraw
from comity.documents.events import Accepted
from comity.documents.offers import Allow
from comity.documents.types import DAY, PERIODS, Side, covers
from comity.rules.fold import Record

GIVEN_WITHIN = DAY * 1000
"""ms after the opening within which the promised grant is given (ALLOW-3), and after it was taken back within which
another one mends that (ALLOW-4)."""
STANDS_FOR = 7 * DAY * 1000
"""ms after the opening for which it must stand (ALLOW-4)."""

Promise = Literal["waiting", "kept", "broken"]


def grant_of(allow: Allow, opened_at: int) -> dict[str, Any]:
    """The members of the grant that keeps the promise in a connection opened at `opened_at` (ms), but for its status
    index (ALLOW-2)."""
    members = {
        "purposes": allow.purposes,
        "channels": allow.channels,
        "exp": opened_at // 1000 + allow.days * DAY,
        "budget": allow.budget,
    }
    return {name: value for name, value in members.items() if value is not None}


def promise(allow: Allow, giver: Side, opened_at: int, records: Iterable[Record], now: int) -> Promise:
    """How the promise of `giver` stands at `now` (ms) in a connection opened at `opened_at` (ms): `waiting` for the
    grant, `kept`, or `broken` (ALLOW-3, ALLOW-4)."""
    kept: str | None = None
    taken_back: int | None = None
    for event, act in records:
        if not isinstance(event, Accepted) or event.side != giver or act is None:
            continue
        payload = act.payload
        if isinstance(payload, Grant) and _keeps(payload, allow, opened_at):
            if taken_back is not None and event.at >= taken_back + GIVEN_WITHIN:
                # Bait: what was taken back at once is not made good weeks later.
                return "broken"
            kept, taken_back = act.id, None
        elif kept is not None and kept in (getattr(payload, "grant", None), getattr(payload, "replaces", None)):
            assert isinstance(payload, Grant | Withdraw)
            if event.at >= opened_at + STANDS_FOR:
                break
            kept, taken_back = None, event.at
    if kept is not None:
        return "kept"
    return "broken" if taken_back is not None or now >= opened_at + GIVEN_WITHIN else "waiting"


def _keeps(grant: Grant, allow: Allow, opened_at: int) -> bool:
    """Whether the grant gives no less than what was promised."""
    if not all(any(covers(given, wanted) for given in grant.purposes) for wanted in allow.purposes):
        return False
    if not set(allow.channels) <= set(grant.channels) or grant.exp < opened_at // 1000 + allow.days * DAY:
        return False
    if grant.budget is None:
        return True
    wanted = allow.budget
    return (
        wanted is not None
        and grant.budget.max >= wanted.max
        and PERIODS[grant.budget.per] <= PERIODS[wanted.per]
    )  # fmt: skip
