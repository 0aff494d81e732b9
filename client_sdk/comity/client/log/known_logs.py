"""The logs that a wallet has met: their keys, the last checkpoint of each, and whether each goes on from it
(spec/log.md, LOG-16, LOG-17, LOG-19).

A log that has signed a checkpoint cannot take it back: every other one that this wallet ever sees must be of the same
history, by a proof made of the tiles that the log serves. What cannot be of one history is a `Fork`, and is written
into a file that a person can hand on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from comity import http_api
from comity.client.http.server_api import Home
from comity.client.http.transport import Transport
from comity.client.log.fork_evidence import write_down
from comity.client.log.tile_reader import LogFinding, LogSource, log_prefix
from comity.client.storage.records import Entry, Kept, LogPin
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
"""Seconds for which a log that does not answer is asked again, and for which an act that was accepted waits for it; for
ten times as long it is not asked at all."""
ONE_ANSWER = 10.0
"""Seconds in which one answer must be there, where news is read."""
WITNESSED_WITHIN = 5.0
"""Seconds in which the cosignatures that are wanted must come, for a transport with as much patience."""
CHECKPOINT_AGE = 2.0
"""Seconds for which a checkpoint is new enough, where news comes in a stream."""
_ASK_EVERY = 0.25
_MOST_AGREED = 256


class LogGone(ComityError):
    """A log that its home server does not name (any more): it lost the key, say, and began another one (LOG-19)."""


class Log(NamedTuple):
    """A log of a home server, by its pinned key."""

    home: str
    key: VerifierKey
    url: str

    @property
    def origin(self) -> str:
        """Its name."""
        return self.key.name


class Tree(NamedTuple):
    """The size of a tree and its root."""

    size: int
    root: bytes


class LogKeeping:
    """What a wallet remembers of logs, and the checks of what they say."""

    def __init__(
        self, kept: Kept, transport: Transport, home: Callable[[str], Home], policy: Policy = NO_WITNESSES
    ) -> None:
        self.policy = policy
        self._kept = kept
        self._transport = replace(transport, patience=min(PATIENCE, transport.patience))
        self._witnessed_within = min(WITNESSED_WITHIN, transport.patience)
        self._home = home
        self._sources: dict[str, LogSource] = {}
        self._latest: dict[str, SignedCheckpoint] = {}
        self._agreed: dict[str, dict[Tree, None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._told: dict[str, list[str]] = {}
        self._ended: dict[str, set[str]] = {}
        self._used: dict[str, set[str]] = {}
        self._restored: dict[str, int] = {}
        self._looked: dict[str, float] = {}
        self._away: dict[str, float] = {}
        self._still: set[str] = set()
        self._grown: dict[str, set[str]] = {}
        self._waited: dict[str, float] = {}

    # --- whose logs ---

    def known(self, home: str, origin: str) -> Log | None:
        """The log of that home server, if this wallet has met it."""
        pin = self._kept.get("logs", origin, LogPin)
        return None if pin is None or pin.home != home else Log(home, parse_vkey(pin.vkey), pin.url)

    async def find(self, home: str, origin: str) -> Log:
        """The log of that name; the home server is asked for one that is not known. Raises Unreachable, LogGone where
        it has none of that name, Contradiction where it never can."""
        found = self.known(home, origin)
        if found is None:
            if not is_log_of(origin, home):
                raise Contradiction("a log that is not its server's", (origin, home))
            await self._ask(home)
            found = self.known(home, origin)
            if found is None:
                raise LogGone(f"its server does not serve the log {origin}")
        return found

    async def ask(self, home: str) -> http_api.WellKnown:
        """What a home server says of itself; the logs that it names are pinned. Raises Unreachable, Contradiction."""
        return await self._take_in(home, await self._home(home).well_known())

    async def _ask(self, home: str) -> http_api.WellKnown:
        """The same for the sake of its logs, with no more patience than they are worth."""
        with self._asking(home):
            about = await self._home(home).well_known(self._transport, ONE_ANSWER)
        return await self._take_in(home, about)

    async def names(self, home: str, origin: str, *, now: bool = False) -> bool:
        """Whether a home server names that log; `now`: whatever it said before. Raises Unreachable, Contradiction."""
        if now or origin not in self._told.get(home, ()):
            await self._ask(home)
        return origin in self._told[home]

    def heard(self, home: str, origin: str, index: int) -> None:
        """An event names that place. Where it is in no log that is known as active, the home server is asked again
        which those are; and a log that grew since it was looked at is looked at again, active or not."""
        self.uses(home, origin)
        if origin in self._active_of(home):
            return
        log = self.known(home, origin)
        latest = None if log is None else self.latest(log)
        if latest is None or latest.size <= index:
            self._told.pop(home, None)
            self._still.discard(origin)
        if latest is not None and latest.size <= index:
            self._grown.setdefault(home, set()).add(origin)

    def uses(self, home: str, origin: str) -> None:
        """A connection's events name that log: it is one of those that are looked at (LOG-16)."""
        self._used.setdefault(home, set()).add(origin)

    def used(self, home: str) -> set[str]:
        """The logs that the events of this wallet's connections name."""
        return self._used.get(home, set())

    def _active_of(self, home: str) -> list[str]:
        return [it for it in self._told.get(home, ()) if it not in self._ended[home]]

    async def are_active(self, home: str, *origins: str) -> bool:
        """Whether a home server says now that all of these logs take entries. Raises Unreachable, Contradiction."""
        if not set(origins) <= set(self._active_of(home)) and home in self._told:
            return False
        await self._ask(home)
        return set(origins) <= set(self._active_of(home))

    def pass_over(self, name: str) -> None:
        """Lets a log that did not answer alone for a while."""
        self._away[name] = asyncio.get_running_loop().time() + 10 * self._transport.patience

    async def _take_in(self, home: str, about: http_api.WellKnown) -> http_api.WellKnown:
        await self._kept.keep(*self._admit(home, about))
        self._told[home] = [it.origin for it in about.logs]
        self._ended[home] = {it.origin for it in about.logs if it.ended}
        self._restored[home] = max((it.restored_at or 0 for it in about.logs), default=0)
        return about

    def restored_at(self, home: str) -> int:
        """When (ms) a home server was restored last, as it says itself; 0 for never, or before it was asked."""
        return self._restored.get(home, 0)

    def _admit(self, home: str, about: http_api.WellKnown) -> list[Entry]:
        """The logs that a home server names, as they are pinned. Raises Contradiction: a name keeps its key."""
        text = about.model_dump_json()
        entries: list[Entry] = []
        if len({it.origin for it in about.logs}) != len(about.logs):
            raise Contradiction("the server names a log twice", (text,))
        for it in about.logs:
            _check_named(home, it, text)
            before = self._kept.get("logs", it.origin, LogPin)
            if before is None:
                entries.append(("logs", it.origin, LogPin(home, it.vkey, log_prefix(it.url))))
            elif before.vkey != it.vkey:
                raise Contradiction(f"the key of the log {it.origin} has changed", (before.vkey, text))
        for witness in about.witnesses:
            try:
                parse_vkey(witness)
            except Refused as fault:
                raise Contradiction(f"a witness without a key: {fault.detail}", (text,)) from None
        return entries

    # --- what they signed ---

    def latest(self, log: Log) -> SignedCheckpoint | None:
        """The largest checkpoint that this wallet has seen."""
        if log.origin not in self._latest:
            raw = self._kept.get("checkpoints", log.origin, str)
            if raw is None:
                return None
            # What cosigned it was looked at when it came; a witness that is named only now does not undo it.
            self._latest[log.origin] = open_checkpoint(raw, log.key)
        return self._latest[log.origin]

    def evident(self, log: Log, signed: SignedCheckpoint, within: Tree | None = None) -> list[Entry] | None:
        """What to keep where a checkpoint evidently goes on from the last one; None where that must be proved. `within`
        is the root of a smaller tree that is known to be the beginning of this one."""
        latest, tree = self.latest(log), Tree(signed.size, signed.root)
        if latest is None:
            return self._agree(log, signed)
        if tree == Tree(latest.size, latest.root):
            more = len(signed.cosigned) > len(latest.cosigned)
            return self._agree(log, signed) if more else []
        if tree in self._agreed.get(log.origin, {}):
            return []
        return self._agree(log, signed) if within == Tree(latest.size, latest.root) else None

    def _agree(self, log: Log, signed: SignedCheckpoint) -> list[Entry]:
        """Takes a checkpoint into the one history. The larger one is remembered."""
        agreed = self._agreed.setdefault(log.origin, {})
        agreed[Tree(signed.size, signed.root)] = None
        while len(agreed) > _MOST_AGREED:
            del agreed[next(iter(agreed))]
        latest = self.latest(log)
        if latest is not None and latest.size > signed.size:
            return []
        self._latest[log.origin] = signed
        return [("checkpoints", log.origin, signed.raw)]

    async def take(self, log: Log, signed: SignedCheckpoint, within: Tree | None = None) -> None:
        """Holds a checkpoint against the last one, and keeps the larger. Raises Fork, Contradiction where the log does
        not show what it signed, Unreachable, LogGone."""
        async with self._lock(log.origin):
            entries = self.evident(log, signed, within)
            while entries is None:
                against = self.latest(log)
                assert against is not None
                await self._prove(log, against, signed)
                # A receipt may have moved it meanwhile: two branches of one tree do not go on from each other.
                moved = self.latest(log) is not against
                entries = self.evident(log, signed, within) if moved else self._agree(log, signed)
            if entries:
                await self._kept.keep(*entries)

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
            # Where the proof is good for another root of that size, nothing but a second history explains it.
            begins = root_of(old.size, node)
            if check_consistency(old.size, begins, new.size, new.root, proof):
                what = "the larger tree does not begin with the smaller one"
                raise await self._fork(log, latest, signed, what, proof, begins)
        if not await self.names(log.home, log.origin, now=True):
            raise LogGone(f"its server does not serve the log {log.origin} any more")
        if signed is old:
            raise await self._fork(log, latest, signed, f"the log goes back behind what it signed ({why})")
        raise Contradiction(f"the log {log.origin} does not show what it signed: {why}", (old.raw, new.raw))

    async def _nodes(self, log: Log, old: int, new: int, *, fresh: bool) -> NodeReader:
        wanted: list[Node] = [*needed_nodes(lambda node: prove_consistency(old, new, node)), *peaks(old)]
        with self._asking(log.origin):
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
        path = self._kept.file.path
        return await asyncio.to_thread(write_down, path, what, log.key, latest, signed, proof, begins)

    # --- what they serve ---

    async def meet(self, home: str, *, at_most_every: float = 0) -> None:
        """Looks at the checkpoint that each log of a home server serves now, unless somebody has since this was asked,
        or in the last `at_most_every` seconds. A log that does not answer is left for the next time: nothing waits for
        it. Raises Fork, Contradiction."""
        loop = asyncio.get_running_loop()
        asked = loop.time() - at_most_every
        async with self._lock(home):
            if self._looked.get(home, float("-inf")) > asked:
                return
            self._looked[home] = loop.time()
            try:
                await self._look(home)
            except (Unreachable, Refused, LogGone):
                # Its server may have begun another one meanwhile, after a restore perhaps: it is asked again.
                self._told.pop(home, None)
                with suppress(Unreachable, Refused):
                    await self._ask(home)
                self._looked[home] = loop.time()

    async def _look(self, home: str) -> None:
        active = await self._active(home)
        ended = [it for it in self._told[home] if it in self._ended[home] and it not in self._still]
        away: ComityError | None = None
        for log in [*active, *[await self.find(home, origin) for origin in ended]]:
            try:
                await self.take(log, await self._served(log))
            except (Unreachable, Refused, LogGone) as fault:
                # One that does not answer keeps nobody from looking at the others.
                away = away or fault
                continue
            if log not in active:
                # It does not grow any more; where it does all the same, an event says so.
                self._still.add(log.origin)
        if away is not None:
            raise away

    async def _active(self, home: str) -> list[Log]:
        """The active logs that this wallet's connections stand in, or the first of all where they stand in none yet.
        The home server is asked once for each opened wallet, and whether every log has the key that it had; and again
        when it seems to have begun another one."""
        if home not in self._told:
            await self._ask(home)
        active = self._active_of(home)
        used = [it for it in active if it in self.used(home)]
        return [await self.find(home, it) for it in used or active[:1]]

    async def _served(self, log: Log) -> SignedCheckpoint:
        with self._asking(log.origin):
            raw = await self._source(log).checkpoint()
        try:
            return open_checkpoint(raw, log.key, self.policy.witnesses)
        except Refused as fault:
            raise Contradiction(f"the log {log.origin} serves no checkpoint of its own: {fault}", (raw,)) from None

    async def witnessed(self, home: str) -> None:
        """Whether enough witnesses cosign what the active logs serve, and any other one that grew, asked again for a
        while. Raises Refused("too_few_witnesses"), Unreachable, Fork, Contradiction."""
        if not self.policy.least:
            return
        active = await self._active(home)
        # Told once: what was written last into a log that ended may never have come to its witnesses.
        grown = self._grown.pop(home, set()).intersection(self._told[home]) - {log.origin for log in active}
        for log in [*active, *[await self.find(home, origin) for origin in sorted(grown)]]:
            await self._witnessed(log)

    async def _witnessed(self, log: Log) -> None:
        """A log can be shown to its witnesses up to some entry, and go on behind their backs: so what they cosigned
        must come to be as large as what was known when this was asked."""
        known = self.latest(log)
        least = 0 if known is None else known.size
        loop = asyncio.get_running_loop()
        # Waited for once: the connections that are read one after the other do not each wait again.
        begun = self._waited.setdefault(log.origin, loop.time())
        if begun + 10 * self._witnessed_within < loop.time():
            begun = self._waited[log.origin] = loop.time()
        end = begun + self._witnessed_within
        while True:
            signed = await self._served(log)
            await self.take(log, signed)
            enough = is_witnessed(signed, self.policy)
            if enough and signed.size >= least:
                self._waited.pop(log.origin, None)
                return
            if loop.time() >= end:
                had, wanted = len(signed.cosigned), self.policy.least
                told = f"{had} of {wanted} witnesses cosigned what {log.origin} serves"
                if enough:
                    told = f"of the {least} entries of {log.origin} witnesses were shown no more than {signed.size}"
                raise Refused("too_few_witnesses", told)
            await asyncio.sleep(_ASK_EVERY)

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Around every question to a log or about a server's logs, by whose name it is. One that did not answer is let
        alone for a while. Raises Unreachable."""
        if asyncio.get_running_loop().time() < self._away.get(name, 0):
            raise Unreachable(f"{name} did not answer a moment ago")
        try:
            yield
        except Unreachable:
            self.pass_over(name)
            raise

    def _source(self, log: Log, *, fresh: bool = False) -> LogSource:
        if fresh or log.origin not in self._sources:
            self._sources[log.origin] = LogSource(log.url, self._transport, timeout=ONE_ANSWER)
        return self._sources[log.origin]

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _check_named(home: str, named: http_api.LogKey, text: str) -> None:
    """A log's name, key and place all follow from its home server's: no server can speak for another's log."""
    try:
        key, prefix = parse_vkey(named.vkey), log_prefix(named.url)
    except Refused as fault:
        raise Contradiction(f"a log that is none: {fault.detail}", (text,)) from None
    scheme = did_web_base(home).partition("://")[0]
    if not is_log_of(named.origin, home) or key.name != named.origin or key.kind != ED25519:
        raise Contradiction("the server names a log that is not its own", (text,))
    if prefix != f"{scheme}://{named.origin}":
        raise Contradiction("the server names another place for a log than its name says", (text,))


def beginning(receipt: Receipt) -> Tree:
    """The tree before the receipt's own entry: its root follows from the hashes to the left in the receipt's proof, so
    an act that comes right after the last checkpoint needs no other proof."""
    index, size = receipt.index, receipt.checkpoint.size
    hashes, left = iter(parse_proof(receipt.raw).hashes), dict[Node, bytes]()
    for height in range((size - 1).bit_length()):
        beside = (index >> height) ^ 1
        if beside << height < size:
            left[height, beside] = next(hashes)
    return Tree(index, root_of(index, lambda height, number: left[height, number]))
