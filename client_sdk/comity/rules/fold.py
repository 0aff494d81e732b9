"""Applies records to the state of a connection (spec/connection.md, section "Fold", CONN-15).

`fold` is total on records that belong together and raises Contradiction for others: a gap, a reordering, an event about
another act. It decides nothing. The event states the outcome of a message, since a reader without the other side's
settings cannot compute it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from comity.crypto.keys import did_of_kid, is_pairwise
from comity.documents import acts
from comity.documents.acts import Act, Setting, SignedAct
from comity.documents.agreements import SignedAgreement
from comity.documents.events import Accepted, Confirmed, Contents, Delivered, Event, Expired, MuteOver, Opened, Restored
from comity.documents.hours import spans_of
from comity.documents.types import EXEMPT_PURPOSES, NOTE, PERIODS, SIDES, Side, covers, other, root_of
from comity.documents.types import Budget as BudgetModel
from comity.errors import Contradiction
from comity.rules import mute_over
from comity.rules.budgets import COUNTED_FOR, MOST_SENT
from comity.rules.contests import CONTEST_LASTS
from comity.rules.erasure import with_statement
from comity.rules.favours import (
    ASK_BUDGET,
    COOL_AFTER_NO,
    COOL_AFTER_NOT_NOW,
    FAVOUR_LASTS,
    LONGEST_ASK,
    cooldown_until,
)
from comity.rules.state import (
    Ask,
    Budget,
    Connection,
    Contest,
    Delivery,
    Door,
    Grant,
    HeldMessage,
    LastActs,
    LastContact,
    Milestone,
    Mute,
    MuteEnd,
    Note,
    Renounced,
)

MOST_MUTE_ENDS = 32
"""The most hidden ends of one side for mutes that are not in force (CONN-14)."""
MOST_FORMER = 16
"""The most earlier names of a side that are stored beside its first."""
MOST_RENOUNCED = 32
"""The most entries of renounced grants; beyond it the two oldest become one (CONN-14)."""


class Record(NamedTuple):
    """The server's event, and the act that it is about, if the reader has it."""

    event: Event
    act: SignedAct | None = None


def initial_state(agreement: SignedAgreement, opened: Opened) -> Connection:
    """The state of a connection that was just opened. Raises Contradiction if the event is about another one."""
    if opened.cid != agreement.cid or opened.iss != agreement.agreement.home.did:
        raise Contradiction("the event and the agreement are about different connections")
    doors = {}
    for side in ("first", "second"):
        party = agreement.agreement.offerer if side == "first" else agreement.agreement.accepter
        doors[side] = Door(party.did, party.kid, party.key, party.did, agreement.cid)
    home = agreement.agreement.home.did
    return Connection(agreement.cid, home, "open", opened.at, doors["first"], doors["second"])


_ACT_EVENTS = (Accepted, Delivered, Expired)


def fold(connection: Connection, record: Record, restored_at: int = 0) -> Connection:
    """The state after `record`, which must be later than all records before it (CONN-10). Raises Contradiction for a
    record that cannot follow (CONN-18).

    `restored_at` (ms) is the time of the latest known `restored` of the connection, 0 for none. Records before it may
    be lost for good, so `as_of` is not compared there (EVENT-7).
    """
    event = record.event
    if not event.is_about(connection.cid) or event.iss != connection.home:
        raise Contradiction("the event is about another connection")
    if event.at <= connection.at:
        raise Contradiction("the event is not later than the one before it")
    if isinstance(event, Opened):
        raise Contradiction("the connection is open already")
    after = connection
    if isinstance(event, _ACT_EVENTS):
        if event.at > restored_at:
            _check_as_of(connection, event)
        if isinstance(event, Accepted):
            after = _fold_accepted(connection, event, record.act)
        else:
            after = _end_hold(connection, event.side, event.act, event.at if isinstance(event, Delivered) else None)
    elif isinstance(event, Restored):
        doors = SIDES if connection.phase == "open" else ()
        after = replace(connection, restored_at=event.at, recovering=doors)
    elif isinstance(event, Confirmed):
        after = _confirm_side(connection, event.side)
    elif isinstance(event, MuteOver):
        after = mute_over.apply_mute_over(connection, event)
    return replace(after, at=event.at)


def _check_as_of(connection: Connection, event: Accepted | Delivered | Expired) -> None:
    """Raises Contradiction unless the event names the heads of this state: two chains without a gap may still lack
    their ends (EVENT-7). A restored server does not know all heads until both sides have confirmed."""
    if connection.recovering or (connection.phase == "ended" and connection.restored_at):
        return
    if (event.as_of.first, event.as_of.second) != (connection.first.head, connection.second.head):
        raise Contradiction("the event names other heads than those of the two chains")


def _confirm_side(connection: Connection, side: Side) -> Connection:
    """The state in which this side is no longer recovering (REC-6)."""
    if side not in connection.recovering:
        return connection
    return replace(connection, recovering=tuple(name for name in connection.recovering if name != side))


def _fold_accepted(connection: Connection, event: Accepted, act: SignedAct | None) -> Connection:
    door, ended = connection.door(event.side), connection.phase == "ended"
    is_its_time = ended == (event.kind == "erasure")
    # A restored server may not have known of the end (REC-7).
    if not is_its_time and not (ended and connection.restored_at):
        raise Contradiction(f"the connection {'has' if ended else 'has not'} ended")
    if not event.is_whole:
        raise Contradiction("the event has members that do not fit its kind of act, or lacks some")
    if act is not None:
        _check_act(event, act, door)
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
    after = _confirm_side(after, event.side)
    if event.kind == "message":
        return _with_last_act(_fold_message(after, event), event.side, event.at)
    if act is None:
        raise Contradiction("an act is missing")
    return _with_last_act(_FOLDS[event.kind](after, event.side, act.payload, event), event.side, event.at)


def _with_last_act(connection: Connection, side: Side, at: int) -> Connection:
    """The state with the time of the side's last act or delivery. After the end there is none."""
    if connection.phase == "ended":
        return connection
    return replace(connection, last=replace(connection.last or LastActs(), **{side: at}))


def _check_act(event: Accepted, act: SignedAct, door: Door) -> None:
    """Raises Contradiction unless the event is about exactly this act, at its position."""
    head = door.head if event.chain == "acts" else (door.settings.head or event.cid)
    payload = act.payload
    expected = (act.id, payload.cid, payload.seq, act.kind, act.chain)
    if expected != (event.act, event.cid, event.seq, event.kind, event.chain):
        raise Contradiction("the event is about another act")
    if act.kid != door.kid or act.key.multibase != door.key:
        raise Contradiction("the act is not signed with its side's key")
    if payload.prev != head and event.kind != "revoke":
        raise Contradiction("the act does not follow the head of its chain")
    if event.contents != contents_of(payload):
        # A sale that is recorded as a safety notice would count against nothing.
        raise Contradiction("the event has other contents than the act")


# --- messages and outside contacts ---------------------------------------------------------------------------------


def contents_of(payload: Act | Setting) -> Contents | None:
    """The members of a message or outside contact that its event repeats; None for every other act."""
    if payload.act == "message":
        return Contents(purpose=payload.purpose, channel="app", topic=payload.topic, exp=payload.exp)
    if payload.act == "contacted":
        return Contents(purpose=payload.purpose, channel=payload.channel, topic=payload.topic)
    return None


def _fold_message(connection: Connection, event: Accepted) -> Connection:
    contents = event.contents
    assert contents is not None
    if event.outcome == "delivered":
        return _count_delivery(connection, event.side, contents, event.at)
    if event.outcome == "dropped":
        return connection
    assert contents.exp is not None
    door = connection.door(event.side)
    remaining = tuple(message for message in door.held if message.id != event.replaces)
    if event.replaces is not None and len(remaining) == len(door.held):
        raise Contradiction("the message replaces one that is not held")
    message = HeldMessage(event.act, contents.purpose, contents.exp, contents.topic)
    return connection.with_door(event.side, replace(door, held=(*remaining, message)))


def _count_delivery(connection: Connection, side: Side, contents: Contents, at: int) -> Connection:
    door = connection.door(side)
    exempt = contents.purpose in EXEMPT_PURPOSES
    # Deliveries that no longer count are dropped here only, so that every reader drops them at the same record.
    recent = [delivery for delivery in door.sent if delivery.at > at - COUNTED_FOR]
    of_its_sort = [delivery for delivery in recent if (delivery.purpose in EXEMPT_PURPOSES) == exempt]
    if len(of_its_sort) >= MOST_SENT:
        # The oldest of its own sort: exempt deliveries must not push out those that count against budgets.
        recent.remove(of_its_sort[0])
    deliveries = (*recent, Delivery(at, contents.purpose, contents.channel))
    after = connection.with_door(side, replace(door, sent=deliveries, noticed=at if exempt else door.noticed))
    return after if exempt or contents.purpose == NOTE else _update_last_contact(after, side, contents, at)


def _update_last_contact(connection: Connection, side: Side, contents: Contents, at: int) -> Connection:
    """The state after a delivery or contact, with `last` and `unanswered`: a message answers the other side's. An away
    notice in a message (`care.away`) is neither care nor an answer."""
    if covers("care.away", contents.purpose):
        return connection
    door, root = connection.door(side), root_of(contents.purpose)
    if root in ("care", "sales"):
        door = replace(door, last=replace(door.last or LastContact(), **{root: at}))
    if contents.channel != "app":
        return connection.with_door(side, door)
    across = connection.door(other(side))
    after = connection.with_door(side, replace(door, unanswered=door.unanswered or at))
    return after.with_door(other(side), replace(across, unanswered=0)) if across.unanswered else after


def _end_hold(connection: Connection, side: Side, act: str, delivered_at: int | None) -> Connection:
    door = connection.door(side)
    message = next((message for message in door.held if message.id == act), None)
    if message is None and connection.restored_at and delivered_at is None:
        return connection  # a server that had lost the delivery expired the message (REC-7)
    if message is None:
        raise Contradiction("the event is about a message that is not held")
    after = connection.with_door(side, replace(door, held=tuple(message for message in door.held if message.id != act)))
    if delivered_at is None:
        return after
    contents = Contents(purpose=message.purpose, channel="app")
    return _with_last_act(_count_delivery(after, side, contents, delivered_at), side, delivered_at)


def _fold_contacted(connection: Connection, side: Side, payload: acts.Contacted, event: Accepted) -> Connection:
    assert event.contents is not None
    return _count_delivery(connection, side, event.contents, event.at)


# --- the door ------------------------------------------------------------------------------------------------------


def _fold_grant(connection: Connection, side: Side, payload: acts.Grant, event: Accepted) -> Connection:
    door = connection.door(side)
    live = tuple(grant for grant in door.grants if grant.id != payload.replaces and grant.exp * 1000 > event.at)
    reference = payload.status.status_list
    budget = _budget(payload.budget)
    grant = Grant(event.act, payload.purposes, payload.channels, payload.exp, reference.idx, reference.uri, budget)
    return connection.with_door(side, replace(door, grants=(*live, grant)))


def _budget(model: BudgetModel | None) -> Budget | None:
    return None if model is None else Budget(model.max, PERIODS[model.per])


def _fold_withdraw(connection: Connection, side: Side, payload: acts.Withdraw, event: Accepted) -> Connection:
    door = connection.door(side)
    return connection.with_door(
        side, replace(door, grants=tuple(grant for grant in door.grants if grant.id != payload.grant))
    )


def mute_scope(
    purposes: tuple[str, ...] | None, channels: tuple[str, ...] | None
) -> tuple[frozenset[str], frozenset[str]]:
    """The scope of a mute. Of two mutes with equal scopes the later one replaces the other (CONN-11)."""
    return frozenset(purposes or ()), frozenset(channels or ())


def _fold_mute(connection: Connection, side: Side, payload: acts.Mute, event: Accepted) -> Connection:
    door = connection.door(side)
    scope = mute_scope(payload.purposes, payload.channels)
    other_mutes = tuple(
        mute
        for mute in door.mutes
        if mute_scope(mute.purposes, mute.channels) != scope and (mute.until is None or mute.until * 1000 > event.at)
    )
    mute = Mute(event.act, payload.purposes or (), payload.channels or (), payload.until, payload.why)
    door = mute_over.with_logged_mute(door, event.act, payload)
    return connection.with_door(side, replace(door, mutes=(*other_mutes, mute)))


def _fold_unmute(connection: Connection, side: Side, payload: acts.Unmute, event: Accepted) -> Connection:
    door = connection.door(side)
    remaining = tuple(mute for mute in door.mutes if payload.mute is not None and mute.id != payload.mute)
    door = mute_over.with_logged_mute(door, event.act, payload)
    return connection.with_door(side, replace(door, mutes=remaining))


def _fold_revoke(connection: Connection, side: Side, payload: acts.Revoke, event: Accepted) -> Connection:
    # Permissions and notes end with the connection; what happened remains history (CONN-16).
    def close(door: Door) -> Door:
        door = replace(door, grants=(), mutes=(), little=(), held=(), ask=None, contests=(), feedback=())
        return mute_over.without_logged_mute(replace(door, renounced=(), last=None, unanswered=0))

    first, second = close(connection.first), close(connection.second)
    connection = replace(connection, first=first, second=second, recovering=(), last=None)
    return replace(connection, phase="ended", ended_at=event.at, ended_by=side)


def _fold_erasure(connection: Connection, side: Side, payload: acts.Erasure, event: Accepted) -> Connection:
    door = with_statement(connection.door(side), event.act, event.at, complete=not payload.kept)
    return connection.with_door(side, door)


def _fold_rotate(connection: Connection, side: Side, payload: acts.Rotate, event: Accepted) -> Connection:
    door = connection.door(side)
    # The grants of a pairwise side were signed under its old name and must be given again (ACT-14).
    grants = () if is_pairwise(door.did) else door.grants
    did = did_of_kid(payload.kid)
    previous = () if door.did == door.origin else (door.did,)
    former = (*door.former, *previous)[-MOST_FORMER:]
    renamed = replace(door, did=did, kid=payload.kid, key=payload.key, grants=grants, former=former)
    return connection.with_door(side, renamed)


# --- favours -------------------------------------------------------------------------------------------------------


def _fold_ask(connection: Connection, side: Side, payload: acts.Ask, event: Accepted) -> Connection:
    door, at = connection.door(side), event.at
    ends_at = at + LONGEST_ASK if payload.by is None else min(payload.by * 1000, at + LONGEST_ASK)
    asks = (*(asked_at for asked_at in door.asked if asked_at > at - ASK_BUDGET.seconds * 1000), at)
    # The cool-down of a lapsed ask is stored with the next ask only; by then it is over.
    ask = Ask(event.act, payload.kind, "asked", at, ends_at)
    return connection.with_door(side, replace(door, ask=ask, asked=asks, cool_until=cooldown_until(door, at)))


def _fold_answer(connection: Connection, side: Side, payload: acts.Answer, event: Accepted) -> Connection:
    asker = other(side)
    door, at = connection.door(asker), event.at
    if door.ask is None or door.ask.id != payload.ask:
        raise Contradiction("the answer is not to an open ask")
    if payload.answer == "yes":
        # `by` still applies: an ask for Friday that is promised on Wednesday is due on Friday.
        ends_at = door.ask.ends_at if door.ask.ends_at < door.ask.at + LONGEST_ASK else at + LONGEST_ASK
        ask = replace(door.ask, status="promised", ends_at=ends_at)
        return connection.with_door(asker, replace(door, ask=ask))
    refused = payload.answer == "no"
    ask = replace(door.ask, status="refused" if refused else "not_now")
    cool = at + (COOL_AFTER_NO if refused else COOL_AFTER_NOT_NOW)
    return connection.with_door(asker, replace(door, ask=ask, cool_until=cool))


def _fold_done(connection: Connection, side: Side, payload: acts.Done, event: Accepted) -> Connection:
    asker = other(side)
    door = connection.door(asker)
    if door.ask is None or door.ask.id != payload.ask:
        raise Contradiction("no ask fits what was done")
    after = connection.with_door(asker, replace(door, ask=replace(door.ask, status="done")))
    doer = after.door(side)
    favours = (*(done_at for done_at in doer.favours if done_at > event.at - FAVOUR_LASTS), event.at)
    return after.with_door(side, replace(doer, favours=favours))


def _fold_thank(connection: Connection, side: Side, payload: acts.Thank, event: Accepted) -> Connection:
    door = connection.door(side)
    if door.ask is None or door.ask.id != payload.ask:
        raise Contradiction("no favour fits the thanks")
    return connection.with_door(side, replace(door, ask=replace(door.ask, status="thanked")))


# --- notes, milestones ---------------------------------------------------------------------------------


def _fold_remember(connection: Connection, side: Side, payload: acts.Remember, event: Accepted) -> Connection:
    door = connection.door(side)
    other_notes = tuple(note for note in door.little if (note.key, note.topic) != (payload.key, payload.topic))
    new_note = Note(payload.key, event.act, payload.iat, payload.topic)
    return _count_text(connection.with_door(side, replace(door, little=(*other_notes, new_note))), side, payload, event)


def _count_text(
    connection: Connection, side: Side, payload: acts.Remember | acts.Milestone, event: Accepted
) -> Connection:
    """A text beside a note or milestone counts as a delivery of purpose `note` (CONN-22)."""
    if payload.body is None:
        return connection
    return _count_delivery(connection, side, _NOTE_CONTENTS, event.at)


_NOTE_CONTENTS = Contents(purpose=NOTE, channel="app")


def _fold_forget(connection: Connection, side: Side, payload: acts.Forget, event: Accepted) -> Connection:
    door = connection.door(side)
    other_notes = tuple(note for note in door.little if (note.key, note.topic) != (payload.key, payload.topic))
    return connection.with_door(side, replace(door, little=other_notes))


def _fold_milestone(connection: Connection, side: Side, payload: acts.Milestone, event: Accepted) -> Connection:
    door = connection.door(side)
    milestone = Milestone(payload.kind, payload.topic, payload.when, event.act, payload.iat, payload.lasts)
    after = connection.with_door(side, replace(door, milestones=(*door.milestones, milestone)))
    return _count_text(after, side, payload, event)


# --- feedback, renounced grants -----------------------------------------------------------------------------------


def remaining_contests(door: Door, payload: acts.Feedback, at: int) -> tuple[Contest, ...]:
    """The contests of a side in force at `at` (ms) that its feedback `payload` does not replace: those on another
    message and of another scope (GATE-21)."""
    scope = (payload.purpose, payload.had, payload.as_, payload.topic)
    return tuple(
        contest
        for contest in door.contests
        if contest.until * 1000 > at and contest.message != payload.message and contest.scope != scope
    )


def _fold_feedback(connection: Connection, side: Side, payload: acts.Feedback, event: Accepted) -> Connection:
    door, at = connection.door(side), event.at
    remaining = remaining_contests(door, payload, at)
    if payload.says == "mislabelled":
        assert payload.as_ is not None
        until = at // 1000 + CONTEST_LASTS
        contest = Contest(payload.message, payload.purpose, payload.as_, until, payload.had, payload.topic)
        return connection.with_door(side, replace(door, contests=(*remaining, contest)))
    recent = (*(given_at for given_at in door.feedback if given_at > at - COUNTED_FOR), at)
    return connection.with_door(side, replace(door, contests=remaining, feedback=recent))


def _fold_renounce(connection: Connection, side: Side, payload: acts.Renounce, event: Accepted) -> Connection:
    door = connection.door(side)
    in_force = {grant.id for grant in connection.door(other(side)).grants if grant.exp * 1000 > event.at}

    def prune(entry: Renounced) -> Renounced:
        return replace(entry, grants=tuple(id_ for id_ in entry.grants if id_ in in_force))

    entries = [prune(entry) for entry in door.renounced]
    entries = [entry for entry in entries if entry.grants]
    entries.append(prune(Renounced(payload.grants, payload.purposes or (), payload.channels or ())))
    if len(entries) > MOST_RENOUNCED:
        # The two oldest become one that gives up all of both, so that nothing renounced returns.
        oldest, second = entries[:2]
        entries[:2] = [Renounced(tuple(dict.fromkeys((*oldest.grants, *second.grants))))]
    return connection.with_door(side, replace(door, renounced=tuple(entries)))


# --- settings ------------------------------------------------------------------------------------------------------


def _fold_hours(connection: Connection, side: Side, payload: acts.Hours, event: Accepted) -> Connection:
    return _change_settings(
        connection,
        side,
        zone=payload.zone if payload.windows else None,
        windows=spans_of(payload.windows),
        hours_end_shown=payload.shown == "end",
    )


def _fold_budget(connection: Connection, side: Side, payload: acts.BudgetSetting, event: Accepted) -> Connection:
    return _change_settings(connection, side, messages=_budget(payload.messages), asks=_budget(payload.asks))


def _fold_mailbox(connection: Connection, side: Side, payload: acts.Mailbox, event: Accepted) -> Connection:
    return _change_settings(connection, side, mailbox=payload.did)


def _fold_mute_end(connection: Connection, side: Side, payload: acts.MuteEnd, event: Accepted) -> Connection:
    door = connection.door(side)
    mutes = {mute.id for mute in door.mutes}
    earlier = [end for end in door.settings.mute_ends if end.mute != payload.mute]
    # The end of a mute in force is kept, or the mute would have none. Of the others, for mutes to come or long over,
    # the latest are kept.
    other_ends = [end for end in earlier if end.mute not in mutes][-MOST_MUTE_ENDS + 1 :]
    ends = (
        *(end for end in earlier if end.mute in mutes),
        *other_ends,
        MuteEnd(payload.mute, payload.until, event.act),
    )
    return _change_settings(connection, side, mute_ends=ends)


def _change_settings(connection: Connection, side: Side, **changes: Any) -> Connection:
    door = connection.door(side)
    return connection.with_door(side, replace(door, settings=replace(door.settings, **changes)))


_Payload = TypeVar("_Payload", bound=Act | Setting)
_Fold = Callable[[Connection, Side, _Payload, Accepted], Connection]


def _row(model: type[_Payload], fold_payload: _Fold[_Payload]) -> tuple[str, _Fold[Any]]:
    """A row of _FOLDS. The type checker compares the function's payload with the model."""
    return acts.kind_of_model(model), fold_payload


_FOLDS: dict[str, _Fold[Any]] = dict(
    (
        _row(acts.Grant, _fold_grant),
        _row(acts.Withdraw, _fold_withdraw),
        _row(acts.Mute, _fold_mute),
        _row(acts.Unmute, _fold_unmute),
        _row(acts.Revoke, _fold_revoke),
        _row(acts.Contacted, _fold_contacted),
        _row(acts.Ask, _fold_ask),
        _row(acts.Answer, _fold_answer),
        _row(acts.Done, _fold_done),
        _row(acts.Thank, _fold_thank),
        _row(acts.Remember, _fold_remember),
        _row(acts.Forget, _fold_forget),
        _row(acts.Milestone, _fold_milestone),
        _row(acts.Feedback, _fold_feedback),
        _row(acts.Renounce, _fold_renounce),
        _row(acts.Rotate, _fold_rotate),
        _row(acts.Erasure, _fold_erasure),
        _row(acts.Hours, _fold_hours),
        _row(acts.BudgetSetting, _fold_budget),
        _row(acts.Mailbox, _fold_mailbox),
        _row(acts.MuteEnd, _fold_mute_end),
    )
)
"""The effect of each kind of act on the state. A message is folded from its event alone, by `_fold_message`."""
