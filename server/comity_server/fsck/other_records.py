"""Checks everything outside the connections: businesses and their keys, offers, half-signed agreements, news, and rows
that belong to nothing."""

from collections.abc import Iterator
from functools import partial

from comity.crypto.jws import FindKey
from comity.crypto.keys import PublicKey
from comity.documents.agreements import open_half
from comity.documents.events import Place
from comity.documents.notices import PublishedKey, key_for_entry, open_notice
from comity.documents.offers import open_offer
from comity.encoding import b64u_decode
from comity.errors import Malformed, Refused
from comity.transparency.entries import LogEntry, entry_of_key, entry_of_notice, key_statement, public_tag_key
from comity_server.fsck.entry_owners import EntryOwners
from comity_server.fsck.findings import Findings
from comity_server.fsck.replay import CheckContext
from comity_server.fsck.snapshot import (
    OrphanRow,
    Snapshot,
    StoredKey,
    StoredNews,
    StoredNotice,
    StoredOffer,
    StoredProposal,
    StrayRow,
)

LATEST = 253_402_300_799_999
"""ms: the last moment that a text can name (`documents.types.Milliseconds`)."""


def business_keys(snapshot: Snapshot, findings: Findings) -> dict[str, PublicKey]:
    """The keys of all businesses of this host, by name."""
    keys: dict[str, PublicKey] = {}
    for row in snapshot.rows(StoredKey, "all_business_keys"):
        try:
            keys[row.kid] = PublicKey.of_multibase(row.multibase)
        except Malformed as fault:
            findings.add(f"business {row.name} key {row.kid}", str(fault.detail))
    return keys


def check_keys(snapshot: Snapshot, findings: Findings, owners: EntryOwners) -> int:
    """Checks that each key of a business has its statement and its log entry. Returns the number of keys."""
    count = 0
    for row in snapshot.rows(StoredKey, "all_business_keys"):
        count += 1
        place = f"business {row.name} key {row.kid}"
        if row.did is None:
            findings.add(place, "its business is missing")
            continue
        if row.kid != f"{row.did}#{row.multibase}":
            findings.add(place, f"it is not the name of the key {row.multibase} of {row.did}")
        statement = key_statement(row.did, row.kid, row.multibase, row.added_at)
        if statement != row.statement.encode("utf-8"):
            findings.add(place, "its statement does not match its row")
        if not 0 <= row.added_at <= LATEST:
            findings.add(place, f"its time {row.added_at} is out of range")
            continue
        make = partial(_entry, statement, public_tag_key(row.did), row.added_at)
        owners.claim(place, Place(row.log, row.idx), ("", row.kid), row.added_at, make)
    return count


def _entry(statement: bytes, key: bytes, at: int, salt: bytes) -> LogEntry:
    return entry_of_key(statement, key, salt, at)


def check_notices(snapshot: Snapshot, keys: dict[str, PublicKey], findings: Findings, owners: EntryOwners) -> None:
    """Checks that each notice of a business is signed with its newest key of that time, and has its log entry
    (NOTICE-5, NOTICE-6)."""
    stated_keys: dict[tuple[str, str], list[PublishedKey]] = {}
    for key in snapshot.rows(StoredKey, "all_business_keys"):
        stated_keys.setdefault((key.name, key.log), []).append(PublishedKey(key.idx, key.kid))
    for row in snapshot.rows(StoredNotice, "all_notices"):
        place = f"business {row.name} notice {row.id}"
        if row.did is None:
            findings.add(place, "its business is missing")
            continue
        try:
            signed = open_notice(row.raw, keys.get)
        except Refused as fault:
            findings.add(place, str(fault.detail or fault.title))
            continue
        if (signed.id, signed.notice.kind, signed.notice.iss) != (row.id, row.kind, row.did):
            findings.add(place, "its row does not match its text")
        newest = key_for_entry(stated_keys.get((row.name, row.log), ()), row.idx)
        if newest is not None and signed.kid != newest:
            findings.add(place, f"it is signed with {signed.kid}, but the newest key was {newest}")
        make = partial(_notice_entry, row.raw, public_tag_key(row.did), row.added_at)
        owners.claim(place, Place(row.log, row.idx), ("", row.id), row.added_at, make)


def _notice_entry(raw: str, key: bytes, at: int, salt: bytes) -> LogEntry:
    return entry_of_notice(raw, key, salt, at)


def check_offers(context: CheckContext) -> int:
    """Checks that each offer is the one that its offerer signed. Returns the number of offers."""
    count = 0
    for row in context.snapshot.rows(StoredOffer, "all_offers"):
        count += 1
        place = f"offer {row.short}"
        signed = _offer_row(place, row.raw, context.business_key, context)
        # A business may end its offer early (INV-6), never later than its text says.
        if signed is not None and signed._replace(expires_at=min(signed.expires_at, row.expires_at)) != row:
            context.findings.add(place, "its row does not match its text")
    return count


def _offer_row(place: str, raw: str, find_key: FindKey, context: CheckContext) -> StoredOffer | None:
    """The row that follows from the text of an offer."""
    signed = context.opener.open_or_report(place, lambda: open_offer(raw, find_key))
    if signed is None:
        return None
    offer = signed.offer
    return StoredOffer(signed.short, signed.hash, offer.iss, raw, offer.exp * 1000, offer.exp * 1000, offer.use)


def check_proposals(context: CheckContext) -> int:
    """Checks that each half-signed agreement is the one that its accepter signed, and is marked as opened exactly if
    its connection exists. Returns the number of half-signed agreements."""
    count = 0
    for row in context.snapshot.rows(StoredProposal, "all_proposals"):
        count += 1
        place = f"proposal {row.cid}"
        if (row.connected is not None) != (row.phase == "opened"):
            there = "the connection exists" if row.connected else "there is no such connection"
            context.findings.add(place, f"its phase is {row.phase}, but {there}")
        half = context.opener.open_or_report(place, lambda raw=row.raw: open_half(raw))  # type: ignore[misc]
        if half is None:
            continue
        agreement = half.agreement
        found = (row.cid, row.first_did, row.second_did, row.countersign_by)
        if found != (half.cid, agreement.offerer.did, agreement.accepter.did, agreement.countersign_by * 1000):
            context.findings.add(place, "its row does not match its text")
        if not agreement.offer.startswith(row.offer):
            context.findings.add(place, f"it accepts the offer {agreement.offer}, but its row names {row.offer}")
    return count


def check_news(snapshot: Snapshot, findings: Findings, last_news: str | None) -> None:
    """Checks that news is about something that exists, and that the number of the last news is stored."""
    for row in snapshot.rows(StoredNews, "news_of_nothing"):
        about = f" of connection {row.cid}" if row.cid else ""
        findings.add(f"inbox {row.stream} news {row.n}", f"there is no such {row.kind}{about}")
    last = snapshot.value("last_news") or 0
    if last_news is None or not last_news.isascii() or not last_news.isdigit() or int(last_news) < last:
        findings.add("meta last_news", f"it is {last_news}, but the last news has the number {last}")


def check_stray_rows(snapshot: Snapshot, findings: Findings) -> None:
    """Reports rows of connections that do not exist."""
    for row in snapshot.rows(StrayRow, "strays"):
        findings.add(f"{row.place} {row.name}", f"there is no connection {row.cid}")


def check_business_rows(snapshot: Snapshot, findings: Findings) -> None:
    """Reports API keys, signing keys and relations of businesses that do not exist."""
    for row in snapshot.rows(OrphanRow, "keys_and_relations_of_nothing"):
        findings.add(f"business {row.name} {row.what} {row.id}", row.fault)


def check_meta(meta: dict[str, str], findings: Findings) -> None:
    """Checks that the store has the server's own settings."""
    for fault in _meta_faults(meta):
        findings.add(*fault)


def _meta_faults(meta: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "home" not in meta:
        yield "meta home", "it is missing"
    try:
        if len(b64u_decode(meta.get("cursor_key", ""))) != 32:
            yield "meta cursor_key", "it is missing, or not 32 bytes long"
    except Malformed:
        yield "meta cursor_key", "it cannot be read"
