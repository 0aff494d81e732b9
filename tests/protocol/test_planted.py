"""The two harnesses that all else leans on: a defect planted in a copy of the protocol must not get past them."""

from pathlib import Path

import pytest

from planted import copy_of_the_protocol, run_tests

GATE = "tests/protocol/test_gate.py"
INVARIANTS = "tests/protocol/test_invariants.py"
ALIKE = "test_not_now_looks_alike_whether_she_muted_sleeps_or_has_had_enough"
REVOKE = f"{INVARIANTS}::test_after_a_revoke_nothing_is_accepted_said_or_delivered_ever_again"

# What the defect is: the test that must notice it, the module, and the text that is put otherwise.
DEFECTS = {
    "the gate forgets mutes": (
        f"{GATE}::test_a_muted_shop_may_not_write", "gate.py",
        "block = _muted(door, purpose, channel, now) or ", "block = ",
    ),
    "the sender is told a hidden end": (
        f"{GATE}::{ALIKE}", "gate.py",
        "ends_at=self.ends_at if self.end_shown else None", "ends_at=self.ends_at",
    ),
    "a hidden end shortens a verdict": (
        f"{GATE}::{ALIKE}", "gate.py",
        "block.ends_at if block.end_shown else None)", "block.ends_at)",
    ),
    "an unmute takes the other side's mutes back": (
        f"{INVARIANTS}::test_nobody_widens_what_the_other_let_in", "fold.py",
        "door = connection.door(side)\n    left = tuple(",
        "side = other(side)\n    door = connection.door(side)\n    left = tuple(",
    ),
    "a revoke is recorded and ends nothing": (
        REVOKE, "fold.py",
        'return replace(connection, phase="ended",', 'return replace(connection, phase="open",',
    ),
    "a withdrawal is refused over its clock": (
        f"{INVARIANTS}::test_either_side_can_always_say_no_whatever_its_clock_says", "acts.py",
        'NARROWING = frozenset({"withdraw", ', "NARROWING = frozenset({",
    ),
    "what waits is not looked at when its grant ends": (
        f"{INVARIANTS}::test_nothing_is_let_go_before_it_is_due_and_something_is_when_it_is", "connection.py",
        'ends = (verdict.ends_at, gate.granted_until(connection, side, held.purpose, "app", now))',
        "ends = (verdict.ends_at,)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_caught(tmp_path: Path, defect: str) -> None:
    file, module, old, new = DEFECTS[defect]
    run = run_tests(copy_of_the_protocol(tmp_path, {module: (old, new)}), file)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout


def test_the_copy_without_a_defect_passes(tmp_path: Path) -> None:
    """Else what is caught above might be the copying. All of them pass by themselves in this very run."""
    run = run_tests(copy_of_the_protocol(tmp_path), *(DEFECTS[name][0] for name in list(DEFECTS)[:2]), REVOKE)
    assert run.returncode == pytest.ExitCode.OK, run.stdout
