"""What anybody names who reads the log alone (spec/log.md, "What the log shows"), and what a reader names who can join
the weeks of a connection; written from the table of kinds, for entries as a home server makes them."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from comity.documents.events import Accepted, Delivered, MuteOver, Opened
from comity.documents.types import Side, other
from comity.rules.fold import Record, fold, initial_state
from comity.rules.mute_over import owner_of_mute
from comity.transparency.entries import (
    Kind,
    LogEntry,
    entry_of_act,
    entry_of_delivery,
    entry_of_mute_over,
    named_mute,
    tag_scope_of,
)
from support.parties import Pair

SALT = bytes(32)


class Entered(NamedTuple):
    """An entry, with when (ms) it was entered and of which connection."""

    at: int
    connection: str
    entry: LogEntry


def entries(pair: Pair, name: str = "") -> list[Entered]:
    """The entries of a connection, as its server makes them; settings under a key of their owner. `name`: another one
    for each connection of a log."""
    opened = pair.records[0].event
    assert isinstance(opened, Opened)
    state, found = initial_state(pair.agreement, opened), list[Entered]()
    keys = {scope: sha256(f"{name} {scope}".encode()).digest() for scope in ("both", "first", "second")}
    acts = {act.id: act for _, act in pair.records if act is not None}
    for event, act in pair.records[1:]:
        made = list[LogEntry]()
        if isinstance(event, Accepted) and act is not None:
            muted = named_mute(act, state.door(event.side).mutes)
            made.append(entry_of_act(act, event.side, keys[tag_scope_of(act, event.side)], SALT, event.at, muted))
        if isinstance(event, Delivered) or (isinstance(event, Accepted) and event.outcome == "delivered"):
            sent = acts[event.act]
            made.append(
                entry_of_delivery(sent.raw, sent.payload.purpose, event.side, keys["both"], SALT, event.at)  # type: ignore[union-attr]
            )
        if isinstance(event, MuteOver):
            owner = owner_of_mute(state, event.act)
            assert owner is not None
            made.append(entry_of_mute_over(acts[event.by].raw, owner, keys["both"], SALT, event.at))
        found += [Entered(event.at, name, entry) for entry in made]
        state = fold(state, Record(event, act))
    return found


def week_by_week(entered: Entered) -> Hashable:
    """As somebody joins entries who has no key: by the tag, which is another one each week."""
    return entered.entry.tag


def joined(entered: Entered) -> Hashable:
    """As somebody joins them who has the keys of all connections; settings stand apart."""
    return entered.connection if entered.entry.kind is not Kind.PRIVATE else None


@dataclass
class _Seen:
    """What a reader keeps of one tag."""

    revoked: bool = False
    standing: dict[Side, int] = field(default_factory=dict)
    """The sides whose mute of everything is not over, with the end that it shows (hours), or 0."""
    accepted: dict[Side, int] = field(default_factory=lambda: defaultdict(int))
    delivered: dict[Side, int] = field(default_factory=lambda: defaultdict(int))


_AFTER_THE_END = frozenset({Kind.ACT, Kind.ERASED, Kind.DISCLOSED, Kind.PRIVATE})
"""Kinds that may come behind a revoke: statements of erasure are acts."""


def findings(log: Iterable[Entered], join: Callable[[Entered], Hashable]) -> list[tuple[int, str]]:
    """What does not fit: (number of the entry, its code), in the order of the log."""
    seen, found = defaultdict[Hashable, _Seen](_Seen), list[tuple[int, str]]()
    for number, entered in enumerate(log):
        of_tag, kind, side = seen[join(entered)], entered.entry.kind, entered.entry.side
        if side is None:
            continue
        code = _fault(of_tag, entered.entry, side, with_keys=join is joined)
        if code is not None:
            found.append((number, code))
        if kind is Kind.REVOKE:
            of_tag.revoked = True
        elif kind is Kind.MUTE_ALL:
            of_tag.standing[side] = entered.entry.until
        elif kind in (Kind.UNMUTE, Kind.MUTE_OVER):
            of_tag.standing.pop(side, None)
        elif kind is Kind.ACT:
            of_tag.accepted[side] += 1
        elif kind in (Kind.DELIVERED, Kind.DELIVERED_EXEMPT):
            of_tag.delivered[side] += 1
    return found


def _fault(seen: _Seen, entry: LogEntry, side: Side, *, with_keys: bool) -> str | None:
    is_delivery = entry.kind in (Kind.DELIVERED, Kind.DELIVERED_EXEMPT)
    if seen.revoked and is_delivery:
        return "delivered_after_revoke"
    if seen.revoked and entry.kind not in _AFTER_THE_END:
        return "acted_after_revoke"
    if entry.kind is Kind.DELIVERED and other(side) in seen.standing:
        return "delivered_in_mute"
    if entry.kind is Kind.MUTE_OVER and entry.time < seen.standing.get(side, 0) * 60:
        return "ended_early"
    if with_keys and entry.kind is Kind.MUTE_OVER and side not in seen.standing:
        return "over_without_mute"
    if with_keys and is_delivery and seen.delivered[side] >= seen.accepted[side]:
        return "delivered_nothing"
    return None
