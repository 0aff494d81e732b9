"""One log, looked through from its first entry to its last (spec/log.md)."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from comity.crypto.keys import SigningKey
from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.entries import MINUTE, MOST_BACK, read_entry
from comity.transparency.notes import ED25519, VerifierKey
from comity.transparency.server_keys import read_statement
from comity.transparency.tiles import WIDTH
from comity_server.fsck.entry_owners import Places
from comity_server.fsck.findings import Findings
from comity_server.fsck.snapshot import Snapshot, StoredEntry, StoredHead, TilePlace
from comity_server.fsck.tree import Tree, leaf, width_of
from comity_server.log.head_file import SLOT, SLOTS, read_slot
from comity_server.log.recovery import files_of, origin_of
from comity_server.store.rows import StoredStatement

Signed = tuple[SignedCheckpoint, ...]
"""What was signed of a log, as its head file remembers it."""
MOST_GAP = 1_000_000
"""Missing entries in a row beyond which a log's tree is not hashed."""


def read_head_file(data: Path, keys: Path, host: str, log: str, findings: Findings) -> Signed:
    """The head file of a log, whose key lies in the folder `keys`. It is read before the store is: it may be behind the
    store, never ahead of it."""
    own = origin_of(host, "")
    name = log.removeprefix(own).removeprefix("/")
    if "/" in name or log != origin_of(host, name):
        findings.add(log, f"it is no log of {host}")
        return ()
    files = files_of(data, name)._replace(key=files_of(keys, name).key)
    try:
        key = VerifierKey(log, ED25519, SigningKey(files.key.read_bytes()).public)
        slots = _slots(files.head, key)
    except (OSError, Malformed) as fault:
        told = f"{Path(fault.filename).name}: {fault.strerror}" if isinstance(fault, OSError) else files.key.name
        findings.add(f"{log} files", f"what was signed cannot be read ({told})")
        return ()
    for number in (at for at, slot in enumerate(slots) if slot is False):
        findings.add(f"{files.head.name} slot {number}", "it is damaged, or not signed by this log's key")
    signed = tuple(slot for slot in slots if isinstance(slot, SignedCheckpoint))
    if not signed:
        findings.add(files.head.name, f"there is no checkpoint of {log} in it")
    return signed


def _slots(path: Path, key: VerifierKey) -> list[SignedCheckpoint | bool]:
    """What is in the slots of a head file: a checkpoint, True for an empty one, False for a damaged one."""
    slots: list[SignedCheckpoint | bool] = []
    # A slot that is being written at this moment is whole at the next.
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
    places: Places,
    told: Callable[[int, int], None],
) -> tuple[int, int]:
    """The entries of a log (LOG-6), its tiles and its head (LOG-1, LOG-3), and that it begins with all that was signed
    of it (LOG-14). `told` takes how many entries were looked at, and how many there are. (size, time of the last
    commit in ms)."""
    looking = _Looking(log, signed, snapshot, findings, told)
    places.begin(log, looking.size)
    looking.entries()
    looking.surplus_tiles()
    return looking.size, looking.at


class _Looking:
    """See `check_log`."""

    def __init__(
        self,
        log: str,
        signed: Signed,
        snapshot: Snapshot,
        findings: Findings,
        told: Callable[[int, int], None],
    ) -> None:
        self._log = log
        self._told = told
        self._snapshot = snapshot
        self._findings = findings
        last = snapshot.value("last_entry", log=log)
        there = last + 1 if isinstance(last, int) and last >= 0 else 0
        head = snapshot.row(StoredHead, "get_head_of", log=log)
        if head is None:
            findings.add(f"{log} head", "it is missing")
        elif head.size > there:
            findings.add(f"{log} head", f"it has {head.size} entries, and the last that is stored is {there - 1}")
        self._head = head
        self.at = 0 if head is None else head.at
        self.size = there if head is None else max(0, min(head.size, there))
        self._signed = _by_size(signed, self.size, log, findings)
        self._tree = Tree(log, self._stored_tile, findings)
        self._latest = 0
        self._ahead = _stated_ahead(snapshot, log)
        """The minute up to which the log says that its times may lie ahead (CLOCK-4)."""

    def _stored_tile(self, level: int, number: int) -> bytes | None:
        hashes = self._snapshot.value("get_tile", log=self._log, level=level, number=number)
        return hashes if isinstance(hashes, bytes) else None

    def entries(self) -> None:
        """Each entry in its turn, and the tree over them."""
        self._check_signed()
        for row in self._snapshot.rows(StoredEntry, "all_entries", log=self._log):
            if not 0 <= row.idx < self.size:
                self._findings.add(f"{self._log} entry {row.idx}", f"the log's head has {self.size} entries")
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
            read_entry(row.entry)
        except Malformed as fault:
            self._findings.add(f"{self._log} entry {row.idx}", fault.detail or "it is none")
        minute = row.at // MINUTE
        if minute < self._latest - MOST_BACK and self._latest > self._ahead:
            told = f"its time is {self._latest - minute} minutes before that of an earlier entry"
            self._findings.add(f"{self._log} entry {row.idx}", told)
        self._latest = max(self._latest, minute)
        self._tree.add(leaf(row.entry))
        self._check_signed()
        if not self._tree.size % WIDTH:
            self._told(self._tree.size, self.size)

    def _skip_to(self, index: int) -> bool:
        """Tell that the entries up to `index` are missing. Whether the tree can be hashed on without them."""
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
                told = f"its first {checkpoint.size} entries are not those that were signed (the head file remembers)"
                self._findings.add(f"{self._log} head file", told)

    def surplus_tiles(self) -> None:
        """Tiles that a tree of this size does not have."""
        for level, number in self._snapshot.rows(TilePlace, "all_tiles", log=self._log):
            if not width_of(level, number, self.size):
                self._findings.add(f"{self._log} tile/{level}/{number:03}", "the tree has no such tile")


def _stated_ahead(snapshot: Snapshot, log: str) -> int:
    found = [-1]
    for row in snapshot.rows(StoredStatement, "home_statements"):
        with suppress(Refused):
            said = read_statement(row.statement)
            if said.ahead is not None and said.log.partition("+")[0] == log:
                found.append(said.ahead // MINUTE)
    return max(found)


def _by_size(signed: Signed, size: int, log: str, findings: Findings) -> dict[int, list[SignedCheckpoint]]:
    """The signed checkpoints by their sizes. One that the store does not reach is a finding."""
    found: dict[int, list[SignedCheckpoint]] = {}
    for checkpoint in signed:
        found.setdefault(checkpoint.size, []).append(checkpoint)
    ahead = max(found, default=0)
    if ahead > size:
        told = f"{ahead} entries were signed, and the store has {size}: an older store was put back"
        findings.add(f"{log} head file", told)
    return found
