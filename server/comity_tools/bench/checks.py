"""Checks before a business writes: one check, a hundred in one request, and a stream of them."""

import asyncio
import json
import os
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from comity.crypto.keys import Signer
from comity.encoding import hash_id
from comity.http_api import JSON, JSON_LINES
from comity.rules import gate
from comity.rules.state import Connection, encode_state
from comity_server.api.business.route import BUSINESS
from comity_server.assembly import open_server
from comity_server.config import load as load_config
from comity_server.data_dir import lock
from comity_server.store.rows import Batch, ConnectionRow
from comity_tools.bench.in_memory import ZONES, a_connection
from comity_tools.bench.load_client import STALLED, Load, percentile, post, repeat_requests, request
from comity_tools.bench.over_http import CLIENTS, LONG, rate_of, rounds_of, shares_of, to_port
from comity_tools.bench.processes import Child, bare_server, comity_server, free_port
from comity_tools.bench.result import BenchFailed, Rate, Row, Share, Size
from comity_tools.bench.workload import send_all

CHECK = BUSINESS + "/check"
NAME = "bench"
HUNDRED = 100
ASKING = 4
"""Clients that ask in hundreds."""
_QUESTIONS = (("care.checkin", "app"), ("sales.news", "email"), ("sales.offers", "app"), ("service", "email"))
_AT_ONCE = 5000
"""Connections written in one transaction."""


class Customers(NamedTuple):
    """A server, the connections of the one business there, and its API key."""

    child: Child
    cids: list[str]
    states: list[Connection]
    """A few of them."""
    key: str
    signer: Signer
    """The signer of the business; the server stores its key as well."""
    size: Size

    def ask(self, body: bytes, media: str = JSON) -> bytes:
        """The request that asks this."""
        return post(self.child.port, CHECK, media, body, {"Authorization": f"Bearer {self.key}"})

    def questions(self, quarter: int | None = None, most: int | None = None) -> list[bytes]:
        """One about each customer, or each of a quarter of them, so that others are not asked about yet."""
        each = len(self.cids) // 4
        chosen = range(len(self.cids)) if quarter is None else range(quarter * each, (quarter + 1) * each)
        return [self._question(number) for number in chosen[:most]]

    def _question(self, number: int) -> bytes:
        purpose, channel = _QUESTIONS[number % len(_QUESTIONS)]
        question = {"ref": f"customer-{number}", "connection": self.cids[number], "purpose": purpose}
        return json.dumps({**question, "channel": channel}, separators=(",", ":")).encode()


@contextmanager
def customers(folder: Path, size: Size) -> Iterator[Customers]:
    """A business with `size.customers` connections, each a few months old, whose server runs while the context does."""
    folder.mkdir(parents=True)
    port = free_port()
    key, signer, cids, states = asyncio.run(_make_customers(folder, port, size.customers))
    with comity_server(folder, port, settings={"COMITY_BUSINESS_RATE": "1000000000"}) as child:
        yield Customers(child, cids, states, key, signer, size)


async def _make_customers(folder: Path, port: int, count: int) -> tuple[str, Signer, list[str], list[Connection]]:
    """(API key, the business's signer, connections, some states). The rows are written as they are: to make each by
    its acts would take hours, and a check sees no more of it than the row."""
    config = load_config({"data": folder, "port": port}, environ={})
    like = a_connection(int(time.time() * 1000), hours=False)
    cids: list[str] = []
    states: list[Connection] = []
    with lock(folder):
        async with open_server(config, port) as server:
            await server.add_business_key(NAME, None)
            signer = server.context.kept.newest(NAME)
            assert signer is not None
            key = await server.add_owner_key(NAME)
            for start in range(0, count, _AT_ONCE):
                some = [_another(like, signer) for _ in range(start, min(count, start + _AT_ONCE))]
                await server.store.commit(Batch(put_connection=[_row(state) for state in some]))
                cids += [state.cid for state in some]
                states = states or some[:64]
    return key, signer, cids, states


def _another(like: Connection, business: Signer) -> Connection:
    named = {"did": business.did, "origin": business.did, "kid": business.kid, "key": business.key.public.multibase}
    first = replace(like.first, **named, head=hash_id(os.urandom(32)))
    second = replace(like.second, head=hash_id(os.urandom(32)))
    return replace(like, cid=hash_id(os.urandom(32)), first=first, second=second)


def _row(state: Connection) -> ConnectionRow:
    return {
        "cid": state.cid,
        "state": encode_state(state),
        "at": state.at,
        "phase": state.phase,
        "wake_at": None,
        "tag_secret": bytes(32),
    }


# --- one --------------------------------------------------------------------------------------------------------------


def check_over_http(place: Customers) -> Row:
    """One check after the other from each of the clients."""
    port, size = place.child.port, place.size
    questions = place.questions(quarter=0, most=4096)
    requests = [place.ask(body) for body in questions]
    each = [requests[number::CLIENTS] for number in range(CLIENTS)]
    with Load(place.child, [repeat_requests(chain) for chain in each]) as load:
        load.round(LONG, len(each[0]))
        with bare_server(len(_answer(place, requests[0]))) as bare:
            get = to_port(bare.port, port, [request("GET", port, "/", JSON, b"")])
            with Load(bare, [repeat_requests(get) for _ in range(CLIENTS)]) as baseline:
                baseline.round(LONG, 64)
                rounds, bare_rounds = rounds_of(load, baseline, size, 1_000_000, 1)
    seconds = [latency for one in rounds for latency in one.latencies]
    return Row(
        name="check_http",
        what=f"POST {CHECK} with an API key, {CLIENTS} clients with a connection each, {len(questions)} customers "
        "who were asked about before",
        figure=rate_of(rounds),
        unit="checks/s",
        baseline=rate_of(bare_rounds),
        baseline_what="the same client GETs as many bytes of JSON from bare aiohttp",
        better="more",
        client_cpu_share=statistics.median(one.client_cpu for one in rounds),
        details={"p99_ms": percentile(seconds, 0.99) * 1000, **shares_of(rounds, bare_rounds)},
    )


def _answer(place: Customers, request: bytes) -> bytes:
    bodies: list[bytes] = []
    with Load(place.child, [send_all([request], bodies)]) as load:
        load.round(LONG, 1)
    return bodies[0]


# --- many -------------------------------------------------------------------------------------------------------------


def checks_in_hundreds(place: Customers) -> Row:
    """A hundred lines in one request."""
    questions = place.questions(quarter=1, most=4000)
    bodies = [b"\n".join(questions[start : start + HUNDRED]) for start in range(0, len(questions), HUNDRED)]
    with Asker(place, ASKING) as asker:
        cold = asker.ask_all(bodies)
        return _row_beside_the_gate(
            place,
            "check_100",
            f"{HUNDRED} checks as lines of one POST, {ASKING} requests at a time, of customers who were asked about "
            "before",
            lambda: asker.ask_all(bodies * 5),
            {"cold_per_second": cold},
        )


def checks_in_bulk(place: Customers) -> Row:
    """A stream over all customers."""
    before = place.child.memory()
    body = b"\n".join(place.questions())
    with Asker(place, 1) as asker:
        cold = asker.ask_all([b"\n".join(place.questions(quarter=3))])
        asker.ask_all([body])
        warm = place.child.memory()
        times = -(-place.size.checks // len(place.cids))
        whole = b"\n".join([body] * times)
        row = _row_beside_the_gate(
            place,
            "check_bulk",
            f"{len(place.cids) * times:,} checks as lines of one POST, over {len(place.cids):,} customers who were "
            "asked about before",
            lambda: asker.ask_all([whole]),
            {"cold_per_second": cold, "memory_before_mb": before, "memory_warm_mb": warm},
        )
    row.details["memory_after_mb"] = place.child.memory()
    return row


def _row_beside_the_gate(
    place: Customers, name: str, what: str, work: Callable[[], float], details: dict[str, float]
) -> Row:
    gate_rate = Rate(_gate_work(place.states))
    rates: list[float] = []
    done = 0.0
    gate_rate.go(place.size.slice)
    gate_rate.rates.clear()
    share = Share()
    work()
    cpu = place.child.cpu()
    for _ in range(place.size.rounds):
        began = time.perf_counter()
        rates.append(work())
        done += rates[-1] * (time.perf_counter() - began)
        gate_rate.go(place.size.slice)
    return Row(
        name=name,
        what=what,
        figure=statistics.median(rates),
        unit="checks/s",
        baseline=gate_rate.median,
        baseline_what="gate.may in memory, on states that are decoded already, the same questions",
        better="more",
        client_cpu_share=share.value(),
        details={**details, "server_cpu_us": (place.child.cpu() - cpu) / done * 1e6},
    )


def _gate_work(states: list[Connection]) -> Callable[[], int]:
    now = int(time.time() * 1000)

    def some() -> int:
        for state in states:
            for purpose, channel in _QUESTIONS:
                gate.may(state, "first", purpose, channel, None, now, ZONES)
        return len(states) * len(_QUESTIONS)

    return some


class Asker:
    """Clients that send and read at the same time, as streams want it: one process, no copy more than needed."""

    def __init__(self, place: Customers, clients: int) -> None:
        self._lines = [_Line(place) for _ in range(clients)]

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines:
            line.socket.close()

    def ask_all(self, bodies: list[bytes]) -> float:
        """Send all of them, spread over the clients; lines answered per second. Raises BenchFailed where one of them
        was not answered with a verdict."""
        wanted = sum(body.count(b"\n") + 1 for body in bodies)
        turns = iter(bodies)
        lines, began = 0, time.perf_counter()
        with selectors.DefaultSelector() as ready:
            for line in self._lines:
                line.begin(next(turns, None), ready)
            while ready.get_map():
                events = ready.select(STALLED)
                if not events:
                    raise BenchFailed(f"no answer for {STALLED:.0f} s")
                for key, mask in events:
                    if key.data.go_on(mask):
                        lines += key.data.lines
                        key.data.begin(next(turns, None), ready)
        taken = time.perf_counter() - began
        if lines != wanted:
            raise BenchFailed(f"{lines} of {wanted} checks were answered")
        return lines / taken


class _Line:
    """One connection: the request on it, and its answer as far as it came."""

    def __init__(self, place: Customers) -> None:
        self.socket = socket.create_connection(("127.0.0.1", place.child.port), timeout=10)
        self.lines = 0
        self._place = place
        self._left = memoryview(b"")
        self._tail = b""
        self._end = b""
        self._wanted = 0
        self._ready: selectors.BaseSelector

    def begin(self, body: bytes | None, ready: selectors.BaseSelector) -> None:
        """Send these lines from now on; None for no more."""
        self._ready, self._tail, self.lines = ready, b"", 0
        if self.socket in ready.get_map():
            ready.unregister(self.socket)
        if body is not None:
            self._wanted = body.count(b"\n") + 1
            self._left = memoryview(self._place.ask(body, JSON_LINES))
            ready.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def go_on(self, mask: int) -> bool:
        """Send and take in what goes; whether the answer is whole."""
        if mask & selectors.EVENT_WRITE:
            self._left = self._left[self.socket.send(self._left[:262_144]) :]
            if not self._left:
                self._ready.modify(self.socket, selectors.EVENT_READ, self)
        return bool(mask & selectors.EVENT_READ) and self._receive()

    def _receive(self) -> bool:
        data = self.socket.recv(1_048_576)
        if not data:
            raise BenchFailed("the server closed a connection")
        seen = self._tail + data
        if b'"error":' in seen:
            raise BenchFailed("a check was not answered with a verdict")
        if not self._tail:
            self._end = b"\r\n0\r\n\r\n" if b"chunked" in seen else b"}\n"
        # A verdict ends with its mode.
        self.lines += seen.count(b'strict"}\n')
        self._tail = seen[-8:]
        return self.lines == self._wanted and seen.endswith(self._end)
