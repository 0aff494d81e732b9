"""Reads a home server's statements about its keys from a file, offline."""

from pathlib import Path

from pydantic import TypeAdapter

from comity.documents.events import Place
from comity.documents.offers import HomeParty
from comity.documents.types import parse_model
from comity.errors import Refused
from comity.http_api import HomeKeysAnswer, KeyPlace
from comity.transparency.notes import VerifierKey
from comity.transparency.receipts import open_receipt
from comity.transparency.server_keys import (
    HomeKeys,
    ListedStatement,
    PlacedStatement,
    VerifiedStatement,
    follow_keys,
    is_entry_of,
    verify_statements,
)
from comity_tools.cli.audit.receipt import fail_if_invalid, read_file

MOST = 8 * 1024 * 1024
"""Bytes of a list of keys."""
_ANSWER: TypeAdapter[HomeKeysAnswer] = TypeAdapter(HomeKeysAnswer)


def read_home_keys(path: Path | None, pinned: HomeParty, vkey: VerifierKey | None) -> HomeKeys:
    """The server's keys that follow from the pinned one: by the list in the file `path`, or the pinned key alone.
    Receipts of the log with the key `vkey` are checked. Keys after one that was declared broken are left out (HOME-5).
    Raises ClickException."""
    if path is None:
        return follow_keys(pinned)
    data = read_file(path, MOST)
    with fail_if_invalid(f"the list of keys in {path}"):
        answer = parse_model(_ANSWER, data, MOST)
        stated = verify_statements(ListedStatement(statement=key.statement, signed=key.signed) for key in answer.keys)
        chain = [
            PlacedStatement(one, tuple(_place(one, place, vkey) for place in row.places))
            for one, row in zip(stated, answer.keys, strict=True)
        ]
        return follow_keys(pinned, chain)


def _place(one: VerifiedStatement, place: KeyPlace, vkey: VerifierKey | None) -> Place:
    """The place of a statement in its log. Raises Refused if its receipt contradicts that."""
    if vkey is not None and vkey.name == place.log and place.receipt is not None:
        receipt = open_receipt(place.receipt, vkey)
        if receipt.index != place.index or not is_entry_of(one, receipt):
            raise Refused("key_not_stated", "the log has something else at the place of a key statement")
    return Place(place.log, place.index)
