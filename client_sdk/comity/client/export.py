"""A wallet's contents for anybody who wants to check them without this software."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from comity.client.connection.view import View
from comity.client.session import Core
from comity.client.storage.records import LogPin, TagKeys
from comity.documents.events import MuteOver


def exported(parties: Iterable[View], core: Core) -> dict[str, Any]:
    """Every connection: its agreement (General JSON), the events and acts in order with their receipts, the bodies in
    clear, its tag keys; and of every log its key and the last checkpoint."""
    return {
        "version": 1,
        "business": core.me.business,
        "exported_at": core.clock(),
        "logs": {
            origin: {"home": it.home, "vkey": it.vkey, "url": it.url, "checkpoint": _text(core, "checkpoints", origin)}
            for origin, it in core.kept.all("logs", LogPin).items()
        },
        "connections": [_connection(party, core) for party in parties],
    }


def _text(core: Core, table: str, key: str) -> str | None:
    return core.kept.get(table, key, str)


def _connection(party: View, core: Core) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cid": party.cid,
        "side": party.side,
        "phase": party.phase,
        "home": party.link.home,
        "agreement": json.loads(party.link.agreement),
        "offer": party.link.offer,
    }
    tags = core.kept.get("tags", party.cid, TagKeys)
    found["tags"] = None if tags is None else {"both": tags.both, "own": tags.own}
    if party.link.opened is not None:
        found["opened"] = party.link.opened
        found["records"] = [
            {
                "at": line.at,
                "event": line.raw,
                "act": None if line.act is None else line.act.raw,
                "body": None if line.act is None else party.body_of(line.act),
                "receipt": None if line.act is None else _text(core, "receipts", line.act.id),
                "delivery": None if line.act is None else _text(core, "deliveries", line.act.id),
                "over": _text(core, "overs", line.event.by) if isinstance(line.event, MuteOver) else None,
            }
            for line in party.lines
        ]
    return found
