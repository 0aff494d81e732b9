"""Budgets: which deliveries count, and when there is room again (spec/gate.md, GATE-6, GATE-11 to GATE-13, GATE-22).

Every function returns None while there is room, else the time (ms) at which there is room again. They use the
deliveries of one side, and no private setting but a budget in their arguments.
"""

from comity.crypto.keys import is_pairwise
from comity.documents.types import EXEMPT_PURPOSES, NOTE, PERIODS, ROOM_PURPOSES, is_among
from comity.rules import contests
from comity.rules.contests import ActiveContest
from comity.rules.state import Budget, Delivery, Door, Grant

MOST_SENT = 1000
"""The most deliveries of one side within a month, exempt ones aside (GATE-13)."""
COUNTED_FOR = PERIODS["month"] * 1000
"""ms for which a delivery can count."""
MOST_EXEMPT = 6
"""The most exempt deliveries and contacts of one side within a month (GATE-6)."""
MOST_EXEMPT_BUT_SAFETY = 4
"""How many of them may be `security` and `legal_notice`: two remain for `safety`."""
MOST_UNANSWERED = 5
"""The most deliveries that rest on the agreement within a month since the other side's last message (GATE-22)."""
MOST_UNANSWERED_OF_A_PERSON = 40
"""The same for a pairwise side towards a public one."""
ROOM_FOR_ALL = Budget(MOST_SENT, PERIODS["month"])


def budget_frees_at(
    budget: Budget,
    sent: tuple[Delivery, ...],
    granted: tuple[str, ...],
    now: int,
    active: tuple[ActiveContest, ...] = (),
) -> int | None:
    """None while the budget has room at `now`; else when (ms) it has room again, 0 for never (GATE-12). All deliveries
    count but exempt ones, or with `granted` those that a grant names, by their own purpose or by a contest (GATE-21).
    Each counts once."""
    if len(sent) < budget.max:
        return None
    start = now - budget.seconds * 1000
    recent = [delivery for delivery in sent if delivery.at > start and delivery.purpose not in EXEMPT_PURPOSES]
    if len(recent) < budget.max:
        return None
    if granted:
        # Each purpose is tested once: there are fewer purposes than deliveries.
        counted = {
            purpose for purpose in {delivery.purpose for delivery in recent} if _counts(granted, purpose, active)
        }
        recent = [delivery for delivery in recent if delivery.purpose in counted]
        if len(recent) < budget.max:
            return None
    return recent[-budget.max].at + budget.seconds * 1000 if budget.max else 0


def _counts(granted: tuple[str, ...], purpose: str, active: tuple[ActiveContest, ...]) -> bool:
    if is_among(granted, purpose):
        return True
    return bool(active) and any(is_among(granted, as_) for as_ in contests.counted_as(active, purpose))


def is_grant_spent(grant: Grant, sent: tuple[Delivery, ...], now: int, active: tuple[ActiveContest, ...]) -> bool:
    """True if the grant has a budget without room."""
    return grant.budget is not None and budget_frees_at(grant.budget, sent, grant.purposes, now, active) is not None


def grant_frees_at(grant: Grant, sent: tuple[Delivery, ...], now: int, active: tuple[ActiveContest, ...]) -> int:
    """When (ms) a spent grant can be used again, or ends."""
    assert grant.budget is not None
    end = budget_frees_at(grant.budget, sent, grant.purposes, now, active)
    return min(end, grant.exp * 1000) if end else grant.exp * 1000


def exempt_frees_at(sent: tuple[Delivery, ...], purpose: str, now: int) -> int | None:
    """None while there is room for an exempt delivery of that purpose; else when (ms) there is room again (GATE-6)."""
    if len(sent) < MOST_EXEMPT_BUT_SAFETY:
        return None
    recent = [delivery for delivery in sent if delivery.purpose in EXEMPT_PURPOSES and delivery.at > now - COUNTED_FOR]
    ends = []
    if len(recent) >= MOST_EXEMPT:
        ends.append(recent[-MOST_EXEMPT].at + COUNTED_FOR)
    if purpose != "safety":
        not_safety = [delivery for delivery in recent if delivery.purpose != "safety"]
        if len(not_safety) >= MOST_EXEMPT_BUT_SAFETY:
            ends.append(not_safety[-MOST_EXEMPT_BUT_SAFETY].at + COUNTED_FOR)
    return max(ends, default=None)


def room_frees_at(door: Door, across: Door, now: int) -> int | None:
    """None while there is room for a delivery that rests on the agreement; else when (ms) there is room again
    (GATE-22). `door` receives, `across` sends. A message of the receiver resets the count."""
    a_person = is_pairwise(across.did) and not is_pairwise(door.did)
    most = MOST_UNANSWERED_OF_A_PERSON if a_person else MOST_UNANSWERED
    if len(across.sent) < most:
        return None
    since = now - COUNTED_FOR
    recent = [delivery.at for delivery in across.sent if delivery.purpose in ROOM_PURPOSES and delivery.at > since]
    if len(recent) < most:
        return None
    for delivery in reversed(door.sent):
        if delivery.channel == "app" and delivery.purpose != NOTE and delivery.purpose not in EXEMPT_PURPOSES:
            recent = [at for at in recent if at > delivery.at]
            break
    return None if len(recent) < most else recent[-most] + COUNTED_FOR
