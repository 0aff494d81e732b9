"""The cost that a webhook adds to an act: the same acts of customers of a business that has an endpoint, and of one
that has none, at the same server and in turn."""

import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from comity.http_api import ACTS, JSON, JWT
from comity_server.api.business.route import BUSINESS
from comity_tools.bench.load_client import Answer, Flow, Load, Round, post, request
from comity_tools.bench.over_http import CLIENTS, LONG, WARM_UP, Testbed, prepare_testbed, server_cpu_us
from comity_tools.bench.processes import Child, cpu_of_children, create_api_key, endpoint
from comity_tools.bench.result import BenchFailed, Row, Size
from comity_tools.bench.workload import BUSINESS as BENCH
from comity_tools.bench.workload import send_all, small_acts

PIECES = 3
"""Rounds of each kind for one round of other figures: the two must meet the same moods of the machine."""
_TO_LOOPBACK = {"COMITY_WEBHOOKS_TO_LOOPBACK": "true"}
_ALL_CAME_WITHIN = 120.0


def webhook_cost(folder: Path, size: Size) -> Row:
    """CPU time of the serving process for an act that becomes a webhook, and for one that does not."""
    folder.mkdir(parents=True)
    rounds, each = size.rounds * PIECES, max(1, size.acts // PIECES)
    with ExitStack() as stack:
        hook = stack.enter_context(endpoint())
        busy = stack.enter_context(prepare_testbed(folder / "town", size, settings=_TO_LOOPBACK))
        # One endpoint for all rounds: those who register one again and again soon have too many challenges sent.
        quiet = busy.beside("quiet")
        with_hook, without = (stack.enter_context(_load(place, rounds * each)) for place in (busy, quiet))
        _register(busy.child, hook, create_api_key(busy.folder, busy.child.port, BENCH))
        for load in (with_hook, without):
            load.round(LONG, WARM_UP)
        _wait_for(hook, CLIENTS * WARM_UP)
        sent: list[Round] = []
        unsent: list[Round] = []
        sender_cpu = late = 0.0
        for number in range(1, rounds + 1):
            cpu = cpu_of_children(busy.child.pid)
            sent.append(with_hook.round(LONG, each))
            late = max(late, _wait_for(hook, CLIENTS * (WARM_UP + number * each)))
            sender_cpu += cpu_of_children(busy.child.pid) - cpu
            unsent.append(without.round(LONG, each))
    return Row(
        name="webhook_cost",
        what=f"the serving process's CPU time for one act over HTTP, {CLIENTS} clients, each brought to an endpoint",
        figure=server_cpu_us(sent),
        unit="µs",
        baseline=server_cpu_us(unsent),
        baseline_what="the same acts, in turn, to a business that has no endpoint",
        better="less",
        client_cpu_share=statistics.median(one.client_cpu for one in (*sent, *unsent)),
        details={
            "sender_cpu_us": sender_cpu / (CLIENTS * rounds * each) * 1e6,
            "seconds_until_all_came": late,
        },
    )


def _load(place: Testbed, acts: int) -> Load:
    chains = [small_acts(who, WARM_UP + acts) for who in place.take(CLIENTS)]
    port = place.child.port
    return Load(
        place.child, [send_all([post(port, ACTS, JWT, raw.encode("ascii")) for raw in chain], []) for chain in chains]
    )


def _register(server: Child, hook: Child, key: str) -> None:
    """Register the endpoint, and have it prove itself."""

    def ask(method: str, path: str, body: bytes = b"") -> Answer:
        return _one(server, request(method, server.port, path, JSON, body, {"Authorization": f"Bearer {key}"}))

    made = ask("POST", f"{BUSINESS}/webhooks", json.dumps({"url": f"http://127.0.0.1:{hook.port}/"}).encode())
    ask("POST", f"{BUSINESS}/webhooks/{json.loads(made.body)['id']}/verify")


def _wait_for(hook: Child, events: int) -> float:
    """Seconds until so many events have come in all, each once. Raises BenchFailed."""
    began, count = time.perf_counter(), 0
    while (waited := time.perf_counter() - began) < _ALL_CAME_WITHIN:
        count = int(_one(hook, request("GET", hook.port, "/", JSON, b"")).body)
        if count == events:
            return waited
        time.sleep(0.01)
    raise BenchFailed(f"{count} events came to the endpoint, {events} were wanted")


def _one(child: Child, request_: bytes) -> Answer:
    """The answer to one request. Raises BenchFailed for a refusal."""
    answers: list[Answer] = []

    def flow() -> Flow:
        answers.append((yield request_))

    with Load(child, [flow()]) as load:
        load.round(LONG, 1)
    if answers[0].status >= 300:
        raise BenchFailed(f"a request was answered {answers[0].status}")
    return answers[0]
