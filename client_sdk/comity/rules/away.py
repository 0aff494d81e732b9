"""Who is away, and until when (spec/away.md): read from the public state. Nothing here opens or closes a door."""

from comity.rules.gate import mute_end
from comity.rules.state import Door


def muted_away_until(door: Door, now: int) -> int | None:
    """Until when (s) the side is away, as its own mutes say at `now` (ms); None where none of them says so (AWAY-2)."""
    ends = [it.until for it in door.mutes if it.why == "away" and it.until is not None and now < it.until * 1000]
    return max(ends, default=None)


def is_muted(door: Door, now: int) -> bool:
    """Whether the side has a mute of everything in force at `now` (ms), in the app or by every way: then no words of
    the other side are shown to it (NOTICE-8)."""
    for mute in door.mutes:
        end = mute_end(door, mute)
        if not mute.purposes and (not mute.channels or "app" in mute.channels) and (end is None or now < end):
            return True
    return False
