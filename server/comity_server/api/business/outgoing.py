"""Outgoing messages: the request model, and the encryption of its text for the customer's key (SAY-3).

Encryption takes longer than the decision about an act. So it runs before the unit of work, for the key that the
customer has then. The unit of work encrypts again only where the customer has changed the key since.
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
    """The value, unless a text or a member's name in it has control characters or bidirectional overrides (BIZ-15)."""
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
        raise ValueError("the text for the reader is the member `text` beside the body")
    return value


class NewMessage(Model):
    """A message to a customer. It has a `text`, a `body` for the customer's wallet, or both."""

    purpose: Annotated[
        ReachPurpose, Field(description="The purpose, as in the customer's grant.", examples=["care.checkin"])
    ]
    topic: Annotated[Topic, Field(examples=["windows.kitchen"])] | None = None
    text: Annotated[Text, Field(examples=["Is everything all right with the new windows?"])] | None = None
    body: (
        Annotated[
            dict[str, Any],
            AfterValidator(_without_text),
            AfterValidator(with_line_feeds),
            AfterValidator(_harmless),
            Field(
                min_length=1,
                description="Further members for the customer's wallet. They are encrypted with the text.",
                examples=[{"link": "https://shop.example/care"}],
            ),
        ]
        | None
    ) = None
    if_muted: Annotated[
        Literal["hold", "drop", "fail"],
        Field(
            description="For a customer who cannot be reached now. `hold`: deliver it later. `drop`: never deliver it. "
            "`fail`: refuse it, and keep it as a draft."
        ),
    ] = "hold"
    expires_at: (
        Annotated[
            Due,
            Field(
                description="A held message is not delivered after this time. At most 90 days ahead. The default is 35 "
                "days, or a day after the end of the hold that the customer shows, whichever is later.",
                examples=["2026-12-01T12:00:00Z"],
            ),
        ]
        | None
    ) = None
    reply_to: Annotated[Hash, Field(description="The customer's message that this one answers.")] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "NewMessage":
        if self.text is None and self.body is None:
            raise ValueError("a text or a body is required")
        return self

    def content(self) -> dict[str, Any]:
        """The content to encrypt: the text, and the members of the body (BODY-3)."""
        return {**({} if self.text is None else {"text": self.text}), **(self.body or {})}

    def check_expiry(self, now: int) -> None:
        """Raises Malformed if `expires_at` is too far ahead of `now` (ms)."""
        if self.expires_at is not None and seconds(self.expires_at) > now // 1000 + LONGEST_LIFE:
            raise Malformed("the message expires too late", errors=(("/expires_at", "at most 90 days ahead"),))

    def expiry(self, verdict: Verdict, now: int) -> int:
        """The time (s) at which it expires. The default follows from the verdict on the public state at `now` (ms).
        Raises Malformed if `expires_at` is too far ahead."""
        self.check_expiry(now)
        return default_expiry(verdict, now) if self.expires_at is None else seconds(self.expires_at)


class EncryptedBody:
    """A body for the other side of a connection, encrypted for that side's current key."""

    def __init__(self, cid: str, content: Mapping[str, Any]) -> None:
        self._cid = cid
        self._content = content
        self._key = ""
        self._text = ""

    @staticmethod
    async def prepare(call: Call, cid: str, content: Mapping[str, Any]) -> "EncryptedBody":
        """Encrypts for the key that the customer has now. Encrypts nothing if the connection is not the business's.
        Raises Malformed if the content is too long."""
        encrypted = EncryptedBody(cid, content)
        state = await call.server.writer.state(cid)
        side = None if state is None else state.side_of(call.business.did)
        if state is not None and side is not None:
            encrypted.jwe(state, side)
        return encrypted

    def jwe(self, state: Connection, side: Side) -> str:
        """The JWE for the side other than `side`. Raises Malformed if the content is too long."""
        door = state.door(other(side))
        if self._key != door.key:
            to = _body_key(door.kid, door.key)
            self._text, self._key = encrypt_body(self._content, self._cid, to), door.key
        return self._text


@lru_cache(maxsize=4096)
def _body_key(kid: str, key: str) -> BodyKey:
    """The encryption key that belongs to this signing key. Cached, since a business uses one key in many
    connections."""
    return body_key(kid, PublicKey.of_multibase(key))


def decrypt_for_business(kept: KeptKeys, did: str, text: str, cid: str) -> dict[str, Any] | None:
    """The decrypted body that the other side wrote to the business `did`. None if the server does not keep the
    business's key, or the body cannot be decrypted."""
    try:
        kid = str(parse_object(b64u_decode(text.partition(".")[0]), limit=2048).get("kid"))
        # The id of the encryption key is that of the signing key with the suffix `-x` (KEY-6).
        signer = kept.signer(kid.removesuffix("-x"))
        if signer is None or not kid.startswith(f"{did}#"):
            return None
        return decrypt_body(text, cid, signer.key)
    except Malformed:
        return None
