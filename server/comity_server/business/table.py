"""The one table of the business side's routes. Handlers, OpenAPI and the tests of who may do what come from it."""

from comity_server.business import (
    checks,
    connections,
    door,
    drafts,
    duties,
    facts,
    favours,
    feedback,
    keys,
    messages,
    notices,
    notifications,
    offers,
    poster,
    proposals,
    report,
    seats,
    timeline,
    webhook_deliveries,
    webhook_routes,
)
from comity_server.business.route import Route

ROUTES: tuple[Route, ...] = (
    *keys.ROUTES,
    *seats.ROUTES,
    *checks.ROUTES,
    *offers.ROUTES,
    *poster.ROUTES,
    *proposals.ROUTES,
    *connections.ROUTES,
    *timeline.ROUTES,
    *notifications.ROUTES,
    *webhook_routes.ROUTES,
    *webhook_deliveries.ROUTES,
    *messages.ROUTES,
    *drafts.ROUTES,
    *favours.ROUTES,
    *door.ROUTES,
    *notices.ROUTES,
    *facts.ROUTES,
    *feedback.ROUTES,
    *duties.ROUTES,
    *report.ROUTES,
)
"""In the order in which the document shows them."""
