"""The time zone rules of this machine: the `tzdata` package, or the system's database.

The edge of the protocol, kept out of its pure part: it reads files. Both ends hand what it returns to the gate.
"""

import importlib.metadata
from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class InstalledZones:
    """Zone rules from the installed database, under the name of its release."""

    def __init__(self) -> None:
        self.version = importlib.metadata.version("tzdata")

    def zone(self, name: str) -> tzinfo | None:
        """The rules of an IANA zone, or None where this release does not know it."""
        return _zone(name)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
