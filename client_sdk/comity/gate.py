"""The gate: may I? (spec/gate.md)

`may` is the one function that answers, for the message route, every check, the SDK and the auditor. No other code
knows what a mute is. It is pure: the connection, the moment and the zone rules are arguments (GATE-1). What is
promised of an answer rests on when it is asked for: in the commit itself (GATE-16, GATE-20), or a while before
(GATE-17).

A verdict is made with all that the caller knows. Where the caller knows the receiving side's settings, the reasons
name them; `outward` is what the sender may be told.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from comity import hours
from comity.hours import ZoneRules
from comity.state import Budget, Connection, Delivery, Door, Grant, Mute
from comity.words import AGREEMENT_PURPOSES, EXEMPT_PURPOSES, PERIODS, Side, covers, other

Decision = Literal["allow", "hold", "refuse"]

REASONS: dict[str, Decision] = {
    "ended": "refuse",
    "no_agreement": "refuse",
    "recovering": "hold",
    "no_grant": "refuse",
    "already_has": "refuse",
    "no_interest": "refuse",
    "muted": "hold",
    "outside_hours": "hold",
    "over_limit": "hold",
    "over_budget": "hold",
    "not_now": "hold",
    "granted": "allow",
    "by_agreement": "allow",
    "exempt": "allow",
}
"""The closed list of reasons, in the order in which they are looked for, each with its decision (GATE-2).
`not_now` is never found by the gate: it is what `outward` tells in place of the reasons in PRIVATE_REASONS."""

PRIVATE_REASONS = frozenset({"muted", "outside_hours", "over_limit"})
"""What rests on the receiving side's mutes and settings, of which the sender is told no more than "not now"."""

FRESH_FOR = 5000
"""ms after `now` to which a verdict is good at most (GATE-14)."""
MOST_SENT = 1000
"""Deliveries of one side within a month that are kept and allowed at most, exempt ones aside (GATE-13)."""
FOR_EVER = 2**62
"""ms: when an open mute ends."""
KEPT_FOR = PERIODS["month"] * 1000
"""ms for which a delivery can still count."""
_ROOM_FOR_ALL = Budget(MOST_SENT, PERIODS["month"])


class AsOf(NamedTuple):
    """What a verdict rests on: the heads of both public chains, and the version of the zone rules (GATE-3)."""

    first: str
    second: str
    zones: str


class Verdict(msgspec.Struct, frozen=True):
    """The gate's answer.

    `reason` is a key of REASONS. `valid_until` (ms) is when it must be asked again. `ends_at` (ms) is when the cause
    of a hold ends, if that is known; `end_shown` whether the sender may know it. `grant` is the id of the grant that
    it rests on.
    """

    decision: Decision
    reason: str
    as_of: AsOf
    valid_until: int
    ends_at: int | None = None
    end_shown: bool = False
    grant: str | None = None

    def outward(self) -> "Verdict":
        """The verdict as the sender may be told it: a mute, hours or the side's own limit are all "not now", with the
        end only where it is shown; nothing else of the receiving side's settings can be read from it (GATE-15)."""
        reason = "not_now" if self.reason in PRIVATE_REASONS else self.reason
        return replace(self, reason=reason, ends_at=self.ends_at if self.end_shown else None)


class _Block(NamedTuple):
    reason: str
    ends_at: int | None
    end_shown: bool


def may(
    connection: Connection | None,
    sender: Side,
    purpose: str,
    channel: str,
    topic: str | None,
    now: int,
    zones: ZoneRules,
) -> Verdict:
    """Whether `sender` may reach the other side for `purpose`, by `channel`, about `topic`, at `now` (ms).

    `connection` is None where there is no agreement. Order of looking (GATE-2): ended, no agreement, recovering,
    exempt, grant, topic, mute, hours, budget (the side's own, then the grant's).
    """
    if connection is None:
        return Verdict("refuse", "no_agreement", AsOf("", "", zones.version), now + FRESH_FOR)
    as_of = AsOf(connection.first.head, connection.second.head, zones.version)
    if connection.phase == "ended":
        return Verdict("refuse", "ended", as_of, now + FRESH_FOR)
    if connection.recovering:
        # What a side said no to may be lost: until both have been heard, not even an exempt purpose passes (REC-4).
        return Verdict("hold", "recovering", as_of, now + FRESH_FOR)
    if purpose in EXEMPT_PURPOSES:
        return Verdict("allow", "exempt", as_of, now + FRESH_FOR)
    door, sent = connection.door(other(sender)), connection.door(sender).sent
    grants = [grant for grant in door.grants if _grants(grant, purpose, channel, now)]
    if not grants and purpose not in AGREEMENT_PURPOSES:
        return Verdict("refuse", "no_grant", as_of, now + FRESH_FOR)
    if reason := _unwanted_topic(connection, door, purpose, topic, now):
        return Verdict("refuse", reason, as_of, now + FRESH_FOR)
    block = _muted(door, purpose, channel, now) or _outside_hours(door, now, zones) or _spent(door, sent, now)
    if block is None and purpose in AGREEMENT_PURPOSES:
        return Verdict("allow", "by_agreement", as_of, _fresh(now, _hours_end(door, now, zones)))
    if block is None:
        grant = next((grant for grant in grants if not _grant_spent(grant, sent, now)), None)
        if grant is not None:
            until = _fresh(now, _hours_end(door, now, zones), grant.exp * 1000)
            return Verdict("allow", "granted", as_of, until, grant=grant.id)
        block = _Block("over_budget", min(end for grant in grants for end in _frees(grant, sent, now)), True)
    # A hidden end must not shorten `valid_until`: it would give itself away.
    return Verdict(
        "hold",
        block.reason,
        as_of,
        _fresh(now, block.ends_at if block.end_shown else None),
        block.ends_at,
        block.end_shown,
    )


def _fresh(now: int, *ends: int | None) -> int:
    until = now + FRESH_FOR
    for end in ends:
        if end is not None and now < end < until:
            until = end
    return until


def _grants(grant: Grant, purpose: str, channel: str, now: int) -> bool:
    return now < grant.exp * 1000 and channel in grant.channels and _is_among(grant.purposes, purpose)


def _is_among(purposes: tuple[str, ...], purpose: str) -> bool:
    """Whether one of them is also for that purpose."""
    # A plain loop, here and below: a generator for each question would cost as much as all the rest.
    for granted in purposes:  # noqa: SIM110
        if covers(granted, purpose):
            return True
    return False


def granted_until(connection: Connection, sender: Side, purpose: str, channel: str, now: int) -> int | None:
    """When (ms) the last of the grants ends on which this rests; None where it rests on none."""
    if purpose in AGREEMENT_PURPOSES:
        return None
    grants = connection.door(other(sender)).grants
    return max((it.exp * 1000 for it in grants if _grants(it, purpose, channel, now)), default=None)


def _unwanted_topic(connection: Connection, door: Door, purpose: str, topic: str | None, now: int) -> str | None:
    """`already_has` or `no_interest`, where something of that topic would be sold to this side (GATE-7, GATE-8)."""
    if topic is None or not covers("sales", purpose):
        return None
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        lasts = milestone.lasts is None or now < milestone.lasts * 1000
        if milestone.kind in ("bought", "installed") and lasts and covers(milestone.topic, topic):
            return "already_has"
    for little in door.little:
        if little.key == "no_interest" and little.topic is not None and covers(little.topic, topic):
            return "no_interest"
    return None


def mute_end(door: Door, mute: Mute) -> int | None:
    """When (ms) a mute ends, shown or not; None for an open one (GATE-9)."""
    if mute.until is not None:
        return mute.until * 1000
    for id_, hidden in reversed(door.settings.mute_ends):
        if id_ == mute.id:
            return hidden * 1000
    return None


def muted_until(door: Door, grant: Grant) -> int:
    """When (ms) the last mute ends that stops some of what the grant allows: 0 for none, FOR_EVER for an open one
    (STATUS-4). Offline a part that is muted means no for the whole, so an overlap is enough."""
    ends = [mute_end(door, mute) for mute in door.mutes if _overlaps(mute, grant)]
    return max((FOR_EVER if end is None else end for end in ends), default=0)


def offline_until(connection: Connection, side: Side, grant: Grant) -> int:
    """Until when (ms) whoever checks a grant of `side` offline has to ask the server: 0 for not at all, FOR_EVER while
    a door is recovering, else the end of the last mute (GRANT-7, REC-4)."""
    return FOR_EVER if connection.recovering else muted_until(connection.door(side), grant)


def _overlaps(mute: Mute, grant: Grant) -> bool:
    if mute.channels and not set(mute.channels) & set(grant.channels):
        return False
    pairs = [(muted, granted) for muted in mute.purposes for granted in grant.purposes]
    return not mute.purposes or any(covers(muted, granted) or covers(granted, muted) for muted, granted in pairs)


def _muted(door: Door, purpose: str, channel: str, now: int) -> _Block | None:
    """The mute that lasts longest of those that apply now."""
    longest: _Block | None = None
    for mute in door.mutes:
        end = mute_end(door, mute)
        if end is not None and now >= end:
            continue
        if mute.purposes and not any(covers(muted, purpose) for muted in mute.purposes):
            continue
        if mute.channels and channel not in mute.channels:
            continue
        if end is None:
            return _Block("muted", None, False)
        if longest is None or longest.ends_at is None or end > longest.ends_at:
            longest = _Block("muted", end, mute.until is not None)
    return longest


def _outside_hours(door: Door, now: int, zones: ZoneRules) -> _Block | None:
    settings = door.settings
    if settings.zone is None or not settings.windows:
        return None
    zone = zones.zone(settings.zone)
    if zone is None:
        # A zone that these rules do not know can be judged by nobody here: then the side is not reached.
        return _Block("outside_hours", None, False)
    if hours.is_open(settings.windows, zone, now):
        return None
    return _Block("outside_hours", hours.next_change(settings.windows, zone, now), settings.hours_end_shown)


def _hours_end(door: Door, now: int, zones: ZoneRules) -> int | None:
    """When the window that is open now closes, where the sender may know it and it shortens a verdict."""
    settings = door.settings
    zone = zones.zone(settings.zone) if settings.zone is not None and settings.hours_end_shown else None
    if zone is None or not settings.windows or hours.is_open(settings.windows, zone, now + FRESH_FOR):
        return None
    return hours.next_change(settings.windows, zone, now)


def _spent(door: Door, sent: tuple[Delivery, ...], now: int) -> _Block | None:
    """The receiving side's own budget, told outwardly as "not now", and the bound that holds for everybody."""
    budget = door.settings.messages
    if budget is not None and (end := _frees_at(budget, sent, (), now)) is not None:
        return _Block("over_limit", end if end > 0 else None, False)
    if (end := _frees_at(_ROOM_FOR_ALL, sent, (), now)) is not None:
        return _Block("over_budget", end, True)
    return None


def _frees_at(budget: Budget, sent: tuple[Delivery, ...], granted: tuple[str, ...], now: int) -> int | None:
    """None while the budget has room at `now`; else when (ms) it has room again, 0 for never (GATE-12). What counts:
    deliveries of all purposes but exempt ones, or of those that a grant names."""
    if len(sent) < budget.max:
        return None
    start = now - budget.seconds * 1000
    inside = [
        it.at
        for it in sent
        if it.at > start and it.purpose not in EXEMPT_PURPOSES and (not granted or _is_among(granted, it.purpose))
    ]
    if len(inside) < budget.max:
        return None
    return inside[-budget.max] + budget.seconds * 1000 if budget.max else 0


def _grant_spent(grant: Grant, sent: tuple[Delivery, ...], now: int) -> bool:
    return grant.budget is not None and _frees_at(grant.budget, sent, grant.purposes, now) is not None


def _frees(grant: Grant, sent: tuple[Delivery, ...], now: int) -> Iterator[int]:
    """When a spent grant can be used again, or ends."""
    end = _frees_at(grant.budget, sent, grant.purposes, now) if grant.budget else 0
    yield min(end, grant.exp * 1000) if end else grant.exp * 1000


# --- how long time alone changes nothing


def settled_until(connection: Connection, sender: Side, now: int, zones: ZoneRules) -> int:
    """The moment (ms) before which, from `now` on, time alone changes nothing of what `may` answers about this
    connection and sender, whatever is asked, but `valid_until`. Acts change it at any time."""
    if connection.phase == "ended":
        return FOR_EVER
    door = connection.door(other(sender))
    until = FOR_EVER
    for turn in _turns(connection, door, connection.door(sender).sent, now, zones):
        if turn is not None and now < turn < until:
            until = turn
    return until


def _turns(
    connection: Connection, door: Door, sent: tuple[Delivery, ...], now: int, zones: ZoneRules
) -> Iterator[int | None]:
    """When grants, mutes, purchases and hours begin or end, and spent budgets have room again."""
    for grant in door.grants:
        yield grant.exp * 1000
        if grant.budget is not None:
            yield _frees_at(grant.budget, sent, grant.purposes, now)
    for mute in door.mutes:
        yield mute_end(door, mute)
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        yield None if milestone.lasts is None else milestone.lasts * 1000
    settings = door.settings
    if settings.messages is not None:
        yield _frees_at(settings.messages, sent, (), now)
    yield _frees_at(_ROOM_FOR_ALL, sent, (), now)
    zone = zones.zone(settings.zone) if settings.zone is not None and settings.windows else None
    if zone is not None:
        # Looked for over sixteen days: where nothing is found, there is time to look again.
        yield hours.next_change(settings.windows, zone, now) or now + PERIODS["day"] * 1000
