"""The businesses whose did:web this server hosts, with their public keys."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from comity.crypto.keys import PublicKey, did_document, did_of_host, key_of_did
from comity.errors import Malformed
from comity_server.errors import NotPossible
from comity_server.server_keys import Home
from comity_server.store.rows import HostedKey

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\Z")


class Business(NamedTuple):
    """A hosted business. `keys` are its published keys (kid → key), the oldest first."""

    name: str
    did: str
    keys: dict[str, PublicKey]


class Directory:
    """The public keys that this server can find by their ids: its own, and those of the hosted businesses."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._keys: dict[str, PublicKey] = {}
        self._businesses: dict[str, Business] = {}
        self._names: dict[str, str] = {}

    def load(self, rows: Iterable[HostedKey]) -> None:
        """Publishes stored keys of businesses."""
        for row in rows:
            key = PublicKey.of_multibase(row.multibase)
            self._businesses.setdefault(row.name, Business(row.name, row.did, {})).keys[row.kid] = key
            self._keys[row.kid] = key
            self._names[row.did] = row.name

    def find_key(self, kid: str) -> PublicKey | None:
        """The public key with this id; None if the server does not know it."""
        return self._keys.get(kid) or self._home.keys.find_key(kid)

    def is_hosted(self, did: str) -> bool:
        """Whether the party is a hosted business."""
        return did in self._names

    def hosted(self, did: str) -> Business | None:
        """The hosted business with this DID."""
        name = self._names.get(did)
        return None if name is None else self._businesses[name]

    def names(self) -> list[Business]:
        """All hosted businesses, sorted by name."""
        return sorted(self._businesses.values())

    def get(self, name: str) -> Business | None:
        """The hosted business with this name."""
        return self._businesses.get(name)

    def document(self, name: str) -> dict[str, Any] | None:
        """The DID document of a hosted business."""
        business = self._businesses.get(name)
        return None if business is None else did_document(business.did, business.keys)

    def home_document(self) -> dict[str, Any]:
        """The server's own DID document."""
        party = self._home.party
        return did_document(self._home.did, {party.kid: PublicKey.of_multibase(party.key)})


def new_key(home: Home, directory: Directory, name: str, did_key: str) -> Business:
    """The business with one new key, its first or a further one. Raises NotPossible."""
    if not _NAME.match(name):
        raise NotPossible("a name has 1 to 32 of a-z, 0-9 and inner hyphens")
    try:
        key = key_of_did(did_key)
    except Malformed as fault:
        raise NotPossible(f"{fault.detail}: give the public key as did:key:z6Mk…") from None
    did = did_of_host(urlsplit(home.origin).netloc, "b", name)
    kid = f"{did}#{key.multibase}"
    known = directory.get(name)
    if known is not None and kid in known.keys:
        raise NotPossible("that key is published already")
    return Business(name, did, {kid: key})
