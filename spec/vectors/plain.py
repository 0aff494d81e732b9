"""Vectors of keys, names and JSON."""

import json
from typing import Any

from comity.encoding import b64u_encode
from comity.crypto.keys import did_document, did_web_url
from edges import mixed
from story import EVE, HOME_DID, SHOP, case, key, keys_of

# --- keys and names


def keys() -> dict[str, Any]:
    """did:key and did:web, keys that are admitted and keys that are not, documents."""
    names = []
    for word in ("mia", "eve", "third"):
        signing = key(word)
        found = signing.public
        names.append(
            {
                "seed": signing.seed.hex(),
                "public": found.raw.hex(),
                "multibase": found.multibase,
                "did": found.did,
                "kid": found.kid,
                "x25519": found.x25519().hex(),
                "message": "6d7367",
                "signature": signing.sign(b"msg").hex(),
            }
        )
    webs = (
        HOME_DID,
        SHOP.did,
        "did:web:localhost%3A8470",
        "did:web:localhost%3A8470:b:hair",
        "did:web:127.0.0.1%3A81",
        "did:web:127.8.9.1",
        "did:web:10.0.0.1",
        "did:web:example.com:a:b:c",
    )
    document = did_document(SHOP.did, {SHOP.kid: SHOP.key.public})
    other = document["verificationMethod"][0]
    return {
        "did_key": names,
        "did_web": [{"did": did, "url": did_web_url(did)} for did in webs],
        "bad_did": [case(did or "empty", "malformed", did=did) for did in _bad_dids()],
        "bad_public": [
            *(case(name, "malformed", public=raw) for name, raw in BAD_KEYS.items()),
            case("of mixed order", "malformed", public=mixed(key("mia")).hex()),
        ],
        "documents": [{"did": SHOP.did, "document": document, "keys": keys_of(SHOP)}],
        "bad_documents": [
            case("of another party", "malformed", did=EVE.did, document=document),
            case("no keys", "malformed", did=SHOP.did, document={"id": SHOP.did}),
            case(
                "a key under another party's name",
                "malformed",
                did=SHOP.did,
                document={
                    **document,
                    "verificationMethod": [{**other, "id": f"{HOME_DID}#key-1"}],
                    "assertionMethod": [f"{HOME_DID}#key-1"],
                },
            ),
        ],
    }


def _bad_dids() -> list[str]:
    good = key("mia").public.did
    return [
        "",
        "did:key:",
        good[:-1],
        good + "1",
        good.replace("z6Mk", "z6Lk"),
        good.replace("did:key:z", "did:key:Z"),
        good.upper(),
        good + "#" + good[8:],
        "did:key:z6Mk" + "0" * 44,
        "did:web:Home.example", "did:web:home.example%3A443", "did:web:home.example%3A08470", "did:web:LOCALHOST",
        "did:web:localhost%3A80", "did:web:127.0.0.1%3A0", "did:web:",
        "did:web:a_b.example",
        "did:web:home.example/b",
        "did:web:home.example:",
        "did:web:home.example:b:..",
        "did:web:home.example:.:b",
        "did:web:home.example%3A",
        "did:web:home.example%3A65536",
        "did:web:home..example",
        "did:web:" + "a" * 400,
        "did:web:home.example:a:b:c:d:e:f:g:h:i",
        "did:web:home.example\n",
        "did:plc:abc",
        "https://home.example",
    ]


BAD_KEYS = {
    "too short": "00" * 31,
    "too long": "58" + "66" * 32,
    "the neutral element": "01" + "00" * 31,
    "order 2": "ec" + "ff" * 30 + "7f",
    "order 4": "00" * 32,
    "order 8": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "order 8, the other sign": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "not canonical: p": "ed" + "ff" * 30 + "7f",
    "not canonical: p + 1": "ee" + "ff" * 30 + "7f",
    "not on the curve": "02" + "00" * 31,
}


# --- JSON


def json_texts() -> dict[str, Any]:
    """Strict JSON. Bytes are base64url; `repeat` stands for a text too long to print."""
    deep = "[" * 32 + "]" * 32
    good = {
        "an object": '{"a":1,"b":[true,false,"x"]}',
        "blanks": ' { "a" : 1 }\n',
        "the largest integer": "9007199254740991",
        "the smallest integer": "-9007199254740991",
        "a fraction": "0.5",
        "32 levels": deep,
        "a pair of surrogates": '"\\ud83d\\ude00"',
        "the largest integer, with blanks": "[ 9007199254740991 ]",
        "the smallest integer, with blanks": "[ -9007199254740991 ]",
        "32 levels of objects": '{"a":' * 31 + "{}" + "}" * 31,
        "32 levels, and something beside them": f"[1,{'[' * 31 + ']' * 31},1]",
        "32 levels, and an empty list beside them": f"[[],{'[' * 31}0{']' * 31}]",
        "33 brackets on few levels": "[" + ",".join(["[]"] * 33) + "]",
        "one name in two objects": '[{"a":1},{"a":1}]',
        "as large as can be": "repeat",
    }
    bad: dict[str, tuple[bytes, str]] = {
        "nothing": (b"", "malformed"),
        "a byte order mark": (b"\xef\xbb\xbf{}", "malformed"),
        "UTF-16": ("{}".encode("utf-16"), "malformed"),
        "not UTF-8": (b'{"a":"\xff"}', "malformed"),
        "a name twice": (b'{"a":1,"a":1}', "malformed"),
        "a name twice, spelt otherwise": (b'{"a":1,"\\u0061":2}', "malformed"),
        "a name twice, inside": (b'{"b":[{"a":1,"a":1}]}', "malformed"),
        "NaN": (b"[NaN]", "malformed"),
        "Infinity": (b"[Infinity]", "malformed"),
        "-Infinity": (b"[-Infinity]", "malformed"),
        "a number that overflows": (b"[1e400]", "malformed"),
        "an integer too large": (b"9007199254740992", "malformed"),
        "an integer too small": (b"-9007199254740992", "malformed"),
        "an integer with many digits": (b"1" * 400, "malformed"),
        "33 levels of objects": (b'{"a":' * 32 + b"{}" + b"}" * 32, "malformed"),
        "33 levels, and something beside them": (f"[1,{deep},1]".encode(), "malformed"),
        "33 levels, the last one with a number beside it": (b"[" * 32 + b"1,[]" + b"]" * 32, "malformed"),
        "an integer too large, with blanks": (b"[ 9007199254740992 ]", "malformed"),
        "an integer too small, with blanks": (b"[ -9007199254740992 ]", "malformed"),
        "33 levels": (f"[{deep}]".encode(), "malformed"),
        "a thousand levels": (b"[" * 1000 + b"]" * 1000, "malformed"),
        "a lone surrogate": (b'"\\ud800"', "malformed"),
        "a lone surrogate in a name": (b'{"\\udc00":1}', "malformed"),
        "surrogates the wrong way round": (b'"\\ude00\\ud83d"', "malformed"),
        "something after it": (b"{} {}", "malformed"),
        "a comma too many": (b"[1,]", "malformed"),
        "single quotes": (b"{'a':1}", "malformed"),
        "a comment": (b"{} // no", "malformed"),
        "a leading zero": (b"01", "malformed"),
        "a minus zero": (b"[-0]", "malformed"),
        "a minus zero, with blanks": (b'{ "a" : -0 }', "malformed"),
        "a control character": (b'"\x01"', "malformed"),
    }
    accepted: list[dict[str, Any]] = [
        {"name": name, "bytes": b64u_encode(text.encode()), "value": json.loads(text)}
        for name, text in good.items()
        if text != "repeat"
    ]
    accepted.append({"name": "as large as can be", "repeat": [" ", 65_534, "{}"], "value": {}})
    refused = [case(name, code, bytes=b64u_encode(text)) for name, (text, code) in bad.items()]
    refused.append(case("one byte too many", "too_large", repeat=[" ", 65_535, "{}"]))
    refused.append(case("one byte too many, and not JSON", "too_large", repeat=["x", 65_537, ""]))
    return {"good": accepted, "bad": refused}
