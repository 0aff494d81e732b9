"""The commands of the README are read out of it and run, in order, as a newcomer would."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.debian import need

ROOT = Path(__file__).parents[2]
SERVE = "python3 server"
NOT_HERE = ("python3 tests", "python3 server demo")
"""This test is part of the one; the other has tests of its own."""


README = (ROOT / "README.md").read_text(encoding="utf-8")
_BEFORE, _, _REST = README.partition("## The first half hour of an engineer\n")
HALF_HOUR, _, _AFTER = _REST.partition("\n## ")
"""The section for the engineers of a business; whoever reads it has a server by then."""
WALK = _BEFORE + "## " + _AFTER
TO_A_SERVER = _BEFORE.partition("### As a business")[0]


def blocks(text: str) -> list[str]:
    """The shell blocks in a text; a Python block that names its file is written into it."""
    found = []
    for kind, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if kind == "sh":
            found.append(block)
        elif file := re.match(r"# (\w+\.py)\n", block):
            found.append(f"cat > {file[1]} <<'END OF FILE'\n{block}END OF FILE\n")
    return found


def script(text: str, port: str) -> str:
    """The blocks of a text as one script. What a reader leaves running goes on beside it, and the next command comes
    when that is ready; where he is told to stop the first server, it is stopped."""
    ready = f"python3 -c 'import urllib.request as web; web.urlopen(\"http://localhost:{port}/readyz\")' 2>/dev/null"
    lines = []
    for line in (
        "".join(block for block in blocks(text) if block.strip() not in NOT_HERE).replace("8470", port).split("\n")
    ):
        if line == SERVE:
            lines += [f"{SERVE} 2>/dev/null &", "first=$!", until(ready)]
        elif line.startswith("comity witness "):
            lines += [line.replace("witness ", "witness --port 0 ", 1), until("grep -qs http:// witness.txt")]
        elif line.endswith(" comity serve &"):
            lines += ["kill $first", "wait $first", line, until(ready)]
        elif line == "comity serve &":
            lines += [line, until(ready)]
        else:
            lines.append(line)
    return "\n".join(["set -euo pipefail", "trap 'kill $(jobs -p)' EXIT", *lines])


def until(holds: str) -> str:
    """Waits for what was begun last, as long as it runs."""
    return f"until {holds}; do kill -0 $!; sleep 0.1; done"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who has only Python. Only what would clash with others on this machine is changed:
    the ports, where the data lies, and where what is unlocked is kept."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMITY_")}
    environment.pop("XDG_RUNTIME_DIR", None)
    # The test's own interpreter stands where `python3` is found first; it sets nothing up that is there already.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    yield environment | {
        "PATH": f"{tmp_path / 'bin'}:{environment['PATH']}",
        "TMPDIR": str(tmp_path),
        "COMITY_DATA": str(tmp_path / "data"),
        "COMITY_PORT": str(free_port()),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    for kept in tmp_path.rglob(".comity-unlocked"):
        # What keeps a wallet unlocked ends with its socket.
        shutil.rmtree(kept)


def run(command: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """What a shell made of it, in a session of its own: whatever it began ends with it."""
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            out, told = shell.communicate(timeout=110)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, shell.returncode, out, told)


def test_a_newcomer_can_follow_the_readme_to_its_end(newcomer: dict[str, str]) -> None:
    walked = run(script(WALK, newcomer["COMITY_PORT"]), newcomer)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "The message waits: not now." in walked.stdout
    assert "How is the new colour?" in walked.stdout
    assert "The receipt is valid." in walked.stdout
    assert "may make contact for care by app" in walked.stdout
    assert "refused, as it should be" in walked.stdout
    assert walked.stdout.count("All checks passed.") == 4  # by two followers, of the store, and of its backup
    assert "starts a new log and waits in each connection" in walked.stdout
    assert "Traceback" not in walked.stderr


def test_an_engineer_of_a_business_has_a_customer_within_half_an_hour(newcomer: dict[str, str]) -> None:
    need("curl", "the README talks to the server with it", "curl")
    walked = run(script(TO_A_SERVER + HALF_HOUR, newcomer["COMITY_PORT"]), newcomer)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "allow\n" in walked.stdout and '"decision":"refuse"' in walked.stdout
    assert "Is everything all right with the new windows?" in walked.stdout
    assert "(no, and that is the answer)" in walked.stdout and "held\n" in walked.stdout
    assert "grant.given" in walked.stdout and "asked: " in walked.stdout
    assert '"kind": "answer"' in walked.stdout
    assert "Traceback" not in walked.stderr


def test_every_place_that_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:spec|client_sdk|server|tests)/[\w/.]*)`|\]\(([\w/.]+)\)", README):
        assert (ROOT / (name[0] or name[1])).exists(), name
