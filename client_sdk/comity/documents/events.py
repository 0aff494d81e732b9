"""Events: the home server's signed statements about a connection (spec/event.md).

`accepted` is the signed acceptance of an act. For a message it states the outcome, and includes what the other side
needs for its copy of the chain while it does not receive the message itself (EVENT-4).
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from pydantic import ConfigDict, Field, TypeAdapter

from comity.crypto.jws import FindKey, open_jws, sign_jws
from comity.crypto.keys import Signer, did_of_kid
from comity.documents.types import (
    Channel,
    Did,
    Hash,
    Label,
    Milliseconds,
    Model,
    Purpose,
    Seconds,
    Sequence,
    Side,
    Sides,
    Token,
    Topic,
    parse_model,
)
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Refused

EVENT_TYP = "comity-event+jwt"


Origin = Annotated[str, Field(pattern=r"^[!-*,-~]{1,255}$")]
"""The name of a log: the key name of its notes, in ASCII."""


class Place(msgspec.Struct, frozen=True):
    """A position in a log."""

    log: str
    index: int

    @property
    def members(self) -> dict[str, str | int]:
        """The position as members of an event."""
        return {"log": self.log, "index": self.index}

    def next(self) -> "Place":
        """The next position."""
        return Place(self.log, self.index + 1)


class AsOf(Model):
    """The heads of both chains of acts before an event, and the version of the server's time zone rules (EVENT-7)."""

    first: Hash
    second: Hash
    zones: Annotated[str, Field(pattern=r"^[!-~]{1,32}$")]


class _Event(Model):
    iss: Did
    cid: Hash

    def is_about(self, cid: str) -> bool:
        """True if the event is about this connection."""
        return self.cid == cid

    @property
    def places(self) -> int:
        """The number of log entries of the event."""
        return 1


class Opened(_Event):
    """The agreement is complete: the connection is open from `at` on. `index` is the next free position in the log
    `log` (EVENT-9)."""

    event: Literal["opened"]
    log: Origin
    index: Sequence
    at: Milliseconds

    @property
    def places(self) -> int:
        """Always 0: the event has no entry."""
        return 0


class Contents(Model):
    """The members of a message or outside contact that the rules need."""

    purpose: Purpose
    channel: Channel
    topic: Topic | None = None
    exp: Seconds | None = None


_MEMBERS_BY_KIND = {"message": (True, True, False), "contacted": (False, True, True)}
"""For each kind of act that has any of them: whether its event has `outcome`, `contents` and `verdict` (EVENT-3)."""


class Accepted(_Event):
    """The act `act` was accepted at `accepted_at`, as entry `index` of the log `log` (EVENT-2).

    Messages have `outcome` and `contents` (EVENT-3); one that is delivered at once has the next entry too (LOG-10).
    `replaces` is the held message that this one replaces. `verdict` is the gate's reason for a `contacted`.
    """

    event: Literal["accepted"]
    act: Hash
    side: Side
    chain: Literal["acts", "settings"]
    seq: Sequence
    kind: Token
    log: Origin
    index: Sequence
    accepted_at: Milliseconds
    as_of: AsOf
    outcome: Literal["delivered", "held", "dropped"] | None = None
    contents: Contents | None = None
    replaces: Hash | None = None
    verdict: Annotated[str, Field(pattern=r"^[a-z_]{2,32}$")] | None = None

    @property
    def places(self) -> int:
        """The number of log entries of the event: a message that is delivered at once has two (LOG-10)."""
        return 2 if self.outcome == "delivered" else 1

    @property
    def at(self) -> int:
        """The time of acceptance (ms)."""
        return self.accepted_at

    @property
    def is_whole(self) -> bool:
        """True if `outcome`, `contents`, `verdict` and `replaces` are present exactly where an act of this kind has
        them (EVENT-3)."""
        present = (self.outcome is not None, self.contents is not None, self.verdict is not None)
        if present != _MEMBERS_BY_KIND.get(self.kind, (False, False, False)):
            return False
        if self.replaces is not None and self.outcome != "held":
            return False
        is_message = self.kind == "message"
        return self.contents is None or (
            (self.contents.exp is not None) == is_message and (self.contents.channel == "app") == is_message
        )

    @property
    def includes_act(self) -> bool:
        """True if the other side receives the act with its acceptance. A message that is held or dropped is not
        included (EVENT-4)."""
        return self.outcome in (None, "delivered")


class Delivered(_Event):
    """A held message was delivered to the other side's inbox, as entry `index` of the log `log`. Its outcome is final
    (EVENT-5)."""

    event: Literal["delivered"]
    act: Hash
    side: Side
    log: Origin
    index: Sequence
    at: Milliseconds
    as_of: AsOf


class Expired(_Event):
    """A held message will not be delivered. `log` and `index` as in `opened`."""

    event: Literal["expired"]
    act: Hash
    side: Side
    log: Origin
    index: Sequence
    at: Milliseconds
    as_of: AsOf

    @property
    def places(self) -> int:
        """Always 0: the event has no entry."""
        return 0


class Restored(_Event):
    """The store was restored from an older copy, with these heads of both chains of acts. The server continues in the
    log `log` (REC-1). `index` as in `opened`."""

    event: Literal["restored"]
    first: Hash
    second: Hash
    log: Origin
    index: Sequence
    at: Milliseconds

    @property
    def places(self) -> int:
        """Always 0: the event has no entry."""
        return 0


class Confirmed(_Event):
    """After a restore, the side `side` confirmed that the server has all its records (REC-6). `log` and `index` as in
    `opened`."""

    event: Literal["confirmed"]
    side: Side
    log: Origin
    index: Sequence
    at: Milliseconds

    @property
    def places(self) -> int:
        """Always 0: the event has no entry."""
        return 0


By = Literal["first", "second", "home"]
"""The requester of an erasure: a side, or the operator of the home server."""


class MuteOver(_Event):
    """The mute of everything `act` was over when a message was delivered. `by` is the hash of the text that ended it:
    its latest `mute_end`, or the mute itself if it shows its end. Only the mute's owner receives this event (AUD-1)."""

    event: Literal["mute_over"]
    act: Hash
    by: Hash
    log: Origin
    index: Sequence
    at: Milliseconds


class Disclosed(_Event):
    """The server made a copy of the connection for `to`, on a legal ground. `settings` names the sides whose settings
    the copy has; `bodies` is true if it has texts (EVENT-8)."""

    model_config = ConfigDict(serialize_by_alias=True)

    event: Literal["disclosed"]
    to: Label
    ground: Literal["court", "authority", "audit", "agreed", "own_claim"]
    from_: Annotated[Milliseconds | None, Field(alias="from")] = None
    until: Milliseconds | None = None
    settings: Sides
    bodies: bool
    log: Origin
    index: Sequence
    at: Milliseconds


class Erasing(_Event):
    """The connection will be erased at `due_at`. Without `due_at` the erasure was cancelled (EVENT-8)."""

    event: Literal["erasing"]
    by: By
    ground: Token | None = None
    due_at: Milliseconds | None = None
    log: Origin
    index: Sequence
    at: Milliseconds


class ErasureHeld(_Event):
    """The connection will not be erased before `until` (s), since a court or a claim needs it (EVENT-8)."""

    event: Literal["erasure_held"]
    ground: Literal["court", "claim"]
    until: Seconds
    log: Origin
    index: Sequence
    at: Milliseconds


class Erased(Model):
    """The connection whose id has the hash `cid_hash` was erased; `entries` entries of the log can no longer be opened.
    The event outlives the connection and does not name it (EVENT-8)."""

    event: Literal["erased"]
    iss: Did
    cid_hash: Hash
    by: By
    ground: Token | None = None
    entries: Sequence
    log: Origin
    index: Sequence
    at: Milliseconds

    def is_about(self, cid: str) -> bool:
        """True if the event is about this connection."""
        return self.cid_hash == erased_hash(cid)

    @property
    def places(self) -> int:
        """The number of log entries of the event."""
        return 1


def erased_hash(cid: str) -> str:
    """The hash that replaces the id of an erased connection."""
    return b64u_encode(hashlib.sha256(b"comity.erased.v1\x00" + cid.encode("ascii")).digest())


Notice = MuteOver | Disclosed | Erasing | ErasureHeld | Erased
"""Events that change nothing in the public state but its time."""
Event = Opened | Accepted | Delivered | Expired | Restored | Confirmed | Notice
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """An event with a valid signature. Only `open_event` makes one."""

    raw: str
    kid: str
    """The name of the key that signed."""
    event: Event


def sign_event(event: Event, signer: Signer) -> str:
    """Signs an event as the home server."""
    return sign_jws(event.to_json(), EVENT_TYP, signer)


def parse_event(payload: bytes) -> Event:
    """Parses the members of an event. No signature is verified. Raises Malformed."""
    return parse_model(_EVENT, payload)


def parse_own_event(raw: str) -> Event:
    """Parses an event that the caller itself signed and stored. Nothing is verified."""
    return _EVENT.validate_json(b64u_decode(raw.split(".")[1]))


def open_event(raw: str | bytes, find_key: FindKey) -> SignedEvent:
    """Parses and verifies an event; the key must be its issuer's.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    jws = open_jws(raw, {EVENT_TYP}, find_key)
    event = parse_event(jws.payload)
    if did_of_kid(jws.header.kid) != event.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedEvent(jws.raw, jws.header.kid, event)
