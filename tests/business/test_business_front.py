"""What every route of the business side does before it looks at anything: keys, limits, scopes, shapes."""

import gzip
import json
from pathlib import Path
from typing import Any

from comity.crypto.encryption import decrypt_body
from comity.encoding import b64u_decode
from comity.http_api import EVENT_STREAM, JSON, JSON_LINES, JWT
from comity_server.limits.rate_limits import SPARE
from support.business_world import EXAMPLE_OFFER, a_shop
from support.world import Pair, a_world


async def test_an_engineer_sees_who_the_key_speaks_for(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        told = await shop.get("/self")
        assert (told["business"], told["did"], told["role"], told["signing"]) == ("shop", shop.did, "owner", "kept")


async def test_a_key_that_is_none_gets_one_answer_and_is_told_what_is_wanted(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        replies = [await shop.ask("GET", "/self", key=key) for key in ("ck_live_" + "A" * 43, "x", shop.key[:-1])]
        assert {reply.plain for reply in replies} == {replies[0].plain}
        assert replies[0].code == "api_key_required"
        assert replies[0].headers["WWW-Authenticate"].startswith("Bearer")
        assert replies[0].json["documentation"] == f"{world.origin}/docs/errors#api_key_required"
        assert await shop.refused("GET", "/self", key="ck_test_" + "A" * 43) == "no_sandbox"


async def test_every_answer_names_the_request_and_what_is_left_of_the_rate(tmp_path: Path) -> None:
    async with a_world(tmp_path, business_rate=3) as world:
        shop = await a_shop(world)
        replies = [await shop.ask("GET", "/self") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert len({reply.headers["X-Request-Id"] for reply in replies}) == 4
        assert replies[0].headers["RateLimit-Policy"] == '"api-key";q=3;w=60'
        assert replies[0].headers["RateLimit"] == '"api-key";r=2;t=60'
        assert replies[3].code == "rate_limited" and 1 <= int(replies[3].headers["Retry-After"]) <= 61


async def test_a_no_that_says_nothing_new_is_limited_and_one_that_closes_something_is_not(tmp_path: Path) -> None:
    """A key that ran wild mutes the same customer over and over; whoever sees it can still stop all else (CONN-24)."""
    async with a_world(tmp_path, business_rate=2) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at = f"/connections/{pair.cid}"
        replies = [await shop.ask("POST", f"{at}/mute", {"purposes": ["favour"]}) for _ in range(2 + SPARE + 3)]
        assert [reply.status for reply in replies[: 2 + SPARE]] == [201] * (2 + SPARE)
        assert {reply.code for reply in replies[2 + SPARE :]} == {"rate_limited"}
        assert 1 <= int(replies[-1].headers["Retry-After"]) <= 60
        narrower = {"purposes": ["favour.review"], "channels": ["app"]}
        assert await shop.refused("POST", f"{at}/mute", narrower) == "rate_limited"
        await shop.post(f"{at}/mute", {"purposes": ["complaint"]})
        await shop.post(f"{at}/mute", {})
        assert await shop.refused("POST", f"{at}/mute", {"purposes": ["renewal"]}) == "rate_limited"
        assert await shop.refused("POST", f"{at}/unmute", {}) == "rate_limited"
        await shop.post(f"{at}/revoke")


async def test_a_business_whose_rate_is_used_up_takes_back_what_it_gave(tmp_path: Path) -> None:
    async with a_world(tmp_path, business_rate=5) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at = f"/connections/{pair.cid}"
        given = {"purposes": ["favour"], "channels": ["app"], "expires_at": "2024-12-31T17:00:00Z"}
        grant = (await shop.post(f"{at}/grants", given))["id"]
        await shop.post(f"{at}/notes", {"key": "paper_receipt"})
        theirs = pair.state.second.grants[0].id
        while (await shop.ask("GET", "/self")).status == 200:
            pass
        for _ in range(SPARE):
            await shop.ask("POST", f"{at}/notes/forget", {"key": "language"})
        assert await shop.refused("POST", f"{at}/notes/forget", {"key": "language"}) == "rate_limited"
        await shop.post(f"{at}/withdraw", {"grant": grant})
        await shop.post(f"{at}/notes/forget", {"key": "paper_receipt"})
        renounced = {"grants": [theirs], "reason": "told_us", "channels": ["app"]}
        await shop.post(f"{at}/renounce", renounced)
        assert await shop.refused("POST", f"{at}/renounce", renounced) == "rate_limited"
        assert await shop.refused("POST", f"{at}/withdraw", {"grant": grant}) == "rate_limited"


async def test_keys_outlive_a_restart(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        await shop.get("/self")
        await world.stop()
        await world.start()
        assert (await shop.get("/self"))["signing"] == "kept"


async def test_a_packed_body_is_refused_before_a_line_of_it_is_read(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        shop.headers["Content-Encoding"] = "gzip"
        question = json.dumps({"connection": pair.cid, "purpose": "care"}).encode() + b"\n"
        ways = (
            ("POST", "/check", JSON_LINES), ("POST", "/check", JSON), ("POST", f"/connections/{pair.cid}/mute", JSON),
            ("POST", f"/connections/{pair.cid}/mute", JWT), ("POST", f"/connections/{pair.cid}/revoke", JWT),
            ("DELETE", "/keys/key_x", JSON),
        )  # fmt: skip
        for method, path, kind in ways:
            reply = await shop.ask(method, path, raw=gzip.compress(question * 50), kind=kind)
            assert reply.code == "unsupported_media_type", (path, kind, reply)
            assert reply.headers["Accept-Encoding"] == "identity"
        shop.headers["Content-Encoding"] = "identity"
        assert (await shop.ask("POST", "/check", raw=question, kind=JSON)).json["decision"] == "allow"


async def test_a_text_from_windows_is_sent_with_plain_line_ends(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        offer = {**EXAMPLE_OFFER, "agreements": [{**EXAMPLE_OFFER["agreements"][0], "text": "One.\r\nTwo.\r\n"}]}
        made = await shop.post("/offers", offer)
        shown = await shop.get(f"/offers/{made['id']}")
        assert shown["agreements"][0]["text"] == "One.\nTwo.\n"
        pair = await shop.customer("care", "favour")
        words = {"text": "One.\r\nTwo.", "body": {"more": ["a\r\nb", {"n": 1, "c": "\r\n"}]}}
        at = f"/connections/{pair.cid}"
        sent = await shop.post(f"{at}/messages", {"purpose": "care", **words})
        assert await read(pair, sent["id"]) == {"text": "One.\nTwo.", "more": ["a\nb", {"n": 1, "c": "\n"}]}
        kept = await shop.post(f"{at}/notes", {"key": "colour", "value": "blue\r\ngreen", "text": "x\r\ny"})
        assert await read(pair, kept["id"]) == {"value": "blue\ngreen", "text": "x\ny"}
        # A carriage return by itself overwrites a line on a terminal; and a name has one line.
        assert await shop.refused("POST", f"{at}/messages", {"purpose": "care", "text": "a\rb"}) == "invalid_request"
        assert await shop.refused("POST", "/offers", {**offer, "name": "Clear\r\nView"}) == "invalid_request"


async def read(pair: Pair, act: str) -> Any:
    """The words of an act of the business, as its customer reads them."""
    stored = await pair.world.server.store.act(act)
    assert stored is not None
    body = json.loads(b64u_decode(stored.raw.split(".")[1]))["body"]
    return decrypt_body(body, pair.cid, pair.signers["second"].key)


async def test_each_fault_says_in_which_part_of_the_request_it_is(tmp_path: Path) -> None:
    """BIZ-10."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)

        async def faults(method: str, path: str, body: Any = None, **how: Any) -> list[tuple[str, str]]:
            reply = await shop.ask(method, path, body, **how)
            assert (reply.status, reply.code) == (400, "invalid_request"), reply
            assert all(fault["detail"] for fault in reply.json["errors"])
            return [(fault["in"], fault["pointer"]) for fault in reply.json["errors"]]

        assert await faults("GET", "/connections?limit=0&order=up") == [("query", "limit"), ("query", "order")]
        assert await faults("GET", "/keys?limit=1&limit=2") == [("query", "limit")]
        assert await faults("GET", "/keys?cursor=AAAA") == [("query", "cursor")]
        assert await faults("GET", "/notifications?wait=3") == [("query", "wait")]
        assert await faults("GET", "/self?who=me") == [("query", "")]
        key = {"label": "till", "role": "chef", "more": 1}
        assert await faults("POST", "/keys", key) == [("body", "/role"), ("body", "/more")]
        assert await faults("POST", "/keys", raw=b"{") == [("body", "")]
        assert await faults("POST", "/keys", {"label": "till", "role": "agent"}, again="x" * 129) == [
            ("header", "Idempotency-Key")
        ]
        shop.headers.update({"Accept": EVENT_STREAM, "Last-Event-ID": "AAAA"})
        assert await faults("GET", "/notifications") == [("header", "Last-Event-ID")]


async def test_what_is_not_there_is_named_and_looks_as_if_it_were_anothers(tmp_path: Path) -> None:
    """BIZ-13."""
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        theirs, nobodys = (await other.customer()).cid, "A" * 43
        details = {
            "/connections/{}": "No connection with this id.",
            "/connections/{}/timeline": "No connection with this id.",
            "/keys/{}/rotate": "No API key with this id.",
            "/offers/{}": "No offer with this id.",
            "/proposals/{}/accept": "No proposal with this id.",
            "/drafts/{}": "No draft with this id.",
            "/webhooks/{}": "No webhook endpoint with this id.",
        }
        for path, detail in details.items():
            method = "POST" if path.endswith(("rotate", "accept")) else "GET"
            replies = [await shop.ask(method, path.format(id_)) for id_ in (theirs, nobodys)]
            assert [(reply.code, reply.json["detail"]) for reply in replies] == [("not_found", detail)] * 2
        pair = await shop.customer()
        assert (await shop.ask("GET", f"/connections/{pair.cid}/acts/{nobodys}")).json["detail"] == (
            "No act with this id."
        )
        asked = {"connection": theirs, "purpose": "care"}
        assert (await shop.ask("POST", "/check", asked)).json["detail"] == "No connection with this id."
        assert (await shop.ask("POST", "/proposals", {"offer": "A" * 12})).json["detail"] == "No offer with this id."
