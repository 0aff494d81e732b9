"""Types that the signed documents share: tokens, times, ids, purposes, channels (spec/act.md), and the strict parser
for them.

They are apart from the acts because offers, agreements, events and the HTTP API use them too.
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
"""The periods of a budget: rolling windows, in seconds (GATE-12)."""

EXEMPT_PURPOSES = frozenset({"safety", "security", "legal_notice"})
"""Purposes that need no grant and pass mutes, hours and budgets, but never a revoke (GATE-6)."""

NOTE = "note"
"""The purpose of the text in a `remember` or `milestone`. No message, contact, check, grant or offer names it."""

ROOM_PURPOSES = frozenset({"renewal", "complaint", NOTE})
"""Purposes that need no grant and obey mutes, hours and budgets. Only a few unanswered deliveries are allowed
(GATE-22)."""

AGREEMENT_PURPOSES = EXEMPT_PURPOSES | ROOM_PURPOSES
"""Purposes that need no grant, since the agreement allows them (GATE-5)."""

Side = Literal["first", "second"]
SIDES: tuple[Side, Side] = ("first", "second")
Channel = Literal["app", "email", "phone", "post", "sms", "visit"]
Period = Literal["day", "week", "month"]


def other(side: Side) -> Side:
    """The other side."""
    return "second" if side == "first" else "first"


def covers(granted: str, purpose: str) -> bool:
    """True if `purpose` is `granted` or lies below it. Topics work alike (GATE-4)."""
    return purpose == granted or purpose.startswith(granted + ".")


def is_among(purposes: Iterable[str], purpose: str) -> bool:
    """True if one of the purposes covers `purpose`."""
    # A plain loop: in the gate a generator would cost as much as everything else together.
    for granted in purposes:  # noqa: SIM110
        if covers(granted, purpose):
            return True
    return False


def root_of(purpose: str) -> str:
    """The first word of a purpose or topic: `care` of `care.offer`."""
    return purpose.partition(".")[0]


@lru_cache(maxsize=16384)
def _check_did(text: str) -> str:
    if not is_did(text):
        raise ValueError("not a supported did:key or did:web")
    return text


def _check_kid(text: str) -> str:
    if not is_kid(text):
        raise ValueError("not a supported did:key or did:web with a fragment")
    return text


@lru_cache(maxsize=4096)
def _check_distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) != len(items):
        raise ValueError("an item appears twice")
    return items


def _check_integer(value: object) -> object:
    # Pydantic compares a Literal by value, and in Python 1 == 1.0 == True.
    if type(value) is not int:
        raise ValueError("not an integer")
    return value


Whole = BeforeValidator(_check_integer)
Distinct = AfterValidator(_check_distinct)
Version = Annotated[Literal[1], Whole]


def _check_true(value: object) -> object:
    # The same trap: 1 == True, and 1 is no flag.
    if value is not True:
        raise ValueError("must be true or left out")
    return value


Flag = Annotated[Literal[True], BeforeValidator(_check_true)]
"""A flag: present as must be true or left out."""
Did = Annotated[str, Field(max_length=400), AfterValidator(_check_did)]
Kid = Annotated[str, Field(max_length=400), AfterValidator(_check_kid)]
Url = Annotated[str, Field(max_length=400, pattern=r"^https?://[!-~]+$")]
Hash = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""A SHA-256 in base64url. Its last character carries four bits, so two of that character's bits are zero."""
Hashes = Annotated[tuple[Hash, ...], Field(min_length=1, max_length=32), AfterValidator(_check_distinct)]
Seconds = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""A time in whole seconds since the epoch, up to the year 9999."""
Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
Sequence = Annotated[int, Field(ge=0, le=2**53 - 2)]
"""A position in a chain. The next one still is an integer that JSON can carry."""
Token = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9_]{1,32}){0,3}$")]
Data = Annotated[tuple[Token, ...], Field(min_length=1, max_length=16), AfterValidator(_check_distinct)]
Topic = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}(\.[a-z0-9_-]{1,32}){0,3}$")]
Jwe = Annotated[str, Field(max_length=MAX_JWE)]
"""An encrypted body. The server checks its form when it accepts the act; the fold never does (BODY-5)."""


def _check_not_note(purpose: str) -> str:
    if covers(NOTE, purpose):
        raise ValueError("note is only for the text in a remember or milestone")
    return purpose


def _check_needs_grant(purpose: str) -> str:
    if purpose in AGREEMENT_PURPOSES:
        raise ValueError("must be a purpose that needs a grant")
    return purpose


ReachPurpose = Annotated[Purpose, AfterValidator(_check_not_note)]
"""A purpose for which one side reaches the other, in a message, contact, check, grant or offer."""
GrantedPurpose = Annotated[ReachPurpose, AfterValidator(_check_needs_grant)]
"""A purpose that needs a grant."""
Purposes = Annotated[tuple[Purpose, ...], Field(min_length=1, max_length=16), AfterValidator(_check_distinct)]
ReachPurposes = Annotated[tuple[ReachPurpose, ...], Field(min_length=1, max_length=16), AfterValidator(_check_distinct)]
Channels = Annotated[tuple[Channel, ...], Field(min_length=1, max_length=6), AfterValidator(_check_distinct)]
Sides = Annotated[tuple[Side, ...], Field(max_length=2), AfterValidator(_check_distinct)]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
ZoneName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$", max_length=64)]
_SPACES = r"\x20\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_INVISIBLE = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
) + "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_LINE = re.compile(f"(?:[{_SPACES}]|[^{_SPACES}{_INVISIBLE}][\ufe0e\ufe0f]?[\u200c\u200d]?)+")
"""Persian and emoji need joiners and variation selectors: one of each may follow a visible character."""


_VISIBLE = f"[^{_SPACES}{_INVISIBLE}][\ufe0e\ufe0f]?"
_NAME = re.compile(f"{_VISIBLE}(?:[ \u200c\u200d]?{_VISIBLE})*")


def check_visible(text: str) -> str:
    """Returns the text if it has a visible character. Raises ValueError."""
    if all(
        unicodedata.category(character)[0] not in "LNPS" or character in "\u115f\u1160\u2800\u3164\uffa0"
        for character in text
    ):
        raise ValueError("a text needs a visible character")
    return text


def check_one_line(text: str) -> str:
    """Returns the text if it is one line of visible characters (NOTICE-3). Raises ValueError."""
    check_visible(text)
    if not _LINE.fullmatch(text):
        raise ValueError("a text has an invisible character, or one that is not allowed")
    return text


def check_name(text: str) -> str:
    """Returns the text if it is a name: visible characters, with at most one space or joiner between two of them
    (ACT-17). Raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError("a name must have visible characters and single spaces between them")
    return check_visible(text)


HARMFUL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
"""Characters that no text for people may have, as the inside of a character class: controls but tab and line feed, and
bidirectional overrides (ACT-16)."""
TEXT = f"^[^{HARMFUL}]+$"
"""The pattern of a text with several lines."""
Label = Annotated[str, Field(max_length=100), AfterValidator(check_name)]
"""A name or title for people (ACT-17). Its author normalizes it with `names.normalize_name` first."""


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
"""A category of personal data: a closed list, so that wallets can translate it (ERA-2)."""
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
"""The legal ground for data that is retained after the end (ERA-3)."""
Categories = Annotated[tuple[Category, ...], Field(max_length=12), AfterValidator(_check_distinct)]
Recipient = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-%*/:-@\[-\x60{-\x9f\u2028-\u202e\u2066-\u2069][^\x00-\x1f!-%*/:-@\[-\x60{-\x9f\u2028-\u202e\u2066-\u2069]{0,59}$"
    ),
    AfterValidator(check_name),
]
"""The name of a recipient of personal data, without control characters and the characters of an address (ERA-5)."""
Recipients = Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=16), AfterValidator(_check_distinct)]


M = TypeVar("M")


def requires(member: str) -> Callable[[M, ValidationInfo], M]:
    """A validator that accepts a value only together with `member`, which the model declares earlier."""

    def check(value: M, info: ValidationInfo) -> M:
        if info.data.get(member) is None:
            raise ValueError(f"only together with `{member}`")
        return value

    return check


class Model(BaseModel):
    """The base of every parsed document: strict, frozen, no extra members."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """The members as compact JSON, without those that are absent. The author of a text calls this once."""
        # The serializer behind `model_dump_json`, which would decode the bytes.
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class Budget(Model):
    """At most `max` deliveries or asks in any rolling `per`."""

    max: Annotated[int, Field(ge=0, le=100)]
    per: Period


class StatusReference(Model):
    """The location of the grant's status (Token Status List, section 6)."""

    idx: Annotated[int, Field(ge=0, lt=2**32)]
    uri: Url


class Status(Model):
    """The `status` claim of a grant."""

    status_list: StatusReference


class RetainedData(Model):
    """Data that is retained after the end: its category, the ground, and the end (s), if that is known."""

    what: Category
    ground: Ground
    until: Seconds | None = None


def _null_pointers(value: Any, pointer: str = "") -> Iterator[str]:
    """JSON pointers to every null in a value."""
    if value is None:
        yield pointer
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inside:
        yield from _null_pointers(item, f"{pointer}/{_pointer_step(name)}")


def _pointer_step(name: object) -> str:
    """One step of a JSON Pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def parse_model(adapter: TypeAdapter[M], data: bytes, limit: int = 64 * 1024) -> M:
    """Parses strict JSON into a model. Raises Malformed with a JSON pointer for each fault, or Refused("too_large")."""
    members = parse_json(data, limit)
    nulls = list(_null_pointers(members))[:_MOST_FAULTS] if b"null" in data else []
    try:
        # The same bytes again: pydantic's parser is strict about types, ours about JSON.
        model: M = adapter.validator.validate_json(data)
    except ValidationError as fault:
        # For a tagged union pydantic puts the tag in front of the path; the text has no such level.
        schema = adapter.core_schema
        kind = schema["schema"]["type"] if schema["type"] == "definitions" else schema["type"]
        levels = 1 if kind == "tagged-union" else 0
        faults = dict.fromkeys(nulls, _NOT_NULL) | dict(describe_faults(fault, levels))
        raise Malformed("the members are not those of this text", errors=tuple(faults.items())[:_MOST_FAULTS]) from None
    if nulls:
        raise Malformed(
            "an absent member must be left out, not null", errors=tuple((pointer, _NOT_NULL) for pointer in nulls)
        )
    return model


_MOST_FAULTS = 32
_NOT_NULL = "must be left out where it has no value, not null"
_FAULT_TEXTS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known member",
    # Pydantic's message would repeat the input.
    "union_tag_invalid": "is not a known kind",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
"""Pydantic's error types in plain words, where its own message assumes knowledge of Python."""
_PREFIXES = {"Value error, ": "", "Input should ": "must ", "String should ": "must ", "Tuple should ": "must "}
_PATTERN_TEXTS = {
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
"""Descriptions of the patterns."""


def describe_faults(error: ValidationError, levels: int = 0) -> tuple[tuple[str, str], ...]:
    """Up to 32 faults of a model as (JSON pointer, description), one for each place. The first `levels` steps of each
    path are left out."""
    texts: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False):
        if len(texts) == _MOST_FAULTS:
            break
        place, context = fault["loc"][levels:], fault.get("ctx", {})
        if fault["type"] == "literal_error" and place and str(place[-1]).startswith("literal["):
            # For a union of literals pydantic names the literal too; the text has no such level.
            place = place[:-1]
        pointer = "".join("/" + _pointer_step(part) for part in place)
        if fault["type"] == "too_short" and any(deeper.startswith(pointer + "/") for deeper in texts):
            # Pydantic counts valid items only, so a list with an invalid item may seem too short as well.
            continue
        texts.setdefault(pointer, _fault_text(fault["type"], fault["msg"], context))
    return tuple(texts.items())


def _fault_text(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        if r"\u202a-\u202e" in pattern:
            return "must have no control characters and no bidirectional overrides"
        if r"\u2028-\u202e" in pattern:
            return "must be a name, with none of the signs of an address"
        return _PATTERN_TEXTS.get(pattern, f"must look like {pattern}")
    if kind in ("too_short", "too_long"):
        few = kind == "too_short"
        number = context["min_length" if few else "max_length"]
        return f"must have at {'least' if few else 'most'} {number} {'item' if number == 1 else 'items'}"
    if kind in _FAULT_TEXTS:
        return _FAULT_TEXTS[kind]
    beginning = next((text for text in _PREFIXES if message.startswith(text)), "")
    return _PREFIXES.get(beginning, "") + message.removeprefix(beginning)
