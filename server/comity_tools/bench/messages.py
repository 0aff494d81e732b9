"""Messages of a business through the gate."""

import json
import statistics
from collections.abc import Sequence

from comity.crypto.encryption import BodyKey, encrypt_body
from comity.crypto.keys import PublicKey
from comity.documents.types import DAY
from comity.http_api import JSON, JWT
from comity.rules.state import Connection
from comity_server.api.business.route import BUSINESS
from comity_tools.bench.checks import Customers
from comity_tools.bench.load_client import Flow, Load, percentile, post, repeat_requests
from comity_tools.bench.over_http import LONG, WARM_UP, rate_of, rounds_of, shares_of, to_port
from comity_tools.bench.processes import bare_server
from comity_tools.bench.result import BenchFailed, Row
from comity_tools.bench.workload import Opened, now

WRITING = 64
"""Clients: what campaigns and a shop's tills together send."""
MOST = 4096
"""Customers who are written to."""
TEXT = "How are the new windows?"
_ANSWER = 600
"""Bytes of an answer, about."""


def messages_over_http(place: Customers) -> Row:
    """Messages to one customer after the other: composed, encrypted and signed by the server."""
    # The first ones are written to by signed messages, whose places in the chain are known ahead.
    requests = [_message(place, cid) for cid in place.cids[len(place.states) :][:MOST]]
    return _measure(
        place,
        "message_http",
        f"POST …/messages with a text, delivered, {WRITING} clients with a connection each, {len(requests)} customers",
        [requests[number::WRITING] for number in range(WRITING)],
        1_000_000,
    )


def signed_messages_over_http(place: Customers) -> Row:
    """Messages of a business that encrypts and signs by itself."""
    count = WARM_UP + place.size.rounds * place.size.acts
    chains = [_signed_messages(place, state, count) for state in place.states[:WRITING]]
    return _measure(
        place,
        "message_signed",
        f"POST …/messages with the message's JWS, delivered, {WRITING} clients with a customer each",
        chains,
        place.size.acts,
    )


def _measure(place: Customers, name: str, what: str, chains: list[list[bytes]], most: int) -> Row:
    port, size = place.child.port, place.size
    with Load(place.child, [_message_flow(chain) for chain in chains]) as load, bare_server(_ANSWER) as bare:
        load.round(LONG, WARM_UP)
        bodies = [to_port(bare.port, port, chain[:64]) for chain in chains]
        with Load(bare, [repeat_requests(chain) for chain in bodies]) as baseline:
            baseline.round(LONG, 64)
            rounds, bare_rounds = rounds_of(load, baseline, size, most, 3)
    seconds = [latency for one in rounds for latency in one.latencies]
    return Row(
        name=name,
        what=what,
        figure=rate_of(rounds),
        unit="messages/s",
        baseline=rate_of(bare_rounds),
        baseline_what="the same client POSTs the same bytes to bare aiohttp",
        better="more",
        client_cpu_share=statistics.median(one.client_cpu for one in rounds),
        details={"p99_ms": percentile(seconds, 0.99) * 1000, **shares_of(rounds, bare_rounds)},
    )


def _message(place: Customers, cid: str) -> bytes:
    body = json.dumps({"purpose": "care.checkin", "text": TEXT}).encode()
    return _to(place, cid, JSON, body)


def _signed_messages(place: Customers, state: Connection, count: int) -> list[bytes]:
    """So many messages in one connection, each behind the one before."""
    customer = state.second
    chain = Opened(state.cid, place.signer, customer.did, state.first.seq, state.first.head)
    to = BodyKey(customer.kid, PublicKey.of_multibase(customer.key).x25519())
    body = encrypt_body({"text": TEXT}, state.cid, to)
    fields = {"purpose": "care.checkin", "if_muted": "hold", "exp": now() + DAY, "body": body}
    return [_to(place, state.cid, JWT, chain.next_act("message", **fields).encode()) for _ in range(count)]


def _to(place: Customers, cid: str, media: str, body: bytes) -> bytes:
    path = f"{BUSINESS}/connections/{cid}/messages"
    return post(place.child.port, path, media, body, {"Authorization": f"Bearer {place.key}"})


def _message_flow(requests: Sequence[bytes]) -> Flow:
    """A flow without end. Raises BenchFailed for a message that is not delivered."""
    while True:
        for one in requests:
            answer = yield one
            if answer.status != 201:
                raise BenchFailed(f"a message was answered {answer.status}: {answer.body[:300].decode()}")
