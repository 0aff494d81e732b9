"""What may reach a business, what it says no to, and what it keeps of a relationship; with its key here or at home.

Rules of spec/business-messages.md: SAY-5, SAY-10, SAY-11, SAY-14.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comity.crypto.encryption import decrypt_body
from comity.documents.acts import NARROWING, Remember, open_act
from comity.rules.next_act import compose_act
from comity_server.api.business.routes import ROUTES
from comity_server.writer.unit_of_work import UnitOfWork
from support.business_world import Shop, a_shop
from support.world import DAY, HOUR, Pair, World, a_world, body_of, eventually


def due(world: World, ahead: int) -> str:
    """A time so many ms ahead, as requests have it."""
    return datetime.fromtimestamp((world.now() + ahead) // 1000, UTC).isoformat()


async def test_each_side_reads_that_the_other_is_away_in_place_of_muted(tmp_path: Path) -> None:
    """AWAY-1, AWAY-2, over REST."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at = f"/connections/{pair.cid}"
        problem = await shop.ask("POST", f"{at}/mute", {"reason": "away"})
        assert problem.code == "invalid_request"
        end = (world.now() + 14 * DAY) // 1000
        await shop.post(f"{at}/mute", {"reason": "away", "ends_at": datetime.fromtimestamp(end, UTC).isoformat()})
        seen = (await pair.seen("second")).json["state"]["first"]["mutes"]
        assert [(it["why"], it["until"]) for it in seen] == [("away", end)]
        await pair.go("second", "mute", until=end, why="away")
        shown = await shop.get(at)
        assert [it["reason"] for side in ("us", "them") for it in shown[side]["mutes"]] == ["away", "away"]
        assert [it["reason"] for it in (await shop.get("/connections"))["items"][0]["mutes"]] == ["away"]
        (told,) = (await shop.get("/notifications?order=oldest&types=connection.muted"))["items"]
        assert told["data"]["reason"] == "away" and told["data"]["ends_at"]
        held = await shop.ask("POST", f"{at}/messages", {"purpose": "care", "text": "Back soon?"})
        assert (held.status, held.json["verdict"]["reason"], held.json["status"]) == (202, "not_now", "held")
        items = (await shop.get(f"{at}/timeline"))["items"]
        assert sum(it.get("status") == "away" for it in items) == 2


async def test_a_shop_notes_a_little_thing_in_the_form_that_every_wallet_knows(tmp_path: Path) -> None:
    """NOTE-1 to NOTE-3, over REST."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at = f"/connections/{pair.cid}/notes"
        await shop.post(at, {"key": "receipt", "value": "paper"})
        times = {"zone": "Europe/Berlin", "windows": [{"days": ["mo"], "start": "18:00", "end": "20:00"}]}
        await shop.post(at, {"key": "contact_time", "value": times, "text": "After work."})
        await shop.post(at, {"key": "no_interest", "topic": "shutters"})
        acts = [open_act(it["act"], world.server.directory.find_key) for it in (await pair.news("second"))["items"][1:]]
        notes = [it.payload for it in acts if isinstance(it.payload, Remember)]
        key = pair.signers["second"].key
        assert [it.body and decrypt_body(it.body, pair.cid, key) for it in notes] == [
            {"value": "paper"}, {"value": times, "text": "After work."}, None,
        ]  # fmt: skip
        for body, pointer in (
            ({"key": "receipt", "value": "fax"}, "/value"),
            ({"key": "receipt", "text": "on paper, please"}, "/value"),
            ({"key": "language", "value": ["de", "de"]}, "/value"),
            ({"key": "contact_time", "value": {**times, "zone": "../etc"}}, "/value/zone"),
            ({"key": "lang", "value": ["de"]}, "/key"),
            ({"key": "no_interest"}, "/topic"),
            ({"key": "hair", "value": {"a": 1}}, "/value"),
        ):
            problem = await shop.ask("POST", at, body)
            assert problem.code == "invalid_request" and [it["pointer"] for it in problem.json["errors"]] == [pointer]


async def test_a_hairdresser_is_away_and_back_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        at = f"/connections/{pair.cid}"
        given = await shop.post(f"{at}/grants", {
            "purposes": ["care", "favour"], "channels": ["app"], "expires_at": due(world, DAY),
            "budget": {"max": 5, "per": "week"},
        })  # fmt: skip
        status = world.server.store.state
        state = await status(pair.cid)
        assert state is not None and given["id"].encode() in state.state
        await pair.go("second", "message", purpose="care")
        muted = await shop.post(f"{at}/mute", {"ends_at": due(world, HOUR)})
        held = await world.act(pair.compose("second", "message", purpose="care", if_muted="fail"))
        assert held.code == "not_now" and held.json["until"]
        some = await shop.post(f"{at}/mute", {"purposes": ["complaint"], "channels": ["app"]})
        assert some["id"] != muted["id"]
        assert await shop.refused("POST", f"{at}/unmute", {"mute": given["id"]}) == "no_such_mute"
        await shop.post(f"{at}/unmute", {"mute": muted["id"]})
        await pair.go("second", "message", purpose="care")
        await shop.post(f"{at}/unmute", {})
        await pair.go("second", "message", purpose="complaint")
        await shop.post(f"{at}/withdraw", {"grant": given["id"]})
        assert await pair.refused("second", "message", purpose="care") == "no_grant"
        assert await shop.refused("POST", f"{at}/withdraw", {"grant": given["id"]}) == "no_such_grant"
        ended = await shop.ask("POST", f"{at}/revoke")
        assert ended.status == 201 and ended.headers["Location"].endswith(ended.json["id"])
        assert await pair.refused("second", "message", purpose="complaint") == "connection_ended"
        for what in ("mute", "unmute"):
            assert await shop.refused("POST", f"{at}/{what}", {}) == "connection_ended"


async def test_a_grant_that_is_refused_leaves_no_index_behind(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_reserved=1) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        grant = {"purposes": ["care"], "channels": ["app"], "expires_at": due(world, -HOUR)}
        for _ in range(3):
            assert await shop.refused("POST", f"/connections/{pair.cid}/grants", grant) == "grant_expired"
        first = await shop.post(f"/connections/{pair.cid}/grants", {**grant, "expires_at": due(world, DAY)})
        wider = {**grant, "expires_at": due(world, DAY), "replaces": first["id"], "data": ["phone"], "value": "tea"}
        second = await shop.post(f"/connections/{pair.cid}/grants", wider)
        assert await shop.refused("POST", f"/connections/{pair.cid}/withdraw", {"grant": first["id"]}) == (
            "no_such_grant"
        )
        await shop.post(f"/connections/{pair.cid}/withdraw", {"grant": second["id"]})


async def test_two_signed_grants_of_one_group_do_not_share_an_index(tmp_path: Path) -> None:
    """STATUS-3: sharing it, the withdrawal of one would end both, and hide that the other goes on."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        place = {"status_list": await pair.index("first")}
        given = {"exp": (world.now() + DAY) // 1000, "channels": ("app",), "status": place}
        care = pair.compose("first", "grant", purposes=("care",), **given)
        base = {name: getattr(care.payload, name) for name in ("iss", "aud", "iat", "cid")}
        place_in_chain = {"seq": care.payload.seq + 1, "prev": care.id}
        sales = compose_act("grant", pair.signers["first"], **base, **place_in_chain, purposes=("sales",), **given)
        path = f"/connections/{pair.cid}/grants"
        accept, goes_on = world.server.writer, asyncio.Event()
        holding = asyncio.create_task(accept.command(lambda _group: goes_on.wait()))
        waiting = []
        for number, act in enumerate((care, sales), 1):
            waiting.append(asyncio.create_task(shop.ask("POST", path, jws=act.raw)))
            while accept.weight <= number:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # what was let in is opened before it can be in a group
        goes_on.set()
        await holding
        first, second = await asyncio.gather(*waiting)
        assert first.status == 201 and second.code == "index_not_reserved"


def test_every_no_has_a_route_that_gets_in() -> None:
    # A business that keeps its key here shows the end of a mute, so there is no hidden end to set.
    assert {route.act for route in ROUTES if route.act and route.narrows} == NARROWING - {"mute_end"}


async def nothing(_group: UnitOfWork) -> None:
    """Changes nothing; done when all that came before it is."""


@asynccontextmanager
async def full(world: World) -> AsyncIterator[None]:
    """While this lasts, the writer is held up and its queue is full, but for what is kept for a no."""
    go_on = asyncio.Event()

    async def wait(_group: UnitOfWork) -> None:
        await go_on.wait()

    accept = world.server.writer
    waiting = asyncio.ensure_future(accept.command(wait))
    await asyncio.sleep(0)
    others = accept.room.size - accept.room.taken
    accept.room.taken += others
    try:
        yield
    finally:
        accept.room.taken -= others
        go_on.set()
        await waiting


async def test_a_no_gets_in_when_the_queue_is_full_and_the_rate_is_used_up(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_queue=64, business_rate=3) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at = f"/connections/{pair.cid}"
        # The first use of a key is written down by a command of its own: it must be over before the queue fills.
        await shop.get("/self")
        await world.server.writer.command(nothing)
        async with full(world):
            assert await shop.refused("POST", f"{at}/messages", {"purpose": "care", "text": "Hello"}) == "overloaded"
            before = world.server.writer.weight
            mute = asyncio.create_task(shop.ask("POST", f"{at}/mute", {}))
            revoke = asyncio.create_task(shop.ask("POST", f"{at}/revoke"))

            async def both_wait() -> bool:
                return world.server.writer.weight == before + 2

            await eventually(both_wait)
            assert await shop.refused("POST", f"{at}/messages", {"purpose": "care", "text": "Hello"}) == "rate_limited"
        assert ((await mute).status, (await revoke).status) == (201, 201)
        assert await shop.refused("GET", "/self") == "rate_limited"


async def test_dates_that_are_a_slip_are_pointed_to(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("sales")
        at = f"/connections/{pair.cid}"
        grant = {"purposes": ["care"], "channels": ["app"], "expires_at": "3108-01-01T00:00:00Z"}
        reply = await shop.ask("POST", f"{at}/grants", grant)
        assert (reply.code, reply.json["detail"]) == ("grant_expired", "a grant ends within ten years")
        stone = {"kind": "installed", "topic": "windows", "happened_at": due(world, -DAY)}
        for changes, pointer in (
            ({"happened_at": due(world, 2 * DAY)}, "/happened_at"),
            ({"lasts_until": due(world, -2 * DAY)}, "/lasts_until"),
        ):
            reply = await shop.ask("POST", f"{at}/milestones", {**stone, **changes})
            assert (reply.code, reply.json["errors"][0]["pointer"]) == ("invalid_request", pointer)
        await shop.post(f"{at}/milestones", {**stone, "lasts_until": due(world, -DAY)})


async def test_nobody_is_sold_the_window_she_already_has(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("sales")
        at = f"/connections/{pair.cid}"
        sale = {"purpose": "sales", "topic": "windows.roof", "text": "A window for your roof?"}
        await shop.post(f"{at}/messages", sale)
        bought = {
            "kind": "installed",
            "topic": "windows.roof",
            "happened_at": due(world, -DAY),
            "lasts_until": due(world, 30 * DAY),
        }
        await shop.post(f"{at}/milestones", {**bought, "text": "Two of them, by the stairs"})
        assert await shop.refused("POST", f"{at}/messages", sale) == "already_has"
        await shop.post(f"{at}/notes", {"key": "paper_receipt"})
        await shop.post(f"{at}/notes", {"key": "hair", "topic": "colour", "text": "<b>Not too dark</b>"})
        await shop.post(f"{at}/notes/forget", {"key": "hair", "topic": "colour"})
        assert await shop.refused("POST", f"{at}/notes/forget", {"key": "hair"}) == "nothing_remembered"
        await pair.go("second", "mute")
        # Words do not pass a mute by way of what is remembered; facts without words do.
        assert await shop.refused("POST", f"{at}/notes", {"key": "hair", "text": "Call us!"}) == "not_now"
        assert await shop.refused("POST", f"{at}/milestones", {**bought, "text": "Call us!"}) == "not_now"
        await shop.post(f"{at}/notes", {"key": "hair"})
        stated = await shop.post(f"{at}/contacts", {"channel": "phone", "purpose": "sales", "topic": "doors"})
        assert (stated["verdict"]["decision"], stated["verdict"]["reason"]) == ("refuse", "no_grant")
        wrong = {"channel": "app", "purpose": "no such purpose", "topic": "Doors", "why": "because"}
        reply = await shop.ask("POST", f"{at}/contacts", wrong)
        assert {it["pointer"] for it in reply.json["errors"]} == {f"/{name}" for name in wrong}
        assert await pair.kinds("second") == [
            "opened", "message", "milestone", "remember", "remember", "forget", "remember", "contacted",
        ]  # fmt: skip


ACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "message": ("messages", {"purpose": "care"}),
    "contacted": ("contacts", {"channel": "phone", "purpose": "care"}),
    "ask": ("favours", {}),
    "mute": ("mute", {}),
    "unmute": ("unmute", {}),
    "grant": ("grants", {}),
    "withdraw": ("withdraw", {}),
    "remember": ("notes", {"key": "paper_receipt"}),
    "forget": ("notes/forget", {"key": "language"}),
    "milestone": ("milestones", {"kind": "bought", "topic": "tea"}),
    "answer": ("favours/{ask}/answer", {"answer": "yes"}),
    "done": ("favours/{ask}/done", {}),
    "thank": ("favours/{ask}/thank", {}),
    "feedback": ("feedback", {"says": "thanks", "purpose": "complaint"}),
    "renounce": ("renounce", {"because": "told_us"}),
    "revoke": ("revoke", {}),
}
"""Kind of act → the route that does it, and its fields."""


async def its_own(world: World) -> tuple[Shop, Pair]:
    """A business that keeps its signing key itself, and a customer."""
    signer = await world.business("own")
    shop = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
    pair = await world.connect(signer, world.person())
    await pair.grant("second", "care", "favour")
    return shop, pair


async def made_ready(pair: Pair, kind: str) -> dict[str, Any]:
    """What an act of that kind needs to be there before, and its fields."""
    now = pair.world.now() // 1000
    if kind == "answer":
        await pair.grant("first", "favour")
        return {"ask": (await pair.go("second", "ask")).id}
    if kind == "done":
        # The one that was promised a moment ago.
        assert pair.state.second.ask is not None
        return {"ask": pair.state.second.ask.id}
    if kind == "thank":
        # The one that was asked a while ago.
        assert pair.state.first.ask is not None
        ask = pair.state.first.ask.id
        await pair.go("second", "answer", ask=ask, answer="yes")
        await pair.go("second", "done", ask=ask)
        return {"ask": ask}
    if kind == "unmute":
        await pair.go("first", "mute")
    elif kind == "withdraw":
        return {"grant": (await pair.grant("first", "care")).id}
    elif kind == "feedback":
        return {"message": (await pair.go("second", "message", purpose="complaint")).id}
    elif kind == "renounce":
        return {"grants": (pair.state.second.grants[0].id,)}
    elif kind == "forget":
        await pair.go("first", "remember", key="language")
    elif kind == "milestone":
        return {"when": now}
    elif kind == "grant":
        status = {"status_list": await pair.index("first")}
        return {"exp": now + 86_400, "channels": ("app",), "purposes": ("care",), "status": status}
    return {}


async def test_an_engineer_who_keeps_the_key_sends_each_act_to_the_same_route(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, pair = await its_own(world)
        assert set(ACTS) == {route.act for route in ROUTES if route.act and route.act != "erasure"}
        for kind, (route, fields) in ACTS.items():
            ready = await made_ready(pair, kind)
            written = {"body": body_of(pair.cid)} if kind in ("milestone", "thank") else {}
            act = pair.compose("first", kind, **fields, **ready, **written)
            path = f"/connections/{pair.cid}/{route.format(**ready)}"
            if kind != "revoke":
                unsigned = await shop.refused("POST", path, JSON_BODIES[kind])
                assert unsigned == "signing_key_not_kept", kind
            reply = await shop.ask("POST", path, jws=act.raw)
            assert reply.status == 201, (kind, reply)
            assert reply.json["id"] == act.id, kind
            if kind in ("message", "contacted"):
                assert reply.json["verdict"]["decision"] == ("allow" if kind == "message" else "refuse")
            # The same act again gets its first answer; what was decided then is not decided again.
            again = await shop.ask("POST", path, jws=act.raw)
            assert again.status == 201, (kind, again)
            assert again.json == {name: value for name, value in reply.json.items() if name != "verdict"}, kind
            answer = await world.read(pair.signers["first"], f"/v1/acts/{act.id}")
            pair.take(answer.json["event"], act)


HASH = "A" * 43
JSON_BODIES: dict[str, Any] = {
    "message": {"purpose": "care", "text": "Hello"},
    "contacted": {"channel": "phone", "purpose": "care"},
    "ask": {"kind": "hold", "effort": "minute", "text": "Please"},
    "feedback": {"message": HASH, "says": "thanks"},
    "renounce": {"grants": [HASH], "reason": "told_us"},
    "mute": {},
    "unmute": {},
    "grant": {"purposes": ["care"], "channels": ["app"], "expires_at": "2030-01-01T00:00:00Z"},
    "withdraw": {"grant": HASH},
    "remember": {"key": "paper_receipt", "text": "yes"},
    "forget": {"key": "language"},
    "milestone": {"kind": "bought", "topic": "tea", "happened_at": "2024-06-01T00:00:00Z"},
    "answer": {"answer": "yes"},
    "done": None,
    "thank": {"text": "Thanks"},
}


async def test_an_act_that_an_engineer_signs_must_fit_its_route_its_connection_and_the_gate(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, pair = await its_own(world)
        other = await a_shop(world)
        path = f"/connections/{pair.cid}/messages"
        await pair.go("second", "mute")
        refused = await shop.ask("POST", path, jws=pair.compose("first", "message", if_muted="fail").raw)
        assert refused.code == "not_now" and refused.json["verdict"]["reason"] == "not_now"
        assert "draft" not in refused.json and (await shop.get("/drafts"))["items"] == []
        message = pair.compose("first", "message")
        assert await shop.refused("POST", f"/connections/{pair.cid}/mute", jws=message.raw) == "invalid_request"
        elsewhere = await world.connect(pair.signers["first"], world.person())
        assert await shop.refused("POST", f"/connections/{elsewhere.cid}/messages", jws=message.raw) == "not_found"
        assert await other.refused("POST", path, jws=message.raw) == "not_found"
        theirs = pair.compose("second", "message")
        assert await shop.refused("POST", path, jws=theirs.raw) == "not_found"
        ask = pair.compose("first", "answer", ask=message.id, answer="no")
        route = f"/connections/{pair.cid}/favours/{HASH}/answer"
        reply = await shop.ask("POST", route, jws=ask.raw)
        assert (reply.code, reply.json["errors"][0]["pointer"]) == ("invalid_request", "/ask")
        held = await shop.ask("POST", path, jws=message.raw)
        assert (held.status, held.json["status"], held.json["verdict"]["decision"]) == (202, "held", "hold")


@pytest.mark.parametrize("what", ["mute", "revoke", "withdraw", "notes/forget", "grants", "contacts", "favours"])
async def test_a_connection_of_another_business_is_not_found(tmp_path: Path, what: str) -> None:
    kinds = {route: kind for kind, (route, _) in ACTS.items()}
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        pair = await shop.customer()
        body = JSON_BODIES.get(kinds[what])
        replies = [await other.ask("POST", f"/connections/{cid}/{what}", body) for cid in (pair.cid, HASH)]
        assert replies[0].code == "not_found" and replies[0].plain == replies[1].plain
