"""The files that the demo writes with `--out`, which anybody can check with their own software."""

import json
from pathlib import Path

from comity.crypto.keys import PublicKey
from comity.documents.acts import Rotate
from comity.transparency.receipts import parse_opening, parse_proof
from comity_tools.demo.story import Story

FILE_LIST = """\
agreement.json       both sides' signatures under one text (General JSON)
acts/NNN-KIND.jws    every accepted act; NNN is its number in the log
events/NNN-KIND.jwt  the server's acceptance of each act of that agreement
home-keys.json       the server's statements about its own keys
receipts/NNN-KIND.*  the receipt of each act (.tlog-proof), and its log entry (.entry)
grant.jwt            a consent token
statuslist-*.jwt     its status list, before and after the connection ended
keys.json            the key of every signer, as a JWKS
log/                 the log, as any file server could serve it, and its key (vkey)
witness.vkey         the key of the witness that cosigned log/checkpoint
openapi.json         the API for a business's engineers
webhooks/*.json      each webhook as received: headers, body (base64), and the secret that signs it
"""
"""The files, described for people."""


def write_results(story: Story, folder: Path) -> list[Path]:
    """Writes the results into `folder`, as described in FILE_LIST, and returns the files.

    `keys.json` has the Ed25519 key for every `kid` that stands in a protected header. `log/` has the tiles and bundles
    of its checkpoint's size and no others; its key ends in a line feed, as the witness's does.
    """
    results, stage = story.results, story.stage
    files = {
        "agreement.json": results.agreement,
        "grant.jwt": results.grant.encode(),
        "statuslist-before.jwt": results.list_before.encode(),
        "statuslist-after.jwt": results.list_after.encode(),
        **_acts(story),
        **_events(story),
        "home-keys.json": results.home_keys,
        "keys.json": json.dumps({"keys": _keys(story)}, indent=2).encode() + b"\n",
        **{f"log/{path}": data for path, data in results.log.items()},
        "log/vkey": f"{stage.log_key.text}\n".encode(),
        "witness.vkey": f"{stage.witness.key.text}\n".encode(),
        "openapi.json": results.openapi,
        **{f"webhooks/{name}": data for name, data in results.webhooks.items()},
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def _acts(story: Story) -> dict[str, bytes]:
    """Every accepted act of every connection, with its receipt; each side's own settings are in its own wallet
    alone."""
    files: dict[str, bytes] = {}
    for party in story.cast.connections():
        for line in party.records:
            if line.act is None or line.act.id not in story.results.receipts:
                continue
            proof = parse_proof(story.results.receipts[line.act.id])
            name = f"{proof.index:03d}-{line.act.kind}"
            files[f"acts/{name}.jws"] = line.act.raw.encode()
            files[f"receipts/{name}.tlog-proof"] = proof.text.encode()
            files[f"receipts/{name}.entry"] = parse_opening(proof.extra).entry
    return dict(sorted(files.items()))


def _events(story: Story) -> dict[str, bytes]:
    """The server's events of the connection whose agreement is written."""
    party = next(
        connection for connection in story.cast.connections() if connection.agreement_raw == story.results.agreement
    )
    lines = [(line.event, line.raw) for line in party.records]
    return {f"events/{number:03d}-{event.event}.jwt": raw.encode() for number, (event, raw) in enumerate(lines, 1)}


def _keys(story: Story) -> list[dict[str, str]]:
    keys: dict[str, PublicKey] = dict(story.home_keys)
    for party in story.cast.connections():
        agreement = party.agreement
        for side in (agreement.offerer, agreement.accepter):
            keys[side.kid] = PublicKey.of_multibase(side.key)
        for line in party.records:
            if line.act is not None and isinstance(line.act.payload, Rotate):
                keys[line.act.payload.kid] = PublicKey.of_multibase(line.act.payload.key)
    return [key.jwk(kid) for kid, key in sorted(keys.items())]
