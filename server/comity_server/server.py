"""One server, put together: every part with what it needs, opened and closed in order."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from comity.encoding import b64u_decode, b64u_encode
from comity.zones import InstalledZones
from comity_server.accept import Accept
from comity_server.answer import Answers
from comity_server.businesses import Business, Directory
from comity_server.clock import Clock, StoryClock, clock_of
from comity_server.config import Config, home_did
from comity_server.connecting import Connecting
from comity_server.deliver.bell import Bell
from comity_server.deliver.inbox import Cursors, Inbox
from comity_server.group import Grounds
from comity_server.home import STORE, AnotherHome, Home, home_signer
from comity_server.logs import logger
from comity_server.metrics import Metrics
from comity_server.opening import Crypto
from comity_server.readers import Readers
from comity_server.releases import Releases
from comity_server.status_lists import StatusLists
from comity_server.store.rows import Batch
from comity_server.store.sqlite import SqliteStore


@dataclass(slots=True)
class Server:
    """The parts of a running server."""

    config: Config
    clock: Clock
    home: Home
    store: SqliteStore
    directory: Directory
    lists: StatusLists
    metrics: Metrics
    bell: Bell
    accept: Accept
    connecting: Connecting
    releases: Releases
    answers: Answers
    inbox: Inbox
    readers: Readers
    ready: bool = False
    batches: int = 0
    """Batches of acts in hand."""

    async def add_business_key(self, name: str, did_key: str) -> Business:
        """Publish a key of a hosted business. Raises NotPossible."""
        added = await self.accept.command(
            lambda group: self.connecting.add_business_key(name, did_key, group),
        )
        for kid, key in added.keys.items():
            self.directory.add(added.name, added.did, kid, key)
        return added


@asynccontextmanager
async def opened(config: Config, port: int) -> AsyncIterator[Server]:
    """The server of a data folder whose lock the caller holds, listening (or to listen) on `port`.

    On the way out the group in hand is finished and the store closed. Raises AnotherHome, SchemaTooNew.
    """
    clock = clock_of(config.clock_offset_file)
    if isinstance(clock, StoryClock):
        logger().warning("THE CLOCK IS NOT THE WALL CLOCK: times in what this server signs are a story's")
    started = clock.now() // 1000
    origin = config.origin(port)
    did = home_did(origin)
    home = Home(did, origin, config.operator, home_signer(config.data, did))
    is_new = not (config.data / STORE).exists()
    store = await SqliteStore.open(config.data / STORE)
    try:
        server = await _assemble(config, clock, home, store, -1 if is_new else started)
        server.accept.start()
        server.releases.start()
        try:
            yield server
        finally:
            server.ready = False
            server.bell.close()
            await server.releases.stop()
            await server.accept.stop()
    finally:
        await store.close()


async def _assemble(config: Config, clock: Clock, home: Home, store: SqliteStore, started: int) -> Server:
    cursor_key = await _remembered(store, home)
    directory = Directory(home)
    directory.load(await store.business_keys())
    lists = StatusLists(home, clock)
    for number in range(1, await store.last_list() + 1):
        lists.load(number, await store.entries(number))
    metrics, bell = Metrics(), Bell(config.max_waiters)
    accept = Accept(
        store,
        Grounds(home, directory, lists, InstalledZones()),
        clock,
        Crypto(directory.find_key, home.signer),
        bell,
        metrics,
        most_waiting=config.max_queue,
        most_states=config.cached_connections,
    )
    connecting = Connecting(
        store,
        most_offers=config.max_offers,
        most_proposals=config.max_proposals,
        most_reserved=config.max_reserved,
    )
    return Server(
        config=config,
        clock=clock,
        home=home,
        store=store,
        directory=directory,
        lists=lists,
        metrics=metrics,
        bell=bell,
        accept=accept,
        connecting=connecting,
        releases=Releases(store, accept, clock),
        answers=Answers(store, clock),
        inbox=Inbox(store, bell, Cursors(cursor_key)),
        readers=Readers(home.origin, clock, directory.find_key, started),
    )


async def _remembered(store: SqliteStore, home: Home) -> bytes:
    """The key of cursors, made at the first start. Raises AnotherHome: every connection names its home server, so a
    folder cannot change its name."""
    meta = await store.meta()
    if meta.get("home", home.did) != home.did:
        raise AnotherHome(f"this folder belongs to {meta['home']}; set COMITY_BASE_URL (or the port) to match")
    if "cursor_key" in meta:
        return b64u_decode(meta["cursor_key"])
    key = secrets.token_bytes(32)
    batch = Batch()
    batch.put_meta.append({"name": "home", "value": home.did})
    batch.put_meta.append({"name": "cursor_key", "value": b64u_encode(key)})
    await store.commit(batch)
    return key
