"""The little things by their keys: what form the value of each has (spec/notes.md, NOTE-1 to NOTE-5).

Values are in the encrypted body of a `remember`, never in clear: several of them the law protects apart. So these
checks are for whoever writes one and whoever reads one; the home server sees no value of an act that it did not seal.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from comity.documents.hours import Window, check_windows
from comity.documents.names import nickname
from comity.documents.types import TEXT, Channels, Distinct, Label, Language, Model, ZoneName, faults
from comity.encoding import dump_json
from comity.errors import Malformed

MOST_TEXT = 10_000
"""Characters of the text beside a value."""
MOST_SHOWN = 200
"""Characters of a value that is shown as text (NOTE-4)."""

_MONTH_AND_DAY = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")


def _day_of_a_year(text: str) -> str:
    if not _MONTH_AND_DAY.match(text):
        raise ValueError("a birthday is MM-DD, without a year")
    try:
        date.fromisoformat(f"2000-{text}")
    except ValueError:
        raise ValueError("no year has that day") from None
    return text


def _true(value: object) -> object:
    if value is not True:
        raise ValueError("must be true")
    return value


class ContactTime(Model):
    """When somebody would like to be reached: a wish; the setting `hours` is what binds."""

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

FORMS: Mapping[str, Any] = {
    "language": _Languages,
    "name": Label,
    "receipt": Literal["paper", "digital", "none"],
    "contact_by": Channels,
    "contact_time": ContactTime,
    "pronouns": Annotated[Label, Field(max_length=40)],
    "accessibility": Annotated[tuple[Access, ...], Field(min_length=1), Distinct],
    "no_interest_payments": Annotated[bool, BeforeValidator(_true)],
    "diet": Annotated[tuple[Diet, ...], Field(min_length=1), Distinct],
    "birthday": Annotated[str, AfterValidator(_day_of_a_year)],
}
"""The known keys with the form of their values (NOTE-1). `no_interest` is known too: it has a topic, and no value."""
_NAMES = frozenset({"name", "pronouns"})
FILTERS = frozenset({"language", "receipt", "contact_by"})
"""The keys by which customers may be chosen for a message to many; by all others never (NOTE-5)."""

_READERS: Mapping[str, TypeAdapter[Any]] = {key: TypeAdapter(form) for key, form in FORMS.items()}
_FREE: TypeAdapter[str] = TypeAdapter(_Text)
_BESIDE: TypeAdapter[str] = TypeAdapter(Annotated[str, Field(max_length=MOST_TEXT, pattern=TEXT)])
_MEANT: Mapping[str, str] = {
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
"""Words that people write for a known key."""
_SHORTEST_NEAR = 6
"""Letters of a known key from which a slip of one letter is taken for it: shorter words have too many neighbours."""


class Note(NamedTuple):
    """A little thing as it is shown. `known`: the key is a known one, and `value` has its form; else `value` is a text,
    or None where there is none."""

    key: str
    value: Any
    text: str | None
    known: bool
    topic: str | None = None


def meant_key(key: str) -> str | None:
    """The known key that somebody probably meant, None for a known one and for a word of its own (NOTE-3)."""
    if key in FORMS or key == "no_interest":
        return None
    if key in _MEANT:
        return _MEANT[key]
    near = (it for it in (*FORMS, "no_interest") if len(it) >= _SHORTEST_NEAR and _is_one_slip(key, it))
    return next(near, None)


def _is_one_slip(one: str, two: str) -> bool:
    """Whether one letter was left out, put in, or changed, or two neighbours changed places."""
    if len(one) > len(two):
        one, two = two, one
    if len(two) - len(one) > 1:
        return False
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), len(one))
    if len(one) < len(two):
        return one[at:] == two[at + 1 :]
    swapped = one[at : at + 2] == two[at : at + 2][::-1] and one[at + 2 :] == two[at + 2 :]
    return swapped or one[at + 1 :] == two[at + 1 :]


def note_body(key: str, topic: str | None, value: Any = None, text: str | None = None) -> dict[str, Any] | None:
    """The body of a `remember` in clear, None where it has none (NOTE-1, NOTE-2). `value` is JSON.

    Raises Malformed with a pointer: another form than the known key's, a key that is nearly a known one, `no_interest`
    without a topic or with a value.
    """
    if (meant := meant_key(key)) is not None:
        raise _fault("/key", f"Did you mean {meant}? Only that is known to every wallet.")
    if key == "no_interest" and topic is None:
        raise _fault("/topic", "no_interest needs a topic")
    if key == "no_interest" and value is not None:
        raise _fault("/value", "no_interest has a topic and no value")
    if key in _NAMES and isinstance(value, str):
        value = _spelled(value)
    if key in FORMS or value is not None:
        _read(_READERS.get(key, _FREE), value, "/value")
    if text is not None:
        _read(_BESIDE, text, "/text")
    members = {"value": value, "text": text}
    return {name: member for name, member in members.items() if member is not None} or None


def _spelled(name: str) -> str:
    try:
        return nickname(name)
    except Malformed as fault:
        raise _fault("/value", fault.detail or fault.title) from None


def read_note(key: str, body: Mapping[str, Any] | None) -> Note:
    """A little thing that somebody else wrote, to be shown: a value without the form of its key is a text (NOTE-4)."""
    found = body or {}
    value, text = found.get("value"), found.get("text")
    shown = text if isinstance(text, str) else None
    if key in FORMS:
        try:
            _read(_READERS[key], value, "/value")
            return Note(key, value, shown, True)
        except Malformed:
            pass
    if value is None:
        return Note(key, None, shown, key == "no_interest")
    plain = value if isinstance(value, str) else dump_json(value).decode()
    return Note(key, plain[:MOST_SHOWN], shown, False)


def _read(adapter: TypeAdapter[Any], value: Any, pointer: str) -> None:
    """Raises Malformed unless the JSON value has the form."""
    if value is None:
        raise _fault(pointer, "is missing")
    try:
        adapter.validate_json(json.dumps(value))
    except ValidationError as fault:
        errors = tuple((pointer + place, what) for place, what in faults(fault))
        raise Malformed("the note has not the form of its key", errors=errors) from None
    except (TypeError, ValueError, RecursionError):
        raise _fault(pointer, "must be a JSON value") from None


def _fault(pointer: str, what: str) -> Malformed:
    return Malformed(what, errors=((pointer, what),))
