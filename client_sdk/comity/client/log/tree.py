"""The tree of a signed checkpoint, as its log serves it, from the root down (RFC 6962 section 2.1; C2SP tlog-tiles).

The partial tiles at the right edge give the root; every other tile is hashed and compared with its place in the tile
above it; every entry is hashed and compared with its place in a tile of level 0. So nothing is returned that the log
did not sign, and a difference is found where it lies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from typing import NamedTuple

from comity.client.log.tile_reader import LogFinding, TileReader, gather_or_cancel
from comity.errors import Malformed
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.entries import LENGTH
from comity.transparency.merkle import Node, NodeReader, leaf_hash, prove_inclusion, root_of
from comity.transparency.merkle import needed_nodes as nodes_of
from comity.transparency.receipts import TlogProof
from comity.transparency.tiles import ENTRIES, HASH, HEIGHT, WIDTH, Tile, decode_bundle, node_of, tile_of, width_at

AHEAD = 8
"""Bundles, and as many tiles, that are fetched ahead: all of a log that is in memory."""
STRIDE = LENGTH + 2
"""Bytes from one entry of Comity in a bundle to the next: its length comes first."""
_NO_BYTE = bytes(WIDTH)
_LENGTHS = bytes([LENGTH]) * WIDTH


class Bundle(NamedTuple):
    """An entry bundle whose every entry is the one in the tree."""

    tile: Tile
    data: bytes

    @property
    def first(self) -> int:
        """The index of its first entry."""
        return self.tile.number * WIDTH

    def entries(self) -> list[bytes]:
        """Its entries, split."""
        return decode_bundle(self.tile, self.data)


class ServedTree:
    """The tree of one checkpoint, read from a source. Made by `open_tree` alone."""

    def __init__(self, source: TileReader, signed: SignedCheckpoint, edge: dict[int, tuple[Tile, bytes]]) -> None:
        self.signed = signed
        self._source = source
        self._edge = edge
        self._rows: dict[int, tuple[int, bytes]] = {}

    @property
    def size(self) -> int:
        """The number of its entries."""
        return self.signed.size

    async def row(self, level: int, number: int) -> bytes:
        """The hashes of a tile, checked against the tree. Raises Unreachable, LogFinding."""
        kept = self._rows.get(level)
        if kept is not None and kept[0] == number:
            return kept[1]
        edge = self._edge.get(level)
        if edge is not None and edge[0].number == number:
            return edge[1]
        data = await self._source.tile(Tile(level, number))
        await self._check_against_above(Tile(level, number), data)
        self._rows[level] = (number, data)
        return data

    async def _check_against_above(self, tile: Tile, data: bytes) -> None:
        # A full tile is one hash of the level above, and that level is checked against the root before it is used.
        above = await self.row(tile.level + 1, tile.number // WIDTH)
        at = tile.number % WIDTH * HASH
        if top_of(data) != above[at : at + HASH]:
            raise self._bad_tile(tile)

    def _bad_tile(self, tile: Tile) -> LogFinding:
        return LogFinding("bad_tile", f"{self._source.prefix}/{tile.path} is forged or damaged", at=tile.number)

    async def nodes(self, nodes: list[Node]) -> NodeReader:
        """A reader of these complete subtrees, checked against the tree. Raises Unreachable, LogFinding."""
        tiles = {tile_of(height, index, self.size) for height, index in nodes}
        found = {tile: await self.row(tile.level, tile.number) for tile in tiles}
        return lambda height, index: node_of(height, index, found[tile_of(height, index, self.size)])

    async def proof_of(self, index: int) -> str:
        """The tlog-proof of entry `index`, with the entry as its `extra`, to be passed on. Raises Unreachable,
        LogFinding."""
        async with aclosing(self.bundles(index)) as found:
            bundle = await anext(found)
        entry = bundle.entries()[index - bundle.first]
        node = await self.nodes(nodes_of(lambda node: prove_inclusion(index, self.size, node)))
        hashes = prove_inclusion(index, self.size, node)
        return TlogProof(entry, index, tuple(hashes), self.signed.raw).text

    async def bundles(self, start: int = 0) -> AsyncGenerator[Bundle, None]:
        """Yields the bundles from the one with entry `start` to the last, in order, each checked against the tree.

        Close it (`contextlib.aclosing`) where it is left early. Raises Unreachable, LogFinding.
        """
        fetching: deque[tuple[Tile, asyncio.Future[bytes], asyncio.Future[bytes]]] = deque()
        try:
            for number in range(start // WIDTH, -(-self.size // WIDTH)):
                fetching.append(self._begin(number))
                if len(fetching) == AHEAD:
                    yield await self._next(fetching)
            while fetching:
                yield await self._next(fetching)
        finally:
            left = [task for _, *both in fetching for task in both]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _begin(self, number: int) -> tuple[Tile, asyncio.Future[bytes], asyncio.Future[bytes]]:
        bundle = Tile(ENTRIES, number, width_at(ENTRIES, number, self.size))
        hashes = self._source.tile(Tile(0, number)) if bundle.is_full else self.row(0, number)
        return bundle, asyncio.ensure_future(self._source.tile(bundle)), asyncio.ensure_future(hashes)

    async def _next(self, fetching: deque[tuple[Tile, asyncio.Future[bytes], asyncio.Future[bytes]]]) -> Bundle:
        # Awaited before it is removed, so that the cleanup finds every running task whatever is raised.
        tile, *both = fetching[0]
        data, hashes = await asyncio.gather(*both)
        fetching.popleft()
        if tile.is_full:
            await self._check_against_above(Tile(0, tile.number), hashes)
        try:
            leaves = leaves_of(tile, data)
        except Malformed as fault:
            raise LogFinding("bad_bundle", f"{self._source.prefix}/{tile.path}: {fault.detail}") from None
        if leaves != hashes:
            wrong = next(at for at in range(tile.width) if _differ(leaves, hashes, at))
            index = tile.number * WIDTH + wrong
            raise LogFinding("bad_bundle", f"entry {index} in {self._source.prefix}/{tile.path}", at=index)
        return Bundle(tile, data)


async def open_tree(source: TileReader, signed: SignedCheckpoint) -> ServedTree:
    """The tree of that checkpoint, after the tiles at its right edge have given its root.

    Raises Unreachable, LogFinding("missing" | "wrong_length" | "bad_tile").
    """
    size = signed.size
    ends = [(level, size >> HEIGHT * level) for level in range(-(-size.bit_length() // HEIGHT))]
    tiles = [Tile(level, end // WIDTH, end % WIDTH) for level, end in ends if end % WIDTH]
    found = await gather_or_cancel(source.tile(tile) for tile in tiles)
    edge = {tile.level: (tile, data) for tile, data in zip(tiles, found, strict=True)}
    if root_of(size, lambda height, index: node_of(height, index, edge[height // HEIGHT][1])) != signed.root:
        where = f"{source.prefix}: the tiles at the edge of its {size} entries do not give the root that it signed"
        raise LogFinding("bad_tile", where, at=size)
    return ServedTree(source, signed, edge)


def is_regular(tile: Tile, data: bytes) -> bool:
    """Whether every entry in a bundle has the length of Comity's entries, so that it can be split by offsets."""
    width = tile.width
    return len(data) == width * STRIDE and data[0::STRIDE] == _NO_BYTE[:width] and data[1::STRIDE] == _LENGTHS[:width]


def leaves_of(tile: Tile, data: bytes) -> bytes:
    """The leaf hashes of the entries in a bundle, joined as in a tile. Raises Malformed."""
    if is_regular(tile, data):
        return b"".join([sha256(b"\0" + data[at : at + LENGTH]).digest() for at in range(2, len(data), STRIDE)])
    return b"".join([leaf_hash(entry) for entry in decode_bundle(tile, data)])


def top_of(row: bytes) -> bytes:
    """The hash over a full tile: `merkle.node_hash`, level by level, without a call for each."""
    while len(row) > HASH:
        row = b"".join([sha256(b"\1" + row[at : at + 64]).digest() for at in range(0, len(row), 64)])
    return row


def _differ(one: bytes, other: bytes, at: int) -> bool:
    return one[at * HASH : (at + 1) * HASH] != other[at * HASH : (at + 1) * HASH]
