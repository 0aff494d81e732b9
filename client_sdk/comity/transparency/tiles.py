"""Tiles and entry bundles: the files of a log's tree and entries (C2SP tlog-tiles; spec/log.md, LOG-3).

A tile has up to 256 adjacent hashes of one level; level l holds the complete subtrees of height 8·l. Nodes of other
heights are computed from them.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from comity.errors import Malformed
from comity.transparency.merkle import MOST_SIZE, NodeReader, node_hash

WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""
HEIGHT = 8
"""Levels of the tree that a tile spans."""
HASH = 32
MOST_LEVEL = 63
MOST_BUNDLE = WIDTH * (2 + 65_535)
"""The most bytes of an entry bundle."""


class Tile(NamedTuple):
    """A tile's address: its level (-1 for an entry bundle), its number in that level, and its width."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's prefix."""
        level = "entries" if self.level < 0 else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_path_elements(self.number)}{partial}"

    @property
    def is_full(self) -> bool:
        """True if it cannot grow."""
        return self.width == WIDTH


ENTRIES = -1
"""The level of entry bundles."""


def _path_elements(number: int) -> str:
    """Path elements for a number: x001/x234/067 for 1234067."""
    text = f"{number % 1000:03d}"
    while number := number // 1000:
        text = f"x{number % 1000:03d}/{text}"
    return text


_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z")


def parse_path(path: str) -> Tile:
    """The tile of a path. Raises Malformed for every other spelling, so that each tile has one path."""
    match = _PATH.match(path)
    if match is None:
        raise Malformed("not the path of a tile")
    level = ENTRIES if match[1] == "entries" else int(match[1])
    tile = Tile(level, int(re.sub("[x/]", "", match[2])), int(match[3] or WIDTH))
    # Compares the canonical path: a leading x000 or a .p/256 would be second spellings.
    if level > MOST_LEVEL or tile.width > WIDTH or tile.path != path:
        raise Malformed("not the path of a tile")
    return tile


def width_at(level: int, number: int, size: int) -> int:
    """The width of that tile (or bundle) in a tree of `size` leaves; 0 if there is none."""
    hashes = size >> (HEIGHT * max(level, 0))
    return max(0, min(WIDTH, hashes - number * WIDTH))


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a tree, the partial one last in each level, without bundles."""
    level = 0
    while hashes := size >> (HEIGHT * level):
        for number in range(hashes // WIDTH):
            yield Tile(level, number)
        if hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, hashes % WIDTH)
        level += 1


def bundles_of(size: int) -> Iterator[Tile]:
    """Every entry bundle of a tree."""
    for number in range(-(-size // WIDTH)):
        yield Tile(ENTRIES, number, width_at(ENTRIES, number, size))


def tile_of(height: int, index: int, size: int) -> Tile:
    """The tile with the complete subtree (height, index), in its width for a tree of `size` leaves."""
    level, above = divmod(height, HEIGHT)
    number = index >> (HEIGHT - above)
    return Tile(level, number, width_at(level, number, size))


def node_of(height: int, index: int, hashes: bytes) -> bytes:
    """The complete subtree (height, index) from the bytes of its tile."""
    above = height % HEIGHT
    first = (index << above) % WIDTH
    return _root_of_row(hashes[first * HASH : (first + (1 << above)) * HASH])


def root_of_tile(hashes: bytes) -> bytes:
    """The hash of a full tile in the level above."""
    return _root_of_row(hashes)


def _root_of_row(hashes: bytes) -> bytes:
    row = [hashes[at : at + HASH] for at in range(0, len(hashes), HASH)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def node_reader(size: int, read: Callable[[Tile], bytes]) -> NodeReader:
    """A NodeReader over tiles, for proofs in a tree of `size` leaves. `read` returns a tile's bytes in the given
    width."""
    return lambda height, index: node_of(height, index, read(tile_of(height, index, size)))


def check_tile(tile: Tile, data: bytes) -> bytes:
    """Returns a tile's bytes if their number fits its width. Raises Malformed."""
    if len(data) != tile.width * HASH:
        raise Malformed("a tile has 32 bytes for each hash")
    return data


def encode_bundle(entries: list[bytes]) -> bytes:
    """The bytes of an entry bundle."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(tile: Tile, data: bytes) -> list[bytes]:
    """The entries in a bundle. Raises Malformed."""
    entries: list[bytes] = []
    at = 0
    for _ in range(tile.width):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : end])
        at = end
    # Past the end if the data is too short, in the middle of an entry or before the last one.
    if at != len(data):
        raise Malformed("the entry bundle does not have the number of entries in its path")
    return entries


def parse_size(text: str) -> int:
    """The number of leaves in a decimal text. Raises Malformed for every other spelling (tlog-checkpoint)."""
    if not text.isascii() or not text.isdigit() or (text != "0" and text.startswith("0")) or len(text) > 16:
        raise Malformed("not a canonical decimal number")
    if int(text) > MOST_SIZE:
        raise Malformed("the tree is too large")
    return int(text)
