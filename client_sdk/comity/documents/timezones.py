"""The time zone rules of this machine: those of the `tzdata` package, never the system's own database.

The edge of the protocol, kept out of its pure part: it reads files. Both ends hand what it returns to the gate.
"""

import importlib.metadata
from datetime import tzinfo
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo


class InstalledZones:
    """Zone rules from the installed package, under the name of its release."""

    def __init__(self) -> None:
        self.version = importlib.metadata.version("tzdata")

    def zone(self, name: str) -> tzinfo | None:
        """The rules of an IANA zone, or None where this release does not know it."""
        return _zone(name)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    # Some file systems open Europe/Berlin for europe/berlin; the release's list tells the two apart (HOURS-5).
    if name not in _names():
        return None
    # ZoneInfo(name) would ask the system first, whose release may be another than the one that verdicts name (GATE-3).
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def _names() -> frozenset[str]:
    """The names of all zones and links of the installed release."""
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split())
