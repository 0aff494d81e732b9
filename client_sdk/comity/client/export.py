"""A wallet's contents as JSON values that anybody can check without this software."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from comity.client.connection.view import ConnectionView
from comity.client.session import Session
from comity.client.storage.records import PinnedLog, TagKeys
from comity.documents.events import MuteOver


def export_wallet(connections: Iterable[ConnectionView], session: Session) -> dict[str, Any]:
    """Every connection: its agreement (General JSON), its events and acts in order with their receipts, decrypted
    bodies, and tag keys; and every log's key and last checkpoint."""
    return {
        "version": 1,
        "business": session.owner.business,
        "exported_at": session.clock(),
        "logs": {
            origin: {
                "home": it.home,
                "vkey": it.vkey,
                "url": it.url,
                "checkpoint": _text(session, "checkpoints", origin),
            }
            for origin, it in session.records.all("logs", PinnedLog).items()
        },
        "connections": [_connection(connection, session) for connection in connections],
    }


def _text(session: Session, table: str, key: str) -> str | None:
    return session.records.get(table, key, str)


def _connection(connection: ConnectionView, session: Session) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cid": connection.cid,
        "side": connection.side,
        "phase": connection.phase,
        "home": connection.info.home,
        "agreement": json.loads(connection.info.agreement),
        "offer": connection.info.offer,
    }
    tags = session.records.get("tags", connection.cid, TagKeys)
    found["tags"] = None if tags is None else {"both": tags.both, "own": tags.own}
    if connection.info.opened is not None:
        found["opened"] = connection.info.opened
        found["records"] = [
            {
                "at": record.at,
                "event": record.raw,
                "act": None if record.act is None else record.act.raw,
                "body": None if record.act is None else connection.body_of(record.act),
                "receipt": None if record.act is None else _text(session, "receipts", record.act.id),
                "delivery": None if record.act is None else _text(session, "deliveries", record.act.id),
                "over": _text(session, "overs", record.event.by) if isinstance(record.event, MuteOver) else None,
            }
            for record in connection.records
        ]
    return found
