"""Contests: a receiver's word that a message was something else than it said (spec/gate.md, GATE-21).

    reaches        the contests of a side that are in force, and the purposes that each of them covers
    covering       those that cover a purpose
    applies        whether a contest is about a topic
    labels         the purposes under which a delivery counts, beside its own
    narrowed_until when the last one ends that narrows a grant

A contest only narrows: the gate takes the strictest of the verdicts (`gate.may`).
"""

from collections.abc import Iterable
from typing import NamedTuple

from comity.crypto.keys import is_pairwise
from comity.documents.types import AGREEMENT_PURPOSES, DAY, EXEMPT_PURPOSES, covers, root_of
from comity.rules.state import Contest, Door

LASTS = 365 * DAY
"""Seconds for which a contest is in force."""


class Reach(NamedTuple):
    """A contest in force. `purpose` is the word that it covers with all below it: its own, or the root of that.
    `rests` says whether it has effect on what rests on the agreement."""

    contest: Contest
    purpose: str
    rests: bool


def reaches(receiver: Door, sender: Door, now: int) -> tuple[Reach, ...]:
    """The contests of `receiver` that are in force at `now` (ms) against `sender`.

    Two of different purposes with one root word and the same `as` cover that root, so that a new name for the same
    thing helps once.
    """
    found = [contest for contest in receiver.contests if contest.until * 1000 > now]
    families: dict[tuple[str, str], set[str]] = {}
    for contest in found:
        families.setdefault(_family(contest), set()).add(contest.purpose)
    rests = _has_effect_on_agreement(receiver, sender)

    def widened(contest: Contest) -> str:
        return root_of(contest.purpose) if len(families[_family(contest)]) > 1 else contest.purpose

    return tuple(Reach(contest, widened(contest), rests) for contest in found)


def _family(contest: Contest) -> tuple[str, str]:
    return root_of(contest.purpose), contest.as_


def _has_effect_on_agreement(receiver: Door, sender: Door) -> bool:
    """A pairwise side narrows what a public side may by the agreement; a business must not contest its customers'
    complaints into silence."""
    return is_pairwise(receiver.did) and not is_pairwise(sender.did)


def covering(found: Iterable[Reach], purpose: str) -> list[Reach]:
    """Those that cover a purpose, root rule included; whether they have an effect on it is not asked."""
    return [reach for reach in found if covers(reach.purpose, purpose)]


def has_effect(reach: Reach, purpose: str) -> bool:
    """Whether a contest may change the verdict on a purpose: never on an exempt one."""
    return purpose not in EXEMPT_PURPOSES and (reach.rests or purpose not in AGREEMENT_PURPOSES)


def applies(contest: Contest, topic: str | None) -> bool:
    """Whether a contest is about that topic: the contested message's own, what is below it, and none at all. The
    contest of a message without a topic is about every topic."""
    return contest.had is None or topic is None or covers(contest.had, topic)


def labels(found: Iterable[Reach], purpose: str) -> frozenset[str]:
    """The purposes as which a delivery of `purpose` counts against budgets, beside its own."""
    return frozenset(
        reach.contest.as_ for reach in found if covers(reach.purpose, purpose) and has_effect(reach, purpose)
    )


def narrowed_until(receiver: Door, purposes: tuple[str, ...]) -> int:
    """When (s) the last contest ends that narrows some purpose which a grant of `purposes` covers; 0 for none, and
    perhaps past (GRANT-7). A root is covered for as long as two of its purposes are contested.

    Words that a contest leaves alone (`safety`) have others below them that it narrows, so that none is left out here.
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
    """Whether what is contested is covered by one of `purposes`, or covers one."""
    return any(covers(contested, granted) or covers(granted, contested) for granted in purposes)
