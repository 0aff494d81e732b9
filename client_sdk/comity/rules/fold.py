"""What an accepted act does to the state (spec/connection.md, section "Fold", CONN-15).

`fold` is total on records that belong together and raises Contradiction on those that do not: a gap, a reordering, an
event about another act. It decides nothing: what became of a message is in the event, because a reader who does not
have the other side's settings could not work it out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from comity.crypto.keys import did_of_kid, is_pairwise
from comity.documents.acts import SignedAct
from comity.documents.agreements import SignedAgreement
from comity.documents.events import Accepted, Confirmed, Contents, Delivered, Event, Expired, MuteOver, Opened, Restored
from comity.documents.hours import spans
from comity.documents.types import EXEMPT_PURPOSES, NOTE, PERIODS, SIDES, Side, covers, other, root_of
from comity.documents.types import Budget as BudgetModel
from comity.errors import Contradiction
from comity.rules import mute_over
from comity.rules.budgets import KEPT_FOR, MOST_SENT
from comity.rules.contests import LASTS
from comity.rules.erasure import stated
from comity.rules.favours import ASK_BUDGET, COOL_AFTER_NO, COOL_AFTER_NOT_NOW, FAVOUR_LASTS, LONGEST_ASK, cool_until
from comity.rules.state import (
    Ask,
    Budget,
    Connection,
    Contest,
    Delivery,
    Door,
    Grant,
    Held,
    Last,
    LastOfAny,
    LittleThing,
    Milestone,
    Mute,
    MuteEnd,
    Renounced,
)

MOST_MUTE_ENDS = 32
"""Hidden ends that one side may have set for mutes that are not (yet) in force (CONN-14)."""
MOST_FORMER = 16
"""Earlier names of a side that are kept beside its first."""
MOST_RENOUNCED = 32
"""Entries of what a side gave up; beyond, the two oldest become one (CONN-14)."""


class Record(NamedTuple):
    """One thing that happened: the server's event, and the act it is about where the reader has it."""

    event: Event
    act: SignedAct | None = None


def opening(agreement: SignedAgreement, opened: Opened) -> Connection:
    """The state of a connection that has just been opened. Raises Contradiction when the event is about another."""
    if opened.cid != agreement.cid or opened.iss != agreement.agreement.home.did:
        raise Contradiction("the event opens another connection than the agreement")
    doors = {}
    for side in ("first", "second"):
        party = agreement.agreement.offerer if side == "first" else agreement.agreement.accepter
        doors[side] = Door(party.did, party.kid, party.key, party.did, agreement.cid)
    home = agreement.agreement.home.did
    return Connection(agreement.cid, home, "open", opened.at, doors["first"], doors["second"])


_ABOUT_ACTS = (Accepted, Delivered, Expired)


def fold(connection: Connection, record: Record, restored_at: int = 0) -> Connection:
    """The state after `record`, whose time is later than all before it (CONN-10). Raises Contradiction for a record
    that cannot follow (CONN-18).

    `restored_at` (ms) is the time of the latest `restored` that is known of the connection, 0 for none: of what was
    taken back from before it, something may be lost for good, so there `as_of` is not compared (EVENT-7).
    """
    event = record.event
    if not event.is_about(connection.cid) or event.iss != connection.home:
        raise Contradiction("the event is about another connection")
    if event.at <= connection.at:
        raise Contradiction("the event is not later than the one before it")
    if isinstance(event, Opened):
        raise Contradiction("the connection is open already")
    after = connection
    if isinstance(event, _ABOUT_ACTS):
        if event.at > restored_at:
            _check_as_of(connection, event)
        if isinstance(event, Accepted):
            after = _accepted(connection, event, record.act)
        else:
            after = _let_go(connection, event.side, event.act, event.at if isinstance(event, Delivered) else None)
    elif isinstance(event, Restored):
        doors = SIDES if connection.phase == "open" else ()
        after = replace(connection, restored_at=event.at, recovering=doors)
    elif isinstance(event, Confirmed):
        after = _confirmed(connection, event.side)
    elif isinstance(event, MuteOver):
        after = mute_over.after_over(connection, event)
    return replace(after, at=event.at)


def _check_as_of(connection: Connection, event: Accepted | Delivered | Expired) -> None:
    """Raises Contradiction unless the event names the heads of this state: two chains without a gap do not show that
    neither was cut at its end (EVENT-7). A restored server does not know all heads until both sides have confirmed."""
    if connection.recovering or (connection.phase == "ended" and connection.restored_at):
        return
    if (event.as_of.first, event.as_of.second) != (connection.first.head, connection.second.head):
        raise Contradiction("the event names other heads of the two chains than the acts before it have")


def _confirmed(connection: Connection, side: Side) -> Connection:
    """The door of that side recovers no longer (REC-6)."""
    if side not in connection.recovering:
        return connection
    return replace(connection, recovering=tuple(it for it in connection.recovering if it != side))


def _accepted(connection: Connection, event: Accepted, act: SignedAct | None) -> Connection:
    door, ended = connection.door(event.side), connection.phase == "ended"
    is_its_time = ended == (event.kind == "erasure")
    # A server that was restored may not have known of the end (REC-7).
    if not is_its_time and not (ended and connection.restored_at):
        raise Contradiction(f"the connection {'has' if ended else 'has not'} ended")
    if not event.is_whole:
        raise Contradiction("the event says more, or less, of the act than one of its kind")
    if act is not None:
        _check_about(event, act, door)
    if event.chain == "settings":
        if act is None or event.seq != door.settings.seq:
            raise Contradiction("a setting is missing")
        settings = replace(door.settings, seq=event.seq + 1, head=event.act)
        after = connection.with_door(event.side, replace(door, settings=settings))
        return _FOLDS[event.kind](after, event.side, act.payload, event) if is_its_time else after
    if event.seq != door.seq and event.kind != "revoke":
        raise Contradiction("an act is missing")
    after = connection.with_door(event.side, replace(door, seq=event.seq + 1, head=event.act))
    if not is_its_time:
        return after
    after = _confirmed(after, event.side)
    if event.kind == "message":
        return _acted(_message(after, event), event.side, event.at)
    if act is None:
        raise Contradiction("an act is missing")
    return _acted(_FOLDS[event.kind](after, event.side, act.payload, event), event.side, event.at)


def _acted(connection: Connection, side: Side, at: int) -> Connection:
    """With the time of the side's last act or delivery; nothing of it is left after the end."""
    if connection.phase == "ended":
        return connection
    return replace(connection, last=replace(connection.last or LastOfAny(), **{side: at}))


def _check_about(event: Accepted, act: SignedAct, door: Door) -> None:
    """Raises Contradiction unless the event is about this very act, in its place."""
    head = door.head if event.chain == "acts" else (door.settings.head or event.cid)
    payload = act.payload
    about = (act.id, payload.cid, payload.seq, act.kind, act.chain)
    if about != (event.act, event.cid, event.seq, event.kind, event.chain):
        raise Contradiction("the event is about another act")
    if act.kid != door.kid or act.key.multibase != door.key:
        raise Contradiction("the act is not signed with its side's key")
    if payload.prev != head and event.kind != "revoke":
        raise Contradiction("the act does not follow the head of its chain")
    if event.contents != contents_of(payload):
        # A sale that is recorded as a safety notice would count against nothing.
        raise Contradiction("the event tells other contents than the act")


# --- messages and outside contacts ---------------------------------------------------------------------------------


def contents_of(payload: Any) -> Contents | None:
    """What of a message or an outside contact goes into its event; None for every other act."""
    if payload.act == "message":
        return Contents(purpose=payload.purpose, channel="app", topic=payload.topic, exp=payload.exp)
    if payload.act == "contacted":
        return Contents(purpose=payload.purpose, channel=payload.channel, topic=payload.topic)
    return None


def _message(connection: Connection, event: Accepted) -> Connection:
    contents = event.contents
    assert contents is not None
    if event.outcome == "delivered":
        return _sent(connection, event.side, contents, event.at)
    if event.outcome == "dropped":
        return connection
    assert contents.exp is not None
    door = connection.door(event.side)
    waiting = tuple(held for held in door.held if held.id != event.replaces)
    if event.replaces is not None and len(waiting) == len(door.held):
        raise Contradiction("the message takes the place of one that does not wait")
    held = Held(event.act, contents.purpose, contents.exp, contents.topic)
    return connection.with_door(event.side, replace(door, held=(*waiting, held)))


def _sent(connection: Connection, side: Side, contents: Contents, at: int) -> Connection:
    door = connection.door(side)
    exempt = contents.purpose in EXEMPT_PURPOSES
    # What can no longer count is dropped here and nowhere else, so that every reader drops it at the same record.
    kept = [delivery for delivery in door.sent if delivery.at > at - KEPT_FOR]
    alike = [delivery for delivery in kept if (delivery.purpose in EXEMPT_PURPOSES) == exempt]
    if len(alike) >= MOST_SENT:
        # The oldest of its own sort: exempt notices have no limit, and must not push out what counts.
        kept.remove(alike[0])
    sent = (*kept, Delivery(at, contents.purpose, contents.channel))
    after = connection.with_door(side, replace(door, sent=sent, noticed=at if exempt else door.noticed))
    return after if exempt or contents.purpose == NOTE else _reached(after, side, contents, at)


def _reached(connection: Connection, side: Side, contents: Contents, at: int) -> Connection:
    """The state after a delivery or contact, with `last` and `unanswered`: a message answers the other side's. An away
    notice in a message (`care.away`) is neither care nor an answer."""
    if covers("care.away", contents.purpose):
        return connection
    door, root = connection.door(side), root_of(contents.purpose)
    if root in ("care", "sales"):
        door = replace(door, last=replace(door.last or Last(), **{root: at}))
    if contents.channel != "app":
        return connection.with_door(side, door)
    across = connection.door(other(side))
    after = connection.with_door(side, replace(door, unanswered=door.unanswered or at))
    return after.with_door(other(side), replace(across, unanswered=0)) if across.unanswered else after


def _let_go(connection: Connection, side: Side, act: str, delivered_at: int | None) -> Connection:
    door = connection.door(side)
    held = next((held for held in door.held if held.id == act), None)
    if held is None and connection.restored_at and delivered_at is None:
        return connection  # a server that lacked the delivery let the message expire (REC-7)
    if held is None:
        raise Contradiction("the event is about a message that does not wait")
    after = connection.with_door(side, replace(door, held=tuple(it for it in door.held if it.id != act)))
    if delivered_at is None:
        return after
    contents = Contents(purpose=held.purpose, channel="app")
    return _acted(_sent(after, side, contents, delivered_at), side, delivered_at)


def _contacted(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    assert event.contents is not None
    return _sent(connection, side, event.contents, event.at)


# --- the door ------------------------------------------------------------------------------------------------------


def _grant(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    live = tuple(it for it in door.grants if it.id != payload.replaces and it.exp * 1000 > event.at)
    reference = payload.status.status_list
    budget = _budget(payload.budget)
    grant = Grant(event.act, payload.purposes, payload.channels, payload.exp, reference.idx, reference.uri, budget)
    return connection.with_door(side, replace(door, grants=(*live, grant)))


def _budget(model: BudgetModel | None) -> Budget | None:
    return None if model is None else Budget(model.max, PERIODS[model.per])


def _withdraw(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    return connection.with_door(side, replace(door, grants=tuple(it for it in door.grants if it.id != payload.grant)))


def scope(purposes: tuple[str, ...] | None, channels: tuple[str, ...] | None) -> tuple[frozenset[str], frozenset[str]]:
    """What a mute stops; two mutes of one scope are one, and the later one is in force (CONN-11)."""
    return frozenset(purposes or ()), frozenset(channels or ())


def _mute(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    mine = scope(payload.purposes, payload.channels)
    others = tuple(
        it
        for it in door.mutes
        if scope(it.purposes, it.channels) != mine and (it.until is None or it.until * 1000 > event.at)
    )
    mute = Mute(event.act, payload.purposes or (), payload.channels or (), payload.until, payload.why)
    door = mute_over.after_act(door, event.act, payload)
    return connection.with_door(side, replace(door, mutes=(*others, mute)))


def _unmute(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    left = tuple(it for it in door.mutes if payload.mute is not None and it.id != payload.mute)
    door = mute_over.after_act(door, event.act, payload)
    return connection.with_door(side, replace(door, mutes=left))


def _revoke(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    # What one side let the other do, and the little things, end with the connection; what happened stays history
    # (CONN-16).
    def closed(door: Door) -> Door:
        door = replace(door, grants=(), mutes=(), little=(), held=(), ask=None, contests=(), feedback=())
        return mute_over.nothing_stands(replace(door, renounced=(), last=None, unanswered=0))

    first, second = closed(connection.first), closed(connection.second)
    connection = replace(connection, first=first, second=second, recovering=(), last=None)
    return replace(connection, phase="ended", ended_at=event.at, ended_by=side)


def _erasure(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = stated(connection.door(side), event.act, event.at, complete=not payload.kept)
    return connection.with_door(side, door)


def _rotate(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    # The grants of a pairwise side were signed under a name it no longer has: they are replaced (ACT-14).
    grants = () if is_pairwise(door.did) else door.grants
    did = did_of_kid(payload.kid)
    left = () if door.did == door.origin else (door.did,)
    former = (*door.former, *left)[-MOST_FORMER:]
    renamed = replace(door, did=did, kid=payload.kid, key=payload.key, grants=grants, former=former)
    return connection.with_door(side, renamed)


# --- favours -------------------------------------------------------------------------------------------------------


def _ask(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door, at = connection.door(side), event.at
    ends_at = at + LONGEST_ASK if payload.by is None else min(payload.by * 1000, at + LONGEST_ASK)
    asked = (*(it for it in door.asked if it > at - ASK_BUDGET.seconds * 1000), at)
    # A lapse leaves its cool-down behind only when the next ask is made; by then it has passed.
    ask = Ask(event.act, payload.kind, "asked", at, ends_at)
    return connection.with_door(side, replace(door, ask=ask, asked=asked, cool_until=cool_until(door, at)))


def _answer(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    asker = other(side)
    door, at = connection.door(asker), event.at
    if door.ask is None or door.ask.id != payload.ask:
        raise Contradiction("the answer is to no open ask")
    if payload.answer == "yes":
        # "by" still binds: an ask for Friday that is promised on Wednesday is due on Friday.
        ends_at = door.ask.ends_at if door.ask.ends_at < door.ask.at + LONGEST_ASK else at + LONGEST_ASK
        ask = replace(door.ask, status="promised", ends_at=ends_at)
        return connection.with_door(asker, replace(door, ask=ask))
    refused = payload.answer == "no"
    ask = replace(door.ask, status="refused" if refused else "not_now")
    cool = at + (COOL_AFTER_NO if refused else COOL_AFTER_NOT_NOW)
    return connection.with_door(asker, replace(door, ask=ask, cool_until=cool))


def _done(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    asker = other(side)
    door = connection.door(asker)
    if door.ask is None or door.ask.id != payload.ask:
        raise Contradiction("what was done answers no ask")
    after = connection.with_door(asker, replace(door, ask=replace(door.ask, status="done")))
    doer = after.door(side)
    kept = (*(it for it in doer.favours if it > event.at - FAVOUR_LASTS), event.at)
    return after.with_door(side, replace(doer, favours=kept))


def _thank(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    if door.ask is None or door.ask.id != payload.ask:
        raise Contradiction("the thanks are for no favour")
    return connection.with_door(side, replace(door, ask=replace(door.ask, status="thanked")))


# --- the little things, milestones ---------------------------------------------------------------------------------


def _remember(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    rest = tuple(it for it in door.little if (it.key, it.topic) != (payload.key, payload.topic))
    thing = LittleThing(payload.key, event.act, payload.iat, payload.topic)
    return _words_sent(connection.with_door(side, replace(door, little=(*rest, thing))), side, payload, event)


def _words_sent(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    """Words beside a fact are a delivery of `note` (CONN-22)."""
    if payload.body is None:
        return connection
    return _sent(connection, side, _NOTE_SENT, event.at)


_NOTE_SENT = Contents(purpose=NOTE, channel="app")


def _forget(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    rest = tuple(it for it in door.little if (it.key, it.topic) != (payload.key, payload.topic))
    return connection.with_door(side, replace(door, little=rest))


def _milestone(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    milestone = Milestone(payload.kind, payload.topic, payload.when, event.act, payload.iat, payload.lasts)
    after = connection.with_door(side, replace(door, milestones=(*door.milestones, milestone)))
    return _words_sent(after, side, payload, event)


# --- feedback, consents given up -----------------------------------------------------------------------------------


def remaining_contests(door: Door, payload: Any, at: int) -> tuple[Contest, ...]:
    """A side's contests that stand beside its feedback `payload` at `at` (ms): those in force, but for those on the
    same message, on which the last word counts, and for one of the same scope (GATE-21)."""
    mine = (payload.purpose, payload.had, payload.as_, payload.topic)
    return tuple(
        it for it in door.contests if it.until * 1000 > at and it.message != payload.message and it.scope != mine
    )


def _feedback(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door, at = connection.door(side), event.at
    left = remaining_contests(door, payload, at)
    if payload.says == "mislabelled":
        until = at // 1000 + LASTS
        contest = Contest(payload.message, payload.purpose, payload.as_, until, payload.had, payload.topic)
        return connection.with_door(side, replace(door, contests=(*left, contest)))
    recent = (*(it for it in door.feedback if it > at - KEPT_FOR), at)
    return connection.with_door(side, replace(door, contests=left, feedback=recent))


def _renounce(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    in_force = {it.id for it in connection.door(other(side)).grants if it.exp * 1000 > event.at}

    def pruned(entry: Renounced) -> Renounced:
        return replace(entry, grants=tuple(id_ for id_ in entry.grants if id_ in in_force))

    entries = [pruned(it) for it in door.renounced]
    entries = [it for it in entries if it.grants]
    entries.append(pruned(Renounced(payload.grants, payload.purposes or (), payload.channels or ())))
    if len(entries) > MOST_RENOUNCED:
        # Two become one that gives up all of both: what was given up stays given up.
        oldest, second = entries[:2]
        entries[:2] = [Renounced(tuple(dict.fromkeys((*oldest.grants, *second.grants))))]
    return connection.with_door(side, replace(door, renounced=tuple(entries)))


# --- settings ------------------------------------------------------------------------------------------------------


def _hours(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    return _set(
        connection,
        side,
        zone=payload.zone if payload.windows else None,
        windows=spans(payload.windows),
        hours_end_shown=payload.shown == "end",
    )


def _budget_setting(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    return _set(connection, side, messages=_budget(payload.messages), asks=_budget(payload.asks))


def _mailbox(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    return _set(connection, side, mailbox=payload.did)


def _mute_end(connection: Connection, side: Side, payload: Any, event: Accepted) -> Connection:
    door = connection.door(side)
    mutes = {mute.id for mute in door.mutes}
    kept = [it for it in door.settings.mute_ends if it.mute != payload.mute]
    # The end of a mute in force stays, or the mute would be an open one; of others, which are ends of mutes to come or
    # of mutes long over, the latest.
    others = [it for it in kept if it.mute not in mutes][-MOST_MUTE_ENDS + 1 :]
    ends = (*(it for it in kept if it.mute in mutes), *others, MuteEnd(payload.mute, payload.until, event.act))
    return _set(connection, side, mute_ends=ends)


def _set(connection: Connection, side: Side, **changes: Any) -> Connection:
    door = connection.door(side)
    return connection.with_door(side, replace(door, settings=replace(door.settings, **changes)))


_FOLDS: dict[str, Callable[[Connection, Side, Any, Accepted], Connection]] = {
    "grant": _grant,
    "withdraw": _withdraw,
    "mute": _mute,
    "unmute": _unmute,
    "revoke": _revoke,
    "contacted": _contacted,
    "ask": _ask,
    "answer": _answer,
    "done": _done,
    "thank": _thank,
    "remember": _remember,
    "forget": _forget,
    "milestone": _milestone,
    "feedback": _feedback,
    "renounce": _renounce,
    "rotate": _rotate,
    "erasure": _erasure,
    "hours": _hours,
    "budget": _budget_setting,
    "mailbox": _mailbox,
    "mute_end": _mute_end,
}
"""What each kind of act does; a message is folded from its event alone, by `_message`."""
