"""What `python3 server` and `python3 tests` do before there is anything but Python."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bootstrap

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (bootstrap.RUNTIME_LOCK, bootstrap.TEST_LOCK)

# --- the locks


def pins(lock: str) -> dict[str, set[str]]:
    """The hashes of each pinned requirement of `lock`."""
    text = (ROOT / lock).read_text().replace(" \\\n", " ")
    return {line.split(" --hash=")[0].strip(): set(line.split("--hash=")[1:]) for line in text.splitlines()}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_pins_and_hashes_and_names_no_place_to_fetch_them_from(lock: str) -> None:
    pin = re.compile(r"[a-z0-9-]+==[0-9][A-Za-z0-9.+!]* (; [^;@/]+ )?\\")
    sha256 = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    strange = [
        line
        for line in (ROOT / lock).read_text().splitlines()
        if not pin.fullmatch(line) and not sha256.fullmatch(line)
    ]
    assert strange == []


def test_the_test_lock_contains_the_runtime_lock() -> None:
    runtime, tests = (pins(lock) for lock in LOCKS)
    assert {pin: hashes for pin, hashes in tests.items() if pin in runtime} == runtime
    assert len(tests) > len(runtime)


def test_the_locks_were_made_from_this_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    runtime = [*project["project"]["dependencies"], *groups["build"], *project["build-system"]["requires"]]
    tests = [*runtime, *(wanted for wanted in groups["test"] if isinstance(wanted, str))]
    for lock, wanted in zip(LOCKS, (runtime, tests), strict=True):
        locked = [Requirement(pin) for pin in pins(lock)]
        for requirement in map(Requirement, wanted):
            versions = [
                next(iter(pin.specifier)).version
                for pin in locked
                if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
            ]
            assert versions, f"{requirement} is not in {lock}: make the locks again"
            assert all(version in requirement.specifier for version in versions), f"{requirement}: {versions}"


# --- the folders


@pytest.mark.parametrize("folder", ["server", "client_sdk"])
def test_the_folders_around_the_packages_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


# --- a Python that is too old


def test_a_python_that_is_too_old_is_told_which_one_is_needed() -> None:
    lie = "import sys, runpy; sys.version_info = (3, 9, 1); runpy.run_path(sys.argv[1], run_name='__main__')"
    for folder in ("server", "tests"):
        run = subprocess.run(
            [sys.executable, "-c", lie, str(ROOT / folder)], capture_output=True, text=True, check=False
        )
        assert run.returncode == 1
        assert run.stdout == ""
        assert run.stderr.startswith("Comity needs Python 3.11 or later; this is Python 3.9 (")
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize("file", ["server/bootstrap.py", "server/__main__.py", "tests/__main__.py"])
def test_a_python_that_is_too_old_can_read_the_file_that_says_so(file: str) -> None:
    ast.parse((ROOT / file).read_text(), feature_version=(3, 6))


# --- when set-up has to run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder with both locks and an environment that is complete but for its stamp."""
    for lock in LOCKS:
        (tmp_path / lock).write_text(f"# {lock}\n")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return tmp_path


def stamp(project: Path, lock: str) -> None:
    (project / ".venv" / bootstrap.STAMP).write_text(bootstrap.stamp_of(project, lock))


def test_without_a_stamp_nothing_is_ready(project: Path) -> None:
    assert not bootstrap.is_ready(project, bootstrap.RUNTIME_LOCK)


def test_a_server_runs_from_a_test_environment_but_tests_not_from_a_server_s(project: Path) -> None:
    stamp(project, bootstrap.RUNTIME_LOCK)
    assert bootstrap.is_ready(project, bootstrap.RUNTIME_LOCK)
    assert not bootstrap.is_ready(project, bootstrap.TEST_LOCK)
    stamp(project, bootstrap.TEST_LOCK)
    assert bootstrap.is_ready(project, bootstrap.RUNTIME_LOCK)
    assert bootstrap.is_ready(project, bootstrap.TEST_LOCK)


@pytest.mark.parametrize("changed", [bootstrap.RUNTIME_LOCK, "pyproject.toml"])
def test_a_changed_lock_or_project_file_asks_for_set_up(project: Path, changed: str) -> None:
    stamp(project, bootstrap.RUNTIME_LOCK)
    (project / changed).write_text("# changed\n")
    assert not bootstrap.is_ready(project, bootstrap.RUNTIME_LOCK)


def test_a_moved_checkout_asks_for_set_up(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stamp(project, bootstrap.RUNTIME_LOCK)
    moved = tmp_path_factory.mktemp("elsewhere") / "checkout"
    project.rename(moved)
    assert not bootstrap.is_ready(moved, bootstrap.RUNTIME_LOCK)


def test_a_python_that_was_removed_asks_for_set_up(project: Path) -> None:
    stamp(project, bootstrap.RUNTIME_LOCK)
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(project / "gone")
    assert not bootstrap.is_ready(project, bootstrap.RUNTIME_LOCK)


# --- set-up itself, on a project that needs nothing from the network

PROGRAM = """
import os, sys

def main():
    print(os.getpid(), sys.argv[1:])
    sys.exit(7)
"""

# Builds the editable wheel of PROGRAM: hatchling would have to be fetched.
BUILDER = """
import zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "comity-0.dist-info/"
    files = {
        "comity.pth": str(Path.cwd() / "server") + "\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: comity\\nVersion: 0\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt": "[console_scripts]\\ncomity = comity_tools.cli:main\\n",
    }
    files[info + "RECORD"] = "".join(name + ",,\\n" for name in (*files, info + "RECORD"))
    with zipfile.ZipFile(Path(folder) / "comity-0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "comity-0-py3-none-any.whl"
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with our own bootstrap, a space in its path, and a program that says what it was given."""
    root = tmp_path_factory.mktemp("a checkout")
    package = root / "server" / "comity_tools"
    package.mkdir(parents=True)
    for name in ("__main__.py", "bootstrap.py"):
        shutil.copy(ROOT / "server" / name, root / "server")
    (package / "cli.py").write_text(PROGRAM)
    (root / "builder.py").write_text(BUILDER)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "builder"\nbackend-path = ["."]\n'
    )
    for lock in LOCKS:
        (root / lock).write_text(f"# {lock}\n")
    return root


def start(checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python3 server ARGUMENTS` in `checkout`, where no test may reach uv or apt-get."""
    path = os.devnull if bootstrap.has_ensurepip() else os.environ["PATH"]
    return subprocess.Popen(
        [bootstrap.base_python(), "server", *arguments],
        cwd=checkout,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_on_a_bare_checkout_set_it_up_once_and_become_the_program(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    both = [start(checkout, "demo", "--out", "a b"), start(checkout, "demo", "--out", "a b")]
    said = [process.communicate() for process in both]
    # The program's own process, arguments, output and exit code: nothing stands between.
    assert [out for out, _ in said] == [f"{process.pid} ['demo', '--out', 'a b']\n" for process in both], said
    assert [process.returncode for process in both] == [7, 7]
    assert "".join(err for _, err in said).count("setting up .venv") == 1

    later = start(checkout)
    assert later.communicate() == (f"{later.pid} ['serve']\n", "")


def test_a_set_up_that_was_killed_is_done_again_from_nothing(checkout: Path) -> None:
    venv = checkout / ".venv"
    shutil.rmtree(venv, ignore_errors=True)
    killed = start(checkout)
    while not (venv / bootstrap.UNFINISHED).exists():
        time.sleep(0.01)
    killed.kill()
    (venv / "debris").touch()
    # At once: what the killed one had started is still writing to .venv, and has to be waited for.
    repaired = start(checkout)
    out, err = repaired.communicate()
    assert out == f"{repaired.pid} ['serve']\n", err
    assert not (venv / "debris").exists()
    assert not (venv / bootstrap.UNFINISHED).exists()
    killed.communicate()


def test_a_set_up_that_fails_says_why_and_the_next_one_repairs_it(checkout: Path) -> None:
    start(checkout).communicate()
    lock = checkout / bootstrap.RUNTIME_LOCK
    lock.write_text("./builder.py\n")
    try:
        failed = start(checkout)
        out, err = failed.communicate()
        assert (out, failed.returncode) == ("", 1)
        assert "builder.py" in err
        assert "comity: this step ended with code 1" in err
        assert "Traceback" not in err
    finally:
        lock.write_text("# mended\n")
    assert start(checkout).wait() == 7
