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
from comity_server.log.cosigning import Cosigning
from comity_server.log.logs import Logs, NoSuchLog, OpenLogs, open_logs
from comity_server.log.receipts import Receipts
from comity_server.log.reread import StoreDamaged
from comity_server.log.served import Served
from comity_server.log.starting import ClockWentBack, RolledBack
from comity_server.log.witnesses import Witnesses, read_witnesses
from comity_server.logs import logger
from comity_server.metrics import Metrics
from comity_server.opening import Crypto
from comity_server.readers import Readers
from comity_server.releases import Releases
from comity_server.status_lists import StatusLists
from comity_server.store.migrations import SchemaTooNew, SchemaTooOld
from comity_server.store.rows import Batch
from comity_server.store.sqlite import SqliteStore, StoreFailed

CANNOT_OPEN = (
    AnotherHome,
    SchemaTooNew,
    SchemaTooOld,
    RolledBack,
    ClockWentBack,
    StoreDamaged,
    StoreFailed,
    NoSuchLog,
)
"""What `opened` raises: the text of each says why, and what can be done."""


@dataclass(slots=True)
class Server:
    """The parts of a running server."""

    config: Config
    clock: Clock
    home: Home
    store: SqliteStore
    directory: Directory
    logs: Logs
    served: Served
    cosigning: Cosigning
    receipts: Receipts
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
        return await self.accept.command(lambda group: self.connecting.add_business_key(name, did_key, group))


@asynccontextmanager
async def opened(config: Config, port: int, open_logs: OpenLogs = open_logs) -> AsyncIterator[Server]:
    """The server of a data folder whose lock the caller holds, listening (or to listen) on `port`.

    On the way out the group in hand is finished and the store closed. Raises one of CANNOT_OPEN.
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
        # Before anything is begun in the store: one of another name is left as it is.
        cursor_key = await _remembered(store, home)
        logs = await open_logs(store, config.data, home.host, config.consent_log, clock.now())
        server = await _assemble(config, clock, home, store, logs, cursor_key, -1 if is_new else started)
        server.logs.active.start()
        server.cosigning.start()
        server.accept.start()
        server.releases.start()
        try:
            yield server
        finally:
            server.ready = False
            server.bell.close()
            await server.releases.stop()
            await server.accept.stop()
            await server.cosigning.stop()
            for log in server.logs:
                await log.stop()
    finally:
        await store.close()


async def _assemble(
    config: Config, clock: Clock, home: Home, store: SqliteStore, logs: Logs, cursor_key: bytes, started: int
) -> Server:
    directory, lists = Directory(home), StatusLists(home, clock)
    grounds = Grounds(home, directory, lists, InstalledZones())
    await grounds.read(store)
    metrics, bell = Metrics(), Bell(config.max_waiters)
    served = Served(store, config.log_cache)
    witnesses = Witnesses(logs.active.key, read_witnesses(config.witnesses), now=lambda: clock.now() / 1000)
    receipts = Receipts(store, logs, served)
    crypto = Crypto(directory.find_key, home.signer)
    limits = {"since": logs.time, "most_waiting": config.max_queue, "most_states": config.cached_connections}
    accept = Accept(store, grounds, logs.active, clock, crypto, bell, metrics, **limits)
    return Server(
        config=config,
        clock=clock,
        home=home,
        store=store,
        directory=directory,
        logs=logs,
        served=served,
        cosigning=Cosigning(logs.active, served, witnesses, config.cosignatures),
        receipts=receipts,
        lists=lists,
        metrics=metrics,
        bell=bell,
        accept=accept,
        connecting=Connecting(store, config.max_offers, config.max_proposals, config.max_reserved),
        releases=Releases(store, accept, clock),
        answers=Answers(store, receipts, clock),
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
