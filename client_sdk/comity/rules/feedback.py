"""Which messages feedback can be about (spec/connection.md, CONN-23).

The fold believes a feedback's own members, since they narrow only the door of the side that signed it. Whether the
message reached that side is looked up: by the server in its store, by a client and an auditor in the records.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from comity.documents.acts import Feedback
from comity.documents.events import Accepted, Delivered
from comity.documents.types import DAY, Side, other
from comity.errors import Refused
from comity.rules.fold import Record
from comity.rules.state import Connection

WITHIN = 90 * DAY * 1000
"""ms from the delivery of a message in which feedback on it is taken."""


class Reached(NamedTuple):
    """A message of `side` that was delivered, or a contact outside that it stated, at `at` (ms)."""

    cid: str
    side: Side
    purpose: str
    topic: str | None
    at: int


def check_message(connection: Connection, side: Side, payload: Feedback, named: Reached | None, at: int) -> None:
    """Raises Refused("no_such_message") unless the feedback of `side`, taken at `at` (ms), is about a message of the
    other side that reached it within 90 days, or that a contest in force names, and says its purpose and topic.

    `named` is that message, None for an unknown one. All refusals are alike, so that no lookup says what exists.
    """
    contested = any(
        contest.message == payload.message and contest.until * 1000 > at for contest in connection.door(side).contests
    )
    if (
        named is None
        or (named.cid, named.side) != (connection.cid, other(side))
        or (named.purpose, named.topic) != (payload.purpose, payload.had)
        or not (contested or at < named.at + WITHIN)
    ):
        raise Refused("no_such_message")


def reached_in(records: Iterable[Record]) -> Mapping[str, Reached]:
    """The messages that were delivered and the contacts that were stated, by the act's id, in the order of records."""
    sent: dict[str, Reached] = {}
    reached: dict[str, Reached] = {}
    for event, _ in records:
        if isinstance(event, Accepted) and event.contents is not None:
            contents = event.contents
            message = Reached(event.cid, event.side, contents.purpose, contents.topic, event.at)
            sent[event.act] = message
            if event.outcome in (None, "delivered"):
                reached[event.act] = message
        elif isinstance(event, Delivered) and event.act in sent:
            reached[event.act] = sent[event.act]._replace(at=event.at)
    return reached
