"""The grant that an offer promises the other side, and whether the offerer kept the promise (spec/offer.md, ALLOW-1 to
ALLOW-5).

Pure: the offer and the opening determine the grant, and the records alone determine the status of the promise.
"""

from collections.abc import Iterable
from typing import Any, Literal

from comity.documents.acts import Act, Grant, Setting, Withdraw
from comity.documents.events import Accepted
from comity.documents.offers import Allow
from comity.documents.types import DAY, PERIODS, Side, covers
from comity.rules.fold import Record

GIVE_WITHIN = DAY * 1000
"""ms from the opening in which the promised grant must be given (ALLOW-3), and from its withdrawal in which another one
may make up for it (ALLOW-4)."""
IN_FORCE_FOR = 7 * DAY * 1000
"""ms from the opening for which it must remain in force (ALLOW-4)."""

Promise = Literal["waiting", "kept", "broken"]


def promised_grant(allow: Allow, opened_at: int) -> dict[str, Any]:
    """The members of the promised grant in a connection that was opened at `opened_at` (ms), without its status index
    (ALLOW-2)."""
    members = {
        "purposes": allow.purposes,
        "channels": allow.channels,
        "exp": opened_at // 1000 + allow.days * DAY,
        "budget": allow.budget,
    }
    return {name: value for name, value in members.items() if value is not None}


def promise_status(allow: Allow, giver: Side, opened_at: int, records: Iterable[Record], now: int) -> Promise:
    """The status of the promise of `giver` at `now` (ms) in a connection that was opened at `opened_at` (ms): `waiting`
    for the grant, `kept`, or `broken` (ALLOW-3, ALLOW-4)."""
    grant_id: str | None = None
    withdrawn_at: int | None = None
    for event, act in records:
        if not isinstance(event, Accepted) or event.side != giver or act is None:
            continue
        payload = act.payload
        if isinstance(payload, Grant) and _is_as_promised(payload, allow, opened_at):
            if withdrawn_at is not None and event.at >= withdrawn_at + GIVE_WITHIN:
                # Bait: a grant that was withdrawn at once is not made good weeks later.
                return "broken"
            grant_id, withdrawn_at = act.id, None
        elif grant_id is not None and _takes_back(payload, grant_id):
            if event.at >= opened_at + IN_FORCE_FOR:
                break
            grant_id, withdrawn_at = None, event.at
    if grant_id is not None:
        return "kept"
    return "broken" if withdrawn_at is not None or now >= opened_at + GIVE_WITHIN else "waiting"


def _takes_back(payload: Act | Setting, grant: str) -> bool:
    """True if the act withdraws or replaces the grant of that id."""
    if isinstance(payload, Withdraw):
        return payload.grant == grant
    return isinstance(payload, Grant) and payload.replaces == grant


def _is_as_promised(grant: Grant, allow: Allow, opened_at: int) -> bool:
    """True if the grant gives no less than the promise."""
    if not all(any(covers(given, promised) for given in grant.purposes) for promised in allow.purposes):
        return False
    if not set(allow.channels) <= set(grant.channels) or grant.exp < opened_at // 1000 + allow.days * DAY:
        return False
    if grant.budget is None:
        return True
    promised = allow.budget
    return (
        promised is not None
        and grant.budget.max >= promised.max
        and PERIODS[grant.budget.per] <= PERIODS[promised.per]
    )  # fmt: skip
