"""The report: daily counts of messages, connections, offers and favours (SAY-15, SAY-16)."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from comity.http_api import JSON
from comity_server.api.business.route import Call, Reply, Route
from comity_server.api.http import preferred_type
from comity_server.schema import Digits, Model, Query
from comity_server.writer.unit_of_work import DAY

CSV = "text/csv"

COUNTS: dict[str, str] = {
    "messages.delivered": "Messages delivered to a customer, at once or after a hold.",
    "messages.held": "Messages held. Each is counted again when it is delivered or expires.",
    "messages.dropped": "Messages dropped instead of held, as you asked.",
    "messages.expired": "Held messages that expired.",
    "messages.refused.connection_ended": "Messages refused: the connection had ended.",
    "messages.refused.no_grant": "Messages refused: no grant of the customer covered them.",
    "messages.refused.already_has": "Messages refused: the customer already had the product.",
    "messages.refused.no_interest": "Messages refused: the customer is not interested in the topic.",
    "messages.refused.topic_needed": "Messages refused: the topic was missing or too general.",
    "messages.refused.not_now": "Messages refused: not now, and you did not want them held.",
    "messages.refused.over_budget": "Messages refused: the budget was used up, and you did not want them held.",
    "messages.refused.hold_full": "Messages refused: too many messages were held already.",
    "messages.refused.message_expired": "Messages refused: they had expired.",
    "messages.refused.other": "Messages refused for another reason, such as a wrong sequence number.",
    "messages.exempt": "Safety, security and legal notices delivered. They also count as delivered messages.",
    "messages.exempt_over_limit": "Safety, security and legal notices refused: over the limit for one customer.",
    "contacts.stated": "Contacts outside the app that you recorded.",
    "connections.opened": "Connections opened.",
    "connections.ended_by_us": "Connections that you ended.",
    "connections.ended_by_them": "Connections that a customer ended.",
    "offers.made": "Offers to connect that you created.",
    "offers.over_quota": "Offers refused: over the daily limit.",
    "offers.declined_used_again": "Offers that you tried to accept again after you were declined.",
    "proposals.replaced": "Proposals replaced by newer ones because too many waited for one offer.",
    "asks.made": "Favours that you asked for.",
    "asks.received": "Favours that customers asked for.",
    "answers.given": "Answers that you gave to customers' asks.",
    "answers.received": "Answers that customers gave to your asks.",
    "favours.done": "Favours that you did.",
    "favours.received": "Favours that customers did.",
    "feedback.useful": "Feedback: a message of yours was useful.",
    "feedback.not_useful": "Feedback: a message of yours was not useful.",
    "feedback.too_often": "Feedback: your messages come too often.",
    "feedback.not_interested": "Feedback: the customer is not interested in the topic.",
    "feedback.thanks": "Feedback: the customer said thank you for a message.",
    "contests.received": "Messages of yours that a customer contested as mislabelled.",
    "contests.exempt": "Contested safety, security and legal notices. A contest of these changes no decision.",
    "contests.withdrawn": "Contests that a customer withdrew.",
}
"""Name of a count → its meaning. The server counts nothing else."""


class ReportQuery(Query):
    """The period of the report."""

    days: Annotated[int, Field(ge=1, le=90, description="The number of days, including today."), Digits] = 30


class ReportDay(Model):
    """The counts of one day (UTC). A count that is absent is zero."""

    day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-21"])]
    counts: Annotated[dict[str, int], Field(examples=[{"messages.delivered": 41, "messages.held": 3}])]


class Report(Model):
    """Daily counts of your messages, offers, connections and favours."""

    object: Literal["report"] = "report"
    first_day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    last_day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    days: tuple[ReportDay, ...]
    total: dict[str, int]
    meanings: Annotated[dict[str, str], Field(description="The meaning of each name.")]


async def get_report(call: Call) -> Reply:
    """The report of the business, as JSON or CSV."""
    today = call.server.clock.now() // DAY
    first = today - call.query.days + 1
    by_day: dict[int, dict[str, int]] = {day: {} for day in range(first, today + 1)}
    for row in await call.server.store.business.counts(call.business.name, first):
        by_day.setdefault(row.day, {})[row.what] = row.n
    days = [ReportDay(day=_date(day), counts=counts) for day, counts in sorted(by_day.items())]
    if preferred_type(call.request, JSON, CSV) == CSV:
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
    """The days as CSV rows of day, name, number and meaning (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("day", "name", "number", "meaning"))
    for day in days:
        for name, number in sorted(day.counts.items()):
            writer.writerow((day.day, safe_cell(name), number, safe_cell(COUNTS.get(name, ""))))
    return text.getvalue().encode("utf-8")


def safe_cell(text: str) -> str:
    """The text, escaped so that no spreadsheet reads it as a formula (SAY-16)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


ROUTES = (
    Route(
        "GET",
        "/report",
        "report:read",
        get_report,
        "getReport",
        "Get the report of your messages",
        "report",
        description="Counts by day (UTC), without any name. With `Accept: text/csv` the answer is a table.",
        query=ReportQuery,
        answer=Report,
        also=(CSV,),
    ),
)
