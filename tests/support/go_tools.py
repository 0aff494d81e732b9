"""An independent judge of logs: tests/independent/log_check.go, over Go's own notes and trees.

It is built once for each version of its source, with Debian's Go and Debian's sources of golang.org/x/mod; they are
installed where that can be done. There is no way to go on without it: a log that nobody else has read proves little.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "independent" / "log_check.go"
CACHE = ROOT / ".venv" / "go-cache"
PACKAGES = ("golang-go", "golang-golang-x-mod-dev")
SOURCES_OF_GO = Path("/usr/share/gocode")
"""Where Debian puts what Go programs import."""


def judge(*arguments: str | Path) -> tuple[bool, str]:
    """Run `log_check` with these arguments: whether it was content, and its one line."""
    asked = subprocess.run(
        [log_check(), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    # Go ends a program that went wrong itself with 2: that is no verdict.
    assert asked.returncode in (0, 1), asked.stderr
    return asked.returncode == 0, (asked.stderr if asked.returncode else asked.stdout).strip()


def log_check() -> Path:
    """The program, built if need be; the test fails where that cannot be done."""
    program, wrong = _made()
    if wrong:
        pytest.fail(wrong, pytrace=False)
    return program


@functools.cache
def _made() -> tuple[Path, str]:
    """The program, and what is wrong with it: asked once in a process, since apt-get may need long to say no."""
    program = CACHE / f"log_check-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"
    if program.exists():
        return program, ""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("wb") as lock:
        # The tests run in several processes: one installs and builds, the others wait for what it made.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return program, "" if program.exists() else install_go() or _build(program)


def _has_go() -> bool:
    return shutil.which("go") is not None and (SOURCES_OF_GO / "src/golang.org/x/mod/sumdb/tlog").is_dir()


def install_go() -> str:
    """Install Go and the sources where they are missing and that is allowed; what is wrong then, if anything."""
    apt_get = shutil.which("apt-get")
    if not _has_go() and apt_get is not None and os.geteuid() == 0:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = [
            apt_get,
            "install",
            "-y",
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=60",
            "--no-install-recommends",
            *PACKAGES,
        ]
        # A fresh machine has no package lists yet, so a first failure is worth one update.
        for command in (install, [apt_get, "update", "-qq"], install):
            nothing = subprocess.DEVNULL  # what goes wrong, apt-get says on stderr
            subprocess.run(command, stdin=nothing, stdout=nothing, env=quiet, check=False)
            if _has_go():
                break
    return "" if _has_go() else f"our logs are judged by Go as well. Install it: apt-get install {' '.join(PACKAGES)}"


def _build(program: Path) -> str:
    """Build it; what is wrong then, if anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GO")}
    offline = {"GOENV": "off", "GO111MODULE": "off", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    places = {"GOPATH": str(SOURCES_OF_GO), "GOCACHE": str(CACHE / "build")}
    # Under another name first: whoever finds the program finds all of it.
    unfinished = program.with_suffix(".unfinished")
    built = subprocess.run(
        ["go", "build", "-o", unfinished, SOURCE],
        env={**kept, **offline, **places},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        return f"{SOURCE.name} cannot be built with {' and '.join(PACKAGES)} of Debian:\n{built.stderr}"
    unfinished.replace(program)
    return ""
