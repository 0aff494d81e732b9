"""Checks the home server's own keys: each statement leads to the next and is in a log, and the private key in force
exists."""

from functools import partial
from pathlib import Path

from comity.crypto.keys import SigningKey
from comity.documents.events import Place
from comity.documents.offers import HomeParty
from comity.errors import Malformed, Refused
from comity.transparency.entries import LogEntry, entry_of_key, public_tag_key
from comity.transparency.server_keys import (
    HomeKeys,
    HomeStatement,
    ListedStatement,
    PlacedStatement,
    follow_keys,
    parse_statement,
    verify_statements,
)
from comity_server.fsck.documents import refusal_text
from comity_server.fsck.entry_owners import EntryOwners
from comity_server.fsck.findings import Findings
from comity_server.fsck.snapshot import Snapshot, StoredEntry
from comity_server.store.rows import StoredPlace, StoredStatement

_NOBODY = SigningKey(bytes(32)).public.multibase
"""A key that has signed nothing."""


def home_keys_of(data: Path, home: str, snapshot: Snapshot, findings: Findings) -> HomeKeys:
    """The server's keys by its stored statements, and where each of them signs."""
    places: dict[int, list[Place]] = {}
    for row in snapshot.rows(StoredPlace, "home_places"):
        places.setdefault(row.n, []).append(Place(row.log, row.idx))
    rows = list(snapshot.rows(StoredStatement, "home_statements"))
    try:
        stated = verify_statements(ListedStatement(statement=row.statement, signed=row.signed) for row in rows)
    except (Refused, ValueError) as fault:
        findings.add("home keys", refusal_text(fault) if isinstance(fault, Refused) else "a statement is malformed")
        stated = ()
    if not stated or [row.n for row in rows] != list(range(len(rows))) or stated[0].statement.did != home:
        findings.add("home keys", "there is no valid statement: signatures of this server cannot be checked")
        return HomeKeys(HomeParty(did="did:web:nobody", kid=f"did:web:nobody#{_NOBODY}", key=_NOBODY))
    _check_private(data, stated[-1].statement, findings)
    chain = [PlacedStatement(one, tuple(places.get(n, ()))) for n, one in enumerate(stated)]
    return follow_keys(stated[0].statement.party, chain, {one.statement.kid for one in stated})


def _check_private(data: Path, statement: HomeStatement, findings: Findings) -> None:
    for path in (data / "home.key", data / f"home-{statement.key}.key"):
        try:
            if SigningKey(path.read_bytes()).public.multibase == statement.key:
                return
        except (OSError, Malformed):
            continue
    findings.add("home.key", "the private key in force is missing or damaged")


def check_places(snapshot: Snapshot, findings: Findings, owners: EntryOwners) -> None:
    """Checks that each statement has its log entry where its row says."""
    rows = {row.n: row for row in snapshot.rows(StoredStatement, "home_statements")}
    for at in snapshot.rows(StoredPlace, "home_places"):
        row = rows.get(at.n)
        name = f"home key statement {at.n}"
        entry = snapshot.row(StoredEntry, "get_entry", log=at.log, idx=at.idx)
        if row is None:
            findings.add(name, "there is no such statement")
        elif entry is None:
            findings.add(f"{at.log} entry {at.idx}", f"it is missing, but {name} refers to it")
        else:
            _claim(name, row.statement, Place(at.log, at.idx), entry.at, findings, owners)


def _claim(name: str, raw: str, place: Place, at: int, findings: Findings, owners: EntryOwners) -> None:
    try:
        stated = parse_statement(raw)
    except (Refused, ValueError):
        findings.add(name, "it is malformed")
        return
    if at < stated.at:
        findings.add(name, f"its entry has the time {at}, before its own time {stated.at}")
    make = partial(_entry, raw.encode("utf-8"), public_tag_key(stated.did), at)
    owners.claim(name, place, ("", stated.kid), at, make)


def _entry(statement: bytes, key: bytes, at: int, salt: bytes) -> LogEntry:
    return entry_of_key(statement, key, salt, at)
