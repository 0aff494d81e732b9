"""Acts and settings: the documents that one side signs (spec/act.md).

`open_act` is the only way to a `SignedAct`, so form, members and signature of a `SignedAct` are valid and the key
belongs to the issuer. `rules.decide` decides whether the act is allowed now.
"""

from typing import Annotated, Literal, get_args

import msgspec
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator

from comity.crypto.jws import FindKey, OpenedJws, no_other_keys, open_jws, sign_jws
from comity.crypto.keys import PublicKey, Signer, did_of_kid, is_pairwise, key_of_did
from comity.documents.hours import Window, check_windows
from comity.documents.proofs import MAILBOX_TYP, ROTATE_TYP, Proof, check_proof
from comity.documents.types import (
    Budget,
    Categories,
    Channels,
    Data,
    Did,
    GrantedPurpose,
    Hash,
    Hashes,
    Jwe,
    Kid,
    Model,
    Purposes,
    ReachPurpose,
    ReachPurposes,
    Recipients,
    RetainedData,
    Seconds,
    Sequence,
    Status,
    Token,
    Topic,
    ZoneName,
    parse_model,
    requires,
)
from comity.encoding import MAX_BODY, hash_id
from comity.errors import Malformed, Refused

ACT_TYP = "comity-act+jwt"
GRANT_TYP = "comity-grant+jwt"
SETTING_TYP = "comity-setting+jwt"
ACT_TYPS = frozenset({ACT_TYP, GRANT_TYP, SETTING_TYP})

Chain = Literal["acts", "settings"]


class ChainLink(Model):
    """The members of every act and setting: sender, recipient, time, connection, and position in the chain."""

    iss: Did
    aud: Did
    iat: Seconds
    cid: Hash
    seq: Sequence
    prev: Hash


class Grant(ChainLink):
    """A consent token: what the other side may do towards the grantor, and until when (GRANT-1 to GRANT-6)."""

    act: Literal["grant"]
    exp: Seconds
    purposes: ReachPurposes
    channels: Channels
    status: Status
    data: Data | None = None
    budget: Budget | None = None
    replaces: Hash | None = None
    value: Token | None = None


class Withdraw(ChainLink):
    """Withdraws a grant."""

    act: Literal["withdraw"]
    grant: Hash


class Mute(ChainLink):
    """Mutes the other side for a while: completely, or for some purposes or channels.

    With `until` the other side sees the end. Without it the other side sees "not now"; the end, if there is one, is
    then the setting `mute_end`, which the other side never receives. `why` tells the other side that this side is away
    (AWAY-1).
    """

    act: Literal["mute"]
    purposes: Purposes | None = None
    channels: Channels | None = None
    until: Seconds | None = None
    why: Annotated[Literal["away"], AfterValidator(requires("until"))] | None = None


class Unmute(ChainLink):
    """Ends one mute, or every mute of this side."""

    act: Literal["unmute"]
    mute: Hash | None = None


class Revoke(ChainLink):
    """Ends the connection for both sides, for good."""

    act: Literal["revoke"]


class Message(ChainLink):
    """A message in the app, and its handling while the other side cannot be reached."""

    act: Literal["message"]
    purpose: ReachPurpose
    if_muted: Literal["hold", "drop", "fail"]
    exp: Seconds
    body: Jwe
    topic: Topic | None = None
    reply_to: Hash | None = None


class Contacted(ChainLink):
    """A statement that this side contacted the other outside the app. It cannot be taken back (GATE-19)."""

    act: Literal["contacted"]
    channel: Literal["email", "phone", "post", "sms", "visit"]
    purpose: ReachPurpose
    topic: Topic | None = None


class Ask(ChainLink):
    """A request for a favour. The text, and an offer in return, are in the body."""

    act: Literal["ask"]
    kind: Token
    effort: Literal["minute", "hour", "money"]
    body: Jwe
    by: Seconds | None = None


class Answer(ChainLink):
    """Yes, no or not now; it needs no reason."""

    act: Literal["answer"]
    ask: Hash
    answer: Literal["yes", "no", "not_now"]
    body: Jwe | None = None


class Done(ChainLink):
    """The promised favour is done."""

    act: Literal["done"]
    ask: Hash


class Thank(ChainLink):
    """Thanks for a favour that was done."""

    act: Literal["thank"]
    ask: Hash
    body: Jwe | None = None


class Remember(ChainLink):
    """A note about this side: a language, a name, a receipt on paper, no interest in a topic."""

    act: Literal["remember"]
    key: Token
    topic: Topic | None = None
    body: Jwe | None = None

    @model_validator(mode="after")
    def _check_topic(self) -> "Remember":
        if self.key == "no_interest" and self.topic is None:
            raise ValueError("no_interest needs a topic")
        return self


class Forget(ChainLink):
    """Deletes a note."""

    act: Literal["forget"]
    key: Token
    topic: Topic | None = None


class Milestone(ChainLink):
    """Something that happened between the two sides, and how long it lasts."""

    act: Literal["milestone"]
    kind: Literal["bought", "installed", "serviced", "complained", "put_right"]
    topic: Topic
    when: Seconds
    lasts: Seconds | None = None
    body: Jwe | None = None


class Feedback(ChainLink):
    """Feedback on a message that this side received, or on a contact outside the app; the latest counts. `had` is the
    message's own topic.

    `mislabelled` contests the message: its purpose was really `as`, its topic `topic` (GATE-21).
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    act: Literal["feedback"]
    message: Hash
    purpose: ReachPurpose
    says: Literal["useful", "not_useful", "too_often", "not_interested", "thanks", "mislabelled"]
    had: Topic | None = None
    as_: Annotated[GrantedPurpose | None, Field(alias="as")] = None
    topic: Topic | None = None

    @model_validator(mode="after")
    def _check_contest(self) -> "Feedback":
        if self.says != "mislabelled":
            if self.as_ is not None or self.topic is not None:
                raise ValueError("as and topic are allowed only with mislabelled")
        elif self.as_ is None:
            raise ValueError("mislabelled needs as, the purpose that the message really had")
        elif self.as_ == self.purpose and self.topic is None:
            raise ValueError("a contest needs another purpose or another topic than the message had")
        return self


class Renounce(ChainLink):
    """Gives up consents of the other side, for some purposes and channels or completely (GATE-23)."""

    act: Literal["renounce"]
    grants: Hashes
    because: Literal["one_click", "reply_stop", "told_us", "not_needed"]
    purposes: ReachPurposes | None = None
    channels: Channels | None = None


class Rotate(ChainLink):
    """A new key for this side, signed by the old key; `proof` is signed by the new one."""

    act: Literal["rotate"]
    kid: Kid
    key: Annotated[str, Field(pattern=r"^z6Mk[1-9A-HJ-NP-Za-km-z]{44}$")]
    proof: Annotated[str, Field(max_length=2048)]


class Erasure(ChainLink):
    """After the end: which of the other side's data was deleted, what is retained and why, and which recipients were
    told."""

    act: Literal["erasure"]
    deleted: Categories
    kept: Annotated[tuple[RetainedData, ...], Field(min_length=1, max_length=24)] | None = None
    passed_on: Recipients | None = None

    @model_validator(mode="after")
    def _check_categories(self) -> "Erasure":
        reasons = [(kept.what, kept.ground) for kept in self.kept or ()]
        if len(set(reasons)) < len(reasons) or {what for what, _ in reasons} & set(self.deleted):
            raise ValueError("a category is either deleted or kept, and is kept once for each ground")
        return self


class Hours(ChainLink):
    """When the other side may reach this one: weekly windows in an IANA zone. No window means at any time."""

    act: Literal["hours"]
    zone: ZoneName
    windows: Annotated[tuple[Window, ...], Field(max_length=42), AfterValidator(check_windows)]
    shown: Literal["not_now", "end"]


class BudgetSetting(ChainLink):
    """How often the other side may reach this one: messages and asks in a rolling period."""

    act: Literal["budget"]
    messages: Budget | None = None
    asks: Budget | None = None


class Mailbox(ChainLink):
    """The key whose inbox receives this connection's items too, and its signature (ACT-15). Without a key it ends
    that."""

    act: Literal["mailbox"]
    did: Did | None = None
    proof: Annotated[str, Field(max_length=2048)] | None = None

    @model_validator(mode="after")
    def _check_proof(self) -> "Mailbox":
        if (self.did is None) != (self.proof is None):
            raise ValueError("did and proof are given together or not at all")
        return self


class MuteEnd(ChainLink):
    """The end of a mute, hidden from the other side."""

    act: Literal["mute_end"]
    mute: Hash
    until: Seconds


Act = (
    Grant | Withdraw | Mute | Unmute | Revoke | Message | Contacted | Ask | Answer | Done | Thank
    | Remember | Forget | Milestone | Feedback | Renounce | Rotate | Erasure
)  # fmt: skip
Setting = Hours | BudgetSetting | Mailbox | MuteEnd

_ADAPTERS: dict[str, TypeAdapter[Act | Setting]] = {
    ACT_TYP: TypeAdapter(
        Annotated[
            Withdraw | Mute | Unmute | Revoke | Message | Contacted | Ask | Answer | Done | Thank
            | Remember | Forget | Milestone | Feedback | Renounce | Rotate | Erasure,
            Field(discriminator="act"),
        ]
    ),
    GRANT_TYP: TypeAdapter(Grant),
    SETTING_TYP: TypeAdapter(Annotated[Setting, Field(discriminator="act")]),
}  # fmt: skip


def kind_of_model(model: type[ChainLink]) -> str:
    """The value of the `act` member in this model."""
    (kind,) = get_args(model.model_fields["act"].annotation)
    return str(kind)


MODELS: dict[str, type[Act | Setting]] = {kind_of_model(model): model for model in (*get_args(Act), *get_args(Setting))}
"""The model of every kind of act and setting, by the value of its `act` member."""

SETTINGS = frozenset({"hours", "budget", "mailbox", "mute_end"})

NARROWING = frozenset({"withdraw", "mute", "revoke", "forget", "renounce", "mute_end"})
"""Acts that restrict the other side: accepted whatever the signer's clock says (CONN-7). The end of a mute is one. So
is a contest (`is_narrowing`)."""


def is_narrowing(payload: Act | Setting) -> bool:
    """True if the act restricts the other side: its kind is in NARROWING, or it is a contest (CONN-7)."""
    return payload.act in NARROWING or (payload.act == "feedback" and payload.says == "mislabelled")


def typ_of(kind: str) -> str:
    """The JWS type for an act of this kind (ACT-9)."""
    if kind == "grant":
        return GRANT_TYP
    return SETTING_TYP if kind in SETTINGS else ACT_TYP


class SignedAct(msgspec.Struct, frozen=True):
    """An act or setting with a valid signature. Only `open_act` and `sign_act` make one."""

    raw: str
    id: str
    kid: str
    key: PublicKey
    payload: Act | Setting

    @property
    def kind(self) -> str:
        """The value of the `act` member."""
        return self.payload.act

    @property
    def chain(self) -> Chain:
        """The chain of its side to which it belongs."""
        return "settings" if self.payload.act in SETTINGS else "acts"


def sign_act(payload: Act | Setting, signer: Signer) -> SignedAct:
    """Signs an act. The payload is a valid model and the signature is new, so the text is not parsed again.

    Raises Malformed, Refused("too_large" | "bad_signature" | "wrong_proof") for what `open_act` would refuse.
    """
    raw = sign_jws(payload.to_json(), typ_of(payload.act), signer)
    if len(raw) > MAX_BODY:
        raise Refused("too_large", f"at most {MAX_BODY} bytes")
    _check_signer(payload, signer.kid)
    return SignedAct(raw, hash_id(raw.encode("ascii")), signer.kid, signer.key.public, payload)


def open_act(raw: str | bytes, find_key: FindKey = no_other_keys) -> SignedAct:
    """Parses and verifies an act: form, signature and members, in this order (ACT-10).

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature" | "wrong_proof").
    """
    return parse_verified_act(open_jws(raw, ACT_TYPS, find_key))


def parse_verified_act(opened: OpenedJws) -> SignedAct:
    """The act in a JWS with a verified signature. Raises Malformed, Refused("bad_signature" | "wrong_proof")."""
    return SignedAct(opened.raw, opened.id, opened.header.kid, opened.key, parse_verified_payload(opened))


def parse_verified_payload(opened: OpenedJws) -> Act | Setting:
    """The payload of an act in a JWS with a verified signature. Raises what `parse_verified_act` raises."""
    payload = parse_model(_ADAPTERS[opened.header.typ], opened.payload)
    _check_signer(payload, opened.header.kid)
    return payload


def _check_signer(payload: Act | Setting, kid: str) -> None:
    """Raises Refused unless the key is the issuer's, a new key consents to the rotation (ACT-14), and a mailbox's key
    to the setting (ACT-15)."""
    if did_of_kid(kid) != payload.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    if isinstance(payload, Rotate):
        if payload.kid == kid:
            raise Malformed("the new key must have another name than the old one")
        _check_rotation(payload)
    elif isinstance(payload, Mailbox):
        _check_mailbox(payload)


def _check_rotation(rotate: Rotate) -> None:
    """Raises Refused("wrong_proof") or Malformed unless the new key signed exactly this rotation (ACT-14)."""
    key = PublicKey.of_multibase(rotate.key)
    if is_pairwise(rotate.iss):
        if rotate.kid != key.kid:
            raise Malformed("the new kid of a pairwise side must be that of its new key")
    elif did_of_kid(rotate.kid) != rotate.iss:
        raise Malformed("the new kid belongs to another party")
    place = Proof(iss=did_of_kid(rotate.kid), cid=rotate.cid, seq=rotate.seq, prev=rotate.prev)
    check_proof(rotate.proof, ROTATE_TYP, rotate.kid, key, place)


def _check_mailbox(mailbox: Mailbox) -> None:
    """Raises Refused("wrong_proof") or Malformed unless the mailbox's key signed exactly this setting (ACT-15)."""
    if mailbox.did is None:
        return
    assert mailbox.proof is not None
    key = key_of_did(mailbox.did)
    place = Proof(iss=mailbox.iss, cid=mailbox.cid, seq=mailbox.seq, prev=mailbox.prev)
    check_proof(mailbox.proof, MAILBOX_TYP, key.kid, key, place)
