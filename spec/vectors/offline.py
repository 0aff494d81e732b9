"""Vectors of what is checked without a server: status lists, tokens, bodies; and of what frames the wire."""

import hashlib
import json
import zlib
from base64 import b64encode
from typing import Any

from comity.documents.agreements import open_agreement
from comity.encoding import b64u_decode, b64u_encode, dump_json
from comity.errors import CODES, Malformed, Refused
from comity.documents.events import open_event
from comity.rules.consent_tokens import check_token
from comity.crypto.keys import Signer, SigningKey
from comity.crypto.http_signatures import sign_request
from comity.documents.status_lists import (
    ENTRIES,
    MOST_LIST_BYTES,
    STATUS_LIST_TYPE,
    TTL,
    SignedStatusList,
    open_status_list,
    pack_entries,
)
from comity.http_api import encode_problem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from nacl import bindings
from story import (
    CID,
    DAY,
    EVE,
    HOME,
    HOME_DID,
    MIA,
    NOW,
    SHOP,
    START,
    STATUS_URI,
    Story,
    body,
    case,
    connected,
    finder,
    forge,
    key,
    keys_of,
    pairwise,
    payload_of,
    words,
)

LIST_TYP = "statuslist+jwt"


def claims(values: dict[int, int], entries: int = 128, **changes: Any) -> dict[str, Any]:
    """The claims of a list in which all entries but these read 1. Stored, not compressed, so that the bytes do not
    depend on whose zlib it is."""
    packed = pack_entries(bytes(values.get(idx, 1) for idx in range(entries)), 2)
    lst = b64u_encode(zlib.compress(packed, 0))
    members = {"iss": HOME_DID, "sub": STATUS_URI, "iat": NOW, "ttl": 60, "status_list": {"bits": 2, "lst": lst}}
    return {**members, **changes}


def status() -> dict[str, Any]:
    """Packing, tokens, and when a list is current. `made` is what a server makes (STATUS-2, STATUS-7), `longest` a token
    that may be so long: its payload ends in blanks."""
    packings: list[tuple[Any, list[int]]] = [
        (1, []),
        (8, []),
        (1, [1]),
        (4, [0, 15, 1, 14]),
        (1, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        (2, [1, 2, 0, 3, 0, 1, 0, 1]),
        (2, [1, 1, 1, 1, 1]),
        (4, [15, 0, 9]),
        (8, [0, 255, 7]),
    ]
    good = forge(claims({3: 0, 4: 2}), LIST_TYP, HOME)
    inner = claims({})["status_list"]

    def bad(name: str, code: str = "malformed", signer: Signer = HOME, **changes: Any) -> dict[str, Any]:
        return case(name, code, jws=forge(claims({}, **changes), LIST_TYP, signer))

    return {
        "keys": keys_of(HOME, SHOP),
        "uri": STATUS_URI,
        "seed": HOME.key.seed.hex(),
        "kid": HOME.kid,
        "made": {"entries": ENTRIES, "ttl": TTL, "media_type": STATUS_LIST_TYPE},
        "longest": {"characters": MOST_LIST_BYTES, "claims": claims({})},
        "large": {"bits": 8, "zeros": 100_000, "claims": {name: it for name, it in claims({}).items() if name != "status_list"}},
        "packed": [{"bits": bits, "values": v, "packed": pack_entries(bytes(v), bits).hex()} for bits, v in packings],
        "good": [
            {
                "name": "entry 3 valid, entry 4 to be asked for",
                "jws": good,
                "payload": claims({3: 0, 4: 2}),
                "at": {"0": 1, "3": 0, "4": 2, "127": 1},
                "outside": [-1, 128, 2**32],
                "current": {str(NOW + off): -30 <= off <= 90 for off in (-31, -30, 0, 60, 90, 91)},
            },
            {
                "name": "with an end of its own",
                "jws": forge(claims({}, exp=NOW + 10, ttl=1), LIST_TYP, HOME),
                "payload": claims({}, exp=NOW + 10, ttl=1),
                "at": {"0": 1},
                "outside": [128],
                "current": {str(NOW + off): -30 <= off < 10 for off in (-31, -30, 9, 10, 11)},
            },
            {
                "name": "one bit an entry, empty",
                "jws": forge(claims({}, status_list={"bits": 1, "lst": b64u_encode(zlib.compress(b"", 0))}), LIST_TYP, HOME),
                "payload": claims({}, status_list={"bits": 1, "lst": b64u_encode(zlib.compress(b"", 0))}),
                "at": {},
                "outside": [0],
                "current": {},
            },
        ],
        "unpacked": [
            *({"bits": bits, "zeros": 2**24 * bits // 8} for bits in (1, 2, 8)),
            *(case("more than is read", "malformed", bits=bits, zeros=2**24 * bits // 8 + 1) for bits in (1, 2, 8)),
        ],
        "bad_packed": [
            case(f"{values} in {bits} bits", "malformed", bits=bits, values=values)
            for bits, values in ((1, [0, 2]), (2, [4]), (4, [1, 16]))
        ],
        "bad": [
            bad("of another address", sub=STATUS_URI + "0"),
            bad("another's", "bad_signature", SHOP),
            bad("another's, of another address", "bad_signature", SHOP, sub=STATUS_URI + "0"),
            bad("in the server's name", "bad_signature", Signer(HOME.kid, key("eve"))),
            bad("three bits", status_list={**inner, "bits": 3}),
            bad("not zlib", status_list={**inner, "lst": "AAAA"}),
            bad("zlib cut short", status_list={**inner, "lst": inner["lst"][:-4]}),
            bad(
                "something behind the zlib stream",
                status_list={**inner, "lst": b64u_encode(b64u_decode(inner["lst"]) + b"x")},
            ),
            bad("no ttl", ttl=0),
            bad("a member too many", aud=SHOP.did),
            case("a JWT without a type", "malformed", jws=forge(claims({}), "JWT", HOME)),
        ],
    }


# --- tokens


def grants() -> dict[str, Any]:
    """Tokens and what they are worth offline, with what is in hand."""
    story = connected()
    grant = story.go("grant", "second", START + 1, purposes=("care", "sales"), exp=(START + DAY) // 1000)
    place = grant.payload.status.status_list.idx  # type: ignore[union-attr]
    lists = {
        "valid": forge(claims({place: 0}), LIST_TYP, HOME),
        "ask": forge(claims({place: 2}), LIST_TYP, HOME),
        "withdrawn": forge(claims({}), LIST_TYP, HOME),
        "of another address": forge(claims({place: 0}, sub=STATUS_URI + "0"), LIST_TYP, HOME),
        "of another server": forge(claims({place: 0}, iss=EVE.did), LIST_TYP, EVE),
    }
    agreement = story.agreement.raw.decode()
    acceptance = story.records[0]["event"]
    made_up = forge({**json.loads(grant.payload.to_json()), "iss": EVE.did}, "comity-grant+jwt", EVE)
    stranger = connected(accepter=pairwise("stranger"))
    in_hand = {"status_list": "valid", "agreement": agreement, "acceptance": acceptance}
    asked = {"audience": SHOP.did, "purpose": "care", "channel": "app", "now": NOW + 30}
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("granted", "all that is needed", {}),
        ("granted", "below what was granted", {"purpose": "care.checkin", "channel": "email"}),
        ("granted", "at the end of the list's time", {"now": NOW + 90}),
        ("wrong_audience", "shown by another", {"audience": HOME_DID}),
        ("wrong_audience", "shown by another, with nothing that shows it accepted", {"audience": HOME_DID, "acceptance": None}),
        ("not_accepted", "with the agreement alone", {"acceptance": None}),
        ("not_accepted", "with the acceptance alone", {"agreement": None}),
        ("not_accepted", "with nothing but a list", {"acceptance": None, "agreement": None}),
        ("not_accepted", "a made-up key, with the agreement", {"token": made_up, "acceptance": None}),
        ("not_accepted", "a made-up key, with another's acceptance", {"token": made_up}),
        ("not_accepted", "another agreement", {"agreement": stranger.agreement.raw.decode()}),
        ("not_accepted", "another act's acceptance", {"acceptance": _other_acceptance(story)}),
        ("expired", "on its second", {"now": (START + DAY) // 1000}),
        ("no_grant", "another purpose", {"purpose": "careful"}),
        ("no_grant", "another channel", {"channel": "phone"}),
        ("list_missing", "no list", {"status_list": None}),
        ("list_missing", "a list of another address", {"status_list": "of another address"}),
        ("list_missing", "a list of another server", {"status_list": "of another server"}),
        ("list_out_of_date", "a second too late", {"now": NOW + 91}),
        ("list_out_of_date", "from the future", {"now": NOW - 31}),
        ("wrong_audience", "shown by another, and not accepted", {"audience": HOME_DID, "acceptance": None}),
        ("not_accepted", "not accepted, and expired", {"acceptance": None, "now": (START + DAY) // 1000}),
        ("expired", "expired, and another purpose", {"now": (START + DAY) // 1000, "purpose": "news"}),
        ("no_grant", "another purpose, and no list", {"purpose": "news", "status_list": None}),
        ("list_missing", "a list of another address, a second too late", {"status_list": "of another address", "now": NOW + 91}),
        ("list_missing", "a list of another server, a second too late", {"status_list": "of another server", "now": NOW + 91}),
        ("list_out_of_date", "withdrawn, a second too late", {"status_list": "withdrawn", "now": NOW + 91}),
        ("invalid", "withdrawn", {"status_list": "withdrawn"}),
        ("ask", "ask", {"status_list": "ask"}),
    ]
    cases = [
        _weighed(lists, name, reason, {"token": grant.raw, **in_hand, **asked, **own}) for reason, name, own in rows
    ]
    return {"keys": keys_of(HOME, SHOP), "lists": lists, "payload": json.loads(grant.payload.to_json()), "cases": cases}


def _other_acceptance(story: Story) -> str:
    story.go("mute", "second", START + 2)
    return str(story.records[-1]["event"])


def _weighed(lists: dict[str, str], name: str, reason: str, given: dict[str, Any]) -> dict[str, Any]:
    held = {member: value for member, value in given.items() if value is not None}
    verdict = check_token(
        held["token"],
        audience=held["audience"],
        purpose=held["purpose"],
        channel=held["channel"],
        now=held["now"],
        status_list=_opened(lists[held["status_list"]]) if "status_list" in held else None,
        acceptance=open_event(held["acceptance"], finder(HOME)) if "acceptance" in held else None,
        agreement=open_agreement(held["agreement"].encode()) if "agreement" in held else None,
    )
    if verdict.reason != reason:
        raise AssertionError(f"{name}: {verdict.reason} instead of {reason}")
    return {"name": name, **held, "allowed": verdict.allowed, "reason": reason}


def _opened(raw: str) -> SignedStatusList:
    return open_status_list(raw, json.loads(payload_of(raw))["sub"], finder(HOME))


# --- bodies


def sealed(text: bytes, cid: str, to: SigningKey, kid: str, word: str, **changes: Any) -> str:
    """A JWE by ECDH-ES+A256KW and A256GCM with an ephemeral key of our choice, the same every time."""
    ephemeral, content_key = hashlib.sha256(word.encode()).digest(), hashlib.sha256(b"cek" + word.encode()).digest()
    epk = bindings.crypto_scalarmult_base(ephemeral)
    header = {
        "alg": "ECDH-ES+A256KW",
        "enc": "A256GCM",
        "kid": kid,
        "apv": cid,
        "epk": {"kty": "OKP", "crv": "X25519", "x": b64u_encode(epk)},
        **changes,
    }
    head = b64u_encode(dump_json(header))
    secret = bindings.crypto_scalarmult(ephemeral, to.public.x25519())
    apv = b64u_decode(header["apv"])
    parts = (b"ECDH-ES+A256KW", b"", apv)
    info = b"".join(len(part).to_bytes(4, "big") + part for part in parts) + (256).to_bytes(4, "big")
    wrapping_key = hashlib.sha256((1).to_bytes(4, "big") + secret + info).digest()
    nonce = hashlib.sha256(b"iv" + word.encode()).digest()[:12]
    encrypted = AESGCM(content_key).encrypt(nonce, text, head.encode())
    tail = (aes_key_wrap(wrapping_key, content_key), nonce, encrypted[:-16], encrypted[-16:])
    return ".".join([head, *(b64u_encode(part) for part in tail)])


def _bad_forms(good: str, cid: str) -> list[dict[str, Any]]:
    """What a server refuses to accept as a body, without opening it."""
    parts = good.split(".")
    head = json.loads(b64u_decode(parts[0]))

    def part(number: int, text: str) -> str:
        return ".".join([*parts[:number], text, *parts[number + 1 :]])

    def headed(**changes: Any) -> str:
        members = {name: it for name, it in {**head, **changes}.items() if it is not None}
        return part(0, b64u_encode(dump_json(members)))

    names = ("header", "encrypted key", "initialization vector", "ciphertext", "tag")
    longer = {f"a longer {names[it]}": part(it, parts[it] + "AAAA") for it in (1, 2, 4)}
    shorter = {f"a shorter {names[it]}": part(it, parts[it][:-4]) for it in (1, 2, 4)}
    empty = {f"an empty {name}": part(it, "") for it, name in enumerate(names)}
    bits = {f"an unused bit set in the {names[it]}": part(it, parts[it][:-1] + "B") for it in (1, 4)}
    made = {
        "five letters": "A.A.A.A.A",
        "a word": "hello",
        "nothing": "",
        "four parts": good.rpartition(".")[0],
        "six parts": good + ".AA",
        **longer,
        **shorter,
        **empty,
        **bits,
        "a header that is not JSON": part(0, b64u_encode(b"no")),
        "a header with a name twice": part(0, b64u_encode(dump_json(head)[:-1] + b',"enc":"A256GCM"}')),
        "a header of more than 2048 bytes": part(0, b64u_encode(dump_json(head).ljust(2049))),
        "another algorithm": headed(alg="ECDH-ES"),
        "another encryption": headed(enc="A128GCM"),
        "of another connection": headed(apv=words("else")),
        "no connection": headed(apv=None),
        "no kid": headed(kid=None),
        "a kid that names no key": headed(kid="key-1"),
        "a kid that is no text": headed(kid=1),
        "a kid that is a list": headed(kid=[MIA.kid]),
        "an ephemeral key that is a text": headed(epk="x"),
        "an ephemeral key that is a list": headed(epk=["kty", "crv", "x"]),
        "an ephemeral key whose point is no text": headed(epk={**head["epk"], "x": 1}),
        "an ephemeral key without a point": headed(epk={"kty": "OKP", "crv": "X25519"}),
        "an ephemeral key of another type": headed(epk={**head["epk"], "kty": "EC"}),
        "an ephemeral key of 33 bytes": headed(epk={**head["epk"], "x": b64u_encode(bytes(33))}),
        "a member more: apu": headed(apu="QQ"),
        "a member more: zip": headed(zip="DEF"),
        "no ephemeral key": headed(epk=None),
        "an ephemeral key of another curve": headed(epk={**head["epk"], "crv": "P-256"}),
        "an ephemeral key with a private part": headed(epk={**head["epk"], "d": words("d")}),
        "an ephemeral key of 31 bytes": headed(epk={**head["epk"], "x": b64u_encode(bytes(31))}),
    }
    rows = [case(name, "malformed", jwe=jwe) for name, jwe in made.items()]
    return [*rows, case("49 153 characters", "malformed", **_as_long_as(good, 49_153))]


def _good_forms(good: str) -> list[dict[str, Any]]:
    """`longer`: so many "A" more at the end of the ciphertext, the fourth part."""
    head, rest = good.split(".", 1)
    wide = b64u_encode(b64u_decode(head).ljust(2048))
    return [
        {"name": "a header of 2048 bytes", "jwe": f"{wide}.{rest}"},
        {"name": "49 152 characters", **_as_long_as(good, 49_152)},
    ]


def _as_long_as(good: str, length: int) -> dict[str, Any]:
    """A body of that length: its header is widened until a ciphertext of base64url can fill the rest."""
    head, rest = good.split(".", 1)
    for blanks in range(4):
        jwe = f"{b64u_encode(b64u_decode(head) + b' ' * blanks)}.{rest}"
        if (len(rest.split(".")[2]) + length - len(jwe)) % 4 != 1:
            return {"jwe": jwe, "longer": length - len(jwe)}
    raise AssertionError("no ciphertext fits")


def _of(length: int) -> bytes:
    """A body of so many bytes."""
    return dump_json({"text": "x" * (length - len('{"text":""}'))})


_LOW_ORDER = (
    "00" * 32,
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "ee" + "ff" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
)
"""Points of X25519 with which nothing is shared."""


def _epk(point: str) -> dict[str, str]:
    return {"kty": "OKP", "crv": "X25519", "x": b64u_encode(bytes.fromhex(point))}


def bodies() -> dict[str, Any]:
    """Encrypted bodies to Mia's key; and, as forms, what a server takes and refuses without opening it."""
    cid, reader = CID, MIA.key
    text = dump_json({"text": "Could you keep the blue one until Friday? ü"})
    good = sealed(text, cid, reader, MIA.kid, "one")
    return {
        "seed": reader.seed.hex(),
        "cid": cid,
        "good_forms": [{"name": "sealed to Mia", "jwe": good}, {"name": "that nobody opens", "jwe": body("any", cid)}, *_good_forms(good)],
        "bad_forms": _bad_forms(good, cid),
        "good": [
            {"name": "a request", "jwe": good, "body": json.loads(text)},
            {"name": "30 000 bytes", "jwe": sealed(_of(30_000), cid, reader, MIA.kid, "most"), "body": json.loads(_of(30_000))},
        ],
        "bad": [
            case("of another connection", "malformed", jwe=sealed(text, words("else"), reader, MIA.kid, "two")),
            case("to another key", "malformed", jwe=sealed(text, cid, EVE.key, MIA.kid, "three")),
            case(
                "another algorithm", "malformed", jwe=sealed(text, cid, reader, MIA.kid, "four", alg="ECDH-ES+A128KW")
            ),
            case("another encryption", "malformed", jwe=sealed(text, cid, reader, MIA.kid, "five", enc="A128GCM")),
            case("30 001 bytes", "too_large", jwe=sealed(_of(30_001), cid, reader, MIA.kid, "more")),
            case("a text that is not JSON", "malformed", jwe=sealed(b"{", cid, reader, MIA.kid, "no json")),
            case("a name twice", "malformed", jwe=sealed(b'{"a":1,"a":1}', cid, reader, MIA.kid, "twice")),
            case("a changed tag", "malformed", jwe=good[:-2] + ("AA" if good[-2:] != "AA" else "AQ")),
            case("not an object", "malformed", jwe=sealed(b"[]", cid, reader, MIA.kid, "six")),
            *(
                case(f"an ephemeral key of low order: {point}", "malformed", jwe=sealed(text, cid, reader, MIA.kid, "seven", epk=_epk(point)))
                for point in _LOW_ORDER
            ),
        ],
    }


# --- the wire

ORIGIN = "https://home.example"


def requests() -> dict[str, Any]:
    """Signed requests."""
    url, body = f"{ORIGIN}/v1/inbox?wait=10", dump_json({"cid": CID})
    post = f"{ORIGIN}/v1/status/indexes"

    def request(method: str, url: str, content: bytes = b"", signer: Signer = MIA, **changes: Any) -> dict[str, Any]:
        nonce = words(method, url)[:24]
        headers = sign_request(method, url, signer, changes.pop("created", NOW), nonce, content)
        return {"method": method, "url": url, "headers": headers, "body": content.decode(), "now": NOW, **changes}

    read, write = request("GET", url), request("POST", post, body)
    other = request("GET", f"{ORIGIN}/v1/inbox?wait=11")
    bare = read["headers"]
    without = {name: value for name, value in write["headers"].items() if name != "Content-Digest"}
    unknown = Signer("did:web:nowhere.example#key-1", key("nowhere"))
    signature = bare["Signature"].removeprefix("comity=")
    twice = {
        "Signature-Input": bare["Signature-Input"] + ", b" + bare["Signature-Input"].removeprefix("comity"),
        "Signature": f"comity={signature}, b={signature}",
    }
    other_label = {name: value.replace("comity=", "sig1=", 1) for name, value in bare.items()}
    return {
        "keys": keys_of(SHOP),
        "good": [
            {"name": "a read", **read, "kid": MIA.kid},
            {"name": "with a body", **write, "kid": MIA.kid},
            {"name": "by a business", **request("GET", url, signer=SHOP), "kid": SHOP.kid},
            {"name": "a minute slow", **request("GET", url, created=NOW - 60), "kid": MIA.kid},
            {"name": "a minute fast", **request("GET", url, created=NOW + 60), "kid": MIA.kid},
            {"name": "a host in capitals", **request("GET", f"https://HOME.Example/v1/inbox?{'wait=10'}"), "kid": MIA.kid},
            *({"name": name, **it, "kid": MIA.kid} for name, it in _good_requests(read).items()),
        ],
        "bad": [
            case("no signature", "signature_required", **{**read, "headers": {}}),
            case("another target", "bad_signature", **{**read, "url": other["url"]}),
            case("the host in capitals, signed in small letters", "bad_signature", **{**read, "url": url.replace("home", "HOME")}),
            *(case(name, code, **it) for name, (it, code) in _bad_requests(read).items()),
            case("another method", "bad_signature", **{**read, "method": "DELETE"}),
            case(
                "another's signature",
                "bad_signature",
                **{**read, "headers": {**bare, "Signature": other["headers"]["Signature"]}},
            ),
            case("another body", "bad_signature", **{**write, "body": '{"cid":"x"}'}),
            case("a body without its digest", "bad_signature", **{**write, "headers": without}),
            case("a body that nothing covers", "bad_signature", **{**read, "body": "{}"}),
            case("two signatures", "bad_signature", **{**read, "headers": twice}),
            case("another label", "bad_signature", **{**read, "headers": other_label}),
            case("a keyid that names no key", "malformed", **request("GET", url, signer=Signer("key-1", MIA.key))),
            case("created with a fraction", "bad_signature", **_short(read, f"={NOW};", f"={NOW}.0;")),
            case("the method not covered", "bad_signature", **_short(read, '"@method" ', "")),
            case("without a nonce", "bad_signature", **_short(read, f';nonce="{words("GET", url)[:24]}"', "")),
            case("another tag", "bad_signature", **_short(read, 'tag="comity"', 'tag="else"')),
            case("another algorithm", "bad_signature", **_short(read, 'alg="ed25519"', 'alg="hmac-sha256"')),
            case("not a structured field", "bad_signature", **{**read, "headers": {**bare, "Signature-Input": "?"}}),
            case("headers too long", "malformed", **{**read, "headers": {**bare, "Signature-Input": "x" * 4097}}),
            case("a key that nobody knows", "unknown_key", **request("GET", url, signer=unknown)),
            case("61 seconds slow", "signature_stale", **request("GET", url, created=NOW - 61)),
            case("61 seconds fast", "signature_stale", **request("GET", url, created=NOW + 61)),
        ],
    }


def _good_requests(read: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Requests at the borders of what holds."""
    nonce = f';nonce="{words(read["method"], read["url"])[:24]}"'
    small = {name.lower(): value for name, value in read["headers"].items()}
    return {
        "header names in small letters": {**read, "headers": small},
        "beside other headers": {**read, "headers": {**read["headers"], "Date": "x" * 5000, "X-Signature": "no"}},
        "a nonce of 16 characters": _short(read, nonce, f';nonce="{"n" * 16}"'),
        "a nonce of 64 characters": _short(read, nonce, f';nonce="{"n" * 64}"'),
        "that expires now": _short(read, ";tag=", f";expires={NOW};tag="),
        "4096 characters of headers, with a proxy's signature": _beside_a_proxy(read, 4096),
    }


def _beside_a_proxy(request: dict[str, Any], length: int) -> dict[str, Any]:
    """The request with so many characters of signature headers: a proxy on the way signed it as well, with a tag of its own."""
    bare = request["headers"]
    given, signature = ', proxy=("@method");created=1;keyid="p";tag="proxy";nonce="', ", proxy=:AAAA:"
    pad = length - sum(len(value) for value in bare.values()) - len(given) - len(signature) - 1
    headers = {"Signature-Input": f'{bare["Signature-Input"]}{given}{"n" * pad}"', "Signature": bare["Signature"] + signature}
    return {**request, "headers": headers}


def _bad_requests(read: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """And just beyond."""
    nonce = f';nonce="{words(read["method"], read["url"])[:24]}"'
    bare = read["headers"]
    pad = 4097 - sum(len(value) for value in bare.values())
    digest = f"sha-256=:{b64encode(hashlib.sha256(b'').digest()).decode()}:, x"
    return {
        "a nonce of 15 characters": (_short(read, nonce, f';nonce="{"n" * 15}"'), "bad_signature"),
        "a nonce of 65 characters": (_short(read, nonce, f';nonce="{"n" * 65}"'), "bad_signature"),
        "a nonce that is no text": (_short(read, nonce, ";nonce=1234567890123456"), "bad_signature"),
        "that expired a second ago": (_short(read, ";tag=", f";expires={NOW - 1};tag="), "signature_stale"),
        "that expires at a text": (_short(read, ";tag=", f';expires="{NOW}";tag='), "bad_signature"),
        "without a time": (_short(read, f";created={NOW}", ""), "bad_signature"),
        "without a tag": (_short(read, ';tag="comity"', ""), "bad_signature"),
        "the target not covered": (_short(read, ' "@target-uri"', ""), "bad_signature"),
        "a keyid with two fragments": (_short(read, f'keyid="{MIA.kid}"', f'keyid="{MIA.kid}#x"'), "malformed"),
        "4097 characters of headers": ({**read, "headers": {**bare, "Content-Digest": digest.ljust(pad, "x")}}, "malformed"),
        "4097 characters of headers, with a proxy's signature": (_beside_a_proxy(read, 4097), "malformed"),
        "a keyid that is a number": (_short(read, f'keyid="{MIA.kid}"', "keyid=5"), "bad_signature"),
        "without a keyid": (_short(read, f';keyid="{MIA.kid}"', ""), "bad_signature"),
        "a did:key under another's fragment": (_short(read, f'keyid="{MIA.kid}"', f'keyid="{MIA.did}#{EVE.did[8:]}"'), "malformed"),
        "that expires at a fraction": (_short(read, ";tag=", f";expires={NOW + 1}.5;tag="), "bad_signature"),
        "no list of components": ({**read, "headers": {**bare, "Signature-Input": "comity=1"}}, "bad_signature"),
        "a component that wants a name": (
            _short(read, '"@target-uri"', '"@target-uri" "@query-param"'), "bad_signature",
        ),
        "a signature that is no bytes": ({**read, "headers": {**bare, "Signature": "comity=1"}}, "bad_signature"),
        "what is signed, and no signature": (
            {**read, "headers": {"Signature-Input": bare["Signature-Input"]}}, "signature_required",
        ),
        "headers too long, and no signature": ({**read, "headers": {"Signature-Input": "x" * 4097}}, "signature_required"),
        "a signature of nothing": ({**read, "headers": {"Signature": bare["Signature"]}}, "bad_signature"),
        "a signature of 63 bytes": (
            {**read, "headers": {**bare, "Signature": f"comity=:{b64encode(bytes(63)).decode()}:"}}, "bad_signature",
        ),
    }  # fmt: skip


def _short(request: dict[str, Any], text: str, instead: str) -> dict[str, Any]:
    """The request with other signature parameters, and a signature that holds over them."""
    given = request["headers"]["Signature-Input"]
    if text not in given:
        raise AssertionError(f"{text} is not in {given}")
    changed = given.replace(text, instead)
    components = {"@method": request["method"], "@target-uri": request["url"]}
    lines = [f'"{name}": {value}' for name, value in components.items() if f'"{name}"' in changed]
    lines.append(f'"@signature-params": {changed.removeprefix("comity=")}')
    signature = b64encode(MIA.key.sign("\n".join(lines).encode())).decode()
    return {**request, "headers": {"Signature-Input": changed, "Signature": f"comity=:{signature}:"}}


def problems() -> dict[str, Any]:
    """Problem documents: one of each code, and what is none."""
    plain = [json.loads(encode_problem(Refused(code))) for code in CODES]
    full = Malformed("the members are not those of this text", errors=(("/seq", "Input should be a valid integer"),))
    late = Refused("not_now", until=NOW + 3600)
    named = {"request_id": "5f0c2b7e9d1a4c3b8e6f7a90"}
    first = plain[0]
    return {
        "good": [*plain, *(json.loads(text) for text in (encode_problem(full), encode_problem(late, named)))],
        "bad": [
            case("a code that is none", "malformed", document={**first, "code": "no_such_code"}),
            case("another code's status", "malformed", document={**first, "status": 409}),
            case("no code", "malformed", document={name: it for name, it in first.items() if name != "code"}),
            case("a member too many", "malformed", document={**first, "instance": "/v1/acts"}),
        ],
    }
