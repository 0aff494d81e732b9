"""How much goes to one host at a time, and when a host is left alone (HOOK-12).

What is counted belongs to one business: where two of them use the same host, the trouble of the one is not the other's.
"""

from collections import Counter
from dataclasses import dataclass

TO_ONE_HOST = 4
OF_ONE_BUSINESS = 16
AT_ALL = 64
FAILURES = 5
"""In a row, until a host is left alone."""
FIRST_PAUSE = 30_000
LONGEST_PAUSE = 900_000
"""ms."""
MOST_HOSTS = 10_000

Host = tuple[str, str]
"""A business's name and a host with its port."""


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    until: int = 0
    """ms; the host is left alone before."""
    trying: bool = False
    """One delivery finds out whether the host is back."""


class Hosts:
    """The lanes that are taken, and the hosts that are in trouble. Kept in memory alone: after a restart each host gets
    its chance again."""

    def __init__(self) -> None:
        self._taken: Counter[object] = Counter()
        self._trouble: dict[Host, _Trouble] = {}

    def take(self, host: Host, now: int) -> bool:
        """Whether a delivery may begin at `now` (ms); then its lane is taken until `give`."""
        trouble = self._trouble.get(host)
        if trouble is not None and trouble.failures >= FAILURES and (now < trouble.until or trouble.trying):
            return False
        lanes = ((host, TO_ONE_HOST), (host[0], OF_ONE_BUSINESS), (None, AT_ALL))
        if any(self._taken[lane] >= most for lane, most in lanes):
            return False
        for lane, _ in lanes:
            self._taken[lane] += 1
        if trouble is not None and trouble.failures >= FAILURES:
            trouble.trying = True
        return True

    def give(self, host: Host, now: int, *, is_well: bool | None) -> None:
        """The lane is free again. `is_well`: whether the host itself did its part; None where nothing was learnt."""
        for lane in (host, host[0], None):
            self._taken[lane] -= 1
            if not self._taken[lane]:
                del self._taken[lane]
        if is_well:
            self._trouble.pop(host, None)
        elif is_well is not None:
            self._fail(host, now)
        elif (trouble := self._trouble.get(host)) is not None:
            trouble.trying = False

    def closed_until(self, host: Host) -> int:
        """The time (ms) before which nothing goes there; 0: it may now, as far as trouble is concerned."""
        trouble = self._trouble.get(host)
        return 0 if trouble is None or trouble.failures < FAILURES else trouble.until

    def _fail(self, host: Host, now: int) -> None:
        if host not in self._trouble and len(self._trouble) >= MOST_HOSTS:
            self._trouble.pop(next(iter(self._trouble)))
        trouble = self._trouble.setdefault(host, _Trouble())
        if trouble.failures >= FAILURES and not trouble.trying:
            return  # begun before the host was left alone: it tells nothing new
        trouble.failures, trouble.trying = trouble.failures + 1, False
        if trouble.failures >= FAILURES:
            trouble.until = now + min(FIRST_PAUSE << min(trouble.failures - FAILURES, 10), LONGEST_PAUSE)
