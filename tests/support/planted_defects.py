"""Whether a test file notices a defect: an edited copy of the protocol, the tests run against it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_protocol(folder: Path, edits: dict[str, tuple[str, str]] | None = None) -> Path:
    """A copy of `client_sdk` in `folder` with each named module's one occurrence of a text put otherwise."""
    copy = folder / "client_sdk"
    shutil.copytree(ROOT / "client_sdk", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in (edits or {}).items():
        module = copy / "comity" / name
        source = module.read_text()
        if source.count(old) != 1:
            raise LookupError(f"{name} has this text {source.count(old)} times, so no defect was planted: {old}")
        module.write_text(source.replace(old, new))
    return copy


def run_tests(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest with these arguments, in a process of its own whose `comity` is the copy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "HYPOTHESIS"))}
    environment = {**kept, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import comity; print(comity.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(copy), where.stdout
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=planted",
            *arguments,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
