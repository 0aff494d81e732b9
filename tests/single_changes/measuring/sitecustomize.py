"""Notes which functions of the project each test enters, in every Python process that the test starts.

Python imports a module of this name when it starts. It does nothing unless ENTERED_FUNCTIONS names a file: to that it
appends a line "test, file, function" (tabs between) when a test enters a function for the first time. pytest loads it
as a plugin too, for how each test ended and how long (s) it took.
"""

import os
import sys
import threading
from types import FrameType
from typing import Any

_TEST = b"PYTEST_CURRENT_TEST"
_FILE = os.environ.get("ENTERED_FUNCTIONS", "")
_ROOT = os.environ.get("ENTERED_ROOT", "")


def _begin() -> None:
    """Trace this process. Each line is written at once: some processes are killed."""
    file = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    folders = (f"{_ROOT}/client_sdk/", f"{_ROOT}/server/")
    # pytest writes the name of the test that runs into the environment; here it is read without being decoded.
    environment: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    seen: set[int] = set()
    current: bytes | None = None

    def note(frame: FrameType, _event: str, _: Any) -> None:
        nonlocal current
        code = frame.f_code
        if not code.co_filename.startswith(folders):
            return
        if environment.get(_TEST) is not current:
            current = environment.get(_TEST)
            seen.clear()
        if id(code) in seen or current is None:
            return
        seen.add(id(code))
        test = current.decode().rpartition(" (")[0]
        place = code.co_filename.removeprefix(f"{_ROOT}/")
        os.write(file, f"{test}\t{place}\t{code.co_qualname}\n".encode())

    threading.settrace(note)
    sys.settrace(note)


def pytest_runtest_logreport(report: Any) -> None:
    """One more line: how a test ended, and its seconds."""
    if _FILE and (report.when == "call" or report.outcome != "passed"):
        with open(f"{_FILE}.ended", "a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\t{report.outcome}\t{report.duration}\n")


if _FILE:
    _begin()
