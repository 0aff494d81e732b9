"""What every vector is made with: parties whose keys are fixed, and a connection that is moved on record by record."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from comity.rules import decide, erasure, favours, recovery
from comity.documents.acts import SignedAct
from comity.documents.agreements import Agreement, SignedAgreement, countersign, half_sign
from comity.rules.next_act import next_act, next_rotation
from comity.encoding import b64u_decode, b64u_encode, dump_json, hash_id
from comity.errors import Contradiction, Refused
from comity.documents.events import Accepted, Delivered, Event, Opened, Place, sign_event
from comity.rules.feedback import check_feedback_message, delivered_messages
from comity.rules.fold import Record, fold, initial_state
from comity.crypto.keys import PublicKey, Signer, SigningKey, is_pairwise
from comity.rules.narrowing import is_new_restriction
from comity.documents.offers import HomeParty, Offer, OfferedTerms, PartyKey, SignedOffer, Terms, sign_offer, text_hash
from comity.rules.state import Connection, public_state
from comity.documents.types import SIDES, Side
from msgspec.structs import replace

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def instant(text: str) -> int:
    """Milliseconds of a UTC time such as 2026-03-02T10:00:00."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


START = instant("2026-03-02T10:00:00")
"""A Monday."""
NOW = START // 1000
HOME_DID = "did:web:home.example"
OPERATOR = "Example Home Ltd"
STATUS_URI = "https://home.example/status/1"
LOG = "home.example/log"
NEXT_LOG = f"{LOG}/next"
"""The log that begins after a restore."""
TEXT = "I use what you tell me for what I said, and for nothing else."
TERMS_ID = "https://w3id.org/dpv/standards/ieee/7012#SD-BASE"


class FixedZones:
    """The rules of the installed zones for dates that have long been settled, under a name of our own."""

    version = "vectors"

    def zone(self, name: str) -> tzinfo | None:
        """The rules of a zone, None where it is not known."""
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None


ZONES = FixedZones()


def key(name: str) -> SigningKey:
    """A key from the hash of a word, so that anybody can make it again."""
    return SigningKey(sha256(f"comity vectors: {name}".encode()).digest())


def pairwise(name: str) -> Signer:
    """Somebody known by a key alone."""
    return Signer.of_did_key(key(name))


def published(did: str, name: str = "key-1") -> Signer:
    """Somebody known by a did:web."""
    return Signer(f"{did}#{name}", key(f"{did}#{name}"))


MIA, EVE = pairwise("mia"), pairwise("eve")
SHOP = published("did:web:home.example:b:windows")
HOME = published(HOME_DID, "home-1")


def words(*parts: str) -> str:
    """A nonce, or another text of 43 fixed characters."""
    return hash_id(" ".join(parts).encode())


def body(name: str, cid: str) -> str:
    """What has the form of an encrypted body in that connection (BODY-5); nothing opens it."""
    epk = {"kty": "OKP", "crv": "X25519", "x": words(name, "epk")}
    head = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": SHOP.kid, "apv": cid, "epk": epk}
    key, text = (sha256(f"{name} {part}".encode()).digest() for part in ("key", "text"))
    return ".".join(b64u_encode(part) for part in (dump_json(head), key + text[:8], key[:12], text, text[:16]))


def terms(text: str = TEXT, version: str = "1.0") -> Terms:
    """The terms whose text is `text`."""
    return Terms(id=TERMS_ID, version=version, lang="en", sha256=text_hash(text))


def offer_members(offerer: Signer = SHOP, **changes: Any) -> dict[str, Any]:
    """The members of an offer, as values that JSON has."""
    members = {
        "v": 2,
        "iss": offerer.did,
        "iat": START // 1000,
        "exp": (START + 30 * DAY) // 1000,
        "nonce": words("offer")[:22],
        "home": HomeParty.of(HOME).model_dump(),
        "operator": OPERATOR,
        "agreements": [{**terms().model_dump(), "text": TEXT}],
        "purposes": ["care", "sales"],
        "channels": ["app", "email"],
        "use": "one" if is_pairwise(offerer.did) else "many",
        "name": "Clear View Windows",
    }
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


def offer(offerer: Signer = SHOP, **changes: Any) -> SignedOffer:
    """An offer good for thirty days."""
    members = offer_members(offerer, **changes)
    members["agreements"] = tuple(OfferedTerms(**entry) for entry in members["agreements"])
    members = {name: tuple(value) if isinstance(value, list) else value for name, value in members.items()}
    if "allow" in members:
        given = members["allow"]
        members["allow"] = {**given, "purposes": tuple(given["purposes"]), "channels": tuple(given["channels"])}
    return sign_offer(Offer.model_validate(members), offerer)


def agreement(signed: SignedOffer, offerer: Signer = SHOP, accepter: Signer = MIA, **changes: Any) -> Agreement:
    """What the accepter builds from an offer."""
    members = {
        "v": 2,
        "offer": signed.hash,
        "offerer": PartyKey.of(offerer),
        "accepter": PartyKey.of(accepter),
        "terms": terms(),
        "operator": OPERATOR,
        "home": HomeParty.of(HOME),
        "nonce": words("agreement")[:22],
        "iat": START // 1000,
        "countersign_by": (START + DAY) // 1000,
        **changes,
    }
    return Agreement.model_validate(members)


def forge(payload: bytes | Mapping[str, Any], typ: str, signer: Signer, header: object = None) -> str:
    """A compact JWS that is well signed, whatever it says."""
    head = {"alg": "EdDSA", "typ": typ, "kid": signer.kid} if header is None else header
    head = head if isinstance(head, bytes) else json.dumps(head, separators=(",", ":")).encode()
    text = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    signing_input = f"{b64u_encode(head)}.{b64u_encode(text)}"
    return f"{signing_input}.{b64u_encode(signer.key.sign(signing_input.encode()))}"


def payload_of(raw: str) -> bytes:
    """The payload of a compact JWS, whoever signed it."""
    return b64u_decode(raw.split(".")[1])


def case(name: str, code: str, **given: Any) -> dict[str, Any]:
    """Something that is refused."""
    return {"name": name, **given, "code": code}


def refusal_of(attempt: Callable[[], object]) -> Refused:
    """How something is refused; whatever is not refused stops the generator."""
    try:
        attempt()
    except Refused as refused:
        return refused
    raise AssertionError("this must be refused")


def code_of(attempt: Callable[[], object]) -> str:
    """The code with which something is refused; whatever is not refused stops the generator."""
    return refusal_of(attempt).code


def statement(story: "Story", act: SignedAct, at: int, /, **changes: Any) -> Accepted:
    """The event that would accept an act now, with some members otherwise."""
    side = story.state.side_of(act.payload.iss) or "first"
    members = {
        "iss": story.state.home,
        "cid": story.state.cid,
        "event": "accepted",
        "act": act.id,
        "side": side,
        "chain": act.chain,
        "seq": act.payload.seq,
        "kind": act.kind,
        "accepted_at": at,
        "as_of": as_of(story),
        **Place(LOG, story.index).members,
    }
    return Accepted.model_validate({**members, **changes})


def as_of(story: "Story") -> dict[str, str]:
    """What an event says of the state before it."""
    return {"first": story.state.first.head, "second": story.state.second.head, "zones": ZONES.version}


@dataclass
class Story:
    """A connection and everything that led to its state. The shop offered, Mia accepted."""

    agreement: SignedAgreement
    opened: str
    state: Connection
    signers: dict[Side, Signer]
    records: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    contradictions: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    named: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    closings: list[dict[str, Any]] = field(default_factory=list)
    shown: list[Record] = field(default_factory=list)
    written: dict[str, Any] = field(init=False)
    index: int = 0
    reserved: int = 100
    begins: dict[str, Any] = field(init=False)
    begun: bool = False
    """Whether its doors held something from the start that no record brought."""

    def __post_init__(self) -> None:
        self.written = public_state(self.state)
        self.begins = {"at": self.state.at, **self.written}

    def compose(self, kind: str, side: Side, at: int, /, **fields: Any) -> SignedAct:
        """The next act of a side."""
        if kind == "grant":
            self.reserved += 1
            status = {"status_list": {"idx": self.reserved, "uri": STATUS_URI}}
            fields = {"exp": (START + 365 * DAY) // 1000, "channels": ("app", "email"), "status": status, **fields}
        if kind == "message":
            fields = {"exp": at // 1000 + 3 * 86_400, "if_muted": "hold", "body": body(f"{self.index}", self.state.cid), **fields}
        if kind == "ask":
            fields = {"effort": "minute", "body": body(f"{self.index}", self.state.cid), **fields}
        return next_act(self.state, side, kind, fields.pop("iat", at // 1000), self.signers[side], **fields)

    def go(self, kind: str, side: Side, at: int, /, **fields: Any) -> SignedAct:
        """Seal, accept, state and fold the next act of a side."""
        return self.send(self.compose(kind, side, at, **fields), at)

    def send(self, act: SignedAct, at: int) -> SignedAct:
        """Accept an act, after letting go what is due."""
        self.release(at)
        at = max(at, self.state.at + 1)
        events, _ = decide.accept_next(self.state, act, at, self._place, ZONES)
        *first, event = events
        for it in first:
            self._state(it)
            self.index += it.places
        self.state = fold(self.state, Record(event, act))
        self.index += event.places
        self._keep(event, act)
        if event.at != at:
            self.records[-1]["at"] = at
        return act

    def force(self, act: SignedAct, at: int) -> None:
        """Keep an act that a server accepted by rules that are not at hand."""
        event = statement(self, act, at)
        self.state = fold(self.state, Record(event, act))
        self.index += event.places
        self._keep(event, act)

    def rotate(self, side: Side, new: Signer, at: int) -> SignedAct:
        """Give a side a new key."""
        act = self.send(next_rotation(self.state, side, at // 1000, self.signers[side], new), at)
        self.signers = {**self.signers, side: new}
        return act

    def release(self, at: int, *, even_if_nothing_waits: bool = False) -> None:
        """Let go what may go."""
        events, _ = decide.release_held(self.state, at, self._place, ZONES)
        if even_if_nothing_waits or any(self.state.door(side).held for side in SIDES):
            due = decide.next_release_at(self.state, self.state.at, ZONES)
            let_go = [json.loads(event.to_json()) for event in events]
            row = {"after": len(self.records), "at": at, "due": due, "log": LOG, "index": self.index, "events": let_go}
            self.releases.append(row)
        for event in events:
            self.index += event.places
            self.state = fold(self.state, Record(event))
            self._keep(event, None)

    def restore(self, at: int) -> None:
        """State that the server's store was restored."""
        self._state(recovery.restored_event(self.state, at, Place(NEXT_LOG, 1)))

    def confirm(self, side: Side, at: int) -> None:
        """State that a side has confirmed."""
        self._state(recovery.confirmed_event(self.state, side, at, Place(NEXT_LOG, 1)))

    def state_event(self, event: Event) -> None:
        """Keep an event that the server stated by what it knew then."""
        self._state(event)
        self.records[-1]["by_other_rules"] = True

    def keep_event(self, event: Event, act: SignedAct) -> None:
        """Keep the acceptance of an act that a restored server stated by what it knew then."""
        self.state = fold(self.state, Record(event, act))
        self._keep(event, act)
        self.records[-1]["by_other_rules"] = True

    def _state(self, event: Event) -> None:
        self.state = fold(self.state, Record(event))
        self._keep(event, None)

    def refuse(self, act: SignedAct, at: int, name: str) -> None:
        """Note that the rules refuse an act here."""
        refused = refusal_of(lambda: decide.decide(self.state, act, at, ZONES))
        ends = {"until": refused.until, "retry_after": refused.retry_after}
        told = {member: value for member, value in ends.items() if value is not None}
        row = {"name": name, "after": len(self.records), "act": act.raw, "at": at, "code": refused.code, **told}
        self.refusals.append(row)

    def contradict(self, name: str, event: Event, act: SignedAct | None = None, home: Signer = HOME) -> None:
        """Note that a record cannot follow here, whoever shows it (CONN-18)."""
        try:
            fold(self.state, Record(event, act))
        except Contradiction:
            given = {} if act is None else {"act": act.raw}
            row = {"name": name, "after": len(self.records), "event": sign_event(event, home), **given}
            self.contradictions.append(row)
            return
        raise AssertionError(f"{name}: this cannot follow")

    def look(self, *moments: int) -> None:
        """Note what follows from the state at some moments: duties, the balance of favours, and mailboxes."""
        for now in moments:
            duties = {side: duty_of(self.state, side, now) for side in SIDES}
            balance = favours.balance(self.state, now)
            row = {"after": len(self.records), "now": now, "duties": duties, "balance": list(balance)}
            row["mailboxes"] = {side: self.state.door(side).settings.mailbox for side in SIDES}
            self.looks.append(row)

    def name(self, name: str, act: SignedAct, at: int) -> None:
        """Note whether feedback is about a message that reached its side in time (CONN-23)."""
        side = self.state.side_of(act.payload.iss) or "first"
        row = {"name": name, "after": len(self.records), "act": act.raw, "at": at}
        reached = delivered_messages(self.shown).get(act.payload.message)
        try:
            check_feedback_message(self.state, side, act.payload, reached, at)
        except Refused as refused:
            row["code"] = refused.code
        self.named.append(row)

    def close(self, name: str, kind: str, side: Side, at: int, /, *, closes: bool, **fields: Any) -> None:
        """Note whether the next act of a side would close something (CONN-24)."""
        act = self.compose(kind, side, at, **fields)
        if is_new_restriction(self.state, side, act.payload, at) != closes:
            raise AssertionError(f"{name}: {kind} {fields}")
        self.closings.append({"name": name, "after": len(self.records), "act": act.raw, "at": at, "closes": closes})

    @property
    def _place(self) -> Place:
        return Place(LOG, self.index)

    def _keep(self, event: Event, act: SignedAct | None) -> None:
        self.shown.append(Record(event, act))
        told: dict[str, Any] = {"event": sign_event(event, HOME)}
        if act is not None:
            told["act"] = act.raw
        state = public_state(self.state)
        self.records.append({**told, "changed": changed(self.written, state)})
        self.written = state

    def told(self) -> dict[str, Any]:
        """The story as JSON."""
        return {
            "agreement": json.loads(self.agreement.raw),
            "opened": self.opened,
            "begins": self.begins,
            "records": self.records,
            "refusals": self.refusals,
            "contradictions": self.contradictions,
            "releases": self.releases,
            "named": self.named,
            "looks": self.looks,
            "closings": self.closings,
        }

    def keys(self) -> dict[str, str]:
        """The keys of did:web names in it, as their documents publish them (kid → multibase)."""
        return keys_of(
            HOME, SHOP, published("did:web:elsewhere.example", "home-1"), published("did:web:other.example")
        )


def keys_of(*signers: Signer) -> dict[str, str]:
    """kid → multibase."""
    return {signer.kid: signer.key.public.multibase for signer in signers}


def finder(*signers: Signer) -> Callable[[str], PublicKey | None]:
    """A finder that knows these keys."""
    return {signer.kid: signer.key.public for signer in signers}.get


def connected(offerer: Signer = SHOP, accepter: Signer = MIA, at: int = START) -> Story:
    """A connection just opened."""
    signed = countersign(half_sign(agreement(offer(offerer), offerer, accepter), accepter), offerer)
    opened = Opened(iss=HOME_DID, cid=signed.cid, event="opened", log=LOG, index=0, at=at)
    return Story(signed, sign_event(opened, HOME), initial_state(signed, opened), {"first": offerer, "second": accepter})


CID = connected().state.cid
"""The connection that every example is about."""


def begun(story: Story, **doors: Any) -> Story:
    """The story as it would be if its doors held these things already: for what no chain of a few records reaches."""
    for side, members in doors.items():
        door = replace(story.state.door(side), **members)
        story.state = story.state.with_door(side, door)
    story.begun = True
    story.__post_init__()
    return story


def duty_of(state: Connection, side: Side, now: int) -> dict[str, Any] | None:
    """What a side owes after the end, as JSON (ERA-6)."""
    owed = erasure.erasure_duty(state, side)
    if owed is None:
        return None
    return {**owed._asdict(), "status": owed.status(now), "was_late": owed.was_late}


def changed(before: Any, after: Any) -> Any:
    """What differs, so that no state is printed twice: of an object its members that changed, null for one that is
    gone; of a list the places (from 0) of what is gone, and what has come at its end."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return {name: changed(before.get(name), after[name]) if name in after else None for name in names}
    if isinstance(after, list) and isinstance(before or [], list):
        rest, gone = list(before or []), []
        while rest != after[: len(rest)]:
            place = next(at for at, item in enumerate(rest) if at >= len(after) or item != after[at])
            rest.pop(place)
            gone.append(place + len(gone))
        return {"gone": gone, "come": after[len(rest) :]}
    return after
