"""Figures of the process as a whole: how soon it is ready, and how much memory it takes when idle."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from comity_tools.bench.processes import comity_server, environment, free_port, memory_of
from comity_tools.bench.result import BenchFailed, Row, Share, Size

BARE = "import aiohttp, nacl"
SETTLE = 0.5
"""Seconds between being ready and being idle."""


def start(folder: Path, size: Size) -> list[Row]:
    """Starts with a store that exists, first starts, and bare imports, in turn."""
    port = free_port()
    made, _ = _start(folder / "made", port), _import()
    again: list[float] = []
    first: list[float] = []
    bare: list[float] = []
    share = Share()
    for number in range(size.starts):
        again.append(_start(folder / "made", port))
        bare.append(_import())
        first.append(_start(folder / f"new-{number}", port))
        bare.append(_import())
    taken = share.value()
    shutil.rmtree(folder, ignore_errors=True)
    baseline_what = f'python -c "{BARE}", start to end'
    return [
        Row(name, what, statistics.median(times), "s", statistics.median(bare), baseline_what, "less", taken, {})
        for name, what, times in (
            ("start", "`comity serve` on a store that exists, from its start until /readyz answers 200", again),
            ("first_start", "the same in an empty folder: key, store and schema are made", [*first, made]),
        )
    ]


def _start(folder: Path, port: int) -> float:
    folder.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with comity_server(folder, port):
        return time.perf_counter() - began


def _import() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE], check=True, timeout=60, env=environment(Path(os.devnull), 1))
    return time.perf_counter() - began


def idle_memory(folder: Path) -> Row:
    """A server that has just become ready."""
    share = Share()
    with comity_server(folder, free_port()) as child:
        time.sleep(SETTLE)
        figure = child.memory()
    return Row(
        name="idle_memory",
        what="what is in memory (RSS) of `comity serve` when it is ready and has nothing to do",
        figure=figure,
        unit="MB",
        baseline=_bare_memory(),
        baseline_what=f'python -c "{BARE}"',
        better="less",
        client_cpu_share=share.value(),
        details={},
    )


def _bare_memory() -> float:
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys; {BARE}; print(1, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(Path(os.devnull), 1),
    ) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise BenchFailed("python could not import what the baseline needs")
        return memory_of(process.pid)
