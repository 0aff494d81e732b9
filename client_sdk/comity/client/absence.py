"""Going away and coming back, in the connections of one wallet (spec/away.md, AWAY-3 to AWAY-6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple

from comity.client.connection.connection import Party
from comity.client.session import Core, Faults
from comity.client.storage.records import AwayMute, Entry
from comity.documents.acts import SignedAct
from comity.errors import Refused
from comity.rules.state import Mute


class WentAway(NamedTuple):
    """Who reads from now on that this wallet is away, and who was left out: muted for longer already (AWAY-4)."""

    told: list[Party]
    left_out: list[Party]


class _MutedForLonger(Exception):
    """This connection has a mute of everything that must not be replaced."""


class Absence:
    """The part of a wallet that goes away; `Wallet` has the connections."""

    _core: Core

    def connections(self) -> list[Party]:
        """Every connection of the wallet."""
        raise NotImplementedError

    async def away(self, until: date, *, parties: Iterable[Party] | None = None, spread: float = 0) -> WentAway:
        """Mutes everything in these connections (all open ones where none are named) until the day `until` begins
        (UTC); the other sides read "away until …".

        `spread` (s): the acts are sent at random moments within this time, so that equal times do not tell anybody
        which connections are one wallet's (AWAY-5). Raises Refused("until_passed") for a day that has begun; and the
        first fault, once all the others are told.
        """
        end = self.end_of_absence(until)
        told, left_out, faults = list[Party](), list[Party](), Faults()
        chosen = self.connections() if parties is None else list(parties)
        async for party in self._one_by_one([it for it in chosen if it.phase == "open"], spread):
            with faults.told_later():
                try:
                    await self._mute(party, end)
                    told.append(party)
                except _MutedForLonger:
                    left_out.append(party)
        faults.tell()
        return WentAway(told, left_out)

    def end_of_absence(self, until: date) -> int:
        """When (s) that day begins. Raises Refused("until_passed") where it has begun."""
        end = int(datetime(until.year, until.month, until.day, tzinfo=UTC).timestamp())
        if end <= self._now():
            raise Refused("until_passed", "who is away comes back on a day that is yet to come")
        return end

    async def back(self, *, spread: float = 0) -> list[Party]:
        """Takes back the mutes that `away` made, and no other (AWAY-6). Returns where."""
        records = self._core.kept.all("away", AwayMute)
        reached, faults = list[Party](), Faults()
        async for party in self._one_by_one(self.absent(), spread):
            with faults.told_later():
                if await self._unmute(party, records[party.cid]):
                    reached.append(party)
                await self._core.kept.keep(("away", party.cid, None))
        faults.tell()
        return reached

    def absent(self) -> list[Party]:
        """The connections in which `away` muted and `back` was not yet: which `back` will look at."""
        records = self._core.kept.all("away", AwayMute)
        return [it for it in self.connections() if it.cid in records]

    async def _one_by_one(self, parties: list[Party], spread: float) -> AsyncIterator[Party]:
        """The connections in an order that says nothing, each at its random moment."""
        drawn = [self._core.randomness(8) for _ in parties]
        moments = sorted(int.from_bytes(it, "big") / 2**64 * spread for it in drawn)
        clock, began = asyncio.get_running_loop().time, asyncio.get_running_loop().time()
        order = sorted(zip((self._core.randomness(8) for _ in parties), parties, strict=True), key=lambda it: it[0])
        for moment, (_, party) in zip(moments, order, strict=True):
            await asyncio.sleep(max(0.0, began + moment - clock()))
            yield party

    async def _mute(self, party: Party, end: int) -> None:
        """Raises _MutedForLonger."""
        replaced: list[Mute] = []

        def compose() -> list[SignedAct]:
            replaced[:] = [it for it in _mutes_of_everything(party) if it.until is None or it.until > self._now()]
            if any(it.until is None or it.until >= end for it in replaced):
                raise _MutedForLonger
            return [party.writing.seal("mute", until=end, why="away")]

        def record(act: SignedAct) -> list[Entry]:
            earlier = self._core.kept.get("away", party.cid, AwayMute)
            before = next((it.until for it in replaced), None)
            if earlier is not None and any(it.id == earlier.mute for it in replaced):
                before = earlier.before
            return [("away", party.cid, AwayMute(act.id, before))]

        await party.writing.write_all(compose, about=record)

    async def _unmute(self, party: Party, record: AwayMute) -> bool:
        """Whether the mute was still there to be taken back."""
        if party.phase != "open":
            return False
        mute = next((it for it in _mutes_of_everything(party) if it.id == record.mute), None)
        if mute is None or mute.until is None or mute.until <= self._now():
            return False
        if record.before is not None and record.before > self._now():
            # What was muted before for other reasons is muted again: coming back opens nothing else.
            await party.mute(until=record.before, shown="end")
        else:
            await party.unmute(mute.id)
        return True

    def _now(self) -> int:
        return self._core.seconds()


def _mutes_of_everything(party: Party) -> list[Mute]:
    return [it for it in party.state.door(party.side).mutes if not it.purposes and not it.channels]
