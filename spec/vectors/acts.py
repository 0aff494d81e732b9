"""Vectors of acts and settings: one of every kind, and what is none, each with its code."""

import json
from typing import Any

import base58
from comity.documents.acts import SETTINGS, typ_of
from comity.encoding import MAX_BODY, b64u_decode, b64u_encode, hash_id
from comity.crypto.keys import Signer
from comity.documents.proofs import MAILBOX_TYP, ROTATE_TYP, sign_mailbox_proof, sign_rotation_proof
from edges import with_neutral_r
from plain import BAD_KEYS
from story import (
    CID,
    EVE,
    HOME,
    HOME_DID,
    MIA,
    NOW,
    SHOP,
    STATUS_URI,
    body,
    case,
    forge,
    keys_of,
    pairwise,
    payload_of,
    published,
    words,
)

BOX = pairwise("mailbox")
LATER = NOW + 30 * 86_400


def members_of(kind: str, signer: Signer = MIA, /, **own: Any) -> dict[str, Any]:
    """The members of an act or setting at some place of a chain."""
    aud = HOME_DID if kind in SETTINGS else SHOP.did
    return {"act": kind, "iss": signer.did, "aud": aud, "iat": NOW, "cid": CID, "seq": 3, "prev": words("prev"), **own}


def one_of_each() -> dict[str, dict[str, Any]]:
    """The own members of each kind of act and setting, by a name that begins with the kind."""
    grant = {
        "exp": LATER,
        "purposes": ("care", "sales.windows"),
        "channels": ("app", "email"),
        "status": {"status_list": {"idx": 4711, "uri": STATUS_URI}},
    }
    whole = {
        "data": ("name", "language"),
        "budget": {"max": 2, "per": "week"},
        "replaces": words("g"),
        "value": "discount",
    }
    window = {"days": ("mo", "fr"), "start": "22:00", "end": "06:00"}
    return {
        "grant": {**grant},
        "grant, all members": {**grant, **whole},
        "withdraw": {"grant": words("g")},
        "mute": {},
        "mute, shown end": {"until": LATER},
        "mute, away": {"until": LATER // 86_400 * 86_400, "why": "away"},
        "mute, in part": {"purposes": ("sales",), "channels": ("email", "phone")},
        "unmute": {},
        "unmute, one": {"mute": words("m")},
        "revoke": {},
        "message": {"purpose": "care", "if_muted": "hold", "exp": LATER, "body": body("message", CID)},
        "message, with a body of no form that a server would accept": {
            "purpose": "care",
            "if_muted": "hold",
            "exp": LATER,
            "body": "hello",
        },
        "message, all members": {
            "purpose": "sales.windows",
            "topic": "windows.roof",
            "if_muted": "drop",
            "exp": LATER,
            "reply_to": words("r"),
            "body": body("message", CID),
        },
        "contacted": {"channel": "phone", "purpose": "care", "topic": "windows"},
        "ask": {"kind": "hold", "effort": "minute", "by": LATER, "body": body("ask", CID)},
        "answer": {"ask": words("a"), "answer": "yes", "body": body("answer", CID)},
        "done": {"ask": words("a")},
        "thank": {"ask": words("a")},
        "remember": {"key": "no_interest", "topic": "blinds"},
        "forget": {"key": "no_interest", "topic": "blinds"},
        "milestone": {"kind": "installed", "topic": "windows", "when": NOW, "lasts": LATER},
        "feedback": {"message": words("m"), "purpose": "care", "says": "thanks"},
        "feedback, a contest": {
            "message": words("m"),
            "purpose": "care.offer",
            "had": "windows",
            "says": "mislabelled",
            "as": "sales",
            "topic": "windows.kitchen",
        },
        "renounce": {"grants": (words("g"),), "because": "told_us"},
        "renounce, all members": {
            "grants": (words("g"), words("h")),
            "because": "one_click",
            "purposes": ("sales",),
            "channels": ("email",),
        },
        "erasure": {"deleted": ()},
        "erasure, all members": {
            "deleted": ("contact", "messages", "preferences", "profile"),
            "kept": (
                {"what": "payments", "ground": "legal_obligation", "until": NOW + 8 * 365 * 86_400},
                {"what": "history", "ground": "contract", "until": NOW + 730 * 86_400},
                {"what": "history", "ground": "legal_claims"},
            ),
            "passed_on": ("Münchner Kurier & Söhne (Versand)", "Zahlwerk 24"),
        },
        "hours": {"zone": "Europe/Berlin", "windows": (window,), "shown": "end"},
        "budget": {"messages": {"max": 5, "per": "month"}, "asks": {"max": 0, "per": "day"}},
        "mailbox, none": {},
        "mute_end": {"mute": words("m"), "until": LATER},
    }


def _good_acts() -> list[dict[str, Any]]:
    made = []
    for name, own in one_of_each().items():
        kind = name.partition(",")[0]
        raw = forge(members_of(kind, **own), typ_of(kind), MIA)
        made.append({"name": name, "jws": raw, "id": hash_id(raw.encode()), "kind": kind})
    raw = forge(_mailbox(), typ_of("mailbox"), MIA)
    made.append({"name": "mailbox", "jws": raw, "id": hash_id(raw.encode()), "kind": "mailbox"})
    rotations = (("rotate", MIA, pairwise("mia 2")), ("rotate, did:web", SHOP, published(SHOP.did, "key-2")))
    for name, old, new in rotations:
        raw = forge(_rotation(old, new), typ_of("rotate"), old)
        made.append({"name": name, "jws": raw, "id": hash_id(raw.encode()), "kind": "rotate"})
    blank = json.dumps(members_of("revoke"), indent=1).encode()
    raw = forge(
        blank, typ_of("revoke"), MIA, b'{ "kid": "%s", "typ":"comity-act+jwt", "alg":"EdDSA" }' % MIA.kid.encode()
    )
    made.append({"name": "revoke, spelt with blanks", "jws": raw, "id": hash_id(raw.encode()), "kind": "revoke"})
    raw = forge(members_of("revoke"), typ_of("revoke"), MIA, _wide_header(1024))
    made.append({"name": "revoke, under a header of 1024 bytes", "jws": raw, "id": hash_id(raw.encode()), "kind": "revoke"})
    raw = _of_length(MAX_BODY)
    made.append({"name": "message, of 65536 characters", "jws": raw, "id": hash_id(raw.encode()), "kind": "message"})
    for entry in made:
        if len(entry["jws"]) < 10_000:
            entry["payload"] = json.loads(payload_of(entry["jws"]))
    return made


def _wide_header(length: int) -> bytes:
    """A header of so many bytes."""
    plain = {"alg": "EdDSA", "typ": typ_of("revoke"), "kid": MIA.kid}
    return json.dumps(plain).encode().ljust(length)


def _of_length(length: int) -> str:
    """A message whose text has so many characters. Not every payload has a length in base64url that fits: then the
    header is made longer."""
    members = members_of("message", purpose="care", if_muted="hold", exp=LATER, body="A.A.A.A.A")
    for wide in range(300, 304):
        raw = forge(members, typ_of("message"), MIA, _wide_header(wide))
        middle = raw.split(".")[1]
        left = length - len(raw) + len(middle)
        if left % 4 != 1:
            members["body"] += "A" * (left * 3 // 4 - len(b64u_decode(middle)))
            return forge(members, typ_of("message"), MIA, _wide_header(wide))
    raise AssertionError(f"no message has {length} characters")


def _rotation(old: Signer, new: Signer, **changes: Any) -> dict[str, Any]:
    link = members_of("rotate", old)
    proof = sign_rotation_proof(link["cid"], link["seq"], link["prev"], new)
    return {**link, "kid": new.kid, "key": new.key.public.multibase, "proof": proof, **changes}


def _mailbox(side: Signer = MIA, box: Signer = BOX, **changes: Any) -> dict[str, Any]:
    link = members_of("mailbox", side)
    proof = sign_mailbox_proof(side.did, link["cid"], link["seq"], link["prev"], box)
    return {**link, "did": box.did, "proof": proof, **changes}


def _bad_mailboxes() -> list[tuple[str, dict[str, Any], str]]:
    """What brings nobody's news into anybody's stream."""
    place = (CID, 3, words("prev"))
    claims = {"iss": MIA.did, "cid": CID, "seq": 3, "prev": words("prev")}

    def proof(name: str, text: str) -> tuple[str, dict[str, Any], str]:
        return f"mailbox: {name}", _mailbox(proof=text), "wrong_proof"

    return [
        ("mailbox: a party that is no key", _mailbox(did=SHOP.did), "malformed"),
        ("mailbox: no proof", {k: v for k, v in _mailbox().items() if k != "proof"}, "malformed"),
        ("mailbox: a proof alone", {k: v for k, v in _mailbox().items() if k != "did"}, "malformed"),
        proof("signed by the side itself", sign_mailbox_proof(MIA.did, *place, MIA)),
        proof("another key in the mailbox's name", forge(claims, MAILBOX_TYP, Signer(BOX.kid, EVE.key))),
        proof("for the other side", sign_mailbox_proof(SHOP.did, *place, BOX)),
        proof("for the mailbox itself", sign_mailbox_proof(BOX.did, *place, BOX)),
        proof("for another connection", sign_mailbox_proof(MIA.did, words("else"), *place[1:], BOX)),
        proof("for another place", sign_mailbox_proof(MIA.did, CID, 4, words("prev"), BOX)),
        proof("behind another setting", sign_mailbox_proof(MIA.did, CID, 3, words("other"), BOX)),
        proof("with a member more", forge({**claims, "iat": NOW}, MAILBOX_TYP, BOX)),
        proof("with a member less", forge({k: v for k, v in claims.items() if k != "prev"}, MAILBOX_TYP, BOX)),
        proof("of the type of a rotation", forge(claims, ROTATE_TYP, BOX)),
        proof("that is no text of that form", body("x", CID)),
    ]


def _bad_forms() -> list[dict[str, Any]]:
    """What is wrong before anybody asks for the key."""
    good = forge(members_of("revoke"), "comity-act+jwt", MIA)
    head, middle, tail = good.split(".")

    def headed(name: str, header: object) -> dict[str, Any]:
        return case(name, "malformed", jws=forge(members_of("revoke"), "", MIA, header))

    plain = {"alg": "EdDSA", "typ": "comity-act+jwt", "kid": MIA.kid}
    return [
        case("empty", "malformed", jws=""),
        case("two parts", "malformed", jws=f"{head}.{middle}"),
        case("two parts, the payload left out", "malformed", jws=f"{head}.{tail}"),
        case("four parts", "malformed", jws=f"{good}.{tail}"),
        case("a line end behind it", "malformed", jws=good + "\n"),
        case("a blank before it", "malformed", jws=" " + good),
        case("padding", "malformed", jws=good + "=="),
        case("base64 instead of base64url", "malformed", jws=f"{head}.{middle}.{'+/' + tail[2:]}"),
        case("an unused bit that is set", "malformed", jws=good[:-1] + chr(ord(good[-1]) + 1)),
        case("a signature of 63 bytes", "malformed", jws=f"{head}.{middle}.{b64u_encode(bytes(63))}"),
        case("not ASCII", "malformed", jws=f"{head}.{middle}é.{tail}"),
        case("General JSON", "malformed", jws=json.dumps({"payload": middle, "signatures": []})),
        headed("alg none", {**plain, "alg": "none"}),
        headed("alg HS256", {**plain, "alg": "HS256"}),
        headed("alg Ed25519", {**plain, "alg": "Ed25519"}),
        headed("alg eddsa", {**plain, "alg": "eddsa"}),
        headed("an embedded key", {**plain, "jwk": MIA.key.public.jwk(MIA.kid)}),
        headed("a critical header", {**plain, "crit": ["exp"]}),
        headed("b64 false", {**plain, "b64": False, "crit": ["b64"]}),
        headed("a header without a kid", {"alg": "EdDSA", "typ": "comity-act+jwt"}),
        headed("a kid that is no text", {**plain, "kid": 1}),
        headed("a header that is a list", ["EdDSA", "comity-act+jwt", MIA.kid]),
        headed("a name twice in the header", json.dumps(plain)[:-1].encode() + b',"alg":"EdDSA"}'),
        headed("another type", {**plain, "typ": "JWT"}),
        headed("an offer's type", {**plain, "typ": "comity-offer+jwt"}),
        headed("a proof's type", {**plain, "typ": ROTATE_TYP}),
        headed("a did:key under another fragment", {**plain, "kid": f"{MIA.did}#{EVE.did[8:]}"}),
        headed("a did:key without a fragment", {**plain, "kid": MIA.did}),
        headed("a did:web kid without a fragment", {**plain, "kid": SHOP.did}),
        headed("a kid with a fragment of other characters", {**plain, "kid": f"{SHOP.did}#key/1"}),
        headed("a kid with two fragments", {**plain, "kid": f"{SHOP.kid}#1"}),
        headed("a kid of no party", {**plain, "kid": "did:plc:abc#key-1"}),
        headed("a kid of 401 characters", {**plain, "kid": f"{SHOP.did}#".ljust(401, "k")}),
        headed("a key of low order", {**plain, "kid": _low_order_kid()}),
        headed("a type that is no text", {**plain, "typ": 1}),
        headed("a type that is a list", {**plain, "typ": ["comity-act+jwt"]}),
        case("one part", "malformed", jws=tail),
        case("a signature of 65 bytes", "malformed", jws=f"{head}.{middle}.{b64u_encode(bytes(65))}"),
        case("a header of 1025 bytes", "too_large", jws=forge(members_of("revoke"), "", MIA, _wide_header(1025))),
        case("a header of 1100 bytes", "too_large", jws=forge(members_of("revoke"), "", MIA, _wide_header(1100))),
        case("65537 characters", "too_large", jws="A", times=65_537),
        case("65537 characters that are no ASCII", "too_large", jws="é", times=65_537),
    ]


def _low_order_kid() -> str:
    multibase = "z" + base58.b58encode(b"\xed\x01" + bytes.fromhex(BAD_KEYS["order 8"])).decode()
    return f"did:key:{multibase}#{multibase}"


def _bad_signers() -> list[dict[str, Any]]:
    """Whose key it is, and whether it signed."""
    good = forge(members_of("revoke"), "comity-act+jwt", MIA)
    head, middle, tail = good.split(".")
    other = forge(
        members_of("revoke"), "comity-act+jwt", EVE, {"alg": "EdDSA", "typ": "comity-act+jwt", "kid": MIA.kid}
    )
    unknown = published("did:web:nowhere.example")
    return [
        case(
            "a key that nobody knows",
            "unknown_key",
            jws=forge(members_of("revoke", unknown), "comity-act+jwt", unknown),
        ),
        case("another's signature", "bad_signature", jws=other),
        case("another payload", "bad_signature", jws=f"{head}.{b64u_encode(payload_of(good) + b' ')}.{tail}"),
        case("a payload that is not JSON, not signed", "bad_signature", jws=f"{head}.{b64u_encode(b'no')}.{tail}"),
        case("a signature of zeros", "bad_signature", jws=f"{head}.{middle}.{b64u_encode(bytes(64))}"),
        case("a signature whose R is the neutral element", "bad_signature", jws=f"{head}.{middle}.{b64u_encode(with_neutral_r(MIA.key, f'{head}.{middle}'.encode()))}"),
        case("S not below the group order", "bad_signature", jws=f"{head}.{middle}.{_with_larger_s(tail)}"),
        case("in another's name", "bad_signature", jws=forge(members_of("revoke", EVE), "comity-act+jwt", MIA)),
    ]


def _with_larger_s(signature: str) -> str:
    raw = b64u_decode(signature)
    order = 2**252 + 27742317777372353535851937790883648493
    return b64u_encode(raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little"))


def _spelled(members: dict[str, Any], number: str) -> bytes:
    """The members as JSON, `seq` spelled so."""
    return json.dumps({**members, "seq": 0}).replace('"seq": 0', f'"seq": {number}').encode()


def _other_rotations() -> list[dict[str, Any]]:
    """A published side that would take a name which is not its own, though the new key agrees."""
    others = {"another published side": published("did:web:other.example"), "a person": pairwise("mia 2")}
    return [
        case(f"rotate: to the name of {name}", "malformed", jws=forge(_rotation(SHOP, new), typ_of("rotate"), SHOP))
        for name, new in others.items()
    ]


def _bad_members() -> list[dict[str, Any]]:
    """Well signed, and not an act."""

    def signed(name: str, members: Any, code: str = "malformed", typ: str | None = None) -> dict[str, Any]:
        kind = members.get("act") if isinstance(members, dict) else None
        return case(name, code, jws=forge(members, typ or typ_of(str(kind)), MIA))

    revoke, grant = members_of("revoke"), members_of("grant", **one_of_each()["grant"])
    message = members_of("message", purpose="care", if_muted="hold", exp=LATER, body=body("message", CID))
    hours = members_of("hours", zone="Europe/Berlin", shown="end", windows=[])
    day = {"days": ["mo"], "start": "08:00", "end": "18:00"}
    kept = {"what": "payments", "ground": "legal_obligation"}
    without = {name: value for name, value in message.items() if name != "exp"}
    new = pairwise("mia 2")
    return [
        signed("a list", b"[]", typ="comity-act+jwt"),
        signed("a payload that is not JSON", b"{", typ="comity-act+jwt"),
        signed("no kind", {name: value for name, value in revoke.items() if name != "act"}),
        signed("a kind that is none", {**revoke, "act": "move"}),
        signed("a setting among acts", members_of("mailbox"), typ="comity-act+jwt"),
        signed("an act among settings", revoke, typ="comity-setting+jwt"),
        signed("a grant among acts", grant, typ="comity-act+jwt"),
        signed("a member too many", {**revoke, "why": "no reason"}),
        signed("a member too few", without),
        signed("a member that is null", {**message, "topic": None}),
        signed("a name twice", json.dumps(revoke)[:-1].encode() + b',"seq":3}', typ="comity-act+jwt"),
        *(
            signed(f"seq spelled {number}", _spelled(revoke, number), typ="comity-act+jwt")
            for number in ("3.0", "3e0", "30e-1", "-0", "-0.0")
        ),
        signed("seq as a text", {**revoke, "seq": "3"}),
        signed("seq with a fraction", {**revoke, "seq": 3.5}),
        signed("seq below 0", {**revoke, "seq": -1}),
        signed("seq with no next one", {**revoke, "seq": 2**53 - 1}),
        signed("seq too large for JSON", json.dumps({**revoke, "seq": 2**53}).encode(), typ="comity-act+jwt"),
        signed("true for an integer", {**revoke, "seq": True}),
        signed("a hash too short", {**revoke, "prev": words("p")[:42]}),
        signed("a hash with an unused bit set", {**revoke, "prev": "A" * 42 + "B"}),
        signed("a party that is none", {**revoke, "aud": "did:plc:abc"}),
        signed("no purposes", {**grant, "purposes": []}),
        signed("a purpose twice", {**grant, "purposes": ["care", "care"]}),
        signed("a purpose in capitals", {**grant, "purposes": ["Care"]}),
        signed("a purpose that ends in a dot", {**grant, "purposes": ["care."]}),
        signed("a channel that is none", {**grant, "channels": ["fax"]}),
        signed("a budget by the hour", {**grant, "budget": {"max": 1, "per": "hour"}}),
        signed("a null inside", {**grant, "budget": {"max": 1, "per": None}}),
        signed("no data", {**grant, "data": []}),
        signed("data twice", {**grant, "data": ["name", "name"]}),
        signed("17 kinds of data", {**grant, "data": [f"d{it}" for it in range(17)]}),
        signed("an address with a blank", {**grant, "status": {"status_list": {"idx": 1, "uri": STATUS_URI + " "}}}),
        signed(
            "an address of 401 characters",
            {**grant, "status": {"status_list": {"idx": 1, "uri": STATUS_URI.ljust(401, "x")}}},
        ),
        signed("a status that is elsewhere", {**grant, "status": {"status_list": {"idx": 1, "uri": "ftp://x"}}}),
        signed("mute: away without an end", members_of("mute", why="away")),
        signed("mute: another reason than away", members_of("mute", until=LATER, why="angry")),
        signed("remember: no interest in nothing", members_of("remember", key="no_interest")),
        signed("contacted in the app", members_of("contacted", channel="app", purpose="care")),
        signed("a message by telephone", {**message, "channel": "phone"}),
        signed("an answer that is none", members_of("answer", ask=words("a"), answer="maybe")),
        *(signed(name, members, code) for name, members, code in _bad_mailboxes()),
        signed("a day twice", {**hours, "windows": [{**day, "days": ["mo", "mo"]}]}),
        signed("a window from 24:00", {**hours, "windows": [{**day, "start": "24:00"}]}),
        signed("a wall time that is none", {**hours, "windows": [{**day, "end": "24:30"}]}),
        signed("43 windows", {**hours, "windows": [day] * 43}),
        signed("a zone that climbs", {**hours, "zone": "../etc/passwd"}),
        signed("erasure: nothing said", members_of("erasure")),
        signed("erasure: a category that is none", members_of("erasure", deleted=["soul"])),
        signed("erasure: a category twice", members_of("erasure", deleted=["contact", "contact"])),
        signed("erasure: deleted and kept", members_of("erasure", deleted=["payments"], kept=[kept])),
        signed("erasure: kept twice on one ground", members_of("erasure", deleted=[], kept=[kept, kept])),
        signed("erasure: an empty list of what is kept", members_of("erasure", deleted=[], kept=[])),
        signed("erasure: kept by consent", members_of("erasure", deleted=[], kept=[{**kept, "ground": "consent"}])),
        signed("erasure: kept for a reason in words", members_of("erasure", deleted=[], kept=[{**kept, "why": "x"}])),
        signed("erasure: with words", members_of("erasure", deleted=[], body=body("erasure", CID))),
        signed("erasure: a recipient with an address", members_of("erasure", deleted=[], passed_on=["shop.example/?x"])),
        signed("erasure: a recipient of 61 characters", members_of("erasure", deleted=[], passed_on=["x" * 61])),
        signed("erasure: a recipient of two lines", members_of("erasure", deleted=[], passed_on=["a\nb"])),
        signed("erasure: 17 recipients", members_of("erasure", deleted=[], passed_on=[f"x{it}" for it in range(17)])),
        signed("rotate: not the new key's own name", _rotation(MIA, new, kid=EVE.kid)),
        signed("rotate: to the same key", _rotation(MIA, MIA)),
        signed("rotate: a pairwise side to a did:web", _rotation(MIA, published(SHOP.did, "key-2"))),
        *_other_rotations(),
        signed("rotate: a proof of 2048 characters", _rotation(MIA, new, proof="x" * 2048), "wrong_proof"),
        signed("rotate: a proof of 2049 characters", _rotation(MIA, new, proof="x" * 2049)),
        signed("mailbox: a proof of 2048 characters", _mailbox(proof="x" * 2048), "wrong_proof"),
        signed("mailbox: a proof of 2049 characters", _mailbox(proof="x" * 2049)),
        signed("rotate: signed by no new key", _rotation(MIA, new, proof=body("x", CID)), "wrong_proof"),
        signed("rotate: another's proof", _rotation(MIA, new, proof=_rotation(MIA, EVE)["proof"]), "wrong_proof"),
        signed(
            "rotate: for another place",
            _rotation(MIA, new, proof=sign_rotation_proof(CID, 4, words("prev"), new)),
            "wrong_proof",
        ),
        signed(
            "rotate: for another connection",
            _rotation(MIA, new, proof=sign_rotation_proof(words("else"), 3, words("prev"), new)),
            "wrong_proof",
        ),
    ]


def acts() -> dict[str, Any]:
    """One act of every kind, and what is none. `keys` are those of did:web parties."""
    return {
        "keys": keys_of(SHOP, HOME),
        "good": _good_acts(),
        "bad": [*_bad_forms(), *_bad_signers(), *_bad_members()],
    }
