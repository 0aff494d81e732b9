"""Status indexes within a group: reserved for a side, given to it again, taken by a grant (STATUS-3)."""

from typing import Protocol

from comity.documents.acts import Grant
from comity.documents.types import Side
from comity.errors import Refused
from comity_server.store.rows import Batch, Reservation, ReservedRow
from comity_server.writer.context import DecisionContext

Place = tuple[int, int]
"""The number of a list, and an index in it."""


class ReservingUnit(Protocol):
    """The part of a unit of work that reservations change."""

    now: int
    batch: Batch
    reservations: dict[Place, Reservation]

    @property
    def context(self) -> DecisionContext: ...


def reserve(unit: ReservingUnit, cid: str, side: Side, stored: dict[Place, int], most: int) -> Place:
    """A place for a side of a connection: a fresh one, or, where it holds `most` that no accepted grant names, the one
    that it was given longest ago: newer ones may be on their way into a grant. `stored`: its unused places in the
    store, with when (ms) it was given each."""
    unused = _unused_places(unit, cid, side, stored)
    place = (
        min(unused, key=lambda it: unused[it])
        if len(unused) >= most
        else unit.context.lists.draw(_reserved_places(unit))
    )
    unit.reservations[place] = Reservation(cid, side, None)
    row: ReservedRow = {"list_no": place[0], "idx": place[1], "cid": cid, "side": side, "reserved_at": unit.now}
    unit.batch.reserve_index.append(row)
    return place


def give_back(unit: ReservingUnit, place: Place) -> None:
    """Take back the last reservation of the group, which was of this place."""
    del unit.reservations[place]
    unit.batch.reserve_index.pop()


def take(unit: ReservingUnit, grant: Grant, side: Side | None, id_: str) -> None:
    """Raises Refused unless the grant's status index was reserved for this side and is unused."""
    reference = grant.status.status_list
    place = (unit.context.lists.number_of(reference.uri) or 0, reference.idx)
    if unit.reservations.get(place) != (grant.cid, side, None):
        raise Refused("index_not_reserved")
    unit.reservations[place] = Reservation(grant.cid, str(side), id_)
    # Written down at once: a grant that is gone again by the end of the group would leave its index free.
    unit.batch.put_status.append(
        {
            "list_no": place[0],
            "idx": place[1],
            "grant_id": id_,
            "ended": 1,
            "ask_until": 0,
            "expires_at": grant.exp * 1000,
        }
    )


def _unused_places(unit: ReservingUnit, cid: str, side: Side, stored: dict[Place, int]) -> dict[Place, int]:
    """The stored places as this group has left them, and those that it has reserved."""
    mine = [row for row in unit.batch.reserve_index if (row["cid"], row["side"]) == (cid, side)]
    known = stored | {(row["list_no"], row["idx"]): row["reserved_at"] for row in mine}
    free = (None, Reservation(cid, side, None))
    return {place: at for place, at in known.items() if unit.reservations.get(place) in free}


def _reserved_places(unit: ReservingUnit) -> set[Place]:
    return {(row["list_no"], row["idx"]) for row in unit.batch.reserve_index}
