"""What a home server states of its keys, read from a file by somebody who is offline."""

from pathlib import Path

from pydantic import TypeAdapter

from comity.documents.events import Place
from comity.documents.offers import HomeParty
from comity.documents.types import read_model
from comity.errors import Refused
from comity.http_api import HomeKeysAnswer, KeyPlace
from comity.transparency.notes import VerifierKey
from comity.transparency.receipts import open_receipt
from comity.transparency.server_keys import HomeKeys, Listed, Placed, Stated, follow, is_entered, read_listed
from comity_tools.cli.audit.receipt import content, held

MOST = 8 * 1024 * 1024
"""Bytes of a list."""
_ANSWER: TypeAdapter[HomeKeysAnswer] = TypeAdapter(HomeKeysAnswer)


def keys_in(path: Path | None, pinned: HomeParty, vkey: VerifierKey | None) -> HomeKeys:
    """The keys that follow from the pinned one by the list in a file, or the pinned one alone; receipts of the log
    with that `vkey` are checked. Behind a key that was stated as broken none is taken (HOME-5). Raises ClickException.
    """
    if path is None:
        return follow(pinned)
    data = content(path, MOST)
    with held(f"the list of keys in {path}"):
        answer = read_model(_ANSWER, data, MOST)
        stated = read_listed(Listed(statement=it.statement, signed=it.signed) for it in answer.keys)
        chain = [
            Placed(one, tuple(_place(one, place, vkey) for place in row.places))
            for one, row in zip(stated, answer.keys, strict=True)
        ]
        return follow(pinned, chain)


def _place(one: Stated, place: KeyPlace, vkey: VerifierKey | None) -> Place:
    """The place of a statement. Raises Refused where its receipt says otherwise."""
    if vkey is not None and vkey.name == place.log and place.receipt is not None:
        receipt = open_receipt(place.receipt, vkey)
        if receipt.index != place.index or not is_entered(one, receipt):
            raise Refused("key_not_stated", "the log says something else at the place of a statement")
    return Place(place.log, place.index)
