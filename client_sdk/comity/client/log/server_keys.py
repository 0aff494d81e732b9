"""Checks the entries of a log about its home server's keys against the list that the server shows
(spec/home-key.md)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import TypeAdapter

from comity.client.log.tile_reader import LogFinding, TileReader
from comity.client.log.tree import Bundle, ServedTree
from comity.crypto.keys import did_of_host
from comity.documents.types import parse_model
from comity.errors import Refused
from comity.http_api import HOME_KEYS, HomeKeysAnswer, KeyPlace
from comity.transparency.entries import MINUTE, Kind, entry_tag, parse_entry, public_tag_key
from comity.transparency.notes import VerifierKey
from comity.transparency.receipts import open_receipt
from comity.transparency.server_keys import ListedStatement, VerifiedStatement, is_entry_of, verify_statements

_MOST = 8 * 1024 * 1024
_ANSWER: TypeAdapter[HomeKeysAnswer] = TypeAdapter(HomeKeysAnswer)


def home_of(origin: str) -> str:
    """The home server whose log has that origin, by its host (LOG-19)."""
    return did_of_host(origin.partition("/")[0])


def own_keys(bundle: Bundle, kinds: Sequence[int], skip: int, home: str) -> list[int]:
    """The indexes of the entries after the first `skip` that state a key of the home server; `kinds` are their
    kinds."""
    if Kind.KEY not in kinds:
        return []
    found, entries = [], bundle.entries()
    for at, kind in enumerate(kinds, skip):
        if kind == Kind.KEY and (entry := parse_entry(entries[at])).tag == entry_tag(
            public_tag_key(home), entry.time * MINUTE
        ):
            found.append(bundle.first + at)
    return found


async def check_listed(
    source: TileReader, tree: ServedTree, key: VerifierKey, entered: Collection[int], done: int
) -> None:
    """Checks the entries at these indexes, all that state a key of the home server among the first `done`, against its
    list. A log without any, or one served by another host, has no list.

    Raises LogFinding("withheld_key" | "key_not_stated"), Unreachable.
    """
    if not entered or source.origin != key.name:
        return
    rows = await _fetch_list(source, key)
    for index in sorted(entered):
        if index not in rows:
            proof = await tree.proof_of(index)
            raise LogFinding("withheld_key", f"entry {index}", at=index, evidence=(proof,))
    for index, (stated, place) in rows.items():
        if index < done and index not in entered:
            raise LogFinding("key_not_stated", f"entry {index} is no statement about a key of the server", at=index)
        if place.receipt is not None:
            _check(stated, place, place.receipt, key)


async def stated_ahead(source: TileReader, key: VerifierKey, index: int) -> int:
    """The minute up to which the log states, by an entry before `index`, that its times may lie ahead (CLOCK-4); -1
    without a valid statement. Raises Unreachable."""
    if source.origin != key.name:
        return -1
    found = [-1]
    try:
        for at, (stated, place) in (await _fetch_list(source, key)).items():
            said = stated.statement
            if at < index and said.ahead is not None and said.log == key.text and place.receipt is not None:
                _check(stated, place, place.receipt, key)
                found.append(said.ahead // MINUTE)
    except LogFinding:
        # An invalid list is no excuse.
        return -1
    return max(found)


async def _fetch_list(source: TileReader, key: VerifierKey) -> dict[int, tuple[VerifiedStatement, KeyPlace]]:
    """The statements that the server lists with a place in this log, by index."""
    data = await source.get_beside(HOME_KEYS)
    if data is None:
        raise LogFinding("withheld_key", "the server lists no key at all")
    try:
        answer = parse_model(_ANSWER, data, _MOST)
        stated = verify_statements(ListedStatement(statement=it.statement, signed=it.signed) for it in answer.keys)
    except Refused as fault:
        detail = fault.detail or fault.title.rstrip(".")
        raise LogFinding("key_not_stated", detail, evidence=(data.decode("utf-8", "replace"),)) from None
    rows = zip(stated, answer.keys, strict=True)
    return {place.index: (one, place) for one, row in rows for place in row.places if place.log == key.name}


def _check(stated: VerifiedStatement, place: KeyPlace, raw: str, key: VerifierKey) -> None:
    try:
        receipt = open_receipt(raw, key)
    except Refused as fault:
        raise LogFinding("key_not_stated", f"an invalid receipt: {fault}", at=place.index) from None
    if receipt.index != place.index or not is_entry_of(stated, receipt):
        detail = f"entry {place.index} is about something else than is listed"
        raise LogFinding("key_not_stated", detail, at=place.index, evidence=(raw, stated.raw))
