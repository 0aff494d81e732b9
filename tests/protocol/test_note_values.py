"""The keys of notes: what is refused to whoever writes one, and what a reader makes of it (spec/notes.md)."""

from typing import Any, get_args

import pytest

from comity.documents.note_values import FILTERS, VALUE_TYPES, Access, Diet, Note, note_body, parse_note, suggested_key
from comity.errors import Malformed
from support.parties import START, connected
from support.spec_pages import table


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    rows = {key: (value, filter_) for key, value, filter_ in table("notes", "key", "value", "filter")}
    assert list(rows) == list(VALUE_TYPES)
    assert {key for key, (_, filter_) in rows.items() if filter_ == "yes"} == FILTERS
    for key, words in (("accessibility", get_args(Access)), ("diet", get_args(Diet))):
        assert rows[key][0] == "some of " + " ".join(words)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lang", "language"),
        ("langauge", "language"),
        ("lanuage", "language"),
        ("languages", "language"),
        ("birthdays", "birthday"),
        ("date_of_birth", "birthday"),
        ("receipts", "receipt"),
        ("no_interests", "no_interest"),
        ("contact_bye", "contact_by"),
    ],
)
def test_a_slip_in_a_key_is_told_with_the_word_that_was_meant(typed: str, meant: str) -> None:
    assert suggested_key(typed) == meant
    with pytest.raises(Malformed, match=f"Did you mean {meant}") as fault:
        note_body(typed, "topic", "x")
    assert [pointer for pointer, _ in fault.value.errors] == ["/key"]


@pytest.mark.parametrize("key", [*VALUE_TYPES, "no_interest", "game", "dies", "named", "hair", "paper_receipt"])
def test_known_keys_and_words_of_their_own_are_no_slips(key: str) -> None:
    assert suggested_key(key) is None


def test_no_interest_has_a_topic_and_no_value() -> None:
    assert note_body("no_interest", "windows") is None
    assert note_body("no_interest", "windows", text="We rent.") == {"text": "We rent."}
    for topic, value, pointer in ((None, None, "/topic"), ("windows", "all", "/value")):
        with pytest.raises(Malformed) as fault:
            note_body("no_interest", topic, value)
        assert fault.value.errors[0][0] == pointer


def test_an_act_that_says_no_interest_in_nothing_is_malformed() -> None:
    pair = connected()
    with pytest.raises(Malformed):
        pair.compose("remember", "second", START + 1, key="no_interest")
    pair.go("remember", "second", START + 1, key="no_interest", topic="windows")


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"bytes", ["x"] * 5, {"a": None}])
def test_an_invalid_value_is_malformed(value: Any) -> None:
    for key in (*VALUE_TYPES, "hair"):
        with pytest.raises(Malformed):
            note_body(key, None, value)


@pytest.mark.parametrize("text", ["", "x" * 10_001, "a\x00b", "a\u202eb"])
def test_a_text_beside_a_value_is_one_that_people_can_read(text: str) -> None:
    with pytest.raises(Malformed) as fault:
        note_body("receipt", None, "paper", text)
    assert fault.value.errors[0][0] == "/text"


def test_a_reader_shows_what_it_does_not_understand_as_text() -> None:
    assert parse_note("name", {"value": ["<b>Mia</b>"], "text": 7}) == Note("name", '["<b>Mia</b>"]', None, False)
    assert parse_note("diet", {"value": "x" * 999}).value == "x" * 200
    assert parse_note("language", None) == Note("language", None, None, False)
    assert parse_note("no_interest", {"text": "We rent."}) == Note("no_interest", None, "We rent.", True)
    assert parse_note("hair", {"value": "short"}) == Note("hair", "short", None, False)
