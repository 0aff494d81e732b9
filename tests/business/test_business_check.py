"""What a business is told when it asks before it writes: one question, and streams of them (spec/check.md)."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.structs import replace

from comity.documents.acts import MODELS
from comity.documents.events import open_event
from comity.encoding import hash_id
from comity.http_api import JSON_LINES
from comity.rules import gate
from comity.rules.feedback import delivered_messages
from comity.rules.fold import Record
from comity.rules.gate import FRESH_FOR
from comity.rules.state import Connection, Contest, decode_state, encode_state
from comity_server.api.business import reasons as words
from comity_server.api.business.endpoints.check import Check
from comity_server.api.business.jsonl import MAX_LINE
from comity_server.clock import Undoubted
from comity_server.schema import instant
from comity_server.store.rows import Batch, Known
from comity_server.writer.decision_cache import MOST_OF_ONE, About, VerdictCache
from support.business_world import BUSINESS, Shop, a_shop
from support.random_states import Scene, moments, state_of
from support.random_stories import KINDS, Hand
from support.restored_server import Backup, confirm
from support.spec_pages import page, table
from support.world import DAY, HOUR, MINUTE, START, Pair, World, a_world, body_of, eventually

Question = dict[str, Any]


def asking(cid: str, purpose: str = "care", **more: Any) -> Question:
    return {"connection": cid, "purpose": purpose, **more}


async def ask(shop: Shop, question: Question, **how: Any) -> Any:
    return await shop.post("/check", question, **how)


async def ask_many(shop: Shop, *questions: Question | bytes, query: str = "") -> list[Any]:
    lines = [it if isinstance(it, bytes) else json.dumps(it).encode() for it in questions]
    reply = await shop.ask("POST", f"/check{query}", raw=b"\n".join(lines), kind=JSON_LINES)
    assert reply.status == 200 and reply.headers["Content-Type"] == JSON_LINES, reply
    return [json.loads(line) for line in reply.body.splitlines()]


def said(answer: Any) -> tuple[str, str]:
    return answer["decision"], answer["reason"]


def by_the_gate(state: Connection, question: Question, now: int, zones: Any) -> Any:
    """What the gate says at `now` to the business, which is the first side, as JSON (CHECK-2)."""
    channel, topic = question.get("channel", "app"), question.get("topic")
    verdict = gate.may(state, "first", question["purpose"], channel, topic, now, zones).outward()
    return {
        **({"ref": question["ref"]} if "ref" in question else {}),
        "connection": question["connection"],
        "decision": verdict.decision,
        "reason": verdict.reason,
        "why": words.reason_text(verdict),
        **({"ends_at": instant(verdict.ends_at)} if verdict.ends_at is not None else {}),
        **({"contest": [shown_contest(it) for it in verdict.contest]} if verdict.contest else {}),
        "as_of": {"us": verdict.as_of.first, "them": verdict.as_of.second, "zones": verdict.as_of.zones},
        "valid_until": instant(verdict.valid_until),
        "mode": question.get("mode", "strict"),
    }


def shown_contest(contest: Contest) -> dict[str, Any]:
    """A contest as a business is shown it: in force for a year."""
    about = {"message": contest.message, "purpose": contest.purpose, "topic": contest.had}
    until = contest.until * 1000
    times = {
        "actual_purpose": contest.as_,
        "actual_topic": contest.topic,
        "started_at": instant(until - 365 * DAY),
        "ends_at": instant(until),
    }
    return {name: value for name, value in {**about, **times}.items() if value is not None}


async def stored(world: World, cid: str) -> Connection:
    known = await world.server.store.state(cid)
    assert known is not None
    return decode_state(known.state)


@dataclass
class Still(Undoubted):
    """A clock that stands where it was put."""

    at: int
    step: float = 60.0

    def now(self) -> int:
        return self.at


# --- before a campaign ------------------------------------------------------------------------------------------------


async def test_a_marketer_sees_before_a_campaign_whom_it_may_reach_and_why_not(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        marketer = await shop.key_of("marketer")
        pairs = [await shop.customer("sales") for _ in range(6)]
        _, left, away, has_one, full, bored = pairs
        nobody = await shop.customer("care")
        end = world.now() // 1000 + 14 * 86_400
        await left.go("second", "revoke")
        await away.go("second", "mute", until=end)
        await has_one.go("second", "milestone", kind="installed", topic="windows", when=world.now() // 1000)
        await bored.go("second", "remember", key="no_interest", topic="windows")
        spent = await full.grant("second", "sales.news", budget={"max": 1, "per": "day"})
        await full.go("second", "withdraw", grant=full.state.second.grants[0].id)
        assert [it.id for it in full.state.second.grants] == [spent.id]
        await full.go("first", "message", purpose="sales.news")
        delivered = full.state.first.sent[-1].at

        questions = [asking(it.cid, "sales.news", topic="windows.roof", ref=f"row {n}") for n, it in enumerate(pairs)]
        answers = await ask_many(shop, *questions, asking(nobody.cid, "sales.news"))
        assert [said(it) for it in answers] == [
            ("allow", "granted"),
            ("refuse", "ended"),
            ("hold", "not_now"),
            ("refuse", "already_has"),
            ("hold", "over_budget"),
            ("refuse", "no_interest"),
            ("refuse", "no_grant"),
        ]
        assert [it.get("ref") for it in answers] == [*(f"row {n}" for n in range(6)), None]
        assert answers[2]["ends_at"] == datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        assert answers[4]["ends_at"] == instant(delivered + DAY)
        assert all("ends_at" not in answers[place] for place in (0, 1, 3, 5, 6))
        assert all(it["why"] == words.WHY[it["reason"]] for it in answers)
        for question, answer in zip(questions, answers, strict=False):
            # With a key that may do little else, one by one: the same (CHECK-7).
            single = await ask(shop, question, key=marketer)
            assert {**single, "valid_until": ""} == {**answer, "valid_until": ""}
        assert instant(world.now()) < single["valid_until"] <= instant(world.now() + FRESH_FOR)


async def test_a_mute_hours_and_a_limit_of_hers_look_alike(tmp_path: Path) -> None:
    """CHECK-2: nothing but "not now", with an end only where she shows it."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        muted, asleep, enough = [await shop.customer("care") for _ in range(3)]
        await muted.go("second", "mute")
        night = {"days": ("mo", "tu", "we", "th", "fr", "sa", "su"), "start": "22:00", "end": "06:00"}
        await asleep.go("second", "hours", zone="Europe/Berlin", windows=(night,), shown="not_now")
        await enough.go("second", "budget", messages={"max": 0, "per": "day"})
        answers = await ask_many(shop, *(asking(it.cid) for it in (muted, asleep, enough)))
        told = [{name: it[name] for name in it if name not in ("connection", "as_of", "valid_until")} for it in answers]
        assert told[0] == told[1] == told[2]
        assert told[0] == {"decision": "hold", "reason": "not_now", "why": words.WHY["not_now"], "mode": "strict"}


async def test_anothers_customer_and_nobody_look_alike(tmp_path: Path) -> None:
    """CHECK-3, also when the other business has just asked, and its answer is kept."""
    async with a_world(tmp_path) as world:
        shop, rival = await a_shop(world), await a_shop(world, "rival")
        pair = await rival.customer("care")
        await ask(rival, asking(pair.cid))
        reads: list[set[str]] = []
        known = world.server.store.states_before

        async def counted(cids: Any) -> dict[str, Known]:
            reads.append(set(cids))
            return await known(cids)

        world.server.store.states_before = counted  # type: ignore[method-assign]
        strange = hash_id(b"nobody")
        replies = [await shop.ask("POST", "/check", asking(cid)) for cid in (pair.cid, strange)]
        assert [reply.code for reply in replies] == ["not_found", "not_found"]
        assert replies[0].plain == replies[1].plain
        assert reads == [{pair.cid}, {strange}]
        lines = await ask_many(shop, asking(pair.cid), asking(strange))
        assert lines[0] == lines[1] and lines[0]["error"]["code"] == "not_found"


async def test_a_slip_is_told_with_all_its_faults_and_a_line_of_it_as_one(tmp_path: Path) -> None:
    """CHECK-1: whatever is asked first, and whether an answer is kept or not."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        good = json.dumps(asking(pair.cid)).encode()
        await ask(shop, asking(pair.cid))
        reply = await shop.ask("POST", "/check", asking("x", "Care", channel="pigeon", topic="a b", ref="r" * 201))
        faults = {fault["pointer"] for fault in reply.json["errors"]}
        assert faults == {"/connection", "/purpose", "/channel", "/topic", "/ref"}
        spoilt = {
            "a name twice": good[:-1] + b',"purpose":"care"}',
            "null": good[:-1] + b',"topic":null}',
            "another member": good[:-1] + b',"more":"1"}',
            "a number": good[:-1] + b',"ref":1}',
            "a mode that is none": good[:-1] + b',"mode":"soon"}',
            "a long ref": good[:-1] + b',"ref":"' + b"r" * 201 + b'"}',
            "two objects": good + good,
            "half of one": good[:-1],
            "a control": good[:-1] + b',"ref":"\x01"}',
            "no UTF-8": good[:-1] + b',"ref":"\xff"}',
            "half a pair": good[:-1] + b',"ref":"\\ud800"}',
            "a mark": b"\xef\xbb\xbf" + good,
            "a list": b"[" + good + b"]",
            "depth": b"[" * 2000,
            "nothing": b" ",
        }
        for name, body in spoilt.items():
            reply = await shop.ask("POST", "/check", raw=body)
            assert (reply.status, reply.code) == (400, "invalid_request"), name
            (line,) = await ask_many(shop, body)
            assert line["error"] == json.loads(reply.plain), name
        long = good[:-1] + b" " * MAX_LINE + b"}"
        assert (await shop.ask("POST", "/check", raw=long)).code == "too_large"
        assert await shop.refused("POST", "/check", raw=good, kind="text/plain") == "unsupported_media_type"
        assert await shop.refused("POST", "/check?mode=soon", asking(pair.cid)) == "invalid_request"
        assert await shop.refused("POST", "/check", raw=good, key=await shop.key_of("auditor", "report:read")) == (
            "scope_missing"
        )
        # What is spelt otherwise and means the same is no slip.
        for same in (
            b"\t" + good + b"\r",
            good.replace(b"care", b"c\\u0061re"),
            json.dumps(asking(pair.cid), indent=1),
        ):
            reply = await shop.ask("POST", "/check", raw=same.encode() if isinstance(same, str) else same)
            assert said(reply.json) == ("allow", "granted")
        odd = 'é "quoted" \\ \u2028 \x7f'
        for _ in range(2):
            assert (await ask(shop, asking(pair.cid, ref=odd)))["ref"] == odd
        assert (await ask(shop, asking(pair.cid, ref="")))["ref"] == ""


def test_the_page_names_what_can_be_asked() -> None:
    assert [member for member, _ in table("check", "member", "meaning")] == list(Check.model_fields)
    assert f"at most {MAX_LINE} bytes" in page("check")


async def test_a_caller_says_which_promise_it_needs(tmp_path: Path) -> None:
    """CHECK-4: for all questions in the query, for one in the question."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        for _ in range(2):
            lines = await ask_many(shop, asking(pair.cid), asking(pair.cid, mode="strict"), query="?mode=bounded")
            assert [line["mode"] for line in lines] == ["bounded", "strict"]
            assert (await ask(shop, asking(pair.cid, mode="bounded")))["mode"] == "bounded"
            assert (await ask(shop, asking(pair.cid)))["mode"] == "strict"


# --- a stream ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_stream(shop: Shop, body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{shop.world.origin}{BUSINESS}/check",
            data=body,
            headers={"Authorization": f"Bearer {shop.key}", "Content-Type": JSON_LINES},
        ) as response,
    ):
        yield response


async def test_a_no_between_two_lines_counts_from_the_next_line_on(tmp_path: Path) -> None:
    """CHECK-6, however often the same was asked before."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, other = await shop.customer("care"), await shop.customer("care")
        lines: asyncio.Queue[bytes] = asyncio.Queue()

        async def body() -> AsyncIterator[bytes]:
            while line := await lines.get():
                yield line

        question = json.dumps(asking(pair.cid)).encode() + b"\n"
        await lines.put(question)
        async with a_stream(shop, body()) as response:

            async def answer() -> tuple[str, str]:
                return said(json.loads(await response.content.readline()))

            assert await answer() == ("allow", "granted")
            await lines.put(question)
            assert await answer() == ("allow", "granted")
            await pair.go("second", "mute")
            await lines.put(question)
            assert await answer() == ("hold", "not_now")
            await pair.go("second", "unmute", mute=pair.state.second.mutes[0].id)
            await lines.put(question)
            assert await answer() == ("allow", "granted")
            await pair.go("second", "revoke")
            # In one piece with a line about somebody else: each is a check of its own.
            await lines.put(question + question.replace(pair.cid.encode(), other.cid.encode()))
            assert [await answer(), await answer()] == [("refuse", "ended"), ("allow", "granted")]
            await lines.put(b"")
            assert await response.content.read() == b""


async def test_five_thousand_lines_come_in_pieces_and_a_broken_one_breaks_only_itself(tmp_path: Path) -> None:
    """CHECK-5: every line has its answer, in order, under its own name where that can be read."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pairs = [await shop.customer("care"), await shop.customer("sales"), await shop.customer()]
        await pairs[1].go("second", "mute", purposes=("sales.offers",))
        dice = random.Random(7)
        lines: list[bytes] = []
        expected: list[tuple[str | None, str]] = []

        def add(line: bytes, ref: str | None, outcome: str) -> None:
            lines.append(line)
            expected.append((ref, outcome))

        states = {pair.cid: await stored(world, pair.cid) for pair in pairs}
        for number in range(5000):
            ref = f"é{number}" if number % 7 else f"customer-{number}"
            cid, purpose = dice.choice(pairs).cid, dice.choice(("care.visit", "sales", "sales.offers", "safety"))
            good = json.dumps(asking(cid, purpose, ref=ref), ensure_ascii=bool(number % 2)).encode()
            match dice.randrange(40):
                case 0:
                    add(good[: dice.randrange(1, len(good))], None, "invalid_request")
                case 1:
                    add(b"", None, "invalid_request")
                case 2:
                    add(good + b" " * MAX_LINE, None, "too_large")
                case 3:
                    add(b"{" * 9000, None, "too_large")
                case 4:
                    add(good[:-1] + b',"purpose":"care"}', None, "invalid_request")
                case 5:
                    add(good[:-1] + b',"why":"?"}', ref, "invalid_request")
                case 6:
                    add(good.replace(cid.encode(), hash_id(ref.encode()).encode()), ref, "not_found")
                case 7:
                    add(bytes(dice.randrange(128, 255) for _ in range(9)), None, "invalid_request")
                case _:
                    zones = world.server.context.zones
                    told = by_the_gate(states[cid], asking(cid, purpose), world.now(), zones)
                    add(good, ref, told["reason"])
        sent = b"\n".join(lines)

        async def body() -> AsyncIterator[bytes]:
            place = 0
            while place < len(sent):
                size = dice.choice((1, 30, 700, 20_000, 200_000))
                yield sent[place : place + size]
                place += size

        async with a_stream(shop, body()) as response:
            assert response.status == 200
            assert len(response.headers["X-Request-Id"]) == 24
            answers = [json.loads(line) for line in (await response.read()).splitlines()]
        found = [(it.get("ref"), it["error"]["code"] if "error" in it else it["reason"]) for it in answers]
        assert found == expected
        refused = next(it["error"] for it in answers if "error" in it)
        assert refused["documentation"].startswith(f"{world.origin}/docs/errors#")
        assert len({outcome for _, outcome in expected}) == 7


async def test_a_stream_that_stalls_is_ended_and_one_that_is_left_is_forgotten(tmp_path: Path) -> None:
    """CHECK-5: a place in the row is not held by somebody who sends nothing."""
    async with a_world(tmp_path, body_timeout=0.2) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        line = json.dumps(asking(pair.cid)).encode() + b"\n"
        head = (
            f"POST {BUSINESS}/check HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {shop.key}\r\n"
            f"Content-Type: {JSON_LINES}\r\nContent-Length: 100000\r\n\r\n"
        ).encode()

        async def sending(data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(head + data)
            return reader, writer

        reader, writer = await sending(line[:20])
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        reader, writer = await sending(line + line[:20])
        told = await reader.read()
        # The first line is answered; then the server hangs up, and the end of the answer is missing.
        assert told.startswith(b"HTTP/1.1 200 ") and b'"granted"' in told and not told.endswith(b"0\r\n\r\n")
        writer.close()
        room = world.server.capacity.checks
        assert room.taken == 0

        async def none_is_taken() -> bool:
            return room.taken == 0

        other = await a_shop(world, "other")
        many = [await sending(b"") for _ in range(20)]
        assert len(await ask_many(other, *[asking(pair.cid)] * 300)) == 300, "another's use refuses it"
        codes = [(await reader.readline())[9:12] for reader, _ in many]
        assert set(codes) == {b"408", b"503"} and 1 < codes.count(b"408") < room.size // 8
        for _, left in many:
            left.close()
        await eventually(none_is_taken)
        assert len(await ask_many(shop, *[asking(pair.cid)] * 2)) == 2


# --- what is kept -----------------------------------------------------------------------------------------------------

EVERYTHING = [
    ("care", "app", None),
    ("care.visit", "email", None),
    ("sales", "app", "windows.roof"),
    ("sales.news", "app", None),
    ("renewal", "app", None),
    ("safety", "phone", None),
    ("security", "app", None),
]


async def assert_told_what_the_gate_says(world: World, shop: Shop, cid: str) -> list[str]:
    """Ask everything twice, one by one and in lines; the reasons."""
    state, zones = await stored(world, cid), world.server.context.zones
    questions = [
        {"connection": cid, "purpose": purpose, "channel": channel, **({} if topic is None else {"topic": topic})}
        for purpose, channel, topic in EVERYTHING
    ]
    expected = [by_the_gate(state, question, world.server.clock.now(), zones) for question in questions]
    for _ in range(2):
        assert await ask_many(shop, *questions) == expected
    assert [await ask(shop, question) for question in questions] == expected
    return [it["reason"] for it in expected]


async def test_every_act_is_in_the_next_answer(tmp_path: Path) -> None:
    """CHECK-6, CHECK-8: whatever was kept before it."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        world.server.clock = Still(world.now())
        seen = [await assert_told_what_the_gate_says(world, shop, pair.cid)]

        async def then(side: Any, act: str, /, **fields: Any) -> None:
            await pair.go(side, act, **fields)
            world.server.clock = Still(max(world.now(), pair.state.at))
            seen.append(await assert_told_what_the_gate_says(world, shop, pair.cid))

        await pair.grant("second", "care", "sales", channels=("app", "email"))
        await then("first", "message")
        await then("second", "mute", purposes=("care.visit",))
        await then("second", "mute", channels=("app",))
        await then("second", "unmute", mute=pair.state.second.mutes[1].id)
        await then("second", "hours", zone="Europe/Berlin", windows=(), shown="not_now")
        night = {"days": ("mo", "tu", "we", "th", "fr", "sa", "su"), "start": "22:00", "end": "06:00"}
        await then("second", "hours", zone="Europe/Berlin", windows=(night,), shown="end")
        await then("second", "hours", zone="Europe/Berlin", windows=(), shown="not_now")
        await then("second", "budget", messages={"max": 1, "per": "day"})
        await then("second", "budget", messages={"max": 9, "per": "day"})
        await then("first", "milestone", kind="bought", topic="windows", when=world.now() // 1000)
        await then("second", "remember", key="no_interest", topic="doors")
        await then("first", "contacted", purpose="care", channel="email")
        await then("second", "withdraw", grant=pair.state.second.grants[0].id)
        await pair.rotate("second", world.person())
        await assert_told_what_the_gate_says(world, shop, pair.cid)
        await then("second", "revoke")
        assert {reason for reasons in seen for reason in reasons} == {
            "no_grant", "granted", "not_now", "already_has", "topic_needed", "by_agreement", "exempt", "ended",
        }  # fmt: skip
        assert seen[0] != seen[1] != seen[2] != seen[3] != seen[4]


async def test_a_verdict_that_time_changes_is_given_from_that_moment_on(tmp_path: Path) -> None:
    """CHECK-8: the end of a grant, of a mute (shown or not), of a purchase, of the night, of a spent budget."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        now = world.now() // 1000
        pair = await shop.customer()
        grant_end, mute_end, hidden_end, lasts = now + 4000, now + 1000, now + 2000, now + 3000
        await pair.grant("second", "care", "sales", channels=("app", "email"), exp=grant_end)
        await pair.grant("second", "care.visit", channels=("email",), budget={"max": 1, "per": "day"})
        await pair.go("first", "message", purpose="care.visit")
        await pair.go("second", "mute", until=mute_end)
        hidden = await pair.go("second", "mute", purposes=("renewal", "care"))
        await pair.go("second", "mute_end", mute=hidden.id, until=hidden_end)
        await pair.go("first", "milestone", kind="bought", topic="windows", when=now, lasts=lasts)
        window = {"days": ("tu",), "start": "12:40", "end": "13:00"}
        await pair.go("second", "hours", zone="Europe/Berlin", windows=(window,), shown="end")
        delivered = pair.state.first.sent[0].at
        opens, closes = START + 40 * MINUTE, START + HOUR
        turns = [it * 1000 for it in (mute_end, hidden_end, lasts, grant_end)]
        turns += [opens, closes, delivered + DAY, opens + 7 * DAY]
        moments = sorted({turn + beside for turn in turns for beside in (-6000, -FRESH_FOR, -1, 0, 1)})
        changes = 0
        before: list[str] = []
        for moment in moments:
            world.server.clock = Still(moment)
            reasons = await assert_told_what_the_gate_says(world, shop, pair.cid)
            changes += reasons != before
            before = reasons
        assert changes >= 5
        # A clock that goes back asks anew.
        world.server.clock = Still(moments[0])
        assert await assert_told_what_the_gate_says(world, shop, pair.cid) != before


async def test_a_verdict_read_while_she_says_no_is_not_cached(tmp_path: Path) -> None:
    """CHECK-8: the state came out of the store before her no went in, and reaches the check after it."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        known, came, go_on = world.server.store.states_before, asyncio.Event(), asyncio.Event()

        async def late(cids: Any) -> dict[str, Known]:
            found = await known(cids)
            came.set()
            await go_on.wait()
            return found

        world.server.store.states_before = late  # type: ignore[method-assign]
        begun = asyncio.create_task(ask(shop, asking(pair.cid)))
        await came.wait()
        world.server.store.states_before = known  # type: ignore[method-assign]
        await pair.go("second", "revoke")
        go_on.set()
        # It began before her no was acknowledged, so it may be answered as of then.
        assert said(await begun) == ("allow", "granted")
        assert said(await ask(shop, asking(pair.cid))) == ("refuse", "ended")


async def test_nothing_is_kept_where_nobody_knows_what_a_commit_did(tmp_path: Path) -> None:
    """CHECK-8: her no went in, and the answer to it was lost; whoever reads sees it."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        assert said(await ask(shop, asking(pair.cid))) == ("allow", "granted")
        commit = world.server.store.commit

        async def lost(*given: Any) -> None:
            await commit(*given)
            world.server.store.commit = commit  # type: ignore[method-assign]
            raise OSError("the answer was lost")

        world.server.store.commit = lost  # type: ignore[assignment]
        assert (await world.act(pair.compose("second", "revoke"))).status == 503
        assert said(await ask(shop, asking(pair.cid))) == ("refuse", "ended")


def test_the_cache_is_bounded_and_leaves_out_what_was_written_meanwhile() -> None:
    kept = VerdictCache(3)

    def keep(cid: str, question: str, while_reading: Callable[[], None] = lambda: None) -> None:
        with kept.watch_writes() as reading:
            while_reading()
            kept.keep(reading, cid, About("shop", 1000, 60_000, ""), (question, "app", None), "told")

    for number in range(5):
        keep(f"c{number}", "care")
    assert len(kept) == 3
    assert [kept.about(f"c{number}", "shop", 1000) is not None for number in range(5)] == [False] * 2 + [True] * 3
    assert kept.about("c4", "rival", 1000) is None
    assert kept.about("c4", "shop", 999) is None
    assert kept.about("c4", "shop", 60_000 - FRESH_FOR) is None
    kept.drop_written(["c3", "c9"])
    assert len(kept) == 2 and kept.about("c3", "shop", 1000) is None
    keep("c3", "care", lambda: kept.drop_written(["c3"]))
    keep("c3", "care", kept.in_doubt)
    assert len(kept) == 0
    keep("c3", "care", lambda: kept.drop_written(["c4"]))
    assert len(kept) == 1
    whole = VerdictCache(1000)
    with whole.watch_writes() as reading:
        for number in range(MOST_OF_ONE + 1):
            whole.keep(reading, "c", About("shop", 1000, 60_000, ""), (f"p{number}", "app", None), "told")
    assert len(whole) == 1


# --- any state, any question ------------------------------------------------------------------------------------------

REFS = ("", "row 7", 'a "quoted" \\ one', "ü \u2028 \U0001f600")


def questions_of(scene: Scene, cid: str, chance: random.Random) -> list[Question]:
    """Its questions in words, with and without what may be left out, and with names of one's own in any script."""
    found = []
    for purpose, channel, topic in scene.questions[:4]:
        asked = {"connection": cid, "purpose": purpose if purpose != "note" else "care"}
        asked |= {} if channel == "app" and chance.random() < 0.5 else {"channel": channel}
        asked |= {} if topic is None else {"topic": topic}
        asked |= {} if chance.random() < 0.5 else {"ref": chance.choice(REFS)}
        found.append(asked)
    return found


async def test_one_check_and_many_get_the_gates_verdict_in_every_state_and_at_every_time(tmp_path: Path) -> None:
    """CHECK-7, CHECK-8: the same bytes, at every moment, however often it was asked before."""
    async with a_world(tmp_path, business_rate=1_000_000) as world:
        shop = await a_shop(world)
        for number in range(60):
            scene, cid = state_of(number, "first"), hash_id(b"made %d" % number)
            first = replace(scene.state.first, did=shop.did, origin=shop.did)
            phase: Any = "ended" if number % 20 == 7 else "open"
            state = replace(scene.state, cid=cid, home=world.home, phase=phase, first=first)
            await compare(world, shop, state, questions_of(scene, cid, random.Random(number)), scene.now)


async def compare(world: World, shop: Shop, state: Connection, asked: list[Question], now: int) -> None:
    """Ask now, a while before and after, and where time is said to change something; in any order of times."""
    row = {"cid": state.cid, "state": encode_state(state), "at": state.at, "phase": state.phase}
    batch = Batch()
    batch.put_connection.append({**row, "wake_at": None, "tag_secret": bytes(32)})  # type: ignore[typeddict-item]
    await world.server.store.commit(batch)
    zones = world.server.context.zones
    turn = gate.unchanged_until(state, "first", now, zones)
    beside = [turn + it for it in (-FRESH_FOR - 1, -FRESH_FOR, -1, 0)] if turn < now + 30 * DAY else []
    for moment in (now, now + 3 * MINUTE, *beside, now):
        world.server.clock = Still(moment)
        expected = [by_the_gate(state, question, moment, zones) for question in asked]
        lines = b"\n".join(json.dumps(question).encode() for question in asked)
        reply = await shop.ask("POST", "/check", raw=lines, kind=JSON_LINES)
        assert [json.loads(line) for line in reply.body.splitlines()] == expected
        singles = [(await shop.ask("POST", "/check", question)).body for question in asked]
        assert singles == reply.body.splitlines()


async def test_a_kept_verdict_is_the_gates_through_a_story_with_contests_and_a_restored_server(tmp_path: Path) -> None:
    """CHECK-8: after every step, and at every moment at which time alone changes something, whatever was kept."""
    async with a_world(tmp_path, business_rate=1_000_000) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        # It outlives the contests, and what they say care really was is not allowed by then.
        long = world.now() // 1000 + 900 * 86_400
        await pair.grant("second", "care", "favour", channels=("app", "email"), exp=long)
        for purpose in (*["renewal"] * 5, *["security"] * 4):
            await pair.go("first", "message", purpose=purpose)
        advert = await pair.go("first", "message", purpose="care")
        pair.state = await stored(world, pair.cid)
        await pair.go("second", "feedback", message=advert.id, purpose="care", says="mislabelled", as_="sales")
        hand, met = Hand(5), set[str]()
        await told_at_turns(world, shop, pair.cid, met)
        await tell_and_ask(world, shop, pair, hand, 14, met)
        backup = await Backup.of(world)
        await tell_and_ask(world, shop, pair, hand, 6, met)
        await backup.put_back()
        pair.state = await stored(world, pair.cid)
        assert set(await told_at_turns(world, shop, pair.cid, met)) == {"recovering", "exempt_limit"}
        assert (await confirm(pair, "second")).status == 200
        await tell_and_ask(world, shop, pair, hand, 20, met)
        assert met >= {
            "contested",
            "feedback",
            "renounce",
            "recovering",
            "granted",
            "not_now",
            "by_agreement",
            "exempt",
        }


async def tell_and_ask(world: World, shop: Shop, pair: Pair, hand: Hand, steps: int, met: set[str]) -> None:
    """So many steps of a story, and everything asked after each; what was met is added to `met`."""
    for _ in range(steps):
        world.later(hand.one(1, MINUTE, HOUR, DAY))
        side, kind = hand.one("first", "second"), hand.one(*KINDS)
        find = world.server.directory.find_key
        reached = delivered_messages(Record(open_event(raw, find).event) for raw in pair.events)
        fields = hand.fields(kind, pair.state, reached, side, world.now())
        if fields is None:
            continue
        fields |= {"body": body_of(pair.cid)} if "body" in fields else {}
        fields |= {"status": {"status_list": await pair.index(side)}} if kind == "grant" else {}
        reply = await world.act(pair.compose(side, kind, **fields))
        if reply.status == 200:
            met.add(kind)
            pair.events.append(reply.json["event"])
        pair.state = await stored(world, pair.cid)
        await told_at_turns(world, shop, pair.cid, met)


async def told_at_turns(world: World, shop: Shop, cid: str, met: set[str]) -> list[str]:
    """Asks everything now, and as time goes on at every moment at which something of the state may change; the reasons
    now."""
    state = await stored(world, cid)
    now = max(world.now(), state.at)
    turn = gate.unchanged_until(state, "first", now, world.server.context.zones)
    later = [*moments(state, now + 1, now + 800 * DAY), *(turn + it for it in (-FRESH_FOR - 1, -FRESH_FOR, -1, 0))]
    clock = world.server.clock
    for moment in (now, *sorted(it for it in later if now < it < gate.FOR_EVER), now):
        world.server.clock = Still(moment)
        reasons = await assert_told_what_the_gate_says(world, shop, cid)
        met.update(reasons)
    met |= {"contested"} if state.second.contests else set()
    world.server.clock = clock
    return reasons


# --- strict: whatever was acknowledged before is in force (GATE-16) --------------------------------------------------

NO_ROOM = {"max": 0, "per": "day"}
CLOSED = ({"days": ("su",), "start": "03:00", "end": "04:00"},)


async def same(world: World, shop: Any, pair: Pair, what: str) -> tuple[str, ...]:
    """GATE-16: what every question is told, which must be what the gate says on all that was acknowledged."""
    questions = [
        asking(pair.cid),
        asking(pair.cid, "sales", topic="windows"),
        asking(pair.cid, "sales", channel="email"),
        asking(pair.cid, "complaint"),
    ]
    wanted = [by_the_gate(pair.state, it, world.now(), world.server.context.zones) for it in questions]
    # Twice: an answer that is kept must not outlive what it rested on.
    for _ in range(2):
        told = [*[await ask(shop, it) for it in questions], *await ask_many(shop, *questions)]
        for answer, expected in zip(told, [*wanted, *wanted], strict=True):
            left_out = {"valid_until", "ref"}
            assert {k: v for k, v in answer.items() if k not in left_out} == {
                k: v for k, v in expected.items() if k not in left_out
            }, what
    return tuple(f"{it['decision']} {it['reason']}" for it in wanted)


async def test_a_check_sees_every_act_and_setting_that_was_acknowledged_before(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care", "sales", channels=("app", "email"))
        seconds = world.now() // 1000
        mutes: list[str] = []
        told = {"": await same(world, shop, pair, "in the beginning")}
        steps: list[tuple[str, dict[str, Any]]] = [
            ("hours", {"zone": "Europe/Berlin", "windows": CLOSED, "shown": "end"}),
            ("hours", {"zone": "Europe/Berlin", "windows": (), "shown": "end"}),
            ("budget", {"messages": NO_ROOM}),
            ("budget", {}),
            ("mute", {"purposes": ("care",), "until": seconds + 9 * 86_400}),
            ("unmute", {}),
            ("mute", {}),
            ("mute_end", {"until": seconds + 3600}),
            ("unmute", {}),
            ("remember", {"key": "no_interest", "topic": "windows"}),
            ("forget", {"key": "no_interest", "topic": "windows"}),
            ("milestone", {"kind": "bought", "topic": "windows", "when": seconds}),
            ("withdraw", {"grant": pair.state.second.grants[0].id}),
            ("grant", {}),
            ("mailbox", {"box": world.person()}),
            ("revoke", {}),
        ]
        for number, (kind, fields) in enumerate(steps):
            if kind == "grant":
                await pair.grant("second", "care", channels=("app",), budget={"max": 1, "per": "week"})
            else:
                given = {"mute": mutes[-1]} if kind == "mute_end" else {}
                act = await pair.go("second", kind, **fields, **given)
                mutes += [act.id] if kind == "mute" else []
            told[f"{number} {kind}"] = await same(world, shop, pair, f"{number} {kind}")
            if kind == "grant":
                # What is delivered counts at once, too.
                await pair.go("first", "message")
                told["a message"] = await same(world, shop, pair, "a message")
            if kind == "mute_end":
                world.later(2 * HOUR)
                await same(world, shop, pair, "behind a hidden end")
                world.later(DAY)
        shown = list(told.values())
        changed = [name for name, before, now in zip(list(told)[1:], shown, shown[1:], strict=False) if before != now]
        silent = {"7 mute_end", "14 mailbox"}
        assert set(told) - {""} - set(changed) <= silent, "a step that changes no answer shows nothing"
        assert {kind for kind, _ in steps} <= set(MODELS)
