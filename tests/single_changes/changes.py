"""Which single changes a module's text allows.

A change replaces one stretch of the text. It is named by its place, the line that it is on and what becomes of it, so
that its name stays the same while other lines change.
"""

import ast
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from single_changes.parts import FAULTS, SWAPPED_NAMES, alternatives, other_texts, outcome

_SWAPPED_OPERATORS: dict[type[ast.AST], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.BitAnd: "|",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
_NOT_RULES = frozenset({"lru_cache", "dataclass", "TypeVar", "field", "ConfigDict"})
"""Calls in which nothing is a rule: how long something is kept in memory, how a class prints itself."""

_OF_THE_LANGUAGE = frozenset({"isinstance", "getattr", "zip", "min", "max", "map", "sorted", "replace", "Annotated"})
"""Functions whose arguments are of two kinds, or whose order says nothing."""


@dataclass(frozen=True)
class Change:
    """Bytes `start` to `end` of a module's text become `text`. `lines` are the first and the last of the statement.
    `function` is the outermost function around it, as (qualified name, first line), or None where the module must be
    made anew."""

    module: str
    name: str
    start: int
    end: int
    text: bytes
    lines: tuple[int, int]
    function: tuple[str, int] | None

    def made_in(self, source: bytes) -> bytes:
        """The module's text with the change in it."""
        return source[: self.start] + self.text + source[self.end :]


def changes_of(module: str, path: Path, finder: type["Finder"] | None = None) -> list[Change]:
    """All single changes of a module, in the order of its text; no two are the same."""
    source = path.read_bytes()
    found = sorted(set((finder or Finder)(source).found()), key=lambda it: (it.start, it.end, it.text))
    names: Counter[str] = Counter()
    changes = []
    for it in found:
        line = " ".join(_line_at(source, it.start).split())
        was, now = (" ".join(text.decode().split()) for text in (source[it.start : it.end], it.text))
        name = f"{module}.{it.place} | {line} | {was} -> {now}"
        names[name] += 1
        if names[name] > 1:
            name += f" | {names[name]}"
        changes.append(Change(module, name, it.start, it.end, it.text, it.lines, it.function))
    return changes


def _line_at(source: bytes, at: int) -> str:
    start = source.rfind(b"\n", 0, at) + 1
    return source[start : source.find(b"\n", at)].decode()


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    text: bytes
    place: str
    lines: tuple[int, int]
    function: tuple[str, int] | None


class Finder(ast.NodeVisitor):
    """Walks a module and notes down its changes."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._found: list[_Found] = []
        self._names: list[str] = []
        self._models = {"Model", "BaseModel", "ChainLink"}
        self._is_model = False
        self._function: tuple[str, int] | None = None
        self._statement = (0, 0)
        self._depth = 0
        self._has_value: set[str] = set()

    def visit(self, node: ast.AST) -> None:
        """Any node; of a statement the lines are noted that belong to itself, not to what it holds."""
        if not isinstance(node, ast.stmt):
            super().visit(node)
            return
        head: ast.AST = getattr(node, "test", None) or getattr(node, "iter", None) or node
        outer, self._statement = self._statement, (node.lineno, getattr(head, "end_lineno", node.lineno))
        super().visit(node)
        self._statement = outer

    def found(self) -> list[_Found]:
        """Every change, some perhaps twice."""
        self.visit(ast.parse(self._source))
        return self._found

    # --- notes

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def _span(self, node: ast.AST) -> tuple[int, int]:
        place: ast.expr = node  # type: ignore[assignment]
        return self._at(place.lineno, place.col_offset), self._at(place.end_lineno or 0, place.end_col_offset or 0)

    def _note(self, start: int, end: int, text: bytes) -> None:
        if self._source[start:end] == text:
            return
        place = ".".join(self._names) or "(module)"
        self._found.append(_Found(start, end, text, place, self._statement, self._function))

    def _replace(self, node: ast.AST, text: str | bytes) -> None:
        self._note(*self._span(node), text.encode() if isinstance(text, str) else text)

    def _text(self, node: ast.AST) -> bytes:
        start, end = self._span(node)
        return self._source[start:end]

    def _in_place_of(self, node: ast.AST, other: ast.AST) -> None:
        self._replace(node, b"(" + self._text(other) + b")")

    def _between(self, left: ast.AST, right: ast.AST, operator: str) -> None:
        """Another operator between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        gap = self._source[start:end]
        inner = gap.strip(b" \n()")
        offset = gap.index(inner) if inner else 0
        self._note(start + offset, start + offset + len(inner), operator.encode())

    def _without(self, nodes: list[ast.expr], least: int) -> None:
        """Each item of a list left out, with the comma behind or before it."""
        if len(nodes) < least:
            return
        if len(nodes) == 2:
            start, end = self._span(nodes[0])[0], self._span(nodes[1])[1]
            for left in reversed(nodes):
                self._note(start, end, self._text(left) + b",")
            return
        spans = [self._span(node) for node in nodes]
        for number, (start, end) in enumerate(spans):
            if number + 1 < len(spans):
                self._note(start, spans[number + 1][0], b"")
            else:
                self._note(spans[number - 1][1] if number else start, end, b"")

    def _without_one(self, whole: ast.expr, parts: list[ast.expr]) -> None:
        """Each of some alternatives left out."""
        for left in parts:
            others = [self._text(it) for it in parts if it is not left]
            self._replace(whole, b"(" + b" | ".join(others) + b")")
        for part in parts:
            self.visit(part)

    # --- what is passed over

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing to change."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Nothing to change."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """For the type checker."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """Left out; of what is raised only the code is a rule."""
        self._replace(node, "pass")
        call = node.exc
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Refused":
            for argument in call.args[:1]:
                self.visit(argument)
            for keyword in call.keywords:
                self.visit(keyword.value)
        elif isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id not in FAULTS:
            self.generic_visit(node)

    # --- places

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class: its members, not its decorators. Of a model the types of its members are rules."""
        if any(isinstance(base, ast.Name) and base.id in self._models for base in node.bases):
            self._models.add(node.name)
        outer, self._is_model = self._is_model, node.name in self._models
        self._names.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._names.pop()
        self._is_model = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A function: its defaults belong to what is around it."""
        self._names.append(node.name)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        outer = self._function
        if self._depth:
            # One that was made when its module was, as a decorator does, has its code from then.
            self._function = None
        elif outer is None:
            first = min([node.lineno, *(it.lineno for it in node.decorator_list)])
            self._function = ".".join(self._names), first
        self._depth += 1
        before, arguments = self._has_value, (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self._has_value = {it.arg for it in arguments}
        self._visit_all(node.body)
        self._has_value = before
        self._depth -= 1
        self._function = outer
        self._names.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """A member of a model: its type, its bounds, whether it may be left out, whether it may be there."""
        target = node.target
        if not self._depth and self._is_model:
            annotation = node.annotation
            if isinstance(node.value, ast.Constant) and node.value.value is None:
                self._note(self._span(annotation)[1], self._span(node.value)[1], b"")
                self._replace(annotation, "None")
                # Without `| None` all would stay as it is: a null is refused, and a default is not looked at.
                annotation = annotation.left if isinstance(annotation, ast.BinOp) else annotation
            self.visit(annotation)
        if not self._depth and isinstance(target, ast.Name) and node.value is not None:
            self._names.append(target.id)
            self.visit(node.value)
            self._names.pop()
        elif node.value is not None:
            self.visit(node.value)

    # --- statements

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call for its effect is left out; a docstring stays."""
        if isinstance(node.value, ast.Constant):
            return
        if not isinstance(node.value, ast.Yield | ast.YieldFrom):
            self._replace(node, "pass")
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Left out where something has a value before."""
        if not self._depth and isinstance(node.targets[0], ast.Name):
            self._names.append(node.targets[0].id)
            self.visit(node.value)
            self._names.pop()
            return
        names = {it.id for target in node.targets for it in ast.walk(target) if isinstance(it, ast.Name)}
        if self._depth and (names <= self._has_value or not isinstance(node.targets[0], ast.Name | ast.Tuple)):
            self._replace(node, "pass")
        self._has_value |= names
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Left out."""
        self._replace(node, "pass")
        self.visit(node.value)

    def visit_Continue(self, node: ast.Continue) -> None:
        """Left out."""
        self._replace(node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        """Left out."""
        self._replace(node, "pass")

    def visit_If(self, node: ast.If) -> None:
        """A condition that never holds, or always."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._replace(node.test, "(False)")
        if not isinstance(node.body[0], ast.Raise) or node.orelse:
            self._replace(node.test, "(True)")
        self.visit(node.test)
        self._swap_checks(node.body)
        for statement in node.body:
            # A branch that only raises is left out with its condition.
            if isinstance(statement, ast.Raise) and not node.orelse:
                start = len(self._found)
                self.visit(statement)
                self._found[start:] = [it for it in self._found[start:] if it.text != b"pass"]
            else:
                self.visit(statement)
        self._visit_all(node.orelse)

    def visit_For(self, node: ast.For) -> None:
        """What it goes through, and what it does."""
        self._has_value |= {it.id for it in ast.walk(node.target) if isinstance(it, ast.Name)}
        self.visit(node.iter)
        self._visit_all(node.body)
        self._visit_all(node.orelse)

    def _visit_all(self, statements: list[ast.stmt]) -> None:
        self._swap_checks(statements)
        for statement in statements:
            self.visit(statement)

    def _swap_checks(self, statements: list[ast.stmt]) -> None:
        """Two checks in each other's place, where they end otherwise: which fault of two is told."""
        for first, second in pairwise(statements):
            if None not in (words := {outcome(first), outcome(second)}) and len(words) == 2:
                (start, middle), (again, end) = self._span(first), self._span(second)
                self._note(start, end, self._text(second) + self._source[middle:again] + self._text(first))

    # --- expressions

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Always the one, or always the other."""
        self._in_place_of(node, node.body)
        self._in_place_of(node, node.orelse)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """`and` for `or`, and each condition left out."""
        spans = [self._span(value) for value in node.values]
        start, end = self._span(node)
        values = [self._source[a:b] for a, b in spans]
        word = b" or " if isinstance(node.op, ast.And) else b" and "
        self._note(start, end, b"(" + word.join(b"(" + it + b")" for it in values) + b")")
        same = b" and " if isinstance(node.op, ast.And) else b" or "
        for number in range(len(values)):
            left = [it for place, it in enumerate(values) if place != number]
            self._note(start, end, b"(" + same.join(b"(" + it + b")" for it in left) + b")")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """The other comparison: with the border, or without; of the same, or not."""
        operands = [node.left, *node.comparators]
        for left, right, operator in zip(operands, operands[1:], node.ops, strict=False):
            self._between(left, right, _SWAPPED_OPERATORS[type(operator)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """The other operator; one alternative less."""
        if isinstance(node.op, ast.BitOr):
            self._without_one(node, alternatives(node))
            return
        if type(node.op) in _SWAPPED_OPERATORS:
            self._between(node.left, node.right, _SWAPPED_OPERATORS[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Without it."""
        self._in_place_of(node, node.operand)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """Without its condition."""
        for condition in node.ifs:
            self._replace(condition, "(True)")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Without one of its named arguments; the first two arguments in each other's place; `other(side)` becomes
        `side`."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _NOT_RULES:
            return
        if name == "other":
            self._in_place_of(node, node.args[0])
        self._swap(name, node.args)
        for keyword in node.keywords:
            start, end = self._span(keyword)
            before = self._source[:start].rstrip()
            if before.endswith(b","):
                self._note(len(before) - 1, end, b"")
            else:
                rest = self._source[end:]
                after = len(rest) - len(rest.lstrip(b" \n"))
                comma = rest[after : after + 1] == b","
                self._note(start, end + (after + 1 if comma else 0), b"")
        if name in FAULTS:
            return
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("encode", "decode"):
            # The name of an encoding has other spellings that mean the same.
            self.visit(node.func)
            return
        self.generic_visit(node)

    def _swap(self, name: str, arguments: list[ast.expr]) -> None:
        """The first two arguments of a function, each in the other's place; a method's seldom are of one kind."""
        if len(arguments) < 2 or not name or name in _OF_THE_LANGUAGE:
            return
        first, second = arguments[:2]
        (start, first_end), (second_start, end) = self._span(first), self._span(second)
        between = self._source[first_end:second_start]
        self._note(start, end, self._text(second) + between + self._text(first))

    def visit_Name(self, node: ast.Name) -> None:
        """The least for the greatest, any for all."""
        if isinstance(node.ctx, ast.Load) and node.id in ("min", "max", "any", "all"):
            self._replace(node, SWAPPED_NAMES[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The other side."""
        if node.attr in ("first", "second", "offerer", "accepter"):
            _, end = self._span(node)
            self._note(end - len(node.attr), end, SWAPPED_NAMES[node.attr].encode())
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Of a closed list of words, one less."""
        if isinstance(node.value, ast.Name) and node.value.id == "Literal" and isinstance(node.slice, ast.Tuple):
            self._without(node.slice.elts, 2)
            return
        if isinstance(node.value, ast.Name) and node.value.id in ("list", "dict", "set", "tuple", "Callable"):
            return  # for the type checker
        self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        """One item less."""
        if isinstance(node.ctx, ast.Load) and self._source[self._span(node)[0] : self._span(node)[0] + 1] == b"(":
            self._without(node.elts, 2)
        self.generic_visit(node)

    def visit_List(self, node: ast.List) -> None:
        """One item less."""
        self._without(node.elts, 2)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        """One item less."""
        self._without(node.elts, 2)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        """One entry less."""
        if all(key is not None for key in node.keys) and len(node.keys) > 1:
            spans = [
                (self._span(key)[0], self._span(value)[1])
                for key, value in zip(node.keys, node.values, strict=True)
                if key is not None
            ]
            for number, (start, end) in enumerate(spans):
                if number + 1 < len(spans):
                    self._note(start, spans[number + 1][0], b"")
                else:
                    self._note(spans[number - 1][1], end, b"")
        for value in node.values:
            self.visit(value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Passed over: before Python 3.12 nothing in it has its true place."""

    def visit_Constant(self, node: ast.Constant) -> None:
        """A number one more and one less; the other side; a pattern with other bounds; another word a little longer."""
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int):
            self._replace(node, str(value + 1))
            if value:
                self._replace(node, str(value - 1))
        elif isinstance(value, str):
            for other in other_texts(value):
                self._replace(node, repr(other))
        elif isinstance(value, bytes):
            self._replace(node, repr(value + b"_"))
