"""Keys and the names of parties: Ed25519 by libsodium only, did:key and did:web (spec/security.md, KEY-1 to KEY-6).

A key is taken only if it is a point of the main subgroup: under a low-order key one signature fits any message
(KEY-1). The algorithm is a property of the key; no message can choose it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

import base58
from nacl import bindings, exceptions

from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Malformed

_ED25519_MULTICODEC = b"\xed\x01"
_X25519_MULTICODEC = b"\xec\x01"
_MULTIBASE_ED25519 = re.compile(r"z6Mk[1-9A-HJ-NP-Za-km-z]{44}\Z")
# A host without empty labels, a port, and path segments of which none climbs.
_DID_WEB = re.compile(
    r"did:web:((?![^:%]{254})[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:%3A([1-9][0-9]*))?)"
    r"((?::(?!\.\.?(?::|\Z))[A-Za-z0-9._-]{1,64}){0,8})\Z"
)
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]{1,253})(?::0*([0-9]{0,5}))?(?=[/?#]|\Z)", re.IGNORECASE | re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_FRAGMENT = re.compile(r"[A-Za-z0-9_-]+\Z")
MAX_DID = 400
"""Characters of a DID, and of a kid."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An admitted Ed25519 key (32 bytes). Only `admit`, `of_multibase` and `SigningKey` make one."""

    raw: bytes
    multibase: str = field(compare=False)

    @staticmethod
    def admit(raw: bytes) -> "PublicKey":
        """The key, if libsodium holds it to be a valid point of the main subgroup. Raises Malformed (KEY-1)."""
        return _admit(bytes(raw))

    @staticmethod
    def of_multibase(text: str) -> "PublicKey":
        """The key of a `z6Mk…` text (Multikey, base58btc). Raises Malformed."""
        return _of_multibase(text)

    @property
    def did(self) -> str:
        """The key as a party's name: did:key."""
        return f"did:key:{self.multibase}"

    @property
    def kid(self) -> str:
        """The key's name inside its did:key document."""
        return f"did:key:{self.multibase}#{self.multibase}"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) over `message` holds, by libsodium's verdict (KEY-2)."""
        if len(signature) != 64:
            return False
        try:
            bindings.crypto_sign_open(signature + message, self.raw)
        except exceptions.BadSignatureError:
            return False
        return True

    def x25519(self) -> bytes:
        """The 32 bytes of the key's X25519 form, to which bodies are encrypted."""
        return bindings.crypto_sign_ed25519_pk_to_curve25519(self.raw)

    def jwk(self, kid: str) -> dict[str, str]:
        """The key as an RFC 8037 JWK under the given `kid`."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": b64u_encode(self.raw),
            "kid": kid,
            "alg": "EdDSA",
            "use": "sig",
        }


@lru_cache(maxsize=16384)
def _admit(raw: bytes) -> PublicKey:
    _check_point(raw)
    return PublicKey(raw, "z" + base58.b58encode(_ED25519_MULTICODEC + raw).decode("ascii"))


def _check_point(raw: bytes) -> None:
    if len(raw) != 32 or not bindings.crypto_core_ed25519_is_valid_point(raw):
        raise Malformed("not an acceptable Ed25519 key")


@lru_cache(maxsize=16384)
def _of_multibase(text: str) -> PublicKey:
    if not _MULTIBASE_ED25519.match(text):
        raise Malformed("not an Ed25519 multibase key")
    decoded = base58.b58decode(text[1:])
    if not decoded.startswith(_ED25519_MULTICODEC):
        raise Malformed("not an Ed25519 multibase key")
    _check_point(decoded[2:])
    # 34 bytes that do not begin with zero have one spelling in base58, so the text is the one that would be made.
    return PublicKey(decoded[2:], text)


class SigningKey:
    """An Ed25519 private key. Its representation never shows the seed."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise Malformed("a seed has 32 bytes")
        raw, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.seed = seed
        self.public = PublicKey.admit(raw)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message` (RFC 8032)."""
        return bindings.crypto_sign(message, self._secret)[:64]

    def x25519(self) -> bytes:
        """The private key of `public.x25519()` (32 bytes); kept for as long as what was sent to it is read (BODY-4)."""
        return bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.multibase})"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key under the name (`kid`) that goes into protected headers."""

    kid: str
    key: SigningKey

    @staticmethod
    def of_did_key(key: SigningKey) -> "Signer":
        """The signer of a pairwise party: the key names itself."""
        return Signer(key.public.kid, key)

    @property
    def did(self) -> str:
        """The party that signs: the `kid` without its fragment."""
        return did_of_kid(self.kid)


def did_of_kid(kid: str) -> str:
    """The DID before the fragment of a key's name. Raises Malformed when there is no single fragment."""
    did, _, fragment = kid.partition("#")
    if not fragment or "#" in fragment or len(kid) > MAX_DID:
        raise Malformed("a kid is a DID and a fragment")
    return did


def key_of_did(did: str) -> PublicKey:
    """The key that a did:key is. Raises Malformed for any other DID."""
    if not did.startswith("did:key:"):
        raise Malformed("not a did:key")
    return PublicKey.of_multibase(did[8:])


def key_of_kid(kid: str) -> PublicKey | None:
    """The key named by a did:key `kid`, or None where the name is of another method. Raises Malformed (KEY-3)."""
    return _key_of_did_key_kid(kid) if kid.startswith("did:key:") else None


@lru_cache(maxsize=16384)
def _key_of_did_key_kid(kid: str) -> PublicKey:
    did, _, fragment = kid.partition("#")
    if did[8:] != fragment:
        raise Malformed("the fragment of a did:key kid is the key itself")
    return _of_multibase(fragment)


def is_did(text: str) -> bool:
    """Whether the text names a party in one of the two methods that Comity knows."""
    if text.startswith("did:key:"):
        return bool(_MULTIBASE_ED25519.match(text[8:]))
    return _did_web(text) is not None


@lru_cache(maxsize=16384)
def is_kid(text: str) -> bool:
    """Whether the text is a key's name: a DID, `#` and a fragment of base64url's characters (KEY-3)."""
    did, _, fragment = text.partition("#")
    return len(text) <= MAX_DID and bool(_FRAGMENT.match(fragment)) and is_did(did)


def _did_web(text: str) -> re.Match[str] | None:
    found = _DID_WEB.match(text) if len(text) <= MAX_DID else None
    if found is None or int(found[2] or 0) >= 65_536:
        return None
    # The scheme's own port is left out, or one party would have two names.
    return None if found[2] == _DEFAULT_PORTS[_scheme_of(unquote(found[1]))] else found


def is_pairwise(did: str) -> bool:
    """Whether the party is known by the key alone (did:key), and so to this one connection only (KEY-8)."""
    return did.startswith("did:key:")


def did_of_host(host: str, *path: str) -> str:
    """The did:web of a host (with its port, if any) and path segments."""
    return ":".join(["did:web", host.replace(":", "%3A"), *path])


def did_web_base(did: str) -> str:
    """The origin (`https://host`) of a did:web; http on loopback only (KEY-5). Raises Malformed."""
    found = _did_web(did)
    if found is None:
        raise Malformed("not a did:web")
    host = unquote(found[1])
    return f"{_scheme_of(host)}://{host}"


def split_origin(url: str) -> tuple[str, str]:
    """(the origin of a URL in the one spelling that a did:web has for it, what follows it): scheme and host in lower
    case, and no port where it is the scheme's own (RFC 3986, sections 6.2.2.1 and 6.2.3). Raises Malformed for one that
    no home server can have: it is https, or http on loopback, and nothing stands before the host (KEY-5)."""
    found = _ORIGIN.match(url)
    if found is None:
        raise Malformed("not the URL of a home server")
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    named = f"{scheme}://{host}" + (f":{port}" if port not in (None, "", _DEFAULT_PORTS[scheme]) else "")
    if did_web_base(did_of_host(named.partition("://")[2])) != named:
        raise Malformed("the URL of a home server is https, and http on loopback only")
    return named, url[found.end() :]


def _scheme_of(host: str) -> str:
    """With which scheme a host, with its port, is reached (KEY-5)."""
    return "http" if _is_loopback(host) else "https"


def did_web_url(did: str) -> str:
    """Where the document of a did:web lies (did:web method, section 3.2). Raises Malformed."""
    base = did_web_base(did)
    segments = did.split(":")[3:]
    return f"{base}/{'/'.join(segments)}/did.json" if segments else f"{base}/.well-known/did.json"


def _is_loopback(host: str) -> bool:
    name = host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def did_document(did: str, keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    """The DID document that publishes `keys` (kid → key), each with its X25519 form for encryption (KEY-6)."""
    methods, agreements = [], []
    for kid, key in keys.items():
        methods.append({"id": kid, "type": "Multikey", "controller": did, "publicKeyMultibase": key.multibase})
        x25519 = "z" + base58.b58encode(_X25519_MULTICODEC + key.x25519()).decode("ascii")
        agreements.append({"id": f"{kid}-x", "type": "Multikey", "controller": did, "publicKeyMultibase": x25519})
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": methods,
        "authentication": list(keys),
        "assertionMethod": list(keys),
        "keyAgreement": agreements,
    }


def keys_of_document(did: str, document: Mapping[str, Any]) -> dict[str, PublicKey]:
    """The Ed25519 keys (kid → key) that a DID document lets sign for `did` (assertionMethod). Raises Malformed."""
    if document.get("id") != did:
        raise Malformed("the document is another party's")
    methods, allowed = document.get("verificationMethod"), document.get("assertionMethod")
    if not isinstance(methods, list) or not isinstance(allowed, list) or len(methods) > 64:
        raise Malformed("the document lists no keys")
    keys: dict[str, PublicKey] = {}
    for method in methods:
        if not isinstance(method, dict) or method.get("id") not in allowed:
            continue
        kid, text = method.get("id"), method.get("publicKeyMultibase")
        if not isinstance(kid, str) or not isinstance(text, str) or did_of_kid(kid) != did:
            raise Malformed("a key of the document is not one of Comity's form")
        if text.startswith("z6Mk"):
            keys[kid] = PublicKey.of_multibase(text)
    return keys


def key_of_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """The Ed25519 key of an RFC 8037 JWK. Raises Malformed."""
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or not isinstance(jwk.get("x"), str):
        raise Malformed("not an Ed25519 JWK")
    return PublicKey.admit(b64u_decode(jwk["x"]))
