"""A proxy in front of a real server that alters one answer, and the list of ways in which an answer can be altered.

The server's public name is the proxy's address, so wallets sign their reads for it and know nothing else. An alteration
is a function of a true answer; where it cannot be made (no such member in this answer) it returns None.
"""

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from comity.client import Transport, Wallet, over_aiohttp
from comity.client.connection import queries
from comity.crypto.keys import Signer, SigningKey
from comity.encoding import b64u_decode, b64u_encode, hash_id
from comity.errors import ComityError
from comity.rules.state import public_state
from comity.transparency.checkpoints import open_checkpoint
from comity.transparency.merkle import prove_inclusion
from comity.transparency.notes import ED25519, NoteSigner
from comity.transparency.receipts import Opening, TlogProof
from comity.transparency.tiles import Tile, bundles_of, decode_bundle, node_reader
from support.parties import forge
from support.sdk_world import IDENTITY, SdkWorld
from support.served_log import TrueLog
from support.world import free_port

JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
STRANGER = Signer.of_did_key(SigningKey(b"a stranger".ljust(32, b".")))
_HOP = frozenset({"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"})


@dataclass(frozen=True)
class Answer:
    """A whole answer; `cut` closes the connection after so many bytes of what was announced."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None

    @property
    def kind(self) -> str:
        """The media type."""
        return self.headers.get("content-type", "").partition(";")[0]

    def with_json(self, value: Any) -> "Answer":
        """The same answer with another body."""
        return replace(self, body=json.dumps(value).encode())


class Exchange(NamedTuple):
    """One request and its true answer."""

    route: str
    target: str
    answer: Answer


Alter = Callable[[Answer], Answer | None]


Liar = Callable[[str, str, Answer], Answer | None]
"""From a route, the path and the true answer to another one; None: the truth."""


class Lie(NamedTuple):
    """An alteration of every answer to one request: the first of that route, or the `nth`, and its repetitions."""

    name: str
    route: str
    alter: Alter
    nth: int = 0


def route_of(method: str, path: str) -> str:
    """A request's route, ids left out."""
    for pattern, name in _ROUTES:
        if re.fullmatch(pattern, path):
            return f"{method} {name}"
    return f"{method} {path}"


_ROUTES = (
    (r"/v1/offers/[^/]+/agreements", "/v1/offers/{id}/agreements"),
    (r"/v1/offers/[^/]+", "/v1/offers/{id}"),
    (r"/v1/agreements/[^/]+", "/v1/agreements/{cid}"),
    (r"/v1/connections/[^/]+", "/v1/connections/{cid}"),
    (r"/v1/acts/[^/]+", "/v1/acts/{hash}"),
    (r"/status/[^/]+", "/status/{list}"),
    (r"/b/[^/]+/did.json", "/b/{name}/did.json"),
    (r"/log/tile/.+", "/log/tile/{tile}"),
)


class Proxy:
    """Passes everything on to `upstream`, writes down what it saw, and tells one lie at a time."""

    def __init__(self) -> None:
        self.port = free_port()
        self.upstream = ""
        self.seen: list[Exchange] = []
        self.lie: Lie | None = None
        self.told = 0
        """How often the lie was told."""
        self.lose: str | None = None
        """A route whose answers are lost."""
        self.liar: Liar | None = None
        """Who may alter every answer, whatever the route."""
        self.late = False
        """Whether news comes on streams alone: whoever asks for it is told that there is none yet."""
        self.stream_after = 0.05
        """Seconds of silence after which a stream is ended."""
        self._targets: list[str] = []
        self._http: aiohttp.ClientSession

    def honest(self) -> None:
        """Tell the truth from now on."""
        self.lie, self.lose, self.liar, self._targets, self.told = None, None, None, [], 0

    def begin(self, lie: Lie) -> None:
        """Tell this lie from now on."""
        self.honest()
        self.lie = lie

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        """Listen on the loopback interface."""
        async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as self._http:
            runner = web.ServerRunner(
                web.Server(self._handle, access_log=None), handle_signals=False, shutdown_timeout=0.2
            )
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = self.upstream + request.raw_path
        async with self._http.request(
            request.method, url, data=body or None, headers=headers, skip_auto_headers=["Content-Type"]
        ) as real:
            named = {name.lower(): value for name, value in real.headers.items() if name.lower() not in _HOP}
            stream = named.get("content-type", "").startswith("text/event-stream")
            data = await self._events(real) if stream else await real.read()
        answer = Answer(real.status, named, data)
        route = route_of(request.method, request.path) + (" (stream)" if stream else "")
        target = f"{request.raw_path} {hash_id(body)}"
        self.seen.append(Exchange(route, target, answer))
        if self.lose == route:
            return await _told(request, replace(answer, cut=0))
        return await _told(request, self._altered(route, target, answer))

    async def _events(self, real: aiohttp.ClientResponse) -> bytes:
        """What a stream has to say now."""
        data = b""
        while True:
            try:
                data += await asyncio.wait_for(real.content.readany(), self.stream_after)
            except TimeoutError:
                return data
            if real.content.at_eof():
                return data

    def _altered(self, route: str, target: str, answer: Answer) -> Answer:
        if self.liar is not None:
            return self.liar(route, target.partition(" ")[0], answer) or answer
        if self.late and route == "GET /v1/inbox":
            return answer.with_json({**json.loads(answer.body), "items": []})
        if self.lie is None or route != self.lie.route:
            return answer
        if target not in self._targets:
            self._targets.append(target)
        # A repeated request gets the lie again: or trying twice would find the truth.
        if self._targets.index(target) != self.lie.nth:
            return answer
        altered = self.lie.alter(answer)
        self.told += altered is not None
        return altered or answer


async def _told(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    if answer.cut is None:
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = max(len(answer.body), 1)
    await response.prepare(request)
    await response.write(answer.body[: answer.cut])
    assert request.transport is not None
    request.transport.close()
    return response


# --- a world behind the proxy


class LyingWorld(SdkWorld):
    """A world whose wallets reach the server through the proxy. Nothing is asked twice: that would find the truth."""

    def __init__(self, folder: Path, stack: AsyncExitStack, proxy: Proxy) -> None:
        super().__init__(folder, stack)
        self.proxy = proxy
        behind, self.host.port = self.host.port, proxy.port
        proxy.upstream = f"http://127.0.0.1:{behind}"
        self.host._settings |= {
            "port": behind,
            "base_url": self.host.origin,
            "max_proposals": 100_000,
            "max_offers": 100_000,
            "max_reserved": 10_000,
        }
        self._copies = 0
        self._session: aiohttp.ClientSession

    @property
    def data(self) -> Path:
        """The server's folder."""
        return self.host.folder / "data"

    @property
    def home_key(self) -> Signer:
        """The key of the server: with it a lie can be signed."""
        return self.host.server.home.signer

    async def _made(self, file: str, _patience: float = 0, /, **about: Any) -> Wallet:
        made = Wallet.create(self.folder / file, identity=IDENTITY, send=self.transport, clock=self.host.now, **about)
        return await self._stack.enter_async_context(made)

    @property
    def transport(self) -> Transport:
        """One session for all wallets."""
        shared = over_aiohttp(self._session)
        return Transport(shared.send, shared.stream, patience=0.001)

    def copy(self, snapshot: bytes) -> Path:
        """A wallet's file as it was."""
        self._copies += 1
        path = self.folder / f"copy-{self._copies}"
        path.write_bytes(snapshot)
        return path

    def open(self, path: Path) -> Any:
        """A wallet, from its file."""
        return Wallet.open(path, identity=IDENTITY, send=self.transport, clock=self.host.now)

    def snapshot(self, name: str) -> bytes:
        """The file of a wallet as it is now."""
        return (self.folder / name).read_bytes()


@asynccontextmanager
async def lying_world(folder: Path) -> AsyncIterator[LyingWorld]:
    """A world with a running server behind the proxy."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy().listening())
        world = LyingWorld(folder, stack, proxy)
        world._session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        await world.host.start()
        stack.push_async_callback(world.host.close)
        yield world


# --- a second history, signed with the log's own key


async def history(world: LyingWorld) -> TrueLog:
    """The log as it is now, in the hands of somebody who has its key and may put other entries in."""
    key = NoteSigner(f"localhost:{world.proxy.port}/log", ED25519, SigningKey((world.data / "log.key").read_bytes()))
    served = (await world.host.send("GET", "/log/checkpoint")).body
    size = open_checkpoint(served, key.verifier).size
    (bundle,) = bundles_of(size)
    entries = decode_bundle(bundle, (await world.host.send("GET", f"/log/{bundle.path}")).body)
    return signed_by(key, entries)


def signed_by(key: NoteSigner, entries: Sequence[bytes]) -> TrueLog:
    """A log of these entries under that key."""
    log = TrueLog(key.name, entries)
    log.signer = key
    return log


def put_in(log: TrueLog, index: int, entry: bytes, more: int = 0) -> TrueLog:
    """The same log with another entry there, and as many more of the same at its end."""
    entries = [*log.entries[:index], entry, *log.entries[index + 1 :], *([entry] * more)]
    return signed_by(log.signer, entries)


def receipt_in(log: TrueLog, index: int, opening: Opening) -> str:
    """The receipt of an entry as that log gives it."""

    def read(tile: Tile) -> bytes:
        return log.file(tile.path) or b""

    hashes = prove_inclusion(index, log.size, node_reader(log.size, read))
    return TlogProof(opening.to_bytes(), index, tuple(hashes), log.checkpoint()).text


def telling(log: TrueLog) -> Liar:
    """Serves that log instead of the true one."""

    def liar(route: str, path: str, answer: Answer) -> Answer | None:
        if not path.startswith("/log/"):
            return None
        told = log.file(path.removeprefix("/log/"))
        return replace(answer, status=404, body=b"") if told is None else replace(answer, status=200, body=told)

    return liar


# --- alterations


def alterations(true: Answer, donors: Sequence[Answer] = (), form: bool = True) -> Iterator[tuple[str, Alter]]:
    """Every way in which this answer is altered; `donors` are true answers of the same route to something else."""
    if form:
        yield from _of_the_form(true)
    yield from _whole(true, donors)
    if true.kind == "application/json":
        yield from _of_members(true, donors)
    elif true.kind == "text/event-stream":
        yield from _of_a_stream(true)
    elif JWS.match(true.body.decode("ascii", "replace")):
        for name, alter in _of_a_jws(true.body.decode()):
            yield name, partial(_with_text, alter)


def _of_the_form(true: Answer) -> Iterator[tuple[str, Alter]]:
    def headed(kind: str) -> Alter:
        return lambda answer: replace(answer, headers={**answer.headers, "content-type": kind})

    def stated(status: int) -> Alter:
        return lambda answer: replace(answer, status=status)

    for status in (200, 201, 204, 302, 404, 500):
        if status != true.status:
            yield f"status {status}", stated(status)
    for kind in ("text/html", "application/problem+json"):
        yield f"content type {kind}", headed(kind)
    if true.body:
        yield "no body", lambda answer: replace(answer, body=b"")
        yield "half a body", lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2])
        yield "the connection breaks", lambda answer: replace(answer, cut=len(answer.body) // 2)
        yield "something after the body", lambda answer: replace(answer, body=answer.body + b"{}")
    yield "not HTTP of this protocol", lambda _: Answer(502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>")
    yield "another refusal's title", lambda _: _problem(409, "no_grant", "Not found, or not visible to you.")
    yield "a refusal that is none", lambda _: _problem(409, "made_up", "Made up.")
    yield "a refusal with another status", lambda _: replace(_problem(403, "no_grant", _NO_GRANT), status=404)


_NO_GRANT = "There is no valid grant for this purpose and channel."


def _problem(status: int, code: str, title: str) -> Answer:
    document = {"type": f"urn:comity:problem:{code}", "title": title, "status": status, "code": code}
    return Answer(status, {"content-type": "application/problem+json"}, json.dumps(document).encode())


def _with_text(alter: Callable[[str], str], answer: Answer) -> Answer:
    return replace(answer, body=alter(answer.body.decode()).encode())


def _instead(other: Any, _: Any) -> Any:
    return other


def _whole(true: Answer, donors: Sequence[Answer]) -> Iterator[tuple[str, Alter]]:
    for number, donor in enumerate(donors):
        if donor.body != true.body:
            yield f"another answer ({number})", partial(_instead, donor)


def _of_members(true: Answer, donors: Sequence[Answer]) -> Iterator[tuple[str, Alter]]:
    value = json.loads(true.body)
    others = [json.loads(donor.body) for donor in donors if donor.kind == true.kind]

    def at(path: tuple[str | int, ...], put: Callable[[Any], Any]) -> Alter:
        def alter(answer: Answer) -> Answer | None:
            whole = copy.deepcopy(json.loads(answer.body))
            holder = _at(whole, path[:-1])
            try:
                new = put(holder[path[-1]])
            except LookupError:
                return None
            if new is _GONE:
                del holder[path[-1]]
            else:
                holder[path[-1]] = new
            return answer.with_json(whole)

        return alter

    def added(path: tuple[str | int, ...], name: str) -> Alter:
        def alter(answer: Answer) -> Answer:
            whole = json.loads(answer.body)
            _at(whole, path)[name] = "more"
            return answer.with_json(whole)

        return alter

    treated: set[str] = set()
    yield "a member twice", lambda answer: replace(answer, body=_doubled(answer.body))
    for path in _paths(value):
        shown, here = "/".join(map(str, path)), _at(value, path)
        if isinstance(here, dict):
            yield f"/{shown} with one more member", added(path, "extra")
        if not path:
            continue
        yield f"/{shown} changed", at(path, _changed)
        yield f"/{shown} missing", at(path, lambda _: _GONE)
        for other in others if len(path) < 4 else ():
            found = _found(other, path)
            if type(found) is type(here) and found != here:
                yield f"/{shown} of another", at(path, partial(_instead, found))
                break
        if isinstance(here, str) and JWS.match(here) and _members(here) is not None:
            kind = _kind_of(here)
            for number, (name, alter) in enumerate(_of_a_jws(here)):
                # Once for each kind of text in an answer; of the others the plain forgery.
                if number == 0 or kind not in treated:
                    yield f"/{shown}: {name}", at(path, alter)
            treated.add(kind)


_GONE = object()


def _doubled(body: bytes) -> bytes:
    name = next(iter(json.loads(body)), "a")
    return body.replace(b"{", b'{"%s":1,' % name.encode(), 1)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inside in items:
        yield from _paths(inside, (*path, name))


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def _found(value: Any, path: tuple[str | int, ...]) -> Any:
    try:
        return _at(value, path)
    except (LookupError, TypeError):
        return None


def _changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, *value[-1:]] if value else ["more"]
    if isinstance(value, dict):
        return dict(list(value.items())[:-1])
    if value.startswith("did:key:"):
        return STRANGER.kid if "#" in value else STRANGER.did
    if re.fullmatch(r"[A-Za-z0-9_-]{43}", value):
        return hash_id(value.encode())
    if JWS.match(value):
        head, payload, signature = value.split(".")
        return f"{head}.{payload}.{_changed(signature)}"
    return value[:-2] + ("A" if value[-2:-1] != "A" else "B") + value[-1:] if len(value) > 1 else value + "a"


# --- signed texts


def _members(raw: str) -> dict[str, Any] | None:
    try:
        payload = json.loads(b64u_decode(raw.split(".")[1]))
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


def payload_of(raw: str) -> dict[str, Any]:
    """What a signed text says."""
    payload = _members(raw)
    assert payload is not None
    return payload


def _kind_of(raw: str) -> str:
    payload = _members(raw) or {}
    return f"{b64u_decode(raw.split('.')[0])!r} {payload.get('event')}"


def _of_a_jws(raw: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    """A signed text with each member of its payload changed, signed by somebody else; and other headers."""

    def resealed(change: Callable[[dict[str, Any]], object], signer: Signer | None = None) -> Callable[[str], str]:
        def alter(text: str) -> str:
            header, payload = json.loads(b64u_decode(text.split(".")[0])), _members(text)
            assert payload is not None
            change(payload)
            by = signer or Signer(header["kid"], STRANGER.key)
            return forge(payload, header["typ"], by)

        return alter

    def headed(**changes: str) -> Callable[[str], str]:
        def alter(text: str) -> str:
            header, payload, signature = text.split(".")
            changed = {**json.loads(b64u_decode(header)), **changes}
            return f"{b64u_encode(json.dumps(changed).encode())}.{payload}.{signature}"

        return alter

    payload = _members(raw)
    assert payload is not None
    yield "signed by a stranger under this name", resealed(lambda _: None)
    yield "signed by a stranger under his own", resealed(lambda it: it.update(iss=STRANGER.did), STRANGER)
    yield "alg none", headed(alg="none")
    yield "another type", headed(typ="comity-offer+jwt" if "offer" not in raw[:80] else "comity-act+jwt")
    for name in payload:

        def put(it: dict[str, Any], name: str = name) -> None:
            it[name] = _changed(it[name])

        yield f"{name} changed under another key", resealed(put)


# --- streams


def _of_a_stream(true: Answer) -> Iterator[tuple[str, Alter]]:
    """Items left out, twice, in another order, altered, and under another cursor."""
    yield from ((f"{name}", alter) for name, alter in _of_the_form(true) if not name.startswith("the connection"))

    def changed(change: Callable[[list[bytes]], object]) -> Alter:
        def alter(answer: Answer) -> Answer:
            blocks = _blocks(answer)
            change(blocks)
            return replace(answer, body=b"".join(block + b"\n\n" for block in blocks))

        return alter

    def inside(number: int, name: str, new: Callable[[Any], Any]) -> Alter:
        def put(blocks: list[bytes]) -> None:
            before, _, data = blocks[number].partition(b"data: ")
            item = json.loads(data)
            value = new(item.pop(name))
            whole = item if value is _GONE else {**item, name: value}
            blocks[number] = before + b"data: " + json.dumps(whole).encode()

        return changed(put)

    def moved(number: int, to: int, blocks: list[bytes]) -> None:
        blocks.insert(to, blocks.pop(number))

    def doubled(number: int, blocks: list[bytes]) -> None:
        blocks.insert(number, blocks[number])

    def left_out(number: int, blocks: list[bytes]) -> None:
        del blocks[number]

    def renamed(number: int, blocks: list[bytes]) -> None:
        blocks[number] = b"id: another\n" + blocks[number].partition(b"\n")[2]

    for number, block in enumerate(_blocks(true)):
        yield f"item {number} left out", changed(partial(left_out, number))
        yield f"item {number} twice", changed(partial(doubled, number))
        yield f"item {number} after the next", changed(partial(moved, number, number + 1))
        yield f"item {number} under another cursor", changed(partial(renamed, number))
        for name in json.loads(block.partition(b"data: ")[2]):
            yield f"item {number}: {name} changed", inside(number, name, _changed)
            yield f"item {number}: {name} missing", inside(number, name, lambda _: _GONE)


def _blocks(answer: Answer) -> list[bytes]:
    """The blocks of an event stream that bear an item, `id` before `data`."""
    found = []
    for block in answer.body.replace(b"\r\n", b"\n").split(b"\n\n"):
        if b"data: " in block:
            fields = block.decode().split("\n")
            found.append("\n".join(sorted(fields, key=lambda text: text.startswith("data"))).encode())
    return found


# --- telling them


class Step(NamedTuple):
    """Something that a wallet does, from where its file stood; what it makes of the answers is compared."""

    name: str
    snapshot: bytes
    do: Callable[[Wallet], Awaitable[Any]]
    routes: tuple[str, ...]
    donors: Sequence[Exchange] = ()
    """True answers to other requests."""
    most: int = 2
    """Of how many requests to one route the answers are altered."""
    only: str = ""
    """A pattern of the lies that are told; all of them where there is none."""
    every: int = 1
    """After how many lies the wallet is told the truth, to see what was left behind."""
    one_in: int = 1
    """Of how many lies one is told: neighbours in a long page are much alike. With 1, every one of them."""
    sees: bool = True
    """Whether everything in the wallet must be as with true answers, not only what `do` returns."""


@dataclass
class Tally:
    """What became of the lies of a test."""

    noticed: dict[str, str] = field(default_factory=dict)
    """Lie → what was raised."""
    harmless: list[str] = field(default_factory=list)
    """Lies that changed nothing."""
    believed: dict[str, str] = field(default_factory=dict)
    """Lies that were not noticed, and what is otherwise than with true answers."""
    lasting: dict[str, str] = field(default_factory=dict)
    """Lies that were noticed, and what is otherwise when the truth is told again."""
    formed: set[str] = field(default_factory=set)
    """Routes whose answers were altered in form already."""


async def tell_all(world: LyingWorld, step: Step, tally: Tally) -> None:
    """Tells every lie about every answer that the step gets, each to a wallet of its own."""
    truth, exchanges = await _truth(world, step)
    for route in step.routes:
        asked = list(dict.fromkeys(it.target for it in exchanges if it.route == route))
        assert asked, f"{step.name} does not ask {route}"
        for nth, target in enumerate(asked[: step.most]):
            true = next(it.answer for it in exchanges if (it.route, it.target) == (route, target))
            others = [it.answer for it in (*step.donors, *exchanges) if it.route == route and it.target != target]
            formed = true.kind in ("text/event-stream",) or route in tally.formed
            tally.formed.add(route)
            for number, (name, alter) in enumerate(alterations(true, others[:3], form=not formed)):
                if number % step.one_in or not re.search(step.only, name):
                    continue
                lie = Lie(f"{step.name}: {route}{f' [{nth}]' if nth else ''}: {name}", route, alter, nth)
                await tell(world, step, lie, truth, tally, again=number // step.one_in % step.every == 0)


async def tell(world: LyingWorld, step: Step, lie: Lie, truth: Any, tally: Tally, again: bool = True) -> None:
    """Tells one lie to a copy of the wallet, then (`again`) the truth."""
    path = world.copy(step.snapshot)
    world.proxy.begin(lie)
    try:
        found = await _found_by(world, step, path)
    except ComityError as error:
        if world.proxy.told:
            tally.noticed[lie.name] = type(error).__name__
        world.proxy.honest()
        if not again:
            return
        try:
            after: Any = await _found_by(world, step, path)
        except ComityError as left:
            after = repr(left)
        if after != truth:
            tally.lasting[lie.name] = f"{error!r}, and afterwards {_difference(truth, after)}"
    else:
        if not world.proxy.told:
            return
        if found == truth:
            tally.harmless.append(lie.name)
        else:
            tally.believed[lie.name] = _difference(truth, found)
    finally:
        world.proxy.honest()
        path.unlink(missing_ok=True)


async def _truth(world: LyingWorld, step: Step) -> tuple[Any, list[Exchange]]:
    world.proxy.honest()
    began = len(world.proxy.seen)
    truth = await _found_by(world, step, world.copy(step.snapshot))
    return truth, world.proxy.seen[began:]


async def _found_by(world: LyingWorld, step: Step, path: Path) -> Any:
    async with world.open(path) as wallet:
        made = await step.do(wallet)
        return [made, everything(wallet) if step.sees else None]


def everything(wallet: Wallet) -> dict[str, Any]:
    """All that a wallet believes."""
    kept = wallet._session.records
    found: dict[str, Any] = {
        table: sorted(kept.file.table(table)) for table in ("proposals", "received", "unsent", "links")
    }
    for party in wallet.connections():
        found[party.cid] = {"phase": party.phase, "closed": party.info.closed, "name": party.name}
        if party.phase in ("open", "ended"):
            found[party.cid] |= {
                "state": public_state(party.state),
                "settings": repr(party.state.door(party.side).settings),
                "lines": sorted(line.raw for line in party.records),
                "messages": [repr(it) for it in queries.list_messages(party)],
            }
    return found


def _difference(truth: Any, found: Any) -> str:
    if isinstance(truth, dict) and isinstance(found, dict) and truth.keys() == found.keys():
        return "; ".join(f"{key}: {_difference(truth[key], found[key])}" for key in truth if truth[key] != found[key])
    if isinstance(truth, list) and isinstance(found, list) and len(truth) == len(found):
        return "; ".join(_difference(one, two) for one, two in zip(truth, found, strict=True) if one != two)
    return f"{str(truth)[:100]} became {str(found)[:200]}"
