"""The reasons of the gate in words for a business that wants to write to a customer (SAY-2)."""

from typing import Literal, get_args

from comity.rules.gate import PRIVATE_REASONS, REASONS, Verdict

Reason = Literal[
    "ended",
    "no_agreement",
    "exempt_limit",
    "recovering",
    "no_grant",
    "already_has",
    "no_interest",
    "topic_needed",
    "over_budget",
    "not_now",
    "granted",
    "by_agreement",
    "exempt",
]
"""The reasons that a sender may see (GATE-15)."""
assert set(get_args(Reason)) == set(REASONS) - PRIVATE_REASONS

_NOT_NOW = (
    "The customer does not want to be reached now. A message can be held: it is delivered when the customer can be "
    "reached again, unless it expires before."
)

WHY: dict[str, str] = {
    "ended": "The connection has ended. Only the customer can start a new one, with an offer of yours or of her own.",
    "no_agreement": "There is no agreement with the customer. Create an offer, and write after she has accepted it.",
    "exempt_limit": (
        "The customer has got as many safety, security and legal notices within 30 days as are allowed. Two of six are "
        "reserved for safety. Nothing passes this limit."
    ),
    "recovering": (
        "The server was restored from a backup, and waits until both sides have confirmed what they hold: the customer "
        "may have said no in the meantime. Nothing can be sent before. Her wallet confirms when it connects."
    ),
    "no_grant": (
        "The customer has not granted this purpose on this channel, or the grant has ended. "
        "The connection shows her grants. Only she can grant more."
    ),
    "already_has": (
        "The customer already has this: what she bought or installed is not sold to her again. "
        "Write about another topic, or write about what she has for the purpose care."
    ),
    "no_interest": "The customer has said that this topic does not interest her. Write about another topic.",
    "topic_needed": (
        "The customer has, or does not want, something in this category. Name the exact topic in `topic`, "
        "one that does not include that category."
    ),
    "muted": _NOT_NOW,
    "outside_hours": _NOT_NOW,
    "over_limit": _NOT_NOW,
    "over_budget": (
        "The customer got as many messages in this period as she, or the agreement, allows. "
        "A message can be held until the next one is allowed."
    ),
    "not_now": _NOT_NOW,
    "granted": "The customer has granted this.",
    "by_agreement": (
        "The agreement allows this: renewals and complaints need no grant, "
        "as long as not too many of them are unanswered."
    ),
    "exempt": "The agreement allows this notice at any time. Each one is counted, and the customer sees the count.",
}
"""Reason of the gate → its words. Private reasons have the words of `not_now`, so that they reveal no more than
`Verdict.outward` does (GATE-15)."""


def reason_text(verdict: Verdict) -> str:
    """The reason of the verdict in words, with the remedy."""
    return WHY[verdict.reason]


def hold_end(verdict: Verdict) -> int | None:
    """The end (ms) of a hold as `Verdict.outward` shows it; None where the sender may not know it."""
    return verdict.outward().ends_at
