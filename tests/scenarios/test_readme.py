"""The commands of the README are read out of it and run, in order, as a newcomer would."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from comity.client import new_identity

ROOT = Path(__file__).parents[2]
SERVE = "python3 server"
NOT_HERE = "python3 tests"
"""This test is part of it."""


def blocks() -> list[str]:
    """The shell blocks of the README."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=2) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not get ready")


@pytest.fixture
def newcomer(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has only Python. Only what would clash with others on this machine is changed:
    the port, and where the data lies."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMITY_")}
    # The test's own interpreter stands where `python3` is found first; it sets nothing up that is there already.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    return environment | {
        "PATH": f"{tmp_path / 'bin'}:{environment['PATH']}",
        "TMPDIR": str(tmp_path),
        "COMITY_DATA": str(tmp_path / "data"),
        "COMITY_PORT": str(free_port()),
        # A passphrase costs two seconds each time, on purpose; the walk opens its wallets some twenty times.
        "COMITY_WALLET_IDENTITY": new_identity(),
    }


def run(command: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{command}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_newcomer_can_follow_the_readme_to_its_end(newcomer: dict[str, str]) -> None:
    before_serving, _, walk = "".join(block for block in blocks() if block.strip() != NOT_HERE).partition(
        f"\n{SERVE}\n"
    )
    first = run(before_serving, newcomer)
    assert first.returncode == 0, first.stdout + first.stderr
    assert " 0 did not." in first.stdout

    port = newcomer["COMITY_PORT"]
    server = subprocess.Popen(shlex.split(SERVE), cwd=ROOT, env=newcomer, stderr=subprocess.DEVNULL)
    try:
        until_ready(int(port), server)
        walked = run(walk.replace("8470", port), newcomer)
    finally:
        server.terminate()
        server.wait(20)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "It waits: not now." in walked.stdout
    assert "How is the new colour?" in walked.stdout
    assert "refused, as it should be" in walked.stdout
    assert "Traceback" not in walked.stderr


def test_every_place_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:spec|client_sdk|server|tests)/[\w/.]*)`|\]\(([\w/.]+)\)", text):
        assert (ROOT / (name[0] or name[1])).exists(), name
