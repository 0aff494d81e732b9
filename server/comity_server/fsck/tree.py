"""Hashes the tree of a log again from its entries, and compares it with the stored tiles (RFC 6962 section 2.1; C2SP
tlog-tiles).

If an entry and a tile differ, the hash above them shows which of the two is damaged, and the check continues with the
other: one fault gives one finding, and hides no other.
"""

from collections.abc import Callable
from hashlib import sha256

from comity.transparency.merkle import root_of_hashes
from comity.transparency.tiles import HASH, HEIGHT, WIDTH, Tile
from comity_server.fsck.findings import Findings

MOST_LEVELS = 8
"""Levels of tiles that a tree can have: eight of them hold 2^64 entries."""
_UNKNOWN = bytes(HASH)

Stored = Callable[[int, int], bytes | None]
"""From (level, number) to the bytes of a stored tile."""
Hash = bytes | None
"""A hash of a row; None where the entry is missing."""


def leaf(entry: bytes) -> bytes:
    """The hash of an entry."""
    return sha256(b"\x00" + entry).digest()


def width_of(level: int, number: int, size: int) -> int:
    """The number of hashes of the tile in a tree of `size` entries; 0 if the tree has no such tile."""
    if not 0 <= level < MOST_LEVELS or number < 0:
        return 0
    return max(0, min(WIDTH, (size >> HEIGHT * level) - number * WIDTH))


class Tree:
    """A tree that grows entry by entry; the row of each level that is not yet a full tile is in memory."""

    def __init__(self, log: str, stored: Stored, findings: Findings) -> None:
        self._log = log
        self._stored = stored
        self._findings = findings
        self._rows: list[list[Hash]] = []
        self._numbers: list[int] = []
        self.size = 0

    def add(self, hashed: Hash) -> None:
        """Adds the hash of the next entry; None if the entry is missing."""
        self.size += 1
        self._add(0, hashed)

    def roots(self) -> set[bytes]:
        """The possible roots of the tree so far: over the entries, and over the hashes of the stored tiles."""
        theirs = [_prefer_stored(row, self._tile(level)) for level, row in enumerate(self._rows)]
        return {_root(self._rows), _root(theirs)}

    def finish(self, root: bytes) -> None:
        """Compares the right edge with the tiles, and the tree with the root in the log's head."""
        fits = _root(self._rows) == root
        for level, row in enumerate(self._rows):
            if row:
                self._compare(level, row, self._tile(level), entries_are_right=fits or root not in self.roots())
        if root not in self.roots():
            self._findings.add(f"{self._log} head", f"its root is not the root of its {self.size} entries")

    def _add(self, level: int, hashed: Hash) -> None:
        if level == len(self._rows):
            self._rows.append([])
            self._numbers.append(0)
        row = self._rows[level]
        row.append(hashed)
        if len(row) == WIDTH:
            top = self._close(level, row)
            self._rows[level] = []
            self._numbers[level] += 1
            self._add(level + 1, top)

    def _close(self, level: int, row: list[Hash]) -> bytes:
        """The hash over a full tile: over the stored hashes if the tile above confirms them, else over the entries."""
        stored, above = self._tile(level), self._above(level)
        mine = root_of_hashes(_fill_missing(row, stored))
        theirs = root_of_hashes(_split_hashes(stored)) if stored is not None and len(stored) == WIDTH * HASH else mine
        self._compare(level, row, stored, entries_are_right=mine == above or theirs != above)
        return theirs if theirs == above else mine

    def _compare(self, level: int, row: list[Hash], stored: bytes | None, *, entries_are_right: bool) -> None:
        number = self._numbers[level]
        path = Tile(level, number, len(row)).path
        place = f"{self._log} {path}"
        if stored is None:
            self._findings.add(place, "the tile is missing")
            return
        if len(stored) != len(row) * HASH:
            self._findings.add(place, f"the tile has {len(stored) / HASH:g} hashes, not {len(row)}")
        for at, (mine, theirs) in enumerate(zip(row, _split_hashes(stored), strict=False)):
            if mine is None or mine == theirs:
                continue
            below = number * WIDTH + at
            if level:
                self._findings.add(place, f"its hash {at} is not the hash of {Tile(level - 1, below).path}")
            elif entries_are_right:
                self._findings.add(place, f"its hash {at} is not the hash of entry {below}")
            else:
                self._findings.add(f"{self._log} entry {below}", f"its hash is not the one in {path}")

    def _tile(self, level: int) -> bytes | None:
        """The stored tile of the level's row in memory."""
        return self._stored(level, self._numbers[level]) if self._rows[level] else None

    def _above(self, level: int) -> bytes | None:
        """The hash of the level's row in memory, in the stored tile above."""
        number, at = divmod(self._numbers[level], WIDTH)
        stored = self._stored(level + 1, number)
        return None if stored is None else stored[at * HASH : (at + 1) * HASH]


def _split_hashes(stored: bytes) -> list[bytes]:
    return [stored[at : at + HASH] for at in range(0, len(stored) - HASH + 1, HASH)]


def _fill_missing(row: list[Hash], stored: bytes | None) -> list[bytes]:
    """The row, with the stored hashes in the place of missing entries."""
    hashes = _split_hashes(stored or b"")
    hashes += [_UNKNOWN] * (len(row) - len(hashes))
    return [theirs if mine is None else mine for mine, theirs in zip(row, hashes, strict=False)]


def _prefer_stored(row: list[Hash], stored: bytes | None) -> list[Hash]:
    """The stored row, continued with the own hashes where it ends."""
    hashes = _split_hashes(stored or b"")[: len(row)]
    return [*hashes, *row[len(hashes) :]]


def _root(rows: list[list[Hash]]) -> bytes:
    """The root over the rows of all levels: the rest of one level is the last, smaller subtree of the next."""
    right: list[Hash] = []
    for row in rows:
        if whole := [*row, *right]:
            right = [root_of_hashes(_fill_missing(whole, None))]
    return root_of_hashes(_fill_missing(right, None))
