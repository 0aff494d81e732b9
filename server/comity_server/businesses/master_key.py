"""The master key: what seals the secrets that the server keeps for businesses (BIZ-7).

It is in the environment or in a file, and never in the database: who has only the one can read nothing of the other.
Where several keys are given, the first one seals, and all of them open: that is how one takes the place of another.
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
"""In the data folder, where nothing else is configured."""
_LENGTH = 32
_NAME = 8


class CannotUnseal(ComityError):
    """A sealed secret does not open under the master key; the text says what can be done."""


class MasterKey:
    """One or more master keys (32 bytes each). Its representation shows nothing of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _LENGTH for key in keys):
            raise Malformed(f"a master key is {_LENGTH} bytes in base64url")
        self._keys = {hash_id(b"comity.master-key.v1\x00" + key)[:_NAME].encode("ascii"): key for key in keys}
        self.name = next(iter(self._keys))
        """Tells the key that seals from others; in front of everything that it sealed."""

    @property
    def names(self) -> list[bytes]:
        """The names of all keys, the one that seals first."""
        return list(self._keys)

    @staticmethod
    def read(text: str) -> "MasterKey":
        """The keys in a text, with blanks or ends of lines between. Raises Malformed."""
        return MasterKey([b64u_decode(word) for word in text.split()])

    def seal(self, secret: bytes) -> bytes:
        """The secret, for the first key alone."""
        return self.name + bytes(SecretBox(self._keys[self.name]).encrypt(secret))

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises CannotUnseal."""
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
        """Whether the first key sealed it."""
        return sealed[:_NAME] == self.name

    def derived(self, purpose: str) -> "MasterKey":
        """Other keys made of these for one purpose: who has them opens nothing else."""
        label = b"comity.master-key.v1\x00" + purpose.encode("ascii")
        return MasterKey([hmac.digest(key, label, hashlib.sha256) for key in self._keys.values()])

    def mark(self, purpose: str, text: bytes) -> str:
        """What tells the text from others, and lets nobody who has not the first key try texts."""
        label = b"comity.master-key.v1\x00" + purpose.encode("ascii")
        key = hmac.digest(self._keys[self.name], label, hashlib.sha256)
        return b64u_encode(hmac.digest(key, text, hashlib.sha256))

    def lines(self) -> str:
        """The keys as a file holds them, one to a line, the first one first."""
        return "".join(b64u_encode(key) + "\n" for key in self._keys.values())

    def with_new_first(self) -> "MasterKey":
        """These keys behind a new one."""
        return MasterKey([secrets.token_bytes(_LENGTH), *self._keys.values()])

    def first_alone(self) -> "MasterKey":
        """Without the older keys."""
        return MasterKey([self._keys[self.name]])

    def __repr__(self) -> str:
        return f"MasterKey({self.name.decode('ascii')})"


def read_master(text: str, file: Path) -> MasterKey | None:
    """The configured master key: the one in the environment, else the one in the file; None where there is neither.
    Raises CannotUnseal for a text that is no key."""
    try:
        if text:
            return MasterKey.read(text)
        return MasterKey.read(file.read_text(encoding="ascii")) if file.exists() else None
    except (Malformed, UnicodeDecodeError):
        where = "COMITY_MASTER_KEY" if text else str(file)
        raise CannotUnseal(f"{where} holds no master key: 32 bytes in base64url are wanted") from None


def write_master(file: Path, master: MasterKey) -> None:
    """Put the keys into the file."""
    write_whole(file, master.lines().encode("ascii"))


def master_for(data: Path, text: str, file: Path | None, check: str | None) -> MasterKey:
    """The master key of a store: from the environment, else from the configured file, else from the data folder, where
    it is made at the first start. `check` is what the store remembers sealed by it, None for a store that has none yet.

    Raises CannotUnseal: for a store that has one, no other is ever made up.
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
    """What a store remembers, to know its master key by."""
    return b64u_encode(master.seal(b"comity"))
