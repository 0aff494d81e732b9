"""The logs that a wallet knows: their keys, the last checkpoint of each, and whether each continues its history
(spec/log.md, LOG-16, LOG-17, LOG-19).

A log cannot take back a checkpoint that it has signed: every other checkpoint that this wallet ever sees must be of the
same history, by a proof made of the tiles that the log serves. Two histories are a `Fork`, written to a file that a
person can pass on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from comity import http_api
from comity.client.http.server_api import ServerApi
from comity.client.http.transport import Transport
from comity.client.log.fork_evidence import write_evidence
from comity.client.log.tile_reader import LogFinding, TileReader, log_prefix
from comity.client.storage.records import Entry, PinnedLog, Records
from comity.crypto.keys import did_web_base
from comity.errors import ComityError, Contradiction, Fork, Refused, Unreachable
from comity.rules.consent_tokens import is_log_of
from comity.transparency.checkpoints import NO_WITNESSES, Policy, SignedCheckpoint, is_witnessed, open_checkpoint
from comity.transparency.merkle import (
    Node,
    NodeReader,
    check_consistency,
    needed_nodes,
    peaks,
    prove_consistency,
    root_of,
)
from comity.transparency.notes import ED25519, VerifierKey, parse_vkey
from comity.transparency.receipts import Receipt, parse_proof

PATIENCE = 3.0
"""Seconds for which requests to a log are repeated, and for which an accepted act waits for its log. An unresponsive
log is then paused for ten times as long."""
ONE_ANSWER = 10.0
"""Seconds for one answer while news is read."""
WITNESSED_WITHIN = 5.0
"""Seconds in which the demanded cosignatures must arrive, for a transport with that much patience."""
CHECKPOINT_AGE = 2.0
"""Seconds for which a checkpoint is recent enough while news is streamed."""
_ASK_EVERY = 0.25
_MOST_AGREED = 256


class LogGone(ComityError):
    """Its home server no longer names this log: it lost the key, for example, and started another one (LOG-19)."""


class Log(NamedTuple):
    """A log of a home server, with its pinned key."""

    home: str
    key: VerifierKey
    url: str

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.key.name


class Tree(NamedTuple):
    """The size of a tree and its root."""

    size: int
    root: bytes


class KnownLogs:
    """The logs that a wallet knows, and the checks of their checkpoints."""

    def __init__(
        self, records: Records, transport: Transport, home: Callable[[str], ServerApi], policy: Policy = NO_WITNESSES
    ) -> None:
        self.policy = policy
        self._records = records
        self._transport = replace(transport, patience=min(PATIENCE, transport.patience))
        self._witnessed_within = min(WITNESSED_WITHIN, transport.patience)
        self._home = home
        self._sources: dict[str, TileReader] = {}
        self._latest: dict[str, SignedCheckpoint] = {}
        self._agreed: dict[str, dict[Tree, None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._named: dict[str, list[str]] = {}
        self._ended: dict[str, set[str]] = {}
        self._used: dict[str, set[str]] = {}
        self._restored: dict[str, int] = {}
        self._checked_at: dict[str, float] = {}
        self._paused: dict[str, float] = {}
        self._complete: set[str] = set()
        self._grown: dict[str, set[str]] = {}
        self._waited: dict[str, float] = {}

    # --- the logs of a home server ---

    def find_known(self, home: str, origin: str) -> Log | None:
        """The log of that home server, if this wallet knows it."""
        pin = self._records.get("logs", origin, PinnedLog)
        return None if pin is None or pin.home != home else Log(home, parse_vkey(pin.vkey), pin.url)

    async def find(self, home: str, origin: str) -> Log:
        """The log of that name; asks the home server where it is unknown. Raises Unreachable, LogGone where the server
        has none of that name, Contradiction where it never can."""
        found = self.find_known(home, origin)
        if found is None:
            if not is_log_of(origin, home):
                raise Contradiction("a log that is not its server's", (origin, home))
            await self._refresh(home)
            found = self.find_known(home, origin)
            if found is None:
                raise LogGone(f"its server does not serve the log {origin}")
        return found

    async def refresh(self, home: str) -> http_api.WellKnown:
        """Fetches a home server's description and pins the logs that it names. Raises Unreachable, Contradiction."""
        return await self._store_answer(home, await self._home(home).get_well_known())

    async def _refresh(self, home: str) -> http_api.WellKnown:
        """The same for its logs' sake alone, with less patience."""
        with self._guard_request(home):
            about = await self._home(home).get_well_known(self._transport, ONE_ANSWER)
        return await self._store_answer(home, about)

    async def has_log(self, home: str, origin: str, *, now: bool = False) -> bool:
        """Whether a home server names that log; with `now`, asks it again. Raises Unreachable, Contradiction."""
        if now or origin not in self._named.get(home, ()):
            await self._refresh(home)
        return origin in self._named[home]

    def note_place(self, home: str, origin: str, index: int) -> None:
        """Notes that an event names this place. Where its log is not known as active, the home server is asked again
        for its active logs; and a log that grew is checked again, active or not."""
        self.mark_used(home, origin)
        if origin in self._active_of(home):
            return
        log = self.find_known(home, origin)
        latest = None if log is None else self.latest(log)
        if latest is None or latest.size <= index:
            self._named.pop(home, None)
            self._complete.discard(origin)
        if latest is not None and latest.size <= index:
            self._grown.setdefault(home, set()).add(origin)

    def mark_used(self, home: str, origin: str) -> None:
        """Marks a log that the events of a connection name: it is one of those that are checked (LOG-16)."""
        self._used.setdefault(home, set()).add(origin)

    def used_logs(self, home: str) -> set[str]:
        """The logs that the events of this wallet's connections name."""
        return self._used.get(home, set())

    def _active_of(self, home: str) -> list[str]:
        return [it for it in self._named.get(home, ()) if it not in self._ended[home]]

    async def are_active(self, home: str, *origins: str) -> bool:
        """Whether a home server says now that all of these logs accept entries. Raises Unreachable, Contradiction."""
        if not set(origins) <= set(self._active_of(home)) and home in self._named:
            return False
        await self._refresh(home)
        return set(origins) <= set(self._active_of(home))

    def pause(self, name: str) -> None:
        """Sends no request to an unresponsive log for a while."""
        self._paused[name] = asyncio.get_running_loop().time() + 10 * self._transport.patience

    async def _store_answer(self, home: str, about: http_api.WellKnown) -> http_api.WellKnown:
        await self._records.store(*self._pin_entries(home, about))
        self._named[home] = [log.origin for log in about.logs]
        self._ended[home] = {log.origin for log in about.logs if log.ended}
        self._restored[home] = max((log.restored_at or 0 for log in about.logs), default=0)
        return about

    def restored_at(self, home: str) -> int:
        """The time (ms) of a home server's last restore, as it states it; 0 for none, or before it was asked."""
        return self._restored.get(home, 0)

    def _pin_entries(self, home: str, about: http_api.WellKnown) -> list[Entry]:
        """The entries that pin the logs which a home server names. Raises Contradiction: a name keeps its key."""
        text = about.model_dump_json()
        entries: list[Entry] = []
        if len({it.origin for it in about.logs}) != len(about.logs):
            raise Contradiction("the server names a log twice", (text,))
        for log in about.logs:
            _check_named(home, log, text)
            before = self._records.get("logs", log.origin, PinnedLog)
            if before is None:
                entries.append(("logs", log.origin, PinnedLog(home, log.vkey, log_prefix(log.url))))
            elif before.vkey != log.vkey:
                raise Contradiction(f"the key of the log {log.origin} has changed", (before.vkey, text))
        for witness in about.witnesses:
            try:
                parse_vkey(witness)
            except Refused as fault:
                raise Contradiction(f"a witness without a key: {fault.detail}", (text,)) from None
        return entries

    # --- their checkpoints ---

    def latest(self, log: Log) -> SignedCheckpoint | None:
        """The largest checkpoint that this wallet has seen."""
        if log.origin not in self._latest:
            raw = self._records.get("checkpoints", log.origin, str)
            if raw is None:
                return None
            # Its cosignatures were checked when it arrived; a witness named only now does not invalidate it.
            self._latest[log.origin] = open_checkpoint(raw, log.key)
        return self._latest[log.origin]

    def entries_if_evident(self, log: Log, signed: SignedCheckpoint, within: Tree | None = None) -> list[Entry] | None:
        """The entries to store where a checkpoint evidently continues the last one; None where that needs a proof.
        `within` is the root of a smaller tree that is known to be the beginning of this one."""
        latest, tree = self.latest(log), Tree(signed.size, signed.root)
        if latest is None:
            return self._add_agreed(log, signed)
        if tree == Tree(latest.size, latest.root):
            more = len(signed.cosigned) > len(latest.cosigned)
            return self._add_agreed(log, signed) if more else []
        if tree in self._agreed.get(log.origin, {}):
            return []
        return self._add_agreed(log, signed) if within == Tree(latest.size, latest.root) else None

    def _add_agreed(self, log: Log, signed: SignedCheckpoint) -> list[Entry]:
        """Adds a checkpoint to the one history. Returns the entries that store the larger one."""
        agreed = self._agreed.setdefault(log.origin, {})
        agreed[Tree(signed.size, signed.root)] = None
        while len(agreed) > _MOST_AGREED:
            del agreed[next(iter(agreed))]
        latest = self.latest(log)
        if latest is not None and latest.size > signed.size:
            return []
        self._latest[log.origin] = signed
        return [("checkpoints", log.origin, signed.raw)]

    async def accept_checkpoint(self, log: Log, signed: SignedCheckpoint, within: Tree | None = None) -> None:
        """Checks a checkpoint against the last one, and stores the larger. Raises Fork, Contradiction where the log
        does not serve what it signed, Unreachable, LogGone."""
        async with self._lock(log.origin):
            entries = self.entries_if_evident(log, signed, within)
            while entries is None:
                against = self.latest(log)
                assert against is not None
                await self._prove(log, against, signed)
                # A receipt may have replaced the latest checkpoint meanwhile; compare with that one too.
                moved = self.latest(log) is not against
                entries = self.entries_if_evident(log, signed, within) if moved else self._add_agreed(log, signed)
            if entries:
                await self._records.store(*entries)

    async def _prove(self, log: Log, latest: SignedCheckpoint, signed: SignedCheckpoint) -> None:
        old, new = sorted((latest, signed), key=lambda it: it.size)
        if old.size == new.size:
            raise await self._fork(log, latest, signed, "the log signed two trees of one size")
        why = "what it serves is no proof"
        for again in (False, True):
            try:
                node = await self._nodes(log, old.size, new.size, fresh=again)
            except LogFinding as fault:
                why = fault.claim
                continue
            proof = prove_consistency(old.size, new.size, node)
            if check_consistency(old.size, old.root, new.size, new.root, proof):
                return
            # If the proof is valid for another root of that size, only a second history explains it.
            begins = root_of(old.size, node)
            if check_consistency(old.size, begins, new.size, new.root, proof):
                what = "the larger tree does not begin with the smaller one"
                raise await self._fork(log, latest, signed, what, proof, begins)
        if not await self.has_log(log.home, log.origin, now=True):
            raise LogGone(f"its server does not serve the log {log.origin} any more")
        if signed is old:
            raise await self._fork(log, latest, signed, f"the log goes back behind a checkpoint that it signed ({why})")
        raise Contradiction(f"the log {log.origin} does not serve the tree that it signed: {why}", (old.raw, new.raw))

    async def _nodes(self, log: Log, old: int, new: int, *, fresh: bool) -> NodeReader:
        wanted: list[Node] = [*needed_nodes(lambda node: prove_consistency(old, new, node)), *peaks(old)]
        with self._guard_request(log.origin):
            return await self._source(log, fresh=fresh).nodes(wanted, new)

    async def _fork(
        self,
        log: Log,
        latest: SignedCheckpoint,
        signed: SignedCheckpoint,
        what: str,
        proof: Sequence[bytes] = (),
        begins: bytes | None = None,
    ) -> Fork:
        path = self._records.file.path
        return await asyncio.to_thread(write_evidence, path, what, log.key, latest, signed, proof, begins)

    # --- requests to logs ---

    async def check_served(self, home: str, *, at_most_every: float = 0) -> None:
        """Checks the checkpoint that each log of a home server serves now, unless another caller has since this call,
        or within the last `at_most_every` seconds. An unresponsive log is left for the next time; nothing waits for it.
        Raises Fork, Contradiction."""
        loop = asyncio.get_running_loop()
        asked = loop.time() - at_most_every
        async with self._lock(home):
            if self._checked_at.get(home, float("-inf")) > asked:
                return
            self._checked_at[home] = loop.time()
            try:
                await self._check_served(home)
            except (Unreachable, Refused, LogGone):
                # Its server may have started another log, after a restore for example, so ask it again.
                self._named.pop(home, None)
                with suppress(Unreachable, Refused):
                    await self._refresh(home)
                self._checked_at[home] = loop.time()

    async def _check_served(self, home: str) -> None:
        active = await self._active(home)
        ended = [it for it in self._named[home] if it in self._ended[home] and it not in self._complete]
        away: ComityError | None = None
        for log in [*active, *[await self.find(home, origin) for origin in ended]]:
            try:
                await self.accept_checkpoint(log, await self._fetch_checkpoint(log))
            except (Unreachable, Refused, LogGone) as fault:
                # An unresponsive log must not stop the checks of the others.
                away = away or fault
                continue
            if log not in active:
                # A log that has ended no longer grows; if it does, an event names the place.
                self._complete.add(log.origin)
        if away is not None:
            raise away

    async def _active(self, home: str) -> list[Log]:
        """The active logs that this wallet's connections use, or the first of all where they use none yet. The home
        server is asked once for each opened wallet, and again when it seems to have started another log."""
        if home not in self._named:
            await self._refresh(home)
        active = self._active_of(home)
        used = [it for it in active if it in self.used_logs(home)]
        return [await self.find(home, it) for it in used or active[:1]]

    async def _fetch_checkpoint(self, log: Log) -> SignedCheckpoint:
        with self._guard_request(log.origin):
            raw = await self._source(log).checkpoint()
        try:
            return open_checkpoint(raw, log.key, self.policy.witnesses)
        except Refused as fault:
            raise Contradiction(f"the log {log.origin} serves no checkpoint of its own: {fault}", (raw,)) from None

    async def check_witnesses(self, home: str) -> None:
        """Checks that enough witnesses cosign the checkpoints that the active logs serve, and any other log that grew;
        repeats for a while. Raises Refused("too_few_witnesses"), Unreachable, Fork, Contradiction."""
        if not self.policy.least:
            return
        active = await self._active(home)
        # Checked once: the witnesses may never have seen the last entries of a log that ended.
        grown = self._grown.pop(home, set()).intersection(self._named[home]) - {log.origin for log in active}
        for log in [*active, *[await self.find(home, origin) for origin in sorted(grown)]]:
            await self._check_witnesses(log)

    async def _check_witnesses(self, log: Log) -> None:
        """A log could be shown to its witnesses up to some entry, and grow without them: so the cosigned tree must
        become as large as the one known at the start of this call."""
        known = self.latest(log)
        least = 0 if known is None else known.size
        loop = asyncio.get_running_loop()
        # One wait for all connections that are read in sequence.
        begun = self._waited.setdefault(log.origin, loop.time())
        if begun + 10 * self._witnessed_within < loop.time():
            begun = self._waited[log.origin] = loop.time()
        end = begun + self._witnessed_within
        while True:
            signed = await self._fetch_checkpoint(log)
            await self.accept_checkpoint(log, signed)
            enough = is_witnessed(signed, self.policy)
            if enough and signed.size >= least:
                self._waited.pop(log.origin, None)
                return
            if loop.time() >= end:
                had, wanted = len(signed.cosigned), self.policy.least
                detail = f"{had} of {wanted} witnesses cosigned what {log.origin} serves"
                if enough:
                    detail = f"of the {least} entries of {log.origin} witnesses were shown no more than {signed.size}"
                raise Refused("too_few_witnesses", detail)
            await asyncio.sleep(_ASK_EVERY)

    @contextmanager
    def _guard_request(self, name: str) -> Iterator[None]:
        """Context manager around every request to a log or about a server's logs. A log or server that does not answer
        is paused. Raises Unreachable."""
        if asyncio.get_running_loop().time() < self._paused.get(name, 0):
            raise Unreachable(f"{name} did not answer a moment ago")
        try:
            yield
        except Unreachable:
            self.pause(name)
            raise

    def _source(self, log: Log, *, fresh: bool = False) -> TileReader:
        if fresh or log.origin not in self._sources:
            self._sources[log.origin] = TileReader(log.url, self._transport, timeout=ONE_ANSWER)
        return self._sources[log.origin]

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _check_named(home: str, named: http_api.LogKey, text: str) -> None:
    """Raises Contradiction unless a log's name, key and URL follow from its home server: no server can speak for
    another's log."""
    try:
        key, prefix = parse_vkey(named.vkey), log_prefix(named.url)
    except Refused as fault:
        raise Contradiction(f"an invalid log: {fault.detail}", (text,)) from None
    scheme = did_web_base(home).partition("://")[0]
    if not is_log_of(named.origin, home) or key.name != named.origin or key.kind != ED25519:
        raise Contradiction("the server names a log that is not its own", (text,))
    if prefix != f"{scheme}://{named.origin}":
        raise Contradiction("the server names another place for a log than its name says", (text,))


def tree_before(receipt: Receipt) -> Tree:
    """The tree before the receipt's own entry. Its root follows from the hashes to the left in the receipt's proof, so
    an act right after the last checkpoint needs no other proof."""
    index, size = receipt.index, receipt.checkpoint.size
    hashes, left = iter(parse_proof(receipt.raw).hashes), dict[Node, bytes]()
    for height in range((size - 1).bit_length()):
        beside = (index >> height) ^ 1
        if beside << height < size:
            left[height, beside] = next(hashes)
    return Tree(index, root_of(index, lambda height, number: left[height, number]))
