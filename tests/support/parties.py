"""Two parties with keys, a home server's key, and the connection between them, moved on by what they really sign.

No network and no store: every act is sealed and opened, every event of the home server too, and the state is folded
from them. Times are milliseconds; `START` is a Tuesday, 12:00 in Berlin.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from comity.crypto.keys import PublicKey, Signer, SigningKey
from comity.documents.acts import SignedAct, open_act
from comity.documents.agreements import Agreement, SignedAgreement, countersign, half_sign
from comity.documents.events import Accepted, Event, MuteOver, Opened, Place, open_event, sign_event
from comity.documents.offers import HomeParty, Offer, OfferedTerms, PartyKey, SignedOffer, Terms, sign_offer, text_hash
from comity.documents.timezones import InstalledZones
from comity.documents.types import Side
from comity.encoding import b64u_encode
from comity.errors import Refused
from comity.rules import decide, gate, recovery
from comity.rules.fold import Record, fold, initial_state
from comity.rules.gate import Verdict
from comity.rules.mute_over import owner_of_mute
from comity.rules.next_act import next_act, next_mailbox, next_rotation
from comity.rules.state import Connection

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_718_704_800_000  # 2024-06-18 10:00 UTC

ZONES = InstalledZones()
HOME_DID = "did:web:comity.example"
OPERATOR = "Comity Example Ltd"
STATUS_URI = "https://comity.example/status/1"
LOG = "comity.example/log"
"""The origin of the home server's log."""
TEXT = "We keep what you tell us to ourselves."
BODY = "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyJ9.a2V5.aXY.dGV4dA.dGFn"
"""The form of an encrypted body; nothing here reads one."""


def instant(zone: str, *wall: int, fold: int = 0) -> int:
    """The instant of a wall time."""
    year, month, day, hour, minute = wall
    return int(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * SECOND


def key(name: str) -> SigningKey:
    """A key that is the same on every run."""
    return SigningKey(name.encode().ljust(32, b".")[:32])


def pairwise(name: str) -> Signer:
    """Somebody known by a key alone."""
    return Signer.of_did_key(key(name))


def public(did: str, name: str) -> Signer:
    """Somebody known by a did:web."""
    return Signer(f"{did}#{name}", key(f"{did} {name}"))


MIA = pairwise("mia")
SHOP = public("did:web:shop.example", "key-1")
HOME = public(HOME_DID, "home-1")


def keys_of(*signers: Signer) -> Callable[[str], PublicKey | None]:
    """A finder that knows these signers' keys."""
    return {signer.kid: signer.key.public for signer in signers}.get


def terms(text: str = TEXT, id_: str = "https://w3id.org/dpv/standards/ieee/7012#SD-BASE") -> Terms:
    """The terms whose text is `text`."""
    return Terms(id=id_, version="1", lang="en", sha256=text_hash(text))


def offer(offerer: Signer = SHOP, at: int = START, **changes: Any) -> SignedOffer:
    """An offer good for a day."""
    members: dict[str, Any] = {
        "v": 2,
        "iss": offerer.did,
        "iat": at // 1000,
        "exp": (at + DAY) // 1000,
        "nonce": "n" * 22,
        "home": HomeParty.of(HOME),
        "operator": OPERATOR,
        "agreements": (OfferedTerms(**terms().model_dump(), text=TEXT),),
        "purposes": ("care", "sales"),
        "use": "one",
        **changes,
    }
    return sign_offer(Offer.model_validate(members), offerer)


def agreement_on(signed: SignedOffer, offerer: Signer, accepter: Signer, at: int = START, **changes: Any) -> Agreement:
    """What the accepter builds from an offer."""
    members: dict[str, Any] = {
        "v": 2,
        "offer": signed.hash,
        "offerer": PartyKey.of(offerer),
        "accepter": PartyKey.of(accepter),
        "terms": terms(),
        "operator": OPERATOR,
        "home": HomeParty.of(HOME),
        "nonce": "m" * 22,
        "iat": at // 1000,
        "countersign_by": (at + DAY) // 1000,
        **changes,
    }
    return Agreement.model_validate(members)


@dataclass
class Pair:
    """An open connection: the home server's state, and everything that led to it."""

    agreement: SignedAgreement
    signers: dict[Side, Signer]
    state: Connection
    records: list[Record]
    home: Signer = HOME
    index: int = 0
    """The next place in the log."""
    indexes: int = 0
    events: dict[str, str] = field(default_factory=dict)
    """The signed acceptance of each act, by its id."""

    # --- signing and sending

    def compose(self, kind: str, side: Side, at: int, /, **fields: Any) -> SignedAct:
        """The next act of that side, with what a test did not care to say filled in."""
        iat = fields.pop("iat", at // 1000)
        if (box := fields.pop("box", None)) is not None:
            return next_mailbox(self.state, side, iat, self.signers[side], box)
        return next_act(self.state, side, kind, iat, self.signers[side], **self._filled(kind, at, fields))

    def send(self, act: SignedAct, at: int) -> Accepted:
        """What a server does with an act: let go what is due, decide, sign the acceptance, fold. Raises Refused."""
        wake = decide.next_release_at(self.state, at, ZONES)
        if wake is not None and wake <= at:
            self.release(at)
        at = max(at, self.state.at + 1)
        events, after = decide.accept_next(self.state, act, at, Place(LOG, self.index), ZONES)
        *first, event = events
        for it in first:
            self._stated(it)
            self.index += it.places
        raw = sign_event(event, self.home)
        opened = open_event(raw, keys_of(self.home)).event
        again = open_act(act.raw, keys_of(*self.signers.values()))
        self.state = fold(self.state, Record(opened, again))
        assert self.state == after
        assert isinstance(opened, Accepted)
        self.index += opened.places
        self.events[act.id] = raw
        self.records.append(Record(opened, again))
        return opened

    def go(self, kind: str, side: Side, at: int, /, **fields: Any) -> SignedAct:
        """Seal, accept and fold. Raises Refused."""
        act = self.compose(kind, side, at, **fields)
        self.send(act, at)
        return act

    def refused(self, kind: str, side: Side, at: int, /, **fields: Any) -> Refused:
        """The refusal of an act that must not be accepted; the state stays as it was."""
        before = self.state
        try:
            self.go(kind, side, at, **fields)
        except Refused as refusal:
            assert self.state == before
            return refusal
        raise AssertionError(f"{kind} by the {side} side was accepted")

    def rotate(self, side: Side, new: Signer, at: int) -> SignedAct:
        """Give the side a new key."""
        act = next_rotation(self.state, side, at // 1000, self.signers[side], new)
        signers = {**self.signers, side: new}
        self.send(act, at)
        self.signers = signers
        return act

    def release(self, at: int) -> tuple[Event, ...]:
        """Let go what may go at `at`; the signed events."""
        events, after = decide.release_held(self.state, at, Place(LOG, self.index), ZONES)
        for event in events:
            self._stated(event)
            self.index += event.places
        assert self.state == after
        return events

    def restore(self, at: int) -> Event:
        """The home server states at `at` that its store was restored."""
        return self._stated(recovery.restored_event(self.state, max(at, self.state.at + 1), Place(f"{LOG}/next", 1)))

    def confirm(self, side: Side, at: int) -> Event:
        """The home server states at `at` that a side has confirmed."""
        return self._stated(
            recovery.confirmed_event(self.state, side, max(at, self.state.at + 1), Place(f"{LOG}/next", self.index))
        )

    def _stated(self, event: Event) -> Event:
        opened = open_event(sign_event(event, self.home), keys_of(self.home)).event
        self.state = fold(self.state, Record(opened))
        self.records.append(Record(opened))
        return opened

    # --- looking

    def may(self, sender: Side, purpose: str, at: int, channel: str = "app", topic: str | None = None) -> Verdict:
        """The gate's answer for `sender`."""
        return gate.may(self.state, sender, purpose, channel, topic, at, ZONES)

    def due(self, at: int) -> int | None:
        """When something is to be let go next."""
        return decide.next_release_at(self.state, at, ZONES)

    def seen_by(self, side: Side) -> Connection:
        """The state that this side works out from what reaches it: its own acts and settings, the other side's acts
        but for messages that were not delivered, no setting of the other side."""
        opened = self.records[0].event
        assert isinstance(opened, Opened)
        view = initial_state(self.agreement, opened)
        for record in self.records[1:]:
            if (reaching := as_it_reaches(view, side, record)) is not None:
                view = fold(view, reaching)
        return view

    def _filled(self, kind: str, at: int, fields: dict[str, Any]) -> dict[str, Any]:
        defaults: dict[str, Any] = {}
        if kind == "grant":
            self.indexes += 1
            status = {"status_list": {"idx": self.indexes, "uri": STATUS_URI}}
            defaults = {"exp": (at + 365 * DAY) // 1000, "channels": ("app",), "status": status}
        elif kind == "message":
            defaults = {"exp": (at + 3 * DAY) // 1000, "if_muted": "hold", "body": BODY}
        elif kind == "contacted":
            defaults = {"channel": "phone"}
        elif kind == "ask":
            defaults = {"kind": "hold", "effort": "minute", "body": BODY}
        elif kind == "milestone":
            defaults = {"kind": "bought", "when": at // 1000}
        elif kind == "hours":
            defaults = {"zone": "Europe/Berlin", "shown": "not_now", "windows": ()}
        return {name: value for name, value in {**defaults, **fields}.items() if value is not None}


def as_it_reaches(view: Connection, side: Side, record: Record) -> Record | None:
    """What of a record reaches a side that has worked out `view` so far; None for what does not."""
    event, act = record
    if isinstance(event, MuteOver) and owner_of_mute(view, event.act) != side:
        return None
    if isinstance(event, Accepted) and event.side != side:
        if event.chain == "settings":
            return None
        if event.outcome in ("held", "dropped"):
            act = None
    return Record(event, act)


def connected(offerer: Signer = SHOP, accepter: Signer = MIA, at: int = START) -> Pair:
    """A connection just opened: by default the shop is the first side and Mia the second. Nothing is granted."""
    made = agreement_on(offer(offerer, at), offerer, accepter, at)
    signed = countersign(half_sign(made, accepter), offerer)
    stated = Opened(iss=HOME_DID, cid=signed.cid, event="opened", log=LOG, index=0, at=at)
    opened = open_event(sign_event(stated, HOME), keys_of(HOME)).event
    assert isinstance(opened, Opened)
    state = initial_state(signed, opened)
    return Pair(signed, {"first": offerer, "second": accepter}, state, [Record(opened)])


def granted(*purposes: str, at: int = START, **fields: Any) -> Pair:
    """A connection in which Mia has granted the shop these purposes in the app."""
    pair = connected(at=at)
    pair.go("grant", "second", at + 1, purposes=purposes, **fields)
    return pair


def forge(payload: bytes | dict[str, Any], typ: str, signer: Signer, header: dict[str, Any] | None = None) -> str:
    """A compact JWS that is well signed, whatever it says."""
    head = {"alg": "EdDSA", "typ": typ, "kid": signer.kid} if header is None else header
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signing_input = f"{b64u_encode(json.dumps(head).encode())}.{b64u_encode(body)}"
    return f"{signing_input}.{b64u_encode(signer.key.sign(signing_input.encode()))}"
