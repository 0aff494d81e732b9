"""Feedback and contests as a wallet shows them, and the effects of feedback in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from comity.client.connection.view import ConnectionView
from comity.client.models import Who
from comity.crypto.keys import is_pairwise
from comity.documents.acts import Feedback
from comity.documents.types import AGREEMENT_PURPOSES, EXEMPT_PURPOSES, covers, other, root_of
from comity.errors import Refused
from comity.rules import contests
from comity.rules.contests import CONTEST_LASTS
from comity.rules.feedback import DeliveredMessage, delivered_messages
from comity.rules.fold import Record
from comity.rules.state import Contest
from comity.rules.topics import purchases

Says = Literal["useful", "not_useful", "too_often", "not_interested", "thanks", "mislabelled"]
Because = Literal["one_click", "reply_stop", "told_us", "not_needed"]

_SEEN = "They will see this."


@dataclass(frozen=True, slots=True)
class ActiveContest:
    """A side's contest, in force from `since` until `until` (s): the other's message of `purpose`, about `had`, was
    really of purpose `as_`, about `topic`."""

    by: Who
    message: str
    purpose: str
    had: str | None
    as_: str
    topic: str | None
    since: int
    until: int


def contests_of(connection: ConnectionView) -> list[ActiveContest]:
    """The contests of both sides that are in force, the oldest of each side first."""
    whose: tuple[Who, Who] = ("me", "them")
    return [
        ActiveContest(
            by,
            contest.message,
            contest.purpose,
            contest.had,
            contest.as_,
            contest.topic,
            contest.until - CONTEST_LASTS,
            contest.until,
        )
        for by in whose
        for contest in connection.state.door(connection.side if by == "me" else other(connection.side)).contests
        if contest.until * 1000 > connection.now()
    ]


def find_reached_message(connection: ConnectionView, message: str) -> DeliveredMessage:
    """The other side's message or outside contact of that id that reached this side. Raises
    Refused("no_such_message")."""
    named = delivered_messages(Record(record.event, record.act) for record in connection.records).get(message)
    if named is None or named.side != other(connection.side):
        raise Refused("no_such_message")
    return named


def last_feedback(connection: ConnectionView, message: str) -> str | None:
    """The recipient's latest feedback on a message, or None."""
    words = [
        record.act.payload.says
        for record in connection.records
        if record.act is not None and isinstance(record.act.payload, Feedback) and record.act.payload.message == message
    ]
    return words[-1] if words else None


def explain_feedback(
    connection: ConnectionView, message: str, says: Says, as_: str | None = None, topic: str | None = None
) -> list[str]:
    """The effects of this feedback, in sentences for the person who is about to give it. Raises
    Refused("no_such_message"), Malformed where it is not valid feedback."""
    named = find_reached_message(connection, message)
    # Signed as it would be sent, and dropped: feedback that cannot be given must raise and not be explained.
    about = {"purpose": named.purpose, "had": named.topic, "as_": as_, "topic": topic}
    connection.queue.sign_act("feedback", message=message, says=says, **about)
    if says != "mislabelled":
        door = connection.state.door(connection.side)
        back = [
            contest
            for contest in door.contests
            if contest.message == message and contest.until * 1000 > connection.now()
        ]
        taken = f"This takes back that it was {_purpose_word(back[0].as_)}." if back else None
        return [*([taken] if taken else []), _SEEN]
    if named.purpose in EXEMPT_PURPOSES:
        return ["A notice of safety, security or law cannot be stopped: your word is counted, and nothing else.", _SEEN]
    if named.purpose in AGREEMENT_PURPOSES and not _narrows_agreement(connection):
        return [f"{_capitalize(named.purpose)}s rest on the agreement: your word is counted, and nothing else.", _SEEN]
    return [*_explain_contest(connection, named, message, as_ or "", topic), f"{_SEEN} Undo at any time."]


def _explain_contest(
    connection: ConnectionView, named: DeliveredMessage, message: str, as_: str, topic: str | None
) -> list[str]:
    about = f" about {named.topic}, or about nothing in particular," if named.topic else ""
    found = [
        f"From now on {connection.name} may send you what it calls {named.purpose}{about} only if it may also send you "
        f"{_purpose_word(as_)}" + (f" about {topic}." if topic else ".")
    ]
    if _widens(connection, named, message, as_):
        found.append(f"With what you said of another message, this is for all of {root_of(named.purpose)}.")
    elif root_of(named.purpose) == named.purpose:
        found.append(f"That is all of {named.purpose}: {_BELOW.get(named.purpose, 'whatever is below it')}, too.")
    on_record = sorted(
        {
            purchase.topic
            for purchase in purchases(connection.state)
            if purchase.lasts is None or purchase.lasts * 1000 > connection.now()
        }
    )
    if covers("sales", as_) and topic is None and on_record:
        found.append(f"Each such message has to say what it is about, as you have {', '.join(on_record)}.")
    return found


_BELOW = {"care": "check-ins", "news": "all that it calls news"}
"""The subordinate purposes, as people know them."""


def _widens(connection: ConnectionView, named: DeliveredMessage, message: str, as_: str) -> bool:
    """Whether an earlier contest makes this one cover the root (GATE-21)."""
    door, across = connection.state.door(connection.side), connection.state.door(other(connection.side))
    return any(
        root_of(reach.contest.purpose) == root_of(named.purpose)
        and reach.contest.purpose != named.purpose
        and reach.contest.as_ == as_
        and reach.contest.message != message
        for reach in contests.active_contests(door, across, connection.now())
    )


def _narrows_agreement(connection: ConnectionView) -> bool:
    return is_pairwise(connection.own_did) and not is_pairwise(connection.did)


def _purpose_word(purpose: str) -> str:
    """A purpose as people say it."""
    return "advertising" if purpose == "sales" else purpose


def _capitalize(word: str) -> str:
    return word[:1].upper() + word[1:]


def suggest_topic(connection: ConnectionView, message: str) -> str | None:
    """The topic of the message, where this side may have bought it and no milestone records that, so that an app may
    offer to record it; else None."""
    topic = find_reached_message(connection, message).topic
    if topic is None or any(
        covers(purchase.topic, topic) or covers(topic, purchase.topic) for purchase in purchases(connection.state)
    ):
        return None
    return topic


def describe_contest(contest: ActiveContest | Contest) -> str:
    """A contest in a few words: `care (windows) is judged as sales (doors), too`."""
    had = f" ({contest.had})" if contest.had else ""
    topic = f" ({contest.topic})" if contest.topic else ""
    return f"{contest.purpose}{had} is judged as {contest.as_}{topic}, too"
