"""Seats: pseudonyms for members of staff, so that the server does not store their names (BIZ-6).

A name can be guessed, so a seat is an HMAC under a secret of the business, which is sealed under the master key. The
secret never changes, because every seat would change with it.
"""

import hashlib
import hmac
import secrets
from typing import Literal

from pydantic import Field

from comity.encoding import b64u_encode
from comity_server.api.business.endpoints.api_keys import is_seat
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.pagination import AFTER_ALL, NextCursor, Page, page_start, seal_cursor
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.master_key import CannotUnseal
from comity_server.schema import Instant, Label, Model, instant
from comity_server.services import Server
from comity_server.writer.unit_of_work import UnitOfWork

_LENGTH = 16
"""Bytes of a seat: enough that two names of one business never get the same."""


class NewSeat(Model):
    """A name for a member of staff."""

    staff: Label = Field(
        description="A name that you always use for this person, such as a staff number. It is not stored.",
        examples=["staff 4711"],
    )


class SeatId(Model):
    """The seat of a member of staff."""

    id: str = Field(examples=["seat_Zk1v0hYb6pQw3nT8sXc5Rg"])
    object: Literal["seat"] = "seat"


class Seat(SeatId):
    """A seat, and the time of its creation."""

    created_at: Instant


class SeatList(Model):
    """A page of seats, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[Seat, ...]
    next_cursor: NextCursor | None = None


def seat_of(secret: bytes, staff: str) -> str:
    """The seat of the member of staff with this name."""
    mac = hmac.digest(secret, b"comity.seat.v1\x00" + staff.encode("utf-8"), hashlib.sha256)
    return "seat_" + b64u_encode(mac[:_LENGTH])


async def seat_secret(server: Server, name: str) -> bytes:
    """The secret of the business's seats, created before the first seat. Raises Refused("overloaded"), CannotUnseal."""
    sealed, place = await server.store.business.seat_secret(name), name.encode("ascii") + b"\x00"

    async def make(unit: UnitOfWork) -> bytes:
        fresh = next((row["sealed"] for row in unit.batch.put_seat_secret if row["name"] == name), None)
        known: bytes | None = fresh or await server.store.business.seat_secret(name)
        if known is not None:
            return known
        made = unit.context.kept.master.seal(place + secrets.token_bytes(32))
        unit.batch.put_seat_secret.append({"name": name, "sealed": made})
        return made

    if sealed is None:
        sealed = await server.writer.command(make)
    plain = server.context.kept.master.open(sealed)
    if not plain.startswith(place):
        raise CannotUnseal("a secret of seats in the store stands in the place of another: restore it from a backup")
    return plain.removeprefix(place)


async def list_seats(call: Call) -> Reply:
    """Lists the seats of the business."""
    limit = call.query.limit
    rows = await call.server.store.business.seats(call.business.name, page_start(call, "seats", AFTER_ALL), limit + 1)
    page = rows[:limit]
    cursor = seal_cursor(call, "seats", page[-1].created_at, page[-1].seat) if len(rows) > len(page) else None
    items = tuple(Seat(id=row.seat, created_at=instant(row.created_at)) for row in page)
    return Reply.of(SeatList(items=items, next_cursor=cursor))


async def create_seat(call: Call) -> Reply:
    """Gets the seat of a member of staff, which is the same for the same name."""
    seat = seat_of(await seat_secret(call.server, call.business.name), call.body.staff)
    # A hash of the request would be a hash of the name, and names can be guessed.
    call.fingerprint = seat

    async def decide(unit: UnitOfWork) -> Reply:
        if not await is_seat(call, unit, seat):
            unit.batch.put_seat.append({"name": call.business.name, "seat": seat, "created_at": unit.now})
        return Reply.of(SeatId(id=seat))

    return await run_idempotent(call, decide)


ROUTES = (
    Route(
        "GET",
        "/seats",
        "keys:manage",
        list_seats,
        "listSeats",
        "List the seats",
        "keys",
        description="A seat does not reveal the member of staff.",
        query=Page,
        answer=SeatList,
    ),
    Route(
        "POST",
        "/seats",
        "keys:manage",
        create_seat,
        "createSeat",
        "Create the seat of a member of staff",
        "keys",
        description="The same name always gets the same seat. The server does not store the name.",
        body=NewSeat,
        answer=SeatId,
    ),
)
