"""The functions that a change may be seen in: the one that it is in, or those that use what it is in."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from single_changes.changes import Change
from single_changes.copies import ROOT
from single_changes.entered import Place

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class _Part:
    """A function, or a name that a module gives a value, with the words of its text."""

    place: Place
    is_function: bool
    words: frozenset[str]


class Places:
    """Every part of some files, and what uses it."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files
        self._parts = {file: list(_parts(file)) for file in files.values() if file.endswith(".py")}
        self._functions = {part.place for parts in self._parts.values() for part in parts if part.is_function}
        self._imported = {file: _imported(file) for file in self._parts}

    def of(self, change: Change) -> list[Place]:
        """A function's change is seen where the function is entered; that of a constant or an SQL statement in the
        functions that use it; else in any function of its file."""
        file = self._files[change.module]
        name = change.name.partition(" | ")[0].removeprefix(f"{change.module}.")
        if (file, name) in self._functions:
            return [(file, name)]
        outer, _, word = name.rpartition(".")
        # A member is reached through an object, wherever that came from; so is an SQL statement by its name.
        found = self._users(file, word, anywhere=bool(outer) or file.endswith(".sql"))
        return sorted(found) or sorted(place for place in self._functions if place[0] == file)

    def callers(self, places: Iterable[Place]) -> list[Place]:
        """The functions that name some functions: where one is newer than what was measured, its callers are known."""
        found: set[Place] = set()
        for file, name in places:
            outer, _, word = name.rpartition(".")
            found |= self._users(file, word, anywhere=bool(outer))
        return sorted(found)

    def _users(self, file: str, name: str, *, anywhere: bool) -> set[Place]:
        """The functions that name it, or name what rests on it; in other files only where these import it, unless it is
        known `anywhere`."""
        found: set[Place] = set()
        seen, waiting = {(file, name)}, [(file, name)]
        while waiting:
            source, word = waiting.pop()
            for other, parts in self._parts.items():
                is_known = other == source or _names_of(source, word) & self._imported[other]
                if not is_known and not (anywhere and word == name):
                    continue
                for part in parts:
                    if word not in part.words or part.place in seen:
                        continue
                    seen.add(part.place)
                    if part.is_function:
                        found.add(part.place)
                    else:
                        waiting.append(part.place)
        return found


def _parts(file: str) -> Iterator[_Part]:
    source = (ROOT / file).read_text(encoding="utf-8")

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[_Part]:
        for child in ast.iter_child_nodes(node):
            inner, is_function = names, isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = (*names, child.name)
            target = _target(child)
            if is_function or (target and not names):
                words = frozenset(_WORD.findall(ast.get_source_segment(source, child) or ""))
                yield _Part((file, ".".join(inner) if is_function else target), is_function, words)
            yield from walk(child, inner)

    yield from walk(ast.parse(source), ())


def _target(node: ast.AST) -> str:
    """The name that a statement gives a value; "" for none."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return next((it.id for it in targets if isinstance(it, ast.Name)), "")


def _imported(file: str) -> frozenset[str]:
    """All that a file imports, by their full names."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(
        f"{node.module}.{it.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for it in node.names
    )


def _names_of(file: str, word: str) -> set[str]:
    """The full names by which a file's module, or that word in it, is imported."""
    module = ".".join(Path(file).with_suffix("").parts[1:])
    return {module, f"{module}.{word}"}
