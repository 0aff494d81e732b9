"""The messages that feedback can be about (spec/connection.md, CONN-23).

The fold accepts the members of a feedback as they are, since they restrict only the door of its signer. Whether the
message reached the signer is looked up: by the server in its store, by a client and an auditor in the records.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from comity.documents.acts import Feedback
from comity.documents.events import Accepted, Delivered
from comity.documents.types import DAY, Side, other
from comity.errors import Refused
from comity.rules.fold import Record
from comity.rules.state import Connection

FEEDBACK_WITHIN = 90 * DAY * 1000
"""ms after the delivery of a message in which feedback on it is accepted."""


class DeliveredMessage(NamedTuple):
    """A message of `side` that was delivered, or an outside contact that it stated, at `at` (ms)."""

    cid: str
    side: Side
    purpose: str
    topic: str | None
    at: int


def check_feedback_message(
    connection: Connection, side: Side, payload: Feedback, named: DeliveredMessage | None, at: int
) -> None:
    """Raises Refused("no_such_message") unless the feedback of `side` at `at` (ms) is about a message of the other side
    that reached it within 90 days, or that a contest in force names, with the right purpose and topic.

    `named` is that message, None for an unknown one. All refusals are alike, so that none reveals which messages exist.
    """
    contested = any(
        contest.message == payload.message and contest.until * 1000 > at for contest in connection.door(side).contests
    )
    if (
        named is None
        or (named.cid, named.side) != (connection.cid, other(side))
        or (named.purpose, named.topic) != (payload.purpose, payload.had)
        or not (contested or at < named.at + FEEDBACK_WITHIN)
    ):
        raise Refused("no_such_message")


def delivered_messages(records: Iterable[Record]) -> Mapping[str, DeliveredMessage]:
    """The delivered messages and stated contacts by act id, in the order of the records."""
    messages: dict[str, DeliveredMessage] = {}
    delivered: dict[str, DeliveredMessage] = {}
    for event, _ in records:
        if isinstance(event, Accepted) and event.contents is not None:
            contents = event.contents
            message = DeliveredMessage(event.cid, event.side, contents.purpose, contents.topic, event.at)
            messages[event.act] = message
            if event.outcome in (None, "delivered"):
                delivered[event.act] = message
        elif isinstance(event, Delivered) and event.act in messages:
            delivered[event.act] = messages[event.act]._replace(at=event.at)
    return delivered
