"""The store as the sender of webhooks reads it, in a process of its own that cannot write.

Each read is short and stands alone, so neither process waits for the other.
"""

from pathlib import Path
from typing import Any

from comity_server.store.business import StoredWebhook
from comity_server.store.rows import News
from comity_server.store.sqlite import SQL
from comity_server.store.sqlite_file import open_read_only


class ReadOnlyStore:
    """The store in the file `path`, which a server has made and may be writing. Raises DatabaseFault."""

    def __init__(self, path: Path) -> None:
        self._raw = open_read_only(path)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def webhooks(self) -> list[StoredWebhook]:
        """Every webhook endpoint, of every business."""
        return [StoredWebhook(*row) for row in self._rows("all_webhooks")]

    def news(self, stream: str, after: int, most: int) -> list[News]:
        """The rows of a stream after the row `after`, oldest first."""
        return [News(*row) for row in self._rows("news_after", stream=stream, after=after, most=most)]

    def next_in_stream(self, stream: str, after: int) -> tuple[int, int] | None:
        """(number, time in ms) of the first row after a place."""
        rows = self._rows("next_in_stream", stream=stream, after=after)
        return rows[0] if rows else None

    def _rows(self, query: str, **given: object) -> list[Any]:
        return self._raw.execute(SQL[query], given).fetchall()
