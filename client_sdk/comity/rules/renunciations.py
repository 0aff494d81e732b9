"""What is left of a grant whose receiver gave up a part of it (spec/gate.md, GATE-23; spec/grant.md, GRANT-12).

Whoever signs a grant anew, in the place of another or under a new key, must not give again by the way what the other
side gave up.
"""

from collections.abc import Iterable
from typing import NamedTuple

from comity.documents.types import covers
from comity.rules.state import Renounced


class Part(NamedTuple):
    """Purposes and channels of one grant."""

    purposes: tuple[str, ...]
    channels: tuple[str, ...]


def parts_left(grant: str, had: Part, wanted: Part, given_up: Iterable[Renounced], *, is_one: bool) -> tuple[Part, ...]:
    """The grants that give what is wanted without what was given up of the grant of that id, which gave `had`; none
    where nothing is left.

    A purpose goes as a whole where one below it was given up: a grant cannot leave that out. What the earlier grant did
    not give was not given up. With `is_one`, the largest part alone: two grants with one budget each would allow twice
    as much.
    """
    entries = [it for it in given_up if grant in it.grants]
    purposes, channels = wanted
    left: dict[tuple[str, ...], list[str]] = {}
    for purpose in purposes:
        kept = tuple(it for it in channels if not any(_gives_up(entry, had, purpose, it) for entry in entries))
        if kept:
            left.setdefault(kept, []).append(purpose)
    parts = tuple(Part(tuple(some), ways) for ways, some in left.items())
    if is_one and parts:
        return (max(parts, key=lambda it: len(it.purposes) * len(it.channels)),)
    return parts


def _gives_up(entry: Renounced, had: Part, purpose: str, channel: str) -> bool:
    if not _overlaps(had.purposes, purpose) or channel not in had.channels:
        return False
    names_it = not entry.purposes or _overlaps(entry.purposes, purpose)
    return names_it and (not entry.channels or channel in entry.channels)


def _overlaps(purposes: Iterable[str], purpose: str) -> bool:
    return any(covers(it, purpose) or covers(purpose, it) for it in purposes)
