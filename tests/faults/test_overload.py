"""A server that is asked for more than it can do: what is accepted stays quick, and a "no" is always answered in time.

Everything is compared with what the same run measured before: what the server can do at most, and how long an act
takes while it has little to do. The server has one core and its clients another, where there are two.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from comity_tools.bench.load_client import percentile
from comity_tools.bench.over_http import prepare_testbed
from comity_tools.bench.processes import Child
from comity_tools.bench.result import QUICK
from support.offered_load import Crowd, Outcome, Plan, Task

CLIENTS = 64
"""People who act one after the other while it is measured what the server can do."""
NOES = 20.0
"""People who say no, in a second."""
LOOKS = 20.0
"""Looks at how the server is, in a second, each over a connection of its own."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much load there is."""

    people: int
    """In each of the processes that act."""
    processes: int
    acts: int
    seconds: float


SHORT = Size(people=300, processes=2, acts=48, seconds=1.2)
LONG = Size(people=1500, processes=2, acts=120, seconds=20.0)


@dataclass(slots=True)
class Seen:
    """What was seen while the load lasted."""

    acts: Outcome
    noes: Outcome
    looks: list[float]
    cpu: float
    """CPU time of the server (s), until the last answer."""
    memory: float
    """Of the server at the end (MB)."""

    @property
    def rate(self) -> float:
        """Accepted acts and "no"s in a second."""
        return (self.acts.in_time + self.noes.in_time) / self.acts.seconds

    @property
    def for_cpu(self) -> float:
        """Accepted acts and "no"s for each second of the server's CPU time."""
        return (len(self.acts.accepted) + len(self.noes.accepted)) / self.cpu

    def __str__(self) -> str:
        def ms(seconds: Sequence[float], part: float) -> str:
            return f"{percentile(seconds, part) * 1000:.0f}" if seconds else "-"

        acts, noes = self.acts, self.noes
        return (
            f"accepted {self.rate:.0f}/s, p50 {ms(acts.accepted, 0.5)} p99 {ms(acts.accepted, 0.99)} ms; asked for "
            f"{acts.due / acts.seconds:.0f}/s, sent {acts.sent / acts.seconds:.0f}/s; refused {len(acts.refused)} "
            f"(p50 {ms(acts.refused, 0.5)} p99 {ms(acts.refused, 0.99)} ms), {acts.without_retry_after} without "
            f"Retry-After; noes {len(noes.accepted)} p50 {ms(noes.accepted, 0.5)} most {ms(noes.accepted, 1)} ms, "
            f"refused {len(noes.refused)}; looks {len(self.looks)} p50 {ms(self.looks, 0.5)} most "
            f"{ms(self.looks, 1)} ms; CPU {self.cpu:.2f} s, {self.for_cpu:.0f} acts for each, {self.memory:.0f} MB"
        )


class Site:
    """A server, and the processes with people who act and who say no."""

    def __init__(self, child: Child, crowds: list[Crowd], noes: Crowd) -> None:
        self.child = child
        self._crowds = crowds
        self._noes = noes

    def see(self, seconds: float, rate: float = 0.0, clients: int = 0, noes: float = NOES) -> Seen:
        """What happens at that rate of acts, or while so many people act."""
        cpu = self.child.cpu()
        parts = len(self._crowds)
        for crowd in self._crowds:
            crowd.begin(Task(seconds, rate / parts, clients // parts))
        self._noes.begin(Task(seconds, noes))
        looks: list[float] = []
        looker = threading.Thread(target=_look, args=(self.child.port, seconds, looks))
        looker.start()
        acts = self._crowds[0].wait()
        for crowd in self._crowds[1:]:
            acts.add(crowd.wait())
        noes_seen = self._noes.wait()
        looker.join()
        return Seen(acts, noes_seen, looks, self.child.cpu() - cpu, self.child.memory())


def _look(port: int, seconds: float, looks: list[float]) -> None:
    ends = time.perf_counter() + seconds
    paths = ("/healthz", "/readyz")
    while (began := time.perf_counter()) < ends:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
            path = paths[len(looks) % 2]
            talk.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert talk.recv(4096).startswith(b"HTTP/1.1 200 "), path
        looks.append(time.perf_counter() - began)
        time.sleep(max(0.0, 1 / LOOKS - looks[-1]))


@contextmanager
def a_site(folder: Path, size: Size) -> Iterator[Site]:
    """A site whose server runs while the context does."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    try:
        with prepare_testbed(folder / "data", QUICK, settings={"COMITY_MAX_CONNECTIONS": "16384"}) as place:
            os.sched_setaffinity(0, {cores[-1]})
            plans = [Plan(number, size.people, size.acts) for number in range(size.processes)]
            crowds = [Crowd(plan, place.shop, place.offer, cores[-1]) for plan in plans]
            noes = Crowd(Plan(9, 40 + int(size.seconds * NOES), says_no=True), place.shop, place.offer, cores[-1])
            try:
                for crowd in [*crowds, noes]:
                    crowd.wait()
                yield Site(place.child, crowds, noes)
            finally:
                for crowd in [*crowds, noes]:
                    crowd.end()
    finally:
        os.sched_setaffinity(0, set(cores))


@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.long)]
)
def test_accepted_acts_stay_quick_and_a_no_gets_through_at_ten_times_the_load(tmp_path: Path, size: Size) -> None:
    with a_site(tmp_path, size) as site:
        site.see(0.5, clients=CLIENTS)
        capacity = site.see(size.seconds, clients=CLIENTS)
        normal = site.see(size.seconds, rate=capacity.rate / 2)
        tell("capacity", capacity)
        tell("normal", normal)
        for times in (3, 10):
            # Nobody knows beforehand how much is too much: the room is fitted to it within the first second.
            site.see(0.7, rate=times * capacity.rate)
            for tries_left in (2, 1, 0):
                seen = site.see(size.seconds, rate=times * capacity.rate)
                tell(f"{times} times", seen)
                faults = faults_of(seen, capacity, normal)
                if not faults:
                    break
                assert tries_left, faults


def tell(name: str, seen: Seen) -> None:
    """Print the figures, for who runs it with -s."""
    print(f"\n{name}: {seen}")


def faults_of(seen: Seen, capacity: Seen, normal: Seen) -> list[str]:
    """What is not as it should be (HTTP-15, HTTP-25), with margins for a machine that does other things as well."""
    acts, noes = seen.acts, seen.noes
    assert not acts.wrong and not noes.wrong, "an answer that nobody should get"
    assert not acts.without_retry_after and not noes.refused
    assert len(acts.refused) > len(acts.accepted) / 4, "there was too much to do"
    # A "no" within a second, where the machine has time for us; elsewhere as much longer as everything takes.
    slower = max(1.0, percentile(normal.noes.accepted, 0.99) / 0.05)
    holds = {
        # In a second, or for the server's own work.
        "goodput": max(seen.rate / capacity.rate, seen.for_cpu / capacity.for_cpu) > 0.5,
        "p99": percentile(acts.accepted, 0.99) < 16 * percentile(normal.acts.accepted, 0.99),
        "no": percentile(noes.accepted, 1) < slower and len(noes.accepted) > 0.8 * noes.due,
        "looks": percentile(seen.looks, 1) < 0.3 * slower and len(seen.looks) > 0.5 * LOOKS * acts.seconds,
        "memory": seen.memory < normal.memory + 100,
    }
    return [f"{name}: {seen}" for name, is_so in holds.items() if not is_so]
