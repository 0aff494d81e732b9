"""The checks themselves: each must catch a planted defect, or its "ok" means nothing."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Our rules over packages of empty modules, so that what is found is what a test has planted."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    # The layers name modules, and each of them must exist.
    for folder in ("client_sdk/comity", "server/comity_server", "server/comity_tools"):
        for module in (ROOT / folder).rglob("*.py"):
            empty = tmp_path / module.relative_to(ROOT)
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
    return tmp_path


def import_rules(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-logo", "--no-cache"],
        cwd=copy,
        env={"PATH": "", "PYTHONPATH": f"{copy / 'client_sdk'}:{copy / 'server'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("client_sdk/comity/errors.py", "import comity.crypto.keys", "imports run one way"),
        ("client_sdk/comity/documents/acts.py", "import comity.client", "imports run one way"),
        ("client_sdk/comity/crypto/keys.py", "import time", "no network, disk, clock or randomness"),
        ("client_sdk/comity/crypto/keys.py", "from aiohttp import web", "no network, disk, clock or randomness"),
        ("client_sdk/comity/client/session.py", "import comity.client.wallet", "In the SDK, imports run"),
        ("client_sdk/comity/client/connection/view.py", "import comity.client.connection.reads", "In a connection,"),
        ("client_sdk/comity/client/sync/inbox.py", "import comity.client.sync.item_handler", "In the SDK's sync,"),
        ("client_sdk/comity/client/log/tree.py", "import comity.client.log.monitor", "In the SDK's log,"),
        ("client_sdk/comity/client/http/transport.py", "import comity.client.http.server_api", "In the SDK's HTTP,"),
        ("client_sdk/comity/client/storage/frames.py", "import comity.client.storage.records", "In the SDK's storage,"),
        ("client_sdk/comity/client/__init__.py", "import comity_server", "The SDK knows the server only"),
        ("server/comity_server/__init__.py", "import comity.client", "The server knows the SDK only"),
    ],
)
def test_an_import_against_the_rules_is_found(copy: Path, file: str, line: str, rule: str) -> None:
    assert import_rules(copy).returncode == 0
    (copy / file).write_text(f"{line}\n")
    checked = import_rules(copy)
    assert checked.returncode == 1
    assert [rule in kept for kept in checked.stdout.splitlines() if kept.endswith("BROKEN")] == [True], checked


def test_the_tools_may_play_the_customer_and_the_server(copy: Path) -> None:
    (copy / "server" / "comity_tools" / "__init__.py").write_text("import comity.client\nimport comity_server.app\n")
    assert import_rules(copy).returncode == 0


def test_the_protocol_may_not_read_the_clock_but_the_server_may() -> None:
    source = "from datetime import UTC, datetime\n\nprint(datetime.now(UTC))\n"

    def ruff(file: str) -> str:
        command = [str(BIN / "ruff"), "check", "--output-format=concise", "--stdin-filename", file, "-"]
        return subprocess.run(command, cwd=ROOT, input=source, capture_output=True, text=True, check=False).stdout

    assert "the protocol takes the time as an argument" in ruff("client_sdk/comity/rules/gate.py")
    assert "TID251" not in ruff("client_sdk/comity/client/wallet.py")
    assert "TID251" not in ruff("server/comity_server/writer/writer.py")


# --- python3 tests

GOOD = "def test_sum() -> None:\n    assert 1 + 1 == 2\n"
SMALL = """
[tool.ruff]
line-length = LENGTH
[tool.ruff.lint]
select = ["F"]
[tool.mypy]
strict = true
files = ["tests/test_sum.py"]
[tool.importlinter]
root_packages = ["comity", "comity_server"]
[[tool.importlinter.contracts]]
name = "none"
type = "forbidden"
source_modules = ["comity"]
forbidden_modules = ["comity_server"]
[tool.pytest.ini_options]
"""
CLOSING = re.compile(r"=+ (.*) in [0-9.]+s( \([0-9:]+\))? =+")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our own checks, one test, and nothing wrong."""
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "checks.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_sum.py").write_text(GOOD)
    length = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]
    (tmp_path / "pyproject.toml").write_text(SMALL.replace("LENGTH", str(length)))
    return tmp_path


def checks(project: Path, *arguments: str) -> tuple[int, list[str]]:
    """(exit code, lines of standard output) of `python3 tests ARGUMENTS`."""
    run = subprocess.run(
        [sys.executable, "tests/checks.py", *arguments], cwd=project, capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout.splitlines()


@pytest.mark.parametrize(
    ("source", "failed", "summary"),
    [
        (GOOD, [], "1 passed"),
        ("import os\n\n\n" + GOOD.replace(" -> None", ""), ["ruff", "mypy"], "1 passed"),
        (GOOD.replace("== 2", "== 3"), [], "1 failed"),
    ],
    ids=["nothing fails", "linter and types fail", "a test fails"],
)
def test_without_arguments_all_is_checked_and_pytest_has_the_last_line(
    project: Path, source: str, failed: list[str], summary: str
) -> None:
    (project / "tests" / "test_sum.py").write_text(source)
    code, lines = checks(project)
    assert code == int(bool(failed) or "failed" in summary), lines
    names = ("ruff", "ruff format", "import rules", "mypy", "collection")
    results = {name: "FAILED" if name in failed else "ok" for name in names}
    assert [line for line in lines if line.endswith((": ok", ": FAILED"))] == [f"{a}: {b}" for a, b in results.items()]
    closing = [(number, found[1]) for number, line in enumerate(lines) if (found := CLOSING.fullmatch(line))]
    assert closing == [(len(lines) - 1, summary)]


@pytest.mark.parametrize(
    ("source", "failed"),
    [
        (GOOD.replace(" -> None", ""), ""),
        ("import os\n\n\n" + GOOD, "ruff"),
        (GOOD.replace("1 + 1", "1+1"), "ruff format"),
    ],
    ids=["all is well", "rules", "format"],
)
def test_lint_runs_the_linters_alone(project: Path, source: str, failed: str) -> None:
    (project / "tests" / "test_sum.py").write_text(source)
    code, lines = checks(project, "--lint")
    assert code == int(bool(failed)), lines
    results = [line for line in lines if line.endswith((": ok", ": FAILED"))]
    assert results == [f"{it}: {'FAILED' if it == failed else 'ok'}" for it in ("ruff", "ruff format", "import rules")]


@pytest.mark.parametrize(("source", "code"), [("import os\n\n\n" + GOOD, 0), (GOOD.replace(" -> None", ""), 1)])
def test_types_runs_mypy_alone(project: Path, source: str, code: int) -> None:
    (project / "tests" / "test_sum.py").write_text(source)
    assert (found := checks(project, "--types"))[0] == code
    assert found[1][0] == ("mypy: FAILED" if code else "mypy: ok")
    assert not any(CLOSING.fullmatch(line) or line.startswith("ruff") for line in found[1])


@pytest.mark.parametrize(
    ("arguments", "code", "summary"),
    [
        (("tests/test_sum.py",), 0, "1 passed"),
        (("tests/test_sum.py::test_sum", "-x"), 0, "1 passed"),
        (("-k", "product"), 5, "1 deselected"),
        (("--hypothesis-profile=default", "tests"), 0, "1 passed"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, tuple) else "",
)
def test_a_path_or_an_argument_of_pytest_runs_tests_alone(
    project: Path, arguments: tuple[str, ...], code: int, summary: str
) -> None:
    (project / "tests" / "test_sum.py").write_text("import os\n" + GOOD)
    found, lines = checks(project, *arguments)
    assert found == code, lines
    assert (closing := CLOSING.fullmatch(lines[-1])) and closing[1] == summary
    assert not any(line.startswith(("ruff", "mypy", "import rules")) for line in lines)


def test_help_names_every_way_to_run_the_checks(project: Path) -> None:
    code, lines = checks(project, "--help")
    assert code == 0
    for way in ("python3 tests ", "PATH...", "--lint", "--types", "--long", "--mutants", "-k mute", "-x", "-n 4"):
        assert any(way in line for line in lines), way
    assert checks(project, "--lint", "tests/test_sum.py")[0] == 2


# --- long tests


def without_short_form(source: str) -> list[str]:
    """The lines of a test file with a long test that nothing stands for in a plain run: neither a row `short` beside
    its row `long`, nor a test that the mark names."""
    tree = ast.parse(source)
    tests = {it.name for it in ast.walk(tree) if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)}
    marks = [it for it in ast.walk(tree) if isinstance(it, ast.Attribute) and ast.unparse(it) == "pytest.mark.long"]
    named = [it for it in ast.walk(tree) if isinstance(it, ast.Call) and ast.unparse(it.func) == "pytest.mark.long"]
    has_form = {it.func.lineno for it in named if ast.literal_eval(it.keywords[0].value) in tests}
    for rows in (it for it in ast.walk(tree) if isinstance(it, ast.Tuple | ast.List)):
        params = [ast.unparse(it) for it in rows.elts]
        if any("id='short'" in it for it in params):
            has_form |= {it.lineno for it in rows.elts if "mark.long" in ast.unparse(it)}
    return [f"{it.lineno}: {ast.unparse(it)}" for it in marks if it.lineno not in has_form]


def test_every_long_test_has_a_short_form() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name]
    found = {str(path.relative_to(ROOT)): without_short_form(path.read_text()) for path in files}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_a_long_test_without_a_short_form_is_found() -> None:
    alone = "@pytest.mark.long\ndef test_soak(): ..."
    named = '@pytest.mark.long(short="test_a_little")\ndef test_soak(): ...'
    row = 'ROWS = (pytest.param(9, id="long", marks=pytest.mark.long), pytest.param(1, id="SHORT"))'
    assert len(without_short_form(alone)) == len(without_short_form(named)) == len(without_short_form(row)) == 1
    assert without_short_form(named + "\ndef test_a_little(): ...") == []
    assert without_short_form(row.replace("SHORT", "short")) == []
