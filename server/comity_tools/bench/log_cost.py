"""The cost that the log adds to an act: the same acts to a server with it and to one without, in turn."""

import statistics
from contextlib import ExitStack
from pathlib import Path

from comity.http_api import ACTS, JWT
from comity_tools.bench.load_client import Load, post
from comity_tools.bench.over_http import CLIENTS, LONG, WARM_UP, Testbed, prepare_testbed, server_cpu_us
from comity_tools.bench.result import BenchFailed, Row, Size
from comity_tools.bench.workload import send_all, small_acts

UNLOGGED = ("comity_tools.bench.server_without_log",)
PIECES = 3
"""Rounds of each server for one round of other figures: the two must meet the same moods of the machine."""


def log_cost(folder: Path, size: Size) -> Row:
    """CPU time of the server for an act, with and without the log."""
    folder.mkdir(parents=True)
    rounds, each = size.rounds * PIECES, max(1, size.acts // PIECES)
    with ExitStack() as stack:
        with_log = stack.enter_context(prepare_testbed(folder / "with", size))
        without = stack.enter_context(prepare_testbed(folder / "without", size, UNLOGGED))
        answers: tuple[list[bytes], list[bytes]] = [], []
        loads = [
            stack.enter_context(_load(place, rounds * each, into))
            for place, into in zip((with_log, without), answers, strict=True)
        ]
        for load in loads:
            load.round(LONG, WARM_UP)
        seen = [[load.round(LONG, each) for load in loads] for _ in range(rounds)]
    if not all(b'"receipt":' in answer for answer in answers[0]) or any(
        b'"receipt":' in answer for answer in answers[1]
    ):
        raise BenchFailed("not every act got its receipt, or one that has none did")
    logged, bare = [pair[0] for pair in seen], [pair[1] for pair in seen]
    return Row(
        name="log_cost",
        what=f"the server's CPU time for one act over HTTP, {CLIENTS} clients: entered, re-read, signed, receipt given",
        figure=server_cpu_us(logged),
        unit="µs",
        baseline=server_cpu_us(bare),
        baseline_what="the same acts, in turn, to the same server without a log",
        better="less",
        client_cpu_share=statistics.median(one.client_cpu for pair in seen for one in pair),
        details={
            "acts_per_second": statistics.median(one.requests / one.wall for one in logged),
            "acts_per_second_without": statistics.median(one.requests / one.wall for one in bare),
        },
    )


def _load(place: Testbed, acts: int, answers: list[bytes]) -> Load:
    chains = [small_acts(who, WARM_UP + acts) for who in place.take(CLIENTS)]
    port = place.child.port
    return Load(
        place.child,
        [send_all([post(port, ACTS, JWT, raw.encode("ascii")) for raw in chain], answers) for chain in chains],
    )
