"""Vectors of notices."""

import json
from typing import Any

from comity.encoding import hash_id
from comity.documents.notices import MOST_NOTICES, NOTICE_TYP, NOTICES_IN
from story import EVE, MIA, NOW, SHOP, case, forge, keys_of, payload_of, published

DAY = 86_400
EIGHT = ("de", "en", "fr", "it", "rm", "es", "pl", "tr")
AWAY: dict[str, Any] = {
    "v": 2,
    "iss": SHOP.did,
    "iat": NOW,
    "kind": "away",
    "from": NOW + DAY,
    "until": NOW + 14 * DAY,
    "texts": {"en": "We are at the sea.", "de-CH": "Wir sind am Meer: Notfälle unter 020 123 456 (nur SMS)."},
}
GOAL = {"id": "calls", "measure": "answered_2d", "target": 0.9, "by": NOW + 90 * DAY}
STEP = {"label": "Two people at the phone", "from": NOW + 7 * DAY, "until": NOW + 30 * DAY}
PLAN: dict[str, Any] = {
    "v": 2,
    "iss": SHOP.did,
    "iat": NOW,
    "kind": "plan",
    "title": "Answer sooner",
    "goals": [GOAL],
    "initiatives": [STEP],
}


def notices() -> dict[str, Any]:
    """Notices, and what is none. `keys` are those of did:web parties; `limit` is how many of one business count (NOTICE-5)."""
    good = []
    for name, members in {
        "away": AWAY,
        "away, no words": {**AWAY, "texts": {}},
        "away, eight languages": {**AWAY, "texts": dict.fromkeys(EIGHT, "x" * 200)},
        "away, ninety-two days": {**AWAY, "until": AWAY["from"] + 92 * DAY},
        "away, its end": {**AWAY, "from": NOW, "until": NOW},
        "plan": PLAN,
        "plan, no initiative and days": {**PLAN, "goals": [{**GOAL, "target": 14}], "initiatives": []},
    }.items():
        raw = forge(members, NOTICE_TYP, SHOP)
        good.append({"name": name, "jws": raw, "id": hash_id(raw.encode()), "payload": json.loads(payload_of(raw))})

    def bad(what: str, base: dict[str, Any] = AWAY, code: str = "malformed", /, **changes: Any) -> dict[str, Any]:
        members = {name: value for name, value in {**base, **changes}.items() if value is not None}
        return case(what, code, jws=forge(members, NOTICE_TYP, SHOP))

    return {
        "keys": keys_of(SHOP),
        "limit": {"notices": MOST_NOTICES, "seconds": NOTICES_IN},
        "good": good,
        "bad": [
            bad("a version that is none", v=1),
            bad("a kind that is none", kind="advert"),
            bad("no end", until=None),
            bad("no texts", texts=None),
            bad("it ends before it begins", until=AWAY["from"] - 1),
            bad("it ended before it was made", **{"from": NOW - 9, "until": NOW - 1}),
            bad("ninety-two days and a second", until=AWAY["from"] + 92 * DAY + 1),
            bad("nine languages", texts=dict.fromkeys((*EIGHT, "el"), "x")),
            bad("a language that is none", texts={"english!": "x"}),
            bad("an empty text", texts={"en": ""}),
            bad("a text of 201 characters", texts={"en": "x" * 201}),
            bad("a text of two lines", texts={"en": "one\ntwo"}),
            bad("a text that reads backwards", texts={"en": "abc\u202edef"}),
            bad("a member too many", link="https://shop.example"),
            bad("a plan with words of an absence", PLAN, texts={"en": "x"}),
            bad("a plan without goals", PLAN, goals=[]),
            bad("a plan of thirteen goals", PLAN, goals=[{**GOAL, "id": f"g{n}"} for n in range(13)]),
            bad("two goals of one id", PLAN, goals=[GOAL, GOAL]),
            bad("a target below nothing", PLAN, goals=[{**GOAL, "target": -0.1}]),
            bad("a target that is a word", PLAN, goals=[{**GOAL, "target": "most"}]),
            bad("a target that is true", PLAN, goals=[{**GOAL, "target": True}]),
            bad("a result", PLAN, goals=[{**GOAL, "reached": 0.5}]),
            bad("fifty-one initiatives", PLAN, initiatives=[STEP] * 51),
            bad("an initiative that ends before it begins", PLAN, initiatives=[{**STEP, "until": NOW}]),
            bad("in another's name", AWAY, "bad_signature", iss=published("did:web:home.example:b:other").did),
            case("by a stranger", "unknown_key", jws=forge(AWAY, NOTICE_TYP, published("did:web:nowhere.example"))),
            case("under another's key", "bad_signature", jws=forge(
                AWAY, NOTICE_TYP, EVE, {"alg": "EdDSA", "typ": NOTICE_TYP, "kid": SHOP.kid}
            )),
            case("in the name of a business", "bad_signature", jws=forge(AWAY, NOTICE_TYP, MIA)),
            case("an act's type", "malformed", jws=forge(AWAY, "comity-act+jwt", SHOP)),
        ],
    }
