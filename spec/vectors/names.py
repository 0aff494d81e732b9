"""Vectors of names of keys, documents and base64url, at their borders."""

from typing import Any

import base58
from comity.encoding import b64u_encode
from comity.crypto.keys import did_document
from comity.documents.names import comparison_form, normalize_name
from story import HOME_DID, MIA, SHOP, case, published

LONG = "did:web:a.example" + (":" + "p" * 63) * 5


def names() -> dict[str, Any]:
    """Names of keys (`kid`), keys as texts, JWKs, DID documents, hosts, and base64url. Bytes are hexadecimal."""
    return {
        "kids": [{"kid": kid, "did": kid.partition("#")[0]} for kid in _good_kids()],
        "bad_kids": [case(kid[:40] or "empty", "malformed", kid=kid) for kid in _bad_kids()],
        "no_fragments": [
            case(kid[:30] or "empty", "malformed", kid=kid)
            for kid in ("", SHOP.did, f"{SHOP.did}#", f"{SHOP.kid}#1", f"{LONG}#".ljust(401, "k"))
        ],
        "body_keys": [
            {"kid": it.kid, "key": it.key.public.multibase, "body_kid": body_kid, "x25519": it.key.public.x25519().hex()}
            for it, body_kid in ((MIA, MIA.kid), (SHOP, f"{SHOP.kid}-x"))
        ],
        "bad_multibases": [case(text[:20] or "empty", "malformed", multibase=text) for text in _bad_multibases()],
        "webs": [{"did": did} for did in _good_webs()],
        "bad_webs": [case(did[:40], "malformed", did=did) for did in _bad_webs()],
        "no_keys": [case(did[:30], "malformed", did=did) for did in (SHOP.did, f"did:web:{MIA.did[8:]}", MIA.did[8:])],
        "bad_web": [case(did[:40], "malformed", did=did) for did in (MIA.did, "did:web:", LONG + ":" + "p" * 64)],
        "jwks": [{"jwk": MIA.key.public.jwk("a"), "kid": "a", "public": MIA.key.public.raw.hex()}],
        "bad_jwks": [case(name, "malformed", jwk=jwk) for name, jwk in _bad_jwks().items()],
        "documents": _documents(),
        "bad_documents": [case(name, "malformed", did=SHOP.did, document=it) for name, it in _bad_documents().items()],
        "hosts": [
            {"host": "home.example", "path": [], "did": HOME_DID},
            {"host": "home.example", "path": ["b", "windows"], "did": SHOP.did},
            {"host": "localhost:8470", "path": ["b", "x"], "did": "did:web:localhost%3A8470:b:x"},
            {"host": "a-b.example", "path": [], "did": "did:web:a-b.example"},
        ],
        "urls": [
            {"did": "did:web:home.example%3A80", "url": "https://home.example:80/.well-known/did.json"},
            {"did": "did:web:localhost%3A443:B:X", "url": "http://localhost:443/B/X/did.json"},
            {"did": "did:web:localhost", "url": "http://localhost/.well-known/did.json"},
            {"did": "did:web:localhost.example", "url": "https://localhost.example/.well-known/did.json"},
            {"did": "did:web:127.0.0.1.example", "url": "https://127.0.0.1.example/.well-known/did.json"},
            {"did": "did:web:a.example%3A65535:x", "url": "https://a.example:65535/x/did.json"},
            {"did": LONG + ":" + "p" * 62, "url": "https://a.example" + LONG[17:].replace(":", "/") + "/" + "p" * 62 + "/did.json"},
        ],
        "signatures": _signatures(),
        "bad_seeds": [case(f"{length} bytes", "malformed", seed="11" * length) for length in (0, 31, 33, 64)],
        "labels": [{"typed": typed, "label": normalize_name(typed)} for typed in _typed_labels()],
        "bad_labels": [case(ascii(text)[:60], "malformed", typed=text) for text in _bad_labels()],
        "compared": [
            {"one": one, "two": two, "same": comparison_form(one) == comparison_form(two)}
            for one, two in (
                ("Clear View", "CLEAR  view "), ("Cafe\u0301", "caf\u00c9"), ("Stra\u00dfe", "STRASSE"), ("\uff21nna", "anna"),
                ("Anna", "\u0410nna"), ("Clear View", "ClearView"),
            )
        ],
        "base64url": [{"bytes": raw.hex(), "text": b64u_encode(raw)} for raw in _octets()],
        "bad_base64url": [case(ascii(text), "malformed", text=text) for text in _bad_base64url()],
    }


_HOST = ".".join(["a" * 63] * 3 + ["b" * 61])
"""Of 253 characters."""


def _good_webs() -> list[str]:
    return [
        "did:web:a", "did:web:a:b", "did:web:a%3A1", "did:web:a%3A1:b", "did:web:0-a.b-0", f"did:web:{_HOST}", f"did:web:{_HOST}:b",
        f"did:web:{_HOST}%3A65535", "did:web:a:" + "p" * 64, "did:web:a:-._Z9:..b:...", "did:web:a:1:2:3:4:5:6:7:8", "did:web:a%3A80", "did:web:localhost%3A443", "did:web:127.0.0.1%3A8080:b",
    ]  # fmt: skip


def _bad_webs() -> list[str]:
    return [
        f"did:web:{_HOST}c", f"did:web:{_HOST}c:b", f"did:web:{_HOST}c%3A1", "did:web:a%3A065535", "did:web:a:" + "p" * 65, "did:web:a%3A:b",
        "did:web:a:1:2:3:4:5:6:7:8:9", "did:web::b", "did:web:a::b", "did:web:a:.", "did:web:a:..", "did:web:a:..:b", "did:web:a:b%20c", "did:web:a:b\n",
        "did:web:a.:b", "did:web:.a", "did:web:a%3a80", "did:web:a%3A6553x",
        "did:web:a%3A00001", "did:web:a%3A0", "did:web:a%3A443", "did:web:localhost%3A80", "did:web:127.0.0.1%3A80:b", "did:web:A", "did:web:a.B:c",
    ]  # fmt: skip


def _typed_labels() -> list[str]:
    """Names as people type them: other spaces, too many of them, signs that are the same one written otherwise."""
    return [
        "Clear View Windows", "  Clear \u00a0 View\u3000Windows ", "\uff23\uff4c\uff45\uff41\uff52", "Cafe\u0301 Mu\u0308ller", "\u05d0 \u05d1",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937", "Bar \u2764", "Sm\u00f8rrebr\u00f8d & S\u00f8n ApS", "\u2167. B", "l\u00b7l",
        "\u65e5\u672c\u306e\u30d0\u30fc", "x" * 100,
    ]  # fmt: skip


def _bad_labels() -> list[str]:
    """What is no name for whoever composes one, though a reader takes some of it (ACT-17)."""
    return [
        "", " ", "\u00a0\u3000", "\u200b", "a\u200bb", "a\u00adb", "\u2800", "a\u2800b", "\u3164", "a\u202eb", "a\u2066b", "a\ufeff", "a\U000e0041",
        "a\u2028b", "a\nb", "a\tb", "a\0", "a\x7f", "a\ue000", "a\U000f0000", "a\uffff", "\u2764\ufe0f", "\U0001f469\u200d\U0001f3a8", "Mia\u200d",
        "\u200cMia", "M\u200dia", "a\u0378", "\u1160a",
    ]  # fmt: skip


def _good_kids() -> list[str]:
    return [MIA.kid, SHOP.kid, f"{HOME_DID}#-_9aZ", f"{LONG}#".ljust(400, "k")]


def _bad_kids() -> list[str]:
    return [
        "", "#", "#key-1", MIA.did, SHOP.did, f"{SHOP.did}#", f"{SHOP.kid}#1", f"{SHOP.did}#a/b", f"{SHOP.did}#a\n",
        f"{SHOP.did}#ä", "did:plc:abc#key-1", f"{LONG}#".ljust(401, "k"), f"did:key:z6Mk#{MIA.kid.partition('#')[2]}",
    ]  # fmt: skip


def _bad_multibases() -> list[str]:
    good, raw = MIA.key.public.multibase, MIA.key.public.raw
    prefixes = (b"\xed\x00", b"\xed\x02", b"\xec\x01", b"\xed\x01\x01")
    others = ["z" + base58.b58encode(prefix + raw).decode() for prefix in prefixes]
    return ["", good[1:], good[:-1], good + "1", good[:-1] + "0", good[:-1] + "l", "Z" + good[1:], good + "\n", *others,
            "z6Mk" + "1" * 44, "z6Mk" + "z" * 44]  # fmt: skip


def _bad_jwks() -> dict[str, Any]:
    good = MIA.key.public.jwk("a")
    return {
        "another type": {**good, "kty": "EC"},
        "no type": {name: it for name, it in good.items() if name != "kty"},
        "another curve": {**good, "crv": "X25519"},
        "no curve": {name: it for name, it in good.items() if name != "crv"},
        "no point": {name: it for name, it in good.items() if name != "x"},
        "a point that is no text": {**good, "x": 1},
        "a point of low order": {**good, "x": b64u_encode(bytes(32))},
        "a point of 31 bytes": {**good, "x": b64u_encode(MIA.key.public.raw[:31])},
    }


def _documents() -> list[dict[str, Any]]:
    second = published(SHOP.did, "key-2")
    both = {SHOP.kid: SHOP.key.public, second.kid: second.key.public}
    plain = did_document(SHOP.did, both)
    one, two = plain["verificationMethod"]
    multibases = {kid: it.multibase for kid, it in both.items()}
    curve = {**two, "publicKeyMultibase": plain["keyAgreement"][1]["publicKeyMultibase"]}
    only = {SHOP.kid: multibases[SHOP.kid]}
    others = {
        "a method that may not assert": {**plain, "assertionMethod": [SHOP.kid]},
        "a method that is no object": {**plain, "verificationMethod": [one, "x"]},
        "a method without an id": {**plain, "verificationMethod": [{"type": "Multikey"}, one]},
        "a key of another kind": {**plain, "verificationMethod": [one, curve]},
        "no other members": {name: plain[name] for name in ("id", "verificationMethod", "assertionMethod")}
        | {"assertionMethod": [SHOP.kid]},
        "64 methods": {**plain, "verificationMethod": [one, *[{"id": "x"}] * 63]},
    }
    return [
        {"name": "as it is made", "did": SHOP.did, "document": plain, "keys": multibases, "made": True},
        *({"name": name, "did": SHOP.did, "document": it, "keys": only} for name, it in others.items()),
        {"name": "none", "did": SHOP.did, "document": did_document(SHOP.did, {}), "keys": {}, "made": True},
    ]


def _bad_documents() -> dict[str, Any]:
    plain = did_document(SHOP.did, {SHOP.kid: SHOP.key.public})
    one = plain["verificationMethod"][0]
    foreign = f"{HOME_DID}#key-1"
    return {
        "of another party": {**plain, "id": HOME_DID},
        "of nobody": {name: it for name, it in plain.items() if name != "id"},
        "no methods": {name: it for name, it in plain.items() if name != "verificationMethod"},
        "methods that are no list": {**plain, "verificationMethod": {"0": one}},
        "nothing that may assert": {name: it for name, it in plain.items() if name != "assertionMethod"},
        "assertions that are no list": {**plain, "assertionMethod": SHOP.kid},
        "65 methods": {**plain, "verificationMethod": [one] * 65},
        "a method of another party": {
            **plain, "verificationMethod": [{**one, "id": foreign}], "assertionMethod": [foreign],
        },
        "an id that is no text": {**plain, "verificationMethod": [{**one, "id": 1}], "assertionMethod": [1]},
        "a key that is no text": {**plain, "verificationMethod": [{**one, "publicKeyMultibase": 1}]},
        "no key": {**plain, "verificationMethod": [{"id": SHOP.kid}]},
        "a key that is none": {**plain, "verificationMethod": [{**one, "publicKeyMultibase": "z6Mk" + "1" * 44}]},
        "an id without a fragment": {
            **plain, "verificationMethod": [{**one, "id": SHOP.did}], "assertionMethod": [SHOP.did],
        },
    }  # fmt: skip


def _signatures() -> list[dict[str, Any]]:
    message, good = b"msg", MIA.key.sign(b"msg")
    order = 2**252 + 27742317777372353535851937790883648493
    large = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    rows = {
        "good": (message, good, True),
        "of another message": (b"msh", good, False),
        "63 bytes": (message, good[:-1], False),
        # The last byte moved into the message: a library that takes signature and message as one text must not mind.
        "65 bytes": (message[1:], good + message[:1], False),
        "another R": (message, bytes([good[0] ^ 1]) + good[1:], False),
        "S not below the group order": (message, large, False),
    }
    return [
        {"name": name, "public": MIA.key.public.raw.hex(), "message": text.hex(), "signature": it.hex(), "holds": holds}
        for name, (text, it, holds) in rows.items()
    ]


def _octets() -> list[bytes]:
    return [b"", b"\0", b"\xff", b"\xfb\xef", b"\xfb\xef\xbe", b"\xfb\xff\xbf\xfe", bytes(range(256))]


def _bad_base64url() -> list[str]:
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    tails = [f"{head}{it}" for head, good in (("A", "AQgw"), ("AA", "AEIMQUYcgkosw048")) for it in signs if it not in good]
    return ["A", "AAAAA", "AA==", "AAA=", "A=A", "=", "+A", "/A", "AA AA", "AA\n", "\nAA", "!!!!", "é", "AAÄA", "AA.A", "A?AA", *tails]
