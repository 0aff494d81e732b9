"""What is left to do after the end: to say what became of the other side's data (spec/connection.md, section
"Erasure", ERA-1 to ERA-8).

    duty      what a side still owes, or has done
    stated    a side's door after a statement

A duty follows from the state alone, so nothing has to run for it to arise, to be done or to be late.
"""

from typing import Literal, NamedTuple

from msgspec.structs import replace

from comity.crypto.keys import is_pairwise
from comity.documents.types import DAY, Side
from comity.rules.state import Connection, Door, Erasure

DUE_AFTER = 30 * DAY * 1000
"""ms from the end of a connection until its data is to be accounted for (ERA-6; GDPR, Art. 12(3): one month)."""

DutyStatus = Literal["open", "late", "done"]


class Duty(NamedTuple):
    """What a side owes the other after the end: a statement by `due_at` (ms). `done_at` (ms) is when it gave one for
    the first time, `statement` the id of its newest."""

    due_at: int
    done_at: int | None = None
    statement: str | None = None

    def status(self, now: int) -> DutyStatus:
        """Where it stands at `now` (ms). What was done late is done; `was_late` says that it was."""
        if self.done_at is not None:
            return "done"
        return "late" if now > self.due_at else "open"

    @property
    def was_late(self) -> bool:
        """Whether the first statement came after its time."""
        return self.done_at is not None and self.done_at > self.due_at


def duty(connection: Connection, side: Side) -> Duty | None:
    """What `side` owes: a public side from the end on, whoever ended the connection; a pairwise side nothing, since
    the law leaves what people keep for themselves alone (ERA-6)."""
    door = connection.door(side)
    if connection.phase != "ended" or is_pairwise(door.did):
        return None
    due_at, said = connection.ended_at + DUE_AFTER, door.erasure
    return Duty(due_at) if said is None else Duty(due_at, said.first_at, said.id)


def stated(door: Door, id_: str, at: int, *, complete: bool) -> Door:
    """The door after the statement `id_` at `at` (ms), which takes the place of an earlier one whole (ERA-4).
    `complete`: it keeps nothing."""
    before = door.erasure
    first_at, count = (at, 0) if before is None else (before.first_at, before.count)
    return replace(door, erasure=Erasure(id_, at, first_at, count + 1, complete))
