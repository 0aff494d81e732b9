"""A wallet's own rules: whose offers it refuses, and what it grants unless it is told otherwise. Nothing here is signed
or sent."""

from __future__ import annotations

from comity.client.connecting import grant_defaults
from comity.client.core import Core
from comity.client.defaults import FIRST_DEFAULTS, Default, checked_default
from comity.errors import Malformed
from comity.words import AGREEMENT_PURPOSES


class OwnRules:
    """The part of a wallet that keeps its rules."""

    _core: Core

    async def block(self, did: str, reason: str = "") -> None:
        """Refuses further offers and proposals of this party. Nothing is signed or sent."""
        await self._core.kept.keep(("blocked", did, {"at": self._core.clock(), "reason": reason}))

    async def unblock(self, did: str) -> None:
        """Lets this party's offers in again."""
        await self._core.kept.keep(("blocked", did, None))

    def blocked(self) -> list[str]:
        """The parties that this wallet refuses."""
        return list(self._core.kept.file.table("blocked"))

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
            await self._core.kept.keep(("defaults", purpose, None))
        else:
            await self._core.kept.keep(("defaults", purpose, [checked_default(default)]))
