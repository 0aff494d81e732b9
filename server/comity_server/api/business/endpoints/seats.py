"""Seats: what stands for members of staff, so that their names need not be kept (BIZ-6).

A name can be guessed, so what stands for it must need a secret that is not in the store beside it: each business has
one, sealed under the master key, and it is never changed, or all seats would.
"""

import hashlib
import hmac
import secrets

from pydantic import Field

from comity.encoding import b64u_encode
from comity_server.api.business.endpoints.api_keys import is_seat
from comity_server.api.business.idempotency import change
from comity_server.api.business.pagination import FIRST, Page, behind, cursor_of
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.master_key import CannotUnseal
from comity_server.schema import Cursor, Instant, Label, Model, instant
from comity_server.services import Server
from comity_server.writer.unit_of_work import UnitOfWork

_LENGTH = 16
"""Bytes of a seat: two names of one business never meet."""


class NewSeat(Model):
    """A member of staff, in the business's own words."""

    staff: Label = Field(
        description="Any name that the business always uses for this person, a staff number say. It is not kept.",
        examples=["staff 4711"],
    )


class SeatId(Model):
    """The seat of a member of staff."""

    seat: str = Field(examples=["seat_Zk1v0hYb6pQw3nT8sXc5Rg"])


class Seat(SeatId):
    """A seat, and since when it is known."""

    created_at: Instant


class Seats(Model):
    """A page of seats, the oldest first."""

    items: tuple[Seat, ...]
    cursor: Cursor | None = Field(default=None, description="Where the list goes on; absent at its end.")


def seat_of(secret: bytes, staff: str) -> str:
    """The seat of the member of staff whom the business calls so."""
    told = hmac.digest(secret, b"comity.seat.v1\x00" + staff.encode("utf-8"), hashlib.sha256)
    return "seat_" + b64u_encode(told[:_LENGTH])


async def seat_secret(server: Server, name: str) -> bytes:
    """What a business's seats are made with, made before its first one. Raises Refused("overloaded"), CannotUnseal."""
    sealed, place = await server.store.business.seat_secret(name), name.encode("ascii") + b"\x00"

    async def make(group: UnitOfWork) -> bytes:
        fresh = next((row["sealed"] for row in group.batch.put_seat_secret if row["name"] == name), None)
        known: bytes | None = fresh or await server.store.business.seat_secret(name)
        if known is not None:
            return known
        made = group.grounds.kept.master.seal(place + secrets.token_bytes(32))
        group.batch.put_seat_secret.append({"name": name, "sealed": made})
        return made

    if sealed is None:
        sealed = await server.accept.command(make)
    plain = server.grounds.kept.master.open(sealed)
    if not plain.startswith(place):
        raise CannotUnseal("a secret of seats in the store stands in the place of another: restore it from a backup")
    return plain.removeprefix(place)


async def get_seats(call: Call) -> Reply:
    """The business's seats."""
    limit = call.query.limit
    rows = await call.server.store.business.seats(call.business.name, behind(call, "seats", FIRST), limit + 1)
    page = rows[:limit]
    cursor = cursor_of(call, "seats", page[-1].created_at, page[-1].seat) if len(rows) > len(page) else None
    items = tuple(Seat(seat=row.seat, created_at=instant(row.created_at)) for row in page)
    return Reply.of(Seats(items=items, cursor=cursor))


async def post_seats(call: Call) -> Reply:
    """The seat of a member of staff: for the same name always the same."""
    seat = seat_of(await seat_secret(call.server, call.business.name), call.body.staff)
    # A hash of the request would be one of the name, and could be found by trying.
    call.fingerprint = seat

    async def decide(group: UnitOfWork) -> Reply:
        if not await is_seat(call, group, seat):
            group.batch.put_seat.append({"name": call.business.name, "seat": seat, "created_at": group.now})
        return Reply.of(SeatId(seat=seat))

    return await change(call, decide)


ROUTES = (
    Route(
        "GET",
        "/seats",
        "keys:manage",
        get_seats,
        "listSeats",
        "List the seats",
        "keys",
        description="The seats that were asked for, the oldest first. They say nothing of whose they are.",
        query=Page,
        answer=Seats,
    ),
    Route(
        "POST",
        "/seats",
        "keys:manage",
        post_seats,
        "makeSeat",
        "The seat of a member of staff",
        "keys",
        description="The same name gets the same seat at any time. The name itself is not kept.",
        body=NewSeat,
        answer=SeatId,
    ),
)
