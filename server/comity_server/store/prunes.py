"""Deletes expired rows (GROW-3, prunes.sql). A read-only connection finds them."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Run = Callable[..., Awaitable[Any]]
"""Runs a function of the raw connection, and more arguments, in the connection's thread."""


DAY = 86_400_000
"""ms."""


class Prune(NamedTuple):
    """A kind of row that is pruned: its retention (ms), the query that finds expired rows, and the statements that
    delete one."""

    table: str
    kept: int
    find: str
    drop: tuple[str, ...]


PRUNES = (
    Prune("idempotent", DAY, "old_idempotent", ("drop_idempotent",)),
    Prune("drafts", 90 * DAY, "old_drafts", ("drop_old_draft",)),
    Prune("proposals", DAY, "old_replaced", ("drop_news_of_half", "drop_proposal")),
    Prune("proposals", 30 * DAY, "old_proposals", ("drop_news_of_half", "drop_proposal")),
    Prune("offers", 90 * DAY, "old_offers", ("drop_news_of_offer", "drop_business_offer", "drop_offer")),
    Prune("counts", 400 * DAY, "old_counts", ("drop_count",)),
)


class OldNews(NamedTuple):
    """The expired rows of some streams: of each stream the last one to delete, and their number; and the stream after
    which the next search begins, None at the end."""

    ends: list[tuple[str, int]]
    rows: int
    behind: str | None


class Prunes:
    """Small deletions, each in a transaction of its own."""

    def __init__(self, sql: Mapping[str, str], look: Run, write: Run) -> None:
        self._sql = sql
        self._look = look
        self._write = write

    async def prune(self, find: str, drop: Sequence[str], before: int, most: int) -> int:
        """Delete up to `most` of the rows that are older than `before` (ms): those that the query `find` answers, each
        by the statements `drop`. How many were found. Raises StoreFailed."""
        given = {"before": before, "most": most}
        rows = await self._look(_rows_by_name, self._sql[find], given)
        if rows:
            await self.drop(drop, [{**row, "before": before} for row in rows])
        return len(rows)

    async def drop(self, statements: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
        """Delete those rows, each by these statements. Raises StoreFailed."""
        await self._write(_each_dropped, [self._sql[name] for name in statements], rows)

    async def drop_api_keys(self, keys: Iterable[tuple[str, str]]) -> None:
        """Delete the API keys of these (business, id). Raises StoreFailed."""
        await self.drop(("drop_api_key",), [{"name": name, "id": id_} for name, id_ in keys])

    async def old_news(self, behind: str, before: int, streams: int, most: int) -> OldNews:
        """The rows from before `before` (ms) in the next streams after that one: about `most` rows. Raises
        StoreFailed."""
        found: OldNews = await self._look(_old_news, self._sql, behind, before, streams, most)
        return found

    async def prune_news(self, ends: Sequence[tuple[str, int]]) -> None:
        """Delete the news of each stream up to that row, which stays to say so. Raises StoreFailed."""
        await self.drop(("drop_news", "mark_pruned"), [{"stream": stream, "n": n} for stream, n in ends])


def _rows_by_name(raw: sqlite3.Connection, sql: str, given: Mapping[str, object]) -> list[dict[str, Any]]:
    cursor = raw.execute(sql, given)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _each_dropped(raw: sqlite3.Connection, statements: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    try:
        raw.execute("BEGIN IMMEDIATE")
        for row in rows:
            for statement in statements:
                raw.execute(statement, row)
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def _old_news(
    raw: sqlite3.Connection, sql: Mapping[str, str], behind: str, before: int, streams: int, most: int
) -> OldNews:
    ends: list[tuple[str, int]] = []
    count = 0
    for _ in range(streams):
        (stream,) = raw.execute(sql["next_stream"], {"after": behind}).fetchone()
        if stream is None:
            return OldNews(ends, count, None)
        rows = raw.execute(sql["first_news"], {"stream": stream, "most": most - count + 1}).fetchall()
        old = [(n, kind) for n, told_at, kind in rows if told_at < before]
        # By itself, the mark that an earlier step left counts for nothing.
        if len(old) > 1 or (old and old[0][1] != "pruned"):
            ends.append((stream, old[-1][0]))
            count += len(old)
        if count >= most:
            # There may be more in this stream.
            return OldNews(ends, count, behind)
        behind = stream
    return OldNews(ends, count, behind)
