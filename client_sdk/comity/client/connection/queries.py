"""Messages, notices, tokens and the timeline of one connection, and the comparison with the server's view."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec

from comity import http_api
from comity.client.connection.feedback import last_feedback
from comity.client.connection.history import HistoryRecord
from comity.client.connection.published_keys import signing_key
from comity.client.connection.receipts import check_tag_keys
from comity.client.connection.view import ConnectionView, NewsSource
from comity.client.models import Message, Statement, Timeline, Token, Who, describe_erasure_due, describe_moment
from comity.client.session import NotOpen, Session
from comity.documents.acts import Erasure, Grant, Remember, SignedAct
from comity.documents.agreements import Agreement, open_agreement, open_half
from comity.documents.events import Accepted, Delivered, Expired
from comity.documents.note_values import parse_note
from comity.documents.notices import Notice, open_notice
from comity.documents.offers import HomeParty
from comity.documents.status_lists import GrantStatus, SignedStatusList
from comity.documents.types import EXEMPT_PURPOSES, SIDES, Side, other
from comity.errors import ComityError, Contradiction, Refused
from comity.rules import gate
from comity.rules.fold import Record
from comity.rules.state import Connection as ConnectionState
from comity.rules.state import public_state
from comity.rules.timeline import timeline

_WAIT = 20.0


async def wait_until_open(
    connection: ConnectionView,
    session: Session,
    news_source: NewsSource,
    timeout: float,  # noqa: ASYNC109
) -> None:
    """Waits at most `timeout` seconds for the other side's signature. Raises NotOpen, TimeoutError."""
    async with asyncio.timeout(timeout):
        while connection.phase in ("proposed", "closed"):
            if connection.phase == "closed":
                raise NotOpen(connection.info.closed or "the connection did not come about")
            if session.seconds() >= _half_of(connection).countersign_by:
                raise NotOpen("the other side did not sign in time")
            await news_source.fetch_news(connection, min(timeout, _WAIT))


def _half_of(connection: ConnectionView) -> Agreement:
    raw = connection.info.agreement.encode()
    return open_agreement(raw).agreement if connection.info.whole else open_half(raw).agreement


# --- comparison with the server ---


async def compare_with_server(
    connection: ConnectionView, session: Session, catch_up: Callable[[], Awaitable[object]]
) -> None:
    """Compares the server's view with this wallet's. Raises Contradiction with both.

    Where they differ the server may be ahead: the missing records are read first. Then the server's view must be one of
    the states that the connection has passed through.
    """
    answer, text = await session.server(connection.info.home).get_connection(connection.cid, connection.queue.signer)
    if answer.cid != connection.cid or answer.agreement != json.loads(connection.agreement_raw):
        raise Contradiction("the server shows another agreement", (text, connection.agreement_raw.decode()))
    await check_tag_keys(session, connection.cid, answer.tags, text)
    _check_not_behind(connection, answer, text)
    await check_notices(connection, session, answer.notices, text)
    if _matches_answer(connection, connection.state, answer):
        return
    await catch_up()
    if not any(_matches_answer(connection, state, answer) for state in connection.queue.history.states()):
        mine = msgspec.json.encode(public_state(connection.state)).decode()
        raise Contradiction("the server shows a state that does not follow from its events", (text, mine))


async def check_notices(connection: ConnectionView, session: Session, raws: Sequence[str], text: str) -> None:
    """Stores the other side's notices in `known_notices`, after checking that it signed them with a published key.
    Raises Contradiction."""
    found: dict[str, Notice] = {}
    for raw in raws:
        try:
            key = await signing_key(session, raw, connection.info.home)
            notice = open_notice(raw, lambda _, key=key: key).notice  # type: ignore[misc]
        except Refused as fault:
            raise Contradiction(f"an invalid notice: {fault}", (raw, text)) from None
        if notice.iss != connection.did or notice.kind in found:
            raise Contradiction("a notice of somebody else, or two of one kind", (raw, text))
        found[notice.kind] = notice
    connection.known_notices = found


async def fetch_notices(connection: ConnectionView, session: Session) -> list[Notice]:
    """Fetches the other side's notices and returns those in force."""
    answer, text = await session.server(connection.info.home).get_connection(connection.cid, connection.queue.signer)
    await check_notices(connection, session, answer.notices, text)
    return connection.cached_notices()


def _matches_answer(connection: ConnectionView, state: ConnectionState, answer: http_api.ConnectionAnswer) -> bool:
    own, heads = state.door(connection.side).settings, answer.heads
    return (
        [(heads.first.seq, heads.first.head), (heads.second.seq, heads.second.head)]
        == [(state.first.seq, state.first.head), (state.second.seq, state.second.head)]
        and (answer.settings.seq, answer.settings.head) == (own.seq, own.head or connection.cid)
        and answer.state == public_state(state)
    )


def _check_not_behind(connection: ConnectionView, answer: http_api.ConnectionAnswer, text: str) -> None:
    """Raises Contradiction for a server that lost acts which it once accepted. After an end the heads say nothing,
    because a revoke may stand at any place; the comparison of states shows whether there was one."""
    if "ended" in (connection.state.phase, answer.state.get("phase")):
        return
    for side in SIDES:
        if getattr(answer.heads, side).seq < connection.state.door(side).seq:
            signed = [record.raw for record in connection.records if getattr(record.event, "side", None) == side]
            raise Contradiction("the server has lost acts that it accepted", (text, *signed[-1:]))


# --- messages ---


def list_messages(connection: ConnectionView) -> list[Message]:
    """Every message of both sides that this side may read, oldest first."""
    found = [
        message_of(connection, record)
        for record in connection.records
        if record.act is not None and record.act.kind == "message"
    ]
    return [message for message in found if message.by == "me" or message.outcome == "delivered"]


def exempt_notices(connection: ConnectionView) -> dict[str, tuple[int, ...]]:
    """Purpose → the times (ms) at which the other side used it to pass mutes, hours and budgets."""
    found: dict[str, tuple[int, ...]] = {}
    for record in connection.records:
        event = record.event
        if not isinstance(event, Accepted) or event.contents is None or event.side == connection.side:
            continue
        if event.contents.purpose in EXEMPT_PURPOSES:
            purpose = event.contents.purpose
            found[purpose] = (*found.get(purpose, ()), record.at)
    return found


def message_of(connection: ConnectionView, record: HistoryRecord) -> Message:
    """One accepted message with its outcome."""
    act, event = record.act, record.event
    if act is None or not isinstance(event, Accepted) or event.contents is None:
        raise ComityError("that is not a message")
    outcome: str = event.outcome or ""
    delivered_at = record.at if outcome == "delivered" else None
    for later in connection.records:
        if isinstance(later.event, Delivered | Expired) and later.event.act == act.id:
            outcome = later.event.event
            delivered_at = later.at if outcome == "delivered" else None
    by: Who = "me" if event.side == connection.side else "them"
    read, why = connection.read_body(act)
    text = read.get("text") if read is not None and isinstance(read.get("text"), str) else None
    reply_to: str | None = getattr(act.payload, "reply_to", None)
    quiet = by == "them" and connection.was_snoozed(delivered_at or record.at)
    return Message(
        id=act.id,
        by=by,
        purpose=event.contents.purpose,
        topic=event.contents.topic,
        at=record.at,
        outcome=outcome,
        delivered_at=delivered_at,
        text=text,
        body=read,
        unreadable=why,
        reply_to=reply_to,
        quiet=quiet,
        expires_at=event.contents.exp if outcome == "held" else None,
        feedback=last_feedback(connection, act.id),
    )


def build_timeline(connection: ConnectionView) -> Timeline:
    """The timeline in words."""
    history = connection.queue.history
    records = [Record(history.opened.event), *(Record(record.event, record.act) for record in history.records)]
    acts = {
        record.act.id: record.act
        for record in history.records
        if record.act is not None and isinstance(record.event, Accepted)
    }
    entries = []
    for moment in timeline(records):
        act = acts.get(moment.act or "") if moment.kind not in ("delivered", "expired") else None
        entries.append(
            replace(
                describe_moment(moment, connection.side, connection.name),
                words=None if act is None else words_of(connection, act),
            )
        )
    whose: tuple[Who, Who] = ("me", "them")
    owed = [(who, duty) for who in whose if (duty := connection.erasure_due(who)) is not None and duty.done_at is None]
    entries += [describe_erasure_due(duty.due_at, who, connection.name, connection.now()) for who, duty in owed]
    return Timeline(sorted(entries, key=lambda it: it.at))


def words_of(connection: ConnectionView, act: SignedAct) -> str | None:
    """The text written in an act other than a message, as far as it can be read here."""
    if act.kind == "message" or (found := connection.body_of(act)) is None:
        return None
    if isinstance(act.payload, Remember):
        note = parse_note(act.payload.key, found)
        parts = [None if note.value is None else format_value(note.value), note.text]
    else:
        back = found.get("in_return")
        parts = [found.get("text"), f"in return: {back}" if isinstance(back, str) else None]
    return "; ".join(part for part in parts if isinstance(part, str)) or None


def format_value(value: Any) -> str:
    """The value of a note as people read it: `de, en`; `mo, tu 09:00-17:30 (Europe/Vienna)`."""
    if value is True:
        return "yes"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, dict):
        windows = ((it["days"], it["start"], it["end"]) for it in value["windows"])
        return f"{format_windows(windows)} ({value['zone']})"
    return str(value)


def format_windows(windows: Iterable[tuple[Iterable[str], str, str]]) -> str:
    """Windows in one line: `mo, tu 09:00-17:30; sa 22:00-04:00`."""
    return "; ".join(f"{', '.join(days)} {start}-{end}" for days, start, end in windows)


def find_statement(connection: ConnectionView, by: Who) -> Statement | None:
    """A side's latest statement on the erasure of the other's data, or None."""
    said = connection.state.door(connection.side if by == "me" else other(connection.side)).erasure
    record = next((it for it in connection.records if said and it.act is not None and it.act.id == said.id), None)
    if record is None or record.act is None or not isinstance(record.act.payload, Erasure):
        return None
    payload = record.act.payload
    return Statement(record.act.id, by, record.at, payload.deleted, payload.kept or (), payload.passed_on or ())


# --- tokens ---

_STATUS: dict[int, Literal["valid", "ask", "invalid"]] = {
    GrantStatus.VALID: "valid",
    GrantStatus.ASK: "ask",
    GrantStatus.INVALID: "invalid",
}


async def fetch_tokens(connection: ConnectionView, session: Session) -> list[Token]:
    """The grants in force of both sides, with their status from the status list, checked against the acts. Raises
    Contradiction."""
    found: list[Token] = []
    lists: dict[str, SignedStatusList] = {}
    state = connection.state
    for side in SIDES:
        for grant in state.door(side).grants:
            if grant.exp <= session.seconds():
                continue
            if grant.uri not in lists:
                lists[grant.uri] = await fetch_status_list(session, connection.queue.pinned_home, grant.uri)
            record = next(it for it in connection.records if it.act is not None and it.act.id == grant.id)
            stated = _STATUS.get(lists[grant.uri].at(grant.idx), "invalid")
            _check_status(state, connection.side, side, grant.id, stated, lists[grant.uri], session, record)
            found.append(_token(record, "me" if side == connection.side else "them", stated))
    return found


async def fetch_status_list(session: Session, pinned: HomeParty, uri: str) -> SignedStatusList:
    """The status list at that address, current and signed by the home server. Raises Contradiction."""
    home = pinned.did
    raw = await session.server(home).get_status_list(uri)
    try:
        opened = await session.known_servers.open_list(pinned, raw, uri)
    except Refused as fault:
        raise Contradiction(f"an invalid status list: {fault}", (raw,)) from None
    if opened.claims.iss != home:
        raise Contradiction("a status list of another server", (raw,))
    if not opened.is_current(session.seconds_at(home)):
        raise Contradiction("a status list that is out of date", (raw,))
    return opened


def _token(record: HistoryRecord, by: Who, status: Literal["valid", "ask", "invalid"]) -> Token:
    assert record.act is not None
    grant = record.act.payload
    assert isinstance(grant, Grant)
    reference = grant.status.status_list
    return Token(
        id=record.act.id,
        by=by,
        purposes=grant.purposes,
        channels=grant.channels,
        exp=grant.exp,
        idx=reference.idx,
        uri=reference.uri,
        jwt=record.act.raw,
        acceptance=record.raw,
        status=status,
    )


def _check_status(
    state: ConnectionState,
    me: Side,
    giver: Side,
    grant: str,
    stated: str,
    listed: SignedStatusList,
    session: Session,
    record: HistoryRecord,
) -> None:
    """Raises Contradiction where a list made after the last record of this connection disagrees with the acts."""
    made = listed.claims.iat * 1000
    if made <= state.at:
        return
    expected = _expected_status(state, giver, grant, made)
    # A mute of the other side without a shown end may have a hidden one.
    if stated != expected and not (giver != me and {stated, expected} == {"valid", "ask"}):
        raise Contradiction(f"the status list says {stated}, the acts say {expected}", (listed.raw, record.raw))


def _expected_status(state: ConnectionState, giver: Side, grant_id: str, at: int) -> str:
    door = state.door(giver)
    grant = next((it for it in door.grants if it.id == grant_id), None)
    if grant is None or grant.exp * 1000 <= at:
        return "invalid"
    if gate.is_fully_renounced(state.door(other(giver)), grant):
        return "invalid"
    return "ask" if at < gate.undecidable_until(state, giver, grant) else "valid"
