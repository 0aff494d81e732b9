"""Puts a server together: opens its store, makes each part with the parts that it needs, and closes them in order."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from comity.documents.timezones import InstalledZones
from comity.encoding import b64u_decode, b64u_encode
from comity_server.businesses.api_keys import Keyring
from comity_server.businesses.directory import Directory
from comity_server.businesses.master_key import CannotUnseal, MasterKey, check_of, master_for
from comity_server.businesses.notices import Notices
from comity_server.businesses.rate_limits import Limits
from comity_server.businesses.sealing import check_seals
from comity_server.businesses.signing_keys import KeptKeys
from comity_server.clock import ServerClock, StoryClock
from comity_server.commands.onboarding import Onboarding
from comity_server.commands.server_key_rotation import state_home_keys
from comity_server.config import Config, home_did
from comity_server.cursors import Cursors
from comity_server.data_dir import STORE, AnotherHome, CutOff, check_whole
from comity_server.limits.capacity import Rooms
from comity_server.log.clock_set import CannotSetClock, note_clock_set
from comity_server.log.cosigning import Cosigning
from comity_server.log.receipts import Receipts
from comity_server.log.recovery import RolledBack
from comity_server.log.registry import Logs, NoSuchLog, OpenLogs, open_logs
from comity_server.log.restores import CannotRestore, MovedAway, check_not_moved, note_restore
from comity_server.log.tiles import LogTiles
from comity_server.log.witness_client import Witnesses, read_witnesses
from comity_server.logging import logger
from comity_server.metrics import Metrics
from comity_server.pubsub import Broker
from comity_server.reads.connections import Answers
from comity_server.reads.inbox import Inbox
from comity_server.request_auth import RequestAuth
from comity_server.server_keys import Home, HomeKeyMissing, HomeKeyring
from comity_server.services import Server
from comity_server.status_lists import StatusLists
from comity_server.store import open_store
from comity_server.store.contract import Store
from comity_server.store.errors import StoreDamaged, StoreFailed
from comity_server.store.migrations import SchemaTooNew, SchemaTooOld
from comity_server.store.rows import Batch
from comity_server.watched_clock import WatchedClock
from comity_server.writer.context import DecisionContext
from comity_server.writer.recovery import restore_all
from comity_server.writer.release_scheduler import Releases
from comity_server.writer.signature_pool import SignaturePool
from comity_server.writer.writer import Writer

CANNOT_OPEN = (
    AnotherHome,
    CutOff,
    MovedAway,
    SchemaTooNew,
    SchemaTooOld,
    RolledBack,
    StoreDamaged,
    StoreFailed,
    NoSuchLog,
    CannotRestore,
    CannotSetClock,
    CannotUnseal,
    HomeKeyMissing,
)
"""The faults of `opened`; each text names the cause and the cure."""


MASTER_CHECK = "master_check"
"""The name under which a store remembers by what to know its master key."""


@asynccontextmanager
async def open_server(
    config: Config, port: int, open_logs: OpenLogs = open_logs, *, needs_key: bool = True
) -> AsyncIterator[Server]:
    """The server of a data folder whose lock the caller holds, on port `port`. Without `needs_key` the server's private
    key may be missing: then the server can state another key and sign nothing.

    At the end the current unit of work finishes and the store is closed. Raises one of CANNOT_OPEN.
    """
    origin = config.origin(port)
    did = home_did(origin)
    home = Home(did, origin, config.operator, HomeKeyring(config.data, did))
    check_whole(config.data)
    is_new = not (config.data / STORE).exists()
    store = await open_store(config.data / STORE)
    try:
        # Before anything is begun in the store: one of another name, or with another master key, is left as it is.
        cursor_key, master = await _own_secrets(store, home, config)
        await check_seals(store.business, master)
        clock = await _clock_of(config, store)
        started = clock.now() // 1000
        name, stated = config.consent_log, config.restored
        name = await note_restore(store, config.data, home.host, name, stated=stated, now=clock.now())
        if config.clock_set:
            await note_clock_set(store, home.host, name)
        logs = await open_logs(store, config.data, home.host, name)
        parts = (config, clock, home, store, logs)
        server = await _assemble(*parts, Cursors(cursor_key), master, -1 if is_new else started)
        if needs_key:
            home.keys.check_signer()
        await _start(server)
        try:
            yield server
        finally:
            await _stop(server)
    finally:
        await store.close()


async def _clock_of(config: Config, store: Store) -> ServerClock:
    """The clock of a server: one that is watched, or a story's."""
    if config.clock_offset_file is not None:
        logger().warning("THE CLOCK IS NOT THE WALL CLOCK: times in what this server signs are a story's")
        return StoryClock(config.clock_offset_file)
    heads = [await store.head(log) for log in await store.logs()]
    return WatchedClock(config.data, max((head.at for head in heads if head is not None), default=0))


async def _start(server: Server) -> None:
    server.logs.active.start()
    server.cosigning.start()
    server.writer.start()
    server.conditions.start()
    if server.home.keys.can_sign():
        log, ahead = server.logs.active.key.text, server.logs.ahead
        state_keys = partial(state_home_keys, server.writer, server.home.keys, log, ahead)
        await restore_all(server.store, server.writer, server.lists, server.logs.restores, state_keys)
        server.releases.start()
        server.pruner.start()


async def _stop(server: Server) -> None:
    """Stops every part; the current unit of work finishes first."""
    server.ready = False
    server.broker.close()
    await server.conditions.stop()
    await server.releases.stop()
    await server.pruner.stop()
    await server.writer.stop()
    await server.cosigning.stop()
    for log in server.logs:
        await log.stop()


async def _assemble(
    config: Config,
    clock: ServerClock,
    home: Home,
    store: Store,
    logs: Logs,
    cursors: Cursors,
    master: MasterKey,
    started: int,
) -> Server:
    directory, lists = Directory(home), StatusLists(home, clock)
    held = (Keyring(), KeptKeys(master), Notices(), cursors.secret("tags"))
    context = DecisionContext(home, directory, lists, InstalledZones(), *held)
    await context.read(store)
    metrics, broker, served = Metrics(), Broker(config.max_waiters), LogTiles(store, config.log_cache)
    witnesses = Witnesses(logs.active.key, read_witnesses(config.witnesses), clock=clock)
    receipts, crypto = Receipts(store, logs, served), SignaturePool(directory.find_key)
    accept = Writer(store, context, logs.active, clock, crypto, broker, metrics, config, since=logs.time)
    return Server(
        config=config,
        clock=clock,
        home=home,
        store=store,
        context=context,
        logs=logs,
        tiles=served,
        cosigning=Cosigning(logs.active, served, witnesses, config.data, config.cosignatures),
        receipts=receipts,
        metrics=metrics,
        broker=broker,
        writer=accept,
        onboarding=Onboarding(store, config),
        releases=Releases(store, accept, clock),
        answers=Answers(store, receipts, clock, context.notices),
        inbox=Inbox(store, broker, cursors),
        cursors=cursors,
        request_auth=RequestAuth(home.origin, clock, directory.find_key, started, store.is_party),
        limits=Limits(config.business_rate),
        capacity=Rooms(config.max_requests),
    )


async def _own_secrets(store: Store, home: Home, config: Config) -> tuple[bytes, MasterKey]:
    """The key of cursors, and the master key, both made at the first start. Raises AnotherHome: every connection names
    its home server, so a folder cannot change its name; MovedAway; CannotUnseal."""
    meta = await store.meta()
    check_not_moved(meta)
    if meta.get("home", home.did) != home.did:
        raise AnotherHome(f"this folder belongs to {meta['home']}; set COMITY_BASE_URL (or the port) to match")
    given = config.master_key.get_secret_value()
    master = master_for(config.data, given, config.master_key_file, meta.get(MASTER_CHECK))
    cursor_key = b64u_decode(meta["cursor_key"]) if "cursor_key" in meta else secrets.token_bytes(32)
    remembered = {"home": home.did, "cursor_key": b64u_encode(cursor_key)}
    batch = Batch()
    # Made once: sealing the same value twice gives two different texts.
    missing = remembered if MASTER_CHECK in meta else {**remembered, MASTER_CHECK: check_of(master)}
    batch.put_meta.extend({"name": name, "value": value} for name, value in missing.items() if name not in meta)
    if batch.put_meta:
        await store.commit(batch)
    return cursor_key, master
