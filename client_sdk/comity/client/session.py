"""What everything in a wallet shares: its file, its keys, its servers and their logs, its clock."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from comity.client.http.did_resolver import Resolver
from comity.client.http.server_api import Clock, Home, Randomness
from comity.client.http.transport import Transport
from comity.client.known_servers import HomeKeeping
from comity.client.log.fork_evidence import FORKED
from comity.client.log.known_logs import LogKeeping
from comity.client.models import News
from comity.client.petnames import checked_petname
from comity.client.storage.frames import WalletFileError
from comity.client.storage.records import Entry, Evidence, Kept, Me
from comity.crypto.keys import Signer, SigningKey
from comity.documents.hours import ZoneRules
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import ComityError, Contradiction, Fork
from comity.transparency.checkpoints import NO_WITNESSES, Policy


class NotOpen(ComityError):
    """The connection is not open (yet): proposed, declined, taken back, or never answered in time."""


class Blocked(ComityError):
    """The wallet's own rule: nothing more from this party."""


class AlreadyConnected(ComityError):
    """The wallet has a connection with this party, open or proposed: another one is made only on purpose (WHO-4)."""

    def __init__(self, cids: tuple[str, ...], told: str) -> None:
        self.cids = cids
        super().__init__(told)


class Faults:
    """What goes wrong on a way that is gone to its end; then the first of it is raised."""

    def __init__(self) -> None:
        self._first: ComityError | None = None

    @contextmanager
    def told_later(self, kind: type[ComityError] = ComityError) -> Iterator[None]:
        """Puts aside what is raised inside."""
        try:
            yield
        except kind as fault:
            self._first = self._first or fault

    def tell(self) -> None:
        """Raises the first, if there is one."""
        if self._first is not None:
            raise self._first


class Core:
    """The wallet's file, keys and servers; made by `Wallet`, used by its parts."""

    def __init__(
        self,
        kept: Kept,
        transport: Transport,
        zones: ZoneRules,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        witnesses: Policy | None = None,
    ) -> None:
        self.kept = kept
        self.transport = transport
        self.zones = zones
        self.clock: Callable[[], int] = clock or (lambda: time.time_ns() // 1_000_000)
        self.randomness: Callable[[int], bytes] = randomness or os.urandom
        self.resolver = Resolver(transport, kept)
        self.me = kept.get("me", "me", Me) or Me()
        self.taken: list[str] = []
        """The kinds of acts that servers have accepted since this wallet was opened, in order."""
        self.untold: list[News] = []
        """News that was taken in and kept, and that nobody was told yet: something was raised first."""
        self._homes: dict[str, Home] = {}
        self.logs = LogKeeping(kept, transport, self.home, witnesses or NO_WITNESSES)
        self.homes = HomeKeeping(kept, self.resolver, self.home, self.logs)

    def home(self, did: str) -> Home:
        """The home server of that name."""
        if did not in self._homes:
            self.resolver.knows_home(did)
            self._homes[did] = Home(did, self.transport, self.clock, self.randomness)
        return self._homes[did]

    def clocks_off(self) -> dict[str, int]:
        """The home servers whose clock refused this device's: seconds by which theirs is ahead (HTTP-24)."""
        return {did: round(home.ahead / 1000) for did, home in self._homes.items() if home.ahead}

    def seconds_at(self, did: str) -> int:
        """The time in whole seconds by the clock of that home server, as far as it is known to be another."""
        return (self.clock() + self.home(did).ahead) // 1000

    def tell(self, cid: str | None = None) -> list[News]:
        """What nobody was told yet, of one connection or of all; it counts as told from now on."""
        told = [it for it in self.untold if cid in (None, it.cid)]
        self.untold[:] = [it for it in self.untold if cid not in (None, it.cid)]
        return told

    def _is_of(self, record: Evidence, found: Contradiction) -> bool:
        """Whether that record is of this. A log that goes on with its other history fills no wallet: there is one for
        the checkpoint that was known, and another with a proof."""
        if not isinstance(found, Fork) or FORKED not in record.claim:
            return (record.claim, record.texts) == (found.claim, found.evidence)
        known = self.kept.get("checkpoints", found.checkpoints[0].partition("\n")[0], str)
        proved = len(record.texts) > len(found.checkpoints) or not found.proof
        return record.texts == found.evidence or (known in record.texts and proved)

    def is_blocked(self, did: str) -> bool:
        """Whether this wallet refuses what that party offers and proposes."""
        return host_folded(did) in self.kept.file.table("blocked")

    def petname(self, cid: str) -> str | None:
        """What the wallet's owner calls the other side."""
        return self.kept.get("petnames", cid, str)

    async def call(self, cid: str, name: str | None) -> None:
        """Gives the other side a name, or takes it back. Raises Malformed for one that reads as an id (WHO-2)."""
        await self.kept.keep_first(("petnames", cid, None if name is None else checked_petname(name)))

    def seconds(self) -> int:
        """The time in whole seconds."""
        return self.clock() // 1000

    def nonce(self) -> str:
        """A fresh nonce."""
        return b64u_encode(self.randomness(18))

    def fresh_key(self) -> tuple[Signer, Entry]:
        """A new did:key, and the entry that keeps it: to be written before the key is used."""
        signer = Signer.of_did_key(SigningKey(self.randomness(32)))
        return signer, key_entry(signer)

    def signer(self, kid: str) -> Signer:
        """The private key of that name. Raises ComityError when this wallet does not hold it."""
        seed = self.kept.get("keys", kid, str)
        if seed is None:
            raise ComityError(f"this wallet does not hold the key {kid}")
        return Signer(kid, SigningKey(b64u_decode(seed)))

    def own_signer(self) -> tuple[Signer, tuple[Entry, ...]]:
        """The key to connect with: a business's own, a fresh one for a person, with what must be kept for it."""
        if self.me.kid is not None:
            return self.signer(self.me.kid), ()
        signer, entry = self.fresh_key()
        return signer, (entry,)

    @contextmanager
    def keeping_after(self) -> Iterator[None]:
        """For what is to be kept of something that was accepted already: a file that cannot be written undoes nothing,
        and `Kept.unkept` says so (WHO-9)."""
        try:
            yield
        except WalletFileError as fault:
            self.kept.unkept = self.kept.unkept or fault

    @asynccontextmanager
    async def judging(self) -> AsyncIterator[None]:
        """Keeps what a server said against its own or somebody's signature, before it is raised: it may be needed.
        Once, however often it is met again, and through however many of these it passes."""
        try:
            yield
        except Contradiction as found:
            known = self.kept.all("evidence", Evidence)
            if not any(self._is_of(it, found) for it in known.values()):
                at = self.clock()
                entry = Evidence(at, found.claim, found.evidence)
                await self.kept.keep(("evidence", f"{at:015d}-{len(known)}", entry))
            raise


def host_folded(did: str) -> str:
    """A DID whose host is in small letters: hosts are the same in any case."""
    method, web, rest = did.partition("did:web:")
    host, mark, path = rest.partition(":")
    return f"{method}{web}{host.lower().replace('%3a', '%3A')}{mark}{path}" if web else did


def key_entry(signer: Signer) -> Entry:
    """How a private key is kept."""
    return "keys", signer.kid, b64u_encode(signer.key.seed)
