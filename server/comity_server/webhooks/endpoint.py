"""One endpoint with its settings and its status, and the texts made for it."""

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from comity.encoding import b64u_encode, hash_id
from comity_server.schema import instant
from comity_server.store.business import StoredWebhook
from comity_server.webhooks.control_protocol import Attempt
from comity_server.webhooks.delivery_store import Key, Row
from comity_server.webhooks.http_client import Outcome
from comity_server.webhooks.lanes import Goal
from comity_server.webhooks.retry import GIVEN_UP
from comity_server.webhooks.signatures import Signers

TEST, CHALLENGE = "webhook.test", "webhook.challenge"


@dataclass(slots=True)
class Endpoint:
    """An endpoint. Members outside `definition` and `row` are known to this process alone."""

    definition: StoredWebhook
    signers: Signers
    row: Row
    waiting: int
    """Deliveries on their way."""
    challenges: int = 0
    """Challenges that were sent by itself since the endpoint, or its URL, was new to this process."""
    challenging: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while one is under way."""
    testing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The same for a test."""
    asked: int = 0
    """Tests and challenges that somebody waits for."""
    wake_at: int | None = 0
    """When (ms) to look at it again."""
    is_behind: bool = True
    """Whether there may be news behind its cursor."""
    under_way: set[int] = field(default_factory=set)
    """The numbers of deliveries that are attempted at this moment."""

    @property
    def key(self) -> Key:
        """Its name in the records."""
        return self.definition.name, self.definition.id

    @property
    def goal(self) -> Goal:
        """The user of lanes."""
        parts = urlsplit(self.definition.url)
        # One host, however its URL is written (RFC 3986, section 6.2.3): else it would have lanes twice.
        return Goal(self.key, f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}")

    @property
    def is_active(self) -> bool:
        """Whether events are sent there."""
        return self.row.state == "active" and bool(self.definition.enabled)

    def learn(self, attempt: Attempt) -> None:
        """Take in what an attempt says about it (HOOK-11)."""
        now = attempt.at + attempt.ms
        if attempt.error is None:
            self.row = self.row._replace(failing_since=None)
        elif attempt.status == 410:
            self.row = self.row._replace(state="disabled", reason=attempt.error, since=now)
        else:
            since = attempt.at if self.row.failing_since is None else self.row.failing_since
            self.row = self.row._replace(failing_since=since)
            if now - since >= GIVEN_UP:
                reason = "nothing got through for three days"
                self.row = self.row._replace(state="disabled", reason=reason, since=now)

    def judge(self, outcome: Outcome, word: str, now: int) -> bool:
        """Records the answer to a challenge; returns whether it proved that the endpoint accepts these webhooks
        (HOOK-8)."""
        if outcome.error is None and is_echo(outcome.body, word):
            if self.row.state != "active":
                self.row = self.row._replace(state="active", reason=None, since=now, failing_since=None)
                self.is_behind = True
            return True
        if self.row.state == "unproven":
            self.row = self.row._replace(reason=outcome.error or "it did not answer with the challenge", since=now)
        return False


def is_echo(body: bytes, word: str) -> bool:
    """Whether an answer is the challenge and nothing else."""
    if body.strip() == word.encode("ascii"):
        return True
    try:
        return bool(json.loads(body) == {"challenge": word})
    except (ValueError, RecursionError):
        return False


def id_of(endpoint: Endpoint, event: str) -> str:
    """`webhook-id`: made of the event and the endpoint alone, so that it is the same whatever was lost (HOOK-1)."""
    return "msg_" + hash_id(f"comity.webhook-id.v1 {endpoint.definition.id} {event}".encode())[:24]


def new_id(kind: str) -> str:
    """An id that nothing else has."""
    return f"{kind}_{b64u_encode(secrets.token_bytes(18))}"


def event_json(id_: str, type_: str, at: int, data: dict[str, str]) -> bytes:
    """An event that only webhooks have, in the form of all others; `at` in ms."""
    return msgspec.json.encode({"id": id_, "object": "event", "type": type_, "timestamp": instant(at), "data": data})
