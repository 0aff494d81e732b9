"""What the pages show, taken from the vectors, so that it verifies."""

import json
import textwrap
from datetime import UTC, datetime
from typing import Any

from comity.encoding import b64u_decode, dump_json
from comity.transparency.entries import EPOCH, parse_entry
from comity.rules.state import public_state
from comity.http_api import LogKey, WellKnown
from story import HOME_DID, LOG, MINUTE, OPERATOR, START, connected, payload_of, words

WIDTH = 110


def pretty(value: Any) -> str:
    """JSON for a reader: small things on one line."""
    return _pretty(value, "")


def _pretty(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(name)}: {_pretty(it, inner)}" for name, it in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{inner}{_pretty(it, inner)}" for it in value) + f"\n{indent}]"


def broken(text: str) -> str:
    """A long text in lines."""
    return "\n".join(textwrap.wrap(text, WIDTH, break_on_hyphens=False))


def _named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["name"] == name)


def _head(raw: str) -> Any:
    return json.loads(b64u_decode(raw.split(".")[0]))


def examples(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Each example by its name."""
    return {**_texts(made), **_decided(made), **_wire(made), **_log(made)}


def _texts(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    mute = _named(made["acts"]["good"], "mute, shown end")
    whole = made["agreements"]["wholes"][0]
    offer = made["offers"]["good"][0]
    name = made["keys"]["did_key"][0]
    return {
        "act.mute.jws": broken(mute["jws"]),
        "act.mute.header": pretty(_head(mute["jws"])),
        "act.mute.payload": pretty(mute["payload"]),
        "act.mute.id": mute["id"],
        "act.away.payload": pretty(_named(made["acts"]["good"], "mute, away")["payload"]),
        "act.erasure.payload": pretty(_named(made["acts"]["good"], "erasure, all members")["payload"]),
        "act.mailbox.payload": pretty(_named(made["acts"]["good"], "mailbox")["payload"]),
        "act.rotate.payload": pretty(_named(made["acts"]["good"], "rotate")["payload"]),
        "offer.payload": pretty(offer["payload"]),
        "offer.link": offer["link"],
        "agreement.payload": pretty(whole["payload"]),
        "agreement.whole": pretty(json.loads(whole["raw"])),
        "event.held": pretty(_named(made["events"]["good"], "accepted, held")["payload"]),
        "event.restored": pretty(_named(made["events"]["good"], "restored")["payload"]),
        "grant.payload": pretty(made["grants"]["payload"]),
        "status.payload": pretty(made["status"]["good"][0]["payload"]),
        "keys.did_key": pretty({member: name[member] for member in ("seed", "public", "did", "kid", "x25519")}),
        "home.statement": pretty(json.loads(made["home"]["statement"])),
        "keys.document": pretty(made["keys"]["documents"][0]["document"]),
        "body.header": pretty(_head(made["bodies"]["good"][0]["jwe"])),
        "notice.payload": pretty(made["notices"]["good"][0]["payload"]),
        "notes.body": pretty(_named(made["notes"]["good"], "language")["body"]),
        "hours.setting": pretty(_named(made["acts"]["good"], "hours")["payload"]),
    }


def _decided(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    story = connected()
    story.go("grant", "second", START + MINUTE, purposes=("care", "sales"))
    story.go("message", "first", START + 2 * MINUTE, purpose="care.welcome", topic="windows")
    story.go("mute", "second", START + 3 * MINUTE)
    mutes = _named(made["gate"]["stories"], "mutes")
    hidden = next(
        check for check in mutes["checks"] if check["verdict"]["reason"] == "muted" and check["purpose"] == "care"
    )
    return {
        "chain.state": pretty(public_state(story.state)),
        "gate.muted": pretty({name: it for name, it in hidden.items() if name != "after"}),
    }


def _log(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    (receipt,) = made["log"]["receipts"]
    entry, raw = parse_entry(bytes.fromhex(receipt["entry"])), receipt["entry"]
    key = next(it["key"] for it in made["log"]["tag_keys"] if it["scope"] == "both")
    act = _named(made["acts"]["good"], receipt["act"])["jws"]
    rows = [
        (raw[0:2], f"version {int(raw[0:2], 16)}"),
        (raw[2:4], f"kind {entry.kind}: a mute of everything"),
        (raw[4:6], f"by the {entry.side} side"),
        (raw[6:14], f"minute {entry.time}: {_time(entry.time * 60)}"),
        (raw[14:22], f"shown until hour {entry.until}: {_time(entry.until * 3600)}"),
        (_cut(raw[22:54]), f"the tag of this connection in week {receipt['at'] // EPOCH}, made with its tag key"),
        ("", _cut(key)),
        (_cut(raw[54:]), f"the commitment: the SHA-256 of the salt {_cut(receipt['salt'])},"),
        ("", f"the time as eight bytes {receipt['at']:016x}, and the {len(act)} characters of the act"),
    ]
    return {
        "log.entry": f"{raw[:54]}\n{raw[54:]}",
        "log.bytes": "\n".join(f"{part:<19}{text}".rstrip() for part, text in rows),
        "log.receipt": receipt["receipt"].rstrip("\n"),
        "log.key": made["log"]["log"],
    }


def _cut(digits: str) -> str:
    """The beginning and the end of a long hexadecimal text."""
    return f"{digits[:8]}…{digits[-8:]}"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _request(method: str, path: str, kind: str | None = None, content: str | None = None) -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: home.example"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return "\n".join([*lines, "", *([content] if content else [])]).rstrip()


def _answer(status: str, kind: str, content: Any) -> str:
    text = content if isinstance(content, str) else pretty(content)
    return f"HTTP/1.1 {status}\nContent-Type: {kind}\n\n{text}"


def _short(raw: str) -> str:
    return f"{raw[:60]}…"


def _exchange(request: str, answer: str) -> str:
    return f"{request}\n\n{answer}"


def _wire(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    offer, whole = made["offers"]["good"][0], made["agreements"]["wholes"][0]
    half = made["agreements"]["halves"][0]
    read = made["requests"]["good"][0]
    chain = made["chains"]["chains"][0]
    grant, cid = chain["records"][0], whole["cid"]
    fields = "\n".join(f"{name}: {value}" for name, value in read["headers"].items())
    grant_id = json.loads(payload_of(grant["event"]))["act"]
    item = {
        "cursor": words("cursor"),
        "kind": "act",
        "cid": cid,
        "event": _short(grant["event"]),
        "act": _short(grant["act"]),
    }
    page = {"items": [item], "cursor": words("cursor")}
    published = {"offer": offer["hash"], "id": offer["short"], "link": offer["link"]}
    opened = {"cid": cid, "event": _short(chain["opened"])}
    accepted = {"act": grant_id, "event": _short(grant["event"])}
    problem = next(document for document in made["problems"]["good"] if "until" in document)
    named = {"origin": LOG, "vkey": made["log"]["log"], "url": "https://home.example/log"}
    known = WellKnown(
        version=1,
        home=HOME_DID,
        operator=OPERATOR,
        name="Example Home",
        longest_wait=30,
        most_lines=1000,
        logs=(LogKey.model_validate(named),),
        witnesses=tuple(made["log"]["witnesses"]),
        cosignatures=1,
    )
    json_, jwt = "application/json", "application/jwt"
    return {
        "http.request": _request("GET", "/v1/inbox?wait=10") + "\n" + fields,
        "http.problem": pretty({**problem, "request_id": "5f0c2b7e9d1a4c3b8e6f7a90"}),
        "http.offers": _exchange(
            _request("POST", "/v1/offers", jwt, _short(offer["jws"])), _answer("201 Created", json_, published)
        ),
        "http.propose": _exchange(
            _request("POST", f"/v1/offers/{offer['short']}/agreements", json_, f"{half['raw'][:60]}…"),
            _answer("202 Accepted", json_, {"cid": cid}),
        ),
        "http.countersign": _exchange(
            _request("PUT", f"/v1/agreements/{cid}", json_, f"{whole['raw'][:60]}…"), _answer("200 OK", json_, opened)
        ),
        "http.act": _exchange(
            _request("POST", "/v1/acts", jwt, _short(grant["act"])), _answer("200 OK", json_, accepted)
        ),
        "http.indexes": _exchange(
            _request("POST", "/v1/status/indexes", json_, dump_json({"cid": cid}).decode()),
            _answer("201 Created", json_, {"status_list": grant_status(grant["act"])}),
        ),
        "http.records": _exchange(
            _request(
                "POST",
                "/v1/records",
                "application/jsonl",
                dump_json({"event": _short(grant["event"]), "act": _short(grant["act"])}).decode(),
            ),
            _answer("200 OK", "application/jsonl", {"event": words("an event")}),
        ),
        "http.heads": _exchange(
            _request(
                "POST",
                f"/v1/connections/{cid}/heads",
                json_,
                dump_json({"first": grant_id, "second": cid, "settings": cid}).decode(),
            ),
            _answer("200 OK", json_, {"lacks": ["first"], "recovering": ["first", "second"]}),
        ),
        "http.inbox": _exchange(_request("GET", "/v1/inbox?wait=10"), _answer("200 OK", json_, page)),
        "http.well_known": pretty(json.loads(known.to_json())),
    }


def grant_status(raw: str) -> Any:
    """The status reference in a grant."""
    return json.loads(b64u_decode(raw.split(".")[1]))["status"]["status_list"]
