"""The events of a business for its endpoints: the rows of its stream, rendered."""

from typing import Literal

from comity.lru import LRU
from comity_server.businesses.directory import Business
from comity_server.logging import logger
from comity_server.reads.business_events import BusinessEvent, business_event
from comity_server.store.business import StoredWebhook
from comity_server.store.read_only import ReadOnlyStore
from comity_server.store.rows import News

ALL: Literal["*"] = "*"
"""In the place of types: every one."""
_REMEMBERED = 1024


def wants(of: StoredWebhook, type_: str) -> bool:
    """Whether an endpoint is to get events of that type (HOOK-9)."""
    return of.types == ALL or type_ in of.types.split(" ")


class EventSource:
    """The events in the streams of a store; `ids` is the key from which event ids are derived."""

    def __init__(self, store: ReadOnlyStore, ids: bytes) -> None:
        self._store = store
        self._ids = ids
        self._known = LRU[tuple[str, int], BusinessEvent | None](_REMEMBERED)

    def endpoints(self) -> list[StoredWebhook]:
        """Every endpoint, as it is set up."""
        return self._store.webhooks()

    def after(self, of: StoredWebhook, n: int, most: int) -> list[tuple[int, BusinessEvent | None]]:
        """The events after row `n` of the business's stream, each with its row's number."""
        return [(row.n, self._render(of, row)) for row in self._store.news(of.did, n, most)]

    def at(self, of: StoredWebhook, n: int) -> BusinessEvent | None:
        """The event of row `n`; None if the row is gone."""
        if (of.did, n) in self._known:
            return self._known[of.did, n]
        found = self.after(of, n - 1, 1)
        return found[0][1] if found and found[0][0] == n else None

    def before(self, of: StoredWebhook, since: int, low: int, high: int) -> int:
        """The number of a row between `low` and `high` after which every row is from `since` (ms) or later. Found by
        bisection: times never decrease from row to row."""
        while low < high:
            middle = (low + high) // 2
            row = self._store.next_in_stream(of.did, middle)
            if row is None or row[0] > high or row[1] >= since:
                high = middle
            else:
                low = row[0]
        return low

    def _render(self, of: StoredWebhook, row: News) -> BusinessEvent | None:
        try:
            found = business_event(row, Business(of.name, of.did, {}), self._ids)
        except Exception as error:  # a mistake of ours over one row must not keep all others from being sent
            logger().error("webhook_event_failed", exc_info=error)
            found = None
        self._known.put((of.did, row.n), found)
        return found
