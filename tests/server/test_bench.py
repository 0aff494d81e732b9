"""`comity bench`: every figure has its baseline, and the floors are half of what is asked for, so that noise passes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comity_tools.bench.load_client import percentile
from comity_tools.bench.processes import environment
from comity_tools.bench.result import QUICK, Rate, Row
from comity_tools.bench.run import NAMES
from comity_tools.bench.webhook_cost import webhook_cost

FLOORS = {
    "acts_http": 0.075,
    "token_check": 0.35,
    "token_open": 0.35,
    "check_http": 0.3,
    "check_100": 0.15,
    "check_bulk": 0.35,
    "message_http": 0.04,
    "message_signed": 0.045,
}
CEILINGS = {"start": 12.0, "follow": 6.0, "log_cost": 1.75, "webhook_cost": 1.35}
MOST_MEMORY = 120.0
"""MB."""

pytestmark = [pytest.mark.timeout(1000), pytest.mark.xdist_group("bench")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Path]]:
    """What one real run prints, and the folder that it had for temporary files."""
    folder = tmp_path_factory.mktemp("bench")
    # A caller's own settings, wrong ones too, must not reach the servers that are measured.
    env = {**os.environ, "TMPDIR": str(folder), "COMITY_DATA": "/nowhere", "COMITY_NO_SUCH_SETTING": "1"}
    command = [sys.executable, "-m", "comity_tools", "bench", "--json", "--quick"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout), folder


def rows(told: tuple[dict[str, Any], Path]) -> dict[str, dict[str, Any]]:
    found = told[0]["rows"]
    assert len({row["name"] for row in found}) == len(found)
    return {row["name"]: row for row in found}


def test_it_prints_one_object_with_the_machine_and_all_rows(told: tuple[dict[str, Any], Path]) -> None:
    assert told[0]["machine"]["cores"] >= 1
    assert told[0]["machine"]["python"].count(".") == 2
    assert {name.partition("_")[0] for name in rows(told)} >= {name.partition("_")[0] for name in NAMES}


def test_every_figure_stands_beside_a_baseline_of_the_same_run(told: tuple[dict[str, Any], Path]) -> None:
    for row in rows(told).values():
        assert all(row[text] for text in ("what", "unit", "baseline_what"))
        assert row["better"] in ("more", "less")
        for figure in ("figure", "baseline", "ratio"):
            assert math.isfinite(row[figure]) and row[figure] > 0, row
        assert row["ratio"] == pytest.approx(row["figure"] / row["baseline"], rel=0.01)
        # A process of one thread; CPU clocks are coarser than the wall's.
        assert 0 <= row["client_cpu_share"] <= 1.5


def beyond_limits(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The ratios that are below their floors or above their ceilings."""
    ratios = {name: row["ratio"] for name, row in found.items()}
    low = {name for name, floor in FLOORS.items() if ratios[name] < floor}
    high = {name for name, top in CEILINGS.items() if ratios[name] > top}
    return {name: ratios[name] for name in low | high}


def measured_again(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows of another run of the benches that give these rows."""
    parts = {name.partition("_")[0] for name in names}
    only = [word for name in NAMES if name.partition("_")[0] in parts for word in ("--only", name)]
    command = [sys.executable, "-m", "comity_tools", "bench", "--json", "--quick", *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    return {row["name"]: row for row in json.loads(done.stdout)["rows"]}


def test_no_figure_is_below_half_of_what_is_asked_for(told: tuple[dict[str, Any], Path]) -> None:
    found = rows(told)
    for _ in range(2):
        # Other work on the machine pushes a ratio over its limit once, and not each time.
        if missed := beyond_limits(found):
            found |= measured_again(missed)
    assert beyond_limits(found) == {}
    assert found["idle_memory"]["unit"] == "MB"
    assert found["idle_memory"]["figure"] < MOST_MEMORY


def test_webhooks_are_measured_however_quick_the_rounds_are(tmp_path: Path) -> None:
    """A machine that makes eighteen rounds within a minute is over no rate of the business's."""
    row = webhook_cost(tmp_path / "webhooks", replace(QUICK, rounds=6, acts=1))
    assert row.ratio > 0


@pytest.mark.long(short="test_it_prints_one_object_with_the_machine_and_all_rows")
@pytest.mark.timeout(3600)
def test_a_full_run_gives_every_row() -> None:
    """Before a release: what a quick run is too short to meet (a rate, a full chain) must not end a full one."""
    command = [sys.executable, "-m", "comity_tools", "bench", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {row["name"].partition("_")[0] for row in json.loads(done.stdout)["rows"]}
    assert found >= {name.partition("_")[0] for name in NAMES}


def test_nothing_is_left_behind(told: tuple[dict[str, Any], Path]) -> None:
    assert list(told[1].iterdir()) == []


def test_a_ratio_is_the_figure_by_the_baseline_and_numbers_are_short() -> None:
    row = Row("name", "what", 2.0, "acts/s", 3.0, "other", "more", 0.123456789, {"p99_ms": 12.3456})
    told = row.as_json()
    assert (told["ratio"], told["client_cpu_share"], told["p99_ms"]) == (0.6667, 0.1235, 12.35)
    assert "details" not in told


def test_a_server_that_is_measured_gets_no_setting_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMITY_MAX_QUEUE", "16")
    monkeypatch.setenv("comity_operator", "somebody")
    env = environment(Path("/data"), 1)
    assert "COMITY_MAX_QUEUE" not in env and "comity_operator" not in env
    assert env["COMITY_HOST"] == "127.0.0.1"


def test_rates_count_what_was_done() -> None:
    calls: list[int] = []

    def some() -> int:
        calls.append(1)
        return 10

    rate = Rate(some)
    rate.go(QUICK.slice / 10)
    assert len(rate.rates) == 1 and rate.median > 0
    assert len(calls) >= 1


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([5.0], 0.5) == 5.0
