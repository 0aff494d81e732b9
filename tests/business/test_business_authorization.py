"""Who may do what, over every route of the table: made from it, so that no route can be forgotten (BIZ-9)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from comity.rules.next_act import compose_act
from comity_server.api.business.route import BUSINESS, Route
from comity_server.api.business.routes import ROUTES
from comity_server.businesses.roles import ROLES, SCOPES, Scope
from comity_server.store.sqlite import SQL
from support.business_objects import ROOMY, Things, is_about_something, never, places, receiver
from support.business_world import Shop, a_shop
from support.world import Reply, World, a_world, sqlite_of

ABOUT_SOMETHING = [route for route in ROUTES if is_about_something(route)]
_NAMES = {text: name for name, text in SQL.items()}
NO_CONTENT: tuple[dict[str, Any] | None, ...] = (None, {})
_BY_ITSELF = {"due_connections", "next_wake"}
"""What the server asks of its store whenever it likes."""


@asynccontextmanager
async def two_businesses(folder: Path) -> AsyncIterator[tuple[World, Things, Things]]:
    """A world with a business, and another one, which has everything that a business can have."""
    async with receiver() as hook, a_world(folder, **ROOMY) as world:
        yield world, Things(await a_shop(world, "ours"), hook), Things(await a_shop(world, "theirs"), hook)


@asynccontextmanager
async def a_business(folder: Path) -> AsyncIterator[tuple[World, Things]]:
    """A world with one business."""
    async with receiver() as hook, a_world(folder, **ROOMY) as world:
        yield world, Things(await a_shop(world), hook)


def sent(body: Any) -> dict[str, Any]:
    """How a body is sent: one that is a text is a JWS."""
    return {"jws": body} if isinstance(body, str) else {"body": body}


async def ask(shop: Shop, route: Route, path: dict[str, str], body: Any, key: str | None = None, **how: Any) -> Reply:
    """Ask a route, as whoever has the key. Every answer has what is promised of each."""
    reply = await shop.ask(route.method, route.path.format(**path), key=key, **sent(body), **how)
    assert reply.headers["X-Request-Id"], route.operation
    assert reply.status == 401 or (reply.headers["RateLimit"] and reply.headers["RateLimit-Policy"]), route.operation
    if reply.code:
        assert reply.json["documentation"] == f"{shop.world.origin}/docs/errors#{reply.code}", route.operation
    return reply


def told(reply: Reply) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer but what belongs to the single request."""
    own = {"x-request-id", "ratelimit", "date"}
    headers = sorted((name.lower(), value) for name, value in reply.headers.items() if name.lower() not in own)
    return reply.status, reply.plain, headers


@contextmanager
def questions(world: World) -> Iterator[list[str]]:
    """The names of the queries that the store is asked from here on, with nothing at hand already."""
    store, asked = sqlite_of(world.server), list[str]()
    world.server.writer._states.clear()
    connections = [store._writer, *store._readers]
    for connection in connections:

        async def run(duty: Any, *arguments: Any, _run: Any = connection.run) -> Any:
            name = _NAMES.get(arguments[0]) if arguments and isinstance(arguments[0], str) else None
            if name is not None and name not in _BY_ITSELF:
                asked.append(name)
            return await _run(duty, *arguments)

        connection.run = run  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        for connection in connections:
            del connection.run


def of_the_other(route: Route, ours: dict[str, str], theirs: dict[str, str]) -> list[dict[str, str]]:
    """The paths of a route that lead to something of another: all of it, and the last of it behind our own."""
    found = [theirs]
    if len(theirs) > 1:
        found.append({**ours, list(theirs)[-1]: list(theirs.values())[-1]})
    return found


def made_up(of: dict[str, str], ours: dict[str, str]) -> dict[str, str]:
    """The same path with what is not ours put in the place of what never was."""
    return {name: value if value == ours[name] else never(value) for name, value in of.items()}


async def test_objects_of_another_business_look_unknown_to_every_role_on_every_route(tmp_path: Path) -> None:
    async with two_businesses(tmp_path) as (world, ours, theirs):
        keys: dict[str, tuple[frozenset[Scope], str]]
        keys = {role: (ROLES[role], await ours.shop.key_of(role)) for role in ROLES}
        # Some scopes are every role's: of each, a key that lacks nothing else.
        narrowed = {scope: await ours.shop.key_of("owner", *(SCOPES - {scope})) for scope in SCOPES}
        asked: set[str] = set()
        for route in ABOUT_SOMETHING:
            own, others, body = await ours.path(route), await theirs.path(route), await theirs.body(route)
            unknown = body if others else {**body, "connection": never(body["connection"])}
            assert route.scope is not None
            keys["owner of the rest"] = (SCOPES - {route.scope}, narrowed[route.scope])
            for path in of_the_other(route, own, others):
                for who, (scopes, key) in keys.items():
                    where, may = f"{route.operation} as {who}", route.scope in scopes
                    with questions(world) as first:
                        seen = await ask(ours.shop, route, path, body, key)
                    with questions(world) as second:
                        void = await ask(ours.shop, route, made_up(path, own), unknown, key)
                    # In a connection of ours, an ask of another's is simply not there to be answered.
                    none = "no_such_ask" if path != others and "ask" in path else "not_found"
                    assert seen.code == (none if may else "scope_missing"), where
                    assert told(seen) == told(void), where
                    assert first == second, where
                    asked |= set(first)
                    if not may:
                        assert told(seen) == told(await ask(ours.shop, route, own, body, key)), where

        assert asked >= {"get_state", "get_business_offer", "get_draft"}, "the store was listened to"


async def test_its_scope_opens_a_route_and_no_other_does(tmp_path: Path) -> None:
    async with a_business(tmp_path) as (_world, ours):
        only = {scope: await ours.shop.key_of("owner", scope) for scope in SCOPES}
        for route in ROUTES:
            where = route.path.format(**dict.fromkeys(places(route), "x"))
            for scope, key in only.items():
                # Of a good key, the parameters are looked at next.
                code = await ours.shop.refused(
                    route.method, f"{where}?surprise=1", key=key, **sent(await ours.body(route))
                )
                assert code == ("invalid_request" if route.scope in (None, scope) else "scope_missing"), route.operation


async def test_an_engineer_who_signs_herself_reaches_no_object_of_another_business(tmp_path: Path) -> None:
    async with two_businesses(tmp_path) as (world, ours, theirs):
        signer = world.server.context.kept.newest(ours.shop.name)
        assert signer is not None
        mine, other = (await ours.pair()).cid, (await theirs.pair()).cid
        now, answers = world.now() // 1000, []
        for path, cid in ((other, other), (never(other), never(other)), (mine, other), (other, mine)):
            act = compose_act("revoke", signer, iss=signer.did, aud=ours.shop.did, iat=now, cid=cid, seq=0, prev=cid)
            answers.append(await ours.shop.ask("POST", f"/connections/{path}/revoke", jws=act.raw))
        assert answers[0].code == "not_found" and len({str(told(answer)) for answer in answers}) == 1
        for things in (ours, theirs):
            (seen,) = (await things.shop.get("/connections"))["items"]
            assert seen["status"] == "open"


async def test_without_a_good_key_every_route_says_the_same(tmp_path: Path) -> None:
    async with a_business(tmp_path) as (world, ours):
        ended = await ours.shop.key_of("owner", expires_at=world.now() - 1)
        answers = set()
        for route in ROUTES:
            path = dict.fromkeys(places(route), "x")
            for key in (ended, "ck_live_" + "A" * 43, "ck_live_"):
                reply = await ask(ours.shop, route, path, None, key)
                assert reply.code == "api_key_required", route.operation
                answers.add(str(told(reply)))
        assert len(answers) == 1


async def test_unknown_members_are_refused_with_a_pointer(tmp_path: Path) -> None:
    async with a_business(tmp_path) as (_world, ours):
        for route in ROUTES:
            path, body = await ours.path(route), await ours.body(route)
            where = route.path.format(**path)
            wrong = await ours.shop.ask(route.method, f"{where}?surprise=1", **sent(body))
            assert wrong.code == "invalid_request", route.operation
            if route.query is not None:
                assert {("query", "surprise")} == {(it["in"], it["pointer"]) for it in wrong.json["errors"]}
            if route.body is not None:
                odd = await ours.shop.ask(route.method, where, {**body, "surprise": 1})
                fault = odd.json["errors"][0]
                assert (odd.code, fault["in"], fault["pointer"]) == ("invalid_request", "body", "/surprise")
                bare = await ours.shop.ask(route.method, where, raw=b"{}", kind="text/plain")
                assert bare.code == "unsupported_media_type", route.operation


async def test_no_body_and_an_empty_object_say_the_same_on_every_route(tmp_path: Path) -> None:
    async with a_business(tmp_path) as (_world, ours):
        for route in ROUTES:
            members = {} if route.body is None else route.body.model_fields
            needed = {f"/{it.alias or name}" for name, it in members.items() if it.is_required()}
            answers = []
            for body in NO_CONTENT:
                # What is done here is done to a thing that was made for it.
                fresh = route.writes and not needed
                things = await Things(ours.shop, ours.hook).ready(route.operation) if fresh else ours
                reply = await ours.shop.ask(route.method, route.path.format(**await things.path(route)), body)
                if reply.code in ("invalid_request", "unsupported_media_type"):
                    faults = {it["pointer"] for it in reply.json.get("errors", ())}
                    # Of a signed text, and of several members one is needed, no member is named.
                    assert faults == needed if needed else route.signed_text or faults == {""}, (route.operation, reply)
                answers.append((reply.status, reply.code))
            assert answers[0] == answers[1], (route.operation, answers)


async def test_every_route_that_reads_can_be_asked_for_its_headers_alone(tmp_path: Path) -> None:
    async with a_business(tmp_path) as (world, ours):
        for route in ROUTES:
            if route.method == "GET":
                where = BUSINESS + route.path.format(**await ours.path(route))
                headers = {"Authorization": f"Bearer {ours.shop.key}"}
                read, head = (
                    await world.send("GET", where, headers=headers),
                    await world.send("HEAD", where, headers=headers),
                )
                assert (head.status, head.body) == (read.status, b""), route.operation
                assert head.headers["Content-Type"] == read.headers["Content-Type"]
                assert (await world.send("HEAD", where)).status == 401
        # A stream has no end, but its headers have.
        headers = {"Authorization": f"Bearer {ours.shop.key}", "Accept": "text/event-stream"}
        head = await world.send("HEAD", f"{BUSINESS}/notifications", headers=headers)
        assert (head.status, head.headers["Content-Type"]) == (200, "text/event-stream")


async def test_a_request_sent_twice_under_one_key_is_done_once(tmp_path: Path) -> None:
    async with a_business(tmp_path) as (world, ours):
        for number, route in enumerate(route for route in ROUTES if route.writes):
            things = await Things(ours.shop, ours.hook).ready(route.operation)
            path, body = await things.path(route), await things.body(route)
            again = f"try-{number}"
            first = await ask(ours.shop, route, path, body, again=again)
            assert first.status in route.statuses, (route.operation, first)
            before = await rows(world)
            second = await ask(ours.shop, route, path, body, again=again)
            assert second.headers["Idempotency-Replayed"] == "true", route.operation
            assert (second.status, second.headers.get("Location")) == (first.status, first.headers.get("Location"))
            if second.plain != first.plain:
                shown = {name for name in first.json if name not in second.json}
                assert shown <= {"key", "secret", "previous"} and second.json == {
                    name: value for name, value in first.json.items() if name not in shown
                }, "all but what is shown once"
            assert await rows(world) == before, route.operation
            other = await ours.shop.ask("POST", "/seats", {"staff": "somebody else"}, again=again)
            assert other.code == "idempotency_mismatch", route.operation


async def rows(world: World) -> dict[str, int]:
    """How much stands in each table."""

    def count(raw: Any) -> dict[str, int]:
        names = [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}

    found: dict[str, int] = await sqlite_of(world.server)._writer.run(count)
    return found
