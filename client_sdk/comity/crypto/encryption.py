"""What only the other side may read: bodies as compact JWE, ECDH-ES+A256KW with A256GCM (spec/security.md,
BODY-1 to BODY-4).

The recipient's key is the X25519 form of the Ed25519 key that the side has by agreement and rotations.
The `apv` of the header is the `cid`, so that whoever sees a body in passing cannot put it into an act of
his own connection with the same business and be answered with what it says.
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
"""Bytes of a body in clear: what still fits into an act after two layers of base64 (BODY-3)."""


@dataclass(frozen=True, slots=True)
class BodyKey:
    """A public X25519 key that bodies may be sealed to, under its name."""

    kid: str
    raw: bytes


def body_key(kid: str, key: PublicKey) -> BodyKey:
    """Where bodies are sealed to for the side that has this key, under its name (BODY-2); no document is asked
    (KEY-9)."""
    return BodyKey(kid if kid.startswith("did:key:") else f"{kid}-x", key.x25519())


def seal_body(body: Mapping[str, Any], cid: str, to: BodyKey) -> str:
    """The body as a compact JWE that only the holder of `to` can open. Raises Malformed when it is too long, or
    `to` is no key that a secret can be shared with."""
    from joserfc import jwe

    plain = dump_json(dict(body))
    if len(plain) > MAX_TEXT:
        raise Malformed(f"a body has at most {MAX_TEXT} bytes")
    header = {"alg": _ALG, "enc": _ENC, "kid": to.kid, "apv": cid}
    try:
        return jwe.encrypt_compact(header, plain, _okp(to.raw))
    except ValueError:
        raise Malformed("nothing can be sealed to this key") from None


def open_body(text: str, cid: str, key: SigningKey) -> dict[str, Any]:
    """What the other side wrote. Raises Malformed when it is not for this key or not for this connection."""
    from joserfc import errors, jwe

    check_form(text, cid)
    private = key.x25519()
    try:
        # The sender's key is a point that an attacker chooses. With one of low order nothing is shared: ValueError.
        opened = jwe.decrypt_compact(text, _okp(bindings.crypto_scalarmult_base(private), private))
    except (errors.JoseError, ValueError) as error:
        raise Malformed("a body that this key does not open") from error
    assert opened.plaintext is not None
    return dict(parse_object(opened.plaintext, MAX_TEXT))


def check_form(text: str, cid: str) -> None:
    """Raises Malformed unless the text is a compact JWE of the form of BODY-1 in the connection `cid`: five parts of
    canonical base64url, of the right lengths, behind a header of exactly these members. Nothing is decrypted: a server
    asks this before it accepts an act (BODY-5).
    """
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
        raise Malformed("a body sealed for something else")
    if not isinstance(kid, str) or not is_kid(kid):
        raise Malformed("a body sealed to no key that has a name")
    if not isinstance(epk, dict) or set(epk) != {"kty", "crv", "x"} or (epk["kty"], epk["crv"]) != ("OKP", "X25519"):
        raise Malformed("a body without a sender's key")
    x = epk["x"]
    if not isinstance(x, str) or len(b64u_decode(x)) != 32:
        raise Malformed("a body without a sender's key")


def _okp(public: bytes, private: bytes | None = None) -> OKPKey:
    # Imported at the first body: joserfc brings `cryptography`, which start-up does without.
    from joserfc.jwk import OKPKey

    members: dict[str, str | list[str]] = {"kty": "OKP", "crv": "X25519", "x": b64u_encode(public)}
    if private is not None:
        members["d"] = b64u_encode(private)
    return OKPKey.import_key(members)
