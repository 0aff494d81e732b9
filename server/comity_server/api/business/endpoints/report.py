"""The report: how the business's messages fared, day by day (SAY-15, SAY-16)."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from comity.http_api import JSON
from comity_server.api.business.route import Call, Reply, Route
from comity_server.api.http import preferred
from comity_server.schema import Digits, Model, Query
from comity_server.writer.unit_of_work import DAY

CSV = "text/csv"

COUNTS: dict[str, str] = {
    "messages.delivered": "Messages that reached a customer, at once or after they had waited.",
    "messages.held": "Messages that had to wait; each is counted again as what became of it.",
    "messages.dropped": "Messages that were dropped, as you wanted, rather than wait.",
    "messages.expired": "Messages that had waited until they expired.",
    "messages.refused.connection_ended": "Messages refused: the connection had ended.",
    "messages.refused.no_grant": "Messages refused: the customer had not allowed it.",
    "messages.refused.already_has": "Messages refused: the customer already had what they would have sold.",
    "messages.refused.no_interest": "Messages refused: the topic is of no interest to the customer.",
    "messages.refused.topic_needed": "Messages refused: they did not name exactly enough what they would have sold.",
    "messages.refused.not_now": "Messages refused: not now, and they were not to wait.",
    "messages.refused.over_budget": "Messages refused: no room in the budget that the customer set, and not to wait.",
    "messages.refused.hold_full": "Messages refused: too many waited already.",
    "messages.refused.message_expired": "Messages refused: they had expired before they were sent.",
    "messages.refused.other": "Messages refused for another reason, such as a wrong place in the chain.",
    "messages.exempt": "Notices of safety, security or law that were delivered; counted as delivered as well.",
    "messages.exempt_over_limit": "Such notices refused: more than the limit for one customer.",
    "contacts.stated": "Contacts outside the app that you stated.",
    "connections.opened": "Connections that began.",
    "connections.ended_by_us": "Connections that you ended.",
    "connections.ended_by_them": "Connections that a customer ended.",
    "offers.made": "Offers to connect that you made.",
    "offers.over_quota": "Offers refused: more than the limit of a day.",
    "offers.declined_used_again": "Offers on which you were declined, and which you tried to accept again.",
    "proposals.replaced": "Proposals that gave way to newer ones: too many waited for one offer.",
    "asks.made": "Favours that you asked for.",
    "asks.received": "Favours that customers asked for.",
    "answers.given": "Answers of yours to what customers asked.",
    "answers.received": "Answers of customers to what you asked.",
    "favours.done": "Favours that you did.",
    "favours.received": "Favours that customers did.",
    "feedback.useful": "Messages of yours that a customer called useful.",
    "feedback.not_useful": "Messages of yours that a customer called not useful.",
    "feedback.too_often": "Messages of yours that came too often, as a customer said.",
    "feedback.not_interested": "Messages of yours in whose topic a customer is not interested.",
    "feedback.thanks": "Messages of yours that a customer thanked you for.",
    "contests.received": "Messages of yours that were something else than they said, as a customer said.",
    "contests.exempt": "Those of them that were notices of safety, security or law; a contest changes nothing there.",
    "contests.taken_back": "Contests that a customer took back.",
}
"""Everything that is counted → what it counts. Nothing else is counted anywhere."""


class ReportQuery(Query):
    """How far back."""

    days: Annotated[int, Field(ge=1, le=90, description="Days, today among them."), Digits] = 30


class ReportDay(Model):
    """What happened on one day (UTC). What is absent did not happen."""

    day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-21"])]
    counts: Annotated[dict[str, int], Field(examples=[{"messages.delivered": 41, "messages.held": 3}])]


class Report(Model):
    """How your messages, offers and connections fared."""

    first_day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    last_day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    days: tuple[ReportDay, ...]
    total: dict[str, int]
    meanings: Annotated[dict[str, str], Field(description="What each name counts, in words.")]


async def get_report(call: Call) -> Reply:
    """What was counted for the business, as JSON or CSV."""
    today = call.server.clock.now() // DAY
    first = today - call.query.days + 1
    by_day: dict[int, dict[str, int]] = {day: {} for day in range(first, today + 1)}
    for row in await call.server.store.business.counts(call.business.name, first):
        by_day.setdefault(row.day, {})[row.what] = row.n
    days = [ReportDay(day=_date(day), counts=counts) for day, counts in sorted(by_day.items())]
    if preferred(call.request, JSON, CSV) == CSV:
        named = {"Content-Disposition": f'attachment; filename="report-{_date(today)}.csv"'}
        return Reply(200, to_csv(days), media=CSV, headers=named)
    total: dict[str, int] = {}
    for counts in by_day.values():
        for what, n in counts.items():
            total[what] = total.get(what, 0) + n
    meanings = {what: COUNTS[what] for what in COUNTS if what in total}
    report = Report(
        first_day=_date(first), last_day=days[-1].day, days=tuple(days), total=dict(sorted(total.items())),
        meanings=meanings,
    )  # fmt: skip
    return Reply.of(report)


def _date(day: int) -> str:
    return (datetime.fromtimestamp(0, UTC).date() + timedelta(days=day)).isoformat()


def to_csv(days: list[ReportDay]) -> bytes:
    """The same as lines of day, name, number and meaning (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("day", "name", "number", "meaning"))
    for it in days:
        for name, number in sorted(it.counts.items()):
            writer.writerow((it.day, safe_cell(name), number, safe_cell(COUNTS.get(name, ""))))
    return text.getvalue().encode("utf-8")


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula (SAY-16)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


ROUTES = (
    Route(
        "GET",
        "/report",
        "report:read",
        get_report,
        "getReport",
        "How your messages fared",
        "report",
        description="Counts by day (UTC): numbers, and never who. With `Accept: text/csv` the same as a table.",
        query=ReportQuery,
        answer=Report,
        also=(CSV,),
    ),
)
