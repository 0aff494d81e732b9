"""What a business writes to a customer: a message as it comes in, and its words sealed for the customer's key (SAY-3).

Sealing takes longer than all the rest of deciding an act. So it is done before the act's turn in its group comes, to
the key that the customer has by then, and once more in the group only where she took another key meanwhile.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from comity.crypto.encryption import BodyKey, body_key, decrypt_body, encrypt_body
from comity.crypto.keys import PublicKey
from comity.documents.types import HARMFUL, ReachPurpose, Side, Topic, other
from comity.encoding import b64u_decode, parse_object
from comity.errors import Malformed
from comity.rules.gate import Verdict
from comity.rules.message_lifetime import LONGEST_LIFE, default_expiry
from comity.rules.state import Connection
from comity_server.api.business.route import Call
from comity_server.businesses.signing_keys import KeptKeys
from comity_server.schema import Due, Hash, Model, Text, seconds, with_line_feeds

_HARMFUL = re.compile(f"[{HARMFUL}]")


def _harmless(value: Any) -> Any:
    """The value, if no text in it, nor any name of a member, has controls or bidirectional overrides (BIZ-15)."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and _HARMFUL.search(item):
            raise ValueError("a text has control characters or bidirectional overrides")
    return value


def _without_text(value: dict[str, Any]) -> dict[str, Any]:
    if "text" in value:
        raise ValueError("what a person reads goes into the member `text` beside the body")
    return value


class NewMessage(Model):
    """A message to a customer: a text for people, or further members for her wallet, or both."""

    purpose: Annotated[
        ReachPurpose, Field(description="What for, as your customer granted it.", examples=["care.checkin"])
    ]
    topic: Annotated[Topic, Field(description="What about.", examples=["windows.kitchen"])] | None = None
    text: Annotated[Text, Field(examples=["Is everything all right with the new windows?"])] | None = None
    body: (
        Annotated[
            dict[str, Any],
            AfterValidator(_without_text),
            AfterValidator(with_line_feeds),
            AfterValidator(_harmless),
            Field(
                min_length=1,
                description="Further members that your customer's wallet may know. They are encrypted with the text.",
                examples=[{"link": "https://shop.example/care"}],
            ),
        ]
        | None
    ) = None
    if_muted: Annotated[
        Literal["hold", "drop", "fail"],
        Field(
            description="What becomes of it when your customer is not to be reached now: it waits and is delivered "
            "later; it is dropped; or it is refused, and you have it back as a draft."
        ),
    ] = "hold"
    expires_at: (
        Annotated[
            Due,
            Field(
                description="After this time it is not delivered any more; in 90 days at the latest. Where you name "
                "none: in 35 days, or a day after the end that they show, if that is later.",
                examples=["2026-12-01T12:00:00Z"],
            ),
        ]
        | None
    ) = None
    reply_to: Annotated[Hash, Field(description="The message of hers that this one answers.")] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "NewMessage":
        if self.text is None and self.body is None:
            raise ValueError("a text or a body is wanted")
        return self

    def content(self) -> dict[str, Any]:
        """What is sealed: the text, and the members beside it (BODY-3)."""
        return {**({} if self.text is None else {"text": self.text}), **(self.body or {})}

    def check_expiry(self, now: int) -> None:
        """Raises Malformed where it would expire too far ahead, sent at `now` (ms)."""
        if self.expires_at is not None and seconds(self.expires_at) > now // 1000 + LONGEST_LIFE:
            raise Malformed("the message would wait too long", errors=(("/expires_at", "at most 90 days ahead"),))

    def expiry(self, verdict: Verdict, now: int) -> int:
        """When (s) it expires, with this verdict on what is shown at `now` (ms). Raises Malformed for a time too far
        ahead."""
        self.check_expiry(now)
        return default_expiry(verdict, now) if self.expires_at is None else seconds(self.expires_at)


class Sealing:
    """Words for the other side of a connection, sealed to the key that it has."""

    def __init__(self, cid: str, content: Mapping[str, Any]) -> None:
        self._cid = cid
        self._content = content
        self._key = ""
        self._text = ""

    @staticmethod
    async def ahead(call: Call, cid: str, content: Mapping[str, Any]) -> "Sealing":
        """Sealed to the key that is known by now; nothing is sealed for a connection that is not the business's.
        Raises Malformed for words that are too long."""
        sealing = Sealing(cid, content)
        state = await call.server.accept.state(cid)
        side = None if state is None else state.side_of(call.business.did)
        if state is not None and side is not None:
            sealing.text(state, side)
        return sealing

    def text(self, state: Connection, side: Side) -> str:
        """The JWE for the side across from `side`. Raises Malformed."""
        door = state.door(other(side))
        if self._key != door.key:
            to = _recipient(door.kid, door.key)
            self._text, self._key = encrypt_body(self._content, self._cid, to), door.key
        return self._text


@lru_cache(maxsize=4096)
def _recipient(kid: str, key: str) -> BodyKey:
    """Where bodies are sealed to for the side that has this key under that name. Kept, since an offer to many uses one
    key."""
    return body_key(kid, PublicKey.of_multibase(key))


def opened(kept: KeptKeys, did: str, text: str, cid: str) -> dict[str, Any] | None:
    """What the other side wrote, where the key that it was sealed to is that of the business `did`, kept here, and
    opens it."""
    try:
        kid = str(parse_object(b64u_decode(text.partition(".")[0]), limit=2048).get("kid"))
        # The key for bodies has the name of the key that signs, and `-x` behind it (KEY-6).
        signer = kept.signer(kid.removesuffix("-x"))
        if signer is None or not kid.startswith(f"{did}#"):
            return None
        return decrypt_body(text, cid, signer.key)
    except Malformed:
        return None
