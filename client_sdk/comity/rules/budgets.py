"""What counts, and when there is room again (spec/gate.md, GATE-6, GATE-11 to GATE-13, GATE-22).

Every function answers None while there is room, else the time (ms) at which there is again. They look at what one side
sent, and at nothing private but a budget that is given.
"""

from comity.crypto.keys import is_pairwise
from comity.documents.types import EXEMPT_PURPOSES, NOTE, PERIODS, ROOM_PURPOSES, is_among
from comity.rules import contests
from comity.rules.contests import Reach
from comity.rules.state import Budget, Delivery, Door, Grant

MOST_SENT = 1000
"""Deliveries of one side within a month that are kept and allowed at most, exempt ones aside (GATE-13)."""
KEPT_FOR = PERIODS["month"] * 1000
"""ms for which a delivery can still count."""
MOST_EXEMPT = 6
"""Exempt deliveries and contacts of one side within a month (GATE-6)."""
MOST_EXEMPT_BUT_SAFETY = 4
"""How many of them may be `security` and `legal_notice`: two stay for `safety`."""
MOST_UNANSWERED = 5
"""Deliveries that rest on the agreement within a month since the other side's last message (GATE-22)."""
MOST_UNANSWERED_OF_A_PERSON = 40
"""The same of a pairwise side to a public one."""
ROOM_FOR_ALL = Budget(MOST_SENT, PERIODS["month"])


def frees_at(
    budget: Budget, sent: tuple[Delivery, ...], granted: tuple[str, ...], now: int, found: tuple[Reach, ...] = ()
) -> int | None:
    """None while the budget has room at `now`; else when (ms) it has room again, 0 for never (GATE-12). What counts:
    deliveries of all purposes but exempt ones, or of those that a grant names, under their own purpose or as what they
    were contested as (GATE-21). Each counts once."""
    if len(sent) < budget.max:
        return None
    start = now - budget.seconds * 1000
    recent = [it for it in sent if it.at > start and it.purpose not in EXEMPT_PURPOSES]
    if len(recent) < budget.max:
        return None
    if granted:
        # The purposes, and each of them once: there are fewer than deliveries.
        counted = {purpose for purpose in {it.purpose for it in recent} if _counts(granted, purpose, found)}
        recent = [it for it in recent if it.purpose in counted]
        if len(recent) < budget.max:
            return None
    return recent[-budget.max].at + budget.seconds * 1000 if budget.max else 0


def _counts(granted: tuple[str, ...], purpose: str, found: tuple[Reach, ...]) -> bool:
    if is_among(granted, purpose):
        return True
    return bool(found) and any(is_among(granted, as_) for as_ in contests.labels(found, purpose))


def is_grant_spent(grant: Grant, sent: tuple[Delivery, ...], now: int, found: tuple[Reach, ...]) -> bool:
    """Whether the grant has a budget without room."""
    return grant.budget is not None and frees_at(grant.budget, sent, grant.purposes, now, found) is not None


def grant_frees_at(grant: Grant, sent: tuple[Delivery, ...], now: int, found: tuple[Reach, ...]) -> int:
    """When (ms) a spent grant can be used again, or ends."""
    assert grant.budget is not None
    end = frees_at(grant.budget, sent, grant.purposes, now, found)
    return min(end, grant.exp * 1000) if end else grant.exp * 1000


def exempt_frees_at(sent: tuple[Delivery, ...], purpose: str, now: int) -> int | None:
    """None while there is room for an exempt delivery of that purpose; else when (ms) there is again (GATE-6)."""
    if len(sent) < MOST_EXEMPT_BUT_SAFETY:
        return None
    inside = [it for it in sent if it.purpose in EXEMPT_PURPOSES and it.at > now - KEPT_FOR]
    ends = []
    if len(inside) >= MOST_EXEMPT:
        ends.append(inside[-MOST_EXEMPT].at + KEPT_FOR)
    if purpose != "safety":
        rest = [it for it in inside if it.purpose != "safety"]
        if len(rest) >= MOST_EXEMPT_BUT_SAFETY:
            ends.append(rest[-MOST_EXEMPT_BUT_SAFETY].at + KEPT_FOR)
    return max(ends, default=None)


def room_frees_at(door: Door, across: Door, now: int) -> int | None:
    """None while there is room for a delivery that rests on the agreement; else when (ms) there is again (GATE-22).
    `door` receives, `across` sends. A message of the receiver gives all the room anew."""
    a_person = is_pairwise(across.did) and not is_pairwise(door.did)
    most = MOST_UNANSWERED_OF_A_PERSON if a_person else MOST_UNANSWERED
    if len(across.sent) < most:
        return None
    since = now - KEPT_FOR
    inside = [it.at for it in across.sent if it.purpose in ROOM_PURPOSES and it.at > since]
    if len(inside) < most:
        return None
    for it in reversed(door.sent):
        if it.channel == "app" and it.purpose != NOTE and it.purpose not in EXEMPT_PURPOSES:
            inside = [at for at in inside if at > it.at]
            break
    return None if len(inside) < most else inside[-most] + KEPT_FOR
