"""The measurements in their order, and the report."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from comity_tools.bench.checks import Customers, check_over_http, checks_in_bulk, checks_in_hundreds, customers
from comity_tools.bench.follow import measure_follow
from comity_tools.bench.in_memory import gate_decisions, tokens_offline
from comity_tools.bench.log_cost import log_cost
from comity_tools.bench.messages import messages_over_http, signed_messages_over_http
from comity_tools.bench.over_http import Testbed, acts_in_batches, acts_over_http, connects, prepare_testbed
from comity_tools.bench.result import Row, Size
from comity_tools.bench.startup import idle_memory, start
from comity_tools.bench.webhook_cost import webhook_cost

_OVER_HTTP: dict[str, Callable[[Testbed], Row]] = {
    "acts_http": acts_over_http,
    "acts_batch": acts_in_batches,
    "connects": connects,
}
_CHECKS: dict[str, Callable[[Customers], Row]] = {
    "check_http": check_over_http,
    "check_100": checks_in_hundreds,
    "check_bulk": checks_in_bulk,
    "message_http": messages_over_http,
    "message_signed": signed_messages_over_http,
}
_IN_MEMORY: dict[str, Callable[[Size], list[Row]]] = {"gate": gate_decisions, "token": tokens_offline}
NAMES = (*_OVER_HTTP, *_CHECKS, *_IN_MEMORY, "follow", "log_cost", "webhook_cost", "start", "idle_memory")
"""The names of all measurements; some give more than one row."""


def measure(names: Iterable[str], size: Size) -> Iterator[Row]:
    """The rows of those that are named, each as soon as it is known. Raises BenchFailed.

    Everything is in a temporary folder, on loopback, and gone at the end.
    """
    wanted = set(names)
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as name:
        folder = Path(name)
        # What needs a quiet machine comes before the servers are started.
        for name, of_memory in _IN_MEMORY.items():
            if name in wanted:
                yield from of_memory(size)
        if "follow" in wanted:
            yield measure_follow(folder / "log", size)
        if "start" in wanted:
            yield from start(folder / "starts", size)
        if "idle_memory" in wanted:
            yield idle_memory(folder / "idle")
        if "log_cost" in wanted:
            yield log_cost(folder / "log-cost", size)
        if "webhook_cost" in wanted:
            yield webhook_cost(folder / "webhook-cost", size)
        with ExitStack() as stack:
            place: Testbed | None = None
            for name, of_town in _OVER_HTTP.items():
                if name in wanted:
                    place = place or stack.enter_context(prepare_testbed(folder / "town", size))
                    yield of_town(place)
        asked = [name for name in _CHECKS if name in wanted]
        if asked:
            with customers(folder / "customers", size) as place_of_checks:
                for name in asked:
                    yield _CHECKS[name](place_of_checks)


def machine() -> dict[str, Any]:
    """The machine's system, architecture, Python and cores; nothing that identifies it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "cores": cores,
    }


def report(rows: list[Row], size: str) -> dict[str, Any]:
    """The JSON object of a run."""
    return {"machine": machine(), "size": size, "rows": [row.as_json() for row in rows]}
