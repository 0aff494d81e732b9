"""Run every check of the project: style, types, import rules, then the tests.

Started by `python3 tests` with the Python of `.venv`. Arguments go to pytest; behind `--mutants` they go to the single
changes of single_changes/mutants.py, and nothing else runs. The linters run first, and
side by side, so that pytest's own closing line is the last thing printed; a linter that fails does not keep
the tests from running, but the exit code says so.
"""

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
    "mypy": [BIN / "mypy"],
    "import rules": [BIN / "lint-imports", "--no-logo"],
}

MOST_WORKERS = 4


def main(arguments: list[str]) -> int:
    """Run all checks and return the exit code: pytest's own, or 1 if only a linter failed."""
    os.chdir(ROOT)
    if arguments[:1] == ["--mutants"]:
        # Imports what it changes; the checks run where that is broken, too.
        from single_changes import mutants

        return mutants.main(arguments[1:])
    linters_passed = run_linters()
    tests = run_pytest(arguments)
    return tests or int(not linters_passed)


def run_linters() -> bool:
    """Run the linters side by side; print one line for each that is content, all of what others say."""
    running = {
        name: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name, command in LINTERS.items()
    }
    passed = True
    for name, process in running.items():
        said, _ = process.communicate()
        if process.returncode == 0:
            print(f"{name}: ok", flush=True)
        else:
            passed = False
            print(f"{name}: FAILED\n{said.strip()}\n", flush=True)
    return passed


def run_pytest(arguments: list[str]) -> int:
    """Run the tests with our own standard streams and return pytest's exit code.

    The whole suite is spread over the processors, with `--long` too. With other arguments somebody is looking at a
    part of it, and one process starts sooner, and lets a debugger in.
    """
    # Tests that share something dear to make (a demo, a bench) name a group, and go to one worker.
    spread = (
        []
        if set(arguments) - {"--long"}
        else ["-n", str(min(os.cpu_count() or 1, MOST_WORKERS)), "--dist", "loadgroup"]
    )
    pytest = subprocess.Popen([sys.executable, "-m", "pytest", *spread, *arguments])

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
