"""`python -m comity_server.webhooks`: the process that sends webhooks. A server starts it, passes its settings in the
first line of its standard input, and wakes it there. When that input ends, its server is gone, and it ends."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec

from comity_server import logging
from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.clock import StoryClock
from comity_server.data_dir import STORE
from comity_server.store.read_only import ReadOnlyStore
from comity_server.watched_clock import SharedClock
from comity_server.webhooks.control_protocol import ANOTHER_KEY, RELOAD, Start
from comity_server.webhooks.control_server import serve_control
from comity_server.webhooks.delivery_store import FILE, DeliveryStore
from comity_server.webhooks.event_source import EventSource
from comity_server.webhooks.http_client import Post
from comity_server.webhooks.worker import WebhookWorker

LOCK = "webhooks.lock"
_LOOK_AGAIN = 0.05


def main() -> int:
    """Send until the input ends; the exit status."""
    # An interrupt from the terminal is for the server, which then ends this process in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asyncio.run(_run())
    except CannotUnseal:
        # The master key was rotated: the next process gets the new one.
        return ANOTHER_KEY
    return 0


async def _run() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()
    if not line:
        return
    start = msgspec.json.decode(line, type=Start)
    logging.configure(start.log_format, start.log_level)
    data = Path(start.data)
    async with _alone(data):
        if reader.at_eof():
            return
        story = start.clock_offset_file
        clock = SharedClock(data) if story is None else StoryClock(Path(story))
        post = Post(to_loopback=start.to_loopback)
        with closing(ReadOnlyStore(data / STORE)) as store, closing(DeliveryStore(data / FILE)) as records:
            sender = WebhookWorker(EventSource(store, start.ids), records, post, clock, MasterKey.read(start.master))
            try:
                await _send(sender, data, reader)
            finally:
                await post.close()


async def _send(sender: WebhookWorker, data: Path, reader: asyncio.StreamReader) -> None:
    async with serve_control(sender, data):
        running = asyncio.create_task(sender.run())
        told = asyncio.create_task(_listen(sender, reader))
        await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)
        sender.stop()
        await running
        if not told.cancelled() and (error := told.exception()) is not None:
            raise error


async def _listen(sender: WebhookWorker, reader: asyncio.StreamReader) -> None:
    while told := await reader.read(1024):
        if RELOAD in told:
            sender.reload()
        sender.ring()


@asynccontextmanager
async def _alone(data: Path) -> AsyncIterator[None]:
    """Wait until no other sender writes the records: one whose server was killed may still be leaving."""
    file = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                await asyncio.sleep(_LOOK_AGAIN)
        yield
    finally:
        os.close(file)


if __name__ == "__main__":
    sys.exit(main())
