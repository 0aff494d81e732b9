"""Refusals that say more than their code: the problem document with further members, known when the group decides, so
that what a refusal leaves behind (a draft, say) is written with it."""

from collections.abc import Mapping
from typing import Any

from comity.errors import Refused
from comity.http_api import PROBLEM, encode_problem
from comity_server.api.business.route import Call, Reply, documentation
from comity_server.logging import REQUEST_ID


def refusal(call: Call, refused: Refused, also: Mapping[str, Any]) -> Reply:
    """The answer that raising `refused` would give, with the members `also` (BIZ-10)."""
    server = call.server
    server.metrics.refused.labels(refused.code).inc()
    # Decided for the request, and by another task than the one that answers it (HTTP-19).
    members = {**also, "documentation": documentation(server.home, refused.code), "request_id": REQUEST_ID.get()}
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return Reply(refused.status, encode_problem(refused, members), media=PROBLEM, headers=headers)
