"""The catalogue of what a business is told, and a row of its stream as one of these (spec/notification.md).

    happening    what a row tells, the same bytes whenever it is rendered: polled, streamed, or sent to a webhook

A happening is thin (NEWS-3): ids, kinds, purposes, topics, times and outcomes. Nobody needs the text of a body, or a
key, to know that he should look; and what is not there cannot lie about in somebody's logs.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from pydantic import ConfigDict, Field, TypeAdapter

from comity.documents.acts import MODELS, Act, Feedback, Message, Setting
from comity.documents.agreements import Agreement
from comity.documents.events import Accepted, Confirmed, Delivered, Event, Expired, Restored
from comity.documents.offers import SHORT, Offer
from comity.documents.types import Side
from comity.encoding import b64u_decode, b64u_encode, hash_id
from comity_server.businesses.directory import Business
from comity_server.businesses.held_texts import draft_of
from comity_server.reads.connections import accepted_in
from comity_server.schema import Cid, Hash, Instant, Model, Who, instant
from comity_server.store.rows import News

Type = Literal[
    "offer.received",
    "proposal.received",
    "proposal.declined",
    "proposal.taken_back",
    "connection.opened",
    "connection.muted",
    "connection.unmuted",
    "connection.revoked",
    "connection.restored",
    "connection.confirmed",
    "grant.given",
    "grant.withdrawn",
    "grant.renounced",
    "message.received",
    "message.waiting",
    "message.delivered",
    "message.expired",
    "message.contested",
    "message.feedback",
    "favour.asked",
    "favour.answered",
    "favour.done",
    "favour.thanked",
    "note.remembered",
    "note.forgotten",
    "milestone.recorded",
    "contact.recorded",
    "key.rotated",
    "erasure.stated",
]


class Told(NamedTuple):
    """A type of the catalogue: when it is told, and the members of its `data`; those with a `?` can be absent."""

    when: str
    data: tuple[str, ...]


def _told(when: str, data: str) -> Told:
    return Told(when, tuple(data.split()))


CATALOGUE: dict[Type, Told] = {
    "offer.received": _told("Somebody offers the business a connection.", "offer offerer purposes expires_at"),
    "proposal.received": _told(
        "Somebody accepted an offer of the business, which is to countersign until `expires_at`.",
        "connection offer expires_at",
    ),
    "proposal.declined": _told("The offerer declined what the business had accepted.", "connection offer reason?"),
    "proposal.taken_back": _told(
        "Whoever had accepted took it back, before it was countersigned, or it gave way to newer ones (`no_room`), or"
        " the server was restored (`restored`).",
        "connection offer reason?",
    ),
    "connection.opened": _told("A connection is open; `side` is the business's own.", "connection offer side"),
    "connection.muted": _told(
        "The other side stops the business for a while: all, or some purposes or channels; `until` where it shows the"
        " end, `why` where it is `away`.",
        "connection act by purposes? channels? until? why?",
    ),
    "connection.unmuted": _told(
        "The other side ended one mute, or without `mute` all of its.", "connection act by mute?"
    ),
    "connection.revoked": _told("The other side ended the connection, for good.", "connection act by"),
    "connection.restored": _told(
        "The server was put back from a backup: nobody is reached in this connection until both sides have confirmed"
        " what they hold.",
        "connection",
    ),
    "connection.confirmed": _told(
        "A side has confirmed after that; `recovering` of the connection names the one that is still waited for.",
        "connection",
    ),
    "grant.given": _told(
        "The other side gave a consent token, perhaps in the place of an earlier one.",
        "connection act by purposes channels expires_at replaces?",
    ),
    "grant.withdrawn": _told("The other side took a consent token back.", "connection act by grant"),
    "grant.renounced": _told(
        "The other side gives up consents of the business, for some purposes and channels or for all.",
        "connection act by grants because purposes? channels?",
    ),
    "message.received": _told(
        "A message of the other side is there to read.", "connection act by purpose topic? expires_at reply_to?"
    ),
    "message.waiting": _told(
        "A message of the other side waits for a door of the business, perhaps in the place of an earlier one.",
        "connection act by purpose topic? expires_at replaces?",
    ),
    "message.delivered": _told(
        "A message of the business that had waited has reached the other side.",
        "connection act by purpose topic? expires_at",
    ),
    "message.expired": _told(
        "A message that had waited, of the business or of the other side, will not be delivered any more. `draft` is"
        " the business's own text, where it was kept.",
        "connection act by purpose topic? expires_at draft?",
    ),
    "message.contested": _told(
        "The other side says that a message of the business was something else than it said: what is sent for its"
        " purpose is judged as `as`, too.",
        "connection act by message purpose had? as topic?",
    ),
    "message.feedback": _told(
        "The other side says how a message of the business was; told once a day and connection.",
        "connection act by message purpose had? says",
    ),
    "favour.asked": _told("The other side asks for a favour.", "connection act by kind effort answer_by?"),
    "favour.answered": _told("The other side answered what it was asked.", "connection act by ask answer"),
    "favour.done": _told("The other side did what it had promised.", "connection act by ask"),
    "favour.thanked": _told("The other side says thank you.", "connection act by ask"),
    "note.remembered": _told("The other side created or replaced a note.", "connection act by key topic?"),
    "note.forgotten": _told("The other side deleted a note.", "connection act by key topic?"),
    "milestone.recorded": _told("The other side recorded a milestone.", "connection act by kind topic when"),
    "contact.recorded": _told(
        "The other side reached the business outside the app; `verdict` is what the gate would have said.",
        "connection act by channel purpose topic? verdict",
    ),
    "key.rotated": _told(
        "The other side signs with a new key; grants of a side that is known by its key alone are given anew.",
        "connection act by",
    ),
    "erasure.stated": _told(
        "After the end, the other side states what it deleted of the business's data, and what it keeps.",
        "connection act by deleted kept?",
    ),
}
"""Every type, in the order of the page (NEWS-2)."""

ACTS: dict[str, Type] = {
    "grant": "grant.given",
    "withdraw": "grant.withdrawn",
    "mute": "connection.muted",
    "unmute": "connection.unmuted",
    "revoke": "connection.revoked",
    "message": "message.received",
    "contacted": "contact.recorded",
    "ask": "favour.asked",
    "answer": "favour.answered",
    "done": "favour.done",
    "thank": "favour.thanked",
    "remember": "note.remembered",
    "forget": "note.forgotten",
    "milestone": "milestone.recorded",
    "feedback": "message.feedback",
    "renounce": "grant.renounced",
    "rotate": "key.rotated",
    "erasure": "erasure.stated",
}
"""What the other side's act of each kind is told as; a contest is `message.contested`.
Settings are nobody's but their side's: they never come."""


class Data(Model):
    """What a notification is about. Which members there are follows from the type."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    connection: Cid | None = Field(default=None, description="The connection, or what will be one.")
    act: Hash | None = Field(default=None, description="The act's id, as in the connection's timeline.")
    by: Who | None = Field(default=None, description="Whose act it is: the business's own, or the other side's.")
    offer: str | None = Field(default=None, description="The id of the offer.", examples=["kLw3vE0pYb2n"])
    offerer: str | None = Field(default=None, description="The DID of who offers.")
    side: Side | None = Field(default=None, description="Which side of the connection the business is.")
    message: Hash | None = Field(default=None, description="The message, or contact, that feedback is about.")
    purpose: str | None = Field(default=None, examples=["care.welcome"])
    as_: str | None = Field(default=None, alias="as", description="What it was really for.", examples=["sales"])
    purposes: tuple[str, ...] | None = Field(default=None, examples=[["care", "sales"]])
    channel: str | None = Field(default=None, examples=["phone"])
    channels: tuple[str, ...] | None = Field(default=None, examples=[["app", "email"]])
    topic: str | None = Field(default=None, examples=["windows"])
    had: str | None = Field(default=None, description="The topic of the message that feedback is about.")
    says: str | None = Field(default=None, description="How a message was.", examples=["useful"])
    because: str | None = Field(default=None, description="Why consents are given up.", examples=["told_us"])
    kind: str | None = Field(default=None, description="The kind of favour, or of milestone.", examples=["hold"])
    effort: str | None = Field(default=None, description="What the favour takes.", examples=["minute"])
    key: str | None = Field(default=None, description="The key of the note.", examples=["language"])
    answer: Literal["yes", "no", "not_now"] | None = None
    verdict: str | None = Field(default=None, examples=["muted"])
    reason: str | None = Field(default=None, description="A word for why, where one was given.")
    why: Literal["away"] | None = Field(default=None, description="Of a mute: the other side is away until its end.")
    ask: Hash | None = Field(default=None, description="The id of the favour that was asked for.")
    grant: Hash | None = Field(default=None, description="The id of the consent token that ends.")
    grants: tuple[Hash, ...] | None = Field(default=None, description="The ids of consent tokens.")
    mute: Hash | None = Field(default=None, description="The id of the mute that ends.")
    replaces: Hash | None = Field(default=None, description="The id of the one whose place it takes.")
    deleted: tuple[str, ...] | None = Field(default=None, description="Categories of data.", examples=[["messages"]])
    kept: tuple[str, ...] | None = Field(default=None, description="Categories of data.", examples=[["payments"]])
    reply_to: Hash | None = Field(default=None, description="The id of the message that it answers.")
    when: Instant | None = None
    until: Instant | None = None
    answer_by: Instant | None = None
    expires_at: Instant | None = None
    draft: str | None = Field(
        default=None,
        description="The draft that the text of your message is now. There is none of what you signed yourself, nor"
        " where the message was answered with `no_draft`.",
        examples=["draft_3v5b1GmKJq8y2Zt0"],
    )


class Notification(Model):
    """Something that happened, as it is polled, streamed, and sent to webhooks: the same bytes each time."""

    id: str = Field(description="Stable: whoever saw it once can tell.", examples=["evt_Zc7uYd0h3nLq5xkT1mVwRb2s"])
    type: Type
    timestamp: Instant
    data: Data


@dataclass(frozen=True, slots=True)
class BusinessEvent:
    """One thing that a business is told; `at` in ms."""

    id: str
    type: Type
    at: int
    data: Data

    def json(self) -> bytes:
        """As it is told, byte for byte the same each time (NEWS-1)."""
        return Notification(id=self.id, type=self.type, timestamp=instant(self.at), data=self.data).to_json()


_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_MEMBER = {"expires_at": "exp", "answer_by": "by", "as": "as_"}
"""What is called otherwise in an act."""
_TIMES = frozenset({"when", "until", "answer_by", "expires_at"})


def happening(row: News, business: Business, ids: bytes) -> BusinessEvent | None:
    """What a row of the business's stream tells its engineers; None for what is of no use to them (NEWS-4). `ids` is
    the secret from which ids are made."""
    if row.quiet:
        return None
    if row.kind == "offer":
        found = _offered(row)
    elif row.kind in ("proposal", "declined"):
        found = _proposed(row, business)
    elif row.kind == "opened":
        found = _opened(row)
    elif row.event is not None:
        found = _released(row, business)
    else:
        found = _accepted(row)
    if found is None:
        return None
    type_, at, members = found
    return BusinessEvent(happening_id(ids, business.did, row.n), type_, at, Data(**members))


def happening_id(ids: bytes, stream: str, n: int) -> str:
    """The id of what row `n` of a stream tells: always the same, in no order, not to be guessed (NEWS-1)."""
    return "evt_" + b64u_encode(hmac.digest(ids, n.to_bytes(8, "big") + stream.encode(), hashlib.sha256)[:18])


_Found = tuple[Type, int, Mapping[str, Any]]
"""(type, time in ms, members of data)."""


def _offered(row: News) -> _Found | None:
    if row.offer is None:
        return None
    offer = Offer.model_validate_json(_payload(row.offer))
    members = {
        "offer": hash_id(row.offer.encode("ascii"))[:SHORT],
        "offerer": offer.iss,
        "purposes": offer.purposes,
        "expires_at": instant(offer.exp * 1000),
    }
    return "offer.received", row.told_at, members


def _proposed(row: News, business: Business) -> _Found | None:
    if row.half is None:
        return None
    agreement = _agreement(row.half)
    members: dict[str, Any] = {"connection": row.cid, "offer": agreement.offer[:SHORT]}
    at = row.told_at
    if row.kind == "proposal":
        return "proposal.received", at, {**members, "expires_at": instant(agreement.countersign_by * 1000)}
    if agreement.offerer.did == business.did:
        return "proposal.taken_back", at, {**members, "reason": row.reason}
    return "proposal.declined", at, {**members, "reason": row.reason}


def _opened(row: News) -> _Found | None:
    if row.event is None or row.agreement is None:
        return None
    opened = _EVENT.validate_json(_payload(row.event))
    offer = _agreement(row.agreement).offer[:SHORT]
    return "connection.opened", opened.at, {"connection": row.cid, "offer": offer, "side": row.side}


def _released(row: News, business: Business) -> _Found | None:
    """What became of a message that had waited: the other side's comes now, or one of ours went. And what became of the
    connection when the server was restored."""
    event = None if row.event is None else _EVENT.validate_json(_payload(row.event))
    if isinstance(event, Restored | Confirmed):
        kind: Type = "connection.restored" if isinstance(event, Restored) else "connection.confirmed"
        return kind, event.at, {"connection": row.cid}
    if not isinstance(event, Delivered | Expired) or not row.act or row.acceptance is None:
        return None
    message = Message.model_validate_json(_payload(row.act))
    by: Who = "us" if message.iss == business.did else "them"
    type_: Type = "message.expired" if isinstance(event, Expired) else "message.delivered"
    members = _of_message(accepted_in(row.acceptance), by)
    if type_ == "message.delivered" and by == "them":
        type_, members["reply_to"] = "message.received", message.reply_to
    if type_ == "message.expired" and by == "us":
        members["draft"] = draft_of(members["act"])
    return type_, event.at, members


def _accepted(row: News) -> _Found | None:
    """An act of the other side: the acts of the business itself go to the other side alone."""
    if row.acceptance is None or row.act is None:
        return None
    accepted = accepted_in(row.acceptance)
    type_, at = ACTS.get(accepted.kind), accepted.accepted_at
    if type_ is None or accepted.outcome == "dropped":
        return None
    if accepted.outcome == "held":
        return "message.waiting", at, {**_of_message(accepted, "them"), "replaces": accepted.replaces}
    payload = MODELS[accepted.kind].model_validate_json(_payload(row.act))
    if isinstance(payload, Feedback) and payload.says == "mislabelled":
        type_ = "message.contested"
    members: dict[str, Any] = {"connection": accepted.cid, "act": accepted.act, "by": "them"}
    for member in (name.removesuffix("?") for name in CATALOGUE[type_].data):
        if member == "verdict":
            members[member] = accepted.verdict
        elif member not in members:
            members[member] = _value(payload, member)
    return type_, at, members


def _of_message(accepted: Accepted, by: Who) -> dict[str, Any]:
    """What both sides may know of a message, whether it came or not (EVENT-4)."""
    members: dict[str, Any] = {"connection": accepted.cid, "act": accepted.act, "by": by}
    if (contents := accepted.contents) is not None:
        expires_at = None if contents.exp is None else instant(contents.exp * 1000)
        members.update(purpose=contents.purpose, topic=contents.topic, expires_at=expires_at)
    return members


def _value(payload: Act | Setting, member: str) -> Any:
    value = getattr(payload, _MEMBER.get(member, member))
    if member == "kept" and value is not None:
        return tuple(dict.fromkeys(kept.what for kept in value))
    return instant(value * 1000) if member in _TIMES and value is not None else value


def _agreement(general: bytes) -> Agreement:
    return Agreement.model_validate_json(b64u_decode(msgspec.json.decode(general)["payload"]))


def _payload(jws: str) -> bytes:
    return b64u_decode(jws.split(".")[1])


assert set(CATALOGUE) == set(get_args(Type)), "one catalogue"
