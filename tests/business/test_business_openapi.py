"""The document that engineers generate their clients from: it is the code's, it is valid, and it is fit to be read."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from comity.errors import CODES
from comity_server.api.business.docs.error_guide import ADVICE
from comity_server.api.business.docs.examples import EXAMPLES, LINES
from comity_server.api.business.docs.introduction import AREAS
from comity_server.api.business.docs.openapi import document, refusals
from comity_server.api.business.routes import ROUTES
from comity_tools.cli import main
from support.spec_pages import SPEC, table

MADE = document()


def operations() -> list[tuple[str, dict[str, Any]]]:
    """(method and path, operation) of the document."""
    return [
        (f"{method.upper()} {path}", made)
        for path, of_path in MADE["paths"].items()
        for method, made in of_path.items()
    ]


def test_the_document_in_the_specification_is_the_one_that_the_code_makes() -> None:
    printed = CliRunner().invoke(main, ["openapi"])
    assert printed.exit_code == 0
    assert (SPEC / "openapi.json").read_text(encoding="utf-8") == printed.output, "comity openapi > spec/openapi.json"


def test_the_document_is_valid_and_has_every_route() -> None:
    assert [str(fault) for fault in OpenAPIV31SpecValidator(MADE).iter_errors()] == []
    assert [name for name, _ in operations()] == [f"{it.method} /v1/business{it.path}" for it in by_path()]
    assert len({route.operation for route in ROUTES}) == len(ROUTES)
    assert list(AREAS) == [tag for tag in AREAS if tag in {route.tag for route in ROUTES}], (
        "no more groups than are used"
    )


VERBS = {"GET": ("list", "get"), "PUT": ("update",), "PATCH": ("update",), "DELETE": ("delete",)}
ACTIONS = {
    "accept", "answer", "ask", "check", "complete", "create", "decline", "forget", "mute", "recover", "renounce",
    "resend", "revoke", "rotate", "send", "test", "thank", "unmute", "verify", "withdraw",
}  # fmt: skip
"""What a POST can do, by the first word of its operationId."""


def test_the_name_of_an_operation_says_what_it_does() -> None:
    for route in ROUTES:
        verb = re.match("[a-z]+", route.operation)
        assert verb is not None and verb[0] in VERBS.get(route.method, ACTIONS), route.operation
        is_list = "items" in getattr(route.answer, "model_fields", ())
        assert (verb[0] == "list") is is_list, route.operation


def test_every_list_has_items_and_a_next_cursor() -> None:
    for route in ROUTES:
        members = set(getattr(route.answer, "model_fields", ()))
        assert "cursor" not in members, route.operation
        if "items" in members and route.query is not None:
            assert "next_cursor" in members and {"cursor", "limit"} <= set(route.query.model_fields), route.operation


def by_path() -> list[Any]:
    """The routes in the order of the document: those of one path stand together."""
    paths = list(dict.fromkeys(route.path for route in ROUTES))
    return sorted(ROUTES, key=lambda route: paths.index(route.path))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_an_engineer_finds_a_route_explained(route: Any) -> None:
    made = dict(operations())[f"{route.method} /v1/business{route.path}"]
    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", route.operation)
    assert re.fullmatch(r"[A-Z][^.\n]{5,70}[^.\n ]", route.summary), "a summary is a line"
    assert "scope" in made["description"] or route.scope is None
    for parameter in made.get("parameters", ()):
        assert parameter["description"], parameter["name"]
    for status in refusals(route):
        assert str(status) in made["responses"]
    assert all(code in CODES for code in route.codes)
    assert route.body is None or route.operation in EXAMPLES, "an example for the page, and for the tests"


def test_every_example_is_what_its_route_takes() -> None:
    takes = {route.operation: route.body for route in ROUTES if route.body is not None}
    assert set(EXAMPLES) <= set(takes) and set(LINES) <= set(takes)
    for operation, example in EXAMPLES.items():
        TypeAdapter(takes[operation]).validate_json(json.dumps(example))
    for operation, lines in LINES.items():
        for line in lines.splitlines():
            TypeAdapter(takes[operation]).validate_json(line)


def test_schemas_have_names_for_people_and_nothing_is_null() -> None:
    schemas = MADE["components"]["schemas"]
    assert [name for name in schemas if not re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)] == []
    assert [name for name, schema in schemas.items() if '"null"' in json.dumps(schema)] == []
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []


def properties() -> list[tuple[str, str, dict[str, Any]]]:
    """(schema, member, the member's schema) of all members, references resolved."""
    schemas = MADE["components"]["schemas"]
    return [
        (schema, name, schemas[member["$ref"].rpartition("/")[2]] if "$ref" in member else member)
        for schema, made in schemas.items()
        for name, member in made.get("properties", {}).items()
    ]


def test_whatever_has_an_id_says_what_it_is_and_its_states_are_those_of_the_page() -> None:
    """BIZ-17."""
    kinds = {schema: made["const"] for schema, name, made in properties() if name == "object"}
    page = {kind: set(re.findall(r"[a-z_]+", states.partition(",")[0])) for kind, _, states in table(*RESOURCES)}
    terms = {"NewTerms", "ProposedTerms", "AgreementTerms"}
    assert {schema for schema, name, _ in properties() if name == "id"} - terms <= set(kinds)
    assert set(kinds.values()) == {*page, "list", "self", "favours", "report", "webhook_secret"}
    for schema, name, made in properties():
        if name == "status" and schema not in ("Problem", "AskPermission", "TimelineItem"):
            states = set(made["enum"]) if "enum" in made else {made["const"]}
            assert states <= page[kinds[schema]], schema


RESOURCES = ("business", "object", "id", "status")


def test_a_time_is_named_for_what_happens_then_and_is_never_a_number() -> None:
    """BIZ-12, BIZ-17."""
    is_time = re.compile(r".*(_at|_until|_since|_by)|since|timestamp")
    by_whom = {"done_by", "ended_by", "offered_by", "unconfirmed_by"}
    for schema, name, made in properties():
        times = made.get("format") == "date-time" or made.get("pattern", "").startswith(r"^\d{4}-\d\d-\d\dT")
        if name not in by_whom:
            assert times == bool(is_time.fullmatch(name)), (schema, name)


def test_every_code_is_explained_once() -> None:
    explained = [code for codes in ADVICE.values() for code in codes]
    assert sorted(explained) == sorted(CODES)
