"""How long a held message waits (spec/connection.md, HOLD-1 to HOLD-3): one rule for REST, SDK and command line.

Pure. What counts is the verdict on what the sender can see: a hidden end, hours or limit that moved the expiry would
give itself away (HOLD-2).
"""

from typing import Literal

from msgspec.structs import replace

from comity.documents.hours import ZoneRules
from comity.documents.types import DAY, Side, other
from comity.rules import gate
from comity.rules.gate import Verdict
from comity.rules.state import Connection, Settings

SHORTEST_LIFE = 35 * DAY
"""Seconds for which a message waits that names no time of its own (HOLD-1)."""
AFTER_END = DAY
"""Seconds for which it waits after the shown end of its hold (HOLD-1)."""
LONGEST_LIFE = 90 * DAY
"""Seconds after which every message that names no time of its own has expired (HOLD-1)."""

ExpiryWarning = Literal["expires_before_end"]


def shown_verdict(
    connection: Connection, sender: Side, purpose: str, topic: str | None, now: int, zones: ZoneRules
) -> Verdict:
    """What the gate would answer to a message of `sender` at `now` (ms), had the other side no settings: the verdict of
    which every caller knows the same, on which the expiry and its warning rest (HOLD-2)."""
    receiver = other(sender)
    public = replace(connection.door(receiver), settings=Settings())
    return gate.may(replace(connection, **{receiver: public}), sender, purpose, "app", topic, now, zones)


def default_expiry(verdict: Verdict, now: int) -> int:
    """When (s) a message without a time of its own expires, where `shown_verdict` is `verdict` at `now` (ms) (HOLD-1).

    35 days from now, or a day after the shown end of the hold where that is later, but never more than 90 days.
    """
    sent = now // 1000
    end = shown_end(verdict)
    after_end = 0 if end is None else -(-end // 1000) + AFTER_END
    return min(max(sent + SHORTEST_LIFE, after_end), sent + LONGEST_LIFE)


def expiry_warning(verdict: Verdict, expires: int) -> ExpiryWarning | None:
    """`expires_before_end` where a message that expires at `expires` (s) cannot outlast the shown end of its hold
    (HOLD-3)."""
    end = shown_end(verdict)
    return "expires_before_end" if end is not None and expires * 1000 <= end else None


def shown_end(verdict: Verdict) -> int | None:
    """When (ms) the hold ends, as far as the sender is shown it; None where nothing is held or no end is shown."""
    shown = verdict.outward()
    return shown.ends_at if shown.decision == "hold" else None
