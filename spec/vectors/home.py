"""Vectors of a home server's keys: statements, the chain, and which key signs where."""

import json
from typing import Any

from comity.encoding import dump_json
from comity.errors import Refused
from comity.documents.events import AsOf, Expired, Opened, Place, sign_event
from comity.transparency.checkpoints import Checkpoint, sign_checkpoint
from comity.transparency.server_keys import (
    MOST_STATEMENTS,
    PROOF_TYP,
    HomeKeys,
    ListedStatement,
    PlacedStatement,
    VerifiedStatement,
    follow_keys,
    is_entry_of,
    open_home_event,
    verify_statements,
    sign_statement,
)
from comity.crypto.keys import Signer
from comity.transparency.entries import entry_of_key, public_tag_key
from comity.transparency.merkle import leaf_hash
from comity.transparency.notes import ED25519, NoteSigner
from comity.documents.offers import HomeParty
from comity.transparency.receipts import Opening, open_receipt, receipt_text
from comity.documents.status_lists import open_home_list
from logs import salt_of
from offline import LIST_TYP, claims
from story import CID, DAY, HOME, HOME_DID, LOG, MIA, MINUTE, NEXT_LOG, SECOND, SHOP, START, STATUS_URI, case, forge, key, payload_of, words

_VKEY = NoteSigner(LOG, ED25519, key("log")).verifier.text
_NEXT_VKEY = NoteSigner(NEXT_LOG, ED25519, key("next log")).verifier.text


def _named(number: int) -> Signer:
    return Signer(f"{HOME_DID}#home-{number}", key(f"{HOME_DID} home-{number}"))


KEYS = (HOME, *(_named(number) for number in (2, 3, 4, 5)))
"""The server's keys: the second follows the first, the third the second; the fourth is stated as the third is broken, and
the fifth follows the fourth."""


def _chain() -> tuple[VerifiedStatement, ...]:
    first = sign_statement(KEYS[0], START, _VKEY)
    second = sign_statement(KEYS[1], START + DAY, _VKEY, KEYS[0])
    again = sign_statement(KEYS[1], START + 2 * DAY, _NEXT_VKEY, KEYS[1])
    third = sign_statement(KEYS[2], START + 3 * DAY + 1, _NEXT_VKEY, KEYS[1])
    broken = sign_statement(KEYS[3], START + 4 * DAY, _NEXT_VKEY, KEYS[2].kid)
    last = sign_statement(KEYS[4], START + 5 * DAY, _NEXT_VKEY, KEYS[3])
    return first, second, again, third, broken, last


PLACES = (
    (Place(LOG, 0), Place(NEXT_LOG, 0)),
    (Place(LOG, 40), Place(NEXT_LOG, 1)),
    (Place(NEXT_LOG, 2),),
    (Place(NEXT_LOG, 60),),
    (Place(NEXT_LOG, 90),),
    (Place(NEXT_LOG, 120),),
)
"""Where each statement was entered."""


def _listed(stated: VerifiedStatement) -> dict[str, Any]:
    return {"statement": stated.raw, **({} if stated.signed is None else {"signed": stated.signed})}


def _lists() -> list[dict[str, Any]]:
    first, second, again, third, broken, _ = _chain()
    eve = Signer(HOME.kid, key("eve"))
    forged = sign_statement(KEYS[1], START + DAY, _VKEY, eve)
    others = sign_statement(KEYS[2], START + DAY, _VKEY, KEYS[0])

    def changed(stated: VerifiedStatement, **changes: Any) -> dict[str, Any]:
        members = {**json.loads(stated.raw), **changes}
        raw = dump_json({name: value for name, value in members.items() if value is not None})
        return {**_listed(stated), "statement": raw.decode()}

    def signed_again(stated: VerifiedStatement, by: Signer, **changes: Any) -> dict[str, Any]:
        row = changed(stated, **changes)
        return {**row, "signed": forge(row["statement"].encode(), "comity-key+jwt", by)}

    one = _listed(first)
    bad: list[tuple[str, str, list[dict[str, Any]]]] = [
        ("a hole", "unknown_key", [one, _listed(third)]),
        ("no first one", "unknown_key", [_listed(second)]),
        ("not signed by the key before", "malformed", [one, {"statement": second.raw}]),
        ("signed by another key", "bad_signature", [one, {"statement": second.raw, "signed": forged.signed}]),
        ("signed over another statement", "bad_signature", [one, {"statement": second.raw, "signed": others.signed}]),
        ("the first one signed", "malformed", [{**one, "signed": second.signed}]),
        ("broken, and signed", "malformed", [*map(_listed, (first, second, again, third)), {**_listed(broken), "signed": third.signed}]),
        ("earlier than the one before", "malformed", [one, signed_again(second, HOME, at=START - 1)]),
        ("of another server", "malformed", [one, signed_again(second, HOME, did=SHOP.did, kid=SHOP.kid)]),
        ("without the new key's proof", "malformed", [one, signed_again(second, HOME, proof=None)]),
        ("the proof of another change", "wrong_proof", [one, signed_again(second, HOME, at=START + DAY + 1)]),
        ("a key that was stated before", "malformed", [*map(_listed, (first, second, again)), _listed(sign_statement(KEYS[0], START + 3 * DAY, _VKEY, KEYS[1]))]),
        ("a broken key that goes on", "malformed", [one, _listed(sign_statement(KEYS[0], START + DAY, _VKEY, KEYS[0].kid))]),
        ("a name that was stated before, for another key", "malformed", [*map(_listed, (first, second)), _listed(sign_statement(Signer(KEYS[0].kid, KEYS[2].key), START + 3 * DAY, _VKEY, KEYS[1]))]),
        ("a key that was stated before, under another name", "malformed", [*map(_listed, (first, second)), _listed(sign_statement(Signer(KEYS[2].kid, KEYS[0].key), START + 3 * DAY, _VKEY, KEYS[1]))]),
        ("one name for two keys", "malformed", [*map(_listed, (first, second)), _listed(sign_statement(Signer(KEYS[1].kid, KEYS[2].key), START + 3 * DAY, _VKEY, KEYS[1]))]),
        ("the first one, broken", "malformed", [changed(first, broken=True)]),
        ("a proof that is none", "wrong_proof", [one, signed_again(second, HOME, proof="x")]),
        ("a proof by a key alone", "wrong_proof", [one, signed_again(second, HOME, proof=forge(payload_of(json.loads(second.raw)["proof"]), PROOF_TYP, MIA))]),
        ("a blank", "malformed", [{"statement": first.raw.replace(",", ", ", 1)}]),
        ("members in another order", "malformed", [{"statement": dump_json(dict(reversed(json.loads(first.raw).items()))).decode()}]),
        ("a member too many", "malformed", [{"statement": first.raw[:-1] + ',"price":1}'}]),
        ("a mark that says no", "malformed", [one, signed_again(second, HOME, broken=False)]),
        ("a clock that was ahead, with the first key", "malformed", [changed(first, ahead=START)]),
        ("a clock that was ahead, with a new key", "malformed", [one, signed_again(second, HOME, ahead=START)]),
        ("a home that is a key", "malformed", [changed(first, did=MIA.did, kid=MIA.kid, key=MIA.key.public.multibase)]),
    ]
    at_once = sign_statement(KEYS[1], START, _VKEY, KEYS[0])
    long = Signer(f"{HOME_DID}#".ljust(400, "a"), key("long")), Signer(f"{HOME_DID}#".ljust(400, "b"), key("longer"))
    names = [sign_statement(long[0], START, _VKEY), sign_statement(long[1], START + DAY, "~" * 400, long[0])]
    after = sign_statement(KEYS[1], START + 2 * DAY, _NEXT_VKEY, KEYS[1], START + 9 * DAY)
    good = [("the first alone", [one]), ("a log after a clock that was ahead", [*map(_listed, (first, second, after))]), ("all of them", [_listed(it) for it in _chain()]), ("two at one time", [one, _listed(at_once)]), ("names as long as can be", [_listed(it) for it in names])]
    made = [{"name": name, "list": rows, "kids": [json.loads(row["statement"])["kid"] for row in rows]} for name, rows in good]
    for row in made:
        verify_statements(ListedStatement.model_validate(it) for it in row["list"])
    return [*made, *(case(name, code, list=rows) for name, code, rows in bad)]


def _keys(pin: int, *accepted: str) -> HomeKeys:
    chain = [PlacedStatement(stated, places) for stated, places in zip(_chain(), PLACES, strict=True)]
    return follow_keys(HomeParty.of(KEYS[pin]), chain, accepted)


def _opened_at(log: str, index: int, signer: Signer) -> str:
    return sign_event(Opened(iss=HOME_DID, cid=CID, event="opened", log=log, index=index, at=START + DAY), signer)


def _events() -> list[dict[str, Any]]:
    """Events without an entry, by each key around each change, for three readers."""
    made = []
    readers = ((0, ()), (1, ()), (1, (KEYS[3].kid,)))
    spots = [(LOG, index) for index in (0, 1, 40, 41)] + [(NEXT_LOG, index) for index in (1, 2, 3, 60, 61, 90, 91, 121)]
    for pin, accepted in readers:
        for log, index in [*spots, ("home.example/log/other", 5)]:
            for signer in KEYS:
                raw, code = _opened_at(log, index, signer), None
                try:
                    open_home_event(raw, _keys(pin, *accepted))
                except Refused as refused:
                    code = refused.code
                row = {"pinned": KEYS[pin].kid, "accepted": list(accepted), "jws": raw, "log": log, "index": index}
                made.append({**row, "by": signer.kid, **({} if code is None else {"code": code})})
    return made


def _status_times() -> list[dict[str, Any]]:
    times = (START // 1000 - 1, START // 1000, (START + DAY) // 1000 - 1, (START + DAY) // 1000, (START + DAY + MINUTE) // 1000 - 1, (START + DAY + MINUTE) // 1000)
    reader = _keys(0)
    return [
        {"kid": signer.kid, "iat": iat, "taken": reader.find_list_key(signer.kid, iat) is not None}
        for signer in KEYS[:2]
        for iat in times
    ]


def _list_keys() -> list[dict[str, Any]]:
    """Which keys of status lists three readers take, around each change."""
    moments = sorted({it.statement.at + off for it in _chain() for off in (0, SECOND, MINUTE)})
    asked = sorted({moment // 1000 + off for moment in moments for off in (-1, 0)})
    rows = []
    for pin, accepted in ((0, ()), (1, ()), (1, (KEYS[3].kid,))):
        reader = _keys(pin, *accepted)
        for signer in KEYS:
            taken = [iat for iat in asked if reader.find_list_key(signer.kid, iat) is not None]
            rows.append({"pinned": KEYS[pin].kid, "accepted": list(accepted), "kid": signer.kid, "asked": asked, "taken": taken})
    return rows


def _signed_lists() -> list[dict[str, Any]]:
    """Status lists by the first key, before and after it gave way, as the first reader opens them."""
    rows = []
    for iat, by in (((START + DAY) // 1000 + 59, HOME), ((START + DAY) // 1000 + 60, HOME), ((START + DAY) // 1000, KEYS[1])):
        raw = forge(claims({3: 0}, iat=iat), LIST_TYP, by)
        row = {"uri": STATUS_URI, "jws": raw, "iat": iat, "by": by.kid}
        try:
            open_home_list(raw, STATUS_URI, _keys(0))
        except Refused as refused:
            row["code"] = refused.code
        rows.append(row)
    return rows


def _at_once() -> dict[str, Any]:
    """Two keys that were stated at one time: the first ends when it began."""
    chain = [sign_statement(KEYS[0], START, _VKEY), sign_statement(KEYS[1], START, _VKEY, KEYS[0])]
    reader = follow_keys(HomeParty.of(KEYS[0]), [PlacedStatement(it, (Place(LOG, number),)) for number, it in enumerate(chain)])
    asked = [START // 1000 + off for off in (-1, 0, 59, 60, 61)]
    rows = [
        {"kid": signer.kid, "asked": asked, "taken": [iat for iat in asked if reader.find_list_key(signer.kid, iat) is not None]}
        for signer in KEYS[:2]
    ]
    return {"chain": [_listed(it) for it in chain], "keys": rows}


def _entered() -> list[dict[str, Any]]:
    """Receipts, and whether each is one of an entry of the second statement."""
    chain, salt, rows = _chain(), salt_of("entered"), []
    signer = NoteSigner(LOG, ED25519, key("log"))
    raw, at = chain[1].raw.encode(), chain[1].statement.at
    good = entry_of_key(raw, public_tag_key(HOME_DID), salt, at)
    later = entry_of_key(raw, public_tag_key(HOME_DID), salt, at + DAY)
    early = entry_of_key(raw, public_tag_key(HOME_DID), salt, at - 1)
    made = {
        "its own": (good, at),
        "later, in a further log": (later, at + DAY),
        "before it was stated": (early, at - 1),
        "under another tag": (good._replace(tag=bytes(16)), at),
        "in another minute": (good._replace(time=good.time + 1), at),
        "of another statement": (entry_of_key(chain[0].raw.encode(), public_tag_key(HOME_DID), salt, at), at),
    }
    for name, (entry, moment) in made.items():
        leaf = leaf_hash(entry.to_bytes())
        head = sign_checkpoint(Checkpoint(LOG, 1, leaf), signer)
        text = receipt_text(Opening(entry.to_bytes(), salt, moment), 0, [], head)
        entered = is_entry_of(chain[1], open_receipt(text, signer.verifier))
        rows.append({"name": name, "statement": 1, "receipt": text, "entered": entered})
    return rows


def home() -> dict[str, Any]:
    """A home server's keys: lists of statements (a bad one has `code`), the entries of the good ones, and for readers
    who pinned a key which events they take. An event with `code` is refused. `restated`: a key that states itself so
    often, a millisecond after each time, for a log of that name; once more is refused."""
    rows = [
        {"list": _listed(stated), "places": [place.members for place in places]}
        for stated, places in zip(_chain(), PLACES, strict=True)
    ]
    stranger = HomeParty.of(Signer(f"{HOME_DID}#home-9", key("eve")))
    tag_key, salt = public_tag_key(HOME_DID), salt_of("home key")
    second = _chain()[1]
    at = second.statement.at
    as_of = AsOf(first=words("first"), second=words("second"), zones="vectors")
    expired = Expired(iss=HOME_DID, cid=CID, event="expired", act=words("act"), side="first", log=LOG, index=41, at=at + SECOND, as_of=as_of)
    return {
        "tag_keys": [{"did": did, "key": public_tag_key(did).hex()} for did in (HOME_DID, SHOP.did)],
        "statement": second.raw,
        "signed": second.signed,
        "entry": {"at": at, "salt": salt.hex(), "entry": entry_of_key(second.raw.encode(), tag_key, salt, at).to_bytes().hex()},
        "lists": _lists(),
        "chain": rows,
        "events": [*_events(), {"pinned": HOME.kid, "accepted": [], "jws": sign_event(expired, KEYS[1]), "log": LOG, "index": 41, "by": KEYS[1].kid}],
        "status_lists": _status_times(),
        "list_keys": _list_keys(),
        "at_once": _at_once(),
        "signed_lists": _signed_lists(),
        "restated": {
            "kid": HOME.kid, "seed": HOME.key.seed.hex(), "at": START, "log": _VKEY, "most": MOST_STATEMENTS,
        },
        "log": _VKEY,
        "entered": _entered(),
        "parties": {signer.kid: HomeParty.of(signer).model_dump() for signer in KEYS},
        "not_stated": stranger.model_dump(),
    }
