"""The functions that a change may be seen in: the one that it is in, or those that use what it is in."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from single_changes.changes import Change
from single_changes.copies import ROOT
from single_changes.entered import Place

_WORD = re.compile(r"\w+")


class Places:
    """Every function of some files, and the words that its text names."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files
        self._functions: set[Place] = set()
        self._naming: dict[str, list[Place]] = defaultdict(list)
        for file in files.values():
            if file.endswith(".py"):
                for place, text in _functions(file):
                    self._functions.add(place)
                    for word in set(_WORD.findall(text)):
                        self._naming[word].append(place)

    def of(self, change: Change) -> list[Place]:
        """A function's change is seen where the function is entered; that of a constant or an SQL statement in the
        functions that name it; else in any function of its file."""
        file = self._files[change.module]
        name = change.name.partition(" | ")[0].removeprefix(f"{change.module}.")
        if (file, name) in self._functions:
            return [(file, name)]
        found = self._naming.get(name.rpartition(".")[2], [])
        return found or [place for place in self._functions if place[0] == file]


def _functions(file: str) -> Iterator[tuple[Place, str]]:
    source = (ROOT / file).read_text(encoding="utf-8")

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[Place, str]]:
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = (*names, child.name)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (file, ".".join(inner)), ast.get_source_segment(source, child) or ""
            yield from walk(child, inner)

    yield from walk(ast.parse(source), ())
