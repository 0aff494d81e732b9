"""How a wallet comes to be: its file, its way to the world, whose it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.server_api import Clock, Randomness
from comity.client.http.transport import Send, Transport
from comity.client.session import Core, key_entry
from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.records import Entry, Kept, Me
from comity.crypto.keys import Signer, SigningKey, did_of_host, split_origin
from comity.documents.hours import ZoneRules
from comity.documents.timezones import InstalledZones
from comity.errors import Malformed
from comity.transparency.checkpoints import Policy


class Closable(Protocol):
    """What can be let go."""

    async def close(self) -> None:
        """Lets go."""
        ...


W = TypeVar("W", bound=Closable)


class Opening(Generic[W]):
    """What `Wallet.open` and `Wallet.create` return: to be awaited, or used with `async with`, which closes it."""

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
    """The name of the home server at `https://host` (or a did:web as it is). Raises Malformed."""
    if url.startswith("did:web:"):
        return url
    origin, rest = split_origin(url)
    if rest.strip("/"):
        raise Malformed("a home server is https://host")
    return did_of_host(origin.partition("://")[2])


def core_of(
    file: WalletFile,
    send: Send | Transport | None,
    clock: Clock | None,
    randomness: Randomness | None,
    zones: ZoneRules | None,
    witnesses: Policy | None,
) -> Core:
    """What a wallet stands on: its file and its way to the world."""
    if send is None:
        transport = over_aiohttp()
    else:
        transport = send if isinstance(send, Transport) else Transport(send)
    return Core(Kept(file), transport, zones or InstalledZones(), clock, randomness, witnesses)


def identity_of(
    core: Core, business: str | None, key: SigningKey | None, kid: str | None, name: str | None
) -> tuple[Me, Sequence[Entry]]:
    """Whose a new wallet is, and the key to keep for it."""
    if business is None:
        return Me(name=name), ()
    made = key or SigningKey(core.randomness(32))
    signer = Signer(kid or f"{business}#{made.public.multibase}", made)
    return Me(business, signer.kid, name), (key_entry(signer),)
