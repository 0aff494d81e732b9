"""Keys and the names of parties: Ed25519 by libsodium only, did:key and did:web (spec/security.md, KEY-1 to KEY-6).

A key is accepted only if it is a point of the main subgroup: under a low-order key one signature fits any message
(KEY-1). The key decides the algorithm; no message can choose it.
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
# A host without empty labels, a port, and path segments, none of them "." or "..".
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
    """An accepted Ed25519 key (32 bytes). Only `admit`, `of_multibase` and `SigningKey` make one."""

    raw: bytes
    multibase: str = field(compare=False)

    @staticmethod
    def admit(raw: bytes) -> "PublicKey":
        """The key, if libsodium considers it a valid point of the main subgroup. Raises Malformed (KEY-1)."""
        return _admit(bytes(raw))

    @staticmethod
    def of_multibase(text: str) -> "PublicKey":
        """The key in a `z6Mk…` text (Multikey, base58btc). Raises Malformed."""
        return _of_multibase(text)

    @property
    def did(self) -> str:
        """The did:key of this key, a party's name."""
        return f"did:key:{self.multibase}"

    @property
    def kid(self) -> str:
        """The key's id in its did:key document."""
        return f"did:key:{self.multibase}#{self.multibase}"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """True if `signature` (64 bytes) is valid for `message`, as libsodium decides (KEY-2)."""
        if len(signature) != 64:
            return False
        try:
            bindings.crypto_sign_open(signature + message, self.raw)
        except exceptions.BadSignatureError:
            return False
        return True

    def x25519(self) -> bytes:
        """The 32 bytes of the key's X25519 form, for the encryption of bodies."""
        return bindings.crypto_sign_ed25519_pk_to_curve25519(self.raw)

    def jwk(self, kid: str) -> dict[str, str]:
        """The key as an RFC 8037 JWK with this `kid`."""
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
    # 34 bytes that do not begin with zero have one spelling in base58, so the text is the canonical one.
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
        """The private key of `public.x25519()` (32 bytes). Its owner keeps it for as long as it reads bodies encrypted
        to it (BODY-4)."""
        return bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.multibase})"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and the `kid` that goes into protected headers."""

    kid: str
    key: SigningKey

    @staticmethod
    def of_did_key(key: SigningKey) -> "Signer":
        """The signer of a pairwise party, whose key is its own name."""
        return Signer(key.public.kid, key)

    @property
    def did(self) -> str:
        """The DID of the party that signs: the `kid` without its fragment."""
        return did_of_kid(self.kid)


def did_of_kid(kid: str) -> str:
    """The DID before the fragment of a `kid`. Raises Malformed unless there is exactly one fragment."""
    did, _, fragment = kid.partition("#")
    if not fragment or "#" in fragment or len(kid) > MAX_DID:
        raise Malformed("a kid is a DID and a fragment")
    return did


def key_of_did(did: str) -> PublicKey:
    """The key in a did:key. Raises Malformed for every other DID."""
    if not did.startswith("did:key:"):
        raise Malformed("not a did:key")
    return PublicKey.of_multibase(did[8:])


def key_of_kid(kid: str) -> PublicKey | None:
    """The key in a did:key `kid`, None for a `kid` of another method. Raises Malformed (KEY-3)."""
    return _key_of_did_key_kid(kid) if kid.startswith("did:key:") else None


@lru_cache(maxsize=16384)
def _key_of_did_key_kid(kid: str) -> PublicKey:
    did, _, fragment = kid.partition("#")
    if did[8:] != fragment:
        raise Malformed("the fragment of a did:key kid is the key itself")
    return _of_multibase(fragment)


def is_did(text: str) -> bool:
    """True if the text is a did:key or did:web of the form that Comity accepts."""
    if text.startswith("did:key:"):
        return bool(_MULTIBASE_ED25519.match(text[8:]))
    return _did_web(text) is not None


@lru_cache(maxsize=16384)
def is_kid(text: str) -> bool:
    """True if the text is a key's name: a DID, `#` and a fragment of base64url characters (KEY-3)."""
    did, _, fragment = text.partition("#")
    return len(text) <= MAX_DID and bool(_FRAGMENT.match(fragment)) and is_did(did)


def _did_web(text: str) -> re.Match[str] | None:
    match = _DID_WEB.match(text) if len(text) <= MAX_DID else None
    if match is None or int(match[2] or 0) >= 65_536:
        return None
    # The scheme's default port must be left out, or one party would have two names.
    return None if match[2] == _DEFAULT_PORTS[_scheme_of(unquote(match[1]))] else match


def is_pairwise(did: str) -> bool:
    """True if the DID is a did:key: its key alone names the party, in one connection only (KEY-8)."""
    return did.startswith("did:key:")


def did_of_host(host: str, *path: str) -> str:
    """The did:web of a host (with its port, if any) and path segments."""
    return ":".join(["did:web", host.replace(":", "%3A"), *path])


def did_web_base(did: str) -> str:
    """The origin (`https://host`) of a did:web; http on loopback only (KEY-5). Raises Malformed."""
    match = _did_web(did)
    if match is None:
        raise Malformed("not a did:web")
    host = unquote(match[1])
    return f"{_scheme_of(host)}://{host}"


def split_origin(url: str) -> tuple[str, str]:
    """(the origin of a URL in the spelling of its did:web, the rest of the URL). Scheme and host are in lower case, and
    the scheme's default port is left out (RFC 3986, sections 6.2.2.1 and 6.2.3).

    Raises Malformed unless a home server can have that origin: https, or http on loopback, without user information
    (KEY-5).
    """
    match = _ORIGIN.match(url)
    if match is None:
        raise Malformed("not the URL of a home server")
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    origin = f"{scheme}://{host}" + (f":{port}" if port not in (None, "", _DEFAULT_PORTS[scheme]) else "")
    if did_web_base(did_of_host(origin.partition("://")[2])) != origin:
        raise Malformed("the URL of a home server is https, and http on loopback only")
    return origin, url[match.end() :]


def _scheme_of(host: str) -> str:
    """The scheme for a host with its port (KEY-5)."""
    return "http" if _is_loopback(host) else "https"


def did_web_url(did: str) -> str:
    """The URL of the document of a did:web (did:web method, section 3.2). Raises Malformed."""
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
    """The Ed25519 keys (kid → key) that a DID document allows to sign for `did` (assertionMethod). Raises Malformed."""
    if document.get("id") != did:
        raise Malformed("the document belongs to another party")
    methods, allowed = document.get("verificationMethod"), document.get("assertionMethod")
    if not isinstance(methods, list) or not isinstance(allowed, list) or len(methods) > 64:
        raise Malformed("the document lists no keys")
    keys: dict[str, PublicKey] = {}
    for method in methods:
        if not isinstance(method, dict) or method.get("id") not in allowed:
            continue
        kid, text = method.get("id"), method.get("publicKeyMultibase")
        if not isinstance(kid, str) or not isinstance(text, str) or did_of_kid(kid) != did:
            raise Malformed("a key in the document does not have the required form")
        if text.startswith("z6Mk"):
            keys[kid] = PublicKey.of_multibase(text)
    return keys


def key_of_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """The Ed25519 key in an RFC 8037 JWK. Raises Malformed."""
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or not isinstance(jwk.get("x"), str):
        raise Malformed("not an Ed25519 JWK")
    return PublicKey.admit(b64u_decode(jwk["x"]))
