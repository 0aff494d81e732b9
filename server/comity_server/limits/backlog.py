"""The capacity before the writer, bounded by the waiting time rather than by a number (HTTP-25).

The number of commands that can be decided within a moment differs by machine, disk and hour. So the capacity shrinks
whenever the last group waited too long, and grows while commands are refused though nobody waited.
"""

import time

from comity_server.limits.shares import Pool, User

LONGEST = 0.04
"""The longest time (s) that a command should take from its arrival to its commit; COMMITS times the duration of a
commit where that is longer: on a slow disk a smaller group is no quicker."""
COMMITS = 3
FIRST = 256
"""The capacity in commands at first, and while nobody waits long."""
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
        """Takes `count`, to be given back. False, and nothing is taken, if that exceeds the share."""
        if super().take(user, count):
            return True
        self._refused = True
        self.full_until = time.monotonic() + FULL_FOR
        return False

    def adapt_capacity(self, seconds: float) -> None:
        """Adapts the capacity to the longest waiting time (s) of a group, whose commands still hold their room."""
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
