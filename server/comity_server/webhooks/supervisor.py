"""The server's end: starts the sender with the first endpoint, rings when there is news, asks it, and starts it again
when it ends (HOOK-15). Acts pay for one look at a set, and now and then for one byte in a pipe."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiohttp import ClientError

from comity.errors import Refused
from comity_server.businesses.master_key import MasterKey
from comity_server.config import PREFIX, Config
from comity_server.limits.capacity import count_in
from comity_server.limits.shares import Pool
from comity_server.logging import logger
from comity_server.pubsub import Broker
from comity_server.store.business import BusinessRows
from comity_server.unix_socket import request
from comity_server.webhooks.control_protocol import ANOTHER_KEY, LOOK, RELOAD, SOCKET, Answer, Ask, Start, What
from comity_server.webhooks.signatures import PURPOSE

PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a sender that ended is started again; twice as long each time, until one lasts."""
LASTED = 60.0
RUNS_AFTER = 3.0
"""Seconds after which a sender counts as running again: one that cannot start has ended by then."""
RING_AGAIN = 0.02
"""Seconds between two rings."""
STOPS_WITHIN = 5.0
ANSWERS_WITHIN = 30.0
"""Seconds for an answer; an attempt that is waited for may take half of that."""
_LOOK_AGAIN = 0.05
_READS: frozenset[What] = frozenset({"states", "deliveries", "delivery"})
"""Paths of requests that change nothing."""


class Webhooks:
    """See the module. `room` is for requests that wait for the sender. `master` and `ids` are asked for when a sender
    is started."""

    def __init__(
        self,
        config: Config,
        rows: BusinessRows,
        broker: Broker,
        room: Pool,
        master: Callable[[], MasterKey],
        ids: Callable[[], bytes],
    ) -> None:
        self._config = config
        self._rows = rows
        self._broker = broker
        self._room = room
        self._master = master
        self._ids = ids
        self._wanted = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._is_ringing = False
        self._is_stopping = False
        self.ended: int | None = None
        """The exit status of the last sender, until the next one has run for a while."""

    @property
    def pid(self) -> int | None:
        """The process id of the sender, where one runs."""
        return None if self._process is None else self._process.pid

    @asynccontextmanager
    async def run_sender(self) -> AsyncIterator[None]:
        """Watch over the sender for as long as the context lasts, if any endpoint is ever there."""
        if self._config.webhooks_to_loopback:
            logger().warning("WEBHOOKS GO TO THIS MACHINE TOO: who may set up a webhook can reach what listens on it")
        watching = asyncio.create_task(self._watch())
        try:
            await self._listen()
            yield
        finally:
            self._is_stopping = True
            self._broker.watch(frozenset(), self._ring)
            await self._end()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def announce_change(self) -> None:
        """An endpoint was made, changed or removed: everybody must know."""
        await self._listen()
        self._tell(RELOAD)

    async def _listen(self) -> None:
        streams = await self._rows.streams_with_webhooks()
        self._broker.watch(streams, self._ring)
        if streams:
            self._wanted.set()

    # --- telling ----------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        if not self._is_ringing:
            # News of the next moment need no wake-up of their own.
            self._is_ringing = True
            asyncio.get_running_loop().call_later(RING_AGAIN, self._rung)

    def _rung(self) -> None:
        self._is_ringing = False
        self._tell(LOOK)

    def _tell(self, what: bytes) -> None:
        pipe = None if self._process is None else self._process.stdin
        # A sender that starts looks by itself. One that does not read has enough to read already.
        if pipe is not None and not pipe.is_closing() and pipe.transport.get_write_buffer_size() < 1024:
            pipe.write(what)

    async def ask(self, ask: Ask) -> Answer:
        """The sender's answer. Raises its refusal, and Refused("overloaded") if it does not answer, or too many
        requests wait."""
        try:
            with count_in(self._room, "too many wait for the sender of webhooks"):
                async with asyncio.timeout(ANSWERS_WITHIN):
                    answered = await self._ask_sender(msgspec.json.encode(ask), again=ask.what in _READS)
        except (TimeoutError, ClientError):
            raise Refused("overloaded", retry_after=1) from None
        if answered.refused is not None:
            raise Refused(answered.refused, answered.detail, retry_after=answered.retry_after)
        return answered

    async def _ask_sender(self, body: bytes, *, again: bool) -> Answer:
        """The answer of a sender, also of one that is starting: nothing was asked yet. If the sender ends in the
        middle, a request that changes nothing is sent `again`. Raises ClientError, Refused."""
        while True:
            try:
                found = await request(self._config.data, SOCKET, "POST", "/", body)
            except ClientError:
                if not again:
                    raise
                found = None
            if found is not None and found[0] == 200:
                return msgspec.json.decode(found[1], type=Answer)
            if found is not None and found[0] != 503:
                raise Refused("internal")
            await asyncio.sleep(_LOOK_AGAIN)

    # --- the process ------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        await self._wanted.wait()
        pause = PAUSE / 2
        while not self._is_stopping:
            began = time.monotonic()
            status = await self._live()
            if status not in (0, ANOTHER_KEY):
                self.ended = status
            pause = PAUSE if time.monotonic() - began > LASTED else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _live(self) -> int:
        """Start a sender, and wait until it ends; its exit status."""
        # Nothing of this server's settings: the master key may be among them.
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "comity_server.webhooks",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(self._start()) + b"\n")
        self._process = process
        runs = asyncio.get_running_loop().call_later(RUNS_AFTER, self._runs)
        try:
            return await process.wait()
        finally:
            runs.cancel()
            self._process = None

    def _runs(self) -> None:
        self.ended = None

    def _start(self) -> Start:
        config = self._config
        return Start(
            data=str(config.data.resolve()),
            master=self._master().derived(PURPOSE).lines(),
            ids=self._ids(),
            to_loopback=config.webhooks_to_loopback,
            clock_offset_file=_resolve(config.clock_offset_file),
            log_format=config.log_format,
            log_level=config.log_level,
        )

    async def _end(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(STOPS_WITHIN):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _resolve(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
