"""Whether the tests of the server notice what they are for: a server that promises too early is caught."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HONEST = "        await self._store.commit(batch, lambda: self._seal(unit))\n"
HASTY = """        if unit.accepted:
            self._seal(unit)
            asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(self._store.commit(batch)))
        else:
            await self._store.commit(batch, lambda: self._seal(unit))
"""
WAITING = "RECEIPT_WITHIN = 2.0\n"
NOT_WAITING = "RECEIPT_WITHIN = 0.0\n"
"""A receipt is made from what was read again, so whoever waits for one cannot be hasty."""


def test_a_server_that_answers_before_it_has_written_does_not_survive_kill_9(tmp_path: Path) -> None:
    copy = tmp_path / "server"
    shutil.copytree(ROOT / "server", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in (("writer/writer.py", HONEST, HASTY), ("log/sequencer.py", WAITING, NOT_WAITING)):
        module = copy / "comity_server" / name
        source = module.read_text()
        assert source.count(old) == 1
        module.write_text(source.replace(old, new))
    test = ROOT / "tests" / "server" / "test_server_operating.py"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HYPOTHESIS"))}
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"{test}::test_acknowledged_acts_are_there_after_kill_9",
        ],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert "what was acknowledged was lost" in result.stdout, result.stdout
