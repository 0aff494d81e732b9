"""While there is more to do than can be done in time: what is refused, how, and that no "no" is (HTTP-15, HTTP-25)."""

import asyncio
import itertools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from comity.crypto.jws import sign_jws
from comity.documents.acts import SignedAct
from comity.encoding import dump_json
from comity.http_api import ACTS, INBOX, JWT
from comity_server import http_server
from comity_server.limits import admission, turns
from comity_server.limits.admission import NOES
from comity_server.limits.backlog import FIRST, LEAST, LONGEST, Backlog
from comity_server.limits.shares import User
from support.behind_proxy import GREEDY, OTHER, act, behind_a_proxy
from support.world import World, a_world, eventually


@contextmanager
def acts_are_refused(world: World) -> Iterator[None]:
    """As many commands wait as there is room for; what is kept for a "no" is free."""
    room = world.server.writer.room
    others, room.taken, room.full_until = room.size - room.taken, room.size, time.monotonic() + 3600
    try:
        yield
    finally:
        room.taken -= others
        room.full_until = 0.0


async def so_many_wait(world: World, count: int) -> None:
    """Return once so many refusals wait for their turn."""

    async def is_so() -> bool:
        return len(world.server.turns) == count

    await eventually(is_so)


def request_of(act: SignedAct, *more: str, kind: str = JWT) -> bytes:
    """An act as it goes over the wire."""
    raw = act.raw.encode()
    lines = [f"POST {ACTS} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {len(raw)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + raw


class Talk:
    """A connection, with what is said on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def to(world: World) -> "Talk":
        """A new one, of which the server knows."""
        talk = Talk(*await asyncio.open_connection("127.0.0.1", world.port))
        assert (await talk.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
        return talk

    async def ask(self, *pieces: bytes) -> tuple[int, str, bytes]:
        """(status, head, body) of the answer to what is sent in these pieces."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.02 if len(pieces) > 1 else 0)
        return await self.answer()

    async def answer(self) -> tuple[int, str, bytes]:
        """The next answer."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)\r\ncontent-length: ([0-9]+)", head)
            return int(head[9:12]), head, await self.reader.readexactly(int(length[1]) if length else 0)

    async def is_closed(self) -> bool:
        """True if the server hangs up without another word."""
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


def counted(world: World) -> int:
    """The requests of this machine that handlers counted (HTTP-20): none of those that are refused before."""
    window = world.server.address_limits.requests._windows.get("127.0.0.1")
    return 0 if window is None else window.count


def without_ids(answer: tuple[int, str, bytes]) -> tuple[int, list[str], bytes]:
    """An answer without the id of its request, and without the order of its headers."""
    status, head, body = answer
    one = re.compile(r"[0-9a-f]{24}")
    lines = [line for line in one.sub("", head).split("\r\n") if not line.startswith("Date: ")]
    return status, sorted(lines), one.sub("", body.decode()).encode()


async def test_an_act_that_is_refused_before_it_is_parsed_gets_the_same_answer_as_any_other(world: World) -> None:
    pair = await world.shop_and_customer()
    talk, request = await Talk.to(world), request_of(pair.compose("second", "remember", key="a"))
    with acts_are_refused(world):
        before = counted(world)
        early = [await talk.ask(request), await talk.ask(request)]
        assert counted(world) == before
        world.server.writer.room.full_until = 0.0
        parsed = await talk.ask(request)
        assert counted(world) == before + 1
    assert without_ids(early[0]) == without_ids(early[1]) == without_ids(parsed)
    assert parsed[0] == 503 and "Retry-After: 1" in parsed[1]
    ids = [re.findall(r"[0-9a-f]{24}", head + body.decode()) for _, head, body in (*early, parsed)]
    assert all(first == second for first, second in ids) and len({one[0] for one in ids}) == 3
    metrics = (await world.send("GET", "/metrics")).body.decode()
    assert 'comity_refused_total{code="overloaded"} 3.0' in metrics
    assert f'comity_requests_total{{route="{ACTS}",status="503"}} 3.0' in metrics
    assert (await talk.ask(request))[0] == 200, "what was refused left nothing behind"


async def test_a_no_gets_in_while_acts_are_refused_and_what_closes_nothing_does_not(world: World) -> None:
    pair = await world.shop_and_customer("care")
    with acts_are_refused(world):
        for kind, fields in (("mute", {"channels": ("phone",)}), ("mute", {}), ("revoke", {})):
            if kind == "revoke":
                assert (await world.act(pair.compose("second", "mute", channels=("phone",)))).code == "overloaded"
            no = await pair.go("second", kind, **fields)
            assert (await world.act(no)).status == 200, "the same once more gets its first answer"
    rooms = (world.server.writer._kept, world.server.writer.room)
    assert [room.taken for room in rooms] == [0, 0]


async def test_an_unsigned_no_gains_nothing(world: World) -> None:
    pair, stranger = await world.shop_and_customer("care"), world.person()
    members = pair.compose("second", "revoke").payload.model_dump(mode="json", exclude_none=True)
    forged = sign_jws(dump_json(members), "comity-act+jwt", stranger).encode()
    twice = b'{"act":"remember",' + dump_json(members)[1:]
    doubled = sign_jws(twice, "comity-act+jwt", pair.signers["second"]).encode()
    with acts_are_refused(world):
        for raw in (forged, doubled):
            reply = await world.send("POST", ACTS, raw, JWT)
            assert reply.code in ("bad_signature", "malformed", "unknown_key", "overloaded"), reply
        assert (await pair.seen("second")).json["state"]["phase"] == "open"


async def test_a_no_is_refused_only_where_its_address_has_used_its_share_of_noes(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as world:
        mia, noor = await world.shop_and_customer(), await world.shop_and_customer()
        with acts_are_refused(world):
            # As many as there may be are in hand, and their signatures are being checked.
            noes = admission_of(world)._noes
            while noes.take(User(GREEDY)):
                pass
            assert (await act(world, GREEDY, mia, "revoke")).code == "overloaded"
            assert (await act(world, OTHER, noor, "revoke")).status == 200
        assert noes.taken == noes.count_of(GREEDY) == NOES // 2


def admission_of(world: World) -> admission.Admission:
    """The one that looks at what comes."""
    (found,) = {socket._admission for socket in world.server.sockets._all}  # type: ignore[attr-defined]
    assert isinstance(found, admission.Admission)
    return found


async def test_a_request_over_the_rate_of_its_address_is_refused_before_it_is_parsed_and_a_no_is_not(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        pair, other = await world.shop_and_customer("care"), await world.shop_and_customer("care")
        world.server.address_limits.requests.most = counted(world) + 3
        request = request_of(pair.compose("second", "remember", key="a"))
        answers = [await (await Talk.to(world)).ask(request) for _ in range(6)]
        assert answers[-1][0] == 429 and re.search(r"\r\nRetry-After: ([1-9]|[1-5][0-9]|60)\r\n", answers[-1][1])
        assert without_ids(answers[-1])[2] == without_ids(answers[-2])[2]
        assert counted(world) == world.server.address_limits.requests.most + 3, "they count all the same"
        await other.go("second", "revoke")


PIECES = [(1,), (30, 31), (22, 60, 61, 120), tuple(range(1, 40))]


@pytest.mark.parametrize("cuts", PIECES)
async def test_an_act_that_comes_in_pieces_is_refused_or_accepted_as_a_whole(
    world: World, cuts: tuple[int, ...]
) -> None:
    pair = await world.shop_and_customer()
    talk = await Talk.to(world)
    remember = request_of(pair.compose("second", "remember", key="a"))
    no = request_of(pair.compose("second", "revoke"))
    with acts_are_refused(world):
        assert (await talk.ask(*pieces(remember, cuts)))[0] == 503
        assert (await talk.ask(*pieces(no, cuts)))[0] == 200


def pieces(data: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    """The data, cut behind so many bytes."""
    ends = [0, *cuts, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


async def test_bytes_that_are_not_one_plain_request_are_left_to_the_parser(world: World) -> None:
    """Two readers that frame it differently would take one answer for another's."""
    pair = await world.shop_and_customer()
    signed = pair.compose("second", "remember", key="a")
    plain, length = request_of(signed), len(signed.raw)
    talk = await Talk.to(world)
    with acts_are_refused(world):
        admit = admission_of(world).look
        assert isinstance(admit(plain, "127.0.0.1"), admission.Refusal)
        odd = [
            plain + plain,
            plain.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked"),
            plain.replace(b"Host: x", b"Host: x\r\nContent-Length: %d" % length),
            plain.replace(b"Host: x", b"Host: x\r\n folded: x"),
            plain.replace(b"Host: x", b"Host: x\nX: y"),
            plain.replace(b"Host: x", b"Host : x"),
            plain.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"),
            plain.replace(b"Host: x", b"Host: x\r\nUpgrade: websocket"),
            plain.replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip"),
            plain.replace(b"Content-Length: ", b"Content-Length: +"),
            plain.replace(b"application/jwt", b"application/jsonl"),
            plain.replace(b"HTTP/1.1", b"HTTP/1.0"),
            plain.replace(b"POST /v1/acts", b"POST /v1/acts?x"),
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
        assert [admit(request, "127.0.0.1") for request in odd] == [None] * len(odd)
        assert [(await talk.ask(plain + plain))[0], (await talk.answer())[0]] == [503, 503]


async def test_a_request_inside_another_request_is_not_answered(world: World) -> None:
    request = request_of((await world.shop_and_customer()).compose("second", "remember", key="a"))
    talk = await Talk.to(world)
    talk.writer.write(b"GET /healthz HTTP/1.1\r\nA: ")
    await asyncio.sleep(0.1)
    with acts_are_refused(world):
        assert (await talk.ask(request))[0] == 200, "its first line is the value of a header field"
    long = b"POST /v1/offers HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9999\r\n\r\n"
    talk = await Talk.to(world)
    with acts_are_refused(world):
        assert (await talk.ask(long, request))[0] == 415 and await talk.is_closed()


async def test_no_answer_overtakes_that_to_an_earlier_request_on_the_same_connection(world: World) -> None:
    request = request_of((await world.shop_and_customer()).compose("second", "remember", key="a"))
    talk = await Talk.to(world)
    with acts_are_refused(world):
        assert (await talk.ask(waiting_for_news(world), request))[0] == 200
        assert (await talk.answer())[0] == 503


def waiting_for_news(world: World) -> bytes:
    """The request of somebody who waits a second for news."""
    path = f"{INBOX}?wait=1"
    fields = "".join(f"{name}: {value}\r\n" for name, value in world.signature(world.person(), path).items())
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()


async def test_a_proxy_that_is_refused_for_one_client_is_not_for_another(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path) as world:
        mia, noor = await world.shop_and_customer(), await world.shop_and_customer()
        talk, room = await Talk.to(world), world.server.writer.room
        while room.take(User(GREEDY)):
            pass
        for pair, address, status in ((mia, GREEDY, 503), (noor, OTHER, 200)):
            signed = pair.compose("second", "remember", key="a")
            assert (await talk.ask(request_of(signed, f"X-Forwarded-For: {address}")))[0] == status


async def test_a_refusal_waits_for_its_turn_and_who_does_not_wait_for_it_is_hung_up_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "IN_A_SECOND", 0)
    monkeypatch.setattr(turns, "LATEST", 3600.0)
    pair = await world.shop_and_customer()
    request = request_of(pair.compose("second", "remember", key="a"))
    patient, hasty, gone = [await Talk.to(world) for _ in range(3)]
    with acts_are_refused(world):
        gone.writer.write(request)
        hasty.writer.write(request)
        await so_many_wait(world, 2)
        gone.writer.transport.abort()
        status, head, _ = await hasty.ask(request)
        assert status == 503 and "Connection: close" in head and "Retry-After: 1" in head and await hasty.is_closed()
        asking = asyncio.create_task(patient.ask(request))
        await so_many_wait(world, 3)
        monkeypatch.setattr(turns, "IN_A_SECOND", 500)
        assert (await asking)[0] == 503
        closing = request_of(pair.compose("second", "remember", key="a"), "Connection: close")
        assert (await patient.ask(closing))[0] == 503 and await patient.is_closed()
        assert not world.server.turns


async def test_looks_at_how_the_server_is_are_answered_while_nothing_else_is(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_requests=8) as world:
        requests = world.server.capacity.requests
        requests.taken += 8
        statuses = {
            path: (await world.send("GET", path)).status for path in ("/healthz", "/readyz", "/metrics", "/v1/inbox")
        }
        requests.taken -= 8
        assert statuses == {"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/inbox": 503}


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_nobody_waits_for_the_whole_of_a_batch(world: World) -> None:
    busy, mia = await world.shop_and_customer(), await world.shop_and_customer()
    batch = asyncio.create_task(world.batch(*busy.row_of("second", 900)))

    async def is_under_way() -> bool:
        return 0 < world.server.writer._lines.taken < 900

    await eventually(is_under_way)
    await mia.go("second", "revoke")
    assert not batch.done()
    assert [answer.get("code") for answer in await batch] == [None] * 900
    assert world.server.writer.weight == 0


async def test_after_a_refused_act_later_ones_of_its_chain_are_not_tried_in_any_piece_of_the_batch(
    world: World,
) -> None:
    """HTTP-12."""
    pair, other = await world.shop_and_customer(), await world.shop_and_customer()
    row = pair.row_of("second", 80)
    del row[3]
    codes = [answer.get("code") for answer in await world.batch(*row, other.compose("second", "remember", key="a"))]
    assert codes == [None] * 3 + ["seq_gap"] + ["after_refused"] * 75 + [None]


# --- the room ---------------------------------------------------------------------------------------------------------


def fill(room: Backlog) -> int:
    """Take all there is, by many; how much that is."""
    while room.take(User(str(room.taken))):
        pass
    return room.taken


def test_the_room_is_for_as_many_as_are_decided_in_time() -> None:
    room = Backlog(4000)
    assert fill(room) == FIRST
    room.adapt_capacity(2 * LONGEST)
    assert room.size == FIRST // 2
    for _ in range(20):
        room.adapt_capacity(10 * LONGEST)
    assert room.size == LEAST, "a few always find room"


def test_on_a_disk_that_takes_long_more_wait_for_each_commit() -> None:
    room = Backlog(4000)
    fill(room)
    room.commit = 0.2
    room.adapt_capacity(0.5)
    assert room.size >= FIRST


def test_a_short_pause_of_the_machine_does_not_make_the_room_smaller_for_a_lone_client() -> None:
    room = Backlog(4000)
    for _ in range(FIRST // 4):
        assert room.take(User("business", "key"))
    room.adapt_capacity(1.0)
    assert room.size == FIRST


def test_the_room_grows_while_it_refuses_though_nobody_waits_and_comes_back_afterwards() -> None:
    room = Backlog(400)
    for _ in range(40):
        fill(room)
        assert not room.take(User("one more")) and room.full_until > time.monotonic()
        room.adapt_capacity(LONGEST / 4)
    assert room.size == 400
    room.adapt_capacity(8 * LONGEST)
    room.adapt_capacity(8 * LONGEST)
    assert room.size == 100
    room.taken = 0
    for _ in range(40):
        room.adapt_capacity(LONGEST / 4)
    assert FIRST <= room.size < 300


# --- slow senders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [False, True])
async def test_a_head_that_is_sent_half_or_drips_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    """HTTP-26."""
    monkeypatch.setattr(http_server, "HEAD_WITHIN", 0.5)
    request = request_of((await world.shop_and_customer()).compose("second", "remember", key="a"))
    if looks:
        world.server.writer.room.full_until = time.monotonic() + 3600
    dripping, silent = await Talk.to(world), await Talk.to(world)
    while not dripping.reader.at_eof() and not dripping.reader._buffer:  # type: ignore[attr-defined]
        dripping.writer.write(request[:1])
        request = request[1:]
        await asyncio.sleep(0.05)
    status, head, body = await dripping.answer()
    assert (status, b'"too_slow"' in body) == (408, True) and "Connection: close" in head
    assert await dripping.is_closed()
    assert (await silent.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200, "it has begun nothing"


async def test_half_a_head_behind_a_request_that_waits_cuts_no_answer_in_two(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_WITHIN", 0.2)
    talk = await Talk.to(world)
    talk.writer.write(waiting_for_news(world))
    await asyncio.sleep(0.05)
    talk.writer.write(b"GET /hea")
    assert (await talk.answer())[0] == 200
    assert (await talk.answer())[0] == 408 and await talk.is_closed()


# --- turns ------------------------------------------------------------------------------------------------------------


class Clock:
    """The time (s) that turns go by, in place of the machine's; a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: self.now))


async def test_few_refusals_wait_for_nothing_and_many_for_each_other_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "IN_A_SECOND", 10)
    monkeypatch.setattr(turns, "SAVED", 1.0)
    monkeypatch.setattr(turns, "LATEST", 3.0)
    clock, decided, answered = Clock(monkeypatch), list[None](), list[int]()
    waiting = turns.Turns(lambda: len(decided))

    async def are_left(count: int) -> None:
        async def is_so() -> bool:
            return len(waiting) == count

        await eventually(is_so)

    for number in range(60):
        waiting.call(partial(answered.append, number))
    assert len(answered) == 10, "those that were saved up"
    last = asyncio.create_task(waiting.come())
    await are_left(51)
    clock.now += 1
    await are_left(41)
    clock.now += 2
    await are_left(0)
    await last
    assert answered == list(range(60)), "one after the other"
    for number in range(20):
        waiting.call(partial(answered.append, number))
    assert len(waiting) == 20
    # The four that the last one took are still to come.
    decided += [None] * (4 + 9)
    await are_left(11)


async def test_a_client_that_guesses_keys_waits_for_its_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "IN_A_SECOND", 0)
    clock, guessed = Clock(monkeypatch), {"Authorization": "Bearer comity_guess"}
    asked = [asyncio.create_task(world.send("GET", "/v1/business/self", headers=guessed)) for _ in range(5)]
    await so_many_wait(world, 5)
    assert not any(task.done() for task in asked)
    clock.now += turns.LATEST
    assert {reply.code for reply in await asyncio.gather(*asked)} == {"api_key_required"}
    assert world.server.capacity.requests.taken == 0
    # Whoever asks how the server is waits for no turn.
    world.server.ready = False
    assert (await world.send("GET", "/readyz")).status == 503
    world.server.ready = True
