"""A monitor that checks the served log from outside, with only the log's key and the witness's."""

import asyncio
import time

from comity.client import over_aiohttp
from comity.client.log.monitor import Report, follow_log, open_served
from comity.client.log.monitor_state import MonitorState
from comity.client.log.tile_reader import LogFinding, TileReader
from comity.transparency.checkpoints import Policy, SignedCheckpoint
from comity.transparency.notes import VerifierKey
from comity.transparency.tiles import bundles_of, tiles_of

COSIGNED_WITHIN = 20.0
"""Seconds in which a witness that is there must have cosigned."""


class LogMonitor:
    """Follows one log for as long as the story lasts."""

    def __init__(self, url: str, log: VerifierKey, witness: VerifierKey) -> None:
        self.policy = Policy(1, (witness,))
        self._transport = over_aiohttp()
        self._source = TileReader(url, self._transport)
        self._kept = MonitorState(log)

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._transport.close is not None:
            await self._transport.close()

    async def check(self) -> Report:
        """Checks the new entries of the log, and that it continues everything checked before. Raises LogFinding,
        Unreachable."""
        report = await follow_log(self._source, self._kept)
        self._kept = report.state
        return report

    async def wait_for_cosignature(self, size: int) -> SignedCheckpoint:
        """The served checkpoint, once it covers so many entries and the witness cosigned it. Raises TimeoutError."""
        until = time.monotonic() + COSIGNED_WITHIN
        while time.monotonic() < until:
            try:
                signed = open_served(await self._source.checkpoint(), self._kept, self.policy)
            except LogFinding as finding:
                if finding.code != "too_few_witnesses":
                    raise
            else:
                if signed.size >= size:
                    return signed
            await asyncio.sleep(0.1)
        raise TimeoutError(f"no cosigned checkpoint of {size} entries")

    async def copy(self, signed: SignedCheckpoint) -> dict[str, bytes]:
        """Path → bytes of all that is served of this checkpoint's tree: what a static file server needs to serve it."""
        tiles = [*tiles_of(signed.size), *bundles_of(signed.size)]
        return {"checkpoint": signed.raw.encode(), **{tile.path: await self._source.tile(tile) for tile in tiles}}
