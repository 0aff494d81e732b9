"""What a sale is about: what somebody has, or does not want, and what is on record (spec/gate.md, GATE-7, GATE-8)."""

from collections.abc import Iterator

from comity.state import Connection, Door, Milestone
from comity.words import covers, is_among


def unwanted_topic(connection: Connection, door: Door, purpose: str, topic: str | None, now: int) -> str | None:
    """`already_has`, `no_interest` or `topic_needed`, where something would be sold to this side that it has or does
    not want, or nobody can say whether it is that (GATE-7, GATE-8)."""
    if not covers("sales", purpose):
        return None
    has = [milestone for milestone in purchases(connection) if _lasts(milestone.lasts, now)]
    unwanted = [thing.topic for thing in door.little if thing.key == "no_interest" and thing.topic is not None]
    if not has and not unwanted:
        return None
    if topic is None:
        return "topic_needed"
    for milestone in has:
        if covers(milestone.topic, topic) and not _is_wanted_again(door, topic, milestone.when):
            return "already_has"
    if is_among(unwanted, topic):
        return "no_interest"
    on_record = (*(milestone.topic for milestone in has), *unwanted)
    return "topic_needed" if any(it != topic and covers(topic, it) for it in on_record) else None


def _is_wanted_again(door: Door, topic: str, since: int) -> bool:
    """Whether the side signed an interest in that topic at `since` (s) or later. Both times are in what was signed, so
    that the order between the two chains does not matter."""
    wanted = [thing.topic for thing in door.little if thing.key == "interested" and thing.since >= since]
    return is_among((it for it in wanted if it is not None), topic)


def purchases(connection: Connection) -> Iterator[Milestone]:
    """The milestones of either side that say what somebody has."""
    for milestone in (*connection.first.milestones, *connection.second.milestones):
        if milestone.kind in ("bought", "installed"):
            yield milestone


def _lasts(end: int | None, now: int) -> bool:
    return end is None or now < end * 1000
