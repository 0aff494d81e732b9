"""One group of commands on its way into one transaction.

A group is the working copy of everything that the commands in it touch: later commands see what earlier ones did.
Nothing of it is true until it is committed, and all of it is dropped if the commit fails. A command adds to the batch
only after it was decided as a whole, so one that is refused leaves nothing behind.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from comity.crypto.encryption import check_body_form
from comity.crypto.keys import Signer, is_pairwise
from comity.documents.acts import Feedback, Grant, Rotate, SignedAct, is_narrowing
from comity.documents.agreements import SignedAgreement
from comity.documents.events import (
    Accepted,
    Confirmed,
    Delivered,
    Event,
    Expired,
    MuteOver,
    Opened,
    Place,
    Restored,
    sign_event,
)
from comity.documents.offers import SHORT
from comity.documents.types import SIDES, Side, other
from comity.errors import Refused
from comity.rules import decide as rules
from comity.rules import recovery
from comity.rules.feedback import DeliveredMessage, check_feedback_message, delivered_messages
from comity.rules.fold import Record, fold
from comity.rules.mute_over import owner_of_mute
from comity.rules.state import Connection, Door, Mute, encode_state
from comity.transparency.entries import key_statement, named_mute, public_tag_key
from comity.transparency.server_keys import VerifiedStatement
from comity_server.businesses import allowances, held_texts, usage
from comity_server.businesses.api_keys import ApiKey
from comity_server.businesses.contests import is_repeated, note_contest
from comity_server.businesses.directory import Business
from comity_server.businesses.erasure_duties import changed_duties
from comity_server.limits.rate_limits import Over
from comity_server.log.appender import Additions
from comity_server.refusals import clock_doubtful
from comity_server.server_keys import EnteredHomeKey
from comity_server.store.business import Idempotent
from comity_server.store.rows import Batch, HostedKey, Reservation
from comity_server.writer import status_indexes
from comity_server.writer.context import DecisionContext
from comity_server.writer.time_lead import Leads, is_far_ahead, wake_at

DAY = 86_400_000
"""ms."""


@dataclass(slots=True)
class Answer:
    """The acceptance of an act; `event` is filled in when it is sealed. `place` is its entry's place, and `accepted`
    the accepted event if this unit of work has just decided it."""

    act: str
    event: str = ""
    place: Place | None = None
    accepted: Accepted | None = None


@dataclass(slots=True)
class UnitOfWork:
    """See the module. `now` is the time of the whole group (ms)."""

    context: DecisionContext
    now: int
    log: Additions
    news: int
    """The number of the last row of news."""
    leads: Leads = field(default_factory=Leads)
    """Each side's lead over the clock; the additions of a failed unit of work fade by themselves."""
    time_stands: bool = False
    """Whether the clock is in doubt: then what says no is accepted, and nothing else happens (CLOCK-2)."""
    states: dict[str, Connection] = field(default_factory=dict)
    """The connections that the group's commands may touch."""
    tag_secrets: dict[str, bytes] = field(default_factory=dict)
    """The secrets of the connections' tags in the log."""
    first_answers: dict[str, str] = field(default_factory=dict)
    """Acceptances of acts that were accepted before this group."""
    reservations: dict[tuple[int, int], Reservation] = field(default_factory=dict)
    reached: dict[str, DeliveredMessage] = field(default_factory=dict)
    """Messages and contacts that feedback names, and those of this group, by the act's id."""
    batch: Batch = field(default_factory=Batch)
    to_seal: list[tuple[Event, Answer]] = field(default_factory=list)
    rung: set[str] = field(default_factory=set)
    """Streams with news."""
    agreements: dict[str, Answer] = field(default_factory=dict)
    """Connections that this group opens."""
    idempotent: dict[tuple[str, str, str], Idempotent] = field(default_factory=dict)
    """Answers that this group remembers, by business and key."""
    added_api_keys: list[ApiKey] = field(default_factory=list)
    entered_home_keys: list[EnteredHomeKey] = field(default_factory=list)
    """Keys of the home server whose statements this group enters, the last first."""
    added_signers: list[tuple[str, Signer]] = field(default_factory=list)
    """Signing keys that are stored here from now on, by the business's name."""
    accepted: int = 0
    exempt_contests: int = 0
    """Contests of safety, security and law that were accepted."""
    released: int = 0
    _touched: dict[str, Connection] = field(default_factory=dict)
    """Connections changed by this group, as they were before it."""
    _answers: dict[str, Answer] = field(default_factory=dict)
    _hosted: list[HostedKey] = field(default_factory=list)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _places: list[tuple[dict[str, object], str, Answer]] = field(default_factory=list)

    # --- acts -------------------------------------------------------------------------------------------------------

    def act(self, signed: SignedAct, over: Over | None = None) -> Answer:
        """Accept an act, or give its first answer again. Of a sender who is `over` a rate, only what closes something
        is accepted (CONN-24). Raises Refused."""
        if (earlier := self._answers.get(signed.id)) is not None:
            return earlier
        if (event := self.first_answers.get(signed.id)) is not None:
            return Answer(signed.id, event)
        _check_body(signed)
        before = self.states.get(signed.payload.cid)
        if before is None:
            raise Refused("not_found")
        if (self.time_stands or is_far_ahead(before, self.now)) and not is_narrowing(signed.payload):
            raise clock_doubtful()
        before = self._release_due(before)
        at = self._time_of(before, signed, over)
        try:
            events, after = rules.accept_next(before, signed, at, self.log.place(), self.context.zones)
            self._check_what_only_the_server_knows(signed, before, at)
        except Refused as refused:
            side = before.side_of(signed.payload.iss)
            self._count_all(before, usage.refused(signed, side, refused.code))
            raise
        event_ = self._after_mute(before, events)
        self.accepted += 1
        if at > self.now:
            self.leads.add(after.cid, event_.side, self.now)
        self._count_all(before, usage.accepted(event_, signed.payload, before))
        self.exempt_contests += usage.is_exempt_contest(signed.payload)
        if event_.contents is not None:
            self.reached.update(delivered_messages([Record(event_)]))
        answer = self._seal(event_, Answer(signed.id, place=Place(event_.log, event_.index), accepted=event_))
        self._answers[signed.id] = answer
        self.change(before, after, (event_.replaces,))
        self._keep(signed, event_, answer, named_mute(signed, before.door(event_.side).mutes))
        allowances.note_grant(self.batch, self.context.directory.hosted, signed, event_, before)
        note_contest(self.batch, self.context.directory.hosted, signed.payload, event_, before)
        self.tell_act(after, event_)
        if after.phase == "open" and len(after.recovering) < len(before.recovering):
            self.confirm_kept(after.cid, event_.side)
        return answer

    def _after_mute(self, before: Connection, events: tuple[MuteOver | Accepted, ...]) -> Accepted:
        """The acceptance, which is the last of the events; a mute that has to be over for it is entered first."""
        *first, accepted = events
        for event in first:
            if isinstance(event, MuteOver):
                self._state_over(before, event)
        assert isinstance(accepted, Accepted)
        return accepted

    def _state_over(self, before: Connection, event: MuteOver) -> None:
        """State that a mute of everything is over, to its owner alone (AUD-1)."""
        owner = owner_of_mute(before, event.act)
        if owner is None:
            raise AssertionError("the mute that is over stands for nobody")
        self.log.mute_over(event.cid, event.by, owner, event.at, self.tag_secrets[event.cid])
        self.state_event(event, event.act)
        self.tell(before.door(owner), "event", event.cid, event.act, shown=False, at=event.at)

    def _time_of(self, before: Connection, signed: SignedAct, over: Over | None) -> int:
        """When the act takes effect: strictly after the last event of its connection. Raises Refused if its side may
        not write now."""
        at = max(self.now, before.at + 1)
        side = before.side_of(signed.payload.iss)
        if side is not None and (at > self.now or over is not None):
            now = before.at if is_far_ahead(before, self.now) else self.now
            self.leads.check(before, side, signed.payload, now, over)
        return at

    def knows(self, id_: str) -> bool:
        """Whether the act was accepted before, in this group or an earlier one."""
        return id_ in self._answers or id_ in self.first_answers

    def _check_what_only_the_server_knows(self, signed: SignedAct, before: Connection, at: int) -> None:
        payload = signed.payload
        if isinstance(payload, Grant):
            status_indexes.take(self, payload, before.side_of(payload.iss), signed.id)
        elif isinstance(payload, Feedback) and (side := before.side_of(payload.iss)) is not None:
            check_feedback_message(before, side, payload, self.reached.get(payload.message), at)
        elif isinstance(payload, Rotate) and not is_pairwise(payload.iss):
            key = self.context.directory.find_key(payload.kid)
            if key is None or key.multibase != payload.key:
                raise Refused("unknown_key", "a did:web publishes its new key first")

    def _keep(self, signed: SignedAct, event: Accepted, answer: Answer, muted: Mute | None) -> None:
        secret = self.tag_secrets[event.cid]
        self.log.act(signed, event.side, event.at, secret, muted)
        if event.outcome == "delivered" and event.contents is not None:
            # An act that reaches the other side at once has its delivery as the next entry (LOG-10).
            self.log.delivery(event.cid, signed.id, event.contents.purpose, event.side, event.at, secret)
        row = {
            "cid": event.cid,
            "id": signed.id,
            "side": event.side,
            "chain": event.chain,
            "seq": event.seq,
            "raw": signed.raw,
            "accepted_at": event.accepted_at,
            "event": "",
        }
        self.batch.put_act.append(row)  # type: ignore[arg-type]
        self._places.append((row, "event", answer))

    def tell_act(self, after: Connection, event: Accepted) -> None:
        """Tell the other side of an act."""
        # Settings stay between a side and the server.
        if event.chain == "settings":
            return
        # A message that waits or was dropped is not shown; its acceptance is, or the chain would have a gap.
        shown = event.includes_act
        kind, quiet = "act" if shown else "event", is_repeated(after, event)
        self.tell(after.door(other(event.side)), kind, event.cid, event.act, shown=shown, quiet=quiet)

    def is_touched(self, cid: str) -> bool:
        """Whether the group has changed the connection."""
        return cid in self._touched

    def current(self, cid: str) -> Connection:
        """The connection, which is among `states`, as an act would find it."""
        return self._release_due(self.states[cid])

    def _release_due(self, before: Connection) -> Connection:
        """The connection after its due releases: a newer message must not overtake a held one (CONN-12)."""
        due = self._next_release(before.cid)
        if due is None or due > self.now or self.time_stands:
            return before
        self.release(before.cid)
        return self.states[before.cid]

    # --- time -------------------------------------------------------------------------------------------------------

    def release(self, cid: str) -> None:
        """Delivers, or lets expire, the due held messages of a connection."""
        before = self.states[cid]
        if is_far_ahead(before, self.now):
            # Only to be looked at again when its time has come.
            self.change(before, before)
            return
        events, after = rules.release_held(before, max(self.now, before.at + 1), self.log.place(), self.context.zones)
        self.change(before, after, [event.act for event in events if isinstance(event, Delivered)])
        waiting = {held.id: held for side in SIDES for held in before.door(side).held}
        for event in events:
            if isinstance(event, MuteOver):
                self._state_over(before, event)
                continue
            if isinstance(event, Delivered):
                secret, held = self.tag_secrets[cid], waiting[event.act]
                self.log.delivery(cid, event.act, held.purpose, event.side, event.at, secret)
                self.reached[event.act] = DeliveredMessage(cid, event.side, held.purpose, held.topic, event.at)
            self.state_event(event, event.act)
            self.tell_release(after, event)
            self._count_all(after, usage.let_go(event))
            self.released += 1

    def tell_release(self, after: Connection, event: Delivered | Expired) -> None:
        """Tell both sides what became of a message that waited."""
        receiver, sender = after.door(other(event.side)), after.door(event.side)
        delivered = event.event == "delivered"
        self.tell(receiver, "event", event.cid, event.act, shown=delivered, at=event.at)
        self.tell(sender, "event", event.cid, event.act, shown=False, at=event.at)

    # --- parts that every command uses ------------------------------------------------------------------------------

    def open_connection(self, state: Connection, opened: Opened, offer: str) -> Answer:
        """Take a new connection in, made on the offer of that short name; the caller writes its agreement."""
        answer = self.state_event(opened, None)
        self._begin(state, opened, offer)
        for side in SIDES:
            if (business := self.context.directory.hosted(state.door(side).origin)) is not None:
                self.count(business.name, "connections.opened")
        return answer

    def open_again(self, state: Connection, opened: Opened, raw: str, signed: SignedAgreement) -> None:
        """Take a connection in that opened before the server was restored, and is not in its store; it recovers like
        all others (REC-10). `raw` is the text of the event."""
        self.batch.put_event.append({"cid": state.cid, "at": opened.at, "kind": "opened", "act": None, "raw": raw})
        self.batch.put_agreement.append({"cid": state.cid, "raw": signed.raw, "opened": raw})
        self._begin(state, opened, signed.agreement.offer[:SHORT])
        self.state_recovery(recovery.restored_event(state, max(self.now, state.at + 1), self.log.place()))
        self.confirm_kept(state.cid, None)

    def _begin(self, state: Connection, opened: Opened, offer: str) -> None:
        self.states[state.cid] = state
        self.tag_secrets[state.cid] = self.context.tag_secret(state.cid)
        self.change(state, state)
        for side in SIDES:
            self._name(state, side)
            self.tell(state.door(side), "opened", state.cid, None, shown=False, at=opened.at)
            if (business := self.context.directory.hosted(state.door(side).origin)) is not None:
                row = {"cid": state.cid, "name": business.name, "side": side, "offer": offer, "opened_at": opened.at}
                self.batch.put_relation.append(row)

    def keep_agreement(self, signed: SignedAgreement, answer: Answer) -> None:
        """Keep both signatures of a connection that the group opens."""
        row: dict[str, object] = {"cid": signed.cid, "raw": signed.raw, "opened": ""}
        self.batch.put_agreement.append(row)
        self.agreements[signed.cid] = answer
        self._places.append((row, "opened", answer))

    def state_event(
        self, event: Opened | Delivered | Expired | Restored | Confirmed | MuteOver, act: str | None
    ) -> Answer:
        """State an event that is not an acceptance."""
        answer = self._seal(event, Answer(act or ""))
        row = {"cid": event.cid, "at": event.at, "kind": event.event, "act": act, "raw": ""}
        self.batch.put_event.append(row)  # type: ignore[arg-type]
        self._places.append((row, "raw", answer))
        return answer

    # --- after a restore

    def confirm(self, cid: str, side: Side) -> None:
        """State that a side has confirmed (REC-6)."""
        before = self.states[cid]
        self.state_recovery(recovery.confirmed_event(before, side, max(self.now, before.at + 1), self.log.place()))

    def confirm_kept(self, cid: str, by: Side | None) -> None:
        """Confirms the sides whose keys are stored here once no other side is left to wait for; `by` is the side that
        has just been in touch (REC-6)."""
        state = self.states[cid]
        kept = [side for side in state.recovering if self.context.kept.signer(state.door(side).kid) is not None]
        if set(state.recovering) <= {*kept, by}:
            for side in kept:
                self.confirm(cid, side)

    def state_recovery(self, event: Restored | Confirmed) -> None:
        """State an event that is about no act, and tell both sides of it."""
        before = self.states[event.cid]
        after = fold(before, Record(event))
        self.change(before, after)
        self.state_event(event, None)
        for side in SIDES:
            self.tell(after.door(side), "event", event.cid, None, shown=False, at=event.at)

    def publish_key(self, business: Business) -> Business:
        """Publishes the one key that comes with the business, its first or a further one (LOG-20); once, however often
        a unit of work asks for it."""
        ((kid, key),) = business.keys.items()
        fresh = {row["name"] for row in self.batch.put_business}
        if any(row["kid"] == kid for row in self.batch.put_business_key):
            return business
        if self.context.directory.get(business.name) is None and business.name not in fresh:
            row = {"name": business.name, "did": business.did, "created_at": self.now}
            self.batch.put_business.append(row)
        place, statement = self.log.place(), key_statement(business.did, kid, key.multibase, self.now)
        self.log.key(kid, statement, self.now, public_tag_key(business.did))
        self.batch.put_business_key.append(
            {
                "name": business.name,
                "kid": kid,
                "multibase": key.multibase,
                "statement": statement.decode("utf-8"),
                "added_at": self.now,
                **place.members,
            }
        )
        self._hosted.append(HostedKey(business.name, business.did, kid, key.multibase))
        return business

    def enter_home_statement(self, n: int, stated: VerifiedStatement) -> None:
        """Enters statement number `n` about a key of the server: that key signs the events after it (HOME-2)."""
        place, statement = self.log.place(), stated.statement
        self.log.key(statement.kid, stated.raw.encode("utf-8"), self.now, public_tag_key(statement.did))
        self.batch.put_home_place.append({"n": n, **place.members})
        self.entered_home_keys.insert(0, EnteredHomeKey(statement.party, place))

    def seal(self, event: Event) -> str:
        """The event, signed by the key of the home server for its place (HOME-4). Called in the store's thread."""
        return sign_event(event, self.context.home.keys.signer_at(event, self.entered_home_keys))

    def new_business_keys(self) -> list[HostedKey]:
        """The keys of businesses that this group publishes."""
        return self._hosted

    def tell(
        self,
        door: Door,
        kind: str,
        cid: str,
        act: str | None,
        *,
        shown: bool,
        at: int | None = None,
        quiet: bool = False,
    ) -> None:
        """Put news into the streams of a side: its own, and its mailbox's."""
        streams = {door.origin, door.settings.mailbox or door.origin}
        for stream in sorted(streams):
            self.tell_stream(stream, kind, cid, act, shown=shown, at=at, quiet=quiet)

    def tell_stream(
        self,
        stream: str,
        kind: str,
        cid: str,
        act: str | None = None,
        *,
        shown: bool = False,
        at: int | None = None,
        quiet: bool = False,
    ) -> None:
        """Adds news to one stream. `quiet` news make no notification."""
        self.news += 1
        self.batch.put_news.append(
            {
                "stream": stream,
                "n": self.news,
                "kind": kind,
                "cid": cid,
                "act": act,
                "shown": int(shown),
                "at": at,
                "told_at": self.now,
                "quiet": int(quiet),
            }
        )
        self.rung.add(stream)

    def count(self, name: str, what: str) -> None:
        """Counts for a business's own report. Refused acts count as well."""
        self._counts[name, what] = self._counts.get((name, what), 0) + 1

    def _count_all(self, state: Connection, counted: usage.Counted) -> None:
        for side, what in counted:
            if (business := self.context.directory.hosted(state.door(side).origin)) is not None:
                self.count(business.name, what)

    def _seal(self, event: Event, answer: Answer) -> Answer:
        self.to_seal.append((event, answer))
        return answer

    def change(self, before: Connection, after: Connection, spent: Collection[str | None] = ()) -> None:
        """The connection is as `after` from now on; the texts of the messages `spent` are needed no more."""
        self._touched.setdefault(before.cid, before)
        self.states[before.cid] = after
        held_texts.settle(self.batch, self.context.directory.hosted, before, after, spent, self.now)

    def _name(self, state: Connection, side: Side) -> None:
        door = state.door(side)
        self.batch.put_side.append({"cid": state.cid, "side": side, "did": door.did, "stream": door.origin})

    # --- the end of a group -----------------------------------------------------------------------------------------

    def finish(self) -> Batch:
        """The whole batch but for what the log adds; called once, after the last command and before sealing."""
        for cid in list(self._touched):
            if (due := self._next_release(cid)) is not None and due <= self.now and not self.time_stands:
                # Messages that this unit of work itself released (by an unmute, say) are sent with it.
                self.release(cid)
        for cid, before in self._touched.items():
            self._write(before, self.states[cid])
        self.batch.put_meta.append({"name": "last_news", "value": str(self.news)})
        for (name, what), n in self._counts.items():
            self.batch.put_count.append({"name": name, "day": self.now // DAY, "what": what, "n": n})
        return self.batch

    def _write(self, before: Connection, after: Connection) -> None:
        due = self._next_release(after.cid)
        self.batch.put_connection.append(
            {
                "cid": after.cid,
                "state": encode_state(after),
                "at": after.at,
                "phase": after.phase,
                "wake_at": wake_at(after, due, self.now),
                "tag_secret": self.tag_secrets[after.cid],
            }
        )
        self.batch.put_status.extend(self.context.lists.changes(before, after))
        self.batch.put_duty.extend(changed_duties(before, after, self.context.directory.hosted))
        if before.first.did != after.first.did:
            self._name(after, "first")
        if before.second.did != after.second.did:
            self._name(after, "second")

    def _next_release(self, cid: str) -> int | None:
        state = self.states[cid]
        if not state.first.held and not state.second.held:
            return None
        return rules.next_release_at(state, self.now, self.context.zones)

    def fill_in(self) -> None:
        """Put the sealed events into their rows."""
        for row, column, answer in self._places:
            row[column] = answer.event


def _check_body(signed: SignedAct) -> None:
    """Raises Malformed for a body that is no compact JWE (BODY-1). Only here: a reader who folds what some server
    accepted shows a bad body as unreadable (BODY-5)."""
    # Asked of the dict: a member that a model lacks costs several microseconds by getattr.
    if (body := vars(signed.payload).get("body")) is not None:
        check_body_form(body, signed.payload.cid)
