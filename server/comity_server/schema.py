"""The parts that all models of the REST API share: times, ids, and texts as they arrive (BIZ-12, BIZ-15, BIZ-17)."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from comity.documents.names import normalize_name
from comity.documents.types import HARMFUL, Hash, Model, Side, check_visible, describe_faults
from comity.documents.types import Label as Spelled
from comity.errors import Malformed
from comity.rules.gate import AsOf

__all__ = [
    "ACT_MEMBERS",
    "HARMLESS",
    "Basis",
    "Cid",
    "Cursor",
    "Digits",
    "Due",
    "Hash",
    "Instant",
    "Label",
    "Limit",
    "Model",
    "Query",
    "Text",
    "Who",
    "instant",
    "milliseconds",
    "read_query",
    "rest_pointer",
    "seconds",
    "who",
    "with_line_feeds",
]

Instant = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", examples=["2026-11-21T10:00:00.000Z"])
]
"""A time in an answer: RFC 3339 in UTC, with milliseconds (BIZ-12)."""
Cid = Hash
"""A connection's id."""
Who = Literal["us", "them"]
"""One of the two in a connection: the business, or the other side."""
Cursor = Annotated[str, Field(max_length=400, pattern=r"^[A-Za-z0-9_-]+$")]
"""Where a list goes on; says nothing to its bearer."""


def _digits(value: object) -> object:
    # pydantic also reads 1_0, 5.0 and blanks around a number.
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("must be a whole number")
    return value


_NUMBER = re.compile(r"-?[0-9]{1,16}")
Digits = BeforeValidator(_digits)
"""A number in a query: digits, as HTTP-17 has them, and nothing else."""
Limit = Annotated[int, Field(ge=1, le=100), Digits]
"""Items of a page at most."""
HARMLESS = rf"^(?:[^{HARMFUL}]|\r\n)+$"
"""The pattern of a text without them; a line may end as in HTTP and on Windows."""


def with_line_feeds(value: Any) -> Any:
    """The JSON value with each CRLF in a text of it as LF: what is signed, sealed and stored has one way to end a line
    (BIZ-15)."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n")
    if isinstance(value, list):
        return [with_line_feeds(item) for item in value]
    if isinstance(value, dict):
        return {name: with_line_feeds(item) for name, item in value.items()}
    return value


Text = Annotated[
    str,
    Field(min_length=1, max_length=10_000, pattern=HARMLESS),
    AfterValidator(with_line_feeds),
    AfterValidator(check_visible),
]
"""A text for people, of several lines perhaps (BIZ-15)."""


def _name(value: object) -> object:
    # What is far too long is told so by its length.
    if not isinstance(value, str) or len(value) > 1000:
        return value
    try:
        return normalize_name(value)
    except Malformed as fault:
        raise ValueError(fault.detail) from None


Label = Annotated[Spelled, BeforeValidator(_name)]
"""A name or title for people, brought into its one spelling (ACT-17, BIZ-15)."""

_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{8}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def _not_before_1970(value: datetime) -> datetime:
    if not 1970 <= value.year <= 9998 or value.timestamp() < 0:
        raise ValueError("a year between 1970 and 9998 is wanted")
    return value


def _is_rfc_3339(value: object) -> object:
    # pydantic takes a number for a time, also one that is written as a text.
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("a time as in RFC 3339 is wanted, with its offset or Z")
    return value


Due = Annotated[AwareDatetime, AfterValidator(_not_before_1970), Field(strict=False), BeforeValidator(_is_rfc_3339)]
"""A time in a request: RFC 3339 with an offset or Z; the protocol counts its whole seconds."""


def seconds(due: datetime) -> int:
    """A time of a request in the protocol's whole seconds."""
    return int(due.timestamp())


def milliseconds(due: datetime) -> int:
    """A time of a request in ms, as the server counts."""
    return round(due.timestamp() * 1000)


def instant(ms: int) -> str:
    """A time (ms) as answers have it."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


ACT_MEMBERS: dict[str, dict[str, str]] = {
    "ask": {"answer_by": "by"},
    "feedback": {"topic": "had", "actual_purpose": "as_", "actual_topic": "topic"},
    "grant": {"expires_at": "exp"},
    "message": {"expires_at": "exp"},
    "milestone": {"happened_at": "when", "lasts_until": "lasts"},
    "mute": {"ends_at": "until", "reason": "why"},
    "renounce": {"reason": "because"},
}
"""Kind of act → name of a member in the REST API → attribute of the act that has it, where the names differ."""


def rest_pointer(kind: str, pointer: str) -> str:
    """The JSON pointer to the member of a request from which a member of the act `kind` was made."""
    for name, attribute in ACT_MEMBERS.get(kind, {}).items():
        if pointer == f"/{attribute.removesuffix('_')}":
            return f"/{name}"
    return re.sub(r"^(/kept/[0-9]+)/until$", r"\1/kept_until", pointer) if kind == "erasure" else pointer


def who(side: Side, own: Side) -> Who:
    """Names a side of a connection for the business, whose own side is `own`."""
    return "us" if side == own else "them"


class Basis(Model):
    """The basis of a verdict: the heads of the act chains of the business and of the other side, and the version of the
    time zone rules."""

    us: Hash
    them: Hash
    zones: str

    @staticmethod
    def of(as_of: AsOf, own: Side) -> "Basis":
        """The same as the business sees it, whose own side is `own`."""
        us, them = (as_of.first, as_of.second) if own == "first" else (as_of.second, as_of.first)
        return Basis(us=us, them=them, zones=as_of.zones)


class Query(BaseModel):
    """The parameters of a request: texts, so numbers and times are read from them; nothing extra, nothing twice."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_query(adapter: TypeAdapter[Any], pairs: list[tuple[str, str]]) -> Any:
    """The model that the parameters spell. Raises Malformed with a pointer for each fault."""
    given = dict(pairs)
    if len(given) != len(pairs):
        names = [name for name, _ in pairs]
        twice = [name for name in given if names.count(name) > 1]
        raise Malformed("a parameter is there twice", errors=tuple((f"/{name}", "is there twice") for name in twice))
    try:
        return adapter.validate_python(given)
    except ValidationError as fault:
        raise Malformed("the parameters are not those of this route", errors=describe_faults(fault)) from None
