"""The room before the writer, bounded by the time that is waited in it rather than by a number (HTTP-25).

How many commands can be decided within a moment differs by machine, by disk and by hour. So the room is made smaller
whenever those of the last group waited longer than they should, and larger while it refuses though nobody did.
"""

import time

from comity_server.limits.shares import Pool, User

LONGEST = 0.04
"""Seconds that a command should take at most, from when it came to when it is committed; and COMMITS times as long as
a commit takes, where that is more: on a slow disk a smaller group is not a quicker one."""
COMMITS = 3
FIRST = 256
"""Commands in the room at first, and while nobody waits for long."""
LEAST = 64
"""Commands for which there is room however long they take: with fewer, a commit would be of too few, and who is alone
could have too few under way."""
FULL_FOR = 1.0
"""Seconds for which the room counts as full after it refused."""


class Backlog(Pool):
    """A room for at most `most` commands, or as many as are decided in time."""

    def __init__(self, most: int) -> None:
        super().__init__(min(FIRST, most))
        self._most = most
        self._refused = False
        self.full_until = 0.0
        """Until when (monotonic s) it counts as full."""
        self.commit = 0.0
        """Seconds that the last commit took."""

    def take(self, user: User, count: int = 1) -> bool:
        """Take `count`, to be given back. False, and nothing is taken, where that is more than the share."""
        if super().take(user, count):
            return True
        self._refused = True
        self.full_until = time.monotonic() + FULL_FOR
        return False

    def waited(self, seconds: float) -> None:
        """Those of a group, which are still in the room, waited up to `seconds`: fit the room to that."""
        longest = max(LONGEST, COMMITS * self.commit)
        if seconds > longest and self.taken > self.size // 2:
            # With less in it, what takes so long is something else.
            self.size = min(self._most, max(LEAST, int(self.size * max(0.5, longest / seconds))))
        elif seconds < longest and (self._refused or (self.size < FIRST and seconds < longest / 2)):
            self.size = min(self._most, self.size + self.size // 16 + 1)
        self._refused = False


def rooms_of(most: int) -> tuple[Backlog, Pool, Pool]:
    """The rooms of a queue for `most`: for single commands, for acts in batches, and for what narrows where there is
    no room (HTTP-15)."""
    kept = most // 8
    return Backlog(most - kept), Pool(most - kept), Pool(kept)
