"""What a business owes after the end of a connection: to say what became of the customer's data (ERA-6, ERA-7)."""

from typing import Annotated, Literal

from pydantic import Field

from comity.documents.acts import Erasure
from comity.documents.types import Categories, Category, Ground, Recipients
from comity.encoding import b64u_decode
from comity.rules.erasure import DUE_AFTER, Duty, DutyStatus
from comity_server.api.business.act_response import ActTaken, take
from comity_server.api.business.pagination import FIRST, behind, cursor_of
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Cid, Cursor, Due, Hash, Instant, Limit, Model, Query, Who, instant, seconds
from comity_server.store.business import StoredDuty


class KeptData(Model):
    """Data that you keep, and why you may."""

    what: Category = Field(examples=["payments"])
    ground: Ground = Field(examples=["legal_obligation"])
    until: Instant | None = Field(default=None, description="When it is deleted, where that is known.")


class Statement(Model):
    """What you said last of what became of the data."""

    act: Hash = Field(description="Its id: that of its act.")
    at: Instant
    deleted: tuple[Category, ...]
    kept: tuple[KeptData, ...] | None = None
    passed_on: tuple[str, ...] | None = Field(default=None, description="Who else had the data, and was told.")


class ListedDuty(Model):
    """A customer's data that is to be accounted for, or is."""

    connection: Cid
    status: DutyStatus = Field(description="`open`, `late` (open, and its time is over) or `done`.")
    ended_at: Instant
    ended_by: Who
    due_at: Instant = Field(description="30 days after the end.")
    done_at: Instant | None = Field(default=None, description="When you made your first statement.")
    statement: Statement | None = None


class Duties(Model):
    """A page of duties, those first that are due first."""

    items: tuple[ListedDuty, ...]
    cursor: Cursor | None = Field(default=None, description="Where the list goes on; absent at its end.")


class DutyQuery(Query):
    """Which duties."""

    status: Annotated[
        Literal["open", "done"] | None, Field(description="Only these; `open` has the late ones, too.")
    ] = None
    cursor: Cursor | None = None
    limit: Limit = 50


class KeepingData(Model):
    """Data that you keep, and why you may."""

    what: Category
    ground: Ground = Field(description="On which ground; the protocol's list names the article of the GDPR for each.")
    until: Due | None = Field(default=None, description="When you will delete it; then you state it anew.")


class NewStatement(Model):
    """What became of the customer's data. Of a category in neither list you say that you hold nothing."""

    deleted: Annotated[Categories, Field(description="What you deleted.", examples=[["contact", "messages"]])]
    kept: (
        Annotated[
            tuple[KeepingData, ...],
            Field(min_length=1, max_length=24, description="What you keep. Consent is no ground any more."),
        ]
        | None
    ) = None
    passed_on: (
        Annotated[
            Recipients,
            Field(
                description="Whom you had given data, and told that it is to be deleted.", examples=[["Zahlwerk 24"]]
            ),
        ]
        | None
    ) = None


async def get_duties(call: Call) -> Reply:
    """The business's duties."""
    limit, place = call.query.limit, behind(call, "duties", FIRST)
    rows = await call.server.store.business.duties(call.business.name, call.query.status, place, limit + 1)
    now = call.server.clock.now()
    items = tuple(_listed(row, now) for row in rows[:limit])
    last = rows[limit - 1] if len(rows) > limit else None
    return Reply.of(
        Duties(items=items, cursor=None if last is None else cursor_of(call, "duties", last.due_at, last.cid))
    )


def _listed(row: StoredDuty, now: int) -> ListedDuty:
    return ListedDuty(
        connection=row.cid,
        status=Duty(row.due_at, row.done_at, row.statement).status(now),
        ended_at=instant(row.due_at - DUE_AFTER),
        ended_by=row.ended_by,  # type: ignore[arg-type]
        due_at=instant(row.due_at),
        done_at=None if row.done_at is None else instant(row.done_at),
        statement=_statement(row),
    )


def _statement(row: StoredDuty) -> Statement | None:
    if row.statement is None or row.raw is None or row.accepted_at is None:
        return None
    said = Erasure.model_validate_json(b64u_decode(row.raw.split(".")[1]))
    kept = [
        KeptData(what=it.what, ground=it.ground, until=None if it.until is None else instant(it.until * 1000))
        for it in said.kept or ()
    ]
    return Statement(
        act=row.statement,
        at=instant(row.accepted_at),
        deleted=said.deleted,
        kept=tuple(kept) or None,
        passed_on=said.passed_on,
    )


async def state_duty(call: Call) -> Reply:
    """Say what became of the data, for the first time or anew."""
    wanted: NewStatement | None = call.body
    if wanted is None:
        return await take(call, "erasure")
    kept = [
        {"what": it.what, "ground": it.ground} | ({} if it.until is None else {"until": seconds(it.until)})
        for it in wanted.kept or ()
    ]
    fields = {"deleted": wanted.deleted, "kept": tuple(kept) or None, "passed_on": wanted.passed_on}
    return await take(call, "erasure", fields)


_TAG = "duties"
ROUTES = (
    Route(
        "GET",
        "/duties",
        "connections:read",
        get_duties,
        "listDuties",
        "See whose data you are to account for",
        _TAG,
        description="Once a connection has ended, whoever ended it, you have 30 days to say what became of your "
        "customer's data. Those that are due first come first. Deleting is up to you: nothing is deleted here.",
        query=DutyQuery,
        answer=Duties,
    ),
    Route(
        "POST",
        "/duties/{connection}",
        "door:write",
        state_duty,
        "stateDuty",
        "Say what became of a customer's data",
        _TAG,
        description="A signed statement, which your customer keeps. A later one takes its place whole; twelve at most.",
        body=NewStatement,
        answer=ActTaken,
        statuses=(201,),
        codes=("connection_open", "until_passed", "too_many_statements"),
        act="erasure",
    ),
)
