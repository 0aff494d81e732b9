"""The operator's way in while the server runs: a Unix socket in the data folder, mode 0600.

Whoever may open it may read the store's file anyway, so it asks for no further proof.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiohttp import ClientSession, UnixConnector, web

from comity_server.businesses import Business, NotPossible
from comity_server.server import Server

SOCKET = "admin.sock"


class KeyToPublish(msgspec.Struct):
    """What the command line sends."""

    name: str
    did_key: str


class Told(msgspec.Struct):
    """What the command line is told of a business."""

    name: str
    did: str
    kids: list[str]


def told(business: Business) -> Told:
    """A business in words that can be sent."""
    return Told(business.name, business.did, list(business.keys))


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[None]:
    """Answer the operator for as long as the context lasts."""
    app = web.Application()

    async def post_business(request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=KeyToPublish)
            added = await server.add_business_key(wanted.name, wanted.did_key)
        except (NotPossible, msgspec.DecodeError) as fault:
            return web.Response(status=409, text=str(fault))
        return web.Response(body=msgspec.json.encode(told(added)))

    async def get_businesses(_request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode([told(business) for business in server.directory.names()]))

    app.router.add_post("/businesses", post_business)
    app.router.add_get("/businesses", get_businesses)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    with _folder(server.config.data) as folder:
        path = f"{folder}/{SOCKET}"
        _remove(path)
        before = os.umask(0o177)
        try:
            await web.UnixSite(runner, path).start()
        finally:
            os.umask(before)
        try:
            yield
        finally:
            await runner.cleanup()
            _remove(path)


async def ask(data: Path, method: str, body: bytes | None = None) -> bytes | None:
    """The running server's answer, None where none runs. Raises NotPossible."""
    with _folder(data) as folder:
        path = f"{folder}/{SOCKET}"
        try:
            async with (
                ClientSession(connector=UnixConnector(path)) as session,
                session.request(method, "http://admin/businesses", data=body) as response,
            ):
                answer = await response.read()
        except OSError:
            # None there, or left behind by a server that was killed.
            return None
    if response.status != 200:
        raise NotPossible(answer.decode("utf-8", "replace"))
    return answer


class _folder:
    """The data folder under a short name: a socket's path is at most about a hundred bytes long."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> str:
        self._fd = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        short = f"/proc/self/fd/{self._fd}"
        return short if os.path.isdir(short) else str(self._data)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
