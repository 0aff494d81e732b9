"""Idempotent requests: a repeated request gets the first answer (BIZ-11)."""

from collections.abc import Awaitable, Callable, Sequence

from comity.errors import Refused
from comity_server.api.business.route import Call, Reply
from comity_server.store.business import Idempotent
from comity_server.writer.unit_of_work import UnitOfWork

ANSWER_LIFETIME = 24 * 3600 * 1000
"""Time for which an answer is stored under its Idempotency-Key, in ms."""

Decide = Callable[[UnitOfWork], Awaitable[Reply]]


async def run_idempotent(call: Call, decide: Decide, cids: Sequence[str] = ()) -> Reply:
    """Runs `decide` in a unit of work that has loaded the connections `cids`, and stores its answer with its changes.
    A request whose Idempotency-Key was used within ANSWER_LIFETIME gets the first answer. Refusals are not stored.

    Raises Refused, also for a key that was used with another request.
    """

    async def decide_once(unit: UnitOfWork) -> Reply:
        _require_valid_key(call, unit)
        key = call.idempotency_key
        if key is None:
            return await decide(unit)
        place = (call.business.name, call.key.line, key)
        earlier = unit.idempotent.get(place) or await call.server.store.business.idempotent(*place)
        if earlier is not None and unit.now - earlier.at < ANSWER_LIFETIME:
            return _replay(call, earlier)
        reply = await decide(unit)
        if reply.status < 400:
            _store_answer(call, unit, place, reply)
        return reply

    return await call.server.writer.command(decide_once, cids, narrows=call.route.narrows)


def _require_valid_key(call: Call, unit: UnitOfWork) -> None:
    """Raises Refused if the API key has ended, also by an earlier command of this unit of work (BIZ-3)."""
    call.require_valid_key()
    mine = (call.business.name, call.key.id)
    if any((row["name"], row["id"]) == mine and row["expires_at"] <= unit.now for row in unit.batch.end_api_key):
        raise Refused("api_key_required")


def _replay(call: Call, earlier: Idempotent) -> Reply:
    if earlier.request != call.fingerprint:
        raise Refused("idempotency_mismatch")
    return Reply(earlier.status, earlier.body, earlier.location, headers={"Idempotency-Replayed": "true"})


def _store_answer(call: Call, unit: UnitOfWork, place: tuple[str, str, str], reply: Reply) -> None:
    body = reply.body if reply.replay_body is None else reply.replay_body
    kept = Idempotent(call.fingerprint, reply.status, reply.location, body, unit.now)
    unit.idempotent[place] = kept
    unit.batch.put_idempotent.append({"name": place[0], "line": place[1], "key": place[2], **kept._asdict()})
