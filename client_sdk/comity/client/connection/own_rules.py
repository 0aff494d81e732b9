"""A wallet's own rules: blocked parties and default grants. Nothing here is signed or sent."""

from __future__ import annotations

from typing import NamedTuple

from comity.client.connection.connection import Connection
from comity.client.connection.default_grants import FIRST_DEFAULTS, Default, check_default
from comity.client.connection.onboarding import grant_defaults
from comity.client.session import Session, fold_host
from comity.crypto.keys import is_did, is_pairwise
from comity.documents.types import AGREEMENT_PURPOSES
from comity.errors import Malformed


class BlockedParty(NamedTuple):
    """A party whose offers this wallet refuses since `at` (ms)."""

    did: str
    at: int
    reason: str = ""


class OwnRules:
    """The part of a wallet with its own rules."""

    _session: Session

    async def block(self, who: Connection | str, reason: str = "") -> None:
        """Refuses further offers and proposals of a party, named by its DID or by a connection with it. Nothing is
        signed or sent, and existing connections go on. Raises Malformed unless it is a did:web: a person has a
        different key in every connection, so nothing would be refused (WHO-6)."""
        did = _did_of(who)
        if not is_did(did):
            raise Malformed("that is not a DID: name a connection, or a did:web")
        if is_pairwise(did):
            raise Malformed("a person has another key in every connection: a block would refuse nothing")
        await self._session.records.store_durably(("blocked", did, {"at": self._session.clock(), "reason": reason}))

    async def unblock(self, who: Connection | str) -> bool:
        """Accepts this party's offers again. Returns whether it was blocked."""
        was_blocked = self._session.is_blocked(did := _did_of(who))
        await self._session.records.store_durably(("blocked", did, None))
        return was_blocked

    def blocks(self) -> list[BlockedParty]:
        """The blocked parties, with time (ms) and reason."""
        return [BlockedParty(did, **record) for did, record in self._session.records.all("blocked", dict).items()]

    def defaults(self) -> dict[str, Default]:
        """The grants that this wallet suggests for an offer, by class of purposes; None for no grant."""
        return grant_defaults(self._session)

    async def set_default(self, purpose: str, default: Default) -> None:
        """Sets the suggested grant for one class of purposes (`care`, `sales`, `favour`, or another root word). Raises
        Malformed, also for a class that rests on the agreement and is never granted (GATE-5)."""
        if "." in purpose or not purpose:
            raise Malformed("a default is for a whole class of purposes: its first word")
        if purpose in AGREEMENT_PURPOSES:
            raise Malformed(f"{purpose} needs no grant: it rests on the agreement")
        if default is None and purpose not in FIRST_DEFAULTS:
            await self._session.records.store_durably(("defaults", purpose, None))
        else:
            await self._session.records.store_durably(("defaults", purpose, [check_default(default)]))


def _did_of(who: Connection | str) -> str:
    return fold_host(who if isinstance(who, str) else who.did)
