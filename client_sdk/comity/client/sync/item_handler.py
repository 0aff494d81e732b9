"""What a wallet makes of the items of its inboxes; each is checked before it counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import msgspec

from comity import http_api
from comity.client.connection import onboarding
from comity.client.connection.connection import Party
from comity.client.connection.history import Ledger
from comity.client.connection.proposals import Proposal, Refuse, ShownOffer, Sign
from comity.client.connection.receipts import take_tags
from comity.client.connection.send_queue import bring_all_back
from comity.client.connection.view import View
from comity.client.models import News
from comity.client.session import Blocked, Core, Faults
from comity.client.storage.records import Entered, Entry, Link, Offered, Proposed
from comity.client.sync.inbox import read_agreement, take_line
from comity.crypto.keys import Signer, did_of_kid
from comity.documents.agreements import COUNTERSIGN_WITHIN, SignedAgreement, open_agreement, open_half
from comity.documents.events import Accepted, Opened, open_event
from comity.documents.offers import Terms
from comity.documents.types import Side
from comity.encoding import dump_json
from comity.errors import Contradiction, Refused

RESTORED = "restored"
"""Why a half is void that waited when its server was restored (REC-11)."""

Taken = tuple[list[News], list[Entry]]


class Connections(Protocol):
    """The connections of a wallet."""

    def connections(self) -> list[Party]:
        """Every one, oldest first."""
        ...

    def known(self, cid: str) -> Party:
        """The one of that id. Raises KeyError."""
        ...


class ItemHandler:
    """The checks and the bookkeeping between an inbox and a wallet's connections."""

    def __init__(self, core: Core, wallet: Connections) -> None:
        self._core = core
        self._wallet = wallet
        core.homes.on_change = self._check_home_keys

    def _check_home_keys(self, home: str) -> None:
        """What the wallet has open is held against the keys that a home server states now. Raises Contradiction."""
        for party in self._wallet.connections():
            if party.link.home == home and party.writing.ledger is not None:
                party.writing.ledger.check_home_keys()

    async def take(self, item: http_api.Item, reader: Signer) -> Taken:
        """One item that `reader` read: what is new for people, and what is to be kept with the cursor. Raises
        Contradiction."""
        if item.kind == "proposal":
            return await self._proposal(item)
        if item.kind == "offer":
            return await self._offer(item)
        if item.kind == "declined":
            return self._declined(item)
        if item.kind in ("act", "event") and await self._is_of_others(item, reader):
            return [], []
        party = await self._party(item)
        if item.event is not None:
            await party.writing.expect(item.event)
        if item.kind == "opened":
            return await self._opened(party, item)
        if item.cid != party.cid:
            raise Contradiction("an item of another connection", (item.model_dump_json(),))
        return await take_line(party, item)

    async def records(self, home: str) -> AsyncGenerator[list[http_api.Item], None]:
        """What that home server keeps of each connection of this wallet, a page at a time, as the items that once
        brought it ("An old copy" in spec/http.md). Raises Contradiction, Refused, Unreachable."""
        at_home = self._core.home(home)
        for party in self._wallet.connections():
            if party.link.home != home or party.phase == "closed":
                continue
            signer = party.writing.signer
            try:
                answer, _ = await at_home.connection(party.cid, signer)
            except Refused as refused:
                if refused.code != "not_found":
                    raise
                # It never opened, or another copy of this wallet took another key since.
                continue
            cursor = None
            while (page := await at_home.records_of(party.cid, signer, cursor)).items:
                cursor = page.cursor
                for record in page.items:
                    await party.writing.expect(record.event)
                yield [self._item(party.cid, record, answer, cursor) for record in page.items]

    async def bring_back(self, home: str) -> None:
        """Hands in what that home server lacks since it was restored; what fails now is done by the next `sync`."""
        queues = [party.writing for party in self._wallet.connections() if party.link.home == home]
        await bring_all_back(queues, Faults())

    def _item(self, cid: str, record: http_api.RecordBody, of: http_api.ConnectionAnswer, cursor: str) -> http_api.Item:
        """The item that a record came as, or, of an own act, would have."""
        try:
            event = open_event(record.event, self._core.homes.find_key).event
        except Refused as fault:
            raise Contradiction(f"not a statement of the home server: {fault}", (record.event,)) from None
        item = http_api.Item(cursor=cursor, kind="event", cid=cid, event=record.event, act=record.act)
        if isinstance(event, Opened):
            return item.model_copy(update={"kind": "opened", "agreement": of.agreement, "tags": of.tags})
        is_whole = isinstance(event, Accepted) and event.includes_act
        return item.model_copy(update={"kind": "act"}) if is_whole else item

    async def _is_of_others(self, item: http_api.Item, reader: Signer) -> bool:
        """Whether a home server states this about a connection of which the reader is no side: another copy of this
        wallet has connected since, and brings its news to the same mailbox (ACT-15). This one reads on."""
        if item.cid in self._core.kept.file.table("links") or item.event is None:
            return False
        try:
            event = open_event(item.event, self._core.homes.find_key).event
        except Refused:
            return False
        if item.cid is None or not event.is_about(item.cid):
            return False
        # One that was hidden from this wallet is shown to its sides when they ask for it by name.
        try:
            await self._core.home(event.iss).connection(item.cid, reader)
        except Refused as refused:
            return refused.code == "not_found"
        return False

    async def _party(self, item: http_api.Item) -> Party:
        try:
            return self._wallet.known(item.cid or "")
        except KeyError:
            pass
        link = self._restored(item) if item.kind == "opened" else None
        if link is None or link.cid != item.cid:
            raise Contradiction("news of a connection that this wallet does not have", (item.model_dump_json(),))
        # Made by another copy of this wallet.
        await self._core.homes.look(link.home)
        await self._core.kept.keep(("links", link.cid, link))
        return self._wallet.known(link.cid)

    def _restored(self, item: http_api.Item) -> Link | None:
        try:
            signed = open_agreement(dump_json(item.agreement or {}))
        except Refused:
            return None
        agreed, keys = signed.agreement, self._core.kept.file.table("keys")
        side, mine, theirs = "first", agreed.offerer, agreed.accepter
        if mine.kid not in keys:
            side, mine, theirs = "second", theirs, mine
        if mine.kid not in keys:
            return None
        at = self._core.clock()
        raw = signed.raw.decode()
        return Link(signed.cid, side, agreed.home.did, mine.kid, theirs.did, at, raw, True)  # type: ignore[arg-type]

    # --- connecting ---

    async def _proposal(self, item: http_api.Item) -> Taken:
        if item.agreement is None or item.act or item.event or item.offer or item.reason or item.tags:
            raise Contradiction("a proposal without its agreement", (item.model_dump_json(),))
        found = await onboarding.check_proposal(self._core, dump_json(item.agreement), item.cid)
        if found is None or found[1] in self._core.kept.file.table("links"):
            return [], []
        proposed, cid = found
        return [News(cid, "proposal", proposed.at, "them")], [("proposals", cid, proposed)]

    async def _offer(self, item: http_api.Item) -> Taken:
        if item.offer is None or item.act or item.event or item.agreement or item.reason or item.cid or item.tags:
            raise Contradiction("an offer without its text", (item.model_dump_json(),))
        business = self._core.me.business
        # A business reads this where its document is served, and so is that of a business which offers it something.
        signed = None if business is None else await onboarding.read_offer(self._core, item.offer, business)
        if signed is None or signed.offer.to != business:
            raise Contradiction("an offer to somebody else", (item.offer,))
        return [News(None, "offer", self._core.clock(), "them")], [("received", signed.hash, item.offer)]

    def _declined(self, item: http_api.Item) -> Taken:
        if item.agreement or item.act or item.event or item.offer or item.cid is None or item.tags:
            raise Contradiction("a decline with something else in it", (item.model_dump_json(),))
        kept = self._core.kept
        if item.cid in kept.file.table("proposals"):
            return [News(item.cid, "declined", self._core.clock(), "them")], [
                ("proposals", item.cid, None),
                ("petnames", item.cid, None),
            ]
        if item.cid not in kept.file.table("links"):
            # It may have come just before, and be kept with this.
            return [], [("proposals", item.cid, None)]
        party = self._wallet.known(item.cid)
        if party.phase in ("open", "ended"):
            if item.reason == RESTORED:
                # It opened after the copy was made that was put back, and is handed in (REC-10).
                return [], []
            raise Contradiction("a connection that both signed is declined", (item.model_dump_json(),))
        reason = f"declined: {item.reason}" if item.reason else "declined"
        return [News(item.cid, "declined", self._core.clock(), "them")], [self.closed(party, reason)]

    async def _opened(self, party: View, item: http_api.Item) -> Taken:
        agreement = read_agreement(item, party.link)
        assert item.event is not None and item.tags is not None
        was_open = party.writing.ledger is not None
        await take_tags(self._core, party.cid, item.tags, item.model_dump_json())
        entries = self.opened(party, item.event, agreement)
        news = [] if was_open else [News(party.cid, "opened", party.state.at, "them")]
        return news, entries

    def opened(self, party: View, event: str, agreement: SignedAgreement | None = None) -> list[Entry]:
        """The connection is open: begins its ledger, or holds the event against the one that began it."""
        if party.writing.ledger is not None:
            book = party.writing.ledger
            book.enter(book.read(event))
            return []
        whole = agreement or open_agreement(party.link.agreement.encode())
        link = msgspec.structs.replace(party.link, agreement=whole.raw.decode(), whole=True, opened=event, closed=None)
        party.writing.ledger = self._ledger(whole, link.side, event)
        party.writing.link = link
        return [("links", link.cid, link)]

    def closed(self, party: View, why: str) -> Entry:
        """The connection did not come about."""
        party.writing.link = msgspec.structs.replace(party.link, closed=why)
        return "links", party.cid, party.link

    async def hand_in_again(self, party: View) -> None:
        """What was signed and never answered for: the same bytes once more."""
        link, kept = party.link, self._core.kept
        if party.phase != "proposed":
            return
        if link.whole:
            event = await onboarding.hand_in(self._core, link)
            await party.writing.expect(event)
            await kept.keep(*self.opened(party, event), ("proposals", party.cid, None))
        elif not link.handed:
            try:
                party.writing.link = await onboarding.hand_in_half(self._core, link)
            except Refused as refused:
                await kept.keep(self.closed(party, f"refused: {refused.code}"))

    def begun(self, parties: list[Party], shown: ShownOffer, terms: Terms) -> Party | None:
        """Of these connections, the one whose half on this very offer was signed, and of which nobody knows whether it
        arrived."""
        for party in parties:
            link = party.link
            if link.side == "second" and not link.whole and not link.handed and link.offer == shown.signed.raw:
                return party if open_half(link.agreement.encode()).agreement.terms == terms else None
        return None

    async def go_on(self, party: Party, wishes: list[dict[str, Any]]) -> Party:
        """Hands in a half once more, the same bytes: nobody knows whether it arrived. Raises Blocked, Refused."""
        if self._core.is_blocked(party.did):
            raise Blocked(f"{party.did} is blocked in this wallet")
        await self._core.kept.keep_first(("wishes", party.cid, wishes or None))
        try:
            party.writing.link = await onboarding.hand_in_half(self._core, party.link)
        except Refused as refused:
            await self._core.kept.keep(self.closed(party, f"refused: {refused.code}"))
            raise
        return party

    def load(self, party: View) -> None:
        """Takes up the ledger of a connection that was open when the wallet was closed."""
        link = party.link
        if link.opened is None:
            return
        book = self._ledger(open_agreement(link.agreement.encode()), link.side, link.opened)
        log = self._core.kept.all(f"log/{link.cid}", Entered)
        book.load((entered.event, entered.act) for _, entered in sorted(log.items()))
        party.writing.ledger = book
        self._core.logs.uses(link.home, (book.lines or [book.opened])[-1].event.log)

    def _ledger(self, whole: SignedAgreement, side: Side, opened: str) -> Ledger:
        """The ledger of a connection, which takes the keys of the home server that follow from the pinned one."""
        pinned, homes = whole.agreement.home, self._core.homes
        return Ledger(whole, side, lambda: homes.reader(pinned), opened, self._core.zones)

    # --- what to read ---

    def proposal(self, kept: Proposed, sign: Sign, refuse: Refuse) -> Proposal:
        """The proposal as it is shown."""
        offered = self._core.kept.get("offers", kept.offer, Offered)
        assert offered is not None
        half, signed = open_half(kept.half.encode()), onboarding.own_offer(self._core, offered)
        return Proposal(half, signed, kept.at, sign, refuse, self._core.call, self._core.petname(half.cid))

    def is_good(self, kept: Proposed) -> bool:
        """Whether a proposal can still be countersigned, and comes from nobody blocked."""
        agreed = open_half(kept.half.encode()).agreement
        return agreed.countersign_by > self._core.seconds() and not self._core.is_blocked(agreed.accepter.did)

    def offer_signer(self, proposal: Proposal) -> Signer:
        """The key that signed the offer that a proposal is on."""
        return self._core.signer(proposal.signed.kid)

    def _offers(self) -> list[Offered]:
        return list(self._core.kept.all("offers", Offered).values())

    def offer_homes(self) -> set[str]:
        """Where this wallet has published offers, or its business may be offered something."""
        return {onboarding.own_offer(self._core, it).offer.home.did for it in self._offers()}

    def open_offers(self) -> list[tuple[str, str]]:
        """(home, kid) of the own offers that somebody may still accept."""
        taken = {link.kid for link in self._core.kept.all("links", Link).values()}
        found = [onboarding.own_offer(self._core, it) for it in self._offers() if it.kid not in taken]
        # A half that was signed in time may be countersigned for a week longer.
        good_until = self._core.seconds() - COUNTERSIGN_WITHIN
        return [(it.offer.home.did, it.kid) for it in found if it.offer.exp > good_until]

    def needs_reading(self, party: View) -> bool:
        """Whether a connection's own key must be asked for news: not where a mailbox brings it."""
        if party.phase == "closed":
            return False
        if party.phase == "proposed":
            # Twice the time in which the other half may come: clocks differ, and a wallet may be late to look.
            return party.link.proposed_at > self._core.clock() - 2 * COUNTERSIGN_WITHIN * 1000
        mailbox = party.state.door(party.side).settings.mailbox
        # A server that was restored may not know of the mailbox any more.
        recovered = self._core.kept.get("recovered", party.cid, int) or 0
        return mailbox is None or self._core.logs.restored_at(party.link.home) > recovered

    def mailbox_of(self, party: View) -> str | None:
        """The `kid` of this wallet's mailbox that brings the connection's news too; None where there is none."""
        kid, ledger = self._core.kept.get("mailboxes", party.link.home, str), party.writing.ledger
        mailbox = None if ledger is None else ledger.state.door(party.side).settings.mailbox
        return kid if kid is not None and did_of_kid(kid) == mailbox else None
