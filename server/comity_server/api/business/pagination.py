"""Pages of lists, the newest items first, and the cursors that lead to the next page (BIZ-12). A list with filters
looks at a bounded number of rows for each page, however few of them match."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from comity.errors import Malformed
from comity_server.api.business.route import Call
from comity_server.schema import Cursor, Limit, Query

MAX_ROWS_READ = 500
"""The largest number of rows that one page reads (INV-11)."""
BEFORE_ALL, AFTER_ALL = (-1, ""), (2**62, "")
"""Positions before and after every row, as (ms, id)."""

NextCursor = Annotated[
    Cursor, Field(description="Send it back as `cursor` for the next page. Absent on the last page.")
]
Order = Literal["newest", "oldest"]

Row = TypeVar("Row")
Item = TypeVar("Item")


class Page(Query):
    """The page of a list."""

    cursor: Cursor | None = None
    limit: Limit = 100


def page_start(call: Call, what: str, start: tuple[int, str]) -> tuple[int, str]:
    """The position (time in ms, id) after which the page begins; `start` without a cursor. Raises Malformed, also for a
    cursor of another list."""
    if call.query.cursor is None:
        return start
    place = open_cursor(call, f"{what} of {call.business.name}")
    return int.from_bytes(place[:8], "big"), place[8:].decode("ascii")


def open_cursor(call: Call, list_: str) -> bytes:
    """The position in the cursor of the query. Raises Malformed for a cursor of another list."""
    try:
        return call.server.cursors.open(list_, call.query.cursor)
    except Malformed as fault:
        raise Malformed("the cursor is not one of this list", errors=(("/cursor", fault.detail or ""),)) from None


def seal_cursor(call: Call, what: str, at: int, id_: str) -> str:
    """The cursor for the position after the item with this time (ms) and id."""
    return call.server.cursors.seal(f"{what} of {call.business.name}", at.to_bytes(8, "big") + id_.encode("ascii"))


def filter_rows(
    rows: Sequence[Row], limit: int, most: int, show: Callable[[Row], Item | None]
) -> tuple[tuple[Item, ...], int]:
    """(up to `limit` items that `show` makes of the first `most` rows; the number of rows read, 0 if no row follows
    them). `show` returns None for a row that does not match. The caller passes one row more than `most`."""
    items: list[Item] = []
    for looked_at, row in enumerate(rows[:most]):
        if len(items) == limit:
            return tuple(items), looked_at
        if (item := show(row)) is not None:
            items.append(item)
    return tuple(items), most if len(rows) > most else 0
