"""Refusals with further members, built while the transaction decides, so that it also commits what a refusal leaves
behind, such as a draft."""

from collections.abc import Mapping
from typing import Any

from comity.errors import Refused
from comity.http_api import PROBLEM, encode_problem
from comity_server.api.business.route import Call, Reply, problem_members, rest_refusal
from comity_server.logging import REQUEST_ID


def refusal(call: Call, refused: Refused, also: Mapping[str, Any]) -> Reply:
    """The problem document of `refused`, with the members `also` (BIZ-10)."""
    server, refused = call.server, rest_refusal(refused, "body", call.route.thing)
    server.metrics.refused.labels(refused.code).inc()
    # The request id is set here because another task answers the request (HTTP-19).
    members = {**also, **problem_members(server.home, refused), "request_id": REQUEST_ID.get()}
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return Reply(refused.status, encode_problem(refused, members), media=PROBLEM, headers=headers)
