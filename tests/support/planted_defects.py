"""Whether tests notice a defect: an edited copy of the protocol, and pytest run against it.

A run costs a fork and not a start of Python: one process for each of pytest's own (`python planted_defects.py`) has
imported pytest and the libraries, and nothing of the project. It reads one request a line, and answers with a line.
"""

import atexit
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUIET = "-Wignore::pytest.PytestAssertRewriteWarning"
LIBRARIES = ("aiohttp.web", "hypothesis", "joserfc.jwe", "msgspec", "nacl.signing", "precis_i18n", "pydantic", "pyrage")


def copy_of_the_protocol(folder: Path, edits: dict[str, tuple[str, str]] | None = None) -> Path:
    """A copy of `client_sdk` in `folder`, edited: {module: (old text, new text)}, each text being there once.

    The compiled files are copied as well: those of edited modules no longer fit their sources, and are made anew.
    """
    copy = folder / "client_sdk"
    shutil.copytree(ROOT / "client_sdk", copy, ignore=shutil.ignore_patterns("*.pyc.*"))
    for name, (old, new) in (edits or {}).items():
        plant(copy, name, old, new)
    return copy


def plant(copy: Path, name: str, old: str, new: str) -> None:
    """One more edit of a copy. Raises LookupError where the text is not there just once."""
    module = copy / "comity" / name
    source = module.read_text()
    if source.count(old) != 1:
        raise LookupError(f"{name} has this text {source.count(old)} times, so no defect was planted: {old}")
    module.write_text(source.replace(old, new))
    for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*"):
        compiled.unlink()


def run_tests(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest with these arguments, in a process of its own whose `comity` is the copy; output and errors together."""
    process = _warm_process()
    assert process.stdin is not None and process.stdout is not None
    request = [str(copy), "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=planted", QUIET, *arguments]
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process that runs pytest has died"
    code, imported, output = json.loads(answer)
    assert Path(imported).is_relative_to(copy), output
    return subprocess.CompletedProcess(request, code, output)


@functools.cache
def _warm_process() -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "HYPOTHESIS"))}
    process = subprocess.Popen(
        [sys.executable, "-P", __file__],
        cwd=ROOT,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


# --- in the warm process


def _serve() -> None:
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    for library in LIBRARIES:
        importlib.import_module(library)
    ours = [name for name in sys.modules if name.partition(".")[0] in ("comity", "comity_server", "support")]
    assert not ours, ours
    for line in sys.stdin:
        copy, *arguments = json.loads(line)
        print(json.dumps(_run_forked(copy, arguments)), flush=True)


def _run_forked(copy: str, arguments: list[str]) -> tuple[int, str, str]:
    """(pytest's exit code, the file that it imported as `comity`, its output)."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _run(copy, arguments, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        output, _, imported = pipe.read().rpartition("\n")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), imported, output


def _run(copy: str, arguments: list[str], output: int) -> None:
    """Runs pytest in a forked process, and ends that process."""
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["PYTHONPATH"] = copy
        sys.path.insert(0, copy)
        code = int(importlib.import_module("pytest").main(arguments))
        print(f"\n{importlib.import_module('comity').__file__}", end="", flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
