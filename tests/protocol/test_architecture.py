"""The shape of the code: what the protocol may import and call, how long things are, what must not be in the tree."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "client_sdk" / "comity"
PROTOCOL = sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "client"))
CODE = sorted(path for folder in ("client_sdk", "server") for path in (ROOT / folder).rglob("*.py"))

# --- what the protocol may import

PURE = {
    "__future__", "base64", "binascii", "bisect", "collections", "dataclasses", "datetime", "enum", "functools",
    "hashlib", "hmac", "ipaddress", "json", "re", "struct", "typing", "unicodedata", "urllib.parse",
    "zlib",
}  # fmt: skip
"""Of the standard library: no disk, no network, no chance, and no clock but the one that a later test looks for."""
ALSO: dict[str, set[str]] = {
    "documents.acts": {"msgspec", "pydantic"},
    "documents.agreements": {"pydantic"},
    # The one-time keys of each body are drawn by the library.
    "crypto.encryption": {"joserfc", "nacl"},
    "rules.next_act": {"pydantic"},
    "encoding": {"msgspec"},
    "rules.erasure": {"msgspec"},
    "documents.events": {"msgspec", "pydantic"},
    "rules.fold": {"msgspec"},
    "rules.guards": {"msgspec"},
    "rules.gate": {"msgspec"},
    "rules.message_lifetime": {"msgspec"},
    "transparency.server_keys": {"pydantic"},
    "documents.hours": {"pydantic"},
    "crypto.keys": {"base58", "nacl"},
    "documents.names": {"precis_i18n"},
    "documents.note_values": {"pydantic"},
    "documents.notices": {"pydantic"},
    "documents.offers": {"pydantic"},
    "documents.proofs": {"pydantic"},
    "crypto.http_signatures": {"http_message_signatures"},
    "rules.mute_over": {"msgspec"},
    "rules.state": {"msgspec"},
    "documents.status_lists": {"pydantic"},
    "http_api": {"email.utils", "pydantic"},
    "documents.types": {"pydantic"},
    # The edge of the protocol: it reads the time zone database, and says so.
    "documents.timezones": {"importlib.metadata", "importlib.resources", "zoneinfo"},
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)


def allowed(name: str, also: set[str]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in PURE | also)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", PROTOCOL, ids=module_of)
def test_the_protocol_imports_what_is_listed_and_no_more(path: Path) -> None:
    strange = {
        name
        for name in imported(path)
        if not allowed(name, ALSO.get(module_of(path), set())) and not re.match(r"comity(\.(?!client\b)|$)", name)
    }
    assert strange == set()


@pytest.mark.parametrize("module", ALSO)
def test_the_list_is_no_longer_than_the_imports(module: str) -> None:
    names = set(imported(PACKAGE / f"{module.replace('.', '/')}.py"))
    assert {
        root for root in ALSO[module] if not any(name.split(".")[0] == root.split(".")[0] for name in names)
    } == set()


def test_the_protocol_is_there_without_its_network() -> None:
    code = "import sys, comity.rules.decide, comity.http_api; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert loaded & {"aiohttp", "asyncio", "sqlite3", "ssl", "joserfc", "http_message_signatures"} == set()


# --- no clock and no chance of its own

FORBIDDEN_CALLS = {
    "date.today", "datetime.now", "datetime.today", "datetime.utcnow", "time.monotonic", "time.time", "time.time_ns",
    "os.urandom", "random.random", "secrets.token_bytes", "SigningKey.generate", "utils.random", "bindings.randombytes",
    "randombytes", "uuid.uuid1", "uuid.uuid4",
}  # fmt: skip
FORBIDDEN_NAMES = {"open", "input", "print", "exec", "eval", "__import__"}


def forbidden_calls(source: str) -> set[str]:
    """Calls of the wall clock, of chance, and of the outside, by the last two parts of their names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            parts = ast.unparse(node.func).split(".")
            dotted = ".".join(parts[-2:])
            if dotted in FORBIDDEN_CALLS or (len(parts) == 1 and parts[0] in FORBIDDEN_NAMES):
                found.add(dotted)
    return found


@pytest.mark.parametrize("path", PROTOCOL, ids=module_of)
def test_the_protocol_has_no_clock_and_no_chance_of_its_own(path: Path) -> None:
    assert forbidden_calls(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "planted",
    [
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "time.time()",
        "os.urandom(32)",
        "nacl.utils.random(24)",
        "nacl.signing.SigningKey.generate()",
        "open('keys')",
    ],
)
def test_a_planted_call_is_found(planted: str) -> None:
    assert forbidden_calls(f"def decide():\n    return {planted}\n")


# --- how long things are

MOST_LINES = 550
MOST_FUNCTION_LINES = 40
LONGER_FUNCTIONS = {
    "client_sdk/comity/rules/consent_tokens.py check_token": "one reason after the other, and their order is the rule",
    "server/comity_tools/cli/audit/token.py verify": "one parameter for each option of the command",
    "client_sdk/comity/client/http/aiohttp_transport.py over_aiohttp": "three small functions that share one session",
}
"""With the reason for each."""


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES:
            yield f"{path.relative_to(ROOT)} {node.name}"


def test_no_module_is_longer_than_can_be_read_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in CODE}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_longer_than_can_be_read_at_once() -> None:
    found = {name for path in CODE for name in long_functions(path)}
    assert found == set(LONGER_FUNCTIONS)


def test_the_folders_of_packages_are_no_packages_themselves() -> None:
    for folder in ("server", "client_sdk", "spec", "tests"):
        assert not (ROOT / folder / "__init__.py").exists()


# --- what must not be in the tree


def in_the_tree() -> Iterator[tuple[str, str]]:
    """(path, text) of every file that is, or would be, kept."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = listed.stdout.decode().split("\0") if listed.returncode == 0 else []
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file():
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


# Put together here, so that this file is not its own finding.
_FOLDERS = "|".join(("wo" + "rk", "fa" + "rm", "Us" + "ers"))
_HOSTS = "|".join(("py" + "pi", "pytho" + "nhosted", "np" + "mjs"))
_MACHINE = re.compile(rf"(?:^|[^a-zA-Z0-9.:/])/(?:{_FOLDERS})/")
_REGISTRY = re.compile(rf"https?://[a-z0-9.]*(?:{_HOSTS})[a-z]*\.")


def test_nothing_in_the_tree_names_a_machine_or_a_registry() -> None:
    found = [name for name, text in in_the_tree() if _MACHINE.search(text) or _REGISTRY.search(text)]
    assert found == []


def test_a_planted_path_or_host_would_be_found() -> None:
    assert _MACHINE.search("see /wo" + "rk/main/x") and _MACHINE.search("/fa" + "rm/x")
    assert _REGISTRY.search("https://files.pytho" + "nhosted.org/x")
