"""Faults to inject: forked servers with a crowd of people and a ledger, disks whose power can be cut, and a tracer that
lets system calls fail."""

import asyncio
import fcntl
import functools
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from comity.client import over_aiohttp
from comity_tools.bench.processes import Process, environment
from comity_tools.bench.workload import Opened
from comity_tools.soak.clients import Crowd
from comity_tools.soak.ledger import Ledger
from comity_tools.soak.server_process import Serving
from comity_tools.soak.verification import Check
from support import crash_points, debian

EXT4_SHUTDOWN = 0x8004587D
"""The ioctl EXT4_IOC_SHUTDOWN."""
WITHOUT_LOG = struct.pack("I", 2)
"""Its flag by which not even the file system's own log is written: as if the power had gone."""
DISK = 48
"""MiB of a disk for a test."""


class Forked:
    """A forked process, with the methods of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked server", timeout or 0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        os.kill(self.pid, sig)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class ForkedServing(Serving):
    """The same server, forked from a process that has imported everything; perhaps with a planted defect."""

    def __init__(self, folder: Path, port: int | None = None, defect: str = "", **settings: str) -> None:
        super().__init__(folder, {f"COMITY_{name.upper()}": value for name, value in settings.items()}, port)
        self.defect = defect
        self.armed = folder.parent / "armed"

    def launch(self) -> Process:
        known = environment(self.folder, self.port, self.settings)
        settings = {name.removeprefix("COMITY_"): value for name, value in known.items() if name.startswith("COMITY_")}
        return Forked(crash_points.begin(self.defect, settings, self.armed, self.log))


@dataclass
class Prepared:
    """A stopped server's folder, and people who are connected there."""

    folder: Path
    port: int
    people: list[Opened]


@dataclass
class Scene:
    """A running server, its people, and what they were told."""

    serving: ForkedServing
    crowd: Crowd
    check: Check

    @property
    def ledger(self) -> Ledger:
        """The ledger of acts that the crowd was told are accepted."""
        return self.check.ledger

    async def comes_back(self) -> None:
        """The server is started where it is not running, what is in doubt is answered, and what is new looked at."""
        await self.crowd.pause()
        if not self.serving.is_running:
            self.serving.start()
        try:
            await self.crowd.settle()
        except TimeoutError:
            said = self.serving.log.read_text(errors="replace")[-3000:]
            raise AssertionError(f"what is in doubt is not answered:\n{said}") from None
        await self.check.look(self.crowd.sides, goes_on=True)

    async def acknowledges(self, count: int) -> None:
        """Return once the server has acknowledged so many more acts of the crowd."""
        enough = self.ledger.acknowledged + count
        while self.ledger.acknowledged < enough:
            await asyncio.sleep(0.01)

    async def holds(self, least: int = 1) -> None:
        """Nothing of what was acknowledged, which is at least so much, is lost, changed or forked."""
        await self.comes_back()
        await self.check.look(self.crowd.sides)
        assert self.ledger.holds, (self.ledger.lost, self.ledger.wrong)
        assert self.ledger.acknowledged >= least


@asynccontextmanager
async def scene(prepared: Prepared, folder: Path, defect: str = "", **settings: str) -> AsyncIterator[Scene]:
    """A server in `folder` that goes on from the prepared one. It is killed at the end."""
    shutil.copytree(prepared.folder, folder / "data", ignore=shutil.ignore_patterns("*.sock"))
    _run("sync", "-f", folder)  # What the copy wrote is no part of the test.
    serving = ForkedServing(folder / "data", prepared.port, defect, **settings)
    serving.start()
    wire = over_aiohttp()
    try:
        check = await Check.begin(serving.origin, wire)
        async with Crowd(check, deepcopy(prepared.people)) as crowd:
            yield Scene(serving, crowd, check)
    finally:
        serving.kill()
        assert wire.close is not None
        await wire.close()


# --- disks


class Disk:
    """A file system of its own in a file, mounted at `at`."""

    def __init__(self, folder: Path) -> None:
        self.at = folder / "disk"
        self._image = folder / "disk.img"

    def make(self) -> None:
        """Make and mount it."""
        with self._image.open("wb") as image:
            image.truncate(DISK << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard", self._image)
        self.at.mkdir()
        self.mount()

    def mount(self) -> None:
        """Mount it; what its own log has of a power cut is repaired."""
        _run("mount", "-o", "loop", self._image, self.at)

    def cut_power(self) -> None:
        """From now on nothing more reaches the disk, and what was not synced is lost with the next mount."""
        fd = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_SHUTDOWN, WITHOUT_LOG)
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Let go of it; whoever has a file open must be gone."""
        for _ in range(100):
            if subprocess.run(["umount", self.at], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)
        _run("umount", self.at)

    def power_on(self) -> None:
        """Mount it after a power cut."""
        self.unmount()
        self.mount()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more can be written for as long as the context lasts, but into room that files have already."""
        filler = self.at / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(512))
        try:
            yield
        finally:
            filler.unlink()


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


@contextmanager
def a_disk(folder: Path) -> Iterator[Disk]:
    """A disk of one's own. Skips the test, with the reason, where there can be none."""
    if (reason := _no_disk()) is not None:
        pytest.skip(reason)
    disk = Disk(folder)
    disk.make()
    try:
        yield disk
    finally:
        disk.unmount()


@functools.cache
def _no_disk() -> str | None:
    if os.geteuid() != 0:
        return "to mount a file system of its own, this test needs root"
    for program, package in (("mkfs.ext4", "e2fsprogs"), ("losetup", "mount"), ("mount", "mount")):
        if debian.find(program, package) is None:
            return f"{program} is not installed (apt-get install {package})"
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        try:
            disk.make()
        except OSError as fault:
            return f"no file system of its own can be mounted here: {fault}"
        try:
            disk.cut_power()
        except OSError as fault:
            return f"the power of a file system cannot be cut here: {fault}"
        finally:
            disk.unmount()
    return None


# --- the system fails


@dataclass
class Failures:
    """The failures that a tracer injected."""

    traced: Path

    @property
    def count(self) -> int:
        """How often it failed the process by now."""
        seen = self.traced.read_text(errors="replace") if self.traced.exists() else ""
        return seen.count("(INJECTED)") + ("killed by SIGKILL" in seen)

    async def come(self, seconds: float = 20.0) -> None:
        """Return once there is one. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not self.count:
                await asyncio.sleep(0.02)


@contextmanager
def failing(pid: int, calls: str, how: str, traced: Path, *files: Path) -> Iterator[Failures]:
    """Some system calls of a process, on these files, end as `how` says (`error=EIO:when=7`), for as long as the
    context lasts; `traced` is a file for what the tracer saw. Skips the test, with the reason, where there is no
    strace, or it may not trace."""
    if (strace := debian.find("strace", "strace")) is None:
        pytest.skip("strace is not installed (apt-get install strace)")
    only = [it for file in files for it in ("-P", os.fspath(file))]
    traced.unlink(missing_ok=True)
    inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:{how}")
    command = [strace, "-f", "-o", os.fspath(traced), *inject, *only, "-p", str(pid)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    failures = Failures(traced)
    try:
        told = tracer.stderr.readline()
        if "attached" not in told:
            pytest.skip(f"strace may not trace here: {told.strip()}")
        yield failures
    finally:
        with suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)
