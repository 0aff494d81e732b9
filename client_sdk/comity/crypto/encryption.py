"""Encrypted bodies, which only the other side can read: compact JWE, ECDH-ES+A256KW with A256GCM (spec/security.md,
BODY-1 to BODY-4).

The recipient's key is the X25519 form of the Ed25519 key that the side has by agreement and rotations. The header's
`apv` is the `cid`: an eavesdropper cannot copy a body into an act of another connection with the same business and
learn its text from the reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nacl import bindings

from comity.crypto.keys import PublicKey, SigningKey, is_kid
from comity.encoding import MAX_JWE, b64u_decode, b64u_encode, dump_json, parse_object
from comity.errors import Malformed

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

_ALG, _ENC = "ECDH-ES+A256KW", "A256GCM"
_MEMBERS = frozenset({"alg", "enc", "kid", "apv", "epk"})
_KEY, _IV, _TAG = 54, 16, 22
"""Characters of an encrypted key (40 bytes), an initialization vector (12) and a tag (16) (RFC 7518, sections 4.4, 4.6
and 5.3)."""
_MAX_HEAD = 2048
"""Bytes of the protected header."""
MAX_TEXT = 30_000
"""Bytes of a body before encryption: as many as fit into an act after two layers of base64 (BODY-3)."""


@dataclass(frozen=True, slots=True)
class BodyKey:
    """A public X25519 key for the encryption of bodies, and its name."""

    kid: str
    raw: bytes


def body_key(kid: str, key: PublicKey) -> BodyKey:
    """The key to which bodies for a side with this Ed25519 key are encrypted (BODY-2). No DID document is fetched
    (KEY-9)."""
    return BodyKey(kid if kid.startswith("did:key:") else f"{kid}-x", key.x25519())


def encrypt_body(body: Mapping[str, Any], cid: str, to: BodyKey) -> str:
    """The body as a compact JWE for the holder of `to`. Raises Malformed for a body that is too long, and for a `to`
    with which no secret can be shared."""
    from joserfc import jwe

    plain = dump_json(dict(body))
    if len(plain) > MAX_TEXT:
        raise Malformed(f"a body has at most {MAX_TEXT} bytes")
    header = {"alg": _ALG, "enc": _ENC, "kid": to.kid, "apv": cid}
    try:
        return jwe.encrypt_compact(header, plain, _okp(to.raw))
    except ValueError:
        raise Malformed("this key cannot be used for encryption") from None


def decrypt_body(text: str, cid: str, key: SigningKey) -> dict[str, Any]:
    """Decrypts a body of the other side. Raises Malformed if it is not for this key or not for this connection."""
    from joserfc import errors, jwe

    check_body_form(text, cid)
    private = key.x25519()
    try:
        # An attacker may choose the sender's key. A point of low order shares no secret: ValueError.
        decrypted = jwe.decrypt_compact(text, _okp(bindings.crypto_scalarmult_base(private), private))
    except (errors.JoseError, ValueError) as error:
        raise Malformed("the body cannot be decrypted with this key") from error
    assert decrypted.plaintext is not None
    return dict(parse_object(decrypted.plaintext, MAX_TEXT))


def check_body_form(text: str, cid: str) -> None:
    """Raises Malformed unless the text is a compact JWE of the form of BODY-1 in the connection `cid`: five parts of
    canonical base64url, of the right lengths, and exactly these header members. Nothing is decrypted: a server calls
    this before it accepts an act (BODY-5)."""
    parts = text.split(".") if len(text) <= MAX_JWE else []
    if len(parts) != 5 or (len(parts[1]), len(parts[2]), len(parts[4])) != (_KEY, _IV, _TAG) or not parts[3]:
        raise Malformed("a body is a compact JWE")
    for part in parts[1:]:
        b64u_decode(part)
    head = b64u_decode(parts[0])
    if len(head) > _MAX_HEAD:
        raise Malformed("the header of a body is too long")
    _check_head(parse_object(head), cid)


def _check_head(head: Mapping[str, Any], cid: str) -> None:
    epk, kid = head.get("epk"), head.get("kid")
    if set(head) != _MEMBERS or head["alg"] != _ALG or head["enc"] != _ENC or head["apv"] != cid:
        raise Malformed("the body has other parameters, or is for another connection")
    if not isinstance(kid, str) or not is_kid(kid):
        raise Malformed("the body does not name the recipient's key")
    if not isinstance(epk, dict) or set(epk) != {"kty", "crv", "x"} or (epk["kty"], epk["crv"]) != ("OKP", "X25519"):
        raise Malformed("the body has no valid ephemeral key")
    x = epk["x"]
    if not isinstance(x, str) or len(b64u_decode(x)) != 32:
        raise Malformed("the body has no valid ephemeral key")


def _okp(public: bytes, private: bytes | None = None) -> OKPKey:
    # Imported at the first body: joserfc loads `cryptography`, which start-up does not need.
    from joserfc.jwk import OKPKey

    members: dict[str, str | list[str]] = {"kty": "OKP", "crv": "X25519", "x": b64u_encode(public)}
    if private is not None:
        members["d"] = b64u_encode(private)
    return OKPKey.import_key(members)
