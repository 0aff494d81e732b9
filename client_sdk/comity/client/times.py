"""Times as a caller gives them: a datetime, seconds since the epoch, or a number of days from now."""

import math
from datetime import datetime

from comity.documents.types import DAY
from comity.errors import Malformed

Moment = datetime | int
"""A datetime with a zone, or seconds since the epoch."""
LONGEST = 36_525
"""The longest span in days: a hundred years. A longer one is meant to have no end, or is a typing error."""


def seconds_of(moment: Moment) -> int:
    """A time in whole seconds since the epoch. Raises Malformed for a datetime without a zone."""
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise Malformed("a time needs its zone")
    return int(moment.timestamp())


def span(days: float | None = None, hours: float | None = None) -> int:
    """A number of days and hours in whole seconds. Raises Malformed unless it is at least a second and at most LONGEST
    days."""
    parts = days or 0, (hours or 0) / 24
    length = sum(parts)
    if not all(math.isfinite(part) and part >= 0 for part in parts) or not 1 / DAY <= length <= LONGEST:
        raise Malformed(f"the days and hours must be more than 0, and at most {LONGEST} days")
    return int(length * DAY)
