"""`View`: what a wallet knows of one connection and can say without signing anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

from comity.client.connection.history import Line
from comity.client.connection.send_queue import SendQueue
from comity.client.models import News, Who
from comity.client.session import Core
from comity.client.storage.records import Link
from comity.crypto.encryption import decrypt_body
from comity.crypto.keys import did_of_kid
from comity.documents.acts import Rotate, SignedAct
from comity.documents.agreements import Agreement, SignedAgreement
from comity.documents.note_values import Note, parse_note
from comity.documents.notices import AwayNotice, Notice, is_in_force
from comity.documents.offers import Allow, Offer
from comity.documents.types import NOTE, Side, covers, other
from comity.encoding import b64u_decode
from comity.errors import Malformed
from comity.rules import gate
from comity.rules.allowances import Promise, promise_status
from comity.rules.away import is_muted, muted_away_until
from comity.rules.erasure import Duty, erasure_duty
from comity.rules.fold import Record
from comity.rules.gate import Verdict
from comity.rules.state import Connection


class Postbox(Protocol):
    """What a connection needs of its wallet: its news."""

    async def pull(self, party: View, wait: float, look: bool = True) -> list[News]:
        """Reads what is new for this connection's key; `look`: and looks at its log."""
        ...

    async def read_again(self, party: View) -> None:
        """Lets the next reading begin at the beginning."""
        ...

    def news(self, party: View) -> AsyncGenerator[News, None]:
        """The same as a stream."""
        ...


class View:
    """One connection, seen from this wallet; `Party` adds the acts."""

    def __init__(self, core: Core, link: Link, postbox: Postbox) -> None:
        self._core = core
        self._postbox = postbox
        self._writing = SendQueue(core, link, self._catch_up)
        self.heard: dict[str, Notice] = {}
        """The notices of the other side by their kind, as they were when the server was last asked."""

    # --- what it is ---

    @property
    def link(self) -> Link:
        """What the wallet keeps of the connection itself."""
        return self._writing.link

    @property
    def cid(self) -> str:
        """The connection's id."""
        return self.link.cid

    @property
    def side(self) -> Side:
        """Which side this wallet is: the offerer is the first."""
        return self.link.side

    @property
    def did(self) -> str:
        """The other side's name now."""
        ledger = self._writing.ledger
        return self.link.other if ledger is None else ledger.state.door(other(self.side)).did

    @property
    def petname(self) -> str | None:
        """The name that this wallet's owner gave the other side; nobody else knows it."""
        return self._core.petname(self.cid)

    @property
    def offered_name(self) -> str | None:
        """What the other side calls itself in its offer; nobody has checked it, and others may call themselves so."""
        return self.link.name

    @property
    def name(self) -> str:
        """What to call the other side: its petname, else the name in its offer, else its DID's end."""
        return self.petname or self.offered_name or self.did.rpartition(":")[2][:16]

    @property
    def phase(self) -> Literal["proposed", "closed", "open", "ended"]:
        """`proposed` until both signed; `closed` when that came to nothing; `open`; `ended` after a revoke."""
        if self._writing.ledger is None:
            return "closed" if self.link.closed else "proposed"
        return self.state.phase

    @property
    def state(self) -> Connection:
        """The connection's state as it follows from the acts and events in this wallet. Raises NotOpen."""
        return self._writing.book.state

    @property
    def lines(self) -> Sequence[Line]:
        """Everything that happened, with the signed texts. Raises NotOpen."""
        return tuple(self._writing.book.lines)

    @property
    def writing(self) -> SendQueue:
        """The pen: for the wallet's own parts."""
        return self._writing

    def now(self) -> int:
        """The wallet's clock (ms)."""
        return self._core.clock()

    def own_kids(self) -> set[str]:
        """The names of the keys that this side has had."""
        rotated = (line.act for line in self._writing.book.lines)
        later = {act.payload.kid for act in rotated if act is not None and isinstance(act.payload, Rotate)}
        return {self.link.kid} | {kid for kid in later if kid in self._core.kept.file.table("keys")}

    @property
    def own_did(self) -> str:
        """This side's name now: a person's has been used nowhere else."""
        ledger = self._writing.ledger
        return did_of_kid(self.link.kid) if ledger is None else ledger.state.door(self.side).did

    @property
    def agreement(self) -> Agreement:
        """What both sides signed. Raises NotOpen."""
        return self.agreement_signed.agreement

    @property
    def agreement_signed(self) -> SignedAgreement:
        """The same with both signatures; its `raw` is the General JSON. Raises NotOpen."""
        return self._writing.book.agreement

    @property
    def agreement_raw(self) -> bytes:
        """The agreement as it was signed, General JSON. Raises NotOpen."""
        return self.agreement_signed.raw

    def may(self, purpose: str, channel: str = "app", topic: str | None = None) -> Verdict:
        """Whether this side may reach the other one now, by all that this wallet knows: no request is made, and the
        other side's hours, budgets and hidden ends are not known here. Raises Malformed for the purpose `note`, for
        which nobody is reached."""
        if covers(NOTE, purpose):
            raise Malformed("note is the purpose of words in a remember or milestone: nobody is reached for it")
        ledger = self._writing.ledger
        state = None if ledger is None else ledger.state
        verdict = gate.may(state, self.side, purpose, channel, topic, self._core.clock(), self._core.zones)
        return verdict.outward()

    def away_until(self) -> int | None:
        """Until when (s) the other side is away, as it said itself in a mute or a notice (as of the last `sync`); None
        where it did not. Whether it can be reached is another question: `may`."""
        ledger, now = self._writing.ledger, self._core.clock()
        if ledger is None:
            return None
        notice, by_notice = self.heard.get("away"), None
        if isinstance(notice, AwayNotice) and notice.starts * 1000 <= now < notice.until * 1000:
            by_notice = notice.until
        ends = (muted_away_until(ledger.state.door(other(self.side)), now), by_notice)
        return max((end for end in ends if end is not None), default=None)

    def notices_shown(self) -> list[Notice]:
        """The same as the server showed them last."""
        now = self._core.clock()
        found = [it for it in self.heard.values() if is_in_force(it, now)]
        if not is_muted(self.state.door(self.side), now):
            return found
        return [it.model_copy(update={"texts": {}}) for it in found if isinstance(it, AwayNotice)]

    def snoozed_until(self) -> int | None:
        """Until when (s) this wallet keeps quiet about the connection; None where it does not."""
        now = self._core.clock()
        spans: list[list[int]] = self._core.kept.get("snoozes", self.cid, list) or []
        return max((end // 1000 for start, end in spans if start <= now < end), default=None)

    def was_snoozed(self, at: int) -> bool:
        """Whether this connection was snoozed at that time (ms)."""
        spans: list[list[int]] = self._core.kept.get("snoozes", self.cid, list) or []
        return any(start <= at < end for start, end in spans)

    def allowed(self) -> Allow | None:
        """What the offer of the first side lets the second come for; None where it promised nothing."""
        if self.link.offer is None:
            return None
        return Offer.model_validate_json(b64u_decode(self.link.offer.split(".")[1])).allow

    def promise(self) -> Promise | None:
        """How the promise in the offer stands: `waiting` ("promised, not given yet"), `kept`, or `broken`; None where
        nothing was promised, or the connection is not open yet (ALLOW-4)."""
        allow, ledger = self.allowed(), self._writing.ledger
        if allow is None or ledger is None:
            return None
        records = (Record(line.event, line.act) for line in ledger.lines)
        return promise_status(allow, "first", ledger.opened.event.at, records, self._core.clock())

    # --- what was said ---

    def notes(self, by: Who = "them") -> list[Note]:
        """The little things that a side wants remembered, as they are shown: a value without the form of its key is a
        text (NOTE-4)."""
        door = self.state.door(self.side if by == "me" else other(self.side))
        acts = {line.act.id: line.act for line in self.lines if line.act is not None}
        return [
            parse_note(it.key, self.body_of(acts[it.id]) if it.id in acts else None)._replace(topic=it.topic)
            for it in door.little
        ]

    def unconfirmed(self) -> tuple[Who, ...]:
        """Whose confirmation is waited for since the home server was put back from a backup, "me" before "them":
        nobody is reached in this connection before. Empty where nothing is waited for."""
        if self._writing.ledger is None:
            return ()
        waited: list[Who] = ["me" if it == self.side else "them" for it in self.state.recovering]
        return tuple(sorted(waited))

    async def _catch_up(self) -> None:
        # For an act that is being written, perhaps a "no": what the log shows is looked at when that is done.
        self._core.untold.extend(await self._postbox.pull(self, 0, look=False))

    def read_body(self, act: SignedAct) -> tuple[dict[str, Any] | None, str | None]:
        """The decrypted body of an act of either side and, where it cannot be read, the reason in words."""
        text = getattr(act.payload, "body", None)
        if text is None:
            return None, None
        if own := self._core.kept.get("bodies", act.id, dict):
            return own, None
        why = "it was sealed to the other side"
        for kid in sorted(self.own_kids()):
            try:
                return decrypt_body(text, self.cid, self._core.signer(kid).key), None
            except Malformed as fault:
                why = fault.detail or "it cannot be opened"
        return None, why

    def body_of(self, act: SignedAct) -> dict[str, Any] | None:
        """The decrypted body of an act of either side, or None where there is none or it cannot be read."""
        return self.read_body(act)[0]

    def duty(self, of: Who = "them") -> Duty | None:
        """What a side still owes after the end, or has done: to say what became of the other's data (ERA-6)."""
        return erasure_duty(self.state, self.side if of == "me" else other(self.side))

    def __repr__(self) -> str:
        return f"Party({self.name}, {self.phase})"
