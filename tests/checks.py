"""The checks of the project: linters, types and tests, each by itself or all in one run.

Started by `python3 tests` with the Python of `.venv`. In a run of all, the linters and types come first and side by
side, so that pytest's own closing line is the last thing printed. One that fails does not keep the tests from running,
but the exit code says so.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

LINTERS: dict[str, list[str | Path]] = {
    "ruff": [BIN / "ruff", "check", "--quiet", "."],
    "ruff format": [BIN / "ruff", "format", "--check", "--quiet", "--diff", "."],
    "import rules": [BIN / "lint-imports", "--no-logo"],
}
TYPES: dict[str, list[str | Path]] = {"mypy": [BIN / "mypy"]}
# Compiles every test once, beside the types, and not in each process of pytest.
COLLECTION: dict[str, list[str | Path]] = {"collection": [sys.executable, "-m", "pytest", "--collect-only", "-qq"]}

MOST_WORKERS = 8

HELP = """\
Runs the checks of this project. Sets up .venv first where that is needed.

  python3 tests                    everything: linters, types, and all tests but the long ones
  python3 tests PATH...            only these tests, such as tests/server or
                                   tests/protocol/test_gate.py::test_a_muted_shop_may_not_write
  python3 tests --lint             only the linters: ruff's rules, ruff's format, the import rules
  python3 tests --types            only the types: mypy
  python3 tests --long [PATH...]   the long tests as well; without PATH, everything
  python3 tests --mutants ...      makes single changes in the code and lists those that no test notices;
                                   `python3 tests --mutants --help` has its arguments

A long test takes many minutes (a soak, a million states, hundreds of kills). Each has a short form among the others.

All other arguments go to pytest, as in:

  python3 tests -k mute                            tests with this word in their names
  python3 tests -x tests/client_sdk                stop at the first failure
  python3 tests -n 4 tests/server                  in four processes
  python3 tests --hypothesis-profile=explore PATH  new random examples; plain runs have the same ones each time

With PATH or an argument of pytest, no linter runs, and the tests run in one process, so that a debugger works.
The exit code is pytest's own; where only a linter or the types failed, it is 1.
"""


def main(arguments: list[str]) -> int:
    """Run the checks that are asked for; the exit code is pytest's own, or 1 if only another check failed."""
    os.chdir(ROOT)
    # Hundreds of processes import the project: each would compile it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if arguments[:1] == ["--mutants"]:
        # Imports what it changes; the checks run where that is broken, too.
        from single_changes import mutants

        return mutants.main(arguments[1:])
    parser = argparse.ArgumentParser("python3 tests", usage="python3 tests --help", add_help=False, allow_abbrev=False)
    for name in ("-h", "--help"), ("--lint",), ("--types",):
        parser.add_argument(*name, action="store_true")
    asked, others = parser.parse_known_args(arguments)
    if asked.help:
        print(HELP, end="")
        return 0
    if asked.lint or asked.types:
        if others:
            parser.error(f"--lint and --types look at the whole project and take no {others[0]}")
        return int(not run_linters((LINTERS if asked.lint else {}) | (TYPES if asked.types else {})))
    if set(others) - {"--long"}:
        return run_pytest(others)
    passed = run_linters(LINTERS | TYPES | COLLECTION)
    return run_pytest([*others, "-n", str(workers())]) or int(not passed)


def workers() -> int:
    """Twice as many as processors: most tests wait for a server, a disk or a clock half of their time."""
    return min(2 * (os.cpu_count() or 1), MOST_WORKERS)


def run_linters(linters: dict[str, list[str | Path]]) -> bool:
    """Run linters side by side; print one line for each that passes, and the whole output of the others."""
    running = {
        name: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name, command in linters.items()
    }
    passed = True
    for name, process in running.items():
        output, _ = process.communicate()
        if process.returncode == 0:
            print(f"{name}: ok", flush=True)
        else:
            passed = False
            print(f"{name}: FAILED\n{output.strip()}\n", flush=True)
    return passed


def run_pytest(arguments: list[str]) -> int:
    """Run the tests with our own standard streams and return pytest's exit code."""
    pytest = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])

    def pass_on(number: int, _frame: FrameType | None) -> None:
        pytest.send_signal(number)

    # Ctrl-C reaches pytest by itself, as a member of the terminal's group; here it must only not kill us
    # before pytest has cleaned up and printed its last line.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, pass_on)
    code = pytest.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
