"""Which single changes a file of SQL statements allows: a condition that always holds, the other comparison, another
number, one assignment less, a row that is not written.

The statements have names, as aiosql reads them: `-- name: get_state(cid)^`. A change is named by that name.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from single_changes.changes import Change

_NAME = re.compile(rb"^-- name: (\w+)\(.*$", re.MULTILINE)
_TOKEN = re.compile(rb"--[^\n]*|'[^']*'|:\w+|[A-Za-z_][\w.]*|\d+|<=|>=|<>|\|\||[^\s\w]")
_SWAPPED = {b"<": b"<=", b"<=": b"<", b">": b">=", b">=": b">", b"=": b"<>", b"<>": b"=", b"+": b"-", b"-": b"+"}
_SWAPPED_WORDS = {b"MIN": b"MAX", b"MAX": b"MIN", b"AND": b"OR", b"OR": b"AND", b"DESC": b"ASC"}
_CONDITIONS = frozenset({b"WHERE", b"AND", b"OR", b"ON", b"WHEN"})
"""Words behind which a condition stands."""
_ENDS = frozenset(
    {b"AND", b"OR", b"GROUP", b"ORDER", b"LIMIT", b"THEN", b"JOIN", b"LEFT", b"WHERE", b"UNION", b"DO", b"SET"}
)
"""Words before which it ends, and so does a closing bracket."""


class _Token(NamedTuple):
    start: int
    end: int
    text: bytes


class _Found(NamedTuple):
    start: int
    end: int
    text: bytes


def changes_of_sql(module: str, path: Path) -> list[Change]:
    """All single changes of the statements in a file, in the order of its text."""
    source = path.read_bytes()
    heads = list(_NAME.finditer(source))
    names: Counter[str] = Counter()
    changes = []
    for number, head in enumerate(heads):
        end = heads[number + 1].start() if number + 1 < len(heads) else len(source)
        tokens = list(_tokens(source, head.end(), end))
        for it in sorted(set(_found(source, tokens))):
            was, now = (" ".join(text.decode().split()) for text in (source[it.start : it.end], it.text))
            line = source[source.rfind(b"\n", 0, it.start) + 1 :].split(b"\n", 1)[0].decode().strip()
            name = f"{module}.{head[1].decode()} | {line} | {was} -> {now}"
            names[name] += 1
            if names[name] > 1:
                name += f" | {names[name]}"
            at = source.count(b"\n", 0, it.start) + 1
            changes.append(Change(module, name, it.start, it.end, it.text, (at, at), None))
    return changes


def _tokens(source: bytes, start: int, end: int) -> Iterator[_Token]:
    for it in _TOKEN.finditer(source, start, end):
        if not it[0].startswith(b"--"):
            yield _Token(it.start(), it.end(), it[0])


def _found(source: bytes, tokens: list[_Token]) -> Iterator[_Found]:
    assignments = list(_assignments(tokens))
    yield from _words_and_operators(tokens, {tokens[first + 1].start for first, _ in assignments})
    for start, end in _conditions(tokens):
        # What it is given is named still: aiosql refuses a statement that leaves out one of its arguments.
        yield _Found(start, end, b"(1 = 1 OR (" + source[start:end] + b"))")
    for first, last in assignments:
        start, end, column = tokens[first + 2].start, tokens[last].end, tokens[first].text
        yield _Found(start, end, b"CASE WHEN 0 = 1 THEN " + source[start:end] + b" ELSE " + column + b" END")
    if tokens[0].text in (b"UPDATE", b"DELETE"):
        # Nothing is changed, or deleted.
        yield from (_Found(it.end, it.end, b" 0 = 1 AND") for it in tokens if it.text == b"WHERE")


def _words_and_operators(tokens: list[_Token], assigning: set[int]) -> Iterator[_Found]:
    for number, (start, end, text) in enumerate(tokens):
        before = tokens[number - 1].text if number else b""
        if text in _SWAPPED and start not in assigning:
            yield _Found(start, end, _SWAPPED[text])
        elif text in _SWAPPED_WORDS:
            yield _Found(start, end, _SWAPPED_WORDS[text])
        elif text.isdigit() and before not in (b"BY", b"SELECT"):
            yield _Found(start, end, b"%d" % (int(text) + 1))
        elif text == b"NOT" and (before == b"IS" or tokens[number + 1].text in (b"EXISTS", b"IN")):
            yield _Found(start, end, b"")
        elif text == b"NULL" and before == b"IS":
            yield _Found(start, end, b"NOT NULL")
        elif text.startswith(b"'") and before in (b"=", b"<>", b"(", b","):
            yield _Found(start, end, text[:-1] + b"_'")


def _conditions(tokens: list[_Token]) -> Iterator[tuple[int, int]]:
    """Where each condition begins and ends that is joined to others, or stands alone."""
    for number, token in enumerate(tokens):
        if token.text not in _CONDITIONS or tokens[number + 1].text == b"CONFLICT":
            continue
        last = _last(tokens, number + 1, _ENDS)
        if last > number:
            yield tokens[number + 1].start, tokens[last].end


def _assignments(tokens: list[_Token]) -> Iterator[tuple[int, int]]:
    """Behind SET: the first and the last token of each assignment."""
    for number, token in enumerate(tokens):
        first = number + 1
        while token.text == b"SET" and first < len(tokens):
            last = _last(tokens, first, frozenset({b",", b"WHERE"}))
            yield first, last
            first = last + 2 if tokens[last + 1].text == b"," else len(tokens)


def _last(tokens: list[_Token], first: int, ends: frozenset[bytes]) -> int:
    """The last token from `first` on that stands before one of these words, a bracket's end or the statement's."""
    depth = 0
    for number in range(first, len(tokens)):
        text = tokens[number].text
        depth += (text == b"(") - (text == b")")
        if depth < 0 or text == b";" or (depth == 0 and text in ends):
            return number - 1
    return len(tokens) - 1
