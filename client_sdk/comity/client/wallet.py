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
from comity.client.connection.connection import Party, check_wish
from comity.client.connection.key_rotation import NextKey
from comity.client.connection.own_rules import OwnRules
from comity.client.connection.proposals import Proposal, ShownOffer
from comity.client.connection.send_queue import bring_all_back
from comity.client.connection.view import View
from comity.client.export import exported
from comity.client.http.server_api import Clock, Randomness
from comity.client.http.transport import Send, Transport
from comity.client.models import News
from comity.client.opening import Opening, core_of, home_did, identity_of
from comity.client.session import AlreadyConnected, Core, Faults, NotOpen, host_folded
from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.frames import WalletFileError
from comity.client.storage.records import Evidence, Link, Proposed
from comity.client.sync.inbox import Inbox, merged
from comity.client.sync.item_handler import ItemHandler
from comity.crypto.keys import Signer, SigningKey, did_of_kid
from comity.documents.hours import ZoneRules
from comity.documents.names import normalize_name
from comity.errors import Refused, Unreachable
from comity.transparency.checkpoints import Policy

Path = str | os.PathLike[str]
_AT_ONCE = 8
"""Inboxes that are read at a time."""


class Wallet(Absence, OwnRules):
    """The wallet of a person or a business. Made by `Wallet.open` or `Wallet.create`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._taking = ItemHandler(core, self)
        self._parties: dict[str, Party] = {}
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
    ) -> Opening[Wallet]:
        """Opens a wallet's file by its passphrase (2 s, 520 MB) or its age identity.

        `send` is the way to the world (aiohttp where none is given), `clock` returns ms since the epoch, `witnesses`
        how many of which must have cosigned a home server's log at each `sync`. Raises WalletFileError.
        """

        async def make() -> Wallet:
            secret = None if identity is None else str(identity)
            file = await asyncio.to_thread(WalletFile.open, path, passphrase=passphrase, identity=secret)
            return cls(core_of(file, send, clock, randomness, zones, witnesses))

        return Opening(make)

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
    ) -> Opening[Wallet]:
        """Makes a new wallet: a person's, or with `business="did:web:…"` a business's under its own `key` (made
        here where none is given; `public_key` is what the host must publish). `name` goes into its offers; raises
        Malformed for one that is none (ACT-17)."""

        async def make() -> Wallet:
            spelled = None if name is None else normalize_name(name)
            secret = None if identity is None else str(identity)
            file = await asyncio.to_thread(WalletFile.create, path, passphrase=passphrase, identity=secret)
            core = core_of(file, send, clock, randomness, zones, witnesses)
            me, entries = identity_of(core, business, key, kid, spelled)
            await core.kept.keep(("me", "me", me), *entries)
            core.me = me
            return cls(core)

        return Opening(make)

    async def close(self) -> None:
        """Waits for what is being written, closes the file and the network."""
        await self._core.kept.close()
        if self._core.transport.close is not None:
            await self._core.transport.close()

    @property
    def identity(self) -> str:
        """The age identity that opens this wallet's file without the passphrase."""
        return self._core.kept.file.identity

    @property
    def did(self) -> str | None:
        """A business's did:web; None for a person, who has another name in every connection."""
        return self._core.me.business

    @property
    def public_key(self) -> str | None:
        """A business's public key as did:key, for whoever publishes its document."""
        kid = self._core.me.kid
        return None if kid is None else self._core.signer(kid).key.public.did

    async def next_key(self) -> str:
        """A business's next key as did:key, for whoever publishes its document; `turn_key` takes it."""
        return await NextKey(self._core).make()

    async def turn_key(self) -> int:
        """Takes the next key once the document publishes it: for new offers, and in every open connection. Returns in
        how many. Raises ComityError; may be called again."""
        return await NextKey(self._core).turn(self.connections())

    # --- what was accepted, and what of it could not be kept ---

    @property
    def taken(self) -> tuple[str, ...]:
        """The kinds of acts (and `agreement`, `decline`) that servers have accepted since this wallet was opened, in
        order: they are in force, whatever was raised after them."""
        return tuple(self._core.taken)

    @property
    def unkept(self) -> WalletFileError | None:
        """Why the file lacks something that was accepted: a full disk, perhaps. It is read back from the server by a
        `sync` of the wallet once it can be written."""
        return self._core.kept.unkept

    @property
    def damaged(self) -> tuple[pathlib.Path, ...]:
        """Copies of the file that lie beside it, each with an end that could not be read any more: to be told to the
        owner (WALLET-10). A `sync` reads back what servers accepted meanwhile."""
        return self._core.kept.file.damaged

    @property
    def clocks_off(self) -> dict[str, int]:
        """Home servers (DID) whose clock differs from this device's by more than they take: the seconds by which it is
        ahead. To be told to the owner: reads are signed by that clock, acts by this device's (HTTP-24)."""
        return self._core.clocks_off()

    def keeping_after(self) -> AbstractContextManager[None]:
        """Puts aside, for `unkept`, that the file cannot be written: for what follows an act that was accepted."""
        return self._core.keeping_after()

    # --- offering ---

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
        """Publishes an offer at a home server (`https://host`) and returns its link, for a message or a QR code.

        A person's offer is for one use. `to` (a business's DID) puts it at that business's door. `allow` (`purposes`,
        `channels`, `days`, `budget` as of `Party.grant`) promises a grant, given with the countersignature.
        """
        signed = await onboarding.make_offer(
            self._core,
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
        """Halves of agreements on this wallet's offers that can be countersigned now, the first that came first; reads
        what is new first."""
        await self.sync()
        waiting = sorted(self._core.kept.all("proposals", Proposed).values(), key=lambda it: it.at)
        return [
            self._taking.proposal(it, self._countersign, self._decline) for it in waiting if self._taking.is_good(it)
        ]

    async def _decline(self, proposal: Proposal, reason: str | None, silent: bool) -> None:
        offered = proposal.signed.offer
        signer = self._taking.offer_signer(proposal)
        await self._core.home(offered.home.did).decline(proposal.cid, signer, reason, silent)
        self._core.taken.append("decline")
        with self._core.keeping_after():
            await self._core.kept.keep(("proposals", proposal.cid, None), ("petnames", proposal.cid, None))

    async def _countersign(self, proposal: Proposal, again: bool) -> Party:
        if not again:
            self._must_be_new(proposal.did, proposal.cid)
        kept = self._core.kept.get("proposals", proposal.cid, Proposed)
        if kept is None:
            raise NotOpen("this proposal is no longer there")
        async with self._core.judging():
            link, event = await onboarding.sign_whole(self._core, kept)
            party = self._party(link)
            await party.writing.expect(event)
            with self._core.keeping_after():
                await self._core.kept.keep(*self._taking.opened(party, event), ("proposals", link.cid, None))
        with suppress(Unreachable), self._core.keeping_after():  # it is kept, and given at the next `sync`
            await party.give_what_was_wished()
        return party

    # --- accepting ---

    async def look(self, link: str) -> ShownOffer:
        """The offer behind a link, checked; nothing is signed. Raises Refused("not_found"), Contradiction."""
        async with self._core.judging():
            return self._with_connections(await onboarding.look(self._core, link))

    async def received(self) -> list[ShownOffer]:
        """Offers that people put at this business's door; reads what is new first."""
        await self.sync()
        business = self._core.me.business
        if business is None:
            return []
        raws = self._core.kept.all("received", str).values()
        opened = [await onboarding.read_offer(self._core, raw, business) for raw in raws]
        current = [it for it in opened if it.offer.exp > self._core.seconds()]
        return [self._with_connections(onboarding.shown(self._core, it)) for it in current]

    async def accept(
        self,
        offer: str | ShownOffer,
        *,
        terms: str | int | onboarding.AnyTerms | None = None,
        grants: Iterable[Mapping[str, Any]] = (),
        days: float = 7,
        again: bool = False,
    ) -> Party:
        """Signs this side's half. The connection is proposed until the other side has signed, too.

        `terms` picks one of the offered agreements, by place or id, or puts another one in their place, once.
        `grants` (arguments of `Party.grant`) are given as soon as the connection is open. Within `days` (at most
        7) the other side must sign. Raises AlreadyConnected where there is a connection with this party, and not
        `again` (WHO-4); Blocked, Refused, Contradiction.
        """
        shown = await self.look(offer) if isinstance(offer, str) else offer
        chosen = onboarding.chosen_terms(shown.signed.offer, terms)
        wishes = [dict(grant) for grant in grants]
        for wish in wishes:
            check_wish(wish)
        async with self._core.judging():
            begun = None if again else self._taking.begun(self.connections_with(shown.did), shown, chosen)
            if begun is not None:
                party = await self._taking.go_on(begun, wishes)
            else:
                if not again:
                    self._must_be_new(shown.did)
                party = self._party(await onboarding.sign_half(self._core, shown, chosen, days, wishes))
        with self._core.keeping_after():
            await self._core.kept.keep(("received", shown.signed.hash, None))
        return party

    async def take_back(self, party: Party) -> None:
        """Takes an own half back, as long as the other side has not signed."""
        if party.phase != "proposed" or party.side != "second":
            raise NotOpen("only an own half that is not countersigned can be taken back")
        signer = self._core.signer(party.link.kid)
        await self._core.home(party.link.home).decline(party.cid, signer, None, False)
        self._core.taken.append("decline")
        with self._core.keeping_after():
            await self._core.kept.keep(self._taking.closed(party, "taken back"))

    # --- connections ---

    def connections(self) -> list[Party]:
        """Every connection of this wallet, oldest first, the proposed and the ended ones too."""
        return [self._party(link) for link in self._core.kept.all("links", Link).values()]

    def connections_with(self, did: str) -> list[Party]:
        """The connections with one party that are open or proposed. A person has another DID in each."""
        return [it for it in self._all_with(did) if it.phase in ("open", "proposed")]

    def _all_with(self, did: str) -> list[Party]:
        same = host_folded(did)
        return [it for it in self.connections() if same in (host_folded(it.did), host_folded(it.link.other))]

    def _with_connections(self, shown: ShownOffer) -> ShownOffer:
        same = tuple(self._all_with(shown.did))
        others = [it for it in self.connections() if it.cid not in {ours.cid for ours in same}]
        return replace(shown, connections=same, namesakes=tuple(petnames.namesakes(others, shown.name)))

    def _must_be_new(self, did: str, cid: str | None = None) -> None:
        """Whether there is no other connection with this party than that. Raises AlreadyConnected."""
        if found := [it for it in self.connections_with(did) if it.cid != cid]:
            listed = ", ".join(f"{it.name} ({petnames.MARK}{it.cid}, {it.phase})" for it in found)
            raise AlreadyConnected(
                tuple(it.cid for it in found),
                f"there is a connection with {did} already: {listed}",
            )

    def party(self, cid: str) -> Party:
        """One connection by its whole id, as programs name it. Raises NotNamed."""
        try:
            return self.known(cid)
        except KeyError:
            raise petnames.NotNamed("no connection has that id") from None

    def find(self, typed: str) -> Party:
        """The connection that a person means: by a name, the other side's DID, or `id:` and the beginning of its id
        (WHO-1 to WHO-3). Raises NotNamed, SeveralNamed."""
        return petnames.party_named(self.connections(), typed)

    def known(self, cid: str) -> Party:
        """One connection by its whole id. Raises KeyError."""
        if cid not in self._parties:
            link = self._core.kept.get("links", cid, Link)
            if link is None:
                raise KeyError(cid)
            return self._party(link)
        return self._parties[cid]

    def _party(self, link: Link) -> Party:
        if link.cid not in self._parties:
            self._parties[link.cid] = party = Party(self._core, link, self)
            self._taking.load(party)
        return self._parties[link.cid]

    # --- the wallet's own rules ---

    async def use_mailbox(self, party: Party, on: bool = True) -> None:
        """Lets one stream bring the news of all connections at that home server, or not any more. The server then
        knows which of them share a wallet; the businesses do not."""
        home = party.link.home
        kid = self._core.kept.get("mailboxes", home, str)
        if kid is None:
            signer, entry = self._core.fresh_key()
            kid = signer.kid
            await self._core.kept.keep_first(entry, ("mailboxes", home, kid))
        await party.mailbox(did_of_kid(kid) if on else None)

    # --- news ---

    async def sync(self, wait: float = 0) -> list[News]:
        """Sends again what was not answered, reads what is new for every key of this wallet, and looks after its logs
        and receipts; with `wait` (s), waits for the first news.

        Raises Contradiction, Refused, Unreachable: the first of them, once all the others have been read. What was new
        is then told by the next call, or by `untold`.
        """
        faults, gate = Faults(), asyncio.Semaphore(_AT_ONCE)
        for cid in list(self._core.kept.file.table("unsent")):
            with faults.told_later():
                await self.known(cid).writing.settle()

        async def read(inbox: Inbox) -> None:
            async with gate:
                try:
                    news = await inbox.pull(wait)
                    self._core.untold.extend(news)
                except Refused as refused:
                    # A key that the server does not know (any more) has no news.
                    if refused.code not in ("not_found", "unknown_key", "key_replaced"):
                        raise

        for fault in await asyncio.gather(*map(read, self._readers()), return_exceptions=True):
            if fault is not None:
                raise fault
        await bring_all_back((party.writing for party in self.connections()), faults)
        async with self._core.judging():
            owing = [self.known(cid).writing for cid in receipts.owing(self._core)]
            await receipts.look_after(self._core, owing, {it.home for it in self._readers()})
        faults.tell()
        return self.untold()

    def untold(self) -> list[News]:
        """News that was read before something was raised, so that nobody was told of it: told with this, once."""
        return sorted(self._core.tell(), key=lambda it: it.at)

    async def listen(self) -> AsyncGenerator[News, None]:
        """News as it comes, for every key of this wallet, until the caller leaves the loop."""
        async with aclosing(merged(self._readers())) as news:
            async for it in news:
                yield it

    async def accept_home_key(self, home: str, kid: str) -> None:
        """Goes on with the key `kid` of a home server that said its key was broken (HOME-5); `home` is its URL or DID.
        Raises ComityError, Refused("too_few_witnesses"), Unreachable, Contradiction."""
        async with self._core.judging():
            await self._core.homes.accept(home_did(home), kid)

    def contradictions(self) -> list[Evidence]:
        """What servers said against signatures, ever, with the texts: to be shown to whoever should know."""
        return list(self._core.kept.all("evidence", Evidence).values())

    @property
    def receipts_owed(self) -> int:
        """How many own acts were accepted and have no receipt yet."""
        return len(self._core.kept.file.table("owed"))

    async def pull(self, party: View, wait: float, look: bool = True) -> list[News]:
        """Reads what is new for the key of one connection, and looks at its log; without `look`, for an act that is
        being written, the inbox to which somebody may be listening."""
        async with self._core.judging():
            if look:
                await self._core.homes.look(party.link.home)
            await self._taking.hand_in_again(party)
        mailbox = None if look else self._taking.mailbox_of(party)
        inbox = self._inbox_of(party) if mailbox is None else self._inbox(party.link.home, mailbox)
        return await inbox.pull(wait, look)

    async def read_again(self, party: View) -> None:
        """Lets the next reading of a connection's inbox begin at the beginning."""
        await self._inbox_of(party).read_again()

    async def news(self, party: View) -> AsyncGenerator[News, None]:
        """What comes for the key of one connection, as it comes."""
        async with aclosing(self._inbox_of(party).follow()) as stream:
            async for it in stream:
                if it.cid == party.cid:
                    yield it

    def _inbox_of(self, party: View) -> Inbox:
        if self._core.me.kid is not None:
            return self._inbox(party.link.home, self._core.me.kid)
        return self._inbox(party.link.home, party.link.kid, lambda: party.writing.signer)

    def _readers(self) -> list[Inbox]:
        """The inboxes that bring everything: a business's own, a person's mailboxes, and each key by itself."""
        kept = self._core.kept
        homes = {link.home for link in kept.all("links", Link).values()} | self._taking.offer_homes()
        if self._core.me.kid is not None:
            return [self._inbox(home, self._core.me.kid) for home in sorted(homes)]
        found = [self._inbox_of(party) for party in self.connections() if self._taking.needs_reading(party)]
        found += [self._inbox(home, kid) for home, kid in self._taking.open_offers()]
        found += [self._inbox(home, kid) for home, kid in kept.all("mailboxes", str).items()]
        return list(dict.fromkeys(found))

    def _inbox(self, home: str, name: str, signer: Callable[[], Signer] | None = None) -> Inbox:
        key = (home, name)
        if key not in self._inboxes:
            mine = signer or (lambda: self._core.signer(name))
            it = self._taking
            self._inboxes[key] = Inbox(self._core, home, name, mine, it.take, it.records, it.bring_back)
        return self._inboxes[key]

    # --- everything ---

    async def fetch_receipts(self) -> int:
        """Fetches the receipts that an export would lack: of the other sides' acts, and of deliveries (WHO-10). Returns
        of how many acts and deliveries there is none (yet, or any more). Raises Contradiction, Unreachable: the first,
        once every connection was looked at."""
        missing, faults = 0, Faults()
        for party in self.connections():
            if party.phase in ("open", "ended"):
                with faults.told_later():
                    async with self._core.judging():
                        missing += await receipts.complete(party.writing)
        faults.tell()
        return missing

    def export(self) -> dict[str, Any]:
        """Everything that this wallet can prove and show, as JSON values, bodies in clear. No private keys. Receipts
        are in it as far as they were fetched."""
        return exported(self.connections(), self._core)
