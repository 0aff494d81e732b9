"""A server whose data folder is put back from an older copy."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from comity.documents.acts import SignedAct
from comity.documents.types import Side
from comity.encoding import dump_json
from comity.http_api import CONNECTIONS, JSON, JSON_LINES, RECORDS
from comity.rules.state import Connection, decode_state
from comity_tools.cli import main
from support.world import DAY, HOUR, Pair, Reply, World

Kept = tuple[str, SignedAct | None]
"""An event, and the act that it is about."""


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

    def keep(self, path: Path) -> None:
        """A file of the folder that the operator keeps apart from the store: it is there after the restore as well."""
        shutil.copy(path, self._copy)

    async def put_back(self, log: str | None = "again", *, said: bool = True) -> None:
        """Stop the server, put the copy in the place of its folder, and start it with a new log; `said`: the operator
        says what happened."""
        await self._world.stop()
        data = self._world.folder / "data"
        shutil.rmtree(data)
        shutil.copytree(self._copy, data)
        self._world.change(consent_log=log, restored=said)
        await self._world.start()


async def command(world: World, *words: str) -> Result:
    """A command of the operator on the world's data folder."""
    env = {"COMITY_DATA": str(world.folder / "data"), "COMITY_PORT": str(world.port)}
    return await asyncio.to_thread(CliRunner().invoke, main, words, env=env)


async def put_back(world: World, backup: Path, *words: str) -> None:
    """Stop the server, lose its data folder, put a backup of `comity backup` into a new one, and start the server."""
    await world.stop()
    shutil.rmtree(world.folder / "data", ignore_errors=True)
    done = await command(world, "restore", str(backup), *words)
    assert done.exit_code == 0, done.output
    await world.start()


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


async def hand_in(world: World, *records: Kept) -> list[dict[str, Any]]:
    """Hand records in; the answers."""
    lines = [dump_json({"event": event} | ({} if act is None else {"act": act.raw})) for event, act in records]
    reply = await world.send("POST", RECORDS, b"\n".join(lines), JSON_LINES)
    assert reply.status == 200, reply
    return [json.loads(line) for line in reply.body.splitlines()]


def codes(answers: list[dict[str, Any]]) -> list[str | None]:
    """Why records were not taken back, None for those that were."""
    return [answer.get("code") for answer in answers]


async def said_and_lost(world: World, pair: Pair) -> list[Kept]:
    """What Mia and the shop say after the copy was made, in the order of its times."""
    kept: list[Kept] = []

    async def go(side: str, kind: str, /, **fields: Any) -> SignedAct:
        before = len(pair.events)
        act = await pair.go(side, kind, **fields)  # type: ignore[arg-type]
        kept.append((pair.events[before], act))
        world.later(HOUR)
        return act

    await go("first", "message")
    mute = await go("second", "mute", purposes=("sales",))
    await go("second", "hours", zone="Europe/Berlin", windows=(), shown="not_now")
    await go("second", "mute_end", mute=mute.id, until=(world.now() + 9 * DAY) // 1000)
    before = len(pair.events)
    act = await pair.grant("second", "favour")
    kept.append((pair.events[before], act))
    await go("second", "mute")
    return kept
