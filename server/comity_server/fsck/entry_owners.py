"""Checks the owner of each log entry: every entry belongs to exactly one text, and follows from it (LOG-6 to LOG-10,
LOG-20)."""

from collections.abc import Callable, Collection, Iterator

from comity.documents.events import Place
from comity.errors import Malformed
from comity.transparency.entries import SALT, LogEntry, parse_entry
from comity_server.fsck.findings import Findings
from comity_server.fsck.snapshot import Snapshot, StoredEntry
from comity_server.log.restores import Restore

ERASED = 0
"""How many entries were erased with their connections: none, since no connection is erased yet."""
Make = Callable[[bytes], LogEntry]
"""Makes the expected entry from its salt."""


class EntryOwners:
    """The entries that were claimed so far, one bit for each."""

    def __init__(self, snapshot: Snapshot, findings: Findings) -> None:
        self._snapshot = snapshot
        self._findings = findings
        self._claimed: dict[str, bytearray] = {}
        self._erased = 0
        self._sizes: dict[str, int] = {}
        self.restores: Collection[Restore] = ()
        """The restores that are recorded in the store."""

    def begin(self, log: str, size: int) -> None:
        """Adds a log with so many entries."""
        self._claimed[log] = bytearray(-(-size // 8))
        self._sizes[log] = size

    def _is_lost(self, place: Place, at: int) -> bool:
        """Whether that entry, whose time is `at` (ms), was lost in a restore: acts that come back after a restore keep
        their place in the log that it ended, or in a log that the store no longer has (REC-7)."""
        size = self._sizes.get(place.log)
        return any(
            at < restore.at and (size is None or (place.log in restore.ended and place.index >= size))
            for restore in self.restores
        )

    def claim(self, whose: str, place: Place, key: tuple[str, str], at: int, make: Make) -> None:
        """Checks that the entry at `place` belongs to `whose`: its row has the key (cid and act, or "" and kid) and the
        time (ms), and its bytes are what `make` gives."""
        name = f"{place.log} entry {place.index}"
        row = self._snapshot.row(StoredEntry, "get_entry", log=place.log, idx=place.index)
        if row is None and self._is_lost(place, at):
            return
        if row is None:
            self._findings.add(name, f"it is missing, but {whose} refers to it")
            return
        if not self._mark(place):
            self._findings.add(name, f"it belongs to {whose} and to another text as well")
        if (row.cid, row.act) != key:
            fault = f"its row names {row.act} of {row.cid or 'a business'}, but it belongs to {whose}"
            self._findings.add(name, fault)
        if row.erased:
            self._findings.add(name, f"it is marked as erased, but {whose} exists")
            return
        if row.at != at:
            self._findings.add(name, f"its row has the time {row.at}, but {whose} has {at}")
        if len(row.salt) != SALT:
            self._findings.add(name, f"its salt has {len(row.salt)} bytes, not {SALT}")
        try:
            found = parse_entry(row.entry)
        except Malformed:
            # The check of the log has reported that.
            return
        for member in _differing_members(found, make(row.salt)):
            self._findings.add(name, f"its {member} does not match {whose}")

    def _mark(self, place: Place) -> bool:
        bits = self._claimed.get(place.log, bytearray())
        byte, bit = divmod(place.index, 8)
        if byte >= len(bits):
            # Beyond the head: the check of the log has reported that.
            return True
        is_new = not bits[byte] >> bit & 1
        bits[byte] |= 1 << bit
        return is_new

    def report_unowned(self) -> None:
        """Reports every entry that belongs to no text, and a wrong number of entries marked as erased: else the mark
        would hide damage."""
        for log, bits in self._claimed.items():
            for index in _unset(bits):
                row = self._snapshot.row(StoredEntry, "get_entry", log=log, idx=index)
                if row is not None and row.erased:
                    self._erased += 1
                elif row is not None:
                    whose = f"act {row.act} of connection {row.cid}" if row.cid else f"key {row.act}"
                    self._findings.add(f"{log} entry {index}", f"it belongs to no text: {whose} does not refer to it")
        if self._erased != ERASED:
            fault = f"{self._erased} are marked as erased, but {ERASED} were erased with their connections"
            self._findings.add("entries", fault)


def _unset(bits: bytearray) -> Iterator[int]:
    for number, byte in enumerate(bits):
        if byte != 0xFF:
            yield from (number * 8 + bit for bit in range(8) if not byte >> bit & 1)


def _differing_members(found: LogEntry, wanted: LogEntry) -> Iterator[str]:
    for member, mine, theirs in zip(LogEntry._fields, wanted, found, strict=True):
        if mine != theirs:
            yield member
