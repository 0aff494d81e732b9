"""Notes by their keys: the form of each key's value (spec/notes.md, NOTE-1 to NOTE-5).

Values are in the encrypted body of a `remember`, never in clear, since the law protects several of them specially. Only
the author and the reader of a note can check it; the home server sees no value that it did not encrypt itself.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from comity.documents.hours import Window, check_windows
from comity.documents.names import normalize_name
from comity.documents.types import TEXT, Channels, Distinct, Label, Language, Model, ZoneName, describe_faults
from comity.encoding import dump_json
from comity.errors import Malformed

MOST_TEXT = 10_000
"""The most characters of the text beside a value."""
MOST_SHOWN = 200
"""The most characters of a value that is shown as text (NOTE-4)."""

_MONTH_AND_DAY = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")


def _check_month_and_day(text: str) -> str:
    if not _MONTH_AND_DAY.match(text):
        raise ValueError("a birthday must have the form MM-DD, without a year")
    try:
        date.fromisoformat(f"2000-{text}")
    except ValueError:
        raise ValueError("this day does not exist") from None
    return text


def _check_true(value: object) -> object:
    if value is not True:
        raise ValueError("must be true")
    return value


class ContactTime(Model):
    """When somebody would like to be reached. This is a wish; the setting `hours` is binding."""

    zone: ZoneName
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=42), AfterValidator(check_windows)]


Access = Literal[
    "large_print",
    "braille",
    "easy_read",
    "screen_reader",
    "captions",
    "sign_language",
    "step_free",
    "quiet_place",
    "more_time",
    "speak_slowly",
]
Diet = Literal["vegetarian", "vegan", "halal", "kosher", "gluten_free", "lactose_free", "nut_allergy"]
_Languages = Annotated[tuple[Language, ...], Field(min_length=1, max_length=3), Distinct]
_Text = Annotated[str, Field(max_length=MOST_SHOWN, pattern=TEXT)]

VALUE_TYPES: Mapping[str, Any] = {
    "language": _Languages,
    "name": Label,
    "receipt": Literal["paper", "digital", "none"],
    "contact_by": Channels,
    "contact_time": ContactTime,
    "pronouns": Annotated[Label, Field(max_length=40)],
    "accessibility": Annotated[tuple[Access, ...], Field(min_length=1), Distinct],
    "no_interest_payments": Annotated[bool, BeforeValidator(_check_true)],
    "diet": Annotated[tuple[Diet, ...], Field(min_length=1), Distinct],
    "birthday": Annotated[str, AfterValidator(_check_month_and_day)],
}
"""The known keys and the form of their values (NOTE-1). `no_interest` is known too: it has a topic and no value."""
_NAMES = frozenset({"name", "pronouns"})
FILTERS = frozenset({"language", "receipt", "contact_by"})
"""The keys by which a business may select customers for a message; no other key is allowed for that (NOTE-5)."""

_READERS: Mapping[str, TypeAdapter[Any]] = {key: TypeAdapter(form) for key, form in VALUE_TYPES.items()}
_FREE: TypeAdapter[str] = TypeAdapter(_Text)
_TEXT_BESIDE: TypeAdapter[str] = TypeAdapter(Annotated[str, Field(max_length=MOST_TEXT, pattern=TEXT)])
_SYNONYMS: Mapping[str, str] = {
    "lang": "language",
    "languages": "language",
    "locale": "language",
    "nickname": "name",
    "call_me": "name",
    "channel": "contact_by",
    "channels": "contact_by",
    "contact": "contact_by",
    "not_interested": "no_interest",
    "gender": "pronouns",
    "access": "accessibility",
    "allergies": "diet",
    "food": "diet",
    "birthdate": "birthday",
    "date_of_birth": "birthday",
}
"""Common other words for a known key."""
_SHORTEST_TYPO_KEY = 6
"""The least letters of a known key for which one typo is recognized: shorter words have too many neighbours."""


class Note(NamedTuple):
    """A note for display. With `known` the key is a known one and `value` has its form; else `value` is a text, or None
    if there is none."""

    key: str
    value: Any
    text: str | None
    known: bool
    topic: str | None = None


def suggested_key(key: str) -> str | None:
    """The known key that the author probably meant; None for a known key, and for a word that is no typo (NOTE-3)."""
    if key in VALUE_TYPES or key == "no_interest":
        return None
    if key in _SYNONYMS:
        return _SYNONYMS[key]
    similar = (
        candidate
        for candidate in (*VALUE_TYPES, "no_interest")
        if len(candidate) >= _SHORTEST_TYPO_KEY and _is_one_typo(key, candidate)
    )
    return next(similar, None)


def _is_one_typo(shorter: str, longer: str) -> bool:
    """True if the words differ by one letter that is missing, extra or changed, or by two swapped neighbours."""
    if len(shorter) > len(longer):
        shorter, longer = longer, shorter
    if len(longer) - len(shorter) > 1:
        return False
    first = next((n for n, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    if len(shorter) < len(longer):
        return shorter[first:] == longer[first + 1 :]
    swapped = (
        shorter[first : first + 2] == longer[first : first + 2][::-1] and shorter[first + 2 :] == longer[first + 2 :]
    )
    return swapped or shorter[first + 1 :] == longer[first + 1 :]


def note_body(key: str, topic: str | None, value: Any = None, text: str | None = None) -> dict[str, Any] | None:
    """The body of a `remember` before encryption, None if it has none (NOTE-1, NOTE-2). `value` is JSON.

    Raises Malformed with a pointer: the value does not have the key's form, the key is a likely typo, or `no_interest`
    has no topic or has a value.
    """
    if (suggestion := suggested_key(key)) is not None:
        raise _fault("/key", f"Did you mean {suggestion}? Wallets know only that key.")
    if key == "no_interest" and topic is None:
        raise _fault("/topic", "no_interest needs a topic")
    if key == "no_interest" and value is not None:
        raise _fault("/value", "no_interest has a topic and no value")
    if key in _NAMES and isinstance(value, str):
        value = _normalized_name(value)
    if key in VALUE_TYPES or value is not None:
        _check_value(_READERS.get(key, _FREE), value, "/value")
    if text is not None:
        _check_value(_TEXT_BESIDE, text, "/text")
    members = {"value": value, "text": text}
    return {name: member for name, member in members.items() if member is not None} or None


def _normalized_name(name: str) -> str:
    try:
        return normalize_name(name)
    except Malformed as fault:
        raise _fault("/value", fault.detail or fault.title) from None


def parse_note(key: str, body: Mapping[str, Any] | None) -> Note:
    """A note that somebody else wrote, for display. A value that does not have its key's form is a text (NOTE-4)."""
    members = body or {}
    value, text = members.get("value"), members.get("text")
    note_text = text if isinstance(text, str) else None
    if key in VALUE_TYPES:
        try:
            _check_value(_READERS[key], value, "/value")
            return Note(key, value, note_text, True)
        except Malformed:
            pass
    if value is None:
        return Note(key, None, note_text, key == "no_interest")
    plain = value if isinstance(value, str) else dump_json(value).decode()
    return Note(key, plain[:MOST_SHOWN], note_text, False)


def _check_value(adapter: TypeAdapter[Any], value: Any, pointer: str) -> None:
    """Raises Malformed unless the JSON value has the form."""
    if value is None:
        raise _fault(pointer, "is missing")
    try:
        adapter.validate_json(json.dumps(value))
    except ValidationError as fault:
        errors = tuple((pointer + place, what) for place, what in describe_faults(fault))
        raise Malformed("the value does not have the form for its key", errors=errors) from None
    except (TypeError, ValueError, RecursionError):
        raise _fault(pointer, "must be a JSON value") from None


def _fault(pointer: str, what: str) -> Malformed:
    return Malformed(what, errors=((pointer, what),))
