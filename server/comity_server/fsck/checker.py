"""Checks a data folder: all parts, in order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from comity.crypto.keys import did_web_base
from comity.errors import Malformed
from comity_server.fsck import other_records, server_keys
from comity_server.fsck.connections import Counts, check_connections
from comity_server.fsck.documents import Opener
from comity_server.fsck.entry_owners import EntryOwners
from comity_server.fsck.findings import MOST, Findings
from comity_server.fsck.log import Signed, check_log, read_head_file
from comity_server.fsck.replay import CheckContext
from comity_server.fsck.snapshot import UNREADABLE, CannotRead, LogEnded, MetaRow, Snapshot, StoredHead, open_snapshot
from comity_server.log.restores import COPIED, Restore, restores_in

Progress = Callable[[str, int, int], None]
"""Called with the name of a part, how much of it is done, and how much there is."""


@dataclass(slots=True)
class CheckResult:
    """The result of a check of the store as of the commit at `at` (ms); 0 if there was no commit."""

    findings: Findings = field(default_factory=Findings)
    at: int = 0
    logs: dict[str, int] = field(default_factory=dict)
    """The entries of each log."""
    connections: Counts = field(default_factory=Counts)
    keys: int = 0
    offers: int = 0
    proposals: int = 0
    meanwhile: int = 0
    """Entries that a server added during the check."""


def check_store(
    data: Path,
    progress: Progress = lambda _what, _done, _all: None,
    *,
    keys: Path | None = None,
    whole: bool = True,
    copied: bool = False,
) -> CheckResult:
    """Checks a data folder by deriving everything again, whether or not a server uses it. `keys` is the folder with the
    keys if they are elsewhere. A `copied` folder lacks the head files of its active logs. If not `whole`, only the
    file, the logs and the server's own key are checked. Raises CannotRead."""
    result, keys = CheckResult(), keys or data
    signed = _read_head_files(data, keys, result.findings, copied=copied)
    with open_snapshot(data, result.findings) as snapshot:
        check = _StoreCheck(keys, snapshot, result, progress)
        if whole:
            check.all(signed)
        else:
            check.base(signed)
    if result.logs:
        result.meanwhile = _entries_now(data) - sum(result.logs.values())
    return result


def _read_head_files(data: Path, keys: Path, findings: Findings, *, copied: bool) -> dict[str, Signed]:
    """The checkpoints in the head files of all logs, read before the store, which can only be ahead of them."""
    with open_snapshot(data, Findings()) as snapshot:
        try:
            meta, logs = _meta(snapshot), _logs(snapshot)
            host, restores = _base(meta.get("home", "")).partition("://")[2], _restores(meta, Findings())
            running = {log for log, has_ended in snapshot.rows(LogEnded, "all_logs") if not has_ended}
        except UNREADABLE:
            # The check itself reports this.
            return {}
    # A log that a restore ended may have signed more than the store has, which was announced (REC-1). A copy ends the
    # logs that its original continues (BACKUP-3).
    lost = {log for restore in restores for log in restore.ended} | (running if copied or meta.get(COPIED) else set())
    return {log: read_head_file(data, keys, host, log, findings) for log in logs if log not in lost}


def _entries_now(data: Path) -> int:
    """The number of entries of all logs at this moment; 0 if the store cannot be read."""
    with open_snapshot(data, Findings()) as snapshot:
        try:
            heads = [snapshot.row(StoredHead, "get_head_of", log=log) for log in _logs(snapshot)]
        except UNREADABLE:
            return 0
        return sum(head.size for head in heads if head is not None)


def _meta(snapshot: Snapshot) -> dict[str, str]:
    return dict(snapshot.rows(MetaRow, "all_meta"))


def _restores(meta: dict[str, str], findings: Findings) -> tuple[Restore, ...]:
    """The restores that are recorded in the store."""
    try:
        return tuple(restores_in(meta).values())
    except msgspec.MsgspecError:
        findings.add("meta restored", "the record of restores cannot be read")
        return ()


def _base(home: str) -> str:
    """The public URL of the server with that DID; empty if the DID is malformed."""
    try:
        return did_web_base(home)
    except Malformed:
        return ""


def _logs(snapshot: Snapshot) -> list[str]:
    """The origins of all logs, with or without a head."""
    found: set[str] = set()
    for query in ("next_log_of_heads", "next_log_of_entries", "next_log_of_tiles"):
        log = ""
        while isinstance(log := snapshot.value(query, log=log), str):
            found.add(log)
    return sorted(found)


class _StoreCheck:
    """See `check_store`."""

    def __init__(self, keys: Path, snapshot: Snapshot, result: CheckResult, progress: Progress) -> None:
        self._keys = keys
        self._snapshot = snapshot
        self._result = result
        self._findings = result.findings
        self._progress = progress
        self._owners = EntryOwners(snapshot, result.findings)

    def all(self, signed: dict[str, Signed]) -> None:
        """Checks every part. An error of SQLite ends its part and is reported."""
        meta = self._base_parts(signed)
        self._part("connections", lambda: self._connections(meta.get("home", "")))
        self._part("businesses", self._businesses)
        self._part("inbox", lambda: other_records.check_news(self._snapshot, self._findings, meta.get("last_news")))
        self._part("strays", lambda: other_records.check_stray_rows(self._snapshot, self._findings))
        self._part("entries", self._owners.report_unowned)

    def base(self, signed: dict[str, Signed]) -> None:
        """Checks the base of everything else: the file, the logs, and the server's key."""
        home = self._base_parts(signed).get("home", "")
        self._part("home keys", lambda: self._home_key(home))

    def _base_parts(self, signed: dict[str, Signed]) -> dict[str, str]:
        meta: dict[str, str] = {}
        logs: list[str] = []
        self._part("the file", self._file)
        self._part("meta", lambda: meta.update(_meta(self._snapshot)))
        self._part("logs", lambda: logs.extend(_logs(self._snapshot)))
        other_records.check_meta(meta, self._findings)
        self._owners.restores = _restores(meta, self._findings)
        for log in logs:
            self._part(log, partial(self._log, log, signed.get(log, ())))
        return meta

    def _part(self, name: str, check: Callable[[], None]) -> None:
        try:
            check()
        except UNREADABLE as error:
            self._findings.add(name, f"reading stopped here: {error}")

    def _file(self) -> None:
        self._progress("the file", 0, 0)
        for fault in self._snapshot.integrity(MOST):
            self._findings.add("the file", fault)

    def _log(self, log: str, before: Signed) -> None:
        def report(done: int, size: int) -> None:
            self._progress(log, done, size)

        # A log that cannot be read to its end is listed all the same.
        self._result.logs[log] = 0
        size, at = check_log(log, before, self._snapshot, self._findings, self._owners, report)
        self._result.logs[log] = size
        self._result.at = max(self._result.at, at)

    def _connections(self, home: str) -> None:
        context = self._context(home)
        acts = int(self._snapshot.value("count_acts") or 0)
        self._result.connections = check_connections(
            f"{_base(home)}/status/", context, lambda done: self._progress("connections", done, acts)
        )
        self._result.offers = other_records.check_offers(context)
        self._result.proposals = other_records.check_proposals(context)

    def _home_key(self, home: str) -> None:
        server_keys.home_keys_of(self._keys, home, self._snapshot, self._findings)

    def _context(self, home: str) -> CheckContext:
        keys = server_keys.home_keys_of(self._keys, home, self._snapshot, self._findings)
        found_keys = other_records.business_keys(self._snapshot, self._findings)
        return CheckContext(
            self._snapshot, self._findings, self._owners, Opener(home, keys, self._findings), found_keys.get
        )

    def _businesses(self) -> None:
        server_keys.check_places(self._snapshot, self._findings, self._owners)
        self._result.keys = other_records.check_keys(self._snapshot, self._findings, self._owners)
        found_keys = other_records.business_keys(self._snapshot, Findings())
        other_records.check_notices(self._snapshot, found_keys, self._findings, self._owners)
        other_records.check_business_rows(self._snapshot, self._findings)


__all__ = ["CannotRead", "CheckResult", "Progress", "check_store"]
