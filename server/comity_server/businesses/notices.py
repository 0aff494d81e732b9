"""The notices in force of the businesses of this host, in memory: what their customers are shown (NOTICE-4)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from comity.documents.notices import AwayNotice, Notice, is_in_force, parse_stored_notice
from comity.rules.away import muted_away_until
from comity.rules.state import Door


class _Published(NamedTuple):
    raw: str
    notice: Notice


class Notices:
    """The last notice of each business and kind, by the business's DID."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, _Published]] = {}

    def load(self, raws: Iterable[str]) -> None:
        """Take in notices (JWS) as they are stored; a later one of a kind takes the earlier one's place."""
        for raw in raws:
            notice = parse_stored_notice(raw)
            self._of.setdefault(notice.iss, {})[notice.kind] = _Published(raw, notice)

    def in_force(self, did: str, now: int) -> tuple[str, ...]:
        """The notices (JWS) of a business that say something at `now` (ms)."""
        return tuple(it.raw for it in self._of.get(did, {}).values() if is_in_force(it.notice, now))

    def away_notice(self, did: str, now: int) -> AwayNotice | None:
        """What a business says of being away, now or later; None where it says nothing."""
        found = self._of.get(did, {}).get("away")
        notice = None if found is None else found.notice
        return notice if isinstance(notice, AwayNotice) and is_in_force(notice, now) else None

    def away_until(self, door: Door, now: int) -> int | None:
        """Until when (s) the side is away at `now` (ms), by its mutes or its notice; None where neither says so."""
        notice = self.away_notice(door.did, now)
        by_notice = None if notice is None or now < notice.starts * 1000 else notice.until
        ends = (muted_away_until(door, now), by_notice)
        return max((end for end in ends if end is not None), default=None)

    def turns(self, door: Door, now: int) -> Iterator[int]:
        """When (ms) time alone changes what `away_until` says of the side's notice."""
        if (notice := self.away_notice(door.did, now)) is not None:
            yield from (at * 1000 for at in (notice.starts, notice.until) if now < at * 1000)
