"""The client: many keep-alive connections driven by one loop over raw sockets, so that it takes little CPU itself.

What a connection sends is a flow: a generator that yields requests and is given their answers. The same client and
the same requests go to what is measured and to the baseline.
"""

import selectors
import socket
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from comity_tools.bench.processes import Child
from comity_tools.bench.result import BenchFailed, Share

STALLED = 20.0
"""Seconds without any answer after which a measurement is given up."""


class Answer(NamedTuple):
    """The status and body of an answer."""

    status: int
    body: bytes


Flow = Generator[bytes, Answer, None]


@dataclass(slots=True)
class Round:
    """The result of one round; times in seconds."""

    requests: int
    wall: float
    client_cpu: float
    """CPU time of this process for each second."""
    server_cpu: float
    """CPU time of the other process for each second."""
    latencies: list[float] = field(repr=False)


class _Line:
    """One connection and its flow."""

    __slots__ = ("buffer", "flow", "request", "sent_at", "socket")

    def __init__(self, port: int, flow: Flow) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flow = flow
        self.request: bytes | None = next(flow, None)
        self.buffer = b""
        self.sent_at = 0.0

    def send(self) -> bool:
        """Send the next request, if the flow has one."""
        if self.request is None:
            return False
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.request)
        return True

    def receive(self) -> Answer | None:
        """Take in what came: the answer, once it is whole. Raises BenchFailed."""
        data = self.socket.recv(262_144)
        if not data:
            raise BenchFailed("the server closed a connection")
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        if len(body) < _length(head):
            return None
        self.buffer = b""
        return Answer(int(head[9:12]), body)

    def go_on(self, answer: Answer) -> None:
        """Give the flow its answer and take its next request."""
        try:
            self.request = self.flow.send(answer)
        except StopIteration:
            self.request = None


def _length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        if head[9:12] == b"204":
            return 0
        raise BenchFailed("an answer does not say how long it is")
    end = head.find(b"\r\n", at + 2)
    return int(head[at + 17 : end if end > 0 else len(head)])


class Load:
    """A client with one connection for each flow. Use as a context."""

    def __init__(self, child: Child, flows: Sequence[Flow]) -> None:
        self._child = child
        self._lines = [_Line(child.port, flow) for flow in flows]

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines:
            line.socket.close()

    def round(self, seconds: float, most: int) -> Round:
        """Every connection sends one request after the other, at most `most`, until the time is up or its flow ends.

        A request that was sent is always waited for. Raises BenchFailed when nothing comes any more.
        """
        latencies: list[float] = []
        left = dict.fromkeys(self._lines, most)
        cpu, share, began = self._child.cpu(), Share(), time.perf_counter()
        with selectors.DefaultSelector() as ready:
            waiting = 0
            for line in self._lines:
                if line.send():
                    ready.register(line.socket, selectors.EVENT_READ, line)
                    waiting += 1
            while waiting:
                events = ready.select(STALLED)
                if not events:
                    raise BenchFailed(f"no answer for {STALLED:.0f} s")
                for key, _ in events:
                    line = key.data
                    answer = line.receive()
                    if answer is None:
                        continue
                    now = time.perf_counter()
                    latencies.append(now - line.sent_at)
                    line.go_on(answer)
                    left[line] -= 1
                    if now - began > seconds or left[line] <= 0 or not line.send():
                        ready.unregister(line.socket)
                        waiting -= 1
        wall = time.perf_counter() - began
        return Round(len(latencies), wall, share.value(), (self._child.cpu() - cpu) / wall, latencies)


def post(port: int, path: str, content_type: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A POST request as it goes over the wire."""
    return request("POST", port, path, content_type, body, headers)


def request(
    method: str, port: int, path: str, content_type: str, body: bytes, headers: dict[str, str] | None = None
) -> bytes:
    """A request as it goes over the wire."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode("ascii") + body


def repeat_requests(requests: Sequence[bytes]) -> Flow:
    """A flow without end over the same requests, for a baseline. Raises BenchFailed for any answer but 200."""
    while True:
        for one in requests:
            answer = yield one
            if answer.status != 200:
                raise BenchFailed(f"the baseline answered {answer.status}")


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
