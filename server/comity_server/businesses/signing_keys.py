"""Signing keys that businesses leave with the server (BIZ-8): unsealed at the start, in memory only after that."""

from collections.abc import Iterable

from comity.crypto.keys import Signer, SigningKey
from comity_server.businesses.directory import Directory
from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.store.business import KeptKey


class KeptKeys:
    """The signers of the businesses whose keys are kept here, by the names of the keys."""

    def __init__(self, master: MasterKey) -> None:
        self.master = master
        self._signers: dict[str, Signer] = {}
        self._newest: dict[str, Signer] = {}

    def load(self, rows: Iterable[KeptKey], directory: Directory) -> None:
        """Exactly those that are stored, the oldest of each business first. Raises CannotUnseal, also for one that is
        not the key which its business publishes under its name: what it signed would be worth nothing, and for a
        business in whose place another's was put, it would be signed in that one's name (BIZ-7)."""
        opened = [(row.name, self._signer(row, directory)) for row in rows]
        self._signers.clear()
        self._newest.clear()
        for name, signer in opened:
            self.put(name, signer)

    def _signer(self, row: KeptKey, directory: Directory) -> Signer:
        key, business = SigningKey(self.master.open(row.sealed)), directory.get(row.name)
        if business is None or business.keys.get(row.kid) != key.public:
            raise CannotUnseal(
                f"the store has another signing key under the name {row.kid} than {row.name} publishes: restore the"
                " store from a backup"
            )
        return Signer(row.kid, key)

    def put(self, name: str, signer: Signer) -> None:
        """A key that was stored just now; it is the business's newest."""
        self._signers[signer.kid] = signer
        self._newest[name] = signer

    def signer(self, kid: str) -> Signer | None:
        """Who signs as `kid`, if that key is kept here."""
        return self._signers.get(kid)

    def newest(self, name: str) -> Signer | None:
        """The newest key of the business, if it leaves its keys here."""
        return self._newest.get(name)

    def row(self, name: str, signer: Signer, now: int) -> dict[str, object]:
        """The key as it is stored."""
        return {"name": name, "kid": signer.kid, "sealed": self.master.seal(signer.key.seed), "added_at": now}
