"""Set the project up in `.venv`, then become a program of it.

`python3 server` and `python3 tests` both come through here on a machine that has Python and nothing else,
so this file uses the standard library only, imports nothing of the project, and its grammar stays that of
Python 3.6: whoever starts it with an old Python must read a sentence, not a SyntaxError.

Set-up talks on stderr; standard output belongs to the program that follows.
"""

import sys

OLDEST = (3, 11)

# Before anything else is imported or defined: everything below may take OLDEST for granted.
if sys.version_info < OLDEST:
    sys.exit(
        "Comity needs Python {}.{} or later; this is Python {}.{} ({}).\n"
        "Install a newer Python and start again with it, for example: python3.11 {}".format(
            OLDEST[0], OLDEST[1], sys.version_info[0], sys.version_info[1], sys.executable, sys.argv[0]
        )
    )

try:
    import fcntl
except ImportError:
    sys.exit("Comity runs on Linux, macOS and other POSIX systems; on Windows, use it inside WSL.")

import hashlib
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

RUNTIME_LOCK = "requirements.lock"
TEST_LOCK = "requirements-test.lock"

STAMP = "comity-stamp"  # in .venv: what was installed; written last, so without it nothing is trusted
UNFINISHED = "comity-unfinished"  # in .venv from before its first file until the stamp is there
SETUP_LOG = "comity-setup.log"  # in .venv: what the installer said


class SetupFailed(Exception):
    """Set-up cannot go on; the text says what a person can do about it."""


def stamp_of(root: Path, lock: str) -> str:
    """Name what a complete `.venv` of `root` with `lock` was made from.

    It covers the lock, the metadata that the editable install copied, the Python, and the folder, because
    the scripts in `.venv/bin` hold its absolute path and a moved checkout must be set up again.
    """
    sources = (
        (root / lock).read_bytes(),
        (root / "pyproject.toml").read_bytes(),
        repr((sys.implementation.name, sys.version_info[:2], str(root))).encode(),
    )
    # Hash of hashes: the ends of the parts cannot be confused.
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in sources)).hexdigest()


def is_ready(root: Path, lock: str) -> bool:
    """Say whether `.venv` already holds all of `lock`. A test environment also satisfies the server."""
    stamp, python = root / ".venv" / STAMP, root / ".venv" / "bin" / "python"
    try:
        found = stamp.read_text().strip()
    except OSError:
        return False
    # exists() follows the link: a Python that was removed or upgraded away counts as no environment.
    return python.exists() and found in {stamp_of(root, wanted) for wanted in {lock, TEST_LOCK}}


def set_up(root: Path, lock: str) -> None:
    """Make `.venv` hold everything in `lock` and the project itself, whatever state it is in now."""
    if is_ready(root, lock):
        return
    with only_one(root) as held:
        if is_ready(root, lock):  # the one that was waited for has done it
            return
        started = time.monotonic()
        say(f"setting up .venv from {lock} (about a minute, once)")
        venv = root / ".venv"
        uv = working_uv()
        if must_be_made_anew(venv):
            make_venv(venv, uv, held)
        # From here until the new stamp the environment is neither the old nor the new one.
        (venv / UNFINISHED).touch()
        (venv / STAMP).unlink(missing_ok=True)
        install(root, lock, uv, held)
        (venv / STAMP).write_text(stamp_of(root, lock) + "\n")
        # A kill between these two lines costs one more set-up; the other order would trust half a stamp.
        (venv / UNFINISHED).unlink()
        say(f"ready in {time.monotonic() - started:.0f} s")


@contextmanager
def only_one(root: Path) -> Iterator[int]:
    """Hold the set-up lock of `root`; yields the descriptor that installers must inherit.

    A set-up that is killed may leave its installer running. Because the installer holds the same open
    file, the lock is free only once that has ended too, and nobody clears a folder that is written to.
    """
    try:
        file = os.open(root / ".venv.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SetupFailed(f"cannot write to {root}: {error.strerror}. Set-up makes .venv there.") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running here, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def must_be_made_anew(venv: Path) -> bool:
    """Say whether `venv` is absent, was left half-made, or belongs to another Python."""
    if (venv / UNFINISHED).exists() or not (venv / "bin" / "python").exists():
        return True
    # Asked, not read from pyvenv.cfg: this also finds an environment that no longer starts.
    version = "import sys; print(*sys.version_info[:2])"
    asked = subprocess.run(
        [venv / "bin" / "python", "-I", "-c", version],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return asked.stdout.split() != [str(number) for number in sys.version_info[:2]]


def working_uv() -> str | None:
    """Find a uv on PATH that runs: version managers leave a `uv` there that only prints an error."""
    uv = shutil.which("uv")
    if uv is None:
        return None
    asked = subprocess.run([uv, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return uv if asked.returncode == 0 else None


def base_python() -> str:
    """Give the Python outside any environment: started from `.venv` itself, that one is about to go."""
    return getattr(sys, "_base_executable", None) or sys.executable


def make_venv(venv: Path, uv: str | None, held: int) -> None:
    """Make an empty `venv` in place of whatever is there."""
    if venv.is_symlink() or venv.is_file():
        venv.unlink()
    elif venv.exists():
        shutil.rmtree(venv)
    if uv is None:
        need_ensurepip()
    venv.mkdir()
    (venv / UNFINISHED).touch()
    if uv is not None:
        run([uv, "venv", "--quiet", "--allow-existing", "--python", base_python(), str(venv)], venv, held)
    else:
        run([base_python(), "-I", "-m", "venv", str(venv)], venv, held)


def need_ensurepip() -> None:
    """See that this Python can make an environment with pip in it; Debian ships that part separately."""
    if has_ensurepip():
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    apt_get = shutil.which("apt-get")
    if apt_get is not None and os.geteuid() == 0:
        say(f"installing {package} with apt-get")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install_it = [apt_get, "install", "-y", "-qq", "--no-install-recommends", package]
        # A fresh machine has no package lists yet, so a first failure is worth one update.
        for command in (install_it, [apt_get, "update", "-qq"], install_it):
            nothing = subprocess.DEVNULL  # what goes wrong, apt-get says on stderr
            subprocess.run(command, stdin=nothing, stdout=nothing, env=quiet, check=False)
            if has_ensurepip():
                return
    hint = f"apt-get install {package}" if apt_get is not None else "your system's package for venv, or uv"
    raise SetupFailed(f"this Python cannot make a virtual environment (no ensurepip). Install it: {hint}")


def has_ensurepip() -> bool:
    """Say whether `python -m venv` would work."""
    importlib.invalidate_caches()
    return all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip"))


def install(root: Path, lock: str, uv: str | None, held: int) -> None:
    """Install exactly what `lock` names, then the project itself as an editable install over it."""
    pip = installer(root, uv, held)
    run([*pip, "--require-hashes", "-r", str(root / lock)], root / ".venv", held)
    # Its builder is in the lock: without isolation nothing is fetched that no hash covers.
    run([*pip, "--no-build-isolation", "--no-deps", "-e", str(root)], root / ".venv", held)


def installer(root: Path, uv: str | None, held: int) -> list[str]:
    """The command that installs packages for the Python of `.venv`; the arguments of pip follow it."""
    venv = root / ".venv"
    python = str(venv / "bin" / "python")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", python]
    if run([python, "-I", "-m", "pip", "--version"], venv, held, must=False) != 0:
        # An environment that uv made before has no pip.
        need_ensurepip()
        run([python, "-I", "-m", "ensurepip"], venv, held)
    return [python, "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]


def run(command: Sequence[str], venv: Path, held: int, *, must: bool = True) -> int:
    """Run one step of the set-up and keep what it says; on failure show that and stop."""
    log = venv / SETUP_LOG
    # The installer writes to a file, not a pipe: it goes on to its end even if we are killed.
    with log.open("wb") as out:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(held,), check=False
        ).returncode
    if must and code != 0:
        sys.stderr.write(log.read_text(errors="replace"))
        raise SetupFailed(f"this step ended with code {code}: {' '.join(command)}")
    return code


def say(text: str) -> None:
    """Tell the person at the terminal, not the program that reads our output."""
    print("comity:", text, file=sys.stderr, flush=True)


def become(root: Path, lock: str, program: Sequence[str]) -> NoReturn:
    """Set up `root` and turn this process into `program`, given relative to `.venv/bin`.

    exec, not a child: signals, exit code and standard streams are the program's own.
    """
    try:
        set_up(root, lock)
    except SetupFailed as failed:
        sys.exit(f"comity: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.flush()
    sys.stderr.flush()
    path = str(root / ".venv" / "bin" / program[0])
    try:
        os.execv(path, [path, *program[1:]])
    except OSError as error:
        sys.exit(f"comity: cannot start {path}: {error.strerror}. Remove .venv and start again.")
