"""Checks a commit by a second path: reads it again through another connection and hashes it again from the acts
(LOG-12).

It uses nothing that the writer had in memory. Only the result of this check is ever signed.
"""

from collections.abc import Callable

from comity.transparency.checkpoints import Checkpoint
from comity.transparency.entries import LENGTH, commitment
from comity.transparency.merkle import check_consistency, leaf_hash, prove_consistency, root_of
from comity.transparency.tiles import HASH, HEIGHT, WIDTH, Tile, node_reader, root_of_tile, width_at
from comity_server.log.appender import Tail
from comity_server.store.contract import Reading
from comity_server.store.errors import StoreDamaged
from comity_server.store.rows import Head, Logged

MOST_ROWS = 4096
"""Entries that are in memory at a time."""


def reread(log: str, before: Checkpoint, first: int) -> Callable[[Reading], Head]:
    """A function that finds the head of the log, if everything from entry `first` on is consistent and the tree begins
    with the one that was signed `before`. Raises StoreDamaged."""

    def judge(reading: Reading) -> Head:
        head = reading.head(log)
        if head is None:
            raise StoreDamaged(f"{log}: no head is stored")
        if head.size < before.size:
            raise StoreDamaged(f"{log}: {head.size} entries are stored, and {before.size} were signed")
        tiles = StoredTiles(reading, log, head.size)
        for start in range(first, head.size, MOST_ROWS):
            _check_rows(_rows(reading, log, start, head.size), tiles)
        _check_levels(first, head.size, tiles)
        _check_root(log, before, head, tiles)
        return head

    return judge


class Rereading:
    """The second path, step by step: the rows since the last step are read and hashed again into a tree of its own,
    which the writer never feeds. Whenever a tile is full, the tree is also computed from the stored tiles."""

    def __init__(self, before: Checkpoint, tail: Tail) -> None:
        """`tail` is the end of the stored tree of the checkpoint `before`."""
        self._before = before
        self._tail = tail

    def step(self, reading: Reading) -> Head:
        """The stored head, if everything that leads to it from the last one fits together. Raises StoreDamaged, and
        has taken no step then."""
        log, tail = self._tail.log, self._tail.copy()
        head = reading.head(log)
        if head is None or head.size < tail.size or head.term != tail.term:
            raise StoreDamaged(f"{log}: the stored head is another server's, or went back")
        if head.size // WIDTH > tail.size // WIDTH:
            reread(log, self._before, tail.size)(reading)
        for start in range(tail.size, head.size, MOST_ROWS):
            for row in _rows(reading, log, start, head.size):
                if row.erased:
                    # No commit erases an act that it enters, so its text must be there to be hashed again.
                    raise StoreDamaged(f"entry {row.idx} is new, and said to be erased")
                check_row(row)
                tail.append(leaf_hash(row.entry))
        for tile, hashes in tail.partial(self._tail.size):
            if reading.tile(log, tile.level, tile.number) != hashes:
                raise StoreDamaged(f"{log}: {tile.path} is not what its entries make")
        if (tail.size, tail.edge.root()) != (head.size, head.root):
            raise StoreDamaged(f"{log}: the stored entries have another root than the head says")
        self._before, self._tail = Checkpoint(log, head.size, head.root), tail
        return head


class StoredTiles:
    """The stored tiles of a tree, each read once."""

    def __init__(self, reading: Reading, log: str, size: int) -> None:
        self._reading = reading
        self._log = log
        self._size = size
        self._read: dict[tuple[int, int], bytes] = {}

    def __call__(self, tile: Tile) -> bytes:
        place = (tile.level, tile.number)
        if place not in self._read:
            hashes = self._reading.tile(self._log, *place)
            if hashes is None:
                raise StoreDamaged(f"{self._log}: {tile.path} is missing")
            width = width_at(*place, self._size)
            if len(hashes) != width * HASH:
                raise StoreDamaged(f"{self._log}: {tile.path} has {len(hashes) // HASH} hashes, and not {width}")
            self._read[place] = hashes
        return self._read[place]

    def at(self, level: int, number: int) -> bytes:
        """The hashes of one tile."""
        return self(Tile(level, number, width_at(level, number, self._size)))


def _rows(reading: Reading, log: str, start: int, size: int) -> list[Logged]:
    """The entries from `start` on, as many as are looked at at a time. Raises StoreDamaged where one is missing."""
    rows = reading.logged_entries(log, start, min(MOST_ROWS, size - start))
    for index in range(start, min(size, start + MOST_ROWS)):
        if index - start >= len(rows) or rows[index - start].idx != index:
            raise StoreDamaged(f"{log}: entry {index} is missing")
    return rows


def _check_rows(rows: list[Logged], tiles: StoredTiles) -> None:
    """Raises StoreDamaged unless each entry belongs to its act and its hash is in the tree."""
    for row in rows:
        check_row(row)
        at = row.idx % WIDTH * HASH
        if tiles.at(0, row.idx // WIDTH)[at : at + HASH] != leaf_hash(row.entry):
            raise StoreDamaged(f"entry {row.idx} is not the one whose hash stands in the tree")


def check_row(row: Logged) -> None:
    """Raises StoreDamaged unless the entry commits to the row beside it. The rest of the entry is covered by its hash;
    of an entry that was erased with its connection, everything is."""
    if row.erased and len(row.entry) == LENGTH:
        return
    text = row.raw if row.cid else row.statement
    if not isinstance(text, str):
        raise StoreDamaged(f"entry {row.idx} is about nothing that is stored")
    if len(row.entry) != LENGTH or not row.entry.endswith(commitment(row.salt, row.at, text.encode("utf-8"))):
        raise StoreDamaged(f"entry {row.idx} commits to something else than what is stored")


def _check_levels(first: int, size: int, tiles: StoredTiles) -> None:
    """Each full tile from that of entry `first` on has its root in the level above."""
    level, index = 0, first // WIDTH
    while above := size >> (HEIGHT * (level + 1)):
        for number in range(index, above):
            found = root_of_tile(tiles.at(level, number))
            at = number % WIDTH * HASH
            if tiles.at(level + 1, number // WIDTH)[at : at + HASH] != found:
                raise StoreDamaged(f"tile {number} of level {level} is not the one whose root stands above it")
        level, index = level + 1, index // WIDTH


def _check_root(log: str, before: Checkpoint, head: Head, tiles: StoredTiles) -> None:
    node = node_reader(head.size, tiles)
    root = root_of(head.size, node)
    if root != head.root:
        raise StoreDamaged(f"{log}: the stored tree has another root than its head says")
    proof = prove_consistency(before.size, head.size, node)
    if not check_consistency(before.size, before.root, head.size, root, proof):
        raise StoreDamaged(
            f"{log}: the stored tree does not begin with the one of {before.size} entries that was signed"
        )
