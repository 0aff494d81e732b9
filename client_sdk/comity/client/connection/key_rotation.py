"""Rotation of a business's key: the wallet makes and stores the next key, the host publishes it, then every connection
takes it.

In this order, because a server refuses a rotation to a key that the did:web does not publish yet, and because a
business that signed with an unpublished key would be unknown to every new party.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from comity.client.connection.connection import Connection
from comity.client.session import Session, key_entry
from comity.crypto.keys import Signer, SigningKey
from comity.errors import ComityError


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """The rotation of one wallet's key."""

    session: Session

    def _business(self) -> str:
        if self.session.owner.business is None:
            raise ComityError("this is a person's wallet: it has another key in every connection")
        return self.session.owner.business

    async def make_next_key(self) -> str:
        """Returns the next key as did:key; makes and stores it where there is none yet. Raises ComityError for a
        person's wallet."""
        did = self._business()
        kid = self.session.records.get("next", "kid", str)
        if kid is None:
            key = SigningKey(self.session.randomness(32))
            signer = Signer(f"{did}#{key.public.multibase}", key)
            kid = signer.kid
            await self.session.records.store_durably(key_entry(signer), ("next", "kid", kid))
        return self.session.signer(kid).key.public.did

    async def rotate(self, connections: Iterable[Connection]) -> int:
        """Puts the next key in force for new offers and in each open connection. Returns the number of connections
        rotated.

        Safe to call again after a failure in the middle. Raises ComityError where there is no next key, or where the
        document does not publish it.
        """
        did = self._business()
        kid = self.session.records.get("next", "kid", str) or self.session.owner.kid
        assert kid is not None
        if kid not in (await self.session.resolver.pinned_keys(did, again=True)).keys:
            raise ComityError(f"the document of {did} does not publish the next key yet")
        if kid != self.session.owner.kid:
            me = msgspec.structs.replace(self.session.owner, kid=kid)
            await self.session.records.store_durably(("me", "me", me), ("next", "kid", None))
            self.session.owner = me
        turned = 0
        for connection in connections:
            if connection.phase == "open" and connection.state.door(connection.side).kid != kid:
                await connection.rotate_key(kid)
                turned += 1
        return turned
