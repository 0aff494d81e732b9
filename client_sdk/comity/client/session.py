"""The shared state of an open wallet: its file, keys, servers, logs and clock."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from comity.client.http.did_resolver import Resolver
from comity.client.http.server_api import Clock, Randomness, ServerApi
from comity.client.http.transport import Transport
from comity.client.known_servers import KnownServers
from comity.client.log.fork_evidence import FORKED
from comity.client.log.known_logs import KnownLogs
from comity.client.models import News
from comity.client.petnames import check_petname
from comity.client.storage.frames import WalletFileError
from comity.client.storage.records import Entry, Evidence, Owner, Records
from comity.crypto.keys import Signer, SigningKey
from comity.documents.hours import ZoneRules
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import ComityError, Contradiction, Fork
from comity.transparency.checkpoints import NO_WITNESSES, Policy


class NotOpen(ComityError):
    """The connection is not open: proposed, declined, withdrawn, or never countersigned in time."""


class Blocked(ComityError):
    """The wallet's owner has blocked this party."""


class AlreadyConnected(ComityError):
    """The wallet has an open or proposed connection with this party, and a second one was not requested (WHO-4). `cids`
    are the ids."""

    def __init__(self, cids: tuple[str, ...], claim: str) -> None:
        self.cids = cids
        super().__init__(claim)


class Faults:
    """Collects the faults of several independent steps, so that the first can be raised after the last step."""

    def __init__(self) -> None:
        self._first: ComityError | None = None

    @contextmanager
    def collect(self, kind: type[ComityError] = ComityError) -> Iterator[None]:
        """Collects a fault of this kind that is raised inside."""
        try:
            yield
        except kind as fault:
            self._first = self._first or fault

    def raise_first(self) -> None:
        """Raises the first collected fault, if there is one."""
        if self._first is not None:
            raise self._first


class Session:
    """The wallet's file, keys and servers. Made by `Wallet`, used by its parts."""

    def __init__(
        self,
        kept: Records,
        transport: Transport,
        zones: ZoneRules,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        witnesses: Policy | None = None,
    ) -> None:
        self.records = kept
        self.transport = transport
        self.zones = zones
        self.clock: Callable[[], int] = clock or (lambda: time.time_ns() // 1_000_000)
        self.randomness: Callable[[int], bytes] = randomness or os.urandom
        self.resolver = Resolver(transport, kept)
        self.owner = kept.get("me", "me", Owner) or Owner()
        self.accepted_kinds: list[str] = []
        """The kinds of acts that servers have accepted since this wallet was opened, in order."""
        self.pending_news: list[News] = []
        """News that was read and stored, and not returned yet because the call raised."""
        self._servers: dict[str, ServerApi] = {}
        self.logs = KnownLogs(kept, transport, self.server, witnesses or NO_WITNESSES)
        self.known_servers = KnownServers(kept, self.resolver, self.server, self.logs)

    def server(self, did: str) -> ServerApi:
        """The API of the home server with that DID."""
        if did not in self._servers:
            self.resolver.add_server(did)
            self._servers[did] = ServerApi(did, self.transport, self.clock, self.randomness)
        return self._servers[did]

    def clock_offsets(self) -> dict[str, int]:
        """The home servers that refused this device's clock, with the seconds by which theirs is ahead (HTTP-24)."""
        return {did: round(home.clock_offset / 1000) for did, home in self._servers.items() if home.clock_offset}

    def seconds_at(self, did: str) -> int:
        """The time in whole seconds by the clock of that home server, as far as its offset is known."""
        return (self.clock() + self.server(did).clock_offset) // 1000

    def take_pending_news(self, cid: str | None = None) -> list[News]:
        """Returns the pending news of one connection or of all, and removes it."""
        told = [pending_news_item for pending_news_item in self.pending_news if cid in (None, pending_news_item.cid)]
        self.pending_news[:] = [
            pending_news_item for pending_news_item in self.pending_news if cid not in (None, pending_news_item.cid)
        ]
        return told

    def _is_recorded_as(self, record: Evidence, found: Contradiction) -> bool:
        """Whether that record is of this contradiction. A log that continues its second history must not fill the
        wallet: it gets one record for the checkpoint that was known, and another with a proof."""
        if not isinstance(found, Fork) or FORKED not in record.claim:
            return (record.claim, record.texts) == (found.claim, found.evidence)
        known = self.records.get("checkpoints", found.checkpoints[0].partition("\n")[0], str)
        proved = len(record.texts) > len(found.checkpoints) or not found.proof
        return record.texts == found.evidence or (known in record.texts and proved)

    def is_blocked(self, did: str) -> bool:
        """Whether this wallet refuses offers and proposals of that party."""
        return fold_host(did) in self.records.file.table("blocked")

    def petname(self, cid: str) -> str | None:
        """The other side's petname, or None."""
        return self.records.get("petnames", cid, str)

    async def set_petname(self, cid: str, name: str | None) -> None:
        """Sets the other side's petname; None removes it. Raises Malformed for a name that reads as an id (WHO-2)."""
        await self.records.store_durably(("petnames", cid, None if name is None else check_petname(name)))

    def seconds(self) -> int:
        """The time in whole seconds."""
        return self.clock() // 1000

    def nonce(self) -> str:
        """A fresh nonce."""
        return b64u_encode(self.randomness(18))

    def fresh_key(self) -> tuple[Signer, Entry]:
        """A new did:key and the entry that stores it; the entry must be stored before the key is used."""
        signer = Signer.of_did_key(SigningKey(self.randomness(32)))
        return signer, key_entry(signer)

    def signer(self, kid: str) -> Signer:
        """The private key of that id. Raises ComityError when this wallet does not hold it."""
        seed = self.records.get("keys", kid, str)
        if seed is None:
            raise ComityError(f"this wallet does not hold the key {kid}")
        return Signer(kid, SigningKey(b64u_decode(seed)))

    def own_signer(self) -> tuple[Signer, tuple[Entry, ...]]:
        """The key for a new connection, with the entries to store: a business's own key, or a fresh one for a
        person."""
        if self.owner.kid is not None:
            return self.signer(self.owner.kid), ()
        signer, entry = self.fresh_key()
        return signer, (entry,)

    @contextmanager
    def tolerate_write_errors(self) -> Iterator[None]:
        """Context manager for writes that follow an accepted act: a WalletFileError undoes nothing, so it is stored in
        `Records.write_error` (WHO-9)."""
        try:
            yield
        except WalletFileError as fault:
            self.records.write_error = self.records.write_error or fault

    @asynccontextmanager
    async def record_contradictions(self) -> AsyncIterator[None]:
        """Context manager that stores a Contradiction as evidence and raises it again. Stores it once, however often it
        is met and however many of these it passes through."""
        try:
            yield
        except Contradiction as found:
            known = self.records.all("evidence", Evidence)
            if not any(self._is_recorded_as(it, found) for it in known.values()):
                at = self.clock()
                entry = Evidence(at, found.claim, found.evidence)
                await self.records.store(("evidence", f"{at:015d}-{len(known)}", entry))
            raise


def fold_host(did: str) -> str:
    """A DID with its host in lower case: hosts are the same in any case."""
    method, web, rest = did.partition("did:web:")
    host, mark, path = rest.partition(":")
    return f"{method}{web}{host.lower().replace('%3a', '%3A')}{mark}{path}" if web else did


def key_entry(signer: Signer) -> Entry:
    """The entry that stores a private key."""
    return "keys", signer.kid, b64u_encode(signer.key.seed)
