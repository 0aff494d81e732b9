"""One connection as this wallet stores it: its record, its history, and the keys that count in it."""

from __future__ import annotations

from comity.client.connection.history import Ledger
from comity.client.session import Core, NotOpen
from comity.client.storage.records import Entry, Link
from comity.crypto.keys import Signer
from comity.documents.agreements import open_agreement, open_half
from comity.documents.offers import HomeParty


class StoredConnection:
    """What receipts, recovery and the send queue of one connection share."""

    def __init__(self, core: Core, link: Link) -> None:
        self.core = core
        self.link = link
        self.ledger: Ledger | None = None
        self._rotated_to: str | None = None

    @property
    def book(self) -> Ledger:
        """The ledger of an open connection. Raises NotOpen."""
        if self.ledger is None:
            raise NotOpen("the other side has not signed yet" if not self.link.closed else self.link.closed)
        return self.ledger

    @property
    def pinned_home(self) -> HomeParty:
        """The home server and its key, as the agreement pins it (HOME-1)."""
        if self.ledger is not None:
            return self.ledger.agreement.agreement.home
        raw = self.link.agreement.encode()
        return (open_agreement(raw) if self.link.whole else open_half(raw)).agreement.home

    async def expect(self, event: str, *, writes: bool = False) -> None:
        """Before an event is read: whether its key is the one that is expected, or the home server states a new one.
        Raises Unreachable, Contradiction, HomeKeyBroken."""
        await self.core.homes.expect(self.pinned_home, event, writes=writes)

    @property
    def signer(self) -> Signer:
        """The key that this side has now; from the acceptance of a `rotate` on the new one, also while what came before
        it is still to be read."""
        kid = self.link.kid if self.ledger is None else self.ledger.state.door(self.link.side).kid
        return self.core.signer(self._rotated_to or kid)

    def left_out(self) -> list[Entry]:
        """How it is kept that lines count no more."""
        gone, self.book.left_out = self.book.left_out, []
        return [(f"log/{self.link.cid}", f"{at:015d}", None) for at in gone]
