"""People who send acts one after the other, each on a chain of her own, and note every answer in the ledger.

An act without an answer is sent again in the same bytes (ACT-13). So an act that the server lost, or accepted twice,
shows as a refusal of the next one.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.server_api import ServerApi
from comity.client.http.transport import Transport
from comity_tools.bench.over_http import create_testbed
from comity_tools.bench.processes import Child
from comity_tools.bench.result import QUICK
from comity_tools.bench.workload import Opened, small_acts
from comity_tools.soak.verification import Check, Side, now, send

PATIENCE = 0.2
"""Seconds for which a request is tried again before its act counts as in doubt."""
PAUSE = 0.05
"""Seconds between two tries of an act that is in doubt."""
_WITHOUT_END = 1 << 62


@dataclass(slots=True)
class Person:
    """A person with one connection, and the act that waits for its answer."""

    opened: Opened
    waiting: str | None = None

    @property
    def side(self) -> Side:
        """The person's side of the connection."""
        return Side(self.opened.cid, self.opened.person)


class Crowd:
    """See the module. Use as an async context."""

    def __init__(self, check: Check, people: Sequence[Opened]) -> None:
        wire = over_aiohttp()
        self._transport = Transport(wire.send, wire.stream, wire.close, patience=PATIENCE)
        self._home = ServerApi(check.home.did, self._transport, now, os.urandom)
        self._ledger = check.ledger
        self._people = [Person(opened) for opened in people]
        self._tasks: list[asyncio.Task[None]] = []
        self._is_acting = False

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pause()
        assert self._transport.close is not None
        await self._transport.close()

    @property
    def sides(self) -> list[Side]:
        """The sides whose records are compared with the ledger."""
        return [person.side for person in self._people]

    def act(self) -> None:
        """Starts all people: each sends the next act as soon as the last one is answered."""
        self._is_acting = True
        self._tasks = [asyncio.create_task(self._live(person)) for person in self._people]

    async def pause(self) -> None:
        """Stops sending new acts; acts that were sent may stay in doubt."""
        self._is_acting = False
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def settle(self, seconds: float = 60.0) -> None:
        """Sends the acts in doubt until they are answered. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            for person in self._people:
                while person.waiting is not None:
                    await self._send(person)

    async def _live(self, person: Person) -> None:
        acts = small_acts(person.opened, _WITHOUT_END)
        while self._is_acting:
            if person.waiting is None:
                person.waiting = next(acts)
            await self._send(person)

    async def _send(self, person: Person) -> None:
        assert person.waiting is not None
        if await send(self._home, self._ledger, person.opened.cid, person.waiting):
            person.waiting = None
        else:
            await asyncio.sleep(PAUSE)


def people_of(folder: Path, child: Child, count: int) -> list[Opened]:
    """So many people who are connected with a new business of a running server. Blocks."""
    return create_testbed(folder, child, QUICK).take(count)
