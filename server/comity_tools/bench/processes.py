"""The processes that are measured. Each is started here, on loopback and in a folder of its own, and ended here."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from comity_server.errors import NotPossible
from comity_server.operator import admin_socket
from comity_server.operator.commands import CREATE, KeyToPublish
from comity_tools.bench.result import BenchFailed

READY_WITHIN = 30.0
"""Seconds that a child may take until it answers."""
ENDED_WITHIN = 15.0
"""Seconds that a child may take to end when told to; then it is killed."""
SERVE = ("comity_tools", "serve")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(Protocol):
    """A process that was started here, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Child:
    """A process of ours that listens on a port of 127.0.0.1."""

    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self.port = port

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU time that it took so far; 0 where the system does not tell."""
        return cpu_of(self.pid)

    def memory(self) -> float:
        """The resident set (RSS), in MB of 2^20 bytes."""
        return memory_of(self.pid)

    def wait_until_answers(self, path: str, log: Path | None = None) -> None:
        """Return as soon as GET `path` is answered with 200. Raises BenchFailed."""
        until = time.monotonic() + READY_WITHIN
        request = f"GET {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nConnection: close\r\n\r\n".encode()
        while time.monotonic() < until and self._process.poll() is None:
            if _answers(self.port, request):
                return
            time.sleep(0.003)
        last = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log is not None else ""
        raise BenchFailed(f"a child process did not start\n{last}")

    def end(self) -> None:
        """Tell it to end; kill it if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(ENDED_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as talk:
            talk.sendall(request)
            return talk.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def cpu_of(pid: int) -> float:
    """Seconds of CPU time that a process took so far; 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The name in brackets may hold spaces; user and system time are the 12th and 13th field behind it.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_of_children(pid: int) -> float:
    """Seconds of CPU time of all processes that a process started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(cpu_of(int(child)) for child in children)


def memory_of(pid: int) -> float:
    """The resident set of a process, in MB of 2^20 bytes."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True, timeout=10)
    return int(told.stdout) / 1024


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(folder: Path, port: int, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a server, without the caller's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("COMITY_")}
    return {
        **kept,
        "COMITY_DATA": str(folder),
        "COMITY_HOST": "127.0.0.1",
        "COMITY_PORT": str(port),
        "COMITY_OPERATOR": "bench",
        # All of its people have one address.
        "COMITY_ADDRESS_RATE": "1000000000",
        "COMITY_ADDRESS_OPENINGS": "1000000000",
        "COMITY_LOG_FORMAT": "json",
        "COMITY_LOG_LEVEL": "warning",
        **(settings or {}),
    }


@contextmanager
def comity_server(
    folder: Path, port: int, module: tuple[str, ...] = SERVE, settings: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """`comity serve` with its store in `folder`, ready; or another module that serves. `settings`: more of its
    environment."""
    log = folder.with_name(folder.name + ".log")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=environment(folder, port, settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    child = Child(process, port)
    try:
        child.wait_until_answers("/readyz", log)
        yield child
    finally:
        child.end()


def create_business(folder: Path, name: str, did_key: str) -> None:
    """Let the server of that folder publish a business's key. Raises BenchFailed."""
    try:
        asyncio.run(admin_socket.ask(folder, CREATE, KeyToPublish(name, did_key)))
    except (NotPossible, OSError) as fault:
        raise BenchFailed(f"no business could be made: {fault}") from None


def create_api_key(folder: Path, port: int, name: str) -> str:
    """`comity business key create`: an owner's. Raises BenchFailed."""
    made = subprocess.run(
        [sys.executable, "-m", "comity_tools", "business", "key", "create", name],
        env=environment(folder, port),
        capture_output=True,
        check=False,
        timeout=60,
    )
    if made.returncode != 0:
        raise BenchFailed(f"no API key could be made: {made.stderr.decode(errors='replace')[-500:]}")
    return made.stdout.decode().split()[-1]


def bare_server(answer_size: int) -> AbstractContextManager[Child]:
    """The baseline: aiohttp that reads a body and answers JSON of that size, and nothing else."""
    return _run_bench_module("baseline_server", str(answer_size))


def endpoint() -> AbstractContextManager[Child]:
    """An endpoint for webhooks."""
    return _run_bench_module("webhook_sink")


@contextmanager
def _run_bench_module(module: str, *arguments: str) -> Iterator[Child]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", f"comity_tools.bench.{module}", str(port), *arguments],
        env=environment(Path(os.devnull), port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    child = Child(process, port)
    try:
        child.wait_until_answers("/")
        yield child
    finally:
        child.end()
