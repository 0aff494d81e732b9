"""Changing something for a business: one command in one group, and the same answer when the request comes again
(BIZ-11)."""

from collections.abc import Awaitable, Callable, Sequence

from comity.errors import Refused
from comity_server.api.business.route import Call, Reply
from comity_server.store.business import Idempotent
from comity_server.writer.unit_of_work import UnitOfWork

REMEMBERED = 24 * 3600 * 1000
"""ms for which an answer is kept under its Idempotency-Key."""

Decide = Callable[[UnitOfWork], Awaitable[Reply]]


async def change(call: Call, decide: Decide, cids: Sequence[str] = ()) -> Reply:
    """What `decide` answers, decided in a group with the connections `cids` at hand, and written with all that it
    changes. Under an Idempotency-Key that was used within REMEMBERED, the first answer. What is refused is not
    remembered: the same request may be tried again.

    Raises Refused, also for a key that was used for something else.
    """

    async def decided(group: UnitOfWork) -> Reply:
        _must_go_on(call, group)
        key = call.idempotency_key
        if key is None:
            return await decide(group)
        place = (call.business.name, call.key.line, key)
        earlier = group.idempotent.get(place) or await call.server.store.business.idempotent(*place)
        if earlier is not None and group.now - earlier.at < REMEMBERED:
            return _again(call, earlier)
        reply = await decide(group)
        if reply.status < 400:
            _remember(call, group, place, reply)
        return reply

    return await call.server.accept.command(decided, cids, narrows=call.route.narrows)


def _must_go_on(call: Call, group: UnitOfWork) -> None:
    """Raises Refused where the key has ended by now, perhaps in this very group (BIZ-3)."""
    call.must_go_on()
    mine = (call.business.name, call.key.id)
    if any((row["name"], row["id"]) == mine and row["expires_at"] <= group.now for row in group.batch.end_api_key):
        raise Refused("api_key_required")


def _again(call: Call, earlier: Idempotent) -> Reply:
    if earlier.request != call.fingerprint:
        raise Refused("idempotency_mismatch")
    return Reply(earlier.status, earlier.body, earlier.location, headers={"Idempotency-Replayed": "true"})


def _remember(call: Call, group: UnitOfWork, place: tuple[str, str, str], reply: Reply) -> None:
    body = reply.body if reply.instead is None else reply.instead
    kept = Idempotent(call.fingerprint, reply.status, reply.location, body, group.now)
    group.idempotent[place] = kept
    group.batch.put_idempotent.append({"name": place[0], "line": place[1], "key": place[2], **kept._asdict()})
