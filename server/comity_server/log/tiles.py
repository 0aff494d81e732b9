"""Serves a log: checkpoint, tiles and entry bundles (C2SP tlog-tiles; LOG-3).

A full tile never changes: it is read from the store once and cached. A growing one is cut from the writer's tail in
memory, or read.
"""

from typing import Protocol

from comity.lru import LRU
from comity.transparency.merkle import NodeReader, needed_nodes, prove_consistency, prove_inclusion
from comity.transparency.tiles import ENTRIES, HASH, HEIGHT, WIDTH, Tile, encode_bundle, node_of, tile_of, width_at
from comity_server.log.sequencer import Sequencer
from comity_server.store.errors import StoreDamaged

Key = tuple[str, int, int]


class TileStore(Protocol):
    """The queries of serving."""

    async def tile(self, log: str, level: int, number: int) -> bytes | None: ...
    async def entries_of_log(self, log: str, first: int, most: int) -> list[bytes]: ...


class LogTiles:
    """The tiles and bundles of all logs, with a bounded cache."""

    def __init__(self, store: TileStore, most_bytes: int) -> None:
        self._store = store
        self._cache = LRU[Key, bytes](most_bytes, weigh=len)

    async def tile(self, log: Sequencer, tile: Tile) -> bytes | None:
        """A tile or bundle as it is asked for, None where no published checkpoint has it (yet)."""
        if not 0 < tile.width <= width_at(tile.level, tile.number, log.published.size):
            return None
        tail = log.tail
        if tile.is_full:
            return await self._full(log.origin, tile)
        if tile.level == ENTRIES:
            return await self._bundle(log.origin, tile)
        if tile.number == (tail.size >> (HEIGHT * tile.level)) // WIDTH:
            return b"".join(tail.rows[tile.level][: tile.width])
        return (await self._full(log.origin, tile))[: tile.width * HASH]

    async def nodes(self, log: Sequencer, nodes: list[tuple[int, int]]) -> NodeReader:
        """A reader of these complete subtrees of a log's committed tree."""
        # One tail for all of it: a commit in between puts another in its place, and does not touch this one.
        tail = log.tail
        found: dict[tuple[int, int], bytes] = {}
        for height, index in nodes:
            tile = tile_of(height, index, tail.size)
            if tile.is_full:
                hashes = await self._full(log.origin, tile)
            else:
                hashes = b"".join(tail.rows[tile.level])
            found[(height, index)] = node_of(height, index, hashes)
        return lambda height, index: found[(height, index)]

    async def prove_consistency(self, log: Sequencer, old: int, new: int) -> list[bytes]:
        """The proof that the tree of size `new` begins with the one of size `old`; both are at most the committed
        size."""
        node = await self.nodes(log, needed_nodes(lambda it: prove_consistency(old, new, it)))
        return prove_consistency(old, new, node)

    async def prove_inclusion(self, log: Sequencer, index: int, size: int) -> list[bytes]:
        """The proof that an entry is in the tree of that size."""
        node = await self.nodes(log, needed_nodes(lambda it: prove_inclusion(index, size, it)))
        return prove_inclusion(index, size, node)

    async def _full(self, origin: str, tile: Tile) -> bytes:
        key = (origin, tile.level, tile.number)
        if key in self._cache:
            return self._cache[key]
        if tile.level == ENTRIES:
            data = await self._bundle(origin, tile)
        else:
            data = await self._store.tile(origin, tile.level, tile.number) or b""
            if len(data) != WIDTH * HASH:
                raise StoreDamaged(f"{origin}: {tile.path} is missing or cut off")
        self._cache.put(key, data)
        return data

    async def _bundle(self, origin: str, tile: Tile) -> bytes:
        entries = await self._store.entries_of_log(origin, tile.number * WIDTH, tile.width)
        if len(entries) != tile.width:
            raise StoreDamaged(f"{origin}: an entry of {tile.path} is missing")
        return encode_bundle(entries)
