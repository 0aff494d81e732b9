"""Makes receipts: from memory for entries of the last commits, from the store for older ones (LOG-11)."""

from typing import Protocol

from comity.documents.events import Place
from comity.transparency.merkle import root_of_span
from comity.transparency.receipts import Opening, receipt_text
from comity_server.log.appender import Entered
from comity_server.log.registry import Logs
from comity_server.log.sequencer import Sequencer
from comity_server.log.tiles import LogTiles


class ReceiptStore(Protocol):
    """The queries of receipts."""

    async def entry_opening(self, log: str, idx: int) -> tuple[bytes, bytes, int] | None: ...


class Receipts:
    """Receipts of the entries of all logs."""

    def __init__(self, store: ReceiptStore, logs: Logs, served: LogTiles) -> None:
        self._store = store
        self._logs = logs
        self._served = served

    def at_hand(self, place: Place) -> str | None:
        """The receipt of an entry, None where no checkpoint covers it yet, or it has to be looked for."""
        log = self._logs.get(place.log)
        entered = None if log is None or log.published.size <= place.index else log.recent(place.index)
        if log is None or entered is None:
            return None
        try:
            return _make_receipt(log, entered)
        except KeyError:
            # More was committed since than is remembered.
            return None

    async def of(self, place: Place) -> str | None:
        """The receipt of an entry, None while no checkpoint covers it."""
        log = self._logs.get(place.log)
        if log is None or log.published.size <= place.index:
            return None
        made = self.at_hand(place)
        if made is not None:
            return made
        stored = await self._store.entry_opening(place.log, place.index)
        if stored is None:
            return None
        signed = log.published
        hashes = await self._served.prove_inclusion(log, place.index, signed.size)
        return receipt_text(Opening(*stored), place.index, hashes, signed)


def _make_receipt(log: Sequencer, entered: Entered) -> str:
    """The receipt of a recent entry. The subtrees left of it existed when it was entered, smallest last; those right of
    it were completed since. Raises KeyError."""
    signed = log.published
    size, at, height, left = signed.size, entered.index, 0, len(entered.left)
    hashes: list[bytes] = []
    while 1 << height < size:
        if at & 1:
            left -= 1
            hashes.append(entered.left[left])
        elif (at + 1) << height < size:
            hashes.append(_right_of(log, at + 1, height, size))
        at, height = at >> 1, height + 1
    return receipt_text(entered.opening, entered.index, hashes, signed)


def _right_of(log: Sequencer, at: int, height: int, size: int) -> bytes:
    """The subtree at that place, as far as a tree of that size has it."""
    if (at + 1) << height <= size:
        return log.recent_node(height, at)
    return root_of_span(at << height, size, log.recent_node)
