"""Signed HTTP requests: RFC 9421 with Content-Digest (RFC 9530), Ed25519 by libsodium (spec/http.md, HTTP-4 to HTTP-8).

A signature also identifies the reader of a GET. It covers the method, the whole target URI and the digest of a body; it
carries the time, a nonce and the key's name. The server's replay store rejects a nonce that it has seen.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
    InvalidSignature,
)
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from comity.crypto.jws import FindKey
from comity.crypto.keys import PublicKey, Signer, SigningKey, did_of_kid, is_kid, key_of_kid
from comity.errors import Malformed, Refused

TAG = "comity"
"""The signature's `tag` and label (HTTP-4)."""
COVERED = ("@method", "@target-uri")
WINDOW = 60
"""Seconds by which `created` may differ from the server's clock (HTTP-6)."""
SIGNATURE_HEADERS = ("Signature-Input", "Signature", "Content-Digest")


class Ed25519ByLibsodium(HTTPSignatureAlgorithm):
    """The registered algorithm `ed25519`, with this project's key admission and libsodium's verdicts (KEY-2)."""

    algorithm_id: str = "ed25519"

    def __init__(self, public_key: Any = None, private_key: Any = None, password: Any = None) -> None:
        self.public_key: PublicKey | None = public_key
        self.private_key: SigningKey | None = private_key

    def sign(self, message: bytes) -> bytes:
        """The signature over a signature base."""
        if self.private_key is None:
            raise HTTPMessageSignaturesException("no private key")
        return self.private_key.sign(message)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises InvalidSignature unless the signature holds."""
        assert self.public_key is not None
        if not self.public_key.verify(message, signature):
            raise InvalidSignature("the signature does not hold")


@dataclass(slots=True)
class _Message:
    method: str
    url: str
    headers: dict[str, str]


class _OneSigner(HTTPSignatureKeyResolver):
    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def resolve_private_key(self, key_id: str) -> Any:
        return self._signer.key


class _Keys(HTTPSignatureKeyResolver):
    """Resolves the named key and keeps the reason of a failure, which the library does not report."""

    key: PublicKey | None = None
    refused: Refused | None = None

    def __init__(self, find_key: FindKey) -> None:
        self._find_key = find_key

    def resolve_public_key(self, key_id: str) -> Any:
        try:
            if not is_kid(key_id):
                raise Malformed("keyid must be the name of a key")
            self.key = key_of_kid(key_id) or self._find_key(key_id)
            if self.key is None:
                raise Refused("unknown_key")
        except Refused as refused:
            self.refused = refused
            raise
        return self.key


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Does nothing: `open_request` checks the times. The library would read the machine's clock."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The signer of a request, the time of the signature (s) and its nonce. Only `open_request` makes one."""

    kid: str
    key: PublicKey
    created: int
    nonce: str

    @property
    def did(self) -> str:
        """The DID of the party that signed."""
        return did_of_kid(self.kid)


def sign_request(
    method: str, url: str, signer: Signer, created: int, nonce: str, body: bytes | None = None
) -> dict[str, str]:
    """The headers that sign a request: `Signature-Input`, `Signature`, and `Content-Digest` for a request with a
    body."""
    message = _Message(method, url, {})
    HTTPMessageSigner(signature_algorithm=Ed25519ByLibsodium, key_resolver=_OneSigner(signer)).sign(
        message,
        key_id=signer.kid,
        created=datetime.fromtimestamp(created, UTC),
        nonce=nonce,
        label=TAG,
        tag=TAG,
        covered_component_ids=COVERED,
        body=body or None,
    )
    return message.headers


def open_request(
    method: str, url: str, headers: dict[str, str], body: bytes, now: int, find_key: FindKey
) -> SignedRequest:
    """Verifies the signature of a request at `now` (s).

    Raises Refused: "signature_required" if there is none, "malformed" if it cannot be read, "unknown_key",
    "bad_signature", also for one that covers too little, "signature_stale" if `created` is more than a minute off or
    `expires` is past (HTTP-5 to HTTP-7).
    """
    signature_headers = {name: value for name, value in headers.items() if name.title() in SIGNATURE_HEADERS}
    if not any(name.title() == "Signature" for name in signature_headers):
        raise Refused("signature_required")
    if sum(len(value) for value in signature_headers.values()) > 4096:
        raise Malformed("the signature headers are too long")
    message, keys = _Message(method, url, signature_headers), _Keys(find_key)
    try:
        results = _Verifier(signature_algorithm=Ed25519ByLibsodium, key_resolver=keys).verify(
            message, expect_tag=TAG, require_components=COVERED, body=body
        )
    except HTTPMessageSignaturesException:
        raise keys.refused or Refused("bad_signature") from None
    if len(results) != 1 or results[0].label != TAG:
        raise Refused("bad_signature", f"one signature, under the label {TAG}, and no more")
    parameters = results[0].parameters
    kid, created, nonce = parameters.get("keyid"), parameters.get("created"), parameters.get("nonce")
    if type(created) is not int or not isinstance(nonce, str) or not 16 <= len(nonce) <= 64:
        raise Refused("bad_signature", "keyid, created and a nonce of 16 to 64 characters are needed")
    expires = parameters.get("expires", now)
    assert isinstance(expires, int)
    if abs(created - now) > WINDOW or expires < now:
        raise Refused("signature_stale")
    assert keys.key is not None
    assert isinstance(kid, str)
    return SignedRequest(kid, keys.key, created, nonce)
