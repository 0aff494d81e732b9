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

from comity.documents import hours
from comity.documents.hours import ZoneRules
from comity.documents.types import AGREEMENT_PURPOSES, EXEMPT_PURPOSES, PERIODS, Side, covers, is_among, other
from comity.rules import contests
from comity.rules.budgets import ROOM_FOR_ALL, exempt_frees_at, frees_at, grant_frees_at, is_grant_spent, room_frees_at
from comity.rules.contests import Reach
from comity.rules.mute_over import latest_end
from comity.rules.state import Connection, Contest, Delivery, Door, Grant, Mute
from comity.rules.topics import purchases, unclear_until, unwanted_topic

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
"""The closed list of reasons, in the order in which they are looked for, each with its decision (GATE-2).
`not_now` is never found by the gate: it is what `outward` tells in place of the reasons in PRIVATE_REASONS."""

PRIVATE_REASONS = frozenset({"muted", "outside_hours", "over_limit"})
"""What rests on the receiving side's mutes and settings, of which the sender is told no more than "not now"."""

FRESH_FOR = 5000
"""ms after `now` to which a verdict is good at most (GATE-14)."""
FOR_EVER = 2**62
"""ms: when an open mute ends."""


class AsOf(NamedTuple):
    """What a verdict rests on: the heads of both public chains, and the version of the zone rules (GATE-3)."""

    first: str
    second: str
    zones: str


class Verdict(msgspec.Struct, frozen=True):
    """The gate's answer.

    `reason` is a key of REASONS. `valid_until` (ms) is when it must be asked again. `ends_at` (ms) is when the cause
    of a hold, or an `exempt_limit`, ends, if that is known; `end_shown` whether the sender may know it. `grant` is the
    id of the grant that it rests on. `contest` has the contests in force that cover the purpose asked, whether or not
    they decided.
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

    `connection` is None where there is no agreement. Order of looking (GATE-2): ended, no agreement, the limit of
    exempt deliveries, recovering, exempt, grant, topic, mute, hours, budget (the side's own, then the grant's).
    """
    if connection is None:
        return Verdict("refuse", "no_agreement", AsOf("", "", zones.version), now + FRESH_FOR)
    as_of = AsOf(connection.first.head, connection.second.head, zones.version)
    if connection.phase == "ended":
        return Verdict("refuse", "ended", as_of, now + FRESH_FOR)
    # By hand: two calls for the doors would cost a tenth of a question.
    if sender == "first":
        across, door = connection.first, connection.second
    else:
        across, door = connection.second, connection.first
    found = contests.reaches(door, across, now) if door.contests else ()
    exempt = purpose in EXEMPT_PURPOSES
    if exempt and (end := exempt_frees_at(across.sent, purpose, now)) is not None:
        verdict = Verdict("refuse", "exempt_limit", as_of, _fresh(now, end), end, True)
    elif connection.recovering:
        # What a side said no to may be lost: until both have been heard, not even an exempt purpose passes (REC-4).
        verdict = Verdict("hold", "recovering", as_of, now + FRESH_FOR)
    elif exempt:
        verdict = Verdict("allow", "exempt", as_of, now + FRESH_FOR)
    else:
        verdict = _judge(connection, door, across, purpose, channel, topic, now, zones, as_of, found)
    if found and (named := contests.covering(found, purpose)):
        verdict = _narrowed(verdict, named, connection, door, across, purpose, channel, topic, now, zones, found)
    return verdict


def _judge(
    connection: Connection,
    door: Door,
    across: Door,
    purpose: str,
    channel: str,
    topic: str | None,
    now: int,
    zones: ZoneRules,
    as_of: AsOf,
    found: tuple[Reach, ...],
) -> Verdict:
    """The verdict on a purpose that is not exempt, without regard to contests but in what counts against budgets."""
    sent, rests = across.sent, purpose in AGREEMENT_PURPOSES
    grants = [grant for grant in door.grants if _grants(grant, purpose, channel, now)]
    if across.renounced:
        grants = [grant for grant in grants if not _is_renounced(across, grant, purpose, channel)]
    if not grants and not rests:
        return Verdict("refuse", "no_grant", as_of, now + FRESH_FOR)
    if reason := unwanted_topic(connection, door, purpose, topic, now):
        return Verdict("refuse", reason, as_of, now + FRESH_FOR)
    block = _muted(door, purpose, channel, now) or _outside_hours(door, now, zones) or _spent(door, sent, now)
    if block is None:
        room = room_frees_at(door, across, now) if rests else None
        if rests and room is None:
            return Verdict("allow", "by_agreement", as_of, _fresh(now, _hours_end(door, now, zones)))
        grant = next((grant for grant in grants if not is_grant_spent(grant, sent, now, found)), None)
        if grant is not None:
            until = _fresh(now, _hours_end(door, now, zones), grant.exp * 1000)
            return Verdict("allow", "granted", as_of, until, grant=grant.id)
        frees = [grant_frees_at(grant, sent, now, found) for grant in grants]
        block = _Block("over_budget", min(frees if room is None else [*frees, room]), True)
    # A hidden end must not shorten `valid_until`: it would give itself away.
    return Verdict(
        "hold",
        block.reason,
        as_of,
        _fresh(now, block.ends_at if block.end_shown else None),
        block.ends_at,
        block.end_shown,
    )


def _narrowed(
    asked: Verdict,
    named: list[Reach],
    connection: Connection,
    door: Door,
    across: Door,
    purpose: str,
    channel: str,
    topic: str | None,
    now: int,
    zones: ZoneRules,
    found: tuple[Reach, ...],
) -> Verdict:
    """The strictest of the verdict on what was asked and, for each contest that covers it and is about its topic, the
    verdict on its `as` with its own topic, else the topic asked (GATE-21)."""
    questions = dict.fromkeys(
        (reach.contest.as_, reach.contest.topic or topic)
        for reach in named
        if not connection.recovering and contests.has_effect(reach, purpose) and contests.applies(reach.contest, topic)
    )
    verdicts = [asked]
    for as_, about in questions:
        verdicts.append(_judge(connection, door, across, as_, channel, about, now, zones, asked.as_of, found))
    strictest = _strictest(verdicts, now)
    until = _fresh(now, strictest.valid_until, *(reach.contest.until * 1000 for reach in named))
    return replace(strictest, valid_until=until, contest=tuple(reach.contest for reach in named))


def _strictest(verdicts: list[Verdict], now: int) -> Verdict:
    """Refuse before hold before allow; of one kind, the first decides, but of holds all together."""
    for verdict in verdicts:
        if verdict.decision == "refuse":
            return verdict
    holds = [verdict for verdict in verdicts if verdict.decision == "hold"]
    if not holds:
        return replace(verdicts[0], valid_until=min(verdict.valid_until for verdict in verdicts))
    private = [hold for hold in holds if hold.reason in PRIVATE_REASONS]
    # Told by the public budget in place of a private reason, a sender would read a hidden end out of his own counts.
    ends = [hold.ends_at for hold in holds]
    end = None if None in ends else max(end for end in ends if end is not None)
    shown = all(hold.end_shown for hold in holds)
    return replace((private or holds)[0], ends_at=end, end_shown=shown, valid_until=_fresh(now, end if shown else None))


def _fresh(now: int, *ends: int | None) -> int:
    until = now + FRESH_FOR
    for end in ends:
        if end is not None and end < until:
            until = end
    return until


def _grants(grant: Grant, purpose: str, channel: str, now: int) -> bool:
    return now < grant.exp * 1000 and channel in grant.channels and is_among(grant.purposes, purpose)


def _is_renounced(across: Door, grant: Grant, purpose: str, channel: str) -> bool:
    """Whether the sender gave the grant up for that purpose and channel (GATE-23)."""
    return any(
        grant.id in renounced.grants
        and (not renounced.purposes or is_among(renounced.purposes, purpose))
        and (not renounced.channels or channel in renounced.channels)
        for renounced in across.renounced
    )


def granted_until(connection: Connection, sender: Side, purpose: str, channel: str, now: int) -> int | None:
    """When (ms) the last of the grants ends on which this rests; None where it rests on none."""
    if purpose in AGREEMENT_PURPOSES:
        return None
    door, across = connection.door(other(sender)), connection.door(sender)
    grants = [grant for grant in door.grants if _grants(grant, purpose, channel, now)]
    return max(
        (grant.exp * 1000 for grant in grants if not _is_renounced(across, grant, purpose, channel)), default=None
    )


def mute_end(door: Door, mute: Mute) -> int | None:
    """When (ms) a mute ends, shown or not; None for an open one (GATE-9)."""
    if mute.until is not None:
        return mute.until * 1000
    hidden = latest_end(door.settings, mute.id)
    return None if hidden is None else hidden.until * 1000


def ask_until(connection: Connection, side: Side, grant: Grant) -> int:
    """When (ms) the last thing ends for which nobody can say offline whether a grant of `side` still serves: 0 for
    none, FOR_EVER for what has no end, as while a door is recovering (GRANT-7, STATUS-4, REC-4). Offline a doubt about
    a part means no for the whole."""
    door, across = connection.door(side), connection.door(other(side))
    if connection.recovering or any(grant.id in renounced.grants for renounced in across.renounced):
        return FOR_EVER
    ends = [mute_end(door, mute) for mute in door.mutes if _overlaps(mute, grant)]
    if door.contests:
        ends.append(contests.narrowed_until(door, grant.purposes) * 1000)
    if any(covers("sales", granted) for granted in grant.purposes):
        ends.append(unclear_until(connection, door))
    return max((FOR_EVER if end is None else end for end in ends), default=0)


def is_given_up(across: Door, grant: Grant) -> bool:
    """Whether everything that a grant allows was renounced by the side that it is for (GATE-23)."""
    return all(
        _is_renounced(across, grant, purpose, channel) for purpose in grant.purposes for channel in grant.channels
    )


def _overlaps(mute: Mute, grant: Grant) -> bool:
    if mute.channels and not set(mute.channels) & set(grant.channels):
        return False
    pairs = [(muted, granted) for muted in mute.purposes for granted in grant.purposes]
    return not mute.purposes or any(covers(muted, granted) or covers(granted, muted) for muted, granted in pairs)


def _muted(door: Door, purpose: str, channel: str, now: int) -> _Block | None:
    """The mute that lasts longest of those that apply now. Its end is shown where each mute for this, over or not, has
    its own: else a shown end would tell whether a hidden one comes before it (GATE-10)."""
    longest, shown = 0, True
    for mute in door.mutes:
        if mute.purposes and not is_among(mute.purposes, purpose):
            continue
        if mute.channels and channel not in mute.channels:
            continue
        shown = shown and mute.until is not None
        end = mute_end(door, mute)
        if end is None:
            return _Block("muted", None, False)
        if now < end:
            longest = max(longest, end)
    return _Block("muted", longest, shown) if longest else None


def _outside_hours(door: Door, now: int, zones: ZoneRules) -> _Block | None:
    settings = door.settings
    if settings.zone is None:
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
    if zone is None or hours.is_open(settings.windows, zone, now + FRESH_FOR):
        return None
    return hours.next_change(settings.windows, zone, now)


def _spent(door: Door, sent: tuple[Delivery, ...], now: int) -> _Block | None:
    """The receiving side's own budget, told outwardly as "not now", and the bound that holds for everybody."""
    budget = door.settings.messages
    if budget is not None and (end := frees_at(budget, sent, (), now)) is not None:
        return _Block("over_limit", end if end > 0 else None, False)
    if (end := frees_at(ROOM_FOR_ALL, sent, (), now)) is not None:
        return _Block("over_budget", end, True)
    return None


# --- how long time alone changes nothing


def settled_until(connection: Connection, sender: Side, now: int, zones: ZoneRules) -> int:
    """The moment (ms) before which, from `now` on, time alone changes nothing of what `may` answers about this
    connection and sender, whatever is asked, but `valid_until`. Acts change it at any time."""
    if connection.phase == "ended":
        return FOR_EVER
    until = FOR_EVER
    for turn in _turns(connection, sender, now, zones):
        if turn is not None and now < turn < until:
            until = turn
    return until


def _turns(connection: Connection, sender: Side, now: int, zones: ZoneRules) -> Iterator[int | None]:
    """When grants, mutes, contests, purchases and hours begin or end, and what was spent has room again."""
    door, across = connection.door(other(sender)), connection.door(sender)
    sent, found = across.sent, contests.reaches(door, across, now)
    for grant in door.grants:
        yield grant.exp * 1000
        if grant.budget is not None:
            yield frees_at(grant.budget, sent, grant.purposes, now, found)
    for mute in door.mutes:
        yield mute_end(door, mute)
    for reach in found:
        yield reach.contest.until * 1000
    for milestone in purchases(connection):
        yield None if milestone.lasts is None else milestone.lasts * 1000
    settings = door.settings
    if settings.messages is not None:
        yield frees_at(settings.messages, sent, (), now)
    yield frees_at(ROOM_FOR_ALL, sent, (), now)
    yield room_frees_at(door, across, now)
    for purpose in ("safety", "security"):
        yield exempt_frees_at(sent, purpose, now)
    zone = zones.zone(settings.zone) if settings.zone is not None else None
    if zone is not None:
        # Looked for over sixteen days: where nothing is found, there is time to look again.
        yield hours.next_change(settings.windows, zone, now) or now + PERIODS["day"] * 1000
