"""Vectors of forms: each member of each signed text at the borders of what it may be, and just beyond."""

import copy
import json
from collections.abc import Iterable
from typing import Any

from acts import acts, members_of, one_of_each
from comity.documents.acts import typ_of
from comity.documents.agreements import AGREEMENT_TYP
from comity.errors import Malformed
from comity.documents.events import EVENT_TYP
from comity.crypto.keys import Signer
from comity.documents.notices import NOTICE_TYP
from comity.documents.offers import OFFER_TYP, HomeParty, text_hash
from comity.documents.status_lists import STATUS_LIST_TYP
from connecting import events
from offline import claims
from story import EVE, HOME, MIA, NOW, SHOP, agreement, offer, offer_members, pairwise, published, words

ABSENT = object()
"""In place of a value: the member is left out."""
Row = tuple[str, Iterable[Any], Iterable[Any]]
"""Where (a JSON pointer), values that are taken there, and values that are not."""


# --- words


def _seconds(path: str) -> Row:
    return path, (0, 253_402_300_799), (-1, 253_402_300_800, 1.5, "1", True)


def _milliseconds(path: str) -> Row:
    return path, (0, 253_402_300_799_999), (-1, 253_402_300_800_000, 1.5, "1")


def _sequence(path: str) -> Row:
    return path, (0, 2**53 - 2), (-1, 2**53 - 1, 1.5, "1", True)


def _hash(path: str) -> Row:
    return path, ["-_" * 21 + "8"], ["A" * 42 + "B", "A" * 42, "A" * 44, 1]


def _every_hash(path: str) -> Row:
    good = ["-_" * 21 + last for last in "AEIMQUYcgkosw048"]
    bad = ["A" * 42 + last for last in "BHLPTXbfjnrvz359-_"] + ["A" * 41 + "A", "A" * 44, "A" * 41 + "+A", "A" * 43 + "\n", ""]
    return path, good, [*bad, "\n" + "A" * 43, 1]


def _token(path: str) -> Row:
    bad = ("", "a" * 33, "A", "1a", "_a", "a-b", "a.b", "a\n", "\na", "é", 1)
    return path, ("a", "a_1z", "a" * 32, "z" + "9" * 31), bad


def _purpose(path: str) -> Row:
    long, part = "a" * 32, "b" * 32
    good = ("a", long, "z.0_9", f"{long}.{part}.{part}.{part}", "a._.9.z")
    bad = ("", "a" * 33, f"a.{part}b", "a.b.c.d.e", "a.", ".a", "a..b", "A", "a.B", "1", "_a", "a-b", "a.b-c", "a\n", "\na")
    return path, good, (*bad, 1)


def _reach(path: str) -> Row:
    return path, ["notes", "complaint", "safety"], ["note", "note.x"]


def _granted(path: str) -> Row:
    return path, ["safe", "notes"], ["note", "note.x", "safety", "security", "legal_notice", "renewal", "complaint"]


def _reaches(path: str) -> Row:
    many = [f"p{number}" for number in range(17)]
    return path, (many[:16], ["notes", "safety"]), ([], many, ["a", "a"], ["a", "note"], "a")


def _topic(path: str) -> Row:
    long, part = "a" * 32, "b" * 32
    good = ("1", "z-_9", long, f"{long}.{part}.{part}.{part}", "a.-._.9")
    bad = ("", "a" * 33, f"a.{part}b", "a.b.c.d.e", "a.", ".a", "a..b", "A", "a.B", "-a", "_a", "a b", "a\n", "\na", 1)
    return path, good, bad


def _purposes(path: str) -> Row:
    many = [f"p{number}" for number in range(17)]
    return path, (["a"], many[:16], ["a", "a.b"]), ([], many, ["a", "b", "a"], "a", ["A"], {"a": 1}, [1])


def _channels(path: str) -> Row:
    each = ["app", "email", "phone", "post", "sms", "visit"]
    return path, (each, *([it] for it in each)), ([], ["app", "app"], ["fax"], "app", [*each, "app"])


def _budget(path: str) -> Row:
    good = [{"max": most, "per": per} for most in (0, 100) for per in ("day", "week", "month")]
    bad = [{"max": -1, "per": "day"}, {"max": 101, "per": "day"}, {"max": 1}, {"per": "day"}, {"max": 1.5, "per": "day"}]
    return path, good, [*bad, {"max": 1, "per": "year"}, {"max": 1, "per": "day", "by": 1}, [1, "day"], {}]


def _did(path: str) -> Row:
    long = "did:web:a.example" + (":" + "p" * 63) * 5 + ":" + "p" * 62
    good = [EVE.did, "did:web:other.example", long, "did:web:localhost%3A65535"]
    bad = ["", long + "p", "did:plc:abc", EVE.did + "#" + EVE.did[8:], EVE.did + "\n", "https://home.example", 1]
    return path, good, bad


def _url(path: str) -> Row:
    good = ("http://a", "https://" + "~" * 392, "https://!")
    bad = ("https://" + "a" * 393, "https://", "ftp://a", "xhttps://a", "https://a b", "https://ä", "https://a\n", " https://a", 1)
    return path, good, bad


def _body(path: str) -> Row:
    # What it must look like is asked when an act is accepted, and never by a reader (BODY-5).
    return path, ("A.A.A.A.A", "hello", ""), (1,)


def _label(path: str) -> Row:
    signs = "\0 \x1f \x7f \x80 \x9f \u202a \u202e \u2066 \u2069 \u2028 \u2029 \n".split(" ")
    good = ("a", "_", "a_b", "ü" * 100, "~ \u2027 \U0001f600", "日本", "א ב", "\u0645\u06cc\u200c\u0631\u0648\u0645", "e\u0301", "\u2600\ufe0f a")
    return path, good, ("", "a" * 101, *(f"a{sign}b" for sign in signs), "\na", "a\n", 1, *_UNSEEN_NAMES)


def _words(path: str, good: Iterable[str], *bad: Any) -> Row:
    each = list(good)
    return path, each, (*(it + "_" for it in each), "", 1, *bad)


def _optional(*paths: str) -> list[Row]:
    return [(path, [ABSENT], []) for path in paths]


def _needed(*paths: str) -> list[Row]:
    return [(path, [], [ABSENT]) for path in paths]


# --- the members of acts and settings

_LINK = [
    _did("/aud"), _seconds("/iat"), _hash("/cid"), _sequence("/seq"), _every_hash("/prev"),
    *_needed("/aud", "/iat", "/cid", "/seq", "/prev", "/iss", "/act"),
]  # fmt: skip
_CATEGORIES = (
    "identity", "contact", "messages", "history", "preferences", "payments", "documents", "media", "location", "usage",
    "profile", "special",
)  # fmt: skip
_GROUNDS = (
    "legal_obligation", "legal_claims", "contract", "public_interest", "public_health", "archiving", "expression",
    "vital_interests", "legitimate_interests", "restriction",
)  # fmt: skip


def _each_kept() -> list[dict[str, str]]:
    pairs = [{"what": what, "ground": ground} for what in _CATEGORIES for ground in _GROUNDS]
    return pairs[:24]


def _recipients(path: str) -> Row:
    signs = ["\0", "\x1f", "%", "*", "/", ":", "@", "[", "`", "{", "\x7f", "\x9f", "\u2028", "\u202e", "\u2066", "\u2069", "?", "#", "=", "\\"]
    many = [f"x{number}" for number in range(17)]
    good = (["a"], ["a" * 60], many[:16], ["Ü & Söhne (+49), 'x'-1."], ["&"], ["+1"], ["日本"])
    inside, before = ([f"a{sign}b"] for sign in signs), ([f"{sign}b"] for sign in signs)
    return path, good, ([], [""], ["a" * 61], many, ["a", "a"], ["a!"], [" \n"], "a", *inside, *before)


def _zone(path: str) -> Row:
    good = ("A", "Etc/GMT+1", "America/Argentina/Buenos_Aires", "A" * 64, "a-b")
    bad = ("", "A" * 65, "a/b/c/d", "1a", "/a", "a/", "a//b", "a b", "../a", "a/..", "a.b", "a\n", "\na", 1)
    return path, good, bad


def _windows(path: str) -> Row:
    day = {"days": ["mo"], "start": "08:00", "end": "18:00"}
    week = ["mo", "tu", "we", "th", "fr", "sa", "su"]
    times = ("00:00", "09:59", "19:09", "20:00", "23:59")
    good = [[], [day] * 42, [{**day, "days": week}], [{**day, "start": it, "end": it} for it in times]]
    good += [[{**day, "end": "24:00"}], *([{**day, "days": [it]}] for it in week)]
    bad_times = ("24:00", "24:01", "25:00", "30:00", "9:00", "09:60", "0900", "09:00\n", " 9:00", "-1:00", "")
    bad: list[Any] = [[day] * 43, [{**day, "days": []}], [{**day, "days": [*week, "mo"]}], [{**day, "days": ["mon"]}]]
    bad += [[{**day, "start": it}] for it in bad_times] + [[{**day, "end": it}] for it in bad_times[1:]]
    bad += [[{**day, "days": ["mo", "tu", "mo"]}], [{**day, "why": 1}], [{"days": ["mo"], "start": "08:00"}], [day, {}], {}]
    return path, good, bad


def _acts() -> dict[str, tuple[dict[str, Any], list[Row]]]:
    """For each kind of act or setting its members, all of them, and what else each may be."""
    each = one_of_each()
    kept: dict[str, Any] = {"what": "payments", "ground": "legal_obligation", "until": NOW}
    rows: dict[str, tuple[str, list[Row]]] = {
        "grant": (
            "grant, all members",
            [
                *_LINK, _seconds("/exp"), _purposes("/purposes"), _purpose("/purposes/0"), _channels("/channels"), _reach("/purposes/0"),
                ("/status/status_list/idx", (0, 2**32 - 1), (-1, 2**32, 1.5, "1", True)), _url("/status/status_list/uri"),
                ("/data", (["a"], [f"d{it}" for it in range(16)]), ([], [f"d{it}" for it in range(17)], ["a", "a"], "a")),
                _token("/data/0"), _budget("/budget"), _hash("/replaces"), _token("/value"),
                *_optional("/data", "/budget", "/replaces", "/value"),
                *_needed("/exp", "/purposes", "/channels", "/status", "/status/status_list", "/status/status_list/idx"),
                *_needed("/status/status_list/uri"), ("/why", [], ["x"]), ("/status/why", [], ["x"]),
                ("/status/status_list/why", [], ["x"]), ("/iss", [], [EVE.did + "x", 1]),
            ],
        ),
        "withdraw": ("withdraw", [_hash("/grant"), *_needed("/grant", "/cid")]),
        "mute": (
            "mute, in part",
            [
                _purposes("/purposes"), _channels("/channels"), ("/until", [NOW], []), _seconds("/until"),
                *_optional("/purposes", "/channels"),
            ],
        ),
        "unmute": ("unmute, one", [_hash("/mute"), *_optional("/mute")]),
        "revoke": ("revoke", [("/mute", [], [words("m")])]),
        "message": (
            "message, all members",
            [
                _purpose("/purpose"), _reach("/purpose"), _topic("/topic"), _hash("/reply_to"), _seconds("/exp"), _body("/body"),
                _words("/if_muted", ("hold", "drop", "fail")), *_optional("/topic", "/reply_to"),
                *_needed("/purpose", "/if_muted", "/exp", "/body"),
            ],
        ),
        "contacted": (
            "contacted",
            [
                _words("/channel", ("email", "phone", "post", "sms", "visit"), "app"), _purpose("/purpose"),
                _topic("/topic"), *_optional("/topic"), *_needed("/channel", "/purpose"),
            ],
        ),
        "ask": (
            "ask",
            [
                _token("/kind"), _words("/effort", ("minute", "hour", "money")), _seconds("/by"), _body("/body"),
                *_optional("/by"), *_needed("/kind", "/effort", "/body"),
            ],
        ),
        "answer": (
            "answer",
            [
                _hash("/ask"), _words("/answer", ("yes", "no", "not_now")), _body("/body"), *_optional("/body"),
                *_needed("/ask", "/answer"),
            ],
        ),
        "done": ("done", [_hash("/ask"), *_needed("/ask"), ("/body", [], ["A.A.A.A.A"])]),
        "thank": ("thank", [_hash("/ask"), *_needed("/ask"), ("/body", ["A.A.A.A.A", "A"], [1])]),
        "remember": (
            "remember",
            [_token("/key"), _topic("/topic"), ("/body", ["A.A.A.A.A", "A"], [1]), *_optional("/topic"), *_needed("/key")],
        ),
        "forget": (
            "forget",
            [_token("/key"), _topic("/topic"), *_optional("/topic"), *_needed("/key"), ("/body", [], ["A.A.A.A.A"])],
        ),
        "milestone": (
            "milestone",
            [
                _words("/kind", ("bought", "installed", "serviced", "complained", "put_right")), _topic("/topic"),
                _seconds("/when"), _seconds("/lasts"), ("/body", ["A.A.A.A.A", "A"], [1]), *_optional("/lasts"),
                *_needed("/kind", "/topic", "/when"),
            ],
        ),
        "feedback": (
            "feedback, a contest",
            [
                _hash("/message"), _reach("/purpose"), _topic("/had"), _topic("/topic"), _granted("/as"),
                ("/says", [], ["useful", "maybe", "", 1]), ("/as", ["care.offer"], []), *_optional("/had", "/topic"),
                *_needed("/message", "/purpose", "/says", "/as"), ("/as_", [], ["sales"]),
            ],
        ),
        "renounce": (
            "renounce, all members",
            [
                ("/grants", ([words("g")], [words(f"g{it}") for it in range(32)]), ([], [words(f"g{it}") for it in range(33)])),
                ("/grants", [], [[words("g"), words("g")], words("g"), ["x"]]), _reaches("/purposes"), _channels("/channels"),
                _words("/because", ("one_click", "reply_stop", "told_us", "not_needed")),
                *_optional("/purposes", "/channels"), *_needed("/grants", "/because"),
            ],
        ),
        "erasure": (
            "erasure, all members",
            [
                ("/deleted", ([it] for it in ("contact", "profile")), (["soul"], ["contact", "contact"], ["payments"], "contact")),
                ("/kept", ([{**kept, "what": it}] for it in ("identity", "documents", "media", "location", "usage", "special")), []),
                ("/kept", ([{**kept, "ground": it}] for it in _GROUNDS), ([], [{**kept, "ground": "consent"}], [kept, kept])),
                ("/kept", [[{"what": "payments", "ground": "contract"}]], [[{"what": "payments"}], [{"ground": "contract"}]]),
                ("/kept/0/until", (0, 253_402_300_799), (-1, 253_402_300_800, "1")), ("/kept/0/why", [], ["x"]),
                ("/kept", [], [[{**kept, "what": "contact"}], [kept, {**kept, "until": 1}]]),
                _recipients("/passed_on"), *_optional("/kept", "/passed_on"), *_needed("/deleted"),
            ],
        ),
        "hours": (
            "hours",
            [_zone("/zone"), _windows("/windows"), _words("/shown", ("not_now", "end")), *_needed("/zone", "/windows", "/shown")],
        ),
        "budget": ("budget", [_budget("/messages"), _budget("/asks"), *_optional("/messages", "/asks")]),
        "mute_end": ("mute_end", [_hash("/mute"), _seconds("/until"), *_needed("/mute", "/until")]),
    }  # fmt: skip
    made = {kind: (members_of(kind, **each[name]), own) for kind, (name, own) in rows.items()}
    made["remember"][0]["key"] = "paper"
    plain = members_of("feedback", **each["feedback"])
    says = ("useful", "not_useful", "too_often", "not_interested", "thanks")
    made["feedback, no contest"] = (plain, [
        ("/says", says, ["mislabelled", "great"]), ("/as", [], ["sales"]), ("/topic", [], ["windows"]), ("/had", ["windows"], []),
    ])  # fmt: skip
    narrow = members_of("feedback", message=words("m"), purpose="care", says="mislabelled", **{"as": "sales"})
    made["feedback, without topics"] = (narrow, [("/as", ["care.x"], ["care"]), ("/topic", ["windows"], [])])
    return made


_UNSEEN_TEXTS = [
    f"a{it}b" for it in "\u00ad\u034f\u061c\u200b\u200e\u2060\u3164\ufdd0\ufeff\ufffe\U0001ffff\U0010ffff\U000e0041\U000e0100"
] + [" ", "\u00a0\u3000", "\u0301", "\u2800", "\u200d", "a \u200d", "a\u200d\u200d", "a\u200d\ufe0f", "a\ufe0f\ufe0f"]
"""What nobody sees, or sees nothing in."""
_UNSEEN_NAMES = [
    *_UNSEEN_TEXTS, " a", "a ", "a  b", "a\u00a0b", "a\u202fb", "a\u3000b", "a\u200d", "\u200ca", "a\u200d b", "a \u200cb", "\u2800\u2800",
    "\ufe0fa", "a\u2800", "\u115f", "\u1160a", "\uffa0", "\u180eb", "a\u2028", "\U000e0001",
]  # fmt: skip
"""What is no name besides: spaces at its ends, in a row, of another kind, and joiners that join nothing."""


def _notices() -> dict[str, tuple[dict[str, Any], list[Row]]]:
    """Of being away, and a plan."""
    base = {"v": 2, "iss": SHOP.did, "iat": NOW}
    away = {**base, "kind": "away", "from": NOW, "until": NOW + 10, "texts": {"en": "Back soon."}}
    plan = {
        **base, "kind": "plan", "title": "This year", "goals": [{"id": "a", "measure": "kept", "target": 0.5, "by": NOW}],
        "initiatives": [{"label": "Fewer mails", "from": NOW, "until": NOW + 5}],
    }  # fmt: skip
    long, goal = 92 * 86_400, plan["goals"][0]
    some = {f"e{letter}": "x" for letter in "abcdefghi"}
    first: list[Row] = [("/v", [], [1, 3, 2.0, "2"]), ("/iat", [0], [-1, 1.5]), ("/why", [], ["x"])]
    first += _needed("/v", "/iss", "/iat", "/kind")
    label = _label("/texts/en")
    return {
        "notice: away": (away, [
            *first[:1], *first[2:], ("/until", [NOW, NOW + long], [NOW - 1, NOW + long + 1]), ("/from", [NOW + 10, NOW + 10 - long], [NOW + 11]),
            ("/iat", [NOW + 10, 0], [NOW + 11, -1]), ("/texts", [{}, dict(list(some.items())[:8])], [some, {"english": "x"}, [], {"en": 1}]),
            ("/texts", [{"de": "x", "de-CH": "x"}], [{"de": "x", "DE": "x"}, {"de-CH": "x", "de-ch": "x"}]),
            ("/texts/en", ["\u2600\ufe0f \U0001f468\u200d\U0001f373", "\u0645\u06cc\u200c\u0631\u0648\u0645", "a_b_\ufe0f"], _UNSEEN_TEXTS),
            ("/texts/en", ["ü" * 200, "https://x"], ["", "x" * 201, *(it for it in label[2] if isinstance(it, str) and len(it) < 50 and it not in _UNSEEN_NAMES)]),
            *_needed("/from", "/until", "/texts"), ("/starts", [], [NOW]),
        ]),
        "notice: a plan": (plan, [
            *first, _label("/title"), ("/goals", [[{**goal, "id": f"g{it}"} for it in range(12)]], [[], [goal, goal], [{**goal, "id": f"g{it}"} for it in range(13)]]),
            _token("/goals/0/id"), _token("/goals/0/measure"), ("/goals/0/target", [0.0, 366.0, 0.25], [-0.5, 366.5, "1"]), _seconds("/goals/0/by"),
            ("/initiatives", [[], [plan["initiatives"][0]] * 50], [[plan["initiatives"][0]] * 51]), _label("/initiatives/0/label"),
            ("/initiatives/0/from", [0, NOW + 5], [NOW + 6, -1]), ("/initiatives/0/until", [NOW], [NOW - 1, 253_402_300_800]),
            *_needed("/title", "/goals", "/initiatives", "/goals/0/id", "/goals/0/measure", "/goals/0/target", "/goals/0/by"),
            *_needed("/initiatives/0/label", "/initiatives/0/from", "/initiatives/0/until"), ("/goals/0/why", [], ["x"]),
            ("/initiatives/0/why", [], ["x"]), ("/texts", [], [{}]),
        ]),
    }  # fmt: skip


def _erasures() -> tuple[dict[str, Any], list[Row]]:
    """A statement that deletes all, and one that keeps as much as can be kept."""
    many = _each_kept()
    more = [*many, {"what": "documents", "ground": "contract"}]
    rows: list[Row] = [("/deleted", (list(_CATEGORIES), []), []), ("/kept", [many], [more])]
    return members_of("erasure", deleted=()), rows


# --- offers, agreements, events, status lists


def _terms(at: str) -> list[Row]:
    return [
        (f"{at}/id", ("!", "~" * 200), ("", "a" * 201, "a b", "ä", "a\n", "\na", 1)),
        (f"{at}/version", ("1", "~" * 32), ("", "a" * 33, "a b", "ä", "a\n", "\na", 1)),
        (f"{at}/lang", ("en", "deu", "de-CH-1996-x1", "zh-Hant-TW", "en-abcdefgh"), ("", "e", "engl", "en_GB", "en-", "en-a", "en-abcdefghi", "de-AA-BB-CC-DD", "1n", "en\n", "\nen")),
        _hash(f"{at}/sha256"),
        *_needed(f"{at}/id", f"{at}/version", f"{at}/lang", f"{at}/sha256"),
        (f"{at}/why", [], ["x"]),
    ]  # fmt: skip


def _nonce(path: str) -> Row:
    return path, ("A" * 16, "-_" * 32), ("A" * 15, "A" * 65, "A" * 15 + "+", "+" + "A" * 16, "A" * 16 + "\n", 1)


def _operator(path: str) -> Row:
    return path, ("a", "~ " * 99 + "~~"), ("", "a" * 201, "ä", "äa", "aä", "a\tb", "a\n", "\na", " ", " a", "a ", "a  b", 1)


def _mark(path: str) -> Row:
    return path, [True], [False, 1, "true"]


def _home(party: dict[str, str]) -> list[Row]:
    eve = {"did": EVE.did, "kid": EVE.kid, "key": EVE.key.public.multibase}
    rows: list[Row] = [
        ("/home", [], [eve, party["did"], {**party, "kid": f"did:web:other.example#{party['kid'].split('#')[1]}"}]),
        ("/home/key", [EVE.key.public.multibase], [party["key"] + "A", "z6Mk" + "1" * 44]), ("/home/why", [], ["x"]),
        *_needed("/home/did", "/home/kid", "/home/key"),
    ]  # fmt: skip
    return rows


def _allow() -> list[Row]:
    at = "/allow"
    return [
        _purposes(f"{at}/purposes"), _channels(f"{at}/channels"), (f"{at}/days", (1, 366), (0, 367, 1.5, "1")),
        (f"{at}/budget", [{"max": 1, "per": "day"}], [{"max": 0, "per": "day"}, {"max": 101, "per": "day"}]),
        (f"{at}/purposes", [["safe"]], [["safety"], ["care", "security"], ["legal_notice"], ["renewal"], ["complaint"]]),
        *_needed(f"{at}/purposes", f"{at}/channels", f"{at}/days"), (f"{at}/why", [], ["x"]),
    ]  # fmt: skip


def _offers() -> tuple[dict[str, Any], list[Row]]:
    plain = offer_members()
    terms = {name: it for name, it in plain["agreements"][0].items() if name != "text"}
    year = plain["iat"] + 366 * 86_400
    allow = {"purposes": ["service"], "channels": ["app"], "days": 30, "budget": {"max": 1, "per": "week"}}
    plain = {**plain, "to": EVE.did, "agreements": [terms], "allow": allow}
    return plain, [
        ("/v", [], [plain["v"] - 1, plain["v"] + 1, float(plain["v"]), str(plain["v"]), True]),
        ("/iat", [plain["exp"] - 1], [plain["exp"], -1, 1.5]),
        ("/exp", [plain["iat"] + 1, year], [plain["iat"], year + 1, 253_402_300_800]),
        _nonce("/nonce"), _operator("/operator"), *_terms("/agreements/0"), _did("/to"), _label("/name"),
        ("/agreements", [[terms] * 8], [[], [terms] * 9, terms]),
        ("/agreements/0/text", [], ["another text", 1]),
        *_home(HomeParty.of(HOME).model_dump()), *_allow(), _mark("/test"),
        _purposes("/purposes"), _channels("/channels"), _words("/use", ("one", "many")),
        *_optional("/channels", "/name", "/to", "/allow", "/allow/budget"),
        *_needed("/v", "/iss", "/iat", "/exp", "/nonce", "/home", "/operator", "/agreements", "/purposes", "/use"),
        ("/why", [], ["x"]),
    ]  # fmt: skip


def _offers_with_text() -> tuple[dict[str, Any], list[Row]]:
    long, longer = "x" * 16_384, "x" * 16_385
    base = offer_members()
    terms = base["agreements"][0]
    good = ("x", long, "One.\n\tTwo, three.\n", "\u00a7", "\u263a\ufe0f", "\u05d0\u200f\n", "\ufeffx", " x")
    bad = ("", longer, *(f"a{sign}b" for sign in "\0\x0b\r\x1f\x7f\x85\x9f\u202a\u202e\u2066\u2069"), "One.\r\nTwo.")
    blank = (" ", "\n\t\n", "\xa0\u3000", "\u2800", "\u3164\uffa0\u115f\u1160", "\u200b\u00ad", "\ufe0f", "\u0301")

    def rows(*texts: str) -> list[dict[str, Any]]:
        return [{**terms, "text": text, "sha256": text_hash(text)} for text in texts]

    return base, [("/agreements/0", rows(*good), rows(*bad, *blank))]


def _agreements() -> tuple[dict[str, Any], list[Row]]:
    plain = json.loads(agreement(offer()).to_json())
    first, second = plain["offerer"], plain["accepter"]
    week = plain["iat"] + 7 * 86_400
    other = published(SHOP.did, "key-2")
    return plain, [
        ("/v", [], [plain["v"] - 1, plain["v"] + 1, float(plain["v"]), str(plain["v"])]),
        _hash("/offer"), _operator("/operator"), _nonce("/nonce"), *_terms("/terms"),
        ("/iat", [plain["countersign_by"] - 1], [plain["countersign_by"], -1]),
        ("/countersign_by", [plain["iat"] + 1, week], [plain["iat"], week + 1]),
        ("/offerer", [], [second, {**first, "did": EVE.did}, {**first, "kid": EVE.kid}, {**first, "why": 1}]),
        ("/offerer", [], [{**first, "kid": f"{first['did']}"}, {**first, "key": second["key"]}]),
        ("/offerer/kid", [], [first["did"], first["kid"] + "#1", first["did"] + "#a/b", first["did"] + "#", first["did"] + "#ä", first["kid"] + "\n"]),
        ("/offerer/key", [], ["z6Mk" + "1" * 44, "z6Mk" + "A" * 43, first["key"] + "A", first["key"] + "\n", 1]),
        ("/accepter", [], [{"did": other.did, "kid": other.kid, "key": other.key.public.multibase}]),
        ("/accepter", [], [{**second, "key": other.key.public.multibase}, {**second, "kid": first["kid"]}]),
        *_needed("/v", "/offer", "/offerer", "/accepter", "/terms", "/operator", "/home", "/nonce", "/iat"),
        *_needed("/countersign_by", "/offerer/did", "/offerer/kid", "/offerer/key"), _mark("/test"),
        *_home(plain["home"]), ("/home/key", [], [first["key"], second["key"]]),
        ("/why", [], ["x"]), ("/terms/text", [], ["x"]),
    ]  # fmt: skip


def _events() -> dict[str, tuple[dict[str, Any], list[Row]]]:
    given = {row["name"]: row["payload"] for row in events()["good"]}
    side = _words("/side", ("first", "second"))
    long = "~" * 255
    log: Row = ("/log", ("!", "*", ",", long), ("", long + "~", "a b", "a+b", "ä", "a\n", "\na", 1))
    first: list[Row] = [_hash("/cid"), *_needed("/iss", "/cid", "/event"), ("/why", [], ["x"])]
    place = [_hash("/act"), side, *_needed("/act", "/side")]
    zones: Row = ("/as_of/zones", ("!", "~" * 32), ("", "a" * 33, "a b", "ä", "a\n", "\na", 1))
    after = [
        _hash("/as_of/first"), _hash("/as_of/second"), zones, ("/as_of/settings", [], [words("head")]),
        *_needed("/as_of", "/as_of/first", "/as_of/second", "/as_of/zones"),
    ]  # fmt: skip
    entry = [log, _sequence("/index"), _milliseconds("/at"), *_needed("/log", "/index", "/at")]
    by = _words("/by", ("first", "second", "home"))
    rows: dict[str, list[Row]] = {
        "opened": [*first, _milliseconds("/at"), *_needed("/at")],
        "accepted, held": [
            *first, *place, *after, _words("/chain", ("acts", "settings")), _sequence("/seq"), _token("/kind"), log,
            _sequence("/index"), _milliseconds("/accepted_at"), _words("/outcome", ("delivered", "held", "dropped")),
            _purpose("/contents/purpose"), _topic("/contents/topic"), _seconds("/contents/exp"), _hash("/replaces"),
            _words("/contents/channel", ("app", "email", "phone", "post", "sms", "visit")),
            ("/verdict", ("ab", "a_" * 16), ("a", "a" * 33, "A", "a1", "a-b", "ab\n", "\nab", 1)),
            *_optional("/outcome", "/contents", "/contents/topic", "/contents/exp", "/replaces"),
            *_needed("/chain", "/seq", "/kind", "/log", "/index", "/accepted_at", "/contents/purpose"),
            *_needed("/contents/channel"), ("/contents/why", [], ["x"]),
        ],
        "delivered": [*first, *place, *after, *entry],
        "expired": [*first, *place, *after, _milliseconds("/at"), *_needed("/at")],
        "restored": [*first, _hash("/first"), _hash("/second"), log, _milliseconds("/at"), *_needed("/first", "/second", "/log", "/at")],
        "confirmed": [*first, side, _milliseconds("/at"), *_needed("/side", "/at")],
        "mute_over": [*first, *entry, _hash("/act"), _hash("/by"), *_needed("/act", "/by")],
        "disclosed": [
            *first, *entry, _label("/to"), _words("/ground", ("court", "authority", "audit", "agreed", "own_claim")),
            _milliseconds("/from"), _milliseconds("/until"), ("/bodies", (True, False), (1, "true")),
            ("/settings", ([], ["first"], ["second", "first"]), (["home"], ["first", "first"], "first")),
            *_optional("/from", "/until"), *_needed("/to", "/ground", "/settings", "/bodies"), ("/from_", [], [0]),
        ],
        "erasing, by the operator": [
            *first, *entry, by, _token("/ground"), _milliseconds("/due_at"), *_optional("/ground", "/due_at"), *_needed("/by"),
        ],
        "erasure_held": [*first, *entry, _words("/ground", ("court", "claim")), _seconds("/until"), *_needed("/ground", "/until")],
        "erased": [
            *entry, _hash("/cid_hash"), by, _token("/ground"), ("/ground", ["lease"], []), _sequence("/entries"), *_needed("/cid_hash", "/by", "/entries"),
            ("/cid", [], [words("cid")]),
        ],
    }  # fmt: skip
    return {f"event: {name}": (given[name], own) for name, own in rows.items()}


def _lists() -> tuple[dict[str, Any], list[Row]]:
    plain = {**claims({}), "exp": NOW + 10}
    inner = plain["status_list"]
    return plain, [
        _seconds("/iat"), _seconds("/exp"), ("/ttl", (1, 86_400), (0, 86_401, 1.5, "1")),
        ("/status_list/bits", (1, 2, 4, 8), (0, 3, 16, 2.0, "2", True)), ("/status_list/lst", [], [inner["lst"] + "=", "+", 1]),
        *_optional("/exp"), *_needed("/iss", "/sub", "/iat", "/ttl", "/status_list", "/status_list/bits", "/status_list/lst"),
        ("/why", [], ["x"]), ("/status_list/why", [], ["x"]),
    ]  # fmt: skip


# --- all of them


def forms() -> dict[str, Any]:
    """Payloads, and what comes of them with one member otherwise: `with` is the value at `path`, a JSON pointer; without
    `with` the member is left out. Each is to be signed by the keys that are given by their seeds, under that type; an
    agreement by both, the others by one."""
    kinds: dict[str, tuple[str, str, tuple[Signer, ...], dict[str, Any], list[Row]]] = {}
    for kind, (payload, rows) in _acts().items():
        kinds[kind] = ("act", typ_of(payload["act"]), (MIA,), payload, rows)
    for kind, (payload, rows) in _notices().items():
        kinds[kind] = ("notice", NOTICE_TYP, (SHOP,), payload, rows)
    no_interest = members_of("remember", key="no_interest", topic="blinds")
    kinds["no interest"] = ("act", typ_of("remember"), (MIA,), no_interest, _needed("/topic"))
    kinds["erasure of all"] = ("act", typ_of("erasure"), (MIA,), *_erasures())
    mailbox = next(row["payload"] for row in acts()["good"] if row["name"] == "mailbox")
    kinds["mailbox"] = ("act", typ_of("mailbox"), (MIA,), mailbox, [
        ("/did", [], [SHOP.did, "did:key:z6Mk", 1]), *_needed("/did", "/proof"),
        ("/proof", [], ["x" * 2049, 1]),
    ])  # fmt: skip
    kinds["offer"] = ("offer", OFFER_TYP, (SHOP,), *_offers())
    kinds["offer with its text"] = ("offer", OFFER_TYP, (SHOP,), *_offers_with_text())
    kinds["agreement"] = ("agreement", AGREEMENT_TYP, (SHOP, MIA), *_agreements())
    for name, (payload, rows) in _events().items():
        kinds[name] = ("event", EVENT_TYP, (HOME,), payload, rows)
    kinds["status list"] = ("status_list", STATUS_LIST_TYP, (HOME,), *_lists())
    return {"forms": [_form(name, *given) for name, given in kinds.items()]}


def _form(
    name: str, reader: str, typ: str, signers: tuple[Signer, ...], payload: dict[str, Any], rows: list[Row]
) -> dict[str, Any]:
    good, bad = [], []
    for path, taken, refused in rows:
        good += [_change(path, value) for value in taken]
        bad += [{**_change(path, value), "code": Malformed("").code} for value in refused]
    return {
        "name": name,
        "reader": reader,
        "typ": typ,
        "signers": [{"kid": signer.kid, "seed": signer.key.seed.hex()} for signer in signers],
        "payload": copy.deepcopy(payload),
        "good": good,
        "bad": bad,
    }


def _change(path: str, value: Any) -> dict[str, Any]:
    return {"path": path} if value is ABSENT else {"path": path, "with": value}
