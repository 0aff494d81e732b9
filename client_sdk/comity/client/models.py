"""A connection's messages, tokens, statements and timeline, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from comity.documents.types import Category, RetainedData, Side
from comity.rules.message_lifetime import ExpiryWarning
from comity.rules.timeline import TimelineEntry as Moment

Who = Literal["me", "them"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message, sent or received.

    `at` is when it was accepted (ms), `delivered_at` when it reached the inbox. `outcome` is `delivered`, `held`,
    `dropped` or `expired`. `text` is None where it cannot be read; `unreadable` gives the reason. `quiet`: it arrived
    during a snooze, so show it without a sound. `expires_at` (s) is when a held message expires. For a message just
    sent, `warning` says that it expires before the hold ends which the other side shows (HOLD-3), `held_until` (s) is
    that end, and `away_until` (s) the end of the other side's absence. `feedback` is the recipient's latest feedback.
    """

    id: str
    by: Who
    purpose: str
    topic: str | None
    at: int
    outcome: str
    delivered_at: int | None = None
    text: str | None = None
    body: dict[str, Any] | None = None
    unreadable: str | None = None
    reply_to: str | None = None
    quiet: bool = False
    expires_at: int | None = None
    warning: ExpiryWarning | None = None
    away_until: int | None = None
    held_until: int | None = None
    feedback: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A grant in force: the JWT, its signed acceptance, and what it allows.

    `status` comes from the home server's status list: `valid`, `ask` (muted now) or `invalid`. `exp` is in s.
    """

    id: str
    by: Who
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    exp: int
    idx: int
    uri: str
    jwt: str
    acceptance: str
    status: Literal["valid", "ask", "invalid"] | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A side's statement at `at` (ms) on the erasure of the other's data. A category in neither list is one of which it
    holds nothing. `passed_on` names the recipients of the data that were told, to be shown on request (ERA-5)."""

    id: str
    by: Who
    at: int
    deleted: tuple[Category, ...]
    kept: tuple[RetainedData, ...] = ()
    passed_on: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether no data is kept (ERA-2)."""
        return not self.kept


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of the timeline: its time (ms), side, kind, and sentence. `words` is the text written in the act, as far
    as it can be read here; messages carry their text elsewhere."""

    at: int
    who: Who | None
    kind: str
    sentence: str
    act: str | None = None
    words: str | None = None

    def __str__(self) -> str:
        # In one line, so that words of the other side cannot pass for another line.
        words = "" if self.words is None else f" – “{' '.join(self.words.split())}”"
        return f"{datetime.fromtimestamp(self.at / 1000, UTC):%Y-%m-%d %H:%M} {self.sentence}{words}"


class Timeline(tuple[TimelineEntry, ...]):
    """The history of a connection, oldest first; `str` of it is the text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


@dataclass(frozen=True, slots=True)
class News:
    """One event that has just reached this wallet, for an app to show; `quiet` as in `Message`.

    `kind` is the kind of an act or event, or `proposal`, `offer`, `declined`, `opened`; and from the wallet itself
    `receipt_lost` (the log of an act is gone), and after a restore of the server `said_again` (a lost "no" is sent
    again), `lost` (records are lost for good) and `unknown` (the server does not take the connection back). `at` is in
    ms; `cid` is None for an offer; `act` is the act's id.
    """

    cid: str | None
    kind: str
    at: int
    by: Who | None = None
    act: str | None = None
    quiet: bool = False


_SENTENCES = {
    "grant": "{you} allowed {them} {about}",
    "withdraw": "{you} took a permission back",
    "mute": "{you} muted {them}",
    "unmute": "{you} took back what was muted",
    "revoke": "{you} ended the connection",
    "contacted": "{you} reached {them} outside: {about}; the gate would have said: {outcome}",
    "ask": "{you} asked a favour: {about}",
    "done": "{you} did the favour",
    "thank": "{you} said thank you",
    "remember": "{you} would like remembered: {about}",
    "forget": "{you} would like forgotten: {about}",
    "milestone": "{you} noted: {about}",
    "rotate": "{you} took a new key",
    "erasure": "{you} said what became of {their} data: {about}",
    "delivered": "the waiting message of {you_object} was delivered",
    "confirmed": "{you} confirmed: the server has everything again",
    "expired": "the waiting message of {you_object} expired",
}
_FEEDBACK = {
    "useful": "{you} called a message useful: {about}",
    "not_useful": "{you} called a message not useful: {about}",
    "too_often": "{you} said that messages come too often: {about}",
    "not_interested": "{you} said “not interested” to a message: {about}",
    "thanks": "{you} said thank you for a message: {about}",
    "mislabelled": "{you} said that a message was something else than it said: {about}",
}
_GIVEN_UP = {
    "one_click": "somebody used the link in a mail",
    "reply_stop": "somebody answered STOP",
    "told_us": "somebody said so",
    "not_needed": "it is not needed",
}
_NOTICES = {
    "opened": "you and {name} are connected",
    "disclosed": "the home server made a copy of this connection for {about}",
    "erasing": "{you} asked for this connection to be erased on {about}",
    "erasure_held": "the home server may not erase this connection before {about}",
    "erased": "this connection was erased",
    "restored": "the server was put back from a backup; it waits until both of you have said what you hold",
}
"""Events that the home server states; no side wrote them."""
_MESSAGES = {
    "delivered": "{you} wrote about {about}",
    "held": "{you} wrote about {about}; it waits",
    "dropped": "{you} wrote about {about}; not now, so it was dropped",
}
_ANSWERS = {"yes": "{you} said yes", "no": "{you} said no", "not_now": "{you} said not now"}


def describe_moment(moment: Moment, side: Side, name: str) -> TimelineEntry:
    """A moment of the history in words, as this side would put it."""
    mine = moment.side == side
    if moment.kind in _NOTICES:
        return TimelineEntry(moment.at, _who(moment.side, side), moment.kind, _notice(moment, mine, name), moment.act)
    if moment.kind == "message":
        form = _MESSAGES.get(moment.outcome or "", "{you} wrote about {about}")
    elif moment.kind == "mute" and moment.outcome == "away":
        form = "you are away {about}" if mine else "{you} is away {about}"
    elif moment.kind == "mute" and moment.about is not None:
        form = "{you} muted {them}: {about}"
    elif moment.kind == "feedback":
        form = _FEEDBACK.get(moment.outcome or "", "{you} said something of a message: {about}")
    elif moment.kind == "renounce":
        form = "{you} gave up {their} consent to {about}: " + _GIVEN_UP.get(moment.outcome or "", "no reason given")
    elif moment.kind == "answer":
        form = _ANSWERS.get(moment.outcome or "", "{you} answered")
    else:
        form = _SENTENCES.get(moment.kind, "{you}: " + moment.kind)
    sentence = form.format(
        you="you" if mine else name,
        you_object="you" if mine else name,
        them=name if mine else "you",
        their="their" if mine else "your",
        about=moment.about or "something",
        outcome=(moment.outcome or "nothing").replace("_", " "),
    )
    return TimelineEntry(moment.at, "me" if mine else "them", moment.kind, sentence, moment.act)


def _notice(moment: Moment, mine: bool, name: str) -> str:
    you = "the home server" if moment.side is None else "you" if mine else name
    if moment.outcome == "taken_back":
        return f"{you} took back that this connection is to be erased"
    return _NOTICES[moment.kind].format(you=you, name=name, about=moment.about)


def _who(by: Side | None, side: Side) -> Who | None:
    return None if by is None else "me" if by == side else "them"


def describe_erasure_due(due_at: int, who: Who, name: str, now: int) -> TimelineEntry:
    """The line for an erasure statement that is still owed, at the time at which it is due."""
    you, their = ("you", "their") if who == "me" else (name, "your")
    verb = ("are" if who == "me" else "is") if now <= due_at else ("were" if who == "me" else "was")
    late = "" if now <= due_at else "; it is late"
    return TimelineEntry(due_at, who, "duty", f"{you} {verb} to say by this time what became of {their} data{late}")
