"""Whose key is it: did:web documents, fetched once, pinned, and held against what they say later.

A business's keys are entered in its home server's log, for those who audit it. Here that is not looked at: the first
answer is believed and every later one must agree with it. A key that changes under a name that was seen before is a
`Contradiction`. Keys of the other side of a connection are not looked up here at all once it is open: the agreement and
its rotations name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comity.client.http.transport import Request, Transport, send_again
from comity.client.storage.records import Kept, Pins
from comity.crypto.keys import PublicKey, did_document, did_of_kid, did_web_base, did_web_url, keys_of_document
from comity.documents.offers import HomeParty
from comity.encoding import parse_object
from comity.errors import Contradiction, Refused, Unreachable

_DOCUMENTS = frozenset({"application/json", "application/did+json", "application/did+ld+json"})


class Resolver:
    """The keys of did:web parties and servers, over the wallet's own transport and pins."""

    def __init__(self, transport: Transport, kept: Kept) -> None:
        self._transport = transport
        self._kept = kept
        self._checked: set[str] = set()
        self._hosts: set[str] = set()

    def knows_home(self, home: str) -> None:
        """Documents that a home server serves have exactly one form: more can be checked about them."""
        self._hosts.add(did_web_base(home))

    async def key(self, kid: str) -> PublicKey | None:
        """The key of that name, or None where its party does not publish it. Raises Unreachable, Contradiction."""
        did = did_of_kid(kid)
        keys = (await self.pins(did)).keys
        if kid not in keys:
            # A wallet may be open for months, and its parties take new keys meanwhile.
            keys = (await self.pins(did, again=True)).keys
        return PublicKey.of_multibase(keys[kid]) if kid in keys else None

    async def home_party(self, home: str) -> HomeParty:
        """A home server and the key that it publishes now, for an offer or agreement to pin (HOME-1). Raises
        Unreachable, Contradiction."""
        self.knows_home(home)
        document, text = await self._document(home)
        try:
            ((kid, key),) = keys_of_document(home, document).items()
            party = HomeParty(did=home, kid=kid, key=key.multibase)
        except (Refused, ValueError):
            raise Contradiction(f"the document of {home} does not name one key", (text,)) from None
        if document != did_document(home, {kid: key}):
            raise Contradiction(f"the document of {home} is not the one that its key makes", (text,))
        return party

    async def pins(self, did: str, *, again: bool = False) -> Pins:
        """What is pinned for a did:web, after a first or another look at its document."""
        known = self._kept.get("pins", did, Pins)
        if known is not None and not again:
            return known
        document, text = await self._document(did)
        try:
            keys = {kid: key.multibase for kid, key in keys_of_document(did, document).items()}
        except Refused as fault:
            raise Contradiction(f"the document of {did} is not one: {fault.detail}", (text,)) from fault
        exact = did_document(did, {kid: PublicKey.of_multibase(text_) for kid, text_ in keys.items()})
        if did_web_base(did) in self._hosts and document != exact:
            raise Contradiction(f"the document of {did} is not the one that its keys make", (text,))
        if not keys:
            raise Contradiction(f"the document of {did} names no key", (text,))
        found = _joined(did, known, Pins(keys), text)
        self._checked.add(did)
        if found != known:
            await self._kept.keep(("pins", did, found))
        return found

    async def _document(self, did: str) -> tuple[Mapping[str, Any], str]:
        url = did_web_url(did)
        response = await send_again(self._transport, lambda: Request("GET", url, {"accept": "application/json"}))
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        if response.status != 200 or kind not in _DOCUMENTS:
            raise Unreachable(f"{url} answers {response.status} {kind}")
        text = response.body.decode("utf-8", "replace")
        try:
            return parse_object(response.body), text
        except Refused as fault:
            raise Contradiction(f"the document of {did} is not one: {fault.detail}", (text,)) from fault


def _joined(did: str, known: Pins | None, found: Pins, text: str) -> Pins:
    """Old names keep their keys; new names are taken up, since a business may rotate."""
    if known is None:
        return found
    if any(found.keys.get(kid, key) != key for kid, key in known.keys.items()):
        raise Contradiction(f"a key of {did} has changed under its name", (str(known.keys), text))
    return Pins({**known.keys, **found.keys})
