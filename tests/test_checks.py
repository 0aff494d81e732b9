"""The checks themselves: each must catch a planted defect, or its "ok" means nothing."""

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


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        (GOOD, 0, "ruff: ok"),
        ("import os\n\n\n" + GOOD, 1, "ruff: FAILED"),
        (GOOD.replace("1 + 1", "1+1"), 1, "ruff format: FAILED"),
        (GOOD.replace(" -> None", ""), 1, "mypy: FAILED"),
        (GOOD.replace("== 2", "== 3"), 1, "ruff: ok"),
    ],
    ids=["all is well", "ruff", "format", "types", "test"],
)
def test_whatever_fails_the_tests_run_and_their_closing_line_is_last(
    tmp_path: Path, source: str, code: int, said: str
) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "checks.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_sum.py").write_text(source)
    length = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]
    (tmp_path / "pyproject.toml").write_text(SMALL.replace("LENGTH", str(length)))
    run = subprocess.run(
        [sys.executable, "tests/checks.py", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    assert run.returncode == code, run.stdout
    assert said in lines
    closing = re.compile(r"=+ 1 (passed|failed) in [0-9.]+s =+")
    assert [bool(closing.fullmatch(line)) for line in lines].index(True) == len(lines) - 1
