"""Gathers cosignatures of witnesses on published checkpoints; nothing ever waits for them (LOG-15).

Receipts carry the log's signature alone. The log serves the newest checkpoint that enough witnesses cosigned, as long
as a newer one was published only a moment ago: a log that grows all the time would otherwise never show a cosignature,
since each checkpoint is replaced before the answers arrive.
"""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

from comity.transparency.checkpoints import SignedCheckpoint
from comity_server.log.cosigned_file import CosignedFile
from comity_server.log.recovery import files_of, name_in
from comity_server.log.sequencer import Sequencer
from comity_server.log.tiles import LogTiles
from comity_server.log.witness_client import WitnessAhead, Witnesses
from comity_server.logging import logger

LAG = 2.0
"""Seconds for which a cosigned checkpoint may be served after a newer one was published."""
BETWEEN = 0.5
"""Seconds between two checkpoints that are submitted: cosignatures cost a log that grows all the time next to nothing
then."""
AGAIN = 5.0
"""Seconds after which those that did not cosign a checkpoint are asked again for the same one, and where the clock is
in doubt all are."""


class Cosigning:
    """Gathers cosignatures for the active log, and knows which checkpoint is served."""

    def __init__(self, log: Sequencer, served: LogTiles, witnesses: Witnesses, data: Path, least: int) -> None:
        """`data`: the data folder. `least`: the cosignatures that a checkpoint needs to be served as cosigned."""
        self.witnesses = witnesses
        self.least = least
        self._log = log
        self._served = served
        host = log.origin.partition("/")[0]
        self._file = CosignedFile(files_of(data, name_in(host, log.origin)).cosigned)
        self._newest: SignedCheckpoint | None = None
        """The last submitted checkpoint, with the cosignatures received so far."""
        self._best: SignedCheckpoint | None = None
        """The last one that enough witnesses cosigned."""
        if (kept := self._file.read(log, witnesses)) is not None:
            self._take(kept)
        self._task: asyncio.Task[None] | None = None
        self._gathering: set[asyncio.Task[None]] = set()

    def served_checkpoint(self, log: Sequencer) -> SignedCheckpoint:
        """The checkpoint of a log to serve now."""
        if log is not self._log:
            return log.published
        best = self._best
        if best is not None and log.overtaken_for(best.size) <= LAG:
            return best
        newest = self._newest
        return newest if newest is not None and newest.size == log.published.size else log.published

    def start(self) -> None:
        """Begin to gather, where there are witnesses."""
        if self.witnesses.keys:
            self._task = asyncio.create_task(self._run(), name="cosigning")

    async def stop(self) -> None:
        """Stops, requests under way included."""
        if self._task is not None:
            tasks = [self._task, *self._gathering]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._keep()
        await self.witnesses.close()

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            self._log.changed.clear()
            gathering = asyncio.create_task(self._gather(self._log.published))
            self._gathering.add(gathering)
            gathering.add_done_callback(self._gathering.discard)
            # A witness that hangs must not keep later checkpoints from the others, and a late cosignature counts when
            # it arrives. Each witness has one request at a time, so there are few of these tasks.
            await self._until_changed(gathering)
            await asyncio.sleep(max(0.0, began + BETWEEN - time.monotonic()))

    async def _until_changed(self, gathering: "asyncio.Task[None]") -> None:
        changed = asyncio.create_task(self._log.changed.wait())
        try:
            await asyncio.wait((gathering, changed), return_when=asyncio.FIRST_COMPLETED)
            # A witness that was busy with an earlier checkpoint can get this one as soon as it has answered.
            first = () if changed.done() else tuple(self._gathering - {gathering})
            until = asyncio.FIRST_COMPLETED
            await asyncio.wait((changed, *first), timeout=AGAIN, return_when=until)
        finally:
            changed.cancel()

    async def _gather(self, published: SignedCheckpoint) -> None:
        """Ask for the cosignatures that a checkpoint lacks."""
        known = self._newest if self._newest is not None and self._newest.size == published.size else published
        if self.witnesses.are_needed():
            # A witness that has cosigned it states the time again.
            known = published

        async def prove(old: int, new: int) -> list[bytes]:
            return await self._served.prove_consistency(self._log, old, new)

        try:
            async with aclosing(self.witnesses.gather(known, prove)) as gathered:
                async for got in gathered:
                    self._take(got)
                    await self._keep()
        except WitnessAhead as ahead:
            # Its bare word would let one witness stop a log; a checkpoint under our own signature settles it, unless
            # it is one that was published: anybody may have handed it to the witness before we did.
            if ahead.proof is not None and ahead.size > self._log.published.size:
                self._log.is_behind(ahead.proof, str(ahead))
            elif ahead.proof is None:
                logger().error("witness_ahead", log=self._log.origin, reason=str(ahead))
        except Exception as error:  # what witnesses do must never end the gathering
            logger().error("cosigning_failed", exc_info=error)

    async def _keep(self) -> None:
        """Stores the cosignatures of the newest checkpoint for the next start."""
        if self._newest is None or not self._newest.cosigned:
            return
        try:
            await asyncio.to_thread(self._file.write, self._newest)
        except OSError as fault:
            logger().warning("cosigned_not_kept", log=self._log.origin, reason=fault.strerror)

    def _take(self, got: SignedCheckpoint) -> None:
        if self._newest is None or _worth(got) >= _worth(self._newest):
            self._newest = got
        if len(got.cosignatures) >= self.least > 0 and (self._best is None or _worth(got) >= _worth(self._best)):
            self._best = got


def _worth(signed: SignedCheckpoint) -> tuple[int, int]:
    return signed.size, len(signed.cosigned)
