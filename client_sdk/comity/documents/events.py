"""Events: what the home server states about a connection and signs (spec/event.md).

`accepted` is the signed acceptance of an act. For a message it says what became of it, and carries what the other
side needs to go on with the chain when the message itself does not reach it (yet) (EVENT-4).
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from pydantic import ConfigDict, Field, TypeAdapter

from comity.crypto.jws import FindKey, open_jws, seal
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
    read_model,
)
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Refused

EVENT_TYP = "comity-event+jwt"


Origin = Annotated[str, Field(pattern=r"^[!-*,-~]{1,255}$")]
"""The name of a log: a key name of a note, in ASCII."""


class Place(msgspec.Struct, frozen=True):
    """A place in a log."""

    log: str
    index: int

    @property
    def members(self) -> dict[str, str | int]:
        """As it stands in an event."""
        return {"log": self.log, "index": self.index}

    def next(self) -> "Place":
        """The place after it."""
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
        """Whether the event is about that connection."""
        return self.cid == cid

    @property
    def places(self) -> int:
        """How many entries of the log it takes."""
        return 1


class Opened(_Event):
    """The agreement is complete: the connection is open from `at` on. `index` is the number that the next entry of the
    log `log` would have (EVENT-9)."""

    event: Literal["opened"]
    log: Origin
    index: Sequence
    at: Milliseconds

    @property
    def places(self) -> int:
        """It has no entry."""
        return 0


class Contents(Model):
    """What a message or an outside contact was for: all that the rules need of it."""

    purpose: Purpose
    channel: Channel
    topic: Topic | None = None
    exp: Seconds | None = None


_TOLD_OF = {"message": (True, True, False), "contacted": (False, True, True)}
"""Of which kinds of acts an event has `outcome`, `contents` and `verdict`; of all others none (EVENT-3)."""


class Accepted(_Event):
    """The act `act` was accepted at `accepted_at`, as entry `index` of the log `log` (EVENT-2).

    `outcome` and `contents` come with messages (EVENT-3), of which a delivered one has the next entry as well
    (LOG-10); `replaces` names the held message whose place this one took; `verdict` comes with `contacted`: the
    decision it would have had.
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
        """How many entries of the log it takes: a message that is delivered at once takes two (LOG-10)."""
        return 2 if self.outcome == "delivered" else 1

    @property
    def at(self) -> int:
        """When it took effect (ms)."""
        return self.accepted_at

    @property
    def is_whole(self) -> bool:
        """Whether `outcome`, `contents`, `verdict` and `replaces` are there exactly where an act of this kind has them
        (EVENT-3)."""
        told = (self.outcome is not None, self.contents is not None, self.verdict is not None)
        if told != _TOLD_OF.get(self.kind, (False, False, False)):
            return False
        if self.replaces is not None and self.outcome != "held":
            return False
        is_message = self.kind == "message"
        return self.contents is None or (
            (self.contents.exp is not None) == is_message and (self.contents.channel == "app") == is_message
        )

    @property
    def brings_the_act(self) -> bool:
        """Whether the act comes to the other side with its acceptance: a message that waits or was dropped does not
        (EVENT-4)."""
        return self.outcome in (None, "delivered")


class Delivered(_Event):
    """A held message was released into the other side's inbox, as entry `index` of the log `log`; no other end awaits
    it (EVENT-5)."""

    event: Literal["delivered"]
    act: Hash
    side: Side
    log: Origin
    index: Sequence
    at: Milliseconds
    as_of: AsOf


class Expired(_Event):
    """A held message will not be delivered any more. `log` and `index` as in `opened`."""

    event: Literal["expired"]
    act: Hash
    side: Side
    log: Origin
    index: Sequence
    at: Milliseconds
    as_of: AsOf

    @property
    def places(self) -> int:
        """It has no entry."""
        return 0


class Restored(_Event):
    """The store was put back from an older copy: this is what it kept, the heads of both chains of acts, and the log in
    which the server goes on (REC-1). `index` as in `opened`."""

    event: Literal["restored"]
    first: Hash
    second: Hash
    log: Origin
    index: Sequence
    at: Milliseconds

    @property
    def places(self) -> int:
        """It has no entry."""
        return 0


class Confirmed(_Event):
    """The side `side` said after a restore that the server has all that it holds (REC-6). `log` and `index` as in
    `opened`."""

    event: Literal["confirmed"]
    side: Side
    log: Origin
    index: Sequence
    at: Milliseconds

    @property
    def places(self) -> int:
        """It has no entry."""
        return 0


By = Literal["first", "second", "home"]
"""Who asked for an erasure: a side, or the operator of the home server."""


class MuteOver(_Event):
    """A message was let in behind the mute of everything `act`, which was over by then. `by` is the hash of the bytes
    that ended it: its latest `mute_end`, or the mute itself where it shows its end. For its owner alone (AUD-1)."""

    event: Literal["mute_over"]
    act: Hash
    by: Hash
    log: Origin
    index: Sequence
    at: Milliseconds


class Disclosed(_Event):
    """The server made a copy of the connection for `to`, on a ground; `settings` names the sides whose settings are in
    it, `bodies` says whether texts are (EVENT-8)."""

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
    """The connection is to be erased at `due_at`; without `due_at` that was taken back (EVENT-8)."""

    event: Literal["erasing"]
    by: By
    ground: Token | None = None
    due_at: Milliseconds | None = None
    log: Origin
    index: Sequence
    at: Milliseconds


class ErasureHeld(_Event):
    """The connection is not erased before `until` (s), as a court or a claim needs it (EVENT-8)."""

    event: Literal["erasure_held"]
    ground: Literal["court", "claim"]
    until: Seconds
    log: Origin
    index: Sequence
    at: Milliseconds


class Erased(Model):
    """The connection whose id has the hash `cid_hash` was erased; `entries` entries of the log cannot be opened any
    more. It names no connection, since it outlives it (EVENT-8)."""

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
        """Whether the event is about that connection."""
        return self.cid_hash == erased_hash(cid)

    @property
    def places(self) -> int:
        """How many entries of the log it takes."""
        return 1


def erased_hash(cid: str) -> str:
    """What is left of the id of a connection that was erased."""
    return b64u_encode(hashlib.sha256(b"comity.erased.v1\x00" + cid.encode("ascii")).digest())


Notice = MuteOver | Disclosed | Erasing | ErasureHeld | Erased
"""Events that change nothing of the public state but its time."""
Event = Opened | Accepted | Delivered | Expired | Restored | Confirmed | Notice
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """An event whose signature held. Only `open_event` makes one."""

    raw: str
    kid: str
    """The name of the key that signed it."""
    event: Event


def seal_event(event: Event, signer: Signer) -> str:
    """The event, signed by the home server."""
    return seal(event.to_json(), EVENT_TYP, signer)


def read_event(payload: bytes) -> Event:
    """The event that these members spell, whoever signed them. Raises Malformed."""
    return read_model(_EVENT, payload)


def own_event(raw: str) -> Event:
    """The event in a text that the caller itself signed and stored; nothing of it is checked."""
    return _EVENT.validate_json(b64u_decode(raw.split(".")[1]))


def open_event(raw: str | bytes, find_key: FindKey) -> SignedEvent:
    """The event, if form, signature and members hold and its issuer is the key's own.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    opened = open_jws(raw, {EVENT_TYP}, find_key)
    event = read_event(opened.payload)
    if did_of_kid(opened.header.kid) != event.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedEvent(opened.raw, opened.header.kid, event)
