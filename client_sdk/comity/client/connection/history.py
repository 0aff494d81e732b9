"""What happened in one connection, as this side can prove it.

A ledger holds the server's events and the acts they are about, in the order in which they took effect,
and the state that follows from them. Nothing enters that does not fit: every event is the home server's,
about this connection, in its place; every act is its side's; and each thing that the server let through
towards this side is decided again with this side's own door. What does not fit is a `Contradiction` with
the signed texts in it.
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
from comity.rules.state import Connection
from comity.transparency.server_keys import HomeKeys, open_home_event

_AT_THE_DOOR = frozenset({"message", "ask", "remember", "milestone"})
"""Own acts that the other side's door has a say in."""
_UNSEEN = frozenset({"not_now", "hold_full", "over_budget"})
"""Refusals that this side cannot foresee about its own acts: they rest on what only the other side set."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: the event, its text, and the act where this side has it."""

    event: Event
    raw: str
    act: SignedAct | None = None

    @property
    def at(self) -> int:
        """When it took effect (ms)."""
        return self.event.at

    @property
    def evidence(self) -> tuple[str, ...]:
        """The signed texts."""
        return (self.raw,) if self.act is None else (self.raw, self.act.raw)


class Ledger:
    """The lines of one connection and the state after them; `read` and `enter` are the only way in."""

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
        self.start = self._opening()
        self.state = self.start
        self.lines: list[Line] = []
        self.restored_at = 0
        """When the server last stated that its store was restored (ms); 0 for never."""
        self.left_out: list[int] = []
        """The times of lines that count no more, and are to be forgotten."""
        self._times: list[int] = []
        self._by_act: dict[str, int] = {}

    @property
    def cid(self) -> str:
        """The connection."""
        return self.agreement.cid

    def _opening(self) -> Connection:
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

    # --- in ---

    def read(self, raw: str, act: str | SignedAct | None = None) -> Line:
        """The line that these texts make, believed only as far as the signatures go. Raises Contradiction."""
        try:
            event = open_home_event(raw, self._home_keys()).event
        except Refused as fault:
            raise Contradiction(f"not a statement of the home server: {fault}", (raw,)) from None
        if not event.is_about(self.cid) or event.iss != self.agreement.agreement.home.did:
            raise Contradiction("the event is about another connection", (raw,))
        if act is None:
            return Line(event, raw)
        try:
            opened = act if isinstance(act, SignedAct) else open_act(act, self._keys.get)
        except Refused as fault:
            raise Contradiction(f"an act that its side did not sign: {fault}", (raw, str(act))) from None
        if not isinstance(event, Accepted | Delivered | Expired) or opened.id != event.act:
            raise Contradiction("the event is about another act", (raw, opened.raw))
        return Line(event, raw, opened)

    def enter(self, line: Line) -> list[Line]:
        """Takes the line into its place and checks everything after it again. Returns the lines that are new or
        fuller than before: none for one that was there. Raises Contradiction and changes nothing then."""
        if isinstance(line.event, Opened):
            if line.raw != self.opened.raw:
                raise Contradiction("the connection was opened twice", (self.opened.raw, line.raw))
            return []
        place = bisect_left(self._times, line.at)
        known = self.lines[place] if place < len(self.lines) and self._times[place] == line.at else None
        if known is not None and known.raw != line.raw:
            raise Contradiction("two things happened at one time", (*known.evidence, *line.evidence))
        fuller = self._with_delivered(line)
        if known is not None and not fuller:
            if known.act is not None or line.act is None or not isinstance(line.event, Accepted):
                return []
            fuller = [(place, line)]
        lines = list(self.lines)
        for index, full in fuller:
            lines[index] = full
        stale = self._accepted_anew(line)
        if stale is not None:
            del lines[stale]
            place -= 1
        if known is None:
            lines.insert(place, replace(line, act=line.act if isinstance(line.event, Accepted) else None))
        gone = [] if stale is None else [self.lines[stale].at]
        first = min([place, *(index for index, _ in fuller), *([] if stale is None else [stale])])
        self._adopt(lines, first)
        self.left_out += gone
        return [full for _, full in fuller] + ([line] if known is None else [])

    def leave_out(self, lost: Collection[int]) -> None:
        """Goes on without the lines of those times, which the server lost with a restore and cannot take back any more
        (REC-9). Raises Contradiction where the rest does not hold together without them."""
        first = next((at for at, line in enumerate(self.lines) if line.at in lost), len(self.lines))
        self._adopt([line for line in self.lines if line.at not in lost], first)
        self.left_out += lost

    def _accepted_anew(self, line: Line) -> int | None:
        """The place of an earlier acceptance of the same act, where a server that was restored since has accepted it
        anew: the later one counts (REC-9)."""
        at = self._by_act.get(line.event.act) if isinstance(line.event, Accepted) else None
        if at is None or self.lines[at].raw == line.raw:
            return None
        restores = (it.at for it in self.lines if isinstance(it.event, Restored))
        return at if any(self.lines[at].at < restored <= line.at for restored in restores) else None

    def _with_delivered(self, line: Line) -> list[tuple[int, Line]]:
        """A delivery brings the act that its acceptance had to leave out."""
        event = line.event
        if not isinstance(event, Delivered | Expired):
            return []
        at = self._by_act.get(event.act)
        if at is None:
            raise Contradiction("the event is about an act that was never accepted", line.evidence)
        accepted = self.lines[at]
        if isinstance(event, Delivered) and accepted.act is None and line.act is None:
            raise Contradiction("a delivery without its message", (*accepted.evidence, *line.evidence))
        if line.act is None or accepted.act is not None:
            return []
        return [(at, replace(accepted, act=line.act))]

    def _adopt(self, lines: list[Line], first: int) -> None:
        """Folds again from `first` on, and keeps the result only if all of it holds."""
        whole, restored_at = first == len(self.lines), self._restored(lines[first:])
        state, start = (self.state, first) if whole else (self.start, 0)
        for index in range(start, len(lines)):
            line = lines[index]
            if index >= first:
                self._check(state, lines, index)
            state = _folded(state, line, restored_at)
        for line in lines[first:]:
            if line.act is not None and isinstance(line.act.payload, Rotate):
                self._keys[line.act.payload.kid] = PublicKey.of_multibase(line.act.payload.key)
        self.lines, self.state, self.restored_at = lines, state, restored_at
        if whole:
            self._note(first, lines[first:])
        else:
            self._times.clear()
            self._by_act.clear()
            self._note(0, lines)

    def _restored(self, lines: Iterable[Line]) -> int:
        """When the server last stated that its store was restored, with these further lines; 0 for never."""
        return max([self.restored_at, *(line.at for line in lines if isinstance(line.event, Restored))])

    def _note(self, start: int, lines: Iterable[Line]) -> None:
        for index, line in enumerate(lines, start):
            self._times.append(line.at)
            if isinstance(line.event, Accepted):
                self._by_act[line.event.act] = index

    def load(self, kept: Iterable[tuple[str, str | None]]) -> None:
        """Takes back what this wallet checked and kept before."""
        for raw, act in kept:
            line = self.read(raw, act)
            if line.act is not None and isinstance(line.act.payload, Rotate):
                self._keys[line.act.payload.kid] = PublicKey.of_multibase(line.act.payload.key)
            self.lines.append(line)
        self.restored_at = self._restored(self.lines)
        for line in self.lines:
            self.state = _folded(self.state, line, self.restored_at)
        self._note(0, self.lines)

    def line_of(self, id_: str) -> Line | None:
        """The line of the accepted act of that id."""
        at = self._by_act.get(id_)
        return None if at is None else self.lines[at]

    def act(self, id_: str) -> SignedAct | None:
        """The accepted act of that id, where this side has it."""
        line = self.line_of(id_)
        return None if line is None else line.act

    def check_home_keys(self) -> None:
        """Holds every line against the keys of the home server as they are known now. Raises Contradiction for one by
        a key that had another in its place."""
        for line in (self.opened, *self.lines):
            try:
                open_home_event(line.raw, self._home_keys())
            except Refused as fault:
                raise Contradiction(
                    f"the home server signed with a key that it had replaced: {fault}", (line.raw,)
                ) from None

    def states(self) -> Iterator[Connection]:
        """Every state that the connection has gone through, the latest first."""
        states = [self.start]
        for line in self.lines:
            states.append(_folded(states[-1], line, self.restored_at))
        return reversed(states)

    # --- checks ---

    def _check(self, before: Connection, lines: list[Line], at: int) -> None:
        line, event = lines[at], lines[at].event
        try:
            _check_place(event, line, lines[:at])
            if isinstance(event, Restored) and event.log in {it.event.log for it in (self.opened, *lines[:at])}:
                raise Contradiction("the store was restored, and the log that begins so had begun before")
            if isinstance(event, Accepted):
                self._check_once(event, lines[at], lines[:at])
                _check_feedback(before, event, line, lines[:at])
                if before.phase == "ended" and before.restored_at and event.kind != "erasure":
                    # The server did not know of the end yet: nothing comes of it (REC-7).
                    return
                if event.side == self.side:
                    self._check_own(before, event, line)
                else:
                    self._check_theirs(before, event, line)
            elif isinstance(event, Delivered | Expired) and event.side != self.side:
                self._check_let_go(before, event)
            elif isinstance(event, MuteOver) and owner_of_mute(before, event.act) != self.side:
                raise Contradiction("false_over: it is no standing mute of this side's that is said to be over")
        except Contradiction as fault:
            raise Contradiction(fault.claim, fault.evidence or line.evidence) from None

    def _check_once(self, event: Accepted, line: Line, earlier: list[Line]) -> None:
        known = self._by_act.get(event.act)
        if known is not None and self.lines[known].raw != line.raw and self.lines[known] in earlier:
            raise Contradiction("one act was accepted twice", (*self.lines[known].evidence, *line.evidence))

    def _check_own(self, before: Connection, event: Accepted, line: Line) -> None:
        if line.act is None:
            raise Contradiction("an own act is missing")
        try:
            decide.decide(before, line.act, event.at, self._zones)
        except Refused as refused:
            if event.kind not in _AT_THE_DOOR or refused.code not in _UNSEEN:
                raise Contradiction(f"the server accepted what cannot be: {refused.code}") from None
        # What becomes of a message, and the verdict on a contact, rest on what only the other side set.
        stated, own = _stated(event), decide.Outcome()
        if event.kind == "message":
            own = own._replace(contents=contents_of(line.act.payload), outcome=stated.outcome, replaces=stated.replaces)
        elif event.kind == "contacted":
            own = own._replace(contents=contents_of(line.act.payload), verdict=stated.verdict)
        if stated != own:
            raise Contradiction("the server states something else of the act than follows from it")

    def _check_theirs(self, before: Connection, event: Accepted, line: Line) -> None:
        """What was let through towards this side, decided again with this side's own door."""
        if event.chain == "settings":
            raise Contradiction("a setting of the other side is nobody else's business")
        if line.act is not None:
            try:
                outcome = decide.decide(before, line.act, event.at, self._zones)
            except Refused as refused:
                raise Contradiction(f"the server accepted what cannot be: {refused.code}") from None
            if outcome != _stated(event):
                raise Contradiction("the server let through what this side's door decides otherwise")
            if event.contents is not None and event.outcome == "delivered":
                self._check_relied_on(before, event.contents.purpose, event)
            return
        if event.kind != "message" or event.contents is None or event.outcome not in ("held", "dropped"):
            raise Contradiction("an act of the other side is missing")
        verdict = self._verdict(before, event.contents.purpose, event.contents.topic, event.at)
        if verdict != "hold":
            raise Contradiction("the server held back what this side's door decides otherwise")

    def _check_let_go(self, before: Connection, event: Delivered | Expired) -> None:
        held = next((it for it in before.door(event.side).held if it.id == event.act), None)
        if isinstance(event, Expired) and self._may_be_lost(before, event):
            return
        if held is None:
            raise Contradiction("the event is about a message that is not held")
        verdict = self._verdict(before, held.purpose, held.topic, event.at)
        over = event.at >= held.exp * 1000
        if isinstance(event, Delivered) and (over or verdict != "allow"):
            raise Contradiction("a message was delivered against this side's door")
        if isinstance(event, Expired) and not over and verdict != "refuse":
            raise Contradiction("a message was withheld before it expired")
        if isinstance(event, Delivered):
            self._check_relied_on(before, held.purpose, event)

    def _check_relied_on(self, before: Connection, purpose: str, event: Accepted | Delivered) -> None:
        """A delivery that relies on a mute of this side's being over comes behind the entry that says so (AUD-1)."""
        place = Place(event.log, event.index)
        if event.at > self.restored_at and decide.mute_over_before(before, event.side, purpose, event.at, place):
            raise Contradiction("a message came behind a mute that was over, and the log does not say that it was")

    def _may_be_lost(self, before: Connection, event: Expired) -> bool:
        """Whether the server may lack the text of the message, or what became of it, since it was restored (REC-7,
        REC-8)."""
        accepted = self._by_act.get(event.act)
        return accepted is not None and self.lines[accepted].at < before.restored_at

    def _verdict(self, before: Connection, purpose: str, topic: str | None, at: int) -> str:
        return gate.may(before, other(self.side), purpose, "app", topic, at, self._zones).decision


def _check_place(event: Event, line: Line, earlier: list[Line]) -> None:
    """The places that a server gives in one log grow as its times do; a message that was delivered at once has two, and
    an event without an entry names the next one (EVENT-9)."""
    for before in reversed(earlier):
        it = before.event
        if it.log == event.log:
            if it.index + it.places > event.index:
                raise Contradiction("the server's numbers do not follow its times", (*before.evidence, *line.evidence))
            return


def _check_feedback(before: Connection, event: Accepted, line: Line, earlier: list[Line]) -> None:
    """That feedback is about a message that reached its side and says what it was (CONN-23)."""
    if before.phase != "open" or line.act is None or not isinstance(line.act.payload, Feedback):
        return
    named = delivered_messages(Record(it.event, it.act) for it in earlier).get(line.act.payload.message)
    try:
        check_feedback_message(before, event.side, line.act.payload, named, event.at)
    except Refused as refused:
        raise Contradiction(f"the server accepted what cannot be: {refused.code}") from None


def _stated(event: Accepted) -> decide.Outcome:
    return decide.Outcome(event.outcome, event.contents, event.replaces, event.verdict)


def _folded(state: Connection, line: Line, restored_at: int) -> Connection:
    try:
        return fold(state, Record(line.event, line.act), restored_at)
    except Contradiction as fault:
        raise Contradiction(fault.claim, fault.evidence or line.evidence) from None
