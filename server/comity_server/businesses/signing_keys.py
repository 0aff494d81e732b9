"""The signing keys that the server keeps for businesses (BIZ-8). They are unsealed at the start, and then in memory."""

from collections.abc import Iterable

from comity.crypto.keys import Signer, SigningKey
from comity_server.businesses.directory import Directory
from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.store.business import KeptKey


class KeptKeys:
    """The signers of businesses whose signing keys the server keeps, by key id."""

    def __init__(self, master: MasterKey) -> None:
        self.master = master
        self._signers: dict[str, Signer] = {}
        self._newest: dict[str, Signer] = {}

    def load(self, rows: Iterable[KeptKey], directory: Directory) -> None:
        """Replaces the signers by the stored keys, the oldest of each business first. Raises CannotUnseal, also for a
        key that is not the one which its business publishes under the key's id: its signatures would be invalid, or
        those of another business (BIZ-7)."""
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
        """Adds a key that was just stored, as the business's newest."""
        self._signers[signer.kid] = signer
        self._newest[name] = signer

    def signer(self, kid: str) -> Signer | None:
        """The signer of the key `kid`, if the server keeps it."""
        return self._signers.get(kid)

    def newest(self, name: str) -> Signer | None:
        """The signer of the business's newest key, if the server keeps one."""
        return self._newest.get(name)

    def row(self, name: str, signer: Signer, now: int) -> dict[str, object]:
        """The row of a key."""
        return {"name": name, "kid": signer.kid, "sealed": self.master.seal(signer.key.seed), "added_at": now}
