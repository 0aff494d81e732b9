"""The history of one connection, as this side can prove it.

A history holds the server's events and the acts they are about, in the order in which they took effect, and the state
that follows from them. A record enters only if it fits: every event is the home server's, about this connection, in its
place; every act is its side's; and each message and act that the server let through towards this side is decided again
with this side's own permissions. Anything else is a `Contradiction` with the signed texts in it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from comity.crypto.keys import PublicKey
from comity.documents.acts import Feedback, Rotate, SignedAct, open_act
from comity.documents.agreements import CLOCK_SKEW, SignedAgreement
from comity.documents.events import Accepted, Delivered, Event, Expired, MuteOver, Opened, Place, Restored
from comity.documents.hours import ZoneRules
from comity.documents.types import Side, other
from comity.errors import Contradiction, Refused
from comity.rules import decide, gate
from comity.rules.feedback import check_feedback_message, delivered_messages
from comity.rules.fold import Record, contents_of, fold, initial_state
from comity.rules.mute_over import owner_of_mute
from comity.rules.state import Connection as ConnectionState
from comity.transparency.server_keys import HomeKeys, open_home_event

_NEEDS_PERMISSION = frozenset({"message", "ask", "remember", "milestone"})
"""Own acts that depend on the other side's permissions."""
_UNFORESEEABLE = frozenset({"not_now", "hold_full", "over_budget"})
"""Refusals of own acts that this side cannot foresee: they depend on settings that only the other side knows."""


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """One event with its text, and the act where this side has it."""

    event: Event
    raw: str
    act: SignedAct | None = None

    @property
    def at(self) -> int:
        """The time (ms) at which it took effect."""
        return self.event.at

    @property
    def evidence(self) -> tuple[str, ...]:
        """The signed texts."""
        return (self.raw,) if self.act is None else (self.raw, self.act.raw)


class History:
    """The records of one connection and the state after them; records are added by `read` and `enter` alone."""

    def __init__(
        self, agreement: SignedAgreement, side: Side, home_keys: Callable[[], HomeKeys], opened: str, zones: ZoneRules
    ) -> None:
        self.agreement = agreement
        self.side = side
        self._home_keys = home_keys
        self._zones = zones
        self._keys: dict[str, PublicKey] = {}
        for party in (agreement.agreement.offerer, agreement.agreement.accepter):
            self._keys[party.kid] = PublicKey.of_multibase(party.key)
        self.opened = self.read(opened)
        self.start = self._open_state()
        self.state = self.start
        self.records: list[HistoryRecord] = []
        self.restored_at = 0
        """The time (ms) of the last restore that the server stated; 0 for none."""
        self.removed: list[int] = []
        """The times of records that were removed and are still to be deleted from the file."""
        self._times: list[int] = []
        self._by_act: dict[str, int] = {}

    @property
    def cid(self) -> str:
        """The connection's id."""
        return self.agreement.cid

    def _open_state(self) -> ConnectionState:
        event = self.opened.event
        if not isinstance(event, Opened):
            raise Contradiction("the event does not open the connection", self.opened.evidence)
        agreed = self.agreement.agreement
        if event.at < (agreed.iat - CLOCK_SKEW) * 1000 or event.at > (agreed.countersign_by + CLOCK_SKEW) * 1000:
            raise Contradiction("the connection was opened outside its time", self.opened.evidence)
        try:
            return initial_state(self.agreement, event)
        except Contradiction as fault:
            raise Contradiction(fault.claim, self.opened.evidence) from None

    # --- adding records ---

    def read(self, raw: str, act: str | SignedAct | None = None) -> HistoryRecord:
        """The record that these texts make, with the signatures checked and nothing else. Raises Contradiction."""
        try:
            event = open_home_event(raw, self._home_keys()).event
        except Refused as fault:
            raise Contradiction(f"not a statement of the home server: {fault}", (raw,)) from None
        if not event.is_about(self.cid) or event.iss != self.agreement.agreement.home.did:
            raise Contradiction("the event is about another connection", (raw,))
        if act is None:
            return HistoryRecord(event, raw)
        try:
            opened = act if isinstance(act, SignedAct) else open_act(act, self._keys.get)
        except Refused as fault:
            raise Contradiction(f"an act that its side did not sign: {fault}", (raw, str(act))) from None
        if not isinstance(event, Accepted | Delivered | Expired) or opened.id != event.act:
            raise Contradiction("the event is about another act", (raw, opened.raw))
        return HistoryRecord(event, raw, opened)

    def enter(self, record: HistoryRecord) -> list[HistoryRecord]:
        """Enters the record in its place and checks every later one again. Returns the records that are new or more
        complete than before; none where nothing changed. Raises Contradiction, and then changes nothing."""
        if isinstance(record.event, Opened):
            if record.raw != self.opened.raw:
                raise Contradiction("the connection was opened twice", (self.opened.raw, record.raw))
            return []
        place = bisect_left(self._times, record.at)
        known = self.records[place] if place < len(self.records) and self._times[place] == record.at else None
        if known is not None and known.raw != record.raw:
            raise Contradiction("two things happened at one time", (*known.evidence, *record.evidence))
        fuller = self._add_delivered_act(record)
        if known is not None and not fuller:
            if known.act is not None or record.act is None or not isinstance(record.event, Accepted):
                return []
            fuller = [(place, record)]
        records = list(self.records)
        for index, full in fuller:
            records[index] = full
        stale = self._earlier_acceptance(record)
        if stale is not None:
            del records[stale]
            place -= 1
        if known is None:
            records.insert(place, replace(record, act=record.act if isinstance(record.event, Accepted) else None))
        gone = [] if stale is None else [self.records[stale].at]
        first = min([place, *(index for index, _ in fuller), *([] if stale is None else [stale])])
        self._adopt(records, first)
        self.removed += gone
        return [full for _, full in fuller] + ([record] if known is None else [])

    def remove(self, lost: Collection[int]) -> None:
        """Removes the records of these times, which the server lost in a restore and no longer accepts (REC-9). Raises
        Contradiction where the other records do not fit together without them."""
        first = next((at for at, record in enumerate(self.records) if record.at in lost), len(self.records))
        self._adopt([record for record in self.records if record.at not in lost], first)
        self.removed += lost

    def _earlier_acceptance(self, record: HistoryRecord) -> int | None:
        """The index of an earlier acceptance of the same act, where a server that was restored since has accepted it
        again: the later one counts (REC-9)."""
        at = self._by_act.get(record.event.act) if isinstance(record.event, Accepted) else None
        if at is None or self.records[at].raw == record.raw:
            return None
        restores = (it.at for it in self.records if isinstance(it.event, Restored))
        return at if any(self.records[at].at < restored <= record.at for restored in restores) else None

    def _add_delivered_act(self, record: HistoryRecord) -> list[tuple[int, HistoryRecord]]:
        """The acceptance with its act, which the delivery brings, with its index."""
        event = record.event
        if not isinstance(event, Delivered | Expired):
            return []
        at = self._by_act.get(event.act)
        if at is None:
            raise Contradiction("the event is about an act that was never accepted", record.evidence)
        accepted = self.records[at]
        if isinstance(event, Delivered) and accepted.act is None and record.act is None:
            raise Contradiction("a delivery without its message", (*accepted.evidence, *record.evidence))
        if record.act is None or accepted.act is not None:
            return []
        return [(at, replace(accepted, act=record.act))]

    def _adopt(self, records: list[HistoryRecord], first: int) -> None:
        """Folds the records again from `first` on, and keeps the result only if all of them fit."""
        whole, restored_at = first == len(self.records), self._last_restore(records[first:])
        state, start = (self.state, first) if whole else (self.start, 0)
        for index in range(start, len(records)):
            record = records[index]
            if index >= first:
                self._check(state, records, index)
            state = _fold_record(state, record, restored_at)
        for record in records[first:]:
            if record.act is not None and isinstance(record.act.payload, Rotate):
                self._keys[record.act.payload.kid] = PublicKey.of_multibase(record.act.payload.key)
        self.records, self.state, self.restored_at = records, state, restored_at
        if whole:
            self._index(first, records[first:])
        else:
            self._times.clear()
            self._by_act.clear()
            self._index(0, records)

    def _last_restore(self, records: Iterable[HistoryRecord]) -> int:
        """The time (ms) of the server's last restore, including these records; 0 for none."""
        return max([self.restored_at, *(record.at for record in records if isinstance(record.event, Restored))])

    def _index(self, start: int, records: Iterable[HistoryRecord]) -> None:
        for index, record in enumerate(records, start):
            self._times.append(record.at)
            if isinstance(record.event, Accepted):
                self._by_act[record.event.act] = index

    def load(self, kept: Iterable[tuple[str, str | None]]) -> None:
        """Loads the records that this wallet checked and stored before."""
        for raw, act in kept:
            record = self.read(raw, act)
            if record.act is not None and isinstance(record.act.payload, Rotate):
                self._keys[record.act.payload.kid] = PublicKey.of_multibase(record.act.payload.key)
            self.records.append(record)
        self.restored_at = self._last_restore(self.records)
        for record in self.records:
            self.state = _fold_record(self.state, record, self.restored_at)
        self._index(0, self.records)

    def record_of(self, id_: str) -> HistoryRecord | None:
        """The record of the accepted act of that id."""
        at = self._by_act.get(id_)
        return None if at is None else self.records[at]

    def act(self, id_: str) -> SignedAct | None:
        """The accepted act of that id, where this side has it."""
        record = self.record_of(id_)
        return None if record is None else record.act

    def check_home_keys(self) -> None:
        """Checks every record against the home server's keys as they are known now. Raises Contradiction for one by a
        key that had been replaced."""
        for record in (self.opened, *self.records):
            try:
                open_home_event(record.raw, self._home_keys())
            except Refused as fault:
                raise Contradiction(
                    f"the home server signed with a key that it had replaced: {fault}", (record.raw,)
                ) from None

    def states(self) -> Iterator[ConnectionState]:
        """Every state that the connection has passed through, the latest first."""
        states = [self.start]
        for record in self.records:
            states.append(_fold_record(states[-1], record, self.restored_at))
        return reversed(states)

    # --- checks ---

    def _check(self, before: ConnectionState, records: list[HistoryRecord], at: int) -> None:
        record, event = records[at], records[at].event
        try:
            _check_place(event, record, records[:at])
            if isinstance(event, Restored) and event.log in {it.event.log for it in (self.opened, *records[:at])}:
                raise Contradiction("the restored store continues in a log that existed before")
            if isinstance(event, Accepted):
                self._check_once(event, records[at], records[:at])
                _check_feedback(before, event, record, records[:at])
                if before.phase == "ended" and before.restored_at and event.kind != "erasure":
                    # The restored server did not know of the end: the act has no effect (REC-7).
                    return
                if event.side == self.side:
                    self._check_own(before, event, record)
                else:
                    self._check_other(before, event, record)
            elif isinstance(event, Delivered | Expired) and event.side != self.side:
                self._check_release(before, event)
            elif isinstance(event, MuteOver) and owner_of_mute(before, event.act) != self.side:
                raise Contradiction("false_over: the event ends no mute of this side that is in force")
        except Contradiction as fault:
            raise Contradiction(fault.claim, fault.evidence or record.evidence) from None

    def _check_once(self, event: Accepted, record: HistoryRecord, earlier: list[HistoryRecord]) -> None:
        known = self._by_act.get(event.act)
        if known is not None and self.records[known].raw != record.raw and self.records[known] in earlier:
            raise Contradiction("one act was accepted twice", (*self.records[known].evidence, *record.evidence))

    def _check_own(self, before: ConnectionState, event: Accepted, record: HistoryRecord) -> None:
        if record.act is None:
            raise Contradiction("an own act is missing")
        try:
            decide.decide(before, record.act, event.at, self._zones)
        except Refused as refused:
            if event.kind not in _NEEDS_PERMISSION or refused.code not in _UNFORESEEABLE:
                raise Contradiction(f"the server accepted an act that the rules refuse: {refused.code}") from None
        # The outcome of a message and the verdict on a contact depend on settings that only the other side knows.
        stated, own = _stated_outcome(event), decide.Outcome()
        if event.kind == "message":
            own = own._replace(
                contents=contents_of(record.act.payload), outcome=stated.outcome, replaces=stated.replaces
            )
        elif event.kind == "contacted":
            own = own._replace(contents=contents_of(record.act.payload), verdict=stated.verdict)
        if stated != own:
            raise Contradiction("the server states an outcome that does not follow from the act")

    def _check_other(self, before: ConnectionState, event: Accepted, record: HistoryRecord) -> None:
        """Decides again, with this side's own permissions, an act that the server let through towards this side."""
        if event.chain == "settings":
            raise Contradiction("the server shows a setting of the other side")
        if record.act is not None:
            try:
                outcome = decide.decide(before, record.act, event.at, self._zones)
            except Refused as refused:
                raise Contradiction(f"the server accepted an act that the rules refuse: {refused.code}") from None
            if outcome != _stated_outcome(event):
                raise Contradiction("the server let an act through against this side's permissions")
            if event.contents is not None and event.outcome == "delivered":
                self._check_relied_on(before, event.contents.purpose, event)
            return
        if event.kind != "message" or event.contents is None or event.outcome not in ("held", "dropped"):
            raise Contradiction("an act of the other side is missing")
        verdict = self._verdict(before, event.contents.purpose, event.contents.topic, event.at)
        if verdict != "hold":
            raise Contradiction("the server held a message back against this side's permissions")

    def _check_release(self, before: ConnectionState, event: Delivered | Expired) -> None:
        held = next((it for it in before.door(event.side).held if it.id == event.act), None)
        if isinstance(event, Expired) and self._may_be_lost(before, event):
            return
        if held is None:
            raise Contradiction("the event is about a message that is not held")
        verdict = self._verdict(before, held.purpose, held.topic, event.at)
        over = event.at >= held.exp * 1000
        if isinstance(event, Delivered) and (over or verdict != "allow"):
            raise Contradiction("a message was delivered against this side's permissions")
        if isinstance(event, Expired) and not over and verdict != "refuse":
            raise Contradiction("a message was withheld before it expired")
        if isinstance(event, Delivered):
            self._check_relied_on(before, held.purpose, event)

    def _check_relied_on(self, before: ConnectionState, purpose: str, event: Accepted | Delivered) -> None:
        """Raises Contradiction for a delivery after the end of this side's mute without an earlier entry that states
        the end (AUD-1)."""
        place = Place(event.log, event.index)
        if event.at > self.restored_at and decide.mute_over_before(before, event.side, purpose, event.at, place):
            raise Contradiction("a message was delivered after the end of a mute that the log does not state")

    def _may_be_lost(self, before: ConnectionState, event: Expired) -> bool:
        """Whether the server may lack the text of the message, or its outcome, since a restore (REC-7, REC-8)."""
        accepted = self._by_act.get(event.act)
        return accepted is not None and self.records[accepted].at < before.restored_at

    def _verdict(self, before: ConnectionState, purpose: str, topic: str | None, at: int) -> str:
        return gate.may(before, other(self.side), purpose, "app", topic, at, self._zones).decision


def _check_place(event: Event, record: HistoryRecord, earlier: list[HistoryRecord]) -> None:
    """Raises Contradiction unless the places in one log increase with the times. A message that was delivered at once
    has two places, and an event without an entry names the next one (EVENT-9)."""
    for before in reversed(earlier):
        if before.event.log == event.log:
            if before.event.index + before.event.places > event.index:
                raise Contradiction(
                    "the server's numbers do not follow its times", (*before.evidence, *record.evidence)
                )
            return


def _check_feedback(
    before: ConnectionState, event: Accepted, record: HistoryRecord, earlier: list[HistoryRecord]
) -> None:
    """Raises Contradiction unless feedback names a message that reached its side, with its true purpose (CONN-23)."""
    if before.phase != "open" or record.act is None or not isinstance(record.act.payload, Feedback):
        return
    named = delivered_messages(Record(it.event, it.act) for it in earlier).get(record.act.payload.message)
    try:
        check_feedback_message(before, event.side, record.act.payload, named, event.at)
    except Refused as refused:
        raise Contradiction(f"the server accepted an act that the rules refuse: {refused.code}") from None


def _stated_outcome(event: Accepted) -> decide.Outcome:
    return decide.Outcome(event.outcome, event.contents, event.replaces, event.verdict)


def _fold_record(state: ConnectionState, record: HistoryRecord, restored_at: int) -> ConnectionState:
    try:
        return fold(state, Record(record.event, record.act), restored_at)
    except Contradiction as fault:
        raise Contradiction(fault.claim, fault.evidence or record.evidence) from None
