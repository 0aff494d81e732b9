"""Copies of the tree, in which a change is made and tests are run; the tree itself is never touched."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PASSED, _FAILED, _NOTHING_RUN = 0, 1, 5
"""Exit codes of pytest."""


class Copy:
    """A copy of all files that git knows or would take, in `folder`, which belongs to it alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self._changes = 0
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.tree / name)
        (self.tree / ".venv").symlink_to(Path(sys.prefix))
        asked = "import comity, comity_server; print(comity.__file__); print(comity_server.__file__)"
        found = subprocess.run(
            [sys.executable, "-c", asked],
            cwd=self.tree,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        if not all(Path(line).is_relative_to(self.tree) for line in found.stdout.split()):
            raise LookupError(f"Python does not import the copy: {found.stdout}")

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of whoever runs in the copy: its own packages, its own home."""
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST", "COV", "HYPOTHESIS", "COMITY_", "XDG_", "DBUS_"))
        }
        # The copy is imported some hundred times.
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        folders = ("tests/single_changes/measuring", "client_sdk", "server")
        path = os.pathsep.join(str(self.tree / folder) for folder in folders)
        return {**kept, "PYTHONPATH": path, "HOME": str(self.folder / "home"), **more}

    def write(self, file: str, text: bytes) -> None:
        """Put a text in place of a file's. Compiled files go by the time of a source in seconds, so each gets a time of
        its own."""
        self._changes += 1
        path = self.tree / file
        path.write_bytes(text)
        changed = path.stat().st_mtime + 1000 * self._changes
        os.utime(path, (changed, changed))

    def passes(self, tests: Sequence[str], seconds: float, *arguments: str, **environment: str) -> bool:
        """Whether these tests pass, which end within so many seconds. All that they started is ended with them."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=planted"]
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        running = subprocess.Popen(
            [*command, f"--basetemp={self.folder / 'tmp'}", *arguments, *tests],
            cwd=self.tree,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "output").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = running.wait(seconds)
        except subprocess.TimeoutExpired:
            code = _FAILED
        finally:
            _end_session(running.pid)
            running.wait()
        if code not in (_PASSED, _FAILED, _NOTHING_RUN):
            # An import that fails ends pytest before any test: that is noticed as well.
            return False
        return code != _FAILED

    def failed(self) -> list[str]:
        """The tests that failed in the last run, by pytest's own summary."""
        lines = (self.folder / "output").read_text(encoding="utf-8", errors="replace").splitlines()
        return [line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR ")) and len(line.split()) > 1]


def _end_session(leader: int) -> None:
    """End every process of the session that `leader` began, by its number."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, IndexError, ValueError):
            continue
