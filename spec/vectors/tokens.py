"""Vectors of tokens weighed with their receipts, in all combinations of what may be in hand (GRANT-8, GRANT-9, GRANT-11,
LOG-11, LOG-19)."""

import itertools
import json
from hashlib import sha256
from typing import Any

from comity.documents.acts import SignedAct
from comity.documents.agreements import open_agreement
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.documents.events import Delivered, open_event, sign_event
from comity.rules.consent_tokens import check_token, is_log_of

from comity.transparency.entries import Kind, LogEntry, commitment, entry_of_act
from comity.transparency.merkle import leaf_hash, prove_inclusion, root_of_hashes
from comity.transparency.notes import ED25519, NoteSigner
from comity.transparency.receipts import Opening, open_receipt, receipt_text

from comity.documents.status_lists import open_status_list
from offline import LIST_TYP, claims
from story import (
    DAY,
    EVE,
    HOME,
    HOME_DID,
    LOG,
    MIA,
    NOW,
    SHOP,
    START,
    STATUS_URI,
    Story,
    connected,
    finder,
    forge,
    key,
    keys_of,
    pairwise,
    published,
)

LOGS = {name: NoteSigner(name, ED25519, key(f"log {name}")) for name in (LOG, "home.example/log/2", "other.example/log", "home.example/logs")}
SALT = sha256(b"comity vectors: token").digest()
INDEX = 2


def tokens() -> dict[str, Any]:
    """`texts` are what may be in hand; each case names those that are. Without `allowed` the token itself is refused with
    `code`."""
    given = _mias() | _shops() | _strangers() | _renamed() | _accepted_by_a_shop()
    rows = [_weighed(given, **row) for row in _rows(given)]
    given = {name: it for name, it in given.items() if not name.endswith(": audience")}
    return {
        "keys": keys_of(HOME, SHOP, published(SHOP.did, "key-2")),
        "uri": STATUS_URI,
        "logs": {name: signer.verifier.text for name, signer in LOGS.items()},
        "names": _names(),
        "texts": given,
        "cases": rows,
    }


def _names() -> list[dict[str, Any]]:
    origins = (LOG, f"{LOG}/2", f"{LOG}/", "home.example/logs", "home.example", "other.example/log", "home.example/log2")
    homes = (HOME_DID, "did:web:home.example%3A8470", EVE.did, "did:web:home.example:b:windows")
    return [{"log": it, "home": home, "is_its": is_log_of(it, home)} for home in homes for it in (*origins, "home.example:8470/log")]


def _receipt(raw: str, side: str = "second", log: str = LOG, index: int = INDEX, **changes: Any) -> str:
    """A receipt of that text, its entry otherwise in some members."""
    at = changes.pop("at", START + 1)
    members = {"kind": Kind.ACT, "side": side, "time": at // 60_000, "until": 0, "tag": bytes(16)}
    entry = LogEntry(**{**members, "commitment": commitment(SALT, at, raw.encode()), **changes}).to_bytes()
    hashes = [leaf_hash(b"entry %d" % it) for it in range(4)]
    hashes[index] = leaf_hash(entry)

    def node(height: int, place: int) -> bytes:
        return root_of_hashes(hashes[place << height : (place + 1) << height])

    head = sign_checkpoint(Checkpoint(log, 4, root_of_hashes(hashes)), LOGS[log])
    return receipt_text(Opening(entry, SALT, at), index, prove_inclusion(index, 4, node), head)


def _granted(story: Story, side: str) -> tuple[SignedAct, str]:
    """A grant as entry number INDEX, and its acceptance."""
    story.index = INDEX
    exp = (START + DAY) // 1000
    grant = story.go("grant", side, START + 1, purposes=("care",), channels=("app",), exp=exp)  # type: ignore[arg-type]
    return grant, story.records[-1]["event"]


def _list(idx: int, **changes: Any) -> str:
    return forge(claims({idx: 0}, 256, **changes), LIST_TYP, HOME)


def _mias() -> dict[str, str]:
    story = connected()
    grant, acceptance = _granted(story, "second")
    idx = grant.payload.status.status_list.idx  # type: ignore[union-attr]
    mute = story.go("mute", "second", START + 2)
    of_mute = story.records[-1]["event"]
    stated = json.loads(open_event(acceptance, finder(HOME)).event.to_json())

    def other(**changes: Any) -> str:
        return forge({**stated, **changes}, "comity-event+jwt", HOME)

    delivered = Delivered(
        iss=HOME_DID, cid=story.state.cid, event="delivered", act=grant.id, side="second", log=LOG, index=INDEX, at=START + 1,
        as_of=stated["as_of"],
    )  # fmt: skip
    assert entry_of_act(grant, "second", bytes(32), SALT, START + 1).kind is Kind.ACT
    return {
        "token": grant.raw,
        "agreement": story.agreement.raw.decode(),
        "list": _list(idx),
        "list of another server": forge(claims({idx: 0}, 256, iss=EVE.did), LIST_TYP, EVE),
        "list by somebody on the same host": forge(claims({idx: 0}, 256, iss=SHOP.did), LIST_TYP, SHOP),
        "list that says withdrawn": _list(idx + 1),
        "list that is old": _list(idx, iat=NOW - 200),
        "list that says ask": forge(claims({idx: 2}, 256), LIST_TYP, HOME),
        "acceptance": acceptance,
        "acceptance of the mute": of_mute,
        "acceptance elsewhere": other(cid=connected(accepter=EVE).state.cid),
        "acceptance as a mute": other(kind="mute"),
        "acceptance in another log": other(log="home.example/log/2"),
        "acceptance at another place": other(index=INDEX + 1),
        "acceptance at another time": other(accepted_at=START + 2),
        "acceptance of the other side": other(side="first"),
        "acceptance by another server": forge({**stated, "iss": EVE.did}, "comity-event+jwt", EVE),
        "delivery": sign_event(delivered, HOME),
        "receipt": _receipt(grant.raw),
        "receipt of another act": _receipt(mute.raw),
        "receipt of another kind": _receipt(grant.raw, kind=Kind.DELIVERED),
        "receipt of another minute": _receipt(grant.raw, time=START // 60_000 + 1),
        "receipt of the other side": _receipt(grant.raw, "first"),
        "receipt of a further log": _receipt(grant.raw, log="home.example/log/2"),
        "receipt of another server's log": _receipt(grant.raw, log="other.example/log"),
        "receipt of a log of a like name": _receipt(grant.raw, log="home.example/logs"),
    }


def _shops() -> dict[str, str]:
    """The published side's grant, under its first key and under a later one; and one by a person who changed her name."""
    story = connected()
    grant, acceptance = _granted(story, "first")
    members = json.loads(grant.payload.to_json())
    later = published(SHOP.did, "key-2")
    renamed = connected()
    renamed.rotate("second", pairwise("mia 2"), START + 1)
    hers = renamed.go("grant", "second", START + 2, purposes=("care",), channels=("app",), exp=(START + DAY) // 1000)
    idx = grant.payload.status.status_list.idx  # type: ignore[union-attr]
    return {
        "the shop's token": grant.raw,
        "the shop's token under a later key": forge(members, "comity-grant+jwt", later),
        "the shop's acceptance": acceptance,
        "the shop's receipt": _receipt(grant.raw, "first"),
        "the shop's receipt, of the other side": _receipt(grant.raw, "second"),
        "the shop's list": _list(idx),
        "renamed: token": hers.raw,
        "renamed: agreement": renamed.agreement.raw.decode(),
        "renamed: acceptance": renamed.records[-1]["event"],
        "renamed: receipt": _receipt(hers.raw, at=START + 2),
        "renamed: receipt of the other side": _receipt(hers.raw, "first", at=START + 2),
        "renamed: list": _list(hers.payload.status.status_list.idx),  # type: ignore[union-attr]
    }


def _strangers() -> dict[str, str]:
    """What somebody outside can sign under a key of his own; an agreement that is another's; a mute that is no token."""
    story = connected(accepter=EVE)
    mia = connected()
    token, _ = _granted(mia, "second")
    made = {**json.loads(token.payload.to_json()), "iss": EVE.did}
    to_eve = {**json.loads(token.payload.to_json()), "aud": EVE.did}
    return {
        "another agreement": story.agreement.raw.decode(),
        "made up": forge(made, "comity-grant+jwt", EVE),
        "made up: receipt": _receipt(forge(made, "comity-grant+jwt", EVE)),
        "to a stranger": forge(to_eve, "comity-grant+jwt", MIA),
    }


def _renamed() -> dict[str, str]:
    """Grants between two people of whom one, or both, changed names: whose grant it is follows from what names are left."""
    made: dict[str, str] = {}
    for giver, changed in itertools.product(("first", "second"), ("first", "second", "both")):
        story, name = connected(EVE, MIA), f"{giver} gives, {changed} renamed"
        for side in ("first", "second"):
            if changed in (side, "both"):
                story.rotate(side, pairwise(f"{side} renamed"), story.state.at + 1)  # type: ignore[arg-type]
        at, exp = story.state.at + 1, (START + DAY) // 1000
        grant = story.go("grant", giver, at, purposes=("care",), channels=("app",), exp=exp)  # type: ignore[arg-type]
        made |= {
            f"{name}: token": grant.raw,
            f"{name}: agreement": story.agreement.raw.decode(),
            f"{name}: list": _list(grant.payload.status.status_list.idx),  # type: ignore[union-attr]
            f"{name}: receipt": _receipt(grant.raw, giver, at=at),
            f"{name}: receipt of the other side": _receipt(grant.raw, "second" if giver == "first" else "first", at=at),
            f"{name}: audience": grant.payload.aud,
        }
    return made


def _accepted_by_a_shop() -> dict[str, str]:
    story = connected(EVE, SHOP)
    grant, _ = _granted(story, "second")
    return {
        "an accepting shop's token": grant.raw,
        "an accepting shop's agreement": story.agreement.raw.decode(),
        "an accepting shop's list": _list(grant.payload.status.status_list.idx),  # type: ignore[union-attr]
    }


def _rows(given: dict[str, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    full = {"token": "token", "list": "list"}
    names = _mias()
    acceptances = [None, *(it for it in names if it.startswith("acceptance") or it == "delivery")]
    receipts = [None, *(it for it in names if it.startswith("receipt"))]
    for agreement, acceptance, receipt in itertools.product((None, "agreement"), acceptances, receipts):
        if acceptance in (None, "acceptance") or receipt in (None, "receipt"):
            rows.append({**full, "agreement": agreement, "acceptance": acceptance, "receipt": receipt})
    for lists, agreement, acceptance in itertools.product(("list of another server", None), (None, "agreement"), (None, "acceptance")):
        rows.append({**full, "list": lists, "agreement": agreement, "acceptance": acceptance, "receipt": "receipt"})
    for lists in ("list by somebody on the same host", "list of another server", "list that says withdrawn", "list that says ask"):
        for agreement, receipt in (("agreement", None), ("agreement", "receipt"), (None, "receipt")):
            rows.append({**full, "list": lists, "agreement": agreement, "receipt": receipt})
    rows.append({**full, "list": "list that is old", "receipt": "receipt of another server's log"})
    rows.append({**full, "list": "list that is old", "receipt": "receipt"})
    rows.append({**full, "agreement": "another agreement", "receipt": "receipt"})
    for giver, changed in itertools.product(("first", "second"), ("first", "second", "both")):
        name = f"{giver} gives, {changed} renamed"
        for receipt in ("receipt", "receipt of the other side"):
            rows.append({"token": f"{name}: token", "list": f"{name}: list", "agreement": f"{name}: agreement", "receipt": f"{name}: {receipt}", "audience": given[f"{name}: audience"]})
    for known in (True, False):
        rows.append({"token": "an accepting shop's token", "list": "an accepting shop's list", "agreement": "an accepting shop's agreement", "known": known, "audience": EVE.did})
    for token, known, agreement in itertools.product(
        ("the shop's token", "the shop's token under a later key"), (True, False), (None, "agreement")
    ):
        for receipt in (None, "the shop's receipt", "the shop's receipt, of the other side"):
            rows.append({"token": token, "list": "the shop's list", "agreement": agreement, "receipt": receipt, "known": known})
    for receipt, acceptance, agreement in itertools.product(
        ("renamed: receipt", "renamed: receipt of the other side"), (None, "renamed: acceptance"), (None, "renamed: agreement")
    ):
        rows.append({"token": "renamed: token", "list": "renamed: list", "agreement": agreement, "acceptance": acceptance, "receipt": receipt})
    for agreement, receipt in itertools.product((None, "agreement"), (None, "made up: receipt")):
        rows.append({**full, "token": "made up", "agreement": agreement, "receipt": receipt})
    rows.append({**full, "token": "to a stranger", "agreement": "agreement", "audience": EVE.did})
    return rows


def _weighed(given: dict[str, str], **row: Any) -> dict[str, Any]:
    row = {name: it for name, it in row.items() if it is not None}
    audience = row.get("audience", MIA.did if row["token"].startswith("the shop") else SHOP.did)
    row["audience"] = audience
    try:
        verdict = weigh(given, row, finder(HOME, SHOP, published(SHOP.did, "key-2")))
    except Exception as refused:
        code = getattr(refused, "code", None)
        if code is None:
            raise
        return {**row, "code": code}
    return {**row, "allowed": verdict.allowed, "reason": verdict.reason}


def weigh(given: dict[str, str], row: dict[str, Any], keys: Any) -> Any:
    """What the token is worth with what the row says is in hand."""
    logs = {name: it.verifier for name, it in LOGS.items()}
    receipt = None
    if "receipt" in row:
        text = given[row["receipt"]]
        origin = text.split("\n\n", 1)[1].split("\n")[0]
        receipt = open_receipt(text, logs[origin])
    return check_token(
        given[row["token"]],
        audience=row["audience"],
        purpose="care",
        channel="app",
        now=NOW + 30,
        status_list=open_status_list(given[row["list"]], STATUS_URI, keys) if "list" in row else None,
        acceptance=open_event(given[row["acceptance"]], keys) if "acceptance" in row else None,
        agreement=open_agreement(given[row["agreement"]].encode()) if "agreement" in row else None,
        receipt=receipt,
        **({"find_key": keys} if row.get("known", True) else {}),
    )
