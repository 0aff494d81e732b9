"""Recovery of a server whose store was restored from an older copy (spec/connection.md, section "Recovery", REC-1 to
REC-9).

    restored    the event that begins the recovery of a connection
    confirmed   the event that ends it for one side
    lacking     the heads that a side names and the server does not have
    take_back   merges the server's own records that a side returns
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from comity.documents.events import Accepted, Confirmed, Place, Restored
from comity.documents.types import Side
from comity.errors import Contradiction
from comity.rules.fold import Record, fold
from comity.rules.state import Connection

ACCEPTED_WHILE_RECOVERING = frozenset({"revoke", "mute", "mute_end"})
"""Kinds of acts that are accepted while a side is recovering (REC-3)."""

HeadName = Literal["first", "second", "settings"]


class Heads(NamedTuple):
    """The heads that a side knows: of both chains of acts, and of its own settings. Before the first act or setting a
    head is the `cid`."""

    first: str
    second: str
    settings: str


def restored_event(connection: Connection, at: int, place: Place) -> Restored:
    """The event at `at` (ms) with the heads that the restored store has. The server continues at `place` in a new log
    (REC-1)."""
    first, second = connection.first.head, connection.second.head
    members = {"iss": connection.home, "cid": connection.cid, "event": "restored", "first": first, "second": second}
    return Restored.model_validate({**members, **place.members, "at": at})


def confirmed_event(connection: Connection, side: Side, at: int, place: Place) -> Confirmed:
    """The event at `at` (ms) that ends the recovery for `side`. `place` is the next position in the log (REC-6)."""
    members = {"iss": connection.home, "cid": connection.cid, "event": "confirmed", "side": side}
    return Confirmed.model_validate({**members, **place.members, "at": at})


def missing_heads(heads: Heads, cid: str, known: Mapping[HeadName, Collection[str]]) -> tuple[HeadName, ...]:
    """The heads that are neither the `cid` nor an act in `known` of their chain (REC-5)."""
    heads_by_name: dict[HeadName, str] = {"first": heads.first, "second": heads.second, "settings": heads.settings}
    return tuple(name for name, head in heads_by_name.items() if head != cid and head not in known[name])


class MergeResult(NamedTuple):
    """The result of a merge: the state, the records that were added, and the others, each with the code of its
    refusal."""

    state: Connection
    taken: tuple[Record, ...]
    refused: tuple[tuple[Record, str], ...]


def merge_records(start: Connection, kept: Sequence[Record], offered: Iterable[Record]) -> MergeResult:
    """Folds the records `offered` among those that the server `kept`, in order of the events' times, from the state
    `start` on (REC-7). A record that does not fit is left out, with the code of CONN-2.

    Raises Contradiction if the stored records do not fit together without the others: then the store is broken.
    """
    places = {(event.side, event.chain, event.seq) for event, _ in kept if isinstance(event, Accepted)}
    times = {record.event.at for record in kept}
    candidates, refused = list[Record](), list[tuple[Record, str]]()
    for record in sorted(offered, key=lambda record: record.event.at):
        if (code := _conflict_of(record, places, times)) is None:
            candidates.append(record)
            times.add(record.event.at)
        else:
            refused.append((record, code))
    try:
        state, added, left_out = _merge(start, kept, candidates)
    except Contradiction:
        # The offered records fit, but a stored one does not follow from them: the stored ones win.
        state, added, left_out = _merge(start, kept, ())
        left_out = [(record, "prev_mismatch") for record in candidates]
    return MergeResult(state, tuple(added), (*refused, *left_out))


def _conflict_of(record: Record, places: Collection[tuple[str, str, int]], times: Collection[int]) -> str | None:
    """The code for a record whose position or time is taken, None if both are free."""
    event = record.event
    if event.at in times:
        return "prev_mismatch"
    if isinstance(event, Accepted) and event.kind != "revoke" and (event.side, event.chain, event.seq) in places:
        return "seq_taken"
    return None


def _merge(
    start: Connection, kept: Sequence[Record], candidates: Sequence[Record]
) -> tuple[Connection, list[Record], list[tuple[Record, str]]]:
    """Folds both in order of their times. Raises Contradiction for a record of `kept` that cannot follow."""
    kept_ids = {id(record) for record in kept}
    restored_at = max((record.event.at for record in kept if isinstance(record.event, Restored)), default=0)
    state, added, refused = start, list[Record](), list[tuple[Record, str]]()
    for record in sorted((*kept, *candidates), key=lambda record: record.event.at):
        try:
            state = fold(state, record, restored_at)
        except Contradiction:
            if id(record) in kept_ids:
                raise
            refused.append((record, _refusal_code(state, record)))
        else:
            added += [record] if id(record) not in kept_ids else []
    return state, added, refused


def _refusal_code(state: Connection, record: Record) -> str:
    """The code for a record that cannot follow here."""
    event = record.event
    if isinstance(event, Accepted):
        door = state.door(event.side)
        if event.seq > (door.settings.seq if event.chain == "settings" else door.seq):
            return "seq_gap"
    return "prev_mismatch"
