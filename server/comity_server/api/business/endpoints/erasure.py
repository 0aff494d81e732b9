"""Erasures: after the end of a connection a business states which of the customer's data it deleted (ERA-6, ERA-7)."""

from typing import Annotated, Literal

from pydantic import Field

from comity.documents import acts
from comity.documents.types import Categories, Category, Ground, Recipients
from comity.encoding import b64u_decode
from comity.rules.erasure import DUE_AFTER, Duty, DutyStatus
from comity_server.api.business.act_response import AcceptedAct, submit_act
from comity_server.api.business.pagination import (
    AFTER_ALL,
    BEFORE_ALL,
    NextCursor,
    Order,
    Page,
    page_start,
    seal_cursor,
)
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Cid, Due, Hash, Instant, Limit, Model, Who, instant, seconds
from comity_server.store.business import StoredDuty


class KeptData(Model):
    """A category of data that you keep, with the legal ground."""

    what: Category = Field(examples=["payments"])
    ground: Ground = Field(examples=["legal_obligation"])
    kept_until: Instant | None = Field(default=None, description="The time of its deletion, where it is known.")


class ErasureStatement(Model):
    """Your last statement about the customer's data."""

    act: Hash = Field(description="The act's id.")
    accepted_at: Instant
    deleted: tuple[Category, ...]
    kept: tuple[KeptData, ...] | None = None
    passed_on: tuple[str, ...] | None = Field(
        default=None, description="Recipients of the data that you told to delete it."
    )


class Erasure(Model):
    """The erasure of a customer's data after the end of a connection: a statement that is due, or that you made."""

    id: Cid = Field(description="That of the connection.")
    object: Literal["erasure"] = "erasure"
    connection: Cid
    status: DutyStatus = Field(description="`open`, `late` (open, and past `due_at`) or `done`.")
    ended_at: Instant
    ended_by: Who
    due_at: Instant = Field(description="30 days after `ended_at`.")
    done_at: Instant | None = Field(default=None, description="The time of your first statement.")
    statement: ErasureStatement | None = None


class ErasureList(Model):
    """A page of erasures, those of the connections first that ended last."""

    object: Literal["list"] = "list"
    items: tuple[Erasure, ...]
    next_cursor: NextCursor | None = None


class ErasureQuery(Page):
    """Filters of the list of erasures."""

    status: Annotated[
        Literal["open", "done"] | None, Field(description="Only erasures of this status. `open` includes `late`.")
    ] = None
    limit: Limit = 50
    order: Order = "newest"


class NewKeptData(Model):
    """A category of data that you keep, with the legal ground."""

    what: Category
    ground: Ground = Field(description="The legal ground. The specification names the article of the GDPR for each.")
    kept_until: Due | None = Field(default=None, description="The time of its deletion. Make another statement then.")


class NewErasure(Model):
    """A statement about the customer's data. It says that you hold no data of a category that is in neither list."""

    deleted: Annotated[
        Categories, Field(description="The categories that you deleted.", examples=[["contact", "messages"]])
    ]
    kept: (
        Annotated[
            tuple[NewKeptData, ...],
            Field(
                min_length=1,
                max_length=24,
                description="The categories that you keep. Consent is not a valid ground after the end.",
            ),
        ]
        | None
    ) = None
    passed_on: (
        Annotated[
            Recipients,
            Field(description="Recipients of the data that you told to delete it.", examples=[["Zahlwerk 24"]]),
        ]
        | None
    ) = None


async def list_erasures(call: Call) -> Reply:
    """Lists the erasures of the business."""
    query: ErasureQuery = call.query
    newest, limit, what = query.order == "newest", query.limit, f"erasures, {query.order} first"
    place = page_start(call, what, AFTER_ALL if newest else BEFORE_ALL)
    rows = await call.server.store.business.duties(call.business.name, query.status, place, limit + 1, newest=newest)
    now = call.server.clock.now()
    items = tuple(_erasure_item(row, now) for row in rows[:limit])
    last = rows[limit - 1] if len(rows) > limit else None
    return Reply.of(
        ErasureList(items=items, next_cursor=None if last is None else seal_cursor(call, what, last.due_at, last.cid))
    )


def _erasure_item(row: StoredDuty, now: int) -> Erasure:
    return Erasure(
        id=row.cid,
        connection=row.cid,
        status=Duty(row.due_at, row.done_at, row.statement).status(now),
        ended_at=instant(row.due_at - DUE_AFTER),
        ended_by=row.ended_by,  # type: ignore[arg-type]
        due_at=instant(row.due_at),
        done_at=None if row.done_at is None else instant(row.done_at),
        statement=_statement(row),
    )


def _statement(row: StoredDuty) -> ErasureStatement | None:
    if row.statement is None or row.raw is None or row.accepted_at is None:
        return None
    statement = acts.Erasure.model_validate_json(b64u_decode(row.raw.split(".")[1]))
    kept = [
        KeptData(
            what=data.what,
            ground=data.ground,
            kept_until=None if data.until is None else instant(data.until * 1000),
        )
        for data in statement.kept or ()
    ]
    return ErasureStatement(
        act=row.statement,
        accepted_at=instant(row.accepted_at),
        deleted=statement.deleted,
        kept=tuple(kept) or None,
        passed_on=statement.passed_on,
    )


async def create_erasure(call: Call) -> Reply:
    """Makes the first statement about the data, or a later one that replaces it."""
    wanted: NewErasure | None = call.body
    if wanted is None:
        return await submit_act(call, "erasure")
    kept = [
        {"what": data.what, "ground": data.ground}
        | ({} if data.kept_until is None else {"until": seconds(data.kept_until)})
        for data in wanted.kept or ()
    ]
    fields = {"deleted": wanted.deleted, "kept": tuple(kept) or None, "passed_on": wanted.passed_on}
    return await submit_act(call, "erasure", fields)


_TAG = "erasures"
ROUTES = (
    Route(
        "GET",
        "/erasures",
        "connections:read",
        list_erasures,
        "listErasures",
        "List the erasures that are due or done",
        _TAG,
        description="After the end of a connection, whichever side ended it, you have 30 days to state which of the "
        "customer's data you deleted. Delete the data in your own systems: this server deletes nothing. "
        "`order=oldest` lists those first that are due first.",
        query=ErasureQuery,
        answer=ErasureList,
    ),
    Route(
        "POST",
        "/connections/{connection}/erasures",
        "permissions:write",
        create_erasure,
        "createErasure",
        "State which data of a customer you deleted",
        _TAG,
        description="A signed statement that your customer receives. A later one replaces it whole. At most twelve.",
        body=NewErasure,
        answer=AcceptedAct,
        statuses=(201,),
        codes=("connection_open", "until_passed", "too_many_statements"),
        act="erasure",
    ),
)
