"""What is counted for a business's report, by whichever way its acts come (SAY-15). Pure: the group counts, this says
what."""

from collections.abc import Iterator

from comity.acts import SignedAct
from comity.events import Accepted, Delivered, Expired
from comity.words import EXEMPT_PURPOSES, Side, other

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
_OTHER = "messages.refused.other"
_BOTH = {
    "ask": ("asks.made", "asks.received"),
    "answer": ("answers.given", "answers.received"),
    "done": ("favours.done", "favours.received"),
    "revoke": ("connections.ended_by_us", "connections.ended_by_them"),
}
"""Kind of act → what is counted for the side whose act it is, and for the other."""

Counted = Iterator[tuple[Side, str]]
"""(for which side, what)."""


def accepted(event: Accepted) -> Counted:
    """What the acceptance of an act counts as."""
    if event.kind in _BOTH:
        ours, theirs = _BOTH[event.kind]
        yield event.side, ours
        yield other(event.side), theirs
    elif event.kind == "contacted":
        yield event.side, "contacts.stated"
    elif event.outcome is not None:
        yield event.side, _MESSAGES[event.outcome]
        if event.contents is not None and event.contents.purpose in EXEMPT_PURPOSES:
            yield event.side, "messages.exempt"


def refused(signed: SignedAct, side: Side | None, code: str) -> Counted:
    """What the refusal of an act counts as: of a message, each by its reason."""
    if signed.kind == "message" and side is not None:
        yield side, _REFUSED.get(code, _OTHER)


def let_go(event: Delivered | Expired) -> Counted:
    """What became of a message that waited."""
    yield event.side, "messages.delivered" if event.event == "delivered" else "messages.expired"
