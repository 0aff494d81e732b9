"""When a delivery that failed is tried again, and when an endpoint is given up (HOOK-10, HOOK-11)."""

from collections.abc import Callable

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
"""ms."""
WAITS = (5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""ms between one attempt and the next."""
JITTER = 0.1
"""The part of a wait by which it is longer or shorter at most."""
MOST_ASKED = DAY
"""ms that a receiver can ask for (Retry-After) at most."""
GIVEN_UP = 3 * DAY
"""ms of nothing but failures after which an endpoint is disabled."""
CHALLENGED_AGAIN = MINUTE
"""ms after which a challenge that failed is tried once more by itself."""


def next_at(made: int, now: int, asked: int, chance: Callable[[], float]) -> int | None:
    """When (ms) to try again after attempt number `made` failed at `now`; None: no more. `asked` is what the receiver
    asked for, in ms; `chance` gives numbers from 0 to 1."""
    if made > len(WAITS):
        return None
    wait = WAITS[made - 1] * (1 - JITTER + 2 * JITTER * chance())
    return now + max(int(wait), min(asked, MOST_ASKED))
