"""Contests: a receiver's statement that a message had another purpose than it claimed (spec/gate.md, GATE-21).

    reaches        the contests of a side that are in force, and the purpose that each of them covers
    covering       those that cover a purpose
    applies        is a contest about a topic?
    labels         the further purposes as which a delivery counts
    narrowed_until when the last contest ends that narrows a grant

A contest can only restrict: the gate takes the strictest of the verdicts (`gate.may`).
"""

from collections.abc import Iterable
from typing import NamedTuple

from comity.crypto.keys import is_pairwise
from comity.documents.types import AGREEMENT_PURPOSES, DAY, EXEMPT_PURPOSES, covers, root_of
from comity.rules.state import Contest, Door

CONTEST_LASTS = 365 * DAY
"""Seconds for which a contest is in force."""


class ActiveContest(NamedTuple):
    """A contest in force. It covers `purpose` and all below it: its own purpose, or the root of that. With
    `affects_agreement` it affects purposes that rest on the agreement too."""

    contest: Contest
    purpose: str
    affects_agreement: bool


def active_contests(receiver: Door, sender: Door, now: int) -> tuple[ActiveContest, ...]:
    """The contests of `receiver` against `sender` that are in force at `now` (ms).

    Two contests of different purposes with one root and the same `as` cover that root, so that renaming a purpose helps
    only once.
    """
    in_force = [contest for contest in receiver.contests if contest.until * 1000 > now]
    families: dict[tuple[str, str], set[str]] = {}
    for contest in in_force:
        families.setdefault(_family(contest), set()).add(contest.purpose)
    affects_agreement = _has_effect_on_agreement(receiver, sender)

    def widen(contest: Contest) -> str:
        return root_of(contest.purpose) if len(families[_family(contest)]) > 1 else contest.purpose

    return tuple(ActiveContest(contest, widen(contest), affects_agreement) for contest in in_force)


def _family(contest: Contest) -> tuple[str, str]:
    return root_of(contest.purpose), contest.as_


def _has_effect_on_agreement(receiver: Door, sender: Door) -> bool:
    """True if a pairwise side contests a public side: then a contest may also restrict what rests on the agreement. A
    business must not silence its customers' complaints that way."""
    return is_pairwise(receiver.did) and not is_pairwise(sender.did)


def covering_contests(active: Iterable[ActiveContest], purpose: str) -> list[ActiveContest]:
    """The contests that cover a purpose, by the root rule too, whether or not they affect it."""
    return [active_contest for active_contest in active if covers(active_contest.purpose, purpose)]


def affects(active_contest: ActiveContest, purpose: str) -> bool:
    """True if a contest may change the verdict on a purpose; an exempt one it never may."""
    return purpose not in EXEMPT_PURPOSES and (active_contest.affects_agreement or purpose not in AGREEMENT_PURPOSES)


def is_about_topic(contest: Contest, topic: str | None) -> bool:
    """True if a contest is about a topic: the contested message's own, one below it, or none. The contest of a message
    without a topic is about every topic."""
    return contest.had is None or topic is None or covers(contest.had, topic)


def counted_as(active: Iterable[ActiveContest], purpose: str) -> frozenset[str]:
    """The further purposes as which a delivery of `purpose` counts against budgets."""
    return frozenset(
        active_contest.contest.as_
        for active_contest in active
        if covers(active_contest.purpose, purpose) and affects(active_contest, purpose)
    )


def narrowed_until(receiver: Door, purposes: tuple[str, ...]) -> int:
    """When (s, may be past) the last contest ends that narrows a purpose of a grant for `purposes`; 0 for none
    (GRANT-7). A root is covered for as long as two of its purposes are contested.

    Purposes that a contest does not affect (`safety`) are not left out, since it may affect purposes below them.
    """
    families: dict[tuple[str, str], dict[str, int]] = {}
    ends = [0]
    for contest in receiver.contests:
        family = families.setdefault(_family(contest), {})
        family[contest.purpose] = max(contest.until, family.get(contest.purpose, 0))
        if _overlaps(contest.purpose, purposes):
            ends.append(contest.until)
    for (root, _), family in families.items():
        if len(family) > 1 and _overlaps(root, purposes):
            ends.append(sorted(family.values())[-2])
    return max(ends)


def _overlaps(contested: str, purposes: tuple[str, ...]) -> bool:
    """True if one of `purposes` covers the contested purpose, or lies below it."""
    return any(covers(contested, granted) or covers(granted, contested) for granted in purposes)
