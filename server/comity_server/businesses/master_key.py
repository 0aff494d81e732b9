"""The master key, which seals the secrets that the server keeps for businesses (BIZ-7).

It is in the environment or in a file, and never in the database: the database alone reveals no secret. Of several keys
the first seals and all unseal, so that a new key can replace an old one.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from comity.encoding import b64u_decode, b64u_encode, hash_id
from comity.errors import ComityError, Malformed
from comity_server.data_dir import write_whole

FILE = "master.key"
"""The default file, in the data folder."""
_LENGTH = 32
_NAME = 8


class CannotUnseal(ComityError):
    """A secret cannot be unsealed with the master key. The message says what to do."""


class MasterKey:
    """One or more master keys of 32 bytes. `repr` does not reveal them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _LENGTH for key in keys):
            raise Malformed(f"a master key is {_LENGTH} bytes in base64url")
        self._keys = {hash_id(b"comity.master-key.v1\x00" + key)[:_NAME].encode("ascii"): key for key in keys}
        self.name = next(iter(self._keys))
        """The name of the sealing key. It is the prefix of everything that the key sealed."""

    @property
    def names(self) -> list[bytes]:
        """The names of all keys, the sealing key first."""
        return list(self._keys)

    @staticmethod
    def read(text: str) -> "MasterKey":
        """Reads keys separated by white space. Raises Malformed."""
        return MasterKey([b64u_decode(word) for word in text.split()])

    def seal(self, secret: bytes) -> bytes:
        """Seals a secret with the first key."""
        return self.name + bytes(SecretBox(self._keys[self.name]).encrypt(secret))

    def open(self, sealed: bytes) -> bytes:
        """Unseals a secret. Raises CannotUnseal."""
        key = self._keys.get(sealed[:_NAME])
        if key is None:
            raise CannotUnseal(
                "a secret in the store was sealed under another master key: set COMITY_MASTER_KEY or"
                " COMITY_MASTER_KEY_FILE to the one that belongs to this store"
            )
        try:
            return SecretBox(key).decrypt(sealed[_NAME:])
        except (CryptoError, ValueError):
            raise CannotUnseal("a sealed secret in the store is damaged: restore it from a backup") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the first key."""
        return sealed[:_NAME] == self.name

    def derived(self, purpose: str) -> "MasterKey":
        """Derives keys for one purpose. They unseal nothing of another purpose."""
        label = b"comity.master-key.v1\x00" + purpose.encode("ascii")
        return MasterKey([hmac.digest(key, label, hashlib.sha256) for key in self._keys.values()])

    def mark(self, purpose: str, text: bytes) -> str:
        """An HMAC of the text under a key derived for `purpose`. Without the first key nobody can guess texts by it."""
        label = b"comity.master-key.v1\x00" + purpose.encode("ascii")
        key = hmac.digest(self._keys[self.name], label, hashlib.sha256)
        return b64u_encode(hmac.digest(key, text, hashlib.sha256))

    def lines(self) -> str:
        """The content of a key file: one key on each line, the first key first."""
        return "".join(b64u_encode(key) + "\n" for key in self._keys.values())

    def with_new_first(self) -> "MasterKey":
        """A new first key, followed by these keys."""
        return MasterKey([secrets.token_bytes(_LENGTH), *self._keys.values()])

    def first_alone(self) -> "MasterKey":
        """The first key without the older ones."""
        return MasterKey([self._keys[self.name]])

    def __repr__(self) -> str:
        return f"MasterKey({self.name.decode('ascii')})"


def read_master(text: str, file: Path) -> MasterKey | None:
    """The master key in the environment variable `text`, or else in the file; None if there is neither. Raises
    CannotUnseal for a text that is no key."""
    try:
        if text:
            return MasterKey.read(text)
        return MasterKey.read(file.read_text(encoding="ascii")) if file.exists() else None
    except (Malformed, UnicodeDecodeError):
        where = "COMITY_MASTER_KEY" if text else str(file)
        raise CannotUnseal(f"{where} holds no master key: 32 bytes in base64url are required") from None


def write_master(file: Path, master: MasterKey) -> None:
    """Writes the keys to the file."""
    write_whole(file, master.lines().encode("ascii"))


def master_for(data: Path, text: str, file: Path | None, check: str | None) -> MasterKey:
    """The master key of a store: from the environment, the configured file, or the data folder. `check` is the store's
    sealed check value, None for a new store. For a new store without a configured key, makes a key in the data folder.

    Raises CannotUnseal. A store that has a master key never gets another.
    """
    found = read_master(text, file or data / FILE)
    if found is None and file is not None:
        raise CannotUnseal(f"COMITY_MASTER_KEY_FILE names no file: {file}")
    if found is None and check is not None:
        raise CannotUnseal(
            f"the store's master key is missing: put it back into {data / FILE}, or set COMITY_MASTER_KEY or"
            " COMITY_MASTER_KEY_FILE"
        )
    if found is None:
        found = MasterKey([secrets.token_bytes(_LENGTH)])
        write_master(data / FILE, found)
    if check is not None:
        found.open(_sealed_check(check))
    return found


def _sealed_check(check: str) -> bytes:
    try:
        return b64u_decode(check)
    except Malformed:
        raise CannotUnseal("what the store knows its master key by is damaged: restore it from a backup") from None


def check_of(master: MasterKey) -> str:
    """The sealed check value by which a store recognizes its master key."""
    return b64u_encode(master.seal(b"comity"))
