"""A real server in this process, on a real port, with a clock that a test can move; and wallets that talk to it.

The wire can be bent: `Bent` is a transport whose answers a test may alter, delay or lose.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from comity.client import (
    Connection,
    Request,
    Response,
    StreamResponse,
    Transport,
    Wallet,
    make_terms,
    new_identity,
    over_aiohttp,
)
from comity.errors import Unreachable
from comity.transparency.checkpoints import Policy
from support.world import World

IDENTITY = new_identity()
PATIENCE = 0.3
"""Seconds for which a wallet of a test tries again: one more time at least, however slow the machine is."""
TERMS = make_terms("example:house-terms", "1", "en", "We write to you for what you allowed and for nothing else.")
ELSE = make_terms("example:other-terms", "1", "en", "We write at most twice a month.")


class Bent:
    """A transport that a test can disturb: `cut` refuses requests, `lose` drops answers, `after` alters them."""

    def __init__(self) -> None:
        self._real = over_aiohttp()
        self.seen: list[tuple[Request, Response]] = []
        self.after: Callable[[Request, Response], Response] | None = None
        self.lose: Callable[[Request], bool] | None = None
        self.cut: Callable[[Request], bool] | None = None
        self.patience = PATIENCE

    async def send(self, request: Request) -> Response:
        """One request."""
        if self.cut is not None and self.cut(request):
            raise Unreachable("cut by the test, before it was sent")
        response = await self._real.send(request)
        if self.lose is not None and self.lose(request):
            raise Unreachable("lost by the test, after it was answered")
        self.seen.append((request, response))
        return response if self.after is None else self.after(request, response)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        assert self._real.stream is not None
        async with self._real.stream(request) as streaming:
            yield streaming

    @property
    def transport(self) -> Transport:
        """The transport for a wallet."""
        return Transport(self.send, self._stream, self._real.close, patience=self.patience)


class SdkWorld:
    """One server, its clock, and people with wallets. `host` is the server's side of it."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.host = World(folder, {"log_level": "error", "stop_timeout": 0.5})
        self.wires: dict[str, Bent] = {}
        self._stack = stack

    @property
    def base(self) -> str:
        """The server's origin."""
        return self.host.origin

    def pass_time(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        """Moves everybody's clock forward."""
        self.host.later(int((days * 86_400 + hours * 3600 + seconds) * 1000))

    async def person(self, name: str, patience: float = PATIENCE) -> Wallet:
        """A person with a new wallet."""
        return await self._made(name, patience, name=name.title())

    async def business(self, name: str) -> Wallet:
        """A business with a new wallet, whose key the host publishes."""
        signer = await self.host.business(name)
        return await self._made(name, name=f"{name.title()} Ltd", business=signer.did, key=signer.key)

    async def _made(self, file: str, patience: float = PATIENCE, /, **about: Any) -> Wallet:
        wire = self.wires[file] = Bent()
        wire.patience = patience
        made = Wallet.create(self.folder / file, identity=IDENTITY, send=wire.transport, clock=self.host.now, **about)
        return await self._stack.enter_async_context(made)

    async def again(self, wallet: Wallet, name: str) -> Wallet:
        """Closes a wallet and opens its file again."""
        await wallet.close()
        return await self.reopened(name)

    async def reopened(self, name: str, patience: float = PATIENCE, witnesses: Policy | None = None) -> Wallet:
        """Opens a wallet's file."""
        wire = self.wires[name] = Bent()
        wire.patience = patience
        opened = Wallet.open(
            self.folder / name, identity=IDENTITY, send=wire.transport, clock=self.host.now, witnesses=witnesses
        )
        return await self._stack.enter_async_context(opened)

    async def connect(self, business: Wallet, person: Wallet, *purposes: str) -> tuple[Connection, Connection]:
        """(the business's view, the person's view) of a new connection in which the person granted `purposes`."""
        link = await business.offer(self.base, [TERMS, ELSE], ["care", "sales"])
        theirs = await person.accept(link, again=True)
        (proposal,) = [it for it in await business.proposals() if it.cid == theirs.cid]
        ours = await proposal.countersign()
        await theirs.wait_until_open(timeout=20)
        if purposes:
            await theirs.grant(purposes)
            await ours.sync()
        return ours, theirs


@asynccontextmanager
async def sdk_world(folder: Path) -> AsyncIterator[SdkWorld]:
    """A world with a running server and nobody in it."""
    async with AsyncExitStack() as stack:
        world = SdkWorld(folder, stack)
        await world.host.start()
        try:
            yield world
        finally:
            await stack.aclose()
            await world.host.close()
