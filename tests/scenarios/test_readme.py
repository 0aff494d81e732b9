"""The commands of the README, the tutorials and the how-to pages are read out of them and run, as a newcomer would."""

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

pytestmark = pytest.mark.timeout(600)  # a hundred commands one after the other, while other tests run beside
ROOT = Path(__file__).parents[2]
SERVE = "python3 server"
NOT_HERE = ("python3 tests", "python3 server demo")
"""This test is part of the first; the second has tests of its own."""

README = ("README.md",)
AS_A_CUSTOMER = (
    "docs/tutorials/customer.md",
    "docs/how-to/operating.md",
    "docs/how-to/witnesses.md",
    "docs/how-to/backup.md",
)
AS_AN_ENGINEER = (
    "docs/tutorials/business-quickstart.md",
    "docs/how-to/businesses.md",
    "docs/how-to/webhooks.md",
    "docs/how-to/rotate-keys.md",
)
"""Each tuple is one walk: a how-to page continues with the server and the files of the tutorial before it."""


def text_of(walk: tuple[str, ...]) -> str:
    """The pages of a walk, one after the other."""
    return "\n".join((ROOT / page).read_text(encoding="utf-8") for page in walk)


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
    when that is ready; where a reader is told to stop the first server, it is stopped."""
    ready = f"python3 -c 'import urllib.request as web; web.urlopen(\"http://localhost:{port}/readyz\")' 2>/dev/null"
    lines = []
    for line in (
        "".join(block for block in blocks(text) if block.strip() not in NOT_HERE).replace("8470", port).split("\n")
    ):
        if line == SERVE:
            lines += [f"{SERVE} 2>/dev/null &", "first=$!", until(ready)]
        elif line.endswith(" comity serve &"):
            lines += ["kill $first", "wait $first", line, until(ready)]
        elif line == "comity serve &":
            lines += [line, until(ready)]
        elif announced := re.search(r"> (\w+\.txt) &$", line):
            # A witness or a receiver prints its address when it listens.
            lines += [
                line.replace("comity witness ", "comity witness --port 0 "),
                until(f"grep -qs http:// {announced[1]}"),
            ]
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
            out, told = shell.communicate(timeout=580)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, shell.returncode, out, told)


def walk(pages: tuple[str, ...], newcomer: dict[str, str]) -> str:
    """Run a walk to its end; returns its output."""
    need("curl", "the pages talk to the server with it", "curl")
    text = text_of(pages).replace("8490", str(free_port()))
    walked = run(script(text, newcomer["COMITY_PORT"]), newcomer)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "Traceback" not in walked.stderr
    return walked.stdout


def test_an_engineer_can_follow_the_readme_to_its_end(newcomer: dict[str, str]) -> None:
    said = walk(README, newcomer)
    assert "allow\n" in said and "How are the new windows?" in said
    assert "A message can be held: it is delivered when the customer can be reached again" in said


def test_a_customer_can_follow_the_tutorial_and_an_operator_the_pages_behind_it(newcomer: dict[str, str]) -> None:
    said = walk(AS_A_CUSTOMER, newcomer)
    assert "The message waits: not now." in said
    assert "How is the new colour?" in said
    assert "The receipt is valid." in said
    assert "may make contact for care by app" in said
    assert "refused, as it should be" in said
    assert said.count("All checks passed.") == 4  # by two followers, of the store, and of its backup
    assert "starts a new log and waits in each connection" in said


def test_an_engineer_of_a_business_has_a_customer_within_half_an_hour(newcomer: dict[str, str]) -> None:
    said = walk(AS_AN_ENGINEER, newcomer)
    assert "allow\n" in said and '"decision":"refuse"' in said
    assert "Is everything all right with the new windows?" in said
    assert "(no, and that is the answer)" in said and "held\n" in said
    assert "grant.given" in said and "asked: " in said
    assert '"kind": "answer"' in said


def test_every_page_with_commands_is_in_a_walk() -> None:
    pages = {
        str(page.relative_to(ROOT))
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        if "```sh\n" in page.read_text(encoding="utf-8")
    }
    assert pages == {*README, *AS_A_CUSTOMER, *AS_AN_ENGINEER}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
