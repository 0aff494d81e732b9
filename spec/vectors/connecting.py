"""Vectors of offers, agreements and events, good and bad."""

import json
from typing import Any

from acts import LATER, members_of
from comity.documents.agreements import AGREEMENT_TYP, countersign, fits_offer, half_sign, is_alternative
from comity.encoding import b64u_decode, b64u_encode, dump_json
from comity.documents.events import (
    Accepted,
    AsOf,
    Confirmed,
    Contents,
    Delivered,
    Disclosed,
    Erased,
    Erasing,
    ErasureHeld,
    Event,
    Expired,
    MuteOver,
    Opened,
    Restored,
    erased_hash,
    sign_event,
)
from comity.crypto.keys import Signer
from comity.documents.offers import HomeParty, PartyKey
from story import (
    CID,
    DAY,
    EVE,
    HOME,
    HOME_DID,
    LOG,
    MIA,
    NEXT_LOG,
    NOW,
    SHOP,
    START,
    TEXT,
    agreement,
    case,
    forge,
    key,
    keys_of,
    offer,
    offer_members,
    pairwise,
    payload_of,
    published,
    terms,
    words,
)

# --- offers


def offers() -> dict[str, Any]:
    """Offers and their links."""
    person = offer(MIA, use="one", name=None, channels=None, to=SHOP.did, purposes=("care",))
    good = []
    allow = {"purposes": ["care", "favour"], "channels": ["app"], "days": 366, "budget": {"max": 10, "per": "week"}}
    least = {"purposes": ["care"], "channels": ["email"], "days": 1}
    for name, signed in (
        ("of a business", offer()),
        ("of a person, to a business", person),
        ("that allows something", offer(allow=allow)),
        ("that allows the least", offer(allow=least)),
    ):
        link = signed.link()
        good.append({"name": name, "jws": signed.raw, "hash": signed.hash, "short": signed.short, "link": link})
        good[-1]["payload"] = json.loads(payload_of(signed.raw))

    def bad(what: str, code: str = "malformed", signer: Signer = SHOP, /, **changes: Any) -> dict[str, Any]:
        return case(what, code, jws=forge(offer_members(**changes), "comity-offer+jwt", signer))

    text = {**terms().model_dump(), "text": TEXT + "!"}
    link, hash_ = good[0]["link"], good[0]["hash"]
    return {
        "keys": keys_of(SHOP, HOME),
        "good": good,
        "bad": [
            bad("of a person, for many", "malformed", MIA, offerer=MIA, use="many"),
            bad("ends before it begins", exp=NOW),
            bad("ends after more than 366 days", exp=NOW + 366 * 86_400 + 1),
            bad("another text than the one named", agreements=[text]),
            bad("no agreement", agreements=[]),
            bad("nine agreements", agreements=[terms().model_dump()] * 9),
            bad("a home that is a key", home=PartyKey.of(MIA).model_dump()),
            bad("a home without its key", home=HOME_DID),
            bad("a home under a key that is not its own", home={**offer_members()["home"], "kid": SHOP.kid}),
            bad("a mark of a sandbox that says no", test=False),
            bad("a name that reads backwards", name="abc\u202edef"),
            bad("a null inside", agreements=[{**terms().model_dump(), "text": None}]),
            bad("the version before this one", v=1),
            bad("a version that is none", v=3),
            bad("a member too many", price=1),
            *(
                bad(f"a language that is none: {lang}", agreements=[{**terms().model_dump(), "lang": lang}])
                for lang in ("", "e", "engl", "en_GB", "en-", "de-CH-1996-x-y-z", "12")
            ),
            bad("allow: nothing", allow={}),
            bad("allow: a purpose of the agreement", allow={**least, "purposes": ["care", "complaint"]}),
            bad("allow: an exempt purpose", allow={**least, "purposes": ["safety"]}),
            bad("allow: no days", allow={**least, "days": 0}),
            bad("allow: 367 days", allow={**least, "days": 367}),
            bad("allow: days with a fraction", allow={**least, "days": 1.5}),
            bad("allow: a budget of nothing", allow={**least, "budget": {"max": 0, "per": "week"}}),
            bad("allow: no channel", allow={**least, "channels": []}),
            bad("allow: words", allow={**least, "text": "Write to us!"}),
            bad("another's name", "bad_signature", iss=HOME_DID),
            bad("another's key", "bad_signature", Signer(SHOP.kid, key("eve"))),
            case("an act", "malformed", jws=forge(members_of("revoke"), "comity-act+jwt", MIA)),
        ],
        "good_links": [
            {"link": it, "origin": origin, "short": hash_[:12], "hash": hash_}
            for it, origin in _good_links(hash_)
        ],
        "bad_links": [
            *(case(name, "malformed", link=it) for name, it in _bad_links(hash_).items()),
            case("another hash", "malformed", link=link.split("#")[0] + "#" + words("else")),
            case("no hash", "malformed", link=link.split("#")[0]),
            case("another path", "malformed", link=link.replace("/i/", "/o/")),
            case("another scheme", "malformed", link=link.replace("https", "ftp")),
            case("a short id too long", "malformed", link=f"https://home.example/i/{hash_[:13]}#{hash_}"),
        ],
    }


def _good_links(hash_: str) -> list[tuple[str, str]]:
    tail = f"/i/{hash_[:12]}#{hash_}"
    long = ".".join(["a" * 63] * 3 + ["b" * 61]) + ":65535"
    origins = ("https://a", "http://localhost:8470", "http://127.0.0.1", f"https://{long}")
    home, short = "https://home.example", hash_[:12]
    coded = "".join(f"%{ord(it):02X}" if it in "-._~aZ5" else it for it in short)
    return [
        *((origin + tail, origin) for origin in origins),
        (f"  https://a{tail}\n", "https://a"),
        (f"HTTPS://Home.EXAMPLE{tail}", home),
        (f"https://home.example:443{tail}", home),
        (f"https://home.example:0443{tail}", home),
        (f"https://home.example:{tail}", home),
        (f"HTTP://LocalHost:80{tail}", "http://localhost"),
        (f"https://home.example:80{tail}", "https://home.example:80"),
        (f"<{home}{tail}>", home),
        (f" <URL:{home}/i/\n  {short}\r\n#{hash_}> ", home),
        (f"{home}/i/{short}?utm_source=mail&utm_id=A%2f~!\"'*#{hash_}", home),
        (f"{home}/i/{short}?#{hash_}", home),
        (f"https://%68ome%2Eexample/%69/{coded}#{hash_}", home),
        (f"{home}/i/{short}?{'x' * (2000 - len(home + tail) - 1)}#{hash_}", home),
    ]


def _bad_links(hash_: str) -> dict[str, str]:
    tail = f"/i/{hash_[:12]}#{hash_}"
    return {
        "no host": f"https://{tail}",
        "a scheme with a long s": f"http\u017f://home.example{tail}",
        "an angle bracket before it": f"<https://home.example{tail}",
        "an angle bracket behind it": f"https://home.example{tail}>",
        "blanks within it, and no angle brackets": f"https://home.example/i/ {hash_[:12]}#{hash_}",
        "another letter than an angle bracket on both sides": f"xhttps://home.example{tail}x",
        "a first letter that is an angle bracket, a last that is none": f"<https://home.example{tail}x",
        "a first letter that is none, a last that is an angle bracket": f"xhttps://home.example{tail}>",
        "a host with the sign of Kelvin": f"https://\u212aelvin.example{tail}",
        "http beyond loopback": f"http://home.example{tail}",
        "https on loopback": f"https://localhost{tail}",
        "somebody before the host": f"https://me@home.example{tail}",
        "a host of two dots": f"https://home..example{tail}",
        "a port that is none": f"https://home.example:65536{tail}",
        "a host of 261 characters": f"https://{'a.' * 130}a{tail}",
        "another short id": f"https://home.example/i/{hash_[1:13]}#{hash_}",
        "a hash of 44 characters": f"https://home.example{tail}A",
        "a hash of 42 characters": f"https://home.example{tail[:-1]}",
        "something behind it": f"https://home.example{tail}?x",
        "a query behind it": f"https://home.example{tail}?utm_source=mail",
        "a query with a blank": f"https://home.example/i/{hash_[:12]}?a b#{hash_}",
        "a query that is not ASCII": f"https://home.example/i/{hash_[:12]}?\u00e9#{hash_}",
        "two fragments": f"https://home.example/i/{hash_[:12]}#x#{hash_}",
        "half a pair of brackets": f"<https://home.example{tail}",
        "a blank in it, without brackets": f"https://home.example/i/ {tail[3:]}",
        "a word before the brackets": f"link: <https://home.example{tail}>",
        "a path in another case": f"https://home.example/I/{tail[3:]}",
        "a fragment behind a percent sign": f"https://home.example/i/{hash_[:12]}%23{hash_}",
        "a slash behind a percent sign": f"https://home.example%2Fi/{hash_[:12]}#{hash_}",
        "the port of http": f"http://home.example:80{tail}",
        "a port of 6 digits": f"https://home.example:100443{tail}",
        "a host in brackets": f"http://[::1]{tail}",
        "2001 characters": f"https://home.example{tail}".ljust(2001),
    }


# --- agreements

_NEXT_HOME = (f"{HOME_DID}#home-2", key("home 2"))


def _general(payload: bytes, *signers: Signer, typ: str = AGREEMENT_TYP, **members: Any) -> str:
    encoded = b64u_encode(payload)
    entries = []
    for signer in signers:
        head = b64u_encode(dump_json({"alg": "EdDSA", "typ": typ, "kid": signer.kid}))
        entries.append({"protected": head, "signature": b64u_encode(signer.key.sign(f"{head}.{encoded}".encode()))})
    return dump_json({"payload": encoded, "signatures": entries, **members}).decode()


def _wide(entry: dict[str, str], length: int) -> str:
    """The protected header of a signature, with blanks up to so many bytes."""
    return b64u_encode(b64u_decode(entry["protected"]).ljust(length))


def _payloads(payload: bytes) -> list[dict[str, Any]]:
    """`payload` is the text of the payload, `blanks` are behind it; then it is encoded, and so the signatures hold."""
    room = 16_384 // 4 * 3 - len(payload)
    rows = []
    for name, blanks in (("of 16 384 characters", room), ("of 16 386 characters", room + 1)):
        general = json.loads(_general(payload + b" " * blanks, MIA, SHOP))
        given = {"payload": payload.decode(), "blanks": blanks, "signatures": general["signatures"]}
        rows.append({"name": name, **given} if blanks == room else case(name, "malformed", **given))
    return rows


def agreements() -> dict[str, Any]:
    """Halves, wholes, and what is neither. `raw` is the JSON text as it is sent."""
    signed_offer = offer()
    made = agreement(signed_offer)
    half, payload = half_sign(made, MIA), made.to_json()
    whole = countersign(half, SHOP)
    general = json.loads(whole.raw)
    first, second = general["signatures"]
    stranger = pairwise("stranger")

    def changed(**changes: Any) -> bytes:
        return dump_json({**json.loads(payload), **changes})

    def members(**changes: Any) -> str:
        return dump_json({**general, **changes}).decode()

    party = json.loads(payload)["accepter"]
    bad_wholes = [
        case("one signature", "malformed", raw=half.raw.decode()),
        case("one signature, the offerer's", "malformed", raw=_general(payload, SHOP)),
        case("the same signature twice", "malformed", raw=members(signatures=[first, first])),
        case("two of one party", "malformed", raw=_general(payload, SHOP, SHOP)),
        case("three signatures", "malformed", raw=members(signatures=[first, second, second])),
        case("no signatures", "malformed", raw=members(signatures=[])),
        case("three signatures, one a stranger's", "malformed", raw=_general(payload, MIA, SHOP, stranger)),
        case("a signature of 65 bytes", "malformed", raw=members(signatures=[first, {**second, "signature": b64u_encode(bytes(65))}])),
        case("a header of 1025 bytes", "too_large", raw=members(signatures=[first, {**second, "protected": _wide(second, 1025)}])),
        case("a stranger's signature", "bad_signature", raw=_general(payload, MIA, stranger)),
        case("a party's key under a name that is no party's", "bad_signature", raw=_general(payload, Signer(f"{SHOP.did}#key-9", MIA.key), SHOP)),
        case("a party's key under another name of its own", "bad_signature", raw=_general(payload, MIA, Signer(f"{SHOP.did}#key-9", SHOP.key))),
        case(
            "a stranger's key in a party's name",
            "bad_signature",
            raw=_general(payload, MIA, Signer(SHOP.kid, key("eve"))),
        ),
        case(
            "one signature over another payload",
            "bad_signature",
            raw=members(
                signatures=[first, json.loads(_general(changed(nonce=words("else")[:22]), SHOP))["signatures"][0]]
            ),
        ),
        case("another payload under both", "bad_signature", raw=members(payload=b64u_encode(changed(operator="Else")))),
        case("the type of an act", "bad_signature", raw=_general(payload, MIA, SHOP, typ="comity-act+jwt")),
        case("an unprotected header", "malformed", raw=members(signatures=[{**first, "header": {"kid": "x"}}, second])),
        case("a member too many", "malformed", raw=members(header={})),
        case("flattened", "malformed", raw=dump_json({"payload": general["payload"], **first}).decode()),
        case("signatures twice", "malformed", raw=members()[:-1] + ',"signatures":[]}'),
        case("a null", "malformed", raw=members(signatures=[first, None])),
        case("a payload with a member too many", "malformed", raw=_general(changed(extra=1), MIA, SHOP)),
        case(
            "the home server under the accepter's key",
            "malformed",
            raw=_general(changed(home={**json.loads(payload)["home"], "key": party["key"]}), MIA, SHOP),
        ),
        case("an agreement of the version before", "malformed", raw=_general(changed(v=1), MIA, SHOP)),
        case(
            "countersigning after more than seven days",
            "malformed",
            raw=_general(changed(countersign_by=NOW + 7 * 86_400 + 1), MIA, SHOP),
        ),
        case("with oneself", "malformed", raw=_general(changed(offerer=party), MIA, SHOP)),
        case(
            "a key that is not the did:key",
            "malformed",
            raw=_general(changed(accepter={**party, "key": EVE.key.public.multibase}), MIA, SHOP),
        ),
        case(
            "a kid of another party", "malformed", raw=_general(changed(accepter={**party, "kid": EVE.kid}), MIA, SHOP)
        ),
    ]
    alternative = agreement(signed_offer, terms=terms(TEXT, "2.0"))
    other = offer(name="Another")
    fits = [
        ("on this offer", made),
        ("with an alternative", alternative),
        ("on another offer", agreement(other)),
        ("another operator", agreement(signed_offer, operator="Else")),
        ("another offerer", agreement(signed_offer, offerer=EVE)),
        ("a later key of the same home server", agreement(signed_offer, home=HomeParty.of(Signer(*_NEXT_HOME)))),
        ("another home server", agreement(signed_offer, home=HomeParty.of(published("did:web:elsewhere.example")))),
        ("of a sandbox, on an offer that is not", agreement(signed_offer, test=True)),
    ]
    room = 65_536 - len(whole.raw)
    to_eve = offer(to=EVE.did)
    addressed = [
        ("on an offer to its accepter", agreement(to_eve, accepter=EVE)),
        ("on an offer to somebody else", agreement(to_eve)),
        ("on an offer to somebody else, who offers", agreement(to_eve, offerer=EVE)),
    ]
    return {
        "halves": [{"name": "the accepter's half", "raw": half.raw.decode(), "cid": half.cid}],
        "wholes": [
            {"name": "both", "raw": whole.raw.decode(), "cid": whole.cid, "payload": json.loads(payload)},
            {"name": "both, the offerer first", "raw": members(signatures=[second, first]), "cid": whole.cid},
            {"name": "with blanks up to 64 KiB", "raw": whole.raw.decode(), "blanks": room, "cid": whole.cid},
        ],
        "bad_halves": [
            case("both signatures", "malformed", raw=whole.raw.decode()),
            case("the offerer's", "malformed", raw=_general(payload, SHOP)),
            case("a stranger's", "bad_signature", raw=_general(payload, stranger)),
            case("the accepter's key under a name that is no party's", "bad_signature", raw=_general(payload, Signer(f"{SHOP.did}#key-9", MIA.key))),
        ],
        "bad_wholes": [
            *bad_wholes,
            case("with blanks beyond 64 KiB", "too_large", raw=whole.raw.decode(), blanks=room + 1),
        ],
        "payloads": _payloads(payload),
        "offer": signed_offer.raw,
        "keys": keys_of(SHOP),
        "fits": [
            {
                "name": name,
                "payload": b64u_encode(it.to_json()),
                "fits": fits_offer(it, signed_offer),
                "alternative": is_alternative(it, signed_offer),
            }
            for name, it in fits
        ]
        + [
            {
                "name": name,
                "offer": to_eve.raw,
                "payload": b64u_encode(it.to_json()),
                "fits": fits_offer(it, to_eve),
                "alternative": is_alternative(it, to_eve),
            }
            for name, it in addressed
        ],
    }


# --- events


def _notices(cid: str, act: str) -> dict[str, Event]:
    """Events that change no public state."""
    stated: dict[str, Any] = {"iss": HOME_DID, "log": LOG, "index": 31, "at": START + DAY}
    about = {**stated, "cid": cid}
    held = ErasureHeld(**about, event="erasure_held", ground="court", until=(START + 90 * DAY) // 1000)
    copy = {"to": "Landgericht München I", "ground": "court", "settings": ("second",), "bodies": True}
    rest = {"ground": "audit", "settings": (), "bodies": False}
    return {
        "mute_over": MuteOver(**about, event="mute_over", act=act, by=words("mute end")),
        "disclosed": Disclosed.model_validate({**about, "event": "disclosed", **copy, "from": START, "until": START + DAY}),
        "disclosed, without its ends": Disclosed.model_validate({**about, "event": "disclosed", "to": "An auditor", **rest}),
        "erasing": Erasing(**about, event="erasing", by="second", due_at=START + 8 * DAY),
        "erasing, by the operator": Erasing(
            **about, event="erasing", by="home", ground="inactive", due_at=START + 8 * DAY
        ),
        "erasing, taken back": Erasing(**about, event="erasing", by="second"),
        "erasure_held": held,
        "erased": Erased(**stated, event="erased", cid_hash=erased_hash(cid), by="second", entries=12),
    }


def _bad_notices(cid: str, act: str) -> dict[str, dict[str, Any]]:
    good = {name: json.loads(event.to_json()) for name, event in _notices(cid, act).items()}
    return {
        "a mute over without what ended it": {k: v for k, v in good["mute_over"].items() if k != "by"},
        "a copy on a ground that is none": {**good["disclosed"], "ground": "curiosity"},
        "a copy of the settings of a third side": {**good["disclosed"], "settings": ["third"]},
        "a copy of one side's settings twice": {**good["disclosed"], "settings": ["first", "first"]},
        "a copy for nobody": {k: v for k, v in good["disclosed"].items() if k != "to"},
        "an erasure by nobody": {k: v for k, v in good["erasing"].items() if k != "by"},
        "an erasure that a business holds": {**good["erasure_held"], "ground": "sales"},
        "an erasure that is held for ever": {k: v for k, v in good["erasure_held"].items() if k != "until"},
        "erased, and still named": {**good["erased"], "cid": cid},
    }


def events() -> dict[str, Any]:
    """One event of each kind, and what is none."""
    cid, act = CID, words("act")
    contents = Contents(purpose="care", channel="app", topic="windows", exp=LATER)
    place: dict[str, Any] = {"iss": HOME_DID, "cid": cid, "act": act, "side": "first"}
    as_of = AsOf(first=words("first"), second=words("second"), zones="vectors")
    accepted = Accepted(
        **place, event="accepted", chain="acts", seq=4, kind="message", log=LOG, index=17, accepted_at=START, as_of=as_of
    )
    all_of_it = accepted.model_copy(update={"outcome": "held", "contents": contents, "replaces": words("older")})
    outside = accepted.model_copy(update={"kind": "contacted", "contents": contents, "verdict": "not_now"})
    good: dict[str, Event] = {
        "opened": Opened(iss=HOME_DID, cid=cid, event="opened", log=LOG, index=3, at=START),
        "accepted": accepted.model_copy(update={"kind": "mute"}),
        "accepted, held": all_of_it,
        "accepted, contacted": outside,
        "accepted, delivered": all_of_it.model_copy(update={"outcome": "delivered", "replaces": None}),
        "accepted, dropped": all_of_it.model_copy(update={"outcome": "dropped", "replaces": None}),
        "delivered": Delivered(**place, event="delivered", log=LOG, index=23, at=START + DAY, as_of=as_of),
        "expired": Expired(**place, event="expired", log=LOG, index=23, at=START + DAY, as_of=as_of),
        "restored": Restored(
            iss=HOME_DID, cid=cid, event="restored", first=act, second=cid, log=NEXT_LOG, index=2, at=START + DAY
        ),
        "confirmed": Confirmed(iss=HOME_DID, cid=cid, event="confirmed", side="second", log=NEXT_LOG, index=2, at=START + DAY),
        **_notices(cid, act),
    }
    # The one event from which each bad one differs in one thing is whole itself (EVENT-3).
    members = json.loads(all_of_it.to_json())
    typ = "comity-event+jwt"
    return {
        "keys": keys_of(HOME, SHOP),
        "cid": cid,
        "good": [
            {
                "name": name,
                "jws": sign_event(event, HOME),
                "payload": json.loads(event.to_json()),
                "places": event.places,
                **({"brings_the_act": event.includes_act} if isinstance(event, Accepted) else {}),
            }
            for name, event in good.items()
        ],
        "bad": [
            case("another's", "bad_signature", jws=forge(members, typ, SHOP)),
            case("no log", "malformed", jws=forge({k: v for k, v in members.items() if k != "log"}, typ, HOME)),
            case("a log without a name", "malformed", jws=forge({**members, "log": ""}, typ, HOME)),
            case("a log whose name has a space", "malformed", jws=forge({**members, "log": "home.example log"}, typ, HOME)),
            case("a log whose name has a plus", "malformed", jws=forge({**members, "log": "home.example+log"}, typ, HOME)),
            case("in the server's name", "bad_signature", jws=forge(members, typ, Signer(HOME.kid, key("eve")))),
            case("an event that is none", "malformed", jws=forge({**members, "event": "held"}, typ, HOME)),
            case("a member of another event", "malformed", jws=forge({**members, "at": START}, typ, HOME)),
            case("no index", "malformed", jws=forge({k: v for k, v in members.items() if k != "index"}, typ, HOME)),
            case("without what it was accepted after", "malformed", jws=forge({k: v for k, v in members.items() if k != "as_of"}, typ, HOME)),
            case("after one head alone", "malformed", jws=forge({**members, "as_of": {**members["as_of"], "second": None}}, typ, HOME)),
            case("with a settings head", "malformed", jws=forge({**members, "as_of": {**members["as_of"], "settings": act}}, typ, HOME)),
            case("by zone rules without a name", "malformed", jws=forge({**members, "as_of": {**members["as_of"], "zones": ""}}, typ, HOME)),
            *(case(name, "malformed", jws=forge(it, typ, HOME)) for name, it in _bad_notices(cid, act).items()),
            case("an outcome that is none", "malformed", jws=forge({**members, "outcome": "lost"}, typ, HOME)),
            case("an act's type", "malformed", jws=forge(members, "comity-act+jwt", HOME)),
            case("of nobody known", "unknown_key", jws=forge(members, typ, published("did:web:nowhere.example"))),
        ],
    }
