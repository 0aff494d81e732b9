"""A wallet's contents for anybody who wants to check them without this software."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from comity.client.core import Core

if TYPE_CHECKING:
    from comity.client.view import View


def exported(parties: Iterable[View], core: Core) -> dict[str, Any]:
    """Every connection: its agreement (General JSON), the events and acts in order, the bodies in clear."""
    return {
        "version": 1,
        "business": core.me.business,
        "exported_at": core.clock(),
        "connections": [_connection(party) for party in parties],
    }


def _connection(party: View) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cid": party.cid,
        "side": party.side,
        "phase": party.phase,
        "home": party.link.home,
        "agreement": json.loads(party.link.agreement),
        "offer": party.link.offer,
    }
    if party.link.opened is not None:
        found["opened"] = party.link.opened
        found["records"] = [
            {
                "at": line.at,
                "event": line.raw,
                "act": None if line.act is None else line.act.raw,
                "body": None if line.act is None else party.body_of(line.act),
            }
            for line in party.lines
        ]
    return found
