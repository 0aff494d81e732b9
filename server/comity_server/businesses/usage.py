"""The counters of a business's report (SAY-15). Pure: returns the names of the counters to increase."""

from collections.abc import Iterator

from comity.documents.acts import Act, Feedback, Setting, SignedAct
from comity.documents.events import Accepted, Delivered, Expired
from comity.documents.types import EXEMPT_PURPOSES, Side, other
from comity.rules.state import Connection

_MESSAGES = {"delivered": "messages.delivered", "held": "messages.held", "dropped": "messages.dropped"}
_REFUSED = {
    "connection_ended": "messages.refused.connection_ended",
    "no_grant": "messages.refused.no_grant",
    "already_has": "messages.refused.already_has",
    "no_interest": "messages.refused.no_interest",
    "topic_needed": "messages.refused.topic_needed",
    "not_now": "messages.refused.not_now",
    "over_budget": "messages.refused.over_budget",
    "hold_full": "messages.refused.hold_full",
    "message_expired": "messages.refused.message_expired",
    "exempt_limit": "messages.exempt_over_limit",
}
_FEEDBACK = {
    "useful": "feedback.useful",
    "not_useful": "feedback.not_useful",
    "too_often": "feedback.too_often",
    "not_interested": "feedback.not_interested",
    "thanks": "feedback.thanks",
}
_OTHER = "messages.refused.other"
_BOTH = {
    "ask": ("asks.made", "asks.received"),
    "answer": ("answers.given", "answers.received"),
    "done": ("favours.done", "favours.received"),
    "revoke": ("connections.ended_by_us", "connections.ended_by_them"),
}
"""Kind of act → counter of the side that acted, counter of the other side."""

Counted = Iterator[tuple[Side, str]]
"""(side, name of a counter)."""


def accepted(event: Accepted, payload: Act | Setting, before: Connection) -> Counted:
    """The counters of an accepted act. `before` is the state before it."""
    if event.kind in _BOTH:
        ours, theirs = _BOTH[event.kind]
        yield event.side, ours
        yield other(event.side), theirs
    elif isinstance(payload, Feedback):
        yield from ((other(event.side), what) for what in _feedback(event, payload, before))
    elif event.kind == "contacted":
        yield event.side, "contacts.stated"
    elif event.outcome is not None:
        yield event.side, _MESSAGES[event.outcome]
        if event.contents is not None and event.contents.purpose in EXEMPT_PURPOSES:
            yield event.side, "messages.exempt"


def _feedback(event: Accepted, payload: Feedback, before: Connection) -> Iterator[str]:
    """The counters of feedback, for the side that sent the message."""
    if payload.says != "mislabelled":
        yield _FEEDBACK[payload.says]
        contests = before.door(event.side).contests
        if any(contest.message == payload.message and contest.until * 1000 > event.at for contest in contests):
            yield "contests.withdrawn"
        return
    yield "contests.received"
    if is_exempt_contest(payload):
        yield "contests.exempt"


def is_exempt_contest(payload: Act | Setting) -> bool:
    """Whether this contests a notice of safety, security or law, which changes no verdict (GATE-21)."""
    return isinstance(payload, Feedback) and payload.says == "mislabelled" and payload.purpose in EXEMPT_PURPOSES


def refused(signed: SignedAct, side: Side | None, code: str) -> Counted:
    """The counters of a refused act: one for each reason to refuse a message."""
    if signed.kind == "message" and side is not None:
        yield side, _REFUSED.get(code, _OTHER)


def let_go(event: Delivered | Expired) -> Counted:
    """The counter of a held message that was delivered or has expired."""
    yield event.side, "messages.delivered" if event.event == "delivered" else "messages.expired"
