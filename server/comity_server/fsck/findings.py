"""The faults that a check finds, with their places."""

from typing import NamedTuple

MOST = 100
"""Findings that are stored; further ones are only counted."""
_LONGEST = 300


class Finding(NamedTuple):
    """One fault: where it is, and what it is."""

    place: str
    fault: str


class Findings:
    """The faults of one check, in the order in which they were found: the first `MOST` of them, and their number."""

    def __init__(self) -> None:
        self.first: list[Finding] = []
        self.total = 0

    def add(self, place: str, fault: str) -> None:
        """Adds a fault. Text from a damaged store may contain anything, and is shown to a person: it is made plain."""
        self.total += 1
        if len(self.first) < MOST:
            self.first.append(Finding(_plain(place), _plain(fault)))

    @property
    def more(self) -> int:
        """The number of faults that are not stored."""
        return self.total - len(self.first)


def _plain(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
