"""Sealed cursors of lists, which a reader sends back for the next page (HTTP-10, BIZ-12).

A cursor is sealed with a key of the server: its bearer learns nothing from it, it works after a restart, and it cannot
be forged or used on another list.
"""

import hashlib
import hmac

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Malformed

_MARK = 16


class Cursors:
    """Seals and opens places. A list is named by a text that no other list of anybody has."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._box = SecretBox(key)

    def seal(self, list_: str, place: bytes) -> str:
        """The cursor for a place in the list of that name."""
        return b64u_encode(self._box.encrypt(place + _mark(list_)))

    def open(self, list_: str, cursor: str) -> bytes:
        """The place that the cursor seals. Raises Malformed for a cursor of another list."""
        try:
            plain = self._box.decrypt(b64u_decode(cursor))
        except (CryptoError, ValueError):
            raise Malformed("not a cursor of this list") from None
        if plain[-_MARK:] != _mark(list_):
            raise Malformed("not a cursor of this list")
        return plain[:-_MARK]

    def secret(self, purpose: str) -> bytes:
        """Another secret (32 bytes) made of the same key, and no way back to it."""
        return hmac.digest(self._key, b"comity.cursors.v1\x00" + purpose.encode("ascii"), hashlib.sha256)


def _mark(list_: str) -> bytes:
    return hashlib.sha256(list_.encode()).digest()[:_MARK]
