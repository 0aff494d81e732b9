"""Absence: mutes every connection of a wallet until a day, and unmutes on return (spec/away.md, AWAY-3 to AWAY-6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple

from comity.client.connection.connection import Connection
from comity.client.session import Faults, Session
from comity.client.storage.records import AwayMute, Entry
from comity.documents.acts import SignedAct
from comity.errors import Refused
from comity.rules.state import Mute


class AwayResult(NamedTuple):
    """The connections in which `go_away` announced the absence, and those it skipped because they are muted for longer
    already (AWAY-4)."""

    reached: list[Connection]
    skipped: list[Connection]


class _MutedForLonger(Exception):
    """The connection has a longer mute of everything, which must not be replaced."""


class Absence:
    """The part of a wallet that announces an absence. `Wallet` supplies the connections."""

    _session: Session

    def connections(self) -> list[Connection]:
        """Every connection of the wallet."""
        raise NotImplementedError

    async def go_away(
        self, until: date, *, connections: Iterable[Connection] | None = None, spread: float = 0
    ) -> AwayResult:
        """Mutes everything in these connections (default: all open ones) until the day `until` begins (UTC). The other
        sides read "away until …".

        `spread` (s): the acts are sent at random moments within this time, so that equal times do not reveal which
        connections belong to one wallet (AWAY-5). Raises Refused("until_passed") for a day that has begun; and the
        first fault, after all other connections were tried.
        """
        end = self.end_of_absence(until)
        reached, skipped, faults = list[Connection](), list[Connection](), Faults()
        chosen = self.connections() if connections is None else list(connections)
        async for connection in self._stagger([it for it in chosen if it.phase == "open"], spread):
            with faults.collect():
                try:
                    await self._mute(connection, end)
                    reached.append(connection)
                except _MutedForLonger:
                    skipped.append(connection)
        faults.raise_first()
        return AwayResult(reached, skipped)

    def end_of_absence(self, until: date) -> int:
        """The time (s) at which that day begins. Raises Refused("until_passed") for a day that has begun."""
        end = int(datetime(until.year, until.month, until.day, tzinfo=UTC).timestamp())
        if end <= self._now():
            raise Refused("until_passed", "an absence must end in the future")
        return end

    async def come_back(self, *, spread: float = 0) -> list[Connection]:
        """Ends the mutes that `go_away` made, and no others (AWAY-6). Returns the connections that were unmuted."""
        records = self._session.records.all("away", AwayMute)
        reached, faults = list[Connection](), Faults()
        async for connection in self._stagger(self.away_connections(), spread):
            with faults.collect():
                if await self._unmute(connection, records[connection.cid]):
                    reached.append(connection)
                await self._session.records.store(("away", connection.cid, None))
        faults.raise_first()
        return reached

    def away_connections(self) -> list[Connection]:
        """The connections that `go_away` muted and `come_back` has not handled yet."""
        records = self._session.records.all("away", AwayMute)
        return [connection for connection in self.connections() if connection.cid in records]

    async def _stagger(self, connections: list[Connection], spread: float) -> AsyncIterator[Connection]:
        """Yields the connections in random order, each at a random moment within `spread` seconds."""
        drawn = [self._session.randomness(8) for _ in connections]
        moments = sorted(int.from_bytes(it, "big") / 2**64 * spread for it in drawn)
        clock, began = asyncio.get_running_loop().time, asyncio.get_running_loop().time()
        order = sorted(
            zip((self._session.randomness(8) for _ in connections), connections, strict=True), key=lambda it: it[0]
        )
        for moment, (_, connection) in zip(moments, order, strict=True):
            await asyncio.sleep(max(0.0, began + moment - clock()))
            yield connection

    async def _mute(self, connection: Connection, end: int) -> None:
        """Raises _MutedForLonger."""
        replaced: list[Mute] = []

        def compose() -> list[SignedAct]:
            replaced[:] = [it for it in _mutes_of_everything(connection) if it.until is None or it.until > self._now()]
            if any(it.until is None or it.until >= end for it in replaced):
                raise _MutedForLonger
            return [connection.queue.sign_act("mute", until=end, why="away")]

        def record(act: SignedAct) -> list[Entry]:
            earlier = self._session.records.get("away", connection.cid, AwayMute)
            before = next((it.until for it in replaced), None)
            if earlier is not None and any(it.id == earlier.mute for it in replaced):
                before = earlier.before
            return [("away", connection.cid, AwayMute(act.id, before))]

        await connection.queue.send_all(compose, about=record)

    async def _unmute(self, connection: Connection, record: AwayMute) -> bool:
        """Returns whether the mute was still in force and was ended."""
        if connection.phase != "open":
            return False
        mute = next((it for it in _mutes_of_everything(connection) if it.id == record.mute), None)
        if mute is None or mute.until is None or mute.until <= self._now():
            return False
        if record.before is not None and record.before > self._now():
            # An earlier mute for other reasons is restored: coming back must not end it.
            await connection.mute(until=record.before, shown="end")
        else:
            await connection.unmute(mute.id)
        return True

    def _now(self) -> int:
        return self._session.seconds()


def _mutes_of_everything(connection: Connection) -> list[Mute]:
    return [mute for mute in connection.state.door(connection.side).mutes if not mute.purposes and not mute.channels]
