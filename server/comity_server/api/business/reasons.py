"""What a verdict means, in words for somebody who wants to write to a customer (SAY-2)."""

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
"""The reasons that a sender is told (GATE-15)."""
assert set(get_args(Reason)) == set(REASONS) - PRIVATE_REASONS

_NOT_NOW = (
    "They do not want to be reached now. A message can be held: it arrives when they can be reached again, "
    "if it has not expired by then."
)

WHY: dict[str, str] = {
    "ended": "The connection has ended, for good. Only they can start a new one, by an offer of yours or of theirs.",
    "no_agreement": "There is no agreement with them. Make an offer, and write when they have accepted it.",
    "exempt_limit": (
        "As many notices of safety, security and law have reached them within 30 days as may. Two of six are kept for "
        "safety. Nothing passes this limit."
    ),
    "recovering": (
        "The server was put back from a backup, and waits until both of you have confirmed what you hold: they may "
        "have said no since. Nothing can be sent until then. It goes on by itself when their wallet has been in touch."
    ),
    "no_grant": (
        "They have not allowed this purpose by this channel, or no longer. "
        "What they have allowed is in the connection's grants; only they can allow more."
    ),
    "already_has": (
        "They already have this: what was bought or installed is not sold to them again. "
        "Write about another topic, or about what they have as care."
    ),
    "no_interest": "They have said that this topic is of no interest to them. Write about another topic.",
    "topic_needed": (
        "They have, or do not want, something of this kind. Name what exactly this is about (`topic`), "
        "in a word that does not take that in."
    ),
    "muted": _NOT_NOW,
    "outside_hours": _NOT_NOW,
    "over_limit": _NOT_NOW,
    "over_budget": (
        "As many messages as they, or the agreement, allow within this time were delivered. "
        "A message can be held until there is room again."
    ),
    "not_now": _NOT_NOW,
    "granted": "They have allowed this.",
    "by_agreement": (
        "The agreement allows this: renewals and complaints need no further permission, "
        "as long as not too many of them went unanswered."
    ),
    "exempt": "The agreement allows this notice at any time. Each one is counted, and they see the count.",
}
"""Every reason of the gate in one or two sentences. The private ones read like `not_now`: whatever a caller passes,
the words tell no more than `Verdict.outward` does (GATE-15)."""


def why(verdict: Verdict) -> str:
    """The verdict's reason as a marketer can read it, with what can be done."""
    return WHY[verdict.reason]


def until(verdict: Verdict) -> int | None:
    """When (ms) the cause of a hold ends, where the sender may know it: only what `Verdict.outward` shows."""
    return verdict.outward().ends_at
