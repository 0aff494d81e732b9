"""The secrets of an endpoint, and what signs with them (HOOK-2 to HOOK-4)."""

import base64
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from nacl.signing import SigningKey
from standardwebhooks import Webhook

from comity_server.businesses.master_key import CannotUnseal, MasterKey

OVERLAP = 24 * 3600 * 1000
"""ms for which the old secret signs beside a new one."""
PURPOSE = "webhooks"
"""The purpose for which the sealing key of secrets is derived."""
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


class Secret(msgspec.Struct, frozen=True):
    """The secrets of both signatures, 32 bytes each."""

    symmetric: bytes
    seed: bytes

    @staticmethod
    def new() -> "Secret":
        """A new one."""
        return Secret(secrets.token_bytes(32), secrets.token_bytes(32))

    @property
    def display_text(self) -> str:
        """The symmetric one as receivers need it."""
        return "whsec_" + base64.b64encode(self.symmetric).decode("ascii")

    @property
    def public_key(self) -> str:
        """The public key as receivers need it."""
        return "whpk_" + base64.b64encode(bytes(SigningKey(self.seed).verify_key)).decode("ascii")


class Secrets(msgspec.Struct, frozen=True):
    """An endpoint's secret, and the one before it, which signs until `until` (ms)."""

    current: Secret
    before: Secret | None = None
    until: int = 0

    @staticmethod
    def new() -> "Secrets":
        """The secrets of a new endpoint."""
        return Secrets(Secret.new())

    def rotate(self, now: int) -> "Secrets":
        """Adds a new secret; the current one stays valid for a while (HOOK-3)."""
        return Secrets(Secret.new(), self.current, now + OVERLAP)

    def signing_secrets(self, now: int) -> tuple[Secret, ...]:
        """The secrets that sign at `now` (ms), the current one first."""
        return (self.current,) if self.before is None or now >= self.until else (self.current, self.before)

    def seal(self, master: MasterKey, name: str, id_: str) -> bytes:
        """As they are stored with that endpoint of that business; `master` is the one derived for PURPOSE."""
        return master.seal(msgspec.json.encode(_Placed(name, id_, self)))

    @staticmethod
    def unseal(sealed: bytes, master: MasterKey, name: str, id_: str) -> "Secrets":
        """Opens the stored secrets of that endpoint. Raises CannotUnseal, also for those of another endpoint."""
        placed = msgspec.json.decode(master.open(sealed), type=_Placed)
        if (placed.name, placed.id) != (name, id_):
            raise CannotUnseal("the secret of a webhook stands in the place of another: restore it from a backup")
        return placed.secrets


class _Placed(msgspec.Struct, frozen=True):
    """Secrets, and where they belong: rows cannot change places."""

    name: str
    id: str
    secrets: Secrets


@dataclass(slots=True)
class _Signer:
    hmac: Webhook
    key: SigningKey


class Signers:
    """Signs deliveries. It caches the Ed25519 keys: making one costs as much as using it."""

    def __init__(self, of: Secrets) -> None:
        self._of = of
        self._made: dict[Secret, _Signer] = {}

    def headers(self, id_: str, now: int, body: bytes) -> dict[str, str]:
        """The three headers of a webhook sent at `now` (ms)."""
        seconds = now // 1000
        signed = b"%s.%d.%s" % (id_.encode("ascii"), seconds, body)
        words = [
            word for secret in self._of.signing_secrets(now) for word in self._words(secret, id_, seconds, signed, body)
        ]
        return {ID: id_, TIMESTAMP: str(seconds), SIGNATURE: " ".join(words)}

    def _words(self, secret: Secret, id_: str, seconds: int, signed: bytes, body: bytes) -> tuple[str, str]:
        made = self._made.get(secret)
        if made is None:
            made = self._made[secret] = _Signer(Webhook(secret.symmetric), SigningKey(secret.seed))
        v1 = made.hmac.sign(id_, datetime.fromtimestamp(seconds, UTC), body.decode("utf-8"))
        return v1, "v1a," + base64.b64encode(made.key.sign(signed).signature).decode("ascii")
