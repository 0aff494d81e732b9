"""After a restore: what a server does whose store was put back from an older copy (spec/connection.md, section
"Recovery", REC-1 to REC-9).

    restored    the event that begins the recovery of a connection
    confirmed   the event that ends it for one side
    lacking     which of the heads that a side names the server does not have
    take_back   the server's own records, handed in by those who kept them, put in their places again
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from comity.documents.events import Accepted, Confirmed, Place, Restored
from comity.documents.types import Side
from comity.errors import Contradiction
from comity.rules.fold import Record, fold
from comity.rules.state import Connection

LET_IN = frozenset({"revoke", "mute", "mute_end"})
"""Kinds of acts that are accepted while a door is recovering (REC-3)."""

HeadName = Literal["first", "second", "settings"]


class Heads(NamedTuple):
    """The heads that a side knows: of both chains of acts, and of its own settings. Before the first act or setting a
    head is the `cid`."""

    first: str
    second: str
    settings: str


def restored(connection: Connection, at: int, place: Place) -> Restored:
    """The event at `at` (ms) that says what was kept, and that the server goes on at `place` in a new log (REC-1)."""
    first, second = connection.first.head, connection.second.head
    about = {"iss": connection.home, "cid": connection.cid, "event": "restored", "first": first, "second": second}
    return Restored.model_validate({**about, **place.members, "at": at})


def confirmed(connection: Connection, side: Side, at: int, place: Place) -> Confirmed:
    """The event at `at` (ms) that ends the recovery for `side`; `place` is the log's next (REC-6)."""
    about = {"iss": connection.home, "cid": connection.cid, "event": "confirmed", "side": side}
    return Confirmed.model_validate({**about, **place.members, "at": at})


def lacking(heads: Heads, cid: str, known: Mapping[HeadName, Collection[str]]) -> tuple[HeadName, ...]:
    """The heads that are neither the `cid` nor among the acts `known` of their own chain (REC-5)."""
    named: dict[HeadName, str] = {"first": heads.first, "second": heads.second, "settings": heads.settings}
    return tuple(name for name, head in named.items() if head != cid and head not in known[name])


class Merged(NamedTuple):
    """What came of records that were handed in: the state with them, those that are in it now, and why each of the
    others is not."""

    state: Connection
    taken: tuple[Record, ...]
    refused: tuple[tuple[Record, str], ...]


def take_back(start: Connection, kept: Sequence[Record], offered: Iterable[Record]) -> Merged:
    """The records `offered` folded among those that the server `kept`, in the order of the events' times from the state
    `start` on (REC-7). One that finds no place is left out with the code of CONN-2 that says why.

    Raises Contradiction where what was kept does not hold together without them: the store is broken then.
    """
    places = {(event.side, event.chain, event.seq) for event, _ in kept if isinstance(event, Accepted)}
    times = {record.event.at for record in kept}
    wanted, refused = list[Record](), list[tuple[Record, str]]()
    for record in sorted(offered, key=lambda it: it.event.at):
        if (code := _no_place(record, places, times)) is None:
            wanted.append(record)
            times.add(record.event.at)
        else:
            refused.append((record, code))
    try:
        state, taken, without = _merged(start, kept, wanted)
    except Contradiction:
        # Each fits where it stands, and what came later does not follow from them: what was kept counts.
        state, taken, without = _merged(start, kept, ())
        without = [(record, "prev_mismatch") for record in wanted]
    return Merged(state, tuple(taken), (*refused, *without))


def _no_place(record: Record, places: Collection[tuple[str, str, int]], times: Collection[int]) -> str | None:
    """The code of a record whose place or time is another's, None where both are free."""
    event = record.event
    if event.at in times:
        return "prev_mismatch"
    if isinstance(event, Accepted) and event.kind != "revoke" and (event.side, event.chain, event.seq) in places:
        return "seq_taken"
    return None


def _merged(
    start: Connection, kept: Sequence[Record], wanted: Sequence[Record]
) -> tuple[Connection, list[Record], list[tuple[Record, str]]]:
    """Folds both in the order of their times. Raises Contradiction for one of `kept` that cannot follow."""
    ours = {id(record) for record in kept}
    restored_at = max((record.event.at for record in kept if isinstance(record.event, Restored)), default=0)
    state, taken, refused = start, list[Record](), list[tuple[Record, str]]()
    for record in sorted((*kept, *wanted), key=lambda it: it.event.at):
        try:
            state = fold(state, record, restored_at)
        except Contradiction:
            if id(record) in ours:
                raise
            refused.append((record, _why(state, record)))
        else:
            taken += [record] if id(record) not in ours else []
    return state, taken, refused


def _why(state: Connection, record: Record) -> str:
    """The code for a record that cannot follow here."""
    event = record.event
    if isinstance(event, Accepted):
        door = state.door(event.side)
        if event.seq > (door.settings.seq if event.chain == "settings" else door.seq):
            return "seq_gap"
    return "prev_mismatch"
