"""What one connection's texts say: messages, history, tokens; and whether the server agrees.

Functions over a `Party`, kept apart from it because they only read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec

from comity import http_api
from comity.client.connection.feedback import said_of
from comity.client.connection.history import Line
from comity.client.connection.published_keys import signing_key
from comity.client.connection.receipts import take_tags
from comity.client.connection.view import Postbox, View
from comity.client.models import Message, Statement, Timeline, Token, Who, tell, tell_duty
from comity.client.session import Core, NotOpen
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
from comity.rules.state import Connection, public_state
from comity.rules.timeline import timeline

_WAIT = 20.0


async def until_open(party: View, core: Core, postbox: Postbox, timeout: float) -> None:  # noqa: ASYNC109
    """Waits for the other side's signature. Raises NotOpen, TimeoutError."""
    async with asyncio.timeout(timeout):
        while party.phase in ("proposed", "closed"):
            if party.phase == "closed":
                raise NotOpen(party.link.closed or "the connection did not come about")
            if core.seconds() >= _half_of(party).countersign_by:
                raise NotOpen("the other side let the time pass")
            await postbox.pull(party, min(timeout, _WAIT))


def _half_of(party: View) -> Agreement:
    raw = party.link.agreement.encode()
    return open_agreement(raw).agreement if party.link.whole else open_half(raw).agreement


# --- does the server agree? ---


async def compare(party: View, core: Core, catch_up: Callable[[], Awaitable[object]]) -> None:
    """Holds the server's view against this wallet's. Raises Contradiction with both.

    Where they differ the server may be ahead: what is missing is read, and then one of the states that the
    connection has gone through must be the one that was shown.
    """
    answer, text = await core.home(party.link.home).connection(party.cid, party.writing.signer)
    if answer.cid != party.cid or answer.agreement != json.loads(party.agreement_raw):
        raise Contradiction("the server shows another agreement", (text, party.agreement_raw.decode()))
    await take_tags(core, party.cid, answer.tags, text)
    _not_behind(party, answer, text)
    await take_notices(party, core, answer.notices, text)
    if _is_shown(party, party.state, answer):
        return
    await catch_up()
    if not any(_is_shown(party, state, answer) for state in party.writing.book.states()):
        mine = msgspec.json.encode(public_state(party.state)).decode()
        raise Contradiction("the server shows a state that follows from nothing it sent", (text, mine))


async def take_notices(party: View, core: Core, raws: Sequence[str], text: str) -> None:
    """Takes in what the other side says to all of its connections, signed by a key that it publishes. Raises
    Contradiction."""
    found: dict[str, Notice] = {}
    for raw in raws:
        try:
            key = await signing_key(core, raw, party.link.home)
            notice = open_notice(raw, lambda _, key=key: key).notice  # type: ignore[misc]
        except Refused as fault:
            raise Contradiction(f"a notice that is none: {fault}", (raw, text)) from None
        if notice.iss != party.did or notice.kind in found:
            raise Contradiction("a notice of somebody else, or two of one kind", (raw, text))
        found[notice.kind] = notice
    party.heard = found


async def notices(party: View, core: Core) -> list[Notice]:
    """What the other side says to everybody, as the server shows it now."""
    answer, text = await core.home(party.link.home).connection(party.cid, party.writing.signer)
    await take_notices(party, core, answer.notices, text)
    return party.notices_shown()


def _is_shown(party: View, state: Connection, answer: http_api.ConnectionAnswer) -> bool:
    own, heads = state.door(party.side).settings, answer.heads
    return (
        [(heads.first.seq, heads.first.head), (heads.second.seq, heads.second.head)]
        == [(state.first.seq, state.first.head), (state.second.seq, state.second.head)]
        and (answer.settings.seq, answer.settings.head) == (own.seq, own.head or party.cid)
        and answer.state == public_state(state)
    )


def _not_behind(party: View, answer: http_api.ConnectionAnswer, text: str) -> None:
    """A server that has lost what it once accepted is not believed; a revoke may stand at any place, and whether there
    was one is seen when the rest is compared."""
    if "ended" in (party.state.phase, answer.state.get("phase")):
        return
    for side in SIDES:
        if getattr(answer.heads, side).seq < party.state.door(side).seq:
            signed = [line.raw for line in party.lines if getattr(line.event, "side", None) == side]
            raise Contradiction("the server has lost what it accepted", (text, *signed[-1:]))


# --- messages ---


def messages(party: View) -> list[Message]:
    """Every message of both sides that this side may read, oldest first."""
    found = [message_of(party, line) for line in party.lines if line.act is not None and line.act.kind == "message"]
    return [message for message in found if message.by == "me" or message.outcome == "delivered"]


def exempt_notices(party: View) -> dict[str, tuple[int, ...]]:
    """Purpose → when (ms) the other side came for it past mute, hours and budget."""
    found: dict[str, tuple[int, ...]] = {}
    for line in party.lines:
        event = line.event
        if not isinstance(event, Accepted) or event.contents is None or event.side == party.side:
            continue
        if event.contents.purpose in EXEMPT_PURPOSES:
            purpose = event.contents.purpose
            found[purpose] = (*found.get(purpose, ()), line.at)
    return found


def message_of(party: View, line: Line) -> Message:
    """One accepted message, with what became of it."""
    act, event = line.act, line.event
    if act is None or not isinstance(event, Accepted) or event.contents is None:
        raise ComityError("that is not a message")
    outcome: str = event.outcome or ""
    delivered_at = line.at if outcome == "delivered" else None
    for later in party.lines:
        if isinstance(later.event, Delivered | Expired) and later.event.act == act.id:
            outcome = later.event.event
            delivered_at = later.at if outcome == "delivered" else None
    by: Who = "me" if event.side == party.side else "them"
    read, why = party.read_body(act)
    text = read.get("text") if read is not None and isinstance(read.get("text"), str) else None
    reply_to: str | None = getattr(act.payload, "reply_to", None)
    quiet = by == "them" and party.was_snoozed(delivered_at or line.at)
    return Message(
        id=act.id,
        by=by,
        purpose=event.contents.purpose,
        topic=event.contents.topic,
        at=line.at,
        outcome=outcome,
        delivered_at=delivered_at,
        text=text,
        body=read,
        unreadable=why,
        reply_to=reply_to,
        quiet=quiet,
        expires_at=event.contents.exp if outcome == "held" else None,
        feedback=said_of(party, act.id),
    )


def history(party: View) -> Timeline:
    """The timeline in words."""
    book = party.writing.book
    records = [Record(book.opened.event), *(Record(line.event, line.act) for line in book.lines)]
    acts = {line.act.id: line.act for line in book.lines if line.act is not None and isinstance(line.event, Accepted)}
    told = []
    for moment in timeline(records):
        act = acts.get(moment.act or "") if moment.kind not in ("delivered", "expired") else None
        told.append(replace(tell(moment, party.side, party.name), words=None if act is None else words_of(party, act)))
    whose: tuple[Who, Who] = ("me", "them")
    owed = [(who, duty) for who in whose if (duty := party.duty(who)) is not None and duty.done_at is None]
    told += [tell_duty(duty.due_at, who, party.name, party.now()) for who, duty in owed]
    return Timeline(sorted(told, key=lambda it: it.at))


def words_of(party: View, act: SignedAct) -> str | None:
    """What was written in an act that is no message, as far as it can be read here."""
    if act.kind == "message" or (found := party.body_of(act)) is None:
        return None
    if isinstance(act.payload, Remember):
        note = parse_note(act.payload.key, found)
        parts = [None if note.value is None else value_in_words(note.value), note.text]
    else:
        back = found.get("in_return")
        parts = [found.get("text"), f"in return: {back}" if isinstance(back, str) else None]
    return "; ".join(part for part in parts if isinstance(part, str)) or None


def value_in_words(value: Any) -> str:
    """A little thing's value as people read it: `de, en`; `mo, tu 09:00-17:30 (Europe/Vienna)`."""
    if value is True:
        return "yes"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_in_words, value))
    if isinstance(value, dict):
        windows = ((it["days"], it["start"], it["end"]) for it in value["windows"])
        return f"{windows_in_words(windows)} ({value['zone']})"
    return str(value)


def windows_in_words(windows: Iterable[tuple[Iterable[str], str, str]]) -> str:
    """Windows in a line: `mo, tu 09:00-17:30; sa 22:00-04:00`."""
    return "; ".join(f"{', '.join(days)} {start}-{end}" for days, start, end in windows)


def statement(party: View, by: Who) -> Statement | None:
    """What a side said last of what became of the other's data."""
    said = party.state.door(party.side if by == "me" else other(party.side)).erasure
    line = next((it for it in party.lines if said and it.act is not None and it.act.id == said.id), None)
    if line is None or line.act is None or not isinstance(line.act.payload, Erasure):
        return None
    payload = line.act.payload
    return Statement(line.act.id, by, line.at, payload.deleted, payload.kept or (), payload.passed_on or ())


# --- tokens ---

_STATUS: dict[int, Literal["valid", "ask", "invalid"]] = {
    GrantStatus.VALID: "valid",
    GrantStatus.ASK: "ask",
    GrantStatus.INVALID: "invalid",
}


async def tokens(party: View, core: Core) -> list[Token]:
    """The grants in force of both sides with their status, as the list says it and the acts bear out."""
    found: list[Token] = []
    lists: dict[str, SignedStatusList] = {}
    state = party.state
    for side in SIDES:
        for grant in state.door(side).grants:
            if grant.exp <= core.seconds():
                continue
            if grant.uri not in lists:
                lists[grant.uri] = await status_list(core, party.writing.pinned_home, grant.uri)
            line = next(it for it in party.lines if it.act is not None and it.act.id == grant.id)
            stated = _STATUS.get(lists[grant.uri].at(grant.idx), "invalid")
            _check_status(state, party.side, side, grant.id, stated, lists[grant.uri], core, line)
            found.append(_token(line, "me" if side == party.side else "them", stated))
    return found


async def status_list(core: Core, pinned: HomeParty, uri: str) -> SignedStatusList:
    """The list at that place, opened, current and signed by the home server. Raises Contradiction."""
    home = pinned.did
    raw = await core.home(home).status_list(uri)
    try:
        opened = await core.homes.open_list(pinned, raw, uri)
    except Refused as fault:
        raise Contradiction(f"a status list that is none: {fault}", (raw,)) from None
    if opened.claims.iss != home:
        raise Contradiction("a status list of another server", (raw,))
    if not opened.is_current(core.seconds_at(home)):
        raise Contradiction("a status list that is out of date", (raw,))
    return opened


def _token(line: Line, by: Who, status: Literal["valid", "ask", "invalid"]) -> Token:
    assert line.act is not None
    grant = line.act.payload
    assert isinstance(grant, Grant)
    reference = grant.status.status_list
    return Token(
        id=line.act.id,
        by=by,
        purposes=grant.purposes,
        channels=grant.channels,
        exp=grant.exp,
        idx=reference.idx,
        uri=reference.uri,
        jwt=line.act.raw,
        acceptance=line.raw,
        status=status,
    )


def _check_status(
    state: Connection,
    me: Side,
    giver: Side,
    grant: str,
    stated: str,
    listed: SignedStatusList,
    core: Core,
    line: Line,
) -> None:
    """A list made after the last thing that happened here must say what follows from it."""
    made = listed.claims.iat * 1000
    if made <= state.at:
        return
    expected = _expected(state, giver, grant, made)
    # An open mute of the other side may have an end that only it and the server know.
    if stated != expected and not (giver != me and {stated, expected} == {"valid", "ask"}):
        raise Contradiction(f"the status list says {stated}, the acts say {expected}", (listed.raw, line.raw))


def _expected(state: Connection, giver: Side, grant_id: str, at: int) -> str:
    door = state.door(giver)
    grant = next((it for it in door.grants if it.id == grant_id), None)
    if grant is None or grant.exp * 1000 <= at:
        return "invalid"
    if gate.is_fully_renounced(state.door(other(giver)), grant):
        return "invalid"
    return "ask" if at < gate.undecidable_until(state, giver, grant) else "valid"
