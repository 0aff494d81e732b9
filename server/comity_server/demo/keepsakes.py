"""What the demo leaves behind with `--out`: texts that anybody can check with software of their own."""

import json
from pathlib import Path

from comity.acts import Rotate
from comity.client import Party
from comity.keys import PublicKey
from comity_server.demo.story import Story


def leave(story: Story, folder: Path) -> list[Path]:
    """Write what was made into `folder` and return the files.

    `agreement.json` (General JSON), `grant.jwt`, its status list before and after the connection ended,
    `acts/NNN-kind.jws` (every accepted act, in the order of acceptance) and `keys.json`, a JWKS with the Ed25519 key
    for every `kid` that stands in a protected header of these.
    """
    kept = story.kept
    written = {
        "agreement.json": kept.agreement,
        "grant.jwt": kept.grant.encode(),
        "statuslist-before.jwt": kept.list_before.encode(),
        "statuslist-after.jwt": kept.list_after.encode(),
        **_acts(story),
        "keys.json": json.dumps({"keys": _keys(story)}, indent=2).encode() + b"\n",
    }
    (folder / "acts").mkdir(parents=True, exist_ok=True)
    for name, data in written.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in written]


def _acts(story: Story) -> dict[str, bytes]:
    """Every accepted act of every connection; each side's own settings are in its own wallet alone."""
    found: dict[str, tuple[int, str, str]] = {}
    for party in _connections(story):
        for line in party.lines:
            if line.act is not None:
                found[line.act.id] = (getattr(line.event, "index", 0), line.act.kind, line.act.raw)
    ordered = sorted(found.values())
    return {f"acts/{index:03d}-{kind}.jws": raw.encode() for index, kind, raw in ordered}


def _keys(story: Story) -> list[dict[str, str]]:
    keys: dict[str, PublicKey] = dict(story.home_keys)
    for party in _connections(story):
        agreement = party.agreement
        for side in (agreement.offerer, agreement.accepter):
            keys[side.kid] = PublicKey.of_multibase(side.key)
        for line in party.lines:
            if line.act is not None and isinstance(line.act.payload, Rotate):
                keys[line.act.payload.kid] = PublicKey.of_multibase(line.act.payload.key)
    return [key.jwk(kid) for kid, key in sorted(keys.items())]


def _connections(story: Story) -> list[Party]:
    wallets = (story.cast.mia, story.cast.jonas, story.cast.ben, story.cast.windows, story.cast.salon)
    return [party for wallet in wallets for party in wallet.connections() if party.phase in ("open", "ended")]
