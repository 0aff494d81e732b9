"""The expiry of held messages (spec/connection.md, HOLD-1 to HOLD-3): one rule for REST, SDK and command line.

Pure. The rule uses only what the sender can see: an expiry that depended on a hidden end, hours or limit would reveal
it (HOLD-2).
"""

from typing import Literal

from msgspec.structs import replace

from comity.documents.hours import ZoneRules
from comity.documents.types import DAY, Side, other
from comity.rules import gate
from comity.rules.gate import Verdict
from comity.rules.state import Connection, Settings

SHORTEST_LIFE = 35 * DAY
"""Seconds for which a message without its own expiry is held (HOLD-1)."""
AFTER_END = DAY
"""Seconds for which it is held after the shown end of the hold (HOLD-1)."""
LONGEST_LIFE = 90 * DAY
"""The most seconds for which a message without its own expiry is held (HOLD-1)."""

ExpiryWarning = Literal["expires_before_end"]


def public_verdict(
    connection: Connection, sender: Side, purpose: str, topic: str | None, now: int, zones: ZoneRules
) -> Verdict:
    """The gate's verdict on a message of `sender` at `now` (ms) if the other side had no settings. Every caller
    computes the same one, so the expiry and its warning depend on it (HOLD-2)."""
    receiver = other(sender)
    public_door = replace(connection.door(receiver), settings=Settings())
    return gate.may(replace(connection, **{receiver: public_door}), sender, purpose, "app", topic, now, zones)


def default_expiry(verdict: Verdict, now: int) -> int:
    """When (s) a message without its own expiry expires; `verdict` is `public_verdict` at `now` (ms) (HOLD-1).

    35 days from now, or a day after the shown end of the hold if that is later, but never more than 90 days.
    """
    sent_at = now // 1000
    end = public_end(verdict)
    after_end = 0 if end is None else -(-end // 1000) + AFTER_END
    return min(max(sent_at + SHORTEST_LIFE, after_end), sent_at + LONGEST_LIFE)


def expiry_warning(verdict: Verdict, expires: int) -> ExpiryWarning | None:
    """`expires_before_end` if a message that expires at `expires` (s) cannot outlast the shown end of its hold
    (HOLD-3)."""
    end = public_end(verdict)
    return "expires_before_end" if end is not None and expires * 1000 <= end else None


def public_end(verdict: Verdict) -> int | None:
    """When (ms) the hold ends, if the sender sees it; None if nothing is held or no end is shown."""
    outward = verdict.outward()
    return outward.ends_at if outward.decision == "hold" else None
