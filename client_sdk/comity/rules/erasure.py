"""The duty after the end: a statement about the other side's data (spec/connection.md, section "Erasure", ERA-1 to
ERA-8).

    duty      what a side must still state, or has stated
    stated    a side's door after a statement

A duty follows from the state alone, so nothing has to run for it to begin, to be fulfilled or to be late.
"""

from typing import Literal, NamedTuple

from msgspec.structs import replace

from comity.crypto.keys import is_pairwise
from comity.documents.types import DAY, Side
from comity.rules.state import Connection, Door, Erasure

DUE_AFTER = 30 * DAY * 1000
"""ms from the end of a connection until the statement is due (ERA-6; GDPR, Art. 12(3): one month)."""

DutyStatus = Literal["open", "late", "done"]


class Duty(NamedTuple):
    """A statement that a side owes the other by `due_at` (ms). `done_at` (ms) is the time of its first statement,
    `statement` the id of its latest."""

    due_at: int
    done_at: int | None = None
    statement: str | None = None

    def status(self, now: int) -> DutyStatus:
        """The status at `now` (ms). A late statement makes it done; `was_late` tells that it was late."""
        if self.done_at is not None:
            return "done"
        return "late" if now > self.due_at else "open"

    @property
    def was_late(self) -> bool:
        """True if the first statement was late."""
        return self.done_at is not None and self.done_at > self.due_at


def erasure_duty(connection: Connection, side: Side) -> Duty | None:
    """The duty of `side`. A public side has one after the end, whoever ended the connection. A pairwise side has none:
    the law exempts people's private records (ERA-6)."""
    door = connection.door(side)
    if connection.phase != "ended" or is_pairwise(door.did):
        return None
    due_at, said = connection.ended_at + DUE_AFTER, door.erasure
    return Duty(due_at) if said is None else Duty(due_at, said.first_at, said.id)


def with_statement(door: Door, id_: str, at: int, *, complete: bool) -> Door:
    """The door after the statement `id_` at `at` (ms), which replaces an earlier one completely (ERA-4). `complete`:
    nothing is retained."""
    before = door.erasure
    first_at, count = (at, 0) if before is None else (before.first_at, before.count)
    return replace(door, erasure=Erasure(id_, at, first_at, count + 1, complete))
