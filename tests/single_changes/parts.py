"""What a part of a module's text says: the word that a check ends with, the other texts that could stand there."""

import ast
import re
from collections.abc import Iterator

SWAPPED_NAMES = {
    "first": "second",
    "second": "first",
    "offerer": "accepter",
    "accepter": "offerer",
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
}
FAULTS = frozenset({"Malformed", "Contradiction", "ValueError", "InvalidSignature", "HTTPMessageSignaturesException"})
"""What is raised with words for people, which no rule fixes."""


def alternatives(node: ast.expr) -> list[ast.expr]:
    """The types that are joined by `|`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*alternatives(node.left), *alternatives(node.right)]
    return [node]


def outcome(statement: ast.stmt) -> str | None:
    """The word that a check ends with: a code, a reason. None for what is no check, or ends with no word."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return None
    last = statement.body[-1]
    told = last.exc if isinstance(last, ast.Raise) else last.value if isinstance(last, ast.Return) else None
    if isinstance(told, ast.Call) and isinstance(told.func, ast.Name):
        if told.func.id in FAULTS:
            return told.func.id
        told = told.args[0] if told.args else None
    return told.value if isinstance(told, ast.Constant) and isinstance(told.value, str) else None


_BOUND = re.compile(r"(?<=[{,])[0-9]+(?=[,}])")


def other_texts(text: str) -> Iterator[str]:
    """What a text becomes: a little longer; a pattern with other bounds, or without its ends."""
    if text in SWAPPED_NAMES:
        yield SWAPPED_NAMES[text]
        return
    if not re.search(r"^\^|\\Z$|\$$", text):
        yield text + "_"
        return
    for bound in _BOUND.finditer(text):
        for number in (int(bound[0]) + 1, int(bound[0]) - 1):
            if number >= 0:
                yield text[: bound.start()] + str(number) + text[bound.end() :]
    for mark in ("$", r"\Z"):
        if text.endswith(mark):
            yield text.removesuffix(mark)
    if text.startswith("^"):
        yield text[1:]
