"""A business's next key: made and kept here, published by its host, and then taken in every connection.

In this order, because a server refuses a rotation to a key that the did:web does not publish yet, and because a
business that signed with a key which nobody can look up would be unknown to everybody new.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from comity.client.connection.connection import Party
from comity.client.session import Core, key_entry
from comity.crypto.keys import Signer, SigningKey
from comity.errors import ComityError


@dataclass(frozen=True, slots=True)
class NextKey:
    """The turn of one wallet's key."""

    core: Core

    def _business(self) -> str:
        if self.core.me.business is None:
            raise ComityError("this is a person's wallet: it has another key in every connection")
        return self.core.me.business

    async def make(self) -> str:
        """The next key as did:key, made where there is none yet: for whoever publishes the document."""
        did = self._business()
        kid = self.core.kept.get("next", "kid", str)
        if kid is None:
            key = SigningKey(self.core.randomness(32))
            signer = Signer(f"{did}#{key.public.multibase}", key)
            kid = signer.kid
            await self.core.kept.keep_first(key_entry(signer), ("next", "kid", kid))
        return self.core.signer(kid).key.public.did

    async def turn(self, parties: Iterable[Party]) -> int:
        """Take the next key for offers from now on and in each open connection; how many those were.

        Safe to call again after a failure in the middle. Raises ComityError where there is none, or where the
        document does not publish it.
        """
        did = self._business()
        kid = self.core.kept.get("next", "kid", str) or self.core.me.kid
        assert kid is not None
        if kid not in (await self.core.resolver.pins(did, again=True)).keys:
            raise ComityError(f"the document of {did} does not publish the next key yet")
        if kid != self.core.me.kid:
            me = msgspec.structs.replace(self.core.me, kid=kid)
            await self.core.kept.keep_first(("me", "me", me), ("next", "kid", None))
            self.core.me = me
        turned = 0
        for party in parties:
            if party.phase == "open" and party.state.door(party.side).kid != kid:
                await party.rotate(kid)
                turned += 1
        return turned
