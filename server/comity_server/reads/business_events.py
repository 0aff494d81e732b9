"""The types of notifications, and the notification of a row of a business's stream (spec/notification.md).

`business_event` returns the event of a row. Its bytes are the same in a page, in a stream and in a webhook.

An event is thin (NEWS-3): it has ids, kinds, purposes, topics, times and outcomes. It has no text of a body and no key,
so that neither ends up in the logs of the receivers.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from pydantic import Field, TypeAdapter

from comity.documents.acts import MODELS, Act, Feedback, Message, Setting
from comity.documents.agreements import Agreement
from comity.documents.events import Accepted, Confirmed, Delivered, Event, Expired, Restored
from comity.documents.offers import SHORT, Offer
from comity.encoding import b64u_decode, b64u_encode, hash_id
from comity_server.businesses.directory import Business
from comity_server.businesses.held_texts import draft_of
from comity_server.reads.connections import accepted_in
from comity_server.schema import ACT_MEMBERS, Cid, Hash, Instant, Model, Who, instant
from comity_server.store.rows import News

Type = Literal[
    "offer.received",
    "proposal.received",
    "proposal.declined",
    "proposal.withdrawn",
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
    "message.held",
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


class EventType(NamedTuple):
    """A type of notification: its occasion, and the members of its `data`. A member with `?` can be absent."""

    when: str
    data: tuple[str, ...]


def _type(when: str, data: str) -> EventType:
    return EventType(when, tuple(data.split()))


CATALOGUE: dict[Type, EventType] = {
    "offer.received": _type(
        "Somebody offers the business a connection.",
        "offer offerer purposes expires_at",
    ),
    "proposal.received": _type(
        "Somebody accepted an offer of the business. The business can countersign until `expires_at`.",
        "connection offer expires_at",
    ),
    "proposal.declined": _type(
        "The offerer declined the proposal of the business.",
        "connection offer reason?",
    ),
    "proposal.withdrawn": _type(
        "A proposal ended before it was countersigned: its accepter took it back, newer ones replaced it"
        " (`no_room`), or the server was restored (`restored`).",
        "connection offer reason?",
    ),
    "connection.opened": _type(
        "A connection is open. `offered_by` made the offer.",
        "connection offer offered_by",
    ),
    "connection.muted": _type(
        "The other side muted the business, for everything or for some purposes or channels. It has `ends_at`"
        " where the side shows the end, and the `reason` `away` where the side is away.",
        "connection act by purposes? channels? ends_at? reason?",
    ),
    "connection.unmuted": _type(
        "The other side ended one mute, or without `mute` all of its mutes.",
        "connection act by mute?",
    ),
    "connection.revoked": _type(
        "The other side ended the connection for good.",
        "connection act by",
    ),
    "connection.restored": _type(
        "The server was restored from a backup. It delivers nothing in this connection until both sides have"
        " confirmed their acts.",
        "connection",
    ),
    "connection.confirmed": _type(
        "A side confirmed its acts after a restore. `unconfirmed_by` of the connection names the sides that have not.",
        "connection",
    ),
    "grant.given": _type(
        "The other side gave a grant, perhaps as the replacement of an earlier one.",
        "connection act by purposes channels expires_at replaces?",
    ),
    "grant.withdrawn": _type(
        "The other side withdrew a grant.",
        "connection act by grant",
    ),
    "grant.renounced": _type(
        "The other side renounced grants of the business, for some purposes and channels or for all.",
        "connection act by grants reason purposes? channels?",
    ),
    "message.received": _type(
        "A message of the other side was delivered.",
        "connection act by purpose topic? expires_at reply_to?",
    ),
    "message.held": _type(
        "A message of the other side is held until it can reach the business. It may replace an earlier one.",
        "connection act by purpose topic? expires_at replaces?",
    ),
    "message.delivered": _type(
        "A held message of the business was delivered.",
        "connection act by purpose topic? expires_at",
    ),
    "message.expired": _type(
        "A held message, of the business or of the other side, will not be delivered any more. `draft` is the"
        " text of the business, where it was kept.",
        "connection act by purpose topic? expires_at draft?",
    ),
    "message.contested": _type(
        "The other side contests a message of the business: further messages of its purpose must be allowed as"
        " `actual_purpose` as well.",
        "connection act by message purpose topic? actual_purpose actual_topic?",
    ),
    "message.feedback": _type(
        "The other side gave feedback on a message of the business; at most once a day and connection.",
        "connection act by message purpose topic? says",
    ),
    "favour.asked": _type(
        "The other side asks for a favour.",
        "connection act by kind effort answer_by?",
    ),
    "favour.answered": _type(
        "The other side answered an ask of the business.",
        "connection act by ask answer",
    ),
    "favour.done": _type(
        "The other side did a favour that it had promised.",
        "connection act by ask",
    ),
    "favour.thanked": _type(
        "The other side thanked the business for a favour.",
        "connection act by ask",
    ),
    "note.remembered": _type(
        "The other side created or replaced a note.",
        "connection act by key topic?",
    ),
    "note.forgotten": _type(
        "The other side deleted a note.",
        "connection act by key topic?",
    ),
    "milestone.recorded": _type(
        "The other side recorded a milestone.",
        "connection act by kind topic happened_at",
    ),
    "contact.recorded": _type(
        "The other side reached the business outside the app. `verdict` is the verdict of the gate at that time.",
        "connection act by channel purpose topic? verdict",
    ),
    "key.rotated": _type(
        "The other side signs with a new key. A side that is known by its key alone gives its grants again.",
        "connection act by",
    ),
    "erasure.stated": _type(
        "The other side stated what it deleted of the data of the business after the end, and what it keeps.",
        "connection act by deleted kept?",
    ),
}
"""All types, in the order of the specification (NEWS-2)."""

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
"""Kind of act of the other side → type. A contest is `message.contested`. Settings are private and have no type."""


class NotificationData(Model):
    """The subject of a notification. Its members depend on the type."""

    connection: Cid | None = Field(default=None, description="The connection, or what will be one.")
    act: Hash | None = Field(default=None, description="The act's id, as in the connection's timeline.")
    by: Who | None = Field(default=None, description="Whose act it is: the business's own, or the other side's.")
    offer: str | None = Field(default=None, description="The id of the offer.", examples=["kLw3vE0pYb2n"])
    offerer: str | None = Field(default=None, description="The DID of who offers.")
    offered_by: Who | None = Field(default=None, description="Who made the offer: the business, or the other side.")
    message: Hash | None = Field(default=None, description="The message, or contact, that feedback is about.")
    purpose: str | None = Field(default=None, examples=["care.welcome"])
    actual_purpose: str | None = Field(
        default=None, description="What a contested message was really for.", examples=["sales"]
    )
    purposes: tuple[str, ...] | None = Field(default=None, examples=[["care", "sales"]])
    channel: str | None = Field(default=None, examples=["phone"])
    channels: tuple[str, ...] | None = Field(default=None, examples=[["app", "email"]])
    topic: str | None = Field(default=None, examples=["windows"])
    actual_topic: str | None = Field(default=None, description="What a contested message was really about.")
    says: str | None = Field(default=None, description="How a message was.", examples=["useful"])
    kind: str | None = Field(default=None, description="The kind of favour, or of milestone.", examples=["hold"])
    effort: str | None = Field(default=None, description="What the favour takes.", examples=["minute"])
    key: str | None = Field(default=None, description="The key of the note.", examples=["language"])
    answer: Literal["yes", "no", "not_now"] | None = None
    verdict: str | None = Field(default=None, examples=["muted"])
    reason: str | None = Field(
        default=None,
        description="A word for why, where one was given; `away` of a mute: the other side is away until its end.",
        examples=["told_us"],
    )
    ask: Hash | None = Field(default=None, description="The id of the favour that was asked for.")
    grant: Hash | None = Field(default=None, description="The id of the consent token that ends.")
    grants: tuple[Hash, ...] | None = Field(default=None, description="The ids of consent tokens.")
    mute: Hash | None = Field(default=None, description="The id of the mute that ends.")
    replaces: Hash | None = Field(default=None, description="The id of the one whose place it takes.")
    deleted: tuple[str, ...] | None = Field(default=None, description="Categories of data.", examples=[["messages"]])
    kept: tuple[str, ...] | None = Field(default=None, description="Categories of data.", examples=[["payments"]])
    reply_to: Hash | None = Field(default=None, description="The id of the message that it answers.")
    happened_at: Instant | None = None
    ends_at: Instant | None = None
    answer_by: Instant | None = None
    expires_at: Instant | None = None
    draft: str | None = Field(
        default=None,
        description="The draft that the text of your message is now. There is none of what you signed yourself, nor"
        " where the message was answered with `no_draft`.",
        examples=["draft_3v5b1GmKJq8y2Zt0"],
    )


class Notification(Model):
    """An event, with the same bytes in a page, in a stream and in a webhook."""

    id: str = Field(
        description="The same in every page, stream and delivery. Store it to ignore repeated events.",
        examples=["evt_Zc7uYd0h3nLq5xkT1mVwRb2s"],
    )
    object: Literal["event"] = "event"
    type: Type
    timestamp: Instant
    data: NotificationData


@dataclass(frozen=True, slots=True)
class BusinessEvent:
    """An event in a business's stream; `at` in ms."""

    id: str
    type: Type
    at: int
    data: NotificationData

    def json(self) -> bytes:
        """The notification, always with the same bytes (NEWS-1)."""
        return Notification(id=self.id, type=self.type, timestamp=instant(self.at), data=self.data).to_json()


_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_TIMES = frozenset({"happened_at", "ends_at", "answer_by", "expires_at"})


def business_event(row: News, business: Business, ids: bytes) -> BusinessEvent | None:
    """The event of a row of the business's stream; None for a row that makes no notification (NEWS-4). `ids` is the
    secret from which the ids of events are derived."""
    if row.quiet:
        return None
    if row.kind == "offer":
        found = _of_offer(row)
    elif row.kind in ("proposal", "declined"):
        found = _of_proposal(row, business)
    elif row.kind == "opened":
        found = _of_opening(row)
    elif row.event is not None:
        found = _of_held_message(row, business)
    else:
        found = _of_act(row)
    if found is None:
        return None
    type_, at, members = found
    return BusinessEvent(event_id(ids, business.did, row.n), type_, at, NotificationData(**members))


def event_id(ids: bytes, stream: str, n: int) -> str:
    """The id of the event of row `n` of a stream: stable, unordered, and not to be guessed (NEWS-1)."""
    return "evt_" + b64u_encode(hmac.digest(ids, n.to_bytes(8, "big") + stream.encode(), hashlib.sha256)[:18])


_EventParts = tuple[Type, int, Mapping[str, Any]]
"""(type, time in ms, members of data)."""


def _of_offer(row: News) -> _EventParts | None:
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


def _of_proposal(row: News, business: Business) -> _EventParts | None:
    if row.half is None:
        return None
    agreement = _agreement(row.half)
    members: dict[str, Any] = {"connection": row.cid, "offer": agreement.offer[:SHORT]}
    at = row.told_at
    if row.kind == "proposal":
        return "proposal.received", at, {**members, "expires_at": instant(agreement.countersign_by * 1000)}
    if agreement.offerer.did == business.did:
        return "proposal.withdrawn", at, {**members, "reason": row.reason}
    return "proposal.declined", at, {**members, "reason": row.reason}


def _of_opening(row: News) -> _EventParts | None:
    if row.event is None or row.agreement is None:
        return None
    opened = _EVENT.validate_json(_payload(row.event))
    offer = _agreement(row.agreement).offer[:SHORT]
    by: Who = "us" if row.side == "first" else "them"
    return "connection.opened", opened.at, {"connection": row.cid, "offer": offer, "offered_by": by}


def _of_held_message(row: News, business: Business) -> _EventParts | None:
    """The event of a held message that was delivered or has expired, or of a connection after a restore."""
    event = None if row.event is None else _EVENT.validate_json(_payload(row.event))
    if isinstance(event, Restored | Confirmed):
        kind: Type = "connection.restored" if isinstance(event, Restored) else "connection.confirmed"
        return kind, event.at, {"connection": row.cid}
    if not isinstance(event, Delivered | Expired) or not row.act or row.acceptance is None:
        return None
    message = Message.model_validate_json(_payload(row.act))
    by: Who = "us" if message.iss == business.did else "them"
    type_: Type = "message.expired" if isinstance(event, Expired) else "message.delivered"
    members = _message_members(accepted_in(row.acceptance), by)
    if type_ == "message.delivered" and by == "them":
        type_, members["reply_to"] = "message.received", message.reply_to
    if type_ == "message.expired" and by == "us":
        members["draft"] = draft_of(members["act"])
    return type_, event.at, members


def _of_act(row: News) -> _EventParts | None:
    """The event of an act of the other side. Acts of the business make none (NEWS-4)."""
    if row.acceptance is None or row.act is None:
        return None
    accepted = accepted_in(row.acceptance)
    type_, at = ACTS.get(accepted.kind), accepted.accepted_at
    if type_ is None or accepted.outcome == "dropped":
        return None
    if accepted.outcome == "held":
        return "message.held", at, {**_message_members(accepted, "them"), "replaces": accepted.replaces}
    payload = MODELS[accepted.kind].model_validate_json(_payload(row.act))
    if isinstance(payload, Feedback) and payload.says == "mislabelled":
        type_ = "message.contested"
    members: dict[str, Any] = {"connection": accepted.cid, "act": accepted.act, "by": "them"}
    for member in (name.removesuffix("?") for name in CATALOGUE[type_].data):
        if member == "verdict":
            members[member] = accepted.verdict
        elif member not in members:
            members[member] = _member_value(payload, accepted.kind, member)
    return type_, at, members


def _message_members(accepted: Accepted, by: Who) -> dict[str, Any]:
    """The members that both sides may know of a message, delivered or not (EVENT-4)."""
    members: dict[str, Any] = {"connection": accepted.cid, "act": accepted.act, "by": by}
    if (contents := accepted.contents) is not None:
        expires_at = None if contents.exp is None else instant(contents.exp * 1000)
        members.update(purpose=contents.purpose, topic=contents.topic, expires_at=expires_at)
    return members


def _member_value(payload: Act | Setting, kind: str, member: str) -> Any:
    value = getattr(payload, ACT_MEMBERS.get(kind, {}).get(member, member))
    if member == "kept" and value is not None:
        return tuple(dict.fromkeys(kept.what for kept in value))
    return instant(value * 1000) if member in _TIMES and value is not None else value


def _agreement(general: bytes) -> Agreement:
    return Agreement.model_validate_json(b64u_decode(msgspec.json.decode(general)["payload"]))


def _payload(jws: str) -> bytes:
    return b64u_decode(jws.split(".")[1])


assert set(CATALOGUE) == set(get_args(Type)), "one catalogue"
