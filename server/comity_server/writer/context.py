"""The context of decisions beside the state, in memory; reloaded after a commit whose outcome is unknown."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from comity.crypto.keys import Signer
from comity.documents.hours import ZoneRules
from comity_server.businesses.api_keys import ApiKey, Keyring
from comity_server.businesses.directory import Directory
from comity_server.businesses.notices import Notices
from comity_server.businesses.signing_keys import KeptKeys
from comity_server.server_keys import Home
from comity_server.status_lists import FIRST_LIST, StatusLists
from comity_server.store.business import BusinessRows
from comity_server.store.rows import Batch, Entry, HostedKey, StoredPlace, StoredStatement


class GroundsStore(Protocol):
    """The queries that fill the context."""

    @property
    def business(self) -> BusinessRows: ...
    async def home_statements(self) -> tuple[list[StoredStatement], list[StoredPlace]]: ...
    async def business_keys(self) -> list[HostedKey]: ...
    async def meta(self) -> dict[str, str]: ...
    async def last_list(self) -> int: ...
    async def entries(self, list_no: int) -> list[Entry]: ...


@dataclass(slots=True)
class DecisionContext:
    """See the module."""

    home: Home
    directory: Directory
    lists: StatusLists
    zones: ZoneRules
    keyring: Keyring
    kept: KeptKeys
    notices: Notices
    tag_seed: bytes
    """The seed of the tag secrets of connections; it never changes."""

    def tag_secret(self, cid: str) -> bytes:
        """The tag secret of a connection that opens; the same where it opens again after a restore (LOG-9)."""
        return hmac.digest(self.tag_seed, b"comity.tag-secret.v1\x00" + cid.encode("ascii"), "sha256")

    async def read(self, store: GroundsStore) -> None:
        """Loads the stored context: at the start, and after a commit whose outcome is unknown. Raises CannotUnseal."""
        self.home.keys.load(*await store.home_statements())
        self.directory.load(await store.business_keys())
        self.lists.begin_at(int((await store.meta()).get(FIRST_LIST, "1")))
        for number in range(1, await store.last_list() + 1):
            self.lists.load(number, await store.entries(number))
        self.keyring.load(await store.business.api_keys())
        self.kept.load(await store.business.signing_keys(), self.directory)
        self.notices.load(raw for _, raw in await store.business.newest_notices())

    def apply(
        self,
        batch: Batch,
        keys: Iterable[HostedKey],
        api_keys: Iterable[ApiKey],
        signers: Iterable[tuple[str, Signer]],
    ) -> None:
        """Take in the rows of a committed unit of work, and the keys that it added: of businesses, for the API, and for
        signing by name of the business."""
        places = (StoredPlace(row["n"], row["log"], row["index"]) for row in batch.put_home_place)
        self.home.keys.take((StoredStatement(**row) for row in batch.put_home_statement), places)
        self.directory.load(keys)
        self.lists.mark_reserved(batch.reserve_index)
        self.lists.put(batch.put_status)
        self.notices.load(row["raw"] for row in batch.put_notice)
        for key in api_keys:
            self.keyring.put(key)
        for row in batch.end_api_key:
            self.keyring.end(row["name"], row["id"], row["expires_at"])
        for name, signer in signers:
            self.kept.put(name, signer)
