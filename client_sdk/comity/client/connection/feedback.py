"""Feedback on messages and contests, as a wallet shows them; and what feedback does, in words, before it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from comity.client.connection.view import View
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
class ShownContest:
    """Somebody's word, in force from `since` until `until` (s), that the other's message of `purpose`, about `had`, was
    really one of purpose `as_`, about `topic`."""

    by: Who
    message: str
    purpose: str
    had: str | None
    as_: str
    topic: str | None
    since: int
    until: int


def contests_of(party: View) -> list[ShownContest]:
    """The contests of both sides that are in force, the oldest of each side first."""
    whose: tuple[Who, Who] = ("me", "them")
    return [
        ShownContest(by, it.message, it.purpose, it.had, it.as_, it.topic, it.until - CONTEST_LASTS, it.until)
        for by in whose
        for it in party.state.door(party.side if by == "me" else other(party.side)).contests
        if it.until * 1000 > party.now()
    ]


def reached(party: View, message: str) -> DeliveredMessage:
    """The message, or contact outside, of the other side that reached this one. Raises Refused("no_such_message")."""
    named = delivered_messages(Record(line.event, line.act) for line in party.lines).get(message)
    if named is None or named.side != other(party.side):
        raise Refused("no_such_message")
    return named


def said_of(party: View, message: str) -> str | None:
    """The last word on a message of whoever it reached."""
    words = [
        line.act.payload.says
        for line in party.lines
        if line.act is not None and isinstance(line.act.payload, Feedback) and line.act.payload.message == message
    ]
    return words[-1] if words else None


def what_it_does(party: View, message: str, says: Says, as_: str | None = None, topic: str | None = None) -> list[str]:
    """What this feedback would do, in sentences for the person who is about to give it. Raises
    Refused("no_such_message"), Malformed where it is no feedback."""
    named = reached(party, message)
    # Composed as it would be sent, and let go: a sentence about what cannot be given would be false.
    about = {"purpose": named.purpose, "had": named.topic, "as_": as_, "topic": topic}
    party.writing.seal("feedback", message=message, says=says, **about)
    if says != "mislabelled":
        door = party.state.door(party.side)
        back = [it for it in door.contests if it.message == message and it.until * 1000 > party.now()]
        taken = f"This takes back that it was {_word(back[0].as_)}." if back else None
        return [*([taken] if taken else []), _SEEN]
    if named.purpose in EXEMPT_PURPOSES:
        return ["A notice of safety, security or law cannot be stopped: your word is counted, and nothing else.", _SEEN]
    if named.purpose in AGREEMENT_PURPOSES and not _narrows_agreement(party):
        return [f"{_capital(named.purpose)}s rest on the agreement: your word is counted, and nothing else.", _SEEN]
    return [*_of_contest(party, named, message, as_ or "", topic), f"{_SEEN} Undo at any time."]


def _of_contest(party: View, named: DeliveredMessage, message: str, as_: str, topic: str | None) -> list[str]:
    about = f" about {named.topic}, or about nothing in particular," if named.topic else ""
    found = [
        f"From now on {party.name} may send you what it calls {named.purpose}{about} only if it may also send you "
        f"{_word(as_)}" + (f" about {topic}." if topic else ".")
    ]
    if _widens(party, named, message, as_):
        found.append(f"With what you said of another message, this is for all of {root_of(named.purpose)}.")
    elif root_of(named.purpose) == named.purpose:
        found.append(f"That is all of {named.purpose}: {_BELOW.get(named.purpose, 'whatever is below it')}, too.")
    on_record = sorted({it.topic for it in purchases(party.state) if it.lasts is None or it.lasts * 1000 > party.now()})
    if covers("sales", as_) and topic is None and on_record:
        found.append(f"Each such message has to say what it is about, as you have {', '.join(on_record)}.")
    return found


_BELOW = {"care": "check-ins", "news": "all that it calls news"}
"""What a person knows of what is below a purpose."""


def _widens(party: View, named: DeliveredMessage, message: str, as_: str) -> bool:
    """Whether an earlier contest makes this one cover the root (GATE-21)."""
    door, across = party.state.door(party.side), party.state.door(other(party.side))
    return any(
        root_of(it.contest.purpose) == root_of(named.purpose)
        and it.contest.purpose != named.purpose
        and it.contest.as_ == as_
        and it.contest.message != message
        for it in contests.active_contests(door, across, party.now())
    )


def _narrows_agreement(party: View) -> bool:
    return is_pairwise(party.own_did) and not is_pairwise(party.did)


def _word(purpose: str) -> str:
    """A purpose as people say it."""
    return "advertising" if purpose == "sales" else purpose


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def near_topic(party: View, message: str) -> str | None:
    """The topic of the message, where this side has something of it from the other that nobody has noted; what an app
    may offer to note. None where there is none."""
    topic = reached(party, message).topic
    if topic is None or any(covers(it.topic, topic) or covers(topic, it.topic) for it in purchases(party.state)):
        return None
    return topic


def contest_line(contest: ShownContest | Contest) -> str:
    """A contest in a few words: `care (windows) is judged as sales (doors), too`."""
    had = f" ({contest.had})" if contest.had else ""
    topic = f" ({contest.topic})" if contest.topic else ""
    return f"{contest.purpose}{had} is judged as {contest.as_}{topic}, too"
