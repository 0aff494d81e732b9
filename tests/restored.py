"""A server whose data folder is put back from an older copy."""

import shutil

from comity.encoding import dump_json
from comity.state import Connection, decode_state
from comity.wire import CONNECTIONS, JSON
from comity.words import Side
from world import Pair, Reply, World


class Backup:
    """A copy of the whole data folder, head file and all, as it was at one moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._copy = world.folder / "backup"

    @classmethod
    async def of(cls, world: World) -> "Backup":
        """Stop the server, copy its folder, and start it again."""
        backup = cls(world)
        await world.stop()
        shutil.copytree(world.folder / "data", backup._copy, ignore=shutil.ignore_patterns("admin.sock"))
        await world.start()
        return backup

    async def put_back(self, log: str | None = "again", *, said: bool = True) -> None:
        """Stop the server, put the copy in the place of its folder, and start it with a new log; `said`: the operator
        says what happened."""
        await self._world.stop()
        data = self._world.folder / "data"
        shutil.rmtree(data)
        shutil.copytree(self._copy, data)
        self._world.change(consent_log=log, restored=said)
        await self._world.start()


async def state_at_server(world: World, cid: str) -> Connection:
    """The state that the server has."""
    known = await world.server.store.state(cid)
    assert known is not None
    return decode_state(known.state)


async def confirm(pair: Pair, side: Side, **heads: str) -> Reply:
    """A side says which heads it knows: those of its own state, where nothing else is given."""
    settings = pair.state.door(side).settings.head
    known = {"first": pair.state.first.head, "second": pair.state.second.head, "settings": settings}
    body = dump_json({**{name: head or pair.cid for name, head in known.items()}, **heads})
    path = f"{CONNECTIONS}/{pair.cid}/heads"
    return await pair.world.read(pair.signers[side], path, "POST", body, JSON)
