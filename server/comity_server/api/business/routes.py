"""The table of routes of the REST API. The handlers, the OpenAPI document and the authorization tests are made from
it."""

from comity_server.api.business.endpoints import (
    api_keys,
    check,
    connections,
    drafts,
    erasure,
    facts,
    favours,
    feedback,
    messages,
    notices,
    notifications,
    offers,
    permissions,
    poster,
    proposals,
    report,
    seats,
    timeline,
    webhook_deliveries,
    webhooks,
)
from comity_server.api.business.route import Route

ROUTES: tuple[Route, ...] = (
    *api_keys.ROUTES,
    *seats.ROUTES,
    *check.ROUTES,
    *offers.ROUTES,
    *poster.ROUTES,
    *proposals.ROUTES,
    *connections.ROUTES,
    *timeline.ROUTES,
    *notifications.ROUTES,
    *webhooks.ROUTES,
    *webhook_deliveries.ROUTES,
    *messages.ROUTES,
    *drafts.ROUTES,
    *favours.ROUTES,
    *permissions.ROUTES,
    *notices.ROUTES,
    *facts.ROUTES,
    *feedback.ROUTES,
    *erasure.ROUTES,
    *report.ROUTES,
)
"""In the order of the OpenAPI document."""
