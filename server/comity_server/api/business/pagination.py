"""Pages of lists, and the cursors that say where they go on (BIZ-12). Of a list of which only some rows are wanted, so
many rows are looked at for each page, however few fit."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from comity_server.api.business.route import Call
from comity_server.schema import Cursor, Limit, Query

MOST_LOOKED_AT = 500
"""Rows that are looked at for one page (INV-11)."""
FIRST, LAST = (-1, ""), (2**62, "")
"""Places before and behind every row, as (ms, id)."""

Row = TypeVar("Row")
Item = TypeVar("Item")


class Page(Query):
    """Where a list goes on, and how much of it is wanted."""

    cursor: Cursor | None = None
    limit: Limit = 100


def behind(call: Call, what: str, start: tuple[int, str]) -> tuple[int, str]:
    """(time in ms, id) behind which the business's list goes on, `start` without a cursor. Raises Malformed, also for
    the cursor of another list."""
    if call.query.cursor is None:
        return start
    place = call.server.cursors.open(f"{what} of {call.business.name}", call.query.cursor)
    return int.from_bytes(place[:8], "big"), place[8:].decode("ascii")


def cursor_of(call: Call, what: str, at: int, id_: str) -> str:
    """The cursor behind the item of that time (ms) and id."""
    return call.server.cursors.seal(f"{what} of {call.business.name}", at.to_bytes(8, "big") + id_.encode("ascii"))


def sift(
    rows: Sequence[Row], limit: int, most: int, show: Callable[[Row], Item | None]
) -> tuple[tuple[Item, ...], int]:
    """(up to `limit` items of the first `most` rows, those that `show` makes none of left out; how many rows were
    looked at, 0 where nothing follows them). The caller reads one row more than `most`."""
    items: list[Item] = []
    for looked_at, row in enumerate(rows[:most]):
        if len(items) == limit:
            return tuple(items), looked_at
        if (item := show(row)) is not None:
            items.append(item)
    return tuple(items), most if len(rows) > most else 0
