"""A wallet in a process of its own, which is killed while it acts; perhaps with a planted defect.

The process notes each accepted act in a file at once, as a person would remember it.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from comity.client import Wallet
from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.frames import RawEntry
from comity.errors import ComityError
from support import crash_points
from support.sdk_world import SdkWorld

READY = "ready"


class WalletProcess:
    """The wallet `name` of a world, at work in another process; `what` it does is a name in `WORK`."""

    def __init__(self, world: SdkWorld, name: str, what: str, *arguments: str, defect: str = "") -> None:
        self._notes = world.folder / f"{name}.notes"
        self._notes.write_text("")
        given = (what, str(world.folder / name), str(world.host.folder / "clock"), self._notes, defect, arguments)
        self._process: BaseProcess = crash_points.FORK.Process(target=_run, args=given, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it is there."""
        return self._process.is_alive()

    @property
    def notes(self) -> list[str]:
        """All that it noted."""
        return self._notes.read_text().splitlines()

    @property
    def said(self) -> list[str]:
        """The acts of which it was told that they were accepted."""
        return [line for line in self.notes if line != READY and not line.startswith("!")]

    async def notes_so_many(self, count: int, seconds: float = 60.0) -> None:
        """Return once it has noted so many lines, or is gone."""
        async with asyncio.timeout(seconds):
            while len(self.notes) < count and self.is_running:
                await asyncio.sleep(0.002)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join(20)


def _run(what: str, path: str, offset: str, notes: Path, defect: str, arguments: tuple[str, ...]) -> None:
    file = os.open(notes, os.O_WRONLY | os.O_APPEND)

    def note(line: str) -> None:
        os.write(file, f"{line}\n".encode())

    async def work() -> None:
        async with Wallet.open(path, identity=arguments[0], clock=clock) as mia:
            note(READY)
            await WORK[what](mia, note, *arguments[1:])

    def clock() -> int:
        return time.time_ns() // 1_000_000 + int(Path(offset).read_text())

    if defect:
        DEFECTS[defect]()
    asyncio.run(work())


async def _act(mia: Wallet, note: Callable[[str], None]) -> None:
    """Remembers little things, and mutes now and then, as fast as it is answered."""
    party = mia.connections()[0]
    number = 0
    while True:
        number += 1
        try:
            # Without words, of which nobody may say without end.
            await party.remember(f"thing_{number % 5}")
            if number % 7 == 0:
                await party.mute(hours=1 + number % 50)
        except ComityError as fault:
            note(f"! {fault}")
            return
        if mia.write_error is not None:
            # A "no" is sent even where it cannot be kept, and the wallet says so.
            note(f"! {mia.write_error}")
            return
        note(party.state.second.head)


async def _accept(mia: Wallet, _note: Callable[[str], None], link: str) -> None:
    await mia.accept(link)


WORK: dict[str, Any] = {"acts": _act, "accepts": _accept}


def _writes_later() -> None:
    write = WalletFile.write

    def later(self: WalletFile, entries: Iterable[RawEntry]) -> None:
        batch = list(entries)
        self.apply_unwritten(batch)
        threading.Timer(0.1, write, (self, batch)).start()

    WalletFile.write = later  # type: ignore[method-assign]


def _syncs_nothing() -> None:
    os.fdatasync = os.fsync = lambda _fd: None  # type: ignore[assignment]


DEFECTS = {"it acknowledges before it writes": _writes_later, "it does not sync": _syncs_nothing}
"""What a harness must notice before its silence counts."""


@contextmanager
def on_a_disk(world: SdkWorld, name: str, disk: Path) -> Iterator[None]:
    """The file of a closed wallet lies on that disk for as long as the context lasts."""
    here, there = world.folder / name, disk / name
    there.write_bytes(here.read_bytes())
    here.unlink()
    here.symlink_to(there)
    fd = os.open(there, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    os.sync()
    try:
        yield
    finally:
        data = there.read_bytes()
        here.unlink()
        here.write_bytes(data)
