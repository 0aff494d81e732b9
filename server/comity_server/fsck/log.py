"""Checks one log, from its first entry to its last (spec/log.md)."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from comity.crypto.keys import SigningKey
from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.entries import MINUTE, MOST_BACK, parse_entry
from comity.transparency.notes import ED25519, VerifierKey
from comity.transparency.server_keys import parse_statement
from comity.transparency.tiles import WIDTH
from comity_server.fsck.entry_owners import EntryOwners
from comity_server.fsck.findings import Findings
from comity_server.fsck.snapshot import Snapshot, StoredEntry, StoredHead, TilePlace
from comity_server.fsck.tree import Tree, leaf, width_of
from comity_server.log.head_file import SLOT, SLOTS, read_slot
from comity_server.log.recovery import files_of, origin_of
from comity_server.store.rows import StoredStatement

Signed = tuple[SignedCheckpoint, ...]
"""The signed checkpoints of a log in its head file."""
MOST_GAP = 1_000_000
"""Missing entries in a row beyond which a log's tree is not hashed."""


def read_head_file(data: Path, keys: Path, host: str, log: str, findings: Findings) -> Signed:
    """The checkpoints in the head file of a log, whose key is in the folder `keys`. The file is read before the store:
    it may be behind the store, never ahead of it."""
    own = origin_of(host, "")
    name = log.removeprefix(own).removeprefix("/")
    if "/" in name or log != origin_of(host, name):
        findings.add(log, f"it is not a log of {host}")
        return ()
    files = files_of(data, name)._replace(key=files_of(keys, name).key)
    try:
        key = VerifierKey(log, ED25519, SigningKey(files.key.read_bytes()).public)
        slots = _slots(files.head, key)
    except (OSError, Malformed) as fault:
        reason = f"{Path(fault.filename).name}: {fault.strerror}" if isinstance(fault, OSError) else files.key.name
        findings.add(f"{log} files", f"the signed checkpoints cannot be read ({reason})")
        return ()
    for number in (at for at, slot in enumerate(slots) if slot is False):
        findings.add(f"{files.head.name} slot {number}", "it is damaged, or not signed by this log's key")
    signed = tuple(slot for slot in slots if isinstance(slot, SignedCheckpoint))
    if not signed:
        findings.add(files.head.name, f"it contains no checkpoint of {log}")
    return signed


def _slots(path: Path, key: VerifierKey) -> list[SignedCheckpoint | bool]:
    """The slots of a head file: a checkpoint, True for an empty slot, False for a damaged one."""
    slots: list[SignedCheckpoint | bool] = []
    # A slot that the server is just writing is complete at the next try.
    for _ in range(3):
        content = path.read_bytes()
        parts = [content[SLOT * number : SLOT * (number + 1)] for number in range(SLOTS)]
        slots = [read_slot(part, key) or not any(part) for part in parts]
        if False not in slots:
            break
    return slots


def check_log(
    log: str,
    signed: Signed,
    snapshot: Snapshot,
    findings: Findings,
    owners: EntryOwners,
    report: Callable[[int, int], None],
) -> tuple[int, int]:
    """Checks the entries of a log (LOG-6), its tiles and its head (LOG-1, LOG-3), and that it continues every signed
    checkpoint (LOG-14). `report` is called with the numbers of checked entries and of all. Returns (size, time of the
    last commit in ms)."""
    check = _LogCheck(log, signed, snapshot, findings, report)
    owners.begin(log, check.size)
    check.entries()
    check.surplus_tiles()
    return check.size, check.at


class _LogCheck:
    """See `check_log`."""

    def __init__(
        self,
        log: str,
        signed: Signed,
        snapshot: Snapshot,
        findings: Findings,
        report: Callable[[int, int], None],
    ) -> None:
        self._log = log
        self._report = report
        self._snapshot = snapshot
        self._findings = findings
        last = snapshot.value("last_entry", log=log)
        there = last + 1 if isinstance(last, int) and last >= 0 else 0
        head = snapshot.row(StoredHead, "get_head_of", log=log)
        if head is None:
            findings.add(f"{log} head", "it is missing")
        elif head.size > there:
            findings.add(f"{log} head", f"it has {head.size} entries, but the last stored entry is {there - 1}")
        self._head = head
        self.at = 0 if head is None else head.at
        self.size = there if head is None else max(0, min(head.size, there))
        self._signed = _by_size(signed, self.size, log, findings)
        self._tree = Tree(log, self._stored_tile, findings)
        self._latest = 0
        self._ahead = _read_stated_ahead(snapshot, log)
        """The minute up to which the log states that its times may be ahead (CLOCK-4)."""

    def _stored_tile(self, level: int, number: int) -> bytes | None:
        hashes = self._snapshot.value("get_tile", log=self._log, level=level, number=number)
        return hashes if isinstance(hashes, bytes) else None

    def entries(self) -> None:
        """Checks each entry in order, and the tree over them."""
        self._check_signed()
        for row in self._snapshot.rows(StoredEntry, "all_entries", log=self._log):
            if not 0 <= row.idx < self.size:
                fault = f"it is beyond the log's head, which has {self.size} entries"
                self._findings.add(f"{self._log} entry {row.idx}", fault)
                continue
            if row.idx > self._tree.size and not self._skip_to(row.idx):
                return
            self._entry(row)
        if self._tree.size < self.size and not self._skip_to(self.size):
            return
        if self._head is not None and self._head.size == self.size:
            self._tree.finish(self._head.root)

    def _entry(self, row: StoredEntry) -> None:
        try:
            parse_entry(row.entry)
        except Malformed as fault:
            self._findings.add(f"{self._log} entry {row.idx}", fault.detail or "it is not an entry")
        minute = row.at // MINUTE
        if minute < self._latest - MOST_BACK and self._latest > self._ahead:
            reason = f"its time is {self._latest - minute} minutes before that of an earlier entry"
            self._findings.add(f"{self._log} entry {row.idx}", reason)
        self._latest = max(self._latest, minute)
        self._tree.add(leaf(row.entry))
        self._check_signed()
        if not self._tree.size % WIDTH:
            self._report(self._tree.size, self.size)

    def _skip_to(self, index: int) -> bool:
        """Reports that the entries up to `index` are missing. Returns whether the tree can be hashed without them."""
        first, last = self._tree.size, index - 1
        which = f"entry {first}" if first == last else f"entries {first} to {last}"
        self._findings.add(f"{self._log} {which}", "missing")
        if index - first > MOST_GAP:
            return False
        for _ in range(first, index):
            self._tree.add(None)
            self._check_signed()
        return True

    def _check_signed(self) -> None:
        for checkpoint in self._signed.get(self._tree.size, ()):
            if checkpoint.root not in self._tree.roots():
                fault = f"its first {checkpoint.size} entries are not those that the log signed"
                self._findings.add(f"{self._log} head file", fault)

    def surplus_tiles(self) -> None:
        """Reports tiles that a tree of this size does not have."""
        for level, number in self._snapshot.rows(TilePlace, "all_tiles", log=self._log):
            if not width_of(level, number, self.size):
                self._findings.add(f"{self._log} tile/{level}/{number:03}", "the tree has no such tile")


def _read_stated_ahead(snapshot: Snapshot, log: str) -> int:
    found = [-1]
    for row in snapshot.rows(StoredStatement, "home_statements"):
        with suppress(Refused):
            statement = parse_statement(row.statement)
            if statement.ahead is not None and statement.log.partition("+")[0] == log:
                found.append(statement.ahead // MINUTE)
    return max(found)


def _by_size(signed: Signed, size: int, log: str, findings: Findings) -> dict[int, list[SignedCheckpoint]]:
    """Size → the checkpoints of that size. A checkpoint larger than the store is a finding."""
    found: dict[int, list[SignedCheckpoint]] = {}
    for checkpoint in signed:
        found.setdefault(checkpoint.size, []).append(checkpoint)
    ahead = max(found, default=0)
    if ahead > size:
        fault = f"the log signed {ahead} entries, but the store has {size}: it is an older copy of the store"
        findings.add(f"{log} head file", fault)
    return found
