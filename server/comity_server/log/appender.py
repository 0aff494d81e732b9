"""The end of a log as the writer has it: the place of the next entry, and the rows that change with it.

Everything here is in memory, and pure but for the salts. The additions of a unit of work take effect with its commit.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from comity.documents.acts import SignedAct
from comity.documents.events import Place
from comity.documents.types import Side
from comity.rules.state import Mute
from comity.transparency import merkle
from comity.transparency.entries import (
    SALT,
    LogEntry,
    entry_of_act,
    entry_of_delivery,
    entry_of_key,
    entry_of_mute_over,
    entry_of_notice,
    tag_key,
    tag_scope_of,
)
from comity.transparency.merkle import Edge, NodeReader, leaf_hash
from comity.transparency.receipts import Opening
from comity.transparency.tiles import HEIGHT, WIDTH, Tile
from comity_server.store.rows import Batch, Head


@dataclass(slots=True)
class Entered:
    """An entry as it is written: its number, what opens it, and the complete subtrees to its left, largest first."""

    index: int
    opening: Opening
    left: tuple[bytes, ...]


class Tail:
    """A log's head, the edge of its tree, and the hashes of the last tile of each level."""

    def __init__(self, log: str, term: int, at: int, edge: Edge, rows: dict[int, list[bytes]]) -> None:
        self.log = log
        self.term = term
        self.at = at
        self.edge = edge
        self.rows = rows

    @property
    def size(self) -> int:
        """How many entries."""
        return self.edge.size

    def append(self, leaf: bytes) -> tuple[list[bytes], list[tuple[Tile, bytes]]]:
        """Add a leaf hash; the subtrees that it completed, from the leaf upwards, and the tiles that it filled."""
        index, full = self.size, []
        done = self.edge.append(leaf)
        for height in range(0, len(done), HEIGHT):
            level = height // HEIGHT
            row = self.rows.setdefault(level, [])
            row.append(done[height])
            if len(row) == WIDTH:
                full.append((Tile(level, (index >> height) // WIDTH), b"".join(row)))
                row.clear()
        return done, full

    def partial(self, before: int) -> list[tuple[Tile, bytes]]:
        """The tiles that are not full and have grown since there were `before` entries."""
        found = []
        for level, row in self.rows.items():
            count = self.size >> (HEIGHT * level)
            if row and count > before >> (HEIGHT * level):
                found.append((Tile(level, count // WIDTH, len(row)), b"".join(row)))
        return found

    def copy(self) -> "Tail":
        """Another one at the same place."""
        rows = {level: list(row) for level, row in self.rows.items()}
        return Tail(self.log, self.term, self.at, self.edge.copy(), rows)


def tail_of(log: str, head: Head, node: NodeReader) -> Tail:
    """The end of a log whose head and tree are stored."""
    edge = Edge(head.size, [node(*peak) for peak in merkle.peaks(head.size)])
    rows: dict[int, list[bytes]] = {}
    level = 0
    while count := head.size >> (HEIGHT * level):
        rows[level] = [node(HEIGHT * level, index) for index in range(count - count % WIDTH, count)]
        level += 1
    return Tail(log, head.term, head.at, edge, rows)


class Additions(Protocol):
    """The log as a unit of work uses it."""

    def place(self) -> Place:
        """The place of the next entry."""
        ...

    def act(self, act: SignedAct, side: Side, at: int, secret: bytes, muted: Mute | None) -> None:
        """Enter an accepted act; `muted` is the mute that an unmute names."""
        ...

    def delivery(self, cid: str, act: str, purpose: str, side: Side, at: int, secret: bytes) -> None:
        """Enter a delivered message of `side`."""
        ...

    def mute_over(self, cid: str, by: str, side: Side, at: int, secret: bytes) -> None:
        """Enter that a mute of `side` is over, by the act or setting `by`."""
        ...

    def key(self, kid: str, statement: bytes, at: int, tag_key: bytes) -> None:
        """Enter a statement about a key of the public name whose tag key is given."""
        ...

    def notice(self, id_: str, raw: str, at: int, tag_key: bytes) -> None:
        """Enter a notice of the public name whose tag key is given."""
        ...

    def missing_acts(self) -> list[tuple[str, str]]:
        """(cid, id) of the acts whose bytes are needed and not in memory."""
        ...

    def write(self, batch: Batch, now: int, raws: Mapping[str, str]) -> None:
        """Adds all of it to the batch of a commit; `raws` are the bytes of the missing acts, by id."""
        ...


class _Pending(NamedTuple):
    cid: str
    act: str
    at: int
    make: Callable[[bytes], LogEntry]
    """From the salt to the entry."""


class LogAdditions:
    """The additions of one unit of work: a working copy of the log's tail, and the rows to write."""

    def __init__(self, tail: Tail) -> None:
        self.before = tail
        self.tail = tail.copy()
        self.entered: dict[int, Entered] = {}
        self.nodes: dict[merkle.Node, bytes] = {}
        """Subtrees that were completed."""
        self._pending: list[_Pending] = []
        self._raws: dict[str, str] = {}
        self._needed: dict[str, str] = {}

    def place(self) -> Place:
        """The place of the next entry."""
        return Place(self.tail.log, self.tail.size + len(self._pending))

    def act(self, act: SignedAct, side: Side, at: int, secret: bytes, muted: Mute | None) -> None:
        """Enter an accepted act; `muted` is the mute that an unmute names."""
        key = tag_key(secret, tag_scope_of(act, side))
        self._raws[act.id] = act.raw
        self._enter(act.payload.cid, act.id, at, lambda salt: entry_of_act(act, side, key, salt, at, muted))

    def delivery(self, cid: str, act: str, purpose: str, side: Side, at: int, secret: bytes) -> None:
        """Enter a delivered message of `side`."""
        key = tag_key(secret, "both")
        self._needed[act] = cid
        self._enter(cid, act, at, lambda salt: entry_of_delivery(self._raws[act], purpose, side, key, salt, at))

    def mute_over(self, cid: str, by: str, side: Side, at: int, secret: bytes) -> None:
        """Enter that a mute of `side` is over, by the act or setting `by`."""
        key = tag_key(secret, "both")
        self._needed[by] = cid
        self._enter(cid, by, at, lambda salt: entry_of_mute_over(self._raws[by], side, key, salt, at))

    def key(self, kid: str, statement: bytes, at: int, tag_key: bytes) -> None:
        """Enter a statement about a key of the public name whose tag key is given."""
        self._enter("", kid, at, lambda salt: entry_of_key(statement, tag_key, salt, at))

    def notice(self, id_: str, raw: str, at: int, tag_key: bytes) -> None:
        """Enter a notice of the public name whose tag key is given."""
        self._enter("", id_, at, lambda salt: entry_of_notice(raw, tag_key, salt, at))

    def missing_acts(self) -> list[tuple[str, str]]:
        """(cid, id) of the acts whose bytes are needed and not in memory: messages that were accepted earlier."""
        return [(cid, act) for act, cid in self._needed.items() if act not in self._raws]

    def write(self, batch: Batch, now: int, raws: Mapping[str, str]) -> None:
        """Adds all of it to the batch of a commit: entries, tiles, and the resulting head. `raws` are the bytes of the
        missing acts, by id."""
        tail = self.tail
        self._raws |= raws
        pending, self._pending = self._pending, []
        for one in pending:
            self._write(one, batch)
        for tile, hashes in tail.partial(self.before.size):
            batch.put_tile.append({"log": tail.log, "level": tile.level, "number": tile.number, "hashes": hashes})
        tail.at = now
        batch.swap_head.append(
            {
                "log": tail.log,
                "size": tail.size,
                "root": tail.edge.root(),
                "at": now,
                "size_before": self.before.size,
                "term": tail.term,
            }
        )

    def _enter(self, cid: str, act: str, at: int, make: Callable[[bytes], LogEntry]) -> None:
        self._pending.append(_Pending(cid, act, at, make))

    def _write(self, pending: _Pending, batch: Batch) -> None:
        tail, index = self.tail, self.tail.size
        # A salt for each entry: with one for an act and its delivery, who is shown the one could find the other.
        salt = os.urandom(SALT)
        entry = pending.make(salt).to_bytes()
        self.entered[index] = Entered(index, Opening(entry, salt, pending.at), tail.edge.peaks)
        batch.put_entry.append(
            {
                "log": tail.log,
                "idx": index,
                "cid": pending.cid,
                "act": pending.act,
                "at": pending.at,
                "salt": salt,
                "entry": entry,
            }
        )
        done, full = tail.append(leaf_hash(entry))
        for height, it in enumerate(done):
            self.nodes[height, index >> height] = it
        for tile, hashes in full:
            batch.put_tile.append({"log": tail.log, "level": tile.level, "number": tile.number, "hashes": hashes})
