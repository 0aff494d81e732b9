"""One connection as this wallet stores it: its record, its history, and the keys that count in it."""

from __future__ import annotations

from comity.client.connection.history import History
from comity.client.session import NotOpen, Session
from comity.client.storage.records import ConnectionInfo, Entry
from comity.crypto.keys import Signer
from comity.documents.agreements import open_agreement, open_half
from comity.documents.offers import HomeParty


class StoredConnection:
    """One connection with its stored record, history and keys; the base of receipts, recovery and the send queue."""

    def __init__(self, session: Session, info: ConnectionInfo) -> None:
        self.session = session
        self.info = info
        self.history_or_none: History | None = None
        self._rotated_to: str | None = None

    @property
    def history(self) -> History:
        """The history of an open connection. Raises NotOpen."""
        if self.history_or_none is None:
            raise NotOpen("the other side has not signed yet" if not self.info.closed else self.info.closed)
        return self.history_or_none

    @property
    def pinned_home(self) -> HomeParty:
        """The home server and its key, as the agreement pins it (HOME-1)."""
        if self.history_or_none is not None:
            return self.history_or_none.agreement.agreement.home
        raw = self.info.agreement.encode()
        return (open_agreement(raw) if self.info.whole else open_half(raw)).agreement.home

    async def check_event_key(self, event: str, *, writes: bool = False) -> None:
        """Checks before an event is read that the home server's key is the expected one, or fetches the server's
        statement of a new one. Raises Unreachable, Contradiction, ServerKeyBroken."""
        await self.session.known_servers.check_event_key(self.pinned_home, event, writes=writes)

    @property
    def signer(self) -> Signer:
        """This side's current key; the new one from the acceptance of a `rotate` on, even while earlier records are
        still to be read."""
        kid = self.info.kid if self.history_or_none is None else self.history_or_none.state.door(self.info.side).kid
        return self.session.signer(self._rotated_to or kid)

    def removed_entries(self) -> list[Entry]:
        """The entries that delete the records which were removed from the history."""
        gone, self.history.removed = self.history.removed, []
        return [(f"log/{self.info.cid}", f"{at:015d}", None) for at in gone]
