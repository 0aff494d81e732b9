"""Rotates the signing key of a business whose keys are stored here, in all of its connections (ACT-14).

First the key is made, sealed and published. Then each open connection gets a `rotate` that the old key and the new one
sign, a bounded number in each unit of work. In between, every connection keeps the key that it has, and acts of the
business are signed by the key that the connection knows. So this can stop at any point and continue later.
"""

from dataclasses import dataclass

from comity.crypto.keys import Signer
from comity.documents.types import Side
from comity.errors import Refused
from comity.rules.next_act import next_rotation
from comity_server.commands.provisioning import publish_key
from comity_server.errors import NotPossible
from comity_server.services import Server
from comity_server.store.business import Related
from comity_server.writer.unit_of_work import UnitOfWork

AT_ONCE = 50
"""Connections of one group: others must not wait long for their turn."""


@dataclass(slots=True)
class Turned:
    """The result for some connections. `late` are the rotated ones that are older than the key; `after` is the place of
    the last one examined, None if there are no more."""

    turned: int = 0
    late: int = 0
    left: int = 0
    after: tuple[int, str] | None = None


async def next_key(server: Server, name: str) -> str:
    """Make and publish the business's next signing key; its name. Raises NotPossible."""
    _newest(server, name)

    async def decide(unit: UnitOfWork) -> str:
        return next(iter((await publish_key(server.onboarding, name, None, unit)).keys))

    return await server.writer.command(decide)


async def turn(server: Server, name: str, after: tuple[int, str]) -> Turned:
    """Turn the next connections behind that place to the business's newest key. One whose key is not kept here is
    left, and so is one that cannot take an act at this moment. Raises NotPossible, Refused("overloaded")."""
    new = _newest(server, name)
    rows = await server.store.business.relations_after(name, after, AT_ONCE)
    made = await server.store.business.signing_key_since(name, new.kid)

    async def decide(unit: UnitOfWork) -> Turned:
        done = Turned(after=(rows[-1].opened_at, rows[-1].cid) if len(rows) == AT_ONCE else None)
        for row in rows:
            was = _turn_one(unit, row, new)
            done.turned += was is True
            done.late += was is True and row.opened_at < made
            done.left += was is False
        return done

    return await server.writer.command(decide, [row.cid for row in rows])


def _newest(server: Server, name: str) -> Signer:
    if server.directory.get(name) is None:
        raise NotPossible("there is no business with this name")
    newest = server.context.kept.newest(name)
    if newest is None:
        raise NotPossible("this business holds its own signing key")
    return newest


def _turn_one(unit: UnitOfWork, row: Related, new: Signer) -> bool | None:
    """Whether the connection was turned; None where there is nothing to do."""
    state = unit.states.get(row.cid)
    if state is None or state.phase == "ended":
        return None
    side: Side = "first" if row.side == "first" else "second"
    kid = state.door(side).kid
    if kid == new.kid:
        return None
    old = unit.context.kept.signer(kid)
    if old is None:
        return False
    try:
        unit.act(next_rotation(state, side, unit.now // 1000, old, new))
    except Refused:
        return False
    return True
