"""A pool in which every user has a share, so that no user's load refuses another (HTTP-22).

A user may hold no more than is left for all others: one alone half of the pool, two a third each, and so on. That is
the dynamic threshold of Choudhury and Hahne ("Dynamic Queue Length Thresholds for Shared-Memory Packet Switches",
1998): it needs no list of users, and reserves nothing for a user that asks for nothing.

It assumes that holders soon give back. In a pool that is held for long, users that arrive one after the other would get
a half, a quarter, an eighth …, and ten of them everything: there, a user gets a quarter of the remainder, and at least
one.
"""

from typing import NamedTuple


class User(NamedTuple):
    """The user of a pool: an owner, and a hand of that owner (of a business, one of its API keys); no two owners share
    a hand. A hand's share of its owner's share follows the same rule, so that one system of a business that runs wild
    stops no other."""

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
        """True if `user` may take `count` more. A count larger than the pool may be taken while the whole pool is free:
        it would never find room otherwise."""
        left = self.size - self.taken
        if left == self.size:
            return self.size > 0
        owner, hand = user
        most, owned = left // self._divisor or 1, self._owners.get(owner, 0)
        if hand is None:
            return owned + count <= most and count <= left
        return 2 * self._hands.get(hand, 0) + count <= most - owned and count <= left

    def take(self, user: User, count: int = 1) -> bool:
        """Takes `count`, to be given back. False, and nothing is taken, if that exceeds the share."""
        if not self.has_room(user, count):
            return False
        owner, hand = user
        self.taken += count
        self._owners[owner] = self._owners.get(owner, 0) + count
        if hand is not None:
            self._hands[hand] = self._hands.get(hand, 0) + count
        return True

    def give(self, user: User, count: int = 1) -> None:
        """Gives back `count`, which may be 0."""
        if count == 0:
            return
        self.taken -= count
        _less(self._owners, user.owner, count)
        if user.hand is not None:
            _less(self._hands, user.hand, count)

    def count_of(self, owner: str) -> int:
        """How much somebody holds."""
        return self._owners.get(owner, 0)


class Share(NamedTuple):
    """A count taken of a pool."""

    pool: Pool
    user: User

    def give(self) -> None:
        """Give it back."""
        self.pool.give(self.user)


class SplitPool:
    """A pool that is held for long, and for which a key of one's own is enough. Keys cost nothing, and a network has
    thousands of addresses: however many users fill the open part, the other part is for the parties of connections
    here, with a share for each."""

    def __init__(self, anybody: int, parties: int) -> None:
        self.anybody = Pool(anybody, for_long=True)
        self.parties = Pool(parties, for_long=True)

    @property
    def total(self) -> int:
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
        # A user that holds nothing is forgotten: strangers are many.
        del held[key]
