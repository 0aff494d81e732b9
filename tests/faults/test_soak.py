"""The soak in small: a mixed load, faults of every kind, and a ledger, as `comity soak` has them."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.crypto.keys import SigningKey
from comity.transparency.notes import ED25519, NoteSigner
from comity_tools.bench.processes import Process
from comity_tools.cli import main
from comity_tools.soak import run
from comity_tools.soak.faults import Faults
from comity_tools.soak.growth import RESOURCES, Growth
from comity_tools.soak.ledger import Ledger
from comity_tools.soak.server_process import Serving
from support.fault_injection import ForkedServing

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("forked servers")]


def forked(monkeypatch: pytest.MonkeyPatch, folder: Path, defect: str = "") -> Path:
    """Servers of a soak are forked, which takes a tenth of the time; the file that lets their defect act."""

    def launch(self: Serving) -> Process:
        serving = ForkedServing(self.folder, self.port, defect)
        serving.settings = self.settings
        return serving.launch()

    monkeypatch.setattr(Serving, "launch", launch)
    return folder / "armed"


async def test_a_server_lives_through_a_mixed_load_and_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forked(monkeypatch, tmp_path)
    monkeypatch.setattr(run, "EVERY", (0.2, 1.0))
    monkeypatch.setattr("comity_tools.soak.faults.LONGEST_STOP", 1.0)
    report = await run.soak(tmp_path, 0.2, random.Random(5))
    told = report.as_json()
    assert report.is_good and told["good"], told
    assert (told["lost"], told["wrong"], told["webhooks"]["missing"]) == (0, 0, 0)
    assert sum(told["faults"].values()) >= 1 and told["acknowledged"] > 20 and told["webhooks"]["awaited"] > 0
    assert [it["name"] for it in told["growth"]] == ["memory", "descriptors", "store", "wal"]


async def test_the_soak_notices_a_server_that_answers_before_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends at once, since it has seen enough."""
    armed = forked(monkeypatch, tmp_path, "it answers before it commits")
    monkeypatch.setattr(run, "EVERY", (0.5, 1.0))
    monkeypatch.setattr("comity_tools.soak.faults._FAULTS", {"kill -9 of the server": Faults._kill})
    report = await run.soak(tmp_path, 3600.0, random.Random(5), tell=lambda _: armed.touch())
    assert not report.ledger.holds and not report.is_good and not report.as_json()["good"]


@pytest.mark.long(short="test_a_server_lives_through_a_mixed_load_and_faults")
def test_the_command_soaks_for_minutes_and_ends_with_what_it_found() -> None:
    command = [sys.executable, "-m", "comity_tools", "soak", "--minutes", "10", "--seed", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    print(done.stdout)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["good"] and sum(told["faults"].values()) > 20, told


def test_growth_without_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that are never closed, once the process has settled; a start alone is none."""
    growth, now = Growth(), 0.0
    monkeypatch.setattr("comity_tools.soak.growth.time.monotonic", lambda: now)
    used = {"memory": 90.0, "descriptors": 20.0, "store": 1.0, "wal": 1.0}
    resources = [replace(it, measure=lambda *_, name=it.name: used[name]) for it in RESOURCES]
    monkeypatch.setattr("comity_tools.soak.growth.RESOURCES", resources)
    for second in range(200):
        now = float(second)
        used["descriptors"] += 0.5
        growth.measure(Path(), 0)
    bounded = {it.resource.name: it.is_bounded for it in growth.changes()}
    assert bounded == {"memory": True, "descriptors": False, "store": True, "wal": True}


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_command_tells_what_it_found_and_ends_with_it(monkeypatch: pytest.MonkeyPatch, *, is_whole: bool) -> None:
    ledger = Ledger(NoteSigner("home.example/log", ED25519, SigningKey(bytes(32))).verifier, lambda _: None)
    if not is_whole:
        ledger.lost["some act"] = "it is not among the records of its connection"

    async def lived(_folder: Path, minutes: float, *_: object) -> run.Report:
        return run.Report(60 * minutes, {"kill -9 of the server": 3}, ledger, Growth().changes(), 2.5, 7, 0)

    monkeypatch.setattr("comity_tools.cli.soak.live", lived)
    words = CliRunner().invoke(main, ["soak", "--minutes", "2", "--seed", "1"])
    assert "2.0 minutes (seed 1). Faults: 3 times kill -9 of the server." in words.output
    assert ("some act: it is not among the records" in words.output) != is_whole
    told = CliRunner().invoke(main, ["soak", "--seed", "1", "--json"])
    assert json.loads(told.output)["good"] == is_whole
    assert words.exit_code == told.exit_code == (0 if is_whole else 1)
