"""Figures over HTTP, against a real `comity serve`: acts one by one, acts in batches, connects."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nacl.signing import VerifyKey

from comity.crypto.keys import PublicKey, did_of_host, keys_of_document
from comity.documents.offers import HomeParty
from comity.encoding import b64u_decode, hash_id, parse_object
from comity.http_api import ACTS, JSON_LINES, JWT
from comity_tools.bench.load_client import Load, Round, percentile, post, repeat_requests, request
from comity_tools.bench.processes import SERVE, Child, bare_server, comity_server, create_business, free_port
from comity_tools.bench.result import Rate, Row, Size
from comity_tools.bench.workload import (
    BUSINESS,
    REQUESTS_OF_A_CONNECT,
    Opened,
    Shop,
    check_acceptances,
    connect,
    publish,
    send_all,
    small_acts,
)

CLIENTS = 32
CONNECTING = 8
"""People who connect at a time."""
WARM_UP = 8
"""Acts of each client before the first round."""
LONG = 300.0
"""Seconds for rounds that are not measured: more than the slowest machine takes."""


class Testbed:
    """A server with a business, and the people who connected with it so far."""

    def __init__(self, folder: Path, child: Child, shop: Shop, size: Size) -> None:
        self.folder = folder
        self.child = child
        self.size = size
        self.shop = shop
        self.offer = shop.offer()
        self._people: list[Opened] = []
        with Load(child, [publish(shop, self.offer)]) as load:
            load.round(LONG, 1)
        self.home_keys = {shop.home.kid: PublicKey.of_multibase(shop.home.key)}

    def beside(self, name: str) -> "Testbed":
        """Another business at the same server, with people of its own."""
        shop = Shop(self.child.port, self.shop.home, name)
        create_business(self.folder, name, shop.key.public.did)
        return Testbed(self.folder, self.child, shop, self.size)

    def connects(self) -> Load:
        """A load under which people connect."""
        enough = (self.size.rounds + 1) * self.size.connects
        return Load(self.child, [connect(self.shop, self.offer, self._people, enough) for _ in range(CONNECTING)])

    def take(self, count: int) -> list[Opened]:
        """That many open connections that nothing else uses."""
        missing = count - len(self._people)
        if missing > 0:
            each = -(-missing // CONNECTING)
            flows = [connect(self.shop, self.offer, self._people, each) for _ in range(CONNECTING)]
            with Load(self.child, flows) as load:
                load.round(LONG, each * REQUESTS_OF_A_CONNECT)
        taken, self._people = self._people[:count], self._people[count:]
        return taken


@contextmanager
def prepare_testbed(
    folder: Path, size: Size, module: tuple[str, ...] = SERVE, settings: Mapping[str, str] | None = None
) -> Iterator[Testbed]:
    """A testbed of its own, whose server (`comity serve`, or another module) runs as long as the context.
    `settings` are added to the server's environment."""
    with comity_server(folder, free_port(), module, settings) as child:
        yield create_testbed(folder, child, size)


def create_testbed(folder: Path, child: Child, size: Size) -> Testbed:
    """A testbed at a server that has just been started, and has no business yet."""
    shop = Shop(child.port, _home_of(child))
    create_business(folder, BUSINESS, shop.key.public.did)
    # A server refuses requests signed in the second of its start, since it cannot know those seen before it.
    time.sleep(1.1)
    return Testbed(folder, child, shop, size)


def _home_of(child: Child) -> HomeParty:
    """The server and its key, as its document shows it."""
    bodies: list[bytes] = []
    with Load(child, [send_all([request("GET", child.port, "/.well-known/did.json", JWT, b"")], bodies)]) as load:
        load.round(LONG, 1)
    did = did_of_host(f"localhost:{child.port}")
    ((kid, key),) = keys_of_document(did, parse_object(bodies[0])).items()
    return HomeParty(did=did, kid=kid, key=key.multibase)


def rounds_of(load: Load, baseline: Load, size: Size, most: int, more: int) -> tuple[list[Round], list[Round]]:
    """Rounds of both in turn; the baseline does `more` times as much, being shorter."""
    seen: tuple[list[Round], list[Round]] = [], []
    for _ in range(size.rounds):
        seen[0].append(load.round(size.seconds, most))
        seen[1].append(baseline.round(size.seconds / 2, most * more))
    return seen


def server_cpu_us(rounds: list[Round]) -> float:
    """Microseconds of the server's CPU time for one request: the figure that others on the machine disturb least."""
    return sum(one.server_cpu * one.wall for one in rounds) / sum(one.requests for one in rounds) * 1e6


def rate_of(rounds: list[Round], each: int = 1) -> float:
    """The rate in a second, with `each` requests counted as one."""
    return statistics.median(one.requests / one.wall for one in rounds) / each


def shares_of(rounds: list[Round], baseline: list[Round]) -> dict[str, float]:
    """The CPU shares of client and servers in both measurements."""
    return {
        "server_cpu_share": statistics.median(one.server_cpu for one in rounds),
        "server_cpu_us": server_cpu_us(rounds),
        "baseline_server_cpu_us": server_cpu_us(baseline),
        "baseline_client_cpu_share": statistics.median(one.client_cpu for one in baseline),
        "baseline_server_cpu_share": statistics.median(one.server_cpu for one in baseline),
    }


def _latencies(rounds: list[Round], baseline: list[Round]) -> dict[str, float]:
    all_, bare = ([seconds for one in many for seconds in one.latencies] for many in (rounds, baseline))
    return {
        "p50_ms": percentile(all_, 0.5) * 1000,
        "p99_ms": percentile(all_, 0.99) * 1000,
        "baseline_p99_ms": percentile(bare, 0.99) * 1000,
    }


def acts_over_http(testbed: Testbed) -> Row:
    """One act after the other from each of the clients."""
    size, port = testbed.size, testbed.child.port
    chains = [list(small_acts(who, WARM_UP + size.rounds * size.acts)) for who in testbed.take(CLIENTS)]
    requests = [[post(port, ACTS, JWT, raw.encode("ascii")) for raw in chain] for chain in chains]
    ids = {hash_id(raw.encode("ascii")) for chain in chains for raw in chain}
    answers: list[bytes] = []
    with Load(testbed.child, [send_all(chain, answers) for chain in requests]) as load:
        load.round(LONG, WARM_UP)
        with bare_server(len(answers[0])) as bare:
            again = [to_port(bare.port, port, chain) for chain in requests]
            with Load(bare, [repeat_requests(chain) for chain in again]) as baseline:
                baseline.round(LONG, WARM_UP)
                rounds, bare_rounds = rounds_of(load, baseline, size, size.acts, 3)
    check_acceptances(answers, testbed.home_keys, ids)
    return Row(
        name="acts_http",
        what=f"one act per request, {CLIENTS} clients with a connection each: verified, folded, durable (SQLite, "
        "synchronous=FULL), its signed acceptance returned; every acceptance is opened after the clock stopped",
        figure=rate_of(rounds),
        unit="acts/s",
        baseline=rate_of(bare_rounds),
        baseline_what="the same client POSTs the same bodies to bare aiohttp that answers as many bytes",
        better="more",
        client_cpu_share=statistics.median(one.client_cpu for one in rounds),
        details={**_latencies(rounds, bare_rounds), **shares_of(rounds, bare_rounds)},
    )


def to_port(port: int, other: int, requests: list[bytes]) -> list[bytes]:
    """The same requests for another port of this host."""
    return [one.replace(b"Host: localhost:%d\r\n" % other, b"Host: localhost:%d\r\n" % port, 1) for one in requests]


def acts_in_batches(testbed: Testbed) -> Row:
    """Batches of lines, one at a time."""
    size, port = testbed.size, testbed.child.port
    rounds_and_warm_up = size.rounds + 1
    each = -(-size.lines // CLIENTS)
    chains = [list(small_acts(who, each * rounds_and_warm_up)) for who in testbed.take(CLIENTS)]
    batches = [
        "\n".join(raw for chain in chains for raw in chain[start * each : (start + 1) * each])
        for start in range(rounds_and_warm_up)
    ]
    ids = {hash_id(raw.encode("ascii")) for chain in chains for raw in chain}
    answers: list[bytes] = []
    verify_rate = Rate(_verify_work(chains))
    flow = send_all([post(port, ACTS, JSON_LINES, batch.encode("ascii")) for batch in batches], answers)
    rounds = []
    with Load(testbed.child, [flow]) as load:
        load.round(LONG, 1)
        for _ in range(size.rounds):
            verify_rate.go(size.slice)
            rounds.append(load.round(LONG, 1))
    check_acceptances([line for answer in answers for line in answer.splitlines()], testbed.home_keys, ids)
    lines = each * CLIENTS
    return Row(
        name="acts_batch",
        what=f"{lines} acts of {CLIENTS} connections as lines of one request, one request at a time; the same is "
        "done with each act as over HTTP one by one",
        figure=rate_of(rounds) * lines,
        unit="acts/s",
        baseline=verify_rate.median,
        baseline_what="PyNaCl's VerifyKey.verify of the same acts on one core",
        better="more",
        client_cpu_share=statistics.median(one.client_cpu for one in rounds),
        details={"server_cpu_share": statistics.median(one.server_cpu for one in rounds)},
    )


def _verify_work(chains: list[list[str]]) -> Callable[[], int]:
    """A piece of work that verifies a few of the acts, other ones each time."""
    ready = [_raw_signature(raw) for chain in chains for raw in chain[:8]]
    place = 0

    def some() -> int:
        nonlocal place
        part = ready[place : place + 16]
        place = (place + 16) % len(ready)
        for key, message, signature in part:
            key.verify(message, signature)
        return len(part)

    return some


def _raw_signature(raw: str) -> tuple[VerifyKey, bytes, bytes]:
    """(key, message, signature) of an act by a pairwise party."""
    signing_input, _, signature = raw.rpartition(".")
    kid = parse_object(b64u_decode(signing_input.partition(".")[0]))["kid"]
    key = PublicKey.of_multibase(kid.rpartition("#")[2])
    return VerifyKey(key.raw), signing_input.encode("ascii"), b64u_decode(signature)


def connects(testbed: Testbed) -> Row:
    """People who connect, several at a time."""
    size = testbed.size
    most = size.connects // CONNECTING * REQUESTS_OF_A_CONNECT
    body = testbed.offer.raw.encode("ascii")
    with bare_server(600) as bare, testbed.connects() as load:
        # Between the shapes of a connect's bodies (0.1 to 1.4 KB) the difference to bare aiohttp is small.
        plain = [repeat_requests([post(bare.port, ACTS, JWT, body[:700])]) for _ in range(CONNECTING)]
        with Load(bare, plain) as baseline:
            load.round(LONG, REQUESTS_OF_A_CONNECT)
            baseline.round(LONG, REQUESTS_OF_A_CONNECT)
            rounds, bare_rounds = rounds_of(load, baseline, size, most, 3)
    # A person between two requests when a round ends goes on in the next: requests are counted, connects follow.
    return Row(
        name="connects",
        what=f"offer fetched, half-signed, countersigned, two status indexes, two grants: {REQUESTS_OF_A_CONNECT} "
        f"requests, {CONNECTING} people at a time; both sides' signing and checking is done in the client",
        figure=rate_of(rounds, REQUESTS_OF_A_CONNECT),
        unit="connects/s",
        baseline=rate_of(bare_rounds, REQUESTS_OF_A_CONNECT),
        baseline_what=f"the same client makes {REQUESTS_OF_A_CONNECT} round trips to bare aiohttp for each",
        better="more",
        client_cpu_share=statistics.median(one.client_cpu for one in rounds),
        details={**_latencies(rounds, bare_rounds), **shares_of(rounds, bare_rounds)},
    )
