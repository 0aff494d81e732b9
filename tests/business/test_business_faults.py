"""What an engineer reads about a request that cannot be read: every fault, where it is, and in words.

Rules of spec/business.md: BIZ-10.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from comity.documents.types import parse_model
from comity.errors import Malformed
from comity_server.api.business.endpoints.offers import NewOffer
from comity_server.api.business.endpoints.webhook_schemas import NewWebhook
from comity_server.api.business.outgoing import NewMessage
from support.business_world import a_shop
from support.world import a_world


def told(model: Any, body: Any) -> dict[str, str]:
    with pytest.raises(Malformed) as refused:
        parse_model(TypeAdapter(model), json.dumps(body).encode())
    found = dict(refused.value.errors)
    assert len(found) == len(refused.value.errors), "one fault for each place"
    return found


def test_an_engineer_reads_what_is_wrong_with_each_member_without_knowing_patterns() -> None:
    faults = told(
        NewMessage,
        {
            "purpose": "Care!",
            "topic": "No Topic",
            "text": "a\u202eb",
            "if_muted": "wait",
            "expires_at": "tomorrow",
            "reply_to": "x",
            "colour": "red",
        },
    )
    assert faults == {
        "/purpose": "must be lower-case words with dots between, as care.checkin",
        "/topic": "must be lower-case words with dots between, as windows.kitchen",
        "/text": "must have no control characters and no bidirectional overrides",
        "/if_muted": "must be 'hold', 'drop' or 'fail'",
        "/expires_at": "a time as in RFC 3339 is wanted, with its offset or Z",
        "/reply_to": "must be an id: 43 characters of base64url",
        "/colour": "is not a known member",
    }
    assert told(NewMessage, {"text": 5}) == {"/purpose": "is missing", "/text": "must be a text"}
    assert told(NewMessage, {"purpose": "care", "text": ""}) == {"/text": "must have at least 1 character"}
    assert told(NewMessage, []) == {"": "must be an object"}


def test_a_list_is_not_called_empty_because_of_what_is_wrong_in_it() -> None:
    offer = {"name": "Shop", "agreements": [{"id": 3}], "purposes": [], "use": "many", "expires_at": 5}
    faults = told(NewOffer, offer)
    assert faults["/purposes"] == "must have at least 1 item"
    assert "/agreements" not in faults and faults["/agreements/0/id"] == "must be a text"


def test_a_type_that_no_event_has_is_pointed_to_where_it_stands_once() -> None:
    faults = told(NewWebhook, {"url": "https://hooks.shop.example/", "types": ["grant.given", "nope"]})
    assert list(faults) == ["/types/1"] and faults["/types/1"].startswith("must be 'offer.received'")


def test_null_is_pointed_to_together_with_all_other_faults() -> None:
    body = {"purpose": "care", "text": None, "body": {"a/b": [1, None]}, "if_muted": "wait"}
    never = "must be left out where it has no value, not null"
    faults = told(NewMessage, body)
    assert faults == {"/text": never, "/body/a~1b/1": never, "/if_muted": "must be 'hold', 'drop' or 'fail'"}


async def test_a_body_where_none_is_wanted_is_refused(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        done = f"/connections/{'A' * 43}/favours/{'A' * 43}/done"
        reply = await shop.ask("POST", done, {"text": "done"})
        assert (reply.code, reply.json["detail"]) == ("invalid_request", "this route takes no body, or {}")
        reply = await shop.ask("POST", done, raw=b"done", kind="text/plain")
        assert (reply.code, reply.json["detail"]) == (
            "unsupported_media_type", "send application/json or application/jwt"
        )  # fmt: skip
