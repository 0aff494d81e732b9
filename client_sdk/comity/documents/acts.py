"""Acts and settings: what one side can sign (spec/act.md).

`open_act` is the only way to a `SignedAct`: whoever holds one knows that the form, the members and the signature
held, and that the key belongs to the issuer. Whether the act is allowed *now* is decided in `connection`.
"""

from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator

from comity.crypto.jws import FindKey, OpenedJws, no_other_keys, open_jws, seal
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
    Kept,
    Kid,
    Model,
    Purposes,
    ReachPurpose,
    ReachPurposes,
    Recipients,
    Seconds,
    Sequence,
    Status,
    Token,
    Topic,
    ZoneName,
    needs,
    read_model,
)
from comity.encoding import MAX_BODY, hash_id
from comity.errors import Malformed, Refused

ACT_TYP = "comity-act+jwt"
GRANT_TYP = "comity-grant+jwt"
SETTING_TYP = "comity-setting+jwt"
ACT_TYPS = frozenset({ACT_TYP, GRANT_TYP, SETTING_TYP})

Chain = Literal["acts", "settings"]


class ChainLink(Model):
    """What every act and setting carries: who to whom, when, in which connection, and its place in the chain."""

    iss: Did
    aud: Did
    iat: Seconds
    cid: Hash
    seq: Sequence
    prev: Hash


class Grant(ChainLink):
    """A consent token: what the other side may do towards the giver, and until when (GRANT-1 to GRANT-6)."""

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
    """Take a grant back."""

    act: Literal["withdraw"]
    grant: Hash


class Mute(ChainLink):
    """Stop the other side for a while: all, or some purposes or channels.

    With `until` the other side is shown the end. Without, it is shown "not now"; the end, if there is one, is then
    the setting `mute_end`, which the other side never gets. `why` tells the other side that this side is away (AWAY-1).
    """

    act: Literal["mute"]
    purposes: Purposes | None = None
    channels: Channels | None = None
    until: Seconds | None = None
    why: Annotated[Literal["away"], AfterValidator(needs("until"))] | None = None


class Unmute(ChainLink):
    """End one mute, or every mute of this side."""

    act: Literal["unmute"]
    mute: Hash | None = None


class Revoke(ChainLink):
    """End the connection, both ways, for good."""

    act: Literal["revoke"]


class Message(ChainLink):
    """A message in the app, and what becomes of it when the other side is not reached now."""

    act: Literal["message"]
    purpose: ReachPurpose
    if_muted: Literal["hold", "drop", "fail"]
    exp: Seconds
    body: Jwe
    topic: Topic | None = None
    reply_to: Hash | None = None


class Contacted(ChainLink):
    """The statement that the other side was reached outside the app, which nothing calls back (GATE-19)."""

    act: Literal["contacted"]
    channel: Literal["email", "phone", "post", "sms", "visit"]
    purpose: ReachPurpose
    topic: Topic | None = None


class Ask(ChainLink):
    """A request for a favour; the text, and what is offered in return, are in the body."""

    act: Literal["ask"]
    kind: Token
    effort: Literal["minute", "hour", "money"]
    body: Jwe
    by: Seconds | None = None


class Answer(ChainLink):
    """Yes, no or not now; no reason is needed."""

    act: Literal["answer"]
    ask: Hash
    answer: Literal["yes", "no", "not_now"]
    body: Jwe | None = None


class Done(ChainLink):
    """The favour that was promised is done."""

    act: Literal["done"]
    ask: Hash


class Thank(ChainLink):
    """Thanks for the favour that was done."""

    act: Literal["thank"]
    ask: Hash
    body: Jwe | None = None


class Remember(ChainLink):
    """One of the little things: a language, a name, a receipt on paper, no interest in a topic."""

    act: Literal["remember"]
    key: Token
    topic: Topic | None = None
    body: Jwe | None = None

    @model_validator(mode="after")
    def _no_interest_in_something(self) -> "Remember":
        if self.key == "no_interest" and self.topic is None:
            raise ValueError("no_interest needs a topic")
        return self


class Forget(ChainLink):
    """Take a little thing back."""

    act: Literal["forget"]
    key: Token
    topic: Topic | None = None


class Milestone(ChainLink):
    """Something that happened between the two, and how long it lasts."""

    act: Literal["milestone"]
    kind: Literal["bought", "installed", "serviced", "complained", "put_right"]
    topic: Topic
    when: Seconds
    lasts: Seconds | None = None
    body: Jwe | None = None


class Feedback(ChainLink):
    """What a side says of a message that reached it, or of a contact outside: the last word on each counts. `had` is
    the message's own topic.

    `mislabelled` contests it: it was really of the purpose `as`, about `topic` (GATE-21).
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
    def _contest_is_whole(self) -> "Feedback":
        if self.says != "mislabelled":
            if self.as_ is not None or self.topic is not None:
                raise ValueError("as and topic come with mislabelled alone")
        elif self.as_ is None:
            raise ValueError("mislabelled says as what the message should have come")
        elif self.as_ == self.purpose and self.topic is None:
            raise ValueError("a contest names another purpose, or another topic")
        return self


class Renounce(ChainLink):
    """The side will not use these consents of the other side, for some purposes and channels or at all (GATE-23)."""

    act: Literal["renounce"]
    grants: Hashes
    because: Literal["one_click", "reply_stop", "told_us", "not_needed"]
    purposes: ReachPurposes | None = None
    channels: Channels | None = None


class Rotate(ChainLink):
    """A new key for this side: signed by the old key, and in `proof` by the new one."""

    act: Literal["rotate"]
    kid: Kid
    key: Annotated[str, Field(pattern=r"^z6Mk[1-9A-HJ-NP-Za-km-z]{44}$")]
    proof: Annotated[str, Field(max_length=2048)]


class Erasure(ChainLink):
    """After the end: what was deleted of the other side's data, what is kept and why, and who else was told."""

    act: Literal["erasure"]
    deleted: Categories
    kept: Annotated[tuple[Kept, ...], Field(min_length=1, max_length=24)] | None = None
    passed_on: Recipients | None = None

    @model_validator(mode="after")
    def _each_in_one_place(self) -> "Erasure":
        reasons = [(it.what, it.ground) for it in self.kept or ()]
        if len(set(reasons)) < len(reasons) or {what for what, _ in reasons} & set(self.deleted):
            raise ValueError("a category is deleted or kept, and kept once on each ground")
        return self


class Hours(ChainLink):
    """When the other side may come: weekly windows in an IANA zone; none means at any time."""

    act: Literal["hours"]
    zone: ZoneName
    windows: Annotated[tuple[Window, ...], Field(max_length=42), AfterValidator(check_windows)]
    shown: Literal["not_now", "end"]


class BudgetSetting(ChainLink):
    """How often the other side may come: messages and asks in a rolling period."""

    act: Literal["budget"]
    messages: Budget | None = None
    asks: Budget | None = None


class Mailbox(ChainLink):
    """The key whose stream brings this connection's news too, and its signature for that (ACT-15); none ends it."""

    act: Literal["mailbox"]
    did: Did | None = None
    proof: Annotated[str, Field(max_length=2048)] | None = None

    @model_validator(mode="after")
    def _comes_with_its_proof(self) -> "Mailbox":
        if (self.did is None) != (self.proof is None):
            raise ValueError("a mailbox comes with its proof, and a proof with its mailbox")
        return self


class MuteEnd(ChainLink):
    """The end of a mute that the other side is not shown."""

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

MODELS: dict[str, type[ChainLink]] = {
    "grant": Grant, "withdraw": Withdraw, "mute": Mute, "unmute": Unmute, "revoke": Revoke, "message": Message,
    "contacted": Contacted, "ask": Ask, "answer": Answer, "done": Done, "thank": Thank, "remember": Remember,
    "forget": Forget, "milestone": Milestone, "feedback": Feedback, "renounce": Renounce, "rotate": Rotate,
    "erasure": Erasure,
    "hours": Hours, "budget": BudgetSetting, "mailbox": Mailbox, "mute_end": MuteEnd,
}  # fmt: skip
"""Every kind of act and setting, by the word in its `act` member."""

SETTINGS = frozenset({"hours", "budget", "mailbox", "mute_end"})

NARROWING = frozenset({"withdraw", "mute", "revoke", "forget", "renounce", "mute_end"})
"""Acts by which a side says no, or less: accepted whatever the signer's clock says (CONN-7). Of a mute its end too.
A contest is one as well (`is_narrowing`)."""


def is_narrowing(payload: Act | Setting) -> bool:
    """Whether the act says no, or less: its kind is in NARROWING, or it is a contest (CONN-7)."""
    return payload.act in NARROWING or (isinstance(payload, Feedback) and payload.says == "mislabelled")


def typ_of(kind: str) -> str:
    """The JWS type that an act of this kind has (ACT-9)."""
    if kind == "grant":
        return GRANT_TYP
    return SETTING_TYP if kind in SETTINGS else ACT_TYP


class SignedAct(msgspec.Struct, frozen=True):
    """An act or setting whose signature held. Only `open_act` and `seal_act` make one."""

    raw: str
    id: str
    kid: str
    key: PublicKey
    payload: Act | Setting

    @property
    def kind(self) -> str:
        """The word in the `act` member."""
        return self.payload.act

    @property
    def chain(self) -> Chain:
        """Which of its side's two chains it belongs to."""
        return "settings" if self.payload.act in SETTINGS else "acts"


def seal_act(payload: Act | Setting, signer: Signer) -> SignedAct:
    """Sign an act. What it holds is a model already and the signature is fresh, so the text is not taken apart again.

    Raises Malformed, Refused("too_large" | "bad_signature" | "wrong_proof") for what `open_act` would refuse.
    """
    raw = seal(payload.to_json(), typ_of(payload.act), signer)
    if len(raw) > MAX_BODY:
        raise Refused("too_large", f"at most {MAX_BODY} bytes")
    _check_signer(payload, signer.kid)
    return SignedAct(raw, hash_id(raw.encode("ascii")), signer.kid, signer.key.public, payload)


def open_act(raw: str | bytes, find_key: FindKey = no_other_keys) -> SignedAct:
    """The act, if form, signature and members hold, checked in this order (ACT-10).

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature" | "wrong_proof").
    """
    return believe_act(open_jws(raw, ACT_TYPS, find_key))


def believe_act(opened: OpenedJws) -> SignedAct:
    """The act in a text whose signature held already. Raises Malformed, Refused("bad_signature" | "wrong_proof")."""
    return SignedAct(opened.raw, opened.id, opened.header.kid, opened.key, believe_payload(opened))


def believe_payload(opened: OpenedJws) -> Act | Setting:
    """What such a text says. Raises as `believe_act` does."""
    payload = read_model(_ADAPTERS[opened.header.typ], opened.payload)
    _check_signer(payload, opened.header.kid)
    return payload


def _check_signer(payload: Act | Setting, kid: str) -> None:
    """That the key is the issuer's, that a new one agrees to take its place (ACT-14), and a mailbox to take the news
    (ACT-15)."""
    if did_of_kid(kid) != payload.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    if isinstance(payload, Rotate):
        if payload.kid == kid:
            raise Malformed("the new key has a name of its own")
        _check_rotation(payload)
    elif isinstance(payload, Mailbox):
        _check_mailbox(payload)


def _check_rotation(rotate: Rotate) -> None:
    """Raises Refused("wrong_proof") or Malformed unless the new key signed exactly this rotation (ACT-14)."""
    key = PublicKey.of_multibase(rotate.key)
    if is_pairwise(rotate.iss):
        if rotate.kid != key.kid:
            raise Malformed("the new kid of a pairwise side is its new key's")
    elif did_of_kid(rotate.kid) != rotate.iss:
        raise Malformed("the new kid is another party's")
    place = Proof(iss=did_of_kid(rotate.kid), cid=rotate.cid, seq=rotate.seq, prev=rotate.prev)
    check_proof(rotate.proof, ROTATE_TYP, rotate.kid, key, place)


def _check_mailbox(mailbox: Mailbox) -> None:
    """Raises Refused("wrong_proof") or Malformed unless the mailbox's key agreed to exactly this setting (ACT-15)."""
    if mailbox.did is None:
        return
    assert mailbox.proof is not None
    key = key_of_did(mailbox.did)
    place = Proof(iss=mailbox.iss, cid=mailbox.cid, seq=mailbox.seq, prev=mailbox.prev)
    check_proof(mailbox.proof, MAILBOX_TYP, key.kid, key, place)
