"""HTTP in and out. Handlers hold no rule: they take a request apart, hand it on, and put the answer together."""

from aiohttp import web

from comity_server.api.wallets import acts, log, onboarding, public, reads, recovery


def add_routes(app: web.Application) -> None:
    """Every route of the people's side, and of the log."""
    for module in (acts, onboarding, reads, recovery, public, log):
        module.add_routes(app)
