"""The gate: may I? (spec/gate.md)

`may` is the one function that answers, for the message route, every check, the SDK and the auditor. No other code knows
what a mute is. It is pure: the connection, the time and the zone rules are arguments (GATE-1). The promise of an answer
depends on when the gate is asked: within the commit itself (GATE-16, GATE-20), or some time before it (GATE-17).

A verdict uses all that the caller knows. If the caller knows the receiving side's settings, the reasons name them;
`outward` is the part that the sender may see.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from comity.documents import hours
from comity.documents.hours import ZoneRules
from comity.documents.types import AGREEMENT_PURPOSES, EXEMPT_PURPOSES, PERIODS, Side, covers, is_among, other
from comity.rules import contests
from comity.rules.budgets import (
    ROOM_FOR_ALL,
    budget_frees_at,
    exempt_frees_at,
    grant_frees_at,
    is_grant_spent,
    room_frees_at,
)
from comity.rules.contests import ActiveContest
from comity.rules.mute_over import latest_mute_end
from comity.rules.state import Connection, Contest, Delivery, Door, Grant, Mute
from comity.rules.topics import purchases, topic_needed_until, topic_refusal

Decision = Literal["allow", "hold", "refuse"]

REASONS: dict[str, Decision] = {
    "ended": "refuse",
    "no_agreement": "refuse",
    "exempt_limit": "refuse",
    "recovering": "hold",
    "no_grant": "refuse",
    "already_has": "refuse",
    "no_interest": "refuse",
    "topic_needed": "refuse",
    "muted": "hold",
    "outside_hours": "hold",
    "over_limit": "hold",
    "over_budget": "hold",
    "not_now": "hold",
    "granted": "allow",
    "by_agreement": "allow",
    "exempt": "allow",
}
"""The closed list of reasons, in the order of the checks, each with its decision (GATE-2). The gate itself never finds
`not_now`: `outward` puts it in place of the reasons in PRIVATE_REASONS."""

PRIVATE_REASONS = frozenset({"muted", "outside_hours", "over_limit"})
"""Reasons that depend on the receiving side's mutes and settings: the sender sees "not now" instead."""

FRESH_FOR = 5000
"""The most ms for which a verdict is valid (GATE-14)."""
FOR_EVER = 2**62
"""ms: the end of a mute without an end."""


class AsOf(msgspec.Struct, frozen=True):
    """The basis of a verdict: the heads of both public chains, and the version of the zone rules (GATE-3)."""

    first: str
    second: str
    zones: str


class Verdict(msgspec.Struct, frozen=True):
    """The gate's answer.

    `reason` is a key of REASONS. `valid_until` (ms) is when the caller must ask again. `ends_at` (ms) is the end of a
    hold or of an `exempt_limit`, if it is known; `end_shown` is true if the sender may know it. `grant` is the id of
    the grant in use. `contest` holds the contests in force that cover the purpose, whether or not they decided.
    """

    decision: Decision
    reason: str
    as_of: AsOf
    valid_until: int
    ends_at: int | None = None
    end_shown: bool = False
    grant: str | None = None
    contest: tuple[Contest, ...] = ()

    def outward(self) -> "Verdict":
        """The verdict that the sender may see: a mute, hours and the side's own limit all are "not now", with an end
        only if it is shown. Nothing else reveals the receiving side's settings (GATE-15)."""
        reason = "not_now" if self.reason in PRIVATE_REASONS else self.reason
        return replace(self, reason=reason, ends_at=self.ends_at if self.end_shown else None)


class _Block(NamedTuple):
    reason: str
    ends_at: int | None
    end_shown: bool


class _Context(msgspec.Struct, frozen=True):
    """The circumstances of one call of `may`: `door` receives, `across` sends, `active` are the contests in force."""

    connection: Connection
    door: Door
    across: Door
    channel: str
    now: int
    zones: ZoneRules
    as_of: AsOf
    active: tuple[ActiveContest, ...]


def may(
    connection: Connection | None,
    sender: Side,
    purpose: str,
    channel: str,
    topic: str | None,
    now: int,
    zones: ZoneRules,
) -> Verdict:
    """Decides whether `sender` may reach the other side for `purpose`, by `channel`, about `topic`, at `now` (ms).

    `connection` is None if there is no agreement. Order of the checks (GATE-2): ended, no agreement, the limit of
    exempt deliveries, recovering, exempt, grant, topic, mute, hours, budget (the side's own, then the grant's).
    """
    if connection is None:
        return Verdict("refuse", "no_agreement", AsOf("", "", zones.version), now + FRESH_FOR)
    as_of = AsOf(connection.first.head, connection.second.head, zones.version)
    if connection.phase == "ended":
        return Verdict("refuse", "ended", as_of, now + FRESH_FOR)
    # Inlined: two calls of `Connection.door` would cost a tenth of the whole answer.
    if sender == "first":
        across, door = connection.first, connection.second
    else:
        across, door = connection.second, connection.first
    active = contests.active_contests(door, across, now) if door.contests else ()
    context = _Context(connection, door, across, channel, now, zones, as_of, active)
    exempt = purpose in EXEMPT_PURPOSES
    if exempt and (end := exempt_frees_at(across.sent, purpose, now)) is not None:
        verdict = Verdict("refuse", "exempt_limit", as_of, _valid_until(now, end), end, True)
    elif connection.recovering:
        # A revoke may be lost: until both sides have confirmed, not even an exempt purpose passes (REC-4).
        verdict = Verdict("hold", "recovering", as_of, now + FRESH_FOR)
    elif exempt:
        verdict = Verdict("allow", "exempt", as_of, now + FRESH_FOR)
    else:
        verdict = _judge(context, purpose, topic)
    if active and (covering := contests.covering_contests(active, purpose)):
        verdict = _apply_contests(context, verdict, covering, purpose, topic)
    return verdict


def _judge(context: _Context, purpose: str, topic: str | None) -> Verdict:
    """The verdict on a purpose that is not exempt. Contests matter only for what counts against budgets."""
    door, across, channel, now = context.door, context.across, context.channel, context.now
    zones, as_of = context.zones, context.as_of
    deliveries, is_by_agreement = across.sent, purpose in AGREEMENT_PURPOSES
    grants = [grant for grant in door.grants if _allows(grant, purpose, channel, now)]
    if across.renounced:
        grants = [grant for grant in grants if not _is_renounced(across, grant, purpose, channel)]
    if not grants and not is_by_agreement:
        return Verdict("refuse", "no_grant", as_of, now + FRESH_FOR)
    if reason := topic_refusal(context.connection, door, purpose, topic, now):
        return Verdict("refuse", reason, as_of, now + FRESH_FOR)
    block = (
        _mute_block(door, purpose, channel, now)
        or _hours_block(door, now, zones)
        or _budget_block(door, deliveries, now)
    )
    if block is None:
        room = room_frees_at(door, across, now) if is_by_agreement else None
        if is_by_agreement and room is None:
            return Verdict("allow", "by_agreement", as_of, _valid_until(now, _hours_end(door, now, zones)))
        grant = next((grant for grant in grants if not is_grant_spent(grant, deliveries, now, context.active)), None)
        if grant is not None:
            until = _valid_until(now, _hours_end(door, now, zones), grant.exp * 1000)
            return Verdict("allow", "granted", as_of, until, grant=grant.id)
        room_times = [grant_frees_at(grant, deliveries, now, context.active) for grant in grants]
        block = _Block("over_budget", min(room_times if room is None else [*room_times, room]), True)
    # A hidden end must not shorten `valid_until`, or the sender could read it there.
    return Verdict(
        "hold",
        block.reason,
        as_of,
        _valid_until(now, block.ends_at if block.end_shown else None),
        block.ends_at,
        block.end_shown,
    )


def _apply_contests(
    context: _Context, verdict: Verdict, covering: list[ActiveContest], purpose: str, topic: str | None
) -> Verdict:
    """The strictest of the verdict on the question and, for each contest that covers it and is about its topic, the
    verdict on its `as` with its own topic, or the topic of the question (GATE-21)."""
    questions = dict.fromkeys(
        (active_contest.contest.as_, active_contest.contest.topic or topic)
        for active_contest in covering
        if not context.connection.recovering
        and contests.affects(active_contest, purpose)
        and contests.is_about_topic(active_contest.contest, topic)
    )
    verdicts = [verdict, *(_judge(context, as_, topic_) for as_, topic_ in questions)]
    strictest = _strictest(verdicts, context.now)
    until = _valid_until(
        context.now, strictest.valid_until, *(active_contest.contest.until * 1000 for active_contest in covering)
    )
    return replace(strictest, valid_until=until, contest=tuple(active_contest.contest for active_contest in covering))


def _strictest(verdicts: list[Verdict], now: int) -> Verdict:
    """Refuse before hold before allow. Of several refusals or permissions the first decides; all holds together
    decide."""
    for verdict in verdicts:
        if verdict.decision == "refuse":
            return verdict
    holds = [verdict for verdict in verdicts if verdict.decision == "hold"]
    if not holds:
        return replace(verdicts[0], valid_until=min(verdict.valid_until for verdict in verdicts))
    private_holds = [hold for hold in holds if hold.reason in PRIVATE_REASONS]
    # A private reason goes first: from the reason of a public budget and its own counts a sender could compute a hidden
    # end.
    ends = [hold.ends_at for hold in holds]
    end = None if None in ends else max(end for end in ends if end is not None)
    is_shown = all(hold.end_shown for hold in holds)
    return replace(
        (private_holds or holds)[0],
        ends_at=end,
        end_shown=is_shown,
        valid_until=_valid_until(now, end if is_shown else None),
    )


def _valid_until(now: int, *ends: int | None) -> int:
    until = now + FRESH_FOR
    for end in ends:
        if end is not None and end < until:
            until = end
    return until


def _allows(grant: Grant, purpose: str, channel: str, now: int) -> bool:
    return now < grant.exp * 1000 and channel in grant.channels and is_among(grant.purposes, purpose)


def _is_renounced(across: Door, grant: Grant, purpose: str, channel: str) -> bool:
    """True if the sender gave up the grant for this purpose and channel (GATE-23)."""
    return any(
        grant.id in renounced.grants
        and (not renounced.purposes or is_among(renounced.purposes, purpose))
        and (not renounced.channels or channel in renounced.channels)
        for renounced in across.renounced
    )


def granted_until(connection: Connection, sender: Side, purpose: str, channel: str, now: int) -> int | None:
    """When (ms) the last grant ends that allows this; None if no grant is needed or there is none."""
    if purpose in AGREEMENT_PURPOSES:
        return None
    door, across = connection.door(other(sender)), connection.door(sender)
    grants = [grant for grant in door.grants if _allows(grant, purpose, channel, now)]
    return max(
        (grant.exp * 1000 for grant in grants if not _is_renounced(across, grant, purpose, channel)), default=None
    )


def mute_end(door: Door, mute: Mute) -> int | None:
    """When (ms) a mute ends, shown or not; None if it has no end (GATE-9)."""
    if mute.until is not None:
        return mute.until * 1000
    hidden = latest_mute_end(door.settings, mute.id)
    return None if hidden is None else hidden.until * 1000


def undecidable_until(connection: Connection, side: Side, grant: Grant) -> int:
    """When (ms) the last condition ends that makes a grant of `side` undecidable offline: 0 for none, FOR_EVER for one
    without an end, such as a recovering side (GRANT-7, STATUS-4, REC-4). Offline, doubt about a part means no for the
    whole."""
    door, across = connection.door(side), connection.door(other(side))
    if connection.recovering or any(grant.id in renounced.grants for renounced in across.renounced):
        return FOR_EVER
    ends = [mute_end(door, mute) for mute in door.mutes if _overlaps(mute, grant)]
    if door.contests:
        ends.append(contests.narrowed_until(door, grant.purposes) * 1000)
    if any(covers("sales", granted) for granted in grant.purposes):
        ends.append(topic_needed_until(connection, door))
    return max((FOR_EVER if end is None else end for end in ends), default=0)


def is_fully_renounced(across: Door, grant: Grant) -> bool:
    """True if the side that a grant is for renounced all of it (GATE-23)."""
    return all(
        _is_renounced(across, grant, purpose, channel) for purpose in grant.purposes for channel in grant.channels
    )


def _overlaps(mute: Mute, grant: Grant) -> bool:
    if mute.channels and not set(mute.channels) & set(grant.channels):
        return False
    pairs = [(muted, granted) for muted in mute.purposes for granted in grant.purposes]
    return not mute.purposes or any(covers(muted, granted) or covers(granted, muted) for muted, granted in pairs)


def _mute_block(door: Door, purpose: str, channel: str, now: int) -> _Block | None:
    """The mute that lasts longest of those that apply now. Its end is shown only if each mute for this, over or not,
    shows its own: otherwise a shown end would reveal whether a hidden one comes before it (GATE-10)."""
    longest, is_shown = 0, True
    for mute in door.mutes:
        if mute.purposes and not is_among(mute.purposes, purpose):
            continue
        if mute.channels and channel not in mute.channels:
            continue
        is_shown = is_shown and mute.until is not None
        end = mute_end(door, mute)
        if end is None:
            return _Block("muted", None, False)
        if now < end:
            longest = max(longest, end)
    return _Block("muted", longest, is_shown) if longest else None


def _hours_block(door: Door, now: int, zones: ZoneRules) -> _Block | None:
    settings = door.settings
    if settings.zone is None:
        return None
    zone = zones.zone(settings.zone)
    if zone is None:
        # Without the rules of the zone nobody can tell the local time, so the side is not reached.
        return _Block("outside_hours", None, False)
    if hours.is_open(settings.windows, zone, now):
        return None
    return _Block("outside_hours", hours.next_change(settings.windows, zone, now), settings.hours_end_shown)


def _hours_end(door: Door, now: int, zones: ZoneRules) -> int | None:
    """When the open window closes, if the sender may know it and it shortens a verdict."""
    settings = door.settings
    zone = zones.zone(settings.zone) if settings.zone is not None and settings.hours_end_shown else None
    if zone is None or hours.is_open(settings.windows, zone, now + FRESH_FOR):
        return None
    return hours.next_change(settings.windows, zone, now)


def _budget_block(door: Door, deliveries: tuple[Delivery, ...], now: int) -> _Block | None:
    """The receiving side's own budget, which the sender sees as "not now", and the limit for everybody."""
    budget = door.settings.messages
    if budget is not None and (end := budget_frees_at(budget, deliveries, (), now)) is not None:
        return _Block("over_limit", end if end > 0 else None, False)
    if (end := budget_frees_at(ROOM_FOR_ALL, deliveries, (), now)) is not None:
        return _Block("over_budget", end, True)
    return None


# --- how long an answer stays the same


def unchanged_until(connection: Connection, sender: Side, now: int, zones: ZoneRules) -> int:
    """The time (ms) before which, from `now` on, time alone changes no answer of `may` about this connection and sender
    but `valid_until`. Acts may change it at any time."""
    if connection.phase == "ended":
        return FOR_EVER
    until = FOR_EVER
    for turn in _turning_points(connection, sender, now, zones):
        if turn is not None and now < turn < until:
            until = turn
    return until


def _turning_points(connection: Connection, sender: Side, now: int, zones: ZoneRules) -> Iterator[int | None]:
    """The times at which grants, mutes, contests, purchases and hours begin or end, and budgets have room again."""
    door, across = connection.door(other(sender)), connection.door(sender)
    deliveries, active = across.sent, contests.active_contests(door, across, now)
    for grant in door.grants:
        yield grant.exp * 1000
        if grant.budget is not None:
            yield budget_frees_at(grant.budget, deliveries, grant.purposes, now, active)
    for mute in door.mutes:
        yield mute_end(door, mute)
    for active_contest in active:
        yield active_contest.contest.until * 1000
    for milestone in purchases(connection):
        yield None if milestone.lasts is None else milestone.lasts * 1000
    settings = door.settings
    if settings.messages is not None:
        yield budget_frees_at(settings.messages, deliveries, (), now)
    yield budget_frees_at(ROOM_FOR_ALL, deliveries, (), now)
    yield room_frees_at(door, across, now)
    for purpose in ("safety", "security"):
        yield exempt_frees_at(deliveries, purpose, now)
    zone = zones.zone(settings.zone) if settings.zone is not None else None
    if zone is not None:
        # `next_change` searches sixteen days: if there is none, look again tomorrow.
        yield hours.next_change(settings.windows, zone, now) or now + PERIODS["day"] * 1000
