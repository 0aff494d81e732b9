"""A wallet's file under a passphrase that opens at once.

The SDK seals an identity with age, and pays what the library asks (about 2 s). A file names its own price, and the SDK
opens whatever age made: here an age file is written by its specification (age-encryption.org/v1), at less than a
thousandth of the price.
"""

import hashlib
import hmac
import os
import struct
from base64 import b64encode
from pathlib import Path

from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

from comity.client.storage.encrypted_file import WalletFile, new_identity
from comity.client.storage.frames import split_head

_VERSION = "age-encryption.org/v1"
_CHEAP = 6
"""The binary logarithm of scrypt's N."""


def wallet_under(passphrase: str, path: Path) -> tuple[bytes, str]:
    """(the bytes of a new wallet's file under that passphrase, its identity); made at `path`."""
    identity = new_identity()
    WalletFile.create(path, identity=identity).close()
    put_under(passphrase, path, identity)
    return path.read_bytes(), identity


def put_under(passphrase: str, path: Path, identity: str) -> None:
    """Replace the head of a closed wallet's file by one whose identity is sealed under that passphrase (WALLET-2)."""
    data = path.read_bytes()
    head, _ = split_head(path, data)
    sealed = _sealed(identity.encode(), passphrase)
    path.write_bytes(data[:16] + struct.pack(">I", len(sealed)) + sealed + data[len(head) :])


def price(path: Path) -> int:
    """The binary logarithm of scrypt's N that opening this file costs."""
    _, sealed = split_head(path, path.read_bytes())
    return int(sealed.split(b"\n")[1].split(b" ")[3])


def _sealed(plain: bytes, passphrase: str) -> bytes:
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    key = hashlib.scrypt(
        passphrase.encode(), salt=f"{_VERSION}/scrypt".encode() + salt, n=1 << _CHEAP, r=8, p=1, dklen=32
    )
    wrapped = crypto_aead_chacha20poly1305_ietf_encrypt(file_key, None, bytes(12), key)
    head = f"{_VERSION}\n-> scrypt {_base64(salt)} {_CHEAP}\n{_base64(wrapped)}\n---".encode()
    mac = hmac.digest(_derived(file_key, b"", b"header"), head, "sha256")
    payload = crypto_aead_chacha20poly1305_ietf_encrypt(
        plain, None, bytes(11) + b"\x01", _derived(file_key, nonce, b"payload")
    )
    return head + f" {_base64(mac)}\n".encode() + nonce + payload


def _derived(key: bytes, salt: bytes, about: bytes) -> bytes:
    """32 bytes by HKDF with SHA-256 (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, about + b"\x01", "sha256")


def _base64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")
