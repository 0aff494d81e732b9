"""The topic of a sale, compared with what the customer has, does not want, and has on record (spec/gate.md, GATE-7,
GATE-8)."""

from collections.abc import Iterator

from comity.documents.types import covers, is_among
from comity.rules.state import Connection, Door, Milestone


def topic_refusal(connection: Connection, door: Door, purpose: str, topic: str | None, now: int) -> str | None:
    """`already_has`, `no_interest` or `topic_needed` if the sale is about something that this side has or does not
    want, or if that cannot be told without a topic (GATE-7, GATE-8)."""
    if not covers("sales", purpose):
        return None
    # Plain loops: each generator would cost as much as everything else here.
    on_record = []
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        if milestone.kind in _HAS and (milestone.lasts is None or now < milestone.lasts * 1000):
            on_record.append(milestone.topic)
            if topic is None or not covers(milestone.topic, topic):
                continue
            if not _is_wanted_again(door, topic, max(milestone.when, milestone.since)):
                return "already_has"
    for note in door.little:
        if note.key == "no_interest" and note.topic is not None:
            on_record.append(note.topic)
            if topic is not None and covers(note.topic, topic):
                return "no_interest"
    if topic is None:
        return "topic_needed" if on_record else None
    is_broader = any(other != topic and covers(topic, other) for other in on_record)
    return "topic_needed" if is_broader else None


_HAS = ("bought", "installed")
"""Kinds of milestones that record what somebody has."""


def _is_wanted_again(door: Door, topic: str, since: int) -> bool:
    """True if the side signed an interest in the topic at `since` (s) or later. Both times are in signed texts, so the
    order between the two chains does not matter."""
    interests = [note.topic for note in door.little if note.key == "interested" and note.since >= since]
    return is_among((interest for interest in interests if interest is not None), topic)


def topic_needed_until(connection: Connection, door: Door) -> int | None:
    """When (ms) the last condition ends under which a sale to this side needs a topic: 0 if there is none, None if it
    has no end (GATE-8). Offline nobody knows a topic."""
    until = 0
    for note in door.little:
        if note.key == "no_interest":
            return None
    for milestone in purchases(connection):
        if milestone.lasts is None:
            return None
        until = max(until, milestone.lasts * 1000)
    return until


def purchases(connection: Connection) -> Iterator[Milestone]:
    """The milestones of both sides that record what somebody has."""
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        if milestone.kind in _HAS:
            yield milestone
