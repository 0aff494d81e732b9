"""The ledger: every answer to a client, compared with what the server shows later. Nothing of it may be lost, changed
or forked.

The ledger does no I/O. It is in the clients' process, and outlives every fault of the server.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from comity.crypto.jws import FindKey
from comity.documents.events import Accepted, open_event
from comity.encoding import b64u_decode, hash_id, parse_object
from comity.errors import ComityError
from comity.http_api import Acceptance, RecordBody
from comity.transparency.merkle import Edge, leaf_hash
from comity.transparency.notes import VerifierKey
from comity.transparency.receipts import Receipt, open_receipt

MOST_NAMED = 20
"""Losses and other faults that are printed; further ones are only counted."""


class ReceiptClaim(NamedTuple):
    """The claim of a receipt about the log: the entry's number and leaf, and the tree that covers it."""

    number: int
    leaf: bytes
    size: int
    root: bytes


@dataclass(slots=True)
class ConnectionRecords:
    """The records of a connection that were read so far."""

    events: dict[str, bytes] = field(default_factory=dict)
    """Hashes of acceptances, by the act's id."""
    places: set[tuple[str, str, int]] = field(default_factory=set)
    """Side, chain and number of each act."""
    latest: int = 0
    compared: int = 0
    """The number of acknowledged acts that were found."""


@dataclass(slots=True)
class Ledger:
    """See the module. `key` is that of the log, `find_key` finds those of the server."""

    key: VerifierKey
    find_key: FindKey
    said: dict[str, bytes] = field(default_factory=dict)
    """The hash of the acceptance of each act that was acknowledged, by the act's id: so hours of them fit in memory."""
    lost: dict[str, str] = field(default_factory=dict)
    """Acknowledged acts that are missing, with the place where they were looked for."""
    wrong: list[str] = field(default_factory=list)
    """Every other contradiction."""
    _known: dict[str, ConnectionRecords] = field(default_factory=dict)
    _by_id_alone: set[str] = field(default_factory=set)
    _by_cid: dict[str, list[str]] = field(default_factory=dict)
    _indexes: dict[int, str] = field(default_factory=dict)
    _claims: list[ReceiptClaim] = field(default_factory=list)
    _roots: list[bytes] = field(default_factory=list)
    _leaves: list[bytes] = field(default_factory=list)
    _edge: Edge = field(default_factory=Edge)

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged acts."""
        return len(self.said) + len(self._by_id_alone)

    @property
    def read_up_to(self) -> int:
        """The number of log entries that were read."""
        return len(self._leaves)

    @property
    def holds(self) -> bool:
        """True if nothing is lost and nothing contradicts."""
        return not self.lost and not self.wrong

    def acknowledge(self, cid: str, act: str, answer: Acceptance) -> None:
        """Note an answer to an act. The same act may be answered again, in the same words."""
        id_ = hash_id(act.encode("ascii"))
        if id_ not in self.said:
            self.said[id_] = _hash(answer.event)
            self._check_acceptance(id_, answer)
            self._by_cid.setdefault(cid, []).append(id_)
        elif self.said[id_] != _hash(answer.event):
            self.wrong.append(f"{id_}: another answer than the first")
        if answer.receipt is not None:
            self._check_receipt(id_, act, answer.receipt)

    def note(self, cid: str, id_: str) -> None:
        """Notes an act of which only the id was acknowledged, as over REST."""
        if id_ not in self._by_id_alone and id_ not in self.said:
            self._by_id_alone.add(id_)
            self._by_cid.setdefault(cid, []).append(id_)

    def note_refusal(self, act: str, code: str) -> None:
        """Notes that an act was refused although it follows the acknowledged acts and breaks no rule."""
        self.wrong.append(f"{hash_id(act.encode('ascii'))}: refused ({code}), though it breaks no rule")

    def _check_acceptance(self, id_: str, answer: Acceptance) -> None:
        try:
            event = open_event(answer.event, self.find_key).event
        except ComityError as fault:
            self.wrong.append(f"{id_}: its acceptance does not hold: {fault}")
            return
        if not isinstance(event, Accepted) or {event.act, answer.act} != {id_}:
            self.wrong.append(f"{id_}: answered as another act")
        elif self._indexes.setdefault(event.index, id_) != id_:
            self.wrong.append(f"entry {event.index} was given to two acts")

    def _check_receipt(self, id_: str, act: str, raw: str) -> None:
        try:
            receipt: Receipt = open_receipt(raw, self.key)
        except ComityError as fault:
            self.wrong.append(f"{id_}: its receipt does not hold: {fault}")
            return
        if not receipt.is_of(act.encode("ascii")):
            self.wrong.append(f"{id_}: its receipt is another act's")
        signed = receipt.checkpoint
        self._claims.append(ReceiptClaim(receipt.index, leaf_hash(receipt.opening.entry), signed.size, signed.root))

    # --- against the server -----------------------------------------------------------------------------------------

    def compare_records(self, cid: str, records: Iterable[RecordBody], *, goes_on: bool = False) -> None:
        """Compares all records of a connection, as one side reads them, with the answers to that side; with `goes_on`,
        only the records and answers since the last call."""
        known = self._known[cid] = self._known.get(cid, ConnectionRecords()) if goes_on else ConnectionRecords()
        for record in records:
            about = parse_object(b64u_decode(record.event.split(".")[1]))
            if about["event"] != "accepted":
                continue
            known.events[about["act"]] = _hash(record.event)
            place = (about["side"], about["chain"], about["seq"])
            if place in known.places:
                self.wrong.append(f"{about['act']}: two acts at one place of a chain")
            known.places.add(place)
            if about["accepted_at"] <= known.latest:
                self.wrong.append(f"{about['act']}: not later than the event before it")
            known.latest = about["accepted_at"]
        answers = self._by_cid.get(cid, [])
        for id_ in answers[known.compared :]:
            event = known.events.get(id_)
            if event is None:
                self.lost[id_] = "it is not among the records of its connection"
            elif event != self.said.get(id_, event):
                self.wrong.append(f"{id_}: the server has another acceptance by now")
        known.compared = len(answers)

    def take_entries(self, entries: Iterable[bytes]) -> None:
        """Adds the next entries of the log, in order."""
        for entry in entries:
            leaf = leaf_hash(entry)
            self._leaves.append(leaf)
            self._edge.append(leaf)
            self._roots.append(self._edge.root())

    def compare_log(self) -> None:
        """Compares every receipt with the entries that were read: its own entry, and its tree."""
        for claim in self._claims:
            if claim.size > len(self._leaves):
                self.wrong.append(f"entry {claim.number}: its receipt's tree has {claim.size} entries, the log fewer")
            elif self._leaves[claim.number] != claim.leaf:
                self.wrong.append(f"entry {claim.number} is another one than in its receipt")
            elif self._roots[claim.size - 1] != claim.root:
                self.wrong.append(f"two trees of {claim.size} entries were signed")
        self._claims.clear()


def _hash(text: str) -> bytes:
    return sha256(text.encode("ascii")).digest()
