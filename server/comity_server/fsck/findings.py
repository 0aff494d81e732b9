"""What is wrong, and where."""

from typing import NamedTuple

MOST = 100
"""Findings that are kept; more are counted."""
_LONGEST = 300


class Finding(NamedTuple):
    """One fault: where it is, and what it is."""

    place: str
    fault: str


class Findings:
    """All faults of one look, in the order in which they were met: the first `MOST` of them, and their number."""

    def __init__(self) -> None:
        self.first: list[Finding] = []
        self.total = 0

    def add(self, place: str, fault: str) -> None:
        """Take a fault down. What comes out of a damaged store may hold anything, and is shown to a person."""
        self.total += 1
        if len(self.first) < MOST:
            self.first.append(Finding(_plain(place), _plain(fault)))

    @property
    def more(self) -> int:
        """How many there are beside those that are kept."""
        return self.total - len(self.first)


def _plain(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
