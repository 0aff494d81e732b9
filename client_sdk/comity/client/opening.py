"""Opening a wallet: its file, its transport, and its owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.server_api import Clock, Randomness
from comity.client.http.transport import Send, Transport
from comity.client.session import Session, key_entry
from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.records import Entry, Owner, Records
from comity.crypto.keys import Signer, SigningKey, did_of_host, split_origin
from comity.documents.hours import ZoneRules
from comity.documents.timezones import InstalledZones
from comity.errors import Malformed
from comity.transparency.checkpoints import Policy


class Closable(Protocol):
    """A wallet that can be closed."""

    async def close(self) -> None:
        """Closes the file and the network."""
        ...


W = TypeVar("W", bound=Closable)


class WalletOpening(Generic[W]):
    """The result of `Wallet.open` and `Wallet.create`: await it, or use it with `async with`, which closes the
    wallet."""

    def __init__(self, make: Callable[[], Awaitable[W]]) -> None:
        self._make = make
        self._wallet: W | None = None

    def __await__(self) -> Generator[Any, None, W]:
        return self._make().__await__()

    async def __aenter__(self) -> W:
        self._wallet = await self._make()
        return self._wallet

    async def __aexit__(self, *_: object) -> None:
        if self._wallet is not None:
            await self._wallet.close()


def home_did(url: str) -> str:
    """The DID of the home server at `https://host`; a did:web is returned unchanged. Raises Malformed."""
    if url.startswith("did:web:"):
        return url
    origin, rest = split_origin(url)
    if rest.strip("/"):
        raise Malformed("a home server is https://host")
    return did_of_host(origin.partition("://")[2])


def make_session(
    file: WalletFile,
    send: Send | Transport | None,
    clock: Clock | None,
    randomness: Randomness | None,
    zones: ZoneRules | None,
    witnesses: Policy | None,
) -> Session:
    """The session over a wallet's file and a transport (default: aiohttp)."""
    if send is None:
        transport = over_aiohttp()
    else:
        transport = send if isinstance(send, Transport) else Transport(send)
    return Session(Records(file), transport, zones or InstalledZones(), clock, randomness, witnesses)


def make_owner(
    session: Session, business: str | None, key: SigningKey | None, kid: str | None, name: str | None
) -> tuple[Owner, Sequence[Entry]]:
    """The owner of a new wallet, and the entries that store its key."""
    if business is None:
        return Owner(name=name), ()
    made = key or SigningKey(session.randomness(32))
    signer = Signer(kid or f"{business}#{made.public.multibase}", made)
    return Owner(business, signer.kid, name), (key_entry(signer),)
