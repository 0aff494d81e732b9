"""What a sale is about: what somebody has, or does not want, and what is on record (spec/gate.md, GATE-7, GATE-8)."""

from collections.abc import Iterator

from comity.documents.types import covers, is_among
from comity.rules.state import Connection, Door, Milestone


def unwanted_topic(connection: Connection, door: Door, purpose: str, topic: str | None, now: int) -> str | None:
    """`already_has`, `no_interest` or `topic_needed`, where something would be sold to this side that it has or does
    not want, or nobody can say whether it is that (GATE-7, GATE-8)."""
    if not covers("sales", purpose):
        return None
    # Plain loops: each generator would cost as much as all the rest.
    on_record = []
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        if milestone.kind in _HAS and (milestone.lasts is None or now < milestone.lasts * 1000):
            on_record.append(milestone.topic)
            if topic is None or not covers(milestone.topic, topic):
                continue
            if not _is_wanted_again(door, topic, max(milestone.when, milestone.since)):
                return "already_has"
    for thing in door.little:
        if thing.key == "no_interest" and thing.topic is not None:
            on_record.append(thing.topic)
            if topic is not None and covers(thing.topic, topic):
                return "no_interest"
    if topic is None:
        return "topic_needed" if on_record else None
    is_broader = any(it != topic and covers(topic, it) for it in on_record)
    return "topic_needed" if is_broader else None


_HAS = ("bought", "installed")
"""Kinds of milestones that say what somebody has."""


def _is_wanted_again(door: Door, topic: str, since: int) -> bool:
    """Whether the side signed an interest in that topic at `since` (s) or later. Both times are in what was signed, so
    that the order between the two chains does not matter."""
    wanted = [thing.topic for thing in door.little if thing.key == "interested" and thing.since >= since]
    return is_among((it for it in wanted if it is not None), topic)


def unclear_until(connection: Connection, door: Door) -> int | None:
    """When (ms) the last thing ends for which a sale to this side needs a topic: 0 where there is none, None where it
    has no end (GATE-8). Offline nobody knows a topic."""
    until = 0
    for thing in door.little:
        if thing.key == "no_interest":
            return None
    for milestone in purchases(connection):
        if milestone.lasts is None:
            return None
        until = max(until, milestone.lasts * 1000)
    return until


def purchases(connection: Connection) -> Iterator[Milestone]:
    """The milestones of either side that say what somebody has."""
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        if milestone.kind in _HAS:
            yield milestone
