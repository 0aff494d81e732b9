"""The demo's other processes: commands that are run to their end, and the witness."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from comity.transparency.notes import VerifierKey, parse_vkey

READY_WITHIN = 30.0
"""Seconds that a process may take until it is of use."""
ENDED_WITHIN = 20.0


class DidNotHold(Exception):
    """A step of the story ended otherwise than it should."""


def without_settings() -> dict[str, str]:
    """The environment, with nothing in it that is for a server or a wallet of Comity."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("COMITY_")}


async def comity(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a `comity` command in a process and a working folder of its own, and returns its result."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "comity_tools", *map(str, arguments)],
        env=without_settings() if environment is None else environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class WitnessProcess:
    """`comity witness` with a folder and a port of its own, in the story's time. `key` is known once it has started."""

    def __init__(self, folder: Path, clock_file: Path) -> None:
        self.key: VerifierKey
        self.port = free_port()
        self._folder = folder
        self._clock_file = clock_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it takes checkpoints."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *logs: VerifierKey) -> None:
        """Start it, and let it take these logs as well. Raises DidNotHold."""
        known = [it for log in logs for it in ("--log", log.text)]
        self._folder.mkdir(exist_ok=True)
        with (self._folder / "witness.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "comity_tools", "witness"),
                *("--data", self._folder, "--port", str(self.port), "--clock-offset-file", self._clock_file),
                *known,
                env=without_settings(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN):
                lines = [(await self._process.stdout.readline()).decode().strip() for _ in range(2)]
                if lines[1] == self.url:
                    self.key = parse_vkey(lines[0])
                    return
        raise DidNotHold("the witness did not start")

    async def stop(self) -> None:
        """End it, if it is there."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(ENDED_WITHIN):
                await self._process.wait()
