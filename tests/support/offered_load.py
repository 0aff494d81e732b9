"""Load on a server: people who act, each from a connection of her own, in processes that are
told over a pipe what to do.

What is sent is signed beforehand, and written to plain sockets: a client that works as hard as the server would
measure itself.
"""

import array
import multiprocessing
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from comity.crypto.keys import Signer, SigningKey
from comity.documents.offers import HomeParty, SignedOffer, open_offer
from comity.documents.types import DAY
from comity.http_api import ACTS, JWT
from comity_tools.bench.load_client import Flow, Load, post
from comity_tools.bench.processes import Child
from comity_tools.bench.result import BenchFailed
from comity_tools.bench.workload import Opened, Shop, agree, now

PATIENCE = 10.0
"""Seconds for which an answer is waited for."""
CONNECTING = 8
"""People who connect at a time."""
MUTED = ("phone", "email", "post")
"""The channels that somebody mutes, before she ends the connection."""
ADDRESSES = 250
"""Addresses of the people of one process."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is in one process: `people`, with so many `acts` each; or, with `says_no`, people with four "no"s each."""

    number: int
    people: int
    acts: int = 0
    says_no: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is to do for some seconds: `rate` acts a second whatever becomes of those before (open loop), or
    `clients` people who act as soon as they have an answer (closed loop)."""

    seconds: float
    rate: float = 0.0
    clients: int = 0


@dataclass(slots=True)
class Outcome:
    """What was seen of the answers; latencies in seconds, from sending to the whole answer."""

    seconds: float
    due: int = 0
    """Acts that the rate asked for."""
    sent: int = 0
    """Those of them for which somebody was free to send them."""
    in_time: int = 0
    """Acts that were accepted before the time was over."""
    accepted: "array.array[float]" = field(default_factory=lambda: array.array("d"))
    refused: "array.array[float]" = field(default_factory=lambda: array.array("d"))
    without_retry_after: int = 0
    wrong: list[str] = field(default_factory=list)
    """Other answers, connections that were closed, and answers that never came."""

    def add(self, other: "Outcome") -> None:
        """Take in what another process saw in the same time."""
        for name in ("due", "sent", "in_time", "without_retry_after"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("accepted", "refused", "wrong"):
            getattr(self, name).extend(getattr(other, name))


class _Person:
    """Somebody with signed acts, one after the other, and a connection."""

    __slots__ = ("acts", "begun", "part", "socket")

    def __init__(self, address: str, port: int, acts: list[bytes]) -> None:
        self.acts = acts
        self.begun = 0.0
        self.part = b""
        self.socket = socket.socket()
        self.socket.bind((address, 0))
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Send the next act, for the first time or once more."""
        self.begun = time.perf_counter()
        self.socket.send(self.acts[-1])

    def receive(self, seen: Outcome, ends: float) -> bool:
        """Take in what came; True once the answer is whole. Raises ConnectionError."""
        came = self.socket.recv(65536)
        if not came:
            raise ConnectionError
        data = self.part + came
        head, end, body = data.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]):
            self.part = data
            return False
        self.part = b""
        at = time.perf_counter()
        if (status := head[9:12]) == b"200":
            seen.accepted.append(at - self.begun)
            seen.in_time += at < ends
            self.acts.pop()
        elif status in (b"503", b"429"):
            seen.refused.append(at - self.begun)
            seen.without_retry_after += b"\r\nretry-after:" not in head.lower()
        else:
            seen.wrong.append(f"{status.decode()}: {body[-200:].decode()}")
        return True


class People:
    """People with prepared acts, driven by one loop."""

    def __init__(self, plan: Plan, port: int, chains: Sequence[list[bytes]]) -> None:
        addresses = [f"127.1.{plan.number + 1}.{number + 1}" for number in range(ADDRESSES)]
        self._free = deque(_Person(addresses[at % ADDRESSES], port, acts) for at, acts in enumerate(chains))
        self._waiting = 0
        self._poll = select.epoll()
        self._all = {person.socket.fileno(): person for person in self._free}
        for number in self._all:
            self._poll.register(number, select.EPOLLIN)

    def do(self, task: Task) -> Outcome:
        """See `Task`. What was sent is waited for."""
        seen, began = Outcome(task.seconds), time.perf_counter()
        ends = began + task.seconds
        while (at := time.perf_counter()) < ends:
            due = int((at - began) * task.rate) - seen.due if task.rate else task.clients - self._waiting
            seen.due += due
            for _ in range(min(due, len(self._free))):
                self._send(seen)
            self._receive(seen, ends, 0.001)
        while self._waiting and time.perf_counter() < ends + PATIENCE:
            self._receive(seen, ends, 0.1)
        seen.wrong += ["no answer"] * self._waiting + ["nothing is left to send"] * (not self._free)
        return seen

    def _send(self, seen: Outcome) -> None:
        self._free.popleft().send()
        seen.sent += 1
        self._waiting += 1

    def _receive(self, seen: Outcome, ends: float, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            person = self._all[number]
            try:
                if not person.receive(seen, ends):
                    continue
                if person.acts:
                    self._free.append(person)
            except ConnectionError:
                seen.wrong.append("closed")
                self._poll.unregister(number)
            self._waiting -= 1


# --- processes ------------------------------------------------------------------------------------------------------

_spawn = multiprocessing.get_context("spawn")


class Crowd:
    """A process with people in it, on the processor core `core`. `wait` until it is ready; `end` ends it."""

    def __init__(self, plan: Plan, shop: Shop, offer: SignedOffer, core: int) -> None:
        self._pipe, other = _spawn.Pipe()
        seed = shop.key.seed
        given = (plan, shop.port, shop.home, seed, offer.raw, core, other)
        self.process = _spawn.Process(target=_crowd, args=given, daemon=True)
        self.process.start()

    def begin(self, task: Task) -> None:
        """Tell it what to do."""
        self._pipe.send(task)

    def wait(self) -> Outcome:
        """What it saw; of a new one, nothing. Raises BenchFailed."""
        if not self._pipe.poll(300):
            raise BenchFailed("a process of the load does not answer")
        return cast(Outcome, self._pipe.recv())

    def end(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join(10)


def _crowd(plan: Plan, port: int, home: HomeParty, seed: bytes, raw: str, core: int, pipe: Any) -> None:
    os.sched_setaffinity(0, {core})
    shop = Shop(port, home)
    shop.key = SigningKey(seed)
    shop.signer = Signer(f"{shop.did}#{shop.key.public.multibase}", shop.key)
    offer = open_offer(raw, {shop.signer.kid: shop.key.public}.get)
    opened: list[Opened] = []
    flows = [_agree(shop, offer, opened, plan.people) for _ in range(CONNECTING)]
    with Load(cast(Child, SimpleNamespace(port=port, cpu=lambda: 0.0)), flows) as load:
        load.round(300, 2 * plan.people)
    people = People(plan, port, [_chain(plan, one, port) for one in opened])
    pipe.send(Outcome(0))
    while True:
        pipe.send(people.do(pipe.recv()))


def _agree(shop: Shop, offer: SignedOffer, opened: list[Opened], most: int) -> Flow:
    while len(opened) < most:
        opened.append((yield from agree(shop, offer, Signer.of_did_key(SigningKey(os.urandom(32))))))


def _chain(plan: Plan, one: Opened, port: int) -> list[bytes]:
    """Requests with the acts of one person, the first one last."""
    if plan.says_no:
        texts = [one.next_act("mute", channels=(channel,), until=now() + DAY) for channel in MUTED]
        texts.append(one.next_act("revoke"))
    else:
        texts = [one.next_act("remember", key="language") for _ in range(plan.acts)]
    return [post(port, ACTS, JWT, text.encode()) for text in reversed(texts)]
