"""`Wallet`: one file, the keys and connections in it, and the network under it.

    async with Wallet.open("mia.wallet", passphrase=...) as mia:
        shop = await mia.accept("https://comity.example/i/7Jx...#...")
        await shop.opened(timeout=60)
        await shop.mute(days=14)

A person's wallet makes a fresh key for every connection. A business's wallet acts under one did:web.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import replace
from typing import Any, Literal

from comity.client import petnames
from comity.client.absence import Absence
from comity.client.connection import onboarding, receipts
from comity.client.connection.connection import Connection, check_grant
from comity.client.connection.key_rotation import KeyRotation
from comity.client.connection.own_rules import OwnRules
from comity.client.connection.proposals import OfferPreview, Proposal
from comity.client.connection.send_queue import restore_all
from comity.client.connection.view import ConnectionView
from comity.client.export import export_wallet
from comity.client.http.server_api import Clock, Randomness
from comity.client.http.transport import Send, Transport
from comity.client.models import News
from comity.client.opening import WalletOpening, home_did, make_owner, make_session
from comity.client.session import AlreadyConnected, Faults, NotOpen, Session, fold_host
from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.frames import WalletFileError
from comity.client.storage.records import ConnectionInfo, Evidence, ReceivedProposal
from comity.client.sync.inbox import Inbox, merge_inboxes
from comity.client.sync.item_handler import ItemHandler
from comity.crypto.keys import Signer, SigningKey, did_of_kid
from comity.documents.hours import ZoneRules
from comity.documents.names import normalize_name
from comity.errors import Refused, Unreachable
from comity.transparency.checkpoints import Policy

Path = str | os.PathLike[str]
_CONCURRENT_INBOXES = 8
"""Inboxes that are read concurrently."""


class Wallet(Absence, OwnRules):
    """The wallet of a person or a business. Made by `Wallet.open` or `Wallet.create`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._items = ItemHandler(session, self)
        self._connections: dict[str, Connection] = {}
        self._inboxes: dict[tuple[str, str], Inbox] = {}

    # --- opening and closing ---

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        passphrase: str | None = None,
        identity: object | None = None,
        send: Send | Transport | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        zones: ZoneRules | None = None,
        witnesses: Policy | None = None,
    ) -> WalletOpening[Wallet]:
        """Opens a wallet's file by its passphrase (takes 2 s and 520 MB) or by its age identity. Returns a
        `WalletOpening`: await it, or use it with `async with`.

        `send` sends the requests (default: aiohttp). `clock` returns ms since the epoch. `witnesses` says how many
        witnesses must have cosigned the log of a home server at each `sync`. Raises WalletFileError.
        """

        async def make() -> Wallet:
            secret = None if identity is None else str(identity)
            file = await asyncio.to_thread(WalletFile.open, path, passphrase=passphrase, identity=secret)
            return cls(make_session(file, send, clock, randomness, zones, witnesses))

        return WalletOpening(make)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        passphrase: str | None = None,
        identity: object | None = None,
        business: str | None = None,
        key: SigningKey | None = None,
        kid: str | None = None,
        name: str | None = None,
        send: Send | Transport | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        zones: ZoneRules | None = None,
        witnesses: Policy | None = None,
    ) -> WalletOpening[Wallet]:
        """Makes a new wallet for a person, or with `business="did:web:…"` for a business under its own `key` (default:
        a new one; the business's host must publish `public_key`). `name` goes into the wallet's offers. Raises
        WalletFileError, and Malformed for an invalid name (ACT-17)."""

        async def make() -> Wallet:
            spelled = None if name is None else normalize_name(name)
            secret = None if identity is None else str(identity)
            file = await asyncio.to_thread(WalletFile.create, path, passphrase=passphrase, identity=secret)
            session = make_session(file, send, clock, randomness, zones, witnesses)
            me, entries = make_owner(session, business, key, kid, spelled)
            await session.records.store(("me", "me", me), *entries)
            session.owner = me
            return cls(session)

        return WalletOpening(make)

    async def close(self) -> None:
        """Waits for pending writes, then closes the file and the network."""
        await self._session.records.close()
        if self._session.transport.close is not None:
            await self._session.transport.close()

    @property
    def identity(self) -> str:
        """The age identity that opens this wallet's file without the passphrase."""
        return self._session.records.file.identity

    @property
    def did(self) -> str | None:
        """A business's did:web. None for a person, who has a different DID in every connection."""
        return self._session.owner.business

    @property
    def public_key(self) -> str | None:
        """A business's public key as did:key, to be published in its DID document. None for a person."""
        kid = self._session.owner.kid
        return None if kid is None else self._session.signer(kid).key.public.did

    async def make_next_key(self) -> str:
        """Returns a business's next key as did:key, to be published in its DID document; makes it where there is none
        yet. `rotate_key` puts it in force. Raises ComityError for a person's wallet."""
        return await KeyRotation(self._session).make_next_key()

    async def rotate_key(self) -> int:
        """Puts the next key in force once the DID document publishes it: for new offers and in every open connection.
        Returns the number of connections rotated. Safe to call again after a failure. Raises ComityError."""
        return await KeyRotation(self._session).rotate(self.connections())

    # --- accepted acts, and the state of the file ---

    @property
    def accepted_kinds(self) -> tuple[str, ...]:
        """The kinds of the acts (and `agreement`, `decline`) that servers accepted since this wallet was opened, in
        order. They are in force, even if a call raised after them."""
        return tuple(self._session.accepted_kinds)

    @property
    def write_error(self) -> WalletFileError | None:
        """The error that left accepted acts out of the file (a full disk, for example), or None. A `sync` reads them
        back from the server once the file can be written."""
        return self._session.records.write_error

    @property
    def damaged_copies(self) -> tuple[pathlib.Path, ...]:
        """Copies of the file beside it, each with an end that could not be read (WALLET-10). Show them to the owner. A
        `sync` reads back what servers accepted meanwhile."""
        return self._session.records.file.damaged_copies

    @property
    def clock_offsets(self) -> dict[str, int]:
        """The home servers (by DID) that refused this device's clock, with the seconds by which each server's clock is
        ahead. Show them to the owner: reads are signed with the server's time, acts with this device's (HTTP-24)."""
        return self._session.clock_offsets()

    def tolerate_write_errors(self) -> AbstractContextManager[None]:
        """Context manager for code that follows an accepted act: a WalletFileError inside is stored in `write_error`
        and not raised."""
        return self._session.tolerate_write_errors()

    # --- as the offerer ---

    async def offer(
        self,
        home: str,
        agreements: Sequence[onboarding.AnyTerms],
        purposes: Iterable[str],
        *,
        use: Literal["one", "many"] | None = None,
        days: float = 7,
        channels: Iterable[str] | None = None,
        name: str | None = None,
        to: str | None = None,
        allow: Mapping[str, Any] | None = None,
    ) -> str:
        """Publishes an offer at a home server (`https://host`). Returns its link, for a message or a QR code.

        A person's offer is for one use. `days` is how long it is valid. `to` (a business's DID) delivers it to that
        business. `allow` (`purposes`, `channels`, `days`, `budget`, as for `Connection.grant`) promises a grant, which
        is given with the countersignature. Raises Refused, Malformed, Unreachable, Contradiction.
        """
        signed = await onboarding.make_offer(
            self._session,
            home_did(home),
            agreements,
            purposes,
            use=use,
            days=days,
            channels=channels,
            name=name,
            to=to,
            allow=allow,
        )
        return signed.link()

    async def proposals(self) -> list[Proposal]:
        """Syncs, then returns the proposals on this wallet's offers that can be countersigned now, oldest first. Raises
        as `sync`."""
        await self.sync()
        waiting = sorted(self._session.records.all("proposals", ReceivedProposal).values(), key=lambda it: it.at)
        return [
            self._items.open_proposal(proposal, self._countersign, self._decline)
            for proposal in waiting
            if self._items.can_be_countersigned(proposal)
        ]

    async def _decline(self, proposal: Proposal, reason: str | None, silent: bool) -> None:
        offered = proposal.signed.offer
        signer = self._items.offer_signer(proposal)
        await self._session.server(offered.home.did).decline(proposal.cid, signer, reason, silent)
        self._session.accepted_kinds.append("decline")
        with self._session.tolerate_write_errors():
            await self._session.records.store(("proposals", proposal.cid, None), ("petnames", proposal.cid, None))

    async def _countersign(self, proposal: Proposal, again: bool) -> Connection:
        if not again:
            self._check_new(proposal.did, proposal.cid)
        proposed = self._session.records.get("proposals", proposal.cid, ReceivedProposal)
        if proposed is None:
            raise NotOpen("this proposal no longer exists")
        async with self._session.record_contradictions():
            info, event = await onboarding.countersign_proposal(self._session, proposed)
            connection = self._connection(info)
            await connection.queue.check_event_key(event)
            with self._session.tolerate_write_errors():
                await self._session.records.store(
                    *self._items.open_connection(connection, event), ("proposals", info.cid, None)
                )
        with suppress(Unreachable), self._session.tolerate_write_errors():  # stored, and given at the next `sync`
            await connection.give_pending_grants()
        return connection

    # --- as the accepter ---

    async def fetch_offer(self, link: str) -> OfferPreview:
        """Fetches and checks the offer behind a link; signs nothing. Raises Refused("not_found"), Malformed,
        Unreachable, Contradiction."""
        async with self._session.record_contradictions():
            return self._with_connections(await onboarding.fetch_offer(self._session, link))

    async def received_offers(self) -> list[OfferPreview]:
        """Syncs, then returns the current offers that people sent to this business. Empty for a person's wallet. Raises
        as `sync`."""
        await self.sync()
        business = self._session.owner.business
        if business is None:
            return []
        raws = self._session.records.all("received", str).values()
        opened = [await onboarding.read_offer(self._session, raw, business) for raw in raws]
        current = [it for it in opened if it.offer.exp > self._session.seconds()]
        return [self._with_connections(onboarding.preview_offer(self._session, it)) for it in current]

    async def accept(
        self,
        offer: str | OfferPreview,
        *,
        terms: str | int | onboarding.AnyTerms | None = None,
        grants: Iterable[Mapping[str, Any]] = (),
        days: float = 7,
        again: bool = False,
    ) -> Connection:
        """Signs this side's half of an agreement. Returns the connection, which is `proposed` until the other side has
        signed.

        `terms` picks one of the offered agreements by position or id, or replaces them with another one. `grants`
        (arguments of `Connection.grant`) are given as soon as the connection is open. The other side must sign within
        `days` (at most 7). Raises AlreadyConnected where a connection with this party exists and `again` is false
        (WHO-4); Blocked, Refused, Malformed, Unreachable, Contradiction.
        """
        shown = await self.fetch_offer(offer) if isinstance(offer, str) else offer
        chosen = onboarding.choose_terms(shown.signed.offer, terms)
        pending_grants = [dict(grant) for grant in grants]
        for arguments in pending_grants:
            check_grant(arguments)
        async with self._session.record_contradictions():
            started = (
                None if again else self._items.find_unconfirmed_half(self.connections_with(shown.did), shown, chosen)
            )
            if started is not None:
                connection = await self._items.resubmit_half(started, pending_grants)
            else:
                if not again:
                    self._check_new(shown.did)
                connection = self._connection(
                    await onboarding.sign_half(self._session, shown, chosen, days, pending_grants)
                )
        with self._session.tolerate_write_errors():
            await self._session.records.store(("received", shown.signed.hash, None))
        return connection

    async def withdraw_acceptance(self, connection: Connection) -> None:
        """Withdraws this side's half while the other side has not signed. Raises NotOpen otherwise; Refused,
        Unreachable."""
        if connection.phase != "proposed" or connection.side != "second":
            raise NotOpen("only an own half that is not countersigned can be withdrawn")
        signer = self._session.signer(connection.info.kid)
        await self._session.server(connection.info.home).decline(connection.cid, signer, None, False)
        self._session.accepted_kinds.append("decline")
        with self._session.tolerate_write_errors():
            await self._session.records.store(self._items.close_connection(connection, "taken back"))

    # --- connections ---

    def connections(self) -> list[Connection]:
        """Every connection of this wallet, oldest first, including proposed and ended ones."""
        return [self._connection(info) for info in self._session.records.all("links", ConnectionInfo).values()]

    def connections_with(self, did: str) -> list[Connection]:
        """The open and proposed connections with one party, by its DID. A person has a different DID in each
        connection."""
        return [it for it in self._all_with(did) if it.phase in ("open", "proposed")]

    def _all_with(self, did: str) -> list[Connection]:
        same = fold_host(did)
        return [
            connection
            for connection in self.connections()
            if same in (fold_host(connection.did), fold_host(connection.info.other))
        ]

    def _with_connections(self, shown: OfferPreview) -> OfferPreview:
        same = tuple(self._all_with(shown.did))
        others = [connection for connection in self.connections() if connection.cid not in {ours.cid for ours in same}]
        return replace(shown, connections=same, namesakes=tuple(petnames.namesakes(others, shown.name)))

    def _check_new(self, did: str, cid: str | None = None) -> None:
        """Raises AlreadyConnected if this wallet has a connection with this party other than `cid`."""
        if found := [it for it in self.connections_with(did) if it.cid != cid]:
            listed = ", ".join(f"{it.name} ({petnames.MARK}{it.cid}, {it.phase})" for it in found)
            raise AlreadyConnected(
                tuple(it.cid for it in found),
                f"there is a connection with {did} already: {listed}",
            )

    def connection(self, cid: str) -> Connection:
        """One connection by its whole id, for programs. Raises NameNotFound."""
        try:
            return self.load_connection(cid)
        except KeyError:
            raise petnames.NameNotFound("no connection has that id") from None

    def find_connection(self, typed: str) -> Connection:
        """One connection as a person types it: by a name, the other side's DID, or `id:` and the beginning of its id
        (WHO-1 to WHO-3). Raises NameNotFound, AmbiguousName."""
        return petnames.find_by_name(self.connections(), typed)

    def load_connection(self, cid: str) -> Connection:
        """One connection by its whole id. Raises KeyError."""
        if cid not in self._connections:
            info = self._session.records.get("links", cid, ConnectionInfo)
            if info is None:
                raise KeyError(cid)
            return self._connection(info)
        return self._connections[cid]

    def _connection(self, info: ConnectionInfo) -> Connection:
        if info.cid not in self._connections:
            self._connections[info.cid] = connection = Connection(self._session, info, self)
            self._items.load_history(connection)
        return self._connections[info.cid]

    # --- the wallet's own rules ---

    async def use_mailbox(self, connection: Connection, on: bool = True) -> None:
        """Delivers the news of this connection to the wallet's mailbox at that home server too (`on=False` ends it), so
        that one stream brings the news of all its connections. The server then learns which of them share a wallet; the
        businesses do not."""
        home = connection.info.home
        kid = self._session.records.get("mailboxes", home, str)
        if kid is None:
            signer, entry = self._session.fresh_key()
            kid = signer.kid
            await self._session.records.store_durably(entry, ("mailboxes", home, kid))
        await connection.set_mailbox(did_of_kid(kid) if on else None)

    # --- news ---

    async def sync(self, wait: float = 0) -> list[News]:
        """Sends unanswered acts again, reads the news for every key of this wallet, and checks its logs and receipts.
        Returns the news. With `wait` (s), waits for the first news.

        Raises Contradiction, Refused, Unreachable: the first fault, after every other inbox was read. The news of a
        call that raised is returned by the next call, or by `take_pending_news`.
        """
        faults, gate = Faults(), asyncio.Semaphore(_CONCURRENT_INBOXES)
        for cid in list(self._session.records.file.table("unsent")):
            with faults.collect():
                await self.load_connection(cid).queue.resend_unsent()

        async def read(inbox: Inbox) -> None:
            async with gate:
                try:
                    news = await inbox.fetch_news(wait)
                    self._session.pending_news.extend(news)
                except Refused as refused:
                    # A key that the server does not know has no news.
                    if refused.code not in ("not_found", "unknown_key", "key_replaced"):
                        raise

        for fault in await asyncio.gather(*map(read, self._inboxes_to_read()), return_exceptions=True):
            if fault is not None:
                raise fault
        await restore_all((connection.queue for connection in self.connections()), faults)
        async with self._session.record_contradictions():
            owing = [self.load_connection(cid).queue for cid in receipts.connections_missing_receipts(self._session)]
            await receipts.check_logs(self._session, owing, {it.home for it in self._inboxes_to_read()})
        faults.raise_first()
        return self.take_pending_news()

    def take_pending_news(self) -> list[News]:
        """Returns the news of calls that raised, oldest first, and removes it from the pending news."""
        return sorted(self._session.take_pending_news(), key=lambda it: it.at)

    async def listen(self) -> AsyncGenerator[News, None]:
        """Yields news as it arrives, for every key of this wallet, until the caller leaves the loop."""
        async with aclosing(merge_inboxes(self._inboxes_to_read())) as news:
            async for item in news:
                yield item

    async def accept_server_key(self, home: str, kid: str) -> None:
        """Accepts the key `kid` of a home server that declared its earlier key broken (HOME-5). `home` is its URL or
        DID. Raises ComityError, Refused("too_few_witnesses"), Unreachable, Contradiction."""
        async with self._session.record_contradictions():
            await self._session.known_servers.accept_key(home_did(home), kid)

    def contradictions(self) -> list[Evidence]:
        """Every contradiction between a server's statements and signatures that this wallet has met, with the signed
        texts, oldest first."""
        return list(self._session.records.all("evidence", Evidence).values())

    @property
    def pending_receipts(self) -> int:
        """The number of accepted own acts without a receipt."""
        return len(self._session.records.file.table("owed"))

    async def fetch_news(self, connection: ConnectionView, wait: float, with_log: bool = True) -> list[News]:
        """Reads the news for the key of one connection and checks its log. Without `with_log` (an act is being sent) it
        skips the log and reads the inbox that an open stream may be reading as well."""
        async with self._session.record_contradictions():
            if with_log:
                await self._session.known_servers.refresh(connection.info.home)
            await self._items.resubmit(connection)
        mailbox = None if with_log else self._items.mailbox_of(connection)
        inbox = self._inbox_of(connection) if mailbox is None else self._inbox(connection.info.home, mailbox)
        return await inbox.fetch_news(wait, with_log)

    async def reset_cursor(self, connection: ConnectionView) -> None:
        """Makes the next read of a connection's inbox start at the beginning."""
        await self._inbox_of(connection).reset_cursor()

    async def stream_news(self, connection: ConnectionView) -> AsyncGenerator[News, None]:
        """Yields the news of one connection as it arrives."""
        async with aclosing(self._inbox_of(connection).follow()) as stream:
            async for item in stream:
                if item.cid == connection.cid:
                    yield item

    def _inbox_of(self, connection: ConnectionView) -> Inbox:
        if self._session.owner.kid is not None:
            return self._inbox(connection.info.home, self._session.owner.kid)
        return self._inbox(connection.info.home, connection.info.kid, lambda: connection.queue.signer)

    def _inboxes_to_read(self) -> list[Inbox]:
        """The inboxes that together bring all news: a business's own, a person's mailboxes, and those of single
        keys."""
        kept = self._session.records
        homes = {info.home for info in kept.all("links", ConnectionInfo).values()} | self._items.offer_homes()
        if self._session.owner.kid is not None:
            return [self._inbox(home, self._session.owner.kid) for home in sorted(homes)]
        found = [
            self._inbox_of(connection) for connection in self.connections() if self._items.needs_reading(connection)
        ]
        found += [self._inbox(home, kid) for home, kid in self._items.open_offers()]
        found += [self._inbox(home, kid) for home, kid in kept.all("mailboxes", str).items()]
        return list(dict.fromkeys(found))

    def _inbox(self, home: str, name: str, signer: Callable[[], Signer] | None = None) -> Inbox:
        key = (home, name)
        if key not in self._inboxes:
            mine, items = signer or (lambda: self._session.signer(name)), self._items
            self._inboxes[key] = Inbox(
                self._session, home, name, mine, items.handle_item, items.read_records, items.restore_server
            )
        return self._inboxes[key]

    # --- export ---

    async def fetch_receipts(self) -> int:
        """Fetches the receipts that an export would lack: of the other sides' acts and of deliveries (WHO-10). Returns
        the number of acts and deliveries that still have none. Raises Contradiction, Unreachable: the first fault,
        after every connection was tried."""
        missing, faults = 0, Faults()
        for connection in self.connections():
            if connection.phase in ("open", "ended"):
                with faults.collect():
                    async with self._session.record_contradictions():
                        missing += await receipts.fetch_all(connection.queue)
        faults.raise_first()
        return missing

    def export(self) -> dict[str, Any]:
        """Everything that this wallet can prove and show, as JSON values: agreements, events, acts, decrypted bodies,
        and the receipts fetched so far. No private keys."""
        return export_wallet(self.connections(), self._session)
