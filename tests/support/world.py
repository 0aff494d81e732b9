"""A world in one process: a real server on a real port with a real file, a clock that a test moves, and people.

The people here are low-level on purpose: they sign with the protocol package and send bytes with a plain HTTP client,
so a test can also send what no honest wallet would.
"""

import asyncio
import itertools
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from multidict import CIMultiDict

from comity.crypto.http_signatures import sign_request
from comity.crypto.keys import Signer, SigningKey, did_of_host, key_of_kid
from comity.documents.acts import SignedAct, open_act
from comity.documents.agreements import Agreement, HalfSigned, SignedAgreement, countersign, half_sign
from comity.documents.events import Accepted, Opened, open_event
from comity.documents.offers import HomeParty, Offer, OfferedTerms, PartyKey, SignedOffer, Terms, sign_offer, text_hash
from comity.documents.status_lists import open_status_list
from comity.documents.types import Side
from comity.encoding import b64u_encode, dump_json
from comity.errors import CODES
from comity.http_api import ACTS, AGREEMENTS, CONNECTIONS, INBOX, JSON, JSON_LINES, JWT, OFFERS, PROBLEM, STATUS_INDEXES
from comity.rules.fold import Record, fold, initial_state
from comity.rules.next_act import compose_act, next_act, next_mailbox, next_rotation
from comity.rules.state import Connection
from comity_server.app import run_server
from comity_server.config import Config, load
from comity_server.data_dir import STORE
from comity_server.services import Server
from comity_server.store.sqlite import SqliteStore

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
START = 1_718_704_800_000
"""2024-06-18 10:00 UTC, a Tuesday: the time at which a world begins (ms)."""
SOON = 20.0
"""Seconds within which anything happens that a test waits for, however slow the machine is."""
TEXT = "We keep what you tell us to ourselves."


def sqlite_of(server: Server) -> SqliteStore:
    """The server's store, with what only the one in SQLite has."""
    assert isinstance(server.store, SqliteStore)
    return server.store


def body_of(cid: str) -> str:
    """A text of the form of an encrypted body in that connection (BODY-5); nothing opens it."""
    epk = {"kty": "OKP", "crv": "X25519", "x": b64u_encode(b"e" * 32)}
    head = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": "did:web:example#key", "apv": cid, "epk": epk}
    parts = (dump_json(head), b"k" * 40, b"i" * 12, b"a text", b"t" * 16)
    return ".".join(b64u_encode(part) for part in parts)


@dataclass(frozen=True)
class Reply:
    """An answer of the server."""

    status: int
    body: bytes
    headers: CIMultiDict[str]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def plain(self) -> bytes:
        """The body without the id of its request: what two answers that are to have the same bytes share (HTTP-19)."""
        return re.sub(rb',"request_id":"[0-9a-f]{24}"', b"", self.body)

    @property
    def code(self) -> str:
        """The code of a problem, held against the table of codes; "" for an answer that is none."""
        if self.status < 400:
            return ""
        assert self.headers["Content-Type"] == PROBLEM, self
        problem = self.json
        assert problem["status"] == self.status == CODES[problem["code"]].status, self
        code: str = problem["code"]
        return code


class World:
    """A running server, its clock, and one HTTP client."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._offset = folder / "clock"
        self._settings = settings
        self._http: aiohttp.ClientSession | None = None
        self._stack: AsyncExitStack | None = None
        self._numbers = itertools.count(1)
        self.port = free_port()
        self.server: Server
        self.at(START)

    # --- the server

    def config(self) -> Config:
        """The server's configuration."""
        return load(self.settings(), environ={})

    def settings(self) -> dict[str, Any]:
        """The server's settings by name."""
        return {
            "data": self.folder / "data",
            "port": self.port,
            "operator": "The Test Operator",
            "clock_offset_file": self._offset,
            # Everybody here has one address.
            "address_rate": 1_000_000_000,
            "address_openings": 1_000_000_000,
            **self._settings,
        }

    def change(self, **settings: Any) -> None:
        """Change settings for the next start."""
        self._settings.update(settings)

    async def start(self) -> None:
        """Start the server, the first time or again, on the same port and folder."""
        is_restarted = (self.folder / "data" / STORE).exists()
        self._stack = AsyncExitStack()
        self.server = await self._stack.enter_async_context(run_server(self.config()))
        if is_restarted:
            self.pass_the_second()
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)

    async def stop(self) -> None:
        """Stop the server as an operator would."""
        assert self._stack is not None
        await self._stack.aclose()

    async def close(self) -> None:
        """Stop the server and let go of the client."""
        if self._http is not None:
            await self._http.close()
        await self.stop()

    @property
    def origin(self) -> str:
        """The public URL of the server."""
        return f"http://localhost:{self.port}"

    @property
    def home(self) -> str:
        """The server's DID."""
        return did_of_host(f"localhost:{self.port}")

    # --- time

    def at(self, moment: int) -> None:
        """Set the time of the server and of all people to `moment` (ms); it goes on from there."""
        self._offset.write_text(str(moment - time.time_ns() // 1_000_000))

    def now(self) -> int:
        """The time of this world (ms)."""
        return time.time_ns() // 1_000_000 + int(self._offset.read_text())

    def pass_the_second(self) -> None:
        """Go on with the next full second: a request signed in the second of a restart is asked to come again."""
        self.at((self.now() // 1000 + 1) * 1000)

    def later(self, milliseconds: int) -> None:
        """Let time pass."""
        self.at(self.now() + milliseconds)

    # --- HTTP

    async def send(
        self, method: str, path: str, body: bytes = b"", kind: str | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request with these very bytes."""
        assert self._http is not None
        named = dict(headers or {})
        if kind is not None:
            named["Content-Type"] = kind
        async with self._http.request(
            method, self.origin + path, data=body or None, headers=named, skip_auto_headers=["Content-Type"]
        ) as response:
            return Reply(response.status, await response.read(), CIMultiDict(response.headers))

    async def read(
        self, signer: Signer, path: str, method: str = "GET", body: bytes = b"", kind: str | None = None
    ) -> Reply:
        """A signed request, repeated while the server answers 503, as it does just after a restart."""
        while True:
            reply = await self.send(method, path, body, kind, self.signature(signer, path, method, body))
            if reply.status != 503:
                return reply
            await asyncio.sleep(0.1)

    def signature(self, signer: Signer, path: str, method: str = "GET", body: bytes = b"") -> dict[str, str]:
        """The headers of a signed request."""
        nonce = f"nonce-{next(self._numbers):020}"
        return sign_request(method, self.origin + path, signer, self.now() // 1000, nonce, body or None)

    async def act(self, act: SignedAct | str) -> Reply:
        """Send one act."""
        raw = act if isinstance(act, str) else act.raw
        return await self.send("POST", ACTS, raw.encode(), JWT)

    async def batch(self, *acts: SignedAct | str) -> list[dict[str, Any]]:
        """Send acts as lines; the answer's lines."""
        raws = [act if isinstance(act, str) else act.raw for act in acts]
        reply = await self.send("POST", ACTS, "\n".join(raws).encode(), JSON_LINES)
        assert reply.status == 200, reply
        return [json.loads(line) for line in reply.body.splitlines()]

    @property
    def home_party(self) -> HomeParty:
        """The server under the key that signs now."""
        return self.server.home.party

    async def are_waiting(self, count: int = 1) -> None:
        """Return once so many requests wait for news."""

        async def is_so() -> bool:
            return f"\ncomity_waiters {float(count)}\n" in (await self.send("GET", "/metrics")).body.decode()

        await eventually(is_so)

    # --- people

    def person(self) -> Signer:
        """A new person, known by a key alone."""
        return Signer.of_did_key(SigningKey(f"person {next(self._numbers)}".encode().ljust(32, b".")))

    async def business(self, name: str) -> Signer:
        """A business whose did:web the server hosts."""
        key = SigningKey(f"business {name}".encode().ljust(32, b"."))
        added = await self.server.add_business_key(name, key.public.did)
        return Signer(next(iter(added.keys)), key)

    def offer(self, offerer: Signer, **changes: Any) -> SignedOffer:
        """An offer good for a day."""
        seconds = self.now() // 1000
        members: dict[str, Any] = {
            "v": 2,
            "iss": offerer.did,
            "iat": seconds,
            "exp": seconds + 86_400,
            "nonce": f"nonce-{next(self._numbers):020}",
            "home": self.home_party,
            "operator": "The Test Operator",
            "agreements": (OfferedTerms(**terms().model_dump(), text=TEXT),),
            "purposes": ("care", "sales"),
            "use": "one",
            **changes,
        }
        return sign_offer(Offer.model_validate(members), offerer)

    def half(self, offer: SignedOffer, offerer: Signer, accepter: Signer, **changes: Any) -> HalfSigned:
        """The accepter's half of an agreement on an offer."""
        seconds = self.now() // 1000
        members: dict[str, Any] = {
            "v": 2,
            "offer": offer.hash,
            "offerer": PartyKey.of(offerer),
            "accepter": PartyKey.of(accepter),
            "terms": terms(),
            "operator": "The Test Operator",
            "home": self.home_party,
            "nonce": f"nonce-{next(self._numbers):020}",
            "iat": seconds,
            "countersign_by": seconds + 86_400,
            **changes,
        }
        return half_sign(Agreement.model_validate(members), accepter)

    async def publish(self, offer: SignedOffer) -> Reply:
        """Publish an offer."""
        return await self.send("POST", OFFERS, offer.raw.encode(), JWT)

    async def propose(self, offer: SignedOffer, half: HalfSigned) -> Reply:
        """Send the accepter's half."""
        return await self.send("POST", f"{OFFERS}/{offer.short}/agreements", half.raw, JSON)

    async def countersign(self, whole: SignedAgreement) -> Reply:
        """Send both halves."""
        return await self.send("PUT", f"{AGREEMENTS}/{whole.cid}", whole.raw, JSON)

    async def connect(self, offerer: Signer, accepter: Signer) -> "Pair":
        """A connection, made in the ordinary way."""
        offer = self.offer(offerer)
        assert (await self.publish(offer)).status == 201
        half = self.half(offer, offerer, accepter)
        assert (await self.propose(offer, half)).status == 202
        whole = countersign(half, offerer)
        reply = await self.countersign(whole)
        assert reply.status == 200, reply
        opened = open_event(reply.json["event"], self.server.directory.find_key).event
        assert isinstance(opened, Opened)
        return Pair(self, whole, {"first": offerer, "second": accepter}, initial_state(whole, opened))

    async def shop_and_customer(self, *purposes: str) -> "Pair":
        """A hosted shop (first) and a customer (second), who has granted it these purposes in the app."""
        pair = await self.connect(await self.business(f"shop-{next(self._numbers)}"), self.person())
        if purposes:
            await pair.grant("second", *purposes)
        return pair


@dataclass
class Pair:
    """A connection, as somebody who knows both sides' keys works it out from what the server answers."""

    world: World
    agreement: SignedAgreement
    signers: dict[Side, Signer]
    state: Connection
    events: list[str] = field(default_factory=list)
    receipts: dict[str, str] = field(default_factory=dict)
    """The receipts that came with answers, by the ids of the acts."""

    @property
    def cid(self) -> str:
        """The connection's id."""
        return self.state.cid

    def compose(self, side: Side, kind: str, /, **fields: Any) -> SignedAct:
        """The next act of a side, with defaults for the fields that the test leaves out."""
        now = self.world.now() // 1000
        defaults: dict[str, Any] = {}
        if kind == "message":
            defaults = {"purpose": "care", "exp": now + 7 * 86_400, "if_muted": "hold", "body": body_of(self.cid)}
        elif kind == "ask":
            defaults = {"kind": "hold", "effort": "minute", "body": body_of(self.cid)}
        iat = fields.pop("iat", now)
        if (box := fields.pop("box", None)) is not None:
            return next_mailbox(self.state, side, iat, self.signers[side], box)
        return next_act(self.state, side, kind, iat, self.signers[side], **{**defaults, **fields})

    async def go(self, side: Side, kind: str, /, **fields: Any) -> SignedAct:
        """Sign, send, and fold; the act must be accepted."""
        act = self.compose(side, kind, **fields)
        reply = await self.world.act(act)
        assert reply.status == 200, reply
        await self._read_up_to(reply.json["event"], side)
        self.take(reply.json["event"], act)
        if "receipt" in reply.json:
            self.receipts[act.id] = reply.json["receipt"]
        return act

    async def _read_up_to(self, event: str, side: Side) -> None:
        """Fold the records that reached a side before this event of its own, if the other side acted without this
        object (EVENT-7)."""
        find, cursor = self.world.server.directory.find_key, None
        opened = open_event(event, find).event
        assert isinstance(opened, Accepted)
        if (opened.as_of.first, opened.as_of.second) == (self.state.first.head, self.state.second.head):
            return
        while items := (page := await self.news(side, cursor))["items"]:
            cursor = page["cursor"]
            for item in items:
                is_of_it = item.get("cid") == self.cid and item["kind"] in ("act", "event")
                if is_of_it and open_event(item["event"], find).event.at < opened.at:
                    raw = item.get("act")
                    act = None if raw is None else open_act(raw, lambda kid: key_of_kid(kid) or find(kid))
                    self.take(item["event"], act)

    def row_of(self, side: Side, count: int) -> list[SignedAct]:
        """So many acts of a side, each behind the one before; not sent."""
        acts = [self.compose(side, "remember", key="key_0")]
        for number in range(1, count):
            last = acts[-1].payload
            place = {"cid": self.cid, "seq": last.seq + 1, "prev": acts[-1].id}
            head = {"iss": last.iss, "aud": last.aud, "iat": last.iat}
            acts.append(compose_act("remember", self.signers[side], **head, **place, key=f"key_{number % 5}"))
        return acts

    async def refused(self, side: Side, kind: str, /, **fields: Any) -> str:
        """The code of the refusal of an act that must be refused."""
        code = (await self.world.act(self.compose(side, kind, **fields))).code
        assert code
        return code

    def take(self, event: str, act: SignedAct | None = None) -> None:
        """Fold an event of the server, and the act that it accepts."""
        opened = open_event(event, self.world.server.directory.find_key).event
        if opened.at > self.state.at:
            self.state = fold(self.state, Record(opened, act))
            self.events.append(event)

    async def rotate(self, side: Side, new: Signer) -> SignedAct:
        """Give a side a new key."""
        act = next_rotation(self.state, side, self.world.now() // 1000, self.signers[side], new)
        reply = await self.world.act(act)
        assert reply.status == 200, reply
        self.take(reply.json["event"], act)
        self.signers[side] = new
        return act

    async def grant(self, side: Side, *purposes: str, **fields: Any) -> SignedAct:
        """Reserve an index and grant."""
        members: dict[str, Any] = {
            "exp": self.world.now() // 1000 + 365 * 86_400,
            "channels": ("app",),
            "purposes": purposes,
            "status": {"status_list": await self.index(side)},
            **fields,
        }
        return await self.go(side, "grant", **members)

    async def index(self, side: Side) -> dict[str, Any]:
        """A reserved status index."""
        body = dump_json({"cid": self.cid})
        reply = await self.world.read(self.signers[side], STATUS_INDEXES, "POST", body, JSON)
        assert reply.status == 201, reply
        found: dict[str, Any] = reply.json["status_list"]
        return found

    async def status(self, grant: SignedAct) -> int:
        """The value of a grant in the served status list."""
        reference = grant.payload.status.status_list  # type: ignore[union-attr]
        reply = await self.world.send("GET", reference.uri.removeprefix(self.world.origin))
        assert reply.status == 200, reply
        signed = open_status_list(reply.body, reference.uri, self.world.server.directory.find_key)
        return signed.at(reference.idx)

    async def news(self, side: Side, cursor: str | None = None, wait: int = 0) -> dict[str, Any]:
        """A page of a side's inbox."""
        query = f"?wait={wait}" + (f"&cursor={cursor}" if cursor else "")
        reply = await self.world.read(self.signers[side], INBOX + query)
        assert reply.status == 200, reply
        page: dict[str, Any] = reply.json
        return page

    async def kinds(self, side: Side) -> list[str]:
        """The kinds of event that came to a side, oldest first: accepted acts by their kind, others by their name."""
        page = await self.news(side)
        return [self._kind(item) for item in page["items"]]

    def _kind(self, item: dict[str, Any]) -> str:
        if "event" not in item:
            return str(item["kind"])
        event = open_event(item["event"], self.world.server.directory.find_key).event
        name = event.kind if event.event == "accepted" else event.event
        return name if item["kind"] != "event" or event.event != "accepted" else f"{name} ({event.outcome})"

    async def seen(self, side: Side) -> Reply:
        """The connection as the server shows it to a side."""
        return await self.world.read(self.signers[side], f"{CONNECTIONS}/{self.cid}")


def terms(text: str = TEXT) -> Terms:
    """The terms whose text is `text`."""
    return Terms(id="https://w3id.org/dpv/standards/ieee/7012#SD-BASE", version="1", lang="en", sha256=text_hash(text))


def free_port() -> int:
    """A port that the operating system chose; kept for restarts of one server."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@asynccontextmanager
async def a_world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A world with a running server; `settings` are the operator's."""
    world = World(folder, settings)
    await world.start()
    try:
        yield world
    finally:
        await world.close()


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float | None = None) -> None:
    """Wait until `await check()` is true. Raises TimeoutError after `seconds`, or after SOON."""
    async with asyncio.timeout(SOON if seconds is None else seconds):
        while not await check():
            await asyncio.sleep(0.02)


@contextmanager
def head_file_not_to_be_written(world: World) -> Iterator[None]:
    """Within the context, the system refuses to write the head file."""
    file = world.server.logs.active._file._file
    kept, read_only = os.dup(file), os.open(world.folder / "data" / "log.head", os.O_RDONLY)
    os.dup2(read_only, file)
    try:
        yield
    finally:
        os.dup2(kept, file)
        os.close(kept)
        os.close(read_only)
