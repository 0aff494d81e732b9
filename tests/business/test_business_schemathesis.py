"""Every route is asked many odd things, made from the document: it answers only what the document says it answers."""

import asyncio
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode, SerializationContext
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from comity.http_api import JSON, JSON_LINES, JWT
from comity_server.api.business.docs.openapi import document
from comity_server.api.business.routes import ROUTES
from support.business_objects import ROOMY, Things, places, receiver
from support.business_world import a_shop
from support.world import a_world

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 6
"""Requests of each kind to each route: of the form that it takes, and of others; of things that are there, or not."""


LAST = ["post", "put", "delete"]


@schemathesis.serializer(JWT, JSON_LINES, "text/plain")
def as_text(ctx: SerializationContext, value: Any) -> bytes:
    """Bodies that are texts go as they are."""
    return str(value).encode("utf-8", "surrogatepass")


async def test_every_route_answers_only_what_the_document_says(tmp_path: Path) -> None:
    async with receiver() as hook, a_world(tmp_path, **ROOMY) as world:
        things = Things(await a_shop(world), hook)
        paths = {route.operation: await things.path(route) for route in ROUTES if places(route)}
        schema = schemathesis.openapi.from_dict(document(server=world.origin))
        asked: set[str] = set()

        def ask_all() -> None:
            with requests.Session() as session:
                session.headers["Authorization"] = f"Bearer {things.shop.key}"
                found: list[Any] = list(schema.get_all_operations())
                operations = [it.ok() for it in found]
                # What is ended cannot be looked at any more.
                for operation in sorted(operations, key=lambda it: LAST.index(it.method) if it.method in LAST else -1):
                    asked.add(operation.definition.raw["operationId"])
                    path = paths.get(operation.definition.raw["operationId"], {})
                    explore(operation, path, world.origin, session)

        await asyncio.to_thread(ask_all)
        assert asked == {route.operation for route in ROUTES}
        assert (await things.shop.ask("GET", "/self")).status == 200


def explore(
    operation: APIOperation[Any, Any, Any, Any], path: dict[str, str], origin: str, session: requests.Session
) -> None:
    """Ask one route; raises what does not conform."""

    def of(mode: GenerationMode, **known: Any) -> st.SearchStrategy[Case[Any]]:
        return operation.as_strategy(mode, **known)

    kinds = [of(GenerationMode.POSITIVE), of(GenerationMode.NEGATIVE)]
    json = {"media_type": JSON} if JSON in operation.get_request_payload_content_types() else {}
    kinds += [of(GenerationMode.POSITIVE, path_parameters=path, **json)] if path else []

    for kind in kinds:

        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=kind)
        def conforms(case: Case[Any]) -> None:
            if "wait" in case.query:
                case.query["wait"] = 0  # nobody waits here
            case.call_and_validate(origin, session, checks=CHECKS)

        conforms()
