"""Whether any vector comes out otherwise once a change is made.

Every change is made in a process of its own, forked from one that has read all vectors before: there the code of the
changed function is put in place of the old one, or, for what a module does when it is made, the module and all that
rest on it are made anew. Only the vectors are asked: the functions of test_spec_vectors.py, one row at a time.
"""

import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from single_changes.changes import Change

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "client_sdk" / "comity"
VECTORS = "test_spec_vectors"
OTHER_MODULES = frozenset({"errors", "http_api", "documents.timezones", "rules.next_act", "rules.timeline"})
"""Modules without rules: they compose texts, name errors, frame the wire, find installed zones."""
FORMS = frozenset({"test_a_member_may_be_what_the_page_says", "test_a_member_may_be_nothing_else"})
LONGEST = 4
"""Seconds of processor time for one row of the vectors; whoever takes longer does not come to an end."""


def rule_modules() -> list[str]:
    """The modules that hold the rules, by name."""
    paths = [path.relative_to(RULES) for path in RULES.rglob("*.py") if path.stem != "__init__"]
    names = (".".join(path.with_suffix("").parts) for path in paths if path.parts[0] != "client")
    return sorted(name for name in names if name not in OTHER_MODULES)


def path_of(module: str) -> Path:
    """The file of a module of rules."""
    return RULES / f"{module.replace('.', '/')}.py"


class Case(NamedTuple):
    """One row of the vectors: the function that reads it, its number there, and the row."""

    function: str
    number: int
    values: tuple[Any, ...]


def cases_of(module: types.ModuleType) -> Iterator[Case]:
    """The rows that test_spec_vectors.py reads; what needs a fixture is no row."""
    for name, function in vars(module).items():
        if not name.startswith("test_") or not isinstance(function, types.FunctionType):
            continue
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        if not marks and function.__code__.co_argcount == 0:
            yield Case(name, 0, ())
        for mark in marks:
            for number, row in enumerate(mark.args[1]):
                yield Case(name, number, tuple(row.values))


class Vectors:
    """All rows, with the lines of the rules that each passes."""

    def __init__(self) -> None:
        sys.path.insert(0, str(ROOT / "tests" / "protocol"))
        self.module = importlib.import_module(VECTORS)
        self.cases = list(cases_of(self.module))
        self.seconds: list[float] = []
        self.passing: dict[tuple[str, int], set[int]] = defaultdict(set)
        for number in range(len(self.cases)):
            self._trace(number)
        self.functions = _functions()
        for name in rule_modules():
            # Looked up here once, and in every process that is forked from this one.
            _resting_on(f"comity.{name}")

    def _trace(self, number: int) -> None:
        files = {str(path_of(name)): name for name in rule_modules()}
        seen: set[tuple[str, int]] = set()

        def trace(frame: types.FrameType, event: str, _: Any) -> Any:
            name = files.get(frame.f_code.co_filename)
            if name is None:
                return None
            seen.add((name, frame.f_lineno))
            return trace

        forget()
        began, before = time.perf_counter(), sys.gettrace()
        sys.settrace(trace)
        try:
            self.run(number)
        finally:
            sys.settrace(before)
        self.seconds.append(time.perf_counter() - began)
        for place in seen:
            self.passing[place].add(number)

    def run(self, number: int) -> None:
        """Read one row. Raises whatever its test raises."""
        case = self.cases[number]
        getattr(self.module, case.function)(*case.values)

    def order_for(self, change: Change) -> list[int]:
        """The rows that can notice a change, the likeliest and quickest first: whoever does not pass its lines does as
        before."""
        quickest = self.seconds.__getitem__
        if change.function is not None:
            low, high = change.lines
            passing = (self.passing.get((change.module, line), set()) for line in range(low, high + 1))
            return sorted(set().union(*passing), key=quickest)
        # What a module does when it is made is the form of a text, or a table that its functions look things up in.
        named = (rows for (module, _), rows in self.passing.items() if module == change.module)
        likely = set().union(*named) | {number for number, case in enumerate(self.cases) if case.function in FORMS}
        return [*sorted(likely, key=quickest), *sorted(set(range(len(self.cases))) - likely, key=quickest)]

    def notice(self, change: Change) -> bool:
        """Whether some row comes out otherwise; asked in a process of its own."""
        child = os.fork()
        if child == 0:
            # Nothing of the parent's is to be finished here, whatever happens.
            try:
                os._exit(1 if self._notices(change) else 0)
            except BaseException:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        return status != 0

    def _notices(self, change: Change) -> bool:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
        order = self.order_for(change)
        _wind_up(2 * LONGEST)
        if change.function is None:
            self._make_anew(change)
        else:
            self._put_in_place(change)
        forget()
        for number in order:
            _wind_up(LONGEST)
            try:
                self.run(number)
            except BaseException:
                return True
        return False

    def _put_in_place(self, change: Change) -> None:
        path = path_of(change.module)
        whole = compile(change.made_in(path.read_bytes()), str(path), "exec")
        assert change.function is not None
        name, line = change.function
        code = next(it for it in _codes(whole) if (it.co_qualname, it.co_firstlineno) == (name, line))
        for function in self.functions[change.module, name, line]:
            function.__code__ = code

    def _make_anew(self, change: Change) -> None:
        for name in _resting_on(f"comity.{change.module}"):
            del sys.modules[name]
            # `from comity.rules import gate` asks the package first.
            package, _, base = name.rpartition(".")
            vars(sys.modules[package]).pop(base, None)
        sys.meta_path.insert(0, _Changed(change))
        del sys.modules[VECTORS]
        self.module = importlib.import_module(VECTORS)
        self.cases = list(cases_of(self.module))


def _wind_up(seconds: int) -> None:
    """End this process, and so notice, after so much processor time from now, or ten times as long in all."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)


class _Changed(importlib.abc.MetaPathFinder):
    """Finds the one module that is changed, and makes it with the change."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The changed module's; None for all others."""
        if fullname != f"comity.{self._change.module}":
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self._change))


class _Loader(importlib.abc.Loader):
    """Runs the changed text; no file of bytecode is read or written."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def exec_module(self, module: types.ModuleType) -> None:
        """Make the module."""
        path = path_of(self._change.module)
        module.__file__ = str(path)
        exec(compile(self._change.made_in(path.read_bytes()), str(path), "exec"), vars(module))


def _resting_on(changed: str) -> set[str]:
    """The modules that import it, and those that import them, with itself."""
    loaded = {name: it for name, it in sys.modules.items() if name == "comity" or name.startswith("comity.")}
    found, size = {changed}, 0
    while size < len(found):
        size = len(found)
        for name, module in loaded.items():
            if module.__file__ and _imports_of(module.__file__) & found:
                found.add(name)
    return found & loaded.keys()


@cache
def _imports_of(file: str) -> frozenset[str]:
    """The names of the modules that a file imports, and of what it takes from them."""
    names = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{it.name}" for it in node.names)}
        elif isinstance(node, ast.Import):
            names |= {it.name for it in node.names}
    return frozenset(names)


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse(Path(file).read_bytes())


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for it in code.co_consts:
        if isinstance(it, types.CodeType):
            yield it
            yield from _codes(it)


def _functions() -> dict[tuple[str, str, int], list[types.FunctionType]]:
    """Every function of the rules by module, qualified name and first line."""
    found: dict[tuple[str, str, int], list[types.FunctionType]] = defaultdict(list)
    files = {str(path_of(name)): name for name in rule_modules()}
    # A server that ran in this process has put all that was there out of sight of the next line.
    gc.unfreeze()
    for it in gc.get_objects():
        if isinstance(it, types.FunctionType) and (name := files.get(it.__code__.co_filename)):
            found[name, it.__code__.co_qualname, it.__code__.co_firstlineno].append(it)
    return found


def forget() -> None:
    """Empty every cache of the protocol and of who reads the vectors, so that nothing is answered from before the
    change."""
    for name, module in list(sys.modules.items()):
        if name.startswith("comity.") or name == VECTORS:
            for named, it in vars(module).items():
                empty = getattr(it, "cache_clear", None)
                if callable(empty) and named != "load":
                    empty()


def notice_all(
    vectors: Vectors, changes: Sequence[Change], workers: int, told: Callable[[int], None] = lambda done: None
) -> list[bool]:
    """Which of the changes some row notices. `workers` processes share them."""
    lost = [it.name for it in changes if it.function is not None and not vectors.functions[it.module, *it.function]]
    assert not lost, f"the function to change is not there: {lost[0]}"
    gc.collect()
    gc.freeze()
    pipes = []
    for worker in range(workers):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            for number in range(worker, len(changes), workers):
                os.write(writing, b"%d %d\n" % (number, vectors.notice(changes[number])))
            os._exit(0)
        os.close(writing)
        pipes.append(os.fdopen(reading, "rb"))
    noticed = [False] * len(changes)
    for done, line in enumerate(line for pipe in pipes for line in pipe):
        number, found = map(int, line.split())
        noticed[number] = bool(found)
        told(done + 1)
    for pipe in pipes:
        pipe.close()
        os.wait()
    return noticed
