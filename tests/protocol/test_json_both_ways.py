"""Strict JSON is read in two ways, a quick one and a thorough one; nobody can tell which (ACT-1 to ACT-4)."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comity import encoding
from comity.encoding import MAX_DEPTH, MAX_INTEGER
from comity.errors import Malformed

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([MAX_INTEGER, MAX_INTEGER + 1, -MAX_INTEGER, -MAX_INTEGER - 1, 2**64, 10**30, -0.0, 1e300])
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner))
# Pieces that JSON is made of, put together without regard for its grammar.
PIECES = st.sampled_from(
    [
        '{"a":1',
        ',"a":2',
        '"b":',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "1",
        "-0",
        "1e5",
        "1.0",
        "1e999",
        "9007199254740992",
        "00",
        "true",
        "null",
        "NaN",
        "-Infinity",
        '"x"',
        '"\\u0061"',
        '"\\ud800"',
        '"ü"',
        " ",
        "\n",
        "\ufeff",
        "\x01",
    ]
)


def thoroughly(data: bytes) -> Any:
    return encoding._parse_any(data)


def told(parse: Any, data: bytes) -> tuple[str, str]:
    try:
        # The written form tells True from 1 and 1 from 1.0, which Python holds to be equal.
        return "value", repr(parse(data))
    except Malformed:
        return "malformed", ""


@given(VALUES, st.booleans())
@settings(max_examples=300)
def test_the_quick_reader_reads_what_the_thorough_one_reads(value: Any, compact: bool) -> None:
    text = json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=False)
    data = text.encode("utf-8", "surrogatepass")
    assert told(encoding.parse_json, data) == told(thoroughly, data)


@given(st.lists(PIECES, max_size=12))
@settings(max_examples=500)
@example(['{"a":1', ',"a":2', "}"])
@example(["[", "9007199254740992", "]"])
@example(["-0"])
@example(['{"a":1', ",", '"b":', "-0", "}"])
@example(["1e999"])
def test_no_text_is_accepted_by_one_reader_alone(pieces: list[str]) -> None:
    data = "".join(pieces).encode("utf-8", "surrogatepass")
    assert told(encoding.parse_json, data) == told(thoroughly, data)


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 500, 20_000])
@pytest.mark.parametrize("ends", ["[]", '{"a":}'])
def test_both_ways_go_equally_deep(levels: int, ends: str) -> None:
    half = len(ends) // 2 if ends == "[]" else 5
    data = (ends[:half] * levels + ("" if ends == "[]" else "1") + ends[half:] * levels).encode()
    seen = told(encoding.parse_json, data[:65_536])
    assert seen == told(thoroughly, data[:65_536])
    assert seen[0] == ("value" if levels <= MAX_DEPTH else "malformed")


def test_a_text_of_our_own_is_read_the_quick_way() -> None:
    data = encoding.dump_json({"iss": "did:key:z6Mk", "seq": 7, "purposes": ["care"], "status": {"idx": 1}})
    assert encoding._parse_plain(data) == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1, "b":2}',
        b'"\\u0061"',
        b"9007199254740992",
        b"1.50",
        b"-0",
        b'"\x01"',
        b"NaN",
        b"[1,]",
    ],
)
def test_the_quick_way_leaves_every_doubt_to_the_thorough_one(data: bytes) -> None:
    assert encoding._parse_plain(data) is encoding._NOT_PLAIN
