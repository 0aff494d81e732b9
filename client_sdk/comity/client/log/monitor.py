"""Follows a log: checks that it is signed and witnessed, that it continues the history it showed before, and that every
entry is valid (LOG-18).

    source = TileReader("https://comity.example/log", over_aiohttp())
    with default_file(key.name).lock() as file:
        report = await follow_log(source, file.load() or MonitorState(key), store=file.save)

A violation raises LogFinding; a log that cannot be read raises Unreachable. The state is stored along the way, so the
next run continues from there; memory does not grow with the log.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple

from comity.client.log.monitor_state import MonitorState
from comity.client.log.server_keys import check_listed, home_of, own_keys, stated_ahead
from comity.client.log.tile_reader import LogFinding, TileReader
from comity.client.log.tree import Bundle, ServedTree, is_regular, open_tree
from comity.errors import ComityError, Malformed, Refused
from comity.transparency.checkpoints import NO_WITNESSES, Policy, SignedCheckpoint, is_witnessed, open_checkpoint
from comity.transparency.entries import LENGTH, MOST_BACK, SIDELESS, VERSION, Kind, parse_entry
from comity.transparency.merkle import EMPTY_ROOT, check_consistency, needed_nodes, prove_consistency, root_of
from comity.transparency.server_keys import MOST_STATEMENTS
from comity.transparency.tiles import WIDTH

STORED_EVERY = 64
"""Bundles between two writes of the state: a quarter of a second's work, or 16,384 entries."""

StoreState = Callable[[MonitorState], None]
Progress = Callable[[int, int], None]
"""Called with the number of checked entries, and of all entries."""
Ahead = Callable[[int], Awaitable[int]]
"""The minute up to which the log states, before that entry, that its times may lie ahead (CLOCK-4)."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run without a finding.

    `served` is the checkpoint that the log serves now. `state.seen`, which is larger where the log lags behind an
    earlier checkpoint, is the one of which every entry was checked. `new` entries were checked in this run.
    """

    served: SignedCheckpoint
    state: MonitorState
    new: int

    @property
    def is_lagging(self) -> bool:
        """Whether the log serves a smaller tree than it had shown before (and proved that both are one history)."""
        return self.state.seen is not None and self.served.size < self.state.seen.size


async def follow_log(
    source: TileReader,
    state: MonitorState,
    policy: Policy = NO_WITNESSES,
    store: StoreState = lambda _: None,
    progress: Progress = lambda _done, _size: None,
) -> Report:
    """Checks every entry that was not checked before, and stores the state with `store`.

    Raises LogFinding for a violation, Unreachable where the log cannot be read.
    """
    raw = await source.checkpoint()
    served = open_served(raw, state, Policy(0, policy.witnesses))
    tree = await _one_history(source, state.seen, served)
    # Stored before the entries are checked: another history is then noticed even if this run fails.
    if state.seen is None or tree.signed.raw != state.seen.raw:
        state = replace(state, seen=tree.signed)
        store(state)
    # After the check for two histories, which needs no witness.
    served = open_served(raw, state, policy)
    stated: dict[int, int] = {}

    async def ahead(index: int) -> int:
        # One request for each entry that is followed by an earlier time: none for a log that was never ahead.
        if index not in stated:
            stated[index] = await stated_ahead(source, state.key, index)
        return stated[index]

    done = await _check_entries(tree, state, store, progress, ahead)
    done = replace(done, verified=tree.signed)
    store(done)
    await check_listed(source, tree, state.key, done.home_keys, done.position)
    return Report(served, done, done.position - state.position)


def open_served(raw: str, state: MonitorState, policy: Policy) -> SignedCheckpoint:
    """The checkpoint in an answer. Raises LogFinding("bad_checkpoint" | "too_few_witnesses")."""
    try:
        served = open_checkpoint(raw, state.key, policy.witnesses)
    except Refused as fault:
        raise LogFinding("bad_checkpoint", fault.detail or fault.title.rstrip("."), evidence=(raw,)) from None
    if not is_witnessed(served, policy):
        detail = f"{len(served.cosigned)} of {len(policy.witnesses)} did, {policy.least} must"
        raise LogFinding("too_few_witnesses", detail, at=served.size, evidence=(raw,))
    return served


# --- one history


async def _one_history(source: TileReader, seen: SignedCheckpoint | None, served: SignedCheckpoint) -> ServedTree:
    """The larger of the two trees, after a proof that it begins with the smaller one."""
    if seen is None or seen.size < served.size:
        tree = await open_tree(source, served)
        await _begins_with(tree, seen)
        return tree
    if seen.size == served.size:
        if seen.root != served.root:
            raise _fork_finding(seen, served, ())
        return await open_tree(source, served)
    # The served tree may lag behind a receipt's checkpoint. The larger tree must then be served nevertheless.
    try:
        tree = await open_tree(source, seen)
        await _begins_with(tree, served)
        return tree
    except LogFinding as finding:
        if finding.code == "forked":
            raise
        detail = f"{served.size} entries after {seen.size}"
        raise LogFinding("rolled_back", detail, at=served.size, evidence=(seen.raw, served.raw)) from finding


async def _begins_with(tree: ServedTree, older: SignedCheckpoint | None) -> None:
    """Checks that the tree begins with an older one. Raises LogFinding("forked")."""
    size, root = (0, EMPTY_ROOT) if older is None else (older.size, older.root)
    node = await tree.nodes(
        needed_nodes(lambda node: (prove_consistency(size, tree.size, node), root_of(size, node))),
    )
    proof = prove_consistency(size, tree.size, node)
    if not check_consistency(size, root, tree.size, tree.signed.root, proof):
        assert older is not None
        # Every node was checked against the signed root, so the log signed this the second time.
        begins = f"{size} {_base64(root_of(size, node))}\n"
        raise _fork_finding(older, tree.signed, (begins, "".join(f"{_base64(it)}\n" for it in proof)))


def _fork_finding(one: SignedCheckpoint, other: SignedCheckpoint, proof: tuple[str, ...]) -> LogFinding:
    evidence = [one.raw, other.raw]
    if proof:
        larger = max(one.size, other.size)
        evidence.append(f"The tree of {larger} entries begins with one of this size and root:\n\n{proof[0]}")
        evidence.append(f"as this proof of consistency shows (RFC 6962 section 2.1.2):\n\n{proof[1]}")
    detail = f"one of {one.size} entries, and one of {other.size} that does not fit to it"
    return LogFinding("forked", detail, at=other.size, evidence=tuple(evidence))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# --- the entries


async def _check_entries(
    tree: ServedTree, state: MonitorState, store: StoreState, progress: Progress, ahead: Ahead
) -> MonitorState:
    """Checks every entry from `state.position` on, and returns the new state. Stores the state also when it ends
    early."""
    kinds, position, before = Counter(state.kinds), state.position, Latest(state.minute, state.latest)
    home, home_keys = home_of(state.key.name), list(state.home_keys)
    progress(position, tree.size)
    if position == tree.size:
        return state

    def now() -> MonitorState:
        done = replace(state, position=position, minute=before.minute, latest=before.number, kinds=dict(kinds))
        return replace(done, home_keys=tuple(home_keys))

    try:
        async with aclosing(tree.bundles(position)) as bundles:
            async for bundle in bundles:
                contents = await _check_bundle(tree, bundle, position - bundle.first, before, ahead)
                kinds.update({Kind(kind): contents.kinds.count(kind) for kind in set(contents.kinds)})
                home_keys += own_keys(bundle, contents.kinds, position - bundle.first, home)
                if len(home_keys) > MOST_STATEMENTS:
                    raise LogFinding("withheld_key", f"more than {MOST_STATEMENTS} statements", at=home_keys[-1])
                before = before.after(contents.minutes, position)
                position = bundle.first + bundle.tile.width
                progress(position, tree.size)
                if bundle.tile.number % STORED_EVERY == STORED_EVERY - 1:
                    store(now())
    except BaseException:
        # The first error must reach the caller, even if the disk is full as well.
        with suppress(ComityError):
            store(now())
        raise
    return now()


class Latest(NamedTuple):
    """The latest minute of the entries so far, and the index of the last entry that has it."""

    minute: int
    number: int

    def after(self, minutes: Sequence[int], first: int) -> Latest:
        """The same after entries of these minutes, from index `first` on."""
        most = max(minutes)
        return self if most < self.minute else Latest(most, first + len(minutes) - 1 - minutes[::-1].index(most))


@dataclass(frozen=True, slots=True)
class BundleContents:
    """The kinds and times of a bundle's entries, in order: one byte of kind and one time (minutes) for each."""

    kinds: bytes
    minutes: tuple[int, ...]


async def _check_bundle(tree: ServedTree, bundle: Bundle, skip: int, before: Latest, ahead: Ahead) -> BundleContents:
    """Checks the entries of a bundle from index `skip` on against the entries before them.

    Raises LogFinding("bad_entry" | "time_back"), with proofs that anybody can check.
    """
    contents = read_regular(bundle)
    if contents is None:
        entries = bundle.entries()
        for at, entry in enumerate(entries):
            try:
                parse_entry(entry)
            except Malformed as fault:
                index = bundle.first + at
                proof = await tree.proof_of(index)
                raise LogFinding("bad_entry", f"entry {index}: {fault.detail}", at=index, evidence=(proof,)) from None
        read = [parse_entry(entry) for entry in entries]
        contents = BundleContents(bytes(it.kind for it in read), tuple(it.time for it in read))
    contents = BundleContents(contents.kinds[skip:], contents.minutes[skip:])
    if contents.minutes[0] < before.minute or sorted(contents.minutes) != list(contents.minutes):
        for index, minute in enumerate(contents.minutes, bundle.first + skip):
            if minute < before.minute - MOST_BACK and before.minute > await ahead(before.number):
                raise await _time_back(tree, before, index, minute)
            before = before.after((minute,), index)
    return contents


async def _time_back(tree: ServedTree, before: Latest, index: int, minute: int) -> LogFinding:
    evidence = [await tree.proof_of(at) for at in (before.number, index)]
    detail = f"entry {index} is {before.minute - minute} minutes earlier than entry {before.number}"
    return LogFinding("time_back", detail, at=index, evidence=tuple(evidence))


# The same rules as in `parse_entry`, for a whole bundle at a time: the bytes of a kind lie 61 bytes apart.
_STRIDE = LENGTH + 2
_TIMES = struct.Struct(">" + "5xII48x" * WIDTH)
_ANY_KIND = bytes(Kind)
_HAS_SIDE_KIND = bytes(kind not in SIDELESS for kind in range(256))
_HAS_SIDE = bytes([0, 1, 1]) + b"\2" * 253
_VERSIONS = bytes([VERSION]) * WIDTH
_MAY_END = frozenset({int(Kind.MUTE_ALL)})


def read_regular(bundle: Bundle) -> BundleContents | None:
    """The contents of a bundle, or None where `parse_entry` must decide about each entry."""
    data, width = bundle.data, bundle.tile.width
    kinds, sides = data[3::_STRIDE], data[4::_STRIDE]
    if (
        not is_regular(bundle.tile, data)
        or data[2::_STRIDE] != _VERSIONS[:width]
        or kinds.translate(None, _ANY_KIND)
        or kinds.translate(_HAS_SIDE_KIND) != sides.translate(_HAS_SIDE)
    ):
        return None
    numbers = _TIMES.unpack(data.ljust(WIDTH * _STRIDE, b"\0"))
    ends = numbers[1 : 2 * width : 2]
    if not _MAY_END.issuperset(compress(kinds, ends)):
        return None
    return BundleContents(kinds, numbers[0 : 2 * width : 2])
