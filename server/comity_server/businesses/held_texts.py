"""The texts of messages that wait: a hold costs the business nothing of what it wrote (SAY-6).

A text that waits is in the table of drafts and is none yet: it is in no list, and cannot be sent a second time. What
becomes of it is written in the commit in which its message stops waiting. Pure: rows are added, nothing is asked.
"""

from collections.abc import Callable, Collection

from comity.documents.types import SIDES
from comity.rules.state import Connection
from comity_server.businesses.directory import Business
from comity_server.store.rows import Batch


def draft_of(act: str) -> str:
    """The id of the draft that the text of a message becomes, should the message never arrive."""
    return f"draft_{act[:16]}"


def settle(
    batch: Batch,
    hosted: Callable[[str], Business | None],
    before: Connection,
    after: Connection,
    spent: Collection[str | None],
    now: int,
) -> None:
    """What becomes of the texts of all messages that wait in `before` and no longer in `after`: those `spent`
    (delivered, or replaced by a newer one) are gone, the others are drafts from `now` (ms) on. Where no text was kept,
    the rows find nothing."""
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
