"""The records of a connection that one side may read, in the order of their times, for wallets whose copy lacks some
(spec/http.md, "An old copy")."""

from typing import Protocol

import msgspec

from comity.http_api import PAGE
from comity_server.cursors import Cursors
from comity_server.reads.connections import Answers, accepted_in
from comity_server.reads.inbox import MOST_BYTES
from comity_server.store.rows import StoredRecord


class RecordStore(Protocol):
    """The reads that this module needs of a store."""

    async def records(self, cid: str, side: str, after: int, most: int) -> list[StoredRecord]: ...


class Records:
    """Reads the records of a connection for one side at a time."""

    def __init__(self, answers: Answers, store: RecordStore, cursors: Cursors) -> None:
        self._answers = answers
        self._store = store
        self._cursors = cursors

    async def page(self, cid: str, did: str, cursor: str | None) -> bytes:
        """The records after the cursor as JSON, for the side with this DID. Raises Refused("not_found"), Malformed."""
        _, side, _ = await self._answers.mine(cid, did)
        list_ = f"records {cid} {side}"
        after = -1 if cursor is None else int.from_bytes(self._cursors.open(list_, cursor), "big")
        items: list[dict[str, str]] = []
        size = 0
        for row in await self._store.records(cid, side, after, PAGE):
            item = _shown(row, side)
            size += sum(map(len, item.values()))
            if items and size > MOST_BYTES:
                break
            items.append(item)
            after = row.at
        place = max(after, 0).to_bytes(8, "big")
        return msgspec.json.encode({"items": items, "cursor": self._cursors.seal(list_, place)})


def _shown(row: StoredRecord, side: str) -> dict[str, str]:
    """The record as the inbox, or the answer to the side, had it (EVENT-4). A held message comes with its delivery."""
    is_own = row.side == side
    if row.kind == "accepted":
        has_act = is_own or accepted_in(row.event).includes_act
    else:
        has_act = row.kind == "delivered" and not is_own
    return {"event": row.event, **({"act": row.act} if has_act and row.act else {})}
