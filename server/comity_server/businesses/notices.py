"""The notices of the hosted businesses that their customers see, in memory (NOTICE-4)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from comity.documents.notices import AwayNotice, Notice, is_in_force, parse_stored_notice
from comity.rules.away import muted_away_until
from comity.rules.state import Door


class _Published(NamedTuple):
    raw: str
    notice: Notice


class Notices:
    """The latest notice of each kind of each business, by the business's DID."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, _Published]] = {}

    def load(self, raws: Iterable[str]) -> None:
        """Adds stored notices (JWS). A later notice of a kind replaces the earlier one."""
        for raw in raws:
            notice = parse_stored_notice(raw)
            self._of.setdefault(notice.iss, {})[notice.kind] = _Published(raw, notice)

    def in_force(self, did: str, now: int) -> tuple[str, ...]:
        """The notices (JWS) of a business that are in force at `now` (ms)."""
        published = self._of.get(did, {}).values()
        return tuple(latest.raw for latest in published if is_in_force(latest.notice, now))

    def away_notice(self, did: str, now: int) -> AwayNotice | None:
        """The notice of a present or future absence of a business; None if there is none."""
        found = self._of.get(did, {}).get("away")
        notice = None if found is None else found.notice
        return notice if isinstance(notice, AwayNotice) and is_in_force(notice, now) else None

    def away_until(self, door: Door, now: int) -> int | None:
        """The end (s) of the side's absence at `now` (ms), by its mutes or its notice; None if it is not away."""
        notice = self.away_notice(door.did, now)
        by_notice = None if notice is None or now < notice.starts * 1000 else notice.until
        ends = (muted_away_until(door, now), by_notice)
        return max((end for end in ends if end is not None), default=None)

    def turns(self, door: Door, now: int) -> Iterator[int]:
        """The times (ms) at which the result of `away_until` for the side's notice changes by itself."""
        if (notice := self.away_notice(door.did, now)) is not None:
            yield from (at * 1000 for at in (notice.starts, notice.until) if now < at * 1000)
