"""The server under test as a process of its own, which can be killed, stopped and started again in its folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from comity.transparency.notes import VerifierKey
from comity_tools.bench.processes import SERVE, Child, Process, environment, free_port
from comity_tools.bench.result import BenchFailed

GONE_WITHIN = 30.0
"""Seconds within which a process that was killed or told to end must be gone."""


class Serving:
    """`comity serve` in `folder`, on a port of its own for as long as this object lives."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.origin = f"http://localhost:{self.port}"
        self.settings = {"COMITY_STOP_TIMEOUT": "2", **(settings or {})}
        self._process: Process | None = None

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def process(self) -> Process:
        """The process, running or gone."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def child(self) -> Child:
        """The process as the bench measures it."""
        return Child(self.process, self.port)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> Process:
        """Start the process, and wait for nothing."""
        with self.log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", *SERVE],
                env=environment(self.folder, self.port, self.settings),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip

    def start(self) -> None:
        """Start the process, and return once it answers. Raises BenchFailed."""
        self._process = self.launch()
        self.child.wait_until_answers("/readyz", self.log)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it as a system does that runs out of memory."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(GONE_WITHIN)

    def kill_if_running(self) -> None:
        """Kills the process if it runs."""
        if self.is_running:
            self.kill()

    def end(self) -> int:
        """Tell it to end, as an operator does; the exit code. Raises TimeoutExpired."""
        if self.is_running:
            self.send(signal.SIGTERM)
        return self.process.wait(GONE_WITHIN)

    def children(self) -> list[int]:
        """The processes that it started: that of the webhooks."""
        return children_of(self.process.pid)


class Witnessing:
    """`comity witness` for one log, which can be killed and started again in its folder."""

    def __init__(self, folder: Path, log: VerifierKey) -> None:
        self._folder = folder
        self._log = log
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.as_setting = ""
        """Its value in `COMITY_WITNESSES`."""

    def start(self) -> None:
        """Start it, and return once it answers. Raises BenchFailed."""
        place = ("--data", str(self._folder), "--port", str(self._port), "--log", self._log.text)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "comity_tools", "witness", *place],
            env=environment(self._folder, self._port),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        answers = [self._process.stdout.readline().decode().strip() for _ in range(2)]
        if not answers[1]:
            raise BenchFailed("the witness did not start")
        self.as_setting = " ".join(answers)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(GONE_WITHIN)
            assert self._process.stdout is not None
            self._process.stdout.close()


def children_of(pid: int) -> list[int]:
    """The ids of the processes that one started, in any of its threads."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def kill_process(pid: int) -> None:
    """Kill a process that another one waits for, and return once it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + GONE_WITHIN
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.01)
