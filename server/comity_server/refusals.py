"""The refusals with which a client is answered while a condition of the server lasts (OPS-3)."""

from comity.errors import Refused
from comity_server.store.errors import Overtaken, StoreFailed, StoreFull

AGAIN_IN = 5
"""Seconds in the Retry-After of a refusal for a condition."""


def refusal_of(error: Exception) -> Refused:
    """The refusal for a request that failed with `error`; it names the condition, and nothing of its cause."""
    if isinstance(error, StoreFull):
        return Refused("disk_full", retry_after=AGAIN_IN)
    if isinstance(error, StoreFailed) and not isinstance(error, Overtaken):
        return Refused("store_failing", retry_after=1)
    return Refused("overloaded", retry_after=1)


def clock_doubtful() -> Refused:
    """The refusal while the clock is in doubt and only a "no" is accepted (CLOCK-2)."""
    return Refused("clock_doubtful", retry_after=AGAIN_IN)
