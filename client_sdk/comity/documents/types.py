"""The words of the protocol that have a fixed form: tokens, times, ids, purposes and channels (spec/act.md).

Kept apart from the acts because offers, agreements, events and the HTTP shapes use the same words.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from comity.crypto.keys import is_did, is_kid
from comity.encoding import MAX_JWE, parse_json
from comity.errors import Malformed

DAY = 86_400
"""Seconds."""

PERIODS: dict[str, int] = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY}
"""What a budget counts in: rolling windows, in seconds (GATE-12)."""

EXEMPT_PURPOSES = frozenset({"safety", "security", "legal_notice"})
"""They rest on the agreement and pass mute, hours and budget, never a revoke (GATE-6)."""

NOTE = "note"
"""The purpose of the words in a `remember` or `milestone`. No message, contact, check, grant or offer names it."""

ROOM_PURPOSES = frozenset({"renewal", "complaint", NOTE})
"""They rest on the agreement, meet mute, hours and budget, and have room for a few unanswered deliveries (GATE-22)."""

AGREEMENT_PURPOSES = EXEMPT_PURPOSES | ROOM_PURPOSES
"""They rest on the agreement and need no grant (GATE-5)."""

Side = Literal["first", "second"]
SIDES: tuple[Side, Side] = ("first", "second")
Channel = Literal["app", "email", "phone", "post", "sms", "visit"]
Period = Literal["day", "week", "month"]


def other(side: Side) -> Side:
    """The side across."""
    return "second" if side == "first" else "first"


def covers(granted: str, purpose: str) -> bool:
    """Whether a grant, mute or topic for `granted` is also for `purpose`: itself, or anything below it (GATE-4)."""
    return purpose == granted or purpose.startswith(granted + ".")


def is_among(purposes: Iterable[str], purpose: str) -> bool:
    """Whether one of them is also for that purpose."""
    # A plain loop: a generator for each question of the gate would cost as much as all the rest.
    for granted in purposes:  # noqa: SIM110
        if covers(granted, purpose):
            return True
    return False


def root_of(purpose: str) -> str:
    """The first word of a purpose or topic: `care` of `care.offer`."""
    return purpose.partition(".")[0]


@lru_cache(maxsize=16384)
def _did(text: str) -> str:
    if not is_did(text):
        raise ValueError("not a did:key or did:web that Comity knows")
    return text


def _kid(text: str) -> str:
    if not is_kid(text):
        raise ValueError("not a did:key or did:web that Comity knows, with a fragment")
    return text


@lru_cache(maxsize=4096)
def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) != len(items):
        raise ValueError("an item appears twice")
    return items


def _whole(value: object) -> object:
    # pydantic compares a Literal by value, and in Python 1 == 1.0 == True.
    if type(value) is not int:
        raise ValueError("not an integer")
    return value


Whole = BeforeValidator(_whole)
Distinct = AfterValidator(_distinct)
Version = Annotated[Literal[1], Whole]


def _is_true(value: object) -> object:
    # The same trap: 1 is no mark.
    if value is not True:
        raise ValueError("true, or left out")
    return value


Mark = Annotated[Literal[True], BeforeValidator(_is_true)]
"""A mark that is there, as true, or is left out."""
Did = Annotated[str, Field(max_length=400), AfterValidator(_did)]
Kid = Annotated[str, Field(max_length=400), AfterValidator(_kid)]
Url = Annotated[str, Field(max_length=400, pattern=r"^https?://[!-~]+$")]
Hash = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""A base64url SHA-256; the last character carries four bits, so two of its bits are zero."""
Hashes = Annotated[tuple[Hash, ...], Field(min_length=1, max_length=32), AfterValidator(_distinct)]
Seconds = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""A time in whole seconds since the epoch, up to the year 9999."""
Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
Sequence = Annotated[int, Field(ge=0, le=2**53 - 2)]
"""A place in a chain: the one after it is still an integer that JSON can carry."""
Token = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9_]{1,32}){0,3}$")]
Data = Annotated[tuple[Token, ...], Field(min_length=1, max_length=16), AfterValidator(_distinct)]
Topic = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}(\.[a-z0-9_-]{1,32}){0,3}$")]
Jwe = Annotated[str, Field(max_length=MAX_JWE)]
"""A body. Its form is looked at when an act is accepted, and never stops a fold (BODY-5)."""


def _not_note(purpose: str) -> str:
    if covers(NOTE, purpose):
        raise ValueError("note is the purpose of words in a remember or milestone, and of nothing else")
    return purpose


def _needs_grant(purpose: str) -> str:
    if purpose in AGREEMENT_PURPOSES:
        raise ValueError("must be a purpose that needs a grant")
    return purpose


ReachPurpose = Annotated[Purpose, AfterValidator(_not_note)]
"""A purpose for which one side reaches the other: in a message, a contact, a check, a grant, an offer."""
GrantedPurpose = Annotated[ReachPurpose, AfterValidator(_needs_grant)]
"""A purpose that does not rest on the agreement."""
Purposes = Annotated[tuple[Purpose, ...], Field(min_length=1, max_length=16), AfterValidator(_distinct)]
ReachPurposes = Annotated[tuple[ReachPurpose, ...], Field(min_length=1, max_length=16), AfterValidator(_distinct)]
Channels = Annotated[tuple[Channel, ...], Field(min_length=1, max_length=6), AfterValidator(_distinct)]
Sides = Annotated[tuple[Side, ...], Field(max_length=2), AfterValidator(_distinct)]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
ZoneName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$", max_length=64)]
_SPACES = r"\x20\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
) + "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_LINE = re.compile(f"(?:[{_SPACES}]|[^{_SPACES}{_UNSEEN}][\ufe0e\ufe0f]?[\u200c\u200d]?)+")
"""Persian and emoji need joiners and selectors of a form: one of each may follow a character that is seen."""


_SEEN = f"[^{_SPACES}{_UNSEEN}][\ufe0e\ufe0f]?"
_NAME = re.compile(f"{_SEEN}(?:[ \u200c\u200d]?{_SEEN})*")


def can_be_seen(text: str) -> str:
    """The text, if something in it can be seen. Raises ValueError."""
    if all(unicodedata.category(it)[0] not in "LNPS" or it in "\u115f\u1160\u2800\u3164\uffa0" for it in text):
        raise ValueError("a text needs something to be seen")
    return text


def one_line(text: str) -> str:
    """The text, if it is on one line, and every character of it can be seen (NOTICE-3). Raises ValueError."""
    can_be_seen(text)
    if not _LINE.fullmatch(text):
        raise ValueError("a text has a character that nobody sees, or that no text has")
    return text


def is_name(text: str) -> str:
    """The text, if it is a name: characters that can be seen, and between two of them one space or one joiner at most
    (ACT-17). Raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError("a name has characters that can be seen, and single spaces between them")
    return can_be_seen(text)


HARMFUL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
"""What no text for people has, as the inside of a character class: controls but tab and line feed, and bidirectional
overrides (ACT-16)."""
TEXT = f"^[^{HARMFUL}]+$"
"""The pattern of a text of several lines."""
Label = Annotated[str, Field(max_length=100), AfterValidator(is_name)]
"""A name or title for people (ACT-17). Whoever composes one spells it by `names.nickname` first."""


Category = Literal[
    "identity",
    "contact",
    "messages",
    "history",
    "preferences",
    "payments",
    "documents",
    "media",
    "location",
    "usage",
    "profile",
    "special",
]
"""What kind of data somebody holds of another: a closed list, so that wallets can say it in any language (ERA-2)."""
Ground = Literal[
    "legal_obligation",
    "legal_claims",
    "contract",
    "public_interest",
    "public_health",
    "archiving",
    "expression",
    "vital_interests",
    "legitimate_interests",
    "restriction",
]
"""Why data may be kept after the end (ERA-3)."""
Categories = Annotated[tuple[Category, ...], Field(max_length=12), AfterValidator(_distinct)]
Recipient = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-%*/:-@\[-\x60{-\x9f\u2028-\u202e\u2066-\u2069][^\x00-\x1f!-%*/:-@\[-\x60{-\x9f\u2028-\u202e\u2066-\u2069]{0,59}$"
    ),
    AfterValidator(is_name),
]
"""The name of whom data was passed on to: no control characters, and none of the signs of an address (ERA-5)."""
Recipients = Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=16), AfterValidator(_distinct)]


M = TypeVar("M")


def needs(member: str) -> Callable[[M, ValidationInfo], M]:
    """The check that a value stands only beside `member`, which is named before it in its model."""

    def check(value: M, info: ValidationInfo) -> M:
        if info.data.get(member) is None:
            raise ValueError(f"only together with `{member}`")
        return value

    return check


class Model(BaseModel):
    """What every text of the protocol is parsed into: strict, frozen, nothing extra."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """The members as compact JSON, those that are absent left out. Called once, by whoever composes the text."""
        # What `model_dump_json` asks, which would make text of the bytes.
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class Budget(Model):
    """At most `max` in any rolling `per`."""

    max: Annotated[int, Field(ge=0, le=100)]
    per: Period


class StatusReference(Model):
    """Where the grant's status stands (Token Status List, section 6)."""

    idx: Annotated[int, Field(ge=0, lt=2**32)]
    uri: Url


class Status(Model):
    """The `status` claim of a grant."""

    status_list: StatusReference


class Kept(Model):
    """Data that is kept after the end: what, on which ground, and until when (s), where that is known."""

    what: Category
    ground: Ground
    until: Seconds | None = None


def _nulls(value: Any, pointer: str = "") -> Iterator[str]:
    """Pointers to each null in a JSON value."""
    if value is None:
        yield pointer
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inside:
        yield from _nulls(item, f"{pointer}/{_step(name)}")


def _step(name: object) -> str:
    """A step of a JSON Pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def read_model(adapter: TypeAdapter[M], data: bytes, limit: int = 64 * 1024) -> M:
    """The model that strict JSON bytes spell. Raises Malformed with a JSON pointer for each fault, or
    Refused("too_large")."""
    members = parse_json(data, limit)
    nulls = list(_nulls(members))[:_MOST_FAULTS] if b"null" in data else []
    try:
        # The same bytes once more: pydantic's own parser is strict in types, ours in JSON.
        model: M = adapter.validator.validate_json(data)
    except ValidationError as fault:
        # Where the kind decides the members, pydantic puts the kind in front of the path; the text has no such level.
        schema = adapter.core_schema
        kind = schema["schema"]["type"] if schema["type"] == "definitions" else schema["type"]
        levels = 1 if kind == "tagged-union" else 0
        found = dict.fromkeys(nulls, _NOT_NULL) | dict(faults(fault, levels))
        raise Malformed("the members are not those of this text", errors=tuple(found.items())[:_MOST_FAULTS]) from None
    if nulls:
        raise Malformed("a member that is absent is left out, not null", errors=tuple((it, _NOT_NULL) for it in nulls))
    return model


_MOST_FAULTS = 32
_NOT_NULL = "must be left out where it has no value, not null"
_FAULTS = {
    "missing": "is missing",
    "extra_forbidden": "no member of this name is known here",
    # This one message would repeat what was sent.
    "union_tag_invalid": "not a kind known here",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
"""Pydantic's kinds of faults in our words, where its own need Python to be understood."""
_BEGINNINGS = {"Value error, ": "", "Input should ": "must ", "String should ": "must ", "Tuple should ": "must "}
_SIGNS = {
    r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9_]{1,32}){0,3}$": "must be lower-case words with dots between, as care.checkin",
    r"^[a-z0-9][a-z0-9_-]{0,31}(\.[a-z0-9_-]{1,32}){0,3}$": (
        "must be lower-case words with dots between, as windows.kitchen"
    ),
    r"^[a-z][a-z0-9_]{0,31}$": "must be one lower-case word, as review",
    r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$": "must be an id: 43 characters of base64url",
    r"^[!-~]+$": "must have visible ASCII characters only",
    r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$": "must be a language as in BCP 47, such as en or de-CH",
    r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$": "must be a time zone of the IANA, such as Europe/Berlin",
    r"^https?://[!-~]+$": "must be a URL, as https://host/path",
    r"^[A-Za-z0-9_-]+$": "must be base64url, without blanks",
    r"^[ -~]+$": "must have ASCII characters only, on one line",
}
"""What a text must look like, for those who do not read patterns."""


def faults(error: ValidationError, levels: int = 0) -> tuple[tuple[str, str], ...]:
    """(JSON pointer, what is wrong) of up to 32 faults of a model, one for each place; `levels` of each path are left
    out in front."""
    found: dict[str, str] = {}
    for it in error.errors(include_url=False, include_input=False):
        if len(found) == _MOST_FAULTS:
            break
        place, context = it["loc"][levels:], it.get("ctx", {})
        if it["type"] == "literal_error" and place and str(place[-1]).startswith("literal["):
            # Of several lists of words, pydantic names the list as well; the text has no such level.
            place = place[:-1]
        pointer = "".join("/" + _step(part) for part in place)
        if it["type"] == "too_short" and any(deeper.startswith(pointer + "/") for deeper in found):
            # It counts only what is right, so whatever is wrong in a list is missing from it, too.
            continue
        found.setdefault(pointer, _fault(it["type"], it["msg"], context))
    return tuple(found.items())


def _fault(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        if r"\u202a-\u202e" in pattern:
            return "must have no control characters and no bidirectional overrides"
        if r"\u2028-\u202e" in pattern:
            return "must be a name, with none of the signs of an address"
        return _SIGNS.get(pattern, f"must look like {pattern}")
    if kind in ("too_short", "too_long"):
        few = kind == "too_short"
        number = context["min_length" if few else "max_length"]
        return f"must have at {'least' if few else 'most'} {number} {'item' if number == 1 else 'items'}"
    if kind in _FAULTS:
        return _FAULTS[kind]
    beginning = next((it for it in _BEGINNINGS if message.startswith(it)), "")
    return _BEGINNINGS.get(beginning, "") + message.removeprefix(beginning)
