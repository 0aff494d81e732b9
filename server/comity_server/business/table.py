"""The one table of the business side's routes. Handlers, OpenAPI and the tests of who may do what come from it."""

from comity_server.business import keys
from comity_server.business.route import Route

ROUTES: tuple[Route, ...] = (*keys.ROUTES,)
"""In the order in which the document shows them."""
