"""Bounds the deliveries to one endpoint, one host and one business at a time, and pauses endpoints in trouble
(HOOK-12).

The count for a host is kept for each business: if two businesses use the same host, the load of one does not count for
the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from comity_server.limits.shares import Pool, User
from comity_server.webhooks.delivery_store import Key

TO_ONE_ENDPOINT = 4
TO_ONE_HOST = 8
OF_ONE_BUSINESS = 32
AT_ALL = 256
FAILURES = 5
"""In a row, until an endpoint is left alone."""
FIRST_PAUSE = 30_000
LONGEST_PAUSE = 900_000
"""ms."""

_ALL = ("", "")
"""In the place of a business and a host: every one."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The user of lanes: an endpoint, and the host (with its port) that it is at."""

    endpoint: Key
    host: str


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    until: int = 0
    """ms; the endpoint is left alone before."""
    trying: bool = False
    """One delivery finds out whether it is back."""


class Lanes:
    """The lanes in use, and the endpoints in trouble. In memory alone: after a restart each endpoint gets its chance
    again."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str, bool], Pool] = {}
        self._trouble: dict[Key, _Trouble] = {}
        self._taken: dict[Goal, list[bool]] = {}
        """For each lane in use, whether it is one of those for endpoints in trouble."""

    def take(self, goal: Goal, now: int) -> bool:
        """True if a delivery may begin at `now` (ms); then its lane is in use until `give`."""
        trouble = self._trouble.get(goal.endpoint)
        is_left_alone = trouble is not None and trouble.failures >= FAILURES
        if trouble is not None and is_left_alone and (now < trouble.until or trouble.trying):
            return False
        taken = self._taken.get(goal, [])
        needed = list(self._pools_of(goal, in_trouble=trouble is not None))
        if len(taken) >= TO_ONE_ENDPOINT or not all(pool.has_room(user) for pool, user in needed):
            return False
        for pool, user in needed:
            pool.take(user)
        self._taken[goal] = [*taken, trouble is not None]
        if trouble is not None:
            trouble.trying = is_left_alone
        return True

    def give(self, goal: Goal, now: int, *, is_well: bool | None) -> None:
        """The lane is free again. `is_well`: whether the endpoint did its part; None where nothing was learnt."""
        for pool, user in self._pools_of(goal, in_trouble=self._taken[goal].pop()):
            pool.give(user)
        if not self._taken[goal]:
            del self._taken[goal]
            self._pools = {name: pool for name, pool in self._pools.items() if pool.taken}
        if is_well:
            self.forget(goal.endpoint)
        elif is_well is not None:
            self._fail(goal.endpoint, now)
        elif (trouble := self._trouble.get(goal.endpoint)) is not None:
            trouble.trying = False

    def paused_until(self, endpoint: Key) -> int:
        """The time (ms) before which the endpoint gets nothing; 0: trouble does not hold it back."""
        trouble = self._trouble.get(endpoint)
        return 0 if trouble is None or trouble.failures < FAILURES else trouble.until

    def forget(self, endpoint: Key) -> None:
        """Forgets its trouble: it answered, moved, or was removed."""
        self._trouble.pop(endpoint, None)

    def _pools_of(self, goal: Goal, *, in_trouble: bool) -> Iterator[tuple[Pool, User]]:
        """Each pool that a lane takes of, and for whom. Endpoints in trouble share half of each: the other half is for
        those that are well."""
        (name, id_), host = goal.endpoint, goal.host
        for half in (1, 2) if in_trouble else (1,):
            yield self._pool(name, host, TO_ONE_HOST, half), User(id_)
            yield self._pool(name, "", OF_ONE_BUSINESS, half), User(id_)
            yield self._pool(*_ALL, AT_ALL, half), User(name)

    def _pool(self, name: str, host: str, size: int, half: int) -> Pool:
        return self._pools.setdefault((name, host, half == 2), Pool(size // half))

    def _fail(self, endpoint: Key, now: int) -> None:
        trouble = self._trouble.setdefault(endpoint, _Trouble())
        if trouble.failures >= FAILURES and not trouble.trying:
            return  # Begun before the endpoint was paused: it says nothing new.
        trouble.failures, trouble.trying = trouble.failures + 1, False
        if trouble.failures >= FAILURES:
            trouble.until = now + min(FIRST_PAUSE << min(trouble.failures - FAILURES, 10), LONGEST_PAUSE)
