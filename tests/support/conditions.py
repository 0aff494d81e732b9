"""A server's conditions as its operator sees them: over HTTP and in the log."""

import json
from typing import Any

from comity_server.conditions import CONDITIONS
from support.world import World, eventually

WITHIN = 20.0
"""Seconds in which a condition comes or goes."""


def said(log: str, event: str, condition: str) -> list[dict[str, Any]]:
    """The lines of a log about a condition."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if (line["event"], line.get("condition")) == (event, condition)]


async def standing(world: World) -> tuple[int, dict[str, str]]:
    """The status of /readyz, and the cause of each condition that it names."""
    reply = await world.send("GET", "/readyz")
    assert (reply.status == 503) == ("Retry-After" in reply.headers)
    assert all(it["cure"] == CONDITIONS[it["condition"]].cure for it in reply.json["conditions"])
    return reply.status, {it["condition"]: it["cause"] for it in reply.json["conditions"]}


async def becomes(world: World, status: int, *names: str) -> dict[str, str]:
    """Wait until just these conditions are there; their causes."""
    found: tuple[int, dict[str, str]] = (0, {})

    async def is_so() -> bool:
        nonlocal found
        found = await standing(world)
        return found[0] == status and set(found[1]) == set(names)

    await eventually(is_so, WITHIN)
    return found[1]
