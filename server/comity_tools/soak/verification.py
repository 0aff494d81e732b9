"""Reads a server's records, log and receipts as anybody may, and compares them with a ledger."""

import os
import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import NamedTuple

from comity.client.http.server_api import ServerApi
from comity.client.http.transport import Request, Transport, send_with_retries
from comity.client.log.monitor import follow_log
from comity.client.log.monitor_state import MonitorState
from comity.client.log.tile_reader import LogFinding, TileReader, announced_key
from comity.client.log.tree import open_tree
from comity.crypto.keys import Signer, did_of_host, keys_of_document
from comity.encoding import parse_object
from comity.errors import ComityError, Refused, Unreachable
from comity.http_api import RecordBody
from comity_tools.soak.ledger import Ledger

TRY_AGAIN = frozenset({"overloaded", "rate_limited", "internal", "too_slow"})
"""Refusals after which the outcome of an act is unknown."""


def now() -> int:
    """The time in ms."""
    return time.time_ns() // 1_000_000


class Side(NamedTuple):
    """A side of a connection, which may read its records."""

    cid: str
    signer: Signer


class Check:
    """Compares one server with a ledger of its own, repeatedly. Made by `begin`."""

    def __init__(self, home: ServerApi, source: TileReader, ledger: Ledger) -> None:
        self.home = home
        self.ledger = ledger
        self._source = source
        self._followed = MonitorState(ledger.key)
        self._cursors: dict[str, str] = {}

    @classmethod
    async def begin(cls, origin: str, transport: Transport) -> "Check":
        """One for the server at `origin`, with an empty ledger. Raises Unreachable."""
        did = did_of_host(origin.partition("://")[2])
        document = await send_with_retries(transport, lambda: Request("GET", f"{origin}/.well-known/did.json"))
        keys = keys_of_document(did, parse_object(document.body))
        prefix = f"{origin}/log"
        ledger = Ledger(await announced_key(prefix, transport), keys.get)
        home = ServerApi(did, transport, now, os.urandom)
        return cls(home, TileReader(prefix, transport), ledger)

    async def look(self, sides: Iterable[Side], *, goes_on: bool = False) -> None:
        """Read the records of these sides, all of them or those since the last look, and all that is new in the log,
        and note in the ledger what does not fit. Raises Unreachable."""
        for side in sides:
            try:
                records = await self._records(side, goes_on=goes_on)
                self.ledger.compare_records(side.cid, records, goes_on=goes_on)
            except Unreachable:
                raise
            except ComityError as fault:
                self.ledger.wrong.append(f"{side.cid}: its records: {fault}")
        try:
            await self._read_log()
        except LogFinding as finding:
            self.ledger.wrong.append(f"the log: {finding}")

    async def _records(self, side: Side, *, goes_on: bool) -> list[RecordBody]:
        found: list[RecordBody] = []
        cursor = self._cursors.get(side.cid) if goes_on else None
        while True:
            page = await self.home.get_records(side.cid, side.signer, cursor)
            self._cursors[side.cid] = cursor = page.cursor
            if not page.items:
                return found
            found += page.items

    async def _read_log(self) -> None:
        """Every new entry, under a checkpoint that continues all that were read before."""
        report = await follow_log(self._source, self._followed)
        self._followed = report.state
        assert self._followed.seen is not None
        known = self.ledger.read_up_to
        tree = await open_tree(self._source, self._followed.seen)
        if known < tree.size:
            async with aclosing(tree.bundles(known)) as bundles:
                async for bundle in bundles:
                    self.ledger.take_entries(bundle.entries()[max(0, known - bundle.first) :])
        self.ledger.compare_log()


async def send(home: ServerApi, ledger: Ledger, cid: str, act: str) -> bool:
    """Send one act once, and note the answer. False where it is not known what became of it: the same act is to be sent
    again."""
    try:
        answer = await home.submit_act(act)
    except Unreachable:
        return False
    except Refused as refused:
        if refused.code in TRY_AGAIN:
            return False
        ledger.note_refusal(act, refused.code)
        return True
    ledger.acknowledge(cid, act, answer)
    return True
