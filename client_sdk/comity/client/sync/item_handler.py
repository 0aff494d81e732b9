"""Handles the items of a wallet's inboxes; each is checked before it counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import msgspec

from comity import http_api
from comity.client.connection import onboarding
from comity.client.connection.connection import Connection
from comity.client.connection.history import History
from comity.client.connection.proposals import OfferPreview, Proposal, SendCountersignature, SendDecline
from comity.client.connection.receipts import check_tag_keys
from comity.client.connection.send_queue import restore_all
from comity.client.connection.view import ConnectionView
from comity.client.models import News
from comity.client.session import Blocked, Faults, Session
from comity.client.storage.records import ConnectionInfo, Entry, OwnOffer, ReceivedProposal, StoredRecord
from comity.client.sync.inbox import handle_record, read_agreement
from comity.crypto.keys import Signer, did_of_kid
from comity.documents.agreements import COUNTERSIGN_WITHIN, SignedAgreement, open_agreement, open_half
from comity.documents.events import Accepted, Opened, open_event
from comity.documents.offers import Terms
from comity.documents.types import Side
from comity.encoding import dump_json
from comity.errors import Contradiction, Refused

RESTORED = "restored"
"""The reason for which a half is void that was pending when its server was restored (REC-11)."""

Handled = tuple[list[News], list[Entry]]


class Connections(Protocol):
    """The connections of a wallet."""

    def connections(self) -> list[Connection]:
        """Every one, oldest first."""
        ...

    def load_connection(self, cid: str) -> Connection:
        """The one of that id. Raises KeyError."""
        ...


class ItemHandler:
    """Checks items and updates the wallet's connections."""

    def __init__(self, session: Session, wallet: Connections) -> None:
        self._session = session
        self._wallet = wallet
        session.known_servers.on_change = self._check_home_keys

    def _check_home_keys(self, home: str) -> None:
        """Checks the open connections against the keys that a home server states now. Raises Contradiction."""
        for connection in self._wallet.connections():
            if connection.info.home == home and connection.queue.history_or_none is not None:
                connection.queue.history_or_none.check_home_keys()

    async def handle_item(self, item: http_api.Item, reader: Signer) -> Handled:
        """Handles one item that `reader` read. Returns its news, and the entries to store with the cursor. Raises
        Contradiction."""
        if item.kind == "proposal":
            return await self._handle_proposal(item)
        if item.kind == "offer":
            return await self._handle_offer(item)
        if item.kind == "declined":
            return self._handle_decline(item)
        if item.kind in ("act", "event") and await self._is_foreign(item, reader):
            return [], []
        connection = await self._connection_of(item)
        if item.event is not None:
            await connection.queue.check_event_key(item.event)
        if item.kind == "opened":
            return await self._handle_opening(connection, item)
        if item.cid != connection.cid:
            raise Contradiction("an item of another connection", (item.model_dump_json(),))
        return await handle_record(connection, item)

    async def read_records(self, home: str) -> AsyncGenerator[list[http_api.Item], None]:
        """Yields the records of this wallet's connections at that home server, a page at a time, as the items that once
        brought them ("An old copy" in spec/http.md). Raises Contradiction, Refused, Unreachable."""
        at_home = self._session.server(home)
        for connection in self._wallet.connections():
            if connection.info.home != home or connection.phase == "closed":
                continue
            signer = connection.queue.signer
            try:
                answer, _ = await at_home.get_connection(connection.cid, signer)
            except Refused as refused:
                if refused.code != "not_found":
                    raise
                # It never opened, or another copy of this wallet rotated the key since.
                continue
            cursor = None
            while (page := await at_home.get_records(connection.cid, signer, cursor)).items:
                cursor = page.cursor
                for record in page.items:
                    await connection.queue.check_event_key(record.event)
                yield [self._item_of(connection.cid, record, answer, cursor) for record in page.items]

    async def restore_server(self, home: str) -> None:
        """Submits the records that a restored home server lacks; the next `sync` repeats what fails now."""
        queues = [connection.queue for connection in self._wallet.connections() if connection.info.home == home]
        await restore_all(queues, Faults())

    def _item_of(
        self, cid: str, record: http_api.RecordBody, of: http_api.ConnectionAnswer, cursor: str
    ) -> http_api.Item:
        """The item that brought a record, or, for an own act, would have."""
        try:
            event = open_event(record.event, self._session.known_servers.find_key).event
        except Refused as fault:
            raise Contradiction(f"not a statement of the home server: {fault}", (record.event,)) from None
        item = http_api.Item(cursor=cursor, kind="event", cid=cid, event=record.event, act=record.act)
        if isinstance(event, Opened):
            return item.model_copy(update={"kind": "opened", "agreement": of.agreement, "tags": of.tags})
        is_whole = isinstance(event, Accepted) and event.includes_act
        return item.model_copy(update={"kind": "act"}) if is_whole else item

    async def _is_foreign(self, item: http_api.Item, reader: Signer) -> bool:
        """Whether the item is about a connection of another copy of this wallet, which connected since and sends its
        news to the same mailbox (ACT-15). Such an item is skipped."""
        if item.cid in self._session.records.file.table("links") or item.event is None:
            return False
        try:
            event = open_event(item.event, self._session.known_servers.find_key).event
        except Refused:
            return False
        if item.cid is None or not event.is_about(item.cid):
            return False
        # A connection of this wallet that an inbox left out is shown when it is asked for by id.
        try:
            await self._session.server(event.iss).get_connection(item.cid, reader)
        except Refused as refused:
            return refused.code == "not_found"
        return False

    async def _connection_of(self, item: http_api.Item) -> Connection:
        try:
            return self._wallet.load_connection(item.cid or "")
        except KeyError:
            pass
        info = self._info_of(item) if item.kind == "opened" else None
        if info is None or info.cid != item.cid:
            raise Contradiction("news of a connection that this wallet does not have", (item.model_dump_json(),))
        # Made by another copy of this wallet.
        await self._session.known_servers.refresh(info.home)
        await self._session.records.store(("links", info.cid, info))
        return self._wallet.load_connection(info.cid)

    def _info_of(self, item: http_api.Item) -> ConnectionInfo | None:
        try:
            signed = open_agreement(dump_json(item.agreement or {}))
        except Refused:
            return None
        agreed, keys = signed.agreement, self._session.records.file.table("keys")
        side, mine, theirs = "first", agreed.offerer, agreed.accepter
        if mine.kid not in keys:
            side, mine, theirs = "second", theirs, mine
        if mine.kid not in keys:
            return None
        at = self._session.clock()
        raw = signed.raw.decode()
        return ConnectionInfo(signed.cid, side, agreed.home.did, mine.kid, theirs.did, at, raw, True)  # type: ignore[arg-type]

    # --- connecting ---

    async def _handle_proposal(self, item: http_api.Item) -> Handled:
        if item.agreement is None or item.act or item.event or item.offer or item.reason or item.tags:
            raise Contradiction("a proposal without its agreement", (item.model_dump_json(),))
        found = await onboarding.check_proposal(self._session, dump_json(item.agreement), item.cid)
        if found is None or found[1] in self._session.records.file.table("links"):
            return [], []
        proposed, cid = found
        return [News(cid, "proposal", proposed.at, "them")], [("proposals", cid, proposed)]

    async def _handle_offer(self, item: http_api.Item) -> Handled:
        if item.offer is None or item.act or item.event or item.agreement or item.reason or item.cid or item.tags:
            raise Contradiction("an offer without its text", (item.model_dump_json(),))
        business = self._session.owner.business
        # A business reads this inbox at the server of its document, which also serves the document of the offerer.
        signed = None if business is None else await onboarding.read_offer(self._session, item.offer, business)
        if signed is None or signed.offer.to != business:
            raise Contradiction("an offer to somebody else", (item.offer,))
        return [News(None, "offer", self._session.clock(), "them")], [("received", signed.hash, item.offer)]

    def _handle_decline(self, item: http_api.Item) -> Handled:
        if item.agreement or item.act or item.event or item.offer or item.cid is None or item.tags:
            raise Contradiction("a decline with unexpected members", (item.model_dump_json(),))
        records = self._session.records
        if item.cid in records.file.table("proposals"):
            return [News(item.cid, "declined", self._session.clock(), "them")], [
                ("proposals", item.cid, None),
                ("petnames", item.cid, None),
            ]
        if item.cid not in records.file.table("links"):
            # The proposal may be in the same page, and be stored together with this entry.
            return [], [("proposals", item.cid, None)]
        connection = self._wallet.load_connection(item.cid)
        if connection.phase in ("open", "ended"):
            if item.reason == RESTORED:
                # It opened after the backup was made, and is submitted again (REC-10).
                return [], []
            raise Contradiction("a connection that both signed is declined", (item.model_dump_json(),))
        reason = f"declined: {item.reason}" if item.reason else "declined"
        return [News(item.cid, "declined", self._session.clock(), "them")], [self.close_connection(connection, reason)]

    async def _handle_opening(self, connection: ConnectionView, item: http_api.Item) -> Handled:
        agreement = read_agreement(item, connection.info)
        assert item.event is not None and item.tags is not None
        was_open = connection.queue.history_or_none is not None
        await check_tag_keys(self._session, connection.cid, item.tags, item.model_dump_json())
        entries = self.open_connection(connection, item.event, agreement)
        news = [] if was_open else [News(connection.cid, "opened", connection.state.at, "them")]
        return news, entries

    def open_connection(
        self, connection: ConnectionView, event: str, agreement: SignedAgreement | None = None
    ) -> list[Entry]:
        """Opens the connection: starts its history, or compares the event with the one that started it. Returns the
        entries to store."""
        if connection.queue.history_or_none is not None:
            history = connection.queue.history_or_none
            history.enter(history.read(event))
            return []
        whole = agreement or open_agreement(connection.info.agreement.encode())
        info = msgspec.structs.replace(
            connection.info, agreement=whole.raw.decode(), whole=True, opened=event, closed=None
        )
        connection.queue.history_or_none = self._make_history(whole, info.side, event)
        connection.queue.info = info
        return [("links", info.cid, info)]

    def close_connection(self, connection: ConnectionView, why: str) -> Entry:
        """Closes a connection that was never opened. Returns the entry to store."""
        connection.queue.info = msgspec.structs.replace(connection.info, closed=why)
        return "links", connection.cid, connection.info

    async def resubmit(self, connection: ConnectionView) -> None:
        """Submits a half or agreement that was signed and never answered again, with the same bytes."""
        info, records = connection.info, self._session.records
        if connection.phase != "proposed":
            return
        if info.whole:
            event = await onboarding.submit_agreement(self._session, info)
            await connection.queue.check_event_key(event)
            await records.store(*self.open_connection(connection, event), ("proposals", connection.cid, None))
        elif not info.handed:
            try:
                connection.queue.info = await onboarding.submit_half(self._session, info)
            except Refused as refused:
                await records.store(self.close_connection(connection, f"refused: {refused.code}"))

    def find_unconfirmed_half(
        self, connections: list[Connection], shown: OfferPreview, terms: Terms
    ) -> Connection | None:
        """The connection among these whose half on this very offer was signed, and whose submission was not confirmed;
        or None."""
        for connection in connections:
            info = connection.info
            if info.side == "second" and not info.whole and not info.handed and info.offer == shown.signed.raw:
                return connection if open_half(info.agreement.encode()).agreement.terms == terms else None
        return None

    async def resubmit_half(self, connection: Connection, grants: list[dict[str, Any]]) -> Connection:
        """Submits a half again, with the same bytes, because its submission was not confirmed. Raises Blocked,
        Refused."""
        if self._session.is_blocked(connection.did):
            raise Blocked(f"{connection.did} is blocked in this wallet")
        await self._session.records.store_durably(("wishes", connection.cid, grants or None))
        try:
            connection.queue.info = await onboarding.submit_half(self._session, connection.info)
        except Refused as refused:
            await self._session.records.store(self.close_connection(connection, f"refused: {refused.code}"))
            raise
        return connection

    def load_history(self, connection: ConnectionView) -> None:
        """Loads the history of a connection that was open when the wallet was closed."""
        info = connection.info
        if info.opened is None:
            return
        history = self._make_history(open_agreement(info.agreement.encode()), info.side, info.opened)
        log = self._session.records.all(f"log/{info.cid}", StoredRecord)
        history.load((entered.event, entered.act) for _, entered in sorted(log.items()))
        connection.queue.history_or_none = history
        self._session.logs.mark_used(info.home, (history.records or [history.opened])[-1].event.log)

    def _make_history(self, whole: SignedAgreement, side: Side, opened: str) -> History:
        """The history of a connection, which accepts the keys of the home server that follow from the pinned one."""
        pinned, homes = whole.agreement.home, self._session.known_servers
        return History(whole, side, lambda: homes.keys_for(pinned), opened, self._session.zones)

    # --- proposals and inboxes ---

    def open_proposal(self, proposed: ReceivedProposal, sign: SendCountersignature, refuse: SendDecline) -> Proposal:
        """The proposal for the owner to answer."""
        offered = self._session.records.get("offers", proposed.offer, OwnOffer)
        assert offered is not None
        half, signed = open_half(proposed.half.encode()), onboarding.open_own_offer(self._session, offered)
        return Proposal(
            half, signed, proposed.at, sign, refuse, self._session.set_petname, self._session.petname(half.cid)
        )

    def can_be_countersigned(self, proposed: ReceivedProposal) -> bool:
        """Whether a proposal can still be countersigned, and its party is not blocked."""
        agreed = open_half(proposed.half.encode()).agreement
        return agreed.countersign_by > self._session.seconds() and not self._session.is_blocked(agreed.accepter.did)

    def offer_signer(self, proposal: Proposal) -> Signer:
        """The key that signed the offer of a proposal."""
        return self._session.signer(proposal.signed.kid)

    def _offers(self) -> list[OwnOffer]:
        return list(self._session.records.all("offers", OwnOffer).values())

    def offer_homes(self) -> set[str]:
        """The home servers at which this wallet has published offers."""
        return {onboarding.open_own_offer(self._session, offer).offer.home.did for offer in self._offers()}

    def open_offers(self) -> list[tuple[str, str]]:
        """(home, kid) of the own offers that can still be accepted."""
        taken = {info.kid for info in self._session.records.all("links", ConnectionInfo).values()}
        found = [onboarding.open_own_offer(self._session, offer) for offer in self._offers() if offer.kid not in taken]
        # A half signed in time can be countersigned for a week longer.
        good_until = self._session.seconds() - COUNTERSIGN_WITHIN
        return [(it.offer.home.did, it.kid) for it in found if it.offer.exp > good_until]

    def needs_reading(self, connection: ConnectionView) -> bool:
        """Whether a connection's own inbox must be read: not where a mailbox receives its news."""
        if connection.phase == "closed":
            return False
        if connection.phase == "proposed":
            # Twice the time in which the other half may arrive: clocks differ, and a wallet may read late.
            return connection.info.proposed_at > self._session.clock() - 2 * COUNTERSIGN_WITHIN * 1000
        mailbox = connection.state.door(connection.side).settings.mailbox
        # A restored server may not know the mailbox.
        recovered = self._session.records.get("recovered", connection.cid, int) or 0
        return mailbox is None or self._session.logs.restored_at(connection.info.home) > recovered

    def mailbox_of(self, connection: ConnectionView) -> str | None:
        """The `kid` of this wallet's mailbox that receives the connection's news too; None without one."""
        kid, history = (
            self._session.records.get("mailboxes", connection.info.home, str),
            connection.queue.history_or_none,
        )
        mailbox = None if history is None else history.state.door(connection.side).settings.mailbox
        return kid if kid is not None and did_of_kid(kid) == mailbox else None
