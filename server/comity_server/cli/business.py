"""`comity business`: through the running server where there is one, else in its folder."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from comity_server import admin, logs
from comity_server.admin import KeyToPublish, Told
from comity_server.businesses import NotPossible
from comity_server.cli.serve import configured, why
from comity_server.config import Config
from comity_server.home import FolderInUse, locked
from comity_server.server import CANNOT_OPEN, Server, opened

R = TypeVar("R")

_data = click.option("--data", type=click.Path(path_type=Path), help="Folder of the store and the key.")
_port = click.option("--port", type=click.IntRange(1, 65535), help="The server's port, where it names no base URL.")


@click.group()
def business() -> None:
    """The businesses whose did:web this host serves."""


@business.command()
@click.argument("name")
@click.option("--did-key", required=True, help="The public key as did:key:z6Mk…; the private one stays with you.")
@_data
@_port
def create(name: str, did_key: str, **given: object) -> None:
    """Publish the key of a business, its first or a further one, and print its DID and the key's name."""
    config = _config(given)
    told = asyncio.run(_create(config, name, did_key))
    click.echo(f"{told.did}\n{told.kids[0]}")


@business.command(name="list")
@_data
@_port
def list_(**given: object) -> None:
    """List the businesses and their keys."""
    for told in asyncio.run(_list(_config(given))):
        click.echo(f"{told.name}\t{told.did}")
        for kid in told.kids:
            click.echo(f"\t{kid}")


def _config(given: dict[str, object]) -> Config:
    config = configured(given)
    logs.configure(config.log_format, "error")
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return config


async def _create(config: Config, name: str, did_key: str) -> Told:
    async def here(server: Server) -> Told:
        return admin.told(await server.add_business_key(name, did_key))

    try:
        body = msgspec.json.encode(KeyToPublish(name, did_key))
        answer = await admin.ask(config.data, "POST", body)
        return await _here(config, here) if answer is None else msgspec.json.decode(answer, type=Told)
    except NotPossible as fault:
        raise click.ClickException(str(fault)) from None


async def _list(config: Config) -> list[Told]:
    async def here(server: Server) -> list[Told]:
        return [admin.told(business) for business in server.directory.names()]

    answer = await admin.ask(config.data, "GET")
    return await _here(config, here) if answer is None else msgspec.json.decode(answer, type=list[Told])


async def _here(config: Config, work: Callable[[Server], Awaitable[R]]) -> R:
    """Do it in the folder, which no server may be using."""
    try:
        with locked(config.data):
            async with opened(config, config.port) as server:
                return await work(server)
    except (FolderInUse, *CANNOT_OPEN) as fault:
        raise click.ClickException(why(fault)) from None
    except OSError as fault:
        raise click.ClickException(f"cannot use {config.data}: {fault.strerror or fault}") from None
