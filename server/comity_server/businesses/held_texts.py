"""Keeps the text of held messages; an undelivered one becomes a draft (SAY-6).

The text of a held message is a row of the table of drafts that no list shows, and that cannot be sent again. The commit
in which the message stops being held deletes the row, or makes it a draft. Pure: adds rows to a batch.
"""

from collections.abc import Callable, Collection

from comity.documents.types import SIDES
from comity.rules.state import Connection
from comity_server.businesses.directory import Business
from comity_server.store.rows import Batch


def draft_of(act: str) -> str:
    """The id of the draft that the text of a held message becomes if it is never delivered."""
    return f"draft_{act[:16]}"


def settle(
    batch: Batch,
    hosted: Callable[[str], Business | None],
    before: Connection,
    after: Connection,
    spent: Collection[str | None],
    now: int,
) -> None:
    """Settles the texts of the messages that are held in `before` and not in `after`. Those in `spent` (delivered, or
    replaced by a newer message) are deleted. The others become drafts at `now` (ms). Rows of texts that were not kept
    match nothing."""
    if not (before.first.held or before.second.held):
        return
    for side in SIDES:
        door, waiting = before.door(side), {held.id for held in after.door(side).held}
        gone = [held.id for held in door.held if held.id not in waiting]
        if not gone or (business := hosted(door.origin)) is None:
            continue
        for act in gone:
            place = {"name": business.name, "id": draft_of(act)}
            if act in spent:
                batch.drop_waiting_text.append(place)
            else:
                batch.hand_text_back.append({**place, "at": now})
