"""The single changes of what stands around the rules: the server, its store, the client.

The changes of changes.py, and those that only such code has: a loop that does not begin, a fault that is not caught, a
wait that is left out. Words for people, log lines and measurements are left alone.
"""

import ast

from single_changes.changes import Change, Finder, changes_of
from single_changes.copies import ROOT
from single_changes.parts import FAULTS
from single_changes.sql import changes_of_sql

_PACKAGES = ("server/comity_server", "client_sdk/comity/client")
_WITHOUT = (
    "comity_server.logging", "comity_server.metrics", "comity_server.api.business.docs",
    "comity_server.api.business.pagination", "comity_server.api.business.reasons", "comity_server.store.migrations",
)  # fmt: skip
"""What is for people's eyes, and what is run once."""
_DESCRIBED = frozenset({"Field", "Route"})
_DESCRIPTIONS = frozenset({"description", "examples", "title"})
_LARGE = 10


def modules() -> dict[str, str]:
    """The files in which changes are made, by the names of their modules."""
    found = {}
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".py", ".sql"):
                parts = path.relative_to(ROOT).with_suffix("").parts[1:]
                name = ".".join(parts) + (".sql" if path.suffix == ".sql" else "")
                if not any(name == it or name.startswith(f"{it}.") for it in _WITHOUT):
                    found[name] = str(path.relative_to(ROOT))
    return found


def changes_in_file(module: str, file: str) -> list[Change]:
    """The single changes of one file."""
    path = ROOT / file
    return changes_of_sql(module, path) if path.suffix == ".sql" else changes_of(module, path, ShellFinder)


def can_be_read(change: Change, file: str) -> bool:
    """Whether a file is still Python with the change in it; of SQL every change can be read."""
    try:
        if file.endswith(".py"):
            ast.parse(change.made_in((ROOT / file).read_bytes()))
    except SyntaxError:
        return False
    return True


class ShellFinder(Finder):
    """Also changes what only a shell does, and no words that it says to people."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Like any other function."""
        self.visit_FunctionDef(node)

    def visit_While(self, node: ast.While) -> None:
        """A loop that does not begin."""
        self._replace(node.test, "(False)")
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """A fault that is not caught."""
        if not isinstance(node.body[0], ast.Raise):
            self._replace(node.body[0], "raise")
        for statement in node.body:
            self.visit(statement)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Left out; of what is raised only the code of a refusal is looked at."""
        self._replace(node, "pass")
        call = node.exc
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Refused":
            for argument in call.args[:1]:
                self.visit(argument)

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call for its effect is left out, but for one that writes to the server's own log."""
        if _is_for_people(node.value):
            return
        super().visit_Expr(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Faults keep their words, and what describes the API its descriptions."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in FAULTS or name.endswith(("Error", "Damaged")):
            return
        if name in _DESCRIBED:
            keywords = [it for it in node.keywords if it.arg not in _DESCRIPTIONS]
            node = ast.copy_location(ast.Call(node.func, node.args, keywords), node)
        super().visit_Call(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Sentences are for people; a large number is changed so much that it can be seen."""
        if isinstance(node.value, str) and node.value.count(" ") >= 2:
            return
        if type(node.value) is int and node.value > _LARGE:
            self._replace(node, str(node.value * 2))
            self._replace(node, str(node.value // 2))
        else:
            super().visit_Constant(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """But for the list of what a module offers."""
        if not (isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"):
            super().visit_Assign(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations are for the type checker."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Only its value; that of a class's member, or of a constant, is known by its name."""
        if node.value is None:
            return
        if not self._depth and isinstance(node.target, ast.Name):
            self._names.append(node.target.id)
            self.visit(node.value)
            self._names.pop()
        else:
            self.visit(node.value)


def _is_for_people(call: ast.expr) -> bool:
    call = call.value if isinstance(call, ast.Await) else call
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    logger = call.func.value
    return isinstance(logger, ast.Call) and isinstance(logger.func, ast.Name) and logger.func.id == "logger"
