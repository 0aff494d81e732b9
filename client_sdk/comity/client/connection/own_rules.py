"""A wallet's own rules: whose offers it refuses, and what it grants unless it is told otherwise. Nothing here is signed
or sent."""

from __future__ import annotations

from typing import NamedTuple

from comity.client.connection.connection import Party
from comity.client.connection.default_grants import FIRST_DEFAULTS, Default, checked_default
from comity.client.connection.onboarding import grant_defaults
from comity.client.session import Core, host_folded
from comity.crypto.keys import is_did, is_pairwise
from comity.documents.types import AGREEMENT_PURPOSES
from comity.errors import Malformed


class Block(NamedTuple):
    """A party whose offers are refused since `at` (ms)."""

    did: str
    at: int
    reason: str = ""


class OwnRules:
    """The part of a wallet that keeps its rules."""

    _core: Core

    async def block(self, who: Party | str, reason: str = "") -> None:
        """Refuses further offers and proposals of a party, by its DID or a connection with it. Nothing is signed or
        sent, and connections with it go on. Raises Malformed for what is no did:web: a person has another key in every
        connection, so nothing would be refused (WHO-6)."""
        did = _did_of(who)
        if not is_did(did):
            raise Malformed("that is no DID: name a connection, or a did:web")
        if is_pairwise(did):
            raise Malformed("a person has another key in every connection: a block would refuse nothing")
        await self._core.kept.keep_first(("blocked", did, {"at": self._core.clock(), "reason": reason}))

    async def unblock(self, who: Party | str) -> bool:
        """Lets this party's offers in again. Returns whether they were refused."""
        was_blocked = self._core.is_blocked(did := _did_of(who))
        await self._core.kept.keep_first(("blocked", did, None))
        return was_blocked

    def blocks(self) -> list[Block]:
        """The parties that this wallet refuses, since when (ms) and why."""
        return [Block(did, **record) for did, record in self._core.kept.all("blocked", dict).items()]

    def defaults(self) -> dict[str, Default]:
        """What this wallet suggests to grant to an offer, by class of purposes; None for nothing."""
        return grant_defaults(self._core)

    async def set_default(self, purpose: str, default: Default) -> None:
        """Changes what is suggested for one class of purposes (`care`, `sales`, `favour`, or another root word).
        Raises Malformed, too for a class that rests on the agreement: nobody grants it (GATE-5)."""
        if "." in purpose or not purpose:
            raise Malformed("a default is for a whole class of purposes: its first word")
        if purpose in AGREEMENT_PURPOSES:
            raise Malformed(f"{purpose} needs no grant: it rests on the agreement")
        if default is None and purpose not in FIRST_DEFAULTS:
            await self._core.kept.keep_first(("defaults", purpose, None))
        else:
            await self._core.kept.keep_first(("defaults", purpose, [checked_default(default)]))


def _did_of(who: Party | str) -> str:
    return host_folded(who if isinstance(who, str) else who.did)
