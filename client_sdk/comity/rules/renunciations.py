"""The rest of a grant whose receiver renounced a part of it (spec/gate.md, GATE-23; spec/grant.md, GRANT-12).

Whoever signs a grant again, as a replacement or under a new key, must not restore a renounced part.
"""

from collections.abc import Iterable
from typing import NamedTuple

from comity.documents.types import covers
from comity.rules.state import Renounced


class GrantPart(NamedTuple):
    """Purposes and channels of one grant."""

    purposes: tuple[str, ...]
    channels: tuple[str, ...]


def remaining_parts(
    grant: str, earlier: GrantPart, wanted: GrantPart, given_up: Iterable[Renounced], *, is_one: bool
) -> tuple[GrantPart, ...]:
    """The grants that give `wanted` without the renounced parts of the grant with that id, which gave `earlier`; empty
    if nothing is left.

    A purpose is left out completely if one below it was renounced, since a grant cannot exclude that. Parts that the
    earlier grant did not give were not renounced. With `is_one` only the largest part: two grants with one budget each
    would allow twice as much.
    """
    entries = [entry for entry in given_up if grant in entry.grants]
    purposes, channels = wanted
    purposes_by_channels: dict[tuple[str, ...], list[str]] = {}
    for purpose in purposes:
        remaining = tuple(
            channel for channel in channels if not any(_gives_up(entry, earlier, purpose, channel) for entry in entries)
        )
        if remaining:
            purposes_by_channels.setdefault(remaining, []).append(purpose)
    parts = tuple(GrantPart(tuple(group), remaining) for remaining, group in purposes_by_channels.items())
    if is_one and parts:
        return (max(parts, key=lambda part: len(part.purposes) * len(part.channels)),)
    return parts


def _gives_up(entry: Renounced, had: GrantPart, purpose: str, channel: str) -> bool:
    if not _overlaps(had.purposes, purpose) or channel not in had.channels:
        return False
    names_it = not entry.purposes or _overlaps(entry.purposes, purpose)
    return names_it and (not entry.channels or channel in entry.channels)


def _overlaps(purposes: Iterable[str], purpose: str) -> bool:
    return any(covers(granted, purpose) or covers(purpose, granted) for granted in purposes)
