"""The list of contests against a business (SAY-19), and the feedback that makes no further notification (NEWS-11).
Pure: adds rows to a batch."""

from collections.abc import Callable

from comity.documents.acts import Act, Feedback, Setting
from comity.documents.events import Accepted
from comity.documents.types import other
from comity.rules.state import Connection
from comity_server.businesses.directory import Business
from comity_server.store.rows import Batch

DAY = 86_400_000
"""ms."""


def note_contest(
    batch: Batch,
    hosted: Callable[[str], Business | None],
    payload: Act | Setting | None,
    event: Accepted,
    state: Connection,
) -> None:
    """Adds a contest against a hosted business to its list."""
    if not isinstance(payload, Feedback) or payload.says != "mislabelled":
        return
    if (business := hosted(state.door(other(event.side)).origin)) is not None:
        batch.put_contest.append({"name": business.name, "at": event.at, "act": event.act, "cid": event.cid})


def is_repeated(after: Connection, event: Accepted) -> bool:
    """True if the act is feedback, but no contest, and its side gave feedback earlier on the same day (UTC). `after` is
    the state after the act."""
    given = after.door(event.side).feedback
    return event.at in given and sum(at // DAY == event.at // DAY for at in given) > 1
