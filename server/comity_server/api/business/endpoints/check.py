"""POST /v1/business/check: whether the business may reach a customer now. One question, or a stream of them
(spec/check.md).

A repeated question is answered from the decision cache. Any other is parsed strictly, decided by the gate on the stored
state, and cached. Both ways give the same bytes.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache
from time import perf_counter
from typing import Annotated, Literal, NamedTuple

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType
from pydantic import Field, TypeAdapter

from comity.documents.types import Channel, ReachPurpose, Side, Topic, other, parse_model
from comity.encoding import MAX_BODY, parse_json
from comity.errors import Refused
from comity.http_api import JSON_LINES, encode_problem
from comity.rules import gate
from comity.rules.gate import FRESH_FOR, Decision, Verdict
from comity.rules.state import decode_state
from comity_server.api.business import reasons
from comity_server.api.business.acts import own_side
from comity_server.api.business.jsonl import MAX_LINE, in_slices, read_slices, split_lines
from comity_server.api.business.representations import ActiveContest, contest_list
from comity_server.api.business.route import NOTHING, Call, Reply, Route, problem_members, rest_refusal
from comity_server.api.http import MEBIBYTE, json_answer, read_body, refuse_unread
from comity_server.limits.capacity import count_in
from comity_server.refusals import clock_doubtful
from comity_server.schema import Basis, Cid, Instant, Model, Query, instant
from comity_server.services import Server
from comity_server.store.rows import Known
from comity_server.writer.decision_cache import About, Reading

SLICE = 256
"""Lines that are decided together."""
AT_A_STRETCH = 0.01
"""Seconds of work after which other requests get a turn."""

Mode = Literal["strict", "bounded"]
Ref = Annotated[str, Field(max_length=200)]


class Check(Model):
    """A question: may you reach this customer now?"""

    connection: Cid = Field(description="The connection with the customer.")
    purpose: ReachPurpose = Field(examples=["sales.news"])
    channel: Channel = "app"
    topic: Topic | None = Field(None, examples=["windows.roof"])
    ref: Ref | None = Field(None, description="Your own name for this question. The answer repeats it.")
    mode: Mode | None = Field(None, description="The promise that you need. The default is that of the query.")


class CheckQuery(Query):
    """The defaults of the questions."""

    mode: Mode | None = Field(None, description="The promise for questions without a `mode`. The default is `strict`.")


class CheckResult(Model):
    """The answer to a question."""

    ref: Ref | None = None
    connection: Cid
    decision: Decision = Field(description="`allow`, `hold` (not now), or `refuse` (not at all).")
    reason: reasons.Reason = Field(description="A code of a closed list.")
    why: str = Field(description="The reason in words, with advice.")
    ends_at: Instant | None = Field(None, description="Of `hold`: the end of its cause, where the customer shows it.")
    as_of: Basis
    away_until: Instant | None = Field(None, description="The customer is away until then.")
    valid_until: Instant = Field(description="Check again at this time.")
    contest: tuple[ActiveContest, ...] | None = Field(
        None, description="The customer's contests that cover this purpose, even if they changed nothing."
    )
    mode: Mode


async def check_permission(call: Call) -> Reply | web.StreamResponse:
    """Answers one question (application/json), or one on each line (application/jsonl)."""
    request = call.request
    if request.content_type == JSON_LINES:
        if not request.content.is_eof() or request.content.total_bytes > MAX_BODY:
            return await _stream(call, read_slices(request, SLICE))
        lines = split_lines(await read_body(request))
        if len(lines) > SLICE:
            return await _stream(call, in_slices(lines, SLICE))
        # The whole body has arrived: one answer costs half as much as a stream.
        return Reply(200, await _answer_lines(call.server, _Checks(call), lines), media=JSON_LINES)
    checks, body = _Checks(call), await read_body(request) or NOTHING
    call.require_valid_key()
    answer: str | Refused | None = checks.cached_answer(body)
    if answer is None:
        (answer,) = await checks.answer([body])
    if isinstance(answer, Refused):
        raise answer
    return json_answer(answer.encode())


ROUTES = (
    Route(
        "POST",
        "/check",
        "check",
        check_permission,
        "check",
        "Check whether you may reach a customer now",
        "check",
        description=(
            "Check right before you write or call. In `application/jsonl`, each line is a question, and the answer has "
            'one line for each, in order: the same as here, or `{"ref", "error"}` with the problem. The server answers '
            "lines as they arrive. Read while you send if there are more than 1,000."
        ),
        query=CheckQuery,
        body=Check,
        answer=CheckResult,
        codes=("not_found", "overloaded"),
        streams=True,
    ),
)


# --- a stream of questions --------------------------------------------------------------------------------------------


async def _stream(call: Call, incoming: AsyncIterator[list[bytes]]) -> web.StreamResponse:
    """Answers the lines in slices as they arrive (CHECK-5)."""
    server, request = call.server, call.request
    with count_in(server.capacity.checks, "too many streams of checks at once"):
        response = web.StreamResponse(headers={"Content-Type": JSON_LINES})
        checks = _Checks(call)
        if request.transport is not None:
            # Who reads nothing before all is sent is answered all the same, up to here.
            request.transport.set_write_buffer_limits(high=MEBIBYTE)
        async for lines in incoming:
            _require_valid_key(call)
            answers = await _answer_lines(server, checks, lines)
            if not response.prepared:
                await response.prepare(request)
            await _write(call, response, answers)
        if not response.prepared:
            await response.prepare(request)
        return response


def _require_valid_key(call: Call) -> None:
    """Raises Refused if the API key has ended. The rest of the body is not read (BIZ-3)."""
    try:
        call.require_valid_key()
    except Refused as refused:
        refuse_unread(call.request, refused)


async def _answer_lines(server: Server, checks: "_Checks", lines: list[bytes]) -> bytes:
    answers = await checks.answer(lines)
    return "".join(_line(server, line, answer) for line, answer in zip(lines, answers, strict=True)).encode()


async def _write(call: Call, response: web.StreamResponse, data: bytes) -> None:
    """Writes at the pace of the reader. Raises Refused if it does not read."""
    try:
        async with asyncio.timeout(call.server.config.body_timeout):
            await response.write(data)
    except TimeoutError:
        refuse_unread(call.request, Refused("too_slow"))
    # Others get their turn between two slices.
    await asyncio.sleep(0)


def _line(server: Server, line: bytes, answer: "str | Refused") -> str:
    """The line of an answer. That of a refused question has the `ref` of the question, if it can be parsed."""
    if isinstance(answer, str):
        return answer + "\n"
    refused = rest_refusal(answer, "body")
    problem = encode_problem(refused, problem_members(server.home, refused)).decode()
    ref = _ref_of(line)
    head = "" if ref is None else f'"ref":{_json(ref)},'
    return f'{{{head}"error":{problem}}}\n'


def _ref_of(line: bytes) -> str | None:
    try:
        members = parse_json(line, MAX_LINE)
    except Refused:
        return None
    ref = members.get("ref") if isinstance(members, dict) else None
    return ref if isinstance(ref, str) and len(ref) <= 200 else None


# --- checks -----------------------------------------------------------------------------------------------------------


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A question as the fast parser reads it: members are strings that are not validated."""

    connection: str
    purpose: str
    channel: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    ref: str | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET


_READ_PLAIN = msgspec.json.Decoder(_Plain).decode
_CHECK: TypeAdapter[Check] = TypeAdapter(Check)


class _Missing(NamedTuple):
    """A question that the cache does not answer, and the index of its answer."""

    place: int
    check: Check


class _Checks:
    """The questions of one request, with the business and the default mode."""

    def __init__(self, call: Call) -> None:
        self._server = call.server
        self._business = call.business
        self._name = call.business.name
        self._mode: Mode = call.query.mode or "strict"
        self._verdicts = call.server.writer.verdicts

    async def answer(self, questions: list[bytes]) -> list[str | Refused]:
        """The answers as JSON. Nothing is awaited between reading the clock and the last cached answer (CHECK-6)."""
        if self._server.writer.is_clock_doubtful():
            return [clock_doubtful()] * len(questions)
        now = self._server.clock.now()
        # Of a verdict that is kept: it has no end sooner than this.
        end = _end(now + FRESH_FOR, self._mode)
        answers: list[str | Refused] = []
        missing: list[_Missing] = []
        for place, question in enumerate(questions):
            found: str | Refused | None = self._from_cache(question, now, end)
            if found is None:
                found = ""
                try:
                    missing.append(_Missing(place, parse_model(_CHECK, question, MAX_LINE)))
                except Refused as refused:
                    found = refused
            answers.append(found)
        if missing:
            await self._decide(missing, answers)
        return answers

    def cached_answer(self, question: bytes) -> str | None:
        """The cached answer to a question."""
        if self._server.writer.is_clock_doubtful():
            return None
        now = self._server.clock.now()
        return self._from_cache(question, now, _end(now + FRESH_FOR, self._mode))

    def _from_cache(self, question: bytes, now: int, end: str) -> str | None:
        """The answer to a question without escapes whose verdict is cached."""
        if b"\\" in question or len(question) > MAX_LINE:
            return None
        try:
            plain = _READ_PLAIN(question)
        except (ValueError, RecursionError):
            return None
        about = self._verdicts.about(plain.connection, self._name, now)
        if about is None:
            return None
        channel, topic, ref, mode = plain.channel, plain.topic, plain.ref, plain.mode
        verdict = about.verdicts.get(
            (plain.purpose, "app" if channel is UNSET else channel, None if topic is UNSET else topic)
        )
        # Without escapes, a text has two quotes, and a member two texts: any more, and a name is there twice.
        members = 6 - (channel is UNSET) - (topic is UNSET) - (ref is UNSET) - (mode is UNSET)
        if verdict is None or question.count(b'"') != 4 * members:
            return None
        if mode is not UNSET:
            end = _end(now + FRESH_FOR, mode)
        if ref is UNSET:
            return f'{{"connection":"{plain.connection}",{verdict}{about.as_of}{end}'
        if len(ref) > 200:
            return None
        return f'{{"ref":"{ref}","connection":"{plain.connection}",{verdict}{about.as_of}{end}'

    async def _decide(self, missing: list[_Missing], answers: list[str | Refused]) -> None:
        """Decides on the states that are stored now, after all questions were read (GATE-16)."""
        with self._verdicts.watch_writes() as reading:
            known = await self._server.store.states_before({gap.check.connection for gap in missing})
            began = perf_counter()
            for place, check in missing:
                if perf_counter() - began > AT_A_STRETCH:
                    await asyncio.sleep(0)
                    began = perf_counter()
                try:
                    answers[place] = self._decision(check, known.get(check.connection), reading)
                except Refused as refused:
                    answers[place] = refused

    def _decision(self, check: Check, known: Known | None, reading: Reading) -> str:
        """Raises Refused("not_found")."""
        state = None if known is None else decode_state(known.state)
        side = own_side(state, self._business)
        assert state is not None
        now, zones = self._server.clock.now(), self._server.context.zones
        question = (check.purpose, check.channel, check.topic)
        verdict = gate.may(state, side, *question, now, zones).outward()
        notices, door = self._server.context.notices, state.door(other(side))
        settled = min((gate.unchanged_until(state, side, now, zones), *notices.turns(door, now)))
        about = About(self._name, now, settled, _basis(verdict, side, notices.away_until(door, now)))
        members = _verdict(
            verdict.decision, verdict.reason, reasons.reason_text(verdict), reasons.hold_end(verdict)
        ) + _contest(verdict)
        self._verdicts.keep(reading, check.connection, about, question, members)
        ref = "" if check.ref is None else f'"ref":{_json(check.ref)},'
        end = _end(verdict.valid_until, check.mode or self._mode)
        return f'{{{ref}"connection":"{check.connection}",{members}{about.as_of}{end}'


@lru_cache(maxsize=1024)
def _verdict(decision: str, reason: str, why: str, until: int | None) -> str:
    """The JSON of these members. Cached, since many connections share it."""
    end = "" if until is None else f',"ends_at":"{instant(until)}"'
    return f'"decision":"{decision}","reason":"{reason}","why":{_json(why)}{end}'


def _contest(verdict: Verdict) -> str:
    """The JSON of the member `contest`; empty if there are no contests."""
    if not verdict.contest:
        return ""
    return f',"contest":[{",".join(contest.to_json().decode() for contest in contest_list(verdict.contest))}]'


def _basis(verdict: Verdict, own: Side, away: int | None) -> str:
    until = "" if away is None else f',"away_until":"{instant(away * 1000)}"'
    return f',"as_of":{Basis.of(verdict.as_of, own).to_json().decode()}{until}'


def _end(valid_until: int, mode: Mode) -> str:
    return f',"valid_until":"{instant(valid_until)}","mode":"{mode}"}}'


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
