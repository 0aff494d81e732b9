"""Who is away, and until when (spec/away.md): read from the public state. Nothing here opens or closes a door."""

from comity.state import Door


def muted_away_until(door: Door, now: int) -> int | None:
    """Until when (s) the side is away, as its own mutes say at `now` (ms); None where none of them says so (AWAY-2)."""
    ends = [it.until for it in door.mutes if it.why == "away" and it.until is not None and now < it.until * 1000]
    return max(ends, default=None)
