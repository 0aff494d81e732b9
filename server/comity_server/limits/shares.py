"""A pool of which everybody has a share, so that no one's use refuses another (HTTP-22).

Somebody may hold no more than is left for all others: one alone half of the pool, two a third each, and so on.
That is the dynamic threshold of Choudhury and Hahne ("Dynamic Queue Length Thresholds for Shared-Memory Packet
Switches", 1998): it needs no list of who there is, and nobody waits for a share of somebody who asks for nothing.

It rests on holders that soon give back. Of what is held for long, those who come one after the other would have a half,
a quarter, an eighth …, and ten of them everything: there, somebody gets a quarter of what is left, and one at least.
"""

from typing import NamedTuple


class User(NamedTuple):
    """Who takes of a pool: somebody, and where he has several hands (a business its API keys), which of them; no two
    owners have one hand. It has the same share of what its owner can have, so that a system of a business that runs
    wild stops no other."""

    owner: str
    hand: str | None = None


class Pool:
    """At most `size` of something at a time; `for_long` where who takes keeps it as long as he likes."""

    def __init__(self, size: int, *, for_long: bool = False) -> None:
        self.size = size
        self._divisor = 4 if for_long else 1
        self.taken = 0
        self._owners: dict[str, int] = {}
        self._hands: dict[str, int] = {}

    def has_room(self, user: User, count: int = 1) -> bool:
        """True if `user` may take `count` more. What is larger than the whole pool may be taken while all of it is
        free: it would never find room."""
        left = self.size - self.taken
        if left == self.size:
            return self.size > 0
        owner, hand = user
        most, owned = left // self._divisor or 1, self._owners.get(owner, 0)
        if hand is None:
            return owned + count <= most and count <= left
        return 2 * self._hands.get(hand, 0) + count <= most - owned and count <= left

    def take(self, user: User, count: int = 1) -> bool:
        """Take `count`, to be given back. False, and nothing is taken, where that is more than the share."""
        if not self.has_room(user, count):
            return False
        owner, hand = user
        self.taken += count
        self._owners[owner] = self._owners.get(owner, 0) + count
        if hand is not None:
            self._hands[hand] = self._hands.get(hand, 0) + count
        return True

    def give(self, user: User, count: int = 1) -> None:
        """Give back what was taken, perhaps nothing."""
        if count == 0:
            return
        self.taken -= count
        _less(self._owners, user.owner, count)
        if user.hand is not None:
            _less(self._hands, user.hand, count)

    def held_by(self, owner: str) -> int:
        """How much somebody holds."""
        return self._owners.get(owner, 0)


class Share(NamedTuple):
    """What was taken of a pool."""

    pool: Pool
    user: User

    def give(self) -> None:
        """Give it back."""
        self.pool.give(self.user)


class SplitPool:
    """A pool for what is held for long and needs no more than a key of one's own. Keys are made at will, and whoever
    has a network has thousands of addresses: however many of both fill the part that is for anybody, the other part is
    for parties, who are a side of something here, with a share for each."""

    def __init__(self, anybody: int, parties: int) -> None:
        self.anybody = Pool(anybody, for_long=True)
        self.parties = Pool(parties, for_long=True)

    @property
    def taken(self) -> int:
        """How much all hold."""
        return self.anybody.taken + self.parties.taken

    def is_full(self, user: User) -> bool:
        """True if there is room for `user` only as a party."""
        return not self.anybody.has_room(user)

    def take(self, user: User, party: str | None) -> Share | None:
        """Take one for `user`, who is that party where `party` is not None; None where that is more than the share."""
        if self.anybody.take(user):
            return Share(self.anybody, user)
        if party is not None and self.parties.take(mine := User(party, user.hand)):
            return Share(self.parties, mine)
        return None


def _less(held: dict[str, int], key: str, count: int) -> None:
    left = held[key] - count
    if left:
        held[key] = left
    else:
        # Who holds nothing leaves no trace: strangers are many.
        del held[key]
