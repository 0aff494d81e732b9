"""Resolves did:web documents: fetched once, pinned, and compared with later answers.

A business's keys are entered in its home server's log, for auditors; this module does not read the log. It believes the
first answer, and every later one must agree with it. A key that changes under a known id is a `Contradiction`. The keys
of the other side of an open connection are not looked up at all: the agreement and its rotations name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comity.client.http.transport import Request, Transport, send_with_retries
from comity.client.storage.records import PinnedKeys, Records
from comity.crypto.keys import PublicKey, did_document, did_of_kid, did_web_base, did_web_url, keys_of_document
from comity.documents.offers import HomeParty
from comity.encoding import parse_object
from comity.errors import Contradiction, Refused, Unreachable

_DOCUMENTS = frozenset({"application/json", "application/did+json", "application/did+ld+json"})


class Resolver:
    """The keys of did:web parties and servers, over the wallet's transport and pins."""

    def __init__(self, transport: Transport, records: Records) -> None:
        self._transport = transport
        self._records = records
        self._checked: set[str] = set()
        self._hosts: set[str] = set()

    def add_server(self, home: str) -> None:
        """Marks a host as a home server: the documents that it serves have exactly one form, so more can be checked."""
        self._hosts.add(did_web_base(home))

    async def find_key(self, kid: str) -> PublicKey | None:
        """The key of that id, or None where its party does not publish it. Raises Unreachable, Contradiction."""
        did = did_of_kid(kid)
        keys = (await self.pinned_keys(did)).keys
        if kid not in keys:
            # A wallet may be open for months, and parties rotate their keys meanwhile.
            keys = (await self.pinned_keys(did, again=True)).keys
        return PublicKey.of_multibase(keys[kid]) if kid in keys else None

    async def home_party(self, home: str) -> HomeParty:
        """A home server and the key that it publishes now, for an offer or agreement to pin (HOME-1). Raises
        Unreachable, Contradiction."""
        self.add_server(home)
        document, text = await self._document(home)
        try:
            ((kid, key),) = keys_of_document(home, document).items()
            party = HomeParty(did=home, kid=kid, key=key.multibase)
        except (Refused, ValueError):
            raise Contradiction(f"the document of {home} does not name one key", (text,)) from None
        if document != did_document(home, {kid: key}):
            raise Contradiction(f"the document of {home} is not the one that its key makes", (text,))
        return party

    async def pinned_keys(self, did: str, *, again: bool = False) -> PinnedKeys:
        """The pinned keys of a did:web, after a first or (`again`) another fetch of its document. Raises Unreachable,
        Contradiction."""
        known = self._records.get("pins", did, PinnedKeys)
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
        found = _merge_pins(did, known, PinnedKeys(keys), text)
        self._checked.add(did)
        if found != known:
            await self._records.store(("pins", did, found))
        return found

    async def _document(self, did: str) -> tuple[Mapping[str, Any], str]:
        url = did_web_url(did)
        response = await send_with_retries(self._transport, lambda: Request("GET", url, {"accept": "application/json"}))
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        if response.status != 200 or kind not in _DOCUMENTS:
            raise Unreachable(f"{url} answers {response.status} {kind}")
        text = response.body.decode("utf-8", "replace")
        try:
            return parse_object(response.body), text
        except Refused as fault:
            raise Contradiction(f"the document of {did} is not one: {fault.detail}", (text,)) from fault


def _merge_pins(did: str, known: PinnedKeys | None, found: PinnedKeys, text: str) -> PinnedKeys:
    """Known ids keep their keys; new ids are added, since a business may rotate. Raises Contradiction."""
    if known is None:
        return found
    if any(found.keys.get(kid, key) != key for kid, key in known.keys.items()):
        raise Contradiction(f"a key of {did} has changed under its name", (str(known.keys), text))
    return PinnedKeys({**known.keys, **found.keys})
