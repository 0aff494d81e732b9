"""The operator's interface to a running server: a Unix socket in the data folder, mode 0600.

A user who can open it can also read the store's file, so it asks for no further proof.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import ClientError, web

from comity.errors import Refused
from comity_server.businesses.master_key import CannotUnseal
from comity_server.errors import NotPossible
from comity_server.operator.commands import DUTIES, Duty
from comity_server.services import Server
from comity_server.short_path import short
from comity_server.unix_socket import request, serve_unix

Q = TypeVar("Q")
A = TypeVar("A")

SOCKET = "admin.sock"


@asynccontextmanager
async def serve_operator(server: Server) -> AsyncIterator[None]:
    """Answer the operator for as long as the context lasts."""
    app = web.Application()
    for duty in DUTIES:
        app.router.add_post(f"/{duty.name}", partial(_answer, server, duty))
    async with serve_unix(server.config.data, SOCKET, app):
        yield


async def _answer(server: Server, duty: Duty[Any, Any], request: web.Request) -> web.Response:
    try:
        answer = await duty.do(server, msgspec.json.decode(await request.read(), type=duty.takes))
    except (NotPossible, Refused, CannotUnseal, msgspec.DecodeError) as fault:
        return web.Response(status=409, text=str(fault))
    return web.Response(body=msgspec.json.encode(answer))


async def is_there(data: Path) -> bool:
    """Whether a server runs in the folder, and answers."""
    try:
        with short(data) as folder:
            _, writer = await asyncio.open_unix_connection(f"{folder}/{SOCKET}")
    except OSError:
        # No folder, no socket in it, or one left behind by a server that was killed.
        return False
    writer.close()
    return True


async def ask(data: Path, duty: Duty[Q, A], question: Q) -> A:
    """The running server's answer. Raises NotPossible."""
    try:
        found = await request(data, SOCKET, "POST", f"/{duty.name}", msgspec.json.encode(question))
    except ClientError:
        found = None
    if found is None:
        raise NotPossible("the server stopped before it answered: check what was done, and run the command again")
    status, answer = found
    if status != 200:
        raise NotPossible(answer.decode("utf-8", "replace"))
    answered: A = msgspec.json.decode(answer, type=duty.gives)
    return answered
