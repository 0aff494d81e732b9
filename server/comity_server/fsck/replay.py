"""Replays a connection: its acts and events in the order of their times, from the opening on."""

from collections.abc import Callable
from typing import NamedTuple

from comity.crypto.jws import FindKey
from comity.crypto.keys import PublicKey
from comity.documents.acts import Grant, Mute, Rotate, SignedAct, Unmute, open_act
from comity.documents.agreements import Agreement
from comity.documents.events import Accepted, Delivered, Event, MuteOver, Place
from comity.documents.types import Side
from comity.encoding import hash_id
from comity.errors import Contradiction, Refused
from comity.rules.decide import mute_over_before
from comity.rules.fold import Record, fold
from comity.rules.state import Connection
from comity.transparency.entries import (
    LogEntry,
    entry_of_act,
    entry_of_delivery,
    entry_of_mute_over,
    tag_key,
    tag_scope_of,
)
from comity_server.fsck.documents import Opener, purpose_of
from comity_server.fsck.entry_owners import EntryOwners
from comity_server.fsck.findings import Findings
from comity_server.fsck.snapshot import HistoryRow, Snapshot


class GivenGrant(NamedTuple):
    """A grant: its act, the side that gave it, and its end (s)."""

    act: str
    side: Side
    exp: int


class CheckContext(NamedTuple):
    """The context in which every connection is checked."""

    snapshot: Snapshot
    findings: Findings
    owners: EntryOwners
    opener: Opener
    business_key: FindKey
    """The keys of the businesses of this host."""


class _Link(NamedTuple):
    seq: int
    id: str


class Replay:
    """One connection, record by record. `state` follows from the records so far; None after a record that cannot
    follow."""

    def __init__(
        self, cid: str, agreement: Agreement | None, state: Connection | None, secret: bytes, context: CheckContext
    ) -> None:
        self.state = state
        self.grants: dict[tuple[str, int], GivenGrant] = {}
        """Every grant so far, by the URI of its status list and its index there."""
        self.acts = self.events = 0
        self._cid = cid
        self._findings = context.findings
        self._context = context
        self._tag_keys = {scope: tag_key(secret, scope) for scope in ("both", "first", "second")}
        self._at = -1
        self._restored_at: int = context.snapshot.value("last_restored", cid=cid) or 0
        self._heads: dict[tuple[str, str], _Link] = {}
        self._mutes: dict[str, Mute] = {}
        self._muted_by: dict[str, Side] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        if agreement is not None:
            self._keys = {"first": _key_of(agreement, "first"), "second": _key_of(agreement, "second")}

    def add(self, row: HistoryRow) -> None:
        """Checks the next row, of `acts` or of `events`, and folds it into the state."""
        if row.raw is None:
            self.events += 1
            self._event(row)
        else:
            self.acts += 1
            self._act(row, row.raw)

    # --- acts -------------------------------------------------------------------------------------------------------

    def _act(self, row: HistoryRow, raw: str) -> None:
        place = f"connection {self._cid} act {row.act}"
        if raw and hash_id(raw.encode("utf-8")) != row.act:
            self._findings.add(place, "its id is not the hash of its text")
        # Only the text of a held message may be lost in a restore (REC-8).
        act = self._open_act(place, raw, str(row.side)) if raw else None
        event = self._context.opener.event(f"{place} acceptance", row.event)
        if not isinstance(event, Accepted):
            self._stop_folding(place, "it has no readable acceptance")
            return
        stored = (row.act, row.side, row.chain, row.seq, row.at, self._cid)
        stated = (event.act, event.side, event.chain, event.seq, event.accepted_at, event.cid)
        names = ("act", "side", "chain", "seq", "accepted_at", "connection")
        for name, mine, theirs in zip(names, stored, stated, strict=True):
            if mine != theirs:
                self._findings.add(place, f"its row has the {name} {mine}, but its acceptance has {theirs}")
        self._check_time(place, event)
        self._check_chain(place, event, act)
        self._claim_entries(place, event, raw, act)
        self._fold(place, event, act)
        if act is not None:
            self._remember(place, event, act)

    def _open_act(self, place: str, raw: str, side: str) -> SignedAct | None:
        """The act, checked against the key that its side had at that time."""
        kid, multibase = self._keys.get(side, ("", ""))

        def find_key(wanted: str) -> PublicKey | None:
            return PublicKey.of_multibase(multibase) if wanted == kid else self._context.business_key(wanted)

        act = self._context.opener.open_or_report(place, lambda: open_act(raw, find_key))
        if act is not None and kid and (act.kid, act.key.multibase) != (kid, multibase):
            self._findings.add(place, f"it is signed with {act.kid}, but its side's key was {kid}")
        return act

    def _check_chain(self, place: str, event: Accepted, act: SignedAct | None) -> None:
        """Checks that the act follows the one before it in its chain; a revoke need not (CONN-5)."""
        before = self._heads.get((event.side, event.chain), _Link(-1, self._cid))
        self._heads[(event.side, event.chain)] = _Link(event.seq, event.act)
        if event.kind == "revoke":
            return
        if event.seq != before.seq + 1:
            fault = f"it is number {event.seq} of the {event.chain} of the {event.side} side, "
            self._findings.add(place, fault + (f"after number {before.seq}" if before.seq >= 0 else "but the first"))
        if act is not None and act.payload.prev != before.id:
            self._findings.add(place, f"it follows {act.payload.prev}, but the act before it is {before.id}")

    def _claim_entries(self, place: str, event: Accepted, raw: str, act: SignedAct | None) -> None:
        key = (self._cid, event.act)
        where = Place(event.log, event.index)
        if act is not None:
            signed, tag = act, self._tag_keys[tag_scope_of(act, event.side)]
            muted = self._mutes.get(act.payload.mute or "") if isinstance(act.payload, Unmute) else None
            self._claim(
                place, where, key, event.at, lambda salt: entry_of_act(signed, event.side, tag, salt, event.at, muted)
            )
        if event.outcome == "delivered" and event.contents is not None:
            purpose, after = event.contents.purpose, where.next()
            self._check_expired_mute(place, event.side, purpose, event)
            self._claim(place, after, key, event.at, self._delivery(raw, purpose, event.side, event.at))

    def _delivery(self, raw: str, purpose: str, side: Side, at: int) -> Callable[[bytes], LogEntry]:
        tag = self._tag_keys["both"]
        return lambda salt: entry_of_delivery(raw, purpose, side, tag, salt, at)

    def _claim(
        self, whose: str, place: Place, key: tuple[str, str], at: int, make: Callable[[bytes], LogEntry]
    ) -> None:
        self._context.owners.claim(whose, place, key, at, make)

    def _remember(self, place: str, event: Accepted, act: SignedAct) -> None:
        payload = act.payload
        if isinstance(payload, Rotate):
            self._keys[event.side] = (payload.kid, payload.key)
        elif isinstance(payload, Mute):
            self._mutes[act.id], self._muted_by[act.id] = payload, event.side
        elif isinstance(payload, Grant):
            reference = payload.status.status_list
            status_place = (reference.uri, reference.idx)
            if status_place in self.grants:
                fault = f"grant {self.grants[status_place].act} has the same index {reference.idx} of {reference.uri}"
                self._findings.add(place, fault)
            self.grants[status_place] = GivenGrant(act.id, event.side, payload.exp)

    # --- events -----------------------------------------------------------------------------------------------------

    def _event(self, row: HistoryRow) -> None:
        place = f"connection {self._cid} {row.kind} at {row.at}"
        event = self._context.opener.event(place, row.event)
        if event is None or isinstance(event, Accepted):
            self._stop_folding(place, "it is not a readable event")
            return
        about = getattr(event, "act", None)
        if (row.kind, row.at, row.act) != (event.event, event.at, about) or not event.is_about(self._cid):
            fault = f"its row says {row.kind} at {row.at} of {row.act}, but the event {event.event} at {event.at} of"
            self._findings.add(place, f"{fault} {about}, in {getattr(event, 'cid', 'an erased connection')}")
        self._check_time(place, event)
        if event.event == "opened":
            # The state begins with it.
            return
        if isinstance(event, Delivered):
            self._check_delivery(place, event)
        elif isinstance(event, MuteOver):
            self._check_mute_over(place, event)
        self._fold(place, event, None)

    def _check_mute_over(self, place: str, event: MuteOver) -> None:
        raw = self._context.snapshot.value("get_raw", cid=self._cid, id=event.by)
        side = self._muted_by.get(event.act)
        if not isinstance(raw, str) or side is None:
            self._findings.add(place, f"the mute {event.act}, or the act {event.by} that it is noted with, is missing")
            return
        tag = self._tag_keys["both"]
        where, key = Place(event.log, event.index), (self._cid, event.by)
        self._claim(place, where, key, event.at, lambda salt: entry_of_mute_over(raw, side, tag, salt, event.at))

    def _check_expired_mute(self, place: str, side: Side, purpose: str, event: Accepted | Delivered) -> None:
        """Checks that each delivery after an expired mute has the entry that notes the expiry (AUD-1)."""
        if self.state is None or event.at <= self._restored_at:
            return
        if mute_over_before(self.state, side, purpose, event.at, Place(event.log, event.index)) is not None:
            self._findings.add(place, "it was delivered after a mute had expired, but no entry notes the expiry")

    def _check_delivery(self, place: str, event: Delivered) -> None:
        raw = self._context.snapshot.value("get_raw", cid=self._cid, id=event.act)
        if not isinstance(raw, str):
            self._findings.add(place, f"the message {event.act} is missing")
            return
        try:
            purpose = purpose_of(raw)
        except Refused:
            # The check of the message itself reports that.
            return
        self._check_expired_mute(place, event.side, purpose, event)
        make = self._delivery(raw, purpose, event.side, event.at)
        self._claim(place, Place(event.log, event.index), (self._cid, event.act), event.at, make)

    # --- both -------------------------------------------------------------------------------------------------------

    def _check_time(self, place: str, event: Event) -> None:
        if event.at <= self._at:
            self._findings.add(
                place, f"its time {event.at} is not later than {self._at}, the time of the record before it"
            )
        self._at = max(self._at, event.at)

    def _fold(self, place: str, event: Event, act: SignedAct | None) -> None:
        if self.state is None:
            return
        try:
            self.state = fold(self.state, Record(event, act), self._restored_at)
        except Contradiction as fault:
            self._stop_folding(place, str(fault))

    def _stop_folding(self, place: str, reason: str) -> None:
        if self.state is not None:
            self._findings.add(place, f"{reason}; the connection's later state cannot be derived")
        self.state = None


def _key_of(agreement: Agreement, side: Side) -> tuple[str, str]:
    party = agreement.party(side)
    return party.kid, party.key
