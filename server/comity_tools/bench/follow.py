"""The cost of following a log, beside the cost of the hashing alone.

As a program, this module is the processes of the measurement: `serve PORT FOLDER` serves a folder, `follow URL VKEY`
follows the log at a URL and prints its cost.
"""

import asyncio
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.transport import Request, Response, Transport
from comity.client.log.monitor import follow_log
from comity.client.log.monitor_state import MonitorState
from comity.client.log.tile_reader import TileReader
from comity.client.log.tree import leaves_of, top_of
from comity.crypto.keys import SigningKey
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.entries import LENGTH, VERSION, Kind
from comity.transparency.merkle import root_of
from comity.transparency.notes import ED25519, NoteSigner, VerifierKey, parse_vkey
from comity.transparency.tiles import HASH, WIDTH, Tile, bundles_of, node_of, tile_of
from comity_tools.bench.processes import Child, environment, free_port, memory_of
from comity_tools.bench.result import BenchFailed, Row, Share, Size

ORIGIN = "localhost/log"
SIGNER = NoteSigner(ORIGIN, ED25519, SigningKey(bytes(range(32))))
_ENTRY = struct.Struct(">HBBBII")
# Mostly acts and deliveries; a mute with its end in every bundle, so that the quick way is not the only one taken.
_KINDS = (Kind.ACT, Kind.DELIVERED, Kind.DELIVERED, Kind.ACT, Kind.PRIVATE, Kind.DELIVERED, Kind.ACT, Kind.MUTE_ALL)


def measure_follow(folder: Path, size: Size) -> Row:
    """A whole log of `size.entries`, followed in this process out of files, and once by another one over HTTP."""
    write_log(folder, size.entries)
    # Imports at the first request must not count.
    write_log(folder / "small", WIDTH)
    asyncio.run(_measure_once(folder / "small", WIDTH))
    figures: list[float] = []
    baselines: list[float] = []
    share = Share()
    for _ in range(max(1, size.rounds // 2)):
        cpu, hashing = asyncio.run(_measure_once(folder, size.entries))
        figures.append(cpu)
        baselines.append(hashing)
    client = share.value()
    over_http, memory = _over_http(folder)
    figure, baseline = statistics.median(figures), statistics.median(baselines)
    return Row(
        name="follow",
        what=f"a log of {size.entries:,} entries: every tile, bundle and entry read from files and checked (CPU time)",
        figure=figure,
        unit="s",
        baseline=baseline,
        baseline_what="hashlib over as many leaves and nodes, in turn with it (CPU time)",
        better="less",
        client_cpu_share=client,
        details={
            "over_http_s": over_http,
            "over_http_ratio": over_http / baseline,
            "over_http_peak_mb": memory,
        },
    )


async def _measure_once(folder: Path, size: int) -> tuple[float, float]:
    """Seconds of CPU time of following, and of hashing as much. Raises BenchFailed."""
    hashing = 0.0
    hashed = 0
    entries = [os.urandom(LENGTH) for _ in range(WIDTH)]

    def hash_in_step(done: int, size: int) -> None:
        # In pieces between: a machine that changes its speed changes it for both.
        nonlocal hashing, hashed
        if done - hashed >= 32 * WIDTH or done == size:
            began = time.process_time()
            _hash(entries, done - hashed)
            hashing += time.process_time() - began
            hashed = done

    began = time.process_time()
    report = await follow_log(
        TileReader("http://localhost/log", from_files(folder)), MonitorState(SIGNER.verifier), progress=hash_in_step
    )
    cpu = time.process_time() - began - hashing
    if report.new != size:
        raise BenchFailed(f"{report.new} of {size} entries were followed")
    return cpu, hashing


def _hash(entries: list[bytes], number: int) -> None:
    """Hash so many leaves, and the nodes over them."""
    for _ in range(number // WIDTH):
        row = [sha256(b"\0" + entry).digest() for entry in entries]
        while len(row) > 1:
            row = [sha256(b"\1" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]


def from_files(folder: Path) -> Transport:
    """A transport that answers requests below `/log/` from a folder."""

    async def send(request: Request) -> Response:
        try:
            data = (folder / request.url.partition("/log/")[2]).read_bytes()
        except OSError:
            return Response(404, {}, b"")
        return Response(200, {}, data)

    return Transport(send)


# --- a log


def write_log(folder: Path, size: int) -> None:
    """Put a log of so many entries into a folder, as it is served."""
    rows: list[bytes] = []
    for tile in bundles_of(size):
        data = _bundle(tile)
        _write(folder, tile, data)
        _grow(folder, rows, tile.number, leaves_of(tile, data))
    for level, row in enumerate(rows):
        if row:
            number = (size >> 8 * level) // WIDTH
            _write(folder, Tile(level, number, len(row) // HASH), row)

    def node(height: int, index: int) -> bytes:
        return node_of(height, index, rows[tile_of(height, index, size).level])

    checkpoint = Checkpoint(ORIGIN, size, root_of(size, node))
    (folder / "checkpoint").write_text(sign_checkpoint(checkpoint, SIGNER).raw, encoding="utf-8")


def _bundle(tile: Tile) -> bytes:
    entries: list[bytes] = []
    hidden = os.urandom(48 * tile.width)
    for at in range(tile.width):
        kind = _KINDS[at % len(_KINDS)]
        side = 0 if kind is Kind.PRIVATE else 1 + at % 2
        until = 480_000 if kind is Kind.MUTE_ALL else 0
        head = _ENTRY.pack(LENGTH, VERSION, kind, side, 29_000_000 + tile.number, until)
        entries.append(head + hidden[48 * at : 48 * (at + 1)])
    return b"".join(entries)


def _grow(folder: Path, rows: list[bytes], number: int, row: bytes) -> None:
    """Adds the hashes of one tile to the tree. A full row is written, and its hash goes to the level above."""
    for level in range(64):
        if level == len(rows):
            rows.append(b"")
        rows[level] += row
        if len(rows[level]) < WIDTH * HASH:
            return
        _write(folder, Tile(level, number), rows[level])
        row, rows[level], number = top_of(rows[level]), b"", number // WIDTH


def _write(folder: Path, tile: Tile, data: bytes) -> None:
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# --- over HTTP


def _over_http(folder: Path) -> tuple[float, float]:
    """Seconds of CPU time and the most memory (MB) of a process that follows the log over HTTP. Raises BenchFailed."""
    with _serve_folder(folder) as server:
        url = f"http://127.0.0.1:{server.port}/log"
        command = [sys.executable, "-m", "comity_tools.bench.follow", "follow", url, SIGNER.verifier.text]
        env = environment(Path(os.devnull), 1)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise BenchFailed(f"the log could not be followed: {done.stderr[-500:]}")
        figures_ = json.loads(done.stdout)
        return figures_["cpu"], figures_["peak"]


@contextmanager
def _serve_folder(folder: Path) -> Iterator[Child]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "comity_tools.bench.follow", "serve", str(port), str(folder)],
        env=environment(Path(os.devnull), port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    child = Child(process, port)
    try:
        child.wait_until_answers("/log/checkpoint")
        yield child
    finally:
        child.end()


async def _serve(port: int, folder: Path) -> None:
    app = web.Application()
    app.router.add_static("/log/", folder)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await stop.wait()
    await runner.cleanup()


async def _follow(url: str, key: VerifierKey) -> None:
    transport = replace(over_aiohttp(), patience=5.0)
    began = time.process_time()
    try:
        await follow_log(TileReader(url, transport), MonitorState(key))
    finally:
        if transport.close is not None:
            await transport.close()
    print(json.dumps({"cpu": time.process_time() - began, "peak": _peak()}))


def _peak() -> float:
    """The most that this process had in memory, in MB of 2^20 bytes; what it has now where no record is kept."""
    # Not from getrusage: there the parent's memory counts as well, from between fork and exec.
    status = Path("/proc/self/status")
    if not status.exists():
        return memory_of(os.getpid())
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        asyncio.run(_follow(sys.argv[2], parse_vkey(sys.argv[3])))
