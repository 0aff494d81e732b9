"""An event stream, cut anywhere and with any line ends, is the same news (HTTP-13)."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.client.http.server_api import _read_events
from comity.client.http.transport import MOST_LINE, split_lines
from comity.errors import Unreachable

ENDS = (b"\r\n", b"\n", b"\r")
EVENTS = (b": a comment", b"", b"id: 1", b"data: one", b"", b"event: x", b"id:2", b'data:{"a":', b"data: 2}", b"")
READ = [(b"one", "1"), (b'{"a":\n2}', "2")]


async def _cut(text: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(places):
        yield text[start:end]


def lines(text: bytes, cuts: Sequence[int]) -> list[bytes]:
    async def read() -> list[bytes]:
        return [line async for line in split_lines(_cut(text, cuts))]

    return asyncio.run(read())


def events(text: bytes, cuts: Sequence[int] = ()) -> list[tuple[bytes, str]]:
    async def read() -> list[tuple[bytes, str]]:
        return [event async for event in _read_events(split_lines(_cut(text, cuts)))]

    return asyncio.run(read())


cuts = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"data: x", b"", b":"]), max_size=20).map(b"".join), cuts)
@example(b"a\r\nb", [2])
@example(b"a\r\r\nb\r\n\n", [1, 2, 3, 4, 5, 6])
def test_a_line_ends_in_cr_lf_or_both_wherever_it_is_cut(text: bytes, cuts: list[int]) -> None:
    whole = re.split(rb"\r\n|\r|\n", text)
    assert lines(text, cuts) == (whole if whole[-1] else whole[:-1])


@pytest.mark.parametrize("end", ENDS, ids=["CRLF", "LF", "CR"])
def test_news_are_the_same_under_every_line_end_and_cut_at_every_byte(end: bytes) -> None:
    text = b"".join(line + end for line in EVENTS)
    for cut in range(len(text) + 1):
        assert events(text, [cut]) == READ, cut
    assert events(text, range(len(text))) == READ


@given(st.lists(st.sampled_from(ENDS), min_size=len(EVENTS), max_size=len(EVENTS)), cuts)
def test_line_ends_may_change_from_line_to_line(ends: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + end for line, end in zip(EVENTS, ends, strict=True))
    # An empty line that ends in LF behind one that ends in CR would be the second half of one end.
    if re.search(rb"\r\n", text.replace(b"\r\n", b"")) or b"\r\n" in b"".join(e for e in ends if e != b"\r\n"):
        text = b"".join(line + b"\r\n" for line in EVENTS)
    assert events(b"\xef\xbb\xbf" + text, cuts) == READ


def test_lines_without_an_empty_line_behind_them_are_no_item() -> None:
    for end in ENDS:
        assert events(end.join([b"id: 1", b"data: one", b"", b"id: 2", b"data: two"])) == READ[:1]


def test_a_line_and_an_event_without_an_end_are_not_waited_for() -> None:
    async def endless(part: bytes) -> AsyncIterator[bytes]:
        while True:
            yield part

    async def read(part: bytes) -> None:
        async for _ in _read_events(split_lines(endless(part))):
            pass

    for part in (b"x" * 65_536, b"data: " + b"x" * 65_536 + b"\n"):
        with pytest.raises(Unreachable, match="no end"):
            asyncio.run(read(part))
    assert MOST_LINE > 3 * 65_536
