"""Events: what the home server states about a connection and signs (spec/event.md).

`accepted` is the signed acceptance of an act. For a message it says what became of it, and carries what the other
side needs to go on with the chain when the message itself does not reach it (yet) (EVENT-4).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from comity.errors import Refused
from comity.jws import FindKey, open_jws, seal
from comity.keys import Signer, did_of_kid
from comity.words import (
    Channel,
    Did,
    Hash,
    Milliseconds,
    Model,
    Purpose,
    Seconds,
    Sequence,
    Side,
    Token,
    Topic,
    read_model,
)

EVENT_TYP = "comity-event+jwt"


Origin = Annotated[str, Field(pattern=r"^[!-*,-~]{1,255}$")]
"""The name of a log: a key name of a note, in ASCII."""


@dataclass(frozen=True, slots=True)
class Place:
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


class _Event(Model):
    iss: Did
    cid: Hash


class Opened(_Event):
    """The agreement is complete: the connection is open from `at` on."""

    event: Literal["opened"]
    at: Milliseconds


class Contents(Model):
    """What a message or an outside contact was for: all that the rules need of it."""

    purpose: Purpose
    channel: Channel
    topic: Topic | None = None
    exp: Seconds | None = None


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


class Expired(_Event):
    """A held message will not be delivered any more."""

    event: Literal["expired"]
    act: Hash
    side: Side
    at: Milliseconds


class Restored(_Event):
    """The store was put back from an older copy: this is what it kept, the heads of both chains of acts, and the log in
    which the server goes on (REC-1)."""

    event: Literal["restored"]
    first: Hash
    second: Hash
    log: Origin
    at: Milliseconds


class Confirmed(_Event):
    """The side `side` said after a restore that the server has all that it holds (REC-6)."""

    event: Literal["confirmed"]
    side: Side
    at: Milliseconds


Event = Opened | Accepted | Delivered | Expired | Restored | Confirmed
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """An event whose signature held. Only `open_event` makes one."""

    raw: str
    event: Event


def seal_event(event: Event, signer: Signer) -> str:
    """The event, signed by the home server."""
    return seal(event.to_json(), EVENT_TYP, signer)


def open_event(raw: str | bytes, find_key: FindKey) -> SignedEvent:
    """The event, if form, signature and members hold and its issuer is the key's own.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    opened = open_jws(raw, {EVENT_TYP}, find_key)
    event = read_model(_EVENT, opened.payload)
    if did_of_kid(opened.header.kid) != event.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedEvent(opened.raw, event)
