"""The keys under which businesses sign offers and notices, as the document of their did:web publishes them."""

from __future__ import annotations

from comity.client.session import Session
from comity.crypto.jws import decode_header
from comity.crypto.keys import PublicKey, did_of_kid, did_web_base, key_of_kid

_MOST_HEADER = 1400
"""Characters of an encoded header that are read."""


async def published_key(session: Session, kid: str, home: str) -> PublicKey | None:
    """The key of that id: a did:key's own, or the one that its did:web publishes, where `home` serves its document.

    Others are not looked up: the server must not have let them in (KEY-7), and a stranger's offer must not choose where
    this wallet, from inside somebody's network, sends requests. Raises Unreachable, Contradiction.
    """
    if (key := key_of_kid(kid)) is not None:
        return key
    return await session.resolver.find_key(kid) if did_web_base(did_of_kid(kid)) == did_web_base(home) else None


async def signing_key(session: Session, raw: str, home: str) -> PublicKey | None:
    """The published key that the header of a signed text names. Raises as `published_key`, and Refused for a text
    without such a header."""
    return await published_key(session, decode_header(raw.partition(".")[0][:_MOST_HEADER]).kid, home)
