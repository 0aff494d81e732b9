"""Pages of lists of which only some rows are wanted: so many rows are looked at for each, however few fit, and the
cursor says where to go on (BIZ-12)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from comity_server.business.keys import place_of
from comity_server.business.route import Call

MOST_LOOKED_AT = 500
"""Rows that are looked at for one page (INV-11)."""
LAST = 2**62
"""ms: later than every row."""

Row = TypeVar("Row")
Item = TypeVar("Item")


def behind(call: Call, what: str, start: tuple[int, str]) -> tuple[int, str]:
    """(time, id) behind which the list goes on, `start` without a cursor. Raises Malformed."""
    return start if call.query.cursor is None else place_of(call, what)


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
