"""Absence of a side, read from the public state (spec/away.md). Nothing here affects a permission."""

from comity.rules.gate import mute_end
from comity.rules.state import Door


def muted_away_until(door: Door, now: int) -> int | None:
    """Until when (s) the side is away, by its own mutes at `now` (ms); None if no mute says so (AWAY-2)."""
    ends = [mute.until for mute in door.mutes if mute.why == "away" and mute.until is not None]
    return max((end for end in ends if now < end * 1000), default=None)


def is_muted(door: Door, now: int) -> bool:
    """True if the side has a mute of everything in force at `now` (ms), in the app or on every channel: then no text of
    the other side is shown to it (NOTICE-8)."""
    for mute in door.mutes:
        end = mute_end(door, mute)
        if not mute.purposes and (not mute.channels or "app" in mute.channels) and (end is None or now < end):
            return True
    return False
