"""Following a log: that it is signed and witnessed, one history with what it showed before, and that every entry in it
is one (LOG-18).

    source = LogSource("https://comity.example/log", over_aiohttp())
    with usual_file(key.name).held() as file:
        report = await follow(source, file.load() or Followed(key), keep=file.save)

Whatever does not hold raises LogFinding; a log that cannot be read raises Unreachable. What was looked at is kept as it
goes, so the next run goes on from there; nothing in memory grows with the log.
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

from comity.client.log.monitor_state import Followed
from comity.client.log.server_keys import check_listed, home_of, own_keys, stated_ahead
from comity.client.log.tile_reader import LogFinding, LogSource
from comity.client.log.tree import Bundle, ServedTree, is_regular, open_tree
from comity.errors import ComityError, Malformed, Refused
from comity.transparency.checkpoints import NO_WITNESSES, Policy, SignedCheckpoint, is_witnessed, open_checkpoint
from comity.transparency.entries import LENGTH, MOST_BACK, SIDELESS, VERSION, Kind, parse_entry
from comity.transparency.merkle import EMPTY_ROOT, check_consistency, needed_nodes, prove_consistency, root_of
from comity.transparency.server_keys import MOST_STATEMENTS
from comity.transparency.tiles import WIDTH

KEPT_EVERY = 64
"""Bundles between two writings of what was looked at: a quarter of a second's work, or 16,384 entries."""

Keep = Callable[[Followed], None]
Progress = Callable[[int, int], None]
"""Is told how many entries were looked at, and how many there are."""
Ahead = Callable[[int], Awaitable[int]]
"""Up to which minute the log says, before that entry, that its times may lie ahead (CLOCK-4)."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found where everything holds.

    `served` is the checkpoint that the log serves now; `followed.seen`, which is larger where the log lags behind what
    it had shown before, is the one of which every entry was looked at. `new` of them were looked at this time.
    """

    served: SignedCheckpoint
    followed: Followed
    new: int

    @property
    def lags(self) -> bool:
        """Whether the log serves less than it had shown before (and proved that both are one history)."""
        return self.followed.seen is not None and self.served.size < self.followed.seen.size


async def follow(
    source: LogSource,
    kept: Followed,
    policy: Policy = NO_WITNESSES,
    keep: Keep = lambda _: None,
    progress: Progress = lambda _done, _size: None,
) -> Report:
    """Looks at everything in the log that was not looked at before, and keeps what it saw.

    Raises LogFinding for what does not hold, Unreachable where the log cannot be read.
    """
    raw = await source.checkpoint()
    served = open_served(raw, kept, Policy(0, policy.witnesses))
    tree = await _one_history(source, kept.seen, served)
    # From here on whoever shows another history is found out, even if this run comes to nothing.
    if kept.seen is None or tree.signed.raw != kept.seen.raw:
        kept = replace(kept, seen=tree.signed)
        keep(kept)
    # Behind what the log itself signed twice, which would show with no witness at all.
    served = open_served(raw, kept, policy)
    stated: dict[int, int] = {}

    async def ahead(index: int) -> int:
        # Asked once for each entry behind which something is earlier: a log that never was ahead is never asked.
        if index not in stated:
            stated[index] = await stated_ahead(source, kept.key, index)
        return stated[index]

    done = await _look_at_entries(tree, kept, keep, progress, ahead)
    done = replace(done, verified=tree.signed)
    keep(done)
    await check_listed(source, tree, kept.key, done.home_keys, done.position)
    return Report(served, done, done.position - kept.position)


def open_served(raw: str, kept: Followed, policy: Policy) -> SignedCheckpoint:
    """The checkpoint in an answer. Raises LogFinding("bad_checkpoint" | "too_few_witnesses")."""
    try:
        served = open_checkpoint(raw, kept.key, policy.witnesses)
    except Refused as fault:
        raise LogFinding("bad_checkpoint", fault.detail or fault.title.rstrip("."), evidence=(raw,)) from None
    if not is_witnessed(served, policy):
        told = f"{len(served.cosigned)} of {len(policy.witnesses)} did, {policy.least} must"
        raise LogFinding("too_few_witnesses", told, at=served.size, evidence=(raw,))
    return served


# --- one history


async def _one_history(source: LogSource, seen: SignedCheckpoint | None, served: SignedCheckpoint) -> ServedTree:
    """The larger of the two trees, once it was proved to begin with the smaller one."""
    if seen is None or seen.size < served.size:
        tree = await open_tree(source, served)
        await _begins_with(tree, seen)
        return tree
    if seen.size == served.size:
        if seen.root != served.root:
            raise _forked(seen, served, ())
        return await open_tree(source, served)
    # What is served may lag a little behind a receipt's checkpoint. Then the larger tree must be there all the same.
    try:
        tree = await open_tree(source, seen)
        await _begins_with(tree, served)
        return tree
    except LogFinding as finding:
        if finding.code == "forked":
            raise
        told = f"{served.size} entries after {seen.size}"
        raise LogFinding("rolled_back", told, at=served.size, evidence=(seen.raw, served.raw)) from finding


async def _begins_with(tree: ServedTree, older: SignedCheckpoint | None) -> None:
    """Holds the tree against one that must be its beginning. Raises LogFinding("forked")."""
    size, root = (0, EMPTY_ROOT) if older is None else (older.size, older.root)
    node = await tree.nodes(
        needed_nodes(lambda node: (prove_consistency(size, tree.size, node), root_of(size, node))),
    )
    proof = prove_consistency(size, tree.size, node)
    if not check_consistency(size, root, tree.size, tree.signed.root, proof):
        assert older is not None
        # Every node was held against the signed root, so this is what the log signed the second time.
        begins = f"{size} {_base64(root_of(size, node))}\n"
        raise _forked(older, tree.signed, (begins, "".join(f"{_base64(it)}\n" for it in proof)))


def _forked(one: SignedCheckpoint, other: SignedCheckpoint, proof: tuple[str, ...]) -> LogFinding:
    evidence = [one.raw, other.raw]
    if proof:
        larger = max(one.size, other.size)
        evidence.append(f"The tree of {larger} entries begins with one of this size and root:\n\n{proof[0]}")
        evidence.append(f"as this proof of consistency shows (RFC 6962 section 2.1.2):\n\n{proof[1]}")
    told = f"one of {one.size} entries, and one of {other.size} that does not fit to it"
    return LogFinding("forked", told, at=other.size, evidence=tuple(evidence))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# --- the entries


async def _look_at_entries(tree: ServedTree, kept: Followed, keep: Keep, progress: Progress, ahead: Ahead) -> Followed:
    """What is known once every entry from `kept.position` on was looked at. What was looked at is kept, also when it
    ends early."""
    kinds, position, before = Counter(kept.kinds), kept.position, Latest(kept.minute, kept.latest)
    home, home_keys = home_of(kept.key.name), list(kept.home_keys)
    progress(position, tree.size)
    if position == tree.size:
        return kept

    def now() -> Followed:
        done = replace(kept, position=position, minute=before.minute, latest=before.number, kinds=dict(kinds))
        return replace(done, home_keys=tuple(home_keys))

    try:
        async with aclosing(tree.bundles(position)) as bundles:
            async for bundle in bundles:
                looked = await _look_at(tree, bundle, position - bundle.first, before, ahead)
                kinds.update({Kind(kind): looked.kinds.count(kind) for kind in set(looked.kinds)})
                home_keys += own_keys(bundle, looked.kinds, position - bundle.first, home)
                if len(home_keys) > MOST_STATEMENTS:
                    raise LogFinding("withheld_key", f"more than {MOST_STATEMENTS} statements", at=home_keys[-1])
                before = before.after(looked.minutes, position)
                position = bundle.first + bundle.tile.width
                progress(position, tree.size)
                if bundle.tile.number % KEPT_EVERY == KEPT_EVERY - 1:
                    keep(now())
    except BaseException:
        # What ended it is what must be told, even if the disk is full as well.
        with suppress(ComityError):
            keep(now())
        raise
    return now()


class Latest(NamedTuple):
    """The latest minute of the entries so far, and the number of the last that has it."""

    minute: int
    number: int

    def after(self, minutes: Sequence[int], first: int) -> Latest:
        """The same, once entries of these minutes came behind, from number `first` on."""
        most = max(minutes)
        return self if most < self.minute else Latest(most, first + len(minutes) - 1 - minutes[::-1].index(most))


@dataclass(frozen=True, slots=True)
class Looked:
    """What a bundle's entries say, in their order: one byte of kind and one time (minutes) for each."""

    kinds: bytes
    minutes: tuple[int, ...]


async def _look_at(tree: ServedTree, bundle: Bundle, skip: int, before: Latest, ahead: Ahead) -> Looked:
    """The entries of a bundle from number `skip` on, and what was before them.

    Raises LogFinding("bad_entry" | "time_back"), with proofs that anybody can check.
    """
    looked = read_regular(bundle)
    if looked is None:
        entries = bundle.entries()
        for at, entry in enumerate(entries):
            try:
                parse_entry(entry)
            except Malformed as fault:
                index = bundle.first + at
                proof = await tree.proof_of(index)
                raise LogFinding("bad_entry", f"entry {index}: {fault.detail}", at=index, evidence=(proof,)) from None
        read = [parse_entry(entry) for entry in entries]
        looked = Looked(bytes(it.kind for it in read), tuple(it.time for it in read))
    looked = Looked(looked.kinds[skip:], looked.minutes[skip:])
    if looked.minutes[0] < before.minute or sorted(looked.minutes) != list(looked.minutes):
        for index, minute in enumerate(looked.minutes, bundle.first + skip):
            if minute < before.minute - MOST_BACK and before.minute > await ahead(before.number):
                raise await _time_back(tree, before, index, minute)
            before = before.after((minute,), index)
    return looked


async def _time_back(tree: ServedTree, before: Latest, index: int, minute: int) -> LogFinding:
    evidence = [await tree.proof_of(at) for at in (before.number, index)]
    told = f"entry {index} is {before.minute - minute} minutes earlier than entry {before.number}"
    return LogFinding("time_back", told, at=index, evidence=tuple(evidence))


# The same rules as in `parse_entry`, for a whole bundle at a time: a kind's bytes lie 61 bytes apart.
_STRIDE = LENGTH + 2
_TIMES = struct.Struct(">" + "5xII48x" * WIDTH)
_ANY_KIND = bytes(Kind)
_HAS_SIDE_KIND = bytes(kind not in SIDELESS for kind in range(256))
_HAS_SIDE = bytes([0, 1, 1]) + b"\2" * 253
_VERSIONS = bytes([VERSION]) * WIDTH
_MAY_END = frozenset({int(Kind.MUTE_ALL)})


def read_regular(bundle: Bundle) -> Looked | None:
    """What the entries of a bundle say, or None where `parse_entry` must decide about each."""
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
    return Looked(kinds, numbers[0 : 2 * width : 2])
