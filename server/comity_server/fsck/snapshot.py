"""A read-only snapshot of a store: everything as of one moment, every value checked for its type."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

from comity_server.data_dir import STORE
from comity_server.fsck.findings import Findings
from comity_server.store.migrations import HEAD, SchemaTooNew, SchemaTooOld, check_revision
from comity_server.store.sqlite import SQL
from comity_server.store.sqlite_file import Database, DatabaseFault, open_read_only

CACHE = 16_000
"""KiB of SQLite's page cache."""

UNREADABLE = (DatabaseFault, UnicodeDecodeError)
"""The errors of reading a damaged file. The second is raised for SQLite's own message, which may quote the damage."""

N = TypeVar("N", bound=tuple[Any, ...])


class CannotRead(Exception):
    """There is no store that can be checked; the text says why."""


class StoredConnection(NamedTuple):
    """A row of `connections`."""

    cid: str
    state: bytes
    at: int
    phase: str
    wake_at: int | None
    tag_secret: bytes


class StoredAgreement(NamedTuple):
    """A row of `agreements`."""

    raw: bytes
    opened: str


class StoredSide(NamedTuple):
    """A row of `sides`."""

    side: str
    did: str
    stream: str


class HistoryRow(NamedTuple):
    """A row of `acts` (its `kind` is accepted, its `raw` the act and `event` the acceptance) or of `events` (`raw` is
    None and `event` the event)."""

    at: int
    kind: str
    act: str | None
    side: str | None
    chain: str | None
    seq: int | None
    raw: str | None
    event: str


class ListedDuty(NamedTuple):
    """A row of `duties`, but for its connection."""

    name: str
    due_at: int
    ended_by: str
    done_at: int | None
    statement: str | None


class StoredEntry(NamedTuple):
    """A row of `entries`."""

    idx: int
    cid: str
    act: str
    at: int
    salt: bytes
    entry: bytes
    erased: int


class StoredHead(NamedTuple):
    """A row of `heads`."""

    size: int
    root: bytes
    at: int


class LogEnded(NamedTuple):
    """A log, and whether it has ended."""

    log: str
    ended: int


class StoredStatus(NamedTuple):
    """A row of `status_entries`."""

    list_no: int
    idx: int
    side: str
    grant_id: str | None
    ended: int
    ask_until: int
    expires_at: int


class StoredKey(NamedTuple):
    """A row of `business_keys`, with that of its business in `businesses` where there is one."""

    name: str
    kid: str
    multibase: str
    statement: str
    log: str
    idx: int
    added_at: int
    did: str | None


class StoredNotice(NamedTuple):
    """A row of `notices`, with that of its business in `businesses` where there is one."""

    name: str
    id: str
    kind: str
    raw: str
    log: str
    idx: int
    added_at: int
    did: str | None


class StoredOffer(NamedTuple):
    """A row of `offers`."""

    short: str
    hash: str
    iss: str
    raw: str
    expires_at: int
    good_until: int
    uses: str


class StoredProposal(NamedTuple):
    """A row of `proposals`; `connected` is its cid where the connection is there."""

    cid: str
    offer: str
    first_did: str
    second_did: str
    raw: bytes
    countersign_by: int
    phase: str
    connected: str | None


class StoredNews(NamedTuple):
    """A row of `inbox`."""

    stream: str
    n: int
    kind: str
    cid: str


class StrayRow(NamedTuple):
    """A connection that a table names, and its first row there."""

    place: str
    cid: str
    name: str


class OrphanRow(NamedTuple):
    """Something that is stored for a business, and its fault."""

    what: str
    name: str
    id: str
    fault: str


class MetaRow(NamedTuple):
    """A row of `meta`."""

    name: str
    value: str


class TilePlace(NamedTuple):
    """The key of a row of `tiles`."""

    level: int
    number: int


class Snapshot:
    """The committed rows of a store at one moment. `open_snapshot` makes one."""

    def __init__(self, raw: Database, findings: Findings) -> None:
        self._raw = raw
        self._findings = findings

    def rows(self, kind: type[N], query: str, **parameters: object) -> Iterator[N]:
        """The rows of one of the store's queries, one after the other. A row with a value of the wrong type is a
        finding and left out."""
        for row in self._raw.execute(SQL[query], parameters):
            if tuple(map(type, row)) in _types(kind):
                yield kind(*row)
            else:
                shown = ", ".join(str(value) for value in row if isinstance(value, str | int))
                self._findings.add(f"{(kind.__doc__ or '').rstrip('.')}: {shown}", "a value has the wrong type")

    def row(self, kind: type[N], query: str, **parameters: object) -> N | None:
        """The first row of a query, or None."""
        return next(self.rows(kind, query, **parameters), None)

    def value(self, query: str, **parameters: object) -> Any:
        """The first value of the first row of a query, or None."""
        row = self._raw.execute(SQL[query], parameters).fetchone()
        return None if row is None else row[0]

    def integrity(self, most: int) -> list[str]:
        """The faults that SQLite itself finds in the file, at most so many."""
        faults = [str(row[0]) for row in self._raw.execute(f"PRAGMA integrity_check({most})")]
        return [] if faults == ["ok"] else faults


@cache
def _types(kind: type[tuple[Any, ...]]) -> frozenset[tuple[type, ...]]:
    """The types that the values of such a row may have."""
    return frozenset(product(*(get_args(hint) or (hint,) for hint in get_type_hints(kind).values())))


@contextmanager
def open_snapshot(data: Path, findings: Findings) -> Iterator[Snapshot]:
    """A snapshot of a data folder's store, whether or not a server uses it. Raises CannotRead."""
    path = data / STORE
    if not data.is_dir():
        raise CannotRead(f"{data} is not a folder" if data.exists() else f"there is no folder {data}")
    if not path.is_file():
        raise CannotRead(f"{data} is not a data folder of Comity: it contains no {STORE}")
    log = path.with_name(f"{STORE}-wal")
    # Without a writer the file is opened as immutable: no file is made beside it, and a read-only disk will do.
    is_unused, modified_at = not log.exists(), path.stat().st_mtime_ns
    try:
        raw = open_read_only(path, cache=CACHE, immutable=is_unused)
    except UNREADABLE as error:
        raise CannotRead(f"{path} cannot be read: {error}") from None
    try:
        _prepare(raw, path)
        yield Snapshot(raw, findings)
        if is_unused and (log.exists() or path.stat().st_mtime_ns != modified_at):
            raise CannotRead(f"a server started in {data} during the check: run the command again")
    finally:
        raw.close()


def _prepare(raw: Database, path: Path) -> None:
    """Begins the snapshot's transaction. Raises CannotRead unless it is a store of this version."""
    # A damaged text must not end the check; with replacement characters it matches no hash and no signature.
    raw.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        raw.execute("BEGIN")
        tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found = raw.execute("SELECT version_num FROM alembic_version").fetchone() if _VERSION in tables else None
    except UNREADABLE as error:
        raise CannotRead(f"{path} cannot be read: {error}") from None
    if found is None:
        raise CannotRead(f"{path} is not a store of Comity")
    revision = str(found[0])
    try:
        check_revision(path, revision)
    except (SchemaTooNew, SchemaTooOld) as error:
        raise CannotRead(str(error)) from None
    if revision != HEAD:
        raise CannotRead(f"{path} has schema {revision}, and this version knows {HEAD}: start the server once")


_VERSION = "alembic_version"
